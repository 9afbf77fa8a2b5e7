//! AlterConfigs and IncrementalAlterConfigs: the settings of topics and of the broker, changed while it runs.
//!
//! Each resource succeeds or is refused by itself, as a whole. The first API says all values that a resource has from
//! now on, the second what differs. What a resource then has is made and checked here; the controller writes it down.

use std::collections::BTreeMap;

use controller::{ConfigResource, Configs, Controller, Decided, Image, NewConfigs, check_topic_name};
use model::ErrorCode;
use wire::alter_configs::{AlterConfigsRequest, AlterConfigsResourceResponse, AlterConfigsResponse};
use wire::incremental_alter_configs::{self as incremental, IncrementalAlterConfigsRequest};

use super::STORAGE_FAILED;
use super::config_resource::{BROKER, TOPIC};
use crate::config::{BrokerConfig, DynamicProblem, Problem};

/// Gives resources all their values.
pub(crate) fn decide(
    request: &AlterConfigsRequest<'_>,
    controller: &mut Controller,
    config: &BrokerConfig,
) -> Decided<AlterConfigsResponse<'static>> {
    let resources: Vec<_> = request.resources.iter().map(replacing).collect();
    alter(&resources, request.validate_only, controller, config).map(|outcomes| {
        let responses = resources.iter().zip(outcomes).map(|(resource, outcome)| response(resource, outcome));
        AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
    })
}

/// Changes single values of resources.
pub(crate) fn decide_incremental(
    request: &IncrementalAlterConfigsRequest<'_>,
    controller: &mut Controller,
    config: &BrokerConfig,
) -> Decided<incremental::IncrementalAlterConfigsResponse<'static>> {
    let resources: Vec<_> = request.resources.iter().map(changing).collect();
    alter(&resources, request.validate_only, controller, config).map(|outcomes| {
        let responses = resources.iter().zip(outcomes).map(|(resource, outcome)| response(resource, outcome));
        incremental_response(responses)
    })
}

/// An answer that has each resource and no outcome yet.
pub(crate) fn unanswered(request: &AlterConfigsRequest<'_>) -> AlterConfigsResponse<'static> {
    let responses = request.resources.iter().map(|resource| response(&replacing(resource), Ok(())));
    AlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

/// As [`unanswered`].
pub(crate) fn unanswered_incremental(
    request: &IncrementalAlterConfigsRequest<'_>,
) -> incremental::IncrementalAlterConfigsResponse<'static> {
    incremental_response(request.resources.iter().map(|resource| response(&changing(resource), Ok(()))))
}

/// What was decided could not be written.
pub(crate) fn failed(response: &mut AlterConfigsResponse<'static>) {
    for resource in &mut response.responses {
        resource.error_code = ErrorCode::KafkaStorageError.to_wire();
        resource.error_message = Some(STORAGE_FAILED.into());
    }
}

/// As [`failed`].
pub(crate) fn failed_incremental(response: &mut incremental::IncrementalAlterConfigsResponse<'static>) {
    for resource in &mut response.responses {
        resource.error_code = ErrorCode::KafkaStorageError.to_wire();
        resource.error_message = Some(STORAGE_FAILED.into());
    }
}

/// A resource of a request, in either form.
struct Resource<'a> {
    kind: i8,
    name: &'a str,
    /// Whether it loses what is not named.
    replace: bool,
    /// Setting, operation, value.
    changes: Vec<(&'a str, i8, Option<&'a str>)>,
}

type Outcome = Result<(), (ErrorCode, String)>;

fn replacing<'a>(resource: &'a wire::alter_configs::AlterConfigsResource<'_>) -> Resource<'a> {
    let changes = resource.configs.iter().map(|config| (config.name.trim(), SET, config.value.as_deref()));
    Resource { kind: resource.resource_type, name: &resource.resource_name, replace: true, changes: changes.collect() }
}

fn changing<'a>(resource: &'a incremental::AlterConfigsResource<'_>) -> Resource<'a> {
    let change = |config: &'a incremental::AlterableConfig<'_>| {
        (config.name.trim(), config.config_operation, config.value.as_deref())
    };
    Resource {
        kind: resource.resource_type,
        name: &resource.resource_name,
        replace: false,
        changes: resource.configs.iter().map(change).collect(),
    }
}

