//! DescribeConfigs: the settings of topics and of the broker.

use controller::check_topic_name;
use model::ErrorCode;
use wire::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};

use super::View;
use super::config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};
use crate::config::ConfigEntry;

/// The answer, one result for each resource.
pub(crate) fn answer(request: &DescribeConfigsRequest<'_>, view: &View<'_>) -> DescribeConfigsResponse<'static> {
    let result = |resource: &DescribeConfigsResource<'_>| {
        let mut result = DescribeConfigsResult {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.to_string().into(),
            ..Default::default()
        };
        match entries(view, resource) {
            Ok(entries) => {
                let wanted = entries.into_iter().filter(|entry| is_wanted(resource, &entry.name));
                result.configs = wanted.map(|entry| shown(entry, request)).collect();
            }
            Err((code, message)) => {
                result.error_code = code.to_wire();
                result.error_message = Some(message.into());
            }
        }
        result
    };
    DescribeConfigsResponse { results: request.resources.iter().map(result).collect(), ..Default::default() }
}

fn entries(view: &View<'_>, resource: &DescribeConfigsResource<'_>) -> Result<Vec<ConfigEntry>, (ErrorCode, String)> {
    let name = &*resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            let topic = view.image.topic(name).ok_or_else(|| match check_topic_name(name) {
                Err(refusal) if refusal.code() == ErrorCode::InvalidTopicException => {
                    (refusal.code(), refusal.to_string())
                }
                _ => (ErrorCode::UnknownTopicOrPartition, "there is no topic of this name".to_owned()),
            })?;
            Ok(view.config.describe_topic(view.image, &topic.configs).collect())
        }
        // No name: what all brokers were given while they ran.
        BROKER if name.is_empty() => Ok(view.config.describe_all_brokers(view.image).collect()),
        BROKER if name.parse() == Ok(view.image.node_id().0) => Ok(view.config.describe_broker(view.image).collect()),
        // These have no settings here, which is no error: ListConfigResources names the first.
        BROKER_LOGGER if name.parse() == Ok(view.image.node_id().0) => Ok(Vec::new()),
        CLIENT_METRICS | GROUP if !name.is_empty() => Ok(Vec::new()),
        CLIENT_METRICS | GROUP => Err((ErrorCode::InvalidRequest, "a name is needed".to_owned())),
        BROKER | BROKER_LOGGER => {
            let message = format!("this is broker {}, not '{}'", view.image.node_id().0, name.escape_debug());
            Err((ErrorCode::InvalidRequest, message))
        }
        other => Err((ErrorCode::InvalidRequest, format!("resources of type {other} have no settings here"))),
    }
}

/// Null and an empty list both ask for everything.
fn is_wanted(resource: &DescribeConfigsResource<'_>, name: &str) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key == name),
        _ => true,
    }
}

fn shown(entry: ConfigEntry, request: &DescribeConfigsRequest<'_>) -> DescribeConfigsResourceResult<'static> {
    let synonyms = entry.synonyms.into_iter().filter(|_| request.include_synonyms);
    let synonym = synonyms.map(|synonym| DescribeConfigsSynonym {
        name: synonym.name.into(),
        value: synonym.value.map(Into::into),
        source: synonym.source as i8,
    });
    DescribeConfigsResourceResult {
        name: entry.name.into(),
        value: entry.value.map(Into::into),
        read_only: entry.read_only,
        config_source: entry.source as i8,
        is_sensitive: entry.sensitive,
        synonyms: synonym.collect(),
        config_type: entry.kind as i8,
        documentation: request.include_documentation.then(|| entry.documentation.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    fn ask(
        world: &World,
        resource_type: i8,
        name: &'static str,
        keys: Option<&[&'static str]>,
    ) -> DescribeConfigsResult<'static> {
        let configuration_keys = keys.map(|keys| keys.iter().map(|key| (*key).into()).collect());
        let resource = DescribeConfigsResource { resource_type, resource_name: name.into(), configuration_keys };
        let request =
            DescribeConfigsRequest { resources: vec![resource], include_synonyms: true, include_documentation: true };
        answer(&request, &world.view()).results.remove(0)
    }

    #[test]
    fn topics_and_the_broker_are_described() {
        let mut world = World::new();
        world.create("a", 1);
        let topic = ask(&world, 2, "a", Some(&["cleanup.policy"]));
        assert_eq!(topic.configs.len(), 1);
        let config = &topic.configs[0];
        assert_eq!((config.value.as_deref(), config.config_source, config.config_type), (Some("delete"), 5, 7));
        assert!(!config.synonyms.is_empty());
        assert!(config.documentation.is_some());
        assert!(ask(&world, 2, "a", None).configs.len() > 30);
        assert!(ask(&world, 2, "a", Some(&[])).configs.len() > 30);
        let broker = ask(&world, 4, "1", Some(&["default.replication.factor", "node.id"]));
        assert_eq!(broker.configs.len(), 2);
        assert!(broker.configs.iter().all(|config| config.read_only && config.config_source == 5));
        for (resource_type, name) in [(4, ""), (8, "1"), (16, "metrics"), (32, "group")] {
            let none = ask(&world, resource_type, name, None);
            assert_eq!((none.error_code, none.configs.len()), (0, 0), "{resource_type} {name}");
        }
    }

    #[test]
    fn resources_that_are_not_here_say_so() {
        let world = World::new();
        for (resource_type, name, expected) in [
            (2, "x", ErrorCode::UnknownTopicOrPartition),
            (2, "x y", ErrorCode::InvalidTopicException),
            (2, "__cluster_metadata", ErrorCode::UnknownTopicOrPartition),
            (4, "2", ErrorCode::InvalidRequest),
            (4, "one", ErrorCode::InvalidRequest),
            (8, "2", ErrorCode::InvalidRequest),
            (16, "", ErrorCode::InvalidRequest),
            (32, "", ErrorCode::InvalidRequest),
            (64, "1", ErrorCode::InvalidRequest),
        ] {
            let result = ask(&world, resource_type, name, None);
            assert_eq!(ErrorCode::from_wire(result.error_code), Some(expected), "{resource_type} {name}");
            assert!(result.error_message.is_some());
        }
    }
}
