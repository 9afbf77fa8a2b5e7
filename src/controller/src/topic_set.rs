//! The living topics, by name, by id and by folded name, kept in step with each other.
//! Shared between images until one of them changes it.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicId;

use crate::Topic;
use crate::name::folded;

/// How many partitions all topics may have together: each costs memory and files whether used or not.
pub const PARTITION_COUNT_MAX: u32 = 100_000;
/// How many partitions one request may make; Kafka's bound.
pub(crate) const PARTITIONS_PER_REQUEST_MAX: u32 = 10_000;
/// How many settings of its own a topic may have: several times what Kafka knows.
pub(crate) const CONFIG_COUNT_MAX: usize = 128;

#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub(crate) struct TopicSet {
    by_name: BTreeMap<Arc<str>, Arc<Topic>>,
    by_id: BTreeMap<TopicId, Arc<Topic>>,
    /// Only the names that fold to something else than themselves could.
    folded: BTreeMap<String, TopicId>,
    partition_count: u32,
}

impl TopicSet {
    pub(crate) fn by_name(&self, name: &str) -> Option<&Arc<Topic>> {
        self.by_name.get(name)
    }

    pub(crate) fn by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.by_id.get(&id)
    }

    pub(crate) fn in_name_order(&self) -> impl Iterator<Item = &Arc<Topic>> {
        self.by_name.values()
    }

    /// The topics from `name` on, in the order of names.
    pub(crate) fn since_name<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a Arc<Topic>> + use<'a> {
        let bounds = (std::ops::Bound::Included(name), std::ops::Bound::Unbounded);
        self.by_name.range::<str, _>(bounds).map(|(_, topic)| topic)
    }

    pub(crate) fn count(&self) -> usize {
        self.by_name.len()
    }

    pub(crate) fn partition_count(&self) -> u32 {
        self.partition_count
    }

    /// Whether a topic lives whose name cannot be told from this one in metrics.
    pub(crate) fn collides(&self, name: &str) -> bool {
        folded(name).is_some_and(|folded| self.folded.contains_key(&folded))
    }

    /// Puts in a topic, in place of the one of the same id if there is one. The name of an id never changes.
    pub(crate) fn put(&mut self, topic: Topic) {
        let topic = Arc::new(topic);
        self.partition_count += topic.partition_count;
        if let Some(earlier) = self.by_id.insert(topic.id, Arc::clone(&topic)) {
            assert!(earlier.name == topic.name);
            self.partition_count -= earlier.partition_count;
        }
        if let Some(folded) = folded(&topic.name) {
            self.folded.insert(folded, topic.id);
        }
        self.by_name.insert(Arc::clone(&topic.name), topic);
        assert!(self.partition_count <= PARTITION_COUNT_MAX);
        assert!(self.by_name.len() == self.by_id.len());
    }

    pub(crate) fn remove(&mut self, id: TopicId) -> Option<Arc<Topic>> {
        let topic = self.by_id.remove(&id)?;
        self.partition_count -= topic.partition_count;
        if let Some(folded) = folded(&topic.name) {
            self.folded.remove(&folded);
        }
        self.by_name.remove(&topic.name);
        assert!(self.by_name.len() == self.by_id.len());
        Some(topic)
    }
}
