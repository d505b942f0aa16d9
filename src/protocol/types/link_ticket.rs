//! A link ticket: a short-lived right to fetch one file of a peer, for programs without a key.
//!
//! The text is base64url of version, expiry, number and a MAC by the peer's own link key. The file
//! is not part of the text: the MAC covers the [`LinkSubject`] that the request names.

use std::fmt;

use crate::protocol::types::base64url;
use crate::protocol::types::ids::{ContentHash, hex};
use crate::protocol::types::relative_path::RelativeName;

/// The first byte of a ticket.
const VERSION: u8 = 1;
/// The purpose of the MAC.
const DOMAIN: &[u8] = b"cardume link 1";
/// Bytes of a ticket: version, expiry, number, MAC.
const TICKET: usize = 1 + 4 + 4 + MAC;
/// Bytes of the MAC: guessing is hopeless, and the text stays short.
const MAC: usize = 16;

/// The secret of a peer that makes its tickets. `Debug` hides the bytes.
#[derive(Clone)]
pub struct LinkKey([u8; 32]);

impl LinkKey {
    /// The key of 32 random bytes.
    #[must_use]
    pub fn new(bytes: [u8; 32]) -> LinkKey {
        LinkKey(bytes)
    }
}

impl fmt::Debug for LinkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LinkKey(..)")
    }
}

/// The public number of a link, shown as 8 hex digits; a peer revokes a link by its number.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u32);

impl LinkId {
    /// Parse 8 lower-case hex digits.
    #[must_use]
    pub fn parse(text: &str) -> Option<LinkId> {
        hex(text).map(u32::from_be_bytes).map(LinkId)
    }
}

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

impl fmt::Debug for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The file of a ticket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinkSubject {
    /// The content with this hash, under any name.
    Root(ContentHash),
    /// The file with this name, whatever its content.
    Name(RelativeName),
}

impl LinkSubject {
    /// A tag and the bytes.
    fn parts(&self) -> (u8, &[u8]) {
        match self {
            LinkSubject::Root(root) => (1, &root.0),
            LinkSubject::Name(name) => (2, name.as_str().as_bytes()),
        }
    }
}

/// Why a ticket is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadTicket {
    /// Not made by this key for this file.
    Forged,
    /// The time is over.
    Expired,
}

impl fmt::Display for BadTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadTicket::Forged => "the link is not for this file",
            BadTicket::Expired => "the link has expired; ask for another",
        })
    }
}

impl std::error::Error for BadTicket {}

/// A ticket, not verified yet. `Debug` hides the MAC, and there is no `Display`. Equality is for
/// messages in tests; [`LinkTicket::verify`] compares in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LinkTicket {
    expiry: u32,
    id: LinkId,
    mac: [u8; MAC],
}

impl LinkTicket {
    /// Make a ticket for `subject` until `expiry`, in seconds of the peer.
    #[must_use]
    pub fn new(key: &LinkKey, expiry: u32, id: LinkId, subject: &LinkSubject) -> LinkTicket {
        let mut mac = [0; MAC];
        mac.copy_from_slice(&full_mac(key, expiry, id, subject).as_bytes()[..MAC]);
        LinkTicket { expiry, id, mac }
    }

    /// Parse 34 digits of base64url. `None` also for another version.
    #[must_use]
    pub fn parse(text: &str) -> Option<LinkTicket> {
        let bytes: [u8; TICKET] = base64url::decode(text)?;
        let [VERSION, e0, e1, e2, e3, i0, i1, i2, i3, mac @ ..] = bytes else { return None };
        let expiry = u32::from_be_bytes([e0, e1, e2, e3]);
        let id = LinkId(u32::from_be_bytes([i0, i1, i2, i3]));
        Some(LinkTicket { expiry, id, mac })
    }

