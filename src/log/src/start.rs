//! The log start offset, below which the records are gone for every reader: how it moves ahead of the segments.
//!
//! Owns the offset in memory and the choice of what goes with it; the files go in `retire.rs`, one at a time. Never moves
//! the start back, nor beyond the durable end. Invariant: a segment that goes has a successor whose name is durable, for a
//! start that finds no segment would begin at 0.

use effect::Effects;
use model::Offset;

use crate::{AppendError, Event, Log, LogRef};

impl Log {
    /// Deletes the records below `to`, or below the durable end if that comes first. Answers the start offset from now
    /// on; [`Event::StartMoved`] with at least that start follows once no restart brings them back, also if there was
    /// nothing to delete. Whole segments below it go in the background.
    pub fn advance_start(&mut self, log: LogRef, to: Offset, out: &mut Effects) -> Result<Offset, AppendError> {
        let partition = self.appendable(log)?;
        let start = partition.start().max(to.min(partition.durable_end));
        let all_gone = start == partition.end();
        let partition = self.known(log);
        partition.start_offset = start;
        if all_gone {
            // What is gone is to give its space back: no segment that is written to holds it.
            self.roll(log)?;
        }
        self.drop_below_start(log, out);
        self.events.push(Event::StartMoved { log, start });
        Ok(start)
    }

    /// Drops the segments that lie below the start, as far as they can go yet.
    pub(crate) fn drop_below_start(&mut self, log: LogRef, out: &mut Effects) {
        let partition = self.known(log);
        let start = partition.start_offset;
        if partition.segments.len() > 1 && partition.segments.last().is_some_and(|last| last.base <= start) {
            // The last one's name is made durable though nothing is in it yet, so that those before it can go.
            partition.anchor = true;
        }
        let partition = self.known(log);
        let pairs = partition.segments.iter().zip(partition.segments.iter().skip(1));
        let gone = pairs.take_while(|(segment, next)| segment.sealed && segment.end.offset <= start && next.named);
        if let Some((_, next)) = gone.last() {
            let base = next.base;
            self.drop_before(log, base, out);
        }
    }
}
