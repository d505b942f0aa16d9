//! The resume file beside a `.part`: what is being downloaded, and which pieces are there.
//!
//! ```text
//!   a page        one JSON object: a seal, what it is, and in which run of the machine this was written
//!   written       one bit a piece: it was checked and handed to the system
//!   synced        one bit a piece: it was on the disk before this bit was set
//!   values        32 bytes a piece: the list of pieces, or what each piece was when it came
//! ```
//!
//! Bits are written in place, each only ever from 0 to 1 and after what it claims. So any mixture of old and new sectors that a power cut leaves behind is a
//! true record. The system keeps what was *written* when the process is killed; in another run of the machine only *synced* counts.
//!
//! The seal says how the `.part` stood when its process looked at it last, and has a checksum over that, the page and the bits. Where it does not fit,
//! somebody or something has changed the one or the other meanwhile: then the bits only say which pieces are worth being hashed again.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::types::ids::{ContentHash, FileVersion, to_hex};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::{FileStat, Filesystem, FsFile};
use crate::storage::piece_tree::{self, HashList, PieceHash, VALUE_BYTES};

/// The first page: the longest name with every byte escaped, and the rest.
const PAGE: usize = 4 << 10;
/// A longer list is fetched again rather than kept: writing it would hold up a turn.
const KEPT_LIST: u64 = 8 << 20;
/// The make of record that is written. One of the make before has no seal, so what it says is hashed again.
const MAKE: u64 = 3;
const MAKE_BEFORE: u64 = 2;
/// Where the digits of the seal stand: in the first sector, so that no power cut leaves half of them.
const SEAL_AT: usize = "{\"cardume\":3,\"seal\":\"".len();
/// Inode, time of the last change of the bytes, time of the last change of anything, and a checksum, as hex digits.
const SEAL_DIGITS: usize = 3 * 16 + 32;
/// Of a longer file the bits are too many to be summed with each piece: it is sealed when it is synced and when its process ends.
const SEALED_EACH: u64 = 1 << 20;

/// What makes the bytes of one piece fit to those of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// They all belong to this root, whoever gives them.
    Root(ContentHash),
    /// They all come from one source's one version of a file.
    Version {
        /// Which version.
        tag: FileVersion,
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
pub struct DownloadIdentity {
    /// The name under which it was found.
    pub name: RelativeName,
    /// Its size.
    pub size: u64,
    /// Its content.
    pub content: Content,
}

#[derive(Serialize, Deserialize)]
struct ResumePage {
    cardume: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    // What changes stands in the first sector, whatever the name: no power cut leaves half of it.
    boot: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<SocketAddr>,
    name: String,
}

/// A record that is open.
pub struct ResumeFile {
    file: Rc<dyn FsFile>,
    about: DownloadIdentity,
    boot: String,
    /// The first page, without a seal.
    page: Vec<u8>,
}

/// How far a record can be believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// Neither it nor its `.part` was changed since their process looked at them last.
    Sealed,
    /// The record is whole, and the `.part` is not, or not surely, as it was.
    PartChanged,
    /// The record itself is not as it was written.
    Broken,
}

/// What a record says.
pub struct Resumable {
    /// What it is a download of.
    pub about: DownloadIdentity,
    /// The pieces that are there.
    pub held: Bitfield,
    /// Those of them that outlive the machine's run.
    pub synced: Bitfield,
    /// Those that may be there, and have to be hashed before they count.
    pub doubted: Bitfield,
    /// What each piece is: the list of pieces, or what came.
    pub values: Vec<PieceHash>,
}

impl DownloadIdentity {
    /// The root that its bytes lead to, where one is known.
    #[must_use]
    pub fn root(&self) -> Option<ContentHash> {
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
        let shape = ResumePage {
            cardume: MAKE,
            seal: Some("0".repeat(SEAL_DIGITS)),
            name: self.name.to_string(),
            size: self.size,
            root,
            tag,
            from,
            boot: boot.to_owned(),
        };
        let mut text = serde_json::to_vec(&shape).unwrap_or_default();
        text.resize(text.len().max(PAGE - 1), b' ');
        text.push(b'\n');
        text
    }

