//! Retention: which segments go and when, and what a crash leaves.

mod world;

use log::{LogConfig, LogRef, PartitionSettings, TimeLookup};
use model::{Offset, Timestamp};
use record::{BatchBuilder, Codec};
use world::{World, marks, produced};

const KEEP: PartitionSettings =
    PartitionSettings { segment_bytes: 16 * 1024, delete: true, ..PartitionSettings::DEFAULT };
const BY_TIME: PartitionSettings = PartitionSettings { retention_ms: Some(600_000), ..KEEP };
const BY_SIZE: PartitionSettings = PartitionSettings { retention_bytes: Some(100_000), ..KEEP };

fn at_time(mark: u64, time: Timestamp, bytes: usize) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Codec::None);
    let mut value = vec![1; bytes.max(8)];
    value[..8].copy_from_slice(&mark.to_be_bytes());
    builder.append(time, None, Some(&value), &[]);
    builder.build()
}

/// So many batches of 5000 bytes stamped with the clock's time, three in a segment.
fn fill(world: &mut World, log: LogRef, count: u64) {
    for _ in 0..count {
        let mark = world.log.end(log).expect("open").get();
        let batch = at_time(mark, world.wall, 5000);
        world.append(log, &batch).expect("appended");
    }
    world.settle();
}

fn start(world: &World, log: LogRef) -> u64 {
    world.log.start(log).expect("open").get()
}

fn end(world: &World, log: LogRef) -> u64 {
    world.log.end(log).expect("open").get()
}

#[test]
fn the_oldest_segments_go_while_the_others_are_large_enough() {
    let mut world = World::plain();
    let log = world.open_with(0, BY_SIZE);
    fill(&mut world, log, 60);
    assert_eq!(start(&world, log), 0);
    world.pass(300_000);
    let first = start(&world, log);
    // A segment goes if what is behind it is not less than the retention: 19 or 20 batches stay, as segments have it.
    assert!((36..=40).contains(&first), "{first}");
    assert_eq!(end(&world, log), 60);
    let all = world.read_all(log, 1 << 20);
    assert_eq!(marks(&all, Offset::new(first)), (first..60).collect::<Vec<_>>());
    assert_eq!(world.disk.paths().iter().filter(|path| path.ends_with(".log")).count(), 19 - first as usize / 3);
    world.crash();
    let log = world.open_with(0, BY_SIZE);
    assert_eq!((start(&world, log), end(&world, log)), (first, 60));
}

#[test]
fn old_segments_go_and_the_active_one_too_when_all_of_it_is_old() {
    for restart in [false, true] {
        let mut world = World::plain();
        let log = world.open_with(0, BY_TIME);
        world.append(log, &produced(1, 0, 0, 1)).expect("appended");
        fill(&mut world, log, 9);
        world.pass(400_000);
        fill(&mut world, log, 1);
        assert_eq!(start(&world, log), 0);
        let log = if restart {
            // From here on a segment's time is learned from its batches.
            world.crash();
            world.open_with(0, BY_TIME)
        } else {
            log
        };
        for _ in 0..4 {
            world.pass(100_000);
        }
        let first = start(&world, log);
        assert!(first >= 6, "{first}");
        assert_eq!(end(&world, log), 11);
        for _ in 0..10 {
            world.pass(300_000);
        }
        assert_eq!((start(&world, log), end(&world, log)), (11, 11), "nothing is left but the place");
        world.crash();
        let log = world.open_with(0, BY_TIME);
        assert_eq!((start(&world, log), end(&world, log)), (11, 11), "offsets are not used twice");
        assert!(world.append(log, &produced(1, 0, 0, 1)).expect("known").duplicate, "nor forgotten who wrote");
        fill(&mut world, log, 3);
        assert_eq!(marks(&world.read_all(log, 1 << 20), Offset::new(11)), [11, 12, 13]);
    }
}

#[test]
fn a_record_from_the_future_pins_nothing() {
    let mut world = World::plain();
    let log = world.open_with(0, BY_TIME);
    let year = 365 * 24 * 60 * 60 * 1000;
    world.append(log, &at_time(0, Timestamp(year), 5000)).expect("appended");
    fill(&mut world, log, 9);
    for _ in 0..4 {
        world.pass(300_000);
        fill(&mut world, log, 1);
    }
    assert!(start(&world, log) >= 3, "{}", start(&world, log));
    // The largest time that is left is found, not the one that went.
    let end = world.log.end(log).expect("open");
    let found = world.log.offset_of_max_timestamp(log, end, &mut world.out);
    assert!(matches!(found, Ok(TimeLookup::Found { timestamp, .. }) if timestamp.0 < year), "{found:?}");
}

