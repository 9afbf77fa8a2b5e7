//! Reads that a read or a lookup needs before it can answer: an old segment's index, a batch's exact place, the batches
//! of an interval. One at a time for each log, within a budget for the shard.
//! Invariant: what came from a file is used only through lengths and offsets that were checked against the segment.

use std::collections::VecDeque;

use effect::{BLOCK_BYTES, Buf, BufMut, Done, Effects, Fault, Op};
use model::{Offset, Timestamp};
use record::{HEADER_BYTES, Header};

use crate::damage::{Damage, Damages};
use crate::files::{HandleId, Mode};
use crate::index::{Index, Place};
use crate::index_io::Loading;
use crate::job::Work;
use crate::recovery::{Check, Scan, Scanned};
use crate::segment::BLOCK;
use crate::{Event, Log, LogRef, ReadError};

#[derive(Debug, Default)]
pub(crate) struct Cold {
    /// What the read in flight is for.
    pub(crate) task: Option<Task>,
    /// Up to here its segment's file had its bytes when it began.
    pub(crate) in_file: u64,
    /// An index half built.
    scan: Option<Scan>,
    /// The files of an index that are being read.
    pub(crate) loading: Option<Loading>,
    /// The batches that were looked for last.
    located: VecDeque<Located>,
    /// Where the reads end that were asked for last.
    ends: VecDeque<End>,
    /// How far the lookups by time have come that wait for a read.
    searched: VecDeque<Searched>,
    /// What was read last for a lookup by time.
    pub(crate) window: Option<Window>,
    /// The read in flight is of a file that was replaced meanwhile.
    stale: bool,
}

/// Where a batch is whose header is not in memory.
#[derive(Clone, Copy, Debug)]
struct Located {
    base: Offset,
    /// From here on a reader begins with it; before its own first offset where compaction left a gap.
    from: Offset,
    place: Place,
    next_offset: Offset,
}

/// The batches from a place on that fit into a bound, or the first alone, end here.
#[derive(Clone, Copy, Debug)]
struct End {
    base: Offset,
    start: u64,
    bound: u64,
    place: Place,
}

/// The batches from an index entry to `place` hold nothing at or after `time`.
#[derive(Clone, Copy, Debug)]
struct Searched {
    base: Offset,
    time: Timestamp,
    entry: Place,
    place: Place,
}

/// Bytes of a segment's file.
#[derive(Debug)]
pub(crate) struct Window {
    pub(crate) base: Offset,
    pub(crate) start: u64,
    pub(crate) buf: Buf,
}

/// Why something is read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Task {
    /// The files of the index of the segment that begins at `base`.
    Files { base: Offset },
    /// The segment itself, to build its index.
    Index { base: Offset, start: u64, bytes: u64 },
    /// The place of the batch with `offset`, which lies at or behind `from`.
    Locate { base: Offset, from: Place, offset: Offset, bytes: u64 },
    /// Where the batches end that begin at `start` and fit into `bound`; up to `from` they do.
    End { base: Offset, start: Place, from: Place, bound: u64, bytes: u64 },
    /// The bytes from one position to another.
    Window { base: Offset, from: u64, to: u64 },
}

impl Task {
    pub(crate) fn base(&self) -> Offset {
        match self {
            Task::Files { base } | Task::Index { base, .. } => *base,
            Task::Locate { base, .. } | Task::End { base, .. } | Task::Window { base, .. } => *base,
        }
    }

    /// Whole blocks, before the end of the file is looked at.
    fn range(&self) -> (u64, u64) {
        let (from, to) = match self {
            Task::Files { .. } => (0, 0),
            Task::Index { start, bytes, .. } => (*start, start + bytes),
            Task::Locate { from, bytes, .. } | Task::End { from, bytes, .. } => (from.position, from.position + bytes),
            Task::Window { from, to, .. } => (*from, *to),
        };
        (from / BLOCK * BLOCK, to.next_multiple_of(BLOCK))
    }
}

