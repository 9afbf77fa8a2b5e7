//! The controller's host, on shard 0: keeps the metadata log, feeds the controller, hands out images.
//!
//! Owns the order of things: a record set is durable before its image is shown; an answer leaves when every shard has
//! taken that image, so that whichever connection asks next sees it. Never knows a socket.

mod ids;
mod replay;

use std::collections::{BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use controller::{Controller, Decided, Image, RecordSet, SetId};
use effect::{Buf, Done, ShardId, Token};
use log::{Append, AppendError, Event, Failure, LogRef, Offline, PartitionSettings};
use model::{LeaderEpoch, Offset, TopicPartition, Uuid};
use record::{BatchBuilder, Codec};

use crate::context::Context;
use crate::control::ids::Ids;
use crate::control::replay::Replay;
use crate::handlers::describe_quorum::Quorum;
use crate::home::Home;
use crate::mail::{Command, Letter, Outcome, RequestRef};
use crate::request::admin::{self, Answer, Asked};

/// The room number of this part's tokens.
pub(crate) const ROOM: u8 = 3;

/// The controller and what waits for it.
pub(crate) struct Control {
    log: LogRef,
    state: State,
    entropy: Entropy,
    /// Record sets that are being written: where each ends in the log.
    writing: VecDeque<(Offset, SetId)>,
    /// Images that are durable and not taken by every shard, the oldest first. Only the first is out: a topic that is
    /// deleted and created again must have left one shard before it comes to another.
    images: VecDeque<(u64, Arc<Image>)>,
    /// Shards that have not taken the image that is out.
    behind: BTreeSet<ShardId>,
    /// The number of the newest image.
    version: u64,
    waiting: VecDeque<Waiting>,
    ids: Ids,
    /// The history before this offset may go once a snapshot is durable up to the second one.
    snapshot: Option<(Offset, Offset)>,
}

enum State {
    Replaying(Replay),
    Running(Controller),
    /// The metadata log cannot be written: nothing changes until a restart.
    Failed,
}

struct Waiting {
    request: RequestRef,
    /// The set that must be durable first.
    after: Option<SetId>,
    /// The image that every shard must have taken; known once the set is durable.
    version: Option<u64>,
    answer: Answer,
}

/// What the shard must hear of a step.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// Go on.
    Fine,
    /// The metadata cannot be read: the broker must not start.
    Fatal(String),
}

impl Control {
    /// Begins to recover the metadata log.
    pub(crate) fn new(home: &mut Home, context: &mut Context<'_>, seed: u64) -> Control {
        let at = TopicPartition { topic: METADATA_TOPIC_ID, partition: 0 };
        let name = format!("{}-0", controller::METADATA_TOPIC);
        let settings = PartitionSettings { goes_on_when_full: true, ..PartitionSettings::default() };
        let log = home.log().open(at, name, settings, context.out);
        Control {
            log,
            state: State::Replaying(Replay::new(log)),
            entropy: Entropy(seed),
            writing: VecDeque::new(),
            images: VecDeque::new(),
            behind: BTreeSet::new(),
            version: 0,
            waiting: VecDeque::new(),
            ids: Ids::default(),
            snapshot: None,
        }
    }

    /// An event of a log that is no partition's.
    pub(crate) fn event(&mut self, event: &Event, home: &mut Home, context: &mut Context<'_>) -> Verdict {
        match event {
            Event::Opened { log, start, end } if *log == self.log => self.opened(*start, *end, home, context),
            Event::Ready { log } if *log == self.log => self.replay(home, context),
            Event::Durable { log, end } if *log == self.log => {
                self.durable(*end, home, context);
                Verdict::Fine
            }
            Event::Failed { log, failure } if *log == self.log => match self.state {
                State::Replaying(_) => Verdict::Fatal(self.not_opened(*failure, home)),
                State::Running(_) | State::Failed => {
                    self.fail(context);
                    Verdict::Fine
                }
            },
            Event::DirectoryOffline { dir, why } if home.log().directory(self.log) == Some(dir.as_path()) => {
                self.directory_offline(dir, *why, context)
            }
            _ => Verdict::Fine,
        }
    }

    /// Why there is no metadata, and where it should be.
    fn not_opened(&self, failure: Failure, home: &mut Home) -> String {
        let log = home.log();
        if failure == Failure::Missing {
            let offline: Vec<String> = log.offline_directories().map(|dir| dir.display().to_string()).collect();
            let offline = offline.join(", ");
            return format!("the metadata log is in none of the log directories that can be used; offline: {offline}");
        }
        let dir = log.directory(self.log).map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
        format!("the metadata log{dir} cannot be opened: {failure:?}")
    }

