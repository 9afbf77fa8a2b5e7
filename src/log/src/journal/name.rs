//! The names of files of frames: `<lanes>.<lane>.<number>.journal` and `.checkpoint`. A lane is what one shard writes;
//! how many there were is said, so that a start with another number of shards knows to read all of them.

use std::fmt;

/// A file of frames.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Name {
    pub(crate) lanes: u32,
    pub(crate) lane: u32,
    pub(crate) number: u64,
    pub(crate) is_checkpoint: bool,
}

impl Name {
    /// `None` if it is not ours.
    pub(crate) fn parse(text: &str) -> Option<Name> {
        let mut parts = text.split('.');
        let lanes = digits(parts.next()?)?;
        let lane = digits(parts.next()?)?;
        let number = digits(parts.next()?)?;
        let is_checkpoint = match parts.next()? {
            "journal" => false,
            "checkpoint" => true,
            _ => return None,
        };
        if parts.next().is_some() || lane >= lanes {
            return None;
        }
        Some(Name { lanes: u32::try_from(lanes).ok()?, lane: u32::try_from(lane).ok()?, number, is_checkpoint })
    }
}

fn digits(text: &str) -> Option<u64> {
    let is_plain = !text.is_empty() && text.bytes().all(|digit| digit.is_ascii_digit());
    if is_plain { text.parse().ok() } else { None }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let suffix = if self.is_checkpoint { "checkpoint" } else { "journal" };
        write!(f, "{}.{}.{}.{suffix}", self.lanes, self.lane, self.number)
    }
}

/// A marker: frames of earlier runs, up to this one, with another number of lanes do not count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Superseded {
    pub(crate) lanes: u32,
    pub(crate) run: u64,
}

impl Superseded {
    /// `None` if it is not one.
    pub(crate) fn parse(text: &str) -> Option<Superseded> {
        let (lanes, run) = text.strip_suffix(".superseded")?.split_once('.')?;
        Some(Superseded { lanes: u32::try_from(digits(lanes)?).ok()?, run: digits(run)? })
    }

    /// Whether it speaks of what a run wrote to a lane of so many.
    pub(crate) fn covers(&self, lanes: u32, run: u64) -> bool {
        lanes != self.lanes && run <= self.run
    }
}

impl fmt::Display for Superseded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.superseded", self.lanes, self.run)
    }
}

/// Where they lie, below a log directory. No partition's directory has such a name: those end in a number.
pub const DIRECTORY: &str = "journal";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_read_back_and_others_are_left_alone() {
        let name = Name { lanes: 4, lane: 3, number: 12, is_checkpoint: false };
        assert_eq!(name.to_string(), "4.3.12.journal");
        assert_eq!(Name::parse("4.3.12.journal"), Some(name));
        for other in ["4.4.12.journal", "4.3.12", "4.3.+1.journal", "4.3..journal", "4.3.1.journal.tmp", "x"] {
            assert_eq!(Name::parse(other), None);
        }
    }
}
