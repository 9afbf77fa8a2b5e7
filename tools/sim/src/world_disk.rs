//! How long an operation of the disk takes, and whether it fails.

use effect::Op;

use crate::disk::Verdict;
use crate::faults::Trouble;
use crate::trace::Who;
use crate::world::{Event, Flight, World};

impl World {
    pub(crate) fn disk_ns(&mut self, op: &Op) -> u64 {
        let (low, high) = match op {
            Op::Write { sync: true, .. } => (60_000, 1_000_000),
            Op::Sync { .. } | Op::SyncDir { .. } | Op::SyncTree { .. } => (100_000, 3_000_000),
            Op::Read { .. } => (30_000, 500_000),
            Op::Write { .. } => (20_000, 300_000),
            _ => (5_000, 200_000),
        };
        let mut ns = self.rng.spread(low, high);
        if self.rng.chance(self.faults.slow_per_mille) {
            ns *= self.rng.range(10, 100);
        }
        if self.faults.on(Trouble::SlowDisk, self.now_ns) {
            ns *= self.rng.range(5, 50);
        }
        ns
    }

    /// An operation of the disk ends.
    pub(crate) fn finish_disk(&mut self, id: u64, flight: Flight) {
        let verdict = if flight.fails { Verdict::BadDevice } else { self.verdict(&flight.op) };
        let name = crate::describe::numbers(&flight.op);
        let what = self.trace.is_printing().then(|| crate::describe::op(&flight.op));
        let mut rng = self.rng.fork();
        let done = self.disk.finish(id, flight.op, verdict, &mut rng);
        let number = crate::describe::done_number(&done);
        self.note(Who::Shard(flight.shard), "done", [name[0], name[1], number], || {
            format!("{}: {}", what.unwrap_or_default(), crate::describe::done(&done))
        });
        self.answer(flight.shard, flight.token, done);
        if let Some(tag) = flight.then {
            self.after(0, Event::Timer(tag));
        }
    }

    pub(crate) fn verdict(&mut self, op: &Op) -> Verdict {
        let device = matches!(
            op,
            Op::Write { .. }
                | Op::Sync { .. }
                | Op::SyncDir { .. }
                | Op::SyncTree { .. }
                | Op::Read { .. }
                | Op::SendFile { .. }
                | Op::Allocate { .. }
        );
        let volume = self.disk.volume(op);
        let fails = device && self.faults.on(Trouble::BadDisk(volume), self.now_ns);
        if fails && self.rng.chance(self.faults.disk_fails_per_mille) {
            return Verdict::BadDevice;
        }
        if self.faults.on(Trouble::FullDisk(volume), self.now_ns) { Verdict::Full } else { Verdict::Good }
    }
}
