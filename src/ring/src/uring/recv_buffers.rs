//! The buffers that the kernel picks from when bytes have come: an idle connection holds none.
//! Owns the shared ring of offers and every block offered. Invariants: a block's address is in the ring exactly
//! while `offered` holds the block; the kernel's mapping is taken back before the blocks are freed (`Ring`'s drop).

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use effect::{BLOCK_BYTES, Buf, BufMut, Pool};
use io_uring::Submitter;
use io_uring::types::BufRingEntry;

pub(crate) struct RecvBuffers {
    /// Shared with the kernel: `count` entries; the tail lies in the first.
    entries: NonNull<BufRingEntry>,
    count: u16,
    tail: u16,
    /// By buffer id.
    offered: Vec<Option<BufMut>>,
    /// Ids without a block.
    empty: Vec<u16>,
    pool: Pool,
    buffer_bytes: usize,
}

impl RecvBuffers {
    /// Room for `count` buffers, a power of two; none is offered yet.
    pub(crate) fn new(pool: Pool, buffer_bytes: usize, count: u16) -> io::Result<RecvBuffers> {
        assert!(count.is_power_of_two());
        assert!(count <= COUNT_MAX);
        assert!(buffer_bytes > 0);
        // SAFETY: a fresh private mapping: no address is asked for, no file is behind it.
        let memory = unsafe {
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE;
            libc::mmap(std::ptr::null_mut(), map_bytes(count), protection, flags, -1, 0)
        };
        if memory == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let entries = NonNull::new(memory.cast()).expect("a mapping is never at address zero");
        let offered = (0..count).map(|_| None).collect();
        Ok(RecvBuffers { entries, count, tail: 0, offered, empty: (0..count).collect(), pool, buffer_bytes })
    }

    /// Shows the ring of offers to the kernel.
    pub(crate) fn register(&self, submitter: &Submitter<'_>) -> io::Result<()> {
        let address = self.entries.as_ptr() as u64;
        // SAFETY: the mapping is `count` entries long, page-aligned, zeroed, and stays until `self` is dropped, which
        // `Ring` does only after it has taken the registration back.
        unsafe { submitter.register_buf_ring_with_flags(address, self.count, GROUP, 0) }
    }

    /// Takes back what [`RecvBuffers::register`] showed.
    pub(crate) fn unregister(submitter: &Submitter<'_>) -> io::Result<()> {
        submitter.unregister_buf_ring(GROUP)
    }

    /// Offers blocks for all empty ids, as far as the pool gives them.
    pub(crate) fn refill(&mut self) {
        if self.empty.is_empty() {
            return;
        }
        let before = self.tail;
        while let Some(id) = self.empty.pop() {
            let Some(block) = self.pool.take(self.buffer_bytes) else {
                self.empty.push(id);
                break;
            };
            self.offer(id, block);
        }
        if self.tail != before {
            self.publish();
        }
    }

    /// How many buffers the kernel may pick from.
    pub(crate) fn available(&self) -> usize {
        usize::from(self.count) - self.empty.len()
    }

    /// Takes back the buffer that the kernel picked and filled with `bytes`.
    pub(crate) fn picked(&mut self, id: u16, bytes: usize) -> Buf {
        let mut block = self.offered[usize::from(id)].take().expect("the kernel picks what is offered");
        if bytes <= COPY_BYTES_MAX {
            // A few bytes must not keep a large block away while the rest of their request is awaited.
            if let Some(mut small) = self.pool.take(bytes.max(1)) {
                small.extend(&block.unfilled_mut()[..bytes]);
                self.offer(id, block);
                self.publish();
                return small.freeze();
            }
        }
        block.advance(bytes);
        self.empty.push(id);
        block.freeze()
    }

    /// Takes back a buffer that the kernel picked for nothing.
    pub(crate) fn returned(&mut self, id: u16) {
        let block = self.offered[usize::from(id)].take().expect("the kernel picks what is offered");
        self.offer(id, block);
        self.publish();
    }

    fn offer(&mut self, id: u16, mut block: BufMut) {
        assert!(self.offered[usize::from(id)].is_none());
        let memory = block.unfilled_mut();
        let index = usize::from(self.tail & (self.count - 1));
        // SAFETY: `index` is below `count`, so the entry is inside the mapping; the kernel does not read it before the
        // tail passes it. The three setters leave the tail, which lies in the first entry, alone.
        let entry = unsafe { &mut *self.entries.as_ptr().add(index) };
        entry.set_addr(memory.as_mut_ptr() as u64);
        entry.set_len(memory.len() as u32);
        entry.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        self.offered[usize::from(id)] = Some(block);
    }

    fn publish(&self) {
        // SAFETY: `entries` is the first entry of the mapping, where the tail lies; it is aligned for 16 bits and only
        // this thread writes it, while the kernel reads it: hence the atomic store.
        let tail = unsafe { &*BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>() };
        tail.store(self.tail, Ordering::Release);
    }
}

impl Drop for RecvBuffers {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours, of this length, and no longer registered with a ring.
        unsafe { libc::munmap(self.entries.as_ptr().cast(), map_bytes(self.count)) };
    }
}

fn map_bytes(count: u16) -> usize {
    (usize::from(count) * size_of::<BufRingEntry>()).next_multiple_of(BLOCK_BYTES)
}

/// The only buffer group of a ring.
pub(crate) const GROUP: u16 = 0;
const COUNT_MAX: u16 = 1 << 15;
const COPY_BYTES_MAX: usize = BLOCK_BYTES;
