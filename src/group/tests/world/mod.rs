//! A coordinator with a log that is durable when the test says so, and clients that are numbers.

use std::sync::Arc;

use group::{
    Answer, AppendRefusal, Budget, Commit, CommitItem, Committed, Config, Coordinator, Described, Entropy,
    FetchOffsets, Generation, Identity, Join, Joined, Now, Protocol, Record, Request, Sync, Turn,
};
use model::{ErrorCode, Offset, Timestamp, Uuid};

pub struct World {
    pub coordinator: Coordinator<u32>,
    pub config: Config,
    pub budget: Budget,
    pub now_ms: u64,
    /// What was appended, each batch with its records.
    pub log: Vec<Vec<Record>>,
    /// Batches that are durable.
    pub durable: usize,
    /// Whether batches become durable by themselves.
    pub is_quick: bool,
    /// What appends come to.
    pub refusal: Option<AppendRefusal>,
    entropy: Entropy,
    answers: Vec<(u32, Answer)>,
}

impl World {
    pub fn new() -> World {
        let config = Config {
            initial_rebalance_delay_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            max_size: 4,
            offset_metadata_max: 8,
            offsets_retention_ms: 100_000,
        };
        let budget = Budget { groups: 0, groups_max: 5, bytes: 0, bytes_max: 1 << 20, group_bytes_max: 64 << 10 };
        World {
            coordinator: Coordinator::default(),
            config,
            budget,
            now_ms: 1_000_000,
            log: Vec::new(),
            durable: 0,
            is_quick: true,
            refusal: None,
            entropy: Entropy(1),
            answers: Vec::new(),
        }
    }

    /// Asks, and says what could be answered at once, to whomever.
    pub fn ask(&mut self, asker: u32, group: &str, request: Request) -> Vec<(u32, Answer)> {
        self.call(|coordinator, turn| coordinator.ask(asker, group, request, turn));
        self.take_answers()
    }

    /// Asks what is answered at once.
    pub fn answer(&mut self, group: &str, request: Request) -> Answer {
        let mut answers = self.ask(u32::MAX, group, request);
        let at = answers.iter().position(|(asker, _)| *asker == u32::MAX).expect("answered at once");
        let (_, answer) = answers.remove(at);
        self.answers.extend(answers);
        answer
    }

    /// Lets time pass; what is said meanwhile.
    pub fn pass(&mut self, ms: u64) -> Vec<(u32, Answer)> {
        let end = self.now_ms + ms;
        while let Some(at) = self.coordinator.next_deadline().filter(|at| *at <= end) {
            self.now_ms = self.now_ms.max(at);
            self.call(|coordinator, turn| {
                coordinator.tick(turn);
            });
        }
        self.now_ms = end;
        self.take_answers()
    }

    /// The log is durable as far as it goes.
    pub fn sync(&mut self) -> Vec<(u32, Answer)> {
        self.durable = self.log.len();
        let end = Offset::new(self.durable as u64);
        self.call(|coordinator, turn| coordinator.durable(end, turn));
        self.take_answers()
    }

    /// The process is killed: what is not durable is lost.
    pub fn restart(&mut self) {
        self.log.truncate(self.durable);
        self.coordinator = Coordinator::default();
        self.budget.bytes = 0;
        self.budget.groups = 0;
        for record in self.log.iter().flatten() {
            self.coordinator.replay(&record.key, record.value.as_deref()).expect("own records");
        }
        let end = Offset::new(self.durable as u64);
        self.call(|coordinator, turn| coordinator.start(end, turn));
    }

