//! What holds for every generated message at every version.

use wire::{ApiKey, Reader, RequestBody, ResponseBody};

use crate::samples::{default_requests, default_responses, requests, responses};
use crate::{encoded_request, encoded_response, versions};

/// Runs `check` over every message at every version: its API, the version, its bytes, and whether it is a request.
fn for_each_encoding(mut check: impl FnMut(ApiKey, i16, &[u8], bool)) {
    for body in requests().into_iter().chain(default_requests()) {
        for version in versions(body.key()) {
            check(body.key(), version, &encoded_request(&body, version), true);
        }
    }
    for body in responses().into_iter().chain(default_responses()) {
        for version in versions(body.key()) {
            check(body.key(), version, &encoded_response(&body, version), false);
        }
    }
}

/// Reads the bytes as the message that they claim to be and writes them again; `None` if they are malformed.
fn again(key: ApiKey, version: i16, bytes: &[u8], request: bool) -> Option<Vec<u8>> {
    let mut reader = Reader::new(bytes);
    if request {
        let body = RequestBody::decode(key, &mut reader, version).ok()?;
        reader.finish().ok()?;
        Some(encoded_request(&body, version))
    } else {
        let body = ResponseBody::decode(key, &mut reader, version).ok()?;
        reader.finish().ok()?;
        Some(encoded_response(&body, version))
    }
}

#[test]
fn every_message_comes_back_at_every_version() {
    for_each_encoding(|key, version, bytes, request| {
        let came_back = again(key, version, bytes, request);
        assert_eq!(came_back.as_deref(), Some(bytes), "{key:?} {version} request {request}");
    });
}

#[test]
fn decoded_messages_equal_what_was_encoded_where_the_version_has_every_field() {
    for body in requests() {
        // In these, some field exists only in old versions.
        let partial = [
            ApiKey::Produce,
            ApiKey::Fetch,
            ApiKey::Metadata,
            ApiKey::OffsetCommit,
            ApiKey::OffsetFetch,
            ApiKey::FindCoordinator,
            ApiKey::LeaveGroup,
            ApiKey::DeleteTopics,
            ApiKey::UpdateFeatures,
        ];
        let version = body.key().api().max;
        let bytes = encoded_request(&body, version);
        let back = RequestBody::decode(body.key(), &mut Reader::new(&bytes), version).expect("whole");
        assert_eq!(back == body, !partial.contains(&body.key()), "{:?}", body.key());
    }
}

#[test]
fn no_message_is_read_from_less_than_all_its_bytes() {
    for_each_encoding(|key, version, bytes, request| {
        for len in 0..bytes.len() {
            assert_eq!(again(key, version, &bytes[..len], request), None, "{key:?} {version} cut at {len}");
        }
    });
}

#[test]
fn no_changed_byte_panics() {
    for_each_encoding(|key, version, bytes, request| {
        let mut changed = bytes.to_vec();
        for at in 0..bytes.len() {
            for value in [0x00, 0x01, 0x7f, 0x80, 0xff, bytes[at] ^ 1, bytes[at].wrapping_add(1)] {
                changed[at] = value;
                again(key, version, &changed, request);
            }
            changed[at] = bytes[at];
        }
    });
}

#[test]
fn a_count_of_two_billion_topics_is_refused_before_anything_is_reserved() {
    let old = [0x7f, 0xff, 0xff, 0xff];
    assert!(RequestBody::decode(ApiKey::Metadata, &mut Reader::new(&old), 1).is_err());
    let compact = [0xff, 0xff, 0xff, 0xff, 0x07, 0, 0, 0];
    assert!(RequestBody::decode(ApiKey::Metadata, &mut Reader::new(&compact), 12).is_err());
}

#[test]
fn metadata_of_all_topics_is_none_from_version_1_and_empty_before() {
    let decode = |bytes: &'static [u8], version| {
        wire::metadata::MetadataRequest::decode(&mut Reader::new(bytes), version).map(|request| request.topics)
    };
    assert_eq!(decode(&[0, 0, 0, 0], 0), Ok(Some(vec![])));
    assert_eq!(decode(&[0xff, 0xff, 0xff, 0xff], 1), Ok(None));
    assert!(decode(&[0xff, 0xff, 0xff, 0xff], 0).is_err());
}

#[test]
fn answers_default_to_empty_arrays_where_a_null_breaks_the_java_admin_client() {
    let topic = wire::create_topics::CreatableTopicResult::default();
    assert_eq!(topic.configs, Some(vec![]));
    let partition = wire::describe_topic_partitions::DescribeTopicPartitionsResponsePartition::default();
    assert_eq!(partition.eligible_leader_replicas, Some(vec![]));
    assert_eq!(partition.last_known_elr, Some(vec![]));
}
