//! The connections of a shard: what each has received, what it waits for, what it still has to send.
//!
//! Owns sockets, the order of answers and everything that bounds a client: frames that wait, requests in flight, time
//! without progress. Requests execute and answer in the order in which they came; consecutive produces overlap,
//! anything else waits for those before it. Never touches a log.

mod input;
mod output;
mod requests;
mod sweep;

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;

use effect::{Done, Instant, Op, Slots, Socket, Token};
use wire::Malformed;

use crate::connection::input::{Input, Next};
use crate::connection::output::Output;
use crate::connection::requests::Request;
use crate::context::Context;
use crate::mail::{Letter, RequestRef};
use crate::request::fetch::release_out;
use crate::request::fetch_session::FetchSessions;
use crate::request::produce::ProduceRequest;

/// The room number of connections' tokens.
pub(crate) const ROOM: u8 = 1;

/// The connections of one shard.
pub(crate) struct Connections {
    slots: Slots<Connection>,
    sessions: FetchSessions,
    /// When parked fetches must be answered.
    deadlines: BTreeSet<(Instant, RequestRef)>,
    /// When deletions that are not durable yet are answered all the same.
    deletion_deadlines: BTreeSet<(Instant, RequestRef)>,
    /// Connections that can go on without an event.
    runnable: VecDeque<Key>,
    /// Connections whose next frame waits for memory, in order.
    starved: VecDeque<Key>,
    next_sweep: Option<Instant>,
    stopping: bool,
}

/// Slot and generation.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Key {
    slot: u32,
    generation: u32,
}

struct Connection {
    socket: Socket,
    peer: SocketAddr,
    local: SocketAddr,
    input: Input,
    /// A receive is in flight.
    receiving: bool,
    /// The stream has ended or nothing more is to be read of it.
    input_ended: bool,
    /// A produce request whose batches are being validated: the newest request.
    validating: Option<(u32, Box<ProduceRequest>)>,
    /// Requests that were started, the oldest first.
    requests: VecDeque<Request>,
    next_sequence: u32,
    output: Output,
    /// Operations in flight on the socket.
    ops: u32,
    closing: bool,
    last_active: Instant,
    is_runnable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Recv = 1,
    Send = 2,
    Shutdown = 3,
    Close = 4,
}

impl Connections {
    pub(crate) fn new(sessions: FetchSessions) -> Connections {
        Connections {
            slots: Slots::default(),
            sessions,
            deadlines: BTreeSet::new(),
            deletion_deadlines: BTreeSet::new(),
            runnable: VecDeque::new(),
            starved: VecDeque::new(),
            next_sweep: None,
            stopping: false,
        }
    }

