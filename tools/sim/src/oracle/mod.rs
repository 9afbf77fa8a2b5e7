//! What must be true, kept by all clients of a run together: every record is known by number, every place in a
//! partition once told stays as it was told.
//!
//! Owns the history as clients saw it. Never looks into the broker. A violation is a panic: the run reports its seed.

mod cleaning;
mod content;
mod removal;
mod times;

use std::collections::BTreeSet;

use model::Uuid;
use record::Record;

pub(crate) use self::cleaning::{KEYS, Rules};
pub(crate) use self::content::{ID_HEADER, New};
pub(crate) use self::removal::Start;
use crate::disk::RottenOffsets;

/// A topic in one of its lives, by number.
pub(crate) type TopicIndex = usize;

/// A record, by number: the first eight bytes of its value, or a header of a tombstone.
pub(crate) type RecordId = u64;

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) topics: Vec<Topic>,
    records: Vec<Sent>,
    producer_ids: BTreeSet<i64>,
    /// How often the broker died.
    lives: u32,
    /// The latest that the wall clock has shown.
    wall_max_ms: i64,
    /// It jumps in this run.
    wall_jumps: bool,
    /// Acknowledged records, all partitions together: for the report.
    pub(crate) acked_count: u64,
    /// Records that some consumer saw.
    pub(crate) seen_count: u64,
}

#[derive(Debug)]
pub(crate) struct Topic {
    pub(crate) name: String,
    pub(crate) id: Uuid,
    /// Never deleted.
    pub(crate) is_stable: bool,
    /// Neither deleted nor about to be.
    pub(crate) is_alive: bool,
    pub(crate) rules: Rules,
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// By offset: what was told to stand there.
    told: Vec<Option<Told>>,
    /// The highest start that was told: nothing before it comes back while the broker lives.
    start: u64,
    /// The highest that was acknowledged to somebody who deletes: nothing before it ever comes back.
    promised: u64,
    /// Records before this may be gone: somebody asked for it.
    deletable: u64,
    /// What no client will see any more.
    rotten: Vec<RottenOffsets>,
    /// What lookups by time said of records that nobody else had told of yet: time asked for, offset, time.
    claims: Vec<(i64, u64, i64)>,
    /// Offsets that were seen since the last read began.
    pass: Vec<u64>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    id: RecordId,
    /// None of a record whose time the broker gave and did not tell yet.
    timestamp: Option<i64>,
}

#[derive(Debug)]
struct Sent {
    new: New,
    offset: Option<u64>,
    /// It was sent in a damaged batch: it must stand nowhere.
    damaged: bool,
}

impl Topic {
    pub(crate) fn new(name: &str, id: Uuid, partitions: usize, is_stable: bool, rules: Rules) -> Topic {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Topic { name: name.to_owned(), id, is_stable, is_alive: true, rules, partitions }
    }
}

impl Oracle {
    pub(crate) fn new(wall_jumps: bool) -> Oracle {
        Oracle { wall_jumps, ..Oracle::default() }
    }

    /// A topic that was acknowledged.
    pub(crate) fn topic_created(&mut self, topic: Topic) -> TopicIndex {
        let id = topic.id;
        assert!(self.topics.iter().all(|topic| topic.id != id), "oracle: topic id {id:?} was given twice");
        self.topics.push(topic);
        self.topics.len() - 1
    }

    /// A topic has more partitions now.
    pub(crate) fn partitions_created(&mut self, topic: TopicIndex, count: usize) {
        self.topics[topic].partitions.resize_with(count, Partition::default);
    }

    /// By id, or by name among the living.
    pub(crate) fn find(&self, name: &str, id: Uuid) -> Option<TopicIndex> {
        self.topics
            .iter()
            .position(|topic| if id.is_zero() { topic.is_alive && topic.name == name } else { topic.id == id })
    }

    /// A new record on its way to a partition; answers its number.
    pub(crate) fn sending(&mut self, new: New) -> RecordId {
        assert!(new.value_bytes >= 8);
        self.records.push(Sent { new, offset: None, damaged: false });
        self.records.len() as RecordId - 1
    }

    /// The batch of these records is damaged on its way.
    pub(crate) fn damaged(&mut self, ids: std::ops::Range<RecordId>) {
        ids.for_each(|id| self.records[id as usize].damaged = true);
    }

