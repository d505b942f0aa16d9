//! The slots of a cluster: 16,384 parts of the keys, each at a master.

use std::net::{IpAddr, SocketAddr};
use std::sync::OnceLock;

use crate::cluster::resp::Reply;

/// The slots of every cluster.
pub const SLOTS: usize = 16_384;
/// The same as a count of [`ClusterOptions`](crate::cluster::service::ClusterOptions).
pub const ALL_SLOTS: u16 = 16_384;
/// Masters of a cluster: the documents advise at most a thousand nodes.
const MASTERS: usize = 1_000;
/// No master has this slot.
const NOBODY: u16 = u16::MAX;

/// The CRC16 of XMODEM, a step a byte.
const CRC: [u16; 256] = {
    let mut table = [0_u16; 256];
    let mut byte = 0;
    while byte < 256 {
        #[allow(clippy::cast_possible_truncation)]
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// CRC16 as in clusters.
#[must_use]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| step(crc, *byte))
}

const fn step(crc: u16, byte: u8) -> u16 {
    (crc << 8) ^ CRC[((crc >> 8) ^ byte as u16) as usize & 0xff]
}

/// The slot of a key: of the bytes between the first `{` and the next `}`, if there are any.
#[must_use]
pub fn slot_of(key: &[u8]) -> u16 {
    let tagged = memchr::memchr(b'{', key).and_then(|open| {
        let rest = &key[open + 1..];
        memchr::memchr(b'}', rest).filter(|length| *length > 0).map(|length| &rest[..length])
    });
    crc16(tagged.unwrap_or(key)) % SLOTS as u16
}

/// The letters of a tag: safe between braces.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// For each slot a tag of three letters that leads there.
pub struct SlotTags(Vec<[u8; 3]>);

impl SlotTags {
    fn new() -> SlotTags {
        let mut tags = vec![[0; 3]; SLOTS];
        for a in LETTERS {
            for b in LETTERS {
                let start = step(step(0, *a), *b);
                for c in LETTERS {
                    let slot = usize::from(step(start, *c)) % SLOTS;
                    if tags[slot] == [0; 3] {
                        tags[slot] = [*a, *b, *c];
                    }
                }
            }
        }
        SlotTags(tags)
    }

    /// The tags, which are the same for every index.
    pub fn shared() -> &'static SlotTags {
        static TAGS: OnceLock<SlotTags> = OnceLock::new();
        TAGS.get_or_init(SlotTags::new)
    }

    /// A tag that leads to this slot.
    #[must_use]
    pub fn of(&self, slot: u16) -> [u8; 3] {
        self.0[usize::from(slot) % SLOTS]
    }
}

/// A set of slots.
#[derive(Clone, PartialEq, Eq)]
pub struct SlotSet(Vec<u64>);

impl SlotSet {
    /// No slot.
    #[must_use]
    pub fn empty() -> SlotSet {
        SlotSet(vec![0; SLOTS / 64])
    }

    /// All slots.
    #[must_use]
    pub fn all() -> SlotSet {
        SlotSet(vec![u64::MAX; SLOTS / 64])
    }

    /// Add a slot.
    pub fn insert(&mut self, slot: u16) {
        self.0[usize::from(slot) % SLOTS / 64] |= 1 << (slot % 64);
    }

    /// Remove a slot.
    pub fn remove(&mut self, slot: u16) {
        self.0[usize::from(slot) % SLOTS / 64] &= !(1 << (slot % 64));
    }

    /// True if the slot is in the set.
    #[must_use]
    pub fn contains(&self, slot: u16) -> bool {
        self.0[usize::from(slot) % SLOTS / 64] & 1 << (slot % 64) != 0
    }

    /// Number of slots.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// True without a slot.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// The slots, in order.
    pub fn iter(&self) -> impl Iterator<Item = u16> + '_ {
        (0..SLOTS as u16).filter(|slot| self.contains(*slot))
    }
}

impl std::fmt::Debug for SlotSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SlotSet({} slots)", self.len())
    }
}

/// The master of each slot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlotMap {
    masters: Vec<SocketAddr>,
    /// The number of the master, for each slot.
    of: Vec<u16>,
    /// Slots with a master.
    covered: usize,
}

impl SlotMap {
    /// The map of a single engine, which has all slots.
    #[must_use]
    pub fn single(address: SocketAddr) -> SlotMap {
        SlotMap { masters: vec![address], of: vec![0; SLOTS], covered: SLOTS }
    }

