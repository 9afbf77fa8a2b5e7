//! Checkpoints of one log directory: what each log is, so that a start need not read a segment.
//!
//! A checkpoint says of each log that changed since the last one where its end is, and what is known of its producers.
//! Before it counts, every whole block up to those ends is in the segments, and one sync of the whole directory has
//! made that durable. The frames of the journal before it are not needed then; they are kept until the next checkpoint,
//! so that a damaged last one loses nothing. Now and then a new file begins, with a checkpoint of all logs.
//!
//! Owns the cycle. `record.rs` has the format.
//! Invariant: a record says nothing of what was not durable when it was made.

pub(crate) mod record;

use std::collections::{BTreeSet, VecDeque};

use effect::{Done, Effects, Fault, File, Op, OpenMode};

use model::Offset;

use crate::checkpoint::record::{Record, SegmentRecord, Tail};
use crate::engine::{is_full, is_shortage};
use crate::job::RootWork;
use crate::journal::FileState;
use crate::journal::frame::{Head, Kind, crc};
use crate::journal::name::DIRECTORY;
use crate::partition::Goal;
use crate::root::Stage;
use crate::segment::BLOCK;
use crate::space::Room;
use crate::{Log, LogRef};

/// One directory's checkpoints.
#[derive(Debug, Default)]
pub(crate) struct Checkpoints {
    cycle: Option<Box<Cycle>>,
    file: Option<CheckpointFile>,
    /// Files of earlier checkpoints, removed once the one after the next is whole.
    pub(crate) old: Vec<u64>,
    /// Whole ones of this run.
    pub(crate) count: u64,
    /// The first frame that the last whole one leaves to be replayed.
    keep: u64,
    /// Logs that changed since they were last written of; each at most once.
    pub(crate) touched: Vec<LogRef>,
    /// Memory is short: a checkpoint, so that chunks may go.
    pub(crate) pressed: bool,
    /// Somebody waits until no start writes to a closed segment any more: so many more checkpoints.
    pub(crate) settle: u8,
    /// Logs that the last one wrote of.
    settling: Vec<LogRef>,
    /// Logs were closed on a full disk, as they were: a checkpoint that still has to write of logs would leave them out.
    pub(crate) over: bool,
}

#[derive(Debug)]
struct CheckpointFile {
    number: u64,
    file: File,
    position: u64,
    sequence: u64,
    previous: u32,
    /// How long it was when it had said everything once.
    full_bytes: u64,
}

/// A checkpoint on its way.
#[derive(Debug)]
struct Cycle {
    is_full: bool,
    keep: u64,
    /// Logs still to be written of.
    collect: VecDeque<LogRef>,
    collected: Vec<(LogRef, Offset)>,
    /// What must be in the segments first: not begun, and begun.
    goals: VecDeque<(LogRef, Goal)>,
    active: BTreeSet<LogRef>,
    bodies: VecDeque<Vec<u8>>,
    phase: Phase,
    /// Somebody waits for it.
    settles: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Destage,
    Sync,
    Write,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CheckpointStep {
    SyncTree,
    Open(u64),
    Write { last: bool, bytes: u64, crc: u32 },
    SyncDir,
}

impl Log {
    /// Notes that a log is not as the last checkpoint has it.
    pub(crate) fn touch(&mut self, log: LogRef) {
        let partition = self.known(log);
        if !partition.touched {
            partition.touched = true;
            let root = partition.root;
            self.roots[root].checkpoint.touched.push(log);
        }
    }

    /// Begins a checkpoint if one is due, goes on with it otherwise.
    pub(crate) fn pump_checkpoint(&mut self, root: usize, out: &mut Effects) {
        let state = &self.roots[root];
        if state.offline || state.checkpoint.over || state.stage != Stage::Ready || !self.all_opened {
            return;
        }
        if state.checkpoint.cycle.is_none() {
            if !self.is_due(root) {
                return;
            }
            self.begin_cycle(root);
        }
        self.collect(root);
        self.pump_goals(root, out);
    }

    fn is_due(&self, root: usize) -> bool {
        let state = &self.roots[root];
        let (checkpoint, journal) = (&state.checkpoint, &state.journal);
        let has_old = !state.foreign.is_empty() || journal.files.iter().any(|file| file.state == FileState::Old);
        let is_closing = self.closing.is_some() && !state.checkpoint.touched.is_empty();
        (checkpoint.count < 2 && has_old)
            || journal.bytes >= self.config.journal_bytes_max / 4
            || journal.direct_bytes >= DIRECT_BYTES_MAX
            || (journal.blocked && !journal.making)
            || (checkpoint.pressed && !checkpoint.touched.is_empty())
            || checkpoint.settle > 0
            || (is_closing && self.is_committed(root))
    }

