//! The sparse index of one segment: which batch begins where, and how late the records up to there are.
//! Owns the entries in memory. Never reads a segment or a file: the caller does; their form on disk is in
//! `index_format.rs`.
//!
//! There is an entry for about every `index.interval.bytes`. What a busy segment costs is bounded all the same: beyond
//! `ENTRIES_MAX` entries the older ones are thinned out, so the last mebibytes stay finely indexed and a segment of a
//! gibibyte ends with an entry for about every half mebibyte, in about 100 KiB.
//!
//! Invariants: entries strictly increase in offset and in position; `times` strictly increase in both of their fields;
//! a time's offset says in which interval the largest timestamp so far rose to it, and it had not risen before that
//! interval: the first record at or after a time lies in the interval of the first such entry.

use model::{Offset, Timestamp};
use record::Header;

/// Where a batch begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place {
    pub(crate) offset: Offset,
    pub(crate) position: u64,
}

/// A batch, by offsets relative to the segment's base.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub(crate) first_delta: u32,
    pub(crate) last_delta: u32,
    pub(crate) position: u32,
}

/// The largest timestamp up to the batch that ends at `offset_delta`, which is the first to have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct TimeEntry {
    pub(crate) timestamp: i64,
    pub(crate) offset_delta: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Index {
    base: Offset,
    /// What it knows of begins here: after a start, of the last segment only what is new, until somebody asks for more.
    first: Place,
    entries: Vec<Entry>,
    /// For every interval but the last that raised the largest timestamp.
    times: Vec<TimeEntry>,
    /// The largest timestamp, and where it was first reached.
    max: Option<TimeEntry>,
    /// Older entries are at least this far apart.
    coarse_bytes: u32,
    /// When it was last used, as the cache of indexes counts; 0 while it is not in there.
    pub(crate) used: u64,
}

impl Index {
    pub(crate) fn new(base: Offset) -> Index {
        Index::resumed(base, Place { offset: base, position: 0 })
    }

    /// An index of the segment at `base` from a batch's beginning on.
    pub(crate) fn resumed(base: Offset, first: Place) -> Index {
        Index { base, first, entries: Vec::new(), times: Vec::new(), max: None, coarse_bytes: 0, used: 0 }
    }

    pub(crate) fn first(&self) -> Place {
        self.first
    }

    /// Whether it knows the whole segment.
    pub(crate) fn is_whole(&self) -> bool {
        self.first.position == 0
    }

    /// Whether it knows where this offset is.
    pub(crate) fn covers(&self, offset: Offset) -> bool {
        self.is_whole() || self.first.offset <= offset
    }

    /// Takes in what comes before it.
    pub(crate) fn prepend(&mut self, mut before: Index) {
        before.end_interval();
        let reached = before.max.map_or(Timestamp::NONE.0, |max| max.timestamp);
        before.entries.append(&mut self.entries);
        before.times.extend(self.times.drain(..).filter(|time| reached < time.timestamp));
        if let Some(max) = self.max.filter(|max| reached < max.timestamp) {
            before.max = Some(max);
        }
        before.coarse_bytes = before.coarse_bytes.max(self.coarse_bytes);
        *self = Index { used: self.used, ..before };
    }

    /// From what was read from a disk and checked.
    pub(crate) fn from_parts(base: Offset, entries: Vec<Entry>, times: Vec<TimeEntry>) -> Index {
        let max = times.last().copied();
        Index { max, entries, times, ..Index::new(base) }
    }

