//! What retention and compaction may take away.

use super::{Oracle, Partition, RecordId, TopicIndex};

/// What holds for a topic's records.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Rules {
    /// Records get the time of their append.
    pub(crate) log_append_time: bool,
    /// `cleanup.policy=compact`: of a key only the last record stays.
    pub(crate) compacts: bool,
    /// `retention.ms`: what is older may go.
    pub(crate) retention_ms: Option<i64>,
    /// `retention.bytes`: what lies before the last so many bytes may go.
    pub(crate) retention_bytes: Option<u64>,
}

impl Rules {
    /// Whether records go by themselves, the oldest first.
    pub(crate) fn expires(&self) -> bool {
        self.retention_ms.is_some() || self.retention_bytes.is_some()
    }
}

impl Oracle {
    /// The wall clock shows this.
    pub(crate) fn clock(&mut self, wall_ms: i64) {
        self.wall_max_ms = self.wall_max_ms.max(wall_ms);
    }

    /// Holds it against the rules that everything before `start` is gone.
    pub(super) fn expired(&self, topic: TopicIndex, partition: u32, start: u64) {
        let rules = self.topics[topic].rules;
        let known = &self.topics[topic].partitions[partition as usize];
        if let (Some(retention_ms), None, false) = (rules.retention_ms, rules.retention_bytes, self.wall_jumps) {
            for offset in known.deletable..start {
                let told = known.told.get(offset as usize).copied().flatten();
                let old = told.and_then(|told| told.timestamp).is_none_or(|at| self.wall_max_ms - at > retention_ms);
                assert!(old, "oracle: {topic}-{partition} starts at {start}, @{offset} had not expired");
            }
        }
    }

    /// Holds it against the rules, at the end, that so much is left.
    pub(super) fn left_over(&self, topic: TopicIndex, partition: u32) {
        let Some(retention_bytes) = self.topics[topic].rules.retention_bytes else { return };
        let known = &self.topics[topic].partitions[partition as usize];
        if self.topics[topic].rules.retention_ms.is_some() || known.start <= known.deletable {
            return;
        }
        let left = known.told.iter().skip(known.start as usize).flatten();
        let bytes: u64 = left.map(|told| self.records[told.id as usize].new.value_bytes as u64 + OVERHEAD_BYTES).sum();
        assert!(
            bytes >= retention_bytes,
            "oracle: {topic}-{partition} starts at {}, {bytes} bytes are left of {retention_bytes}",
            known.start
        );
    }

    /// The last read of a partition begins.
    pub(crate) fn begin_pass(&mut self, topic: TopicIndex, partition: u32) {
        self.topics[topic].partitions[partition as usize].pass.clear();
    }

    /// Holds a compacted partition's last read against what was told: of each key the last record is there, and where
    /// it was a tombstone that is gone, nothing is there that it had deleted.
    pub(super) fn compacted(&self, topic: TopicIndex, partition: u32) {
        let known = &self.topics[topic].partitions[partition as usize];
        for key in 0..KEYS {
            let of_key = |id: RecordId| self.records[id as usize].new.key == Some(key);
            let all = known.told.iter().enumerate().skip(known.start as usize);
            let mut all = all.filter_map(|(at, told)| Some((at as u64, (*told)?.id)));
            let Some((offset, id)) = all.rfind(|(_, id)| of_key(*id)) else { continue };
            if known.pass.contains(&offset) || known.rots_at(offset) {
                continue;
            }
            let unheard = self.records.iter().any(|sent| {
                let new = sent.new;
                (new.topic, new.partition, new.key) == (topic, partition, Some(key))
                    && new.is_tombstone
                    && sent.offset.is_none()
            });
            let tombstone = self.records[id as usize].new.is_tombstone;
            assert!(tombstone || unheard, "oracle: {topic}-{partition} lost key {key}, last told @{offset}");
            let back = known.pass.iter().rev().find(|at| known.id_at(**at).is_some_and(of_key));
            assert!(back.is_none(), "oracle: {topic}-{partition} @{back:?}: key {key} came back, deleted @{offset}");
        }
    }
}

impl Partition {
    fn id_at(&self, offset: u64) -> Option<RecordId> {
        self.told.get(offset as usize).copied().flatten().map(|told| told.id)
    }
}

/// Keys in a partition of a compacted topic.
pub(crate) const KEYS: u8 = 12;

/// What a record takes at most beside its value, and its share of its batch's header.
const OVERHEAD_BYTES: u64 = 120;
