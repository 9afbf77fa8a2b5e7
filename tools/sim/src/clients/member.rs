//! The only member of a group: it joins, commits and reads back what it has committed. What was acknowledged stays, and
//! so does its place in the group, whatever becomes of the broker meanwhile.

use model::ErrorCode;
use wire::ApiKey;
use wire::find_coordinator::{FindCoordinatorRequest, FindCoordinatorResponse};
use wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use wire::join_group::{JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse};
use wire::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic, OffsetCommitResponse,
};
use wire::offset_fetch::{OffsetFetchRequest, OffsetFetchRequestTopic, OffsetFetchResponse};
use wire::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse};
use wire::{Reader, RequestBody};

use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_retriable, spelled};

/// The client.
#[derive(Debug, Default)]
pub(crate) struct Member {
    session: Session,
    step: Step,
    member_id: String,
    generation: i32,
    /// The generation's assignment was answered: from then on the group knows this member.
    is_settled: bool,
    /// When the broker last said so.
    known_ns: u64,
    /// Where it commits: a topic that stays.
    place: Option<(String, i32)>,
    /// The highest offset that was sent, and the least that must be there.
    sent: i64,
    acked: Option<i64>,
    /// Commits without an answer, with the broker's life: they may still take effect in that life.
    lost: Vec<(u32, i64)>,
    flying: Option<i64>,
    /// The broker was another since what is there was last read.
    unread: bool,
    next_ns: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum Step {
    #[default]
    Find,
    Join,
    Sync,
    Work,
}

impl Actor for Member {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            match heard {
                Heard::Answer(answer) => self.take(stage, &answer),
                Heard::Broken => {
                    let life = stage.world.life();
                    self.lost.extend(self.flying.take().map(|offset| (life, offset)));
                    self.unread = self.acked.is_some();
                }
            }
        }
        let done = stage.winding_down && !self.unread;
        if done || self.session.awaited_count() > 0 {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        self.next_ns = stage.think(100, 10_000);
        stage.at(self.next_ns);
        if self.place.is_none() {
            let found = stage.any_partition(true);
            self.place = found.map(|(topic, at)| (stage.oracle.topics[topic].name.clone(), at as i32));
        }
        if self.place.is_some() && self.session.is_open(stage) {
            self.ask(stage);
        }
    }

    fn is_idle(&self) -> bool {
        self.session.awaited_count() == 0 && !self.unread
    }
}

impl Member {
    fn ask(&mut self, stage: &mut Stage<'_>) {
        let group = format!("group-{}", stage.me);
        match self.step {
            _ if stage.winding_down => self.fetch(stage, &group),
            Step::Find => {
                let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
                self.send(stage, 3, RequestBody::FindCoordinator(request));
            }
            Step::Join => {
                let request = JoinGroupRequest {
                    group_id: group.into(),
                    session_timeout_ms: SESSION_MS,
                    rebalance_timeout_ms: SESSION_MS,
                    member_id: self.member_id.clone().into(),
                    protocol_type: "sim".into(),
                    protocols: vec![JoinGroupRequestProtocol { name: "one".into(), metadata: b"all" }],
                    ..Default::default()
                };
                // Ids are given out first: nobody is in the group who does not know it.
                let version = stage.version(ApiKey::JoinGroup, 4);
                self.send(stage, version, RequestBody::JoinGroup(request));
            }
            Step::Sync => {
                let member_id = self.member_id.clone();
                let assignments =
                    vec![SyncGroupRequestAssignment { member_id: member_id.clone().into(), assignment: b"work" }];
                let request = SyncGroupRequest {
                    group_id: group.into(),
                    generation_id: self.generation,
                    member_id: member_id.into(),
                    assignments,
                    ..Default::default()
                };
                let version = stage.rng.range(0, 4) as i16;
                self.send(stage, version, RequestBody::SyncGroup(request));
            }
            Step::Work => match stage.rng.below(10) {
                0..2 => self.heartbeat(stage, &group),
                2..4 => self.fetch(stage, &group),
                _ => self.commit(stage, &group),
            },
        }
    }

    fn heartbeat(&mut self, stage: &mut Stage<'_>, group: &str) {
        let request = HeartbeatRequest {
            group_id: group.into(),
            generation_id: self.generation,
            member_id: self.member_id.clone().into(),
            ..Default::default()
        };
        let version = stage.version(ApiKey::Heartbeat, 0);
        self.send(stage, version, RequestBody::Heartbeat(request));
    }

    fn commit(&mut self, stage: &mut Stage<'_>, group: &str) {
        let Some((name, partition_index)) = self.place.clone() else { return };
        self.sent += 1;
        self.flying = Some(self.sent);
        let partition =
            OffsetCommitRequestPartition { partition_index, committed_offset: self.sent, ..Default::default() };
        let topic = OffsetCommitRequestTopic { name: name.into(), partitions: vec![partition], ..Default::default() };
        let request = OffsetCommitRequest {
            group_id: group.into(),
            generation_id_or_member_epoch: self.generation,
            member_id: self.member_id.clone().into(),
            topics: vec![topic],
            ..Default::default()
        };
        let version = stage.rng.range(2, 9) as i16;
        self.send(stage, version, RequestBody::OffsetCommit(request));
    }

