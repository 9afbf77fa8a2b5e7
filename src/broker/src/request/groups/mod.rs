//! Requests to groups at their connection: sent to the coordinators' homes, put together again. One file a family:
//! what is asked and how it is answered in each version. Never knows a group's state.

mod admin;
mod membership;
mod offsets;

use std::net::SocketAddr;

use group::{Answer, Identity, Request};
use model::{ErrorCode, TopicPartition};
use wire::{ApiKey, Malformed, Reader, RequestBody, RequestHeader, ResponseBody, Str, response_frame};

use crate::context::Context;
use crate::handlers::OFFSETS_TOPIC;
use crate::mail::{GroupPart, Letter, RequestRef};
use crate::request::Reply;
use crate::request::groups::offsets::{FetchedGroup, Places};

/// A request on its way.
pub(crate) struct GroupsRequest {
    api: ApiKey,
    version: i16,
    correlation_id: i32,
    shape: Shape,
    /// What has come of each part.
    answers: Vec<Option<Answer>>,
    awaiting: usize,
}

/// What the answer repeats of the request.
enum Shape {
    Join,
    Sync,
    Heartbeat,
    Leave(Vec<Identity>),
    Commit(Places),
    Fetch(Vec<FetchedGroup>),
    DeleteOffsets(Places),
    Describe { names: Vec<Box<str>>, operations: bool },
    List { states: Vec<String>, types: Vec<String> },
    Delete(Vec<Box<str>>),
}

/// What is asked: a part for each group, or an answer where none need be asked.
struct Asked {
    shape: Shape,
    parts: Vec<Result<(Box<str>, Request), Answer>>,
}

/// Where a request comes from.
struct Client<'a> {
    id: &'a str,
    peer: SocketAddr,
}

impl GroupsRequest {
    /// Asks the coordinators. Returns the request, and whether there is anything to wait for.
    #[allow(clippy::too_many_arguments)]
    pub(crate) fn start(
        api: ApiKey,
        version: i16,
        correlation_id: i32,
        frame: &[u8],
        peer: SocketAddr,
        id: RequestRef,
        context: &mut Context<'_>,
    ) -> Result<(GroupsRequest, bool), Malformed> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader)?;
        let body = RequestBody::decode(api, &mut reader, version)?;
        let client = Client { id: header.client_id.unwrap_or(""), peer };
        let asked = asked(&body, version, &client, context);
        let is_list = matches!(asked.shape, Shape::List { .. });
        let mut request =
            GroupsRequest { api, version, correlation_id, shape: asked.shape, answers: Vec::new(), awaiting: 0 };
        if is_list {
            request.ask_all(id, context);
        } else {
            request.ask(asked.parts, id, context);
        }
        let waits = request.awaiting > 0;
        Ok((request, waits))
    }

    fn ask_all(&mut self, id: RequestRef, context: &mut Context<'_>) {
        for (index, shard) in (0..).zip(context.post.shards()) {
            self.answers.push(None);
            self.awaiting += 1;
            context.post.send(shard, Letter::ListGroups { request: id, index });
        }
    }

    fn ask(&mut self, parts: Vec<Result<(Box<str>, Request), Answer>>, id: RequestRef, context: &mut Context<'_>) {
        let topic = context.image.topic(OFFSETS_TOPIC).map(|topic| (topic.id, topic.partition_count));
        let mut letters: Vec<Vec<GroupPart>> = context.post.shards().map(|_| Vec::new()).collect();
        for (index, part) in (0..).zip(parts) {
            match (part, topic) {
                (Err(answer), _) => self.answers.push(Some(answer)),
                (Ok(_), None) => self.answers.push(Some(Answer::Refused(ErrorCode::NotCoordinator))),
                (Ok((group_id, asked)), Some((topic, partition_count))) => {
                    let partition = group::partition_of(&group_id, partition_count);
                    let home = context.topics.home(TopicPartition { topic, partition });
                    letters[home.index()].push(GroupPart { index, partition, group_id, asked });
                    self.answers.push(None);
                    self.awaiting += 1;
                }
            }
        }
        for (shard, parts) in context.post.shards().zip(letters) {
            if !parts.is_empty() {
                context.post.send(shard, Letter::AskGroups { request: id, parts });
            }
        }
    }

    /// A coordinator has answered. Returns whether that was the last.
    pub(crate) fn answered(&mut self, index: u32, answer: Answer) -> bool {
        let place = self.answers.get_mut(index as usize).expect("a part that was asked");
        assert!(place.is_none(), "a part is answered once");
        *place = Some(answer);
        self.awaiting -= 1;
        self.awaiting == 0
    }

    /// The answer.
    pub(crate) fn reply(&mut self, context: &Context<'_>) -> Reply {
        let answers = std::mem::take(&mut self.answers).into_iter();
        let answers: Vec<Answer> = answers.map(|answer| answer.expect("all are answered")).collect();
        let version = self.version;
        let only = || answers.first().expect("one group was asked");
        let body = match &mut self.shape {
            Shape::Join => ResponseBody::JoinGroup(membership::joined(only())),
            Shape::Sync => ResponseBody::SyncGroup(membership::synced(only())),
            Shape::Heartbeat => ResponseBody::Heartbeat(membership::heard(only())),
            Shape::Leave(members) => ResponseBody::LeaveGroup(membership::left(only(), members, version)),
            Shape::Commit(places) => ResponseBody::OffsetCommit(offsets::committed(answers.first(), places)),
            Shape::Fetch(groups) => ResponseBody::OffsetFetch(offsets::fetched(&answers, groups, version, context)),
            Shape::DeleteOffsets(places) => ResponseBody::OffsetDelete(offsets::deleted(answers.first(), places)),
            Shape::Describe { names, operations } => {
                ResponseBody::DescribeGroups(admin::described(&answers, names, *operations, version))
            }
            Shape::List { states, types } => ResponseBody::ListGroups(admin::listed(&answers, states, types)),
            Shape::Delete(names) => ResponseBody::DeleteGroups(admin::deleted(&answers, names)),
        };
        let frame = response_frame(self.api, version, self.correlation_id, |writer| body.encode(writer, version));
        Reply::frame(&frame, context.memory)
    }
}

