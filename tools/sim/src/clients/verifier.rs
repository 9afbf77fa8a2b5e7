//! Reads everything back when the run is quiet, and holds it against all that was ever told.

use model::ErrorCode;
use wire::ApiKey;
use wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};

use super::consumer::{EARLIEST, read_batches};
use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::{Start, TopicIndex};

/// The client.
#[derive(Debug)]
pub(crate) struct Verifier {
    session: Session,
    left: Vec<(TopicIndex, u32)>,
    /// What was known of the partition's start when it was asked for.
    asked: Option<Start>,
    /// The partition's start is known.
    begun: bool,
    offset: u64,
    /// How often in a row it was refused.
    tries: u32,
    next_ns: u64,
}

/// Refusals that may pass.
const TRIES_MAX: u32 = 100;

impl Verifier {
    /// Of these partitions.
    pub(crate) fn new(partitions: Vec<(TopicIndex, u32)>) -> Verifier {
        Verifier {
            session: Session::default(),
            left: partitions,
            asked: None,
            begun: false,
            offset: 0,
            tries: 0,
            next_ns: 0,
        }
    }
}

impl Actor for Verifier {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            if matches!(heard, Heard::Broken) {
                // The broker may be another, and the partition begin elsewhere.
                self.begun = false;
            }
            if let Heard::Answer(answer) = heard {
                if answer.key == ApiKey::ListOffsets {
                    self.take_start(stage, &answer);
                    continue;
                }
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
            match self.begun {
                true => self.fetch(stage),
                false => self.ask_start(stage),
            }
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
        if data.error_code == ErrorCode::CorruptMessage.to_wire()
            && let Some(past) = stage.oracle.past_rot(topic, partition, self.offset)
        {
            self.offset = past;
            return;
        }
        if is_retriable(data.error_code) {
            self.next_ns = stage.now_ns() + 5_000_000;
            self.refused(stage);
            return;
        }
        if data.error_code == ErrorCode::OffsetOutOfRange.to_wire()
            && stage.oracle.may_be_gone(topic, partition, self.offset)
        {
            // The start has moved meanwhile.
            self.begun = false;
            return;
        }
        assert!(data.error_code == 0, "the last read of {topic}-{partition}: {}", spelled(data.error_code));
        self.tries = 0;
        let end = u64::try_from(data.high_watermark).expect("a high watermark");
        let next = read_batches(stage, topic, partition, self.offset, data.records.unwrap_or_default());
        assert!(next > self.offset || next == end, "the last read of {topic}-{partition} stands at {next} of {end}");
        self.offset = next;
        if next == end && !self.asked.is_some_and(|asked| stage.oracle.is_of_this_life(asked)) {
            // What the broker said of the start may have died with it.
            self.begun = false;
            return;
        }
        if next == end {
            stage.oracle.whole(topic, partition, end);
            self.next_partition();
        }
    }

    /// Asks where the partition begins.
    fn ask_start(&mut self, stage: &mut Stage<'_>) {
        let (topic, partition) = *self.left.last().expect("some are left");
        let partitions = vec![ListOffsetsPartition {
            partition_index: partition as i32,
            current_leader_epoch: -1,
            timestamp: EARLIEST,
        }];
        let topics = vec![ListOffsetsTopic { name: stage.oracle.topics[topic].name.clone().into(), partitions }];
        self.asked = Some(stage.oracle.known_start(topic, partition));
        let request = ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics, timeout_ms: 30_000 };
        self.session.send(stage, (ApiKey::ListOffsets, 6), Some(0), |out| request.encode(out, 6));
    }

    fn take_start(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let (topic, partition) = *self.left.last().expect("some are left");
        let mut reader = wire::Reader::new(&answer.body);
        let response = ListOffsetsResponse::decode(&mut reader, answer.version).expect("a whole answer");
        let [answered] = &response.topics[..] else { panic!("one topic was asked for") };
        let [result] = &answered.partitions[..] else { panic!("one partition was asked for") };
        if is_retriable(result.error_code) {
            self.next_ns = stage.now_ns() + 5_000_000;
            return self.refused(stage);
        }
        assert!(result.error_code == 0, "the start of {topic}-{partition}: {}", spelled(result.error_code));
        let start = u64::try_from(result.offset).expect("an offset");
        stage.oracle.started(topic, partition, start, self.asked.expect("it was asked for"));
        stage.oracle.begin_pass(topic, partition);
        self.offset = start;
        self.begun = true;
    }

    fn refused(&mut self, stage: &Stage<'_>) {
        let (topic, partition) = *self.left.last().expect("some are left");
        self.tries += 1;
        if self.tries > TRIES_MAX && stage.oracle.is_rotten(topic, partition) {
            // Offline for good: nothing of it is given to anybody.
            self.next_partition();
        }
    }

    fn next_partition(&mut self) {
        self.left.pop();
        self.begun = false;
        self.offset = 0;
        self.tries = 0;
    }
}
