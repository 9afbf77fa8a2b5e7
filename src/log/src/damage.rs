//! What is known to be bad in a segment: ranges that begin and end with batches.
//! Owns the list, in memory only: after a restart the scrub finds it again. Invariant: ranges are in order, don't
//! touch, and are at most `RANGES_MAX`; beyond that the last one swallows what lies between.

use model::Offset;

use crate::index::Place;

/// From the first byte of a bad batch to the next good one, or to the segment's end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Damage {
    pub(crate) from: Place,
    pub(crate) to: Place,
}

impl Damage {
    fn covers(&self, offset: Offset) -> bool {
        self.from.offset <= offset && offset < self.to.offset
    }
}

/// All of a segment's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Damages(Vec<Damage>);

impl Damages {
    /// Takes in what was found; false if it was known.
    pub(crate) fn add(&mut self, damage: Damage) -> bool {
        assert!(damage.from.position < damage.to.position);
        let known = |old: &Damage| old.from.position <= damage.from.position && damage.to.position <= old.to.position;
        if self.0.iter().any(known) {
            return false;
        }
        self.0.push(damage);
        self.0.sort_by_key(|damage| damage.from.position);
        let mut merged: Vec<Damage> = Vec::with_capacity(self.0.len());
        for damage in self.0.drain(..) {
            let is_full = merged.len() == RANGES_MAX;
            match merged.last_mut() {
                Some(last) if is_full || damage.from.position <= last.to.position => {
                    if last.to.position < damage.to.position {
                        last.to = damage.to;
                    }
                }
                _ => merged.push(damage),
            }
        }
        self.0 = merged;
        true
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The range that `offset` lies in.
    pub(crate) fn at(&self, offset: Offset) -> Option<Damage> {
        self.0.iter().find(|damage| damage.covers(offset)).copied()
    }

    /// The first range that begins at or after `offset`.
    pub(crate) fn next_at(&self, offset: Offset) -> Option<Damage> {
        self.0.iter().find(|damage| offset <= damage.from.offset).copied()
    }

    /// The range that holds the byte at `position`.
    pub(crate) fn at_position(&self, position: u64) -> Option<Damage> {
        let holds = |damage: &&Damage| damage.from.position <= position && position < damage.to.position;
        self.0.iter().find(holds).copied()
    }

    /// The first range that begins at or after `position`.
    pub(crate) fn after(&self, position: u64) -> Option<Damage> {
        self.0.iter().find(|damage| position <= damage.from.position).copied()
    }
}

const RANGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    fn damage(from: u64, to: u64) -> Damage {
        let place = |at: u64| Place { offset: Offset::new(at), position: at * 100 };
        Damage { from: place(from), to: place(to) }
    }

    #[test]
    fn ranges_that_touch_become_one_and_their_number_is_bounded() {
        let mut damages = Damages::default();
        assert!(damages.add(damage(10, 12)));
        assert!(!damages.add(damage(10, 12)), "known");
        assert!(damages.add(damage(12, 13)));
        assert!(damages.add(damage(2, 3)));
        assert_eq!(damages.0, [damage(2, 3), damage(10, 13)]);
        assert_eq!(damages.at(Offset::new(12)), Some(damage(10, 13)));
        assert_eq!(damages.at(Offset::new(13)), None);
        assert_eq!(damages.after(300), Some(damage(10, 13)));
        assert_eq!(damages.at_position(299), Some(damage(2, 3)));
        for at in 0..100 {
            damages.add(damage(100 + at * 2, 101 + at * 2));
        }
        assert_eq!(damages.0.len(), RANGES_MAX);
        assert_eq!(damages.0.last().map(|last| last.to), Some(damage(298, 299).to));
    }
}
