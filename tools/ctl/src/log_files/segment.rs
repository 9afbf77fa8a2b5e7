//! The batches of a segment, one after the other, good and bad.
//! Owns where the walk stands. A batch whose length can be believed is passed even if its checksum is wrong; where no
//! length can be believed, the walk goes on at the next whole batch, if there is one. Invariant: positions rise.

use std::io;
use std::path::Path;

use model::Offset;
use record::{BatchView, Corruption, HEADER_BYTES, Header, LENGTH_OVERHEAD_BYTES, RecordError};

use super::window::{WINDOW_BYTES, Window};

/// A segment on its way through.
#[derive(Debug)]
pub(crate) struct Segment {
    window: Window,
    position: u64,
    /// No batch that follows begins below it.
    next_offset: Offset,
}

/// What stands at a position.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// A batch with the right checksum.
    Batch(BatchView<'a>),
    /// A batch of a believable length with something wrong about it, and its header as far as that makes sense.
    Bad { header: Option<Header>, error: RecordError },
    /// Bytes that are no batch, up to the next one or the end of the file.
    Noise { bytes: u64, error: RecordError },
    /// Zeros to the end of the file: space that is allocated and not written.
    Room { bytes: u64 },
}

impl Segment {
    pub(crate) fn open(path: &Path) -> io::Result<Segment> {
        Ok(Segment { window: Window::open(path)?, position: 0, next_offset: Offset::ZERO })
    }

    pub(crate) fn length_bytes(&self) -> u64 {
        self.window.length_bytes()
    }

    /// What comes next and where it stands; `None` at the end of the file.
    pub(crate) fn next(&mut self) -> io::Result<Option<(u64, Found<'_>)>> {
        let at = self.position;
        let left = self.length_bytes().saturating_sub(at);
        if left == 0 {
            return Ok(None);
        }
        if self.zeros_from(at)? {
            self.position = self.length_bytes();
            return Ok(Some((at, Found::Room { bytes: left })));
        }
        let size_bytes = match stated_bytes(self.window.bytes(at, HEADER_BYTES)?, left) {
            Ok(size_bytes) => size_bytes,
            Err(error) => {
                self.position = self.next_whole(at)?;
                return Ok(Some((at, Found::Noise { bytes: self.position - at, error })));
            }
        };
        self.position = at.saturating_add(size_bytes as u64);
        let bytes = self.window.bytes(at, size_bytes)?;
        let found = match BatchView::first(bytes) {
            Ok(batch) => {
                self.next_offset = self.next_offset.max(batch.header().next_offset());
                Found::Batch(batch)
            }
            Err(error) => Found::Bad { header: Header::peek(bytes).ok(), error },
        };
        Ok(Some((at, found)))
    }

    fn zeros_from(&mut self, from: u64) -> io::Result<bool> {
        let mut at = from;
        // Nearly always the first header says no.
        let mut step = HEADER_BYTES;
        while at < self.length_bytes() {
            let bytes = self.window.bytes(at, step)?;
            if bytes.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            if bytes.is_empty() {
                return Ok(true);
            }
            at = at.saturating_add(bytes.len() as u64);
            step = WINDOW_BYTES;
        }
        Ok(true)
    }

    /// Where the first whole batch after `from` begins that can belong here; the end of the file if there is none.
    fn next_whole(&mut self, from: u64) -> io::Result<u64> {
        let end = self.length_bytes();
        let mut at = from.saturating_add(1);
        let mut budget_bytes = RESYNC_BYTES_MAX;
        while at < end && budget_bytes > 0 {
            let window = self.window.bytes(at, WINDOW_BYTES)?;
            let candidates = window.len().saturating_sub(HEADER_BYTES - 1);
            if candidates == 0 {
                break;
            }
            let next_offset = self.next_offset;
            let likely = |place: &usize| may_begin(&window[*place..], next_offset, end - at - *place as u64);
            let Some(place) = (0..candidates).find(likely) else {
                at += candidates as u64;
                continue;
            };
            at += place as u64;
            let left = end - at;
            let size_bytes = stated_bytes(self.window.bytes(at, HEADER_BYTES)?, left).unwrap_or(HEADER_BYTES);
            if BatchView::first(self.window.bytes(at, size_bytes)?).is_ok() {
                return Ok(at);
            }
            budget_bytes = budget_bytes.saturating_sub(size_bytes);
            at += 1;
        }
        Ok(end)
    }
}

