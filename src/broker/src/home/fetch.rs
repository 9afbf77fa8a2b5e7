//! Reads at a partition's home, and the consumers that wait for more.

use log::{Batches, Piece, Read, ReadError, ReadFrom};
use model::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use replication::Watchers;

use crate::context::Context;
use crate::errors::{epoch_code, read_code};
use crate::home::append::unopened_code;
use crate::home::{Home, State};
use crate::mail::{Fetch, FetchPart, Fetched, Letter, RequestRef};

/// A part of a fetch that cannot be answered yet: something has to come from the disk first. With its answer in case
/// the others cannot wait.
struct NotYet(Fetched);

impl Home {
    pub(crate) fn fetch(&mut self, fetch: Fetch, context: &mut Context<'_>) {
        let mut parts = Vec::with_capacity(fetch.parts.len());
        let mut left = fetch.max_bytes;
        let mut waits = false;
        for part in &fetch.parts {
            let fetched = match self.fetch_part(part, left, context) {
                Ok(fetched) => fetched,
                Err(NotYet(nothing)) => {
                    waits = true;
                    nothing
                }
            };
            left = left.saturating_sub(usize::try_from(fetched.bytes).unwrap_or(usize::MAX));
            parts.push(fetched);
        }
        let bytes: u64 = parts.iter().map(|part| part.bytes).sum();
        let refused = parts.iter().any(|part| part.error != ErrorCode::None);
        // What is there goes out without the rest: fetches that wait until all their files are open at once would take
        // them away from each other for ever.
        if waits && !refused && bytes < fetch.watch_below_bytes.max(1) {
            self.discard(parts, context);
            self.parked.push(Letter::Fetch(fetch));
            return;
        }
        self.unwatch(fetch.request);
        if !refused && bytes < fetch.watch_below_bytes {
            self.watch(&fetch);
        }
        let answer = Letter::Fetched { request: fetch.request, round: fetch.round, parts };
        context.post.send(fetch.request.shard, answer);
    }

    fn fetch_part(&mut self, part: &FetchPart, left: usize, context: &mut Context<'_>) -> Result<Fetched, NotYet> {
        let Some(partition) = self.partitions.get(&part.at) else {
            return Ok(Fetched::error(part.index, ErrorCode::UnknownTopicOrPartition));
        };
        if partition.state != State::Open {
            return Ok(Fetched::error(part.index, unopened_code(partition.state)));
        }
        if let Err(error) = partition.leader.check_epoch(part.leader_epoch) {
            return Ok(Fetched::error(part.index, epoch_code(error)));
        }
        let mut fetched = Fetched::error(part.index, ErrorCode::None);
        let (log, high_watermark) = (partition.log, partition.leader.high_watermark());
        fetched.high_watermark = Some(high_watermark);
        fetched.log_start_offset = self.log.start(log);
        let Some(offset) = part.offset else {
            return Ok(Fetched { error: ErrorCode::OffsetOutOfRange, ..fetched });
        };
        fetched.diverging = part
            .last_fetched_epoch
            .and_then(|epoch| diverging(self.log.leader_epochs(log), epoch, offset, high_watermark));
        if fetched.diverging.is_some() {
            return Ok(fetched);
        }
        let max_bytes = part.max_bytes.min(left);
        let from = ReadFrom { offset, up_to: high_watermark, max_bytes, min_one_batch: left > 0 };
        match self.log.read(log, from, context.out) {
            Ok(Read::Ready(Batches { pieces, bytes, .. })) => Ok(Fetched { pieces, bytes, ..fetched }),
            Ok(Read::Pending) | Err(ReadError::Busy) => Err(NotYet(fetched)),
            Err(error) => Ok(Fetched { error: read_code(error), ..fetched }),
        }
    }

    /// Forgets what a consumer waits for.
    pub(crate) fn unwatch(&mut self, request: RequestRef) {
        let Some(id) = self.watch_of.remove(&request) else { return };
        if let Some((partitions, _)) = self.watchers.end(id) {
            self.detach(id, &partitions);
        }
    }

    fn watch(&mut self, fetch: &Fetch) {
        let partitions: Vec<TopicPartition> = fetch.parts.iter().map(|part| part.at).collect();
        let id = self.watchers.begin(partitions, fetch.request);
        self.watch_of.insert(fetch.request, id);
        for part in &fetch.parts {
            if let Some(partition) = self.partitions.get_mut(&part.at) {
                Watchers::<TopicPartition, RequestRef>::attach(id, &mut partition.leader);
            }
        }
    }

    fn discard(&mut self, parts: Vec<Fetched>, context: &mut Context<'_>) {
        for piece in parts.into_iter().flat_map(|part| part.pieces) {
            if let Piece::File { lease, .. } = piece {
                self.log.release(lease, context.out);
            }
        }
    }
}

/// Where the log of a client that has records up to `offset` under `epoch` leaves this one (KIP-595): the largest epoch
/// here that is not above the client's, and where it ends; `None` if they agree.
fn diverging(
    epochs: &[(LeaderEpoch, Offset)],
    epoch: LeaderEpoch,
    offset: Offset,
    end: Offset,
) -> Option<(LeaderEpoch, Offset)> {
    let after = epochs.partition_point(|(known, _)| *known <= epoch);
    let (known, _) = epochs.get(after.checked_sub(1)?)?;
    let epoch_end = epochs.get(after).map_or(end, |(_, first)| *first);
    (*known < epoch || epoch_end < offset).then_some((*known, epoch_end))
}
