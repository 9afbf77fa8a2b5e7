//! The ways in which a log, or a part of it, goes: truncation, dropping whole segments, removal, clean close.
//! Each waits until nothing of the log is in flight, and goes one step at a time, so that a crash between two steps
//! leaves what a start understands.

use std::path::PathBuf;

use effect::{Done, Effects, Fault, Op};
use model::Offset;

use crate::files::{Key, Mode};
use crate::job::{Job, Work};
use crate::partition::State;
use crate::recovery::Stage;
use crate::{Event, Log, LogRef};

impl Log {
    /// Removes the files of a log that an earlier run had begun to remove (`*-delete`).
    pub fn remove_leftover(&mut self, dir: PathBuf, out: &mut Effects) {
        let nobody = LogRef { slot: u32::MAX, generation: u32::MAX };
        self.jobs.push(Job { log: nobody, work: Work::Discard }, Op::Remove { path: dir }, out);
    }

    /// Removes a log: its directory is moved to `<name>.<topic id>-delete`, then removed in the background.
    /// Ends in [`Event::Removed`]; what was not durable is lost.
    pub fn remove(&mut self, log: LogRef, out: &mut Effects) {
        let Some(partition) = self.partition_mut(log) else { return };
        match &partition.state {
            State::Recovering(recovery) if recovery.stage == Stage::Queued => {
                // Not known yet whether there is a directory.
                partition.on_disk = true;
                partition.state = State::Removing;
            }
            State::Recovering(_) | State::Truncating { .. } => partition.doomed = true,
            State::Open | State::Failed => partition.state = State::Removing,
            State::Closing | State::Closed | State::Removing => return,
        }
        self.look(log, out);
    }

    pub(crate) fn pump_remove(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.ops > 0 {
            return;
        }
        if !partition.on_disk {
            return self.removed(log, out);
        }
        let (from, to) = (partition.dir.clone(), self.graveyard(log));
        self.forget_files(log, None, out);
        self.submit(log, Work::RemoveRename, Op::Rename { from, to }, out);
    }

    pub(crate) fn removing(&mut self, log: LogRef, work: Work, done: Result<Done, Fault>, out: &mut Effects) {
        let root = self.known(log).root;
        match (work, done) {
            (Work::RemoveRename, Ok(_)) => {
                let path = self.roots[root].path.clone();
                self.submit(log, Work::RemoveSync, Op::SyncDir { path }, out);
            }
            (_, Ok(_)) => {
                let path = self.graveyard(log);
                self.removed(log, out);
                self.remove_leftover(path, out);
            }
            (_, Err(fault)) => {
                if fault.errno != Fault::ENOENT {
                    let dir = self.known(log).dir.clone();
                    tracing::error!(dir = %dir.display(), %fault, "log not removed");
                }
                self.removed(log, out);
            }
        }
    }

    fn graveyard(&mut self, log: LogRef) -> PathBuf {
        let partition = self.known(log);
        let mut name = partition.dir.file_name().unwrap_or_default().to_os_string();
        name.push(format!(".{}-delete", partition.at.topic));
        partition.dir.with_file_name(name)
    }

    fn removed(&mut self, log: LogRef, out: &mut Effects) {
        self.forget_chunks(log);
        self.forget_files(log, None, out);
        self.partitions.remove(log.slot, log.generation);
        self.metrics.log_partitions.set(self.partitions.len() as u64);
        self.events.push(Event::Removed { log });
        self.one_closed();
    }

    /// Drops the segments that end at or before `offset`; never the last one.
    pub fn drop_before(&mut self, log: LogRef, offset: Offset, out: &mut Effects) {
        let Some(partition) = self.partition_mut(log) else { return };
        if !matches!(partition.state, State::Open) {
            return;
        }
        let last = partition.segments.len() - 1;
        if partition.swap.is_some() {
            // These files are about to go or to be renamed: asked again later.
            return;
        }
        let dropped = |segment: &&crate::segment::Segment| segment.sealed && segment.end.offset <= offset;
        let count = partition.segments.iter().take(last).take_while(dropped).count();
        let mut bytes = 0;
        for segment in partition.segments.drain(..count).collect::<Vec<_>>() {
            bytes += segment.chunks.iter().map(|chunk| chunk.chunk.capacity()).sum::<usize>();
            partition.dropping.extend(partition.index_paths(segment.base));
            partition.dropping.push(partition.segment_path(segment.base));
            partition.dropping.push(partition.snapshot_path(segment.base));
        }
        let first = partition.first_base();
        self.cache_bytes -= bytes;
        self.forget_files(log, Some(first), out);
        self.pump_drop(log, out);
    }

    /// One segment after the other, the oldest first, each with its snapshot last: what a crash leaves has no hole.
    pub(crate) fn pump_drop(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.drop_busy || partition.dropping.is_empty() {
            return;
        }
        partition.drop_busy = true;
        let path = partition.dropping[0].clone();
        self.submit(log, Work::DropRemove, Op::Remove { path }, out);
    }

    pub(crate) fn drop_removed(&mut self, log: LogRef, done: Result<Done, Fault>, out: &mut Effects) {
        if let Err(fault) = done {
            return self.drop_failed(log, fault, out);
        }
        let partition = self.known(log);
        let removed = partition.dropping.remove(0);
        if removed.extension().is_none_or(|suffix| suffix != "snapshot") {
            // The rest of its segment goes with the same sync.
            partition.drop_busy = false;
            return self.pump_drop(log, out);
        }
        let path = partition.dir.clone();
        self.submit(log, Work::DropSync, Op::SyncDir { path }, out);
    }

