//! The keys in an engine, and the entries of the sorted sets of providers.
//!
//! A name or a content hash never chooses a slot: the tag in braces comes from a hash with a
//! secret key. So names may hold braces, and no client can aim many names at a single slot.

use std::net::{IpAddr, SocketAddr};

use crate::cluster::ids::ID_BYTES;
use crate::cluster::slots::{SLOTS, SlotTags};
use crate::limits;
use crate::protocol::request::Selector;
use crate::protocol::types::ids::{ContentHash, to_hex};
use crate::protocol::types::relative_path::RelativeName;

/// Streams of events: a server writes to a single stream.
pub const STREAMS: u8 = 8;
/// Bytes of a tag: three characters reach each slot.
const TAG_BYTES: usize = 3;
/// Parts of the lists of users and members: some for each node of a cluster, and few enough to be
/// read one after the other.
pub const USER_PARTS: u8 = 16;
/// The prefix of the keys: the name of a service.
const PREFIX_BYTES: usize = 64;

/// The content hash follows.
const ROOT: u8 = 1;
/// The provider lacks pieces.
const PARTIAL: u8 = 2;
/// The member's own record says more: user, key, further ports.
const MORE: u8 = 4;
/// The address has 16 bytes.
const V6: u8 = 8;
const ALL: u8 = ROOT | PARTIAL | MORE | V6;
/// Bytes of a number of 64 bits, seven a byte.
const VARINT_BYTES: usize = 10;

/// A kind of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum StreamSet {
    /// Names that are new to a server, and members that have gone. Every server reads them.
    Names,
    /// Entries that came or went. Only servers with subscribers read them.
    Entries,
}

/// The keys of an index.
pub struct Keys {
    prefix: Vec<u8>,
    secret: [u8; 32],
    /// The slots in use: the first of each so many.
    step: u16,
}

impl Keys {
    /// The keys with this prefix and this secret.
    #[must_use]
    pub fn new(prefix: &str, secret: [u8; 32]) -> Keys {
        Keys { prefix: prefix.as_bytes().to_vec(), secret, step: 1 }
    }

    /// Use this many slots only, a power of two. For engines so small that a mark a slot counts.
    #[must_use]
    pub fn with_slots(self, slots: u16) -> Keys {
        let slots = slots.clamp(1, SLOTS as u16);
        Keys { step: SLOTS as u16 / (1 << slots.ilog2()), ..self }
    }

    /// The slots of names and contents, in order.
    pub fn slots(&self) -> impl Iterator<Item = u16> + use<> {
        (0..SLOTS as u16).step_by(usize::from(self.step))
    }

    /// The place of a slot in [`Keys::slots`].
    #[must_use]
    pub fn place_of(&self, slot: u16) -> usize {
        usize::from(slot / self.step)
    }

    /// True if keys may begin so: a prefix with a brace would choose the slot.
    #[must_use]
    pub fn is_prefix(text: &str) -> bool {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && byte != b'{' && byte != b'}';
        text.len() <= PREFIX_BYTES && text.bytes().all(is_plain)
    }

    /// Use this secret, which all servers share.
    pub fn set_secret(&mut self, secret: [u8; 32]) {
        self.secret = secret;
    }

    fn tag(&self, text: &[u8]) -> [u8; 3] {
        let hash = blake3::keyed_hash(&self.secret, text);
        let [a, b, ..] = *hash.as_bytes();
        let slot = u16::from_le_bytes([a, b]) % SLOTS as u16;
        SlotTags::shared().of(slot - slot % self.step)
    }

    /// `prefix kind {tag} rest`.
    fn key(&self, kind: &[u8], tag: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = self.prefix.len() + kind.len() + tag.len() + rest.len() + 2;
        let mut key = Vec::with_capacity(length);
        key.extend_from_slice(&self.prefix);
        key.extend_from_slice(kind);
        key.push(b'{');
        key.extend_from_slice(tag);
        key.push(b'}');
        key.extend_from_slice(rest);
        key
    }

