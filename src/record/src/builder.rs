//! Makes batches: for the broker's own logs, simulated clients and tests.
//! Takes only what this process made, so its limits are asserted.

use crate::encode;
use crate::header::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, BASE_SEQUENCE_AT, BASE_TIMESTAMP_AT, CONTROL_BIT, Codec, HEADER_BYTES,
    LAST_OFFSET_DELTA_AT, LEADER_EPOCH_AT, LENGTH_AT, LENGTH_OVERHEAD_BYTES, MAGIC_AT, MAX_TIMESTAMP_AT,
    PRODUCER_EPOCH_AT, PRODUCER_ID_AT, Producer, RECORD_COUNT_AT, TRANSACTIONAL_BIT,
};
use crate::records::RecordHeader;
use crate::{patch, varint};
use model::{Offset, Timestamp};

/// A batch being built. Offsets count from 0 until `patch::assign`.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    codec: Codec,
    attributes: i16,
    producer: Option<Producer>,
    base_offset: Offset,
    base_timestamp: Timestamp,
    max_timestamp: Timestamp,
    record_count: i32,
    records: Vec<u8>,
    body: Vec<u8>,
}

impl BatchBuilder {
    /// An empty batch.
    pub fn new(codec: Codec) -> BatchBuilder {
        BatchBuilder {
            codec,
            attributes: 0,
            producer: None,
            base_offset: Offset::ZERO,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            record_count: 0,
            records: Vec::new(),
            body: Vec::new(),
        }
    }

    /// Marks it as an idempotent producer's.
    pub fn producer(mut self, producer: Producer) -> BatchBuilder {
        self.producer = Some(producer);
        self
    }

    /// Gives it its first offset.
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.base_offset = base_offset;
        self
    }

    /// Marks it as part of a transaction.
    pub fn transactional(mut self) -> BatchBuilder {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Marks its records as control records.
    pub fn control(mut self) -> BatchBuilder {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// Adds a record. The first one's timestamp becomes the base timestamp.
    pub fn append(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[RecordHeader<'_>],
    ) -> &mut BatchBuilder {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.body.clear();
        self.body.push(0);
        varint::put_i64(timestamp.0 - self.base_timestamp.0, &mut self.body);
        varint::put_i32(self.record_count, &mut self.body);
        put_nullable(key, &mut self.body);
        put_nullable(value, &mut self.body);
        varint::put_i32(length(headers.len()), &mut self.body);
        for header in headers {
            put_nullable(Some(header.key), &mut self.body);
            put_nullable(header.value, &mut self.body);
        }
        varint::put_i32(length(self.body.len()), &mut self.records);
        self.records.extend_from_slice(&self.body);
        self.record_count += 1;
        self
    }

    /// Records so far.
    pub fn record_count(&self) -> u32 {
        self.record_count.unsigned_abs()
    }

    /// Bytes of the records so far, before compression.
    pub fn records_bytes(&self) -> usize {
        self.records.len()
    }

    /// Compresses and seals. Panics without a record.
    pub fn build(&self) -> Vec<u8> {
        assert!(self.record_count > 0);
        let mut batch = vec![0; HEADER_BYTES];
        encode::compress(self.codec, &self.records, &mut batch);
        self.seal(&mut batch);
        batch
    }

    /// As `build`, with the records already compressed by someone else.
    pub fn build_with_payload(&self, payload: &[u8]) -> Vec<u8> {
        let mut batch = vec![0; HEADER_BYTES];
        batch.extend_from_slice(payload);
        self.seal(&mut batch);
        batch
    }

    /// The records' bytes before compression.
    pub fn records(&self) -> &[u8] {
        &self.records
    }

    fn seal(&self, batch: &mut [u8]) {
        let (producer_id, producer_epoch, base_sequence) = match self.producer {
            Some(producer) => (producer.id.0, producer.epoch.0, producer.base_sequence),
            None => (-1, -1, -1),
        };
        let attributes = self.attributes | self.codec as i16;
        let batch_length = length(batch.len() - LENGTH_OVERHEAD_BYTES);
        let mut put = |at: usize, field: &[u8]| batch[at..at + field.len()].copy_from_slice(field);
        put(BASE_OFFSET_AT, &self.base_offset.to_wire().to_be_bytes());
        put(LENGTH_AT, &batch_length.to_be_bytes());
        put(LEADER_EPOCH_AT, &(-1i32).to_be_bytes());
        put(MAGIC_AT, &[2]);
        put(ATTRIBUTES_AT, &attributes.to_be_bytes());
        put(LAST_OFFSET_DELTA_AT, &(self.record_count - 1).to_be_bytes());
        put(BASE_TIMESTAMP_AT, &self.base_timestamp.0.to_be_bytes());
        put(MAX_TIMESTAMP_AT, &self.max_timestamp.0.to_be_bytes());
        put(PRODUCER_ID_AT, &producer_id.to_be_bytes());
        put(PRODUCER_EPOCH_AT, &producer_epoch.to_be_bytes());
        put(BASE_SEQUENCE_AT, &base_sequence.to_be_bytes());
        put(RECORD_COUNT_AT, &self.record_count.to_be_bytes());
        patch::seal(batch);
    }
}

fn put_nullable(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    match bytes {
        None => varint::put_i32(-1, out),
        Some(bytes) => {
            varint::put_i32(length(bytes.len()), out);
            out.extend_from_slice(bytes);
        }
    }
}

fn length(count: usize) -> i32 {
    i32::try_from(count).expect("what this process builds stays below 2 GiB")
}
