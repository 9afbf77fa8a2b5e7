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
use crate::request::split::{Split, SplitTopic};

/// A request on its way.
pub(crate) struct DeleteRecordsState {
    version: i16,
    correlation_id: i32,
    split: Split<DeleteResult>,
    /// What is not durable by then counts as timed out.
    pub(crate) deadline: Instant,
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
        let mut split = Split::new();
        let mut letters: Vec<Vec<DeletePart>> = context.post.shards().map(|_| Vec::new()).collect();
        for topic in &request.topics {
            let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
            split.push_topic(&topic.name, topic.partitions.len());
            for partition in &topic.partitions {
                let at = known.and_then(|known| known.partition(partition.partition_index));
                let error = match (at, before(partition.offset)) {
                    (None, _) => ErrorCode::UnknownTopicOrPartition,
                    (Some(_), _) if is_internal(&topic.name) => ErrorCode::InvalidTopicException,
                    (Some(_), Err(error)) => error,
                    (Some(at), Ok(before)) => {
                        let index = split.push_asked(partition.partition_index, Err(ErrorCode::RequestTimedOut));
                        letters[context.topics.home(at).index()].push(DeletePart { index, at, before });
                        continue;
                    }
                };
                split.push_known(partition.partition_index, Err(error));
            }
        }
        let waits = split.send(letters, context, |parts| Letter::DeleteRecords(DeleteRecords { request: id, parts }));
        (DeleteRecordsState { version, correlation_id, split, deadline }, waits)
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, results: Vec<(u32, DeleteResult)>) -> bool {
        self.split.answered(results)
    }

    /// The answer as far as it is known.
    pub(crate) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition_index, result): &(i32, DeleteResult)| DeleteRecordsPartitionResult {
            partition_index: *partition_index,
            low_watermark: result.map_or(-1, Offset::to_wire),
            error_code: result.err().unwrap_or(ErrorCode::None).to_wire(),
        };
        let topic = |topic: &SplitTopic<DeleteResult>| DeleteRecordsTopicResult {
            name: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let response =
            DeleteRecordsResponse { topics: self.split.topics().iter().map(topic).collect(), ..Default::default() };
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
