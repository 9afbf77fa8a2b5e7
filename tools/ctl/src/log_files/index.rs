//! Index files in Kafka's form: big-endian entries of one size. `.index` is a relative offset and a position, four bytes
//! each; `.timeindex` a timestamp of eight bytes and a relative offset of four. Owns the walk over entries, never what
//! they point to. Zeros after the first entry are space for more, as Kafka leaves it in an index that is in use.

use std::io;
use std::path::Path;

use model::{Offset, Timestamp};

use super::window::Window;

/// An index file's entries on their way through.
#[derive(Debug)]
pub(crate) struct Entries<E> {
    window: Window,
    base_offset: Offset,
    at: u64,
    entry: Option<(u64, E)>,
}

/// An entry of a fixed size.
pub(crate) trait Entry: Copy {
    const BYTES: usize;
    /// `None` if the offset would pass the largest one.
    fn decode(bytes: &[u8], base_offset: Offset) -> Option<Self>;
    /// Whether `next` may follow.
    fn precedes(self, next: Self) -> bool;
}

/// Where a batch with an offset stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct OffsetEntry {
    pub(crate) offset: Offset,
    pub(crate) position: u32,
}

/// The largest timestamp up to an offset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: Timestamp,
    pub(crate) offset: Offset,
}

impl<E: Entry> Entries<E> {
    pub(crate) fn open(path: &Path, base_offset: Offset) -> io::Result<Entries<E>> {
        let mut entries = Entries { window: Window::open(path)?, base_offset, at: 0, entry: None };
        entries.read()?;
        Ok(entries)
    }

    /// The entry that the walk stands at, with its position in the file.
    pub(crate) fn current(&self) -> Option<(u64, E)> {
        self.entry
    }

    /// Goes to the next entry. Says so if that one may not stand behind the current one.
    pub(crate) fn advance(&mut self) -> io::Result<Option<&'static str>> {
        let before = self.entry;
        self.at = self.at.saturating_add(E::BYTES as u64);
        self.read()?;
        Ok(match (before, self.entry) {
            (Some((_, before)), Some((_, now))) if !before.precedes(now) => Some("index entries do not rise"),
            _ => None,
        })
    }

    /// Bytes at the end of the file that are no whole entry.
    pub(crate) fn rest_bytes(&self) -> u64 {
        self.window.length_bytes() % E::BYTES as u64
    }

    /// Bytes of all whole entries, those that are still zeros too.
    pub(crate) fn whole_bytes(&self) -> u64 {
        self.window.length_bytes() - self.rest_bytes()
    }

    fn read(&mut self) -> io::Result<()> {
        let (at, base_offset) = (self.at, self.base_offset);
        let bytes = self.window.bytes(at, E::BYTES)?;
        let room = at > 0 && bytes.iter().all(|byte| *byte == 0);
        let whole = bytes.len() == E::BYTES && !room;
        self.entry = whole.then(|| E::decode(bytes, base_offset)).flatten().map(|entry| (at, entry));
        Ok(())
    }
}

impl Entry for OffsetEntry {
    const BYTES: usize = 8;

    fn decode(bytes: &[u8], base_offset: Offset) -> Option<OffsetEntry> {
        let (offset, rest) = bytes.split_first_chunk::<4>()?;
        let position = u32::from_be_bytes(*rest.first_chunk()?);
        Some(OffsetEntry { offset: absolute(base_offset, *offset)?, position })
    }

    fn precedes(self, next: OffsetEntry) -> bool {
        self.offset < next.offset && self.position < next.position
    }
}

impl Entry for TimeEntry {
    const BYTES: usize = 12;

    fn decode(bytes: &[u8], base_offset: Offset) -> Option<TimeEntry> {
        let (timestamp, rest) = bytes.split_first_chunk::<8>()?;
        let offset = absolute(base_offset, *rest.first_chunk()?)?;
        Some(TimeEntry { timestamp: Timestamp(i64::from_be_bytes(*timestamp)), offset })
    }

    fn precedes(self, next: TimeEntry) -> bool {
        self.timestamp < next.timestamp && self.offset <= next.offset
    }
}

fn absolute(base_offset: Offset, relative: [u8; 4]) -> Option<Offset> {
    let offset = base_offset.get().checked_add(u64::from(u32::from_be_bytes(relative)))?;
    i64::try_from(offset).ok().and_then(Offset::from_wire)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_files::testing::{index, time_index};

    fn entries<E: Entry>(bytes: &[u8]) -> (Vec<E>, u64, bool) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("index");
        std::fs::write(&path, bytes).expect("written");
        let mut entries = Entries::<E>::open(&path, Offset::new(100)).expect("opens");
        let (mut out, mut falls) = (Vec::new(), false);
        while let Some((_, entry)) = entries.current() {
            out.push(entry);
            falls |= entries.advance().expect("reads").is_some();
        }
        (out, entries.rest_bytes(), falls)
    }

    #[test]
    fn entries_are_read_up_to_zeros_and_a_rest() {
        let file = [index(&[(0, 0), (5, 4200)]), vec![0; 19]].concat();
        let entry = |offset, position| OffsetEntry { offset: Offset::new(offset), position };
        assert_eq!(entries(&file), (vec![entry(100, 0), entry(105, 4200)], 3, false));
        assert!(entries::<OffsetEntry>(&index(&[(5, 4200), (5, 4300)])).2);
        assert!(entries::<OffsetEntry>(&index(&[(5, 4200), (6, 4200)])).2);
    }

    #[test]
    fn time_entries_rise_in_time() {
        let entry = |timestamp, offset| TimeEntry { timestamp: Timestamp(timestamp), offset: Offset::new(offset) };
        let file = time_index(&[(7, 1), (9, 4)]);
        assert_eq!(entries(&file), (vec![entry(7, 101), entry(9, 104)], 0, false));
        assert!(entries::<TimeEntry>(&time_index(&[(7, 1), (7, 4)])).2);
    }
}
