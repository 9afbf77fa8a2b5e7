//! `corelog log verify`: every partition of a data directory.

use std::fs::{File, TryLockError};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::json;

use super::kind::base_offset;
use super::line::{Form, Lines};
use super::{Verdict, frames, partition};

/// Checks a data directory, or a partition's own, and reports on `out`. An error is the directory's or the output's;
/// damage is reported and told by the verdict. While a broker has the directory, or where there is a journal, what is
/// wrong at the end of a partition's last segment is only noted: it may just be written, or the journal has the rest.
pub fn verify(directory: &Path, form: Form, out: &mut dyn Write) -> io::Result<Verdict> {
    let mut report = Report { lines: Lines::new(form, out), sum: Sum::default() };
    let at_rest = !in_use(directory)?;
    let (partitions, files) = content(directory)?;
    if files.iter().any(|path| base_offset(path).is_some()) {
        partition::check(directory, at_rest, &mut report)?;
    } else {
        for path in &files {
            partition::check_head(path, &mut report)?;
        }
        let has_journal = frames::check(directory, at_rest, &mut report)?;
        for partition in &partitions {
            partition::check(partition, at_rest && !has_journal, &mut report)?;
        }
    }
    report.close()
}

/// What is found, and how much was looked at.
pub(crate) struct Report<'a> {
    lines: Lines<'a>,
    pub(crate) sum: Sum,
}

#[derive(Default)]
pub(crate) struct Sum {
    pub(crate) partitions: u64,
    pub(crate) segments: u64,
    pub(crate) batches: u64,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
    damaged: u64,
    notes: u64,
}

impl Report<'_> {
    pub(crate) fn damage(&mut self, file: &Path, position: u64, what: &str) -> io::Result<()> {
        self.sum.damaged += 1;
        self.finding("damage", "DAMAGED", file, position, what)
    }

    pub(crate) fn note(&mut self, file: &Path, position: u64, what: &str) -> io::Result<()> {
        self.sum.notes += 1;
        self.finding("note", "note", file, position, what)
    }

    fn finding(&mut self, kind: &str, word: &str, file: &Path, position: u64, what: &str) -> io::Result<()> {
        let file = file.display().to_string();
        self.lines.line(
            || format!("{word}: {file} at {position}: {what}"),
            || json!({"type": kind, "file": file, "position": position, "what": what}),
        )
    }

    fn close(mut self) -> io::Result<Verdict> {
        let Sum { partitions, segments, batches, records, bytes, damaged, notes } = self.sum;
        self.lines.line(
            || {
                format!(
                    "{partitions} partitions, {segments} segments, {batches} batches, {records} records, {bytes} bytes: \
                     {damaged} damaged, {notes} noted"
                )
            },
            || {
                json!({
                    "type": "summary", "partitions": partitions, "segments": segments, "batches": batches,
                    "records": records, "bytes": bytes, "damaged": damaged, "notes": notes,
                })
            },
        )?;
        Ok(if damaged == 0 { Verdict::Sound } else { Verdict::Damaged })
    }
}

