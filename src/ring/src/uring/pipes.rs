//! Pipes for moving file pages to a socket without copying them.
//! Invariants: a pipe in the pool is empty; never more than `COUNT_MAX` are in use. They are the budget of old data at
//! the disk: what is filled into them and read ahead for them is all that it reads for consumers at a time. A disk takes
//! requests in order, so a synced write waits for no more than that.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use crate::sys;

#[derive(Default)]
pub(super) struct Pipes {
    free: Vec<Pipe>,
    out: usize,
}

pub(super) struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
    capacity: u32,
}

/// Why there is no pipe.
pub(super) enum NoPipe {
    /// All are in use: wait for one.
    Busy,
    /// The kernel refuses.
    Errno(i32),
}

impl Pipes {
    pub(super) fn take(&mut self) -> Result<Pipe, NoPipe> {
        if self.out == COUNT_MAX {
            return Err(NoPipe::Busy);
        }
        let pipe = match self.free.pop() {
            Some(pipe) => pipe,
            None => match Pipe::new() {
                Ok(pipe) => pipe,
                // With some out, one will come back.
                Err(_) if self.out > 0 => return Err(NoPipe::Busy),
                Err(error) => return Err(NoPipe::Errno(error.raw_os_error().unwrap_or(libc::EMFILE))),
            },
        };
        self.out += 1;
        Ok(pipe)
    }

    /// Takes an empty pipe back.
    pub(super) fn give_back(&mut self, pipe: Pipe) {
        self.out -= 1;
        self.free.push(pipe);
    }

    /// Closes a pipe that still holds bytes of somebody's.
    pub(super) fn discard(&mut self, pipe: Pipe) {
        self.out -= 1;
        drop(pipe);
    }

    /// Whether [`Pipes::take`] may give one.
    pub(super) fn has_free(&self) -> bool {
        self.out < COUNT_MAX
    }
}

impl Pipe {
    fn new() -> io::Result<Pipe> {
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two integers into `ends`.
        let answer = unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) };
        sys::check(answer).map_err(io::Error::from_raw_os_error)?;
        // SAFETY: both come from the call above, and nobody else knows them.
        let (reader, writer) = unsafe { (OwnedFd::from_raw_fd(ends[0]), OwnedFd::from_raw_fd(ends[1])) };
        // The larger sizes may be beyond what this user is allowed; a new pipe always has some size.
        let grown = CAPACITIES.into_iter().find_map(|bytes| {
            // SAFETY: no pointer is passed.
            sys::check(unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, bytes) }).ok()
        });
        let capacity = grown.and_then(|bytes| u32::try_from(bytes).ok()).unwrap_or(CAPACITY_MIN);
        Ok(Pipe { reader, writer, capacity })
    }

    pub(super) fn reader(&self) -> RawFd {
        self.reader.as_raw_fd()
    }

    pub(super) fn writer(&self) -> RawFd {
        self.writer.as_raw_fd()
    }

    pub(super) fn capacity(&self) -> u32 {
        self.capacity
    }
}

/// ARCHITECTURE.md has what other numbers cost.
const COUNT_MAX: usize = 1;
const CAPACITIES: [i32; 2] = [1 << 18, 1 << 17];
/// One page: what a user beyond every limit still gets.
const CAPACITY_MIN: u32 = 4096;
