//! Changing the values that a topic or a broker was given.
//! What a setting means is not known here: whoever asks has made the new values from those of the pending image and
//! has checked them. Here they become records: only what differs.

use std::sync::Arc;

use model::NodeId;

use crate::bytes::is_storable;
use crate::controller::RECORD_SET_BYTES_MAX;
use crate::topic_set::CONFIG_COUNT_MAX;
use crate::{Configs, Controller, Decided, Image, MetadataRecord, Refusal};

/// What has values that can be changed.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum ConfigResource {
    /// A topic, by its name.
    Topic(String),
    /// A broker; `None`: all that have no value of their own.
    Broker(Option<NodeId>),
}

/// The values that a resource has from now on; it loses all others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewConfigs {
    /// Whose.
    pub resource: ConfigResource,
    /// All of them.
    pub configs: Configs,
}

impl Controller {
    /// Changes what can be changed; each resource succeeds or is refused by itself. With `validate_only` nothing is
    /// changed. No resource may come twice.
    pub fn alter_configs(&mut self, items: &[NewConfigs], validate_only: bool) -> Decided<Vec<Result<(), Refusal>>> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let answer = items.iter().map(|item| {
            let changes = changes(self.pending(), item)?;
            bytes += changes.iter().map(|record| record.encode().len()).sum::<usize>();
            if bytes > RECORD_SET_BYTES_MAX {
                return Err(Refusal::RequestTooLarge);
            }
            records.extend(changes);
            Ok(())
        });
        let answer = answer.collect();
        self.decide(if validate_only { Vec::new() } else { records }, answer)
    }
}

/// The records that lead from a resource's values to its new ones.
fn changes(image: &Image, item: &NewConfigs) -> Result<Vec<MetadataRecord>, Refusal> {
    let (topic, configs) = match &item.resource {
        ConfigResource::Topic(name) => {
            let topic = image.topic(name).ok_or(Refusal::UnknownTopic)?;
            (Some(topic.id), &topic.configs)
        }
        ConfigResource::Broker(node) => (None, image.broker_configs(*node)),
    };
    if item.configs.len() > CONFIG_COUNT_MAX {
        return Err(Refusal::TooManyConfigs);
    }
    if !item.configs.iter().all(|(key, value)| is_storable(key) && is_storable(value)) {
        return Err(Refusal::InvalidConfig);
    }
    let record = |key: &Arc<str>, value: Option<&Arc<str>>| {
        let (key, value) = (Arc::clone(key), value.map(Arc::clone));
        match (&item.resource, topic) {
            (_, Some(topic)) => MetadataRecord::TopicConfig { topic, key, value },
            (ConfigResource::Broker(node), None) => MetadataRecord::BrokerConfig { node: *node, key, value },
            (ConfigResource::Topic(_), None) => unreachable!("a topic was found"),
        }
    };
    let gone = configs.keys().filter(|key| !item.configs.contains_key(*key)).map(|key| record(key, None));
    let changed = item.configs.iter().filter(|(key, value)| configs.get(*key) != Some(*value));
    Ok(gone.chain(changed.map(|(key, value)| record(key, Some(value)))).collect())
}