    /// Reads a first page; `None` for anything that is not exactly one of ours. Also the run of the machine in which it was written.
    fn read(page: &[u8]) -> Option<(DownloadIdentity, String)> {
        let shape: ResumePage = serde_json::from_slice(page).ok()?;
        let content = match (shape.root, shape.tag, shape.from) {
            (Some(root), None, None) => Content::Root(ContentHash::parse(&root)?),
            (None, Some(tag), Some(from)) => {
                Content::Version { tag: FileVersion::parse(&tag)?, from }
            }
            (None, None, Some(from)) => Content::Stream { from },
            _ => return None,
        };
        let fits =
            matches!(shape.cardume, MAKE_BEFORE | MAKE) && shape.size <= limits::DOWNLOAD_BYTES;
        let name = RelativeName::new(&shape.name).ok()?;
        fits.then_some((DownloadIdentity { name, size: shape.size, content }, shape.boot))
    }

    fn pieces(&self) -> u64 {
        piece_tree::pieces(self.size)
    }

    fn bitmap_bytes(&self) -> u64 {
        self.pieces().div_ceil(8)
    }

    fn values_at(&self) -> u64 {
        PAGE as u64 + 2 * self.bitmap_bytes()
    }
}

impl ResumeFile {
    /// What the record of this name is about, without opening it for good.
    #[must_use]
    pub fn peek(drive: &dyn Filesystem, name: &str) -> Option<DownloadIdentity> {
        Some(DownloadIdentity::read(&drive.read_small(name, PAGE).ok()?)?.0)
    }

