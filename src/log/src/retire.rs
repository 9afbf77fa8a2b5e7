//! The ways in which a log goes: removal, clean close.
//! Each waits until nothing of the log is in flight, and goes one step at a time, so that a crash between two steps
//! leaves what a start understands.

use std::path::PathBuf;

use effect::{Done, Effects, Fault, Op};

use crate::job::{Job, Work};
use crate::partition::State;
use crate::recovery::Stage;
use crate::space::Room;
use crate::{Event, Log, LogRef};

impl Log {
    /// Removes the files of a log that an earlier run had begun to remove (`*-delete`).
    pub fn remove_leftover(&mut self, dir: PathBuf, out: &mut Effects) {
        self.jobs.push(Job { log: LogRef::NOBODY, work: Work::Discard }, Op::Remove { path: dir }, out);
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
            State::Recovering(_) => partition.doomed = true,
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
        let root = self.known(log).root;
        self.forget_goal(root, log);
        self.roots[root].logs = self.roots[root].logs.saturating_sub(1);
        self.wake();
        self.partitions.remove(log.slot, log.generation);
        self.metrics.log_partitions.set(self.partitions.len() as u64);
        self.events.push(Event::Removed { log });
        self.one_closed();
    }

    /// Flushes every log, cuts what is allocated beyond its end, and writes a last checkpoint. Ends in
    /// [`Event::Closed`]; nothing can be opened or appended any more.
    pub fn close_all(&mut self) {
        assert!(self.closing.is_none());
        self.closing = Some(self.partitions.len());
        for log in self.all_logs() {
            let partition = self.known(log);
            match &partition.state {
                State::Recovering(recovery) if recovery.stage == Stage::Queued => self.closed(log),
                State::Failed if !partition.opened => self.closed(log),
                State::Open | State::Failed => {
                    partition.state = State::Closing;
                    if !partition.trimmed && partition.segments.last().is_some_and(|last| last.end.position > 0) {
                        self.touch(log);
                    }
                    self.mark_dirty(log);
                }
                // These come to it by themselves.
                State::Recovering(_) | State::Removing => self.mark_dirty(log),
                State::Closing | State::Closed => unreachable!("only this closes"),
            }
        }
        self.wake();
        if self.closing == Some(0) {
            self.events.push(Event::Closed);
        }
    }

    /// Closes the logs of directories that have nothing left to write.
    pub(crate) fn finish_closing(&mut self, out: &mut Effects) {
        if self.closing.is_none_or(|left| left == 0) {
            return;
        }
        for root in 0..self.roots.len() {
            if !self.is_checkpointed(root) {
                continue;
            }
            let is_stuck = self.roots[root].offline || self.roots[root].space.room == Room::Full;
            self.roots[root].checkpoint.over |= is_stuck;
            for log in self.all_logs() {
                let partition = self.known(log);
                let is_done = matches!(partition.state, State::Closing) && partition.root == root;
                if is_done && partition.ops == 0 && (is_stuck || partition.is_flushed()) {
                    self.forget_files(log, None, out);
                    self.closed(log);
                }
            }
        }
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
