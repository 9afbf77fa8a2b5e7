//! What goes wrong in one run. Every seed draws which kinds of fault it has, how often and when: runs with one kind
//! alone find what runs with all of them hide.

use crate::disk::FileClass;
use crate::rng::Rng;
use crate::traps::{Snap, Trap};
use crate::world::VOLUMES_MAX;

/// The faults of one run.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// The lasting ones.
    pub periods: Vec<Period>,
    /// Of the disk operations in a bad period, how many in a thousand fail.
    pub disk_fails_per_mille: u64,
    /// Of the operations of disk and network, how many in a thousand take very long.
    pub slow_per_mille: u64,
    /// Of the runs of bytes on the network, how many in a hundred thousand are the last of their connection.
    pub cuts_per_100k: u64,
    /// The most bytes that travel together; small values split every frame.
    pub run_bytes_max: u64,
    /// What fits between a sender and a receiver that doesn't read.
    pub pipe_bytes: usize,
    /// The largest jump of the wall clock, either way.
    pub wall_jump_ms_max: u64,
    /// The size of each log directory's disk, until calm; none is far more than is needed.
    pub budget_bytes: [Option<u64>; VOLUMES_MAX],
    /// What waits for an operation of the disk.
    pub traps: Vec<Trap>,
    /// What rots, a bit each.
    pub rots: Vec<FileClass>,
    /// A log directory is not there at some start.
    pub absence: bool,
}

/// A kind of fault that lasts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Every disk operation takes many times longer.
    SlowDisk,
    /// No room can be had on this log directory's disk.
    FullDisk(usize),
    /// Reads, writes and syncs of this log directory fail.
    BadDisk(usize),
    /// One shard gets no processor.
    Pause(usize),
    /// Bytes crawl.
    SlowNet,
}

/// When a lasting fault is on.
#[derive(Clone, Copy, Debug)]
pub struct Period {
    /// Which.
    pub trouble: Trouble,
    /// From then.
    pub from_ns: u64,
    /// Until then.
    pub to_ns: u64,
}

impl Faults {
    /// Nothing goes wrong, and everything is quick.
    pub fn none() -> Faults {
        Faults { run_bytes_max: 1 << 16, pipe_bytes: 1 << 16, ..Faults::default() }
    }

    /// What this seed has, over the first `span_ns` of the run.
    pub fn draw(rng: &mut Rng, span_ns: u64, directories: usize) -> Faults {
        let mut faults = Faults {
            run_bytes_max: [40, 300, 1500, 1 << 16][rng.index(4)],
            pipe_bytes: [1 << 12, 1 << 14, 1 << 16][rng.index(3)],
            ..Faults::default()
        };
        if rng.chance(CLEAN_PER_MILLE) {
            return faults;
        }
        if rng.coin() {
            faults.slow_per_mille = rng.range(1, 20);
        }
        if rng.coin() {
            faults.cuts_per_100k = rng.spread(5, 1000);
        }
        if rng.chance(300) {
            // A record's time may lie an hour ahead of the broker's; three jumps stay within that.
            faults.wall_jump_ms_max = rng.spread(10, 1_000_000);
        }
        let volume = rng.index(directories);
        let kinds: [(u64, Trouble, u64); 7] = [
            (300, Trouble::SlowDisk, span_ns / 4),
            (300, Trouble::FullDisk(volume), span_ns / 4),
            (150, Trouble::BadDisk(rng.index(directories)), span_ns / 20),
            (250, Trouble::Pause(0), span_ns / 20),
            (250, Trouble::Pause(1), span_ns / 20),
            (150, Trouble::Pause(2), span_ns / 20),
            (300, Trouble::SlowNet, span_ns / 8),
        ];
        for (per_mille, trouble, length_max) in kinds {
            if rng.chance(per_mille) {
                for _ in 0..rng.range(1, 3) {
                    let from_ns = rng.below(span_ns);
                    let to_ns = from_ns + rng.spread(length_max / 64 + 1, length_max + 1);
                    faults.periods.push(Period { trouble, from_ns, to_ns });
                }
            }
        }
        faults.disk_fails_per_mille = rng.range(5, 300);
        if rng.chance(150) {
            faults.budget_bytes[volume] = Some(rng.spread(BUDGET_BYTES_MIN, 64 * BUDGET_BYTES_MIN));
        }
        if rng.chance(200) {
            let classes = [FileClass::Segment, FileClass::Segment, FileClass::Snapshot];
            faults.rots = (0..rng.range(1, 3)).map(|_| classes[rng.index(classes.len())]).collect();
        }
        faults
    }

    /// Whether nothing is slow, cut or failing: then answers come soon and nobody complains.
    pub fn is_clean(&self) -> bool {
        self.periods.is_empty() && self.slow_per_mille == 0 && self.cuts_per_100k == 0 && !self.disk_refuses()
    }

    /// Whether the disk fails, fills or rots at some time.
    pub fn disk_refuses(&self) -> bool {
        let refuses = |period: &Period| matches!(period.trouble, Trouble::BadDisk(_) | Trouble::FullDisk(_));
        self.periods.iter().any(refuses)
            || self.budget_bytes.iter().any(Option::is_some)
            || self.traps.iter().any(|trap| trap.snap == Snap::Fails)
            || !self.rots.is_empty()
            || self.absence
    }

    /// Whether a lasting fault is on; if so, when it ends.
    pub fn until(&self, trouble: Trouble, now_ns: u64) -> Option<u64> {
        let on = |period: &&Period| period.trouble == trouble && (period.from_ns..period.to_ns).contains(&now_ns);
        self.periods.iter().filter(on).map(|period| period.to_ns).max()
    }

    /// Whether it is on.
    pub fn on(&self, trouble: Trouble, now_ns: u64) -> bool {
        self.until(trouble, now_ns).is_some()
    }

    /// When the last failure of a disk ends; `None` if the run has none.
    pub fn last_bad_end(&self) -> Option<u64> {
        let bad = |period: &&Period| matches!(period.trouble, Trouble::BadDisk(_));
        self.periods.iter().filter(bad).map(|period| period.to_ns).max()
    }
}

/// Runs without faults but kills: they show what is slow or said without a reason.
const CLEAN_PER_MILLE: u64 = 200;

/// The least size of a disk: the broker's own files and a few records.
const BUDGET_BYTES_MIN: u64 = 256 << 10;
