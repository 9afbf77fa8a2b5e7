//! What a recovery knows while it goes on, and the scan of a segment: batch after batch until one is not whole.
//! Owns arithmetic and judgement; the reads are asked for in `recover.rs`.
//! Invariant: a batch counts only if its checksum holds and its offset is the one that its place demands; behind the
//! one before it where compaction may have been. A place then has the offset at which the batch before it ends.

use std::collections::VecDeque;

use effect::FileKind;
use model::Offset;
use record::{BatchView, HEADER_BYTES, Header};

use crate::PartitionSettings;
use crate::cleaner::Leftovers;
use crate::index::{Index, Place};
use crate::journal::entry::Entry;
use crate::journal::frame::Run;
use crate::metadata_file::METADATA_NAME;
use crate::segment::BLOCK;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Stage {
    /// Waits for its turn.
    #[default]
    Queued,
    List,
    Leftovers,
    Metadata,
    Scan,
    Cut,
    /// Changes that the journal has are taken in.
    Replay,
    /// Batches that were written directly are read.
    Verify,
    /// They are made durable, whoever wrote them.
    Settle,
}

#[derive(Debug, Default)]
pub(crate) struct Recovery {
    pub(crate) stage: Stage,
    /// The directory is listed only to see what a compaction made of the segments that the checkpoint has.
    pub(crate) compares: bool,
    /// The log directory that is looked at.
    pub(crate) root: usize,
    /// Where a later run found the end: batches beyond it do not count.
    pub(crate) stop_at: Option<Offset>,
    /// The run of the checkpoint that this began with.
    pub(crate) record_run: Option<Run>,
    /// What the journal says, the next first.
    pub(crate) entries: VecDeque<(Run, Entry)>,
    /// Batches that were found in the segment, until all that were written together are.
    pub(crate) verified: Vec<(Place, Header)>,
    /// Files with batches that may not be durable.
    pub(crate) unsynced: Vec<Offset>,
    /// Every segment found, with its length; in order.
    pub(crate) found: Vec<(Offset, u64)>,
    pub(crate) has_metadata: bool,
    pub(crate) scan: Option<Scan>,
    /// How much of the file the next read takes in at least.
    pub(crate) window_bytes: usize,
    /// Where the read in flight begins.
    pub(crate) window_start: u64,
    /// The last, partial block's bytes.
    pub(crate) tail: Vec<u8>,
    /// What follows the last batch is known to be zeros.
    pub(crate) clean: bool,
    /// The segment under scan has its file's length cut.
    pub(crate) cut: bool,
    /// What puts an interrupted exchange of segments in order, in this order.
    pub(crate) leftovers: Leftovers,
}

impl Recovery {
    /// Takes in what a directory holds. Names that are not ours are left alone.
    pub(crate) fn listed(&mut self, entries: &[(String, FileKind)]) {
        self.found.clear();
        self.leftovers = Leftovers::default();
        for (name, kind) in entries {
            let FileKind::File { len } = kind else { continue };
            if name == METADATA_NAME {
                self.has_metadata = true;
            } else if self.leftovers.found(name) {
                continue;
            } else if let Some(base) = base_of(name, ".log") {
                self.found.push((base, *len));
            }
        }
        let within = |base: &Offset| self.stop_at.is_none_or(|stop| *base <= stop);
        self.found.retain(|(base, _)| within(base));
        self.found.sort_unstable();
    }

    /// The length of the segment at `base`, and where the next one begins.
    pub(crate) fn segment(&self, base: Offset) -> (u64, Option<Offset>) {
        let at = self.found.partition_point(|(other, _)| *other < base);
        let len = self.found.get(at).map_or(0, |(_, len)| *len);
        (len, self.found.get(at + 1).map(|(next, _)| *next))
    }
}

/// `00000000000000000042.log` -> 42.
pub(crate) fn base_of(name: &str, suffix: &str) -> Option<Offset> {
    let digits = name.strip_suffix(suffix)?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    Offset::from_wire(digits.parse().ok()?)
}

