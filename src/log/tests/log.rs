//! The log's face, on a disk that loses what it may lose.

mod world;

use effect::{Fault, OpKind};
use log::{AppendError, Event, Failure, LogConfig, Offline, PartitionSettings, ReadError, ReadFrom, TimeLookup};
use model::{LeaderEpoch, Offset, Timestamp, TopicPartition, Uuid};
use world::{World, at, batch, marks, name, produced};

const SMALL: PartitionSettings = PartitionSettings { segment_bytes: 64 * 1024, ..PartitionSettings::DEFAULT };

#[test]
fn what_is_appended_is_read_back_with_its_offsets() {
    let mut world = World::plain();
    let log = world.open(0);
    assert!(world.opened(log));
    let is_frames = |path: &String| path.starts_with("/data/journal/");
    assert!(world.disk.paths().iter().all(is_frames), "nothing else is made before the first append");
    for mark in 0..10 {
        let appended = world.append(log, &batch(mark, 3, 100)).expect("appended");
        assert_eq!(appended.base_offset, Offset::new(mark * 3));
        assert_eq!(appended.last_offset, Offset::new(mark * 3 + 2));
    }
    assert_eq!(world.log.durable_end(log), Some(Offset::ZERO));
    world.settle();
    assert_eq!(world.log.durable_end(log), Some(Offset::new(30)));
    let all = world.read_all(log, 1000);
    assert_eq!(marks(&all, Offset::ZERO), (0..10).collect::<Vec<_>>());
    world.close();
    assert_eq!(world.disk.file("/data/t-0/00000000000000000000.log"), Some(all), "byte for byte, no padding");
    let metadata = format!("version: 0\ntopic_id: {}\n", world::TOPIC);
    assert_eq!(world.disk.file("/data/t-0/partition.metadata"), Some(metadata.into_bytes()));
}

#[test]
fn appends_of_a_turn_go_in_one_write_and_those_in_flight_gather_the_next() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.settle();
    let before = world.metrics.log_writes_total.get();
    for mark in 1..50 {
        world.append(log, &batch(mark, 1, 100)).expect("appended");
    }
    world.settle();
    assert_eq!(world.metrics.log_writes_total.get() - before, 1);
}

#[test]
fn every_acknowledged_batch_survives_a_crash_after_any_operation() {
    let check = |stop: usize, power: bool| {
        let mut world = World::new(stop as u64 * 2 + u64::from(power), LogConfig::default());
        let log = world.open_with(0, SMALL);
        world.stop_after = stop;
        let (mut sent, mut acked) = (0u64, 0u64);
        for _ in 0..400 {
            if sent < 40 && world.append(log, &produced(5, 0, sent as i32, 1)).is_ok() {
                sent += 1;
                // Large batches between the small ones make segments roll.
                if sent % 4 == 0 && world.append(log, &batch(1000 + sent, 1, 9000)).is_err() {
                    break;
                }
            }
            world.turn();
            acked = world.durable.get(&log).map_or(acked, |end| end.get());
        }
        let done = world.disk.completed < stop;
        if power {
            world.crash()
        } else {
            world.kill()
        }
        let log = world.open_with(0, SMALL);
        assert!(world.opened(log), "stop {stop} {power}: {:?}", world.events);
        let end = world.log.end(log).expect("open");
        assert!(Offset::new(acked) <= end, "stop {stop} {power}: acknowledged {acked}, found {end}");
        let all = world.read_all(log, 10_000);
        let found: Vec<_> = marks(&all, Offset::ZERO).into_iter().filter(|mark| *mark < 1000).collect();
        assert_eq!(found, (0..found.len() as u64).collect::<Vec<_>>());
        // The producer goes on where it was; what it repeats is known.
        let next = found.len() as i32;
        if next > 0 {
            let again = world.append(log, &produced(5, 0, next - 1, 1)).expect("known");
            assert!(again.duplicate, "stop {stop} {power}");
        }
        let wrong = world.append(log, &produced(5, 0, next + 1, 1));
        assert!(next == 0 || wrong == Err(AppendError::OutOfOrderSequence));
        if next > 0 {
            assert!(!world.append(log, &produced(5, 0, next, 1)).expect("next").duplicate);
        }
        world.settle();
        assert_eq!(world.log.durable_end(log), world.log.end(log));
        // And once more: what was cut does not come back.
        let all = world.read_all(log, 1 << 20);
        world.crash();
        let log = world.open_with(0, SMALL);
        assert_eq!(world.read_all(log, 1 << 20), all, "stop {stop} {power}");
        done
    };
    for power in [true, false] {
        let all_done = (1..).find(|stop| check(*stop, power)).expect("it comes to an end");
        assert!(all_done > 30, "the scenario has many operations: {all_done}");
    }
}

