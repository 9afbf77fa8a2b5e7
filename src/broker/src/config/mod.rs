//! The broker's settings: one declarative table, where values come from, and what they mean.
//!
//! Owns every name that a Kafka broker knows, with type, default, bounds and whether it has an effect here. Never reads a
//! file or the environment: both come in as text. Never silently ignores: a name that nobody has is an error, a
//! value that would need a behaviour that is not here is refused, a setting without effect is announced once.
//!
//! Rising precedence: defaults, the properties file, `KAFKA_*` variables, `--set`.

mod broker_config;
mod broker_settings;
mod describe;
mod environment;
mod kafka_settings;
mod layers;
mod listeners;
mod page;
mod properties;
mod setting;
mod settings;
mod suggest;
mod topic_config;
mod topic_settings;

pub use broker_config::{BrokerConfig, DynamicProblem};
pub use describe::{ConfigEntry, ConfigSource, ConfigSynonym};
pub use listeners::{Endpoint, Listener};
pub use page::settings_page;
pub use setting::{Bounds, Effect, Kind, Problem, Setting};
pub use settings::{ConfigError, Origin, Settings, Sources, Warning};
pub use topic_config::{CleanupPolicy, TopicConfig, TopicConfigError};
