//! The two worlds with a kernel under them, and what a process asks of the machine before its shards start.
//!
//! [`Ring`] is the seam on io_uring: disk, network and mail in one wait. [`Poll`] is the same seam on epoll and a few
//! disk threads, for machines where io_uring is blocked. [`World`] is either, chosen by a [`Probe`] at start.
//! Never knows what a file or a byte means. Unsafe code is allowed here, each block with its reason.

mod clock;
mod disk;
mod file;
mod listen;
mod machine;
mod poll;
mod probe;
mod sys;
mod uring;
mod wakers;
mod world;

pub use file::{buffered_opens, filesystem_bytes};
pub use listen::bind;
pub use machine::{allowed_cores, default_shards, memory_allowed_bytes, pin_to, raise_nofile_limit};
pub use poll::Poll;
pub use probe::Probe;
pub use uring::Ring;
pub use wakers::Wakers;
pub use world::{Backend, Setup, World};
