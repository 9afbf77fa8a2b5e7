//! What crosses the room's edge: requests in, answers out, in the room's own words. No behaviour.

use std::sync::Arc;

use model::{ErrorCode, LeaderEpoch, Timestamp, TopicId};

use crate::group::State;

/// Something asked of one group.
#[derive(Clone, Debug)]
pub enum Request {
    /// JoinGroup.
    Join(Join),
    /// SyncGroup.
    Sync(Sync),
    /// Heartbeat.
    Heartbeat(Generation),
    /// LeaveGroup: these members, each with a result.
    Leave(Vec<Identity>),
    /// OffsetCommit.
    Commit(Commit),
    /// OffsetFetch.
    Fetch(FetchOffsets),
    /// OffsetDelete.
    DeleteOffsets(DeleteOffsets),
    /// DescribeGroups.
    Describe,
    /// DeleteGroups.
    Delete,
}

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Identity {
    /// Empty: not known yet.
    pub member_id: Box<str>,
    /// A static member's name (KIP-345).
    pub instance_id: Option<Box<str>>,
}

/// Who asks, and the generation that he believes in.
#[derive(Clone, Debug)]
pub struct Generation {
    /// Who.
    pub who: Identity,
    /// As sent: negative outside of any generation.
    pub generation: i32,
}

/// A way to share the work that a member can take part in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// What the member says to it.
    pub metadata: Arc<[u8]>,
}

/// A request to become or stay a member.
#[derive(Clone, Debug)]
pub struct Join {
    /// Who.
    pub who: Identity,
    /// What the client calls itself.
    pub client_id: Box<str>,
    /// Where it comes from.
    pub client_host: Box<str>,
    /// As sent.
    pub session_timeout_ms: i32,
    /// As sent.
    pub rebalance_timeout_ms: i32,
    /// What kind of group it is: `consumer`, `connect`, `sr`, anything.
    pub protocol_type: Arc<str>,
    /// In the member's order of preference.
    pub protocols: Vec<Protocol>,
    /// Whether the client comes again with the id that it is given (KIP-394).
    pub comes_again: bool,
    /// Whether the client can be told to leave the assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// A member asks for its assignment; the leader brings those of all.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Who, and when.
    pub member: Generation,
    /// What he takes the group for.
    pub protocol_type: Option<Box<str>>,
    /// The protocol that he takes for chosen.
    pub protocol_name: Option<Box<str>>,
    /// By member id; of the leader.
    pub assignments: Vec<(Box<str>, Arc<[u8]>)>,
}

/// Offsets to be remembered.
#[derive(Clone, Debug)]
pub struct Commit {
    /// Who, and when; nobody in particular without a generation.
    pub member: Generation,
    /// What.
    pub items: Vec<CommitItem>,
}

/// One offset to be remembered.
#[derive(Clone, Debug)]
pub struct CommitItem {
    /// Its place in the request; comes back.
    pub index: u32,
    /// The topic's name.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub committed: Committed,
}

/// A committed offset.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Committed {
    /// The topic at the time; zero where the record does not say.
    pub topic_id: TopicId,
    /// Where to go on. As committed: clients may store what they like.
    pub offset: i64,
    /// Of the last record that was consumed.
    pub leader_epoch: Option<LeaderEpoch>,
    /// The client's own words.
    pub metadata: Box<str>,
    /// When.
    pub at: Timestamp,
    /// Until when, where an old client says so itself.
    pub expires: Option<Timestamp>,
}

/// Which offsets to show.
#[derive(Clone, Debug)]
pub struct FetchOffsets {
    /// By topic; `None`: all that there are.
    pub topics: Option<Vec<(Arc<str>, Vec<i32>)>>,
}

/// Offsets to be forgotten.
#[derive(Clone, Debug)]
pub struct DeleteOffsets {
    /// Place in the request, topic, partition.
    pub items: Vec<(u32, Arc<str>, i32)>,
}

/// What came of a [`Request`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It is refused as a whole.
    Refused(ErrorCode),
    /// To a heartbeat or a deletion: done.
    Done,
    /// To a join.
    Joined(Joined),
    /// To a join: refused, under this member id.
    NotJoined(ErrorCode, Box<str>),
    /// To a sync.
    Synced(Synced),
    /// To leaving: a result for each.
    Left(Vec<ErrorCode>),
    /// To a commit or a deletion of offsets: a result by place.
    Items(Vec<(u32, ErrorCode)>),
    /// To a fetch of offsets.
    Offsets(Vec<OffsetsOfTopic>),
    /// To a description.
    Described(Described),
    /// To a list of what a coordinator has.
    Listed(Vec<Listed>),
}

/// Offsets of a topic: partition and what was committed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OffsetsOfTopic {
    /// The topic's name.
    pub topic: Arc<str>,
    /// `None`: nothing.
    pub partitions: Vec<(i32, Option<Committed>)>,
}

/// What a member learns of its new generation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Joined {
    /// The generation.
    pub generation: i32,
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The protocol that all agree on.
    pub protocol: Arc<str>,
    /// Who shares out the work.
    pub leader: Arc<str>,
    /// Who this member is.
    pub member_id: Arc<str>,
    /// The leader's assignment of before still holds.
    pub skip_assignment: bool,
    /// All members; of the leader.
    pub members: Vec<JoinedMember>,
}

/// A member as the leader sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// What it says to the protocol.
    pub metadata: Arc<[u8]>,
}

/// A member's assignment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Synced {
    /// What kind of group it is.
    pub protocol_type: Arc<str>,
    /// The protocol that all agree on.
    pub protocol: Arc<str>,
    /// The work.
    pub assignment: Arc<[u8]>,
}

/// A group as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Described {
    /// Its state.
    pub state: State,
    /// What kind of group it is; empty: only offsets.
    pub protocol_type: Arc<str>,
    /// The protocol that all agree on, once they do.
    pub protocol: Arc<str>,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member as an operator sees it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static name.
    pub instance_id: Option<Arc<str>>,
    /// What its client calls itself.
    pub client_id: Arc<str>,
    /// Where it comes from.
    pub client_host: Arc<str>,
    /// What it says to the protocol.
    pub metadata: Arc<[u8]>,
    /// Its work.
    pub assignment: Arc<[u8]>,
}

/// A group in a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Listed {
    /// Its id.
    pub group_id: Arc<str>,
    /// What kind of group it is; empty: only offsets.
    pub protocol_type: Arc<str>,
    /// Its state.
    pub state: State,
}

/// Why records could not be appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendRefusal {
    /// The batch is larger than the topic takes.
    TooLarge,
    /// Passes by itself: no memory or no room now.
    Busy,
    /// The partition's log is not to be had.
    Offline,
}
