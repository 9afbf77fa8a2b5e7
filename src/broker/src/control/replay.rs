//! Reads the metadata log from its start, at the broker's start: batch by batch into an image.

use std::collections::VecDeque;
use std::fmt;

use controller::{Image, ReplayError, replay_set};
use effect::{BLOCK_BYTES, Buf, Done, Fault, Op};
use log::{Lease, LogRef, Piece, Read, ReadError, ReadFrom};
use model::Offset;
use record::{BatchView, RecordError, Records};

use crate::context::Context;
use crate::control::read_token;
use crate::home::Home;

/// How far the reading is.
pub(super) struct Replay {
    log: LogRef,
    image: Image,
    record_count: u64,
    next: Offset,
    /// Known once the log is open.
    end: Option<Offset>,
    /// Pieces of the range that is being read, and what has come of it.
    pieces: VecDeque<Piece>,
    bytes: Vec<u8>,
    /// A read in flight: its lease, and which part of the blocks is wanted.
    reading: Option<(Lease, usize, usize)>,
}

/// Why the metadata cannot be read.
#[derive(Debug)]
pub(super) enum ReplayFailure {
    Read(ReadError),
    Fault(Fault),
    /// Fewer bytes than the log says it has.
    Short,
    Batch(Offset, RecordError),
    Records(Offset, ReplayError),
}

impl Replay {
    pub(super) fn new(log: LogRef) -> Replay {
        Replay {
            log,
            image: Image::empty(),
            record_count: 0,
            next: Offset::ZERO,
            end: None,
            pieces: VecDeque::new(),
            bytes: Vec::new(),
            reading: None,
        }
    }

    /// The log is open.
    pub(super) fn begin(&mut self, start: Offset, end: Offset) {
        self.next = start;
        self.end = Some(end);
    }

    /// Reads on. Once all is read: the image and how many records led to it.
    pub(super) fn step(
        &mut self,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<Option<(Image, u64)>, ReplayFailure> {
        let Some(end) = self.end else { return Ok(None) };
        loop {
            if self.reading.is_some() {
                return Ok(None);
            }
            match self.pieces.pop_front() {
                Some(Piece::Memory(buf)) => self.bytes.extend_from_slice(&buf),
                Some(Piece::File { file, offset, len, lease }) => {
                    let start = offset / BLOCK_BYTES as u64 * BLOCK_BYTES as u64;
                    let skip = (offset - start) as usize;
                    let mut buf = context.memory.take_over(skip + len as usize);
                    buf.limit((skip + len as usize).next_multiple_of(BLOCK_BYTES));
                    self.reading = Some((lease, skip, len as usize));
                    context.out.push(read_token(), Op::Read { file, offset: start, buf });
                }
                None => {
                    self.apply()?;
                    if self.next >= end {
                        return Ok(Some((std::mem::take(&mut self.image), self.record_count)));
                    }
                    let from = ReadFrom { offset: self.next, up_to: end, max_bytes: READ_BYTES, min_one_batch: true };
                    match home.log().read(self.log, from, context.out) {
                        Ok(Read::Ready(batches)) if batches.pieces.is_empty() => return Err(ReplayFailure::Short),
                        Ok(Read::Ready(batches)) => self.pieces = batches.pieces.into(),
                        Ok(Read::Pending) => return Ok(None),
                        Err(error) => return Err(ReplayFailure::Read(error)),
                    }
                }
            }
        }
    }

    /// Blocks of a file have come.
    pub(super) fn complete(
        &mut self,
        done: Done,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<(), ReplayFailure> {
        let Some((lease, skip, len)) = self.reading.take() else { return Ok(()) };
        home.release(lease, context.out);
        let read: Buf = match done {
            Done::Filled(buf) => buf.freeze(),
            Done::Failed(fault) => return Err(ReplayFailure::Fault(fault)),
            other => unreachable!("a read is answered by {other:?}"),
        };
        self.bytes.extend_from_slice(read.get(skip..skip + len).ok_or(ReplayFailure::Short)?);
        Ok(())
    }

    /// Applies the batches that have been read; each is one record set.
    fn apply(&mut self) -> Result<(), ReplayFailure> {
        let bytes = std::mem::take(&mut self.bytes);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let batch = BatchView::first(rest).map_err(|error| ReplayFailure::Batch(self.next, error))?;
            rest = &rest[batch.bytes().len()..];
            let records = Records::read(batch, usize::MAX).map_err(|error| ReplayFailure::Batch(self.next, error))?;
            let records = records.iter().collect::<Result<Vec<_>, _>>();
            let records = records.map_err(|error| ReplayFailure::Batch(self.next, error))?;
            let payloads = records.iter().map(|record| record.value.unwrap_or_default());
            let image = std::mem::take(&mut self.image);
            self.image = replay_set(image, payloads).map_err(|error| ReplayFailure::Records(self.next, error))?;
            self.record_count += u64::from(batch.header().record_count);
            self.next = batch.header().next_offset();
        }
        Ok(())
    }
}

impl fmt::Display for ReplayFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayFailure::Read(error) => write!(f, "the metadata log cannot be read: {error:?}"),
            ReplayFailure::Fault(fault) => write!(f, "the metadata log cannot be read: {fault}"),
            ReplayFailure::Short => write!(f, "the metadata log is shorter than it was"),
            ReplayFailure::Batch(at, error) => write!(f, "the metadata log at offset {at}: {}", error.message()),
            ReplayFailure::Records(at, error) => write!(f, "the metadata log at offset {at}: {error}"),
        }
    }
}

const READ_BYTES: usize = 1 << 20;
