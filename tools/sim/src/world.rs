//! The world: one virtual clock, one queue of what happens next, the disk, the network, and a gate for each shard.
//!
//! Owns time and every decision of chance. Never knows what a shard or a client is: the run asks it for the next
//! happening, lets that one act, and asks again.
//! Invariants: time never goes back; every operation but a wake and a cancel is answered once; a shard whose gate is
//! shut stays asleep until a completion, a wake or its deadline.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

use effect::{Done, Op, Pool, Token, Wait};

use crate::disk::{Disk, FileClass, Rotten};
use crate::faults::{Faults, Trouble};
use crate::net::{ConnId, Net};
use crate::rng::Rng;
use crate::trace::{Trace, Who};

/// The simulated world of one run.
pub struct World {
    pub(crate) now_ns: u64,
    wall_offset_ms: i64,
    pub(crate) rng: Rng,
    entropy: Rng,
    queue: BinaryHeap<Reverse<(u64, u64, Event)>>,
    event_next: u64,
    /// What is told about the run.
    pub trace: Trace,
    pub(crate) faults: Faults,
    pub(crate) disk: Disk,
    pub(crate) net: Net,
    pub(crate) gates: Vec<Gate>,
    pub(crate) flights: BTreeMap<u64, Flight>,
    pub(crate) flight_next: u64,
    /// Counts the broker's lives: what was meant for an earlier one is dropped.
    life: u32,
    /// How often the broker was started.
    pub(crate) boots: u32,
    /// Operations of the disk begun, over all.
    disk_ops: u64,
    client_due: Vec<bool>,
    /// The broker was asked to stop.
    pub(crate) stopping: bool,
    /// Since when nothing has been slow or failing; `None` if that is not so.
    clean_since_ns: Option<u64>,
}

/// What the run must act on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Happening {
    /// A shard gets the processor: collect its completions and let it turn.
    Shard(usize),
    /// Something changed for a client, or its timer went off.
    Client(usize),
    /// A timer of the run.
    Timer(u32),
}

/// An operation in flight.
pub(crate) struct Flight {
    pub(crate) shard: usize,
    pub(crate) token: Token,
    pub(crate) op: Op,
    /// Bytes done so far, of a send.
    pub(crate) progress: u64,
    /// An event for it is in the queue.
    pub(crate) due: bool,
    /// A trap makes it fail.
    pub(crate) fails: bool,
    /// A trap's timer, to go off when it is done.
    pub(crate) then: Option<u32>,
}

/// Where a shard waits.
pub(crate) struct Gate {
    ready: Vec<(Token, Done)>,
    wait: Wait,
    waiting: bool,
    woken: bool,
    due: bool,
    /// Counts the waits, so that an old deadline rouses nobody.
    serial: u64,
    pub(crate) pool: Pool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    Flight(u64),
    Cancel { shard: usize, token: (u8, u8, u32, u32), life: u32 },
    Wake { shard: usize, life: u32 },
    Deadline { shard: usize, serial: u64, life: u32 },
    Turn { shard: usize, life: u32 },
    Land { conn: ConnId, to_server: bool },
    Arrive { conn: ConnId },
    ResetServer { conn: ConnId },
    ResetClient { conn: ConnId },
    Client(usize),
    Timer(u32),
}

impl World {
    /// A world without a broker.
    pub fn new(seed: u64, faults: Faults, trace: Trace) -> World {
        let mut rng = Rng::new(seed);
        let entropy = rng.fork();
        let clean_since_ns = faults.is_clean().then_some(0);
        World {
            clean_since_ns,
            stopping: false,
            now_ns: 0,
            wall_offset_ms: 1_700_000_000_000,
            rng,
            entropy,
            queue: BinaryHeap::new(),
            event_next: 0,
            trace,
            faults,
            disk: Disk::new(),
            net: Net::default(),
            gates: Vec::new(),
            flights: BTreeMap::new(),
            flight_next: 0,
            life: 0,
            boots: 0,
            disk_ops: 0,
            client_due: Vec::new(),
        }
    }

