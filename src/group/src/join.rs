//! JoinGroup: new members, members that come again, static members that come back.

use std::sync::Arc;

use model::ErrorCode;

use crate::face::{Answer, Join};
use crate::group::{Group, State};
use crate::member::{Member, OVERHEAD, Waits};
use crate::turn::{Then, Turn};

impl<A: Copy> Group<A> {
    pub(crate) fn join(&mut self, asker: A, join: Join, turn: &mut Turn<'_, A>) {
        let refuse = |error, id: &str| Answer::NotJoined(error, id.into());
        if !self.has_room_for(&join, turn) {
            if self.take_pending(&join.who.member_id) {
                self.try_complete_join(turn);
            }
            return turn.answer(asker, refuse(ErrorCode::GroupMaxSizeReached, ""));
        }
        if !self.supports(&join.protocol_type, &join.protocols) {
            return turn.answer(asker, refuse(ErrorCode::InconsistentGroupProtocol, &join.who.member_id));
        }
        if join.who.member_id.is_empty() {
            return self.join_unknown(asker, join, turn);
        }
        if join.who.instance_id.is_none() && self.take_pending(&join.who.member_id) {
            let id = Arc::from(&*join.who.member_id);
            return self.admit(asker, id, join, turn);
        }
        if let Err(error) = self.check(&join.who) {
            return turn.answer(asker, refuse(error, &join.who.member_id));
        }
        self.join_again(asker, join, turn);
    }

