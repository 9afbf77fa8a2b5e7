//! Which log is compacted next, and which of its segments.

use effect::Effects;
use model::Offset;

use super::keys::KeyMap;
use super::run::{Run, Source};
use crate::age::ms_since;
use crate::partition::{Partition, State};
use crate::{Log, LogRef};
use model::Timestamp;

/// What of a log could be compacted.
struct Dirty {
    from: Offset,
    to: Offset,
    bytes: u64,
    ratio: f64,
    /// Its first record has waited for as long as it may.
    overdue: bool,
}

impl Log {
    /// Looks at a log in its round: the dirtiest is compacted at the end of it.
    pub(crate) fn consider_cleaning(&mut self, log: LogRef, out: &mut Effects) {
        let (wall, is_running) = (self.house.wall, self.cleaner.run.is_some());
        let partition = self.known(log);
        if !partition.settings.compact || wall < partition.compacted.retry_at || is_running {
            return;
        }
        let found = partition.dirty_part(wall);
        let (root, unsettled) = (partition.root, std::mem::take(&mut partition.unsettled));
        if unsettled {
            let settle = &mut self.roots[root].checkpoint.settle;
            if *settle == 0 {
                *settle = 2;
                self.wake();
            }
        }
        let dirty = match found {
            Ok(Some(dirty)) => dirty,
            Ok(None) => return,
            Err(at) => return self.learn_index(log, at, out),
        };
        if !dirty.overdue && dirty.ratio <= self.known(log).settings.min_cleanable_dirty_ratio {
            return;
        }
        let rank = if dirty.overdue { 1.0 + dirty.ratio } else { dirty.ratio };
        if self.cleaner.best.is_none_or(|(best, _)| best < rank) {
            self.cleaner.best = Some((rank, log));
        }
    }

    /// Begins a run for the log that needs it most.
    pub(crate) fn begin_cleaning(&mut self) {
        let Some((_, log)) = self.cleaner.best.take() else { return };
        let (wall, keys_bytes) = (self.house.wall, self.config.cleaner_keys_bytes);
        let Some(partition) = self.partition_mut(log) else { return };
        if !matches!(partition.state, State::Open) || partition.swap.is_some() {
            return;
        }
        let Ok(Some(dirty)) = partition.dirty_part(wall) else { return };
        // No record that has a key takes less; compressed ones may, and then the table fills up.
        let keys = KeyMap::new(dirty.bytes / RECORD_BYTES_MIN, keys_bytes);
        let sources = partition
            .segments
            .iter()
            .take_while(|segment| segment.base < dirty.to)
            .map(|segment| Source { base: segment.base, end: segment.end, age: segment.age })
            .collect();
        let mut last_offsets: Vec<Offset> = (partition.knowledge.producers.by_id.values())
            .filter_map(|producer| producer.batches.back().map(|last| last.last_offset))
            .collect();
        last_offsets.sort_unstable();
        let settings = partition.settings;
        self.cleaner.run = Some(Box::new(Run::new(log, (dirty.from, dirty.to), sources, keys, last_offsets, settings)));
        self.cleaner.at = self.now;
    }
}

impl Partition {
    /// What could be compacted; the number of a segment whose age must be known first.
    fn dirty_part(&mut self, wall: Timestamp) -> Result<Option<Dirty>, usize> {
        let settings = self.settings;
        let Some(last) = self.segments.len().checked_sub(1) else { return Ok(None) };
        let from = self.compacted.to.max(self.start());
        let (mut clean_bytes, mut bytes, mut to, mut overdue) = (0, 0, from, false);
        let settled_to = self.settled_to;
        for (at, segment) in self.segments.iter_mut().enumerate().take(last) {
            if segment.end.offset > settled_to {
                // A start after a crash might still write it anew.
                self.unsettled = true;
                break;
            }
            if !segment.sealed || !segment.damages.is_empty() {
                break;
            }
            if segment.end.offset <= from {
                clean_bytes += segment.end.position;
                continue;
            }
            let age = segment.learn_age(wall);
            if settings.min_compaction_lag_ms > 0 {
                let Some(age) = age else { return Err(at) };
                if ms_since(wall, age.largest) < settings.min_compaction_lag_ms {
                    break;
                }
            }
            overdue |= age.is_some_and(|age| ms_since(wall, age.first) > settings.max_compaction_lag_ms);
            bytes += segment.end.position;
            to = segment.end.offset;
        }
        if bytes == 0 {
            return Ok(None);
        }
        let ratio = bytes as f64 / (clean_bytes + bytes) as f64;
        Ok(Some(Dirty { from, to, bytes, ratio, overdue }))
    }
}

const RECORD_BYTES_MIN: u64 = 16;
