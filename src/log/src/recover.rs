//! Opening a log: from what checkpoint and journal say of it (`replay.rs`), or, where they say nothing, from its
//! directory: whose it is, and every segment, batch by batch. That is how a log comes in that an earlier release wrote.
//! A bounded number of logs is recovered at a time, each with one read in flight.

use effect::{BLOCK_BYTES, BufMut, Chunk, Done, Effects, Fault, Op, OpenMode};
use model::Offset;

use crate::engine::RECOVERING_MAX;
use crate::files::Mode;
use crate::job::{RecoverStep, Work};
use crate::metadata_file::{METADATA_NAME, parse_metadata};
use crate::partition::{CHUNK_BYTES_MIN, State};
use crate::recovery::{Check, Recovery, Scan, Scanned, Stage};
use crate::root::Root;
use crate::segment::{BLOCK, Segment};
use crate::{Event, Failure, Log, LogRef};

impl Log {
    /// Starts what may be started, once every log directory has been read.
    pub(crate) fn start_recoveries(&mut self, out: &mut Effects) {
        if !self.roots.iter().all(Root::is_settled) {
            return;
        }
        while self.recovering < RECOVERING_MAX {
            let Some(log) = self.recover_queue.pop_front() else { return };
            let Some(partition) = self.partition_mut(log) else { continue };
            let at = partition.at;
            let State::Recovering(recovery) = &mut partition.state else { continue };
            recovery.stage = Stage::List;
            recovery.window_bytes = FIRST_WINDOW_BYTES;
            self.recovering += 1;
            let known = (0..self.roots.len()).filter(|root| self.roots[*root].found.contains_key(&at));
            match known.max_by_key(|root| self.roots[*root].found[&at].newest()) {
                Some(root) => self.begin_replay(log, root, out),
                None => self.look_in(log, 0, out),
            }
        }
    }

    /// Looks for a log that neither checkpoint nor journal knows in the next log directory.
    fn look_in(&mut self, log: LogRef, first: usize, out: &mut Effects) {
        match (first..self.roots.len()).find(|root| !self.roots[*root].offline) {
            Some(root) => {
                self.place_log(log, root);
                let recovery = self.recovery(log);
                recovery.stage = Stage::List;
                recovery.root = root;
                self.recover(log, out);
            }
            None => self.place_fresh(log, out),
        }
    }

    /// A log of which there is nothing, unless it lies where nobody can look now.
    fn place_fresh(&mut self, log: LogRef, out: &mut Effects) {
        let any_lost = self.roots.iter().any(|root| root.offline);
        let online = (0..self.roots.len()).filter(|root| !self.roots[*root].offline);
        match online.min_by_key(|root| self.roots[*root].logs) {
            Some(root) if !any_lost || self.all_opened => {
                self.place_log(log, root);
                self.open_fresh(log, out);
            }
            _ => self.fail(log, Failure::Missing, out),
        }
    }

