//! A range of addresses in CIDR notation.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bits in front of an IPv4 address that is mapped to IPv6.
const MAPPED_BITS: u8 = 96;

/// The addresses that begin with the same bits. An IPv4 address mapped to IPv6 is the IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressRange {
    first: IpAddr,
    bits: u8,
}

/// The reason why a text or a prefix is no range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRange {
    /// Neither an address nor `ADDRESS/BITS`.
    Malformed,
    /// The address has bits behind the prefix.
    HostBits,
    /// The range has all addresses.
    Everything,
}

impl fmt::Display for BadRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadRange::Malformed => "a range is like 192.0.2.7, 10.1.0.0/16 or 2001:db8::/64",
            BadRange::HostBits => "the address of a range has no bits behind the prefix",
            BadRange::Everything => "a range of all addresses would ban everyone",
        })
    }
}

impl AddressRange {
    /// The range of one address.
    #[must_use]
    pub fn of(ip: IpAddr) -> AddressRange {
        let first = ip.to_canonical();
        AddressRange { first, bits: width(first) }
    }

    /// The range that begins with this address.
    ///
    /// # Errors
    /// The reason why there is none.
    pub fn new(first: IpAddr, bits: u8) -> Result<AddressRange, BadRange> {
        let (first, bits) = unmapped(first, bits);
        if bits > width(first) {
            return Err(BadRange::Malformed);
        }
        if masked(first, bits) != first {
            return Err(BadRange::HostBits);
        }
        if bits == 0 { Err(BadRange::Everything) } else { Ok(AddressRange { first, bits }) }
    }

    /// Parse `ADDRESS` or `ADDRESS/BITS`.
    ///
    /// # Errors
    /// The reason why the text is no range.
    pub fn parse(text: &str) -> Result<AddressRange, BadRange> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let first: IpAddr = address.parse().map_err(|_| BadRange::Malformed)?;
        let Some(bits) = bits else { return Ok(AddressRange::of(first)) };
        // Signs would be read as numbers.
        if !bits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(BadRange::Malformed);
        }
        AddressRange::new(first, bits.parse().map_err(|_| BadRange::Malformed)?)
    }

    /// The range that has the address, as an operator names it: with bits behind the prefix, or
    /// with all addresses. `None`: the address is shorter.
    #[must_use]
    pub fn covering(ip: IpAddr, bits: u8) -> Option<AddressRange> {
        let (ip, bits) = unmapped(ip, bits);
        (bits <= width(ip)).then(|| AddressRange { first: masked(ip, bits), bits })
    }

    /// The range of this prefix length that has the address. `None`: the address is shorter.
    #[must_use]
    pub fn around(ip: IpAddr, bits: u8) -> Option<AddressRange> {
        let ip = ip.to_canonical();
        (bits <= width(ip)).then(|| AddressRange { first: masked(ip, bits), bits })
    }

    /// The first address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// The length of the prefix.
    #[must_use]
    pub fn bits(&self) -> u8 {
        self.bits
    }

    /// True for an address of the range.
    #[must_use]
    pub fn holds(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.first.is_ipv4() && masked(ip, self.bits) == self.first
    }

    /// True if the range has a loopback address.
    #[must_use]
    pub fn has_loopback(&self) -> bool {
        let loopback: IpAddr = match self.first {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        };
        self.first.is_loopback() || self.holds(loopback)
    }
}

impl From<IpAddr> for AddressRange {
    fn from(ip: IpAddr) -> AddressRange {
        AddressRange::of(ip)
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.bits == width(self.first) {
            self.first.fmt(f)
        } else {
            write!(f, "{}/{}", self.first, self.bits)
        }
    }
}

