//! The record beside a `.part`, read by other code than that which writes it.

use std::net::SocketAddr;
use std::ops::Range;

use cardume::storage::fs_trait::FileStat;
use serde_json::Value;

use crate::oracle::Content;

/// The first page of a record; the bitmaps follow it.
const PAGE: usize = 4_096;
const PIECE: usize = 1 << 20;
/// What a record's name ends in.
pub const ENDING: &str = ".part.record";

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResumeNote {
    pub name: String,
    pub size: u64,
    pub meant: Meant,
    /// Bytes that it claims in this run of the machine.
    pub held: Vec<Range<usize>>,
    /// Bytes that it claims in any run.
    pub synced: Vec<Range<usize>>,
    /// How its `.part` stood when this was written: its inode and both times, as 48 hex digits.
    pub stood: String,
}

/// Of which content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meant {
    Root(String),
    Version(SocketAddr, String),
}

impl ResumeNote {
    /// The name of the file whose download this is a record of.
    pub fn stem(name: &str) -> Option<&str> {
        name.strip_suffix(ENDING)
    }

    /// Reads a record; `None` for one that the system has left in no order.
    pub fn read(bytes: &[u8], boot: &str) -> Option<ResumeNote> {
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
            // A liar may have named a size of which no bitmap was ever written.
            (0..pieces.min(bytes.len().saturating_sub(from) * 8))
                .filter(has)
                .map(|piece| piece * PIECE..(piece * PIECE + PIECE).min(whole))
                .collect::<Vec<_>>()
        };
        let (written, synced) = (bits(PAGE), bits(PAGE + pieces.div_ceil(8)));
        let held = if text("boot")? == boot { written } else { synced.clone() };
        let stood = text("seal")?.get(..48)?.to_owned();
        Some(ResumeNote { name: text("name")?, size, meant, held, synced, stood })
    }

    /// True when the `.part` stands as it did when this was written.
    pub fn is_sealed(&self, part: &FileStat) -> bool {
        self.stood
            == format!("{:016x}{:016x}{:016x}", part.inode, part.modified_ns, part.changed_ns)
    }

    /// All that it claims is there and right, what is `synced` on the disk itself. Claims that were made `before` were looked at then.
    pub fn check(
        &self,
        before: Option<&ResumeNote>,
        data: &[u8],
        lasting: &[u8],
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
                lasting.get(range.clone()) == Some(&bytes[range.clone()]),
                "{when}: the disk lacks {range:?} of what is synced: {self:?}"
            );
        }
    }
}
