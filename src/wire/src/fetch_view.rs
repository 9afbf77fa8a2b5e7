//! A fetch request read into one flat list of partitions, versions 4 to 18.
//! Invariant: the list is no longer than the body's bytes allow.

use model::{LeaderEpoch, NodeId, Offset};

use crate::{ApiKey, Malformed, Reader, TopicRef};

/// A fetch request.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FetchView<'a> {
    /// The follower that fetches; `None` for a consumer.
    pub replica_id: Option<NodeId>,
    /// The follower's epoch, -1 if it told none.
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How much must be there to answer at once.
    pub min_bytes: i32,
    /// How much to answer at most.
    pub max_bytes: i32,
    /// Whether undecided transactions are seen.
    pub isolation_level: IsolationLevel,
    /// 0 for none.
    pub session_id: i32,
    /// 0 opens a session, -1 closes it or asks for none.
    pub session_epoch: i32,
    /// What is asked for (in a session: what is added or changed).
    pub partitions: Vec<FetchPartition<'a>>,
    /// What leaves the session.
    pub forgotten: Vec<ForgottenPartition<'a>>,
    /// The client's rack, empty if it told none.
    pub rack_id: &'a str,
}

/// What a consumer sees of transactions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum IsolationLevel {
    /// Everything up to the high watermark.
    ReadUncommitted,
    /// Up to the last stable offset.
    ReadCommitted,
}

/// A partition to read from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FetchPartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// As the client sent it; may be negative.
    pub partition: i32,
    /// The epoch that the client knows.
    pub current_leader_epoch: Option<LeaderEpoch>,
    /// Where to read; `None` if the client sent a negative offset.
    pub fetch_offset: Option<Offset>,
    /// The epoch of the last record that the client holds.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Where a follower's log begins.
    pub log_start_offset: Option<Offset>,
    /// How much to answer at most.
    pub partition_max_bytes: i32,
}

/// A partition that leaves the session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ForgottenPartition<'a> {
    /// Its topic.
    pub topic: TopicRef<'a>,
    /// As the client sent it.
    pub partition: i32,
}

impl<'a> FetchView<'a> {
    /// Reads a whole body, which begins where the header ended.
    pub fn parse(body: &'a [u8], version: i16) -> Result<FetchView<'a>, Malformed> {
        assert!(ApiKey::Fetch.api().serves(version));
        let flexible = version >= FLEXIBLE_FROM;
        let reader = &mut Reader::new(body);
        let mut replica_id = if version <= 14 { reader.i32()? } else { -1 };
        let mut replica_epoch = -1;
        let max_wait_ms = reader.i32()?;
        let min_bytes = reader.i32()?;
        let max_bytes = reader.i32()?;
        let isolation_level = IsolationLevel::decode(reader)?;
        let (session_id, session_epoch) = if version >= 7 { (reader.i32()?, reader.i32()?) } else { (0, -1) };
        let partitions = partitions(reader, version, flexible)?;
        let forgotten = if version >= 7 { forgotten(reader, version, flexible)? } else { Vec::new() };
        let rack_id = if version >= 11 { reader.string(flexible)? } else { "" };
        if flexible {
            reader.tags(|tag, field| {
                match tag {
                    REPLICA_STATE_TAG if version >= 15 => {
                        replica_id = field.i32()?;
                        replica_epoch = field.i64()?;
                        field.skip_tags()?;
                    }
                    _ => field.skip_rest(),
                }
                Ok(())
            })?;
        }
        Ok(FetchView {
            replica_id: (replica_id >= 0).then_some(NodeId(replica_id)),
            replica_epoch,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            session_id,
            session_epoch,
            partitions,
            forgotten,
            rack_id,
        })
    }
}

impl IsolationLevel {
    fn decode(reader: &mut Reader<'_>) -> Result<IsolationLevel, Malformed> {
        match reader.i8()? {
            0 => Ok(IsolationLevel::ReadUncommitted),
            1 => Ok(IsolationLevel::ReadCommitted),
            _ => Err(reader.malformed("an unknown isolation level")),
        }
    }
}

fn partitions<'a>(reader: &mut Reader<'a>, version: i16, flexible: bool) -> Result<Vec<FetchPartition<'a>>, Malformed> {
    let mut out = Vec::new();
    for _ in 0..reader.array_count(flexible)? {
        let topic = TopicRef::decode(reader, version, flexible)?;
        let count = reader.array_count(flexible)?;
        // Each takes at least 16 bytes of the body, so the count alone cannot ask for much more than its size.
        out.reserve(count.min(reader.remaining() / PARTITION_BYTES_MIN));
        for _ in 0..count {
            out.push(partition(reader, version, flexible, topic)?);
        }
        if flexible {
            reader.skip_tags()?;
        }
    }
    Ok(out)
}

#[inline]
fn partition<'a>(
    reader: &mut Reader<'a>,
    version: i16,
    flexible: bool,
    topic: TopicRef<'a>,
) -> Result<FetchPartition<'a>, Malformed> {
    let partition = reader.i32()?;
    let current_leader_epoch = if version >= 9 { reader.i32()? } else { -1 };
    let fetch_offset = reader.i64()?;
    let last_fetched_epoch = if version >= 12 { reader.i32()? } else { -1 };
    let log_start_offset = if version >= 5 { reader.i64()? } else { -1 };
    let partition_max_bytes = reader.i32()?;
    if flexible {
        // A follower's directory id and high watermark come here; nothing uses them yet.
        reader.skip_tags()?;
    }
    Ok(FetchPartition {
        topic,
        partition,
        current_leader_epoch: LeaderEpoch::from_wire(current_leader_epoch),
        fetch_offset: Offset::from_wire(fetch_offset),
        last_fetched_epoch: LeaderEpoch::from_wire(last_fetched_epoch),
        log_start_offset: Offset::from_wire(log_start_offset),
        partition_max_bytes,
    })
}

fn forgotten<'a>(
    reader: &mut Reader<'a>,
    version: i16,
    flexible: bool,
) -> Result<Vec<ForgottenPartition<'a>>, Malformed> {
    let mut out = Vec::new();
    for _ in 0..reader.array_count(flexible)? {
        let topic = TopicRef::decode(reader, version, flexible)?;
        for _ in 0..reader.array_count(flexible)? {
            out.push(ForgottenPartition { topic, partition: reader.i32()? });
        }
        if flexible {
            reader.skip_tags()?;
        }
    }
    Ok(out)
}

pub(crate) const FLEXIBLE_FROM: i16 = 12;

const REPLICA_STATE_TAG: u32 = 1;

/// Partition, offset and size in version 4; later versions only add.
const PARTITION_BYTES_MIN: usize = 4 + 8 + 4;
