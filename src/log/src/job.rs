//! What each operation in flight is for.
//! Invariant: a job is inserted with its operation and removed by its completion, exactly once.

use effect::{Effects, File, Instant, Op, Slots, Token};
use model::Offset;

use crate::checkpoint::CheckpointStep;
use crate::files::HandleId;
use crate::index::Place;
use crate::journal::{DiscardStep, FileStep, ReadStep};
use crate::{LogRef, ROOM};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Job {
    pub(crate) log: LogRef,
    pub(crate) work: Work,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Work {
    /// A file is closed: nobody waits.
    Close,
    /// A directory or file that is not in use goes: nobody waits.
    Discard,
    /// A file of the table is opened.
    OpenFile(HandleId),
    Recover(RecoverStep),
    Metadata(MetadataStep),
    /// Of a log directory, not of a log.
    Root(usize, RootWork),
    /// A segment's space grows to this length.
    Allocate {
        base: Offset,
        handle: HandleId,
        len: u64,
    },
    /// A new segment's name becomes durable, and then that of its directory.
    NameSync {
        base: Offset,
    },
    DirSync {
        base: Offset,
    },
    /// What was written without a sync becomes durable, before what is written directly may follow it.
    FileSync {
        base: Offset,
        handle: HandleId,
    },
    /// Durable blocks are written to their segment.
    Destage {
        base: Offset,
        handle: HandleId,
        to: u64,
        bytes: u64,
        sync: bool,
    },
    /// Batches are written to their segment, and not to the journal.
    Direct {
        base: Offset,
        handle: HandleId,
        to: Place,
        bytes: u64,
        issued: Instant,
    },
    /// A full segment's file is cut to its length.
    Cut {
        base: Offset,
        handle: HandleId,
    },
    ColdRead {
        handle: HandleId,
        bytes: usize,
    },
    /// A step of the writing of a closed segment's index.
    IndexWrite(IndexStep),
    /// A file of an index is opened to be read.
    IndexOpen,
    IndexRead(File),
    ScrubRead {
        handle: HandleId,
    },
    DropRemove {
        is_index: bool,
    },
    RemoveRename,
    RemoveSync,
    Clean(CleanStep),
    Swap(SwapStep),
}

/// A step of a compaction, up to the swap of what it wrote.
#[derive(Clone, Copy, Debug)]
pub(crate) enum CleanStep {
    Read(HandleId),
    Open,
    Write,
    Cut,
    Sync,
}

/// A step of the exchange of old segments for a compacted one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SwapStep {
    /// The indexes of the old ones go.
    Unindex,
    UnindexSync,
    /// The new file becomes one that counts.
    Commit,
    CommitSync,
    Remove,
    RemoveSync,
    /// It gets the name of the first that it replaces.
    Name,
    NameSync,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum RecoverStep {
    List,
    MetadataOpen,
    MetadataRead(File),
    Stray,
    StraySync,
    /// What an exchange of segments left behind is put in order.
    Leftover,
    Scan(HandleId),
    Cut(HandleId),
    CutSync(HandleId),
    Verify(HandleId),
    VerifySync(HandleId),
}

/// The making of a directory, and of `partition.metadata` in it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum MetadataStep {
    CreateDir,
    Open,
    Write,
    SetLen,
}

/// What is done for a log directory.
#[derive(Clone, Copy, Debug)]
pub(crate) enum RootWork {
    /// Nobody waits.
    Close,
    Remove,
    Read(ReadStep),
    /// A file of the journal is made.
    File(u64, FileStep),
    Frame,
    /// How much room there is.
    Space,
    Checkpoint(CheckpointStep),
    Discard(DiscardStep),
}

/// The writing of one of an index's files.
#[derive(Clone, Copy, Debug)]
pub(crate) enum IndexStep {
    Open,
    Write,
    SetLen,
}

#[derive(Debug, Default)]
pub(crate) struct Jobs {
    slots: Slots<Job>,
}

impl Jobs {
    pub(crate) fn push(&mut self, job: Job, op: Op, out: &mut Effects) {
        let kind = op.kind() as u8;
        let (slot, generation) = self.slots.insert(job);
        out.push(Token { room: ROOM, kind, generation, slot }, op);
    }

    pub(crate) fn take(&mut self, token: Token) -> Job {
        assert!(token.room == ROOM);
        self.slots.remove(token.slot, token.generation).expect("the token was issued by this log, and is answered once")
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }
}
