//! Lookups by time: the first record at or after a time, and the record with the largest time.
//! Walks segments and index intervals by their largest timestamps, then the batches of an interval.

use effect::{Buf, Effects};
use model::{Offset, Timestamp};
use record::Header;

use crate::cold::Task;
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
    Corrupt,
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

    /// The largest timestamp that the indexes know of, and the base of the first segment that has it; `None` if an index
    /// must be built first.
    fn largest_left(&mut self, log: LogRef, out: &mut Effects) -> Result<Option<(Timestamp, Offset)>, ReadError> {
        let mut largest = (Timestamp::NONE, Offset::ZERO);
        for at in 0..self.known(log).segments.len() {
            let segment = &self.known(log).segments[at];
            let Some(index) = &segment.index else {
                self.build_index(log, at, out)?;
                return Ok(None);
            };
            if index.max_timestamp() > largest.0 {
                largest = (index.max_timestamp(), segment.base);
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
            match self.known(log).look_for_time(at, time, from, limit) {
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
                Looked::Corrupt => return Err(ReadError::Corrupt),
            }
        }
        Ok(TimeLookup::Nothing)
    }
}

impl Partition {
    fn look_for_time(&self, at: usize, time: Timestamp, least: Offset, limit: Offset) -> Looked {
        let segment = &self.segments[at];
        if limit <= segment.base {
            return Looked::NotHere;
        }
        if segment.corrupt {
            return Looked::Corrupt;
        }
        let Some(index) = &segment.index else { return Looked::NeedsIndex };
        if index.max_timestamp() < time {
            return Looked::NotHere;
        }
        let end = limit_place(segment, index, limit).unwrap_or_else(|before| before);
        let mut next = 0;
        while let Some(entry) = index.find_time(next, time) {
            let from = index.place(entry);
            let to = index.next_place(entry).map_or(end.position, |next| next.position.min(end.position));
            if to <= from.position {
                break;
            }
            let bytes = if self.in_memory(at, from.position) {
                segment.lend(from.position, to)
            } else {
                match self.window(segment.base, from.position, to) {
                    Some(window) => vec![window],
                    None => return Looked::Needs(Task::Interval { base: segment.base, from: from.position, to }),
                }
            };
            match first_at_or_after(&bytes, from, time, least) {
                Ok(None) => next = entry + 1,
                Ok(Some(found)) => return Looked::Found(found),
                Err(()) => return Looked::Corrupt,
            }
        }
        Looked::NotHere
    }

    /// The bytes of a range, if they were read a moment ago.
    fn window(&self, base: Offset, from: u64, to: u64) -> Option<Buf> {
        let window = self.cold.as_ref()?.window.as_ref()?;
        let covered = window.base == base && window.start <= from && to <= window.start + window.buf.len() as u64;
        covered.then(|| window.buf.slice((from - window.start) as usize..(to - window.start) as usize))
    }
}

/// The first record at or after a time whose offset is not below `least`, in consecutive bytes that begin with a batch; a
/// batch may straddle two of them.
fn first_at_or_after(bufs: &[Buf], from: Place, time: Timestamp, least: Offset) -> Result<Option<TimeLookup>, ()> {
    let gathered;
    let mut rest: &[u8] = match bufs {
        [whole] => whole,
        parts => {
            gathered = parts.iter().flat_map(|part| part.iter().copied()).collect::<Vec<u8>>();
            &gathered
        }
    };
    let mut expected = from.offset;
    while !rest.is_empty() {
        let header = Header::peek(rest).map_err(|_| ())?;
        if header.base_offset < expected || rest.len() < header.size_bytes {
            return Err(());
        }
        let (batch, later) = rest.split_at(header.size_bytes);
        if header.max_timestamp >= time
            && least < header.next_offset()
            && let Some(found) = record::first_at_or_after_from(batch, time, least).map_err(|_| ())?
        {
            let leader_epoch = header.partition_leader_epoch.unwrap_or_default();
            let (offset, timestamp) = (found.offset, found.timestamp);
            return Ok(Some(TimeLookup::Found { offset, timestamp, leader_epoch }));
        }
        expected = header.next_offset();
        rest = later;
    }
    Ok(None)
}
