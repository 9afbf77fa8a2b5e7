//! The files of lanes that there are no more, once every shard of this run has taken over what they said.
//! They are many, and a crash may come in between: a marker says first, durably, that nothing of them counts.

use effect::{Done, Effects, Fault, Op, OpenMode};

use crate::Log;
use crate::job::RootWork;
use crate::journal::name::{DIRECTORY, Superseded};

/// The steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DiscardStep {
    Mark,
    Close,
    SyncMark,
    /// So many are still to be removed.
    Remove,
    SyncRemoved,
    Unmark,
}

impl Log {
    /// Removes the files of lanes that there are no more: every shard has said [`crate::Event::Adopted`].
    pub fn discard_foreign(&mut self, out: &mut Effects) {
        for root in 0..self.roots.len() {
            if !self.roots[root].offline && !self.roots[root].foreign.is_empty() {
                let op = Op::Open { path: self.marker_path(root), mode: OpenMode::Write };
                self.submit_root(root, RootWork::Discard(DiscardStep::Mark), op, out);
            }
        }
    }

    /// A step is over. One that failed is left to the next start, which finds the marker or everything.
    pub(crate) fn discard_step(
        &mut self,
        root: usize,
        step: DiscardStep,
        done: Result<Done, Fault>,
        out: &mut Effects,
    ) {
        let directory = self.roots[root].path.join(DIRECTORY);
        let (next, op) = match (step, done) {
            (_, Err(fault)) => {
                let dir = directory.display();
                return tracing::warn!(%dir, %fault, "journals of an earlier number of shards not removed");
            }
            (DiscardStep::Mark, Ok(Done::Opened(file))) => (DiscardStep::Close, Op::CloseFile { file }),
            (DiscardStep::Close, _) => (DiscardStep::SyncMark, Op::SyncDir { path: directory }),
            (DiscardStep::SyncMark | DiscardStep::Remove, _) => match self.roots[root].foreign.pop() {
                Some(name) => (DiscardStep::Remove, Op::Remove { path: directory.join(name.to_string()) }),
                None => (DiscardStep::SyncRemoved, Op::SyncDir { path: directory }),
            },
            (DiscardStep::SyncRemoved, _) => (DiscardStep::Unmark, Op::Remove { path: self.marker_path(root) }),
            (DiscardStep::Unmark, _) => return,
            (DiscardStep::Mark, Ok(other)) => panic!("an opening was answered by {other:?}"),
        };
        self.submit_root(root, RootWork::Discard(next), op, out);
    }

    fn marker_path(&self, root: usize) -> std::path::PathBuf {
        let marker = Superseded { lanes: self.config.lanes, run: self.run().number };
        self.roots[root].path.join(DIRECTORY).join(marker.to_string())
    }
}