    /// Writes a new record in which nothing is held, in the place of the one before.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn begin(
        drive: &dyn Filesystem,
        name: &str,
        about: &DownloadIdentity,
    ) -> io::Result<ResumeFile> {
        let boot = drive.boot();
        let page = about.page(&boot);
        drive.replace_small(name, &page)?;
        Ok(ResumeFile { file: drive.write(name, false)?, about: about.clone(), boot, page })
    }

    /// Writes one that says what its download is of, and nothing of what is held.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn leave(drive: &dyn Filesystem, name: &str, about: &DownloadIdentity) -> io::Result<()> {
        drive.replace_small(name, &about.page(&drive.boot()))
    }

    /// Opens the record of an earlier run, whose `.part` has this stamp now. It stays as it is until [`ResumeFile::renew`]: a process that ends before it has
    /// hashed what is doubted leaves it to the next one.
    ///
    /// # Errors
    /// When the disk fails, or it is no record of ours.
    pub fn open(
        drive: &dyn Filesystem,
        name: &str,
        part: &FileStat,
    ) -> io::Result<(ResumeFile, Resumable)> {
        let file = drive.write(name, false)?;
        let mut page = vec![0; PAGE];
        let count = file.read_at(0, &mut page)?;
        let (about, written_in) =
            DownloadIdentity::read(&page[..count]).ok_or(io::ErrorKind::InvalidData)?;
        if about.size != part.size {
            // Nothing is made room for that only a record speaks of.
            return Err(io::ErrorKind::InvalidData.into());
        }
        let boot = drive.boot();
        let bitmap =
            usize::try_from(about.bitmap_bytes()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bits = vec![0; 2 * bitmap];
        file.read_at(PAGE as u64, &mut bits)?;
        let synced = Bitfield::read(about.pieces(), &bits[bitmap..]);
        // Where the system does not say which run this is, it may be another one.
        let same_run = written_in == boot && !boot.is_empty();
        let written = Bitfield::read(about.pieces(), &bits[..bitmap]);
        let none = Bitfield::none(about.pieces());
        let (held, synced, doubted) = match belief(&page[..count], &written, &synced, part) {
            Belief::Sealed if same_run => (written, synced, none),
            // The system may have lost what was not synced, whatever the file looks like.
            Belief::Sealed => (synced.clone(), synced.clone(), written.without(&synced)),
            Belief::PartChanged | Belief::Broken => (none.clone(), none, written.union(&synced)),
        };
        let mut values = Vec::new();
        if about.pieces() * VALUE_BYTES <= KEPT_LIST {
            let mut bytes = vec![0; usize::try_from(about.pieces() * VALUE_BYTES).unwrap_or(0)];
            file.read_at(about.values_at(), &mut bytes)?;
            values = piece_tree::values(&bytes);
        }
        let fresh = about.page(&boot);
        let record = ResumeFile { file, about, boot, page: fresh };
        let about = record.about.clone();
        Ok((record, Resumable { about, held, synced, doubted, values }))
    }

    /// A piece is there. What it is comes first, where that matters.
    ///
    /// # Errors
    /// When the disk fails: the piece is fetched again by the next run.
    pub fn hold(&self, held: &Bitfield, piece: u64, value: Option<&PieceHash>) -> io::Result<()> {
        if let Some(value) = value.filter(|_| self.about.pieces() * VALUE_BYTES <= KEPT_LIST) {
            self.file.write_at(self.about.values_at() + piece * VALUE_BYTES, value)?;
        }
        let (at, byte) = held.byte_of(piece);
        self.file.write_at(PAGE as u64 + at, &[byte])
    }

    /// All is known anew: only these pieces are there, and only those are lasting, in this run of the machine.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn renew(&self, held: &Bitfield, synced: &Bitfield) -> io::Result<()> {
        // First the bits, then the run in which they hold: a killed process leaves one or the other.
        self.sync(synced)?;
        self.hold_only(held)?;
        self.file.write_at(0, &self.page)
    }

    /// Some pieces were wrong: only these are there, and only those are lasting. On the disk before this returns, for whatever is said next of the content
    /// must never meet the old bits after a power cut.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn forget(&self, held: &Bitfield, synced: &Bitfield) -> io::Result<()> {
        self.sync(synced)?;
        self.hold_only(held)?;
        self.file.sync()
    }

    /// These pieces are there, and no others: some of those that were can't be trusted.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn hold_only(&self, held: &Bitfield) -> io::Result<()> {
        self.file.write_at(PAGE as u64, &held.bytes())
    }

    /// These pieces are on the disk. To be said only after the `.part` was synced.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn sync(&self, synced: &Bitfield) -> io::Result<()> {
        self.file.write_at(PAGE as u64 + self.about.bitmap_bytes(), &synced.bytes())
    }

    /// The list of pieces is known, and with it the root.
    ///
    /// # Errors
    /// When the disk fails: the list is fetched again by the next run.
    pub fn keep_list(&mut self, root: ContentHash, list: &HashList) -> io::Result<()> {
        if list.bytes().len() as u64 <= KEPT_LIST {
            self.file.write_at(self.about.values_at(), list.bytes())?;
        }
        self.about.content = Content::Root(root);
        self.page = self.about.page(&self.boot);
        self.file.write_at(0, &self.page)
    }

    /// Says that all is as this process left it: the `.part` has this stamp, and these are the bits.
    ///
    /// # Errors
    /// When the disk fails: the pieces are hashed again by the next run.
    pub fn seal(&self, held: &Bitfield, synced: &Bitfield, part: &FileStat) -> io::Result<()> {
        self.file.write_at(SEAL_AT as u64, seal(&self.page, held, synced, part).as_bytes())
    }

    /// True when it is sealed with each piece that comes.
    #[must_use]
    pub fn is_sealed_each(&self) -> bool {
        self.about.pieces() <= SEALED_EACH
    }

    /// What it is a record of.
    #[must_use]
    pub fn about(&self) -> &DownloadIdentity {
        &self.about
    }
}

/// The digits that seal a first page and these bits.
fn seal(page: &[u8], held: &Bitfield, synced: &Bitfield, part: &FileStat) -> String {
    // The low 64 bits of a time: it only has to be the same again.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let stood = format!(
        "{:016x}{:016x}{:016x}",
        part.inode, part.modified_ns as u64, part.changed_ns as u64
    );
    let mut sum = blake3::Hasher::new();
    let (front, rest) = page.split_at_checked(SEAL_AT).unwrap_or((page, &[]));
    sum.update(front).update(rest.get(SEAL_DIGITS..).unwrap_or_default());
    sum.update(stood.as_bytes()).update(&held.bytes()).update(&synced.bytes());
    format!("{stood}{}", to_hex(&sum.finalize().as_bytes()[..16]))
}

