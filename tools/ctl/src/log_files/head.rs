//! Small files of the broker's own: four bytes of magic, a version, the length and the checksum of what follows.
//! Owns the table of those that are known, by their magic. Never reads what follows: it belongs to who wrote it.

use std::io;
use std::ops::RangeInclusive;

use super::window::Window;

/// A kind of file.
#[derive(Debug)]
pub(crate) struct Known {
    magic: [u8; 4],
    /// What it is, for people.
    pub(crate) name: &'static str,
    versions: RangeInclusive<u16>,
}

/// What a good head says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) version: u16,
    pub(crate) payload_bytes: usize,
}

/// The kind that `start`, the first bytes of a file, tell.
pub(crate) fn known(start: &[u8]) -> Option<&'static Known> {
    KNOWN.iter().find(|known| start.starts_with(&known.magic))
}

impl Known {
    /// Reads the head and holds the checksum against what follows. The inner error says what is wrong.
    pub(crate) fn check(&self, window: &mut Window) -> io::Result<Result<Head, String>> {
        let Some(head) = window.bytes(0, HEAD_BYTES)?.first_chunk::<HEAD_BYTES>().copied() else {
            return Ok(Err(format!("{}: cut off within its head", self.name)));
        };
        let [_, _, _, _, v0, v1, _, _, l0, l1, l2, l3, c0, c1, c2, c3] = head;
        let version = u16::from_be_bytes([v0, v1]);
        if !self.versions.contains(&version) {
            return Ok(Err(format!("{} of version {version}, which this release does not know", self.name)));
        }
        let payload_bytes = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if payload_bytes > PAYLOAD_BYTES_MAX {
            return Ok(Err(format!("{}: its stated length is out of range", self.name)));
        }
        let payload = window.bytes(HEAD_BYTES as u64, payload_bytes)?;
        if payload.len() < payload_bytes {
            return Ok(Err(format!("{}: cut off", self.name)));
        }
        if crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, payload)
            != u64::from(u32::from_be_bytes([c0, c1, c2, c3]))
        {
            return Ok(Err(format!("{}: checksum does not match", self.name)));
        }
        Ok(Ok(Head { version, payload_bytes }))
    }
}

const KNOWN: &[Known] = &[Known { magic: *b"CLPS", name: "snapshot of producers and epochs", versions: 1..=1 }];
const HEAD_BYTES: usize = 16;
const PAYLOAD_BYTES_MAX: usize = 256 << 20;
