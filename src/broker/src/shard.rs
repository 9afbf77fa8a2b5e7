//! One shard: a thread's worth of broker, as a state machine that is turned.
//!
//! Owns its connections, its partitions and, on shard 0, the controller. Each turn hands the world what is to be done,
//! takes what has completed and what peers have sent, and lets every part act on it. Never waits, never touches a file
//! or a socket itself.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controller::Image;
use effect::{Done, Effects, Instant, Io, Listener, Op, Pool, ShardId, Token, Wait};
use log::{Event, Log};
use metrics::ShardMetrics;

use crate::config::BrokerConfig;
use crate::connection::{self, Connections};
use crate::context::Context;
use crate::control::{self, Control, Verdict};
use crate::groups::{self, Groups};
use crate::home::Home;
use crate::listening::Listening;
use crate::mail::{Letter, Link, Post};
use crate::request::fetch_session::FetchSessions;
use crate::topics::Topics;

/// What a shard is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its end of the post; tells its number too.
    pub link: Link,
    /// The settings, the same for all shards.
    pub config: Arc<BrokerConfig>,
    /// Where connections come in.
    pub listeners: Vec<Listener>,
    /// The counters of all shards, by number.
    pub metrics: Vec<Arc<ShardMetrics>>,
    /// Memory for requests and answers.
    pub memory: Pool,
    /// Memory for the log's chunks.
    pub chunks: Pool,
    /// Bounds of the log.
    pub log: log::LogConfig,
    /// Set by whoever wants the broker to end; he wakes the shards too.
    pub stop: Arc<AtomicBool>,
    /// Directories left behind by deleted topics; of shard 0.
    pub leftovers: Vec<std::path::PathBuf>,
}

/// What a turn came to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Turned {
    /// Turn again.
    Running,
    /// As `Running`; from now on clients are served. Said once, by every shard.
    Serving,
    /// Everything is closed: don't turn again.
    Stopped,
    /// The broker cannot run: one line why.
    Fatal(String),
}

/// One shard.
pub struct Shard {
    config: Arc<BrokerConfig>,
    metrics: Arc<ShardMetrics>,
    memory: Pool,
    post: Post,
    effects: Effects,
    done: Vec<(Token, Done)>,
    connections: Connections,
    listening: Listening,
    home: Home,
    groups: Groups,
    control: Option<Control>,
    image: Arc<Image>,
    topics: Topics,
    /// Images taken whose new partitions are still being opened.
    untold: Vec<u64>,
    phase: Phase,
    stop: Arc<AtomicBool>,
    stop_deadline: Option<Instant>,
    drained: BTreeSet<ShardId>,
    adopted: BTreeSet<ShardId>,
    leftovers: Vec<std::path::PathBuf>,
    fatal: Option<String>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Before the first turn.
    New,
    /// Recovering.
    Starting,
    Serving,
    /// No new requests; what is in flight is finished.
    Draining,
    /// Told shard 0 that nothing is in flight.
    Drained,
    /// The logs are being closed.
    Closing,
    Stopped,
}

impl Shard {
    /// A shard that has not been turned yet.
    pub fn new(parts: Parts) -> Shard {
        let post = Post::new(parts.link);
        let shard = post.own();
        let metrics = parts.metrics[shard.index()].clone();
        let mut log = parts.log;
        log.lane = u32::from(shard.0);
        log.lanes = u32::try_from(post.shard_count()).expect("a shard's number has 16 bits");
        log.is_mine = crate::topics::is_home;
        let slots = parts.config.max_incremental_fetch_session_cache_slots as usize / post.shard_count();
        Shard {
            connections: Connections::new(FetchSessions::new(shard, slots)),
            listening: Listening::new(parts.listeners, parts.metrics),
            home: Home::new(Log::new(log, parts.chunks, metrics.clone())),
            groups: Groups::new(0),
            topics: Topics::new(post.shard_count()),
            config: parts.config,
            metrics,
            memory: parts.memory,
            post,
            effects: Effects::default(),
            done: Vec::new(),
            control: None,
            image: Arc::new(Image::empty()),
            untold: Vec::new(),
            phase: Phase::New,
            stop: parts.stop,
            stop_deadline: None,
            drained: BTreeSet::new(),
            adopted: BTreeSet::new(),
            leftovers: parts.leftovers,
            fatal: None,
        }
    }

    /// One turn: waits for something to do as long as there is nothing, and does it.
    pub fn turn(&mut self, io: &mut dyn Io) -> Turned {
        let wait = self.before_turn(io.now());
        io.turn(&mut self.effects.ops, &mut self.done, wait);
        self.after_turn(io)
    }

