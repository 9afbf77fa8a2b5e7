//! A produce request read in place: parse and walk, for one partition and for a hundred.

use criterion::{Criterion, criterion_group, criterion_main};
use wire::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use wire::{ProduceView, Writer};

fn body(partitions: i32, version: i16) -> Vec<u8> {
    let records = vec![7; 128];
    let partition = |index| PartitionProduceData { index, records: Some(&records) };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "measurements".into(),
            partition_data: (0..partitions).map(partition).collect(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut writer = Writer::with_capacity(32 * 1024);
    request.encode(&mut writer, version);
    writer.into_bytes()
}

fn produce_view(criterion: &mut Criterion) {
    for version in [7, 12] {
        for partitions in [1, 100] {
            let body = body(partitions, version);
            criterion.bench_function(&format!("wire_produce_view/v{version}/{partitions}_partitions"), |bencher| {
                bencher.iter(|| {
                    let view = ProduceView::parse(&body, version).expect("well-formed");
                    view.partitions().map(|(_, partition)| partition.index).sum::<i32>()
                });
            });
        }
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = produce_view
}
criterion_main!(benches);
