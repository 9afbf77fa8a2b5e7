//! The partitions that live on this shard: their logs, their leaders, and who waits for them.
//!
//! Owns the shard's [`Log`]. Never knows a connection or a protocol version: requests come as letters, answers leave as
//! letters. Invariant: a letter that asks is answered by exactly one letter.

mod append;
mod deletions;
mod fetch;
mod lookups;
mod offsets;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use effect::{Done, Effects, Instant, Slots, Token};
use log::{Event, Lease, Log, LogRef, Offline, PartitionSettings};
use model::{ErrorCode, Offset, TopicPartition};
use replication::{Leader, WatchId, Watchers};

use crate::config::TopicConfig;
use crate::context::Context;
use crate::handlers::OFFSETS_TOPIC;
use crate::home::append::{AckRef, Job, Stalled};
use crate::home::deletions::{Deleting, Deletion};
use crate::mail::{Letter, RequestRef};
use crate::shard::CONTROL;
use crate::topics::Known;

/// The partitions of one shard.
pub(crate) struct Home {
    log: Log,
    partitions: BTreeMap<TopicPartition, Partition>,
    by_log: BTreeMap<LogRef, TopicPartition>,
    opening: usize,
    /// Logs of deleted topics whose directories still have their names.
    removing: BTreeSet<LogRef>,
    /// Produce letters that are not answered yet.
    jobs: Slots<Job>,
    /// Appends that found no memory, in order; nothing overtakes them.
    stalled: VecDeque<Stalled>,
    watchers: Watchers<TopicPartition, RequestRef>,
    watch_of: BTreeMap<RequestRef, WatchId>,
    /// Letters that wait until something has come from the disk.
    parked: Vec<Letter>,
    /// DeleteRecords letters that are not answered yet.
    deletions: Slots<Deletion>,
    /// Their parts, by the log whose new start must become durable first.
    deleting: BTreeMap<LogRef, Vec<Deleting>>,
    /// How many partitions have failed or gone so far.
    losses: u64,
    /// Before this nobody is asked again to end readers that take nothing.
    shed_next: Option<Instant>,
}

struct Partition {
    log: LogRef,
    state: State,
    leader: Leader<AckRef>,
    config: Arc<TopicConfig>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Opening,
    Open,
    Failed,
}

impl Home {
    pub(crate) fn new(log: Log) -> Home {
        Home {
            log,
            partitions: BTreeMap::new(),
            by_log: BTreeMap::new(),
            opening: 0,
            removing: BTreeSet::new(),
            jobs: Slots::default(),
            stalled: VecDeque::new(),
            watchers: Watchers::default(),
            watch_of: BTreeMap::new(),
            parked: Vec::new(),
            deletions: Slots::default(),
            deleting: BTreeMap::new(),
            losses: 0,
            shed_next: None,
        }
    }

    /// Changes whenever a partition fails or goes.
    pub(crate) fn losses(&self) -> u64 {
        self.losses
    }

    /// The log itself, for the metadata log, which has no leader.
    pub(crate) fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Opens what the topics have and this shard has not, follows changed settings, removes what is gone.
    pub(crate) fn follow(&mut self, context: &mut Context<'_>) {
        let gone: Vec<TopicPartition> =
            self.partitions.keys().filter(|at| context.topics.by_id(at.topic).is_none()).copied().collect();
        for at in gone {
            self.remove(at, context);
        }
        self.log.set_producer_expiration_ms(context.config.producer_id_expiration_ms(context.image));
        let keys_bytes = context.config.log_cleaner_dedupe_buffer_size(context.image) / context.topics.shard_count();
        let keys_bytes = usize::try_from(keys_bytes).unwrap_or(usize::MAX);
        let io_bytes = context.config.log_cleaner_io_max_bytes_per_second(context.image) / context.topics.shard_count();
        self.log.set_cleaner(context.config.log_cleaner_backoff_ms(context.image), keys_bytes, io_bytes.max(1));
        let topics = context.topics;
        for known in topics.iter() {
            self.follow_topic(known, context);
        }
        context.metrics.log_partitions.set(self.partitions.len() as u64);
    }

