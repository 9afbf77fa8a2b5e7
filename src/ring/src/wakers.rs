//! How one shard rouses another: an event counter for each shard, on which its world listens while it sleeps.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;

use effect::ShardId;

use crate::sys;

/// The event counters of a group of shards. Cloning shares them.
#[derive(Clone, Debug)]
pub struct Wakers {
    counters: Arc<[OwnedFd]>,
}

impl Wakers {
    /// One counter for each of `shards` shards.
    pub fn new(shards: usize) -> io::Result<Wakers> {
        let counters: io::Result<Vec<OwnedFd>> = (0..shards).map(|_| sys::eventfd()).collect();
        Ok(Wakers { counters: counters?.into() })
    }

    /// Ends the wait of `shard`'s world, now or the next time that it waits. Any thread may call it.
    pub fn wake(&self, shard: ShardId) {
        sys::raise_event(&self.counters[shard.index()]);
    }

    /// The counter of `shard`, for its world.
    pub(crate) fn fd(&self, shard: ShardId) -> RawFd {
        self.counters[shard.index()].as_raw_fd()
    }

    /// Empties the counter of `shard`, which is known to be set.
    pub(crate) fn drain(&self, shard: ShardId) {
        sys::drain_event(&self.counters[shard.index()]);
    }
}
