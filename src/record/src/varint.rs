//! Zigzag variable-length integers, as records use them: seven bits a byte, least significant first.

/// Takes a 32-bit integer off the front of `bytes`; `None` if it is cut off or wider than 32 bits.
#[inline(always)]
pub(crate) fn take_i32(bytes: &mut &[u8]) -> Option<i32> {
    take_short(bytes).or_else(|| take_long(bytes, I32_BYTES_MAX)).and_then(unzigzag_i32)
}

/// Takes a 64-bit integer off the front of `bytes`; `None` if it is cut off or wider than 64 bits.
#[inline(always)]
pub(crate) fn take_i64(bytes: &mut &[u8]) -> Option<i64> {
    take_short(bytes).or_else(|| take_long(bytes, I64_BYTES_MAX)).map(unzigzag_i64)
}

/// Integers of one and two bytes, which nearly all are: lengths and deltas of small records.
#[inline(always)]
fn take_short(bytes: &mut &[u8]) -> Option<u64> {
    match **bytes {
        [first, ref rest @ ..] if first < CONTINUES => {
            *bytes = rest;
            Some(u64::from(first))
        }
        [first, second, ref rest @ ..] if second < CONTINUES => {
            *bytes = rest;
            Some(u64::from(first & !CONTINUES) | u64::from(second) << 7)
        }
        _ => None,
    }
}

#[cold]
fn take_long(bytes: &mut &[u8], bytes_max: u32) -> Option<u64> {
    let mut partial = Partial::default();
    loop {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        match partial.push(byte, bytes_max) {
            Step::More => {}
            Step::Done(value) => return Some(value),
            Step::Malformed => return None,
        }
    }
}

/// An integer of which some bytes have been seen.
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Partial {
    value: u64,
    bytes: u32,
}

pub(crate) enum Step {
    More,
    Done(u64),
    Malformed,
}

impl Partial {
    #[inline]
    pub(crate) fn push(&mut self, byte: u8, bytes_max: u32) -> Step {
        let shift = 7 * self.bytes;
        let bits = u64::from(byte & !CONTINUES);
        // Only the tenth byte of ten can lose bits here; five bytes hold 35, which `unzigzag_i32` checks.
        if (bits << shift) >> shift != bits {
            return Step::Malformed;
        }
        self.value |= bits << shift;
        self.bytes += 1;
        if byte < CONTINUES {
            return Step::Done(self.value);
        }
        if self.bytes < bytes_max { Step::More } else { Step::Malformed }
    }
}

#[inline]
pub(crate) fn unzigzag_i32(value: u64) -> Option<i32> {
    let value = u32::try_from(value).ok()?;
    Some((value >> 1).cast_signed() ^ -(value & 1).cast_signed())
}

#[inline]
pub(crate) fn unzigzag_i64(value: u64) -> i64 {
    (value >> 1).cast_signed() ^ -(value & 1).cast_signed()
}

pub(crate) fn put_i32(value: i32, out: &mut Vec<u8>) {
    put_i64(i64::from(value), out);
}

pub(crate) fn put_i64(value: i64, out: &mut Vec<u8>) {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    while rest >= u64::from(CONTINUES) {
        out.push(rest.to_le_bytes()[0] | CONTINUES);
        rest >>= 7;
    }
    out.push(rest.to_le_bytes()[0]);
}

const CONTINUES: u8 = 0x80;
pub(crate) const I32_BYTES_MAX: u32 = 5; // 32 bits in sevens.
pub(crate) const I64_BYTES_MAX: u32 = 10; // 64 bits in sevens.

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_survive_the_round_trip() {
        for value in
            [0, 1, -1, 63, 64, -64, -65, 8191, 8192, i64::from(i32::MAX), i64::from(i32::MIN), i64::MAX, i64::MIN]
        {
            let mut bytes = Vec::new();
            put_i64(value, &mut bytes);
            assert_eq!(take_i64(&mut bytes.as_slice()), Some(value));
            assert_eq!(take_i32(&mut bytes.as_slice()), i32::try_from(value).ok());
            for cut in 0..bytes.len() {
                assert_eq!(take_i64(&mut &bytes[..cut]), None);
            }
        }
    }

    #[test]
    fn integers_that_are_too_wide_are_refused() {
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0x1f].as_slice()), None);
        assert_eq!(take_i32(&mut [0xff, 0xff, 0xff, 0xff, 0xff, 0x01].as_slice()), None);
        assert_eq!(take_i64(&mut [[0xff; 9].as_slice(), &[0x02]].concat().as_slice()), None);
        assert_eq!(take_i64(&mut [0xff; 11].as_slice()), None);
        // Longer than needed but not too wide: Kafka takes it.
        assert_eq!(take_i32(&mut [0x80, 0x00].as_slice()), Some(0));
    }
}
