//! Why a batch is refused. Small and `Copy`; the broker maps each variant to a Kafka error code, never this room.

/// Why bytes are not an acceptable record batch. One variant for each answer that Kafka gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordError {
    /// The frame or its checksum is wrong: the bytes are not what the producer sealed (CORRUPT_MESSAGE).
    Corrupt(Corruption),
    /// A batch or message of the formats 0 or 1, which this broker does not store (UNSUPPORTED_FOR_MESSAGE_FORMAT;
    /// Kafka 4 answers INVALID_RECORD to Produce 3 and later).
    OldMagic(u8),
    /// The attributes name a codec that does not exist (UNSUPPORTED_COMPRESSION_TYPE).
    UnknownCodec(u8),
    /// Decompression would need more memory than the validator's fixed bounds (MESSAGE_TOO_LARGE).
    TooLarge,
    /// The checksum holds but the batch contradicts itself (INVALID_RECORD).
    Batch(BatchFault),
    /// A record of the batch is malformed (INVALID_RECORD); `index` counts from 0.
    Record {
        /// Which record.
        index: u32,
        /// What is wrong with it.
        fault: RecordFault,
    },
    /// A record's timestamp lies outside what the topic allows, or is not the producer's to set (INVALID_TIMESTAMP).
    Timestamp {
        /// Which record.
        index: u32,
    },
}

/// What is wrong with a batch's frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Corruption {
    /// Fewer bytes than the batch says it has.
    Truncated,
    /// The stated length is negative or shorter than a header.
    Length,
    /// The magic byte is neither 2 nor an older format's.
    Magic,
    /// The checksum does not match the bytes.
    Crc,
}

/// What is wrong with a batch as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BatchFault {
    /// No batch at all where one is needed.
    Missing,
    /// Bytes follow the batch where exactly one batch is allowed.
    MoreThanOne,
    /// The base offset is negative, or the last offset would pass `i64::MAX`.
    Offset,
    /// The record count or the last offset delta is negative.
    Count,
    /// A produced batch without records, or whose count and last offset delta disagree.
    CountMismatch,
    /// A producer id with a negative epoch or sequence, or an id below -1.
    Producer,
    /// The compressed bytes are not what the codec writes.
    Compression,
    /// Bytes remain after the last record.
    TrailingBytes,
    /// The bytes end before the last record does.
    MissingRecords,
}

/// What is wrong with one record.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RecordFault {
    /// A variable-length integer is longer than its type allows or cut off by the record's end.
    Varint,
    /// The record's length is negative, or its fields end before or beyond it.
    Length,
    /// A key length below -1 or beyond the record.
    Key,
    /// A value length below -1 or beyond the record.
    Value,
    /// A header count or length that is negative where it must not be, or beyond the record.
    Header,
    /// Offset deltas do not count 0, 1, 2 ...
    OffsetDelta,
    /// A compacted topic takes no record without a key.
    MissingKey,
}

impl RecordError {
    /// One line for the producer's log (Produce 8 and later carry it back).
    pub fn message(self) -> &'static str {
        match self {
            RecordError::Corrupt(Corruption::Truncated) => "record batch is cut off",
            RecordError::Corrupt(Corruption::Length) => "record batch length is out of range",
            RecordError::Corrupt(Corruption::Magic) => "record batch magic is unknown",
            RecordError::Corrupt(Corruption::Crc) => "record batch checksum does not match",
            RecordError::OldMagic(_) => "message formats 0 and 1 are not supported",
            RecordError::UnknownCodec(_) => "compression codec is unknown",
            RecordError::TooLarge => "compressed block or window is too large",
            RecordError::Batch(fault) => fault.message(),
            RecordError::Record { fault, .. } => fault.message(),
            RecordError::Timestamp { .. } => "record timestamp is out of range or not the producer's to set",
        }
    }

    /// The record at fault, for the `record_errors` of a Produce response.
    pub fn record_index(self) -> Option<u32> {
        match self {
            RecordError::Record { index, .. } | RecordError::Timestamp { index } => Some(index),
            RecordError::Corrupt(_)
            | RecordError::OldMagic(_)
            | RecordError::UnknownCodec(_)
            | RecordError::TooLarge
            | RecordError::Batch(_) => None,
        }
    }
}

impl BatchFault {
    fn message(self) -> &'static str {
        match self {
            BatchFault::Missing => "there is no record batch",
            BatchFault::MoreThanOne => "exactly one record batch is allowed",
            BatchFault::Offset => "record batch offsets are out of range",
            BatchFault::Count => "record count or last offset delta is negative",
            BatchFault::CountMismatch => "record count and last offset delta disagree",
            BatchFault::Producer => "producer id, epoch and sequence contradict each other",
            BatchFault::Compression => "compressed records cannot be decompressed",
            BatchFault::TrailingBytes => "bytes remain after the last record",
            BatchFault::MissingRecords => "record batch ends before its last record",
        }
    }
}

impl RecordFault {
    fn message(self) -> &'static str {
        match self {
            RecordFault::Varint => "record has a malformed varint",
            RecordFault::Length => "record length does not match its fields",
            RecordFault::Key => "record key length is out of range",
            RecordFault::Value => "record value length is out of range",
            RecordFault::Header => "record header is out of range",
            RecordFault::OffsetDelta => "record offset deltas are not dense",
            RecordFault::MissingKey => "a compacted topic takes no record without a key",
        }
    }
}