    /// The first half of a turn: how long the world may wait. The shard counts as asleep until the second half.
    pub fn before_turn(&mut self, now: Instant) -> Wait {
        self.wait(now)
    }

    /// What is to be done and what has completed, for a world that turns many shards in one thread.
    #[allow(clippy::type_complexity)]
    pub fn seam(&mut self) -> (&mut Vec<(Token, Op)>, &mut Vec<(Token, Done)>) {
        (&mut self.effects.ops, &mut self.done)
    }

    /// The second half of a turn: acts on what has completed and what peers have sent.
    pub fn after_turn(&mut self, io: &mut dyn Io) -> Turned {
        let phase = self.phase;
        self.post.awake();
        let began = io.now();
        let work = self.done.len();
        self.act(io, began);
        let took = io.now().since(began);
        self.metrics.turns_total.add(1);
        self.metrics.turn_latency.record(took);
        if took > SLOW_TURN {
            self.metrics.turns_slow_total.add(1);
            let (connections, ops) = (self.connections.len(), self.effects.ops.len());
            tracing::warn!(shard = self.post.own().0, ?took, completions = work, connections, ops, "slow turn");
        }
        match (self.fatal.take(), self.phase) {
            // What cannot be read because the logs are being closed is no reason to complain.
            (Some(_), Phase::Draining | Phase::Drained | Phase::Closing | Phase::Stopped) => {
                self.phase = Phase::Stopped;
                Turned::Stopped
            }
            (Some(why), _) => Turned::Fatal(why),
            (None, Phase::Stopped) => Turned::Stopped,
            (None, Phase::Serving) if phase != Phase::Serving => Turned::Serving,
            (None, _) => Turned::Running,
        }
    }

    /// Panics if a part contradicts itself. Walks everything: for tests and simulation.
    pub fn invariants(&self) {
        self.connections.invariants();
        self.home.invariants();
        self.groups.invariants();
    }

    fn wait(&mut self, now: Instant) -> Wait {
        if self.phase == Phase::New {
            return Wait::No;
        }
        let congested = self.post.is_congested();
        let held_up = congested || self.memory.used_bytes() > self.memory.limit_bytes();
        let soon = match self.connections.wants_turn(held_up) {
            Some(true) => return Wait::No,
            Some(false) => Some(now.plus_ms(SOON_MS)),
            None => congested.then(|| now.plus_ms(SOON_MS)),
        };
        if !self.post.sleep() {
            return Wait::No;
        }
        let parts = [
            self.connections.next_deadline(),
            self.home.next_deadline(now),
            self.groups.next_deadline(now),
            self.listening.next_deadline(),
        ];
        let deadlines = parts.into_iter().chain([soon, self.stop_deadline]);
        deadlines.flatten().min().map_or(Wait::Forever, Wait::Until)
    }

    fn act(&mut self, io: &mut dyn Io, now: Instant) {
        let wall = io.wall();
        let mut done = std::mem::take(&mut self.done);
        let mut context = Context {
            now,
            wall,
            config: &self.config,
            image: &self.image,
            topics: &self.topics,
            metrics: &self.metrics,
            memory: &self.memory,
            post: &mut self.post,
            out: &mut self.effects,
        };
        if self.phase == Phase::New {
            self.phase = Phase::Starting;
            self.groups = Groups::new(io.entropy());
            if context.post.own() == CONTROL {
                for dir in std::mem::take(&mut self.leftovers) {
                    self.home.remove_leftover(&dir, context.out);
                }
                self.control = Some(Control::new(&mut self.home, &mut context, io.entropy()));
            }
        }
        for (token, done) in done.drain(..) {
            match token.room {
                connection::ROOM => self.connections.complete(token, done, &mut context),
                log::ROOM => self.home.complete(token, done, &mut context),
                groups::ROOM => self.groups.complete(token, done, &mut self.home, &mut context),
                crate::listening::ROOM => self.listening.complete(token, done, &mut self.connections, &mut context),
                control::ROOM => {
                    if let Some(control) = &mut self.control {
                        note(&mut self.fatal, control.complete(done, &mut self.home, &mut context));
                    }
                }
                room => unreachable!("no room has number {room}"),
            }
        }
        context.post.collect();
        self.connections.expire(&mut context);
        self.connections.sweep(&mut context);
        self.connections.run(&mut context);
        self.done = done;
        self.settle(now, wall);
        self.follow_stop(now, wall);
        self.with_groups(now, wall, |groups, home, context| groups.tick(home, context));
        // The turn's appends go to the disk together; what that says at once is heard at once.
        self.context(now, wall, |home, _, context| home.tick(context));
        self.settle(now, wall);
        if self.phase == Phase::Serving {
            self.listening.accept(now, &mut self.effects);
        }
        self.post.flush(&mut self.effects);
        self.metrics.fetch_waiting.set(self.connections.waiting_fetches() as u64);
        self.metrics.request_memory_bytes.set(self.memory.used_bytes() as u64);
    }

