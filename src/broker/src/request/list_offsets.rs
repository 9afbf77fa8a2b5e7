//! ListOffsets at its connection: split by home, put together again.

use model::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use wire::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::mail::{Letter, ListOffsets, OffsetPart, OffsetResult, RequestRef, WantedOffset};
use crate::request::Reply;
use crate::request::split::{Split, SplitTopic};

/// A request on its way.
pub(crate) struct ListOffsetsState {
    version: i16,
    correlation_id: i32,
    split: Split<OffsetResult>,
}

impl ListOffsetsState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(crate) fn start(
        request: &ListOffsetsRequest<'_>,
        version: i16,
        correlation_id: i32,
        id: RequestRef,
        context: &mut Context<'_>,
    ) -> (ListOffsetsState, bool) {
        let mut split = Split::new();
        let mut letters: Vec<Vec<OffsetPart>> = context.post.shards().map(|_| Vec::new()).collect();
        for topic in &request.topics {
            let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
            split.push_topic(&topic.name, topic.partitions.len());
            for partition in &topic.partitions {
                let at = known.and_then(|known| known.partition(partition.partition_index));
                let error = match (wanted(partition.timestamp, version), at) {
                    (Err(error), _) => error,
                    (Ok(_), None) => ErrorCode::UnknownTopicOrPartition,
                    (Ok(wanted), Some(at)) => {
                        let unknown = OffsetResult::error(ErrorCode::None);
                        let index = split.push_asked(partition.partition_index, unknown);
                        let leader_epoch = LeaderEpoch::from_wire(claimed_epoch(partition, version));
                        let home = context.topics.home(at);
                        letters[home.index()].push(OffsetPart { index, at, wanted, leader_epoch });
                        continue;
                    }
                };
                split.push_known(partition.partition_index, OffsetResult::error(error));
            }
        }
        let letter = |parts| Letter::ListOffsets(ListOffsets { request: id, parts, results: Vec::new() });
        let waits = split.send(letters, context, letter);
        (ListOffsetsState { version, correlation_id, split }, waits)
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, results: Vec<(u32, OffsetResult)>) -> bool {
        self.split.answered(results)
    }

    pub(crate) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition_index, result): &(i32, OffsetResult)| ListOffsetsPartitionResponse {
            partition_index: *partition_index,
            error_code: result.error.to_wire(),
            timestamp: result.timestamp.unwrap_or(Timestamp::NONE).0,
            offset: result.offset.map_or(-1, Offset::to_wire),
            leader_epoch: result.leader_epoch.map_or(-1, LeaderEpoch::to_wire),
        };
        let topic = |topic: &SplitTopic<OffsetResult>| ListOffsetsTopicResponse {
            name: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let response =
            ListOffsetsResponse { topics: self.split.topics().iter().map(topic).collect(), ..Default::default() };
        let frame = response_frame(ApiKey::ListOffsets, self.version, self.correlation_id, |writer| {
            response.encode(writer, self.version);
        });
        Reply::frame(&frame, context.memory)
    }
}

/// What a timestamp asks for; the special ones came with later versions (KIP-734, KIP-405, KIP-1005, KIP-1023).
fn wanted(timestamp: i64, version: i16) -> Result<WantedOffset, ErrorCode> {
    match timestamp {
        -1 => Ok(WantedOffset::Latest),
        -2 => Ok(WantedOffset::Earliest),
        -3 if version >= 7 => Ok(WantedOffset::MaxTimestamp),
        -4 if version >= 8 => Ok(WantedOffset::Earliest),
        -5 if version >= 9 => Ok(WantedOffset::Tiered),
        -6 if version >= 11 => Ok(WantedOffset::Tiered),
        time if time >= 0 => Ok(WantedOffset::Time(Timestamp(time))),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn claimed_epoch(partition: &ListOffsetsPartition, version: i16) -> i32 {
    if version >= 4 { partition.current_leader_epoch } else { -1 }
}
