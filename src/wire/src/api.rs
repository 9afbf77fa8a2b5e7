//! The table of served APIs and what is read off it: support, header versions, the ApiVersions answer.
//! Invariant: what is advertised above `min` is decoded and answered.

use model::ErrorCode;

use crate::api_versions::{ApiVersion, ApiVersionsResponse};
use crate::{APIS, ApiKey};

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Api {
    /// The key.
    pub key: ApiKey,
    /// Kafka's name.
    pub name: &'static str,
    /// The lowest version that ApiVersions shows; those below `min` are refused all the same.
    pub advertised_min: i16,
    /// The lowest version that is served.
    pub min: i16,
    /// The highest version that is served.
    pub max: i16,
    /// The first version in the flexible encoding.
    pub flexible_from: i16,
}

impl Api {
    /// The row of a key off the wire, if it is served.
    pub fn find(key: i16) -> Option<&'static Api> {
        APIS.iter().find(|api| api.key.to_wire() == key)
    }

    /// Whether requests of this version are decoded.
    pub fn serves(&self, version: i16) -> bool {
        (self.min..=self.max).contains(&version)
    }

    /// Whether this version is in the flexible encoding.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible_from
    }

    /// Whether the response header carries tagged fields. Those of ApiVersions never do: a client reads that answer
    /// before it knows what the broker speaks.
    pub fn has_flexible_response_header(&self, version: i16) -> bool {
        self.key != ApiKey::ApiVersions && self.is_flexible(version)
    }
}

impl ApiKey {
    /// The wire's form.
    pub fn to_wire(self) -> i16 {
        self as i16
    }

    /// The row of this key.
    pub fn api(self) -> &'static Api {
        Api::find(self.to_wire()).expect("every key has a row")
    }
}

/// What ApiVersions answers.
pub fn api_versions_response() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse { api_keys: APIS.iter().map(advertised).collect(), ..Default::default() }
}

/// The answer, always in version 0, to an ApiVersions of a version that is not served: the client tries again with one
/// that is.
pub fn api_versions_unsupported() -> ApiVersionsResponse<'static> {
    ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.to_wire(),
        api_keys: vec![advertised(ApiKey::ApiVersions.api())],
        ..Default::default()
    }
}

fn advertised(api: &Api) -> ApiVersion {
    ApiVersion { api_key: api.key.to_wire(), min_version: api.advertised_min, max_version: api.max }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_is_in_the_order_of_its_keys() {
        assert!(APIS.is_sorted_by(|one, next| one.key < next.key));
        for api in APIS {
            assert!(api.advertised_min <= api.min);
            assert!(api.min <= api.max);
            assert_eq!(api.key.api(), api);
        }
    }

    #[test]
    fn produce_is_advertised_from_0_and_served_from_3() {
        let response = api_versions_response();
        let produce = response.api_keys.iter().find(|each| each.api_key == 0).expect("advertised");
        assert_eq!((produce.min_version, produce.max_version), (0, 13));
        assert!(!ApiKey::Produce.api().serves(2));
        assert!(ApiKey::Produce.api().serves(3));
    }

    #[test]
    fn unsupported_api_versions_names_its_own_range() {
        let response = api_versions_unsupported();
        assert_eq!(response.error_code, 35);
        assert_eq!(response.api_keys, [ApiVersion { api_key: 18, min_version: 0, max_version: 5 }]);
    }
}
