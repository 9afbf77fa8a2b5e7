//! The few bytes of a validated batch that a broker may change, in place.
//! Takes batches that passed validation and were copied to where they stay: a short slice is a bug here, so it panics.

use crate::crc;
use crate::header::{
    ATTRIBUTES_AT, BASE_OFFSET_AT, CRC_AT, HEADER_BYTES, LEADER_EPOCH_AT, LOG_APPEND_TIME_BIT, MAX_TIMESTAMP_AT,
};
use model::{LeaderEpoch, Offset, Timestamp};

/// Gives the batch its place in the log. Both fields lie outside the checksum.
pub fn assign(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    assert!(batch.len() >= HEADER_BYTES);
    put(batch, BASE_OFFSET_AT, base_offset.to_wire().to_be_bytes());
    put(batch, LEADER_EPOCH_AT, leader_epoch.to_wire().to_be_bytes());
}

/// Stamps the batch with the broker's time of the append (`message.timestamp.type=LogAppendTime`) and seals it again.
pub fn set_log_append_time(batch: &mut [u8], now: Timestamp) {
    assert!(batch.len() >= HEADER_BYTES);
    let attributes = i16::from_be_bytes([batch[ATTRIBUTES_AT], batch[ATTRIBUTES_AT + 1]]);
    put(batch, ATTRIBUTES_AT, (attributes | LOG_APPEND_TIME_BIT).to_be_bytes());
    set_max_timestamp(batch, now);
}

/// Corrects the stated max timestamp and seals the batch again: needed where `Validated::max_timestamp_is_stated`
/// is false, as a broker believes the records, not the header.
pub fn set_max_timestamp(batch: &mut [u8], max_timestamp: Timestamp) {
    put(batch, MAX_TIMESTAMP_AT, max_timestamp.0.to_be_bytes());
    seal(batch);
}

/// Computes the checksum anew.
pub fn seal(batch: &mut [u8]) {
    assert!(batch.len() >= HEADER_BYTES);
    let crc = crc::crc32c(&batch[ATTRIBUTES_AT..]);
    put(batch, CRC_AT, crc.to_be_bytes());
}

fn put<const N: usize>(batch: &mut [u8], at: usize, field: [u8; N]) {
    batch[at..at + N].copy_from_slice(&field);
}
