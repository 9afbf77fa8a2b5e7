//! A whole batch in borrowed bytes, and the walk over several.
//! Invariant: a `BatchView` that exists has a good length, magic and checksum, and its header's fields make sense.

use crate::header::{ATTRIBUTES_AT, CRC_AT, HEADER_BYTES, frame_bytes};
use crate::{BatchFault, Corruption, Header, RecordError, crc};

/// One record batch with everything but its records checked.
#[derive(Clone, Copy, Debug)]
pub struct BatchView<'a> {
    header: Header,
    bytes: &'a [u8],
}

impl<'a> BatchView<'a> {
    /// The batch at the beginning of `bytes`; more may follow.
    pub fn first(bytes: &'a [u8]) -> Result<BatchView<'a>, RecordError> {
        let size_bytes = frame_bytes(bytes)?;
        let bytes = bytes.get(..size_bytes).ok_or(RecordError::Corrupt(Corruption::Truncated))?;
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(RecordError::Corrupt(Corruption::Truncated))?;
        // The checksum before the fields: what it does not cover is not worth a finer answer.
        if crc::crc32c(&bytes[ATTRIBUTES_AT..]).to_be_bytes() != header[CRC_AT..ATTRIBUTES_AT] {
            return Err(RecordError::Corrupt(Corruption::Crc));
        }
        Ok(BatchView { header: Header::parse(header)?, bytes })
    }

    /// `bytes` as one batch and nothing else: the records of a Produce request.
    pub fn only(bytes: &'a [u8]) -> Result<BatchView<'a>, RecordError> {
        if bytes.is_empty() {
            return Err(RecordError::Batch(BatchFault::Missing));
        }
        let view = BatchView::first(bytes)?;
        if view.bytes.len() != bytes.len() {
            return Err(RecordError::Batch(BatchFault::MoreThanOne));
        }
        Ok(view)
    }

    /// The parsed header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// All of the batch's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// What follows the header: the records, compressed if there is a codec.
    pub fn payload(&self) -> &'a [u8] {
        &self.bytes[HEADER_BYTES..]
    }
}

/// Batches one after the other. Ends after the first that is bad; `position_bytes` then is where it begins.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    bytes: &'a [u8],
    position_bytes: usize,
    failed: bool,
}

impl<'a> Batches<'a> {
    /// Over `bytes`, from their beginning.
    pub fn new(bytes: &'a [u8]) -> Batches<'a> {
        Batches { bytes, position_bytes: 0, failed: false }
    }

    /// Where the next batch begins: everything before it was good.
    pub fn position_bytes(&self) -> usize {
        self.position_bytes
    }
}

impl<'a> Iterator for Batches<'a> {
    type Item = Result<BatchView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = &self.bytes[self.position_bytes..];
        if rest.is_empty() || self.failed {
            return None;
        }
        let batch = BatchView::first(rest);
        match &batch {
            Ok(view) => self.position_bytes += view.bytes.len(),
            Err(_) => self.failed = true,
        }
        Some(batch)
    }
}
