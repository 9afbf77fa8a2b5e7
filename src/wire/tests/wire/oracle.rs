//! The same bytes through an independent codec: it must read what we write and write what we read.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::{ApiKey as TheirKey, RequestKind, ResponseKind};
use wire::{ApiKey, Reader, RequestBody, ResponseBody};

use crate::samples::{default_requests, default_responses, requests, responses};
use crate::{encoded_request, encoded_response, versions};

fn theirs(key: ApiKey) -> TheirKey {
    TheirKey::try_from(key.to_wire()).expect("a key of Kafka's")
}

/// Whether the other codec has this version.
fn known_to_both(key: ApiKey, version: i16) -> bool {
    let valid = theirs(key).valid_versions();
    // Its table has this version, its requests have not.
    if version == 10 && matches!(key, ApiKey::OffsetCommit | ApiKey::OffsetFetch) {
        return false;
    }
    (valid.min..=valid.max).contains(&version)
}

#[test]
fn requests_agree_with_an_independent_codec() {
    let mut checked = 0;
    for body in requests().into_iter().chain(default_requests()) {
        let key = body.key();
        for version in versions(key).filter(|version| known_to_both(key, *version)) {
            let ours = encoded_request(&body, version);
            let mut input = Bytes::from(ours.clone());
            let read = RequestKind::decode(theirs(key), &mut input, version).expect("they read ours");
            assert!(input.is_empty(), "{key:?} {version}: {} bytes left", input.len());
            let mut written = BytesMut::new();
            read.encode(&mut written, version).expect("they write");
            assert_eq!(written, ours, "{key:?} {version}");
            assert!(RequestBody::decode(key, &mut Reader::new(&written), version).is_ok());
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn responses_agree_with_an_independent_codec() {
    let mut checked = 0;
    for body in responses().into_iter().chain(default_responses()) {
        let key = body.key();
        for version in versions(key).filter(|version| known_to_both(key, *version)) {
            let ours = encoded_response(&body, version);
            let mut input = Bytes::from(ours.clone());
            let read = ResponseKind::decode(theirs(key), &mut input, version).expect("they read ours");
            assert!(input.is_empty(), "{key:?} {version}: {} bytes left", input.len());
            let mut written = BytesMut::new();
            read.encode(&mut written, version).expect("they write");
            assert_eq!(written, ours, "{key:?} {version}");
            assert!(ResponseBody::decode(key, &mut Reader::new(&written), version).is_ok());
            checked += 1;
        }
    }
    assert!(checked > 150, "{checked}");
}

#[test]
fn header_versions_agree_with_an_independent_codec() {
    for api in wire::APIS {
        for version in versions(api.key).filter(|version| known_to_both(api.key, *version)) {
            let request_tags = theirs(api.key).request_header_version(version) == 2;
            let response_tags = theirs(api.key).response_header_version(version) == 1;
            assert_eq!(api.is_flexible(version), request_tags, "{} {version}", api.name);
            assert_eq!(api.has_flexible_response_header(version), response_tags, "{} {version}", api.name);
        }
    }
}
