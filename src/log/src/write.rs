//! The way to the disk: directory, snapshot, space, name, synced write; and the sealing of a segment that is full.
//! Every step follows from the partition's state ([`Need`]), so a step that failed for want of space is taken again.
//! Invariants: at most one step of a log is under way, besides the allocation of space ahead of need and its zeroing; a
//! name is durable before the first write into the file; a segment is sealed, and the snapshot at its end written,
//! before the next one is written.

use effect::{Done, Effects, Fault, Op, OpKind};
use model::Offset;

use crate::engine::{is_full, is_shortage};
use crate::files::{HandleId, Mode};
use crate::index::Place;
use crate::job::{SmallStep, Work};
use crate::partition::Need;
use crate::segment::{ALLOCATE_BYTES_MAX, ALLOCATE_BYTES_MIN, BLOCK, MemoryChunk, Segment};
use crate::small::{self, METADATA_NAME, Small, What};
use crate::{Event, Log, LogRef};

impl Log {
    /// Takes the next step towards making a log's appends durable.
    pub(crate) fn pump(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.busy || partition.starved {
            return;
        }
        match partition.need() {
            Need::Nothing => self.probe_space(log, out),
            Need::Directory => self.make_directory(log, out),
            Need::Snapshot(at) => {
                let segment = &partition.segments[at];
                let content = segment.snapshot.clone().expect("it is needed because it is there");
                let base = segment.base;
                self.start_small(log, Small::new(What::Snapshot(base), content), out);
            }
            Need::Write(at) => self.pump_write(log, at, out),
            Need::Seal(at) => self.pump_seal(log, at, out),
            Need::Name(at) => self.pump_name(log, at, out),
        }
    }

    /// Makes the file of an empty segment, and its name durable.
    fn pump_name(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let base = self.known(log).segments[at].base;
        let Some((handle, _)) = self.acquire(log, base, Mode::Write, out) else { return };
        self.unpin(handle, out);
        let partition = self.known(log);
        partition.busy = true;
        let path = partition.dir.clone();
        self.submit(log, Work::NameSync { base }, Op::SyncDir { path }, out);
    }

    fn pump_write(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let base = self.known(log).segments[at].base;
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        let partition = self.known(log);
        let segment = &mut partition.segments[at];
        let first = segment.pending.front().expect("what is not durable is pending");
        let needed = first.end.position.next_multiple_of(BLOCK);
        if segment.zeroing && segment.zeroed < needed {
            // The zeros must not land on what would be written now.
            return self.unpin(handle, out);
        }
        if segment.allocated < needed {
            if partition.allocating {
                self.unpin(handle, out);
            } else {
                self.allocate(log, at, needed, handle, file, out);
            }
            return;
        }
        partition.busy = true;
        if !segment.named {
            let path = partition.dir.clone();
            self.unpin(handle, out);
            self.submit(log, Work::NameSync { base }, Op::SyncDir { path }, out);
            return;
        }
        let from = segment.durable.position;
        let to = write_end(segment);
        let bufs = segment.blocks(from, to.position);
        let offset = from / BLOCK * BLOCK;
        let bytes: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        assert!(offset + bytes == to.position.next_multiple_of(BLOCK));
        assert!(offset + bytes <= segment.allocated);
        assert!(offset + bytes <= segment.zeroed || !segment.zeroing);
        segment.write_bytes = bytes;
        let issued = self.now;
        self.submit(
            log,
            Work::Write { base, handle, to, bytes, issued },
            Op::Write { file, offset, bufs, sync: true },
            out,
        );
        self.allocate_ahead(log, at, out);
        self.zero_ahead(log, out);
    }

