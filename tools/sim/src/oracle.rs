//! What must be true, kept by all clients of a run together: every record is known by number, every place in a
//! partition once told stays as it was told.
//!
//! Owns the history as clients saw it. Never looks into the broker. A violation is a panic: the run reports its seed.

use std::collections::BTreeSet;

use model::Uuid;

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
    pub(crate) partitions: Vec<Partition>,
}

#[derive(Debug, Default)]
pub(crate) struct Partition {
    /// By offset: what was told to stand there.
    told: Vec<Option<RecordId>>,
}

#[derive(Debug)]
struct Sent {
    topic: TopicIndex,
    partition: u32,
    producer: usize,
    idempotent: bool,
    value_bytes: usize,
    offset: Option<u64>,
    /// It was sent in a damaged batch: it must stand nowhere.
    damaged: bool,
}

impl Oracle {
    /// A topic that was acknowledged.
    pub(crate) fn topic_created(&mut self, name: &str, id: Uuid, partitions: usize, is_stable: bool) -> TopicIndex {
        assert!(self.topics.iter().all(|topic| topic.id != id), "oracle: topic id {id:?} was given twice");
        let partitions = (0..partitions).map(|_| Partition::default()).collect();
        self.topics.push(Topic { name: name.to_owned(), id, is_stable, is_alive: true, partitions });
        self.topics.len() - 1
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
    ) -> RecordId {
        assert!(value_bytes >= 8);
        self.records.push(Sent { topic, partition, producer, idempotent, value_bytes, offset: None, damaged: false });
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

    /// The broker has acknowledged a batch.
    pub(crate) fn acked(
        &mut self,
        topic: TopicIndex,
        partition: u32,
        base_offset: i64,
        ids: std::ops::Range<RecordId>,
    ) {
        let base = u64::try_from(base_offset).unwrap_or_else(|_| panic!("oracle: acknowledged at {base_offset}"));
        self.acked_count += ids.end - ids.start;
        for (offset, id) in (base..).zip(ids) {
            self.tell(topic, partition, offset, id, "acknowledged");
        }
    }

    /// A consumer has seen a record.
    pub(crate) fn seen(&mut self, topic: TopicIndex, partition: u32, offset: u64, value: Option<&[u8]>) {
        let value = value.unwrap_or_else(|| panic!("oracle: null value at {topic}-{partition} @{offset}"));
        let id = value.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes));
        assert!((id as usize) < self.records.len(), "oracle: a record nobody sent at {topic}-{partition} @{offset}");
        assert!(value == self.value(id), "oracle: altered bytes at {topic}-{partition} @{offset}");
        self.seen_count += 1;
        self.tell(topic, partition, offset, id, "seen");
    }

    /// The least end that a partition can have by what was told.
    pub(crate) fn known_end(&self, topic: TopicIndex, partition: u32) -> u64 {
        self.topics[topic].partitions[partition as usize].told.len() as u64
    }

    /// Holds a partition, read as a whole, against all that was told about it.
    pub(crate) fn whole(&self, topic: TopicIndex, partition: u32, end: u64) {
        let told = &self.topics[topic].partitions[partition as usize].told;
        assert!(told.len() as u64 == end, "oracle: {topic}-{partition} ends at {end}, was told to {}", told.len());
        let mut last: Vec<(usize, RecordId)> = Vec::new();
        for (offset, id) in told.iter().enumerate() {
            let id = id.unwrap_or_else(|| panic!("oracle: nothing at {topic}-{partition} @{offset}"));
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
    }

    /// A producer id was handed out.
    pub(crate) fn producer_id(&mut self, id: i64) {
        assert!(id >= 0, "oracle: producer id {id}");
        assert!(self.producer_ids.insert(id), "oracle: producer id {id} was handed out twice");
    }

    fn tell(&mut self, topic: TopicIndex, partition: u32, offset: u64, id: RecordId, how: &str) {
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
        match told[index] {
            Some(before) => assert!(before == id, "oracle: r{id} {how} at {place}, where r{before} was told"),
            None => told[index] = Some(id),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_records(count: usize) -> Oracle {
        let mut oracle = Oracle::default();
        oracle.topic_created("t", Uuid([1; 16]), 1, true);
        for _ in 0..count {
            oracle.sending(0, 0, 7, true, 20);
        }
        oracle
    }

    #[test]
    fn what_was_acknowledged_is_found_again() {
        let mut oracle = with_records(3);
        oracle.acked(0, 0, 0, 0..2);
        for offset in 0..3 {
            oracle.seen(0, 0, offset, Some(&oracle.value(offset)));
        }
        oracle.whole(0, 0, 3);
    }

    #[test]
    #[should_panic(expected = "where r0 was told")]
    fn a_record_that_takes_anothers_place_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, 0..1);
        oracle.acked(0, 0, 0, 1..2);
    }

    #[test]
    #[should_panic(expected = "before that at 0")]
    fn a_record_that_stands_twice_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, 0..1);
        oracle.seen(0, 0, 1, Some(&oracle.value(0)));
    }

    #[test]
    #[should_panic(expected = "out of order")]
    fn a_producers_records_in_another_order_are_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, 1..2);
        oracle.acked(0, 0, 1, 0..1);
        oracle.whole(0, 0, 2);
    }

    #[test]
    #[should_panic(expected = "ends at 1")]
    fn a_lost_record_is_found() {
        let mut oracle = with_records(2);
        oracle.acked(0, 0, 0, 0..2);
        oracle.whole(0, 0, 1);
    }
}
