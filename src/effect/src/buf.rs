//! Memory that is read-only and shared ([`Buf`]), that has one owner and is being filled ([`BufMut`]), and that is
//! on its way to a disk ([`WriteBuf`]).

use std::fmt;
use std::ops::{Deref, Range};
use std::sync::Arc;

use crate::BLOCK_BYTES;
use crate::pool::Region;

/// A read-only range of shared memory; cloning and slicing copy nothing. Bytes in a `Buf` never change.
#[derive(Clone)]
pub struct Buf {
    region: Option<Arc<Region>>,
    start: usize,
    len: usize,
}

/// Memory with one owner: filled from the front, then frozen.
pub struct BufMut {
    region: Region,
    filled: usize,
    /// How far a fill may go: at most the region's capacity.
    limit: usize,
}

/// Whole blocks on their way to a disk. Unlike a [`Buf`] it may cover bytes beyond what a chunk has published, which
/// may change while the disk reads them: nothing that matters is there, and nobody may look at them through this.
pub struct WriteBuf {
    region: Arc<Region>,
    start: usize,
    len: usize,
}

impl Buf {
    /// No bytes.
    pub const EMPTY: Buf = Buf { region: None, start: 0, len: 0 };

    /// The caller promises that the range is filled and will never be written again.
    pub(crate) fn of(region: Arc<Region>, range: Range<usize>) -> Buf {
        assert!(range.start <= range.end);
        assert!(range.end <= region.capacity());
        Buf { region: Some(region), start: range.start, len: range.end - range.start }
    }

    /// A part of this range, without a copy. Panics if it reaches outside.
    pub fn slice(&self, range: Range<usize>) -> Buf {
        assert!(range.start <= range.end);
        assert!(range.end <= self.len);
        Buf { region: self.region.clone(), start: self.start + range.start, len: range.end - range.start }
    }
}

impl Deref for Buf {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let Some(region) = &self.region else { return &[] };
        // The bytes never change while a `Buf` exists: `freeze` consumes the `BufMut`, `Chunk` writes only beyond what
        // it has published.
        // SAFETY: the range lies inside the region and was filled, asserted when made; nobody writes it, see above.
        unsafe { std::slice::from_raw_parts(region.memory().as_ptr().add(self.start), self.len) }
    }
}

impl fmt::Debug for Buf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buf({} bytes)", self.len)
    }
}

impl BufMut {
    pub(crate) fn new(region: Region) -> BufMut {
        let limit = region.capacity();
        BufMut { region, filled: 0, limit }
    }

    /// Bytes that fit.
    pub fn capacity(&self) -> usize {
        self.limit
    }

    /// Bytes filled so far.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// Lets a fill go no further than `limit` bytes from the front: an exact receive ends there.
    pub fn limit(&mut self, limit: usize) {
        assert!(self.filled <= limit);
        assert!(limit <= self.region.capacity());
        self.limit = limit;
    }

    /// Copies `bytes` behind what is filled. Panics if they don't fit.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.unfilled_mut()[..bytes.len()].copy_from_slice(bytes);
        self.filled += bytes.len();
    }

    /// The part not yet filled, up to the limit. For worlds: write here, then [`BufMut::advance`].
    pub fn unfilled_mut(&mut self) -> &mut [u8] {
        // SAFETY: the range lies inside the region, whose memory was initialised when allocated, and `self` is the
        // region's only owner.
        unsafe {
            std::slice::from_raw_parts_mut(self.region.memory().as_ptr().add(self.filled), self.limit - self.filled)
        }
    }

    /// Says that `bytes` more are filled.
    pub fn advance(&mut self, bytes: usize) {
        assert!(bytes <= self.limit - self.filled);
        self.filled += bytes;
    }

    /// What is filled so far.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: as in `unfilled_mut`; shared while `self` is borrowed.
        unsafe { std::slice::from_raw_parts(self.region.memory().as_ptr(), self.filled) }
    }

    /// Ends the filling.
    pub fn freeze(self) -> Buf {
        let filled = self.filled;
        Buf::of(Arc::new(self.region), 0..filled)
    }

    pub(crate) fn into_region(self) -> (Region, usize) {
        (self.region, self.filled)
    }
}

impl fmt::Debug for BufMut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BufMut({} of {} bytes)", self.filled, self.limit)
    }
}

impl WriteBuf {
    pub(crate) fn of(region: Arc<Region>, range: Range<usize>) -> WriteBuf {
        assert!(range.start.is_multiple_of(BLOCK_BYTES));
        assert!(range.end.is_multiple_of(BLOCK_BYTES));
        assert!(range.start < range.end);
        assert!(range.end <= region.capacity());
        WriteBuf { region, start: range.start, len: range.end - range.start }
    }

    /// The first byte's address, for a kernel. Valid while `self` lives.
    pub fn as_ptr(&self) -> *const u8 {
        // SAFETY: `start` lies inside the region, asserted when made.
        unsafe { self.region.memory().as_ptr().add(self.start) }
    }

    /// How many bytes: a multiple of [`BLOCK_BYTES`], never zero.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.len
    }

    /// A copy, for a world without a kernel. Only for single-threaded worlds: nobody may write the chunk meanwhile.
    pub fn to_vec(&self) -> Vec<u8> {
        // SAFETY: inside the region, initialised when allocated; the caller's world has one thread, so that nobody
        // writes during the copy.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }.to_vec()
    }
}

impl fmt::Debug for WriteBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WriteBuf({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use crate::Pool;

    #[test]
    fn a_slice_keeps_its_memory_out_of_the_pool() {
        let pool = Pool::new(1 << 20);
        let mut buf = pool.take(100).expect("fits");
        buf.extend(b"hello world");
        let frozen = buf.freeze();
        let slice = frozen.slice(6..11);
        drop(frozen);
        assert_eq!(&*slice, b"world");
        assert_eq!(pool.used_bytes(), 4096);
        drop(slice);
        assert_eq!(pool.used_bytes(), 0);
    }

    #[test]
    fn an_exact_fill_ends_at_its_limit() {
        let pool = Pool::new(1 << 20);
        let mut buf = pool.take(100).expect("fits");
        buf.extend(b"abc");
        buf.limit(10);
        assert_eq!(buf.unfilled_mut().len(), 7);
    }
}
