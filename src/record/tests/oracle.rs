//! Another implementation's batches are read here, and ours there, record for record, with every codec.

use bytes::{Bytes, BytesMut};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as theirs;
use model::{Offset, ProducerEpoch, ProducerId, Timestamp};
use record::{BatchBuilder, BatchView, Codec, Producer, RecordHeader, Records, Rules, TimestampBounds, validate};

const ANY: Rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };

/// What both sides must agree on.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Plain {
    offset: i64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(String, Option<Vec<u8>>)>,
}

/// Records of many shapes: 2 MiB altogether, so that every codec needs several blocks.
fn samples(base_offset: i64) -> Vec<Plain> {
    let bytes = |length: usize, seed: usize| (0..length).map(|at| ((at * at + seed) % 61) as u8).collect::<Vec<u8>>();
    (0..300)
        .map(|at| Plain {
            offset: base_offset + at as i64,
            timestamp: 1_700_000_000_000 + (at as i64 * 7919) % 1000 - 500,
            key: (at % 3 != 0).then(|| bytes(at % 50, at)),
            value: (at % 7 != 0).then(|| bytes(if at % 50 == 1 { 200_000 } else { at * 13 }, at)),
            headers: (0..at % 4).map(|n| (format!("header-{n}"), (n != 1).then(|| bytes(n * 9, at)))).collect(),
        })
        .collect()
}

fn compression(codec: Codec) -> theirs::Compression {
    match codec {
        Codec::None => theirs::Compression::None,
        Codec::Gzip => theirs::Compression::Gzip,
        Codec::Snappy => theirs::Compression::Snappy,
        Codec::Lz4 => theirs::Compression::Lz4,
        Codec::Zstd => theirs::Compression::Zstd,
    }
}

fn to_theirs(plain: &Plain, base_offset: i64) -> theirs::Record {
    theirs::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 3,
        producer_id: 42,
        producer_epoch: 5,
        timestamp_type: theirs::TimestampType::Creation,
        offset: plain.offset,
        sequence: (plain.offset - base_offset) as i32 + 17,
        timestamp: plain.timestamp,
        key: plain.key.clone().map(Bytes::from),
        value: plain.value.clone().map(Bytes::from),
        headers: plain.headers.iter().map(|(k, v)| (StrBytes::from(k.clone()), v.clone().map(Bytes::from))).collect(),
    }
}

fn from_theirs(record: &theirs::Record) -> Plain {
    let headers: &IndexMap<StrBytes, Option<Bytes>> = &record.headers;
    Plain {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.as_ref().map(|key| key.to_vec()),
        value: record.value.as_ref().map(|value| value.to_vec()),
        headers: headers.iter().map(|(k, v)| (k.to_string(), v.as_ref().map(|v| v.to_vec()))).collect(),
    }
}

fn from_ours(batch: &[u8]) -> Vec<Plain> {
    let records = Records::read(BatchView::only(batch).unwrap(), 1 << 24).unwrap();
    let plain = |record: record::Record<'_>| Plain {
        offset: record.offset.to_wire(),
        timestamp: record.timestamp.0,
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record
            .headers
            .iter()
            .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), header.value.map(<[u8]>::to_vec)))
            .collect(),
    };
    records.iter().map(|record| plain(record.unwrap())).collect()
}

const PRODUCER: Producer = Producer { id: ProducerId(42), epoch: ProducerEpoch(5), base_sequence: 17 };

#[test]
fn their_batches_are_read_here() {
    for codec in Codec::ALL {
        let samples = samples(1000);
        let records: Vec<theirs::Record> = samples.iter().map(|plain| to_theirs(plain, 1000)).collect();
        let mut batch = BytesMut::new();
        let options = theirs::RecordEncodeOptions { version: 2, compression: compression(codec) };
        theirs::RecordBatchEncoder::encode(&mut batch, &records, &options).unwrap();
        let validated = validate(&batch, ANY).unwrap();
        assert_eq!(validated.codec, codec);
        assert_eq!(validated.producer, Some(PRODUCER));
        assert_eq!(validated.record_count, 300);
        assert!(validated.max_timestamp_is_stated);
        assert_eq!(from_ours(&batch), samples);
    }
}

#[test]
fn our_batches_are_read_there() {
    for codec in Codec::ALL {
        let samples = samples(1000);
        let mut builder = BatchBuilder::new(codec).producer(PRODUCER).base_offset(Offset::new(1000));
        for plain in &samples {
            let headers: Vec<RecordHeader<'_>> = (plain.headers.iter())
                .map(|(key, value)| RecordHeader { key: key.as_bytes(), value: value.as_deref() })
                .collect();
            builder.append(Timestamp(plain.timestamp), plain.key.as_deref(), plain.value.as_deref(), &headers);
        }
        let batch = builder.build();
        assert!(validate(&batch, ANY).is_ok());
        assert_eq!(from_ours(&batch), samples);
        let set = theirs::RecordBatchDecoder::decode(&mut Bytes::from(batch)).unwrap();
        assert_eq!(set.compression, compression(codec));
        assert_eq!(set.records.iter().map(from_theirs).collect::<Vec<_>>(), samples);
        assert_eq!(set.records[299].sequence, 17 + 299);
    }
}
