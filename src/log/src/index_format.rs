//! The files of a closed segment's index. Owns their form. Never touches a file.
//!
//! `<base>.index`, Kafka's: for each entry the last offset of a batch, less the base, i32, and the batch's position,
//! i32. The batch at position 0 has none. `<base>.timeindex`, Kafka's: for each entry the largest timestamp so far, i64,
//! and the last offset of the first batch that has it, less the base, i32.
//!
//! Neither says whether it is whole, or of which segment; so `<base>.indexcheck` does. Magic "CLIX", version u16,
//! reserved u16, the segment's length u64 and end offset i64, CRC-32C of the `.index` u32 and of the `.timeindex` u32,
//! count of batches u32, then for each batch in the index, the one at position 0 before them: its first offset, less
//! the base, u32; after the first one of these, the last offset of the batch at position 0, less the base, u32. At the
//! end the CRC-32C of all this, u32. All integers big-endian.
//!
//! The files are a cache and written without a sync. Invariant: nothing of them is believed unless all three agree with
//! each other and with the segment.

use model::Offset;

use crate::index::{ENTRIES_MAX, Entry, Index, Place, TimeEntry};

/// The three files, in the order in which they are written and read.
pub(crate) const SUFFIXES: [&str; 3] = ["index", "timeindex", "indexcheck"];

/// No file is longer.
pub(crate) const FILE_BYTES_MAX: usize = 64 * 1024;
const _: () = assert!((ENTRIES_MAX + 1) * TIME_ENTRY_BYTES <= FILE_BYTES_MAX);

/// The contents of the three files; `None` if the segment is too long for Kafka's fields, or empty.
pub(crate) fn encode(index: &Index, end: Place, base: Offset) -> Option<[Vec<u8>; 3]> {
    let (zeroth, entries) = index.entries().split_first()?;
    let mut offsets = Vec::with_capacity(entries.len() * OFFSET_ENTRY_BYTES);
    for entry in entries {
        offsets.extend(i32::try_from(entry.last_delta).ok()?.to_be_bytes());
        offsets.extend(i32::try_from(entry.position).ok()?.to_be_bytes());
    }
    let mut times = Vec::new();
    for time in index.times() {
        times.extend(time.timestamp.to_be_bytes());
        times.extend(i32::try_from(time.offset_delta).ok()?.to_be_bytes());
    }
    let mut check = Vec::with_capacity(CHECK_HEAD_BYTES + entries.len() * 4 + 8);
    check.extend(MAGIC);
    check.extend(VERSION.to_be_bytes());
    check.extend([0; 2]);
    check.extend(end.position.to_be_bytes());
    check.extend(end.offset.to_wire().to_be_bytes());
    check.extend(crc32c(&offsets).to_be_bytes());
    check.extend(crc32c(&times).to_be_bytes());
    check.extend(u32::try_from(entries.len() + 1).ok()?.to_be_bytes());
    check.extend(zeroth.first_delta.to_be_bytes());
    check.extend(zeroth.last_delta.to_be_bytes());
    entries.iter().for_each(|entry| check.extend(entry.first_delta.to_be_bytes()));
    check.extend(crc32c(&check).to_be_bytes());
    assert!(base <= end.offset);
    Some([offsets, times, check])
}

/// Reads the index of the segment at `base` that ends at `end` back; `None` if anything is not as it should be.
pub(crate) fn decode(base: Offset, end: Place, files: &[Vec<u8>; 3]) -> Option<Index> {
    let [offsets, times, check] = files;
    let (body, crc) = check.split_last_chunk::<4>()?;
    if crc32c(body) != u32::from_be_bytes(*crc) {
        return None;
    }
    let mut check = Fields(body);
    let is_ours = check.take::<4>()? == MAGIC && u16::from_be_bytes(check.take()?) == VERSION;
    check.take::<2>()?;
    let length = u64::from_be_bytes(check.take()?);
    let end_offset = Offset::from_wire(i64::from_be_bytes(check.take()?))?;
    let offsets_crc = u32::from_be_bytes(check.take()?);
    let times_crc = u32::from_be_bytes(check.take()?);
    let count = usize::try_from(u32::from_be_bytes(check.take()?)).ok()?;
    let agrees = length == end.position && end_offset == end.offset;
    if !is_ours || !agrees || offsets_crc != crc32c(offsets) || times_crc != crc32c(times) {
        return None;
    }
    let (rows, rest) = offsets.as_chunks::<OFFSET_ENTRY_BYTES>();
    if !rest.is_empty() || count != rows.len() + 1 || count > ENTRIES_MAX {
        return None;
    }
    let mut entries = Vec::with_capacity(count);
    entries.push(Entry { first_delta: check.u32()?, last_delta: check.u32()?, position: 0 });
    for row in rows {
        let mut row = Fields(row);
        let (last_delta, position) = (row.u32()?, row.u32()?);
        entries.push(Entry { first_delta: check.u32()?, last_delta, position });
    }
    let times = read_times(times)?;
    (check.0.is_empty() && is_sound(&entries, &times, base, end)).then(|| Index::from_parts(base, entries, times))
}

