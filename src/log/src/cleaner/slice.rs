//! A turn's share of a run: so many bytes of records, at most one operation in flight, then a pause.

use effect::{Effects, Op};
use model::{Offset, Timestamp};
use record::{BatchView, Header, Keep, RecordPass, Thinner};

use super::CleanError;
use super::keys::KeyHash;
use super::output::SHORTAGE_MS;
use super::reader::Next;
use super::run::{Batch, BatchWork, Run, Stage};
use crate::Log;
use crate::files::Mode;
use crate::job::{CleanStep, Work};
use crate::partition::State;

/// What follows a step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    Go,
    /// Something is missing now: again after so many milliseconds.
    Pause(u64),
}

impl Log {
    /// Goes on with a run; true once it is over.
    pub(crate) fn clean_slice(&mut self, run: &mut Run, out: &mut Effects) -> Result<bool, CleanError> {
        self.clean_check(run)?;
        let mut budget = SLICE_BYTES;
        loop {
            if run.waiting {
                return Ok(false);
            }
            if budget == 0 {
                self.clean_pause(PAUSE_MS);
                return Ok(false);
            }
            let step = match run.stage {
                Stage::Keys => self.keys_step(run, &mut budget, out)?,
                Stage::Write => self.write_step(run, &mut budget, out)?,
                Stage::Swap if self.known(run.log).swap.is_some() => Step::Pause(PAUSE_MS),
                Stage::Swap => {
                    run.begin_group();
                    Step::Go
                }
                Stage::Over => return Ok(true),
            };
            if let Step::Pause(ms) = step {
                self.clean_pause(ms);
                return Ok(false);
            }
        }
    }

    /// Whether the run may go on.
    fn clean_check(&mut self, run: &mut Run) -> Result<(), CleanError> {
        let partition = self.partition(run.log).ok_or(CleanError::Gone)?;
        if !matches!(partition.state, State::Open) || self.is_offline(partition) || !partition.settings.compact {
            return Err(CleanError::Gone);
        }
        if let Some(fault) = run.fault.take() {
            return Err(CleanError::Fault(fault));
        }
        if run.short_read { Err(CleanError::Corrupt(run.reader.base)) } else { Ok(()) }
    }

    fn keys_step(&mut self, run: &mut Run, budget: &mut usize, out: &mut Effects) -> Result<Step, CleanError> {
        let Some(batch) = &mut run.batch else {
            let (header, bytes) = match run.reader.next() {
                Next::Batch(header, bytes) => (header, bytes),
                Next::Read { offset, bytes } => return Ok(self.clean_read(run, offset, bytes, out)),
                Next::End => {
                    if !run.next_source(run.sources.len()) {
                        begin_writing(run);
                    }
                    return Ok(Step::Go);
                }
                Next::Corrupt => return Err(CleanError::Corrupt(run.reader.base)),
            };
            *budget = budget.saturating_sub(header.size_bytes);
            if header.last_offset() >= run.dirty_from && header.record_count > 0 && !header.control {
                BatchView::first(&bytes).map_err(|_| CleanError::Corrupt(run.reader.base))?;
                let work = BatchWork::Keys(RecordPass::new(&header));
                run.batch = Some(Batch { header, bytes, work, seen_bytes: 0 });
            }
            return Ok(Step::Go);
        };
        let BatchWork::Keys(pass) = &mut batch.work else { unreachable!("only keys are looked for") };
        let (keys, from) = (&mut run.keys, run.dirty_from);
        let mut seen_bytes = 0;
        let mut full: Option<Offset> = None;
        let is_over = pass.step(&batch.bytes, *budget, |record| {
            seen_bytes += record.size_bytes();
            if let (Some(key), None) = (record.key.filter(|_| record.offset >= from), full)
                && !keys.put(KeyHash::of(key), record.offset)
            {
                full = Some(record.offset);
            }
            Ok(())
        });
        let is_over = is_over.map_err(|_| CleanError::Corrupt(run.reader.base))?;
        *budget = if is_over { budget.saturating_sub(seen_bytes) } else { 0 };
        if let Some(full) = full {
            run.to = full;
            begin_writing(run);
        } else if is_over {
            run.batch = None;
        }
        Ok(Step::Go)
    }

    fn write_step(&mut self, run: &mut Run, budget: &mut usize, out: &mut Effects) -> Result<Step, CleanError> {
        let output = run.output.as_mut().expect("a group is being written");
        if output.is_synced || (output.finishing && !output.changed) {
            return self.finish_output(run, out);
        }
        if output.is_full() {
            return Ok(self.pump_output(run, out));
        }
        if run.batch.is_some() {
            let wall = self.house.wall;
            return batch_step(run, wall, budget).map(|()| Step::Go);
        }
        let (header, bytes) = match run.reader.next() {
            Next::Batch(header, bytes) => (header, bytes),
            Next::Read { offset, bytes } => return Ok(self.clean_read(run, offset, bytes, out)),
            Next::End => {
                let limit = output.limit;
                if !run.next_source(limit) {
                    let output = run.output.as_mut().expect("a group is being written");
                    assert!(output.next.offset == output.end);
                    output.finishing = true;
                }
                return Ok(Step::Go);
            }
            Next::Corrupt => return Err(CleanError::Corrupt(run.reader.base)),
        };
        *budget = budget.saturating_sub(header.size_bytes);
        if header.base_offset >= run.to || header.control {
            output.push(&header, &bytes)?;
            return Ok(Step::Go);
        }
        BatchView::first(&bytes).map_err(|_| CleanError::Corrupt(run.reader.base))?;
        let work = BatchWork::Judge { pass: RecordPass::new(&header), keep: Keep::default(), tombstones: false };
        run.batch = Some(Batch { header, bytes, work, seen_bytes: 0 });
        Ok(Step::Go)
    }

