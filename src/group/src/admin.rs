//! What an operator sees of a group.

use std::sync::Arc;

use crate::face::{Answer, Described, DescribedMember, Listed};
use crate::group::{Group, State};
use crate::member::Member;

impl<A: Copy> Group<A> {
    pub(crate) fn describe(&self) -> Answer {
        // As Kafka: what members say and do is shown of a stable group only.
        let protocol = self.protocol.clone().filter(|_| self.state == State::Stable);
        let nothing: Arc<[u8]> = Arc::from([]);
        let member = |member: &Member<A>| DescribedMember {
            member_id: member.id.clone(),
            instance_id: member.instance_id.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: protocol.as_deref().map_or_else(|| nothing.clone(), |protocol| member.metadata(protocol)),
            assignment: protocol.as_ref().map_or_else(|| nothing.clone(), |_| member.assignment.clone()),
        };
        Answer::Described(Described {
            state: self.state,
            protocol_type: self.kind(),
            members: self.members.values().map(member).collect(),
            protocol: protocol.clone().unwrap_or_else(|| "".into()),
        })
    }

    pub(crate) fn listed(&self) -> Listed {
        Listed { group_id: self.id.clone(), protocol_type: self.kind(), state: self.state }
    }

    fn kind(&self) -> Arc<str> {
        self.protocol_type.clone().unwrap_or_else(|| "".into())
    }
}
