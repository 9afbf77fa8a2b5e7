//! The broker's side of the network: what its operations on listeners and sockets do, and when they end.

use std::net::{Ipv4Addr, SocketAddr};

use effect::{Done, Fault, Listener, Op, Token};

use crate::disk::Verdict;
use crate::net::ConnId;
use crate::trace::Who;
use crate::world::{Event, Flight, World};

impl World {
    /// A listener for a shard, open at once.
    pub fn listen(&mut self) -> Listener {
        self.net.listen()
    }

    /// An operation on a socket or listener begins; some wait for their turn in the connection's state.
    pub(crate) fn start_socket(&mut self, id: u64) {
        let (op_socket, receives, sends) = match &self.flights[&id].op {
            Op::Accept { listener } => {
                let listening = self.net.listeners.get_mut(&listener.0).expect("the listener is open");
                assert!(listening.accept.is_none(), "two accepts on one listener");
                listening.accept = Some(id);
                let listener = listener.0;
                return self.prod_listener(listener);
            }
            Op::Recv { socket } | Op::RecvExact { socket, .. } => (*socket, true, false),
            Op::Send { socket, .. } | Op::SendFile { socket, .. } => (*socket, false, true),
            Op::Close { socket } | Op::Shutdown { socket } => (*socket, false, false),
            _ => return self.due(id),
        };
        let conn = self.net.conn_of(op_socket);
        let end = self.net.conns.get_mut(&conn).expect("is there");
        if receives {
            assert!(end.recv.is_none(), "two receives in flight on {op_socket:?}");
            end.recv = Some(id);
        } else if sends {
            assert!(end.send.is_none(), "two sends in flight on {op_socket:?}");
            end.send = Some(id);
        } else {
            if matches!(self.flights[&id].op, Op::Close { .. }) {
                assert!(end.recv.is_none(), "close of {op_socket:?} with a receive in flight");
                assert!(end.send.is_none(), "close of {op_socket:?} with a send in flight");
            }
            return self.due(id);
        }
        self.prod(conn);
    }

    /// An operation goes on: all of the disk's end here, a socket's may take several steps.
    pub(crate) fn progress(&mut self, id: u64) {
        let Some(mut flight) = self.flights.remove(&id) else { return };
        flight.due = false;
        match flight.op {
            Op::Accept { listener } => self.accept(id, flight, listener),
            Op::CloseListener { listener } => self.close_listener(flight, listener),
            Op::Recv { socket } => {
                let conn = self.net.conn_of(socket);
                self.receive(id, flight, conn);
            }
            Op::RecvExact { socket, .. } => {
                let conn = self.net.conn_of(socket);
                self.receive_exact(id, flight, conn);
            }
            Op::Send { socket, .. } | Op::SendFile { socket, .. } => {
                let conn = self.net.conn_of(socket);
                self.send(id, flight, conn);
            }
            Op::Shutdown { socket } => {
                let conn = self.net.conn_of(socket);
                self.shut(conn);
                self.finish(flight, Done::Finished);
                self.prod(conn);
            }
            Op::Close { socket } => {
                let conn = self.net.close(socket);
                self.finish(flight, Done::Finished);
                self.server_left(conn);
            }
            _ => self.finish_disk(id, flight),
        }
    }

    pub(crate) fn cancel(&mut self, shard: usize, (room, kind, generation, slot): (u8, u8, u32, u32)) {
        let token = Token { room, kind, generation, slot };
        let meant = |flight: &Flight| {
            let patient = matches!(
                flight.op,
                Op::Accept { .. } | Op::Recv { .. } | Op::RecvExact { .. } | Op::Send { .. } | Op::SendFile { .. }
            );
            patient && flight.shard == shard && flight.token == token
        };
        let Some(id) = self.flights.iter().find(|(_, flight)| meant(flight)).map(|(id, _)| *id) else { return };
        let flight = self.flights.remove(&id).expect("just found");
        self.fail(id, flight, Fault::ECANCELED);
    }

