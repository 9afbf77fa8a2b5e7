//! The controller's face: what is decided, what is refused, and that every way to an image leads to the same one.

use std::collections::VecDeque;
use std::sync::Arc;

use controller::{
    Assignment, AutoTopic, ConfigResource, Configs, Controller, CreatePartitions, CreateTopics, Decided, Image,
    NewConfigs, NewPartitions, NewTopic, Refusal, StartError, Topic, TopicReference, replay_set,
};
use model::{ErrorCode, NodeId, ProducerId, Uuid};

/// A small generator: the tests need variety, not quality.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

/// A controller with its log: every set is committed at once.
struct World {
    controller: Controller,
    random: Random,
    log: Vec<Vec<Vec<u8>>>,
}

impl World {
    fn new() -> World {
        let mut random = Random(1);
        let (controller, decided) =
            Controller::start(Image::empty(), NodeId(1), &mut || random.next()).expect("an empty log starts");
        let mut world = World { controller, random, log: Vec::new() };
        world.commit(decided);
        world
    }

    fn commit<A>(&mut self, decided: Decided<A>) -> A {
        if let Some(set) = decided.record_set {
            assert_eq!(decided.after, Some(set.id));
            self.log.push(set.payloads);
            self.controller.committed(set.id);
        }
        decided.answer
    }

    fn create(&mut self, topics: Vec<NewTopic>) -> Vec<Result<Arc<Topic>, Refusal>> {
        let request = CreateTopics { topics, validate_only: false, partition_count_default: 3 };
        let decided = self.decide_create(&request);
        self.commit(decided)
    }

    fn decide_create(&mut self, request: &CreateTopics) -> Decided<Vec<Result<Arc<Topic>, Refusal>>> {
        self.controller.create_topics(request, &mut || self.random.next())
    }

    fn create_one(&mut self, topic: NewTopic) -> Result<Arc<Topic>, Refusal> {
        self.create(vec![topic]).remove(0)
    }
}

fn named(name: &str) -> NewTopic {
    NewTopic { name: name.into(), ..NewTopic::default() }
}

fn assigned(partitions: &[(i32, &[i32])]) -> Vec<Assignment> {
    let assignment = |(partition, nodes): &(i32, &[i32])| Assignment {
        partition: *partition,
        nodes: nodes.iter().map(|id| NodeId(*id)).collect(),
    };
    partitions.iter().map(assignment).collect()
}

fn configs(key: &str, value: &str) -> Configs {
    Configs::from([(key.into(), value.into())])
}

#[test]
fn first_start_makes_a_cluster_id_and_registers_the_node() {
    let world = World::new();
    assert_eq!(world.log.len(), 1);
    assert_eq!(world.controller.durable().node_id(), NodeId(1));
    assert!(!world.controller.durable().cluster_id().is_zero());
}

#[test]
fn later_start_writes_nothing_and_refuses_another_node_id() {
    let world = World::new();
    let image = Image::clone(world.controller.durable());
    let (_, decided) = Controller::start(image.clone(), NodeId(1), &mut || 0).expect("the same node");
    assert_eq!(decided.record_set, None);
    assert_eq!(decided.after, None);
    let refused = Controller::start(image, NodeId(2), &mut || 0).map(drop);
    assert_eq!(refused, Err(StartError::NodeDiffers { registered: NodeId(1), configured: NodeId(2) }));
}

#[test]
fn topics_get_what_they_ask_for_or_the_defaults() {
    let mut world = World::new();
    for (topic, partition_count) in [
        (named("default"), 3),
        (NewTopic { partition_count: Some(5000), replication_factor: Some(1), ..named("asked") }, 5000),
        (NewTopic { assignments: assigned(&[(1, &[1]), (0, &[1])]), ..named("assigned") }, 2),
        (NewTopic { configs: configs("segment.bytes", "1048576"), ..named("configured") }, 3),
    ] {
        let (name, configs) = (topic.name.clone(), topic.configs.clone());
        let created = world.create_one(topic).expect("a valid topic");
        assert_eq!((&*created.name, created.partition_count, &created.configs), (&*name, partition_count, &configs));
        assert_eq!(world.controller.durable().topic(&name), Some(&created));
        assert_eq!(world.controller.durable().topic_by_id(created.id), Some(&created));
    }
    let bytes: usize = world.log[2].iter().map(Vec::len).sum();
    assert!(bytes < 100, "5,000 partitions took {bytes} bytes");
}