    /// A map without a master.
    #[must_use]
    pub fn unknown() -> SlotMap {
        SlotMap { masters: Vec::new(), of: vec![NOBODY; SLOTS], covered: 0 }
    }

    /// Read the reply to `CLUSTER SLOTS`. A node without an address is the node at `asked`. `None`
    /// for another reply.
    #[must_use]
    pub fn parse(reply: Reply<'_>, asked: SocketAddr) -> Option<SlotMap> {
        let Reply::Array(ranges) = reply else { return None };
        let mut map = SlotMap::unknown();
        for range in ranges {
            let mut parts = range.elements();
            let first = usize::try_from(parts.next()?.count()?).ok()?;
            let last = usize::try_from(parts.next()?.count()?).ok()?;
            if first > last || last >= SLOTS {
                return None;
            }
            // The first node is the master. The address may be unknown for a while.
            let Some(master) = parts.next().and_then(|node| address(node, asked)) else { continue };
            let number = map.number(master)?;
            map.of[first..=last].fill(number);
        }
        map.covered = map.of.iter().filter(|number| **number != NOBODY).count();
        Some(map)
    }

    fn number(&mut self, master: SocketAddr) -> Option<u16> {
        let known = self.masters.iter().position(|known| *known == master);
        let number = match known {
            Some(number) => number,
            None if self.masters.len() < MASTERS => {
                self.masters.push(master);
                self.masters.len() - 1
            }
            None => return None,
        };
        u16::try_from(number).ok()
    }

    /// The master of a slot.
    #[must_use]
    pub fn master(&self, slot: u16) -> Option<SocketAddr> {
        let number = self.of[usize::from(slot) % SLOTS];
        self.masters.get(usize::from(number)).copied()
    }

    /// All masters.
    #[must_use]
    pub fn masters(&self) -> &[SocketAddr] {
        &self.masters
    }

    /// A node has said that this slot is elsewhere.
    pub fn moved(&mut self, slot: u16, to: SocketAddr) {
        if let Some(number) = self.number(to) {
            let place = &mut self.of[usize::from(slot) % SLOTS];
            self.covered += usize::from(*place == NOBODY);
            *place = number;
        }
    }

    /// The slots of a master.
    #[must_use]
    pub fn slots(&self, master: SocketAddr) -> SlotSet {
        let mut slots = SlotSet::empty();
        let number = self.masters.iter().position(|known| *known == master);
        for (slot, at) in (0..).zip(&self.of) {
            if number == Some(usize::from(*at)) {
                slots.insert(slot);
            }
        }
        slots
    }

    /// Number of slots with a master.
    #[must_use]
    pub fn covered(&self) -> usize {
        self.covered
    }
}

/// The address of a node in `CLUSTER SLOTS`: `[endpoint, port, id, [key, value, ..]]`. An endpoint
/// may be a host name; the further values then hold the IP address.
fn address(node: Reply<'_>, asked: SocketAddr) -> Option<SocketAddr> {
    let mut parts = node.elements();
    let endpoint = parts.next()?;
    let port = u16::try_from(parts.next()?.count()?).ok().filter(|port| *port > 0)?;
    let ip = match endpoint {
        // The engine does not know the address: take the address that was asked.
        Reply::Nil | Reply::Bulk(b"") => asked.ip(),
        Reply::Bulk(text) => ip(text).or_else(|| {
            let more = parts.nth(1)?;
            let mut more = more.elements();
            while let (Some(key), Some(value)) = (more.next(), more.next()) {
                if key.bytes() == Some(b"ip") {
                    return ip(value.bytes()?);
                }
            }
            None
        })?,
        _ => return None,
    };
    Some(SocketAddr::new(ip, port))
}

