//! A stored batch with some of its records taken out, as compaction writes it.
//! Keeps what a reader and a producer's memory need: the base offset, the last offset, the leader epoch, the producer
//! and its sequence. Records that stay keep their offsets and times, byte for byte unless the base timestamp changes.

use crate::encode::Encoder;
use crate::header::{
    ATTRIBUTES_AT, BASE_TIMESTAMP_AT, DELETE_HORIZON_BIT, HEADER_BYTES, LENGTH_AT, LENGTH_OVERHEAD_BYTES,
    MAX_TIMESTAMP_AT, RECORD_COUNT_AT,
};
use crate::pass::{RecordPass, StoredRecord};
use crate::{Header, RecordError, RecordFault, TimestampType, patch, varint};
use model::Timestamp;

/// Which of a batch's records stay: a bit for each, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Keep {
    bits: Vec<u64>,
    count: u32,
    kept: u32,
}

impl Keep {
    /// Decides on the next record.
    pub fn push(&mut self, stays: bool) {
        let (word, bit) = ((self.count / 64) as usize, self.count % 64);
        if bit == 0 {
            self.bits.push(0);
        }
        self.bits[word] |= u64::from(stays) << bit;
        self.count += 1;
        self.kept += u32::from(stays);
    }

    /// How many stay.
    pub fn kept(&self) -> u32 {
        self.kept
    }

    /// Whether all do.
    pub fn is_all(&self) -> bool {
        self.kept == self.count
    }

    fn stays(&self, index: u32) -> bool {
        self.bits.get((index / 64) as usize).is_some_and(|word| word & 1 << (index % 64) != 0)
    }
}

/// The writing of one batch without some of its records, in bounded steps.
pub struct Thinner {
    header: Header,
    pass: RecordPass,
    keep: Keep,
    /// What record times are relative to from now on.
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    horizon: bool,
    encoder: Encoder,
    body: Vec<u8>,
}

impl Thinner {
    /// Begins. `horizon`, for a batch that has none: the time after which its tombstones may go. At least one record
    /// stays.
    pub fn new(header: &Header, keep: Keep, horizon: Option<Timestamp>) -> Thinner {
        assert!(keep.kept > 0);
        let horizon = horizon.filter(|_| !header.delete_horizon);
        let max_timestamp = match header.timestamp_type {
            TimestampType::CreateTime => Timestamp::NONE,
            TimestampType::LogAppendTime => header.max_timestamp,
        };
        Thinner {
            header: *header,
            pass: RecordPass::new(header),
            keep,
            base_timestamp: horizon.unwrap_or(header.base_timestamp),
            max_timestamp,
            horizon: horizon.is_some() || header.delete_horizon,
            encoder: Encoder::new(header.codec, vec![0; HEADER_BYTES]),
            body: Vec::new(),
        }
    }

    /// Goes on until about `budget_bytes` more were decompressed; the batch, once it is written. Not to be called again
    /// after that. `bytes` are the batch's.
    pub fn step(&mut self, bytes: &[u8], budget_bytes: usize) -> Result<Option<Vec<u8>>, RecordError> {
        let Thinner { header, pass, keep, base_timestamp, max_timestamp, encoder, body, .. } = self;
        let rebase = *base_timestamp != header.base_timestamp && header.timestamp_type == TimestampType::CreateTime;
        let is_over = pass.step(bytes, budget_bytes, |record| {
            if !keep.stays(record.index) {
                return Ok(());
            }
            *max_timestamp = record.timestamp.max(*max_timestamp);
            if rebase {
                put_rebased(&record, *base_timestamp, body)?;
                encoder.write(body);
            } else {
                encoder.write(record.raw);
            }
            Ok(())
        })?;
        if !is_over {
            return Ok(None);
        }
        let encoder = std::mem::replace(&mut self.encoder, Encoder::None(Vec::new()));
        let mut batch = encoder.finish();
        batch[..HEADER_BYTES].copy_from_slice(&bytes[..HEADER_BYTES]);
        let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
        let horizon = if self.horizon { DELETE_HORIZON_BIT } else { 0 };
        let size = i32::try_from(batch.len() - LENGTH_OVERHEAD_BYTES).map_err(|_| RecordError::TooLarge)?;
        put(&mut batch, LENGTH_AT, size.to_be_bytes());
        put(&mut batch, ATTRIBUTES_AT, (attributes | horizon).to_be_bytes());
        put(&mut batch, BASE_TIMESTAMP_AT, self.base_timestamp.0.to_be_bytes());
        put(&mut batch, MAX_TIMESTAMP_AT, self.max_timestamp.0.to_be_bytes());
        put(&mut batch, RECORD_COUNT_AT, self.keep.kept.to_be_bytes());
        patch::seal(&mut batch);
        Ok(Some(batch))
    }
}

/// A batch without any of its records: its header alone, which still says up to which offset and sequence it went.
pub fn emptied(batch: &[u8]) -> Vec<u8> {
    assert!(batch.len() >= HEADER_BYTES);
    let mut empty = batch[..HEADER_BYTES].to_vec();
    let attributes = i16::from_be_bytes([empty[ATTRIBUTES_AT], empty[ATTRIBUTES_AT + 1]]);
    let size = i32::try_from(HEADER_BYTES - LENGTH_OVERHEAD_BYTES).expect("a header is short");
    put(&mut empty, LENGTH_AT, size.to_be_bytes());
    put(&mut empty, ATTRIBUTES_AT, (attributes & !(CODEC_MASK | DELETE_HORIZON_BIT)).to_be_bytes());
    put(&mut empty, BASE_TIMESTAMP_AT, Timestamp::NONE.0.to_be_bytes());
    put(&mut empty, MAX_TIMESTAMP_AT, Timestamp::NONE.0.to_be_bytes());
    put(&mut empty, RECORD_COUNT_AT, 0u32.to_be_bytes());
    patch::seal(&mut empty);
    empty
}