fn alter(
    resources: &[Resource<'_>],
    validate_only: bool,
    controller: &mut Controller,
    config: &BrokerConfig,
) -> Decided<Vec<Outcome>> {
    let mut named: BTreeMap<(i8, &str), u32> = BTreeMap::new();
    for resource in resources {
        *named.entry((resource.kind, resource.name)).or_default() += 1;
    }
    let image = controller.pending();
    let made = resources.iter().map(|resource| {
        if named.get(&(resource.kind, resource.name)).is_some_and(|times| *times > 1) {
            return Err(invalid("the request names this resource more than once"));
        }
        new_configs(resource, image, config)
    });
    let made: Vec<Result<NewConfigs, _>> = made.collect();
    let valid: Vec<NewConfigs> = made.iter().flatten().cloned().collect();
    controller.alter_configs(&valid, validate_only).map(|altered| {
        let mut altered = altered.into_iter();
        let outcome = |made: Result<NewConfigs, _>| {
            made?;
            let altered = altered.next().expect("each valid resource has an outcome");
            altered.map_err(|refusal| (refusal.code(), refusal.to_string()))
        };
        made.into_iter().map(outcome).collect()
    })
}

/// The values that a resource has afterwards.
fn new_configs(asked: &Resource<'_>, image: &Image, config: &BrokerConfig) -> Result<NewConfigs, (ErrorCode, String)> {
    let (resource, current) = find(asked, image, config)?;
    let mut configs = if asked.replace { Configs::new() } else { current.clone() };
    let mut seen: Vec<&str> = Vec::with_capacity(asked.changes.len());
    let mut set = Configs::new();
    for (name, operation, value) in &asked.changes {
        if seen.contains(name) {
            return Err(invalid(format!("{}: the request names this setting more than once", name.escape_debug())));
        }
        if seen.len() == CHANGES_MAX {
            return Err(invalid(format!("one request changes at most {CHANGES_MAX} settings of a resource")));
        }
        seen.push(name);
        if *operation == DELETE {
            configs.remove(*name);
            continue;
        }
        let value = value.ok_or_else(|| invalid(format!("{}: a value is needed", name.escape_debug())))?.trim();
        let value = match *operation {
            SET => value.to_owned(),
            APPEND | SUBTRACT => {
                let (is_list, default) = list_setting(&resource, name);
                if !is_list {
                    let message = format!("{}: it is no list", name.escape_debug());
                    return Err((ErrorCode::InvalidConfig, message));
                }
                let current = configs.get(*name).map_or(default, |value| value);
                edited(current, value, *operation == APPEND)
            }
            other => return Err(invalid(format!("{}: there is no operation {other}", name.escape_debug()))),
        };
        configs.insert((*name).into(), value.as_str().into());
        set.insert((*name).into(), value.into());
    }
    check(&resource, &set, &configs, image, config)?;
    Ok(NewConfigs { resource, configs })
}

/// The resource that is meant, and what it has.
fn find<'a>(
    asked: &Resource<'_>,
    image: &'a Image,
    config: &BrokerConfig,
) -> Result<(ConfigResource, &'a Configs), (ErrorCode, String)> {
    let name = asked.name;
    match asked.kind {
        TOPIC if name.is_empty() => Err(invalid("a topic is named")),
        TOPIC => match (image.topic(name), check_topic_name(name)) {
            (Some(topic), _) => Ok((ConfigResource::Topic(name.to_owned()), &topic.configs)),
            (None, Err(refusal)) if refusal.code() == ErrorCode::InvalidTopicException => {
                Err((refusal.code(), refusal.to_string()))
            }
            (None, _) => Err((ErrorCode::UnknownTopicOrPartition, "there is no topic of this name".to_owned())),
        },
        BROKER if name.is_empty() => Ok((ConfigResource::Broker(None), image.broker_configs(None))),
        BROKER if name == config.node_id.0.to_string() => {
            let node = Some(config.node_id);
            Ok((ConfigResource::Broker(node), image.broker_configs(node)))
        }
        BROKER => Err(invalid(format!("this is broker {}, not '{}'", config.node_id.0, name.escape_debug()))),
        other => Err(invalid(format!("resources of type {other} have no settings that can be changed here"))),
    }
}

