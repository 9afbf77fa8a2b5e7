//! Metadata: the broker, and the topics that a client asks for, by name or by id.

use std::collections::BTreeSet;

use controller::{Refusal, Topic, check_topic_name};
use model::ErrorCode;
use wire::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};

use super::{OPERATIONS_NOT_ASKED, OPERATIONS_ON_CLUSTER, OPERATIONS_ON_TOPIC, View, is_internal};

/// The topics that this request names into being: to be created before it is answered.
pub(crate) fn to_create(request: &MetadataRequest<'_>, view: &View<'_>) -> Vec<String> {
    if !view.config.auto_create_topics_enable || !request.allow_auto_topic_creation {
        return Vec::new();
    }
    let names = request.topics.iter().flatten().filter(|topic| topic.topic_id.is_zero());
    let names = names.filter_map(|topic| topic.name.as_deref());
    // Internal topics are made by whom they belong to, with settings of their own.
    let missing = names.filter(|name| {
        view.image.topic(name).is_none()
            && check_topic_name(name).is_ok()
            && !view.image.collides(name)
            && !is_internal(name)
    });
    missing.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect()
}

/// The answer from the image as it is.
pub(crate) fn answer(request: &MetadataRequest<'_>, version: i16, view: &View<'_>) -> MetadataResponse<'static> {
    let told = view.config.advertised(view.local);
    let node_id = view.image.node_id().0;
    let asked = |asked: bool, operations: i32| if asked { operations } else { OPERATIONS_NOT_ASKED };
    let operations = asked(request.include_topic_authorized_operations, OPERATIONS_ON_TOPIC);
    let topics = match &request.topics {
        None => view.image.topics().map(|topic| found(view, topic, operations)).collect(),
        // Version 0 knows no null.
        Some(topics) if topics.is_empty() && version == 0 => {
            view.image.topics().map(|topic| found(view, topic, operations)).collect()
        }
        Some(topics) => {
            let mut seen = BTreeSet::new();
            let first_time = topics.iter().filter(|topic| seen.insert((topic.topic_id, topic.name.as_deref())));
            first_time.map(|topic| look_up(view, topic, version, operations)).collect()
        }
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id,
            host: told.host.into(),
            port: i32::from(told.port),
            rack: view.config.broker_rack.clone().map(Into::into),
        }],
        cluster_id: Some(view.image.cluster_id().to_string().into()),
        controller_id: node_id,
        topics,
        cluster_authorized_operations: asked(request.include_cluster_authorized_operations, OPERATIONS_ON_CLUSTER),
        ..Default::default()
    }
}

fn look_up(
    view: &View<'_>,
    asked: &MetadataRequestTopic<'_>,
    version: i16,
    operations: i32,
) -> MetadataResponseTopic<'static> {
    let by_id = !asked.topic_id.is_zero();
    if version < 12 && (by_id || asked.name.is_none()) {
        // The answer of these versions cannot leave the name out.
        return missing(Some(asked.name.as_deref().unwrap_or("")), asked, ErrorCode::InvalidRequest);
    }
    let topic = match asked.name.as_deref() {
        Some(name) if !by_id => match check_topic_name(name) {
            // Such a topic can never come into being: the client need not wait for it.
            Ok(()) if view.image.topic(name).is_none() && view.image.collides(name) => {
                Err(ErrorCode::InvalidTopicException)
            }
            Ok(()) => view.image.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
            Err(Refusal::NameReserved) => Err(ErrorCode::UnknownTopicOrPartition),
            Err(refusal) => Err(refusal.code()),
        },
        _ => view.image.topic_by_id(asked.topic_id).ok_or(ErrorCode::UnknownTopicId),
    };
    match topic {
        Ok(topic) => found(view, topic, operations),
        Err(code) => missing(asked.name.as_deref().filter(|_| !by_id), asked, code),
    }
}

