//! What holds for a topic: its own value, else the broker's (see `layers`), else the default.

use controller::{Configs, Image};

use super::describe::ConfigSource;
use super::layers::{Assigned, Layers};
use super::setting::{Problem, Setting, list};
use super::topic_settings::{TOPIC_SETTINGS, TopicSetting};
use super::{BrokerConfig, settings, suggest};

/// A topic's settings that have effect. Fields have Kafka's names.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TopicConfig {
    /// The largest record batch.
    pub max_message_bytes: usize,
    /// The size at which a new segment begins.
    pub segment_bytes: u32,
    /// The age at which a new segment begins.
    pub segment_ms: u64,
    /// At most so much of a segment lies between two entries of its index.
    pub index_interval_bytes: u32,
    /// What happens to old records.
    pub cleanup_policy: CleanupPolicy,
    /// How long records are kept; `None`: for ever.
    pub retention_ms: Option<u64>,
    /// How much of a partition is kept; `None`: all.
    pub retention_bytes: Option<u64>,
    /// Compaction begins when this share of the log is not compacted, from 0 to 1.
    pub min_cleanable_dirty_ratio: f64,
    /// Younger records are not compacted.
    pub min_compaction_lag_ms: u64,
    /// Compaction begins when a record that is not compacted is this old, whatever the ratio.
    pub max_compaction_lag_ms: u64,
    /// How long a tombstone is kept.
    pub delete_retention_ms: u64,
    /// Whether records get the time of their append (LogAppendTime) or keep their producer's (CreateTime).
    pub log_append_time: bool,
    /// How far in the past a producer's timestamp may lie.
    pub timestamp_before_max_ms: i64,
    /// How far in the future.
    pub timestamp_after_max_ms: i64,
    /// Replicas that must have a record for acks=all; more than the topic has counts as all of them.
    pub min_insync_replicas: u32,
}

/// What happens to old records (`cleanup.policy`). Neither: all of them are kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CleanupPolicy {
    /// Those beyond the retention go.
    pub delete: bool,
    /// Those that a later record of the same key replaces go.
    pub compact: bool,
}

/// A topic's setting is wrong: INVALID_CONFIG, with the problem's text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TopicConfigError {
    /// Its name.
    pub name: String,
    /// What is wrong.
    pub problem: Problem,
}

impl BrokerConfig {
    /// What holds for a topic with these values of its own.
    pub fn topic(&self, image: &Image, own: &Configs) -> TopicConfig {
        TopicConfig::effective(self.layers(image), own)
    }

    /// Whether a new topic can have all these values.
    pub fn check_topic_configs(&self, image: &Image, own: &Configs) -> Result<(), TopicConfigError> {
        BrokerConfig::check_topic_values(own)?;
        self.check_topic_together(image, own)
    }

    /// Whether a topic can have each of these values; what is wrong with the first that it cannot.
    pub fn check_topic_values(values: &Configs) -> Result<(), TopicConfigError> {
        values.iter().try_for_each(|(name, value)| check(name, value))
    }

    /// Whether the values that a topic has do not contradict each other.
    pub fn check_topic_together(&self, image: &Image, own: &Configs) -> Result<(), TopicConfigError> {
        let config = self.topic(image, own);
        let (min, max) = (config.min_compaction_lag_ms, config.max_compaction_lag_ms);
        let is_own = own.contains_key(MIN_LAG) || own.contains_key(MAX_LAG);
        if is_own && min > max {
            let problem = Problem::Refused { value: min.to_string(), instead: format!("{MAX_LAG} is {max}") };
            return Err(TopicConfigError { name: MIN_LAG.to_owned(), problem });
        }
        Ok(())
    }
}

