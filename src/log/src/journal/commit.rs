//! Gathering a frame: what every waiting log has appended since the last one, and its synced write.
//! Large appends go to their segment at the same time, and only their last, partial block into the frame. Which of both
//! ways a log takes is decided anew for each frame, by how much waits.

use effect::{Chunk, Effects, File, Op, WriteBuf};
use model::Offset;

use crate::files::{HandleId, Mode};
use crate::index::Place;
use crate::job::{RootWork, Work};
use crate::journal::entry::{Body, ENTRY_HEAD_BYTES};
use crate::journal::frame::{HEAD_BYTES, Head, Kind};
use crate::journal::{FileState, Frame};
use crate::partition::{Direct, State};
use crate::segment::{BLOCK, Segment};
use crate::{Event, Log, LogRef};

/// What a frame brings a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Carried {
    pub(crate) log: LogRef,
    /// The segment.
    pub(crate) base: Offset,
    /// Its durable end, once the frame is (and what goes beside it).
    pub(crate) to: Place,
    pub(crate) is_direct: bool,
}

/// How batches become durable.
enum Way {
    Journal,
    /// In their segment, up to here.
    Direct(Place, HandleId, File),
    /// In their segment, when what is under way there is over.
    Later,
    /// In their segment, with the next frame: this one has no room for the last, partial block.
    NextFrame,
}

/// A frame while it is gathered.
#[derive(Default)]
struct Gathered {
    body: Body,
    carried: Vec<Carried>,
    /// Logs whose records before the offset are gone.
    starts: Vec<(LogRef, Offset)>,
    directs: Vec<(LogRef, Offset, Place, HandleId, File)>,
    /// Logs that this frame is the first to speak of.
    resumed: Vec<LogRef>,
}

impl Log {
    /// Notes that a log has something for the next frame.
    pub(crate) fn await_commit(&mut self, log: LogRef) {
        let partition = self.known(log);
        if partition.waiting || !matches!(partition.state, State::Open | State::Closing) {
            return;
        }
        let has_batches = partition.direct.is_none() && partition.uncommitted().is_some();
        if has_batches {
            partition.waiting = true;
            let root = partition.root;
            self.roots[root].journal.waiting.push_back(log);
        }
    }

    /// Writes the next frame of a directory, if there is something for it and none in flight.
    pub(crate) fn commit(&mut self, root: usize, out: &mut Effects) {
        let journal = &self.roots[root].journal;
        if self.roots[root].offline || !journal.is_ready() {
            return;
        }
        let Some(room) = self.frame_room(root, out) else { return };
        let mut gathered = Gathered::default();
        self.gather_starts(root, room, &mut gathered);
        let waiting = std::mem::take(&mut self.roots[root].journal.waiting);
        let mut left = waiting.into_iter();
        for log in left.by_ref() {
            let Some(partition) = self.partition_mut(log) else { continue };
            partition.waiting = false;
            if !self.gather(log, room, &mut gathered, out) {
                self.await_commit(log);
                break;
            }
        }
        self.roots[root].journal.waiting.extend(left);
        if !gathered.body.is_empty() {
            self.write_frame(root, gathered, out);
        }
    }

    /// Takes in the starts that have moved, as many as there is room for.
    fn gather_starts(&mut self, root: usize, room: usize, gathered: &mut Gathered) {
        while gathered.body.bytes() + 2 * ENTRY_HEAD_BYTES <= room
            && let Some((log, start)) = self.roots[root].journal.starts.pop_front()
        {
            let Some(partition) = self.partition(log) else { continue };
            let at = partition.at;
            self.gather_resume(log, gathered);
            gathered.body.start(at, start);
            gathered.starts.push((log, start));
        }
    }

