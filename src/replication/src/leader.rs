//! The leader of one partition.

use std::collections::VecDeque;

use model::{LeaderEpoch, Offset};

use crate::WatchId;

/// A partition's leader. `A` is what the caller needs to answer a producer.
#[derive(Debug)]
pub struct Leader<A> {
    epoch: LeaderEpoch,
    high_watermark: Offset,
    /// Producers that wait until the high watermark reaches an offset, the lowest first.
    acks: VecDeque<(Offset, A)>,
    pub(crate) watches: Vec<WatchId>,
}

/// A client's idea of the leader epoch is not ours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EpochError {
    /// It is older: the client must ask for metadata again.
    Fenced,
    /// It is newer than any we know.
    Unknown,
}

impl<A> Leader<A> {
    /// A leader of this epoch over a log that is durable up to `high_watermark`.
    pub fn new(epoch: LeaderEpoch, high_watermark: Offset) -> Leader<A> {
        Leader { epoch, high_watermark, acks: VecDeque::new(), watches: Vec::new() }
    }

    /// This leadership's epoch.
    pub fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// The first offset that consumers may not see yet.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The first offset that a read_committed consumer may not see yet: without transactions, the high watermark.
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark
    }

    /// Checks the epoch that a client believes in (KIP-320); `None`: it has no idea, and that is fine.
    pub fn check_epoch(&self, claimed: Option<LeaderEpoch>) -> Result<(), EpochError> {
        match claimed {
            Some(claimed) if claimed < self.epoch => Err(EpochError::Fenced),
            Some(claimed) if claimed > self.epoch => Err(EpochError::Unknown),
            _ => Ok(()),
        }
    }

    /// Answers `ack` once the high watermark has reached `end`; gives it back if it has already.
    pub fn acknowledge_at(&mut self, end: Offset, ack: A) -> Option<A> {
        if end <= self.high_watermark {
            return Some(ack);
        }
        // A duplicate may wait for less than the last append does.
        let at = self.acks.partition_point(|(other, _)| *other <= end);
        self.acks.insert(at, (end, ack));
        None
    }

    /// The log is durable up to `end`: moves the high watermark and hands over every producer that may be answered.
    /// Returns whether it moved.
    pub fn advance(&mut self, end: Offset, mut release: impl FnMut(A)) -> bool {
        assert!(end >= self.high_watermark, "a durable end never goes back");
        if end == self.high_watermark {
            return false;
        }
        self.high_watermark = end;
        while self.acks.front().is_some_and(|(wanted, _)| *wanted <= end) {
            let (_, ack) = self.acks.pop_front().expect("it has a front");
            release(ack);
        }
        true
    }

    /// Nothing more will become durable here: hands over every producer that waits.
    pub fn abandon(&mut self, mut release: impl FnMut(A)) {
        self.acks.drain(..).for_each(|(_, ack)| release(ack));
    }

    /// How many producers wait.
    pub fn waiting(&self) -> usize {
        self.acks.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::new(value)
    }

    #[test]
    fn producers_are_answered_in_offset_order_once_durable() {
        let mut leader = Leader::new(LeaderEpoch(3), offset(10));
        assert_eq!(leader.acknowledge_at(offset(10), "done"), Some("done"));
        assert_eq!(leader.acknowledge_at(offset(30), "late"), None);
        assert_eq!(leader.acknowledge_at(offset(20), "duplicate of an earlier one"), None);
        let mut released = Vec::new();
        assert!(leader.advance(offset(25), |ack| released.push(ack)));
        assert_eq!(released, ["duplicate of an earlier one"]);
        assert!(!leader.advance(offset(25), |_| unreachable!("nothing moved")));
        assert!(leader.advance(offset(30), |ack| released.push(ack)));
        assert_eq!(released, ["duplicate of an earlier one", "late"]);
        assert_eq!(leader.waiting(), 0);
    }

    #[test]
    fn epochs_are_fenced_both_ways() {
        let leader = Leader::<()>::new(LeaderEpoch(3), offset(0));
        assert_eq!(leader.check_epoch(None), Ok(()));
        assert_eq!(leader.check_epoch(Some(LeaderEpoch(3))), Ok(()));
        assert_eq!(leader.check_epoch(Some(LeaderEpoch(2))), Err(EpochError::Fenced));
        assert_eq!(leader.check_epoch(Some(LeaderEpoch(4))), Err(EpochError::Unknown));
    }
}
