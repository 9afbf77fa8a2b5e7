//! What a shard counts: counters, gauges and latency histograms, written by one shard, read by anyone.
//!
//! Writing is a plain load and store to a cache line that only its shard writes; there is no lock and no
//! read-modify-write. Never knows what the numbers mean to a client, nor who shows them.
#![forbid(unsafe_code)]

mod histogram;
mod value;

pub use histogram::{Histogram, HistogramSnapshot};
pub use value::{Counter, Gauge};

/// One value as it is shown: its name without the common prefix, what it means, and its kind.
#[derive(Debug)]
pub struct Described<'a> {
    /// The name; counters end in `_total`.
    pub name: &'static str,
    /// One sentence.
    pub help: &'static str,
    /// The value itself.
    pub value: Value<'a>,
}

/// A value of one of the kinds.
#[derive(Debug)]
pub enum Value<'a> {
    /// Only grows.
    Counter(&'a Counter),
    /// Goes up and down.
    Gauge(&'a Gauge),
    /// A distribution of durations.
    Histogram(&'a Histogram),
}

macro_rules! shard_metrics {
    ($($name:ident: $kind:ident $help:literal,)*) => {
        /// Everything that one shard counts.
        #[derive(Debug, Default)]
        pub struct ShardMetrics {
            $(
                #[doc = $help]
                pub $name: $kind,
            )*
        }

        impl ShardMetrics {
            /// Every value with its name and meaning, in the order of their declaration.
            pub fn describe(&self) -> Vec<Described<'_>> {
                vec![$(Described { name: stringify!($name), help: $help, value: Value::$kind(&self.$name) },)*]
            }
        }
    };
}

shard_metrics! {
    connections: Gauge "Connections open now.",
    connections_accepted_total: Counter "Connections accepted.",
    connections_handed_over_total: Counter "Connections given to a less loaded shard after their acceptance.",
    connections_malformed_total: Counter "Connections closed because of malformed bytes.",
    connections_unsupported_total: Counter "Connections closed because of an API or version that is not served.",
    connections_idle_closed_total: Counter "Connections closed because they were idle or too slow.",
    requests_total: Counter "Requests received.",
    request_memory_bytes: Gauge "Memory held by requests on their way.",
    produce_bytes_total: Counter "Bytes of record batches accepted.",
    produce_records_total: Counter "Records accepted.",
    produce_rejected_total: Counter "Batches refused.",
    produce_latency: Histogram "From a produce request's last byte to its answer.",
    fetch_bytes_total: Counter "Bytes of record batches sent to consumers.",
    fetch_waiting: Gauge "Fetches waiting for data.",
    groups: Gauge "Consumer groups, and ids under which only offsets were committed.",
    group_memory_bytes: Gauge "Memory held by groups.",
    log_partitions: Gauge "Partition logs open.",
    log_written_bytes_total: Counter "Bytes written to segments, padding included.",
    log_direct_bytes_total: Counter "Of these, bytes that were committed by being written there.",
    log_journal_bytes_total: Counter "Bytes written to the journal, padding included.",
    log_writes_total: Counter "Frames of the journal.",
    log_write_latency: Histogram "One synced write: a frame, or batches written to their segment.",
    log_checkpoints_total: Counter "Checkpoints.",
    log_directories_offline: Gauge "Log directories that failed.",
    log_cache_bytes: Gauge "Memory held by chunks, the tail's and the read cache's.",
    log_cold_bytes_total: Counter "Bytes sent from files rather than from memory.",
    log_index_bytes: Gauge "Memory held by the indexes of closed segments.",
    log_index_rebuilds_total: Counter "Indexes built from their segments because their files were missing or damaged.",
    log_scrubbed_bytes_total: Counter "Bytes of closed segments that the scrub has checked.",
    log_scrub_rounds_total: Counter "Rounds of the scrub over all closed segments.",
    log_bad_batches_total: Counter "Places in segments where what was written is not there any more.",
    log_faults_total: Counter "Failed disk operations.",
    log_expired_segments_total: Counter "Segments deleted by retention.",
    log_directories_full: Gauge "Log directories that refuse appends for want of free space.",
    log_space_low: Gauge "Log directories with less free space than they should have.",
    log_cleaner_runs_total: Counter "Compactions finished.",
    log_cleaner_failures_total: Counter "Compactions given up because of a fault or a corrupt batch; tried again.",
    log_cleaner_read_bytes_total: Counter "Bytes read by compactions.",
    log_cleaner_written_bytes_total: Counter "Bytes written by compactions.",
    turns_total: Counter "Turns of the shard's loop.",
    turns_slow_total: Counter "Turns longer than 20 ms.",
    turn_latency: Histogram "One turn's own work, without waiting.",
}
