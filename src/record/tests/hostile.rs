//! Bytes made to hurt: every prefix, thousands of mutations, and payloads that expand a thousandfold.

use model::Timestamp;
use record::{
    BatchBuilder, BatchFault, BatchView, Codec, Progress, RecordError, RecordHeader, Records, Rules, TimestampBounds,
    Validator, first_at_or_after, patch, validate,
};
use std::io::Write;

const ANY: Rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };
const HEADER_BYTES: usize = 61;

/// A small generator of repeatable noise.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

fn builder(codec: Codec, noise: &mut Noise) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    for at in 0..1 + noise.below(20) as i64 {
        let text = vec![b'a' + noise.below(26) as u8; noise.below(200)];
        let headers = [RecordHeader { key: b"name", value: Some(&text) }, RecordHeader { key: b"", value: None }];
        let key = (noise.below(2) == 0).then_some(text.as_slice());
        let value = (noise.below(4) != 0).then_some(text.as_slice());
        builder.append(Timestamp(1_700_000_000_000 + at), key, value, &headers[..noise.below(3)]);
    }
    builder
}

/// Everything that reads a batch; only the absence of panics and the steps' agreement matter.
fn read_all(bytes: &[u8]) {
    let whole = validate(bytes, ANY);
    if let Ok(mut validator) = Validator::new(bytes, ANY) {
        let stepped = loop {
            if let Progress::Done(verdict) = validator.step(bytes, 1) {
                break verdict;
            }
        };
        assert_eq!(stepped, whole);
    }
    let _ = first_at_or_after(bytes, Timestamp(1_700_000_000_005));
    if let Ok(view) = BatchView::first(bytes)
        && let Ok(records) = Records::read(view, 1 << 20)
    {
        let good = records.iter().filter(Result::is_ok).count();
        if whole.is_ok() {
            assert_eq!(good, view.header().record_count as usize);
        }
    }
}

#[test]
fn no_prefix_of_a_valid_batch_panics() {
    let mut noise = Noise(1);
    for codec in Codec::ALL {
        let batch = builder(codec, &mut noise).build();
        assert!(validate(&batch, ANY).is_ok());
        for cut in 0..batch.len() {
            read_all(&batch[..cut]);
            if cut >= HEADER_BYTES {
                // A prefix that says so itself: only the records are cut off.
                let mut cut = batch[..cut].to_vec();
                let length = (cut.len() - 12) as i32;
                cut[8..12].copy_from_slice(&length.to_be_bytes());
                patch::seal(&mut cut);
                read_all(&cut);
                assert!(validate(&cut, ANY).is_err());
            }
        }
    }
}

#[test]
fn no_mutation_of_a_valid_batch_panics() {
    let mut noise = Noise(2);
    for round in 0..4000 {
        let codec = Codec::ALL[round % Codec::ALL.len()];
        let mut batch = builder(codec, &mut noise).build();
        for _ in 0..1 + noise.below(4) {
            // Mostly behind the frame, or nothing but the frame would ever be tried.
            let from = if noise.below(8) == 0 { 0 } else { 17 };
            let at = from + noise.below(batch.len() - from);
            batch[at] = noise.next() as u8;
        }
        patch::seal(&mut batch);
        read_all(&batch);
    }
}

#[test]
fn random_payloads_never_panic() {
    let mut noise = Noise(3);
    for round in 0..4000 {
        let codec = Codec::ALL[round % Codec::ALL.len()];
        let mut payload: Vec<u8> = match codec {
            Codec::None => vec![],
            Codec::Gzip => vec![0x1f, 0x8b, 8, noise.next() as u8 & 0x1f],
            Codec::Snappy => b"\x82SNAPPY\0\0\0\0\x01\0\0\0\x01\0\0\0"[..noise.below(2) * 19].to_vec(),
            Codec::Lz4 => vec![0x04, 0x22, 0x4d, 0x18, 0x40, 0x40, 0xc0],
            Codec::Zstd => vec![0x28, 0xb5, 0x2f, 0xfd],
        };
        payload.extend((0..noise.below(64)).map(|_| noise.next() as u8));
        let batch = builder(codec, &mut noise).build_with_payload(&payload);
        read_all(&batch);
    }
}

