//! What Produce and Fetch share: how a topic is named, and who leads a partition.

use model::{LeaderEpoch, NodeId, TopicId};

use crate::{Malformed, Reader, Writer};

/// A topic as the request names it: by name, or by id from version 13 of both APIs on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum TopicRef<'a> {
    /// Up to version 12.
    Name(&'a str),
    /// From version 13.
    Id(TopicId),
}

/// Where a partition's leader is, told to a client that asked the wrong node.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CurrentLeader {
    /// The leader.
    pub leader_id: NodeId,
    /// Its epoch.
    pub leader_epoch: LeaderEpoch,
}

/// From here on topics go by id, in Produce and in Fetch.
pub(crate) const TOPIC_IDS_FROM: i16 = 13;

impl<'a> TopicRef<'a> {
    #[inline]
    pub(crate) fn decode(reader: &mut Reader<'a>, version: i16, flexible: bool) -> Result<TopicRef<'a>, Malformed> {
        if version >= TOPIC_IDS_FROM {
            Ok(TopicRef::Id(reader.uuid()?))
        } else {
            Ok(TopicRef::Name(reader.string(flexible)?))
        }
    }

    /// Panics where the version cannot carry this form: the answer to a request has the request's form.
    pub(crate) fn encode(self, writer: &mut Writer, version: i16, flexible: bool) {
        match self {
            TopicRef::Id(id) => {
                assert!(version >= TOPIC_IDS_FROM);
                writer.uuid(id);
            }
            TopicRef::Name(name) => {
                assert!(version < TOPIC_IDS_FROM);
                writer.string(flexible, name);
            }
        }
    }
}

impl CurrentLeader {
    /// As both APIs carry it inside a tagged field.
    pub(crate) fn encode(self, writer: &mut Writer) {
        writer.i32(self.leader_id.0);
        writer.i32(self.leader_epoch.to_wire());
        writer.no_tags();
    }
}
