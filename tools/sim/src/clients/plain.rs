//! A producer that never retries: each of its records stands at most once, wherever it was acknowledged.

use std::collections::BTreeMap;
use std::ops::Range;

use model::ErrorCode;
use wire::ApiKey;
use wire::produce::{PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData};

use super::idempotent::{batch, wire_body};
use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_gone, is_retriable, spelled};
use crate::oracle::{RecordId, TopicIndex};

/// The producer.
#[derive(Debug, Default)]
pub(crate) struct Plain {
    session: Session,
    flying: BTreeMap<u64, Flying>,
    tag_next: u64,
    next_ns: u64,
}

#[derive(Debug)]
struct Flying {
    topic: TopicIndex,
    partition: u32,
    ids: Range<RecordId>,
    damaged: bool,
}

impl Actor for Plain {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take(stage, &answer),
                Heard::Broken => self.flying.clear(),
            }
        }
        if stage.winding_down {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        self.next_ns = stage.think(100, 6000);
        stage.at(self.next_ns);
        if self.flying.len() < REQUESTS_MAX && self.session.is_open(stage) {
            self.produce(stage);
        }
    }

    fn is_idle(&self) -> bool {
        self.session.awaited_count() == 0
    }
}

impl Plain {
    fn produce(&mut self, stage: &mut Stage<'_>) {
        let Some((topic, partition)) = stage.any_partition(false) else { return };
        let (ids, mut records) = batch(stage, topic, partition, None);
        let damaged = stage.rng.chance(30);
        if damaged {
            // Behind the header, so that only the checksum tells.
            let at = stage.rng.range(record::HEADER_BYTES as u64, records.len() as u64 - 1) as usize;
            records[at] ^= 1 << stage.rng.below(8);
            stage.oracle.damaged(ids.clone());
        }
        let known = &stage.oracle.topics[topic];
        // A topic that may be deleted is named by its id: its name may soon mean another.
        let version_min = if known.is_stable { 3 } else { 13 };
        let (name, topic_id) = (known.name.clone(), known.id);
        let version = stage.version(ApiKey::Produce, version_min);
        let acks = [-1, -1, 1, 1, 0][stage.rng.index(5)];
        let partition_data = vec![PartitionProduceData { index: partition as i32, records: Some(&records) }];
        let topic_data = vec![TopicProduceData { name: name.into(), topic_id, partition_data }];
        let request = ProduceRequest { transactional_id: None, acks, timeout_ms: 30_000, topic_data };
        let body = wire_body(&request, version);
        self.tag_next += 1;
        let tag = (acks != 0).then_some(self.tag_next);
        self.session.send(stage, (ApiKey::Produce, version), tag, |out| out.raw(&body));
        if let Some(tag) = tag {
            self.flying.insert(tag, Flying { topic, partition, ids, damaged });
        }
    }

    fn take(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let Flying { topic, partition, ids, damaged } = self.flying.remove(&answer.tag).expect("in flight");
        let mut reader = wire::Reader::new(&answer.body);
        let response = ProduceResponse::decode(&mut reader, answer.version).expect("a whole answer");
        let [answered] = &response.responses[..] else { panic!("one topic was asked for") };
        let [result] = &answered.partition_responses[..] else { panic!("one partition was asked for") };
        assert!(result.index == partition as i32);
        let code = result.error_code;
        if code == 0 {
            let (offset, time) = (result.base_offset, result.log_append_time_ms);
            return stage.oracle.acked(topic, partition, offset, time, ids);
        }
        stage.refused("produce", topic, partition, code);
        if damaged && code == ErrorCode::CorruptMessage.to_wire() {
            return;
        }
        let gone = is_gone(code) && !stage.oracle.topics[topic].is_stable;
        assert!(gone || is_retriable(code), "produce to {topic}-{partition}: {}", spelled(code));
    }
}

const REQUESTS_MAX: usize = 6;
