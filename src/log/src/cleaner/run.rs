//! What a run knows while it goes on.

use effect::{Buf, Done, Fault};
use model::Offset;
use record::{Header, Keep, RecordPass, Thinner};

use super::keys::KeyMap;
use super::output::Output;
use super::reader::Reader;
use crate::age::Age;
use crate::index::Place;
use crate::job::CleanStep;
use crate::{LogRef, PartitionSettings};

/// A closed segment that is read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Source {
    pub(crate) base: Offset,
    pub(crate) end: Place,
    pub(crate) age: Age,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Stage {
    /// The last offset of each key is being found.
    Keys,
    /// A group is being written.
    Write,
    /// A group takes its sources' place.
    Swap,
    Over,
}

#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) log: LogRef,
    pub(crate) dirty_from: Offset,
    /// Up to where keys are known: what follows stays as it is.
    pub(crate) to: Offset,
    pub(crate) sources: Vec<Source>,
    pub(crate) keys: KeyMap,
    /// Of each producer, in order.
    pub(crate) last_offsets: Vec<Offset>,
    pub(crate) settings: PartitionSettings,
    pub(crate) stage: Stage,
    /// The source being read.
    pub(crate) at: usize,
    pub(crate) reader: Reader,
    pub(crate) batch: Option<Batch>,
    pub(crate) output: Option<Box<Output>>,
    /// Where the read in flight begins, and how much it asks for.
    pub(crate) reading: (u64, usize),
    pub(crate) waiting: bool,
    pub(crate) fault: Option<Fault>,
    pub(crate) short_read: bool,
    pub(crate) read_bytes: u64,
    pub(crate) written_bytes: u64,
}

/// A batch in work.
pub(crate) struct Batch {
    pub(crate) header: Header,
    pub(crate) bytes: Buf,
    pub(crate) work: BatchWork,
    /// Bytes of its records seen so far.
    pub(crate) seen_bytes: usize,
}

pub(crate) enum BatchWork {
    Keys(RecordPass),
    Judge { pass: RecordPass, keep: Keep, tombstones: bool },
    Thin(Box<Thinner>),
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Batch({})", self.header.base_offset)
    }
}

impl Run {
    pub(crate) fn new(
        log: LogRef,
        dirty: (Offset, Offset),
        sources: Vec<Source>,
        keys: KeyMap,
        last_offsets: Vec<Offset>,
        settings: PartitionSettings,
    ) -> Run {
        let (dirty_from, to) = dirty;
        let at = sources.partition_point(|source| source.end.offset <= dirty_from);
        let first = sources.get(at).expect("what is dirty lies in a segment");
        Run {
            log,
            dirty_from,
            to,
            reader: Reader::new(first.base, first.end),
            sources,
            keys,
            last_offsets,
            settings,
            stage: Stage::Keys,
            at,
            batch: None,
            output: None,
            reading: (0, 0),
            waiting: false,
            fault: None,
            short_read: false,
            read_bytes: 0,
            written_bytes: 0,
        }
    }

    /// Its operation is over.
    pub(crate) fn answered(&mut self, step: CleanStep, done: Done) {
        match (step, done) {
            (CleanStep::Read(_), Done::Filled(buf)) => {
                self.read_bytes += buf.filled() as u64;
                let (offset, asked) = self.reading;
                self.short_read = !self.reader.fill(offset, asked, buf.freeze());
            }
            (CleanStep::Open, Done::Opened(file)) => self.output().opened(file),
            (CleanStep::Write, _) => self.output().written(),
            (CleanStep::Cut, _) => self.output().was_cut(),
            (CleanStep::Sync, _) => self.output().synced(),
            (step, other) => panic!("{step:?} was answered by {other:?}"),
        }
    }

    fn output(&mut self) -> &mut Output {
        self.output.as_mut().expect("an output stays while it is written")
    }

    /// The next source to read; false if that was the last before `limit`.
    pub(crate) fn next_source(&mut self, limit: usize) -> bool {
        self.at += 1;
        let Some(source) = self.sources.get(self.at).filter(|_| self.at < limit) else { return false };
        self.reader = Reader::new(source.base, source.end);
        true
    }

    /// Begins the group at the next source, if there is one: segments that together are not larger than one.
    pub(crate) fn begin_group(&mut self) {
        let from = self.at;
        let Some(first) = self.sources.get(from).copied().filter(|first| first.base < self.to) else {
            self.stage = Stage::Over;
            return;
        };
        let mut bytes = 0;
        let fits = |source: &&Source| {
            bytes += source.end.position;
            let delta = source.end.offset.since(first.base);
            bytes <= u64::from(self.settings.segment_bytes) && delta <= DELTA_MAX && source.base < self.to
        };
        let count = self.sources[from..].iter().take_while(fits).count().max(1);
        let group = &self.sources[from..from + count];
        self.reader = Reader::new(first.base, first.end);
        self.output = Some(Box::new(Output::new(from + count, group, self.settings.index_interval_bytes)));
        self.stage = Stage::Write;
    }
}

/// Kafka's indexes say offsets relative to a segment's base in 31 bits.
const DELTA_MAX: u64 = i32::MAX as u64;
