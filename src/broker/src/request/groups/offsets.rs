//! OffsetCommit, OffsetFetch, OffsetDelete.

use std::sync::Arc;

use group::{Answer, Commit, CommitItem, Committed, DeleteOffsets, FetchOffsets, OffsetsOfTopic, Request};
use model::{ErrorCode, LeaderEpoch, Timestamp, TopicId};
use wire::TopicRef;
use wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use wire::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use wire::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchResponse, OffsetFetchResponseGroup,
    OffsetFetchResponsePartition, OffsetFetchResponsePartitions, OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};

use super::membership::generation;
use super::{Asked, Shape, check_storable, refusal};
use crate::context::Context;

/// A request by topic and partition: what is known so far, and where what is asked belongs.
#[derive(Default)]
pub(super) struct Places {
    topics: Vec<PlacesOfTopic>,
    /// Topic and partition of `topics`, by the index that the coordinator is given.
    asked: Vec<(usize, usize)>,
}

struct PlacesOfTopic {
    name: Box<str>,
    id: TopicId,
    results: Vec<(i32, ErrorCode)>,
}

impl Places {
    fn push_topic(&mut self, name: &str, id: TopicId) {
        self.topics.push(PlacesOfTopic { name: name.into(), id, results: Vec::new() });
    }

    fn push_known(&mut self, partition: i32, error: ErrorCode) {
        self.topics.last_mut().expect("a partition comes after its topic").results.push((partition, error));
    }

    /// The next partition, which is asked; its index.
    fn push_asked(&mut self, partition: i32) -> u32 {
        self.push_known(partition, ErrorCode::None);
        let topic = self.topics.len() - 1;
        self.asked.push((topic, self.topics[topic].results.len() - 1));
        u32::try_from(self.asked.len() - 1).expect("a request has fewer than 2^32 parts")
    }

    fn settle(&mut self, answer: Option<&Answer>) {
        match answer {
            Some(Answer::Items(items)) => {
                for (index, error) in items {
                    let (topic, partition) = self.asked[*index as usize];
                    self.topics[topic].results[partition].1 = *error;
                }
            }
            Some(refused) => {
                for (topic, partition) in &self.asked {
                    self.topics[*topic].results[*partition].1 = refusal(refused);
                }
            }
            // Nothing was asked.
            None => {}
        }
    }
}

pub(super) fn commit(request: &OffsetCommitRequest<'_>, version: i16, context: &Context<'_>) -> Asked {
    let mut places = Places::default();
    let mut items = Vec::new();
    for topic in &request.topics {
        let by_id = version >= 10;
        let named = if by_id { TopicRef::Id(topic.topic_id) } else { TopicRef::Name(&topic.name) };
        let known = context.topics.find(context.image, named);
        let unknown =
            if by_id && known.is_none() { ErrorCode::UnknownTopicId } else { ErrorCode::UnknownTopicOrPartition };
        places.push_topic(&topic.name, topic.topic_id);
        let name: Option<Arc<str>> = known.map(|known| known.topic.name.clone());
        for partition in &topic.partitions {
            let at = known.and_then(|known| known.partition(partition.partition_index));
            let (Some(at), Some(name)) = (at, &name) else {
                places.push_known(partition.partition_index, unknown);
                continue;
            };
            let index = places.push_asked(partition.partition_index);
            let committed = committed_offset(partition, at.topic, request.retention_time_ms, version, context.wall);
            items.push(CommitItem { index, topic: name.clone(), partition: partition.partition_index, committed });
        }
    }
    // As Kafka: a group id may be empty here, for those who commit without ever joining.
    let part = match check_storable(&request.group_id, ErrorCode::InvalidGroupId) {
        Ok(()) => {
            let id = request.group_instance_id.as_ref();
            let member = generation(&request.member_id, id, request.generation_id_or_member_epoch);
            Ok(((*request.group_id).into(), Request::Commit(Commit { member, items })))
        }
        Err(error) => Err(Answer::Refused(error)),
    };
    let parts = if places.asked.is_empty() { Vec::new() } else { vec![part] };
    Asked { shape: Shape::Commit(places), parts }
}

fn committed_offset(
    partition: &OffsetCommitRequestPartition<'_>,
    topic_id: TopicId,
    retention_time_ms: i64,
    version: i16,
    now: Timestamp,
) -> Committed {
    let retention_ms = Some(retention_time_ms).filter(|ms| version <= 4 && *ms >= 0);
    Committed {
        topic_id,
        offset: partition.committed_offset,
        leader_epoch: LeaderEpoch::from_wire(partition.committed_leader_epoch),
        metadata: partition.committed_metadata.as_deref().unwrap_or("").into(),
        at: now,
        expires: retention_ms.map(|ms| Timestamp(now.0.saturating_add(ms))),
    }
}

