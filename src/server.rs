//! A running broker: its shards' threads, the admin HTTP, and the signals that end it.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use admin::Status;
use broker::config::{BrokerConfig, Endpoint};
use broker::{Link, Parts, Shard, Turned};
use effect::{Io, Listener, Pool, ShardId};
use metrics::ShardMetrics;
use ring::{Backend, Probe, Setup, Wakers, World};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::cli::IoBackend;
use crate::data_dir::DataDirs;

/// How to run it.
#[derive(Debug)]
pub struct Plan {
    /// The settings.
    pub config: BrokerConfig,
    /// Threads.
    pub shard_count: usize,
    /// Whether each shard keeps a core to itself.
    pub pinned: bool,
    /// Memory for the read cache of all shards.
    pub cache_bytes: usize,
    /// The I/O backend asked for.
    pub io: IoBackend,
}

/// What a serving broker can tell of itself.
#[derive(Debug)]
pub struct Serving {
    /// Where clients connect, for each listener.
    pub addresses: Vec<SocketAddr>,
    /// Where the admin HTTP is.
    pub admin: Option<SocketAddr>,
    /// `io_uring` or `epoll`.
    pub backend: &'static str,
    /// What the probe found.
    pub probe: String,
    /// From the call to serving.
    pub start_time: Duration,
}

/// What the threads tell the main one.
enum Notice {
    Opened(&'static str),
    Serving,
    Stopped,
    Fatal(String),
    Signal,
}

/// Runs a broker until a signal ends it. `announce` is called once, when clients are served. Nothing is written before
/// the settings, the ports and the data directory are known to be good.
pub fn run(plan: Plan, announce: impl FnOnce(&Serving)) -> Result<(), String> {
    let began = Instant::now();
    abort_on_panic();
    let nofile = ring::raise_nofile_limit();
    let (addresses, listeners) = bind(&plan)?;
    let admin = bind_admin(&plan.config)?;
    let data_dirs = DataDirs::open(&plan.config.log_dirs)?;
    let probe = Probe::run();
    let backend = backend(plan.io, &probe)?;
    let wakers = Wakers::new(plan.shard_count).map_err(|error| format!("no wakers: {error}"))?;
    let stop = Arc::new(AtomicBool::new(false));
    let (notices, heard) = channel();
    watch_signals(notices.clone())?;

    let shards = spawn(Shared {
        plan: &plan,
        listeners,
        data_dirs: &data_dirs,
        nofile,
        backend,
        probe: &probe,
        wakers: &wakers,
        stop: &stop,
        notices,
    })?;
    let name = first_backend(&heard)?;
    let status = Arc::new(Status::new(name, env!("CARGO_PKG_VERSION"), shards.metrics));
    let admin_address = match admin {
        Some(listener) => Some(serve_admin(listener, status.clone())?),
        None => None,
    };
    let told = Serving {
        addresses,
        admin: admin_address,
        backend: name,
        probe: probe.to_string(),
        start_time: Duration::ZERO,
    };
    wait(&heard, shards.threads, &status, &Ending { stop, wakers }, move || {
        announce(&Serving { start_time: began.elapsed(), ..told });
    })
}

/// What ends a broker.
struct Ending {
    stop: Arc<AtomicBool>,
    wakers: Wakers,
}

/// Waits for the threads, and ends them all once one fails or a signal comes.
fn wait(
    heard: &Receiver<Notice>,
    threads: Vec<JoinHandle<()>>,
    status: &Status,
    ending: &Ending,
    announce: impl FnOnce(),
) -> Result<(), String> {
    let (mut serving, mut stopped) = (0, 0);
    let mut announce = Some(announce);
    while stopped < threads.len() {
        match heard.recv() {
            Ok(Notice::Opened(_)) => {}
            Ok(Notice::Serving) => {
                serving += 1;
                if serving == threads.len() {
                    status.set_ready(true);
                    if let Some(announce) = announce.take() {
                        announce();
                    }
                }
            }
            Ok(Notice::Signal) => {
                status.set_ready(false);
                ending.stop.store(true, Ordering::Relaxed);
                for shard in 0..threads.len() {
                    ending.wakers.wake(ShardId(shard as u16));
                }
            }
            Ok(Notice::Stopped) => stopped += 1,
            Ok(Notice::Fatal(why)) => return Err(why),
            Err(_) => return Err("a shard ended without a word".to_owned()),
        }
    }
    for thread in threads {
        thread.join().map_err(|_| "a shard panicked".to_owned())?;
    }
    Ok(())
}

struct Shared<'a> {
    plan: &'a Plan,
    listeners: Vec<Vec<Listener>>,
    data_dirs: &'a DataDirs,
    nofile: u64,
    backend: Backend,
    probe: &'a Probe,
    wakers: &'a Wakers,
    stop: &'a Arc<AtomicBool>,
    notices: Sender<Notice>,
}

struct Shards {
    threads: Vec<JoinHandle<()>>,
    metrics: Vec<Arc<ShardMetrics>>,
}

