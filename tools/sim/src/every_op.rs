//! A short script, again and again: each time another operation of the disk fails, or is the last of its process or
//! of its machine.
//!
//! The script: topics, one of them deleted, a producer of some batches and a consumer; segments roll; a stop or a kill; some more batches;
//! a kill; everything is read back. Nothing else goes wrong, so that what fails is what was done to that one operation.

use std::fmt;

use crate::clients::{Actor, Admin, Consumer, Idempotent};
use crate::faults::Faults;
use crate::oracle::Rules;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::run::{KILL, Report, STOP, TRAP_CUT, TRAP_KILL, go};
use crate::trace::Trace;
use crate::traps::{Bait, Snap, Trap};

/// Which script.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Script {
    /// The broker has so many shards.
    pub shards: usize,
    /// In its middle the broker is asked to stop, or killed.
    pub stops: bool,
}

impl Script {
    /// All of them, by name.
    pub const ALL: [(&str, Script); 3] = [
        ("stop", Script { shards: 1, stops: true }),
        ("kill", Script { shards: 1, stops: false }),
        ("shards", Script { shards: 3, stops: false }),
    ];
}

/// What is done to one operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EveryOp {
    /// It fails with EIO, and the broker is started again soon.
    Fails,
    /// The process is killed right after it.
    Killed,
    /// The power fails right after it.
    PowerCut,
}

impl EveryOp {
    /// All of them.
    pub const ALL: [EveryOp; 3] = [EveryOp::Fails, EveryOp::Killed, EveryOp::PowerCut];
}

impl fmt::Display for EveryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EveryOp::Fails => "fails",
            EveryOp::Killed => "killed",
            EveryOp::PowerCut => "power-cut",
        })
    }
}

/// Runs the script; with `at`, something is done to its n-th operation. A violation is a panic.
/// Answers what happened, and how many operations the disk was asked for.
pub fn every_op(script: Script, at: Option<(u64, EveryOp)>, trace: Trace) -> (Report, u64) {
    let traps = at.map(|(skip, what)| {
        let (snap, tag) = match what {
            EveryOp::Fails => (Snap::Fails, TRAP_KILL),
            EveryOp::Killed => (Snap::After, TRAP_KILL),
            EveryOp::PowerCut => (Snap::After, TRAP_CUT),
        };
        Trap { boots: 1, bait: Bait::Any, skip, snap, tag }
    });
    let stamped = Rules { log_append_time: true, ..Rules::default() };
    let people: Vec<Box<dyn Actor>> = vec![
        Box::new(Admin::brief(&[(2, Rules::default()), (1, stamped)], CHANGES)),
        Box::new(Idempotent::brief(BATCHES)),
        Box::new(Consumer::default()),
    ];
    go(
        Plan {
            rng: Rng::new(script.shards as u64),
            span_ns: SPAN_NS,
            faults: Faults { traps: traps.into_iter().collect(), ..Faults::none() },
            timers: vec![(SPAN_NS / 2, if script.stops { STOP } else { KILL })],
            people,
            directories: 1,
            shards: Some(script.shards),
            segment_bytes: Some(SEGMENT_BYTES),
            last_power_cut: false,
        },
        trace,
    )
}

const SPAN_NS: u64 = 200_000_000;
const BATCHES: usize = 200;
const CHANGES: u32 = 4;
const SEGMENT_BYTES: u32 = 32 << 10;
