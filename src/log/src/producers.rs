//! What a partition remembers of its idempotent producers: epoch and last five batches of each.
//! Decides whether a batch is new, repeated or out of order, by Kafka's rules. Never knows whether a batch is durable.
//! Stricter than Kafka in one thing: of a producer that is not known, a batch that was refused for want of room must
//! come again before a later one of the same epoch counts, or the later one would begin its memory behind a gap.
//! Invariants: a producer's batches are in order of their offsets; at most five; one epoch; nobody is known and awaited.

use std::collections::{BTreeMap, VecDeque};

use model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use record::{Header, Producer};

use crate::AppendError;

/// What is remembered of one batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Remembered {
    pub(crate) base_sequence: i32,
    pub(crate) last_sequence: i32,
    pub(crate) base_offset: Offset,
    pub(crate) last_offset: Offset,
    pub(crate) timestamp: Timestamp,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Known {
    pub(crate) epoch: ProducerEpoch,
    pub(crate) batches: VecDeque<Remembered>,
    /// Wall-clock time of the last batch; after a recovery not known until the next sweep.
    pub(crate) seen: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Producers {
    pub(crate) by_id: BTreeMap<ProducerId, Known>,
    /// Producers that are not known, whose first batch was refused for a reason that passes; the oldest first.
    awaited: VecDeque<Awaited>,
    swept: Timestamp,
}

/// The batch that must come first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Awaited {
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: i32,
    since: Timestamp,
}

/// What to do with a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Append,
    Duplicate(Remembered),
}

impl Producers {
    /// Judges a batch before it is appended.
    pub(crate) fn judge(&self, header: &Header) -> Result<Verdict, AppendError> {
        let Some(incoming) = header.producer else { return Ok(Verdict::Append) };
        // Any sequence begins the memory of a producer: its state may have expired here.
        let Some(known) = self.by_id.get(&incoming.id) else { return self.judge_unknown(&incoming) };
        if incoming.epoch < known.epoch {
            return Err(AppendError::InvalidProducerEpoch);
        }
        if incoming.epoch > known.epoch {
            let first = incoming.base_sequence == 0;
            return if first { Ok(Verdict::Append) } else { Err(AppendError::OutOfOrderSequence) };
        }
        let last_sequence = last_sequence(incoming.base_sequence, header.last_offset_delta);
        let same =
            |batch: &&Remembered| batch.base_sequence == incoming.base_sequence && batch.last_sequence == last_sequence;
        if let Some(batch) = known.batches.iter().find(same) {
            return Ok(Verdict::Duplicate(*batch));
        }
        let Some(last) = known.batches.back() else { return Ok(Verdict::Append) };
        if incoming.base_sequence == next_sequence(last.last_sequence) {
            return Ok(Verdict::Append);
        }
        Err(AppendError::OutOfOrderSequence)
    }

    fn judge_unknown(&self, incoming: &Producer) -> Result<Verdict, AppendError> {
        match self.awaited.iter().find(|awaited| awaited.id == incoming.id) {
            Some(awaited) if incoming.epoch < awaited.epoch => Err(AppendError::InvalidProducerEpoch),
            Some(awaited) if incoming.epoch == awaited.epoch && incoming.base_sequence != awaited.base_sequence => {
                Err(AppendError::OutOfOrderSequence)
            }
            _ => Ok(Verdict::Append),
        }
    }

    /// A batch that was judged fit to be appended is refused for now.
    pub(crate) fn refused(&mut self, header: &Header, wall: Timestamp) {
        let Some(incoming) = header.producer else { return };
        if self.by_id.contains_key(&incoming.id) {
            return;
        }
        self.awaited.retain(|awaited| awaited.id != incoming.id);
        if self.awaited.len() == AWAITED_MAX {
            self.awaited.pop_front();
        }
        let Producer { id, epoch, base_sequence } = incoming;
        self.awaited.push_back(Awaited { id, epoch, base_sequence, since: wall });
    }

