//! Fuzzing on stable Rust: `cargo run --release -p fuzz -- <target>|all [--seconds N] [--corpus DIR] [--seed N]`.
//! Every target runs over its committed corpus and then over seeded mutations of it until its time is up; a panic, or an
//! input that takes seconds, is written to a `.hex` file and fails the run. `fuzz <target> --input FILE` replays a file.
#![forbid(unsafe_code)]
// How long to run is a matter of the wall clock; what is run is not.
#![allow(clippy::disallowed_methods)]

mod corpus;
mod disk;
mod mutate;
mod record;
mod targets;
mod wire;

use std::cell::RefCell;
use std::error::Error;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use mutate::{Mutator, Random};
use targets::{TARGETS, Target};

/// What the command line asks for.
struct Options {
    target: String,
    seconds: u64,
    corpus: PathBuf,
    seed: u64,
    input: Option<PathBuf>,
}

/// An input that a target failed on.
struct Failure {
    input: Vec<u8>,
    reason: String,
}

thread_local! {
    /// What the last panic said and where: the hook leaves it here instead of printing it.
    static PANIC: RefCell<String> = const { RefCell::new(String::new()) };
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("fuzz: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<bool, Box<dyn Error>> {
    let options = options()?;
    let chosen: Vec<&Target> =
        TARGETS.iter().filter(|target| options.target == "all" || options.target == target.name).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
        return Err(format!("no target {}; there are: all {}", options.target, names.join(" ")).into());
    }
    panic::set_hook(Box::new(|info| PANIC.with_borrow_mut(|last| *last = info.to_string())));
    let mut good = true;
    for target in chosen {
        let inputs = match &options.input {
            Some(file) => vec![corpus::read(file)?],
            None => corpus::load(&options.corpus.join(target.name))?,
        };
        let time = if options.input.is_some() { Duration::ZERO } else { Duration::from_secs(options.seconds) };
        let (runs, failure) = fuzz(target, &inputs, time, options.seed);
        println!("{}: {} seeds, {runs} runs", target.name, inputs.len());
        if let Some(failure) = failure {
            let file = corpus::save_failure(target.name, &failure.input)?;
            println!("{}: FAILED: {}\n  input: {}", target.name, failure.reason, file.display());
            good = false;
        }
    }
    Ok(good)
}

fn options() -> Result<Options, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let target =
        arguments.next().ok_or("usage: fuzz <target>|all [--seconds N] [--corpus DIR] [--seed N] [--input FILE]")?;
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let mut options = Options { target, seconds: 10, corpus, seed: 1, input: None };
    while let Some(name) = arguments.next() {
        let value = arguments.next().ok_or_else(|| format!("{name} needs a value"))?;
        match name.as_str() {
            "--seconds" => options.seconds = value.parse()?,
            "--corpus" => options.corpus = value.into(),
            "--seed" => options.seed = value.parse()?,
            "--input" => options.input = Some(value.into()),
            _ => return Err(format!("unknown option {name}").into()),
        }
    }
    Ok(options)
}

/// Runs the inputs as they are, then mutations of them until the time is up or one fails.
fn fuzz(target: &Target, inputs: &[Vec<u8>], time: Duration, seed: u64) -> (u64, Option<Failure>) {
    let mut runs = 0;
    for input in inputs {
        runs += 1;
        if let Some(failure) = failure(target, input) {
            return (runs, Some(failure));
        }
    }
    let start = Instant::now();
    let mut mutator = Mutator::new(Random::new(seed), inputs);
    while start.elapsed() < time {
        for _ in 0..RUNS_BETWEEN_CLOCK_READS {
            runs += 1;
            let input = mutator.next_input();
            if let Some(failure) = failure(target, input) {
                return (runs, Some(failure));
            }
        }
    }
    (runs, None)
}

fn failure(target: &Target, input: &[u8]) -> Option<Failure> {
    let start = Instant::now();
    let reason = match panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        Err(_) => PANIC.take(),
        Ok(()) if start.elapsed() > RUN_LIMIT => format!("took {:?}", start.elapsed()),
        Ok(()) => return None,
    };
    Some(Failure { input: input.to_vec(), reason })
}

const RUNS_BETWEEN_CLOCK_READS: u32 = 256;

/// No input of a few KiB may take this long.
const RUN_LIMIT: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_corpus_file_passes_its_target() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
        for target in TARGETS {
            let inputs = corpus::load(&corpus.join(target.name)).expect("a readable corpus");
            assert!(inputs.len() > 1, "{} has a corpus", target.name);
            for input in inputs {
                (target.run)(&input);
            }
        }
    }

    #[test]
    fn equal_seeds_give_equal_inputs() {
        let inputs = [b"one".to_vec(), b"another".to_vec()];
        let stream = |seed| {
            let mut mutator = Mutator::new(Random::new(seed), &inputs);
            (0..100).map(|_| mutator.next_input().to_vec()).collect::<Vec<_>>()
        };
        assert_eq!(stream(3), stream(3));
        assert_ne!(stream(3), stream(4));
    }

    #[test]
    fn a_panic_is_reported_with_its_input() {
        let target = Target { name: "test", run: |input| assert!(!input.starts_with(b"bad")) };
        let (runs, failure) = fuzz(&target, &[b"good".to_vec(), b"bad".to_vec()], Duration::ZERO, 1);
        assert_eq!(runs, 2);
        assert_eq!(failure.map(|failure| failure.input), Some(b"bad".to_vec()));
    }
}
