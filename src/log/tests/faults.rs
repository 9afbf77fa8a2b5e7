//! Histories with a fault in them: whatever fails and whenever, what was acknowledged is there afterwards.

mod world;

use std::collections::BTreeMap;

use effect::{Fault, OpKind};
use log::{AppendError, Event, LogConfig, LogRef, PartitionSettings, ReadFrom};
use model::Offset;
use world::{World, at, batch, marks, name, produced};

const SMALL: PartitionSettings = PartitionSettings { segment_bytes: 64 * 1024, ..PartitionSettings::DEFAULT };

#[test]
fn whatever_operation_fails_nothing_acknowledged_is_lost() {
    let check = |failing: usize| {
        let mut world = World::new(failing as u64, LogConfig::default());
        world.disk.fail_at = Some(failing);
        let log = world.log.open(at(0), name(0), SMALL, &mut world.out);
        let mut sent = 0;
        for _ in 0..600 {
            let size = if sent % 3 == 0 { 9000 } else { 50 };
            if sent < 40 && world.append(log, &batch(sent, 1, size)).is_ok() {
                sent += 1;
            }
            world.turn();
        }
        let is_over = world.disk.completed < failing;
        let acked = world.durable.get(&log).copied().unwrap_or_default();
        world.crash();
        let log = world.open_with(0, SMALL);
        assert!(world.opened(log), "failing {failing}: {:?}", world.events);
        assert!(acked <= world.log.end(log).expect("open"), "failing {failing}");
        let all = world.read_all(log, 5000);
        assert_eq!(marks(&all, Offset::ZERO), (0..world.log.end(log).expect("open").get()).collect::<Vec<_>>());
        is_over
    };
    let count = (1..).find(|failing| check(*failing)).expect("it comes to an end");
    assert!(count > 30, "{count} operations");
}

/// Several logs, tiny bounds, reads between appends, rolls, kills and crashes.
fn history(seed: u64) {
    let config = LogConfig { cache_bytes: 48 * 1024, files_max: 3, ..LogConfig::default() };
    let mut world = World::with_pool(seed, config, 2 << 20);
    let mut acked: BTreeMap<u32, u64> = BTreeMap::new();
    for _life in 0..4 {
        let logs: Vec<LogRef> =
            (0..4).map(|partition| world.log.open(at(partition), name(partition), SMALL, &mut world.out)).collect();
        world.settle();
        let mut next = Vec::new();
        for (partition, log) in logs.iter().enumerate() {
            assert!(world.opened(*log), "seed {seed}: {:?}", world.events);
            let end = world.log.end(*log).expect("open").get();
            assert!(acked.get(&(partition as u32)).is_none_or(|acked| *acked <= end), "seed {seed}");
            next.push(end);
        }
        let steps = 200 + world.disk.random() % 400;
        for _ in 0..steps {
            let which = world.disk.random() as usize % 4;
            match world.disk.random() % 8 {
                0..4 => {
                    let size = 20 + (world.disk.random() % 12_000) as usize;
                    let result = world.append(logs[which], &batch(next[which], 1, size));
                    match result {
                        Ok(appended) => {
                            assert_eq!(appended.base_offset.get(), next[which]);
                            next[which] += 1;
                        }
                        Err(error) => assert_eq!(error, AppendError::Busy, "seed {seed}"),
                    }
                }
                4 => {
                    let end = world.log.durable_end(logs[which]).expect("open");
                    if end.get() > 0 {
                        let offset = Offset::new(world.disk.random() % end.get());
                        let from = ReadFrom { offset, up_to: end, max_bytes: 9000, min_one_batch: true };
                        if let Ok((bytes, _)) = world.read_once(logs[which], from) {
                            assert_eq!(marks(&bytes, offset)[0], offset.get(), "seed {seed}");
                        }
                    }
                }
                _ => {
                    world.turn();
                }
            }
        }
        for (partition, log) in logs.iter().enumerate() {
            let durable = world.log.durable_end(*log).expect("open").get();
            acked.insert(partition as u32, durable);
        }
        match world.disk.random() % 3 {
            0 => world.crash(),
            1 => world.kill(),
            _ => {
                world.close();
                world.restart();
                for (partition, next) in next.iter().enumerate() {
                    acked.insert(partition as u32, *next);
                }
            }
        }
    }
}

#[test]
fn histories_of_many_seeds_lose_nothing() {
    for seed in 0..12 {
        history(seed);
    }
}