    /// Takes in what one log has; false if there is no room for more in this frame.
    fn gather(&mut self, log: LogRef, room: usize, gathered: &mut Gathered, out: &mut Effects) -> bool {
        let partition = self.known(log);
        if partition.direct.is_some() || !matches!(partition.state, State::Open | State::Closing) {
            return true;
        }
        let Some(first) = partition.uncommitted() else { return true };
        for at in first..self.known(log).segments.len() {
            let used = gathered.body.bytes() + 2 * ENTRY_HEAD_BYTES;
            let left = room.saturating_sub(used) as u64;
            let way = self.way(log, at, left, out);
            match way {
                Way::Later => return true,
                Way::NextFrame => return false,
                Way::Journal | Way::Direct(..) => {}
            }
            if let Way::Direct(to, handle, file) = way {
                self.gather_resume(log, gathered);
                let partition = self.known(log);
                let (topic_partition, segment) = (partition.at, &partition.segments[at]);
                let base = segment.base;
                let tail = segment.lend(to.position / BLOCK * BLOCK, to.position);
                gathered.body.direct(topic_partition, base, to, tail);
                gathered.carried.push(Carried { log, base, to, is_direct: true });
                gathered.directs.push((log, base, to, handle, file));
                return true;
            }
            let partition = self.known(log);
            let segment = &partition.segments[at];
            let Some(to) = journal_end(segment, left) else {
                // A batch that no file of the journal takes has to wait until its segment can be written.
                let first = segment.pending.front().map_or(0, |batch| batch.end.position - segment.durable.position);
                return first > JOURNAL_BATCH_BYTES_MAX;
            };
            self.gather_resume(log, gathered);
            let partition = self.known(log);
            let (topic_partition, segment) = (partition.at, &partition.segments[at]);
            let (base, from) = (segment.base, segment.durable.position);
            let position = u32::try_from(from).expect("a segment is shorter than 4 GiB");
            gathered.body.batches(topic_partition, base, position, segment.lend(from, to.position));
            gathered.carried.push(Carried { log, base, to, is_direct: false });
            if to != segment.end {
                return false;
            }
        }
        true
    }

    fn gather_resume(&mut self, log: LogRef, gathered: &mut Gathered) {
        let partition = self.known(log);
        if let Some((base, end)) = partition.resume
            && !gathered.resumed.contains(&log)
        {
            gathered.body.resume(partition.at, base, end);
            gathered.resumed.push(log);
        }
    }

    /// How what waits in a segment goes: directly, if it is much and the file is ready. If only the file is not ready,
    /// that is seen to.
    fn way(&mut self, log: LogRef, at: usize, left: u64, out: &mut Effects) -> Way {
        let direct_min = self.config.direct_bytes_min;
        let partition = self.known(log);
        let segment = &partition.segments[at];
        let waiting = segment.end.position - segment.durable.position;
        if waiting < direct_min {
            return Way::Journal;
        }
        let is_ready = segment.named && !segment.unsynced && partition.prepare;
        let is_behind =
            partition.first_open() < at && partition.segments[at - 1].durable == partition.segments[at - 1].end;
        if is_behind || (is_ready && partition.busy) {
            // What is written now will be behind it soon.
            return Way::Later;
        }
        if is_ready && left < BLOCK {
            return Way::NextFrame;
        }
        let end = direct_end(segment).filter(|end| is_ready && segment.destaged < end.position / BLOCK * BLOCK);
        let Some(to) = end else {
            partition.prepare = true;
            self.mark_dirty(log);
            return Way::Journal;
        };
        let base = segment.base;
        match self.acquire(log, base, Mode::Write, out) {
            Some((handle, file)) => Way::Direct(to, handle, file),
            None => Way::Journal,
        }
    }

    fn write_frame(&mut self, root: usize, gathered: Gathered, out: &mut Effects) {
        let Gathered { body, carried, starts, directs, resumed } = gathered;
        let run = self.run();
        let journal = &self.roots[root].journal;
        let head = Head {
            kind: Kind::Journal,
            run,
            sequence: journal.sequence,
            previous: journal.previous,
            keep: journal.directs.first().map_or(journal.sequence, |(sequence, _)| *sequence),
            last: false,
            body_bytes: u32::try_from(body.bytes()).expect("a frame is far smaller than 4 GiB"),
            body_crc: body.crc(),
        };
        let (frame, crc) = self.lay_frame(&head, body.parts());
        let bytes = frame.len() as u64;
        let journal = &mut self.roots[root].journal;
        let at = journal.active.expect("there is room in it");
        let file = journal.files[at].file.expect("an active file is open");
        let offset = journal.position;
        assert!(offset + bytes <= journal.files[at].bytes);
        journal.files[at].last = Some(journal.sequence);
        journal.sequence += 1;
        journal.previous = crc;
        journal.position += bytes;
        journal.bytes += bytes;
        assert!(journal.in_flight.is_none());
        for carried in &carried {
            self.known(carried.log).ops += 1;
        }
        for (log, _) in &starts {
            self.known(*log).ops += 1;
        }
        for log in resumed {
            self.known(log).resume = None;
        }
        let issued = self.now;
        self.roots[root].journal.in_flight = Some(Frame { carried, starts, bytes, issued });
        let op = Op::Write { file, offset, bufs: vec![frame], sync: true };
        self.submit_root(root, RootWork::Frame, op, out);
        for (log, base, to, handle, file) in directs {
            self.roots[root].journal.directs.insert((head.sequence, log));
            self.known(log).direct = Some(Direct { sequence: head.sequence, framed: false, wrote: false });
            self.write_direct(log, base, to, handle, file, out);
        }
    }

