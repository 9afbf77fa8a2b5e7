//! Tests of wire's face: every message at every version, an independent codec as oracle, and the hand-written views.

mod corpus;
mod messages;
mod oracle;
mod samples;
mod views;

use wire::{RequestBody, ResponseBody, Writer};

/// The versions at which an API is served.
fn versions(key: wire::ApiKey) -> std::ops::RangeInclusive<i16> {
    key.api().min..=key.api().max
}

fn encoded_request(body: &RequestBody<'_>, version: i16) -> Vec<u8> {
    let mut writer = Writer::default();
    body.encode(&mut writer, version);
    writer.into_bytes()
}

fn encoded_response(body: &ResponseBody<'_>, version: i16) -> Vec<u8> {
    let mut writer = Writer::default();
    body.encode(&mut writer, version);
    writer.into_bytes()
}
