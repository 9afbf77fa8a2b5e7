//! One file's bytes: what a read sees now, what would survive a power cut, and the changes between the two.
//!
//! Invariants: a change is in the pending list until a sync covers it; data survives a cut sector by sector, changes of
//! length and room as a prefix in the order in which they were made; a write whose sync failed is never made durable by
//! a later sync.

use std::rc::Rc;

use effect::BLOCK_BYTES;

use super::SECTOR_BYTES;
use crate::rng::Rng;

/// A block's content.
type Block = Rc<[u8; BLOCK_BYTES]>;

/// One file.
#[derive(Debug, Default)]
pub(crate) struct Image {
    seen: State,
    durable: State,
    pending: Vec<Pending>,
}

#[derive(Clone, Debug, Default)]
struct State {
    len: u64,
    slots: Vec<Slot>,
    /// Slots that take room.
    roomy: u64,
}

#[derive(Clone, Debug)]
enum Slot {
    /// No room was given: reads as zeros, must not be written.
    Hole,
    /// Room without content: reads as zeros.
    Room,
    Data(Block),
}

#[derive(Debug)]
struct Pending {
    stamp: u64,
    change: Change,
    /// Its sync failed: the kernel holds it for clean, the disk never got it.
    lost: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Data { index: usize, block: Block },
    Len(u64),
    Room { from: usize, to: usize, len: u64 },
}

impl Image {
    /// The length that is seen now.
    pub(crate) fn len(&self) -> u64 {
        self.seen.len
    }

    /// Bytes that it takes of the disk.
    pub(crate) fn room_bytes(&self) -> u64 {
        self.seen.roomy * BLOCK_BYTES as u64
    }

    /// Bytes that it would take more with room for a range.
    pub(crate) fn wanting_bytes(&self, offset: u64, len: u64) -> u64 {
        let (from, to) = (offset as usize / BLOCK_BYTES, ((offset + len) as usize).div_ceil(BLOCK_BYTES));
        let holes = (from..to).filter(|index| matches!(self.seen.slots.get(*index), None | Some(Slot::Hole))).count();
        (holes * BLOCK_BYTES) as u64
    }

    /// Whether all that is seen is durable.
    pub(crate) fn is_settled(&self) -> bool {
        self.pending.is_empty()
    }

    /// Flips bits of a byte that is durable.
    pub(crate) fn flip(&mut self, position: u64, bits: u8) {
        let (index, within) = (position as usize / BLOCK_BYTES, position as usize % BLOCK_BYTES);
        for state in [&mut self.seen, &mut self.durable] {
            let mut block = state.content(index);
            block[within] ^= bits;
            state.apply(&Change::Data { index, block: Rc::new(block) });
        }
    }

    /// Whether every block of the range was given room. Both are multiples of the block.
    pub(crate) fn has_room(&self, offset: u64, len: u64) -> bool {
        let (from, to) = blocks(offset, len);
        to <= self.seen.slots.len() && self.seen.slots[from..to].iter().all(|slot| !matches!(slot, Slot::Hole))
    }