/// A range of IPv4 addresses mapped to IPv6 as one of IPv4.
fn unmapped(ip: IpAddr, bits: u8) -> (IpAddr, u8) {
    match ip.to_canonical() {
        four @ IpAddr::V4(_) if ip.is_ipv6() && bits >= MAPPED_BITS => (four, bits - MAPPED_BITS),
        _ => (ip, bits),
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// The address without the bits behind the prefix.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32u32.saturating_sub(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(ip.to_bits() & mask).into()
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128u32.saturating_sub(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(ip.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> AddressRange {
        AddressRange::parse(text).unwrap()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_range_has_the_addresses_of_its_prefix() {
        for (text, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.9", "10.2.0.1"),
            ("192.0.2.7", "192.0.2.7", "192.0.2.6"),
            ("128.0.0.0/1", "255.1.2.3", "127.0.0.1"),
            ("2001:db8::/64", "2001:db8::ffff:1:2:3", "2001:db8:0:1::1"),
            ("2001:db8::1", "2001:db8::1", "2001:db8::2"),
            ("8000::/1", "ffff::", "::1"),
        ] {
            assert!(range(text).holds(ip(inside)) && !range(text).holds(ip(outside)), "{text}");
            assert_eq!(range(text).to_string(), text);
        }
    }

    #[test]
    fn a_range_of_an_operator_has_the_addresses_with_its_first_bits() {
        let covering = |text, bits| AddressRange::covering(ip(text), bits).unwrap();
        let range = covering("192.168.4.0", 22);
        assert!(range.holds(ip("192.168.7.9")));
        assert!(!range.holds(ip("192.168.8.1")));
        assert!(!range.holds(ip("::1")));
        assert!(covering("::", 0).holds(ip("2001:db8::1")));
        assert_eq!(covering("192.168.5.9", 22), range);
        assert_eq!(AddressRange::covering(ip("10.0.0.0"), 33), None);
    }

    #[test]
    fn a_mapped_address_is_the_ipv4_address() {
        assert_eq!(range("::ffff:10.1.0.0/112"), range("10.1.0.0/16"));
        assert_eq!(range("::ffff:10.1.2.3"), range("10.1.2.3/32"));
        assert!(range("10.1.0.0/16").holds(ip("::ffff:10.1.2.3")));
        // A range of IPv6 has no IPv4 address, although it has the mapped ones.
        assert!(
            !range("::/8").holds(ip("::ffff:10.1.2.3")) && !range("::/8").holds(ip("10.1.2.3"))
        );
        assert_eq!(AddressRange::around(ip("::ffff:10.1.2.3"), 8), Some(range("10.0.0.0/8")));
        assert_eq!(AddressRange::around(ip("10.1.2.3"), 33), None);
    }

    #[test]
    fn a_text_that_is_no_range_is_refused_with_the_reason() {
        for text in [
            "",
            "/",
            "/8",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0/8",
            "2001:db8::/129",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
            "10.0.0.0/8 ",
            "ana",
            "10.0.0.0/a",
            "::ffff:10.0.0.0/129",
            "10.0.0.1:80",
            "fe80::1%eth0",
        ] {
            assert_eq!(AddressRange::parse(text), Err(BadRange::Malformed), "{text:?}");
        }
        for text in ["10.0.0.1/8", "2001:db8::1/64", "::ffff:10.0.0.1/104", "0.0.0.1/0"] {
            assert_eq!(AddressRange::parse(text), Err(BadRange::HostBits), "{text:?}");
        }
        for text in ["0.0.0.0/0", "::/0", "::ffff:0.0.0.0/96"] {
            assert_eq!(AddressRange::parse(text), Err(BadRange::Everything), "{text:?}");
        }
    }

    #[test]
    fn a_range_with_a_loopback_address_is_known() {
        for text in ["127.0.0.1", "127.9.0.0/16", "126.0.0.0/7", "::1", "::/8", "64.0.0.0/2"] {
            assert!(range(text).has_loopback(), "{text}");
        }
        for text in ["128.0.0.0/1", "10.0.0.0/8", "::2", "2001:db8::/64"] {
            assert!(!range(text).has_loopback(), "{text}");
        }
    }
}
