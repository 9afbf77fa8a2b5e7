//! One run: a broker that is killed and started again, clients that work it, then quiet, and everything read back.
//!
//! Owns the course of a run and its clients. Knows the broker only through [`Broker`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::broker_host::{Broker, DIRECTORIES, Life, Setup};
use crate::clients::{Actor, STABLE, Stage, Verifier};
use crate::disk::{FileClass, Rotten};
use crate::oracle::Oracle;
use crate::plan::Plan;
use crate::rng::Rng;
use crate::trace::{Trace, Who};
use crate::world::{Happening, World};

/// What a run that passed tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Of the trace: equal seeds, equal hashes.
    pub hash: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// How long it took in its own time.
    pub virtual_ms: u64,
    /// Records acknowledged.
    pub acked: u64,
    /// Records seen by consumers, again and again.
    pub seen: u64,
    /// How often the broker was started.
    pub starts: u32,
}

struct Run {
    world: Rc<RefCell<World>>,
    rng: Rng,
    broker: Option<Broker>,
    oracle: Oracle,
    clients: Vec<Client>,
    phase: Phase,
    starts: u32,
    /// When the broker was asked to stop.
    stop_ns: Option<u64>,
    /// A run without slowness or failures.
    clean: bool,
    disk_refuses: bool,
    /// What rots at the next moment that was planned for it.
    rots: Vec<FileClass>,
    directories: usize,
    /// The log directory that is not there, at the next start and until it is.
    absent: Option<usize>,
    shards: Option<usize>,
    segment_bytes: Option<u32>,
    last_power_cut: bool,
}

struct Client {
    actor: Box<dyn Actor>,
    rng: Rng,
    /// When it acts again, if an alarm is set.
    alarm_ns: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Working,
    WindingDown,
    Verifying,
}

/// Runs one seed to its end. A violation is a panic.
pub fn run(seed: u64, trace: Trace) -> Report {
    go(Plan::draw(seed), trace).0
}

/// Runs a plan to its end; answers also how many operations the disk was asked for.
pub(crate) fn go(plan: Plan, trace: Trace) -> (Report, u64) {
    let Plan { mut rng, span_ns, faults, timers, people, directories, shards, segment_bytes, last_power_cut } = plan;
    let (clean, disk_refuses, rots) = (faults.is_clean(), faults.disk_refuses(), faults.rots.clone());
    let wall_jumps = faults.wall_jump_ms_max > 0;
    let world = Rc::new(RefCell::new(World::new(rng.bits(), faults, trace)));
    DIRECTORIES[..directories].iter().for_each(|path| world.borrow_mut().found_directory(path));
    let mut run = Run {
        world,
        rng,
        broker: None,
        oracle: Oracle::new(wall_jumps),
        clients: Vec::new(),
        phase: Phase::Working,
        starts: 0,
        stop_ns: None,
        clean,
        disk_refuses,
        rots,
        directories,
        absent: None,
        shards,
        segment_bytes,
        last_power_cut,
    };
    people.into_iter().for_each(|actor| run.join(actor));
    run.timer(0, START);
    run.timer(span_ns, WIND_DOWN);
    timers.into_iter().for_each(|(at_ns, tag)| run.timer(at_ns, tag));
    run.go_on(span_ns);
    let world = run.world.borrow();
    let report = Report {
        hash: world.trace.hash(),
        lines: world.trace.count(),
        virtual_ms: world.now_ns() / 1_000_000,
        acked: run.oracle.acked_count,
        seen: run.oracle.seen_count,
        starts: run.starts,
    };
    (report, world.disk_ops())
}

impl Run {
    fn join(&mut self, actor: Box<dyn Actor>) {
        let rng = self.rng.fork();
        self.clients.push(Client { actor, rng, alarm_ns: None });
        self.world.borrow_mut().alarm(self.clients.len() - 1, 1);
    }

    fn timer(&self, after_ns: u64, tag: u32) {
        self.world.borrow_mut().timer(after_ns, tag);
    }

    fn go_on(&mut self, span_ns: u64) {
        let end_ns = span_ns + QUIET_NS_MAX;
        loop {
            let happening = self.world.borrow_mut().step().expect("nothing happens any more");
            match happening {
                Happening::Shard(shard) => self.turn(shard),
                Happening::Client(client) => self.act(client),
                Happening::Timer(tag) => self.timed(tag),
            }
            if self.phase != Phase::Working
                && self.broker.is_some()
                && self.clients.iter().all(|client| client.actor.is_idle())
                && self.quiet()
            {
                return;
            }
            if self.world.borrow().now_ns() >= end_ns {
                let busy = self.clients.iter().position(|client| !client.actor.is_idle());
                panic!("the run does not come to rest: c{} in {:?}", busy.unwrap_or_default(), self.phase);
            }
        }
    }

    /// All clients rest: the last kill and the last read, then the end. Answers whether this was it.
    fn quiet(&mut self) -> bool {
        if self.phase == Phase::Verifying {
            return true;
        }
        self.phase = Phase::Verifying;
        self.rots.drain(..).collect::<Vec<_>>().into_iter().for_each(|class| self.rot(class));
        self.kill(self.last_power_cut);
        let topics = self.oracle.topics.iter().enumerate().filter(|(_, topic)| topic.is_alive);
        let partitions = topics.flat_map(|(index, topic)| (0..topic.partitions.len() as u32).map(move |p| (index, p)));
        let verifier = Verifier::new(partitions.collect());
        self.join(Box::new(verifier));
        false
    }

