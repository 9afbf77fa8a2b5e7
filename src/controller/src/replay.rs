//! From the log's bytes to an image, one record set at a time.

use std::fmt;

use crate::{ApplyError, DecodeError, Image, MetadataRecord};

/// Why a record set in the log cannot be replayed. The broker must not start: it would serve guessed metadata.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// A payload is no record.
    Decode {
        /// Its index in the set.
        record_index: usize,
        /// What is wrong with it.
        cause: DecodeError,
    },
    /// The records do not follow from those before them.
    Apply(ApplyError),
}

/// The image after one record set, given as the values of its batch's records.
pub fn replay_set<'a>(image: Image, payloads: impl IntoIterator<Item = &'a [u8]>) -> Result<Image, ReplayError> {
    let records = payloads.into_iter().enumerate().map(|(record_index, payload)| {
        MetadataRecord::decode(payload).map_err(|cause| ReplayError::Decode { record_index, cause })
    });
    let records = records.collect::<Result<Vec<_>, _>>()?;
    image.apply(&records).map_err(ReplayError::Apply)
}

impl fmt::Display for ReplayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReplayError::Decode { record_index, cause } => write!(f, "record {record_index} of its set: {cause}"),
            ReplayError::Apply(cause) => write!(f, "{cause}"),
        }
    }
}

impl std::error::Error for ReplayError {}
