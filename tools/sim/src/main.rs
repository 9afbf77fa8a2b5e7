//! `sim --seed N` runs one seed and prints its trace; `sim --seeds N [--from M]` runs many and prints those that fail.
//! `sim --every-op all` runs a short script for each operation of the disk, which fails or is the last before a kill
//! or a power cut; `sim --every-op SCRIPT --at N --what WHAT` runs one of these and prints its trace.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use sim::{EveryOp, Report, Script, Trace};

/// What the last panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

enum Command {
    One(u64),
    Many { from: u64, count: u64 },
    EveryOp,
    EveryOpOne(Script, u64, EveryOp),
}

fn main() -> ExitCode {
    let Some(command) = command(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::FAILURE;
    };
    std::panic::set_hook(Box::new(|info| {
        let wanted = std::env::var("RUST_BACKTRACE").is_ok_and(|value| value == "full");
        let backtrace =
            if wanted { format!("\n{}", std::backtrace::Backtrace::force_capture()) } else { String::new() };
        if let Ok(mut last) = LAST_PANIC.lock() {
            *last = format!("{info}{backtrace}");
        }
    }));
    sim::listen_to_logs();
    let failed = match command {
        Command::One(seed) => one(seed),
        Command::Many { from, count } => many(from, count),
        Command::EveryOp => every_op(),
        Command::EveryOpOne(script, at, what) => every_op_one(script, at, what),
    };
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn one(seed: u64) -> bool {
    match attempt(seed, Trace::printing()) {
        Some(report) => {
            let Report { hash, lines, virtual_ms, acked, seen, starts } = report;
            println!(
                "seed {seed}: {virtual_ms} ms, {starts} starts, {acked} records acknowledged, {seen} seen, {lines} lines"
            );
            println!("hash {hash:016x}");
            false
        }
        None => {
            println!("seed {seed} FAILED: {}", last_panic());
            true
        }
    }
}

fn many(from: u64, count: u64) -> bool {
    let mut failed = 0;
    let mut acked = 0;
    for seed in from..from + count {
        match attempt(seed, Trace::quiet()) {
            Some(report) => acked += report.acked,
            None => {
                failed += 1;
                println!("seed {seed} FAILED: {}", last_panic());
                println!("  reproduce: cargo run --release -p sim -- --seed {seed}");
            }
        }
    }
    println!("{acked} records acknowledged");
    println!("{} passed, {failed} failed", count - failed);
    failed > 0
}

fn every_op() -> bool {
    let (mut passed, mut failed) = (0, 0);
    for (name, script) in Script::ALL {
        let (_, ops) = sim::every_op(script, None, Trace::quiet());
        println!("{name}: {ops} operations of the disk");
        for (at, what) in (0..ops).flat_map(|at| EveryOp::ALL.map(|what| (at, what))) {
            let run = || sim::every_op(script, Some((at, what)), Trace::quiet());
            if catch_unwind(AssertUnwindSafe(run)).is_ok() {
                passed += 1;
                continue;
            }
            failed += 1;
            println!("{name} {what} at {at} FAILED: {}", last_panic());
            println!("  reproduce: cargo run --release -p sim -- --every-op {name} --at {at} --what {what}");
        }
    }
    println!("{passed} passed, {failed} failed");
    failed > 0
}

fn every_op_one(script: Script, at: u64, what: EveryOp) -> bool {
    let run = || sim::every_op(script, Some((at, what)), Trace::printing());
    let failed = catch_unwind(AssertUnwindSafe(run)).is_err();
    if failed {
        println!("{what} at {at} FAILED: {}", last_panic());
    }
    failed
}

fn attempt(seed: u64, trace: Trace) -> Option<Report> {
    catch_unwind(AssertUnwindSafe(|| sim::run(seed, trace))).ok()
}

fn last_panic() -> String {
    LAST_PANIC.lock().map(|last| last.clone()).unwrap_or_default()
}

fn command(mut arguments: impl Iterator<Item = String>) -> Option<Command> {
    let (mut seed, mut count, mut from) = (None, None, 0);
    let (mut script, mut at, mut what) = (None, None, None);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?;
        match name.as_str() {
            "--seed" => seed = Some(value.parse().ok()?),
            "--seeds" => count = Some(value.parse().ok()?),
            "--from" => from = value.parse().ok()?,
            "--every-op" => script = Some(value),
            "--at" => at = Some(value.parse().ok()?),
            "--what" => what = Some(EveryOp::ALL.into_iter().find(|what| what.to_string() == value)?),
            _ => return None,
        }
    }
    match (seed, count, script) {
        (Some(seed), None, None) => Some(Command::One(seed)),
        (None, Some(count), None) => Some(Command::Many { from, count }),
        (None, None, Some(all)) if all == "all" => Some(Command::EveryOp),
        (None, None, Some(name)) => {
            let (_, script) = Script::ALL.into_iter().find(|(known, _)| *known == name)?;
            Some(Command::EveryOpOne(script, at?, what?))
        }
        _ => None,
    }
}

const USAGE: &str =
    "usage: sim --seed N | --seeds N [--from M] | --every-op all | --every-op SCRIPT --at N --what WHAT";
