//! Letters about what homes know of their partitions. A lookup changes nothing.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use effect::Instant;
use log::{ActiveProducer, Room};
use model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};

/// What a home is asked.
#[derive(Debug)]
pub(crate) enum Lookup {
    /// Where leaderships end.
    EpochEnds(Vec<EpochPart>),
    /// Who writes with idempotence.
    Producers(Vec<ProducersPart>),
    /// Whether replicas may have another log directory.
    Moves(Vec<MovePart>),
    LogDirs(LogDirs),
}

/// What it knows.
#[derive(Debug)]
pub(crate) enum LookedUp {
    EpochEnds(Vec<(u32, EpochEnd)>),
    Producers(Vec<(u32, Result<Vec<ActiveProducer>, ErrorCode>)>),
    Moves(Vec<(u32, ErrorCode)>),
    LogDirs(Vec<LogDir>),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct EpochPart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    /// The leadership that the client believes in.
    pub(crate) current_leader_epoch: Option<LeaderEpoch>,
    /// The one whose end it wants.
    pub(crate) leader_epoch: Option<LeaderEpoch>,
}

/// The largest leadership that is not above the one asked for, and where it ends; or why that is not known.
pub(crate) type EpochEnd = Result<Option<(LeaderEpoch, Offset)>, ErrorCode>;

#[derive(Clone, Copy, Debug)]
pub(crate) struct ProducersPart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
}

#[derive(Debug)]
pub(crate) struct MovePart {
    pub(crate) index: u32,
    pub(crate) at: TopicPartition,
    /// One of the broker's log directories.
    pub(crate) dir: PathBuf,
}

#[derive(Clone, Debug)]
pub(crate) struct LogDirs {
    /// The partitions to list; `None`: all.
    pub(crate) wanted: Option<Arc<BTreeSet<TopicPartition>>>,
    /// Whether to say how much room the directories have: one shard is enough.
    pub(crate) with_room: bool,
    /// Since when the home waits for that.
    pub(crate) since: Option<Instant>,
}

/// A log directory as one shard sees it.
#[derive(Debug)]
pub(crate) struct LogDir {
    pub(crate) path: PathBuf,
    pub(crate) offline: bool,
    pub(crate) room: Option<Room>,
    /// What lies there of this shard's, with its size in bytes.
    pub(crate) partitions: Vec<(TopicPartition, u64)>,
}
