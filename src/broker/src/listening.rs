//! Where connections come in, and which shard gets them: the one with the fewest.
//!
//! Each shard has a listener of its own for each address; the kernel spreads by a hash, which is uneven for few
//! clients, so an accepted connection is handed on where another shard has fewer.

use std::sync::Arc;

use effect::{Done, Effects, Instant, Listener, Op, ShardId, Token};
use metrics::ShardMetrics;

use crate::connection::Connections;
use crate::context::Context;
use crate::mail::Letter;

/// The room number of listeners' tokens.
pub(crate) const ROOM: u8 = 4;

/// The listeners of one shard.
pub(crate) struct Listening {
    listeners: Vec<State>,
    /// All shards' counters: how many connections each has.
    metrics: Vec<Arc<ShardMetrics>>,
    /// Connections given to each shard that its counter does not show yet.
    given: Vec<(u64, u64)>,
    closed: bool,
}

struct State {
    listener: Listener,
    accepting: bool,
    /// After a failure: not before.
    not_before: Instant,
}

impl Listening {
    pub(crate) fn new(listeners: Vec<Listener>, metrics: Vec<Arc<ShardMetrics>>) -> Listening {
        let given = vec![(0, 0); metrics.len()];
        let listeners = listeners
            .into_iter()
            .map(|listener| State { listener, accepting: false, not_before: Instant::default() })
            .collect();
        Listening { listeners, metrics, given, closed: false }
    }

    /// Accepts on every listener that is not being accepted on.
    pub(crate) fn accept(&mut self, now: Instant, out: &mut Effects) {
        if self.closed {
            return;
        }
        let due = |state: &State| !state.accepting && state.not_before <= now;
        for (slot, state) in self.listeners.iter_mut().enumerate().filter(|(_, state)| due(state)) {
            state.accepting = true;
            out.push(token(ACCEPT, slot), Op::Accept { listener: state.listener });
        }
    }

    /// A connection has come, or accepting has ended.
    pub(crate) fn complete(
        &mut self,
        token: Token,
        done: Done,
        connections: &mut Connections,
        context: &mut Context<'_>,
    ) {
        match done {
            Done::Accepted { socket, peer, local } => {
                context.metrics.connections_accepted_total.add(1);
                let to = self.emptiest(context);
                if to == context.post.own() {
                    connections.adopt(socket, peer, local, context);
                } else {
                    context.metrics.connections_handed_over_total.add(1);
                    context.post.send(to, Letter::Adopt { socket, peer, local });
                }
            }
            Done::Failed(fault) if token.kind == ACCEPT => {
                if !self.closed {
                    tracing::warn!(%fault, "accepting was interrupted");
                }
                if let Some(state) = self.listeners.get_mut(token.slot as usize) {
                    state.accepting = false;
                    state.not_before = context.now.plus_ms(RETRY_MS);
                }
            }
            _ => {}
        }
    }

    /// When to accept again after a failure.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let waiting = self.listeners.iter().filter(|state| !state.accepting && !self.closed);
        waiting.map(|state| state.not_before).filter(|at| *at > Instant::default()).min()
    }

    /// Stops listening.
    pub(crate) fn close(&mut self, out: &mut Effects) {
        self.closed = true;
        for (slot, state) in self.listeners.iter().enumerate() {
            if state.accepting {
                out.push(token(ACCEPT, slot), Op::Cancel { token: token(ACCEPT, slot) });
            }
            out.push(token(CLOSE, slot), Op::CloseListener { listener: state.listener });
        }
    }

    /// The shard with the fewest connections; this one unless another has fewer.
    fn emptiest(&mut self, context: &Context<'_>) -> ShardId {
        let own = context.post.own();
        let mut best = (self.count(own), own);
        for shard in context.post.shards() {
            let count = self.count(shard);
            if count < best.0 {
                best = (count, shard);
            }
        }
        if best.1 != own {
            let shown = self.metrics[best.1.index()].connections.get();
            let given = &mut self.given[best.1.index()];
            *given = if given.0 == shown { (shown, given.1 + 1) } else { (shown, 1) };
        }
        best.1
    }

    /// Connections of a shard as far as can be told: what it shows, and what was given to it since that changed.
    fn count(&self, shard: ShardId) -> u64 {
        let shown = self.metrics[shard.index()].connections.get();
        let (at, given) = self.given[shard.index()];
        if at == shown { shown + given } else { shown }
    }
}

fn token(kind: u8, slot: usize) -> Token {
    Token { room: ROOM, kind, generation: 0, slot: slot as u32 }
}

/// Out of descriptors, most likely: others may give some back.
const RETRY_MS: u64 = 100;

const ACCEPT: u8 = 1;
const CLOSE: u8 = 2;