impl TopicConfig {
    fn effective(layers: Layers<'_>, own: &Configs) -> TopicConfig {
        let text = |name: &str| {
            let setting = find(name).expect("the setting is in the table");
            value(layers, setting, own).expect("the setting has a default")
        };
        let number = |name: &str| text(name).parse::<i64>().expect("the table bounds it");
        let small = |name: &str| u32::try_from(number(name)).expect("the table bounds it");
        let large = |name: &str| u64::try_from(number(name)).expect("the table bounds it");
        // Negative values mean "no limit".
        let limit = |name: &str| u64::try_from(number(name)).ok();
        let cleanup = text("cleanup.policy");
        TopicConfig {
            max_message_bytes: small("max.message.bytes") as usize,
            segment_bytes: small("segment.bytes"),
            segment_ms: large("segment.ms"),
            index_interval_bytes: small("index.interval.bytes"),
            cleanup_policy: CleanupPolicy {
                delete: list(&cleanup).any(|policy| policy == "delete"),
                compact: list(&cleanup).any(|policy| policy == "compact"),
            },
            retention_ms: limit("retention.ms"),
            retention_bytes: limit("retention.bytes"),
            min_cleanable_dirty_ratio: text("min.cleanable.dirty.ratio").parse().expect("the table bounds it"),
            min_compaction_lag_ms: large("min.compaction.lag.ms"),
            max_compaction_lag_ms: large("max.compaction.lag.ms"),
            delete_retention_ms: large("delete.retention.ms"),
            log_append_time: text("message.timestamp.type") == "LogAppendTime",
            timestamp_before_max_ms: number("message.timestamp.before.max.ms"),
            timestamp_after_max_ms: number("message.timestamp.after.max.ms"),
            min_insync_replicas: small("min.insync.replicas"),
        }
    }
}

impl BrokerConfig {
    /// A topic's setting.
    pub fn topic_setting(name: &str) -> Option<&'static Setting> {
        find(name).map(|topic| &topic.setting)
    }

    /// A broker's setting.
    pub fn broker_setting(name: &str) -> Option<&'static Setting> {
        settings::find(name)
    }
}

/// The value that holds.
fn value(layers: Layers<'_>, topic: &TopicSetting, own: &Configs) -> Option<String> {
    own_value(topic, own)
        .map(str::to_owned)
        .or_else(|| broker_value(layers, topic).map(|(value, _)| value))
        .or_else(|| topic.setting.default.map(str::to_owned))
}

/// The topic's own value. One that this version does not take counts as not set.
pub(super) fn own_value<'a>(topic: &TopicSetting, own: &'a Configs) -> Option<&'a str> {
    own.get(topic.setting.name).map(|value| value.trim()).filter(|value| topic.setting.check(value).is_ok())
}

/// What the broker's settings say, in the topic's unit, and where they say it.
pub(super) fn broker_value(layers: Layers<'_>, topic: &TopicSetting) -> Option<(String, ConfigSource)> {
    let Assigned { name, value, source } = layers.assigned(topic.synonym_names()).next()?;
    let synonym = topic.synonyms.iter().find(|synonym| synonym.name == name).expect("it was asked for");
    if synonym.factor == 1 {
        return Some((value.to_owned(), source));
    }
    let number: i64 = value.parse().expect("values were checked against the table");
    // Any negative value means "no limit", in every unit.
    Some((if number < 0 { -1 } else { number.saturating_mul(synonym.factor) }.to_string(), source))
}

pub(super) fn find(name: &str) -> Option<&'static TopicSetting> {
    let at = TOPIC_SETTINGS.binary_search_by_key(&name, |topic| topic.setting.name).ok()?;
    TOPIC_SETTINGS.get(at)
}

fn check(name: &str, value: &str) -> Result<(), TopicConfigError> {
    let problem = match find(name) {
        Some(topic) => topic.setting.check(value),
        None => {
            let names = TOPIC_SETTINGS.iter().map(|topic| topic.setting.name);
            Err(Problem::Unknown { nearest: suggest::nearest(name, names) })
        }
    };
    problem.map_err(|problem| TopicConfigError { name: name.to_owned(), problem })
}

const MIN_LAG: &str = "min.compaction.lag.ms";
const MAX_LAG: &str = "max.compaction.lag.ms";

