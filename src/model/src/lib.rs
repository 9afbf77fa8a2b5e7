//! The words that every room shares: ids, offsets, times and Kafka's error codes.
//! Owns no behaviour beyond arithmetic and text forms. Never knows a request, a file or a socket.
#![forbid(unsafe_code)]

mod error_code;
mod ids;
mod position;

pub use error_code::ErrorCode;
pub use ids::{NodeId, ParseUuidError, ProducerEpoch, ProducerId, TopicId, TopicPartition, Uuid};
pub use position::{LeaderEpoch, Offset, Timestamp};
