//! The segment that a compaction writes: `<base>.log.cleaned` until it takes its sources' place.
//! Owns what is not written yet, and the index. Its file is written direct, in whole blocks, then cut to its length and
//! synced.

use effect::{BLOCK_BYTES, Chunk, Effects, File, Op, OpenMode};
use model::Offset;
use record::Header;

use super::CleanError;
use super::run::{Run, Source};
use super::slice::Step;
use crate::age::Age;
use crate::index::{Index, Place};
use crate::job::{CleanStep, Job, Work};
use crate::{Log, LogRef};

#[derive(Debug)]
pub(crate) struct Output {
    pub(crate) base: Offset,
    /// Where the last of its sources ends, and so it.
    pub(crate) end: Offset,
    /// The bases of what it replaces.
    pub(crate) sources: Vec<Offset>,
    pub(crate) ages: Vec<Age>,
    /// The source after its last.
    pub(crate) limit: usize,
    /// Whether anything is other than in its only source.
    pub(crate) changed: bool,
    pub(crate) index: Index,
    interval_bytes: u32,
    /// Where the last batch ends.
    pub(crate) next: Place,
    file: Option<File>,
    /// Whether room in the table of files is taken.
    has_room: bool,
    bytes: Vec<u8>,
    /// How many of `bytes` went to the disk.
    flushed: usize,
    /// How far the file was written.
    position: u64,
    chunk: Option<Chunk>,
    /// Nothing more comes.
    pub(crate) finishing: bool,
    cut: bool,
    pub(crate) is_synced: bool,
}

impl Output {
    pub(crate) fn new(limit: usize, group: &[Source], interval_bytes: u32) -> Output {
        let (first, last) = (group.first().expect("a group has one"), group.last().expect("a group has one"));
        Output {
            base: first.base,
            end: last.end.offset,
            sources: group.iter().map(|source| source.base).collect(),
            ages: group.iter().map(|source| source.age).collect(),
            limit,
            changed: group.len() > 1,
            index: Index::new(first.base),
            interval_bytes,
            next: Place { offset: first.base, position: 0 },
            file: None,
            has_room: false,
            bytes: Vec::new(),
            flushed: 0,
            position: 0,
            chunk: None,
            finishing: false,
            cut: false,
            is_synced: false,
        }
    }

    /// Adds a batch.
    pub(crate) fn push(&mut self, header: &Header, batch: &[u8]) -> Result<(), CleanError> {
        let end = self.next.position + batch.len() as u64;
        if end > POSITION_MAX {
            return Err(CleanError::TooLarge);
        }
        self.index.push(header, self.next.position, self.interval_bytes);
        self.bytes.extend_from_slice(batch);
        self.next = Place { offset: header.next_offset(), position: end };
        Ok(())
    }

    /// Whether a write is due before more is added.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes.len() - self.flushed >= WRITE_BYTES || self.finishing
    }

    pub(crate) fn opened(&mut self, file: File) {
        self.file = Some(file);
    }

    pub(crate) fn written(&mut self) {
        self.chunk = None;
        if self.flushed == self.bytes.len() {
            self.bytes.clear();
            self.flushed = 0;
        }
    }

    pub(crate) fn was_cut(&mut self) {
        self.cut = true;
    }

    pub(crate) fn synced(&mut self) {
        self.is_synced = true;
    }
}

impl Log {
    /// The next step of the output's way to the disk.
    pub(crate) fn pump_output(&mut self, run: &mut Run, out: &mut Effects) -> Step {
        let log = run.log;
        let output = run.output.as_mut().expect("a group is being written");
        let Some(file) = output.file else { return self.open_output(run, out) };
        let rest = output.bytes.len() - output.flushed;
        if let Some(ms) = self.clean_io_wait().filter(|_| rest > 0) {
            return Step::Pause(ms);
        }
        let (step, op) = if rest > 0 {
            let bytes = rest.min(WRITE_BYTES);
            let Some(memory) = self.take_memory(bytes.max(BLOCK_BYTES)) else { return Step::Pause(SHORTAGE_MS) };
            let mut chunk = Chunk::new(memory);
            chunk.append(&output.bytes[output.flushed..output.flushed + bytes]);
            let offset = output.position;
            output.flushed += bytes;
            output.position += bytes as u64;
            // Only the last write is not of whole blocks.
            assert!(bytes == WRITE_BYTES || output.finishing);
            let bufs = vec![chunk.blocks(0..bytes)];
            output.chunk = Some(chunk);
            self.clean_io(bytes);
            run.written_bytes += bytes as u64;
            self.metrics.log_cleaner_written_bytes_total.add(bytes as u64);
            (CleanStep::Write, Op::Write { file, offset, bufs, sync: false })
        } else if !output.cut {
            (CleanStep::Cut, Op::SetLen { file, len: output.next.position })
        } else {
            (CleanStep::Sync, Op::Sync { file })
        };
        run.waiting = true;
        self.submit(log, Work::Clean(step), op, out);
        Step::Go
    }

    fn open_output(&mut self, run: &mut Run, out: &mut Effects) -> Step {
        let log = run.log;
        let output = run.output.as_mut().expect("a group is being written");
        if !output.has_room {
            let Some(closed) = self.files.acquire_transient() else { return Step::Pause(SHORTAGE_MS) };
            output.has_room = true;
            if let Some(file) = closed {
                self.close_file(log, file, out);
            }
        }
        let path = self.known(log).cleaned_path(output.base);
        run.waiting = true;
        self.submit(log, Work::Clean(CleanStep::Open), Op::Open { path, mode: OpenMode::Write }, out);
        Step::Go
    }

    /// Closes the output's file.
    pub(crate) fn close_output(&mut self, log: LogRef, output: &mut Output, out: &mut Effects) {
        if let Some(file) = output.file.take() {
            self.close_file(log, file, out);
        }
        if std::mem::take(&mut output.has_room) {
            self.files.release_transient();
        }
    }

    /// The output is not wanted.
    pub(crate) fn discard_output(&mut self, log: LogRef, mut output: Box<Output>, out: &mut Effects) {
        self.close_output(log, &mut output, out);
        if let Some(partition) = self.partition(log) {
            let path = partition.cleaned_path(output.base);
            self.jobs.push(Job { log, work: Work::Discard }, Op::Remove { path }, out);
        }
    }
}

/// One write.
const WRITE_BYTES: usize = 256 * 1024;
/// An index can say no more, nor can Kafka's.
const POSITION_MAX: u64 = i32::MAX as u64;
pub(super) const SHORTAGE_MS: u64 = 100;
