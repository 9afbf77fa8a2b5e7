//! A produce request at its connection: validated batch by batch, sent to the partitions' homes, answered in the
//! order of the request. Validation of compressed batches goes on over several turns; nothing is sent before all of
//! the request is validated, so that a connection's batches reach each partition in order.

use effect::Buf;
use model::{ErrorCode, Timestamp};
use record::{Progress, Rules, TimestampBounds, Validated, Validator};
use wire::{Malformed, ProducePartitionResponse, ProduceResponseWriter, ProduceView, RecordError, TopicRef};

use crate::config::TopicConfig;
use crate::context::Context;
use crate::errors::record_code;
use crate::handlers::is_internal;
use crate::mail::{Letter, Produce, ProducePart, ProduceResult, RequestRef};
use crate::request::Reply;
use crate::topics::Known;

/// A produce request on its way.
pub(crate) struct ProduceRequest {
    /// The request's body; the parts' batches are ranges of it.
    body: Option<Buf>,
    version: i16,
    correlation_id: i32,
    acks: i16,
    topics: Vec<TopicPart>,
    parts: Vec<Part>,
    /// The part that is being validated.
    at: usize,
    validator: Option<Validator>,
    /// Homes that have not answered.
    awaiting: usize,
}

/// A topic as the response repeats it.
struct TopicPart {
    name: Option<Box<str>>,
    id: model::TopicId,
    partition_count: usize,
}

struct Part {
    index: i32,
    known: Option<Known>,
    batch: Option<Buf>,
    validated: Option<Validated>,
    log_append_time: Option<Timestamp>,
    result: ProduceResult,
    /// Which record was wrong, and how.
    fault: Option<(Option<u32>, &'static str)>,
}

/// How far a validation came.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    /// More in a later turn.
    Pending,
    /// Everything is validated: send it.
    Done,
}

impl ProduceRequest {
    /// Reads a request; `body` begins where the header ended.
    pub(crate) fn parse(
        body: Buf,
        version: i16,
        correlation_id: i32,
        context: &Context<'_>,
    ) -> Result<ProduceRequest, Malformed> {
        let view = ProduceView::parse(&body, version)?;
        let mut request = ProduceRequest {
            body: None,
            version,
            correlation_id,
            acks: view.acks,
            topics: Vec::with_capacity(view.topic_count()),
            parts: Vec::with_capacity(view.partition_count()),
            at: 0,
            validator: None,
            awaiting: 0,
        };
        let refused = request_error(&view);
        for topic in view.topics() {
            let known = context.topics.find(context.image, topic.topic);
            request.topics.push(TopicPart::of(topic.topic, topic.partition_count));
            for partition in topic.partitions() {
                let records = partition.records.map(|range| body.slice(range));
                let mut part = Part::new(partition.index, known, records);
                let unknown = match topic.topic {
                    TopicRef::Id(_) if known.is_none() => ErrorCode::UnknownTopicId,
                    _ => ErrorCode::UnknownTopicOrPartition,
                };
                part.precheck(refused, unknown);
                request.parts.push(part);
            }
        }
        request.body = Some(body);
        Ok(request)
    }

    /// Validates on, within about `budget_bytes` of decompressed records.
    pub(crate) fn validate(&mut self, budget_bytes: usize, context: &Context<'_>) -> Step {
        while let Some(part) = self.parts.get_mut(self.at) {
            if part.result.error != ErrorCode::None {
                self.at += 1;
                continue;
            }
            if part.validate(&mut self.validator, budget_bytes, context) == Step::Pending {
                return Step::Pending;
            }
            if part.result.error != ErrorCode::None {
                context.metrics.produce_rejected_total.add(1);
            }
            self.at += 1;
        }
        Step::Done
    }

    /// Sends every good part to its home. Returns whether there is anything to wait for.
    pub(crate) fn dispatch(&mut self, request: RequestRef, context: &mut Context<'_>) -> bool {
        let mut letters: Vec<Option<Produce>> = context.post.shards().map(|_| None).collect();
        for (index, part) in self.parts.iter_mut().enumerate() {
            let (Some(validated), Some(batch)) = (part.validated, part.batch.take()) else { continue };
            let Some(at) = part.known.as_ref().and_then(|known| known.partition(part.index)) else { continue };
            let home = context.topics.home(at);
            let letter = letters[home.index()].get_or_insert_with(|| Produce {
                request,
                until_durable: self.acks != 0,
                parts: Vec::new(),
            });
            let index = u32::try_from(index).expect("a request has fewer than 2^32 parts");
            letter.parts.push(ProducePart { index, at, batch, validated, log_append_time: part.log_append_time });
        }
        // The batches keep what they need of it alive.
        self.body = None;
        for (shard, letter) in context.post.shards().zip(letters) {
            if let Some(letter) = letter {
                self.awaiting += 1;
                context.post.send(shard, Letter::Produce(letter));
            }
        }
        self.awaiting > 0
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, results: Vec<(u32, ProduceResult)>) -> bool {
        for (index, result) in results {
            self.parts[index as usize].result = result;
        }
        self.awaiting -= 1;
        self.awaiting == 0
    }