    fn plain(&self, name: &[u8]) -> Vec<u8> {
        [&self.prefix, name].concat()
    }

    /// The kind, the tag and the rest of a key of this index, other than the keys of all servers.
    #[must_use]
    pub fn parts<'a>(&self, key: &'a [u8]) -> Option<(u8, &'a [u8], &'a [u8])> {
        let (kind, rest) = key.strip_prefix(self.prefix.as_slice())?.split_first()?;
        let rest = rest.strip_prefix(b":{")?;
        let end = memchr::memchr(b'}', rest)?;
        Some((*kind, &rest[..end], &rest[end + 1..]))
    }

    /// The providers of a name.
    #[must_use]
    pub fn name(&self, name: &str) -> Vec<u8> {
        self.key(b"n:", &self.tag(name.as_bytes()), name.as_bytes())
    }

    /// The providers of a content.
    #[must_use]
    pub fn root(&self, root: &ContentHash) -> Vec<u8> {
        self.key(b"r:", &self.tag(&root.0), &root.0)
    }

    /// The providers of a name or of a content.
    #[must_use]
    pub fn file(&self, file: &Selector) -> Vec<u8> {
        match file {
            Selector::Name(name) => self.name(name),
            Selector::Root(root) => self.root(root),
        }
    }

    /// The record of a member.
    #[must_use]
    pub fn member(&self, id: [u8; ID_BYTES]) -> Vec<u8> {
        self.key(b"m:", to_hex(&id).as_bytes(), b"")
    }

    /// The member at an address.
    #[must_use]
    pub fn address(&self, address: SocketAddr) -> Vec<u8> {
        self.key(b"a:", address.to_string().as_bytes(), b"")
    }

    /// The marks of the servers that have mirrored this slot.
    #[must_use]
    pub fn marks(&self, slot: u16) -> Vec<u8> {
        self.key(b"z:", &SlotTags::shared().of(slot), b"")
    }

    /// The pattern of the keys of all names, for `SCAN`. The prefix may hold signs of a pattern.
    #[must_use]
    pub fn name_pattern(&self) -> Vec<u8> {
        let escaped = self.prefix.iter().flat_map(|byte| [b'\\', *byte]);
        escaped.chain(*b"n:{*").collect()
    }

    /// The name of a key of [`Keys::name`]; `None` for other keys, and for another secret.
    #[must_use]
    pub fn name_of(&self, key: &[u8]) -> Option<RelativeName> {
        let rest = key.strip_prefix(self.prefix.as_slice())?.strip_prefix(b"n:{")?;
        let text = std::str::from_utf8(rest.get(TAG_BYTES + 1..)?).ok()?;
        let name = RelativeName::new(text).ok()?;
        (self.name(&name) == key).then_some(name)
    }

    /// A stream of names, or of entries.
    #[must_use]
    pub fn stream(&self, set: StreamSet, number: u8) -> Vec<u8> {
        let kind = match set {
            StreamSet::Names => b"x:",
            StreamSet::Entries => b"v:",
        };
        self.key(kind, (number % STREAMS).to_string().as_bytes(), b"")
    }

    /// The key of a user.
    #[must_use]
    pub fn user(&self, user: &str) -> Vec<u8> {
        self.key(b"u:", &self.tag(user.as_bytes()), user.as_bytes())
    }

    /// The publications of a user, in the slot of [`Keys::user`].
    #[must_use]
    pub fn publications(&self, user: &str) -> Vec<u8> {
        self.key(b"q:", &self.tag(user.as_bytes()), user.as_bytes())
    }

    /// The address of a user of a legacy client, in the slot of [`Keys::user`].
    #[must_use]
    pub fn connection(&self, user: &str) -> Vec<u8> {
        self.key(b"l:", &self.tag(user.as_bytes()), user.as_bytes())
    }

    /// The publications of a removed account, until they are removed one by one, in the slot of
    /// [`Keys::user`].
    #[must_use]
    pub fn removed(&self, user: &str, nonce: [u8; 8]) -> Vec<u8> {
        let rest = [user.as_bytes(), b"\0", to_hex(&nonce).as_bytes()].concat();
        self.key(b"g:", &self.tag(user.as_bytes()), &rest)
    }

    /// The publishers of a file.
    #[must_use]
    pub fn publishers(&self, file: &str) -> Vec<u8> {
        self.key(b"f:", &self.tag(file.as_bytes()), file.as_bytes())
    }

    /// A part of the users that are online with legacy clients.
    #[must_use]
    pub fn legacy_users(&self, part: u8) -> Vec<u8> {
        self.part(b"o:", part)
    }

    /// The part of [`Keys::legacy_users`] and of [`Keys::members`] for a user or a member.
    #[must_use]
    pub fn part_of(&self, text: &[u8]) -> u8 {
        blake3::keyed_hash(&self.secret, text).as_bytes()[2] % USER_PARTS
    }

    /// The mark of a slot: the accounts of this slot are here. The value is the secret of the keys.
    #[must_use]
    pub fn account_mark(&self, slot: u16) -> Vec<u8> {
        self.key(b"k:", &SlotTags::shared().of(slot), b"")
    }

    /// The members of a user, as [`Keys::name`].
    #[must_use]
    pub fn presence(&self, user: &str) -> Vec<u8> {
        self.key(b"p:", &self.tag(user.as_bytes()), user.as_bytes())
    }

    /// A part of all members.
    #[must_use]
    pub fn members(&self, part: u8) -> Vec<u8> {
        self.part(b"P:", part)
    }

    fn part(&self, kind: &[u8], part: u8) -> Vec<u8> {
        let part = part % USER_PARTS;
        let slot = u16::from(part) * (SLOTS as u16 / u16::from(USER_PARTS));
        self.key(kind, &SlotTags::shared().of(slot - slot % self.step), &[b'a' + part])
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> Vec<u8> {
        self.plain(b"c:servers")
    }

    /// The last epoch given to a server.
    #[must_use]
    pub fn epoch(&self) -> Vec<u8> {
        self.plain(b"c:epoch")
    }

    /// The secret of the tags.
    #[must_use]
    pub fn secret(&self) -> Vec<u8> {
        self.plain(b"c:secret")
    }
}