/// Whether the values that are set may be.
fn check(resource: &ConfigResource, set: &Configs, all: &Configs, image: &Image, config: &BrokerConfig) -> Outcome {
    match resource {
        ConfigResource::Topic(_) => {
            let checked = BrokerConfig::check_topic_values(set).and_then(|()| config.check_topic_together(image, all));
            checked.map_err(|error| (ErrorCode::InvalidConfig, error.to_string()))
        }
        ConfigResource::Broker(_) => set.iter().try_for_each(|(name, value)| {
            BrokerConfig::check_dynamic(name, value).map_err(|problem| {
                let code = match problem {
                    DynamicProblem::Value(Problem::Unknown { .. }) => ErrorCode::InvalidConfig,
                    // Kafka's code for both, unlike that of a topic's settings.
                    DynamicProblem::Value(_) | DynamicProblem::ReadOnly => ErrorCode::InvalidRequest,
                };
                (code, format!("{}: {problem}", name.escape_debug()))
            })
        }),
    }
}

/// Whether a setting is a list, and its default, which an operation on one that is not set begins with.
fn list_setting(resource: &ConfigResource, name: &str) -> (bool, &'static str) {
    let setting = match resource {
        ConfigResource::Topic(_) => BrokerConfig::topic_setting(name),
        ConfigResource::Broker(_) => BrokerConfig::broker_setting(name),
    };
    setting.map_or((false, ""), |setting| (setting.is_list(), setting.default.unwrap_or("")))
}

/// A list with items that it had not, or without those that it had.
fn edited(current: &str, items: &str, append: bool) -> String {
    let split = |text| str::split(text, ',').map(str::trim).filter(|item| !item.is_empty());
    let mut list: Vec<&str> = split(current).collect();
    for item in split(items) {
        match append {
            true if !list.contains(&item) => list.push(item),
            true => {}
            false => list.retain(|kept| *kept != item),
        }
    }
    list.join(",")
}

fn response(resource: &Resource<'_>, outcome: Outcome) -> AlterConfigsResourceResponse<'static> {
    let (code, message) = match outcome {
        Ok(()) => (ErrorCode::None, None),
        Err((code, message)) => (code, Some(message)),
    };
    AlterConfigsResourceResponse {
        error_code: code.to_wire(),
        error_message: message.map(Into::into),
        resource_type: resource.kind,
        resource_name: resource.name.to_owned().into(),
    }
}

/// The two APIs' answers say the same.
fn incremental_response(
    responses: impl Iterator<Item = AlterConfigsResourceResponse<'static>>,
) -> incremental::IncrementalAlterConfigsResponse<'static> {
    let responses = responses.map(|response| incremental::AlterConfigsResourceResponse {
        error_code: response.error_code,
        error_message: response.error_message,
        resource_type: response.resource_type,
        resource_name: response.resource_name,
    });
    incremental::IncrementalAlterConfigsResponse { responses: responses.collect(), ..Default::default() }
}

fn invalid(message: impl Into<String>) -> (ErrorCode, String) {
    (ErrorCode::InvalidRequest, message.into())
}

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

