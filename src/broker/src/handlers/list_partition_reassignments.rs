//! ListPartitionReassignments: on one broker no partition ever moves.

use wire::list_partition_reassignments::ListPartitionReassignmentsResponse;

/// Nothing is moving.
pub(crate) fn answer() -> ListPartitionReassignmentsResponse<'static> {
    ListPartitionReassignmentsResponse::default()
}
