//! CreateTopics, and topics that come into being because a client asked for their metadata.

use controller::{Assignment, AutoTopic, Configs, Controller, CreateTopics, Decided, Image, NewTopic, Refusal, Topic};
use model::{ErrorCode, NodeId};
use wire::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};

use super::{OFFSETS_TOPIC, STORAGE_FAILED};
use crate::config::BrokerConfig;

/// Creates what can be created.
pub(crate) fn decide(
    request: &CreateTopicsRequest<'_>,
    controller: &mut Controller,
    config: &BrokerConfig,
    entropy: &mut dyn FnMut() -> u64,
) -> Decided<CreateTopicsResponse<'static>> {
    let image = controller.pending();
    let problems: Vec<_> = request.topics.iter().map(|topic| config_problem(topic, config, image)).collect();
    let topics = request.topics.iter().zip(&problems);
    let asked = CreateTopics {
        topics: topics.map(|(topic, problem)| new_topic(topic, problem.is_some())).collect(),
        validate_only: request.validate_only,
        partition_count_default: config.num_partitions,
    };
    let decided = controller.create_topics(&asked, entropy);
    decided.map(|created| {
        let items = request.topics.iter().zip(problems).zip(created);
        let results = items.map(|((topic, problem), created)| match created {
            Ok(created) => accepted(config, controller.pending(), &created),
            Err(refusal) => refused(topic, refusal, problem),
        });
        CreateTopicsResponse { topics: results.collect(), ..Default::default() }
    })
}

/// Creates topics that are asked for; what cannot be is missing afterwards.
pub(crate) fn auto_create(
    names: &[String],
    controller: &mut Controller,
    config: &BrokerConfig,
    entropy: &mut dyn FnMut() -> u64,
) -> Decided<()> {
    let topics: Vec<AutoTopic<'_>> = names.iter().map(|name| auto_topic(name, config)).collect();
    controller.auto_create_topics(&topics, entropy).map(|created| {
        for (name, refusal) in names.iter().zip(created).filter_map(|(name, created)| Some((name, created.err()?))) {
            tracing::debug!(topic = name, %refusal, "topic not auto-created");
        }
    })
}

fn auto_topic<'a>(name: &'a str, config: &BrokerConfig) -> AutoTopic<'a> {
    if name == OFFSETS_TOPIC {
        let (partition_count, configs) = (config.offsets_topic_num_partitions, config.offsets_topic_configs());
        return AutoTopic { name, partition_count, configs };
    }
    AutoTopic { name, partition_count: config.num_partitions, configs: Configs::new() }
}

/// An answer that has each topic and no outcome yet.
pub(crate) fn unanswered(request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
    let result =
        |topic: &CreatableTopic<'_>| CreatableTopicResult { name: topic.name.to_string().into(), ..Default::default() };
    CreateTopicsResponse { topics: request.topics.iter().map(result).collect(), ..Default::default() }
}

/// What was decided could not be written.
pub(crate) fn failed(response: &mut CreateTopicsResponse<'static>) {
    for topic in &mut response.topics {
        *topic = CreatableTopicResult {
            name: std::mem::take(&mut topic.name),
            error_code: ErrorCode::KafkaStorageError.to_wire(),
            error_message: Some(STORAGE_FAILED.into()),
            ..Default::default()
        };
    }
}

fn config_problem(topic: &CreatableTopic<'_>, config: &BrokerConfig, image: &Image) -> Option<String> {
    if let Some(config) = topic.configs.iter().find(|config| config.value.is_none()) {
        return Some(format!("{}: a value is needed", config.name.escape_debug()));
    }
    config.check_topic_configs(image, &configs(topic)).err().map(|error| error.to_string())
}

fn configs(topic: &CreatableTopic<'_>) -> Configs {
    let pairs = topic.configs.iter().filter_map(|config| {
        let value = config.value.as_deref()?;
        Some((config.name.trim().into(), value.trim().into()))
    });
    pairs.collect()
}

fn new_topic(topic: &CreatableTopic<'_>, configs_invalid: bool) -> NewTopic {
    let assignments = topic.assignments.iter().map(|assignment| Assignment {
        partition: assignment.partition_index,
        nodes: assignment.broker_ids.iter().copied().map(NodeId).collect(),
    });
    NewTopic {
        name: topic.name.to_string(),
        partition_count: Some(topic.num_partitions).filter(|count| *count != -1),
        replication_factor: Some(topic.replication_factor).filter(|factor| *factor != -1),
        assignments: assignments.collect(),
        configs: configs(topic),
        configs_invalid,
    }
}

