//! Old data: indexes and their files, lookups by time, rot and the scrub, segments with gaps.

mod world;

use log::{LogConfig, LogRef, PartitionSettings, Read, ReadError, ReadFrom, TimeLookup};
use model::{Offset, Timestamp};
use record::{BatchBuilder, Codec, Header};
use world::{World, batch, marks};

const SMALL: PartitionSettings = PartitionSettings { segment_bytes: 64 * 1024, ..PartitionSettings::DEFAULT };

const FIRST: &str = "/data/t-0/00000000000000000000";

/// A log of a few closed segments and an active one, on disk, with nothing of it in memory.
fn old(seed: u64) -> (World, LogRef, Vec<u8>) {
    let mut world = World::new(seed, LogConfig::default());
    let log = world.open_with(0, SMALL);
    for mark in 0..200 {
        world.append(log, &batch(mark, 1 + mark as u32 % 3, 300 + (mark as usize * 7919) % 1500)).expect("appended");
        if mark % 10 == 0 {
            world.settle();
        }
    }
    world.settle();
    let all = world.read_all(log, 1 << 20);
    world.close();
    world.restart();
    let log = world.open_with(0, SMALL);
    (world, log, all)
}

fn files(world: &World) -> Vec<Vec<u8>> {
    ["index", "timeindex", "indexcheck"]
        .iter()
        .map(|suffix| world.disk.file(&format!("{FIRST}.{suffix}")).expect("written when the segment was closed"))
        .collect()
}

fn read(world: &mut World, log: LogRef, offset: Offset, max_bytes: usize) -> Result<(Vec<u8>, Offset), ReadError> {
    let up_to = world.log.end(log).expect("open");
    world.read_once(log, ReadFrom { offset, up_to, max_bytes, min_one_batch: true })
}

#[test]
fn a_closed_segment_has_its_index_in_kafkas_files() {
    let (world, _, _) = old(1);
    let segment = world.disk.file(&format!("{FIRST}.log")).expect("there");
    let files = files(&world);
    assert!(files[0].len() > 8 * 8, "an entry for about every 4 KiB");
    let mut last = (0, 0);
    for entry in files[0].chunks(8) {
        let offset = i32::from_be_bytes(entry[..4].try_into().expect("four"));
        let position = i32::from_be_bytes(entry[4..].try_into().expect("four"));
        let header = Header::peek(&segment[position as usize..]).expect("a batch begins there");
        assert_eq!(header.last_offset().get(), offset as u64);
        assert!(last < (offset, position));
        last = (offset, position);
    }
    for entry in files[1].chunks(12) {
        let time = i64::from_be_bytes(entry[..8].try_into().expect("eight"));
        let offset = i32::from_be_bytes(entry[8..].try_into().expect("four"));
        let of = record::Batches::new(&segment).map(|batch| *batch.expect("whole").header());
        let header = of.clone().find(|header| header.last_offset().get() == offset as u64).expect("its last offset");
        assert_eq!(header.max_timestamp, Timestamp(time));
        let before = of.take_while(|before| before.base_offset < header.base_offset);
        assert!(before.into_iter().all(|before| before.max_timestamp < header.max_timestamp));
    }
}

#[test]
fn an_index_is_read_from_its_files_and_not_built_again() {
    let (mut world, log, all) = old(2);
    assert_eq!(world.read_all(log, 5000), all);
    assert_eq!(world.metrics.log_index_rebuilds_total.get(), 0);
    assert!(world.metrics.log_index_bytes.get() > 0);
}

#[test]
fn index_files_that_are_lost_torn_wrong_or_stale_cost_time_only() {
    let (mut world, _, all) = old(3);
    let whole = files(&world);
    let damage = |world: &mut World, case: usize| {
        let (which, how) = (case / 8, case % 8);
        let path = format!("{FIRST}.{}", ["index", "timeindex", "indexcheck"][which]);
        let mut bytes = whole[which].clone();
        let middle = bytes.len() / 2;
        match how {
            0 => return world.disk.remove_file(&path),
            1 => bytes.clear(),
            2 => bytes.truncate(middle / 12 * 12),
            3 => bytes.fill(0),
            4 => bytes[middle..].fill(0),
            5 => bytes[middle] ^= 1,
            6 => bytes.resize(300_000, 7),
            _ => {
                let other = world
                    .disk
                    .paths()
                    .into_iter()
                    .rfind(|other| other.ends_with(path.rsplit('.').next().expect("a suffix")));
                bytes = world.disk.file(&other.expect("of another segment")).expect("there");
            }
        }
        world.disk.set_file(&path, &bytes);
    };
    for case in 0..24 {
        world.restart();
        damage(&mut world, case);
        let log = world.open_with(0, SMALL);
        let rebuilds = world.metrics.log_index_rebuilds_total.get();
        assert_eq!(world.read_all(log, 3000), all, "case {case}");
        assert_eq!(world.metrics.log_index_rebuilds_total.get(), rebuilds + 1, "case {case}");
        world.settle();
        assert_eq!(files(&world), whole, "case {case}: written again");
    }
}

