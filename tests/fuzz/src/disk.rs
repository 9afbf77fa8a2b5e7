//! Targets over what is read from a disk beside record batches: metadata records, the log's small files, settings.

use broker::config::{BrokerConfig, Sources};
use controller::{Image, MetadataRecord, replay_set};

/// Any bytes as a metadata record; one that is understood means the same when it is written again.
pub(crate) fn metadata_record(input: &[u8]) {
    if let Ok(record) = MetadataRecord::decode(input) {
        assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
    }
    // And as a set of two, which must not be applied half.
    let (one, other) = input.split_at(input.len() / 2);
    let _ = replay_set(Image::empty(), [one, other]);
}

/// Any bytes as a file of frames, as a journal's file or a checkpoint.
pub(crate) fn frames(input: &[u8]) {
    log::disk_bytes::takes_frames(input);
}

/// Any bytes as what is behind their checksums: entries, records, and what these say of producers.
pub(crate) fn frame_bodies(input: &[u8]) {
    log::disk_bytes::takes_entries(input);
    log::disk_bytes::takes_records(input);
    log::disk_bytes::takes_knowledge(input);
}

/// Any bytes as `partition.metadata`.
pub(crate) fn partition_metadata(input: &[u8]) {
    log::disk_bytes::takes_partition_metadata(input);
}

/// Any text as a properties file.
pub(crate) fn properties(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let _ = BrokerConfig::load(&Sources { properties: Some(text), environment: &[], set: &[] });
}
