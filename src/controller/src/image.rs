//! The metadata at one moment, and how records lead from one moment to the next.
//! An image is shared freely and never changes; what a later image did not touch, it shares with the earlier one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use model::{LeaderEpoch, NodeId, ProducerId, TopicId, Uuid};

use crate::MetadataRecord;
use crate::name::check_topic_name;
use crate::topic_set::{PARTITION_COUNT_MAX, TopicSet};

/// The values that a topic or a broker was given, by setting.
pub type Configs = BTreeMap<Arc<str>, Arc<str>>;

/// A topic as the metadata has it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Topic {
    /// Its name, unique among living topics.
    pub name: Arc<str>,
    /// Its identity, never used again.
    pub id: TopicId,
    /// Its partitions are `0 .. partition_count`; at least one in any image.
    pub partition_count: u32,
    /// The leader epoch of its partitions.
    pub leader_epoch: LeaderEpoch,
    /// The values it has of its own, by setting.
    pub configs: Configs,
}

/// The metadata at one moment.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Image {
    cluster_id: Option<Uuid>,
    node_id: Option<NodeId>,
    next_producer_id: Option<ProducerId>,
    topics: Arc<TopicSet>,
    /// What broker settings were changed to while the broker ran; nothing is empty. `None`: for all brokers.
    broker_configs: Arc<BTreeMap<Option<NodeId>, Configs>>,
}

/// Why records do not follow from an image. Only a log that was written wrongly has such.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum ApplyError {
    /// A snapshot marker within a set.
    SnapshotWithinSet,
    /// Something comes before the record that names the cluster.
    NoCluster,
    ClusterTwice,
    /// The log as a whole is of another generation.
    UnknownFormat(u16),
    NodeDiffers {
        registered: NodeId,
    },
    TopicName,
    TopicExists,
    TopicId,
    UnknownTopic,
    /// A range of partitions that does not begin where the topic's end.
    PartitionGap,
    TooManyPartitions,
    TopicWithoutPartitions,
    /// The block of producer ids goes back.
    ProducerIds,
}

impl Image {
    /// The image before the first record.
    pub fn empty() -> Image {
        Image::default()
    }

    /// Whether no record has been applied yet.
    pub fn is_empty(&self) -> bool {
        self.cluster_id.is_none()
    }

    /// The cluster's id. Panics on an empty image, which no request ever sees.
    pub fn cluster_id(&self) -> Uuid {
        self.cluster_id.expect("an image that serves was begun")
    }

    /// The id that this broker registered, if it did.
    pub fn registered_node(&self) -> Option<NodeId> {
        self.node_id
    }

    /// This broker's id. Panics before registration, which no request ever sees.
    pub fn node_id(&self) -> NodeId {
        self.node_id.expect("an image that serves has its broker")
    }