#[test]
fn bytes_after_the_compressed_records_are_refused() {
    let mut noise = Noise(4);
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let builder = builder(codec, &mut noise);
        let batch = builder.build();
        let longer = builder.build_with_payload(&[&batch[HEADER_BYTES..], &[1]].concat());
        assert_eq!(validate(&longer, ANY), Err(RecordError::Batch(BatchFault::Compression)), "{codec:?}");
    }
}

#[test]
fn members_and_frames_may_follow_each_other_where_consumers_read_them() {
    for codec in [Codec::Gzip, Codec::Zstd] {
        let mut noise = Noise(5);
        let builder = builder(codec, &mut noise);
        let (head, tail) = builder.records().split_at(5);
        let payload = [compress(codec, head), compress(codec, tail)].concat();
        assert!(validate(&builder.build_with_payload(&payload), ANY).is_ok());
    }
}

fn compress(codec: Codec, bytes: &[u8]) -> Vec<u8> {
    match codec {
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            encoder.write_all(bytes).unwrap();
            encoder.finish().unwrap()
        }
        Codec::Zstd => zstd::stream::encode_all(bytes, 1).unwrap(),
        Codec::None | Codec::Snappy | Codec::Lz4 => unreachable!("not asked for"),
    }
}

#[test]
fn lz4_frames_of_every_shape_pass() {
    use lz4_flex::frame::{BlockMode, BlockSize, FrameEncoder, FrameInfo};
    let mut builder = BatchBuilder::new(Codec::Lz4);
    let mut noise = Noise(6);
    for _ in 0..400 {
        let value: Vec<u8> = (0..1000).map(|_| b'a' + noise.below(4) as u8).collect();
        builder.append(Timestamp(5), None, Some(&value), &[]);
    }
    for mode in [BlockMode::Independent, BlockMode::Linked] {
        for size in [BlockSize::Max64KB, BlockSize::Max256KB, BlockSize::Max1MB, BlockSize::Max4MB] {
            for checksums in 0..4 {
                for content in [None, Some(builder.records_bytes() as u64)] {
                    let info = FrameInfo::new()
                        .block_mode(mode)
                        .block_size(size)
                        .block_checksums(checksums & 1 != 0)
                        .content_checksum(checksums & 2 != 0)
                        .content_size(content);
                    let mut encoder = FrameEncoder::with_frame_info(info.clone(), Vec::new());
                    encoder.write_all(builder.records()).unwrap();
                    let batch = builder.build_with_payload(&encoder.finish().unwrap());
                    assert!(validate(&batch, ANY).is_ok(), "{info:?}");
                }
            }
        }
    }
}

#[test]
fn raw_snappy_passes_and_its_stated_length_is_not_believed() {
    let mut noise = Noise(7);
    let builder = builder(Codec::Snappy, &mut noise);
    let raw = snap::raw::Encoder::new().compress_vec(builder.records()).unwrap();
    assert!(validate(&builder.build_with_payload(&raw), ANY).is_ok());
    // 4 GiB - 1 stated, nothing behind it.
    let stated = [0xff, 0xff, 0xff, 0xff, 0x0f];
    let refusal = validate(&builder.build_with_payload(&stated), ANY);
    assert_eq!(refusal, Err(RecordError::Batch(BatchFault::Compression)));
    // As much as 17 MiB of zeros really have: more than one block may hold.
    let large = snap::raw::Encoder::new().compress_vec(&vec![0; 17 << 20]).unwrap();
    assert_eq!(validate(&builder.build_with_payload(&large), ANY), Err(RecordError::TooLarge));
}

#[test]
fn a_wide_zstd_window_is_taken_as_long_as_little_of_it_is_used() {
    let check = |window_log, value_bytes, expected| {
        let mut builder = BatchBuilder::new(Codec::Zstd);
        builder.append(Timestamp(0), None, Some(&vec![7; value_bytes]), &[]);
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.window_log(window_log).unwrap();
        encoder.write_all(builder.records()).unwrap();
        let batch = builder.build_with_payload(&encoder.finish().unwrap());
        assert_eq!(validate(&batch, ANY).map(drop), expected, "{window_log} {value_bytes}");
    };
    check(23, 100, Ok(()));
    check(23, 9 << 20, Ok(()));
    check(27, 100, Ok(()));
    check(27, 7 << 20, Ok(()));
    check(27, 9 << 20, Err(RecordError::TooLarge));
    check(28, 100, Err(RecordError::TooLarge));
}
