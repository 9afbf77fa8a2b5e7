//! Thin, safe faces of the system calls that both worlds use. Never blocks but where a name says so.

use std::io;
use std::mem::size_of;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// The calling thread's last error.
pub(crate) fn errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// A call's answer as a result: negative means `errno` is set.
pub(crate) fn check(answer: i32) -> Result<i32, i32> {
    if answer < 0 { Err(errno()) } else { Ok(answer) }
}

/// As [`check`], for calls that answer a length.
pub(crate) fn check_len(answer: isize) -> Result<usize, i32> {
    usize::try_from(answer).map_err(|_| errno())
}

/// An event counter that a thread can sleep on.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
    owned(fd)
}

/// Takes the ownership of a descriptor that a call has just made.
pub(crate) fn owned(fd: i32) -> io::Result<OwnedFd> {
    let fd = check(fd).map_err(io::Error::from_raw_os_error)?;
    // SAFETY: the caller has it from a call that made it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Closes a descriptor by number. Its number may be given out again at once.
pub(crate) fn close(fd: RawFd) -> Result<(), i32> {
    // SAFETY: no pointer is passed.
    check(unsafe { libc::close(fd) }).map(drop)
}

/// Ends both directions of a socket; one that is no longer connected counts as ended.
pub(crate) fn shutdown(fd: RawFd) -> Result<(), i32> {
    // SAFETY: no pointer is passed.
    match check(unsafe { libc::shutdown(fd, libc::SHUT_RDWR) }) {
        Ok(_) | Err(libc::ENOTCONN) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Sets a socket option that is an integer.
pub(crate) fn set_option(fd: RawFd, level: i32, name: i32, value: i32) -> Result<(), i32> {
    let value: *const i32 = &value;
    // SAFETY: `value` points to an `i32` that lives through the call, and its size is what is said.
    check(unsafe { libc::setsockopt(fd, level, name, value.cast(), size_of::<i32>() as u32) }).map(drop)
}

/// Whether operations on the descriptor answer `EAGAIN` where they would block.
pub(crate) fn set_nonblocking(fd: RawFd, on: bool) -> Result<(), i32> {
    let mut on = i32::from(on);
    // SAFETY: FIONBIO reads one `i32`, which lives through the call.
    check(unsafe { libc::ioctl(fd, libc::FIONBIO, &raw mut on) }).map(drop)
}

/// Bytes that a connected socket takes without waiting, as far as the kernel tells; `None` if it does not.
pub(crate) fn free_to_send(fd: RawFd) -> Option<usize> {
    let mut info = [0u32; 9];
    let mut bytes = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the kernel writes at most `bytes` bytes into `info`, which is that long.
    let answer =
        unsafe { libc::getsockopt(fd, libc::SOL_SOCKET, SO_MEMINFO, info.as_mut_ptr().cast(), &raw mut bytes) };
    check(answer).ok()?;
    usize::try_from(info[MEMINFO_SNDBUF].saturating_sub(info[MEMINFO_WMEM_QUEUED])).ok()
}

/// The other end's address and the own one.
pub(crate) fn ends(fd: RawFd) -> Result<(SocketAddr, SocketAddr), i32> {
    Ok((name(fd, libc::getpeername)?, name(fd, libc::getsockname)?))
}

/// The address that a socket is bound to.
pub(crate) fn local(fd: RawFd) -> Result<SocketAddr, i32> {
    name(fd, libc::getsockname)
}

type NameCall = unsafe extern "C" fn(i32, *mut libc::sockaddr, *mut libc::socklen_t) -> i32;

fn name(fd: RawFd, call: NameCall) -> Result<SocketAddr, i32> {
    // SAFETY: a `sockaddr_storage` is integers only; zero is a value of it.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let mut bytes = size_of::<libc::sockaddr_storage>() as libc::socklen_t;
    let address: *mut libc::sockaddr_storage = &mut storage;
    // SAFETY: `address` points to `bytes` bytes that live through the call.
    check(unsafe { call(fd, address.cast(), &raw mut bytes) })?;
    decode(&storage).ok_or(libc::EAFNOSUPPORT)
}

fn decode(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let address: *const libc::sockaddr_storage = storage;
    match i32::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, large and aligned enough for any address, holds this one.
            let v4 = unsafe { &*address.cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(v4.sin_addr.s_addr));
            Some(SocketAddr::new(ip.into(), u16::from_be(v4.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let v6 = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            // A client of a dual-stack listener is shown as what it is.
            Some(SocketAddr::new(ip.to_canonical(), u16::from_be(v6.sin6_port)))
        }
        _ => None,
    }
}

/// An address as the kernel takes it, and its length.
pub(crate) fn encode(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: as in `name`.
    let mut storage: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
    let target: *mut libc::sockaddr_storage = &mut storage;
    let bytes = match address {
        SocketAddr::V4(v4) => {
            // SAFETY: the storage is large and aligned enough for any address, and ours alone.
            let raw = unsafe { &mut *target.cast::<libc::sockaddr_in>() };
            raw.sin_family = libc::AF_INET as libc::sa_family_t;
            raw.sin_port = v4.port().to_be();
            raw.sin_addr.s_addr = u32::from(*v4.ip()).to_be();
            size_of::<libc::sockaddr_in>()
        }
        SocketAddr::V6(v6) => {
            // SAFETY: as above.
            let raw = unsafe { &mut *target.cast::<libc::sockaddr_in6>() };
            raw.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            raw.sin6_port = v6.port().to_be();
            raw.sin6_addr.s6_addr = v6.ip().octets();
            raw.sin6_scope_id = v6.scope_id();
            size_of::<libc::sockaddr_in6>()
        }
    };
    (storage, bytes as libc::socklen_t)
}

/// Empties an event counter that is known to be set; would block on one that is not.
pub(crate) fn drain_event(fd: &OwnedFd) {
    let mut count = 0u64;
    let target: *mut u64 = &mut count;
    // SAFETY: eight bytes are read into an eight-byte integer that lives through the call.
    unsafe { libc::read(fd.as_raw_fd(), target.cast(), size_of::<u64>()) };
}

/// Adds one to an event counter.
pub(crate) fn raise_event(fd: &OwnedFd) {
    let one = 1u64;
    let source: *const u64 = &one;
    // SAFETY: eight bytes are written from an eight-byte integer that lives through the call. The counter cannot be
    // near its limit, so that the call neither blocks nor fails.
    unsafe { libc::write(fd.as_raw_fd(), source.cast(), size_of::<u64>()) };
}

const SO_MEMINFO: i32 = 55;
const MEMINFO_SNDBUF: usize = 3;
const MEMINFO_WMEM_QUEUED: usize = 5;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_survive_encoding() {
        for text in ["127.0.0.1:9092", "[::1]:9092"] {
            let address: SocketAddr = text.parse().expect("an address");
            assert_eq!(decode(&encode(address).0), Some(address));
        }
    }

    #[test]
    fn a_mapped_address_is_shown_as_its_v4() {
        let mapped: SocketAddr = "[::ffff:10.0.0.1]:9092".parse().expect("an address");
        assert_eq!(decode(&encode(mapped).0), Some("10.0.0.1:9092".parse().expect("an address")));
    }
}
