//! Writes Kafka's primitive types to the end of a `Vec<u8>`.
//! Owns the buffer until it is taken out. Never fails: what cannot be said on the wire is cut (see `string`).

use model::Uuid;

/// Appends to a buffer. `flexible` arguments choose between the compact and the older encoding.
#[derive(Clone, Default, Debug)]
pub struct Writer {
    bytes: Vec<u8>,
}

/// The tagged fields of one struct, gathered because their count comes first.
#[derive(Default, Debug)]
pub struct Tags {
    count: u32,
    fields: Writer,
}

impl Tags {
    /// Adds a field; tags must come in ascending order.
    pub fn add(&mut self, tag: u32, field: impl FnOnce(&mut Writer)) {
        self.count += 1;
        self.fields.varint(tag);
        let mut content = Writer::default();
        field(&mut content);
        self.fields.varint(len_u32(content.bytes.len()));
        self.fields.raw(&content.bytes);
    }
}

impl Writer {
    /// An empty buffer with room for `bytes`.
    pub fn with_capacity(bytes: usize) -> Writer {
        Writer { bytes: Vec::with_capacity(bytes) }
    }

    /// Appends to what is already in `bytes`.
    pub fn over(bytes: Vec<u8>) -> Writer {
        Writer { bytes }
    }

    /// What was written.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many bytes are in the buffer.
    pub fn position(&self) -> usize {
        self.bytes.len()
    }

    /// Makes room for `bytes` more, so that what follows does not grow the buffer step by step.
    pub(crate) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Overwrites four bytes at `at`, which were written before.
    pub fn patch_i32(&mut self, at: usize, value: i32) {
        assert!(at + 4 <= self.bytes.len());
        self.bytes[at..at + 4].copy_from_slice(&value.to_be_bytes());
    }

    /// Bytes as they are.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// One byte, 0 or 1.
    pub fn bool(&mut self, value: bool) {
        self.bytes.push(u8::from(value));
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self, value: i8) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self, value: i16) {
        self.raw(&value.to_be_bytes());
    }

    /// Two bytes, without a sign.
    #[inline]
    pub fn u16(&mut self, value: u16) {
        self.raw(&value.to_be_bytes());
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self, value: i32) {
        self.raw(&value.to_be_bytes());
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self, value: i64) {
        self.raw(&value.to_be_bytes());
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self, value: Uuid) {
        self.raw(&value.0);
    }

    /// An unsigned varint.
    #[inline]
    pub fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }

    /// The byte before a nullable struct.
    pub fn presence(&mut self, present: bool) {
        self.i8(if present { 1 } else { -1 });
    }

    fn compact_len(&mut self, len: Option<usize>) {
        match len {
            Some(len) => self.varint(len_u32(len) + 1),
            None => self.varint(0),
        }
    }

    fn wide_len(&mut self, len: Option<usize>) {
        match len {
            Some(len) => self.i32(i32::try_from(len).expect("a message of ours is below 2 GiB")),
            None => self.i32(-1),
        }
    }

    /// Text, or null. The older encoding ends at 32,767 bytes: longer text (a config value that came in the compact
    /// encoding, say) is cut at the last whole character before, for a peer's input must not stop the broker.
    pub fn nullable_string(&mut self, flexible: bool, text: Option<&str>) {
        let Some(text) = text else {
            if flexible {
                self.varint(0)
            } else {
                self.i16(-1)
            }
            return;
        };
        if flexible {
            self.compact_len(Some(text.len()));
            self.raw(text.as_bytes());
        } else {
            let mut end = text.len().min(i16::MAX as usize);
            while !text.is_char_boundary(end) {
                end -= 1;
            }
            let text = &text[..end];
            self.i16(i16::try_from(text.len()).expect("cut to fit"));
            self.raw(text.as_bytes());
        }
    }

    /// Text; cut as `nullable_string` says.
    pub fn string(&mut self, flexible: bool, text: &str) {
        self.nullable_string(flexible, Some(text));
    }

    /// The length that comes before bytes: the caller, or a later send, supplies the bytes.
    pub fn bytes_len(&mut self, flexible: bool, len: Option<usize>) {
        if flexible { self.compact_len(len) } else { self.wide_len(len) }
    }

    /// Bytes, or null.
    pub fn nullable_bytes(&mut self, flexible: bool, bytes: Option<&[u8]>) {
        self.bytes_len(flexible, bytes.map(<[u8]>::len));
        self.raw(bytes.unwrap_or_default());
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool, bytes: &[u8]) {
        self.nullable_bytes(flexible, Some(bytes));
    }

    /// The count that comes before an array's elements; `None` for null.
    pub fn array_count(&mut self, flexible: bool, count: Option<usize>) {
        self.bytes_len(flexible, count);
    }

    /// An array.
    pub fn array<T>(&mut self, flexible: bool, elements: &[T], mut element: impl FnMut(&mut Writer, &T)) {
        self.array_count(flexible, Some(elements.len()));
        for each in elements {
            element(self, each);
        }
    }

    /// An array, or null.
    pub fn nullable_array<T>(&mut self, flexible: bool, elements: Option<&[T]>, element: impl FnMut(&mut Writer, &T)) {
        match elements {
            Some(elements) => self.array(flexible, elements, element),
            None => self.array_count(flexible, None),
        }
    }

    /// The tagged fields of a struct.
    pub fn tags(&mut self, tags: &Tags) {
        self.varint(tags.count);
        self.raw(&tags.fields.bytes);
    }

    /// No tagged fields.
    pub fn no_tags(&mut self) {
        self.varint(0);
    }
}

fn len_u32(len: usize) -> u32 {
    let len = u32::try_from(len).expect("a message of ours is below 2 GiB");
    assert!(len < u32::MAX);
    len
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reader;

    #[test]
    fn varints_come_back() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u32::MAX] {
            let mut writer = Writer::default();
            writer.varint(value);
            let bytes = writer.into_bytes();
            let mut reader = Reader::new(&bytes);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn text_too_long_for_the_older_encoding_is_cut_at_a_character() {
        let long = "ä".repeat(20_000);
        let mut writer = Writer::default();
        writer.string(false, &long);
        writer.string(true, &long);
        let bytes = writer.into_bytes();
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.string(false).map(str::len), Ok(32_766));
        assert_eq!(reader.string(true), Ok(long.as_str()));
    }
}