    /// How many times the broker has been started.
    pub(crate) fn life(&self) -> u32 {
        self.life
    }

    /// Nanoseconds since the run began.
    pub fn now_ns(&self) -> u64 {
        self.now_ns
    }

    /// The wall clock, ms since the epoch.
    pub fn wall_ms(&self) -> i64 {
        self.wall_offset_ms + (self.now_ns / 1_000_000) as i64
    }

    /// 64 bits for the broker.
    pub fn entropy(&mut self) -> u64 {
        self.entropy.bits()
    }

    /// What goes wrong.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Since when nothing has been slow or failing, if that is so now.
    pub fn clean_since_ns(&self) -> Option<u64> {
        self.clean_since_ns
    }

    /// From now on nothing goes wrong any more.
    pub fn calm(&mut self) {
        let traps = std::mem::take(&mut self.faults.traps);
        self.faults = Faults { pipe_bytes: self.faults.pipe_bytes, traps, ..Faults::none() };
        for volume in 0..VOLUMES_MAX {
            self.disk.set_budget(volume, None);
        }
        // What is on its way stays slow for a while.
        self.clean_since_ns.get_or_insert(self.now_ns + SETTLE_NS);
        self.note(Who::World, "calm", [0; 3], String::new);
    }

    /// The wall clock jumps.
    pub fn jump(&mut self) {
        let max = self.faults.wall_jump_ms_max;
        let jump_ms = self.rng.range(0, 2 * max) as i64 - max as i64;
        self.wall_offset_ms += jump_ms;
        self.note(Who::World, "wall clock jumps", [jump_ms as u64, 0, 0], || format!("by {jump_ms} ms"));
    }

    /// A directory that is there from the beginning, on a disk of its own.
    pub fn found_directory(&mut self, path: &str) {
        self.disk.found_directory(std::path::Path::new(path));
        for (volume, budget_bytes) in self.faults.budget_bytes.iter().enumerate() {
            self.disk.set_budget(volume, *budget_bytes);
        }
    }

    /// How many operations of the disk have begun.
    pub fn disk_ops(&self) -> u64 {
        self.disk_ops
    }

    /// A bit of what was durable flips, in a file of this class that lies in a directory which `may_rot`.
    pub(crate) fn rot(&mut self, class: FileClass, may_rot: impl Fn(&str) -> bool) -> Option<Rotten> {
        let mut rng = self.rng.fork();
        let rotten = self.disk.rot(class, may_rot, &mut rng)?;
        self.note(Who::World, "rot", [rotten.position, 0, 0], || {
            format!("{} @{} {:?}", rotten.path.display(), rotten.position, rotten.offsets)
        });
        Some(rotten)
    }

    /// What deleted topics have left behind below a directory.
    pub fn leftovers(&self, path: &str) -> Vec<std::path::PathBuf> {
        let path = std::path::Path::new(path);
        self.disk.names_in(path).filter(|name| name.ends_with("-delete")).map(|name| path.join(name)).collect()
    }

    /// A broker process starts, with so many shards, each with so much memory to receive into.
    pub fn boot(&mut self, shard_count: usize, recv_pool_bytes: usize) {
        assert!(self.gates.is_empty());
        self.stopping = false;
        self.life += 1;
        self.boots += 1;
        for shard in 0..shard_count {
            self.gates.push(Gate {
                ready: Vec::new(),
                wait: Wait::No,
                waiting: true,
                woken: false,
                due: false,
                serial: 0,
                pool: Pool::new(recv_pool_bytes),
            });
            self.rouse(shard);
        }
        self.note(Who::World, "boot", [shard_count as u64, 0, 0], || format!("{shard_count} shards"));
    }

