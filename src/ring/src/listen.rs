//! Listening sockets: one for each shard on one port, and what every connection gets.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};

use effect::{Done, Listener, Socket};

use crate::sys;

/// Binds one listener for each of `shards` shards to `address`, and answers them with the address they have got (its
/// port is the one asked for, or a free one if that was 0). Fails with `AddrInUse` if anybody listens there, another
/// process of this program too.
pub fn bind(address: SocketAddr, shards: usize) -> io::Result<(SocketAddr, Vec<Listener>)> {
    assert!(shards > 0);
    let mut sockets = Vec::with_capacity(shards);
    // The first one doesn't share the port while it binds, so that it collides with whoever has it. From then on it
    // holds the port, and may share it: no moment in between when the port is free.
    let first = socket(address)?;
    bind_socket(&first, address)?;
    share_port(&first)?;
    let bound = sys::local(first.as_raw_fd()).map_err(io::Error::from_raw_os_error)?;
    let address = SocketAddr::new(address.ip(), bound.port());
    sockets.push(first);
    for _ in 1..shards {
        let next = socket(address)?;
        share_port(&next)?;
        bind_socket(&next, address)?;
        sockets.push(next);
    }
    for socket in &sockets {
        // SAFETY: no pointer is passed.
        sys::check(unsafe { libc::listen(socket.as_raw_fd(), BACKLOG) }).map_err(io::Error::from_raw_os_error)?;
    }
    Ok((address, sockets.into_iter().map(|socket| Listener(socket.into_raw_fd())).collect()))
}

/// A connection that was just accepted, set up; `None` if its peer has gone meanwhile.
pub(crate) fn accepted(fd: i32) -> Option<Done> {
    let ends = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1).and_then(|()| sys::ends(fd));
    match ends {
        Ok((peer, local)) => Some(Done::Accepted { socket: Socket(fd), peer, local }),
        Err(errno) => {
            tracing::debug!(errno, "connection gone before it was accepted");
            let _ = sys::close(fd);
            None
        }
    }
}

fn socket(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // SAFETY: no pointer is passed.
    let socket = sys::owned(unsafe { libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) })?;
    // A restart must not wait for the connections of the run before to be forgotten.
    option(&socket, libc::SO_REUSEADDR)?;
    Ok(socket)
}

fn share_port(socket: &OwnedFd) -> io::Result<()> {
    option(socket, libc::SO_REUSEPORT)
}

fn option(socket: &OwnedFd, name: i32) -> io::Result<()> {
    sys::set_option(socket.as_raw_fd(), libc::SOL_SOCKET, name, 1).map_err(io::Error::from_raw_os_error)
}

fn bind_socket(socket: &OwnedFd, address: SocketAddr) -> io::Result<()> {
    let (storage, bytes) = sys::encode(address);
    let storage: *const libc::sockaddr_storage = &storage;
    // SAFETY: `storage` holds an address of `bytes` bytes and lives through the call.
    let answer = unsafe { libc::bind(socket.as_raw_fd(), storage.cast(), bytes) };
    sys::check(answer).map(drop).map_err(io::Error::from_raw_os_error)
}

const BACKLOG: i32 = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn close(listeners: &[Listener]) {
        for listener in listeners {
            sys::close(listener.0).expect("open");
        }
    }

    #[test]
    fn a_port_that_another_broker_shares_among_its_shards_is_taken() {
        let any = "127.0.0.1:0".parse().expect("an address");
        let (address, listeners) = bind(any, 3).expect("a free port");
        assert_ne!(address.port(), 0);
        assert_eq!(listeners.len(), 3);
        let again = bind(address, 3).expect_err("taken");
        assert_eq!(again.kind(), io::ErrorKind::AddrInUse);
        close(&listeners);
        let (_, listeners) = bind(address, 2).expect("free again");
        close(&listeners);
    }
}