pub(super) fn committed<'a>(answer: Option<&Answer>, places: &'a mut Places) -> OffsetCommitResponse<'a> {
    places.settle(answer);
    let partition = |(partition_index, error): &(i32, ErrorCode)| OffsetCommitResponsePartition {
        partition_index: *partition_index,
        error_code: error.to_wire(),
    };
    let topic = |topic: &'a PlacesOfTopic| OffsetCommitResponseTopic {
        name: (&*topic.name).into(),
        topic_id: topic.id,
        partitions: topic.results.iter().map(partition).collect(),
    };
    OffsetCommitResponse { topics: places.topics.iter().map(topic).collect(), ..Default::default() }
}

/// What is asked of one group: topics by id that nobody knows are answered here.
pub(super) struct FetchedGroup {
    group_id: Box<str>,
    unknown: Vec<(TopicId, Vec<i32>)>,
    /// By version 1 each partition has the error that later versions have once.
    asked: Vec<(Arc<str>, Vec<i32>)>,
}

pub(super) fn fetch(request: &OffsetFetchRequest<'_>, version: i16, context: &Context<'_>) -> Asked {
    let mut groups = Vec::new();
    let mut parts = Vec::new();
    if version <= 7 {
        let topics = request.topics.as_ref().map(|topics| {
            topics.iter().map(|topic| (Arc::from(&*topic.name), topic.partition_indexes.clone())).collect::<Vec<_>>()
        });
        let asked = topics.clone().unwrap_or_default();
        groups.push(FetchedGroup { group_id: (*request.group_id).into(), unknown: Vec::new(), asked });
        parts.push(fetch_part(&request.group_id, topics));
    }
    for group in request.groups.iter().filter(|_| version >= 8) {
        let (topics, unknown) = topics_of(group, version, context);
        groups.push(FetchedGroup { group_id: (*group.group_id).into(), unknown, asked: Vec::new() });
        parts.push(fetch_part(&group.group_id, topics));
    }
    Asked { shape: Shape::Fetch(groups), parts }
}

/// Partitions by their topics' names.
type ByName = Vec<(Arc<str>, Vec<i32>)>;

fn fetch_part(group_id: &str, topics: Option<ByName>) -> Result<(Box<str>, Request), Answer> {
    check_storable(group_id, ErrorCode::InvalidGroupId).map_err(Answer::Refused)?;
    Ok((group_id.into(), Request::Fetch(FetchOffsets { topics })))
}

/// The topics by name, and those whose ids nobody has.
fn topics_of(
    group: &OffsetFetchRequestGroup<'_>,
    version: i16,
    context: &Context<'_>,
) -> (Option<ByName>, Vec<(TopicId, Vec<i32>)>) {
    let Some(topics) = &group.topics else { return (None, Vec::new()) };
    let (mut named, mut unknown) = (Vec::new(), Vec::new());
    for topic in topics {
        if version <= 9 {
            named.push((Arc::from(&*topic.name), topic.partition_indexes.clone()));
        } else if let Some(known) = context.topics.by_id(topic.topic_id) {
            named.push((known.topic.name.clone(), topic.partition_indexes.clone()));
        } else {
            unknown.push((topic.topic_id, topic.partition_indexes.clone()));
        }
    }
    (Some(named), unknown)
}

pub(super) fn fetched<'a>(
    answers: &'a [Answer],
    groups: &'a [FetchedGroup],
    version: i16,
    context: &Context<'_>,
) -> OffsetFetchResponse<'a> {
    if version >= 8 {
        let pairs = groups.iter().zip(answers);
        let groups = pairs.map(|(group, answer)| fetched_group(group, answer, version, context));
        return OffsetFetchResponse { groups: groups.collect(), ..Default::default() };
    }
    let (Some(answer), Some(group)) = (answers.first(), groups.first()) else { return Default::default() };
    match answer {
        Answer::Offsets(topics) => {
            let topic = |topic: &'a OffsetsOfTopic| OffsetFetchResponseTopic {
                name: (&*topic.topic).into(),
                partitions: topic.partitions.iter().map(|(at, found)| old_partition(*at, found.as_ref())).collect(),
            };
            OffsetFetchResponse { topics: topics.iter().map(topic).collect(), ..Default::default() }
        }
        refused => {
            let error_code = refusal(refused).to_wire();
            let partition = |at: &i32| OffsetFetchResponsePartition { error_code, ..old_partition(*at, None) };
            let topic = |(name, partitions): &'a (Arc<str>, Vec<i32>)| OffsetFetchResponseTopic {
                name: (&**name).into(),
                partitions: partitions.iter().map(partition).collect(),
            };
            let topics = group.asked.iter().filter(|_| version <= 1).map(topic).collect();
            OffsetFetchResponse { topics, error_code, ..Default::default() }
        }
    }
}

