//! The room's face: what clients see of groups, across kills of the process too.

mod world;

use group::{Answer, AppendRefusal, DeleteOffsets, Request, State};
use model::ErrorCode;

use world::{World, commit, error, join, joined, joining, leave, protocol, said, sync, topic_id, work};

#[test]
fn members_share_a_generation_and_leaving_begins_the_next() {
    let mut world = World::new();
    let ids = world.stable("g", 2);
    let described = world.describe("g").expect("there");
    assert_eq!((described.state, &*described.protocol), (State::Stable, "range"));
    assert!(described.members.iter().all(|member| member.assignment == work(&member.member_id)));
    assert_eq!(world.heartbeat("g", &ids[1], 1), ErrorCode::None);
    assert_eq!(error(&world.answer("g", leave(&ids[1], None))), ErrorCode::None);
    // The one that stays is called, and begins alone.
    assert_eq!(world.heartbeat("g", &ids[0], 1), ErrorCode::RebalanceInProgress);
    let alone = joined(world.answer("g", join(&ids[0], None)));
    assert_eq!((alone.generation, alone.members.len()), (2, 1));
    assert_eq!(error(&world.answer("g", leave(&ids[0], None))), ErrorCode::None);
    assert_eq!(world.describe("g").map(|described| described.state), Some(State::Empty));
    assert_eq!(error(&world.answer("g", Request::Delete)), ErrorCode::None);
    assert_eq!(world.describe("g"), None);
    assert_eq!((world.budget.groups, world.budget.bytes), (0, 0));
}

#[test]
fn refusals_are_kafkas() {
    let mut world = World::new();
    let ids = world.stable("g", 1);
    let id = &*ids[0];
    let other_kind = group::Join { protocol_type: "connect".into(), ..joining("", None) };
    let other_protocol = group::Join { protocols: vec![protocol("sticky", &[])], ..joining("", None) };
    let no_protocol = group::Join { protocols: Vec::new(), ..joining("", None) };
    let short_session = group::Join { session_timeout_ms: 5999, ..joining("", None) };
    let long_session = group::Join { session_timeout_ms: 60_001, ..joining("", None) };
    for (group, request, expected) in [
        ("g", Request::Join(other_kind), ErrorCode::InconsistentGroupProtocol),
        ("g", Request::Join(other_protocol), ErrorCode::InconsistentGroupProtocol),
        ("new", Request::Join(no_protocol), ErrorCode::InconsistentGroupProtocol),
        ("new", Request::Join(short_session), ErrorCode::InvalidSessionTimeout),
        ("g", Request::Join(long_session), ErrorCode::InvalidSessionTimeout),
        ("g", join("x", None), ErrorCode::UnknownMemberId),
        ("new", join("x", None), ErrorCode::UnknownMemberId),
        ("g", join(id, Some("i")), ErrorCode::UnknownMemberId),
        ("g", sync(id, 2, Vec::new()), ErrorCode::IllegalGeneration),
        ("g", sync("x", 1, Vec::new()), ErrorCode::UnknownMemberId),
        ("new", sync(id, 1, Vec::new()), ErrorCode::UnknownMemberId),
        ("g", Request::Heartbeat(said(id, 0)), ErrorCode::IllegalGeneration),
        ("g", Request::Heartbeat(said("x", 1)), ErrorCode::UnknownMemberId),
        ("new", Request::Heartbeat(said(id, 1)), ErrorCode::UnknownMemberId),
        ("g", leave("x", None), ErrorCode::UnknownMemberId),
        ("new", leave(id, None), ErrorCode::UnknownMemberId),
        ("g", leave("", Some("i")), ErrorCode::UnknownMemberId),
        ("g", commit(said(id, 2), "read", 1), ErrorCode::IllegalGeneration),
        ("g", commit(said("x", 1), "read", 1), ErrorCode::UnknownMemberId),
        ("g", commit(said("", -1), "read", 1), ErrorCode::UnknownMemberId),
        ("new", commit(said(id, 1), "read", 1), ErrorCode::IllegalGeneration),
        ("g", commit(said(id, 1), "read", 1), ErrorCode::None),
        ("g", Request::Delete, ErrorCode::NonEmptyGroup),
        ("new", Request::Delete, ErrorCode::GroupIdNotFound),
        ("new", Request::Describe, ErrorCode::GroupIdNotFound),
        ("g", delete_offset("read"), ErrorCode::GroupSubscribedToTopic),
        ("g", delete_offset("other"), ErrorCode::None),
        ("new", delete_offset("read"), ErrorCode::GroupIdNotFound),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(error(&world.answer(group, request)), expected, "{group} {shown}");
    }
    assert_eq!(world.describe("new"), None);
}

