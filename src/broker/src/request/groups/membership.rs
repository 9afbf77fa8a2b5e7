//! JoinGroup, SyncGroup, Heartbeat, LeaveGroup.

use std::sync::Arc;

use group::{Answer, Generation, Identity, Join, Protocol, Request, Sync};
use model::ErrorCode;
use wire::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use wire::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use wire::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use wire::sync_group::{SyncGroupRequest, SyncGroupResponse};

use super::{Asked, Client, Shape, boxed, check_group_id, check_storable, refusal};

pub(super) fn join(request: &JoinGroupRequest<'_>, version: i16, client: &Client<'_>) -> Asked {
    let rebalance_timeout_ms = if version == 0 { request.session_timeout_ms } else { request.rebalance_timeout_ms };
    let protocol = |protocol: &wire::join_group::JoinGroupRequestProtocol<'_>| Protocol {
        name: (*protocol.name).into(),
        metadata: protocol.metadata.into(),
    };
    let asked = check_group_id(&request.group_id).and_then(|()| check_texts(request)).map(|()| Join {
        who: Identity {
            member_id: (*request.member_id).into(),
            instance_id: boxed(request.group_instance_id.as_ref()),
        },
        client_id: client.id.into(),
        client_host: format!("/{}", client.peer.ip().to_canonical()).into(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms,
        protocol_type: (*request.protocol_type).into(),
        protocols: request.protocols.iter().map(protocol).collect(),
        comes_again: version >= 4,
        can_skip_assignment: version >= 9,
    });
    let part = match asked {
        Ok(join) => Ok(((*request.group_id).into(), Request::Join(join))),
        Err(error) => Err(Answer::NotJoined(error, (*request.member_id).into())),
    };
    Asked { shape: Shape::Join, parts: vec![part] }
}

/// What is kept of a member must fit into its group's record.
fn check_texts(request: &JoinGroupRequest<'_>) -> Result<(), ErrorCode> {
    let texts = [Some(&request.member_id), request.group_instance_id.as_ref(), Some(&request.protocol_type)];
    let names = request.protocols.iter().map(|protocol| &protocol.name);
    texts.into_iter().flatten().chain(names).try_for_each(|text| check_storable(text, ErrorCode::InvalidRequest))
}

pub(super) fn joined(answer: &Answer) -> JoinGroupResponse<'_> {
    let joined = match answer {
        Answer::Joined(joined) => joined,
        Answer::NotJoined(error, member_id) => {
            return JoinGroupResponse {
                error_code: error.to_wire(),
                generation_id: -1,
                member_id: (&**member_id).into(),
                ..Default::default()
            };
        }
        other => {
            let error_code = refusal(other).to_wire();
            return JoinGroupResponse { error_code, generation_id: -1, ..Default::default() };
        }
    };
    JoinGroupResponse {
        generation_id: joined.generation,
        protocol_type: Some((&*joined.protocol_type).into()),
        protocol_name: Some((&*joined.protocol).into()),
        leader: (&*joined.leader).into(),
        skip_assignment: joined.skip_assignment,
        member_id: (&*joined.member_id).into(),
        members: joined.members.iter().map(joined_member).collect(),
        ..Default::default()
    }
}

fn joined_member(member: &group::JoinedMember) -> JoinGroupResponseMember<'_> {
    JoinGroupResponseMember {
        member_id: (&*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        metadata: &member.metadata,
    }
}

pub(super) fn sync(request: &SyncGroupRequest<'_>) -> Asked {
    let part = check_group_id(&request.group_id).map_err(Answer::Refused).map(|()| {
        let member = generation(&request.member_id, request.group_instance_id.as_ref(), request.generation_id);
        let assignments = request.assignments.iter();
        let sync = Sync {
            member,
            protocol_type: boxed(request.protocol_type.as_ref()),
            protocol_name: boxed(request.protocol_name.as_ref()),
            assignments: assignments.map(|each| ((*each.member_id).into(), Arc::from(each.assignment))).collect(),
        };
        ((*request.group_id).into(), Request::Sync(sync))
    });
    Asked { shape: Shape::Sync, parts: vec![part] }
}

pub(super) fn synced(answer: &Answer) -> SyncGroupResponse<'_> {
    match answer {
        Answer::Synced(synced) => SyncGroupResponse {
            protocol_type: Some((&*synced.protocol_type).into()),
            protocol_name: Some((&*synced.protocol).into()),
            assignment: &synced.assignment,
            ..Default::default()
        },
        other => SyncGroupResponse { error_code: refusal(other).to_wire(), ..Default::default() },
    }
}

pub(super) fn heartbeat(request: &HeartbeatRequest<'_>) -> Asked {
    let part = check_group_id(&request.group_id).map_err(Answer::Refused).map(|()| {
        let member = generation(&request.member_id, request.group_instance_id.as_ref(), request.generation_id);
        ((*request.group_id).into(), Request::Heartbeat(member))
    });
    Asked { shape: Shape::Heartbeat, parts: vec![part] }
}

pub(super) fn heard(answer: &Answer) -> HeartbeatResponse {
    HeartbeatResponse { error_code: refusal(answer).to_wire(), ..Default::default() }
}

pub(super) fn leave(request: &LeaveGroupRequest<'_>, version: i16) -> Asked {
    let member = |member: &MemberIdentity<'_>| Identity {
        member_id: (*member.member_id).into(),
        instance_id: boxed(member.group_instance_id.as_ref()),
    };
    let members: Vec<Identity> = match version {
        ..=2 => vec![Identity { member_id: (*request.member_id).into(), instance_id: None }],
        3.. => request.members.iter().map(member).collect(),
    };
    let part = check_group_id(&request.group_id).map_err(Answer::Refused);
    let part = part.map(|()| ((*request.group_id).into(), Request::Leave(members.clone())));
    Asked { shape: Shape::Leave(members), parts: vec![part] }
}

pub(super) fn left<'a>(answer: &Answer, members: &'a [Identity], version: i16) -> LeaveGroupResponse<'a> {
    let Answer::Left(results) = answer else {
        return LeaveGroupResponse { error_code: refusal(answer).to_wire(), ..Default::default() };
    };
    if version <= 2 {
        let error_code = results.first().copied().unwrap_or_default().to_wire();
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let member = |(member, error): (&'a Identity, &ErrorCode)| MemberResponse {
        member_id: (&*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        error_code: error.to_wire(),
    };
    LeaveGroupResponse { members: members.iter().zip(results).map(member).collect(), ..Default::default() }
}

pub(super) fn generation(member_id: &str, instance_id: Option<&wire::Str<'_>>, generation: i32) -> Generation {
    Generation { who: Identity { member_id: member_id.into(), instance_id: boxed(instance_id) }, generation }
}
