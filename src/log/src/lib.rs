//! The partition logs of one shard: append, commit, read, recover. One set of files for each partition.
//!
//! Owns segments, their files and memory, and what a partition remembers of its producers. A plain state machine: it
//! has no clock and does no I/O; it pushes operations into [`effect::Effects`] and is handed their completions. Never
//! knows a topic's name, a replica or a protocol version.
//!
//! A turn: any number of calls, then one [`Log::tick`], which hands the turn's appends to the disk together, then
//! [`Log::drain_events`]. A log has at most one synced write in flight; what is appended meanwhile goes with the next.
//!
//! On disk, below a log directory: `<topic>-<partition>/<base offset, 20 digits>.log`, which are batches one after the
//! other, byte for byte what Kafka writes; beside them `.snapshot` files (see `snapshot.rs`), `partition.metadata`, and
//! for closed segments the files of their indexes (see `index_format.rs`), which are a cache.
//!
//! Invariants:
//! - the durable end moves only when a synced write has completed, in order;
//! - nothing is written outside of space that was allocated before;
//! - a block below the durable end is never written with other bytes than it holds;
//! - a failed write or sync is final: its log directory is offline until a restart;
//! - no work of a turn grows with the number of logs.
#![forbid(unsafe_code)]

mod age;
mod append;
mod cache;
mod cleaner;
mod cold;
mod damage;
#[doc(hidden)]
pub mod disk_bytes;
mod engine;
mod face;
mod files;
mod index;
mod index_cache;
mod index_format;
mod index_io;
mod job;
mod partition;
mod pressure;
mod producers;
mod read;
mod recover;
mod recovery;
mod retention;
mod retire;
mod scrub;
mod segment;
mod small;
mod snapshot;
mod start;
mod time;
mod write;
mod zero;

pub use engine::Log;
pub use face::{
    Append, AppendError, Appended, Batches, Event, Failure, Lease, LogConfig, LogRef, PartitionSettings, Piece, ROOM,
    Read, ReadError, ReadFrom, TimeLookup,
};
