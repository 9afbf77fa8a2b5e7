//! The producer snapshot: what a partition knew when a segment began, so that a start scans only that segment.
//!
//! `<base offset, 20 digits>.snapshot`, padded with zeros to whole blocks, integers big-endian:
//! magic "CLPS", version u16, reserved u16, payload length u32, CRC-32C of the payload u32, payload:
//! max timestamp i64, its batch's base offset i64; epochs: count u32, (epoch i32, first offset i64)*;
//! producers: count u32, (id i64, epoch i16, batches u8, (base sequence i32, last sequence i32, base offset i64,
//! last offset i64, timestamp i64)*)*.
//! Owns the format. Never touches a file. Nothing that a disk gives back is believed without the checksum.

use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::producers::{Known, Producers, REMEMBERED_MAX, Remembered};

/// What a partition knows besides its batches.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Knowledge {
    pub(crate) producers: Producers,
    /// Each leadership with the first offset appended under it.
    pub(crate) leader_epochs: Vec<(LeaderEpoch, Offset)>,
    /// The largest timestamp, and the base offset of the first batch that has it.
    pub(crate) max_timestamp: Timestamp,
    pub(crate) max_timestamp_at: Offset,
}

impl Default for Knowledge {
    fn default() -> Self {
        Knowledge {
            producers: Producers::default(),
            leader_epochs: Vec::new(),
            max_timestamp: Timestamp::NONE,
            max_timestamp_at: Offset::ZERO,
        }
    }
}

/// Why a snapshot is of no use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Unusable {
    /// Not whole: an older one, or none, does as well.
    Torn,
    /// Of a version that this build does not know.
    Version(u16),
}

impl Knowledge {
    /// Takes in one batch.
    pub(crate) fn absorb(&mut self, header: &record::Header, wall: Option<Timestamp>, producers_max: usize) {
        self.producers.remember(header, wall, producers_max);
        if header.max_timestamp > self.max_timestamp {
            self.max_timestamp = header.max_timestamp;
            self.max_timestamp_at = header.base_offset;
        }
        if let Some(epoch) = header.partition_leader_epoch
            && self.leader_epochs.last().is_none_or(|(last, _)| *last < epoch)
        {
            self.leader_epochs.push((epoch, header.base_offset));
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = Vec::new();
        payload.extend(self.max_timestamp.0.to_be_bytes());
        payload.extend(self.max_timestamp_at.to_wire().to_be_bytes());
        payload.extend(length(self.leader_epochs.len()).to_be_bytes());
        for (epoch, first) in &self.leader_epochs {
            payload.extend(epoch.to_wire().to_be_bytes());
            payload.extend(first.to_wire().to_be_bytes());
        }
        payload.extend(length(self.producers.by_id.len()).to_be_bytes());
        for (id, producer) in &self.producers.by_id {
            payload.extend(id.0.to_be_bytes());
            payload.extend(producer.epoch.0.to_be_bytes());
            payload.push(u8::try_from(producer.batches.len()).expect("at most five"));
            for batch in &producer.batches {
                payload.extend(batch.base_sequence.to_be_bytes());
                payload.extend(batch.last_sequence.to_be_bytes());
                payload.extend(batch.base_offset.to_wire().to_be_bytes());
                payload.extend(batch.last_offset.to_wire().to_be_bytes());
                payload.extend(batch.timestamp.0.to_be_bytes());
            }
        }
        let mut file = Vec::with_capacity(HEAD_BYTES + payload.len());
        file.extend(MAGIC);
        file.extend(VERSION.to_be_bytes());
        file.extend([0; 2]);
        file.extend(length(payload.len()).to_be_bytes());
        file.extend(crc(&payload).to_be_bytes());
        file.extend(payload);
        file
    }

    pub(crate) fn decode(file: &[u8]) -> Result<Knowledge, Unusable> {
        let mut head = Reader(file);
        if head.take::<4>() != Some(MAGIC) {
            return Err(Unusable::Torn);
        }
        let version = head.u16().ok_or(Unusable::Torn)?;
        if version != VERSION {
            return Err(Unusable::Version(version));
        }
        let payload = (|| {
            head.u16()?;
            let length = usize::try_from(head.u32()?).ok()?;
            let stated = head.u32()?;
            let payload = head.0.get(..length)?;
            (crc(payload) == stated).then_some(payload)
        })();
        payload.and_then(Knowledge::decode_payload).ok_or(Unusable::Torn)
    }

    pub(crate) fn decode_payload(payload: &[u8]) -> Option<Knowledge> {
        let mut reader = Reader(payload);
        let mut knowledge = Knowledge {
            max_timestamp: Timestamp(reader.i64()?),
            max_timestamp_at: reader.offset()?,
            ..Knowledge::default()
        };
        for _ in 0..reader.u32()? {
            knowledge.leader_epochs.push((LeaderEpoch::from_wire(reader.i32()?)?, reader.offset()?));
        }
        for _ in 0..reader.u32()? {
            let id = ProducerId(reader.i64()?);
            let mut producer = Known { epoch: ProducerEpoch(reader.i16()?), batches: Default::default(), seen: None };
            let [count] = reader.take::<1>()?;
            if usize::from(count) > REMEMBERED_MAX {
                return None;
            }
            for _ in 0..count {
                producer.batches.push_back(Remembered {
                    base_sequence: reader.i32()?,
                    last_sequence: reader.i32()?,
                    base_offset: reader.offset()?,
                    last_offset: reader.offset()?,
                    timestamp: Timestamp(reader.i64()?),
                });
            }
            knowledge.producers.by_id.insert(id, producer);
        }
        Some(knowledge)
    }
}

/// Fields off the front; a loop over a count ends with the bytes.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn i64(&mut self) -> Option<i64> {
        self.take().map(i64::from_be_bytes)
    }

    fn offset(&mut self) -> Option<Offset> {
        self.i64().and_then(Offset::from_wire)
    }
}

fn crc(bytes: &[u8]) -> u32 {
    let sum = crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes);
    u32::try_from(sum).expect("a 32-bit checksum fits 32 bits")
}

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("a snapshot is far smaller than 4 GiB")
}

const MAGIC: [u8; 4] = *b"CLPS";
const VERSION: u16 = 1;
const HEAD_BYTES: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Knowledge {
        let mut knowledge = Knowledge { max_timestamp: Timestamp(7), ..Knowledge::default() };
        knowledge.leader_epochs.push((LeaderEpoch(3), Offset::new(10)));
        let batch = Remembered {
            base_sequence: 5,
            last_sequence: 9,
            base_offset: Offset::new(10),
            last_offset: Offset::new(14),
            timestamp: Timestamp(7),
        };
        let producer = Known { epoch: ProducerEpoch(2), batches: [batch].into(), seen: None };
        knowledge.producers.by_id.insert(ProducerId(42), producer);
        knowledge
    }

    #[test]
    fn what_was_written_is_read_back_through_padding() {
        let mut file = sample().encode();
        file.resize(4096, 0);
        assert_eq!(Knowledge::decode(&file), Ok(sample()));
    }

    #[test]
    fn no_cut_or_flipped_file_is_believed() {
        let file = sample().encode();
        for cut in 0..file.len() {
            assert_eq!(Knowledge::decode(&file[..cut]), Err(Unusable::Torn));
        }
        for at in 16..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 1;
            assert_eq!(Knowledge::decode(&flipped), Err(Unusable::Torn));
        }
    }

    #[test]
    fn an_unknown_version_is_refused_by_number() {
        let mut file = sample().encode();
        file[5] = 9;
        assert_eq!(Knowledge::decode(&file), Err(Unusable::Version(9)));
    }
}
