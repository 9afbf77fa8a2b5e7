//! The disk: a tree of files, what each operation does to it, and what a crash leaves.
//!
//! Owns the rules of durability and the checks on how the broker uses files. Never knows time: the world says when an
//! operation ends and whether it fails.

mod class;
mod image;
mod names;
mod room;
mod rot;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use effect::{BLOCK_BYTES, BufMut, Done, Fault, File, FileKind, Op, OpenMode, WriteBuf};

pub use self::class::FileClass;
use self::image::Image;
use self::names::{Names, NodeId, ROOT};
use self::room::Volume;
pub(crate) use self::rot::{Rotten, RottenOffsets};
use crate::rng::Rng;

/// What a device writes whole or not at all.
pub const SECTOR_BYTES: usize = 512;

/// The tree, and the files that the broker has open.
#[derive(Debug)]
pub(crate) struct Disk {
    names: Names,
    files: BTreeMap<NodeId, Image>,
    handles: Vec<Option<Handle>>,
    busy: BTreeMap<u64, Busy>,
    stamp: u64,
    volumes: Vec<Volume>,
}

#[derive(Clone, Copy, Debug)]
struct Handle {
    node: NodeId,
    mode: OpenMode,
    class: FileClass,
    volume: usize,
}

/// What an operation in flight uses.
#[derive(Debug)]
struct Busy {
    file: Option<File>,
    /// The last change before it was asked for: what a sync covers.
    submitted: u64,
    writes: Option<Writes>,
}

#[derive(Debug)]
struct Writes {
    node: NodeId,
    offset: u64,
    /// The memory as it was when the write was asked for.
    bytes: Vec<u8>,
}

