//! Snappy in its two framings: xerial's blocks, as the Java client writes them, and one raw block.
//! A block is decompressed whole. Xerial's are small; a raw one is the whole payload, so it has a bound of its own.

use super::{DecodeError, grow, take, take_array};

pub(crate) struct Decoder {
    raw: snap::raw::Decoder,
    state: State,
    at: usize,
    block: Vec<u8>,
}

enum State {
    Start,
    Xerial,
    End,
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder { raw: snap::raw::Decoder::new(), state: State::Start, at: 0, block: Vec::new() }
    }

    pub(crate) fn next(&mut self, input: &[u8]) -> Result<&[u8], DecodeError> {
        loop {
            let block = match self.state {
                State::Start if input.starts_with(&XERIAL_MAGIC) => {
                    take(input, &mut self.at, XERIAL_HEADER_BYTES)?;
                    self.state = State::Xerial;
                    continue;
                }
                State::Start => {
                    self.at = input.len();
                    self.state = State::End;
                    input
                }
                State::Xerial if self.at == input.len() => {
                    self.state = State::End;
                    continue;
                }
                State::Xerial => {
                    let bytes = i32::from_be_bytes(take_array(input, &mut self.at)?);
                    take(input, &mut self.at, usize::try_from(bytes).map_err(|_| DecodeError::Malformed)?)?
                }
                State::End => return Ok(&[]),
            };
            let made = decompress(&mut self.raw, block, &mut self.block)?;
            if made > 0 {
                return Ok(&self.block[..made]);
            }
        }
    }
}

fn decompress(raw: &mut snap::raw::Decoder, block: &[u8], out: &mut Vec<u8>) -> Result<usize, DecodeError> {
    let stated_bytes = snap::raw::decompress_len(block).map_err(|_| DecodeError::Malformed)?;
    // The statement is believed only as far as the block's bytes could reach.
    if stated_bytes / RATIO_MAX > block.len() {
        return Err(DecodeError::Malformed);
    }
    if stated_bytes > BLOCK_BYTES_MAX {
        return Err(DecodeError::TooLarge);
    }
    raw.decompress(block, grow(out, stated_bytes)).map_err(|_| DecodeError::Malformed)
}

const XERIAL_MAGIC: [u8; 8] = *b"\x82SNAPPY\0";
const XERIAL_HEADER_BYTES: usize = 16; // The magic, the version and the oldest compatible version.

/// A copy element makes 64 bytes out of 3; nothing in the format makes more.
const RATIO_MAX: usize = 22;

/// Clients that write raw blocks bound a batch before compression, commonly at 1 MB.
const BLOCK_BYTES_MAX: usize = 16 * 1024 * 1024;
