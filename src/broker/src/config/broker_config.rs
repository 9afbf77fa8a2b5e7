//! The settings that have effect, as the types that the broker uses.

use std::fmt;
use std::path::PathBuf;

use controller::{Configs, Image};
use model::NodeId;

use super::listeners::{Endpoint, Listener, listeners, optional_endpoint};
use super::setting::{Problem, list};
use super::settings::{self, ConfigError, Settings, Sources};
use super::suggest;

/// The broker's configuration. Fields have Kafka's names.
#[derive(Clone, PartialEq, Debug)]
pub struct BrokerConfig {
    /// At least one.
    pub listeners: Vec<Listener>,
    /// Where metrics and health are served.
    pub admin_listener: Option<Endpoint>,
    /// The data directory.
    pub log_dirs: Vec<PathBuf>,
    /// This broker's id.
    pub node_id: NodeId,
    /// Where it stands.
    pub broker_rack: Option<String>,
    /// Partitions of a topic that does not say how many.
    pub num_partitions: u32,
    /// Whether asking for a topic's metadata may create it.
    pub auto_create_topics_enable: bool,
    /// Whether topics may be deleted.
    pub delete_topic_enable: bool,
    /// The largest request.
    pub socket_request_max_bytes: usize,
    /// Memory for requests being read or served; `None`: the broker's own choice.
    pub queued_max_request_bytes: Option<u64>,
    /// How long a silent connection stays.
    pub connections_max_idle_ms: u64,
    /// The most that one fetch is answered with.
    pub fetch_max_bytes: usize,
    /// How many fetch sessions are remembered, over all shards.
    pub max_incremental_fetch_session_cache_slots: u32,
    /// How long a silent producer is remembered, unless that was changed while the broker ran.
    pub producer_id_expiration_ms: u64,
    /// Memory for the read cache, over all shards; `None`: a quarter of what the process may have.
    pub read_cache_bytes: Option<u64>,
    /// How often retention is looked after.
    pub log_retention_check_interval_ms: u64,
    /// Free space that retention keeps; 0: none.
    pub retention_min_free_bytes: u64,
    /// Partitions of the offsets topic when it is created.
    pub offsets_topic_num_partitions: u32,
    /// How often offsets are looked at that may be over.
    pub offsets_retention_check_interval_ms: u64,
    /// The settings of groups.
    pub groups: group::Config,
    pub(super) settings: Settings,
}

impl BrokerConfig {
    /// From all sources; fails with one line about the first thing that is wrong.
    pub fn load(sources: &Sources<'_>) -> Result<BrokerConfig, ConfigError> {
        let settings = Settings::load(sources)?;
        check_roles(&settings)?;
        let not_negative = |name: &str| u64::try_from(settings.integer(name)).ok();
        let small = |name: &str| u32::try_from(settings.integer(name)).expect("the table bounds it");
        let large = |name: &str| u64::try_from(settings.integer(name)).expect("the table bounds it");
        let rack = settings.value("broker.rack").filter(|rack| !rack.is_empty());
        Ok(BrokerConfig {
            listeners: listeners(&settings)?,
            admin_listener: optional_endpoint(&settings, "corelog.admin.listener")?,
            log_dirs: log_dirs(&settings)?,
            node_id: node_id(&settings)?,
            broker_rack: rack.map(str::to_owned),
            num_partitions: small("num.partitions"),
            auto_create_topics_enable: settings.boolean("auto.create.topics.enable"),
            delete_topic_enable: settings.boolean("delete.topic.enable"),
            socket_request_max_bytes: small("socket.request.max.bytes") as usize,
            queued_max_request_bytes: not_negative("queued.max.request.bytes").filter(|bytes| *bytes > 0),
            connections_max_idle_ms: not_negative("connections.max.idle.ms")
                .map_or(FOR_EVER_MS, |ms| ms.min(FOR_EVER_MS)),
            fetch_max_bytes: small("fetch.max.bytes") as usize,
            max_incremental_fetch_session_cache_slots: small("max.incremental.fetch.session.cache.slots"),
            producer_id_expiration_ms: u64::from(small("producer.id.expiration.ms")),
            read_cache_bytes: not_negative("corelog.read.cache.bytes"),
            log_retention_check_interval_ms: large("log.retention.check.interval.ms"),
            retention_min_free_bytes: large("corelog.retention.min.free.bytes"),
            offsets_topic_num_partitions: small("offsets.topic.num.partitions"),
            offsets_retention_check_interval_ms: large("offsets.retention.check.interval.ms"),
            groups: groups(&settings),
            settings,
        })
    }

