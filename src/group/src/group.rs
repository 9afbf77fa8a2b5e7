//! One group: its members, its generation, its offsets, and what has to hold between them.
//! The steps that change it are in `join`, `sync`, `leave`, `rebalance`, `session`, `offsets` and `expiry`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{ErrorCode, Timestamp};

use crate::face::{Answer, Identity, Protocol};
use crate::member::{Member, OVERHEAD, Waits};
use crate::offsets::Offsets;
use crate::records::{Record, StoredGroup, StoredMember, group_record};
use crate::turn::Turn;

/// A group's state, by Kafka's names. One that is dead is not there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// No members; maybe offsets.
    Empty,
    /// Members are to join again.
    PreparingRebalance,
    /// All have joined; the leader shares out the work.
    CompletingRebalance,
    /// Everyone works.
    Stable,
}

impl State {
    /// Kafka's name.
    pub fn name(self) -> &'static str {
        match self {
            State::Empty => "Empty",
            State::PreparingRebalance => "PreparingRebalance",
            State::CompletingRebalance => "CompletingRebalance",
            State::Stable => "Stable",
        }
    }
}

#[derive(Debug)]
pub(crate) struct Group<A> {
    pub(crate) id: Arc<str>,
    pub(crate) state: State,
    pub(crate) generation: i32,
    pub(crate) protocol_type: Option<Arc<str>>,
    /// What all members of this generation agreed on.
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member<A>>,
    /// Static members by their names.
    pub(crate) statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Member ids that were given out and have not come back yet, with the time until which they may.
    pub(crate) pending: BTreeMap<Arc<str>, u64>,
    /// How many members know each protocol.
    pub(crate) supported: BTreeMap<Arc<str>, usize>,
    /// How many members' joins wait.
    pub(crate) joining: usize,
    /// Members of this generation that have not synced.
    pub(crate) unsynced: BTreeSet<Arc<str>>,
    /// When joining ends, whoever is missing.
    pub(crate) join_until: Option<u64>,
    /// When syncing ends, whoever is missing.
    pub(crate) sync_until: Option<u64>,
    /// While a group that was empty waits for more members.
    pub(crate) initial: Option<Initial>,
    /// This generation's assignments are being written.
    pub(crate) is_writing: bool,
    /// When it came into its state.
    pub(crate) since: Option<Timestamp>,
    /// What a generation of consumers subscribes to; `None`: not known.
    pub(crate) subscribed: Option<BTreeSet<Box<str>>>,
    pub(crate) sessions: BTreeSet<(u64, Arc<str>)>,
    pub(crate) offsets: Offsets,
    pub(crate) members_bytes: usize,
    /// What the budget counts for this group.
    pub(crate) charged_bytes: usize,
    /// When the coordinator looks at it next.
    pub(crate) armed: Option<u64>,
}

/// The wait of a group that was empty: extended while members come, up to a rebalance timeout.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Initial {
    pub(crate) delay_ms: u64,
    pub(crate) remaining_ms: u64,
    pub(crate) has_grown: bool,
}

impl<A: Copy> Group<A> {
    pub(crate) fn new(id: Arc<str>) -> Group<A> {
        Group {
            id,
            state: State::Empty,
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            supported: BTreeMap::new(),
            joining: 0,
            unsynced: BTreeSet::new(),
            join_until: None,
            sync_until: None,
            initial: None,
            is_writing: false,
            since: None,
            subscribed: None,
            sessions: BTreeSet::new(),
            offsets: Offsets::default(),
            members_bytes: 0,
            charged_bytes: 0,
            armed: None,
        }
    }

    /// Whether nothing would be lost without it.
    pub(crate) fn is_vacant(&self) -> bool {
        self.members.is_empty()
            && self.pending.is_empty()
            && self.offsets.is_empty()
            && self.generation == 0
            && self.state == State::Empty
    }

