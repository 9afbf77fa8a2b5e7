//! Request and response headers.
//! Owns the decision whether a request can be decoded at all. Never reads a body.

use crate::{Api, ApiKey, Malformed, Reader, Writer};

/// What a request asks for, as far as its header tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Requested {
    /// A body that can be decoded follows.
    Served {
        /// The API.
        key: ApiKey,
        /// At a version that is served.
        version: i16,
    },
    /// ApiVersions at a version that is not served: answer `api_versions_unsupported` in version 0.
    ApiVersionsUnsupported,
    /// An API or version that is not served: close the connection, as Kafka does.
    Refused {
        /// The key as sent.
        key: i16,
        /// The version as sent.
        version: i16,
    },
}

/// The header of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RequestHeader<'a> {
    /// What is asked for.
    pub requested: Requested,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// What the client calls itself.
    pub client_id: Option<&'a str>,
}

impl<'a> RequestHeader<'a> {
    /// Reads a header; if the request is served, `reader` then stands at its body.
    pub fn decode(reader: &mut Reader<'a>) -> Result<RequestHeader<'a>, Malformed> {
        let (key, version) = (reader.i16()?, reader.i16()?);
        let correlation_id = reader.i32()?;
        // The client id keeps the older encoding in every header version, so it can be read of any request.
        let client_id = reader.nullable_string(false)?;
        let requested = match Api::find(key) {
            Some(api) if api.serves(version) => {
                if api.is_flexible(version) {
                    reader.skip_tags()?;
                }
                Requested::Served { key: api.key, version }
            }
            Some(api) if api.key == ApiKey::ApiVersions => Requested::ApiVersionsUnsupported,
            _ => Requested::Refused { key, version },
        };
        Ok(RequestHeader { requested, correlation_id, client_id })
    }

    /// Writes the header of a request.
    pub fn encode(writer: &mut Writer, key: ApiKey, version: i16, correlation_id: i32, client_id: Option<&str>) {
        writer.i16(key.to_wire());
        writer.i16(version);
        writer.i32(correlation_id);
        writer.nullable_string(false, client_id);
        if key.api().is_flexible(version) {
            writer.no_tags();
        }
    }
}

/// The header of a response.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ResponseHeader {
    /// That of the request.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads the header of the response to a request of this API and version.
    pub fn decode(reader: &mut Reader<'_>, key: ApiKey, version: i16) -> Result<ResponseHeader, Malformed> {
        let correlation_id = reader.i32()?;
        if key.api().has_flexible_response_header(version) {
            reader.skip_tags()?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes it.
    pub fn encode(self, writer: &mut Writer, key: ApiKey, version: i16) {
        writer.i32(self.correlation_id);
        if key.api().has_flexible_response_header(version) {
            writer.no_tags();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(key: i16, version: i16, rest: &[u8]) -> Vec<u8> {
        let mut writer = Writer::default();
        writer.i16(key);
        writer.i16(version);
        writer.i32(7);
        writer.string(false, "me");
        writer.raw(rest);
        writer.into_bytes()
    }

    fn check(key: i16, version: i16, rest: &[u8], expected: Requested) {
        let bytes = header(key, version, rest);
        let header = RequestHeader::decode(&mut Reader::new(&bytes)).expect("a good header");
        assert_eq!(header, RequestHeader { requested: expected, correlation_id: 7, client_id: Some("me") });
    }

    #[test]
    fn support_is_decided_by_key_and_version() {
        check(0, 8, &[], Requested::Served { key: ApiKey::Produce, version: 8 });
        check(0, 9, &[0], Requested::Served { key: ApiKey::Produce, version: 9 });
        check(0, 2, &[], Requested::Refused { key: 0, version: 2 });
        check(0, 14, &[0], Requested::Refused { key: 0, version: 14 });
        check(4, 0, &[], Requested::Refused { key: 4, version: 0 });
        check(18, 6, &[0], Requested::ApiVersionsUnsupported);
        check(18, -1, &[], Requested::ApiVersionsUnsupported);
    }

    #[test]
    fn api_versions_answers_without_tags_in_its_header() {
        let mut writer = Writer::default();
        ResponseHeader { correlation_id: 1 }.encode(&mut writer, ApiKey::ApiVersions, 5);
        assert_eq!(writer.position(), 4);
        ResponseHeader { correlation_id: 1 }.encode(&mut writer, ApiKey::Metadata, 9);
        assert_eq!(writer.position(), 9);
    }
}
