//! Addresses in words, as `Display` writes them and without its detours: an index writes millions of them a second.

use std::io::Write as _;
use std::net::SocketAddr;

/// Writes `IP:PORT`.
pub fn put(address: &SocketAddr, out: &mut Vec<u8>) {
    let SocketAddr::V4(four) = address else {
        // Writing into memory can't fail.
        let _ = write!(out, "{address}");
        return;
    };
    let mut digits = itoa::Buffer::new();
    for (byte, after) in four.ip().octets().into_iter().zip(b"...:") {
        out.extend_from_slice(digits.format(byte).as_bytes());
        out.push(*after);
    }
    out.extend_from_slice(digits.format(four.port()).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_written_as_everywhere_else() {
        for text in ["127.0.0.1:4000", "0.0.0.0:0", "255.10.99.100:65535", "[::1]:1", "[2001:db8::7]:4000", "[::ffff:1.2.3.4]:5"] {
            let mut out = Vec::new();
            put(&text.parse().unwrap(), &mut out);
            assert_eq!(out, text.as_bytes());
        }
    }
}
