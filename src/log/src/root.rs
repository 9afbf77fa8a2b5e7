//! A log directory: its journal and checkpoints, and what it does when its disk is full or fails.
//! Owns the state and the consequences. Never knows which logs lie in it but by asking them.
//! Invariant: a failed write or sync is final: the directory is offline until a restart. A full disk passes.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use effect::{Done, Effects, Fault, Op};
use model::TopicPartition;

use crate::checkpoint::Checkpoints;
use crate::job::{Job, RootWork, Work};
use crate::journal::assemble::{Damage, FoundLog};
use crate::journal::frame::Run;
use crate::journal::name::{DIRECTORY, Name, Superseded};
use crate::journal::{Journal, Reading};
use crate::space::Space;
use crate::{Event, Log, LogRef, Offline};

/// How far a start is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    Unread,
    Reading,
    /// What was there is known; the journal's first file is made.
    Making,
    Ready,
}

#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) path: PathBuf,
    pub(crate) stage: Stage,
    pub(crate) offline: bool,
    pub(crate) space: Space,
    /// Its filesystem cannot set space aside.
    pub(crate) unreserved: bool,
    pub(crate) journal: Journal,
    pub(crate) checkpoint: Checkpoints,
    pub(crate) reading: Reading,
    /// Logs that an earlier run left and that were not opened yet.
    pub(crate) found: BTreeMap<TopicPartition, FoundLog>,
    /// Files of frames that were written under another number of shards.
    pub(crate) foreign: Vec<Name>,
    /// Which of them do not count any more.
    pub(crate) superseded: Vec<Superseded>,
    /// Logs that lie here.
    pub(crate) logs: usize,
}

impl Root {
    pub(crate) fn new(path: PathBuf) -> Root {
        Root {
            path,
            stage: Stage::Unread,
            offline: false,
            space: Space::default(),
            unreserved: false,
            journal: Journal::new(),
            checkpoint: Checkpoints::default(),
            reading: Reading::default(),
            found: BTreeMap::new(),
            foreign: Vec::new(),
            superseded: Vec::new(),
            logs: 0,
        }
    }

    /// What counts as an operation of a log and is none of the kernel's.
    pub(crate) fn carried(&self) -> usize {
        self.journal.in_flight.as_ref().map_or(0, |frame| frame.carried.len() + frame.starts.len())
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.offline || self.stage == Stage::Ready
    }
}

impl Log {
    /// Another shard's write or sync failed in a log directory. Its disk reports a failure once, to whoever asks first:
    /// a sync of this shard's that succeeds afterwards says nothing.
    pub fn take_offline(&mut self, dir: &Path, out: &mut Effects) {
        if let Some(root) = self.roots.iter().position(|root| root.path == dir) {
            self.root_offline(root, Offline::Failed, out);
        }
    }

    /// The log directories that are offline.
    pub fn offline_directories(&self) -> impl Iterator<Item = &Path> {
        self.roots.iter().filter(|root| root.offline).map(|root| root.path.as_path())
    }

    /// Whether earlier runs left logs that were not opened yet.
    pub fn has_unopened(&self) -> bool {
        self.roots.iter().any(|root| !root.found.is_empty())
    }

    /// This life of the broker.
    pub(crate) fn run(&self) -> Run {
        *self.config.runs.last().expect("there is a run")
    }

    pub(crate) fn submit_root(&mut self, root: usize, work: RootWork, op: Op, out: &mut Effects) {
        self.jobs.push(Job { log: LogRef::NOBODY, work: Work::Root(root, work) }, op, out);
    }

    pub(crate) fn root_done(&mut self, root: usize, work: RootWork, done: Result<Done, Fault>, out: &mut Effects) {
        match work {
            RootWork::Close => {}
            RootWork::Remove => self.root_file_removed(root, done),
            RootWork::Discard(step) => self.discard_step(root, step, done, out),
            RootWork::Read(step) => self.read_step(root, step, done, out),
            RootWork::File(number, step) => self.file_step(root, number, step, done, out),
            RootWork::Frame => match done {
                Ok(_) => self.framed(root, out),
                Err(fault) => {
                    self.unframed(root);
                    self.root_fault(root, fault, out);
                }
            },
            RootWork::Space => self.space_asked(root, done),
            RootWork::Checkpoint(step) => self.checkpoint_step(root, step, done, out),
        }
    }