    fn accept(&mut self, id: u64, flight: Flight, listener: Listener) {
        let (shard, token) = (flight.shard, flight.token);
        self.flights.insert(id, flight);
        let Some(listening) = self.net.listeners.get_mut(&listener.0) else { return };
        if listening.backlog.is_empty() {
            return;
        }
        let index = self.rng.index(listening.backlog.len());
        let conn = listening.backlog.remove(index).expect("just counted");
        let socket = self.net.open(conn);
        let done = Done::Accepted {
            socket,
            peer: SocketAddr::from((Ipv4Addr::LOCALHOST, 1024 + (conn.0 % 60_000) as u16)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)),
        };
        self.note(Who::Shard(shard), "accept", [u64::from(conn.0), socket.0 as u64, 0], || format!("n{}", socket.0));
        self.answer(shard, token, done);
        self.prod_listener(listener.0);
    }

    fn close_listener(&mut self, flight: Flight, listener: Listener) {
        let listening = self.net.listeners.remove(&listener.0).expect("the listener is open");
        self.finish(flight, Done::Finished);
        if let Some(accept) = listening.accept
            && let Some(flight) = self.flights.remove(&accept)
        {
            self.fail(accept, flight, Fault::ECANCELED);
        }
        for conn in listening.backlog {
            self.reset_client_later(conn);
        }
    }

    fn receive(&mut self, id: u64, flight: Flight, conn: ConnId) {
        let end = self.net.conns.get_mut(&conn).expect("is there");
        if end.server_reset {
            return self.fail(id, flight, Fault::ECONNRESET);
        }
        let done = if end.to_server.landed.is_empty() {
            if !end.to_server.ended && !end.shut {
                self.flights.insert(id, flight);
                return;
            }
            Done::Received(effect::Buf::EMPTY)
        } else {
            let size = [4096, 8192, 16384][self.rng.index(3)];
            let Some(mut buf) = self.gates[flight.shard].pool.take(size) else {
                self.flights.insert(id, Flight { due: true, ..flight });
                let after_ns = self.rng.range(20_000, 200_000);
                return self.after(after_ns, Event::Flight(id));
            };
            let max = if self.rng.coin() { size } else { self.rng.range(1, size as u64) as usize };
            let end = self.net.conns.get_mut(&conn).expect("is there");
            buf.extend(&end.to_server.take(max));
            self.trace.bytes(buf.as_slice());
            Done::Received(buf.freeze())
        };
        self.received(conn);
        self.finish(flight, done);
    }

    fn receive_exact(&mut self, id: u64, mut flight: Flight, conn: ConnId) {
        let end = self.net.conns.get_mut(&conn).expect("is there");
        if end.server_reset {
            return self.fail(id, flight, Fault::ECONNRESET);
        }
        let Op::RecvExact { buf, .. } = &mut flight.op else { unreachable!("an exact receive") };
        let bytes = end.to_server.take(buf.unfilled_mut().len());
        buf.extend(&bytes);
        let over = buf.unfilled_mut().is_empty() || end.to_server.ended || end.shut;
        self.trace.bytes(&bytes);
        self.poke_writer(conn);
        if !over {
            self.flights.insert(id, flight);
            return;
        }
        self.received(conn);
        let note = (flight.shard, flight.token);
        let Op::RecvExact { buf, .. } = flight.op else { unreachable!("an exact receive") };
        self.tell(note.0, note.1, "RecvExact", Done::Filled(buf));
    }

    /// A receive has ended, its bytes taken.
    fn received(&mut self, conn: ConnId) {
        self.net.conns.get_mut(&conn).expect("is there").recv = None;
        self.poke_writer(conn);
    }

    fn send(&mut self, id: u64, mut flight: Flight, conn: ConnId) {
        let end = &self.net.conns[&conn];
        if end.server_reset {
            return self.fail(id, flight, Fault::ECONNRESET);
        }
        if end.shut {
            return self.fail(id, flight, EPIPE);
        }
        let total = match &flight.op {
            Op::Send { bufs, .. } => bufs.iter().map(|buf| buf.len() as u64).sum(),
            Op::SendFile { len, .. } => *len,
            _ => unreachable!("a send"),
        };
        let left = (total - flight.progress) as usize;
        let run = left.min(end.to_client.room());
        if run > 0 {
            if matches!(flight.op, Op::SendFile { .. }) && self.verdict(&flight.op) == Verdict::BadDevice {
                // Half an answer cannot be taken back.
                self.net.conns.get_mut(&conn).expect("is there").disturbed = true;
                return self.fail(id, flight, Fault::EIO);
            }
            let mut bytes = vec![0; run];
            match &flight.op {
                Op::Send { bufs, .. } => gather(bufs, flight.progress as usize, &mut bytes),
                Op::SendFile { file, offset, .. } => {
                    let count = self.disk.splice(*file, offset + flight.progress, &mut bytes);
                    assert!(count == run, "a spliced file was cut");
                }
                _ => unreachable!("a send"),
            }
            flight.progress += run as u64;
            self.fly(conn, false, bytes);
        }
        if run < left {
            self.flights.insert(id, flight);
            return;
        }
        self.net.conns.get_mut(&conn).expect("is there").send = None;
        self.disk.splice_ended(id);
        self.finish(flight, Done::Finished);
    }

    fn shut(&mut self, conn: ConnId) {
        let end = self.net.conns.get_mut(&conn).expect("is there");
        if !std::mem::replace(&mut end.shut, true) {
            self.fly_end(conn, false);
        }
    }

    /// The broker has closed its end: a kernel resets the connection if bytes came that nobody read.
    fn server_left(&mut self, conn: ConnId) {
        let end = &self.net.conns[&conn];
        if !end.to_server.landed.is_empty() && self.rng.coin() {
            return self.reset_client_later(conn);
        }
        if !end.shut {
            self.fly_end(conn, false);
        }
    }

    pub(crate) fn prod_listener(&mut self, listener: i32) {
        let Some(listening) = self.net.listeners.get(&listener) else { return };
        if let (false, Some(accept)) = (listening.backlog.is_empty(), listening.accept) {
            self.due(accept);
        }
    }

    /// Lets the broker's operations on a connection go on if they can.
    pub(crate) fn prod(&mut self, conn: ConnId) {
        let Some(end) = self.net.conns.get(&conn) else { return };
        let over = end.server_reset || end.shut;
        let readable = over || !end.to_server.landed.is_empty() || end.to_server.ended;
        let writable = over || end.to_client.room() > 0;
        let (recv, send) = (end.recv.filter(|_| readable), end.send.filter(|_| writable));
        recv.into_iter().chain(send).for_each(|id| self.due(id));
    }

    fn due(&mut self, id: u64) {
        let Some(flight) = self.flights.get_mut(&id) else { return };
        if !std::mem::replace(&mut flight.due, true) {
            let after_ns = self.rng.spread(500, 20_000);
            self.after(after_ns, Event::Flight(id));
        }
    }

    fn finish(&mut self, flight: Flight, done: Done) {
        let name = ["Accept", "CloseListener", "Recv", "RecvExact", "Send", "SendFile", "Shutdown", "Close"];
        let kind = flight.op.kind() as usize;
        self.tell(flight.shard, flight.token, name.get(kind).copied().unwrap_or("op"), done);
    }

    fn fail(&mut self, id: u64, flight: Flight, errno: i32) {
        match &flight.op {
            Op::Accept { listener } => {
                if let Some(listening) = self.net.listeners.get_mut(&listener.0) {
                    listening.accept = None;
                }
            }
            Op::Recv { socket } | Op::RecvExact { socket, .. } => {
                let conn = self.net.conn_of(*socket);
                self.net.conns.get_mut(&conn).expect("is there").recv = None;
            }
            Op::Send { socket, .. } | Op::SendFile { socket, .. } => {
                let conn = self.net.conn_of(*socket);
                self.net.conns.get_mut(&conn).expect("is there").send = None;
                self.disk.splice_ended(id);
            }
            _ => (),
        }
        let op = flight.op.kind();
        self.finish(flight, Done::Failed(Fault { op, errno }));
    }

    fn tell(&mut self, shard: usize, token: Token, what: &'static str, done: Done) {
        let number = crate::describe::done_number(&done);
        let numbers = [what.len() as u64, u64::from(token.slot), number];
        self.note(Who::Shard(shard), "done", numbers, || format!("{what} {}", crate::describe::done(&done)));
        self.answer(shard, token, done);
    }
}

/// Copies from the place `at` in the joined `bufs`.
fn gather(bufs: &[effect::Buf], mut at: usize, out: &mut [u8]) {
    let mut done = 0;
    for buf in bufs {
        if at >= buf.len() {
            at -= buf.len();
            continue;
        }
        let run = (buf.len() - at).min(out.len() - done);
        out[done..done + run].copy_from_slice(&buf[at..at + run]);
        done += run;
        at = 0;
        if done == out.len() {
            return;
        }
    }
    assert!(done == out.len());
}

/// The other direction was shut down.
const EPIPE: i32 = 32;
