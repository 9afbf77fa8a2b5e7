//! `corelog start`.

use std::io::Write;
use std::path::PathBuf;

use broker::config::{BrokerConfig, Sources, settings_page};

use crate::cli::{SettingOptions, StartOptions};
use crate::logging;
use crate::server::{Plan, Serving, run as serve};

/// Runs a broker until it is told to end.
pub fn run(options: &StartOptions) -> Result<(), String> {
    if options.help_config {
        print!("{}", settings_page());
        return Ok(());
    }
    let config = load(&options.settings, Vec::new())?;
    let _logging = logging::install();
    warn(&config);
    let shard_count = options.shards.map_or_else(ring::default_shards, usize::from);
    if shard_count == 0 {
        return Err("--shards must be at least 1".to_owned());
    }
    let cache_bytes = config.read_cache_bytes.unwrap_or_else(|| ring::memory_allowed_bytes() / 4);
    let log_dirs = config.log_dirs.clone();
    let plan = Plan {
        config,
        shard_count,
        pinned: true,
        cache_bytes: usize::try_from(cache_bytes).unwrap_or(usize::MAX),
        io: options.settings.io,
    };
    serve(plan, |serving| banner(serving, &log_dirs, shard_count))
}

/// The settings from all sources; `given` come before `--set`.
pub fn load(options: &SettingOptions, mut given: Vec<String>) -> Result<BrokerConfig, String> {
    let properties = match &options.config {
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            Some(text)
        }
        None => None,
    };
    let environment: Vec<(String, String)> = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    given.extend(options.set.iter().cloned());
    let sources = Sources { properties: properties.as_deref(), environment: &environment, set: &given };
    BrokerConfig::load(&sources).map_err(|error| error.to_string())
}

/// Says once which settings have no effect.
pub fn warn(config: &BrokerConfig) {
    for warning in config.settings().warnings() {
        tracing::warn!("{warning}");
    }
}

fn banner(serving: &Serving, log_dirs: &[PathBuf], shard_count: usize) {
    let data: Vec<String> = log_dirs.iter().map(|dir| dir.display().to_string()).collect();
    let addresses: Vec<String> = serving.addresses.iter().map(ToString::to_string).collect();
    let admin = serving.admin.map_or("none".to_owned(), |address| format!("http://{address}/metrics"));
    let lines = [
        format!("corelog {} is serving", env!("CARGO_PKG_VERSION")),
        format!("  address     {}", addresses.join(", ")),
        format!("  data        {}", data.join(", ")),
        format!("  shards      {shard_count}"),
        format!("  I/O         {} ({})", serving.backend, serving.probe),
        "  durability  disk (acknowledged when on stable storage)".to_owned(),
        format!("  admin       {admin}"),
        format!("  started in  {:.1} ms", serving.start_time.as_secs_f64() * 1e3),
    ];
    // Nobody may be listening on standard output; the broker serves all the same.
    let _ = writeln!(std::io::stdout(), "{}", lines.join("\n"));
}
