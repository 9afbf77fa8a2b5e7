//! Answers on their way to a socket: in order, at most one operation at a time, so that what a client does not take
//! stays bounded by what was asked.

use std::collections::VecDeque;

use effect::{Buf, File, Instant, Op, ShardId, Socket};
use log::Lease;

use crate::request::OutPiece;

/// A connection's unsent answers.
#[derive(Debug, Default)]
pub(super) struct Output {
    queue: VecDeque<OutPiece>,
    sending: Option<Sending>,
}

/// What an operation in flight took.
#[derive(Debug)]
struct Sending {
    since: Instant,
    /// What is left to send of a file after it.
    rest: Option<Rest>,
}

/// A range of a file, maybe empty. Its lease lasts while any of it is being sent.
#[derive(Debug)]
struct Rest {
    file: File,
    offset: u64,
    len: u64,
    lease: Lease,
    home: ShardId,
}

impl Output {
    /// Nothing empty gets in: an answer is over when its last byte is, and who waits for that is told by a completion.
    pub(super) fn push(&mut self, pieces: Vec<OutPiece>) {
        self.queue.extend(pieces.into_iter().filter(|piece| match piece {
            OutPiece::Memory(buf) => !buf.is_empty(),
            OutPiece::File { len, .. } => {
                assert!(*len > 0, "a lease would stay behind");
                true
            }
        }));
    }

    /// The next operation, if none is in flight and there is something to send.
    pub(super) fn next(&mut self, socket: Socket, now: Instant) -> Option<Op> {
        if self.sending.is_some() {
            return None;
        }
        let mut bufs: Vec<Buf> = Vec::new();
        let mut bytes = 0;
        while bytes < SEND_BYTES_MAX && bufs.len() < SEND_BUFS_MAX {
            match self.queue.pop_front() {
                Some(OutPiece::Memory(buf)) => {
                    bytes += buf.len();
                    bufs.push(buf);
                }
                Some(OutPiece::File { file, offset, len, lease, home }) if bufs.is_empty() => {
                    let now_len = len.min(SEND_BYTES_MAX as u64);
                    let rest = Rest { file, offset: offset + now_len, len: len - now_len, lease, home };
                    self.sending = Some(Sending { since: now, rest: Some(rest) });
                    return Some(Op::SendFile { socket, file, offset, len: now_len });
                }
                Some(piece) => {
                    self.queue.push_front(piece);
                    break;
                }
                None => break,
            }
        }
        if bufs.is_empty() {
            return None;
        }
        self.sending = Some(Sending { since: now, rest: None });
        Some(Op::Send { socket, bufs })
    }

    /// The operation in flight has ended; the lease that it used goes back, unless it is needed for the next one.
    pub(super) fn sent(&mut self, is_last: bool) -> Option<(Lease, ShardId)> {
        let Rest { file, offset, len, lease, home } = self.sending.take()?.rest?;
        if len == 0 || is_last {
            return Some((lease, home));
        }
        self.queue.push_front(OutPiece::File { file, offset, len, lease, home });
        None
    }

    pub(super) fn is_idle(&self) -> bool {
        self.sending.is_none() && self.queue.is_empty()
    }

    /// Since when the client has not taken what is being sent.
    pub(super) fn sending_since(&self) -> Option<Instant> {
        self.sending.as_ref().map(|sending| sending.since)
    }

    /// Everything that will not be sent.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = OutPiece> + '_ {
        self.queue.drain(..)
    }
}

/// How much one operation takes: what a client that makes any progress at all takes within its deadline.
const SEND_BYTES_MAX: usize = 1 << 20;
const SEND_BUFS_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use effect::Pool;

    use super::*;

    /// Answers of the older fetch versions have nothing behind their records. A request that came before the records'
    /// last send was over waited for ever: that send left the output with something in it that brings no completion.
    #[test]
    fn an_answer_is_over_with_its_last_byte() {
        let mut records = Pool::new(SEND_BYTES_MAX).take(SEND_BYTES_MAX).expect("the pool has that much");
        records.extend(&vec![1; SEND_BYTES_MAX]);
        let mut output = Output::default();
        output.push(vec![OutPiece::Memory(records.freeze()), OutPiece::Memory(Buf::EMPTY)]);
        assert!(matches!(output.next(Socket(4), Instant::default()), Some(Op::Send { .. })));
        assert!(!output.is_idle());
        assert!(output.sent(false).is_none());
        assert!(output.is_idle());
    }
}
