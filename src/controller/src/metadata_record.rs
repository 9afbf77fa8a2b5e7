//! What one entry of the metadata log says, and its bytes.
//!
//! A payload is one byte of type, one byte of version, then the fields of that type; integers are big-endian, a
//! text is a `u16` length and that many bytes of UTF-8, an id is 16 bytes. Nothing follows the last field.
//!
//! | type | record | version 0 |
//! |---:|---|---|
//! | 1 | `Snapshot` | nothing: the set that begins with it replaces everything before it |
//! | 2 | `Cluster` | format `u16`, cluster id |
//! | 3 | `NodeRegistered` | node id `i32` |
//! | 4 | `Topic` | topic id, leader epoch `u32`, name |
//! | 5 | `Partitions` | topic id, first partition `u32`, count `u32` |
//! | 6 | `TopicConfig` | topic id, key, `0` (deleted) or `1` and the value |
//! | 7 | `RemoveTopic` | topic id |
//! | 8 | `ProducerIdBlock` | first id of the next block, `i64` |
//! | 9 | `BrokerConfig` | `0` (all brokers) or `1` and the node id `i32`, key, `0` (deleted) or `1` and the value |
//!
//! A type or version that is not in the table is a named error: the log was written by a newer program, and
//! guessing at metadata would lose it.

use std::fmt;
use std::sync::Arc;

use model::{LeaderEpoch, NodeId, ProducerId, TopicId, Uuid};

use crate::bytes::{Reader, put_optional_text, put_text};

/// One entry of the metadata log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum MetadataRecord {
    /// The set that begins with this holds the whole state.
    Snapshot,
    /// The first record of any log.
    Cluster {
        /// Generation of what the log means as a whole, as against one record's version.
        format: u16,
        /// Made once, at the first start.
        cluster_id: Uuid,
    },
    /// This broker joined.
    NodeRegistered {
        /// Its `node.id`.
        node_id: NodeId,
    },
    /// A topic came into being; its partitions follow in the same set.
    Topic {
        /// Its identity.
        id: TopicId,
        /// Of all its partitions.
        leader_epoch: LeaderEpoch,
        /// Unique among living topics.
        name: Arc<str>,
    },
    /// A topic got partitions `first .. first + count`.
    Partitions {
        /// The topic.
        topic: TopicId,
        /// Its count of partitions until now.
        first: u32,
        /// How many came.
        count: u32,
    },
    /// A topic's own value of a setting was set or deleted.
    TopicConfig {
        /// The topic.
        topic: TopicId,
        /// The setting's name.
        key: Arc<str>,
        /// `None`: the broker's value holds again.
        value: Option<Arc<str>>,
    },
    /// A topic and all that belongs to it is gone.
    RemoveTopic {
        /// The topic.
        topic: TopicId,
    },
    /// All producer ids below this one may have been handed out.
    ProducerIdBlock {
        /// First id of the next block.
        next: ProducerId,
    },
    /// A broker setting's dynamic value was set or deleted.
    BrokerConfig {
        /// Whose value it is; `None`: every broker's that has none of its own.
        node: Option<NodeId>,
        /// The setting's name.
        key: Arc<str>,
        /// `None`: what the broker was started with holds again.
        value: Option<Arc<str>>,
    },
}

/// Why bytes are no metadata record of this program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum DecodeError {
    /// A record type of a newer program.
    UnknownType(u8),
    /// A known type in a version of a newer program.
    UnknownVersion {
        /// The type.
        kind: u8,
        /// Its version.
        version: u8,
    },
    /// A field, or the length that it states, goes beyond the record.
    Truncated,
    /// Bytes follow the last field.
    TrailingBytes,
    /// A text is not UTF-8.
    NotUtf8,
    /// A flag is neither 0 nor 1, or an id is negative.
    OutOfRange,
}