    /// The offsets topic's own settings when it is created.
    pub fn offsets_topic_configs(&self) -> Configs {
        let segment_bytes = self.settings.text("offsets.topic.segment.bytes");
        let pairs = [("cleanup.policy", "compact"), ("compression.type", "producer"), ("segment.bytes", segment_bytes)];
        pairs.map(|(name, value)| (name.into(), value.into())).into()
    }

    /// How long a silent producer is remembered now.
    pub fn producer_id_expiration_ms(&self, image: &Image) -> u64 {
        self.number(image, "producer.id.expiration.ms")
    }

    /// How often compaction looks for work now.
    pub fn log_cleaner_backoff_ms(&self, image: &Image) -> u64 {
        self.number(image, "log.cleaner.backoff.ms")
    }

    /// Memory for the keys of compactions now, over all shards.
    pub fn log_cleaner_dedupe_buffer_size(&self, image: &Image) -> u64 {
        self.number(image, "log.cleaner.dedupe.buffer.size")
    }

    /// What compactions may read and write in a second now, over all shards.
    pub fn log_cleaner_io_max_bytes_per_second(&self, image: &Image) -> u64 {
        let value = self.layers(image).value("log.cleaner.io.max.bytes.per.second").expect("the setting has a default");
        // As much as there is, if it is more than that.
        value.parse::<f64>().expect("the table bounds it") as u64
    }

    fn number(&self, image: &Image, name: &'static str) -> u64 {
        let value = self.layers(image).value(name).expect("the setting has a default");
        value.parse().expect("the table bounds it")
    }

    /// Whether a broker setting can be changed to this value while the broker runs.
    pub fn check_dynamic(name: &str, value: &str) -> Result<(), DynamicProblem> {
        let unknown = || Problem::Unknown { nearest: suggest::nearest(name, settings::all().map(|each| each.name)) };
        let setting = settings::find(name).ok_or_else(|| DynamicProblem::Value(unknown()))?;
        if !setting.dynamic {
            return Err(DynamicProblem::ReadOnly);
        }
        setting.check(value).map_err(DynamicProblem::Value)
    }

    /// The settings as they were set.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }
}

/// Why a broker setting is not changed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DynamicProblem {
    /// It holds from start to end.
    ReadOnly,
    /// There is no such setting, or the value is none of its.
    Value(Problem),
}

impl fmt::Display for DynamicProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DynamicProblem::ReadOnly => write!(f, "it cannot be changed while the broker runs"),
            DynamicProblem::Value(problem) => write!(f, "{problem}"),
        }
    }
}

fn groups(settings: &Settings) -> group::Config {
    let int = |name: &str| i32::try_from(settings.integer(name)).expect("the table bounds it");
    let count = |name: &str| usize::try_from(settings.integer(name)).expect("the table bounds it");
    group::Config {
        initial_rebalance_delay_ms: count("group.initial.rebalance.delay.ms") as u64,
        min_session_timeout_ms: int("group.min.session.timeout.ms"),
        max_session_timeout_ms: int("group.max.session.timeout.ms"),
        max_size: count("group.max.size"),
        offset_metadata_max: count("offset.metadata.max.bytes"),
        offsets_retention_ms: settings.integer("offsets.retention.minutes") * 60_000,
    }
}

