//! The trait that a world implements, and the list of what a core wants of it.

use model::Timestamp;

use crate::{Done, Instant, Op, ShardId, Token};

/// How long a turn may wait for a completion.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wait {
    /// Not at all: there is work.
    No,
    /// Until something completes, a peer wakes this shard, or this instant.
    Until(Instant),
    /// Until something completes or a peer wakes this shard.
    Forever,
}

/// The only seam to a kernel, crossed once a turn.
pub trait Io {
    /// Monotonic time now.
    fn now(&self) -> Instant;
    /// Wall-clock time now, ms since the epoch; may jump.
    fn wall(&self) -> Timestamp;
    /// 64 bits that nobody can foresee (in the simulator: of the seed).
    fn entropy(&mut self) -> u64;
    /// Takes every operation out of `ops`, starts it, waits as allowed, and adds what has completed to `done`.
    fn turn(&mut self, ops: &mut Vec<(Token, Op)>, done: &mut Vec<(Token, Done)>, wait: Wait);
}

/// What the cores of a shard want done; handed to the world once a turn.
#[derive(Debug, Default)]
pub struct Effects {
    /// In the order in which they are started. Operations on one file or socket may still complete in any order.
    pub ops: Vec<(Token, Op)>,
}

impl Effects {
    /// Asks for one operation.
    pub fn push(&mut self, token: Token, op: Op) {
        self.ops.push((token, op));
    }

    /// Rouses a sleeping shard.
    pub fn wake(&mut self, shard: ShardId) {
        self.ops.push((Token { room: 0, kind: 0, generation: 0, slot: 0 }, Op::Wake { shard }));
    }
}
