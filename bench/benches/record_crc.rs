//! CRC-32C by the crate that `record` uses and by the one that it does not.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::time::Duration;

fn crc(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("record_crc");
    group.warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1)).sample_size(20);
    for (name, size_bytes) in [("1k", 1 << 10), ("16k", 16 << 10), ("1m", 1 << 20)] {
        let bytes: Vec<u8> = (0u32..size_bytes).map(|at| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        group.throughput(Throughput::Bytes(u64::from(size_bytes)));
        group.bench_with_input(BenchmarkId::new("crc-fast", name), &bytes, |bencher, bytes| {
            bencher.iter(|| crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, black_box(bytes)));
        });
        group.bench_with_input(BenchmarkId::new("crc32c", name), &bytes, |bencher, bytes| {
            bencher.iter(|| crc32c::crc32c(black_box(bytes)));
        });
    }
    group.finish();
}

criterion_group!(benches, crc);
criterion_main!(benches);
