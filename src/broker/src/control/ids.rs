//! Producer ids, from blocks that are durable before an id of them is handed out.

use std::collections::VecDeque;

use controller::{Controller, ProducerIdBlock, RecordSet, SetId};
use effect::Buf;

use crate::mail::{Outcome, RequestRef};
use crate::request::admin::Asked;

/// The block at hand, the one that is being written, and who waits.
#[derive(Default)]
pub(super) struct Ids {
    block: Option<ProducerIdBlock>,
    asked: Option<(SetId, ProducerIdBlock)>,
    waiting: VecDeque<(RequestRef, Buf)>,
    exhausted: bool,
}

impl Ids {
    /// A producer wants an id; its request frame was decoded before.
    pub(super) fn ask(&mut self, request: RequestRef, frame: Buf) {
        self.waiting.push_back((request, frame));
    }

    /// A set is durable; if it is the block that was asked for, its ids can be handed out.
    pub(super) fn is_durable(&mut self, set: SetId) -> bool {
        let Some((_, block)) = self.asked.take_if(|(asked, _)| *asked == set) else { return false };
        self.block = Some(block);
        true
    }

    /// Answers as many as there are ids.
    pub(super) fn hand_out(&mut self) -> Vec<(RequestRef, Outcome)> {
        let mut answers = Vec::new();
        while !self.waiting.is_empty() {
            let Some(id) = self.block.as_mut().and_then(ProducerIdBlock::take) else { break };
            let Some((request, frame)) = self.waiting.pop_front() else { break };
            let outcome = match Asked::decode(&frame) {
                Ok(asked) => Outcome::Frame(asked.granted(id).into_frame()),
                Err(_) => Outcome::Malformed,
            };
            answers.push((request, outcome));
        }
        answers
    }

    /// A new block's record set, if somebody waits and none is on its way.
    pub(super) fn want_block(&mut self, controller: &mut Controller) -> Option<RecordSet> {
        if self.waiting.is_empty() || self.asked.is_some() || self.exhausted {
            return None;
        }
        let decided = controller.allocate_producer_ids();
        match (decided.answer, decided.record_set) {
            (Ok(block), Some(set)) => {
                self.asked = Some((set.id, block));
                Some(set)
            }
            _ => {
                tracing::error!("producer ids are used up");
                self.exhausted = true;
                None
            }
        }
    }

    /// Whether a set that is taken back is the block that was asked for.
    pub(super) fn withdraw(&mut self, set: SetId) -> bool {
        self.asked.take_if(|(asked, _)| *asked == set).is_some()
    }

    /// No block will come.
    pub(super) fn fail(&mut self) -> Vec<(RequestRef, Outcome)> {
        self.asked = None;
        let refused = |frame: &Buf| match Asked::decode(frame) {
            Ok(asked) => Outcome::Frame(asked.refused().into_frame()),
            Err(_) => Outcome::Malformed,
        };
        self.waiting.drain(..).map(|(request, frame)| (request, refused(&frame))).collect()
    }
}