impl std::fmt::Display for TopicConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name.escape_debug(), self.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;

    fn broker(arguments: &[&str]) -> BrokerConfig {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        BrokerConfig::load(&Sources { set: &arguments, ..Sources::default() }).expect("valid")
    }

    /// What holds without dynamic values of the broker's settings.
    fn topic(broker: &BrokerConfig, own: &Configs) -> TopicConfig {
        broker.topic(&Image::empty(), own)
    }

    fn own(name: &str, value: &str) -> Configs {
        Configs::from([(name.into(), value.into())])
    }

    #[test]
    fn the_topics_value_wins_over_the_brokers_over_the_default() {
        let broker = broker(&["message.max.bytes=2000000", "log.message.timestamp.type=LogAppendTime"]);
        let config = topic(&broker, &own("max.message.bytes", " 500 "));
        assert_eq!(config.max_message_bytes, 500);
        assert!(config.log_append_time);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(topic(&broker, &Configs::new()).max_message_bytes, 2_000_000);
        assert_eq!(topic(&broker, &own("max.message.bytes", "x")).max_message_bytes, 2_000_000);
    }

    #[test]
    fn what_governs_old_records_is_typed() {
        let broker = broker(&["log.retention.hours=-1", "log.cleanup.policy=compact", "log.roll.hours=2"]);
        let config = topic(&broker, &Configs::new());
        assert_eq!((config.retention_ms, config.retention_bytes, config.segment_ms), (None, None, 7_200_000));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: true });
        let config = topic(&broker, &own("cleanup.policy", "compact, delete"));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
        let config = topic(&broker, &own("cleanup.policy", ""));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: false });
        let config = topic(&broker, &own("min.cleanable.dirty.ratio", "0.25"));
        assert_eq!(config.min_cleanable_dirty_ratio, 0.25);
        assert_eq!(topic(&broker, &own("retention.bytes", "77")).retention_bytes, Some(77));
    }

    #[test]
    fn the_brokers_units_become_the_topics() {
        let retention = find("retention.ms").expect("known");
        for (arguments, expected) in [
            (&[][..], "604800000"),
            (&["log.retention.hours=1"], "3600000"),
            (&["log.retention.hours=1", "log.retention.minutes=1"], "60000"),
            (&["log.retention.minutes=1", "log.retention.ms=5"], "5"),
            (&["log.retention.hours=-1"], "-1"),
        ] {
            let broker = broker(arguments);
            let image = Image::empty();
            let layers = broker.layers(&image);
            assert_eq!(value(layers, retention, &Configs::new()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_topics_settings_are_checked_with_a_suggestion() {
        let broker = broker(&["log.cleaner.min.compaction.lag.ms=60"]);
        for (name, value, expected) in [
            ("retention.ms", "1000", Ok(())),
            ("segment.index.bytes", "100", Ok(())),
            ("retention.msec", "1", Err("retention.msec: no such setting; did you mean retention.ms?")),
            ("retention.ms", "x", Err("retention.ms: 'x' is not a whole number from -1")),
            ("cleanup.policy", "compact", Ok(())),
            ("cleanup.policy", "delete, compact", Ok(())),
            ("cleanup.policy", "keep", Err("cleanup.policy: 'keep' is not a list of compact, delete")),
            ("compression.type", "zstd", Err("compression.type: 'zstd' is refused: this broker has only 'producer'")),
            ("max.compaction.lag.ms", "60", Ok(())),
            ("max.compaction.lag.ms", "50", Err("min.compaction.lag.ms: '60' is refused: max.compaction.lag.ms is 50")),
            ("num.partitions", "1", Err("num.partitions: no such setting")),
        ] {
            let checked = broker.check_topic_configs(&Image::empty(), &own(name, value));
            let checked = checked.map_err(|error| error.to_string());
            assert_eq!(checked, expected.map_err(str::to_owned), "{name}={value}");
        }
    }

    #[test]
    fn the_table_is_consistent() {
        assert!(TOPIC_SETTINGS.is_sorted_by_key(|topic| topic.setting.name));
        for topic in TOPIC_SETTINGS {
            let default = topic.setting.default.expect("every topic setting has a default");
            assert_eq!(topic.setting.check(default), Ok(()), "{}", topic.setting.name);
            for synonym in topic.synonyms {
                assert!(settings::find(synonym.name).is_some(), "{}", synonym.name);
            }
        }
    }
}
