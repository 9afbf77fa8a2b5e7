//! A pass over the records of a stored batch, each whole, in bounded steps: what compaction reads.
//! Owns at most one window of decompressed bytes and one record that straddles windows, up to a bound. The batch's own
//! bytes stay with the caller, who passes the same ones every time.

use crate::decode::Decoder;
use crate::header::HEADER_BYTES;
use crate::search::record_offset;
use crate::walk::{self, Fields};
use crate::{BatchFault, Header, RecordError, RecordFault, TimestampType};
use model::{Offset, Timestamp};

/// A record as it is stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredRecord<'a> {
    /// Which of its batch's records, from 0.
    pub index: u32,
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was created, or appended if the batch says so.
    pub timestamp: Timestamp,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value; if not it is a tombstone.
    pub has_value: bool,
    /// All its bytes, the length first.
    pub(crate) raw: &'a [u8],
    /// Its bytes behind the length.
    pub(crate) body: &'a [u8],
}

impl StoredRecord<'_> {
    /// Its size before compression.
    pub fn size_bytes(&self) -> usize {
        self.raw.len()
    }
}

/// One batch's pass.
pub struct RecordPass {
    header: Header,
    decoder: Option<Box<Decoder>>,
    /// Where an uncompressed batch goes on.
    at: usize,
    /// Decompressed bytes that are not a whole record yet.
    rest: Vec<u8>,
    index: u32,
}

impl RecordPass {
    /// Begins with a batch whose checksum holds.
    pub fn new(header: &Header) -> RecordPass {
        let decoder = Decoder::new(header.codec).map(Box::new);
        RecordPass { header: *header, decoder, at: HEADER_BYTES, rest: Vec::new(), index: 0 }
    }

    /// Goes on until about `budget_bytes` more were seen; whether the pass is over. `bytes` are the batch's.
    pub fn step(
        &mut self,
        bytes: &[u8],
        budget_bytes: usize,
        mut each: impl FnMut(StoredRecord<'_>) -> Result<(), RecordError>,
    ) -> Result<bool, RecordError> {
        assert!(bytes.len() == self.header.size_bytes);
        let Some(decoder) = &mut self.decoder else {
            let end = bytes.len();
            let until = self.at.saturating_add(budget_bytes.max(1)).min(end);
            while self.at < until {
                let mut rest = &bytes[self.at..];
                if !take(&self.header, &mut self.index, &mut rest, &mut each)? {
                    return Err(RecordError::Batch(BatchFault::MissingRecords));
                }
                self.at = end - rest.len();
            }
            return if self.at == end { self.finish() } else { Ok(false) };
        };
        let mut done_bytes = 0;
        loop {
            let window = decoder.next(&bytes[HEADER_BYTES..])?;
            if window.is_empty() {
                return self.finish();
            }
            if self.rest.len() + window.len() > RECORD_BYTES_MAX {
                return Err(RecordError::TooLarge);
            }
            self.rest.extend_from_slice(window);
            done_bytes += window.len();
            let mut rest = self.rest.as_slice();
            while take(&self.header, &mut self.index, &mut rest, &mut each)? {}
            let used = self.rest.len() - rest.len();
            self.rest.drain(..used);
            // A window of 0 bytes ended the pass, so every step makes progress even with no budget.
            if done_bytes >= budget_bytes {
                return Ok(false);
            }
        }
    }

    fn finish(&self) -> Result<bool, RecordError> {
        if self.index == self.header.record_count && self.rest.is_empty() {
            return Ok(true);
        }
        Err(RecordError::Batch(BatchFault::MissingRecords))
    }
}

/// Takes a record off the front; false if it is not all there.
fn take(
    header: &Header,
    index: &mut u32,
    rest: &mut &[u8],
    each: &mut impl FnMut(StoredRecord<'_>) -> Result<(), RecordError>,
) -> Result<bool, RecordError> {
    let whole = *rest;
    if whole.is_empty() {
        return Ok(false);
    }
    if *index == header.record_count {
        return Err(RecordError::Batch(BatchFault::TrailingBytes));
    }
    let fault = |fault: RecordFault| RecordError::Record { index: *index, fault };
    let Some(body) = walk::take_record(rest).map_err(fault)? else { return Ok(false) };
    let fields = walk::parse(body).map_err(fault)?;
    each(StoredRecord {
        index: *index,
        offset: record_offset(header, fields.offset_delta)?,
        timestamp: timestamp(header, &fields).ok_or(RecordError::Timestamp { index: *index })?,
        key: fields.key,
        has_value: fields.value.is_some(),
        raw: &whole[..whole.len() - rest.len()],
        body,
    })?;
    *index += 1;
    Ok(true)
}

fn timestamp(header: &Header, fields: &Fields<'_>) -> Option<Timestamp> {
    match header.timestamp_type {
        TimestampType::LogAppendTime => Some(header.max_timestamp),
        TimestampType::CreateTime => header.base_timestamp.0.checked_add(fields.timestamp_delta).map(Timestamp),
    }
}

/// A record, and a window behind it, may take this much memory.
const RECORD_BYTES_MAX: usize = 128 << 20;