    /// Whether nothing waits for the journal any more.
    fn is_committed(&self, root: usize) -> bool {
        let journal = &self.roots[root].journal;
        journal.in_flight.is_none() && journal.waiting.is_empty() && journal.starts.is_empty()
    }

    /// Whether a clean stop has nothing left to write here.
    pub(crate) fn is_checkpointed(&self, root: usize) -> bool {
        let state = &self.roots[root];
        let checkpoint = &state.checkpoint;
        state.offline
            || state.space.room == Room::Full
            || !self.all_opened
            || (checkpoint.cycle.is_none() && checkpoint.touched.is_empty() && self.is_committed(root))
    }

    fn begin_cycle(&mut self, root: usize) {
        let is_full = self.roots[root]
            .checkpoint
            .file
            .as_ref()
            .is_none_or(|file| file.position > file.full_bytes.saturating_mul(4).saturating_add(DELTA_BYTES_MAX));
        let touched = std::mem::take(&mut self.roots[root].checkpoint.touched);
        let collect = if is_full { self.all_logs() } else { touched };
        let journal = &mut self.roots[root].journal;
        journal.bytes = 0;
        journal.direct_bytes = 0;
        let keep = journal.first_pending();
        self.roots[root].checkpoint.pressed = false;
        let settle = &mut self.roots[root].checkpoint.settle;
        let settles = *settle > 0;
        *settle = settle.saturating_sub(1);
        self.roots[root].checkpoint.cycle = Some(Box::new(Cycle {
            is_full,
            keep,
            collect: collect.into(),
            collected: Vec::new(),
            goals: VecDeque::new(),
            active: BTreeSet::new(),
            bodies: VecDeque::new(),
            phase: Phase::Destage,
            settles,
        }));
    }

    fn cycle(&mut self, root: usize) -> Option<&mut Cycle> {
        self.roots[root].checkpoint.cycle.as_deref_mut()
    }

    /// Writes down a few more logs as they are now.
    fn collect(&mut self, root: usize) {
        for _ in 0..COLLECT_MAX {
            let Some(cycle) = self.cycle(root).filter(|cycle| cycle.phase == Phase::Destage) else { return };
            let Some(log) = cycle.collect.pop_front() else { return };
            let is_last = cycle.collect.is_empty();
            let Some(partition) = self.partition(log).filter(|partition| partition.root == root) else { continue };
            if !partition.is_kept() {
                continue;
            }
            if partition.direct.is_some() || partition.swap.is_some() {
                // Its frame may be one that is not kept: its end is known when the write is. And which segments there
                // are is known when an exchange is over.
                self.cycle(root).expect("it is under way").collect.push_back(log);
                if is_last {
                    return;
                }
                continue;
            }
            self.collect_log(root, log);
        }
        self.wake();
    }

    fn collect_log(&mut self, root: usize, log: LogRef) {
        let is_closing = self.closing.is_some();
        let partition = self.known(log);
        partition.touched = false;
        let at = partition.durable_segment();
        let segment = &partition.segments[at];
        let end = segment.durable;
        let whole = end.position / BLOCK * BLOCK;
        let mut tail = Vec::new();
        segment.lend(whole, end.position).iter().for_each(|part| tail.extend_from_slice(part));
        // Those whose files are not removed yet are dropped again by a start.
        let mut closed: Vec<SegmentRecord> = partition.dropping.iter().copied().collect();
        closed.extend(partition.segments[..at].iter().map(SegmentRecord::of));
        let last = SegmentRecord { end, ..SegmentRecord::of(segment) };
        let is_trimmed = is_closing && partition.end() == end.offset;
        let base = segment.base;
        let goal = Goal { base, position: whole, trim: is_trimmed };
        let record = Record {
            at: partition.at,
            has_directory: partition.dir_ready || whole > 0 || at > 0,
            is_trimmed: partition.trimmed || is_trimmed,
            start: partition.start(),
            closed,
            last,
            compacted_to: partition.compacted.to,
            tail: Tail::Own(tail),
            knowledge: partition.knowledge.before(end.offset, partition.durable_max),
        };
        let mut bytes = Vec::new();
        record.encode(&mut bytes);
        let cycle = self.cycle(root).expect("it is under way");
        match cycle.bodies.back_mut().filter(|body| body.len() + bytes.len() <= BODY_BYTES_MAX) {
            Some(body) => body.extend(bytes),
            None => cycle.bodies.push_back(bytes),
        }
        cycle.collected.push((log, base));
        cycle.goals.push_back((log, goal));
        if !self.known(log).is_flushed() {
            // The next checkpoint leaves out the frame that has the rest.
            self.touch(log);
        }
    }

