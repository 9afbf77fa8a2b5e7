//! What a core may ask of its world, and what comes back.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::{Buf, BufMut, ShardId, Token, WriteBuf};

/// A listening socket, as its world numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Listener(pub i32);

/// A connected socket, as its world numbers it. Any shard may use it; one at a time does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Socket(pub i32);

/// An open file, as its world numbers it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct File(pub i32);

/// How a file is opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OpenMode {
    /// For direct, aligned writes and reads; made if it is missing. A world whose filesystem refuses direct
    /// I/O opens it buffered, with the same syncs, and says so in its own report.
    Write,
    /// For direct, aligned reads of a file that exists.
    Read,
    /// For [`Op::SendFile`]: through the page cache, kernel read-ahead off.
    Splice,
}

/// One operation. Offsets and lengths are bytes. Paths are absolute or relative to the process.
#[derive(Debug)]
pub enum Op {
    /// Accepts connections until the listener closes or the operation is cancelled: many [`Done::Accepted`].
    Accept {
        /// Where.
        listener: Listener,
    },
    /// Stops listening. Answer: [`Done::Finished`].
    CloseListener {
        /// Which.
        listener: Listener,
    },
    /// Receives what is there, at least a byte, into a buffer of the world's pool. Answer: [`Done::Received`].
    /// With no buffer free it waits for one.
    Recv {
        /// From.
        socket: Socket,
    },
    /// Receives until `buf` is full. Answer: [`Done::Filled`], with less than full only at the stream's end.
    RecvExact {
        /// From.
        socket: Socket,
        /// Into its unfilled part.
        buf: BufMut,
    },
    /// Sends all of `bufs`, in order. Answer: [`Done::Finished`] once the socket has taken everything.
    Send {
        /// To.
        socket: Socket,
        /// What; lent until the answer.
        bufs: Vec<Buf>,
    },
    /// Sends a range of a file (opened with [`OpenMode::Splice`]) off the core. Answer: [`Done::Finished`].
    SendFile {
        /// To.
        socket: Socket,
        /// From.
        file: File,
        /// The range's first byte.
        offset: u64,
        /// The range's length.
        len: u64,
    },
    /// Ends both directions; every operation on the socket completes soon. Answer: [`Done::Finished`].
    Shutdown {
        /// Which.
        socket: Socket,
    },
    /// Releases the socket. No other operation of it may be in flight. Answer: [`Done::Finished`].
    Close {
        /// Which.
        socket: Socket,
    },
    /// Opens a file. Answer: [`Done::Opened`]. A new file's name is durable only after [`Op::SyncDir`].
    Open {
        /// Which.
        path: PathBuf,
        /// How.
        mode: OpenMode,
    },
    /// Reads into `buf`'s unfilled part. Answer: [`Done::Filled`], less than full only at the end of the file.
    /// `offset`, the buffer's start and its limit are multiples of [`crate::BLOCK_BYTES`], unless the file was opened with
    /// [`OpenMode::Splice`].
    Read {
        /// From.
        file: File,
        /// The first byte.
        offset: u64,
        /// Into.
        buf: BufMut,
    },
    /// Writes all of `bufs`, in order. Answer: [`Done::Finished`]. All places and lengths are multiples of
    /// [`crate::BLOCK_BYTES`].
    Write {
        /// To.
        file: File,
        /// The first byte.
        offset: u64,
        /// What; the memory must stay, the bytes beyond a chunk's published length may change.
        bufs: Vec<WriteBuf>,
        /// Whether the bytes (and what is needed to find them) are on stable storage before the answer.
        sync: bool,
    },
    /// Puts all that was written to the file on stable storage. Answer: [`Done::Finished`].
    Sync {
        /// Which.
        file: File,
    },
    /// Gives the file room for `len` bytes from `offset`; its length grows to cover them; they read as zeros.
    /// Answer: [`Done::Finished`], or the fault ENOSPC.
    Allocate {
        /// Which.
        file: File,
        /// From.
        offset: u64,
        /// How many.
        len: u64,
    },
    /// Cuts (or extends) the file to `len` bytes. Answer: [`Done::Finished`].
    SetLen {
        /// Which.
        file: File,
        /// To.
        len: u64,
    },
    /// Releases the file. Answer: [`Done::Finished`].
    CloseFile {
        /// Which.
        file: File,
    },
    /// Makes a directory and its parents; no fault if it is there. Answer: [`Done::Finished`].
    CreateDir {
        /// Which.
        path: PathBuf,
    },
    /// Lists a directory: names, kinds and lengths, in name order. Answer: [`Done::Listed`].
    List {
        /// Which.
        path: PathBuf,
    },
    /// Moves a file or directory, replacing a file at the target. Answer: [`Done::Finished`].
    Rename {
        /// From.
        from: PathBuf,
        /// To.
        to: PathBuf,
    },
    /// Removes a file, or a directory with all in it; no fault if it is gone. Answer: [`Done::Finished`].
    Remove {
        /// Which.
        path: PathBuf,
    },
    /// Makes a directory's names durable. Answer: [`Done::Finished`].
    SyncDir {
        /// Which.
        path: PathBuf,
    },
    /// Puts all that was written below a directory on stable storage, names and lengths too (other files of the same
    /// filesystem may be taken along). Answer: [`Done::Finished`].
    SyncTree {
        /// Which.
        path: PathBuf,
    },
    /// Asks how much room the filesystem of a directory has. Answer: [`Done::Space`].
    Space {
        /// Which.
        path: PathBuf,
    },
    /// Rouses a shard that sleeps on an empty mailbox. No answer.
    Wake {
        /// Whom.
        shard: ShardId,
    },
    /// Asks that the operation of this token end early; that one still answers. No answer of its own.
    Cancel {
        /// Which.
        token: Token,
    },
}

