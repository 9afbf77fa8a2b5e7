//! Operations as they come from the cores: what is answered at once, what goes to the kernel, what has to queue.

use effect::{Buf, Done, Listener, Op, OpKind, Socket, Token};
use io_uring::opcode;

use super::flight::{Flight, Place, Plain, Sending, SendingFile, Step, Work, Writing};
use super::lane::{Lane, Side};
use super::{IGNORED, Id, Ring, entries, user_data};
use crate::file::{self, failed};
use crate::sys;

impl Ring {
    /// Starts one operation.
    pub(super) fn start(&mut self, token: Token, op: Op, done: &mut Vec<(Token, Done)>) {
        let kind = op.kind();
        let work = match op {
            Op::Accept { listener } => Work::Accept { listener },
            Op::CloseListener { listener } => return done.push((token, self.close_listener(listener))),
            Op::Recv { socket } => Work::Recv { socket },
            Op::RecvExact { buf, .. } if buf.filled() == buf.capacity() => {
                return done.push((token, Done::Filled(buf)));
            }
            Op::RecvExact { socket, buf } => Work::RecvExact { socket, buf },
            Op::Send { socket, bufs } => {
                let sending = Sending::new(socket, bufs);
                if sending.total == 0 {
                    return done.push((token, Done::Finished));
                }
                Work::Send(Box::new(sending))
            }
            Op::SendFile { socket, file, offset, len } => {
                if len == 0 {
                    return done.push((token, Done::Finished));
                }
                match send_file(SendingFile { socket, file, offset, left: len, step: Step::Room }) {
                    Ok(work) => work,
                    Err(errno) => return done.push((token, failed(kind, errno))),
                }
            }
            Op::Shutdown { socket } => return self.shutdown(token, socket, done),
            Op::Close { socket } => Work::Plain { kind, plain: Plain::Close { fd: socket.0 } },
            Op::CloseFile { file } => Work::Plain { kind, plain: Plain::Close { fd: file.0 } },
            Op::Open { path, mode } => match file::c_path(&path) {
                Ok(name) => Work::Open { path, name, mode, direct: true },
                Err(errno) => return done.push((token, failed(kind, errno))),
            },
            Op::Read { file, offset, buf } => return self.start_in_lane(token, Work::Read { file, offset, buf }),
            Op::Write { file, offset, bufs, sync } => {
                if bufs.is_empty() {
                    return done.push((token, Done::Finished));
                }
                return self.start_in_lane(token, Work::Write(Box::new(Writing::new(file, offset, bufs, sync))));
            }
            Op::Sync { file } => Work::Plain { kind, plain: Plain::Sync { file } },
            Op::Allocate { file, offset, len } => Work::Plain { kind, plain: Plain::Allocate { file, offset, len } },
            Op::SetLen { file, len } if self.has_ftruncate => Work::Plain { kind, plain: Plain::SetLen { file, len } },
            Op::SetLen { .. }
            | Op::CreateDir { .. }
            | Op::List { .. }
            | Op::Rename { .. }
            | Op::Remove { .. }
            | Op::SyncDir { .. }
            | Op::SyncTree { .. }
            | Op::Space { .. } => return self.start_on_thread(token, kind, op),
            Op::Wake { shard } => return self.wakers.wake(shard),
            Op::Cancel { token } => return self.cancel(token, done),
        };
        self.issue(Flight::new(token, work));
    }

    /// Gives a flight's next step to the kernel.
    pub(super) fn issue(&mut self, mut flight: Flight) {
        let entry = entries::entry(&mut flight);
        self.launch(flight, entry);
    }

    /// Starts what waited in a queue and need not any more.
    pub(super) fn feed(&mut self, done: &mut Vec<(Token, Done)>) {
        self.buffers.refill();
        let arm = self.starved.len().min(self.buffers.available());
        let fed: Vec<Id> = self.starved.drain(..arm).collect();
        for id in fed {
            self.issue_parked(id);
        }
        while let Some(id) = self.writes.next().or_else(|| self.reads.next()) {
            if let Some(flight) = self.flights.remove(id.0, id.1) {
                let side = flight.work.lane().expect("only disk operations queue in a lane");
                assert!(self.lane(side).enter());
                self.issue(flight);
            }
        }
        while self.pipes.has_free() {
            let Some((slot, generation)) = self.pipeless.pop_front() else { break };
            if let Some(flight) = self.flights.remove(slot, generation)
                && !self.fill_pipe(flight, done)
            {
                break;
            }
        }
    }

