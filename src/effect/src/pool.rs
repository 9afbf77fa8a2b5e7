//! A shard's memory for bytes on their way: blocks of a few sizes, a limit on their sum, free blocks kept for reuse.
//! Blocks may be dropped on any thread; they find home by a lock-free queue. Taking beyond the limit answers
//! `None`, which is backpressure.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::BufMut;
use crate::slab::{SLAB_BYTES, Slab};

/// The unit of direct I/O: every block starts at a multiple of it and is a multiple of it long.
pub const BLOCK_BYTES: usize = 4096;

/// Hands out memory up to a limit. Cloning shares it.
#[derive(Clone, Debug)]
pub struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limit_bytes: usize,
    used_bytes: AtomicUsize,
    free: [ArrayQueue<Block>; CLASS_COUNT],
    /// Where the blocks of [`SLAB_CLASS`] lie; `None` if they are allocated one by one. Dropped after all blocks, which
    /// keep this alive.
    slabs: Option<ArrayQueue<Slab>>,
}

/// Aligned memory with one owner. Dropping it gives it back to its pool.
#[derive(Debug)]
pub(crate) struct Region {
    block: Option<Block>,
    home: Arc<Shared>,
}

#[derive(Debug)]
struct Block {
    /// The first aligned byte.
    memory: NonNull<u8>,
    capacity: usize,
    /// What the allocator gave and wants back; `None` for a part of a slab.
    base: Option<NonNull<u8>>,
}

// SAFETY: a block is plain memory with one owner; nothing about it is tied to a thread.
unsafe impl Send for Block {}
// SAFETY: a shared block gives out nothing but its address; `Buf` and `Chunk` say who may touch which bytes.
unsafe impl Sync for Block {}

impl Pool {
    /// A pool whose blocks in use never sum to more than `limit_bytes`. Nothing is allocated before it is asked for.
    pub fn new(limit_bytes: usize) -> Pool {
        Pool::build(limit_bytes, false)
    }

    /// As [`Pool::new`], for memory that lives long: blocks of a mebibyte come from huge pages and, once touched, stay
    /// with the pool for as long as it lives.
    pub fn of_slabs(limit_bytes: usize) -> Pool {
        Pool::build(limit_bytes, true)
    }

    fn build(limit_bytes: usize, slabs: bool) -> Pool {
        // What is kept for reuse is bounded too: at most a quarter of the limit in each class; parts of slabs all stay.
        let free = std::array::from_fn(|class| match slabs && class == SLAB_CLASS {
            true => ArrayQueue::new(limit_bytes / class_bytes(class) + SLAB_BLOCKS),
            false => ArrayQueue::new((limit_bytes / 4 / class_bytes(class)).clamp(1, FREE_COUNT_MAX)),
        });
        let slabs = slabs.then(|| ArrayQueue::new(limit_bytes / SLAB_BYTES + 1));
        Pool { shared: Arc::new(Shared { limit_bytes, used_bytes: AtomicUsize::new(0), free, slabs }) }
    }

    /// Memory of at least `bytes`, aligned to [`BLOCK_BYTES`]; `None` if the limit would be passed.
    pub fn take(&self, bytes: usize) -> Option<BufMut> {
        let region = self.region(bytes, false)?;
        Some(BufMut::new(region))
    }

    /// As [`Pool::take`], but past the limit where need be: for answers, whose number is bounded elsewhere and without
    /// which nothing would ever come back.
    pub fn take_over(&self, bytes: usize) -> BufMut {
        BufMut::new(self.region(bytes, true).expect("the limit is not asked"))
    }

    /// Bytes now out of the pool.
    pub fn used_bytes(&self) -> usize {
        self.shared.used_bytes.load(Ordering::Relaxed)
    }

    /// The most that may be out at once.
    pub fn limit_bytes(&self) -> usize {
        self.shared.limit_bytes
    }

    fn region(&self, bytes: usize, over: bool) -> Option<Region> {
        let class = class_of(bytes);
        let capacity = match class {
            Some(class) => class_bytes(class),
            None => bytes.checked_next_multiple_of(BLOCK_BYTES)?,
        };
        let used = self.shared.used_bytes.fetch_add(capacity, Ordering::Relaxed);
        if !over && used.saturating_add(capacity) > self.shared.limit_bytes {
            self.shared.used_bytes.fetch_sub(capacity, Ordering::Relaxed);
            return None;
        }
        let kept = class.and_then(|class| self.shared.free[class].pop());
        let block = kept.unwrap_or_else(|| self.shared.block(class, capacity));
        assert!(block.capacity == capacity);
        Some(Region { block: Some(block), home: self.shared.clone() })
    }
}

impl Shared {
    fn block(&self, class: Option<usize>, capacity: usize) -> Block {
        match &self.slabs {
            Some(slabs) if class == Some(SLAB_CLASS) => {
                self.slab_block(slabs).unwrap_or_else(|| Block::allocate(capacity))
            }
            _ => Block::allocate(capacity),
        }
    }

