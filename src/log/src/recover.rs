//! Opening: list the directory, see whose it is, take the newest snapshot, scan what follows it, cut what is torn.
//! A clean start and one after a crash take the same way. A bounded number of logs is recovered at a time, each with
//! one read in flight.

use effect::{BLOCK_BYTES, BufMut, Chunk, Done, Effects, Fault, Op, OpenMode};
use model::Offset;

use crate::engine::RECOVERING_MAX;
use crate::files::Mode;
use crate::index::Place;
use crate::job::{RecoverStep, Work};
use crate::partition::{CHUNK_BYTES_MIN, State};
use crate::recovery::{Check, Recovery, Scan, Scanned, Stage};
use crate::segment::{BLOCK, Segment};
use crate::small::{METADATA_NAME, parse_metadata};
use crate::snapshot::{Knowledge, Unusable};
use crate::{Event, Failure, Log, LogRef};

impl Log {
    /// Starts what may be started.
    pub(crate) fn start_recoveries(&mut self, out: &mut Effects) {
        while self.recovering < RECOVERING_MAX {
            let Some(log) = self.recover_queue.pop_front() else { return };
            let Some(partition) = self.partition_mut(log) else { continue };
            let State::Recovering(recovery) = &mut partition.state else { continue };
            recovery.stage = Stage::List;
            recovery.window_bytes = FIRST_WINDOW_BYTES;
            self.recovering += 1;
            self.recover(log, out);
        }
    }

    /// Takes the next step of a recovery.
    pub(crate) fn recover(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.ops > 0 || partition.starved {
            return;
        }
        let dir = partition.dir.clone();
        match self.recovery(log).stage {
            Stage::Queued => {}
            Stage::List => self.submit(log, Work::Recover(RecoverStep::List), Op::List { path: dir }, out),
            Stage::Metadata => {
                let op = Op::Open { path: dir.join(METADATA_NAME), mode: OpenMode::Read };
                self.submit(log, Work::Recover(RecoverStep::MetadataOpen), op, out);
            }
            Stage::Leftovers => self.tidy(log, out),
            Stage::Snapshot => match self.recovery(log).snapshots.last().copied() {
                Some((base, _)) => {
                    let path = self.known(log).snapshot_path(base);
                    let op = Op::Open { path, mode: OpenMode::Read };
                    self.submit(log, Work::Recover(RecoverStep::SnapshotOpen), op, out);
                }
                None => {
                    let (first, _) = self.recovery(log).found[0];
                    self.scan_from(log, first, out);
                }
            },
            Stage::Scan => self.read_window(log, out),
            Stage::Cut => self.cut(log, out),
        }
    }

