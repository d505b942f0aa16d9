//! Values of users and publications in an engine. Each value has a random number of its own: a
//! repeated write finds itself by that number.

use crate::accounts::store::{Account, UserConnection};
use crate::protocol::types::account::{Key, Line, Publication, Published, UserName};
use crate::protocol::types::legacy_profile::LegacyProfile;

/// The first byte of the value of a user: the version of the format.
const VERSION: u8 = b'1';
/// Bytes of the random number of a value.
const NONCE_BYTES: usize = 8;

/// The value of a user: version, number, and the key if there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AccountValue {
    /// The key; `None`: a name of legacy clients.
    pub key: Option<Key>,
    /// The random number.
    pub nonce: [u8; NONCE_BYTES],
}

impl AccountValue {
    /// The value as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let key = self.key.as_ref().map_or(&[][..], |key| key.bytes());
        [&[VERSION][..], &self.nonce, key].concat()
    }

    /// Read a value; `None` for bytes of another program.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<AccountValue> {
        let (version, rest) = bytes.split_first()?;
        let (nonce, key) = rest.split_first_chunk()?;
        let key = match key {
            [] => None,
            key => Some(Key::new(key.try_into().ok()?)?),
        };
        (*version == VERSION).then_some(AccountValue { key, nonce: *nonce })
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> Account {
        Account { key: self.key }
    }
}

/// The address of a legacy client: number, profile, address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionValue {
    /// The address.
    pub at: UserConnection,
    /// The random number.
    pub nonce: [u8; NONCE_BYTES],
}

impl ConnectionValue {
    /// The value as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text = format!("{} {}", self.at.speaks.as_str(), self.at.address);
        [&self.nonce[..], text.as_bytes()].concat()
    }

    /// Read a value; `None` for bytes of another program.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<ConnectionValue> {
        let (nonce, text) = bytes.split_first_chunk()?;
        let (profile, address) = std::str::from_utf8(text).ok()?.split_once(' ')?;
        let speaks = LegacyProfile::parse(profile).filter(|profile| profile.has_users())?;
        let at = UserConnection { address: address.parse().ok()?, speaks };
        Some(ConnectionValue { at, nonce: *nonce })
    }
}

/// A publication in the list of a user: file, zero byte, number, description.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicationEntry {
    /// The publication.
    pub what: Publication,
    /// The random number.
    pub nonce: [u8; NONCE_BYTES],
}

impl PublicationEntry {
    /// The entry as bytes. Entries are in the order of the files.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Publication { file, description } = &self.what;
        [file.as_bytes(), &[0], &self.nonce, description.as_bytes()].concat()
    }

    /// Read an entry; `None` for bytes of another program.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<PublicationEntry> {
        let (file, rest) = split_at_zero(bytes)?;
        let (nonce, description) = rest.split_first_chunk()?;
        let line = |bytes| Line::new(std::str::from_utf8(bytes).ok()?);
        let file = line(file).filter(|file| !file.is_empty())?;
        let what = Publication { file, description: line(description)? };
        Some(PublicationEntry { what, nonce: *nonce })
    }

    /// The bounds of the entries of a file, as a range by bytes. No file has a byte below 2.
    #[must_use]
    pub fn range(file: &Published) -> (Vec<u8>, Vec<u8>) {
        let bound = |sign: &[u8], end: u8| [sign, file.as_bytes(), &[end]].concat();
        (bound(b"[", 0), bound(b"(", 1))
    }

    /// The lower bound of the entries after a file; all without a file.
    #[must_use]
    pub fn after(file: Option<&Published>) -> Vec<u8> {
        file.map_or_else(|| b"-".to_vec(), |file| [b"[", file.as_bytes(), &[1]].concat())
    }
}

/// A user in the list of a file, or in the list of the legacy clients: user, zero byte, number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedUser {
    /// The user.
    pub user: UserName,
    /// The number of the publication or of the address.
    pub nonce: [u8; NONCE_BYTES],
}