    fn directory_offline(&mut self, dir: &Path, why: Offline, context: &mut Context<'_>) -> Verdict {
        let dir = dir.display();
        match self.state {
            State::Replaying(_) => {
                Verdict::Fatal(format!("log directory {dir} {why}, and the metadata log lies in it"))
            }
            State::Failed => Verdict::Fine,
            State::Running(_) => {
                tracing::error!(
                    %dir,
                    "the metadata log lies in it: topics and settings cannot be changed until a restart"
                );
                self.fail(context);
                Verdict::Fine
            }
        }
    }

    /// A completion for the replay.
    pub(crate) fn complete(&mut self, done: Done, home: &mut Home, context: &mut Context<'_>) -> Verdict {
        let State::Replaying(replay) = &mut self.state else { return Verdict::Fine };
        match replay.complete(done, home, context) {
            Ok(()) => self.replay(home, context),
            Err(failure) => Verdict::Fatal(format!("the metadata log: {failure}")),
        }
    }

    /// A request that changes metadata.
    pub(crate) fn command(
        &mut self,
        request: RequestRef,
        command: Command,
        home: &mut Home,
        context: &mut Context<'_>,
    ) {
        match command {
            Command::AutoCreate(names) => {
                let entropy = &mut self.entropy;
                let decided = match &mut self.state {
                    State::Running(controller) => {
                        admin::auto_create(&names, controller, context.config, &mut || entropy.next())
                    }
                    State::Replaying(_) | State::Failed => return self.reply(request, Outcome::Done, context),
                };
                self.take(request, decided, home, context);
            }
            Command::Frame(frame) => self.frame(request, frame, home, context),
        }
    }

    fn frame(&mut self, request: RequestRef, frame: Buf, home: &mut Home, context: &mut Context<'_>) {
        let Ok(asked) = Asked::decode(&frame) else { return self.reply(request, Outcome::Malformed, context) };
        if let Some(answer) = asked.described(&self.quorum(home, context)) {
            return self.reply(request, answer.into_outcome(), context);
        }
        let entropy = &mut self.entropy;
        let controller = match &mut self.state {
            State::Running(controller) => controller,
            State::Replaying(_) | State::Failed => {
                let frame = asked.refused().into_frame();
                return self.reply(request, Outcome::Frame(frame), context);
            }
        };
        if asked.is_for_producer_id() {
            drop(asked);
            self.ids.ask(request, frame);
            return self.hand_out_ids(home, context);
        }
        let decided = asked.decide(controller, context.config, &mut || entropy.next());
        self.take(request, decided, home, context);
    }

    fn quorum(&self, home: &mut Home, context: &Context<'_>) -> Quorum {
        let log = home.log();
        Quorum {
            node_id: context.config.node_id,
            leader_epoch: LEADER_EPOCH,
            high_watermark: log.durable_end(self.log).unwrap_or_default(),
            log_end_offset: log.end(self.log).unwrap_or_default(),
            wall: context.wall,
        }
    }

    /// Writes what was decided; the answer waits for it.
    fn take(&mut self, request: RequestRef, decided: Decided<Answer>, home: &mut Home, context: &mut Context<'_>) {
        self.waiting.push_back(Waiting { request, after: decided.after, version: None, answer: decided.answer });
        if let Some(set) = decided.record_set {
            self.write(set, home, context);
        }
        self.release(context);
    }

    fn write(&mut self, set: RecordSet, home: &mut Home, context: &mut Context<'_>) {
        match self.append(&set.payloads, home, context) {
            Ok(end) => self.writing.push_back((end, set.id)),
            Err(AppendError::NoSpace | AppendError::Busy) => {
                tracing::warn!("metadata not changed: no room for its log now");
                self.withdraw(set.id, context);
            }
            // The logs are being closed: the broker ends, and whoever asked hears that nothing was changed.
            Err(AppendError::NotOpen) => self.fail(context),
            Err(error) => {
                tracing::error!(?error, "metadata not written, nothing changes until a restart");
                self.fail(context);
            }
        }
    }

