//! The open files of a shard's logs: a bounded table, the longest unused closed first.
//! Owns which file is open and who uses it. Pushes no operation: it says what to open and what to close.
//! Invariants: at most `files_max` files are open or opening, transient ones included (those just being closed aside),
//! and at most half as many for sending, which clients that don't read keep open: writes always find room;
//! a file in use is never closed.

use std::collections::BTreeMap;

use effect::{File, OpenMode, Slots};
use model::Offset;

use crate::LogRef;

/// What a file is opened for. A segment may be open in several ways.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Mode {
    Write,
    Read,
    Splice,
}

impl Mode {
    pub(crate) fn open_mode(self) -> OpenMode {
        match self {
            Mode::Write => OpenMode::Write,
            Mode::Read => OpenMode::Read,
            Mode::Splice => OpenMode::Splice,
        }
    }
}

/// Which file: a segment of a log.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Key {
    pub(crate) log: LogRef,
    pub(crate) base: Offset,
    pub(crate) mode: Mode,
}

/// Names an entry of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct HandleId {
    pub(crate) slot: u32,
    pub(crate) generation: u32,
}

#[derive(Debug)]
struct Handle {
    key: Key,
    /// None while it is being opened.
    file: Option<File>,
    pins: u32,
    used: u64,
    /// Its log wants it closed as soon as nobody uses it.
    doomed: bool,
}

/// The answer to who wants a file.
#[derive(Debug)]
pub(crate) enum Acquired {
    /// It is open, and pinned for the caller.
    Open(HandleId, File),
    /// The caller shall open it under this name, after closing what is named.
    ToOpen(HandleId, Option<File>),
    /// Somebody opens it already.
    Opening,
    /// Too many files are in use.
    Full,
}

#[derive(Debug)]
pub(crate) struct Files {
    files_max: usize,
    handles: Slots<Handle>,
    by_key: BTreeMap<Key, HandleId>,
    /// Open and not in use, the longest unused first.
    idle: BTreeMap<u64, HandleId>,
    /// Of these, the ones for sending.
    idle_splices: BTreeMap<u64, HandleId>,
    /// Open or opening for sending.
    splices: usize,
    uses: u64,
    transient: usize,
}

impl Files {
    pub(crate) fn new(files_max: usize) -> Files {
        assert!(files_max > 0);
        Files {
            files_max,
            handles: Slots::default(),
            by_key: BTreeMap::new(),
            idle: BTreeMap::new(),
            idle_splices: BTreeMap::new(),
            splices: 0,
            uses: 0,
            transient: 0,
        }
    }

    pub(crate) fn acquire(&mut self, key: Key) -> Acquired {
        if let Some(id) = self.by_key.get(&key).copied() {
            let handle = self.handles.get_mut(id.slot, id.generation).expect("a key names a handle");
            let Some(file) = handle.file else { return Acquired::Opening };
            handle.pins += 1;
            if handle.pins == 1 {
                self.idle.remove(&handle.used);
                self.idle_splices.remove(&handle.used);
            }
            return Acquired::Open(id, file);
        }
        let is_splice = key.mode == Mode::Splice;
        let mut closed = None;
        if is_splice && self.splices >= self.splices_max() {
            closed = self.evict_splice();
            if closed.is_none() {
                return Acquired::Full;
            }
        } else if self.open_count() >= self.files_max {
            closed = self.evict();
            if closed.is_none() {
                return Acquired::Full;
            }
        }
        self.splices += usize::from(is_splice);
        let handle = Handle { key, file: None, pins: 1, used: 0, doomed: false };
        let (slot, generation) = self.handles.insert(handle);
        let id = HandleId { slot, generation };
        self.by_key.insert(key, id);
        Acquired::ToOpen(id, closed)
    }

    /// Room for a small file that is opened, used and closed in one go: `None` if too many files are in use, else
    /// maybe a file to close first.
    pub(crate) fn acquire_transient(&mut self) -> Option<Option<File>> {
        let mut closed = None;
        if self.open_count() >= self.files_max {
            closed = Some(self.evict()?);
        }
        self.transient += 1;
        Some(closed)
    }

    pub(crate) fn release_transient(&mut self) {
        assert!(self.transient > 0);
        self.transient -= 1;
    }

