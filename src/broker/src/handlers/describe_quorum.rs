//! DescribeQuorum: the metadata log has one voter, this broker, and it leads.

use controller::METADATA_TOPIC;
use model::{ErrorCode, LeaderEpoch, NodeId, Offset, Timestamp};
use wire::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Node, PartitionDataResponse, ReplicaState, TopicDataResponse,
};

/// How far the metadata log is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quorum {
    pub(crate) node_id: NodeId,
    pub(crate) leader_epoch: LeaderEpoch,
    pub(crate) high_watermark: Offset,
    pub(crate) log_end_offset: Offset,
    pub(crate) wall: Timestamp,
}

/// The answer. Any other partition is refused, each that was named.
pub(crate) fn answer(request: &DescribeQuorumRequest<'_>, quorum: &Quorum) -> DescribeQuorumResponse<'static> {
    let is_metadata = match &request.topics[..] {
        [topic] => topic.topic_name == METADATA_TOPIC && topic.partitions.iter().map(|one| one.partition_index).eq([0]),
        _ => false,
    };
    let topics = request.topics.iter().map(|topic| TopicDataResponse {
        topic_name: topic.topic_name.to_string().into(),
        partitions: topic
            .partitions
            .iter()
            .map(|partition| if is_metadata { described(quorum) } else { unknown(partition.partition_index) })
            .collect(),
    });
    let node = Node { node_id: quorum.node_id.0, listeners: Vec::new() };
    DescribeQuorumResponse {
        topics: topics.collect(),
        nodes: if is_metadata { vec![node] } else { Vec::new() },
        ..Default::default()
    }
}

fn unknown(partition_index: i32) -> PartitionDataResponse<'static> {
    let error_code = ErrorCode::UnknownTopicOrPartition.to_wire();
    PartitionDataResponse { partition_index, error_code, ..Default::default() }
}

fn described(quorum: &Quorum) -> PartitionDataResponse<'static> {
    let voter = ReplicaState {
        replica_id: quorum.node_id.0,
        log_end_offset: quorum.log_end_offset.to_wire(),
        // A leader fetches from nobody and is never behind.
        last_fetch_timestamp: quorum.wall.0,
        last_caught_up_timestamp: quorum.wall.0,
        ..Default::default()
    };
    PartitionDataResponse {
        leader_id: quorum.node_id.0,
        leader_epoch: quorum.leader_epoch.to_wire(),
        high_watermark: quorum.high_watermark.to_wire(),
        current_voters: vec![voter],
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use wire::describe_quorum::{PartitionData, TopicData};

    use super::*;

    #[test]
    fn only_the_metadata_log_has_a_quorum() {
        let quorum = Quorum {
            node_id: NodeId(1),
            leader_epoch: LeaderEpoch(0),
            high_watermark: Offset::new(7),
            log_end_offset: Offset::new(8),
            wall: Timestamp(9),
        };
        let ask = |topic_name: &'static str, partitions: &[i32]| {
            let partitions = partitions.iter().map(|index| PartitionData { partition_index: *index }).collect();
            let topics = vec![TopicData { topic_name: topic_name.into(), partitions }];
            answer(&DescribeQuorumRequest { topics }, &quorum)
        };
        let response = ask("__cluster_metadata", &[0]);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.error_code, partition.leader_id, partition.high_watermark), (0, 1, 7));
        assert_eq!((partition.current_voters.len(), partition.observers.len(), response.nodes.len()), (1, 0, 1));
        for other in [ask("__cluster_metadata", &[1]), ask("a", &[0]), ask("__cluster_metadata", &[0, 1])] {
            assert!(other.topics[0].partitions.iter().all(|partition| partition.error_code == 3));
        }
    }
}
