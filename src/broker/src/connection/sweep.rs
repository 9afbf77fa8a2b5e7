//! Time without progress: idle clients, frames that never end, answers that nobody takes.

use std::time::Duration;

use effect::Instant;

use crate::connection::{Connection, Connections, Key};
use crate::context::Context;

impl Connections {
    /// Closes who made no progress for too long; looks again a while later.
    pub(crate) fn sweep(&mut self, context: &mut Context<'_>) {
        if self.slots.is_empty() {
            self.next_sweep = None;
            return;
        }
        if self.next_sweep.is_some_and(|next| next > context.now) {
            return;
        }
        let idle_max = Duration::from_millis(context.config.connections_max_idle_ms);
        self.close_where(context, |connection, now| connection.is_stalled(now, idle_max));
        // Often enough to hold a limit to a quarter, seldom enough to cost an idle broker nothing.
        self.next_sweep = Some(context.now.plus(SWEEP_EVERY.min(idle_max / 4).max(SWEEP_EVERY_MIN)));
    }
}

impl Connections {
    /// A home is short of files or memory that answers on their way hold: who takes nothing of his is closed sooner.
    pub(crate) fn shed(&mut self, context: &mut Context<'_>) {
        self.close_where(context, |connection, now| {
            connection.output.sending_since().is_some_and(|since| now.since(since) > SHED_TIME_MAX)
        });
    }

    fn close_where(&mut self, context: &mut Context<'_>, is_too_slow: impl Fn(&Connection, Instant) -> bool) {
        let slow: Vec<Key> = self
            .slots
            .iter()
            .filter(|(_, _, connection)| !connection.closing && is_too_slow(connection, context.now))
            .map(|(slot, generation, _)| Key { slot, generation })
            .collect();
        for key in slow {
            context.metrics.connections_idle_closed_total.add(1);
            self.close(key, context);
        }
    }
}

impl Connection {
    fn is_stalled(&self, now: Instant, idle_max: Duration) -> bool {
        let longer = |since: Option<Instant>, limit: Duration| since.is_some_and(|since| now.since(since) > limit);
        let idle = self.requests.is_empty() && self.output.is_idle();
        (idle && now.since(self.last_active) > idle_max)
            || longer(self.input.partial_since(), idle_max.min(FRAME_TIME_MAX))
            || longer(self.output.sending_since(), idle_max.min(SEND_TIME_MAX))
    }
}

const SWEEP_EVERY: Duration = Duration::from_secs(5);
const SWEEP_EVERY_MIN: Duration = Duration::from_millis(20);

/// A frame that takes longer holds memory that others may need.
const FRAME_TIME_MAX: Duration = Duration::from_secs(120);

/// With others waiting: 4 Mbit/s are fast enough.
const SHED_TIME_MAX: Duration = Duration::from_secs(2);

/// At most a mebibyte at a time is being sent: who takes longer does not read.
const SEND_TIME_MAX: Duration = Duration::from_secs(60);