/// A record whose time counts from another base.
fn put_rebased(record: &StoredRecord<'_>, base: Timestamp, out: &mut Vec<u8>) -> Result<(), RecordError> {
    let index = record.index;
    let fault = |fault| RecordError::Record { index, fault };
    let delta = record.timestamp.0.checked_sub(base.0).ok_or(RecordError::Timestamp { index })?;
    let (attributes, mut rest) = record.body.split_first().ok_or(fault(RecordFault::Length))?;
    varint::take_i64(&mut rest).ok_or(fault(RecordFault::Varint))?;
    let mut time = Vec::with_capacity(varint::I64_BYTES_MAX as usize);
    varint::put_i64(delta, &mut time);
    let length = i32::try_from(1 + time.len() + rest.len()).map_err(|_| RecordError::TooLarge)?;
    out.clear();
    varint::put_i32(length, out);
    out.push(*attributes);
    out.extend_from_slice(&time);
    out.extend_from_slice(rest);
    Ok(())
}

fn put<const N: usize>(batch: &mut [u8], at: usize, field: [u8; N]) {
    batch[at..at + N].copy_from_slice(&field);
}

const CODEC_MASK: i16 = 0b111;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BatchBuilder, BatchView, Codec, Record, Records};
    use model::Offset;

    fn sample(codec: Codec) -> Vec<u8> {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset::new(100));
        for at in 0..2000u32 {
            let (key, value) = (format!("key-{at}"), vec![b'v'; (at % 300) as usize]);
            let value = (at % 7 != 3).then_some(value.as_slice());
            builder.append(Timestamp(5000 - i64::from(at)), Some(key.as_bytes()), value, &[]);
        }
        builder.build()
    }

    fn thin(batch: &[u8], stays: impl Fn(u32) -> bool, horizon: Option<Timestamp>, budget: usize) -> Vec<u8> {
        let header = *BatchView::only(batch).expect("whole").header();
        let mut keep = Keep::default();
        let mut pass = RecordPass::new(&header);
        while !pass
            .step(batch, budget, |record| {
                keep.push(stays(record.index));
                Ok(())
            })
            .expect("readable")
        {}
        let mut thinner = Thinner::new(&header, keep, horizon);
        loop {
            if let Some(thin) = thinner.step(batch, budget).expect("readable") {
                return thin;
            }
        }
    }

    type Own = (Offset, Timestamp, Vec<u8>, bool);

    fn read(batch: &[u8]) -> (Header, Vec<Own>) {
        let view = BatchView::only(batch).expect("sealed");
        let records = Records::read(view, 1 << 24).expect("records");
        let own = |record: Record<'_>| {
            (record.offset, record.timestamp, record.key.expect("a key").to_vec(), record.value.is_some())
        };
        (*view.header(), records.iter().map(|record| own(record.expect("whole"))).collect())
    }

    #[test]
    fn what_stays_keeps_offset_time_and_bytes_in_every_codec() {
        for codec in Codec::ALL {
            let batch = sample(codec);
            let (before, all) = read(&batch);
            for budget in [1, 1000, usize::MAX] {
                for horizon in [None, Some(Timestamp(123_456))] {
                    let (after, some) = read(&thin(&batch, |index| index % 3 == 1, horizon, budget));
                    let expected: Vec<_> = all.iter().skip(1).step_by(3).cloned().collect();
                    assert_eq!(some, expected, "{codec:?}");
                    assert_eq!(after.codec, codec);
                    assert_eq!((after.base_offset, after.last_offset()), (before.base_offset, before.last_offset()));
                    assert_eq!(after.max_timestamp, Timestamp(4999));
                    assert_eq!(after.delete_horizon, horizon.is_some());
                    assert_eq!(after.base_timestamp, horizon.unwrap_or(before.base_timestamp));
                }
            }
        }
    }

    #[test]
    fn a_batch_is_thinned_again_and_its_horizon_stays() {
        for codec in Codec::ALL {
            let once = thin(&sample(codec), |index| index % 2 == 0, Some(Timestamp(9)), 64 << 10);
            let twice = thin(&once, |index| index == 5, Some(Timestamp(77)), 64 << 10);
            let (header, records) = read(&twice);
            assert_eq!(header.base_timestamp, Timestamp(9));
            assert_eq!(records, [(Offset::new(110), Timestamp(4990), b"key-10".to_vec(), false)]);
        }
    }

    #[test]
    fn an_emptied_batch_still_says_where_it_went() {
        for codec in Codec::ALL {
            let batch = sample(codec);
            let (before, _) = read(&batch);
            let (after, records) = read(&emptied(&batch));
            assert!(records.is_empty());
            assert_eq!((after.base_offset, after.last_offset()), (before.base_offset, before.last_offset()));
            assert_eq!(after.producer, before.producer);
        }
    }
}
