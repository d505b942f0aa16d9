//! Sockets that a service manager has opened for this process, as systemd does: `LISTEN_FDS`
//! descriptors from 3 on, meant for the process `LISTEN_PID`.

use std::net::{SocketAddr, TcpListener};
use std::os::fd::{BorrowedFd, FromRawFd as _, RawFd};

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::socket_acceptconn;
use socket2::SockRef;

/// The first descriptor that is passed.
const FIRST: RawFd = 3;
/// The most sockets: a server has as many ports as `--listen` and legacy flags.
const MOST_SOCKETS: RawFd = 64;

/// The passed descriptors that listen for TCP, with their addresses.
fn passed() -> Vec<(RawFd, SocketAddr)> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if number("LISTEN_PID") != Some(std::process::id()) {
        return Vec::new();
    }
    let count = number("LISTEN_FDS").and_then(|count| RawFd::try_from(count).ok()).unwrap_or(0);
    let mut found = Vec::new();
    for descriptor in (FIRST..).take(usize::try_from(count.min(MOST_SOCKETS)).unwrap_or(0)) {
        // SAFETY: the variables are for this process, and say that the descriptor is open; a closed
        // one gives an error below.
        let borrowed = unsafe { BorrowedFd::borrow_raw(descriptor) };
        let socket = SockRef::from(&borrowed);
        let at = socket.local_addr().ok().and_then(|at| at.as_socket());
        match at.filter(|_| socket_acceptconn(borrowed).unwrap_or(false)) {
            Some(at) => found.push((descriptor, at)),
            None => log::warn!("the passed socket {descriptor} does not listen for TCP"),
        }
    }
    found
}

/// The addresses of the passed sockets.
#[must_use]
pub fn addresses() -> Vec<SocketAddr> {
    passed().into_iter().map(|(_, at)| at).collect()
}

/// Takes the passed sockets. Call once, before any other descriptor may be closed.
#[must_use]
pub fn take() -> Vec<TcpListener> {
    let take = |(descriptor, _): (RawFd, SocketAddr)| {
        // SAFETY: the descriptor is open, listens, and belongs to this process; nothing else takes
        // it.
        let listener = unsafe { TcpListener::from_raw_fd(descriptor) };
        // Children must not hold the port.
        let _ = fcntl_setfd(&listener, FdFlags::CLOEXEC);
        listener.set_nonblocking(true).ok().map(|()| listener)
    };
    passed().into_iter().filter_map(take).collect()
}