    /// Asks for more space while half a step is left.
    fn allocate_ahead(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let partition = self.known(log);
        let segment = &partition.segments[at];
        let most = u64::from(partition.settings.segment_bytes).next_multiple_of(BLOCK);
        let wanted = (segment.end.position + segment.step / 2).next_multiple_of(BLOCK).min(most);
        if partition.allocating
            || partition.no_space
            || wanted <= segment.allocated
            || at + 1 < partition.segments.len()
        {
            return;
        }
        let base = segment.base;
        if let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) {
            self.allocate(log, at, wanted, handle, file, out);
        }
    }

    /// A log whose disk was full and that has nothing to write finds out by itself that there is room again.
    fn probe_space(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if !partition.no_space || partition.allocating {
            return;
        }
        let most = u64::from(partition.settings.segment_bytes).next_multiple_of(BLOCK);
        let at = partition.segments.len() - 1;
        let segment = &partition.segments[at];
        let wanted = (segment.allocated + ALLOCATE_BYTES_MIN).next_multiple_of(BLOCK).min(most);
        if !segment.named || wanted <= segment.allocated {
            // The next append finds out.
            partition.no_space = false;
            return;
        }
        let base = segment.base;
        if let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) {
            self.allocate(log, at, wanted, handle, file, out);
        }
    }

    fn allocate(
        &mut self,
        log: LogRef,
        at: usize,
        needed: u64,
        handle: HandleId,
        file: effect::File,
        out: &mut Effects,
    ) {
        let partition = self.known(log);
        let most = u64::from(partition.settings.segment_bytes).next_multiple_of(BLOCK);
        let no_space = partition.no_space;
        let segment = &mut partition.segments[at];
        // On a full disk only what is needed is asked for.
        let step = if no_space { 0 } else { segment.step };
        let target = (segment.allocated + step).next_multiple_of(BLOCK).min(most).max(needed);
        assert!(segment.allocated < target);
        let (base, offset) = (segment.base, segment.allocated);
        partition.allocating = true;
        let root = partition.root;
        let op = if self.roots[root].unreserved {
            Op::SetLen { file, len: target }
        } else {
            Op::Allocate { file, offset, len: target - offset }
        };
        self.submit(log, Work::Allocate { base, handle, len: target }, op, out);
    }

    /// The filesystem cannot set space aside: from now on files below this directory only grow in length.
    fn cannot_reserve(&mut self, log: LogRef, fault: Fault) {
        let root = self.known(log).root;
        if !self.roots[root].unreserved {
            self.roots[root].unreserved = true;
            let dir = self.roots[root].path.display();
            tracing::warn!(%dir, %fault, "space cannot be reserved: a disk that fills up takes the log directory offline");
        }
    }

    fn pump_seal(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let partition = self.known(log);
        // Either would make the file longer again after it was cut.
        if partition.allocating || partition.segments[at].zeroing {
            return;
        }
        let base = partition.segments[at].base;
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        let partition = self.known(log);
        partition.busy = true;
        let segment = &partition.segments[at];
        let (cut, len) = (segment.cut || segment.allocated == segment.end.position, segment.end.position);
        if cut {
            self.submit(log, Work::SealSync { base, handle }, Op::Sync { file }, out);
        } else {
            self.submit(log, Work::SealCut { base, handle }, Op::SetLen { file, len }, out);
        }
    }

    /// One of the steps above is over.
    pub(crate) fn wrote(&mut self, log: LogRef, work: Work, done: Result<Done, Fault>, out: &mut Effects) {
        let handle = match work {
            Work::Allocate { handle, .. } | Work::Zero { handle, .. } | Work::Write { handle, .. } => Some(handle),
            Work::SealCut { handle, .. } | Work::SealSync { handle, .. } => Some(handle),
            _ => None,
        };
        if let Some(handle) = handle {
            self.unpin(handle, out);
        }
        let partition = self.known(log);
        match work {
            Work::Allocate { .. } => partition.allocating = false,
            Work::Zero { base, .. } => {
                partition.segment_mut(base).expect("a segment stays while it is written").zeroing = false;
            }
            _ => partition.busy = false,
        }
        if let Err(fault) = done {
            let is_unknown = matches!(fault.errno, Fault::ENOSYS | Fault::EOPNOTSUPP);
            if fault.op == OpKind::Allocate && is_unknown {
                self.cannot_reserve(log, fault);
                return self.look(log, out);
            }
            return self.write_fault(log, fault, out);
        }
        match work {
            Work::Allocate { base, len, .. } => {
                partition.no_space = false;
                if let Some(segment) = partition.segment_mut(base) {
                    segment.allocated = len;
                    segment.step = (segment.step * 2).min(ALLOCATE_BYTES_MAX);
                }
                self.zero_ahead(log, out);
            }
            Work::Zero { base, to, .. } => {
                self.segment(log, base).zeroed = to;
                self.zero_ahead(log, out);
            }
            Work::NameSync { base } => self.segment(log, base).named = true,
            Work::Write { base, to, bytes, issued, .. } => {
                self.metrics.log_writes_total.add(1);
                self.metrics.log_written_bytes_total.add(bytes);
                self.metrics.log_write_latency.record(self.now.since(issued));
                self.written(log, base, to);
                // The next write waits for the tick, and for what this turn still appends.
                return self.mark_dirty(log);
            }
            Work::SealCut { base, .. } => {
                let segment = self.segment(log, base);
                segment.cut = true;
                segment.allocated = segment.end.position;
            }
            Work::SealSync { base, .. } => {
                let segment = self.segment(log, base);
                // The last segment is cut when its log is closed, which is the end of it.
                segment.sealed = true;
                self.segment_closed(log, base, out);
            }
            _ => unreachable!("not a step of a write"),
        }
        self.look(log, out);
    }

    fn written(&mut self, log: LogRef, base: Offset, to: Place) {
        let partition = self.known(log);
        let mut max = partition.durable_max;
        let segment = partition.segment_mut(base).expect("a segment stays while it is written");
        assert!(segment.durable.position < to.position);
        segment.durable = to;
        while let Some(batch) = segment.pending.front().filter(|batch| batch.end.position <= to.position) {
            if batch.max_timestamp > max.0 {
                max = (batch.max_timestamp, batch.base_offset);
            }
            segment.pending.pop_front();
        }
        if segment.pending.is_empty() {
            segment.pending.shrink_to(PENDING_KEPT_MAX);
        }
        partition.durable_max = max;
        assert!(partition.durable_end < to.offset);
        partition.durable_end = to.offset;
        self.events.push(Event::Durable { log, end: to.offset });
    }

    fn segment(&mut self, log: LogRef, base: Offset) -> &mut Segment {
        self.known(log).segment_mut(base).expect("a segment stays while it is written")
    }

    fn make_directory(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        partition.busy = true;
        partition.on_disk = true;
        let path = partition.dir.clone();
        self.submit(log, Work::Small(SmallStep::CreateDir), Op::CreateDir { path }, out);
    }

    fn start_small(&mut self, log: LogRef, small: Small, out: &mut Effects) {
        let Some(closed) = self.files.acquire_transient() else {
            let partition = self.known(log);
            partition.busy = false;
            partition.starved = true;
            self.starved.push_back(log);
            return;
        };
        if let Some(file) = closed {
            self.close_file(log, file, out);
        }
        let partition = self.known(log);
        let path = match small.what {
            What::Metadata => partition.dir.join(METADATA_NAME),
            What::Snapshot(base) => partition.snapshot_path(base),
        };
        partition.busy = true;
        partition.small = Some(Box::new(small));
        self.submit(log, Work::Small(SmallStep::Open), Op::Open { path, mode: effect::OpenMode::Write }, out);
    }

    /// A step of a directory's or a small file's making is over.
    pub(crate) fn small_done(&mut self, log: LogRef, step: SmallStep, done: Result<Done, Fault>, out: &mut Effects) {
        let done = match done {
            Ok(done) => done,
            Err(fault) => return self.small_failed(log, fault, out),
        };
        let partition = self.known(log);
        match (step, done) {
            (SmallStep::CreateDir, _) => {
                let content = small::metadata(partition.at.topic);
                self.start_small(log, Small::new(What::Metadata, content), out);
            }
            (SmallStep::Open, Done::Opened(file)) => {
                self.small(log).file = Some(file);
                let bytes = self.small(log).content.len().max(effect::BLOCK_BYTES);
                // All memory may be in chunks that wait for this file.
                let spare = |spare: &mut effect::BufMut| bytes <= spare.capacity();
                match self.take_memory(bytes).or_else(|| self.spare.take_if(spare)) {
                    Some(memory) => {
                        let blocks = self.small(log).blocks(memory);
                        let op = Op::Write { file, offset: 0, bufs: vec![blocks], sync: true };
                        self.submit(log, Work::Small(SmallStep::Write), op, out);
                    }
                    None => {
                        self.small_over(log, out);
                        self.retry_later(log);
                    }
                }
            }
            (SmallStep::Write, _) => {
                let small = self.small(log);
                small.memory = None;
                let file = small.file.expect("it was written to");
                let len = small.content.len() as u64;
                match small.what {
                    What::Metadata => {
                        self.submit(log, Work::Small(SmallStep::SetLen), Op::SetLen { file, len }, out);
                    }
                    What::Snapshot(base) => {
                        self.small_over(log, out);
                        self.segment(log, base).snapshot = None;
                        self.look(log, out);
                    }
                }
            }
            (SmallStep::SetLen, _) => {
                let file = self.small(log).file.expect("it was cut");
                self.submit(log, Work::Small(SmallStep::Close), Op::Sync { file }, out);
            }
            (SmallStep::Close, _) => {
                self.small_over(log, out);
                let partition = self.known(log);
                partition.busy = true;
                let path = partition.dir.clone();
                self.submit(log, Work::Small(SmallStep::SyncDir), Op::SyncDir { path }, out);
            }
            (SmallStep::SyncDir, _) => {
                let root = partition.root;
                let path = self.roots[root].path.clone();
                self.submit(log, Work::Small(SmallStep::SyncParent), Op::SyncDir { path }, out);
            }
            (SmallStep::SyncParent, _) => {
                partition.dir_ready = true;
                partition.busy = false;
                self.look(log, out);
            }
            (SmallStep::Open, other) => panic!("an opening was answered by {other:?}"),
        }
    }

    fn small_failed(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        if self.known(log).small.is_some() {
            self.small_over(log, out);
        }
        self.known(log).busy = false;
        if fault.op == OpKind::Open && is_shortage(fault) {
            tracing::warn!(%fault, "file not opened, trying again");
            self.retry_later(log);
            return self.look_after_fault(log, out);
        }
        // Nothing that was acknowledged is in a small file that was never whole: it is written anew from the start.
        // A directory's sync is another matter: nobody knows which of its names are durable after that.
        if is_full(fault) && fault.op != OpKind::SyncDir {
            return self.out_of_space(log, fault, out);
        }
        self.write_fault(log, fault, out)
    }

    /// The small file is written or given up.
    fn small_over(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        partition.busy = false;
        let small = partition.small.take().expect("a small file is under way");
        self.files.release_transient();
        if let Some(file) = small.file {
            self.close_file(log, file, out);
        }
    }

    fn small(&mut self, log: LogRef) -> &mut Small {
        self.known(log).small.as_mut().expect("a small file is under way")
    }
}

/// How far the next write goes: whole batches, a few megabytes, in not too many parts, within the space there is.
fn write_end(segment: &Segment) -> Place {
    let space = if segment.zeroing { segment.zeroed } else { segment.allocated };
    let parts = segment.chunks_from(segment.durable.position).take(PARTS_MAX);
    let reach = parts.last().map_or(segment.end.position, MemoryChunk::end);
    let fits = |end: Place| {
        end.position - segment.durable.position <= WRITE_BYTES_MAX
            && end.position <= reach
            && end.position.next_multiple_of(BLOCK) <= space
    };
    let first = segment.pending.front().expect("what is not durable is pending").end;
    segment.pending.iter().map(|batch| batch.end).take_while(|end| fits(*end)).last().unwrap_or(first)
}

/// A write gathers up to about this much: what a synced write costs besides its bytes is the same for all sizes.
const WRITE_BYTES_MAX: u64 = 4 << 20;
/// A kernel takes 1024 parts in one write; a batch alone has fewer (see `cache.rs`).
const PARTS_MAX: usize = 512;
/// An idle log keeps a queue of at most this capacity.
const PENDING_KEPT_MAX: usize = 4;