fn spawn(shared: Shared<'_>) -> Result<Shards, String> {
    let plan = shared.plan;
    let count = plan.shard_count;
    let config = Arc::new(plan.config.clone());
    let metrics: Vec<Arc<ShardMetrics>> = (0..count).map(|_| Arc::default()).collect();
    let cores = if plan.pinned { ring::allowed_cores() } else { Vec::new() };
    let mut leftovers = shared.data_dirs.leftovers.clone();
    let mut threads = Vec::with_capacity(count);
    for (index, link) in broker::links(count, MAILBOX_CAPACITY).into_iter().enumerate() {
        let listeners = shared.listeners.iter().map(|of_address| of_address[index]).collect();
        let parts = parts(&shared, &config, link, listeners, &metrics, &mut leftovers);
        let setup = Setup::new(ShardId(index as u16), shared.wakers.clone(), Pool::new(RECEIVE_BYTES));
        let core = (!cores.is_empty()).then(|| cores[index % cores.len()]);
        let (backend, probe, notices) = (shared.backend, shared.probe.clone(), shared.notices.clone());
        let thread = std::thread::Builder::new().name(format!("shard-{index}")).spawn(move || {
            if let Err(why) = turn(parts, setup, core, backend, &probe, &notices) {
                let _ = notices.send(Notice::Fatal(why));
            }
        });
        threads.push(thread.map_err(|error| format!("no thread for a shard: {error}"))?);
    }
    Ok(Shards { threads, metrics })
}

fn parts(
    shared: &Shared<'_>,
    config: &Arc<BrokerConfig>,
    link: Link,
    listeners: Vec<Listener>,
    metrics: &[Arc<ShardMetrics>],
    leftovers: &mut Vec<PathBuf>,
) -> Parts {
    let plan = shared.plan;
    let cache_bytes = plan.cache_bytes / plan.shard_count;
    let sizes = plan.config.log_dirs.iter().filter_map(|dir| ring::filesystem_bytes(dir));
    let filesystem_bytes = sizes.min().unwrap_or(u64::MAX);
    let asked = plan.config.queued_max_request_bytes.and_then(|bytes| usize::try_from(bytes).ok());
    // At least one request of the largest size must fit.
    let request_bytes = asked.unwrap_or(REQUEST_BYTES).max(2 * plan.config.socket_request_max_bytes);
    Parts {
        link,
        config: config.clone(),
        listeners,
        metrics: metrics.to_vec(),
        memory: Pool::new(request_bytes),
        chunks: Pool::of_slabs(cache_bytes + TAIL_BYTES),
        log: log::LogConfig {
            cache_bytes,
            journal_bytes_max: JOURNAL_BYTES
                .min(filesystem_bytes / 16 / plan.shard_count as u64)
                .max(JOURNAL_BYTES_MIN),
            roots: plan.config.log_dirs.clone(),
            lost: shared.data_dirs.lost.clone(),
            runs: shared.data_dirs.runs.clone(),
            files_max: (shared.nofile / 2) as usize / plan.shard_count,
            producer_expiration_ms: plan.config.producer_id_expiration_ms,
            retention_check_ms: plan.config.log_retention_check_interval_ms,
            free_bytes_min: plan.config.retention_min_free_bytes,
            ..log::LogConfig::default()
        },
        stop: shared.stop.clone(),
        leftovers: std::mem::take(leftovers),
    }
}

/// A shard's thread.
fn turn(
    parts: Parts,
    setup: Setup,
    core: Option<usize>,
    backend: Backend,
    probe: &Probe,
    notices: &Sender<Notice>,
) -> Result<(), String> {
    if let Some(core) = core
        && let Err(error) = ring::pin_to(core)
    {
        tracing::warn!(core, %error, "shard not pinned");
    }
    let mut world = open_world(backend, probe, setup)?;
    let _ = notices.send(Notice::Opened(world.backend_name()));
    let mut shard = Shard::new(parts);
    loop {
        match shard.turn(&mut world as &mut dyn Io) {
            Turned::Running => {}
            Turned::Serving => drop(notices.send(Notice::Serving)),
            Turned::Stopped => break,
            Turned::Fatal(why) => return Err(why),
        }
    }
    let _ = notices.send(Notice::Stopped);
    Ok(())
}

/// The machine's io_uring may turn out unusable after all (memory limits): then the fallback serves.
fn open_world(backend: Backend, probe: &Probe, setup: Setup) -> Result<World, String> {
    let fallback = Setup::new(setup.shard, setup.wakers.clone(), setup.pool.clone());
    match World::open(backend, probe, setup) {
        Err(error) if backend == Backend::Auto => {
            tracing::warn!(%error, "io_uring could not be set up, serving with epoll and disk threads");
            World::open(Backend::Poll, probe, fallback).map_err(|error| format!("no I/O backend: {error}"))
        }
        opened => opened.map_err(|error| format!("no I/O backend: {error}")),
    }
}

fn first_backend(heard: &Receiver<Notice>) -> Result<&'static str, String> {
    loop {
        match heard.recv() {
            Ok(Notice::Opened(name)) => return Ok(name),
            Ok(Notice::Fatal(why)) => return Err(why),
            Ok(_) => {}
            Err(_) => return Err("no shard has started".to_owned()),
        }
    }
}

