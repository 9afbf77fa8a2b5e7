//! Which settings were set, to what, by whom: the sources laid over each other and checked against the table.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use super::broker_settings::BROKER_SETTINGS;
use super::kafka_settings::{KAFKA_SETTINGS, KNOWN_PREFIXES, RETIRED_SETTINGS};
use super::setting::{Effect, Problem, Setting};
use super::{environment, properties, suggest};

/// Where settings come from, in rising precedence.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sources<'a> {
    /// The text of the properties file.
    pub properties: Option<&'a str>,
    /// All variables of the environment; those that are no settings are left alone.
    pub environment: &'a [(String, String)],
    /// The arguments of `--set`: `name=value`.
    pub set: &'a [String],
}

/// Who set a value.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Origin {
    /// The properties file.
    Properties,
    /// A `KAFKA_*` variable.
    Environment,
    /// `--set`.
    CommandLine,
}

/// Why the broker cannot start with these settings. Its text is one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigError {
    /// A line of the properties file has a broken escape.
    PropertiesLine(usize),
    /// An argument of `--set` is not `name=value`.
    SetArgument(String),
    /// A setting is wrong.
    Setting {
        /// Its name.
        name: String,
        /// Who set it; `None`: it is missing, or wrong together with others.
        origin: Option<Origin>,
        /// What is wrong.
        problem: Problem,
    },
}

/// A setting that was set and does nothing, to be said once.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Warning {
    /// Its name.
    pub name: String,
    /// `Later`, `Never` or `Retired`.
    pub effect: Effect,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Assigned {
    value: String,
    origin: Origin,
}

/// The broker's settings as they were set; what was not has its default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Settings {
    assigned: BTreeMap<String, Assigned>,
}

impl Settings {
    /// Lays the sources over each other; every name is known and every value well-formed and taken.
    pub fn load(sources: &Sources<'_>) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        if let Some(text) = sources.properties {
            let pairs = properties::parse(text).map_err(|bad| ConfigError::PropertiesLine(bad.line))?;
            pairs.into_iter().for_each(|(name, value)| settings.assign(name, value, Origin::Properties));
        }
        for (variable, value) in sources.environment {
            if let Some(name) = environment::setting_name(variable) {
                settings.assign(name, value.clone(), Origin::Environment);
            }
        }
        for argument in sources.set {
            let (name, value) = argument
                .split_once('=')
                .filter(|(name, _)| !name.trim().is_empty())
                .ok_or_else(|| ConfigError::SetArgument(argument.clone()))?;
            settings.assign(name.trim().to_owned(), value.to_owned(), Origin::CommandLine);
        }
        for (name, assigned) in &settings.assigned {
            check(name, &assigned.value).map_err(|problem| settings.error(name, problem))?;
        }
        Ok(settings)
    }

    fn assign(&mut self, name: String, value: String, origin: Origin) {
        self.assigned.insert(name, Assigned { value, origin });
    }

    /// The error that this setting is to blame for.
    pub(super) fn error(&self, name: &str, problem: Problem) -> ConfigError {
        let origin = self.assigned.get(name).map(|assigned| assigned.origin);
        ConfigError::Setting { name: name.to_owned(), origin, problem }
    }

    /// The value that was set.
    pub fn assigned(&self, name: &str) -> Option<&str> {
        self.assigned.get(name).map(|assigned| assigned.value.as_str())
    }

    /// The names that were set and are not in the table: those of listeners and plug-ins.
    pub(super) fn assigned_beyond_table(&self) -> impl Iterator<Item = &str> {
        self.assigned.keys().map(String::as_str).filter(|name| find(name).is_none())
    }

    /// The value that holds, as text; `None` where neither a value nor a default is.
    pub fn value(&self, name: &str) -> Option<&str> {
        let setting = find(name).expect("only settings of the table are asked for");
        self.assigned(name).or(setting.default).map(str::trim)
    }

    /// The value that holds of a setting that always has one.
    pub(super) fn text(&self, name: &str) -> &str {
        self.value(name).expect("the setting has a default")
    }

    /// The whole number that holds.
    pub(super) fn integer(&self, name: &str) -> i64 {
        self.text(name).parse().expect("values were checked against the table")
    }

    /// The truth value that holds.
    pub(super) fn boolean(&self, name: &str) -> bool {
        super::setting::parse_boolean(self.text(name)).expect("values were checked against the table")
    }

    /// What was set and does nothing.
    pub fn warnings(&self) -> Vec<Warning> {
        let effect = |name: &str| find(name).map_or(Effect::Never, |setting| setting.effect);
        let warnings = self.assigned.keys().map(|name| Warning { name: name.clone(), effect: effect(name) });
        warnings.filter(|warning| warning.effect != Effect::Now).collect()
    }
}

/// All of the broker's settings.
pub(super) fn all() -> impl Iterator<Item = &'static Setting> {
    BROKER_SETTINGS.iter().chain(KAFKA_SETTINGS).chain(RETIRED_SETTINGS)
}

