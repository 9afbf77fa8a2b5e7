//! A read of a segment that is still written: its file lacks what was not destaged, and that is in memory.

use effect::BufMut;
use model::Offset;

use crate::{Log, LogRef};

impl Log {
    /// What a read of the file from `start` on answered, with the bytes put in that only memory had when it began; `None`
    /// if these have left memory since: then it is to be asked again.
    pub(crate) fn with_memory(&mut self, log: LogRef, base: Offset, start: u64, buf: BufMut) -> Option<BufMut> {
        let capacity = buf.capacity();
        let pool = self.pool.clone();
        let partition = self.known(log);
        let in_file = partition.cold.as_ref().map_or(u64::MAX, |cold| cold.in_file);
        let Some(segment) = partition.segment_mut(base) else { return Some(buf) };
        let from = in_file.max(start);
        let to = segment.end.position.min(start + capacity as u64);
        if to <= from {
            return Some(buf);
        }
        if from < segment.memory_start() {
            return None;
        }
        // As long as the read, whose memory was bounded.
        let mut whole = pool.take_over(capacity);
        whole.limit(capacity);
        let before = usize::try_from(from - start).ok()?;
        // Where the file is shorter than it was written, whoever looks finds no batch.
        let Some(read) = buf.as_slice().get(..before) else { return Some(buf) };
        whole.extend(read);
        segment.lend(from, to).iter().for_each(|part| whole.extend(part));
        Some(whole)
    }
}
