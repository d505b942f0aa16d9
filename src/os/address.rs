//! Addresses as people write them, with the interface of a link-local one by its name: `[fe80::1%eth0]:7001`.
//!
//! The number of an interface means something on this machine alone. It goes into the sockets of this machine, and never to others.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};

/// Reads `IP:PORT`, or `[IP%INTERFACE]:PORT` with the name or the number of an interface of this machine.
#[must_use]
pub fn read(text: &str) -> Option<SocketAddr> {
    if let Ok(at) = text.parse() {
        return Some(at);
    }
    let (inside, port) = text.strip_prefix('[')?.split_once("]:")?;
    let mut at = read_ip(inside)?;
    at.set_port(port.parse().ok()?);
    Some(at)
}

/// Reads an IP, with or without brackets, and with the interface of a link-local one. The port is 0.
#[must_use]
pub fn read_ip(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let Some((ip, interface)) = text.split_once('%') else { return Some(SocketAddr::new(text.parse::<IpAddr>().ok()?, 0)) };
    // Only an address that each interface has for itself needs to be told which.
    let ip = ip.parse().ok().filter(std::net::Ipv6Addr::is_unicast_link_local)?;
    Some(SocketAddrV6::new(ip, 0, 0, scope(interface)?).into())
}

fn scope(interface: &str) -> Option<u32> {
    if let Ok(number) = interface.parse::<u32>() {
        return Some(number).filter(|number| *number != 0);
    }
    let name = std::ffi::CString::new(interface).ok()?;
    // SAFETY: reads a text that ends with a zero, and nothing else.
    let number = unsafe { libc::if_nametoindex(name.as_ptr()) };
    Some(number).filter(|number| *number != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_named_by_its_name_or_its_number() {
        let with = |scope| Some(SocketAddrV6::new("fe80::1".parse().unwrap(), 7001, 0, scope).into());
        assert_eq!(read("[fe80::1%lo]:7001"), with(1));
        assert_eq!(read("[fe80::1%1]:7001"), with(1));
        assert_eq!(read("[fe80::1]:7001"), with(0));
        assert_eq!(read("127.0.0.1:5"), "127.0.0.1:5".parse().ok());
        for text in [
            "[fe80::1%nowhere0]:1",
            "[fe80::1%]:1",
            "[fe80::1%0]:1",
            "fe80::1%lo:1",
            "[::1%lo]:1",
            "127.0.0.1%lo:1",
            "[fe80::1%lo]:65536",
            "[fe80::1%lo]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        assert!(read_ip("fe80::1%lo").is_some() && read_ip("[fe80::1%lo]").is_some() && read_ip("::1").is_some() && read_ip("x").is_none());
    }
}
