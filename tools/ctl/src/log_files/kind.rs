//! Which kind of file a path names: by its magic where the broker gave it one, else by Kafka's suffixes, else by what a
//! record batch begins with.

use std::path::Path;

use model::Offset;

use super::frames;
use super::head::{self, Known};

/// The kinds that can be shown. A kind to come, with a magic, gets a variant here and an arm in `dump`.
#[derive(Clone, Copy, Debug)]
pub(crate) enum FileKind {
    Segment,
    OffsetIndex,
    TimeIndex,
    Frames,
    Headed(&'static Known),
}

impl FileKind {
    /// `start` are the file's first bytes.
    pub(crate) fn of(path: &Path, start: &[u8]) -> Option<FileKind> {
        let name = path.file_name()?.to_str()?;
        let suffix = |suffix: &str| name.ends_with(suffix) || name.contains(&format!("{suffix}."));
        match head::known(start) {
            Some(known) => Some(FileKind::Headed(known)),
            None if frames::begins(start) || frames::is_named(name) => Some(FileKind::Frames),
            None if suffix(".timeindex") => Some(FileKind::TimeIndex),
            None if suffix(".index") => Some(FileKind::OffsetIndex),
            None if suffix(".log") || start.get(MAGIC_AT) == Some(&2) => Some(FileKind::Segment),
            None => None,
        }
    }
}

/// The offset that a file's name begins with: 20 digits.
pub(crate) fn base_offset(path: &Path) -> Option<Offset> {
    let name = path.file_name()?.to_str()?;
    let (digits, rest) = name.split_at_checked(20)?;
    let whole = rest.starts_with('.') && digits.bytes().all(|byte| byte.is_ascii_digit());
    whole.then(|| digits.parse().ok()).flatten().and_then(Offset::from_wire)
}

const MAGIC_AT: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_known_by_magic_then_name_then_content() {
        let of = |name: &str, start: &[u8]| FileKind::of(Path::new(name), start).map(|kind| format!("{kind:?}"));
        let starts = |name: &str, start: &[u8], expected: &str| {
            assert!(of(name, start).is_some_and(|kind| kind.starts_with(expected)), "{name}");
        };
        starts("d/00000000000000000000.log", &[], "Segment");
        starts("00000000000000000000.log.cleaned", &[0; 61], "Segment");
        starts("00000000000000000000.index", &[], "OffsetIndex");
        starts("00000000000000000000.timeindex", &[], "TimeIndex");
        starts("00000000000000000000.log", b"CLPS", "Headed");
        starts("anything", &[2; 61], "Segment");
        starts("2.0.7.journal", &[0; 61], "Frames");
        starts("anything", b"CLJF", "Frames");
        assert_eq!(of("partition.metadata", b"version: 0\n"), None);
    }

    #[test]
    fn a_base_offset_is_twenty_digits() {
        assert_eq!(base_offset(Path::new("x/00000000000000000042.log")), Some(Offset::new(42)));
        for name in ["0.log", "00000000000000000042", "+0000000000000000042.log", "99999999999999999999.log"] {
            assert_eq!(base_offset(Path::new(name)), None, "{name}");
        }
    }
}