    /// The first producer id that surely was not handed out.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id.unwrap_or(ProducerId(0))
    }

    /// The dynamic values of broker settings: a node's own, or (`None`) those of all that have none of their own.
    pub fn broker_configs(&self, node: Option<NodeId>) -> &Configs {
        static NOTHING: Configs = Configs::new();
        self.broker_configs.get(&node).unwrap_or(&NOTHING)
    }

    /// Whether no dynamic value of a broker setting differs from that image's.
    pub fn has_broker_configs_of(&self, other: &Image) -> bool {
        Arc::ptr_eq(&self.broker_configs, &other.broker_configs) || self.broker_configs == other.broker_configs
    }

    /// The topic of this name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.by_name(name)
    }

    /// The topic of this id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.by_id(id)
    }

    /// All topics in the order of their names.
    pub fn topics(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.in_name_order()
    }

    /// The topics whose names are not below `name`, in the order of names.
    pub fn topics_from<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + use<'a> {
        self.topics.since_name(name)
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topics.count()
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> u32 {
        self.topics.partition_count()
    }

    /// Whether a topic of this name could not be told from another one in metrics.
    pub fn collides(&self, name: &str) -> bool {
        self.topics.collides(name)
    }

    /// The image after one record set: all of it, or an error.
    pub fn apply(mut self, set: &[MetadataRecord]) -> Result<Image, ApplyError> {
        let set = match set.split_first() {
            Some((MetadataRecord::Snapshot, rest)) => {
                self = Image::empty();
                rest
            }
            _ => set,
        };
        for record in set {
            self.apply_record(record)?;
        }
        for record in set {
            if let MetadataRecord::Topic { id, .. } = record
                && self.topic_by_id(*id).is_some_and(|topic| topic.partition_count == 0)
            {
                return Err(ApplyError::TopicWithoutPartitions);
            }
        }
        Ok(self)
    }

    fn apply_record(&mut self, record: &MetadataRecord) -> Result<(), ApplyError> {
        if self.is_empty() && !matches!(record, MetadataRecord::Cluster { .. }) {
            return Err(ApplyError::NoCluster);
        }
        match record {
            MetadataRecord::Snapshot => Err(ApplyError::SnapshotWithinSet),
            MetadataRecord::Cluster { format, cluster_id } => {
                if *format != FORMAT {
                    return Err(ApplyError::UnknownFormat(*format));
                }
                match self.cluster_id.replace(*cluster_id) {
                    Some(_) => Err(ApplyError::ClusterTwice),
                    None => Ok(()),
                }
            }
            MetadataRecord::NodeRegistered { node_id } => match self.node_id.replace(*node_id) {
                Some(registered) if registered != *node_id => Err(ApplyError::NodeDiffers { registered }),
                _ => Ok(()),
            },
            MetadataRecord::Topic { id, leader_epoch, name } => self.add_topic(*id, *leader_epoch, name),
            MetadataRecord::Partitions { topic, first, count } => self.add_partitions(*topic, *first, *count),
            MetadataRecord::TopicConfig { topic, key, value } => {
                let mut changed = Topic::clone(self.topics.by_id(*topic).ok_or(ApplyError::UnknownTopic)?);
                match value {
                    Some(value) => changed.configs.insert(Arc::clone(key), Arc::clone(value)),
                    None => changed.configs.remove(key),
                };
                Arc::make_mut(&mut self.topics).put(changed);
                Ok(())
            }
            MetadataRecord::RemoveTopic { topic } => {
                Arc::make_mut(&mut self.topics).remove(*topic).map(drop).ok_or(ApplyError::UnknownTopic)
            }
            MetadataRecord::ProducerIdBlock { next } => {
                if *next < self.next_producer_id() {
                    return Err(ApplyError::ProducerIds);
                }
                self.next_producer_id = Some(*next);
                Ok(())
            }
            MetadataRecord::BrokerConfig { node, key, value } => {
                self.set_broker_config(*node, key, value.as_ref());
                Ok(())
            }
        }
    }

    fn set_broker_config(&mut self, node: Option<NodeId>, key: &Arc<str>, value: Option<&Arc<str>>) {
        let all = Arc::make_mut(&mut self.broker_configs);
        let configs = all.entry(node).or_default();
        match value {
            Some(value) => configs.insert(Arc::clone(key), Arc::clone(value)),
            None => configs.remove(key),
        };
        if configs.is_empty() {
            all.remove(&node);
        }
    }

    fn add_topic(&mut self, id: TopicId, leader_epoch: LeaderEpoch, name: &Arc<str>) -> Result<(), ApplyError> {
        check_topic_name(name).map_err(|_| ApplyError::TopicName)?;
        if self.topic(name).is_some() || self.collides(name) {
            return Err(ApplyError::TopicExists);
        }
        if id.is_zero() || self.topic_by_id(id).is_some() {
            return Err(ApplyError::TopicId);
        }
        let topic = Topic { name: Arc::clone(name), id, partition_count: 0, leader_epoch, configs: Configs::new() };
        Arc::make_mut(&mut self.topics).put(topic);
        Ok(())
    }

    fn add_partitions(&mut self, topic: TopicId, first: u32, count: u32) -> Result<(), ApplyError> {
        let topic = self.topics.by_id(topic).ok_or(ApplyError::UnknownTopic)?;
        if first != topic.partition_count || count == 0 {
            return Err(ApplyError::PartitionGap);
        }
        if count > PARTITION_COUNT_MAX - self.partition_count() {
            return Err(ApplyError::TooManyPartitions);
        }
        let mut grown = Topic::clone(topic);
        grown.partition_count += count;
        Arc::make_mut(&mut self.topics).put(grown);
        Ok(())
    }

    /// The whole state as one record set, which replaces all that came before it in the log.
    pub fn to_records(&self) -> Vec<MetadataRecord> {
        let mut records = vec![MetadataRecord::Snapshot];
        if let Some(cluster_id) = self.cluster_id {
            records.push(MetadataRecord::Cluster { format: FORMAT, cluster_id });
        }
        records.extend(self.node_id.map(|node_id| MetadataRecord::NodeRegistered { node_id }));
        records.extend(self.next_producer_id.map(|next| MetadataRecord::ProducerIdBlock { next }));
        for (node, configs) in &*self.broker_configs {
            records.extend(configs.iter().map(|(key, value)| MetadataRecord::BrokerConfig {
                node: *node,
                key: Arc::clone(key),
                value: Some(Arc::clone(value)),
            }));
        }
        for topic in self.topics() {
            records.extend(topic.to_records());
        }
        records
    }
}

impl Topic {
    /// The records that make this topic.
    pub(crate) fn to_records(&self) -> impl Iterator<Item = MetadataRecord> + use<'_> {
        let beginning = [
            MetadataRecord::Topic { id: self.id, leader_epoch: self.leader_epoch, name: Arc::clone(&self.name) },
            MetadataRecord::Partitions { topic: self.id, first: 0, count: self.partition_count },
        ];
        let configs = self.configs.iter().map(|(key, value)| MetadataRecord::TopicConfig {
            topic: self.id,
            key: Arc::clone(key),
            value: Some(Arc::clone(value)),
        });
        beginning.into_iter().chain(configs)
    }
}