fn node_id(settings: &Settings) -> Result<NodeId, ConfigError> {
    let older = settings.assigned("broker.id").map(|_| settings.integer("broker.id")).filter(|id| *id >= 0);
    let id = match (settings.assigned("node.id"), older) {
        (None, Some(id)) => id,
        (Some(_), Some(id)) if id != settings.integer("node.id") => {
            return Err(refused(settings, "broker.id", &id.to_string(), "node.id is set to something else"));
        }
        _ => settings.integer("node.id"),
    };
    Ok(NodeId(i32::try_from(id).expect("the table bounds it")))
}

fn log_dirs(settings: &Settings) -> Result<Vec<PathBuf>, ConfigError> {
    let name = if settings.assigned("log.dirs").is_some() { "log.dirs" } else { "log.dir" };
    let directories: Vec<PathBuf> = list(settings.text(name)).map(PathBuf::from).collect();
    let is_twice = |(at, directory): (usize, &PathBuf)| directories.iter().take(at).any(|other| other == directory);
    if directories.is_empty() || directories.iter().enumerate().any(is_twice) {
        return Err(refused(settings, name, settings.text(name), "it names each log directory once, and at least one"));
    }
    Ok(directories)
}

fn check_roles(settings: &Settings) -> Result<(), ConfigError> {
    let roles = settings.text("process.roles");
    if !list(roles).any(|role| role == "broker") {
        return Err(refused(settings, "process.roles", roles, "this program is always a broker"));
    }
    for name in ["controller.quorum.voters", "controller.quorum.bootstrap.servers"] {
        if list(settings.text(name)).count() > 1 {
            return Err(refused(settings, name, settings.text(name), "this broker stands alone"));
        }
    }
    Ok(())
}

fn refused(settings: &Settings, name: &str, value: &str, instead: &str) -> ConfigError {
    settings.error(name, Problem::Refused { value: value.to_owned(), instead: instead.to_owned() })
}

/// Ten years: long enough, and sums of times stay far from their limits.
const FOR_EVER_MS: u64 = 10 * 365 * 86_400_000;

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(arguments: &[&str]) -> Result<BrokerConfig, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        BrokerConfig::load(&Sources { set: &arguments, ..Sources::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_serve_without_any_setting() {
        let config = load(&[]).expect("defaults are valid");
        assert_eq!(config.log_dirs, [Path::new("./data")]);
        assert_eq!(config.node_id, NodeId(1));
        assert_eq!(config.queued_max_request_bytes, None);
        assert_eq!(config.read_cache_bytes, None);
        assert_eq!(config.admin_listener.map(|endpoint| endpoint.to_string()).as_deref(), Some("127.0.0.1:9644"));
    }

    #[test]
    fn older_names_hold_where_the_newer_are_not_set() {
        let config = load(&["broker.id=4", "log.dir=/a"]).expect("valid");
        assert_eq!((config.node_id, config.log_dirs[0].as_path()), (NodeId(4), Path::new("/a")));
        let config = load(&["broker.id=4", "node.id=4", "log.dir=/a", "log.dirs=/b"]).expect("valid");
        assert_eq!((config.node_id, config.log_dirs[0].as_path()), (NodeId(4), Path::new("/b")));
    }

    #[test]
    fn what_needs_more_than_one_broker_or_names_a_directory_twice_is_refused() {
        for (arguments, expected) in [
            (
                &["broker.id=4", "node.id=5"][..],
                "broker.id: '4' is refused: node.id is set to something else (from --set)",
            ),
            (
                &["log.dirs=/a,/b,/a"],
                "log.dirs: '/a,/b,/a' is refused: it names each log directory once, and at least one (from --set)",
            ),
            (
                &["log.dirs="],
                "log.dirs: '' is refused: it names each log directory once, and at least one (from --set)",
            ),
            (
                &["process.roles=controller"],
                "process.roles: 'controller' is refused: this program is always a broker (from --set)",
            ),
            (
                &["controller.quorum.voters=1@a:1,2@b:1"],
                "controller.quorum.voters: '1@a:1,2@b:1' is refused: this broker stands alone (from --set)",
            ),
        ] {
            assert_eq!(load(arguments).map(drop), Err(expected.to_string()));
        }
    }
}
