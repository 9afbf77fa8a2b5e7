//! An operation's next step as an entry of the submission queue.

use io_uring::types::{Fd, FsyncFlags};
use io_uring::{opcode, squeue};

use effect::Socket;

use super::flight::{Flight, Plain, Sending, SendingFile, Step, Work, Writing};
use super::recv_buffers::GROUP;
use crate::file::{self, FILE_MODE};
use crate::sys;

/// The entry for what `flight` does next. What it points to lives on the heap behind the flight's work.
pub(super) fn entry(flight: &mut Flight) -> squeue::Entry {
    if flight.polling {
        return poll(&flight.work);
    }
    match &mut flight.work {
        Work::Accept { listener } => opcode::AcceptMulti::new(Fd(listener.0)).flags(libc::SOCK_CLOEXEC).build(),
        Work::Recv { socket } => opcode::Recv::new(Fd(socket.0), std::ptr::null_mut(), 0)
            .buf_group(GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT),
        Work::RecvExact { socket, buf } => {
            let target = buf.unfilled_mut();
            opcode::Recv::new(Fd(socket.0), target.as_mut_ptr(), call_bytes(target.len()))
                .flags(libc::MSG_WAITALL)
                .build()
        }
        Work::Send(sending) => send(sending),
        Work::SendFile(sending) => send_file(sending),
        Work::Open { name, mode, direct, .. } => opcode::OpenAt::new(Fd(libc::AT_FDCWD), name.as_ptr())
            .flags(file::open_flags(*mode, *direct))
            .mode(FILE_MODE)
            .build(),
        Work::Read { file, offset, buf } => {
            let place = *offset + buf.filled() as u64;
            let target = buf.unfilled_mut();
            opcode::Read::new(Fd(file.0), target.as_mut_ptr(), call_bytes(target.len())).offset(place).build()
        }
        Work::Write(writing) => write(writing),
        Work::Plain { plain, .. } => match *plain {
            Plain::Close { fd } => opcode::Close::new(Fd(fd)).build(),
            Plain::Sync { file } => opcode::Fsync::new(Fd(file.0)).flags(FsyncFlags::DATASYNC).build(),
            Plain::Allocate { file, offset, len } => opcode::Fallocate::new(Fd(file.0), len).offset(offset).build(),
            Plain::SetLen { file, len } => opcode::Ftruncate::new(Fd(file.0), len).build(),
        },
        Work::Thread { kind } => panic!("{kind:?} is for a thread"),
    }
}

fn poll(work: &Work) -> squeue::Entry {
    let (socket, events): (&Socket, i16) = match work {
        Work::Recv { socket } | Work::RecvExact { socket, .. } => (socket, libc::POLLIN),
        Work::Send(sending) => (&sending.socket, libc::POLLOUT),
        _ => panic!("only socket operations wait for readiness"),
    };
    opcode::PollAdd::new(Fd(socket.0), events as u32).build()
}

fn send(sending: &mut Sending) -> squeue::Entry {
    let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
    let socket = Fd(sending.socket.0);
    if let [buf] = &sending.bufs[..] {
        let rest = &buf[sending.sent..];
        return opcode::Send::new(socket, rest.as_ptr(), call_bytes(rest.len())).flags(flags).build();
    }
    sending.aim();
    opcode::SendMsg::new(socket, &raw const sending.header).flags(flags as u32).build()
}

fn send_file(sending: &SendingFile) -> squeue::Entry {
    let socket = Fd(sending.socket.0);
    match &sending.step {
        Step::Room => opcode::PollAdd::new(socket, libc::POLLOUT as u32).build(),
        Step::Fill(pipe) => {
            // No more than the socket takes now: what is left in a pipe would have to be thrown away.
            let room = sys::free_to_send(sending.socket.0).unwrap_or(ROOM_UNKNOWN).max(ROOM_MIN);
            let bytes = sending.left.min(room as u64).min(u64::from(pipe.capacity())) as u32;
            let offset = i64::try_from(sending.offset).expect("checked at the start");
            opcode::Splice::new(Fd(sending.file.0), offset, Fd(pipe.writer()), -1, bytes)
                .flags(libc::SPLICE_F_NONBLOCK)
                .build()
        }
        Step::Drain { pipe, held } => {
            opcode::Splice::new(Fd(pipe.reader()), -1, socket, -1, *held).flags(libc::SPLICE_F_NONBLOCK).build()
        }
    }
}

/// Has the kernel read what follows the next `held` bytes, as much as a pipe takes; `None` if nothing does. Advice only: of a
/// file that is closed by then nothing comes, of another under its number no more than a read for nothing.
pub(super) fn read_ahead(sending: &SendingFile, held: u64, capacity: u32) -> Option<squeue::Entry> {
    let bytes = sending.left.checked_sub(held)?.min(u64::from(capacity));
    let advice = opcode::Fadvise::new(Fd(sending.file.0), i64::try_from(bytes).ok()?, libc::POSIX_FADV_WILLNEED);
    (bytes > 0).then(|| advice.offset(sending.offset + held).build())
}

fn write(writing: &mut Writing) -> squeue::Entry {
    writing.slices = file::slices_from(&writing.bufs, writing.written);
    let flags = if writing.sync { libc::RWF_DSYNC } else { 0 };
    opcode::Writev::new(Fd(writing.file.0), writing.slices.as_ptr(), writing.slices.len() as u32)
        .offset(writing.offset + writing.written)
        .rw_flags(flags)
        .build()
}

/// One call moves at most 2 GiB less a page; the rest follows in another.
fn call_bytes(len: usize) -> u32 {
    len.min(CALL_BYTES_MAX) as u32
}

const CALL_BYTES_MAX: usize = 0x7fff_f000;
const ROOM_MIN: usize = 16 << 10;
const ROOM_UNKNOWN: usize = 64 << 10;
