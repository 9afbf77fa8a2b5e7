//! Append-only memory: one writer with a cursor, readers that are lent what lies below it.
//! Invariants: bytes below the published length never change; no `&mut` over a chunk's memory outlives a call here;
//! truncation means a new chunk.

use std::ops::Range;
use std::sync::Arc;

use crate::pool::Region;
use crate::{BLOCK_BYTES, Buf, BufMut, WriteBuf};

/// The only append cursor of a piece of memory.
#[derive(Debug)]
pub struct Chunk {
    region: Arc<Region>,
    len: usize,
}

impl Chunk {
    /// A chunk over `memory`, publishing what is filled already.
    pub fn new(memory: BufMut) -> Chunk {
        let (region, len) = memory.into_region();
        Chunk { region: Arc::new(region), len }
    }

    /// Bytes published.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing is published.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes that it can hold.
    pub fn capacity(&self) -> usize {
        self.region.capacity()
    }

    /// Bytes that still fit.
    pub fn room(&self) -> usize {
        self.region.capacity() - self.len
    }

    /// Copies `bytes` behind the last ones and publishes them. Panics if they don't fit.
    pub fn append(&mut self, bytes: &[u8]) {
        assert!(bytes.len() <= self.room());
        // SAFETY: the target lies inside the region and beyond the published length, where only this cursor writes and
        // no `Buf` reaches; `bytes` is borrowed, so it cannot overlap memory that only this writer may touch.
        unsafe {
            std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.region.memory().as_ptr().add(self.len), bytes.len());
        }
        self.len += bytes.len();
    }

    /// Lends a published range. Panics if it reaches beyond.
    pub fn lend(&self, range: Range<usize>) -> Buf {
        assert!(range.end <= self.len);
        Buf::of(self.region.clone(), range)
    }

    /// The blocks that hold a published range, for a disk. What follows the published length in the last block is
    /// zeroed first, so that no earlier content of the memory reaches a file.
    pub fn blocks(&mut self, range: Range<usize>) -> WriteBuf {
        assert!(range.start < range.end);
        assert!(range.end <= self.len);
        let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
        let end = range.end.next_multiple_of(BLOCK_BYTES);
        if end > self.len {
            // SAFETY: inside the region (its capacity is a multiple of the block), beyond the published length: only
            // this cursor writes there and no `Buf` reaches it.
            unsafe { std::ptr::write_bytes(self.region.memory().as_ptr().add(self.len), 0, end - self.len) }
        }
        WriteBuf::of(self.region.clone(), start..end)
    }

    /// Whether anybody but this writer holds the memory.
    pub fn is_lent(&self) -> bool {
        Arc::strong_count(&self.region) > 1
    }
}

#[cfg(test)]
mod tests {
    use crate::{Chunk, Pool};

    #[test]
    fn what_is_lent_stays_while_the_chunk_grows() {
        let pool = Pool::new(1 << 20);
        let mut chunk = Chunk::new(pool.take(8192).expect("fits"));
        chunk.append(b"first");
        let lent = chunk.lend(0..5);
        chunk.append(b"second");
        assert_eq!(&*lent, b"first");
        assert!(chunk.is_lent());
        drop(lent);
        assert!(!chunk.is_lent());
    }

    #[test]
    fn blocks_cover_the_range_and_end_in_zeros() {
        let pool = Pool::new(1 << 20);
        let mut memory = pool.take(8192).expect("fits");
        memory.extend(&[7; 8192]);
        drop(memory);
        let mut chunk = Chunk::new(pool.take(8192).expect("fits"));
        chunk.append(&[1; 5000]);
        let blocks = chunk.blocks(4500..5000);
        assert_eq!(blocks.len(), 4096);
        let bytes = blocks.to_vec();
        assert!(bytes[..904].iter().all(|byte| *byte == 1));
        assert!(bytes[904..].iter().all(|byte| *byte == 0));
    }
}
