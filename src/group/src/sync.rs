//! SyncGroup: the leader's assignments are written down, and when that is durable everyone gets his own.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::ErrorCode;

use crate::face::{Answer, Sync, Synced};
use crate::group::{Group, State};
use crate::member::Waits;
use crate::turn::{Then, Turn};

impl<A: Copy> Group<A> {
    pub(crate) fn sync(&mut self, asker: A, sync: Sync, turn: &mut Turn<'_, A>) {
        if let Err(error) = self.check_sync(&sync) {
            return turn.answer(asker, Answer::Refused(error));
        }
        let id: Arc<str> = (&*sync.member.who.member_id).into();
        self.unsynced.remove(&id);
        if self.unsynced.is_empty() {
            self.sync_until = None;
        }
        if self.state == State::Stable {
            self.heard_of(&id, turn.now.ms);
            return turn.answer(asker, self.synced(&id));
        }
        self.set_waits(&id, Waits::Sync(asker), turn);
        if self.is_leader(&id) && !self.is_writing {
            self.assign(sync.assignments, turn);
        }
    }

    fn check_sync(&self, sync: &Sync) -> Result<(), ErrorCode> {
        self.check(&sync.member.who)?;
        let differs = |asked: &Option<Box<str>>, is: &Option<Arc<str>>| {
            asked.as_deref().is_some_and(|asked| is.as_deref() != Some(asked))
        };
        if sync.member.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if differs(&sync.protocol_type, &self.protocol_type) || differs(&sync.protocol_name, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    fn assign(&mut self, assignments: Vec<(Box<str>, Arc<[u8]>)>, turn: &mut Turn<'_, A>) {
        let mut by_member: BTreeMap<Arc<str>, Arc<[u8]>> =
            self.members.keys().map(|id| (id.clone(), Arc::from([]))).collect();
        for (member_id, assignment) in assignments {
            if let Some(known) = by_member.get_mut(&*member_id) {
                *known = assignment;
            }
        }
        let record = self.record(&by_member);
        self.is_writing = true;
        let (group, generation) = (self.id.clone(), self.generation);
        turn.write(vec![record], Then::Assign { group, generation, assignments: by_member.into_iter().collect() });
    }

    /// The assignments of a generation are durable.
    pub(crate) fn assigned(
        &mut self,
        generation: i32,
        assignments: Vec<(Arc<str>, Arc<[u8]>)>,
        turn: &mut Turn<'_, A>,
    ) {
        if self.state != State::CompletingRebalance || generation != self.generation {
            // A later generation is being prepared; who waited has heard so.
            return;
        }
        self.is_writing = false;
        for (id, assignment) in assignments {
            self.set_assignment(&id, assignment);
        }
        self.enter(State::Stable, turn);
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            if matches!(self.members.get(&id).map(|member| member.waits), Some(Waits::Sync(_)))
                && let Waits::Sync(asker) = self.take_waits(&id)
            {
                self.heard_of(&id, turn.now.ms);
                turn.answer(asker, self.synced(&id));
            }
        }
    }

    /// The assignments of a generation cannot be written: it is over.
    pub(crate) fn not_assigned(&mut self, generation: i32, error: ErrorCode, turn: &mut Turn<'_, A>) {
        if self.state == State::CompletingRebalance && generation == self.generation {
            self.reset_assignments(error, turn);
            self.rebalance(turn);
        }
    }

    fn synced(&self, id: &str) -> Answer {
        Answer::Synced(Synced {
            protocol_type: self.protocol_type.clone().unwrap_or_else(|| "".into()),
            protocol: self.protocol.clone().unwrap_or_else(|| "".into()),
            assignment: self.members.get(id).map_or_else(|| Arc::from([]), |member| member.assignment.clone()),
        })
    }
}
