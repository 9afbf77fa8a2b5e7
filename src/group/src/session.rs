//! Sessions: members that are not heard of are removed, and so are ids that were given out and never used.

use std::sync::Arc;

use model::ErrorCode;

use crate::face::{Answer, Generation};
use crate::group::{Group, State};
use crate::member::Waits;
use crate::turn::Turn;

impl<A: Copy> Group<A> {
    pub(crate) fn heartbeat(&mut self, asker: A, heartbeat: &Generation, turn: &mut Turn<'_, A>) {
        let error = match self.check(&heartbeat.who) {
            Err(error) => error,
            Ok(()) if heartbeat.generation != self.generation => ErrorCode::IllegalGeneration,
            Ok(()) => {
                self.heard_of(&heartbeat.who.member_id, turn.now.ms);
                match self.state {
                    State::Empty => ErrorCode::UnknownMemberId,
                    State::PreparingRebalance => ErrorCode::RebalanceInProgress,
                    // A consumer may begin before it has its assignment.
                    State::CompletingRebalance | State::Stable => ErrorCode::None,
                }
            }
        };
        let answer = if error == ErrorCode::None { Answer::Done } else { Answer::Refused(error) };
        turn.answer(asker, answer);
    }

    /// The member's session begins anew.
    pub(crate) fn heard_of(&mut self, member_id: &str, now_ms: u64) {
        let Some(member) = self.members.get(member_id) else { return };
        let at = now_ms.saturating_add(member.session_timeout_ms);
        self.set_session(member_id, Some(at));
    }

    pub(crate) fn set_session(&mut self, member_id: &str, at: Option<u64>) {
        let Some(member) = self.members.get_mut(member_id) else { return };
        let before = std::mem::replace(&mut member.session_at, at);
        let id = member.id.clone();
        if let Some(before) = before {
            self.sessions.remove(&(before, id.clone()));
        }
        if let Some(at) = at {
            self.sessions.insert((at, id));
        }
    }

    /// An id is given out; its client has so long to come back with it.
    pub(crate) fn expect(&mut self, member_id: Arc<str>, until_ms: u64) {
        self.sessions.insert((until_ms, member_id.clone()));
        self.pending.insert(member_id, until_ms);
    }

    /// Whether the id was given out and has not come back; it counts as come back from now on.
    pub(crate) fn take_pending(&mut self, member_id: &str) -> bool {
        let Some((id, until_ms)) = self.pending.remove_entry(member_id) else { return false };
        self.sessions.remove(&(until_ms, id));
        true
    }

    /// When something must be done without being asked.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        let session = self.sessions.first().map(|(at, _)| *at);
        [session, self.join_until, self.sync_until].into_iter().flatten().min()
    }

    /// Does one thing whose time has come; whether there was one.
    pub(crate) fn expire_one(&mut self, turn: &mut Turn<'_, A>) -> bool {
        let is_due = |at: Option<u64>| at.is_some_and(|at| at <= turn.now.ms);
        if is_due(self.join_until) {
            self.join_time_up(turn);
            return true;
        }
        if is_due(self.sync_until) {
            self.sync_time_up(turn);
            return true;
        }
        let Some((at, id)) = self.sessions.first().cloned() else { return false };
        if at > turn.now.ms {
            return false;
        }
        if self.take_pending(&id) {
            self.try_complete_join(turn);
            return true;
        }
        let Some(member) = self.members.get(&id) else { unreachable!("a session is a member's") };
        if !matches!(member.waits, Waits::Nothing) && !member.is_new {
            // It hears from us first; its session goes on with the answer.
            self.set_session(&id, None);
            return true;
        }
        self.remove(&id, turn);
        self.rebalance_without(turn);
        true
    }

    /// Members are gone: those who stay share their work.
    pub(crate) fn rebalance_without(&mut self, turn: &mut Turn<'_, A>) {
        if self.state != State::Empty {
            self.rebalance(turn);
        }
    }

    fn sync_time_up(&mut self, turn: &mut Turn<'_, A>) {
        self.sync_until = None;
        let late = std::mem::take(&mut self.unsynced);
        if late.is_empty() {
            return;
        }
        for id in late {
            self.remove(&id, turn);
        }
        self.rebalance_without(turn);
    }
}
