//! A frame: what journals and checkpoints are made of. Byte layout in `FORMATS.md` beside the room's sources.
//! Owns the head's encoding and the finding of whole frames in a file's bytes. Never knows what a body says.
//! Invariant: a frame counts only if the checksums of its head and of its body hold, and its run is one that this data
//! directory has had: the salt, drawn anew for each run, keeps bytes of an earlier run, and bytes that a producer made
//! up, from being taken for frames.

use std::ops::Range;

use crate::segment::BLOCK;

/// One life of the broker on a data directory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Run {
    /// Counts up from 1.
    pub number: u64,
    /// Drawn at random.
    pub salt: u64,
}

/// What a file of frames is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Journal,
    Checkpoint,
}

/// What stands before a frame's body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) run: Run,
    /// Counts up from 1, in a lane's journal of one run, or in one checkpoint file.
    pub(crate) sequence: u64,
    /// The checksum of the head of the frame before it; 0 if there is none.
    pub(crate) previous: u32,
    /// Of a checkpoint: the first frame of this run's journal that it does not stand for. Of a journal's: all that was
    /// written directly beside frames before this one is durable.
    pub(crate) keep: u64,
    /// Of a checkpoint: this frame is its last.
    pub(crate) last: bool,
    pub(crate) body_bytes: u32,
    pub(crate) body_crc: u32,
}

/// Why there is no frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoFrame {
    /// Something else, or not whole.
    Torn,
    /// A frame's magic with a version that this build does not know.
    Version(u16),
}

impl Head {
    /// The bytes, and the checksum by which the next frame names this one.
    pub(crate) fn encode(&self) -> ([u8; HEAD_BYTES], u32) {
        let mut head = Vec::with_capacity(HEAD_BYTES);
        head.extend(MAGIC);
        head.extend(VERSION.to_be_bytes());
        head.push(match self.kind {
            Kind::Journal => JOURNAL,
            Kind::Checkpoint => CHECKPOINT,
        });
        head.push(u8::from(self.last));
        head.extend(self.run.number.to_be_bytes());
        head.extend(self.run.salt.to_be_bytes());
        head.extend(self.sequence.to_be_bytes());
        head.extend(self.keep.to_be_bytes());
        head.extend(self.previous.to_be_bytes());
        head.extend(self.body_bytes.to_be_bytes());
        head.extend(self.body_crc.to_be_bytes());
        head.resize(CRC_AT, 0);
        let crc = crc(&head);
        head.extend(crc.to_be_bytes());
        (head.try_into().expect("its fields fill the head"), crc)
    }

    /// Reads a head back, with its checksum.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Head, u32), NoFrame> {
        let mut fields = Fields(bytes.get(..HEAD_BYTES).ok_or(NoFrame::Torn)?);
        if fields.array::<4>() != Some(MAGIC) {
            return Err(NoFrame::Torn);
        }
        let version = fields.u16().ok_or(NoFrame::Torn)?;
        if version != VERSION {
            return Err(NoFrame::Version(version));
        }
        let stated = bytes.get(CRC_AT..HEAD_BYTES).and_then(|crc| Fields(crc).u32()).ok_or(NoFrame::Torn)?;
        let known = bytes.get(..CRC_AT).ok_or(NoFrame::Torn)?;
        if crc(known) != stated {
            return Err(NoFrame::Torn);
        }
        let head = (|| {
            let kind = match fields.u8()? {
                JOURNAL => Kind::Journal,
                CHECKPOINT => Kind::Checkpoint,
                _ => return None,
            };
            let last = fields.u8()? == 1;
            let run = Run { number: fields.u64()?, salt: fields.u64()? };
            let (sequence, keep) = (fields.u64()?, fields.u64()?);
            let (previous, body_bytes, body_crc) = (fields.u32()?, fields.u32()?, fields.u32()?);
            Some(Head { kind, run, sequence, previous, keep, last, body_bytes, body_crc })
        })();
        Ok((head.ok_or(NoFrame::Torn)?, stated))
    }
}

/// A whole frame in a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Found {
    pub(crate) head: Head,
    /// The checksum of its head.
    pub(crate) crc: u32,
    /// Where it begins.
    pub(crate) position: u64,
    /// Its body, in the file's bytes.
    pub(crate) body: Range<usize>,
}

impl Found {
    /// Where the next frame begins.
    pub(crate) fn end(&self) -> u64 {
        (self.body.end as u64).next_multiple_of(BLOCK)
    }
}

/// Every whole frame of the runs given, in the order in which they lie in the file. An unknown version at the file's
/// beginning refuses all of it; elsewhere it is no frame.
pub(crate) fn frames(bytes: &[u8], runs: &[Run]) -> Result<Vec<Found>, NoFrame> {
    let mut found: Vec<Found> = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        match frame_at(bytes, at, runs) {
            Ok(frame) => {
                at = usize::try_from(frame.end()).map_err(|_| NoFrame::Torn)?;
                found.push(frame);
            }
            Err(NoFrame::Version(version)) if at == 0 => return Err(NoFrame::Version(version)),
            Err(_) => at += BLOCK as usize,
        }
    }
    Ok(found)
}

