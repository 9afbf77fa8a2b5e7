//! One partition log: its segments, what it remembers, and what it needs next from the disk.
//! Owns the decision ([`Need`]), not the operation. Never knows a topic's name.
//! Invariants: segments follow each other without a gap; all but the last unsealed ones are whole on disk; the durable
//! end never lies beyond the end; at most one write, sync or small file is under way.

use std::path::PathBuf;

use model::{Offset, Timestamp, TopicPartition};

use crate::cleaner::{Compacted, Swap};
use crate::cold::Cold;
use crate::recovery::Recovery;
use crate::segment::Segment;
use crate::small::Small;
use crate::snapshot::Knowledge;
use crate::{PartitionSettings, ReadError};

#[derive(Debug)]
pub(crate) enum State {
    /// Waits for its turn to be recovered, or is being recovered.
    Recovering(Box<Recovery>),
    Open,
    /// Flushes, then cuts itself and recovers anew.
    Truncating {
        to: Offset,
        /// The files still to remove, the last first; `None` until everything is flushed.
        files: Option<Vec<PathBuf>>,
    },
    /// Flushes and cuts its last segment.
    Closing,
    Closed,
    /// Waits for its last operation, then moves its directory away.
    Removing,
    Failed,
}

#[derive(Debug)]
pub(crate) struct Partition {
    pub(crate) at: TopicPartition,
    pub(crate) dir: PathBuf,
    /// Index into the log's directories.
    pub(crate) root: usize,
    pub(crate) settings: PartitionSettings,
    pub(crate) state: State,
    /// Empty only until recovered.
    pub(crate) segments: Vec<Segment>,
    pub(crate) durable_end: Offset,
    /// Records below it were deleted, whether their segment is still there or not.
    pub(crate) start_offset: Offset,
    pub(crate) knowledge: Knowledge,
    /// The largest durable timestamp, and its batch's base offset.
    pub(crate) durable_max: (Timestamp, Offset),
    /// The directory and `partition.metadata` are durable.
    pub(crate) dir_ready: bool,
    /// Something of it may be on disk.
    pub(crate) on_disk: bool,
    /// A write, a sync or a small file is under way.
    pub(crate) busy: bool,
    pub(crate) small: Option<Box<Small>>,
    pub(crate) allocating: bool,
    pub(crate) no_space: bool,
    /// Waits for room in the table of files.
    pub(crate) starved: bool,
    /// Is on the list of logs to look at in this turn.
    pub(crate) dirty: bool,
    /// Operations in flight.
    pub(crate) ops: u32,
    pub(crate) chunk_bytes: usize,
    pub(crate) cold: Option<Box<Cold>>,
    /// Segments to drop, the first first, and whether one is being removed.
    pub(crate) dropping: Vec<PathBuf>,
    pub(crate) drop_busy: bool,
    /// To be removed as soon as its recovery or truncation is over.
    pub(crate) doomed: bool,
    /// The last segment's name must be durable though there is nothing in it: those before it are about to go.
    pub(crate) anchor: bool,
    /// What is known of its compaction.
    pub(crate) compacted: Compacted,
    /// Segments that are being exchanged for a compacted one.
    pub(crate) swap: Option<Box<Swap>>,
    /// Waits to be looked at again by its retention.
    pub(crate) learning: bool,
}

/// What a log needs next from the disk to make its appends durable.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Nothing,
    Directory,
    Snapshot(usize),
    Write(usize),
    Seal(usize),
    /// The last segment's name.
    Name(usize),
}

impl Partition {
    pub(crate) fn new(at: TopicPartition, dir: PathBuf, root: usize, settings: PartitionSettings) -> Partition {
        Partition {
            at,
            dir,
            root,
            settings,
            state: State::Recovering(Box::default()),
            segments: Vec::new(),
            durable_end: Offset::ZERO,
            start_offset: Offset::ZERO,
            knowledge: Knowledge::default(),
            durable_max: (Timestamp::NONE, Offset::ZERO),
            dir_ready: false,
            on_disk: false,
            busy: false,
            small: None,
            allocating: false,
            no_space: false,
            starved: false,
            dirty: false,
            ops: 0,
            chunk_bytes: CHUNK_BYTES_MIN,
            cold: None,
            dropping: Vec::new(),
            drop_busy: false,
            doomed: false,
            anchor: false,
            compacted: Compacted::default(),
            swap: None,
            learning: false,
        }
    }

    /// The first offset that can be read.
    pub(crate) fn start(&self) -> Offset {
        self.first_base().max(self.start_offset)
    }

    /// Where the first segment begins.
    pub(crate) fn first_base(&self) -> Offset {
        self.segments.first().map_or(Offset::ZERO, |first| first.base)
    }

    pub(crate) fn end(&self) -> Offset {
        self.segments.last().map_or(Offset::ZERO, |last| last.end.offset)
    }

    pub(crate) fn need(&self) -> Need {
        let Some(at) = self.segments.iter().rposition(|segment| segment.sealed).map_or(Some(0), |at| Some(at + 1))
        else {
            return Need::Nothing;
        };
        let Some(segment) = self.segments.get(at) else { return Need::Nothing };
        if segment.durable == segment.end {
            return if at + 1 == self.segments.len() { self.need_anchor(at) } else { Need::Seal(at) };
        }
        if !self.dir_ready {
            return Need::Directory;
        }
        if segment.snapshot.is_some() { Need::Snapshot(at) } else { Need::Write(at) }
    }

    fn need_anchor(&self, at: usize) -> Need {
        match &self.segments[at] {
            segment if !self.anchor || segment.named || self.no_space => Need::Nothing,
            segment if segment.snapshot.is_some() => Need::Snapshot(at),
            _ => Need::Name(at),
        }
    }

    /// Whether nothing that was appended waits for the disk.
    pub(crate) fn is_flushed(&self) -> bool {
        self.need() == Need::Nothing
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
            State::Recovering(_) | State::Truncating { .. } | State::Closed => Err(ReadError::NotOpen),
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

    pub(crate) fn snapshot_path(&self, base: Offset) -> PathBuf {
        self.dir.join(format!("{:020}.snapshot", base.get()))
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
        for (segment, next) in self.segments.iter().zip(self.segments.iter().skip(1)) {
            assert!(segment.end.offset == next.base);
        }
        assert!(self.swap.is_none() || self.dropping.is_empty());
        self.segments.iter().for_each(Segment::invariants);
        self.knowledge.producers.invariants();
    }
}

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