    /// A group is written: it takes its sources' place, unless nothing has changed.
    fn finish_output(&mut self, run: &mut Run, out: &mut Effects) -> Result<Step, CleanError> {
        let mut output = run.output.take().expect("a group is being written");
        if !output.changed {
            self.discard_output(run.log, output, out);
            run.begin_group();
            return Ok(Step::Go);
        }
        self.close_output(run.log, &mut output, out);
        match self.replace_segments(run.log, output, out) {
            Ok(()) => {
                run.stage = Stage::Swap;
                Ok(Step::Go)
            }
            Err(output) => {
                run.output = Some(output);
                Err(CleanError::Gone)
            }
        }
    }

    /// Reads a part of the segment that is being read.
    fn clean_read(&mut self, run: &mut Run, offset: u64, bytes: usize, out: &mut Effects) -> Step {
        if let Some(ms) = self.clean_io_wait() {
            return Step::Pause(ms);
        }
        let Some((handle, file)) = self.acquire(run.log, run.reader.base, Mode::Read, out) else {
            return Step::Pause(PAUSE_MS);
        };
        let Some(mut buf) = self.take_memory(bytes) else {
            self.unpin(handle, out);
            return Step::Pause(SHORTAGE_MS);
        };
        buf.limit(bytes);
        self.clean_io(bytes);
        run.reading = (offset, bytes);
        run.waiting = true;
        self.metrics.log_cleaner_read_bytes_total.add(bytes as u64);
        self.submit(run.log, Work::Clean(CleanStep::Read(handle)), Op::Read { file, offset, buf }, out);
        Step::Go
    }
}

/// The keys are known.
fn begin_writing(run: &mut Run) {
    run.batch = None;
    run.at = 0;
    run.begin_group();
}

/// Goes on with the batch in work: which of its records stay, then what is written of it.
fn batch_step(run: &mut Run, wall: Timestamp, budget: &mut usize) -> Result<(), CleanError> {
    let corrupt = CleanError::Corrupt(run.reader.base);
    let mut batch = run.batch.take().expect("a batch is in work");
    let (header, bytes) = (batch.header, batch.bytes.clone());
    let output = run.output.as_mut().expect("a group is being written");
    match &mut batch.work {
        BatchWork::Keys(_) => unreachable!("keys are looked for before anything is written"),
        BatchWork::Thin(thinner) => {
            let thinned = thinner.step(&bytes, *budget).map_err(|_| corrupt)?;
            *budget = if thinned.is_some() { budget.saturating_sub(batch.seen_bytes) } else { 0 };
            let Some(thinned) = thinned else {
                run.batch = Some(batch);
                return Ok(());
            };
            let header = Header::peek(&thinned).map_err(|_| corrupt)?;
            return output.push(&header, &thinned);
        }
        BatchWork::Judge { pass, keep, tombstones } => {
            let mut seen_bytes = 0;
            let (keys, to) = (&run.keys, run.to);
            // A horizon that is set stands in the place of the base timestamp.
            let expired = header.delete_horizon && wall >= header.base_timestamp;
            let is_over = pass.step(&bytes, *budget, |record| {
                seen_bytes += record.size_bytes();
                let is_last = match record.key {
                    _ if record.offset >= to => true,
                    Some(key) => {
                        let is_last = keys.last(KeyHash::of(key)).is_none_or(|last| last <= record.offset);
                        is_last && (record.has_value || !expired)
                    }
                    // Accepted before the topic was a compacted one.
                    None => false,
                };
                *tombstones |= is_last && !record.has_value;
                keep.push(is_last);
                Ok(())
            });
            batch.seen_bytes += seen_bytes;
            if !is_over.map_err(|_| corrupt)? {
                *budget = 0;
                run.batch = Some(batch);
                return Ok(());
            }
            *budget = budget.saturating_sub(seen_bytes);
            let horizon = (*tombstones && !header.delete_horizon).then(|| {
                let retention = i64::try_from(run.settings.delete_retention_ms).unwrap_or(i64::MAX);
                Timestamp(wall.0.saturating_add(retention))
            });
            if keep.kept() > 0 && keep.is_all() && horizon.is_none() {
                return output.push(&header, &bytes);
            }
            if keep.kept() > 0 {
                output.changed = true;
                batch.work = BatchWork::Thin(Box::new(Thinner::new(&header, std::mem::take(keep), horizon)));
                run.batch = Some(batch);
                return Ok(());
            }
        }
    }
    // Nothing of it stays, but perhaps what its header says.
    let ends_group = header.next_offset() == output.end;
    let ends_producer = header.producer.is_some() && run.last_offsets.binary_search(&header.last_offset()).is_ok();
    if header.record_count == 0 && (ends_group || ends_producer) {
        return output.push(&header, &bytes);
    }
    output.changed = true;
    if ends_group || ends_producer {
        let empty = record::emptied(&bytes);
        let header = Header::peek(&empty).map_err(|_| corrupt)?;
        return output.push(&header, &empty);
    }
    Ok(())
}

/// Bytes of records in one turn, before compression, and the pause after them: 64 MB/s at most.
const SLICE_BYTES: usize = 128 * 1024;
const PAUSE_MS: u64 = 2;
