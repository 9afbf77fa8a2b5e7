//! The only client that creates, grows and deletes topics, one request at a time: what was acknowledged stays so.

use model::{ErrorCode, Uuid};
use wire::ApiKey;
use wire::alter_configs as all;
use wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic};
use wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use wire::incremental_alter_configs as one;
use wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};
use crate::oracle::{Rules, Topic, TopicIndex};

/// The client. Two connections, so that what one was told is asked of the other.
#[derive(Debug)]
pub(crate) struct Admin {
    changes: Session,
    looks: Session,
    names: Vec<Name>,
    doing: Option<usize>,
    looking: Option<Look>,
    created_count: usize,
    next_ns: u64,
    /// How many changes it makes beside its stable topics; without it as many as there is time for.
    changes_left: Option<u32>,
}

/// A question, and how often what it is about had changed when it left.
#[derive(Debug)]
enum Look {
    Metadata(Vec<u32>),
    Configs { index: usize, change_count: u32 },
}

#[derive(Debug)]
struct Name {
    text: String,
    /// As many as it is to have; more than it has while it grows.
    partitions: usize,
    is_stable: bool,
    rules: Rules,
    state: State,
    change_count: u32,
    /// What a setting without effect has, as far as anybody knows: the last that was acknowledged, and what may be.
    value: Option<u64>,
    values_unheard: Vec<u64>,
    /// A growth was not answered, or failed: nobody knows whether it was done.
    grew_unheard: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Absent,
    Creating,
    /// Created, as the broker said; the id is not known yet.
    Nameless,
    Present(TopicIndex),
    Growing(TopicIndex),
    Altering(TopicIndex, u64),
    Deleting(TopicIndex),
    /// A request was not answered: nobody knows, now or later.
    Lost,
}

impl Admin {
    /// Creates topics with so many partitions first, never to be deleted.
    pub(crate) fn new(stable: &[(usize, Rules)]) -> Admin {
        let name = |(index, (partitions, rules)): (usize, &(usize, Rules))| {
            Name::new(format!("{STABLE}{index}"), *partitions, true, *rules)
        };
        Admin {
            changes: Session::default(),
            looks: Session::default(),
            names: stable.iter().enumerate().map(name).collect(),
            doing: None,
            looking: None,
            created_count: 0,
            next_ns: 0,
            changes_left: None,
        }
    }

    /// Creates topics, makes so many changes and then only looks.
    pub(crate) fn brief(stable: &[(usize, Rules)], changes: u32) -> Admin {
        Admin { changes_left: Some(changes), ..Admin::new(stable) }
    }
}

impl Name {
    fn new(text: String, partitions: usize, is_stable: bool, rules: Rules) -> Name {
        Name {
            text,
            partitions,
            is_stable,
            rules,
            state: State::Absent,
            change_count: 0,
            value: None,
            values_unheard: Vec::new(),
            grew_unheard: false,
        }
    }

    fn topic(&self, id: Uuid) -> Topic {
        Topic::new(&self.text, id, self.partitions, self.is_stable, self.rules)
    }

