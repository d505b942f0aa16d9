//! The resume file beside a `.part`: identity of the download, and pieces held.
//!
//! ```text
//!   a page      a JSON object: seal, identity, and run of the machine
//!   written     a bit a piece: verified, and written to the page cache
//!   synced      a bit a piece: on the disk before the bit was set
//!   hashes      32 bytes a piece: the hash list, or hashes recorded on arrival
//! ```
//!
//! Bits are written in place, only from 0 to 1, and only after the fact. So any mix of old and new
//! sectors after a power cut is a true record. The page cache survives a killed process; after a
//! restart of the machine only *synced* bits count.
//!
//! The seal holds the stat of the `.part` at the end of its process, and a checksum over the stat,
//! the page and the bits. On a mismatch, the `.part` or the record was changed: then the bits only
//! tell which pieces are worth hashing.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::protocol::types::ids::{ContentHash, FileVersion, to_hex};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::{FileStat, Filesystem, FsFile};
use crate::storage::piece_tree::{self, HASH_BYTES, HashList, PieceHash};

/// Size of the first page: fits the longest name with every byte escaped.
const PAGE: usize = 4 << 10;
/// A longer hash list is downloaded again rather than stored: writing it would stall the loop.
const KEPT_LIST: u64 = 8 << 20;
/// Format written. Format 2 has no seal, so its pieces are hashed again.
const MAKE: u64 = 3;
const MAKE_BEFORE: u64 = 2;
/// Offset of the seal, in the first sector, so that a power cut never tears it.
const SEAL_AT: usize = "{\"cardume\":3,\"seal\":\"".len();
/// Inode, modification time, change time, and a checksum, as hex digits.
const SEAL_DIGITS: usize = 3 * 16 + 32;
/// Pieces above which a seal with each piece costs too much: such a file is sealed at each sync and
/// at the end.
const SEALED_EACH: u64 = 1 << 20;

/// The identity that pieces share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// This root, from any source.
    Root(ContentHash),
    /// A version of a file of a source.
    Version {
        /// Version.
        tag: FileVersion,
        /// Address of the source.
        from: SocketAddr,
    },
    /// An unverified stream: only another stream can tell which bytes are right.
    Stream {
        /// Address of the source.
        from: SocketAddr,
    },
}

/// Identity of a download.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DownloadIdentity {
    /// Name that was searched for.
    pub name: RelativeName,
    /// Size in bytes.
    pub size: u64,
    /// Content.
    pub content: Content,
}

#[derive(Serialize, Deserialize)]
struct ResumePage {
    cardume: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
    // First in the file: a power cut never tears the first sector.
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

/// An open resume file.
pub struct ResumeFile {
    file: Rc<dyn FsFile>,
    about: DownloadIdentity,
    boot: String,
    /// First page, without the seal.
    page: Vec<u8>,
}

/// Trust in a resume file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Belief {
    /// Neither the record nor the `.part` has changed.
    Sealed,
    /// The record is valid; the `.part` may have changed.
    PartChanged,
    /// The record is damaged.
    Broken,
}

/// State of an earlier run.
pub struct Resumable {
    /// Identity of the download.
    pub about: DownloadIdentity,
    /// Pieces held.
    pub held: Bitfield,
    /// Held pieces that survive a restart of the machine.
    pub synced: Bitfield,
    /// Pieces that may be held, and have to be hashed first.
    pub doubted: Bitfield,
    /// Hashes of the pieces: verified, or recorded on arrival.
    pub values: Vec<PieceHash>,
}

impl DownloadIdentity {
    /// Root of the content, if known.
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

    /// Parse a first page, with the run of the machine; `None` unless it is exactly ours.
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
    /// Identity in the record of this name, without opening it for writing.
    #[must_use]
    pub fn peek(fs: &dyn Filesystem, name: &str) -> Option<DownloadIdentity> {
        Some(DownloadIdentity::read(&fs.read_small(name, PAGE).ok()?)?.0)
    }

