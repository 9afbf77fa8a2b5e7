//! OffsetForLeaderEpoch at its connection: split by home, put together again.

use model::{ErrorCode, LeaderEpoch, Offset};
use wire::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderTopicResult,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::mail::{EpochEnd, EpochPart, Letter, Lookup};
use crate::request::Reply;
use crate::request::lookup::Asked;
use crate::request::split::{Split, SplitTopic};

/// A request on its way.
pub(crate) struct OffsetForLeaderEpochState {
    asked: Asked,
    pub(super) split: Split<EpochEnd>,
}

impl OffsetForLeaderEpochState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(super) fn start(
        request: &OffsetForLeaderEpochRequest<'_>,
        asked: Asked,
        context: &mut Context<'_>,
    ) -> (OffsetForLeaderEpochState, bool) {
        let mut split = Split::new();
        let mut letters: Vec<Vec<EpochPart>> = context.post.shards().map(|_| Vec::new()).collect();
        for topic in &request.topics {
            let known = context.topics.find(context.image, TopicRef::Name(&topic.topic));
            split.push_topic(&topic.topic, topic.partitions.len());
            for partition in &topic.partitions {
                let Some(at) = known.and_then(|known| known.partition(partition.partition)) else {
                    split.push_known(partition.partition, Err(ErrorCode::UnknownTopicOrPartition));
                    continue;
                };
                let index = split.push_asked(partition.partition, Ok(None));
                letters[context.topics.home(at).index()].push(EpochPart {
                    index,
                    at,
                    current_leader_epoch: LeaderEpoch::from_wire(partition.current_leader_epoch),
                    leader_epoch: LeaderEpoch::from_wire(partition.leader_epoch),
                });
            }
        }
        let letter = |parts| Letter::LookUp { request: asked.id, lookup: Lookup::EpochEnds(parts) };
        let waits = split.send(letters, context, letter);
        (OffsetForLeaderEpochState { asked, split }, waits)
    }

    pub(super) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition, result): &(i32, EpochEnd)| {
            let end = result.ok().flatten();
            EpochEndOffset {
                error_code: result.err().unwrap_or(ErrorCode::None).to_wire(),
                partition: *partition,
                leader_epoch: end.map_or(-1, |(epoch, _)| LeaderEpoch::to_wire(epoch)),
                end_offset: end.map_or(-1, |(_, offset)| Offset::to_wire(offset)),
            }
        };
        let topic = |topic: &SplitTopic<EpochEnd>| OffsetForLeaderTopicResult {
            topic: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let topics = self.split.topics().iter().map(topic).collect();
        let response = OffsetForLeaderEpochResponse { topics, ..Default::default() };
        let Asked { version, correlation_id, .. } = self.asked;
        let frame = response_frame(ApiKey::OffsetForLeaderEpoch, version, correlation_id, |writer| {
            response.encode(writer, version);
        });
        Reply::frame(&frame, context.memory)
    }
}