fn delete_offset(topic: &str) -> Request {
    Request::DeleteOffsets(DeleteOffsets { items: vec![(0, topic.into(), 0)] })
}

#[test]
fn a_stable_group_and_its_offsets_survive_a_kill() {
    let mut world = World::new();
    let ids = world.stable("g", 2);
    assert_eq!(error(&world.answer("g", commit(said(&ids[0], 1), "read", 7))), ErrorCode::None);
    let before = world.describe("g");
    world.restart();
    assert_eq!(world.describe("g"), before);
    assert_eq!(world.committed("g", "read"), Some(7));
    assert_eq!(world.heartbeat("g", &ids[1], 1), ErrorCode::None);
    assert_eq!(world.committed("g", "read"), Some(7));
    // One is heard of, the other is not: it is removed when its session ends, not before.
    world.pass(9_000);
    assert_eq!(world.heartbeat("g", &ids[1], 1), ErrorCode::None);
    world.pass(2_000);
    assert_eq!(world.heartbeat("g", &ids[1], 1), ErrorCode::RebalanceInProgress);
    assert_eq!(world.heartbeat("g", &ids[0], 1), ErrorCode::UnknownMemberId);
}

#[test]
fn nothing_is_said_before_it_is_durable() {
    let mut world = World::new();
    let ids = world.stable("g", 1);
    world.is_quick = false;
    assert_eq!(world.ask(5, "g", commit(said(&ids[0], 1), "read", 7)), []);
    assert_eq!(world.committed("g", "read"), None);
    let answers = world.sync();
    assert_eq!(answers, [(5, Answer::Items(vec![(0, ErrorCode::None)]))]);
    assert_eq!(world.committed("g", "read"), Some(7));
    // A leader joins again; its assignments do not come to be.
    let again = joined(world.ask(6, "g", join(&ids[0], None)).remove(0).1);
    assert_eq!(again.generation, 2);
    assert_eq!(world.ask(7, "g", sync(&ids[0], 2, vec![((*ids[0]).into(), work("new"))])), []);
    assert_eq!(world.describe("g").map(|described| described.state), Some(State::CompletingRebalance));
    assert_eq!(error(&world.answer("g", commit(said(&ids[0], 2), "read", 8))), ErrorCode::RebalanceInProgress);
    world.restart();
    assert_eq!(world.heartbeat("g", &ids[0], 1), ErrorCode::None);
    assert_eq!(world.committed("g", "read"), Some(7));
}

#[test]
fn what_is_not_written_is_refused_and_leaves_no_trace() {
    let mut world = World::new();
    let ids = world.stable("g", 1);
    for (refusal, of_commit, of_sync) in [
        (AppendRefusal::TooLarge, ErrorCode::InvalidCommitOffsetSize, ErrorCode::UnknownServerError),
        (AppendRefusal::Busy, ErrorCode::CoordinatorNotAvailable, ErrorCode::CoordinatorNotAvailable),
        (AppendRefusal::Offline, ErrorCode::NotCoordinator, ErrorCode::NotCoordinator),
    ] {
        world.refusal = Some(refusal);
        let generation = joined(world.answer("g", join(&ids[0], None))).generation;
        assert_eq!(error(&world.answer("g", sync(&ids[0], generation, Vec::new()))), of_sync);
        assert_eq!(world.heartbeat("g", &ids[0], generation), ErrorCode::RebalanceInProgress);
        assert_eq!(error(&world.answer("other", commit(said("", -1), "read", 1))), of_commit);
        assert_eq!(world.describe("other"), None);
        world.refusal = None;
        let again = world.ask(1, "g", join(&ids[0], None));
        world.finish("g", again);
    }
}

