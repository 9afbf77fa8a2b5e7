//! Requests into answers. Knows topics by name and how many records each partition was sent.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use model::{ErrorCode, Offset};
use record::BatchView;
use wire::api_versions::{ApiVersion, ApiVersionsResponse};
use wire::create_topics::{CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse};
use wire::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use wire::{
    ApiKey, Malformed, ProducePartitionResponse, ProduceResponseWriter, ProduceView, Reader, RequestHeader, Requested,
    TopicRef, api_versions_unsupported, response_frame,
};

/// What a request gets.
pub(crate) enum Answer {
    Now(Vec<u8>),
    /// Once everything that was copied is on the disk.
    WhenWritten(Vec<u8>),
}

/// What answers are made of.
pub(crate) struct Answers {
    address: SocketAddr,
    partition_count: usize,
    /// The next offset of each partition.
    topics: BTreeMap<String, Vec<u64>>,
}

impl Answers {
    pub(crate) fn new(address: SocketAddr, partition_count: usize) -> Answers {
        Answers { address, partition_count, topics: BTreeMap::new() }
    }

    /// Reads a request; good batches go to `copy`. An error is a client that has to go.
    pub(crate) fn request(&mut self, frame: &[u8], copy: impl FnMut(&[u8])) -> Result<Answer, Malformed> {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader)?;
        let id = header.correlation_id;
        let (key, version) = match header.requested {
            Requested::Served { key, version } => (key, version),
            Requested::ApiVersionsUnsupported => {
                let answer = api_versions_unsupported();
                return Ok(Answer::Now(response_frame(ApiKey::ApiVersions, 0, id, |it| answer.encode(it, 0))));
            }
            Requested::Refused { .. } => return Err(Malformed { at: 0, what: "an API that is not served" }),
        };
        let frame = match key {
            ApiKey::Produce => return self.produce(frame.get(reader.position()..).unwrap_or(&[]), version, id, copy),
            ApiKey::ApiVersions => response_frame(key, version, id, |it| api_versions().encode(it, version)),
            ApiKey::Metadata => {
                let answer = self.metadata(&MetadataRequest::decode(&mut reader, version)?);
                response_frame(key, version, id, |it| answer.encode(it, version))
            }
            ApiKey::CreateTopics => {
                let answer = self.create(&CreateTopicsRequest::decode(&mut reader, version)?);
                response_frame(key, version, id, |it| answer.encode(it, version))
            }
            _ => return Err(Malformed { at: 0, what: "an API that is not served here" }),
        };
        Ok(Answer::Now(frame))
    }

    fn produce(
        &mut self,
        body: &[u8],
        version: i16,
        correlation_id: i32,
        mut copy: impl FnMut(&[u8]),
    ) -> Result<Answer, Malformed> {
        let view = ProduceView::parse(body, version)?;
        let mut writer = ProduceResponseWriter::new(version, correlation_id, view.topic_count());
        for topic in view.topics() {
            writer.topic(topic.topic, topic.partition_count);
            for partition in topic.partitions() {
                let records = partition.records.and_then(|range| body.get(range)).unwrap_or(&[]);
                let outcome = self.append(topic.topic, partition.index, records, &mut copy);
                writer.partition(&ProducePartitionResponse {
                    index: partition.index,
                    error_code: outcome.err().unwrap_or(ErrorCode::None),
                    base_offset: outcome.ok(),
                    log_append_time_ms: None,
                    log_start_offset: None,
                    record_errors: &[],
                    error_message: None,
                    current_leader: None,
                });
            }
        }
        let answer = writer.finish(0, &[]);
        Ok(match view.acks {
            0 => Answer::WhenWritten(Vec::new()),
            _ => Answer::WhenWritten(answer),
        })
    }

    fn append(
        &mut self,
        topic: TopicRef<'_>,
        partition: i32,
        records: &[u8],
        copy: &mut impl FnMut(&[u8]),
    ) -> Result<Offset, ErrorCode> {
        let TopicRef::Name(name) = topic else { return Err(ErrorCode::UnknownTopicId) };
        let ends = self.topics.get_mut(name).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let end = usize::try_from(partition).ok().and_then(|partition| ends.get_mut(partition));
        let end = end.ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let batch = BatchView::only(records).map_err(|_| ErrorCode::CorruptMessage)?;
        copy(records);
        let base_offset = Offset::new(*end);
        *end += u64::from(batch.header().record_count);
        Ok(base_offset)
    }

    fn metadata(&mut self, request: &MetadataRequest<'_>) -> MetadataResponse<'static> {
        for topic in request.topics.iter().flatten().filter_map(|topic| topic.name.as_deref()) {
            self.topics.entry(topic.into()).or_insert_with(|| vec![0; self.partition_count]);
        }
        let asked = |name: &str| match &request.topics {
            None => true,
            Some(topics) => topics.iter().any(|topic| topic.name.as_deref() == Some(name)),
        };
        let partition = |index: usize| MetadataResponsePartition {
            partition_index: i32::try_from(index).unwrap_or(i32::MAX),
            leader_id: NODE,
            leader_epoch: 0,
            replica_nodes: vec![NODE],
            isr_nodes: vec![NODE],
            ..Default::default()
        };
        let topic = |(name, ends): (&String, &Vec<u64>)| MetadataResponseTopic {
            name: Some(name.clone().into()),
            partitions: (0..ends.len()).map(partition).collect(),
            ..Default::default()
        };
        MetadataResponse {
            brokers: vec![MetadataResponseBroker {
                node_id: NODE,
                host: self.address.ip().to_string().into(),
                port: i32::from(self.address.port()),
                ..Default::default()
            }],
            cluster_id: Some("floor".into()),
            controller_id: NODE,
            topics: self.topics.iter().filter(|(name, _)| asked(name)).map(topic).collect(),
            ..Default::default()
        }
    }

    fn create(&mut self, request: &CreateTopicsRequest<'_>) -> CreateTopicsResponse<'static> {
        let mut create = |name: &str, count: i32| {
            let count = usize::try_from(count).map_or(self.partition_count, |count| count.min(PARTITIONS_MAX));
            self.topics.insert(name.into(), vec![0; count]);
            CreatableTopicResult {
                name: name.to_owned().into(),
                num_partitions: i32::try_from(count).unwrap_or(i32::MAX),
                replication_factor: 1,
                ..Default::default()
            }
        };
        let topics = request.topics.iter().map(|topic| create(&topic.name, topic.num_partitions)).collect();
        CreateTopicsResponse { topics, ..Default::default() }
    }
}

fn api_versions() -> ApiVersionsResponse<'static> {
    let served = [
        (ApiKey::Produce, PRODUCE_MAX),
        // Not answered: librdkafka makes batches of format 2 only where it is there.
        (ApiKey::Fetch, FETCH_SHOWN),
        (ApiKey::Metadata, ApiKey::Metadata.api().max),
        (ApiKey::ApiVersions, ApiKey::ApiVersions.api().max),
        (ApiKey::CreateTopics, ApiKey::CreateTopics.api().max),
    ];
    let row = |(key, max_version): (ApiKey, i16)| ApiVersion {
        api_key: key.to_wire(),
        min_version: key.api().advertised_min,
        max_version,
    };
    ApiVersionsResponse { api_keys: served.map(row).to_vec(), ..Default::default() }
}

const NODE: i32 = 1;
/// The last one before topics go by id and before transactions change it.
const PRODUCE_MAX: i16 = 11;
const FETCH_SHOWN: i16 = 4;
const PARTITIONS_MAX: usize = 100_000;
