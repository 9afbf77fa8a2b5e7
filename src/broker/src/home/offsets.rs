//! ListOffsets at a partition's home.

use log::{ReadError, TimeLookup};
use model::ErrorCode;

use crate::context::Context;
use crate::errors::{epoch_code, read_code};
use crate::home::append::unopened_code;
use crate::home::{Home, State};
use crate::mail::{Letter, ListOffsets, OffsetPart, OffsetResult, WantedOffset};

impl Home {
    pub(crate) fn list_offsets(&mut self, mut list: ListOffsets, context: &mut Context<'_>) {
        // What was found is kept: the next part may drive from memory what it was found by.
        for part in &list.parts[list.results.len()..] {
            match self.offset(part, context) {
                Some(result) => list.results.push((part.index, result)),
                None => {
                    self.parked.push(Letter::ListOffsets(list));
                    return;
                }
            }
        }
        let ListOffsets { request, results, .. } = list;
        context.post.send(request.shard, Letter::ListedOffsets { request, results });
    }

    /// `None`: something has to come from the disk first.
    fn offset(&mut self, part: &OffsetPart, context: &mut Context<'_>) -> Option<OffsetResult> {
        let Some(partition) = self.partitions.get(&part.at) else {
            return Some(OffsetResult::error(ErrorCode::UnknownTopicOrPartition));
        };
        if partition.state != State::Open {
            return Some(OffsetResult::error(unopened_code(partition.state)));
        }
        if let Err(error) = partition.leader.check_epoch(part.leader_epoch) {
            return Some(OffsetResult::error(epoch_code(error)));
        }
        let (log, up_to, epoch) = (partition.log, partition.leader.high_watermark(), partition.leader.epoch());
        let found = |offset| OffsetResult {
            error: ErrorCode::None,
            offset,
            timestamp: None,
            leader_epoch: offset.map(|_| epoch),
        };
        let lookup = match part.wanted {
            WantedOffset::Earliest => return Some(found(self.log.start(log))),
            WantedOffset::Latest => return Some(found(Some(up_to))),
            WantedOffset::Tiered => return Some(found(None)),
            WantedOffset::MaxTimestamp => self.log.offset_of_max_timestamp(log, up_to, context.out),
            WantedOffset::Time(time) => self.log.offset_for_time(log, time, up_to, context.out),
        };
        match lookup {
            Ok(TimeLookup::Found { offset, timestamp, leader_epoch }) => Some(OffsetResult {
                error: ErrorCode::None,
                offset: Some(offset),
                timestamp: Some(timestamp),
                leader_epoch: Some(leader_epoch),
            }),
            Ok(TimeLookup::Nothing) => Some(found(None)),
            Ok(TimeLookup::Pending) | Err(ReadError::Busy) => None,
            Err(error) => Some(OffsetResult::error(read_code(error))),
        }
    }
}
