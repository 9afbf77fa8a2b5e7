//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// An event-streaming broker that speaks the Kafka protocol.
#[derive(Debug, Parser)]
#[command(name = "corelog", version, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a broker: on 127.0.0.1:9092 with data in ./data, unless told otherwise.
    Start(StartOptions),
    /// Start an ephemeral broker for tests: free port, temporary directory, one line of JSON when it serves; everything
    /// is removed when it ends.
    Dev(DevOptions),
    /// Look at the files of a data directory.
    #[command(subcommand)]
    Log(LogCommand),
}

/// The subcommands of `log`.
#[derive(Debug, Subcommand)]
pub enum LogCommand {
    /// Show one file: a segment's batches, an index's entries, a journal's frames. Ends with 1 if it is damaged.
    Dump(LogDumpOptions),
    /// Check every partition of a data directory: checksums, offsets, indexes. Ends with 1 if anything is damaged.
    Verify(LogVerifyOptions),
}

/// Options of `log dump`.
#[derive(Debug, Args)]
pub struct LogDumpOptions {
    /// The file.
    pub file: PathBuf,
    /// Show every record too.
    #[arg(long)]
    pub records: bool,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Options of `log verify`.
#[derive(Debug, Args)]
pub struct LogVerifyOptions {
    /// A data directory, or one partition's.
    pub directory: PathBuf,
    /// One JSON object a line.
    #[arg(long)]
    pub json: bool,
}

/// Options of `start`.
#[derive(Debug, Args)]
pub struct StartOptions {
    /// Settings that every broker command takes.
    #[command(flatten)]
    pub settings: SettingOptions,
    /// How many shards to run, each a thread on a core of its own [default: all cores that the process may use].
    #[arg(long, value_name = "N")]
    pub shards: Option<u16>,
    /// Print every setting with its type, default and meaning, and exit.
    #[arg(long)]
    pub help_config: bool,
}

/// Options of `dev`.
#[derive(Debug, Args)]
pub struct DevOptions {
    /// Settings that every broker command takes.
    #[command(flatten)]
    pub settings: SettingOptions,
    /// How many shards to run; they are not pinned.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub shards: u16,
}

/// Where settings come from, and the I/O backend.
#[derive(Debug, Args)]
pub struct SettingOptions {
    /// A properties file with Kafka's names.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// One setting; wins over the file and over KAFKA_* variables. May be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub set: Vec<String>,
    /// The I/O backend.
    #[arg(long, value_enum, default_value_t = IoBackend::Auto)]
    pub io: IoBackend,
}

/// The I/O backends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IoBackend {
    /// io_uring where the machine has it, else the fallback.
    Auto,
    /// io_uring, or fail.
    Ring,
    /// The fallback: epoll and disk threads.
    Poll,
}