    fn follow_topic(&mut self, known: &Known, context: &mut Context<'_>) {
        for partition in 0..known.topic.partition_count {
            let at = TopicPartition { topic: known.topic.id, partition };
            if context.topics.home(at) != context.post.own() {
                continue;
            }
            let settings = partition_settings(known);
            match self.partitions.get_mut(&at) {
                Some(partition) if Arc::ptr_eq(&partition.config, &known.config) => {}
                Some(partition) => {
                    partition.config = known.config.clone();
                    self.log.set_settings(partition.log, settings);
                }
                None => {
                    let name = format!("{}-{partition}", known.topic.name);
                    let log = self.log.open(at, name, settings, context.out);
                    let leader = Leader::new(known.topic.leader_epoch, Offset::ZERO);
                    let config = known.config.clone();
                    self.partitions.insert(at, Partition { log, state: State::Opening, leader, config });
                    self.by_log.insert(log, at);
                    self.opening += 1;
                }
            }
        }
    }

    fn remove(&mut self, at: TopicPartition, context: &mut Context<'_>) {
        let Some(mut partition) = self.partitions.remove(&at) else { return };
        self.losses += 1;
        self.by_log.remove(&partition.log);
        if partition.state == State::Opening {
            self.opening -= 1;
        }
        self.abandon(&mut partition.leader, ErrorCode::UnknownTopicOrPartition, context);
        self.abandon_deletions(partition.log, ErrorCode::UnknownTopicOrPartition, context);
        self.removing.insert(partition.log);
        self.log.remove(partition.log, context.out);
    }

    /// Whether a partition is there, and what of its log is durable: `None` while it is being opened, `Some(None)` when
    /// there will be nothing.
    pub(crate) fn durable_range(&self, at: TopicPartition) -> Option<Option<(LogRef, Offset, Offset)>> {
        let Some(partition) = self.partitions.get(&at) else { return Some(None) };
        match partition.state {
            State::Opening => None,
            State::Failed => Some(None),
            State::Open => {
                let start = self.log.start(partition.log);
                Some(start.map(|start| (partition.log, start, partition.leader.high_watermark())))
            }
        }
    }

    /// Whether the topics are followed: every partition is open or has failed, and what is deleted has given up its
    /// directory's name, which a new topic of that name needs.
    pub(crate) fn is_settled(&self) -> bool {
        self.opening == 0 && self.removing.is_empty()
    }

    /// Removes, in the background, a directory that holds no partition any more.
    pub(crate) fn remove_leftover(&mut self, dir: &Path, out: &mut Effects) {
        self.log.remove_leftover(dir.to_path_buf(), out);
    }

    pub(crate) fn complete(&mut self, token: Token, done: Done, context: &mut Context<'_>) {
        self.log.complete(context.now, token, done, context.out);
    }

    pub(crate) fn release(&mut self, lease: Lease, out: &mut Effects) {
        self.log.release(lease, out);
    }

