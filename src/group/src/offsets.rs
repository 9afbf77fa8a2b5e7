//! Committed offsets: checked and written at once, shown when durable.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry as MapEntry;
use std::sync::Arc;

use model::{ErrorCode, Offset, TopicId};

use crate::face::{Answer, Commit, CommitItem, Committed, DeleteOffsets, FetchOffsets, Generation, OffsetsOfTopic};
use crate::group::{Group, State};
use crate::records::{Record, offset_record, offset_tombstone};
use crate::turn::{OffsetKey, Then, Turn, Underway};

/// The offsets of a group.
#[derive(Default, Debug)]
pub(crate) struct Offsets {
    topics: BTreeMap<Arc<str>, BTreeMap<i32, Entry>>,
    bytes: usize,
}

/// One partition's offset.
#[derive(Default, Debug)]
struct Entry {
    durable: Option<Committed>,
    /// Commits that are not durable yet.
    underway: u32,
    /// Commits that end at or before this in the log are forgotten.
    erased_to: Offset,
}

impl Offsets {
    pub(crate) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What is durable, by topic.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, i32, &Committed)> {
        let all = self.topics.iter().flat_map(|(topic, entries)| entries.iter().map(move |each| (topic, each)));
        all.filter_map(|(topic, (partition, entry))| Some((topic, *partition, entry.durable.as_ref()?)))
    }

    /// How many there are or will be.
    pub(crate) fn count(&self) -> usize {
        self.topics.values().map(BTreeMap::len).sum()
    }

    fn get(&self, topic: &str, partition: i32) -> Option<&Committed> {
        self.topics.get(topic)?.get(&partition)?.durable.as_ref()
    }

    /// Everything that there is or will be.
    fn keys(&self) -> Vec<OffsetKey> {
        let all =
            self.topics.iter().flat_map(|(topic, entries)| entries.keys().map(move |each| (topic.clone(), *each)));
        all.collect()
    }

    pub(crate) fn has(&self, topic: &str, partition: i32) -> bool {
        self.topics.get(topic).is_some_and(|entries| entries.contains_key(&partition))
    }

    fn appended(&mut self, topic: &Arc<str>, partition: i32) {
        let entries = self.topics.entry(topic.clone()).or_default();
        match entries.entry(partition) {
            MapEntry::Vacant(vacant) => {
                self.bytes += ENTRY_BYTES + topic.len();
                vacant.insert(Entry::default()).underway = 1;
            }
            MapEntry::Occupied(mut occupied) => occupied.get_mut().underway += 1,
        }
    }

    fn durable(&mut self, topic: &str, partition: i32, committed: Committed, end: Offset) {
        let Some(entry) = self.topics.get_mut(topic).and_then(|entries| entries.get_mut(&partition)) else { return };
        entry.underway -= 1;
        if end > entry.erased_to {
            self.bytes += committed.metadata.len();
            self.bytes -= entry.durable.as_ref().map_or(0, |earlier| earlier.metadata.len());
            entry.durable = Some(committed);
        }
        self.tidy(topic, partition);
    }

    /// As it was written down.
    pub(crate) fn load(&mut self, topic: &str, partition: i32, committed: Option<Committed>) {
        match committed {
            None => self.erase(topic, partition, Offset::ZERO),
            Some(committed) => {
                self.appended(&topic.into(), partition);
                self.durable(topic, partition, committed, Offset::new(1));
            }
        }
    }

    /// Forgets an offset; commits that end at or before `end` do not bring it back.
    pub(crate) fn erase(&mut self, topic: &str, partition: i32, end: Offset) {
        let Some(entry) = self.topics.get_mut(topic).and_then(|entries| entries.get_mut(&partition)) else { return };
        self.bytes -= entry.durable.take().map_or(0, |earlier| earlier.metadata.len());
        entry.erased_to = end;
        self.tidy(topic, partition);
    }

    fn tidy(&mut self, topic: &str, partition: i32) {
        let Some(entries) = self.topics.get_mut(topic) else { return };
        if entries.get(&partition).is_some_and(|entry| entry.durable.is_none() && entry.underway == 0) {
            entries.remove(&partition);
            self.bytes -= ENTRY_BYTES + topic.len();
        }
        if entries.is_empty() {
            self.topics.remove(topic);
        }
    }

    pub(crate) fn invariants(&self) {
        assert!(self.topics.values().all(|entries| !entries.is_empty()));
        let metadata = |entry: &Entry| entry.durable.as_ref().map_or(0, |committed| committed.metadata.len());
        let of_topic = |(topic, entries): (&Arc<str>, &BTreeMap<i32, Entry>)| {
            entries.values().map(|entry| ENTRY_BYTES + topic.len() + metadata(entry)).sum::<usize>()
        };
        assert!(self.bytes == self.topics.iter().map(of_topic).sum());
    }
}

impl<A: Copy> Group<A> {
    pub(crate) fn commit(&mut self, asker: A, commit: Commit, turn: &mut Turn<'_, A>) {
        if let Err(error) = self.check_commit(&commit.member) {
            return turn.answer(asker, Answer::Refused(error));
        }
        if commit.member.generation >= 0 {
            self.heard_of(&commit.member.who.member_id, turn.now.ms);
        }
        let mut results = Vec::with_capacity(commit.items.len());
        let mut offsets = Vec::with_capacity(commit.items.len());
        for CommitItem { index, topic, partition, committed } in commit.items {
            // Kafka counts UTF-16 units.
            let is_long = committed.metadata.encode_utf16().count() > turn.config.offset_metadata_max;
            results.push((index, if is_long { ErrorCode::OffsetMetadataTooLarge } else { ErrorCode::None }));
            if !is_long {
                offsets.push(Underway { topic, partition, committed });
            }
        }
        if offsets.is_empty() {
            return turn.answer(asker, Answer::Items(results));
        }
        let record = |each: &Underway| offset_record(&self.id, &each.topic, each.partition, &each.committed);
        let records = offsets.iter().map(record).collect();
        turn.write(records, Then::Commit { group: self.id.clone(), offsets, asker, results });
    }

