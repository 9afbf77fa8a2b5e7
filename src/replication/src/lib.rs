//! What the leader of a partition knows beyond its log: the high watermark, its leader epoch, and who waits.
//!
//! Owns the rule of what consumers may see and when a producer is answered. Never knows protocol versions, connections
//! or files: the log tells how far it is durable, waiters are the caller's own.
//!
//! Invariants: the high watermark never goes back; nothing above it is shown; a waiter is released once. With a single
//! replica the high watermark is the durable end of the log.
#![forbid(unsafe_code)]

mod leader;
mod watchers;

pub use leader::{EpochError, Leader};
pub use watchers::{WatchId, Watchers};