/// Whether a broker holds the directory's lock. The look is over at once: no start of a broker waits for it.
fn in_use(directory: &Path) -> io::Result<bool> {
    let parent = directory.parent().map(|parent| parent.join(LOCK_FILE));
    for path in [Some(directory.join(LOCK_FILE)), parent].into_iter().flatten() {
        match File::open(path) {
            Ok(lock) => match lock.try_lock_shared() {
                Ok(()) => return Ok(false),
                Err(TryLockError::WouldBlock) => return Ok(true),
                Err(TryLockError::Error(error)) => return Err(error),
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(false)
}

/// Partitions' directories and plain files, in the order of their names.
fn content(directory: &Path) -> io::Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let (mut partitions, mut files) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let kind = entry.file_type()?;
        if kind.is_file() {
            files.push(entry.path());
        } else if kind.is_dir() && entry.file_name().to_str().is_some_and(is_partition) {
            partitions.push(entry.path());
        }
    }
    partitions.sort();
    files.sort();
    Ok((partitions, files))
}

/// `<topic>-<partition>`; what a deleted topic left ends otherwise.
fn is_partition(name: &str) -> bool {
    name.rsplit_once('-').is_some_and(|(topic, index)| !topic.is_empty() && index.parse::<u32>().is_ok())
}

const LOCK_FILE: &str = ".lock";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_files::testing::{batch, index, time_index, timestamp};
    use serde_json::Value;

    /// A directory with one partition of these files, checked.
    fn found(files: &[(&str, &[u8])], locked: bool) -> Vec<String> {
        let directory = tempfile::tempdir().expect("a directory");
        let partition = directory.path().join("topic-with-dashes-0");
        std::fs::create_dir(&partition).expect("made");
        let lock = File::create(directory.path().join(LOCK_FILE)).expect("made");
        if locked {
            lock.lock().expect("free");
        }
        for (name, bytes) in files {
            std::fs::write(partition.join(name), bytes).expect("written");
        }
        let mut out = Vec::new();
        let verdict = verify(directory.path(), Form::Json, &mut out).expect("reads");
        let lines: Vec<Value> =
            out.split(|byte| *byte == b'\n').filter_map(|it| serde_json::from_slice(it).ok()).collect();
        let (summary, findings) = lines.split_last().expect("a summary");
        assert_eq!((&summary["type"], &summary["partitions"]), (&json!("summary"), &json!(1)));
        assert_eq!(summary["damaged"] != json!(0), verdict == Verdict::Damaged);
        let short = |line: &Value| {
            let file = line["file"].as_str().expect("a file").rsplit('/').next().expect("a name").to_owned();
            format!("{} {file} {}: {}", line["type"].as_str().expect("a type"), line["position"], line["what"])
        };
        findings.iter().map(short).collect()
    }

    fn check(files: &[(&str, &[u8])], expected: &[&str]) {
        let found = found(files, false);
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.contains(expected), "{found} has no {expected}");
        }
    }

    const FIRST: &str = "00000000000000000000.log";
    const THIRD: &str = "00000000000000000003.log";

    #[test]
    fn whole_segments_with_right_indexes_are_sound() {
        let first = [batch(0, 2), batch(2, 1)].concat();
        let position = u32::try_from(batch(0, 2).len()).expect("small");
        check(
            &[
                (FIRST, &first),
                (THIRD, &[batch(3, 4), vec![0; 4096]].concat()),
                ("00000000000000000000.index", &index(&[(2, position)])),
                ("00000000000000000000.timeindex", &time_index(&[(timestamp(1).0, 1), (timestamp(2).0, 2)])),
                ("00000000000000000003.index", &[]),
                ("partition.metadata", b"version: 0\n"),
            ],
            &[],
        );
    }

    #[test]
    fn a_flipped_bit_is_found_with_file_and_position() {
        let mut first = [batch(0, 2), batch(2, 1)].concat();
        let at = batch(0, 2).len();
        first[at + 40] ^= 4;
        let expected = format!("damage {FIRST} {at}: \"record batch checksum does not match\"");
        check(&[(FIRST, &first), (THIRD, &batch(3, 4))], &[&expected]);
    }

    #[test]
    fn segments_must_follow_each_other() {
        check(
            &[(FIRST, &batch(0, 4)), (THIRD, &batch(3, 4))],
            &["begins at offset 3, the segment before it ends at 4"],
        );
        check(
            &[(FIRST, &batch(0, 2)), (THIRD, &batch(3, 4))],
            &["damage 00000000000000000003.log 0: \"no segment holds"],
        );
        let thinned = [batch(0, 1), batch(5, 1)].concat();
        check(&[(FIRST, &thinned), ("00000000000000000009.log", &batch(9, 4))], &["note 00000000000000000009.log 0"]);
    }

    #[test]
    fn offsets_within_a_segment_must_rise_from_its_base() {
        let expected = "a batch begins at offset 2, expected 3 or above";
        check(&[(FIRST, &[batch(0, 3), batch(2, 2)].concat())], &[expected]);
        check(&[(THIRD, &batch(2, 2))], &[expected]);
    }

    #[test]
    fn an_unfinished_tail_is_damage_only_where_no_broker_writes() {
        let whole = [batch(0, 2), batch(2, 1)].concat();
        let torn = &whole[..whole.len() - 1];
        check(&[(FIRST, torn)], &["a torn tail, if the broker was killed"]);
        let found = found(&[(FIRST, torn)], true);
        assert!(found.len() == 1 && found[0].starts_with("note "), "{found:?}");
        check(&[(FIRST, torn), (THIRD, &batch(3, 1))], &["damage 00000000000000000000.log"]);
    }

    #[test]
    fn indexes_that_point_elsewhere_are_damaged() {
        let first = [batch(0, 2), batch(2, 1)].concat();
        let position = u32::try_from(batch(0, 2).len()).expect("small");
        for (entries, expected) in [
            (index(&[(2, position + 1)]), "an entry points beyond the last batch"),
            (index(&[(2, position - 1)]), "offset 2 is said to be at position"),
            (index(&[(1, position)]), "offset 1 is said to be at position"),
            (index(&[(2, position)])[..7].to_vec(), "the file ends within an entry"),
        ] {
            check(&[(FIRST, &first), ("00000000000000000000.index", &entries)], &[expected]);
        }
        let late = time_index(&[(timestamp(2).0, 1)]);
        check(
            &[(FIRST, &first), ("00000000000000000000.timeindex", &late)],
            &["timestamp 1002 is said to be at offset 1"],
        );
    }

    #[test]
    fn snapshots_that_are_damaged_are_reported() {
        check(&[(FIRST, &batch(0, 1)), ("00000000000000000001.snapshot", b"CLPS\0\x01")], &["cut off within its head"]);
        let unknown = [&b"CLPS\0\x09"[..], &[0; 10]].concat();
        check(&[(FIRST, &batch(0, 1)), ("00000000000000000001.snapshot", &unknown)], &["of version 9"]);
    }
}
