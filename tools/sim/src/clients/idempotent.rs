//! A producer that gets a producer id and retries until each batch is acknowledged: its records must stand once and in
//! order, whatever breaks.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;

use model::{ErrorCode, ProducerEpoch, ProducerId, Timestamp};
use record::{BatchBuilder, Codec, Producer, RecordHeader};
use wire::ApiKey;
use wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceData,
};

use super::consumer::TIMES_BACK_MS;
use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::{ID_HEADER, KEYS, New, RecordId, TopicIndex};

/// The producer.
#[derive(Debug, Default)]
pub(crate) struct Idempotent {
    session: Session,
    id: Option<(ProducerId, ProducerEpoch)>,
    streams: Vec<Stream>,
    /// What each produce request in flight carries: streams and base sequences.
    flying: BTreeMap<u64, Vec<(usize, i32)>>,
    tag_next: u64,
    next_ns: u64,
    /// How many batches it makes; without it as many as there is time for.
    batches_left: Option<usize>,
}

/// One partition.
#[derive(Debug)]
struct Stream {
    topic: TopicIndex,
    partition: u32,
    sequence_next: i32,
    unacked: VecDeque<Batch>,
    /// Batches of it in flight.
    flying: usize,
    /// One of them was refused: the rest are refused too, then all go again.
    refused: bool,
    /// Since when it winds down, rots and is refused for its disk.
    offline_ns: Option<u64>,
}

#[derive(Debug)]
struct Batch {
    base_sequence: i32,
    ids: Range<RecordId>,
    bytes: Vec<u8>,
    sent: bool,
}

impl Actor for Idempotent {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            match heard {
                Heard::Answer(answer) if answer.key == ApiKey::InitProducerId => self.take_id(stage, &answer),
                Heard::Answer(answer) => self.take_produced(stage, &answer),
                Heard::Broken => self.begin_again(),
            }
        }
        if stage.winding_down && self.is_idle() {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        self.next_ns = stage.think(50, 4000);
        stage.at(self.next_ns);
        if !self.session.is_open(stage) {
            return;
        }
        match self.id {
            None if self.session.awaited_count() == 0 => self.ask_id(stage),
            None => (),
            Some(id) if self.flying.len() < REQUESTS_MAX => self.produce(stage, id),
            Some(_) => (),
        }
    }

    fn is_idle(&self) -> bool {
        self.session.awaited_count() == 0 && self.streams.iter().all(|stream| stream.unacked.is_empty())
    }
}

impl Idempotent {
    /// One that makes so many batches.
    pub(crate) fn brief(batches: usize) -> Idempotent {
        Idempotent { batches_left: Some(batches), ..Idempotent::default() }
    }

    fn ask_id(&mut self, stage: &mut Stage<'_>) {
        let version = stage.version(ApiKey::InitProducerId, 0);
        let request = InitProducerIdRequest { transaction_timeout_ms: 60_000, ..Default::default() };
        self.session.send(stage, (ApiKey::InitProducerId, version), Some(0), |out| request.encode(out, version));
    }

    fn take_id(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let mut reader = wire::Reader::new(&answer.body);
        let response = InitProducerIdResponse::decode(&mut reader, answer.version).expect("a whole answer");
        if response.error_code == 0 {
            stage.oracle.producer_id(response.producer_id);
            self.id = Some((ProducerId(response.producer_id), ProducerEpoch(response.producer_epoch)));
        } else {
            assert!(is_retriable(response.error_code), "InitProducerId: {}", spelled(response.error_code));
        }
    }

