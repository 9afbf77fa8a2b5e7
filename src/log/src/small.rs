//! Small files that are written once: `partition.metadata` and producer snapshots.
//! Owns their content and how it is read back. Invariant: a file counts only after its write was synced.

use effect::{BufMut, Chunk, File, WriteBuf};
use model::{Offset, TopicId};

/// A small file on its way.
#[derive(Debug)]
pub(crate) struct Small {
    pub(crate) what: What,
    pub(crate) content: Vec<u8>,
    pub(crate) file: Option<File>,
    /// The chunk that the disk reads from.
    pub(crate) memory: Option<Chunk>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum What {
    Metadata,
    /// Of the segment that begins here.
    Snapshot(Offset),
}

impl Small {
    pub(crate) fn new(what: What, content: Vec<u8>) -> Small {
        assert!(!content.is_empty());
        Small { what, content, file: None, memory: None }
    }

    /// The content in whole blocks, in memory that holds it.
    pub(crate) fn blocks(&mut self, memory: BufMut) -> WriteBuf {
        let mut chunk = Chunk::new(memory);
        chunk.append(&self.content);
        let blocks = chunk.blocks(0..self.content.len());
        self.memory = Some(chunk);
        blocks
    }
}

pub(crate) const METADATA_NAME: &str = "partition.metadata";

/// The file that says whose directory this is; Kafka's format.
pub(crate) fn metadata(topic: TopicId) -> Vec<u8> {
    format!("version: 0\ntopic_id: {topic}\n").into_bytes()
}

/// Reads it back. `None` if it is not whole.
pub(crate) fn parse_metadata(bytes: &[u8]) -> Option<TopicId> {
    let text = std::str::from_utf8(bytes).ok()?.trim_end_matches('\0');
    let mut lines = text.lines();
    if lines.next()? != "version: 0" {
        return None;
    }
    lines.next()?.strip_prefix("topic_id: ")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::Uuid;

    #[test]
    fn metadata_is_read_back_with_and_without_padding() {
        let id = Uuid([9; 16]);
        let mut file = metadata(id);
        assert_eq!(parse_metadata(&file), Some(id));
        file.resize(4096, 0);
        assert_eq!(parse_metadata(&file), Some(id));
        assert_eq!(parse_metadata(&file[..20]), None);
        assert_eq!(parse_metadata(&[0; 4096]), None);
    }
}
