//! The walk over a batch's records as their bytes come, in pieces of any size.
//! A record that lies whole in a piece is parsed where it lies; one that straddles pieces goes through `partial`.
//! Never keeps a byte of a key, value or header. Invariant: `index` records were seen, each dense after the last.

use crate::partial::Partial;
use crate::varint;
use crate::{BatchFault, Header, RecordError, RecordFault, TimestampType};
use model::Timestamp;

/// What the walk tells of one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// Which record, from 0.
    pub(crate) index: u32,
    pub(crate) offset_delta: i32,
    pub(crate) timestamp: Timestamp,
    pub(crate) has_key: bool,
}

/// Who wants to know of the records.
pub(crate) trait Visit {
    fn record(&mut self, seen: Seen) -> Result<(), RecordError>;

    /// Whether the rest of the batch is of no interest.
    fn satisfied(&self) -> bool {
        false
    }
}

/// The fields of a record that is whole.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fields<'a> {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
    pub(crate) header_count: u32,
    /// The headers, already seen to be well-formed.
    pub(crate) headers: &'a [u8],
}

/// What is known of a record once all its bytes were seen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Summary {
    pub(crate) timestamp_delta: i64,
    pub(crate) offset_delta: i32,
    pub(crate) has_key: bool,
}

pub(crate) struct Walk {
    dense: bool,
    record_count: u32,
    index: u32,
    clock: Clock,
    partial: Option<Partial>,
}

/// How a record's timestamp follows from its delta.
#[derive(Clone, Copy)]
enum Clock {
    Create { base: i64 },
    Append { at: Timestamp },
}

impl Walk {
    /// Over a produced batch: offset deltas must be dense.
    pub(crate) fn dense(header: &Header) -> Walk {
        Walk { dense: true, ..Walk::stored(header) }
    }

    /// Over a stored batch, which compaction may have thinned.
    pub(crate) fn stored(header: &Header) -> Walk {
        let clock = match header.timestamp_type {
            TimestampType::CreateTime => Clock::Create { base: header.base_timestamp.0 },
            TimestampType::LogAppendTime => Clock::Append { at: header.max_timestamp },
        };
        Walk { dense: false, record_count: header.record_count, index: 0, clock, partial: None }
    }

    /// Walks over the next `bytes`.
    pub(crate) fn feed(&mut self, mut bytes: &[u8], visit: &mut impl Visit) -> Result<(), RecordError> {
        while !bytes.is_empty() {
            if self.index == self.record_count {
                return Err(RecordError::Batch(BatchFault::TrailingBytes));
            }
            if self.partial.is_none() {
                if let Some(body) = take_record(&mut bytes).map_err(|fault| self.fault(fault))? {
                    let fields = parse(body).map_err(|fault| self.fault(fault))?;
                    self.see(fields.summary(), visit)?;
                    continue;
                }
                self.partial = Some(Partial::default());
            }
            let index = self.index;
            let partial = self.partial.as_mut().expect("set above if it was not");
            let done = partial.feed(&mut bytes).map_err(|fault| RecordError::Record { index, fault })?;
            if let Some(summary) = done {
                self.partial = None;
                self.see(summary, visit)?;
            }
        }
        Ok(())
    }

    /// At the end of the bytes.
    pub(crate) fn finish(&self) -> Result<(), RecordError> {
        if self.index == self.record_count && self.partial.is_none() {
            return Ok(());
        }
        Err(RecordError::Batch(BatchFault::MissingRecords))
    }

    fn see(&mut self, record: Summary, visit: &mut impl Visit) -> Result<(), RecordError> {
        if self.dense && i64::from(record.offset_delta) != i64::from(self.index) {
            return Err(self.fault(RecordFault::OffsetDelta));
        }
        let timestamp = match self.clock {
            Clock::Append { at } => at,
            Clock::Create { base } => base
                .checked_add(record.timestamp_delta)
                .map(Timestamp)
                .ok_or(RecordError::Timestamp { index: self.index })?,
        };
        visit.record(Seen {
            index: self.index,
            offset_delta: record.offset_delta,
            timestamp,
            has_key: record.has_key,
        })?;
        self.index += 1;
        Ok(())
    }

    fn fault(&self, fault: RecordFault) -> RecordError {
        RecordError::Record { index: self.index, fault }
    }
}

impl Fields<'_> {
    fn summary(&self) -> Summary {
        Summary { timestamp_delta: self.timestamp_delta, offset_delta: self.offset_delta, has_key: self.key.is_some() }
    }
}

/// Takes a record off the front of `bytes` and gives its body; `None`, and nothing taken, if it is not all there.
#[inline(always)]
pub(crate) fn take_record<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordFault> {
    let mut rest = *bytes;
    let Some(length) = varint::take_i32(&mut rest) else {
        // Cut off, not malformed, if fewer bytes are there than a length may have.
        let cut_off = bytes.len() < LENGTH_BYTES_MAX && bytes.iter().all(|byte| byte & 0x80 != 0);
        return if cut_off { Ok(None) } else { Err(RecordFault::Varint) };
    };
    let length = usize::try_from(length).map_err(|_| RecordFault::Length)?;
    let Some((body, rest)) = rest.split_at_checked(length) else { return Ok(None) };
    *bytes = rest;
    Ok(Some(body))
}

/// Parses a record's body: everything after its length.
#[inline(always)]
pub(crate) fn parse(body: &[u8]) -> Result<Fields<'_>, RecordFault> {
    // The first byte holds attributes, of which none exists.
    let mut rest = body.get(1..).ok_or(RecordFault::Length)?;
    let timestamp_delta = varint::take_i64(&mut rest).ok_or(RecordFault::Varint)?;
    let offset_delta = varint::take_i32(&mut rest).ok_or(RecordFault::Varint)?;
    let key = take_nullable(&mut rest, RecordFault::Key)?;
    let value = take_nullable(&mut rest, RecordFault::Value)?;
    let header_count = varint::take_i32(&mut rest).ok_or(RecordFault::Varint)?;
    let header_count = u32::try_from(header_count).map_err(|_| RecordFault::Header)?;
    let headers = rest;
    // Every header takes at least two bytes, so a wild count ends with the bytes.
    for _ in 0..header_count {
        take_header(&mut rest)?;
    }
    if !rest.is_empty() {
        return Err(RecordFault::Length);
    }
    Ok(Fields { timestamp_delta, offset_delta, key, value, header_count, headers })
}

/// Takes one header, its key and its value, off the front.
pub(crate) fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), RecordFault> {
    let key = take_nullable(bytes, RecordFault::Header)?.ok_or(RecordFault::Header)?;
    Ok((key, take_nullable(bytes, RecordFault::Header)?))
}

#[inline(always)]
fn take_nullable<'a>(bytes: &mut &'a [u8], fault: RecordFault) -> Result<Option<&'a [u8]>, RecordFault> {
    let length = varint::take_i32(bytes).ok_or(RecordFault::Varint)?;
    if length == -1 {
        return Ok(None);
    }
    let length = usize::try_from(length).map_err(|_| fault)?;
    let (taken, rest) = bytes.split_at_checked(length).ok_or(fault)?;
    *bytes = rest;
    Ok(Some(taken))
}

const LENGTH_BYTES_MAX: usize = varint::I32_BYTES_MAX as usize; // 5: widening.