    /// A frame's bytes, in memory to be written from, and the checksum by which the next one names it.
    pub(crate) fn lay_frame<'a>(&mut self, head: &Head, parts: impl Iterator<Item = &'a [u8]>) -> (WriteBuf, u32) {
        let len = HEAD_BYTES + head.body_bytes as usize;
        // One frame at a time: without it nothing that holds memory would ever give it back.
        let mut memory = self.take_memory(len).unwrap_or_else(|| self.pool.take_over(len));
        let (bytes, crc) = head.encode();
        memory.extend(&bytes);
        parts.for_each(|part| memory.extend(part));
        (Chunk::new(memory).blocks(0..len), crc)
    }

    fn write_direct(&mut self, log: LogRef, base: Offset, to: Place, handle: HandleId, file: File, out: &mut Effects) {
        let issued = self.now;
        let partition = self.known(log);
        assert!(!partition.busy && partition.direct.is_some());
        partition.busy = true;
        let segment = partition.segment_mut(base).expect("it was gathered from a moment ago");
        let (from, whole) = (segment.destaged, to.position / BLOCK * BLOCK);
        let bufs = segment.blocks(from, whole);
        let bytes: u64 = bufs.iter().map(|buf| buf.len() as u64).sum();
        assert!(from + bytes == whole && whole <= segment.allocated);
        let root = partition.root;
        self.roots[root].journal.direct_bytes += bytes;
        let work = Work::Direct { base, handle, to, bytes, issued };
        self.submit(log, work, Op::Write { file, offset: from, bufs, sync: true }, out);
        self.allocate_ahead(log, out);
    }

    /// A frame is durable.
    pub(crate) fn framed(&mut self, root: usize, out: &mut Effects) {
        let Frame { carried, starts, bytes, issued } =
            self.roots[root].journal.in_flight.take().expect("a frame was in flight");
        self.wake();
        self.metrics.log_writes_total.add(1);
        self.metrics.log_journal_bytes_total.add(bytes);
        self.metrics.log_write_latency.record(self.now.since(issued));
        for Carried { log, base, to, is_direct } in carried {
            let partition = self.known(log);
            partition.ops -= 1;
            if is_direct {
                let direct = partition.direct.as_mut().expect("a direct write ends with its frame");
                direct.framed = true;
                self.direct_step(log, base, to, out);
            } else {
                self.durable(log, base, to);
            }
            self.mark_dirty(log);
        }
        for (log, start) in starts {
            self.known(log).ops -= 1;
            self.start_moved(log, start, out);
            self.mark_dirty(log);
        }
    }

    /// A direct write, or its frame, is over: durable when both are.
    pub(crate) fn direct_step(&mut self, log: LogRef, base: Offset, to: Place, out: &mut Effects) {
        let partition = self.known(log);
        let Direct { sequence, framed, wrote } = partition.direct.expect("a direct write is under way");
        if !(framed && wrote) {
            return;
        }
        let root = partition.root;
        partition.direct = None;
        partition.busy = false;
        let segment = partition.segment_mut(base).expect("a segment stays while it is written");
        segment.destaged = to.position / BLOCK * BLOCK;
        self.roots[root].journal.directs.remove(&(sequence, log));
        self.durable(log, base, to);
        self.mark_dirty(log);
        self.look(log, out);
    }

    /// Batches of a segment are on stable storage up to here.
    fn durable(&mut self, log: LogRef, base: Offset, to: Place) {
        let partition = self.known(log);
        let mut max = partition.durable_max;
        let segment = partition.segment_mut(base).expect("a segment stays while it is written");
        assert!(segment.durable.position < to.position);
        segment.durable = to;
        while let Some(batch) = segment.pending.front().filter(|batch| batch.end.position <= to.position) {
            if batch.max_timestamp > max.0 {
                max = (batch.max_timestamp, batch.base_offset);
            }
            segment.pending.pop_front();
        }
        if segment.pending.is_empty() {
            segment.pending.shrink_to(PENDING_KEPT_MAX);
        }
        partition.durable_max = max;
        assert!(partition.durable_end < to.offset);
        partition.durable_end = to.offset;
        self.events.push(Event::Durable { log, end: to.offset });
    }

    /// Bytes that the next frame's body may have; `None` if it has to wait for a file.
    fn frame_room(&mut self, root: usize, out: &mut Effects) -> Option<usize> {
        let first = self.roots[root].journal.waiting.iter().find_map(|log| {
            let partition = self.partition(*log)?;
            let segment = &partition.segments[partition.uncommitted()?];
            let bytes = segment.pending.front()?.end.position - segment.durable.position;
            Some(if bytes > JOURNAL_BATCH_BYTES_MAX { 0 } else { bytes })
        });
        let needed = (first.unwrap_or(0) as usize).max(FRAME_BYTES_MIN) + HEAD_BYTES + 3 * ENTRY_HEAD_BYTES;
        let journal = &mut self.roots[root].journal;
        let at = journal.active.expect("it is ready");
        let left = usize::try_from(journal.files[at].bytes - journal.position).unwrap_or(usize::MAX);
        if left < needed.next_multiple_of(BLOCK as usize) {
            let free =
                |file: &crate::journal::JournalFile| file.state == FileState::Free && needed as u64 <= file.bytes;
            let Some(next) = journal.files.iter().position(free) else {
                if !std::mem::replace(&mut journal.blocked, true) {
                    self.wake();
                }
                self.want_file(root, out);
                return None;
            };
            journal.files[at].state = FileState::Full;
            journal.files[next].state = FileState::Active;
            journal.active = Some(next);
            journal.position = 0;
            self.want_file(root, out);
            return self.frame_room(root, out);
        }
        let most = FRAME_BYTES_MAX.max(needed);
        Some(left.min(most) - HEAD_BYTES)
    }
}

