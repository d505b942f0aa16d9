//! A walk over the keys of all names, at all masters at once, in slices.
//!
//! A walk is whole only if the map and the masters stayed the same: a name that moves to a master
//! which is walked already would be missed. The owner compares the versions.

use crate::cluster::command::EngineRequest;
use crate::cluster::engine::Engine;
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;
use crate::protocol::types::relative_path::RelativeName;

/// Keys that a master looks at for a reply: half a millisecond there, and here.
const SCAN_KEYS: &[u8] = b"512";
/// Digits of a cursor: a number of 64 bits.
const CURSOR_DIGITS: usize = 20;

/// The walk at one master.
struct ScanNode {
    /// A slot of the master.
    slot: u16,
    /// The cursor of the next part; `None` at the end.
    cursor: Option<Vec<u8>>,
    is_asked: bool,
}

/// A walk over all names.
pub struct NameScan {
    version: u64,
    nodes: Vec<ScanNode>,
}

impl NameScan {
    /// A walk over the present masters.
    #[must_use]
    pub fn new(engine: &Engine) -> NameScan {
        let map = engine.map();
        let first = |master| map.slots(master).iter().next();
        let slots: Vec<u16> = map.masters().iter().copied().filter_map(first).collect();
        NameScan::of_slots(engine.version(), &slots)
    }

    /// A walk over the masters of these slots.
    pub(super) fn of_slots(version: u64, slots: &[u16]) -> NameScan {
        let node =
            |slot: &u16| ScanNode { slot: *slot, cursor: Some(b"0".to_vec()), is_asked: false };
        NameScan { version, nodes: slots.iter().map(node).collect() }
    }

    /// False once another master has some of the names.
    #[must_use]
    pub fn is_valid(&self, engine: &Engine) -> bool {
        self.version == engine.version()
    }

    /// True once all names were met.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.nodes.iter().all(|node| node.cursor.is_none())
    }

    /// The next request, with the number of the master.
    pub(super) fn next_request(&mut self, keys: &Keys) -> Option<(usize, EngineRequest)> {
        let is_next = |node: &ScanNode| node.cursor.is_some() && !node.is_asked;
        let number = self.nodes.iter().position(is_next)?;
        let node = &mut self.nodes[number];
        node.is_asked = true;
        let cursor = node.cursor.as_deref().unwrap_or_default();
        let pattern = keys.name_pattern();
        let words: &[&[u8]] = &[b"SCAN", cursor, b"MATCH", &pattern, b"COUNT", SCAN_KEYS];
        Some((number, EngineRequest::to_master_of(node.slot).command(words)))
    }

    /// Read the reply of a master. False when the walk has failed.
    pub(super) fn replied(
        &mut self,
        number: usize,
        reply: Reply<'_>,
        keys: &Keys,
        names: &mut impl Extend<RelativeName>,
    ) -> bool {
        let Some(node) = self.nodes.get_mut(number).filter(|node| node.is_asked) else {
            return false;
        };
        let mut parts = reply.elements();
        let (Some(Reply::Bulk(cursor)), Some(Reply::Array(found)), None) =
            (parts.next(), parts.next(), parts.next())
        else {
            return false;
        };
        let is_cursor =
            (1..=CURSOR_DIGITS).contains(&cursor.len()) && cursor.iter().all(u8::is_ascii_digit);
        if !is_cursor {
            return false;
        }
        node.is_asked = false;
        node.cursor = (cursor != b"0").then(|| cursor.to_vec());
        names.extend(found.filter_map(Reply::bytes).filter_map(|key| keys.name_of(key)));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Replies;
    use crate::protocol::resp::{put_header, put_word};

    fn reply(cursor: &str, found: &[Vec<u8>]) -> Vec<u8> {
        let mut out = b"*2\r\n".to_vec();
        put_word(cursor.as_bytes(), &mut out);
        put_header(found.len(), &mut out);
        found.iter().for_each(|key| put_word(key, &mut out));
        out
    }

    fn scan(masters: usize) -> NameScan {
        NameScan::of_slots(1, &vec![0; masters])
    }

    fn take(scan: &mut NameScan, number: usize, bytes: &[u8]) -> (bool, Vec<String>) {
        let keys = Keys::new("p:", [0; 32]);
        let replies = Replies::read(bytes, 1).unwrap().unwrap().0;
        let mut names: Vec<RelativeName> = Vec::new();
        let is_fine = scan.replied(number, replies.last_reply(), &keys, &mut names);
        (is_fine, names.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn all_masters_are_walked_to_the_end() {
        let keys = Keys::new("p:", [0; 32]);
        let mut scan = scan(2);
        let first = scan.next_request(&keys).unwrap();
        let second = scan.next_request(&keys).unwrap();
        assert_eq!((first.0, second.0), (0, 1));
        assert!(scan.next_request(&keys).is_none());
        let foreign = Keys::new("p:", [1; 32]).name("x.mp4");
        let found = [keys.name("a.mp4"), b"other".to_vec(), foreign];
        assert_eq!(take(&mut scan, 0, &reply("17", &found)), (true, vec!["a.mp4".into()]));
        let (number, request) = scan.next_request(&keys).unwrap();
        assert!(number == 0 && request.bytes().windows(8).any(|part| part == b"$2\r\n17\r\n"));
        assert_eq!(take(&mut scan, 0, &reply("0", &[keys.name("b.mp4")])).1, ["b.mp4"]);
        assert!(!scan.is_done());
        assert_eq!(take(&mut scan, 1, &reply("0", &[])), (true, vec![]));
        assert!(scan.is_done() && scan.next_request(&keys).is_none());
    }

    #[test]
    fn hostile_replies_end_the_walk() {
        let keys = Keys::new("p:", [0; 32]);
        for bytes in [
            &b":1\r\n"[..],
            b"*-1\r\n",
            b"*0\r\n",
            b"*1\r\n$1\r\n0\r\n",
            b"*2\r\n$1\r\nx\r\n*0\r\n",
            b"*2\r\n$0\r\n\r\n*0\r\n",
            b"*2\r\n$1\r\n0\r\n:1\r\n",
            b"*2\r\n$21\r\n111111111111111111111\r\n*0\r\n",
            b"*3\r\n$1\r\n0\r\n*0\r\n*0\r\n",
        ] {
            let mut scan = scan(1);
            assert!(scan.next_request(&keys).is_some());
            assert_eq!(take(&mut scan, 0, bytes), (false, vec![]));
            assert!(!scan.is_done());
        }
        let mut unasked = scan(1);
        assert!(
            !take(&mut unasked, 0, &reply("0", &[])).0
                && !take(&mut unasked, 5, &reply("0", &[])).0
        );
    }
}
