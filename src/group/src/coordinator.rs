//! The groups of one partition of the offsets topic.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use model::{ErrorCode, Offset, TopicId};

use crate::face::{Answer, AppendRefusal, Join, Listed, Request};
use crate::group::{Group, dismiss};
use crate::records::offset_tombstone;
use crate::turn::{OffsetKey, Then, Turn};

/// The groups of one partition. `A` is what the caller needs to answer.
#[derive(Debug)]
pub struct Coordinator<A> {
    groups: BTreeMap<Arc<str>, Group<A>>,
    /// Which group to look at when.
    timers: BTreeSet<(u64, Arc<str>)>,
    /// Written, not durable yet, in the order of the log: where each ends, and what follows.
    held: VecDeque<(Offset, Then<A>)>,
    /// How far the log has come.
    end: Offset,
    /// Offsets of deleted topics: already forgotten, still to be said in the log.
    forgotten: VecDeque<(Arc<str>, Vec<OffsetKey>)>,
    /// The group from which on offsets are looked at next, while a round is under way.
    expiring: Option<Arc<str>>,
}

impl<A> Default for Coordinator<A> {
    fn default() -> Coordinator<A> {
        Coordinator {
            groups: BTreeMap::new(),
            timers: BTreeSet::new(),
            held: VecDeque::new(),
            end: Offset::ZERO,
            forgotten: VecDeque::new(),
            expiring: None,
        }
    }
}

impl<A: Copy> Coordinator<A> {
    /// The log was replayed up to `end`: groups go on.
    pub fn start(&mut self, end: Offset, turn: &mut Turn<'_, A>) {
        self.end = end;
        for group in self.groups.values_mut() {
            group.start(turn.now);
        }
        for id in self.groups.keys().cloned().collect::<Vec<_>>() {
            self.settle(&id, turn);
        }
    }

    /// Handles a request.
    pub fn ask(&mut self, asker: A, group_id: &str, request: Request, turn: &mut Turn<'_, A>) {
        assert!(turn.write.is_none());
        if let Err(answer) = self.check(group_id, &request, turn) {
            return turn.answer(asker, answer);
        }
        if !self.groups.contains_key(group_id) && !creates(&request) {
            return turn.answer(asker, without_group(&request));
        }
        let group = self.group_mut(group_id);
        match request {
            Request::Join(join) => group.join(asker, join, turn),
            Request::Sync(sync) => group.sync(asker, sync, turn),
            Request::Heartbeat(heartbeat) => group.heartbeat(asker, &heartbeat, turn),
            Request::Leave(members) => group.leave(asker, &members, turn),
            Request::Commit(commit) => group.commit(asker, commit, turn),
            Request::Fetch(fetch) => turn.answer(asker, group.fetch(&fetch)),
            Request::DeleteOffsets(delete) => group.delete_offsets(asker, delete, turn),
            Request::Describe => turn.answer(asker, group.describe()),
            Request::Delete => group.delete(asker, turn),
        }
        self.settle(group_id, turn);
    }

    /// What can be said without looking at the group.
    fn check(&self, group_id: &str, request: &Request, turn: &Turn<'_, A>) -> Result<(), Answer> {
        let is_new = !self.groups.contains_key(group_id);
        let is_full =
            turn.budget.bytes >= turn.budget.bytes_max || (is_new && turn.budget.groups >= turn.budget.groups_max);
        match request {
            Request::Join(join) => {
                check_join(join, turn).map_err(|error| Answer::NotJoined(error, join.who.member_id.clone()))?;
                if is_full && !self.knows(group_id, &join.who.member_id) {
                    return Err(Answer::NotJoined(ErrorCode::CoordinatorNotAvailable, join.who.member_id.clone()));
                }
                Ok(())
            }
            Request::Commit(_) if is_full => Err(Answer::Refused(ErrorCode::CoordinatorNotAvailable)),
            _ => Ok(()),
        }
    }

