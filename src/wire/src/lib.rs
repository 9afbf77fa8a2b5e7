//! Bytes to messages and back: frames, headers, Kafka's generated messages, and hand-written views of Produce and Fetch.
//! Owns the table of served APIs. Never learns what a request does, and never touches a socket or a file.
//! Invariants: no length is believed beyond the bytes that remain; nothing read from a peer can panic or make the reader
//! allocate more than a small multiple of the frame; records are handed around as ranges, never copied.
#![forbid(unsafe_code)]

mod api;
mod fetch_response;
mod fetch_view;
mod frame;
mod generated;
mod header;
mod produce_response;
mod produce_view;
mod reader;
mod topic;
mod writer;

use std::borrow::Cow;

pub use api::{Api, api_versions_response, api_versions_unsupported};
pub use fetch_response::{DivergingEpoch, FetchPartitionHead, FetchResponse, FetchResponseWriter, Splice};
pub use fetch_view::{FetchPartition, FetchView, ForgottenPartition, IsolationLevel};
pub use frame::{Split, request_frame, response_frame, split};
pub use generated::*;
pub use header::{RequestHeader, Requested, ResponseHeader};
pub use produce_response::{ProducePartitionResponse, ProduceResponseWriter, RecordError};
pub use produce_view::{ProducePartition, ProduceTopic, ProduceView};
pub use reader::{Malformed, Reader};
pub use topic::{CurrentLeader, TopicRef};
pub use writer::{Tags, Writer};

/// Text in a message: borrowed from the frame when read, borrowed or owned when written.
pub type Str<'a> = Cow<'a, str>;
