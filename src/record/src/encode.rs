//! Compression of what a builder made, in the framings that Kafka's Java client reads.

use crate::Codec;
use flate2::Compression;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;

/// Appends `records`, compressed, to `out`.
pub(crate) fn compress(codec: Codec, records: &[u8], out: &mut Vec<u8>) {
    let mut encoder = Encoder::new(codec, std::mem::take(out));
    encoder.write(records);
    *out = encoder.finish();
}

/// A codec that takes records piece by piece.
pub(crate) enum Encoder {
    None(Vec<u8>),
    Gzip(GzEncoder<Vec<u8>>),
    /// What is compressed, and what is not a whole block yet.
    Snappy(Vec<u8>, Vec<u8>),
    Lz4(Box<FrameEncoder<Vec<u8>>>),
    Zstd(zstd::stream::write::Encoder<'static, Vec<u8>>),
}

impl Encoder {
    /// Writes behind what `out` holds.
    pub(crate) fn new(codec: Codec, mut out: Vec<u8>) -> Encoder {
        match codec {
            Codec::None => Encoder::None(out),
            Codec::Gzip => Encoder::Gzip(GzEncoder::new(out, Compression::default())),
            Codec::Snappy => {
                // Xerial's framing: a header, then blocks that each state their compressed length.
                out.extend_from_slice(b"\x82SNAPPY\0");
                out.extend_from_slice(&1u32.to_be_bytes()); // The version,
                out.extend_from_slice(&1u32.to_be_bytes()); // and the oldest that can read it.
                Encoder::Snappy(out, Vec::new())
            }
            Codec::Lz4 => {
                // The Java client refuses linked blocks.
                let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
                Encoder::Lz4(Box::new(FrameEncoder::with_frame_info(frame, out)))
            }
            Codec::Zstd => {
                let encoder = zstd::stream::write::Encoder::new(out, zstd::DEFAULT_COMPRESSION_LEVEL);
                Encoder::Zstd(encoder.expect(MEMORY))
            }
        }
    }

    pub(crate) fn write(&mut self, records: &[u8]) {
        match self {
            Encoder::None(out) => out.extend_from_slice(records),
            Encoder::Gzip(encoder) => encoder.write_all(records).expect(MEMORY),
            Encoder::Snappy(out, rest) => {
                rest.extend_from_slice(records);
                let whole = rest.len() / XERIAL_BLOCK_BYTES * XERIAL_BLOCK_BYTES;
                rest.drain(..whole).as_slice().chunks(XERIAL_BLOCK_BYTES).for_each(|block| xerial(block, out));
            }
            Encoder::Lz4(encoder) => encoder.write_all(records).expect(MEMORY),
            Encoder::Zstd(encoder) => encoder.write_all(records).expect(MEMORY),
        }
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        match self {
            Encoder::None(out) => out,
            Encoder::Gzip(encoder) => encoder.finish().expect(MEMORY),
            Encoder::Snappy(mut out, rest) => {
                if !rest.is_empty() {
                    xerial(&rest, &mut out);
                }
                out
            }
            Encoder::Lz4(encoder) => encoder.finish().expect(MEMORY),
            Encoder::Zstd(encoder) => encoder.finish().expect(MEMORY),
        }
    }
}

fn xerial(block: &[u8], out: &mut Vec<u8>) {
    let block = snap::raw::Encoder::new().compress_vec(block).expect(MEMORY);
    out.extend_from_slice(&u32::try_from(block.len()).expect("a block is small").to_be_bytes());
    out.extend_from_slice(&block);
}

const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
const MEMORY: &str = "compression into memory does not fail";
