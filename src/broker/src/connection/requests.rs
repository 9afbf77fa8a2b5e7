//! Requests of a connection, from frame to answer, in order.

use effect::{Buf, Instant, ShardId};
use wire::{ApiKey, Malformed, Reader, RequestHeader, Requested};

use crate::connection::{Connections, Key, REQUESTS_MAX};
use crate::context::Context;
use crate::handlers::View;
use crate::mail::{Command, DeleteResult, Fetched, Letter, LookedUp, OffsetResult, Outcome, ProduceResult, RequestRef};
use crate::request::Reply;
use crate::request::delete_records::DeleteRecordsState;
use crate::request::fetch::{FetchRequest, Fetching, Started, release, release_out};
use crate::request::groups::GroupsRequest;
use crate::request::list_offsets::ListOffsetsState;
use crate::request::lookup::LookupState;
use crate::request::produce::{ProduceRequest, Step};
use crate::request::read_only::{Handled, handle, unsupported_api_versions};

/// A request that was started.
pub(super) struct Request {
    pub(super) sequence: u32,
    pub(super) received: Instant,
    pub(super) state: State,
}

pub(super) enum State {
    /// Its batches are with their homes (or still being validated).
    Produce(Box<ProduceRequest>),
    /// As [`State::Produce`], while the connection validates it.
    Validating,
    Fetch(Box<FetchRequest>),
    ListOffsets(ListOffsetsState),
    DeleteRecords(DeleteRecordsState),
    Groups(Box<GroupsRequest>),
    Lookup(LookupState),
    /// Shard 0 decides.
    Control,
    /// Shard 0 creates topics; then it is handled.
    AutoCreate(Handling),
    Answered(Reply),
}

/// What it takes to handle a request again.
pub(super) struct Handling {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    body: Buf,
}

impl Connections {
    /// Starts what can be started, sends what is answered, receives on.
    pub(super) fn advance(&mut self, key: Key, context: &mut Context<'_>) {
        while self.advance_once(key, context) {}
        self.flush(key, context);
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if connection.closing {
            return;
        }
        let finished = connection.requests.is_empty() && connection.input.front().is_none();
        if connection.input_ended && finished && connection.output.is_idle() {
            return self.close(key, context);
        }
        connection.receive_on(key, context);
    }

    /// Takes one step with the next frame; whether there may be another.
    fn advance_once(&mut self, key: Key, context: &mut Context<'_>) -> bool {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return false };
        if connection.closing {
            return false;
        }
        if connection.validating.is_some() {
            return self.validate(key, context);
        }
        let Some(frame) = connection.input.front() else { return false };
        if context.post.is_congested() || context.memory.used_bytes() > context.memory.limit_bytes() {
            self.run_later(key);
            return false;
        }
        let mut reader = Reader::new(frame);
        let header = match RequestHeader::decode(&mut reader) {
            Ok(header) => header,
            Err(malformed) => {
                self.malformed(key, malformed, context);
                return false;
            }
        };
        let is_produce = matches!(header.requested, Requested::Served { key: ApiKey::Produce, .. });
        if !is_produce && frame.len() > PLAIN_BYTES_MAX {
            self.malformed(key, TOO_LARGE, context);
            return false;
        }
        let only_produces =
            connection.requests.iter().all(|request| matches!(request.state, State::Produce(_) | State::Answered(_)));
        let may_start = match is_produce {
            true => only_produces && connection.requests.len() < REQUESTS_MAX,
            false => connection.requests.is_empty() && connection.output.is_idle(),
        };
        if !may_start {
            self.hurry_fetch(key, context);
            return false;
        }
        let (requested, correlation_id, body_at) = (header.requested, header.correlation_id, reader.position());
        let Some(frame) = connection.input.pop() else { return false };
        context.metrics.requests_total.add(1);
        let sequence = connection.next_sequence;
        connection.next_sequence = sequence.wrapping_add(1);
        let received = context.now;
        connection.requests.push_back(Request { sequence, received, state: State::Control });
        if let Err(malformed) = self.start(key, sequence, requested, correlation_id, &frame, body_at, context) {
            self.malformed(key, malformed, context);
            return false;
        }
        true
    }

