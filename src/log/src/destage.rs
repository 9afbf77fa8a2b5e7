//! The way of bytes to their segment: directory, file, space, large writes; and the closing of a segment that is full.
//! What is durable already, by the journal, is written here later, in whole blocks; nobody waits for it.
//! Every step follows from the partition's state ([`Need`]), so a step that failed for want of space is taken again.
//! Invariants: at most one step of a log is under way, besides the allocation of space ahead of need; a segment is
//! closed before the next one is written.

use effect::{Done, Effects, Fault, Op, OpKind, OpenMode};
use model::Offset;

use crate::engine::{is_full, is_shortage, is_unknown};
use crate::files::{HandleId, Mode};
use crate::job::{MetadataStep, Work};
use crate::metadata_file::{METADATA_NAME, MetadataFile};
use crate::partition::Need;
use crate::segment::{ALLOCATE_BYTES_MAX, BLOCK, Segment};
use crate::{Log, LogRef};

impl Log {
    /// Takes the next step of a log towards its segment files.
    pub(crate) fn pump_destage(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.busy || partition.starved {
            return;
        }
        match partition.need() {
            Need::Nothing => {}
            Need::Directory => self.make_directory(log, out),
            Need::Space { at, needed } => self.make_space(log, at, needed, out),
            Need::Name { at } => self.sync_name(log, at, out),
            Need::Sync { at } => self.sync_segment(log, at, out),
            Need::Write { at, to } => self.write_blocks(log, at, to, out),
            Need::Cut { at } => self.cut_segment(log, at, out),
        }
        self.check_goal(log);
    }

    fn write_blocks(&mut self, log: LogRef, at: usize, to: u64, out: &mut Effects) {
        let base = self.known(log).segments[at].base;
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        let partition = self.known(log);
        partition.busy = true;
        let segment = &mut partition.segments[at];
        let offset = segment.destaged;
        let bufs = segment.blocks(offset, to);
        let bytes: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        assert!(offset.is_multiple_of(BLOCK));
        assert!(offset + bytes == to.next_multiple_of(BLOCK));
        assert!(offset + bytes <= segment.allocated);
        // Behind a write that is synced, everything before it has to be.
        let sync = partition.prepare;
        let work = Work::Destage { base, handle, to, bytes, sync };
        self.submit(log, work, Op::Write { file, offset, bufs, sync }, out);
    }

