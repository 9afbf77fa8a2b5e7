//! A disk in memory for tests: operations complete in any order, names and lengths are lost unless synced, unsynced
//! writes are torn at 512 bytes, faults come when asked for. Owns a log and drives it.
#![allow(dead_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use effect::{Done, Effects, Fault, File, FileKind, Instant, Op, OpKind, OpenMode, Pool, Token};
use log::{
    Append, AppendError, Appended, Event, Log, LogConfig, LogRef, PartitionSettings, Piece, Read, ReadError, ReadFrom,
    Run,
};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp, TopicPartition, Uuid};
use record::{BatchBuilder, Codec, Producer};

#[derive(Clone, Debug, Default)]
struct Inode {
    now: Vec<u8>,
    durable: Vec<u8>,
}

/// The disk, and what is in flight to it.
#[derive(Default)]
pub struct Disk {
    seed: u64,
    dirs: BTreeSet<PathBuf>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    inodes: Vec<Inode>,
    open: BTreeMap<i32, usize>,
    next_file: i32,
    pub pending: Vec<(Token, Op)>,
    /// Operations completed.
    pub completed: usize,
    /// Every operation begun, by kind.
    pub begun: BTreeMap<OpKind, usize>,
    /// Which operations fail.
    pub fail: Option<(OpKind, i32)>,
    /// The operation with this number fails with EIO.
    pub fail_at: Option<usize>,
    pub open_max: usize,
    pub free_bytes: u64,
    pub write_sizes: Vec<usize>,
    /// Written without a sync, since the last one: any sector may be on the device.
    unsynced: Vec<(usize, usize, Vec<u8>)>,
}

impl Disk {
    pub fn random(&mut self) -> u64 {
        self.seed = self.seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        self.seed >> 33
    }

    /// Removes a directory with all in it, durably.
    pub fn forget(&mut self, path: &str) {
        for names in [&mut self.names, &mut self.durable_names] {
            names.retain(|name, _| !name.starts_with(path));
        }
        self.dirs.retain(|dir| !dir.starts_with(path));
    }

    /// No more room, until [`Disk::make_room`].
    pub fn fill(&mut self) {
        self.fail = Some((OpKind::Allocate, Fault::ENOSPC));
        self.free_bytes = 0;
    }

    pub fn make_room(&mut self) {
        self.fail = None;
        self.free_bytes = 1 << 39;
    }

    pub fn file(&self, path: &str) -> Option<Vec<u8>> {
        self.names.get(Path::new(path)).map(|inode| self.inodes[*inode].now.clone())
    }

    pub fn set_file(&mut self, path: &str, bytes: &[u8]) {
        let inode = Inode { now: bytes.to_vec(), durable: bytes.to_vec() };
        self.inodes.push(inode);
        let path = PathBuf::from(path);
        self.dirs.insert(path.parent().expect("absolute").to_path_buf());
        self.names.insert(path.clone(), self.inodes.len() - 1);
        self.durable_names.insert(path, self.inodes.len() - 1);
    }

    pub fn remove_file(&mut self, path: &str) {
        self.names.remove(Path::new(path));
        self.durable_names.remove(Path::new(path));
    }

    pub fn paths(&self) -> Vec<String> {
        self.names.keys().map(|path| path.display().to_string()).collect()
    }

    /// What is left after the power went: whatever was not synced may be there, or not, or half.
    pub fn crash(&mut self) {
        for (_, op) in std::mem::take(&mut self.pending) {
            if let Op::Write { file, offset, bufs, .. } = op {
                let inode = self.open[&file.0];
                let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
                for (at, sector) in bytes.chunks(512).enumerate() {
                    if self.random().is_multiple_of(2) {
                        let at = offset as usize + at * 512;
                        put(&mut self.inodes[inode].durable, at, sector);
                    }
                }
            }
        }
        for (inode, offset, bytes) in std::mem::take(&mut self.unsynced) {
            let mood = self.random() % 4;
            for (at, sector) in bytes.chunks(512).enumerate() {
                if self.random() % 4 < mood {
                    put(&mut self.inodes[inode].durable, offset + at * 512, sector);
                }
            }
        }
        for at in 0..self.inodes.len() {
            // A length that was not synced may have come through or not.
            let (now, durable) = (self.inodes[at].now.len(), self.inodes[at].durable.len());
            if now != durable && self.random().is_multiple_of(2) {
                self.inodes[at].durable.resize(now, 0);
            }
            self.inodes[at].now = self.inodes[at].durable.clone();
        }
        let unsynced: Vec<_> = self.names.iter().map(|(path, inode)| (path.clone(), *inode)).collect();
        let mut names = self.durable_names.clone();
        for (path, inode) in unsynced {
            if self.random().is_multiple_of(2) {
                names.insert(path, inode);
            }
        }
        self.names = names.clone();
        self.durable_names = names;
        self.open.clear();
    }