    /// What the logs have to say. Returns the events of logs that are no partition's, and whether there were any at all.
    pub(crate) fn drain_events(&mut self, context: &mut Context<'_>) -> (Vec<Event>, bool) {
        let events = self.log.drain_events();
        let any = !events.is_empty();
        let mut foreign = Vec::new();
        let mut retry = false;
        for event in events {
            match event {
                Event::Removed { log } | Event::Failed { log, .. } if self.removing.remove(&log) => {}
                Event::Opened { log, end, .. } if self.by_log.contains_key(&log) => self.opened(log, end),
                Event::Failed { log, failure } if self.by_log.contains_key(&log) => self.failed(log, failure, context),
                Event::Durable { log, end } if self.by_log.contains_key(&log) => self.durable(log, end, context),
                Event::StartMoved { log, start } if self.by_log.contains_key(&log) => {
                    self.start_moved(log, start, context);
                }
                Event::Ready { log } if self.by_log.contains_key(&log) => retry = true,
                Event::DirectoryOffline { dir, why } => {
                    if why == Offline::Failed {
                        let own = context.post.own();
                        for shard in context.post.shards().filter(|shard| *shard != own) {
                            context.post.send(shard, Letter::DirectoryFailed { dir: dir.clone() });
                        }
                    }
                    let log = &self.log;
                    self.removing.retain(|removed| log.directory(*removed).is_some_and(|other| other != dir));
                    self.offline(&dir, context);
                    foreign.push(Event::DirectoryOffline { dir, why });
                }
                Event::Removed { .. } | Event::StartMoved { .. } => {}
                Event::Adopted => context.post.send(CONTROL, Letter::Adopted),
                other => foreign.push(other),
            }
        }
        self.retry_stalled(context);
        if retry || !self.parked.is_empty() {
            self.retry_parked(context);
        }
        (foreign, any)
    }