    /// Has a bounded number of logs write their whole blocks; afterwards the sync.
    fn pump_goals(&mut self, root: usize, out: &mut Effects) {
        loop {
            let Some(cycle) = self.cycle(root).filter(|cycle| cycle.phase == Phase::Destage) else { return };
            if cycle.active.len() >= DESTAGING_MAX {
                return;
            }
            let Some((log, goal)) = cycle.goals.pop_front() else { break };
            let Some(partition) = self.partition_mut(log) else { continue };
            partition.goal = Some(goal);
            self.cycle(root).expect("it is under way").active.insert(log);
            self.look(log, out);
        }
        let Some(cycle) = self.cycle(root) else { return };
        if !(cycle.collect.is_empty() && cycle.goals.is_empty() && cycle.active.is_empty()) {
            return;
        }
        cycle.phase = Phase::Sync;
        let path = self.roots[root].path.clone();
        self.submit_root(root, RootWork::Checkpoint(CheckpointStep::SyncTree), Op::SyncTree { path }, out);
    }

    /// A log may have reached its goal.
    pub(crate) fn check_goal(&mut self, log: LogRef) {
        let partition = self.known(log);
        if !partition.goal_reached() {
            return;
        }
        partition.goal = None;
        let root = partition.root;
        self.forget_goal(root, log);
        self.wake();
    }

    /// A log goes: nothing is to be written for it any more.
    pub(crate) fn forget_goal(&mut self, root: usize, log: LogRef) {
        if let Some(cycle) = self.cycle(root) {
            cycle.active.remove(&log);
        }
    }

    pub(crate) fn checkpoint_step(
        &mut self,
        root: usize,
        step: CheckpointStep,
        done: Result<Done, Fault>,
        out: &mut Effects,
    ) {
        let done = match done {
            Ok(done) => done,
            Err(fault) => return self.checkpoint_failed(root, step, fault, out),
        };
        match (step, done) {
            (CheckpointStep::SyncTree, _) => {
                let cycle = self.cycle(root).expect("it is under way");
                cycle.phase = Phase::Write;
                if cycle.bodies.is_empty() {
                    cycle.bodies.push_back(Vec::new());
                }
                if cycle.is_full {
                    self.open_checkpoint(root, out);
                } else {
                    self.write_checkpoint(root, out);
                }
            }
            (CheckpointStep::Open(number), Done::Opened(file)) => {
                let new = CheckpointFile { number, file, position: 0, sequence: 1, previous: 0, full_bytes: 0 };
                if let Some(before) = self.roots[root].checkpoint.file.replace(new) {
                    self.roots[root].checkpoint.old.push(before.number);
                    self.close_root_file(root, before.file, out);
                }
                self.write_checkpoint(root, out);
            }
            (CheckpointStep::Write { last, bytes, crc }, _) => {
                let file = self.roots[root].checkpoint.file.as_mut().expect("it was written to");
                file.position += bytes;
                file.sequence += 1;
                file.previous = crc;
                let is_full = self.cycle(root).is_some_and(|cycle| cycle.is_full);
                match (last, is_full) {
                    (false, _) => self.write_checkpoint(root, out),
                    (true, true) => {
                        let path = self.roots[root].path.join(DIRECTORY);
                        self.submit_root(
                            root,
                            RootWork::Checkpoint(CheckpointStep::SyncDir),
                            Op::SyncDir { path },
                            out,
                        );
                    }
                    (true, false) => self.checkpointed(root, out),
                }
            }
            (CheckpointStep::SyncDir, _) => self.checkpointed(root, out),
            (CheckpointStep::Open(_), other) => panic!("an opening was answered by {other:?}"),
        }
    }

    fn open_checkpoint(&mut self, root: usize, out: &mut Effects) {
        let journal = &mut self.roots[root].journal;
        let number = journal.next_number;
        journal.next_number += 1;
        let path = self.frames_path(root, number, true);
        let op = Op::Open { path, mode: OpenMode::Write };
        self.submit_root(root, RootWork::Checkpoint(CheckpointStep::Open(number)), op, out);
    }

