//! The log start offset.

mod world;

use log::{AppendError, Event, LogConfig, PartitionSettings, ReadError, ReadFrom, TimeLookup};
use model::{Offset, Timestamp};
use world::{World, batch, marks};

const SMALL: PartitionSettings = PartitionSettings { segment_bytes: 64 * 1024, ..PartitionSettings::DEFAULT };

fn read(world: &mut World, log: log::LogRef, offset: u64) -> Result<usize, ReadError> {
    let from = ReadFrom {
        offset: Offset::new(offset),
        up_to: Offset::new(u32::MAX.into()),
        max_bytes: 1,
        min_one_batch: true,
    };
    world.read_once(log, from).map(|(bytes, _)| bytes.len())
}

#[test]
fn records_below_the_start_are_gone_though_their_batch_is_not() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 4, 100)).expect("appended");
    assert_eq!(world.log.advance_start(log, Offset::new(2)), Ok(Offset::ZERO), "nothing is durable yet");
    world.settle();
    assert_eq!(world.log.advance_start(log, Offset::new(2)), Ok(Offset::new(2)));
    world.settle();
    assert!(world.events.contains(&Event::StartMoved { log, start: Offset::new(2) }));
    assert_eq!(world.log.start(log), Some(Offset::new(2)));
    assert_eq!(read(&mut world, log, 1), Err(ReadError::OutOfRange));
    assert!(read(&mut world, log, 2).is_ok_and(|bytes| bytes > 0));
    let found = world.log.offset_for_time(log, Timestamp(0), Offset::new(4), &mut world.out);
    assert!(matches!(found, Ok(TimeLookup::Found { offset, .. }) if offset == Offset::new(2)), "{found:?}");
    // It never goes back.
    assert_eq!(world.log.advance_start(log, Offset::new(1)), Ok(Offset::new(2)));
    // Nor beyond the end.
    assert_eq!(world.log.advance_start(log, Offset::new(9)), Ok(Offset::new(4)));
    world.settle();
    assert!(world.events.contains(&Event::StartMoved { log, start: Offset::new(4) }));
    assert_eq!(read(&mut world, log, 4), Ok(0));
    assert_eq!(world.append(log, &batch(1, 1, 100)).map(|appended| appended.base_offset), Ok(Offset::new(4)));
    world.settle();
    assert!(read(&mut world, log, 4).is_ok_and(|bytes| bytes > 0));
}

#[test]
fn whole_segments_below_the_start_give_their_space_back() {
    let mut world = World::plain();
    let log = world.open_with(0, SMALL);
    for mark in 0..30 {
        world.append(log, &batch(mark, 1, 9000)).expect("appended");
        world.settle();
    }
    let count = |world: &World| world.disk.paths().iter().filter(|path| path.ends_with(".log")).count();
    let before = count(&world);
    assert!(before >= 4);
    world.log.advance_start(log, Offset::new(15)).expect("open");
    world.settle();
    let some = count(&world);
    assert!(1 < some && some < before);
    let all = world.read_all(log, 20_000);
    assert!(marks(&all, world.log.start(log).expect("open")).ends_with(&[29]));
    world.log.advance_start(log, Offset::new(30)).expect("open");
    world.settle();
    assert_eq!(count(&world), 0, "nothing is left");
    world.append(log, &batch(30, 1, 9000)).expect("appended");
    world.settle();
    assert_eq!(count(&world), 0, "the journal has it");
    world.crash();
    let log = world.open_with(0, SMALL);
    assert_eq!((world.log.start(log), world.log.end(log)), (Some(Offset::new(30)), Some(Offset::new(31))));
}

#[test]
fn the_end_survives_a_crash_right_after_everything_was_deleted() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 5, 100)).expect("appended");
    world.settle();
    world.log.advance_start(log, Offset::new(5)).expect("open");
    world.settle();
    world.crash();
    let log = world.open(0);
    assert_eq!(world.log.end(log), Some(Offset::new(5)));
}

#[test]
fn a_log_that_is_gone_or_closed_refuses() {
    let mut world = World::plain();
    let log = world.open(0);
    world.log.remove(log, &mut world.out);
    assert_eq!(world.log.advance_start(log, Offset::new(1)), Err(AppendError::Gone));
    world.settle();
    assert_eq!(world.log.advance_start(log, Offset::new(1)), Err(AppendError::Gone));
}

/// More starts move at once than what is left of the journal's file takes in one frame.
#[test]
fn starts_of_many_logs_go_in_as_many_frames_as_they_need() {
    let mut world =
        World::with_pool(3, LogConfig { journal_bytes_max: (7 << 20) + 12_345, ..LogConfig::default() }, 64 << 20);
    let logs: Vec<_> = (0..2500)
        .map(|partition| world.log.open(world::at(partition), world::name(partition), SMALL, &mut world.out))
        .collect();
    world.settle();
    for log in &logs {
        world.append(*log, &batch(0, 90, 16)).expect("appended");
    }
    world.settle();
    for round in 1..=40 {
        // Frames of other sizes between, so that every rest of a file comes about.
        for _ in 0..round % 7 {
            world.append(logs[0], &batch(0, 1, 10)).expect("appended");
            world.settle();
        }
        for log in &logs {
            assert_eq!(world.log.advance_start(*log, Offset::new(round)), Ok(Offset::new(round)));
        }
        world.settle();
    }
    assert_eq!(world.events.iter().filter(|event| matches!(event, Event::StartMoved { .. })).count(), 2500 * 40);
    world.crash();
    let log = world.open(2499);
    assert_eq!(world.log.start(log), Some(Offset::new(40)));
}

/// What the journal holds is more than there is memory for, in one log and in all.
#[test]
fn a_start_with_less_memory_than_the_journal_holds_comes_to_an_end() {
    for (logs, batches) in [(40, 8), (1, 320)] {
        let mut world = World::with_pool(4, LogConfig { direct_bytes_min: u64::MAX, ..LogConfig::default() }, 64 << 20);
        let settings = PartitionSettings { segment_bytes: 64 << 20, ..PartitionSettings::default() };
        for partition in 0..logs {
            let log = world.open_with(partition, settings);
            for _ in 0..batches {
                world.append(log, &batch(7, 1, 20_000)).expect("appended");
                world.settle();
            }
        }
        world.pool_bytes = 2 << 20;
        world.kill();
        let opened: Vec<_> = (0..logs)
            .map(|partition| world.log.open(world::at(partition), world::name(partition), settings, &mut world.out))
            .collect();
        world.settle();
        for log in opened {
            assert!(world.opened(log), "{logs} logs");
            assert_eq!(world.log.durable_end(log), Some(Offset::new(batches)));
        }
    }
}