/// How thoroughly batches are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Check {
    /// Checksums, and what they cover.
    Whole,
    /// Headers only, hopping from one to the next.
    Headers,
}

/// A walk over the batches of a file.
#[derive(Debug)]
pub(crate) struct Scan {
    pub(crate) base: Offset,
    pub(crate) file_len: u64,
    pub(crate) check: Check,
    /// Where the next batch begins.
    pub(crate) next: Place,
    pub(crate) index: Index,
    /// At most about so much lies between two entries of the index.
    pub(crate) interval_bytes: u32,
    pub(crate) stop_at: Option<Offset>,
    /// Compaction may have taken batches out.
    pub(crate) gaps: bool,
}

/// What a scan says after some bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scanned {
    /// It needs at least so many bytes from this place on, which is a multiple of a block.
    More { from: u64, bytes: u64 },
    /// `next` is the end.
    End,
    /// The segment's first batch is whole and has another offset than its name says.
    WrongFirst(Offset),
}

impl Scan {
    pub(crate) fn new(base: Offset, file_len: u64, check: Check, stop_at: Option<Offset>, gaps: bool) -> Scan {
        Scan { stop_at, gaps, ..Scan::from(base, Place { offset: base, position: 0 }, file_len, check) }
    }

    /// Begins in the middle, where a batch does; without gaps.
    pub(crate) fn from(base: Offset, next: Place, file_len: u64, check: Check) -> Scan {
        let interval_bytes = PartitionSettings::DEFAULT.index_interval_bytes;
        let index = Index::resumed(base, next);
        Scan { base, file_len, check, next, index, interval_bytes, stop_at: None, gaps: false }
    }

    /// Takes in the bytes of the file from `start` on, which is at or before the next batch.
    pub(crate) fn feed(&mut self, start: u64, bytes: &[u8], mut each: impl FnMut(Place, &Header)) -> Scanned {
        let end = start + bytes.len() as u64;
        assert!(start <= self.next.position);
        loop {
            let position = self.next.position;
            if position.saturating_add(HEADER_BYTES as u64) > self.file_len {
                return Scanned::End;
            }
            if position + HEADER_BYTES as u64 > end {
                return self.more(HEADER_BYTES as u64);
            }
            let rest = &bytes[(position - start) as usize..];
            let Ok(header) = Header::peek(rest) else { return Scanned::End };
            let size = header.size_bytes as u64;
            if size > self.file_len - position {
                return Scanned::End;
            }
            if self.check == Check::Whole {
                if position + size > end {
                    return self.more(size);
                }
                if BatchView::first(rest).is_err() {
                    return Scanned::End;
                }
            }
            if header.base_offset != self.next.offset && (!self.gaps || header.base_offset < self.next.offset) {
                return if position == 0 { Scanned::WrongFirst(header.base_offset) } else { Scanned::End };
            }
            if self.stop_at.is_some_and(|stop| header.next_offset() > stop) {
                return Scanned::End;
            }
            // What the index can say bounds what is believed.
            if position + size > u64::from(u32::MAX) || header.next_offset().since(self.base) > u64::from(u32::MAX) + 1
            {
                return Scanned::End;
            }
            self.index.push(&header, position, self.interval_bytes);
            each(self.next, &header);
            self.next = Place { offset: header.next_offset(), position: position + size };
        }
    }

    fn more(&self, bytes: u64) -> Scanned {
        let from = self.next.position / BLOCK * BLOCK;
        Scanned::More { from, bytes: self.next.position + bytes - from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_twenty_digits_name_a_segment() {
        assert_eq!(base_of("00000000000000000042.log", ".log"), Some(Offset::new(42)));
        assert_eq!(base_of("42.log", ".log"), None);
        assert_eq!(base_of("0000000000000000004x.log", ".log"), None);
        assert_eq!(base_of("99999999999999999999.log", ".log"), None);
    }
}