#[test]
fn index_files_that_the_power_cut_tore_are_not_believed() {
    for seed in 0..40 {
        let mut world = World::new(seed, LogConfig::default());
        let log = world.open_with(0, SMALL);
        for mark in 0..100 {
            world.append(log, &batch(mark, 1, 2000)).expect("appended");
            for _ in 0..world.disk.random() % 12 {
                world.turn();
            }
        }
        world.crash();
        let log = world.open_with(0, SMALL);
        let end = world.log.end(log).expect("open").get();
        assert_eq!(marks(&world.read_all(log, 10_000), Offset::ZERO), (0..end).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[test]
fn the_indexes_of_closed_segments_stay_within_their_memory() {
    let config = LogConfig { index_cache_bytes: 4096, cache_bytes: 8192, ..LogConfig::default() };
    let mut world = World::new(4, config);
    let log = world.open_with(0, SMALL);
    for mark in 0..600 {
        world.append(log, &batch(mark, 1, 1000)).expect("appended");
        if mark % 10 == 0 {
            world.settle();
        }
    }
    world.settle();
    assert!(world.disk.paths().iter().filter(|path| path.ends_with(".log")).count() > 8);
    for _ in 0..300 {
        let offset = world.disk.random() % 600;
        let (bytes, _) = read(&mut world, log, Offset::new(offset), 1).expect("readable");
        assert_eq!(marks(&bytes, Offset::new(offset))[0], offset);
        assert!(world.metrics.log_index_bytes.get() <= 4096);
    }
    assert_eq!(world.metrics.log_index_rebuilds_total.get(), 0);
}

#[test]
fn a_dropped_segment_takes_its_index_along() {
    let (mut world, log, _) = old(5);
    let segments: Vec<_> = world.disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    let base = |path: &str| path[path.len() - 24..path.len() - 4].parse::<u64>().expect("twenty digits");
    world.log.drop_before(log, Offset::new(base(&segments[1])));
    world.settle();
    assert!(world.disk.paths().iter().all(|path| !path.starts_with(FIRST)), "{:?}", world.disk.paths());
}

/// Batches of random times, out of order, and what a search must find: times by offset.
fn timed(world: &mut World, log: LogRef, spread: i64) -> Vec<(i64, u64)> {
    let mut records = Vec::new();
    for mark in 0..300 {
        let codec = if mark % 5 == 0 { Codec::Lz4 } else { Codec::None };
        let mut builder = BatchBuilder::new(codec);
        for _ in 0..1 + world.disk.random() % 4 {
            let time = mark * 10 + (world.disk.random() as i64).rem_euclid(2 * spread) - spread;
            let time = time.max(0);
            let value = vec![7; (world.disk.random() % 900) as usize];
            builder.append(Timestamp(time), None, Some(&value), &[]);
            records.push((time, records.len() as u64));
        }
        let bytes = builder.build();
        world.append(log, &bytes).expect("appended");
        if mark % 10 == 0 {
            world.settle();
        }
    }
    world.settle();
    records
}

fn find(
    world: &mut World,
    mut ask: impl FnMut(&mut World) -> Result<TimeLookup, ReadError>,
) -> Result<Option<(i64, u64)>, ReadError> {
    for _ in 0..10_000 {
        match ask(world)? {
            TimeLookup::Pending => {
                world.turn();
            }
            TimeLookup::Nothing => return Ok(None),
            TimeLookup::Found { offset, timestamp, .. } => return Ok(Some((timestamp.0, offset.get()))),
        }
    }
    panic!("never answered");
}

fn by_time(world: &mut World, log: LogRef, time: i64) -> Result<Option<(i64, u64)>, ReadError> {
    let end = world.log.end(log).expect("open");
    find(world, |world| world.log.offset_for_time(log, Timestamp(time), end, &mut world.out))
}

#[test]
fn the_first_record_late_enough_is_found_whatever_the_order_of_times() {
    for (seed, spread) in [(1, 1), (2, 50), (3, 500), (4, 5000), (5, 2000), (6, 20)] {
        let config = LogConfig { cache_bytes: 8192, index_cache_bytes: 6000, ..LogConfig::default() };
        let mut world = World::new(seed, config);
        let mut log = world.open_with(0, SMALL);
        let records = timed(&mut world, log, spread);
        for life in 0..3 {
            if life > 0 {
                world.crash();
                if life == 2 {
                    // The second life was begun with files, the third has none.
                    let indexes: Vec<_> =
                        world.disk.paths().into_iter().filter(|path| path.contains("index")).collect();
                    indexes.iter().for_each(|path| world.disk.remove_file(path));
                }
                log = world.open_with(0, SMALL);
            }
            let start = world.log.start(log).expect("open").get();
            for _ in 0..60 {
                let time = (world.disk.random() % 9000) as i64;
                let expected = records.iter().find(|(at, offset)| time <= *at && start <= *offset).copied();
                let got = by_time(&mut world, log, time);
                if got.is_err() {
                    println!("EV {:?} {:?}", world.events, world.disk.paths());
                }
                assert_eq!(got, Ok(expected), "seed {seed}, life {life}, time {time}");
            }
            let end = world.log.end(log).expect("open");
            let found = find(&mut world, |world| world.log.offset_of_max_timestamp(log, end, &mut world.out));
            let left = records.iter().filter(|(_, offset)| start <= *offset);
            let max = left.clone().map(|(at, _)| *at).max().expect("some are left");
            assert_eq!(found, Ok(left.clone().find(|(at, _)| *at == max).copied()), "seed {seed}, life {life}");
            if life == 1 {
                // The oldest segments go, and maybe the latest record with them.
                world.log.drop_before(log, Offset::new(records.len() as u64 / 2));
                world.settle();
            }
        }
    }
}

/// Where the batch with this mark begins in its segment's file, and its length.
fn find_batch(segment: &[u8], wanted: u64) -> (usize, Header) {
    let mut at = 0;
    for batch in record::Batches::new(segment) {
        let header = *batch.expect("whole").header();
        if header.base_offset.get() == wanted {
            return (at, header);
        }
        at += header.size_bytes;
    }
    panic!("no such batch");
}

#[test]
fn the_scrub_finds_a_flipped_bit_and_only_what_is_bad_is_refused() {
    let (mut world, _, all) = old(7);
    let clean = world.disk.file(&format!("{FIRST}.log")).expect("there");
    let bases: Vec<Header> = record::Batches::new(&clean).map(|batch| *batch.expect("whole").header()).collect();
    let victim = bases[bases.len() / 2];
    let (position, _) = find_batch(&clean, victim.base_offset.get());
    // In a record; in the checksum; in the attributes; in the length, whose next batch only the index knows.
    for (case, (byte, interval)) in [(100, false), (18, false), (22, false), (11, true), (9, true)].iter().enumerate() {
        let mut bytes = clean.clone();
        bytes[position + byte] ^= 0x10;
        world.disk.set_file(&format!("{FIRST}.log"), &bytes);
        for _restart in 0..2 {
            world.restart();
            let bad = world.metrics.log_bad_batches_total.get();
            let log = world.open_with(0, SMALL);
            let mut checked = world.metrics.log_scrubbed_bytes_total.get();
            world.scrub();
            checked = world.metrics.log_scrubbed_bytes_total.get() - checked;
            assert!(checked >= 2 * clean.len() as u64 && checked < 2 * all.len() as u64, "{checked} bytes");
            assert_eq!(world.metrics.log_bad_batches_total.get(), bad + 1, "case {case}");
            assert_eq!(read(&mut world, log, victim.base_offset, 1 << 20), Err(ReadError::Corrupt), "case {case}");
            assert_eq!(read(&mut world, log, victim.last_offset(), 1), Err(ReadError::Corrupt));
            // What begins before it ends before it.
            let (before, next) = read(&mut world, log, Offset::ZERO, 1 << 20).expect("readable");
            assert_eq!(before, clean[..position], "case {case}");
            assert_eq!(next, victim.base_offset);
            // And behind it goes on.
            let readable = (victim.next_offset().get()..victim.next_offset().get() + 60)
                .find(|offset| read(&mut world, log, Offset::new(*offset), 1).is_ok());
            let first = readable.expect("later batches are readable");
            assert!(*interval || first == victim.next_offset().get(), "case {case}");
            let (at, _) = find_batch(&clean, first);
            let (behind, _) = read(&mut world, log, Offset::new(first), 1 << 20).expect("readable");
            assert_eq!(behind, clean[at..], "case {case}");
            // A second round says nothing new.
            world.scrub();
            assert_eq!(world.metrics.log_bad_batches_total.get(), bad + 1, "case {case}");
        }
    }
}

#[test]
fn the_scrub_looks_at_what_the_segment_that_is_written_to_has_in_its_file() {
    let mut world = World::plain();
    let log = world.open(0);
    for mark in 0..40 {
        world.append(log, &batch(mark, 1, 3000)).expect("appended");
        world.settle();
    }
    // A clean stop leaves it all in the file; the next run appends to the same segment.
    world.close();
    world.restart();
    let name = format!("{FIRST}.log");
    let clean = world.disk.file(&name).expect("there");
    let (position, victim) = find_batch(&clean, 20);
    let mut bytes = clean.clone();
    bytes[position + 100] ^= 0x10;
    world.disk.set_file(&name, &bytes);
    let log = world.open(0);
    world.append(log, &batch(40, 1, 3000)).expect("appended");
    world.settle();
    world.scrub();
    assert_eq!(world.metrics.log_bad_batches_total.get(), 1);
    assert_eq!(read(&mut world, log, victim.base_offset, 1 << 20), Err(ReadError::Corrupt));
    let (before, next) = read(&mut world, log, Offset::ZERO, 1 << 20).expect("readable");
    assert_eq!((before.as_slice(), next), (&clean[..position], victim.base_offset));
    let (_, next) = read(&mut world, log, victim.next_offset(), 1 << 20).expect("readable");
    assert_eq!(next, Offset::new(41));
}

#[test]
fn the_scrub_reads_no_faster_than_it_may() {
    let config = LogConfig { scrub_bytes_per_second: 100_000, ..LogConfig::default() };
    let mut world = World::new(8, config);
    let log = world.open_with(0, SMALL);
    world.scrub();
    assert_eq!(world.metrics.log_scrubbed_bytes_total.get(), 0, "nothing is closed");
    for mark in 0..300 {
        world.append(log, &batch(mark, 1, 2000)).expect("appended");
        if mark % 10 == 0 {
            world.settle();
        }
    }
    world.settle();
    let began = world.now;
    world.scrub();
    let read = world.metrics.log_scrubbed_bytes_total.get();
    assert!(read > 500_000, "{read} bytes");
    let seconds = world.now.since(began).as_secs();
    // A round begins a day after the one before.
    assert!((24 * 3600 - 120..24 * 3600 + 60).contains(&seconds), "{seconds} s");
    assert_eq!(world.metrics.log_bad_batches_total.get(), 0);
}

#[test]
fn a_segment_that_goes_under_the_scrub_does_not_stop_it() {
    for seed in 0..20 {
        let (mut world, log, _) = old(seed);
        for _ in 0..200 {
            world.now = world.log.next_deadline().map_or(world.now, |at| at.max(world.now));
            world.turn();
            if world.metrics.log_scrubbed_bytes_total.get() > seed * 10_000 {
                break;
            }
        }
        match seed % 2 {
            0 => world.log.drop_before(log, Offset::new(200)),
            _ => world.log.remove(log, &mut world.out),
        }
        world.settle();
        world.scrub();
        assert_eq!(world.metrics.log_bad_batches_total.get(), 0);
        world.close();
    }
}

#[test]
fn segments_with_gaps_are_read_across() {
    let (mut world, _, all) = old(9);
    // What a compaction leaves: some batches, under the segment's old name.
    let segments: Vec<_> = world.disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
    let mut left = Vec::new();
    for (at, path) in segments.iter().enumerate() {
        let bytes = world.disk.file(path).expect("there");
        let mut kept = Vec::new();
        let count = record::Batches::new(&bytes).count();
        for (number, batch) in record::Batches::new(&bytes).enumerate() {
            let batch = batch.expect("whole");
            let gone = match at {
                // The beginning, the end, all but one, and some in between.
                0 => number < 5 || number + 5 > count,
                1 => number != 3,
                _ => number % 3 == 1,
            };
            if at + 1 == segments.len() || !gone {
                kept.extend_from_slice(batch.bytes());
                left.push(*batch.header());
            }
        }
        world.disk.set_file(path, &kept);
        if at + 1 < segments.len() && at != 1 {
            for suffix in ["index", "timeindex", "indexcheck"] {
                world.disk.remove_file(&path.replace(".log", &format!(".{suffix}")));
            }
        }
    }
    world.restart();
    // What the checkpoint says of their lengths is not true any more.
    world.disk.forget("/data/journal");
    let log = world.open_with(0, PartitionSettings { compact: true, ..SMALL });
    let end = world.log.end(log).expect("open");
    assert!(all.len() > left.iter().map(|header| header.size_bytes).sum());
    for round in 0..2 {
        for offset in (0..end.get()).map(Offset::new) {
            let expected = left.iter().find(|header| offset < header.next_offset()).expect("the last batch is there");
            let (bytes, _) = read(&mut world, log, offset, 1).expect("readable");
            let first = Header::peek(&bytes).expect("a batch");
            assert_eq!(first.base_offset, expected.base_offset, "offset {offset}, round {round}");
        }
        world.settle();
        world.scrub();
        assert_eq!(world.metrics.log_bad_batches_total.get(), 0);
        // By time as well.
        for header in left.iter().step_by(5) {
            let time = header.max_timestamp.0;
            let expected = left.iter().find(|header| time <= header.max_timestamp.0).expect("itself").last_offset();
            assert_eq!(by_time(&mut world, log, time), Ok(Some((time, expected.get()))));
        }
    }
}

#[test]
fn a_bad_batch_behind_a_gap_is_refused_from_the_gap_on() {
    let (mut world, _, _) = old(12);
    let path = format!("{FIRST}.log");
    let bytes = world.disk.file(&path).expect("there");
    // In the middle of a segment too.
    for (gone, bad) in [([0, 1], 2), ([1, 3], 4)] {
        let mut kept = Vec::new();
        let mut from = Offset::ZERO;
        let mut hit = None;
        for (number, batch) in record::Batches::new(&bytes).enumerate() {
            let batch = batch.expect("whole");
            if gone.contains(&number) {
                continue;
            }
            if number == bad {
                hit = Some((kept.len() + 70, from, batch.header().next_offset()));
            }
            from = batch.header().next_offset();
            kept.extend_from_slice(batch.bytes());
        }
        let (at, from, next) = hit.expect("there are more");
        kept[at] ^= 1;
        world.kill();
        world.disk.set_file(&path, &kept);
        for suffix in ["index", "timeindex", "indexcheck"] {
            world.disk.remove_file(&format!("{FIRST}.{suffix}"));
        }
        let log = world.open_with(0, SMALL);
        world.scrub();
        assert!(world.metrics.log_bad_batches_total.get() > 0);
        for offset in from.get()..next.get() {
            assert_eq!(read(&mut world, log, Offset::new(offset), 1), Err(ReadError::Corrupt), "offset {offset}");
        }
        let (bytes, _) = read(&mut world, log, next, 1).expect("readable");
        assert_eq!(Header::peek(&bytes).expect("a batch").base_offset, next);
    }
}

#[test]
fn lookups_at_once_do_not_starve_each_other() {
    let (mut world, log, _) = old(10);
    let end = world.log.end(log).expect("open");
    let mut waiting: Vec<u64> = (0..60).map(|at| at * 6).filter(|offset| *offset < end.get()).collect();
    let mut times: Vec<i64> = (0..20).map(|at| at * 97).collect();
    for _ in 0..20_000 {
        waiting.retain(|offset| {
            let from = ReadFrom { offset: Offset::new(*offset), up_to: end, max_bytes: 1, min_one_batch: true };
            match world.log.read(log, from, &mut world.out).expect("readable") {
                Read::Pending => true,
                Read::Ready(batches) => {
                    for piece in batches.pieces {
                        if let log::Piece::File { lease, .. } = piece {
                            world.log.release(lease, &mut world.out);
                        }
                    }
                    false
                }
            }
        });
        times.retain(|time| {
            let found = world.log.offset_for_time(log, Timestamp(*time), end, &mut world.out);
            found.expect("readable") == TimeLookup::Pending
        });
        if waiting.is_empty() && times.is_empty() {
            return;
        }
        world.turn();
    }
    panic!("{} reads and {} lookups are never answered", waiting.len(), times.len());
}

#[test]
fn files_lent_to_readers_leave_room_for_writers() {
    let config = LogConfig { files_max: 6, cache_bytes: 8192, ..LogConfig::default() };
    let mut world = World::new(11, config);
    let logs: Vec<LogRef> = (0..6).map(|partition| world.open_with(partition, SMALL)).collect();
    for mark in 0..80 {
        for log in &logs {
            world.append(*log, &batch(mark, 1, 1000)).expect("appended");
        }
        world.settle();
    }
    world.settle();
    assert!(!world.log.take_pressure());
    // Readers that never give back what they were lent.
    let mut lent = Vec::new();
    for log in &logs {
        for _ in 0..50 {
            let from = ReadFrom { offset: Offset::ZERO, up_to: Offset::new(80), max_bytes: 1, min_one_batch: true };
            match world.log.read(*log, from, &mut world.out) {
                Ok(Read::Ready(batches)) => {
                    lent.extend(batches.pieces);
                    break;
                }
                Ok(Read::Pending) | Err(ReadError::Busy) => {
                    world.turn();
                }
                Err(error) => panic!("{error:?}"),
            }
        }
    }
    assert_eq!(lent.len(), 3, "half of the files");
    assert!(world.log.take_pressure());
    // Whatever they hold, writing goes on, in every log.
    for mark in 80..160 {
        for log in &logs {
            world.append(*log, &batch(mark, 1, 1000)).expect("appended");
        }
        for _ in 0..200 {
            world.turn();
        }
    }
    assert!(logs.iter().all(|log| world.log.durable_end(*log) == Some(Offset::new(160))));
    for piece in lent {
        if let log::Piece::File { lease, .. } = piece {
            world.log.release(lease, &mut world.out);
        }
    }
    world.settle();
    world.log.take_pressure();
    for log in &logs {
        assert!(read(&mut world, *log, Offset::ZERO, 1).is_ok());
    }
}

#[test]
fn memory_that_readers_hold_is_told_before_appends_find_none() {
    let config = LogConfig { cache_bytes: 4 << 20, ..LogConfig::default() };
    let mut world = World::with_pool(12, config, 8 << 20);
    let log = world.open(0);
    let mut lent = Vec::new();
    let mut told = false;
    for mark in 0..2000 {
        if world.append(log, &batch(mark, 1, 16_000)).is_err() {
            break;
        }
        for _ in 0..6 {
            world.turn();
        }
        let from =
            ReadFrom { offset: Offset::new(mark), up_to: Offset::new(mark + 1), max_bytes: 1, min_one_batch: true };
        if let Ok(Read::Ready(batches)) = world.log.read(log, from, &mut world.out) {
            lent.extend(batches.pieces);
        }
        told = world.log.take_pressure();
        if told {
            break;
        }
    }
    assert!(told, "told while appends still find memory");
    drop(lent);
    world.turn();
    assert!(!world.log.take_pressure());
}

#[test]
fn a_read_of_old_data_holds_little_more_than_was_asked_for() {
    let config = LogConfig { cache_bytes: 8192, ..LogConfig::default() };
    let mut world = World::new(13, config);
    let coarse = PartitionSettings { segment_bytes: 1 << 20, index_interval_bytes: 300_000, ..SMALL };
    let log = world.open_with(0, coarse);
    for mark in 0..3000 {
        let bytes = if mark % 500 == 7 { 90_000 } else { 200 + mark as usize % 700 };
        world.append(log, &batch(mark, 1, bytes)).expect("appended");
        if mark % 20 == 0 {
            world.settle();
        }
    }
    world.settle();
    let all = world.read_all(log, 1 << 20);
    let asked = 20_000;
    let mut offset = Offset::ZERO;
    let mut sequence = Vec::new();
    while offset < Offset::new(2900) {
        let (bytes, next) = read(&mut world, log, offset, asked).expect("readable");
        let first = Header::peek(&bytes).expect("a batch").size_bytes;
        assert!(bytes.len() <= first.max(asked + 16 * 1024), "{} bytes", bytes.len());
        sequence.extend(bytes);
        offset = next;
    }
    assert_eq!(sequence, all[..sequence.len()]);
}
