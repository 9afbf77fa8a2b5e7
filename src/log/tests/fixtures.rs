//! A data directory as version 1 of the formats has it (`FORMATS.md`), committed: it stays readable, byte for byte, and
//! what is torn, rotten or of a later version in it is told apart.

mod fixture;
mod world;

use fixture::{Frame, JOURNAL, load, said, tear};
use log::{Event, LogConfig, Run};
use model::Offset;
use tracing::Level;
use world::{World, marks, produced};

const PARTITIONS: u32 = 4;

/// The marks of what the fixture holds, by partition.
fn content(partition: u32) -> (u64, Vec<u64>) {
    match partition {
        0 => (3, (3..9).collect()),
        1 => (0, vec![0, 2, 0, 4]),
        2 => (0, (0..5).collect()),
        _ => (0, (0..14).collect()),
    }
}

/// A broker on these files, in its third run; `None` for a partition that does not open.
fn start(files: &[(String, Vec<u8>)]) -> (World, Vec<Option<log::LogRef>>) {
    let runs = [1, 2, 3].map(|number| Run { number, salt: number }).to_vec();
    let mut world = World::new(1, LogConfig { runs, ..LogConfig::default() });
    files.iter().for_each(|(path, bytes)| world.disk.set_file(path, bytes));
    let logs: Vec<_> = (0..PARTITIONS)
        .map(|partition| {
            let log = world.open(partition);
            world.opened(log).then_some(log)
        })
        .collect();
    (world, logs)
}

/// Every partition is there, but for what lies behind `lost` in partition 0.
fn assert_content(world: &mut World, logs: &[Option<log::LogRef>], lost: usize) {
    for (partition, log) in (0..).zip(logs) {
        let log = log.unwrap_or_else(|| panic!("partition {partition} does not open: {:?}", world.events));
        let (first, mut expected) = content(partition);
        if partition == 0 {
            expected.truncate(expected.len() - lost);
        }
        assert_eq!(world.log.start(log), Some(Offset::new(first)));
        let all = world.read_all(log, 1 << 16);
        assert_eq!(marks(&all, Offset::new(first)), expected, "partition {partition}");
    }
}

/// The log directory is offline, for that reason, and nothing in it was touched.
fn assert_offline(files: &[(String, Vec<u8>)], why: &[&str]) {
    said();
    let (world, logs) = start(files);
    assert!(logs.iter().all(Option::is_none), "{why:?}");
    let is_offline = |event: &Event| matches!(event, Event::DirectoryOffline { .. });
    assert_eq!(world.metrics.log_directories_offline.get(), 1, "{why:?}");
    assert!(world.events.iter().any(is_offline), "{:?}", world.events);
    for (path, bytes) in files {
        assert_eq!(world.disk.file(path).as_ref(), Some(bytes), "{path} is as it was found");
    }
    let mut bad = said().into_iter().filter(|(level, _)| *level <= Level::WARN);
    let (level, text) = bad.next().expect("it is said");
    assert_eq!(level, Level::ERROR);
    assert!(why.iter().all(|word| text.contains(word)), "{why:?}: {text}");
    assert!(bad.all(|(_, text)| text.starts_with("message=log offline ")), "each partition, nothing else");
}

/// The journal's file in `files`.
fn journal(files: &mut [(String, Vec<u8>)]) -> &mut Vec<u8> {
    &mut files.iter_mut().find(|(path, _)| path == JOURNAL).expect("it has one").1
}

/// The frames that the checkpoint leaves to be replayed, in order.
fn needed(files: &mut [(String, Vec<u8>)]) -> Vec<Frame> {
    let checkpoints: Vec<_> = files.iter().filter(|(path, _)| path.ends_with(".checkpoint")).collect();
    let [(_, checkpoint)] = checkpoints[..] else { panic!("it has one") };
    let keep = Frame::all(checkpoint).last().expect("it is whole").keep;
    let frames: Vec<_> = Frame::all(journal(files)).into_iter().filter(|frame| keep <= frame.sequence).collect();
    assert!(frames.len() >= 4);
    frames
}

