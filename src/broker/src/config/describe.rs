//! Settings as DescribeConfigs shows them.

use controller::{Configs, Image};

use super::BrokerConfig;
use super::layers::Layers;
use super::setting::{Kind, Setting};
use super::settings;
use super::topic_config::{broker_value, own_value};
use super::topic_settings::{TOPIC_SETTINGS, TopicSetting};

/// Where a value comes from, with Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum ConfigSource {
    /// The topic's own.
    DynamicTopic = 1,
    /// Given to this broker while it ran.
    DynamicBroker = 2,
    /// Given to all brokers while they ran.
    DynamicDefaultBroker = 3,
    /// Set at the broker's start.
    StaticBroker = 4,
    /// Set by nobody.
    Default = 5,
}

/// One setting of a topic or of the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigEntry {
    /// Its name.
    pub name: String,
    /// The value that holds; `None` where there is none, or where it is secret.
    pub value: Option<String>,
    /// Where that comes from.
    pub source: ConfigSource,
    /// Its type.
    pub kind: Kind,
    /// Whether it cannot be changed while the broker runs.
    pub read_only: bool,
    /// Whether its value is never shown.
    pub sensitive: bool,
    /// All values there are, the one that holds first.
    pub synonyms: Vec<ConfigSynonym>,
    /// One line about it.
    pub documentation: &'static str,
}

/// A value that a setting has or could fall back to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSynonym {
    /// The setting that it is of.
    pub name: String,
    /// The value, in that setting's unit.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

impl BrokerConfig {
    /// All settings of a topic with these values of its own.
    pub fn describe_topic<'a>(&'a self, image: &'a Image, own: &'a Configs) -> impl Iterator<Item = ConfigEntry> + 'a {
        let layers = self.layers(image);
        TOPIC_SETTINGS.iter().map(move |topic| topic_entry(layers, topic, own))
    }

    /// All settings of the broker that Kafka has today, and whatever else was set.
    pub fn describe_broker<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = ConfigEntry> + 'a {
        let (settings, layers) = (&self.settings, self.layers(image));
        let shown = settings::all()
            .filter(|setting| setting.effect != super::Effect::Retired || settings.assigned(setting.name).is_some());
        let beyond = settings.assigned_beyond_table().map(|name| ConfigEntry {
            name: name.to_owned(),
            // Whether it is a secret cannot be known.
            value: None,
            source: ConfigSource::StaticBroker,
            kind: Kind::Password,
            read_only: true,
            sensitive: true,
            synonyms: Vec::new(),
            documentation: "A setting of a listener or a plug-in: accepted, without effect here.",
        });
        shown.map(move |setting| broker_entry(layers, setting)).chain(beyond)
    }

    /// What all brokers were given while they ran, and only that.
    pub fn describe_all_brokers<'a>(&'a self, image: &'a Image) -> impl Iterator<Item = ConfigEntry> + 'a {
        let entries = settings::all().map(move |setting| broker_entry(self.layers(image), setting));
        entries.filter_map(|mut entry| {
            entry.synonyms.retain(|synonym| synonym.source == ConfigSource::DynamicDefaultBroker);
            entry.value = entry.synonyms.first()?.value.clone();
            entry.source = ConfigSource::DynamicDefaultBroker;
            Some(entry)
        })
    }
}

fn topic_entry(layers: Layers<'_>, topic: &TopicSetting, own: &Configs) -> ConfigEntry {
    let default = topic.setting.default.map(str::to_owned);
    let (value, source) = match own_value(topic, own) {
        Some(value) => (Some(value.to_owned()), ConfigSource::DynamicTopic),
        None => broker_value(layers, topic)
            .map_or((default, ConfigSource::Default), |(value, source)| (Some(value), source)),
    };
    let own = own_value(topic, own).map(|value| ConfigSynonym {
        name: topic.setting.name.to_owned(),
        value: Some(value.to_owned()),
        source: ConfigSource::DynamicTopic,
    });
    ConfigEntry {
        name: topic.setting.name.to_owned(),
        value,
        source,
        kind: topic.setting.kind,
        read_only: false,
        sensitive: false,
        synonyms: own.into_iter().chain(synonyms(layers, topic.synonym_names())).collect(),
        documentation: topic.setting.documentation(),
    }
}

fn broker_entry(layers: Layers<'_>, setting: &'static Setting) -> ConfigEntry {
    let sensitive = setting.is_sensitive();
    // Those that stand for the same in other units follow; before the setting's own they would say where it is not from.
    let same = TOPIC_SETTINGS.iter().find(|topic| topic.synonym_names().any(|name| name == setting.name));
    let names = same.map_or(vec![setting.name], |topic| topic.synonym_names().collect());
    let synonyms = synonyms(layers, names.iter().copied());
    let mut synonyms: Vec<_> = synonyms.skip_while(|synonym| synonym.name != setting.name).collect();
    let (value, source) = match synonyms.first() {
        Some(holds) => (holds.value.clone(), holds.source),
        None => (None, ConfigSource::Default),
    };
    if sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    ConfigEntry {
        name: setting.name.to_owned(),
        value: value.filter(|_| !sensitive),
        source,
        kind: setting.kind,
        read_only: !setting.dynamic,
        sensitive,
        synonyms,
        documentation: setting.documentation(),
    }
}

