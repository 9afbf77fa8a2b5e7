//! How old a segment is: what rolls it, and what its retention counts from.
//!
//! Records carry their producer's times, which may be anything. Retention counts from the largest of them, but from
//! none later than the broker's clock said when its batch was appended: else one record stamped a year ahead would keep
//! its segment for a year. A record without a time counts as written when it was appended. Of a segment found by a
//! recovery it is only known what its index says, which then is capped by the clock when it is learned. Batches that a
//! start takes from the journal, which has no times of its own, are capped by the clock when their log is open: a
//! checkpoint must not say more than that, and a look at them may be long in coming.
//! Owns those times. Never reads a file.

use model::Timestamp;

use crate::partition::Partition;
use crate::segment::Segment;

/// The times of one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Age {
    /// Of the first batch.
    pub(crate) first: Timestamp,
    /// The largest.
    pub(crate) largest: Timestamp,
    /// The broker's clock at the first append in this run.
    began: Timestamp,
    /// A start took in batches whose times no clock has borne out yet.
    replayed: bool,
}

impl Default for Age {
    /// Nothing is known.
    fn default() -> Self {
        Age { first: Timestamp::NONE, largest: Timestamp::NONE, began: Timestamp::NONE, replayed: false }
    }
}

impl Age {
    /// As an earlier run knew it.
    pub(crate) fn known(first: Timestamp, largest: Timestamp) -> Age {
        Age { first, largest, ..Age::default() }
    }

    /// Takes in a batch that a start found.
    pub(crate) fn replay(&mut self, time: Timestamp) {
        if self.first == Timestamp::NONE {
            self.first = time;
        }
        self.largest = self.largest.max(time);
        self.replayed = true;
    }

    /// The log of these batches is open: from now on they are as old as any, and without a time count as written now.
    pub(crate) fn bear_out(&mut self, wall: Timestamp) {
        if std::mem::take(&mut self.replayed) {
            self.first = borne_out(self.first, wall);
            self.largest = borne_out(self.largest, wall);
        }
    }

    /// Takes in a batch.
    fn note(&mut self, time: Timestamp, wall: Timestamp) {
        let time = borne_out(time, wall);
        if self.first == Timestamp::NONE {
            self.first = time;
        }
        if self.began == Timestamp::NONE {
            self.began = wall;
        }
        self.largest = self.largest.max(time);
    }

    /// Of a segment made from others, with the largest time that is left.
    pub(crate) fn merged(ages: impl Iterator<Item = Age>, left: Timestamp, wall: Timestamp) -> Age {
        let mut age = ages.fold(Age::default(), |sum, age| Age {
            first: if sum.first == Timestamp::NONE { age.first } else { sum.first },
            largest: sum.largest.max(age.largest),
            ..Age::default()
        });
        if age.largest == Timestamp::NONE {
            age.largest = borne_out(left, wall);
        } else if left != Timestamp::NONE {
            age.largest = age.largest.min(left);
        }
        age
    }
}

fn borne_out(time: Timestamp, wall: Timestamp) -> Timestamp {
    if time == Timestamp::NONE { wall } else { time.min(wall) }
}

impl Segment {
    /// Takes in the time of the batch that is about to be appended.
    pub(crate) fn note_time(&mut self, time: Timestamp, wall: Timestamp) {
        self.learn_age(wall);
        self.age.note(time, wall);
    }

    /// Its age, if it is known or its index says it.
    pub(crate) fn learn_age(&mut self, wall: Timestamp) -> Option<Age> {
        if self.age.largest != Timestamp::NONE {
            return Some(self.age);
        }
        if !self.damages.is_empty() {
            // Nobody will ever know: it counts from now on.
            self.age.note(Timestamp::NONE, wall);
            return Some(self.age);
        }
        let index = self.index.as_ref()?;
        if self.durable.position > 0 {
            self.age.first = borne_out(index.first_timestamp(), wall);
            self.age.largest = borne_out(index.max_timestamp(), wall);
        }
        Some(self.age)
    }
}

impl Partition {
    /// Whether the active segment is too old to take another batch: by the times of its records, as Kafka has it, or
    /// by the clock since it got its first, which Kafka asks only where records have no time.
    pub(crate) fn is_old(&self, time: Timestamp, wall: Timestamp) -> bool {
        let Some(active) = self.segments.last().filter(|active| active.end.position > 0) else { return false };
        let settings = &self.settings;
        let limit = if settings.compact && settings.max_compaction_lag_ms > 0 {
            settings.segment_ms.min(settings.max_compaction_lag_ms)
        } else {
            settings.segment_ms
        };
        let passed = |since: Timestamp, now: Timestamp| since != Timestamp::NONE && ms_since(now, since) > limit;
        passed(active.age.first, borne_out(time, wall)) || passed(active.age.began, wall)
    }
}

/// How long after `earlier` something is; 0 if it is not.
pub(crate) fn ms_since(later: Timestamp, earlier: Timestamp) -> u64 {
    u64::try_from(later.0.saturating_sub(earlier.0)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_the_future_counts_as_now_and_no_time_too() {
        let mut age = Age::default();
        age.note(Timestamp(9_000_000), Timestamp(1000));
        assert_eq!((age.first, age.largest), (Timestamp(1000), Timestamp(1000)));
        age.note(Timestamp::NONE, Timestamp(2000));
        assert_eq!((age.first, age.largest), (Timestamp(1000), Timestamp(2000)));
        age.note(Timestamp(5), Timestamp(3000));
        assert_eq!((age.first, age.largest), (Timestamp(1000), Timestamp(2000)));
    }
}
