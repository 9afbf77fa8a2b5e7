//! What the broker as a whole is doing, as a prober sees it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::ShardMetrics;

/// The broker's state and counters; written by the broker's threads, read by the admin HTTP.
#[derive(Debug)]
pub struct Status {
    ready: AtomicBool,
    /// The I/O backend in use, `ring` or `poll`.
    pub backend: &'static str,
    /// The release.
    pub version: &'static str,
    /// One for each shard.
    pub shards: Vec<Arc<ShardMetrics>>,
}

impl Status {
    /// A broker that is not serving yet.
    pub fn new(backend: &'static str, version: &'static str, shards: Vec<Arc<ShardMetrics>>) -> Status {
        Status { ready: AtomicBool::new(false), backend, version, shards }
    }

    /// Log directories that are offline; a shard may know of one before the others.
    pub fn offline_directories(&self) -> u64 {
        self.shards.iter().map(|shard| shard.log_directories_offline.get()).max().unwrap_or_default()
    }

    /// Says whether clients are served.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Release);
    }

    /// Whether clients are served.
    pub fn is_ready(&self) -> bool {
        self.ready.load(Ordering::Acquire)
    }
}
