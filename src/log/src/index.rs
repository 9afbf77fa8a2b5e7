//! The sparse index of one segment: which batch begins where, one entry for about every 16 KiB.
//! Owns the entries in memory. Never reads a segment: the caller does.
//! Invariants: entries strictly increase in offset and in position; the first stands at position 0; the batches from an
//! entry to the next begin less than `INTERVAL_BYTES` after it.

use model::{Offset, Timestamp};

/// Headers of all batches between an entry and the next lie within this many bytes, and a header, from the entry.
pub(crate) const INTERVAL_BYTES: u64 = 16 * 1024;

/// Where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    offset_delta: u32,
    position: u32,
    /// The largest timestamp from here to the next entry.
    max_timestamp: i64,
}

const _: () = assert!(size_of::<Entry>() == 16);

#[derive(Debug)]
pub(crate) struct Index {
    base: Offset,
    entries: Vec<Entry>,
    max_timestamp: Timestamp,
}

impl Index {
    pub(crate) fn new(base: Offset) -> Index {
        Index { base, entries: Vec::new(), max_timestamp: Timestamp::NONE }
    }

    /// Adds the next batch. The caller keeps a segment within what the entry's fields can say.
    pub(crate) fn push(&mut self, place: Place, max_timestamp: Timestamp) {
        self.max_timestamp = self.max_timestamp.max(max_timestamp);
        if let Some(last) = self.entries.last_mut() {
            assert!(u64::from(last.position) < place.position);
            if place.position - u64::from(last.position) < INTERVAL_BYTES {
                last.max_timestamp = last.max_timestamp.max(max_timestamp.0);
                return;
            }
        } else {
            assert!(place.position == 0);
        }
        let entry = self.entry(place, max_timestamp.0);
        self.entries.push(entry);
    }

    /// The last entry at or before `offset`.
    pub(crate) fn find(&self, offset: Offset) -> Option<usize> {
        self.entries.partition_point(|entry| self.offset(entry) <= offset).checked_sub(1)
    }

    /// The last entry at or before `position`.
    pub(crate) fn find_position(&self, position: u64) -> Option<usize> {
        self.entries.partition_point(|entry| u64::from(entry.position) <= position).checked_sub(1)
    }

    /// The first entry from `at` on whose interval may hold a record at or after `timestamp`.
    pub(crate) fn find_time(&self, at: usize, timestamp: Timestamp) -> Option<usize> {
        let found = self.entries.get(at..)?.iter().position(|entry| entry.max_timestamp >= timestamp.0)?;
        Some(at + found)
    }

    pub(crate) fn place(&self, at: usize) -> Place {
        let entry = &self.entries[at];
        Place { offset: self.offset(entry), position: u64::from(entry.position) }
    }

    /// Where the interval after `at` begins.
    pub(crate) fn next_place(&self, at: usize) -> Option<Place> {
        (at + 1 < self.entries.len()).then(|| self.place(at + 1))
    }

    pub(crate) fn max_timestamp(&self) -> Timestamp {
        self.max_timestamp
    }

    /// About the first batch's: the largest of the first interval.
    pub(crate) fn first_timestamp(&self) -> Timestamp {
        self.entries.first().map_or(Timestamp::NONE, |entry| Timestamp(entry.max_timestamp))
    }

    fn offset(&self, entry: &Entry) -> Offset {
        self.base.plus(u64::from(entry.offset_delta))
    }

    fn entry(&self, place: Place, max_timestamp: i64) -> Entry {
        Entry {
            offset_delta: u32::try_from(place.offset.since(self.base)).expect("a segment rolls before"),
            position: u32::try_from(place.position).expect("a segment rolls before"),
            max_timestamp,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(offset: u64, position: u64) -> Place {
        Place { offset: Offset::new(offset), position }
    }

    #[test]
    fn an_entry_stands_for_the_batches_up_to_the_next() {
        let mut index = Index::new(Offset::new(100));
        index.push(place(100, 0), Timestamp(5));
        index.push(place(101, 1000), Timestamp(9));
        index.push(place(102, 17_000), Timestamp(7));
        assert_eq!(index.find(Offset::new(101)), Some(0));
        assert_eq!(index.find(Offset::new(102)), Some(1));
        assert_eq!(index.find_time(0, Timestamp(8)), Some(0));
        assert_eq!(index.find_time(1, Timestamp(8)), None);
        assert_eq!(index.next_place(0), Some(place(102, 17_000)));
        assert_eq!(index.find_position(16_999), Some(0));
    }
}
