//! Compaction: what stays, what a reader sees of it, and what a crash leaves.

mod world;

use std::collections::BTreeMap;

use effect::{Fault, OpKind};
use log::{LogConfig, LogRef, PartitionSettings, ReadFrom, TimeLookup};
use model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use record::{BatchBuilder, Batches, Codec, Producer, Records};
use world::{World, batch, produced};

const COMPACT: PartitionSettings = PartitionSettings {
    segment_bytes: 16 * 1024,
    compact: true,
    min_cleanable_dirty_ratio: 0.0,
    ..PartitionSettings::DEFAULT
};

/// A record as a test sees it: its key, and its value if it has one.
type Keyed = (String, Option<Vec<u8>>);

fn keyed(codec: Codec, producer: Option<Producer>, time: i64, records: &[Keyed]) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec);
    if let Some(producer) = producer {
        builder = builder.producer(producer);
    }
    for (at, (key, value)) in records.iter().enumerate() {
        builder.append(Timestamp(time + at as i64), Some(key.as_bytes()), value.as_deref(), &[]);
    }
    builder.build()
}

/// Everything appended, by offset.
#[derive(Default)]
struct Model {
    records: BTreeMap<u64, Keyed>,
}

impl Model {
    fn append(&mut self, world: &mut World, log: LogRef, codec: Codec, producer: Option<Producer>, records: &[Keyed]) {
        let next = self.records.len() as u64;
        let batch = keyed(codec, producer, next as i64, records);
        let appended = world.append(log, &batch).expect("appended");
        for (offset, record) in (appended.base_offset.get()..).zip(records) {
            self.records.insert(offset, record.clone());
        }
    }

    /// The offset of each key's last record.
    fn last(&self) -> BTreeMap<&str, u64> {
        self.records.iter().map(|(offset, (key, _))| (key.as_str(), *offset)).collect()
    }

    /// Whether what was read is what may be left: nothing else, in order, the last of each key among it.
    fn check(&self, found: &[(u64, Keyed)], what: &str) {
        assert!(found.is_sorted_by(|a, b| a.0 < b.0), "{what}");
        for (offset, record) in found {
            assert_eq!(self.records.get(offset), Some(record), "{what}: offset {offset}");
        }
        for (key, last) in self.last() {
            assert!(found.iter().any(|(offset, _)| *offset == last), "{what}: {key} at {last} is gone");
        }
    }
}

fn records(bytes: &[u8]) -> Vec<(u64, Keyed)> {
    let mut all = Vec::new();
    for batch in Batches::new(bytes) {
        let records = Records::read(batch.expect("whole"), 1 << 24).expect("records");
        for record in records.iter() {
            let record = record.expect("whole");
            let key = String::from_utf8(record.key.expect("a key").to_vec()).expect("text");
            all.push((record.offset.get(), (key, record.value.map(<[u8]>::to_vec))));
        }
    }
    all
}

fn read(world: &mut World, log: LogRef) -> Vec<(u64, Keyed)> {
    records(&world.read_all(log, 3000))
}

fn value(mark: u64, bytes: usize) -> Option<Vec<u8>> {
    Some((0..bytes as u64).map(|at| (mark * 31 + at * 7 % 251) as u8).collect())
}

/// Some segments of a few keys, again and again, by an idempotent producer and others.
fn fill(world: &mut World, log: LogRef, codec: Codec, batches: u64) -> Model {
    let mut model = Model::default();
    for at in 0..batches {
        let producer = Producer { id: ProducerId(5), epoch: ProducerEpoch(0), base_sequence: (at as i32 / 3) * 4 };
        let producer = at.is_multiple_of(3).then_some(producer);
        let some: Vec<Keyed> =
            (0..4).map(|n| (format!("k{}", (at * 5 + n * 3) % 23), value(at * 4 + n, 300))).collect();
        model.append(world, log, codec, producer, &some);
        world.settle();
        // Small segments, of which several fit into one.
        if at % 5 == 4 {
            world.log.roll(log).expect("open");
        }
    }
    // One that is never written again.
    model.append(world, log, codec, None, &[("once".into(), value(7, 10))]);
    world.settle();
    model
}

fn runs(world: &World) -> u64 {
    world.metrics.log_cleaner_runs_total.get()
}

