//! The broker: connections, requests, the partitions' homes and the controller's host, as state machines that a shard
//! turns. Never knows io_uring: whoever turns a [`Shard`] brings the world.
//!
//! Invariant: shards share nothing that is written on the data path; they exchange letters.
#![forbid(unsafe_code)]

pub mod config;

mod connection;
mod context;
mod control;
mod errors;
mod groups;
mod handlers;
mod home;
mod listening;
mod log_reader;
mod mail;
mod request;
mod shard;
mod topics;

pub use log::LogConfig;
pub use mail::{Link, links};
pub use shard::{Parts, Shard, Turned};