    /// What is left after the process was killed: everything that it did; what was in flight, perhaps.
    pub fn kill(&mut self) {
        for (token, op) in std::mem::take(&mut self.pending) {
            if self.random().is_multiple_of(2) {
                self.run(token, op);
            }
        }
        self.open.clear();
    }

    fn run(&mut self, token: Token, op: Op) -> (Token, Done) {
        self.completed += 1;
        let kind = op.kind();
        if let Some((failing, errno)) = self.fail
            && failing == kind
        {
            return (token, Done::Failed(Fault { op: kind, errno }));
        }
        if self.fail_at == Some(self.completed) {
            return (token, Done::Failed(Fault { op: kind, errno: Fault::EIO }));
        }
        let done = self.perform(op).unwrap_or_else(|errno| Done::Failed(Fault { op: kind, errno }));
        (token, done)
    }

    fn perform(&mut self, op: Op) -> Result<Done, i32> {
        match op {
            Op::Open { path, mode } => {
                let inode = match self.names.get(&path) {
                    Some(inode) => *inode,
                    None if mode == OpenMode::Write => {
                        assert!(self.dirs.contains(path.parent().expect("absolute")));
                        self.inodes.push(Inode::default());
                        self.names.insert(path, self.inodes.len() - 1);
                        self.inodes.len() - 1
                    }
                    None => return Err(Fault::ENOENT),
                };
                self.next_file += 1;
                self.open.insert(self.next_file, inode);
                let closing = self.pending.iter().filter(|(_, op)| matches!(op, Op::CloseFile { .. })).count();
                self.open_max = self.open_max.max(self.open.len() - closing);
                Ok(Done::Opened(File(self.next_file)))
            }
            Op::Read { file, offset, mut buf } => {
                assert!(offset.is_multiple_of(4096));
                let bytes = &self.inodes[self.open[&file.0]].now;
                let from = (offset as usize).min(bytes.len());
                let len = buf.unfilled_mut().len().min(bytes.len() - from);
                assert!(buf.unfilled_mut().len().is_multiple_of(4096));
                buf.extend(&bytes[from..from + len]);
                Ok(Done::Filled(buf))
            }
            Op::Write { file, offset, bufs, sync } => {
                assert!(offset.is_multiple_of(4096));
                assert!(bufs.len() <= 1024, "a kernel takes no more");
                let bytes: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
                self.write_sizes.push(bytes.len());
                let which = self.open[&file.0];
                for (_, other) in &self.pending {
                    if let Op::Write { file, offset: from, bufs, .. } = other
                        && self.open[&file.0] == which
                    {
                        let to = from + bufs.iter().map(|buf| buf.len() as u64).sum::<u64>();
                        assert!(to <= offset || offset + bytes.len() as u64 <= *from, "writes in flight overlap");
                    }
                }
                let inode = &mut self.inodes[which];
                if !sync {
                    put(&mut inode.now, offset as usize, &bytes);
                    self.unsynced.push((which, offset as usize, bytes));
                    return Ok(Done::Finished);
                }
                put(&mut inode.now, offset as usize, &bytes);
                let len = inode.now.len();
                inode.durable.resize(len, 0);
                put(&mut inode.durable, offset as usize, &bytes);
                Ok(Done::Finished)
            }
            Op::Sync { file } => {
                let which = self.open[&file.0];
                self.unsynced.retain(|(inode, ..)| *inode != which);
                let inode = &mut self.inodes[which];
                inode.durable = inode.now.clone();
                Ok(Done::Finished)
            }
            Op::Allocate { file, offset, len } => {
                let inode = &mut self.inodes[self.open[&file.0]];
                let end = (offset + len) as usize;
                if inode.now.len() < end {
                    inode.now.resize(end, 0);
                }
                Ok(Done::Finished)
            }
            Op::SetLen { file, len } => {
                self.inodes[self.open[&file.0]].now.resize(len as usize, 0);
                Ok(Done::Finished)
            }
            Op::CloseFile { file } => {
                self.open.remove(&file.0).expect("closed once");
                Ok(Done::Finished)
            }
            Op::CreateDir { path } => {
                self.dirs.insert(path);
                Ok(Done::Finished)
            }
            Op::List { path } => {
                if !self.dirs.contains(&path) {
                    return Err(Fault::ENOENT);
                }
                let inside = self.names.iter().filter(|(name, _)| name.parent() == Some(&path));
                let entry = |(name, inode): (&PathBuf, &usize)| {
                    let name = name.file_name().expect("a file").to_string_lossy().into_owned();
                    (name, FileKind::File { len: self.inodes[*inode].now.len() as u64 })
                };
                Ok(Done::Listed(inside.map(entry).collect()))
            }
            Op::Rename { from, to } if self.names.contains_key(&from) => {
                let inode = self.names.remove(&from).expect("it is there");
                self.names.insert(to, inode);
                Ok(Done::Finished)
            }
            Op::Space { .. } => Ok(Done::Space { free_bytes: self.free_bytes, total_bytes: u64::MAX }),
            Op::Rename { from, to } => {
                if !self.dirs.remove(&from) {
                    return Err(Fault::ENOENT);
                }
                self.dirs.insert(to.clone());
                for names in [&mut self.names, &mut self.durable_names] {
                    let moved: Vec<_> = names.keys().filter(|name| name.starts_with(&from)).cloned().collect();
                    for name in moved {
                        let inode = names.remove(&name).expect("it is there");
                        names.insert(to.join(name.file_name().expect("a file")), inode);
                    }
                }
                Ok(Done::Finished)
            }
            Op::Remove { path } => {
                self.dirs.remove(&path);
                self.names.retain(|name, _| !name.starts_with(&path));
                Ok(Done::Finished)
            }
            Op::SyncTree { .. } => {
                self.unsynced.clear();
                self.inodes.iter_mut().for_each(|inode| inode.durable = inode.now.clone());
                self.durable_names = self.names.clone();
                Ok(Done::Finished)
            }
            Op::SyncDir { path } => {
                self.durable_names.retain(|name, _| name.parent() != Some(&path));
                let synced = self.names.iter().filter(|(name, _)| name.parent() == Some(&path));
                self.durable_names.extend(synced.map(|(name, inode)| (name.clone(), *inode)));
                Ok(Done::Finished)
            }
            other => panic!("a log has no use for {other:?}"),
        }
    }
}

