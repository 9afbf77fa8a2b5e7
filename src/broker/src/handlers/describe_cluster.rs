//! DescribeCluster: the broker and the cluster's id.

use model::ErrorCode;
use wire::describe_cluster::{DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse};

use super::{OPERATIONS_NOT_ASKED, OPERATIONS_ON_CLUSTER, View};

/// The answer.
pub(crate) fn answer(request: &DescribeClusterRequest, view: &View<'_>) -> DescribeClusterResponse<'static> {
    let refused = |code: ErrorCode, message: &'static str| DescribeClusterResponse {
        error_code: code.to_wire(),
        error_message: Some(message.into()),
        endpoint_type: request.endpoint_type,
        ..Default::default()
    };
    match request.endpoint_type {
        BROKERS => {}
        CONTROLLERS => return refused(ErrorCode::MismatchedEndpointType, "this address is a broker's"),
        _ => return refused(ErrorCode::UnsupportedEndpointType, "there are brokers (1) and controllers (2)"),
    }
    let told = view.config.advertised(view.local);
    let node_id = view.image.node_id().0;
    let operations =
        if request.include_cluster_authorized_operations { OPERATIONS_ON_CLUSTER } else { OPERATIONS_NOT_ASKED };
    DescribeClusterResponse {
        endpoint_type: BROKERS,
        cluster_id: view.image.cluster_id().to_string().into(),
        controller_id: node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: node_id,
            host: told.host.into(),
            port: i32::from(told.port),
            rack: view.config.broker_rack.clone().map(Into::into),
            ..Default::default()
        }],
        cluster_authorized_operations: operations,
        ..Default::default()
    }
}

const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn brokers_are_described_and_controllers_are_elsewhere() {
        let world = World::with(&["broker.rack=r1", "advertised.listeners=PLAINTEXT://kafka:1234"]);
        for (endpoint_type, expected) in
            [(1, ErrorCode::None), (2, ErrorCode::MismatchedEndpointType), (3, ErrorCode::UnsupportedEndpointType)]
        {
            let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
            let response = answer(&request, &world.view());
            assert_eq!(ErrorCode::from_wire(response.error_code), Some(expected));
        }
        let response = answer(&DescribeClusterRequest::default(), &world.view());
        let broker = &response.brokers[0];
        assert_eq!((broker.broker_id, &*broker.host, broker.port), (1, "kafka", 1234));
        assert_eq!(broker.rack.as_deref(), Some("r1"));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
    }
}