    /// Copies bytes from any place into `out`; answers how many there were before the file's end.
    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) -> usize {
        let len = usize::try_from(self.seen.len.saturating_sub(offset)).unwrap_or(usize::MAX).min(out.len());
        let mut done = 0;
        while done < len {
            let at = offset as usize + done;
            let (index, within) = (at / BLOCK_BYTES, at % BLOCK_BYTES);
            let run = (BLOCK_BYTES - within).min(len - done);
            let target = &mut out[done..done + run];
            match self.seen.slots.get(index) {
                Some(Slot::Data(block)) => target.copy_from_slice(&block[within..within + run]),
                _ => target.fill(0),
            }
            done += run;
        }
        len
    }

    /// Whole blocks, written. `survives` says of each sector whether it reached the device (a torn or failed write).
    pub(crate) fn write(&mut self, stamp: u64, offset: u64, bytes: &[u8], mut reached: impl FnMut() -> bool) {
        for (index, new) in (offset as usize / BLOCK_BYTES..).zip(bytes.chunks_exact(BLOCK_BYTES)) {
            let mut block = self.seen.content(index);
            for (sector, source) in block.chunks_exact_mut(SECTOR_BYTES).zip(new.chunks_exact(SECTOR_BYTES)) {
                if reached() {
                    sector.copy_from_slice(source);
                }
            }
            self.change(stamp, Change::Data { index, block: Rc::new(block) });
        }
    }

    /// Makes a range durable that was written just now, and every earlier change of length and room with it.
    pub(crate) fn write_durable(&mut self, stamp: u64, submitted: u64, offset: u64, bytes: &[u8]) {
        self.write(stamp, offset, bytes, || true);
        let (from, to) = blocks(offset, bytes.len() as u64);
        let covered = |pending: &Pending| match &pending.change {
            Change::Data { index, .. } => (from..to).contains(index),
            // Room that the write itself took is part of it.
            Change::Len(_) | Change::Room { .. } => pending.stamp <= submitted || pending.stamp == stamp,
        };
        self.settle(covered);
    }

    /// Makes everything durable that was done when the sync was asked for.
    pub(crate) fn sync(&mut self, submitted: u64) {
        self.settle(|pending| pending.stamp <= submitted && !pending.lost);
    }

    /// A sync that failed: what it covered is lost to later syncs too.
    pub(crate) fn sync_failed(&mut self, submitted: u64) {
        for pending in self.pending.iter_mut().filter(|pending| pending.stamp <= submitted) {
            pending.lost |= matches!(pending.change, Change::Data { .. });
        }
    }

    /// Gives room; the length grows to cover it.
    pub(crate) fn allocate(&mut self, stamp: u64, offset: u64, len: u64) {
        let end = offset + len;
        let (from, to) = (offset as usize / BLOCK_BYTES, (end as usize).div_ceil(BLOCK_BYTES));
        self.change(stamp, Change::Room { from, to, len: end });
    }

    /// Cuts or extends.
    pub(crate) fn set_len(&mut self, stamp: u64, len: u64) {
        self.change(stamp, Change::Len(len));
    }

    /// The power fails: each pending sector may be there or not.
    pub(crate) fn power_cut(&mut self, rng: &mut Rng) {
        let pending = std::mem::take(&mut self.pending);
        let meta_count = pending.iter().filter(|pending| !matches!(pending.change, Change::Data { .. })).count();
        let mut meta_left = rng.range(0, meta_count as u64);
        let mood = rng.below(4);
        for Pending { change, .. } in pending {
            match change {
                Change::Data { index, block } => {
                    // Blocks whose room did not survive are out of reach.
                    if !matches!(self.durable.slots.get(index), Some(Slot::Room | Slot::Data(_))) {
                        continue;
                    }
                    let mut merged = self.durable.content(index);
                    for (sector, source) in merged.chunks_exact_mut(SECTOR_BYTES).zip(block.chunks_exact(SECTOR_BYTES))
                    {
                        if survives(mood, rng) {
                            sector.copy_from_slice(source);
                        }
                    }
                    self.durable.apply(&Change::Data { index, block: Rc::new(merged) });
                }
                meta if meta_left > 0 => {
                    meta_left -= 1;
                    self.durable.apply(&meta);
                }
                _ => (),
            }
        }
        self.seen = self.durable.clone();
    }

    fn change(&mut self, stamp: u64, change: Change) {
        self.seen.apply(&change);
        self.pending.push(Pending { stamp, change, lost: false });
    }

    fn settle(&mut self, covered: impl Fn(&Pending) -> bool) {
        let (settled, pending) = std::mem::take(&mut self.pending).into_iter().partition(covered);
        self.pending = pending;
        let settled: Vec<Pending> = settled;
        settled.iter().for_each(|pending| self.durable.apply(&pending.change));
    }
}

impl State {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Data { index, block } => {
                if self.slots.len() <= *index {
                    self.slots.resize(index + 1, Slot::Hole);
                }
                self.roomy += u64::from(matches!(self.slots[*index], Slot::Hole));
                self.slots[*index] = Slot::Data(block.clone());
            }
            Change::Len(len) => {
                self.len = *len;
                let kept = (*len as usize).div_ceil(BLOCK_BYTES).min(self.slots.len());
                let gone = self.slots[kept..].iter().filter(|slot| !matches!(slot, Slot::Hole)).count();
                self.roomy -= gone as u64;
                self.slots.truncate(kept);
                let within = *len as usize % BLOCK_BYTES;
                if let Some(Slot::Data(block)) = self.slots.get_mut(*len as usize / BLOCK_BYTES) {
                    Rc::make_mut(block)[within..].fill(0);
                }
            }
            Change::Room { from, to, len } => {
                self.len = self.len.max(*len);
                self.slots.resize(self.slots.len().max(*to), Slot::Hole);
                for slot in &mut self.slots[*from..*to] {
                    if matches!(slot, Slot::Hole) {
                        *slot = Slot::Room;
                        self.roomy += 1;
                    }
                }
            }
        }
    }

    fn content(&self, index: usize) -> [u8; BLOCK_BYTES] {
        match self.slots.get(index) {
            Some(Slot::Data(block)) => **block,
            _ => [0; BLOCK_BYTES],
        }
    }
}

