//! The indexes of closed segments in memory: a bounded cache, the longest unused leave first.
//! Owns the order in which they leave, and their sum. The index of a segment that is not closed is not in here and
//! never leaves. Invariant: an index that left is known well enough to be told apart by time: its segment keeps its
//! largest timestamp.

use std::collections::BTreeMap;

use model::Offset;

use crate::index::Index;
use crate::{Log, LogRef};

#[derive(Debug, Default)]
pub(crate) struct IndexCache {
    /// Whose they are, and how much they hold, by their last use.
    order: BTreeMap<u64, (LogRef, Offset, usize)>,
    uses: u64,
    bytes: usize,
}

impl IndexCache {
    fn insert(&mut self, log: LogRef, base: Offset, index: &mut Index) {
        self.uses += 1;
        index.used = self.uses;
        let bytes = index.memory_bytes() + size_of::<Index>();
        self.bytes += bytes;
        self.order.insert(index.used, (log, base, bytes));
    }

    /// Sets an index behind all others that was used just now.
    fn renew(&mut self, index: &mut Index) {
        if index.used == self.uses {
            return;
        }
        if let Some(whose) = self.order.remove(&index.used) {
            self.uses += 1;
            index.used = self.uses;
            self.order.insert(index.used, whose);
        }
    }
}

impl Log {
    /// The index of a closed segment has come into being: it may leave again.
    pub(crate) fn keep_index(&mut self, log: LogRef, base: Offset) {
        let Some(partition) = self.partitions.get_mut(log.slot, log.generation) else { return };
        let Some(segment) = partition.segment_mut(base).filter(|segment| segment.sealed) else { return };
        let Some(index) = &mut segment.index else { return };
        segment.max_timestamp = Some(index.max_timestamp());
        if index.used == 0 {
            index.shrink();
            self.indexes.insert(log, base, index);
        }
        self.evict_indexes();
    }

    /// The index of a segment is used.
    pub(crate) fn use_index(&mut self, log: LogRef, at: usize) {
        let Some(partition) = self.partitions.get_mut(log.slot, log.generation) else { return };
        if let Some(index) = partition.segments.get_mut(at).and_then(|segment| segment.index.as_mut())
            && index.used > 0
        {
            self.indexes.renew(index);
        }
    }

    /// What belongs to segments that are gone leaves when its turn comes.
    fn evict_indexes(&mut self) {
        while self.indexes.bytes > self.config.index_cache_bytes && self.indexes.order.len() > 1 {
            let Some((used, (log, base, bytes))) = self.indexes.order.pop_first() else { break };
            self.indexes.bytes -= bytes;
            let partition = self.partitions.get_mut(log.slot, log.generation);
            let segment = partition.and_then(|partition| partition.segment_mut(base));
            if let Some(segment) =
                segment.filter(|segment| segment.index.as_ref().is_some_and(|index| index.used == used))
            {
                assert!(segment.sealed);
                segment.index = None;
            }
        }
        self.metrics.log_index_bytes.set(self.indexes.bytes as u64);
    }
}
