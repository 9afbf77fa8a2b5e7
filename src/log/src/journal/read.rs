//! A start: lists the files of frames that earlier runs left in a log directory, reads those that may hold something
//! of this shard's logs, and has them taken together. One file at a time, a bounded window at a time.

use std::sync::Arc;

use effect::{Done, Effects, Fault, File, FileKind, Op, OpenMode};

use crate::engine::is_shortage;
use crate::job::RootWork;
use crate::journal::assemble::{Damage, ReadFile, What, assemble};
use crate::journal::name::{DIRECTORY, Name, Superseded};
use crate::journal::{FileState, JournalFile};
use crate::root::Stage;
use crate::{Log, Offline};

/// A start's reading, as far as it is.
#[derive(Debug, Default)]
pub(crate) struct Reading {
    /// Still to be read, the next last.
    queue: Vec<Name>,
    current: Option<(Name, Vec<u8>)>,
    done: Vec<ReadFile>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReadStep {
    MakeDir,
    List,
    Open,
    Read(File),
    Sync(File),
}

impl Log {
    /// Begins to read what earlier runs left in every log directory.
    pub(crate) fn start_reading(&mut self, out: &mut Effects) {
        for root in 0..self.roots.len() {
            if self.roots[root].stage == Stage::Unread {
                self.roots[root].stage = Stage::Reading;
                if self.config.lost.contains(&self.roots[root].path) {
                    self.root_offline(root, Offline::Missing, out);
                }
                if self.roots[root].offline {
                    continue;
                }
                let path = self.roots[root].path.join(DIRECTORY);
                self.submit_root(root, RootWork::Read(ReadStep::List), Op::List { path }, out);
            }
        }
    }

    /// A step of the reading is over.
    pub(crate) fn read_step(&mut self, root: usize, step: ReadStep, done: Result<Done, Fault>, out: &mut Effects) {
        if let (ReadStep::Read(file), Err(_)) | (ReadStep::Sync(file), _) = (step, &done) {
            self.close_root_file(root, file, out);
        }
        let done = match (step, done) {
            (ReadStep::List, Err(fault)) if fault.errno == Fault::ENOENT => {
                let path = self.roots[root].path.join(DIRECTORY);
                return self.submit_root(root, RootWork::Read(ReadStep::MakeDir), Op::CreateDir { path }, out);
            }
            (ReadStep::Open, Err(fault)) if is_shortage(fault) => return self.retry_root(root),
            (_, Err(fault)) => return self.root_fault(root, fault, out),
            (_, Ok(done)) => done,
        };
        match (step, done) {
            (ReadStep::MakeDir, _) => {
                self.begin_writing(root, out);
            }
            (ReadStep::List, Done::Listed(entries)) => match self.listed(root, &entries) {
                Ok(()) => self.read_next(root, out),
                Err(damage) => self.root_damaged(root, &damage, out),
            },
            (ReadStep::Open, Done::Opened(file)) => self.read_frames_window(root, file, out),
            (ReadStep::Read(file), Done::Filled(buf)) => {
                let (_, bytes) = self.roots[root].reading.current.as_mut().expect("a file is being read");
                bytes.extend_from_slice(buf.as_slice());
                if buf.filled() == buf.capacity() {
                    drop(buf);
                    return self.read_frames_window(root, file, out);
                }
                // Its last frame may be there without its sync; what counts from now on must stay.
                self.submit_root(root, RootWork::Read(ReadStep::Sync(file)), Op::Sync { file }, out);
            }
            (ReadStep::Sync(_), _) => {
                let (name, bytes) = self.roots[root].reading.current.take().expect("a file is being read");
                self.roots[root].reading.done.push(ReadFile { name, bytes: Arc::new(bytes) });
                self.read_next(root, out);
            }
            (step, other) => panic!("{step:?} was answered by {other:?}"),
        }
    }

    fn listed(&mut self, root: usize, entries: &[(String, FileKind)]) -> Result<(), Damage> {
        let (lanes, lane) = (self.config.lanes, self.config.lane);
        let state = &mut self.roots[root];
        state.superseded = entries.iter().filter_map(|(text, _)| Superseded::parse(text)).collect();
        for (text, kind) in entries {
            let (Some(name), FileKind::File { len }) = (Name::parse(text), kind) else { continue };
            let is_own = (name.lanes, name.lane) == (lanes, lane);
            // With as many shards as now, every log was where it is now.
            if !is_own && name.lanes == lanes {
                continue;
            }
            if *len > FILE_BYTES_MAX {
                return Err(Damage { file: text.clone(), position: FILE_BYTES_MAX, what: What::TooLong });
            }
            state.reading.queue.push(name);
            if is_own {
                state.journal.next_number = state.journal.next_number.max(name.number + 1);
            } else if !state.foreign.contains(&name) {
                state.foreign.push(name);
            }
            if is_own && !name.is_checkpoint {
                let (number, bytes) = (name.number, *len);
                state.journal.files.push(JournalFile { number, file: None, bytes, last: None, state: FileState::Old });
            } else if is_own {
                state.checkpoint.old.push(name.number);
            }
        }
        state.reading.queue.sort_unstable();
        Ok(())
    }

    pub(crate) fn read_next(&mut self, root: usize, out: &mut Effects) {
        let reading = &self.roots[root].reading;
        let Some(name) = reading.queue.last().copied() else { return self.all_read(root, out) };
        let path = self.roots[root].path.join(DIRECTORY).join(name.to_string());
        self.submit_root(root, RootWork::Read(ReadStep::Open), Op::Open { path, mode: OpenMode::Read }, out);
    }

    fn read_frames_window(&mut self, root: usize, file: File, out: &mut Effects) {
        let Some(mut buf) = self.take_memory(WINDOW_BYTES) else {
            let reading = &mut self.roots[root].reading;
            reading.queue.extend(reading.current.take().map(|(name, _)| name));
            self.close_root_file(root, file, out);
            return self.retry_root(root);
        };
        buf.limit(WINDOW_BYTES);
        let reading = &mut self.roots[root].reading;
        if reading.current.is_none() {
            let name = reading.queue.pop().expect("it was opened");
            reading.current = Some((name, Vec::new()));
        }
        let offset = reading.current.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64);
        self.submit_root(root, RootWork::Read(ReadStep::Read(file)), Op::Read { file, offset, buf }, out);
    }

    fn all_read(&mut self, root: usize, out: &mut Effects) {
        let reading = std::mem::take(&mut self.roots[root].reading);
        let (is_mine, lane, lanes) = (self.config.is_mine, self.config.lane, self.config.lanes);
        let superseded = std::mem::take(&mut self.roots[root].superseded);
        match assemble(&reading.done, &self.config.runs, &superseded, |at| is_mine(at, lane, lanes)) {
            Ok(found) => {
                self.roots[root].found = found;
                self.begin_writing(root, out);
            }
            Err(damage) => self.root_damaged(root, &damage, out),
        }
    }

    fn begin_writing(&mut self, root: usize, out: &mut Effects) {
        self.roots[root].stage = Stage::Making;
        self.want_file(root, out);
    }
}

const WINDOW_BYTES: usize = 1 << 20;
/// Nothing of ours comes near this; it is read into memory.
const FILE_BYTES_MAX: u64 = 1 << 30;
