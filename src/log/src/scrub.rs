//! The scrub: reads segments in the background and checks every batch, so that rot is known before a consumer comes to
//! it; of the one that is written to, what its file holds already.
//!
//! Owns the walk: partition after partition, segment after segment, one read in flight, so many bytes a second. Reads
//! directly into memory of the pool, never through the chunks, and never makes a chunk leave for it. A round begins a
//! while after the start and then once a day; what it finds is kept in memory (`damage.rs`) and found again by the
//! next run's first round.
//!
//! Invariants: a turn looks at a bounded number of logs; a batch larger than a read costs no more memory than a small
//! one; bytes are bad only by their own checksum or where no batch stands.

use std::time::Duration;

use effect::{BLOCK_BYTES, Done, Effects, Fault, Instant, Op};
use model::Offset;
use record::{HEADER_BYTES, Header};

use crate::damage::Damage;
use crate::files::{HandleId, Mode};
use crate::index::{Index, Place};
use crate::job::Work;
use crate::partition::State;
use crate::segment::{BLOCK, Segment};
use crate::{Log, LogRef};

#[derive(Debug, Default)]
pub(crate) struct Scrub {
    /// When something is to be done; `None` before the first tick and while a read is in flight.
    next_at: Option<Instant>,
    begun: bool,
    in_flight: bool,
    /// When the round began; `None` between two.
    round: Option<Instant>,
    /// The slot of the log under the scrub, or the next one.
    slot: u32,
    /// Its last segment that was looked at.
    after: Option<Offset>,
    walk: Option<Walk>,
}

/// One segment's.
#[derive(Debug)]
struct Walk {
    log: LogRef,
    base: Offset,
    end: Place,
    /// So much of it was in its file when this began: whole blocks, or all of a closed segment.
    limit: u64,
    /// Where the batch begins that is checked, or the next one.
    place: Place,
    batch: Option<Batch>,
    /// Bad, but where it ends is known only when a batch follows.
    suspect: Option<Place>,
    /// Nothing here looks like a batch: the index must say where the next one is.
    lost: bool,
    /// What follows is not in the file yet.
    is_over: bool,
}

/// A batch of which some bytes are to come.
struct Batch {
    header: Header,
    /// Up to here its bytes were taken in.
    position: u64,
    digest: crc_fast::Digest,
}

impl std::fmt::Debug for Batch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batch").field("header", &self.header).field("position", &self.position).finish()
    }
}

impl Scrub {
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_at
    }

    /// Segments were exchanged for another: what was read of them says nothing any more.
    pub(crate) fn forget(&mut self, log: LogRef, base: Offset, end: Offset) {
        if self.walk.as_ref().is_some_and(|walk| walk.log == log && base <= walk.base && walk.base < end) {
            self.walk = None;
        }
    }
}

impl Log {
    /// Goes on with the scrub if it is time.
    pub(crate) fn pump_scrub(&mut self, out: &mut Effects) {
        if self.config.scrub_bytes_per_second == 0 || self.closing.is_some() {
            self.scrub.next_at = None;
            return;
        }
        if !std::mem::replace(&mut self.scrub.begun, true) {
            self.scrub.next_at = Some(self.now.plus_ms(self.config.scrub_after_ms));
        }
        if self.scrub.in_flight || self.scrub.next_at.is_none_or(|at| self.now < at) {
            return;
        }
        if self.scrub.round.is_none() {
            self.scrub.round = Some(self.now);
            (self.scrub.slot, self.scrub.after) = (0, None);
        }
        self.scrub.next_at = Some(self.now);
        for _ in 0..LOGS_A_TURN {
            if self.scrub.walk.is_some() {
                return self.scrub_on(out);
            }
            if self.scrub.slot as usize >= self.partitions.slot_count() {
                return self.scrub_round_over();
            }
            match self.next_to_scrub() {
                Some(walk) => {
                    self.scrub.after = Some(walk.base);
                    self.scrub.walk = Some(walk);
                }
                None => {
                    self.scrub.slot += 1;
                    self.scrub.after = None;
                }
            }
        }
    }

    fn scrub_round_over(&mut self) {
        let began = self.scrub.round.take().expect("a round is under way");
        self.metrics.log_scrub_rounds_total.add(1);
        self.scrub.next_at = Some(began.plus_ms(self.config.scrub_every_ms).max(self.now.plus_ms(PAUSE_MS)));
    }

