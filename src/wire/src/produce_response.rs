//! Writes a produce response as a stream: topics and partitions in the order of the request, no structs between.
//! Invariant: as many topics and partitions are written as were announced, or `finish` panics.

use std::borrow::Cow;

use model::{ErrorCode, Offset, Timestamp};

use crate::frame::patch_frame_len;
use crate::produce::NodeEndpoint;
use crate::produce_view::FLEXIBLE_FROM;
use crate::{ApiKey, CurrentLeader, ResponseHeader, Tags, TopicRef, Writer};

/// What became of one partition's records.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePartitionResponse<'a> {
    /// As the request named it.
    pub index: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// The offset of the first record; `None` after an error.
    pub base_offset: Option<Offset>,
    /// Set where the topic stamps records itself.
    pub log_append_time_ms: Option<Timestamp>,
    /// From version 5.
    pub log_start_offset: Option<Offset>,
    /// Which records were refused, from version 8.
    pub record_errors: &'a [RecordError<'a>],
    /// What was wrong with the batch, from version 8.
    pub error_message: Option<&'a str>,
    /// Where to go instead, from version 10.
    pub current_leader: Option<CurrentLeader>,
}

/// A record that made its batch be refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RecordError<'a> {
    /// The record's place in its batch, from 0.
    pub batch_index: i32,
    /// What was wrong with it.
    pub message: Option<Cow<'a, str>>,
}

/// Builds the whole frame of a response.
#[derive(Debug)]
pub struct ProduceResponseWriter {
    writer: Writer,
    version: i16,
    flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
}

impl ProduceResponseWriter {
    /// A response with `topic_count` topics.
    pub fn new(version: i16, correlation_id: i32, topic_count: usize) -> ProduceResponseWriter {
        assert!(ApiKey::Produce.api().serves(version));
        let flexible = version >= FLEXIBLE_FROM;
        let mut writer = Writer::with_capacity(128);
        writer.i32(0);
        ResponseHeader { correlation_id }.encode(&mut writer, ApiKey::Produce, version);
        writer.array_count(flexible, Some(topic_count));
        ProduceResponseWriter {
            writer,
            version,
            flexible,
            topics_left: topic_count,
            partitions_left: 0,
            in_topic: false,
        }
    }

    /// Begins a topic, named as the request named it.
    pub fn topic(&mut self, topic: TopicRef<'_>, partition_count: usize) {
        assert!(self.topics_left > 0);
        self.end_topic();
        self.topics_left -= 1;
        self.partitions_left = partition_count;
        self.in_topic = true;
        self.writer.reserve(partition_count.saturating_mul(PARTITION_BYTES));
        topic.encode(&mut self.writer, self.version, self.flexible);
        self.writer.array_count(self.flexible, Some(partition_count));
    }

    /// Writes a partition of the topic that was begun last.
    pub fn partition(&mut self, partition: &ProducePartitionResponse<'_>) {
        assert!(self.partitions_left > 0);
        self.partitions_left -= 1;
        let (writer, flexible) = (&mut self.writer, self.flexible);
        writer.i32(partition.index);
        writer.i16(partition.error_code.to_wire());
        writer.i64(partition.base_offset.map_or(-1, Offset::to_wire));
        writer.i64(partition.log_append_time_ms.unwrap_or(Timestamp::NONE).0);
        if self.version >= 5 {
            writer.i64(partition.log_start_offset.map_or(-1, Offset::to_wire));
        }
        if self.version >= 8 {
            writer.array(flexible, partition.record_errors, |writer, error| {
                writer.i32(error.batch_index);
                writer.nullable_string(flexible, error.message.as_deref());
                if flexible {
                    writer.no_tags();
                }
            });
            writer.nullable_string(flexible, partition.error_message);
        }
        match partition.current_leader {
            Some(leader) if self.version >= 10 => {
                let mut tags = Tags::default();
                tags.add(0, |writer| leader.encode(writer));
                writer.tags(&tags);
            }
            _ if flexible => writer.no_tags(),
            _ => {}
        }
    }

    /// The whole frame, length included. `endpoints` tells where the leaders named above are, from version 10.
    pub fn finish(mut self, throttle_time_ms: i32, endpoints: &[NodeEndpoint<'_>]) -> Vec<u8> {
        self.end_topic();
        assert!(self.topics_left == 0);
        let writer = &mut self.writer;
        writer.i32(throttle_time_ms);
        if self.flexible {
            let mut tags = Tags::default();
            if self.version >= 10 && !endpoints.is_empty() {
                tags.add(0, |writer| writer.array(true, endpoints, |writer, each| each.encode(writer, self.version)));
            }
            writer.tags(&tags);
        }
        patch_frame_len(writer, 0);
        self.writer.into_bytes()
    }

    fn end_topic(&mut self) {
        assert!(self.partitions_left == 0);
        if self.in_topic && self.flexible {
            self.writer.no_tags();
        }
        self.in_topic = false;
    }
}

/// What an ordinary partition takes here without its records, rounded up: sizes the buffer, limits nothing.
const PARTITION_BYTES: usize = 48;
