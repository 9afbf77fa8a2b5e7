//! What is to happen in one run: how long, which faults, which stops, which people.

use crate::broker_host::DIRECTORIES;
use crate::clients::{Actor, Admin, Consumer, Deleter, Hostile, Idempotent, Member, Plain, TIMES_BACK_MS};
use crate::faults::Faults;
use crate::oracle::Rules;
use crate::rng::Rng;
use crate::run::{ABSENT, JUMP, KILL, POWER_CUT, ROT, STOP, TRAP_CUT, TRAP_KILL};
use crate::traps::Trap;

/// The plan of one run.
pub(crate) struct Plan {
    /// For what the plan leaves open.
    pub(crate) rng: Rng,
    /// How long clients are given work.
    pub(crate) span_ns: u64,
    pub(crate) faults: Faults,
    /// When which timer of the run goes off.
    pub(crate) timers: Vec<(u64, u32)>,
    pub(crate) people: Vec<Box<dyn Actor>>,
    /// Log directories that the broker has.
    pub(crate) directories: usize,
    /// How many shards; drawn at each start without it.
    pub(crate) shards: Option<usize>,
    /// The largest a segment may be; drawn at each start without it.
    pub(crate) segment_bytes: Option<u32>,
    /// The last kill, before everything is read back, is one of the machine.
    pub(crate) last_power_cut: bool,
}

impl Plan {
    /// What this seed does.
    pub(crate) fn draw(seed: u64) -> Plan {
        let mut rng = Rng::new(seed);
        let span_ns = rng.spread(100, 800) * 1_000_000;
        // Drawn apart: a seed with one directory does what it did before there were two.
        let mut apart = Rng::new(!seed);
        let directories = apart.range(1, DIRECTORIES.len() as u64) as usize;
        let mut faults = Faults::draw(&mut rng, span_ns, directories);
        let mut timers = Vec::new();
        for _ in 0..rng.spread(1, 5) - 1 {
            let how = [KILL, KILL, POWER_CUT, POWER_CUT, STOP][rng.index(5)];
            timers.push((rng.below(span_ns), how));
        }
        for _ in 0..rng.spread(1, 4) - 1 {
            let tag = [TRAP_KILL, TRAP_CUT][rng.index(2)];
            faults.traps.push(Trap::draw(&mut rng, tag));
        }
        if let Some(at_ns) = faults.last_bad_end().filter(|at_ns| *at_ns < span_ns) {
            // A log directory that failed stays offline until the next start.
            timers.push((at_ns, KILL));
        }
        if faults.wall_jump_ms_max > 0 {
            timers.extend((0..3).map(|_| (rng.below(span_ns), JUMP)));
        }
        timers.extend(faults.rots.iter().map(|_| (rng.below(span_ns), ROT)).collect::<Vec<_>>());
        if directories > 1 && apart.chance(ABSENT_PER_MILLE) {
            faults.absence = true;
            timers.push((apart.below(span_ns), ABSENT));
        }
        let people = people(&mut rng);
        let last_power_cut = rng.coin();
        Plan { rng, span_ns, faults, timers, people, directories, shards: None, segment_bytes: None, last_power_cut }
    }
}

/// Runs with two log directories in which one is not there for a while.
const ABSENT_PER_MILLE: u64 = 250;

fn people(rng: &mut Rng) -> Vec<Box<dyn Actor>> {
    let stable: Vec<(usize, Rules)> = (0..rng.range(1, 3)).map(|_| (rng.range(1, 8) as usize, rules(rng))).collect();
    let mut people: Vec<Box<dyn Actor>> = vec![Box::new(Admin::new(&stable))];
    people.extend((0..rng.range(1, 3)).map(|_| Box::new(Idempotent::default()) as Box<dyn Actor>));
    people.extend((0..rng.range(0, 2)).map(|_| Box::new(Plain::default()) as Box<dyn Actor>));
    people.extend((0..rng.range(1, 3)).map(|_| Box::new(Consumer::default()) as Box<dyn Actor>));
    people.extend((0..rng.range(0, 1)).map(|_| Box::new(Deleter::default()) as Box<dyn Actor>));
    people.extend((0..rng.range(0, 2)).map(|_| Box::new(Member::default()) as Box<dyn Actor>));
    people.extend((0..rng.range(0, 2)).map(|_| Box::new(Hostile::default()) as Box<dyn Actor>));
    people
}

/// What holds for a topic.
fn rules(rng: &mut Rng) -> Rules {
    let mut rules = Rules { log_append_time: rng.chance(250), ..Rules::default() };
    match rng.below(10) {
        0..2 => rules.compacts = true,
        2 => rules.retention_ms = Some(rng.spread(100, 2 * TIMES_BACK_MS) as i64),
        3 => rules.retention_bytes = Some(rng.spread(16, 512) * 1024),
        _ => (),
    }
    rules
}
