//! DescribeProducers at its connection: split by home, put together again.

use std::collections::BTreeSet;

use controller::check_topic_name;
use log::ActiveProducer;
use model::ErrorCode;
use wire::describe_producers::{
    DescribeProducersRequest, DescribeProducersResponse, PartitionResponse, ProducerState, TopicResponse,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::mail::{Letter, Lookup, ProducersPart};
use crate::request::Reply;
use crate::request::lookup::Asked;
use crate::request::split::{Split, SplitTopic};

type Found = Result<Vec<ActiveProducer>, ErrorCode>;

/// A request on its way.
pub(crate) struct DescribeProducersState {
    asked: Asked,
    pub(super) split: Split<Found>,
}

impl DescribeProducersState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(super) fn start(
        request: &DescribeProducersRequest<'_>,
        asked: Asked,
        context: &mut Context<'_>,
    ) -> (DescribeProducersState, bool) {
        let mut split = Split::new();
        let mut letters: Vec<Vec<ProducersPart>> = context.post.shards().map(|_| Vec::new()).collect();
        // A partition may have ten thousand producers: who names it a million times gets them once.
        let mut seen = BTreeSet::new();
        for topic in &request.topics {
            let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
            split.push_topic(&topic.name, topic.partition_indexes.len());
            for partition in &topic.partition_indexes {
                let error = match known.and_then(|known| known.partition(*partition)) {
                    Some(at) if seen.insert(at) => {
                        let index = split.push_asked(*partition, Ok(Vec::new()));
                        letters[context.topics.home(at).index()].push(ProducersPart { index, at });
                        continue;
                    }
                    Some(_) => ErrorCode::InvalidRequest,
                    None => unknown(&topic.name),
                };
                split.push_known(*partition, Err(error));
            }
        }
        let letter = |parts| Letter::LookUp { request: asked.id, lookup: Lookup::Producers(parts) };
        let waits = split.send(letters, context, letter);
        (DescribeProducersState { asked, split }, waits)
    }

    pub(super) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition_index, found): &(i32, Found)| PartitionResponse {
            partition_index: *partition_index,
            error_code: found.as_ref().err().copied().unwrap_or(ErrorCode::None).to_wire(),
            active_producers: found.iter().flatten().map(state).collect(),
            ..Default::default()
        };
        let topic = |topic: &SplitTopic<Found>| TopicResponse {
            name: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let topics = self.split.topics().iter().map(topic).collect();
        let response = DescribeProducersResponse { topics, ..Default::default() };
        let Asked { version, correlation_id, .. } = self.asked;
        let frame = response_frame(ApiKey::DescribeProducers, version, correlation_id, |writer| {
            response.encode(writer, version);
        });
        Reply::frame(&frame, context.memory)
    }
}

fn unknown(topic: &str) -> ErrorCode {
    match check_topic_name(topic) {
        Err(refusal) if refusal.code() == ErrorCode::InvalidTopicException => refusal.code(),
        _ => ErrorCode::UnknownTopicOrPartition,
    }
}

/// No transaction is open, and no coordinator has written here.
fn state(producer: &ActiveProducer) -> ProducerState {
    ProducerState {
        producer_id: producer.id.0,
        producer_epoch: i32::from(producer.epoch.0),
        last_sequence: producer.last_sequence,
        last_timestamp: producer.last_timestamp.0,
        coordinator_epoch: -1,
        current_txn_start_offset: -1,
    }
}