#[test]
fn topics_that_cannot_be_are_refused_with_kafkas_codes() {
    let mut world = World::new();
    world.create_one(named("old.topic")).expect("a valid topic");
    let many: Vec<(i32, &[i32])> = vec![(0, &[1]), (2, &[1])];
    for (topic, refusal, code) in [
        (named(""), Refusal::NameEmpty, ErrorCode::InvalidTopicException),
        (named(".."), Refusal::NameOnlyDots, ErrorCode::InvalidTopicException),
        (named("a b"), Refusal::NameCharacter, ErrorCode::InvalidTopicException),
        (named(&"x".repeat(250)), Refusal::NameTooLong, ErrorCode::InvalidTopicException),
        (named("old_topic"), Refusal::NameCollides, ErrorCode::InvalidTopicException),
        (named("__cluster_metadata"), Refusal::NameReserved, ErrorCode::InvalidRequest),
        (named("old.topic"), Refusal::TopicExists, ErrorCode::TopicAlreadyExists),
        (
            NewTopic { partition_count: Some(0), ..named("n") },
            Refusal::PartitionCountNotPositive,
            ErrorCode::InvalidPartitions,
        ),
        (
            NewTopic { partition_count: Some(-2), ..named("n") },
            Refusal::PartitionCountNotPositive,
            ErrorCode::InvalidPartitions,
        ),
        (
            NewTopic { partition_count: Some(i32::MAX), ..named("n") },
            Refusal::TooManyPartitionsInRequest,
            ErrorCode::PolicyViolation,
        ),
        (
            NewTopic { replication_factor: Some(0), ..named("n") },
            Refusal::ReplicationFactorNotPositive,
            ErrorCode::InvalidReplicationFactor,
        ),
        (
            NewTopic { replication_factor: Some(3), ..named("n") },
            Refusal::ReplicationFactorTooLarge,
            ErrorCode::InvalidReplicationFactor,
        ),
        (
            NewTopic { assignments: assigned(&[(0, &[1])]), replication_factor: Some(1), ..named("n") },
            Refusal::AssignmentWithCounts,
            ErrorCode::InvalidRequest,
        ),
        (
            NewTopic { assignments: assigned(&many), ..named("n") },
            Refusal::AssignmentNotDense,
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            NewTopic { assignments: assigned(&[(0, &[1]), (0, &[1])]), ..named("n") },
            Refusal::AssignmentNotDense,
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            NewTopic { assignments: assigned(&[(0, &[2])]), ..named("n") },
            Refusal::AssignmentReplicas,
            ErrorCode::InvalidReplicaAssignment,
        ),
        (
            NewTopic { assignments: assigned(&[(0, &[1, 1])]), ..named("n") },
            Refusal::AssignmentReplicas,
            ErrorCode::InvalidReplicaAssignment,
        ),
        (NewTopic { configs_invalid: true, ..named("n") }, Refusal::InvalidConfig, ErrorCode::InvalidConfig),
        (
            NewTopic { configs: configs("long", &"x".repeat(70_000)), ..named("n") },
            Refusal::InvalidConfig,
            ErrorCode::InvalidConfig,
        ),
    ] {
        assert_eq!(world.create_one(topic.clone()), Err(refusal), "{topic:?}");
        assert_eq!(refusal.code(), code);
        assert!(!refusal.to_string().is_empty());
    }
    assert_eq!(world.log.len(), 2, "refusals write nothing");
}

#[test]
fn one_request_creates_some_and_refuses_others() {
    let mut world = World::new();
    let answer = world.create(vec![named("a"), named("b"), named("a"), named("c.d"), named("c_d"), named("")]);
    let refusals: Vec<_> = answer.into_iter().map(Result::err).collect();
    let repeated = Some(Refusal::TopicRepeated);
    assert_eq!(refusals, [repeated, None, repeated, None, Some(Refusal::NameCollides), Some(Refusal::NameEmpty)]);
    assert_eq!(world.controller.durable().topic_count(), 2);
    assert_eq!(world.log.len(), 2, "one set for the request");
}

#[test]
fn bounds_count_over_the_request_and_over_all_topics() {
    let mut world = World::new();
    let big = |name: &str, count| NewTopic { partition_count: Some(count), ..named(name) };
    let answer = world.create(vec![big("a", 6000), big("b", 6000), big("c", 4000)]);
    let refusals: Vec<_> = answer.into_iter().map(Result::err).collect();
    assert_eq!(refusals, [None, Some(Refusal::TooManyPartitionsInRequest), None]);
    for index in 0..9 {
        world.create_one(big(&format!("big-{index}"), 10_000)).expect("within the bound");
    }
    assert_eq!(world.create_one(big("last", 1)), Err(Refusal::TooManyPartitions));
    let grown = CreatePartitions {
        topics: vec![NewPartitions { name: "a".into(), partition_count: 6001, assignments: None, is_fixed: false }],
        validate_only: false,
    };
    assert_eq!(world.controller.create_partitions(&grown).answer, [Err(Refusal::TooManyPartitions)]);
}

