//! Payloads that expand a thousandfold. Alone in its process, as it watches the process's memory.

use model::Timestamp;
use record::{BatchBuilder, Codec, Progress, Rules, TimestampBounds, Validator};
use std::io::Write;

const ANY: Rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };

/// A batch of one record with a value of `value_bytes` zeros, compressed without ever being whole in memory.
fn bomb(codec: Codec, value_bytes: u64) -> Vec<u8> {
    let mut body = vec![0, 0, 0, 1];
    put_varint(value_bytes, &mut body);
    let mut start = Vec::new();
    put_varint(body.len() as u64 + value_bytes + 1, &mut start);
    start.extend_from_slice(&body);
    let fill = |out: &mut dyn Write| {
        out.write_all(&start).unwrap();
        let zeros = vec![0; 1 << 20];
        for _ in 0..value_bytes >> 20 {
            out.write_all(&zeros).unwrap();
        }
        out.write_all(&[0]).unwrap();
    };
    let payload = match codec {
        Codec::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        Codec::Zstd => {
            let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        Codec::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            fill(&mut encoder);
            encoder.finish().unwrap()
        }
        Codec::None | Codec::Snappy => unreachable!("not a bomb"),
    };
    let mut builder = BatchBuilder::new(codec);
    builder.append(Timestamp(0), None, None, &[]);
    builder.build_with_payload(&payload)
}

fn put_varint(value: u64, out: &mut Vec<u8>) {
    let mut rest = value << 1;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

#[test]
fn a_bomb_is_defused_in_bounded_steps_and_memory() {
    const BUDGET_BYTES: usize = 1 << 20;
    let value_bytes: u64 = 1 << 30;
    for codec in [Codec::Gzip, Codec::Lz4, Codec::Zstd] {
        let batch = bomb(codec, value_bytes);
        let memory_before = resident_peak_bytes();
        let mut validator = Validator::new(&batch, ANY).unwrap();
        let mut steps = 0;
        let verdict = loop {
            steps += 1;
            if let Progress::Done(verdict) = validator.step(&batch, BUDGET_BYTES) {
                break verdict;
            }
        };
        assert_eq!(verdict.map(|validated| validated.record_count), Ok(1), "{codec:?}");
        // A step overshoots its budget by at most the largest block, 4 MiB.
        assert!(steps >= value_bytes / (5 << 20), "{codec:?}: {steps} steps");
        let grown = resident_peak_bytes() - memory_before;
        assert!(grown < 64 << 20, "{codec:?}: {grown} bytes");
    }
}

/// The most memory that this process ever held at once.
fn resident_peak_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib * 1024
}
