//! The known name that looks most like one that nobody has.

/// The nearest of `known`, if it is near enough to be what was meant.
pub(super) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    let name: Vec<char> = name.chars().take(NAME_CHARS_MAX + 1).collect();
    if name.len() > NAME_CHARS_MAX {
        return None;
    }
    let (best, candidate) = known.map(|candidate| (distance(&name, candidate), candidate)).min()?;
    // A third of the name wrong is a slip; more is another word.
    (best <= name.len().div_ceil(3)).then_some(candidate)
}

/// How many characters must be put in, taken out, changed, or swapped with their neighbour.
fn distance(from: &[char], to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=to.len()).collect();
    for (row, left) in from.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, right) in to.iter().enumerate() {
            let mut cost =
                (above[column] + usize::from(left != right)).min(above[column + 1] + 1).min(line[column] + 1);
            if row > 0 && column > 0 && *left == to[column - 1] && from[row - 1] == *right {
                cost = cost.min(before[column - 1] + 1);
            }
            line.push(cost);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[to.len()]
}

/// Longer than any setting's name; bounds the work.
const NAME_CHARS_MAX: usize = 120;

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 3] = ["retention.ms", "retention.bytes", "segment.bytes"];

    #[test]
    fn slips_are_recognised_and_other_words_are_not() {
        for (name, expected) in [
            ("retention.m", Some("retention.ms")),
            ("retenton.ms", Some("retention.ms")),
            ("retention.sm", Some("retention.ms")),
            ("segments.bytes", Some("segment.bytes")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(name, KNOWN.into_iter()), expected, "{name}");
        }
        assert_eq!(nearest(&"x".repeat(10_000), KNOWN.into_iter()), None);
    }

    #[test]
    fn distance_counts_single_slips() {
        let from = |text: &str| text.chars().collect::<Vec<_>>();
        assert_eq!(distance(&from("abc"), "abc"), 0);
        assert_eq!(distance(&from("acb"), "abc"), 1);
        assert_eq!(distance(&from(""), "abc"), 3);
        assert_eq!(distance(&from("kitten"), "sitting"), 3);
    }
}