pub(super) fn find(name: &str) -> Option<&'static Setting> {
    static BY_NAME: LazyLock<BTreeMap<&str, &Setting>> =
        LazyLock::new(|| all().map(|setting| (setting.name, setting)).collect());
    BY_NAME.get(name).copied()
}

fn check(name: &str, value: &str) -> Result<(), Problem> {
    match find(name) {
        Some(setting) => setting.check(value),
        None if KNOWN_PREFIXES.iter().any(|prefix| name.len() > prefix.len() && name.starts_with(prefix)) => Ok(()),
        None => Err(Problem::Unknown { nearest: suggest::nearest(name, all().map(|setting| setting.name)) }),
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Origin::Properties => "the properties file",
            Origin::Environment => "the environment",
            Origin::CommandLine => "--set",
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigError::PropertiesLine(line) => write!(f, "line {line} of the properties file has a broken escape"),
            ConfigError::SetArgument(argument) => {
                write!(f, "--set takes name=value, not '{}'", argument.escape_debug())
            }
            ConfigError::Setting { name, origin, problem } => {
                write!(f, "{}: {problem}", name.escape_debug())?;
                origin.map_or(Ok(()), |origin| write!(f, " (from {origin})"))
            }
        }
    }
}

impl std::error::Error for ConfigError {}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.name;
        match self.effect {
            Effect::Retired => write!(f, "{name} is a setting of Kafka before version 4 and has no effect"),
            Effect::Never | Effect::Now => write!(f, "{name} is set and has no effect in this broker"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(arguments: &[&str]) -> Result<Settings, String> {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        Settings::load(&Sources { set: &arguments, ..Sources::default() }).map_err(|error| error.to_string())
    }

    #[test]
    fn later_sources_win() {
        let environment = [("KAFKA_NUM_PARTITIONS", "3"), ("KAFKA_NODE_ID", "7"), ("KAFKA_HEAP_OPTS", "-Xmx1G")];
        let environment = environment.map(|(name, value)| (name.to_string(), value.to_string()));
        let sources = Sources {
            properties: Some("num.partitions=2\nnode.id = 5\nlog.dirs=/data\n"),
            environment: &environment,
            set: &["num.partitions=4".to_string()],
        };
        let settings = Settings::load(&sources).expect("all are known");
        assert_eq!(settings.integer("num.partitions"), 4);
        assert_eq!(settings.integer("node.id"), 7);
        assert_eq!(settings.text("log.dirs"), "/data");
        assert_eq!(settings.integer("message.max.bytes"), 1_048_588);
        assert_eq!(settings.value("broker.rack"), None);
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (argument, expected) in [
            ("num.partition=1", "num.partition: no such setting; did you mean num.partitions? (from --set)"),
            ("colour=red", "colour: no such setting (from --set)"),
            ("num.partitions=many", "num.partitions: 'many' is not a whole number from 1 to 10000 (from --set)"),
            (
                "compression.type=gzip",
                "compression.type: 'gzip' is refused: this broker has only 'producer' (from --set)",
            ),
            (
                "authorizer.class.name=A",
                "authorizer.class.name: 'A' is refused: this broker does not have it (from --set)",
            ),
            ("num.partitions", "--set takes name=value, not 'num.partitions'"),
            ("=1", "--set takes name=value, not '=1'"),
            ("num.io.threads=0", "num.io.threads: '0' is not a whole number from 1 (from --set)"),
        ] {
            assert_eq!(set(&[argument]), Err(expected.to_string()));
        }
        let broken = Sources { properties: Some("a=1\nb=\\u00"), ..Sources::default() };
        let error = Settings::load(&broken).expect_err("a broken escape");
        assert_eq!(error.to_string(), "line 2 of the properties file has a broken escape");
    }

    #[test]
    fn settings_without_effect_are_kept_and_announced() {
        let settings = set(&[
            "num.io.threads=8",
            "zookeeper.connect=zk:2181",
            "listener.name.internal.ssl.keystore.location=/k",
            "num.partitions=2",
        ])
        .expect("all are known");
        let warnings: Vec<_> = settings.warnings().into_iter().map(|warning| warning.to_string()).collect();
        assert_eq!(
            warnings,
            [
                "listener.name.internal.ssl.keystore.location is set and has no effect in this broker",
                "num.io.threads is set and has no effect in this broker",
                "zookeeper.connect is a setting of Kafka before version 4 and has no effect",
            ]
        );
        assert_eq!(settings.assigned("num.io.threads"), Some("8"));
    }

    #[test]
    fn secrets_are_not_repeated_in_errors() {
        let problem = Problem::Malformed { value: None, expected: "a text".into() };
        assert_eq!(problem.to_string(), "the value is not a text");
        assert!(find("ssl.key.password").is_some_and(Setting::is_sensitive));
    }

    #[test]
    fn the_table_is_consistent() {
        let mut names: Vec<_> = all().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "a name is in the table twice");
        assert!(names.len() > 350, "Kafka 4 has that many");
        for setting in all() {
            if let Some(default) = setting.default {
                assert_eq!(setting.check(default), Ok(()), "{}", setting.name);
            }
            assert_eq!(setting.effect == Effect::Now, !setting.doc.is_empty());
        }
    }
}
