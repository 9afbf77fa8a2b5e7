//! Writes a fetch response around record data that it never sees: the bytes that are ours in one buffer, and the places
//! where the caller's record data goes between them.
//! Invariants: the frame's length counts the record data; splices ascend; as many topics and partitions are written as
//! were announced, or `finish` panics. Records are never null: an empty answer has length 0.

use model::{ErrorCode, LeaderEpoch, NodeId, Offset};

use crate::fetch::{AbortedTransaction, NodeEndpoint};
use crate::fetch_view::FLEXIBLE_FROM;
use crate::frame::patch_frame_len;
use crate::{ApiKey, CurrentLeader, ResponseHeader, Tags, TopicRef, Writer};

/// Everything of a partition's answer but the records themselves.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchPartitionHead<'a> {
    /// As the request named it.
    pub partition: i32,
    /// The outcome.
    pub error_code: ErrorCode,
    /// `None` after an error.
    pub high_watermark: Option<Offset>,
    /// `None` if not known.
    pub last_stable_offset: Option<Offset>,
    /// From version 5.
    pub log_start_offset: Option<Offset>,
    /// Where the client's log leaves ours, from version 12.
    pub diverging_epoch: Option<DivergingEpoch>,
    /// Where to go instead, from version 12.
    pub current_leader: Option<CurrentLeader>,
    /// `Some` for a reader of committed records only, even if empty.
    pub aborted_transactions: Option<&'a [AbortedTransaction]>,
    /// Who to read from instead, from version 11.
    pub preferred_read_replica: Option<NodeId>,
    /// How many bytes of record data the caller puts here.
    pub records_bytes: usize,
}

/// The end of the last epoch that both logs have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DivergingEpoch {
    /// The epoch.
    pub epoch: LeaderEpoch,
    /// The offset after its last record.
    pub end_offset: Offset,
}

/// A place for record data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Splice {
    /// The data goes before this byte of the buffer.
    pub at: usize,
    /// How much of it there is; never 0.
    pub records_bytes: usize,
}

/// A whole response frame but for its record data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchResponse {
    /// The bytes that are ours, length first.
    pub bytes: Vec<u8>,
    /// One for each partition that has records, in the order in which they were written.
    pub splices: Vec<Splice>,
}

/// Builds a response.
#[derive(Debug)]
pub struct FetchResponseWriter {
    writer: Writer,
    version: i16,
    flexible: bool,
    topics_left: usize,
    partitions_left: usize,
    in_topic: bool,
    splices: Vec<Splice>,
}

impl FetchResponse {
    /// How long the frame is with its record data and its length.
    pub fn total_bytes(&self) -> usize {
        self.bytes.len() + self.splices.iter().map(|splice| splice.records_bytes).sum::<usize>()
    }
}

impl FetchResponseWriter {
    /// A response with `topic_count` topics; `error_code` and `session_id` are sent from version 7.
    pub fn new(
        version: i16,
        correlation_id: i32,
        throttle_time_ms: i32,
        error_code: ErrorCode,
        session_id: i32,
        topic_count: usize,
    ) -> FetchResponseWriter {
        assert!(ApiKey::Fetch.api().serves(version));
        let flexible = version >= FLEXIBLE_FROM;
        let mut writer = Writer::with_capacity(256);
        writer.i32(0);
        ResponseHeader { correlation_id }.encode(&mut writer, ApiKey::Fetch, version);
        writer.i32(throttle_time_ms);
        if version >= 7 {
            writer.i16(error_code.to_wire());
            writer.i32(session_id);
        }
        writer.array_count(flexible, Some(topic_count));
        FetchResponseWriter {
            writer,
            version,
            flexible,
            topics_left: topic_count,
            partitions_left: 0,
            in_topic: false,
            splices: Vec::new(),
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

    /// Writes a partition of the topic that was begun last, and notes where its records go.
    pub fn partition(&mut self, head: &FetchPartitionHead<'_>) {
        assert!(self.partitions_left > 0);
        self.partitions_left -= 1;
        let (writer, version, flexible) = (&mut self.writer, self.version, self.flexible);
        writer.i32(head.partition);
        writer.i16(head.error_code.to_wire());
        writer.i64(head.high_watermark.map_or(-1, Offset::to_wire));
        writer.i64(head.last_stable_offset.map_or(-1, Offset::to_wire));
        if version >= 5 {
            writer.i64(head.log_start_offset.map_or(-1, Offset::to_wire));
        }
        writer.nullable_array(flexible, head.aborted_transactions, |writer, each| each.encode(writer, version));
        if version >= 11 {
            writer.i32(head.preferred_read_replica.map_or(-1, |node| node.0));
        }
        writer.bytes_len(flexible, Some(head.records_bytes));
        if head.records_bytes > 0 {
            self.splices.push(Splice { at: writer.position(), records_bytes: head.records_bytes });
        }
        if flexible {
            writer.tags(&tags(head));
        }
    }

    /// The whole frame but for its record data. `endpoints` tells where the leaders named above are, from version 16.
    pub fn finish(mut self, endpoints: &[NodeEndpoint<'_>]) -> FetchResponse {
        self.end_topic();
        assert!(self.topics_left == 0);
        if self.flexible {
            let mut tags = Tags::default();
            if self.version >= 16 && !endpoints.is_empty() {
                tags.add(0, |writer| writer.array(true, endpoints, |writer, each| each.encode(writer, self.version)));
            }
            self.writer.tags(&tags);
        }
        let records_bytes = self.splices.iter().map(|splice| splice.records_bytes).sum();
        patch_frame_len(&mut self.writer, records_bytes);
        FetchResponse { bytes: self.writer.into_bytes(), splices: self.splices }
    }

    fn end_topic(&mut self) {
        assert!(self.partitions_left == 0);
        if self.in_topic && self.flexible {
            self.writer.no_tags();
        }
        self.in_topic = false;
    }
}

/// Empty, and without allocation, in the ordinary case.
fn tags(head: &FetchPartitionHead<'_>) -> Tags {
    let mut tags = Tags::default();
    if let Some(diverging) = head.diverging_epoch {
        tags.add(0, |writer| {
            writer.i32(diverging.epoch.to_wire());
            writer.i64(diverging.end_offset.to_wire());
            writer.no_tags();
        });
    }
    if let Some(leader) = head.current_leader {
        tags.add(1, |writer| leader.encode(writer));
    }
    tags
}

/// What an ordinary partition takes here without its records, rounded up: sizes the buffer, limits nothing.
const PARTITION_BYTES: usize = 72;
