//! Targets over `wire`: what a socket can bring.

use wire::{
    ApiKey, FetchView, ProduceView, Reader, RequestBody, RequestHeader, Requested, Split, TopicRef, Writer, fetch,
    produce, split,
};

const LIMIT_BYTES: usize = 1 << 20;

/// Frames out of a stream of bytes.
pub(crate) fn frame(input: &[u8]) {
    let mut rest = input;
    while let Ok(found) = split(rest, LIMIT_BYTES) {
        match found {
            Split::Whole(range) => {
                assert!(range.start == 4 && range.end <= rest.len());
                request(&rest[range.clone()]);
                rest = &rest[range.end..];
            }
            Split::Partial { total_bytes } => {
                assert!(total_bytes > rest.len() && total_bytes <= 4 + LIMIT_BYTES);
                return;
            }
        }
    }
}

/// A request header alone.
pub(crate) fn header(input: &[u8]) {
    let mut reader = Reader::new(input);
    if let Ok(header) = RequestHeader::decode(&mut reader)
        && let Requested::Served { key, version } = header.requested
    {
        assert!(key.api().serves(version));
        assert!(reader.position() <= input.len());
    }
}

/// A whole request: what is read, written and read again stays the same.
pub(crate) fn request(input: &[u8]) {
    let mut reader = Reader::new(input);
    let Ok(header) = RequestHeader::decode(&mut reader) else { return };
    let Requested::Served { key, version } = header.requested else { return };
    match key {
        ApiKey::Produce => compare_produce(reader.rest(), version),
        ApiKey::Fetch => compare_fetch(reader.rest(), version),
        _ => {}
    }
    let Ok(body) = RequestBody::decode(key, &mut reader, version) else { return };
    let mut writer = Writer::default();
    body.encode(&mut writer, version);
    let written = writer.into_bytes();
    assert_eq!(RequestBody::decode(key, &mut Reader::new(&written), version).as_ref(), Ok(&body));
}

/// The produce view against the generated message.
pub(crate) fn produce_view(input: &[u8]) {
    if let Some((version, body)) = versioned(ApiKey::Produce, input) {
        compare_produce(body, version);
    }
}

/// The fetch view against the generated message.
pub(crate) fn fetch_view(input: &[u8]) {
    if let Some((version, body)) = versioned(ApiKey::Fetch, input) {
        compare_fetch(body, version);
    }
}

/// The first two bytes choose a version that is served.
fn versioned(key: ApiKey, input: &[u8]) -> Option<(i16, &[u8])> {
    let (raw, body) = input.split_first_chunk::<2>()?;
    let (raw, api) = (i16::from_be_bytes(*raw), key.api());
    let version = if api.serves(raw) { raw } else { api.min + raw.rem_euclid(api.max - api.min + 1) };
    Some((version, body))
}

fn compare_produce(body: &[u8], version: i16) {
    let view = ProduceView::parse(body, version);
    let message = produce::ProduceRequest::decode(&mut Reader::new(body), version);
    let (view, message) = match (view, message) {
        (Ok(view), Ok(message)) => (view, message),
        (view, message) => {
            assert_eq!(view.is_ok(), message.is_ok());
            return;
        }
    };
    let mut seen = view.partitions();
    for (topic, expected) in view.topics().zip(&message.topic_data) {
        let name = if version >= 13 { TopicRef::Id(expected.topic_id) } else { TopicRef::Name(&expected.name) };
        assert_eq!(topic.topic, name);
        assert_eq!(topic.partitions().count(), expected.partition_data.len());
        for each in &expected.partition_data {
            let (topic, partition) = seen.next().expect("as many as the message has");
            assert_eq!((topic, partition.index), (name, each.index));
            assert_eq!(partition.records.map(|range| &body[range]), each.records);
        }
    }
    assert!(seen.next().is_none());
    assert_eq!(view.topic_count(), message.topic_data.len());
}

fn compare_fetch(body: &[u8], version: i16) {
    let view = FetchView::parse(body, version);
    let message = fetch::FetchRequest::decode(&mut Reader::new(body), version);
    let Ok(view) = view else {
        // The view knows two isolation levels, the message any number.
        assert!(message.is_err() || message.is_ok_and(|message| !(0..=1).contains(&message.isolation_level)));
        return;
    };
    let Ok(message) = message else {
        // The view passes over tagged fields that nothing uses, whatever is in them.
        assert!(ApiKey::Fetch.api().is_flexible(version));
        return;
    };
    assert_eq!((view.session_id, view.session_epoch), (message.session_id, message.session_epoch));
    assert_eq!(view.rack_id, message.rack_id);
    let mut partitions = view.partitions.iter();
    for topic in &message.topics {
        for expected in &topic.partitions {
            let partition = partitions.next().expect("as many as the message has");
            assert_eq!(partition.partition, expected.partition);
            assert_eq!(partition.fetch_offset.map_or(-1, |offset| offset.to_wire()), expected.fetch_offset.max(-1));
            assert_eq!(partition.partition_max_bytes, expected.partition_max_bytes);
        }
    }
    assert!(partitions.next().is_none());
    let forgotten: usize = message.forgotten_topics_data.iter().map(|topic| topic.partitions.len()).sum();
    assert_eq!(view.forgotten.len(), forgotten);
}
