//! Files and directories.

use effect::{BLOCK_BYTES, BufMut, Chunk, Done, File, FileKind, Op, OpenMode};

use super::{Harness, TempDir, pattern};

fn read(harness: &mut Harness, file: File, offset: u64, bytes: usize) -> BufMut {
    let buf = harness.pool.take(bytes).expect("fits");
    match harness.run(Op::Read { file, offset, buf }) {
        Done::Filled(buf) => buf,
        done => panic!("{done:?}"),
    }
}

fn names(harness: &mut Harness, path: &std::path::Path) -> Vec<(String, FileKind)> {
    match harness.run(Op::List { path: path.into() }) {
        Done::Listed(entries) => entries,
        done => panic!("{done:?}"),
    }
}

fn is_direct(file: File) -> bool {
    let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.0)).expect("open");
    let flags = info.lines().find_map(|line| line.strip_prefix("flags:")).expect("has flags");
    i32::from_str_radix(flags.trim(), 8).expect("octal") & libc::O_DIRECT != 0
}

pub fn what_is_written_directly_is_read_back(harness: &mut Harness) {
    let dir = TempDir::new("write");
    let file = harness.open(dir.0.join("log"), OpenMode::Write);
    assert!(is_direct(file) || ring::buffered_opens() > 0);
    let mut first = Chunk::new(harness.pattern(3 * BLOCK_BYTES, 1));
    let mut second = Chunk::new(harness.pattern(BLOCK_BYTES + 100, 2));
    let bufs = vec![first.blocks(0..3 * BLOCK_BYTES), second.blocks(0..BLOCK_BYTES + 100)];
    harness.finish(Op::Write { file, offset: BLOCK_BYTES as u64, bufs, sync: true });
    harness.finish(Op::Sync { file });
    let got = read(harness, file, BLOCK_BYTES as u64, 5 * BLOCK_BYTES);
    assert_eq!(got.as_slice()[..3 * BLOCK_BYTES], pattern(3 * BLOCK_BYTES, 1));
    assert_eq!(got.as_slice()[3 * BLOCK_BYTES..][..BLOCK_BYTES + 100], pattern(BLOCK_BYTES + 100, 2));
    assert!(got.as_slice()[4 * BLOCK_BYTES + 100..].iter().all(|byte| *byte == 0));
    harness.finish(Op::CloseFile { file });
}

pub fn more_writes_than_the_disk_takes_at_once_all_finish(harness: &mut Harness) {
    let dir = TempDir::new("writes");
    let file = harness.open(dir.0.join("log"), OpenMode::Write);
    let mut chunk = Chunk::new(harness.pattern(BLOCK_BYTES, 7));
    let writes: Vec<_> = (0..300u64)
        .map(|index| {
            let bufs = vec![chunk.blocks(0..BLOCK_BYTES)];
            harness.push(Op::Write { file, offset: index * BLOCK_BYTES as u64, bufs, sync: false })
        })
        .collect();
    // Cancelled while it waits for its turn, or too late: it answers either way.
    harness.push(Op::Cancel { token: writes[299] });
    for (index, write) in writes.into_iter().enumerate() {
        match harness.answer(write) {
            Done::Finished => {}
            Done::Failed(fault) if index == 299 => assert_eq!(fault.errno, libc::ECANCELED),
            done => panic!("{done:?}"),
        }
    }
    let got = read(harness, file, 298 * BLOCK_BYTES as u64, BLOCK_BYTES);
    assert_eq!(got.as_slice(), pattern(BLOCK_BYTES, 7));
    drop(got);
    let reads: Vec<_> = (0..200u64)
        .map(|index| {
            let buf = harness.pool.take(BLOCK_BYTES).expect("fits");
            harness.push(Op::Read { file, offset: index * BLOCK_BYTES as u64, buf })
        })
        .collect();
    for read in reads {
        let Done::Filled(buf) = harness.answer(read) else { panic!("read") };
        assert_eq!(buf.as_slice(), pattern(BLOCK_BYTES, 7));
    }
    harness.finish(Op::CloseFile { file });
}

