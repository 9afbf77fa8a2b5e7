//! Journals and checkpoints: each frame of a file, and whether a start takes what is in a log directory.
//! Owns how they are shown. What a frame says, and what is torn or damaged, is the room `log`'s to judge.

use std::io;
use std::path::Path;

use log::Run;
use log::dump::{DIRECTORY, Entry, FRAME_MAGIC, Found, Frame, frames, is_known, judge};
use model::TopicPartition;
use serde_json::{Value, json};

use super::Verdict;
use super::line::Lines;
use super::verify::Report;

/// Whether `start`, the first bytes of a file, are those of a frame.
pub(crate) fn begins(start: &[u8]) -> bool {
    start.starts_with(&FRAME_MAGIC)
}

/// Whether a file is one of a journal's directory: its first frame may be torn, or none be there yet.
pub(crate) fn is_named(name: &str) -> bool {
    is_known(name)
}

/// Shows every frame. One that is not whole may be torn, which is no damage; `verify` tells them apart.
pub(crate) fn dump(path: &Path, lines: &mut Lines<'_>) -> io::Result<Verdict> {
    let mut verdict = Verdict::Sound;
    for found in frames(&read(path)?) {
        match found {
            Found::Frame(frame) => {
                lines.line(|| frame_text(&frame), || frame_json(&frame))?;
                for (at, entry) in frame.entries.iter().flatten() {
                    lines.line(|| entry_text(*at, *entry), || entry_json(*at, *entry))?;
                }
            }
            Found::Version { position, version } => {
                verdict = Verdict::Damaged;
                let what = format!("frame version {version}, which this release does not know");
                lines.line(
                    || format!("position {position}: DAMAGED: {what}"),
                    || json!({"type": "damage", "position": position, "what": what}),
                )?;
            }
        }
    }
    Ok(verdict)
}

/// Checks the journal of a log directory as a start would; whether there is one. `at_rest`: no broker writes to it.
pub(crate) fn check(directory: &Path, at_rest: bool, report: &mut Report<'_>) -> io::Result<bool> {
    let journal = directory.join(DIRECTORY);
    let entries = match std::fs::read_dir(&journal) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().filter(|name| is_known(name)) {
            files.push((name.to_owned(), read(&entry.path())?));
        }
    }
    files.sort();
    let runs = directory.join(RUNS_FILE);
    let known = match read(&runs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        bytes => parse_runs(&bytes?),
    };
    let Some(known) = known else {
        report.damage(&runs, 0, "there is a journal, and this does not say which runs wrote it")?;
        return Ok(true);
    };
    if let Err(refusal) = judge(files, &known) {
        let path = journal.join(&refusal.file);
        match at_rest {
            true => report.damage(&path, refusal.position, &refusal.what)?,
            false => report.note(&path, refusal.position, &format!("{}; a broker is writing here", refusal.what))?,
        }
    }
    Ok(true)
}

/// A whole file: a journal has a fixed length, far below this limit, and a checkpoint is bounded by what it says.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    if std::fs::metadata(path)?.len() > FILE_BYTES_MAX {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than any file of frames"));
    }
    std::fs::read(path)
}

fn parse_runs(bytes: &[u8]) -> Option<Vec<Run>> {
    let run = |line: &str| {
        let (number, salt) = line.split_once(' ')?;
        Some(Run { number: number.parse().ok()?, salt: u64::from_str_radix(salt, 16).ok()? })
    };
    std::str::from_utf8(bytes).ok()?.lines().filter_map(|line| line.strip_prefix("run ")).map(run).collect()
}

fn kind(frame: &Frame) -> &'static str {
    if frame.is_checkpoint { "checkpoint" } else { "journal" }
}

fn frame_text(frame: &Frame) -> String {
    let Frame { position, bytes, sequence, keep, run, .. } = frame;
    let keep = if frame.is_checkpoint { format!(", keeps frames from {keep} on") } else { String::new() };
    let last = if frame.last { ", its last" } else { "" };
    let whole = if frame.entries.is_some() { "whole" } else { "NOT WHOLE" };
    let kind = kind(frame);
    format!("position {position}: {kind} frame {sequence} of run {}, {bytes} bytes, {whole}{keep}{last}", run.number)
}

fn frame_json(frame: &Frame) -> Value {
    json!({
        "type": "frame", "kind": kind(frame), "position": frame.position, "bytes": frame.bytes,
        "run": frame.run.number, "salt": format!("{:016x}", frame.run.salt), "sequence": frame.sequence,
        "previous": frame.previous, "keep": frame.keep, "last": frame.last, "whole": frame.entries.is_some(),
    })
}