    /// The settings that make its rules.
    fn configs(&self) -> Vec<(&'static str, String)> {
        let Rules { log_append_time, compacts, retention_ms, retention_bytes } = self.rules;
        let timestamp_type = if log_append_time { "LogAppendTime" } else { "CreateTime" };
        let mut configs = vec![("message.timestamp.type", timestamp_type.to_owned())];
        if compacts {
            configs.push(("cleanup.policy", "compact".to_owned()));
            configs.push(("min.cleanable.dirty.ratio", "0.1".to_owned()));
            // A tombstone goes with the next pass.
            configs.push(("delete.retention.ms", "0".to_owned()));
        }
        configs.extend(retention_ms.map(|value| ("retention.ms", value.to_string())));
        configs.extend(retention_bytes.map(|value| ("retention.bytes", value.to_string())));
        configs
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
        let missing = |name: &Name| name.is_stable && !matches!(name.state, State::Present(_));
        let eager = self.names.iter().any(missing) || self.changes_left.is_some_and(|left| left > 0);
        self.next_ns = if eager { stage.think(50, 500) } else { stage.think(1000, 60_000) };
        stage.at(self.next_ns);
        if self.looking.is_none() && self.looks.is_open(stage) {
            match stage.rng.index(4) {
                0 => self.describe(stage),
                _ => self.look(stage),
            }
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
        if stage.winding_down || self.changes_left == Some(0) {
            return;
        }
        self.changes_left = self.changes_left.map(|left| left - 1);
        if stage.rng.chance(100) && self.grow(stage) {
            return;
        }
        if stage.rng.chance(200) && self.alter(stage) {
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
                self.names.push(Name::new(text, 1, false, Rules::default()));
                self.names.len() - 1
            });
            self.names[index].partitions = stage.rng.range(1, 4) as usize;
            self.names[index].rules.log_append_time = stage.rng.chance(300);
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
        name.value = None;
        name.values_unheard.clear();
        name.change_count += 1;
        self.doing = Some(index);
        let configs = name
            .configs()
            .into_iter()
            .map(|(name, value)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) });
        let topic = CreatableTopic {
            name: name.text.clone().into(),
            num_partitions: name.partitions as i32,
            replication_factor: 1,
            configs: configs.collect(),
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let version = stage.version(ApiKey::CreateTopics, 2);
        self.changes.send(stage, (ApiKey::CreateTopics, version), Some(0), |out| request.encode(out, version));
    }

    /// Gives a topic another partition, or tries again to.
    fn grow(&mut self, stage: &mut Stage<'_>) -> bool {
        let grows = |name: &&mut Name| matches!(name.state, State::Present(_)) && name.partitions < PARTITIONS_MAX;
        let Some((index, name)) = self.names.iter_mut().enumerate().find(|(_, name)| grows(name)) else {
            return false;
        };
        let State::Present(topic) = name.state else { unreachable!("just looked") };
        if stage.oracle.topics[topic].partitions.len() == name.partitions {
            name.partitions += 1;
        }
        name.state = State::Growing(topic);
        name.change_count += 1;
        self.doing = Some(index);
        let topic =
            CreatePartitionsTopic { name: name.text.clone().into(), count: name.partitions as i32, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![topic], timeout_ms: 30_000, validate_only: false };
        let version = stage.version(ApiKey::CreatePartitions, 0);
        self.changes.send(stage, (ApiKey::CreatePartitions, version), Some(0), |out| request.encode(out, version));
        true
    }

    /// Gives a topic another value of a setting, alone or with all the others.
    fn alter(&mut self, stage: &mut Stage<'_>) -> bool {
        let index = stage.rng.index(self.names.len());
        let name = &mut self.names[index];
        let State::Present(topic) = name.state else { return false };
        let value = stage.rng.range(1, 1 << 40);
        name.state = State::Altering(topic, value);
        name.change_count += 1;
        self.doing = Some(index);
        let resource_name = name.text.clone().into();
        if stage.rng.coin() {
            let config = one::AlterableConfig {
                name: VALUE.into(),
                config_operation: SET,
                value: Some(value.to_string().into()),
            };
            let resource = one::AlterConfigsResource { resource_type: TOPIC, resource_name, configs: vec![config] };
            let request = one::IncrementalAlterConfigsRequest { resources: vec![resource], validate_only: false };
            let key = ApiKey::IncrementalAlterConfigs;
            let version = stage.version(key, 0);
            self.changes.send(stage, (key, version), Some(0), |out| request.encode(out, version));
        } else {
            let configs = name.configs().into_iter().chain([(VALUE, value.to_string())]);
            let config = |(name, value): (&'static str, String)| all::AlterableConfig {
                name: name.into(),
                value: Some(value.into()),
            };
            let configs = configs.map(config).collect();
            let resource = all::AlterConfigsResource { resource_type: TOPIC, resource_name, configs };
            let request = all::AlterConfigsRequest { resources: vec![resource], validate_only: false };
            let version = stage.version(ApiKey::AlterConfigs, 0);
            self.changes.send(stage, (ApiKey::AlterConfigs, version), Some(0), |out| request.encode(out, version));
        }
        true
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
        let (code, id, partitions) = match answer.key {
            ApiKey::CreateTopics => {
                let response = CreateTopicsResponse::decode(&mut reader, answer.version).expect("a whole answer");
                let [topic] = &response.topics[..] else { panic!("one topic was asked for") };
                (topic.error_code, topic.topic_id, topic.num_partitions)
            }
            ApiKey::CreatePartitions => {
                let response = CreatePartitionsResponse::decode(&mut reader, answer.version).expect("a whole answer");
                let [topic] = &response.results[..] else { panic!("one topic was asked for") };
                (topic.error_code, Uuid::ZERO, -1)
            }
            ApiKey::IncrementalAlterConfigs => {
                let response = one::IncrementalAlterConfigsResponse::decode(&mut reader, answer.version);
                let response = response.expect("a whole answer");
                let [resource] = &response.responses[..] else { panic!("one topic was asked for") };
                (resource.error_code, Uuid::ZERO, -1)
            }
            ApiKey::AlterConfigs => {
                let response = all::AlterConfigsResponse::decode(&mut reader, answer.version).expect("a whole answer");
                let [resource] = &response.responses[..] else { panic!("one topic was asked for") };
                (resource.error_code, Uuid::ZERO, -1)
            }
            _ => {
                let response = DeleteTopicsResponse::decode(&mut reader, answer.version).expect("a whole answer");
                let [topic] = &response.responses[..] else { panic!("one topic was asked for") };
                (topic.error_code, topic.topic_id, -1)
            }
        };
        let name = &mut self.names[index];
        name.change_count += 1;
        let exists = code == ErrorCode::TopicAlreadyExists.to_wire();
        name.state = match name.state {
            State::Creating if code == 0 && !id.is_zero() => {
                assert!(partitions < 0 || partitions as usize == name.partitions);
                State::Present(stage.oracle.topic_created(name.topic(id)))
            }
            // The second time it may have been done the first time.
            State::Growing(topic) if code == 0 || code == ErrorCode::InvalidPartitions.to_wire() => {
                assert!(code == 0 || name.grew_unheard, "{} refused to grow: {}", name.text, spelled(code));
                name.grew_unheard = false;
                stage.oracle.partitions_created(topic, name.partitions);
                State::Present(topic)
            }
            State::Altering(topic, value) if code == 0 => {
                name.value = Some(value);
                State::Present(topic)
            }
            State::Altering(topic, value) if is_retriable(code) => {
                name.values_unheard.push(value);
                State::Present(topic)
            }
            State::Growing(topic) if is_retriable(code) => {
                name.grew_unheard = true;
                State::Present(topic)
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
        name.state = match name.state {
            State::Growing(topic) => {
                name.grew_unheard = true;
                State::Present(topic)
            }
            State::Altering(topic, value) => {
                name.values_unheard.push(value);
                State::Present(topic)
            }
            _ if name.is_stable => State::Absent,
            _ => State::Lost,
        };
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
        self.looking = Some(Look::Metadata(self.names.iter().map(|name| name.change_count).collect()));
    }

    /// Asks for a topic's settings.
    fn describe(&mut self, stage: &mut Stage<'_>) {
        let index = stage.rng.index(self.names.len());
        let name = &self.names[index];
        let keys = name.configs().into_iter().map(|(name, _)| name.into()).chain([VALUE.into()]);
        let resource = DescribeConfigsResource {
            resource_type: TOPIC,
            resource_name: name.text.clone().into(),
            configuration_keys: stage.rng.coin().then(|| keys.collect()),
        };
        let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
        let version = stage.version(ApiKey::DescribeConfigs, 1);
        self.looking = Some(Look::Configs { index, change_count: name.change_count });
        self.looks.send(stage, (ApiKey::DescribeConfigs, version), Some(0), |out| request.encode(out, version));
    }

    fn take_configs(&self, index: usize, answer: &Answer) {
        let name = &self.names[index];
        let mut reader = wire::Reader::new(&answer.body);
        let response = DescribeConfigsResponse::decode(&mut reader, answer.version).expect("a whole answer");
        let [result] = &response.results[..] else { panic!("one topic was asked for") };
        let code = result.error_code;
        match name.state {
            State::Present(_) | State::Nameless => {
                assert!(code == 0, "settings of {}: {}", name.text, spelled(code));
                for (key, value) in name.configs() {
                    let told = result.configs.iter().find(|config| &*config.name == key);
                    let told = told.and_then(|config| config.value.as_deref());
                    assert!(told == Some(&value), "{} has {key} {told:?}", name.text);
                }
                let told = result.configs.iter().find(|config| &*config.name == VALUE);
                let told = told.and_then(|config| config.value.as_deref()?.parse::<u64>().ok());
                let unheard = told.is_some_and(|value| name.values_unheard.contains(&value));
                let good = unheard || name.value.is_none() || told == name.value;
                assert!(good, "{} has {VALUE} {told:?}, not {:?}", name.text, name.value);
            }
            State::Absent if !name.is_stable => assert!(code != 0, "{} was deleted and has settings", name.text),
            _ => (),
        }
    }

    /// What was so when the question left, and still is, must be what the answer says.
    fn take_look(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let before = match self.looking.take().expect("one at a time") {
            Look::Metadata(before) => before,
            Look::Configs { index, change_count } if change_count == self.names[index].change_count => {
                return self.take_configs(index, answer);
            }
            Look::Configs { .. } => return,
        };
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
                    let count = told.partitions.len();
                    let grew = name.grew_unheard && count == name.partitions;
                    assert!(grew || count == known.partitions.len(), "{} has other partitions", name.text);
                }
                (State::Present(_), None) => panic!("{} was created and is not there", name.text),
                (State::Absent, Some(_)) if !name.is_stable => panic!("{} was deleted and is there", name.text),
                (State::Nameless, Some(told)) => {
                    assert!(told.partitions.len() == name.partitions, "{} has other partitions", name.text);
                    name.state = State::Present(stage.oracle.topic_created(name.topic(told.topic_id)));
                }
                (State::Nameless, None) => panic!("{} was created and is not there", name.text),
                _ => (),
            }
        }
    }
}

/// What the names of topics that are never deleted begin with.
pub(crate) const STABLE: &str = "stable-";
const CHURNED_MAX: usize = 3;
const PARTITIONS_MAX: usize = 10;
/// A setting that changes nothing.
const VALUE: &str = "flush.messages";
/// The operation of an incremental change.
const SET: i8 = 0;
/// The kind of resource.
const TOPIC: i8 = 2;
