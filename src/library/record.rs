//! The record beside a `.part` that lets a download go on: what it is a download of, and which of its pieces are there.
//!
//! ```text
//!   a page        one JSON object: what it is, and in which run of the machine this was written
//!   written       one bit a piece: it was checked and handed to the system
//!   synced        one bit a piece: it was on the disk before this bit was set
//!   values        32 bytes a piece: the list of pieces, or what each piece was when it came
//! ```
//!
//! Bits are written in place, each only ever from 0 to 1 and after what it claims. So any mixture of old and new sectors that a power cut leaves behind is a
//! true record. The system keeps what was *written* when the process is killed; in another run of the machine only *synced* counts.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::library::bits::Bits;
use crate::library::drive::{Drive, DriveFile};
use crate::library::tree::{self, PieceList, VALUE_BYTES, Value};
use crate::message::limits;
use crate::message::relative::RelativeName;
use crate::message::version::{Root, Tag};

/// The first page: the longest name with every byte escaped, and the rest.
const PAGE: usize = 4 << 10;
/// A longer list is fetched again rather than kept: writing it would hold up a turn.
const KEPT_LIST: u64 = 8 << 20;

/// What makes the bytes of one piece fit to those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// They all belong to this root, whoever gives them.
    Root(Root),
    /// They all come from one source's one version of a file.
    Version {
        /// Which version.
        tag: Tag,
        /// Whose.
        from: SocketAddr,
    },
    /// They are what came of a stream: nothing but another stream can tell which of them are good.
    Stream {
        /// Whose.
        from: SocketAddr,
    },
}

/// What a download is a download of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// The name under which it was found.
    pub name: RelativeName,
    /// Its size.
    pub size: u64,
    /// Its content.
    pub content: Content,
}

#[derive(Serialize, Deserialize)]
struct Shape {
    cardume: u64,
    name: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<SocketAddr>,
    boot: String,
}

/// A record that is open.
pub struct Record {
    file: Rc<dyn DriveFile>,
    about: About,
    boot: String,
}

/// What a record says.
pub struct Recalled {
    /// What it is a download of.
    pub about: About,
    /// The pieces that are there.
    pub held: Bits,
    /// Those of them that outlive the machine's run.
    pub synced: Bits,
    /// What each piece is: the list of pieces, or what came.
    pub values: Vec<Value>,
}

impl About {
    /// The root that its bytes lead to, where one is known.
    #[must_use]
    pub fn root(&self) -> Option<Root> {
        match &self.content {
            Content::Root(root) => Some(*root),
            Content::Version { .. } | Content::Stream { .. } => None,
        }
    }

    fn page(&self, boot: &str) -> Vec<u8> {
        let (root, tag, from) = match &self.content {
            Content::Root(root) => (Some(root.to_string()), None, None),
            Content::Version { tag, from } => (None, Some(tag.to_string()), Some(*from)),
            Content::Stream { from } => (None, None, Some(*from)),
        };
        let shape = Shape { cardume: 2, name: self.name.to_string(), size: self.size, root, tag, from, boot: boot.to_owned() };
        let mut text = serde_json::to_vec(&shape).unwrap_or_default();
        text.resize(text.len().max(PAGE - 1), b' ');
        text.push(b'\n');
        text
    }

    /// Reads a first page; `None` for anything that is not exactly one of ours. Also the run of the machine in which it was written.
    fn read(page: &[u8]) -> Option<(About, String)> {
        let shape: Shape = serde_json::from_slice(page).ok()?;
        let content = match (shape.root, shape.tag, shape.from) {
            (Some(root), None, None) => Content::Root(Root::parse(&root)?),
            (None, Some(tag), Some(from)) => Content::Version { tag: Tag::parse(&tag)?, from },
            (None, None, Some(from)) => Content::Stream { from },
            _ => return None,
        };
        let fits = shape.cardume == 2 && shape.size <= limits::LARGEST_INTEGER;
        let name = RelativeName::new(&shape.name).ok()?;
        fits.then_some((About { name, size: shape.size, content }, shape.boot))
    }

    fn pieces(&self) -> u64 {
        tree::pieces(self.size)
    }

    fn bitmap_bytes(&self) -> u64 {
        self.pieces().div_ceil(8)
    }

    fn values_at(&self) -> u64 {
        PAGE as u64 + 2 * self.bitmap_bytes()
    }
}

impl Record {
    /// What the record of this name is about, without opening it for good.
    #[must_use]
    pub fn peek(drive: &dyn Drive, name: &str) -> Option<About> {
        Some(About::read(&drive.read_small(name, PAGE).ok()?)?.0)
    }