#[test]
fn a_torn_tail_is_cut_and_appending_goes_on() {
    let mut world = World::plain();
    let log = world.open(0);
    for mark in 0..5 {
        world.append(log, &batch(mark, 1, 3000)).expect("appended");
    }
    world.settle();
    world.close();
    let path = "/data/t-0/00000000000000000000.log";
    let whole = world.disk.file(path).expect("there");
    for cut in [1, 60, 61, 2000, 3100, 9000] {
        let mut torn = whole[..whole.len() - cut].to_vec();
        torn.extend([0xee; 5000]);
        world.disk.set_file(path, &torn);
        world.restart();
        // As an earlier release, which had no journal, left it.
        world.disk.forget("/data/journal");
        let log = world.open(0);
        let end = world.log.end(log).expect("open");
        assert_eq!(end.get(), 5 - (cut as u64).div_ceil(whole.len() as u64 / 5));
        world.append(log, &batch(7, 1, 10)).expect("appended");
        world.settle();
        let all = world.read_all(log, 1 << 20);
        assert_eq!(marks(&all, Offset::ZERO).len() as u64, end.get() + 1);
        world.close();
        assert_eq!(world.disk.file(path), Some(all));
    }
}

#[test]
fn repeated_batches_are_recognised_before_and_after_a_restart() {
    let mut world = World::plain();
    let log = world.open_with(0, SMALL);
    for sequence in 0..7 {
        world.append(log, &produced(9, 1, sequence * 2, 2)).expect("appended");
    }
    for restart in [false, true] {
        world.settle();
        let log = if restart {
            world.crash();
            world.open_with(0, SMALL)
        } else {
            log
        };
        for sequence in 2..7 {
            let again = world.append(log, &produced(9, 1, sequence * 2, 2)).expect("known");
            assert!(again.duplicate);
            assert_eq!(again.base_offset, Offset::new(sequence as u64 * 2));
            assert_eq!(again.last_offset, Offset::new(sequence as u64 * 2 + 1));
        }
        let refused =
            |world: &mut World, epoch, sequence, count| world.append(log, &produced(9, epoch, sequence, count));
        assert_eq!(refused(&mut world, 1, 2, 2), Err(AppendError::OutOfOrderSequence), "older than five batches");
        assert_eq!(refused(&mut world, 1, 15, 1), Err(AppendError::OutOfOrderSequence), "a gap");
        assert_eq!(refused(&mut world, 0, 14, 1), Err(AppendError::InvalidProducerEpoch));
        assert_eq!(refused(&mut world, 2, 3, 1), Err(AppendError::OutOfOrderSequence), "a new epoch begins at 0");
        assert_eq!(world.log.end(log), Some(Offset::new(14)));
    }
}

#[test]
fn sequences_wrap_and_unknown_producers_begin_anywhere() {
    let mut world = World::plain();
    let log = world.open(0);
    assert!(world.append(log, &produced(1, 0, i32::MAX - 1, 2)).is_ok());
    assert!(world.append(log, &produced(1, 0, 0, 1)).is_ok());
    assert!(world.append(log, &produced(1, 1, 0, 1)).is_ok(), "a new epoch");
}

#[test]
fn producer_state_survives_rolls_and_restarts() {
    let mut world = World::plain();
    let log = world.open_with(0, SMALL);
    world.append(log, &produced(3, 0, 0, 1)).expect("appended");
    for mark in 0..40 {
        world.append(log, &batch(mark, 1, 8000)).expect("appended");
        world.settle();
    }
    let all = world.read_all(log, 1 << 20);
    assert!(world.disk.paths().iter().filter(|path| path.ends_with(".log")).count() > 3);
    world.crash();
    let log = world.open_with(0, SMALL);
    assert!(world.append(log, &produced(3, 0, 0, 1)).expect("known").duplicate);
    assert_eq!(world.log.leader_epochs(log), [(LeaderEpoch(4), Offset::ZERO)]);
    assert_eq!(world.read_all(log, 20_000), all);
    assert_eq!(world.read_all(log, 1), all, "a batch larger than asked for comes whole");
}

