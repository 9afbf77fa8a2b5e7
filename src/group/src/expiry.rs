//! Offsets that nobody has used for long enough go, and groups that have neither members nor offsets.

use model::Timestamp;

use crate::face::Committed;
use crate::group::{Group, State};
use crate::turn::{OffsetKey, Turn};

impl<A: Copy> Group<A> {
    /// Says in the log what of this group is over, if anything is.
    pub(crate) fn expire_offsets(&mut self, turn: &mut Turn<'_, A>) {
        let expired: Vec<OffsetKey> = match self.expires_from() {
            None => Vec::new(),
            Some(since) => {
                let over = self.offsets.iter().filter(|(topic, _, committed)| {
                    !self.is_subscribed_to(topic) && self.is_over(committed, since, turn)
                });
                over.map(|(topic, partition, _)| (topic.clone(), partition)).collect()
            }
        };
        let is_over = self.state == State::Empty
            && self.pending.is_empty()
            && self.offsets.count() == expired.len()
            && (self.generation > 0 || !expired.is_empty());
        if is_over || !expired.is_empty() {
            self.write_erasure(expired, is_over, None, turn);
        }
    }

    /// From when an offset's age counts: `Some(Some)` from then on, `Some(None)` from its commit on, `None`: never.
    fn expires_from(&self) -> Option<Option<Timestamp>> {
        match (&self.protocol_type, self.state) {
            // Nobody ever joined: only offsets.
            (None, _) => Some(None),
            (Some(_), State::Empty) => Some(self.since),
            // Topics that the group does not read any more.
            (Some(_), State::Stable) if self.is_consumers() && self.subscribed.is_some() => Some(None),
            _ => None,
        }
    }

    fn is_over(&self, committed: &Committed, since: Option<Timestamp>, turn: &Turn<'_, A>) -> bool {
        if let Some(expires) = committed.expires {
            return turn.now.wall >= expires;
        }
        // What was committed after the last member left is younger than that.
        let from = since.map_or(committed.at, |since| since.max(committed.at));
        turn.now.wall.0.saturating_sub(from.0) >= turn.config.offsets_retention_ms
    }
}