/// The kinds of operation, for faults and metrics.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[allow(missing_docs)]
pub enum OpKind {
    Accept,
    CloseListener,
    Recv,
    RecvExact,
    Send,
    SendFile,
    Shutdown,
    Close,
    Open,
    Read,
    Write,
    Sync,
    Allocate,
    SetLen,
    CloseFile,
    CreateDir,
    List,
    Rename,
    Remove,
    SyncDir,
    SyncTree,
    Space,
    Wake,
    Cancel,
}

impl Op {
    /// What kind of operation this is.
    pub fn kind(&self) -> OpKind {
        match self {
            Op::Accept { .. } => OpKind::Accept,
            Op::CloseListener { .. } => OpKind::CloseListener,
            Op::Recv { .. } => OpKind::Recv,
            Op::RecvExact { .. } => OpKind::RecvExact,
            Op::Send { .. } => OpKind::Send,
            Op::SendFile { .. } => OpKind::SendFile,
            Op::Shutdown { .. } => OpKind::Shutdown,
            Op::Close { .. } => OpKind::Close,
            Op::Open { .. } => OpKind::Open,
            Op::Read { .. } => OpKind::Read,
            Op::Write { .. } => OpKind::Write,
            Op::Sync { .. } => OpKind::Sync,
            Op::Allocate { .. } => OpKind::Allocate,
            Op::SetLen { .. } => OpKind::SetLen,
            Op::CloseFile { .. } => OpKind::CloseFile,
            Op::CreateDir { .. } => OpKind::CreateDir,
            Op::List { .. } => OpKind::List,
            Op::Rename { .. } => OpKind::Rename,
            Op::Remove { .. } => OpKind::Remove,
            Op::SyncDir { .. } => OpKind::SyncDir,
            Op::SyncTree { .. } => OpKind::SyncTree,
            Op::Space { .. } => OpKind::Space,
            Op::Wake { .. } => OpKind::Wake,
            Op::Cancel { .. } => OpKind::Cancel,
        }
    }
}

/// What stands under a name in a directory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileKind {
    /// A regular file of this many bytes.
    File {
        /// Its length.
        len: u64,
    },
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// How an operation ended; for [`Op::Accept`], one step of it.
#[derive(Debug)]
pub enum Done {
    /// A connection. More follow until a `Failed` for the same token.
    Accepted {
        /// The connection.
        socket: Socket,
        /// Its other end.
        peer: SocketAddr,
        /// The address that the client used.
        local: SocketAddr,
    },
    /// Bytes from a socket; empty at the stream's end.
    Received(Buf),
    /// The buffer given, filled as far as it goes.
    Filled(BufMut),
    /// The file is open.
    Opened(File),
    /// A directory's entries, in name order.
    Listed(Vec<(String, FileKind)>),
    /// How much room a filesystem has, for a process without privileges.
    Space {
        /// Bytes that can still be allocated.
        free_bytes: u64,
        /// Its size.
        total_bytes: u64,
    },
    /// Done, nothing more to say.
    Finished,
    /// The kernel or the disk failed, or the operation was cancelled.
    Failed(Fault),
}

/// A failure of the kernel or of a device.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// What was tried.
    pub op: OpKind,
    /// Why it failed: `errno(3)`.
    pub errno: i32,
}

impl Fault {
    /// `ENOENT`: no such file.
    pub const ENOENT: i32 = 2;
    /// `EIO`: the device failed.
    pub const EIO: i32 = 5;
    /// `ENOSPC`: no room left.
    pub const ENOSPC: i32 = 28;
    /// `ENOSYS`: the kernel does not know the call.
    pub const ENOSYS: i32 = 38;
    /// `EOPNOTSUPP`: the filesystem cannot do it.
    pub const EOPNOTSUPP: i32 = 95;
    /// `ECONNRESET`: the peer is gone.
    pub const ECONNRESET: i32 = 104;
    /// `EDQUOT`: no room left within the quota.
    pub const EDQUOT: i32 = 122;
    /// `ECANCELED`: ended by [`Op::Cancel`].
    pub const ECANCELED: i32 = 125;
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.op, std::io::Error::from_raw_os_error(self.errno))
    }
}
