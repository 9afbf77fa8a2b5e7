//! Why a request item was refused, with Kafka's code for it and a line for the client.

use std::fmt;

use model::ErrorCode;

use crate::topic_set::{CONFIG_COUNT_MAX, PARTITION_COUNT_MAX, PARTITIONS_PER_REQUEST_MAX};

/// Why an item of a request was refused. Its text is meant for the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum Refusal {
    NameEmpty,
    NameOnlyDots,
    NameTooLong,
    NameCharacter,
    /// Folds to the same metric name as a topic that exists.
    NameCollides,
    /// The metadata log's own topic.
    NameReserved,
    /// The request says it twice.
    TopicRepeated,
    TopicExists,
    UnknownTopic,
    UnknownTopicId,
    PartitionCountNotPositive,
    /// Its keys are found by the number of its partitions.
    PartitionCountFixed,
    /// The count to grow to is not above what there is.
    PartitionCountNotGrowing {
        current: u32,
    },
    TooManyPartitionsInRequest,
    TooManyPartitions,
    /// Its records would not fit one record set.
    RequestTooLarge,
    ReplicationFactorNotPositive,
    ReplicationFactorTooLarge,
    /// Counts and an explicit assignment exclude each other.
    AssignmentWithCounts,
    /// The assigned partitions are not 0, 1, 2 ...
    AssignmentNotDense,
    /// A partition is assigned to other than exactly this node.
    AssignmentReplicas,
    /// Not one assignment for each new partition.
    AssignmentCount {
        expected: u32,
    },
    /// The setting's own checks said no; who made them has the reason.
    InvalidConfig,
    TooManyConfigs,
    ProducerIdsExhausted,
}

impl Refusal {
    /// Kafka's code for it.
    pub fn code(self) -> ErrorCode {
        match self {
            Refusal::NameEmpty
            | Refusal::NameOnlyDots
            | Refusal::NameTooLong
            | Refusal::NameCharacter
            | Refusal::NameCollides => ErrorCode::InvalidTopicException,
            Refusal::NameReserved | Refusal::TopicRepeated | Refusal::AssignmentWithCounts => ErrorCode::InvalidRequest,
            Refusal::TopicExists => ErrorCode::TopicAlreadyExists,
            Refusal::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            Refusal::UnknownTopicId => ErrorCode::UnknownTopicId,
            Refusal::PartitionCountNotPositive
            | Refusal::PartitionCountFixed
            | Refusal::PartitionCountNotGrowing { .. } => ErrorCode::InvalidPartitions,
            Refusal::TooManyPartitionsInRequest
            | Refusal::TooManyPartitions
            | Refusal::RequestTooLarge
            | Refusal::TooManyConfigs => ErrorCode::PolicyViolation,
            Refusal::ReplicationFactorNotPositive | Refusal::ReplicationFactorTooLarge => {
                ErrorCode::InvalidReplicationFactor
            }
            Refusal::AssignmentNotDense | Refusal::AssignmentReplicas | Refusal::AssignmentCount { .. } => {
                ErrorCode::InvalidReplicaAssignment
            }
            Refusal::InvalidConfig => ErrorCode::InvalidConfig,
            Refusal::ProducerIdsExhausted => ErrorCode::UnknownServerError,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NameEmpty => write!(f, "a topic name cannot be empty"),
            Refusal::NameOnlyDots => write!(f, "'.' and '..' are not topic names"),
            Refusal::NameTooLong => write!(f, "a topic name has at most 249 characters"),
            Refusal::NameCharacter => write!(f, "a topic name has only ASCII letters, digits, '.', '_' and '-'"),
            Refusal::NameCollides => write!(f, "a topic exists whose name differs only in '.' and '_'"),
            Refusal::NameReserved => write!(f, "the name belongs to the broker's metadata log"),
            Refusal::TopicRepeated => write!(f, "the request names this topic more than once"),
            Refusal::TopicExists => write!(f, "the topic exists already"),
            Refusal::UnknownTopic => write!(f, "there is no topic of this name"),
            Refusal::UnknownTopicId => write!(f, "there is no topic of this id"),
            Refusal::PartitionCountNotPositive => {
                write!(f, "the number of partitions is positive, or -1 for the default")
            }
            Refusal::PartitionCountFixed => {
                write!(f, "what is in the topic is found by the number of its partitions, which cannot change")
            }
            Refusal::PartitionCountNotGrowing { current } => {
                write!(f, "the topic has {current} partitions; their number can only grow")
            }
            Refusal::TooManyPartitionsInRequest => {
                write!(f, "one request makes at most {PARTITIONS_PER_REQUEST_MAX} partitions")
            }
            Refusal::TooManyPartitions => write!(f, "the broker has at most {PARTITION_COUNT_MAX} partitions"),
            Refusal::RequestTooLarge => write!(f, "the request is too large; split it"),
            Refusal::ReplicationFactorNotPositive => {
                write!(f, "the replication factor is positive, or -1 for the default")
            }
            Refusal::ReplicationFactorTooLarge => {
                write!(f, "the replication factor is larger than the number of brokers, which is 1")
            }
            Refusal::AssignmentWithCounts => {
                write!(f, "with an explicit assignment, number of partitions and replication factor must be -1")
            }
            Refusal::AssignmentNotDense => {
                write!(f, "an explicit assignment names each partition once, from 0 without gaps")
            }
            Refusal::AssignmentReplicas => {
                write!(f, "each partition must be assigned to this broker, once, and to no other")
            }
            Refusal::AssignmentCount { expected } => {
                write!(f, "the request adds {expected} partitions and must assign as many")
            }
            Refusal::InvalidConfig => write!(f, "a setting is not valid"),
            Refusal::TooManyConfigs => {
                write!(f, "a topic or a broker has at most {CONFIG_COUNT_MAX} settings of its own")
            }
            Refusal::ProducerIdsExhausted => write!(f, "there are no producer ids left"),
        }
    }
}
