//! Rot: a bit that flips in bytes that were durable.
//!
//! Of a segment only what a checksum covers is flipped, in a whole batch of a closed segment: no reader could tell of
//! a batch's first offset or leader epoch that it is another now. Of other files any bit.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use record::{HEADER_BYTES, Header};

use super::Disk;
use super::class::FileClass;
use super::names::NodeId;
use crate::rng::Rng;

/// What rotted.
#[derive(Debug)]
pub(crate) struct Rotten {
    pub(crate) path: PathBuf,
    /// The byte.
    pub(crate) position: u64,
    /// Of a segment: which offsets.
    pub(crate) offsets: Option<RottenOffsets>,
}

/// Where in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RottenOffsets {
    /// The partition's directory name.
    pub(crate) directory: String,
    /// The batch with the flipped bit.
    pub(crate) batch: Range<u64>,
    /// The segment that it lies in.
    pub(crate) segment: Range<u64>,
}

/// A whole batch in a file.
struct Place {
    position: u64,
    size: u64,
    offsets: Range<u64>,
}

impl Disk {
    /// Flips a bit in a file of the class that lies in a directory which `may_rot`, if there is one.
    pub(crate) fn rot(&mut self, class: FileClass, may_rot: impl Fn(&str) -> bool, rng: &mut Rng) -> Option<Rotten> {
        let mut files = Vec::new();
        for (path, node) in self.names.files() {
            let directory = path.parent().and_then(Path::file_name).and_then(OsStr::to_str).unwrap_or_default();
            let settled = self.files.get(&node).is_some_and(|image| image.is_settled() && image.len() > 0);
            let written = self.busy.values().filter_map(|busy| busy.writes.as_ref()).any(|writes| writes.node == node);
            if FileClass::of(&path) == class && settled && !written && may_rot(directory) {
                files.push((path, node));
            }
        }
        let bases: Vec<_> = files.iter().filter_map(|(path, _)| base(path)).collect();
        if class == FileClass::Segment {
            // Nothing is written any more to a segment that is followed by another, and nothing of it is a tail.
            files.retain(|(path, _)| next_base(path, &bases).is_some());
        }
        if files.is_empty() {
            return None;
        }
        let (path, node) = files.swap_remove(rng.index(files.len()));
        let (position, offsets) = match class {
            FileClass::Segment => {
                let mut batches = self.batches(node);
                if batches.is_empty() {
                    return None;
                }
                let segment = base(&path)?.1..next_base(&path, &bases)?;
                let mut batch = batches.swap_remove(rng.index(batches.len()));
                // An earlier flip may have made its header say more.
                batch.offsets.end = batch.offsets.end.min(segment.end);
                let directory = path.parent()?.file_name()?.to_str()?.to_owned();
                // Headers are what a broker believes without looking further.
                let most = if rng.coin() { batch.size } else { HEADER_BYTES as u64 };
                let at = rng.below(most - UNCOVERED_BYTES);
                // The length is not covered either, but a wrong one shows.
                let at = if at < LENGTH_BYTES { LENGTH_AT + at } else { at + UNCOVERED_BYTES };
                (batch.position + at, Some(RottenOffsets { directory, batch: batch.offsets, segment }))
            }
            _ => (rng.below(self.image(node).len()), None),
        };
        self.files.get_mut(&node).expect("it was listed").flip(position, 1 << rng.below(8));
        Some(Rotten { path, position, offsets })
    }

    /// The whole batches of a segment from its beginning.
    fn batches(&self, node: NodeId) -> Vec<Place> {
        let image = self.image(node);
        let mut bytes = vec![0; image.len() as usize];
        image.read(0, &mut bytes);
        let (mut places, mut position) = (Vec::new(), 0);
        while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
            let Ok(header) = Header::peek(rest) else { break };
            if header.size_bytes > rest.len() {
                break;
            }
            let offsets = header.base_offset.get()..header.next_offset().get();
            places.push(Place { position: position as u64, size: header.size_bytes as u64, offsets });
            position += header.size_bytes;
        }
        places
    }
}

/// A partition's directory, and where a segment of it begins by its name.
fn base(path: &Path) -> Option<(PathBuf, u64)> {
    Some((path.parent()?.to_owned(), path.file_stem()?.to_str()?.parse().ok()?))
}

/// Where the segment behind another begins.
fn next_base(path: &Path, bases: &[(PathBuf, u64)]) -> Option<u64> {
    let (directory, own) = base(path)?;
    let later = bases.iter().filter(|(other, base)| *other == directory && *base > own);
    later.map(|(_, base)| *base).min()
}

/// A batch begins with its first offset (8), its length (4) and its leader epoch (4).
const LENGTH_AT: u64 = 8;
const LENGTH_BYTES: u64 = 4;
/// First offset and leader epoch.
const UNCOVERED_BYTES: u64 = 12;
