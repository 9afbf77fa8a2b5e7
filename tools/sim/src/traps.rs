//! Traps: faults that wait for what the disk is asked for, so that crashes hit recoveries, rolls, renames and cuts
//! far more often than chance would.

use effect::{Op, OpKind};

use crate::disk::FileClass;
use crate::rng::Rng;
use crate::world::{Event, World};

/// A fault that waits for an operation of the disk. It springs once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Operations count from this start of the broker on.
    pub boots: u32,
    /// Which operations count.
    pub bait: Bait,
    /// How many of them pass before it springs.
    pub skip: u64,
    /// What becomes of the operation.
    pub snap: Snap,
    /// The timer of the run that goes off then.
    pub tag: u32,
}

/// Which operations of the disk a trap waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bait {
    /// Every one.
    Any,
    /// What is done to files of a class.
    Class(FileClass),
    /// A kind of operation.
    Kind(OpKind),
}

/// What becomes of the operation that springs a trap.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Snap {
    /// The timer goes off while it is in flight.
    During,
    /// The timer goes off right after it is done, before anybody hears of it.
    After,
    /// It fails; the timer goes off a while later.
    Fails,
}

impl Trap {
    /// One that kills, by `tag`, at a time that is worth it.
    pub(crate) fn draw(rng: &mut Rng, tag: u32) -> Trap {
        let snap = if rng.coin() { Snap::During } else { Snap::After };
        let boots = rng.range(1, 3) as u32;
        if rng.chance(300) {
            // Somewhere in a start.
            return Trap { boots, bait: Bait::Any, skip: rng.spread(1, 128) - 1, snap, tag };
        }
        let (bait, skip_max) = BAITS[rng.index(BAITS.len())];
        Trap { boots, bait, skip: rng.spread(1, skip_max) - 1, snap, tag }
    }
}

/// What happens where a broker is weak, and about how often in a run.
const BAITS: [(Bait, u64); 12] = [
    (Bait::Class(FileClass::Segment), 512),
    (Bait::Class(FileClass::Journal), 256),
    (Bait::Class(FileClass::Checkpoint), 32),
    (Bait::Class(FileClass::Cleaned), 32),
    (Bait::Class(FileClass::Snapshot), 32),
    (Bait::Class(FileClass::Index), 32),
    (Bait::Kind(OpKind::Rename), 16),
    (Bait::Kind(OpKind::Remove), 16),
    (Bait::Kind(OpKind::SetLen), 32),
    (Bait::Kind(OpKind::SyncDir), 64),
    (Bait::Kind(OpKind::SyncTree), 16),
    (Bait::Kind(OpKind::Allocate), 64),
];

impl World {
    /// Whether an operation that begins and takes so long springs a trap: whether it fails, and the timer at its end.
    pub(crate) fn spring(&mut self, op: &Op, takes_ns: u64) -> (bool, Option<u32>) {
        let (class, kind, boots) = (self.disk.class(op), op.kind(), self.boots);
        let mut sprung = None;
        self.faults.traps.retain_mut(|trap| {
            let counts = match trap.bait {
                Bait::Any => true,
                Bait::Class(wanted) => wanted == class,
                Bait::Kind(wanted) => wanted == kind,
            };
            if boots < trap.boots || !counts {
                return true;
            }
            if trap.skip > 0 || sprung.is_some() {
                trap.skip = trap.skip.saturating_sub(1);
                return true;
            }
            sprung = Some(*trap);
            false
        });
        let Some(trap) = sprung else { return (false, None) };
        match trap.snap {
            Snap::After => return (false, Some(trap.tag)),
            Snap::During => {
                let after_ns = self.rng.range(0, takes_ns);
                self.after(after_ns, Event::Timer(trap.tag));
            }
            Snap::Fails => {
                let after_ns = takes_ns + self.rng.spread(1_000_000, 20_000_000);
                self.after(after_ns, Event::Timer(trap.tag));
            }
        }
        (trap.snap == Snap::Fails, None)
    }
}