/// How the world lets an operation end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Good,
    /// The device fails.
    BadDevice,
    /// No room: only what asks for room fails.
    Full,
}

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk {
            names: Names::new(),
            files: BTreeMap::new(),
            handles: Vec::new(),
            busy: BTreeMap::new(),
            stamp: 0,
            volumes: Vec::new(),
        }
    }

    /// A directory that is there, and durable, from the beginning: a disk of its own.
    pub(crate) fn found_directory(&mut self, path: &Path) {
        self.names.create_directory(self.stamp, path).expect("nothing stands in its way");
        self.names.sync(ROOT, self.stamp);
        self.volumes.push(Volume { path: PathBuf::from(path), budget_bytes: None });
    }

    /// What kind of file an operation is about.
    pub(crate) fn class(&self, op: &Op) -> FileClass {
        match (file_of(op), path_of(op)) {
            (Some(file), _) => self.handle(file).class,
            (None, Some(path)) => FileClass::of(path),
            (None, None) => FileClass::Other,
        }
    }

    /// Which disk an operation is about.
    pub(crate) fn volume(&self, op: &Op) -> usize {
        match (file_of(op), path_of(op)) {
            (Some(file), _) => self.handle(file).volume,
            (None, path) => path.map_or(0, |path| self.volume_of(path)),
        }
    }

    /// The names in a directory, as seen now.
    pub(crate) fn names_in(&self, path: &Path) -> impl Iterator<Item = &str> {
        let names = self.names.find(path).and_then(|node| self.names.list(node));
        names.into_iter().flatten().map(|(name, _)| name)
    }

    /// An operation begins: checks what the broker promises about it.
    pub(crate) fn submit(&mut self, flight: u64, op: &Op) {
        let mut writes = None;
        match op {
            Op::Write { file, offset, bufs, .. } => {
                let handle = self.handle(*file);
                assert!(handle.mode == OpenMode::Write, "a write needs a file opened for writing");
                let bytes = joined(bufs);
                let len = bytes.len() as u64;
                assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "unaligned write at {offset}");
                assert!(len > 0, "an empty write");
                let has_room = handle.class != FileClass::Segment || self.image(handle.node).has_room(*offset, len);
                assert!(has_room, "write outside of allocated room at {offset}+{len}");
                for other in self.busy.values().filter_map(|busy| busy.writes.as_ref()) {
                    let apart = other.offset + other.bytes.len() as u64 <= *offset || *offset + len <= other.offset;
                    assert!(other.node != handle.node || apart, "two writes in flight overlap at {offset}");
                }
                writes = Some(Writes { node: handle.node, offset: *offset, bytes });
            }
            Op::Read { file, offset, buf } => {
                // Through the page cache a read may begin and end anywhere.
                let block = if self.handle(*file).mode == OpenMode::Splice { 1 } else { BLOCK_BYTES };
                assert!(offset.is_multiple_of(block as u64), "unaligned read at {offset}");
                assert!(buf.filled().is_multiple_of(block), "unaligned read buffer");
                assert!(buf.capacity().is_multiple_of(block), "unaligned read length");
                assert!(buf.filled() < buf.capacity(), "an empty read");
            }
            Op::SendFile { file, offset, len, .. } => {
                let handle = self.handle(*file);
                assert!(handle.mode == OpenMode::Splice, "a splice needs a file opened for it");
                assert!(offset + len <= self.image(handle.node).len(), "splice beyond the file's end");
            }
            Op::Allocate { file, len, .. } => {
                assert!(self.handle(*file).mode == OpenMode::Write, "room needs a file opened for writing");
                assert!(*len > 0, "no room asked for");
            }
            Op::SetLen { file, .. } => {
                let node = self.handle(*file).node;
                assert!(self.handle(*file).mode == OpenMode::Write, "a cut needs a file opened for writing");
                let idle = !self.busy.values().filter_map(|busy| busy.writes.as_ref()).any(|busy| busy.node == node);
                assert!(idle, "a cut while a write is in flight");
            }
            Op::CloseFile { file } => {
                self.handle(*file);
                let idle = self.busy.values().all(|busy| busy.file != Some(*file));
                assert!(idle, "a file is closed while an operation on it is in flight");
            }
            Op::Sync { file } => drop(self.handle(*file)),
            _ => (),
        }
        self.busy.insert(flight, Busy { file: file_of(op), submitted: self.stamp, writes });
    }

    /// An operation ends: its effect, and its answer.
    pub(crate) fn finish(&mut self, flight: u64, op: Op, verdict: Verdict, rng: &mut Rng) -> Done {
        let busy = self.busy.remove(&flight).expect("was submitted");
        let fault = |errno| Done::Failed(Fault { op: op.kind(), errno });
        if verdict == Verdict::BadDevice {
            self.fail(&op, busy, rng);
            return fault(Fault::EIO);
        }
        self.stamp += 1;
        let stamp = self.stamp;
        match op {
            Op::Open { ref path, mode } => {
                let known = self.names.find(path).filter(|node| !self.names.is_directory(*node));
                let made = || if mode == OpenMode::Write { self.names.create_file(stamp, path) } else { None };
                match known.or_else(made) {
                    Some(node) => {
                        self.files.entry(node).or_default();
                        let (class, volume) = (FileClass::of(path), self.volume_of(path));
                        Done::Opened(self.open(Handle { node, mode, class, volume }))
                    }
                    None => fault(Fault::ENOENT),
                }
            }
            Op::Read { file, offset, buf } => Done::Filled(self.read(file, offset, buf, rng)),
            Op::Write { file, ref bufs, sync, .. } => {
                let writes = busy.writes.expect("a write has bytes");
                let now = joined(bufs);
                let bytes = mixed(writes.bytes, &now, rng);
                let len = bytes.len() as u64;
                if !self.image(writes.node).has_room(writes.offset, len) {
                    if verdict == Verdict::Full || !self.fits(file, writes.offset, len) {
                        return fault(Fault::ENOSPC);
                    }
                    self.image_mut(file).allocate(stamp, writes.offset, len);
                }
                let image = self.files.get_mut(&writes.node).expect("open files exist");
                if sync {
                    image.write_durable(stamp, busy.submitted, writes.offset, &bytes);
                } else {
                    image.write(stamp, writes.offset, &bytes, || true);
                }
                Done::Finished
            }
            Op::Sync { file } => {
                self.image_mut(file).sync(busy.submitted);
                Done::Finished
            }
            Op::Allocate { .. } if verdict == Verdict::Full => fault(Fault::ENOSPC),
            Op::Allocate { file, offset, len } if !self.fits(file, offset, len) => fault(Fault::ENOSPC),
            Op::Allocate { file, offset, len } => {
                self.image_mut(file).allocate(stamp, offset, len);
                Done::Finished
            }
            Op::SetLen { file, len } => {
                self.image_mut(file).set_len(stamp, len);
                Done::Finished
            }
            Op::CloseFile { file } => {
                self.handles[file.0 as usize] = None;
                Done::Finished
            }
            Op::CreateDir { ref path } => match self.names.create_directory(stamp, path) {
                Some(()) => Done::Finished,
                None => fault(ENOTDIR),
            },
            Op::List { ref path } => match self.names.find(path).and_then(|node| self.names.list(node)) {
                Some(names) => Done::Listed(names.map(|(name, node)| (name.to_owned(), self.kind(node))).collect()),
                None => fault(Fault::ENOENT),
            },
            Op::Rename { ref from, ref to } => match self.names.rename(stamp, from, to) {
                Some(()) => Done::Finished,
                None => fault(Fault::ENOENT),
            },
            Op::Remove { ref path } => {
                self.names.remove(stamp, path);
                Done::Finished
            }
            Op::SyncDir { ref path } => match self.names.find(path) {
                Some(node) => {
                    self.names.sync(node, busy.submitted);
                    Done::Finished
                }
                None => fault(Fault::ENOENT),
            },
            Op::SyncTree { ref path } => match self.names.find(path) {
                Some(node) => {
                    let below = self.names.below(node);
                    self.names.sync_all(&below, busy.submitted);
                    for node in &below {
                        self.files.entry(*node).and_modify(|image| image.sync(busy.submitted));
                    }
                    Done::Finished
                }
                None => fault(Fault::ENOENT),
            },
            Op::Space { ref path } => {
                let (free_bytes, total_bytes) = self.space(self.volume_of(path));
                Done::Space { free_bytes: if verdict == Verdict::Full { 0 } else { free_bytes }, total_bytes }
            }
            _ => unreachable!("not an operation of the disk"),
        }
    }

    /// Bytes for a splice. The range was checked when the splice began.
    pub(crate) fn splice(&self, file: File, offset: u64, out: &mut [u8]) -> usize {
        self.image(self.handle(file).node).read(offset, out)
    }

    /// A splice has ended.
    pub(crate) fn splice_ended(&mut self, flight: u64) {
        self.busy.remove(&flight);
    }

    /// The process dies: operations in flight happen, happen in part or not at all; every file is closed.
    pub(crate) fn kill(&mut self, in_flight: Vec<(u64, Op)>, rng: &mut Rng) {
        for (flight, op) in in_flight {
            match op {
                Op::Write { .. } | Op::Sync { .. } | Op::SyncTree { .. } => {
                    let busy = self.busy.remove(&flight).expect("was submitted");
                    if let Some(writes) = busy.writes {
                        self.write_torn(writes, rng);
                    }
                }
                Op::Read { .. } | Op::List { .. } | Op::Space { .. } | Op::CloseFile { .. } | Op::SendFile { .. } => (),
                op if rng.coin() => drop(self.finish(flight, op, Verdict::Good, rng)),
                _ => (),
            }
        }
        self.busy.clear();
        self.handles.clear();
    }

    /// The power fails, after a kill.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) {
        assert!(self.busy.is_empty());
        let reach = self.names.power_cut(rng);
        for image in self.files.values_mut() {
            image.power_cut(rng);
        }
        self.files.retain(|node, _| reach.contains(node));
        // A name may have survived of a file that was never written.
        for node in reach.into_iter().filter(|node| !self.names.is_directory(*node)) {
            self.files.entry(node).or_default();
        }
    }

    fn fail(&mut self, op: &Op, busy: Busy, rng: &mut Rng) {
        if let Some(writes) = busy.writes {
            self.write_torn(writes, rng);
        } else if let Op::Sync { file } = op {
            self.image_mut(*file).sync_failed(busy.submitted);
        } else if let Op::SyncTree { path } = op {
            for node in self.names.find(path).map(|node| self.names.below(node)).unwrap_or_default() {
                self.files.entry(node).and_modify(|image| image.sync_failed(busy.submitted));
            }
        } else if let Op::CloseFile { file } = op {
            // Closed it is all the same.
            self.handles[file.0 as usize] = None;
        }
    }

    fn write_torn(&mut self, writes: Writes, rng: &mut Rng) {
        self.stamp += 1;
        let stamp = self.stamp;
        let reached = [0, 500, 900, 1000][rng.index(4)];
        let image = self.files.get_mut(&writes.node).expect("open files exist");
        image.write(stamp, writes.offset, &writes.bytes, || rng.chance(reached));
    }

    /// A read beside a write sees each sector before or after it.
    fn read(&self, file: File, offset: u64, mut buf: BufMut, rng: &mut Rng) -> BufMut {
        let node = self.handle(file).node;
        let out = buf.unfilled_mut();
        let count = self.image(node).read(offset, out);
        for writes in self.busy.values().filter_map(|busy| busy.writes.as_ref()).filter(|busy| busy.node == node) {
            for (sector, bytes) in writes.bytes.chunks_exact(SECTOR_BYTES).enumerate() {
                let place = writes.offset + (sector * SECTOR_BYTES) as u64;
                let Some(at) = place.checked_sub(offset).map(|at| at as usize) else { continue };
                if at + SECTOR_BYTES <= count && rng.coin() {
                    out[at..at + SECTOR_BYTES].copy_from_slice(bytes);
                }
            }
        }
        buf.advance(count);
        buf
    }

    fn open(&mut self, handle: Handle) -> File {
        // The lowest free number, as a kernel gives: a stale number soon names another file.
        let place = self.handles.iter().position(Option::is_none).unwrap_or(self.handles.len());
        if place == self.handles.len() {
            self.handles.push(None);
        }
        self.handles[place] = Some(handle);
        File(place as i32)
    }

    fn handle(&self, file: File) -> Handle {
        self.handles.get(file.0 as usize).copied().flatten().unwrap_or_else(|| panic!("{file:?} is not open"))
    }

    fn image(&self, node: NodeId) -> &Image {
        &self.files[&node]
    }

    fn image_mut(&mut self, file: File) -> &mut Image {
        let node = self.handle(file).node;
        self.files.get_mut(&node).expect("open files exist")
    }

    fn kind(&self, node: NodeId) -> FileKind {
        if self.names.is_directory(node) {
            return FileKind::Directory;
        }
        FileKind::File { len: self.files.get(&node).map_or(0, Image::len) }
    }
}