/// All values of settings that stand for the same, the one that holds first, the defaults last.
fn synonyms(
    layers: Layers<'_>,
    names: impl Iterator<Item = &'static str> + Clone,
) -> impl Iterator<Item = ConfigSynonym> {
    let defaults = names.clone().filter_map(|name| {
        let value = settings::find(name)?.default?;
        Some(ConfigSynonym { name: name.to_owned(), value: Some(value.to_owned()), source: ConfigSource::Default })
    });
    let assigned = layers.assigned(names).map(|assigned| ConfigSynonym {
        name: assigned.name.to_owned(),
        value: Some(assigned.value.to_owned()),
        source: assigned.source,
    });
    assigned.chain(defaults)
}

#[cfg(test)]
mod tests {
    use controller::MetadataRecord;
    use model::{NodeId, Uuid};

    use super::*;
    use crate::config::Sources;

    fn broker(arguments: &[&str]) -> BrokerConfig {
        let arguments: Vec<String> = arguments.iter().map(|argument| argument.to_string()).collect();
        BrokerConfig::load(&Sources { set: &arguments, ..Sources::default() }).expect("valid")
    }

    fn shown(entry: &ConfigEntry) -> (Option<&str>, ConfigSource, Vec<(&str, ConfigSource)>) {
        let synonyms = entry.synonyms.iter().map(|synonym| (synonym.name.as_str(), synonym.source)).collect();
        (entry.value.as_deref(), entry.source, synonyms)
    }

    #[test]
    fn a_topics_value_is_shown_with_where_it_comes_from() {
        use ConfigSource::{Default, DynamicTopic, StaticBroker};
        let broker = broker(&["log.retention.minutes=2"]);
        let own = Configs::from([("max.message.bytes".into(), "500".into())]);
        let entries: Vec<_> = broker.describe_topic(&Image::empty(), &own).collect();
        let entry = |name: &str| entries.iter().find(|entry| entry.name == name).expect("known");
        assert_eq!(
            shown(entry("max.message.bytes")),
            (Some("500"), DynamicTopic, vec![("max.message.bytes", DynamicTopic), ("message.max.bytes", Default)])
        );
        assert_eq!(
            shown(entry("retention.ms")),
            (
                Some("120000"),
                StaticBroker,
                vec![("log.retention.minutes", StaticBroker), ("log.retention.hours", Default)]
            )
        );
        assert_eq!(shown(entry("cleanup.policy")), (Some("delete"), Default, vec![("log.cleanup.policy", Default)]));
    }

    #[test]
    fn a_dynamic_value_is_shown_above_the_static_one() {
        use ConfigSource::{Default, DynamicBroker, DynamicDefaultBroker, StaticBroker};
        let broker = broker(&["log.retention.hours=2"]);
        let record = |node, key: &str, value: &str| MetadataRecord::BrokerConfig {
            node,
            key: key.into(),
            value: Some(value.into()),
        };
        let records = [
            MetadataRecord::Cluster { format: 1, cluster_id: Uuid([1; 16]) },
            record(None, "log.retention.ms", "7"),
            record(Some(NodeId(1)), "log.retention.ms", "8"),
            record(Some(NodeId(2)), "log.retention.ms", "9"),
            record(None, "log.segment.bytes", "no number"),
            record(None, "num.partitions", "5"),
        ];
        let image = Image::empty().apply(&records).expect("valid");
        let all: Vec<_> = broker.describe_all_brokers(&image).collect();
        assert_eq!(all.len(), 1, "what this version does not take is not there");
        assert_eq!(shown(&all[0]), (Some("7"), DynamicDefaultBroker, vec![("log.retention.ms", DynamicDefaultBroker)]));
        let own: Vec<_> = broker.describe_broker(&image).collect();
        let entry = |name: &str| own.iter().find(|entry| entry.name == name).expect("known");
        let synonyms = vec![
            ("log.retention.ms", DynamicBroker),
            ("log.retention.ms", DynamicDefaultBroker),
            ("log.retention.hours", StaticBroker),
            ("log.retention.hours", Default),
        ];
        assert_eq!(shown(entry("log.retention.ms")), (Some("8"), DynamicBroker, synonyms.clone()));
        assert!(!entry("log.retention.ms").read_only);
        assert!(entry("log.retention.hours").read_only);
        assert_eq!(shown(entry("log.retention.minutes")), (None, Default, vec![]));
        assert_eq!(entry("num.partitions").value.as_deref(), Some("1"));
        let topic: Vec<_> = broker.describe_topic(&image, &Configs::new()).collect();
        let retention = topic.iter().find(|entry| entry.name == "retention.ms").expect("known");
        assert_eq!(shown(retention), (Some("8"), DynamicBroker, synonyms));
        assert_eq!(broker.topic(&image, &Configs::new()).retention_ms, Some(8));
    }

    #[test]
    fn the_broker_shows_what_was_set_and_hides_secrets() {
        let broker = broker(&["ssl.key.password=secret", "listener.name.a.b=secret", "num.io.threads=9"]);
        let entries: Vec<_> = broker.describe_broker(&Image::empty()).collect();
        let entry = |name: &str| entries.iter().find(|entry| entry.name == name).expect("known");
        assert!(entries.iter().all(|entry| entry.value.as_deref() != Some("secret")));
        assert!(entries.iter().flat_map(|entry| &entry.synonyms).all(|one| one.value.as_deref() != Some("secret")));
        assert!(entry("ssl.key.password").sensitive);
        assert!(entry("listener.name.a.b").sensitive);
        assert_eq!(entry("num.io.threads").value.as_deref(), Some("9"));
        assert_eq!(entry("default.replication.factor").value.as_deref(), Some("1"));
        assert!(entries.iter().all(|entry| entry.name != "zookeeper.connect"));
    }
}
