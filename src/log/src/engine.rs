//! All logs of a shard, and the way of a completion to the log that asked.
//! Owns the tables and the lists of logs with something to do; what is done stands in the modules beside it.

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use effect::{BufMut, Chunk, Done, Effects, Fault, File, Instant, Op, OpKind, Pool, Slots, Token};
use metrics::ShardMetrics;
use model::{LeaderEpoch, Offset, Timestamp, TopicPartition};

use crate::cleaner::Cleaner;
use crate::files::{Acquired, Files, HandleId, Key, Mode};
use crate::index_cache::IndexCache;
use crate::index_io::IndexWriter;
use crate::job::{Job, Jobs, Work};
use crate::partition::{Partition, State};
use crate::retention::House;
use crate::root::{Root, Stage};
use crate::scrub::Scrub;
use crate::{Event, Failure, Lease, LogConfig, LogRef, PartitionSettings};

/// All partition logs of one shard.
#[derive(Debug)]
pub struct Log {
    pub(crate) config: LogConfig,
    pub(crate) pool: Pool,
    pub(crate) metrics: Arc<ShardMetrics>,
    pub(crate) partitions: Slots<Partition>,
    pub(crate) roots: Vec<Root>,
    pub(crate) jobs: Jobs,
    pub(crate) files: Files,
    pub(crate) events: Vec<Event>,
    /// Logs to look at in the next tick; each at most once.
    pub(crate) dirty: VecDeque<LogRef>,
    /// Logs that wait for their turn to be recovered.
    pub(crate) recover_queue: VecDeque<LogRef>,
    pub(crate) recovering: usize,
    /// Logs that wait for room in the table of files.
    pub(crate) starved: VecDeque<LogRef>,
    /// Logs to look at again at `retry_at`.
    pub(crate) retry: BTreeSet<LogRef>,
    pub(crate) retry_at: Option<Instant>,
    pub(crate) retry_roots: BTreeSet<usize>,
    /// There is something to do at the end of this turn, whatever happens.
    awake: bool,
    /// Every log that an earlier run left has been opened, or is not wanted any more.
    pub(crate) all_opened: bool,
    pub(crate) now: Instant,
    /// Chunks in the order in which they leave the cache.
    pub(crate) cache: VecDeque<(LogRef, u64)>,
    pub(crate) cache_bytes: usize,
    pub(crate) chunk_sequence: u64,
    /// A block put by, so that a large chunk can be exchanged for a small one when there is no memory at all.
    pub(crate) spare: Option<BufMut>,
    pub(crate) scratch: Vec<u8>,
    /// What space is written with before its time.
    pub(crate) zeros: Option<Chunk>,
    /// Memory of cold reads in flight.
    pub(crate) cold_bytes: usize,
    /// Indexes of closed segments.
    pub(crate) indexes: IndexCache,
    pub(crate) index_writer: IndexWriter,
    pub(crate) scrub: Scrub,
    /// A read has found every file for sending in use.
    pub(crate) files_crowded: bool,
    /// Logs still to be closed.
    pub(crate) closing: Option<usize>,
    /// Whose turn it is to be looked at for old segments.
    pub(crate) house: House,
    pub(crate) cleaner: Cleaner,
}

impl Log {
    /// No logs yet. `pool` is the shard's memory for chunks and reads.
    pub fn new(mut config: LogConfig, pool: Pool, metrics: Arc<ShardMetrics>) -> Log {
        // What the journal has and no segment is in memory, after a start too.
        config.journal_bytes_max = config.journal_bytes_max.min(pool.limit_bytes() as u64 / 2);
        let files = Files::new(config.files_max);
        assert!(!config.roots.is_empty() && !config.runs.is_empty());
        let roots = config.roots.iter().cloned().map(Root::new).collect();
        Log {
            config,
            pool,
            metrics,
            partitions: Slots::default(),
            roots,
            jobs: Jobs::default(),
            files,
            events: Vec::new(),
            dirty: VecDeque::new(),
            recover_queue: VecDeque::new(),
            recovering: 0,
            starved: VecDeque::new(),
            retry: BTreeSet::new(),
            retry_at: None,
            retry_roots: BTreeSet::new(),
            awake: false,
            all_opened: false,
            now: Instant::default(),
            cache: VecDeque::new(),
            cache_bytes: 0,
            chunk_sequence: 0,
            spare: None,
            scratch: Vec::new(),
            zeros: None,
            cold_bytes: 0,
            indexes: IndexCache::default(),
            index_writer: IndexWriter::default(),
            scrub: Scrub::default(),
            files_crowded: false,
            closing: None,
            house: House::default(),
            cleaner: Cleaner::default(),
        }
    }

