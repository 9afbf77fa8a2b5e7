//! The simulator: brokers, disk, network, clocks and clients in one thread, from one seed.
//! Equal seeds give equal traces. `cargo run --release -p sim -- --seed 1` prints one run, `--seeds 200` checks many.
//!
//! # What can go wrong
//!
//! | where | what |
//! |---|---|
//! | process | killed at any moment: what the kernel was given stays, an operation in flight happens, happens in part or not at all; restarted with another number of shards |
//! | machine | power cut at any moment: see *disk*; a client may never hear that its connection is gone |
//! | shard | gets no processor for a while; sleeps until a completion, a wake or its deadline, never less |
//! | disk | operations take long, and complete in any order; a period in which all are slow, none gets room (ENOSPC), or some fail (EIO) |
//! | disk, power cut | of what no completed sync covers, every 512 B sector survives or not, on its own; length and room survive as a prefix of their changes; a name survives only by a sync of its directory, or by chance; a synced write in flight may be torn |
//! | disk, failed sync | what it covered is lost to every later sync too |
//! | disk, failed write | any of its sectors are written |
//! | memory given to a write | bytes beyond what its chunk has published may change until the write completes |
//! | network | bytes split anywhere, delayed; a connection ends at any byte: reset at both ends, at one, or silent in one direction or both; a reader that doesn't read; connections accepted in any order, by any shard |
//! | clock | the wall clock jumps either way, up to a quarter of an hour |
//! | numbers | a closed file's or socket's number is given to the next one opened |
//! | clients | send garbage, stop reading, leave without a word |
//!
//! # What cannot
//!
//! Synced data never rots and is never lost; one sector is never torn; a rename is never half there; bytes of a
//! connection are never reordered or altered; monotonic time never goes back; memory does not fail. Two shards never
//! run at the same instant: races inside the mailboxes are tested where those are.
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
