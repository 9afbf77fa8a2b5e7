//! One partition log: its segments, what it remembers, and what it needs next from the disk.
//! Owns the decision ([`Need`]), not the operation. Never knows a topic's name.
//! Invariants: segments follow each other without a gap; the durable end never lies beyond the end; at most one write
//! of a segment, or small file, is under way.

use std::collections::VecDeque;
use std::path::PathBuf;

use model::{Offset, Timestamp, TopicPartition};

use crate::checkpoint::record::SegmentRecord;
use crate::cleaner::{Compacted, Swap};
use crate::cold::Cold;
use crate::index::Place;
use crate::knowledge::Knowledge;
use crate::metadata_file::MetadataFile;
use crate::recovery::Recovery;
use crate::segment::{BLOCK, Segment};
use crate::{PartitionSettings, ReadError};

#[derive(Debug)]
pub(crate) enum State {
    /// Waits for its turn to be recovered, or is being recovered.
    Recovering(Box<Recovery>),
    Open,
    /// Flushes and cuts its last segment.
    Closing,
    Closed,
    /// Waits for its last operation, then moves its directory away.
    Removing,
    Failed,
}

/// Batches on their way to their segment, and a frame that says so: durable when both are there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Direct {
    /// The frame's number.
    pub(crate) sequence: u64,
    pub(crate) framed: bool,
    pub(crate) wrote: bool,
}

/// What has to be in the files before a checkpoint: every segment before the one at `base`, and of that one this much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Goal {
    pub(crate) base: Offset,
    pub(crate) position: u64,
    /// And the last, partial block, with nothing behind it: nothing more will be appended.
    pub(crate) trim: bool,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) at: TopicPartition,
    pub(crate) name: String,
    pub(crate) dir: PathBuf,
    /// Index into the log's directories.
    pub(crate) root: usize,
    pub(crate) settings: PartitionSettings,
    pub(crate) state: State,
    /// Empty only until recovered.
    pub(crate) segments: Vec<Segment>,
    /// Records before it are deleted, though their segment may be there still.
    pub(crate) start: Offset,
    /// As much of that is durable: segments before it may go.
    pub(crate) droppable: Offset,
    pub(crate) durable_end: Offset,
    pub(crate) knowledge: Knowledge,
    /// The largest durable timestamp, and its batch's base offset.
    pub(crate) durable_max: (Timestamp, Offset),
    /// The directory and `partition.metadata` are there, and durable.
    pub(crate) dir_ready: bool,
    pub(crate) dir_durable: bool,
    /// Something of it may be on disk.
    pub(crate) on_disk: bool,
    /// A write of a segment, its closing, or a small file is under way.
    pub(crate) busy: bool,
    pub(crate) metadata: Option<Box<MetadataFile>>,
    pub(crate) allocating: bool,
    pub(crate) direct: Option<Direct>,
    /// The last segment shall be ready for direct writes.
    pub(crate) prepare: bool,
    pub(crate) goal: Option<Goal>,
    /// The last segment's file holds all of it and nothing else.
    pub(crate) trimmed: bool,
    /// Is on the list of logs that changed since the last checkpoint.
    pub(crate) touched: bool,
    /// Waits for the next frame.
    pub(crate) waiting: bool,
    /// Where this run found its end, until the journal says so.
    pub(crate) resume: Option<(Offset, Place)>,
    /// Waits for room in the table of files.
    pub(crate) starved: bool,
    /// Is on the list of logs to look at in this turn.
    pub(crate) dirty: bool,
    /// Operations in flight, frames that carry something of it included.
    pub(crate) ops: u32,
    pub(crate) chunk_bytes: usize,
    pub(crate) cold: Option<Box<Cold>>,
    /// Segments that are dropped, the first first, and whether one's file is being removed.
    pub(crate) dropping: VecDeque<SegmentRecord>,
    /// The files of the first one's index that are there still.
    pub(crate) dropping_index: Vec<PathBuf>,
    pub(crate) drop_busy: bool,
    /// No start will write to the segments before this any more: the last two checkpoints have them as they are.
    pub(crate) settled_to: Offset,
    /// As the last one has it.
    pub(crate) settling_to: Offset,
    /// The cleaner waits for that.
    pub(crate) unsettled: bool,
    /// It was recovered: what is in memory is all that is known of it, even once it cannot be read any more.
    pub(crate) opened: bool,
    /// To be removed as soon as its recovery is over.
    pub(crate) doomed: bool,
    /// What is known of its compaction.
    pub(crate) compacted: Compacted,
    /// Segments that are being exchanged for a compacted one.
    pub(crate) swap: Option<Box<Swap>>,
    /// Waits to be looked at again by its retention.
    pub(crate) learning: bool,
}