#[test]
fn a_static_member_comes_back_without_a_rebalance_and_fences_its_old_self() {
    let mut world = World::new();
    world.ask(1, "g", join("", Some("one")));
    world.ask(2, "g", join("", Some("two")));
    let answers = world.pass(6_000);
    let ids = world.finish("g", answers);
    let name = |id: &str| if world_is(id, "one") { "one" } else { "two" };
    for id in &ids {
        let back = joined(world.answer("g", join("", Some(name(id)))));
        assert_eq!(back.generation, 1);
        assert_ne!(back.member_id, *id);
        let heartbeat = group::Generation {
            who: group::Identity { member_id: (**id).into(), instance_id: Some(name(id).into()) },
            generation: 1,
        };
        assert_eq!(error(&world.answer("g", Request::Heartbeat(heartbeat))), ErrorCode::FencedInstanceId);
        // It has the work that its old self had, and so it has after a kill.
        world.restart();
        let Answer::Synced(synced) = world.answer("g", sync(&back.member_id, 1, Vec::new())) else { panic!() };
        assert_eq!(synced.assignment, work(id));
    }
    // The leader is told that its assignment stands, in the way that it understands.
    let leader = world.describe("g").expect("there").members[0].clone();
    let old_client = group::Join { can_skip_assignment: false, ..joining("", leader.instance_id.as_deref()) };
    let back = joined(world.answer("g", Request::Join(old_client)));
    assert!(back.members.is_empty());
    assert_ne!(back.leader, back.member_id);
    // An operator takes them out by name.
    assert_eq!(error(&world.answer("g", leave("", Some("one")))), ErrorCode::None);
    assert_eq!(error(&world.answer("g", leave("", Some("two")))), ErrorCode::None);
    assert_eq!(world.describe("g").map(|described| described.state), Some(State::Empty));
}

fn world_is(id: &str, name: &str) -> bool {
    id.starts_with(&format!("{name}-"))
}

#[test]
fn ids_are_given_out_first_and_count_when_they_come_back() {
    let mut world = World::new();
    let first = group::Join { comes_again: true, ..joining("", None) };
    let Answer::NotJoined(ErrorCode::MemberIdRequired, id) = world.answer("g", Request::Join(first.clone())) else {
        panic!("an id is given out");
    };
    assert_eq!(world.ask(1, "g", join(&id, None)), []);
    let answers = world.pass(3_000);
    assert_eq!(world.finish("g", answers), [std::sync::Arc::from(&*id)]);
    // One that does not come back holds up nobody for longer than its session.
    let Answer::NotJoined(ErrorCode::MemberIdRequired, _) = world.answer("g", Request::Join(first)) else { panic!() };
    assert_eq!(world.ask(2, "g", join(&id, None)), []);
    assert_eq!(world.pass(9_999), []);
    assert_eq!(joined(world.pass(1).remove(0).1).generation, 2);
}

