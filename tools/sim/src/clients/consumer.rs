//! A consumer: finds its place, then long polls, with a fetch session or without. Whatever it sees must stay.

use std::collections::BTreeMap;

use model::ErrorCode;
use record::{Batches, Header, Records};
use wire::ApiKey;
use wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use wire::list_offsets::{ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic};

use super::session::{Answer, Heard, Session};
use super::{Actor, Stage, is_gone, is_retriable, spelled};
use crate::oracle::{Start, TopicIndex};

/// The consumer.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    session: Session,
    places: Vec<Place>,
    /// The fetch session, if there is one: its id and next epoch.
    fetch_session: Option<(i32, i32)>,
    wants_session: bool,
    /// What was known of each partition when the request in flight left.
    known: BTreeMap<(TopicIndex, u32), Known>,
    /// What the last request asked about offsets.
    asked: i64,
    next_ns: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    start: Start,
    end: u64,
    /// A record at or after the time that is asked for: the last one.
    has_time: Option<u64>,
}

#[derive(Debug)]
struct Place {
    topic: TopicIndex,
    partition: u32,
    offset: Option<u64>,
    /// The session knows this offset.
    told: Option<u64>,
    /// The offset came from a guess, and may lie outside of the log.
    guessed: bool,
    gone: bool,
}

impl Actor for Consumer {
    fn act(&mut self, stage: &mut Stage<'_>) {
        while let Some(heard) = self.session.hear(stage) {
            match heard {
                Heard::Answer(answer) if answer.key == ApiKey::Fetch => self.take_fetch(stage, &answer),
                Heard::Answer(answer) => self.take_offsets(stage, &answer),
                Heard::Broken => self.forget_session(),
            }
        }
        if stage.winding_down || self.session.awaited_count() > 0 {
            return;
        }
        if stage.now_ns() < self.next_ns {
            return stage.at(self.next_ns);
        }
        self.next_ns = stage.think(20, 5000);
        stage.at(self.next_ns);
        self.choose(stage);
        if self.places.is_empty() || !self.session.is_open(stage) {
            return;
        }
        if self.places.iter().any(|place| place.offset.is_none()) {
            self.ask_offsets(stage);
        } else {
            self.fetch(stage);
        }
    }

    fn is_idle(&self) -> bool {
        self.session.awaited_count() == 0
    }
}

impl Consumer {
    /// Now and then other partitions.
    fn choose(&mut self, stage: &mut Stage<'_>) {
        if self.places.iter().any(|place| place.gone) || stage.rng.chance(20) {
            self.places.clear();
            self.forget_session();
            self.wants_session = stage.rng.coin();
        }
        if !self.places.is_empty() {
            return;
        }
        for _ in 0..stage.rng.range(1, 4) {
            let stable = stage.rng.chance(800);
            let Some((topic, partition)) = stage.any_partition(stable) else { return };
            if self.places.iter().any(|place| (place.topic, place.partition) == (topic, partition)) {
                continue;
            }
            let known_end = stage.oracle.known_end(topic, partition);
            let guessed = stage.rng.chance(400);
            let offset = guessed.then(|| stage.rng.range(0, known_end + known_end / 8));
            self.places.push(Place { topic, partition, offset, told: None, guessed, gone: false });
        }
    }

