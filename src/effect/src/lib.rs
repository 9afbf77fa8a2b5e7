//! The seam between the cores and a kernel: what a core may ask for ([`Op`]), what comes back ([`Done`]),
//! the memory both speak of ([`Buf`], [`BufMut`], [`Chunk`]) and the mailboxes between shards ([`Endpoint`]).
//!
//! A core is a plain state machine. It pushes operations into [`Effects`] and is handed completions by
//! [`Token`]; it has no clock, no socket, no thread. Three worlds implement [`Io`]: the ring, its poll
//! fallback and the simulator.
//!
//! Invariants: every operation but [`Op::Wake`] and [`Op::Cancel`] is answered by exactly one final
//! [`Done`]; memory given to an operation belongs to it until then.

mod buf;
mod chunk;
mod io;
mod mail;
mod op;
mod pool;
mod slab;
mod time;
mod token;

pub use buf::{Buf, BufMut, WriteBuf};
pub use chunk::Chunk;
pub use io::{Effects, Io, Wait};
pub use mail::{Endpoint, ShardId, mesh};
pub use op::{Done, Fault, File, FileKind, Listener, Op, OpKind, OpenMode, Socket};
pub use pool::{BLOCK_BYTES, Pool};
pub use time::Instant;
pub use token::{Slots, Token};
