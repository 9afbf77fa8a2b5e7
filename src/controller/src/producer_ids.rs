//! Producer ids, a block at a time: the block is durable before an id of it is handed out, so a restart may skip
//! ids but never repeats one.

use model::ProducerId;

use crate::{Controller, Decided, MetadataRecord, Refusal};

/// How many ids one block has.
pub const PRODUCER_ID_BLOCK_COUNT: i64 = 1000;

/// Ids to hand out, each once. They are the caller's from the moment that the block is durable.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ProducerIdBlock {
    next: i64,
    end: i64,
}

impl ProducerIdBlock {
    /// The next id, `None` when the block is used up.
    pub fn take(&mut self) -> Option<ProducerId> {
        assert!(self.next <= self.end);
        if self.next == self.end {
            return None;
        }
        self.next += 1;
        Some(ProducerId(self.next - 1))
    }
}

impl Controller {
    /// Sets a fresh block aside.
    pub fn allocate_producer_ids(&mut self) -> Decided<Result<ProducerIdBlock, Refusal>> {
        let next = self.pending().next_producer_id().0;
        match next.checked_add(PRODUCER_ID_BLOCK_COUNT) {
            None => self.decide(Vec::new(), Err(Refusal::ProducerIdsExhausted)),
            Some(end) => {
                let record = MetadataRecord::ProducerIdBlock { next: ProducerId(end) };
                self.decide(vec![record], Ok(ProducerIdBlock { next, end }))
            }
        }
    }
}
