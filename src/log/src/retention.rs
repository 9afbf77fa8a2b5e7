//! Which segments may go: by their age, by the size of their log, by the room left on their disk. And whose turn it is:
//! every log of a shard is looked at once in a round, a few in a turn, for its retention and for its compaction.
//!
//! Owns the rounds and the choice; the files go in `retire.rs`, one at a time, off the core. Never touches records that
//! are not in a whole, closed segment: an active one that is expired as a whole is closed first and goes in a later
//! round. The start offset moves only through [`Log::retire_before`].
//!
//! The clock may jump. As in Kafka, records count as old as the clock says, so a jump ahead deletes; it is logged.

use effect::{Effects, Instant};
use model::{Offset, Timestamp};
use std::collections::VecDeque;

use crate::age::ms_since;
use crate::partition::State;
use crate::space::SHORT_MS;
use crate::{Log, LogRef};

/// The rounds.
#[derive(Debug)]
pub(crate) struct House {
    pub(crate) wall: Timestamp,
    /// When `wall` was seen.
    wall_at: Instant,
    /// Every log, the next to be looked at first.
    queue: VecDeque<LogRef>,
    /// How many are left of this round.
    left: usize,
    next_round: Option<Instant>,
    /// When retention is next due; rounds may come more often.
    retention_at: Option<Instant>,
    retaining: bool,
    /// Nothing went for want of room since it was asked for.
    space_is_news: bool,
    /// Logs of which a segment's index is being read, for its age.
    learning: VecDeque<LogRef>,
    /// The oldest segments seen in this round on directories that are short of room: largest time, log, where it ends.
    oldest: Vec<(Timestamp, LogRef, Offset)>,
}

impl Default for House {
    fn default() -> Self {
        House {
            wall: Timestamp::NONE,
            wall_at: Instant::default(),
            queue: VecDeque::new(),
            left: 0,
            next_round: None,
            retention_at: None,
            retaining: false,
            space_is_news: false,
            learning: VecDeque::new(),
            oldest: Vec::new(),
        }
    }
}

impl House {
    pub(crate) fn add(&mut self, log: LogRef) {
        self.queue.push_back(log);
    }
}

/// Why segments go.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Reason {
    Age,
    Size,
    /// The disk is short of room.
    Space,
}

impl Log {
    /// A turn's share of a round, and of a compaction.
    pub(crate) fn keep_house(&mut self, wall: Timestamp, out: &mut Effects) {
        self.note_clock(wall);
        if self.closing.is_some() {
            return;
        }
        let now = self.now;
        if self.house.left == 0 && self.house.next_round.is_none_or(|at| at <= now) {
            self.begin_round();
        }
        for _ in 0..VISITS_MAX.min(self.house.left) {
            let Some(log) = self.house.queue.pop_front() else { break };
            self.house.left -= 1;
            if self.partition(log).is_some() {
                self.house.queue.push_back(log);
                let retaining = self.house.retaining;
                self.visit(log, retaining, out);
            }
            if self.house.left == 0 {
                self.relieve();
                self.begin_cleaning();
            }
        }
        self.go_on_learning(out);
        self.clean(out);
    }

    /// Looks again at logs of which a segment's age has become known.
    fn go_on_learning(&mut self, out: &mut Effects) {
        for _ in 0..VISITS_MAX.min(self.house.learning.len()) {
            let Some(log) = self.house.learning.pop_front() else { return };
            let Some(partition) = self.partition_mut(log) else { continue };
            let is_reading = partition.cold.as_ref().is_some_and(|cold| cold.is_reading());
            if is_reading || partition.is_retiring() {
                self.house.learning.push_back(log);
                continue;
            }
            partition.learning = false;
            self.visit(log, true, out);
        }
    }

    /// When a round goes on or the next begins, or a compaction goes on.
    pub(crate) fn house_deadline(&self) -> Option<Instant> {
        if self.closing.is_some() || self.house.queue.is_empty() {
            return None;
        }
        let round = if self.house.left > 0 { Some(self.now.plus_ms(1)) } else { self.house.next_round };
        [round, self.clean_deadline()].into_iter().flatten().min()
    }

    /// The next round comes at once.
    pub(crate) fn house_soon(&mut self) {
        self.house.next_round = Some(self.now);
    }

    fn note_clock(&mut self, wall: Timestamp) {
        let house = &mut self.house;
        let passed_ms = u64::try_from(self.now.since(house.wall_at).as_millis()).unwrap_or(u64::MAX);
        let jumped_ms = ms_since(wall, house.wall).saturating_sub(passed_ms);
        if house.wall != Timestamp::NONE && jumped_ms > JUMP_MS {
            tracing::warn!(jumped_ms, "the clock jumped ahead: records that it makes old go as their retention says");
        }
        house.wall = wall;
        house.wall_at = self.now;
    }

    fn begin_round(&mut self) {
        let now = self.now;
        let is_short = self.roots.iter().any(|root| root.space.shortage_bytes > 0);
        let interval_ms = self.config.retention_check_ms.min(self.config.cleaner_backoff_ms);
        let house = &mut self.house;
        house.left = house.queue.len();
        house.next_round = Some(now.plus_ms(if is_short { SHORT_MS.min(interval_ms) } else { interval_ms }));
        house.retaining = house.retention_at.is_none_or(|at| at <= now);
        if house.retaining {
            house.retention_at = Some(now.plus_ms(self.config.retention_check_ms));
        }
        house.oldest.clear();
    }

