//! The way of an index to its files and back. They are written when a segment has been closed, one segment at a time
//! for the shard, without a sync; they are read when an old segment is first asked for.
//! Invariant: whatever happens to them, reading goes on: an index that cannot be read is built from its segment, one
//! that cannot be written is not.

use std::collections::VecDeque;
use std::path::PathBuf;

use effect::{BLOCK_BYTES, BufMut, Chunk, Done, Effects, Fault, File, Op, OpenMode};
use model::Offset;

use crate::cold::Task;
use crate::index_format::{FILE_BYTES_MAX, SUFFIXES, decode, encode};
use crate::job::{IndexStep, Work};
use crate::partition::{Partition, State};
use crate::{Event, Log, LogRef, ReadError};

/// The indexes on their way to the disk.
#[derive(Debug, Default)]
pub(crate) struct IndexWriter {
    queue: VecDeque<(LogRef, Offset)>,
    current: Option<Writing>,
}

#[derive(Debug)]
struct Writing {
    log: LogRef,
    base: Offset,
    files: [Vec<u8>; 3],
    /// Which of them is being written.
    at: usize,
    file: Option<File>,
    /// What the disk reads from.
    memory: Option<Chunk>,
}

/// The files of an index on their way into memory.
#[derive(Debug)]
pub(crate) struct Loading {
    base: Offset,
    /// What came so far.
    files: Vec<Vec<u8>>,
    /// For those to come.
    memory: Vec<BufMut>,
}

impl Log {
    /// A segment was closed: its index may leave memory, and goes to its files.
    pub(crate) fn segment_closed(&mut self, log: LogRef, base: Offset, out: &mut Effects) {
        let last = self.known(log).segments.last().is_some_and(|last| last.base == base);
        // The last segment is closed with its log, and goes on growing when that is opened again.
        if !last {
            self.keep_index(log, base);
            self.write_index(log, base, out);
        }
    }

    /// Puts the index of a closed segment into its files, some time.
    pub(crate) fn write_index(&mut self, log: LogRef, base: Offset, out: &mut Effects) {
        if self.index_writer.queue.len() < QUEUE_MAX {
            self.index_writer.queue.push_back((log, base));
        }
        self.pump_index_writer(out);
    }

    /// Begins to write the next index, unless one is being written.
    pub(crate) fn pump_index_writer(&mut self, out: &mut Effects) {
        while self.index_writer.current.is_none() {
            let Some((log, base)) = self.index_writer.queue.front().copied() else { return };
            let Some(files) = self.index_files(log, base) else {
                self.index_writer.queue.pop_front();
                continue;
            };
            // Without room for a file it waits for a later tick.
            let Some(closed) = self.files.acquire_transient() else { return };
            if let Some(file) = closed {
                self.close_file(log, file, out);
            }
            self.index_writer.queue.pop_front();
            self.index_writer.current = Some(Writing { log, base, files, at: 0, file: None, memory: None });
            self.open_index_file(log, base, 0, OpenMode::Write, Work::IndexWrite(IndexStep::Open), out);
        }
    }

    /// Whether an index of this log is being written.
    pub(crate) fn is_writing_index(&self, log: LogRef) -> bool {
        self.index_writer.current.as_ref().is_some_and(|writing| writing.log == log)
    }

    fn index_files(&self, log: LogRef, base: Offset) -> Option<[Vec<u8>; 3]> {
        let partition = self.partition(log)?;
        // An exchange of segments has removed the old ones' files, and writes the new one's at its end.
        if !matches!(partition.state, State::Open) || self.is_offline(partition) || partition.swap.is_some() {
            return None;
        }
        let at = partition.segments.binary_search_by_key(&base, |segment| segment.base).ok()?;
        let segment = partition.segments.get(at).filter(|segment| segment.sealed)?;
        encode(segment.index.as_ref()?, segment.end, base)
    }

    fn open_index_file(&mut self, log: LogRef, base: Offset, at: usize, mode: OpenMode, work: Work, out: &mut Effects) {
        let path = self.known(log).index_path(base, at);
        self.submit(log, work, Op::Open { path, mode }, out);
    }

    /// A step of an index's writing is over.
    pub(crate) fn index_written(&mut self, log: LogRef, step: IndexStep, done: Result<Done, Fault>, out: &mut Effects) {
        if let (IndexStep::Open, Ok(Done::Opened(file))) = (step, &done) {
            self.writing().file = Some(*file);
        }
        let goes_on = done.is_ok() && matches!(self.known(log).state, State::Open) && self.next_index_step(step, out);
        if !goes_on {
            let writing = self.index_writer.current.take().expect("an index is being written");
            self.files.release_transient();
            if let Some(file) = writing.file {
                self.close_file(log, file, out);
            }
            self.pump_index_writer(out);
        }
        self.look(log, out);
    }