    /// The answer, once nothing is awaited any more.
    pub(crate) fn reply(&self, context: &Context<'_>) -> Reply {
        if self.acks == 0 {
            // The producer does not listen; a closed connection is all it can notice, as with Kafka.
            let failed = self.parts.iter().any(|part| part.result.error != ErrorCode::None);
            return if failed { Reply::Close("a batch with acks=0 was refused") } else { Reply::Silence };
        }
        let mut writer = ProduceResponseWriter::new(self.version, self.correlation_id, self.topics.len());
        let mut parts = self.parts.iter();
        for topic in &self.topics {
            writer.topic(topic.as_ref(), topic.partition_count);
            for part in parts.by_ref().take(topic.partition_count) {
                part.write(&mut writer);
            }
        }
        Reply::frame(&writer.finish(0, &[]), context.memory)
    }
}

impl TopicPart {
    fn of(topic: TopicRef<'_>, partition_count: usize) -> TopicPart {
        match topic {
            TopicRef::Name(name) => TopicPart { name: Some(name.into()), id: model::TopicId::ZERO, partition_count },
            TopicRef::Id(id) => TopicPart { name: None, id, partition_count },
        }
    }

    fn as_ref(&self) -> TopicRef<'_> {
        self.name.as_deref().map_or(TopicRef::Id(self.id), TopicRef::Name)
    }
}

impl Part {
    fn new(index: i32, known: Option<&Known>, batch: Option<Buf>) -> Part {
        Part {
            index,
            known: known.cloned(),
            batch,
            validated: None,
            log_append_time: None,
            result: ProduceResult::error(ErrorCode::None),
            fault: None,
        }
    }

    /// What can be said without looking at the records.
    fn precheck(&mut self, refused: Option<ErrorCode>, unknown: ErrorCode) {
        let too_large =
            |known: &Known| self.batch.as_ref().is_some_and(|batch| batch.len() > known.config.max_message_bytes);
        self.result.error = match (&self.known, refused) {
            (_, Some(refused)) => refused,
            (None, None) => unknown,
            (Some(known), None) if known.partition(self.index).is_none() => ErrorCode::UnknownTopicOrPartition,
            // What is in these topics is for the broker's coordinators to say.
            (Some(known), None) if is_internal(&known.topic.name) => ErrorCode::InvalidTopicException,
            (Some(known), None) if too_large(known) => ErrorCode::MessageTooLarge,
            (Some(_), None) if self.batch.is_none() => ErrorCode::InvalidRecord,
            (Some(_), None) => ErrorCode::None,
        };
    }

    fn validate(&mut self, validator: &mut Option<Validator>, budget_bytes: usize, context: &Context<'_>) -> Step {
        let (Some(known), Some(batch)) = (&self.known, &self.batch) else { return Step::Done };
        self.log_append_time = known.config.log_append_time.then_some(context.wall);
        if validator.is_none() {
            match Validator::new(batch, rules(&known.config, context.wall)) {
                // Transactions are not there yet; both are final for a producer.
                Ok(begun) if begun.header().transactional => return self.refuse(ErrorCode::InvalidTxnState),
                Ok(begun) if begun.header().control => return self.refuse(ErrorCode::InvalidRecord),
                Ok(begun) => *validator = Some(begun),
                Err(error) => return self.fault(error),
            }
        }
        let Some(begun) = validator else { return Step::Done };
        let verdict = match begun.step(batch, budget_bytes) {
            Progress::Pending => return Step::Pending,
            Progress::Done(verdict) => verdict,
        };
        *validator = None;
        match verdict {
            Ok(validated) => self.validated = Some(validated),
            Err(error) => return self.fault(error),
        }
        Step::Done
    }

    fn fault(&mut self, error: record::RecordError) -> Step {
        self.fault = Some((error.record_index(), error.message()));
        self.refuse(record_code(error))
    }

    fn refuse(&mut self, error: ErrorCode) -> Step {
        self.result.error = error;
        self.batch = None;
        Step::Done
    }

    fn write(&self, writer: &mut ProduceResponseWriter) {
        let record_error = self.fault.and_then(|(index, message)| {
            let batch_index = i32::try_from(index?).ok()?;
            Some(RecordError { batch_index, message: Some(message.into()) })
        });
        writer.partition(&ProducePartitionResponse {
            index: self.index,
            error_code: self.result.error,
            base_offset: self.result.base_offset,
            log_append_time_ms: self.result.log_append_time,
            log_start_offset: self.result.log_start_offset,
            record_errors: record_error.as_slice(),
            error_message: self.fault.map(|(_, message)| message),
            current_leader: None,
        });
    }
}

/// Why the request as a whole is refused.
fn request_error(view: &ProduceView<'_>) -> Option<ErrorCode> {
    if !matches!(view.acks, -1..=1) {
        return Some(ErrorCode::InvalidRequiredAcks);
    }
    view.transactional_id.map(|_| ErrorCode::TransactionalIdAuthorizationFailed)
}

fn rules(config: &TopicConfig, wall: Timestamp) -> Rules {
    let bounds = || TimestampBounds::around(wall, config.timestamp_before_max_ms, config.timestamp_after_max_ms);
    Rules { timestamps: (!config.log_append_time).then(bounds), keys_required: config.cleanup_policy.compact }
}