    /// The next segment of the log at hand.
    fn next_to_scrub(&self) -> Option<Walk> {
        let (generation, partition) = self.partitions.at(self.scrub.slot)?;
        if !matches!(partition.state, State::Open) || self.is_offline(partition) {
            return None;
        }
        let first = match self.scrub.after {
            Some(after) => partition.segments.partition_point(|segment| segment.base <= after),
            None => 0,
        };
        let segment = partition.segments.get(first)?;
        let limit = readable_bytes(segment);
        if limit == 0 {
            return None;
        }
        let place = Place { offset: segment.base, position: 0 };
        Some(Walk {
            log: LogRef { slot: self.scrub.slot, generation },
            base: segment.base,
            end: segment.end,
            limit,
            place,
            batch: None,
            suspect: None,
            lost: false,
            is_over: false,
        })
    }

    /// Reads on, in a segment that is still what it was.
    fn scrub_on(&mut self, out: &mut Effects) {
        let walk = self.scrub.walk.as_ref().expect("a segment is under the scrub");
        let (log, base, end, limit) = (walk.log, walk.base, walk.end, walk.limit);
        let partition = self.partition(log).filter(|partition| matches!(partition.state, State::Open));
        let offline = partition.is_none_or(|partition| self.is_offline(partition));
        let at =
            partition.and_then(|partition| partition.segments.binary_search_by_key(&base, |segment| segment.base).ok());
        let segment = at.and_then(|at| partition?.segments.get(at));
        // One that is written to only grows.
        let may_grow = |segment: &Segment| !segment.sealed || limit < end.position;
        let is_same = |segment: &Segment| segment.end == end || (may_grow(segment) && end.offset <= segment.end.offset);
        let is_there = |segment: &&Segment| !offline && is_same(segment) && limit <= readable_bytes(segment);
        let Some(segment) = segment.filter(is_there) else {
            self.scrub.walk = None;
            return;
        };
        if walk.lost {
            let (at, known) = (at.expect("it was found"), segment.index.as_ref().is_some_and(Index::is_whole));
            return if known { self.find_again() } else { self.await_index(log, at, out) };
        }
        let position = walk.batch.as_ref().map_or(walk.place.position, |batch| batch.position);
        let start = position / BLOCK * BLOCK;
        let bytes = (limit - start).min(READ_BYTES).next_multiple_of(BLOCK) as usize;
        // It never takes what others need: neither the last file nor the cache's memory.
        let pool = self.pool.clone();
        let Some(mut buf) = self.files.has_room().then(|| pool.take(bytes.max(BLOCK_BYTES))).flatten() else {
            return self.scrub_later(RETRY_MS);
        };
        let Some((handle, file)) = self.acquire(log, base, Mode::Read, out) else {
            return self.scrub_later(OPEN_MS);
        };
        buf.limit(bytes);
        self.scrub.in_flight = true;
        self.scrub.next_at = None;
        self.submit(log, Work::ScrubRead { handle }, Op::Read { file, offset: start, buf }, out);
    }

    fn scrub_later(&mut self, ms: u64) {
        self.scrub.next_at = Some(self.now.plus_ms(ms));
    }

    fn await_index(&mut self, log: LogRef, at: usize, out: &mut Effects) {
        // Without memory for it now, later.
        let _ = self.build_index(log, at, out);
        self.scrub_later(RETRY_MS);
    }

    /// Nothing looks like a batch: what follows is bad up to the next place that the index knows.
    fn find_again(&mut self) {
        let Some(walk) = &mut self.scrub.walk else { return };
        let (log, base, end, limit) = (walk.log, walk.base, walk.end, walk.limit);
        let from = walk.suspect.take().unwrap_or(walk.place);
        walk.lost = false;
        let partition = self.partitions.get(log.slot, log.generation);
        let at =
            partition.and_then(|partition| partition.segments.binary_search_by_key(&base, |segment| segment.base).ok());
        let segment = at.and_then(|at| partition?.segments.get(at));
        let next = segment.and_then(|segment| segment.index.as_ref()?.after(from.position));
        let Some(next) = next.or_else(|| (limit == end.position).then_some(end)) else {
            // Where what is appended meanwhile begins is not known: the next round sees.
            walk.is_over = true;
            return self.end_walk_if_done();
        };
        walk.place = next;
        walk.is_over = limit <= next.position;
        self.mark_damage(log, base, Damage { from, to: next });
        self.end_walk_if_done();
    }

    fn end_walk_if_done(&mut self) {
        let is_done = |walk: &Walk| walk.is_over || (!walk.lost && walk.place.position >= walk.end.position);
        if self.scrub.walk.as_ref().is_some_and(is_done) {
            self.scrub.walk = None;
        }
    }