#[test]
fn a_new_group_waits_for_more_and_a_rebalance_for_all_but_not_for_ever() {
    let mut world = World::new();
    world.ask(1, "g", join("", None));
    assert_eq!(world.pass(2_999), []);
    world.ask(2, "g", join("", None));
    // The second one extends the wait, nobody does so again.
    assert_eq!(world.pass(1), []);
    assert_eq!(world.pass(2_999), []);
    let answers = world.pass(1);
    assert_eq!(answers.len(), 2);
    let ids = world.finish("g", answers);
    // One joins again, the other only sends heartbeats: it is left behind.
    assert_eq!(world.ask(3, "g", join(&ids[0], None)), []);
    for _ in 0..9 {
        world.pass(6_000);
        assert_eq!(world.heartbeat("g", &ids[1], 1), ErrorCode::RebalanceInProgress);
    }
    let answers = world.pass(6_000);
    assert_eq!(joined(answers[0].1.clone()).members.len(), 1);
    // Then it does not sync, so it is removed too.
    world.pass(5_000);
    assert_eq!(world.heartbeat("g", &ids[0], 2), ErrorCode::None);
    for _ in 0..11 {
        world.pass(5_000);
        world.heartbeat("g", &ids[0], 2);
    }
    assert_eq!(world.describe("g").map(|described| described.state), Some(State::Empty));
}

#[test]
fn bounds_refuse_and_give_back() {
    let mut world = World::new();
    for asker in 0..5 {
        assert_eq!(world.ask(asker, "g", join("", None)).len(), usize::from(asker == 4));
    }
    let fat = |bytes| {
        let protocols = vec![group::Protocol { name: "range".into(), metadata: vec![0; bytes].into() }];
        Request::Join(group::Join { protocols, ..joining("", None) })
    };
    assert_eq!(error(&world.answer("h", fat(64 << 10))), ErrorCode::GroupMaxSizeReached);
    let many = (0..101).map(|at| protocol(&at.to_string(), &[])).collect();
    let many = Request::Join(group::Join { protocols: many, ..joining("", None) });
    assert_eq!(error(&world.answer("h", many)), ErrorCode::InconsistentGroupProtocol);
    for group in ["1", "2", "3", "4"] {
        assert_eq!(error(&world.answer(group, commit(said("", -1), "read", 1))), ErrorCode::None);
    }
    assert_eq!(error(&world.answer("5", commit(said("", -1), "read", 1))), ErrorCode::CoordinatorNotAvailable);
    assert_eq!(error(&world.answer("5", join("", None))), ErrorCode::CoordinatorNotAvailable);
    for group in ["1", "2", "3", "4"] {
        assert_eq!(error(&world.answer(group, Request::Delete)), ErrorCode::None);
    }
    world.call(|coordinator, turn| coordinator.resign(ErrorCode::NotCoordinator, turn));
    assert_eq!((world.budget.groups, world.budget.bytes), (0, 0));
}

#[test]
fn offsets_go_with_their_topic_their_time_or_on_request() {
    let mut world = World::new();
    let simple = |topic: &str, offset| commit(said("", -1), topic, offset);
    for topic in ["a", "b", "c"] {
        assert_eq!(error(&world.answer("g", simple(topic, 1))), ErrorCode::None);
    }
    // A topic is deleted and there again at once: the new one's offset stays, across a kill too.
    let gone = topic_id("a");
    world.coordinator.forget_topics(&|_, id| id == gone);
    assert_eq!(world.committed("g", "a"), None);
    assert_eq!(error(&world.answer("g", delete_offset("b"))), ErrorCode::None);
    assert_eq!(world.committed("g", "b"), None);
    world.pass(0);
    world.restart();
    let shown = ["a", "b", "c"].map(|topic| world.committed("g", topic));
    assert_eq!(shown, [None, None, Some(1)]);
    // Commits that are on their way when their offsets are deleted do not bring them back.
    world.is_quick = false;
    world.ask(1, "g", simple("d", 1));
    world.ask(2, "g", Request::Delete);
    world.ask(3, "g", simple("e", 1));
    assert_eq!(world.sync().len(), 3);
    let shown = ["c", "d", "e"].map(|topic| world.committed("g", topic));
    assert_eq!(shown, [None, None, Some(1)]);
    world.restart();
    assert_eq!(["c", "d", "e"].map(|topic| world.committed("g", topic)), shown);
    // Time takes the rest, and the group with it.
    world.is_quick = true;
    for (ms, expected) in [(99_000, Some(1)), (1_000, None)] {
        world.pass(ms);
        world.coordinator.begin_expiry();
        world.pass(0);
        assert_eq!(world.committed("g", "e"), expected);
    }
    assert_eq!((world.budget.groups, world.describe("g")), (0, None));
    world.restart();
    assert_eq!(world.describe("g"), None);
}

