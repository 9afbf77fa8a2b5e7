//! The hand-written Produce and Fetch against the generated messages and an independent codec.

use bytes::Bytes;
use kafka_protocol::messages::{self as theirs, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use model::{ErrorCode, LeaderEpoch, NodeId, Offset, Timestamp, Uuid};
use wire::*;

const NAME: &str = "events";
const ID: Uuid = Uuid([9; 16]);

fn topic(version: i16) -> TopicRef<'static> {
    if version >= 13 { TopicRef::Id(ID) } else { TopicRef::Name(NAME) }
}

fn their_name(version: i16) -> TopicName {
    if version >= 13 { TopicName::default() } else { StrBytes::from_static_str(NAME).into() }
}

fn encoded(body: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = bytes::BytesMut::new();
    body.encode(&mut out, version).expect("they write");
    out.to_vec()
}

/// The other codec's reading of a response frame of ours.
fn decoded<T: Decodable>(frame: &[u8], key: ApiKey, version: i16) -> T {
    assert_eq!(split(frame, usize::MAX), Ok(Split::Whole(4..frame.len())));
    let mut reader = Reader::new(&frame[4..]);
    assert_eq!(ResponseHeader::decode(&mut reader, key, version), Ok(ResponseHeader { correlation_id: 77 }));
    let mut body = Bytes::copy_from_slice(reader.rest());
    let read = T::decode(&mut body, version).expect("they read ours");
    assert!(body.is_empty());
    read
}

#[test]
fn produce_view_reads_what_another_codec_writes() {
    for version in 3..=13 {
        let partition = |index, records: Option<&'static [u8]>| {
            let records = records.map(Bytes::from_static);
            theirs::produce_request::PartitionProduceData::default().with_index(index).with_records(records)
        };
        let topic_data = |partitions| {
            let topic = theirs::produce_request::TopicProduceData::default()
                .with_name(their_name(version))
                .with_partition_data(partitions);
            if version >= 13 { topic.with_topic_id(uuid(ID)) } else { topic }
        };
        let request = theirs::ProduceRequest::default()
            .with_transactional_id(Some(StrBytes::from_static_str("tx").into()))
            .with_acks(-1)
            .with_timeout_ms(1500)
            .with_topic_data(vec![
                topic_data(vec![partition(3, Some(b"first")), partition(4, None)]),
                topic_data(vec![]),
                topic_data(vec![partition(5, Some(b"")), partition(6, Some(b"last"))]),
            ]);
        let body = encoded(&request, version);
        let view = ProduceView::parse(&body, version).expect("well formed");
        assert_eq!((view.transactional_id, view.acks, view.timeout_ms), (Some("tx"), -1, 1500));
        assert_eq!((view.topic_count(), view.partition_count()), (3, 4));

        let records = |partition: &ProducePartition| partition.records.clone().map(|range| &body[range]);
        let flat: Vec<_> = view.partitions().map(|(topic, each)| (topic, each.index, records(&each))).collect();
        let expected = [(3, Some(&b"first"[..])), (4, None), (5, Some(&b""[..])), (6, Some(&b"last"[..]))];
        assert_eq!(flat, expected.map(|(index, records)| (topic(version), index, records)));

        let nested: Vec<_> = view
            .topics()
            .flat_map(|topic| topic.partitions().map(move |each| (topic.topic, each)).collect::<Vec<_>>())
            .map(|(topic, each)| (topic, each.index, records(&each)))
            .collect();
        assert_eq!(nested, flat);
        let counts: Vec<_> = view.topics().map(|topic| topic.partition_count).collect();
        assert_eq!(counts, [2, 0, 2]);

        for len in 0..body.len() {
            assert!(ProduceView::parse(&body[..len], version).is_err());
        }
    }
}

