//! Completions: what they mean for the operation, and whether it goes on.

use effect::{BLOCK_BYTES, Buf, Done, Op, OpenMode, Token};
use io_uring::cqueue;

use super::entries;
use super::flight::{Flight, Plain, Step, Work};
use super::pipes::NoPipe;
use super::start::end_send_file;
use super::{IGNORED, Ring, WAKE, id_of};
use crate::file::{self, failed};
use crate::sys;

impl Ring {
    /// Takes one completion in.
    pub(super) fn complete(&mut self, completion: &cqueue::Entry, done: &mut Vec<(Token, Done)>) {
        let more = cqueue::more(completion.flags());
        if !more {
            self.in_kernel -= 1;
        }
        let (slot, generation) = match completion.user_data() {
            WAKE => return self.woken = true,
            IGNORED => return,
            data => id_of(data),
        };
        let result = completion.result();
        let answer = usize::try_from(result).map_err(|_| -result);
        if more {
            let flight = self.flights.get(slot, generation).expect("a flight stays until its last completion");
            assert!(matches!(flight.work, Work::Accept { .. }));
            if let Ok(fd) = answer {
                accepted(flight.token, fd, done);
            }
            return;
        }
        let flight = self.flights.remove(slot, generation).expect("a flight stays until its last completion");
        match answer {
            Ok(count) if flight.polling => {
                assert!(count > 0);
                self.go_on(Flight { polling: false, ..flight }, done);
            }
            Ok(count) => self.succeeded(flight, count, completion.flags(), done),
            Err(errno) => {
                if let Some(id) = cqueue::buffer_select(completion.flags()) {
                    self.buffers.returned(id);
                }
                self.faltered(flight, errno, done);
            }
        }
    }

    /// Takes one completion in after which nobody asks: only what it made must go.
    pub(super) fn abandon(&mut self, completion: &cqueue::Entry) {
        if !cqueue::more(completion.flags()) {
            self.in_kernel -= 1;
        }
        let (slot, generation) = id_of(completion.user_data());
        let Some(flight) = self.flights.get(slot, generation) else { return };
        if matches!(flight.work, Work::Accept { .. } | Work::Open { .. }) && completion.result() >= 0 {
            let _ = sys::close(completion.result());
        }
    }

    fn succeeded(&mut self, mut flight: Flight, count: usize, flags: u32, done: &mut Vec<(Token, Done)>) {
        match &mut flight.work {
            Work::Accept { .. } => {
                // The kernel ended the series, for want of room among the completions.
                accepted(flight.token, count, done);
                self.go_on(flight, done);
            }
            Work::Recv { .. } => {
                let buf = match cqueue::buffer_select(flags) {
                    Some(id) if count > 0 => self.buffers.picked(id, count),
                    Some(id) => {
                        self.buffers.returned(id);
                        Buf::EMPTY
                    }
                    None => Buf::EMPTY,
                };
                assert!(buf.len() == count);
                done.push((flight.token, Done::Received(buf)));
            }
            Work::RecvExact { buf, .. } => {
                buf.advance(count);
                if count > 0 && buf.filled() < buf.capacity() {
                    return self.go_on(flight, done);
                }
                let Work::RecvExact { buf, .. } = flight.work else { unreachable!() };
                done.push((flight.token, Done::Filled(buf)));
            }
            Work::Send(sending) => {
                sending.sent += count;
                assert!(sending.sent <= sending.total);
                if sending.sent < sending.total {
                    return self.go_on(flight, done);
                }
                done.push((flight.token, Done::Finished));
            }
            Work::SendFile(_) => self.file_moved(flight, count, done),
            Work::Open { path, mode, direct, .. } => {
                if !*direct && *mode != OpenMode::Splice {
                    file::count_buffered_open(path);
                }
                done.push((flight.token, file::opened(count as i32, *mode)));
            }
            Work::Read { buf, .. } => {
                buf.advance(count);
                // A direct read that is not whole blocks ended at the file's end, and could not be continued.
                if count > 0 && count.is_multiple_of(BLOCK_BYTES) && buf.filled() < buf.capacity() {
                    return self.go_on(flight, done);
                }
                self.leave_lane(&flight.work);
                let Work::Read { buf, .. } = flight.work else { unreachable!() };
                done.push((flight.token, Done::Filled(buf)));
            }
            Work::Write(writing) => match file::advance(count) {
                Err(errno) => self.failed(flight, errno, done),
                Ok(bytes) => {
                    writing.written += bytes;
                    if writing.written < writing.total {
                        return self.go_on(flight, done);
                    }
                    self.leave_lane(&flight.work);
                    done.push((flight.token, Done::Finished));
                }
            },
            Work::Plain { .. } => done.push((flight.token, Done::Finished)),
            Work::Thread { .. } => panic!("a thread's work is not the kernel's"),
        }
    }