    /// A step of a recovery is over.
    pub(crate) fn recovered(&mut self, log: LogRef, step: RecoverStep, done: Result<Done, Fault>, out: &mut Effects) {
        if let RecoverStep::Scan(handle) | RecoverStep::Cut(handle) | RecoverStep::CutSync(handle) = step {
            self.unpin(handle, out);
        }
        if let RecoverStep::MetadataRead(file) | RecoverStep::SnapshotRead(file) = step {
            self.close_file(log, file, out);
        }
        let done = match (step, done) {
            (RecoverStep::List, Err(fault)) if fault.errno == Fault::ENOENT => return self.open_fresh(log, out),
            // Somebody else moved it away at the same time.
            (RecoverStep::Stray, Err(fault)) if fault.errno == Fault::ENOENT => Done::Finished,
            (RecoverStep::Cut(_) | RecoverStep::CutSync(_), Err(fault)) => {
                self.write_fault(log, fault, out);
                return self.fail(log, Failure::Fault(fault), out);
            }
            (_, Err(fault)) => return self.fail(log, Failure::Fault(fault), out),
            (_, Ok(done)) => done,
        };
        match (step, done) {
            (RecoverStep::List, Done::Listed(entries)) => {
                self.known(log).on_disk = true;
                let recovery = self.recovery(log);
                recovery.listed(&entries);
                if !recovery.leftovers.is_empty() {
                    recovery.stage = Stage::Leftovers;
                    return self.tidy(log, out);
                }
                match (recovery.has_metadata, recovery.found.is_empty()) {
                    (true, _) => recovery.stage = Stage::Metadata,
                    (false, true) => return self.open_fresh(log, out),
                    (false, false) => return self.fail(log, Failure::Metadata, out),
                }
                self.recover(log, out);
            }
            (RecoverStep::Leftover, _) => self.tidy(log, out),
            (RecoverStep::MetadataOpen, Done::Opened(file)) => {
                self.read_small(log, file, BLOCK_BYTES, RecoverStep::MetadataRead(file), out);
            }
            (RecoverStep::MetadataRead(_), Done::Filled(buf)) => self.metadata_read(log, &buf, out),
            (RecoverStep::Stray, _) => {
                let root = self.known(log).root;
                let path = self.roots[root].path.clone();
                self.submit(log, Work::Recover(RecoverStep::StraySync), Op::SyncDir { path }, out);
            }
            (RecoverStep::StraySync, _) => {
                self.known(log).on_disk = false;
                self.open_fresh(log, out);
            }
            (RecoverStep::SnapshotOpen, Done::Opened(file)) => {
                let (_, len) = *self.recovery(log).snapshots.last().expect("it was opened because it is listed");
                let bytes = usize::try_from(len.clamp(1, SNAPSHOT_BYTES_MAX)).expect("at most a few MiB");
                self.read_small(log, file, bytes, RecoverStep::SnapshotRead(file), out);
            }
            (RecoverStep::SnapshotRead(_), Done::Filled(buf)) => self.snapshot_read(log, &buf, out),
            (RecoverStep::Scan(_), Done::Filled(buf)) => self.window_read(log, &buf, out),
            (RecoverStep::Cut(_), _) => {
                self.recovery(log).cut = true;
                self.cut(log, out);
            }
            (RecoverStep::CutSync(_), _) => {
                self.recovery(log).clean = true;
                self.finish(log, out);
            }
            (step, other) => panic!("{step:?} was answered by {other:?}"),
        }
    }

    fn read_small(&mut self, log: LogRef, file: effect::File, bytes: usize, step: RecoverStep, out: &mut Effects) {
        match self.take_memory(bytes) {
            Some(buf) => self.submit(log, Work::Recover(step), Op::Read { file, offset: 0, buf }, out),
            None => {
                self.close_file(log, file, out);
                self.retry_later(log);
            }
        }
    }

    fn metadata_read(&mut self, log: LogRef, buf: &BufMut, out: &mut Effects) {
        let topic = parse_metadata(buf.as_slice());
        let partition = self.known(log);
        let (own, dir) = (partition.at.topic, partition.dir.clone());
        let recovery = self.recovery(log);
        match topic {
            Some(topic) if topic == own => {
                if recovery.found.is_empty() {
                    return self.open_fresh(log, out);
                }
                recovery.stage = Stage::Snapshot;
                self.recover(log, out);
            }
            Some(other) => {
                // The directory of a topic that was deleted and created again under its old name.
                let mut name = dir.file_name().unwrap_or_default().to_os_string();
                name.push(format!(".{other}-stray"));
                tracing::warn!(dir = %dir.display(), topic = %other, "directory of another topic set aside");
                let to = dir.with_file_name(name);
                self.submit(log, Work::Recover(RecoverStep::Stray), Op::Rename { from: dir, to }, out);
            }
            // Torn before anything was acknowledged from here: made anew.
            None if recovery.found.is_empty() => self.open_fresh(log, out),
            None => self.fail(log, Failure::Metadata, out),
        }
    }

    fn snapshot_read(&mut self, log: LogRef, buf: &BufMut, out: &mut Effects) {
        let (base, _) = self.recovery(log).snapshots.pop().expect("it was read because it is listed");
        match Knowledge::decode(buf.as_slice()) {
            Ok(knowledge) => {
                self.known(log).knowledge = knowledge;
                self.scan_from(log, base, out);
            }
            Err(Unusable::Torn) => self.recover(log, out),
            Err(Unusable::Version(version)) => self.fail(log, Failure::SnapshotVersion(version), out),
        }
    }

    /// Everything before `base` is known from the snapshot, or there is nothing.
    fn scan_from(&mut self, log: LogRef, base: Offset, out: &mut Effects) {
        let recovery = self.recovery(log);
        let older: Vec<_> = recovery.found.iter().copied().take_while(|(other, _)| *other < base).collect();
        let found: Vec<_> = older
            .iter()
            .map(|(other, len)| {
                let (_, next) = recovery.segment(*other);
                Segment::found(*other, Place { offset: next.unwrap_or(base), position: *len })
            })
            .collect();
        self.known(log).segments = found;
        self.begin_scan(log, base, out);
    }

