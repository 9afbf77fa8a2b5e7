//! Opening a log from what checkpoint and journal say of it. Its segments are not read, but for batches that were
//! written to them directly since the checkpoint: those are verified.
//!
//! Invariants: an entry takes up exactly where the log ends, or speaks of what the checkpoint has already; anything
//! else, and a direct write that is not whole though later ones followed it, is damage to acknowledged data, and then
//! the log directory goes offline with everything as it is.

use effect::{BufMut, Chunk, Effects, Op};
use model::{Offset, Timestamp};
use record::Header;

use crate::age::Age;
use crate::checkpoint::record::{Record, SegmentRecord};
use crate::files::Mode;
use crate::index::{Index, Place};
use crate::job::{RecoverStep, Work};
use crate::journal::assemble::FoundLog;
use crate::journal::entry::{Entry, Slice};
use crate::partition::{CHUNK_BYTES_MIN, Goal, State};
use crate::recovery::{Check, Scan, Scanned, Stage};
use crate::segment::{BLOCK, Segment};
use crate::{Failure, Log, LogRef, Offline, PartitionSettings};

impl Log {
    /// Begins with what the checkpoint says.
    pub(crate) fn begin_replay(&mut self, log: LogRef, root: usize, out: &mut Effects) {
        self.place_log(log, root);
        let at = self.known(log).at;
        let FoundLog { record, entries } = self.roots[root].found.remove(&at).expect("it was found a moment ago");
        let recovery = self.recovery(log);
        recovery.entries = entries.into();
        match record {
            Some((run, record)) => {
                let index = index_of(&record).unwrap_or_else(|| Index::resumed(record.last.base, record.last.end));
                recovery.record_run = Some(run);
                let partition = self.known(log);
                partition.start = record.start;
                partition.droppable = record.start;
                partition.knowledge = record.knowledge;
                partition.dir_ready = record.has_directory;
                partition.dir_durable = record.has_directory;
                partition.on_disk = record.has_directory;
                partition.trimmed = record.is_trimmed;
                partition.segments = record.closed.iter().map(SegmentRecord::segment).collect();
                partition.compacted.to = record.compacted_to;
                let mut last = Segment::new(record.last.base);
                last.end = record.last.end;
                last.durable = record.last.end;
                last.destaged = record.last.end.position / BLOCK * BLOCK;
                last.allocated = last.destaged;
                last.named = record.has_directory && last.destaged > 0;
                last.max_timestamp =
                    (record.last.max_timestamp != Timestamp::NONE).then_some(record.last.max_timestamp);
                last.age = Age::known(record.last.first_time, record.last.largest_time);
                last.index = Some(index);
                partition.segments.push(last);
                self.restore_tail(log, &record.tail);
            }
            None => match self.recovery(log).entries.front() {
                Some((_, Entry::Resume { end, .. })) => {
                    // An earlier run began with what lies in the directory, and so does this one.
                    self.recovery(log).stop_at = Some(end.offset);
                    self.recovery(log).stage = Stage::List;
                    self.recovery(log).root = root;
                    return self.recover(log, out);
                }
                _ => self.known(log).segments.push(Segment::new(Offset::ZERO)),
            },
        }
        self.touch(log);
        let partition = self.known(log);
        partition.on_disk = true;
        if partition.segments.len() > 1 && (partition.settings.compact || partition.compacted.to > Offset::ZERO) {
            let recovery = self.recovery(log);
            recovery.compares = true;
            recovery.stage = Stage::List;
            return self.recover(log, out);
        }
        self.recovery(log).stage = Stage::Replay;
        self.replay(log, out);
    }

    /// The directory of a compacted log is listed: closed segments may have been exchanged since the checkpoint, and a
    /// crash may have cut that short, which is in order now.
    pub(crate) fn compared(&mut self, log: LogRef, out: &mut Effects) {
        let found = std::mem::take(&mut self.recovery(log).found);
        let partition = self.known(log);
        let last = partition.segments.pop().expect("a log has a segment");
        let len_of = |base| found.binary_search_by_key(&base, |(base, _)| *base).ok().map(|at| found[at].1);
        let mut next = last.base;
        let mut segments = vec![last];
        for mut segment in partition.segments.drain(..).rev() {
            // It became part of the one before it, or was deleted.
            let Some(len) = len_of(segment.base) else { continue };
            if len != segment.end.position || next != segment.end.offset {
                let times = (segment.age, segment.max_timestamp);
                segment = Segment::found(segment.base, Place { offset: next, position: len });
                (segment.age, segment.max_timestamp) = times;
            }
            next = segment.base;
            segments.push(segment);
        }
        segments.reverse();
        partition.segments = segments;
        let recovery = self.recovery(log);
        recovery.compares = false;
        recovery.stage = Stage::Replay;
        self.replay(log, out);
    }

