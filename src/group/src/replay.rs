//! From records to groups, when a coordinator begins.

use std::sync::Arc;

use crate::face::Protocol;
use crate::group::{Group, State};
use crate::member::{Member, Waits};
use crate::records::{BadRecord, Key, StoredGroup, StoredMember, read_group, read_key, read_offset};
use crate::{Coordinator, Now};

impl<A: Copy> Coordinator<A> {
    /// Applies one record of the log, in order.
    pub fn replay(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), BadRecord> {
        match read_key(key)? {
            Key::Foreign => {}
            Key::Offset { group, topic, partition } => {
                let committed = value.map(read_offset).transpose()?;
                self.group_mut(group).offsets.load(topic, partition, committed);
                self.drop_if_vacant(group);
            }
            Key::Group { group } => {
                let stored = value.map(read_group).transpose()?;
                self.group_mut(group).load(stored);
                self.drop_if_vacant(group);
            }
        }
        Ok(())
    }
}

impl<A: Copy> Group<A> {
    fn load(&mut self, stored: Option<StoredGroup>) {
        let offsets = std::mem::take(&mut self.offsets);
        *self = Group { offsets, charged_bytes: self.charged_bytes, armed: self.armed, ..Group::new(self.id.clone()) };
        let Some(stored) = stored else { return };
        self.generation = stored.generation;
        self.protocol_type = Some(stored.protocol_type).filter(|kind| !kind.is_empty());
        self.since = stored.since;
        let Some(protocol) = stored.protocol.filter(|_| !stored.members.is_empty()) else { return };
        let protocol_type = self.protocol_type.clone().unwrap_or_else(|| "".into());
        for member in stored.members {
            // One record names a member once; a second one would be somebody's mistake, not a second member.
            if self.members.contains_key(&member.id) {
                continue;
            }
            let protocols = vec![Protocol { name: protocol.clone(), metadata: member.subscription.clone() }];
            self.add(loaded(member), protocols, &protocol_type);
        }
        self.state = State::Stable;
        self.protocol = Some(protocol);
        self.leader = stored.leader.filter(|leader| self.members.contains_key(leader)).or(self.leader.take());
    }

    /// The log is read: members have their sessions' time to say that they are still there.
    pub(crate) fn start(&mut self, now: Now) {
        for id in self.members.keys().cloned().collect::<Vec<_>>() {
            self.heard_of(&id, now.ms);
        }
        self.learn_subscription();
    }
}

fn loaded<A>(stored: StoredMember) -> Member<A> {
    let ms = |ms: i32| u64::try_from(ms).unwrap_or(0);
    Member {
        id: stored.id,
        instance_id: stored.instance_id.map(|id| Arc::from(&*id)),
        client_id: stored.client_id,
        client_host: stored.client_host,
        session_timeout_ms: ms(stored.session_timeout_ms),
        rebalance_timeout_ms: ms(stored.rebalance_timeout_ms),
        protocols: Vec::new(),
        assignment: stored.assignment,
        is_new: false,
        waits: Waits::Nothing,
        session_at: None,
    }
}