    pub fn call(&mut self, act: impl FnOnce(&mut Coordinator<u32>, &mut Turn<'_, u32>)) {
        let wall = Timestamp(self.now_ms as i64);
        let mut turn = Turn {
            now: Now { ms: self.now_ms, wall },
            config: &self.config,
            budget: &mut self.budget,
            entropy: &mut self.entropy,
            answers: Vec::new(),
            write: None,
        };
        act(&mut self.coordinator, &mut turn);
        if let Some(write) = turn.write.take() {
            match self.refusal {
                Some(refusal) => self.coordinator.refused(write, refusal, &mut turn),
                None => {
                    self.log.push(write.records.clone());
                    let end = Offset::new(self.log.len() as u64);
                    self.coordinator.appended(write, end, &mut turn);
                    if self.is_quick {
                        self.durable = self.log.len();
                        self.coordinator.durable(end, &mut turn);
                    }
                }
            }
        }
        self.answers.extend(turn.answers);
        self.coordinator.invariants();
    }

    fn take_answers(&mut self) -> Vec<(u32, Answer)> {
        std::mem::take(&mut self.answers)
    }

    /// Brings a group of dynamic members into being, all in one stable generation. Their ids, the leader's first.
    pub fn stable(&mut self, group: &str, count: u32) -> Vec<Arc<str>> {
        for asker in 0..count {
            self.ask(asker, group, join("", None));
        }
        // The initial delay, extended once if there is a second member.
        let answers = self.pass(if count == 1 { 3000 } else { 6000 });
        self.finish(group, answers)
    }

    /// The members that were told of a generation sync; their ids, the leader's first.
    pub fn finish(&mut self, group: &str, answers: Vec<(u32, Answer)>) -> Vec<Arc<str>> {
        let mut joined: Vec<Joined> = answers.into_iter().map(|(_, answer)| joined(answer)).collect();
        joined.sort_by_key(|joined| joined.leader != joined.member_id);
        for one in &joined {
            let assignments = joined.iter().filter(|_| one.leader == one.member_id);
            let assignments = assignments.map(|other| ((&*other.member_id).into(), work(&other.member_id)));
            let answers = self.ask(9, group, sync(&one.member_id, one.generation, assignments.collect()));
            assert!(answers.iter().all(|(_, answer)| matches!(answer, Answer::Synced(_))), "{answers:?}");
        }
        joined.into_iter().map(|joined| joined.member_id).collect()
    }

    pub fn describe(&mut self, group: &str) -> Option<Described> {
        match self.answer(group, Request::Describe) {
            Answer::Described(described) => Some(described),
            _ => None,
        }
    }

    /// What is committed of partition 0 of a topic.
    pub fn committed(&mut self, group: &str, topic: &str) -> Option<i64> {
        let fetch = FetchOffsets { topics: Some(vec![(topic.into(), vec![0])]) };
        match self.answer(group, Request::Fetch(fetch)) {
            Answer::Offsets(topics) => topics[0].partitions[0].1.as_ref().map(|committed| committed.offset),
            other => panic!("{other:?}"),
        }
    }

    pub fn heartbeat(&mut self, group: &str, member: &str, generation: i32) -> ErrorCode {
        error(&self.answer(group, Request::Heartbeat(said(member, generation))))
    }
}

pub fn error(answer: &Answer) -> ErrorCode {
    match answer {
        Answer::Refused(error) | Answer::NotJoined(error, _) => *error,
        Answer::Items(items) => items[0].1,
        Answer::Left(results) => results[0],
        _ => ErrorCode::None,
    }
}

pub fn joined(answer: Answer) -> Joined {
    match answer {
        Answer::Joined(joined) => joined,
        other => panic!("{other:?}"),
    }
}

/// A consumer that knows one protocol.
pub fn join(member: &str, instance: Option<&str>) -> Request {
    Request::Join(joining(member, instance))
}

pub fn joining(member: &str, instance: Option<&str>) -> Join {
    Join {
        who: Identity { member_id: member.into(), instance_id: instance.map(Into::into) },
        client_id: "c".into(),
        client_host: "/h".into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![protocol("range", &["read"])],
        comes_again: false,
        can_skip_assignment: true,
    }
}

/// A subscription to topics, as consumers write it.
pub fn protocol(name: &str, topics: &[&str]) -> Protocol {
    let mut metadata = vec![0, 0, 0, 0, 0, topics.len() as u8];
    for topic in topics {
        metadata.extend([0, topic.len() as u8]);
        metadata.extend(topic.as_bytes());
    }
    Protocol { name: name.into(), metadata: metadata.into() }
}

pub fn said(member: &str, generation: i32) -> Generation {
    Generation { who: Identity { member_id: member.into(), instance_id: None }, generation }
}

pub fn sync(member: &str, generation: i32, assignments: Vec<(Box<str>, Arc<[u8]>)>) -> Request {
    Request::Sync(Sync {
        member: said(member, generation),
        protocol_type: Some("consumer".into()),
        protocol_name: Some("range".into()),
        assignments,
    })
}

pub fn leave(member: &str, instance: Option<&str>) -> Request {
    Request::Leave(vec![Identity { member_id: member.into(), instance_id: instance.map(Into::into) }])
}

pub fn commit(member: Generation, topic: &str, offset: i64) -> Request {
    let committed = Committed {
        topic_id: topic_id(topic),
        offset,
        leader_epoch: None,
        metadata: "m".into(),
        at: Timestamp(1_000_000),
        expires: None,
    };
    Request::Commit(Commit {
        member,
        items: vec![CommitItem { index: 0, topic: topic.into(), partition: 0, committed }],
    })
}

pub fn topic_id(topic: &str) -> Uuid {
    Uuid([topic.as_bytes()[0]; 16])
}

pub fn work(member: &str) -> Arc<[u8]> {
    member.as_bytes().into()
}
