//! Reads that a read or a lookup needs before it can answer: an old segment's index, a batch's exact place, the batches
//! of an interval. One at a time for each log, within a budget for the shard.
//! Invariant: what came from a file is used only through lengths and offsets that were checked against the segment.

use std::collections::VecDeque;

use effect::{BLOCK_BYTES, Buf, BufMut, Done, Effects, Fault, Op};
use model::Offset;
use record::Header;

use crate::files::{HandleId, Mode};
use crate::index::{INTERVAL_BYTES, Place};
use crate::job::Work;
use crate::recovery::{Check, Scan, Scanned};
use crate::segment::BLOCK;
use crate::{Event, Log, LogRef, ReadError};

#[derive(Debug, Default)]
pub(crate) struct Cold {
    /// What the read in flight is for.
    task: Option<Task>,
    /// An index half built.
    scan: Option<Scan>,
    /// The batches that were looked for last.
    located: VecDeque<Located>,
    /// What was read last for a lookup by time.
    pub(crate) window: Option<Window>,
    /// The read in flight is of a file that was replaced meanwhile.
    stale: bool,
}

/// Where a batch is whose header is not in memory.
#[derive(Clone, Copy, Debug)]
struct Located {
    base: Offset,
    place: Place,
    next_offset: Offset,
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
    /// The index of the segment that begins at `base`.
    Index { base: Offset, start: u64, bytes: u64 },
    /// The place of the batch with `offset`, which lies behind the index entry `from`.
    Locate { base: Offset, from: Place, offset: Offset },
    /// The batches from one position to another.
    Interval { base: Offset, from: u64, to: u64 },
}

impl Task {
    fn base(&self) -> Offset {
        match self {
            Task::Index { base, .. } | Task::Locate { base, .. } | Task::Interval { base, .. } => *base,
        }
    }

    /// Whole blocks, before the end of the file is looked at.
    fn range(&self) -> (u64, u64) {
        let (from, to) = match self {
            Task::Index { start, bytes, .. } => (*start, start + bytes),
            Task::Locate { from, .. } => (from.position, from.position + INTERVAL_BYTES + record::HEADER_BYTES as u64),
            Task::Interval { from, to, .. } => (*from, *to),
        };
        (from / BLOCK * BLOCK, to.next_multiple_of(BLOCK))
    }
}

impl Log {
    /// Begins to build the index of a segment that nobody has read yet, or goes on with it.
    pub(crate) fn build_index(&mut self, log: LogRef, at: usize, out: &mut Effects) -> Result<(), ReadError> {
        let partition = self.known(log);
        let segment = &partition.segments[at];
        let (base, len) = (segment.base, segment.end.position);
        let cold = partition.cold.get_or_insert_default();
        if cold.scan.as_ref().is_none_or(|scan| scan.base != base) {
            cold.scan = Some(Scan::new(base, len, Check::Headers, None, true));
        }
        let position = cold.scan.as_ref().map_or(0, |scan| scan.next.position);
        let start = position / BLOCK * BLOCK;
        self.start_cold(log, Task::Index { base, start, bytes: INDEX_WINDOW_BYTES.min(len - start) }, out)
    }

