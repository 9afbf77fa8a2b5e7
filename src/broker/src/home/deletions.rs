//! DeleteRecords at a partition's home: the start offset moves at once, the answer leaves when it is durable.

use log::LogRef;
use model::{ErrorCode, Offset};

use crate::context::Context;
use crate::errors::append_code;
use crate::home::append::unopened_code;
use crate::home::{Home, State};
use crate::mail::{DeletePart, DeleteRecords, DeleteResult, Letter, RequestRef};

/// A letter on its way: answered when no part of it waits.
pub(crate) struct Deletion {
    request: RequestRef,
    waiting: usize,
    results: Vec<(u32, DeleteResult)>,
}

/// A part of a [`Deletion`] that waits until its log begins at `start`.
pub(crate) struct Deleting {
    start: Offset,
    index: u32,
    slot: u32,
    generation: u32,
}

impl Home {
    pub(crate) fn delete_records(&mut self, delete: DeleteRecords, context: &mut Context<'_>) {
        // One more than the parts, so that it is answered only when all have been looked at.
        let waiting = delete.parts.len() + 1;
        let deletion = Deletion { request: delete.request, waiting, results: Vec::with_capacity(delete.parts.len()) };
        let (slot, generation) = self.deletions.insert(deletion);
        for part in delete.parts {
            match self.delete_part(part) {
                Ok((log, start)) => {
                    let deleting = Deleting { start, index: part.index, slot, generation };
                    self.deleting.entry(log).or_default().push(deleting);
                }
                Err(error) => self.deleted(slot, generation, Some((part.index, Err(error))), context),
            }
        }
        self.deleted(slot, generation, None, context);
    }

    /// Moves the start; where it will be.
    fn delete_part(&mut self, part: DeletePart) -> Result<(LogRef, Offset), ErrorCode> {
        let partition = self.partitions.get(&part.at).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        if partition.state != State::Open {
            return Err(unopened_code(partition.state));
        }
        let policy = partition.config.cleanup_policy;
        if policy.compact && !policy.delete {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = partition.leader.high_watermark();
        let before = part.before.unwrap_or(high_watermark);
        if high_watermark < before {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let log = partition.log;
        let start = self.log.advance_start(log, before).map_err(append_code)?;
        Ok((log, start))
    }

    /// A log's start is durable.
    pub(super) fn start_moved(&mut self, log: LogRef, start: Offset, context: &mut Context<'_>) {
        let Some(deleting) = self.deleting.remove(&log) else { return };
        let (due, later): (Vec<_>, Vec<_>) = deleting.into_iter().partition(|deleting| deleting.start <= start);
        if !later.is_empty() {
            self.deleting.insert(log, later);
        }
        for Deleting { index, slot, generation, .. } in due {
            self.deleted(slot, generation, Some((index, Ok(start))), context);
        }
    }

    /// Nothing more comes of this log.
    pub(super) fn abandon_deletions(&mut self, log: LogRef, error: ErrorCode, context: &mut Context<'_>) {
        for Deleting { index, slot, generation, .. } in self.deleting.remove(&log).unwrap_or_default() {
            self.deleted(slot, generation, Some((index, Err(error))), context);
        }
    }

    fn deleted(&mut self, slot: u32, generation: u32, result: Option<(u32, DeleteResult)>, context: &mut Context<'_>) {
        let deletion = self.deletions.get_mut(slot, generation).expect("a deletion stays while a part of it waits");
        deletion.results.extend(result);
        deletion.waiting -= 1;
        if deletion.waiting == 0
            && let Some(Deletion { request, results, .. }) = self.deletions.remove(slot, generation)
        {
            context.post.send(request.shard, Letter::DeletedRecords { request, results });
        }
    }
}
