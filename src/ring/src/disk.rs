//! A few threads for what would block: everything on disk in the poll world, and in the ring what a kernel has no
//! asynchronous call for. Owns the threads and the queue between them and their shard; knows no file by itself.
//! Invariants: a job is answered exactly once, or never if its `Disk` is dropped; a finished job rouses the shard.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use effect::{Done, Op, ShardId};

use crate::Wakers;
use crate::file;

/// The threads of one shard. None is started before the first job.
#[derive(Debug)]
pub(crate) struct Disk {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    threads_max: usize,
    /// Jobs given and not yet collected.
    pending: usize,
}

#[derive(Debug)]
struct Shared {
    jobs: Mutex<Jobs>,
    ready: Condvar,
    answers: Mutex<Vec<(u64, Done)>>,
    wakers: Wakers,
    shard: ShardId,
}

#[derive(Debug)]
struct Jobs {
    queue: VecDeque<(u64, Op)>,
    idle: usize,
    closed: bool,
}

impl Disk {
    pub(crate) fn new(threads_max: usize, wakers: Wakers, shard: ShardId) -> Disk {
        assert!(threads_max > 0);
        let jobs = Mutex::new(Jobs { queue: VecDeque::new(), idle: 0, closed: false });
        let shared = Shared { jobs, ready: Condvar::new(), answers: Mutex::new(Vec::new()), wakers, shard };
        Disk { shared: Arc::new(shared), threads: Vec::new(), threads_max, pending: 0 }
    }

    /// Has `op` done on a thread; the answer comes by `id`.
    pub(crate) fn submit(&mut self, id: u64, op: Op) {
        self.pending += 1;
        let mut jobs = lock(&self.shared.jobs);
        jobs.queue.push_back((id, op));
        let busy = jobs.queue.len() > jobs.idle;
        drop(jobs);
        if busy && self.threads.len() < self.threads_max {
            let shared = self.shared.clone();
            let thread = std::thread::Builder::new().name(format!("disk-{}", self.shared.shard.0));
            self.threads.push(thread.spawn(move || work(&shared)).expect("the system has room for a thread"));
        }
        self.shared.ready.notify_one();
    }

    /// Moves the answers that have come to the end of `into`.
    pub(crate) fn collect(&mut self, into: &mut Vec<(u64, Done)>) {
        if self.pending == 0 {
            return;
        }
        let before = into.len();
        into.append(&mut lock(&self.shared.answers));
        self.pending -= into.len() - before;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let mut jobs = lock(&self.shared.jobs);
        jobs.closed = true;
        jobs.queue.clear();
        drop(jobs);
        self.shared.ready.notify_all();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so on its own.
            drop(thread.join());
        }
        for (_, done) in lock(&self.shared.answers).drain(..) {
            if let Done::Opened(file) = done {
                let _ = crate::sys::close(file.0);
            }
        }
    }
}

fn work(shared: &Shared) {
    crate::machine::unpin();
    loop {
        let mut jobs = lock(&shared.jobs);
        let (id, op) = loop {
            if let Some(job) = jobs.queue.pop_front() {
                break job;
            }
            if jobs.closed {
                return;
            }
            jobs.idle += 1;
            jobs = shared.ready.wait(jobs).unwrap_or_else(PoisonError::into_inner);
            jobs.idle -= 1;
        };
        drop(jobs);
        let done = file::run(op);
        lock(&shared.answers).push((id, done));
        shared.wakers.wake(shared.shard);
    }
}

/// A panic elsewhere leaves both tables whole: nothing is done under a lock that could stop half-way.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