    /// Remembers a batch that was appended (or found by a recovery, which has no `wall`).
    pub(crate) fn remember(&mut self, header: &Header, wall: Option<Timestamp>, count_max: usize) {
        let Some(incoming) = header.producer else { return };
        if !self.by_id.contains_key(&incoming.id) {
            self.awaited.retain(|awaited| awaited.id != incoming.id);
            if self.by_id.len() >= count_max {
                self.forget_most_idle();
            }
        }
        let fresh = Known { epoch: incoming.epoch, batches: VecDeque::new(), seen: wall };
        let known = self.by_id.entry(incoming.id).or_insert(fresh);
        if known.epoch != incoming.epoch {
            known.epoch = incoming.epoch;
            known.batches.clear();
        }
        if known.batches.len() == REMEMBERED_MAX {
            known.batches.pop_front();
        }
        known.batches.push_back(Remembered {
            base_sequence: incoming.base_sequence,
            last_sequence: last_sequence(incoming.base_sequence, header.last_offset_delta),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        });
        known.seen = wall;
    }

    /// What was remembered when the log ended at `end`.
    pub(crate) fn before(&self, end: Offset) -> Producers {
        let mut producers = Producers { by_id: self.by_id.clone(), ..Producers::default() };
        producers.by_id.retain(|_, known| {
            known.batches.retain(|batch| batch.last_offset < end);
            !known.batches.is_empty()
        });
        producers
    }

    /// Forgets who was silent for `expiration_ms`. Cheap when called often.
    pub(crate) fn sweep(&mut self, wall: Timestamp, expiration_ms: u64) {
        let interval = i64::try_from(expiration_ms / 16).unwrap_or(i64::MAX);
        if (self.by_id.is_empty() && self.awaited.is_empty()) || wall.0.saturating_sub(self.swept.0) < interval {
            return;
        }
        self.swept = wall;
        let silence = i64::try_from(expiration_ms).unwrap_or(i64::MAX);
        self.by_id.retain(|_, producer| {
            let seen = *producer.seen.get_or_insert(wall);
            wall.0.saturating_sub(seen.0) < silence
        });
        self.awaited.retain(|awaited| wall.0.saturating_sub(awaited.since.0) < silence);
    }

    /// Makes room for one more; a sixteenth at once, so that a flood of new producers does not sort every time.
    fn forget_most_idle(&mut self) {
        let mut by_age: Vec<_> = self
            .by_id
            .iter()
            .map(|(id, producer)| (producer.batches.back().map(|last| last.last_offset), *id))
            .collect();
        by_age.sort_unstable();
        for (_, id) in by_age.iter().take(by_age.len() / 16 + 1) {
            self.by_id.remove(id);
        }
    }

    pub(crate) fn invariants(&self) {
        assert!(self.awaited.len() <= AWAITED_MAX);
        assert!(self.awaited.iter().all(|awaited| !self.by_id.contains_key(&awaited.id)));
        for producer in self.by_id.values() {
            assert!(producer.batches.len() <= REMEMBERED_MAX);
            assert!(
                producer
                    .batches
                    .iter()
                    .zip(producer.batches.iter().skip(1))
                    .all(|(a, b)| a.last_offset < b.base_offset)
            );
        }
    }
}

/// The sequence of a batch's last record; after `i32::MAX` comes 0.
fn last_sequence(base: i32, delta: u32) -> i32 {
    let sum = (i64::from(base) + i64::from(delta)) % (i64::from(i32::MAX) + 1);
    i32::try_from(sum).expect("below 2^31 by the modulus, and the base is not negative")
}

fn next_sequence(last: i32) -> i32 {
    last.checked_add(1).unwrap_or(0)
}

/// As many batches as a producer may have in flight (`max.in.flight.requests.per.connection` with idempotence).
pub(crate) const REMEMBERED_MAX: usize = 5;
/// Producers awaited in one partition.
const AWAITED_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_wrap_after_the_largest() {
        assert_eq!(last_sequence(i32::MAX - 1, 1), i32::MAX);
        assert_eq!(last_sequence(i32::MAX, 1), 0);
        assert_eq!(next_sequence(i32::MAX), 0);
    }
}
