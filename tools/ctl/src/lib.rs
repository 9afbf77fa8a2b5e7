//! What an operator's commands do: one module a family of subcommands, each from its options to lines of output.
//! Never parses a command line and never starts a broker; the binary does.
#![forbid(unsafe_code)]

pub mod log_files;
