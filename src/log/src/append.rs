//! Appending: a batch is judged, copied once into the tail, given its offset, and waits there for the tick's frame.

use model::{Offset, Timestamp};
use record::{HEADER_BYTES, Header, patch};

use crate::index::Place;
use crate::partition::{Partition, State};
use crate::producers::Verdict;
use crate::segment::{PendingBatch, Segment};
use crate::{Append, AppendError, Appended, Log, LogRef};

impl Log {
    /// Appends one validated batch in memory. It is durable once [`crate::Event::Durable`] says so.
    pub fn append(&mut self, log: LogRef, wall: Timestamp, append: Append<'_>) -> Result<Appended, AppendError> {
        let partition = self.appendable(log)?;
        let header = Header::peek(append.batch).expect("only validated batches are appended");
        assert!(header.size_bytes == append.batch.len());
        if header.size_bytes as u64 > u64::from(partition.settings.segment_bytes) {
            return Err(AppendError::TooLarge);
        }
        if let Verdict::Duplicate(batch) = partition.knowledge.producers.judge(&header)? {
            return Ok(Appended {
                base_offset: batch.base_offset,
                last_offset: batch.last_offset,
                log_append_time: append.log_append_time.map(|_| batch.timestamp),
                duplicate: true,
            });
        }
        let time = append.log_append_time.unwrap_or(append.max_timestamp);
        if let Err(error) = self.prepare(log, &header, time, wall) {
            self.known(log).knowledge.producers.refused(&header, wall);
            return Err(error);
        }
        Ok(self.append_now(log, wall, append))
    }

    /// Sees to it that there is room for a batch; an error passes.
    fn prepare(&mut self, log: LogRef, header: &Header, time: Timestamp, wall: Timestamp) -> Result<(), AppendError> {
        let partition = self.known(log);
        let pending_bytes = partition.pending_bytes();
        if pending_bytes + header.size_bytes as u64 > PENDING_BYTES_MAX && pending_bytes > 0 {
            return Err(AppendError::Busy);
        }
        let (root, goes_on) = (partition.root, partition.settings.goes_on_when_full);
        let (must_roll, is_old) = (must_roll(partition, header), partition.is_old(time, wall));
        if !self.may_append(root, header.size_bytes as u64) && !goes_on {
            return Err(AppendError::NoSpace);
        }
        if must_roll || is_old {
            self.roll_segment(log);
        }
        if self.make_room(log, header.size_bytes) {
            return Ok(());
        }
        self.press_memory(root);
        Err(AppendError::Busy)
    }

    /// Begins a new segment, so that the ones before it can be dropped. Nothing happens to an empty one.
    pub fn roll(&mut self, log: LogRef) -> Result<(), AppendError> {
        let partition = self.appendable(log)?;
        if partition.segments.last().is_some_and(|active| active.end.position > 0) {
            self.roll_segment(log);
            self.mark_dirty(log);
        }
        Ok(())
    }

    pub(crate) fn appendable(&self, log: LogRef) -> Result<&Partition, AppendError> {
        let partition = self.partition(log).ok_or(AppendError::Gone)?;
        match partition.state {
            State::Open if self.is_offline(partition) => Err(AppendError::Offline),
            State::Open => Ok(partition),
            State::Removing => Err(AppendError::Gone),
            State::Failed => Err(AppendError::Offline),
            State::Recovering(_) | State::Closing | State::Closed => Err(AppendError::NotOpen),
        }
    }

    /// There is room.
    fn append_now(&mut self, log: LogRef, wall: Timestamp, append: Append<'_>) -> Appended {
        let mut scratch = std::mem::take(&mut self.scratch);
        let producers_max = self.config.producers_max;
        let partition = self.known(log);
        let base_offset = partition.end();
        let interval_bytes = partition.settings.index_interval_bytes;
        let active = partition.segments.last_mut().expect("an open log has a segment");
        let header = copy_in(active, &append, base_offset, &mut scratch);
        let place = Place { offset: base_offset, position: active.end.position };
        active.end = Place { offset: header.next_offset(), position: place.position + header.size_bytes as u64 };
        active.pending.push_back(PendingBatch { end: active.end, base_offset, max_timestamp: header.max_timestamp });
        active.note_time(header.max_timestamp, wall);
        let index = active.index.as_mut().expect("the active segment has its index");
        index.push(&header, place.position, interval_bytes);
        partition.knowledge.absorb(&header, Some(wall), producers_max);
        partition.trimmed = false;
        self.scratch = scratch;
        let root = self.known(log).root;
        self.use_room(root, header.size_bytes as u64);
        self.touch(log);
        self.mark_dirty(log);
        Appended {
            base_offset,
            last_offset: header.last_offset(),
            log_append_time: append.log_append_time,
            duplicate: false,
        }
    }

    fn roll_segment(&mut self, log: LogRef) {
        let partition = self.known(log);
        let base = partition.end();
        let active = partition.segments.last_mut().expect("an open log has a segment");
        assert!(active.end.position > 0);
        let mut returned = 0;
        while active.chunks.back().is_some_and(|chunk| chunk.chunk.is_empty()) {
            returned += active.chunks.pop_back().map_or(0, |chunk| chunk.chunk.capacity());
        }
        partition.segments.push(Segment::new(base));
        partition.prepare = false;
        self.cache_bytes -= returned;
    }
}

/// Copies the batch behind the active segment's last one, with its place in the log set.
fn copy_in(active: &mut Segment, append: &Append<'_>, base_offset: Offset, scratch: &mut Vec<u8>) -> Header {
    let stated = Header::peek(append.batch).expect("only validated batches are appended");
    if append.log_append_time.is_none() && stated.max_timestamp == append.max_timestamp {
        // Only the header changes, and nothing that the checksum covers.
        let (head, records) = append.batch.split_first_chunk::<HEADER_BYTES>().expect("it has a header");
        let mut head = *head;
        patch::assign(&mut head, base_offset, append.leader_epoch);
        active.copy_in(&head);
        active.copy_in(records);
        return Header::peek(&head).expect("it was a header before");
    }
    scratch.clear();
    scratch.extend_from_slice(append.batch);
    patch::assign(scratch, base_offset, append.leader_epoch);
    match append.log_append_time {
        Some(time) => patch::set_log_append_time(scratch, time),
        None => patch::set_max_timestamp(scratch, append.max_timestamp),
    }
    active.copy_in(scratch);
    let header = Header::peek(scratch).expect("it was a header before");
    if scratch.capacity() > SCRATCH_BYTES_MAX {
        *scratch = Vec::new();
    }
    header
}

fn must_roll(partition: &Partition, header: &Header) -> bool {
    let Some(active) = partition.segments.last() else { return false };
    let size = active.end.position + header.size_bytes as u64;
    let delta = active.end.offset.since(active.base) + u64::from(header.last_offset_delta);
    active.end.position > 0 && (size > u64::from(partition.settings.segment_bytes) || delta > u64::from(u32::MAX))
}

/// More than this waiting for one log's disk is backpressure.
const PENDING_BYTES_MAX: u64 = 32 * 1024 * 1024;
const SCRATCH_BYTES_MAX: usize = 1 << 20;
