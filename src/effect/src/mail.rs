//! Mailboxes between shards: one bounded single-producer, single-consumer ring for each ordered pair, and a flag by
//! which a shard says that it sleeps.
//!
//! Invariants: mail of one sender arrives in order; a full mailbox refuses, it never grows; a peer is woken only when
//! it has said that it sleeps.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// A shard's index, from 0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ShardId(pub u16);

impl ShardId {
    /// As an index into a table of shards.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

/// One shard's ends of all its mailboxes.
pub struct Endpoint<M> {
    own: ShardId,
    to: Vec<Option<rtrb::Producer<M>>>,
    from: Vec<Option<rtrb::Consumer<M>>>,
    asleep: Arc<[Asleep]>,
    sent: Vec<bool>,
}

/// On a cache line of its own, so that a peer's flag costs nobody else.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Asleep(AtomicBool);

/// Mailboxes among `shards` shards, each holding at most `capacity` messages.
pub fn mesh<M>(shards: usize, capacity: usize) -> Vec<Endpoint<M>> {
    assert!(shards > 0);
    assert!(shards <= usize::from(u16::MAX));
    let asleep: Arc<[Asleep]> = (0..shards).map(|_| Asleep::default()).collect();
    let mut ends: Vec<Endpoint<M>> = (0..shards)
        .map(|own| Endpoint {
            own: ShardId(own as u16),
            to: (0..shards).map(|_| None).collect(),
            from: (0..shards).map(|_| None).collect(),
            asleep: asleep.clone(),
            sent: vec![false; shards],
        })
        .collect();
    for from in 0..shards {
        for to in (0..shards).filter(|to| *to != from) {
            let (producer, consumer) = rtrb::RingBuffer::new(capacity);
            ends[from].to[to] = Some(producer);
            ends[to].from[from] = Some(consumer);
        }
    }
    ends
}

impl<M> Endpoint<M> {
    /// Whose end this is.
    pub fn own(&self) -> ShardId {
        self.own
    }

    /// How many shards there are, this one included.
    pub fn shard_count(&self) -> usize {
        self.to.len()
    }

    /// Puts `mail` into `to`'s mailbox; gives it back if that is full. Panics if `to` is this shard.
    pub fn send(&mut self, to: ShardId, mail: M) -> Result<(), M> {
        let producer = self.to[to.index()].as_mut().expect("mail goes to another shard");
        match producer.push(mail) {
            Ok(()) => {
                self.sent[to.index()] = true;
                Ok(())
            }
            Err(rtrb::PushError::Full(mail)) => Err(mail),
        }
    }

    /// Hands over all mail that was there when each mailbox was opened, sender by sender.
    pub fn receive(&mut self, mut deliver: impl FnMut(ShardId, M)) {
        for (from, consumer) in self.from.iter_mut().enumerate() {
            let Some(consumer) = consumer else { continue };
            for _ in 0..consumer.slots() {
                let Ok(mail) = consumer.pop() else { break };
                deliver(ShardId(from as u16), mail);
            }
        }
    }

    /// Whether any mail waits.
    pub fn has_mail(&self) -> bool {
        self.from.iter().flatten().any(|consumer| !consumer.is_empty())
    }

    /// Calls `wake` for every shard that was sent mail since the last call and sleeps.
    pub fn wakes(&mut self, mut wake: impl FnMut(ShardId)) {
        // Pairs with the fence in `sleep`: either this load sees the flag, or that check sees the mail.
        fence(Ordering::SeqCst);
        for (to, sent) in self.sent.iter_mut().enumerate() {
            if std::mem::take(sent) && self.asleep[to].0.load(Ordering::Relaxed) {
                wake(ShardId(to as u16));
            }
        }
    }

    /// Says that this shard is about to sleep. Answers `false`, and takes it back, if mail has come meanwhile.
    pub fn sleep(&mut self) -> bool {
        let flag = &self.asleep[self.own.index()].0;
        flag.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.has_mail() {
            self.asleep[self.own.index()].0.store(false, Ordering::Relaxed);
            return false;
        }
        true
    }

    /// Says that this shard is awake.
    pub fn awake(&mut self) {
        self.asleep[self.own.index()].0.store(false, Ordering::Relaxed);
    }
}

impl<M> std::fmt::Debug for Endpoint<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Endpoint({:?} of {})", self.own, self.to.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mail_arrives_in_order_and_a_full_box_refuses() {
        let mut ends = mesh::<u32>(2, 2);
        let mut second = ends.pop().expect("two ends");
        let mut first = ends.pop().expect("two ends");
        assert_eq!(first.send(ShardId(1), 1), Ok(()));
        assert_eq!(first.send(ShardId(1), 2), Ok(()));
        assert_eq!(first.send(ShardId(1), 3), Err(3));
        let mut got = Vec::new();
        second.receive(|from, mail| got.push((from, mail)));
        assert_eq!(got, [(ShardId(0), 1), (ShardId(0), 2)]);
    }

    #[test]
    fn only_a_sleeping_peer_is_woken() {
        let mut ends = mesh::<u32>(2, 8);
        let mut second = ends.pop().expect("two ends");
        let mut first = ends.pop().expect("two ends");
        let woken = |end: &mut Endpoint<u32>| {
            let mut woken = Vec::new();
            end.wakes(|shard| woken.push(shard));
            woken
        };
        first.send(ShardId(1), 1).expect("room");
        assert_eq!(woken(&mut first), []);
        assert!(!second.sleep());
        second.receive(|_, _| ());
        assert!(second.sleep());
        first.send(ShardId(1), 2).expect("room");
        assert_eq!(woken(&mut first), [ShardId(1)]);
        assert_eq!(woken(&mut first), []);
    }
}
