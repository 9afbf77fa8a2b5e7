//! Disks that fill up: each log directory is a disk of its own, files take room of it, removing them gives it back.

use std::path::{Path, PathBuf};

use effect::File;

use super::Disk;

/// A disk.
#[derive(Debug)]
pub(crate) struct Volume {
    pub(crate) path: PathBuf,
    /// Its size; `None` is far more than anybody needs.
    pub(crate) budget_bytes: Option<u64>,
}

impl Disk {
    /// Gives a disk another size.
    pub(crate) fn set_budget(&mut self, volume: usize, budget_bytes: Option<u64>) {
        if let Some(volume) = self.volumes.get_mut(volume) {
            volume.budget_bytes = budget_bytes;
        }
    }

    pub(crate) fn volume_of(&self, path: &Path) -> usize {
        self.volumes.iter().position(|volume| path.starts_with(&volume.path)).unwrap_or_default()
    }

    /// Whether a range of a file has room or can get it.
    pub(crate) fn fits(&self, file: File, offset: u64, len: u64) -> bool {
        let handle = self.handle(file);
        let (free_bytes, _) = self.space(handle.volume);
        self.image(handle.node).wanting_bytes(offset, len) <= free_bytes
    }

    /// How much a disk has free, and its size.
    pub(crate) fn space(&self, volume: usize) -> (u64, u64) {
        let limited = self.volumes.get(volume).and_then(|volume| Some((&volume.path, volume.budget_bytes?)));
        let Some((path, budget_bytes)) = limited else { return (SPACE_BYTES / 2, SPACE_BYTES) };
        let mut nodes = self.names.find(path).map(|node| self.names.below(node)).unwrap_or_default();
        // A file that was removed while it is open takes its room until it is closed.
        nodes.extend(self.handles.iter().flatten().filter(|handle| handle.volume == volume).map(|handle| handle.node));
        let used_bytes: u64 =
            nodes.iter().filter_map(|node| self.files.get(node)).map(|image| image.room_bytes()).sum();
        (budget_bytes.saturating_sub(used_bytes), budget_bytes)
    }
}

/// The size of a disk without a budget, as far as anybody asks.
const SPACE_BYTES: u64 = 1 << 40;
