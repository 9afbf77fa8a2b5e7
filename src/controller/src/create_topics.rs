//! Creating topics, asked for or by the way (auto-creation).

use std::collections::BTreeMap;
use std::sync::Arc;

use model::{LeaderEpoch, NodeId, TopicId, Uuid};

use crate::bytes::is_storable;
use crate::controller::RECORD_SET_BYTES_MAX;
use crate::topic_set::{CONFIG_COUNT_MAX, PARTITION_COUNT_MAX, PARTITIONS_PER_REQUEST_MAX};
use crate::{Configs, Controller, Decided, Image, MetadataRecord, Refusal, Topic, check_topic_name};

/// A request to create topics.
#[derive(Clone, Debug)]
pub struct CreateTopics {
    /// In the request's order; so are the answers.
    pub topics: Vec<NewTopic>,
    /// Only say what would happen.
    pub validate_only: bool,
    /// `num.partitions`.
    pub partition_count_default: u32,
}

/// One topic to create.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Not yet checked.
    pub name: String,
    /// `None`: the default.
    pub partition_count: Option<i32>,
    /// `None`: the default, which is 1.
    pub replication_factor: Option<i16>,
    /// Explicit placement; empty: none.
    pub assignments: Vec<Assignment>,
    /// Its own values of settings.
    pub configs: Configs,
    /// Whether they cannot be: this room does not know what they mean, who asks does.
    pub configs_invalid: bool,
}

/// Where one partition should lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Assignment {
    /// The partition's index.
    pub partition: i32,
    /// Its replicas.
    pub nodes: Vec<NodeId>,
}

/// A topic that is to exist because somebody needs it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AutoTopic<'a> {
    /// Not yet checked.
    pub name: &'a str,
    /// At least one.
    pub partition_count: u32,
    /// Its own values of settings; they are valid.
    pub configs: Configs,
}

