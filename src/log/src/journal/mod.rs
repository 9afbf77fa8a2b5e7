//! The journal of one log directory, as one shard writes it: what a turn appended, for all logs, in one synced write.
//! Owns files, sequence and what waits; `commit.rs` gathers frames, `files.rs` makes and reuses files, `read.rs` and
//! `assemble.rs` read what an earlier run left.
//!
//! Invariants: one frame in flight; a frame goes only into space that was written before; a file is reused only when no
//! checkpoint that may still be needed leaves its frames to be replayed.

pub(crate) mod assemble;
mod commit;
mod discard;
pub(crate) mod entry;
mod files;
pub(crate) mod frame;
pub(crate) mod name;
mod read;

use std::collections::{BTreeSet, VecDeque};

use effect::{File, Instant};
use model::Offset;

pub(crate) use self::commit::Carried;
pub(crate) use self::discard::DiscardStep;
pub(crate) use self::files::FileStep;
pub(crate) use self::read::{ReadStep, Reading};
use crate::LogRef;

/// One directory's journal.
#[derive(Debug)]
pub(crate) struct Journal {
    /// The next frame's.
    pub(crate) sequence: u64,
    /// The checksum of the last frame's head.
    pub(crate) previous: u32,
    pub(crate) files: Vec<JournalFile>,
    /// The file that frames go to, and where the next one goes.
    pub(crate) active: Option<usize>,
    pub(crate) position: u64,
    /// The next file's number.
    pub(crate) next_number: u64,
    /// A file is being made.
    pub(crate) making: bool,
    /// The next frame waits for a file.
    pub(crate) blocked: bool,
    /// The frame in flight.
    pub(crate) in_flight: Option<Frame>,
    /// Logs with something that is in no frame yet; each at most once.
    pub(crate) waiting: VecDeque<LogRef>,
    /// Logs whose start moved, and where to, that are in no frame yet.
    pub(crate) starts: VecDeque<(LogRef, Offset)>,
    /// Direct writes that are not over, by the frames that speak of them.
    pub(crate) directs: BTreeSet<(u64, LogRef)>,
    /// Bytes of frames, and of direct writes, since the last checkpoint began.
    pub(crate) bytes: u64,
    pub(crate) direct_bytes: u64,
}

/// A file of the journal.
#[derive(Debug)]
pub(crate) struct JournalFile {
    pub(crate) number: u64,
    pub(crate) file: Option<File>,
    pub(crate) bytes: u64,
    /// The last frame of this run in it; `None` if it has none.
    pub(crate) last: Option<u64>,
    pub(crate) state: FileState,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum FileState {
    /// Being made: nothing may go there yet.
    Making,
    /// Frames may go there.
    Free,
    /// The frames of now.
    Active,
    /// Frames that may be needed.
    Full,
    /// Frames of an earlier run, which may be needed until this run has had two checkpoints.
    Old,
}

/// A frame on its way.
#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) carried: Vec<Carried>,
    pub(crate) starts: Vec<(LogRef, Offset)>,
    pub(crate) bytes: u64,
    pub(crate) issued: Instant,
}

impl Journal {
    pub(crate) fn new() -> Journal {
        Journal {
            sequence: 1,
            previous: 0,
            files: Vec::new(),
            active: None,
            position: 0,
            next_number: 1,
            making: false,
            blocked: false,
            in_flight: None,
            waiting: VecDeque::new(),
            starts: VecDeque::new(),
            directs: BTreeSet::new(),
            bytes: 0,
            direct_bytes: 0,
        }
    }

    /// The first frame that is not durable.
    pub(crate) fn first_pending(&self) -> u64 {
        self.sequence - u64::from(self.in_flight.is_some())
    }

    /// Whether there is something to commit and nothing in the way but the end of the turn.
    pub(crate) fn is_ready(&self) -> bool {
        self.in_flight.is_none() && self.active.is_some() && !(self.waiting.is_empty() && self.starts.is_empty())
    }

    pub(crate) fn total_bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }
}
