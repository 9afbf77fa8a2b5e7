//! Requests that the connection's shard answers by itself, from the metadata image and the settings.

use effect::Buf;
use wire::{ApiKey, Malformed, Reader, RequestBody, ResponseBody, api_versions_unsupported, response_frame};

use crate::handlers::{
    OFFSETS_TOPIC, View, alter_partition_reassignments, api_versions, describe_cluster, describe_configs,
    describe_topic_partitions, elect_leaders, find_coordinator, init_producer_id, list_config_resources,
    list_partition_reassignments, metadata, unregister_broker, update_features,
};

/// What a request needs that is neither produce, fetch nor ListOffsets.
pub(crate) enum Handled {
    /// The response frame.
    Frame(Vec<u8>),
    /// Shard 0 has to decide it.
    Control,
    /// First these topics must be created; then ask [`handle`] again with `created`.
    AutoCreate(Vec<String>),
}

/// Handles a request whose body is `body`. With `created` the topics it names are not created again.
pub(crate) fn handle(
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: &Buf,
    view: &View<'_>,
    created: bool,
) -> Result<Handled, Malformed> {
    let request = RequestBody::decode(key, &mut Reader::new(body), version)?;
    let response = match &request {
        RequestBody::ApiVersions(request) => ResponseBody::ApiVersions(api_versions::answer(request, version, view)),
        RequestBody::Metadata(request) => {
            let missing = if created { Vec::new() } else { metadata::to_create(request, view) };
            if !missing.is_empty() {
                return Ok(Handled::AutoCreate(missing));
            }
            ResponseBody::Metadata(metadata::answer(request, version, view))
        }
        RequestBody::DescribeCluster(request) => ResponseBody::DescribeCluster(describe_cluster::answer(request, view)),
        RequestBody::DescribeConfigs(request) => ResponseBody::DescribeConfigs(describe_configs::answer(request, view)),
        RequestBody::DescribeTopicPartitions(request) => {
            ResponseBody::DescribeTopicPartitions(describe_topic_partitions::answer(request, view))
        }
        RequestBody::FindCoordinator(request) => {
            if !created && find_coordinator::needs_offsets_topic(request, view) {
                return Ok(Handled::AutoCreate(vec![OFFSETS_TOPIC.to_owned()]));
            }
            ResponseBody::FindCoordinator(find_coordinator::answer(request, version, view))
        }
        RequestBody::ListPartitionReassignments(_) => {
            ResponseBody::ListPartitionReassignments(list_partition_reassignments::answer())
        }
        RequestBody::AlterPartitionReassignments(request) => {
            ResponseBody::AlterPartitionReassignments(alter_partition_reassignments::answer(request, view))
        }
        RequestBody::ElectLeaders(request) => ResponseBody::ElectLeaders(elect_leaders::answer(request, view)),
        RequestBody::ListConfigResources(request) => {
            ResponseBody::ListConfigResources(list_config_resources::answer(request, version, view))
        }
        RequestBody::UnregisterBroker(request) => {
            ResponseBody::UnregisterBroker(unregister_broker::answer(request, view))
        }
        RequestBody::UpdateFeatures(request) => ResponseBody::UpdateFeatures(update_features::answer(request, version)),
        RequestBody::InitProducerId(request) => match init_producer_id::refusal(request) {
            Some(refusal) => ResponseBody::InitProducerId(refusal),
            None => return Ok(Handled::Control),
        },
        RequestBody::CreateTopics(_) | RequestBody::DeleteTopics(_) | RequestBody::CreatePartitions(_) => {
            return Ok(Handled::Control);
        }
        // It has the metadata log.
        RequestBody::DescribeQuorum(_) => return Ok(Handled::Control),
        RequestBody::AlterConfigs(_) | RequestBody::IncrementalAlterConfigs(_) => return Ok(Handled::Control),
        RequestBody::Produce(_)
        | RequestBody::Fetch(_)
        | RequestBody::ListOffsets(_)
        | RequestBody::DeleteRecords(_)
        | RequestBody::JoinGroup(_)
        | RequestBody::SyncGroup(_)
        | RequestBody::Heartbeat(_)
        | RequestBody::LeaveGroup(_)
        | RequestBody::OffsetCommit(_)
        | RequestBody::OffsetFetch(_)
        | RequestBody::OffsetDelete(_)
        | RequestBody::DescribeGroups(_)
        | RequestBody::ListGroups(_)
        | RequestBody::DeleteGroups(_)
        | RequestBody::OffsetForLeaderEpoch(_)
        | RequestBody::DescribeProducers(_)
        | RequestBody::DescribeLogDirs(_)
        | RequestBody::AlterReplicaLogDirs(_) => {
            unreachable!("these have paths of their own")
        }
    };
    Ok(Handled::Frame(response_frame(key, version, correlation_id, |writer| response.encode(writer, version))))
}

/// The answer to an ApiVersions of a version that is not served (KIP-511).
pub(crate) fn unsupported_api_versions(correlation_id: i32) -> Vec<u8> {
    response_frame(ApiKey::ApiVersions, 0, correlation_id, |writer| api_versions_unsupported().encode(writer, 0))
}