#[test]
fn what_version_1_wrote_is_read() {
    let mut files = load();
    let bytes = journal(&mut files).clone();
    let kinds: Vec<u8> = needed(&mut files).iter().flat_map(|frame| frame.entry_kinds(&bytes)).collect();
    assert!((1..=4).all(|kind| kinds.contains(&kind)), "every kind of entry: {kinds:?}");
    assert!(files.iter().any(|(path, _)| path.ends_with(".indexcheck")), "a closed segment's index");
    said();
    let (mut world, logs) = start(&files);
    assert_content(&mut world, &logs, 0);
    let log = logs[1].expect("open");
    for (sequence, count) in [(0, 2), (2, 2), (4, 2)] {
        assert!(world.append(log, &produced(5, 0, sequence, count)).expect("known").duplicate, "{sequence}");
    }
    assert!(world.append(log, &produced(6, 1, 0, 1)).expect("known").duplicate);
    assert!(!world.append(log, &produced(6, 1, 1, 1)).expect("next").duplicate);
    assert_eq!(world.log.leader_epochs(log), [(model::LeaderEpoch(4), Offset::ZERO)]);
    world.settle();
    assert_eq!(world.log.durable_end(log), Some(Offset::new(8)));
    world.close();
    world.restart();
    let again = world.open(1);
    assert_eq!(world.log.end(again), Some(Offset::new(8)), "and goes on from there");
    assert_eq!(said().iter().filter(|(level, _)| *level <= Level::WARN).count(), 0);
}

#[test]
fn an_unknown_frame_version_is_refused_by_file_and_number() {
    for at in 0..load().len() {
        let mut files = load();
        let (path, bytes) = &mut files[at];
        if !path.starts_with("/data/journal/") {
            continue;
        }
        bytes[4..6].copy_from_slice(&2u16.to_be_bytes());
        let name = path.trim_start_matches("/data/journal/").to_owned();
        assert_offline(&files, &[&name, "Version(2)", "/data"]);
    }
}

#[test]
fn rot_before_a_whole_frame_takes_the_directory_offline_and_cuts_nothing() {
    let mut files = load();
    let frames = needed(&mut files);
    for (frame, _) in frames.iter().zip(frames.iter().skip(1)) {
        let missing = format!("MissingFrame({})", frame.sequence);
        for at in [frame.position + 30, frame.position + 50, frame.position + frame.bytes - 1] {
            let mut files = load();
            journal(&mut files)[at] ^= 0x10;
            assert_offline(&files, &[&missing, "journal is damaged", &format!("position={} ", frame.position)]);
        }
    }
}

#[test]
fn a_torn_last_frame_is_left_out() {
    let mut files = load();
    let frames = needed(&mut files);
    let last = frames.last().expect("there are some");
    for sectors in 0..last.bytes.div_ceil(512) {
        let mut files = load();
        tear(journal(&mut files), last, sectors);
        said();
        let (mut world, logs) = start(&files);
        assert_content(&mut world, &logs, 1);
        assert_eq!(said().iter().filter(|(level, _)| *level <= Level::WARN).count(), 0);
    }
}

#[test]
fn stale_frames_behind_a_torn_one_are_never_replayed() {
    let mut files = load();
    let frames = needed(&mut files);
    let last = frames.last().expect("there are some").clone();
    // Of the run before, and of this run from before the checkpoint.
    let bytes = journal(&mut files).clone();
    let earlier = Frame::all(&bytes).into_iter().filter(|frame| frame.sequence < frames[0].sequence);
    let own: Vec<u8> = earlier.flat_map(|frame| bytes[frame.position..frame.end()].to_vec()).collect();
    assert!(Frame::all(&fixture::stale()).iter().all(|frame| frame.run == 1));
    let mut tails = vec![fixture::stale()];
    tails.push([fixture::stale(), own.clone()].concat());
    tails.push(own);
    for tail in tails {
        let mut files = load();
        let journal = journal(&mut files);
        tear(journal, &last, 0);
        let room = last.end()..last.end() + tail.len();
        journal[room].copy_from_slice(&tail);
        let (mut world, logs) = start(&files);
        assert_content(&mut world, &logs, 1);
    }
}

#[test]
#[ignore = "writes the fixture anew, which only a new version of a format is a reason for"]
fn write() {
    fixture::write();
}
