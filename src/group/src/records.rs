//! The records of the offsets topic, in Kafka's form: two bytes of kind before a key, two of version before a value.
//! What is written: OffsetCommitValue 4 (with the topic's id; 1 where an old client set an expiry) and
//! GroupMetadataValue 3. What is read: all versions that Kafka ever wrote, but for those with unknown kinds of key,
//! which are other kinds of groups.

use std::sync::Arc;

use model::{LeaderEpoch, Timestamp, Uuid};
use wire::{Malformed, Reader, Tags, Writer};

use crate::face::Committed;

/// One record to append; without a value it says that something is gone.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Record {
    /// What it is about.
    pub key: Vec<u8>,
    /// What holds from now on.
    pub value: Option<Vec<u8>>,
}

/// A record that no Kafka could have written.
pub type BadRecord = Malformed;

/// What a record is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Key<'a> {
    Offset {
        group: &'a str,
        topic: &'a str,
        partition: i32,
    },
    Group {
        group: &'a str,
    },
    /// Of another kind of group.
    Foreign,
}

/// A group as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredGroup {
    pub(crate) protocol_type: Arc<str>,
    pub(crate) generation: i32,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) members: Vec<StoredMember>,
}

/// A member as it is written down.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct StoredMember {
    pub(crate) id: Arc<str>,
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) rebalance_timeout_ms: i32,
    pub(crate) session_timeout_ms: i32,
    pub(crate) subscription: Arc<[u8]>,
    pub(crate) assignment: Arc<[u8]>,
}

pub(crate) fn offset_key(group: &str, topic: &str, partition: i32) -> Vec<u8> {
    let mut writer = Writer::with_capacity(16 + group.len() + topic.len());
    writer.i16(OFFSET);
    writer.string(false, group);
    writer.string(false, topic);
    writer.i32(partition);
    writer.into_bytes()
}

pub(crate) fn group_key(group: &str) -> Vec<u8> {
    let mut writer = Writer::with_capacity(4 + group.len());
    writer.i16(GROUP);
    writer.string(false, group);
    writer.into_bytes()
}

pub(crate) fn offset_tombstone(group: &str, topic: &str, partition: i32) -> Record {
    Record { key: offset_key(group, topic, partition), value: None }
}

pub(crate) fn offset_record(group: &str, topic: &str, partition: i32, committed: &Committed) -> Record {
    Record { key: offset_key(group, topic, partition), value: Some(offset_value(committed)) }
}

fn offset_value(committed: &Committed) -> Vec<u8> {
    let mut writer = Writer::with_capacity(64 + committed.metadata.len());
    if let Some(expires) = committed.expires {
        writer.i16(1);
        writer.i64(committed.offset);
        writer.string(false, &committed.metadata);
        writer.i64(committed.at.0);
        writer.i64(expires.0);
        return writer.into_bytes();
    }
    writer.i16(4);
    writer.i64(committed.offset);
    writer.i32(committed.leader_epoch.map_or(-1, LeaderEpoch::to_wire));
    writer.string(true, &committed.metadata);
    writer.i64(committed.at.0);
    if committed.topic_id.is_zero() {
        writer.no_tags();
    } else {
        let mut tags = Tags::default();
        tags.add(0, |writer| writer.uuid(committed.topic_id));
        writer.tags(&tags);
    }
    writer.into_bytes()
}

pub(crate) fn group_record(group: &str, stored: &StoredGroup) -> Record {
    let mut writer = Writer::with_capacity(256);
    writer.i16(3);
    writer.string(false, &stored.protocol_type);
    writer.i32(stored.generation);
    writer.nullable_string(false, stored.protocol.as_deref());
    writer.nullable_string(false, stored.leader.as_deref());
    writer.i64(stored.since.map_or(-1, |since| since.0));
    writer.array(false, &stored.members, |writer, member| {
        writer.string(false, &member.id);
        writer.nullable_string(false, member.instance_id.as_deref());
        writer.string(false, &member.client_id);
        writer.string(false, &member.client_host);
        writer.i32(member.rebalance_timeout_ms);
        writer.i32(member.session_timeout_ms);
        writer.bytes(false, &member.subscription);
        writer.bytes(false, &member.assignment);
    });
    Record { key: group_key(group), value: Some(writer.into_bytes()) }
}

pub(crate) fn read_key(bytes: &[u8]) -> Result<Key<'_>, BadRecord> {
    let mut reader = Reader::new(bytes);
    let key = match reader.i16()? {
        0 | OFFSET => {
            let (group, topic) = (reader.string(false)?, reader.string(false)?);
            Key::Offset { group, topic, partition: reader.i32()? }
        }
        GROUP => Key::Group { group: reader.string(false)? },
        _ => return Ok(Key::Foreign),
    };
    reader.finish()?;
    Ok(key)
}

pub(crate) fn read_offset(bytes: &[u8]) -> Result<Committed, BadRecord> {
    let mut reader = Reader::new(bytes);
    let version = version(&mut reader)?;
    let flexible = version >= 4;
    let offset = reader.i64()?;
    let leader_epoch = if version >= 3 { LeaderEpoch::from_wire(reader.i32()?) } else { None };
    let metadata = reader.string(flexible)?.into();
    let at = Timestamp(reader.i64()?);
    let expires = if version == 1 { Some(Timestamp(reader.i64()?)).filter(|expires| expires.0 >= 0) } else { None };
    let mut topic_id = Uuid::ZERO;
    if flexible {
        reader.tags(|tag, field| {
            match tag {
                0 => topic_id = field.uuid()?,
                _ => field.skip_rest(),
            }
            Ok(())
        })?;
    }
    reader.finish()?;
    Ok(Committed { topic_id, offset, leader_epoch, metadata, at, expires })
}

