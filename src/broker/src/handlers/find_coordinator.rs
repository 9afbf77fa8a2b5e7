//! FindCoordinator: of every group it is this broker. Of the other kinds there is none, and each client must hear it in
//! the way that it understands.

use model::ErrorCode;
use wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

use super::{OFFSETS_TOPIC, View};

/// Whether the request makes the offsets topic come into being.
pub(crate) fn needs_offsets_topic(request: &FindCoordinatorRequest<'_>, view: &View<'_>) -> bool {
    request.key_type == GROUP && view.image.topic(OFFSETS_TOPIC).is_none()
}

/// The answer: one from version 4 on for each key, before that for the only one.
pub(crate) fn answer(
    request: &FindCoordinatorRequest<'_>,
    version: i16,
    view: &View<'_>,
) -> FindCoordinatorResponse<'static> {
    let (code, message) = match request.key_type {
        GROUP if view.image.topic(OFFSETS_TOPIC).is_some() => return this_broker(request, version, view),
        GROUP => (ErrorCode::CoordinatorNotAvailable, "the offsets topic could not be created"),
        SHARE => (ErrorCode::CoordinatorNotAvailable, "this broker has no share groups"),
        // Clients would ask for a missing coordinator until they time out; this they take for final.
        TRANSACTION => (ErrorCode::TransactionalIdAuthorizationFailed, "this broker has no transactions yet"),
        _ => (ErrorCode::InvalidRequest, "there are coordinators of type 0, 1 and 2"),
    };
    if version < 4 {
        return FindCoordinatorResponse {
            error_code: code.to_wire(),
            error_message: Some(message.into()),
            node_id: -1,
            port: -1,
            ..Default::default()
        };
    }
    let coordinator = |key: &wire::Str<'_>| Coordinator {
        key: key.to_string().into(),
        node_id: -1,
        host: "".into(),
        port: -1,
        error_code: code.to_wire(),
        error_message: Some(message.into()),
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.iter().map(coordinator).collect(),
        ..Default::default()
    }
}

fn this_broker(
    request: &FindCoordinatorRequest<'_>,
    version: i16,
    view: &View<'_>,
) -> FindCoordinatorResponse<'static> {
    let told = view.config.advertised(view.local);
    let (node_id, port) = (view.image.node_id().0, i32::from(told.port));
    if version < 4 {
        return FindCoordinatorResponse { node_id, host: told.host.into(), port, ..Default::default() };
    }
    let coordinator = |key: &wire::Str<'_>| Coordinator {
        key: key.to_string().into(),
        node_id,
        host: told.host.clone().into(),
        port,
        ..Default::default()
    };
    FindCoordinatorResponse {
        coordinators: request.coordinator_keys.iter().map(coordinator).collect(),
        ..Default::default()
    }
}

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn every_kind_hears_its_own_error_in_both_forms() {
        let mut world = World::new();
        for (key_type, has_topic, expected) in [
            (0, false, ErrorCode::CoordinatorNotAvailable),
            (1, false, ErrorCode::TransactionalIdAuthorizationFailed),
            (2, false, ErrorCode::CoordinatorNotAvailable),
            (3, false, ErrorCode::InvalidRequest),
            (0, true, ErrorCode::None),
        ] {
            if has_topic {
                world.create(OFFSETS_TOPIC, 1);
            }
            let coordinator_keys = vec!["a".into(), "b".into()];
            let request = FindCoordinatorRequest { key: "a".into(), key_type, coordinator_keys };
            let view = world.view();
            let place = if has_topic { (1, 9092) } else { (-1, -1) };
            assert_eq!(needs_offsets_topic(&request, &view), key_type == 0 && !has_topic);
            let single = answer(&request, 3, &view);
            assert_eq!((single.error_code, (single.node_id, single.port)), (expected.to_wire(), place));
            assert!(single.coordinators.is_empty());
            let batched = answer(&request, 4, &view);
            assert_eq!(batched.error_code, 0);
            let codes: Vec<_> = batched.coordinators.iter().map(|one| (&*one.key, one.error_code, one.port)).collect();
            assert_eq!(codes, [("a", expected.to_wire(), place.1), ("b", expected.to_wire(), place.1)]);
        }
    }
}
