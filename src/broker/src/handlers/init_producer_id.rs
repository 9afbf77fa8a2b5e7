//! InitProducerId: an idempotent producer gets an id that nobody ever had.
//! As in Kafka a producer without transactions gets a new id each time, whatever id and epoch it has (KIP-360): its
//! sequence numbers begin anew either way.

use model::{ErrorCode, ProducerId};
use wire::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};

/// The refusal, if the request cannot have an id.
pub(crate) fn refusal(request: &InitProducerIdRequest<'_>) -> Option<InitProducerIdResponse> {
    let has_one_of_two = (request.producer_id == -1) != (request.producer_epoch == -1);
    match request.transactional_id.as_deref() {
        Some("") => Some(failure(ErrorCode::InvalidRequest)),
        // Of the codes that mean "never", the one that both the Java client and librdkafka give up on at once; most clients
        // stop earlier, at FindCoordinator.
        Some(_) => Some(failure(ErrorCode::InvalidTransactionTimeout)),
        None if has_one_of_two => Some(failure(ErrorCode::InvalidRequest)),
        None => None,
    }
}

/// The answer with an id.
pub(crate) fn granted(id: ProducerId) -> InitProducerIdResponse {
    InitProducerIdResponse { producer_id: id.0, producer_epoch: 0, ..Default::default() }
}

/// No id can be had now: the client tries again.
pub(crate) fn unavailable() -> InitProducerIdResponse {
    failure(ErrorCode::CoordinatorNotAvailable)
}

fn failure(code: ErrorCode) -> InitProducerIdResponse {
    InitProducerIdResponse { error_code: code.to_wire(), producer_id: -1, producer_epoch: -1, ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_producers_without_transactions_get_an_id() {
        for (transactional_id, producer_id, producer_epoch, expected) in [
            (None, -1, -1, None),
            (None, 7, 3, None),
            (None, 7, -1, Some(ErrorCode::InvalidRequest)),
            (None, -1, 3, Some(ErrorCode::InvalidRequest)),
            (Some(""), -1, -1, Some(ErrorCode::InvalidRequest)),
            (Some("t"), -1, -1, Some(ErrorCode::InvalidTransactionTimeout)),
        ] {
            let transactional_id = transactional_id.map(Into::into);
            let request = InitProducerIdRequest { transactional_id, producer_id, producer_epoch, ..Default::default() };
            let code = refusal(&request).map(|response| response.error_code);
            assert_eq!(code, expected.map(ErrorCode::to_wire));
        }
        assert_eq!(granted(ProducerId(5)).producer_id, 5);
    }
}