    pub(crate) fn drop_synced(&mut self, log: LogRef, done: Result<Done, Fault>, out: &mut Effects) {
        self.known(log).drop_busy = false;
        if let Err(fault) = done {
            return self.drop_failed(log, fault, out);
        }
        self.look(log, out);
    }

    /// What was not removed comes back at the next start, as whole segments.
    fn drop_failed(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        let partition = self.known(log);
        partition.drop_busy = false;
        partition.dropping.clear();
        let dir = partition.dir.clone();
        tracing::error!(dir = %dir.display(), %fault, "old segments not removed");
        self.look(log, out);
    }

    pub(crate) fn pump_truncate(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.ops > 0 || !partition.is_flushed() || partition.swap.is_some() {
            return;
        }
        let (end, doomed) = (partition.end(), partition.doomed);
        let State::Truncating { to, files } = &mut partition.state else { return };
        let to = *to;
        if doomed {
            partition.state = State::Removing;
            return self.pump_remove(log, out);
        }
        if files.is_none() && end <= to {
            partition.state = State::Open;
            self.events.push(Event::Truncated { log, end });
            if self.closing.is_some() {
                self.known(log).state = State::Closing;
                self.mark_dirty(log);
            }
            return;
        }
        if files.is_none() {
            let gone: Vec<_> =
                partition.segments.iter().skip(1).map(|segment| segment.base).filter(|base| to <= *base).collect();
            let paths = gone.iter().flat_map(|base| [partition.snapshot_path(*base), partition.segment_path(*base)]);
            let mut paths: Vec<_> = paths.collect();
            // The index of a segment that is cut says what is not true any more.
            let cut = partition.segments.iter().filter(|segment| segment.sealed && to < segment.end.offset);
            paths.extend(cut.flat_map(|segment| partition.index_paths(segment.base)));
            partition.state = State::Truncating { to, files: Some(paths) };
        }
        let State::Truncating { files: Some(files), .. } = &mut partition.state else { return };
        match files.pop() {
            Some(path) => self.submit(log, Work::TruncateRemove, Op::Remove { path }, out),
            None => {
                let path = partition.dir.clone();
                self.submit(log, Work::TruncateSync, Op::SyncDir { path }, out);
            }
        }
    }

    pub(crate) fn truncating(&mut self, log: LogRef, work: Work, done: Result<Done, Fault>, out: &mut Effects) {
        if let Err(fault) = done {
            return self.write_fault(log, fault, out);
        }
        let partition = self.known(log);
        match (work, &partition.state) {
            (Work::TruncateSync, State::Truncating { to, .. }) => {
                let to = *to;
                self.recover_to(log, to, out);
            }
            _ => self.look(log, out),
        }
    }

    /// The directory failed under a truncation: nothing of the log is written any more, but it can still go.
    pub(crate) fn give_up_truncating(&mut self, log: LogRef, out: &mut Effects) {
        let is_closing = self.closing.is_some();
        let partition = self.known(log);
        if partition.ops > 0 {
            return;
        }
        if partition.doomed {
            partition.state = State::Removing;
            self.pump_remove(log, out);
        } else if is_closing {
            self.forget_files(log, None, out);
            self.closed(log);
        }
    }

    /// Flushes every log and cuts what is allocated beyond its end. Ends in [`Event::Closed`]; nothing can be opened
    /// or appended any more.
    pub fn close_all(&mut self, out: &mut Effects) {
        assert!(self.closing.is_none());
        self.closing = Some(self.partitions.len());
        let logs: Vec<_> = self.partitions.iter().map(|(slot, generation, _)| LogRef { slot, generation }).collect();
        for log in logs {
            let partition = self.known(log);
            match &partition.state {
                State::Recovering(recovery) if recovery.stage == Stage::Queued => self.closed(log),
                State::Failed => self.closed(log),
                State::Open => {
                    partition.state = State::Closing;
                    self.look(log, out);
                }
                // These come to it by themselves.
                State::Recovering(_) | State::Truncating { .. } | State::Removing => self.mark_dirty(log),
                State::Closing | State::Closed => unreachable!("only this closes"),
            }
        }
        if self.closing == Some(0) {
            self.events.push(Event::Closed);
        }
    }

    pub(crate) fn pump_close(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.ops > 0 {
            return;
        }
        let root = partition.root;
        let (flushed, no_space) = (partition.is_flushed(), partition.no_space);
        if !self.roots[root].offline && !flushed && !no_space {
            // Waits for memory or a file; the next look goes on.
            return;
        }
        if !self.roots[root].offline && flushed && self.trim(log, out) {
            return;
        }
        self.forget_files(log, None, out);
        self.closed(log);
    }

    /// Cuts what the last segment has beyond its end, if its file is open; says whether something is under way.
    fn trim(&mut self, log: LogRef, out: &mut Effects) -> bool {
        let segment = self.known(log).segments.last().expect("a log that closes was open");
        let (base, len) = (segment.base, segment.end.position);
        let (sealed, cut, whole) = (segment.sealed, segment.cut, segment.allocated == len);
        let key = Key { log, base, mode: Mode::Write };
        if sealed || len == 0 || (whole && !cut) || !self.files.is_open(key) {
            return false;
        }
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return false };
        if cut {
            self.submit(log, Work::SealSync { base, handle }, Op::Sync { file }, out);
        } else {
            self.submit(log, Work::SealCut { base, handle }, Op::SetLen { file, len }, out);
        }
        true
    }

    pub(crate) fn closed(&mut self, log: LogRef) {
        self.known(log).state = State::Closed;
        self.one_closed();
    }

    fn one_closed(&mut self) {
        if let Some(left) = &mut self.closing {
            *left -= 1;
            if *left == 0 {
                self.events.push(Event::Closed);
            }
        }
    }
}
