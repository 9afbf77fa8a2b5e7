//! What an interrupted compaction left in a directory, and how a start puts it in order: an unfinished `.cleaned` goes;
//! a `.swap` counts, so the segments that it replaces go and it gets its name. Each step may be taken again.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use effect::{Effects, Op};
use model::Offset;

use crate::job::{RecoverStep, Work};
use crate::partition::State;
use crate::recovery::{Stage, base_of};
use crate::{Log, LogRef};

#[derive(Debug, Default)]
pub(crate) struct Leftovers {
    cleaned: Vec<String>,
    /// Base, end and name.
    swaps: Vec<(Offset, Offset, String)>,
    steps: Option<VecDeque<Step>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Step {
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
    Sync,
}

impl Leftovers {
    /// Takes in a name of the directory; whether it is such a file's.
    pub(crate) fn found(&mut self, name: &str) -> bool {
        if base_of(name, ".log.cleaned").is_some() {
            self.cleaned.push(name.to_owned());
            return true;
        }
        let range = name.split_once('-').and_then(|(base, end)| Some((base_of(base, "")?, base_of(end, ".log.swap")?)));
        match range {
            Some((base, end)) if base < end => {
                self.swaps.push((base, end, name.to_owned()));
                true
            }
            _ => false,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.cleaned.is_empty() && self.swaps.is_empty()
    }

    fn plan(&self, dir: &Path, segments: &[Offset]) -> VecDeque<Step> {
        let mut steps: VecDeque<_> = self.cleaned.iter().map(|name| Step::Remove(dir.join(name))).collect();
        for (base, end, name) in &self.swaps {
            let replaced = segments.iter().filter(|segment| base < *segment && *segment < end);
            for segment in replaced {
                steps.push_back(Step::Remove(dir.join(format!("{:020}.log", segment.get()))));
            }
            steps.push_back(Step::Sync);
            steps.push_back(Step::Rename(dir.join(name), dir.join(format!("{:020}.log", base.get()))));
        }
        steps.push_back(Step::Sync);
        steps
    }
}

impl Log {
    /// Takes the next step; after the last the directory is listed again.
    pub(crate) fn tidy(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let dir = partition.dir.clone();
        let State::Recovering(recovery) = &mut partition.state else { panic!("only a start puts in order") };
        if recovery.leftovers.steps.is_none() {
            let segments: Vec<Offset> = recovery.found.iter().map(|(base, _)| *base).collect();
            let steps = recovery.leftovers.plan(&dir, &segments);
            tracing::info!(dir = %dir.display(), "an interrupted compaction is put in order");
            recovery.leftovers.steps = Some(steps);
        }
        let op = match recovery.leftovers.steps.as_mut().and_then(VecDeque::pop_front) {
            Some(Step::Remove(path)) => Op::Remove { path },
            Some(Step::Rename(from, to)) => Op::Rename { from, to },
            Some(Step::Sync) => Op::SyncDir { path: dir },
            None => {
                recovery.stage = Stage::List;
                return self.recover(log, out);
            }
        };
        self.submit(log, Work::Recover(RecoverStep::Leftover), op, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_replaces_what_lies_behind_its_base() {
        let mut leftovers = Leftovers::default();
        assert!(!leftovers.found("00000000000000000005.log"));
        assert!(!leftovers.found("00000000000000000005-00000000000000000005.log.swap"));
        assert!(leftovers.is_empty());
        assert!(leftovers.found("00000000000000000009.log.cleaned"));
        assert!(leftovers.found("00000000000000000005-00000000000000000009.log.swap"));
        let steps = leftovers.plan(Path::new("/d"), &[0, 5, 7, 9].map(Offset::new));
        let file = |name: &str| PathBuf::from(format!("/d/{name}"));
        let expected = [
            Step::Remove(file("00000000000000000009.log.cleaned")),
            Step::Remove(file("00000000000000000007.log")),
            Step::Sync,
            Step::Rename(file("00000000000000000005-00000000000000000009.log.swap"), file("00000000000000000005.log")),
            Step::Sync,
        ];
        assert_eq!(steps, expected);
    }
}