    /// Takes in one entry after the other, until one needs the disk or all are in.
    pub(crate) fn replay(&mut self, log: LogRef, out: &mut Effects) {
        loop {
            let recovery = self.recovery(log);
            let Some((run, entry)) = recovery.entries.front().cloned() else {
                recovery.stage = Stage::Settle;
                return self.settle(log, out);
            };
            let is_new_run = recovery.record_run.is_none_or(|record| record < run);
            let end = self.known(log).end();
            match entry {
                Entry::Batches { base, position, bytes } => match self.replay_batches(log, base, position, &bytes) {
                    Replayed::Done => {}
                    Replayed::NoMemory => return self.wait_for_memory(log, out),
                    Replayed::Damaged => return self.fail_replay(log, Failure::Journal { end }, out),
                },
                Entry::Direct { end: to, .. } if to.offset <= end => {}
                Entry::Direct { base, .. } => {
                    if self.is_given_up(log) {
                        // A later run found it torn.
                    } else if self.reach_segment(log, base) {
                        self.begin_verify(log);
                        return self.verify(log, out);
                    } else {
                        return self.fail_replay(log, Failure::Journal { end }, out);
                    }
                }
                Entry::Start { offset } => {
                    let partition = self.known(log);
                    partition.start = partition.start.max(offset).min(end);
                    partition.droppable = partition.start;
                }
                Entry::Resume { base, end: to } if is_new_run => {
                    // Where everything was deleted it went on in a new segment.
                    self.reach_segment(log, base);
                    let last = self.known(log).segments.last().expect("a log has a segment");
                    if last.end != to || last.base != base {
                        return self.fail_replay(log, Failure::Journal { end }, out);
                    }
                }
                Entry::Resume { .. } => {}
            }
            self.recovery(log).entries.pop_front();
        }
    }

    fn replay_batches(&mut self, log: LogRef, base: Offset, position: u32, bytes: &Slice) -> Replayed {
        let partition = self.known(log);
        let last = partition.segments.last().expect("a log has a segment");
        let place = Place { offset: last.end.offset, position: u64::from(position) };
        let Some(batches) = batches(bytes, partition.end()) else { return Replayed::Damaged };
        let Some(batches) = batches else { return Replayed::Done };
        if !self.reach_segment(log, base) {
            return Replayed::Damaged;
        }
        let last = self.known(log).segments.last().expect("a log has a segment");
        if last.end != place && !(position == 0 && last.end.position == 0) {
            return Replayed::Damaged;
        }
        if !self.make_room(log, bytes.len()) {
            return Replayed::NoMemory;
        }
        let end = last_end(&batches, u64::from(position));
        if end.position > u64::from(u32::MAX) {
            return Replayed::Damaged;
        }
        let from = u64::from(position);
        for (at, header) in &batches {
            self.absorb(log, Place { offset: header.base_offset, position: from + at }, header);
        }
        let last = self.known(log).segments.last_mut().expect("a log has a segment");
        last.copy_in(bytes);
        last.end = end;
        last.durable = end;
        self.known(log).trimmed = false;
        Replayed::Done
    }

    /// Makes the segment at `base` the last one, if it is or if it begins where that one ends.
    fn reach_segment(&mut self, log: LogRef, base: Offset) -> bool {
        let partition = self.known(log);
        let last = partition.segments.last().expect("a log has a segment");
        if last.base == base {
            return true;
        }
        if last.end.offset != base || last.end.position == 0 {
            return false;
        }
        partition.segments.push(Segment::new(base));
        true
    }

    fn absorb(&mut self, log: LogRef, place: Place, header: &Header) {
        let producers_max = self.config.producers_max;
        let partition = self.known(log);
        let interval_bytes = partition.settings.index_interval_bytes;
        partition.knowledge.absorb(header, None, producers_max);
        let last = partition.segments.last_mut().expect("a log has a segment");
        last.age.replay(header.max_timestamp);
        last.index.as_mut().expect("the last segment has its index").push(header, place.position, interval_bytes);
    }

    /// Whether a run after the one of the next entry, which speaks of a direct write, went on without it.
    fn is_given_up(&mut self, log: LogRef) -> bool {
        let end = self.known(log).end();
        matches!(self.recovery(log).entries.get(1), Some((_, Entry::Resume { end: to, .. })) if to.offset == end)
    }

