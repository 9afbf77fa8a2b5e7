//! From the files that a start finds to what each log was: the newest checkpoint, and every change after it, in order.
//! Owns the judgement of what is whole, what is torn and what is damaged. Touches no file.
//!
//! A lane's journal has one frame in flight: its last frame may be torn, and then nobody was told that it is durable.
//! A frame that is missing before another one was durable once: that is damage, and nothing is cut.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicPartition;

use crate::checkpoint::record::{Record, records};
use crate::journal::entry::{Entry, entries};
use crate::journal::frame::{Found, Kind, NoFrame, Run, frames};
use crate::journal::name::{Name, Superseded};

/// A file of frames, read whole.
#[derive(Debug)]
pub(crate) struct ReadFile {
    pub(crate) name: Name,
    pub(crate) bytes: Arc<Vec<u8>>,
}

/// What is known of a log that was not opened yet.
#[derive(Debug, Default)]
pub(crate) struct FoundLog {
    /// As the newest checkpoint has it, and the run that wrote that.
    pub(crate) record: Option<(Run, Record)>,
    /// Changes since, in order, with the run that made each.
    pub(crate) entries: Vec<(Run, Entry)>,
}

impl FoundLog {
    /// The last run that wrote something of it.
    pub(crate) fn newest(&self) -> Option<Run> {
        let record = self.record.as_ref().map(|(run, _)| *run);
        self.entries.last().map(|(run, _)| *run).max(record)
    }
}

/// Acknowledged data is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    pub(crate) file: String,
    /// Bytes from the file's beginning.
    pub(crate) position: u64,
    pub(crate) what: What,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    /// A frame is missing before later ones.
    MissingFrame(u64),
    /// A whole frame says what this build does not understand.
    Unintelligible,
    /// A format version that this build does not know.
    Version(u16),
    /// No file of ours is this long.
    TooLong,
}

