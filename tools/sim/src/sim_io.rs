//! The seam, as a shard sees it: [`effect::Io`] over the shared world.

use std::cell::RefCell;
use std::rc::Rc;

use effect::{Done, Instant, Io, Op, Token, Wait};
use model::Timestamp;

use crate::world::World;

/// One shard's end of the world. A turn never blocks here: the run lets a shard turn only when it has a reason.
#[derive(Clone)]
pub struct SimIo {
    world: Rc<RefCell<World>>,
    shard: usize,
}

impl SimIo {
    /// The end of this shard.
    pub fn new(world: Rc<RefCell<World>>, shard: usize) -> SimIo {
        SimIo { world, shard }
    }
}

impl Io for SimIo {
    fn now(&self) -> Instant {
        Instant(self.world.borrow().now_ns())
    }

    fn wall(&self) -> Timestamp {
        Timestamp(self.world.borrow().wall_ms())
    }

    fn entropy(&mut self) -> u64 {
        self.world.borrow_mut().entropy()
    }

    fn turn(&mut self, ops: &mut Vec<(Token, Op)>, done: &mut Vec<(Token, Done)>, wait: Wait) {
        let mut world = self.world.borrow_mut();
        world.submit(self.shard, ops, wait);
        world.collect(self.shard, done);
    }
}