fn fetched_group<'a>(
    group: &'a FetchedGroup,
    answer: &'a Answer,
    version: i16,
    context: &Context<'_>,
) -> OffsetFetchResponseGroup<'a> {
    let group_id = (&*group.group_id).into();
    let Answer::Offsets(topics) = answer else {
        return OffsetFetchResponseGroup { group_id, error_code: refusal(answer).to_wire(), ..Default::default() };
    };
    let id_of = |name: &str| context.image.topic(name).map(|topic| topic.id);
    let known = topics.iter().filter_map(|topic| {
        // A topic that has gone meanwhile has no id to be named by.
        let topic_id = if version >= 10 { id_of(&topic.topic)? } else { TopicId::ZERO };
        let partitions = topic.partitions.iter().map(|(at, found)| partition(*at, found.as_ref())).collect();
        Some(OffsetFetchResponseTopics { name: (&*topic.topic).into(), topic_id, partitions })
    });
    let error_code = ErrorCode::UnknownTopicId.to_wire();
    let unknown = group.unknown.iter().map(|(topic_id, partitions)| OffsetFetchResponseTopics {
        topic_id: *topic_id,
        partitions: partitions
            .iter()
            .map(|at| OffsetFetchResponsePartitions { error_code, ..partition(*at, None) })
            .collect(),
        ..Default::default()
    });
    OffsetFetchResponseGroup { group_id, topics: known.chain(unknown).collect(), ..Default::default() }
}

fn partition(partition_index: i32, found: Option<&Committed>) -> OffsetFetchResponsePartitions<'_> {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: found.map_or(-1, |found| found.offset),
        committed_leader_epoch: found.and_then(|found| found.leader_epoch).map_or(-1, LeaderEpoch::to_wire),
        metadata: Some(found.map_or("", |found| &found.metadata).into()),
        error_code: 0,
    }
}

fn old_partition(partition_index: i32, found: Option<&Committed>) -> OffsetFetchResponsePartition<'_> {
    let new = partition(partition_index, found);
    OffsetFetchResponsePartition {
        partition_index,
        committed_offset: new.committed_offset,
        committed_leader_epoch: new.committed_leader_epoch,
        metadata: new.metadata,
        error_code: 0,
    }
}

pub(super) fn delete(request: &OffsetDeleteRequest<'_>, context: &Context<'_>) -> Asked {
    let mut places = Places::default();
    let mut items = Vec::new();
    for topic in &request.topics {
        let known = context.topics.find(context.image, TopicRef::Name(&topic.name));
        places.push_topic(&topic.name, TopicId::ZERO);
        for partition in &topic.partitions {
            let index = partition.partition_index;
            match known.filter(|known| known.partition(index).is_some()) {
                None => places.push_known(index, ErrorCode::UnknownTopicOrPartition),
                Some(known) => items.push((places.push_asked(index), known.topic.name.clone(), index)),
            }
        }
    }
    let part = check_storable(&request.group_id, ErrorCode::InvalidGroupId).map_err(Answer::Refused);
    let part = part.map(|()| ((*request.group_id).into(), Request::DeleteOffsets(DeleteOffsets { items })));
    Asked { shape: Shape::DeleteOffsets(places), parts: vec![part] }
}

pub(super) fn deleted<'a>(answer: Option<&Answer>, places: &'a mut Places) -> OffsetDeleteResponse<'a> {
    if let Some(Answer::Refused(error)) = answer {
        return OffsetDeleteResponse { error_code: error.to_wire(), ..Default::default() };
    }
    places.settle(answer);
    let partition = |(partition_index, error): &(i32, ErrorCode)| OffsetDeleteResponsePartition {
        partition_index: *partition_index,
        error_code: error.to_wire(),
    };
    let topic = |topic: &'a PlacesOfTopic| OffsetDeleteResponseTopic {
        name: (&*topic.name).into(),
        partitions: topic.results.iter().map(partition).collect(),
    };
    OffsetDeleteResponse { topics: places.topics.iter().map(topic).collect(), ..Default::default() }
}