/// A start takes the times of batches from the journal as producers wrote them.
#[test]
fn after_a_restart_what_is_old_goes_when_it_would_have_gone_without_one() {
    let year = 365 * 24 * 60 * 60 * 1000;
    for time in [Timestamp(year), Timestamp::NONE] {
        for restarts in 0..3 {
            let mut world = World::plain();
            let mut log = world.open_with(0, BY_TIME);
            fill(&mut world, log, 3);
            for mark in 3..6 {
                world.append(log, &at_time(mark, time, 5000)).expect("appended");
            }
            fill(&mut world, log, 1);
            for _ in 0..restarts {
                world.crash();
                log = world.open_with(0, BY_TIME);
            }
            world.pass(500_000);
            assert_eq!(start(&world, log), 0, "{time:?} after {restarts} restarts");
            world.pass(300_000);
            world.pass(300_000);
            assert!(start(&world, log) >= 6, "{} of {time:?} after {restarts} restarts", start(&world, log));
        }
    }
}

#[test]
fn a_segment_is_closed_when_its_first_record_is_old() {
    let mut world = World::plain();
    let settings = PartitionSettings { segment_ms: 60_000, ..KEEP };
    let log = world.open_with(0, settings);
    // The last one is in the journal only.
    let logs = |world: &World| 1 + world.disk.paths().iter().filter(|path| path.ends_with(".log")).count();
    let small = |world: &mut World, time: Timestamp| {
        world.append(log, &at_time(0, time, 10)).expect("appended");
        world.settle();
    };
    let now = world.wall;
    small(&mut world, now);
    small(&mut world, Timestamp(now.0 + 50_000));
    assert_eq!(logs(&world), 1);
    world.pass(61_000);
    let now = world.wall;
    small(&mut world, now);
    assert_eq!(logs(&world), 2);
    // Stamped in the future: counts as now. In the past: not old by itself.
    small(&mut world, Timestamp(now.0 + 1_000_000));
    small(&mut world, Timestamp(5));
    assert_eq!(logs(&world), 2);
    // The broker's clock counts too, whatever producers say.
    world.pass(61_000);
    small(&mut world, Timestamp(5));
    assert_eq!(logs(&world), 3);
}

#[test]
fn the_oldest_segments_of_all_logs_go_when_there_is_little_room() {
    let config = LogConfig { free_bytes_min: 40_000, ..LogConfig::default() };
    let mut world = World::new(1, config);
    world.disk.free_bytes = 1 << 30;
    let old = world.open_with(0, KEEP);
    let kept = world.open_with(1, PartitionSettings { delete: false, ..KEEP });
    let young = world.open_with(2, KEEP);
    fill(&mut world, kept, 12);
    fill(&mut world, old, 12);
    world.pass(60_000);
    fill(&mut world, young, 12);
    world.pass(60_000);
    assert_eq!(start(&world, old), 0);
    world.disk.free_bytes = 20_000;
    world.pass(11_000);
    // One round takes the oldest segment of each log, as many as are missing.
    world.disk.free_bytes = 1 << 30;
    world.pass(2000);
    assert!(start(&world, old) >= 3);
    assert_eq!((start(&world, kept), end(&world, old)), (0, 12));
    assert!(start(&world, young) <= start(&world, old));
    let first = start(&world, old);
    world.pass(60_000);
    assert_eq!(start(&world, old), first, "there is room again");
    assert_eq!(world.metrics.log_space_low.get(), 0);
}

#[test]
fn a_crash_after_any_operation_of_a_deletion_leaves_no_hole() {
    let check = |stop: usize, power: bool| {
        let mut world = World::new(stop as u64 * 2 + u64::from(power), LogConfig::default());
        let settings = PartitionSettings { retention_bytes: Some(0), ..KEEP };
        let log = world.open_with(0, settings);
        world.append(log, &produced(1, 0, 0, 1)).expect("appended");
        fill(&mut world, log, 10);
        world.stop_after = world.disk.completed + stop;
        for _ in 0..3 {
            world.pass(300_000);
        }
        let done = world.disk.completed < world.stop_after;
        let what = format!("stop {stop} {power}");
        if power {
            world.crash()
        } else {
            world.kill()
        }
        let log = world.open_with(0, settings);
        assert!(world.opened(log), "{what}: {:?}", world.events);
        assert_eq!(end(&world, log), 11, "{what}");
        let first = start(&world, log);
        assert!(world.append(log, &produced(1, 0, 0, 1)).expect("known").duplicate, "{what}");
        let all = world.read_all(log, 1 << 20);
        assert_eq!(marks(&all, Offset::new(first)).len() as u64, 11 - first, "{what}");
        assert!(!done || first == 11, "{what}: {first}");
        done
    };
    for power in [true, false] {
        let all_done = (0..).find(|stop| check(*stop, power)).expect("it comes to an end");
        assert!(all_done > 10, "a deletion has many operations: {all_done}");
    }
}