    fn ask_offsets(&mut self, stage: &mut Stage<'_>) {
        self.asked = match stage.rng.below(10) {
            0..3 => LATEST,
            3..6 => EARLIEST,
            _ => stage.world.wall_ms() - stage.rng.below(TIMES_BACK_MS + 2_000) as i64,
        };
        let timestamp = self.asked;
        self.remember_known(stage);
        let topics = self.places.iter().filter(|place| place.offset.is_none()).map(|place| ListOffsetsTopic {
            name: stage.oracle.topics[place.topic].name.clone().into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: place.partition as i32,
                current_leader_epoch: -1,
                timestamp,
            }],
        });
        let request =
            ListOffsetsRequest { replica_id: -1, isolation_level: 0, topics: topics.collect(), timeout_ms: 30_000 };
        let version = stage.version(ApiKey::ListOffsets, 1);
        self.session.send(stage, (ApiKey::ListOffsets, version), Some(0), |out| request.encode(out, version));
    }

    fn take_offsets(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let mut reader = wire::Reader::new(&answer.body);
        let response = ListOffsetsResponse::decode(&mut reader, answer.version).expect("a whole answer");
        for topic in &response.topics {
            for result in &topic.partitions {
                let asked = self.places.iter_mut().find(|place| {
                    let known = &stage.oracle.topics[place.topic];
                    known.name == topic.name
                        && place.partition as i32 == result.partition_index
                        && place.offset.is_none()
                });
                let place = asked.expect("a partition that was asked for");
                let known = &stage.oracle.topics[place.topic];
                if !known.is_alive || (is_gone(result.error_code) && !known.is_stable) {
                    place.gone = true;
                } else if result.error_code == 0 {
                    let known = self.known[&(place.topic, place.partition)];
                    place.told_offset(stage, self.asked, known, result.offset, result.timestamp);
                } else {
                    let corrupt = result.error_code == ErrorCode::CorruptMessage.to_wire()
                        && stage.oracle.is_rotten(place.topic, place.partition);
                    assert!(corrupt || is_retriable(result.error_code), "ListOffsets: {}", spelled(result.error_code));
                }
            }
        }
    }

    fn fetch(&mut self, stage: &mut Stage<'_>) {
        let stable = self.places.iter().all(|place| stage.oracle.topics[place.topic].is_stable);
        let version = stage.version(ApiKey::Fetch, if stable { 4 } else { 13 });
        let sessions = version >= 7 && self.wants_session;
        // A session speaks of topics by name or by id, never both.
        let version = if sessions { version.max(13) } else { version };
        if !sessions {
            self.forget_session();
        }
        let (session_id, session_epoch) = match self.fetch_session {
            Some(session) => session,
            None => (0, if sessions { 0 } else { -1 }),
        };
        self.remember_known(stage);
        let partition_max_bytes = stage.rng.spread(1, 64 << 10) as i32;
        let mut topics = Vec::new();
        for place in &mut self.places {
            if session_epoch > 0 && place.told == place.offset {
                continue;
            }
            place.told = place.offset;
            let known = &stage.oracle.topics[place.topic];
            topics.push(FetchTopic {
                topic: known.name.clone().into(),
                topic_id: known.id,
                partitions: vec![FetchPartition {
                    partition: place.partition as i32,
                    fetch_offset: place.offset.expect("every place is known") as i64,
                    partition_max_bytes,
                    ..Default::default()
                }],
            });
        }
        let request = FetchRequest {
            max_wait_ms: stage.rng.below(400) as i32,
            min_bytes: [0, 1, 1, 1000, 100_000][stage.rng.index(5)],
            max_bytes: stage.rng.spread(1, 128 << 10) as i32,
            session_id,
            session_epoch,
            topics,
            ..Default::default()
        };
        self.session.send(stage, (ApiKey::Fetch, version), Some(0), |out| request.encode(out, version));
    }

    fn take_fetch(&mut self, stage: &mut Stage<'_>, answer: &Answer) {
        let mut reader = wire::Reader::new(&answer.body);
        let response = FetchResponse::decode(&mut reader, answer.version).expect("a whole answer");
        if response.error_code != 0 {
            let lost = [ErrorCode::FetchSessionIdNotFound, ErrorCode::InvalidFetchSessionEpoch];
            let lost = lost.iter().any(|code| code.to_wire() == response.error_code);
            assert!(lost || is_retriable(response.error_code), "Fetch: {}", spelled(response.error_code));
            return self.forget_session();
        }
        self.fetch_session = match (response.session_id, self.fetch_session) {
            (0, _) => None,
            (id, Some((known, epoch))) if id == known => Some((id, epoch + 1)),
            (id, _) => Some((id, 1)),
        };
        if self.fetch_session.is_none() {
            self.places.iter_mut().for_each(|place| place.told = None);
        }
        for topic in &response.responses {
            let id = if answer.version >= 13 { topic.topic_id } else { model::Uuid::ZERO };
            let Some(index) = stage.oracle.find(&topic.topic, id) else { continue };
            for data in &topic.partitions {
                let asked = |place: &&mut Place| (place.topic, place.partition as i32) == (index, data.partition_index);
                let place = self.places.iter_mut().find(asked).expect("a partition that was asked for");
                let known = self.known[&(place.topic, place.partition)];
                place.take(stage, data, known);
            }
        }
    }

    fn remember_known(&mut self, stage: &Stage<'_>) {
        let (oracle, asked) = (&*stage.oracle, self.asked);
        let known = |place: &Place| {
            let (topic, partition) = (place.topic, place.partition);
            let has_time = oracle.last_at_or_after(topic, partition, asked).filter(|_| asked >= 0);
            let (start, end) = (oracle.known_start(topic, partition), oracle.known_end(topic, partition));
            ((topic, partition), Known { start, end, has_time })
        };
        self.known = self.places.iter().map(known).collect();
    }

    fn forget_session(&mut self) {
        self.fetch_session = None;
        self.places.iter_mut().for_each(|place| place.told = None);
    }
}