    /// Whether there is a next step. Without memory there is none: the index is built anew when it is needed.
    fn next_index_step(&mut self, step: IndexStep, out: &mut Effects) -> bool {
        let pool = self.pool.clone();
        let writing = self.writing();
        let (log, base, at) = (writing.log, writing.base, writing.at);
        let content = &writing.files[at];
        let file = writing.file.expect("its opening was the first step");
        let len = content.len() as u64;
        match step {
            IndexStep::Open if content.is_empty() => {
                self.submit(log, Work::IndexWrite(IndexStep::SetLen), Op::SetLen { file, len }, out);
            }
            IndexStep::Open => {
                let Some(memory) = pool.take(content.len().max(BLOCK_BYTES)) else { return false };
                let mut chunk = Chunk::new(memory);
                chunk.append(content);
                let bufs = vec![chunk.blocks(0..content.len())];
                writing.memory = Some(chunk);
                let op = Op::Write { file, offset: 0, bufs, sync: false };
                self.submit(log, Work::IndexWrite(IndexStep::Write), op, out);
            }
            IndexStep::Write => {
                writing.memory = None;
                self.submit(log, Work::IndexWrite(IndexStep::SetLen), Op::SetLen { file, len }, out);
            }
            IndexStep::SetLen => {
                writing.file = None;
                writing.at += 1;
                let at = writing.at;
                self.close_file(log, file, out);
                if at == SUFFIXES.len() {
                    return false;
                }
                self.open_index_file(log, base, at, OpenMode::Write, Work::IndexWrite(IndexStep::Open), out);
            }
        }
        true
    }

    fn writing(&mut self) -> &mut Writing {
        self.index_writer.current.as_mut().expect("an index is being written")
    }

    /// Begins to read the files of a closed segment's index, unless the log reads something already.
    pub(crate) fn load_index(&mut self, log: LogRef, base: Offset, out: &mut Effects) -> Result<(), ReadError> {
        if self.cold_task(log).is_some() {
            return Ok(());
        }
        let memory = self.loading_memory().ok_or(ReadError::Busy)?;
        let Some(closed) = self.files.acquire_transient() else {
            self.starve(log);
            return Ok(());
        };
        if let Some(file) = closed {
            self.close_file(log, file, out);
        }
        let loading = Loading { base, files: Vec::new(), memory };
        let cold = self.known(log).cold.get_or_insert_default();
        cold.task = Some(Task::Files { base });
        cold.loading = Some(loading);
        self.open_index_file(log, base, 0, OpenMode::Read, Work::IndexOpen, out);
        Ok(())
    }

    fn loading_memory(&mut self) -> Option<Vec<BufMut>> {
        let take = |_| {
            let mut buf = self.take_memory(FILE_BYTES_MAX)?;
            buf.limit(FILE_BYTES_MAX);
            Some(buf)
        };
        SUFFIXES.iter().map(take).collect()
    }

    /// A file of an index is open, or is not.
    pub(crate) fn index_opened(&mut self, log: LogRef, done: Result<Done, Fault>, out: &mut Effects) {
        match done {
            Ok(Done::Opened(file)) => {
                let buf = self.loading(log).memory.pop().expect("there is one for each file");
                self.submit(log, Work::IndexRead(file), Op::Read { file, offset: 0, buf }, out);
            }
            Ok(other) => panic!("an opening was answered by {other:?}"),
            Err(_) => self.index_loaded(log, out),
        }
    }

    /// A file of an index was read, or was not.
    pub(crate) fn index_file_read(&mut self, log: LogRef, file: File, done: Result<Done, Fault>, out: &mut Effects) {
        self.close_file(log, file, out);
        match done {
            // One that fills the memory may be longer, and is none of ours.
            Ok(Done::Filled(buf)) if buf.filled() < FILE_BYTES_MAX => {
                let loading = self.loading(log);
                loading.files.push(buf.as_slice().to_vec());
                let (base, at) = (loading.base, loading.files.len());
                if at < SUFFIXES.len() {
                    self.open_index_file(log, base, at, OpenMode::Read, Work::IndexOpen, out);
                } else {
                    self.index_loaded(log, out);
                }
            }
            Ok(Done::Filled(_)) | Err(_) => self.index_loaded(log, out),
            Ok(other) => panic!("a read was answered by {other:?}"),
        }
    }

    /// All files were read, or one could not be: then the segment is scanned.
    fn index_loaded(&mut self, log: LogRef, out: &mut Effects) {
        self.files.release_transient();
        let stale = self.take_stale(log);
        let partition = self.known(log);
        let cold = partition.cold.as_mut().expect("an index is being loaded");
        cold.task = None;
        let Loading { base, files, .. } = cold.loading.take().expect("an index is being loaded");
        if let Some(segment) = partition.segment_mut(base)
            && segment.index.is_none()
            && !stale
        {
            let files: Option<[Vec<u8>; 3]> = files.try_into().ok();
            segment.index = files.and_then(|files| decode(base, segment.end, &files));
            segment.index_lost = segment.index.is_none();
            self.keep_index(log, base);
        }
        self.events.push(Event::Ready { log });
        self.look(log, out);
    }

    /// There is no room for one more file: the log is looked at again when there is.
    fn starve(&mut self, log: LogRef) {
        let partition = self.known(log);
        if !partition.starved {
            partition.starved = true;
            self.starved.push_back(log);
        }
    }

    fn loading(&mut self, log: LogRef) -> &mut Loading {
        let cold = self.known(log).cold.as_mut().expect("an index is being loaded");
        cold.loading.as_mut().expect("an index is being loaded")
    }
}

impl Partition {
    pub(crate) fn index_path(&self, base: Offset, at: usize) -> PathBuf {
        self.dir.join(format!("{:020}.{}", base.get(), SUFFIXES[at]))
    }

    /// Where the index of a segment may lie.
    pub(crate) fn index_paths(&self, base: Offset) -> [PathBuf; 3] {
        [0, 1, 2].map(|at| self.index_path(base, at))
    }
}

/// Closed segments that wait for their index to be written; those beyond are read once more when they are needed.
const QUEUE_MAX: usize = 1024;
