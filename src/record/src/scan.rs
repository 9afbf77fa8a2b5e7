//! A pass over a batch's records in bounded steps: decompression and walk together.
//! Holds no bytes of the batch between steps, so whoever owns them may keep them anywhere.

use crate::decode::Decoder;
use crate::walk::{Visit, Walk};
use crate::{Header, RecordError};

pub(crate) struct Scan {
    decoder: Option<Box<Decoder>>,
    walk: Walk,
}

impl Scan {
    pub(crate) fn new(header: &Header, walk: Walk) -> Scan {
        Scan { decoder: Decoder::new(header.codec).map(Box::new), walk }
    }

    /// Goes on until about `budget_bytes` more were decompressed; whether the pass is over.
    pub(crate) fn step(
        &mut self,
        payload: &[u8],
        budget_bytes: usize,
        visit: &mut impl Visit,
    ) -> Result<bool, RecordError> {
        let Some(decoder) = &mut self.decoder else {
            self.walk.feed(payload, visit)?;
            self.walk.finish()?;
            return Ok(true);
        };
        let mut done_bytes = 0;
        loop {
            let window = decoder.next(payload)?;
            if window.is_empty() {
                self.walk.finish()?;
                return Ok(true);
            }
            self.walk.feed(window, visit)?;
            if visit.satisfied() {
                return Ok(true);
            }
            // A window of 0 bytes ended the pass, so every step makes progress even with no budget.
            done_bytes += window.len();
            if done_bytes >= budget_bytes {
                return Ok(false);
            }
        }
    }
}
