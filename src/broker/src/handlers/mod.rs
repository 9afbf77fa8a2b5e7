//! One file an API: what the request asks, as a pure function of the metadata image, the settings and the connection.
//!
//! Never touches a partition's data, a socket or a file. Requests that change metadata decide on the controller, which
//! lives on shard 0; their answers leave once every shard has taken the new image.

use std::net::SocketAddr;

use controller::Image;

use crate::config::BrokerConfig;

pub(crate) mod alter_configs;
pub(crate) mod alter_partition_reassignments;
pub(crate) mod api_versions;
pub(crate) mod create_partitions;
pub(crate) mod create_topics;
pub(crate) mod delete_topics;
pub(crate) mod describe_cluster;
pub(crate) mod describe_configs;
pub(crate) mod describe_quorum;
pub(crate) mod describe_topic_partitions;
pub(crate) mod elect_leaders;
pub(crate) mod find_coordinator;
pub(crate) mod init_producer_id;
pub(crate) mod list_config_resources;
pub(crate) mod list_partition_reassignments;
pub(crate) mod metadata;
#[cfg(test)]
mod testing;
pub(crate) mod unregister_broker;
pub(crate) mod update_features;

/// What an answer is made from.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    /// The metadata that this shard has taken.
    pub(crate) image: &'a Image,
    /// The broker's settings.
    pub(crate) config: &'a BrokerConfig,
    /// The address that the client used: what it is told to connect to, unless `advertised.listeners` is set.
    pub(crate) local: SocketAddr,
}

/// Whether the topic belongs to a coordinator.
pub(crate) fn is_internal(name: &str) -> bool {
    matches!(name, OFFSETS_TOPIC | "__transaction_state" | "__share_group_state")
}

/// Where groups write down what they know.
pub(crate) const OFFSETS_TOPIC: &str = "__consumer_offsets";
/// What can have settings, as Kafka numbers it.
mod config_resource {
    pub(crate) const TOPIC: i8 = 2;
    pub(crate) const BROKER: i8 = 4;
    pub(crate) const BROKER_LOGGER: i8 = 8;
    pub(crate) const CLIENT_METRICS: i8 = 16;
    pub(crate) const GROUP: i8 = 32;
}

/// A set of operations is a bit field; this one says that nobody asked for it.
const OPERATIONS_NOT_ASKED: i32 = i32::MIN;
/// Everything that can be done to a topic: read (3), write, create, delete, alter, describe (8), describe and alter
/// configs (10, 11).
const OPERATIONS_ON_TOPIC: i32 = 0b1101_1111_1000;
/// Everything that can be done to the cluster: create (5), alter (7), describe, cluster action, describe and alter
/// configs, idempotent write (12).
const OPERATIONS_ON_CLUSTER: i32 = 0b1_1111_1010_0000;

/// What a client hears when the metadata log cannot be written.
const STORAGE_FAILED: &str = "the metadata log cannot be written";
