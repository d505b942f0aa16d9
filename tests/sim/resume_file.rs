//! The record beside a `.part`, read by code independent of its writer.

use std::net::SocketAddr;
use std::ops::Range;

use cardume::storage::fs_trait::FileStat;
use serde_json::Value;

use crate::oracle::Content;

/// The first page of a record; the bitmaps follow.
const PAGE: usize = 4_096;
const PIECE: usize = 1 << 20;
/// The suffix of a record's name.
pub const ENDING: &str = ".part.record";

/// The contents of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeFile {
    pub name: String,
    pub size: u64,
    pub meant: Meant,
    /// Byte ranges claimed since the boot of the machine.
    pub held: Vec<Range<usize>>,
    /// Byte ranges claimed across reboots.
    pub synced: Vec<Range<usize>>,
    /// The state of the `.part` when the record was written: inode and both times, as 48 hex
    /// digits.
    pub stood: String,
}

/// The content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    Root(String),
    Version(SocketAddr, String),
}

impl ResumeFile {
    /// The name of the file of a record.
    pub fn stem(name: &str) -> Option<&str> {
        name.strip_suffix(ENDING)
    }

    /// Parses a record; `None` for a torn one.
    pub fn read(bytes: &[u8], boot: &str) -> Option<ResumeFile> {
        let page: Value = serde_json::from_slice(&bytes[..bytes.len().min(PAGE)]).ok()?;
        let text = |key: &str| page[key].as_str().map(str::to_owned);
        let size = page["size"].as_u64()?;
        let meant = match text("root") {
            Some(root) => Meant::Root(root),
            None => Meant::Version(text("from")?.parse().ok()?, text("tag")?),
        };
        let whole = usize::try_from(size).ok()?;
        let pieces = whole.div_ceil(PIECE).max(1);
        let bits = |from: usize| {
            let has = |piece: &usize| {
                bytes.get(from + piece / 8).is_some_and(|byte| byte >> (piece % 8) & 1 == 1)
            };
            // An adversary may have announced a size without a written bitmap.
            (0..pieces.min(bytes.len().saturating_sub(from) * 8))
                .filter(has)
                .map(|piece| piece * PIECE..(piece * PIECE + PIECE).min(whole))
                .collect::<Vec<_>>()
        };
        let (written, synced) = (bits(PAGE), bits(PAGE + pieces.div_ceil(8)));
        let held = if text("boot")? == boot { written } else { synced.clone() };
        let stood = text("seal")?.get(..48)?.to_owned();
        Some(ResumeFile { name: text("name")?, size, meant, held, synced, stood })
    }

    /// True when the `.part` is unchanged since the record was written.
    pub fn is_sealed(&self, part: &FileStat) -> bool {
        self.stood
            == format!("{:016x}{:016x}{:016x}", part.inode, part.modified_ns, part.changed_ns)
    }

    /// Every claimed byte must be present and right, synced ones on the disk itself. Claims of
    /// `before` were checked earlier.
    pub fn check(
        &self,
        before: Option<&ResumeFile>,
        data: &[u8],
        durable: &[u8],
        content: Content,
        when: &str,
    ) {
        let before = before.filter(|before| before.meant == self.meant);
        let bytes = content.bytes();
        for range in self
            .held
            .iter()
            .filter(|range| before.is_none_or(|before| !before.held.contains(range)))
        {
            assert!(
                data.get(range.clone()) == Some(&bytes[range.clone()]),
                "{when}: the record claims {range:?}, which is not right: {self:?}"
            );
        }
        for range in self
            .synced
            .iter()
            .filter(|range| before.is_none_or(|before| !before.synced.contains(range)))
        {
            assert!(
                durable.get(range.clone()) == Some(&bytes[range.clone()]),
                "{when}: the disk lacks {range:?} of what is synced: {self:?}"
            );
        }
    }
}