#[test]
fn produce_response_is_what_another_codec_reads() {
    for version in 3..=13 {
        let errors = [RecordError { batch_index: 4, message: Some("too old".into()) }];
        let mut writer = ProduceResponseWriter::new(version, 77, 2);
        writer.topic(topic(version), 2);
        writer.partition(&ProducePartitionResponse {
            index: 1,
            error_code: ErrorCode::None,
            base_offset: Some(Offset::new(10)),
            log_append_time_ms: Some(Timestamp(11)),
            log_start_offset: Some(Offset::new(12)),
            record_errors: &[],
            error_message: None,
            current_leader: None,
        });
        writer.partition(&ProducePartitionResponse {
            index: 2,
            error_code: ErrorCode::NotLeaderOrFollower,
            base_offset: None,
            log_append_time_ms: None,
            log_start_offset: None,
            record_errors: &errors,
            error_message: Some("elsewhere"),
            current_leader: Some(CurrentLeader { leader_id: NodeId(5), leader_epoch: LeaderEpoch(6) }),
        });
        writer.topic(topic(version), 0);
        let endpoint = produce::NodeEndpoint { node_id: 5, host: "host".into(), port: 9092, rack: None };
        let frame = writer.finish(13, &[endpoint]);

        let read: theirs::ProduceResponse = decoded(&frame, ApiKey::Produce, version);
        assert_eq!(read.throttle_time_ms, 13);
        assert_eq!(read.node_endpoints.len(), usize::from(version >= 10));
        assert_eq!(read.responses.len(), 2);
        assert_eq!(read.responses[0].name, their_name(version));
        assert_eq!(read.responses[0].topic_id, if version >= 13 { uuid(ID) } else { uuid(Uuid::ZERO) });
        assert!(read.responses[1].partition_responses.is_empty());
        let [good, bad] = &read.responses[0].partition_responses[..] else { panic!("two partitions") };
        assert_eq!((good.index, good.error_code, good.base_offset, good.log_append_time_ms), (1, 0, 10, 11));
        assert_eq!(good.log_start_offset, if version >= 5 { 12 } else { -1 });
        assert_eq!((bad.index, bad.error_code, bad.base_offset, bad.log_append_time_ms), (2, 6, -1, -1));
        if version >= 8 {
            assert_eq!(bad.error_message.as_deref(), Some("elsewhere"));
            assert_eq!(bad.record_errors[0].batch_index, 4);
            assert_eq!(bad.record_errors[0].batch_index_error_message.as_deref(), Some("too old"));
        }
        let leader = if version >= 10 { (5, 6) } else { (-1, -1) };
        assert_eq!((bad.current_leader.leader_id.0, bad.current_leader.leader_epoch), leader);
    }
}

#[test]
fn fetch_view_reads_what_another_codec_writes() {
    for version in 4..=18 {
        let mut partition = theirs::fetch_request::FetchPartition::default()
            .with_partition(3)
            .with_fetch_offset(30)
            .with_partition_max_bytes(31);
        partition.current_leader_epoch = if version >= 9 { 32 } else { -1 };
        partition.last_fetched_epoch = if version >= 12 { 33 } else { -1 };
        partition.log_start_offset = if version >= 5 { 34 } else { -1 };
        if version >= 18 {
            partition.high_watermark = 35;
        }
        let mut asked = theirs::fetch_request::FetchTopic::default()
            .with_topic(their_name(version))
            .with_partitions(vec![partition.clone(), partition.with_partition(4).with_fetch_offset(-1)]);
        let mut forgotten = theirs::fetch_request::ForgottenTopic::default()
            .with_topic(their_name(version))
            .with_partitions(vec![5, 6]);
        if version >= 13 {
            (asked.topic_id, forgotten.topic_id) = (uuid(ID), uuid(ID));
        }
        let mut request = theirs::FetchRequest::default()
            .with_max_wait_ms(1)
            .with_min_bytes(2)
            .with_max_bytes(3)
            .with_isolation_level(1)
            .with_topics(vec![asked]);
        if version >= 15 {
            request.replica_state.replica_id = 8.into();
            request.replica_state.replica_epoch = 9;
        } else {
            request.replica_id = 8.into();
        }
        if version >= 7 {
            request.session_id = 10;
            request.session_epoch = 11;
            request.forgotten_topics_data = vec![forgotten];
        }
        if version >= 11 {
            request.rack_id = StrBytes::from_static_str("rack");
        }
        let body = encoded(&request, version);

        let view = FetchView::parse(&body, version).expect("well formed");
        let first = FetchPartition {
            topic: topic(version),
            partition: 3,
            current_leader_epoch: (version >= 9).then_some(LeaderEpoch(32)),
            fetch_offset: Some(Offset::new(30)),
            last_fetched_epoch: (version >= 12).then_some(LeaderEpoch(33)),
            log_start_offset: (version >= 5).then_some(Offset::new(34)),
            partition_max_bytes: 31,
        };
        let second = FetchPartition { partition: 4, fetch_offset: None, ..first };
        let leaves = |partition| ForgottenPartition { topic: topic(version), partition };
        let in_session = version >= 7;
        let expected = FetchView {
            replica_id: Some(NodeId(8)),
            replica_epoch: if version >= 15 { 9 } else { -1 },
            max_wait_ms: 1,
            min_bytes: 2,
            max_bytes: 3,
            isolation_level: IsolationLevel::ReadCommitted,
            session_id: if in_session { 10 } else { 0 },
            session_epoch: if in_session { 11 } else { -1 },
            partitions: vec![first, second],
            forgotten: if in_session { vec![leaves(5), leaves(6)] } else { vec![] },
            rack_id: if version >= 11 { "rack" } else { "" },
        };
        assert_eq!(view, expected, "version {version}");
        for len in 0..body.len() {
            assert!(FetchView::parse(&body[..len], version).is_err());
        }
    }
}

#[test]
fn a_consumer_has_no_replica_id() {
    for version in 4..=18 {
        let body = encoded(&theirs::FetchRequest::default(), version);
        let view = FetchView::parse(&body, version).expect("well formed");
        assert_eq!(view.replica_id, None);
        assert_eq!(view.isolation_level, IsolationLevel::ReadUncommitted);
    }
}