impl Log {
    /// Begins to get the index of a segment that nobody has read lately, or goes on with it: from its files, or, if
    /// these are lost, by a scan.
    pub(crate) fn build_index(&mut self, log: LogRef, at: usize, out: &mut Effects) -> Result<(), ReadError> {
        let partition = self.known(log);
        let interval_bytes = partition.settings.index_interval_bytes;
        let segment = &partition.segments[at];
        if segment.sealed && !segment.index_lost {
            let base = segment.base;
            return self.load_index(log, base, out);
        }
        // Of the last segment only what lies before what is known.
        let end = segment.index.as_ref().map_or(segment.end, Index::first);
        let base = segment.base;
        let cold = partition.cold.get_or_insert_default();
        if cold.task.is_some() {
            return Ok(());
        }
        if cold.scan.as_ref().is_none_or(|scan| scan.base != base) {
            let scan = Scan::new(base, end.position, Check::Headers, None, true);
            cold.scan = Some(Scan { interval_bytes, ..scan });
        }
        let position = cold.scan.as_ref().map_or(0, |scan| scan.next.position);
        let start = position / BLOCK * BLOCK;
        self.start_cold(log, Task::Index { base, start, bytes: WINDOW_BYTES.min(end.position - start) }, out)
    }

    /// Begins to look for a batch behind a place.
    pub(crate) fn locate_cold(
        &mut self,
        log: LogRef,
        base: Offset,
        from: Place,
        offset: Offset,
        out: &mut Effects,
    ) -> Result<(), ReadError> {
        let partition = self.known(log);
        let Some(segment) = partition.segment_mut(base) else { return Ok(()) };
        let index = segment.index.as_ref();
        let next = index.and_then(|index| index.next_place(index.find_position(from.position)?));
        // With the header of the batch at the next entry, which may be the one.
        let to = next.map_or(segment.end.position, |next| next.position + HEADER_BYTES as u64);
        let bytes = (to - from.position).min(WINDOW_BYTES);
        self.start_cold(log, Task::Locate { base, from, offset, bytes }, out)
    }

    /// Begins to look where a read ends.
    pub(crate) fn end_cold(
        &mut self,
        log: LogRef,
        base: Offset,
        start: Place,
        bound: u64,
        out: &mut Effects,
    ) -> Result<(), ReadError> {
        self.look_for_end(log, base, (start, start), bound, out)
    }

    fn look_for_end(
        &mut self,
        log: LogRef,
        base: Offset,
        (start, from): (Place, Place),
        bound: u64,
        out: &mut Effects,
    ) -> Result<(), ReadError> {
        let Some(segment) = self.known(log).segment_mut(base) else { return Ok(()) };
        let to = bound.saturating_add(HEADER_BYTES as u64).min(segment.end.position);
        let bytes = to.saturating_sub(from.position).clamp(HEADER_BYTES as u64, WINDOW_BYTES);
        self.start_cold(log, Task::End { base, start, from, bound, bytes }, out)
    }

    /// Begins a read, unless one is in flight.
    pub(crate) fn start_cold(&mut self, log: LogRef, task: Task, out: &mut Effects) -> Result<(), ReadError> {
        if self.cold_task(log).is_some() {
            return Ok(());
        }
        let (from, to) = task.range();
        let bytes = usize::try_from(to - from).map_err(|_| ReadError::Busy)?.max(BLOCK_BYTES);
        if self.cold_bytes > 0 && self.cold_bytes + bytes > COLD_BYTES_MAX {
            return Err(ReadError::Busy);
        }
        let Some((handle, file)) = self.acquire(log, task.base(), Mode::Read, out) else {
            return Ok(());
        };
        let Some(mut buf) = self.take_memory(bytes) else {
            self.unpin(handle, out);
            return Err(ReadError::Busy);
        };
        buf.limit(bytes);
        let partition = self.known(log);
        // What is written while the read is under way may not be in it.
        let in_file = partition.segment_mut(task.base()).filter(|segment| !segment.sealed).map(|open| open.destaged);
        let cold = partition.cold.get_or_insert_default();
        cold.task = Some(task);
        cold.in_file = in_file.unwrap_or(u64::MAX);
        self.cold_bytes += bytes;
        self.submit(log, Work::ColdRead { handle, bytes }, Op::Read { file, offset: from, buf }, out);
        Ok(())
    }

