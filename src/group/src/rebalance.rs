//! From one generation to the next: members are called together, the generation begins when all have come or time is up.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::ErrorCode;

use crate::face::{Answer, Joined, JoinedMember};
use crate::group::{Group, Initial, State, dismiss};
use crate::member::Waits;
use crate::subscription;
use crate::turn::{Then, Turn};

impl<A: Copy> Group<A> {
    /// Something about the members changed: a new generation is due, or one that is being prepared may be complete.
    pub(crate) fn rebalance(&mut self, turn: &mut Turn<'_, A>) {
        match self.state {
            State::PreparingRebalance => self.try_complete_join(turn),
            State::Empty | State::CompletingRebalance | State::Stable => self.prepare(turn),
        }
    }

    fn prepare(&mut self, turn: &mut Turn<'_, A>) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments(ErrorCode::RebalanceInProgress, turn);
        }
        self.sync_until = None;
        self.unsynced.clear();
        let was_empty = self.state == State::Empty;
        self.enter(State::PreparingRebalance, turn);
        if was_empty {
            // Members of a new group tend to start together: one generation for all of them is cheaper.
            let delay_ms = turn.config.initial_rebalance_delay_ms;
            let remaining_ms = self.rebalance_timeout_ms().saturating_sub(delay_ms);
            self.initial = Some(Initial { delay_ms, remaining_ms, has_grown: false });
            self.join_until = Some(turn.now.ms + delay_ms);
        } else {
            self.join_until = Some(turn.now.ms + self.rebalance_timeout_ms());
            self.try_complete_join(turn);
        }
    }

    /// Begins the generation if nobody is missing. A group that was empty waits out its delay.
    pub(crate) fn try_complete_join(&mut self, turn: &mut Turn<'_, A>) {
        let all_are_here = self.joining == self.members.len() && self.pending.is_empty();
        if self.state == State::PreparingRebalance && self.initial.is_none() && all_are_here {
            self.complete_join(turn);
        }
    }

    /// The time for joining is up.
    pub(crate) fn join_time_up(&mut self, turn: &mut Turn<'_, A>) {
        match self.initial {
            Some(Initial { delay_ms, remaining_ms, has_grown: true }) if remaining_ms > 0 => {
                let next_ms = turn.config.initial_rebalance_delay_ms.min(remaining_ms);
                let remaining_ms = remaining_ms.saturating_sub(delay_ms);
                self.initial = Some(Initial { delay_ms: next_ms, remaining_ms, has_grown: false });
                self.join_until = Some(turn.now.ms + next_ms);
            }
            _ => self.complete_join(turn),
        }
    }

    /// Begins the next generation with those who have come. Static members belong to it even if they have not.
    fn complete_join(&mut self, turn: &mut Turn<'_, A>) {
        assert!(self.state == State::PreparingRebalance);
        self.initial = None;
        let missing = self.members.values().filter(|member| !member.awaits_join() && !member.is_static());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            self.remove(&id, turn);
        }
        if !self.members.is_empty() && !self.elect_leader() {
            // Only static members, and none of them is here: they may come until their sessions end.
            self.join_until = Some(turn.now.ms + self.rebalance_timeout_ms().max(1));
            return;
        }
        self.join_until = None;
        // Kafka's counter wraps too; -1 means "no generation".
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.unsynced.clear();
        self.is_writing = false;
        self.protocol = self.select_protocol();
        self.subscribed = self.topics_of_members();
        if self.members.is_empty() {
            self.enter(State::Empty, turn);
            let record = self.record(&BTreeMap::new());
            return turn.write(vec![record], Then::Nothing);
        }
        assert!(self.protocol.is_some(), "members who share no protocol are not let in");
        self.enter(State::CompletingRebalance, turn);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            let joined = self.joined(&id, false);
            if let Waits::Join(asker) = self.take_waits(&id) {
                turn.answer(asker, Answer::Joined(joined));
            }
            self.heard_of(&id, turn.now.ms);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.unsynced.insert(id);
        }
        self.sync_until = Some(turn.now.ms + self.rebalance_timeout_ms());
    }

    /// Keeps the leader if he is here, else takes another who is. Whether there is one.
    fn elect_leader(&mut self) -> bool {
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(leader));
        if leader.is_some_and(|leader| leader.awaits_join()) {
            return true;
        }
        let here = self.members.values().find(|member| member.awaits_join()).map(|member| member.id.clone());
        self.leader = here.clone().or(self.leader.take());
        here.is_some()
    }

    /// What a member learns of the generation; the leader learns who the others are.
    pub(crate) fn joined(&self, member_id: &Arc<str>, skip_assignment: bool) -> Joined {
        let protocol = self.protocol.clone().unwrap_or_else(|| "".into());
        let members = if self.is_leader(member_id) { self.members_for_leader(&protocol) } else { Vec::new() };
        Joined {
            generation: self.generation,
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            leader: self.leader.clone().unwrap_or_else(|| "".into()),
            protocol,
            member_id: member_id.clone(),
            skip_assignment,
            members,
        }
    }

    fn members_for_leader(&self, protocol: &str) -> Vec<JoinedMember> {
        let members = self.members.values().map(|member| JoinedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        });
        members.collect()
    }

    fn topics_of_members(&self) -> Option<BTreeSet<Box<str>>> {
        let protocol = self.protocol.as_deref().filter(|_| self.is_consumers())?;
        let mut topics = BTreeSet::new();
        for member in self.members.values() {
            subscription::read(&member.metadata(protocol), &mut topics)?;
        }
        Some(topics)
    }

    /// As it is written down: the topics of a group that was read from its record.
    pub(crate) fn learn_subscription(&mut self) {
        self.subscribed = self.topics_of_members();
    }

    pub(crate) fn enter(&mut self, state: State, turn: &Turn<'_, A>) {
        self.state = state;
        self.since = Some(turn.now.wall);
    }

    /// Nobody has work any more; who waits for it hears why not.
    pub(crate) fn reset_assignments(&mut self, error: ErrorCode, turn: &mut Turn<'_, A>) {
        self.is_writing = false;
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.set_assignment(&id, Arc::from([]));
            if matches!(self.members.get(&id).map(|member| member.waits), Some(Waits::Sync(_))) {
                let waits = self.take_waits(&id);
                dismiss(waits, error, &id, turn);
                self.heard_of(&id, turn.now.ms);
            }
        }
    }
}