    /// Adds the next batch. The caller keeps a segment within what the entry's fields can say.
    pub(crate) fn push(&mut self, header: &Header, position: u64, interval_bytes: u32) {
        let position = u32::try_from(position).expect("a segment rolls before");
        let delta = |offset: Offset| u32::try_from(offset.since(self.base)).expect("a segment rolls before");
        let (first_delta, last_delta) = (delta(header.base_offset), delta(header.last_offset()));
        let due = self.entries.last().is_none_or(|last| {
            assert!(last.position < position);
            assert!(last.first_delta < first_delta);
            position - last.position >= interval_bytes
        });
        if due {
            self.end_interval();
            if self.entries.len() >= ENTRIES_MAX {
                self.thin(interval_bytes);
            }
            self.entries.push(Entry { first_delta, last_delta, position });
        }
        let timestamp = header.max_timestamp.0;
        if self.max.map_or(Timestamp::NONE.0, |max| max.timestamp) < timestamp {
            self.max = Some(TimeEntry { timestamp, offset_delta: last_delta });
        }
    }

    fn end_interval(&mut self) {
        let Some(max) = self.max else { return };
        if self.times.last().is_none_or(|last| last.timestamp < max.timestamp) {
            self.times.push(max);
        }
    }

    /// Drops older entries until there is room for many new ones.
    fn thin(&mut self, interval_bytes: u32) {
        self.coarse_bytes = self.coarse_bytes.max(interval_bytes.saturating_mul(2)).max(1);
        loop {
            let old = self.entries.len() - FINE_ENTRIES;
            let coarse_bytes = self.coarse_bytes;
            let mut kept: Vec<Entry> = Vec::with_capacity(ENTRIES_MAX);
            for (at, entry) in self.entries.iter().enumerate() {
                if at >= old || kept.last().is_none_or(|last| entry.position - last.position >= coarse_bytes) {
                    kept.push(*entry);
                }
            }
            if kept.len() <= ENTRIES_MAX / 4 * 3 {
                self.entries = kept;
                break;
            }
            self.coarse_bytes = self.coarse_bytes.saturating_mul(2);
        }
        // Of the times in one interval only the last says where the maximum stood at its end.
        let interval_of =
            |time: &TimeEntry| self.entries.partition_point(|entry| entry.first_delta <= time.offset_delta);
        let mut kept: Vec<TimeEntry> = Vec::new();
        for time in &self.times {
            if kept.last().is_some_and(|last| interval_of(last) == interval_of(time)) {
                kept.pop();
            }
            kept.push(*time);
        }
        self.times = kept;
    }

    /// The last entry at or before `offset`; the first if there is none.
    pub(crate) fn find(&self, offset: Offset) -> Option<usize> {
        let after = self.entries.partition_point(|entry| self.offset(entry) <= offset);
        (!self.entries.is_empty()).then(|| after.saturating_sub(1))
    }

    /// The last entry at or before `position`.
    pub(crate) fn find_position(&self, position: u64) -> Option<usize> {
        self.entries.partition_point(|entry| u64::from(entry.position) <= position).checked_sub(1)
    }

    /// The first place known behind `position`.
    pub(crate) fn after(&self, position: u64) -> Option<Place> {
        let at = self.entries.partition_point(|entry| u64::from(entry.position) <= position);
        (at < self.entries.len()).then(|| self.place(at))
    }