#[test]
fn validate_only_answers_and_writes_nothing() {
    let mut world = World::new();
    let request = CreateTopics { topics: vec![named("a")], validate_only: true, partition_count_default: 3 };
    let decided = world.decide_create(&request);
    assert_eq!((decided.record_set, decided.after), (None, None));
    assert_eq!(decided.answer[0].as_ref().map(|topic| topic.partition_count), Ok(3));
    assert_eq!(world.controller.pending().topic_count(), 0);
    world.create_one(named("a")).expect("a valid topic");
    let more = NewPartitions { name: "a".into(), partition_count: 4, assignments: None, is_fixed: false };
    let decided = world.controller.create_partitions(&CreatePartitions { topics: vec![more], validate_only: true });
    assert_eq!((decided.record_set, decided.answer), (None, vec![Ok(())]));
}

#[test]
fn partitions_only_grow_and_only_here() {
    let mut world = World::new();
    world.create_one(named("t")).expect("a valid topic");
    let here = || Some(vec![vec![NodeId(1)]]);
    for (name, partition_count, assignments, expected) in [
        ("unknown", 4, None, Err(Refusal::UnknownTopic)),
        ("t", 3, None, Err(Refusal::PartitionCountNotGrowing { current: 3 })),
        ("t", 2, None, Err(Refusal::PartitionCountNotGrowing { current: 3 })),
        ("t", -1, None, Err(Refusal::PartitionCountNotGrowing { current: 3 })),
        ("t", i32::MAX, None, Err(Refusal::TooManyPartitionsInRequest)),
        ("t", 5, here(), Err(Refusal::AssignmentCount { expected: 2 })),
        ("t", 4, Some(vec![vec![NodeId(2)]]), Err(Refusal::AssignmentReplicas)),
        ("t", 4, here(), Ok(())),
        ("t", 9, None, Ok(())),
    ] {
        let topics = vec![NewPartitions { name: name.into(), partition_count, assignments, is_fixed: false }];
        let decided = world.controller.create_partitions(&CreatePartitions { topics, validate_only: false });
        assert_eq!(world.commit(decided), [expected], "{name} {partition_count}");
    }
    assert_eq!(world.controller.durable().topic("t").map(|topic| topic.partition_count), Some(9));
    let twice = NewPartitions { name: "t".into(), partition_count: 10, assignments: None, is_fixed: false };
    let request = CreatePartitions { topics: vec![twice.clone(), twice], validate_only: false };
    assert_eq!(world.controller.create_partitions(&request).answer, [Err(Refusal::TopicRepeated); 2]);
}

#[test]
fn topics_are_deleted_by_name_or_id_and_come_back_with_another_id() {
    let mut world = World::new();
    let a = world.create_one(named("a")).expect("a valid topic");
    let b = world.create_one(named("b")).expect("a valid topic");
    let name = |name: &str| TopicReference::Name(name.into());
    let decided = world.controller.delete_topics(&[name("a"), TopicReference::Id(a.id), name("b"), name("c")]);
    let answer = world.commit(decided);
    assert_eq!(answer, [Err(Refusal::TopicRepeated), Err(Refusal::TopicRepeated), Ok(b), Err(Refusal::UnknownTopic)]);
    let decided = world.controller.delete_topics(&[TopicReference::Id(a.id), TopicReference::Id(Uuid([9; 16]))]);
    assert_eq!(world.commit(decided), [Ok(Arc::clone(&a)), Err(Refusal::UnknownTopicId)]);
    assert_ne!(world.create_one(named("a")).expect("a valid topic").id, a.id);
}

fn auto(name: &str) -> AutoTopic<'_> {
    AutoTopic { name, partition_count: 2, configs: Configs::new() }
}

#[test]
fn auto_creation_answers_with_the_topic_that_exists() {
    let mut world = World::new();
    let old = world.create_one(named("old")).expect("a valid topic");
    let decided =
        world.controller.auto_create_topics(&["old", "new", "new", ".."].map(auto), &mut || world.random.next());
    let answer = world.commit(decided);
    assert_eq!(answer[0], Ok(old));
    assert_eq!(answer[1].as_ref().map(|topic| topic.partition_count), Ok(2));
    assert_eq!(answer[1], answer[2]);
    assert_eq!(answer[3], Err(Refusal::NameOnlyDots));
}

