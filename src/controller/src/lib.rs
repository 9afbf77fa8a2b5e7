//! The cluster's metadata as a state machine: requests in, records and an answer out; records in, an image out.
//!
//! Owns what a topic, a partition count, a topic's or a broker's changed setting and a producer-id block are, the rules by which they
//! change, and the byte form of the records that say so. Never reads a file, a socket, a clock or a source of
//! randomness (entropy is an argument), never knows where a partition's data lies or which version a client speaks.
//!
//! Invariants:
//! - an image is replaced, never changed: whoever holds one sees one moment of the metadata;
//! - the records of one decision are one record set, written as one batch: all of them or none;
//! - decisions are made on the pending image, answers hold once the set that they name is durable;
//! - an image replayed from the log equals the image that the live controller had.
#![forbid(unsafe_code)]

mod alter_configs;
mod bytes;
mod controller;
mod create_topics;
mod image;
mod name;
mod partitions;
mod producer_ids;
mod refusal;
mod remove_topics;
mod replay;
mod topic_set;

/// The records of the metadata log and their byte form.
pub mod metadata_record;

pub use alter_configs::{ConfigResource, NewConfigs};
pub use controller::{Controller, Decided, RecordSet, SetId, StartError};
pub use create_topics::{Assignment, AutoTopic, CreateTopics, NewTopic};
pub use image::{ApplyError, Configs, Image, Topic};
pub use metadata_record::{DecodeError, MetadataRecord};
pub use name::{METADATA_TOPIC, check_topic_name};
pub use partitions::{CreatePartitions, NewPartitions};
pub use producer_ids::{PRODUCER_ID_BLOCK_COUNT, ProducerIdBlock};
pub use refusal::Refusal;
pub use remove_topics::TopicReference;
pub use replay::{ReplayError, replay_set};
pub use topic_set::PARTITION_COUNT_MAX;