    fn begin_scan(&mut self, log: LogRef, base: Offset, out: &mut Effects) {
        let compact = self.known(log).settings.compact;
        let recovery = self.recovery(log);
        let (len, next) = recovery.segment(base);
        recovery.stage = Stage::Scan;
        let gaps = next.is_some() || compact;
        recovery.scan = Some(Scan::new(base, len, Check::Whole, recovery.stop_at, gaps));
        recovery.window_start = 0;
        recovery.tail.clear();
        recovery.clean = len == 0;
        if len == 0 {
            return self.scanned(log, out);
        }
        self.read_window(log, out);
    }

    fn read_window(&mut self, log: LogRef, out: &mut Effects) {
        let recovery = self.recovery(log);
        let scan = recovery.scan.as_ref().expect("a scan is under way");
        let (base, is_last) = (scan.base, recovery.segment(scan.base).1.is_none());
        let left = scan.file_len - recovery.window_start;
        let bytes = left.min(recovery.window_bytes as u64).next_multiple_of(BLOCK) as usize;
        let (offset, mode) = (recovery.window_start, if is_last { Mode::Write } else { Mode::Read });
        let Some((handle, file)) = self.acquire(log, base, mode, out) else { return };
        match self.take_memory(bytes) {
            Some(mut buf) => {
                buf.limit(bytes);
                let work = Work::Recover(RecoverStep::Scan(handle));
                self.submit(log, work, Op::Read { file, offset, buf }, out);
            }
            None => {
                self.unpin(handle, out);
                self.retry_later(log);
            }
        }
    }

    fn window_read(&mut self, log: LogRef, buf: &BufMut, out: &mut Effects) {
        let producers_max = self.config.producers_max;
        let partition = self.known(log);
        let State::Recovering(recovery) = &mut partition.state else { panic!("a window is read in a recovery") };
        let scan = recovery.scan.as_mut().expect("a scan is under way");
        let knowledge = &mut partition.knowledge;
        let bytes = buf.as_slice();
        match scan.feed(recovery.window_start, bytes, |header| knowledge.absorb(header, None, producers_max)) {
            // A read that came short was the file's last: it ends sooner than its listed length.
            Scanned::More { from, bytes } if buf.filled() == buf.capacity() => {
                recovery.window_start = from;
                recovery.window_bytes = WINDOW_BYTES.max(usize::try_from(bytes).unwrap_or(usize::MAX));
                self.read_window(log, out);
            }
            Scanned::WrongFirst(found) => {
                let failure = Failure::Order { expected: scan.base, found };
                self.fail(log, failure, out);
            }
            Scanned::More { .. } | Scanned::End => {
                let end = scan.next.position;
                let seen = recovery.window_start + bytes.len() as u64;
                let at = |position: u64| (position - recovery.window_start) as usize;
                recovery.tail = bytes[at(end / BLOCK * BLOCK)..at(end)].to_vec();
                recovery.clean = seen >= scan.file_len && bytes[at(end)..].iter().all(|byte| *byte == 0);
                self.scanned(log, out);
            }
        }
    }

    /// The scan of a segment is over.
    fn scanned(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let State::Recovering(recovery) = &mut partition.state else { panic!("a scan is of a recovery") };
        let scan = recovery.scan.take().expect("a scan is under way");
        let (_, next) = recovery.segment(scan.base);
        let end = scan.next;
        let mut segment = Segment::new(scan.base, None);
        segment.end = end;
        segment.durable = end;
        segment.index = Some(scan.index);
        segment.allocated = scan.file_len;
        segment.named = true;
        if let Some(next) = next {
            if end.offset != next {
                return self.fail(log, Failure::Gap { end: end.offset, next }, out);
            }
            segment.sealed = scan.file_len == end.position;
            if segment.sealed {
                // It is read from its files when somebody needs it.
                segment.index = None;
            }
            partition.segments.push(segment);
            return self.begin_scan(log, next, out);
        }
        if end.position == 0 {
            // Nothing of it counts yet, so neither its name nor the snapshot at its base needs to be durable.
            segment.named = false;
            segment.snapshot = (!partition.segments.is_empty()).then(|| partition.knowledge.encode());
        }
        partition.segments.push(segment);
        recovery.stage = Stage::Cut;
        let truncated = recovery.stop_at.is_some() && scan.file_len > end.position;
        recovery.clean &= !truncated;
        self.cut(log, out);
    }

