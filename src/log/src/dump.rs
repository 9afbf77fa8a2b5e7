//! Files of frames for whoever looks at them from outside: journals and checkpoints, frame by frame, and what a start
//! would make of all of them together. Byte layout in `FORMATS.md`. Touches no file.

use std::sync::Arc;

use model::{Offset, TopicPartition};

use crate::Run;
use crate::checkpoint::record::{Record, records};
use crate::index::Place;
use crate::journal::assemble::{ReadFile, What, assemble};
use crate::journal::entry::{Entry as JournalEntry, entries};
use crate::journal::frame::{HEAD_BYTES, Head, Kind, MAGIC, NoFrame, crc};
use crate::journal::name::{Name, Superseded};
use crate::segment::BLOCK;

pub use crate::journal::name::DIRECTORY;

/// What such a file begins with.
pub const FRAME_MAGIC: [u8; 4] = MAGIC;

/// A frame whose head is whole.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Where it begins.
    pub position: u64,
    /// Its length, head included, without what fills its last block.
    pub bytes: u64,
    /// A checkpoint's, not a journal's.
    pub is_checkpoint: bool,
    /// Who wrote it.
    pub run: Run,
    /// Its number.
    pub sequence: u64,
    /// The checksum of the head before its own.
    pub previous: u32,
    /// Of a checkpoint: the first frame of the journal that it leaves to be replayed.
    pub keep: u64,
    /// A checkpoint's last.
    pub last: bool,
    /// What it says; none if it is not whole or not to be understood.
    pub entries: Option<Vec<(TopicPartition, Entry)>>,
}

/// What a frame says of one log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Batches for a segment.
    Batches {
        /// Its base offset.
        segment: Offset,
        /// Where in it they belong.
        position: u64,
        /// How many bytes.
        bytes: usize,
    },
    /// Batches that are in their segment but for the last bytes.
    Direct {
        /// Its base offset.
        segment: Offset,
        /// The offset after them.
        end: Offset,
        /// Where in the segment they end.
        position: u64,
        /// So many bytes are in the frame.
        tail_bytes: usize,
    },
    /// Records before it are deleted.
    Start {
        /// The first that is not.
        offset: Offset,
    },
    /// A run went on from here.
    Resume {
        /// The last segment's base offset.
        segment: Offset,
        /// The log's end.
        end: Offset,
        /// Where that is in the segment.
        position: u64,
    },
    /// A checkpoint's: what the log was.
    Log {
        /// Its first record that is not deleted.
        start: Offset,
        /// How many closed segments it has.
        closed: usize,
        /// The base offset of the one after them.
        segment: Offset,
        /// The log's end.
        end: Offset,
        /// Where that is in the segment.
        position: u64,
        /// How many producers it knows.
        producers: usize,
    },
}

/// What is at a place of a file.
#[derive(Clone, Debug)]
pub enum Found {
    /// A frame.
    Frame(Frame),
    /// A frame's magic with a version that this release does not know.
    Version {
        /// Where.
        position: u64,
        /// Which.
        version: u16,
    },
}

/// Why a start would refuse a log directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Refusal {
    /// The file's name.
    pub file: String,
    /// Where in it.
    pub position: u64,
    /// What is wrong.
    pub what: String,
}

/// Whatever begins like a frame in a file's bytes, in order, stale ones too.
pub fn frames(bytes: &[u8]) -> Vec<Found> {
    let file = Arc::new(bytes.to_vec());
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let position = at as u64;
        at += BLOCK as usize;
        match Head::decode(rest) {
            Ok((head, _)) => {
                let frame = frame(&file, position, &head);
                if frame.entries.is_some() {
                    at = usize::try_from((position + frame.bytes).next_multiple_of(BLOCK)).unwrap_or(usize::MAX);
                }
                found.push(Found::Frame(frame));
            }
            Err(NoFrame::Version(version)) => found.push(Found::Version { position, version }),
            Err(NoFrame::Torn) => {}
        }
    }
    found
}

fn frame(file: &Arc<Vec<u8>>, position: u64, head: &Head) -> Frame {
    let is_checkpoint = head.kind == Kind::Checkpoint;
    let bytes = HEAD_BYTES as u64 + u64::from(head.body_bytes);
    let body = usize::try_from(position).ok().zip(usize::try_from(position + bytes).ok());
    let body = body.map(|(from, to)| from + HEAD_BYTES..to);
    let whole = body.filter(|body| file.get(body.clone()).is_some_and(|body| crc(body) == head.body_crc));
    let entries = whole.and_then(|body| match is_checkpoint {
        true => Some(records(file, body)?.iter().map(|record| (record.at, of_record(record))).collect()),
        false => Some(entries(file, body)?.iter().map(|(at, entry)| (*at, of_entry(entry))).collect()),
    });
    let Head { run, sequence, previous, keep, last, .. } = *head;
    Frame { position, bytes, is_checkpoint, run, sequence, previous, keep, last, entries }
}

fn of_entry(entry: &JournalEntry) -> Entry {
    match entry {
        JournalEntry::Batches { base, position, bytes } => {
            Entry::Batches { segment: *base, position: u64::from(*position), bytes: bytes.len() }
        }
        JournalEntry::Direct { base, end: Place { offset, position }, tail, .. } => {
            Entry::Direct { segment: *base, end: *offset, position: *position, tail_bytes: tail.len() }
        }
        JournalEntry::Start { offset } => Entry::Start { offset: *offset },
        JournalEntry::Resume { base, end: Place { offset, position } } => {
            Entry::Resume { segment: *base, end: *offset, position: *position }
        }
    }
}

fn of_record(record: &Record) -> Entry {
    Entry::Log {
        start: record.start,
        closed: record.closed.len(),
        segment: record.last.base,
        end: record.last.end.offset,
        position: record.last.end.position,
        producers: record.knowledge.producers.by_id.len(),
    }
}

/// How many logs a start with these runs finds in the files of a journal's directory, given by name; or why it refuses
/// them. Names that are not the journal's are passed over.
pub fn judge(files: Vec<(String, Vec<u8>)>, runs: &[Run]) -> Result<usize, Refusal> {
    let superseded: Vec<_> = files.iter().filter_map(|(name, _)| Superseded::parse(name)).collect();
    let of_name =
        |(name, bytes): (String, Vec<u8>)| Some(ReadFile { name: Name::parse(&name)?, bytes: Arc::new(bytes) });
    let files: Vec<_> = files.into_iter().filter_map(of_name).collect();
    match assemble(&files, runs, &superseded, |_| true) {
        Ok(logs) => Ok(logs.len()),
        Err(damage) => {
            let what = match damage.what {
                What::MissingFrame(sequence) => format!("frame {sequence} is missing before later ones"),
                What::Unintelligible => "a whole frame says what this release does not understand".to_owned(),
                What::Version(version) => format!("frame version {version}, which this release does not know"),
                What::TooLong => "longer than any file of ours".to_owned(),
            };
            Err(Refusal { file: damage.file, position: damage.position, what })
        }
    }
}

/// Whether a file's name is one of a journal's directory.
pub fn is_known(name: &str) -> bool {
    Name::parse(name).is_some() || Superseded::parse(name).is_some()
}
