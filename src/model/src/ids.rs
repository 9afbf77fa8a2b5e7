//! Ids: of nodes, topics and producers.

use std::fmt;
use std::str::FromStr;

/// A broker's id in its cluster (`node.id`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct NodeId(pub i32);

/// A producer's id (KIP-98), handed out once and never again. -1 on the wire is an `Option` here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ProducerId(pub i64);

/// Counts the incarnations of a producer id; fences older ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ProducerEpoch(pub i16);

/// 16 bytes, shown as Kafka shows them: URL-safe base64 without padding, 22 characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Uuid(pub [u8; 16]);

/// A topic's identity; survives nothing: a topic deleted and created again gets another one (KIP-516).
pub type TopicId = Uuid;

impl Uuid {
    /// "No id" on the wire.
    pub const ZERO: Uuid = Uuid([0; 16]);

    /// A random (version 4) id from 128 bits of entropy whose text form does not begin with `-`,
    /// which command-line tools would take for an option.
    pub fn random(mut entropy: impl FnMut() -> u64) -> Uuid {
        loop {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&entropy().to_be_bytes());
            bytes[8..].copy_from_slice(&entropy().to_be_bytes());
            bytes[6] = (bytes[6] & 0x0f) | 0x40;
            bytes[8] = (bytes[8] & 0x3f) | 0x80;
            // The first base64 character shows the top six bits; 62 is `-`.
            if bytes[0] >> 2 != 62 {
                return Uuid(bytes);
            }
        }
    }

    /// Whether this is the wire's "no id".
    pub fn is_zero(self) -> bool {
        self == Uuid::ZERO
    }
}

/// The text is not 22 characters of URL-safe base64.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParseUuidError;

impl FromStr for Uuid {
    type Err = ParseUuidError;

    fn from_str(text: &str) -> Result<Uuid, ParseUuidError> {
        if text.len() != 22 {
            return Err(ParseUuidError);
        }
        let mut value: u128 = 0;
        for (at, character) in text.bytes().enumerate() {
            let digit = ALPHABET.iter().position(|known| *known == character).ok_or(ParseUuidError)? as u128;
            // 22 digits hold 132 bits: the last digit has only its top two in use.
            value = if at < 21 { (value << 6) | digit } else { (value << 2) | (digit >> 4) };
        }
        Ok(Uuid(value.to_be_bytes()))
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = u128::from_be_bytes(self.0);
        for at in 0..22 {
            let digit = if at < 21 { (value >> (122 - 6 * at)) & 63 } else { (value & 3) << 4 };
            write!(f, "{}", char::from(ALPHABET[digit as usize]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A partition of a topic, by the topic's id.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TopicPartition {
    /// The topic.
    pub topic: TopicId,
    /// The partition's index in it, from 0.
    pub partition: u32,
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        let id = Uuid([0x30, 0x25, 0x38, 0x10, 0x40, 0x57, 0x30, 0x52, 0x34, 0x42, 0x04, 0x36, 0x51, 0x00, 0x00, 0x01]);
        let text = id.to_string();
        assert_eq!(text.len(), 22);
        assert_eq!(text.parse(), Ok(id));
        assert_eq!(Uuid::ZERO.to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!("too short".parse::<Uuid>(), Err(ParseUuidError));
        assert_eq!("AAAAAAAAAAAAAAAAAAAAA=".parse::<Uuid>(), Err(ParseUuidError));
    }

    #[test]
    fn random_ids_never_begin_with_a_dash() {
        let mut state = 1u64;
        for _ in 0..2000 {
            let id = Uuid::random(|| {
                state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state
            });
            assert!(!id.to_string().starts_with('-'));
        }
    }
}
