//! A connection: bytes into frames, answers out in the order of the requests.
//! Frames that come whole are slices of what was received; the rest of another is received into memory of its size.

use std::collections::VecDeque;

use effect::{Buf, Done, Op, Pool, Socket};
use wire::{Split, split};

/// One client.
#[derive(Debug)]
pub(crate) struct Connection {
    socket: Socket,
    frames: VecDeque<Buf>,
    /// The answers from `first` on; `None` until it is there.
    answers: VecDeque<Option<Vec<u8>>>,
    first: u64,
    receiving: bool,
    sending: bool,
}

impl Connection {
    pub(crate) fn new(socket: Socket) -> Connection {
        Connection {
            socket,
            frames: VecDeque::new(),
            answers: VecDeque::new(),
            first: 0,
            receiving: true,
            sending: false,
        }
    }

    /// Takes in what came; the next receive, unless the stream is over.
    pub(crate) fn received(&mut self, done: Done, memory: &Pool) -> Option<Op> {
        let buf = match done {
            Done::Received(buf) if !buf.is_empty() => buf,
            Done::Filled(buf) if buf.filled() == buf.capacity() => buf.freeze(),
            _ => {
                self.receiving = false;
                return None;
            }
        };
        let mut at = 0;
        loop {
            let rest = &buf[at..];
            match split(rest, FRAME_BYTES_MAX).expect("a client of a measurement behaves well") {
                Split::Whole(range) => {
                    self.frames.push_back(buf.slice(at + range.start..at + range.end));
                    at += range.end;
                }
                Split::Partial { .. } if rest.is_empty() => return Some(Op::Recv { socket: self.socket }),
                Split::Partial { total_bytes } => {
                    let mut whole = memory.take_over(total_bytes);
                    whole.extend(rest);
                    whole.limit(total_bytes);
                    return Some(Op::RecvExact { socket: self.socket, buf: whole });
                }
            }
        }
    }

    pub(crate) fn frame(&mut self) -> Option<Buf> {
        self.frames.pop_front()
    }

    /// Makes a place for the answer to the next request.
    pub(crate) fn expect_answer(&mut self) -> u64 {
        self.answers.push_back(None);
        self.first + self.answers.len() as u64 - 1
    }

    /// An empty answer is none: the client does not listen.
    pub(crate) fn answer(&mut self, sequence: u64, answer: Vec<u8>) {
        let place = usize::try_from(sequence - self.first).expect("a place in the queue");
        self.answers[place] = Some(answer);
    }

    /// The answers that are due, if none are on their way.
    pub(crate) fn send(&mut self, memory: &Pool) -> Option<Op> {
        if self.sending || !self.receiving {
            return None;
        }
        let mut bufs = Vec::new();
        while bufs.len() < SEND_BUFS_MAX
            && let Some(Some(answer)) = self.answers.front_mut().map(|answer| answer.take())
        {
            self.answers.pop_front();
            self.first += 1;
            if !answer.is_empty() {
                let mut buf = memory.take_over(answer.len());
                buf.extend(&answer);
                bufs.push(buf.freeze());
            }
        }
        self.sending = !bufs.is_empty();
        self.sending.then_some(Op::Send { socket: self.socket, bufs })
    }

    /// A send that failed needs no more: the receive fails too.
    pub(crate) fn sent(&mut self) {
        self.sending = false;
    }

    pub(crate) fn shut_down(&self) -> Op {
        Op::Shutdown { socket: self.socket }
    }

    /// What ends it, once the stream is over and nothing is in flight.
    pub(crate) fn close(&self) -> Option<Op> {
        (!self.receiving && !self.sending).then_some(Op::Close { socket: self.socket })
    }
}

const FRAME_BYTES_MAX: usize = 100 << 20;
const SEND_BUFS_MAX: usize = 256;