    /// How many fetches wait for data.
    pub(crate) fn waiting_fetches(&self) -> usize {
        self.deadlines.len()
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Begins to serve a connection.
    pub(crate) fn adopt(&mut self, socket: Socket, peer: SocketAddr, local: SocketAddr, context: &mut Context<'_>) {
        let connection = Connection {
            socket,
            peer,
            local,
            input: Input::default(),
            receiving: false,
            input_ended: self.stopping,
            validating: None,
            requests: VecDeque::new(),
            next_sequence: 0,
            output: Output::default(),
            ops: 0,
            closing: false,
            last_active: context.now,
            is_runnable: false,
        };
        let (slot, generation) = self.slots.insert(connection);
        context.metrics.connections.set(self.slots.len() as u64);
        self.advance(Key { slot, generation }, context);
    }

    /// An operation on a connection's socket has ended.
    pub(crate) fn complete(&mut self, token: Token, done: Done, context: &mut Context<'_>) {
        let key = Key { slot: token.slot, generation: token.generation };
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        connection.ops -= 1;
        match token.kind {
            kind if kind == Kind::Recv as u8 => self.received(key, done, context),
            kind if kind == Kind::Send as u8 => self.sent(key, done, context),
            kind if kind == Kind::Shutdown as u8 => self.close_if_quiet(key, context),
            _ => {
                self.slots.remove(key.slot, key.generation);
                context.metrics.connections.set(self.slots.len() as u64);
            }
        }
    }

    /// A client of another shard's session closes it here.
    pub(crate) fn close_session(&mut self, id: i32) {
        self.sessions.close(id);
    }

    /// Goes on with what can go on, once each.
    pub(crate) fn run(&mut self, context: &mut Context<'_>) {
        for _ in 0..self.runnable.len() {
            let Some(key) = self.runnable.pop_front() else { break };
            if let Some(connection) = self.slots.get_mut(key.slot, key.generation) {
                connection.is_runnable = false;
                self.advance(key, context);
            }
        }
        while let Some(key) = self.starved.front().copied() {
            let Some(connection) = self.slots.get_mut(key.slot, key.generation) else {
                self.starved.pop_front();
                continue;
            };
            if connection.closing {
                self.starved.pop_front();
                continue;
            }
            let next = connection.input.fill(context.memory);
            if matches!(next, Next::Starved) {
                break;
            }
            self.starved.pop_front();
            connection.receive(key, next, context);
        }
    }

    /// Whether there is work that no event will bring: `Some(true)` at once, `Some(false)` soon.
    pub(crate) fn wants_turn(&self, held_up: bool) -> Option<bool> {
        match (self.runnable.is_empty(), self.starved.is_empty()) {
            (false, _) => Some(!held_up),
            (true, false) => Some(false),
            (true, true) => None,
        }
    }

    /// Stops reading; what is in flight is finished.
    pub(crate) fn stop(&mut self, context: &mut Context<'_>) {
        self.stopping = true;
        for key in self.keys() {
            let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { continue };
            connection.input_ended = true;
            connection.input.clear();
            self.hurry_fetch(key, context);
            self.advance(key, context);
        }
    }

    /// Whether nothing is in flight for any client.
    pub(crate) fn is_drained(&self) -> bool {
        let idle = |connection: &Connection| {
            connection.closing || (connection.requests.is_empty() && connection.output.is_idle())
        };
        self.slots.iter().all(|(_, _, connection)| idle(connection))
    }

    pub(crate) fn invariants(&self) {
        for (_, _, connection) in self.slots.iter() {
            assert!(connection.requests.len() <= REQUESTS_MAX);
            assert!(connection.validating.is_none() || !connection.requests.is_empty() || connection.closing);
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.slots.iter().map(|(slot, generation, _)| Key { slot, generation }).collect()
    }

    fn received(&mut self, key: Key, done: Done, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        connection.receiving = false;
        connection.last_active = context.now;
        if connection.closing {
            return self.close_if_quiet(key, context);
        }
        let next = match done {
            Done::Received(buf) if buf.is_empty() => None,
            Done::Received(_) | Done::Filled(_) if connection.input_ended => None,
            Done::Received(buf) => {
                let limit = context.config.socket_request_max_bytes;
                match connection.input.received(&buf, limit, context.memory, context.now) {
                    Ok(next) => Some(next),
                    Err(malformed) => return self.malformed(key, malformed, context),
                }
            }
            Done::Filled(buf) => connection.input.filled(buf).then_some(Next::Anything),
            Done::Failed(_) => return self.close(key, context),
            other => unreachable!("a receive is answered by {other:?}"),
        };
        match next {
            None => connection.input_ended = true,
            Some(Next::Anything) => {}
            Some(Next::Starved) => self.starved.push_back(key),
            Some(exactly) => connection.receive(key, exactly, context),
        }
        self.advance(key, context);
    }

    fn sent(&mut self, key: Key, done: Done, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        connection.last_active = context.now;
        if let Some((lease, home)) = connection.output.sent(connection.closing) {
            context.post.send(home, Letter::Release(lease));
        }
        if connection.closing {
            return self.close_if_quiet(key, context);
        }
        match done {
            Done::Failed(_) => self.close(key, context),
            _ => self.advance(key, context),
        }
    }

    /// The client does not speak the protocol: it is cut off, counted, and nobody else notices.
    fn malformed(&mut self, key: Key, malformed: Malformed, context: &mut Context<'_>) {
        context.metrics.connections_malformed_total.add(1);
        if let Some(connection) = self.slots.get(key.slot, key.generation) {
            tracing::debug!(peer = %connection.peer, at = malformed.at, what = malformed.what, "malformed request");
        }
        self.close(key, context);
    }

    /// Ends a connection: what waits for it is told, what it was lent goes back.
    fn close(&mut self, key: Key, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if connection.closing {
            return;
        }
        connection.closing = true;
        connection.input.clear();
        connection.validating = None;
        release_out(connection.output.drain(), context);
        let requests = std::mem::take(&mut connection.requests);
        if connection.ops > 0 {
            connection.ops += 1;
            context.out.push(key.token(Kind::Shutdown), Op::Shutdown { socket: connection.socket });
        }
        for request in requests {
            self.abandon(key, request, context);
        }
        self.close_if_quiet(key, context);
    }

    fn close_if_quiet(&mut self, key: Key, context: &mut Context<'_>) {
        let Some(connection) = self.slots.get_mut(key.slot, key.generation) else { return };
        if connection.closing && connection.ops == 0 {
            connection.ops += 1;
            context.out.push(key.token(Kind::Close), Op::Close { socket: connection.socket });
        }
    }
}

impl Connection {
    /// Arms the next receive.
    fn receive(&mut self, key: Key, next: Next, context: &mut Context<'_>) {
        let op = match next {
            Next::Anything => Op::Recv { socket: self.socket },
            Next::Exactly(buf) => Op::RecvExact { socket: self.socket, buf },
            Next::Starved => return,
        };
        assert!(!self.receiving);
        self.receiving = true;
        self.ops += 1;
        context.out.push(key.token(Kind::Recv), op);
    }

    /// Receives on, unless what has come already has to be handled first.
    fn receive_on(&mut self, key: Key, context: &mut Context<'_>) {
        let busy = self.input.front().is_some() || self.input.is_starved() || self.requests.len() >= REQUESTS_MAX;
        if !self.receiving && !self.input_ended && !self.closing && !busy {
            self.receive(key, Next::Anything, context);
        }
    }

    fn send_on(&mut self, key: Key, context: &mut Context<'_>) {
        if let Some(op) = self.output.next(self.socket, context.now) {
            if let Op::SendFile { len, .. } = &op {
                context.metrics.log_cold_bytes_total.add(*len);
            }
            self.ops += 1;
            context.out.push(key.token(Kind::Send), op);
        }
    }
}

impl Key {
    fn token(self, kind: Kind) -> Token {
        Token { room: ROOM, kind: kind as u8, generation: self.generation, slot: self.slot }
    }
}

/// Requests of one connection in flight: produces that overlap.
const REQUESTS_MAX: usize = 32;
