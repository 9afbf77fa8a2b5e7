//! Names for operations in flight, and the slots they point back to.

/// Names one operation in flight: which room asked, what for, and for which of its things.
/// The generation tells the late completion of something that is gone from that of its successor in the slot.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Token {
    /// The room that gets the completion; the shard defines the numbers.
    pub room: u8,
    /// What the operation was for; the room defines the numbers.
    pub kind: u8,
    /// Bumped whenever the slot is given to something new.
    pub generation: u32,
    /// The slot of the thing that asked.
    pub slot: u32,
}

/// A table of things addressed by slot and generation: what tokens point to.
#[derive(Debug)]
pub struct Slots<T> {
    entries: Vec<Entry<T>>,
    free: Vec<u32>,
    count: usize,
}

#[derive(Debug)]
struct Entry<T> {
    generation: u32,
    value: Option<T>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { entries: Vec::new(), free: Vec::new(), count: 0 }
    }
}

impl<T> Slots<T> {
    /// Puts a thing into a free slot; returns the slot and its generation.
    pub fn insert(&mut self, value: T) -> (u32, u32) {
        self.count += 1;
        if let Some(slot) = self.free.pop() {
            let entry = &mut self.entries[slot as usize];
            assert!(entry.value.is_none());
            entry.value = Some(value);
            return (slot, entry.generation);
        }
        let slot = u32::try_from(self.entries.len()).expect("fewer than 2^32 slots");
        self.entries.push(Entry { generation: 0, value: Some(value) });
        (slot, 0)
    }

    /// The thing that had this slot at this generation, if it is still there.
    pub fn get_mut(&mut self, slot: u32, generation: u32) -> Option<&mut T> {
        let entry = self.entries.get_mut(slot as usize)?;
        if entry.generation == generation { entry.value.as_mut() } else { None }
    }

    /// As [`Slots::get_mut`], shared.
    pub fn get(&self, slot: u32, generation: u32) -> Option<&T> {
        let entry = self.entries.get(slot as usize)?;
        if entry.generation == generation { entry.value.as_ref() } else { None }
    }

    /// Takes the thing out; its slot's generation moves on.
    pub fn remove(&mut self, slot: u32, generation: u32) -> Option<T> {
        let entry = self.entries.get_mut(slot as usize)?;
        if entry.generation != generation {
            return None;
        }
        let value = entry.value.take()?;
        entry.generation = entry.generation.wrapping_add(1);
        self.free.push(slot);
        self.count -= 1;
        Some(value)
    }

    /// What lies in this slot now, with its generation.
    pub fn at(&self, slot: u32) -> Option<(u32, &T)> {
        let entry = self.entries.get(slot as usize)?;
        Some((entry.generation, entry.value.as_ref()?))
    }

    /// Slots that were ever used.
    pub fn slot_count(&self) -> usize {
        self.entries.len()
    }

    /// How many things are in the table.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether the table is empty.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Every thing with its slot and generation, in slot order.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, u32, &mut T)> {
        self.entries
            .iter_mut()
            .enumerate()
            .filter_map(|(slot, entry)| Some((slot as u32, entry.generation, entry.value.as_mut()?)))
    }

    /// As [`Slots::iter_mut`], shared.
    pub fn iter(&self) -> impl Iterator<Item = (u32, u32, &T)> {
        self.entries
            .iter()
            .enumerate()
            .filter_map(|(slot, entry)| Some((slot as u32, entry.generation, entry.value.as_ref()?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_token_does_not_find_the_slots_next_owner() {
        let mut slots = Slots::default();
        let (slot, generation) = slots.insert("first");
        assert_eq!(slots.remove(slot, generation), Some("first"));
        let (again, next) = slots.insert("second");
        assert_eq!(again, slot);
        assert_eq!(slots.get_mut(slot, generation), None);
        assert_eq!(slots.get_mut(again, next), Some(&mut "second"));
        assert_eq!(slots.len(), 1);
    }
}
