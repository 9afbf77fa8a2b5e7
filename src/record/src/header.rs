//! The 61 bytes before a batch's records: their layout and their parsed form.
//! Owns no bytes. Invariant: a `Header` has a length that holds itself, magic 2, a known codec, and offsets that add up.

use crate::{BatchFault, Corruption, RecordError};
use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

/// Bytes of a batch before its first record.
pub const HEADER_BYTES: usize = 61;

/// Bytes before the part that `batch_length` counts: base offset and the length itself.
pub const LENGTH_OVERHEAD_BYTES: usize = 12;

/// How a batch's records are compressed (attributes, bits 0 to 2).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Codec {
    /// Not at all.
    #[default]
    None = 0,
    /// gzip members.
    Gzip = 1,
    /// Snappy: raw, or in xerial's framing.
    Snappy = 2,
    /// One LZ4 frame.
    Lz4 = 3,
    /// Zstandard frames.
    Zstd = 4,
}

impl Codec {
    /// Every codec, in the order of their ids.
    pub const ALL: [Codec; 5] = [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd];

    /// Kafka's spelling (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Codec::None => "none",
            Codec::Gzip => "gzip",
            Codec::Snappy => "snappy",
            Codec::Lz4 => "lz4",
            Codec::Zstd => "zstd",
        }
    }
}

/// Whose clock a batch's timestamps come from (attributes, bit 3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TimestampType {
    /// Each record carries the producer's time.
    #[default]
    CreateTime,
    /// All records count as written at the batch's max timestamp, the broker's time of the append.
    LogAppendTime,
}

/// An idempotent producer's mark on a batch.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Producer {
    /// The producer.
    pub id: ProducerId,
    /// Its incarnation.
    pub epoch: ProducerEpoch,
    /// The sequence number of the batch's first record; wraps to 0 after `i32::MAX`.
    pub base_sequence: i32,
}

/// A batch's header, parsed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Header {
    /// The first record's offset; what a producer writes here means nothing.
    pub base_offset: Offset,
    /// Bytes of the whole batch, this header included.
    pub size_bytes: usize,
    /// The leadership it was appended under; `None` until appended.
    pub partition_leader_epoch: Option<LeaderEpoch>,
    /// The stated CRC-32C.
    pub crc: u32,
    /// The records' codec.
    pub codec: Codec,
    /// Whose clock the timestamps come from.
    pub timestamp_type: TimestampType,
    /// Part of a transaction.
    pub transactional: bool,
    /// Holds control records (transaction markers), never a client's.
    pub control: bool,
    /// `base_timestamp` is the time after which a compacting broker may drop tombstones, not a record's.
    pub delete_horizon: bool,
    /// The last record's offset less the base offset.
    pub last_offset_delta: u32,
    /// What record timestamps are relative to.
    pub base_timestamp: Timestamp,
    /// The largest timestamp of the batch, as stated.
    pub max_timestamp: Timestamp,
    /// The idempotent producer, if it is one.
    pub producer: Option<Producer>,
    /// Records stated; below `last_offset_delta + 1` only after compaction.
    pub record_count: u32,
}

