//! Which names a topic may have: Kafka's rules, since names become directories and metric labels.

use crate::Refusal;

/// The topic that holds the metadata log itself; clients can neither create nor see it.
pub const METADATA_TOPIC: &str = "__cluster_metadata";

/// Kafka's bound: with `-<partition>` and a suffix the directory's name stays within 255 bytes.
pub(crate) const NAME_BYTES_MAX: usize = 249;

/// Whether a topic of this name may exist at all.
pub fn check_topic_name(name: &str) -> Result<(), Refusal> {
    if name.is_empty() {
        return Err(Refusal::NameEmpty);
    }
    if name == "." || name == ".." {
        return Err(Refusal::NameOnlyDots);
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(Refusal::NameTooLong);
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-')) {
        return Err(Refusal::NameCharacter);
    }
    if name == METADATA_TOPIC {
        return Err(Refusal::NameReserved);
    }
    Ok(())
}

/// What metric systems make of a name that has `.` or `_` in it, `None` for other names.
/// Two topics with the same folded name could not be told apart there.
pub(crate) fn folded(name: &str) -> Option<String> {
    name.contains(['.', '_']).then(|| name.replace('.', "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_kafkas_rules() {
        let longest = "x".repeat(249);
        let too_long = "x".repeat(250);
        for (name, expected) in [
            ("measurements", Ok(())),
            ("a.b-c_D9", Ok(())),
            ("...", Ok(())),
            ("__consumer_offsets", Ok(())),
            (longest.as_str(), Ok(())),
            ("", Err(Refusal::NameEmpty)),
            (".", Err(Refusal::NameOnlyDots)),
            ("..", Err(Refusal::NameOnlyDots)),
            (too_long.as_str(), Err(Refusal::NameTooLong)),
            ("a b", Err(Refusal::NameCharacter)),
            ("a/b", Err(Refusal::NameCharacter)),
            ("a\0", Err(Refusal::NameCharacter)),
            ("größe", Err(Refusal::NameCharacter)),
            ("__cluster_metadata", Err(Refusal::NameReserved)),
        ] {
            assert_eq!(check_topic_name(name), expected, "{name:?}");
        }
    }

    #[test]
    fn dot_and_underscore_fold_to_the_same() {
        assert_eq!(folded("a.b"), folded("a_b"));
        assert_eq!(folded("a-b"), None);
    }
}