fn accepted(config: &BrokerConfig, image: &Image, topic: &Topic) -> CreatableTopicResult<'static> {
    let configs = config.describe_topic(image, &topic.configs).map(|entry| CreatableTopicConfigs {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        // Never left at its default: clients know no source -1.
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
    });
    CreatableTopicResult {
        name: topic.name.to_string().into(),
        topic_id: topic.id,
        num_partitions: topic.partition_count as i32,
        replication_factor: 1,
        configs: Some(configs.collect()),
        ..Default::default()
    }
}

fn refused(topic: &CreatableTopic<'_>, refusal: Refusal, problem: Option<String>) -> CreatableTopicResult<'static> {
    let message = match (refusal, problem) {
        (Refusal::InvalidConfig, Some(problem)) => problem,
        _ => refusal.to_string(),
    };
    CreatableTopicResult {
        name: topic.name.to_string().into(),
        error_code: refusal.code().to_wire(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use wire::create_topics::CreatableTopicConfig;

    use super::*;
    use crate::handlers::testing::World;

    fn topic(name: &'static str, configs: &[(&'static str, Option<&'static str>)]) -> CreatableTopic<'static> {
        let config = |(name, value): &(&'static str, Option<&'static str>)| CreatableTopicConfig {
            name: (*name).into(),
            value: value.map(Into::into),
        };
        CreatableTopic {
            name: name.into(),
            num_partitions: -1,
            replication_factor: -1,
            configs: configs.iter().map(config).collect(),
            ..Default::default()
        }
    }

    fn create(world: &mut World, topics: Vec<CreatableTopic<'static>>) -> CreateTopicsResponse<'static> {
        let request = CreateTopicsRequest { topics, ..Default::default() };
        world.decide(|controller, config, entropy| decide(&request, controller, config, entropy))
    }

    #[test]
    fn a_created_topic_comes_with_its_settings_and_known_sources() {
        let mut world = World::with(&["num.partitions=4"]);
        let response = create(&mut world, vec![topic("measurements", &[("max.message.bytes", Some("500"))])]);
        let created = &response.topics[0];
        assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 4, 1));
        assert_eq!(Some(created.topic_id), world.image().topic("measurements").map(|topic| topic.id));
        let configs = created.configs.as_ref().expect("never null");
        assert!(configs.iter().all(|config| config.config_source > 0));
        let own = configs.iter().find(|config| config.name == "max.message.bytes").expect("known");
        assert_eq!((own.value.as_deref(), own.config_source), (Some("500"), 1));
    }

    #[test]
    fn refusals_have_a_code_a_message_and_no_null_lists() {
        let mut world = World::new();
        world.create("old", 1);
        let two_replicas = CreatableTopic { replication_factor: 2, ..topic("r", &[]) };
        for (topic, code, message) in [
            (topic("old", &[]), ErrorCode::TopicAlreadyExists, "the topic exists already"),
            (two_replicas, ErrorCode::InvalidReplicationFactor, "the replication factor is larger"),
            (topic("n", &[("retention.msec", Some("1"))]), ErrorCode::InvalidConfig, "did you mean retention.ms?"),
            (topic("n", &[("retention.ms", None)]), ErrorCode::InvalidConfig, "retention.ms: a value is needed"),
            (topic("old", &[("retention.ms", None)]), ErrorCode::TopicAlreadyExists, "the topic exists already"),
        ] {
            let response = create(&mut world, vec![topic]);
            let result = &response.topics[0];
            assert_eq!(ErrorCode::from_wire(result.error_code), Some(code));
            let said = result.error_message.as_deref().expect("a message");
            assert!(said.contains(message), "{said}");
            assert!(result.configs.is_some());
        }
    }

    #[test]
    fn what_could_not_be_written_is_a_storage_error() {
        let request = CreateTopicsRequest { topics: vec![topic("a", &[])], ..Default::default() };
        let mut response = unanswered(&request);
        failed(&mut response);
        assert_eq!(response.topics[0].name, "a");
        assert_eq!(ErrorCode::from_wire(response.topics[0].error_code), Some(ErrorCode::KafkaStorageError));
    }
}
