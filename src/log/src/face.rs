//! What crosses the room's edge: settings in, questions and answers, events out. No behaviour.

use std::path::{Path, PathBuf};

use effect::{Buf, Fault, File};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition};

pub use crate::journal::frame::Run;

/// The room number of this crate's tokens.
pub const ROOM: u8 = 2;

/// A partition log of a [`crate::Log`]. Stays valid until the log is removed; then every call with it answers `Gone`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct LogRef {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

impl LogRef {
    /// For operations that no log waits for.
    pub(crate) const NOBODY: LogRef = LogRef { slot: u32::MAX, generation: u32::MAX };
}

/// Bounds of one shard's logs.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// The log directories; they exist.
    pub roots: Vec<PathBuf>,
    /// Those of them that are not there, though an earlier run had data in them: offline from the beginning.
    pub lost: Vec<PathBuf>,
    /// Which journal is this shard's, and how many there are: whoever runs with as many finds his logs in his own.
    pub lane: u32,
    /// How many.
    pub lanes: u32,
    /// Whether a log belongs to a lane of so many.
    pub is_mine: fn(TopicPartition, u32, u32) -> bool,
    /// Every life that the broker has had on these directories, this one last.
    pub runs: Vec<Run>,
    /// The most that the journal's files of a directory take up, and so what a start has to read at most.
    pub journal_bytes_max: u64,
    /// From this many bytes on, what waits in one log is written to its segment rather than to the journal.
    pub direct_bytes_min: u64,
    /// Memory for chunks. What is not durable yet, and a block for each log that was written, stay whatever this says.
    pub cache_bytes: usize,
    /// Files that may be open at once, for writing and for reading; the few that a recovery opens for a moment aside.
    pub files_max: usize,
    /// Memory for the indexes of closed segments; the longest unused leave.
    pub index_cache_bytes: usize,
    /// How fast the scrub reads closed segments, looking for rot; 0: never.
    pub scrub_bytes_per_second: u64,
    /// How long after the start the first round of the scrub begins.
    pub scrub_after_ms: u64,
    /// From the beginning of one round to that of the next at least.
    pub scrub_every_ms: u64,
    /// An idempotent producer silent for this long is forgotten (`producer.id.expiration.ms`).
    pub producer_expiration_ms: u64,
    /// Producers remembered in one partition; beyond it the one that was silent for longest is forgotten.
    pub producers_max: usize,
    /// No segment becomes larger, whatever its partition's settings say.
    pub segment_bytes_max: u32,
    /// How often each log is looked at for what its retention lets go (`log.retention.check.interval.ms`).
    pub retention_check_ms: u64,
    /// How often each log is looked at for what can be compacted (`log.cleaner.backoff.ms`).
    pub cleaner_backoff_ms: u64,
    /// Memory for the keys of one compaction (`log.cleaner.dedupe.buffer.size`); one runs at a time.
    pub cleaner_keys_bytes: usize,
    /// What a compaction reads and writes in a second at most (`log.cleaner.io.max.bytes.per.second`).
    pub cleaner_io_bytes_per_second: u64,
    /// Below so much free space on a log directory's filesystem the oldest segments that may be deleted go early;
    /// 0: never.
    pub free_bytes_min: u64,
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig {
            roots: vec![PathBuf::from("/data")],
            lost: Vec::new(),
            lane: 0,
            lanes: 1,
            is_mine: |_, _, _| true,
            runs: vec![Run { number: 1, salt: 1 }],
            journal_bytes_max: 128 << 20,
            direct_bytes_min: 64 << 10,
            cache_bytes: 64 << 20,
            files_max: 512,
            index_cache_bytes: 16 << 20,
            scrub_bytes_per_second: 8 << 20,
            scrub_after_ms: 60_000,
            scrub_every_ms: 24 * 60 * 60 * 1000,
            producer_expiration_ms: 24 * 60 * 60 * 1000,
            producers_max: 10_000,
            segment_bytes_max: u32::MAX,
            retention_check_ms: 5 * 60 * 1000,
            cleaner_backoff_ms: 15_000,
            cleaner_keys_bytes: 32 << 20,
            cleaner_io_bytes_per_second: u64::MAX,
            free_bytes_min: 0,
        }
    }
}

