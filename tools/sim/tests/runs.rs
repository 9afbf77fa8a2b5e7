//! Whole runs: equal seeds give equal traces, and every pinned seed passes.

use sim::{EveryOp, Script, Trace};

#[test]
fn equal_seeds_give_equal_runs() {
    let first = sim::run(1, Trace::quiet());
    assert_eq!(first, sim::run(1, Trace::quiet()));
    assert!(first.acked > 0);
    assert!(first.hash != sim::run(2, Trace::quiet()).hash);
}

/// A line of the file is a seed, then why it is kept.
#[test]
fn pinned_seeds_pass() {
    sim::listen_to_logs();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/seeds/seeds.txt");
    let pinned = std::fs::read_to_string(path).expect("the pinned seeds are part of the repository");
    let lines = pinned.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines {
        let (seed, why) = line.split_once(' ').expect("a seed, then why");
        let seed = seed.parse().expect("a number");
        let result = std::panic::catch_unwind(|| sim::run(seed, Trace::quiet()));
        assert!(result.is_ok(), "seed {seed} fails again: {why}");
    }
}

/// The whole of it is `sim --every-op all`; here each script with every few operations, each in one of the ways.
#[test]
fn every_operation_of_the_disk_may_fail_or_be_the_last() {
    sim::listen_to_logs();
    for (name, script) in Script::ALL {
        let (_, ops) = sim::every_op(script, None, Trace::quiet());
        assert!(ops > 100, "{name} asks the disk for {ops} operations");
        for (at, what) in (0..ops).step_by(5).zip(EveryOp::ALL.into_iter().cycle()) {
            let result = std::panic::catch_unwind(|| sim::every_op(script, Some((at, what)), Trace::quiet()));
            assert!(result.is_ok(), "--every-op {name} --at {at} --what {what}");
        }
    }
}