    /// The first entry from `at` on whose interval may hold a record at or after `timestamp`.
    pub(crate) fn find_time(&self, at: usize, timestamp: Timestamp) -> Option<usize> {
        let reached = self.times.partition_point(|time| time.timestamp < timestamp.0);
        let reached = self.times.get(reached).copied().or(self.max).filter(|time| timestamp.0 <= time.timestamp)?;
        let interval = self.find(self.base.plus(u64::from(reached.offset_delta)))?;
        // Where the maximum was reached before `at`, every later interval may hold one.
        let interval = interval.max(at);
        (interval < self.entries.len()).then_some(interval)
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
        self.max.map_or(Timestamp::NONE, |max| Timestamp(max.timestamp))
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// All times, the one of the last interval too.
    pub(crate) fn times(&self) -> impl Iterator<Item = TimeEntry> {
        let last = self.max.filter(|max| self.times.last().is_none_or(|time| time.timestamp < max.timestamp));
        self.times.iter().copied().chain(last)
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.entries.capacity() * size_of::<Entry>() + self.times.capacity() * size_of::<TimeEntry>()
    }

    /// Gives back what was taken for growing.
    pub(crate) fn shrink(&mut self) {
        self.entries.shrink_to_fit();
        self.times.shrink_to_fit();
    }

    /// About the first batch's: the largest of the first interval that has one.
    pub(crate) fn first_timestamp(&self) -> Timestamp {
        self.times().next().map_or(Timestamp::NONE, |first| Timestamp(first.timestamp))
    }

    fn offset(&self, entry: &Entry) -> Offset {
        self.base.plus(u64::from(entry.first_delta))
    }
}

/// What an index in memory is bounded by.
pub(crate) const ENTRIES_MAX: usize = 4096;
/// The newest entries, which readers of the tail look for, are never thinned out.
const FINE_ENTRIES: usize = 256;
const _: () = assert!(FINE_ENTRIES < ENTRIES_MAX / 2);
const _: () = assert!(size_of::<Entry>() == 12);

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A batch's header.
    pub(crate) fn header(base_offset: u64, records: u32, max_timestamp: i64) -> Header {
        let mut builder = record::BatchBuilder::new(record::Codec::None);
        for _ in 0..records {
            builder.append(Timestamp(max_timestamp), None, None, &[]);
        }
        let bytes = builder.build();
        Header { base_offset: Offset::new(base_offset), ..Header::peek(&bytes).expect("a batch") }
    }

    fn place(offset: u64, position: u64) -> Place {
        Place { offset: Offset::new(offset), position }
    }

    #[test]
    fn an_entry_stands_for_the_batches_up_to_the_next() {
        let mut index = Index::new(Offset::new(100));
        index.push(&header(100, 1, 5), 0, 4096);
        index.push(&header(101, 1, 9), 1000, 4096);
        index.push(&header(102, 1, 7), 5000, 4096);
        assert_eq!(index.find(Offset::new(101)), Some(0));
        assert_eq!(index.find(Offset::new(102)), Some(1));
        assert_eq!(index.find_time(0, Timestamp(8)), Some(0));
        assert_eq!(index.find_time(1, Timestamp(8)), Some(1), "an earlier interval reached it: it must be looked at");
        assert_eq!(index.find_time(2, Timestamp(8)), None);
        assert_eq!(index.find_time(0, Timestamp(10)), None);
        assert_eq!(index.next_place(0), Some(place(102, 5000)));
        assert_eq!(index.find_position(4999), Some(0));
    }

    #[test]
    fn a_long_segment_costs_no_more_and_its_end_stays_finely_indexed() {
        let mut index = Index::new(Offset::ZERO);
        let batch_bytes = 1500;
        let count = 700_000;
        // Times that rise, fall back and rise again.
        let time = |at: u64| (at / 1000 * 900 + at % 1000) as i64;
        for at in 0..count {
            let like =
                Header { base_offset: Offset::new(at * 3), max_timestamp: Timestamp(time(at)), ..header(0, 3, 0) };
            index.push(&like, at * batch_bytes, 4096);
            assert!(index.entries.len() <= ENTRIES_MAX);
        }
        assert!(index.memory_bytes() < 200 * 1024, "{} bytes", index.memory_bytes());
        let end = count * batch_bytes;
        let gap = |at: usize| index.next_place(at).map_or(end, |next| next.position) - index.place(at).position;
        let last = index.entries.len() - 1;
        assert!((last - 200..last).all(|at| gap(at) <= 4096 + batch_bytes));
        assert!((0..last).all(|at| gap(at) <= 1 << 20), "{}", (0..last).map(gap).max().unwrap_or(0));
        // The first batch at or after a time lies in the interval that is found.
        for wanted in (0..time(count - 1)).step_by(7919) {
            let first = (0..count).find(|at| time(*at) >= wanted).expect("there is one");
            let found = index.find_time(0, Timestamp(wanted)).expect("there is one");
            assert!(index.place(found).position <= first * batch_bytes);
            assert!(index.next_place(found).is_none_or(|next| first * batch_bytes < next.position));
        }
    }
}