impl Header {
    /// Reads the header at the beginning of `bytes`, without its checksum: for batches that were validated before, of
    /// which the rest may not even be in memory.
    pub fn peek(bytes: &[u8]) -> Result<Header, RecordError> {
        frame_bytes(bytes)?;
        let header = bytes.first_chunk().ok_or(RecordError::Corrupt(Corruption::Truncated))?;
        Header::parse(header)
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> Offset {
        self.base_offset.plus(u64::from(self.last_offset_delta))
    }

    /// The offset after the last record's.
    pub fn next_offset(&self) -> Offset {
        self.last_offset().plus(1)
    }

    pub(crate) fn parse(header: &[u8; HEADER_BYTES]) -> Result<Header, RecordError> {
        let size_bytes = frame_bytes(header)?;
        let attributes = i16::from_be_bytes(field(header, ATTRIBUTES_AT));
        let last_offset_delta = count(field(header, LAST_OFFSET_DELTA_AT))?;
        let base_offset = i64::from_be_bytes(field(header, BASE_OFFSET_AT));
        // One more than the last offset must exist too: it is the log's end after this batch.
        let base_offset = base_offset
            .checked_add(i64::from(last_offset_delta))
            .and_then(|last| last.checked_add(1))
            .and_then(|_| Offset::from_wire(base_offset))
            .ok_or(RecordError::Batch(BatchFault::Offset))?;
        Ok(Header {
            base_offset,
            size_bytes,
            partition_leader_epoch: LeaderEpoch::from_wire(i32::from_be_bytes(field(header, LEADER_EPOCH_AT))),
            crc: u32::from_be_bytes(field(header, CRC_AT)),
            codec: codec(attributes)?,
            timestamp_type: match attributes & LOG_APPEND_TIME_BIT {
                0 => TimestampType::CreateTime,
                _ => TimestampType::LogAppendTime,
            },
            transactional: attributes & TRANSACTIONAL_BIT != 0,
            control: attributes & CONTROL_BIT != 0,
            delete_horizon: attributes & DELETE_HORIZON_BIT != 0,
            last_offset_delta,
            base_timestamp: Timestamp(i64::from_be_bytes(field(header, BASE_TIMESTAMP_AT))),
            max_timestamp: Timestamp(i64::from_be_bytes(field(header, MAX_TIMESTAMP_AT))),
            producer: producer(header)?,
            record_count: count(field(header, RECORD_COUNT_AT))?,
        })
    }
}

/// The batch's size by its own statement, once length and magic are seen to be sane. Needs only the first 17 bytes,
/// where an older format's magic also is.
pub(crate) fn frame_bytes(bytes: &[u8]) -> Result<usize, RecordError> {
    let start: &[u8; FRAME_BYTES] = bytes.first_chunk().ok_or(RecordError::Corrupt(Corruption::Truncated))?;
    match start[MAGIC_AT] {
        2 => {}
        old @ (0 | 1) => return Err(RecordError::OldMagic(old)),
        _ => return Err(RecordError::Corrupt(Corruption::Magic)),
    }
    let length = i32::from_be_bytes(field(start, LENGTH_AT));
    let size = usize::try_from(length).ok().and_then(|length| length.checked_add(LENGTH_OVERHEAD_BYTES));
    size.filter(|size| *size >= HEADER_BYTES).ok_or(RecordError::Corrupt(Corruption::Length))
}

/// A field at a place that is known when compiling. Panics only if the constants below are wrong.
fn field<const N: usize, const BYTES: usize>(bytes: &[u8; BYTES], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}

fn count(field: [u8; 4]) -> Result<u32, RecordError> {
    u32::try_from(i32::from_be_bytes(field)).map_err(|_| RecordError::Batch(BatchFault::Count))
}

fn codec(attributes: i16) -> Result<Codec, RecordError> {
    match attributes & CODEC_MASK {
        0 => Ok(Codec::None),
        1 => Ok(Codec::Gzip),
        2 => Ok(Codec::Snappy),
        3 => Ok(Codec::Lz4),
        4 => Ok(Codec::Zstd),
        // Three bits: 5 to 7.
        unknown => Err(RecordError::UnknownCodec(unknown.to_be_bytes()[1])),
    }
}

fn producer(header: &[u8; HEADER_BYTES]) -> Result<Option<Producer>, RecordError> {
    let id = i64::from_be_bytes(field(header, PRODUCER_ID_AT));
    let epoch = i16::from_be_bytes(field(header, PRODUCER_EPOCH_AT));
    let base_sequence = i32::from_be_bytes(field(header, BASE_SEQUENCE_AT));
    if id == -1 {
        return Ok(None);
    }
    // A control batch has a producer but no sequence.
    let control = i16::from_be_bytes(field(header, ATTRIBUTES_AT)) & CONTROL_BIT != 0;
    if id < 0 || epoch < 0 || (base_sequence < 0 && !control) {
        return Err(RecordError::Batch(BatchFault::Producer));
    }
    Ok(Some(Producer { id: ProducerId(id), epoch: ProducerEpoch(epoch), base_sequence }))
}

pub(crate) const BASE_OFFSET_AT: usize = 0;
pub(crate) const LENGTH_AT: usize = 8;
pub(crate) const LEADER_EPOCH_AT: usize = 12;
pub(crate) const MAGIC_AT: usize = 16;
pub(crate) const CRC_AT: usize = 17;
pub(crate) const ATTRIBUTES_AT: usize = 21; // The checksum covers from here to the end.
pub(crate) const LAST_OFFSET_DELTA_AT: usize = 23;
pub(crate) const BASE_TIMESTAMP_AT: usize = 27;
pub(crate) const MAX_TIMESTAMP_AT: usize = 35;
pub(crate) const PRODUCER_ID_AT: usize = 43;
pub(crate) const PRODUCER_EPOCH_AT: usize = 51;
pub(crate) const BASE_SEQUENCE_AT: usize = 53;
pub(crate) const RECORD_COUNT_AT: usize = 57;
const _: () = assert!(RECORD_COUNT_AT + 4 == HEADER_BYTES);

const FRAME_BYTES: usize = MAGIC_AT + 1;

const CODEC_MASK: i16 = 0b111;
pub(crate) const LOG_APPEND_TIME_BIT: i16 = 1 << 3;
pub(crate) const TRANSACTIONAL_BIT: i16 = 1 << 4;
pub(crate) const CONTROL_BIT: i16 = 1 << 5;
pub(crate) const DELETE_HORIZON_BIT: i16 = 1 << 6;
