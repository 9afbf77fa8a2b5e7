//! One coordinator with the partition that it writes to.

use effect::{Done, Instant, Token};
use group::{AppendRefusal, Coordinator, Listed, Now, Record, Request, Turn};
use model::{ErrorCode, Offset, TopicPartition};
use record::{BatchBuilder, Codec};

use crate::context::Context;
use crate::errors::own_append_refusal;
use crate::groups::{Asker, ROOM, Shared, refuse, send};
use crate::home::Home;
use crate::log_reader::{LogReader, Progress};

pub(super) struct Hosted {
    at: TopicPartition,
    state: State,
    coordinator: Coordinator<Asker>,
}

enum State {
    /// Its partition is being opened, or it is not its turn to be read.
    Waits,
    Loading(LogReader, Offset),
    Serves,
    /// Until a restart.
    Failed,
}

/// What reading a log came to.
pub(super) enum Loaded {
    Waits,
    More,
    Done,
}

impl Hosted {
    pub(super) fn new(at: TopicPartition) -> Hosted {
        Hosted { at, state: State::Waits, coordinator: Coordinator::default() }
    }

    pub(super) fn is_loading(&self) -> bool {
        matches!(self.state, State::Waits | State::Loading(..))
    }

    pub(super) fn list(&self) -> impl Iterator<Item = Listed> {
        self.coordinator.list().filter(|_| matches!(self.state, State::Serves))
    }

    pub(super) fn ask(
        &mut self,
        asker: Asker,
        group_id: &str,
        asked: Request,
        shared: &mut Shared,
        home: &mut Home,
        context: &mut Context<'_>,
    ) {
        match self.state {
            State::Serves => self.turn(shared, home, context, |coordinator, turn| {
                coordinator.ask(asker, group_id, asked, turn);
            }),
            State::Waits | State::Loading(..) => {
                refuse(asker, &asked, ErrorCode::CoordinatorLoadInProgress, context);
            }
            State::Failed => refuse(asker, &asked, ErrorCode::NotCoordinator, context),
        }
    }

