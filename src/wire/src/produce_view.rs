//! A produce request read in place: no allocation, records as ranges of the body.
//! Invariant: a `ProduceView` exists only over a body that was walked to its end, so walking it again cannot fail.

use std::ops::Range;

use crate::{ApiKey, Malformed, Reader, TopicRef};

/// A produce request, versions 3 to 13.
#[derive(Clone, Debug)]
pub struct ProduceView<'a> {
    /// Set by a transactional producer.
    pub transactional_id: Option<&'a str>,
    /// 0, 1 or -1 for all; anything else is as the client sent it.
    pub acks: i16,
    /// How long the client waits for all in-sync replicas.
    pub timeout_ms: i32,
    topics: Reader<'a>,
    topic_count: usize,
    partition_count: usize,
    version: i16,
}

/// The part of a produce request that goes to one topic.
#[derive(Clone, Debug)]
pub struct ProduceTopic<'a> {
    /// Which one.
    pub topic: TopicRef<'a>,
    /// How many partitions follow.
    pub partition_count: usize,
    partitions: Reader<'a>,
    flexible: bool,
}

/// The part of a produce request that goes to one partition.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducePartition {
    /// As the client sent it; may be negative.
    pub index: i32,
    /// Where the record batches lie in the body; `None` for null.
    pub records: Option<Range<usize>>,
}

impl<'a> ProduceView<'a> {
    /// Walks a whole body, which begins where the header ended.
    pub fn parse(body: &'a [u8], version: i16) -> Result<ProduceView<'a>, Malformed> {
        assert!(ApiKey::Produce.api().serves(version));
        let flexible = version >= FLEXIBLE_FROM;
        let mut reader = Reader::new(body);
        let transactional_id = reader.nullable_string(flexible)?;
        let acks = reader.i16()?;
        let timeout_ms = reader.i32()?;
        let topic_count = reader.array_count(flexible)?;
        let topics = reader.clone();
        let mut partition_count = 0;
        for _ in 0..topic_count {
            let topic = ProduceTopic::decode(&mut reader, version)?;
            for _ in 0..topic.partition_count {
                ProducePartition::decode(&mut reader, flexible)?;
            }
            partition_count += topic.partition_count;
            end_of_struct(&mut reader, flexible)?;
        }
        end_of_struct(&mut reader, flexible)?;
        Ok(ProduceView { transactional_id, acks, timeout_ms, topics, topic_count, partition_count, version })
    }

    /// How many topics there are.
    pub fn topic_count(&self) -> usize {
        self.topic_count
    }

    /// How many partitions there are in all topics.
    pub fn partition_count(&self) -> usize {
        self.partition_count
    }

    /// The topics in the request's order; the same topic may come twice.
    pub fn topics(&self) -> impl Iterator<Item = ProduceTopic<'a>> + use<'a> {
        let (version, flexible) = (self.version, self.version >= FLEXIBLE_FROM);
        let mut reader = self.topics.clone();
        (0..self.topic_count).map(move |_| {
            let topic = ProduceTopic::decode(&mut reader, version).expect(WALKED);
            // The partitions must be passed to reach the next topic; their iterator has a reader of its own.
            for _ in 0..topic.partition_count {
                ProducePartition::decode(&mut reader, flexible).expect(WALKED);
            }
            end_of_struct(&mut reader, flexible).expect(WALKED);
            topic
        })
    }

    /// Every partition with its topic, in the request's order.
    pub fn partitions(&self) -> impl Iterator<Item = (TopicRef<'a>, ProducePartition)> + use<'a> {
        let (version, flexible) = (self.version, self.version >= FLEXIBLE_FROM);
        let mut reader = self.topics.clone();
        let mut topics_left = self.topic_count;
        let mut partitions_left = 0;
        let mut topic = None;
        std::iter::from_fn(move || {
            while partitions_left == 0 {
                if topic.is_some() {
                    end_of_struct(&mut reader, flexible).expect(WALKED);
                }
                topics_left = usize::checked_sub(topics_left, 1)?;
                let next = ProduceTopic::decode(&mut reader, version).expect(WALKED);
                partitions_left = next.partition_count;
                topic = Some(next.topic);
            }
            partitions_left -= 1;
            Some((topic?, ProducePartition::decode(&mut reader, flexible).expect(WALKED)))
        })
    }
}

impl<'a> ProduceTopic<'a> {
    /// The partitions in the request's order.
    pub fn partitions(&self) -> impl Iterator<Item = ProducePartition> + use<'a> {
        let (mut reader, flexible) = (self.partitions.clone(), self.flexible);
        (0..self.partition_count).map(move |_| ProducePartition::decode(&mut reader, flexible).expect(WALKED))
    }

    /// Leaves `reader` at the first partition.
    #[inline]
    fn decode(reader: &mut Reader<'a>, version: i16) -> Result<ProduceTopic<'a>, Malformed> {
        let flexible = version >= FLEXIBLE_FROM;
        let topic = TopicRef::decode(reader, version, flexible)?;
        let partition_count = reader.array_count(flexible)?;
        Ok(ProduceTopic { topic, partition_count, partitions: reader.clone(), flexible })
    }
}

impl ProducePartition {
    #[inline]
    fn decode(reader: &mut Reader<'_>, flexible: bool) -> Result<ProducePartition, Malformed> {
        let index = reader.i32()?;
        let records = reader.nullable_bytes(flexible)?;
        let records = records.map(|records| reader.position() - records.len()..reader.position());
        end_of_struct(reader, flexible)?;
        Ok(ProducePartition { index, records })
    }
}

#[inline]
fn end_of_struct(reader: &mut Reader<'_>, flexible: bool) -> Result<(), Malformed> {
    if flexible { reader.skip_tags() } else { Ok(()) }
}

pub(crate) const FLEXIBLE_FROM: i16 = 9;

/// Why a second walk cannot fail.
const WALKED: &str = "parse walked this body to its end";
