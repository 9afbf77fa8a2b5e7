//! ApiVersions: what this broker serves, and whether the client has the broker that it thinks it has.

use model::{ErrorCode, NodeId};
use wire::api_versions::{ApiVersionsRequest, ApiVersionsResponse};
use wire::api_versions_response;

use super::View;

/// The answer to a version that is served; `wire` has the one for others.
pub(crate) fn answer(request: &ApiVersionsRequest<'_>, version: i16, view: &View<'_>) -> ApiVersionsResponse<'static> {
    let error = |code: ErrorCode| ApiVersionsResponse { error_code: code.to_wire(), ..Default::default() };
    if version >= 3 && !(is_valid(&request.client_software_name) && is_valid(&request.client_software_version)) {
        return error(ErrorCode::InvalidRequest);
    }
    // From version 5 on a client says whom it means to reach; null and -1 mean anyone.
    let cluster_differs = request.cluster_id.as_deref().is_some_and(|id| id != view.image.cluster_id().to_string());
    let node_differs = request.node_id >= 0 && NodeId(request.node_id) != view.image.node_id();
    if cluster_differs || node_differs {
        return error(ErrorCode::RebootstrapRequired);
    }
    api_versions_response()
}

/// Letters and digits, with dots and dashes inside: what can be a metric label (KIP-511).
fn is_valid(text: &str) -> bool {
    let bytes = text.as_bytes();
    let (Some(first), Some(last)) = (bytes.first(), bytes.last()) else { return false };
    first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn clients_that_name_another_broker_must_start_over() {
        let world = World::new();
        let cluster_id = world.image().cluster_id().to_string();
        let client = ApiVersionsRequest {
            client_software_name: "apache-kafka-java".into(),
            client_software_version: "4.4.0".into(),
            ..Default::default()
        };
        for (cluster_id, node_id, expected) in [
            (None, -1, ErrorCode::None),
            (Some(cluster_id.as_str()), 1, ErrorCode::None),
            (Some("other"), 1, ErrorCode::RebootstrapRequired),
            (Some(cluster_id.as_str()), 2, ErrorCode::RebootstrapRequired),
        ] {
            let request = ApiVersionsRequest { cluster_id: cluster_id.map(Into::into), node_id, ..client.clone() };
            assert_eq!(answer(&request, 5, &world.view()).error_code, expected.to_wire());
        }
        assert!(!answer(&client, 3, &world.view()).api_keys.is_empty());
    }

    #[test]
    fn names_that_cannot_be_labels_are_invalid() {
        let world = World::new();
        for (name, expected) in [
            ("a", ErrorCode::None),
            ("", ErrorCode::InvalidRequest),
            ("-a", ErrorCode::InvalidRequest),
            ("a b", ErrorCode::InvalidRequest),
        ] {
            let request = ApiVersionsRequest {
                client_software_name: name.into(),
                client_software_version: "1".into(),
                ..Default::default()
            };
            assert_eq!(answer(&request, 3, &world.view()).error_code, expected.to_wire(), "{name:?}");
            assert_eq!(answer(&request, 2, &world.view()).error_code, 0);
        }
    }
}