impl MetadataRecord {
    /// The record's bytes: the value of one record in the set's batch.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![self.kind(), VERSION];
        match self {
            MetadataRecord::Snapshot => {}
            MetadataRecord::Cluster { format, cluster_id } => {
                out.extend_from_slice(&format.to_be_bytes());
                out.extend_from_slice(&cluster_id.0);
            }
            MetadataRecord::NodeRegistered { node_id } => out.extend_from_slice(&node_id.0.to_be_bytes()),
            MetadataRecord::Topic { id, leader_epoch, name } => {
                out.extend_from_slice(&id.0);
                out.extend_from_slice(&leader_epoch.0.to_be_bytes());
                put_text(&mut out, name);
            }
            MetadataRecord::Partitions { topic, first, count } => {
                out.extend_from_slice(&topic.0);
                out.extend_from_slice(&first.to_be_bytes());
                out.extend_from_slice(&count.to_be_bytes());
            }
            MetadataRecord::TopicConfig { topic, key, value } => {
                out.extend_from_slice(&topic.0);
                put_text(&mut out, key);
                put_optional_text(&mut out, value.as_deref());
            }
            MetadataRecord::RemoveTopic { topic } => out.extend_from_slice(&topic.0),
            MetadataRecord::ProducerIdBlock { next } => out.extend_from_slice(&next.0.to_be_bytes()),
            MetadataRecord::BrokerConfig { node, key, value } => {
                out.push(u8::from(node.is_some()));
                if let Some(node) = node {
                    out.extend_from_slice(&node.0.to_be_bytes());
                }
                put_text(&mut out, key);
                put_optional_text(&mut out, value.as_deref());
            }
        }
        out
    }

    /// Reads one record; the whole of `bytes` must be it.
    pub fn decode(bytes: &[u8]) -> Result<MetadataRecord, DecodeError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u8()?;
        let version = reader.u8()?;
        if !(SNAPSHOT..=BROKER_CONFIG).contains(&kind) {
            return Err(DecodeError::UnknownType(kind));
        }
        if version != VERSION {
            return Err(DecodeError::UnknownVersion { kind, version });
        }
        let record = MetadataRecord::decode_fields(kind, &mut reader)?;
        reader.end()?;
        Ok(record)
    }

    fn decode_fields(kind: u8, reader: &mut Reader<'_>) -> Result<MetadataRecord, DecodeError> {
        Ok(match kind {
            SNAPSHOT => MetadataRecord::Snapshot,
            CLUSTER => MetadataRecord::Cluster { format: reader.u16()?, cluster_id: reader.uuid()? },
            NODE_REGISTERED => MetadataRecord::NodeRegistered { node_id: NodeId(not_negative(reader.i32()?)?) },
            TOPIC => MetadataRecord::Topic {
                id: reader.uuid()?,
                leader_epoch: LeaderEpoch(reader.u32()?),
                name: reader.text()?,
            },
            PARTITIONS => {
                MetadataRecord::Partitions { topic: reader.uuid()?, first: reader.u32()?, count: reader.u32()? }
            }
            TOPIC_CONFIG => MetadataRecord::TopicConfig {
                topic: reader.uuid()?,
                key: reader.text()?,
                value: reader.flag()?.then(|| reader.text()).transpose()?,
            },
            REMOVE_TOPIC => MetadataRecord::RemoveTopic { topic: reader.uuid()? },
            PRODUCER_ID_BLOCK => MetadataRecord::ProducerIdBlock { next: ProducerId(not_negative(reader.i64()?)?) },
            BROKER_CONFIG => MetadataRecord::BrokerConfig {
                node: reader.flag()?.then(|| reader.i32().and_then(not_negative)).transpose()?.map(NodeId),
                key: reader.text()?,
                value: reader.flag()?.then(|| reader.text()).transpose()?,
            },
            kind => return Err(DecodeError::UnknownType(kind)),
        })
    }

    fn kind(&self) -> u8 {
        match self {
            MetadataRecord::Snapshot => SNAPSHOT,
            MetadataRecord::Cluster { .. } => CLUSTER,
            MetadataRecord::NodeRegistered { .. } => NODE_REGISTERED,
            MetadataRecord::Topic { .. } => TOPIC,
            MetadataRecord::Partitions { .. } => PARTITIONS,
            MetadataRecord::TopicConfig { .. } => TOPIC_CONFIG,
            MetadataRecord::RemoveTopic { .. } => REMOVE_TOPIC,
            MetadataRecord::ProducerIdBlock { .. } => PRODUCER_ID_BLOCK,
            MetadataRecord::BrokerConfig { .. } => BROKER_CONFIG,
        }
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DecodeError::UnknownType(kind) => write!(f, "record type {kind} is of a newer version of this program"),
            DecodeError::UnknownVersion { kind, version } => {
                write!(f, "version {version} of record type {kind} is of a newer version of this program")
            }
            DecodeError::Truncated => write!(f, "a metadata record ends within a field"),
            DecodeError::TrailingBytes => write!(f, "bytes follow the last field of a metadata record"),
            DecodeError::NotUtf8 => write!(f, "a text in a metadata record is not UTF-8"),
            DecodeError::OutOfRange => write!(f, "a field of a metadata record is out of range"),
        }
    }
}

