//! What waits for a frame gets into one, however full the frame before it is.

mod world;

use log::LogConfig;
use world::{World, batch};

/// A log that writes to its segment finds every possible rest of a frame, also less than its last, partial block needs.
#[test]
fn a_large_append_behind_a_full_frame_goes_with_the_next() {
    let mut world = World::with_pool(5, LogConfig::default(), 256 << 20);
    let large = world.open(0);
    let small = world.open(1);
    let others: Vec<_> = (2..19).map(|partition| world.open(partition)).collect();
    // Its segment is made ready for direct writes.
    for _ in 0..3 {
        world.append(large, &batch(0, 1, 100_000)).expect("appended");
        world.settle();
    }
    for round in 0..45 {
        for other in &others {
            world.append(*other, &batch(0, 1, 60_000)).expect("appended");
        }
        world.append(small, &batch(0, 1, 1 + round * 700)).expect("appended");
        world.append(large, &batch(0, 1, 70_000)).expect("appended");
        world.settle();
        assert_eq!(world.log.durable_end(large), world.log.end(large), "round {round}");
    }
    assert!(world.metrics.log_direct_bytes_total.get() > 0);
}
