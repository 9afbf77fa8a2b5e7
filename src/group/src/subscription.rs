//! The topics in a consumer's subscription: the beginning of ConsumerProtocolSubscription, which every version shares.

use std::collections::BTreeSet;

use wire::Reader;

/// The topics of one member's metadata, added to `topics`; `None` if it is no subscription.
pub(crate) fn read(metadata: &[u8], topics: &mut BTreeSet<Box<str>>) -> Option<()> {
    let mut reader = Reader::new(metadata);
    let version = reader.i16().ok()?;
    if version < 0 {
        return None;
    }
    for topic in reader.array(false, |reader| reader.string(false)).ok()? {
        topics.insert(topic.into());
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_are_found_and_anything_else_is_none() {
        let mut topics = BTreeSet::new();
        assert_eq!(read(&[0, 1, 0, 0, 0, 2, 0, 1, b'a', 0, 1, b'b', 255, 255, 255, 255], &mut topics), Some(()));
        assert_eq!(topics.iter().map(|topic| &**topic).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(read(b"range", &mut topics), None);
        assert_eq!(read(&[], &mut topics), None);
    }
}