fn entry_text(at: TopicPartition, entry: Entry) -> String {
    let what = match entry {
        Entry::Batches { segment, position, bytes } => {
            format!("{bytes} bytes of batches at {position} of segment {segment}")
        }
        Entry::Direct { segment, end, position, tail_bytes } => {
            format!("batches in segment {segment} up to offset {end} at {position}, the last {tail_bytes} bytes here")
        }
        Entry::Start { offset } => format!("begins at offset {offset}"),
        Entry::Resume { segment, end, position } => {
            format!("found to end in segment {segment} with offset {end} at {position}")
        }
        Entry::Log { start, closed, segment, end, position, producers } => format!(
            "from offset {start}, {closed} closed segments, then segment {segment} up to offset {end} at {position}, \
             {producers} producers"
        ),
    };
    format!("  {} {}: {what}", at.topic, at.partition)
}

fn entry_json(at: TopicPartition, entry: Entry) -> Value {
    let mut value = match entry {
        Entry::Batches { segment, position, bytes } => {
            json!({"type": "batches", "segment": segment.get(), "position": position, "bytes": bytes})
        }
        Entry::Direct { segment, end, position, tail_bytes } => json!({
            "type": "direct", "segment": segment.get(), "end_offset": end.get(), "position": position,
            "tail_bytes": tail_bytes,
        }),
        Entry::Start { offset } => json!({"type": "start", "offset": offset.get()}),
        Entry::Resume { segment, end, position } => {
            json!({"type": "resume", "segment": segment.get(), "end_offset": end.get(), "position": position})
        }
        Entry::Log { start, closed, segment, end, position, producers } => json!({
            "type": "log", "start": start.get(), "closed_segments": closed, "segment": segment.get(),
            "end_offset": end.get(), "position": position, "producers": producers,
        }),
    };
    value["topic_id"] = at.topic.to_string().into();
    value["partition"] = at.partition.into();
    value
}

const RUNS_FILE: &str = "corelog.runs";
const FILE_BYTES_MAX: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_files::{DumpOptions, Form, dump, verify};
    use std::path::PathBuf;

    /// A copy of the data directory that the room `log` keeps, with the runs that wrote it.
    fn directory() -> tempfile::TempDir {
        let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src/log/tests/fixtures/v1");
        let copy = tempfile::tempdir().expect("a directory");
        for partition in std::fs::read_dir(fixture).expect("it is committed") {
            let partition = partition.expect("readable");
            let to = copy.path().join(partition.file_name());
            std::fs::create_dir(&to).expect("made");
            for file in std::fs::read_dir(partition.path()).expect("readable") {
                let file = file.expect("readable");
                std::fs::copy(file.path(), to.join(file.file_name())).expect("copied");
            }
        }
        let runs = "run 1 0000000000000001\nrun 2 0000000000000002\ndirectory /data\n";
        std::fs::write(copy.path().join(RUNS_FILE), runs).expect("written");
        copy
    }

    fn shown(path: &Path) -> (String, Verdict) {
        let mut out = Vec::new();
        let options = DumpOptions { form: Form::Human, records: false };
        let verdict = dump(path, options, &mut out).expect("reads");
        (String::from_utf8(out).expect("text"), verdict)
    }

    fn verified(directory: &Path) -> (String, Verdict) {
        let mut out = Vec::new();
        let verdict = verify(directory, Form::Human, &mut out).expect("reads");
        (String::from_utf8(out).expect("text"), verdict)
    }

    fn journal(directory: &Path) -> PathBuf {
        directory.join("journal/1.0.3.journal")
    }

    #[test]
    fn frames_are_shown_with_what_they_say() {
        let copy = directory();
        let (text, verdict) = shown(&journal(copy.path()));
        assert_eq!(verdict, Verdict::Sound);
        for words in ["journal frame 1 of run 2", "begins at offset 3", "found to end in segment", "the last "] {
            assert!(text.contains(words), "{words}: {text}");
        }
        let (text, verdict) = shown(&copy.path().join("journal/1.0.4.checkpoint"));
        assert_eq!(verdict, Verdict::Sound);
        assert!(text.contains("keeps frames from") && text.contains("3 closed segments"), "{text}");
    }

    #[test]
    fn a_sound_directory_is_told_from_one_that_a_start_refuses() {
        let copy = directory();
        let (text, verdict) = verified(copy.path());
        assert_eq!(verdict, Verdict::Sound, "{text}");
        let mut bytes = std::fs::read(journal(copy.path())).expect("readable");
        let last = bytes.len() - 4096;
        bytes[last + 70] ^= 1;
        std::fs::write(journal(copy.path()), &bytes).expect("written");
        let (text, verdict) = verified(copy.path());
        assert_eq!(verdict, Verdict::Sound, "a torn last frame is none's: {text}");
        bytes[last - 4096 + 20] ^= 1;
        bytes[last + 70] ^= 1;
        std::fs::write(journal(copy.path()), &bytes).expect("written");
        let (text, verdict) = verified(copy.path());
        assert_eq!(verdict, Verdict::Damaged);
        assert!(text.contains("is missing before later ones"), "{text}");
        bytes[5] = 9;
        std::fs::write(journal(copy.path()), &bytes).expect("written");
        let (text, _) = verified(copy.path());
        assert!(text.contains("frame version 9"), "{text}");
        assert_eq!(shown(&journal(copy.path())).1, Verdict::Damaged);
    }
}
