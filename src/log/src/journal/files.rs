//! The journal's files: made and written with zeros before their time, reused when nothing in them is needed.
//! A frame then changes no file's metadata, and its sync costs what the device costs.

use effect::{Chunk, Done, Effects, Fault, File, Op, OpKind, OpenMode};

use crate::Log;
use crate::engine::{is_full, is_shortage, is_unknown};
use crate::job::RootWork;
use crate::journal::name::{DIRECTORY, Name};
use crate::journal::{FileState, JournalFile};
use crate::root::Stage;
use crate::segment::BLOCK;

/// The making of a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileStep {
    Open,
    /// The opening of a file of an earlier run, which was written before.
    Reopen,
    Allocate,
    Zero(u64),
    Sync,
    SyncDir,
    /// The journal's own name, with the first file of a run: whoever made it may not have come to that.
    SyncRoot,
}

impl Log {
    /// Sees to it that a file is ready to begin with, and when the active one is full.
    pub(crate) fn want_file(&mut self, root: usize, out: &mut Effects) {
        let most = self.config.journal_bytes_max;
        let offline = self.roots[root].offline;
        let journal = &mut self.roots[root].journal;
        let has_free = journal.files.iter().any(|file| file.state == FileState::Free);
        if journal.making || has_free || offline {
            return;
        }
        let is_first = journal.files.iter().all(|file| file.state == FileState::Old);
        let share = most / 4 / BLOCK * BLOCK;
        let bytes = if is_first { FIRST_FILE_BYTES } else { FILE_BYTES }.min(share).max(FIRST_FILE_BYTES);
        let is_least = journal.files.iter().filter(|file| file.state != FileState::Old).count() < FILES_MIN;
        let total = journal.total_bytes();
        if !is_least && (total + bytes > most || self.room_ahead(root, bytes) < bytes) {
            // The next checkpoint sets one free.
            return;
        }
        self.use_room(root, 2 * bytes);
        let journal = &mut self.roots[root].journal;
        journal.making = true;
        let number = journal.next_number;
        journal.next_number += 1;
        journal.files.push(JournalFile { number, file: None, bytes, last: None, state: FileState::Making });
        let path = self.frames_path(root, number, false);
        let op = Op::Open { path, mode: OpenMode::Write };
        self.submit_root(root, RootWork::File(number, FileStep::Open), op, out);
    }

    /// Opens a file of an earlier run, to be used again.
    fn reopen_file(&mut self, root: usize, number: u64, out: &mut Effects) {
        self.roots[root].journal.making = true;
        self.journal_file(root, number).state = FileState::Making;
        let path = self.frames_path(root, number, false);
        let op = Op::Open { path, mode: OpenMode::Write };
        self.submit_root(root, RootWork::File(number, FileStep::Reopen), op, out);
    }

    /// A step of the making of a file is over.
    pub(crate) fn file_step(
        &mut self,
        root: usize,
        number: u64,
        step: FileStep,
        done: Result<Done, Fault>,
        out: &mut Effects,
    ) {
        let done = match done {
            Ok(done) => done,
            // The zeros make the room then.
            Err(fault) if is_unknown(fault) && step == FileStep::Allocate => {
                self.cannot_reserve(root, fault);
                Done::Finished
            }
            Err(fault) => return self.file_failed(root, number, fault, out),
        };
        let unreserved = self.roots[root].unreserved;
        let file = self.journal_file(root, number);
        let bytes = file.bytes;
        let next = match (step, done) {
            (FileStep::Open, Done::Opened(opened)) => {
                file.file = Some(opened);
                if unreserved {
                    return self.zero(root, number, 0, out);
                }
                (FileStep::Allocate, Op::Allocate { file: opened, offset: 0, len: bytes })
            }
            (FileStep::Reopen, Done::Opened(opened)) => {
                file.file = Some(opened);
                return self.file_made(root, number, out);
            }
            (FileStep::Allocate, _) => return self.zero(root, number, 0, out),
            (FileStep::Zero(to), _) if to < bytes => return self.zero(root, number, to, out),
            (FileStep::Zero(_), _) => {
                let file = file.file.expect("it was written");
                (FileStep::Sync, Op::Sync { file })
            }
            (FileStep::Sync, _) => {
                let path = self.roots[root].path.join(DIRECTORY);
                (FileStep::SyncDir, Op::SyncDir { path })
            }
            (FileStep::SyncDir, _) if self.roots[root].stage == Stage::Making => {
                let path = self.roots[root].path.clone();
                (FileStep::SyncRoot, Op::SyncDir { path })
            }
            (FileStep::SyncDir | FileStep::SyncRoot, _) => return self.file_made(root, number, out),
            (FileStep::Open | FileStep::Reopen, other) => panic!("an opening was answered by {other:?}"),
        };
        self.submit_root(root, RootWork::File(number, next.0), next.1, out);
    }

    fn file_made(&mut self, root: usize, number: u64, out: &mut Effects) {
        self.journal_file(root, number).state = FileState::Free;
        let journal = &mut self.roots[root].journal;
        journal.making = false;
        self.wake();
        let journal = &mut self.roots[root].journal;
        journal.blocked = false;
        if journal.active.is_none() {
            journal.active = journal.files.iter().position(|file| file.number == number);
            self.journal_file(root, number).state = FileState::Active;
        }
        if self.roots[root].stage == Stage::Making {
            self.roots[root].stage = Stage::Ready;
            self.roots_ready(out);
        }
    }