/// All frames of one lane, as an earlier run had it.
#[derive(Default)]
struct Lane<'a> {
    checkpoints: BTreeMap<u64, Vec<(&'a ReadFile, Found)>>,
    journal: BTreeMap<(Run, u64), (&'a ReadFile, Found)>,
}

/// Takes `files` together, but for what is `superseded`. `is_wanted` says of a log whether it may be opened here.
pub(crate) fn assemble(
    files: &[ReadFile],
    runs: &[Run],
    superseded: &[Superseded],
    is_wanted: impl Fn(TopicPartition) -> bool,
) -> Result<BTreeMap<TopicPartition, FoundLog>, Damage> {
    let mut lanes: BTreeMap<(u32, u32), Lane<'_>> = BTreeMap::new();
    for file in files {
        let found = frames(&file.bytes, runs).map_err(|none| match none {
            NoFrame::Version(version) => damage(file, 0, What::Version(version)),
            NoFrame::Torn => damage(file, 0, What::Unintelligible),
        })?;
        let lane = lanes.entry((file.name.lanes, file.name.lane)).or_default();
        let counts =
            |frame: &Found| !superseded.iter().any(|marker| marker.covers(file.name.lanes, frame.head.run.number));
        for frame in found.into_iter().filter(counts) {
            match frame.head.kind {
                Kind::Journal => {
                    lane.journal.insert((frame.head.run, frame.head.sequence), (file, frame));
                }
                Kind::Checkpoint => lane.checkpoints.entry(file.name.number).or_default().push((file, frame)),
            }
        }
    }
    let mut logs: BTreeMap<TopicPartition, FoundLog> = BTreeMap::new();
    for lane in lanes.values() {
        let checkpoint = lane.checkpoint()?;
        let keep = checkpoint.as_ref().map(|checkpoint| (checkpoint.run, checkpoint.keep));
        for (run, record) in checkpoint.into_iter().flat_map(|checkpoint| checkpoint.records.into_values()) {
            let log = logs.entry(record.at).or_default();
            if is_wanted(record.at) && log.record.as_ref().is_none_or(|(other, _)| *other < run) {
                log.record = Some((run, record));
            }
        }
        for (run, at, entry) in lane.changes(keep)? {
            if is_wanted(at) {
                logs.entry(at).or_default().entries.push((run, entry));
            }
        }
    }
    for log in logs.values_mut() {
        // A log was in another lane under another number of shards: its runs are in order all the same.
        let since = log.record.as_ref().map(|(run, _)| *run);
        log.entries.retain(|(run, _)| since.is_none_or(|since| since <= *run));
        log.entries.sort_by_key(|(run, _)| *run);
    }
    logs.retain(|_, log| log.record.is_some() || !log.entries.is_empty());
    Ok(logs)
}

/// A checkpoint: one that says everything, and those after it in the same file, which say what has changed.
struct Checkpoint {
    run: Run,
    keep: u64,
    records: BTreeMap<TopicPartition, (Run, Record)>,
}

impl Lane<'_> {
    /// The newest one that is whole. Only the last one of a file may be torn.
    fn checkpoint(&self) -> Result<Option<Checkpoint>, Damage> {
        for frames in self.checkpoints.values().rev() {
            let mut whole: Option<Checkpoint> = None;
            let mut group = Vec::new();
            let mut end = 0;
            for (next, (file, frame)) in (1..).zip(frames) {
                if frame.head.sequence != next {
                    // Nothing is lost if the first, complete one never came about: the file before it is still there.
                    if whole.is_none() && self.checkpoints.len() > 1 {
                        break;
                    }
                    return Err(damage(file, end, What::MissingFrame(next)));
                }
                end = frame.end();
                let read = records(&file.bytes, frame.body.clone());
                group.extend(read.ok_or_else(|| damage(file, frame.position, What::Unintelligible))?);
                if frame.head.last {
                    let run = frame.head.run;
                    let checkpoint = whole.get_or_insert_with(|| Checkpoint { run, keep: 0, records: BTreeMap::new() });
                    checkpoint.run = run;
                    checkpoint.keep = frame.head.keep;
                    checkpoint.records.extend(group.drain(..).map(|record| (record.at, (run, record))));
                }
            }
            if whole.is_some() {
                return Ok(whole);
            }
        }
        Ok(None)
    }

    /// Every change that a checkpoint with `keep` does not stand for.
    fn changes(&self, keep: Option<(Run, u64)>) -> Result<Vec<(Run, TopicPartition, Entry)>, Damage> {
        let mut changes = Vec::new();
        let mut over: BTreeMap<Run, u64> = BTreeMap::new();
        for ((run, _), (_, frame)) in &self.journal {
            let before = over.entry(*run).or_default();
            *before = frame.head.keep.max(*before);
        }
        let mut last: Option<&Found> = None;
        let from = keep.unwrap_or_default();
        let mut before = self.journal.range(..from).next_back().map(|(_, found)| found);
        for ((run, sequence), (file, frame)) in self.journal.range(from..) {
            let expected = match last {
                Some(last) if last.head.run == *run => last.head.sequence + 1,
                _ if *run == from.0 => from.1,
                _ => 1,
            };
            let chained = last.is_none_or(|last| last.head.run != *run || last.crc == frame.head.previous);
            if *sequence != expected || !chained {
                // It stood behind the one before it, or, if another file begins between the two, in front of this one.
                let (file, position) = match before {
                    Some((before, found)) if before.name == file.name => (*file, found.end()),
                    Some((before, found)) if frame.position == 0 => (*before, found.end()),
                    _ => (*file, 0),
                };
                return Err(damage(file, position, What::MissingFrame(expected)));
            }
            let read = entries(&file.bytes, frame.body.clone());
            let read = read.ok_or_else(|| damage(file, frame.position, What::Unintelligible))?;
            for (at, mut entry) in read {
                if let Entry::Direct { is_over, .. } = &mut entry {
                    *is_over = over.get(run).is_some_and(|before| sequence < before);
                }
                changes.push((*run, at, entry));
            }
            last = Some(frame);
            before = Some(&self.journal[&(*run, *sequence)]);
        }
        Ok(changes)
    }
}

fn damage(file: &ReadFile, position: u64, what: What) -> Damage {
    Damage { file: file.name.to_string(), position, what }
}
