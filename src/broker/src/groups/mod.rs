//! The coordinators' host: each partition of the offsets topic that lives here has one.
//!
//! Owns the coordinators, reads their partitions when they begin, appends what they write, and sends their answers when
//! they may leave. Never knows a connection or a protocol version. Work is bounded by the turn: one range of one log is
//! read, so many groups have their time.

mod hosted;

use std::collections::BTreeMap;

use controller::Image;
use effect::{Done, Instant, Token};
use group::{Answer, Budget, Entropy, Request};
use model::{ErrorCode, TopicId, TopicPartition};

use crate::context::Context;
use crate::groups::hosted::{Hosted, Loaded};
use crate::handlers::OFFSETS_TOPIC;
use crate::home::Home;
use crate::log_reader::LogReader;
use crate::mail::{GroupPart, Letter, RequestRef};

/// The room number of this part's tokens.
pub(crate) const ROOM: u8 = 5;

/// The coordinators of one shard.
pub(crate) struct Groups {
    /// The offsets topic.
    topic: Option<TopicId>,
    /// By partition.
    hosted: BTreeMap<u32, Hosted>,
    shared: Shared,
    /// A log is being read and has more at hand.
    has_more: bool,
    /// What [`Home::losses`] said when the logs were last looked at.
    losses: u64,
    /// Readers of logs that are not hosted any more, until what they read has come.
    leaving: Vec<LogReader>,
    next_reader: u32,
    next_expiry: Option<Instant>,
    stopping: bool,
}

/// What the coordinators of a shard have in common.
pub(crate) struct Shared {
    budget: Budget,
    entropy: Entropy,
}

/// Who asked a group.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Asker {
    request: RequestRef,
    index: u32,
}

impl Groups {
    pub(crate) fn new(seed: u64) -> Groups {
        let budget = Budget {
            groups: 0,
            groups_max: GROUPS_MAX,
            bytes: 0,
            bytes_max: BYTES_MAX,
            group_bytes_max: GROUP_BYTES_MAX,
        };
        Groups {
            topic: None,
            hosted: BTreeMap::new(),
            shared: Shared { budget, entropy: Entropy(seed) },
            has_more: false,
            losses: 0,
            leaving: Vec::new(),
            next_reader: 0,
            next_expiry: None,
            stopping: false,
        }
    }

    /// Hosts what lives here, gives up what does not any more, forgets the offsets of topics that are gone.
    pub(crate) fn follow(&mut self, before: &Image, home: &mut Home, context: &mut Context<'_>) {
        let topic = context.image.topic(OFFSETS_TOPIC);
        if topic.map(|topic| topic.id) != self.topic {
            for mut hosted in std::mem::take(&mut self.hosted).into_values() {
                self.leaving.extend(hosted.resign(&mut self.shared, home, context));
            }
            self.topic = topic.map(|topic| topic.id);
        }
        let Some(topic) = topic else { return };
        for partition in 0..topic.partition_count {
            let at = TopicPartition { topic: topic.id, partition };
            if context.topics.home(at) == context.post.own() {
                self.hosted.entry(partition).or_insert_with(|| Hosted::new(at));
            }
        }
        if before.topics().any(|topic| context.image.topic_by_id(topic.id).is_none()) {
            self.hosted.values_mut().for_each(|hosted| hosted.forget_topics(context));
        }
    }

    /// Asks groups that live here.
    pub(crate) fn ask(
        &mut self,
        request: RequestRef,
        parts: Vec<GroupPart>,
        home: &mut Home,
        context: &mut Context<'_>,
    ) {
        for GroupPart { index, partition, group_id, asked } in parts {
            let asker = Asker { request, index };
            let waits_for_others = matches!(asked, Request::Join(_) | Request::Sync(_));
            match self.hosted.get_mut(&partition) {
                Some(_) if self.stopping && waits_for_others => {
                    refuse(asker, &asked, ErrorCode::CoordinatorNotAvailable, context);
                }
                Some(hosted) => hosted.ask(asker, &group_id, asked, &mut self.shared, home, context),
                None => refuse(asker, &asked, ErrorCode::NotCoordinator, context),
            }
        }
    }

    /// Says which groups live here.
    pub(crate) fn list(&self, request: RequestRef, index: u32, context: &mut Context<'_>) {
        let mut listed = Vec::new();
        let mut is_loading = false;
        for hosted in self.hosted.values() {
            is_loading |= hosted.is_loading();
            listed.extend(hosted.list());
        }
        let answer = match is_loading {
            true => Answer::Refused(ErrorCode::CoordinatorLoadInProgress),
            false => Answer::Listed(listed),
        };
        send(Asker { request, index }, answer, context);
    }