    fn produce(&mut self, stage: &mut Stage<'_>, id: (ProducerId, ProducerEpoch)) {
        if self.streams.len() < STREAMS_MAX
            && stage.rng.chance(200)
            && let Some((topic, partition)) = stage.any_partition(true)
            && self.streams.iter().all(|stream| (stream.topic, stream.partition) != (topic, partition))
        {
            self.streams.push(Stream::new(topic, partition));
        }
        let mut carried = Vec::new();
        for (index, stream) in self.streams.iter_mut().enumerate() {
            if (stage.winding_down || stage.rng.coin())
                && let Some(base_sequence) = stream.next(stage, id, &mut self.batches_left)
            {
                carried.push((index, base_sequence));
            }
        }
        if carried.is_empty() {
            return;
        }
        let version = stage.version(ApiKey::Produce, 3);
        let mut topic_data: Vec<TopicProduceData<'_>> = Vec::new();
        for (index, base_sequence) in &carried {
            let stream = &self.streams[*index];
            let topic = &stage.oracle.topics[stream.topic];
            let batch = stream.unacked.iter().find(|batch| batch.base_sequence == *base_sequence).expect("unacked");
            let data = PartitionProduceData { index: stream.partition as i32, records: Some(&batch.bytes) };
            match topic_data.iter_mut().find(|known| known.topic_id == topic.id) {
                Some(known) => known.partition_data.push(data),
                None => topic_data.push(TopicProduceData {
                    name: topic.name.clone().into(),
                    topic_id: topic.id,
                    partition_data: vec![data],
                }),
            }
        }
        let request = ProduceRequest { transactional_id: None, acks: -1, timeout_ms: 30_000, topic_data };
        self.tag_next += 1;
        let frame = wire_body(&request, version);
        drop(request);
        self.session.send(stage, (ApiKey::Produce, version), Some(self.tag_next), |out| out.raw(&frame));
        self.flying.insert(self.tag_next, carried);
    }

    fn take_produced(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let carried = self.flying.remove(&answer.tag).expect("in flight");
        let mut reader = wire::Reader::new(&answer.body);
        let response = ProduceResponse::decode(&mut reader, answer.version).expect("a whole answer");
        let mut count = 0;
        for topic in &response.responses {
            let known = stage.oracle.find(&topic.name, topic.topic_id).expect("a topic that was asked for");
            for answered in &topic.partition_responses {
                count += 1;
                let (index, base_sequence) = *carried
                    .iter()
                    .find(|(index, _)| {
                        let stream = &self.streams[*index];
                        (stream.topic, stream.partition as i32) == (known, answered.index)
                    })
                    .expect("a partition that was asked for");
                self.streams[index].answered(stage, base_sequence, answered);
            }
        }
        assert!(count == carried.len(), "{count} partitions answered of {}", carried.len());
    }

    /// What was in flight may or may not have been appended: all of it goes again, in order.
    fn begin_again(&mut self) {
        self.flying.clear();
        for stream in &mut self.streams {
            stream.flying = 0;
            stream.again();
        }
    }
}

impl Stream {
    fn new(topic: TopicIndex, partition: u32) -> Stream {
        Stream {
            topic,
            partition,
            sequence_next: 0,
            unacked: VecDeque::new(),
            flying: 0,
            refused: false,
            offline_ns: None,
        }
    }

    /// The batch to send next, made if need be; answers its base sequence.
    fn next(
        &mut self,
        stage: &mut Stage<'_>,
        (id, epoch): (ProducerId, ProducerEpoch),
        batches_left: &mut Option<usize>,
    ) -> Option<i32> {
        if self.refused {
            if self.flying > 0 {
                return None;
            }
            self.again();
        }
        let waiting = self.unacked.iter().position(|batch| !batch.sent);
        let index = match waiting {
            Some(index) => index,
            None if stage.winding_down || self.unacked.len() >= UNACKED_MAX => return None,
            None if *batches_left == Some(0) => return None,
            None => {
                *batches_left = batches_left.map(|left| left - 1);
                let base_sequence = self.sequence_next;
                let producer = Producer { id, epoch, base_sequence };
                let (ids, bytes) = batch(stage, self.topic, self.partition, Some(producer));
                self.sequence_next += (ids.end - ids.start) as i32;
                self.unacked.push_back(Batch { base_sequence, ids, bytes, sent: false });
                self.unacked.len() - 1
            }
        };
        self.unacked[index].sent = true;
        self.flying += 1;
        Some(self.unacked[index].base_sequence)
    }

