//! AlterPartitionReassignments: a partition's replicas are this broker, and may be told to be that.

use std::collections::BTreeSet;

use model::ErrorCode;
use wire::alter_partition_reassignments::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse, ReassignablePartition,
    ReassignablePartitionResponse, ReassignableTopicResponse,
};

use super::View;

/// The answer, one result for each partition.
pub(crate) fn answer(
    request: &AlterPartitionReassignmentsRequest<'_>,
    view: &View<'_>,
) -> AlterPartitionReassignmentsResponse<'static> {
    let topics = request.topics.iter().map(|topic| {
        let known = view.image.topic(&topic.name);
        let result = |partition: &ReassignablePartition| {
            let partition_count = known.map_or(0, |topic| topic.partition_count);
            let is_known = u32::try_from(partition.partition_index).is_ok_and(|index| index < partition_count);
            let refusal = if is_known { refusal(partition, view) } else { Some(UNKNOWN) };
            ReassignablePartitionResponse {
                partition_index: partition.partition_index,
                error_code: refusal.map_or(ErrorCode::None, |(code, _)| code).to_wire(),
                error_message: refusal.map(|(_, message)| message.into()),
            }
        };
        ReassignableTopicResponse {
            name: topic.name.to_string().into(),
            partitions: topic.partitions.iter().map(result).collect(),
        }
    });
    AlterPartitionReassignmentsResponse {
        allow_replication_factor_change: request.allow_replication_factor_change,
        responses: topics.collect(),
        ..Default::default()
    }
}

type Refusal = (ErrorCode, &'static str);

/// Null ends a move, and none is under way.
fn refusal(partition: &ReassignablePartition, view: &View<'_>) -> Option<Refusal> {
    let invalid = |message| Some((ErrorCode::InvalidReplicaAssignment, message));
    let Some(replicas) = &partition.replicas else {
        return Some((ErrorCode::NoReassignmentInProgress, "no partition is being moved"));
    };
    let distinct: BTreeSet<i32> = replicas.iter().copied().collect();
    if replicas.is_empty() {
        invalid("a partition has at least one replica")
    } else if distinct.len() < replicas.len() {
        invalid("a broker has one replica of a partition")
    } else if distinct.iter().any(|id| *id != view.image.node_id().0) {
        invalid("this broker stands alone")
    } else {
        None
    }
}

const UNKNOWN: Refusal = (ErrorCode::UnknownTopicOrPartition, "there is no such partition");

#[cfg(test)]
mod tests {
    use wire::alter_partition_reassignments::ReassignableTopic;

    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn a_partition_stays_on_its_broker() {
        let mut world = World::new();
        world.create("a", 1);
        for (partition_index, replicas, expected) in [
            (0, Some(vec![1]), ErrorCode::None),
            (0, Some(vec![2]), ErrorCode::InvalidReplicaAssignment),
            (0, Some(vec![1, 2]), ErrorCode::InvalidReplicaAssignment),
            (0, Some(vec![1, 1]), ErrorCode::InvalidReplicaAssignment),
            (0, Some(vec![]), ErrorCode::InvalidReplicaAssignment),
            (0, None, ErrorCode::NoReassignmentInProgress),
            (1, Some(vec![1]), ErrorCode::UnknownTopicOrPartition),
        ] {
            let partitions = vec![ReassignablePartition { partition_index, replicas }];
            let topics = vec![ReassignableTopic { name: "a".into(), partitions }];
            let request = AlterPartitionReassignmentsRequest { topics, ..Default::default() };
            let response = answer(&request, &world.view());
            assert_eq!((response.error_code, response.allow_replication_factor_change), (0, true));
            let result = &response.responses[0].partitions[0];
            assert_eq!(ErrorCode::from_wire(result.error_code), Some(expected));
            assert_eq!(result.error_message.is_none(), expected == ErrorCode::None);
        }
    }
}
