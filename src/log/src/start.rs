//! Deleting records from a log's beginning: the start offset moves, and whole segments before it go.
//! Order matters: the journal says where the log begins before any file is removed, so that a start after a crash never
//! looks for what is gone.

use effect::{Done, Effects, Fault, Op};
use model::Offset;

use crate::checkpoint::record::SegmentRecord;
use crate::job::Work;
use crate::partition::State;
use crate::{AppendError, Event, Log, LogRef};

impl Log {
    /// Deletes the records before `to`, at most up to the durable end; they cannot be read from now on. Answers the new
    /// start; [`Event::StartMoved`] says when it is durable. Whole segments go in the background.
    pub fn advance_start(&mut self, log: LogRef, to: Offset) -> Result<Offset, AppendError> {
        let partition = self.partition_mut(log).ok_or(AppendError::Gone)?;
        if !matches!(partition.state, State::Open) {
            return Err(AppendError::NotOpen);
        }
        let root = partition.root;
        let to = to.min(partition.durable_end);
        if self.roots[root].offline {
            return Err(AppendError::Offline);
        }
        let partition = self.known(log);
        if to <= partition.start() {
            let start = partition.start();
            if partition.droppable == partition.start || partition.start < start {
                self.events.push(Event::StartMoved { log, start });
            } else {
                // An earlier move is on its way; this one is answered with it.
                self.roots[root].journal.starts.push_back((log, start));
            }
            self.wake();
            return Ok(start);
        }
        partition.start = to;
        let all_gone = to == partition.end();
        self.roots[root].journal.starts.push_back((log, to));
        self.touch(log);
        self.wake();
        if all_gone {
            // What is gone is to give its space back: no segment that is written to holds it.
            self.roll(log)?;
        }
        Ok(to)
    }

    /// Drops the segments that end at or before `offset`; never the last one.
    pub fn drop_before(&mut self, log: LogRef, offset: Offset) {
        let Some(partition) = self.partition(log) else { return };
        let kept = partition.find(offset).map(|at| partition.segments[at].base);
        if let Some(base) = kept.filter(|base| partition.start() < *base) {
            // A log that is not open has nobody who would wait.
            let _ = self.advance_start(log, base);
        }
    }

    /// It is durable where a log begins.
    pub(crate) fn start_moved(&mut self, log: LogRef, offset: Offset, out: &mut Effects) {
        let partition = self.known(log);
        partition.droppable = partition.droppable.max(offset);
        self.events.push(Event::StartMoved { log, start: offset });
        self.pump_drop(log, out);
    }

    /// Takes closed segments out that the start has passed, and removes their files one after the other.
    pub(crate) fn pump_drop(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        if partition.swap.is_some() {
            // These files are about to go or to be renamed: asked again later.
            return;
        }
        let (last, droppable) = (partition.segments.len().saturating_sub(1), partition.droppable);
        let is_idle = !partition.busy && !partition.allocating && partition.direct.is_none();
        let first_open = partition.first_open();
        for segment in partition.segments.iter_mut().take(last).skip(first_open) {
            let is_over = segment.durable == segment.end && segment.end.offset <= droppable;
            if !(is_idle && is_over) {
                break;
            }
            // It goes without ever being whole in its file, which a crash may even have found removed.
            segment.destaged = segment.end.position;
            segment.sealed = true;
        }
        let is_gone = |segment: &&crate::segment::Segment| segment.sealed && segment.end.offset <= droppable;
        let count = partition.segments.iter().take(last).take_while(is_gone).count();
        if count > 0 {
            let mut bytes = 0;
            for segment in partition.segments.drain(..count).collect::<Vec<_>>() {
                bytes += segment.chunks.iter().map(|chunk| chunk.chunk.capacity()).sum::<usize>();
                partition.dropping.push_back(SegmentRecord::of(&segment));
            }
            if partition.dropping_index.is_empty() && !partition.drop_busy {
                let next = partition.dropping.front().map(|next| next.base).unwrap_or_default();
                partition.dropping_index = partition.index_paths(next).into_iter().collect();
            }
            let first = partition.segments.first().map(|segment| segment.base);
            self.cache_bytes -= bytes;
            self.forget_files(log, first, out);
            self.touch(log);
        }
        let partition = self.known(log);
        if partition.drop_busy {
            return;
        }
        let Some(segment) = partition.dropping.front() else { return };
        // The index goes first: it would be taken for that of a later segment of this name.
        let base = segment.base;
        let index = partition.dropping_index.pop();
        let is_index = index.is_some();
        let path = index.unwrap_or_else(|| partition.segment_path(base));
        partition.drop_busy = true;
        self.submit(log, Work::DropRemove { is_index }, Op::Remove { path }, out);
    }

    pub(crate) fn drop_removed(&mut self, log: LogRef, is_index: bool, done: Result<Done, Fault>, out: &mut Effects) {
        let partition = self.known(log);
        partition.drop_busy = false;
        if let Err(fault) = done {
            // Nobody reads it.
            let dir = partition.dir.display();
            tracing::error!(%dir, %fault, "a file of an old segment not removed");
        }
        if is_index {
            return self.look(log, out);
        }
        partition.dropping.pop_front().expect("it was being removed");
        if let Some(next) = partition.dropping.front().map(|next| next.base) {
            partition.dropping_index = partition.index_paths(next).into_iter().collect();
        }
        self.touch(log);
        self.look(log, out);
    }
}