    /// The broker has acknowledged a batch, and said which time it gave it, if it did.
    pub(crate) fn acked(
        &mut self,
        topic: TopicIndex,
        partition: u32,
        base_offset: i64,
        append_time: i64,
        ids: std::ops::Range<RecordId>,
    ) {
        let own_time = !self.topics[topic].rules.log_append_time;
        assert!(append_time == -1 || !own_time, "oracle: {topic}-{partition} keeps its producers' times");
        let base = u64::try_from(base_offset).unwrap_or_else(|_| panic!("oracle: acknowledged at {base_offset}"));
        self.acked_count += ids.end - ids.start;
        for (offset, id) in (base..).zip(ids) {
            let timestamp = if own_time { self.records[id as usize].new.timestamp } else { append_time };
            self.tell(topic, partition, offset, id, (timestamp >= 0).then_some(timestamp), "acknowledged");
        }
    }

    /// A consumer has seen a record.
    pub(crate) fn seen(&mut self, topic: TopicIndex, partition: u32, record: &Record<'_>) {
        let id = self.recognize(topic, partition, record);
        let offset = record.offset.get();
        self.seen_count += 1;
        self.tell(topic, partition, offset, id, Some(record.timestamp.0), "seen");
        self.topics[topic].partitions[partition as usize].pass.push(offset);
    }

    /// The least end that a partition can have by what was told.
    pub(crate) fn known_end(&self, topic: TopicIndex, partition: u32) -> u64 {
        self.topics[topic].partitions[partition as usize].told.len() as u64
    }

    /// Holds a partition, read as a whole from its start on, against all that was told about it.
    pub(crate) fn whole(&self, topic: TopicIndex, partition: u32, end: u64) {
        let known = &self.topics[topic].partitions[partition as usize];
        let (told, rules) = (&known.told, self.topics[topic].rules);
        // What nobody was told of may be gone before anybody reads it.
        let told_end = (told.len() as u64).max(known.start);
        // The last records of a compacted partition may be there for nobody.
        let whole = told_end == end || (rules.compacts && told_end < end);
        assert!(whole, "oracle: {topic}-{partition} ends at {end}, was told to {told_end}");
        let mut last: Vec<(usize, RecordId)> = Vec::new();
        for (offset, stands) in told.iter().enumerate() {
            let Some(stands) = stands else {
                let hidden = (offset as u64) < known.start || known.rots_at(offset as u64) || rules.compacts;
                assert!(hidden, "oracle: nothing at {topic}-{partition} @{offset}");
                continue;
            };
            let id = stands.id;
            let sent = &self.records[id as usize].new;
            if !sent.idempotent {
                continue;
            }
            match last.iter_mut().find(|(producer, _)| *producer == sent.producer) {
                Some((_, before)) => {
                    assert!(*before < id, "oracle: producer c{} out of order at {offset}", sent.producer);
                    *before = id;
                }
                None => last.push((sent.producer, id)),
            }
        }
        for (asked, offset, timestamp) in known.claims.iter().copied().filter(|_| known.rotten.is_empty()) {
            self.found(topic, partition, asked, offset, timestamp);
        }
        self.left_over(topic, partition);
        if rules.compacts {
            self.compacted(topic, partition);
        }
    }

    /// A producer id was handed out.
    pub(crate) fn producer_id(&mut self, id: i64) {
        assert!(id >= 0, "oracle: producer id {id}");
        assert!(self.producer_ids.insert(id), "oracle: producer id {id} was handed out twice");
    }

