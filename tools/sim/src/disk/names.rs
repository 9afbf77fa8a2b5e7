//! Directories: which names are seen, which would survive a power cut, and the changes between the two.
//! Files are named by number here; their bytes are elsewhere.
//!
//! Invariants: a name is durable only after its directory was synced; a rename is one change, even across directories.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

use crate::rng::Rng;

/// A file or directory, whatever its names.
pub(crate) type NodeId = u32;

/// The root directory.
pub(crate) const ROOT: NodeId = 0;

/// All directories.
#[derive(Debug)]
pub(crate) struct Names {
    /// `None` is a file.
    nodes: Vec<Option<Directory>>,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug, Default)]
struct Directory {
    seen: BTreeMap<String, NodeId>,
    durable: BTreeMap<String, NodeId>,
}

#[derive(Debug)]
struct Pending {
    stamp: u64,
    edits: Vec<Edit>,
}

#[derive(Clone, Debug)]
struct Edit {
    directory: NodeId,
    name: String,
    target: Option<NodeId>,
}

impl Names {
    pub(crate) fn new() -> Names {
        Names { nodes: vec![Some(Directory::default())], pending: Vec::new() }
    }

    /// What stands at a path.
    pub(crate) fn find(&self, path: &Path) -> Option<NodeId> {
        parts(path).try_fold(ROOT, |at, name| self.directory(at)?.seen.get(name).copied())
    }

    pub(crate) fn is_directory(&self, node: NodeId) -> bool {
        self.directory(node).is_some()
    }

    /// A directory's names, in order; `None` if it is none.
    pub(crate) fn list(&self, node: NodeId) -> Option<impl Iterator<Item = (&str, NodeId)>> {
        Some(self.directory(node)?.seen.iter().map(|(name, target)| (name.as_str(), *target)))
    }

    /// A new file under a path whose directory exists.
    pub(crate) fn create_file(&mut self, stamp: u64, path: &Path) -> Option<NodeId> {
        let (directory, name) = self.place(path)?;
        let node = self.add(None);
        self.change(stamp, vec![Edit { directory, name, target: Some(node) }]);
        Some(node)
    }

    /// A directory and its parents; `None` if a file is in the way.
    pub(crate) fn create_directory(&mut self, stamp: u64, path: &Path) -> Option<()> {
        let mut at = ROOT;
        for name in parts(path) {
            let known = self.directory(at)?.seen.get(name).copied();
            at = known.unwrap_or_else(|| {
                let node = self.add(Some(Directory::default()));
                self.change(stamp, vec![Edit { directory: at, name: name.to_owned(), target: Some(node) }]);
                node
            });
        }
        self.directory(at).map(|_| ())
    }

    /// Moves what stands at `from`.
    pub(crate) fn rename(&mut self, stamp: u64, from: &Path, to: &Path) -> Option<()> {
        let node = self.find(from)?;
        let (from_directory, from_name) = self.place(from)?;
        let (to_directory, to_name) = self.place(to)?;
        self.change(
            stamp,
            vec![
                Edit { directory: from_directory, name: from_name, target: None },
                Edit { directory: to_directory, name: to_name, target: Some(node) },
            ],
        );
        Some(())
    }

    /// Removes what stands at a path with all below it, each name a change of its own.
    pub(crate) fn remove(&mut self, stamp: u64, path: &Path) {
        let (Some(node), Some((directory, name))) = (self.find(path), self.place(path)) else { return };
        let below: Vec<String> = match self.list(node) {
            Some(names) => names.map(|(name, _)| name.to_owned()).collect(),
            None => Vec::new(),
        };
        for name in below {
            self.remove(stamp, &path.join(name));
        }
        self.change(stamp, vec![Edit { directory, name, target: None }]);
    }

    /// Makes durable what was changed in a directory before the sync was asked for.
    pub(crate) fn sync(&mut self, node: NodeId, submitted: u64) {
        // A rename drags its other directory's earlier changes with it: filesystems keep their order.
        let mut directories = vec![node];
        let mut covered = vec![false; self.pending.len()];
        for (pending, covered) in self.pending.iter().zip(&mut covered).rev() {
            let touches = pending.edits.iter().any(|edit| directories.contains(&edit.directory));
            if touches && pending.stamp <= submitted {
                *covered = true;
                directories.extend(pending.edits.iter().map(|edit| edit.directory));
            }
        }
        let mut covered = covered.into_iter();
        let (settled, pending): (Vec<Pending>, Vec<Pending>) =
            std::mem::take(&mut self.pending).into_iter().partition(|_| covered.next() == Some(true));
        self.pending = pending;
        self.settle(settled);
    }

    /// Makes durable every change in these directories from before the sync was asked for.
    pub(crate) fn sync_all(&mut self, nodes: &BTreeSet<NodeId>, submitted: u64) {
        let covered = |pending: &Pending| {
            pending.stamp <= submitted && pending.edits.iter().any(|edit| nodes.contains(&edit.directory))
        };
        let (settled, pending) = std::mem::take(&mut self.pending).into_iter().partition(covered);
        self.pending = pending;
        self.settle(settled);
    }

    /// A node and all that is seen below it.
    pub(crate) fn below(&self, node: NodeId) -> BTreeSet<NodeId> {
        let mut found = BTreeSet::from([node]);
        let mut left = vec![node];
        while let Some(directory) = left.pop().and_then(|node| self.directory(node)) {
            // A name of a file that was removed at the same place may still be around: each node once.
            left.extend(directory.seen.values().copied().filter(|node| found.insert(*node)).collect::<Vec<_>>());
            left.retain(|node| self.is_directory(*node));
        }
        found
    }

