//! The seam on epoll and disk threads, for machines without a usable io_uring. Small and plain rather than fast.
//!
//! Socket calls are tried at once and, where they would block, again when epoll says so; everything on disk is a job
//! of a disk thread, the reading of files to be sent too.
//! Invariants: at most one operation waits for each direction of a socket; a descriptor is armed for one event only
//! (`EPOLLONESHOT`), so that one that moves to another shard leaves nothing behind.

mod attempt;

use std::collections::BTreeMap;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::Duration;

use effect::{Buf, BufMut, Done, File, Instant, Io, Listener, Op, OpKind, Pool, ShardId, Slots, Socket, Token, Wait};
use model::Timestamp;

use crate::clock::{self, Entropy};
use crate::disk::Disk;
use crate::file::failed;
use crate::{Setup, Wakers, sys};

/// The seam on epoll. Stays on the thread that opened it.
pub struct Poll {
    epoll: OwnedFd,
    flights: Slots<Flight>,
    /// Who waits for which descriptor.
    waiting: BTreeMap<i32, Waiting>,
    /// Operations that found the pool dry.
    starved: Vec<Id>,
    disk: Disk,
    answers: Vec<(u64, Done)>,
    events: Vec<libc::epoll_event>,
    wakers: Wakers,
    shard: ShardId,
    pool: Pool,
    recv_buffer_bytes: usize,
    entropy: Entropy,
    not_send: PhantomData<*const ()>,
}

type Id = (u32, u32);

struct Flight {
    token: Token,
    cancelled: bool,
    work: Work,
}

enum Work {
    Accept { listener: Listener },
    Recv { socket: Socket },
    RecvExact { socket: Socket, buf: BufMut },
    Send { socket: Socket, bufs: Vec<Buf>, sent: usize },
    SendFile { socket: Socket, file: File, offset: u64, left: u64, piece: Buf },
    Thread { kind: OpKind },
}

#[derive(Default)]
struct Waiting {
    reader: Option<Id>,
    writer: Option<Id>,
}

