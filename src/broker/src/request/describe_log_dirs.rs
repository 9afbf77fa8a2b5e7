//! DescribeLogDirs at its connection: every shard is asked, and what they say of a directory is put together.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use log::Room;
use model::{ErrorCode, TopicPartition};
use wire::describe_log_dirs::{
    DescribeLogDirsPartition, DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeLogDirsResult,
    DescribeLogDirsTopic,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::mail::{Letter, LogDir, LogDirs, Lookup};
use crate::request::lookup::Asked;
use crate::request::{Reply, absolute};
use crate::shard::CONTROL;

/// A request on its way.
pub(crate) struct DescribeLogDirsState {
    asked: Asked,
    awaiting: usize,
    /// What is known so far, in the order of the settings.
    dirs: Vec<LogDir>,
}

impl DescribeLogDirsState {
    /// Asks every shard.
    pub(super) fn start(
        request: &DescribeLogDirsRequest<'_>,
        asked: Asked,
        context: &mut Context<'_>,
    ) -> DescribeLogDirsState {
        let wanted = request.topics.as_ref().map(|topics| {
            let partitions = topics.iter().flat_map(|topic| {
                let known = context.topics.find(context.image, TopicRef::Name(&topic.topic));
                let partitions = topic.partitions.iter();
                partitions.filter_map(move |partition| known.and_then(|known| known.partition(*partition)))
            });
            Arc::new(partitions.collect::<BTreeSet<TopicPartition>>())
        });
        for shard in context.post.shards() {
            let lookup = Lookup::LogDirs(LogDirs { wanted: wanted.clone(), with_room: shard == CONTROL, since: None });
            context.post.send(shard, Letter::LookUp { request: asked.id, lookup });
        }
        DescribeLogDirsState { asked, awaiting: context.post.shard_count(), dirs: Vec::new() }
    }

    /// A shard has answered. Returns whether that was the last.
    pub(super) fn answered(&mut self, found: Vec<LogDir>) -> bool {
        for dir in found {
            match self.dirs.iter_mut().find(|known| known.path == dir.path) {
                Some(known) => {
                    known.offline |= dir.offline;
                    known.room = known.room.or(dir.room);
                    known.partitions.extend(dir.partitions);
                }
                None => self.dirs.push(dir),
            }
        }
        self.awaiting -= 1;
        self.awaiting == 0
    }

    pub(super) fn reply(&self, context: &Context<'_>) -> Reply {
        let results = self.dirs.iter().map(|dir| result(dir, context)).collect();
        let response = DescribeLogDirsResponse { results, ..Default::default() };
        let Asked { version, correlation_id, .. } = self.asked;
        let frame = response_frame(ApiKey::DescribeLogDirs, version, correlation_id, |writer| {
            response.encode(writer, version);
        });
        Reply::frame(&frame, context.memory)
    }
}

fn result(dir: &LogDir, context: &Context<'_>) -> DescribeLogDirsResult<'static> {
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    let known = |of: fn(Room) -> u64| dir.room.filter(|_| !dir.offline).map_or(-1, |room| bytes(of(room)));
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for (at, size) in &dir.partitions {
        // A topic that is gone meanwhile is left out.
        let Some(known) = context.topics.by_id(at.topic) else { continue };
        topics.entry(&known.topic.name).or_default().push(DescribeLogDirsPartition {
            partition_index: i32::try_from(at.partition).unwrap_or(i32::MAX),
            partition_size: bytes(*size),
            // A leader lags behind nobody, and no replica moves between directories.
            offset_lag: 0,
            is_future_key: false,
        });
    }
    let topic = |(name, mut partitions): (&str, Vec<DescribeLogDirsPartition>)| {
        partitions.sort_unstable_by_key(|partition| partition.partition_index);
        DescribeLogDirsTopic { name: name.to_owned().into(), partitions }
    };
    let error = if dir.offline { ErrorCode::KafkaStorageError } else { ErrorCode::None };
    DescribeLogDirsResult {
        error_code: error.to_wire(),
        log_dir: absolute(&dir.path).to_string_lossy().into_owned().into(),
        topics: topics.into_iter().map(topic).collect(),
        total_bytes: known(|room| room.total_bytes),
        usable_bytes: known(|room| room.free_bytes),
        is_cordoned: false,
    }
}
