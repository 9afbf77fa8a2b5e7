//! DescribeTopicPartitions: topics in the order of their names, page by page.

use std::collections::BTreeSet;

use controller::{Refusal, Topic, check_topic_name};
use model::ErrorCode;
use wire::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, DescribeTopicPartitionsResponsePartition,
    DescribeTopicPartitionsResponseTopic,
};

use super::{OPERATIONS_ON_TOPIC, View, is_internal};

/// One page, and where the next one begins.
pub(crate) fn answer(
    request: &DescribeTopicPartitionsRequest<'_>,
    view: &View<'_>,
) -> DescribeTopicPartitionsResponse<'static> {
    let first = request.cursor.as_ref().map(|cursor| (&*cursor.topic_name, u32::try_from(cursor.partition_index).ok()));
    if let Some((_, None)) = first {
        let topics = request.topics.iter().map(|topic| missing(&topic.name, ErrorCode::InvalidRequest));
        return DescribeTopicPartitionsResponse { topics: topics.collect(), ..Default::default() };
    }
    let (from, from_partition) = first.map_or(("", 0), |(name, partition)| (name, partition.unwrap_or(0)));
    let mut page = Page::new(view, request.response_partition_limit);
    if request.topics.is_empty() {
        for topic in view.image.topics_from(from) {
            let first = if &*topic.name == from { from_partition } else { 0 };
            if !page.add(topic, first) {
                break;
            }
        }
    } else {
        let names: BTreeSet<&str> = request.topics.iter().map(|topic| &*topic.name).collect();
        for name in names.range(from..) {
            let first = if *name == from { from_partition } else { 0 };
            match look_up(view, name) {
                Ok(topic) if page.add(topic, first) => {}
                Ok(_) => break,
                Err(code) => page.topics.push(missing(name, code)),
            }
        }
    }
    DescribeTopicPartitionsResponse { topics: page.topics, next_cursor: page.next, ..Default::default() }
}

/// A page that fills up.
struct Page {
    node_id: i32,
    room: usize,
    topics: Vec<DescribeTopicPartitionsResponseTopic<'static>>,
    next: Option<Cursor<'static>>,
}

impl Page {
    fn new(view: &View<'_>, limit: i32) -> Page {
        let room = usize::try_from(limit).unwrap_or(1).clamp(1, PARTITIONS_PER_PAGE_MAX);
        Page { node_id: view.image.node_id().0, room, topics: Vec::new(), next: None }
    }

    /// Adds what fits of the topic, from a partition on; `false` once the page is full and something is left.
    fn add(&mut self, topic: &Topic, first: u32) -> bool {
        let first = first.min(topic.partition_count);
        if self.room == 0 {
            self.next = Some(cursor(topic, first));
            return false;
        }
        let count = (topic.partition_count - first).min(u32::try_from(self.room).unwrap_or(u32::MAX));
        let partitions = (first..first + count).map(|index| self.partition(topic, index));
        let partitions: Vec<_> = partitions.collect();
        self.room -= partitions.len();
        self.topics.push(DescribeTopicPartitionsResponseTopic {
            name: Some(topic.name.to_string().into()),
            topic_id: topic.id,
            is_internal: is_internal(&topic.name),
            partitions,
            topic_authorized_operations: OPERATIONS_ON_TOPIC,
            ..Default::default()
        });
        if first + count < topic.partition_count {
            self.next = Some(cursor(topic, first + count));
        }
        self.next.is_none()
    }

    fn partition(&self, topic: &Topic, index: u32) -> DescribeTopicPartitionsResponsePartition {
        DescribeTopicPartitionsResponsePartition {
            partition_index: index as i32,
            leader_id: self.node_id,
            leader_epoch: topic.leader_epoch.to_wire(),
            replica_nodes: vec![self.node_id],
            isr_nodes: vec![self.node_id],
            ..Default::default()
        }
    }
}