/// What a log needs next from the disk to have its segments' files as they should be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Nothing,
    Directory,
    Space { at: usize, needed: u64 },
    Name { at: usize },
    Sync { at: usize },
    Write { at: usize, to: u64 },
    Cut { at: usize },
}

impl Partition {
    pub(crate) fn new(at: TopicPartition, name: String, settings: PartitionSettings) -> Partition {
        Partition {
            at,
            name,
            dir: PathBuf::new(),
            root: 0,
            settings,
            state: State::Recovering(Box::default()),
            segments: Vec::new(),
            start: Offset::ZERO,
            droppable: Offset::ZERO,
            durable_end: Offset::ZERO,
            knowledge: Knowledge::default(),
            durable_max: (Timestamp::NONE, Offset::ZERO),
            dir_ready: false,
            dir_durable: false,
            on_disk: false,
            busy: false,
            metadata: None,
            allocating: false,
            direct: None,
            prepare: false,
            goal: None,
            trimmed: false,
            touched: false,
            waiting: false,
            resume: None,
            starved: false,
            dirty: false,
            ops: 0,
            chunk_bytes: CHUNK_BYTES_MIN,
            cold: None,
            dropping: VecDeque::new(),
            dropping_index: Vec::new(),
            settled_to: Offset::ZERO,
            settling_to: Offset::ZERO,
            unsettled: false,
            drop_busy: false,
            opened: false,
            doomed: false,
            compacted: Compacted::default(),
            swap: None,
            learning: false,
        }
    }

    /// Whether checkpoints speak of it, and its segments are written.
    pub(crate) fn is_kept(&self) -> bool {
        matches!(self.state, State::Open | State::Closing) || (self.opened && matches!(self.state, State::Failed))
    }

    /// The first record that is not deleted.
    pub(crate) fn start(&self) -> Offset {
        self.first_base().max(self.start)
    }

    /// Where the first segment begins.
    pub(crate) fn first_base(&self) -> Offset {
        self.segments.first().map_or(Offset::ZERO, |first| first.base)
    }

    pub(crate) fn end(&self) -> Offset {
        self.segments.last().map_or(Offset::ZERO, |last| last.end.offset)
    }

    /// The first segment that is not closed.
    pub(crate) fn first_open(&self) -> usize {
        self.segments.iter().rposition(|segment| segment.sealed).map_or(0, |at| at + 1)
    }

    /// The first segment with batches that are not durable.
    pub(crate) fn uncommitted(&self) -> Option<usize> {
        let first = self.first_open();
        let open = self.segments.get(first..)?;
        open.iter().position(|segment| segment.durable != segment.end).map(|at| first + at)
    }

    /// The segment in which the durable end lies.
    pub(crate) fn durable_segment(&self) -> usize {
        self.uncommitted().unwrap_or(self.segments.len() - 1)
    }

    pub(crate) fn need(&self) -> Need {
        let at = self.first_open();
        let Some(segment) = self.segments.get(at) else { return Need::Nothing };
        let is_last = at + 1 == self.segments.len();
        let all_durable = segment.durable == segment.end;
        let goal = self.goal.filter(|goal| goal.base >= segment.base);
        let trim = is_last && all_durable && goal.is_some_and(|goal| goal.trim);
        let is_over = (!is_last && all_durable) || trim;
        let target = if is_over { segment.end.position } else { segment.durable.position / BLOCK * BLOCK };
        let asked =
            !is_last || trim || goal.is_some_and(|goal| segment.base < goal.base || segment.destaged < goal.position);
        if !asked && self.prepare {
            let need = self.need_direct(at);
            if need != Need::Nothing {
                return need;
            }
        }
        let wanted =
            asked || segment.destaged + if self.prepare { PREPARED_BYTES_MIN } else { DESTAGE_BYTES_MIN } <= target;
        if wanted && segment.destaged < target {
            return self.need_write(at, target);
        }
        if is_over && !is_last && segment.destaged == target {
            return Need::Cut { at };
        }
        if trim && !self.trimmed && segment.end.position > 0 {
            return Need::Cut { at };
        }
        Need::Nothing
    }

