//! Compression of what a builder made, in the framings that Kafka's Java client reads.

use crate::Codec;
use flate2::Compression;
use flate2::write::GzEncoder;
use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
use std::io::Write;

/// Appends `records`, compressed, to `out`.
pub(crate) fn compress(codec: Codec, records: &[u8], out: &mut Vec<u8>) {
    match codec {
        Codec::None => out.extend_from_slice(records),
        Codec::Gzip => {
            let mut encoder = GzEncoder::new(out, Compression::default());
            encoder.write_all(records).and_then(|()| encoder.finish().map(drop)).expect(MEMORY);
        }
        Codec::Snappy => xerial(records, out),
        Codec::Lz4 => {
            // The Java client refuses linked blocks.
            let frame = FrameInfo::new().block_mode(BlockMode::Independent).block_size(BlockSize::Max64KB);
            let mut encoder = FrameEncoder::with_frame_info(frame, out);
            encoder.write_all(records).expect(MEMORY);
            encoder.finish().expect(MEMORY);
        }
        Codec::Zstd => zstd::stream::copy_encode(records, out, zstd::DEFAULT_COMPRESSION_LEVEL).expect(MEMORY),
    }
}

/// Xerial's framing: a header, then blocks that each state their compressed length.
fn xerial(records: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"\x82SNAPPY\0");
    out.extend_from_slice(&1u32.to_be_bytes()); // The version,
    out.extend_from_slice(&1u32.to_be_bytes()); // and the oldest that can read it.
    for block in records.chunks(XERIAL_BLOCK_BYTES) {
        let block = snap::raw::Encoder::new().compress_vec(block).expect(MEMORY);
        out.extend_from_slice(&u32::try_from(block.len()).expect("a block is small").to_be_bytes());
        out.extend_from_slice(&block);
    }
}

const XERIAL_BLOCK_BYTES: usize = 32 * 1024;
const MEMORY: &str = "compression into memory does not fail";
