//! `corelog dev`: a broker for a test, gone without a trace when it ends.

use std::io::Write;

use crate::cli::DevOptions;
use crate::logging;
use crate::server::{Plan, run as serve};
use crate::start::{load, warn};

/// Runs an ephemeral broker until it is told to end.
pub fn run(options: &DevOptions) -> Result<(), String> {
    let directory = tempfile::Builder::new()
        .prefix("corelog-dev-")
        .tempdir()
        .map_err(|error| format!("no temporary directory: {error}"))?;
    let data = directory.path().join("data");
    let given = vec![
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        format!("log.dirs={}", data.display()),
        "corelog.admin.listener=".to_owned(),
    ];
    let config = load(&options.settings, given)?;
    if options.shards == 0 {
        return Err("--shards must be at least 1".to_owned());
    }
    let _logging = logging::install();
    warn(&config);
    let cache_bytes = config.read_cache_bytes.unwrap_or(CACHE_BYTES);
    let plan = Plan {
        config,
        shard_count: usize::from(options.shards),
        pinned: false,
        cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
        io: options.settings.io,
    };
    let served = serve(plan, |serving| {
        let line = serde_json::json!({
            "bootstrap": serving.addresses.first().map(ToString::to_string),
            "data": data,
            "pid": std::process::id(),
            "admin": serving.admin.map(|address| address.to_string()),
        });
        let mut out = std::io::stdout();
        // Whoever reads it may be gone; he will send a signal, or not.
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    });
    let removed = directory.close().map_err(|error| format!("temporary directory not removed: {error}"));
    served.and(removed)
}

const CACHE_BYTES: u64 = 64 << 20;