    fn turn(&mut self, shard: usize) {
        let Some(broker) = &mut self.broker else { return };
        match broker.turn(shard, &self.world) {
            Life::Runs => (),
            Life::Stopped => {
                let took_ns = self.world.borrow().now_ns() - self.stop_ns.take().expect("it was asked to stop");
                assert!(took_ns <= STOP_NS_MAX || !self.clean, "a clean stop took {} ms", took_ns / 1_000_000);
                self.kill(false);
            }
            // A disk that fails at start is its end. Something will start it again.
            Life::Gave => self.kill(false),
        }
    }

    fn act(&mut self, index: usize) {
        let mut world = self.world.borrow_mut();
        let client = &mut self.clients[index];
        let now_ns = world.now_ns();
        self.oracle.clock(world.wall_ms());
        if client.alarm_ns.is_some_and(|alarm_ns| alarm_ns <= now_ns) {
            client.alarm_ns = None;
        }
        let mut stage = Stage {
            world: &mut world,
            oracle: &mut self.oracle,
            rng: &mut client.rng,
            me: index,
            winding_down: self.phase != Phase::Working,
            again_ns: u64::MAX,
        };
        client.actor.act(&mut stage);
        let again_ns = stage.again_ns;
        if again_ns < client.alarm_ns.unwrap_or(u64::MAX) {
            client.alarm_ns = Some(again_ns);
            world.alarm(index, again_ns - now_ns);
        }
    }

    fn timed(&mut self, tag: u32) {
        match tag {
            START if self.broker.is_none() => {
                let drawn = self.rng.range(1, 4) as usize;
                self.starts += 1;
                let setup = Setup {
                    shards: self.shards.unwrap_or(drawn),
                    directories: self.directories,
                    absent: self.absent,
                    segment_bytes: self.segment_bytes,
                    disk_refuses: self.disk_refuses,
                };
                self.broker = Some(Broker::start(&self.world, setup, &mut self.rng));
            }
            TRAP_KILL | TRAP_CUT => self.kill(tag == TRAP_CUT),
            ROT if self.phase == Phase::Working => {
                // What finds nothing to rot now is kept for the end.
                if let Some(class) = self.rots.pop() {
                    self.rot(class);
                }
            }
            ABSENT if self.phase == Phase::Working && self.broker.is_some() => {
                self.kill(false);
                self.absent = Some(self.rng.index(self.directories));
                let back_ns = self.rng.spread(1_000_000, 200_000_000);
                self.timer(back_ns, BACK);
            }
            BACK if self.absent.take().is_some() => self.kill(false),
            KILL | POWER_CUT if self.phase == Phase::Working => self.kill(tag == POWER_CUT),
            STOP if self.phase == Phase::Working && self.stop_ns.is_none() => {
                if let Some(broker) = &self.broker {
                    self.stop_ns = Some(self.world.borrow().now_ns());
                    self.world.borrow_mut().excuse_all();
                    broker.stop(&self.world);
                }
            }
            JUMP if self.phase == Phase::Working => self.world.borrow_mut().jump(),
            WIND_DOWN => {
                self.phase = Phase::WindingDown;
                let offline = self.world.borrow().faults().last_bad_end().is_some();
                self.world.borrow_mut().calm();
                if offline {
                    self.kill(false);
                }
                for client in 0..self.clients.len() {
                    self.world.borrow_mut().alarm(client, 1);
                }
            }
            _ => (),
        }
    }

    /// A bit flips, not in the metadata: without it there is nothing to hold the broker to.
    fn rot(&mut self, class: FileClass) {
        let rotten = self.world.borrow_mut().rot(class, |directory| directory.starts_with(STABLE));
        match rotten {
            Some(Rotten { offsets: Some(offsets), .. }) => self.oracle.rotten(offsets),
            Some(_) => (),
            None if self.phase == Phase::Working => self.rots.insert(0, class),
            None => (),
        }
    }

    fn kill(&mut self, power_cut: bool) {
        self.stop_ns = None;
        if self.broker.take().is_some() {
            self.world.borrow_mut().kill(power_cut);
            self.oracle.died();
            let down_ns = self.rng.spread(100_000, 50_000_000);
            self.timer(down_ns, START);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let mut world = self.world.borrow_mut();
            let now_ns = world.now_ns();
            world.trace.note(now_ns, Who::World, "violation", [0; 3], String::new);
        }
    }
}

const START: u32 = 0;
pub(crate) const KILL: u32 = 1;
pub(crate) const POWER_CUT: u32 = 2;
pub(crate) const JUMP: u32 = 3;
const WIND_DOWN: u32 = 4;
pub(crate) const STOP: u32 = 5;
/// A trap kills, in whatever phase.
pub(crate) const TRAP_KILL: u32 = 6;
pub(crate) const TRAP_CUT: u32 = 7;
pub(crate) const ROT: u32 = 8;
/// A log directory goes, and comes back.
pub(crate) const ABSENT: u32 = 9;
const BACK: u32 = 10;

/// SIGTERM to the end.
const STOP_NS_MAX: u64 = 2_000_000_000;

/// How long a calm broker and its clients may take to come to rest: longer than any one answer may take.
const QUIET_NS_MAX: u64 = 180_000_000_000;
