//! Where a broker setting's value comes from: what this broker was given while it ran, what all brokers were given, what
//! it was started with. The first that has a value wins; below all of them lie the defaults.

use controller::{Configs, Image};

use super::BrokerConfig;
use super::describe::ConfigSource;
use super::settings::{self, Settings};

/// The layers at one moment of the metadata.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layers<'a> {
    own: &'a Configs,
    all: &'a Configs,
    settings: &'a Settings,
}

/// A value in one of the layers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Assigned<'a> {
    /// The setting that it is of.
    pub(super) name: &'static str,
    pub(super) value: &'a str,
    pub(super) source: ConfigSource,
}

impl BrokerConfig {
    pub(super) fn layers<'a>(&'a self, image: &'a Image) -> Layers<'a> {
        let own = image.broker_configs(Some(self.node_id));
        Layers { own, all: image.broker_configs(None), settings: &self.settings }
    }
}

impl<'a> Layers<'a> {
    /// The values of settings that stand for the same, the one that holds first: layer before layer, in each of them in
    /// the order of the names.
    pub(super) fn assigned(
        self,
        names: impl Iterator<Item = &'static str> + Clone,
    ) -> impl Iterator<Item = Assigned<'a>> {
        LAYERS.into_iter().flat_map(move |source| {
            names.clone().filter_map(move |name| Some(Assigned { name, value: self.get(source, name)?, source }))
        })
    }

    /// The value in one layer. A dynamic one that this version does not take counts as not set.
    fn get(self, source: ConfigSource, name: &str) -> Option<&'a str> {
        let configs = match source {
            ConfigSource::DynamicBroker => self.own,
            ConfigSource::DynamicDefaultBroker => self.all,
            ConfigSource::StaticBroker => return self.settings.assigned(name).map(str::trim),
            ConfigSource::DynamicTopic | ConfigSource::Default => unreachable!("no layer of a broker"),
        };
        let setting = settings::find(name).filter(|setting| setting.dynamic)?;
        configs.get(name).map(|value| value.trim()).filter(|value| setting.check(value).is_ok())
    }

    /// What holds, the default included.
    pub(super) fn value(self, name: &'static str) -> Option<&'a str> {
        let assigned = self.assigned(std::iter::once(name)).next().map(|assigned| assigned.value);
        assigned.or_else(|| settings::find(name)?.default)
    }
}

const LAYERS: [ConfigSource; 3] =
    [ConfigSource::DynamicBroker, ConfigSource::DynamicDefaultBroker, ConfigSource::StaticBroker];
