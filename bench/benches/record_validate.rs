//! Full validation of a produced batch, for each codec. Throughput counts the records' bytes before compression.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use model::Timestamp;
use record::{BatchBuilder, Codec, Rules, TimestampBounds, validate};
use std::hint::black_box;
use std::time::Duration;

fn validation(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record_validate");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    let rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };
    for (record, record_bytes) in [("100b", 100), ("1k", 1024)] {
        for (batch, batch_bytes) in [("16k", 16 << 10), ("1m", 1 << 20)] {
            for codec in Codec::ALL {
                let builder = fill(codec, record_bytes, batch_bytes);
                let bytes = builder.build();
                group.throughput(Throughput::Bytes(builder.records_bytes() as u64));
                let id = BenchmarkId::new(codec.name(), format!("{batch}_batch/{record}_records"));
                group.bench_with_input(id, &bytes, |bencher, bytes| {
                    bencher.iter(|| validate(black_box(bytes), rules).expect("the batch is good"));
                });
            }
        }
    }
    group.finish();
}

/// Records of words, which compress about as logs and events do.
fn fill(codec: Codec, record_bytes: usize, batch_bytes: usize) -> BatchBuilder {
    const WORDS: [&str; 16] = [
        "offset",
        "leader",
        "2024-05-17T",
        "\"level\":",
        "warn",
        "10.0.0.",
        "partition",
        "true",
        "{\"id\":",
        "user",
        "timeout",
        "ms",
        "GET /",
        "latency",
        "null",
        "};",
    ];
    let mut builder = BatchBuilder::new(codec);
    let mut noise: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut value = Vec::new();
    while builder.records_bytes() + record_bytes < batch_bytes {
        value.clear();
        while value.len() < record_bytes {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            let [choice, digits @ ..] = noise.to_be_bytes();
            value.extend_from_slice(WORDS[usize::from(choice) % WORDS.len()].as_bytes());
            value.extend_from_slice(format!("{}", u16::from_be_bytes([digits[0], digits[1]])).as_bytes());
        }
        value.truncate(record_bytes);
        builder.append(Timestamp(1_700_000_000_000), None, Some(&value), &[]);
    }
    builder
}

criterion_group!(benches, validation);
criterion_main!(benches);
