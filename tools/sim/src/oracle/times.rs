//! Lookups by time: the first record at or after it, among all that was told.

use super::{Oracle, TopicIndex};

impl Oracle {
    /// The last record at or after a time that is known to stand in a partition, if nothing there may go by itself.
    pub(crate) fn last_at_or_after(&self, topic: TopicIndex, partition: u32, asked: i64) -> Option<u64> {
        let from = self.stays_from(topic, partition)?;
        let told = self.topics[topic].partitions[partition as usize].told.iter().enumerate().skip(from as usize);
        let late = |told: &Option<super::Told>| told.and_then(|told| told.timestamp).is_some_and(|time| time >= asked);
        told.rev().find(|(_, told)| late(told)).map(|(at, _)| at as u64)
    }

    /// A lookup by time has found a record.
    pub(crate) fn found(&self, topic: TopicIndex, partition: u32, asked: i64, offset: u64, timestamp: i64) {
        let place = format_args!("{topic}-{partition} @{offset}");
        assert!(timestamp >= asked, "oracle: asked for {asked}, found {timestamp} at {place}");
        let known = &self.topics[topic].partitions[partition as usize];
        let from = self.stays_from(topic, partition).unwrap_or(offset);
        let before = (from..offset).zip(known.told.iter().skip(from as usize));
        for (earlier, told) in before {
            let late = told.and_then(|told| told.timestamp).is_some_and(|time| time >= asked);
            assert!(!late, "oracle: asked for {asked}, found {place}, the record @{earlier} was passed over");
        }
        let stands = known.told.get(offset as usize).copied().flatten().and_then(|told| told.timestamp);
        assert!(stands.is_none_or(|stands| stands == timestamp), "oracle: {place} has {stands:?}, found {timestamp}");
    }

    /// From where on nothing may go.
    fn stays_from(&self, topic: TopicIndex, partition: u32) -> Option<u64> {
        let rules = self.topics[topic].rules;
        let stays = !rules.compacts && !rules.expires();
        stays.then(|| self.topics[topic].partitions[partition as usize].deletable)
    }

    /// As [`Oracle::found`], and again at the end, when all is known.
    pub(crate) fn claimed(&mut self, topic: TopicIndex, partition: u32, asked: i64, offset: u64, timestamp: i64) {
        self.found(topic, partition, asked, offset, timestamp);
        self.topics[topic].partitions[partition as usize].claims.push((asked, offset, timestamp));
    }
}
