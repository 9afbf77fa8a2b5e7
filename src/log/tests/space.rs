//! Appends are refused before a disk is full, and go on by themselves.

mod world;

use log::{AppendError, Event, LogConfig};
use model::Offset;
use world::{World, batch};

#[test]
fn appends_stop_while_there_is_room_for_what_was_acknowledged() {
    let mut world = World::new(1, LogConfig::default());
    let log = world.open(0);
    world.settle();
    world.disk.free_bytes = 40 << 20;
    world.append(log, &batch(0, 1, 10)).expect("appended");
    world.pass(11_000);
    let mut bytes = 0;
    let refused = loop {
        let batch = batch(0, 10, 10_000);
        match world.append(log, &batch) {
            Ok(_) => {
                bytes += batch.len() as u64;
                world.disk.free_bytes -= batch.len() as u64;
            }
            Err(AppendError::Busy) => world.settle(),
            Err(error) => break error,
        }
    };
    assert_eq!(refused, AppendError::NoSpace);
    assert!((1 << 20..36 << 20).contains(&bytes), "{bytes}");
    world.settle();
    assert_eq!(world.metrics.log_directories_full.get(), 1);
    // Whoever deletes records is served.
    let end = world.log.durable_end(log).expect("it is open");
    assert_eq!(world.log.advance_start(log, end), Ok(end));
    world.settle();
    let moved = |event: &Event| matches!(event, Event::StartMoved { start, .. } if *start == end);
    assert!(world.events.iter().any(moved));
    assert_eq!(world.append(log, &batch(0, 1, 10)), Err(AppendError::NoSpace));
    world.disk.free_bytes = 1 << 30;
    world.pass(1_000);
    world.settle();
    assert_eq!(world.append(log, &batch(0, 1, 10)).map(|appended| appended.base_offset), Ok(end));
    assert_eq!(world.metrics.log_directories_full.get(), 0);
    assert!(end > Offset::new(10));
}