pub(crate) fn read_group(bytes: &[u8]) -> Result<StoredGroup, BadRecord> {
    let mut reader = Reader::new(bytes);
    let version = version(&mut reader)?;
    let flexible = version >= 4;
    let protocol_type = reader.string(flexible)?.into();
    let generation = reader.i32()?;
    let protocol = reader.nullable_string(flexible)?.map(Arc::from);
    let leader = reader.nullable_string(flexible)?.map(Arc::from);
    let since = if version >= 2 { Some(Timestamp(reader.i64()?)).filter(|since| since.0 >= 0) } else { None };
    let members = reader.array(flexible, |reader| {
        let id = reader.string(flexible)?.into();
        let instance_id = if version >= 3 { reader.nullable_string(flexible)?.map(Arc::from) } else { None };
        let client_id = reader.string(flexible)?.into();
        let client_host = reader.string(flexible)?.into();
        let rebalance_timeout_ms = if version >= 1 { reader.i32()? } else { -1 };
        let session_timeout_ms = reader.i32()?;
        let subscription = reader.bytes(flexible)?.into();
        let assignment = reader.bytes(flexible)?.into();
        if flexible {
            reader.skip_tags()?;
        }
        Ok(StoredMember {
            id,
            instance_id,
            client_id,
            client_host,
            rebalance_timeout_ms: if rebalance_timeout_ms < 0 { session_timeout_ms } else { rebalance_timeout_ms },
            session_timeout_ms,
            subscription,
            assignment,
        })
    })?;
    if flexible {
        reader.skip_tags()?;
    }
    reader.finish()?;
    Ok(StoredGroup { protocol_type, generation, protocol, leader, since, members })
}

fn version(reader: &mut Reader<'_>) -> Result<i16, BadRecord> {
    match reader.i16()? {
        version @ 0..=4 => Ok(version),
        _ => Err(reader.malformed("a version of a coordinator's record that is not known")),
    }
}

/// Kinds of key. 0 is the oldest form of an offset's, the same but for its number.
const OFFSET: i16 = 1;
const GROUP: i16 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    fn committed() -> Committed {
        Committed {
            topic_id: Uuid([7; 16]),
            offset: 42,
            leader_epoch: Some(LeaderEpoch(3)),
            metadata: "m".into(),
            at: Timestamp(1000),
            expires: None,
        }
    }

    #[test]
    fn offsets_are_written_and_read_as_kafkas() {
        let record = offset_record("g", "t", 5, &committed());
        assert_eq!(record.key, [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 5]);
        let value = record.value.expect("not a tombstone");
        let mut expected = vec![0, 4, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 3, 2, b'm'];
        expected.extend([0, 0, 0, 0, 0, 0, 3, 232, 1, 0, 16]);
        expected.extend([7; 16]);
        assert_eq!(value, expected);
        assert_eq!(read_offset(&value), Ok(committed()));
        assert_eq!(read_key(&record.key), Ok(Key::Offset { group: "g", topic: "t", partition: 5 }));
        let old = Committed { topic_id: Uuid::ZERO, leader_epoch: None, expires: Some(Timestamp(2000)), ..committed() };
        assert_eq!(read_offset(&offset_value(&old)), Ok(old));
    }

    #[test]
    fn older_versions_are_read() {
        let value = [0, 2, 0, 0, 0, 0, 0, 0, 0, 42, 0, 0, 0, 0, 0, 0, 0, 0, 3, 232];
        let old = read_offset(&value).expect("version 2");
        assert_eq!((old.offset, &*old.metadata, old.at, old.leader_epoch), (42, "", Timestamp(1000), None));
        let group = [0, 0, 0, 1, b'c', 0, 0, 0, 9, 255, 255, 255, 255, 0, 0, 0, 0];
        let old = read_group(&group).expect("version 0");
        assert_eq!((&*old.protocol_type, old.generation, old.since), ("c", 9, None));
    }

    #[test]
    fn groups_come_back_and_nothing_shorter_does() {
        let member = StoredMember {
            id: "m".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/h".into(),
            rebalance_timeout_ms: 5,
            session_timeout_ms: 6,
            subscription: [1, 2].as_slice().into(),
            assignment: [3].as_slice().into(),
        };
        let stored = StoredGroup {
            protocol_type: "consumer".into(),
            generation: 4,
            protocol: Some("range".into()),
            leader: Some("m".into()),
            since: Some(Timestamp(9)),
            members: vec![member],
        };
        let record = group_record("g", &stored);
        assert_eq!(read_key(&record.key), Ok(Key::Group { group: "g" }));
        let value = record.value.expect("not a tombstone");
        assert_eq!(read_group(&value), Ok(stored));
        for len in 0..value.len() {
            assert!(read_group(&value[..len]).is_err(), "cut at {len}");
        }
        assert_eq!(read_key(&[0, 3, 9]), Ok(Key::Foreign));
        assert!(read_key(&[0, 2, 0]).is_err());
    }
}
