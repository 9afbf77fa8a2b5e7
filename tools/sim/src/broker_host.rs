//! The broker under simulation: its shards, and the two halves of a turn between which the world runs on.
//!
//! Owns what a binary's `main` would: settings, memory, listeners, the first look into the data directory. Memory and
//! mailboxes are small, so that backpressure is the normal case.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use broker::config::{BrokerConfig, Sources};
use broker::{LogConfig, Parts, Shard, Turned};
use effect::{Instant, Pool};

use tracing::Level;

use crate::log_lines::{self, LogLine};
use crate::rng::Rng;
use crate::sim_io::SimIo;
use crate::trace::Who;
use crate::world::{VOLUMES_MAX, World};

/// What a broker starts with.
pub(crate) struct Setup {
    pub(crate) shards: usize,
    /// How many of [`DIRECTORIES`] it has.
    pub(crate) directories: usize,
    /// The one of them that is not there.
    pub(crate) absent: Option<usize>,
    /// The largest a segment may be; drawn without it.
    pub(crate) segment_bytes: Option<u32>,
    /// The disk fails or fills at some time of this run.
    pub(crate) disk_refuses: bool,
}

/// A running broker.
pub(crate) struct Broker {
    shards: Vec<(Shard, SimIo)>,
    turn_count: u64,
    stop: Arc<AtomicBool>,
    stopped: Vec<bool>,
    /// The disk fails or fills at some time of this run.
    disk_refuses: bool,
}

/// What became of the broker.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Life {
    Runs,
    /// As it was asked to.
    Stopped,
    /// It cannot run.
    Gave,
}

impl Broker {
    /// Starts one on the world's disk. Sizes are drawn anew: a broker must take what an earlier one left behind.
    pub(crate) fn start(world: &Rc<RefCell<World>>, setup: Setup, rng: &mut Rng) -> Broker {
        drop(log_lines::take());
        let Setup { shards: shard_count, directories, absent, segment_bytes, disk_refuses } = setup;
        let memory_bytes = rng.spread(256, 4096) as usize * 1024;
        let chunk_bytes = rng.spread(8, 32) as usize * 1024 * 1024;
        let mail_capacity = rng.spread(1, 64) as usize;
        let mut log = log_config(rng);
        log.segment_bytes_max = segment_bytes.unwrap_or(log.segment_bytes_max);
        let directories = &DIRECTORIES[..directories];
        let config = Arc::new(config(directories));
        let metrics: Vec<_> = (0..shard_count).map(|_| Arc::default()).collect();
        let stop = Arc::new(AtomicBool::new(false));
        let recv_pool_bytes = rng.spread(256, 2048) as usize * 1024;
        let absent = absent.map(|at| directories[at]);
        let there = directories.iter().filter(|path| absent != Some(**path));
        let mut leftovers: Vec<_> = there.flat_map(|path| world.borrow().leftovers(path)).collect();
        world.borrow_mut().boot(shard_count, recv_pool_bytes);
        let run_count = u64::from(world.borrow().life());
        log.roots = directories.iter().map(Into::into).collect();
        log.lost = absent.iter().map(Into::into).collect();
        // The first of so many, with others after it.
        let first = log.runs[0];
        let run = |number| {
            let mut run = first;
            run.number = number;
            run.salt = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            run
        };
        log.runs = (1..=run_count).map(run).collect();
        let links = broker::links(shard_count, mail_capacity);
        let shards = links.into_iter().enumerate().map(|(index, link)| {
            let parts = Parts {
                link,
                config: config.clone(),
                listeners: vec![world.borrow_mut().listen()],
                metrics: metrics.clone(),
                memory: Pool::new(memory_bytes),
                chunks: Pool::new(chunk_bytes),
                log: log.clone(),
                stop: stop.clone(),
                leftovers: std::mem::take(&mut leftovers),
            };
            (Shard::new(parts), SimIo::new(world.clone(), index))
        });
        let shards = shards.collect();
        Broker { shards, turn_count: 0, stop, stopped: vec![false; shard_count], disk_refuses }
    }

