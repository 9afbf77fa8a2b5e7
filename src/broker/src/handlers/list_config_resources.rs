//! ListConfigResources: what has settings. Groups and client metrics have none here.

use model::ErrorCode;
use wire::list_config_resources::{ConfigResource, ListConfigResourcesRequest, ListConfigResourcesResponse};

use super::View;
use super::config_resource::{BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP, TOPIC};

/// The answer; no type at all asks for every one.
pub(crate) fn answer(
    request: &ListConfigResourcesRequest,
    version: i16,
    view: &View<'_>,
) -> ListConfigResourcesResponse<'static> {
    // Version 0 knows one type and does not say so.
    let known: &[i8] =
        if version == 0 { &[CLIENT_METRICS] } else { &[TOPIC, BROKER, BROKER_LOGGER, CLIENT_METRICS, GROUP] };
    if request.resource_types.iter().any(|wanted| !known.contains(wanted)) {
        let error_code = ErrorCode::UnsupportedVersion.to_wire();
        return ListConfigResourcesResponse { error_code, ..Default::default() };
    }
    let is_wanted = |kind: &i8| request.resource_types.is_empty() || request.resource_types.contains(kind);
    let mut config_resources = Vec::new();
    for kind in known.iter().copied().filter(is_wanted) {
        let resource = |name: String| ConfigResource { resource_name: name.into(), resource_type: kind };
        match kind {
            TOPIC => config_resources.extend(view.image.topics().map(|topic| resource(topic.name.to_string()))),
            BROKER | BROKER_LOGGER => config_resources.push(resource(view.image.node_id().0.to_string())),
            _ => {}
        }
    }
    ListConfigResourcesResponse { config_resources, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn topics_and_the_broker_have_settings() {
        let mut world = World::new();
        world.create("a", 1);
        let list = |types: &[i8], version| {
            let request = ListConfigResourcesRequest { resource_types: types.to_vec() };
            let response = answer(&request, version, &world.view());
            let resources = response.config_resources.iter();
            let named = resources.map(|one| (one.resource_type, one.resource_name.to_string())).collect::<Vec<_>>();
            (response.error_code, named)
        };
        let (topic, broker, logger) = ((2, "a".to_owned()), (4, "1".to_owned()), (8, "1".to_owned()));
        assert_eq!(list(&[], 1), (0, vec![topic.clone(), broker.clone(), logger]));
        assert_eq!(list(&[4, 2, 16, 32], 1), (0, vec![topic, broker]));
        assert_eq!(list(&[], 0), (0, vec![]));
        assert_eq!(list(&[64], 1), (ErrorCode::UnsupportedVersion.to_wire(), vec![]));
    }
}
