//! Compaction: of each key only the last record stays. One log of a shard at a time, in small slices between turns.
//!
//! A run reads the log's closed segments twice. First those that are dirty, for the last offset of each key ([`keys`]);
//! when the table of keys is full the run goes only as far as it got. Then all up to there, in groups that fit into one
//! segment: what stays is written to `<base>.log.cleaned` ([`output`]), which then takes its sources' place ([`swap`]).
//!
//! As Kafka has it: offsets stay; a batch keeps its base and last offset; the last batch of a producer stays, if only
//! its header; a tombstone stays until `delete.retention.ms` after its first compaction, which its batch remembers
//! (KIP-534). One thing more: the last batch of a group stays, if only its header, so that a segment still ends where
//! the next begins.
//!
//! Owns the run. Never touches the active segment. A run that fails leaves the log as it was and is tried again later.

mod keys;
mod leftover;
mod output;
mod plan;
mod reader;
mod run;
mod slice;
mod swap;

use std::time::Duration;

use effect::{Done, Effects, Fault, Instant};
use model::{Offset, Timestamp};

use crate::job::CleanStep;
use crate::{Log, LogRef};

pub(crate) use leftover::Leftovers;
pub(crate) use run::Run;
pub(crate) use swap::Swap;

/// The compactions of a shard.
#[derive(Debug, Default)]
pub(crate) struct Cleaner {
    run: Option<Box<Run>>,
    /// When it goes on.
    at: Instant,
    /// When what was read and written lately is within the rate: nothing is before.
    io_at: Instant,
    /// The log with the largest dirty share seen in this round.
    best: Option<(f64, LogRef)>,
}

/// What a partition knows of its compaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compacted {
    /// Everything before was compacted. A recovery that does not know it begins at 0, which costs work only.
    pub(crate) to: Offset,
    /// Not before this time again: the last run failed.
    retry_at: Timestamp,
}

impl Default for Compacted {
    fn default() -> Self {
        Compacted { to: Offset::ZERO, retry_at: Timestamp::NONE }
    }
}

/// Why a run ends early.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CleanError {
    Fault(Fault),
    /// A batch of this segment is not what was written.
    Corrupt(Offset),
    /// What would be written does not fit into a segment.
    TooLarge,
    /// The log is being closed, truncated or removed, or the sources are gone.
    Gone,
}

impl Log {
    /// Goes on with the run, if it is its time.
    pub(crate) fn clean(&mut self, out: &mut Effects) {
        if self.cleaner.at > self.now {
            return;
        }
        let Some(mut run) = self.cleaner.run.take() else { return };
        if run.waiting {
            self.cleaner.run = Some(run);
            return;
        }
        match self.clean_slice(&mut run, out) {
            Ok(true) => self.clean_over(*run, None, out),
            Ok(false) => self.cleaner.run = Some(run),
            Err(error) => self.clean_over(*run, Some(error), out),
        }
    }

    pub(crate) fn clean_deadline(&self) -> Option<Instant> {
        self.cleaner.run.as_ref().filter(|run| !run.waiting).map(|_| self.cleaner.at)
    }

    /// The run goes on after a pause.
    fn clean_pause(&mut self, ms: u64) {
        self.cleaner.at = self.now.plus_ms(ms);
    }

    /// Another rate counts from now on, for a run that waits too.
    pub(crate) fn set_clean_rate(&mut self, io_bytes_per_second: u64) {
        assert!(io_bytes_per_second > 0);
        if self.config.cleaner_io_bytes_per_second != io_bytes_per_second {
            self.config.cleaner_io_bytes_per_second = io_bytes_per_second;
            self.cleaner.io_at = self.now;
            self.cleaner.at = self.now;
        }
    }

    /// How long the next read or write has to wait for the rate; `None` if it need not.
    fn clean_io_wait(&self) -> Option<u64> {
        let wait = self.cleaner.io_at.since(self.now);
        // To the end of the millisecond: a pause that ends too soon would only begin again.
        (!wait.is_zero()).then(|| u64::try_from(wait.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }

    /// A run reads or writes so much: the next one waits until that is paid for.
    fn clean_io(&mut self, bytes: usize) {
        let nanos = bytes as u128 * 1_000_000_000 / u128::from(self.config.cleaner_io_bytes_per_second);
        let paid = Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        self.cleaner.io_at = self.cleaner.io_at.max(self.now).plus(paid);
    }

    /// A run's operation is over.
    pub(crate) fn clean_done(&mut self, log: LogRef, step: CleanStep, done: Result<Done, Fault>, out: &mut Effects) {
        let mut run = self.cleaner.run.take().expect("a run stays while it waits");
        assert!(run.log == log && run.waiting);
        run.waiting = false;
        if let CleanStep::Read(handle) = step {
            self.unpin(handle, out);
        }
        match done {
            Ok(done) => run.answered(step, done),
            Err(fault) => run.fault = Some(fault),
        }
        self.cleaner.run = Some(run);
        self.look(log, out);
    }

    /// What a run wrote did not get its place.
    fn clean_fault(&mut self, log: LogRef, fault: Fault) {
        if let Some(run) = self.cleaner.run.as_mut().filter(|run| run.log == log) {
            run.fault = Some(fault);
        }
    }

    /// The run has come to its end.
    fn clean_over(&mut self, mut run: Run, error: Option<CleanError>, out: &mut Effects) {
        let log = run.log;
        if let Some(output) = run.output.take() {
            self.discard_output(log, output, out);
        }
        let wall = self.house.wall;
        let Some(partition) = self.partition_mut(log) else { return };
        let dir = partition.dir.display();
        match error {
            None => {
                partition.compacted.to = partition.compacted.to.max(run.to);
                let (from, to, read, written) = (run.dirty_from, run.to, run.read_bytes, run.written_bytes);
                tracing::info!(%dir, %from, %to, read, written, "log compacted");
                self.metrics.log_cleaner_runs_total.add(1);
                // There may be more to do: a full table of keys ends a run early.
                self.house_soon();
            }
            Some(CleanError::Gone) => {
                tracing::debug!(%dir, "compaction given up: its log or its segments are going");
            }
            Some(error) => {
                partition.compacted.retry_at = Timestamp(wall.0.saturating_add(RETRY_MS));
                match error {
                    CleanError::Corrupt(_) => tracing::error!(%dir, ?error, "compaction failed"),
                    _ => tracing::warn!(%dir, ?error, "compaction failed, trying again"),
                }
                self.metrics.log_cleaner_failures_total.add(1);
            }
        }
    }
}

/// How long a log whose compaction failed is left alone.
const RETRY_MS: i64 = 60 * 1000;
