//! Operations and answers as a line of the trace shows them, and as its hash takes them.

use effect::{Done, Op, OpenMode};

/// An operation, readable.
pub(crate) fn op(op: &Op) -> String {
    let kind = op.kind();
    match op {
        Op::Accept { listener } | Op::CloseListener { listener } => format!("{kind:?} l{}", listener.0),
        Op::Recv { socket } | Op::Shutdown { socket } | Op::Close { socket } => format!("{kind:?} n{}", socket.0),
        Op::RecvExact { socket, buf } => format!("{kind:?} n{} {} bytes", socket.0, buf.capacity() - buf.filled()),
        Op::Send { socket, bufs } => {
            format!("{kind:?} n{} {} bytes", socket.0, bufs.iter().map(|buf| buf.len()).sum::<usize>())
        }
        Op::SendFile { socket, file, offset, len } => format!("{kind:?} n{} f{} @{offset}+{len}", socket.0, file.0),
        Op::Open { path, mode } => {
            let mode = match mode {
                OpenMode::Write => "to write",
                OpenMode::Read => "to read",
                OpenMode::Splice => "to splice",
            };
            format!("{kind:?} {} {mode}", path.display())
        }
        Op::Read { file, offset, buf } => format!("{kind:?} f{} @{offset}+{}", file.0, buf.capacity() - buf.filled()),
        Op::Write { file, offset, bufs, sync } => {
            let len: usize = bufs.iter().map(|buf| buf.len()).sum();
            format!("{kind:?} f{} @{offset}+{len}{}", file.0, if *sync { " sync" } else { "" })
        }
        Op::Sync { file } | Op::CloseFile { file } => format!("{kind:?} f{}", file.0),
        Op::Allocate { file, offset, len } => format!("{kind:?} f{} @{offset}+{len}", file.0),
        Op::SetLen { file, len } => format!("{kind:?} f{} {len}", file.0),
        Op::CreateDir { path }
        | Op::List { path }
        | Op::Remove { path }
        | Op::SyncDir { path }
        | Op::SyncTree { path }
        | Op::Space { path } => format!("{kind:?} {}", path.display()),
        Op::Rename { from, to } => format!("{kind:?} {} to {}", from.display(), to.display()),
        Op::Wake { shard } => format!("{kind:?} s{}", shard.0),
        Op::Cancel { token } => format!("{kind:?} {}.{}.{}.{}", token.room, token.kind, token.slot, token.generation),
    }
}

/// An operation's kind, thing and place.
pub(crate) fn numbers(op: &Op) -> [u64; 3] {
    let (thing, place) = match op {
        Op::Accept { listener } | Op::CloseListener { listener } => (listener.0, 0),
        Op::Recv { socket } | Op::Shutdown { socket } | Op::Close { socket } => (socket.0, 0),
        Op::RecvExact { socket, buf } => (socket.0, buf.capacity() as u64),
        Op::Send { socket, bufs } => (socket.0, bufs.iter().map(|buf| buf.len() as u64).sum()),
        Op::SendFile { file, offset, len, .. } => (file.0, offset ^ len << 32),
        Op::Read { file, offset, .. } => (file.0, *offset),
        Op::Write { file, offset, bufs, .. } => {
            (file.0, offset ^ bufs.iter().map(|buf| buf.len() as u64).sum::<u64>() << 32)
        }
        Op::Sync { file } | Op::CloseFile { file } => (file.0, 0),
        Op::Allocate { file, offset, len } => (file.0, offset ^ len << 32),
        Op::SetLen { file, len } => (file.0, *len),
        Op::Open { path, .. }
        | Op::CreateDir { path }
        | Op::List { path }
        | Op::Remove { path }
        | Op::SyncDir { path }
        | Op::SyncTree { path }
        | Op::Space { path } => (0, path.as_os_str().len() as u64),
        Op::Rename { from, to } => (from.as_os_str().len() as i32, to.as_os_str().len() as u64),
        Op::Wake { shard } => (i32::from(shard.0), 0),
        Op::Cancel { token } => (i32::from(token.kind), u64::from(token.slot)),
    };
    [op.kind() as u64, thing as u64, place]
}

/// An answer, readable.
pub(crate) fn done(done: &Done) -> String {
    match done {
        Done::Accepted { socket, .. } => format!("accepted n{}", socket.0),
        Done::Received(buf) => format!("{} bytes", buf.len()),
        Done::Filled(buf) => format!("filled {}", buf.filled()),
        Done::Opened(file) => format!("opened f{}", file.0),
        Done::Listed(entries) => format!("{} entries", entries.len()),
        Done::Space { free_bytes, .. } => format!("{free_bytes} free"),
        Done::Finished => "ok".to_owned(),
        Done::Failed(fault) => format!("FAILED {fault}"),
    }
}

/// An answer's size or fault.
pub(crate) fn done_number(done: &Done) -> u64 {
    match done {
        Done::Accepted { socket, .. } => socket.0 as u64,
        Done::Received(buf) => buf.len() as u64,
        Done::Filled(buf) => buf.filled() as u64,
        Done::Opened(file) => file.0 as u64,
        Done::Listed(entries) => entries.len() as u64,
        Done::Space { free_bytes, .. } => *free_bytes,
        Done::Finished => 1 << 40,
        Done::Failed(fault) => 1 << 41 | fault.errno as u64,
    }
}