#[test]
fn a_full_disk_refuses_and_resumes_by_itself() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.settle();
    world.disk.fill();
    let mut accepted = 1;
    let mut refused = false;
    for mark in 1..400 {
        match world.append(log, &batch(mark, 1, 4000)) {
            Ok(_) => accepted += 1,
            Err(error) => {
                assert_eq!(error, AppendError::NoSpace);
                refused = true;
            }
        }
        world.turn();
    }
    assert!(refused);
    world.disk.make_room();
    for _ in 0..500 {
        world.turn();
    }
    world.append(log, &batch(9, 1, 4000)).expect("resumed");
    world.settle();
    assert_eq!(world.log.durable_end(log), Some(Offset::new(accepted + 1)));
}

#[test]
fn a_directory_that_failed_for_another_shard_is_offline() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("in memory");
    world.settle();
    assert_eq!(world.log.offline_directories().count(), 0);
    let (log_of_shard, out) = (&mut world.log, &mut effect::Effects::default());
    log_of_shard.take_offline("/elsewhere".as_ref(), out);
    log_of_shard.take_offline("/data".as_ref(), out);
    log_of_shard.take_offline("/data".as_ref(), out);
    assert!(out.ops.is_empty());
    world.settle();
    let offline = Event::DirectoryOffline { dir: "/data".into(), why: Offline::Failed };
    assert_eq!(world.events.iter().filter(|event| **event == offline).count(), 1);
    assert_eq!(world.append(log, &batch(1, 1, 100)), Err(AppendError::Offline));
    world.close();
}

#[test]
fn a_failed_write_takes_every_log_of_the_directory_offline() {
    let mut world = World::plain();
    let (first, second) = (world.open(0), world.open(1));
    world.disk.fail = Some((OpKind::Write, Fault::EIO));
    world.append(first, &batch(0, 1, 100)).expect("in memory");
    world.settle();
    world.disk.fail = None;
    assert!(world.events.contains(&Event::DirectoryOffline { dir: "/data".into(), why: Offline::Failed }));
    assert_eq!(world.append(first, &batch(1, 1, 100)), Err(AppendError::Offline));
    assert_eq!(world.append(second, &batch(1, 1, 100)), Err(AppendError::Offline));
    let from = ReadFrom { offset: Offset::ZERO, up_to: Offset::new(1), max_bytes: 1, min_one_batch: true };
    assert_eq!(world.read_once(second, from), Err(ReadError::Offline));
    assert_eq!(world.log.durable_end(first), Some(Offset::ZERO));
    world.close();
}

#[test]
fn what_left_the_cache_comes_from_files_byte_for_byte() {
    let config = LogConfig { cache_bytes: 32 * 1024, files_max: 4, ..LogConfig::default() };
    let mut world = World::new(3, config);
    let settings = PartitionSettings { segment_bytes: 300_000, ..PartitionSettings::DEFAULT };
    let log = world.open_with(0, settings);
    let mut expected = Vec::new();
    for mark in 0..300 {
        let size = 50 + (mark as usize * 7919) % 6000;
        let bytes = batch(mark, 1 + mark as u32 % 3, size);
        let appended = world.append(log, &bytes).expect("appended");
        expected.push((appended.base_offset, appended.last_offset, bytes.len()));
        if mark % 7 == 0 {
            world.settle();
        }
    }
    world.settle();
    for _ in 0..100 {
        world.turn();
    }
    assert!(world.metrics.log_cache_bytes.get() <= 640 * 1024, "what no segment has yet, and little more");
    for restart in [false, true] {
        let log = if restart {
            world.crash();
            world.open_with(0, settings)
        } else {
            log
        };
        let all = world.read_all(log, 50_000);
        assert_eq!(marks(&all, Offset::ZERO), (0..300).collect::<Vec<_>>());
        assert!(world.file_bytes > 0);
        let end = world.log.end(log).expect("open");
        for (base, last, len) in expected.iter().rev().step_by(3) {
            for offset in [*base, *last] {
                let from = ReadFrom { offset, up_to: end, max_bytes: 1, min_one_batch: true };
                let (bytes, _) = world.read_once(log, from).expect("readable");
                let header = record::Header::peek(&bytes).expect("a batch");
                assert_eq!(header.base_offset, *base, "the batch that contains the offset comes first");
                assert_eq!(header.size_bytes, *len);
            }
        }
        assert!(world.disk.open_max <= 4 + 4, "{} files open", world.disk.open_max);
    }
}

