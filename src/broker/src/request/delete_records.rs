//! DeleteRecords at its connection: split by home, put together again.

use effect::Instant;
use model::{ErrorCode, Offset};
use wire::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::handlers::is_internal;
use crate::mail::{DeletePart, DeleteRecords, DeleteResult, Letter, RequestRef};
use crate::request::Reply;

/// A request on its way.
pub(crate) struct DeleteRecordsState {
    version: i16,
    correlation_id: i32,
    topics: Vec<Topic>,
    /// Where each part of the letters belongs: topic and partition of `topics`.
    places: Vec<(usize, usize)>,
    awaiting: usize,
    /// What is not durable by then counts as timed out.
    pub(crate) deadline: Instant,
}

/// A topic as the response repeats it: each partition's index with its result.
struct Topic {
    name: Box<str>,
    results: Vec<(i32, DeleteResult)>,
}

impl DeleteRecordsState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(crate) fn start(
        request: &DeleteRecordsRequest<'_>,
        version: i16,
        correlation_id: i32,
        id: RequestRef,
        context: &mut Context<'_>,
    ) -> (DeleteRecordsState, bool) {
        let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or(0).max(TIMEOUT_MS_MIN);
        let deadline = context.now.plus_ms(timeout_ms);
        let (topics, places) = (Vec::with_capacity(request.topics.len()), Vec::new());
        let mut state = DeleteRecordsState { version, correlation_id, topics, places, awaiting: 0, deadline };
        let mut letters: Vec<Vec<DeletePart>> = context.post.shards().map(|_| Vec::new()).collect();
        for (topic_at, topic) in request.topics.iter().enumerate() {
            let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
            let mut results = Vec::with_capacity(topic.partitions.len());
            for (partition_at, partition) in topic.partitions.iter().enumerate() {
                let at = known.and_then(|known| known.partition(partition.partition_index));
                let error = match (at, before(partition.offset)) {
                    (None, _) => ErrorCode::UnknownTopicOrPartition,
                    (Some(_), _) if is_internal(&topic.name) => ErrorCode::InvalidTopicException,
                    (Some(_), Err(error)) => error,
                    (Some(at), Ok(before)) => {
                        let index = u32::try_from(state.places.len()).expect("a request has fewer than 2^32 parts");
                        state.places.push((topic_at, partition_at));
                        letters[context.topics.home(at).index()].push(DeletePart { index, at, before });
                        // Until its home says otherwise.
                        ErrorCode::RequestTimedOut
                    }
                };
                results.push((partition.partition_index, Err(error)));
            }
            state.topics.push(Topic { name: topic.name.as_ref().into(), results });
        }
        for (shard, parts) in context.post.shards().zip(letters) {
            if !parts.is_empty() {
                state.awaiting += 1;
                context.post.send(shard, Letter::DeleteRecords(DeleteRecords { request: id, parts }));
            }
        }
        let waits = state.awaiting > 0;
        (state, waits)
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, results: Vec<(u32, DeleteResult)>) -> bool {
        for (index, result) in results {
            let (topic, partition) = self.places[index as usize];
            self.topics[topic].results[partition].1 = result;
        }
        self.awaiting -= 1;
        self.awaiting == 0
    }

    /// The answer as far as it is known.
    pub(crate) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition_index, result): &(i32, DeleteResult)| DeleteRecordsPartitionResult {
            partition_index: *partition_index,
            low_watermark: result.map_or(-1, Offset::to_wire),
            error_code: result.err().unwrap_or(ErrorCode::None).to_wire(),
        };
        let topic = |topic: &Topic| DeleteRecordsTopicResult {
            name: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let response = DeleteRecordsResponse { topics: self.topics.iter().map(topic).collect(), ..Default::default() };
        let frame = response_frame(ApiKey::DeleteRecords, self.version, self.correlation_id, |writer| {
            response.encode(writer, self.version);
        });
        Reply::frame(&frame, context.memory)
    }
}

/// The first offset that stays: -1 is the high watermark.
fn before(offset: i64) -> Result<Option<Offset>, ErrorCode> {
    match offset {
        -1 => Ok(None),
        offset => Offset::from_wire(offset).map(Some).ok_or(ErrorCode::OffsetOutOfRange),
    }
}

/// The timeout is about slow replicas: a client that does not want to wait for those waits for the disk all the same.
const TIMEOUT_MS_MIN: u64 = 100;