    /// Space for more than is needed, in growing steps.
    fn make_space(&mut self, log: LogRef, at: usize, needed: u64, out: &mut Effects) {
        let partition = self.known(log);
        if partition.allocating {
            return;
        }
        let base = partition.segments[at].base;
        if let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) {
            self.allocate(log, at, needed, handle, file, out);
        }
    }

    /// Asks for more space while half a step is left.
    pub(crate) fn allocate_ahead(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let most = u64::from(partition.settings.segment_bytes).next_multiple_of(BLOCK);
        let (root, at) = (partition.root, partition.segments.len() - 1);
        let segment = &partition.segments[at];
        let wanted = (segment.end.position + segment.step / 2).next_multiple_of(BLOCK).min(most);
        if partition.allocating || segment.allocated == 0 || wanted <= segment.allocated {
            return;
        }
        let base = segment.base;
        if self.room_ahead(root, BLOCK) < BLOCK {
            return;
        }
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
        let root = self.known(log).root;
        let unreserved = self.roots[root].unreserved;
        let step = self.known(log).segments[at].step;
        let step = self.room_ahead(root, step);
        let partition = self.known(log);
        let most = u64::from(partition.settings.segment_bytes).next_multiple_of(BLOCK);
        let segment = &mut partition.segments[at];
        let target = (segment.allocated + step).next_multiple_of(BLOCK).min(most).max(needed);
        assert!(segment.allocated < target);
        let (base, offset) = (segment.base, segment.allocated);
        partition.allocating = true;
        self.use_room(root, target - needed);
        let op = if unreserved {
            Op::SetLen { file, len: target }
        } else {
            Op::Allocate { file, offset, len: target - offset }
        };
        self.submit(log, Work::Allocate { base, handle, len: target }, op, out);
    }

    /// Before a segment is written directly its name has to be durable: nothing else would say that it is there.
    fn sync_name(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let partition = self.known(log);
        let base = partition.segments[at].base;
        partition.busy = true;
        let path = partition.dir.clone();
        self.submit(log, Work::NameSync { base }, Op::SyncDir { path }, out);
    }

    fn sync_segment(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let base = self.known(log).segments[at].base;
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        self.known(log).busy = true;
        self.submit(log, Work::FileSync { base, handle }, Op::Sync { file }, out);
    }

    fn cut_segment(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        let partition = self.known(log);
        // It would make the file longer again after it was cut.
        if partition.allocating {
            return;
        }
        let (base, len) = (partition.segments[at].base, partition.segments[at].end.position);
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        self.known(log).busy = true;
        self.submit(log, Work::Cut { base, handle }, Op::SetLen { file, len }, out);
    }

    /// One of the steps above, or a direct write, is over.
    pub(crate) fn wrote(&mut self, log: LogRef, work: Work, done: Result<Done, Fault>, out: &mut Effects) {
        if let Work::Allocate { handle, .. }
        | Work::Destage { handle, .. }
        | Work::Direct { handle, .. }
        | Work::FileSync { handle, .. }
        | Work::Cut { handle, .. } = work
        {
            self.unpin(handle, out);
        }
        let partition = self.known(log);
        match work {
            Work::Allocate { .. } => partition.allocating = false,
            Work::Direct { .. } => {}
            _ => partition.busy = false,
        }
        if let Err(fault) = done {
            if fault.op == OpKind::Allocate && is_unknown(fault) {
                let root = partition.root;
                self.cannot_reserve(root, fault);
                return self.look(log, out);
            }
            return self.write_fault(log, fault, out);
        }
        match work {
            Work::Allocate { base, len, .. } => {
                if let Some(segment) = partition.segment_mut(base) {
                    segment.allocated = len;
                    segment.step = (segment.step * 2).min(ALLOCATE_BYTES_MAX);
                }
            }
            Work::NameSync { base } if partition.dir_durable => self.segment(log, base).named = true,
            Work::NameSync { base } => {
                let root = partition.root;
                partition.busy = true;
                let path = self.roots[root].path.clone();
                return self.submit(log, Work::DirSync { base }, Op::SyncDir { path }, out);
            }
            Work::FileSync { base, .. } => self.segment(log, base).unsynced = false,
            Work::DirSync { base } => {
                partition.dir_durable = true;
                self.segment(log, base).named = true;
            }
            Work::Destage { base, to, bytes, sync, .. } => {
                let segment = self.segment(log, base);
                segment.destaged = to;
                segment.unsynced |= !sync;
                self.metrics.log_written_bytes_total.add(bytes);
            }
            Work::Direct { base, to, bytes, issued, .. } => {
                partition.direct.as_mut().expect("it was under way").wrote = true;
                self.metrics.log_written_bytes_total.add(bytes);
                self.metrics.log_direct_bytes_total.add(bytes);
                self.metrics.log_write_latency.record(self.now.since(issued));
                return self.direct_step(log, base, to, out);
            }
            Work::Cut { base, .. } => {
                let is_last = partition.segments.last().is_some_and(|last| last.base == base);
                let segment = partition.segment_mut(base).expect("a segment stays while it is written");
                if is_last {
                    segment.allocated = segment.end.position / BLOCK * BLOCK;
                    partition.trimmed = true;
                } else {
                    segment.sealed = true;
                    if segment.index.as_ref().is_some_and(|index| index.is_whole()) {
                        self.segment_closed(log, base, out);
                    } else {
                        // What it lacks is read from the segment when somebody needs it.
                        segment.max_timestamp = segment.known_max_timestamp();
                        segment.index = None;
                        segment.index_lost = true;
                    }
                }
            }
            _ => unreachable!("not a step of a write"),
        }
        self.look(log, out);
    }

    fn segment(&mut self, log: LogRef, base: Offset) -> &mut Segment {
        self.known(log).segment_mut(base).expect("a segment stays while it is written")
    }

    fn make_directory(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        partition.busy = true;
        partition.on_disk = true;
        let path = partition.dir.clone();
        self.submit(log, Work::Metadata(MetadataStep::CreateDir), Op::CreateDir { path }, out);
    }

    fn open_metadata(&mut self, log: LogRef, out: &mut Effects) {
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
        let path = partition.dir.join(METADATA_NAME);
        partition.metadata = Some(Box::new(MetadataFile::new(partition.at.topic)));
        let op = Op::Open { path, mode: OpenMode::Write };
        self.submit(log, Work::Metadata(MetadataStep::Open), op, out);
    }

    /// A step of a directory's making is over. Its names become durable with the next checkpoint, or before the first
    /// direct write.
    pub(crate) fn metadata_step(
        &mut self,
        log: LogRef,
        step: MetadataStep,
        done: Result<Done, Fault>,
        out: &mut Effects,
    ) {
        let done = match done {
            Ok(done) => done,
            Err(fault) => return self.metadata_failed(log, fault, out),
        };
        match (step, done) {
            (MetadataStep::CreateDir, _) => self.open_metadata(log, out),
            (MetadataStep::Open, Done::Opened(file)) => {
                self.metadata_file(log).file = Some(file);
                // All memory may be in chunks that wait for this file.
                match self.take_memory(BLOCK as usize).or_else(|| self.spare.take()) {
                    Some(memory) => {
                        let blocks = self.metadata_file(log).blocks(memory);
                        let op = Op::Write { file, offset: 0, bufs: vec![blocks], sync: false };
                        self.submit(log, Work::Metadata(MetadataStep::Write), op, out);
                    }
                    None => {
                        self.metadata_over(log, out);
                        self.retry_later(log);
                    }
                }
            }
            (MetadataStep::Write, _) => {
                let metadata = self.metadata_file(log);
                let file = metadata.file.expect("it was written to");
                let len = metadata.content.len() as u64;
                self.submit(log, Work::Metadata(MetadataStep::SetLen), Op::SetLen { file, len }, out);
            }
            (MetadataStep::SetLen, _) => {
                self.metadata_over(log, out);
                self.known(log).dir_ready = true;
                self.look(log, out);
            }
            (MetadataStep::Open, other) => panic!("an opening was answered by {other:?}"),
        }
    }

    fn metadata_failed(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        if self.known(log).metadata.is_some() {
            self.metadata_over(log, out);
        }
        self.known(log).busy = false;
        if fault.op == OpKind::Open && is_shortage(fault) {
            tracing::warn!(%fault, "file not opened, trying again");
            self.retry_later(log);
            return self.look_after_fault(log, out);
        }
        // Nothing that was acknowledged is in a small file that was never whole: it is written anew from the start.
        if is_full(fault) {
            return self.out_of_space(log, fault, out);
        }
        self.write_fault(log, fault, out)
    }

    /// The small file is written or given up.
    fn metadata_over(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        partition.busy = false;
        let metadata = partition.metadata.take().expect("a small file is under way");
        self.files.release_transient();
        if let Some(file) = metadata.file {
            self.close_file(log, file, out);
        }
    }

    fn metadata_file(&mut self, log: LogRef) -> &mut MetadataFile {
        self.known(log).metadata.as_mut().expect("a small file is under way")
    }
}
