//! `corelog log`: the files of a data directory, read by whoever wants to look, beside a broker or without one.
//!
//! - [`dump`]: one file: the batches and records of a segment, the entries of an index, the frames of a journal or a
//!   checkpoint, the head of a small file.
//! - [`verify`]: a whole data directory: checksums, offsets, segments against each other and against their indexes, and
//!   the journal as a start would judge it.
//!
//! Reads with ordinary files, through windows of bounded size, files of frames whole; writes nothing. Invariants: no length found in a file is
//! believed beyond the file's end or above a limit; no byte in a file can make a command panic; a record is shown only
//! of a batch whose checksum is right.

mod dump;
mod frames;
mod head;
mod index;
mod kind;
mod line;
mod partition;
mod segment;
#[cfg(test)]
mod testing;
mod verify;
mod window;

pub use dump::{DumpOptions, dump};
pub use line::Form;
pub use verify::verify;

/// How what was read is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// As a broker writes it.
    Sound,
    /// Damaged in at least one place, each of which was reported.
    Damaged,
}