    /// Handles letters and events until there are none.
    fn settle(&mut self, now: Instant, wall: model::Timestamp) {
        loop {
            let mut any = false;
            while let Some((from, letter)) = self.post.next_letter() {
                any = true;
                self.letter(from, letter, now, wall);
            }
            let (foreign, events) = self.context(now, wall, |home, _, context| home.drain_events(context));
            any |= events;
            for event in foreign {
                self.event(&event, now, wall);
            }
            any |= self.with_groups(now, wall, |groups, home, context| groups.settle(home, context));
            self.tell_taken();
            if !any {
                return;
            }
        }
    }

    fn event(&mut self, event: &Event, now: Instant, wall: model::Timestamp) {
        if *event == Event::Closed {
            self.phase = Phase::Stopped;
        }
        let Some(mut control) = self.control.take() else { return };
        let verdict = self.context(now, wall, |home, _, context| control.event(event, home, context));
        if self.phase == Phase::Starting && control.has_failed() {
            self.fatal = Some("the metadata log cannot be written".to_owned());
        }
        self.control = Some(control);
        note(&mut self.fatal, verdict);
    }

    fn letter(&mut self, from: ShardId, letter: Letter, now: Instant, wall: model::Timestamp) {
        match letter {
            Letter::Image { version, image } => return self.take_image(version, image, now, wall),
            Letter::ImageTaken { version } => {
                self.with_control(now, wall, |control, _, context| control.taken(from, version, context));
                return self.serve_if_settled();
            }
            Letter::Control { request, command } => {
                return self.with_control(now, wall, |control, home, context| {
                    control.command(request, command, home, context);
                });
            }
            Letter::Serve => {
                if self.phase == Phase::Starting {
                    self.phase = Phase::Serving;
                    self.home.opened_all();
                }
                return;
            }
            Letter::Drained => {
                self.drained.insert(from);
                return self.close_if_drained();
            }
            Letter::Adopted => {
                self.adopted.insert(from);
                if self.adopted.len() == self.post.shard_count() {
                    self.context(now, wall, |home, _, context| home.discard_foreign(context.out));
                }
                return;
            }
            Letter::CloseLogs => {
                self.phase = Phase::Closing;
                return self.home.close_logs();
            }
            Letter::AskGroups { request, parts } => {
                return self.with_groups(now, wall, |groups, home, context| groups.ask(request, parts, home, context));
            }
            Letter::ListGroups { request, index } => {
                return self.with_groups(now, wall, |groups, _, context| groups.list(request, index, context));
            }
            _ => {}
        }
        self.context(now, wall, |home, connections, context| match letter {
            Letter::Produce(produce) => home.produce(produce, context),
            Letter::Produced { request, results } => connections.produced(request, results, context),
            Letter::Fetch(fetch) => home.fetch(fetch, context),
            Letter::Fetched { request, round, parts } => connections.fetched(request, round, parts, from, context),
            Letter::FetchReady { request } => connections.fetch_ready(request, context),
            Letter::Unwatch { request } => home.unwatch(request),
            Letter::Release(lease) => home.release(lease, context.out),
            Letter::Shed => connections.shed(context),
            Letter::ListOffsets(list) => home.list_offsets(list, context),
            Letter::ListedOffsets { request, results } => connections.listed(request, results, context),
            Letter::DeleteRecords(delete) => home.delete_records(delete, context),
            Letter::DeletedRecords { request, results } => connections.deleted(request, results, context),
            Letter::Grouped { request, index, answer } => connections.grouped(request, index, *answer, context),
            Letter::LookUp { request, lookup } => home.look_up(request, lookup, context),
            Letter::LookedUp { request, found } => connections.looked_up(request, found, context),
            Letter::Controlled { request, outcome } => connections.controlled(request, outcome, context),
            Letter::Adopt { socket, peer, local } => connections.adopt(socket, peer, local, context),
            Letter::CloseSession { id } => connections.close_session(id),
            Letter::DirectoryFailed { dir } => home.log().take_offline(&dir, context.out),
            Letter::Control { .. } | Letter::Image { .. } | Letter::ImageTaken { .. } => unreachable!("handled above"),
            Letter::AskGroups { .. } | Letter::ListGroups { .. } => unreachable!("handled above"),
            Letter::Serve | Letter::Drained | Letter::CloseLogs | Letter::Adopted => unreachable!("handled above"),
        });
    }