#[test]
fn the_last_record_of_each_key_stays_in_every_codec_and_every_offset_can_be_read_from() {
    for codec in Codec::ALL {
        let mut world = World::plain();
        let log = world.open_with(0, COMPACT);
        let model = fill(&mut world, log, codec, 120);
        let before = read(&mut world, log);
        assert_eq!(before.len(), model.records.len());
        world.pass(15_000);
        assert!(runs(&world) >= 1, "{codec:?}");
        for restart in [false, true] {
            let log = if restart {
                world.crash();
                world.open_with(0, COMPACT)
            } else {
                log
            };
            let end = world.log.end(log).expect("open");
            assert_eq!(end.get(), model.records.len() as u64);
            assert_eq!(world.log.start(log), Some(Offset::ZERO));
            let after = read(&mut world, log);
            assert!(after.len() < before.len() / 2, "{} of {}", after.len(), before.len());
            model.check(&after, "after");
            for offset in 0..end.get() {
                for max_bytes in [1, 5000] {
                    let from = ReadFrom { offset: Offset::new(offset), up_to: end, max_bytes, min_one_batch: true };
                    let (bytes, next) = world.read_once(log, from).expect("readable");
                    assert!(offset < next.get());
                    let found = records(&bytes);
                    let expected: Vec<_> =
                        after.iter().filter(|(at, _)| offset <= *at && *at < next.get()).cloned().collect();
                    let found: Vec<_> = found.into_iter().filter(|(at, _)| offset <= *at).collect();
                    assert_eq!(found, expected, "{codec:?} from {offset}");
                }
            }
            // By time: times are offsets here.
            for time in 0..end.get() {
                let mut found = TimeLookup::Pending;
                while found == TimeLookup::Pending {
                    found = world.log.offset_for_time(log, Timestamp(time as i64), end, &mut world.out).expect("ok");
                    world.settle();
                }
                let first = after.iter().map(|(at, _)| *at).find(|at| *at >= time).expect("the last one stays");
                assert!(
                    matches!(found, TimeLookup::Found { offset, .. } if offset.get() == first),
                    "{time}: {found:?}"
                );
            }
        }
    }
}

#[test]
fn a_compacted_segment_has_its_own_index_and_those_before_it_take_theirs_along() {
    let mut world = World::plain();
    let log = world.open_with(0, COMPACT);
    let model = fill(&mut world, log, Codec::None, 120);
    world.pass(15_000);
    assert!(runs(&world) >= 1);
    world.close();
    world.restart();
    let log = world.open_with(0, COMPACT);
    let paths = world.disk.paths();
    let with = |suffix: &str| -> Vec<String> {
        paths.iter().filter_map(|path| path.strip_suffix(suffix)).map(String::from).collect()
    };
    let closed = with(".log").len() - 1;
    assert!(closed > 1);
    for suffix in [".index", ".timeindex", ".indexcheck"] {
        assert_eq!(with(suffix), with(".log")[..closed], "{suffix}");
    }
    let rebuilds = world.metrics.log_index_rebuilds_total.get();
    model.check(&read(&mut world, log), "from the files");
    assert_eq!(world.metrics.log_index_rebuilds_total.get(), rebuilds);
}

#[test]
fn segments_of_which_nothing_stays_are_passed_over() {
    let mut world = World::plain();
    let log = world.open_with(0, COMPACT);
    let mut model = Model::default();
    for at in 0..20 {
        model.append(&mut world, log, Codec::None, None, &[("k".into(), value(at, 10_000))]);
        world.settle();
    }
    world.pass(15_000);
    let end = world.log.end(log).expect("open");
    let from = ReadFrom { offset: Offset::ZERO, up_to: end, max_bytes: 1, min_one_batch: true };
    let (bytes, next) = world.read_once(log, from).expect("readable");
    assert_eq!(records(&bytes).len(), 1, "the first answer has a record");
    assert!(next.get() >= 19);
    // But a reader who may not see beyond them is not left behind.
    let up_to = Offset::new(5);
    let (bytes, next) = world.read_once(log, ReadFrom { up_to, ..from }).expect("readable");
    assert!(!bytes.is_empty());
    assert_eq!(next, up_to);
}

