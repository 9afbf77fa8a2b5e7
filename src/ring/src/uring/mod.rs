//! The seam on io_uring: one submit-and-wait a turn serves disk, network and mail.
//!
//! Owns the ring, every operation in flight with its memory, the receive buffers and the pipes. Never blocks but in
//! that one wait; what the kernel cannot do asynchronously goes to one disk thread.
//! Invariants: an operation's memory is freed only after its last completion, on drop too; `in_kernel` counts the
//! entries whose last completion is still to come; the shard's event counter always has a read armed on it.

mod advance;
mod entries;
mod flight;
mod lane;
mod pipes;
mod recv_buffers;
mod start;

use std::collections::VecDeque;
use std::io;
use std::marker::PhantomData;
use std::time::Duration;

use effect::{Done, Instant, Io, Op, ShardId, Slots, Token, Wait};
use io_uring::types::{CancelBuilder, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use model::Timestamp;

use crate::clock::{self, Entropy};
use crate::disk::Disk;
use crate::{Probe, Setup, Wakers};

use flight::{Flight, Place};
use lane::Lane;
use pipes::Pipes;
pub(crate) use recv_buffers::RecvBuffers;

/// The seam on io_uring. Stays on the thread that opened it.
pub struct Ring {
    ring: IoUring,
    buffers: RecvBuffers,
    flights: Slots<Flight>,
    in_kernel: usize,
    /// Receives that found no buffer.
    starved: Vec<Id>,
    reads: Lane,
    writes: Lane,
    pipes: Pipes,
    /// File sends that found no pipe.
    pipeless: VecDeque<Id>,
    disk: Disk,
    answers: Vec<(u64, Done)>,
    completions: Vec<cqueue::Entry>,
    wakers: Wakers,
    shard: ShardId,
    /// Where the kernel puts the event counter's value.
    wake_count: Box<u64>,
    woken: bool,
    has_ftruncate: bool,
    entropy: Entropy,
    /// The kernel takes entries of one thread only.
    not_send: PhantomData<*const ()>,
}

/// A flight's slot and generation.
type Id = (u32, u32);

/// How every ring is set up: one thread, completions run only when that thread asks, and say that they wait.
pub(crate) fn builder() -> io_uring::Builder {
    let mut builder = IoUring::builder();
    builder
        .dontfork()
        .setup_cqsize(COMPLETIONS)
        .setup_submit_all()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_single_issuer()
        .setup_defer_taskrun();
    builder
}

impl Ring {
    /// Opens a ring for `setup.shard` on this thread.
    pub fn open(probe: &Probe, setup: Setup) -> io::Result<Ring> {
        let buffers = RecvBuffers::new(setup.pool, setup.recv_buffer_bytes, setup.recv_buffer_count)?;
        let ring = builder().build(SUBMISSIONS)?;
        ring.submitter().register_iowq_max_workers(&mut WORKERS_MAX.clone())?;
        buffers.register(&ring.submitter())?;
        let mut ring = Ring {
            ring,
            buffers,
            flights: Slots::default(),
            in_kernel: 0,
            starved: Vec::new(),
            reads: Lane::default(),
            writes: Lane::default(),
            pipes: Pipes::default(),
            pipeless: VecDeque::new(),
            disk: Disk::new(1, setup.wakers.clone(), setup.shard),
            answers: Vec::new(),
            completions: Vec::new(),
            wakers: setup.wakers,
            shard: setup.shard,
            wake_count: Box::new(0),
            woken: false,
            has_ftruncate: probe.has_ftruncate(),
            entropy: Entropy::new(),
            not_send: PhantomData,
        };
        ring.listen_for_wakes();
        Ok(ring)
    }

    fn listen_for_wakes(&mut self) {
        let count: *mut u64 = &mut *self.wake_count;
        let fd = io_uring::types::Fd(self.wakers.fd(self.shard));
        let entry = opcode::Read::new(fd, count.cast(), size_of::<u64>() as u32).build();
        self.push(entry.user_data(WAKE));
    }

    /// Gives a flight to the kernel.
    fn launch(&mut self, mut flight: Flight, entry: squeue::Entry) {
        flight.place = Place::Kernel;
        let id = self.flights.insert(flight);
        self.push(entry.user_data(user_data(id)));
    }

    fn push(&mut self, entry: squeue::Entry) {
        self.in_kernel += 1;
        loop {
            // SAFETY: whatever the entry points to is heap memory of a `Flight` in `flights`, or `wake_count`: both
            // stay until the entry's last completion, which drop awaits.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            self.enter(None);
        }
    }

    /// Puts a flight into a queue of the ring's.
    fn park(&mut self, mut flight: Flight) -> Id {
        flight.place = Place::Queue;
        self.flights.insert(flight)
    }

    /// Submits, and with `wait` waits that long for a completion.
    fn enter(&mut self, wait: Option<Duration>) {
        let answer = match wait {
            None => self.ring.submit(),
            Some(Duration::MAX) => self.ring.submit_and_wait(1),
            Some(limit) => {
                let limit = Timespec::new().sec(limit.as_secs()).nsec(limit.subsec_nanos());
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&limit))
            }
        };
        match answer.map_err(|error| error.raw_os_error()) {
            Ok(_) => {}
            // Time is up; a signal; too many completions or too little memory: reap, then try again.
            Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)) => {}
            Err(errno) => panic!("the ring is broken: errno {errno:?}"),
        }
    }

    /// Whether a call into the kernel would do anything.
    fn has_work_for_kernel(&mut self) -> bool {
        let submission = self.ring.submission();
        !submission.is_empty() || submission.taskrun() || submission.cq_overflow()
    }

    fn reap(&mut self, done: &mut Vec<(Token, Done)>) {
        let mut completions = std::mem::take(&mut self.completions);
        completions.extend(self.ring.completion());
        for completion in completions.drain(..) {
            self.complete(&completion, done);
        }
        self.completions = completions;
        if std::mem::take(&mut self.woken) {
            self.listen_for_wakes();
            self.collect(done);
            // The wait must end though nothing may have completed.
            self.woken = true;
        }
    }

    /// Hands over what the disk thread has done.
    fn collect(&mut self, done: &mut Vec<(Token, Done)>) {
        self.disk.collect(&mut self.answers);
        for (id, answer) in self.answers.drain(..) {
            let (slot, generation) = id_of(id);
            let flight = self.flights.remove(slot, generation).expect("a job's flight waits for it");
            assert!(flight.place == Place::Thread);
            done.push((flight.token, answer));
        }
    }

    /// How long the kernel may wait now; `None` for not at all.
    fn patience(&self, wait: Wait) -> Option<Duration> {
        let wait = match wait {
            Wait::No => return None,
            Wait::Forever => Duration::MAX,
            Wait::Until(instant) => instant.since(clock::now()),
        };
        if wait.is_zero() {
            return None;
        }
        // Blocks come home without a word: somebody has to look.
        Some(if self.starved.is_empty() { wait } else { wait.min(STARVED_WAIT) })
    }
}