/// Puts the records where the response wants them.
fn spliced(response: &FetchResponse, records: &[&[u8]]) -> Vec<u8> {
    assert_eq!(response.splices.len(), records.len());
    let mut frame = Vec::new();
    let mut at = 0;
    for (splice, records) in response.splices.iter().zip(records) {
        assert_eq!(splice.records_bytes, records.len());
        frame.extend(&response.bytes[at..splice.at]);
        frame.extend(*records);
        at = splice.at;
    }
    frame.extend(&response.bytes[at..]);
    assert_eq!(frame.len(), response.total_bytes());
    frame
}

#[test]
fn fetch_response_around_its_records_is_what_another_codec_reads() {
    for version in 4..=18 {
        let aborted = [fetch::AbortedTransaction { producer_id: 40, first_offset: 41 }];
        let head = FetchPartitionHead {
            partition: 1,
            error_code: ErrorCode::None,
            high_watermark: Some(Offset::new(10)),
            last_stable_offset: Some(Offset::new(11)),
            log_start_offset: Some(Offset::new(12)),
            diverging_epoch: None,
            current_leader: None,
            aborted_transactions: Some(&aborted),
            preferred_read_replica: Some(NodeId(13)),
            records_bytes: 5,
        };
        let empty = FetchPartitionHead {
            partition: 2,
            error_code: ErrorCode::FencedLeaderEpoch,
            high_watermark: None,
            last_stable_offset: None,
            log_start_offset: None,
            diverging_epoch: Some(DivergingEpoch { epoch: LeaderEpoch(14), end_offset: Offset::new(15) }),
            current_leader: Some(CurrentLeader { leader_id: NodeId(16), leader_epoch: LeaderEpoch(17) }),
            aborted_transactions: None,
            preferred_read_replica: None,
            records_bytes: 0,
        };
        let last =
            FetchPartitionHead { partition: 3, aborted_transactions: Some(&[]), records_bytes: 300, ..head.clone() };
        let mut writer = FetchResponseWriter::new(version, 77, 18, ErrorCode::None, 19, 2);
        writer.topic(topic(version), 2);
        writer.partition(&head);
        writer.partition(&empty);
        writer.topic(topic(version), 1);
        writer.partition(&last);
        let endpoint = fetch::NodeEndpoint { node_id: 16, host: "host".into(), port: 9092, rack: Some("r".into()) };
        let response = writer.finish(&[endpoint]);
        let large = [7; 300];
        let frame = spliced(&response, &[b"first", &large]);

        let read: theirs::FetchResponse = decoded(&frame, ApiKey::Fetch, version);
        assert_eq!(read.throttle_time_ms, 18);
        assert_eq!(read.session_id, if version >= 7 { 19 } else { 0 });
        assert_eq!(read.node_endpoints.len(), usize::from(version >= 16));
        assert_eq!(read.responses[1].topic, their_name(version));
        assert_eq!(read.responses[1].topic_id, if version >= 13 { uuid(ID) } else { uuid(Uuid::ZERO) });
        let [first, second] = &read.responses[0].partitions[..] else { panic!("two partitions") };
        let third = &read.responses[1].partitions[0];

        assert_eq!((first.partition_index, first.error_code), (1, 0));
        assert_eq!((first.high_watermark, first.last_stable_offset), (10, 11));
        assert_eq!(first.log_start_offset, if version >= 5 { 12 } else { -1 });
        assert_eq!(first.preferred_read_replica.0, if version >= 11 { 13 } else { -1 });
        assert_eq!(first.records.as_deref(), Some(&b"first"[..]));
        let listed = &first.aborted_transactions.as_ref().expect("not null")[0];
        assert_eq!((listed.producer_id.0, listed.first_offset), (40, 41));

        assert_eq!((second.partition_index, second.error_code), (2, 74));
        assert_eq!((second.high_watermark, second.last_stable_offset, second.log_start_offset), (-1, -1, -1));
        assert_eq!(second.aborted_transactions, None);
        assert_eq!(second.records.as_deref(), Some(&b""[..]));
        let (diverging, leader) = (&second.diverging_epoch, &second.current_leader);
        if version >= 12 {
            assert_eq!((diverging.epoch, diverging.end_offset), (14, 15));
            assert_eq!((leader.leader_id.0, leader.leader_epoch), (16, 17));
        } else {
            assert_eq!((diverging.epoch, leader.leader_epoch), (-1, -1));
        }

        assert_eq!(third.aborted_transactions.as_deref(), Some(&[][..]));
        assert_eq!(third.records.as_deref(), Some(&large[..]));
    }
}

#[test]
#[should_panic(expected = "partitions_left == 0")]
fn a_response_with_fewer_partitions_than_announced_is_our_bug() {
    let mut writer = ProduceResponseWriter::new(9, 1, 1);
    writer.topic(TopicRef::Name(NAME), 1);
    writer.finish(0, &[]);
}

fn uuid(id: Uuid) -> uuid::Uuid {
    uuid::Uuid::from_bytes(id.0)
}
