//! The admin HTTP: `/metrics` (Prometheus), `/health` and `/ready`, served by the control thread.
//!
//! Reads counters and flags that others write; never touches a shard's mutable state and never blocks one.
#![forbid(unsafe_code)]

mod render;
mod server;
mod status;

pub use render::render;
pub use server::serve;
pub use status::Status;
