//! What every part of a shard is handed in a turn.

use std::sync::Arc;

use controller::Image;
use effect::{Effects, Instant, Pool};
use metrics::ShardMetrics;
use model::Timestamp;

use crate::config::BrokerConfig;
use crate::mail::Post;
use crate::topics::Topics;

/// One turn's surroundings. The parts of a shard don't know each other: they meet through the post.
pub(crate) struct Context<'a> {
    pub(crate) now: Instant,
    pub(crate) wall: Timestamp,
    pub(crate) config: &'a Arc<BrokerConfig>,
    pub(crate) image: &'a Arc<Image>,
    pub(crate) topics: &'a Topics,
    pub(crate) metrics: &'a ShardMetrics,
    /// Memory for requests and answers.
    pub(crate) memory: &'a Pool,
    pub(crate) post: &'a mut Post,
    pub(crate) out: &'a mut Effects,
}
