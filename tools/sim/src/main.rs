//! `sim --seed N` runs one seed and prints its trace; `sim --seeds N [--from M]` runs many and prints those that fail.
#![forbid(unsafe_code)]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::Mutex;

use sim::{Report, Trace};

/// What the last panic said.
static LAST_PANIC: Mutex<String> = Mutex::new(String::new());

enum Command {
    One(u64),
    Many { from: u64, count: u64 },
}

fn main() -> ExitCode {
    let Some(command) = command(std::env::args().skip(1)) else {
        eprintln!("usage: sim --seed N | --seeds N [--from M]");
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

fn attempt(seed: u64, trace: Trace) -> Option<Report> {
    catch_unwind(AssertUnwindSafe(|| sim::run(seed, trace))).ok()
}

fn last_panic() -> String {
    LAST_PANIC.lock().map(|last| last.clone()).unwrap_or_default()
}

fn command(mut arguments: impl Iterator<Item = String>) -> Option<Command> {
    let (mut seed, mut count, mut from) = (None, None, 0);
    while let Some(name) = arguments.next() {
        let value = arguments.next()?.parse().ok()?;
        match name.as_str() {
            "--seed" => seed = Some(value),
            "--seeds" => count = Some(value),
            "--from" => from = value,
            _ => return None,
        }
    }
    match (seed, count) {
        (Some(seed), None) => Some(Command::One(seed)),
        (None, Some(count)) => Some(Command::Many { from, count }),
        _ => None,
    }
}
