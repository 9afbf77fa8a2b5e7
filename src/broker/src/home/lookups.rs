//! What a home knows of its partitions and of the log directories, for those who ask.

use log::Directory;
use model::{ErrorCode, LeaderEpoch, Offset};

use crate::context::Context;
use crate::errors::epoch_code;
use crate::home::append::unopened_code;
use crate::home::{Home, Partition, State};
use crate::mail::{EpochEnd, EpochPart, Letter, LogDir, LogDirs, LookedUp, Lookup, MovePart, RequestRef};

impl Home {
    pub(crate) fn look_up(&mut self, request: RequestRef, lookup: Lookup, context: &mut Context<'_>) {
        let found = match lookup {
            Lookup::EpochEnds(parts) => {
                LookedUp::EpochEnds(parts.iter().map(|part| (part.index, self.epoch_end(part))).collect())
            }
            Lookup::Producers(parts) => {
                let producers = |at| self.open_partition(at).map(|found| self.log.producers(found.log).collect());
                LookedUp::Producers(parts.iter().map(|part| (part.index, producers(part.at))).collect())
            }
            Lookup::Moves(parts) => {
                LookedUp::Moves(parts.iter().map(|part| (part.index, self.may_move(part))).collect())
            }
            Lookup::LogDirs(asked) => {
                if asked.with_room && !self.is_room_known(asked.since, context) {
                    let since = asked.since.or(Some(context.now));
                    let lookup = Lookup::LogDirs(LogDirs { since, ..asked });
                    self.parked.push(Letter::LookUp { request, lookup });
                    return;
                }
                LookedUp::LogDirs(self.log_dirs(&asked))
            }
        };
        context.post.send(request.shard, Letter::LookedUp { request, found });
    }

    fn open_partition(&self, at: model::TopicPartition) -> Result<&Partition, ErrorCode> {
        let partition = self.partitions.get(&at).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        match partition.state {
            State::Open => Ok(partition),
            state => Err(unopened_code(state)),
        }
    }

    fn epoch_end(&self, part: &EpochPart) -> EpochEnd {
        let partition = self.open_partition(part.at)?;
        partition.leader.check_epoch(part.current_leader_epoch).map_err(epoch_code)?;
        let Some(asked) = part.leader_epoch else { return Ok(None) };
        let known = self.log.leader_epochs(partition.log);
        let start = self.log.start(partition.log).unwrap_or_default();
        Ok(end_of(known, partition.leader.epoch(), asked, start, partition.leader.high_watermark()))
    }

    /// A replica stays in the log directory where it is.
    fn may_move(&self, part: &MovePart) -> ErrorCode {
        if self.log.directories().any(|dir| dir.offline && dir.path == part.dir) {
            return ErrorCode::KafkaStorageError;
        }
        match self.open_partition(part.at) {
            Ok(partition) if self.log.directory(partition.log) == Some(part.dir.as_path()) => ErrorCode::None,
            // What Kafka says of a directory that takes no replicas.
            Ok(_) => ErrorCode::InvalidReplicaAssignment,
            Err(ErrorCode::NotLeaderOrFollower) => ErrorCode::ReplicaNotAvailable,
            Err(error) => error,
        }
    }

    /// Whether the filesystems have answered the question for their room; asks it first.
    fn is_room_known(&mut self, since: Option<effect::Instant>, context: &Context<'_>) -> bool {
        if since.is_none() {
            self.log.ask_room();
        }
        self.log.room_heard(since.unwrap_or(context.now))
    }

    fn log_dirs(&self, asked: &LogDirs) -> Vec<LogDir> {
        let dir = |Directory { path, offline, room }: Directory<'_>| LogDir {
            path: path.to_path_buf(),
            offline,
            room: room.filter(|_| asked.with_room),
            partitions: Vec::new(),
        };
        let mut dirs: Vec<LogDir> = self.log.directories().map(dir).collect();
        for (at, partition) in &self.partitions {
            let is_wanted = asked.wanted.as_ref().is_none_or(|wanted| wanted.contains(at));
            if !is_wanted || partition.state != State::Open {
                continue;
            }
            let path = self.log.directory(partition.log);
            let Some(dir) = dirs.iter_mut().find(|dir| Some(dir.path.as_path()) == path) else { continue };
            dir.partitions.push((*at, self.log.bytes(partition.log).unwrap_or(0)));
        }
        dirs
    }
}

/// Where a leadership ends, as Kafka answers it: of one that wrote nothing here, the end of the one before it; nothing
/// of one that is to come. `known` has those that wrote, `current` may not have; the log begins at `start`.
fn end_of(
    known: &[(LeaderEpoch, Offset)],
    current: LeaderEpoch,
    asked: LeaderEpoch,
    start: Offset,
    end: Offset,
) -> Option<(LeaderEpoch, Offset)> {
    if asked >= current {
        return (asked == current).then_some((current, end));
    }
    let after = known.partition_point(|(epoch, _)| *epoch <= asked);
    let epoch = after.checked_sub(1).and_then(|at| known.get(at)).map_or(asked, |(epoch, _)| *epoch);
    Some((epoch, known.get(after).map_or(end, |(_, first)| (*first).max(start))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leadership_ends_where_the_next_one_begins() {
        let epochs = [(2, 10), (4, 20)].map(|(epoch, first)| (LeaderEpoch(epoch), Offset::new(first)));
        for (asked, expected) in [
            (0, Some((0, 10))),
            (1, Some((1, 10))),
            (2, Some((2, 20))),
            (3, Some((2, 20))),
            (4, Some((4, 30))),
            (5, Some((4, 30))),
            (6, Some((6, 30))),
            (7, None),
        ] {
            let found = end_of(&epochs, LeaderEpoch(6), LeaderEpoch(asked), Offset::ZERO, Offset::new(30));
            assert_eq!(found.map(|(epoch, end)| (epoch.0, end.get())), expected, "epoch {asked}");
        }
        let deleted = end_of(&epochs, LeaderEpoch(4), LeaderEpoch(2), Offset::new(25), Offset::new(30));
        assert_eq!(deleted, Some((LeaderEpoch(2), Offset::new(25))));
    }
}