    fn answered(&mut self, stage: &mut Stage<'_>, base_sequence: i32, answer: &PartitionProduceResponse<'_>) {
        let error_code = answer.error_code;
        self.flying -= 1;
        let place = format_args!("{}-{}", self.topic, self.partition);
        if error_code == 0 {
            let first = self.unacked.front().expect("what was in flight is unacked");
            assert!(first.base_sequence == base_sequence, "{place}: acknowledged after a gap");
            let first = self.unacked.pop_front().expect("just looked");
            let (offset, time) = (answer.base_offset, answer.log_append_time_ms);
            return stage.oracle.acked(self.topic, self.partition, offset, time, first.ids);
        }
        stage.refused("produce", self.topic, self.partition, error_code);
        let gap = error_code == ErrorCode::OutOfOrderSequenceNumber.to_wire();
        assert!(!gap || self.refused, "{place}: OUT_OF_ORDER_SEQUENCE_NUMBER for c{} without a gap", stage.me);
        assert!(gap || is_retriable(error_code), "{place}: {} for an idempotent batch", spelled(error_code));
        self.refused = true;
        self.give_up(stage, error_code);
    }

    /// A partition may stay offline for ever when something of it has rotted.
    fn give_up(&mut self, stage: &Stage<'_>, error_code: i16) {
        let offline = error_code == ErrorCode::KafkaStorageError.to_wire()
            && stage.winding_down
            && stage.oracle.is_rotten(self.topic, self.partition);
        let since_ns = *self.offline_ns.get_or_insert(stage.now_ns());
        if !offline {
            self.offline_ns = None;
        } else if stage.now_ns() - since_ns > OFFLINE_NS_MAX && self.flying == 0 {
            self.unacked.clear();
        }
    }

    fn again(&mut self) {
        self.refused = false;
        self.unacked.iter_mut().for_each(|batch| batch.sent = false);
    }
}

/// A batch of new records for a partition.
pub(super) fn batch(
    stage: &mut Stage<'_>,
    topic: TopicIndex,
    partition: u32,
    producer: Option<Producer>,
) -> (Range<RecordId>, Vec<u8>) {
    let count = stage.rng.spread(1, 12);
    let codec = match stage.rng.below(100) {
        0..6 => Codec::Lz4,
        6..9 => Codec::Snappy,
        9..12 => Codec::Zstd,
        12..15 => Codec::Gzip,
        _ => Codec::None,
    };
    let mut builder = BatchBuilder::new(codec);
    let idempotent = producer.is_some();
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    let now_ms = stage.world.wall_ms();
    let compacts = stage.oracle.topics[topic].rules.compacts;
    let mut first = None;
    for _ in 0..count {
        let back_ms = if stage.rng.coin() { 0 } else { stage.rng.below(TIMES_BACK_MS) };
        let new = New {
            topic,
            partition,
            producer: stage.me,
            idempotent,
            value_bytes: stage.rng.spread(8, 1500) as usize,
            timestamp: now_ms - back_ms as i64,
            key: compacts.then(|| stage.rng.below(u64::from(KEYS)) as u8),
            is_tombstone: compacts && stage.rng.chance(150),
        };
        let id = stage.oracle.sending(new);
        first = first.or(Some(id));
        let content = stage.oracle.content(id);
        let key = content.key.as_ref().map(|key| &key[..]);
        let named = [RecordHeader { key: ID_HEADER, value: Some(&content.id) }];
        let headers = if new.is_tombstone { &named[..] } else { &[] };
        builder.append(Timestamp(new.timestamp), key, content.value.as_deref(), headers);
    }
    let first = first.expect("at least one record");
    (first..first + count, builder.build())
}

/// A request's body, made before the session is borrowed.
pub(super) fn wire_body(request: &ProduceRequest<'_>, version: i16) -> Vec<u8> {
    let mut writer = wire::Writer::default();
    request.encode(&mut writer, version);
    writer.into_bytes()
}

/// As Kafka's own producer, which the broker remembers five batches for.
const REQUESTS_MAX: usize = 5;
const UNACKED_MAX: usize = 5;
const STREAMS_MAX: usize = 4;

/// How long a producer believes that a partition comes back.
const OFFLINE_NS_MAX: u64 = 20_000_000_000;
