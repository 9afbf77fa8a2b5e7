//! The partition logs of one shard: append, commit, read, recover.
//!
//! Owns the journals of its log directories, segments, their files and memory, and what a partition remembers of its
//! producers. A plain state machine: it has no clock and does no I/O; it pushes operations into [`effect::Effects`] and
//! is handed their completions. Never knows a topic's name, a replica or a protocol version.
//!
//! A turn: any number of calls, then one [`Log::tick`], which hands the turn's appends to the disk together, then
//! [`Log::drain_events`]. What a turn appended, for all logs of a directory, is one synced write to the journal
//! (`journal/`); what is much goes to its segment at once instead. Durable bytes come to their segments later
//! (`destage.rs`), and a checkpoint (`checkpoint/`) says so, so that a start reads neither segments nor directories.
//! `FORMATS.md` in this room says what is on disk, byte by byte.
//!
//! Invariants:
//! - the durable end moves only when a synced write has completed, in order;
//! - nothing is written to a segment outside of space that was allocated before;
//! - a block that a segment's file holds is never written with other bytes, nor read before it is whole;
//! - no frame of the journal is overwritten before a checkpoint, and the one after it, stand for what it says;
//! - a failed write or sync is final: its log directory is offline until a restart;
//! - no work of a turn grows with the number of logs, but for what asks all of them to stop.
#![forbid(unsafe_code)]

mod age;
mod append;
mod cache;
mod checkpoint;
mod cleaner;
mod cold;
mod damage;
mod destage;
#[doc(hidden)]
pub mod disk_bytes;
pub mod dump;
mod engine;
mod face;
mod files;
mod index;
mod index_cache;
mod index_format;
mod index_io;
mod job;
mod journal;
mod knowledge;
mod known;
mod metadata_file;
mod overlay;
mod partition;
mod pressure;
mod producers;
mod read;
mod recover;
mod recovery;
mod replay;
mod retention;
mod retire;
mod root;
mod scrub;
mod segment;
mod space;
mod start;
mod time;

pub use engine::Log;
pub use face::{
    ActiveProducer, Append, AppendError, Appended, Batches, Directory, Event, Failure, Lease, LogConfig, LogRef,
    Offline, PartitionSettings, Piece, ROOM, Read, ReadError, ReadFrom, Room, Run, TimeLookup,
};