fn put(file: &mut Vec<u8>, at: usize, bytes: &[u8]) {
    if file.len() < at + bytes.len() {
        file.resize(at + bytes.len(), 0);
    }
    file[at..at + bytes.len()].copy_from_slice(bytes);
}

/// A log on a disk.
pub struct World {
    pub disk: Disk,
    pub log: Log,
    pub out: Effects,
    pub events: Vec<Event>,
    pub now: Instant,
    pub pool: Pool,
    pub metrics: Arc<metrics::ShardMetrics>,
    pub wall: Timestamp,
    config: LogConfig,
    pub pool_bytes: usize,
    all_opened: bool,
    /// No operation beyond this many completes.
    pub stop_after: usize,
    pub durable: BTreeMap<LogRef, Offset>,
    /// Bytes that reads have pointed to in files.
    pub file_bytes: u64,
}

pub const TOPIC: Uuid = Uuid([7; 16]);

pub fn at(partition: u32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition }
}

pub fn name(partition: u32) -> String {
    format!("t-{partition}")
}

impl World {
    pub fn new(seed: u64, config: LogConfig) -> World {
        World::with_pool(seed, config, 64 << 20)
    }

    pub fn with_pool(seed: u64, config: LogConfig, pool_bytes: usize) -> World {
        let pool = Pool::new(pool_bytes);
        let metrics = Arc::new(metrics::ShardMetrics::default());
        let log = Log::new(config.clone(), pool.clone(), metrics.clone());
        World {
            disk: Disk { seed, dirs: [PathBuf::from("/data")].into(), free_bytes: 1 << 39, ..Disk::default() },
            log,
            out: Effects::default(),
            events: Vec::new(),
            now: Instant(1),
            wall: Timestamp(1000),
            pool,
            metrics,
            config,
            pool_bytes,
            all_opened: false,
            stop_after: usize::MAX,
            durable: BTreeMap::new(),
            file_bytes: 0,
        }
    }