impl fmt::Display for ApplyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ApplyError::SnapshotWithinSet => write!(f, "a snapshot begins within a record set"),
            ApplyError::NoCluster => write!(f, "the log does not begin with the cluster's id"),
            ApplyError::ClusterTwice => write!(f, "the log names its cluster twice"),
            ApplyError::UnknownFormat(format) => {
                write!(f, "the metadata log has format {format}, this program reads {FORMAT}")
            }
            ApplyError::NodeDiffers { registered } => write!(f, "the log already belongs to node {}", registered.0),
            ApplyError::TopicName => write!(f, "a topic has a name that cannot be"),
            ApplyError::TopicExists => write!(f, "a topic is created that exists"),
            ApplyError::TopicId => write!(f, "a topic has an id that is in use or zero"),
            ApplyError::UnknownTopic => write!(f, "a record speaks of a topic that does not exist"),
            ApplyError::PartitionGap => write!(f, "partitions are added that do not follow those there are"),
            ApplyError::TooManyPartitions => write!(f, "there are more than {PARTITION_COUNT_MAX} partitions"),
            ApplyError::TopicWithoutPartitions => write!(f, "a topic has no partitions"),
            ApplyError::ProducerIds => write!(f, "the next producer id goes back"),
        }
    }
}

impl std::error::Error for ApplyError {}

/// The metadata log's generation that this program reads and writes.
pub(crate) const FORMAT: u16 = 1;

#[cfg(test)]
mod tests {
    use super::*;

    const TOPIC: Uuid = Uuid([7; 16]);

    fn topic(id: Uuid, name: &str) -> MetadataRecord {
        MetadataRecord::Topic { id, leader_epoch: LeaderEpoch(0), name: name.into() }
    }

    fn begun() -> Image {
        let cluster = MetadataRecord::Cluster { format: FORMAT, cluster_id: Uuid([1; 16]) };
        let node = MetadataRecord::NodeRegistered { node_id: NodeId(1) };
        let partitions = MetadataRecord::Partitions { topic: TOPIC, first: 0, count: 3 };
        Image::empty().apply(&[cluster, node, topic(TOPIC, "a.b"), partitions]).expect("a valid set")
    }

    #[test]
    fn a_topic_is_found_by_name_and_by_id_until_it_is_removed() {
        let image = begun();
        assert_eq!(image.topic("a.b").map(|topic| topic.partition_count), Some(3));
        assert_eq!(image.topic_by_id(TOPIC), image.topic("a.b"));
        let later = image.clone().apply(&[MetadataRecord::RemoveTopic { topic: TOPIC }]).expect("a valid set");
        assert_eq!(later.topic("a.b"), None);
        assert_eq!(later.topic_by_id(TOPIC), None);
        assert_eq!(later.partition_count(), 0);
        assert_eq!(image.partition_count(), 3, "the earlier image is as it was");
        assert!(!later.collides("a_b"));
    }

    #[test]
    fn transitions_that_cannot_be_are_errors() {
        let other = Uuid([8; 16]);
        let partitions = |topic, first, count| MetadataRecord::Partitions { topic, first, count };
        let cluster = |format| MetadataRecord::Cluster { format, cluster_id: Uuid([1; 16]) };
        for (set, expected) in [
            (vec![topic(other, "b"), MetadataRecord::Snapshot], ApplyError::SnapshotWithinSet),
            (vec![MetadataRecord::Snapshot, topic(other, "b")], ApplyError::NoCluster),
            (vec![cluster(FORMAT)], ApplyError::ClusterTwice),
            (vec![cluster(2)], ApplyError::UnknownFormat(2)),
            (
                vec![MetadataRecord::NodeRegistered { node_id: NodeId(2) }],
                ApplyError::NodeDiffers { registered: NodeId(1) },
            ),
            (vec![topic(other, "..")], ApplyError::TopicName),
            (vec![topic(other, "a_b")], ApplyError::TopicExists),
            (vec![topic(TOPIC, "b")], ApplyError::TopicId),
            (vec![topic(Uuid::ZERO, "b")], ApplyError::TopicId),
            (vec![topic(other, "b")], ApplyError::TopicWithoutPartitions),
            (vec![partitions(other, 0, 1)], ApplyError::UnknownTopic),
            (vec![partitions(TOPIC, 2, 1)], ApplyError::PartitionGap),
            (vec![partitions(TOPIC, 3, 0)], ApplyError::PartitionGap),
            (vec![partitions(TOPIC, 3, u32::MAX)], ApplyError::TooManyPartitions),
            (vec![MetadataRecord::RemoveTopic { topic: other }], ApplyError::UnknownTopic),
            (
                vec![
                    MetadataRecord::ProducerIdBlock { next: ProducerId(2000) },
                    MetadataRecord::ProducerIdBlock { next: ProducerId(1000) },
                ],
                ApplyError::ProducerIds,
            ),
        ] {
            assert_eq!(begun().apply(&set), Err(expected), "{set:?}");
        }
    }
}
