//! A fetch response put together from lent memory: header runs, splits, slices. No record is copied, so the size of the
//! records must not show.

use criterion::{Criterion, criterion_group, criterion_main};
use effect::{Buf, Pool};
use model::{ErrorCode, Offset};
use wire::{FetchPartitionHead, FetchResponseWriter, TopicRef};

fn assemble(chunks: &[Buf], memory: &Pool) -> usize {
    let mut writer = FetchResponseWriter::new(12, 1, 0, ErrorCode::None, 7, 1);
    writer.topic(TopicRef::Name("measurements"), chunks.len());
    for (partition, chunk) in chunks.iter().enumerate() {
        writer.partition(&FetchPartitionHead {
            partition: partition as i32,
            error_code: ErrorCode::None,
            high_watermark: Some(Offset::new(10)),
            last_stable_offset: Some(Offset::new(10)),
            log_start_offset: Some(Offset::ZERO),
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: None,
            preferred_read_replica: None,
            records_bytes: chunk.len(),
        });
    }
    let response = writer.finish(&[]);
    let mut heads = memory.take(response.bytes.len()).expect("fits");
    heads.extend(&response.bytes);
    let heads = heads.freeze();
    let mut pieces = Vec::with_capacity(2 * chunks.len() + 1);
    let mut at = 0;
    for (splice, chunk) in response.splices.iter().zip(chunks) {
        pieces.push(heads.slice(at..splice.at));
        pieces.push(chunk.clone());
        at = splice.at;
    }
    pieces.push(heads.slice(at..heads.len()));
    pieces.len()
}

fn fetch_assembly(criterion: &mut Criterion) {
    let memory = Pool::new(1 << 30);
    for (partitions, bytes) in [(1, 64 * 1024), (1, 1 << 20), (100, 64 * 1024)] {
        let chunk = |_| {
            let mut chunk = memory.take(bytes).expect("fits");
            chunk.advance(bytes);
            chunk.freeze()
        };
        let chunks: Vec<Buf> = (0..partitions).map(chunk).collect();
        let name = format!("fetch_assembly/{partitions}_partitions/{}k", bytes / 1024);
        criterion.bench_function(&name, |bencher| bencher.iter(|| assemble(&chunks, &memory)));
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = fetch_assembly
}
criterion_main!(benches);
