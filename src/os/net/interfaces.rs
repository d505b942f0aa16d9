//! The addresses of this machine's interfaces.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The addresses, `IP:PORT`, by which other machines reach a socket that listens at `at`. Of a
/// socket on loopback, that address.
#[must_use]
pub fn reachable_at(at: SocketAddr) -> Vec<String> {
    if !at.ip().is_unspecified() {
        return vec![at.to_string()];
    }
    let fits = |ip: &IpAddr| is_reachable(*ip) && (ip.is_ipv4() || at.is_ipv6());
    let all = of_this_machine().into_iter().filter(fits);
    all.map(|ip| SocketAddr::new(ip, at.port()).to_string()).collect()
}

/// An address of a link needs the name of the interface, which differs on the other machine.
fn is_reachable(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
    }
}

/// All addresses of all interfaces.
fn of_this_machine() -> Vec<IpAddr> {
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes a pointer to a list, or fails.
    if unsafe { libc::getifaddrs(&raw mut list) } != 0 {
        return Vec::new();
    }
    let (mut found, mut next) = (Vec::new(), list);
    while !next.is_null() {
        // SAFETY: an entry of the list, which is freed below.
        let entry = unsafe { &*next };
        // SAFETY: the address of an entry is null, or as long as its family says.
        found.extend(unsafe { address_at(entry.ifa_addr) });
        next = entry.ifa_next;
    }
    // SAFETY: the list of the call above, which nothing refers to any more.
    unsafe { libc::freeifaddrs(list) };
    found
}

/// The address of an interface.
///
/// # Safety
/// `address` is null, or points to a whole address of its family.
// SAFETY: the callers pass the addresses of a list of the system.
unsafe fn address_at(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: every address begins with its family.
    match i32::from(unsafe { (*address).sa_family }) {
        libc::AF_INET => {
            // SAFETY: an address of this family.
            let address = unsafe { &*address.cast::<libc::sockaddr_in>() };
            Some(Ipv4Addr::from_bits(u32::from_be(address.sin_addr.s_addr)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: an address of this family.
            let address = unsafe { &*address.cast::<libc::sockaddr_in6>() };
            Some(Ipv6Addr::from(address.sin6_addr.s6_addr).into())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_loopback_and_no_such_invite() {
        assert!(of_this_machine().contains(&IpAddr::V4(Ipv4Addr::LOCALHOST)));
        let any = reachable_at("0.0.0.0:7".parse().unwrap());
        assert!(any.iter().all(|at| !at.starts_with("127.") && at.ends_with(":7")), "{any:?}");
        assert_eq!(reachable_at("127.0.0.1:7".parse().unwrap()), ["127.0.0.1:7"]);
    }
}