fn missing(name: Option<&str>, asked: &MetadataRequestTopic<'_>, code: ErrorCode) -> MetadataResponseTopic<'static> {
    MetadataResponseTopic {
        error_code: code.to_wire(),
        name: name.map(|name| name.to_owned().into()),
        topic_id: asked.topic_id,
        is_internal: name.is_some_and(is_internal),
        topic_authorized_operations: OPERATIONS_NOT_ASKED,
        ..Default::default()
    }
}

fn found(view: &View<'_>, topic: &Topic, operations: i32) -> MetadataResponseTopic<'static> {
    let node_id = view.image.node_id().0;
    let partition = |index: u32| MetadataResponsePartition {
        partition_index: index as i32,
        leader_id: node_id,
        leader_epoch: topic.leader_epoch.to_wire(),
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        ..Default::default()
    };
    MetadataResponseTopic {
        name: Some(topic.name.to_string().into()),
        topic_id: topic.id,
        is_internal: is_internal(&topic.name),
        partitions: (0..topic.partition_count).map(partition).collect(),
        topic_authorized_operations: operations,
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    use model::Uuid;

    use super::*;
    use crate::handlers::testing::World;

    fn named(names: &[&str]) -> MetadataRequest<'static> {
        let topic = |name: &&str| MetadataRequestTopic { name: Some(name.to_string().into()), ..Default::default() };
        MetadataRequest { topics: Some(names.iter().map(topic).collect()), ..Default::default() }
    }

    fn by_id(id: Uuid) -> MetadataRequest<'static> {
        let topic = MetadataRequestTopic { topic_id: id, name: None };
        MetadataRequest { topics: Some(vec![topic]), ..Default::default() }
    }

    fn codes(response: &MetadataResponse<'_>) -> Vec<(Option<String>, Option<ErrorCode>)> {
        let shown = |topic: &MetadataResponseTopic<'_>| {
            (topic.name.as_deref().map(str::to_owned), ErrorCode::from_wire(topic.error_code))
        };
        response.topics.iter().map(shown).collect()
    }

    #[test]
    fn all_topics_none_and_some() {
        let mut world = World::new();
        world.create("a", 2);
        world.create("b", 1);
        let count = |request: &MetadataRequest<'_>, version| answer(request, version, &world.view()).topics.len();
        assert_eq!(count(&MetadataRequest { topics: None, ..Default::default() }, 1), 2);
        assert_eq!(count(&named(&[]), 0), 2);
        assert_eq!(count(&named(&[]), 1), 0);
        assert_eq!(count(&named(&["a", "a"]), 1), 1);
        let response = answer(&named(&["a"]), 13, &world.view());
        assert_eq!((response.topics[0].partitions.len(), response.topics[0].partitions[1].leader_id), (2, 1));
        assert_eq!((&*response.brokers[0].host, response.brokers[0].port), ("127.0.0.1", 9092));
        assert_eq!(response.cluster_authorized_operations, i32::MIN);
        assert_eq!(response.topics[0].topic_authorized_operations, i32::MIN);
        let asked = MetadataRequest {
            include_topic_authorized_operations: true,
            include_cluster_authorized_operations: true,
            ..named(&["a"])
        };
        let response = answer(&asked, 9, &world.view());
        assert_eq!(response.topics[0].topic_authorized_operations, 3576);
        assert_eq!(response.cluster_authorized_operations, 8096);
    }

    #[test]
    fn what_is_not_there_says_why() {
        let mut world = World::new();
        let topic = world.create("a", 1);
        world.create("x.y", 1);
        let ask = |request: &MetadataRequest<'_>, version| codes(&answer(request, version, &world.view()));
        let name = |name: &str| Some(name.to_owned());
        for (request, version, expected) in [
            (named(&["b"]), 12, (name("b"), Some(ErrorCode::UnknownTopicOrPartition))),
            (named(&["b c"]), 12, (name("b c"), Some(ErrorCode::InvalidTopicException))),
            (named(&["x.y"]), 12, (name("x.y"), Some(ErrorCode::None))),
            (named(&["x_y"]), 12, (name("x_y"), Some(ErrorCode::InvalidTopicException))),
            (
                named(&["__cluster_metadata"]),
                12,
                (name("__cluster_metadata"), Some(ErrorCode::UnknownTopicOrPartition)),
            ),
            (by_id(topic.id), 12, (name("a"), Some(ErrorCode::None))),
            (by_id(Uuid([9; 16])), 12, (None, Some(ErrorCode::UnknownTopicId))),
            (by_id(Uuid::ZERO), 12, (None, Some(ErrorCode::UnknownTopicId))),
            (by_id(topic.id), 11, (name(""), Some(ErrorCode::InvalidRequest))),
        ] {
            assert_eq!(ask(&request, version), [expected]);
        }
    }

    #[test]
    fn only_missing_topics_that_may_be_are_auto_created() {
        let mut world = World::new();
        world.create("old", 1);
        world.create("x.y", 1);
        let request = named(&["old", "new", "new", "b c", "x_y", "__consumer_offsets", "also"]);
        let allowed = MetadataRequest { allow_auto_topic_creation: true, ..request.clone() };
        let forbidden = MetadataRequest { allow_auto_topic_creation: false, ..request };
        assert_eq!(to_create(&allowed, &world.view()), ["also", "new"]);
        assert!(to_create(&forbidden, &world.view()).is_empty());
        let off = World::with(&["auto.create.topics.enable=false"]);
        assert!(to_create(&allowed, &off.view()).is_empty());
    }

    #[test]
    fn every_version_can_carry_the_answer() {
        let mut world = World::new();
        world.create("a", 3);
        for version in 0..=13 {
            let response = answer(&named(&["a", "missing"]), version, &world.view());
            let mut writer = wire::Writer::with_capacity(256);
            response.encode(&mut writer, version);
            let bytes = writer.into_bytes();
            let read = MetadataResponse::decode(&mut wire::Reader::new(&bytes), version).expect("own bytes");
            assert_eq!(read.topics.len(), 2, "version {version}");
        }
    }
}
