//! Appends to a log whose disk answers at once: what the state machine and its one copy cost.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use effect::{Done, Effects, File, Instant, Op, Pool};
use log::{Append, Log, LogConfig, LogRef, PartitionSettings};
use model::{LeaderEpoch, Timestamp, TopicPartition, Uuid};
use record::{BatchBuilder, Codec};

struct Shard {
    log: Log,
    out: Effects,
    now: Instant,
}

impl Shard {
    fn new() -> Shard {
        let pool = Pool::new(512 << 20);
        let config = LogConfig { cache_bytes: 64 << 20, ..LogConfig::default() };
        Shard { log: Log::new(config, pool, Arc::default()), out: Effects::default(), now: Instant(0) }
    }

    fn open(&mut self, partition: u32) -> LogRef {
        let at = TopicPartition { topic: Uuid([1; 16]), partition };
        let log = self.log.open(at, format!("bench-{partition}"), PartitionSettings::default(), &mut self.out);
        self.settle();
        log
    }

    fn append(&mut self, log: LogRef, batch: &[u8]) {
        let append = Append { batch, max_timestamp: Timestamp(1), leader_epoch: LeaderEpoch(0), log_append_time: None };
        black_box(self.log.append(log, Timestamp(1), append).expect("there is room"));
    }

    /// Turns until the disk has nothing to do.
    fn settle(&mut self) {
        loop {
            self.now = self.now.plus_ms(1);
            self.log.tick(self.now, Timestamp(1), &mut self.out);
            if self.out.ops.is_empty() {
                break;
            }
            for (token, op) in std::mem::take(&mut self.out.ops) {
                let done = match op {
                    Op::Open { .. } => Done::Opened(File(1)),
                    Op::List { .. } => Done::Listed(Vec::new()),
                    _ => Done::Finished,
                };
                self.log.complete(self.now, token, done, &mut self.out);
            }
        }
        black_box(self.log.drain_events());
    }
}

fn batch(bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![7; 1000.min(bytes)];
    while builder.records_bytes() + value.len() <= bytes {
        builder.append(Timestamp(1), None, Some(&value), &[]);
    }
    builder.build()
}

fn append(criterion: &mut Criterion) {
    for (name, bytes, per_turn) in [("64k_batch", 64 * 1024, 8), ("1k_batch", 1024, 64)] {
        let batch = batch(bytes);
        let mut group = criterion.benchmark_group(format!("log_append/{name}"));
        group.throughput(Throughput::Bytes((batch.len() * per_turn) as u64));
        group.bench_function("memory", |bencher| {
            let mut shard = Shard::new();
            let log = shard.open(0);
            bencher.iter(|| {
                for _ in 0..per_turn {
                    shard.append(log, &batch);
                }
                shard.settle();
            });
        });
        group.finish();
    }
}

criterion_group!(benches, append);
criterion_main!(benches);