    pub fn plain() -> World {
        World::new(1, LogConfig::default())
    }

    /// Begins anew on what the disk holds.
    pub fn restart(&mut self) {
        self.out = Effects::default();
        self.all_opened = false;
        let number = self.config.runs.len() as u64 + 1;
        self.config.runs.push(Run { number, salt: number });
        self.pool = Pool::new(self.pool_bytes);
        self.log = Log::new(self.config.clone(), self.pool.clone(), self.metrics.clone());
        self.events.clear();
        self.durable.clear();
        self.stop_after = usize::MAX;
        self.disk.fail = None;
        self.disk.fail_at = None;
    }

    pub fn crash(&mut self) {
        self.disk.pending.append(&mut self.out.ops);
        self.disk.crash();
        self.restart();
    }

    pub fn kill(&mut self) {
        self.disk.pending.append(&mut self.out.ops);
        self.disk.kill();
        self.restart();
    }

    /// One turn: what is asked goes to the disk, one operation of those in flight completes.
    pub fn turn(&mut self) -> bool {
        self.now = self.now.plus_ms(1);
        self.log.tick(self.now, self.wall, &mut self.out);
        for (token, op) in self.out.ops.drain(..) {
            *self.disk.begun.entry(op.kind()).or_default() += 1;
            self.disk.pending.push((token, op));
        }
        let mut progress = false;
        if !self.disk.pending.is_empty() && self.disk.completed < self.stop_after {
            let at = self.disk.random() as usize % self.disk.pending.len();
            let (token, op) = self.disk.pending.swap_remove(at);
            let (token, done) = self.disk.run(token, op);
            self.log.complete(self.now, token, done, &mut self.out);
            progress = true;
        }
        self.log.invariants();
        for event in self.log.drain_events() {
            if let Event::Durable { log, end } = event {
                self.durable.insert(log, end);
            }
            self.events.push(event);
        }
        progress || !self.out.ops.is_empty()
    }