impl Poll {
    /// Opens an epoll for `setup.shard` on this thread.
    pub fn open(setup: Setup) -> io::Result<Poll> {
        // SAFETY: no pointer is passed.
        let epoll = sys::owned(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        let wake = setup.wakers.fd(setup.shard);
        control(&epoll, libc::EPOLL_CTL_ADD, wake, libc::EPOLLIN as u32, WAKE).map_err(io::Error::from_raw_os_error)?;
        Ok(Poll {
            epoll,
            flights: Slots::default(),
            waiting: BTreeMap::new(),
            starved: Vec::new(),
            disk: Disk::new(DISK_THREADS, setup.wakers.clone(), setup.shard),
            answers: Vec::new(),
            events: vec![libc::epoll_event { events: 0, u64: 0 }; EVENTS_MAX],
            wakers: setup.wakers,
            shard: setup.shard,
            pool: setup.pool,
            recv_buffer_bytes: setup.recv_buffer_bytes,
            entropy: Entropy::new(),
            not_send: PhantomData,
        })
    }

    fn start(&mut self, token: Token, op: Op, done: &mut Vec<(Token, Done)>) {
        let kind = op.kind();
        let work = match op {
            Op::Accept { listener } => match sys::set_nonblocking(listener.0, true) {
                Ok(()) => Work::Accept { listener },
                Err(errno) => return done.push((token, failed(kind, errno))),
            },
            Op::CloseListener { listener } => {
                self.end_waits(listener.0, done);
                return done.push((token, finished(kind, sys::close(listener.0))));
            }
            Op::Recv { socket } => Work::Recv { socket },
            Op::RecvExact { socket, buf } => Work::RecvExact { socket, buf },
            Op::Send { socket, bufs } => Work::Send { socket, bufs, sent: 0 },
            Op::SendFile { socket, file, offset, len } => {
                Work::SendFile { socket, file, offset, left: len, piece: Buf::EMPTY }
            }
            Op::Shutdown { socket } => {
                self.end_starved(socket, done);
                return done.push((token, finished(kind, sys::shutdown(socket.0))));
            }
            Op::Close { socket } => {
                self.waiting.remove(&socket.0);
                return done.push((token, finished(kind, sys::close(socket.0))));
            }
            Op::Wake { shard } => return self.wakers.wake(shard),
            Op::Cancel { token } => return self.cancel(token, done),
            Op::Open { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Sync { .. }
            | Op::Allocate { .. }
            | Op::SetLen { .. }
            | Op::CloseFile { .. }
            | Op::CreateDir { .. }
            | Op::List { .. }
            | Op::Rename { .. }
            | Op::Remove { .. }
            | Op::SyncDir { .. }
            | Op::SyncTree { .. }
            | Op::Space { .. } => {
                return self.start_on_thread(Flight { token, cancelled: false, work: Work::Thread { kind } }, op);
            }
        };
        self.go_on(Flight { token, cancelled: false, work }, done);
    }

    fn start_on_thread(&mut self, flight: Flight, op: Op) {
        let (slot, generation) = self.flights.insert(flight);
        self.disk.submit(u64::from(slot) | u64::from(generation) << 32, op);
    }

    /// Hands over what the disk threads have done.
    fn collect(&mut self, done: &mut Vec<(Token, Done)>) {
        let mut answers = std::mem::take(&mut self.answers);
        self.disk.collect(&mut answers);
        for (id, answer) in answers.drain(..) {
            let flight = self.flights.remove(id as u32, (id >> 32) as u32).expect("a job's flight waits for it");
            match flight.work {
                Work::SendFile { .. } => self.piece_read(flight, answer, done),
                _ => done.push((flight.token, answer)),
            }
        }
        self.answers = answers;
    }

    /// Waits for a direction of a descriptor.
    fn wait_for(&mut self, fd: i32, writable: bool, flight: Flight, done: &mut Vec<(Token, Done)>) {
        let id = self.flights.insert(flight);
        let waiting = self.waiting.entry(fd).or_default();
        let side = if writable { &mut waiting.writer } else { &mut waiting.reader };
        assert!(side.is_none());
        *side = Some(id);
        if let Err(errno) = self.arm(fd) {
            let waiting = self.waiting.get_mut(&fd).expect("just made");
            *(if writable { &mut waiting.writer } else { &mut waiting.reader }) = None;
            let flight = self.flights.remove(id.0, id.1).expect("just inserted");
            done.push((flight.token, failed(flight.work.kind(), errno)));
        }
    }

    /// Asks for one event of a descriptor, in the directions that are waited for.
    fn arm(&self, fd: i32) -> Result<(), i32> {
        let Some(waiting) = self.waiting.get(&fd) else { return Ok(()) };
        let mut events = libc::EPOLLONESHOT;
        events |= if waiting.reader.is_some() { libc::EPOLLIN | libc::EPOLLRDHUP } else { 0 };
        events |= if waiting.writer.is_some() { libc::EPOLLOUT } else { 0 };
        let key = u64::try_from(fd).map_err(|_| libc::EBADF)?;
        match control(&self.epoll, libc::EPOLL_CTL_MOD, fd, events as u32, key) {
            Err(libc::ENOENT) => control(&self.epoll, libc::EPOLL_CTL_ADD, fd, events as u32, key),
            answer => answer,
        }
    }

    /// One event of a descriptor: whoever waited for it tries again.
    fn ready(&mut self, fd: i32, events: u32, done: &mut Vec<(Token, Done)>) {
        let Some(waiting) = self.waiting.get_mut(&fd) else { return };
        let broken = events & (libc::EPOLLERR | libc::EPOLLHUP) as u32 != 0;
        let readable = broken || events & (libc::EPOLLIN | libc::EPOLLRDHUP) as u32 != 0;
        let writable = broken || events & libc::EPOLLOUT as u32 != 0;
        let reader = if readable { waiting.reader.take() } else { None };
        let writer = if writable { waiting.writer.take() } else { None };
        let others = waiting.reader.is_some() || waiting.writer.is_some();
        if !others {
            self.waiting.remove(&fd);
        }
        for (slot, generation) in reader.into_iter().chain(writer) {
            let flight = self.flights.remove(slot, generation).expect("who waits is in the table");
            self.go_on(flight, done);
        }
        if others && let Err(errno) = self.arm(fd) {
            tracing::debug!(fd, errno, "descriptor cannot be armed");
        }
    }

    /// Ends every wait for a descriptor that is about to be closed.
    fn end_waits(&mut self, fd: i32, done: &mut Vec<(Token, Done)>) {
        let Some(waiting) = self.waiting.remove(&fd) else { return };
        for (slot, generation) in waiting.reader.into_iter().chain(waiting.writer) {
            let flight = self.flights.remove(slot, generation).expect("who waits is in the table");
            done.push((flight.token, failed(flight.work.kind(), libc::ECANCELED)));
        }
    }

    /// Ends what waits for memory to receive from a socket that is shut down.
    fn end_starved(&mut self, socket: Socket, done: &mut Vec<(Token, Done)>) {
        let flights = &mut self.flights;
        self.starved.retain(|(slot, generation)| match flights.get(*slot, *generation) {
            Some(Flight { work: Work::Recv { socket: of }, token, .. }) if *of == socket => {
                done.push((*token, Done::Received(Buf::EMPTY)));
                flights.remove(*slot, *generation);
                false
            }
            _ => true,
        });
    }

    fn cancel(&mut self, token: Token, done: &mut Vec<(Token, Done)>) {
        let mut parked = Vec::new();
        for (slot, generation, flight) in self.flights.iter_mut().filter(|(_, _, flight)| flight.token == token) {
            flight.cancelled = true;
            parked.push((slot, generation));
        }
        // Whoever is in neither list is with a disk thread, and ends after it.
        parked.retain(|id| {
            let waits = self.waiting.values_mut().any(|waiting| {
                [&mut waiting.reader, &mut waiting.writer].into_iter().any(|side| side.take_if(|at| at == id).is_some())
            });
            waits || self.starved.contains(id)
        });
        for (slot, generation) in parked {
            self.starved.retain(|id| *id != (slot, generation));
            let flight = self.flights.remove(slot, generation).expect("just found");
            done.push((flight.token, failed(flight.work.kind(), libc::ECANCELED)));
        }
    }

    /// Waits for events, and lets those who waited for them try again.
    fn wait(&mut self, limit_ms: i32, done: &mut Vec<(Token, Done)>) -> bool {
        let mut events = std::mem::take(&mut self.events);
        // SAFETY: the kernel writes at most `EVENTS_MAX` events into `events`, which is that long.
        let answer =
            unsafe { libc::epoll_wait(self.epoll.as_raw_fd(), events.as_mut_ptr(), EVENTS_MAX as i32, limit_ms) };
        let count = match sys::check(answer) {
            Ok(count) => count as usize,
            Err(libc::EINTR) => 0,
            Err(errno) => panic!("the epoll is broken: errno {errno}"),
        };
        let mut woken = false;
        for event in &events[..count] {
            let (flags, key) = (event.events, event.u64);
            if key == WAKE {
                self.wakers.drain(self.shard);
                woken = true;
            } else {
                self.ready(key as i32, flags, done);
            }
        }
        self.events = events;
        self.collect(done);
        woken
    }
}

impl Io for Poll {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn wall(&self) -> Timestamp {
        clock::wall()
    }

    fn entropy(&mut self) -> u64 {
        self.entropy.next()
    }

    fn turn(&mut self, ops: &mut Vec<(Token, Op)>, done: &mut Vec<(Token, Done)>, wait: Wait) {
        let before = done.len();
        for (token, op) in ops.drain(..) {
            self.start(token, op, done);
        }
        loop {
            for (slot, generation) in std::mem::take(&mut self.starved) {
                if let Some(flight) = self.flights.remove(slot, generation) {
                    self.go_on(flight, done);
                }
            }
            let limit = match wait {
                _ if done.len() > before => Duration::ZERO,
                Wait::No => Duration::ZERO,
                Wait::Forever => Duration::MAX,
                Wait::Until(instant) => instant.since(clock::now()),
            };
            // Blocks come home without a word: somebody has to look.
            let patience = if self.starved.is_empty() { limit } else { limit.min(STARVED_WAIT) };
            let woken = self.wait(wait_ms(patience), done);
            if done.len() > before || woken || limit.is_zero() {
                return;
            }
        }
    }
}

impl std::fmt::Debug for Poll {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Poll({:?}, {} in flight)", self.shard, self.flights.len())
    }
}

/// Whole milliseconds, never less than asked; -1 for ever.
fn wait_ms(limit: Duration) -> i32 {
    if limit == Duration::MAX {
        return -1;
    }
    i32::try_from(limit.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
}

fn finished(kind: OpKind, answer: Result<(), i32>) -> Done {
    answer.map_or_else(|errno| failed(kind, errno), |()| Done::Finished)
}

fn control(epoll: &OwnedFd, what: i32, fd: i32, events: u32, key: u64) -> Result<(), i32> {
    let mut event = libc::epoll_event { events, u64: key };
    // SAFETY: `event` lives through the call, which only reads it.
    sys::check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), what, fd, &raw mut event) }).map(drop)
}

/// The key of the shard's event counter; descriptors are never so large.
const WAKE: u64 = u64::MAX;
const EVENTS_MAX: usize = 256;
const DISK_THREADS: usize = 2;
const STARVED_WAIT: Duration = Duration::from_millis(2);
