//! Batches of a segment's file one after the other, through a window of it.
//! Owns the window. Never believes a length beyond the segment.

use effect::Buf;
use model::Offset;
use record::{HEADER_BYTES, Header};

use crate::index::Place;
use crate::segment::BLOCK;

#[derive(Debug)]
pub(crate) struct Reader {
    pub(crate) base: Offset,
    /// Where the segment ends.
    end: Place,
    /// Where the next batch begins.
    next: Place,
    window_start: u64,
    window: Buf,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Batch(Header, Buf),
    /// So many bytes from this place on, whole blocks, must be read first.
    Read {
        offset: u64,
        bytes: usize,
    },
    End,
    Corrupt,
}

impl Reader {
    pub(crate) fn new(base: Offset, end: Place) -> Reader {
        let next = Place { offset: base, position: 0 };
        Reader { base, end, next, window_start: 0, window: Buf::EMPTY }
    }

    /// What was read from `offset` on, where `asked` bytes were asked for; false if the file ends too soon.
    pub(crate) fn fill(&mut self, offset: u64, asked: usize, bytes: Buf) -> bool {
        let expected = (asked as u64).min(self.end.position.saturating_sub(offset));
        self.window_start = offset;
        self.window = bytes;
        self.window.len() as u64 >= expected
    }

    /// The next batch, if it is there; it counts as taken then.
    pub(crate) fn next(&mut self) -> Next {
        let left = self.end.position - self.next.position;
        if left == 0 {
            return if self.next.offset == self.end.offset { Next::End } else { Next::Corrupt };
        }
        if left < HEADER_BYTES as u64 {
            return Next::Corrupt;
        }
        let Some(rest) = self.rest().filter(|rest| rest.len() >= HEADER_BYTES) else {
            return self.read(HEADER_BYTES as u64);
        };
        let Ok(header) = Header::peek(rest) else { return Next::Corrupt };
        let size = header.size_bytes as u64;
        if size > left || header.base_offset < self.next.offset || header.next_offset() > self.end.offset {
            return Next::Corrupt;
        }
        if rest.len() < header.size_bytes {
            return self.read(size);
        }
        let start = self.window.len() - rest.len();
        let batch = self.window.slice(start..start + header.size_bytes);
        self.next = Place { offset: header.next_offset(), position: self.next.position + size };
        Next::Batch(header, batch)
    }

    fn rest(&self) -> Option<&[u8]> {
        let skip = usize::try_from(self.next.position.checked_sub(self.window_start)?).ok()?;
        self.window.get(skip..)
    }

    /// A window that holds the next `bytes`.
    fn read(&self, bytes: u64) -> Next {
        let offset = self.next.position / BLOCK * BLOCK;
        let least = self.next.position + bytes - offset;
        let wanted = least.max(WINDOW_BYTES.min(self.end.position - offset)).next_multiple_of(BLOCK);
        usize::try_from(wanted).map_or(Next::Corrupt, |bytes| Next::Read { offset, bytes })
    }
}

const WINDOW_BYTES: u64 = 256 * 1024;
