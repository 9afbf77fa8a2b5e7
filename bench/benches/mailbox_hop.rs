//! One letter from shard to shard and back: within one thread (the cost of the rings themselves), and between two
//! threads that both keep looking (the cost of the cache lines). Sleeping and waking are the reactor's to measure.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use criterion::{Criterion, criterion_group, criterion_main};
use effect::{Endpoint, ShardId, mesh};

/// As large as the letters that shards exchange.
type Letter = [u64; 8];

fn pair() -> (Endpoint<Letter>, Endpoint<Letter>) {
    let mut ends = mesh::<Letter>(2, 1024).into_iter();
    (ends.next().expect("two ends"), ends.next().expect("two ends"))
}

fn same_thread(criterion: &mut Criterion) {
    let (mut first, mut second) = pair();
    criterion.bench_function("mailbox_hop/there_and_back/same_thread", |bencher| {
        bencher.iter(|| {
            first.send(ShardId(1), [1; 8]).expect("room");
            second.receive(|_, _| ());
            second.send(ShardId(0), [2; 8]).expect("room");
            first.receive(|_, _| ());
        });
    });
}

fn two_threads(criterion: &mut Criterion) {
    let (mut first, mut second) = pair();
    let stop = Arc::new(AtomicBool::new(false));
    let echo = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                let mut got = 0;
                second.receive(|_, _| got += 1);
                for _ in 0..got {
                    second.send(ShardId(0), [2; 8]).expect("room");
                }
            }
        })
    };
    for batch in [1u64, 32] {
        criterion.bench_function(&format!("mailbox_hop/there_and_back/two_threads/{batch}_letters"), |bencher| {
            bencher.iter(|| {
                for _ in 0..batch {
                    first.send(ShardId(1), [1; 8]).expect("room");
                }
                let mut back = 0;
                while back < batch {
                    first.receive(|_, _| back += 1);
                }
            });
        });
    }
    stop.store(true, Ordering::Relaxed);
    echo.join().expect("the echo does not panic");
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(300))
        .measurement_time(std::time::Duration::from_secs(1));
    targets = same_thread, two_threads
}
criterion_main!(benches);