    /// An opening came to its end; `None` if it failed. Answers a file to close at once.
    pub(crate) fn opened(&mut self, id: HandleId, file: Option<File>) -> Option<File> {
        let handle = self.handles.get_mut(id.slot, id.generation).expect("an opening handle stays");
        match file {
            Some(file) => {
                handle.file = Some(file);
                self.unpin(id)
            }
            None => {
                self.drop_handle(id);
                None
            }
        }
    }

    /// One use less. Answers a file to close.
    pub(crate) fn unpin(&mut self, id: HandleId) -> Option<File> {
        let handle = self.handles.get_mut(id.slot, id.generation).expect("a pinned handle stays");
        assert!(handle.pins > 0);
        handle.pins -= 1;
        if handle.pins > 0 {
            return None;
        }
        if handle.doomed {
            return self.drop_handle(id);
        }
        self.uses += 1;
        handle.used = self.uses;
        self.idle.insert(handle.used, id);
        if handle.key.mode == Mode::Splice {
            self.idle_splices.insert(handle.used, id);
        }
        None
    }

    /// Closes a log's files as soon as they are not in use: those of the segments below `below`.
    pub(crate) fn doom(&mut self, log: LogRef, below: Option<Offset>) -> Vec<File> {
        self.doom_range(log, Offset::ZERO, below)
    }

    /// The same from `from` on.
    pub(crate) fn doom_range(&mut self, log: LogRef, from: Offset, below: Option<Offset>) -> Vec<File> {
        let first = Key { log, base: from, mode: Mode::Write };
        let ids: Vec<_> = self
            .by_key
            .range(first..)
            .take_while(|(key, _)| key.log == log && below.is_none_or(|below| key.base < below))
            .map(|(_, id)| *id)
            .collect();
        let mut closed = Vec::new();
        for id in ids {
            let handle = self.handles.get_mut(id.slot, id.generation).expect("a key names a handle");
            handle.doomed = true;
            // Nobody may get it any more under its old name.
            self.by_key.remove(&handle.key);
            if handle.pins == 0 {
                closed.extend(self.drop_handle(id));
            }
        }
        closed
    }

    /// Whether one more could be opened.
    pub(crate) fn has_room(&self) -> bool {
        self.open_count() < self.files_max || !self.idle.is_empty()
    }

    pub(crate) fn mode(&self, id: HandleId) -> Mode {
        self.handles.get(id.slot, id.generation).expect("a handle in use stays").key.mode
    }

    /// Whether it is closed as soon as nobody uses it.
    pub(crate) fn is_doomed(&self, id: HandleId) -> bool {
        self.handles.get(id.slot, id.generation).expect("a handle in use stays").doomed
    }

    /// Whether a segment's file is just being opened, under the name that it had when that began.
    pub(crate) fn is_opening(&self, log: LogRef, base: Offset) -> bool {
        let opens = |mode| self.by_key.get(&Key { log, base, mode });
        [Mode::Write, Mode::Read, Mode::Splice]
            .into_iter()
            .filter_map(opens)
            .any(|id| self.handles.get(id.slot, id.generation).is_some_and(|handle| handle.file.is_none()))
    }

    pub(crate) fn open_count(&self) -> usize {
        self.handles.len() + self.transient
    }

    fn evict(&mut self) -> Option<File> {
        let id = *self.idle.first_key_value()?.1;
        self.drop_handle(id)
    }

    fn evict_splice(&mut self) -> Option<File> {
        let id = *self.idle_splices.first_key_value()?.1;
        self.drop_handle(id)
    }

    fn splices_max(&self) -> usize {
        (self.files_max / 2).max(1)
    }

    fn drop_handle(&mut self, id: HandleId) -> Option<File> {
        let handle = self.handles.remove(id.slot, id.generation).expect("a handle is dropped once");
        if self.by_key.get(&handle.key) == Some(&id) {
            self.by_key.remove(&handle.key);
        }
        if self.idle.get(&handle.used) == Some(&id) {
            self.idle.remove(&handle.used);
            self.idle_splices.remove(&handle.used);
        }
        self.splices -= usize::from(handle.key.mode == Mode::Splice);
        handle.file
    }

    pub(crate) fn invariants(&self) {
        assert!(self.open_count() <= self.files_max);
        assert!(self.idle.len() <= self.handles.len());
        assert!(self.idle_splices.len() <= self.splices);
        assert!(self.splices <= self.splices_max());
    }
}