    /// Check that the ticket was made by `key` for `subject`, and the time. The number may have
    /// been revoked since.
    ///
    /// # Errors
    /// [`BadTicket::Forged`], or [`BadTicket::Expired`] for a genuine ticket.
    pub fn verify(&self, key: &LinkKey, subject: &LinkSubject, now: u64) -> Result<(), BadTicket> {
        let full = full_mac(key, self.expiry, self.id, subject);
        // Hashes of `blake3` are compared in constant time. The bytes behind the MAC are the same.
        let mut claimed = *full.as_bytes();
        claimed[..MAC].copy_from_slice(&self.mac);
        if full != blake3::Hash::from_bytes(claimed) {
            Err(BadTicket::Forged)
        } else if now >= u64::from(self.expiry) {
            Err(BadTicket::Expired)
        } else {
            Ok(())
        }
    }

    /// The public number.
    #[must_use]
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// The first second in which the ticket is no longer valid.
    #[must_use]
    pub fn expiry(&self) -> u32 {
        self.expiry
    }

    /// The 34 digits, for the address of the file only.
    #[must_use]
    pub fn reveal(&self) -> String {
        let mut bytes = [0; TICKET];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.expiry.to_be_bytes());
        bytes[5..9].copy_from_slice(&self.id.0.to_be_bytes());
        bytes[9..].copy_from_slice(&self.mac);
        base64url::encode(&bytes)
    }
}

impl fmt::Debug for LinkTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LinkTicket({}.., expiry {})", self.id, self.expiry)
    }
}

