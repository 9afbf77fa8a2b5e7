//! A request by topic and partition, whose parts go to the partitions' homes and come back in any order.
//! Owns what is known so far, in the request's order. Never knows what is asked.

use crate::context::Context;
use crate::mail::Letter;

/// A request on its way, with a result of type `R` for each partition.
pub(crate) struct Split<R> {
    topics: Vec<SplitTopic<R>>,
    /// Where each part that was asked belongs: topic and partition of `topics`.
    places: Vec<(usize, usize)>,
    awaiting: usize,
}

/// A topic as the response repeats it: each partition's index with its result.
pub(crate) struct SplitTopic<R> {
    pub(crate) name: Box<str>,
    pub(crate) results: Vec<(i32, R)>,
}

impl<R> Split<R> {
    pub(crate) fn new() -> Split<R> {
        Split { topics: Vec::new(), places: Vec::new(), awaiting: 0 }
    }

    pub(crate) fn push_topic(&mut self, name: &str, partitions: usize) {
        self.topics.push(SplitTopic { name: name.into(), results: Vec::with_capacity(partitions) });
    }

    /// The next partition of the last topic, whose result is known.
    pub(crate) fn push_known(&mut self, partition_index: i32, result: R) {
        let topic = self.topics.last_mut().expect("a partition comes after its topic");
        topic.results.push((partition_index, result));
    }

    /// The next partition of the last topic; its home is asked. Until that has said otherwise, `result` stands. Answers
    /// the index by which the home names it.
    pub(crate) fn push_asked(&mut self, partition_index: i32, result: R) -> u32 {
        self.push_known(partition_index, result);
        let topic = self.topics.len() - 1;
        let index = u32::try_from(self.places.len()).expect("a request has fewer than 2^32 parts");
        self.places.push((topic, self.topics[topic].results.len() - 1));
        index
    }

    /// Sends each shard its parts. Answers whether there is anything to wait for.
    pub(crate) fn send<P>(
        &mut self,
        parts: Vec<Vec<P>>,
        context: &mut Context<'_>,
        letter: impl Fn(Vec<P>) -> Letter,
    ) -> bool {
        for (shard, parts) in context.post.shards().zip(parts) {
            if !parts.is_empty() {
                self.awaiting += 1;
                context.post.send(shard, letter(parts));
            }
        }
        self.awaiting > 0
    }

    /// A home has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, results: Vec<(u32, R)>) -> bool {
        for (index, result) in results {
            let (topic, partition) = self.places[index as usize];
            self.topics[topic].results[partition].1 = result;
        }
        self.awaiting -= 1;
        self.awaiting == 0
    }

    pub(crate) fn topics(&self) -> &[SplitTopic<R>] {
        &self.topics
    }
}