#[test]
fn a_rotten_old_segment_is_reported_when_it_is_read() {
    let mut world = World::plain();
    let log = world.open_with(0, SMALL);
    for mark in 0..20 {
        world.append(log, &batch(mark, 1, 8000)).expect("appended");
    }
    world.settle();
    world.close();
    let path = "/data/t-0/00000000000000000000.log";
    let mut bytes = world.disk.file(path).expect("there");
    bytes[3] = 9;
    world.disk.set_file(path, &bytes);
    world.disk.remove_file("/data/t-0/00000000000000000000.index");
    world.restart();
    let log = world.open_with(0, SMALL);
    let from = ReadFrom { offset: Offset::ZERO, up_to: Offset::new(20), max_bytes: 1, min_one_batch: true };
    assert_eq!(world.read_once(log, from), Err(log::ReadError::Corrupt));
}

/// Appends until the disk's being full is felt.
fn fill(world: &mut World, log: LogRef) {
    world.disk.fill();
    for mark in 0..200 {
        if world.append(log, &batch(mark, 1, 4000)) == Err(AppendError::NoSpace) {
            return;
        }
        world.turn();
    }
    panic!("the disk is never full");
}

fn turns(world: &mut World, count: usize) {
    for _ in 0..count {
        world.turn();
    }
}

#[test]
fn a_refused_first_batch_must_come_before_those_that_follow_it() {
    let mut world = World::plain();
    let log = world.open(0);
    fill(&mut world, log);
    for id in [5, 6] {
        assert_eq!(world.append(log, &produced(id, 1, 0, 300)), Err(AppendError::NoSpace));
        let later = world.append(log, &produced(id, 1, 300, 300));
        assert_eq!(later, Err(AppendError::OutOfOrderSequence), "the gap is the news, not the disk");
    }
    world.disk.make_room();
    turns(&mut world, 300);
    assert_eq!(world.append(log, &produced(5, 1, 300, 300)), Err(AppendError::OutOfOrderSequence));
    assert_eq!(world.append(log, &produced(5, 0, 0, 300)), Err(AppendError::InvalidProducerEpoch));
    for sequence in [0, 300, 600] {
        assert!(!world.append(log, &produced(5, 1, sequence, 300)).expect("in order").duplicate);
    }
    // Its next incarnation does not repeat what the one before gave up.
    world.append(log, &produced(6, 2, 0, 1)).expect("a new epoch");
    world.append(log, &produced(7, 1, 300, 300)).expect("never refused");
    world.settle();
    assert_eq!(world.log.durable_end(log), world.log.end(log));
}

#[test]
fn refused_producers_are_remembered_up_to_a_bound() {
    let mut world = World::plain();
    let log = world.open(0);
    fill(&mut world, log);
    for id in 0..1001 {
        assert_eq!(world.append(log, &produced(id, 0, 0, 300)), Err(AppendError::NoSpace));
    }
    world.disk.make_room();
    turns(&mut world, 300);
    world.append(log, &produced(0, 0, 300, 1)).expect("the oldest is forgotten");
    assert_eq!(world.append(log, &produced(1, 0, 300, 1)), Err(AppendError::OutOfOrderSequence));
    assert_eq!(world.append(log, &produced(1000, 0, 300, 1)), Err(AppendError::OutOfOrderSequence));
}

#[test]
fn files_grow_by_length_where_no_space_can_be_reserved() {
    for errno in [Fault::EOPNOTSUPP, Fault::ENOSYS] {
        let mut world = World::plain();
        let logs = [world.open(0), world.open(1)];
        world.disk.fail = Some((OpKind::Allocate, errno));
        for log in logs {
            for mark in 0..50 {
                world.append(log, &batch(mark, 1, 40_000)).expect("appended");
            }
            world.settle();
            assert_eq!(world.log.durable_end(log), Some(Offset::new(50)), "{:?}", world.events);
        }
        assert_eq!(world.disk.begun[&OpKind::Allocate], 2, "asked once for a directory, and once before it was so");
        world.crash();
        let log = world.open(0);
        assert_eq!(marks(&world.read_all(log, 1 << 20), Offset::ZERO), (0..50).collect::<Vec<_>>());
    }
}

