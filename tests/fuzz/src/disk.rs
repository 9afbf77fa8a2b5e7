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

/// Any bytes as a producer snapshot, and as what is behind its checksum.
pub(crate) fn snapshot(input: &[u8]) {
    log::disk_bytes::takes_snapshot(input);
    log::disk_bytes::takes_snapshot_payload(input);
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