    /// Maps a slab, keeps all its blocks but the one that it returns. `None` once the limit is mapped.
    fn slab_block(&self, slabs: &ArrayQueue<Slab>) -> Option<Block> {
        let slab = Slab::map();
        let memory = slab.memory();
        slabs.push(slab).ok()?;
        let part = |index: usize| {
            // SAFETY: every part lies within the slab.
            let memory = unsafe { memory.add(index * class_bytes(SLAB_CLASS)) };
            Block { memory, capacity: class_bytes(SLAB_CLASS), base: None }
        };
        for index in 1..SLAB_BLOCKS {
            self.free[SLAB_CLASS].push(part(index)).expect("the queue has room for every slab's blocks");
        }
        Some(part(0))
    }
}

impl Region {
    pub(crate) fn memory(&self) -> NonNull<u8> {
        self.block().memory
    }

    pub(crate) fn capacity(&self) -> usize {
        self.block().capacity
    }

    fn block(&self) -> &Block {
        self.block.as_ref().expect("a region has its block until it is dropped")
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        let Some(block) = self.block.take() else { return };
        let used = self.home.used_bytes.fetch_sub(block.capacity, Ordering::Relaxed);
        assert!(used >= block.capacity);
        if let Some(class) = class_of(block.capacity) {
            // A full queue frees the block: what is kept is bounded.
            drop(self.home.free[class].push(block));
        }
    }
}

impl Block {
    /// Zeroed, so that no byte that a user can ever see is uninitialised.
    fn allocate(capacity: usize) -> Block {
        let layout = layout(capacity);
        // SAFETY: the layout's size is not zero (`class_of` and `region` round up to at least one block).
        let base = unsafe { alloc_zeroed(layout) };
        let Some(base) = NonNull::new(base) else { std::alloc::handle_alloc_error(layout) };
        let skip = base.as_ptr().align_offset(BLOCK_BYTES);
        assert!(skip + capacity <= layout.size());
        // SAFETY: `skip` stays inside the allocation, asserted above.
        let memory = unsafe { base.add(skip) };
        Block { memory, capacity, base: Some(base) }
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        if let Some(base) = self.base {
            // SAFETY: `base` came from `allocate` with this very layout and has no other owner.
            unsafe { dealloc(base.as_ptr(), layout(self.capacity)) }
        }
    }
}

/// A large block is aligned by hand: over-aligned zeroed memory would be touched at once, while plain zeroed memory
/// comes untouched from the kernel and costs nothing until it is used.
fn layout(capacity: usize) -> Layout {
    assert!(capacity > 0);
    let (size, align) = if capacity < LAZY_BYTES_MIN { (capacity, BLOCK_BYTES) } else { (capacity + BLOCK_BYTES, 16) };
    Layout::from_size_align(size, align).expect("a block is far smaller than the address space")
}

/// The size class that holds `bytes`; `None` above the largest.
fn class_of(bytes: usize) -> Option<usize> {
    (0..CLASS_COUNT).find(|class| bytes <= class_bytes(*class))
}

fn class_bytes(class: usize) -> usize {
    BLOCK_BYTES << class
}

/// 4 KiB to 2 MiB.
const CLASS_COUNT: usize = 10;
const FREE_COUNT_MAX: usize = 4096;
/// 1 MiB: what chunks under load grow to.
const SLAB_CLASS: usize = 8;
const SLAB_BLOCKS: usize = SLAB_BYTES / (BLOCK_BYTES << SLAB_CLASS);
/// Where common allocators begin to map memory of its own for an allocation.
const LAZY_BYTES_MIN: usize = 128 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_refuses_beyond_its_limit_and_takes_back_what_is_dropped() {
        let pool = Pool::new(64 * 1024);
        let first = pool.take(40_000).expect("fits");
        assert_eq!(pool.used_bytes(), 64 * 1024);
        assert!(pool.take(1).is_none());
        drop(first);
        assert_eq!(pool.used_bytes(), 0);
        assert!(pool.take(1).is_some());
    }

    #[test]
    fn parts_of_slabs_are_distinct_zeroed_and_reused() {
        let pool = Pool::of_slabs(64 << 20);
        let mut held: Vec<BufMut> = (0..64).map(|_| pool.take(1 << 20).expect("fits")).collect();
        assert!(pool.take(1 << 20).is_none());
        let mut places: Vec<usize> = held.iter_mut().map(|buf| buf.unfilled_mut().as_ptr() as usize).collect();
        assert!(held.iter_mut().all(|buf| buf.unfilled_mut()[1 << 19] == 0));
        places.sort_unstable();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= 1 << 20));
        drop(held);
        let mut again = pool.take(1 << 20).expect("fits");
        assert!(places.contains(&(again.unfilled_mut().as_ptr() as usize)));
    }

    #[test]
    fn blocks_dropped_on_another_thread_come_home() {
        let pool = Pool::new(1 << 20);
        let buf = pool.take(4096).expect("fits").freeze();
        std::thread::spawn(move || drop(buf)).join().expect("no panic");
        assert_eq!(pool.used_bytes(), 0);
    }

    #[test]
    fn sizes_above_the_classes_are_rounded_to_blocks() {
        let pool = Pool::new(64 << 20);
        let large = pool.take((2 << 20) + 1).expect("fits");
        assert_eq!(large.capacity(), (2 << 20) + BLOCK_BYTES);
    }
}
