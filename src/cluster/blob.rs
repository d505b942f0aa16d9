//! An entry of a stream: events of one server, with the server's own sequence number.
//!
//! A reader sees by the number that an entry is missing.

use crate::cluster::ids::{ID_BYTES, LAST_EPOCH};
use crate::cluster::keys::{HolderEntry, put_varint, varint};
use crate::protocol::types::relative_path::RelativeName;

/// Bytes of a blob: a node of a stream in an engine has 4 KiB.
pub const BLOB_BYTES: usize = 4 << 10;
/// Longest blob that is read: twice the own limit, for a later version.
const READ_BYTES: usize = 2 * BLOB_BYTES;
/// The form of a blob, for later versions: of a server whose entries are all in the engine, or not.
const WHOLE: u8 = 1;
const PART: u8 = 2;
const NAME: u8 = 1;
const GONE: u8 = 2;
const ARRIVED: u8 = 3;
const DEPARTED: u8 = 4;

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// A name is new to the server.
    Name(RelativeName),
    /// A member has gone: none of the entries counts any more.
    Gone([u8; ID_BYTES]),
    /// A file of a member is new, or has changed. The entry stands in the set of the name.
    Arrived(HolderEntry, RelativeName),
    /// A member no longer has a file.
    Departed(HolderEntry, RelativeName),
}

/// The events of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// The server.
    pub epoch: u32,
    /// The number of this blob of the server in this set of streams, from 1.
    pub sequence: u64,
    /// The engine has all entries of the server: no master is new to the server.
    pub is_whole: bool,
    /// The events.
    pub items: Vec<StreamItem>,
}

impl StreamItem {
    /// Append the event to a blob.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            StreamItem::Name(name) => {
                out.push(NAME);
                put_text(name.as_bytes(), out);
            }
            StreamItem::Gone(id) => {
                out.push(GONE);
                out.extend_from_slice(id);
            }
            StreamItem::Arrived(entry, name) | StreamItem::Departed(entry, name) => {
                let is_new = matches!(self, StreamItem::Arrived(..));
                out.push(if is_new { ARRIVED } else { DEPARTED });
                put_text(&entry.encode(), out);
                put_text(name.as_bytes(), out);
            }
        }
    }

    /// Read an event from the start of `bytes`, with the rest.
    fn read(bytes: &[u8]) -> Option<(StreamItem, &[u8])> {
        let (kind, rest) = bytes.split_first()?;
        match *kind {
            NAME => {
                let (name, rest) = name(rest)?;
                Some((StreamItem::Name(name), rest))
            }
            GONE => {
                let (id, rest) = rest.split_first_chunk::<ID_BYTES>()?;
                Some((StreamItem::Gone(*id), rest))
            }
            ARRIVED | DEPARTED => {
                let (entry, rest) = text(rest)?;
                let entry = HolderEntry::of_name(entry)?;
                let (name, rest) = name(rest)?;
                let item = match *kind {
                    ARRIVED => StreamItem::Arrived(entry, name),
                    _ => StreamItem::Departed(entry, name),
                };
                Some((item, rest))
            }
            _ => None,
        }
    }
}

fn put_text(text: &[u8], out: &mut Vec<u8>) {
    put_varint(text.len() as u64, out);
    out.extend_from_slice(text);
}

fn text(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

fn name(bytes: &[u8]) -> Option<(RelativeName, &[u8])> {
    let (name, rest) = text(bytes)?;
    Some((RelativeName::new(std::str::from_utf8(name).ok()?).ok()?, rest))
}

/// The start of a blob, before the events.
#[must_use]
pub fn blob_head(epoch: u32, sequence: u64, is_whole: bool) -> Vec<u8> {
    let mut out = vec![if is_whole { WHOLE } else { PART }];
    put_varint(epoch.into(), &mut out);
    put_varint(sequence, &mut out);
    out
}

impl Blob {
    /// Read a blob; `None` for other bytes.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Blob> {
        let (form, rest) = bytes.split_first().filter(|_| bytes.len() <= READ_BYTES)?;
        let is_whole = match *form {
            WHOLE => true,
            PART => false,
            _ => return None,
        };
        let (epoch, rest) = varint(rest)?;
        let (sequence, mut rest) = varint(rest)?;
        let epoch = u32::try_from(epoch).ok().filter(|epoch| *epoch <= LAST_EPOCH)?;
        let mut items = Vec::new();
        while !rest.is_empty() {
            let (item, after) = StreamItem::read(rest)?;
            items.push(item);
            rest = after;
        }
        (sequence > 0).then_some(Blob { epoch, sequence, is_whole, items })
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::types::ids::ContentHash;

    fn items() -> Vec<StreamItem> {
        let entry = HolderEntry {
            id: [3; 7],
            address: "10.0.0.1:4000".parse().unwrap(),
            size: Some(5),
            partial: false,
            more: true,
            root: Some(ContentHash([9; 32])),
            name: None,
        };
        let name = |text: &str| RelativeName::new(text).unwrap();
        vec![
            StreamItem::Name(name("Curso {1}/aula ç.mp4")),
            StreamItem::Gone([7; 7]),
            StreamItem::Arrived(entry.clone(), name("a.mp4")),
            StreamItem::Departed(HolderEntry { root: None, ..entry }, name("b.mp4")),
        ]
    }

    #[test]
    fn a_blob_is_read_back_and_no_part_of_it() {
        let mut bytes = blob_head(LAST_EPOCH, 300, true);
        let empty = bytes.len();
        items().iter().for_each(|item| item.put(&mut bytes));
        let read = Blob::read(&bytes).unwrap();
        assert_eq!((read.epoch, read.sequence, read.items), (LAST_EPOCH, 300, items()));
        let whole: Vec<usize> =
            (0..bytes.len()).filter(|cut| Blob::read(&bytes[..*cut]).is_some()).collect();
        assert_eq!((whole[0], whole.len()), (empty, items().len()));
        assert_eq!(Blob::read(&blob_head(1, 0, true)), None, "numbers begin at 1");
        assert_eq!(Blob::read(&blob_head(LAST_EPOCH + 1, 1, true)), None);
        let mut long = blob_head(1, 1, false);
        while long.len() <= READ_BYTES {
            StreamItem::Gone([1; 7]).put(&mut long);
        }
        assert_eq!(Blob::read(&long), None);
    }

    proptest! {
        #[test]
        fn bytes_of_another_program_never_panic(
            bytes in vec(any::<u8>(), 0..200),
            kind in 0_u8..6,
        ) {
            let mut blob = blob_head(5, 1, false);
            blob.push(kind);
            blob.extend_from_slice(&bytes);
            for bytes in [bytes, blob] {
                if let Some(blob) = Blob::read(&bytes) {
                    let mut again = blob_head(blob.epoch, blob.sequence, blob.is_whole);
                    blob.items.iter().for_each(|item| item.put(&mut again));
                    prop_assert_eq!(again, bytes);
                }
            }
        }
    }
}