    /// Turns until nothing is in flight.
    pub fn settle(&mut self) {
        let mut idle = 0;
        for _ in 0..40_000 {
            let due = self.log.next_deadline().is_some_and(|at| at <= self.now.plus_ms(150));
            if self.turn() || due {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > 2 {
                return;
            }
        }
        panic!("the log does not come to rest {:?} {:?}", self.disk.begun, self.log.next_deadline());
    }

    /// Lets time pass until the scrub has looked at everything once.
    pub fn scrub(&mut self) {
        let rounds = self.metrics.log_scrub_rounds_total.get();
        for _ in 0..100_000 {
            if self.metrics.log_scrub_rounds_total.get() > rounds {
                return;
            }
            self.now = self.log.next_deadline().map_or(self.now, |at| at.max(self.now));
            self.turn();
        }
        panic!("the scrub does not come to an end");
    }

    pub fn open_with(&mut self, partition: u32, settings: PartitionSettings) -> LogRef {
        let log = self.log.open(at(partition), name(partition), settings, &mut self.out);
        self.settle();
        log
    }

    pub fn open(&mut self, partition: u32) -> LogRef {
        self.open_with(partition, PartitionSettings::default())
    }

    pub fn opened(&self, log: LogRef) -> bool {
        self.events.iter().any(|event| matches!(event, Event::Opened { log: opened, .. } if *opened == log))
    }

    pub fn append(&mut self, log: LogRef, batch: &[u8]) -> Result<Appended, AppendError> {
        self.opened_all();
        let max_timestamp = record::Header::peek(batch).expect("a batch").max_timestamp;
        let append = Append { batch, max_timestamp, leader_epoch: LeaderEpoch(4), log_append_time: None };
        self.log.append(log, self.wall, append)
    }

    /// Time passes, and what is due then is done.
    pub fn pass(&mut self, ms: u64) {
        self.now = self.now.plus_ms(ms);
        self.wall = Timestamp(self.wall.0 + ms as i64);
        self.work();
    }

    /// Turns until nothing is in flight and nothing is due soon.
    pub fn work(&mut self) {
        for _ in 0..40_000 {
            let busy = self.turn();
            let due = self.log.next_deadline().is_some_and(|at| at <= self.now.plus_ms(500));
            if !busy && !due || self.disk.completed >= self.stop_after {
                return;
            }
        }
        panic!("the log does not come to rest");
    }

    /// Reads until there is an answer; the bytes and where it goes on.
    pub fn read_once(&mut self, log: LogRef, from: ReadFrom) -> Result<(Vec<u8>, Offset), ReadError> {
        for _ in 0..10_000 {
            match self.log.read(log, from, &mut self.out)? {
                Read::Pending => {
                    self.events.clear();
                    while !self.events.iter().any(|event| matches!(event, Event::Ready { .. } | Event::Failed { .. })) {
                        assert!(self.turn(), "a pending read is never answered");
                    }
                }
                Read::Ready(batches) => {
                    let mut bytes = Vec::new();
                    for piece in batches.pieces {
                        match piece {
                            Piece::Memory(buf) => bytes.extend_from_slice(&buf),
                            Piece::File { file, offset, len, lease } => {
                                self.file_bytes += len;
                                let data = &self.disk.inodes[self.disk.open[&file.0]].now;
                                bytes.extend_from_slice(&data[offset as usize..(offset + len) as usize]);
                                self.log.release(lease, &mut self.out);
                            }
                        }
                    }
                    assert_eq!(bytes.len() as u64, batches.bytes);
                    return Ok((bytes, batches.next_offset));
                }
            }
        }
        panic!("a read is never answered");
    }

    /// Everything from the start to the durable end, `max_bytes` at a time.
    pub fn read_all(&mut self, log: LogRef, max_bytes: usize) -> Vec<u8> {
        let mut offset = self.log.start(log).expect("open");
        let end = self.log.durable_end(log).expect("open");
        let mut all = Vec::new();
        while offset < end {
            let from = ReadFrom { offset, up_to: end, max_bytes, min_one_batch: true };
            let (bytes, next) =
                self.read_once(log, from).unwrap_or_else(|error| panic!("{error:?}: {:?}", self.events));
            assert!(offset < next, "a read goes on");
            let mut batches = record::Batches::new(&bytes);
            for batch in batches.by_ref() {
                assert!(batch.is_ok(), "whole batches only: {batch:?} at {offset:?}");
            }
            assert_eq!(batches.position_bytes(), bytes.len());
            all.extend(bytes);
            offset = next;
        }
        all
    }

    /// Says that nothing else of an earlier run will be opened.
    pub fn opened_all(&mut self) {
        if !self.all_opened {
            self.all_opened = true;
            self.log.opened_all();
        }
    }

    pub fn close(&mut self) {
        self.opened_all();
        self.log.close_all();
        self.settle();
        assert!(self.events.contains(&Event::Closed));
    }
}

/// A batch of `count` records, `bytes` each, with the value beginning with `mark`.
pub fn batch(mark: u64, count: u32, bytes: usize) -> Vec<u8> {
    build(BatchBuilder::new(Codec::None), mark, count, bytes)
}

pub fn produced(id: i64, epoch: i16, sequence: i32, count: u32) -> Vec<u8> {
    let producer = Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence: sequence };
    build(BatchBuilder::new(Codec::None).producer(producer), sequence as u64, count, 20)
}

fn build(mut builder: BatchBuilder, mark: u64, count: u32, bytes: usize) -> Vec<u8> {
    for index in 0..count {
        let mut value = vec![mark as u8; bytes.max(16)];
        value[..8].copy_from_slice(&mark.to_be_bytes());
        builder.append(Timestamp(mark as i64 * 10 + i64::from(index)), None, Some(&value), &[]);
    }
    builder.build()
}

/// The marks of the batches in `bytes`, after checking that offsets are dense from `from`.
pub fn marks(bytes: &[u8], from: Offset) -> Vec<u64> {
    let mut next = from;
    record::Batches::new(bytes)
        .map(|batch| {
            let batch = batch.expect("whole");
            assert_eq!(batch.header().base_offset, next);
            assert_eq!(batch.header().partition_leader_epoch, Some(LeaderEpoch(4)));
            next = batch.header().next_offset();
            let records = record::Records::read(batch, 1 << 20).expect("records");
            let first = records.iter().next().expect("one").expect("whole");
            u64::from_be_bytes(first.value.expect("a value")[..8].try_into().expect("eight"))
        })
        .collect()
}
