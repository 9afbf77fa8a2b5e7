//! The only client that creates and deletes topics, one request at a time: what was acknowledged stays so.

use model::{ErrorCode, Uuid};
use wire::ApiKey;
use wire::create_topics::{CreatableTopic, CreateTopicsRequest, CreateTopicsResponse};
use wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::TopicIndex;

/// The client. Two connections, so that what one was told is asked of the other.
#[derive(Debug)]
pub(crate) struct Admin {
    changes: Session,
    looks: Session,
    names: Vec<Name>,
    doing: Option<usize>,
    /// How often each name had changed when the question left.
    looking: Option<Vec<u32>>,
    created_count: usize,
    next_ns: u64,
}

#[derive(Debug)]
struct Name {
    text: String,
    partitions: usize,
    is_stable: bool,
    state: State,
    change_count: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Absent,
    Creating,
    /// Created, as the broker said; the id is not known yet.
    Nameless,
    Present(TopicIndex),
    Deleting(TopicIndex),
    /// A request was not answered: nobody knows, now or later.
    Lost,
}

impl Admin {
    /// Creates this many topics first, never to be deleted.
    pub(crate) fn new(stable_partitions: &[usize]) -> Admin {
        let name = |(index, partitions): (usize, &usize)| Name {
            text: format!("stable-{index}"),
            partitions: *partitions,
            is_stable: true,
            state: State::Absent,
            change_count: 0,
        };
        Admin {
            changes: Session::default(),
            looks: Session::default(),
            names: stable_partitions.iter().enumerate().map(name).collect(),
            doing: None,
            looking: None,
            created_count: 0,
            next_ns: 0,
        }
    }
}

impl Actor for Admin {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.changes.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take_change(stage, &answer),
                Heard::Broken => self.unanswered(),
            }
        }
        while let Some(heard) = self.looks.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take_look(stage, &answer),
                Heard::Broken => self.looking = None,
            }
        }
        if stage.winding_down && self.is_idle() {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        let eager = self.names.iter().any(|name| name.is_stable && !matches!(name.state, State::Present(_)));
        self.next_ns = if eager { stage.think(50, 500) } else { stage.think(1000, 60_000) };
        stage.at(self.next_ns);
        if self.looking.is_none() && self.looks.is_open(stage) {
            self.look(stage);
        }
        if self.doing.is_none() && self.changes.is_open(stage) {
            self.change(stage);
        }
    }

    fn is_idle(&self) -> bool {
        let settled = |name: &Name| !name.is_stable || matches!(name.state, State::Present(_));
        self.doing.is_none() && self.looking.is_none() && self.names.iter().all(settled)
    }
}

impl Admin {
    fn change(&mut self, stage: &mut Stage<'_>) {
        if let Some(index) = self.names.iter().position(|name| name.is_stable && name.state == State::Absent) {
            return self.create(stage, index);
        }
        if stage.winding_down {
            return;
        }
        let churned: Vec<usize> = (0..self.names.len()).filter(|index| !self.names[*index].is_stable).collect();
        let living = churned.iter().filter(|index| matches!(self.names[**index].state, State::Present(_))).count();
        if living < CHURNED_MAX && stage.rng.coin() {
            // A name that was deleted comes back as another topic.
            let absent = churned.iter().copied().find(|index| self.names[*index].state == State::Absent);
            let index = absent.unwrap_or_else(|| {
                let text = format!("churned-{}", self.created_count);
                self.created_count += 1;
                self.names.push(Name { text, partitions: 1, is_stable: false, state: State::Absent, change_count: 0 });
                self.names.len() - 1
            });
            self.names[index].partitions = stage.rng.range(1, 4) as usize;
            return self.create(stage, index);
        }
        let present = churned.into_iter().find(|index| matches!(self.names[*index].state, State::Present(_)));
        if let Some(index) = present {
            self.delete(stage, index);
        }
    }

