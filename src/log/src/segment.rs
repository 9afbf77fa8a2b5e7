//! One segment of a partition: its place in the file, its index, and the chunks that hold its recent bytes.
//! Owns memory and positions. Pushes no operation.
//! Invariants: chunks follow each other without a gap up to the segment's end; each begins at a multiple of a block;
//! what is not in the file yet is in memory.

use std::collections::VecDeque;

use effect::{BLOCK_BYTES, Buf, Chunk, WriteBuf};
use model::{Offset, Timestamp};
use record::{HEADER_BYTES, Header};

use crate::age::Age;
use crate::damage::Damages;
use crate::index::{Index, Place};

pub(crate) const BLOCK: u64 = BLOCK_BYTES as u64;

#[derive(Debug)]
pub(crate) struct MemoryChunk {
    /// The position in the file of the chunk's first byte.
    pub(crate) start: u64,
    /// Its place in the order of all chunks of a shard.
    pub(crate) sequence: u64,
    pub(crate) chunk: Chunk,
}

impl MemoryChunk {
    pub(crate) fn end(&self) -> u64 {
        self.start + self.chunk.len() as u64
    }
}

/// A batch that is not durable yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PendingBatch {
    pub(crate) end: Place,
    pub(crate) base_offset: Offset,
    pub(crate) max_timestamp: Timestamp,
}

#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) base: Offset,
    /// Where the last batch ends.
    pub(crate) end: Place,
    /// Where the last durable batch ends.
    pub(crate) durable: Place,
    /// Its file holds what comes before this: whole blocks, or all of a segment that is cut.
    pub(crate) destaged: u64,
    /// Some of that was written without a sync, and not been synced since as far as is known here.
    pub(crate) unsynced: bool,
    /// None until somebody reads an old segment.
    pub(crate) index: Option<Index>,
    /// Its index is not in its files, or these are not whole.
    pub(crate) index_lost: bool,
    /// Known of a closed segment whose index was in memory before.
    pub(crate) max_timestamp: Option<Timestamp>,
    pub(crate) chunks: VecDeque<MemoryChunk>,
    pub(crate) pending: VecDeque<PendingBatch>,
    /// The file's length: space that writes may go to.
    pub(crate) allocated: u64,
    /// The next step by which it grows.
    pub(crate) step: u64,
    /// Its name is durable, so that it can be written directly.
    pub(crate) named: bool,
    /// Whole and cut to its length: nothing will be written to it any more. The next checkpoint syncs it.
    pub(crate) sealed: bool,
    pub(crate) age: Age,
    /// Where its bytes are not what was written.
    pub(crate) damages: Damages,
}

impl Segment {
    /// A segment that is not on disk yet.
    pub(crate) fn new(base: Offset) -> Segment {
        let start = Place { offset: base, position: 0 };
        Segment {
            base,
            end: start,
            durable: start,
            destaged: 0,
            unsynced: false,
            index: Some(Index::new(base)),
            index_lost: false,
            max_timestamp: None,
            chunks: VecDeque::new(),
            pending: VecDeque::new(),
            allocated: 0,
            step: ALLOCATE_BYTES_MIN,
            named: false,
            sealed: false,
            age: Age::default(),
            damages: Damages::default(),
        }
    }

    /// A whole one that was found on disk and ends where the next begins.
    pub(crate) fn found(base: Offset, end: Place) -> Segment {
        Segment {
            end,
            durable: end,
            destaged: end.position,
            index: None,
            allocated: end.position,
            named: true,
            sealed: true,
            ..Segment::new(base)
        }
    }

    /// Compaction left nothing of it but the header of its last batch. A reader who got that alone would be no wiser,
    /// and some give up after a few such answers.
    pub(crate) fn is_hollow(&self) -> bool {
        self.sealed && self.end.position == HEADER_BYTES as u64
    }

    /// The largest timestamp of its batches, if that is known without reading it.
    pub(crate) fn known_max_timestamp(&self) -> Option<Timestamp> {
        match &self.index {
            Some(index) if index.is_whole() => Some(index.max_timestamp()),
            // What comes before it was known to the checkpoint.
            Some(index) => self.max_timestamp.map(|before| before.max(index.max_timestamp())),
            None => self.max_timestamp,
        }
    }

    /// From here on its bytes are in memory.
    pub(crate) fn memory_start(&self) -> u64 {
        self.chunks.front().map_or(self.end.position, |first| first.start)
    }

    /// Bytes that fit into the chunks that it has.
    pub(crate) fn room(&self) -> usize {
        self.chunks.iter().rev().map(|chunk| chunk.chunk.room()).take_while(|room| *room > 0).sum()
    }

    /// Where a further chunk would begin.
    pub(crate) fn chunks_end(&self) -> u64 {
        let end = self.chunks.back().map(|last| last.start + last.chunk.capacity() as u64);
        end.unwrap_or(self.end.position)
    }

