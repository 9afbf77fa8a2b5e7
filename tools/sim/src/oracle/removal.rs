//! What may be missing: records that somebody asked to be deleted, and what has rotted.

use super::{Oracle, Partition, TopicIndex};
use crate::disk::RottenOffsets;

/// What was known of a partition's start, in which life of the broker.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Start {
    pub(crate) offset: u64,
    life: u32,
}

impl Oracle {
    /// Somebody asks that everything before an offset goes: from now on it may.
    pub(crate) fn delete_asked(&mut self, topic: TopicIndex, partition: u32, to: u64) {
        let known = &mut self.topics[topic].partitions[partition as usize];
        known.deletable = known.deletable.max(to);
    }

    /// The broker dies: what it told of starts may have been in its memory alone, what it acknowledged not.
    pub(crate) fn died(&mut self) {
        self.lives += 1;
        for partition in self.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            partition.start = partition.promised;
        }
    }

    /// The start that a partition has at least.
    pub(crate) fn known_start(&self, topic: TopicIndex, partition: u32) -> Start {
        Start { offset: self.topics[topic].partitions[partition as usize].start, life: self.lives }
    }

    /// Whether the broker that was asked then is the one of now.
    pub(crate) fn is_of_this_life(&self, start: Start) -> bool {
        start.life == self.lives
    }

    /// Whether an offset may lie before the start.
    pub(crate) fn may_be_gone(&self, topic: TopicIndex, partition: u32, offset: u64) -> bool {
        // What expires may be gone before anybody is told of it.
        let known = &self.topics[topic];
        known.rules.expires() || offset < known.partitions[partition as usize].deletable
    }

    /// The broker told a partition's start; `least` is what was known of it when it was asked.
    pub(crate) fn started(&mut self, topic: TopicIndex, partition: u32, start: u64, least: Start) {
        self.expired(topic, partition, start);
        let expires = self.topics[topic].rules.expires();
        let known = &mut self.topics[topic].partitions[partition as usize];
        let (before, deletable) = (least.offset, known.deletable);
        assert!(start >= before, "oracle: {topic}-{partition} starts at {start}, what is before {before} came back");
        let asked = start <= deletable || expires;
        assert!(asked, "oracle: {topic}-{partition} starts at {start}, deleted was up to {deletable}");
        // An answer may arrive after the broker that gave it is gone.
        if least.life == self.lives {
            known.start = known.start.max(start);
        }
    }

    /// The broker acknowledged that everything before an offset is gone, for ever.
    pub(crate) fn deleted(&mut self, topic: TopicIndex, partition: u32, to: u64) {
        let known = &mut self.topics[topic].partitions[partition as usize];
        known.promised = known.promised.max(to);
    }

    /// A batch has rotted on the disk.
    pub(crate) fn rotten(&mut self, offsets: RottenOffsets) {
        let place = self.topics.iter().enumerate().find_map(|(index, topic)| {
            let partition = offsets.directory.strip_prefix(topic.name.as_str())?.strip_prefix('-')?.parse().ok()?;
            topic.is_alive.then_some((index, partition))
        });
        // A topic that nobody was told of holds nothing that anybody was told of.
        let known =
            place.and_then(|(topic, partition): (usize, usize)| self.topics[topic].partitions.get_mut(partition));
        if let Some(known) = known {
            known.rotten.push(offsets);
        }
    }

    /// Whether anything of a partition has rotted.
    pub(crate) fn is_rotten(&self, topic: TopicIndex, partition: u32) -> bool {
        !self.topics[topic].partitions[partition as usize].rotten.is_empty()
    }

    /// Where to go on after bytes that were refused or are bad, if rot excuses that at this offset: behind the batch,
    /// or, before or behind it, behind its segment.
    pub(crate) fn past_rot(&self, topic: TopicIndex, partition: u32, offset: u64) -> Option<u64> {
        let rotten = &self.topics[topic].partitions[partition as usize].rotten;
        let within = rotten.iter().find(|rotten| rotten.batch.contains(&offset)).map(|rotten| rotten.batch.end);
        within.or_else(|| Some(rotten.iter().find(|rotten| rotten.segment.contains(&offset))?.segment.end))
    }
}

impl Partition {
    /// Whether rot may have hidden a record from everybody.
    pub(super) fn rots_at(&self, offset: u64) -> bool {
        self.rotten.iter().any(|rotten| rotten.segment.contains(&offset))
    }
}