    fn create(&mut self, stage: &mut Stage<'_>, index: usize) {
        let name = &mut self.names[index];
        name.state = State::Creating;
        name.change_count += 1;
        self.doing = Some(index);
        let topic = CreatableTopic {
            name: name.text.clone().into(),
            num_partitions: name.partitions as i32,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let version = stage.version(ApiKey::CreateTopics, 2);
        self.changes.send(stage, (ApiKey::CreateTopics, version), Some(0), |out| request.encode(out, version));
    }

    fn delete(&mut self, stage: &mut Stage<'_>, index: usize) {
        let name = &mut self.names[index];
        let State::Present(topic) = name.state else { unreachable!("just looked") };
        name.state = State::Deleting(topic);
        name.change_count += 1;
        stage.oracle.topics[topic].is_alive = false;
        self.doing = Some(index);
        let version = stage.version(ApiKey::DeleteTopics, 1);
        let by_id = stage.rng.coin();
        let state = DeleteTopicState {
            name: (!by_id).then(|| name.text.clone().into()),
            topic_id: if by_id { stage.oracle.topics[topic].id } else { Uuid::ZERO },
        };
        let request = DeleteTopicsRequest {
            topics: vec![state],
            topic_names: vec![name.text.clone().into()],
            timeout_ms: 30_000,
        };
        self.changes.send(stage, (ApiKey::DeleteTopics, version), Some(0), |out| request.encode(out, version));
    }

    fn take_change(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let index = self.doing.take().expect("one at a time");
        let mut reader = wire::Reader::new(&answer.body);
        let (code, id, partitions) = if answer.key == ApiKey::CreateTopics {
            let response = CreateTopicsResponse::decode(&mut reader, answer.version).expect("a whole answer");
            let [topic] = &response.topics[..] else { panic!("one topic was asked for") };
            (topic.error_code, topic.topic_id, topic.num_partitions)
        } else {
            let response = DeleteTopicsResponse::decode(&mut reader, answer.version).expect("a whole answer");
            let [topic] = &response.responses[..] else { panic!("one topic was asked for") };
            (topic.error_code, topic.topic_id, -1)
        };
        let name = &mut self.names[index];
        name.change_count += 1;
        let exists = code == ErrorCode::TopicAlreadyExists.to_wire();
        name.state = match name.state {
            State::Creating if code == 0 && !id.is_zero() => {
                assert!(partitions < 0 || partitions as usize == name.partitions);
                State::Present(stage.oracle.topic_created(&name.text, id, name.partitions, name.is_stable))
            }
            State::Creating if code == 0 || (exists && name.is_stable) => State::Nameless,
            State::Deleting(_) if code == 0 => State::Absent,
            // A request that failed may have been done all the same: only a stable topic is tried again.
            State::Creating if is_retriable(code) && name.is_stable => State::Absent,
            _ if is_retriable(code) => State::Lost,
            state => panic!("{:?} of {} in {state:?}: {}", answer.key, name.text, spelled(code)),
        };
    }

    fn unanswered(&mut self) {
        let Some(index) = self.doing.take() else { return };
        let name = &mut self.names[index];
        name.change_count += 1;
        name.state = if name.is_stable { State::Absent } else { State::Lost };
    }

    fn look(&mut self, stage: &mut Stage<'_>) {
        let version = stage.version(ApiKey::Metadata, 10);
        let topics = if stage.rng.coin() {
            None
        } else {
            let topic =
                |name: &Name| MetadataRequestTopic { topic_id: Uuid::ZERO, name: Some(name.text.clone().into()) };
            Some(self.names.iter().map(topic).collect())
        };
        let request = MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() };
        self.looks.send(stage, (ApiKey::Metadata, version), Some(0), |out| request.encode(out, version));
        self.looking = Some(self.names.iter().map(|name| name.change_count).collect());
    }

    /// What was so when the question left, and still is, must be what the answer says.
    fn take_look(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let before = self.looking.take().expect("one at a time");
        let mut reader = wire::Reader::new(&answer.body);
        let response = MetadataResponse::decode(&mut reader, answer.version).expect("a whole answer");
        for (name, before) in self.names.iter_mut().zip(before) {
            if before != name.change_count {
                continue;
            }
            let told = response.topics.iter().find(|topic| topic.name.as_deref() == Some(&name.text));
            let told = told.filter(|topic| topic.error_code != ErrorCode::UnknownTopicOrPartition.to_wire());
            match (name.state, told) {
                (State::Present(topic), Some(told)) => {
                    let known = &stage.oracle.topics[topic];
                    assert!(told.error_code == 0, "metadata of {}: {}", name.text, spelled(told.error_code));
                    assert!(told.topic_id == known.id, "{} has another id now", name.text);
                    assert!(told.partitions.len() == known.partitions.len(), "{} has other partitions", name.text);
                }
                (State::Present(_), None) => panic!("{} was created and is not there", name.text),
                (State::Absent, Some(_)) if !name.is_stable => panic!("{} was deleted and is there", name.text),
                (State::Nameless, Some(told)) => {
                    assert!(told.partitions.len() == name.partitions, "{} has other partitions", name.text);
                    let (id, count) = (told.topic_id, name.partitions);
                    name.state = State::Present(stage.oracle.topic_created(&name.text, id, count, name.is_stable));
                }
                (State::Nameless, None) => panic!("{} was created and is not there", name.text),
                _ => (),
            }
        }
    }
}

const CHURNED_MAX: usize = 3;