    /// Copies bytes behind the last ones. Panics if they don't fit.
    pub(crate) fn copy_in(&mut self, mut bytes: &[u8]) {
        let full = self.chunks.partition_point(|chunk| chunk.chunk.room() == 0);
        for chunk in self.chunks.iter_mut().skip(full) {
            let (now, later) = bytes.split_at(bytes.len().min(chunk.chunk.room()));
            chunk.chunk.append(now);
            bytes = later;
            if bytes.is_empty() {
                break;
            }
        }
        assert!(bytes.is_empty());
    }

    /// Lends what is in memory of a range of the file, in order.
    pub(crate) fn lend(&self, from: u64, to: u64) -> Vec<Buf> {
        assert!(self.memory_start() <= from);
        assert!(to <= self.end.position);
        let first = self.first_chunk(from);
        let reached = self.chunks.iter().skip(first).take_while(|chunk| chunk.start < to);
        reached
            .map(|chunk| {
                let start = from.max(chunk.start) - chunk.start;
                let end = to.min(chunk.end()) - chunk.start;
                chunk.chunk.lend(start as usize..end as usize)
            })
            .collect()
    }

    /// The whole blocks that hold a range, for the disk.
    pub(crate) fn blocks(&mut self, from: u64, to: u64) -> Vec<WriteBuf> {
        assert!(self.memory_start() <= from);
        let first = self.first_chunk(from);
        let reached = self.chunks.iter_mut().skip(first).take_while(|chunk| chunk.start < to);
        reached
            .map(|chunk| {
                let start = from.max(chunk.start) - chunk.start;
                let end = to.min(chunk.end()) - chunk.start;
                chunk.chunk.blocks(start as usize..end as usize)
            })
            .collect()
    }

    /// The chunks that hold what follows a position, in order.
    pub(crate) fn chunks_from(&self, from: u64) -> impl Iterator<Item = &MemoryChunk> {
        self.chunks.iter().skip(self.first_chunk(from))
    }

    /// How far one write of what is not destaged reaches.
    pub(crate) fn write_reach(&self) -> u64 {
        let parts = self.chunks_from(self.destaged).take(PARTS_MAX);
        parts.last().map_or(self.end.position, MemoryChunk::end)
    }

    fn first_chunk(&self, from: u64) -> usize {
        self.chunks.partition_point(|chunk| chunk.end() <= from)
    }

    /// The header of the batch at `position`, which is in memory.
    pub(crate) fn header(&self, position: u64) -> Header {
        let bufs = self.lend(position, position + HEADER_BYTES as u64);
        let header = match &bufs[..] {
            [whole] => Header::peek(whole),
            parts => {
                let mut gathered = Vec::with_capacity(HEADER_BYTES);
                parts.iter().for_each(|part| gathered.extend_from_slice(part));
                Header::peek(&gathered)
            }
        };
        header.expect("batches in memory were checked when they came in")
    }

    /// Walks from a batch's beginning over batches in memory while `go_on` says so of the next one's header and of
    /// where it ends; never beyond `limit`. Answers where it stopped.
    pub(crate) fn walk(&self, from: Place, limit: u64, mut go_on: impl FnMut(&Header, u64) -> bool) -> Place {
        let mut place = from;
        while place.position < limit {
            let header = self.header(place.position);
            let end = place.position + header.size_bytes as u64;
            if end > limit || !go_on(&header, end) {
                break;
            }
            place = Place { offset: header.next_offset(), position: end };
        }
        place
    }

    pub(crate) fn invariants(&self) {
        assert!(self.durable.position <= self.end.position);
        assert!(self.durable.offset <= self.end.offset);
        assert!(self.sealed || self.memory_start() < self.destaged + BLOCK);
        assert!(self.destaged <= self.durable.position);
        for (chunk, next) in self.chunks.iter().zip(self.chunks.iter().skip(1)) {
            assert!(chunk.start + chunk.chunk.capacity() as u64 == next.start);
            assert!(chunk.chunk.room() == 0 || next.chunk.is_empty());
        }
        if let Some(first) = self.chunks.front() {
            assert!(first.start.is_multiple_of(BLOCK));
            let published: u64 = self.chunks.iter().map(|chunk| chunk.chunk.len() as u64).sum();
            assert!(first.start + published == self.end.position);
        }
        if self.sealed {
            assert!(self.durable == self.end && self.destaged == self.end.position);
            assert!(self.pending.is_empty());
        }
    }
}

/// Space is taken in steps from here ...
pub(crate) const ALLOCATE_BYTES_MIN: u64 = 64 * 1024;
/// ... doubling to here.
pub(crate) const ALLOCATE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// A kernel takes 1024 parts in one write; a batch alone has fewer (see `cache.rs`).
const PARTS_MAX: usize = 512;
