//! Socket addresses as text, faster than `Display`: an index writes millions a second.

use std::io::Write as _;
use std::net::SocketAddr;

/// Parse an IP, with or without brackets and IPv6 zone. The port is 0.
#[must_use]
pub fn read_ip(text: &str) -> Option<SocketAddr> {
    let text = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    if text.contains(':') {
        format!("[{text}]:0").parse().ok()
    } else {
        Some(SocketAddr::new(text.parse().ok()?, 0))
    }
}

/// The same address without its IPv6 zone, which has a meaning on one machine only.
#[must_use]
pub fn without_interface(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port())
}

/// Write `IP:PORT` without an IPv6 zone.
pub fn put(address: &SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(four) = address else {
        // Writing into memory can't fail.
        let _ = write!(out, "{}", without_interface(*address));
        return;
    };
    let mut text = [0; LONGEST];
    let mut length = 0;
    let mut push = |byte: u8| {
        if let Some(place) = text.get_mut(length) {
            *place = byte;
            length += 1;
        }
    };
    for (octet, after) in four.ip().octets().into_iter().zip(*b"...:") {
        if octet >= 100 {
            push(b'0' + octet / 100);
        }
        if octet >= 10 {
            push(b'0' + octet / 10 % 10);
        }
        push(b'0' + octet % 10);
        push(after);
    }
    out.extend_from_slice(&text[..length]);
    out.extend_from_slice(itoa::Buffer::new().format(four.port()).as_bytes());
}

/// The text of an IPv4 address with its port, kept where it is written often.
#[derive(Clone, Copy, Debug)]
pub struct FormattedAddr {
    length: u8,
    bytes: [u8; LONGEST],
}

/// The length of `255.255.255.255:65535`.
const LONGEST: usize = 21;

impl FormattedAddr {
    /// Format an address.
    #[must_use]
    pub fn of(address: &SocketAddr) -> FormattedAddr {
        let mut out = Vec::with_capacity(LONGEST);
        put(address, &mut out);
        let mut spelled = FormattedAddr { length: 0, bytes: [0; LONGEST] };
        if let (Some(place), Ok(length)) =
            (spelled.bytes.get_mut(..out.len()), u8::try_from(out.len()))
        {
            place.copy_from_slice(&out);
            spelled.length = length;
        }
        spelled
    }

    /// The text; empty for an IPv6 address, which may be too long.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_is_written_as_the_standard_library_does() {
        for octet in 0..=u8::MAX {
            let address = SocketAddr::from(([octet, 255 - octet, 0, octet], 10 * u16::from(octet)));
            let mut out = Vec::new();
            put(&address, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), address.to_string());
        }
    }

    #[test]
    fn addresses_are_formatted_as_display_formats_them() {
        for text in [
            "127.0.0.1:4000",
            "0.0.0.0:0",
            "255.10.99.100:65535",
            "[::1]:1",
            "[2001:db8::7]:4000",
            "[::ffff:1.2.3.4]:5",
        ] {
            let mut out = Vec::new();
            put(&text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
            let spelled = FormattedAddr::of(&text.parse().unwrap());
            assert_eq!(spelled.bytes(), if text.len() <= LONGEST { text.as_bytes() } else { b"" });
        }
    }
}