impl Place {
    fn told_offset(&mut self, stage: &mut Stage<'_>, asked: i64, known: Known, offset: i64, timestamp: i64) {
        let (topic, partition) = (self.topic, self.partition);
        let place = format_args!("{topic}-{partition}");
        let rotten = stage.oracle.is_rotten(topic, partition);
        if asked >= 0 && offset == -1 {
            let there = known.has_time.is_some_and(|at| !stage.oracle.may_be_gone(topic, partition, at));
            assert!(rotten || !there, "{place}: nothing at or after {asked}, where a record was told");
            return;
        }
        let offset = u64::try_from(offset).expect("an offset");
        assert!(offset >= known.start.offset, "{place}: {offset} for time {asked}, starts at {}", known.start.offset);
        match asked {
            LATEST => assert!(offset >= known.end, "{place}: latest offset {offset} where {} was told", known.end),
            EARLIEST => stage.oracle.started(topic, partition, offset, known.start),
            // What rot has made of times is not known.
            _ if rotten => (),
            _ => stage.oracle.claimed(topic, partition, asked, offset, timestamp),
        }
        self.offset = Some(offset);
        self.guessed = false;
    }

    fn take(&mut self, stage: &mut Stage<'_>, data: &wire::fetch::PartitionData<'_>, known: Known) {
        let (topic, partition) = (self.topic, self.partition);
        let place = format_args!("{topic}-{partition}");
        let code = data.error_code;
        let fetched = self.offset.expect("was fetched");
        if code != 0 {
            stage.refused("fetch", topic, partition, code);
            self.gone |= is_gone(code) && !stage.oracle.topics[topic].is_stable;
            if code == ErrorCode::CorruptMessage.to_wire()
                && let Some(past) = stage.oracle.past_rot(topic, partition, fetched)
            {
                self.offset = Some(past);
                return;
            }
            let guess = self.guessed && fetched > known.end;
            let guess = guess || stage.oracle.may_be_gone(topic, partition, fetched);
            let out_of_range = code == ErrorCode::OffsetOutOfRange.to_wire() && guess;
            let excused = self.gone || out_of_range || is_retriable(code);
            assert!(excused, "fetch of {place} @{fetched}: {}", spelled(code));
            if out_of_range {
                self.offset = None;
            }
            return;
        }
        if let Ok(start) = u64::try_from(data.log_start_offset) {
            stage.oracle.started(topic, partition, start, known.start);
        }
        let high_watermark = u64::try_from(data.high_watermark).expect("a high watermark");
        let least = known.end;
        assert!(high_watermark >= least, "{place}: high watermark {high_watermark} where {least} was told");
        let records = data.records.unwrap_or_default();
        assert!(
            records.is_empty() || fetched >= known.start.offset,
            "{place}: @{fetched} was given, deleted to {}",
            known.start.offset
        );
        let next = read_batches(stage, topic, partition, fetched, records);
        assert!(next <= high_watermark || next == fetched, "{place}: records up to {next} above {high_watermark}");
        self.guessed &= next == fetched;
        self.offset = Some(next);
    }
}

/// Tells the oracle of every record from `from` on; answers the offset after the last, or behind what has rotted.
pub(super) fn read_batches(stage: &mut Stage<'_>, topic: TopicIndex, partition: u32, from: u64, bytes: &[u8]) -> u64 {
    let mut next = from;
    // Compaction leaves gaps.
    let gaps = stage.oracle.topics[topic].rules.compacts;
    let mut position = 0;
    for batch in Batches::new(bytes) {
        // A first offset does not rot.
        let first = bytes[position..].first_chunk().map_or(next, |first| u64::from_be_bytes(*first));
        let stands = if gaps { first.max(next) } else { next };
        let records = batch.and_then(|batch| Ok((*batch.header(), Records::read(batch, 1 << 24)?)));
        // The first batch may begin before what was asked for; none may leave a gap.
        let fits = |header: &Header| {
            let first = header.base_offset.get();
            first == next || (first < from && next == from) || (gaps && first > next)
        };
        let (header, records) = match (records, stage.oracle.past_rot(topic, partition, stands)) {
            (Ok((header, records)), None) => (header, records),
            (Ok((header, records)), Some(_)) if fits(&header) => (header, records),
            // Bad bytes that the checksum tells are as good as a refusal.
            (Ok(_) | Err(_), Some(past)) => return past,
            (Err(error), None) => panic!("{topic}-{partition} @{next}: {error:?}"),
        };
        assert!(fits(&header), "{topic}-{partition}: batch @{} where {next}", header.base_offset.get());
        for record in records.iter() {
            let record = record.expect("a good record");
            let offset = record.offset.get();
            if offset >= from {
                assert!(offset == next || (gaps && offset > next), "{topic}-{partition}: a gap before {next}");
                stage.oracle.seen(topic, partition, &record);
                next = offset + 1;
            }
        }
        assert!(gaps || next == header.next_offset().get().max(from), "{topic}-{partition}: a gap before {next}");
        next = next.max(header.next_offset().get());
        position += header.size_bytes;
    }
    if next == from && !bytes.is_empty() {
        // A wrong length makes a batch that is not whole.
        return stage.oracle.past_rot(topic, partition, next).unwrap_or(next);
    }
    next
}

/// How far back a record's time may lie when it is sent.
pub(crate) const TIMES_BACK_MS: u64 = 20_000;

const LATEST: i64 = -1;
pub(super) const EARLIEST: i64 = -2;