fn asked(body: &RequestBody<'_>, version: i16, client: &Client<'_>, context: &Context<'_>) -> Asked {
    match body {
        RequestBody::JoinGroup(request) => membership::join(request, version, client),
        RequestBody::SyncGroup(request) => membership::sync(request),
        RequestBody::Heartbeat(request) => membership::heartbeat(request),
        RequestBody::LeaveGroup(request) => membership::leave(request, version),
        RequestBody::OffsetCommit(request) => offsets::commit(request, version, context),
        RequestBody::OffsetFetch(request) => offsets::fetch(request, version, context),
        RequestBody::OffsetDelete(request) => offsets::delete(request, context),
        RequestBody::DescribeGroups(request) => admin::describe(request),
        RequestBody::ListGroups(request) => admin::list(request),
        RequestBody::DeleteGroups(request) => admin::delete(request),
        _ => unreachable!("the connection brings no other request here"),
    }
}

/// Whether a group may have this id, where it may not be empty.
fn check_group_id(group_id: &str) -> Result<(), ErrorCode> {
    if group_id.is_empty() {
        Err(ErrorCode::InvalidGroupId)
    } else {
        check_storable(group_id, ErrorCode::InvalidGroupId)
    }
}

/// Whether a text fits into a record, whose strings have two bytes of length.
fn check_storable(text: &str, error: ErrorCode) -> Result<(), ErrorCode> {
    if text.len() > i16::MAX as usize { Err(error) } else { Ok(()) }
}

fn boxed(text: Option<&Str<'_>>) -> Option<Box<str>> {
    text.map(|text| (**text).into())
}

/// The error of an answer that refuses; `None` says how it should have been.
fn refusal(answer: &Answer) -> ErrorCode {
    match answer {
        Answer::Refused(error) | Answer::NotJoined(error, _) => *error,
        _ => ErrorCode::None,
    }
}