/// Settings of one partition.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PartitionSettings {
    /// A segment is closed before it would pass this size (`segment.bytes`).
    pub segment_bytes: u32,
    /// Its appends go on when the disk is full, as long as the journal has room: what the broker itself writes down.
    pub goes_on_when_full: bool,
    /// About so much of a segment lies between two entries of its index (`index.interval.bytes`); more in the older
    /// parts of a long one, see `index.rs`.
    pub index_interval_bytes: u32,
    /// A segment is closed once its first record is this old when another comes (`segment.ms`).
    pub segment_ms: u64,
    /// Whether old segments go (`cleanup.policy`).
    pub delete: bool,
    /// A segment goes when all its records are older (`retention.ms`); `None`: never for its age.
    pub retention_ms: Option<u64>,
    /// The oldest segments go while the others still sum to this (`retention.bytes`); `None`: never for their size.
    pub retention_bytes: Option<u64>,
    /// Whether only the last record of each key is kept (`cleanup.policy`).
    pub compact: bool,
    /// Compaction begins when more than this share of the log is not compacted (`min.cleanable.dirty.ratio`).
    pub min_cleanable_dirty_ratio: f64,
    /// Younger records are not compacted.
    pub min_compaction_lag_ms: u64,
    /// Older ones are, whatever the share.
    pub max_compaction_lag_ms: u64,
    /// How long a tombstone stays once it was compacted (`delete.retention.ms`).
    pub delete_retention_ms: u64,
}

impl PartitionSettings {
    /// Everything is kept.
    pub const DEFAULT: PartitionSettings = PartitionSettings {
        segment_bytes: 1 << 30,
        goes_on_when_full: false,
        index_interval_bytes: 4096,
        segment_ms: 7 * 24 * 60 * 60 * 1000,
        delete: false,
        retention_ms: None,
        retention_bytes: None,
        compact: false,
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag_ms: 0,
        max_compaction_lag_ms: u64::MAX,
        delete_retention_ms: 24 * 60 * 60 * 1000,
    };
}

impl PartitionSettings {
    /// Within a shard's bounds.
    pub(crate) fn within(self, config: &LogConfig) -> PartitionSettings {
        PartitionSettings { segment_bytes: self.segment_bytes.min(config.segment_bytes_max), ..self }
    }
}

impl Default for PartitionSettings {
    fn default() -> Self {
        PartitionSettings::DEFAULT
    }
}

/// One batch to append. It was validated: exactly one batch of format 2, whole, its records seen.
#[derive(Clone, Copy, Debug)]
pub struct Append<'a> {
    /// The bytes as they came; base offset, leader epoch (and time) are set in the log's copy.
    pub batch: &'a [u8],
    /// The largest timestamp of its records, which corrects a header that states another.
    pub max_timestamp: Timestamp,
    /// The leadership under which it is appended.
    pub leader_epoch: LeaderEpoch,
    /// For `message.timestamp.type=LogAppendTime`: the time that all its records get.
    pub log_append_time: Option<Timestamp>,
}

/// Where a batch went, or where the batch that it repeats is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    /// Its first record's offset.
    pub base_offset: Offset,
    /// Its last record's offset: acknowledge once the durable end lies beyond it, a duplicate too.
    pub last_offset: Offset,
    /// The time given to its records, if the broker's clock was asked for.
    pub log_append_time: Option<Timestamp>,
    /// It was appended before; nothing was appended now.
    pub duplicate: bool,
}

/// Why a batch was not appended. Nothing changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AppendError {
    /// There is no such log (any more).
    Gone,
    /// It is still being recovered, truncated or closed.
    NotOpen,
    /// No memory, or too much waits for the disk: try again after the next event or tick.
    Busy,
    /// The disk is full; writing resumes by itself when there is room.
    NoSpace,
    /// Its log directory failed.
    Offline,
    /// The batch is larger than a segment may be, or does not even have a header.
    TooLarge,
    /// The producer has a later incarnation.
    InvalidProducerEpoch,
    /// The sequence number is not the one expected.
    OutOfOrderSequence,
}

/// What to read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ReadFrom {
    /// The batch that contains this offset comes first.
    pub offset: Offset,
    /// Only batches that end at or below this (the high watermark); also never beyond the durable end.
    pub up_to: Offset,
    /// At most about this many bytes.
    pub max_bytes: usize,
    /// The first batch comes whole even if it is larger than `max_bytes`.
    pub min_one_batch: bool,
}

/// An answer to a read.
#[derive(Debug)]
pub enum Read {
    /// Whole batches, in order.
    Ready(Batches),
    /// Something has to come from the disk first: ask again after [`Event::Ready`] of this log.
    Pending,
}

/// Whole batches, in pieces that follow each other; a piece need not end where a batch does.
#[derive(Debug)]
pub struct Batches {
    /// The bytes.
    pub pieces: Vec<Piece>,
    /// Their sum.
    pub bytes: u64,
    /// The offset after the last batch: where the next read goes on.
    pub next_offset: Offset,
}