/// More than there are settings.
const CHANGES_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use wire::alter_configs::{AlterConfigsResource, AlterableConfig};

    use super::*;
    use crate::handlers::testing::World;

    type Said = Vec<(Option<ErrorCode>, String)>;
    /// Setting, operation, value.
    type Change = (&'static str, i8, Option<&'static str>);

    fn change(world: &mut World, resources: &[(i8, &'static str, &[Change])]) -> Said {
        let config = |(name, config_operation, value): &Change| {
            let (name, value) = ((*name).into(), value.map(Into::into));
            incremental::AlterableConfig { name, config_operation: *config_operation, value }
        };
        let resource = |(resource_type, name, changes): &(i8, &'static str, &[Change])| {
            let configs = changes.iter().map(config).collect();
            incremental::AlterConfigsResource { resource_type: *resource_type, resource_name: (*name).into(), configs }
        };
        let resources = resources.iter().map(resource).collect();
        let request = IncrementalAlterConfigsRequest { resources, validate_only: false };
        let response = world.decide(|controller, config, _| decide_incremental(&request, controller, config));
        let said = response.responses.into_iter();
        said.map(|one| (ErrorCode::from_wire(one.error_code), one.error_message.unwrap_or_default().into_owned()))
            .collect()
    }

    fn own(world: &World) -> Vec<(String, String)> {
        let topic = world.image().topic("t").expect("created");
        topic.configs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    #[test]
    fn single_values_are_set_deleted_and_lists_edited() {
        let mut world = World::new();
        world.create("t", 1);
        for (change_one, expected) in [
            (("retention.ms", SET, Some(" 5 ")), vec![("retention.ms", "5")]),
            (
                ("cleanup.policy", APPEND, Some("compact")),
                vec![("cleanup.policy", "delete,compact"), ("retention.ms", "5")],
            ),
            (
                ("cleanup.policy", APPEND, Some("compact")),
                vec![("cleanup.policy", "delete,compact"), ("retention.ms", "5")],
            ),
            (("retention.ms", DELETE, None), vec![("cleanup.policy", "delete,compact")]),
            (("cleanup.policy", SUBTRACT, Some("delete")), vec![("cleanup.policy", "compact")]),
            (("retention.ms", DELETE, None), vec![("cleanup.policy", "compact")]),
        ] {
            let said = change(&mut world, &[(TOPIC, "t", &[change_one])]);
            assert_eq!(said, [(Some(ErrorCode::None), String::new())]);
            let expected = expected.into_iter().map(|(key, value)| (key.to_string(), value.to_string()));
            assert_eq!(own(&world), expected.collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_older_api_replaces_all_values() {
        let mut world = World::new();
        world.create("t", 1);
        change(&mut world, &[(TOPIC, "t", &[("retention.ms", SET, Some("5"))])]);
        let config = |name: &'static str, value: Option<&'static str>| AlterableConfig {
            name: name.into(),
            value: value.map(Into::into),
        };
        let resource = |configs| AlterConfigsResource { resource_type: TOPIC, resource_name: "t".into(), configs };
        for (configs, validate_only, code, expected) in [
            (vec![config("flush.ms", Some("7"))], true, ErrorCode::None, ("retention.ms", "5")),
            (vec![config("flush.ms", None)], false, ErrorCode::InvalidRequest, ("retention.ms", "5")),
            (vec![config("flush.ms", Some("7"))], false, ErrorCode::None, ("flush.ms", "7")),
        ] {
            let request = AlterConfigsRequest { resources: vec![resource(configs)], validate_only };
            let response = world.decide(|controller, config, _| decide(&request, controller, config));
            assert_eq!(ErrorCode::from_wire(response.responses[0].error_code), Some(code));
            assert_eq!(own(&world), [(expected.0.to_string(), expected.1.to_string())]);
        }
    }

    #[test]
    fn the_brokers_dynamic_settings_reach_topics_and_the_others_are_refused() {
        let mut world = World::new();
        world.create("t", 1);
        let said = change(
            &mut world,
            &[
                (BROKER, "", &[("log.retention.ms", SET, Some("7"))]),
                (BROKER, "1", &[("log.retention.ms", SET, Some("8"))]),
            ],
        );
        assert_eq!(said, [(Some(ErrorCode::None), String::new()), (Some(ErrorCode::None), String::new())]);
        let retention = |world: &World| world.config.topic(world.image(), &Configs::new()).retention_ms;
        assert_eq!(retention(&world), Some(8));
        change(&mut world, &[(BROKER, "1", &[("log.retention.ms", DELETE, None)])]);
        assert_eq!(retention(&world), Some(7));
        for (name, setting, value, code, message) in [
            ("1", "node.id", "2", ErrorCode::InvalidRequest, "node.id: it cannot be changed while the broker runs"),
            ("", "log.retention.hours", "2", ErrorCode::InvalidRequest, "it cannot be changed"),
            ("1", "log.retention.ms", "x", ErrorCode::InvalidRequest, "'x' is not a whole number"),
            ("1", "log.roll.ms", "0", ErrorCode::InvalidRequest, "'0' is not a whole number from 1"),
            ("", "log.retention.m", "1", ErrorCode::InvalidConfig, "did you mean log.retention.ms?"),
            ("2", "log.retention.ms", "1", ErrorCode::InvalidRequest, "this is broker 1, not '2'"),
            ("one", "log.retention.ms", "1", ErrorCode::InvalidRequest, "this is broker 1, not 'one'"),
            ("01", "log.retention.ms", "1", ErrorCode::InvalidRequest, "this is broker 1, not '01'"),
        ] {
            let said = change(&mut world, &[(BROKER, name, &[(setting, SET, Some(value))])]).remove(0);
            assert_eq!(said.0, Some(code), "{setting}");
            assert!(said.1.contains(message), "{}", said.1);
        }
    }

    #[test]
    fn a_resource_is_refused_as_a_whole_and_alone() {
        let mut world = World::new();
        world.create("t", 1);
        for (resource_type, name, changes, code, message) in [
            (TOPIC, "x", &[("retention.ms", SET, Some("1"))][..], ErrorCode::UnknownTopicOrPartition, "no topic"),
            (TOPIC, "x y", &[("retention.ms", SET, Some("1"))], ErrorCode::InvalidTopicException, "topic name"),
            (TOPIC, "", &[("retention.ms", SET, Some("1"))], ErrorCode::InvalidRequest, "a topic is named"),
            (TOPIC, "t", &[("retention.msx", SET, Some("1"))], ErrorCode::InvalidConfig, "did you mean retention.ms?"),
            (
                TOPIC,
                "t",
                &[("flush.ms", SET, Some("1")), ("retention.ms", SET, Some("x"))],
                ErrorCode::InvalidConfig,
                "'x'",
            ),
            (
                TOPIC,
                "t",
                &[("flush.ms", SET, Some("1")), ("flush.ms", DELETE, None)],
                ErrorCode::InvalidRequest,
                "more than once",
            ),
            (TOPIC, "t", &[("flush.ms", SET, None)], ErrorCode::InvalidRequest, "a value is needed"),
            (TOPIC, "t", &[("flush.ms", APPEND, Some("1"))], ErrorCode::InvalidConfig, "it is no list"),
            (TOPIC, "t", &[("flush.ms", 9, Some("1"))], ErrorCode::InvalidRequest, "no operation 9"),
            (TOPIC, "t", &[("cleanup.policy", APPEND, Some("keep"))], ErrorCode::InvalidConfig, "not a list of"),
            (
                TOPIC,
                "t",
                &[("min.compaction.lag.ms", SET, Some("9")), ("max.compaction.lag.ms", SET, Some("5"))],
                ErrorCode::InvalidConfig,
                "max.compaction.lag.ms is 5",
            ),
            (8, "1", &[("root", SET, Some("DEBUG"))], ErrorCode::InvalidRequest, "resources of type 8"),
            (32, "group", &[("x", SET, Some("1"))], ErrorCode::InvalidRequest, "resources of type 32"),
        ] {
            let said = change(&mut world, &[(resource_type, name, changes)]).remove(0);
            assert_eq!(said.0, Some(code), "{name} {changes:?} {}", said.1);
            assert!(said.1.contains(message), "{}", said.1);
            assert!(own(&world).is_empty());
        }
        let twice: &[_] = &[("flush.ms", SET, Some("1"))];
        let said = change(&mut world, &[(TOPIC, "t", twice), (BROKER, "", &[]), (TOPIC, "t", twice)]);
        let codes: Vec<_> = said.into_iter().map(|(code, _)| code).collect();
        let invalid = Some(ErrorCode::InvalidRequest);
        assert_eq!(codes, [invalid, Some(ErrorCode::None), invalid]);
    }

    #[test]
    fn what_could_not_be_written_is_a_storage_error() {
        let resources = vec![AlterConfigsResource { resource_type: TOPIC, resource_name: "t".into(), configs: vec![] }];
        let mut response = unanswered(&AlterConfigsRequest { resources, validate_only: false });
        failed(&mut response);
        let said = &response.responses[0];
        assert_eq!((&*said.resource_name, said.error_code), ("t", ErrorCode::KafkaStorageError.to_wire()));
    }
}