#[test]
fn a_read_is_bounded_by_bytes_and_by_the_high_watermark() {
    let mut world = World::plain();
    let log = world.open(0);
    for mark in 0..10 {
        world.append(log, &batch(mark, 2, 500)).expect("appended");
    }
    world.settle();
    let len = batch(0, 2, 500).len();
    let mut check = |offset, up_to, max_bytes, min_one_batch, batches: usize| {
        let from = ReadFrom { offset: Offset::new(offset), up_to: Offset::new(up_to), max_bytes, min_one_batch };
        let (bytes, next) = world.read_once(log, from).expect("readable");
        assert_eq!(bytes.len(), batches * len);
        assert_eq!(next.get(), if batches == 0 { offset } else { (offset / 2 + batches as u64) * 2 });
    };
    check(0, 20, 1 << 20, true, 10);
    check(5, 20, 1 << 20, true, 8);
    check(0, 20, len * 2 + 1, true, 2);
    check(0, 20, 1, true, 1);
    check(0, 20, 1, false, 0);
    check(0, 7, 1 << 20, true, 3);
    check(6, 7, 1 << 20, true, 0);
    check(20, 20, 1 << 20, true, 0);
    let from = ReadFrom { offset: Offset::new(21), up_to: Offset::new(20), max_bytes: 1, min_one_batch: true };
    assert_eq!(world.read_once(log, from), Err(ReadError::OutOfRange));
}

#[test]
fn records_are_found_by_time() {
    let config = LogConfig { cache_bytes: 8 * 1024, ..LogConfig::default() };
    let mut world = World::new(5, config);
    let log = world.open_with(0, SMALL);
    for mark in 0..100 {
        world.append(log, &batch(mark, 3, 700)).expect("appended");
        if mark % 5 == 0 {
            world.settle();
        }
    }
    world.settle();
    for restart in [false, true] {
        let log = if restart {
            world.crash();
            world.open_with(0, SMALL)
        } else {
            log
        };
        let end = world.log.end(log).expect("open");
        let mut check = |time, expected: Option<(u64, i64)>| {
            for _ in 0..1000 {
                match world.log.offset_for_time(log, Timestamp(time), end, &mut world.out).expect("answered") {
                    TimeLookup::Pending => {
                        world.turn();
                    }
                    TimeLookup::Nothing => return assert_eq!(expected, None),
                    TimeLookup::Found { offset, timestamp, leader_epoch } => {
                        assert_eq!(leader_epoch, LeaderEpoch(4));
                        return assert_eq!(expected, Some((offset.get(), timestamp.0)));
                    }
                }
            }
            panic!("never answered");
        };
        check(0, Some((0, 0)));
        check(1, Some((1, 1)));
        check(3, Some((3, 10)));
        check(501, Some((151, 501)));
        check(992, Some((299, 992)));
        check(993, None);
        let found = loop {
            match world.log.offset_of_max_timestamp(log, end, &mut world.out).expect("answered") {
                TimeLookup::Pending => {
                    world.turn();
                }
                found => break found,
            }
        };
        let last =
            TimeLookup::Found { offset: Offset::new(299), timestamp: Timestamp(992), leader_epoch: LeaderEpoch(4) };
        assert_eq!(found, last);
    }
}

#[test]
fn deleted_records_are_gone_after_a_crash_too() {
    for seed in 0..20 {
        let mut world = World::new(seed, LogConfig::default());
        let log = world.open_with(0, SMALL);
        for mark in 0..30 {
            world.append(log, &batch(mark, 1, 9000)).expect("appended");
            world.turn();
        }
        world.settle();
        assert_eq!(world.log.advance_start(log, Offset::new(20)), Ok(Offset::new(20)));
        let from = ReadFrom { offset: Offset::new(19), up_to: Offset::new(30), max_bytes: 1, min_one_batch: true };
        assert_eq!(world.read_once(log, from), Err(ReadError::OutOfRange));
        let turns = world.disk.random() % 40;
        for _ in 0..turns {
            world.turn();
        }
        let told = world.events.contains(&Event::StartMoved { log, start: Offset::new(20) });
        world.crash();
        let log = world.open_with(0, SMALL);
        let start = world.log.start(log).expect("open");
        assert!(start == Offset::new(20) || (!told && start == Offset::ZERO), "{start:?}");
        let all = world.read_all(log, 1 << 20);
        assert_eq!(marks(&all, start).len() as u64, 30 - start.get());
    }
}

#[test]
fn whole_segments_are_dropped_and_a_restart_begins_behind_them() {
    let mut world = World::plain();
    let log = world.open(0);
    for mark in 0..5 {
        world.append(log, &batch(mark, 1, 100)).expect("appended");
    }
    world.log.roll(log).expect("open");
    world.append(log, &batch(5, 1, 100)).expect("appended");
    world.settle();
    world.log.drop_before(log, Offset::new(5));
    world.settle();
    assert_eq!(world.log.start(log), Some(Offset::new(5)));
    world.crash();
    let log = world.open(0);
    assert_eq!(world.log.start(log), Some(Offset::new(5)));
    let all = world.read_all(log, 1000);
    assert_eq!(marks(&all, Offset::new(5)), [5]);
}

