//! The memory of all logs of a shard: chunks for the tails, and written ones that stay to serve readers.
//! Owns the order in which chunks leave: the oldest first, whoever has it. Never drops a byte that its
//! segment's file does not have.

use effect::{BufMut, Chunk};

use crate::partition::{CHUNK_BYTES_MAX, CHUNK_BYTES_MIN, Partition};
use crate::segment::{BLOCK, MemoryChunk, Segment};
use crate::{Log, LogRef};

impl Log {
    /// Sees to it that `bytes` fit into the chunks of the active segment.
    pub(crate) fn make_room(&mut self, log: LogRef, bytes: usize) -> bool {
        loop {
            let partition = self.known(log);
            let room = partition.segments.last().expect("an open log has a segment").room();
            if room >= bytes {
                return true;
            }
            let wanted = partition.chunk_bytes.max((bytes - room).next_power_of_two().min(CHUNK_BYTES_MAX));
            // However little memory there is, a batch is not cut into more parts than one write can take.
            let least = (bytes / PARTS_MAX).next_power_of_two().clamp(CHUNK_BYTES_MIN, CHUNK_BYTES_MAX);
            let taken = self.take_memory(wanted).or_else(|| self.take_memory(least));
            let Some(memory) = taken else { return false };
            self.known(log).chunk_bytes = (wanted * 2).min(CHUNK_BYTES_MAX);
            self.add_chunk(log, Chunk::new(memory));
        }
    }

    /// Memory of the pool, which readers' chunks make room for.
    pub(crate) fn take_memory(&mut self, bytes: usize) -> Option<BufMut> {
        for _ in 0..EVICTIONS_MAX {
            if let Some(memory) = self.pool.take(bytes) {
                return Some(memory);
            }
            if !self.evict_next() {
                break;
            }
        }
        None
    }

    /// Puts an empty or partly filled chunk behind the active segment's last one.
    pub(crate) fn add_chunk(&mut self, log: LogRef, chunk: Chunk) {
        let sequence = self.chunk_sequence;
        self.chunk_sequence += 1;
        self.cache_bytes += chunk.capacity();
        self.cache.push_back((log, sequence));
        let segment = self.known(log).segments.last_mut().expect("an open log has a segment");
        let start = segment.chunks_end() / BLOCK * BLOCK;
        segment.chunks.push_back(MemoryChunk { start, sequence, chunk });
    }

    /// Keeps the cache in its bounds, a bounded step at a time.
    pub(crate) fn trim_cache(&mut self) {
        let mut steps = EVICTIONS_MAX.min(self.cache.len());
        while self.cache_bytes > self.config.cache_bytes && steps > 0 {
            self.evict_next();
            steps -= 1;
        }
        if self.spare.is_none() {
            self.spare = self.pool.take(CHUNK_BYTES_MIN);
        }
        self.metrics.log_cache_bytes.set(self.cache_bytes as u64);
    }

    /// Forgets the memory of a log that is about to lose it.
    pub(crate) fn forget_chunks(&mut self, log: LogRef) {
        let bytes = self.known(log).memory_bytes();
        self.cache_bytes -= bytes;
        self.known(log).segments.clear();
    }

    /// Looks at the oldest chunk, or at an older one of its log that could not go when it was its turn; false if there
    /// is none. One that cannot go goes to the end of the line.
    fn evict_next(&mut self) -> bool {
        let Some((log, sequence)) = self.cache.pop_front() else { return false };
        let spare = &mut self.spare;
        let Some(partition) = self.partitions.get_mut(log.slot, log.generation) else { return true };
        let chunk_bytes = &mut partition.chunk_bytes;
        let busy = partition.busy;
        let last = partition.segments.len().saturating_sub(1);
        for (at, segment) in partition.segments.iter_mut().enumerate() {
            let (Some(first), Some(newest)) = (segment.chunks.front(), segment.chunks.back()) else { continue };
            if evictable(segment, at < last) {
                let chunk = segment.chunks.pop_front().expect("there is a first");
                self.cache_bytes -= chunk.chunk.capacity();
                if chunk.sequence != sequence {
                    self.cache.push_front((log, sequence));
                }
                return true;
            }
            if sequence < first.sequence || newest.sequence < sequence {
                continue;
            }
            let is_front = first.sequence == sequence;
            if is_front && at == last && !busy && shrinkable(segment) {
                let before = first.chunk.capacity();
                if shrink(segment, spare, self.chunk_sequence) {
                    *chunk_bytes = CHUNK_BYTES_MIN;
                    self.cache_bytes -= before;
                    if let Some(small) = segment.chunks.front() {
                        self.cache_bytes += small.chunk.capacity();
                        self.cache.push_back((log, self.chunk_sequence));
                        self.chunk_sequence += 1;
                        self.spare = self.pool.take(CHUNK_BYTES_MIN);
                    }
                    return true;
                }
            }
            self.cache.push_back((log, sequence));
            return true;
        }
        true
    }
}

/// Whether the first chunk is full and its segment's file has it.
fn evictable(segment: &Segment, is_closed: bool) -> bool {
    let Some(first) = segment.chunks.front() else { return false };
    let whole = first.chunk.room() == 0 && first.end() <= segment.destaged;
    // A closed segment's bytes may all go once its file has them: nothing is written to it any more.
    whole || (is_closed && segment.sealed)
}

/// Whether an idle tail holds more memory than its last block.
fn shrinkable(segment: &Segment) -> bool {
    let Some(first) = segment.chunks.front() else { return false };
    let settled = segment.durable == segment.end && segment.destaged == segment.end.position / BLOCK * BLOCK;
    segment.chunks.len() == 1 && first.chunk.capacity() > CHUNK_BYTES_MIN && settled
}

/// Exchanges the only chunk for one that holds the last, partial block; for none if there is no such block.
fn shrink(segment: &mut Segment, spare: &mut Option<BufMut>, sequence: u64) -> bool {
    let start = segment.end.position / BLOCK * BLOCK;
    if start == segment.end.position {
        segment.chunks.clear();
        return true;
    }
    let Some(mut memory) = spare.take() else { return false };
    for part in segment.lend(start, segment.end.position) {
        memory.extend(&part);
    }
    segment.chunks.clear();
    segment.chunks.push_back(MemoryChunk { start, sequence, chunk: Chunk::new(memory) });
    true
}

impl Partition {
    /// Whether a range of a segment is in memory from here on.
    pub(crate) fn in_memory(&self, at: usize, position: u64) -> bool {
        self.segments[at].memory_start() <= position
    }
}

/// A kernel takes 1024 parts in one write.
const PARTS_MAX: usize = 256;
/// Chunks looked at in one go.
const EVICTIONS_MAX: usize = 64;
