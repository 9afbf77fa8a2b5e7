//! LeaveGroup: members that say so are gone at once, and an operator may take out static members by name.

use model::ErrorCode;

use crate::face::{Answer, Identity};
use crate::group::Group;
use crate::turn::Turn;

impl<A: Copy> Group<A> {
    pub(crate) fn leave(&mut self, asker: A, members: &[Identity], turn: &mut Turn<'_, A>) {
        let before = self.members.len();
        let results = members.iter().map(|who| self.leave_one(who, turn)).collect();
        turn.answer(asker, Answer::Left(results));
        if self.members.len() < before {
            self.rebalance_without(turn);
        } else {
            self.try_complete_join(turn);
        }
    }

    fn leave_one(&mut self, who: &Identity, turn: &mut Turn<'_, A>) -> ErrorCode {
        if who.member_id.is_empty() {
            let named = who.instance_id.as_deref().and_then(|instance_id| self.statics.get(instance_id));
            let Some(id) = named.cloned() else { return ErrorCode::UnknownMemberId };
            self.remove(&id, turn);
            return ErrorCode::None;
        }
        if self.take_pending(&who.member_id) {
            return ErrorCode::None;
        }
        match self.check(who) {
            Ok(()) => {
                self.remove(&who.member_id, turn);
                ErrorCode::None
            }
            Err(error) => error,
        }
    }
}
