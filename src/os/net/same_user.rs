//! The user at the other end of a loopback connection, told by the kernel over netlink
//! (`NETLINK_SOCK_DIAG`).
//!
//! A request names one socket by its addresses. The kernel answers before the send returns, so
//! nothing waits. A kernel without `tcp_diag` knows no socket: every connection is then foreign.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// The message type of a request and of its answer.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
/// The header of a netlink message: length, type, flags, sequence number, port.
const HEADER: usize = 16;
/// A request: the header, 8 bytes of options, and a socket.
const REQUEST: usize = HEADER + 8 + SOCKET;
/// A socket: two ports, two addresses, an interface and a cookie.
const SOCKET: usize = 48;
/// Where an answer has its socket, the user and the inode, and where the fixed part ends.
const SOCKET_AT: usize = HEADER + 4;
const USER_AT: usize = HEADER + 64;
const INODE_AT: usize = HEADER + 68;
/// Room for an answer with its attributes, which take 52 bytes today.
const ANSWER_ROOM: usize = 1_024;
/// Messages read for one answer: the answer is the only message expected.
const MOST_MESSAGES: usize = 4;

/// TCP states in which a process can hold the socket of a connection: ESTABLISHED, FIN_WAIT1,
/// FIN_WAIT2 and CLOSE_WAIT. In TIME_WAIT the user reads 0. A look-up without a connection finds a
/// listening socket (LISTEN), which may have another user.
const HELD: [u8; 4] = [1, 4, 5, 8];

/// The user that stands for every user without a number in this user namespace, by default.
const OVERFLOW_USER: u32 = 65_534;

/// An address without the parts that a look-up ignores.
type End = (IpAddr, u16);

/// Looks up the owners of sockets on this machine.
///
/// The answer is about addresses. A reset connection may still have bytes to read while another
/// process uses the same addresses, so the caller has to check after the look-up that `peer_addr`
/// of the connection still succeeds.
pub struct SocketOwners {
    /// Opened again after a failure, so that no late answer is read.
    socket: Option<OwnedFd>,
    sequence: u32,
    overflow_user: u32,
    is_reported: bool,
}

/// A message from the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Diagnosis {
    /// The answer to another request.
    Unrelated,
    /// No process holds the socket.
    NoOwner,
    Owner(u32),
}

impl Default for SocketOwners {
    fn default() -> SocketOwners {
        SocketOwners::new()
    }
}

impl SocketOwners {
    /// Opens the netlink socket. Without success each look-up tries again.
    #[must_use]
    pub fn new() -> SocketOwners {
        let overflow = std::fs::read_to_string("/proc/sys/kernel/overflowuid");
        let overflow = overflow.ok().and_then(|text| text.trim().parse().ok());
        SocketOwners {
            socket: open().ok(),
            sequence: 0,
            overflow_user: overflow.unwrap_or(OVERFLOW_USER),
            is_reported: false,
        }
    }

    /// The user that owns the other end of a connection, by the addresses of our end. `None`: no
    /// process holds that end open, or an address is not a loopback address.
    ///
    /// # Errors
    /// When the system has no such netlink socket, or does not answer.
    pub fn uid_of(&mut self, local: SocketAddr, remote: SocketAddr) -> io::Result<Option<u32>> {
        let (ours, theirs) = (end(local), end(remote));
        if !ours.0.is_loopback()
            || !theirs.0.is_loopback()
            || ours.0.is_ipv4() != theirs.0.is_ipv4()
        {
            return Ok(None);
        }
        let socket = match self.socket.take() {
            Some(socket) => socket,
            None => open()?,
        };
        self.sequence = self.sequence.wrapping_add(1);
        let owner = ask(&socket, self.sequence, theirs, ours)?;
        self.socket = Some(socket);
        Ok(owner)
    }

    /// True when a process of this user holds the other end. False after an error, which is logged
    /// once.
    pub fn is_own(&mut self, local: SocketAddr, remote: SocketAddr) -> bool {
        match self.uid_of(local, remote) {
            Ok(user) => is_same(user, rustix::process::geteuid().as_raw(), self.overflow_user),
            Err(error) => {
                if !self.is_reported {
                    self.is_reported = true;
                    log::warn!("cannot tell the user of a local connection: {error}");
                }
                false
            }
        }
    }
}

/// In a user namespace, `overflow` stands for all users from outside and identifies none.
fn is_same(user: Option<u32>, own: u32, overflow: u32) -> bool {
    user == Some(own) && own != overflow
}

