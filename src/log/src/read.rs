//! Reading: the batch that contains an offset and those after it, from memory where they are, else as a file's range.
//! Only whole batches, only below the durable end. A range of a file never reaches into a block that may be written
//! again: that one is in memory.

use effect::Effects;
use model::Offset;

use crate::files::Mode;
use crate::index::{Index, Place};
use crate::segment::Segment;
use crate::{Batches, Lease, Log, LogRef, Piece, Read, ReadError, ReadFrom};

impl Log {
    /// Reads whole batches. An offset at the end (or above `up_to`) answers no pieces. What is known to be bad is never
    /// among them: a read that comes to it ends there, one that begins in it is refused.
    pub fn read(&mut self, log: LogRef, from: ReadFrom, out: &mut Effects) -> Result<Read, ReadError> {
        let limit = self.limit(log, from.up_to)?;
        let partition = self.known(log);
        if from.offset < partition.start() || partition.end() < from.offset {
            return Err(ReadError::OutOfRange);
        }
        let mut from = from;
        while from.offset < limit {
            let partition = self.known(log);
            let at = partition.find(from.offset).expect("the start is the first segment's base");
            let segment = &partition.segments[at];
            if segment.is_hollow() && segment.end.offset < limit {
                from.offset = segment.end.offset;
                continue;
            }
            if let Some(read) = self.read_segment(log, at, limit, &from, out)? {
                return Ok(read);
            }
            // Compaction left nothing from the offset to the segment's end.
            from.offset = self.known(log).segments[at].end.offset;
        }
        Ok(Read::Ready(Batches { pieces: Vec::new(), bytes: 0, next_offset: from.offset }))
    }

    /// `None`: the segment holds nothing at or behind the offset.
    fn read_segment(
        &mut self,
        log: LogRef,
        at: usize,
        limit: Offset,
        from: &ReadFrom,
        out: &mut Effects,
    ) -> Result<Option<Read>, ReadError> {
        self.use_index(log, at);
        let partition = self.known(log);
        let segment = &partition.segments[at];
        if segment.damages.at(from.offset).is_some() {
            return Err(ReadError::Corrupt);
        }
        let Some(index) = segment.index.as_ref().filter(|index| index.covers(from.offset)) else {
            self.build_index(log, at, out)?;
            return Ok(Some(Read::Pending));
        };
        let base = segment.base;
        let found = |offset| partition.cold.as_ref().and_then(|cold| cold.located(base, offset));
        let start = found(from.offset).map_or_else(|| locate(segment, index, from.offset), Ok);
        let end = match start {
            // Imprecise, but it lets the read go on.
            Ok(start) => match limit_place(segment, index, limit) {
                Err(entry) if entry.position <= start.position => found(limit).ok_or((entry, limit)),
                Ok(place) | Err(place) => Ok(place),
            },
            Err(entry) => Err((entry, from.offset)),
        };
        let (start, end) = match (start, end) {
            (Ok(start), Ok(limit)) => {
                let bound = start.position.saturating_add(from.max_bytes as u64);
                let ended = || partition.cold.as_ref().and_then(|cold| cold.ended(base, start, bound));
                match end_of(segment, index, start, limit, from).or_else(ended) {
                    Some(end) => (start, end),
                    None => {
                        self.end_cold(log, base, start, bound, out)?;
                        return Ok(Some(Read::Pending));
                    }
                }
            }
            (_, Err((entry, offset))) => {
                self.locate_cold(log, base, entry, offset, out)?;
                return Ok(Some(Read::Pending));
            }
            (Err(_), Ok(_)) => unreachable!("the end was looked for behind a start"),
        };
        if segment.damages.next_at(from.offset).is_some_and(|damage| damage.from.position <= start.position) {
            // In the gap before a bad batch: what comes next is not there.
            return Err(ReadError::Corrupt);
        }
        if start.position == segment.end.position && at + 1 < partition.segments.len() {
            return Ok(None);
        }
        let end = match segment.damages.after(start.position) {
            Some(damage) if damage.from.position < end.position => damage.from,
            _ => end,
        };
        assert!(start.position <= end.position);
        // Compaction may have left a gap where the limit lies.
        let end = Place { offset: end.offset.min(limit), ..end };
        self.pieces(log, at, start, end, out).map(Some)
    }