    /// Appends one batch to the metadata log.
    fn append(
        &mut self,
        payloads: &[Vec<u8>],
        home: &mut Home,
        context: &mut Context<'_>,
    ) -> Result<Offset, AppendError> {
        let mut builder = BatchBuilder::new(Codec::None);
        for payload in payloads {
            builder.append(context.wall, None, Some(payload), &[]);
        }
        let batch = builder.build();
        let append =
            Append { batch: &batch, max_timestamp: context.wall, leader_epoch: LEADER_EPOCH, log_append_time: None };
        home.log().append(self.log, context.wall, append).map(|appended| appended.last_offset.plus(1))
    }

    /// A set for which there is no room now is taken back; who waits for it is told to try again.
    fn withdraw(&mut self, set: SetId, context: &mut Context<'_>) {
        if let State::Running(controller) = &mut self.state {
            controller.withdraw(set);
        }
        let (failed, waiting): (VecDeque<Waiting>, VecDeque<Waiting>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|waiting| waiting.after == Some(set));
        self.waiting = waiting;
        for mut waiting in failed {
            waiting.answer.fail();
            self.reply(waiting.request, waiting.answer.into_outcome(), context);
        }
        if self.ids.withdraw(set) {
            for (request, outcome) in self.ids.fail() {
                self.reply(request, outcome, context);
            }
        }
    }

    /// A shard has taken an image.
    pub(crate) fn taken(&mut self, from: ShardId, version: u64, context: &mut Context<'_>) {
        if self.images.front().is_some_and(|(out, _)| *out == version) {
            self.behind.remove(&from);
            if self.behind.is_empty() {
                self.images.pop_front();
                self.send_image(context);
            }
        }
        self.release(context);
    }

    /// Whether nothing can be changed until a restart.
    pub(crate) fn has_failed(&self) -> bool {
        matches!(self.state, State::Failed)
    }

    /// Whether every shard has an image, the newest that there is.
    pub(crate) fn is_settled(&self) -> bool {
        matches!(self.state, State::Running(_)) && self.version > 0 && self.images.is_empty() && self.writing.is_empty()
    }

    fn opened(&mut self, start: Offset, end: Offset, home: &mut Home, context: &mut Context<'_>) -> Verdict {
        let log = home.log();
        let dir = log.directory(self.log).unwrap_or(Path::new("")).to_owned();
        if log.offline_directories().any(|offline| offline == dir) {
            // It failed before it was known that the metadata lies there.
            return self.directory_offline(&dir, Offline::Failed, context);
        }
        if let State::Replaying(replay) = &mut self.state {
            replay.begin(start, end);
        }
        self.replay(home, context)
    }

    fn replay(&mut self, home: &mut Home, context: &mut Context<'_>) -> Verdict {
        let State::Replaying(replay) = &mut self.state else { return Verdict::Fine };
        match replay.step(home, context) {
            Ok(None) => Verdict::Fine,
            Ok(Some((image, set_count))) => self.run(image, set_count, home, context),
            Err(failure) => Verdict::Fatal(format!("the metadata log: {failure}")),
        }
    }

    fn run(&mut self, image: Image, record_count: u64, home: &mut Home, context: &mut Context<'_>) -> Verdict {
        if record_count == 0 && home.log().has_unopened() {
            let why =
                "there are partitions but no metadata: a log directory is missing from log.dirs, or has lost its data";
            return Verdict::Fatal(why.to_owned());
        }
        let snapshot = image.to_records();
        let entropy = &mut self.entropy;
        let (controller, decided) = match Controller::start(image, context.config.node_id, &mut || entropy.next()) {
            Ok(started) => started,
            Err(error) => return Verdict::Fatal(error.to_string()),
        };
        let fresh = decided.record_set.is_none();
        self.state = State::Running(controller);
        if let Some(set) = decided.record_set {
            self.write(set, home, context);
            if self.writing.is_empty() {
                return Verdict::Fatal("the metadata log cannot be written".to_owned());
            }
        }
        if fresh {
            if record_count > SNAPSHOT_RECORDS_MIN && record_count > 4 * snapshot.len() as u64 {
                let payloads: Vec<Vec<u8>> = snapshot.iter().map(|record| record.encode()).collect();
                self.write_snapshot(&payloads, home, context);
            }
            if let State::Running(controller) = &self.state {
                let image = Arc::clone(controller.durable());
                self.hand_out(image, context);
            }
        }
        Verdict::Fine
    }