#[test]
fn producer_ids_are_never_handed_out_twice() {
    let mut world = World::new();
    let decided = world.controller.allocate_producer_ids();
    let mut first = world.commit(decided).expect("ids are left");
    let ids: Vec<_> = std::iter::from_fn(|| first.take()).collect();
    assert_eq!((ids.len(), ids[0], ids[999]), (1000, ProducerId(0), ProducerId(999)));
    let image = Image::clone(world.controller.durable());
    let (mut restarted, _) = Controller::start(image, NodeId(1), &mut || 0).expect("the same node");
    let mut second = restarted.allocate_producer_ids().answer.expect("ids are left");
    assert_eq!(second.take(), Some(ProducerId(1000)));
}

fn altered(resource: ConfigResource, configs: Configs) -> NewConfigs {
    NewConfigs { resource, configs }
}

#[test]
fn a_resource_has_the_values_it_is_given_and_no_other() {
    let mut world = World::new();
    world.create_one(NewTopic { configs: configs("a", "1"), ..named("t") }).expect("a valid topic");
    let node = ConfigResource::Broker(Some(NodeId(1)));
    let items = [
        altered(ConfigResource::Topic("t".into()), configs("b", "2")),
        altered(ConfigResource::Topic("x".into()), configs("b", "2")),
        altered(ConfigResource::Broker(None), configs("c", "3")),
        altered(node.clone(), configs("c", "4")),
    ];
    let decided = world.controller.alter_configs(&items, false);
    assert_eq!(decided.record_set.as_ref().map(|set| set.payloads.len()), Some(4), "one of them takes a value away");
    assert_eq!(world.commit(decided), [Ok(()), Err(Refusal::UnknownTopic), Ok(()), Ok(())]);
    let image = Image::clone(world.controller.durable());
    assert_eq!(image.topic("t").map(|topic| &topic.configs), Some(&configs("b", "2")));
    assert_eq!(image.broker_configs(None), &configs("c", "3"));
    assert_eq!(image.broker_configs(Some(NodeId(1))), &configs("c", "4"));
    assert_eq!(image.broker_configs(Some(NodeId(2))), &Configs::new());

    let again = world.controller.alter_configs(&items, false);
    assert_eq!(again.record_set, None, "nothing differs");
    let decided = world.controller.alter_configs(&[altered(node, Configs::new())], false);
    world.commit(decided);
    assert_eq!(world.controller.durable().broker_configs(Some(NodeId(1))), &Configs::new());
    assert!(!world.controller.durable().has_broker_configs_of(&image));
}

#[test]
fn changed_values_that_are_only_validated_or_too_many_change_nothing() {
    let mut world = World::new();
    world.create_one(named("t")).expect("a valid topic");
    let topic = || ConfigResource::Topic("t".into());
    let decided = world.controller.alter_configs(&[altered(topic(), configs("a", "1"))], true);
    assert_eq!((decided.record_set, decided.answer), (None, vec![Ok(())]));
    let many: Configs = (0..129).map(|key| (format!("k{key}").into(), "v".into())).collect();
    let long = configs("a", &"v".repeat(1 << 16));
    for (configs, refusal) in [(many, Refusal::TooManyConfigs), (long, Refusal::InvalidConfig)] {
        let decided = world.controller.alter_configs(&[altered(topic(), configs)], false);
        assert_eq!((decided.record_set, decided.answer), (None, vec![Err(refusal)]));
    }
}

#[test]
fn decisions_see_what_is_still_being_written_and_their_answers_wait_for_it() {
    let mut world = World::new();
    let request = CreateTopics { topics: vec![named("a")], validate_only: false, partition_count_default: 1 };
    let first = world.decide_create(&request);
    let second = world.decide_create(&request);
    assert_eq!(world.controller.durable().topic("a"), None);
    assert_eq!(second.answer, [Err(Refusal::TopicExists)]);
    assert_eq!((second.record_set, second.after), (None, first.after));
    let image = world.controller.committed(first.after.expect("something to write"));
    assert!(image.topic("a").is_some());
}

