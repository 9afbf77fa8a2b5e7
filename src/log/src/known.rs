//! What is known of logs and log directories, for whoever describes them. Changes nothing; asks filesystems for their
//! room when told to.

use effect::Instant;

use crate::producers::Known;
use crate::{ActiveProducer, Directory, Log, LogRef};

impl Log {
    /// The bytes of a log's batches, deleted segments left out.
    pub fn bytes(&self, log: LogRef) -> Option<u64> {
        let partition = self.partition(log)?;
        Some(partition.segments.iter().map(|segment| segment.end.position).sum())
    }

    /// The idempotent producers that a log remembers, by id.
    pub fn producers(&self, log: LogRef) -> impl Iterator<Item = ActiveProducer> {
        let by_id = self.partition(log).map(|partition| &partition.knowledge.producers.by_id);
        by_id.into_iter().flatten().filter_map(|(id, Known { epoch, batches, .. })| {
            let last = batches.back()?;
            let (last_sequence, last_timestamp) = (last.last_sequence, last.timestamp);
            Some(ActiveProducer { id: *id, epoch: *epoch, last_sequence, last_timestamp })
        })
    }

    /// The log directories, in the order of the configuration.
    pub fn directories(&self) -> impl Iterator<Item = Directory<'_>> {
        self.roots.iter().map(|root| Directory { path: &root.path, offline: root.offline, room: root.space.filesystem })
    }

    /// Has every filesystem asked for its room.
    pub fn ask_room(&mut self) {
        for root in 0..self.roots.len() {
            self.ask_at_once(root);
        }
    }

    /// Whether every filesystem has answered (or failed to) since then.
    pub fn room_heard(&self, since: Instant) -> bool {
        self.roots.iter().all(|root| root.offline || root.space.heard.is_some_and(|heard| heard >= since))
    }
}