    /// Ends the turn: what was appended in it is written together.
    pub(crate) fn tick(&mut self, context: &mut Context<'_>) {
        self.retry_stalled(context);
        self.log.tick(context.now, context.wall, context.out);
        if self.log.take_pressure() && self.shed_next.is_none_or(|next| next <= context.now) {
            self.shed_next = Some(context.now.plus_ms(SHED_EVERY_MS));
            for shard in context.post.shards() {
                context.post.send(shard, Letter::Shed);
            }
        }
    }

    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        // Memory comes back without an event: look again soon.
        let retry = (!self.stalled.is_empty() || !self.parked.is_empty()).then(|| now.plus_ms(RETRY_MS));
        [self.log.next_deadline(), retry].into_iter().flatten().min()
    }

    /// Everything that was there at the start has been opened.
    pub(crate) fn opened_all(&mut self) {
        self.log.opened_all();
    }

    /// Removes what every shard has taken over from earlier runs with another number of shards.
    pub(crate) fn discard_foreign(&mut self, out: &mut Effects) {
        self.log.discard_foreign(out);
    }

    pub(crate) fn close_logs(&mut self) {
        self.log.close_all();
    }

    pub(crate) fn invariants(&self) {
        self.log.invariants();
        assert!(self.partitions.len() == self.by_log.len());
        assert!(self.watchers.len() == self.watch_of.len());
        assert!(self.deleting.keys().all(|log| self.by_log.contains_key(log)));
    }

    fn opened(&mut self, log: LogRef, end: Offset) {
        let Some(partition) = self.partition_of(log) else { return };
        if partition.state == State::Failed {
            // Its directory went offline meanwhile.
            return;
        }
        assert!(partition.state == State::Opening);
        partition.state = State::Open;
        partition.leader.advance(end, |_| unreachable!("nobody waits on a log that was not open"));
        self.opening -= 1;
    }

    fn failed(&mut self, log: LogRef, failure: log::Failure, context: &mut Context<'_>) {
        let Some(at) = self.by_log.get(&log).copied() else { return };
        if failure == log::Failure::Missing {
            // Said once, of the log directory that is not there.
            tracing::debug!(topic = %at.topic, partition = at.partition, "partition offline");
        } else {
            tracing::error!(topic = %at.topic, partition = at.partition, ?failure, "partition offline");
        }
        self.fail_partition(at, context);
    }

    fn offline(&mut self, dir: &Path, context: &mut Context<'_>) {
        let log = &self.log;
        let lies_there = |partition: &&Partition| log.directory(partition.log) == Some(dir);
        let there = self.partitions.iter().filter(|(_, partition)| lies_there(partition));
        let all: Vec<TopicPartition> = there.map(|(at, _)| *at).collect();
        for at in all {
            self.fail_partition(at, context);
        }
    }

    fn fail_partition(&mut self, at: TopicPartition, context: &mut Context<'_>) {
        let Some(mut partition) = self.partitions.remove(&at) else { return };
        if partition.state == State::Opening {
            self.opening -= 1;
        }
        partition.state = State::Failed;
        self.losses += 1;
        self.abandon(&mut partition.leader, ErrorCode::KafkaStorageError, context);
        self.abandon_deletions(partition.log, ErrorCode::KafkaStorageError, context);
        self.partitions.insert(at, partition);
    }

    fn durable(&mut self, log: LogRef, end: Offset, context: &mut Context<'_>) {
        let Some(at) = self.by_log.get(&log).copied() else { return };
        let Some(partition) = self.partitions.get_mut(&at) else { return };
        if partition.state != State::Open {
            return;
        }
        let mut released = Vec::new();
        partition.leader.advance(end, |ack| released.push(ack));
        let fired = Watchers::<TopicPartition, RequestRef>::fired(&mut partition.leader);
        for ack in released {
            self.settle(ack, None, context);
        }
        self.fire(fired, context);
    }

    /// Nothing more comes of this leader: producers hear why, consumers ask again.
    fn abandon(&mut self, leader: &mut Leader<AckRef>, error: ErrorCode, context: &mut Context<'_>) {
        let mut released = Vec::new();
        leader.abandon(|ack| released.push(ack));
        for ack in released {
            self.settle(ack, Some(error), context);
        }
        let fired = Watchers::<TopicPartition, RequestRef>::fired(leader);
        self.fire(fired, context);
    }

    fn fire(&mut self, watches: Vec<WatchId>, context: &mut Context<'_>) {
        for id in watches {
            let Some((partitions, request)) = self.watchers.end(id) else { continue };
            self.watch_of.remove(&request);
            self.detach(id, &partitions);
            context.post.send(request.shard, Letter::FetchReady { request });
        }
    }

    fn detach(&mut self, id: WatchId, partitions: &[TopicPartition]) {
        for at in partitions {
            if let Some(partition) = self.partitions.get_mut(at) {
                Watchers::<TopicPartition, RequestRef>::detach(id, &mut partition.leader);
            }
        }
    }

    fn partition_of(&mut self, log: LogRef) -> Option<&mut Partition> {
        self.partitions.get_mut(self.by_log.get(&log)?)
    }

    fn retry_parked(&mut self, context: &mut Context<'_>) {
        for letter in std::mem::take(&mut self.parked) {
            match letter {
                Letter::Fetch(fetch) => self.fetch(fetch, context),
                Letter::ListOffsets(list) => self.list_offsets(list, context),
                Letter::LookUp { request, lookup } => self.look_up(request, lookup, context),
                _ => unreachable!("only reads are parked"),
            }
        }
    }
}

/// What of a topic's settings its logs go by.
fn partition_settings(known: &Known) -> PartitionSettings {
    let config = &known.config;
    PartitionSettings {
        segment_bytes: config.segment_bytes,
        // Consumers must be able to say how far they have come when producers cannot go on.
        goes_on_when_full: known.topic.name.as_ref() == OFFSETS_TOPIC,
        index_interval_bytes: config.index_interval_bytes,
        segment_ms: config.segment_ms,
        delete: config.cleanup_policy.delete,
        retention_ms: config.retention_ms,
        retention_bytes: config.retention_bytes,
        compact: config.cleanup_policy.compact,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag_ms: config.min_compaction_lag_ms,
        max_compaction_lag_ms: config.max_compaction_lag_ms,
        delete_retention_ms: config.delete_retention_ms,
    }
}

/// How soon to look again for memory.
const RETRY_MS: u64 = 5;

/// How often readers that take nothing are ended while others need what they hold.
const SHED_EVERY_MS: u64 = 500;