    /// Opens the log in the directory `name` (`<topic>-<partition>`) of the log directory that has it, or else of the
    /// one with the fewest; nothing is made on disk before the first append. Ends in [`Event::Opened`] or
    /// [`Event::Failed`]. A name whose earlier log is being removed, by whatever shard, may be opened only after that
    /// one's [`Event::Removed`].
    pub fn open(&mut self, at: TopicPartition, name: String, settings: PartitionSettings, out: &mut Effects) -> LogRef {
        assert!(self.closing.is_none());
        self.start_reading(out);
        let (slot, generation) = self.partitions.insert(Partition::new(at, name, settings.within(&self.config)));
        let log = LogRef { slot, generation };
        self.metrics.log_partitions.set(self.partitions.len() as u64);
        self.recover_queue.push_back(log);
        self.house.add(log);
        self.start_recoveries(out);
        log
    }

    /// Every log that earlier runs may have left is open (or failed), or will never be: what is found of others is
    /// forgotten, and checkpoints begin.
    pub fn opened_all(&mut self) {
        self.all_opened = true;
        self.roots.iter_mut().for_each(|root| root.found.clear());
        self.wake();
    }

    /// The log directory that a log lies in; `None` before it is open.
    pub fn directory(&self, log: LogRef) -> Option<&Path> {
        let partition = self.partition(log).filter(|partition| !partition.dir.as_os_str().is_empty())?;
        Some(&self.roots[partition.root].path)
    }

    /// Changes a log's settings from the next append on.
    pub fn set_settings(&mut self, log: LogRef, settings: PartitionSettings) {
        let settings = settings.within(&self.config);
        if let Some(partition) = self.partition_mut(log) {
            partition.settings = settings;
        }
    }

    /// Changes how long a silent producer is remembered.
    pub fn set_producer_expiration_ms(&mut self, expiration_ms: u64) {
        self.config.producer_expiration_ms = expiration_ms;
    }

    /// Changes how often compaction looks for work, and the memory that the keys of the next one may take,
    /// and what it may read and write in a second.
    pub fn set_cleaner(&mut self, backoff_ms: u64, keys_bytes: usize, io_bytes_per_second: u64) {
        self.config.cleaner_backoff_ms = backoff_ms;
        self.config.cleaner_keys_bytes = keys_bytes;
        self.set_clean_rate(io_bytes_per_second);
    }

    /// The first offset that can be read.
    pub fn start(&self, log: LogRef) -> Option<Offset> {
        self.partition(log).map(Partition::start)
    }

    /// The offset after the last record, durable or not.
    pub fn end(&self, log: LogRef) -> Option<Offset> {
        self.partition(log).map(Partition::end)
    }

    /// The offset after the last durable record.
    pub fn durable_end(&self, log: LogRef) -> Option<Offset> {
        self.partition(log).map(|partition| partition.durable_end)
    }

    /// Each leadership that appended here, with its first offset; in order.
    pub fn leader_epochs(&self, log: LogRef) -> &[(LeaderEpoch, Offset)] {
        self.partition(log).map_or(&[], |partition| &partition.knowledge.leader_epochs)
    }

