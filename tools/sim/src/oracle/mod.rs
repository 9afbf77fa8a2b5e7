//! What must be true, kept by all clients of a run together: every record is known by number, every place in a
//! partition once told stays as it was told.
//!
//! Owns the history as clients saw it. Never looks into the broker. A violation is a panic: the run reports its seed.

mod removal;
mod times;

use std::collections::BTreeSet;

use model::Uuid;

use crate::disk::RottenOffsets;

/// A topic in one of its lives, by number.
pub(crate) type TopicIndex = usize;

/// A record, by number: the first eight bytes of its value.
pub(crate) type RecordId = u64;

#[derive(Debug, Default)]
pub(crate) struct Oracle {
    pub(crate) topics: Vec<Topic>,
    records: Vec<Sent>,
    producer_ids: BTreeSet<i64>,
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
    /// Records get the time of their append.
    pub(crate) log_append_time: bool,
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// By offset: what was told to stand there.
    told: Vec<Option<Told>>,
    /// The highest start that was told: nothing before it comes back.
    start: u64,
    /// Records before this may be gone: somebody asked for it.
    deletable: u64,
    /// What no client will see any more.
    rotten: Vec<RottenOffsets>,
    /// What lookups by time said of records that nobody else had told of yet: time asked for, offset, time.
    claims: Vec<(i64, u64, i64)>,
}

#[derive(Clone, Copy, Debug)]
struct Told {
    id: RecordId,
    /// None of a record whose time the broker gave and did not tell yet.
    timestamp: Option<i64>,
}

#[derive(Debug)]
struct Sent {
    topic: TopicIndex,
    partition: u32,
    producer: usize,
    idempotent: bool,
    value_bytes: usize,
    timestamp: i64,
    offset: Option<u64>,
    /// It was sent in a damaged batch: it must stand nowhere.
    damaged: bool,
}

impl Topic {
    pub(crate) fn new(name: &str, id: Uuid, partitions: usize, is_stable: bool, log_append_time: bool) -> Topic {
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        Topic { name: name.to_owned(), id, is_stable, is_alive: true, log_append_time, partitions }
    }
}

impl Oracle {
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
    pub(crate) fn sending(
        &mut self,
        topic: TopicIndex,
        partition: u32,
        producer: usize,
        idempotent: bool,
        value_bytes: usize,
        timestamp: i64,
    ) -> RecordId {
        assert!(value_bytes >= 8);
        let (offset, damaged) = (None, false);
        self.records.push(Sent { topic, partition, producer, idempotent, value_bytes, timestamp, offset, damaged });
        self.records.len() as RecordId - 1
    }

    /// The batch of these records is damaged on its way.
    pub(crate) fn damaged(&mut self, ids: std::ops::Range<RecordId>) {
        ids.for_each(|id| self.records[id as usize].damaged = true);
    }

    /// A record's value: its number, then filler that follows from it.
    pub(crate) fn value(&self, record: RecordId) -> Vec<u8> {
        let mut value = record.to_le_bytes().to_vec();
        value.resize(self.records[record as usize].value_bytes, record as u8);
        value
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
        let own_time = !self.topics[topic].log_append_time;
        assert!(append_time == -1 || !own_time, "oracle: {topic}-{partition} keeps its producers' times");
        let base = u64::try_from(base_offset).unwrap_or_else(|_| panic!("oracle: acknowledged at {base_offset}"));
        self.acked_count += ids.end - ids.start;
        for (offset, id) in (base..).zip(ids) {
            let timestamp = if own_time { self.records[id as usize].timestamp } else { append_time };
            self.tell(topic, partition, offset, id, (timestamp >= 0).then_some(timestamp), "acknowledged");
        }
    }

    /// A consumer has seen a record.
    pub(crate) fn seen(
        &mut self,
        topic: TopicIndex,
        partition: u32,
        offset: u64,
        timestamp: i64,
        value: Option<&[u8]>,
    ) {
        let value = value.unwrap_or_else(|| panic!("oracle: null value at {topic}-{partition} @{offset}"));
        let id = value.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        assert!((id as usize) < self.records.len(), "oracle: a record nobody sent at {topic}-{partition} @{offset}");
        assert!(value == self.value(id), "oracle: altered bytes at {topic}-{partition} @{offset}");
        self.seen_count += 1;
        let sent = self.records[id as usize].timestamp;
        let own_time = !self.topics[topic].log_append_time;
        assert!(timestamp == sent || !own_time, "oracle: {timestamp} at {topic}-{partition} @{offset}, sent at {sent}");
        self.tell(topic, partition, offset, id, Some(timestamp), "seen");
    }

    /// The least end that a partition can have by what was told.
    pub(crate) fn known_end(&self, topic: TopicIndex, partition: u32) -> u64 {
        self.topics[topic].partitions[partition as usize].told.len() as u64
    }

    /// Holds a partition, read as a whole from its start on, against all that was told about it.
    pub(crate) fn whole(&self, topic: TopicIndex, partition: u32, end: u64) {
        let known = &self.topics[topic].partitions[partition as usize];
        let told = &known.told;
        assert!(told.len() as u64 == end, "oracle: {topic}-{partition} ends at {end}, was told to {}", told.len());
        let mut last: Vec<(usize, RecordId)> = Vec::new();
        for (offset, stands) in told.iter().enumerate() {
            let Some(stands) = stands else {
                let hidden = (offset as u64) < known.start || known.rots_at(offset as u64);
                assert!(hidden, "oracle: nothing at {topic}-{partition} @{offset}");
                continue;
            };
            let id = stands.id;
            let sent = &self.records[id as usize];
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
        assert!(
            (sent.topic, sent.partition) == (topic, partition),
            "oracle: r{id} of {}-{} {how} at {place}",
            sent.topic,
            sent.partition
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

    fn with_records(count: usize) -> Oracle {
        let mut oracle = Oracle::default();
        oracle.topic_created(Topic::new("t", Uuid([1; 16]), 1, true, false));
        for at in 0..count as i64 {
            oracle.sending(0, 0, 7, true, 20, 100 + at % 2);
        }
        oracle
    }

    #[test]
    fn what_was_acknowledged_is_found_again() {
        let mut oracle = with_records(3);
        oracle.acked(0, 0, 0, -1, 0..2);
        for offset in 0..3 {
            oracle.seen(0, 0, offset, 100 + offset as i64 % 2, Some(&oracle.value(offset)));
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
        oracle.seen(0, 0, 1, 100, Some(&oracle.value(0)));
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
        oracle.started(0, 0, 2, 0);
        oracle.started(0, 0, 1, oracle.known_start(0, 0));
    }
}
