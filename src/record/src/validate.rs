//! What a producer's batch must be before it is appended.
//! Owns the rules and the state of one validation; the bytes stay with the caller. An uncompressed batch is done in one
//! step. A compressed one decompresses through a fixed window, as far in each step as its budget goes: neither memory
//! nor the work of a turn depends on how far it expands.
//!
//! Follows Kafka's broker with two differences. A producer that sets the LogAppendTime bit is refused whatever the
//! topic's timestamp type. Compressed records whose offset deltas are not dense are refused, where Kafka writes the
//! batch anew.

use crate::header::{Codec, HEADER_BYTES, Header, Producer};
use crate::scan::Scan;
use crate::view::BatchView;
use crate::walk::{Seen, Visit, Walk};
use crate::{BatchFault, RecordError, RecordFault, TimestampType};
use model::Timestamp;

/// What the topic demands of a record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rules {
    /// Between which timestamps a record must lie; `None` where the broker stamps the batch itself (LogAppendTime).
    pub timestamps: Option<TimestampBounds>,
    /// A compacted topic takes no record without a key.
    pub keys_required: bool,
}

/// The bounds that `message.timestamp.before.max.ms` and `message.timestamp.after.max.ms` set, both inclusive.
/// A record without a timestamp (-1) passes them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TimestampBounds {
    /// The earliest.
    pub earliest: Timestamp,
    /// The latest.
    pub latest: Timestamp,
}

impl TimestampBounds {
    /// Every timestamp.
    pub const ALL: TimestampBounds = TimestampBounds { earliest: Timestamp(i64::MIN), latest: Timestamp(i64::MAX) };

    /// Around `now`, by the two settings.
    pub fn around(now: Timestamp, before_max_ms: i64, after_max_ms: i64) -> TimestampBounds {
        TimestampBounds {
            earliest: Timestamp(now.0.saturating_sub(before_max_ms)),
            latest: Timestamp(now.0.saturating_add(after_max_ms)),
        }
    }
}

/// What a valid batch turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Validated {
    /// Records, at least one.
    pub record_count: u32,
    /// `record_count - 1`.
    pub last_offset_delta: u32,
    /// What the header states.
    pub base_timestamp: Timestamp,
    /// The largest of the records' timestamps; -1 if none has any.
    pub max_timestamp: Timestamp,
    /// Whether the header states the same; if not, `patch::set_max_timestamp` is due (Kafka corrects it too).
    pub max_timestamp_is_stated: bool,
    /// The first record that has `max_timestamp`, counted from the base offset.
    pub max_timestamp_offset_delta: u32,
    /// How the records are compressed.
    pub codec: Codec,
    /// Part of a transaction.
    pub transactional: bool,
    /// Holds control records.
    pub control: bool,
    /// The idempotent producer, if it is one.
    pub producer: Option<Producer>,
}

/// How far a validation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Progress {
    /// The budget is used up: step again in a later turn.
    Pending,
    /// The verdict.
    Done(Result<Validated, RecordError>),
}

/// One batch's validation. `Validator::new` checks frame, checksum and header; `step` the records.
pub struct Validator {
    header: Header,
    scan: Scan,
    check: Check,
}

/// Validates `bytes` in one go: for uncompressed batches and for tools.
pub fn validate(bytes: &[u8], rules: Rules) -> Result<Validated, RecordError> {
    let mut validator = Validator::new(bytes, rules)?;
    match validator.step(bytes, usize::MAX) {
        Progress::Done(verdict) => verdict,
        Progress::Pending => unreachable!("the budget has no end"),
    }
}

impl Validator {
    /// Begins with `bytes`, which must be exactly one batch.
    pub fn new(bytes: &[u8], rules: Rules) -> Result<Validator, RecordError> {
        let header = *BatchView::only(bytes)?.header();
        let records_by_offset = u64::from(header.last_offset_delta) + 1;
        if u64::from(header.record_count) != records_by_offset {
            return Err(RecordError::Batch(BatchFault::CountMismatch));
        }
        if header.timestamp_type == TimestampType::LogAppendTime {
            return Err(RecordError::Timestamp { index: 0 });
        }
        let check = Check { rules, max_timestamp: Timestamp::NONE, max_timestamp_offset_delta: 0 };
        Ok(Validator { header, scan: Scan::new(&header, Walk::dense(&header)), check })
    }

    /// The header, of which the caller may refuse more (transactional, control) before it pays for a step.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Validates on, until about `budget_bytes` more were decompressed. `bytes` are those that `new` got: the same
    /// content, not necessarily in the same place. Not to be called again once it has said `Done`.
    pub fn step(&mut self, bytes: &[u8], budget_bytes: usize) -> Progress {
        assert!(bytes.len() == self.header.size_bytes);
        match self.scan.step(&bytes[HEADER_BYTES..], budget_bytes, &mut self.check) {
            Ok(true) => Progress::Done(Ok(self.validated())),
            Ok(false) => Progress::Pending,
            Err(error) => Progress::Done(Err(error)),
        }
    }

    fn validated(&self) -> Validated {
        Validated {
            record_count: self.header.record_count,
            last_offset_delta: self.header.last_offset_delta,
            base_timestamp: self.header.base_timestamp,
            max_timestamp: self.check.max_timestamp,
            max_timestamp_is_stated: self.check.max_timestamp == self.header.max_timestamp,
            max_timestamp_offset_delta: self.check.max_timestamp_offset_delta,
            codec: self.header.codec,
            transactional: self.header.transactional,
            control: self.header.control,
            producer: self.header.producer,
        }
    }
}

struct Check {
    rules: Rules,
    max_timestamp: Timestamp,
    max_timestamp_offset_delta: u32,
}

impl Visit for Check {
    #[inline]
    fn record(&mut self, seen: Seen) -> Result<(), RecordError> {
        if self.rules.keys_required && !seen.has_key {
            return Err(RecordError::Record { index: seen.index, fault: RecordFault::MissingKey });
        }
        if let Some(bounds) = self.rules.timestamps
            && seen.timestamp != Timestamp::NONE
            && !(bounds.earliest..=bounds.latest).contains(&seen.timestamp)
        {
            return Err(RecordError::Timestamp { index: seen.index });
        }
        if seen.timestamp > self.max_timestamp {
            self.max_timestamp = seen.timestamp;
            self.max_timestamp_offset_delta = seen.index;
        }
        Ok(())
    }
}