#[test]
fn offsets_of_a_working_group_stay_and_age_from_its_end() {
    let mut world = World::new();
    let ids = world.stable("g", 1);
    let commits = [("read", 1), ("other", 2)];
    for (topic, offset) in commits {
        assert_eq!(error(&world.answer("g", commit(said(&ids[0], 1), topic, offset))), ErrorCode::None);
    }
    for _ in 0..30 {
        world.pass(9_000);
        assert_eq!(world.heartbeat("g", &ids[0], 1), ErrorCode::None);
    }
    world.coordinator.begin_expiry();
    world.pass(0);
    // Nobody reads the other topic any more.
    assert_eq!(commits.map(|(topic, _)| world.committed("g", topic)), [Some(1), None]);
    world.answer("g", leave(&ids[0], None));
    for (ms, expected) in [(99_999, Some(1)), (1, None)] {
        world.pass(ms);
        world.coordinator.begin_expiry();
        world.pass(0);
        assert_eq!(world.committed("g", "read"), expected);
    }
    assert_eq!(world.describe("g"), None);
}

#[test]
fn whatever_clients_do_a_kill_brings_back_what_was_durable() {
    for seed in 0..300 {
        let mut random = Random(seed);
        let mut world = World::new();
        world.is_quick = random.below(2) == 0;
        let mut ids: Vec<String> = vec![String::new()];
        for step in 0..120 {
            let group = ["g", "h"][random.below(2)];
            let member = ids[random.below(ids.len())].clone();
            let generation = random.below(5) as i32 - 1;
            let instance = [None, None, Some("i")][random.below(3)];
            let request = match random.below(9) {
                0..=2 => {
                    let comes_again = random.below(2) == 0;
                    Request::Join(group::Join { comes_again, ..joining(&member, instance) })
                }
                3 => sync(&member, generation, vec![(member.as_str().into(), work(&member))]),
                4 => Request::Heartbeat(said(&member, generation)),
                5 => leave(&member, instance),
                6 => commit(said(&member, generation), ["a", "b"][random.below(2)], step),
                7 => delete_offset("a"),
                _ => Request::Delete,
            };
            let mut answers = world.ask(step as u32, group, request);
            if random.below(3) == 0 {
                answers.extend(world.pass([1, 4_000, 20_000][random.below(3)]));
            }
            if random.below(4) == 0 {
                answers.extend(world.sync());
            }
            for (_, answer) in answers {
                match answer {
                    Answer::Joined(joined) => ids.push(joined.member_id.to_string()),
                    Answer::NotJoined(ErrorCode::MemberIdRequired, id) => ids.push(id.to_string()),
                    _ => {}
                }
            }
            if random.below(40) == 0 {
                world.sync();
                let before = snapshot(&mut world);
                world.restart();
                assert_eq!(snapshot(&mut world), before, "seed {seed} step {step}");
            }
        }
        world.call(|coordinator, turn| coordinator.resign(ErrorCode::NotCoordinator, turn));
        assert_eq!((world.budget.groups, world.budget.bytes), (0, 0), "seed {seed}");
    }
}

/// What must survive: offsets.
fn snapshot(world: &mut World) -> Vec<Option<i64>> {
    [("g", "a"), ("g", "b"), ("h", "a"), ("h", "b")].map(|(group, topic)| world.committed(group, topic)).to_vec()
}

struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        ((self.0 >> 33) % bound as u64) as usize
    }
}
