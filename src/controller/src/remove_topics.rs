//! Deleting topics, by name or by id.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TopicId;

use crate::{Controller, Decided, MetadataRecord, Refusal, Topic};

/// How a request speaks of a topic.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TopicReference {
    /// By its name.
    Name(String),
    /// By its id.
    Id(TopicId),
}

impl Controller {
    /// Deletes what there is; each topic succeeds or is refused by itself. Answers with the topics that are gone.
    pub fn delete_topics(&mut self, references: &[TopicReference]) -> Decided<Vec<Result<Arc<Topic>, Refusal>>> {
        let found: Vec<_> = references.iter().map(|reference| self.find(reference)).collect();
        let mut named: BTreeMap<TopicId, u32> = BTreeMap::new();
        for topic in found.iter().flatten() {
            *named.entry(topic.id).or_default() += 1;
        }
        let answer = found.into_iter().map(|found| {
            let topic = found?;
            if named.get(&topic.id).is_some_and(|times| *times > 1) { Err(Refusal::TopicRepeated) } else { Ok(topic) }
        });
        let answer: Vec<Result<Arc<Topic>, Refusal>> = answer.collect();
        let records = answer.iter().flatten().map(|topic| MetadataRecord::RemoveTopic { topic: topic.id }).collect();
        self.decide(records, answer)
    }

    fn find(&self, reference: &TopicReference) -> Result<Arc<Topic>, Refusal> {
        match reference {
            TopicReference::Name(name) => self.pending().topic(name).map(Arc::clone).ok_or(Refusal::UnknownTopic),
            TopicReference::Id(id) => self.pending().topic_by_id(*id).map(Arc::clone).ok_or(Refusal::UnknownTopicId),
        }
    }
}