fn frame_at(bytes: &[u8], at: usize, runs: &[Run]) -> Result<Found, NoFrame> {
    let rest = bytes.get(at..).ok_or(NoFrame::Torn)?;
    let (head, crc) = Head::decode(rest)?;
    let body_bytes = usize::try_from(head.body_bytes).map_err(|_| NoFrame::Torn)?;
    let body = rest.get(HEAD_BYTES..).and_then(|rest| rest.get(..body_bytes)).ok_or(NoFrame::Torn)?;
    if !runs.contains(&head.run) || self::crc(body) != head.body_crc {
        return Err(NoFrame::Torn);
    }
    let start = at + HEAD_BYTES;
    Ok(Found { head, crc, position: at as u64, body: start..start + body_bytes })
}

/// Fields off the front, integers big-endian; `None` beyond the end.
pub(crate) struct Fields<'a>(pub(crate) &'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    /// So many bytes as they are.
    pub(crate) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (field, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(field)
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn i16(&mut self) -> Option<i16> {
        self.array().map(i16::from_be_bytes)
    }

    pub(crate) fn i32(&mut self) -> Option<i32> {
        self.array().map(i32::from_be_bytes)
    }

    pub(crate) fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_be_bytes)
    }

    pub(crate) fn offset(&mut self) -> Option<model::Offset> {
        self.i64().and_then(model::Offset::from_wire)
    }
}

/// CRC-32C.
pub(crate) fn crc(bytes: &[u8]) -> u32 {
    narrow(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
}

/// CRC-32C of parts that follow each other.
pub(crate) fn crc_of<'a>(parts: impl Iterator<Item = &'a [u8]>) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    parts.for_each(|part| digest.update(part));
    narrow(digest.finalize())
}

fn narrow(sum: u64) -> u32 {
    u32::try_from(sum).expect("a 32-bit checksum fits 32 bits")
}

pub(crate) const HEAD_BYTES: usize = 64;
const CRC_AT: usize = HEAD_BYTES - 4;
pub(crate) const MAGIC: [u8; 4] = *b"CLJF";
const VERSION: u16 = 1;
const JOURNAL: u8 = 1;
const CHECKPOINT: u8 = 2;

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run = Run { number: 3, salt: 77 };

    fn frame(sequence: u64, body: &[u8]) -> Vec<u8> {
        let body_bytes = u32::try_from(body.len()).expect("small");
        let body_crc = crc(body);
        let head =
            Head { kind: Kind::Journal, run: RUN, sequence, previous: 5, keep: 0, last: false, body_bytes, body_crc };
        let mut bytes = head.encode().0.to_vec();
        bytes.extend(body);
        bytes.resize(bytes.len().next_multiple_of(4096), 0);
        bytes
    }

    fn sequences(bytes: &[u8]) -> Vec<u64> {
        frames(bytes, &[RUN]).expect("known version").iter().map(|found| found.head.sequence).collect()
    }

    #[test]
    fn whole_frames_are_found_behind_a_broken_one() {
        let mut file = frame(1, b"one");
        file.extend(frame(2, &[7; 5000]));
        file.extend(frame(3, b"three"));
        assert_eq!(sequences(&file), [1, 2, 3]);
        file[4096 + 3000] ^= 1;
        assert_eq!(sequences(&file), [1, 3]);
        file[30] ^= 1;
        assert_eq!(sequences(&file), [3]);
    }

    #[test]
    fn what_a_producer_put_into_a_body_is_no_frame() {
        let mut forged = frame(9, b"forged");
        forged.splice(0..0, vec![0; 4096 - HEAD_BYTES]);
        let file = frame(1, &forged);
        assert_eq!(sequences(&file), [1]);
        // Even where the outer frame is torn, one of another run does not count.
        let mut torn = file.clone();
        torn[70] ^= 1;
        let other = Run { number: 3, salt: 78 };
        assert_eq!(frames(&torn, &[other]).expect("known version"), []);
    }

    #[test]
    fn an_unknown_version_is_refused_by_number() {
        let mut file = frame(1, b"one");
        file[5] = 9;
        assert_eq!(frames(&file, &[RUN]), Err(NoFrame::Version(9)));
    }

    #[test]
    fn no_cut_or_flipped_head_is_believed() {
        let file = frame(1, b"one");
        for cut in 0..67 {
            assert_eq!(frames(&file[..cut], &[RUN]), Ok(vec![]));
        }
        for at in (0..67).filter(|at| *at != 4 && *at != 5) {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert_eq!(frames(&flipped, &[RUN]), Ok(vec![]), "{at}");
        }
    }
}
