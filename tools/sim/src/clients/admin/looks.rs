//! What the administrator asks, and holds against what it knows.

use model::{ErrorCode, Uuid};
use wire::ApiKey;
use wire::describe_configs::{DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResponse};
use wire::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};

use super::{Admin, Look, Name, State, TOPIC, VALUE};
use crate::clients::session::Answer;
use crate::clients::{Stage, spelled};

impl Admin {
    pub(super) fn look(&mut self, stage: &mut Stage<'_>) {
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
    pub(super) fn describe(&mut self, stage: &mut Stage<'_>) {
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

    pub(super) fn take_configs(&self, index: usize, answer: &Answer) {
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
    pub(super) fn take_look(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
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
