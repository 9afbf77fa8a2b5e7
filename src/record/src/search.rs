//! Finds a record by its timestamp inside a batch, as ListOffsets by time needs it.
//! Streams like the validation: bounded memory, and bounded work a step.

use crate::header::{HEADER_BYTES, Header};
use crate::scan::Scan;
use crate::view::BatchView;
use crate::walk::{Seen, Visit, Walk};
use crate::{BatchFault, RecordError};
use model::{Offset, Timestamp};

/// A record found by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampOffset {
    /// Its timestamp.
    pub timestamp: Timestamp,
    /// Its offset.
    pub offset: Offset,
}

/// How far a search is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SearchProgress {
    /// The budget is used up: step again in a later turn.
    Pending,
    /// The first record at or after the time, if the batch has one.
    Done(Result<Option<TimestampOffset>, RecordError>),
}

/// One batch's search for the first record at or after a time. With the batch's `max_timestamp` as that time it finds
/// the record which has it.
pub struct TimestampSearch {
    header: Header,
    scan: Scan,
    seek: Seek,
}

/// Searches the batch at the beginning of `bytes` in one go.
pub fn first_at_or_after(bytes: &[u8], at: Timestamp) -> Result<Option<TimestampOffset>, RecordError> {
    first_at_or_after_from(bytes, at, Offset::ZERO)
}

/// The same among the records from an offset on.
pub fn first_at_or_after_from(
    bytes: &[u8],
    at: Timestamp,
    from: Offset,
) -> Result<Option<TimestampOffset>, RecordError> {
    let view = BatchView::first(bytes)?;
    let mut search = TimestampSearch::new(view, at);
    search.seek.from = from;
    match search.step(view.bytes(), usize::MAX) {
        SearchProgress::Done(found) => found,
        SearchProgress::Pending => unreachable!("the budget has no end"),
    }
}

impl TimestampSearch {
    /// Begins.
    pub fn new(batch: BatchView<'_>, at: Timestamp) -> TimestampSearch {
        let header = *batch.header();
        let seek = Seek { header, at, from: Offset::ZERO, found: None };
        TimestampSearch { header, scan: Scan::new(&header, Walk::stored(&header)), seek }
    }

    /// Searches on, until about `budget_bytes` more were decompressed; `bytes` are the batch's.
    pub fn step(&mut self, bytes: &[u8], budget_bytes: usize) -> SearchProgress {
        assert!(bytes.len() == self.header.size_bytes);
        match self.scan.step(&bytes[HEADER_BYTES..], budget_bytes, &mut self.seek) {
            Ok(true) => SearchProgress::Done(Ok(self.seek.found)),
            Ok(false) => SearchProgress::Pending,
            Err(error) => SearchProgress::Done(Err(error)),
        }
    }
}

struct Seek {
    header: Header,
    at: Timestamp,
    from: Offset,
    found: Option<TimestampOffset>,
}

impl Visit for Seek {
    fn record(&mut self, seen: Seen) -> Result<(), RecordError> {
        if self.found.is_none() && seen.timestamp >= self.at {
            let offset = record_offset(&self.header, seen.offset_delta)?;
            if self.from <= offset {
                self.found = Some(TimestampOffset { timestamp: seen.timestamp, offset });
            }
        }
        Ok(())
    }

    fn satisfied(&self) -> bool {
        self.found.is_some()
    }
}

/// A record's offset, which must lie within its batch.
pub(crate) fn record_offset(header: &Header, offset_delta: i32) -> Result<Offset, RecordError> {
    match u32::try_from(offset_delta) {
        Ok(delta) if delta <= header.last_offset_delta => Ok(header.base_offset.plus(u64::from(delta))),
        _ => Err(RecordError::Batch(BatchFault::Offset)),
    }
}
