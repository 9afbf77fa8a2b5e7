//! Files as a broker leaves them, for the tests of this module.

use model::{Offset, Timestamp};
use record::{BatchBuilder, Codec};

/// A batch of `count` records; the timestamps are 1000 more than the offsets.
pub(crate) fn batch(base_offset: u64, count: u64) -> Vec<u8> {
    coded(base_offset, count, Codec::None)
}

pub(crate) fn coded(base_offset: u64, count: u64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new(codec).base_offset(Offset::new(base_offset));
    for index in 0..count {
        let offset = base_offset + index;
        let key = format!("key {offset}");
        builder.append(timestamp(offset), Some(key.as_bytes()), Some(b"value\n"), &[]);
    }
    builder.build()
}

pub(crate) fn timestamp(offset: u64) -> Timestamp {
    Timestamp(i64::try_from(offset).expect("small") + 1000)
}

/// The bytes of an offset index.
pub(crate) fn index(entries: &[(u32, u32)]) -> Vec<u8> {
    entries.iter().flat_map(|(offset, position)| [offset.to_be_bytes(), position.to_be_bytes()].concat()).collect()
}

/// The bytes of a time index.
pub(crate) fn time_index(entries: &[(i64, u32)]) -> Vec<u8> {
    let bytes = |(timestamp, offset): &(i64, u32)| [&timestamp.to_be_bytes()[..], &offset.to_be_bytes()].concat();
    entries.iter().flat_map(bytes).collect()
}
