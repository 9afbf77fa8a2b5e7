//! ElectLeaders: every partition has its only replica as its leader already.

use model::ErrorCode;
use wire::elect_leaders::{ElectLeadersRequest, ElectLeadersResponse, PartitionResult, ReplicaElectionResult};

use super::View;

/// The answer. Who asks for all partitions hears only of those where something was to be done: of none.
pub(crate) fn answer(request: &ElectLeadersRequest<'_>, view: &View<'_>) -> ElectLeadersResponse<'static> {
    let refusal = (!matches!(request.election_type, PREFERRED | UNCLEAN)).then_some(ErrorCode::InvalidRequest);
    let result = |topic: &str, partition_id: i32| {
        let partition_count = view.image.topic(topic).map(|topic| topic.partition_count);
        let is_known = u32::try_from(partition_id).is_ok_and(|id| partition_count.is_some_and(|count| id < count));
        let (code, message) = match (refusal, is_known) {
            (Some(code), _) => (code, UNKNOWN_TYPE),
            (None, true) => (ErrorCode::ElectionNotNeeded, "the partition has its leader"),
            (None, false) => (ErrorCode::UnknownTopicOrPartition, "there is no such partition"),
        };
        PartitionResult { partition_id, error_code: code.to_wire(), error_message: Some(message.into()) }
    };
    let replica_election_results = match &request.topic_partitions {
        Some(topics) => topics
            .iter()
            .map(|topic| ReplicaElectionResult {
                topic: topic.topic.to_string().into(),
                partition_result: topic.partitions.iter().map(|id| result(&topic.topic, *id)).collect(),
            })
            .collect(),
        None if refusal.is_some() => Vec::new(),
        None => {
            let topics = view.image.topics();
            let nothing = |name: &str| ReplicaElectionResult { topic: name.to_owned().into(), ..Default::default() };
            topics.map(|topic| nothing(&topic.name)).collect()
        }
    };
    ElectLeadersResponse {
        error_code: refusal.unwrap_or(ErrorCode::None).to_wire(),
        replica_election_results,
        ..Default::default()
    }
}

const PREFERRED: i8 = 0;
const UNCLEAN: i8 = 1;
const UNKNOWN_TYPE: &str = "an election is preferred (0) or unclean (1)";

#[cfg(test)]
mod tests {
    use wire::elect_leaders::TopicPartitions;

    use super::*;
    use crate::handlers::testing::World;

    #[test]
    fn no_partition_needs_an_election() {
        let mut world = World::new();
        world.create("a", 2);
        let named = || vec![TopicPartitions { topic: "a".into(), partitions: vec![1, 2, -1] }];
        for (election_type, error, partitions) in [
            (0, ErrorCode::None, [84, 3, 3]),
            (1, ErrorCode::None, [84, 3, 3]),
            (2, ErrorCode::InvalidRequest, [42, 42, 42]),
        ] {
            let request = ElectLeadersRequest { election_type, topic_partitions: Some(named()), ..Default::default() };
            let response = answer(&request, &world.view());
            assert_eq!(response.error_code, error.to_wire());
            let results = &response.replica_election_results[0].partition_result;
            assert_eq!(results.iter().map(|result| result.error_code).collect::<Vec<_>>(), partitions);
        }
        let all = ElectLeadersRequest { topic_partitions: None, ..Default::default() };
        let response = answer(&all, &world.view());
        assert_eq!(response.replica_election_results.len(), 1);
        assert!(response.replica_election_results[0].partition_result.is_empty());
    }
}
