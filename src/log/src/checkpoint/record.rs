//! What a checkpoint says of one log. Byte layout in `FORMATS.md`.
//! Owns the encoding. Never touches a file.

use std::ops::Range;
use std::sync::Arc;

use model::{Offset, Timestamp, TopicPartition, Uuid};

use crate::age::Age;
use crate::index::Place;
use crate::journal::entry::{Slice, place, put_place};
use crate::journal::frame::Fields;
use crate::knowledge::Knowledge;
use crate::segment::Segment;

/// A segment as a checkpoint states it. Times are -1 where they are not known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentRecord {
    pub(crate) base: Offset,
    /// The offset after it, and its length.
    pub(crate) end: Place,
    /// What retention counts from, see `age.rs`.
    pub(crate) first_time: Timestamp,
    pub(crate) largest_time: Timestamp,
    /// The largest that a record states.
    pub(crate) max_timestamp: Timestamp,
}

impl SegmentRecord {
    pub(crate) fn of(segment: &Segment) -> SegmentRecord {
        SegmentRecord {
            base: segment.base,
            end: segment.end,
            first_time: segment.age.first,
            largest_time: segment.age.largest,
            max_timestamp: segment.known_max_timestamp().unwrap_or(Timestamp::NONE),
        }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        out.extend(self.base.to_wire().to_be_bytes());
        put_place(out, self.end);
        for time in [self.first_time, self.largest_time, self.max_timestamp] {
            out.extend(time.0.to_be_bytes());
        }
    }

    fn decode(fields: &mut Fields<'_>) -> Option<SegmentRecord> {
        let (base, end) = (fields.offset()?, place(fields)?);
        let (first_time, largest_time) = (Timestamp(fields.i64()?), Timestamp(fields.i64()?));
        let max_timestamp = Timestamp(fields.i64()?);
        Some(SegmentRecord { base, end, first_time, largest_time, max_timestamp })
    }

    /// The segment as a start has it.
    pub(crate) fn segment(&self) -> Segment {
        let mut segment = Segment::found(self.base, self.end);
        segment.age = Age::known(self.first_time, self.largest_time);
        segment.max_timestamp = (self.max_timestamp != Timestamp::NONE).then_some(self.max_timestamp);
        segment
    }
}

/// One log as it was.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) at: TopicPartition,
    /// Its directory and `partition.metadata` are there.
    pub(crate) has_directory: bool,
    /// The last segment's file holds all of it and nothing else.
    pub(crate) is_trimmed: bool,
    /// The first record that is not deleted.
    pub(crate) start: Offset,
    /// Closed segments, in order.
    pub(crate) closed: Vec<SegmentRecord>,
    /// The segment after them: whole blocks of its batches are in the file, the rest is `tail`.
    pub(crate) last: SegmentRecord,
    /// Everything before was compacted.
    pub(crate) compacted_to: Offset,
    pub(crate) tail: Tail,
    /// Of every batch before the end of the last segment.
    pub(crate) knowledge: Knowledge,
}

/// The last, partial block's bytes.
#[derive(Clone, Debug)]
pub(crate) enum Tail {
    Own(Vec<u8>),
    Read(Slice),
}

impl std::ops::Deref for Tail {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Tail::Own(bytes) => bytes,
            Tail::Read(slice) => slice,
        }
    }
}

impl Record {
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.push(RECORD);
        out.extend(self.at.topic.0);
        out.extend(self.at.partition.to_be_bytes());
        out.push(u8::from(self.has_directory) | u8::from(self.is_trimmed) << 1);
        out.extend(self.start.to_wire().to_be_bytes());
        out.extend(count(self.closed.len()).to_be_bytes());
        self.closed.iter().chain([&self.last]).for_each(|segment| segment.encode(out));
        out.extend(self.compacted_to.to_wire().to_be_bytes());
        out.extend(count(self.tail.len()).to_be_bytes());
        out.extend_from_slice(&self.tail);
        let knowledge = self.knowledge.encode();
        out.extend(count(knowledge.len()).to_be_bytes());
        out.extend(knowledge);
    }
}

/// The records of a frame's body; `None` if it says what this build does not understand.
pub(crate) fn records(file: &Arc<Vec<u8>>, body: Range<usize>) -> Option<Vec<Record>> {
    let mut fields = Fields(file.get(body.clone())?);
    let mut records = Vec::new();
    while !fields.0.is_empty() {
        if fields.u8()? != RECORD {
            return None;
        }
        let at = TopicPartition { topic: Uuid(fields.array()?), partition: fields.u32()? };
        let flags = fields.u8()?;
        let (has_directory, is_trimmed) = (flags & 1 != 0, flags & 2 != 0);
        let start = fields.offset()?;
        let mut closed = Vec::new();
        for _ in 0..fields.u32()? {
            closed.push(SegmentRecord::decode(&mut fields)?);
        }
        let last = SegmentRecord::decode(&mut fields)?;
        let compacted_to = fields.offset()?;
        let len = usize::try_from(fields.u32()?).ok()?;
        let from = body.end - fields.0.len();
        fields.bytes(len)?;
        let tail = Tail::Read(Slice { file: file.clone(), range: from..from + len });
        let len = usize::try_from(fields.u32()?).ok()?;
        let knowledge = Knowledge::decode(fields.bytes(len)?)?;
        let record = Record { at, has_directory, is_trimmed, start, closed, last, compacted_to, tail, knowledge };
        records.push(record.check()?);
    }
    Some(records)
}

impl Record {
    /// What the rest of the room takes for granted.
    fn check(self) -> Option<Self> {
        let ordered = self.closed.iter().zip(self.closed.iter().skip(1)).all(|(a, b)| a.end.offset == b.base)
            && self.closed.iter().all(|segment| segment.base <= segment.end.offset && in_reach(segment.end))
            && self.closed.last().is_none_or(|last| last.end.offset == self.last.base);
        let SegmentRecord { base, end, .. } = self.last;
        let tail = usize::try_from(end.position % crate::segment::BLOCK).ok()?;
        let fits = base <= end.offset && in_reach(end) && self.tail.len() == tail;
        (ordered && fits).then_some(self)
    }
}

/// Whether an index can say it.
fn in_reach(end: Place) -> bool {
    end.position <= u64::from(u32::MAX)
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("a record is far smaller than 4 GiB")
}

const RECORD: u8 = 16;
