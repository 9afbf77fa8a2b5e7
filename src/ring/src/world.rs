//! One face for the two worlds with a kernel, and the choice between them.

use std::io;

use effect::{Done, Instant, Io, Op, Pool, ShardId, Token, Wait};
use model::Timestamp;

use crate::{Poll, Probe, Ring, Wakers};

/// What a shard's world is made of.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Whose world it is.
    pub shard: ShardId,
    /// The event counters of all shards.
    pub wakers: Wakers,
    /// Where receive buffers come from. A ring keeps `recv_buffer_count` of them out of it all the time.
    pub pool: Pool,
    /// The size of a receive buffer: the most that one receive answers.
    pub recv_buffer_bytes: usize,
    /// How many receive buffers are on offer to the kernel; a power of two.
    pub recv_buffer_count: u16,
}

impl Setup {
    /// With receive buffers of 32 KiB, 64 of them on offer: 2 MiB, which fits a core's share of cache.
    pub fn new(shard: ShardId, wakers: Wakers, pool: Pool) -> Setup {
        Setup { shard, wakers, pool, recv_buffer_bytes: 32 << 10, recv_buffer_count: 64 }
    }
}

/// Which world is wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Backend {
    /// A ring where the kernel allows one, else epoll.
    Auto,
    /// A ring or an error.
    Ring,
    /// Epoll and disk threads.
    Poll,
}

/// A world with a kernel under it. Stays on the thread that opened it.
#[derive(Debug)]
pub enum World {
    /// On io_uring.
    Ring(Box<Ring>),
    /// On epoll and disk threads.
    Poll(Box<Poll>),
}

impl World {
    /// Opens the world of `setup.shard`, on the thread that will drive it.
    pub fn open(backend: Backend, probe: &Probe, setup: Setup) -> io::Result<World> {
        let ring = match backend {
            Backend::Auto => probe.fits_ring(),
            Backend::Ring => true,
            Backend::Poll => false,
        };
        if ring {
            Ok(World::Ring(Box::new(Ring::open(probe, setup)?)))
        } else {
            Poll::open(setup).map(Box::new).map(World::Poll)
        }
    }

    /// The world's name, for banner and metrics.
    pub fn backend_name(&self) -> &'static str {
        match self {
            World::Ring(_) => "io_uring",
            World::Poll(_) => "epoll",
        }
    }
}

impl Io for World {
    fn now(&self) -> Instant {
        crate::clock::now()
    }

    fn wall(&self) -> Timestamp {
        crate::clock::wall()
    }

    fn entropy(&mut self) -> u64 {
        match self {
            World::Ring(ring) => ring.entropy(),
            World::Poll(poll) => poll.entropy(),
        }
    }

    fn turn(&mut self, ops: &mut Vec<(Token, Op)>, done: &mut Vec<(Token, Done)>, wait: Wait) {
        match self {
            World::Ring(ring) => ring.turn(ops, done, wait),
            World::Poll(poll) => poll.turn(ops, done, wait),
        }
    }
}