/// Some cuts keep nothing, some all, most a mixture.
fn survives(mood: u64, rng: &mut Rng) -> bool {
    match mood {
        0 => false,
        1 => rng.chance(950),
        _ => rng.coin(),
    }
}

fn blocks(offset: u64, len: u64) -> (usize, usize) {
    (offset as usize / BLOCK_BYTES, (offset + len) as usize / BLOCK_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: u64 = BLOCK_BYTES as u64;

    fn read(image: &Image, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![9; len];
        let count = image.read(offset, &mut out);
        out.truncate(count);
        out
    }

    #[test]
    fn what_was_synced_survives_every_power_cut() {
        for seed in 0..50 {
            let mut image = Image::default();
            image.allocate(1, 0, 4 * BLOCK);
            image.write(2, 0, &[1; 8192], || true);
            image.sync(2);
            image.write_durable(4, 3, BLOCK, &[2; 4096]);
            image.power_cut(&mut Rng::new(seed));
            assert_eq!(image.len(), 4 * BLOCK);
            assert_eq!(read(&image, 0, 4096), [1; 4096]);
            assert_eq!(read(&image, BLOCK, 4096), [2; 4096]);
            assert_eq!(read(&image, 2 * BLOCK, 4096), [0; 4096]);
        }
    }

    #[test]
    fn an_unsynced_write_survives_sector_by_sector_or_not_at_all() {
        let (mut torn, mut whole, mut gone) = (0, 0, 0);
        for seed in 0..200 {
            let mut image = Image::default();
            image.allocate(1, 0, BLOCK);
            image.sync(1);
            image.write(2, 0, &[1; 4096], || true);
            image.power_cut(&mut Rng::new(seed));
            let bytes = read(&image, 0, 4096);
            let sectors: Vec<u8> = bytes.chunks(SECTOR_BYTES).map(|sector| sector[0]).collect();
            assert!(bytes.chunks(SECTOR_BYTES).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
            match sectors.iter().sum::<u8>() {
                0 => gone += 1,
                8 => whole += 1,
                _ => torn += 1,
            }
        }
        assert!(torn > 0);
        assert!(whole > 0);
        assert!(gone > 0);
    }

    #[test]
    fn a_failed_sync_is_not_healed_by_a_later_one() {
        let lost = (0..50).any(|seed| {
            let mut image = Image::default();
            image.allocate(1, 0, BLOCK);
            image.write(2, 0, &[1; 4096], || true);
            image.sync_failed(2);
            image.sync(3);
            image.power_cut(&mut Rng::new(seed));
            read(&image, 0, 4096) != [1; 4096]
        });
        assert!(lost);
    }

    #[test]
    fn room_that_was_not_synced_may_vanish_with_what_was_written_into_it() {
        let vanished = (0..50).any(|seed| {
            let mut image = Image::default();
            image.allocate(1, 0, BLOCK);
            image.write(2, 0, &[1; 4096], || true);
            image.power_cut(&mut Rng::new(seed));
            image.len() == 0
        });
        assert!(vanished);
    }

    #[test]
    fn a_cut_file_reads_zeros_when_it_grows_again() {
        let mut image = Image::default();
        image.allocate(1, 0, 2 * BLOCK);
        image.write(2, 0, &[7; 8192], || true);
        image.set_len(3, 100);
        assert!(!image.has_room(BLOCK, BLOCK));
        image.set_len(4, 2 * BLOCK);
        let bytes = read(&image, 0, 8192);
        assert_eq!(bytes.iter().filter(|byte| **byte == 7).count(), 100);
        assert!(!image.has_room(BLOCK, BLOCK));
    }
}
