//! An operation on its way: what it was asked, how far it has come, and the memory that the kernel uses for it.
//! Invariants: whatever an entry points to lies on the heap behind its `Flight`, so that moving the `Flight` moves
//! nothing; a `Flight` is dropped only when no entry of it is with the kernel.

use std::path::PathBuf;

use std::ffi::CString;

use effect::{Buf, BufMut, File, Listener, OpKind, OpenMode, Socket, Token, WriteBuf};

use super::pipes::Pipe;

pub(super) struct Flight {
    pub(super) token: Token,
    pub(super) place: Place,
    pub(super) cancelled: bool,
    /// The entry in flight only waits until the socket is ready for the real one.
    pub(super) polling: bool,
    pub(super) work: Work,
}

/// Where an operation is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Place {
    /// With the kernel.
    Kernel,
    /// On a disk thread.
    Thread,
    /// In a queue of the ring's: for a receive buffer, a turn at the disk or a pipe.
    Queue,
}

pub(super) enum Work {
    Accept {
        listener: Listener,
    },
    Recv {
        socket: Socket,
    },
    RecvExact {
        socket: Socket,
        buf: BufMut,
    },
    Send(Box<Sending>),
    SendFile(Box<SendingFile>),
    Open {
        path: PathBuf,
        name: CString,
        mode: OpenMode,
        direct: bool,
    },
    Read {
        file: File,
        offset: u64,
        buf: BufMut,
    },
    Write(Box<Writing>),
    /// One entry, no memory: answered by `Finished`.
    Plain {
        kind: OpKind,
        plain: Plain,
    },
    /// Whatever a disk thread does.
    Thread {
        kind: OpKind,
    },
}

/// Operations that are one entry without memory.
#[derive(Clone, Copy)]
pub(super) enum Plain {
    Close { fd: i32 },
    Sync { file: File },
    Allocate { file: File, offset: u64, len: u64 },
    SetLen { file: File, len: u64 },
}

pub(super) struct Sending {
    pub(super) socket: Socket,
    pub(super) bufs: Vec<Buf>,
    pub(super) sent: usize,
    pub(super) total: usize,
    pub(super) slices: Vec<libc::iovec>,
    pub(super) header: libc::msghdr,
}

pub(super) struct Writing {
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) bufs: Vec<WriteBuf>,
    pub(super) sync: bool,
    pub(super) written: u64,
    pub(super) total: u64,
    pub(super) slices: Vec<libc::iovec>,
}

pub(super) struct SendingFile {
    pub(super) socket: Socket,
    pub(super) file: File,
    pub(super) offset: u64,
    pub(super) left: u64,
    pub(super) step: Step,
}

/// How far a piece of a file has come.
pub(super) enum Step {
    /// Until the socket has room.
    Room,
    /// File to pipe.
    Fill(Pipe),
    /// Pipe to socket.
    Drain { pipe: Pipe, held: u32 },
}

impl Flight {
    pub(super) fn new(token: Token, work: Work) -> Flight {
        Flight { token, place: Place::Kernel, cancelled: false, polling: false, work }
    }
}

impl Work {
    pub(super) fn kind(&self) -> OpKind {
        match self {
            Work::Accept { .. } => OpKind::Accept,
            Work::Recv { .. } => OpKind::Recv,
            Work::RecvExact { .. } => OpKind::RecvExact,
            Work::Send(_) => OpKind::Send,
            Work::SendFile(_) => OpKind::SendFile,
            Work::Open { .. } => OpKind::Open,
            Work::Read { .. } => OpKind::Read,
            Work::Write(_) => OpKind::Write,
            Work::Plain { kind, .. } | Work::Thread { kind } => *kind,
        }
    }

    /// The disk lane that it counts in.
    pub(super) fn lane(&self) -> Option<super::lane::Side> {
        match self {
            Work::Read { .. } => Some(super::lane::Side::Read),
            Work::Write(_) => Some(super::lane::Side::Write),
            _ => None,
        }
    }
}

impl Sending {
    pub(super) fn new(socket: Socket, bufs: Vec<Buf>) -> Sending {
        let total = bufs.iter().map(|buf| buf.len()).sum();
        // SAFETY: a `msghdr` is integers and pointers only; zero is a value of it.
        let header = unsafe { std::mem::zeroed() };
        Sending { socket, bufs, sent: 0, total, slices: Vec::new(), header }
    }

    /// Points `header` at what is not sent yet, as many pieces as one call takes.
    pub(super) fn aim(&mut self) {
        self.slices.clear();
        let mut skip = self.sent;
        for buf in &self.bufs {
            if skip >= buf.len() {
                skip -= buf.len();
                continue;
            }
            let rest = &buf[skip..];
            skip = 0;
            self.slices.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
            if self.slices.len() == crate::file::IOV_COUNT_MAX {
                break;
            }
        }
        self.header.msg_iov = self.slices.as_mut_ptr();
        self.header.msg_iovlen = self.slices.len() as _;
    }
}

impl Writing {
    pub(super) fn new(file: File, offset: u64, bufs: Vec<WriteBuf>, sync: bool) -> Writing {
        let total = bufs.iter().map(|buf| buf.len() as u64).sum();
        Writing { file, offset, bufs, sync, written: 0, total, slices: Vec::new() }
    }
}

const _: () = assert!(size_of::<Flight>() <= 128);
