//! `partition.metadata`: whose a directory is. Kafka's format.
//! Owns its content and how it is read back.

use effect::{BufMut, Chunk, File, WriteBuf};
use model::TopicId;

/// The file on its way.
#[derive(Debug)]
pub(crate) struct MetadataFile {
    pub(crate) content: Vec<u8>,
    pub(crate) file: Option<File>,
}

impl MetadataFile {
    pub(crate) fn new(topic: TopicId) -> MetadataFile {
        MetadataFile { content: metadata(topic), file: None }
    }

    /// The content in whole blocks, in memory that holds it.
    pub(crate) fn blocks(&self, memory: BufMut) -> WriteBuf {
        let mut chunk = Chunk::new(memory);
        chunk.append(&self.content);
        chunk.blocks(0..self.content.len())
    }
}

pub(crate) const METADATA_NAME: &str = "partition.metadata";

fn metadata(topic: TopicId) -> Vec<u8> {
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
