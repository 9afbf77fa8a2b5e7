//! FindCoordinator: there is none yet, and each kind of client must hear it in the way that it understands.

use model::ErrorCode;
use wire::find_coordinator::{Coordinator, FindCoordinatorRequest, FindCoordinatorResponse};

/// The answer: one from version 4 on for each key, before that for the only one.
pub(crate) fn answer(request: &FindCoordinatorRequest<'_>, version: i16) -> FindCoordinatorResponse<'static> {
    let (code, message) = match request.key_type {
        GROUP | SHARE => (ErrorCode::CoordinatorNotAvailable, "this broker has no groups yet"),
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

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;
const SHARE: i8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_hears_its_own_error_in_both_forms() {
        for (key_type, expected) in [
            (0, ErrorCode::CoordinatorNotAvailable),
            (1, ErrorCode::TransactionalIdAuthorizationFailed),
            (2, ErrorCode::CoordinatorNotAvailable),
            (3, ErrorCode::InvalidRequest),
        ] {
            let coordinator_keys = vec!["a".into(), "b".into()];
            let request = FindCoordinatorRequest { key: "a".into(), key_type, coordinator_keys };
            let single = answer(&request, 3);
            assert_eq!((single.error_code, single.node_id, single.port), (expected.to_wire(), -1, -1));
            assert!(single.coordinators.is_empty());
            let batched = answer(&request, 4);
            assert_eq!(batched.error_code, 0);
            let codes: Vec<_> = batched.coordinators.iter().map(|one| (&*one.key, one.error_code)).collect();
            assert_eq!(codes, [("a", expected.to_wire()), ("b", expected.to_wire())]);
        }
    }
}