    /// Up to where a reader may see.
    pub(crate) fn limit(&self, log: LogRef, up_to: Offset) -> Result<Offset, ReadError> {
        let partition = self.partition(log).ok_or(ReadError::Gone)?;
        partition.readable()?;
        if self.is_offline(partition) {
            return Err(ReadError::Offline);
        }
        Ok(up_to.min(partition.durable_end))
    }

    fn pieces(
        &mut self,
        log: LogRef,
        at: usize,
        start: Place,
        end: Place,
        out: &mut Effects,
    ) -> Result<Read, ReadError> {
        let segment = &self.known(log).segments[at];
        let base = segment.base;
        let memory_start = segment.memory_start().clamp(start.position, end.position);
        let mut pieces = Vec::new();
        if start.position < memory_start {
            let Some((handle, file)) = self.acquire(log, base, Mode::Splice, out) else {
                let starved = self.known(log).starved;
                return if starved { Err(ReadError::Busy) } else { Ok(Read::Pending) };
            };
            let lease = Lease { slot: handle.slot, generation: handle.generation };
            let len = memory_start - start.position;
            pieces.push(Piece::File { file, offset: start.position, len, lease });
        }
        if memory_start < end.position {
            let segment = &self.known(log).segments[at];
            pieces.extend(segment.lend(memory_start, end.position).into_iter().map(Piece::Memory));
        }
        Ok(Read::Ready(Batches { pieces, bytes: end.position - start.position, next_offset: end.offset }))
    }
}

/// Where the batch that contains `offset` begins; or the entry before it, if its header is not in memory.
fn locate(segment: &Segment, index: &Index, offset: Offset) -> Result<Place, Place> {
    let Some(entry) = index.find(offset).map(|at| index.place(at)) else { return Ok(segment.end) };
    // Later only where compaction left a gap at the segment's beginning.
    if offset <= entry.offset {
        return Ok(entry);
    }
    if entry.position < segment.memory_start() {
        return Err(entry);
    }
    Ok(segment.walk(entry, segment.end.position, |header, _| header.next_offset() <= offset))
}

/// Where the batches that end at or before the offset `limit` end; or the entry before, if that is not in memory.
pub(crate) fn limit_place(segment: &Segment, index: &Index, limit: Offset) -> Result<Place, Place> {
    if segment.durable.offset <= limit {
        return Ok(segment.durable);
    }
    let Some(entry) = index.find(limit).map(|at| index.place(at)) else { return Ok(segment.durable) };
    if limit <= entry.offset {
        return Ok(entry);
    }
    if entry.position < segment.memory_start() {
        return Err(entry);
    }
    Ok(segment.walk(entry, segment.durable.position, |header, _| header.next_offset() <= limit))
}

/// Where a read that begins at `start` ends; `None` if the headers behind it must be read to say.
fn end_of(segment: &Segment, index: &Index, start: Place, limit: Place, from: &ReadFrom) -> Option<Place> {
    let bound = start.position.saturating_add(from.max_bytes as u64);
    if limit.position <= start.position {
        return Some(start);
    }
    if limit.position <= bound {
        return Some(limit);
    }
    let entry = index.find_position(bound).map(|at| index.place(at)).filter(|entry| start.position < entry.position);
    let near = entry.unwrap_or(start);
    if segment.memory_start() <= near.position {
        let end = segment.walk(near, limit.position, |_, end| end <= bound);
        if start.position < end.position || !from.min_one_batch {
            return Some(end);
        }
        let mut first = true;
        return Some(segment.walk(start, limit.position, |_, _| std::mem::take(&mut first)));
    }
    if start.position < near.position {
        return Some(near);
    }
    if !from.min_one_batch {
        return Some(start);
    }
    // In the file, and the next known place lies beyond the bound: a few batches more than asked for cost less than a
    // look at them.
    let next = index.after(start.position).filter(|next| next.position <= limit.position).unwrap_or(limit);
    (next.position - bound <= OVERRUN_BYTES_MAX).then_some(next)
}

/// What an answer may hold beyond what was asked for, rather than read where its batches end.
const OVERRUN_BYTES_MAX: u64 = 16 * 1024;
