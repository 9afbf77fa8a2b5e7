//! The last offset of each key, in bounded memory: the key's hash stands for the key.
//! 128 bits of a SHA-256: nobody finds two keys that would delete each other's records.
//! Invariant: an entry once taken stays; a full table takes no new key.

use model::Offset;
use sha2::{Digest, Sha256};

/// What stands for a key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct KeyHash([u64; 2]);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> KeyHash {
        let digest = Sha256::digest(key);
        let word = |at: usize| digest[at..at + 8].iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
        KeyHash([word(0), word(8)])
    }
}

type Slot = [u64; 3];

#[derive(Debug)]
pub(crate) struct KeyMap {
    /// Hash, and offset plus one; zero if free. Plain numbers, so that fresh zeros come from the kernel untouched.
    slots: Vec<Slot>,
    count: usize,
    count_max: usize,
}

impl KeyMap {
    /// A table for about so many keys, within so much memory.
    pub(crate) fn new(keys: u64, memory_bytes: usize) -> KeyMap {
        let limit = memory_bytes / size_of::<Slot>();
        let wanted = usize::try_from(keys.saturating_mul(10) / 9).unwrap_or(usize::MAX);
        let slots = wanted.clamp(SLOTS_MIN, limit.max(SLOTS_MIN));
        // Nine in ten, as in Kafka (`log.cleaner.io.buffer.load.factor`).
        KeyMap { slots: vec![[0; 3]; slots], count: 0, count_max: slots * 9 / 10 }
    }

    /// Takes in a key's offset, which is later than all before; false if there is no room for another key.
    pub(crate) fn put(&mut self, key: KeyHash, offset: Offset) -> bool {
        let at = self.slot(key);
        let slot = &mut self.slots[at];
        if slot[2] == 0 {
            if self.count == self.count_max {
                return false;
            }
            self.count += 1;
        }
        let KeyHash([high, low]) = key;
        *slot = [high, low, offset.get() + 1];
        true
    }

    /// The last offset of a key that was taken in.
    pub(crate) fn last(&self, key: KeyHash) -> Option<Offset> {
        let [.., last] = self.slots[self.slot(key)];
        last.checked_sub(1).map(Offset::new)
    }

    /// Where a key is or would be. A slot is always free.
    fn slot(&self, key: KeyHash) -> usize {
        let count = self.slots.len();
        // The remainder is below a usize.
        let mut at = (key.0[0] % count as u64) as usize;
        loop {
            let [high, low, last] = self.slots[at];
            if last == 0 || KeyHash([high, low]) == key {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
    }
}

const SLOTS_MIN: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_offset_counts_and_a_full_table_takes_no_new_key() {
        let mut keys = KeyMap::new(4, 0);
        let hash = |key: u32| KeyHash::of(&key.to_be_bytes());
        for key in 0..9 {
            assert!(keys.put(hash(key), Offset::new(u64::from(key))));
        }
        assert!(!keys.put(hash(9), Offset::new(9)));
        assert!(keys.put(hash(3), Offset::new(10)));
        assert_eq!(keys.last(hash(3)), Some(Offset::new(10)));
        assert_eq!(keys.last(hash(0)), Some(Offset::ZERO));
        assert_eq!(keys.last(hash(9)), None);
    }
}