/// How far a page and its bits can be believed of a `.part` that has this stamp now.
fn belief(page: &[u8], written: &Bitfield, synced: &Bitfield, part: &FileStat) -> Belief {
    let digits = page
        .get(SEAL_AT..SEAL_AT + SEAL_DIGITS)
        .and_then(|digits| std::str::from_utf8(digits).ok());
    let Some(digits) = digits else { return Belief::Broken };
    if seal(page, written, synced, part) == digits {
        return Belief::Sealed;
    }
    let number = |at: usize| {
        digits.get(at * 16..at * 16 + 16).and_then(|digits| u64::from_str_radix(digits, 16).ok())
    };
    let (Some(inode), Some(modified), Some(changed)) = (number(0), number(1), number(2)) else {
        return Belief::Broken;
    };
    let then = FileStat {
        inode,
        modified_ns: i128::from(modified),
        changed_ns: i128::from(changed),
        ..*part
    };
    if seal(page, written, synced, &then) == digits { Belief::PartChanged } else { Belief::Broken }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(content: Content) -> DownloadIdentity {
        DownloadIdentity {
            name: RelativeName::new("b/a \"quoted\".mp4").unwrap(),
            size: 100,
            content,
        }
    }

    #[test]
    fn a_first_page_is_read_back_as_it_was_written() {
        let version =
            Content::Version { tag: FileVersion(7), from: "127.0.0.1:4000".parse().unwrap() };
        let stream = Content::Stream { from: "[::1]:4000".parse().unwrap() };
        for content in [Content::Root(ContentHash([3; 32])), version, stream] {
            let page = about(content.clone()).page("monday");
            assert_eq!(page.len(), PAGE);
            assert_eq!(DownloadIdentity::read(&page), Some((about(content), "monday".into())));
        }
    }

    #[test]
    fn the_longest_name_fits_into_the_first_page() {
        let name = RelativeName::new(
            &["\"".repeat(255), "\"".repeat(255), "\"".repeat(255), "\"".repeat(255)].join("/"),
        )
        .unwrap();
        let longest = DownloadIdentity { name, ..about(Content::Root(ContentHash([3; 32]))) };
        assert_eq!(longest.page("b").len(), PAGE);
    }

    #[test]
    fn what_is_torn_or_impossible_is_no_record() {
        let page = about(Content::Root(ContentHash([3; 32]))).page("monday");
        let end = page.iter().position(|byte| *byte == b'}').unwrap();
        for cut in 0..end {
            assert_eq!(DownloadIdentity::read(&page[..cut]), None);
        }
        for size in ["-1", "70368744177665", "9007199254740991", "18446744073709551616"] {
            let absurd = String::from_utf8(page.clone())
                .unwrap()
                .replace("\"size\":100", &format!("\"size\":{size}"));
            assert_eq!(DownloadIdentity::read(absurd.as_bytes()), None, "{size}");
        }
    }

    #[test]
    fn a_seal_fits_only_what_it_was_made_for() {
        let mut page = about(Content::Root(ContentHash([3; 32]))).page("monday");
        let part = FileStat { device: 1, inode: 2, size: 100, modified_ns: 3, changed_ns: 4 };
        let (mut held, none) = (Bitfield::none(1), Bitfield::none(1));
        held.set(0);
        assert_eq!(belief(&page, &held, &none, &part), Belief::Broken, "none was made");
        let digits = seal(&page, &held, &none, &part);
        assert_eq!(
            (digits.len(), page.iter().position(|byte| *byte == b'0')),
            (SEAL_DIGITS, Some(SEAL_AT))
        );
        page[SEAL_AT..SEAL_AT + SEAL_DIGITS].copy_from_slice(digits.as_bytes());
        assert_eq!(belief(&page, &held, &none, &part), Belief::Sealed);
        assert!(DownloadIdentity::read(&page).is_some());
        for other in [
            FileStat { inode: 9, ..part },
            FileStat { modified_ns: 9, ..part },
            FileStat { changed_ns: 9, ..part },
        ] {
            assert_eq!(belief(&page, &held, &none, &other), Belief::PartChanged);
        }
        // The same disk may have another number in the next run of the machine.
        assert_eq!(belief(&page, &held, &none, &FileStat { device: 9, ..part }), Belief::Sealed);
        assert_eq!(belief(&page, &none, &none, &part), Belief::Broken);
        assert_eq!(belief(&page, &held, &held, &part), Belief::Broken);
        let end = page.iter().position(|byte| *byte == b'}').unwrap();
        for at in 0..=end {
            let mut torn = page.clone();
            torn[at] ^= 1;
            assert_ne!(belief(&torn, &held, &none, &part), Belief::Sealed, "byte {at}");
            assert_ne!(belief(&page[..at], &held, &none, &part), Belief::Sealed, "{at} bytes");
        }
    }
}