/// Whatever step of the way to a segment finds the disk full, what is acknowledged stays, and goes on by itself.
#[test]
fn a_full_disk_passes_at_every_step() {
    let steps = [OpKind::CreateDir, OpKind::Open, OpKind::Allocate, OpKind::SetLen];
    for (kind, errno) in steps.into_iter().flat_map(|kind| [(kind, Fault::ENOSPC), (kind, Fault::EDQUOT)]) {
        let mut world = World::plain();
        let log = world.open_with(0, SMALL);
        world.append(log, &batch(0, 1, 100)).expect("appended");
        world.settle();
        world.disk.fail = Some((kind, errno));
        world.disk.free_bytes = 0;
        let mut sent = 1;
        for mark in 1..300 {
            sent += u64::from(world.append(log, &batch(mark, 1, 3000)).is_ok());
            turns(&mut world, 2);
        }
        assert!(sent < 300, "{kind:?}: refused at some time");
        assert_eq!(world.log.durable_end(log), Some(Offset::new(sent)), "the journal has what was accepted");
        world.disk.make_room();
        turns(&mut world, 500);
        world.append(log, &batch(1, 1, 3000)).expect("there is room again");
        world.settle();
        assert!(!world.events.iter().any(|event| matches!(event, Event::DirectoryOffline { .. })));
        world.crash();
        let log = world.open_with(0, SMALL);
        assert_eq!(world.log.end(log), Some(Offset::new(sent + 1)));
    }
}

#[test]
fn large_appends_go_to_their_segment_and_to_it_alone() {
    let mut direct_bytes = 0;
    for seed in 0..12 {
        let mut world = World::new(seed, LogConfig::default());
        let settings = PartitionSettings { segment_bytes: 12 << 20, ..PartitionSettings::DEFAULT };
        let log = world.open_with(0, settings);
        let mut sent = 0;
        let rounds = 30 + world.disk.random() % 200;
        for _ in 0..rounds {
            for _ in 0..world.disk.random() % 4 {
                let size = 50_000 + (world.disk.random() % 500_000) as usize;
                sent += u64::from(world.append(log, &batch(sent, 1, size)).is_ok());
            }
            for _ in 0..world.disk.random() % 4 {
                world.turn();
            }
        }
        let acked = world.durable.get(&log).copied().unwrap_or_default();
        match seed % 3 {
            0 => world.kill(),
            1 => world.crash(),
            _ => {
                world.settle();
                direct_bytes += world.metrics.log_direct_bytes_total.get();
                world.close();
                let last = world.disk.paths().into_iter().rfind(|path| path.ends_with(".log")).expect("a segment");
                let bytes = world.disk.file(&last).expect("there");
                assert!(!bytes.ends_with(&[0; 9]), "cut to its length");
                world.restart();
            }
        }
        let log = world.open_with(0, settings);
        let end = world.log.end(log).expect("open");
        assert!(acked <= end, "seed {seed}");
        assert_eq!(marks(&world.read_all(log, 4 << 20), Offset::ZERO), (0..end.get()).collect::<Vec<_>>());
        for mark in end.get()..end.get() + 12 {
            world.append(log, &batch(mark, 1, 500_000)).expect("appended");
            turns(&mut world, 3);
        }
        world.settle();
        let end = world.log.end(log).expect("open");
        assert_eq!(world.log.durable_end(log), Some(end));
        world.crash();
        let log = world.open_with(0, settings);
        assert_eq!(marks(&world.read_all(log, 4 << 20), Offset::ZERO), (0..end.get()).collect::<Vec<_>>());
    }
    assert!(direct_bytes > 0);
}

/// Of a log's last direct write only a later frame of its lane, be it another log's, says that it was acknowledged.
#[test]
fn a_rotten_direct_write_is_told_from_a_torn_one_by_the_frames_behind_it() {
    for is_proven in [true, false] {
        let mut world = World::plain();
        let (log, other) = (world.open(0), world.open(1));
        let mut sent = 0;
        while world.metrics.log_direct_bytes_total.get() == 0 {
            world.append(log, &batch(sent, 1, 300_000)).expect("appended");
            world.settle();
            sent += 1;
        }
        if is_proven {
            world.append(other, &batch(0, 1, 100)).expect("appended");
            world.settle();
        }
        world.crash();
        let name = "/data/t-0/00000000000000000000.log";
        let mut bytes = world.disk.file(name).expect("written");
        let position = bytes.iter().rposition(|byte| *byte != 0).expect("not empty");
        bytes[position - 1000] ^= 0x10;
        world.disk.set_file(name, &bytes);
        let log = world.open(0);
        world.settle();
        match is_proven {
            true => assert!(!world.opened(log), "nothing is cut"),
            false => assert_eq!(world.log.end(log), Some(Offset::new(sent - 1))),
        }
        if is_proven {
            assert_eq!(world.disk.file(name), Some(bytes));
        }
    }
}
