//! Each fault of a produced batch and the answer that it gets.

use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use record::{
    BatchBuilder, BatchFault, BatchView, Batches, Codec, Corruption, Header, Producer, RecordError, RecordFault,
    RecordHeader, Rules, TimestampBounds, TimestampType, Validated, patch, validate,
};

const ANY: Rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };

const LENGTH_AT: usize = 8;
const MAGIC_AT: usize = 16;
const ATTRIBUTES_LOW_AT: usize = 22;
const LAST_OFFSET_DELTA_AT: usize = 23;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;
const RECORD_COUNT_AT: usize = 57;

fn check(batch: &[u8], expected: Result<u32, RecordError>) {
    assert_eq!(validate(batch, ANY).map(|validated| validated.record_count), expected);
}

fn three_records(codec: Codec) -> BatchBuilder {
    let mut builder = BatchBuilder::new(codec);
    builder.append(Timestamp(1000), Some(b"key"), Some(b"value"), &[]);
    builder.append(Timestamp(3000), None, None, &[RecordHeader { key: b"h", value: Some(b"x") }]);
    builder.append(Timestamp(2000), Some(b""), Some(&[7; 300]), &[RecordHeader { key: b"", value: None }]);
    builder
}

/// The batch with some header bytes changed, sealed again.
fn changed(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut batch = three_records(Codec::None).build();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    patch::seal(&mut batch);
    batch
}

/// One record whose body is `body`, in a batch for each codec; every codec must give the same verdict.
fn check_body(body: &[u8], expected: Result<u32, RecordError>) {
    let mut records = vec![];
    put_varint(body.len() as i64, &mut records);
    records.extend_from_slice(body);
    check_records(&records, expected);
}

fn check_records(records: &[u8], expected: Result<u32, RecordError>) {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(Timestamp(0), None, None, &[]);
    check(&builder.build_with_payload(records), expected);
    // The same in pieces of one byte: stored blocks of an LZ4 frame.
    let mut builder = BatchBuilder::new(Codec::Lz4);
    builder.append(Timestamp(0), None, None, &[]);
    let mut frame = vec![0x04, 0x22, 0x4d, 0x18, 0x60, 0x40, 0x82];
    for byte in records {
        frame.extend_from_slice(&[1, 0, 0, 0x80, *byte]);
    }
    frame.extend_from_slice(&[0; 4]);
    let in_pieces = validate(&builder.build_with_payload(&frame), ANY).map(|validated| validated.record_count);
    match expected {
        Ok(_) => assert_eq!(in_pieces, expected),
        Err(_) => assert!(in_pieces.is_err(), "{expected:?} whole, {in_pieces:?} in pieces"),
    }
}

