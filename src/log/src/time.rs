//! Lookups by time: the first record at or after a time, and the record with the largest time.
//! Goes by the largest timestamps of segments, of index intervals, and of batches, and reads the records of those
//! batches only that may hold the one. Right for records out of time order too: an interval that the index names holds
//! the first batch late enough, because before it the largest timestamp had not risen so far.

use effect::Effects;
use model::{Offset, Timestamp};
use record::{BatchView, HEADER_BYTES, Header, RecordError};

use crate::cold::{Cold, Task, WINDOW_BYTES};
use crate::index::Place;
use crate::partition::Partition;
use crate::read::limit_place;
use crate::{Log, LogRef, ReadError, TimeLookup};

/// What a look at one segment says.
enum Looked {
    Found(TimeLookup),
    NotHere,
    Needs(Task),
    NeedsIndex,
    Bad(Place),
    Corrupt,
}

/// What is looked for.
#[derive(Clone, Copy)]
struct Wanted {
    time: Timestamp,
    from: Offset,
    limit: Offset,
}

impl Log {
    /// The first record at or after a time, among those before `up_to`.
    pub fn offset_for_time(
        &mut self,
        log: LogRef,
        at_or_after: Timestamp,
        up_to: Offset,
        out: &mut Effects,
    ) -> Result<TimeLookup, ReadError> {
        self.search(log, at_or_after, Offset::ZERO, up_to, out)
    }

    /// The first of the records with the largest timestamp, among those before `up_to`.
    pub fn offset_of_max_timestamp(
        &mut self,
        log: LogRef,
        up_to: Offset,
        out: &mut Effects,
    ) -> Result<TimeLookup, ReadError> {
        self.limit(log, up_to)?;
        let (timestamp, offset) = self.known(log).durable_max;
        if timestamp == Timestamp::NONE {
            return Ok(TimeLookup::Nothing);
        }
        let found = self.search(log, timestamp, offset, up_to, out)?;
        if found != TimeLookup::Nothing {
            return Ok(found);
        }
        // Retention or compaction took it, or it lies beyond.
        let Some(largest) = self.largest_left(log, out)? else { return Ok(TimeLookup::Pending) };
        if largest.0 == timestamp || largest.0 == Timestamp::NONE {
            return Ok(TimeLookup::Nothing);
        }
        self.known(log).durable_max = largest;
        self.search(log, largest.0, largest.1, up_to, out)
    }

    /// The largest timestamp of all segments, and the base of the first segment that has it; `None` if an index
    /// must be built first.
    fn largest_left(&mut self, log: LogRef, out: &mut Effects) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let mut largest = (Timestamp::NONE, Offset::ZERO);
        for at in 0..self.known(log).segments.len() {
            let segment = &self.known(log).segments[at];
            let Some(max) = segment.known_max_timestamp() else {
                self.build_index(log, at, out)?;
                return Ok(None);
            };
            if max > largest.0 {
                largest = (max, segment.base);
            }
        }
        Ok(Some(largest))
    }

    fn search(
        &mut self,
        log: LogRef,
        time: Timestamp,
        from: Offset,
        up_to: Offset,
        out: &mut Effects,
    ) -> Result<TimeLookup, ReadError> {
        let limit = self.limit(log, up_to)?;
        let partition = self.known(log);
        let from = from.max(partition.start());
        let first = partition.find(from).unwrap_or(0);
        for at in first..partition.segments.len() {
            self.use_index(log, at);
            let base = self.known(log).segments[at].base;
            match self.known(log).look_for_time(at, Wanted { time, from, limit }) {
                Looked::Found(found) => return Ok(found),
                Looked::NotHere => {}
                Looked::NeedsIndex => {
                    self.build_index(log, at, out)?;
                    return Ok(TimeLookup::Pending);
                }
                Looked::Needs(task) => {
                    self.start_cold(log, task, out)?;
                    return Ok(TimeLookup::Pending);
                }
                Looked::Bad(place) => {
                    self.damage_found(log, base, place);
                    return Err(ReadError::Corrupt);
                }
                Looked::Corrupt => return Err(ReadError::Corrupt),
            }
        }
        Ok(TimeLookup::Nothing)
    }
}

