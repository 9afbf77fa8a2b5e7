//! Decompression of a batch's payload, one window at a time.
//! Owns at most one window and what the codec must remember; never a whole payload's output, except the one block of
//! unframed snappy, which is bounded. The compressed bytes stay with the caller, who passes the same ones every time.

mod gzip;
mod lz4;
mod snappy;
mod zstd;

use crate::{BatchFault, Codec, RecordError};

/// Output of a codec that decompresses into a window of our choice.
pub(crate) const WINDOW_BYTES: usize = 64 * 1024;

/// Why a payload does not decompress.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DecodeError {
    /// Not what the codec writes, cut off, or followed by something else.
    Malformed,
    /// Asks for more memory than is allowed.
    TooLarge,
}

impl From<DecodeError> for RecordError {
    fn from(error: DecodeError) -> RecordError {
        match error {
            DecodeError::Malformed => RecordError::Batch(BatchFault::Compression),
            DecodeError::TooLarge => RecordError::TooLarge,
        }
    }
}

/// A codec in the middle of a payload.
pub(crate) enum Decoder {
    Gzip(gzip::Decoder),
    Snappy(snappy::Decoder),
    Lz4(lz4::Decoder),
    Zstd(zstd::Decoder),
}

impl Decoder {
    /// At the beginning of a payload; `None` if it is not compressed.
    pub(crate) fn new(codec: Codec) -> Option<Decoder> {
        match codec {
            Codec::None => None,
            Codec::Gzip => Some(Decoder::Gzip(gzip::Decoder::new())),
            Codec::Snappy => Some(Decoder::Snappy(snappy::Decoder::new())),
            Codec::Lz4 => Some(Decoder::Lz4(lz4::Decoder::new())),
            Codec::Zstd => Some(Decoder::Zstd(zstd::Decoder::new())),
        }
    }

    /// The next decompressed bytes; none at the end, and then all of `input` was used.
    pub(crate) fn next<'s>(&'s mut self, input: &'s [u8]) -> Result<&'s [u8], DecodeError> {
        match self {
            Decoder::Gzip(decoder) => decoder.next(input),
            Decoder::Snappy(decoder) => decoder.next(input),
            Decoder::Lz4(decoder) => decoder.next(input),
            Decoder::Zstd(decoder) => decoder.next(input),
        }
    }
}

/// Takes `count` bytes of `input` at `*at`.
fn take<'a>(input: &'a [u8], at: &mut usize, count: usize) -> Result<&'a [u8], DecodeError> {
    let end = at.checked_add(count).ok_or(DecodeError::Malformed)?;
    let taken = input.get(*at..end).ok_or(DecodeError::Malformed)?;
    *at = end;
    Ok(taken)
}

/// Takes an array of `input` at `*at`.
fn take_array<const N: usize>(input: &[u8], at: &mut usize) -> Result<[u8; N], DecodeError> {
    let taken = take(input, at, N)?;
    taken.try_into().map_err(|_| DecodeError::Malformed)
}

/// A buffer of at least `bytes`, grown but never shrunk, so that growth is paid once.
fn grow(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    if buffer.len() < bytes {
        buffer.resize(bytes, 0);
    }
    &mut buffer[..bytes]
}
