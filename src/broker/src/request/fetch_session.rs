//! Fetch sessions (KIP-227): what a consumer asks for again and again, remembered between its requests.
//!
//! A session belongs to the shard of the connection that opened it; the shard is in the id's high bits. The number of
//! sessions and the partitions in each are bounded. Never reads data.

use std::collections::{BTreeMap, BTreeSet};

use effect::{Instant, ShardId};
use model::{ErrorCode, LeaderEpoch, Offset, TopicId};
use wire::{FetchPartition, FetchView, ForgottenPartition, TopicRef};

/// A topic as the session's requests name it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum TopicKey {
    Name(Box<str>),
    Id(TopicId),
}

/// What is asked of one partition, and what the client was last told of it.
#[derive(Clone, Debug)]
pub(crate) struct Wanted {
    pub(crate) topic: TopicKey,
    pub(crate) partition: i32,
    pub(crate) leader_epoch: Option<LeaderEpoch>,
    pub(crate) offset: Option<Offset>,
    pub(crate) last_fetched_epoch: Option<LeaderEpoch>,
    pub(crate) max_bytes: i32,
}

/// What the client was last told; a change is worth telling even without records.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
struct Told {
    high_watermark: Option<Offset>,
    log_start_offset: Option<Offset>,
    error: bool,
}

/// How a request relates to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Membership {
    /// What the response carries; 0 for none.
    pub(crate) id: i32,
    /// Whether only what is new is told.
    pub(crate) incremental: bool,
}

/// The sessions of one shard.
#[derive(Debug)]
pub(crate) struct FetchSessions {
    shard: ShardId,
    limit: usize,
    next: i32,
    sessions: BTreeMap<i32, Session>,
    /// Partitions in all of them.
    partition_count: usize,
}

#[derive(Debug)]
struct Session {
    /// What the next request must carry.
    epoch: i32,
    by_id: bool,
    partitions: Vec<(Wanted, Told)>,
    places: BTreeMap<(TopicKey, i32), usize>,
    last_used: Instant,
}

/// What [`FetchSessions::begin`] found.
#[derive(Debug)]
pub(crate) enum Begun {
    /// Ask for these.
    Fetch(Membership, Vec<Wanted>),
    /// Another shard's session is closed by this request, which itself has none.
    CloseElsewhere(ShardId, i32, Vec<Wanted>),
    /// The session and the request don't fit; the client opens another.
    Refused(ErrorCode),
}

impl FetchSessions {
    /// At most `limit` sessions on this shard.
    pub(crate) fn new(shard: ShardId, limit: usize) -> FetchSessions {
        FetchSessions { shard, limit, next: 1, sessions: BTreeMap::new(), partition_count: 0 }
    }

    /// Finds, opens or closes the session that a request belongs to.
    pub(crate) fn begin(&mut self, request: &FetchView<'_>, now: Instant) -> Begun {
        match request.session_epoch {
            EPOCH_FINAL | EPOCH_INITIAL => self.begin_full(request, now),
            epoch => self.begin_incremental(request, epoch, now),
        }
    }