    fn knows(&self, group_id: &str, member_id: &str) -> bool {
        self.groups.get(group_id).is_some_and(|group| group.members.contains_key(member_id))
    }

    /// All groups.
    pub fn list(&self) -> impl Iterator<Item = Listed> {
        self.groups.values().filter(|group| !group.is_vacant()).map(Group::listed)
    }

    /// The batch of this write was appended and ends at `end`.
    pub fn appended(&mut self, write: crate::turn::Write<A>, end: Offset, turn: &mut Turn<'_, A>) {
        assert!(end > self.end, "a log only grows");
        self.end = end;
        match &write.then {
            Then::Commit { group, offsets, .. } => {
                let id = group.clone();
                self.group_mut(&id).commit_appended(offsets);
                self.settle(&id, turn);
            }
            Then::Erase { group, keys, whole, .. } => {
                let id = group.clone();
                self.group_mut(&id).erased(keys, *whole, end);
                self.settle(&id, turn);
            }
            Then::Assign { .. } | Then::Replace { .. } | Then::Nothing => {}
        }
        self.held.push_back((end, write.then));
    }

    /// The batch of this write was not appended.
    pub fn refused(&mut self, write: crate::turn::Write<A>, refusal: AppendRefusal, turn: &mut Turn<'_, A>) {
        match write.then {
            Then::Nothing => {}
            Then::Commit { group, asker, .. } => {
                turn.answer(asker, Answer::Refused(commit_code(refusal)));
                self.settle(&group, turn);
            }
            Then::Erase { reply, .. } => {
                if let Some((asker, _)) = reply {
                    turn.answer(asker, Answer::Refused(code(refusal)));
                }
            }
            Then::Assign { group, generation, .. } => {
                self.group_mut(&group).not_assigned(generation, code(refusal), turn);
                self.settle(&group, turn);
            }
            Then::Replace { group, old, asker, joined, .. } => {
                self.group_mut(&group).rename(&joined.member_id, old, turn);
                turn.answer(asker, Answer::NotJoined(code(refusal), "".into()));
                self.settle(&group, turn);
            }
        }
    }