    /// About the memory that it takes.
    pub(crate) fn bytes(&self) -> usize {
        let pending = self.pending.len() * (OVERHEAD / 2);
        OVERHEAD + 2 * self.id.len() + self.members_bytes + pending + self.offsets.bytes()
    }

    pub(crate) fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Whether a member may speak for itself under this identity.
    pub(crate) fn check(&self, who: &Identity) -> Result<(), ErrorCode> {
        if let Some(instance_id) = who.instance_id.as_deref() {
            match self.statics.get(instance_id) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(member_id) if **member_id != *who.member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(&*who.member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether one who knows these protocols can work together with the members.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let count = self.members.len();
        let known_to_all = |protocol: &Protocol| self.supported.get(&protocol.name).copied().unwrap_or(0) == count;
        self.protocol_type.as_deref() == Some(protocol_type) && protocols.iter().any(known_to_all)
    }

    pub(crate) fn is_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some("consumer")
    }

    /// Whether its members work on a topic; if that cannot be known, they may.
    pub(crate) fn is_subscribed_to(&self, topic: &str) -> bool {
        self.is_consumers()
            && !self.members.is_empty()
            && self.subscribed.as_ref().is_none_or(|topics| topics.contains(topic))
    }

    pub(crate) fn add(&mut self, mut member: Member<A>, protocols: Vec<Protocol>, protocol_type: &Arc<str>) {
        if self.members.is_empty() {
            self.protocol_type = Some(protocol_type.clone());
        }
        if let Some(instance_id) = &member.instance_id {
            self.statics.insert(instance_id.clone(), member.id.clone());
        }
        if self.leader.is_none() {
            self.leader = Some(member.id.clone());
        }
        self.count(&protocols, 1);
        member.protocols = protocols;
        self.members_bytes += member.bytes();
        if member.awaits_join() {
            self.joining += 1;
        }
        if let Some(at) = member.session_at {
            self.sessions.insert((at, member.id.clone()));
        }
        let earlier = self.members.insert(member.id.clone(), member);
        assert!(earlier.is_none(), "a member is added once");
    }

    /// Takes a member out; what it waits for is the caller's to answer.
    pub(crate) fn take(&mut self, member_id: &str) -> Option<Member<A>> {
        let member = self.members.remove(member_id)?;
        self.count(&member.protocols, -1);
        self.members_bytes -= member.bytes();
        if member.awaits_join() {
            self.joining -= 1;
        }
        if let Some(at) = member.session_at {
            self.sessions.remove(&(at, member.id.clone()));
        }
        if let Some(instance_id) = &member.instance_id
            && self.statics.get(instance_id) == Some(&member.id)
        {
            self.statics.remove(instance_id);
        }
        self.unsynced.remove(member_id);
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Removes a member; it hears that it is none.
    pub(crate) fn remove(&mut self, member_id: &str, turn: &mut Turn<'_, A>) {
        if let Some(member) = self.take(member_id) {
            dismiss(member.waits, ErrorCode::UnknownMemberId, &member.id, turn);
        }
    }

    /// Notes what a member waits for. Should its connection have asked before, that ends.
    pub(crate) fn set_waits(&mut self, member_id: &str, waits: Waits<A>, turn: &mut Turn<'_, A>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.waits, waits);
        self.joining -= usize::from(matches!(before, Waits::Join(_)));
        self.joining += usize::from(matches!(waits, Waits::Join(_)));
        let id = member.id.clone();
        dismiss(before, ErrorCode::RebalanceInProgress, &id, turn);
    }

    /// Takes what a member waits for, to be answered.
    pub(crate) fn take_waits(&mut self, member_id: &str) -> Waits<A> {
        let Some(member) = self.members.get_mut(member_id) else { return Waits::Nothing };
        let waits = std::mem::replace(&mut member.waits, Waits::Nothing);
        self.joining -= usize::from(matches!(waits, Waits::Join(_)));
        waits
    }

    pub(crate) fn set_protocols(&mut self, member_id: &str, protocols: Vec<Protocol>) -> Vec<Protocol> {
        let Some(member) = self.members.get_mut(member_id) else { return protocols };
        self.members_bytes -= member.bytes();
        let before = std::mem::replace(&mut member.protocols, protocols.clone());
        self.members_bytes += member.bytes();
        self.count(&before, -1);
        self.count(&protocols, 1);
        before
    }

    pub(crate) fn set_assignment(&mut self, member_id: &str, assignment: Arc<[u8]>) {
        if let Some(member) = self.members.get_mut(member_id) {
            self.members_bytes -= member.bytes();
            member.assignment = assignment;
            self.members_bytes += member.bytes();
        }
    }

    fn count(&mut self, protocols: &[Protocol], by: isize) {
        // A client may name a protocol twice; it counts once.
        for (at, protocol) in protocols.iter().enumerate() {
            if protocols[..at].iter().any(|earlier| earlier.name == protocol.name) {
                continue;
            }
            let count = self.supported.entry(protocol.name.clone()).or_default();
            *count = count.checked_add_signed(by).expect("what is taken away was counted");
            if *count == 0 {
                self.supported.remove(&protocol.name);
            }
        }
    }

    /// The protocol that most members prefer among those that all know.
    pub(crate) fn select_protocol(&self) -> Option<Arc<str>> {
        let known_to_all = |name: &Arc<str>| self.supported.get(name) == Some(&self.members.len());
        let mut votes: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(first) = member.protocols.iter().find(|protocol| known_to_all(&protocol.name)) {
                *votes.entry(&first.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    pub(crate) fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(|member| member.rebalance_timeout_ms).max().unwrap_or(0)
    }

    /// The record that says how it is, with these assignments in place of those that the members have.
    pub(crate) fn record(&self, assignments: &BTreeMap<Arc<str>, Arc<[u8]>>) -> Record {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let member = |member: &Member<A>| StoredMember {
            id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            rebalance_timeout_ms: i32::try_from(member.rebalance_timeout_ms).unwrap_or(i32::MAX),
            session_timeout_ms: i32::try_from(member.session_timeout_ms).unwrap_or(i32::MAX),
            subscription: member.metadata(protocol),
            assignment: assignments.get(&member.id).unwrap_or(&member.assignment).clone(),
        };
        let stored = StoredGroup {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            since: self.since,
            members: self.members.values().map(member).collect(),
        };
        group_record(&self.id, &stored)
    }

    /// Panics if it contradicts itself.
    pub(crate) fn invariants(&self) {
        let joining = self.members.values().filter(|member| member.awaits_join()).count();
        assert!(self.joining == joining);
        assert!(self.members_bytes == self.members.values().map(Member::bytes).sum());
        assert!(self.leader.as_ref().is_none_or(|leader| self.members.contains_key(leader)));
        assert!(self.leader.is_some() || self.members.is_empty());
        assert!(self.unsynced.iter().all(|id| self.members.contains_key(id)));
        assert!(self.statics.values().all(|id| self.members.contains_key(id)));
        assert!(self.pending.keys().all(|id| !self.members.contains_key(id)));
        match self.state {
            State::Empty => assert!(self.members.is_empty()),
            State::PreparingRebalance => assert!(self.join_until.is_some()),
            State::CompletingRebalance | State::Stable => {
                assert!(!self.members.is_empty());
                assert!(self.protocol.is_some());
            }
        }
        self.offsets.invariants();
    }
}

/// Ends a wait with an error.
pub(crate) fn dismiss<A: Copy>(waits: Waits<A>, error: ErrorCode, member_id: &Arc<str>, turn: &mut Turn<'_, A>) {
    match waits {
        Waits::Nothing => {}
        Waits::Join(asker) => turn.answer(asker, Answer::NotJoined(error, (&**member_id).into())),
        Waits::Sync(asker) => turn.answer(asker, Answer::Refused(error)),
    }
}