    /// A read is over: whoever waits asks again.
    pub(crate) fn cold_read(
        &mut self,
        log: LogRef,
        handle: HandleId,
        bytes: usize,
        done: Result<Done, Fault>,
        out: &mut Effects,
    ) {
        self.unpin(handle, out);
        self.cold_bytes -= bytes;
        let task = self.known(log).cold.as_mut().and_then(|cold| cold.task.take());
        let task = task.expect("a cold read is in flight");
        if self.take_stale(log) {
            self.events.push(Event::Ready { log });
            return self.look(log, out);
        }
        let (start, _) = task.range();
        let buf = match done {
            Ok(Done::Filled(buf)) => match self.with_memory(log, task.base(), start, buf) {
                Some(buf) => buf,
                None => {
                    self.events.push(Event::Ready { log });
                    return self.look(log, out);
                }
            },
            Ok(other) => panic!("a read was answered by {other:?}"),
            Err(fault) => return self.read_fault(log, fault, out),
        };
        let goes_on = match task {
            Task::Files { .. } => unreachable!("read elsewhere"),
            Task::Index { base, .. } => self.index_read(log, base, start, &buf, out),
            Task::Locate { base, from, offset, .. } => self.place_read(log, base, (from, offset), (start, &buf), out),
            Task::End { base, start: first, from, bound, .. } => {
                self.end_read(log, base, (first, from), bound, (start, &buf), out)
            }
            Task::Window { base, to, .. } => {
                // The rest of the last block may have been written meanwhile.
                let len = buf.filled().min(usize::try_from(to - start).unwrap_or(usize::MAX));
                let window = Window { base, start, buf: buf.freeze().slice(0..len) };
                self.known(log).cold.get_or_insert_default().window = Some(window);
                false
            }
        };
        if !goes_on {
            self.events.push(Event::Ready { log });
        }
        self.look(log, out);
    }

    /// Whether there is more to read.
    fn place_read(
        &mut self,
        log: LogRef,
        base: Offset,
        (from, offset): (Place, Offset),
        (start, buf): (u64, &BufMut),
        out: &mut Effects,
    ) -> bool {
        let partition = self.known(log);
        let Some(segment) = partition.segment_mut(base) else { return false };
        match find_batch(from, offset, segment.end, &segment.damages, start, buf.as_slice()) {
            Finding::Batch(place, next_offset) => {
                let located = Located { base, from: offset.min(place.offset), place, next_offset };
                let cold = partition.cold.get_or_insert_default();
                remember(&mut cold.located, located);
                false
            }
            // Only a read that took nothing in would go on for ever.
            Finding::Beyond(place) if from.position < place.position => {
                let begun = self.locate_cold(log, base, place, offset, out);
                begun.is_ok() && self.cold_task(log).is_some()
            }
            Finding::Beyond(place) | Finding::Bad(place) => {
                self.damage_found(log, base, place);
                false
            }
        }
    }

    /// Whether there is more to read.
    fn end_read(
        &mut self,
        log: LogRef,
        base: Offset,
        (first, from): (Place, Place),
        bound: u64,
        (start, buf): (u64, &BufMut),
        out: &mut Effects,
    ) -> bool {
        let partition = self.known(log);
        let Some(segment) = partition.segment_mut(base) else { return false };
        match find_end((first, from), bound, segment.end, &segment.damages, start, buf.as_slice()) {
            Finding::Batch(place, _) => {
                let cold = partition.cold.get_or_insert_default();
                remember(&mut cold.ends, End { base, start: first.position, bound, place });
                false
            }
            Finding::Beyond(place) if from.position < place.position => {
                let begun = self.look_for_end(log, base, (first, place), bound, out);
                begun.is_ok() && self.cold_task(log).is_some()
            }
            Finding::Beyond(place) | Finding::Bad(place) => {
                self.damage_found(log, base, place);
                false
            }
        }
    }