    /// Lets a shard finish its turn and begin the next; answers what became of the broker.
    pub(crate) fn turn(&mut self, index: usize, world: &Rc<RefCell<World>>) -> Life {
        let (shard, io) = &mut self.shards[index];
        if self.stopped[index] {
            return Life::Runs;
        }
        world.borrow_mut().collect(index, shard.seam().1);
        let turned = shard.after_turn(io);
        self.heed(index, world);
        let (shard, _) = &mut self.shards[index];
        self.turn_count += 1;
        if self.turn_count.is_multiple_of(INVARIANT_TURNS) {
            shard.invariants();
        }
        match turned {
            Turned::Running => (),
            Turned::Serving => world.borrow_mut().note(Who::Shard(index), "serving", [0; 3], String::new),
            Turned::Stopped => {
                assert!(self.stop.load(Ordering::Relaxed), "s{index} stopped unasked");
                world.borrow_mut().note(Who::Shard(index), "stopped", [0; 3], String::new);
                self.stopped[index] = true;
                return if self.stopped.iter().all(|stopped| *stopped) { Life::Stopped } else { Life::Runs };
            }
            Turned::Fatal(why) => {
                let refuses = self.disk_refuses;
                world.borrow_mut().note(Who::Shard(index), "fatal", [0; 3], || why.clone());
                assert!(refuses, "fatal without a fault of the disk: {why}");
                return Life::Gave;
            }
        }
        let now = Instant(world.borrow().now_ns());
        let wait = shard.before_turn(now);
        world.borrow_mut().submit(index, shard.seam().0, wait);
        Life::Runs
    }

    /// Asks for a clean stop, as a signal does.
    pub(crate) fn stop(&self, world: &Rc<RefCell<World>>) {
        self.stop.store(true, Ordering::Relaxed);
        world.borrow_mut().wake_all();
    }

    /// Shows what was logged. Without a fault of the disk there is nothing to complain about.
    fn heed(&self, index: usize, world: &Rc<RefCell<World>>) {
        for LogLine { level, text } in log_lines::take() {
            world.borrow_mut().note(Who::Shard(index), "says", [text.len() as u64, 0, 0], || format!("{level} {text}"));
            assert!(level > Level::WARN || self.disk_refuses, "{level} without a fault of the disk: {text}");
        }
    }
}

fn config(directories: &[&str]) -> BrokerConfig {
    let set = [
        format!("log.dirs={}", directories.join(",")),
        "auto.create.topics.enable=false".to_owned(),
        "log.segment.bytes=1048576".to_owned(),
        // Members join within a run, and a few coordinators are enough.
        "group.initial.rebalance.delay.ms=0".to_owned(),
        "offsets.topic.num.partitions=3".to_owned(),
        // Any one frame fits into the request memory.
        "socket.request.max.bytes=131072".to_owned(),
    ];
    let sources = Sources { properties: None, environment: &[], set: &set };
    BrokerConfig::load(&sources).unwrap_or_else(|error| panic!("settings: {error}"))
}

/// Bounds of the logs, so small that a run reaches them: what an engine has to be small in is drawn here.
fn log_config(rng: &mut Rng) -> LogConfig {
    LogConfig {
        cache_bytes: rng.spread(64, 4096) as usize * 1024,
        files_max: rng.range(16, 64) as usize,
        // A batch fits into the smallest.
        segment_bytes_max: rng.spread(32, 1024) as u32 * 1024,
        retention_check_ms: rng.spread(5, 500),
        cleaner_backoff_ms: rng.spread(5, 500),
        // Several rounds in a run.
        scrub_after_ms: 20,
        scrub_every_ms: 100,
        ..LogConfig::default()
    }
}

/// The log directories that a broker may have, each on a disk of its own.
pub(crate) const DIRECTORIES: [&str; VOLUMES_MAX] = ["/data", "/data-2"];

/// The invariants walk everything: not after every turn.
const INVARIANT_TURNS: u64 = 16;
