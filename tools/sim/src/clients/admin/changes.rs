//! What the administrator changes, one request at a time.

use model::{ErrorCode, Uuid};
use wire::ApiKey;
use wire::alter_configs as all;
use wire::create_partitions::{CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic};
use wire::create_topics::{CreatableTopic, CreatableTopicConfig, CreateTopicsRequest, CreateTopicsResponse};
use wire::delete_topics::{DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};
use wire::incremental_alter_configs as one;

use super::{Admin, CHURNED_MAX, Name, PARTITIONS_MAX, SET, State, TOPIC, VALUE};
use crate::clients::session::Answer;
use crate::clients::{Stage, is_retriable, spelled};
use crate::oracle::Rules;

impl Admin {
    pub(super) fn change(&mut self, stage: &mut Stage<'_>) {
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

    pub(super) fn create(&mut self, stage: &mut Stage<'_>, index: usize) {
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
    pub(super) fn grow(&mut self, stage: &mut Stage<'_>) -> bool {
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
    pub(super) fn alter(&mut self, stage: &mut Stage<'_>) -> bool {
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

    pub(super) fn delete(&mut self, stage: &mut Stage<'_>, index: usize) {
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

    pub(super) fn take_change(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
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

    pub(super) fn unanswered(&mut self) {
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
}
