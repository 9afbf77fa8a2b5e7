//! Settings as DescribeConfigs shows them.

use controller::Configs;

use super::BrokerConfig;
use super::setting::{Kind, Setting};
use super::settings::{self, Settings};
use super::topic_config::{broker_value, own_value};
use super::topic_settings::{TOPIC_SETTINGS, TopicSetting};

/// Where a value comes from, with Kafka's numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(i8)]
pub enum ConfigSource {
    /// The topic's own.
    DynamicTopic = 1,
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
    pub fn describe_topic<'a>(&'a self, own: &'a Configs) -> impl Iterator<Item = ConfigEntry> + 'a {
        TOPIC_SETTINGS.iter().map(|topic| topic_entry(&self.settings, topic, own))
    }

    /// All settings of the broker that Kafka has today, and whatever else was set.
    pub fn describe_broker(&self) -> impl Iterator<Item = ConfigEntry> + '_ {
        let settings = &self.settings;
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
        shown.map(|setting| broker_entry(settings, setting)).chain(beyond)
    }
}

fn topic_entry(settings: &Settings, topic: &TopicSetting, own: &Configs) -> ConfigEntry {
    let default = topic.setting.default.map(str::to_owned);
    let (value, source) = match (own_value(topic, own), broker_value(settings, topic)) {
        (Some(value), _) => (Some(value.to_owned()), ConfigSource::DynamicTopic),
        (None, Some(value)) => (Some(value), ConfigSource::StaticBroker),
        (None, None) => (default, ConfigSource::Default),
    };
    let own = own_value(topic, own).map(|value| ConfigSynonym {
        name: topic.setting.name.to_owned(),
        value: Some(value.to_owned()),
        source: ConfigSource::DynamicTopic,
    });
    let set = topic.synonyms.iter().filter_map(|synonym| assigned_synonym(settings, synonym.name));
    let defaults = topic.synonyms.iter().filter_map(|synonym| default_synonym(settings::find(synonym.name)?));
    ConfigEntry {
        name: topic.setting.name.to_owned(),
        value,
        source,
        kind: topic.setting.kind,
        read_only: false,
        sensitive: false,
        synonyms: own.into_iter().chain(set).chain(defaults).collect(),
        documentation: topic.setting.documentation(),
    }
}

fn broker_entry(settings: &Settings, setting: &Setting) -> ConfigEntry {
    let assigned = settings.assigned(setting.name).is_some();
    let sensitive = setting.is_sensitive();
    let mut synonyms: Vec<_> = assigned_synonym(settings, setting.name).into_iter().collect();
    synonyms.extend(default_synonym(setting));
    if sensitive {
        synonyms.iter_mut().for_each(|synonym| synonym.value = None);
    }
    ConfigEntry {
        name: setting.name.to_owned(),
        value: settings.value(setting.name).filter(|_| !sensitive).map(str::to_owned),
        source: if assigned { ConfigSource::StaticBroker } else { ConfigSource::Default },
        kind: setting.kind,
        read_only: true,
        sensitive,
        synonyms,
        documentation: setting.documentation(),
    }
}

fn assigned_synonym(settings: &Settings, name: &str) -> Option<ConfigSynonym> {
    let value = Some(settings.assigned(name)?.trim().to_owned());
    Some(ConfigSynonym { name: name.to_owned(), value, source: ConfigSource::StaticBroker })
}

fn default_synonym(setting: &Setting) -> Option<ConfigSynonym> {
    let value = Some(setting.default?.to_owned());
    Some(ConfigSynonym { name: setting.name.to_owned(), value, source: ConfigSource::Default })
}

#[cfg(test)]
mod tests {
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
        let entries: Vec<_> = broker.describe_topic(&own).collect();
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
    fn the_broker_shows_what_was_set_and_hides_secrets() {
        let broker = broker(&["ssl.key.password=secret", "listener.name.a.b=secret", "num.io.threads=9"]);
        let entries: Vec<_> = broker.describe_broker().collect();
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