    /// A full disk passes; the file is made anew later.
    fn file_failed(&mut self, root: usize, number: u64, fault: Fault, out: &mut Effects) {
        if !(is_full(fault) || is_shortage(fault)) || fault.op == OpKind::Sync {
            return self.root_fault(root, fault, out);
        }
        if is_full(fault) {
            self.root_full(root, fault);
        }
        let journal = &mut self.roots[root].journal;
        journal.making = false;
        let at = journal.files.iter().position(|file| file.number == number).expect("it was being made");
        let file = journal.files.swap_remove(at);
        // What was swapped may be the file that frames go to.
        if journal.active == Some(journal.files.len()) {
            journal.active = Some(at);
        }
        if let Some(file) = file.file {
            self.close_root_file(root, file, out);
        }
        let path = self.frames_path(root, number, false);
        self.submit_root(root, RootWork::Remove, Op::Remove { path }, out);
        self.retry_root(root);
    }

    /// Sets files free whose frames nobody needs: all before `keep`, and with `old` those of earlier runs.
    pub(crate) fn recycle_files(&mut self, root: usize, keep: u64, old: bool, out: &mut Effects) {
        let journal = &mut self.roots[root].journal;
        for file in &mut journal.files {
            let is_done = file.state == FileState::Full && file.last.is_none_or(|last| last < keep);
            if is_done {
                file.state = FileState::Free;
                journal.blocked = false;
            }
        }
        if !old {
            return;
        }
        let numbers: Vec<u64> =
            journal.files.iter().filter(|file| file.state == FileState::Old).map(|file| file.number).collect();
        let most = self.config.journal_bytes_max;
        for number in numbers {
            if self.roots[root].journal.total_bytes() > most || self.journal_file(root, number).bytes < FILE_BYTES {
                let files = &mut self.roots[root].journal.files;
                let at = files.iter().position(|file| file.number == number).expect("it was listed");
                let active = self.roots[root].journal.active.map(|at| self.roots[root].journal.files[at].number);
                self.roots[root].journal.files.remove(at);
                let files = &self.roots[root].journal.files;
                let active = active.and_then(|number| files.iter().position(|file| file.number == number));
                self.roots[root].journal.active = active;
                let path = self.frames_path(root, number, false);
                self.submit_root(root, RootWork::Remove, Op::Remove { path }, out);
            } else {
                self.reopen_file(root, number, out);
            }
        }
    }

    /// The next write of zeros into a file that is being made.
    fn zero(&mut self, root: usize, number: u64, from: u64, out: &mut Effects) {
        let file = self.journal_file(root, number);
        let (bytes, handle) = (file.bytes, file.file.expect("it is open"));
        let len = (bytes - from).min(ZERO_BYTES_MAX);
        let Some(bufs) = self.zero_blocks(len) else { return self.file_failed(root, number, shortage(), out) };
        let op = Op::Write { file: handle, offset: from, bufs, sync: false };
        self.submit_root(root, RootWork::File(number, FileStep::Zero(from + len)), op, out);
    }

    /// So many bytes of zeros, all of them the same few; `None` without memory for these.
    fn zero_blocks(&mut self, len: u64) -> Option<Vec<effect::WriteBuf>> {
        if self.zeros.is_none() {
            let mut memory = self.take_memory(ZERO_CHUNK_BYTES)?;
            memory.limit(ZERO_CHUNK_BYTES);
            memory.unfilled_mut().fill(0);
            memory.advance(ZERO_CHUNK_BYTES);
            self.zeros = Some(Chunk::new(memory));
        }
        let zeros = self.zeros.as_mut().expect("just made");
        let mut left = usize::try_from(len).expect("bounded by a constant");
        let mut bufs = Vec::with_capacity(left.div_ceil(ZERO_CHUNK_BYTES));
        while left > 0 {
            let part = left.min(ZERO_CHUNK_BYTES);
            bufs.push(zeros.blocks(0..part));
            left -= part;
        }
        Some(bufs)
    }

    fn journal_file(&mut self, root: usize, number: u64) -> &mut JournalFile {
        let mut files = self.roots[root].journal.files.iter_mut();
        files.find(|file| file.number == number).expect("a file stays while it is being made")
    }

    pub(crate) fn frames_path(&self, root: usize, number: u64, is_checkpoint: bool) -> std::path::PathBuf {
        let name = Name { lanes: self.config.lanes, lane: self.config.lane, number, is_checkpoint };
        self.roots[root].path.join(DIRECTORY).join(name.to_string())
    }

    pub(crate) fn close_root_file(&mut self, root: usize, file: File, out: &mut Effects) {
        self.submit_root(root, RootWork::Close, Op::CloseFile { file }, out);
    }
}

/// No memory for a moment.
fn shortage() -> Fault {
    Fault { op: OpKind::Write, errno: 12 }
}

/// One to write to, one to change to, one that is kept for a checkpoint more.
const FILES_MIN: usize = 3;
/// A small one, so that a first start is quick; then larger ones.
const FIRST_FILE_BYTES: u64 = 1 << 20;
const FILE_BYTES: u64 = 16 << 20;
const ZERO_BYTES_MAX: u64 = 4 << 20;
const ZERO_CHUNK_BYTES: usize = 64 * 1024;