pub fn a_read_ends_at_the_files_end(harness: &mut Harness) {
    let dir = TempDir::new("read");
    for bytes in [0, 1, BLOCK_BYTES, 3 * BLOCK_BYTES, 3 * BLOCK_BYTES + 5] {
        let path = dir.0.join(format!("file-{bytes}"));
        std::fs::write(&path, pattern(bytes, 3)).expect("written");
        let file = harness.open(path, OpenMode::Read);
        let got = read(harness, file, 0, 16 * BLOCK_BYTES);
        assert_eq!(got.as_slice(), pattern(bytes, 3));
        harness.finish(Op::CloseFile { file });
    }
}

pub fn room_is_allocated_and_cut(harness: &mut Harness) {
    let dir = TempDir::new("allocate");
    let file = harness.open(dir.0.join("log"), OpenMode::Write);
    harness.finish(Op::Allocate { file, offset: 0, len: 64 << 10 });
    let got = read(harness, file, 60 << 10, 8 << 10);
    assert_eq!(got.as_slice(), [0; 4 << 10]);
    harness.finish(Op::SetLen { file, len: 5000 });
    let entry = (String::from("log"), FileKind::File { len: 5000 });
    assert_eq!(names(harness, &dir.0), [entry]);
    harness.finish(Op::CloseFile { file });
}

pub fn directories_are_made_listed_and_removed_with_all_in_them(harness: &mut Harness) {
    let dir = TempDir::new("dirs");
    let deep = dir.0.join("a/b/c");
    harness.finish(Op::CreateDir { path: deep.clone() });
    harness.finish(Op::CreateDir { path: deep.clone() });
    let file = harness.open(deep.join("z"), OpenMode::Write);
    harness.finish(Op::CloseFile { file });
    harness.finish(Op::CreateDir { path: deep.join("y") });
    harness.finish(Op::SyncDir { path: deep.clone() });
    harness.finish(Op::SyncTree { path: deep.clone() });
    match harness.run(Op::Space { path: deep.clone() }) {
        Done::Space { free_bytes, total_bytes } => assert!(0 < free_bytes && free_bytes <= total_bytes),
        other => panic!("{other:?}"),
    }
    assert_eq!(harness.fails(Op::Space { path: deep.join("missing") }), libc::ENOENT);
    let entries = names(harness, &deep);
    assert_eq!(entries, [("y".into(), FileKind::Directory), ("z".into(), FileKind::File { len: 0 })]);
    harness.finish(Op::Remove { path: deep.join("z") });
    assert_eq!(names(harness, &deep).len(), 1);
    harness.finish(Op::Remove { path: dir.0.join("a") });
    assert_eq!(names(harness, &dir.0), []);
}

pub fn a_rename_replaces_its_target(harness: &mut Harness) {
    let dir = TempDir::new("rename");
    std::fs::write(dir.0.join("new"), "new").expect("written");
    std::fs::write(dir.0.join("current"), "old one").expect("written");
    harness.finish(Op::Rename { from: dir.0.join("new"), to: dir.0.join("current") });
    assert_eq!(names(harness, &dir.0), [("current".into(), FileKind::File { len: 3 })]);
}

pub fn a_missing_file_is_a_fault_and_a_missing_removal_is_none(harness: &mut Harness) {
    let dir = TempDir::new("missing");
    let missing = dir.0.join("missing");
    assert_eq!(harness.fails(Op::Open { path: missing.clone(), mode: OpenMode::Read }), libc::ENOENT);
    assert_eq!(harness.fails(Op::Open { path: missing.clone(), mode: OpenMode::Splice }), libc::ENOENT);
    assert_eq!(harness.fails(Op::List { path: missing.clone() }), libc::ENOENT);
    assert_eq!(harness.fails(Op::Sync { file: File(-1) }), libc::EBADF);
    harness.finish(Op::Remove { path: missing });
}

pub fn a_filesystem_without_direct_writes_is_used_all_the_same(harness: &mut Harness) {
    // A file of the kernel's own can be opened, but never for direct I/O.
    let before = ring::buffered_opens();
    let file = harness.open("/proc/self/status".into(), OpenMode::Read);
    assert!(ring::buffered_opens() > before);
    let got = read(harness, file, 0, BLOCK_BYTES);
    assert!(got.as_slice().starts_with(b"Name:"));
    harness.finish(Op::CloseFile { file });
}