/// Whether a header of a batch at or after `next_offset` may stand at the beginning of `bytes`.
fn may_begin(bytes: &[u8], next_offset: Offset, left: u64) -> bool {
    let magic = bytes.get(MAGIC_AT).is_some_and(|magic| *magic == 2);
    magic
        && stated_bytes(bytes, left).is_ok()
        && Header::peek(bytes).is_ok_and(|header| header.base_offset >= next_offset)
}

/// The size that a header states, if it can be: `left` bytes of the file are left.
fn stated_bytes(header: &[u8], left: u64) -> Result<usize, RecordError> {
    let corrupt = |what| Err(RecordError::Corrupt(what));
    let Some(header) = header.first_chunk::<HEADER_BYTES>() else { return corrupt(Corruption::Truncated) };
    match header[MAGIC_AT] {
        2 => {}
        old @ (0 | 1) => return Err(RecordError::OldMagic(old)),
        _ => return corrupt(Corruption::Magic),
    }
    let mut length = [0; 4];
    length.copy_from_slice(&header[LENGTH_AT..LENGTH_AT + 4]);
    let size = usize::try_from(i32::from_be_bytes(length)).ok().and_then(|it| it.checked_add(LENGTH_OVERHEAD_BYTES));
    match size {
        Some(size) if (HEADER_BYTES..=BATCH_BYTES_MAX).contains(&size) => match size as u64 <= left {
            true => Ok(size),
            false => corrupt(Corruption::Truncated),
        },
        _ => corrupt(Corruption::Length),
    }
}

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
/// What is read into memory for one batch: above any `message.max.bytes` and `socket.request.max.bytes` in use.
const BATCH_BYTES_MAX: usize = 256 << 20;
/// How many bytes are checksummed in search of a whole batch: bytes that look like headers everywhere cost no more.
const RESYNC_BYTES_MAX: usize = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_files::testing::batch;

    /// What is found in a file of these bytes, in short.
    fn walk(bytes: &[u8]) -> Vec<(u64, String)> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("00000000000000000000.log");
        std::fs::write(&path, bytes).expect("written");
        let mut segment = Segment::open(&path).expect("opens");
        let mut out = Vec::new();
        while let Some((position, found)) = segment.next().expect("reads") {
            let text = match found {
                Found::Batch(batch) => format!("batch {}", batch.header().base_offset.to_wire()),
                Found::Bad { error, .. } => format!("bad: {}", error.message()),
                Found::Noise { bytes, .. } => format!("noise {bytes}"),
                Found::Room { bytes } => format!("room {bytes}"),
            };
            out.push((position, text));
        }
        out
    }

    fn expect(bytes: &[u8], expected: &[(usize, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(at, text)| (*at as u64, text.to_string())).collect();
        assert_eq!(walk(bytes), expected);
    }

    #[test]
    fn batches_and_room_are_told_apart_from_noise() {
        let (first, second) = (batch(0, 3), batch(3, 2));
        let size = first.len();
        let both = [&first[..], &second].concat();
        expect(&both, &[(0, "batch 0"), (size, "batch 3")]);
        expect(&[&both[..], &[0; 5000]].concat(), &[(0, "batch 0"), (size, "batch 3"), (both.len(), "room 5000")]);
        expect(&both[..both.len() - 1], &[(0, "batch 0"), (size, &format!("noise {}", second.len() - 1))]);
        expect(&[0; 10], &[(0, "room 10")]);
        expect(&[], &[]);
    }

    #[test]
    fn a_wrong_checksum_costs_one_batch_and_a_wrong_length_too() {
        let (first, second, third) = (batch(0, 3), batch(3, 2), batch(5, 1));
        let (at, then) = (first.len(), first.len() + second.len());
        let whole = [&first[..], &second, &third].concat();
        let with = |place: usize| {
            let mut bytes = whole.clone();
            bytes[place] ^= 0x40;
            bytes
        };
        let noise = format!("noise {}", second.len());
        expect(
            &with(then - 1),
            &[(0, "batch 0"), (at, "bad: record batch checksum does not match"), (then, "batch 5")],
        );
        expect(&with(at + LENGTH_AT), &[(0, "batch 0"), (at, &noise), (then, "batch 5")]);
        expect(&with(at + MAGIC_AT), &[(0, "batch 0"), (at, &noise), (then, "batch 5")]);
    }

    #[test]
    fn no_cut_and_no_flipped_bit_is_more_than_a_finding() {
        let whole = [batch(0, 3), batch(3, 2), batch(5, 1)].concat();
        for cut in 0..whole.len() {
            walk(&whole[..cut]);
        }
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << bit;
                assert!(!walk(&bytes).is_empty());
            }
        }
    }
}
