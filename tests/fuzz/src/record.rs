//! Targets over `record`: what a producer, or a disk, can hold.

use model::Timestamp;
use record::{
    BatchBuilder, BatchView, Batches, Codec, Header, Progress, Records, Rules, TimestampBounds, Validator,
    first_at_or_after, patch,
};

const ANY: Rules = Rules { timestamps: Some(TimestampBounds::ALL), keys_required: false };
const LIMIT_BYTES: usize = 1 << 20;
const STEP_BYTES: usize = 100_000;

/// Any bytes as a run of batches.
pub(crate) fn batches(input: &[u8]) {
    let mut batches = Batches::new(input);
    let mut good_bytes = 0;
    for batch in batches.by_ref() {
        let Ok(batch) = batch else { break };
        good_bytes += batch.bytes().len();
        assert_eq!(Header::peek(batch.bytes()).as_ref(), Ok(batch.header()));
        read(batch.bytes());
    }
    assert_eq!(batches.position_bytes(), good_bytes);
    read(input);
}

/// Any bytes as one batch whose length and checksum are right, so that what is behind them is reached.
pub(crate) fn sealed(input: &[u8]) {
    let mut batch = input.to_vec();
    let Some(length) = input.len().checked_sub(12).and_then(|length| i32::try_from(length).ok()) else { return };
    if input.len() >= record::HEADER_BYTES {
        batch[8..12].copy_from_slice(&length.to_be_bytes());
        patch::seal(&mut batch);
        read(&batch);
    }
}

/// Any bytes as compressed records: the first one chooses the codec.
pub(crate) fn payload(input: &[u8]) {
    let Some((choice, payload)) = input.split_first() else { return };
    let mut builder = BatchBuilder::new(Codec::ALL[usize::from(*choice) % Codec::ALL.len()]);
    builder.append(Timestamp(0), None, None, &[]);
    read(&builder.build_with_payload(payload));
}

/// Whoever reads a batch; what was validated must be readable.
fn read(bytes: &[u8]) {
    let found = first_at_or_after(bytes, Timestamp(0));
    let records = BatchView::first(bytes).and_then(|batch| Records::read(batch, LIMIT_BYTES));
    let Ok(mut validator) = Validator::new(bytes, ANY) else { return };
    let verdict = loop {
        if let Progress::Done(verdict) = validator.step(bytes, STEP_BYTES) {
            break verdict;
        }
    };
    let Ok(validated) = verdict else { return };
    assert!(found.is_ok());
    assert_eq!(found.is_ok_and(|found| found.is_some()), validated.max_timestamp >= Timestamp(0));
    // Longer than the limit is the only reason left not to be readable.
    if let Ok(records) = records {
        let mut count = 0;
        let mut max_timestamp = Timestamp::NONE;
        for record in &records {
            let record = record.expect("a validated record");
            assert_eq!(record.offset.since(validator.header().base_offset), count);
            max_timestamp = max_timestamp.max(record.timestamp);
            count += 1;
        }
        assert_eq!(count, u64::from(validated.record_count));
        assert_eq!(max_timestamp, validated.max_timestamp);
    }
}