fn look_up<'a>(view: &View<'a>, name: &str) -> Result<&'a Topic, ErrorCode> {
    match check_topic_name(name) {
        Ok(()) | Err(Refusal::NameReserved) => {}
        Err(refusal) => return Err(refusal.code()),
    }
    view.image.topic(name).map(|topic| &**topic).ok_or(ErrorCode::UnknownTopicOrPartition)
}

fn missing(name: &str, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic<'static> {
    DescribeTopicPartitionsResponseTopic {
        error_code: code.to_wire(),
        name: Some(name.to_owned().into()),
        is_internal: is_internal(name),
        ..Default::default()
    }
}

fn cursor(topic: &Topic, partition: u32) -> Cursor<'static> {
    Cursor { topic_name: topic.name.to_string().into(), partition_index: partition as i32 }
}

/// Kafka's default for `max.request.partition.size.limit`.
const PARTITIONS_PER_PAGE_MAX: usize = 2000;

#[cfg(test)]
mod tests {
    use wire::describe_topic_partitions::TopicRequest;

    use super::*;
    use crate::handlers::testing::World;

    /// Reads page after page as a client does.
    fn read_all(world: &World, names: &[&'static str], limit: i32) -> (Vec<(String, usize)>, usize) {
        let topics = names.iter().map(|name| TopicRequest { name: (*name).into() }).collect();
        let mut request = DescribeTopicPartitionsRequest { topics, response_partition_limit: limit, cursor: None };
        let mut read: Vec<(String, usize)> = Vec::new();
        for page in 1.. {
            let response = answer(&request, &world.view());
            for topic in response.topics {
                let name = topic.name.expect("named").to_string();
                let indexes: Vec<_> = topic.partitions.iter().map(|partition| partition.partition_index).collect();
                match read.last_mut().filter(|(last, _)| *last == name) {
                    Some((_, count)) => {
                        assert_eq!(indexes.first().copied(), i32::try_from(*count).ok());
                        *count += indexes.len();
                    }
                    None => read.push((name, indexes.len())),
                }
            }
            match response.next_cursor {
                None => return (read, page),
                Some(cursor) => request.cursor = Some(cursor),
            }
        }
        unreachable!("the pages end")
    }

    #[test]
    fn pages_add_up_to_everything_whatever_their_size() {
        let mut world = World::new();
        for (name, count) in [("b", 5), ("a", 3), ("c", 1)] {
            world.create(name, count);
        }
        let all = [("a".to_owned(), 3), ("b".to_owned(), 5), ("c".to_owned(), 1)];
        for (limit, pages) in [(1, 9), (2, 5), (3, 3), (8, 2), (9, 1), (2000, 1), (0, 9), (-5, 9)] {
            assert_eq!(read_all(&world, &[], limit), (all.to_vec(), pages), "limit {limit}");
            assert_eq!(read_all(&world, &["c", "a", "b", "a"], limit), (all.to_vec(), pages), "limit {limit}");
        }
        let response = answer(
            &DescribeTopicPartitionsRequest { response_partition_limit: 10, ..Default::default() },
            &world.view(),
        );
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        assert_eq!(response.topics[0].partitions[0].eligible_leader_replicas, Some(vec![]));
    }

    #[test]
    fn what_is_not_there_says_why() {
        let mut world = World::new();
        world.create("a", 1);
        let topics = ["a", "x", "x y"].map(|name| TopicRequest { name: name.into() }).to_vec();
        let request = DescribeTopicPartitionsRequest { topics, response_partition_limit: 10, cursor: None };
        let codes = |request: &DescribeTopicPartitionsRequest<'_>| -> Vec<_> {
            answer(request, &world.view()).topics.iter().map(|topic| ErrorCode::from_wire(topic.error_code)).collect()
        };
        assert_eq!(
            codes(&request),
            [Some(ErrorCode::None), Some(ErrorCode::UnknownTopicOrPartition), Some(ErrorCode::InvalidTopicException)]
        );
        let cursor = Some(Cursor { topic_name: "a".into(), partition_index: -1 });
        assert_eq!(codes(&DescribeTopicPartitionsRequest { cursor, ..request }), [Some(ErrorCode::InvalidRequest); 3]);
    }
}