    /// Whether there is more to read.
    fn index_read(&mut self, log: LogRef, base: Offset, start: u64, buf: &BufMut, out: &mut Effects) -> bool {
        let partition = self.known(log);
        let at = partition.segments.binary_search_by_key(&base, |segment| segment.base);
        let cold = partition.cold.as_mut().expect("a cold read is in flight");
        let (Ok(at), Some(scan)) = (at, cold.scan.as_mut().filter(|scan| scan.base == base)) else { return false };
        match scan.feed(start, buf.as_slice(), |_, _| {}) {
            Scanned::More { .. } if buf.filled() == buf.capacity() => {
                let begun = self.build_index(log, at, out);
                return begun.is_ok() && self.cold_task(log).is_some();
            }
            Scanned::More { .. } | Scanned::End | Scanned::WrongFirst(_) => {}
        }
        let scan = cold.scan.take().expect("a scan is under way");
        let segment = &mut partition.segments[at];
        let (sealed, next) = (segment.sealed, scan.next);
        // Of the last segment only what comes before what is known was looked for.
        let end = segment.index.as_ref().map_or(segment.end, Index::first);
        if scan.file_len != end.position {
            // It was closed meanwhile, and what was known of its index is gone: looked for anew.
            return false;
        }
        // Behind the last batch of a compacted segment offsets may be missing.
        let whole = next.position == end.position && next.offset <= end.offset;
        match &mut segment.index {
            Some(index) => index.prepend(scan.index),
            None => segment.index = Some(scan.index),
        }
        segment.index_lost = false;
        if !whole {
            self.damage_found(log, base, next);
        } else if sealed {
            self.metrics.log_index_rebuilds_total.add(1);
            self.write_index(log, base, out);
        }
        if sealed {
            self.keep_index(log, base);
        }
        false
    }

    /// What stands at `place` is no batch: all of it is bad up to the next one that the index knows.
    pub(crate) fn damage_found(&mut self, log: LogRef, base: Offset, place: Place) {
        let partition = self.known(log);
        let Some(segment) = partition.segment_mut(base) else { return };
        let next = segment.index.as_ref().and_then(|index| index.after(place.position));
        let to = next.unwrap_or(segment.end);
        if place.position < to.position {
            self.mark_damage(log, base, Damage { from: place, to });
        }
    }

    /// From now on fetches that reach these batches are refused.
    pub(crate) fn mark_damage(&mut self, log: LogRef, base: Offset, damage: Damage) {
        let partition = self.known(log);
        let path = partition.segment_path(base);
        let Some(segment) = partition.segment_mut(base) else { return };
        if segment.damages.add(damage) {
            let (from, to) = (damage.from, damage.to);
            tracing::error!(
                file = %path.display(), position = from.position, bytes = to.position - from.position,
                offset = %from.offset, next_good_offset = %to.offset,
                "bad batch"
            );
            self.metrics.log_bad_batches_total.add(1);
        }
    }

    /// Whether the read that is over was of a file that was replaced meanwhile.
    pub(crate) fn take_stale(&mut self, log: LogRef) -> bool {
        self.known(log).cold.as_mut().is_some_and(|cold| std::mem::take(&mut cold.stale))
    }

    pub(crate) fn cold_task(&self, log: LogRef) -> Option<Task> {
        self.partition(log)?.cold.as_ref()?.task
    }
}

impl Cold {
    pub(crate) fn is_reading(&self) -> bool {
        self.task.is_some()
    }

    /// The files that were read are replaced. What is in flight goes on, for nothing.
    pub(crate) fn forget(&mut self) {
        self.scan = None;
        self.located.clear();
        self.ends.clear();
        self.searched.clear();
        self.window = None;
        self.stale = self.task.is_some();
    }

    /// Where a reader of `offset` begins in the segment at `base`, if that was looked for a moment ago.
    pub(crate) fn located(&self, base: Offset, offset: Offset) -> Option<Place> {
        let holds = |located: &&Located| located.base == base && located.from <= offset && offset < located.next_offset;
        self.located.iter().find(holds).map(|located| located.place)
    }

