//! The simulator: brokers, disk, network, clocks and clients in one thread, from one seed.
//! Equal seeds give equal traces. `cargo run --release -p sim -- --seed 1` prints one run, `--seeds 200` checks many.
//!
//! # What can go wrong
//!
//! | where | what |
//! |---|---|
//! | process | killed at any moment: what the kernel was given stays, an operation in flight happens, happens in part or not at all; restarted with another number of shards and other bounds |
//! | machine | power cut at any moment: see *disk*; a client may never hear that its connection is gone |
//! | aim | a kill or a power cut waits for the k-th operation on a class of files (segment, journal, checkpoint, what a cleaner writes, snapshot, index), of a kind (rename, remove, cut, allocate, syncs) or of a start, and comes while that is in flight or right after it: recoveries, rolls and removals are cut short as a rule |
//! | shard | gets no processor for a while; sleeps until a completion, a wake or its deadline, never less |
//! | disk | operations take long, and complete in any order; a period in which all are slow, none gets room (ENOSPC), or some fail (EIO). Each log directory is a disk of its own: one fills or fails, the others don't |
//! | disk, missing | one of two log directories is not there at a start, and is again later |
//! | disk, its size | small in some runs: what files take is counted, removing gives it back, `Space` answers from it |
//! | disk, power cut | of what no completed sync covers, every 512 B sector survives or not, on its own; length and room survive as a prefix of their changes; a name survives only by a sync of its directory, or by chance; a synced write in flight may be torn |
//! | disk, failed sync | what it covered is lost to every later sync too |
//! | disk, failed write | any of its sectors are written |
//! | disk, rot | a bit flips in what was durable, while the broker runs or between its last two lives: in a batch of a closed segment, where a checksum or the walk from batch to batch shows it, or anywhere in a producer snapshot |
//! | memory given to a write | bytes beyond what its chunk has published may change until the write completes |
//! | network | bytes split anywhere, delayed; a connection ends at any byte: reset at both ends, at one, or silent in one direction or both; a reader that doesn't read; connections accepted in any order, by any shard |
//! | clock | the wall clock jumps either way, up to a quarter of an hour |
//! | numbers | a closed file's or socket's number is given to the next one opened |
//! | clients | send garbage, stop reading, leave without a word |
//!
//! [`every_op`] goes through a short script instead: once for each operation that the disk is asked for, which fails, or
//! is the last before a kill or a power cut, and nothing else goes wrong.
//!
//! # What cannot
//!
//! Synced data is never lost, and rots only as above: never the metadata log, never a segment that is still written,
//! never a batch's first offset or leader epoch, which no checksum covers; one sector is never torn; a rename is never
//! half there; bytes of a connection are never reordered or altered; monotonic time never goes back; memory does not
//! fail. Two shards never run at the same instant: races inside the mailboxes are tested where those are.
//!
//! # What clients hold the broker to
//!
//! An acknowledged record stands where it was told, once, in its producer's order, unaltered, with its time, for ever,
//! and nobody sees one that was not sent. What has rotted is refused (CORRUPT_MESSAGE, or KAFKA_STORAGE_ERROR) or shows
//! by its checksum; the records around it stay, and the log's end with them. The start moves only forward, only
//! past what somebody asked to delete or what has expired. Of a compacted topic each key's last
//! record stays, and nothing comes back that a tombstone deleted. A lookup by time passes over no record. A topic has the partitions and settings that
//! it was given. Answers come in order and in time.
//!
//! # What the world holds the broker to
//!
//! Direct I/O is aligned; a write to a segment lies within room that was allocated; writes in flight never overlap; a socket has
//! at most one receive and one send in flight; nothing is closed while in use, or used once closed.
#![forbid(unsafe_code)]

mod broker_host;
mod clients;
mod describe;
mod disk;
mod every_op;
mod faults;
mod log_lines;
mod net;
mod oracle;
mod plan;
mod rng;
mod run;
mod sim_io;
mod trace;
mod traps;
mod world;
mod world_disk;
mod world_net;
mod world_sockets;

pub use disk::{FileClass, SECTOR_BYTES};
pub use every_op::{EveryOp, Script, every_op};
pub use faults::{Faults, Period, Trouble};
pub use log_lines::listen_to_logs;
pub use net::{ConnId, Incoming, Leave};
pub use rng::Rng;
pub use run::{Report, run};
pub use sim_io::SimIo;
pub use trace::{Trace, Who};
pub use traps::{Bait, Snap, Trap};
pub use world::{Happening, World};
