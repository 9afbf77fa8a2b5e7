//! What a journal's frame says: an entry for each change of a log, in order. Byte layout in `FORMATS.md`.
//! Owns the encoding. Never knows whether an entry is durable, or what a log makes of it.

use std::ops::Range;
use std::sync::Arc;

use effect::Buf;
use model::{Offset, TopicPartition, Uuid};

use crate::index::Place;
use crate::journal::frame::{Fields, crc_of};

/// Bytes of a file that was read whole.
#[derive(Clone, Debug)]
pub(crate) struct Slice {
    pub(crate) file: Arc<Vec<u8>>,
    pub(crate) range: Range<usize>,
}

impl std::ops::Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.file[self.range.clone()]
    }
}

/// One change of a log.
#[derive(Clone, Debug)]
pub(crate) enum Entry {
    /// Batches, which go on where the log ended, or begin the segment at `base`.
    Batches { base: Offset, position: u32, bytes: Slice },
    /// Batches that were written to their segment, whole blocks of it, while this frame was; the rest is here. A later
    /// frame may say that the write was over: then it was acknowledged.
    Direct { base: Offset, end: Place, tail: Slice, is_over: bool },
    /// Records before this offset are deleted.
    Start { offset: Offset },
    /// A later run found the log's end here and went on.
    Resume { base: Offset, end: Place },
}

/// A frame's body while it is gathered: entries, whose batches are lent by their chunks.
#[derive(Debug, Default)]
pub(crate) struct Body {
    own: Vec<u8>,
    parts: Vec<Part>,
    bytes: usize,
}

#[derive(Debug)]
enum Part {
    Own(Range<usize>),
    Lent(Buf),
}

impl Body {
    pub(crate) fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The parts in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.parts.iter().map(|part| match part {
            Part::Own(range) => &self.own[range.clone()],
            Part::Lent(buf) => &buf[..],
        })
    }

    pub(crate) fn crc(&self) -> u32 {
        crc_of(self.parts())
    }

    pub(crate) fn batches(&mut self, at: TopicPartition, base: Offset, position: u32, bytes: Vec<Buf>) {
        self.head(BATCHES, at, |own| {
            own.extend(base.to_wire().to_be_bytes());
            own.extend(position.to_be_bytes());
            own.extend(sum(&bytes).to_be_bytes());
        });
        bytes.into_iter().for_each(|part| self.lend(part));
    }

    pub(crate) fn direct(&mut self, at: TopicPartition, base: Offset, end: Place, tail: Vec<Buf>) {
        self.head(DIRECT, at, |own| {
            own.extend(base.to_wire().to_be_bytes());
            put_place(own, end);
            own.extend(sum(&tail).to_be_bytes());
        });
        tail.into_iter().for_each(|part| self.lend(part));
    }

    pub(crate) fn start(&mut self, at: TopicPartition, offset: Offset) {
        self.head(START, at, |own| own.extend(offset.to_wire().to_be_bytes()));
    }

    pub(crate) fn resume(&mut self, at: TopicPartition, base: Offset, end: Place) {
        self.head(RESUME, at, |own| {
            own.extend(base.to_wire().to_be_bytes());
            put_place(own, end);
        });
    }

    fn head(&mut self, kind: u8, at: TopicPartition, fields: impl FnOnce(&mut Vec<u8>)) {
        let from = self.own.len();
        self.own.push(kind);
        self.own.extend(at.topic.0);
        self.own.extend(at.partition.to_be_bytes());
        fields(&mut self.own);
        let to = self.own.len();
        self.bytes += to - from;
        match self.parts.last_mut() {
            Some(Part::Own(last)) => last.end = to,
            _ => self.parts.push(Part::Own(from..to)),
        }
    }

    fn lend(&mut self, part: Buf) {
        self.bytes += part.len();
        self.parts.push(Part::Lent(part));
    }
}

/// The entries of a body; `None` if it says what this build does not understand, which a whole frame never does.
pub(crate) fn entries(file: &Arc<Vec<u8>>, body: Range<usize>) -> Option<Vec<(TopicPartition, Entry)>> {
    let mut fields = Fields(file.get(body.clone())?);
    let mut entries = Vec::new();
    while !fields.0.is_empty() {
        let kind = fields.u8()?;
        let at = TopicPartition { topic: Uuid(fields.array()?), partition: fields.u32()? };
        let slice = |fields: &mut Fields<'_>| {
            let len = usize::try_from(fields.u32()?).ok()?;
            let start = body.end - fields.0.len();
            fields.bytes(len)?;
            Some(Slice { file: file.clone(), range: start..start + len })
        };
        let entry = match kind {
            BATCHES => {
                let (base, position) = (fields.offset()?, fields.u32()?);
                Entry::Batches { base, position, bytes: slice(&mut fields)? }
            }
            DIRECT => {
                let (base, end) = (fields.offset()?, place(&mut fields)?);
                Entry::Direct { base, end, tail: slice(&mut fields)?, is_over: false }
            }
            START => Entry::Start { offset: fields.offset()? },
            RESUME => Entry::Resume { base: fields.offset()?, end: place(&mut fields)? },
            _ => return None,
        };
        entries.push((at, entry));
    }
    Some(entries)
}

pub(crate) fn put_place(own: &mut Vec<u8>, place: Place) {
    own.extend(place.offset.to_wire().to_be_bytes());
    own.extend(place.position.to_be_bytes());
}

pub(crate) fn place(fields: &mut Fields<'_>) -> Option<Place> {
    Some(Place { offset: fields.offset()?, position: fields.u64()? })
}

fn sum(parts: &[Buf]) -> u32 {
    count(parts.iter().map(|part| part.len()).sum())
}

fn count(count: usize) -> u32 {
    u32::try_from(count).expect("a frame is far smaller than 4 GiB")
}

/// The bytes of an entry besides its batches, at most.
pub(crate) const ENTRY_HEAD_BYTES: usize = 64;

const BATCHES: u8 = 1;
const DIRECT: u8 = 2;
const START: u8 = 3;
const RESUME: u8 = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_gathered_is_read_back() {
        let at = TopicPartition { topic: Uuid([4; 16]), partition: 9 };
        let place = Place { offset: Offset::new(12), position: 5000 };
        let mut body = Body::default();
        body.resume(at, Offset::new(3), place);
        body.batches(at, Offset::new(3), 77, vec![Buf::EMPTY]);
        body.direct(at, Offset::new(3), place, vec![]);
        body.start(at, Offset::new(5));
        let bytes: Vec<u8> = body.parts().flatten().copied().collect();
        assert_eq!(bytes.len(), body.bytes());
        let len = bytes.len();
        let file = Arc::new(bytes);
        let read = entries(&file, 0..len).expect("whole");
        assert!(read.iter().all(|(partition, _)| *partition == at));
        let text = format!("{:?}", read.iter().map(|(_, entry)| entry).collect::<Vec<_>>());
        assert!(text.contains("position: 77"), "{text}");
        assert!(matches!(&read[3].1, Entry::Start { offset } if offset.get() == 5));
        for cut in 1..len {
            assert!(entries(&file, 0..cut).is_none_or(|read| read.len() < 4));
        }
    }
}