    /// Ends a turn: hands what was appended to the disk, tries again what had to wait, keeps the cache in its bounds.
    pub fn tick(&mut self, now: Instant, wall: Timestamp, out: &mut Effects) {
        self.now = now;
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            for log in std::mem::take(&mut self.retry) {
                self.mark_dirty(log);
            }
            for root in std::mem::take(&mut self.retry_roots) {
                self.root_retried(root, out);
            }
        }
        self.awake = false;
        for root in 0..self.roots.len() {
            self.pump_checkpoint(root, out);
        }
        while self.files.has_room() {
            let Some(log) = self.starved.pop_front() else { break };
            if let Some(partition) = self.partition_mut(log) {
                partition.starved = false;
                // A read may have been refused for the same reason.
                self.events.push(Event::Ready { log });
                self.look(log, out);
            }
        }
        // Those that come back onto the list meanwhile have their turn in the next tick.
        for _ in 0..self.dirty.len() {
            let Some(log) = self.dirty.pop_front() else { break };
            let expiration_ms = self.config.producer_expiration_ms;
            if let Some(partition) = self.partition_mut(log) {
                partition.dirty = false;
                partition.knowledge.producers.sweep(wall, expiration_ms);
                self.look(log, out);
            }
        }
        for root in 0..self.roots.len() {
            if self.roots[root].stage == Stage::Ready {
                self.commit(root, out);
            }
        }
        self.finish_closing(out);
        self.trim_cache();
        self.pump_index_writer(out);
        self.pump_scrub(out);
        self.ask_space(out);
        self.keep_house(wall, out);
    }

    /// When [`Log::tick`] has something to do even if nothing else happens.
    pub fn next_deadline(&self) -> Option<Instant> {
        let later = [self.retry_at, self.scrub.next_deadline(), self.house_deadline(), self.space_deadline()]
            .into_iter()
            .flatten()
            .min();
        if self.dirty.is_empty() && !self.awake { later } else { Some(self.now) }
    }

    /// What has happened since the last call, in order.
    pub fn drain_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// Gives a file back that a piece of a read pointed to.
    pub fn release(&mut self, lease: Lease, out: &mut Effects) {
        self.unpin(HandleId { slot: lease.slot, generation: lease.generation }, out);
    }

    /// Hands in the completion of an operation of this room.
    pub fn complete(&mut self, now: Instant, token: Token, done: Done, out: &mut Effects) {
        self.now = now;
        let Job { log, work } = self.jobs.take(token);
        let done = match done {
            Done::Failed(fault) => Err(fault),
            done => Ok(done),
        };
        if let Err(fault) = &done {
            self.count_fault(fault);
        }
        if let Work::Root(root, work) = work {
            return self.root_done(root, work, done, out);
        }
        if !matches!(work, Work::Close | Work::Discard) {
            let partition = self.partition_mut(log).expect("a log stays while it has operations in flight");
            assert!(partition.ops > 0);
            partition.ops -= 1;
        }
        match work {
            Work::Close => {}
            Work::Discard => {
                if let Err(fault) = done {
                    tracing::warn!(%fault, "files of a removed log were not removed");
                }
            }
            Work::OpenFile(handle) => self.file_opened(log, handle, done, out),
            Work::Recover(step) => self.recovered(log, step, done, out),
            Work::Root(..) => unreachable!("done with above"),
            Work::Metadata(step) => self.metadata_step(log, step, done, out),
            Work::Allocate { .. }
            | Work::NameSync { .. }
            | Work::DirSync { .. }
            | Work::FileSync { .. }
            | Work::Destage { .. }
            | Work::Direct { .. }
            | Work::Cut { .. } => self.wrote(log, work, done, out),
            Work::ColdRead { handle, bytes } => self.cold_read(log, handle, bytes, done, out),
            Work::IndexWrite(step) => self.index_written(log, step, done, out),
            Work::IndexOpen => self.index_opened(log, done, out),
            Work::IndexRead(file) => self.index_file_read(log, file, done, out),
            Work::ScrubRead { handle } => self.scrub_read(log, handle, done, out),
            Work::DropRemove { is_index } => self.drop_removed(log, is_index, done, out),
            Work::RemoveRename | Work::RemoveSync => self.removing(log, work, done, out),
            Work::Clean(step) => self.clean_done(log, step, done, out),
            Work::Swap(step) => self.swap_done(log, step, done, out),
        }
    }

    /// Panics if an invariant of this room is broken. Costs a walk over everything.
    pub fn invariants(&self) {
        self.files.invariants();
        let mut chunk_bytes = 0;
        let mut ops = 0;
        for (_, _, partition) in self.partitions.iter() {
            partition.invariants();
            chunk_bytes += partition.memory_bytes();
            ops += partition.ops as usize;
        }
        assert!(self.cache_bytes == chunk_bytes);
        let carried: usize = self.roots.iter().map(Root::carried).sum();
        assert!(ops <= self.jobs.len() + carried);
        assert!(self.recovering <= RECOVERING_MAX);
        assert!(self.retry.is_empty() || self.retry_at.is_some());
    }

    pub(crate) fn partition(&self, log: LogRef) -> Option<&Partition> {
        self.partitions.get(log.slot, log.generation)
    }

    pub(crate) fn partition_mut(&mut self, log: LogRef) -> Option<&mut Partition> {
        self.partitions.get_mut(log.slot, log.generation)
    }

    /// The log of an operation, of a list, or found a moment ago.
    pub(crate) fn known(&mut self, log: LogRef) -> &mut Partition {
        self.partition_mut(log).expect("a log stays while something of it is under way")
    }

    pub(crate) fn is_offline(&self, partition: &Partition) -> bool {
        self.roots[partition.root].offline
    }

    /// Starts an operation of a log.
    pub(crate) fn submit(&mut self, log: LogRef, work: Work, op: Op, out: &mut Effects) {
        self.known(log).ops += 1;
        self.jobs.push(Job { log, work }, op, out);
    }

    pub(crate) fn close_file(&mut self, log: LogRef, file: File, out: &mut Effects) {
        self.jobs.push(Job { log, work: Work::Close }, Op::CloseFile { file }, out);
    }

    /// A pinned file of the table; `None` if it must be opened first (which is begun), or there is no room for it now.
    pub(crate) fn acquire(
        &mut self,
        log: LogRef,
        base: Offset,
        mode: Mode,
        out: &mut Effects,
    ) -> Option<(HandleId, File)> {
        if self.known(log).is_renaming(base) {
            return None;
        }
        match self.files.acquire(Key { log, base, mode }) {
            Acquired::Open(handle, file) => Some((handle, file)),
            Acquired::Opening => None,
            Acquired::Full => {
                self.files_crowded |= mode == Mode::Splice;
                let partition = self.known(log);
                if !partition.starved {
                    partition.starved = true;
                    self.starved.push_back(log);
                }
                None
            }
            Acquired::ToOpen(handle, closed) => {
                if let Some(file) = closed {
                    self.close_file(log, file, out);
                }
                let path = self.known(log).segment_path(base);
                self.submit(log, Work::OpenFile(handle), Op::Open { path, mode: mode.open_mode() }, out);
                None
            }
        }
    }

    pub(crate) fn unpin(&mut self, handle: HandleId, out: &mut Effects) {
        if let Some(file) = self.files.unpin(handle) {
            self.close_file(LogRef::NOBODY, file, out);
        }
    }

    fn file_opened(&mut self, log: LogRef, handle: HandleId, done: Result<Done, Fault>, out: &mut Effects) {
        let mode = self.files.mode(handle);
        let doomed = self.files.is_doomed(handle);
        let file = match done {
            Ok(Done::Opened(file)) => Ok(file),
            Ok(other) => panic!("an opening was answered by {other:?}"),
            Err(fault) => Err(fault),
        };
        if let Some(closed) = self.files.opened(handle, file.ok()) {
            self.close_file(log, closed, out);
        }
        let recovering = matches!(self.known(log).state, State::Recovering(_));
        match (file, mode) {
            (Err(fault), _) if is_shortage(fault) => {
                tracing::warn!(%fault, "file not opened, trying again");
                self.events.push(Event::Ready { log });
                self.retry_later(log);
            }
            (Err(fault), _) if recovering => self.fail(log, Failure::Fault(fault), out),
            (Ok(_), _) if recovering => self.look(log, out),
            (Err(fault), Mode::Write) => self.write_fault(log, fault, out),
            // Its segment was dropped meanwhile: whoever wanted to read it asks again and hears so.
            (Err(_), Mode::Read | Mode::Splice) if doomed => {
                self.events.push(Event::Ready { log });
                self.look(log, out);
            }
            (Err(fault), Mode::Read | Mode::Splice) => self.read_fault(log, fault, out),
            // Looked at now, not in the tick: others that open files might push this one out again before.
            (Ok(_), Mode::Write) => self.look(log, out),
            (Ok(_), Mode::Read | Mode::Splice) => {
                self.events.push(Event::Ready { log });
                self.look(log, out);
            }
        }
    }

    pub(crate) fn mark_dirty(&mut self, log: LogRef) {
        if let Some(partition) = self.partition_mut(log)
            && !partition.dirty
        {
            partition.dirty = true;
            self.dirty.push_back(log);
        }
    }

    /// Has the next tick come at once.
    pub(crate) fn wake(&mut self) {
        self.awake = true;
    }

    pub(crate) fn retry_later(&mut self, log: LogRef) {
        self.retry.insert(log);
        self.retry_at.get_or_insert(self.now.plus_ms(RETRY_MS));
    }

    /// Does the next thing that a log needs, if nothing stands in the way.
    pub(crate) fn look(&mut self, log: LogRef, out: &mut Effects) {
        let Some(partition) = self.partition(log) else { return };
        let offline = self.is_offline(partition);
        match &partition.state {
            State::Recovering(_) => self.recover(log, out),
            State::Open if offline => {}
            State::Open => {
                self.await_commit(log);
                self.pump_drop(log, out);
                self.pump_destage(log, out);
                self.pump_swap(log, out);
            }
            State::Closing if offline => {}
            State::Closing => {
                self.await_commit(log);
                self.pump_destage(log, out);
                self.pump_swap(log, out);
            }
            State::Removing => self.pump_remove(log, out),
            // What it acknowledged goes on to its segments, for the next start.
            State::Failed if partition.opened && !offline => self.pump_destage(log, out),
            State::Closed | State::Failed => {}
        }
    }

    fn count_fault(&mut self, fault: &Fault) {
        if fault.errno != Fault::ENOENT {
            self.metrics.log_faults_total.add(1);
        }
    }

    /// A write, or something that writes need, failed. A full disk passes where space is asked for; anything else is
    /// final: after a failed write or sync nobody knows what the disk holds.
    pub(crate) fn write_fault(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        let asks_for_space = matches!(fault.op, OpKind::Open | OpKind::CreateDir | OpKind::Allocate | OpKind::SetLen);
        if is_full(fault) && asks_for_space {
            return self.out_of_space(log, fault, out);
        }
        let root = self.known(log).root;
        self.root_fault(root, fault, out);
        self.look_after_fault(log, out);
    }

    /// The disk is full: the step that found it so is taken again later, and until then appends are refused.
    pub(crate) fn out_of_space(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        let root = self.known(log).root;
        self.root_full(root, fault);
        self.retry_later(log);
        self.look_after_fault(log, out);
    }

    /// A read failed: that log is not usable.
    pub(crate) fn read_fault(&mut self, log: LogRef, fault: Fault, out: &mut Effects) {
        self.fail(log, Failure::Fault(fault), out);
        self.events.push(Event::Ready { log });
    }

    pub(crate) fn fail(&mut self, log: LogRef, failure: Failure, out: &mut Effects) {
        let partition = self.known(log);
        let dir = partition.dir.clone();
        match partition.state {
            State::Open | State::Recovering(_) => {
                if matches!(partition.state, State::Recovering(_)) {
                    self.recovering -= 1;
                }
                self.known(log).state = State::Failed;
                if failure == Failure::Missing {
                    // Said once, of the log directory that is not there.
                    tracing::debug!(name = %self.known(log).name, "log offline: its log directory is not there");
                } else {
                    tracing::error!(dir = %dir.display(), ?failure, "log offline");
                }
                self.events.push(Event::Failed { log, failure });
                self.start_recoveries(out);
                self.look_after_fault(log, out);
            }
            State::Closing | State::Closed | State::Removing | State::Failed => self.look_after_fault(log, out),
        }
    }

    /// A log on its way out goes on even when its disk does not.
    pub(crate) fn look_after_fault(&mut self, log: LogRef, out: &mut Effects) {
        let closing = self.closing.is_some();
        let partition = self.known(log);
        if partition.doomed && !matches!(partition.state, State::Removing) {
            partition.state = State::Removing;
        }
        match partition.state {
            State::Removing => self.pump_remove(log, out),
            State::Failed if closing && partition.opened => {
                partition.state = State::Closing;
                self.mark_dirty(log);
            }
            State::Failed if closing => self.closed(log),
            _ => {}
        }
    }
}

/// Whether there is no room, on the disk or within a quota.
pub(crate) fn is_full(fault: Fault) -> bool {
    matches!(fault.errno, Fault::ENOSPC | Fault::EDQUOT)
}

/// Whether the kernel or the filesystem does not know how.
pub(crate) fn is_unknown(fault: Fault) -> bool {
    matches!(fault.errno, Fault::ENOSYS | Fault::EOPNOTSUPP)
}

/// Whether an opening failed for want of descriptors or memory, which passes: ENOMEM, ENFILE, EMFILE.
pub(crate) fn is_shortage(fault: Fault) -> bool {
    matches!(fault.errno, 12 | 23 | 24)
}

/// Logs that are recovered at the same time.
pub(crate) const RECOVERING_MAX: usize = 32;
/// How soon something that found no memory or no space is tried again.
pub(crate) const RETRY_MS: u64 = 100;
