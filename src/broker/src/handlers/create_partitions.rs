//! CreatePartitions: more partitions for topics that are there.

use controller::{Controller, CreatePartitions, Decided, NewPartitions};
use model::{ErrorCode, NodeId};
use wire::create_partitions::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreatePartitionsTopic, CreatePartitionsTopicResult,
};

use super::{STORAGE_FAILED, is_internal};

/// Grows what can be grown.
pub(crate) fn decide(
    request: &CreatePartitionsRequest<'_>,
    controller: &mut Controller,
) -> Decided<CreatePartitionsResponse<'static>> {
    let topics = request.topics.iter().map(new_partitions).collect();
    let asked = CreatePartitions { topics, validate_only: request.validate_only };
    controller.create_partitions(&asked).map(|grown| {
        let mut response = unanswered(request);
        for (result, grown) in response.results.iter_mut().zip(grown) {
            if let Err(refusal) = grown {
                result.error_code = refusal.code().to_wire();
                result.error_message = Some(refusal.to_string().into());
            }
        }
        response
    })
}

/// An answer that has each topic and no outcome yet.
pub(crate) fn unanswered(request: &CreatePartitionsRequest<'_>) -> CreatePartitionsResponse<'static> {
    let result = |topic: &CreatePartitionsTopic<'_>| CreatePartitionsTopicResult {
        name: topic.name.to_string().into(),
        ..Default::default()
    };
    CreatePartitionsResponse { results: request.topics.iter().map(result).collect(), ..Default::default() }
}

/// What was decided could not be written.
pub(crate) fn failed(response: &mut CreatePartitionsResponse<'static>) {
    for result in &mut response.results {
        result.error_code = ErrorCode::KafkaStorageError.to_wire();
        result.error_message = Some(STORAGE_FAILED.into());
    }
}

fn new_partitions(topic: &CreatePartitionsTopic<'_>) -> NewPartitions {
    let assignments = topic.assignments.as_ref().map(|assignments| {
        let nodes = assignments.iter().map(|one| one.broker_ids.iter().copied().map(NodeId).collect());
        nodes.collect()
    });
    // Groups are found by the number of partitions: with another one they would lose what they have committed.
    let is_fixed = is_internal(&topic.name);
    NewPartitions { name: topic.name.to_string(), partition_count: topic.count, assignments, is_fixed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn topics_grow_and_never_shrink() {
        let mut world = World::new();
        world.create("a", 2);
        for (count, expected) in
            [(1, ErrorCode::InvalidPartitions), (2, ErrorCode::InvalidPartitions), (5, ErrorCode::None)]
        {
            let topic = CreatePartitionsTopic { name: "a".into(), count, assignments: None };
            let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
            let response = world.decide(|controller, _, _| decide(&request, controller));
            assert_eq!(ErrorCode::from_wire(response.results[0].error_code), Some(expected));
            assert_eq!(response.results[0].error_message.is_some(), expected != ErrorCode::None);
        }
        assert_eq!(world.image().topic("a").map(|topic| topic.partition_count), Some(5));
    }

    #[test]
    fn the_offsets_topic_keeps_its_number() {
        let mut world = World::new();
        world.create("__consumer_offsets", 2);
        let topic = CreatePartitionsTopic { name: "__consumer_offsets".into(), count: 3, assignments: None };
        let request = CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
        let response = world.decide(|controller, _, _| decide(&request, controller));
        assert_eq!(ErrorCode::from_wire(response.results[0].error_code), Some(ErrorCode::InvalidPartitions));
    }
}