    /// The broker process dies, and with `power_cut` the machine. The shards must have been dropped.
    pub fn kill(&mut self, power_cut: bool) {
        self.note(Who::World, "kill", [u64::from(power_cut), 0, 0], || {
            if power_cut { "by a power cut".to_owned() } else { "the process alone".to_owned() }
        });
        self.life += 1;
        self.gates.clear();
        let flights = std::mem::take(&mut self.flights);
        let of_disk = flights.into_iter().filter(|(_, flight)| of_disk(&flight.op));
        let mut rng = self.rng.fork();
        self.disk.kill(of_disk.map(|(id, flight)| (id, flight.op)).collect(), &mut rng);
        if power_cut {
            self.disk.power_cut(&mut rng);
        }
        self.drop_connections(power_cut);
    }

    /// What happens next; `None` if nothing ever will.
    pub fn step(&mut self) -> Option<Happening> {
        loop {
            let Reverse((at_ns, _, event)) = self.queue.pop()?;
            assert!(self.now_ns <= at_ns);
            self.now_ns = at_ns;
            if let Some(happening) = self.happen(event) {
                return Some(happening);
            }
        }
    }

    /// Hands a shard what has completed for it. It is awake until it waits again.
    pub fn collect(&mut self, shard: usize, done: &mut Vec<(Token, Done)>) {
        let gate = &mut self.gates[shard];
        gate.waiting = false;
        gate.woken = false;
        gate.serial += 1;
        let count = gate.ready.len() as u64;
        done.append(&mut gate.ready);
        self.note(Who::Shard(shard), "turn", [count, 0, 0], || format!("with {count} completions"));
    }

    /// Starts a shard's operations and lets it wait.
    pub fn submit(&mut self, shard: usize, ops: &mut Vec<(Token, Op)>, wait: Wait) {
        for (token, op) in ops.drain(..) {
            self.start(shard, token, op);
        }
        let gate = &mut self.gates[shard];
        assert!(!gate.waiting);
        gate.wait = wait;
        gate.waiting = true;
        let serial = gate.serial;
        if let Wait::Until(deadline) = wait {
            let at_ns = deadline.0.max(self.now_ns) + self.rng.range(0, 50_000);
            self.at(at_ns, Event::Deadline { shard, serial, life: self.life });
        }
        self.rouse(shard);
    }

    /// Asks for a [`Happening::Timer`].
    pub fn timer(&mut self, after_ns: u64, tag: u32) {
        self.after(after_ns, Event::Timer(tag));
    }

    /// Asks for a [`Happening::Client`].
    pub fn alarm(&mut self, client: usize, after_ns: u64) {
        self.after(after_ns, Event::Client(client));
    }

    /// Wakes every shard, as a signal does.
    pub fn wake_all(&mut self) {
        for shard in 0..self.gates.len() {
            self.after(1_000, Event::Wake { shard, life: self.life });
        }
    }

    pub(crate) fn note(&mut self, who: Who, what: &str, numbers: [u64; 3], text: impl FnOnce() -> String) {
        self.trace.note(self.now_ns, who, what, numbers, text);
    }

    pub(crate) fn at(&mut self, at_ns: u64, event: Event) {
        self.event_next += 1;
        self.queue.push(Reverse((at_ns, self.event_next, event)));
    }

    pub(crate) fn after(&mut self, after_ns: u64, event: Event) {
        self.at(self.now_ns + after_ns, event);
    }

    /// Tells a client soon that something changed.
    pub(crate) fn poke(&mut self, client: usize) {
        if self.client_due.len() <= client {
            self.client_due.resize(client + 1, false);
        }
        if !std::mem::replace(&mut self.client_due[client], true) {
            let after_ns = self.rng.range(1_000, 20_000);
            self.after(after_ns, Event::Client(client));
        }
    }

    /// An operation ends for good.
    pub(crate) fn answer(&mut self, shard: usize, token: Token, done: Done) {
        self.gates[shard].ready.push((token, done));
        self.rouse(shard);
    }