/// The entry of a provider in the sorted set of a name or of a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HolderEntry {
    /// The member.
    pub id: [u8; ID_BYTES],
    /// The address.
    pub address: SocketAddr,
    /// Size of the file.
    pub size: Option<u64>,
    /// The provider lacks pieces.
    pub partial: bool,
    /// The member's own record says more.
    pub more: bool,
    /// The content hash, in the set of a name; `None` in the set of a content.
    pub root: Option<ContentHash>,
    /// The name, in the set of a content.
    pub name: Option<RelativeName>,
}

impl HolderEntry {
    /// The entry as bytes. Entries of a member begin with the number of the member.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        out.extend_from_slice(&self.id);
        let mut flags = 0;
        for (is_set, flag) in [
            (self.root.is_some(), ROOT),
            (self.partial, PARTIAL),
            (self.more, MORE),
            (self.address.is_ipv6(), V6),
        ] {
            flags |= if is_set { flag } else { 0 };
        }
        out.push(flags);
        out.extend_from_slice(&self.address.port().to_be_bytes());
        match self.address.ip() {
            IpAddr::V4(ip) => out.extend_from_slice(&ip.octets()),
            IpAddr::V6(ip) => out.extend_from_slice(&ip.octets()),
        }
        // 0 stands for an unknown size.
        put_varint(self.size.map_or(0, |size| size.min(limits::LARGEST_INTEGER) + 1), &mut out);
        if let Some(root) = &self.root {
            out.extend_from_slice(&root.0);
        }
        if let Some(name) = &self.name {
            out.extend_from_slice(name.as_bytes());
        }
        out
    }

    /// Read an entry of the set of a name.
    #[must_use]
    pub fn of_name(bytes: &[u8]) -> Option<HolderEntry> {
        let (mut entry, has_root, rest) = HolderEntry::start(bytes)?;
        entry.root = match (has_root, rest) {
            (false, []) => None,
            (true, root) => Some(ContentHash(root.try_into().ok()?)),
            _ => return None,
        };
        Some(entry)
    }

    /// Read an entry of the set of a content.
    #[must_use]
    pub fn of_root(bytes: &[u8]) -> Option<HolderEntry> {
        let (mut entry, has_root, rest) = HolderEntry::start(bytes)?;
        let name = RelativeName::new(std::str::from_utf8(rest).ok()?).ok()?;
        entry.name = (!has_root).then_some(name);
        entry.name.is_some().then_some(entry)
    }

    /// The common start, whether a content hash follows, and the rest.
    fn start(bytes: &[u8]) -> Option<(HolderEntry, bool, &[u8])> {
        let (id, rest) = bytes.split_first_chunk::<ID_BYTES>()?;
        let (&[flags, high, low], rest) = rest.split_first_chunk::<3>()?;
        if flags & !ALL != 0 {
            return None;
        }
        let (ip, rest) = if flags & V6 == 0 {
            let (ip, rest) = rest.split_first_chunk::<4>()?;
            (IpAddr::from(*ip), rest)
        } else {
            let (ip, rest) = rest.split_first_chunk::<16>()?;
            (IpAddr::from(*ip), rest)
        };
        let (size, rest) = varint(rest)?;
        let entry = HolderEntry {
            id: *id,
            address: SocketAddr::new(ip, u16::from_be_bytes([high, low])),
            size: size.checked_sub(1),
            partial: flags & PARTIAL != 0,
            more: flags & MORE != 0,
            root: None,
            name: None,
        };
        let is_size = size <= limits::LARGEST_INTEGER + 1;
        is_size.then_some((entry, flags & ROOT != 0, rest))
    }
}