    fn write_checkpoint(&mut self, root: usize, out: &mut Effects) {
        let run = self.run();
        let cycle = self.cycle(root).expect("it is under way");
        let keep = cycle.keep;
        let body = cycle.bodies.pop_front().expect("there is one more to write");
        let last = cycle.bodies.is_empty();
        let file = self.roots[root].checkpoint.file.as_ref().expect("it is open");
        let head = Head {
            kind: Kind::Checkpoint,
            run,
            sequence: file.sequence,
            previous: file.previous,
            keep,
            last,
            body_bytes: u32::try_from(body.len()).expect("a frame is far smaller than 4 GiB"),
            body_crc: crc(&body),
        };
        let (handle, offset) = (file.file, file.position);
        let (frame, crc) = self.lay_frame(&head, std::iter::once(&body[..]));
        let bytes = frame.len() as u64;
        let op = Op::Write { file: handle, offset, bufs: vec![frame], sync: true };
        let step = CheckpointStep::Write { last, bytes, crc };
        self.submit_root(root, RootWork::Checkpoint(step), op, out);
    }

    /// It is whole and durable: what it stands for is not needed any more.
    fn checkpointed(&mut self, root: usize, out: &mut Effects) {
        let cycle = self.roots[root].checkpoint.cycle.take().expect("it was under way");
        self.metrics.log_checkpoints_total.add(1);
        for log in std::mem::take(&mut self.roots[root].checkpoint.settling) {
            if let Some(partition) = self.partition_mut(log) {
                partition.settled_to = partition.settling_to;
            }
        }
        for (log, base) in &cycle.collected {
            if let Some(partition) = self.partition_mut(*log) {
                partition.settling_to = *base;
            }
        }
        self.roots[root].checkpoint.settling = cycle.collected.iter().map(|(log, _)| *log).collect();
        let checkpoint = &mut self.roots[root].checkpoint;
        checkpoint.count += 1;
        let checkpoint_count = checkpoint.count;
        let before = std::mem::replace(&mut checkpoint.keep, cycle.keep);
        let is_second = checkpoint.count >= 2;
        let mut removed = Vec::new();
        if let Some(file) = &mut checkpoint.file {
            if cycle.is_full {
                file.full_bytes = file.position;
            } else {
                removed = std::mem::take(&mut checkpoint.old);
            }
        }
        for number in removed {
            let path = self.frames_path(root, number, true);
            self.submit_root(root, RootWork::Remove, Op::Remove { path }, out);
        }
        self.recycle_files(root, before, is_second, out);
        if checkpoint_count == 2 && !self.roots[root].foreign.is_empty() {
            self.adopted();
        }
        if self.roots[root].checkpoint.settle == 0 && cycle.settles {
            // The cleaner waits for this.
            self.house_soon();
        }
        // A frame may have waited for a file.
        self.wake();
    }

    fn checkpoint_failed(&mut self, root: usize, step: CheckpointStep, fault: Fault, out: &mut Effects) {
        let passes = is_full(fault) || is_shortage(fault);
        if !passes || matches!(step, CheckpointStep::SyncTree | CheckpointStep::SyncDir) {
            return self.root_fault(root, fault, out);
        }
        if is_full(fault) {
            self.root_full(root, fault);
        }
        // Anew, and to a new file: what is in this one behind the last whole checkpoint is not known.
        let cycle = self.roots[root].checkpoint.cycle.take().expect("it was under way");
        if let Some(file) = self.roots[root].checkpoint.file.take() {
            self.roots[root].checkpoint.old.push(file.number);
            self.close_root_file(root, file.file, out);
        }
        for (log, _) in cycle.collected {
            if self.partition(log).is_some() {
                self.touch(log);
            }
        }
        self.roots[root].checkpoint.pressed = true;
        self.retry_root(root);
    }
}

/// Direct writes that a start would have to verify: a few tenths of a second's reading.
const DIRECT_BYTES_MAX: u64 = 256 << 20;
/// Beyond this (and four times what everything takes) a new file begins.
const DELTA_BYTES_MAX: u64 = 4 << 20;
const BODY_BYTES_MAX: usize = 1 << 20;
/// Logs written down in one turn.
const COLLECT_MAX: usize = 256;
/// Logs that write to their segments for a checkpoint at the same time.
const DESTAGING_MAX: usize = 16;