#[test]
fn a_removed_log_leaves_nothing_and_its_name_is_free() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.turn();
    world.log.remove(log, &mut world.out);
    assert_eq!(world.append(log, &batch(0, 1, 100)), Err(AppendError::Gone));
    world.settle();
    assert!(world.events.contains(&Event::Removed { log }));
    assert_eq!(world.log.end(log), None);
    assert!(world.disk.paths().iter().all(|path| path.starts_with("/data/journal/")));
    let log = world.open(0);
    assert_eq!(world.log.end(log), Some(Offset::ZERO));
}

#[test]
fn a_directory_of_another_topic_is_never_taken_for_ours() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.settle();
    world.close();
    world.restart();
    let other = TopicPartition { topic: Uuid([8; 16]), partition: 0 };
    let log = world.log.open(other, name(0), SMALL, &mut world.out);
    world.settle();
    assert_eq!(world.log.end(log), Some(Offset::ZERO));
    let stray = format!("/data/t-0.{}-stray/00000000000000000000.log", at(0).topic);
    assert!(world.disk.paths().contains(&stray));
}

#[test]
fn segments_that_do_not_continue_each_other_are_refused_by_name() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.settle();
    world.close();
    let bytes = world.disk.file("/data/t-0/00000000000000000000.log").expect("there");
    world.disk.set_file("/data/t-0/00000000000000000007.log", &bytes);
    world.restart();
    world.disk.forget("/data/journal");
    let log = world.open(0);
    let failure = Failure::Gap { end: Offset::new(1), next: Offset::new(7) };
    assert!(world.events.contains(&Event::Failed { log, failure }));
    assert_eq!(world.append(log, &batch(0, 1, 100)), Err(AppendError::Offline));
}

#[test]
fn many_logs_share_few_files_and_little_memory() {
    let config = LogConfig { files_max: 8, ..LogConfig::default() };
    let mut world = World::new(11, config);
    let logs: Vec<_> =
        (0..200).map(|partition| world.log.open(at(partition), name(partition), SMALL, &mut world.out)).collect();
    world.settle();
    for log in &logs {
        world.append(*log, &batch(1, 1, 100)).expect("appended");
    }
    world.settle();
    assert!(logs.iter().all(|log| world.log.durable_end(*log) == Some(Offset::new(1))));
    assert!(world.disk.open_max <= 8 + 1, "{} files open", world.disk.open_max);
    assert!(world.pool.used_bytes() <= 201 * 4096 + (64 << 10), "{}", world.pool.used_bytes());
    world.kill();
    let logs: Vec<_> =
        (0..200).map(|partition| world.log.open(at(partition), name(partition), SMALL, &mut world.out)).collect();
    world.settle();
    assert!(logs.iter().all(|log| world.log.durable_end(*log) == Some(Offset::new(1))));
    assert!(world.disk.open_max <= 8 + 32 + 1, "{} files open", world.disk.open_max);
}

#[test]
fn log_append_time_is_set_and_sealed() {
    let mut world = World::plain();
    let log = world.open(0);
    let bytes = batch(1, 2, 30);
    let append = log::Append {
        batch: &bytes,
        max_timestamp: Timestamp(11),
        leader_epoch: LeaderEpoch(4),
        log_append_time: Some(Timestamp(5000)),
    };
    let appended = world.log.append(log, Timestamp(5000), append).expect("appended");
    assert_eq!(appended.log_append_time, Some(Timestamp(5000)));
    world.settle();
    let all = world.read_all(log, 1000);
    let batch = record::BatchView::first(&all).expect("sealed");
    assert_eq!(batch.header().max_timestamp, Timestamp(5000));
}

#[test]
fn without_memory_appends_are_refused_until_there_is_some() {
    let mut world = World::plain();
    let log = world.open(0);
    world.append(log, &batch(0, 1, 100)).expect("appended");
    world.settle();
    let hog = world.pool.take(world.pool.limit_bytes() - world.pool.used_bytes() - 4096).expect("fits");
    let mut refused = 0;
    for mark in 1..30 {
        refused += usize::from(world.append(log, &batch(mark, 1, 2000)) == Err(AppendError::Busy));
    }
    assert!(refused > 0);
    drop(hog);
    world.append(log, &batch(99, 1, 2000)).expect("there is memory again");
    world.settle();
    assert_eq!(world.log.durable_end(log), world.log.end(log));
}