    /// Whether `result` is worth telling in an incremental response; remembers what is told.
    pub(crate) fn is_news(
        &mut self,
        membership: Membership,
        wanted: &Wanted,
        high_watermark: Option<Offset>,
        log_start_offset: Option<Offset>,
        error: bool,
        has_records: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&membership.id) else { return true };
        let key = (wanted.topic.clone(), wanted.partition);
        let Some(place) = session.places.get(&key) else { return true };
        let told = &mut session.partitions[*place].1;
        let now = Told { high_watermark, log_start_offset, error };
        let changed = *told != now || error || has_records;
        *told = now;
        !membership.incremental || changed
    }

    /// Forgets a session.
    pub(crate) fn close(&mut self, id: i32) {
        if let Some(session) = self.sessions.remove(&id) {
            self.partition_count -= session.partitions.len();
        }
    }

    fn begin_full(&mut self, request: &FetchView<'_>, now: Instant) -> Begun {
        let wanted: Vec<Wanted> = request.partitions.iter().map(Wanted::of).collect();
        let none = Membership { id: 0, incremental: false };
        if request.session_id != 0 {
            let shard = shard_of(request.session_id);
            if shard != self.shard {
                return Begun::CloseElsewhere(shard, request.session_id, wanted);
            }
            self.close(request.session_id);
        }
        let fits = self.partition_count + wanted.len() <= PARTITIONS_MAX;
        if request.session_epoch == EPOCH_FINAL || wanted.is_empty() || !fits || !self.make_room(now) {
            return Begun::Fetch(none, wanted);
        }
        let id = self.free_id();
        let by_id = wanted.iter().all(|wanted| matches!(wanted.topic, TopicKey::Id(_)));
        let mut session = Session { epoch: 1, by_id, partitions: Vec::new(), places: BTreeMap::new(), last_used: now };
        wanted.iter().cloned().for_each(|wanted| session.put(wanted));
        self.partition_count += session.partitions.len();
        self.sessions.insert(id, session);
        Begun::Fetch(Membership { id, incremental: false }, wanted)
    }

    fn begin_incremental(&mut self, request: &FetchView<'_>, epoch: i32, now: Instant) -> Begun {
        let fits = self.partition_count + request.partitions.len() <= PARTITIONS_MAX;
        let Some(session) = self.sessions.get_mut(&request.session_id) else {
            return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
        };
        if session.epoch != epoch {
            return Begun::Refused(ErrorCode::InvalidFetchSessionEpoch);
        }
        if !fits {
            // The client opens another, which will be without memory of what it asks.
            self.close(request.session_id);
            return Begun::Refused(ErrorCode::FetchSessionIdNotFound);
        }
        let fits = |topic: TopicRef<'_>| matches!(topic, TopicRef::Id(_)) == session.by_id;
        let named = request.partitions.iter().map(|partition| partition.topic);
        if !named.chain(request.forgotten.iter().map(|partition| partition.topic)).all(fits) {
            return Begun::Refused(ErrorCode::FetchSessionTopicIdError);
        }
        session.epoch = if epoch == i32::MAX { 1 } else { epoch + 1 };
        session.last_used = now;
        let before = session.partitions.len();
        session.forget(request);
        for partition in &request.partitions {
            session.put(Wanted::of(partition));
        }
        self.partition_count = self.partition_count - before + session.partitions.len();
        // Who comes first differs each time, so that a response that is full early starves nobody.
        let mut wanted: Vec<Wanted> = session.partitions.iter().map(|(wanted, _)| wanted.clone()).collect();
        if !wanted.is_empty() {
            let first = epoch.unsigned_abs() as usize % wanted.len();
            wanted.rotate_left(first);
        }
        Begun::Fetch(Membership { id: request.session_id, incremental: true }, wanted)
    }

    /// Whether there is room for one more, after the one that was idle for longest went, if it was for long enough.
    fn make_room(&mut self, now: Instant) -> bool {
        if self.sessions.len() < self.limit {
            return true;
        }
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used);
        match oldest {
            Some((id, session)) if now.since(session.last_used).as_millis() >= EVICTION_MS => {
                let id = *id;
                self.close(id);
                true
            }
            _ => false,
        }
    }

    fn free_id(&mut self) -> i32 {
        loop {
            let id = (i32::from(self.shard.0) << SERIAL_BITS) | self.next;
            self.next = if self.next == SERIAL_MAX { 1 } else { self.next + 1 };
            if !self.sessions.contains_key(&id) {
                return id;
            }
        }
    }
}

impl Session {
    fn put(&mut self, wanted: Wanted) {
        let key = (wanted.topic.clone(), wanted.partition);
        match self.places.get(&key) {
            Some(place) => self.partitions[*place].0 = wanted,
            None => {
                self.places.insert(key, self.partitions.len());
                self.partitions.push((wanted, Told::default()));
            }
        }
    }

    /// Drops what the request names, all in one pass: a client may name very many.
    fn forget(&mut self, request: &FetchView<'_>) {
        if request.forgotten.is_empty() {
            return;
        }
        let key = |forgotten: &ForgottenPartition<'_>| (TopicKey::of(forgotten.topic), forgotten.partition);
        let gone: BTreeSet<(TopicKey, i32)> = request.forgotten.iter().map(key).collect();
        self.partitions.retain(|(wanted, _)| !gone.contains(&(wanted.topic.clone(), wanted.partition)));
        let keys = self.partitions.iter().map(|(wanted, _)| (wanted.topic.clone(), wanted.partition));
        self.places = keys.zip(0..).collect();
    }
}

impl TopicKey {
    pub(crate) fn of(topic: TopicRef<'_>) -> TopicKey {
        match topic {
            TopicRef::Name(name) => TopicKey::Name(name.into()),
            TopicRef::Id(id) => TopicKey::Id(id),
        }
    }

    pub(crate) fn as_ref(&self) -> TopicRef<'_> {
        match self {
            TopicKey::Name(name) => TopicRef::Name(name),
            TopicKey::Id(id) => TopicRef::Id(*id),
        }
    }
}

impl Wanted {
    fn of(partition: &FetchPartition<'_>) -> Wanted {
        Wanted {
            topic: TopicKey::of(partition.topic),
            partition: partition.partition,
            leader_epoch: partition.current_leader_epoch,
            offset: partition.fetch_offset,
            last_fetched_epoch: partition.last_fetched_epoch,
            max_bytes: partition.partition_max_bytes,
        }
    }
}