    fn need_write(&self, at: usize, target: u64) -> Need {
        if !self.dir_ready {
            return Need::Directory;
        }
        let segment = &self.segments[at];
        let reach = segment.write_reach();
        let reach = if reach < target { reach / BLOCK * BLOCK } else { target };
        let to = reach.min(segment.destaged + DESTAGE_BYTES_MAX);
        let needed = to.next_multiple_of(BLOCK);
        if segment.allocated < needed { Need::Space { at, needed } } else { Need::Write { at, to } }
    }

    /// What is missing before a segment can be written directly.
    fn need_direct(&self, at: usize) -> Need {
        let segment = &self.segments[at];
        let whole = segment.end.position / BLOCK * BLOCK;
        if !self.dir_ready {
            Need::Directory
        } else if segment.allocated < whole {
            Need::Space { at, needed: whole }
        } else if !segment.named {
            Need::Name { at }
        } else if segment.unsynced {
            Need::Sync { at }
        } else {
            Need::Nothing
        }
    }

    /// Whether the files are as a checkpoint asked.
    pub(crate) fn goal_reached(&self) -> bool {
        let Some(goal) = self.goal else { return false };
        let first = self.first_open();
        let Some(segment) = self.segments.get(first) else { return true };
        if segment.base < goal.base {
            return false;
        }
        let trimmed = !goal.trim || self.trimmed || segment.end.position == 0;
        segment.base > goal.base || (segment.destaged >= goal.position && trimmed)
    }

    /// Whether no frame, and no write, is to come before everything that was appended is durable.
    pub(crate) fn is_flushed(&self) -> bool {
        self.uncommitted().is_none()
    }

    /// Whether segments of it are on their way out.
    pub(crate) fn is_retiring(&self) -> bool {
        self.swap.is_some() || !self.dropping.is_empty() || self.drop_busy
    }

    /// The segment that begins at `base`.
    pub(crate) fn segment_mut(&mut self, base: Offset) -> Option<&mut Segment> {
        let at = self.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        self.segments.get_mut(at)
    }

    /// The segment that holds `offset`.
    pub(crate) fn find(&self, offset: Offset) -> Option<usize> {
        self.segments.partition_point(|segment| segment.base <= offset).checked_sub(1)
    }

    pub(crate) fn readable(&self) -> Result<(), ReadError> {
        match &self.state {
            State::Open | State::Closing => Ok(()),
            State::Recovering(_) | State::Closed => Err(ReadError::NotOpen),
            State::Removing => Err(ReadError::Gone),
            State::Failed => Err(ReadError::Offline),
        }
    }

    pub(crate) fn segment_path(&self, base: Offset) -> PathBuf {
        if let Some(path) = self.swap.as_ref().and_then(|swap| swap.path_of(base)) {
            return path;
        }
        self.dir.join(format!("{:020}.log", base.get()))
    }

    pub(crate) fn pending_bytes(&self) -> u64 {
        let unsealed = self.segments.iter().rev().take_while(|segment| !segment.sealed);
        unsealed.map(|segment| segment.end.position - segment.durable.position).sum()
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.segments.iter().flat_map(|segment| &segment.chunks).map(|chunk| chunk.chunk.capacity()).sum()
    }

    pub(crate) fn invariants(&self) {
        assert!(self.durable_end <= self.end());
        assert!(self.direct.is_none() || self.busy);
        for (segment, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            assert!(segment.end.offset == next.base);
        }
        assert!(self.swap.is_none() || self.dropping.is_empty());
        self.segments.iter().for_each(Segment::invariants);
        self.knowledge.producers.invariants();
    }
}

/// So much that is durable, and in the journal only, goes to its segment without being asked for.
const DESTAGE_BYTES_MIN: u64 = 256 << 10;
/// More of it, where the next direct write will bring it along.
const PREPARED_BYTES_MIN: u64 = 2 << 20;
/// One write of such bytes.
const DESTAGE_BYTES_MAX: u64 = 1 << 20;
/// An idle partition holds one chunk of this size.
pub(crate) const CHUNK_BYTES_MIN: usize = 4096;
/// Chunks double with a partition's traffic up to here.
pub(crate) const CHUNK_BYTES_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_log_costs_about_a_kibibyte_besides_its_last_block() {
        let bytes = size_of::<Partition>() + size_of::<Segment>();
        assert!(bytes <= 1024, "{bytes} bytes");
    }
}