    fn check_commit(&self, member: &Generation) -> Result<(), ErrorCode> {
        let names_one = !member.who.member_id.is_empty() || member.who.instance_id.is_some();
        if member.generation < 0 && self.state == State::Empty {
            // From an operator, or a consumer that assigns itself.
            return Ok(());
        }
        if member.generation >= 0 || names_one {
            self.check(&member.who)?;
            if member.generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else {
            return Err(ErrorCode::UnknownMemberId);
        }
        // It has learnt of the generation, but nobody has work in it yet.
        if self.state == State::CompletingRebalance { Err(ErrorCode::RebalanceInProgress) } else { Ok(()) }
    }

    /// The offsets are in the log.
    pub(crate) fn commit_appended(&mut self, offsets: &[Underway]) {
        offsets.iter().for_each(|each| self.offsets.appended(&each.topic, each.partition));
    }

    /// The offsets are durable.
    pub(crate) fn committed(&mut self, offsets: Vec<Underway>, end: Offset) {
        for Underway { topic, partition, committed } in offsets {
            self.offsets.durable(&topic, partition, committed, end);
        }
    }

    pub(crate) fn fetch(&self, fetch: &FetchOffsets) -> Answer {
        let Some(topics) = &fetch.topics else { return Answer::Offsets(self.all_offsets()) };
        let of_topic = |(topic, partitions): &(Arc<str>, Vec<i32>)| {
            let partitions = partitions.iter().map(|at| (*at, self.offsets.get(topic, *at).cloned()));
            OffsetsOfTopic { topic: topic.clone(), partitions: partitions.collect() }
        };
        Answer::Offsets(topics.iter().map(of_topic).collect())
    }

    fn all_offsets(&self) -> Vec<OffsetsOfTopic> {
        let mut out: Vec<OffsetsOfTopic> = Vec::new();
        for (topic, partition, committed) in self.offsets.iter() {
            let item = (partition, Some(committed.clone()));
            match out.last_mut() {
                Some(last) if last.topic == *topic => last.partitions.push(item),
                _ => out.push(OffsetsOfTopic { topic: topic.clone(), partitions: vec![item] }),
            }
        }
        out
    }

    pub(crate) fn delete_offsets(&mut self, asker: A, delete: DeleteOffsets, turn: &mut Turn<'_, A>) {
        if self.state != State::Empty && !self.is_consumers() {
            return turn.answer(asker, Answer::Refused(ErrorCode::NonEmptyGroup));
        }
        let mut results = Vec::with_capacity(delete.items.len());
        let mut keys = Vec::new();
        for (index, topic, partition) in delete.items {
            let is_in_use = self.is_subscribed_to(&topic);
            let error = if is_in_use { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            results.push((index, error));
            if !is_in_use && self.offsets.has(&topic, partition) {
                keys.push((topic, partition));
            }
        }
        let reply = Some((asker, Answer::Items(results)));
        self.write_erasure(keys, false, reply, turn);
    }

    /// Says in the log that offsets are gone, and the group with them if asked to; without any, only replies.
    pub(crate) fn write_erasure(
        &mut self,
        keys: Vec<OffsetKey>,
        whole: bool,
        reply: Option<(A, Answer)>,
        turn: &mut Turn<'_, A>,
    ) {
        let mut records: Vec<Record> =
            keys.iter().map(|(topic, partition)| offset_tombstone(&self.id, topic, *partition)).collect();
        if whole {
            records.push(Record { key: crate::records::group_key(&self.id), value: None });
        }
        if records.is_empty() {
            turn.answers.extend(reply);
            return;
        }
        turn.write(records, Then::Erase { group: self.id.clone(), keys, whole, reply });
    }

    pub(crate) fn delete(&mut self, asker: A, turn: &mut Turn<'_, A>) {
        if self.state != State::Empty {
            return turn.answer(asker, Answer::Refused(ErrorCode::NonEmptyGroup));
        }
        let keys = self.offsets.keys();
        self.write_erasure(keys, true, Some((asker, Answer::Done)), turn);
    }

    /// The log says up to `end` that these offsets are gone.
    pub(crate) fn erased(&mut self, keys: &[OffsetKey], whole: bool, end: Offset) {
        for (topic, partition) in keys {
            self.offsets.erase(topic, *partition, end);
        }
        if whole {
            assert!(self.state == State::Empty, "only a group without members is deleted");
            self.generation = 0;
            self.protocol_type = None;
            self.protocol = None;
            self.since = None;
        }
    }

    /// Forgets the offsets of topics that are gone, `end` being how far the log has come; which they were.
    pub(crate) fn forget_topics(&mut self, is_gone: &dyn Fn(&str, TopicId) -> bool, end: Offset) -> Vec<OffsetKey> {
        let gone = self.offsets.iter().filter(|(topic, _, committed)| is_gone(topic, committed.topic_id));
        let gone: Vec<_> = gone.map(|(topic, partition, _)| (topic.clone(), partition)).collect();
        gone.iter().for_each(|(topic, partition)| self.offsets.erase(topic, *partition, end));
        gone
    }
}

/// About the memory that an offset takes beside its metadata.
const ENTRY_BYTES: usize = 192;
