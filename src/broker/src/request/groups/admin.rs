//! DescribeGroups, ListGroups, DeleteGroups.

use group::{Answer, Described, DescribedMember, Listed, Request};
use model::ErrorCode;
use wire::Str;
use wire::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use wire::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember};
use wire::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};

use super::{Asked, Shape, check_storable, refusal};

pub(super) fn describe(request: &DescribeGroupsRequest<'_>) -> Asked {
    let names = request.groups.iter().map(|name| Box::from(&**name)).collect();
    let shape = Shape::Describe { names, operations: request.include_authorized_operations };
    Asked { shape, parts: request.groups.iter().map(|name| part(name, Request::Describe)).collect() }
}

fn part(group_id: &Str<'_>, request: Request) -> Result<(Box<str>, Request), Answer> {
    check_storable(group_id, ErrorCode::InvalidGroupId).map_err(Answer::Refused)?;
    Ok(((**group_id).into(), request))
}

pub(super) fn described<'a>(
    answers: &'a [Answer],
    names: &'a [Box<str>],
    operations: bool,
    version: i16,
) -> DescribeGroupsResponse<'a> {
    let group = |(name, answer): (&'a str, &'a Answer)| {
        let group = DescribedGroup { group_id: name.into(), ..Default::default() };
        match answer {
            Answer::Described(described) => described_group(group, described, operations),
            // Versions that have no code for it call it dead.
            Answer::Refused(ErrorCode::GroupIdNotFound) if version <= 5 => {
                DescribedGroup { group_state: DEAD.into(), ..group }
            }
            Answer::Refused(error @ ErrorCode::GroupIdNotFound) => DescribedGroup {
                error_code: error.to_wire(),
                error_message: Some(format!("Group {name} not found.").into()),
                group_state: DEAD.into(),
                ..group
            },
            other => DescribedGroup { error_code: refusal(other).to_wire(), ..group },
        }
    };
    DescribeGroupsResponse {
        groups: names.iter().map(|name| &**name).zip(answers).map(group).collect(),
        ..Default::default()
    }
}

fn described_group<'a>(group: DescribedGroup<'a>, described: &'a Described, operations: bool) -> DescribedGroup<'a> {
    let member = |member: &'a DescribedMember| DescribedGroupMember {
        member_id: (&*member.member_id).into(),
        group_instance_id: member.instance_id.as_deref().map(Into::into),
        client_id: (&*member.client_id).into(),
        client_host: (&*member.client_host).into(),
        member_metadata: &member.metadata,
        member_assignment: &member.assignment,
    };
    DescribedGroup {
        group_state: described.state.name().into(),
        protocol_type: (&*described.protocol_type).into(),
        protocol_data: (&*described.protocol).into(),
        members: described.members.iter().map(member).collect(),
        authorized_operations: if operations { OPERATIONS_ON_GROUP } else { i32::MIN },
        ..group
    }
}

pub(super) fn list(request: &ListGroupsRequest<'_>) -> Asked {
    let lower = |texts: &[Str<'_>]| texts.iter().map(|text| text.to_ascii_lowercase()).collect();
    let (states, types) = (lower(&request.states_filter), lower(&request.types_filter));
    Asked { shape: Shape::List { states, types }, parts: Vec::new() }
}

pub(super) fn listed<'a>(answers: &'a [Answer], states: &[String], types: &[String]) -> ListGroupsResponse<'a> {
    let has = |filter: &[String], name: &str| {
        filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    };
    let error = answers.iter().map(refusal).find(|error| *error != ErrorCode::None);
    let all = answers.iter().flat_map(|answer| match answer {
        Answer::Listed(listed) => listed.as_slice(),
        _ => &[],
    });
    let wanted = all.filter(|group| has(types, CLASSIC) && has(states, group.state.name()));
    let group = |group: &'a Listed| ListedGroup {
        group_id: (&*group.group_id).into(),
        protocol_type: (&*group.protocol_type).into(),
        group_state: group.state.name().into(),
        group_type: CLASSIC.into(),
    };
    ListGroupsResponse {
        error_code: error.unwrap_or_default().to_wire(),
        groups: wanted.filter(|_| error.is_none()).map(group).collect(),
        ..Default::default()
    }
}

pub(super) fn delete(request: &DeleteGroupsRequest<'_>) -> Asked {
    let names = request.groups_names.iter().map(|name| Box::from(&**name)).collect();
    let parts = request.groups_names.iter().map(|name| part(name, Request::Delete)).collect();
    Asked { shape: Shape::Delete(names), parts }
}

pub(super) fn deleted<'a>(answers: &[Answer], names: &'a [Box<str>]) -> DeleteGroupsResponse<'a> {
    let result = |(name, answer): (&'a str, &Answer)| DeletableGroupResult {
        group_id: name.into(),
        error_code: refusal(answer).to_wire(),
        ..Default::default()
    };
    DeleteGroupsResponse {
        results: names.iter().map(|name| &**name).zip(answers).map(result).collect(),
        ..Default::default()
    }
}

const DEAD: &str = "Dead";
const CLASSIC: &str = "classic";

/// Everything that can be done to a group: read (3), delete (6), describe (8), describe and alter configs (10, 11).
const OPERATIONS_ON_GROUP: i32 = 0b1101_0100_1000;