impl Partition {
    fn look_for_time(&mut self, at: usize, wanted: Wanted) -> Looked {
        let segment = &self.segments[at];
        if wanted.limit <= segment.base || segment.known_max_timestamp().is_some_and(|max| max < wanted.time) {
            return Looked::NotHere;
        }
        let Some(index) = segment.index.as_ref().filter(|index| index.is_whole()) else { return Looked::NeedsIndex };
        let end = limit_place(segment, index, wanted.limit).unwrap_or_else(|before| before);
        let mut next = index.find(wanted.from).unwrap_or(0);
        while let Some(entry) = self.segments[at].index.as_ref().and_then(|index| index.find_time(next, wanted.time)) {
            let index = self.segments[at].index.as_ref().expect("it was there a moment ago");
            let from = index.place(entry);
            let to = index.next_place(entry).map_or(end.position, |next| next.position.min(end.position));
            if to <= from.position {
                break;
            }
            match self.look_in_interval(at, from, to, wanted) {
                Looked::NotHere => next = entry + 1,
                looked => return looked,
            }
        }
        Looked::NotHere
    }

    /// Walks over the batches between two places of an index.
    fn look_in_interval(&mut self, at: usize, from: Place, to: u64, wanted: Wanted) -> Looked {
        let segment = &self.segments[at];
        // What is not durable yet may be zeros in the file.
        let (base, end) = (segment.base, segment.durable.position);
        let mut place = self.cold.as_ref().map_or(from, |cold| cold.searched(base, wanted.time, from));
        while place.position < to {
            let segment = &self.segments[at];
            if segment.damages.at_position(place.position).is_some() {
                return Looked::Corrupt;
            }
            let Some(head) = self.bytes(at, place.position, HEADER_BYTES as u64) else {
                return self.needs(base, wanted.time, from, place, WINDOW_BYTES.min(end - place.position));
            };
            let fits = |header: &Header| {
                place.offset <= header.base_offset && header.size_bytes as u64 <= end - place.position
            };
            let Some(header) = Header::peek(&head).ok().filter(fits) else { return Looked::Bad(place) };
            let size = header.size_bytes as u64;
            if wanted.time <= header.max_timestamp && wanted.from < header.next_offset() {
                let Some(batch) = self.bytes(at, place.position, size) else {
                    return self.needs(base, wanted.time, from, place, size);
                };
                match first_record(&batch, wanted) {
                    Ok(Some(found)) => return Looked::Found(found),
                    Ok(None) => {}
                    Err(_) => return Looked::Bad(place),
                }
            }
            place = Place { offset: header.next_offset(), position: place.position + size };
        }
        Looked::NotHere
    }

    /// A read, and where the lookup goes on after it.
    fn needs(&mut self, base: Offset, time: Timestamp, entry: Place, place: Place, bytes: u64) -> Looked {
        self.cold.get_or_insert_default().remember_search(base, time, entry, place);
        Looked::Needs(Task::Window { base, from: place.position, to: place.position + bytes })
    }

    /// The bytes of a range that are in memory, or were read a moment ago.
    fn bytes(&self, at: usize, position: u64, len: u64) -> Option<Vec<u8>> {
        let segment = &self.segments[at];
        if self.in_memory(at, position) {
            let parts = segment.lend(position, position + len);
            return Some(parts.iter().flat_map(|part| part.iter().copied()).collect());
        }
        let window = self.cold.as_deref().and_then(|cold: &Cold| cold.window.as_ref())?;
        let skip = position.checked_sub(window.start).filter(|_| window.base == segment.base)?;
        let skip = usize::try_from(skip).ok()?;
        let len = usize::try_from(len).ok()?;
        window.buf.get(skip..)?.get(..len).map(<[u8]>::to_vec)
    }
}

/// The first record of a batch that is wanted.
fn first_record(batch: &[u8], wanted: Wanted) -> Result<Option<TimeLookup>, RecordError> {
    let leader_epoch = BatchView::first(batch)?.header().partition_leader_epoch.unwrap_or_default();
    // The log may begin in the middle of this batch.
    let first = record::first_at_or_after_from(batch, wanted.time, wanted.from)?;
    Ok(first.map(|first| TimeLookup::Found { offset: first.offset, timestamp: first.timestamp, leader_epoch }))
}
