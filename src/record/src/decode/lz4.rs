//! One LZ4 frame, block by block, with independent or linked blocks.
//! The frame is parsed here and not by the block crate's reader, which would allocate and clear what the frame header
//! claims (up to 8 MiB) for a batch of 100 bytes: a block's buffer is bounded by what its bytes can expand to.
//! More than one frame is refused, because Kafka's own consumer reads only the first.

use super::{DecodeError, grow, take, take_array};
use std::cell::Cell;
use std::hash::Hasher;
use twox_hash::XxHash32;

pub(crate) struct Decoder {
    state: State,
    at: usize,
    block: Vec<u8>,
    /// The last 64 KiB of output, kept only for linked blocks.
    history: Vec<u8>,
    content_bytes: u64,
    content_hash: XxHash32,
}

#[derive(Clone, Copy)]
enum State {
    Start,
    Blocks(Frame),
    End,
}

/// A frame's descriptor.
#[derive(Clone, Copy)]
struct Frame {
    linked: bool,
    block_checksums: bool,
    content_checksum: bool,
    content_bytes: Option<u64>,
    block_bytes_max: usize,
}

thread_local! {
    /// The block buffer of the last decoder: a new one would have to be cleared for every batch, up to 4 MiB.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Drop for Decoder {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.block));
    }
}

impl Decoder {
    pub(crate) fn new() -> Decoder {
        Decoder {
            state: State::Start,
            at: 0,
            block: SPARE.take(),
            history: Vec::new(),
            content_bytes: 0,
            content_hash: XxHash32::with_seed(0),
        }
    }

    pub(crate) fn next<'s>(&'s mut self, input: &'s [u8]) -> Result<&'s [u8], DecodeError> {
        loop {
            match self.state {
                State::Start => self.state = State::Blocks(Frame::parse(input, &mut self.at)?),
                State::End => return Ok(&[]),
                State::Blocks(frame) => {
                    let size = u32::from_le_bytes(take_array(input, &mut self.at)?);
                    if size == 0 {
                        self.end(frame, input)?;
                        self.state = State::End;
                        continue;
                    }
                    let stored = size & STORED_BIT != 0;
                    let bytes = usize::try_from(size & !STORED_BIT).map_err(|_| DecodeError::Malformed)?;
                    if bytes > frame.block_bytes_max {
                        return Err(DecodeError::Malformed);
                    }
                    let block = take(input, &mut self.at, bytes)?;
                    if frame.block_checksums {
                        check_hash(XxHash32::oneshot(0, block), take_array(input, &mut self.at)?)?;
                    }
                    let made = if stored { self.store(block) } else { self.decompress(frame, block)? };
                    self.account(frame, made);
                    if made > 0 {
                        return Ok(&self.block[..made]);
                    }
                }
            }
        }
    }

    fn store(&mut self, block: &[u8]) -> usize {
        grow(&mut self.block, block.len()).copy_from_slice(block);
        block.len()
    }

    fn decompress(&mut self, frame: Frame, block: &[u8]) -> Result<usize, DecodeError> {
        let bytes_max = block.len().saturating_mul(RATIO_MAX).min(frame.block_bytes_max);
        let out = grow(&mut self.block, bytes_max);
        let made = if frame.linked && !self.history.is_empty() {
            lz4_flex::block::decompress_into_with_dict(block, out, &self.history)
        } else {
            lz4_flex::block::decompress_into(block, out)
        };
        made.map_err(|_| DecodeError::Malformed)
    }

    /// Remembers what later blocks and the frame's end need of the `made` bytes in `block`.
    fn account(&mut self, frame: Frame, made: usize) {
        let out = &self.block[..made];
        self.content_bytes = self.content_bytes.saturating_add(u64::try_from(made).unwrap_or(u64::MAX));
        if frame.content_checksum {
            self.content_hash.write(out);
        }
        if frame.linked {
            let fresh = &out[out.len().saturating_sub(HISTORY_BYTES)..];
            let excess = (self.history.len() + fresh.len()).saturating_sub(HISTORY_BYTES);
            self.history.drain(..excess);
            self.history.extend_from_slice(fresh);
        }
    }

    fn end(&mut self, frame: Frame, input: &[u8]) -> Result<(), DecodeError> {
        if frame.content_checksum {
            check_hash(self.content_hash.finish_32(), take_array(input, &mut self.at)?)?;
        }
        let complete = frame.content_bytes.is_none_or(|stated| stated == self.content_bytes);
        if complete && self.at == input.len() { Ok(()) } else { Err(DecodeError::Malformed) }
    }
}

impl Frame {
    fn parse(input: &[u8], at: &mut usize) -> Result<Frame, DecodeError> {
        if take_array(input, at)? != FRAME_MAGIC {
            return Err(DecodeError::Malformed);
        }
        let descriptor_at = *at;
        let [flags, block_descriptor] = take_array(input, at)?;
        // Version 01, the reserved bits clear, and no dictionary: nobody could have told us which.
        if flags & 0b1100_0011 != 0b0100_0000 || block_descriptor & 0b1000_1111 != 0 {
            return Err(DecodeError::Malformed);
        }
        let block_bytes_max = match block_descriptor >> 4 {
            4 => 64 * 1024,
            5 => 256 * 1024,
            6 => 1024 * 1024,
            7 => 4 * 1024 * 1024,
            _ => return Err(DecodeError::Malformed),
        };
        let content_bytes = match flags & 0b1000 {
            0 => None,
            _ => Some(u64::from_le_bytes(take_array(input, at)?)),
        };
        let descriptor = input.get(descriptor_at..*at).ok_or(DecodeError::Malformed)?;
        let [check] = take_array(input, at)?;
        if XxHash32::oneshot(0, descriptor).to_be_bytes()[2] != check {
            return Err(DecodeError::Malformed);
        }
        Ok(Frame {
            linked: flags & 0b10_0000 == 0,
            block_checksums: flags & 0b1_0000 != 0,
            content_checksum: flags & 0b100 != 0,
            content_bytes,
            block_bytes_max,
        })
    }
}

fn check_hash(computed: u32, stated: [u8; 4]) -> Result<(), DecodeError> {
    if computed == u32::from_le_bytes(stated) { Ok(()) } else { Err(DecodeError::Malformed) }
}

const FRAME_MAGIC: [u8; 4] = 0x184d_2204_u32.to_le_bytes();
const STORED_BIT: u32 = 1 << 31;
const HISTORY_BYTES: usize = 64 * 1024; // A match reaches back at most 65,535 bytes.

/// A length byte of 255 makes 255 bytes; nothing in the format makes more.
const RATIO_MAX: usize = 255;