    fn begin_verify(&mut self, log: LogRef) {
        let last = self.known(log).segments.last().expect("a log has a segment");
        let (base, next) = (last.base, last.end);
        let recovery = self.recovery(log);
        let Some((_, Entry::Direct { end, .. })) = recovery.entries.front() else { panic!("it is one") };
        recovery.scan = Some(Scan::from(base, next, end.position, Check::Whole));
        recovery.window_start = next.position / BLOCK * BLOCK;
        recovery.window_bytes = VERIFY_WINDOW_BYTES;
        recovery.verified.clear();
        recovery.stage = Stage::Verify;
    }

    /// Reads on in a segment that was written directly.
    pub(crate) fn verify(&mut self, log: LogRef, out: &mut Effects) {
        let recovery = self.recovery(log);
        let Some((_, Entry::Direct { base, end, .. })) = recovery.entries.front() else { panic!("it is one") };
        let (base, whole) = (*base, end.position / BLOCK * BLOCK);
        let offset = recovery.window_start;
        let bytes = (whole - offset).min(recovery.window_bytes as u64) as usize;
        if bytes == 0 {
            return self.verify_end(log, offset, Vec::new(), out);
        }
        let Some((handle, file)) = self.acquire(log, base, Mode::Read, out) else { return };
        let Some(mut buf) = self.take_memory(bytes) else {
            self.unpin(handle, out);
            return self.wait_for_memory(log, out);
        };
        buf.limit(bytes);
        let work = Work::Recover(RecoverStep::Verify(handle));
        self.submit(log, work, Op::Read { file, offset, buf }, out);
    }

    pub(crate) fn verified(&mut self, log: LogRef, buf: &BufMut, out: &mut Effects) {
        let recovery = self.recovery(log);
        let Some((_, Entry::Direct { end, .. })) = recovery.entries.front() else { panic!("it is one") };
        let whole = end.position / BLOCK * BLOCK;
        let start = recovery.window_start;
        if start + buf.filled() as u64 >= whole || buf.filled() < buf.capacity() {
            return self.verify_end(log, start, buf.as_slice().to_vec(), out);
        }
        let scan = recovery.scan.as_mut().expect("a scan is under way");
        let verified = &mut recovery.verified;
        match scan.feed(start, buf.as_slice(), |place, header| verified.push((place, *header))) {
            Scanned::More { from, bytes } => {
                recovery.window_start = from;
                let bytes = usize::try_from(bytes).unwrap_or(usize::MAX);
                recovery.window_bytes = VERIFY_WINDOW_BYTES.max(bytes.next_multiple_of(BLOCK as usize));
                self.verify(log, out);
            }
            Scanned::End | Scanned::WrongFirst(_) => self.verify_end(log, start, Vec::new(), out),
        }
    }

    /// The file's last bytes are here, and behind them comes what the journal has.
    fn verify_end(&mut self, log: LogRef, start: u64, mut bytes: Vec<u8>, out: &mut Effects) {
        let recovery = self.recovery(log);
        let Some((_, Entry::Direct { base, end, tail, is_over })) = recovery.entries.pop_front() else {
            panic!("it is one")
        };
        bytes.extend_from_slice(&tail);
        let mut scan = recovery.scan.take().expect("a scan is under way");
        let verified = &mut recovery.verified;
        if start <= scan.next.position {
            scan.feed(start, &bytes, |place, header| verified.push((place, *header)));
        }
        let verified = std::mem::take(verified);
        // Otherwise it may be torn, and nobody was told of it.
        let is_proven = is_over || !recovery.entries.is_empty();
        recovery.stage = Stage::Replay;
        if scan.next != end {
            if !is_proven {
                tracing::info!(segment = %base, position = scan.next.position, "a torn write was never acknowledged: left out");
                return self.replay(log, out);
            }
            let failure = Failure::Damaged { base, position: scan.next.position };
            return self.fail_replay(log, failure, out);
        }
        if !recovery.unsynced.contains(&base) {
            recovery.unsynced.push(base);
        }
        for (place, header) in verified {
            self.absorb(log, place, &header);
        }
        let last = self.known(log).segments.last_mut().expect("a log has a segment");
        let freed: usize = last.chunks.drain(..).map(|chunk| chunk.chunk.capacity()).sum();
        last.end = end;
        last.durable = end;
        last.destaged = end.position / BLOCK * BLOCK;
        last.allocated = last.allocated.max(last.destaged);
        last.named = true;
        let partition = self.known(log);
        partition.dir_ready = true;
        partition.dir_durable = true;
        partition.trimmed = false;
        self.cache_bytes -= freed;
        self.restore_tail(log, &tail);
        self.replay(log, out);
    }