/// The keyed hash of all that a ticket permits. Every part has a fixed length except the last, whose
/// length stands before.
fn full_mac(key: &LinkKey, expiry: u32, id: LinkId, subject: &LinkSubject) -> blake3::Hash {
    let (tag, bytes) = subject.parts();
    let mut hasher = blake3::Hasher::new_keyed(&key.0);
    hasher.update(DOMAIN);
    hasher.update(&expiry.to_be_bytes());
    hasher.update(&id.0.to_be_bytes());
    hasher.update(&[tag]);
    hasher.update(&(bytes.len() as u64).to_be_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::types::mutations::Mutations;

    const EXPIRY: u32 = 3_600;
    const ID: LinkId = LinkId(0xdead_beef);

    fn key() -> LinkKey {
        LinkKey::new([7; 32])
    }

    fn name(text: &str) -> LinkSubject {
        LinkSubject::Name(RelativeName::new(text).unwrap())
    }

    fn root() -> LinkSubject {
        LinkSubject::Root(ContentHash([0x61; 32]))
    }

    fn ticket() -> LinkTicket {
        LinkTicket::new(&key(), EXPIRY, ID, &name("aula1.mp4"))
    }

    #[test]
    fn a_ticket_has_one_spelling_and_does_not_show_itself() {
        let text = ticket().reveal();
        assert_eq!((text.len(), &text[..12]), (34, "AQAADhDerb7v"));
        let read = LinkTicket::parse(&text).unwrap();
        assert_eq!((read.id(), read.expiry(), read.reveal()), (ID, EXPIRY, text.clone()));
        assert_eq!(read.verify(&key(), &name("aula1.mp4"), 0), Ok(()));
        assert_eq!(format!("{read:?}"), "LinkTicket(deadbeef.., expiry 3600)");
        assert_eq!(format!("{:?}", key()), "LinkKey(..)");
        assert_eq!((ID.to_string(), LinkId(7).to_string()), ("deadbeef".into(), "00000007".into()));
        assert_eq!((LinkId::parse("deadbeef"), LinkId::parse("DEADBEEF")), (Some(ID), None));
        for other in ["", &text[1..], &text[..33], &format!("{text}A"), &format!("{text}=")] {
            assert!(LinkTicket::parse(other).is_none(), "{other}");
        }
        // Four bits of the last digit are unused.
        let last = (' '..='~')
            .filter(|digit| LinkTicket::parse(&format!("{}{digit}", &text[..33])).is_some());
        assert_eq!(last.collect::<String>(), "AQgw");
    }

    #[test]
    fn the_mac_is_the_keyed_hash_of_the_documented_bytes() {
        let mut bytes = b"cardume link 1\x00\x00\x0e\x10\xde\xad\xbe\xef".to_vec();
        bytes.extend_from_slice(b"\x02\0\0\0\0\0\0\0\x09aula1.mp4");
        assert_eq!(ticket().mac, blake3::keyed_hash(&[7; 32], &bytes).as_bytes()[..16]);
        bytes.truncate(22);
        bytes.extend_from_slice(b"\x01\0\0\0\0\0\0\0\x20");
        bytes.extend_from_slice(&[0x61; 32]);
        let by_root = LinkTicket::new(&key(), EXPIRY, ID, &root());
        assert_eq!(by_root.mac, blake3::keyed_hash(&[7; 32], &bytes).as_bytes()[..16]);
    }

    #[test]
    fn a_ticket_is_for_one_file_one_key_and_a_time() {
        let (ticket, file) = (ticket(), name("aula1.mp4"));
        assert_eq!(ticket.verify(&key(), &file, 3_599), Ok(()));
        for now in [3_600, 3_601, 1 << 32, u64::MAX] {
            assert_eq!(ticket.verify(&key(), &file, now), Err(BadTicket::Expired));
            // A forged ticket learns nothing about the time.
            assert_eq!(ticket.verify(&key(), &root(), now), Err(BadTicket::Forged));
        }
        for other in [name("aula2.mp4"), name("aula1.mp"), name("a/aula1.mp4"), root()] {
            assert_eq!(ticket.verify(&key(), &other, 0), Err(BadTicket::Forged));
        }
        for place in 0..32 {
            let mut other = [7; 32];
            other[place] ^= 1;
            let verified = ticket.verify(&LinkKey::new(other), &file, 0);
            assert_eq!(verified, Err(BadTicket::Forged));
        }
        // A name of the same bytes as a root, and the name of a content.
        let by_root = LinkTicket::new(&key(), EXPIRY, ID, &root());
        assert_eq!(by_root.verify(&key(), &root(), 0), Ok(()));
        let spelled = LinkSubject::Name(RelativeName::of_root(&ContentHash([0x61; 32])));
        for other in [name(&"a".repeat(32)), spelled] {
            assert_eq!(by_root.verify(&key(), &other, 0), Err(BadTicket::Forged));
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let bytes: [u8; TICKET] = base64url::decode(&ticket().reveal()).unwrap();
        for place in 0..TICKET {
            for bit in 0..8 {
                let mut changed = bytes;
                changed[place] ^= 1 << bit;
                let read = LinkTicket::parse(&base64url::encode(&changed));
                let Some(read) = read else {
                    assert_eq!(place, 0);
                    continue;
                };
                assert_ne!(place, 0);
                let verified = read.verify(&key(), &name("aula1.mp4"), 0);
                assert_eq!(verified, Err(BadTicket::Forged), "{place} {bit}");
            }
        }
        for version in [0, 2, 0x81, 0xff] {
            let mut other = bytes;
            other[0] = version;
            assert!(LinkTicket::parse(&base64url::encode(&other)).is_none(), "{version}");
        }
    }

    #[test]
    fn no_mutation_of_a_text_is_a_ticket() {
        let (text, key, file) = (ticket().reveal(), key(), name("aula1.mp4"));
        let (mut same, mut forged) = (0, 0);
        for changed in Mutations::new(&text, 20_262).take(200_000) {
            let Some(read) = LinkTicket::parse(&changed) else { continue };
            assert_eq!(read.reveal(), changed);
            let verified = read.verify(&key, &file, 0);
            assert_eq!(verified.is_ok(), changed == text, "{changed}");
            if changed == text { same += 1 } else { forged += 1 }
        }
        assert!(same > 0 && forged > 1_000, "{same} {forged}");
    }
}
