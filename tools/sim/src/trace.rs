//! What happened, line by line, and a hash over it. The hash is taken over numbers, so that a quiet run formats nothing.

use std::fmt;
use std::io::{BufWriter, Stdout, Write};

/// Whom a line is about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// The world, or the run that drives it.
    World,
    /// A shard of the broker.
    Shard(usize),
    /// A client.
    Client(usize),
}

/// The lines of one run.
#[derive(Debug)]
pub struct Trace {
    hash: u64,
    count: u64,
    out: Option<BufWriter<Stdout>>,
}

impl Trace {
    /// Only hashes.
    pub fn quiet() -> Trace {
        Trace { hash: 0xcbf2_9ce4_8422_2325, count: 0, out: None }
    }

    /// Hashes, and prints every line.
    pub fn printing() -> Trace {
        Trace { out: Some(BufWriter::with_capacity(1 << 16, std::io::stdout())), ..Trace::quiet() }
    }

    /// Whether lines are printed.
    pub(crate) fn is_printing(&self) -> bool {
        self.out.is_some()
    }

    /// One thing that happened: `what` and `numbers` are hashed, `text` is asked for only to be printed.
    pub fn note(&mut self, now_ns: u64, who: Who, what: &str, numbers: [u64; 3], text: impl FnOnce() -> String) {
        let who_number = match who {
            Who::World => 0,
            Who::Shard(shard) => 1 + shard as u64,
            Who::Client(client) => 1000 + client as u64,
        };
        self.mix(now_ns ^ who_number << 48);
        self.bytes(what.as_bytes());
        numbers.into_iter().for_each(|number| self.mix(number));
        self.count += 1;
        if let Some(out) = &mut self.out {
            let (seconds, nanoseconds) = (now_ns / 1_000_000_000, now_ns % 1_000_000_000);
            // A closed pipe ends the printing, not the run.
            let _ = writeln!(out, "t={seconds}.{nanoseconds:09} {who:<4} {what} {}", text());
        }
    }

    /// Takes bytes that crossed the world's edge into the hash.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.mix(bytes.len() as u64);
        for word in bytes.chunks(8) {
            let mut padded = [0; 8];
            padded[..word.len()].copy_from_slice(word);
            self.mix(u64::from_le_bytes(padded));
        }
    }

    /// The hash of everything so far.
    pub fn hash(&self) -> u64 {
        self.hash
    }

    /// How many lines.
    pub fn count(&self) -> u64 {
        self.count
    }

    fn mix(&mut self, number: u64) {
        let mixed = (self.hash ^ number).wrapping_mul(0x9fb2_1c65_1e98_df25);
        self.hash = mixed ^ (mixed >> 29);
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Who::World => f.pad("--"),
            Who::Shard(shard) => f.pad(&format!("s{shard}")),
            Who::Client(client) => f.pad(&format!("c{client}")),
        }
    }
}