    fn happen(&mut self, event: Event) -> Option<Happening> {
        match event {
            Event::Flight(flight) => self.progress(flight),
            Event::Cancel { shard, token, life } if life == self.life => self.cancel(shard, token),
            Event::Wake { shard, life } if life == self.life => {
                self.gates[shard].woken = true;
                self.rouse(shard);
            }
            Event::Deadline { shard, serial, life } if life == self.life => {
                let gate = &mut self.gates[shard];
                if gate.waiting && gate.serial == serial {
                    gate.wait = Wait::No;
                    self.rouse(shard);
                }
            }
            Event::Turn { shard, life } if life == self.life => {
                if let Some(until_ns) = self.faults.until(Trouble::Pause(shard), self.now_ns) {
                    self.at(until_ns, event);
                    return None;
                }
                self.gates[shard].due = false;
                return Some(Happening::Shard(shard));
            }
            Event::Cancel { .. } | Event::Wake { .. } | Event::Deadline { .. } | Event::Turn { .. } => (),
            Event::Land { conn, to_server } => self.land(conn, to_server),
            Event::Arrive { conn } => self.arrive(conn),
            Event::ResetServer { conn } => self.reset_server(conn),
            Event::ResetClient { conn } => self.reset_client(conn),
            Event::Client(client) => {
                if let Some(due) = self.client_due.get_mut(client) {
                    *due = false;
                }
                return Some(Happening::Client(client));
            }
            Event::Timer(tag) => return Some(Happening::Timer(tag)),
        }
        None
    }

    /// Schedules a shard's turn if it has a reason to run.
    fn rouse(&mut self, shard: usize) {
        let gate = &mut self.gates[shard];
        let reason = gate.woken || !gate.ready.is_empty() || gate.wait == Wait::No;
        if !gate.waiting || gate.due || !reason {
            return;
        }
        gate.due = true;
        let after_ns = self.rng.spread(500, 30_000);
        self.after(after_ns, Event::Turn { shard, life: self.life });
    }

    fn start(&mut self, shard: usize, token: Token, op: Op) {
        self.note(Who::Shard(shard), "submit", crate::describe::numbers(&op), || crate::describe::op(&op));
        match op {
            Op::Wake { shard: target } => {
                assert!(target.index() < self.gates.len());
                let after_ns = self.rng.spread(200, 30_000);
                self.after(after_ns, Event::Wake { shard: target.index(), life: self.life });
            }
            Op::Cancel { token } => {
                let after_ns = self.rng.spread(200, 50_000);
                let token = (token.room, token.kind, token.generation, token.slot);
                self.after(after_ns, Event::Cancel { shard, token, life: self.life });
            }
            op => {
                let id = self.flight_next;
                self.flight_next += 1;
                let disk = of_disk(&op);
                if disk {
                    self.disk.submit(id, &op);
                }
                let mut flight = Flight { shard, token, op, progress: 0, due: disk, fails: false, then: None };
                if disk && !matches!(flight.op, Op::SendFile { .. }) {
                    let after_ns = self.disk_ns(&flight.op);
                    self.after(after_ns, Event::Flight(id));
                    self.disk_ops += 1;
                    (flight.fails, flight.then) = self.spring(&flight.op, after_ns);
                    self.flights.insert(id, flight);
                } else {
                    self.flights.insert(id, Flight { due: false, ..flight });
                    self.start_socket(id);
                }
            }
        }
    }
}

/// Whether an operation uses a file.
pub(crate) fn of_disk(op: &Op) -> bool {
    !matches!(
        op,
        Op::Accept { .. }
            | Op::CloseListener { .. }
            | Op::Recv { .. }
            | Op::RecvExact { .. }
            | Op::Send { .. }
            | Op::Shutdown { .. }
            | Op::Close { .. }
            | Op::Wake { .. }
            | Op::Cancel { .. }
    )
}

const SETTLE_NS: u64 = 5_000_000_000;

/// Log directories that a broker may have.
pub(crate) const VOLUMES_MAX: usize = 2;