    /// A frame failed: what it carried is durable never.
    fn unframed(&mut self, root: usize) {
        let frame = self.roots[root].journal.in_flight.take().expect("a frame was in flight");
        for log in frame.carried.iter().map(|carried| carried.log).chain(frame.starts.iter().map(|(log, _)| *log)) {
            self.known(log).ops -= 1;
        }
    }

    /// Starts what waited for every directory to be read.
    pub(crate) fn roots_ready(&mut self, out: &mut Effects) {
        if self.roots.iter().all(Root::is_settled) {
            self.start_recoveries(out);
        }
    }

    /// A write or sync failed: nobody knows what the disk holds.
    pub(crate) fn root_fault(&mut self, root: usize, fault: Fault, out: &mut Effects) {
        if self.roots[root].offline {
            return;
        }
        let dir = self.roots[root].path.clone();
        tracing::error!(dir = %dir.display(), %fault, "log directory offline");
        self.root_offline(root, Offline::Failed, out);
    }

    /// Acknowledged data is damaged: nothing is cut, nothing is served, until somebody has looked.
    pub(crate) fn root_damaged(&mut self, root: usize, damage: &Damage, out: &mut Effects) {
        let dir = self.roots[root].path.clone();
        let Damage { file, position, what } = damage;
        let file = dir.join(DIRECTORY).join(file);
        let (dir, file) = (dir.display(), file.display());
        tracing::error!(%dir, %file, position, ?what, "log directory offline: its journal is damaged");
        self.root_offline(root, Offline::Damaged, out);
    }

    pub(crate) fn root_offline(&mut self, root: usize, why: Offline, out: &mut Effects) {
        if self.roots[root].offline {
            return;
        }
        self.roots[root].offline = true;
        let offline = self.roots.iter().filter(|root| root.offline).count();
        self.metrics.log_directories_offline.set(offline as u64);
        let dir = self.roots[root].path.clone();
        self.events.push(Event::DirectoryOffline { dir, why });
        if self.closing.is_some() {
            // What they wait for will not come.
            self.all_logs().into_iter().for_each(|log| self.mark_dirty(log));
        }
        self.roots_ready(out);
    }

    pub(crate) fn all_logs(&self) -> Vec<LogRef> {
        self.partitions.iter().map(|(slot, generation, _)| LogRef { slot, generation }).collect()
    }

    /// The filesystem cannot set space aside: from now on files below this directory only grow in length.
    pub(crate) fn cannot_reserve(&mut self, root: usize, fault: Fault) {
        if !self.roots[root].unreserved {
            self.roots[root].unreserved = true;
            let dir = self.roots[root].path.display();
            tracing::warn!(%dir, %fault, "space cannot be reserved: a disk that fills up takes the log directory offline");
        }
    }

    pub(crate) fn retry_root(&mut self, root: usize) {
        self.retry_roots.insert(root);
        self.retry_at.get_or_insert(self.now.plus_ms(crate::engine::RETRY_MS));
    }

    /// Takes up what had to wait.
    pub(crate) fn root_retried(&mut self, root: usize, out: &mut Effects) {
        if self.roots[root].offline {
            return;
        }
        match self.roots[root].stage {
            Stage::Unread => {}
            Stage::Reading => self.read_next(root, out),
            Stage::Making => self.want_file(root, out),
            // The end of the turn sees to frames and checkpoints.
            Stage::Ready => {}
        }
    }

    /// A file that nothing needs stays until the next start if it cannot be removed.
    fn root_file_removed(&self, root: usize, done: Result<Done, Fault>) {
        if let Err(fault) = done {
            let dir = self.roots[root].path.display();
            tracing::warn!(%dir, %fault, "an old file of the journal is not removed");
        }
    }

    /// What was found in other lanes is in this one's checkpoints.
    pub(crate) fn adopted(&mut self) {
        let is_done = |root: &Root| root.offline || root.foreign.is_empty() || root.checkpoint.count >= 2;
        if self.roots.iter().all(is_done) {
            self.events.push(Event::Adopted);
        }
    }

    /// Memory ran out: what can be written to segments is, so that its chunks may go.
    pub(crate) fn press_memory(&mut self, root: usize) {
        self.roots[root].checkpoint.pressed = true;
        self.retry_root(root);
    }
}
