//! DeleteTopics, by name or, from version 6 on, by id.

use controller::{Controller, Decided, TopicReference};
use model::ErrorCode;
use wire::delete_topics::{DeletableTopicResult, DeleteTopicState, DeleteTopicsRequest, DeleteTopicsResponse};

use super::STORAGE_FAILED;
use crate::config::BrokerConfig;

/// Deletes what there is.
pub(crate) fn decide(
    request: &DeleteTopicsRequest<'_>,
    controller: &mut Controller,
    config: &BrokerConfig,
) -> Decided<DeleteTopicsResponse<'static>> {
    let mut response = unanswered(request);
    let references: Vec<Option<TopicReference>> = asked(request).map(|topic| reference(&topic)).collect();
    let allowed = config.delete_topic_enable;
    let valid: Vec<TopicReference> = references.iter().flatten().filter(|_| allowed).cloned().collect();
    controller.delete_topics(&valid).map(|deleted| {
        let mut deleted = deleted.into_iter();
        for (result, reference) in response.responses.iter_mut().zip(references) {
            match reference {
                None => {
                    refuse(result, ErrorCode::InvalidRequest, "a topic is named either by its name or by its id".into())
                }
                Some(_) if !allowed => {
                    refuse(result, ErrorCode::TopicDeletionDisabled, "delete.topic.enable is false".into());
                }
                Some(_) => match deleted.next().expect("each reference has an outcome") {
                    Ok(topic) => {
                        result.name = Some(topic.name.to_string().into());
                        result.topic_id = topic.id;
                    }
                    Err(refusal) => refuse(result, refusal.code(), refusal.to_string()),
                },
            }
        }
        response
    })
}

/// An answer that has each topic and no outcome yet.
pub(crate) fn unanswered(request: &DeleteTopicsRequest<'_>) -> DeleteTopicsResponse<'static> {
    let result = |topic: DeleteTopicState<'_>| DeletableTopicResult {
        name: topic.name.map(|name| name.into_owned().into()),
        topic_id: topic.topic_id,
        ..Default::default()
    };
    DeleteTopicsResponse { responses: asked(request).map(result).collect(), ..Default::default() }
}

/// What was decided could not be written.
pub(crate) fn failed(response: &mut DeleteTopicsResponse<'static>) {
    response.responses.iter_mut().for_each(|result| {
        refuse(result, ErrorCode::KafkaStorageError, STORAGE_FAILED.into());
    });
}

/// The topics, in either form of the request.
fn asked<'a>(request: &'a DeleteTopicsRequest<'_>) -> impl Iterator<Item = DeleteTopicState<'a>> {
    let names = request.topic_names.iter().map(|name| Some(&**name));
    let named = names.map(|name| DeleteTopicState { name: name.map(Into::into), ..Default::default() });
    let states = request
        .topics
        .iter()
        .map(|topic| DeleteTopicState { name: topic.name.as_deref().map(Into::into), topic_id: topic.topic_id });
    named.chain(states)
}

fn reference(topic: &DeleteTopicState<'_>) -> Option<TopicReference> {
    match (&topic.name, topic.topic_id.is_zero()) {
        (Some(name), true) => Some(TopicReference::Name(name.to_string())),
        (None, false) => Some(TopicReference::Id(topic.topic_id)),
        _ => None,
    }
}

fn refuse(result: &mut DeletableTopicResult<'static>, code: ErrorCode, message: String) {
    result.error_code = code.to_wire();
    result.error_message = Some(message.into());
}

#[cfg(test)]
mod tests {
    use model::Uuid;

    use super::*;
    use crate::handlers::testing::World;

    fn delete(world: &mut World, request: &DeleteTopicsRequest<'_>) -> Vec<(Option<String>, Option<ErrorCode>)> {
        let response = world.decide(|controller, config, _| decide(request, controller, config));
        let shown = response.responses.iter();
        shown.map(|one| (one.name.as_deref().map(str::to_owned), ErrorCode::from_wire(one.error_code))).collect()
    }

    #[test]
    fn topics_go_by_name_and_by_id() {
        let mut world = World::new();
        let (a, b) = (world.create("a", 1), world.create("b", 1));
        let by_name = DeleteTopicsRequest { topic_names: vec!["a".into(), "x".into()], ..Default::default() };
        assert_eq!(
            delete(&mut world, &by_name),
            [(Some("a".into()), Some(ErrorCode::None)), (Some("x".into()), Some(ErrorCode::UnknownTopicOrPartition))]
        );
        let state = |name: Option<&'static str>, topic_id| DeleteTopicState { name: name.map(Into::into), topic_id };
        let topics = vec![state(None, Uuid::ZERO), state(None, b.id), state(Some("b"), b.id), state(None, a.id)];
        let by_id = DeleteTopicsRequest { topics, ..Default::default() };
        assert_eq!(
            delete(&mut world, &by_id),
            [
                (None, Some(ErrorCode::InvalidRequest)),
                (Some("b".into()), Some(ErrorCode::None)),
                (Some("b".into()), Some(ErrorCode::InvalidRequest)),
                (None, Some(ErrorCode::UnknownTopicId)),
            ]
        );
        assert_eq!(world.image().topic_count(), 0);
    }

    #[test]
    fn deletion_can_be_switched_off() {
        let mut world = World::with(&["delete.topic.enable=false"]);
        world.create("a", 1);
        let request = DeleteTopicsRequest { topic_names: vec!["a".into()], ..Default::default() };
        assert_eq!(delete(&mut world, &request), [(Some("a".into()), Some(ErrorCode::TopicDeletionDisabled))]);
        assert_eq!(world.image().topic_count(), 1);
    }
}
