//! One client's connection: frames out, frames in, and the rules that hold for all of them: answers come in the order
//! of the requests, each with its number, each in time, and the broker ends no connection of a good client.

use std::collections::VecDeque;

use wire::{ApiKey, Reader, ResponseHeader, Split, Writer};

use super::Stage;
use crate::net::{ConnId, Incoming, Leave};
use crate::trace::Who;

/// A connection that is made anew when it breaks.
#[derive(Debug, Default)]
pub(crate) struct Session {
    link: Option<Link>,
    correlation_id: i32,
    /// No new connection before then.
    connect_ns: u64,
}

#[derive(Debug)]
struct Link {
    conn: ConnId,
    out: Vec<u8>,
    received: Vec<u8>,
    awaited: VecDeque<Awaited>,
    /// A request without an answer was sent: the broker can tell of its failure only by ending the connection.
    may_end: bool,
}

#[derive(Debug)]
struct Awaited {
    key: ApiKey,
    version: i16,
    correlation_id: i32,
    tag: u64,
    sent_ns: u64,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) key: ApiKey,
    pub(crate) version: i16,
    /// What the request was marked with.
    pub(crate) tag: u64,
    pub(crate) body: Vec<u8>,
}

/// What a session hears.
#[derive(Debug)]
pub(crate) enum Heard {
    Answer(Answer),
    /// The connection is gone, and every answer that was awaited on it.
    Broken,
}

impl Session {
    /// Whether a request may be sent; makes a connection if there is none and it is time.
    pub(crate) fn is_open(&mut self, stage: &mut Stage<'_>) -> bool {
        if self.link.is_some() {
            return true;
        }
        if stage.now_ns() < self.connect_ns {
            stage.at(self.connect_ns);
            return false;
        }
        let conn = stage.world.connect(stage.me);
        self.link =
            Some(Link { conn, out: Vec::new(), received: Vec::new(), awaited: VecDeque::new(), may_end: false });
        true
    }

    /// Requests whose answers are awaited.
    pub(crate) fn awaited_count(&self) -> usize {
        self.link.as_ref().map_or(0, |link| link.awaited.len())
    }

    /// Sends a request; `tag` comes back with the answer. A request without an answer is not awaited.
    pub(crate) fn send(
        &mut self,
        stage: &mut Stage<'_>,
        (key, version): (ApiKey, i16),
        tag: Option<u64>,
        body: impl FnOnce(&mut Writer),
    ) {
        let link = self.link.as_mut().expect("open");
        self.correlation_id += 1;
        let correlation_id = self.correlation_id;
        let frame = wire::request_frame(key, version, correlation_id, Some("sim"), body);
        let (now_ns, who) = (stage.now_ns(), Who::Client(stage.me));
        let numbers = [key as u64, version as u64, frame.len() as u64];
        stage.world.trace.note(now_ns, who, "request", numbers, || {
            format!("{key:?} v{version} #{correlation_id} {} bytes on connection {}", frame.len(), link.conn.0)
        });
        link.out.extend_from_slice(&frame);
        link.may_end |= tag.is_none();
        if let Some(tag) = tag {
            link.awaited.push_back(Awaited { key, version, correlation_id, tag, sent_ns: now_ns });
        }
        link.flush(stage);
    }

    /// What came next, if anything did.
    pub(crate) fn hear(&mut self, stage: &mut Stage<'_>) -> Option<Heard> {
        let link = self.link.as_mut()?;
        link.flush(stage);
        loop {
            if let Ok(Split::Whole(range)) = wire::split(&link.received, 1 << 26) {
                let frame = link.received[range.clone()].to_vec();
                link.received.drain(..range.end);
                return Some(Heard::Answer(link.answer(stage, &frame)));
            }
            match stage.world.client_read(link.conn, 1 << 16) {
                Incoming::Bytes(bytes) => link.received.extend_from_slice(&bytes),
                Incoming::Nothing => break,
                Incoming::End | Incoming::Reset => {
                    let excused = link.may_end || stage.world.is_disturbed(link.conn);
                    assert!(excused, "the broker ended connection {} of a good client", link.conn.0);
                    return self.broken(stage, Leave::Close);
                }
            }
        }
        let sent_ns = link.awaited.front()?.sent_ns;
        let clean = stage.world.clean_since_ns().is_some_and(|since_ns| sent_ns >= since_ns);
        let patience_ns = match stage.world.is_disturbed(link.conn) {
            true => FORLORN_NS_MAX,
            false if clean => CLEAN_ANSWER_NS_MAX,
            false => ANSWER_NS_MAX,
        };
        let overdue_ns = sent_ns + patience_ns;
        if stage.now_ns() < overdue_ns {
            stage.at(overdue_ns);
            return None;
        }
        let first = link.awaited.front().expect("just looked");
        assert!(
            stage.world.is_disturbed(link.conn),
            "no answer to {:?} v{} #{} of c{} on connection {} within {} ms",
            first.key,
            first.version,
            first.correlation_id,
            stage.me,
            link.conn.0,
            patience_ns / 1_000_000
        );
        self.broken(stage, Leave::Reset)
    }

    /// Leaves, whatever is awaited.
    pub(crate) fn leave(&mut self, stage: &mut Stage<'_>, how: Leave) {
        if let Some(link) = self.link.take() {
            stage.world.client_leave(link.conn, how);
        }
    }

    fn broken(&mut self, stage: &mut Stage<'_>, how: Leave) -> Option<Heard> {
        self.leave(stage, how);
        self.connect_ns = stage.think(500, 20_000);
        stage.at(self.connect_ns);
        Some(Heard::Broken)
    }
}

impl Link {
    fn flush(&mut self, stage: &mut Stage<'_>) {
        if !self.out.is_empty() {
            let count = stage.world.client_send(self.conn, &self.out);
            self.out.drain(..count);
        }
    }

    fn answer(&mut self, stage: &mut Stage<'_>, frame: &[u8]) -> Answer {
        let awaited = self.awaited.pop_front().expect("an answer that nobody asked for");
        let mut reader = Reader::new(frame);
        let header = ResponseHeader::decode(&mut reader, awaited.key, awaited.version).expect("a whole header");
        assert!(
            header.correlation_id == awaited.correlation_id,
            "answer #{} where #{} is awaited",
            header.correlation_id,
            awaited.correlation_id
        );
        let Awaited { key, version, correlation_id, tag, .. } = awaited;
        let (now_ns, who) = (stage.now_ns(), Who::Client(stage.me));
        stage.world.trace.note(now_ns, who, "answer", [key as u64, version as u64, frame.len() as u64], || {
            format!("{key:?} v{version} #{correlation_id} {} bytes on connection {}", frame.len(), self.conn.0)
        });
        Answer { key, version, tag, body: reader.rest().to_vec() }
    }
}

/// How long an answer may take. Faults are over sooner than this; a parked fetch waits much less.
const ANSWER_NS_MAX: u64 = 60_000_000_000;

/// How long when nothing is slow: the longest wait of a fetch and a start of the broker.
const CLEAN_ANSWER_NS_MAX: u64 = 2_000_000_000;

/// How long an answer is awaited on a connection that was cut.
const FORLORN_NS_MAX: u64 = 300_000_000;