/// Consecutive bytes of a log.
#[derive(Debug)]
pub enum Piece {
    /// In memory, lent.
    Memory(Buf),
    /// In a file opened for [`effect::Op::SendFile`]. Give the lease back with `Log::release` after use.
    File {
        /// Where.
        file: File,
        /// The first byte.
        offset: u64,
        /// How many.
        len: u64,
        /// Keeps the file open.
        lease: Lease,
    },
}

/// Keeps a file open until it is given back. Not `Clone`: one lease, one release.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a lease that is not released keeps its file open for ever"]
pub struct Lease {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

/// What a log remembers of an idempotent producer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ActiveProducer {
    /// Who.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// The sequence of its last record.
    pub last_sequence: i32,
    /// The largest timestamp of its last batch.
    pub last_timestamp: Timestamp,
}

/// How much room a filesystem has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Room {
    /// Its size.
    pub total_bytes: u64,
    /// What can still be allocated.
    pub free_bytes: u64,
}

/// A log directory as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Directory<'a> {
    /// Where it is.
    pub path: &'a Path,
    /// Nothing in it is used until a restart.
    pub offline: bool,
    /// The room on its filesystem when that was asked last.
    pub room: Option<Room>,
}

/// Why there is no answer to a read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReadError {
    /// There is no such log (any more).
    Gone,
    /// It is still being recovered or truncated.
    NotOpen,
    /// The offset lies before the log's start or beyond its end.
    OutOfRange,
    /// No memory or file handle for it now: try again after the next event or tick.
    Busy,
    /// The log or its directory failed.
    Offline,
    /// A segment's bytes are not what was written.
    Corrupt,
}

/// An answer to a lookup by time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TimeLookup {
    /// The first record at or after that time.
    Found {
        /// Its offset.
        offset: Offset,
        /// Its time.
        timestamp: Timestamp,
        /// The leadership it was appended under.
        leader_epoch: LeaderEpoch,
    },
    /// No record is that late.
    Nothing,
    /// Something has to come from the disk first: ask again after [`Event::Ready`] of this log.
    Pending,
}

/// Why a log could not be opened or went offline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Failure {
    /// The kernel or the disk failed.
    Fault(Fault),
    /// `partition.metadata` is missing beside segments, or unreadable.
    Metadata,
    /// The journal does not go on where the log ends.
    Journal {
        /// Where it ends.
        end: Offset,
    },
    /// Batches that were acknowledged are not in their segment.
    Damaged {
        /// The segment.
        base: Offset,
        /// Where in it the first damaged batch begins.
        position: u64,
    },
    /// Its log directory is not there.
    Missing,
    /// A segment does not begin where the one before it ends.
    Gap {
        /// Where the earlier segment ends.
        end: Offset,
        /// Where the later one begins.
        next: Offset,
    },
    /// A batch in a segment has another offset than its place demands.
    Order {
        /// The offset demanded.
        expected: Offset,
        /// The offset found.
        found: Offset,
    },
}

/// Why a log directory is offline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offline {
    /// A write or sync failed: nobody knows what the disk holds, whichever shard wrote it.
    Failed,
    /// What was acknowledged is not what was written; others that wrote there may be whole.
    Damaged,
    /// It is not there.
    Missing,
}

impl std::fmt::Display for Offline {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Offline::Failed => "has failed",
            Offline::Damaged => "is damaged",
            Offline::Missing => "is not there",
        })
    }
}

/// What a caller must hear of. Drained with `Log::drain_events`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The log is recovered and takes appends.
    Opened {
        /// Which.
        log: LogRef,
        /// Its first offset.
        start: Offset,
        /// The offset after its last record; all of it is durable.
        end: Offset,
    },
    /// The log is not usable; said once.
    Failed {
        /// Which.
        log: LogRef,
        /// Why.
        failure: Failure,
    },
    /// Every log below this directory is offline until a restart.
    DirectoryOffline {
        /// The log directory.
        dir: PathBuf,
        /// Why.
        why: Offline,
    },
    /// Everything before `end` is on stable storage.
    Durable {
        /// Which.
        log: LogRef,
        /// The durable end.
        end: Offset,
    },
    /// What a read or lookup waited for has come (or failed: ask again to hear).
    Ready {
        /// Which.
        log: LogRef,
    },
    /// A log begins later, durably.
    StartMoved {
        /// Which.
        log: LogRef,
        /// Its first offset.
        start: Offset,
    },
    /// The log is gone from its place; its reference is dead.
    Removed {
        /// Which.
        log: LogRef,
    },
    /// What earlier runs with another number of lanes left has been taken over by this one: see
    /// `Log::discard_foreign`.
    Adopted,
    /// Every log has been closed cleanly.
    Closed,
}