#[test]
fn nothing_is_lost_by_a_crash_after_any_operation_of_a_compaction() {
    let check = |stop: usize, power: bool| {
        let mut world = World::new(stop as u64 * 2 + u64::from(power), LogConfig::default());
        let log = world.open_with(0, COMPACT);
        let model = fill(&mut world, log, Codec::Lz4, 60);
        world.stop_after = world.disk.completed + stop;
        world.pass(15_000);
        world.pass(1000);
        let done = world.disk.completed < world.stop_after;
        let what = format!("stop {stop} {power}");
        if power {
            world.crash()
        } else {
            world.kill()
        }
        let log = world.open_with(0, COMPACT);
        assert!(world.opened(log), "{what}: {:?}", world.events);
        assert_eq!(world.log.end(log).expect("open").get(), model.records.len() as u64, "{what}");
        let found = read(&mut world, log);
        model.check(&found, &what);
        assert!(world.append(log, &produced(5, 0, 19 * 4, 4)).expect("known").duplicate, "{what}");
        // And then the whole of it.
        world.pass(15_000);
        let found = read(&mut world, log);
        model.check(&found, &what);
        assert!(found.len() < 60, "{what}: {}", found.len());
        let left = world.disk.paths();
        assert!(left.iter().all(|path| !path.contains(".cleaned") && !path.contains(".swap")), "{what}: {left:?}");
        done
    };
    for power in [true, false] {
        let all_done = (0..).find(|stop| check(*stop, power)).expect("it comes to an end");
        assert!(all_done > 20, "a compaction has many operations: {all_done}");
    }
}

#[test]
fn whatever_operation_fails_the_records_stay_and_the_failure_counts() {
    let check = |failing: usize| {
        let mut world = World::new(failing as u64, LogConfig::default());
        let log = world.open_with(0, COMPACT);
        let model = fill(&mut world, log, Codec::None, 60);
        world.disk.fail_at = Some(world.disk.completed + failing);
        world.pass(15_000);
        let is_over = world.disk.completed < world.disk.fail_at.expect("set");
        world.crash();
        let log = world.open_with(0, COMPACT);
        assert!(world.opened(log), "failing {failing}: {:?}", world.events);
        let found = read(&mut world, log);
        model.check(&found, &format!("failing {failing}"));
        is_over
    };
    let count = (1..).find(|failing| check(*failing)).expect("it comes to an end");
    assert!(count > 20, "{count} operations");
}

#[test]
fn a_full_disk_fails_a_compaction_which_is_tried_again() {
    let mut world = World::plain();
    let log = world.open_with(0, COMPACT);
    let model = fill(&mut world, log, Codec::None, 60);
    world.disk.fail = Some((OpKind::SetLen, Fault::ENOSPC));
    world.pass(15_000);
    assert_eq!(world.metrics.log_cleaner_failures_total.get(), 1);
    world.disk.fail = None;
    model.check(&read(&mut world, log), "failed");
    world.pass(15_000);
    assert_eq!(runs(&world), 0, "it is left alone for a while");
    world.pass(60_000);
    assert_eq!(runs(&world), 1);
    let found = read(&mut world, log);
    model.check(&found, "again");
    assert!(found.len() < 60);
}

#[test]
fn a_tombstone_stays_for_its_time_and_then_goes() {
    let mut world = World::plain();
    let settings = PartitionSettings { delete_retention_ms: 100_000, ..COMPACT };
    let log = world.open_with(0, settings);
    let mut model = Model::default();
    for at in 0..20 {
        model.append(&mut world, log, Codec::Zstd, None, &[(format!("k{}", at % 5), value(at, 2000))]);
    }
    model.append(&mut world, log, Codec::Zstd, None, &[("k1".into(), None), ("k2".into(), value(1, 1))]);
    let more = |world: &mut World, model: &mut Model| {
        for at in 0..20 {
            model.append(world, log, Codec::None, None, &[(format!("m{}", at % 3), value(at, 2000))]);
        }
        world.settle();
    };
    more(&mut world, &mut model);
    world.pass(15_000);
    let tombstone = |found: &[(u64, Keyed)]| found.iter().any(|(_, (key, value))| key == "k1" && value.is_none());
    let found = read(&mut world, log);
    model.check(&found, "first");
    assert!(tombstone(&found));
    more(&mut world, &mut model);
    world.pass(50_000);
    assert_eq!(runs(&world), 2);
    assert!(tombstone(&read(&mut world, log)), "not yet");
    world.pass(100_000);
    more(&mut world, &mut model);
    world.pass(15_000);
    assert_eq!(runs(&world), 3);
    let found = read(&mut world, log);
    assert!(!tombstone(&found));
    assert!(found.iter().all(|(_, (key, _))| key != "k1"));
    assert!(found.iter().any(|(_, (key, _))| key == "k2"));
}