    fn take_image(&mut self, version: u64, image: Arc<Image>, now: Instant, wall: model::Timestamp) {
        self.topics.update(&self.image, &image, &self.config);
        let before = std::mem::replace(&mut self.image, image);
        self.untold.push(version);
        // Logs that are being closed open nothing any more; the next start follows.
        if !matches!(self.phase, Phase::Closing | Phase::Stopped) {
            self.context(now, wall, |home, _, context| home.follow(context));
            self.with_groups(now, wall, |groups, home, context| groups.follow(&before, home, context));
        }
    }

    /// Tells shard 0 which images are taken, once their partitions are open.
    fn tell_taken(&mut self) {
        if self.home.is_settled() {
            for version in std::mem::take(&mut self.untold) {
                self.post.send(CONTROL, Letter::ImageTaken { version });
            }
        }
    }

    fn serve_if_settled(&mut self) {
        let settled = self.control.as_ref().is_some_and(Control::is_settled);
        if self.phase == Phase::Starting && settled {
            for shard in self.post.shards() {
                self.post.send(shard, Letter::Serve);
            }
        }
    }

    /// Goes through the steps of a clean stop.
    fn follow_stop(&mut self, now: Instant, wall: model::Timestamp) {
        if !self.stop.load(Ordering::Relaxed) {
            return;
        }
        match self.phase {
            Phase::Starting | Phase::Serving => {
                self.phase = Phase::Draining;
                self.stop_deadline = Some(now.plus(DRAIN_TIME_MAX));
                self.listening.close(&mut self.effects);
                self.context(now, wall, |_, connections, context| connections.stop(context));
                self.with_groups(now, wall, |groups, _, context| groups.stop(context));
                self.settle(now, wall);
            }
            Phase::Closing if self.stop_deadline.is_some_and(|deadline| deadline <= now) => {
                // What is durable is durable; only the tidying is given up.
                self.phase = Phase::Stopped;
            }
            _ => {}
        }
        let late = self.stop_deadline.is_some_and(|deadline| deadline <= now);
        if self.phase == Phase::Draining && (late || self.connections.is_drained()) {
            self.phase = Phase::Drained;
            self.stop_deadline = Some(now.plus(CLOSE_TIME_MAX));
            self.post.send(CONTROL, Letter::Drained);
            self.settle(now, wall);
        }
    }

    /// Shard 0: when no shard works for a client any more, the logs are closed.
    fn close_if_drained(&mut self) {
        if self.drained.len() == self.post.shard_count() {
            for shard in self.post.shards() {
                self.post.send(shard, Letter::CloseLogs);
            }
        }
    }

    fn with_control(
        &mut self,
        now: Instant,
        wall: model::Timestamp,
        act: impl FnOnce(&mut Control, &mut Home, &mut Context<'_>),
    ) {
        let Some(mut control) = self.control.take() else { return };
        self.context(now, wall, |home, _, context| act(&mut control, home, context));
        self.control = Some(control);
    }

    fn context<T>(
        &mut self,
        now: Instant,
        wall: model::Timestamp,
        act: impl FnOnce(&mut Home, &mut Connections, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            now,
            wall,
            config: &self.config,
            image: &self.image,
            topics: &self.topics,
            metrics: &self.metrics,
            memory: &self.memory,
            post: &mut self.post,
            out: &mut self.effects,
        };
        act(&mut self.home, &mut self.connections, &mut context)
    }

    fn with_groups<T>(
        &mut self,
        now: Instant,
        wall: model::Timestamp,
        act: impl FnOnce(&mut Groups, &mut Home, &mut Context<'_>) -> T,
    ) -> T {
        let mut context = Context {
            now,
            wall,
            config: &self.config,
            image: &self.image,
            topics: &self.topics,
            metrics: &self.metrics,
            memory: &self.memory,
            post: &mut self.post,
            out: &mut self.effects,
        };
        act(&mut self.groups, &mut self.home, &mut context)
    }
}

fn note(fatal: &mut Option<String>, verdict: Verdict) {
    match verdict {
        Verdict::Fine => {}
        Verdict::Fatal(why) => *fatal = Some(why),
    }
}

/// The shard where metadata is changed.
pub(crate) const CONTROL: ShardId = ShardId(0);

/// A turn's own work that clients begin to notice.
const SLOW_TURN: Duration = Duration::from_millis(20);

/// When to look again for what no event announces: a peer's mailbox, memory.
const SOON_MS: u64 = 1;

/// SIGTERM to exit is 2 s at most: so much for clients, so much for the logs.
const DRAIN_TIME_MAX: Duration = Duration::from_millis(1000);
const CLOSE_TIME_MAX: Duration = Duration::from_millis(700);