fn joined(bufs: &[WriteBuf]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(bufs.iter().map(WriteBuf::len).sum());
    bufs.iter().for_each(|buf| bytes.extend_from_slice(&buf.to_vec()));
    bytes
}

/// The memory of a write may change beyond what is published while the device reads it.
fn mixed(mut submitted: Vec<u8>, finished: &[u8], rng: &mut Rng) -> Vec<u8> {
    assert!(submitted.len() == finished.len());
    if submitted != finished {
        for (old, new) in submitted.chunks_mut(SECTOR_BYTES).zip(finished.chunks(SECTOR_BYTES)) {
            if rng.coin() {
                old.copy_from_slice(new);
            }
        }
    }
    submitted
}

fn file_of(op: &Op) -> Option<File> {
    match op {
        Op::Read { file, .. }
        | Op::Write { file, .. }
        | Op::Sync { file }
        | Op::Allocate { file, .. }
        | Op::SetLen { file, .. }
        | Op::SendFile { file, .. }
        | Op::CloseFile { file } => Some(*file),
        _ => None,
    }
}

fn path_of(op: &Op) -> Option<&Path> {
    match op {
        Op::Open { path, .. }
        | Op::CreateDir { path }
        | Op::List { path }
        | Op::Remove { path }
        | Op::SyncDir { path }
        | Op::SyncTree { path }
        | Op::Space { path } => Some(path),
        // What it becomes.
        Op::Rename { to, .. } => Some(to),
        _ => None,
    }
}

/// A file stands where a directory should.
const ENOTDIR: i32 = 20;