    /// All files that are seen, by path.
    pub(crate) fn files(&self) -> Vec<(PathBuf, NodeId)> {
        let mut found = Vec::new();
        let mut left = vec![(PathBuf::from("/"), ROOT)];
        while let Some((path, node)) = left.pop() {
            match self.directory(node) {
                Some(directory) => {
                    left.extend(directory.seen.iter().rev().map(|(name, node)| (path.join(name), *node)));
                }
                None => found.push((path, node)),
            }
        }
        found
    }

    /// The power fails: a prefix or any subset of the pending changes survives. Answers the nodes still in reach.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) -> Vec<NodeId> {
        let mut pending = std::mem::take(&mut self.pending);
        if rng.coin() {
            pending.truncate(rng.range(0, pending.len() as u64) as usize);
        } else {
            pending.retain(|_| rng.coin());
        }
        self.settle(pending);
        for directory in self.nodes.iter_mut().flatten() {
            directory.seen = directory.durable.clone();
        }
        let mut reach = vec![ROOT];
        let mut next = 0;
        while let Some(node) = reach.get(next) {
            if let Some(directory) = self.directory(*node) {
                reach.extend(directory.seen.values().copied().collect::<Vec<_>>());
            }
            next += 1;
        }
        reach
    }

    fn directory(&self, node: NodeId) -> Option<&Directory> {
        self.nodes.get(node as usize)?.as_ref()
    }

    fn add(&mut self, directory: Option<Directory>) -> NodeId {
        self.nodes.push(directory);
        self.nodes.len() as NodeId - 1
    }

    /// The directory that a path lies in, and its name there.
    fn place(&self, path: &Path) -> Option<(NodeId, String)> {
        let directory = self.find(path.parent()?)?;
        self.directory(directory)?;
        Some((directory, path.file_name()?.to_str()?.to_owned()))
    }

    fn change(&mut self, stamp: u64, edits: Vec<Edit>) {
        for edit in &edits {
            let directory = self.nodes[edit.directory as usize].as_mut().expect("only directories hold names");
            set(&mut directory.seen, edit);
        }
        self.pending.push(Pending { stamp, edits });
    }

    fn settle(&mut self, settled: Vec<Pending>) {
        for edit in settled.into_iter().flat_map(|pending| pending.edits) {
            let directory = self.nodes[edit.directory as usize].as_mut().expect("only directories hold names");
            set(&mut directory.durable, &edit);
        }
    }
}

fn set(names: &mut BTreeMap<String, NodeId>, edit: &Edit) {
    match edit.target {
        Some(node) => names.insert(edit.name.clone(), node),
        None => names.remove(&edit.name),
    };
}

fn parts(path: &Path) -> impl Iterator<Item = &str> {
    path.components().filter_map(|part| match part {
        Component::Normal(name) => Some(name.to_str().expect("the broker's names are UTF-8")),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> &Path {
        Path::new(text)
    }

    #[test]
    fn a_file_whose_directory_was_not_synced_may_vanish_and_one_that_was_stays() {
        let mut vanished = 0;
        for seed in 0..50 {
            let mut names = Names::new();
            names.create_directory(1, path("/data/t-0")).expect("nothing in the way");
            let data = names.find(path("/data")).expect("made");
            let partition = names.find(path("/data/t-0")).expect("made");
            names.sync(ROOT, 1);
            names.sync(data, 1);
            names.create_file(2, path("/data/t-0/a")).expect("directory is there");
            names.sync(partition, 2);
            names.create_file(3, path("/data/t-0/b")).expect("directory is there");
            names.power_cut(&mut Rng::new(seed));
            assert!(names.find(path("/data/t-0/a")).is_some());
            vanished += u32::from(names.find(path("/data/t-0/b")).is_none());
        }
        assert!(vanished > 0);
        assert!(vanished < 50);
    }

    #[test]
    fn a_rename_across_directories_survives_whole_or_not_at_all() {
        for seed in 0..50 {
            let mut names = Names::new();
            names.create_directory(1, path("/a")).expect("nothing in the way");
            names.create_directory(1, path("/b")).expect("nothing in the way");
            names.create_file(1, path("/a/x")).expect("directory is there");
            names.sync(ROOT, 1);
            names.sync(names.find(path("/a")).expect("made"), 1);
            names.rename(2, path("/a/x"), path("/b/y")).expect("both directories are there");
            if seed % 2 == 0 {
                names.sync(names.find(path("/b")).expect("made"), 2);
            }
            names.power_cut(&mut Rng::new(seed));
            assert!(names.find(path("/a/x")).is_some() != names.find(path("/b/y")).is_some());
            assert!(seed % 2 == 1 || names.find(path("/b/y")).is_some());
        }
    }

    #[test]
    fn a_removed_tree_is_gone_from_sight() {
        let mut names = Names::new();
        names.create_directory(1, path("/data/t-0")).expect("nothing in the way");
        names.create_file(1, path("/data/t-0/a")).expect("directory is there");
        names.remove(2, path("/data/t-0"));
        assert!(names.find(path("/data/t-0/a")).is_none());
        assert!(names.find(path("/data/t-0")).is_none());
        assert!(names.find(path("/data")).is_some());
    }
}