    /// Follows the logs: reads those that are open, hands on what has become durable. Whether there was anything.
    pub(crate) fn settle(&mut self, home: &mut Home, context: &mut Context<'_>) -> bool {
        let mut any = false;
        self.has_more = false;
        let has_losses = self.losses != home.losses();
        self.losses = home.losses();
        for hosted in self.hosted.values_mut().filter(|hosted| has_losses || hosted.awaits_log()) {
            any |= hosted.follow_log(&mut self.shared, home, context);
        }
        // One log at a time, in the order of partitions.
        if let Some(hosted) = self.hosted.values_mut().find(|hosted| hosted.is_loading()) {
            self.next_reader = self.next_reader.wrapping_add(1);
            match hosted.load(self.next_reader, &mut self.shared, home, context) {
                Loaded::Waits => {}
                Loaded::More => self.has_more = true,
                Loaded::Done => any = true,
            }
        }
        any
    }

    /// A read of a log has ended.
    pub(crate) fn complete(&mut self, token: Token, done: Done, home: &mut Home, context: &mut Context<'_>) {
        if let Some(at) = self.leaving.iter().position(|reader| reader.token() == token) {
            // Nobody is interested any more; only what was lent goes back.
            let mut reader = self.leaving.swap_remove(at);
            let _ = reader.complete::<group::BadRecord>(done, home, context);
            reader.abandon(home, context);
        } else if let Some(hosted) = self.hosted.get_mut(&token.slot) {
            hosted.complete(done, &mut self.shared, home, context);
        }
    }

    /// Does what is due, for so many groups at most.
    pub(crate) fn tick(&mut self, home: &mut Home, context: &mut Context<'_>) {
        if self.next_expiry.is_none_or(|next| next <= context.now) && !self.hosted.is_empty() {
            if self.next_expiry.is_some() {
                self.hosted.values_mut().for_each(Hosted::begin_expiry);
            }
            self.next_expiry = Some(context.now.plus_ms(context.config.offsets_retention_check_interval_ms));
        }
        let share = (TICKS_MAX / self.hosted.len().max(1)).max(1);
        for hosted in self.hosted.values_mut() {
            hosted.tick(share, &mut self.shared, home, context);
        }
        context.metrics.groups.set(self.shared.budget.groups as u64);
        context.metrics.group_memory_bytes.set(self.shared.budget.bytes as u64);
    }

    /// When there is something to do without being asked.
    pub(crate) fn next_deadline(&self, now: Instant) -> Option<Instant> {
        if self.has_more {
            return Some(now);
        }
        // What a log waits for comes with an event, as a rule; memory comes without one.
        let loading = self.hosted.values().any(Hosted::is_loading).then(|| now.plus_ms(RETRY_MS));
        let hosted = self.hosted.values().filter_map(Hosted::next_deadline);
        hosted.chain(loading).chain(self.next_expiry).min()
    }

    /// The broker is going to stop: who waits for others waits no longer.
    pub(crate) fn stop(&mut self, context: &mut Context<'_>) {
        self.stopping = true;
        self.hosted.values_mut().for_each(|hosted| hosted.dismiss(&mut self.shared, context));
    }

    pub(crate) fn invariants(&self) {
        self.hosted.values().for_each(Hosted::invariants);
    }
}

fn refuse(asker: Asker, asked: &Request, error: ErrorCode, context: &mut Context<'_>) {
    let answer = match asked {
        Request::Join(join) => Answer::NotJoined(error, join.who.member_id.clone()),
        _ => Answer::Refused(error),
    };
    send(asker, answer, context);
}

fn send(asker: Asker, answer: Answer, context: &mut Context<'_>) {
    let Asker { request, index } = asker;
    context.post.send(request.shard, Letter::Grouped { request, index, answer: Box::new(answer) });
}

/// Groups of a shard. Beyond this new ones are told that there is no coordinator for them now.
const GROUPS_MAX: usize = 100_000;
/// Memory for all groups of a shard.
const BYTES_MAX: usize = 256 << 20;
/// Of it, for the members of one group: a group's record could not be written long before.
const GROUP_BYTES_MAX: usize = 32 << 20;
/// How many groups have their time in one turn.
const TICKS_MAX: usize = 128;
/// How soon to look again at a log that could not be read.
const RETRY_MS: u64 = 5;
