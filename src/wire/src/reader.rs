//! Reads Kafka's primitive types from a slice.
//! Invariants: `at <= end <= bytes.len()`; every length is held against the bytes that remain before it is used or
//! allocated for. Positions are those in the slice that the first reader was given, also inside a tagged field.

use model::Uuid;

/// The peer sent bytes that are no message. Answered by closing the connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed {
    /// Where in the frame.
    pub at: usize,
    /// What was wrong there.
    pub what: &'static str,
}

/// A cursor over the bytes of one message. `flexible` arguments choose between the compact and the older encoding.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    end: usize,
}

impl<'a> Reader<'a> {
    /// Reads `bytes` from their beginning.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        Reader { bytes, at: 0, end: bytes.len() }
    }

    /// Where the next byte is read.
    pub fn position(&self) -> usize {
        self.at
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.end - self.at
    }

    /// The bytes that are left: after a header, the body.
    pub fn rest(&self) -> &'a [u8] {
        self.bytes.get(self.at..self.end).unwrap_or_default()
    }

    /// An error at this place.
    pub fn malformed(&self, what: &'static str) -> Malformed {
        Malformed { at: self.at, what }
    }

    /// Nothing may follow.
    pub fn finish(&self) -> Result<(), Malformed> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.malformed("bytes after the last field")) }
    }

    /// Passes over what is left.
    pub fn skip_rest(&mut self) {
        self.at = self.end;
    }

    /// The next `len` bytes.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        if len > self.remaining() {
            return Err(self.malformed("a length beyond the frame"));
        }
        let to = self.at + len;
        let taken = self.bytes.get(self.at..to).ok_or(self.malformed("a length beyond the frame"))?;
        self.at = to;
        Ok(taken)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        match self.rest().first_chunk::<N>() {
            Some(chunk) => {
                self.at += N;
                Ok(*chunk)
            }
            None => Err(self.malformed("the frame ends inside a number")),
        }
    }

    /// One byte; anything but 0 is true.
    pub fn bool(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? != 0)
    }

    /// One byte.
    #[inline]
    pub fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.fixed()?))
    }

    /// Two bytes.
    #[inline]
    pub fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.fixed()?))
    }

    /// Two bytes, without a sign.
    #[inline]
    pub fn u16(&mut self) -> Result<u16, Malformed> {
        Ok(u16::from_be_bytes(self.fixed()?))
    }

    /// Four bytes.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.fixed()?))
    }

    /// Eight bytes.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.fixed()?))
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, Malformed> {
        Ok(Uuid(self.fixed()?))
    }

    /// An unsigned varint of at most 32 bits.
    #[inline]
    pub fn varint(&mut self) -> Result<u32, Malformed> {
        let [first] = self.fixed()?;
        // Nearly every length, count and tag of a real request is below 128.
        if first < 0x80 { Ok(u32::from(first)) } else { self.long_varint(u32::from(first & 0x7f)) }
    }

    fn long_varint(&mut self, mut value: u32) -> Result<u32, Malformed> {
        for shift in [7, 14, 21, 28] {
            let [byte] = self.fixed()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.malformed("a varint of more than 32 bits"))
    }

    /// The byte before a nullable struct.
    pub fn is_present(&mut self) -> Result<bool, Malformed> {
        Ok(self.i8()? >= 0)
    }

    /// A compact length: one more than the length, 0 for null.
    #[inline]
    fn compact_len(&mut self) -> Result<Option<usize>, Malformed> {
        let raw = self.varint()?;
        match raw.checked_sub(1) {
            None => Ok(None),
            Some(len) => usize::try_from(len).map(Some).map_err(|_| self.malformed("a length beyond the frame")),
        }
    }

    /// A four-byte length, -1 for null.
    #[inline]
    fn wide_len(&mut self) -> Result<Option<usize>, Malformed> {
        self.signed_len(i64::from(self.clone().i32()?), 4)
    }

    /// A two-byte length, -1 for null.
    #[inline]
    fn narrow_len(&mut self) -> Result<Option<usize>, Malformed> {
        self.signed_len(i64::from(self.clone().i16()?), 2)
    }

    #[inline]
    fn signed_len(&mut self, len: i64, width: usize) -> Result<Option<usize>, Malformed> {
        if len < -1 {
            return Err(self.malformed("a negative length"));
        }
        self.take(width)?;
        Ok(usize::try_from(len).ok())
    }

    /// Text, or null.
    #[inline]
    pub fn nullable_string(&mut self, flexible: bool) -> Result<Option<&'a str>, Malformed> {
        let len = if flexible { self.compact_len()? } else { self.narrow_len()? };
        let Some(len) = len else { return Ok(None) };
        let at = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| Malformed { at, what: "text that is not UTF-8" })
    }

    /// Text.
    #[inline]
    pub fn string(&mut self, flexible: bool) -> Result<&'a str, Malformed> {
        self.nullable_string(flexible)?.ok_or(self.malformed("null where text must be"))
    }

    /// Bytes, or null.
    #[inline]
    pub fn nullable_bytes(&mut self, flexible: bool) -> Result<Option<&'a [u8]>, Malformed> {
        let len = if flexible { self.compact_len()? } else { self.wide_len()? };
        len.map(|len| self.take(len)).transpose()
    }

    /// Bytes.
    pub fn bytes(&mut self, flexible: bool) -> Result<&'a [u8], Malformed> {
        self.nullable_bytes(flexible)?.ok_or(self.malformed("null where bytes must be"))
    }

    /// The count of an array, or null. Never more than the bytes that remain: each element costs at least one.
    #[inline]
    pub fn nullable_array_count(&mut self, flexible: bool) -> Result<Option<usize>, Malformed> {
        let count = if flexible { self.compact_len()? } else { self.wide_len()? };
        match count {
            Some(count) if count > self.remaining() => Err(self.malformed("an array count beyond the frame")),
            count => Ok(count),
        }
    }

    /// The count of an array.
    #[inline]
    pub fn array_count(&mut self, flexible: bool) -> Result<usize, Malformed> {
        self.nullable_array_count(flexible)?.ok_or(self.malformed("null where an array must be"))
    }

    /// An array, or null.
    pub fn nullable_array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Option<Vec<T>>, Malformed> {
        let count = self.nullable_array_count(flexible)?;
        count.map(|count| self.elements(count, element)).transpose()
    }

    /// An array.
    pub fn array<T>(
        &mut self,
        flexible: bool,
        element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = self.array_count(flexible)?;
        self.elements(count, element)
    }

    fn elements<T>(
        &mut self,
        count: usize,
        mut element: impl FnMut(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        // A count alone never reserves more than the frame's own size; beyond that the elements must really be there.
        let reserve = count.min(self.remaining() / size_of::<T>().max(1));
        let mut elements = Vec::with_capacity(reserve);
        for _ in 0..count {
            elements.push(element(self)?);
        }
        Ok(elements)
    }

    /// Tagged fields: `field` gets each tag with a reader over that field alone, and reads or skips all of it.
    #[inline]
    pub fn tags(
        &mut self,
        mut field: impl FnMut(u32, &mut Reader<'a>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let count = self.varint()?;
        for _ in 0..count {
            let tag = self.varint()?;
            let len = usize::try_from(self.varint()?).map_err(|_| self.malformed("a length beyond the frame"))?;
            let at = self.at;
            self.take(len)?;
            let mut inner = Reader { bytes: self.bytes, at, end: self.at };
            field(tag, &mut inner)?;
            inner.finish()?;
        }
        Ok(())
    }

    /// Passes over tagged fields, none of which is known.
    #[inline]
    pub fn skip_tags(&mut self) -> Result<(), Malformed> {
        self.tags(|_, field| {
            field.skip_rest();
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<'a, T: PartialEq + std::fmt::Debug>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Reader<'a>) -> Result<T, Malformed>,
        expected: Result<T, &'static str>,
    ) {
        assert_eq!(read(&mut Reader::new(bytes)).map_err(|error| error.what), expected, "{bytes:02x?}");
    }

    #[test]
    fn varints_hold_up_to_32_bits() {
        check(&[0x00], Reader::varint, Ok(0));
        check(&[0x96, 0x01], Reader::varint, Ok(150));
        check(&[0xff, 0xff, 0xff, 0xff, 0x0f], Reader::varint, Ok(u32::MAX));
        check(&[0xff, 0xff, 0xff, 0xff, 0x1f], Reader::varint, Err("a varint of more than 32 bits"));
        check(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x00], Reader::varint, Err("a varint of more than 32 bits"));
        check(&[0x80], Reader::varint, Err("the frame ends inside a number"));
    }

    #[test]
    fn strings_are_null_empty_or_inside_the_frame() {
        check(&[0xff, 0xff], |reader| reader.nullable_string(false).map(|text| text.is_none()), Ok(true));
        check(&[0], |reader| reader.nullable_string(true).map(|text| text.is_none()), Ok(true));
        check(&[0, 1, b'a'], |reader| reader.string(false).map(str::to_owned), Ok("a".to_owned()));
        check(&[2, b'a'], |reader| reader.string(true).map(str::to_owned), Ok("a".to_owned()));
        check(&[3, b'a'], |reader| reader.string(true).map(str::to_owned), Err("a length beyond the frame"));
        check(&[0xff, 0xfe], |reader| reader.string(false).map(str::to_owned), Err("a negative length"));
        check(&[0xff, 0xff], |reader| reader.string(false).map(str::to_owned), Err("null where text must be"));
        check(&[2, 0xff], |reader| reader.string(true).map(str::to_owned), Err("text that is not UTF-8"));
    }

    #[test]
    fn an_array_count_beyond_the_frame_is_refused() {
        check(&[0x7f, 0xff, 0xff, 0xff, 1], |r| r.array(false, Reader::i8), Err("an array count beyond the frame"));
        check(
            &[0xff, 0xff, 0xff, 0xff, 0x0f, 1],
            |r| r.array(true, Reader::i8),
            Err("an array count beyond the frame"),
        );
        check(&[0, 0, 0, 2, 1, 2], |r| r.array(false, Reader::i8), Ok(vec![1, 2]));
        check(&[0], |r| r.nullable_array(true, Reader::i8), Ok(None));
        check(&[0], |r| r.array(true, Reader::i8), Err("null where an array must be"));
    }

    #[test]
    fn unknown_tags_are_passed_over_and_known_ones_cannot_read_beyond_themselves() {
        check(&[1, 9, 2, 0xaa, 0xbb, 7], |r| r.skip_tags().and_then(|()| r.i8()), Ok(7));
        check(&[1, 9, 200], Reader::skip_tags, Err("the frame ends inside a number"));
        check(&[1, 0, 1, 5, 6], |r| r.tags(|_, field| field.i16().map(drop)), Err("the frame ends inside a number"));
        check(&[1, 0, 2, 5, 6], |r| r.tags(|_, field| field.i8().map(drop)), Err("bytes after the last field"));
        check(&[1, 0, 9, 5, 6], Reader::skip_tags, Err("a length beyond the frame"));
    }
}
