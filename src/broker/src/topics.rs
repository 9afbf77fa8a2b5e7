//! The topics of the image as requests need them: by name or id, with their effective settings, and where each
//! partition's home is. Rebuilt where the image changed, never mutated in between.

use std::collections::BTreeMap;
use std::sync::Arc;

use controller::{Image, Topic};
use effect::ShardId;
use model::{TopicId, TopicPartition};
use wire::TopicRef;

use crate::config::{BrokerConfig, TopicConfig};
use crate::control::METADATA_TOPIC_ID;

/// The topics of one image.
#[derive(Debug)]
pub(crate) struct Topics {
    shard_count: usize,
    by_id: BTreeMap<TopicId, Known>,
}

/// A topic and its effective settings.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) topic: Arc<Topic>,
    pub(crate) config: Arc<TopicConfig>,
}

impl Topics {
    pub(crate) fn new(shard_count: usize) -> Topics {
        Topics { shard_count, by_id: BTreeMap::new() }
    }

    /// Goes from one image to the next; what they share is kept.
    pub(crate) fn update(&mut self, from: &Image, to: &Image, config: &BrokerConfig) {
        let same_broker = to.has_broker_configs_of(from);
        let mut earlier = std::mem::take(&mut self.by_id);
        for topic in to.topics() {
            let known = match earlier.remove(&topic.id) {
                Some(known) if same_broker && Arc::ptr_eq(&known.topic, topic) => known,
                earlier => {
                    let effective = config.topic(to, &topic.configs);
                    // The same settings stay the same memory: who compares knows that nothing changed.
                    let kept = earlier.map(|known| known.config).filter(|earlier| **earlier == effective);
                    Known { topic: topic.clone(), config: kept.unwrap_or_else(|| Arc::new(effective)) }
                }
            };
            self.by_id.insert(topic.id, known);
        }
    }

    pub(crate) fn by_id(&self, id: TopicId) -> Option<&Known> {
        self.by_id.get(&id)
    }

    /// The topic that a request names.
    pub(crate) fn find(&self, image: &Image, topic: TopicRef<'_>) -> Option<&Known> {
        match topic {
            TopicRef::Id(id) => self.by_id(id),
            TopicRef::Name(name) => self.by_id(image.topic(name)?.id),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Known> {
        self.by_id.values()
    }

    /// How many shards there are; at least one.
    pub(crate) fn shard_count(&self) -> u64 {
        self.shard_count as u64
    }

    /// The shard where a partition lives: computed, never stored, so the same data starts with any number of shards.
    pub(crate) fn home(&self, at: TopicPartition) -> ShardId {
        home(at, self.shard_count)
    }
}

impl Known {
    /// A partition of this topic, if there is such.
    pub(crate) fn partition(&self, index: i32) -> Option<TopicPartition> {
        let partition = u32::try_from(index).ok().filter(|index| *index < self.topic.partition_count)?;
        Some(TopicPartition { topic: self.topic.id, partition })
    }
}

/// Whether a partition's log is on the shard `lane` of `lanes`. The metadata log is always on the first.
pub(crate) fn is_home(at: TopicPartition, lane: u32, lanes: u32) -> bool {
    if at.topic == METADATA_TOPIC_ID {
        return lane == 0;
    }
    u32::from(home(at, lanes as usize).0) == lane
}

/// Consecutive partitions of a topic go to consecutive shards, beginning where the topic's id says.
fn home(at: TopicPartition, shard_count: usize) -> ShardId {
    let (low, high) = at.topic.0.split_at(8);
    let fold = |half: &[u8]| half.iter().fold(0u64, |hash, byte| hash.wrapping_mul(0x100_0000_01b3) ^ u64::from(*byte));
    let first = fold(low) ^ fold(high).rotate_left(32);
    // A multiplication spreads what lies in the low bits over the high ones.
    let first = (first.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) + u64::from(at.partition);
    ShardId((first % shard_count as u64) as u16)
}

#[cfg(test)]
mod tests {
    use model::Uuid;

    use super::*;

    #[test]
    fn a_topics_partitions_spread_evenly_over_the_shards() {
        for seed in 0..50u64 {
            let mut state = seed;
            let topic = Uuid::random(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state
            });
            let mut count = [0; 4];
            for partition in 0..8 {
                count[home(TopicPartition { topic, partition }, 4).index()] += 1;
            }
            assert_eq!(count, [2; 4]);
        }
    }
}
