//! AlterReplicaLogDirs at its connection. A replica stays where it is: that is what its home says, unless it is asked to
//! stay there.

use std::path::Path;

use model::ErrorCode;
use wire::alter_replica_log_dirs::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult, AlterReplicaLogDirsRequest,
    AlterReplicaLogDirsResponse,
};
use wire::{ApiKey, TopicRef, response_frame};

use crate::context::Context;
use crate::mail::{Letter, Lookup, MovePart};
use crate::request::lookup::Asked;
use crate::request::split::{Split, SplitTopic};
use crate::request::{Reply, absolute};

/// A request on its way.
pub(crate) struct AlterReplicaLogDirsState {
    asked: Asked,
    pub(super) split: Split<ErrorCode>,
}

impl AlterReplicaLogDirsState {
    /// Asks the homes. Returns the state, and whether there is anything to wait for.
    pub(super) fn start(
        request: &AlterReplicaLogDirsRequest<'_>,
        asked: Asked,
        context: &mut Context<'_>,
    ) -> (AlterReplicaLogDirsState, bool) {
        let mut split = Split::new();
        let mut letters: Vec<Vec<MovePart>> = context.post.shards().map(|_| Vec::new()).collect();
        for wanted in &request.dirs {
            let path = absolute(Path::new(&*wanted.path));
            let dir = context.config.log_dirs.iter().find(|dir| absolute(dir) == path);
            for topic in &wanted.topics {
                let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
                split.push_topic(&topic.name, topic.partitions.len());
                for partition in &topic.partitions {
                    let error = match (dir, known.and_then(|known| known.partition(*partition))) {
                        (None, _) => ErrorCode::LogDirNotFound,
                        (Some(_), None) => ErrorCode::UnknownTopicOrPartition,
                        (Some(dir), Some(at)) => {
                            let index = split.push_asked(*partition, ErrorCode::None);
                            let part = MovePart { index, at, dir: dir.clone() };
                            letters[context.topics.home(at).index()].push(part);
                            continue;
                        }
                    };
                    split.push_known(*partition, error);
                }
            }
        }
        let letter = |parts| Letter::LookUp { request: asked.id, lookup: Lookup::Moves(parts) };
        let waits = split.send(letters, context, letter);
        (AlterReplicaLogDirsState { asked, split }, waits)
    }

    pub(super) fn reply(&self, context: &Context<'_>) -> Reply {
        let partition = |(partition_index, error): &(i32, ErrorCode)| AlterReplicaLogDirPartitionResult {
            partition_index: *partition_index,
            error_code: error.to_wire(),
        };
        let topic = |topic: &SplitTopic<ErrorCode>| AlterReplicaLogDirTopicResult {
            topic_name: topic.name.to_string().into(),
            partitions: topic.results.iter().map(partition).collect(),
        };
        let results = self.split.topics().iter().map(topic).collect();
        let response = AlterReplicaLogDirsResponse { results, ..Default::default() };
        let Asked { version, correlation_id, .. } = self.asked;
        let frame = response_frame(ApiKey::AlterReplicaLogDirs, version, correlation_id, |writer| {
            response.encode(writer, version);
        });
        Reply::frame(&frame, context.memory)
    }
}