#[test]
fn a_producers_last_batch_stays_and_its_state_comes_back_without_snapshots() {
    let mut world = World::plain();
    let log = world.open_with(0, COMPACT);
    let one =
        |id: i64, sequence: i32| Producer { id: ProducerId(id), epoch: ProducerEpoch(3), base_sequence: sequence };
    let mut model = Model::default();
    for sequence in 0..10 {
        model.append(&mut world, log, Codec::None, Some(one(8, sequence)), &[("a".into(), value(1, 100))]);
    }
    for at in 0..40 {
        model.append(&mut world, log, Codec::None, None, &[(format!("k{}", at % 4), value(at, 2000))]);
        model.append(&mut world, log, Codec::None, None, &[("a".into(), value(2, 10))]);
    }
    world.settle();
    world.pass(15_000);
    assert_eq!(runs(&world), 1);
    world.close();
    for path in world.disk.paths().into_iter().filter(|path| path.ends_with(".snapshot")) {
        world.disk.set_file(&path, &[0; 4096]);
    }
    world.restart();
    let log = world.open_with(0, COMPACT);
    assert!(world.opened(log));
    model.check(&read(&mut world, log), "restarted");
    let again = keyed(Codec::None, Some(one(8, 9)), 0, &[("a".into(), None)]);
    assert!(world.append(log, &again).expect("known").duplicate);
    let next = keyed(Codec::None, Some(one(8, 10)), 0, &[("a".into(), None)]);
    assert!(!world.append(log, &next).expect("next").duplicate);
}

#[test]
fn a_full_table_of_keys_makes_several_runs() {
    let mut world = World::new(3, LogConfig { cleaner_keys_bytes: 24 * 60, ..LogConfig::default() });
    let log = world.open_with(0, COMPACT);
    let mut model = Model::default();
    for at in 0..600u64 {
        model.append(&mut world, log, Codec::Snappy, None, &[(format!("k{}", at * 7 % 200), value(at, 200))]);
        if at.is_multiple_of(20) {
            world.settle();
        }
    }
    world.settle();
    for _ in 0..40 {
        world.pass(15_000);
        model.check(&read(&mut world, log), "meanwhile");
    }
    assert!(runs(&world) > 3, "{}", runs(&world));
    let found = read(&mut world, log);
    assert!(found.len() < 420, "{}", found.len());
}

#[test]
fn young_records_wait_and_old_ones_do_not() {
    let lag = PartitionSettings { min_compaction_lag_ms: 60_000, ..COMPACT };
    let mut world = World::plain();
    let log = world.open_with(0, lag);
    let mut model = Model::default();
    for at in 0..40 {
        let time = world.wall.0;
        let record = (format!("k{}", at % 4), value(at, 2000));
        let appended = world.append(log, &keyed(Codec::None, None, time, std::slice::from_ref(&record))).expect("ok");
        model.records.insert(appended.base_offset.get(), record);
    }
    world.settle();
    world.pass(20_000);
    assert_eq!(runs(&world), 0);
    world.pass(60_000);
    assert_eq!(runs(&world), 1);
    model.check(&read(&mut world, log), "lag");

    let late = PartitionSettings { min_cleanable_dirty_ratio: 1.0, max_compaction_lag_ms: 100_000, ..COMPACT };
    let log = world.open_with(1, late);
    for at in 0..40 {
        let time = world.wall.0;
        world.append(log, &keyed(Codec::None, None, time, &[(format!("k{}", at % 4), value(at, 2000))])).expect("ok");
    }
    world.settle();
    world.pass(50_000);
    assert_eq!(runs(&world), 1, "the ratio is never passed");
    world.pass(60_000);
    assert_eq!(runs(&world), 2, "but the time is");
}

