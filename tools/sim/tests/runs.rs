//! Whole runs: equal seeds give equal traces, and every pinned seed passes.

use sim::Trace;

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