fn shard_of(id: i32) -> ShardId {
    ShardId((id >> SERIAL_BITS) as u16)
}

/// Partitions in all sessions of a shard together: some 100 MB.
const PARTITIONS_MAX: usize = 500_000;

const EPOCH_INITIAL: i32 = 0;
const EPOCH_FINAL: i32 = -1;

/// 2 million sessions over time on each of 512 shards; positive as the wire wants it, never 0.
const SERIAL_BITS: u32 = 22;
const SERIAL_MAX: i32 = (1 << SERIAL_BITS) - 1;

/// As Kafka's `min.incremental.fetch.session.eviction.ms`.
const EVICTION_MS: u128 = 120_000;

#[cfg(test)]
mod tests {
    use wire::IsolationLevel;

    use super::*;

    fn view<'a>(id: i32, epoch: i32, partitions: &[i32], forgotten: &[i32]) -> FetchView<'a> {
        let partition = |partition: &i32| FetchPartition {
            topic: TopicRef::Name("t"),
            partition: *partition,
            current_leader_epoch: None,
            fetch_offset: Some(Offset::ZERO),
            last_fetched_epoch: None,
            log_start_offset: None,
            partition_max_bytes: 1,
        };
        let forget = |partition: &i32| ForgottenPartition { topic: TopicRef::Name("t"), partition: *partition };
        FetchView {
            replica_id: None,
            replica_epoch: -1,
            max_wait_ms: 0,
            min_bytes: 0,
            max_bytes: 1,
            isolation_level: IsolationLevel::ReadUncommitted,
            session_id: id,
            session_epoch: epoch,
            partitions: partitions.iter().map(partition).collect(),
            forgotten: forgotten.iter().map(forget).collect(),
            rack_id: "",
        }
    }

    fn fetched(begun: Begun) -> (Membership, Vec<i32>) {
        match begun {
            Begun::Fetch(membership, wanted) => (membership, wanted.iter().map(|wanted| wanted.partition).collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_session_remembers_adds_and_forgets() {
        let mut sessions = FetchSessions::new(ShardId(3), 10);
        let now = Instant(0);
        let (first, asked) = fetched(sessions.begin(&view(0, 0, &[0, 1, 2], &[]), now));
        assert_eq!((first.incremental, asked), (false, vec![0, 1, 2]));
        assert_eq!(shard_of(first.id), ShardId(3));
        let (second, asked) = fetched(sessions.begin(&view(first.id, 1, &[5], &[1]), now));
        assert_eq!((second.incremental, asked), (true, vec![2, 5, 0]));
        assert!(matches!(
            sessions.begin(&view(first.id, 1, &[], &[]), now),
            Begun::Refused(ErrorCode::InvalidFetchSessionEpoch)
        ));
        let (closed, asked) = fetched(sessions.begin(&view(first.id, -1, &[7], &[]), now));
        assert_eq!((closed.id, asked), (0, vec![7]));
        assert!(matches!(
            sessions.begin(&view(first.id, 2, &[], &[]), now),
            Begun::Refused(ErrorCode::FetchSessionIdNotFound)
        ));
        assert_eq!(sessions.partition_count, 0);
    }

    #[test]
    fn only_what_changed_is_news() {
        let mut sessions = FetchSessions::new(ShardId(0), 10);
        let begun = sessions.begin(&view(0, 0, &[0], &[]), Instant(0));
        let Begun::Fetch(first, wanted) = begun else { panic!("{begun:?}") };
        let mut tell = |membership, offset: u64, records| {
            sessions.is_news(membership, &wanted[0], Some(Offset::new(offset)), Some(Offset::ZERO), false, records)
        };
        assert!(tell(first, 1, false));
        let later = Membership { incremental: true, ..first };
        assert!(!tell(later, 1, false));
        assert!(tell(later, 1, true));
        assert!(tell(later, 2, false));
        assert!(!tell(later, 2, false));
    }

    #[test]
    fn sessions_are_bounded_and_idle_ones_make_room() {
        let mut sessions = FetchSessions::new(ShardId(0), 1);
        let (first, _) = fetched(sessions.begin(&view(0, 0, &[0], &[]), Instant(0)));
        assert_ne!(first.id, 0);
        let (refused, _) = fetched(sessions.begin(&view(0, 0, &[0], &[]), Instant(0).plus_ms(1000)));
        assert_eq!(refused.id, 0);
        let (again, _) = fetched(sessions.begin(&view(0, 0, &[0], &[]), Instant(0).plus_ms(120_000)));
        assert_ne!(again.id, 0);
    }
}