    /// Replaces a long history by the state that it led to: a snapshot in a segment of its own, then the rest goes.
    fn write_snapshot(&mut self, payloads: &[Vec<u8>], home: &mut Home, context: &mut Context<'_>) {
        let Some(first) = home.log().end(self.log) else { return };
        if home.log().roll(self.log).is_ok() {
            self.snapshot = self.append(payloads, home, context).ok().map(|end| (first, end));
        }
    }

    fn durable(&mut self, end: Offset, home: &mut Home, context: &mut Context<'_>) {
        let State::Running(controller) = &mut self.state else { return };
        let mut durable = Vec::new();
        while let Some((set_end, id)) = self.writing.front().copied()
            && set_end <= end
        {
            self.writing.pop_front();
            durable.push((id, controller.committed(id)));
        }
        for (id, image) in &durable {
            self.publish(*id, Arc::clone(image), context);
        }
        if let Some((first, snapshot_end)) = self.snapshot
            && snapshot_end <= end
        {
            self.snapshot = None;
            home.log().drop_before(self.log, first);
        }
        if durable.iter().any(|(set, _)| self.ids.is_durable(*set)) {
            self.hand_out_ids(home, context);
        }
        self.release(context);
    }

    /// Hands out the image that a set has made; answers that wait for the set wait for the image now.
    fn publish(&mut self, set: SetId, image: Arc<Image>, context: &mut Context<'_>) {
        self.hand_out(image, context);
        for waiting in self.waiting.iter_mut().filter(|waiting| waiting.after == Some(set)) {
            waiting.version = Some(self.version);
        }
    }

    fn hand_out(&mut self, image: Arc<Image>, context: &mut Context<'_>) {
        self.version += 1;
        self.images.push_back((self.version, image));
        if self.images.len() == 1 {
            self.send_image(context);
        }
    }

    /// Sends the oldest image that is not taken to every shard.
    fn send_image(&mut self, context: &mut Context<'_>) {
        let Some((version, image)) = self.images.front() else { return };
        self.behind = context.post.shards().collect();
        for shard in context.post.shards() {
            context.post.send(shard, Letter::Image { version: *version, image: image.clone() });
        }
    }

    /// Lets the answers leave whose time has come.
    fn release(&mut self, context: &mut Context<'_>) {
        let oldest_out = self.images.front().map_or(u64::MAX, |(version, _)| *version);
        for waiting in std::mem::take(&mut self.waiting) {
            let due = match (waiting.after, waiting.version) {
                (None, _) => true,
                (Some(_), Some(version)) => version < oldest_out,
                (Some(_), None) => false,
            };
            match due {
                true => self.reply(waiting.request, waiting.answer.into_outcome(), context),
                false => self.waiting.push_back(waiting),
            }
        }
    }

    fn fail(&mut self, context: &mut Context<'_>) {
        if let State::Running(controller) = &mut self.state {
            controller.failed();
        }
        self.state = State::Failed;
        self.writing.clear();
        for mut waiting in std::mem::take(&mut self.waiting) {
            // What is durable and only not taken everywhere yet has happened.
            if waiting.version.is_none() {
                waiting.answer.fail();
            }
            self.reply(waiting.request, waiting.answer.into_outcome(), context);
        }
        for (request, answer) in self.ids.fail() {
            self.reply(request, answer, context);
        }
    }

    fn reply(&self, request: RequestRef, outcome: Outcome, context: &mut Context<'_>) {
        context.post.send(request.shard, Letter::Controlled { request, outcome });
    }

    /// Gives producer ids to those who wait, and asks for more where there are none.
    fn hand_out_ids(&mut self, home: &mut Home, context: &mut Context<'_>) {
        for (request, outcome) in self.ids.hand_out() {
            self.reply(request, outcome, context);
        }
        let State::Running(controller) = &mut self.state else { return };
        let Some(set) = self.ids.want_block(controller) else { return };
        self.write(set, home, context);
    }
}

/// A stream of numbers from one seed that the world gave (splitmix64).
struct Entropy(u64);

impl Entropy {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Token for the replay's reads.
pub(crate) fn read_token() -> Token {
    Token { room: ROOM, kind: 0, generation: 0, slot: 0 }
}

/// The id that Kafka gives to its metadata topic.
pub(crate) const METADATA_TOPIC_ID: Uuid = Uuid([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);

/// The metadata log has had one leader.
const LEADER_EPOCH: LeaderEpoch = LeaderEpoch(0);

/// A shorter history is not worth a snapshot.
const SNAPSHOT_RECORDS_MIN: u64 = 10_000;
