//! What a file is, by its name: faults aim at classes of files.

use std::ffi::OsStr;
use std::path::Path;

/// A class of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FileClass {
    /// A partition's records: `.log`.
    Segment,
    /// What the cleaner writes before it replaces segments: `.cleaned`, and `.swap` behind it.
    Cleaned,
    /// A shard's journal.
    Journal,
    /// A shard's checkpoint.
    Checkpoint,
    /// Producers and epochs at a segment's beginning: `.snapshot`.
    Snapshot,
    /// An offset or time index.
    Index,
    /// Anything else, and what has no file.
    Other,
}

impl FileClass {
    /// By its name alone.
    pub(crate) fn of(path: &Path) -> FileClass {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        let extension = path.extension().and_then(OsStr::to_str).unwrap_or_default();
        match extension {
            "log" => FileClass::Segment,
            "cleaned" | "swap" => FileClass::Cleaned,
            "snapshot" => FileClass::Snapshot,
            "index" | "timeindex" => FileClass::Index,
            _ if name.contains("journal") => FileClass::Journal,
            _ if name.contains("checkpoint") => FileClass::Checkpoint,
            _ => FileClass::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_what_its_name_says() {
        let class = |name: &str| FileClass::of(Path::new(name));
        assert_eq!(class("/data/t-0/00000000000000000000.log"), FileClass::Segment);
        assert_eq!(class("/data/t-0/00000000000000000000.log.cleaned"), FileClass::Cleaned);
        assert_eq!(class("/data/journal-3-17"), FileClass::Journal);
        assert_eq!(class("/data/checkpoint-2"), FileClass::Checkpoint);
        assert_eq!(class("/data/journal-topic-0/partition.metadata"), FileClass::Other);
    }
}
