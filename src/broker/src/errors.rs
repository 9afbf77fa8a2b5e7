//! What the rooms' errors are to a client: the only place where they become Kafka's codes.

use group::AppendRefusal;
use log::{AppendError, ReadError};
use model::ErrorCode;
use record::RecordError;
use replication::EpochError;

pub(crate) fn append_code(error: AppendError) -> ErrorCode {
    match error {
        AppendError::Gone => ErrorCode::UnknownTopicOrPartition,
        // All of these pass: the client tries again.
        AppendError::NotOpen => ErrorCode::NotLeaderOrFollower,
        AppendError::Busy => ErrorCode::RequestTimedOut,
        AppendError::NoSpace => ErrorCode::KafkaStorageError,
        AppendError::Offline => ErrorCode::KafkaStorageError,
        AppendError::TooLarge => ErrorCode::MessageTooLarge,
        AppendError::InvalidProducerEpoch => ErrorCode::InvalidProducerEpoch,
        AppendError::OutOfOrderSequence => ErrorCode::OutOfOrderSequenceNumber,
    }
}

/// What a coordinator hears of its own append.
pub(crate) fn own_append_refusal(error: AppendError) -> AppendRefusal {
    match error {
        AppendError::Gone | AppendError::NotOpen | AppendError::Offline => AppendRefusal::Offline,
        AppendError::Busy | AppendError::NoSpace => AppendRefusal::Busy,
        AppendError::TooLarge => AppendRefusal::TooLarge,
        AppendError::InvalidProducerEpoch | AppendError::OutOfOrderSequence => {
            unreachable!("the broker's own batches have no producer")
        }
    }
}

pub(crate) fn read_code(error: ReadError) -> ErrorCode {
    match error {
        ReadError::Gone => ErrorCode::UnknownTopicOrPartition,
        ReadError::NotOpen => ErrorCode::NotLeaderOrFollower,
        ReadError::OutOfRange => ErrorCode::OffsetOutOfRange,
        ReadError::Busy => ErrorCode::RequestTimedOut,
        ReadError::Offline => ErrorCode::KafkaStorageError,
        ReadError::Corrupt => ErrorCode::CorruptMessage,
    }
}

pub(crate) fn epoch_code(error: EpochError) -> ErrorCode {
    match error {
        EpochError::Fenced => ErrorCode::FencedLeaderEpoch,
        EpochError::Unknown => ErrorCode::UnknownLeaderEpoch,
    }
}

pub(crate) fn record_code(error: RecordError) -> ErrorCode {
    match error {
        RecordError::Corrupt(_) => ErrorCode::CorruptMessage,
        RecordError::OldMagic(_) => ErrorCode::InvalidRecord,
        RecordError::UnknownCodec(_) => ErrorCode::UnsupportedCompressionType,
        RecordError::TooLarge => ErrorCode::MessageTooLarge,
        RecordError::Batch(_) => ErrorCode::InvalidRecord,
        RecordError::Record { .. } => ErrorCode::InvalidRecord,
        RecordError::Timestamp { .. } => ErrorCode::InvalidTimestamp,
    }
}
