//! Classic consumer groups as a state machine: requests and the time in; records, answers and deadlines out.
//!
//! Owns who is in a group, what each member shall work on, which offsets were committed, and the byte form of the
//! records that say so, which is Kafka's. Never reads a clock, a file or a socket, never knows which version a client
//! speaks, where a log lies, or what an assignment says (of a consumer's subscription it reads the topics, to know what
//! may expire).
//!
//! Invariants:
//! - one call writes at most one batch ([`Write`]); whoever calls appends it and says so before the next call;
//! - an answer that rests on records leaves when they are durable; committed offsets are shown only then;
//! - a request is answered exactly once, sooner or later, if only by [`Coordinator::resign`];
//! - memory is counted in a [`Budget`]: nothing that a client sends is kept beyond it.
#![forbid(unsafe_code)]

mod admin;
mod coordinator;
mod expiry;
mod face;
mod group;
mod join;
mod leave;
mod member;
mod offsets;
mod rebalance;
mod records;
mod replay;
mod session;
mod subscription;
mod sync;
mod turn;

pub use coordinator::Coordinator;
pub use face::{
    Answer, AppendRefusal, Commit, CommitItem, Committed, DeleteOffsets, Described, DescribedMember, FetchOffsets,
    Generation, Identity, Join, Joined, JoinedMember, Listed, OffsetsOfTopic, Protocol, Request, Sync, Synced,
};
pub use group::State;
pub use records::{BadRecord, Record};
pub use turn::{Budget, Config, Entropy, Now, Turn, Write};

/// The partition of the offsets topic that a group belongs to: Kafka's, so that its tools look in the right place.
pub fn partition_of(group_id: &str, partition_count: u32) -> u32 {
    assert!(partition_count > 0);
    // Java's String.hashCode, over UTF-16 units.
    let hash = group_id.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka's abs makes zero of the one number that has no opposite.
    let positive = if hash == i32::MIN { 0 } else { hash.unsigned_abs() };
    positive % partition_count
}

#[cfg(test)]
mod tests {
    use super::partition_of;

    #[test]
    fn groups_lie_where_kafka_looks_for_them() {
        // Java: Math.abs("...".hashCode()) % 50.
        for (group, partition) in [("", 0), ("a", 47), ("test-group", 12), ("größe", 7), ("polygenelubricants", 0)] {
            assert_eq!(partition_of(group, 50), partition, "{group:?}");
        }
    }
}
