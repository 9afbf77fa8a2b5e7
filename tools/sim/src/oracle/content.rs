//! What records hold: a number that says which one it is, and filler that follows from the number.

use record::Record;

use super::{Oracle, RecordId, TopicIndex};

/// A record on its way to a partition.
#[derive(Clone, Copy, Debug)]
pub(crate) struct New {
    pub(crate) topic: TopicIndex,
    pub(crate) partition: u32,
    pub(crate) producer: usize,
    pub(crate) idempotent: bool,
    pub(crate) value_bytes: usize,
    pub(crate) timestamp: i64,
    /// In a compacted topic.
    pub(crate) key: Option<u8>,
    /// It has no value.
    pub(crate) is_tombstone: bool,
}

/// A record's bytes.
#[derive(Debug)]
pub(crate) struct Content {
    pub(crate) key: Option<[u8; 1]>,
    pub(crate) value: Option<Vec<u8>>,
    /// Its number: a header's value where there is no other.
    pub(crate) id: [u8; 8],
}

impl Oracle {
    /// What a record holds.
    pub(crate) fn content(&self, record: RecordId) -> Content {
        let New { key, is_tombstone, value_bytes, .. } = self.records[record as usize].new;
        let id = record.to_le_bytes();
        let value = || {
            let mut value = id.to_vec();
            value.resize(value_bytes, record as u8);
            value
        };
        Content { key: key.map(|key| [key]), value: (!is_tombstone).then(value), id }
    }

    /// Which record this is; panics if it is none, or not as it was sent.
    pub(super) fn recognize(&self, topic: TopicIndex, partition: u32, record: &Record<'_>) -> RecordId {
        let place = format_args!("{topic}-{partition} @{}", record.offset.get());
        let named = record.headers.iter().find(|header| header.key == ID_HEADER).and_then(|header| header.value);
        let id = record.value.or(named).and_then(|bytes| bytes.first_chunk()).copied().map(u64::from_le_bytes);
        let id = id.unwrap_or_else(|| panic!("oracle: a record without a number at {place}"));
        assert!((id as usize) < self.records.len(), "oracle: a record nobody sent at {place}");
        let content = self.content(id);
        let same = record.value == content.value.as_deref() && record.key == content.key.as_ref().map(|key| &key[..]);
        assert!(same, "oracle: altered bytes at {place}");
        let sent = self.records[id as usize].new.timestamp;
        let told = record.timestamp.0;
        let own_time = !self.topics[topic].rules.log_append_time;
        assert!(told == sent || !own_time, "oracle: {told} at {place}, sent at {sent}");
        id
    }
}

/// The header that names a record without a value.
pub(crate) const ID_HEADER: &[u8] = b"id";