    /// The last, partial block comes back into memory: a block for each log, whatever else holds memory.
    fn restore_tail(&mut self, log: LogRef, tail: &[u8]) {
        if !tail.is_empty() {
            let taken = self.take_memory(CHUNK_BYTES_MIN);
            let mut memory = taken.unwrap_or_else(|| self.pool.take_over(CHUNK_BYTES_MIN));
            memory.extend(tail);
            self.add_chunk(log, Chunk::new(memory));
        }
    }

    /// There is no memory for a step of a start. The journal may hold more than memory does, and no checkpoint comes
    /// before all logs are open: what was replayed goes to its segments now, so that it need not stay.
    pub(crate) fn wait_for_memory(&mut self, log: LogRef, out: &mut Effects) {
        if self.retry.is_empty() {
            self.all_logs().into_iter().for_each(|other| self.unload(other, out));
        } else {
            self.unload(log, out);
        }
        self.retry_later(log);
    }

    /// Has a log write the whole blocks that are in memory only.
    fn unload(&mut self, log: LogRef, out: &mut Effects) {
        let root = self.known(log).root;
        if self.roots[root].offline {
            return;
        }
        let partition = self.known(log);
        let may_write = match &partition.state {
            State::Open => partition.goal.is_none(),
            State::Recovering(recovery) => recovery.stage == Stage::Replay,
            _ => false,
        };
        let Some(last) = partition.segments.last().filter(|_| may_write) else { return };
        let position = last.durable.position / BLOCK * BLOCK;
        partition.goal = Some(Goal { base: last.base, position, trim: false });
        self.pump_destage(log, out);
    }

    /// What was written directly may be there without its sync, if nobody was told: it is synced before it counts.
    pub(crate) fn settle(&mut self, log: LogRef, out: &mut Effects) {
        let Some(base) = self.recovery(log).unsynced.last().copied() else { return self.opened(log, out) };
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        self.submit(log, Work::Recover(RecoverStep::VerifySync(handle)), Op::Sync { file }, out);
    }

    /// Checkpoint, journal and segments contradict each other: somebody has to look before anything is written.
    pub(crate) fn fail_replay(&mut self, log: LogRef, failure: Failure, out: &mut Effects) {
        let partition = self.known(log);
        assert!(matches!(partition.state, State::Recovering(_)));
        let root = partition.root;
        let place = match failure {
            Failure::Damaged { base, .. } => partition.segment_path(base),
            _ => partition.dir.clone(),
        };
        tracing::error!(place = %place.display(), ?failure, "what was acknowledged is not there: nothing is cut");
        self.fail(log, failure, out);
        self.root_offline(root, Offline::Damaged, out);
    }
}

/// What became of an entry.
enum Replayed {
    Done,
    NoMemory,
    Damaged,
}

/// The index of a segment that is shorter than a block, all of which the checkpoint has; `None` of a longer one.
fn index_of(record: &Record) -> Option<Index> {
    let mut index = Index::new(record.last.base);
    if record.last.end.position >= BLOCK {
        return None;
    }
    let mut at = 0;
    while at < record.tail.len() {
        let header = Header::peek(record.tail.get(at..)?).ok()?;
        index.push(&header, at as u64, PartitionSettings::DEFAULT.index_interval_bytes);
        at = at.checked_add(header.size_bytes)?;
    }
    Some(index)
}

/// The batches in an entry's bytes with their places in them, in order and without a gap from `end` on; nothing inside
/// if they all lie before it, nothing at all if they are neither.
#[allow(clippy::type_complexity)]
fn batches(bytes: &[u8], end: Offset) -> Option<Option<Vec<(u64, Header)>>> {
    let mut batches = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let header = Header::peek(bytes.get(at..)?).ok()?;
        batches.push((at as u64, header));
        at = at.checked_add(header.size_bytes)?;
    }
    let (_, first) = batches.first()?;
    let (_, last) = batches.last()?;
    if at != bytes.len() {
        return None;
    }
    if last.next_offset() <= end {
        return Some(None);
    }
    let follows = batches.iter().zip(batches.iter().skip(1)).all(|((_, a), (_, b))| a.next_offset() == b.base_offset);
    (first.base_offset == end && follows).then_some(Some(batches))
}

fn last_end(batches: &[(u64, Header)], from: u64) -> Place {
    let (at, header) = batches.last().expect("there is one");
    Place { offset: header.next_offset(), position: from + at + header.size_bytes as u64 }
}

const VERIFY_WINDOW_BYTES: usize = 1 << 20;
