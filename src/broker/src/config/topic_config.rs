//! What holds for a topic: its own value, else the broker's, else the default.

use controller::Configs;

use super::setting::{Problem, list};
use super::settings::Settings;
use super::topic_settings::{TOPIC_SETTINGS, TopicSetting};
use super::{BrokerConfig, suggest};

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
    pub fn topic(&self, own: &Configs) -> TopicConfig {
        TopicConfig::effective(&self.settings, own)
    }

    /// Whether a topic can have these values; the first that it cannot.
    pub fn check_topic_configs(own: &Configs) -> Result<(), TopicConfigError> {
        own.iter().try_for_each(|(name, value)| check(name, value))
    }
}

impl TopicConfig {
    pub(super) fn effective(settings: &Settings, own: &Configs) -> TopicConfig {
        let text = |name: &str| {
            let setting = find(name).expect("the setting is in the table");
            value(settings, setting, own).expect("the setting has a default")
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

/// The value that holds. One of the topic's own that this version does not take counts as not set.
pub(super) fn value(settings: &Settings, topic: &TopicSetting, own: &Configs) -> Option<String> {
    own_value(topic, own)
        .map(str::to_owned)
        .or_else(|| broker_value(settings, topic))
        .or_else(|| topic.setting.default.map(str::to_owned))
}

pub(super) fn own_value<'a>(topic: &TopicSetting, own: &'a Configs) -> Option<&'a str> {
    own.get(topic.setting.name).map(|value| value.trim()).filter(|value| topic.setting.check(value).is_ok())
}

/// What the broker's settings say, in the topic's unit.
pub(super) fn broker_value(settings: &Settings, topic: &TopicSetting) -> Option<String> {
    topic.synonyms.iter().find_map(|synonym| {
        let value = settings.assigned(synonym.name)?.trim();
        if synonym.factor == 1 {
            return Some(value.to_owned());
        }
        let number: i64 = value.parse().expect("values were checked against the table");
        // Any negative value means "no limit", in every unit.
        Some(if number < 0 { -1 } else { number.saturating_mul(synonym.factor) }.to_string())
    })
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

impl std::fmt::Display for TopicConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.name.escape_debug(), self.problem)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Sources;
    use crate::config::settings;

    fn broker(arguments: &[&str]) -> BrokerConfig {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        BrokerConfig::load(&Sources { set: &arguments, ..Sources::default() }).expect("valid")
    }

    fn own(name: &str, value: &str) -> Configs {
        Configs::from([(name.into(), value.into())])
    }

    #[test]
    fn the_topics_value_wins_over_the_brokers_over_the_default() {
        let broker = broker(&["message.max.bytes=2000000", "log.message.timestamp.type=LogAppendTime"]);
        let config = broker.topic(&own("max.message.bytes", " 500 "));
        assert_eq!(config.max_message_bytes, 500);
        assert!(config.log_append_time);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(broker.topic(&Configs::new()), broker.topic_defaults);
        assert_eq!(broker.topic_defaults.max_message_bytes, 2_000_000);
        assert_eq!(broker.topic(&own("max.message.bytes", "x")).max_message_bytes, 2_000_000);
    }

    #[test]
    fn what_governs_old_records_is_typed() {
        let broker = broker(&["log.retention.hours=-1", "log.cleanup.policy=compact", "log.roll.hours=2"]);
        let config = broker.topic_defaults;
        assert_eq!((config.retention_ms, config.retention_bytes, config.segment_ms), (None, None, 7_200_000));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: true });
        let config = broker.topic(&own("cleanup.policy", "compact, delete"));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
        let config = broker.topic(&own("cleanup.policy", ""));
        assert_eq!(config.cleanup_policy, CleanupPolicy { delete: false, compact: false });
        let config = broker.topic(&own("min.cleanable.dirty.ratio", "0.25"));
        assert_eq!(config.min_cleanable_dirty_ratio, 0.25);
        assert_eq!(broker.topic(&own("retention.bytes", "77")).retention_bytes, Some(77));
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
            assert_eq!(value(broker.settings(), retention, &Configs::new()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_topics_settings_are_checked_with_a_suggestion() {
        for (name, value, expected) in [
            ("retention.ms", "1000", Ok(())),
            ("segment.index.bytes", "100", Ok(())),
            ("retention.msec", "1", Err("retention.msec: no such setting; did you mean retention.ms?")),
            ("retention.ms", "x", Err("retention.ms: 'x' is not a whole number from -1")),
            ("cleanup.policy", "compact", Ok(())),
            ("cleanup.policy", "delete, compact", Ok(())),
            ("cleanup.policy", "keep", Err("cleanup.policy: 'keep' is not a list of compact, delete")),
            ("compression.type", "zstd", Err("compression.type: 'zstd' is refused: this broker has only 'producer'")),
            ("num.partitions", "1", Err("num.partitions: no such setting")),
        ] {
            let checked = BrokerConfig::check_topic_configs(&own(name, value)).map_err(|error| error.to_string());
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
