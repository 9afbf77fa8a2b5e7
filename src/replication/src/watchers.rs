//! Consumers that wait for data: each watches some partitions and is told once, when the first of them has more.

use effect::Slots;

use crate::Leader;

/// Names a watch; a late one finds nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct WatchId {
    slot: u32,
    generation: u32,
}

/// The watches of a shard. `P` names a partition, `W` is what the caller needs to tell the consumer.
#[derive(Debug)]
pub struct Watchers<P, W> {
    watches: Slots<Watch<P, W>>,
}

#[derive(Debug)]
struct Watch<P, W> {
    partitions: Vec<P>,
    waiter: W,
}

impl<P, W> Default for Watchers<P, W> {
    fn default() -> Self {
        Watchers { watches: Slots::default() }
    }
}

impl<P, W> Watchers<P, W> {
    /// Begins a watch over `partitions`; the caller then calls [`Watchers::attach`] on each one's leader.
    pub fn begin(&mut self, partitions: Vec<P>, waiter: W) -> WatchId {
        let (slot, generation) = self.watches.insert(Watch { partitions, waiter });
        WatchId { slot, generation }
    }

    /// Has `leader`'s next advance end the watch.
    pub fn attach<A>(id: WatchId, leader: &mut Leader<A>) {
        leader.watches.push(id);
    }

    /// Ends a watch: the caller detaches it from the leaders of the partitions that come back.
    pub fn end(&mut self, id: WatchId) -> Option<(Vec<P>, W)> {
        let watch = self.watches.remove(id.slot, id.generation)?;
        Some((watch.partitions, watch.waiter))
    }

    /// Forgets the watch at one leader.
    pub fn detach<A>(id: WatchId, leader: &mut Leader<A>) {
        leader.watches.retain(|other| *other != id);
    }

    /// The watches that an advance of `leader` ends; the caller calls [`Watchers::end`] on each.
    pub fn fired<A>(leader: &mut Leader<A>) -> Vec<WatchId> {
        std::mem::take(&mut leader.watches)
    }

    /// How many watches there are.
    pub fn len(&self) -> usize {
        self.watches.len()
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.watches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use model::{LeaderEpoch, Offset};

    use super::*;

    type Partitions = Watchers<usize, &'static str>;

    #[test]
    fn a_watch_over_two_partitions_ends_once() {
        let mut watchers = Partitions::default();
        let mut leaders = [(); 2].map(|()| Leader::<()>::new(LeaderEpoch(0), Offset::ZERO));
        let id = watchers.begin(vec![0, 1], "consumer");
        leaders.iter_mut().for_each(|leader| Partitions::attach(id, leader));

        leaders[1].advance(Offset::new(1), |()| ());
        let fired = Partitions::fired(&mut leaders[1]);
        assert_eq!(fired, [id]);
        let (partitions, waiter) = watchers.end(id).expect("the watch was there");
        assert_eq!(waiter, "consumer");
        partitions.iter().for_each(|at| Partitions::detach(id, &mut leaders[*at]));

        assert!(Partitions::fired(&mut leaders[0]).is_empty());
        assert!(watchers.end(id).is_none());
        assert!(watchers.is_empty());
    }
}
