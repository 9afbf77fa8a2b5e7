//! What a call is handed, and what it leaves behind.

use std::sync::Arc;

use model::Timestamp;

use crate::face::{Answer, Committed, Joined};
use crate::records::Record;

/// The time, both kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Now {
    /// Monotonic, in ms: deadlines.
    pub ms: u64,
    /// The date: records, and the age of offsets.
    pub wall: Timestamp,
}

/// The settings of groups, with Kafka's names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How long a new group waits for more members.
    pub initial_rebalance_delay_ms: u64,
    /// The shortest session that a member may ask for.
    pub min_session_timeout_ms: i32,
    /// The longest.
    pub max_session_timeout_ms: i32,
    /// Members of a group.
    pub max_size: usize,
    /// Characters of what a client may store with an offset.
    pub offset_metadata_max: usize,
    /// How long the offsets of a group without members stay.
    pub offsets_retention_ms: i64,
}

/// Memory of all coordinators of a shard. Hitting a bound refuses what would need more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Budget {
    /// Groups now.
    pub groups: usize,
    /// At most.
    pub groups_max: usize,
    /// About the memory of all groups now.
    pub bytes: usize,
    /// At most.
    pub bytes_max: usize,
    /// Of the members of one group, at most.
    pub group_bytes_max: usize,
}

/// The surroundings of one call, and what came of it.
#[derive(Debug)]
pub struct Turn<'a, A> {
    /// When.
    pub now: Now,
    /// The settings.
    pub config: &'a Config,
    /// The memory.
    pub budget: &'a mut Budget,
    /// For member ids.
    pub entropy: &'a mut Entropy,
    /// Answers that may leave now.
    pub answers: Vec<(A, Answer)>,
    /// Records to be appended, before anything else is asked of this coordinator.
    pub write: Option<Write<A>>,
}

/// A stream of numbers from one seed that the world gave (splitmix64).
#[derive(Clone, Copy, Debug)]
pub struct Entropy(pub u64);

impl Entropy {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// One batch to append, and what follows from it; to be given back.
#[derive(Debug)]
pub struct Write<A> {
    /// Never empty.
    pub records: Vec<Record>,
    pub(crate) then: Then<A>,
}

/// What follows from a write.
#[derive(Debug)]
pub(crate) enum Then<A> {
    Nothing,
    /// Offsets are shown once durable.
    Commit {
        group: Arc<str>,
        offsets: Vec<Underway>,
        asker: A,
        results: Vec<(u32, model::ErrorCode)>,
    },
    /// Offsets are gone, and with them the group if it has nothing else.
    Erase {
        group: Arc<str>,
        keys: Vec<OffsetKey>,
        whole: bool,
        reply: Option<(A, Answer)>,
    },
    /// Members get their assignments.
    Assign {
        group: Arc<str>,
        generation: i32,
        assignments: Vec<(Arc<str>, Arc<[u8]>)>,
    },
    /// A static member came back under another id, and nothing else changed.
    Replace {
        group: Arc<str>,
        old: Arc<str>,
        asker: A,
        joined: Joined,
    },
}

/// Topic and partition of an offset.
pub(crate) type OffsetKey = (Arc<str>, i32);

/// An offset on its way.
#[derive(Debug)]
pub(crate) struct Underway {
    pub(crate) topic: Arc<str>,
    pub(crate) partition: i32,
    pub(crate) committed: Committed,
}

impl<A> Turn<'_, A> {
    pub(crate) fn answer(&mut self, asker: A, answer: Answer) {
        self.answers.push((asker, answer));
    }

    pub(crate) fn write(&mut self, records: Vec<Record>, then: Then<A>) {
        assert!(self.write.is_none(), "one call writes one batch");
        assert!(!records.is_empty());
        self.write = Some(Write { records, then });
    }
}