fn end(address: SocketAddr) -> End {
    (address.ip().to_canonical(), address.port())
}

fn open() -> io::Result<OwnedFd> {
    let socket = rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    // A connected netlink socket receives from its peer alone; port 0 is the kernel.
    rustix::net::connect(&socket, &SocketAddrNetlink::new(0, 0))?;
    Ok(socket)
}

fn ask(socket: &OwnedFd, sequence: u32, source: End, target: End) -> io::Result<Option<u32>> {
    let request = request(sequence, source, target);
    if rustix::net::send(socket, &request, SendFlags::empty())? != request.len() {
        return Err(io::ErrorKind::WriteZero.into());
    }
    let mut room = [0; ANSWER_ROOM];
    for _ in 0..MOST_MESSAGES {
        let (_, length) = rustix::net::recv(socket, &mut room, RecvFlags::DONTWAIT)?;
        let message = room.get(..length).ok_or(io::ErrorKind::InvalidData)?;
        match read(message, sequence, source, target)? {
            Diagnosis::Unrelated => {}
            Diagnosis::NoOwner => return Ok(None),
            Diagnosis::Owner(user) => return Ok(Some(user)),
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// `inet_diag_req_v2`, for the socket with the local address `source`. The kernel finds an
/// IPv4-mapped socket by its IPv4 addresses.
fn request(sequence: u32, source: End, target: End) -> [u8; REQUEST] {
    let mut message = [0; REQUEST];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        if let Some(place) = message.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    let family = if source.0.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    put(&u32::try_from(REQUEST).unwrap_or(0).to_ne_bytes());
    put(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    put(&u16::try_from(libc::NLM_F_REQUEST).unwrap_or(0).to_ne_bytes());
    put(&sequence.to_ne_bytes());
    put(&[0; 4]);
    // No attributes are wanted. The kernel ignores the set of states for a single socket.
    put(&[family, libc::IPPROTO_TCP, 0, 0].map(|byte| u8::try_from(byte).unwrap_or(0)));
    put(&[0xff; 4]);
    put(&source.1.to_be_bytes());
    put(&target.1.to_be_bytes());
    put(&octets(source.0));
    put(&octets(target.0));
    // Any interface, and no cookie.
    put(&[0; 4]);
    put(&[0xff; 8]);
    message
}

fn octets(ip: IpAddr) -> [u8; 16] {
    let mut bytes = [0; 16];
    match ip {
        IpAddr::V4(ip) => bytes[..4].copy_from_slice(&ip.octets()),
        IpAddr::V6(ip) => bytes = ip.octets(),
    }
    bytes
}

/// Reads the answer to a request, with the same arguments as [`request`].
fn read(message: &[u8], sequence: u32, source: End, target: End) -> io::Result<Diagnosis> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    let length = number(message, 0).and_then(|length| usize::try_from(length).ok());
    let length = length.filter(|length| *length >= HEADER).ok_or_else(invalid)?;
    let message = message.get(..length).ok_or_else(invalid)?;
    if number(message, 8) != Some(sequence) {
        return Ok(Diagnosis::Unrelated);
    }
    let kind = chunk(message, 4).map(u16::from_ne_bytes);
    if kind.map(i32::from) == Some(libc::NLMSG_ERROR) {
        let code = chunk(message, HEADER).map(i32::from_ne_bytes).ok_or_else(invalid)?;
        return match code.wrapping_neg() {
            libc::ENOENT => Ok(Diagnosis::NoOwner),
            code => Err(io::Error::from_raw_os_error(code)),
        };
    }
    let user = number(message, USER_AT).ok_or_else(invalid)?;
    let inode = number(message, INODE_AT).ok_or_else(invalid)?;
    let [family, state] = chunk(message, HEADER).ok_or_else(invalid)?;
    if kind != Some(SOCK_DIAG_BY_FAMILY) {
        return Err(invalid());
    }
    // A socket without an inode is no longer held by a process, and its user may read 0.
    let is_held = HELD.contains(&state) && inode != 0;
    let is_asked = ends(family, message) == Some((source, target));
    Ok(if is_held && is_asked { Diagnosis::Owner(user) } else { Diagnosis::NoOwner })
}

/// The addresses of the socket in an answer.
fn ends(family: u8, message: &[u8]) -> Option<(End, End)> {
    let port = |at| chunk(message, SOCKET_AT + at).map(u16::from_be_bytes);
    let ip = |at| match i32::from(family) {
        libc::AF_INET => {
            chunk::<4>(message, SOCKET_AT + at).map(|bytes| IpAddr::V4(Ipv4Addr::from(bytes)))
        }
        libc::AF_INET6 => chunk::<16>(message, SOCKET_AT + at)
            .map(|bytes| IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()),
        _ => None,
    };
    Some(((ip(4)?, port(0)?), (ip(20)?, port(2)?)))
}

fn number(message: &[u8], at: usize) -> Option<u32> {
    chunk(message, at).map(u32::from_ne_bytes)
}

fn chunk<const N: usize>(message: &[u8], at: usize) -> Option<[u8; N]> {
    message.get(at..)?.first_chunk().copied()
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::os::unix::process::CommandExt as _;
    use std::process::{Child, ChildStdin, Command, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    fn own() -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// The addresses of our end.
    fn addresses(server: &TcpStream) -> (SocketAddr, SocketAddr) {
        (server.local_addr().unwrap(), server.peer_addr().unwrap())
    }

    /// Our end and the other end of a connection; `None` if the machine has no IPv6.
    fn connection(listen: &str, to: &str) -> Option<(TcpStream, TcpStream)> {
        let listener = TcpListener::bind(listen);
        if listener.is_err() && listen.starts_with('[') {
            eprintln!("skipped: this machine has no IPv6");
            return None;
        }
        let listener = listener.unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(format!("{to}:{port}")).unwrap();
        Some((listener.accept().unwrap().0, client))
    }

    fn assert_is_own(listen: &str, to: &str) {
        let Some((server, client)) = connection(listen, to) else { return };
        let (local, remote) = addresses(&server);
        let mut owners = SocketOwners::new();
        assert_eq!(owners.uid_of(local, remote).unwrap(), Some(own()), "{local} {remote}");
        // The other family or spelling of the same addresses.
        let (local, remote) = (client.peer_addr().unwrap(), client.local_addr().unwrap());
        assert_eq!(owners.uid_of(local, remote).unwrap(), Some(own()), "{local} {remote}");
        assert!(owners.is_own(local, remote) || own() == owners.overflow_user);
    }

    #[test]
    fn an_own_connection_is_found_by_ipv4_ipv6_and_mapped() {
        assert_is_own("127.0.0.1:0", "127.0.0.1");
        assert_is_own("127.0.0.1:0", "[::ffff:127.0.0.1]");
        assert_is_own("[::1]:0", "[::1]");
        // An IPv6 listener sees an IPv4 client as ::ffff:127.0.0.1.
        assert_is_own("[::]:0", "127.0.0.1");
        assert_is_own("[::]:0", "[::ffff:127.0.0.1]");
    }

    /// A process of another user with a connection to us, until its stdin is closed.
    struct Stranger {
        process: Child,
        stdin: Option<ChildStdin>,
        server: TcpStream,
    }

    impl Stranger {
        /// `None`, with a message, where the tests do not run as root or there is no bash.
        fn connect(listen: &str, host: &str) -> Option<Stranger> {
            if own() != 0 {
                eprintln!("skipped: only root may start a process of another user");
                return None;
            }
            let listener = TcpListener::bind(listen).ok()?;
            let port = listener.local_addr().unwrap().port();
            let script = format!("exec 3<>/dev/tcp/{host}/{port} && echo up && read -r wait");
            let mut command = Command::new("bash");
            command.args(["-c", &script]).current_dir("/").uid(65_534).gid(65_534);
            let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
            let Ok(mut process) = process else {
                eprintln!("skipped: there is no bash");
                return None;
            };
            let mut line = String::new();
            BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
            assert_eq!(line, "up\n");
            let stdin = process.stdin.take();
            Some(Stranger { process, stdin, server: listener.accept().unwrap().0 })
        }
    }

    impl Drop for Stranger {
        fn drop(&mut self) {
            self.stdin = None;
            self.process.wait().unwrap();
        }
    }

    #[test]
    fn a_connection_of_another_user_is_not_own() {
        for (listen, host) in
            [("127.0.0.1:0", "127.0.0.1"), ("[::]:0", "127.0.0.1"), ("[::1]:0", "::1")]
        {
            let Some(stranger) = Stranger::connect(listen, host) else { return };
            let (local, remote) = addresses(&stranger.server);
            let mut owners = SocketOwners::new();
            assert_eq!(owners.uid_of(local, remote).unwrap(), Some(65_534));
            assert!(!owners.is_own(local, remote));
            // Our end belongs to us: the addresses are not interchangeable.
            assert_eq!(owners.uid_of(remote, local).unwrap(), Some(own()));
            // CLOSE_WAIT: the process holds its socket, and the user is true.
            stranger.server.shutdown(Shutdown::Write).unwrap();
            assert_eq!(owners.uid_of(local, remote).unwrap(), Some(65_534));
        }
    }

    #[test]
    fn the_end_of_an_exited_process_has_no_owner() {
        let Some(mut stranger) = Stranger::connect("127.0.0.1:0", "127.0.0.1") else { return };
        let (local, remote) = addresses(&stranger.server);
        stranger.stdin = None;
        stranger.process.wait().unwrap();
        let mut owners = SocketOwners::new();
        assert_eq!(owners.uid_of(local, remote).unwrap(), None);
        assert!(!owners.is_own(local, remote));
    }

    #[test]
    fn a_half_closed_client_is_still_known() {
        let (server, client) = connection("127.0.0.1:0", "127.0.0.1").unwrap();
        let (local, remote) = addresses(&server);
        let mut owners = SocketOwners::new();
        client.shutdown(Shutdown::Write).unwrap();
        assert_eq!(owners.uid_of(local, remote).unwrap(), Some(own()));
        // Both ends are sent: the user of TIME_WAIT reads 0, although the client holds its socket.
        server.shutdown(Shutdown::Write).unwrap();
        assert_eq!(owners.uid_of(local, remote).unwrap(), None);
    }

    /// Waits until the other end has no owner. A process that another test starts has copies of all
    /// our sockets for a moment.
    #[track_caller]
    fn assert_loses_owner(local: SocketAddr, remote: SocketAddr) {
        let (mut owners, start) = (SocketOwners::new(), Instant::now());
        while owners.uid_of(local, remote).unwrap().is_some() {
            assert!(start.elapsed() < Duration::from_secs(10), "{remote} has an owner");
            std::thread::yield_now();
        }
        assert!(!owners.is_own(local, remote));
    }

    #[test]
    fn a_closed_connection_has_no_owner() {
        let (mut server, client) = connection("127.0.0.1:0", "127.0.0.1").unwrap();
        let (local, remote) = addresses(&server);
        drop(client);
        assert_loses_owner(local, remote);
        // The other end answers with a reset and is gone.
        server.write_all(b"x").unwrap();
        assert_loses_owner(local, remote);

        let (server, client) = connection("127.0.0.1:0", "127.0.0.1").unwrap();
        let (local, remote) = addresses(&server);
        drop(client);
        drop(server);
        // TIME_WAIT, with the user 0.
        assert_loses_owner(local, remote);
    }

    #[test]
    fn a_listening_socket_is_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let remote = listener.local_addr().unwrap();
        let local = SocketAddr::from(([127, 0, 0, 1], 1));
        // The kernel finds the listener by half of the addresses.
        assert_eq!(SocketOwners::new().uid_of(local, remote).unwrap(), None);
    }

    #[test]
    fn other_addresses_than_loopback_are_not_own() {
        let mut owners = SocketOwners::new();
        for (local, remote) in [
            ("127.0.0.1:1", "[::1]:2"),
            ("127.0.0.1:1", "192.168.0.1:2"),
            ("[fe80::1]:1", "[fe80::2]:2"),
            ("[::ffff:127.0.0.1]:1", "[::ffff:10.0.0.1]:2"),
        ] {
            let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
            assert_eq!(owners.uid_of(local, remote).unwrap(), None);
        }
    }

    #[test]
    fn the_overflow_user_is_nobody() {
        assert!(is_same(Some(1_000), 1_000, 65_534) && is_same(Some(0), 0, 65_534));
        assert!(!is_same(Some(65_534), 65_534, 65_534));
        assert!(!is_same(Some(1_000), 0, 65_534) && !is_same(None, 0, 65_534));
    }

    /// An answer about an established socket of user 7.
    fn answer() -> (Vec<u8>, End, End) {
        let (source, target) = (end(([127, 0, 0, 1], 5).into()), end(([127, 0, 0, 1], 6).into()));
        let request = request(9, source, target);
        let mut message = request[..HEADER].to_vec();
        message.extend([2, 1, 0, 0]);
        message.extend(&request[REQUEST - SOCKET..]);
        message.extend([0; 12]);
        message.extend(7_u32.to_ne_bytes());
        message.extend(1_u32.to_ne_bytes());
        let length = u32::try_from(message.len()).unwrap();
        message[..4].copy_from_slice(&length.to_ne_bytes());
        (message, source, target)
    }

    #[test]
    fn answers_are_checked_before_use() {
        let (message, source, target) = answer();
        let read = |message: &[u8]| read(message, 9, source, target).map_err(|error| error.kind());
        assert_eq!(read(&message), Ok(Diagnosis::Owner(7)));
        let changed = |at: usize, byte: u8| {
            let mut message = message.clone();
            message[at] = byte;
            read(&message)
        };
        // Ports and addresses of the socket, its state, its inode.
        for at in [SOCKET_AT + 1, SOCKET_AT + 3, SOCKET_AT + 7, SOCKET_AT + 23] {
            assert_eq!(changed(at, 99), Ok(Diagnosis::NoOwner), "{at}");
        }
        let held: Vec<u8> = (0..=255)
            .filter(|state| changed(HEADER + 1, *state) == Ok(Diagnosis::Owner(7)))
            .collect();
        assert_eq!(held, [1, 4, 5, 8]);
        assert_eq!(changed(HEADER, 10), Ok(Diagnosis::NoOwner));
        let lowest = if cfg!(target_endian = "big") { INODE_AT + 3 } else { INODE_AT };
        assert_eq!(changed(lowest, 0), Ok(Diagnosis::NoOwner));
        // The sequence number, the type and the length.
        assert_eq!(changed(8, 99), Ok(Diagnosis::Unrelated));
        assert_eq!(changed(4, 99), Err(io::ErrorKind::InvalidData));
        assert_eq!(changed(0, 255), Err(io::ErrorKind::InvalidData));
        for length in 0..message.len() {
            assert_eq!(read(&message[..length]), Err(io::ErrorKind::InvalidData), "{length}");
            if length >= HEADER {
                let mut short = message[..length].to_vec();
                short[..4].copy_from_slice(&u32::try_from(length).unwrap().to_ne_bytes());
                assert_eq!(read(&short), Err(io::ErrorKind::InvalidData), "{length}");
            }
        }
    }

    #[test]
    fn errors_of_the_kernel_are_told_apart() {
        let error = |code: i32| {
            let mut message = vec![20, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0];
            if cfg!(target_endian = "big") {
                message = vec![0, 0, 0, 20, 0, 2, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0];
            }
            message.extend(code.to_ne_bytes());
            let (_, source, target) = answer();
            read(&message, 9, source, target).map_err(|error| error.raw_os_error())
        };
        assert_eq!(error(-libc::ENOENT), Ok(Diagnosis::NoOwner));
        assert_eq!(error(-libc::EPERM), Err(Some(libc::EPERM)));
        assert!(error(0).is_err() && error(i32::MIN).is_err());
    }

    #[test]
    fn late_answers_are_skipped() {
        let (server, _client) = connection("127.0.0.1:0", "127.0.0.1").unwrap();
        let (local, remote) = addresses(&server);
        let mut owners = SocketOwners::new();
        let socket = owners.socket.as_ref().unwrap();
        // An unread answer about our own end.
        let stale = request(u32::MAX, end(local), end(remote));
        rustix::net::send(socket, &stale, SendFlags::empty()).unwrap();
        assert_eq!(owners.uid_of(local, remote).unwrap(), Some(own()));
        for _ in 0..MOST_MESSAGES {
            let socket = owners.socket.as_ref().unwrap();
            rustix::net::send(socket, &stale, SendFlags::empty()).unwrap();
        }
        assert!(owners.uid_of(local, remote).is_err() && owners.socket.is_none());
        assert_eq!(owners.uid_of(local, remote).unwrap(), Some(own()));
    }

    #[test]
    fn without_netlink_a_connection_is_not_own() {
        let (server, _client) = connection("127.0.0.1:0", "127.0.0.1").unwrap();
        let (local, remote) = addresses(&server);
        let mut owners = SocketOwners::new();
        // A socket that is no netlink socket stands for a system without one.
        owners.socket = Some(std::net::UdpSocket::bind("127.0.0.1:0").unwrap().into());
        assert!(!owners.is_own(local, remote) && owners.is_reported);
    }
}