    /// Where a read from `start` ends, if that was looked for a moment ago.
    pub(crate) fn ended(&self, base: Offset, start: Place, bound: u64) -> Option<Place> {
        let same = |end: &&End| end.base == base && end.start == start.position && end.bound == bound;
        self.ends.iter().find(same).map(|end| end.place)
    }

    /// From where a lookup goes on that came to `entry` before.
    pub(crate) fn searched(&self, base: Offset, time: Timestamp, entry: Place) -> Place {
        let same = |old: &&Searched| old.base == base && old.time == time && old.entry == entry;
        self.searched.iter().find(same).map_or(entry, |searched| searched.place)
    }

    pub(crate) fn remember_search(&mut self, base: Offset, time: Timestamp, entry: Place, place: Place) {
        self.searched.retain(|old| old.base != base || old.time != time);
        remember(&mut self.searched, Searched { base, time, entry, place });
    }
}

fn remember<T>(list: &mut VecDeque<T>, what: T) {
    list.truncate(REMEMBERED_MAX - 1);
    list.push_front(what);
}

enum Finding {
    /// Where it begins, and the offset after it; at the segment's end if no batch follows.
    Batch(Place, Offset),
    /// It lies beyond these bytes: go on from here.
    Beyond(Place),
    /// There is no batch here.
    Bad(Place),
}

/// Finds the batch with `offset`, or the first one after it, among the headers from `from` on.
fn find_batch(from: Place, offset: Offset, end: Place, damages: &Damages, start: u64, bytes: &[u8]) -> Finding {
    let mut place = from;
    loop {
        if let Some(damage) = damages.at_position(place.position) {
            place = damage.to;
        }
        if place.position >= end.position {
            return Finding::Batch(end, end.offset.max(offset.plus(1)));
        }
        let at = usize::try_from(place.position - start).unwrap_or(usize::MAX);
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) else {
            return Finding::Beyond(place);
        };
        let fits = |header: &Header| {
            place.offset <= header.base_offset
                && header.next_offset() <= end.offset
                && header.size_bytes as u64 <= end.position - place.position
        };
        let Some(header) = Header::peek(rest).ok().filter(fits) else { return Finding::Bad(place) };
        if offset < header.next_offset() {
            return Finding::Batch(Place { offset: header.base_offset, ..place }, header.next_offset());
        }
        place = Place { offset: header.next_offset(), position: place.position + header.size_bytes as u64 };
    }
}

/// Finds where the batches from `first` on end that fit into `bound`, or the first one alone. Up to `from` they do.
fn find_end(
    (first, from): (Place, Place),
    bound: u64,
    end: Place,
    damages: &Damages,
    start: u64,
    bytes: &[u8],
) -> Finding {
    let mut place = from;
    loop {
        let is_first = place.position == first.position;
        if place.position >= end.position || (!is_first && damages.at_position(place.position).is_some()) {
            return Finding::Batch(place, place.offset);
        }
        let at = usize::try_from(place.position - start).unwrap_or(usize::MAX);
        let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= HEADER_BYTES) else {
            return Finding::Beyond(place);
        };
        let fits = |header: &Header| {
            place.offset <= header.base_offset
                && header.next_offset() <= end.offset
                && header.size_bytes as u64 <= end.position - place.position
        };
        let Some(header) = Header::peek(rest).ok().filter(fits) else { return Finding::Bad(place) };
        let next = Place { offset: header.next_offset(), position: place.position + header.size_bytes as u64 };
        if bound < next.position {
            let place = if is_first { next } else { place };
            return Finding::Batch(place, place.offset);
        }
        place = next;
    }
}

/// Places remembered: more than a few readers that begin in the middle of old data at once are rare.
const REMEMBERED_MAX: usize = 8;
/// Memory for such reads in flight, all logs of a shard together; one larger read alone is let through.
const COLD_BYTES_MAX: usize = 16 << 20;
/// What one read takes in.
pub(crate) const WINDOW_BYTES: u64 = 256 * 1024;
