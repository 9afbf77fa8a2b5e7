//! One run: a broker that is killed and started again, clients that work it, then quiet, and everything read back.
//!
//! Owns the course of a run and its clients. Knows the broker only through [`Broker`].

use std::cell::RefCell;
use std::rc::Rc;

use crate::broker_host::{Broker, DATA, Life};
use crate::clients::{Actor, Admin, Consumer, Hostile, Idempotent, Plain, Stage, Verifier};
use crate::faults::{Faults, Trouble};
use crate::oracle::Oracle;
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
    let mut rng = Rng::new(seed);
    let span_ns = rng.spread(100, 800) * 1_000_000;
    let faults = Faults::draw(&mut rng, span_ns);
    let bad_disk_ends = faults.last_end(Trouble::BadDisk);
    let jumps = faults.wall_jump_ms_max > 0;
    let (clean, disk_refuses) = (faults.is_clean(), faults.disk_refuses());
    let world = Rc::new(RefCell::new(World::new(rng.bits(), faults, trace)));
    world.borrow_mut().found_directory(DATA);
    let mut run = Run {
        world,
        rng,
        broker: None,
        oracle: Oracle::default(),
        clients: Vec::new(),
        phase: Phase::Working,
        starts: 0,
        stop_ns: None,
        clean,
        disk_refuses,
    };
    run.people();
    run.timer(0, START);
    run.timer(span_ns, WIND_DOWN);
    for _ in 0..run.rng.spread(1, 5) - 1 {
        let at_ns = run.rng.below(span_ns);
        let how = [KILL, KILL, POWER_CUT, POWER_CUT, STOP][run.rng.index(5)];
        run.timer(at_ns, how);
    }
    if let Some(at_ns) = bad_disk_ends.filter(|at_ns| *at_ns < span_ns) {
        // A log directory that failed stays offline until the next start.
        run.timer(at_ns, KILL);
    }
    if jumps {
        for _ in 0..3 {
            let at_ns = run.rng.below(span_ns);
            run.timer(at_ns, JUMP);
        }
    }
    run.go_on(span_ns);
    let world = run.world.borrow();
    Report {
        hash: world.trace.hash(),
        lines: world.trace.count(),
        virtual_ms: world.now_ns() / 1_000_000,
        acked: run.oracle.acked_count,
        seen: run.oracle.seen_count,
        starts: run.starts,
    }
}

impl Run {
    fn people(&mut self) {
        let stable: Vec<usize> = (0..self.rng.range(1, 3)).map(|_| self.rng.range(1, 8) as usize).collect();
        self.join(Box::new(Admin::new(&stable)));
        for _ in 0..self.rng.range(1, 3) {
            self.join(Box::new(Idempotent::default()));
        }
        for _ in 0..self.rng.range(0, 2) {
            self.join(Box::new(Plain::default()));
        }
        for _ in 0..self.rng.range(1, 3) {
            self.join(Box::new(Consumer::default()));
        }
        for _ in 0..self.rng.range(0, 2) {
            self.join(Box::new(Hostile::default()));
        }
    }

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
        let power_cut = self.rng.coin();
        self.kill(power_cut);
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
                let shards = self.rng.range(1, 4) as usize;
                self.starts += 1;
                self.broker = Some(Broker::start(&self.world, shards, self.disk_refuses, &mut self.rng));
            }
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
                let offline = self.world.borrow().faults().last_end(Trouble::BadDisk).is_some();
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

    fn kill(&mut self, power_cut: bool) {
        self.stop_ns = None;
        if self.broker.take().is_some() {
            self.world.borrow_mut().kill(power_cut);
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
const KILL: u32 = 1;
const POWER_CUT: u32 = 2;
const JUMP: u32 = 3;
const WIND_DOWN: u32 = 4;
const STOP: u32 = 5;

/// SIGTERM to the end.
const STOP_NS_MAX: u64 = 2_000_000_000;

/// How long a calm broker and its clients may take to come to rest: longer than any one answer may take.
const QUIET_NS_MAX: u64 = 180_000_000_000;