#[test]
fn small_segments_are_merged_and_readers_keep_what_they_hold() {
    let config = LogConfig { cache_bytes: 4096, ..LogConfig::default() };
    let mut world = World::new(4, config);
    let log = world.open_with(0, COMPACT);
    let model = fill(&mut world, log, Codec::None, 120);
    let segments = |world: &World| world.disk.paths().iter().filter(|path| path.ends_with(".log")).count();
    let before = segments(&world);
    let from = ReadFrom { offset: Offset::ZERO, up_to: Offset::new(9), max_bytes: 9000, min_one_batch: true };
    let mut held = world.log.read(log, from, &mut world.out).expect("readable");
    while matches!(held, log::Read::Pending) {
        world.turn();
        held = world.log.read(log, from, &mut world.out).expect("readable");
    }
    world.pass(15_000);
    assert_eq!(runs(&world), 1);
    assert!(segments(&world) <= before / 2 + 1, "{} of {before}", segments(&world));
    let log::Read::Ready(batches) = held else { panic!("it was answered") };
    assert!(!batches.pieces.is_empty());
    for piece in batches.pieces {
        if let log::Piece::File { lease, .. } = piece {
            world.log.release(lease, &mut world.out);
        }
    }
    world.settle();
    // Reads while the next run goes on.
    let mut model = model;
    for round in 0..30 {
        for at in 0..4 {
            let record = (format!("k{}", at * 5 % 23), value(round + at, 900));
            model.append(&mut world, log, Codec::None, None, &[record]);
        }
        world.now = world.now.plus_ms(4000);
        for _ in 0..20 {
            world.turn();
        }
        let found = read(&mut world, log);
        assert!(found.is_sorted_by(|a, b| a.0 < b.0));
    }
    world.settle();
    let found = read(&mut world, log);
    model.check(&found, "while it goes on");
}

#[test]
fn a_log_is_removed_or_closed_in_the_middle_of_a_compaction() {
    for turns in 0..120 {
        for close in [true, false] {
            let mut world = World::new(turns, LogConfig::default());
            let log = world.open_with(0, COMPACT);
            let model = fill(&mut world, log, Codec::None, 40);
            world.now = world.now.plus_ms(15_000);
            for _ in 0..turns {
                world.turn();
            }
            if close {
                world.close();
                world.restart();
                let log = world.open_with(0, COMPACT);
                model.check(&read(&mut world, log), "closed");
            } else {
                world.log.remove(log, &mut world.out);
                world.settle();
                assert!(world.events.contains(&log::Event::Removed { log }));
                world.work();
                let is_frames = |path: &String| path.starts_with("/data/journal/");
                assert!(world.disk.paths().iter().all(is_frames), "{:?}", world.disk.paths());
            }
        }
    }
}

#[test]
fn a_rate_bounds_what_a_compaction_reads_and_writes_and_delays_no_append() {
    const RATE: u64 = 64 * 1024;
    let mut world = World::new(5, LogConfig { cleaner_io_bytes_per_second: RATE, ..LogConfig::default() });
    let log = world.open_with(0, COMPACT);
    let other = world.open(1);
    let model = fill(&mut world, log, Codec::None, 240);
    let moved = |world: &World| {
        world.metrics.log_cleaner_read_bytes_total.get() + world.metrics.log_cleaner_written_bytes_total.get()
    };
    assert_eq!(moved(&world), 0);
    world.now = world.now.plus_ms(15_000);
    let mut began = None;
    for round in 0..100_000 {
        if began.is_none() && moved(&world) > 0 {
            began = Some(world.now);
        }
        if let Some(began) = began {
            let seconds = world.now.since(began).as_secs_f64();
            let most = (seconds * RATE as f64) as u64 + STEP_BYTES_MAX;
            assert!(moved(&world) <= most, "{} bytes in {seconds} s", moved(&world));
        }
        if runs(&world) > 0 {
            break;
        }
        if began.is_some() && round % 16 == 0 {
            // Whatever the compaction waits for, an append is durable as soon as its own write is.
            let appended = world.append(other, &batch(1, 1, 100)).expect("appended");
            let turns = (0..).take_while(|_| {
                world.turn();
                world.durable.get(&other).is_none_or(|end| *end <= appended.base_offset)
            });
            assert!(turns.count() < 16);
        } else if !world.turn() {
            world.now = world.log.next_deadline().map_or(world.now, |at| at.max(world.now));
        }
    }
    assert_eq!(runs(&world), 1);
    let took = world.now.since(began.expect("it read something")).as_secs_f64();
    let least = (moved(&world) - STEP_BYTES_MAX) as f64 / RATE as f64;
    assert!(least > 2.0, "{least} s are no test");
    assert!((least..least * 1.5 + 1.0).contains(&took), "{took} s, not {least}");
    model.check(&read(&mut world, log), "slowly");
}

/// The largest read or write of a compaction of these segments, which is paid for after it.
const STEP_BYTES_MAX: u64 = 32 * 1024;
