//! What a connection does about a request, one file a kind: what is asked of which shard, and how the answer is put
//! together. Never touches a log or a socket.

pub(crate) mod admin;
mod alter_replica_log_dirs;
pub(crate) mod delete_records;
mod describe_log_dirs;
mod describe_producers;
pub(crate) mod fetch;
pub(crate) mod fetch_session;
pub(crate) mod groups;
pub(crate) mod list_offsets;
pub(crate) mod lookup;
mod offset_for_leader_epoch;
pub(crate) mod produce;
pub(crate) mod read_only;
pub(crate) mod split;

use std::path::{Path, PathBuf};

use effect::{Buf, File, Pool, ShardId};
use log::Lease;

/// A part of an answer, as it goes to the socket.
#[derive(Debug)]
pub(crate) enum OutPiece {
    Memory(Buf),
    /// The lease goes back to `home` afterwards.
    File {
        file: File,
        offset: u64,
        len: u64,
        lease: Lease,
        home: ShardId,
    },
}

/// What a request ends in.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A whole response frame, in pieces.
    Pieces(Vec<OutPiece>),
    /// Nothing is said (acks=0).
    Silence,
    /// The connection ends, as Kafka ends it on what it cannot answer.
    Close(&'static str),
}

impl Reply {
    pub(crate) fn frame(bytes: &[u8], memory: &Pool) -> Reply {
        Reply::Pieces(vec![OutPiece::Memory(buf_of(bytes, memory))])
    }
}

/// A copy in shared memory.
pub(crate) fn buf_of(bytes: &[u8], memory: &Pool) -> Buf {
    let mut buf = memory.take_over(bytes.len().max(1));
    buf.extend(bytes);
    buf.freeze()
}

/// A log directory as clients see it.
fn absolute(dir: &Path) -> PathBuf {
    std::path::absolute(dir).unwrap_or_else(|_| dir.to_path_buf())
}