    /// Begins a read, unless one is in flight.
    pub(crate) fn start_cold(&mut self, log: LogRef, task: Task, out: &mut Effects) -> Result<(), ReadError> {
        let cold = self.known(log).cold.get_or_insert_default();
        if cold.task.is_some() {
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
        self.known(log).cold.get_or_insert_default().task = Some(task);
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
        if std::mem::take(&mut self.known(log).cold.get_or_insert_default().stale) {
            self.events.push(Event::Ready { log });
            return self.look(log, out);
        }
        match done {
            Ok(Done::Filled(buf)) => match task {
                Task::Index { .. } => return self.index_read(log, task, &buf, out),
                Task::Locate { base, from, offset } => {
                    let (start, _) = task.range();
                    let partition = self.known(log);
                    let located = find_batch(from, offset, start, buf.as_slice());
                    if let (Some(segment), None) = (partition.segment_mut(base), located) {
                        segment.corrupt = true;
                    }
                    let located = located.map(|(place, next_offset)| Located { base, place, next_offset });
                    let cold = partition.cold.get_or_insert_default();
                    cold.located.truncate(LOCATED_MAX - 1);
                    located.into_iter().for_each(|located| cold.located.push_front(located));
                }
                Task::Interval { base, .. } => {
                    let (start, _) = task.range();
                    let window = Window { base, start, buf: buf.freeze() };
                    self.known(log).cold.get_or_insert_default().window = Some(window);
                }
            },
            Ok(other) => panic!("a read was answered by {other:?}"),
            Err(fault) => return self.read_fault(log, fault, out),
        }
        self.events.push(Event::Ready { log });
        self.look(log, out);
    }

    fn index_read(&mut self, log: LogRef, task: Task, buf: &BufMut, out: &mut Effects) {
        let (start, _) = task.range();
        let base = task.base();
        let partition = self.known(log);
        let at = partition.segments.binary_search_by_key(&base, |segment| segment.base);
        let cold = partition.cold.as_mut().expect("a cold read is in flight");
        let (Ok(at), Some(scan)) = (at, cold.scan.as_mut()) else { return };
        match scan.feed(start, buf.as_slice(), |_| {}) {
            Scanned::More { .. } if buf.filled() == buf.capacity() => {
                let found = self.build_index(log, at, out);
                if found.is_err() || !self.has_task(log) {
                    self.events.push(Event::Ready { log });
                }
                return;
            }
            Scanned::More { .. } | Scanned::End | Scanned::WrongFirst(_) => {}
        }
        let scan = cold.scan.take().expect("a scan is under way");
        let segment = &mut partition.segments[at];
        if scan.next == segment.end {
            segment.index = Some(scan.index);
        } else {
            segment.corrupt = true;
            let (dir, end) = (partition.dir.clone(), scan.next);
            tracing::error!(dir = %dir.display(), segment = %base, position = end.position, "segment is corrupt");
        }
        self.events.push(Event::Ready { log });
        self.look(log, out);
    }

    fn has_task(&self, log: LogRef) -> bool {
        self.partition(log).and_then(|partition| partition.cold.as_ref()).is_some_and(|cold| cold.task.is_some())
    }
}

impl Cold {
    pub(crate) fn is_reading(&self) -> bool {
        self.task.is_some()
    }

    /// The files that were read are replaced.
    pub(crate) fn forget(&mut self) {
        self.scan = None;
        self.located.clear();
        self.window = None;
        self.stale = self.task.is_some();
    }

    /// Where the batch with `offset` begins in the segment at `base`, if that was looked for a moment ago.
    pub(crate) fn located(&self, base: Offset, offset: Offset) -> Option<Place> {
        let holds =
            |located: &&Located| located.base == base && located.place.offset <= offset && offset < located.next_offset;
        self.located.iter().find(holds).map(|located| located.place)
    }
}

/// Finds the batch with `offset` among the headers from `from` on; where it begins, and the offset after it.
fn find_batch(from: Place, offset: Offset, start: u64, bytes: &[u8]) -> Option<(Place, Offset)> {
    let mut place = from;
    while place.offset <= offset {
        let rest = bytes.get(usize::try_from(place.position - start).ok()?..)?;
        // Compaction leaves gaps: an offset in one belongs to the batch behind it.
        let header = Header::peek(rest).ok().filter(|header| header.base_offset >= place.offset)?;
        if offset < header.next_offset() {
            return Some((place, header.next_offset()));
        }
        place = Place { offset: header.next_offset(), position: place.position + header.size_bytes as u64 };
    }
    None
}

/// Places remembered: more than a few readers that begin in the middle of old data at once are rare.
const LOCATED_MAX: usize = 8;
/// Memory for such reads in flight, all logs of a shard together; one larger read alone is let through.
const COLD_BYTES_MAX: usize = 16 << 20;
const INDEX_WINDOW_BYTES: u64 = 256 * 1024;