    #[allow(clippy::too_many_arguments)]
    fn start(
        &mut self,
        key: Key,
        sequence: u32,
        requested: Requested,
        correlation_id: i32,
        frame: &Buf,
        body_at: usize,
        context: &mut Context<'_>,
    ) -> Result<(), Malformed> {
        let body = frame.slice(body_at..frame.len());
        let id = key.request(sequence, context);
        let (api, version) = match requested {
            Requested::Served { key, version } => (key, version),
            Requested::ApiVersionsUnsupported => {
                let frame = unsupported_api_versions(correlation_id);
                self.answer(key, sequence, Reply::frame(&frame, context.memory), context);
                return Ok(());
            }
            Requested::Refused { .. } => {
                context.metrics.connections_unsupported_total.add(1);
                self.answer(key, sequence, Reply::Close("an API or version that is not served"), context);
                return Ok(());
            }
        };
        match api {
            ApiKey::Produce => {
                let request = Box::new(ProduceRequest::parse(body, version, correlation_id, context)?);
                let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return Ok(()) };
                connection.validating = Some((sequence, request));
                self.set_state(key, sequence, State::Validating);
            }
            ApiKey::Fetch => match FetchRequest::start(&body, version, correlation_id, &mut self.sessions, context)? {
                Started::Reply(reply) => self.answer(key, sequence, reply, context),
                Started::Request(mut request) => {
                    let fetching = request.ask(id, context);
                    self.fetching(key, sequence, request, fetching, context);
                }
            },
            ApiKey::ListOffsets => {
                let request = wire::list_offsets::ListOffsetsRequest::decode(&mut Reader::new(&body), version)?;
                let (state, waits) = ListOffsetsState::start(&request, version, correlation_id, id, context);
                match waits {
                    true => self.set_state(key, sequence, State::ListOffsets(state)),
                    false => self.answer(key, sequence, state.reply(context), context),
                }
            }
            ApiKey::DeleteRecords => {
                let request = wire::delete_records::DeleteRecordsRequest::decode(&mut Reader::new(&body), version)?;
                let (state, waits) = DeleteRecordsState::start(&request, version, correlation_id, id, context);
                match waits {
                    true => {
                        self.deletion_deadlines.insert((state.deadline, id));
                        self.set_state(key, sequence, State::DeleteRecords(state));
                    }
                    false => self.answer(key, sequence, state.reply(context), context),
                }
            }
            ApiKey::JoinGroup
            | ApiKey::SyncGroup
            | ApiKey::Heartbeat
            | ApiKey::LeaveGroup
            | ApiKey::OffsetCommit
            | ApiKey::OffsetFetch
            | ApiKey::OffsetDelete
            | ApiKey::DescribeGroups
            | ApiKey::ListGroups
            | ApiKey::DeleteGroups => {
                let Some(peer) = self.slots.get(key.slot, key.generation).map(|connection| connection.peer) else {
                    return Ok(());
                };
                let (mut request, waits) =
                    GroupsRequest::start(api, version, correlation_id, frame, peer, id, context)?;
                match waits {
                    true => self.set_state(key, sequence, State::Groups(Box::new(request))),
                    false => self.answer(key, sequence, request.reply(context), context),
                }
            }
            ApiKey::OffsetForLeaderEpoch
            | ApiKey::DescribeProducers
            | ApiKey::DescribeLogDirs
            | ApiKey::AlterReplicaLogDirs => {
                let (state, waits) = LookupState::start(api, &body, version, correlation_id, id, context)?;
                match waits {
                    true => self.set_state(key, sequence, State::Lookup(state)),
                    false => self.answer(key, sequence, state.reply(context), context),
                }
            }
            _ => {
                let handling = Handling { key: api, version, correlation_id, body };
                self.handle(key, sequence, handling, frame, false, context)?;
            }
        }
        Ok(())
    }

    fn handle(
        &mut self,
        key: Key,
        sequence: u32,
        handling: Handling,
        frame: &Buf,
        created: bool,
        context: &mut Context<'_>,
    ) -> Result<(), Malformed> {
        let Some(connection) = self.slots.get(key.slot, key.generation) else { return Ok(()) };
        let view = View { image: context.image, config: context.config, local: connection.local };
        let Handling { key: api, version, correlation_id, body } = &handling;
        let request = key.request(sequence, context);
        let command = match handle(*api, *version, *correlation_id, body, &view, created)? {
            Handled::Frame(frame) => {
                self.answer(key, sequence, Reply::frame(&frame, context.memory), context);
                return Ok(());
            }
            Handled::Control => Command::Frame(frame.clone()),
            Handled::AutoCreate(names) => {
                self.set_state(key, sequence, State::AutoCreate(handling));
                Command::AutoCreate(names)
            }
        };
        context.post.send(CONTROL, Letter::Control { request, command });
        Ok(())
    }

    /// Validates on; when all is validated, sends it to its homes. Whether the next frame may be looked at.
    fn validate(&mut self, key: Key, context: &mut Context<'_>) -> bool {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return false };
        let Some((sequence, mut request)) = connection.validating.take() else { return false };
        if request.validate(VALIDATION_BYTES, context) == Step::Pending {
            connection.validating = Some((sequence, request));
            self.run_later(key);
            return false;
        }
        match request.dispatch(key.request(sequence, context), context) {
            true => self.set_state(key, sequence, State::Produce(request)),
            false => {
                let reply = request.reply(context);
                self.answer(key, sequence, reply, context);
            }
        }
        true
    }

    pub(crate) fn produced(
        &mut self,
        request: RequestRef,
        results: Vec<(u32, ProduceResult)>,
        context: &mut Context<'_>,
    ) {
        let Some((key, found)) = self.find(request) else { return };
        let State::Produce(produce) = &mut found.state else { return };
        if produce.answered(results) {
            let reply = produce.reply(context);
            context.metrics.produce_latency.record(context.now.since(found.received));
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    pub(crate) fn fetched(
        &mut self,
        request: RequestRef,
        round: u32,
        parts: Vec<Fetched>,
        from: ShardId,
        context: &mut Context<'_>,
    ) {
        let Some((key, mut fetch)) = self.take_fetch(request) else {
            // The connection is gone; what was lent goes back.
            for part in parts {
                release(part.pieces, from, context);
            }
            return;
        };
        let fetching = fetch.answered(round, parts, request, context);
        self.fetching(key, request.sequence, fetch, fetching, context);
        self.advance(key, context);
    }

    pub(crate) fn fetch_ready(&mut self, request: RequestRef, context: &mut Context<'_>) {
        let Some((key, mut fetch)) = self.take_fetch(request) else { return };
        let fetching = fetch.ready(request, context);
        self.fetching(key, request.sequence, fetch, fetching, context);
        self.advance(key, context);
    }

    /// Answers the requests whose time is up.
    pub(crate) fn expire(&mut self, context: &mut Context<'_>) {
        self.expire_deletions(context);
        while let Some((deadline, request)) = self.deadlines.first().copied() {
            if deadline > context.now {
                break;
            }
            self.deadlines.pop_first();
            let Some((key, mut fetch)) = self.take_fetch(request) else { continue };
            let fetching = fetch.hurry();
            self.fetching(key, request.sequence, fetch, fetching, context);
            self.advance(key, context);
        }
    }

    /// Answers the deletions whose time is up.
    fn expire_deletions(&mut self, context: &mut Context<'_>) {
        while let Some((deadline, request)) = self.deletion_deadlines.first().copied()
            && deadline <= context.now
        {
            self.deletion_deadlines.pop_first();
            let Some((key, found)) = self.find(request) else { continue };
            let State::DeleteRecords(state) = &found.state else { continue };
            let reply = state.reply(context);
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    /// When the next request that waits must be answered.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let firsts = [self.deadlines.first(), self.deletion_deadlines.first()];
        firsts.into_iter().flatten().map(|(deadline, _)| *deadline).chain(self.next_sweep).min()
    }

    pub(crate) fn deleted(
        &mut self,
        request: RequestRef,
        results: Vec<(u32, DeleteResult)>,
        context: &mut Context<'_>,
    ) {
        let Some((key, found)) = self.find(request) else { return };
        let State::DeleteRecords(state) = &mut found.state else { return };
        if state.answered(results) {
            let (reply, deadline) = (state.reply(context), state.deadline);
            self.deletion_deadlines.remove(&(deadline, request));
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    pub(crate) fn listed(&mut self, request: RequestRef, results: Vec<(u32, OffsetResult)>, context: &mut Context<'_>) {
        let Some((key, found)) = self.find(request) else { return };
        let State::ListOffsets(state) = &mut found.state else { return };
        if state.answered(results) {
            let reply = state.reply(context);
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    pub(crate) fn grouped(
        &mut self,
        request: RequestRef,
        index: u32,
        answer: group::Answer,
        context: &mut Context<'_>,
    ) {
        let Some((key, found)) = self.find(request) else { return };
        let State::Groups(groups) = &mut found.state else { return };
        if groups.answered(index, answer) {
            let reply = groups.reply(context);
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    pub(crate) fn looked_up(&mut self, request: RequestRef, found: LookedUp, context: &mut Context<'_>) {
        let Some((key, waiting)) = self.find(request) else { return };
        let State::Lookup(state) = &mut waiting.state else { return };
        if state.answered(found) {
            let reply = state.reply(context);
            self.answer(key, request.sequence, reply, context);
            self.advance(key, context);
        }
    }

    pub(crate) fn controlled(&mut self, request: RequestRef, outcome: Outcome, context: &mut Context<'_>) {
        let Some((key, found)) = self.find(request) else { return };
        match outcome {
            Outcome::Frame(frame) => self.answer(key, request.sequence, Reply::frame(&frame, context.memory), context),
            Outcome::Malformed => return self.malformed(key, MALFORMED_ELSEWHERE, context),
            Outcome::Done => {
                let State::AutoCreate(_) = &found.state else { return };
                let State::AutoCreate(handling) = std::mem::replace(&mut found.state, State::Control) else { return };
                if let Err(malformed) = self.handle(key, request.sequence, handling, &Buf::EMPTY, true, context) {
                    return self.malformed(key, malformed, context);
                }
            }
        }
        self.advance(key, context);
    }

    /// Has a parked fetch answered at once: somebody waits behind it.
    pub(super) fn hurry_fetch(&mut self, key: Key, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get(key.slot, key.generation) else { return };
        let Some(front) = connection.requests.front() else { return };
        let request = key.request(front.sequence, context);
        let Some((key, mut fetch)) = self.take_fetch(request) else { return };
        let fetching = fetch.hurry();
        self.fetching(key, request.sequence, fetch, fetching, context);
        self.flush(key, context);
    }

    /// A connection is gone: its request is told to those who work for it.
    pub(super) fn abandon(&mut self, key: Key, request: Request, context: &mut Context<'_>) {
        let id = key.request(request.sequence, context);
        match request.state {
            State::Fetch(fetch) => {
                self.deadlines.remove(&(fetch.deadline, id));
                fetch.abandon(id, context);
            }
            State::DeleteRecords(state) => {
                self.deletion_deadlines.remove(&(state.deadline, id));
            }
            State::Answered(Reply::Pieces(pieces)) => release_out(pieces, context),
            // Their answers find nobody and are dropped.
            State::Produce(_) | State::Validating | State::ListOffsets(_) | State::Groups(_) | State::Lookup(_) => {}
            State::Control | State::AutoCreate(_) | State::Answered(_) => {}
        }
    }

    fn fetching(
        &mut self,
        key: Key,
        sequence: u32,
        fetch: Box<FetchRequest>,
        fetching: Fetching,
        context: &mut Context<'_>,
    ) {
        let id = key.request(sequence, context);
        match fetching {
            Fetching::Waits => {
                // One that was hurried waits for answers on their way, no longer for time.
                if !fetch.is_hurried() {
                    self.deadlines.insert((fetch.deadline, id));
                }
                self.set_state(key, sequence, State::Fetch(fetch));
            }
            Fetching::Ready => {
                self.deadlines.remove(&(fetch.deadline, id));
                let reply = fetch.finish(id, &mut self.sessions, context);
                self.answer(key, sequence, reply, context);
            }
        }
    }

    /// Takes a fetch out of its place; the caller puts it back or answers it.
    fn take_fetch(&mut self, request: RequestRef) -> Option<(Key, Box<FetchRequest>)> {
        let (key, found) = self.find(request)?;
        if !matches!(found.state, State::Fetch(_)) {
            return None;
        }
        match std::mem::replace(&mut found.state, State::Control) {
            State::Fetch(fetch) => Some((key, fetch)),
            _ => None,
        }
    }

    fn find(&mut self, request: RequestRef) -> Option<(Key, &mut Request)> {
        let key = Key { slot: request.slot, generation: request.generation };
        let connection = self.slots.get_mut(key.slot, key.generation)?;
        let found = connection.requests.iter_mut().find(|found| found.sequence == request.sequence)?;
        Some((key, found))
    }

    fn set_state(&mut self, key: Key, sequence: u32, state: State) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if let Some(found) = connection.requests.iter_mut().find(|found| found.sequence == sequence) {
            found.state = state;
        }
    }

    fn answer(&mut self, key: Key, sequence: u32, reply: Reply, context: &mut Context<'_>) {
        self.set_state(key, sequence, State::Answered(reply));
        self.flush(key, context);
    }

    /// Sends the answers whose turn it is.
    fn flush(&mut self, key: Key, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if connection.closing {
            return;
        }
        while connection.requests.front().is_some_and(|request| matches!(request.state, State::Answered(_))) {
            let Some(request) = connection.requests.pop_front() else { break };
            match request.state {
                State::Answered(Reply::Pieces(pieces)) => connection.output.push(pieces),
                State::Answered(Reply::Silence) => {}
                State::Answered(Reply::Close(why)) => {
                    tracing::debug!(peer = %connection.peer, why, "connection closed");
                    return self.close(key, context);
                }
                _ => unreachable!("it is answered"),
            }
        }
        connection.send_on(key, context);
    }

    fn run_later(&mut self, key: Key) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if !std::mem::replace(&mut connection.is_runnable, true) {
            self.runnable.push_back(key);
        }
    }
}

impl Key {
    fn request(self, sequence: u32, context: &Context<'_>) -> RequestRef {
        RequestRef { shard: context.post.own(), slot: self.slot, generation: self.generation, sequence }
    }
}

/// The shard where metadata is changed.
const CONTROL: ShardId = ShardId(0);

/// Decompressed bytes that one connection may validate in a turn: about a quarter of a millisecond.
const VALIDATION_BYTES: usize = 256 * 1024;

/// Requests without records decode into structures some twenty times their size; the largest that clients have reason to
/// send, a fetch of a hundred thousand partitions, is half of this.
const PLAIN_BYTES_MAX: usize = 8 << 20;
const TOO_LARGE: Malformed = Malformed { at: 0, what: "a request without records above 8 MiB" };

const MALFORMED_ELSEWHERE: Malformed = Malformed { at: 0, what: "not a request that is served" };