    fn fetch(&mut self, stage: &mut Stage<'_>, group: &str) {
        let Some((name, at)) = self.place.clone() else { return };
        let topic = OffsetFetchRequestTopic { name: name.into(), partition_indexes: vec![at] };
        let request = OffsetFetchRequest { group_id: group.into(), topics: Some(vec![topic]), ..Default::default() };
        let version = stage.rng.range(1, 7) as i16;
        self.send(stage, version, RequestBody::OffsetFetch(request));
    }

    fn send(&mut self, stage: &mut Stage<'_>, version: i16, body: RequestBody<'_>) {
        self.session.send(stage, (body.key(), version), Some(0), |out| body.encode(out, version));
    }

    fn take(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let (mut reader, version) = (Reader::new(&answer.body), answer.version);
        let whole = "a whole answer";
        match answer.key {
            ApiKey::FindCoordinator => {
                let response = FindCoordinatorResponse::decode(&mut reader, version).expect(whole);
                if self.is_granted(stage, response.error_code) {
                    self.step = Step::Join;
                }
            }
            ApiKey::JoinGroup => {
                let response = JoinGroupResponse::decode(&mut reader, version).expect(whole);
                if response.error_code == ErrorCode::MemberIdRequired.to_wire() {
                    self.member_id = response.member_id.into_owned();
                } else if self.is_granted(stage, response.error_code) {
                    assert!(*response.leader == *self.member_id && *response.member_id == *self.member_id);
                    assert!(response.members.len() == 1, "nobody else is in the group");
                    (self.generation, self.step) = (response.generation_id, Step::Sync);
                }
            }
            ApiKey::SyncGroup => {
                let response = SyncGroupResponse::decode(&mut reader, version).expect(whole);
                if self.is_granted(stage, response.error_code) {
                    assert!(response.assignment == b"work");
                    (self.is_settled, self.step, self.known_ns) = (true, Step::Work, stage.now_ns());
                }
            }
            ApiKey::Heartbeat => {
                let response = HeartbeatResponse::decode(&mut reader, version).expect(whole);
                if self.is_granted(stage, response.error_code) {
                    self.known_ns = stage.now_ns();
                }
            }
            ApiKey::OffsetCommit => {
                let response = OffsetCommitResponse::decode(&mut reader, version).expect(whole);
                let offset = self.flying.take().expect("one is in flight");
                if self.is_granted(stage, response.topics[0].partitions[0].error_code) {
                    (self.acked, self.known_ns) = (Some(offset), stage.now_ns());
                }
            }
            _ => {
                let response = OffsetFetchResponse::decode(&mut reader, version).expect(whole);
                let refused = response.error_code != 0 || response.topics.is_empty();
                let code = if refused { response.error_code } else { response.topics[0].partitions[0].error_code };
                if self.is_granted(stage, code) {
                    self.read(stage, response.topics[0].partitions[0].committed_offset);
                }
            }
        }
    }

    /// What is there lies between what was acknowledged and what was sent.
    fn read(&mut self, stage: &mut Stage<'_>, offset: i64) {
        let life = stage.world.life();
        self.lost.retain(|(sent_in, _)| *sent_in == life);
        let late = self.lost.iter().map(|(_, offset)| *offset).min();
        let least = self.acked.map(|acked| late.map_or(acked, |late| late.min(acked)));
        assert!(least.is_none_or(|least| offset >= least), "{offset} is committed where {least:?} was acknowledged");
        assert!(offset <= self.sent, "{offset} is committed, which nobody sent");
        self.unread = false;
        if offset >= 0 {
            self.acked = Some(offset);
        }
    }

    /// Whether the answer is none that asks to try again; a settled member is never told that it is none.
    fn is_granted(&mut self, stage: &mut Stage<'_>, code: i16) -> bool {
        let forgotten = [ErrorCode::UnknownMemberId, ErrorCode::IllegalGeneration, ErrorCode::RebalanceInProgress];
        match ErrorCode::from_wire(code) {
            Some(ErrorCode::None) => return true,
            Some(error) if forgotten.contains(&error) => {
                let silent_ms = (stage.now_ns() - self.known_ns) / 1_000_000;
                let excused = !self.is_settled || silent_ms >= SESSION_MS as u64 / 2;
                assert!(excused, "a member of a stable group hears {} after {silent_ms} ms", spelled(code));
                (self.is_settled, self.step) = (false, Step::Join);
                self.member_id.clear();
            }
            Some(ErrorCode::NotCoordinator) => {}
            _ => assert!(is_retriable(code), "a group answers {}", spelled(code)),
        }
        false
    }
}

/// The shortest that the broker takes.
const SESSION_MS: i32 = 6_000;