    /// Whether the group may grow by this member, in heads and in bytes.
    fn has_room_for(&self, join: &Join, turn: &Turn<'_, A>) -> bool {
        let is_member = self.members.contains_key(&*join.who.member_id);
        let has_seat = match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                let waits = self.members.get(&*join.who.member_id).is_some_and(Member::awaits_join);
                waits || self.joining < turn.config.max_size
            }
            State::CompletingRebalance | State::Stable => is_member || self.members.len() < turn.config.max_size,
        };
        let own = self.members.get(&*join.who.member_id).map_or(0, Member::bytes);
        let others = self.members_bytes - own + self.pending.len() * OVERHEAD;
        has_seat && others + bytes(join) <= turn.budget.group_bytes_max
    }

    fn join_unknown(&mut self, asker: A, join: Join, turn: &mut Turn<'_, A>) {
        let name = join.who.instance_id.as_deref().unwrap_or(&join.client_id);
        let id = new_member_id(name, [turn.entropy.next(), turn.entropy.next()]);
        if let Some(instance_id) = join.who.instance_id.as_deref() {
            return match self.statics.get(instance_id) {
                Some(old) => {
                    let old = old.clone();
                    self.replace(asker, &old, id, join, turn)
                }
                None => self.admit(asker, id, join, turn),
            };
        }
        if join.comes_again {
            let session_ms = u64::try_from(join.session_timeout_ms).unwrap_or(0);
            turn.answer(asker, Answer::NotJoined(ErrorCode::MemberIdRequired, (&*id).into()));
            self.expect(id, turn.now.ms.saturating_add(session_ms));
            return;
        }
        self.admit(asker, id, join, turn);
    }

    /// Lets in a member.
    fn admit(&mut self, asker: A, id: Arc<str>, join: Join, turn: &mut Turn<'_, A>) {
        if let Some(initial) = &mut self.initial {
            initial.has_grown = true;
        }
        let mut member = Member::new(id, &join);
        member.waits = Waits::Join(asker);
        // It sends no heartbeats before it is answered, and a client that went away cannot be seen to have.
        member.session_at = Some(turn.now.ms + NEW_MEMBER_TIME_MS);
        self.add(member, join.protocols, &join.protocol_type);
        self.rebalance(turn);
    }

    fn join_again(&mut self, asker: A, join: Join, turn: &mut Turn<'_, A>) {
        let Some(member) = self.members.get(&*join.who.member_id) else { return };
        let (id, is_same) = (member.id.clone(), member.protocols == join.protocols);
        match self.state {
            State::Empty => {
                turn.answer(asker, Answer::NotJoined(ErrorCode::UnknownMemberId, join.who.member_id));
            }
            State::PreparingRebalance => self.update(asker, &id, join, turn),
            // It did not get the answer: the same again.
            State::CompletingRebalance if is_same => self.tell_generation(asker, &id, turn),
            // A leader who joins again wants new assignments.
            State::Stable if is_same && !self.is_leader(&id) => self.tell_generation(asker, &id, turn),
            State::CompletingRebalance | State::Stable => self.update(asker, &id, join, turn),
        }
    }

    fn tell_generation(&mut self, asker: A, id: &Arc<str>, turn: &mut Turn<'_, A>) {
        turn.answer(asker, Answer::Joined(self.joined(id, false)));
    }

    fn update(&mut self, asker: A, id: &Arc<str>, join: Join, turn: &mut Turn<'_, A>) {
        if let Some(member) = self.members.get_mut(id) {
            member.take_timeouts(&join);
        }
        self.set_protocols(id, join.protocols);
        self.set_waits(id, Waits::Join(asker), turn);
        self.rebalance(turn);
    }

    /// A static member comes back under another id: it goes on where it was, unless its protocols change the choice.
    fn replace(&mut self, asker: A, old: &Arc<str>, id: Arc<str>, join: Join, turn: &mut Turn<'_, A>) {
        let old_leader = self.leader.clone();
        self.rename(old, id.clone(), turn);
        self.heard_of(&id, turn.now.ms);
        if let Some(member) = self.members.get_mut(&id) {
            member.take_timeouts(&join);
            member.client_id = (&*join.client_id).into();
            member.client_host = (&*join.client_host).into();
        }
        self.recount_bytes();
        self.set_protocols(&id, join.protocols);
        if self.state != State::Stable || self.select_protocol() != self.protocol {
            self.set_waits(&id, Waits::Join(asker), turn);
            return self.rebalance(turn);
        }
        let mut joined = self.joined(&id, join.can_skip_assignment && self.is_leader(&id));
        if !join.can_skip_assignment {
            // An older client that hears it is the leader would share out the work anew: it hears the old name.
            joined.members = Vec::new();
            joined.leader = old_leader.unwrap_or_else(|| "".into());
        }
        let record = self.record(&Default::default());
        let (group, old) = (self.id.clone(), old.clone());
        turn.write(vec![record], Then::Replace { group, old, asker, joined });
    }

    /// Gives a static member another id. Whoever still waits under the old one is fenced.
    pub(crate) fn rename(&mut self, old: &Arc<str>, id: Arc<str>, turn: &mut Turn<'_, A>) {
        let waits = self.take_waits(old);
        crate::group::dismiss(waits, ErrorCode::FencedInstanceId, old, turn);
        let was_leader = self.is_leader(old);
        let was_unsynced = self.unsynced.contains(old);
        let Some(mut member) = self.take(old) else { return };
        member.id = id.clone();
        let protocols = std::mem::take(&mut member.protocols);
        let protocol_type = self.protocol_type.clone().unwrap_or_else(|| "".into());
        self.add(member, protocols, &protocol_type);
        if was_leader {
            self.leader = Some(id.clone());
        }
        if was_unsynced {
            self.unsynced.insert(id);
        }
    }

    fn recount_bytes(&mut self) {
        self.members_bytes = self.members.values().map(Member::bytes).sum();
    }
}

fn bytes(join: &Join) -> usize {
    let protocols: usize = join.protocols.iter().map(|each| each.name.len() + each.metadata.len() + OVERHEAD / 4).sum();
    OVERHEAD + protocols
}

/// As Kafka makes them: what the client calls itself, and a random UUID.
fn new_member_id(name: &str, random: [u64; 2]) -> Arc<str> {
    let mut end = name.len().min(NAME_BYTES_MAX);
    while !name.is_char_boundary(end) {
        end -= 1;
    }
    let high = (random[0] & !0xf000) | 0x4000;
    let low = (random[1] & !(3 << 62)) | (2 << 62);
    let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
    format!("{}-{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", &name[..end], low >> 48, low & 0xffff_ffff_ffff).into()
}

/// How long a join may go unanswered before its client counts as gone.
const NEW_MEMBER_TIME_MS: u64 = 5 * 60 * 1000;

/// Of a name in a member id, which is kept in many places.
const NAME_BYTES_MAX: usize = 255;

#[cfg(test)]
mod tests {
    #[test]
    fn member_ids_are_a_name_and_a_uuid() {
        let id = super::new_member_id("client", [0x0123_4567_89ab_cdef, u64::MAX]);
        assert_eq!(&*id, "client-01234567-89ab-4def-bfff-ffffffffffff");
        assert_eq!(super::new_member_id(&"ö".repeat(300), [0, 0]).len(), 254 + 37);
    }
}
