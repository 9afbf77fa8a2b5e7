//! Reads a log of the broker's own from its start: batch by batch, a bounded piece at a time.

use std::collections::VecDeque;
use std::fmt;

use effect::{BLOCK_BYTES, Buf, Done, Fault, Op, Token};
use log::{Lease, LogRef, Piece, Read, ReadError, ReadFrom};
use model::Offset;
use record::{BatchView, Record, RecordError, Records};

use crate::context::Context;
use crate::home::Home;

/// How far the reading is.
pub(crate) struct LogReader {
    log: LogRef,
    token: Token,
    next: Offset,
    end: Offset,
    /// Pieces of the range that is being read, and what has come of it.
    pieces: VecDeque<Piece>,
    bytes: Vec<u8>,
    /// A read in flight: its lease, and which part of the blocks is wanted.
    reading: Option<(Lease, usize, usize)>,
}

/// What a step came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Progress {
    /// Something has to come from the disk or the pool first.
    Waits,
    /// Go on whenever it suits.
    More,
    /// All is read.
    Done,
}

/// Why the log cannot be read.
#[derive(Debug)]
pub(crate) enum ReadFailure<E> {
    Read(ReadError),
    Fault(Fault),
    /// Fewer bytes than the log says it has.
    Short,
    Batch(Offset, RecordError),
    /// What the records say is wrong.
    Applied(Offset, E),
}

impl LogReader {
    /// Reads what is from `start` up to `end`; completions come under `token`.
    pub(crate) fn new(log: LogRef, token: Token, start: Offset, end: Offset) -> LogReader {
        LogReader { log, token, next: start, end, pieces: VecDeque::new(), bytes: Vec::new(), reading: None }
    }

    /// Reads on, at most one range. `apply` gets the records of each batch.
    pub(crate) fn step<E>(
        &mut self,
        home: &mut Home,
        context: &mut Context<'_>,
        mut apply: impl FnMut(&[Record<'_>]) -> Result<(), E>,
    ) -> Result<Progress, ReadFailure<E>> {
        loop {
            if self.reading.is_some() {
                return Ok(Progress::Waits);
            }
            match self.pieces.pop_front() {
                Some(Piece::Memory(buf)) => self.bytes.extend_from_slice(&buf),
                Some(Piece::File { file, offset, len, lease }) => {
                    let start = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
                    let skip = (offset - start) as usize;
                    let mut buf = context.memory.take_over(skip + len as usize);
                    buf.limit((skip + len as usize).next_multiple_of(BLOCK_BYTES));
                    self.reading = Some((lease, skip, len as usize));
                    context.out.push(self.token, Op::Read { file, offset: start, buf });
                }
                None if !self.bytes.is_empty() => {
                    self.apply(&mut apply)?;
                    return Ok(if self.next >= self.end { Progress::Done } else { Progress::More });
                }
                None if self.next >= self.end => return Ok(Progress::Done),
                None => {
                    let from =
                        ReadFrom { offset: self.next, up_to: self.end, max_bytes: READ_BYTES, min_one_batch: true };
                    match home.log().read(self.log, from, context.out) {
                        Ok(Read::Ready(batches)) if batches.pieces.is_empty() => return Err(ReadFailure::Short),
                        Ok(Read::Ready(batches)) => self.pieces = batches.pieces.into(),
                        Ok(Read::Pending) | Err(ReadError::Busy) => return Ok(Progress::Waits),
                        Err(error) => return Err(ReadFailure::Read(error)),
                    }
                }
            }
        }
    }

    /// What its reads are known by.
    pub(crate) fn token(&self) -> Token {
        self.token
    }

    /// Whether a read is in flight, whose completion is awaited.
    pub(crate) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Blocks of a file have come.
    pub(crate) fn complete<E>(
        &mut self,
        done: Done,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<(), ReadFailure<E>> {
        let Some((lease, skip, len)) = self.reading.take() else { return Ok(()) };
        home.release(lease, context.out);
        let read: Buf = match done {
            Done::Filled(buf) => buf.freeze(),
            Done::Failed(fault) => return Err(ReadFailure::Fault(fault)),
            other => unreachable!("a read is answered by {other:?}"),
        };
        self.bytes.extend_from_slice(read.get(skip..skip + len).ok_or(ReadFailure::Short)?);
        Ok(())
    }

    /// Gives back what is lent, once nothing is in flight.
    pub(crate) fn abandon(&mut self, home: &mut Home, context: &mut Context<'_>) {
        for piece in self.pieces.drain(..) {
            if let Piece::File { lease, .. } = piece {
                home.release(lease, context.out);
            }
        }
    }

    fn apply<E>(&mut self, apply: &mut impl FnMut(&[Record<'_>]) -> Result<(), E>) -> Result<(), ReadFailure<E>> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let failed = |error| ReadFailure::Batch(self.next, error);
            let batch = BatchView::first(rest).map_err(failed)?;
            rest = &rest[batch.bytes().len()..];
            let records = Records::read(batch, BATCH_BYTES_MAX).map_err(failed)?;
            let records = records.iter().collect::<Result<Vec<_>, _>>().map_err(failed)?;
            apply(&records).map_err(|error| ReadFailure::Applied(self.next, error))?;
            self.next = batch.header().next_offset();
        }
        Ok(())
    }
}

impl<E: fmt::Display> fmt::Display for ReadFailure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadFailure::Read(error) => write!(f, "it cannot be read: {error:?}"),
            ReadFailure::Fault(fault) => write!(f, "it cannot be read: {fault}"),
            ReadFailure::Short => write!(f, "it is shorter than it was"),
            ReadFailure::Batch(at, error) => write!(f, "at offset {at}: {}", error.message()),
            ReadFailure::Applied(at, error) => write!(f, "at offset {at}: {error}"),
        }
    }
}

const READ_BYTES: usize = 1 << 20;

/// What the broker writes is not compressed; of what is, no more than this is believed.
const BATCH_BYTES_MAX: usize = 128 << 20;