impl Io for Ring {
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
        self.woken = false;
        for (token, op) in ops.drain(..) {
            self.start(token, op, done);
        }
        loop {
            self.feed(done);
            let patience = if done.len() > before { None } else { self.patience(wait) };
            if patience.is_some() || self.has_work_for_kernel() {
                self.enter(patience);
            }
            self.reap(done);
            if done.len() > before || self.woken || patience.is_none() {
                return;
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // In the kernel's hands is memory of ours: nothing is freed before it has let go of all.
        let mut quiet = true;
        while self.in_kernel > 0 {
            if quiet {
                let entry = opcode::AsyncCancel2::new(CancelBuilder::any()).build().user_data(IGNORED);
                self.push(entry);
            }
            self.enter(Some(DROP_WAIT));
            let completions: Vec<cqueue::Entry> = self.ring.completion().collect();
            quiet = completions.is_empty();
            for completion in completions {
                self.abandon(&completion);
            }
        }
        drop(RecvBuffers::unregister(&self.ring.submitter()));
    }
}

impl std::fmt::Debug for Ring {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Ring({:?}, {} in flight)", self.shard, self.flights.len())
    }
}

fn user_data((slot, generation): Id) -> u64 {
    u64::from(slot) | u64::from(generation) << 32
}

fn id_of(user_data: u64) -> Id {
    (user_data as u32, (user_data >> 32) as u32)
}

/// Completions of entries that belong to no flight. No table has so many slots.
const WAKE: u64 = u64::MAX;
const IGNORED: u64 = u64::MAX - 1;
/// Entries that one call takes; beyond it another call is made.
const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 8192;
/// Kernel threads for file operations, and for all else that may block: opens and splices.
const WORKERS_MAX: [u32; 2] = [16, 16];
const STARVED_WAIT: Duration = Duration::from_millis(2);
const DROP_WAIT: Duration = Duration::from_millis(100);
