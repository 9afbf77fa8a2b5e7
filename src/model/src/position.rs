//! Places in a log and in time.

use std::fmt;

/// A record's position in its partition; dense, from 0. Never negative.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Offset(u64);

impl Offset {
    /// The first offset of any log.
    pub const ZERO: Offset = Offset(0);

    /// From the wire's signed form; `None` if negative.
    pub fn from_wire(value: i64) -> Option<Offset> {
        u64::try_from(value).ok().map(Offset)
    }

    /// An offset of the broker's own counting. Panics above `i64::MAX`, which the wire cannot carry.
    pub fn new(value: u64) -> Offset {
        assert!(value <= i64::MAX as u64);
        Offset(value)
    }

    /// The wire's signed form; never negative.
    pub fn to_wire(self) -> i64 {
        self.0 as i64
    }

    /// As a plain count of records from the log's beginning.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The offset `records` later.
    pub fn plus(self, records: u64) -> Offset {
        Offset::new(self.0 + records)
    }

    /// How many records lie between `earlier` and `self`. Panics if `earlier` is later.
    pub fn since(self, earlier: Offset) -> u64 {
        assert!(earlier <= self);
        self.0 - earlier.0
    }
}

impl fmt::Debug for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Counts the leaderships of a partition, from 0. On the wire -1 means "not known": an `Option` here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct LeaderEpoch(pub u32);

impl LeaderEpoch {
    /// From the wire's form: -1 (or any negative) is `None`.
    pub fn from_wire(value: i32) -> Option<LeaderEpoch> {
        u32::try_from(value).ok().map(LeaderEpoch)
    }

    /// The wire's signed form.
    pub fn to_wire(self) -> i32 {
        self.0 as i32
    }
}

/// Wall-clock time in ms since the Unix epoch, as records carry it. May jump; never used to measure a duration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The wire's "no timestamp".
    pub const NONE: Timestamp = Timestamp(-1);
}