fn put_varint(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    while rest >= 0x80 {
        out.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn record_fault(fault: RecordFault) -> Result<u32, RecordError> {
    Err(RecordError::Record { index: 0, fault })
}

#[test]
fn a_good_batch_passes_with_every_codec() {
    for codec in Codec::ALL {
        let batch = three_records(codec).build();
        let expected = Validated {
            record_count: 3,
            last_offset_delta: 2,
            base_timestamp: Timestamp(1000),
            max_timestamp: Timestamp(3000),
            max_timestamp_is_stated: true,
            max_timestamp_offset_delta: 1,
            codec,
            transactional: false,
            control: false,
            producer: None,
        };
        assert_eq!(validate(&batch, ANY), Ok(expected), "{codec:?}");
    }
}

#[test]
fn a_bad_frame_is_corrupt() {
    let good = three_records(Codec::None).build();
    check(&[], Err(RecordError::Batch(BatchFault::Missing)));
    check(&good[..16], Err(RecordError::Corrupt(Corruption::Truncated)));
    check(&good[..60], Err(RecordError::Corrupt(Corruption::Truncated)));
    check(&good[..good.len() - 1], Err(RecordError::Corrupt(Corruption::Truncated)));
    for length in [i32::MIN, -1, 0, 48] {
        check(&changed(LENGTH_AT, &length.to_be_bytes()), Err(RecordError::Corrupt(Corruption::Length)));
    }
    check(&changed(LENGTH_AT, &i32::MAX.to_be_bytes()), Err(RecordError::Corrupt(Corruption::Truncated)));
    for magic in [3, 0xff] {
        check(&changed(MAGIC_AT, &[magic]), Err(RecordError::Corrupt(Corruption::Magic)));
    }
    for magic in [0, 1] {
        check(&changed(MAGIC_AT, &[magic]), Err(RecordError::OldMagic(magic)));
    }
    for at in 17..good.len() {
        let mut flipped = good.clone();
        flipped[at] ^= 0x10;
        check(&flipped, Err(RecordError::Corrupt(Corruption::Crc)));
    }
}

#[test]
fn exactly_one_batch_is_allowed() {
    let good = three_records(Codec::None).build();
    check(&[good.as_slice(), &good].concat(), Err(RecordError::Batch(BatchFault::MoreThanOne)));
    check(&[good.as_slice(), &[0]].concat(), Err(RecordError::Batch(BatchFault::MoreThanOne)));
}

#[test]
fn header_fields_that_contradict_each_other_are_invalid() {
    let batch_fault = |fault| Err(RecordError::Batch(fault));
    check(&changed(0, &(-1i64).to_be_bytes()), batch_fault(BatchFault::Offset));
    check(&changed(0, &(i64::MAX - 2).to_be_bytes()), batch_fault(BatchFault::Offset));
    check(&changed(0, &(i64::MAX - 3).to_be_bytes()), Ok(3));
    for count in [0i32, 2, 4, i32::MAX] {
        check(&changed(RECORD_COUNT_AT, &count.to_be_bytes()), batch_fault(BatchFault::CountMismatch));
        check(
            &changed(LAST_OFFSET_DELTA_AT, &(count.max(1) - 1).to_be_bytes()),
            batch_fault(BatchFault::CountMismatch),
        );
    }
    for at in [RECORD_COUNT_AT, LAST_OFFSET_DELTA_AT] {
        check(&changed(at, &(-1i32).to_be_bytes()), batch_fault(BatchFault::Count));
        check(&changed(at, &i32::MIN.to_be_bytes()), batch_fault(BatchFault::Count));
    }
    for codec in 5..8 {
        check(&changed(ATTRIBUTES_LOW_AT, &[codec]), Err(RecordError::UnknownCodec(codec)));
    }
    check(&changed(ATTRIBUTES_LOW_AT, &[1 << 3]), Err(RecordError::Timestamp { index: 0 }));
    check(&changed(PRODUCER_ID_AT, &7i64.to_be_bytes()), batch_fault(BatchFault::Producer));
    check(&changed(PRODUCER_ID_AT, &(-2i64).to_be_bytes()), batch_fault(BatchFault::Producer));
}

#[test]
fn an_idempotent_producer_needs_an_epoch_and_a_sequence() {
    let producer = Producer { id: ProducerId(7), epoch: ProducerEpoch(1), base_sequence: 5 };
    let batch = three_records(Codec::None).producer(producer).build();
    assert_eq!(validate(&batch, ANY).map(|validated| validated.producer), Ok(Some(producer)));
    for (at, field) in [(PRODUCER_EPOCH_AT, [0xff; 2].as_slice()), (BASE_SEQUENCE_AT, &[0xff; 4])] {
        let mut batch = batch.clone();
        batch[at..at + field.len()].copy_from_slice(field);
        patch::seal(&mut batch);
        check(&batch, Err(RecordError::Batch(BatchFault::Producer)));
    }
}

#[test]
fn transactional_and_control_bits_are_shown_not_refused() {
    let validated = validate(&three_records(Codec::None).transactional().build(), ANY).unwrap();
    assert!(validated.transactional && !validated.control);
    let validated = validate(&three_records(Codec::None).control().build(), ANY).unwrap();
    assert!(validated.control && !validated.transactional);
}

#[test]
fn malformed_records_are_invalid() {
    // Attributes, timestamp delta, offset delta, key length, value length, header count.
    check_body(&[0, 0, 0, 1, 1, 0], Ok(1));
    check_body(&[0xff, 0, 0, 0, 0, 0], Ok(1));
    check_body(&[0, 0, 0, 2, 9, 1, 0], Ok(1));
    check_body(&[0, 0, 0, 1, 1, 2, 0, 1], Ok(1));
    check_body(&[], record_fault(RecordFault::Length));
    check_body(&[0], record_fault(RecordFault::Varint));
    check_body(&[0, 0, 0, 1, 1], record_fault(RecordFault::Varint));
    check_body(&[0, 0, 0, 1, 1, 0, 0], record_fault(RecordFault::Length));
    check_body(&[0, 0, 0, 3, 1, 0], record_fault(RecordFault::Key)); // A key of -2 bytes.
    check_body(&[0, 0, 0, 20, 1, 0], record_fault(RecordFault::Key)); // A key of 10 bytes where 2 are left.
    check_body(&[0, 0, 0, 1, 3, 0], record_fault(RecordFault::Value));
    check_body(&[0, 0, 0, 1, 20, 0], record_fault(RecordFault::Value));
    check_body(&[0, 0, 0, 1, 1, 1], record_fault(RecordFault::Header)); // -1 headers.
    check_body(&[0, 0, 0, 1, 1, 2, 1, 1], record_fault(RecordFault::Header)); // A header with a null key.
    check_body(&[0, 0, 0, 1, 1, 2, 4, 1], record_fault(RecordFault::Header));
    check_body(&[0, 0, 0, 1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f], record_fault(RecordFault::Varint)); // 2^31-1 headers.
    check_body(&[0, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0, 1, 1, 0], record_fault(RecordFault::Varint));
    check_body(&[0, 0, 2, 1, 1, 0], record_fault(RecordFault::OffsetDelta));
    check_body(&[0, 0, 1, 1, 1, 0], record_fault(RecordFault::OffsetDelta));
    let mut wide = vec![0];
    put_varint(i64::MIN, &mut wide);
    wide.extend_from_slice(&[0, 1, 1, 0]);
    check_body(&wide, Ok(1));
    // Lengths of records: negative, too wide, beyond the batch; and a batch that has more or fewer.
    check_records(&[1], record_fault(RecordFault::Length));
    check_records(&[0xff; 6], record_fault(RecordFault::Varint));
    check_records(&[14, 0, 0, 0, 1, 1, 0], record_fault(RecordFault::Length));
    check_records(&[14, 0, 0, 0, 1], Err(RecordError::Batch(BatchFault::MissingRecords)));
    check_records(&[0x80], Err(RecordError::Batch(BatchFault::MissingRecords)));
    check_records(&[], Err(RecordError::Batch(BatchFault::MissingRecords)));
    check_records(&[12, 0, 0, 0, 1, 1, 0, 0], Err(RecordError::Batch(BatchFault::TrailingBytes)));
}

#[test]
fn timestamps_outside_the_bounds_are_refused_by_record() {
    let bounds = |earliest, latest| Rules {
        timestamps: Some(TimestampBounds { earliest: Timestamp(earliest), latest: Timestamp(latest) }),
        keys_required: false,
    };
    for codec in Codec::ALL {
        let batch = three_records(codec).build();
        let verdict = |rules| validate(&batch, rules).map(|validated| validated.record_count);
        assert_eq!(verdict(bounds(1000, 3000)), Ok(3));
        assert_eq!(verdict(bounds(1001, 3000)), Err(RecordError::Timestamp { index: 0 }));
        assert_eq!(verdict(bounds(1000, 2999)), Err(RecordError::Timestamp { index: 1 }));
        assert_eq!(verdict(Rules { timestamps: None, keys_required: false }), Ok(3));
    }
    let mut builder = BatchBuilder::new(Codec::None);
    builder.append(Timestamp::NONE, None, None, &[]);
    assert_eq!(validate(&builder.build(), bounds(5, 6)).map(|validated| validated.max_timestamp), Ok(Timestamp::NONE));
    let around = TimestampBounds::around(Timestamp(5), i64::MAX, i64::MAX);
    assert_eq!(around.latest, Timestamp(i64::MAX));
}

#[test]
fn timestamps_that_overflow_are_refused() {
    let mut batch = three_records(Codec::None).build();
    batch[27..35].copy_from_slice(&i64::MAX.to_be_bytes());
    patch::seal(&mut batch);
    check(&batch, Err(RecordError::Timestamp { index: 1 }));
}

#[test]
fn compacted_topics_take_no_record_without_a_key() {
    for codec in Codec::ALL {
        let rules = Rules { timestamps: None, keys_required: true };
        let refusal = RecordError::Record { index: 1, fault: RecordFault::MissingKey };
        assert_eq!(validate(&three_records(codec).build(), rules), Err(refusal));
        assert_eq!(refusal.record_index(), Some(1));
    }
}

#[test]
fn a_wrong_max_timestamp_is_told_and_can_be_corrected() {
    for codec in Codec::ALL {
        let mut batch = three_records(codec).build();
        batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&9i64.to_be_bytes());
        patch::seal(&mut batch);
        let validated = validate(&batch, ANY).unwrap();
        assert!(!validated.max_timestamp_is_stated);
        patch::set_max_timestamp(&mut batch, validated.max_timestamp);
        assert_eq!(validate(&batch, ANY).map(|validated| validated.max_timestamp_is_stated), Ok(true));
        assert_eq!(batch, three_records(codec).build());
    }
}

#[test]
fn assigning_a_place_needs_no_new_checksum() {
    let mut batch = three_records(Codec::Lz4).build();
    let crc = Header::peek(&batch).unwrap().crc;
    patch::assign(&mut batch, Offset::new(1 << 40), LeaderEpoch(9));
    let header = *BatchView::only(&batch).unwrap().header();
    assert_eq!(header.crc, crc);
    assert_eq!(header.base_offset, Offset::new(1 << 40));
    assert_eq!(header.next_offset(), Offset::new((1 << 40) + 3));
    assert_eq!(header.partition_leader_epoch, Some(LeaderEpoch(9)));
}

#[test]
fn log_append_time_stamps_every_record() {
    for codec in Codec::ALL {
        let mut batch = three_records(codec).build();
        patch::set_log_append_time(&mut batch, Timestamp(77));
        let view = BatchView::only(&batch).unwrap();
        assert_eq!(view.header().timestamp_type, TimestampType::LogAppendTime);
        assert_eq!(view.header().codec, codec);
        let records = record::Records::read(view, 1 << 20).unwrap();
        assert!(records.iter().all(|record| record.unwrap().timestamp == Timestamp(77)));
        assert_eq!(record::first_at_or_after(&batch, Timestamp(77)).unwrap().unwrap().offset, Offset::ZERO);
        assert_eq!(record::first_at_or_after(&batch, Timestamp(78)), Ok(None));
    }
}

#[test]
fn a_record_is_found_by_its_time() {
    for codec in Codec::ALL {
        let batch = three_records(codec).base_offset(Offset::new(50)).build();
        let find = |at| {
            let found = record::first_at_or_after(&batch, Timestamp(at)).unwrap();
            found.map(|found| (found.timestamp.0, found.offset.get()))
        };
        assert_eq!(find(0), Some((1000, 50)));
        assert_eq!(find(1000), Some((1000, 50)));
        assert_eq!(find(1001), Some((3000, 51)));
        assert_eq!(find(3000), Some((3000, 51)));
        assert_eq!(find(3001), None);
    }
}

#[test]
fn batches_end_where_the_good_ones_do() {
    let first = three_records(Codec::None).build();
    let second = three_records(Codec::Zstd).base_offset(Offset::new(3)).build();
    let mut bytes = [first.as_slice(), &second, &first].concat();
    let torn = bytes.len() - 7;
    bytes.truncate(torn);
    let mut batches = Batches::new(&bytes);
    assert_eq!(batches.next().unwrap().unwrap().header().base_offset, Offset::ZERO);
    assert_eq!(batches.next().unwrap().unwrap().header().base_offset, Offset::new(3));
    assert_eq!(batches.next().unwrap().unwrap_err(), RecordError::Corrupt(Corruption::Truncated));
    assert!(batches.next().is_none());
    assert_eq!(batches.position_bytes(), first.len() + second.len());
}

#[test]
fn reading_records_stops_at_the_limit() {
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let builder = three_records(codec);
        let batch = builder.build();
        let view = BatchView::only(&batch).unwrap();
        assert!(record::Records::read(view, builder.records_bytes()).is_ok());
        let refusal = record::Records::read(view, builder.records_bytes() - 1).map(drop);
        assert_eq!(refusal, Err(RecordError::TooLarge));
    }
}