fn ip(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// Where `MOVED` or `ASK` points to: the slot and the address. An address without a host is the
/// host at `asked`.
#[must_use]
pub fn redirection(text: &[u8], asked: SocketAddr) -> Option<(u16, SocketAddr)> {
    let text = std::str::from_utf8(text).ok()?;
    let mut words = text.split(' ');
    let slot = words.next()?.parse().ok().filter(|slot| usize::from(*slot) < SLOTS)?;
    // IPv6 comes without brackets.
    let (host, port) = words.next()?.rsplit_once(':')?;
    let port = port.parse().ok().filter(|port| *port > 0)?;
    let ip = if host.is_empty() || host == "?" { asked.ip() } else { host.parse().ok()? };
    Some((slot, SocketAddr::new(ip, port)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::resp::parse;

    fn asked() -> SocketAddr {
        "127.0.0.9:7000".parse().unwrap()
    }

    fn read(text: &str) -> Option<SlotMap> {
        let text = text.replace(' ', "\r\n");
        let (reply, used) = parse(text.as_bytes(), 1 << 20).unwrap().unwrap();
        assert_eq!(used, text.len());
        SlotMap::parse(reply, asked())
    }

    #[test]
    fn the_checksum_and_the_tags_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"{user1000}.followers"));
        assert_eq!(slot_of(b"{user1000}.following"), slot_of(b"user1000"));
        assert_eq!(slot_of(b"foo{}{bar}"), crc16(b"foo{}{bar}") % 16_384);
        assert_eq!(slot_of(b"foo{{bar}}zap"), crc16(b"{bar") % 16_384);
        assert_eq!(slot_of(b"foo{bar}{zap}"), crc16(b"bar") % 16_384);
        assert_eq!(slot_of(b"foo{bar"), crc16(b"foo{bar") % 16_384);
        assert_eq!((slot_of(b"foo"), slot_of(b"")), (12_182, 0));
    }

    #[test]
    fn each_slot_has_a_tag_that_leads_there() {
        let tags = SlotTags::shared();
        for slot in 0..SLOTS as u16 {
            let key = [b"z:{".as_slice(), &tags.of(slot), b"}"].concat();
            assert_eq!(slot_of(&key), slot);
        }
    }

    #[test]
    fn a_map_is_read_with_masters_replicas_and_nodes_without_an_address() {
        let map = read(
            "*3 *4 :0 :99 *3 $9 127.0.0.1 :1 $2 ab *3 $9 127.0.0.2 :2 $2 cd \
             *3 :100 :16382 *4 $-1 :7001 $2 ef *0 \
             *3 :16383 :16383 *4 $4 host :7002 $2 gh *2 $2 ip $3 ::1 ",
        )
        .unwrap();
        let address = |text: &str| Some(text.parse::<SocketAddr>().unwrap());
        assert_eq!(map.master(0), address("127.0.0.1:1"));
        assert_eq!(map.master(100), address("127.0.0.9:7001"));
        assert_eq!(map.master(16_383), address("[::1]:7002"));
        assert_eq!((map.covered(), map.masters().len()), (SLOTS, 3));
        assert_eq!(map.slots(address("127.0.0.1:1").unwrap()).len(), 100);
        assert_eq!(read("*0 ").unwrap().covered(), 0);
        assert_eq!(read("*1 *3 :5 :9 *2 $4 host :7002 ").unwrap().covered(), 0);
    }

    #[test]
    fn replies_that_are_no_map_are_refused() {
        for text in [
            ":1 ",
            "+OK ",
            "$-1 ",
            "*1 :1 ",
            "*1 *2 :0 $1 a ",
            "*1 *3 :9 :8 *2 $3 ::1 :1 ",
            "*1 *3 :0 :16384 *2 $3 ::1 :1 ",
            "*1 *3 :-1 :5 *2 $3 ::1 :1 ",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_slot_moves_and_a_redirection_is_read() {
        let mut map = SlotMap::single(asked());
        let read = |text: &str| redirection(text.as_bytes(), asked());
        let (slot, to) = read("3999 127.0.0.1:6381").unwrap();
        map.moved(slot, to);
        assert_eq!((map.master(3_999), map.master(4_000)), (Some(to), Some(asked())));
        assert_eq!(read("1 ::1:6381"), Some((1, "[::1]:6381".parse().unwrap())));
        assert_eq!(read("1 :6381"), Some((1, "127.0.0.9:6381".parse().unwrap())));
        for text in ["", "1", "16384 ::1:1", "1 host:1", "1 127.0.0.1:0", "x 127.0.0.1:1", "1 ::1"]
        {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn a_set_of_slots_holds_its_slots() {
        let mut set = SlotSet::empty();
        assert!(set.is_empty());
        for slot in [0, 63, 64, 16_383] {
            set.insert(slot);
        }
        set.remove(63);
        assert_eq!(set.iter().collect::<Vec<_>>(), [0, 64, 16_383]);
        assert!((set.contains(64), set.contains(63), set.len()) == (true, false, 3));
    }
}