    fn tell(
        &mut self,
        topic: TopicIndex,
        partition: u32,
        offset: u64,
        id: RecordId,
        timestamp: Option<i64>,
        how: &str,
    ) {
        let place = format_args!("{topic}-{partition} @{offset}");
        let sent = &mut self.records[id as usize];
        let New { topic: own_topic, partition: own_partition, .. } = sent.new;
        assert!(
            (own_topic, own_partition) == (topic, partition),
            "oracle: r{id} of {own_topic}-{own_partition} {how} at {place}"
        );
        assert!(!sent.damaged, "oracle: r{id}, damaged, {how} at {place}");
        match sent.offset {
            Some(before) => assert!(before == offset, "oracle: r{id} {how} at {place}, before that at {before}"),
            None => sent.offset = Some(offset),
        }
        let told = &mut self.topics[topic].partitions[partition as usize].told;
        let index = offset as usize;
        // No honest broker runs ahead of all that was ever sent.
        assert!(index < self.records.len(), "oracle: r{id} {how} at {place}, beyond all records sent");
        if told.len() <= index {
            told.resize(index + 1, None);
        }
        let now = Told { id, timestamp };
        let before = told[index].get_or_insert(now);
        assert!(before.id == id, "oracle: r{id} {how} at {place}, where r{} was told", before.id);
        match (before.timestamp, timestamp) {
            (Some(old), Some(new)) => {
                assert!(old == new, "oracle: r{id} {how} at {place} with {new}, before with {old}")
            }
            (None, Some(_)) => before.timestamp = timestamp,
            (_, None) => (),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(timestamp: i64) -> New {
        let (value_bytes, key, is_tombstone) = (20, None, false);
        New { topic: 0, partition: 0, producer: 7, idempotent: true, value_bytes, timestamp, key, is_tombstone }
    }

    fn see(oracle: &mut Oracle, offset: u64, id: RecordId) {
        let content = oracle.content(id);
        let timestamp = model::Timestamp(oracle.records[id as usize].new.timestamp);
        let headers = vec![record::RecordHeader { key: ID_HEADER, value: Some(&content.id) }];
        let key = content.key.as_ref().map(|key| &key[..]);
        let offset = model::Offset::new(offset);
        oracle.seen(0, 0, &Record { offset, timestamp, key, value: content.value.as_deref(), headers });
    }

    /// A compacted partition with a record of key 3, then its tombstone.
    fn with_tombstone() -> Oracle {
        let mut oracle = Oracle::default();
        let rules = Rules { compacts: true, ..Rules::default() };
        oracle.topic_created(Topic::new("t", Uuid([1; 16]), 1, true, rules));
        for is_tombstone in [false, true] {
            oracle.sending(New { key: Some(3), is_tombstone, ..new(100) });
        }
        oracle.acked(0, 0, 0, -1, 0..2);
        oracle
    }

    fn with_records(count: usize) -> Oracle {
        let mut oracle = Oracle::default();
        oracle.topic_created(Topic::new("t", Uuid([1; 16]), 1, true, Rules::default()));
        for at in 0..count as i64 {
            oracle.sending(new(100 + at % 2));
        }
        oracle
    }

    #[test]
    fn what_was_acknowledged_is_found_again() {
        let mut oracle = with_records(3);
        oracle.acked(0, 0, 0, -1, 0..2);
        for offset in 0..3 {
            see(&mut oracle, offset, offset);
        }
        oracle.whole(0, 0, 3);
    }

    #[test]
    #[should_panic(expected = "where r0 was told")]
    fn a_record_that_takes_anothers_place_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, -1, 0..1);
        oracle.acked(0, 0, 0, -1, 1..2);
    }

    #[test]
    #[should_panic(expected = "before that at 0")]
    fn a_record_that_stands_twice_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, -1, 0..1);
        see(&mut oracle, 1, 0);
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_producers_records_in_another_order_are_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, -1, 1..2);
        oracle.acked(0, 0, 1, -1, 0..1);
        oracle.whole(0, 0, 2);
    }

    #[test]
    #[should_panic(expected = "ends at 1")]
    fn a_lost_record_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, -1, 0..2);
        oracle.whole(0, 0, 1);
    }

    #[test]
    #[should_panic(expected = "was passed over")]
    fn a_lookup_by_time_that_passes_over_a_record_is_found() {
        let mut oracle = with_records(4);
        oracle.acked(0, 0, 0, -1, 0..4);
        oracle.found(0, 0, 101, 1, 101);
        oracle.found(0, 0, 101, 3, 101);
    }

    #[test]
    #[should_panic(expected = "came back")]
    fn a_start_that_moves_back_is_found() {
        let mut oracle = with_records(4);
        oracle.acked(0, 0, 0, -1, 0..4);
        oracle.delete_asked(0, 0, 2);
        oracle.started(0, 0, 2, oracle.known_start(0, 0));
        oracle.started(0, 0, 1, oracle.known_start(0, 0));
    }

    #[test]
    fn a_tombstone_may_go_with_what_it_deleted() {
        let mut oracle = with_tombstone();
        oracle.begin_pass(0, 0);
        oracle.whole(0, 0, 2);
        see(&mut oracle, 1, 1);
        oracle.whole(0, 0, 2);
    }

    #[test]
    #[should_panic(expected = "came back")]
    fn a_deleted_key_that_comes_back_is_found() {
        let mut oracle = with_tombstone();
        see(&mut oracle, 0, 0);
        oracle.whole(0, 0, 2);
    }

    #[test]
    #[should_panic(expected = "lost key 3")]
    fn a_keys_last_record_that_is_gone_is_found() {
        let mut oracle = with_tombstone();
        oracle.sending(New { key: Some(3), ..new(100) });
        oracle.acked(0, 0, 2, -1, 2..3);
        oracle.whole(0, 0, 3);
    }

    #[test]
    #[should_panic(expected = "had not expired")]
    fn a_record_that_goes_too_early_is_found() {
        let mut oracle = with_records(2);
        oracle.topics[0].rules.retention_ms = Some(50);
        oracle.acked(0, 0, 0, -1, 0..2);
        oracle.clock(151);
        oracle.started(0, 0, 1, oracle.known_start(0, 0));
        oracle.started(0, 0, 2, oracle.known_start(0, 0));
    }
}
