//! Writing zeros into fresh space before its time, for logs with traffic.
//!
//! A filesystem keeps a mark on space that was allocated and never written; a synced write there waits for the mark's
//! removal to be committed to the filesystem's journal. Large unsynced writes of zeros take the marks away for many
//! synced writes at once: the first of those commits all, the others overwrite and cost what the device costs, which
//! halves the time of a write. Large writes are left alone: each has many bytes to spread one commit over, and zeros
//! would only take bandwidth from them. Correctness never depends on it: a write may go where no zeros have been yet.
//!
//! Invariants: at most one such write of a segment is in flight; it begins behind everything that was ever appended,
//! and no other write reaches beyond its beginning until it is over.

use effect::{Chunk, Effects, Op};

use crate::files::Mode;
use crate::job::Work;
use crate::segment::BLOCK;
use crate::{Log, LogRef};

impl Log {
    /// Begins the next write of zeros into the active segment, if it is worth one.
    pub(crate) fn zero_ahead(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let (root, no_space) = (partition.root, partition.no_space);
        let segment = partition.segments.last().expect("a log that is written has a segment");
        let base = segment.base;
        // What was appended goes there anyhow, and sooner.
        let from = segment.zeroed.max(segment.end.position.next_multiple_of(BLOCK));
        let len = segment.allocated.saturating_sub(from).min(ZERO_BYTES_MAX);
        let is_worth_it =
            segment.step >= STEP_BYTES_MIN && len >= ZERO_BYTES_MIN && segment.write_bytes < WRITE_BYTES_LARGE;
        if segment.zeroing || !is_worth_it || no_space || !segment.named || self.roots[root].unreserved {
            return;
        }
        let Some(bufs) = self.zero_blocks(len) else { return };
        let Some((handle, file)) = self.acquire(log, base, Mode::Write, out) else { return };
        let segment = self.known(log).segment_mut(base).expect("it was seen a moment ago");
        segment.zeroed = from;
        segment.zeroing = true;
        let work = Work::Zero { base, handle, to: from + len };
        self.submit(log, work, Op::Write { file, offset: from, bufs, sync: false }, out);
    }

    /// So many bytes of zeros, all of them the same few; `None` without memory for these.
    fn zero_blocks(&mut self, len: u64) -> Option<Vec<effect::WriteBuf>> {
        if self.zeros.is_none() {
            let mut memory = self.pool.take(CHUNK_BYTES)?;
            memory.limit(CHUNK_BYTES);
            memory.unfilled_mut().fill(0);
            memory.advance(CHUNK_BYTES);
            self.zeros = Some(Chunk::new(memory));
        }
        let zeros = self.zeros.as_mut().expect("just made");
        let mut left = usize::try_from(len).expect("bounded by a constant");
        let mut bufs = Vec::with_capacity(left.div_ceil(CHUNK_BYTES));
        while left > 0 {
            let part = left.min(CHUNK_BYTES);
            bufs.push(zeros.blocks(0..part));
            left -= part;
        }
        Some(bufs)
    }
}

/// Only segments whose next step is at least twice a mebibyte have the traffic that pays for it.
const STEP_BYTES_MIN: u64 = 2 << 20;
/// Writes from this size on bear the commit well.
const WRITE_BYTES_LARGE: u64 = 1 << 20;
const ZERO_BYTES_MIN: u64 = 1 << 20;
/// One write of zeros: long enough that few journal commits follow from them, short enough to wait for.
const ZERO_BYTES_MAX: u64 = 16 << 20;
const CHUNK_BYTES: usize = 256 * 1024;
