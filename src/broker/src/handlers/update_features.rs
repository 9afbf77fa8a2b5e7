//! UpdateFeatures: this broker has no features whose level could be changed; each is at level 0 and stays there.

use model::ErrorCode;
use wire::update_features::{FeatureUpdateKey, UpdatableFeatureResult, UpdateFeaturesRequest, UpdateFeaturesResponse};

/// The answer: one refusal refuses the whole.
pub(crate) fn answer(request: &UpdateFeaturesRequest<'_>, version: i16) -> UpdateFeaturesResponse<'static> {
    let problem = request.feature_updates.iter().find_map(|update| Some((update, problem(update, version)?)));
    let result = |update: &FeatureUpdateKey<'_>| UpdatableFeatureResult {
        feature: update.feature.to_string().into(),
        ..Default::default()
    };
    match problem {
        None => UpdateFeaturesResponse {
            results: request.feature_updates.iter().map(result).collect(),
            ..Default::default()
        },
        Some((FeatureUpdateKey { feature, max_version_level, .. }, why)) => {
            let feature = feature.escape_debug();
            let message = format!("level {max_version_level} of feature {feature}: {why}");
            UpdateFeaturesResponse {
                error_code: ErrorCode::InvalidUpdateVersion.to_wire(),
                error_message: Some(message.into()),
                ..Default::default()
            }
        }
    }
}

fn problem(update: &FeatureUpdateKey<'_>, version: i16) -> Option<&'static str> {
    match update.max_version_level {
        _ if version >= 1 && !UPGRADE_TYPES.contains(&update.upgrade_type) => Some("there is no such type of upgrade"),
        ..0 => Some("a level is 0 or more"),
        0 => None,
        1.. => Some("this broker does not have it"),
    }
}

/// Upgrade, safe downgrade, unsafe downgrade.
const UPGRADE_TYPES: std::ops::RangeInclusive<i8> = 1..=3;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_feature_that_is_not_there_stays_at_level_0() {
        for (max_version_level, upgrade_type, expected) in [
            (1, 1, ErrorCode::InvalidUpdateVersion),
            (-1, 2, ErrorCode::InvalidUpdateVersion),
            (0, 4, ErrorCode::InvalidUpdateVersion),
            (0, 2, ErrorCode::None),
        ] {
            let feature = "kraft.version".into();
            let update = FeatureUpdateKey { feature, max_version_level, upgrade_type, ..Default::default() };
            let request = UpdateFeaturesRequest { feature_updates: vec![update], ..Default::default() };
            let response = answer(&request, 1);
            assert_eq!(ErrorCode::from_wire(response.error_code), Some(expected));
            assert_eq!(response.results.len(), usize::from(expected == ErrorCode::None));
        }
    }
}
