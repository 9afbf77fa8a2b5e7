//! The parsers of small files, for fuzzing alone: each says whether it takes these bytes. They must never panic.

use std::sync::Arc;

use crate::checkpoint::record::records;
use crate::journal::entry::entries;
use crate::journal::frame::{Run, frames};
use crate::knowledge::Knowledge;
use crate::metadata_file::parse_metadata;

/// A file of frames, checksums included.
pub fn takes_frames(file: &[u8]) -> bool {
    frames(file, &[Run { number: 1, salt: 1 }]).is_ok_and(|found| !found.is_empty())
}

/// What is behind a journal frame's checksum.
pub fn takes_entries(body: &[u8]) -> bool {
    entries(&Arc::new(body.to_vec()), 0..body.len()).is_some()
}

/// What is behind a checkpoint frame's checksum.
pub fn takes_records(body: &[u8]) -> bool {
    records(&Arc::new(body.to_vec()), 0..body.len()).is_some()
}

/// What a checkpoint says of producers and epochs.
pub fn takes_knowledge(payload: &[u8]) -> bool {
    Knowledge::decode(payload).is_some()
}

/// `partition.metadata`.
pub fn takes_partition_metadata(file: &[u8]) -> bool {
    parse_metadata(file).is_some()
}
