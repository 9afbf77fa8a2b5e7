//! The parsers of small files, for fuzzing alone: each says whether it takes these bytes. They must never panic.

use crate::small::parse_metadata;
use crate::snapshot::Knowledge;

/// A producer snapshot, checksum included.
pub fn takes_snapshot(file: &[u8]) -> bool {
    Knowledge::decode(file).is_ok()
}

/// What is behind a snapshot's checksum.
pub fn takes_snapshot_payload(payload: &[u8]) -> bool {
    Knowledge::decode_payload(payload).is_some()
}

/// `partition.metadata`.
pub fn takes_partition_metadata(file: &[u8]) -> bool {
    parse_metadata(file).is_some()
}