    pub(super) fn lane(&mut self, side: Side) -> &mut Lane {
        match side {
            Side::Read => &mut self.reads,
            Side::Write => &mut self.writes,
        }
    }

    fn issue_parked(&mut self, (slot, generation): Id) {
        if let Some(flight) = self.flights.remove(slot, generation) {
            self.issue(flight);
        }
    }

    fn start_in_lane(&mut self, token: Token, work: Work) {
        let side = work.lane().expect("only disk operations come here");
        let flight = Flight::new(token, work);
        if self.lane(side).enter() {
            return self.issue(flight);
        }
        let id = self.park(flight);
        self.lane(side).wait(id);
    }

    pub(super) fn start_on_thread(&mut self, token: Token, kind: OpKind, op: Op) {
        let flight = Flight { place: Place::Thread, ..Flight::new(token, Work::Thread { kind }) };
        let id = self.flights.insert(flight);
        self.disk.submit(user_data(id), op);
    }

    fn shutdown(&mut self, token: Token, socket: Socket, done: &mut Vec<(Token, Done)>) {
        // A receive that waits for a buffer is not with the kernel, which therefore cannot end it.
        let flights = &mut self.flights;
        self.starved.retain(|(slot, generation)| match flights.get(*slot, *generation) {
            Some(Flight { work: Work::Recv { socket: of }, token: waiting, .. }) if *of == socket => {
                done.push((*waiting, Done::Received(Buf::EMPTY)));
                flights.remove(*slot, *generation);
                false
            }
            _ => true,
        });
        let answer = sys::shutdown(socket.0).map(|()| Done::Finished);
        done.push((token, answer.unwrap_or_else(|errno| failed(OpKind::Shutdown, errno))));
    }

    fn close_listener(&mut self, listener: Listener) -> Done {
        for (_, _, flight) in self.flights.iter_mut() {
            if matches!(flight.work, Work::Accept { listener: of } if of == listener) {
                flight.cancelled = true;
            }
        }
        // An armed accept keeps the socket alive beyond its close; only a shutdown ends both.
        let answer = sys::shutdown(listener.0).and_then(|()| sys::close(listener.0)).map(|()| Done::Finished);
        answer.unwrap_or_else(|errno| failed(OpKind::CloseListener, errno))
    }

    /// Ends the operations of `token`: parked ones now, others as soon as the kernel lets go.
    fn cancel(&mut self, token: Token, done: &mut Vec<(Token, Done)>) {
        let mut parked = Vec::new();
        let mut launched = Vec::new();
        for (slot, generation, flight) in self.flights.iter_mut().filter(|(_, _, flight)| flight.token == token) {
            flight.cancelled = true;
            match flight.place {
                Place::Queue => parked.push((slot, generation)),
                Place::Kernel => launched.push((slot, generation)),
                Place::Thread => {}
            }
        }
        for (slot, generation) in parked {
            let flight = self.flights.remove(slot, generation).expect("just found");
            self.starved.retain(|id| *id != (slot, generation));
            if let Work::SendFile(sending) = &flight.work {
                end_send_file(sending);
            }
            done.push((token, failed(flight.work.kind(), libc::ECANCELED)));
        }
        for id in launched {
            let entry = opcode::AsyncCancel::new(user_data(id)).build();
            self.push(entry.user_data(IGNORED));
        }
    }
}

/// Prepares the socket: a splice that found it full must answer, not hold a kernel thread until the peer reads.
fn send_file(sending: SendingFile) -> Result<Work, i32> {
    let end = sending.offset.checked_add(sending.left).ok_or(libc::EFBIG)?;
    i64::try_from(end).map_err(|_| libc::EFBIG)?;
    sys::set_nonblocking(sending.socket.0, true)?;
    Ok(Work::SendFile(Box::new(sending)))
}

/// Undoes what [`send_file`] prepared: an operation that waits in the ring is cheaper than a poll and a retry.
pub(super) fn end_send_file(sending: &SendingFile) {
    // The socket may be broken, but it is open: the caller closes it only after the answer.
    let _ = sys::set_nonblocking(sending.socket.0, false);
}