    /// Whether something that was written is not durable yet.
    pub fn awaits_log(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether something waits for the log to be durable up to `end` or less.
    pub fn is_held_up_to(&self, end: Offset) -> bool {
        self.held.front().is_some_and(|(held, _)| *held <= end)
    }

    /// The log is durable up to `end`: what rests on it may be said.
    pub fn durable(&mut self, end: Offset, turn: &mut Turn<'_, A>) {
        while self.held.front().is_some_and(|(held, _)| *held <= end) {
            let Some((at, then)) = self.held.pop_front() else { return };
            match then {
                Then::Nothing => {}
                Then::Commit { group, offsets, asker, results } => {
                    self.group_mut(&group).committed(offsets, at);
                    turn.answer(asker, Answer::Items(results));
                    self.settle(&group, turn);
                }
                Then::Erase { reply, .. } => turn.answers.extend(reply),
                Then::Assign { group, generation, assignments } => {
                    self.group_mut(&group).assigned(generation, assignments, turn);
                    self.settle(&group, turn);
                }
                Then::Replace { asker, joined, .. } => turn.answer(asker, Answer::Joined(joined)),
            }
        }
    }

    /// When [`Coordinator::tick`] has something to do.
    pub fn next_deadline(&self) -> Option<u64> {
        if !self.forgotten.is_empty() || self.expiring.is_some() {
            return Some(0);
        }
        self.timers.first().map(|(at, _)| *at)
    }

    /// Does one thing that is due; whether there was one. Call it again until there is none, or enough was done.
    pub fn tick(&mut self, turn: &mut Turn<'_, A>) -> bool {
        assert!(turn.write.is_none());
        if let Some((at, id)) = self.timers.first().cloned()
            && at <= turn.now.ms
        {
            self.timers.pop_first();
            if let Some(group) = self.groups.get_mut(&id) {
                group.armed = None;
                group.expire_one(turn);
                self.settle(&id, turn);
            }
            return true;
        }
        if let Some((id, keys)) = self.forgotten.pop_front() {
            self.say_forgotten(&id, &keys, turn);
            return true;
        }
        if let Some(from) = self.expiring.take() {
            return self.expire_from(&from, turn);
        }
        false
    }

    /// Offsets that are over are to be looked for.
    pub fn begin_expiry(&mut self) {
        self.expiring.get_or_insert_with(|| "".into());
    }

    fn expire_from(&mut self, from: &Arc<str>, turn: &mut Turn<'_, A>) -> bool {
        let mut rest = self.groups.range::<str, _>((std::ops::Bound::Included(&**from), std::ops::Bound::Unbounded));
        let Some(id) = rest.next().map(|(id, _)| id.clone()) else { return false };
        self.expiring = rest.next().map(|(next, _)| next.clone());
        self.group_mut(&id).expire_offsets(turn);
        self.settle(&id, turn);
        true
    }

    /// Topics are gone, and with them what was committed of them. `is_gone` is asked with name and id.
    pub fn forget_topics(&mut self, is_gone: &dyn Fn(&str, TopicId) -> bool) {
        for group in self.groups.values_mut() {
            let keys = group.forget_topics(is_gone, self.end);
            if !keys.is_empty() {
                self.forgotten.push_back((group.id.clone(), keys));
            }
        }
    }

    /// Says in the log that offsets are forgotten, but for those that were committed again, of a new topic.
    fn say_forgotten(&mut self, id: &Arc<str>, keys: &[OffsetKey], turn: &mut Turn<'_, A>) {
        let group = self.groups.get(id);
        let is_back = |key: &&OffsetKey| group.is_some_and(|group| group.offsets.has(&key.0, key.1));
        let gone = keys.iter().filter(|key| !is_back(key));
        let records: Vec<_> = gone.map(|(topic, partition)| offset_tombstone(id, topic, *partition)).collect();
        if !records.is_empty() {
            turn.write(records, Then::Nothing);
        }
        self.settle(id, turn);
    }

    /// Who waits for others to join or sync hears `error`; what is being written is still answered.
    pub fn dismiss(&mut self, error: ErrorCode, turn: &mut Turn<'_, A>) {
        for group in self.groups.values_mut() {
            for id in group.members.keys().cloned().collect::<Vec<_>>() {
                let waits = group.take_waits(&id);
                dismiss(waits, error, &id, turn);
            }
        }
    }

    /// The partition is not this broker's any more: everyone who waits hears `error`.
    pub fn resign(&mut self, error: ErrorCode, turn: &mut Turn<'_, A>) {
        for (_, then) in std::mem::take(&mut self.held) {
            match then {
                Then::Commit { asker, .. } => turn.answer(asker, Answer::Refused(error)),
                Then::Replace { asker, joined, .. } => {
                    turn.answer(asker, Answer::NotJoined(error, (&*joined.member_id).into()));
                }
                Then::Erase { reply: Some((asker, _)), .. } => turn.answer(asker, Answer::Refused(error)),
                Then::Erase { reply: None, .. } | Then::Assign { .. } | Then::Nothing => {}
            }
        }
        for (_, group) in std::mem::take(&mut self.groups) {
            turn.budget.bytes -= group.charged_bytes;
            turn.budget.groups -= usize::from(group.charged_bytes > 0);
            for (id, member) in group.members {
                dismiss(member.waits, error, &id, turn);
            }
        }
        *self = Coordinator::default();
    }

    /// Panics if a group contradicts itself.
    pub fn invariants(&self) {
        for group in self.groups.values() {
            group.invariants();
            assert!(group.next_deadline().is_none_or(|at| group.armed.is_some_and(|armed| armed <= at)));
        }
        assert!(self.held.iter().map(|(end, _)| end).is_sorted());
    }

    pub(crate) fn group_mut(&mut self, id: &str) -> &mut Group<A> {
        if !self.groups.contains_key(id) {
            let id: Arc<str> = id.into();
            self.groups.insert(id.clone(), Group::new(id));
        }
        self.groups.get_mut(id).expect("it is there")
    }

    /// While records are applied, before anything is counted.
    pub(crate) fn drop_if_vacant(&mut self, id: &str) {
        if self.groups.get(id).is_some_and(Group::is_vacant) {
            self.groups.remove(id);
        }
    }

    /// After a step: the budget, the timer, and whether the group is still there.
    fn settle(&mut self, id: &str, turn: &mut Turn<'_, A>) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let before = group.charged_bytes;
        group.charged_bytes = if group.is_vacant() && turn.write.is_none() { 0 } else { group.bytes() };
        turn.budget.bytes = turn.budget.bytes - before + group.charged_bytes;
        turn.budget.groups += usize::from(before == 0 && group.charged_bytes > 0);
        turn.budget.groups -= usize::from(before > 0 && group.charged_bytes == 0);
        if group.charged_bytes == 0 {
            if let Some(armed) = group.armed {
                self.timers.remove(&(armed, group.id.clone()));
            }
            self.groups.remove(id);
            return;
        }
        self.arm(id);
    }

    fn arm(&mut self, id: &str) {
        let Some(group) = self.groups.get_mut(id) else { return };
        let Some(at) = group.next_deadline() else { return };
        // A timer that is early is set again when it fires: heartbeats move deadlines, not timers.
        if group.armed.is_none_or(|armed| at < armed) {
            if let Some(armed) = group.armed.replace(at) {
                self.timers.remove(&(armed, group.id.clone()));
            }
            self.timers.insert((at, group.id.clone()));
        }
    }
}

fn check_join<A>(join: &Join, turn: &Turn<'_, A>) -> Result<(), ErrorCode> {
    let session = turn.config.min_session_timeout_ms..=turn.config.max_session_timeout_ms;
    if !session.contains(&join.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    // Far more than any client knows; what each costs grows with their number.
    if join.protocols.len() > PROTOCOLS_MAX {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    Ok(())
}

/// Whether the request may bring a group into being.
fn creates(request: &Request) -> bool {
    match request {
        Request::Join(join) => join.who.member_id.is_empty(),
        Request::Commit(commit) => commit.member.generation < 0,
        _ => false,
    }
}

/// What is said of a group that is not there.
fn without_group(request: &Request) -> Answer {
    match request {
        Request::Join(join) => Answer::NotJoined(ErrorCode::UnknownMemberId, join.who.member_id.clone()),
        Request::Sync(_) | Request::Heartbeat(_) => Answer::Refused(ErrorCode::UnknownMemberId),
        Request::Leave(members) => Answer::Left(vec![ErrorCode::UnknownMemberId; members.len()]),
        Request::Commit(_) => Answer::Refused(ErrorCode::IllegalGeneration),
        Request::Fetch(fetch) => Group::<()>::new("".into()).fetch(fetch),
        Request::DeleteOffsets(_) | Request::Describe | Request::Delete => Answer::Refused(ErrorCode::GroupIdNotFound),
    }
}

/// What a client hears when a group's record was not written; Kafka's translation.
fn code(refusal: AppendRefusal) -> ErrorCode {
    match refusal {
        AppendRefusal::TooLarge => ErrorCode::UnknownServerError,
        AppendRefusal::Busy => ErrorCode::CoordinatorNotAvailable,
        AppendRefusal::Offline => ErrorCode::NotCoordinator,
    }
}

/// What a client hears when its offsets were not written.
fn commit_code(refusal: AppendRefusal) -> ErrorCode {
    match refusal {
        AppendRefusal::TooLarge => ErrorCode::InvalidCommitOffsetSize,
        AppendRefusal::Busy | AppendRefusal::Offline => code(refusal),
    }
}

const PROTOCOLS_MAX: usize = 100;
