//! How many reads and writes the disk is given at once: beyond its own queue a submission would block the shard.

use std::collections::VecDeque;

use super::Id;

/// A lane for each direction, so that neither starves the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Side {
    Read,
    Write,
}

#[derive(Default)]
pub(super) struct Lane {
    busy: usize,
    queue: VecDeque<Id>,
}

impl Lane {
    /// Takes a place if one is free.
    pub(super) fn enter(&mut self) -> bool {
        let free = self.busy < BUSY_MAX;
        self.busy += usize::from(free);
        free
    }

    pub(super) fn wait(&mut self, id: Id) {
        self.queue.push_back(id);
    }

    /// Gives a place back.
    pub(super) fn leave(&mut self) {
        assert!(self.busy > 0);
        self.busy -= 1;
    }

    /// Who waits longest, if a place is free. It may be gone already.
    pub(super) fn next(&mut self) -> Option<Id> {
        if self.busy < BUSY_MAX { self.queue.pop_front() } else { None }
    }
}

/// Both lanes of two shards fill the usual device queue of 256.
const BUSY_MAX: usize = 64;
