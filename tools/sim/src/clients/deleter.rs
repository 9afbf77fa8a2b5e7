//! Deletes records: what it asked for may go from then on, what was acknowledged never comes back.

use model::ErrorCode;
use wire::ApiKey;
use wire::delete_records::{DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic};

use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::{Start, TopicIndex};

/// The client.
#[derive(Debug, Default)]
pub(crate) struct Deleter {
    session: Session,
    asked: Option<Asked>,
    next_ns: u64,
}

#[derive(Debug)]
struct Asked {
    topic: TopicIndex,
    partition: u32,
    /// Everything before it goes; without it everything that is there.
    offset: Option<u64>,
    /// What was known of the start when the request left.
    start: Start,
}

impl Actor for Deleter {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take(stage, &answer),
                Heard::Broken => self.asked = None,
            }
        }
        if stage.winding_down || self.asked.is_some() {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        self.next_ns = stage.think(2_000, 60_000);
        stage.at(self.next_ns);
        if self.session.is_open(stage) {
            self.delete(stage);
        }
    }

    fn is_idle(&self) -> bool {
        self.session.awaited_count() == 0
    }
}

impl Deleter {
    fn delete(&mut self, stage: &mut Stage<'_>) {
        let Some((topic, partition)) = stage.any_partition(true) else { return };
        if stage.oracle.topics[topic].rules.compacts {
            return;
        }
        let end = stage.oracle.known_end(topic, partition);
        let offset = (!stage.rng.chance(50)).then(|| stage.rng.range(0, end));
        stage.oracle.delete_asked(topic, partition, offset.unwrap_or(u64::MAX));
        let partitions = vec![DeleteRecordsPartition {
            partition_index: partition as i32,
            offset: offset.map_or(HIGH_WATERMARK, |offset| offset as i64),
        }];
        let name = stage.oracle.topics[topic].name.clone().into();
        let request =
            DeleteRecordsRequest { topics: vec![DeleteRecordsTopic { name, partitions }], timeout_ms: 30_000 };
        let version = stage.version(ApiKey::DeleteRecords, 0);
        self.session.send(stage, (ApiKey::DeleteRecords, version), Some(0), |out| request.encode(out, version));
        let start = stage.oracle.known_start(topic, partition);
        self.asked = Some(Asked { topic, partition, offset, start });
    }

    fn take(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let Asked { topic, partition, offset, start } = self.asked.take().expect("one at a time");
        let mut reader = wire::Reader::new(&answer.body);
        let response = DeleteRecordsResponse::decode(&mut reader, answer.version).expect("a whole answer");
        let [answered] = &response.topics[..] else { panic!("one topic was asked for") };
        let [result] = &answered.partitions[..] else { panic!("one partition was asked for") };
        let code = result.error_code;
        if code != 0 {
            stage.refused("delete", topic, partition, code);
            // Below a start that has moved meanwhile there is nothing to delete.
            let below = code == ErrorCode::OffsetOutOfRange.to_wire() && offset.is_some_and(|to| to < start.offset);
            assert!(below || is_retriable(code), "DeleteRecords of {topic}-{partition}: {}", spelled(code));
            return;
        }
        let low = u64::try_from(result.low_watermark).expect("an offset");
        assert!(offset.is_none_or(|to| low >= to), "{topic}-{partition} starts at {low}, deleted up to {offset:?}");
        stage.oracle.started(topic, partition, low, start);
        stage.oracle.deleted(topic, partition, low);
    }
}

/// Everything that is there.
const HIGH_WATERMARK: i64 = -1;
