//! Addresses as people write them. A link-local address has its interface by name:
//! `[fe80::1%eth0]:7001`.
//!
//! The number of an interface is valid on this machine alone. Sockets use the number, and no
//! message carries it.

use std::net::{Ipv6Addr, SocketAddr};

use crate::protocol::types::address;

/// Replaces the names of interfaces by their numbers, behind addresses that need an interface.
/// Other layers read only the numbers.
#[must_use]
pub fn numbered(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((front, behind)) = rest.split_once('%') {
        out.push_str(front);
        out.push('%');
        let ip =
            front.rsplit(|c: char| !c.is_ascii_hexdigit() && c != ':').next().unwrap_or_default();
        let length = behind
            .find(|c: char| !c.is_ascii_alphanumeric() && !"-_.".contains(c))
            .unwrap_or(behind.len());
        let (name, behind) = behind.split_at(length);
        let is_local = ip.parse().is_ok_and(|ip: Ipv6Addr| ip.is_unicast_link_local());
        match interface(name).filter(|_| is_local) {
            Some(number) => out.push_str(&number.to_string()),
            None => out.push_str(name),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Reads `IP:PORT`.
#[must_use]
pub fn read(text: &str) -> Option<SocketAddr> {
    numbered(text).parse().ok()
}

/// `at`, or a free port of that IP if a program listens there.
#[must_use]
pub fn or_free_port(at: SocketAddr) -> SocketAddr {
    match std::net::TcpListener::bind(at) {
        Ok(_) => at,
        Err(_) => SocketAddr::new(at.ip(), 0),
    }
}

/// Reads an IP, with or without brackets. The port is 0.
#[must_use]
pub fn read_ip(text: &str) -> Option<SocketAddr> {
    address::read_ip(&numbered(text))
}

fn interface(name: &str) -> Option<u32> {
    let name = std::ffi::CString::new(name).ok()?;
    // SAFETY: reads a text that ends with a zero, and nothing else.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    Some(number).filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn an_interface_is_given_by_name_or_number() {
        let with =
            |scope| Some(SocketAddrV6::new("fe80::1".parse().unwrap(), 7001, 0, scope).into());
        assert_eq!(read("[fe80::1%lo]:7001"), with(1));
        assert_eq!(read("[fe80::1%1]:7001"), with(1));
        assert_eq!(read("[fe80::1]:7001"), with(0));
        assert_eq!(read("127.0.0.1:5"), "127.0.0.1:5".parse().ok());
        for text in [
            "[fe80::1%nowhere0]:1",
            "[fe80::1%]:1",
            "fe80::1%lo:1",
            "[::1%lo]:1",
            "127.0.0.1%lo:1",
            "[fe80::1%lo]:65536",
            "[fe80::1%lo]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(
            read_ip("fe80::1%lo").is_some()
                && read_ip("[fe80::1%lo]").is_some()
                && read_ip("::1").is_some()
                && read_ip("x").is_none()
        );
        assert_eq!(numbered("DOWNLOAD fe80::1%lo 4000"), "DOWNLOAD fe80::1%1 4000");
        assert_eq!(numbered("GET 100%lo.mp4"), "GET 100%lo.mp4");
        assert_eq!(numbered("LS rede@[fe80::2%lo]:5 %"), "LS rede@[fe80::2%1]:5 %");
    }
}