impl Controller {
    /// Creates what can be created; each topic succeeds or is refused by itself.
    pub fn create_topics(
        &mut self,
        request: &CreateTopics,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Decided<Vec<Result<Arc<Topic>, Refusal>>> {
        let mut named: BTreeMap<&str, u32> = BTreeMap::new();
        for topic in &request.topics {
            *named.entry(&topic.name).or_default() += 1;
        }
        let mut creation = Creation::on(self);
        let answer = request.topics.iter().map(|topic| {
            if named.get(topic.name.as_str()).is_some_and(|times| *times > 1) {
                return Err(Refusal::TopicRepeated);
            }
            creation.check_name(&topic.name)?;
            let partition_count = creation.partition_count(topic, request.partition_count_default)?;
            if topic.configs.len() > CONFIG_COUNT_MAX {
                return Err(Refusal::TooManyConfigs);
            }
            if topic.configs_invalid || !topic.configs.iter().all(|(key, value)| is_storable(key) && is_storable(value))
            {
                return Err(Refusal::InvalidConfig);
            }
            creation.add(&topic.name, partition_count, &topic.configs, entropy)
        });
        let answer = answer.collect();
        let records = if request.validate_only { Vec::new() } else { creation.records };
        self.decide(records, answer)
    }

    /// Creates topics that a client mentioned. One that exists meanwhile is no error: it is the answer.
    pub fn auto_create_topics(
        &mut self,
        topics: &[AutoTopic<'_>],
        entropy: &mut dyn FnMut() -> u64,
    ) -> Decided<Vec<Result<Arc<Topic>, Refusal>>> {
        let mut creation = Creation::on(self);
        let answer = topics.iter().map(|topic| match creation.check_name(topic.name) {
            Err(Refusal::TopicExists) => creation.image.topic(topic.name).map(Arc::clone).ok_or(Refusal::UnknownTopic),
            Err(refusal) => Err(refusal),
            Ok(()) => {
                creation.check_room(topic.partition_count)?;
                creation.add(topic.name, topic.partition_count, &topic.configs, entropy)
            }
        });
        let answer = answer.collect();
        let records = creation.records;
        self.decide(records, answer)
    }
}

/// The topics of one request as they pile up, on an image of their own.
struct Creation {
    node_id: NodeId,
    image: Image,
    records: Vec<MetadataRecord>,
    partition_count: u32,
    bytes: usize,
}

impl Creation {
    fn on(controller: &Controller) -> Creation {
        let image = Image::clone(controller.pending());
        Creation { node_id: controller.node_id(), image, records: Vec::new(), partition_count: 0, bytes: 0 }
    }

    fn check_name(&self, name: &str) -> Result<(), Refusal> {
        check_topic_name(name)?;
        if self.image.topic(name).is_some() {
            return Err(Refusal::TopicExists);
        }
        if self.image.collides(name) {
            return Err(Refusal::NameCollides);
        }
        Ok(())
    }

    /// How many partitions the topic asks for, one way or the other.
    fn partition_count(&self, topic: &NewTopic, default: u32) -> Result<u32, Refusal> {
        let count = if topic.assignments.is_empty() {
            match topic.replication_factor {
                None | Some(1) => {}
                Some(factor) if factor < 1 => return Err(Refusal::ReplicationFactorNotPositive),
                Some(_) => return Err(Refusal::ReplicationFactorTooLarge),
            }
            match topic.partition_count {
                None => default,
                Some(count) => {
                    u32::try_from(count).ok().filter(|count| *count > 0).ok_or(Refusal::PartitionCountNotPositive)?
                }
            }
        } else {
            if topic.partition_count.is_some() || topic.replication_factor.is_some() {
                return Err(Refusal::AssignmentWithCounts);
            }
            self.assigned_count(&topic.assignments)?
        };
        self.check_room(count)?;
        Ok(count)
    }

    fn assigned_count(&self, assignments: &[Assignment]) -> Result<u32, Refusal> {
        let mut partitions: Vec<i32> = assignments.iter().map(|assignment| assignment.partition).collect();
        partitions.sort_unstable();
        if !partitions.iter().copied().eq((0..).take(partitions.len())) {
            return Err(Refusal::AssignmentNotDense);
        }
        if !assignments.iter().all(|assignment| assignment.nodes == [self.node_id]) {
            return Err(Refusal::AssignmentReplicas);
        }
        u32::try_from(assignments.len()).map_err(|_| Refusal::TooManyPartitions)
    }

    /// Whether that many more partitions are within the request's and the broker's bounds.
    fn check_room(&self, count: u32) -> Result<(), Refusal> {
        if count > PARTITIONS_PER_REQUEST_MAX - self.partition_count {
            return Err(Refusal::TooManyPartitionsInRequest);
        }
        if count > PARTITION_COUNT_MAX - self.image.partition_count() {
            return Err(Refusal::TooManyPartitions);
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: &str,
        partition_count: u32,
        configs: &Configs,
        entropy: &mut dyn FnMut() -> u64,
    ) -> Result<Arc<Topic>, Refusal> {
        let id = self.fresh_id(entropy);
        let configs = configs.clone();
        let topic = Topic { name: name.into(), id, partition_count, leader_epoch: LeaderEpoch(0), configs };
        let records: Vec<_> = topic.to_records().collect();
        let bytes: usize = records.iter().map(|record| record.encode().len()).sum();
        if bytes > RECORD_SET_BYTES_MAX - self.bytes {
            return Err(Refusal::RequestTooLarge);
        }
        self.bytes += bytes;
        self.partition_count += partition_count;
        self.image = std::mem::take(&mut self.image).apply(&records).expect("a checked topic applies");
        self.records.extend(records);
        Ok(self.image.topic_by_id(id).map(Arc::clone).expect("the topic was added"))
    }

    fn fresh_id(&self, entropy: &mut dyn FnMut() -> u64) -> TopicId {
        loop {
            let id = Uuid::random(&mut *entropy);
            if self.image.topic_by_id(id).is_none() {
                return id;
            }
        }
    }
}