    /// Replace the record by a new record without pieces.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn begin(
        fs: &dyn Filesystem,
        name: &str,
        about: &DownloadIdentity,
    ) -> io::Result<ResumeFile> {
        let boot = fs.boot();
        let page = about.page(&boot);
        fs.replace_small(name, &page)?;
        Ok(ResumeFile { file: fs.write(name, false)?, about: about.clone(), boot, page })
    }

    /// Write a record of an identity alone, for a stream.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn leave(fs: &dyn Filesystem, name: &str, about: &DownloadIdentity) -> io::Result<()> {
        fs.replace_small(name, &about.page(&fs.boot()))
    }

    /// Open the record of an earlier run, with the current stat of its `.part`. It stays unchanged
    /// until [`ResumeFile::renew`], so that a process that ends before hashing leaves it to the
    /// next.
    ///
    /// # Errors
    /// If the disk fails, or the record is foreign.
    pub fn open(
        fs: &dyn Filesystem,
        name: &str,
        part: &FileStat,
    ) -> io::Result<(ResumeFile, Resumable)> {
        let file = fs.write(name, false)?;
        let mut page = vec![0; PAGE];
        let count = file.read_at(0, &mut page)?;
        let (about, written_in) =
            DownloadIdentity::read(&page[..count]).ok_or(io::ErrorKind::InvalidData)?;
        if about.size != part.size {
            // Allocate nothing for sizes that only a record claims.
            return Err(io::ErrorKind::InvalidData.into());
        }
        let boot = fs.boot();
        let bitmap =
            usize::try_from(about.bitmap_bytes()).map_err(|_| io::ErrorKind::InvalidData)?;
        let mut bits = vec![0; 2 * bitmap];
        file.read_at(PAGE as u64, &mut bits)?;
        let synced = Bitfield::read(about.pieces(), &bits[bitmap..]);
        // Without an identifier of the run, assume another.
        let same_run = written_in == boot && !boot.is_empty();
        let written = Bitfield::read(about.pieces(), &bits[..bitmap]);
        let none = Bitfield::none(about.pieces());
        let (held, synced, doubted) = match belief(&page[..count], &written, &synced, part) {
            Belief::Sealed if same_run => (written, synced, none),
            // The system may have lost unsynced pieces, whatever the stat.
            Belief::Sealed => (synced.clone(), synced.clone(), written.without(&synced)),
            Belief::PartChanged | Belief::Broken => (none.clone(), none, written.union(&synced)),
        };
        let mut values = Vec::new();
        if about.pieces() * HASH_BYTES <= KEPT_LIST {
            let mut bytes = vec![0; usize::try_from(about.pieces() * HASH_BYTES).unwrap_or(0)];
            file.read_at(about.values_at(), &mut bytes)?;
            values = piece_tree::piece_hashes(&bytes);
        }
        let fresh = about.page(&boot);
        let record = ResumeFile { file, about, boot, page: fresh };
        let about = record.about.clone();
        Ok((record, Resumable { about, held, synced, doubted, values }))
    }

    /// Record a piece. Its hash is written first, if it matters.
    ///
    /// # Errors
    /// If the disk fails: the next run downloads the piece again.
    pub fn hold(&self, held: &Bitfield, piece: u64, value: Option<&PieceHash>) -> io::Result<()> {
        if let Some(value) = value.filter(|_| self.about.pieces() * HASH_BYTES <= KEPT_LIST) {
            self.file.write_at(self.about.values_at() + piece * HASH_BYTES, value)?;
        }
        let (at, byte) = held.byte_of(piece);
        self.file.write_at(PAGE as u64 + at, &[byte])
    }

    /// Replace all bits: these pieces are held, and these synced, in this run of the machine.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn renew(&self, held: &Bitfield, synced: &Bitfield) -> io::Result<()> {
        // First the bits, then the run in which they hold: a killed process leaves one or the
        // other.
        self.sync(synced)?;
        self.hold_only(held)?;
        self.file.write_at(0, &self.page)
    }

    /// Drop wrong pieces: these are held, and these synced. Syncs, because a later identity must
    /// never meet the old bits after a power cut.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget(&self, held: &Bitfield, synced: &Bitfield) -> io::Result<()> {
        self.sync(synced)?;
        self.hold_only(held)?;
        self.file.sync()
    }

    /// Replace the held bits, without trust in unsynced pieces.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn hold_only(&self, held: &Bitfield) -> io::Result<()> {
        self.file.write_at(PAGE as u64, &held.bytes())
    }

    /// Record synced pieces, after a sync of the `.part`.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync(&self, synced: &Bitfield) -> io::Result<()> {
        self.file.write_at(PAGE as u64 + self.about.bitmap_bytes(), &synced.bytes())
    }

    /// Record the root and the hash list.
    ///
    /// # Errors
    /// If the disk fails: the next run downloads the list again.
    pub fn keep_list(&mut self, root: ContentHash, list: &HashList) -> io::Result<()> {
        if list.bytes().len() as u64 <= KEPT_LIST {
            self.file.write_at(self.about.values_at(), list.bytes())?;
        }
        self.about.content = Content::Root(root);
        self.page = self.about.page(&self.boot);
        self.file.write_at(0, &self.page)
    }

    /// Seal the record with the stat of the `.part` and these bits.
    ///
    /// # Errors
    /// If the disk fails: the next run hashes the pieces again.
    pub fn seal(&self, held: &Bitfield, synced: &Bitfield, part: &FileStat) -> io::Result<()> {
        self.file.write_at(SEAL_AT as u64, seal(&self.page, held, synced, part).as_bytes())
    }

    /// True if the record is sealed with each piece.
    #[must_use]
    pub fn is_sealed_each(&self) -> bool {
        self.about.pieces() <= SEALED_EACH
    }

    /// Identity of the download.
    #[must_use]
    pub fn about(&self) -> &DownloadIdentity {
        &self.about
    }
}

/// The digits of a seal.
fn seal(page: &[u8], held: &Bitfield, synced: &Bitfield, part: &FileStat) -> String {
    // The low 64 bits of a time are enough for a comparison.
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

/// Trust in a page and its bits, given the current stat of the `.part`.
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
    fn torn_and_impossible_records_are_rejected() {
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
    fn a_seal_matches_only_its_own_state() {
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
        // The device number may differ after a restart.
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