/// The number of the member at the start of an entry.
#[must_use]
pub fn id_of(entry: &[u8]) -> Option<[u8; ID_BYTES]> {
    entry.first_chunk::<ID_BYTES>().copied()
}

/// Write a number, seven bits a byte, the low bits first.
pub(super) fn put_varint(mut number: u64, out: &mut Vec<u8>) {
    #[allow(clippy::cast_possible_truncation)]
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    #[allow(clippy::cast_possible_truncation)]
    out.push(number as u8);
}

/// Read a number and the rest. Only the shortest form counts: two entries never mean the same.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0_u64;
    for (place, byte) in bytes.iter().take(VARINT_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        let shifted = bits << (7 * place);
        if shifted >> (7 * place) != bits {
            return None;
        }
        number |= shifted;
        if byte & 0x80 == 0 {
            return (place == 0 || *byte != 0).then(|| (number, &bytes[place + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::cluster::slots::slot_of;

    fn entries() -> impl Strategy<Value = HolderEntry> {
        let address = prop_oneof![
            any::<([u8; 4], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
            any::<([u8; 16], u16)>().prop_map(|(ip, port)| SocketAddr::from((ip, port))),
        ];
        let size = proptest::option::of(0..=limits::LARGEST_INTEGER);
        (any::<[u8; 7]>(), address, size, any::<(bool, bool)>()).prop_map(
            |(id, address, size, (partial, more))| HolderEntry {
                id,
                address,
                size,
                partial,
                more,
                root: None,
                name: None,
            },
        )
    }

    proptest! {
        #[test]
        fn an_entry_is_read_back_and_no_part_of_it(
            entry in entries(),
            root in proptest::option::of(any::<[u8; 32]>()),
        ) {
            let by_name = HolderEntry { root: root.map(ContentHash), ..entry.clone() };
            let bytes = by_name.encode();
            for cut in 0..bytes.len() {
                prop_assert_eq!(HolderEntry::of_name(&bytes[..cut]), None);
            }
            prop_assert_eq!(id_of(&bytes), Some(entry.id));
            let longer = [bytes.as_slice(), b"x"].concat();
            prop_assert_eq!(HolderEntry::of_name(&longer), None);
            prop_assert_eq!(HolderEntry::of_name(&bytes), Some(by_name));
            let name = RelativeName::new("Curso {1}/aula}.mp4").unwrap();
            let by_root = HolderEntry { name: Some(name), ..entry };
            prop_assert_eq!(HolderEntry::of_root(&by_root.encode()), Some(by_root.clone()));
            prop_assert_eq!(HolderEntry::of_name(&by_root.encode()), None);
        }

        #[test]
        fn bytes_of_another_program_never_panic_and_are_no_entry_of_two_spellings(
            bytes in vec(any::<u8>(), 0..90),
            flags in 0_u8..16,
        ) {
            let mut bytes = bytes;
            if let Some(place) = bytes.get_mut(7) {
                *place = flags;
            }
            let read = [HolderEntry::of_name(&bytes), HolderEntry::of_root(&bytes)];
            for entry in read.into_iter().flatten() {
                prop_assert_eq!(entry.encode(), bytes.clone());
            }
        }
    }

    #[test]
    fn an_entry_of_a_name_takes_few_bytes() {
        let entry = HolderEntry {
            id: [1; 7],
            address: "10.0.0.1:4000".parse().unwrap(),
            size: Some(4 << 30),
            partial: false,
            more: false,
            root: None,
            name: None,
        };
        assert_eq!(entry.encode().len(), 19);
        assert_eq!(HolderEntry { size: None, ..entry }.encode().len(), 15);
    }

    #[test]
    fn a_key_takes_its_slot_from_a_secret_hash_even_with_braces_in_the_name() {
        let keys = Keys::new("p:", [7; 32]);
        let key = keys.name("{a}{b}.mp4");
        assert!(key.starts_with(b"p:n:{") && key.ends_with(b"}{a}{b}.mp4"));
        assert_eq!(slot_of(&key), slot_of(&key[5..8]));
        let other = Keys::new("p:", [8; 32]);
        let names: Vec<String> = (0..100).map(|number| format!("{{a}}{number}")).collect();
        let slots = |keys: &Keys| names.iter().map(|n| slot_of(&keys.name(n))).collect::<Vec<_>>();
        assert_ne!(slots(&keys), slots(&other));
        let mut all = slots(&keys);
        all.sort_unstable();
        all.dedup();
        assert!(all.len() > 90, "{} slots", all.len());
        assert_eq!(slot_of(&keys.user("a}b")), slot_of(&keys.publications("a}b")));
        let root = keys.root(&ContentHash(*b"}}}}}}}}}}}}}}}}{{{{{{{{{{{{{{{{"));
        assert_eq!(slot_of(&root), slot_of(&root[5..8]));
        for slot in [0, 9_999, 16_383] {
            assert_eq!(slot_of(&keys.marks(slot)), slot);
        }
    }

    #[test]
    fn a_name_is_read_from_its_key_only() {
        let keys = Keys::new("p*:", [7; 32]);
        let key = keys.name("Curso {1}/aula.mp4");
        assert_eq!(keys.name_of(&key).as_deref(), Some("Curso {1}/aula.mp4"));
        assert_eq!(keys.name_pattern(), b"\\p\\*\\:n:{*");
        for cut in 0..key.len() {
            assert_eq!(keys.name_of(&key[..cut]), None);
        }
        for other in [
            Keys::new("p*:", [8; 32]).name("a.mp4"),
            Keys::new("", [7; 32]).name("a.mp4"),
            keys.root(&ContentHash([1; 32])),
            b"p*:n:{abc}../up".to_vec(),
            b"p*:n:{abc}\xff".to_vec(),
        ] {
            assert_eq!(keys.name_of(&other), None);
        }
    }

    #[test]
    fn a_prefix_holds_no_brace_and_no_space() {
        assert!(Keys::is_prefix("") && Keys::is_prefix("cardume-2:"));
        for text in ["{a}", "}", "a b", "é", &"a".repeat(65)] {
            assert!(!Keys::is_prefix(text), "{text}");
        }
    }
}