    fn visit(&mut self, log: LogRef, retaining: bool, out: &mut Effects) {
        let partition = self.known(log);
        let is_busy = partition.is_retiring();
        let is_open = matches!(partition.state, State::Open) && !partition.segments.is_empty();
        let root = partition.root;
        if !is_open || is_busy || self.roots[root].offline {
            return;
        }
        if self.known(log).settings.delete {
            if retaining {
                self.expire(log, out);
            }
            if self.roots[root].space.shortage_bytes > 0 {
                self.note_oldest(log, out);
            }
        }
        self.consider_cleaning(log, out);
    }

    /// Lets go what the log's own settings say.
    fn expire(&mut self, log: LogRef, out: &mut Effects) {
        let wall = self.house.wall;
        let partition = self.known(log);
        let settings = partition.settings;
        let last = partition.segments.len() - 1;
        let mut left: u64 = partition.segments.iter().map(|segment| segment.end.position).sum();
        let mut found: Option<(Offset, Reason)> = None;
        let mut unknown = None;
        let mut roll = false;
        for (at, segment) in partition.segments.iter_mut().enumerate().take(SEGMENTS_MAX) {
            let bytes = segment.end.position;
            let is_idle = segment.durable == segment.end && bytes > 0;
            if !is_idle || (at < last && !segment.sealed) {
                break;
            }
            let too_large = settings.retention_bytes.is_some_and(|limit| left - bytes >= limit);
            let too_old = settings.retention_ms.is_some_and(|limit| match segment.learn_age(wall) {
                Some(age) => ms_since(wall, age.largest) > limit,
                None => {
                    unknown = Some(at);
                    false
                }
            });
            let reason = match (too_large, too_old) {
                (true, _) => Reason::Size,
                (_, true) => Reason::Age,
                (false, false) => break,
            };
            unknown = None;
            if at == last {
                // It goes in a later round, closed.
                roll = true;
                break;
            }
            found = Some((segment.end.offset, reason));
            left -= bytes;
        }
        if let Some((to, reason)) = found {
            self.retire_before(log, to, reason);
        }
        if roll && let Err(error) = self.roll(log) {
            tracing::debug!(?error, "an expired segment stays for now");
        }
        match (unknown, found) {
            (Some(at), None) => self.learn_index(log, at, out),
            (Some(_), Some(_)) => self.look_soon(log),
            (None, _) => {}
        }
    }

    /// Asks for a segment's index, for what it says of the time; then the log is looked at again.
    pub(crate) fn learn_index(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        if let Err(error) = self.build_index(log, at, out) {
            tracing::debug!(?error, "no index to learn a segment's age from");
        } else {
            self.look_soon(log);
        }
    }

    /// Looks at a log again once nothing of it is being read or removed.
    fn look_soon(&mut self, log: LogRef) {
        if !std::mem::replace(&mut self.known(log).learning, true) {
            self.house.learning.push_back(log);
        }
    }

    /// Moves the log's start to the end of a closed segment.
    fn retire_before(&mut self, log: LogRef, to: Offset, reason: Reason) {
        let partition = self.known(log);
        let gone = partition.segments.iter().take_while(|segment| segment.sealed && segment.end.offset <= to);
        let (count, bytes) = gone.fold((0u64, 0), |(count, bytes), gone| (count + 1, bytes + gone.end.position));
        if count == 0 {
            return;
        }
        let dir = partition.dir.clone();
        tracing::info!(dir = %dir.display(), ?reason, segments = count, bytes, start = %to, "old segments go");
        self.metrics.log_expired_segments_total.add(count);
        if let Err(error) = self.advance_start(log, to) {
            tracing::debug!(?error, "old segments stay for now");
        }
    }

    /// Remembers the log's oldest segment if it is among the oldest of all.
    fn note_oldest(&mut self, log: LogRef, out: &mut Effects) {
        let wall = self.house.wall;
        let partition = self.known(log);
        let is_only = partition.segments.len() == 1;
        let first = partition.segments.first_mut().expect("an open log has a segment");
        if is_only || !first.sealed {
            return;
        }
        let end = first.end.offset;
        let Some(age) = first.learn_age(wall) else { return self.learn_index(log, 0, out) };
        let oldest = &mut self.house.oldest;
        let at = oldest.partition_point(|(time, ..)| *time <= age.largest);
        oldest.insert(at, (age.largest, log, end));
        oldest.truncate(OLDEST_MAX);
    }

    /// At the end of a round: the oldest segments go until there should be room enough.
    fn relieve(&mut self) {
        let mut freed = vec![0; self.roots.len()];
        if !std::mem::take(&mut self.house.space_is_news) {
            // What went since the last answer would be counted twice.
            return;
        }
        for (_, log, to) in std::mem::take(&mut self.house.oldest) {
            let Some(partition) = self.partition(log) else { continue };
            let (root, is_open) = (partition.root, matches!(partition.state, State::Open));
            let Some(first) = partition.segments.first().filter(|first| first.end.offset == to) else { continue };
            let bytes = first.end.position;
            if is_open && freed[root] < self.roots[root].space.shortage_bytes {
                freed[root] += bytes;
                self.retire_before(log, to, Reason::Space);
            }
        }
    }

    /// A filesystem has said how much room there is; segments may go for it, and `soon` at once.
    pub(crate) fn shortage_known(&mut self, soon: bool) {
        self.house.space_is_news = true;
        if soon {
            self.house.next_round = Some(self.now);
        }
    }
}

/// Logs looked at in a turn.
const VISITS_MAX: usize = 16;
/// Segments of one log that go in a round.
const SEGMENTS_MAX: usize = 64;
/// Segments that go in a round for want of room, of all logs together.
const OLDEST_MAX: usize = 16;
/// A clock that goes ahead this much faster than time is said to jump.
const JUMP_MS: u64 = 60 * 60 * 1000;