    /// Reads on. A reader that begins takes `number` to know its reads by.
    pub(super) fn load(
        &mut self,
        number: u32,
        shared: &mut Shared,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Loaded {
        if matches!(self.state, State::Waits) {
            match home.durable_range(self.at) {
                None => return Loaded::Waits,
                Some(None) => {
                    self.state = State::Failed;
                    return Loaded::Done;
                }
                Some(Some((log, start, end))) => {
                    let token = Token { room: ROOM, kind: 0, generation: number, slot: self.at.partition };
                    self.state = State::Loading(LogReader::new(log, token, start, end), end);
                }
            }
        }
        let State::Loading(reader, end) = &mut self.state else { return Loaded::Waits };
        let (end, coordinator) = (*end, &mut self.coordinator);
        let progress = reader.step(home, context, |records| {
            records.iter().try_for_each(|record| match record.key {
                Some(key) => coordinator.replay(key, record.value),
                None => Ok(()),
            })
        });
        match progress {
            Ok(Progress::Waits) => Loaded::Waits,
            Ok(Progress::More) => Loaded::More,
            Ok(Progress::Done) => {
                self.state = State::Serves;
                self.quiet_turn(shared, context, |coordinator, turn| coordinator.start(end, turn));
                self.forget_topics(context);
                Loaded::Done
            }
            Err(failure) => {
                tracing::error!(partition = self.at.partition, ?failure, "offsets topic not read");
                self.fail(shared, home, context);
                Loaded::Done
            }
        }
    }

    pub(super) fn complete(&mut self, done: Done, shared: &mut Shared, home: &mut Home, context: &mut Context<'_>) {
        if let State::Loading(reader, _) = &mut self.state
            && let Err(failure) = reader.complete::<group::BadRecord>(done, home, context)
        {
            tracing::error!(partition = self.at.partition, ?failure, "offsets topic not read");
            self.fail(shared, home, context);
        }
    }

    /// Whether something that was written is not durable yet.
    pub(super) fn awaits_log(&self) -> bool {
        self.coordinator.awaits_log()
    }

    /// Hands on what has become durable. Whether there was anything.
    pub(super) fn follow_log(&mut self, shared: &mut Shared, home: &mut Home, context: &mut Context<'_>) -> bool {
        if !matches!(self.state, State::Serves) {
            return false;
        }
        match home.durable_range(self.at) {
            Some(Some((_, _, end))) => {
                if !self.coordinator.is_held_up_to(end) {
                    return false;
                }
                self.turn(shared, home, context, |coordinator, turn| coordinator.durable(end, turn));
                true
            }
            Some(None) | None => {
                self.fail(shared, home, context);
                true
            }
        }
    }

    pub(super) fn tick(&mut self, count: usize, shared: &mut Shared, home: &mut Home, context: &mut Context<'_>) {
        if !matches!(self.state, State::Serves) {
            return;
        }
        for _ in 0..count {
            if self.next_deadline().is_none_or(|at| at > context.now) {
                return;
            }
            self.turn(shared, home, context, |coordinator, turn| {
                coordinator.tick(turn);
            });
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.coordinator.next_deadline().map(|ms| Instant(0).plus_ms(ms))
    }

    pub(super) fn begin_expiry(&mut self) {
        if matches!(self.state, State::Serves) {
            self.coordinator.begin_expiry();
        }
    }

    pub(super) fn forget_topics(&mut self, context: &Context<'_>) {
        if matches!(self.state, State::Serves) {
            let image = context.image;
            self.coordinator
                .forget_topics(&|name, id| image.topic(name).is_none_or(|topic| !id.is_zero() && topic.id != id));
        }
    }

    /// Who waits for others waits no longer.
    pub(super) fn dismiss(&mut self, shared: &mut Shared, context: &mut Context<'_>) {
        self.quiet_turn(shared, context, |coordinator, turn| {
            coordinator.dismiss(ErrorCode::CoordinatorNotAvailable, turn);
        });
    }

    /// The partition is not this shard's any more. A reader that awaits a read is handed back.
    pub(super) fn resign(
        &mut self,
        shared: &mut Shared,
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Option<LogReader> {
        self.quiet_turn(shared, context, |coordinator, turn| coordinator.resign(ErrorCode::NotCoordinator, turn));
        let State::Loading(mut reader, _) = std::mem::replace(&mut self.state, State::Failed) else { return None };
        reader.abandon(home, context);
        reader.is_reading().then_some(reader)
    }

    pub(super) fn invariants(&self) {
        self.coordinator.invariants();
    }

    fn fail(&mut self, shared: &mut Shared, home: &mut Home, context: &mut Context<'_>) {
        let reader = self.resign(shared, home, context);
        assert!(reader.is_none(), "a log fails between two reads");
    }

    /// One call of the coordinator: what it writes is appended, what it answers is sent.
    fn turn(
        &mut self,
        shared: &mut Shared,
        home: &mut Home,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Coordinator<Asker>, &mut Turn<'_, Asker>),
    ) {
        let at = self.at;
        self.with_turn(shared, context, |coordinator, turn, context| {
            act(coordinator, turn);
            if let Some(write) = turn.write.take() {
                match append(at, &write.records, home, context) {
                    Ok(end) => coordinator.appended(write, end, turn),
                    Err(refusal) => coordinator.refused(write, refusal, turn),
                }
            }
        });
    }

    /// As [`Hosted::turn`], of a call that writes nothing.
    fn quiet_turn(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Coordinator<Asker>, &mut Turn<'_, Asker>),
    ) {
        self.with_turn(shared, context, |coordinator, turn, _| {
            act(coordinator, turn);
            assert!(turn.write.is_none());
        });
    }

    fn with_turn(
        &mut self,
        shared: &mut Shared,
        context: &mut Context<'_>,
        act: impl FnOnce(&mut Coordinator<Asker>, &mut Turn<'_, Asker>, &mut Context<'_>),
    ) {
        let config = context.config.groups;
        let mut turn = Turn {
            now: Now { ms: context.now.0 / 1_000_000, wall: context.wall },
            config: &config,
            budget: &mut shared.budget,
            entropy: &mut shared.entropy,
            answers: Vec::new(),
            write: None,
        };
        act(&mut self.coordinator, &mut turn, context);
        for (asker, answer) in turn.answers {
            send(asker, answer, context);
        }
    }
}

/// Appends the records as one batch; where it ends.
fn append(
    at: TopicPartition,
    records: &[Record],
    home: &mut Home,
    context: &Context<'_>,
) -> Result<Offset, AppendRefusal> {
    let mut builder = BatchBuilder::new(Codec::None);
    for record in records {
        builder.append(context.wall, Some(&record.key), record.value.as_deref(), &[]);
    }
    home.append_own(at, &builder.build(), context).map_err(own_append_refusal)
}