impl std::error::Error for DecodeError {}

fn not_negative<N: Default + PartialOrd>(value: N) -> Result<N, DecodeError> {
    if value < N::default() { Err(DecodeError::OutOfRange) } else { Ok(value) }
}

const VERSION: u8 = 0;

const SNAPSHOT: u8 = 1;
const CLUSTER: u8 = 2;
const NODE_REGISTERED: u8 = 3;
const TOPIC: u8 = 4;
const PARTITIONS: u8 = 5;
const TOPIC_CONFIG: u8 = 6;
const REMOVE_TOPIC: u8 = 7;
const PRODUCER_ID_BLOCK: u8 = 8;
const BROKER_CONFIG: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn one_of_each() -> Vec<MetadataRecord> {
        let topic = Uuid([7; 16]);
        vec![
            MetadataRecord::Snapshot,
            MetadataRecord::Cluster { format: 1, cluster_id: Uuid([1; 16]) },
            MetadataRecord::NodeRegistered { node_id: NodeId(3) },
            MetadataRecord::Topic { id: topic, leader_epoch: LeaderEpoch(4), name: "measurements".into() },
            MetadataRecord::Partitions { topic, first: 2, count: 5000 },
            MetadataRecord::TopicConfig { topic, key: "segment.bytes".into(), value: Some("1048576".into()) },
            MetadataRecord::TopicConfig { topic, key: "segment.bytes".into(), value: None },
            MetadataRecord::RemoveTopic { topic },
            MetadataRecord::ProducerIdBlock { next: ProducerId(1000) },
            MetadataRecord::BrokerConfig { node: None, key: "log.retention.ms".into(), value: Some("1".into()) },
            MetadataRecord::BrokerConfig { node: Some(NodeId(3)), key: "log.retention.ms".into(), value: None },
        ]
    }

    #[test]
    fn every_record_reads_back_as_written() {
        for record in one_of_each() {
            assert_eq!(MetadataRecord::decode(&record.encode()), Ok(record));
        }
    }

    #[test]
    fn five_thousand_partitions_are_one_small_record() {
        let record = MetadataRecord::Partitions { topic: Uuid([7; 16]), first: 0, count: 5000 };
        assert_eq!(record.encode(), [&[5, 0][..], &[7; 16], &[0, 0, 0, 0], &[0, 0, 0x13, 0x88]].concat());
    }

    #[test]
    fn no_prefix_and_no_longer_form_is_taken_for_a_record() {
        for record in one_of_each() {
            let mut bytes = record.encode();
            for length in 0..bytes.len() {
                assert_eq!(MetadataRecord::decode(&bytes[..length]), Err(DecodeError::Truncated), "{record:?}");
            }
            bytes.push(0);
            assert_eq!(MetadataRecord::decode(&bytes), Err(DecodeError::TrailingBytes));
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_named_not_guessed() {
        assert_eq!(MetadataRecord::decode(&[0, 0]), Err(DecodeError::UnknownType(0)));
        assert_eq!(MetadataRecord::decode(&[10, 0]), Err(DecodeError::UnknownType(10)));
        assert_eq!(MetadataRecord::decode(&[4, 1]), Err(DecodeError::UnknownVersion { kind: 4, version: 1 }));
        assert_eq!(MetadataRecord::decode(&[3, 0, 0xff, 0, 0, 0]), Err(DecodeError::OutOfRange));
        assert_eq!(MetadataRecord::decode(&[9, 0, 2]), Err(DecodeError::OutOfRange));
        assert_eq!(MetadataRecord::decode(&[9, 0, 1, 0xff, 0, 0, 0]), Err(DecodeError::OutOfRange));
    }

    #[test]
    fn mutated_bytes_never_panic() {
        for record in one_of_each() {
            let bytes = record.encode();
            for at in 0..bytes.len() {
                for value in 0..=u8::MAX {
                    let mut mutated = bytes.clone();
                    mutated[at] = value;
                    let _ = MetadataRecord::decode(&mutated);
                }
            }
        }
    }
}