#[test]
fn a_failed_write_takes_every_decision_since_back() {
    let mut world = World::new();
    let request = |name| CreateTopics { topics: vec![named(name)], validate_only: false, partition_count_default: 1 };
    let committed = world.decide_create(&request("a"));
    world.decide_create(&request("b"));
    world.decide_create(&request("c"));
    world.commit(committed);
    world.controller.failed();
    assert_eq!(world.controller.pending().topic_count(), 1);
    world.create_one(named("b")).expect("free again");
}

#[test]
fn live_image_replayed_image_and_snapshot_are_equal_after_any_history() {
    for seed in 0..60 {
        let mut world = World::new();
        world.random = Random(seed);
        let mut in_flight = VecDeque::new();
        for _ in 0..80 {
            random_step(&mut world, &mut in_flight);
        }
        while let Some(set) = in_flight.pop_front() {
            commit_set(&mut world, set);
        }
        let live = Image::clone(world.controller.durable());
        let replayed = world.log.iter().fold(Image::empty(), |image, set| {
            replay_set(image, set.iter().map(Vec::as_slice)).expect("the log was written by a controller")
        });
        assert_eq!(live, replayed, "seed {seed}");
        let snapshot: Vec<_> = live.to_records().iter().map(|record| record.encode()).collect();
        for before in [Image::empty(), live.clone()] {
            let restored = replay_set(before, snapshot.iter().map(Vec::as_slice)).expect("a snapshot replays");
            assert_eq!(live, restored, "seed {seed}");
        }
    }
}

fn commit_set(world: &mut World, set: controller::RecordSet) {
    world.log.push(set.payloads);
    world.controller.committed(set.id);
}

/// One random request, or one random outcome of a write.
fn random_step(world: &mut World, in_flight: &mut VecDeque<controller::RecordSet>) {
    let name = |random: &mut Random| format!("t{}{}", [".", "_", "-"][random.below(3) as usize], random.below(8));
    let topic = name(&mut world.random);
    let set = match world.random.below(12) {
        0..=2 => {
            let other = name(&mut world.random);
            let count = world.random.below(5) as i32;
            let first = NewTopic { partition_count: Some(count), configs: configs("k", &topic), ..named(&topic) };
            let topics = vec![first, named(&other)];
            let request = CreateTopics { topics, validate_only: false, partition_count_default: 1 };
            world.decide_create(&request).record_set
        }
        3 => world.controller.auto_create_topics(&[auto(&topic)], &mut || world.random.next()).record_set,
        4 => {
            let partition_count = world.random.below(9) as i32;
            let topics = vec![NewPartitions { name: topic, partition_count, assignments: None, is_fixed: false }];
            world.controller.create_partitions(&CreatePartitions { topics, validate_only: false }).record_set
        }
        5 => world.controller.delete_topics(&[TopicReference::Name(topic)]).record_set,
        6 => world.controller.allocate_producer_ids().record_set,
        10..=11 => {
            let node = Some(NodeId(world.random.below(2) as i32)).filter(|node| node.0 > 0);
            let value = format!("{}", world.random.below(3));
            let new = if value == "0" { Configs::new() } else { configs("k", &value) };
            let items =
                [altered(ConfigResource::Broker(node), new.clone()), altered(ConfigResource::Topic(topic), new)];
            world.controller.alter_configs(&items, false).record_set
        }
        7 if world.random.below(8) == 0 => {
            in_flight.clear();
            world.controller.failed();
            None
        }
        _ => {
            if let Some(set) = in_flight.pop_front() {
                commit_set(world, set);
            }
            None
        }
    };
    in_flight.extend(set);
}

#[test]
fn a_mutated_or_cut_log_never_panics() {
    let mut world = World::new();
    let full = NewTopic { configs: configs("segment.bytes", "1048576"), ..named("a.b") };
    world.create_one(full).expect("a valid topic");
    let broker = altered(ConfigResource::Broker(Some(NodeId(1))), configs("log.retention.ms", "1"));
    let decided = world.controller.alter_configs(&[broker], false);
    world.commit(decided);
    let payloads: Vec<Vec<u8>> = world.log.concat();
    for _ in 0..20_000 {
        let mut mutated = payloads.clone();
        let chosen = world.random.below(mutated.len() as u64) as usize;
        let at = world.random.below(mutated[chosen].len() as u64) as usize;
        if world.random.below(4) == 0 {
            mutated[chosen].truncate(at);
        } else {
            mutated[chosen][at] = world.random.next() as u8;
        }
        if let Err(error) = replay_set(Image::empty(), mutated.iter().map(Vec::as_slice)) {
            assert!(!error.to_string().is_empty());
        }
    }
}