fn backend(asked: IoBackend, probe: &Probe) -> Result<Backend, String> {
    match asked {
        IoBackend::Poll => Ok(Backend::Poll),
        IoBackend::Ring if probe.fits_ring() => Ok(Backend::Ring),
        IoBackend::Ring => Err(format!("--io ring: {}", probe.refusal().unwrap_or("io_uring cannot be used"))),
        IoBackend::Auto => {
            if let Some(refusal) = probe.refusal() {
                tracing::warn!(refusal, "io_uring cannot be used, serving with epoll and disk threads");
            }
            Ok(Backend::Auto)
        }
    }
}

fn bind(plan: &Plan) -> Result<(Vec<SocketAddr>, Vec<Vec<Listener>>), String> {
    let mut addresses = Vec::new();
    let mut listeners = Vec::new();
    for listener in &plan.config.listeners {
        let wanted = resolve(&listener.bind)?;
        let (address, of_shards) =
            bind_patiently(wanted, plan.shard_count).map_err(|error| format!("cannot listen on {wanted}: {error}"))?;
        addresses.push(address);
        listeners.push(of_shards);
    }
    Ok((addresses, listeners))
}

/// Binds, waiting a moment for a taken port: the kernel lets go of a dead process's ring, and so of its sockets, only
/// after the process is gone, and whoever starts it anew may be faster.
fn bind_patiently(wanted: SocketAddr, shard_count: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    let deadline = Instant::now() + PORT_PATIENCE;
    loop {
        match ring::bind(wanted, shard_count) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < deadline => {
                std::thread::sleep(PORT_RETRY);
            }
            answer => return answer,
        }
    }
}

/// The admin listener. Where the default is taken, most likely by another broker on this machine, this one does without.
fn bind_admin(config: &BrokerConfig) -> Result<Option<TcpListener>, String> {
    let Some(endpoint) = &config.admin_listener else { return Ok(None) };
    let address = resolve(endpoint)?;
    match TcpListener::bind(address) {
        Ok(listener) => Ok(Some(listener)),
        Err(error) if config.settings().assigned(ADMIN_LISTENER).is_none() => {
            tracing::warn!(%address, %error, "no admin HTTP: set {ADMIN_LISTENER} to another address");
            Ok(None)
        }
        Err(error) => Err(format!("cannot listen on {address} ({ADMIN_LISTENER}): {error}")),
    }
}

fn resolve(endpoint: &Endpoint) -> Result<SocketAddr, String> {
    let host = if endpoint.host.is_empty() { "::" } else { &endpoint.host };
    let found = (host, endpoint.port).to_socket_addrs().ok().and_then(|mut found| found.next());
    found.ok_or_else(|| format!("host name {host} cannot be resolved"))
}

fn serve_admin(listener: TcpListener, status: Arc<Status>) -> Result<SocketAddr, String> {
    let address = listener.local_addr().map_err(|error| format!("admin listener: {error}"))?;
    let serve = move || {
        if let Err(error) = admin::serve(listener, status) {
            tracing::error!(%error, "admin HTTP ended");
        }
    };
    std::thread::Builder::new()
        .name("control".to_owned())
        .spawn(serve)
        .map_err(|error| format!("no control thread: {error}"))?;
    Ok(address)
}

fn watch_signals(notices: Sender<Notice>) -> Result<(), String> {
    let mut signals = Signals::new([SIGTERM, SIGINT]).map_err(|error| format!("signals: {error}"))?;
    let watch = move || {
        for _ in signals.forever() {
            if notices.send(Notice::Signal).is_err() {
                return;
            }
        }
    };
    std::thread::Builder::new()
        .name("signals".to_owned())
        .spawn(watch)
        .map_err(|error| format!("no thread for signals: {error}"))?;
    Ok(())
}

/// A broken invariant ends the whole process at once: half a broker must not go on.
fn abort_on_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

/// How long a taken port is tried again; longer than any ring takes to go.
const PORT_PATIENCE: Duration = Duration::from_millis(1000);
/// Between two tries.
const PORT_RETRY: Duration = Duration::from_millis(10);
const ADMIN_LISTENER: &str = "corelog.admin.listener";

/// A shard's journal in a log directory, at most; all of them together a sixteenth of the smallest filesystem ...
const JOURNAL_BYTES: u64 = 128 << 20;
/// ... but never less than it takes to go on.
const JOURNAL_BYTES_MIN: u64 = 4 << 20;
/// Letters in one mailbox.
const MAILBOX_CAPACITY: usize = 1024;
/// Receive buffers of a shard: they should stay within its share of the cache.
const RECEIVE_BYTES: usize = 8 << 20;
/// Memory of a shard for requests and answers on their way.
const REQUEST_BYTES: usize = 128 << 20;
/// Memory of a shard for chunks that are being filled or written, beside the read cache.
const TAIL_BYTES: usize = 256 << 20;