    /// A read of the scrub is over.
    pub(crate) fn scrub_read(&mut self, log: LogRef, handle: HandleId, done: Result<Done, Fault>, out: &mut Effects) {
        self.unpin(handle, out);
        self.scrub.in_flight = false;
        self.scrub.next_at = Some(self.now);
        match done {
            Ok(Done::Filled(buf)) => {
                let bytes = buf.as_slice();
                self.metrics.log_scrubbed_bytes_total.add(bytes.len() as u64);
                let rate = self.config.scrub_bytes_per_second.max(1);
                let pause = Duration::from_nanos((bytes.len() as u64).saturating_mul(1_000_000_000) / rate);
                self.scrub.next_at = Some(self.now.plus(pause));
                self.scrub_bytes(bytes);
            }
            Ok(other) => panic!("a read was answered by {other:?}"),
            Err(fault) => {
                // A reader that needs these bytes hears of it; the scrub goes on behind this segment.
                let path = self.known(log).dir.clone();
                tracing::error!(dir = %path.display(), %fault, "scrub: segment not read");
                self.scrub.walk = None;
            }
        }
        self.look(log, out);
    }

    /// Takes in what was read.
    fn scrub_bytes(&mut self, bytes: &[u8]) {
        let Some(walk) = &mut self.scrub.walk else { return };
        let (log, base) = (walk.log, walk.base);
        let mut found = Vec::new();
        walk.feed(bytes, &mut found);
        for damage in found {
            self.mark_damage(log, base, damage);
        }
        self.end_walk_if_done();
    }
}

impl Walk {
    /// Checks the bytes from the block on that holds what comes next.
    fn feed(&mut self, bytes: &[u8], found: &mut Vec<Damage>) {
        let position = self.batch.as_ref().map_or(self.place.position, |batch| batch.position);
        let start = position / BLOCK * BLOCK;
        let read_end = (start + bytes.len() as u64).min(self.limit);
        loop {
            if let Some(batch) = &mut self.batch {
                let end = self.place.position + batch.header.size_bytes as u64;
                let to = end.min(read_end);
                let Some(part) = range(bytes, start, batch.position, to) else { return self.lose() };
                batch.digest.update(part);
                batch.position = to;
                if to < end {
                    // A file that ends too soon; a header may end with what was read.
                    if part.is_empty() && to / BLOCK * BLOCK == start {
                        self.lose();
                    }
                    return;
                }
                let batch = self.batch.take().expect("it is being checked");
                if batch.digest.finalize() != u64::from(batch.header.crc) && self.suspect.is_none() {
                    self.suspect = Some(self.place);
                }
                self.place = Place { offset: batch.header.next_offset(), position: end };
            }
            if self.place.position >= self.end.position {
                self.settle(self.end, found);
                return;
            }
            let head_end = self.place.position + HEADER_BYTES as u64;
            if head_end > self.end.position {
                return self.lose();
            }
            if head_end > self.limit {
                self.is_over = true;
                return;
            }
            let Some(head) = range(bytes, start, self.place.position, head_end).filter(|_| head_end <= read_end) else {
                // At the next read's beginning, unless the file ends too soon.
                if self.place.position / BLOCK * BLOCK == start {
                    self.lose();
                }
                return;
            };
            let Some(header) = Header::peek(head).ok().filter(|header| self.fits(header)) else { return self.lose() };
            let place = Place { offset: header.base_offset, ..self.place };
            self.settle(place, found);
            self.place = place;
            if place.position + header.size_bytes as u64 > self.limit {
                self.is_over = true;
                return;
            }
            let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
            digest.update(&head[CHECKED_FROM..]);
            self.batch = Some(Batch { header, position: head_end, digest });
        }
    }

    /// A batch follows, or the end: what was suspect before it is known to end here.
    fn settle(&mut self, next: Place, found: &mut Vec<Damage>) {
        if let Some(from) = self.suspect.take() {
            found.push(Damage { from, to: next });
        }
    }

    fn lose(&mut self) {
        self.lost = true;
        self.batch = None;
    }

    fn fits(&self, header: &Header) -> bool {
        self.place.offset <= header.base_offset
            && header.next_offset() <= self.end.offset
            && header.size_bytes as u64 <= self.end.position - self.place.position
    }
}

/// How much of a segment its file holds.
fn readable_bytes(segment: &Segment) -> u64 {
    if segment.sealed { segment.end.position } else { segment.destaged.min(segment.durable.position) / BLOCK * BLOCK }
}

fn range(bytes: &[u8], start: u64, from: u64, to: u64) -> Option<&[u8]> {
    let from = usize::try_from(from.checked_sub(start)?).ok()?;
    let to = usize::try_from(to.checked_sub(start)?).ok()?;
    bytes.get(from..to)
}

/// A batch's checksum covers what follows its own place, from the attributes on.
const CHECKED_FROM: usize = 21;
const READ_BYTES: u64 = 256 * 1024;
/// Logs looked at in a turn.
const LOGS_A_TURN: usize = 64;
/// Between two rounds, however long they take.
const PAUSE_MS: u64 = 100;
/// When to ask again for what was not there.
const RETRY_MS: u64 = 100;
/// How soon a file should be open.
const OPEN_MS: u64 = 5;
