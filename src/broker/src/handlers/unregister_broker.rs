//! UnregisterBroker: the only broker stays, and there is no other.

use model::ErrorCode;
use wire::unregister_broker::{UnregisterBrokerRequest, UnregisterBrokerResponse};

use super::View;

/// The refusal.
pub(crate) fn answer(request: &UnregisterBrokerRequest, view: &View<'_>) -> UnregisterBrokerResponse<'static> {
    let (code, message) = if request.broker_id == view.image.node_id().0 {
        (ErrorCode::InvalidRequest, "this broker is the whole cluster".to_owned())
    } else {
        (ErrorCode::BrokerIdNotRegistered, format!("broker {} is not registered", request.broker_id))
    };
    UnregisterBrokerResponse { error_code: code.to_wire(), error_message: Some(message.into()), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn no_broker_is_unregistered() {
        let world = World::new();
        for (broker_id, expected) in [(1, ErrorCode::InvalidRequest), (2, ErrorCode::BrokerIdNotRegistered)] {
            let response = answer(&UnregisterBrokerRequest { broker_id }, &world.view());
            assert_eq!(ErrorCode::from_wire(response.error_code), Some(expected));
        }
    }
}