    /// Writes a new record in which nothing is held, in the place of the one before.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(drive: &dyn Drive, name: &str, about: &About) -> io::Result<Record> {
        let boot = drive.boot();
        drive.replace_small(name, &about.page(&boot))?;
        Ok(Record { file: drive.write(name, false)?, about: about.clone(), boot })
    }

    /// Writes one that says what its download is of, and nothing of what is held.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn leave(drive: &dyn Drive, name: &str, about: &About) -> io::Result<()> {
        drive.replace_small(name, &about.page(&drive.boot()))
    }

    /// Opens the record of an earlier run. What was not synced in another run of the machine is no longer held.
    ///
    /// # Errors
    /// When the disk fails, or it is no record of ours.
    pub fn open(drive: &dyn Drive, name: &str) -> io::Result<(Record, Recalled)> {
        let file = drive.write(name, false)?;
        let mut page = vec![0; PAGE];
        let count = file.read_at(0, &mut page)?;
        let (about, written_in) = About::read(&page[..count]).ok_or(io::ErrorKind::InvalidData)?;
        let boot = drive.boot();
        let bitmap = usize::try_from(about.bitmap_bytes()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bits = vec![0; 2 * bitmap];
        file.read_at(PAGE as u64, &mut bits)?;
        let synced = Bits::read(about.pieces(), &bits[bitmap..]);
        // Where the system does not say which run this is, it may be another one.
        let same_run = written_in == boot && !boot.is_empty();
        let held = if same_run { Bits::read(about.pieces(), &bits[..bitmap]) } else { synced.clone() };
        let mut values = Vec::new();
        if about.pieces() * VALUE_BYTES <= KEPT_LIST {
            let mut bytes = vec![0; usize::try_from(about.pieces() * VALUE_BYTES).unwrap_or(0)];
            file.read_at(about.values_at(), &mut bytes)?;
            values = tree::values(&bytes);
        }
        let record = Record { file, about, boot };
        if !same_run {
            // First the bits, then the run in which they hold: a killed process leaves one or the other.
            record.file.write_at(PAGE as u64, &held.bytes())?;
            record.file.write_at(0, &record.about.page(&record.boot))?;
        }
        let about = record.about.clone();
        Ok((record, Recalled { about, held, synced, values }))
    }

    /// A piece is there. What it is comes first, where that matters.
    ///
    /// # Errors
    /// When the disk fails: the piece is fetched again by the next run.
    pub fn hold(&self, held: &Bits, piece: u64, value: Option<&Value>) -> io::Result<()> {
        if let Some(value) = value.filter(|_| self.about.pieces() * VALUE_BYTES <= KEPT_LIST) {
            self.file.write_at(self.about.values_at() + piece * VALUE_BYTES, value)?;
        }
        let (at, byte) = held.byte_of(piece);
        self.file.write_at(PAGE as u64 + at, &[byte])
    }

    /// Some pieces were wrong: only these are there, and only those are lasting. On the disk before this returns, for whatever is said next of the content
    /// must never meet the old bits after a power cut.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget(&self, held: &Bits, synced: &Bits) -> io::Result<()> {
        self.sync(synced)?;
        self.hold_only(held)?;
        self.file.sync()
    }

    /// These pieces are there, and no others: some of those that were can't be trusted.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn hold_only(&self, held: &Bits) -> io::Result<()> {
        self.file.write_at(PAGE as u64, &held.bytes())
    }

    /// These pieces are on the disk. To be said only after the `.part` was synced.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self, synced: &Bits) -> io::Result<()> {
        self.file.write_at(PAGE as u64 + self.about.bitmap_bytes(), &synced.bytes())
    }

    /// The list of pieces is known, and with it the root.
    ///
    /// # Errors
    /// When the disk fails: the list is fetched again by the next run.
    pub fn keep_list(&mut self, root: Root, list: &PieceList) -> io::Result<()> {
        if list.bytes().len() as u64 <= KEPT_LIST {
            self.file.write_at(self.about.values_at(), list.bytes())?;
        }
        self.about.content = Content::Root(root);
        self.file.write_at(0, &self.about.page(&self.boot))
    }

    /// What it is a record of.
    #[must_use]
    pub fn about(&self) -> &About {
        &self.about
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(content: Content) -> About {
        About { name: RelativeName::new("b/a \"quoted\".mp4").unwrap(), size: 100, content }
    }

    #[test]
    fn a_first_page_is_read_back_as_it_was_written() {
        let version = Content::Version { tag: Tag(7), from: "127.0.0.1:4000".parse().unwrap() };
        let stream = Content::Stream { from: "[::1]:4000".parse().unwrap() };
        for content in [Content::Root(Root([3; 32])), version, stream] {
            let page = about(content.clone()).page("monday");
            assert_eq!(page.len(), PAGE);
            assert_eq!(About::read(&page), Some((about(content), "monday".into())));
        }
    }

    #[test]
    fn the_longest_name_fits_into_the_first_page() {
        let name = RelativeName::new(&["\"".repeat(255), "\"".repeat(255), "\"".repeat(255), "\"".repeat(255)].join("/")).unwrap();
        let longest = About { name, ..about(Content::Root(Root([3; 32]))) };
        assert_eq!(longest.page("b").len(), PAGE);
    }

    #[test]
    fn what_is_torn_or_impossible_is_no_record() {
        let page = about(Content::Root(Root([3; 32]))).page("monday");
        let end = page.iter().position(|byte| *byte == b'}').unwrap();
        for cut in 0..end {
            assert_eq!(About::read(&page[..cut]), None);
        }
        let absurd = String::from_utf8(page).unwrap().replace("\"size\":100", "\"size\":-1");
        assert_eq!(About::read(absurd.as_bytes()), None);
    }
}
