//! Reads everything back when the run is quiet, and holds it against all that was ever told.

use wire::ApiKey;
use wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};

use super::consumer::read_batches;
use super::session::{Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::TopicIndex;

/// The client.
#[derive(Debug)]
pub(crate) struct Verifier {
    session: Session,
    left: Vec<(TopicIndex, u32)>,
    offset: u64,
    next_ns: u64,
}

impl Verifier {
    /// Of these partitions.
    pub(crate) fn new(partitions: Vec<(TopicIndex, u32)>) -> Verifier {
        Verifier { session: Session::default(), left: partitions, offset: 0, next_ns: 0 }
    }
}

impl Actor for Verifier {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            if let Heard::Answer(answer) = heard {
                let mut reader = wire::Reader::new(&answer.body);
                let response = FetchResponse::decode(&mut reader, answer.version).expect("a whole answer");
                self.take(stage, &response);
            }
        }
        if self.is_idle() || self.session.awaited_count() > 0 {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        stage.at(stage.now_ns() + 10_000_000);
        if self.session.is_open(stage) {
            self.fetch(stage);
        }
    }

    fn is_idle(&self) -> bool {
        self.left.is_empty()
    }
}

impl Verifier {
    fn fetch(&mut self, stage: &mut Stage<'_>) {
        let (topic, partition) = *self.left.last().expect("some are left");
        let partitions = vec![FetchPartition {
            partition: partition as i32,
            fetch_offset: self.offset as i64,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }];
        let topics = vec![FetchTopic { topic: "".into(), topic_id: stage.oracle.topics[topic].id, partitions }];
        let request =
            FetchRequest { max_wait_ms: 0, max_bytes: 1 << 20, session_epoch: -1, topics, ..Default::default() };
        self.session.send(stage, (ApiKey::Fetch, 13), Some(0), |out| request.encode(out, 13));
    }

    fn take(&mut self, stage: &mut Stage<'_>, response: &FetchResponse<'_>) {
        let (topic, partition) = *self.left.last().expect("some are left");
        assert!(response.error_code == 0, "the last read: {}", spelled(response.error_code));
        let [answered] = &response.responses[..] else { panic!("one topic was asked for") };
        let [data] = &answered.partitions[..] else { panic!("one partition was asked for") };
        if is_retriable(data.error_code) {
            self.next_ns = stage.now_ns() + 5_000_000;
            return;
        }
        assert!(data.error_code == 0, "the last read of {topic}-{partition}: {}", spelled(data.error_code));
        let end = u64::try_from(data.high_watermark).expect("a high watermark");
        let next = read_batches(stage, topic, partition, self.offset, data.records.unwrap_or_default());
        assert!(next > self.offset || next == end, "the last read of {topic}-{partition} stands at {next} of {end}");
        self.offset = next;
        if next == end {
            stage.oracle.whole(topic, partition, end);
            self.left.pop();
            self.offset = 0;
        }
    }
}
