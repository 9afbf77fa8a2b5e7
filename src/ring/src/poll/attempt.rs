//! One try of a socket operation, and what follows from its answer.

use effect::{BLOCK_BYTES, Buf, BufMut, Done, Op, OpKind, Token};

use super::{Flight, Poll, Work};
use crate::file::{IOV_COUNT_MAX, failed};
use crate::sys::{self, check_len};

/// What a try came to.
enum Outcome {
    /// Done, or failed.
    Answer(Done),
    /// The buffer of an exact receive is as full as it gets.
    Full,
    /// It would block.
    Wait { fd: i32, writable: bool },
    /// The pool is dry.
    Starved,
    /// A piece of a file is to be read first.
    Read(Op),
}

impl Poll {
    /// Tries an operation, now that it may get further.
    pub(super) fn go_on(&mut self, mut flight: Flight, done: &mut Vec<(Token, Done)>) {
        let kind = flight.work.kind();
        if flight.cancelled {
            return done.push((flight.token, failed(kind, libc::ECANCELED)));
        }
        match self.attempt(flight.token, &mut flight.work, done) {
            Ok(Outcome::Answer(answer)) => done.push((flight.token, answer)),
            Ok(Outcome::Full) => {
                let Work::RecvExact { buf, .. } = flight.work else { panic!("only an exact receive fills a buffer") };
                done.push((flight.token, Done::Filled(buf)));
            }
            Ok(Outcome::Wait { fd, writable }) => self.wait_for(fd, writable, flight, done),
            Ok(Outcome::Starved) => {
                let id = self.flights.insert(flight);
                self.starved.push(id);
            }
            Ok(Outcome::Read(op)) => self.start_on_thread(flight, op),
            Err(errno) => done.push((flight.token, failed(kind, errno))),
        }
    }

    /// A disk thread has read a piece of a file to be sent.
    pub(super) fn piece_read(&mut self, mut flight: Flight, answer: Done, done: &mut Vec<(Token, Done)>) {
        let Work::SendFile { piece, offset, left, .. } = &mut flight.work else { panic!("only a file's send reads") };
        let errno = match answer {
            Done::Filled(buf) if buf.filled() > 0 => {
                *piece = buf.freeze();
                *offset += piece.len() as u64;
                *left -= piece.len() as u64;
                return self.go_on(flight, done);
            }
            Done::Failed(fault) => fault.errno,
            // The file is shorter than its owner says.
            _ => libc::EIO,
        };
        done.push((flight.token, failed(OpKind::SendFile, errno)));
    }

    fn attempt(&self, token: Token, work: &mut Work, done: &mut Vec<(Token, Done)>) -> Result<Outcome, i32> {
        match work {
            Work::Accept { listener } => accept(listener.0, token, done),
            Work::Recv { socket } => self.recv(socket.0),
            Work::RecvExact { socket, buf } => recv_exact(socket.0, buf),
            Work::Send { socket, bufs, sent } => send(socket.0, bufs, sent),
            Work::SendFile { socket, file, offset, left, piece } => {
                let mut sent = 0;
                let answer = send(socket.0, std::slice::from_ref(piece), &mut sent);
                *piece = piece.slice(sent..piece.len());
                match answer? {
                    Outcome::Answer(_) if *left > 0 => {}
                    outcome => return Ok(outcome),
                }
                *piece = Buf::EMPTY;
                let bytes = (*left).min(PIECE_BYTES as u64) as usize;
                let Some(mut buf) = self.pool.take(bytes) else { return Ok(Outcome::Starved) };
                buf.limit(bytes);
                Ok(Outcome::Read(Op::Read { file: *file, offset: *offset, buf }))
            }
            Work::Thread { kind } => panic!("{kind:?} is not a socket's"),
        }
    }

