//! Kafka's record batch, format 2, the only one that is stored.
//! Owns its layout, its validation, its compression and its building. Never knows a file, a request or a topic.
//!
//! - `BatchView` and `Batches`: batches in borrowed bytes; `Header::peek`: a header alone, for bytes trusted before.
//! - `Validator`, `validate`: what a producer's batch must be, in bounded steps and bounded memory.
//! - `patch`: the bytes of an own copy that a broker may change.
//! - `TimestampSearch`, `first_at_or_after`: a record by its time. `Records`: records in memory, within a limit.
//! - `RecordPass`, `Thinner`, `emptied`: stored batches under compaction, in bounded steps.
//! - `BatchBuilder`: makes batches.
#![forbid(unsafe_code)]

mod builder;
mod crc;
mod decode;
mod encode;
mod error;
mod header;
mod partial;
mod pass;
pub mod patch;
mod records;
mod scan;
mod search;
mod thin;
mod validate;
mod varint;
mod view;
mod walk;

pub use builder::BatchBuilder;
pub use error::{BatchFault, Corruption, RecordError, RecordFault};
pub use header::{Codec, HEADER_BYTES, Header, LENGTH_OVERHEAD_BYTES, Producer, TimestampType};
pub use pass::{RecordPass, StoredRecord};
pub use records::{Record, RecordHeader, RecordIter, Records};
pub use search::{SearchProgress, TimestampOffset, TimestampSearch, first_at_or_after, first_at_or_after_from};
pub use thin::{Keep, Thinner, emptied};
pub use validate::{Progress, Rules, TimestampBounds, Validated, Validator, validate};
pub use view::{BatchView, Batches};
