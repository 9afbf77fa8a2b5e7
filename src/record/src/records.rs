//! The records of one batch in memory: for tools, tests, and the broker's own small logs; never for the produce path.
//! Decompresses up to a limit that the caller gives.

use crate::decode::Decoder;
use crate::search::record_offset;
use crate::view::BatchView;
use crate::walk;
use crate::{BatchFault, Header, RecordError, TimestampType};
use model::{Offset, Timestamp};
use std::borrow::Cow;

/// One record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was created, or appended if the batch says so.
    pub timestamp: Timestamp,
    /// Its key, if it has one.
    pub key: Option<&'a [u8]>,
    /// Its value; `None` is a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers in their order; a key may repeat.
    pub headers: Vec<RecordHeader<'a>>,
}

/// One header of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordHeader<'a> {
    /// UTF-8 by convention; not checked.
    pub key: &'a [u8],
    /// May be null.
    pub value: Option<&'a [u8]>,
}

/// A batch's records, decompressed.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: Header,
    payload: Cow<'a, [u8]>,
}

impl<'a> Records<'a> {
    /// Decompresses `batch`, or borrows from it if it is not compressed. More than `limit_bytes` is `TooLarge`.
    pub fn read(batch: BatchView<'a>, limit_bytes: usize) -> Result<Records<'a>, RecordError> {
        let Some(mut decoder) = Decoder::new(batch.header().codec) else {
            return Ok(Records { header: *batch.header(), payload: Cow::Borrowed(batch.payload()) });
        };
        let mut payload = Vec::new();
        loop {
            let window = decoder.next(batch.payload())?;
            if window.is_empty() {
                return Ok(Records { header: *batch.header(), payload: Cow::Owned(payload) });
            }
            if window.len() > limit_bytes.saturating_sub(payload.len()) {
                return Err(RecordError::TooLarge);
            }
            payload.extend_from_slice(window);
        }
    }

    /// The records in order. Ends after the first that is bad.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: self.header, rest: &self.payload, index: 0 }
    }
}

impl<'a> IntoIterator for &'a Records<'_> {
    type Item = Result<Record<'a>, RecordError>;
    type IntoIter = RecordIter<'a>;

    fn into_iter(self) -> RecordIter<'a> {
        self.iter()
    }
}

/// Over a batch's records.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: Header,
    rest: &'a [u8],
    index: u32,
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.index == self.header.record_count {
            return None;
        }
        let record = self.take();
        match record {
            Ok(_) => self.index += 1,
            Err(_) => self.index = self.header.record_count,
        }
        Some(record)
    }
}

impl<'a> RecordIter<'a> {
    fn take(&mut self) -> Result<Record<'a>, RecordError> {
        let fault = |fault| RecordError::Record { index: self.index, fault };
        let mut rest = self.rest;
        let body = walk::take_record(&mut rest).map_err(fault)?;
        let body = body.ok_or(RecordError::Batch(BatchFault::MissingRecords))?;
        let fields = walk::parse(body).map_err(fault)?;
        let mut header_bytes = fields.headers;
        let mut headers = Vec::new();
        for _ in 0..fields.header_count {
            let (key, value) = walk::take_header(&mut header_bytes).map_err(fault)?;
            headers.push(RecordHeader { key, value });
        }
        let timestamp = match self.header.timestamp_type {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => (self.header.base_timestamp.0.checked_add(fields.timestamp_delta))
                .map(Timestamp)
                .ok_or(RecordError::Timestamp { index: self.index })?,
        };
        let offset = record_offset(&self.header, fields.offset_delta)?;
        self.rest = rest;
        Ok(Record { offset, timestamp, key: fields.key, value: fields.value, headers })
    }
}
