//! Simulated clients: state machines over simulated sockets, each with one job.

mod admin;
mod consumer;
mod deleter;
mod hostile;
mod idempotent;
mod member;
mod plain;
mod session;
mod verifier;

pub(crate) use admin::{Admin, STABLE};
pub(crate) use consumer::{Consumer, TIMES_BACK_MS};
pub(crate) use deleter::Deleter;
pub(crate) use hostile::Hostile;
pub(crate) use idempotent::Idempotent;
pub(crate) use member::Member;
pub(crate) use plain::Plain;
pub(crate) use verifier::Verifier;

use model::ErrorCode;
use wire::ApiKey;

use crate::oracle::{Oracle, TopicIndex};
use crate::rng::Rng;
use crate::trace::Who;
use crate::world::World;

/// A client.
pub(crate) trait Actor {
    /// Something changed, or its time has come.
    fn act(&mut self, stage: &mut Stage<'_>);
    /// Whether it waits for nothing more; asked while the run winds down.
    fn is_idle(&self) -> bool;
}

/// What a client is handed when it acts.
pub(crate) struct Stage<'a> {
    pub(crate) world: &'a mut World,
    pub(crate) oracle: &'a mut Oracle,
    pub(crate) rng: &'a mut Rng,
    pub(crate) me: usize,
    /// Nothing new is to be begun.
    pub(crate) winding_down: bool,
    /// When to act again at the latest.
    pub(crate) again_ns: u64,
}

impl Stage<'_> {
    pub(crate) fn now_ns(&self) -> u64 {
        self.world.now_ns()
    }

    /// Asks to act again at that time.
    pub(crate) fn at(&mut self, at_ns: u64) {
        self.again_ns = self.again_ns.min(at_ns.max(self.now_ns() + 1_000));
    }

    /// Any version that is served, from `min` on.
    pub(crate) fn version(&mut self, key: ApiKey, min: i16) -> i16 {
        let api = key.api();
        self.rng.range(min.max(api.min) as u64, api.max as u64) as i16
    }

    /// Any partition of the living topics, stable ones only if asked for.
    pub(crate) fn any_partition(&mut self, stable: bool) -> Option<(TopicIndex, u32)> {
        let topics: Vec<TopicIndex> = (0..self.oracle.topics.len())
            .filter(|topic| {
                let topic = &self.oracle.topics[*topic];
                topic.is_alive && (topic.is_stable || !stable)
            })
            .collect();
        if topics.is_empty() {
            return None;
        }
        let topic = topics[self.rng.index(topics.len())];
        Some((topic, self.rng.below(self.oracle.topics[topic].partitions.len() as u64) as u32))
    }

    /// Says that a partition's part of a request was refused.
    pub(crate) fn refused(&mut self, what: &str, topic: TopicIndex, partition: u32, code: i16) {
        let (now_ns, who) = (self.now_ns(), Who::Client(self.me));
        let numbers = [topic as u64, u64::from(partition), code as u64];
        self.world
            .trace
            .note(now_ns, who, "refused", numbers, || format!("{what} {topic}-{partition}: {}", spelled(code)));
    }

    /// A time to think.
    pub(crate) fn think(&mut self, low_us: u64, high_us: u64) -> u64 {
        self.now_ns() + self.rng.spread(low_us * 1000, high_us * 1000)
    }
}

/// Whether a client tries again after this error.
pub(crate) fn is_retriable(code: i16) -> bool {
    matches!(
        ErrorCode::from_wire(code),
        Some(
            ErrorCode::NotLeaderOrFollower
                | ErrorCode::LeaderNotAvailable
                | ErrorCode::RequestTimedOut
                | ErrorCode::KafkaStorageError
                | ErrorCode::CoordinatorLoadInProgress
                | ErrorCode::CoordinatorNotAvailable
                | ErrorCode::ThrottlingQuotaExceeded
        )
    )
}

/// Whether a deleted topic may be answered with this error.
pub(crate) fn is_gone(code: i16) -> bool {
    matches!(ErrorCode::from_wire(code), Some(ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId))
}

/// A code as Kafka spells it.
pub(crate) fn spelled(code: i16) -> &'static str {
    ErrorCode::from_wire(code).map_or("an unknown code", ErrorCode::name)
}