/// How far a frame with so much room left goes in a segment: whole batches; `None` if not even one fits.
fn journal_end(segment: &Segment, left: u64) -> Option<Place> {
    let fits = |end: &Place| end.position - segment.durable.position <= left;
    let first = segment
        .pending
        .front()
        .map(|batch| batch.end)
        .filter(|end| fits(end) && end.position - segment.durable.position <= JOURNAL_BATCH_BYTES_MAX)?;
    Some(segment.pending.iter().map(|batch| batch.end).take_while(|end| fits(end)).last().unwrap_or(first))
}

/// How far a direct write goes: whole batches, a few megabytes, in not too many parts, within the space there is.
fn direct_end(segment: &Segment) -> Option<Place> {
    let reach = segment.write_reach();
    let fits = |end: &Place| {
        end.position - segment.destaged <= DIRECT_BYTES_MAX
            && end.position <= reach
            && end.position / BLOCK * BLOCK <= segment.allocated
    };
    segment.pending.iter().map(|batch| batch.end).take_while(fits).last()
}

/// A frame of many logs is about as large as this at most; one batch alone may be larger.
const FRAME_BYTES_MAX: usize = 1 << 20;
/// With less room than this a file is full.
const FRAME_BYTES_MIN: usize = 16 << 10;
/// A larger batch goes to its segment only.
const JOURNAL_BATCH_BYTES_MAX: u64 = 4 << 20;
/// A direct write gathers up to about this much: what a synced write costs besides its bytes is the same for all sizes.
const DIRECT_BYTES_MAX: u64 = 4 << 20;
/// An idle log keeps a queue of at most this capacity.
const PENDING_KEPT_MAX: usize = 4;