fn read_times(bytes: &[u8]) -> Option<Vec<TimeEntry>> {
    let (rows, rest) = bytes.as_chunks::<TIME_ENTRY_BYTES>();
    if !rest.is_empty() || rows.len() > ENTRIES_MAX + 1 {
        return None;
    }
    let read = |row: &[u8; TIME_ENTRY_BYTES]| {
        let mut row = Fields(row);
        Some(TimeEntry { timestamp: i64::from_be_bytes(row.take()?), offset_delta: row.u32()? })
    };
    rows.iter().map(read).collect()
}

/// Whether everything increases and stays within the segment.
fn is_sound(entries: &[Entry], times: &[TimeEntry], base: Offset, end: Place) -> bool {
    let Some(records) = end.offset.get().checked_sub(base.get()) else { return false };
    let within = |entry: &Entry| {
        entry.first_delta <= entry.last_delta
            && u64::from(entry.last_delta) < records
            && u64::from(entry.position) < end.position
    };
    let rising = |one: &Entry, next: &Entry| one.last_delta < next.first_delta && one.position < next.position;
    let later =
        |one: &TimeEntry, next: &TimeEntry| one.timestamp < next.timestamp && one.offset_delta < next.offset_delta;
    entries.iter().all(within)
        && entries.is_sorted_by(rising)
        && times.iter().all(|time| u64::from(time.offset_delta) < records)
        && times.is_sorted_by(later)
}

/// Fields of a file, one after the other.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (field, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*field)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }
}

fn crc32c(bytes: &[u8]) -> u32 {
    u32::try_from(crc_fast::checksum(crc_fast::CrcAlgorithm::Crc32Iscsi, bytes))
        .expect("a 32-bit checksum fits 32 bits")
}

const MAGIC: [u8; 4] = *b"CLIX";
const VERSION: u16 = 1;
const OFFSET_ENTRY_BYTES: usize = 8;
const TIME_ENTRY_BYTES: usize = 12;
const CHECK_HEAD_BYTES: usize = 36;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::header;

    fn sample() -> (Index, Place) {
        let mut index = Index::new(Offset::new(1000));
        for at in 0..20u64 {
            index.push(&header(1000 + at * 4, 3, 500 + (at as i64 * 7) % 50), at * 3000, 4096);
        }
        (index, Place { offset: Offset::new(1080), position: 60_000 })
    }

    #[test]
    fn what_is_written_is_read_back_and_has_kafkas_form() {
        let (index, end) = sample();
        let files = encode(&index, end, Offset::new(1000)).expect("short enough");
        // The batch at position 6000 is the third: offsets 1008 to 1010.
        assert_eq!(files[0][..8], [0, 0, 0, 10, 0, 0, 0x17, 0x70]);
        // The first two batches are the first interval; the second, which ends at 1006, has the larger time, 507.
        assert_eq!(files[1][..12], [0, 0, 0, 0, 0, 0, 1, 0xfb, 0, 0, 0, 6]);
        let read = decode(Offset::new(1000), end, &files).expect("whole");
        assert_eq!(read.entries(), index.entries());
        assert!(read.times().eq(index.times()));
        assert_eq!(read.max_timestamp(), index.max_timestamp());
    }

    #[test]
    fn no_other_bytes_are_believed() {
        let (index, end) = sample();
        let base = Offset::new(1000);
        let files = encode(&index, end, base).expect("short enough");
        for which in 0..3 {
            for at in 0..files[which].len() {
                let mut wrong = files.clone();
                wrong[which][at] ^= 1 << (at % 8);
                assert!(decode(base, end, &wrong).is_none(), "file {which}, byte {at}");
                let mut short = files.clone();
                short[which].truncate(at);
                assert!(decode(base, end, &short).is_none(), "file {which}, cut at {at}");
            }
            let mut long = files.clone();
            long[which].extend([0; 12]);
            assert!(decode(base, end, &long).is_none());
        }
        let longer = Place { position: end.position + 1, ..end };
        assert!(decode(base, longer, &files).is_none(), "of another segment");
        assert!(decode(base, Place { offset: end.offset.plus(1), ..end }, &files).is_none());
    }
}
