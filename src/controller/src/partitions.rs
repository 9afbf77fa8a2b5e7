//! Giving topics more partitions.

use std::collections::BTreeMap;

use model::NodeId;

use crate::topic_set::{PARTITION_COUNT_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::{Controller, Decided, MetadataRecord, Refusal};

/// A request to give topics more partitions.
#[derive(Clone, Debug)]
pub struct CreatePartitions {
    /// In the request's order; so are the answers.
    pub topics: Vec<NewPartitions>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// What one topic shall have.
#[derive(Clone, Debug, Default)]
pub struct NewPartitions {
    /// The topic.
    pub name: String,
    /// How many partitions it shall have in all.
    pub partition_count: i32,
    /// Explicit placement of each new partition, if there is one.
    pub assignments: Option<Vec<Vec<NodeId>>>,
    /// Whether its count means something to somebody: this room does not know, who asks does.
    pub is_fixed: bool,
}

impl Controller {
    /// Grows what can be grown; each topic succeeds or is refused by itself.
    pub fn create_partitions(&mut self, request: &CreatePartitions) -> Decided<Vec<Result<(), Refusal>>> {
        let mut named: BTreeMap<&str, u32> = BTreeMap::new();
        for topic in &request.topics {
            *named.entry(&topic.name).or_default() += 1;
        }
        let mut records = Vec::new();
        let mut added: u32 = 0;
        let answer = request.topics.iter().map(|topic| {
            if named.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
                return Err(Refusal::TopicRepeated);
            }
            let (record, count) = self.growth(topic, added)?;
            added += count;
            records.push(record);
            Ok(())
        });
        let answer = answer.collect();
        if request.validate_only {
            records.clear();
        }
        self.decide(records, answer)
    }

    /// The record that grows the topic, and by how much, after `added` others in the same request.
    fn growth(&self, asked: &NewPartitions, added: u32) -> Result<(MetadataRecord, u32), Refusal> {
        let image = self.pending();
        let topic = image.topic(&asked.name).ok_or(Refusal::UnknownTopic)?;
        if asked.is_fixed {
            return Err(Refusal::PartitionCountFixed);
        }
        let current = topic.partition_count;
        let wanted = u32::try_from(asked.partition_count).unwrap_or(0);
        if wanted <= current {
            return Err(Refusal::PartitionCountNotGrowing { current });
        }
        let count = wanted - current;
        if count > PARTITIONS_PER_REQUEST_MAX - added {
            return Err(Refusal::TooManyPartitionsInRequest);
        }
        if count > (PARTITION_COUNT_MAX - image.partition_count()).saturating_sub(added) {
            return Err(Refusal::TooManyPartitions);
        }
        if let Some(assignments) = &asked.assignments {
            if u32::try_from(assignments.len()) != Ok(count) {
                return Err(Refusal::AssignmentCount { expected: count });
            }
            if !assignments.iter().all(|nodes| *nodes == [self.node_id()]) {
                return Err(Refusal::AssignmentReplicas);
            }
        }
        Ok((MetadataRecord::Partitions { topic: topic.id, first: current, count }, count))
    }
}