impl ListedUser {
    /// The entry as bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        [self.user.as_bytes(), &[0], &self.nonce].concat()
    }

    /// Read an entry; `None` for bytes of another program.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<ListedUser> {
        let (user, nonce) = split_at_zero(bytes)?;
        let user = UserName::new(std::str::from_utf8(user).ok()?).ok()?;
        Some(ListedUser { user, nonce: nonce.try_into().ok()? })
    }
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, bytes)?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn line(text: &str) -> Line {
        Line::new(text).unwrap()
    }

    #[test]
    fn values_are_read_back() {
        let key = Key::parse("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        assert!(key.is_some());
        for key in [key, None] {
            let value = AccountValue { key, nonce: [0, 1, 2, 3, 4, 5, 6, 7] };
            assert_eq!(AccountValue::decode(&value.encode()), Some(value));
        }
        for address in ["192.0.2.1:5000", "[2001:db8::1]:5000"] {
            let at = UserConnection {
                address: address.parse().unwrap(),
                speaks: LegacyProfile::Uc3m2024,
            };
            let value = ConnectionValue { at, nonce: [0; 8] };
            assert_eq!(ConnectionValue::decode(&value.encode()), Some(value));
        }
        let what = Publication { file: line("/a {b}"), description: line("x") };
        let entry = PublicationEntry { what, nonce: [0; 8] };
        assert_eq!(PublicationEntry::decode(&entry.encode()), Some(entry));
        let listed = ListedUser { user: UserName::new("ana").unwrap(), nonce: [0; 8] };
        assert_eq!(ListedUser::decode(&listed.encode()), Some(listed));
    }

    #[test]
    fn the_range_of_a_file_has_no_entry_of_another_file() {
        let (from, to) = PublicationEntry::range(&line("a"));
        for (file, is_inside) in [("a", true), ("a b", false), ("a0", false), ("A", false)] {
            let what = Publication { file: line(file), description: line("d") };
            let bytes = PublicationEntry { what, nonce: [255; 8] }.encode();
            assert_eq!(bytes[..] >= from[1..] && bytes[..] < to[1..], is_inside, "{file}");
        }
        assert_eq!(PublicationEntry::after(None), b"-");
        assert_eq!(PublicationEntry::after(Some(&line("a"))), b"[a\x01");
    }

    #[test]
    fn values_of_another_program_are_none() {
        assert_eq!(AccountValue::decode(b""), None);
        assert_eq!(AccountValue::decode(b"1short"), None);
        assert_eq!(AccountValue::decode(&[b"2".as_slice(), &[0; 8]].concat()), None);
        // A key of small order proves nothing.
        assert_eq!(AccountValue::decode(&[b"1".as_slice(), &[0; 8], &[0; 32]].concat()), None);
        assert_eq!(ConnectionValue::decode(b"12345678uc3m-2024 nowhere"), None);
        assert_eq!(ConnectionValue::decode(b"12345678rede-p2p 192.0.2.1:1"), None);
        assert_eq!(ListedUser::decode(b"a/b\x0012345678"), None);
        assert_eq!(ListedUser::decode(b"ana\x001234567"), None);
        assert_eq!(PublicationEntry::decode(b"\x0012345678"), None);
        assert_eq!(PublicationEntry::decode(b"a\x0012345678\x01"), None);
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic_and_have_one_meaning(bytes in vec(any::<u8>(), 0..60)) {
            if let Some(value) = AccountValue::decode(&bytes) {
                prop_assert_eq!(value.encode(), bytes.clone());
            }
            if let Some(entry) = PublicationEntry::decode(&bytes) {
                prop_assert_eq!(entry.encode(), bytes.clone());
            }
            if let Some(listed) = ListedUser::decode(&bytes) {
                prop_assert_eq!(listed.encode(), bytes.clone());
            }
            let _ = ConnectionValue::decode(&bytes);
        }
    }
}
