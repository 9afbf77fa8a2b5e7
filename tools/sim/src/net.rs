//! The network's things: listeners, connections, and the pipe in each direction of one.
//!
//! Owns bytes on their way and what may still be sent. Never knows why anything ends: the world decides.
//! Invariants: bytes of one pipe land in the order in which they were sent; a pipe holds at most its capacity between
//! the sender's call and the receiver's.

use std::collections::{BTreeMap, VecDeque};

use effect::{Listener, Socket};

/// A connection, by number; numbers are never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct ConnId(pub u32);

/// What a client finds when it reads.
#[derive(PartialEq, Eq, Debug)]
pub enum Incoming {
    /// Bytes.
    Bytes(Vec<u8>),
    /// Nothing yet.
    Nothing,
    /// The broker has ended the connection.
    End,
    /// The connection is broken, or was refused.
    Reset,
}

/// How a client leaves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Leave {
    /// In order: what it sent still arrives.
    Close,
    /// Abruptly.
    Reset,
    /// Without a word: the broker learns nothing.
    Vanish,
}

#[derive(Debug, Default)]
pub(crate) struct Net {
    pub(crate) listeners: BTreeMap<i32, Listening>,
    pub(crate) conns: BTreeMap<ConnId, Conn>,
    sockets: Vec<Option<ConnId>>,
    conn_next: u32,
    listener_next: i32,
}

#[derive(Debug, Default)]
pub(crate) struct Listening {
    pub(crate) backlog: VecDeque<ConnId>,
    pub(crate) accept: Option<u64>,
}

#[derive(Debug)]
pub(crate) struct Conn {
    pub(crate) client: usize,
    pub(crate) to_server: Pipe,
    pub(crate) to_client: Pipe,
    /// The broker's end, once accepted and until closed.
    pub(crate) socket: Option<Socket>,
    /// The receive and the send in flight at the broker's end.
    pub(crate) recv: Option<u64>,
    pub(crate) send: Option<u64>,
    /// The broker has shut its end down.
    pub(crate) shut: bool,
    /// The broker's end is closed for good.
    pub(crate) server_gone: bool,
    pub(crate) client_gone: bool,
    pub(crate) server_reset: bool,
    pub(crate) client_reset: bool,
    /// The world did something to it: the broker need not answer any more.
    pub(crate) disturbed: bool,
}

/// One direction.
#[derive(Debug)]
pub(crate) struct Pipe {
    pub(crate) flying: VecDeque<Flying>,
    pub(crate) landed: VecDeque<u8>,
    /// Bytes that will never arrive but take up room.
    pub(crate) lost: usize,
    held: usize,
    capacity: usize,
    /// When the last run lands.
    pub(crate) last_ns: u64,
    /// Nothing arrives any more.
    pub(crate) void: bool,
    /// The end has arrived.
    pub(crate) ended: bool,
    /// The sender has sent the end.
    pub(crate) end_sent: bool,
}

#[derive(Debug)]
pub(crate) enum Flying {
    Bytes(Vec<u8>),
    End,
}

impl Net {
    pub(crate) fn listen(&mut self) -> Listener {
        let number = self.listener_next;
        self.listener_next += 1;
        self.listeners.insert(number, Listening::default());
        Listener(number)
    }

    pub(crate) fn add(&mut self, client: usize, capacity: usize) -> ConnId {
        let id = ConnId(self.conn_next);
        self.conn_next += 1;
        let conn = Conn {
            client,
            to_server: Pipe::new(capacity),
            to_client: Pipe::new(capacity),
            socket: None,
            recv: None,
            send: None,
            shut: false,
            server_gone: false,
            client_gone: false,
            server_reset: false,
            client_reset: false,
            disturbed: false,
        };
        self.conns.insert(id, conn);
        id
    }

    /// Gives the broker's end a number: the lowest free one, as a kernel does.
    pub(crate) fn open(&mut self, conn: ConnId) -> Socket {
        let place = self.sockets.iter().position(Option::is_none).unwrap_or(self.sockets.len());
        if place == self.sockets.len() {
            self.sockets.push(None);
        }
        self.sockets[place] = Some(conn);
        let socket = Socket(place as i32);
        self.conns.get_mut(&conn).expect("is there").socket = Some(socket);
        socket
    }

    pub(crate) fn conn_of(&self, socket: Socket) -> ConnId {
        self.sockets.get(socket.0 as usize).copied().flatten().unwrap_or_else(|| panic!("{socket:?} is not open"))
    }

    pub(crate) fn close(&mut self, socket: Socket) -> ConnId {
        let conn = self.conn_of(socket);
        self.sockets[socket.0 as usize] = None;
        let end = self.conns.get_mut(&conn).expect("is there");
        end.socket = None;
        end.server_gone = true;
        conn
    }

    /// The process is gone: no listener, no socket. Answers the connections that it had, accepted or not.
    pub(crate) fn kill(&mut self) -> Vec<ConnId> {
        self.listeners.clear();
        self.sockets.clear();
        let mut orphans = Vec::new();
        for (id, conn) in self.conns.iter_mut().filter(|(_, conn)| !conn.server_gone) {
            conn.socket = None;
            conn.recv = None;
            conn.send = None;
            conn.server_gone = true;
            orphans.push(*id);
        }
        orphans
    }
}

impl Pipe {
    fn new(capacity: usize) -> Pipe {
        Pipe {
            flying: VecDeque::new(),
            landed: VecDeque::new(),
            lost: 0,
            held: 0,
            capacity,
            last_ns: 0,
            void: false,
            ended: false,
            end_sent: false,
        }
    }

    /// Bytes that the sender may still hand over.
    pub(crate) fn room(&self) -> usize {
        self.capacity.saturating_sub(self.held + self.lost)
    }

    /// Takes a run from the sender; it lands when the world says so. Answers whether it ever will.
    pub(crate) fn send(&mut self, bytes: Vec<u8>) -> bool {
        assert!(bytes.len() <= self.room());
        assert!(!self.end_sent);
        if self.void {
            self.lost += bytes.len();
            return false;
        }
        self.held += bytes.len();
        self.flying.push_back(Flying::Bytes(bytes));
        true
    }

    /// The next run lands.
    pub(crate) fn land(&mut self) {
        match self.flying.pop_front() {
            Some(Flying::Bytes(bytes)) if self.void => self.drop_bytes(bytes.len()),
            Some(Flying::Bytes(bytes)) => self.landed.extend(bytes),
            Some(Flying::End) => self.ended = !self.void,
            None => (),
        }
    }

    /// Takes what has landed, up to `max` bytes.
    pub(crate) fn take(&mut self, max: usize) -> Vec<u8> {
        let count = max.min(self.landed.len());
        self.held -= count;
        self.landed.drain(..count).collect()
    }

    /// Forgets what has landed: its reader is gone.
    pub(crate) fn forget(&mut self) {
        self.held -= self.landed.len();
        self.landed.clear();
    }

    fn drop_bytes(&mut self, count: usize) {
        self.held -= count;
        self.lost += count;
    }
}