    pub(crate) fn place_log(&mut self, log: LogRef, root: usize) {
        let path = self.roots[root].path.clone();
        let partition = self.known(log);
        partition.root = root;
        partition.dir = path.join(&partition.name);
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
            Stage::Scan => self.read_window(log, out),
            Stage::Cut => self.cut(log, out),
            Stage::Replay => self.replay(log, out),
            Stage::Verify => self.verify(log, out),
            Stage::Settle => self.settle(log, out),
        }
    }

    /// A step of a recovery is over.
    pub(crate) fn recovered(&mut self, log: LogRef, step: RecoverStep, done: Result<Done, Fault>, out: &mut Effects) {
        if let RecoverStep::Scan(handle)
        | RecoverStep::Cut(handle)
        | RecoverStep::CutSync(handle)
        | RecoverStep::Verify(handle)
        | RecoverStep::VerifySync(handle) = step
        {
            self.unpin(handle, out);
        }
        if let RecoverStep::MetadataRead(file) = step {
            self.close_file(log, file, out);
        }
        let done = match (step, done) {
            (RecoverStep::List, Err(fault)) if fault.errno == Fault::ENOENT && self.recovery(log).compares => {
                return self.compared(log, out);
            }
            (RecoverStep::List, Err(fault)) if fault.errno == Fault::ENOENT => {
                let next = self.recovery(log).root + 1;
                return self.look_in(log, next, out);
            }
            // Somebody else moved it away at the same time.
            (RecoverStep::Stray, Err(fault)) if fault.errno == Fault::ENOENT => Done::Finished,
            (RecoverStep::Cut(_) | RecoverStep::CutSync(_) | RecoverStep::VerifySync(_), Err(fault)) => {
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
                if recovery.compares {
                    return self.compared(log, out);
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
            (RecoverStep::Scan(_), Done::Filled(buf)) => self.window_read(log, &buf, out),
            (RecoverStep::Cut(_), _) => {
                self.recovery(log).cut = true;
                self.cut(log, out);
            }
            (RecoverStep::CutSync(_), _) => {
                self.recovery(log).clean = true;
                self.finish(log, out);
            }
            (RecoverStep::Verify(_), Done::Filled(buf)) => self.verified(log, &buf, out),
            (RecoverStep::VerifySync(_), _) => {
                self.recovery(log).unsynced.pop();
                self.settle(log, out);
            }
            (step, other) => panic!("{step:?} was answered by {other:?}"),
        }
    }

    fn read_small(&mut self, log: LogRef, file: effect::File, bytes: usize, step: RecoverStep, out: &mut Effects) {
        match self.take_memory(bytes) {
            Some(buf) => self.submit(log, Work::Recover(step), Op::Read { file, offset: 0, buf }, out),
            None => {
                self.close_file(log, file, out);
                self.wait_for_memory(log, out);
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
                let (first, _) = recovery.found[0];
                self.begin_scan(log, first, out);
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
                self.wait_for_memory(log, out);
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
        match scan.feed(recovery.window_start, bytes, |_, header| knowledge.absorb(header, None, producers_max)) {
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
        let mut segment = Segment::new(scan.base);
        segment.end = end;
        segment.durable = end;
        segment.max_timestamp = Some(scan.index.max_timestamp());
        segment.index = Some(scan.index);
        segment.allocated = scan.file_len;
        segment.named = true;
        if let Some(next) = next {
            // Behind the last batch of a compacted segment offsets may be missing.
            let is_compacted = partition.settings.compact && end.position == scan.file_len && end.offset < next;
            if end.offset != next && !is_compacted {
                return self.fail(log, Failure::Gap { end: end.offset, next }, out);
            }
            segment.end.offset = next;
            segment.durable.offset = next;
            // What lies behind its last batch nobody reads.
            segment.sealed = true;
            segment.destaged = end.position;
            // It is read from its files when somebody needs it.
            segment.index = None;
            partition.segments.push(segment);
            return self.begin_scan(log, next, out);
        }
        if end.position == 0 {
            // Nothing of it counts yet, so its name need not be durable.
            segment.named = false;
        }
        segment.destaged = end.position / BLOCK * BLOCK;
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
        let recovery = self.recovery(log);
        let (clean, cut) = (recovery.clean, recovery.cut);
        if (clean && end == 0) || (len == 0 && !cut) {
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
        if self.recovery(log).entries.is_empty() {
            let partition = self.known(log);
            partition.segments = Vec::with_capacity(1);
            partition.segments.push(Segment::new(Offset::ZERO));
            return self.opened(log, out);
        }
        // The journal goes on from something that is not there.
        self.fail_replay(log, Failure::Journal { end: Offset::ZERO }, out);
    }

    /// Everything on disk is as it should be: the last block comes back into memory.
    fn finish(&mut self, log: LogRef, out: &mut Effects) {
        let tail = std::mem::take(&mut self.recovery(log).tail);
        if !tail.is_empty() {
            let Some(mut memory) = self.take_memory(CHUNK_BYTES_MIN).or_else(|| self.spare.take()) else {
                self.recovery(log).tail = tail;
                self.recovery(log).stage = Stage::Cut;
                return self.wait_for_memory(log, out);
            };
            memory.extend(&tail);
            self.add_chunk(log, Chunk::new(memory));
        }
        let partition = self.known(log);
        partition.dir_ready = true;
        partition.dir_durable = true;
        partition.durable_end = partition.end();
        self.recovery(log).stage = Stage::Replay;
        // Not in a checkpoint yet.
        self.touch(log);
        self.replay(log, out);
    }

    pub(crate) fn opened(&mut self, log: LogRef, out: &mut Effects) {
        let wall = self.house.wall;
        let partition = self.known(log);
        partition.segments.iter_mut().for_each(|segment| segment.age.bear_out(wall));
        partition.durable_end = partition.end();
        partition.durable_max = (partition.knowledge.max_timestamp, partition.knowledge.max_timestamp_at);
        let (start, end) = (partition.start(), partition.end());
        if partition.segments.last().is_some_and(|last| last.end.position > 0 && last.end.offset <= start) {
            // All of it is deleted, and its file may be gone.
            partition.segments.push(Segment::new(end));
        }
        let last = partition.segments.last().expect("an open log has a segment");
        partition.resume = (last.end.offset > Offset::ZERO).then_some((last.base, last.end));
        let root = partition.root;
        self.roots[root].logs += 1;
        let partition = self.known(log);
        partition.opened = true;
        partition.state = State::Open;
        let doomed = partition.doomed;
        self.recovering -= 1;
        self.events.push(Event::Opened { log, start, end });
        if doomed {
            self.known(log).state = State::Removing;
        } else if self.closing.is_some() {
            self.known(log).state = State::Closing;
        }
        self.mark_dirty(log);
        self.start_recoveries(out);
    }

    pub(crate) fn recovery(&mut self, log: LogRef) -> &mut Recovery {
        match &mut self.known(log).state {
            State::Recovering(recovery) => recovery,
            other => panic!("not in recovery: {other:?}"),
        }
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
