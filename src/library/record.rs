//! The note beside a `.part` that lets a download go on: which version of which file, from whom, and how much of it is there.
//!
//! What was written survives the end of the process, what was synced survives the end of the machine's run.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::message::relative::RelativeName;
use crate::message::version::Tag;

/// A record is a few hundred bytes; more is not ours.
pub const MOST_BYTES: usize = 4 << 10;

/// What a record is filled up to: the longest name with every byte escaped, and the rest.
const PADDED: usize = 1_024;

/// What is known of a download under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The file's name where it comes from.
    pub name: RelativeName,
    /// Its size.
    pub size: u64,
    /// Its version there.
    pub tag: Tag,
    /// Who gives it.
    pub from: SocketAddr,
    /// How many bytes from the front are on disk.
    pub held: u64,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    cardume: u64,
    name: String,
    size: u64,
    tag: String,
    from: SocketAddr,
    boot: String,
    written: u64,
    synced: u64,
}

impl Record {
    /// Its text, for a run of the machine named `boot`; `synced` of the held bytes are lasting.
    #[must_use]
    pub fn write(&self, boot: &str, synced: u64) -> Vec<u8> {
        let shape = Shape {
            cardume: 1,
            name: self.name.to_string(),
            size: self.size,
            tag: self.tag.to_string(),
            from: self.from,
            boot: boot.to_owned(),
            written: self.held,
            synced,
        };
        let mut text = serde_json::to_vec(&shape).unwrap_or_default();
        // Always of one length, so that a later one can be written over it in place.
        text.resize(text.len().max(PADDED - 1), b' ');
        text.push(b'\n');
        text
    }

    /// Reads one back; `None` for anything that is not exactly a record of ours. In another run of the machine only what was synced counts.
    #[must_use]
    pub fn read(text: &[u8], boot: &str) -> Option<Record> {
        let shape: Shape = serde_json::from_slice(text).ok()?;
        let held = if shape.boot == boot { shape.written } else { shape.synced };
        if shape.cardume != 1 || shape.written > shape.size || shape.synced > shape.written {
            return None;
        }
        Some(Record { name: RelativeName::new(&shape.name).ok()?, size: shape.size, tag: Tag::parse(&shape.tag)?, from: shape.from, held })
    }

    /// True when `other` is the same version of the same file from the same source, so that its bytes and ours fit together.
    #[must_use]
    pub fn continues(&self, other: &Record) -> bool {
        self.name == other.name && self.size == other.size && self.tag == other.tag && self.from == other.from
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record {
        Record { name: RelativeName::new("a.mp4").unwrap(), size: 100, tag: Tag(7), from: "127.0.0.1:4000".parse().unwrap(), held: 60 }
    }

    #[test]
    fn in_another_run_of_the_machine_only_what_was_synced_counts() {
        let text = record().write("monday", 40);
        assert_eq!(Record::read(&text, "monday"), Some(record()));
        assert_eq!(Record::read(&text, "tuesday").map(|r| r.held), Some(40));
    }

    #[test]
    fn what_is_torn_or_impossible_is_no_record() {
        let text = record().write("monday", 40);
        let end = text.iter().position(|byte| *byte == b'}').unwrap();
        for cut in 0..end {
            assert_eq!(Record::read(&text[..cut], "monday"), None);
        }
        let absurd = String::from_utf8(text).unwrap().replace("\"written\":60", "\"written\":101");
        assert_eq!(Record::read(absurd.as_bytes(), "monday"), None);
    }
}