    /// A step failed: some failures only mean another way or another time.
    fn faltered(&mut self, mut flight: Flight, errno: i32, done: &mut Vec<(Token, Done)>) {
        if flight.cancelled {
            return self.failed(flight, libc::ECANCELED, done);
        }
        match (&mut flight.work, errno) {
            (Work::Recv { .. }, libc::ENOBUFS) => {
                let id = self.park(flight);
                self.starved.push(id);
            }
            // The socket is non-blocking, by its maker's will or while a file is sent: wait here instead.
            (Work::Recv { .. } | Work::RecvExact { .. } | Work::Send(_), libc::EAGAIN) => {
                self.go_on(Flight { polling: true, ..flight }, done);
            }
            (Work::Accept { .. }, libc::ECONNABORTED) => self.go_on(flight, done),
            (Work::Recv { .. } | Work::RecvExact { .. } | Work::Send(_), libc::EINTR) => self.go_on(flight, done),
            (Work::Read { .. } | Work::Write(_), libc::EINTR | libc::EAGAIN) => self.go_on(flight, done),
            (Work::Open { direct, mode, .. }, libc::EINVAL) if *direct && *mode != OpenMode::Splice => {
                *direct = false;
                self.go_on(flight, done);
            }
            // A filesystem without fallocate: a disk thread writes zeros instead.
            (&mut Work::Plain { kind, plain: Plain::Allocate { file, offset, len } }, libc::EOPNOTSUPP) => {
                self.start_on_thread(flight.token, kind, Op::Allocate { file, offset, len });
            }
            (Work::SendFile(sending), libc::EAGAIN) if matches!(sending.step, Step::Drain { .. }) => {
                self.file_moved(flight, 0, done);
            }
            _ => self.failed(flight, errno, done),
        }
    }

    /// The next step, unless somebody has asked for the end.
    fn go_on(&mut self, flight: Flight, done: &mut Vec<(Token, Done)>) {
        if flight.cancelled { self.failed(flight, libc::ECANCELED, done) } else { self.issue(flight) }
    }

    fn failed(&mut self, flight: Flight, errno: i32, done: &mut Vec<(Token, Done)>) {
        self.leave_lane(&flight.work);
        let kind = flight.work.kind();
        if let Work::SendFile(sending) = flight.work {
            end_send_file(&sending);
            match sending.step {
                Step::Room => {}
                // A fill that failed put nothing in; one that was cancelled may have.
                Step::Fill(pipe) | Step::Drain { pipe, .. } => self.pipes.discard(pipe),
            }
        }
        done.push((flight.token, failed(kind, errno)));
    }

    fn leave_lane(&mut self, work: &Work) {
        if let Some(side) = work.lane() {
            self.lane(side).leave();
        }
    }

    /// A file's send has come a step further.
    fn file_moved(&mut self, mut flight: Flight, count: usize, done: &mut Vec<(Token, Done)>) {
        let Work::SendFile(sending) = &mut flight.work else { panic!("only a file's send comes here") };
        match std::mem::replace(&mut sending.step, Step::Room) {
            Step::Room => {
                self.fill_pipe(flight, done);
            }
            Step::Fill(pipe) => {
                if count == 0 {
                    // The file is shorter than its owner says.
                    self.pipes.give_back(pipe);
                    return self.failed(flight, libc::EIO, done);
                }
                let capacity = pipe.capacity();
                sending.step = Step::Drain { pipe, held: count as u32 };
                // While these bytes go out the disk gets the next ones, unless it has others to read for.
                if self.pipeless.is_empty()
                    && let Some(ahead) = entries::read_ahead(sending, count as u64, capacity)
                {
                    self.push(ahead.user_data(IGNORED));
                }
                self.go_on(flight, done);
            }
            Step::Drain { pipe, held } => {
                assert!(count <= held as usize);
                if count == held as usize {
                    self.pipes.give_back(pipe);
                } else {
                    // The reader stalls: it must not keep a pipe from the others. The pages are read again, from the
                    // page cache.
                    self.pipes.discard(pipe);
                }
                sending.offset += count as u64;
                sending.left -= count as u64;
                if sending.left > 0 {
                    return self.go_on(flight, done);
                }
                end_send_file(sending);
                done.push((flight.token, Done::Finished));
            }
        }
    }

    /// Goes on with a pipe, or queues for one. Answers whether one may be left for the next.
    pub(super) fn fill_pipe(&mut self, mut flight: Flight, done: &mut Vec<(Token, Done)>) -> bool {
        let Work::SendFile(sending) = &mut flight.work else { panic!("only a file's send comes here") };
        if flight.cancelled {
            self.failed(flight, libc::ECANCELED, done);
            return true;
        }
        match self.pipes.take() {
            Ok(pipe) => {
                sending.step = Step::Fill(pipe);
                self.issue(flight);
                true
            }
            Err(NoPipe::Busy) => {
                let id = self.park(flight);
                self.pipeless.push_back(id);
                false
            }
            Err(NoPipe::Errno(errno)) => {
                self.failed(flight, errno, done);
                true
            }
        }
    }
}

/// A connection has come: hands it over, unless it is gone again.
fn accepted(token: Token, fd: usize, done: &mut Vec<(Token, Done)>) {
    done.extend(crate::listen::accepted(fd as i32).map(|accepted| (token, accepted)));
}
