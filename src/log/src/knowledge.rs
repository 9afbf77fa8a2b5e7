//! What a partition knows besides its batches, and how a checkpoint says it.
//!
//! Integers big-endian: version u8; max timestamp i64, its batch's base offset i64; epochs: count u32, (epoch i32, first
//! offset i64)*; producers: count u32, (id i64, epoch i16, batches u8, (base sequence i32, last sequence i32, base offset
//! i64, last offset i64, timestamp i64)*)*.
//! Owns the encoding. Never touches a file; whoever does has verified a checksum.

use model::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};

use crate::journal::frame::Fields;
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

    /// What was known when `end` was the end, and `max` the largest timestamp with its offset: of a producer that is
    /// at its limit a little less, and all of that was acknowledged long ago.
    pub(crate) fn before(&self, end: Offset, max: (Timestamp, Offset)) -> Knowledge {
        let (max_timestamp, max_timestamp_at) = max;
        let leader_epochs = self.leader_epochs.iter().filter(|(_, first)| *first < end).copied().collect();
        Knowledge { producers: self.producers.before(end), leader_epochs, max_timestamp, max_timestamp_at }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut payload = vec![VERSION];
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
        payload
    }

    /// `None` if it is of another version, or not whole.
    pub(crate) fn decode(payload: &[u8]) -> Option<Knowledge> {
        let mut reader = Fields(payload);
        if reader.u8()? != VERSION {
            return None;
        }
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
            let count = reader.u8()?;
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

fn length(count: usize) -> u32 {
    u32::try_from(count).expect("a snapshot is far smaller than 4 GiB")
}

const VERSION: u8 = 1;

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
    fn what_was_written_is_read_back_and_no_cut_is() {
        let payload = sample().encode();
        assert_eq!(Knowledge::decode(&payload), Some(sample()));
        for cut in 0..payload.len() {
            assert_eq!(Knowledge::decode(&payload[..cut]), None);
        }
        let mut other = payload.clone();
        other[0] = 9;
        assert_eq!(Knowledge::decode(&other), None);
    }
}