    /// What lies behind the last batch must not come back to life behind a later one; and what was found may have been
    /// written without its sync.
    fn cut(&mut self, log: LogRef, out: &mut Effects) {
        let segment = self.known(log).segments.last().expect("it was scanned");
        let (base, end, len) = (segment.base, segment.end.position, segment.allocated);
        let closed_cleanly = len == end && !end.is_multiple_of(BLOCK);
        let recovery = self.recovery(log);
        let (clean, cut) = (recovery.clean, recovery.cut);
        if (clean && (closed_cleanly || end == 0)) || (len == 0 && !cut) {
            return self.finish(log, out);
        }
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        if clean || cut {
            if cut {
                self.known(log).segments.last_mut().expect("it was scanned").allocated = end;
            }
            self.submit(log, Work::Recover(RecoverStep::CutSync(handle)), Op::Sync { file }, out);
        } else {
            self.submit(log, Work::Recover(RecoverStep::Cut(handle)), Op::SetLen { file, len: end }, out);
        }
    }

    fn open_fresh(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        partition.segments = Vec::with_capacity(1);
        partition.segments.push(Segment::new(Offset::ZERO, None));
        partition.dir_ready = false;
        self.opened(log, out);
    }

    /// Everything on disk is as it should be: the last block comes back into memory.
    fn finish(&mut self, log: LogRef, out: &mut Effects) {
        let tail = std::mem::take(&mut self.recovery(log).tail);
        if !tail.is_empty() {
            let Some(mut memory) = self.take_memory(CHUNK_BYTES_MIN).or_else(|| self.spare.take()) else {
                self.recovery(log).tail = tail;
                self.recovery(log).stage = Stage::Cut;
                return self.retry_later(log);
            };
            memory.extend(&tail);
            self.add_chunk(log, Chunk::new(memory));
        }
        self.known(log).dir_ready = true;
        self.opened(log, out);
    }

    fn opened(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let State::Recovering(recovery) = &partition.state else { panic!("only a recovery opens a log") };
        let truncated = recovery.stop_at.is_some();
        partition.durable_end = partition.end();
        partition.durable_max = (partition.knowledge.max_timestamp, partition.knowledge.max_timestamp_at);
        let (start, end) = (partition.start(), partition.end());
        partition.state = State::Open;
        let doomed = partition.doomed;
        self.recovering -= 1;
        self.events.push(if truncated { Event::Truncated { log, end } } else { Event::Opened { log, start, end } });
        if doomed {
            self.known(log).state = State::Removing;
        } else if self.closing.is_some() {
            self.known(log).state = State::Closing;
        }
        self.mark_dirty(log);
        self.start_recoveries(out);
    }

    fn recovery(&mut self, log: LogRef) -> &mut Recovery {
        match &mut self.known(log).state {
            State::Recovering(recovery) => recovery,
            other => panic!("not in recovery: {other:?}"),
        }
    }

    /// Recovers a log anew after its newest files were removed; batches that reach beyond `to` go.
    pub(crate) fn recover_to(&mut self, log: LogRef, to: Offset, out: &mut Effects) {
        self.forget_chunks(log);
        self.forget_files(log, None, out);
        let partition = self.known(log);
        partition.knowledge = Knowledge::default();
        partition.durable_end = Offset::ZERO;
        partition.cold = None;
        partition.chunk_bytes = CHUNK_BYTES_MIN;
        partition.state = State::Recovering(Box::new(Recovery { stop_at: Some(to), ..Recovery::default() }));
        self.recover_queue.push_back(log);
        self.start_recoveries(out);
    }

    /// Closes a log's files as soon as nobody uses them.
    pub(crate) fn forget_files(&mut self, log: LogRef, below: Option<Offset>, out: &mut Effects) {
        for file in self.files.doom(log, below) {
            self.close_file(log, file, out);
        }
    }
}

/// Most logs are done after the first read of this size.
const FIRST_WINDOW_BYTES: usize = 128 * 1024;
const WINDOW_BYTES: usize = 1 << 20;
/// What is longer is not a snapshot of ours: 10,000 producers take 151 bytes each.
const SNAPSHOT_BYTES_MAX: u64 = 16 << 20;
