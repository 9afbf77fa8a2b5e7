//! Bytes off a socket into frames.
//!
//! Small frames are slices of the buffer that they came in. A frame that is not whole gets memory of its size, once the
//! size was checked against the limit and the shard's budget, and the rest is received straight into it.

use std::collections::VecDeque;

use effect::{Buf, BufMut, Instant, Pool};
use wire::{Malformed, Split, split};

/// What a connection has received and not handled.
#[derive(Debug, Default)]
pub(super) struct Input {
    /// The first bytes of a length.
    prefix: Vec<u8>,
    frames: VecDeque<Buf>,
    /// A frame that found no memory: its length and what has come of it.
    starved: Option<(usize, Buf)>,
    /// Since when a frame is not whole.
    partial_since: Option<Instant>,
}

/// What to receive next.
#[derive(Debug)]
pub(super) enum Next {
    /// Whatever comes.
    Anything,
    /// The rest of a frame.
    Exactly(BufMut),
    /// Nothing, until there is memory.
    Starved,
}

impl Input {
    /// Takes in what was received.
    pub(super) fn received(&mut self, buf: &Buf, limit: usize, memory: &Pool, now: Instant) -> Result<Next, Malformed> {
        let mut at = 0;
        while let Some((frame_start, total)) = self.frame_at(buf, at, limit)? {
            let frame_end = frame_start + total;
            if frame_end > buf.len() {
                self.starved = Some((total, buf.slice(frame_start..buf.len())));
                self.partial_since = Some(now);
                return Ok(self.fill(memory));
            }
            self.frames.push_back(buf.slice(frame_start..frame_end));
            self.prefix.clear();
            at = frame_end;
        }
        self.partial_since = (!self.prefix.is_empty()).then_some(now);
        Ok(Next::Anything)
    }

    /// Asks for the memory that a frame needs.
    pub(super) fn fill(&mut self, memory: &Pool) -> Next {
        let Some((total, head)) = &self.starved else { return Next::Anything };
        let Some(mut buf) = memory.take(*total) else { return Next::Starved };
        buf.extend(head);
        buf.limit(*total);
        self.starved = None;
        self.prefix.clear();
        Next::Exactly(buf)
    }

    /// A frame received into its own memory. `false`: the stream ended inside it.
    pub(super) fn filled(&mut self, buf: BufMut) -> bool {
        self.partial_since = None;
        if buf.filled() < buf.capacity() {
            return false;
        }
        self.frames.push_back(buf.freeze());
        true
    }

    pub(super) fn is_starved(&self) -> bool {
        self.starved.is_some()
    }

    /// The next frame, without its length.
    pub(super) fn front(&self) -> Option<&Buf> {
        self.frames.front()
    }

    pub(super) fn pop(&mut self) -> Option<Buf> {
        self.frames.pop_front()
    }

    /// Since when a frame has been on its way.
    pub(super) fn partial_since(&self) -> Option<Instant> {
        self.partial_since
    }

    /// Drops everything.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.starved = None;
    }

    /// Where in `buf` the frame begins whose length begins at `at`, and its length; `None` if the length is not whole.
    fn frame_at(&mut self, buf: &Buf, at: usize, limit: usize) -> Result<Option<(usize, usize)>, Malformed> {
        let take = (PREFIX_BYTES - self.prefix.len()).min(buf.len() - at);
        self.prefix.extend_from_slice(&buf[at..at + take]);
        if self.prefix.len() < PREFIX_BYTES {
            return Ok(None);
        }
        let total = match split(&self.prefix, limit)? {
            Split::Whole(range) => range.len(),
            Split::Partial { total_bytes } => total_bytes - PREFIX_BYTES,
        };
        Ok(Some((at + take, total)))
    }
}

const PREFIX_BYTES: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    fn buf(bytes: &[u8], pool: &Pool) -> Buf {
        let mut buf = pool.take(bytes.len().max(1)).expect("fits");
        buf.extend(bytes);
        buf.freeze()
    }

    /// Frames of a stream cut at every place that `step` says.
    fn frames(stream: &[u8], step: usize) -> Vec<Vec<u8>> {
        let pool = Pool::new(1 << 20);
        let mut input = Input::default();
        let mut rest = stream;
        let mut next = Next::Anything;
        while !rest.is_empty() {
            next = match next {
                Next::Anything => {
                    let (head, tail) = rest.split_at(step.min(rest.len()));
                    rest = tail;
                    input.received(&buf(head, &pool), 100, &pool, Instant(0)).expect("well-formed")
                }
                Next::Exactly(mut exact) => {
                    let (head, tail) = rest.split_at(exact.unfilled_mut().len().min(rest.len()));
                    rest = tail;
                    exact.extend(head);
                    assert!(input.filled(exact));
                    Next::Anything
                }
                Next::Starved => panic!("there is memory"),
            };
        }
        std::iter::from_fn(|| input.pop()).map(|frame| frame.to_vec()).collect()
    }

    #[test]
    fn frames_are_the_same_however_the_stream_is_cut() {
        let stream = [0, 0, 0, 3, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 1, 9, 0, 0, 0, 5, 4, 5, 6, 7, 8];
        let whole: Vec<Vec<u8>> = vec![vec![1, 2, 3], vec![], vec![9], vec![4, 5, 6, 7, 8]];
        for step in 1..=stream.len() {
            assert_eq!(frames(&stream, step), whole, "cut every {step} bytes");
        }
    }

    #[test]
    fn a_length_beyond_the_limit_is_refused_before_memory_is_asked_for() {
        let pool = Pool::new(1 << 20);
        let mut input = Input::default();
        let received = buf(&[0x7f, 0xff, 0xff, 0xff], &pool);
        assert!(input.received(&received, 100, &pool, Instant(0)).is_err());
    }

    #[test]
    fn a_frame_without_memory_waits_for_it() {
        let pool = Pool::new(3 * 4096);
        let mut input = Input::default();
        let received = buf(&[0, 0, 0x20, 0, 1, 2, 3], &pool);
        let hog = pool.take(4096).expect("fits");
        assert!(matches!(input.received(&received, 1 << 20, &pool, Instant(0)), Ok(Next::Starved)));
        assert!(input.is_starved());
        assert!(matches!(input.fill(&pool), Next::Starved));
        drop(hog);
        let Next::Exactly(rest) = input.fill(&pool) else { panic!("there is memory") };
        assert_eq!((rest.filled(), rest.capacity()), (3, 0x2000));
    }
}