    fn recv(&self, fd: i32) -> Result<Outcome, i32> {
        let Some(mut buf) = self.pool.take(self.recv_buffer_bytes) else { return Ok(Outcome::Starved) };
        let Some(bytes) = recv_into(fd, &mut buf)? else { return Ok(Outcome::Wait { fd, writable: false }) };
        if bytes <= BLOCK_BYTES
            && let Some(mut small) = self.pool.take(bytes.max(1))
        {
            // A few bytes must not keep a large block away while the rest of their request is awaited.
            small.extend(buf.as_slice());
            buf = small;
        }
        Ok(Outcome::Answer(Done::Received(buf.freeze())))
    }
}

impl Work {
    pub(super) fn kind(&self) -> OpKind {
        match self {
            Work::Accept { .. } => OpKind::Accept,
            Work::Recv { .. } => OpKind::Recv,
            Work::RecvExact { .. } => OpKind::RecvExact,
            Work::Send { .. } => OpKind::Send,
            Work::SendFile { .. } => OpKind::SendFile,
            Work::Thread { kind } => *kind,
        }
    }
}

fn accept(fd: i32, token: Token, done: &mut Vec<(Token, Done)>) -> Result<Outcome, i32> {
    loop {
        let flags = libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
        // SAFETY: no address is asked for.
        let answer = unsafe { libc::accept4(fd, std::ptr::null_mut(), std::ptr::null_mut(), flags) };
        match sys::check(answer) {
            Ok(socket) => done.extend(crate::listen::accepted(socket).map(|accepted| (token, accepted))),
            Err(libc::EINTR | libc::ECONNABORTED) => {}
            Err(libc::EAGAIN) => return Ok(Outcome::Wait { fd, writable: false }),
            Err(errno) => return Err(errno),
        }
    }
}

fn recv_exact(fd: i32, buf: &mut BufMut) -> Result<Outcome, i32> {
    while buf.filled() < buf.capacity() {
        match recv_into(fd, buf)? {
            None => return Ok(Outcome::Wait { fd, writable: false }),
            Some(0) => break,
            Some(_) => {}
        }
    }
    Ok(Outcome::Full)
}

/// One receive behind what is filled; `None` if it would block.
fn recv_into(fd: i32, buf: &mut BufMut) -> Result<Option<usize>, i32> {
    let target = buf.unfilled_mut();
    // SAFETY: the kernel writes at most `len` bytes into `target`, which is that long and borrowed through the call.
    let answer = unsafe { libc::recv(fd, target.as_mut_ptr().cast(), target.len(), libc::MSG_DONTWAIT) };
    match check_len(answer) {
        Ok(bytes) => {
            buf.advance(bytes);
            Ok(Some(bytes))
        }
        Err(libc::EAGAIN | libc::EINTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Sends what is left of `bufs` behind `sent`, as far as it goes.
fn send(fd: i32, bufs: &[Buf], sent: &mut usize) -> Result<Outcome, i32> {
    let total: usize = bufs.iter().map(|buf| buf.len()).sum();
    while *sent < total {
        let mut slices = slices_from(bufs, *sent);
        // SAFETY: a `msghdr` is integers and pointers only; zero is a value of it.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = slices.as_mut_ptr();
        header.msg_iovlen = slices.len() as _;
        // SAFETY: the header points to slices of borrowed buffers, which the call only reads.
        let answer = unsafe { libc::sendmsg(fd, &raw const header, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) };
        match check_len(answer) {
            Ok(bytes) => *sent += bytes,
            Err(libc::EAGAIN) => return Ok(Outcome::Wait { fd, writable: true }),
            Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(Outcome::Answer(Done::Finished))
}

/// What is left of `bufs` behind their first `skip` bytes, as many slices as one call takes.
fn slices_from(bufs: &[Buf], mut skip: usize) -> Vec<libc::iovec> {
    let mut slices = Vec::with_capacity(bufs.len().min(IOV_COUNT_MAX));
    for buf in bufs {
        if skip >= buf.len() {
            skip -= buf.len();
            continue;
        }
        let rest = &buf[skip..];
        skip = 0;
        slices.push(libc::iovec { iov_base: rest.as_ptr().cast_mut().cast(), iov_len: rest.len() });
        if slices.len() == IOV_COUNT_MAX {
            break;
        }
    }
    slices
}

/// What is read from a file at once before it is sent.
const PIECE_BYTES: usize = 256 << 10;
