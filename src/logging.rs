//! Log lines to standard error, written by a thread of their own so that no shard waits for a terminal or a pipe.

use tracing_appender::non_blocking::WorkerGuard;
use tracing_subscriber::EnvFilter;

/// Installs the subscriber; lines are flushed when the guard is dropped. `CORELOG_LOG` filters, as `RUST_LOG` does
/// elsewhere; default `info`.
pub fn install() -> WorkerGuard {
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let filter = EnvFilter::try_from_env("CORELOG_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_writer(writer).with_env_filter(filter).with_ansi(false).with_target(false).init();
    guard
}
