//! Lists in pages: cursors, and how many entries fit.

use crate::index::Page;
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::reply::Holder;
use crate::message::request::FileEntry;

/// What one entry costs besides its name.
const ENTRY_FRAME: usize = 140;
/// And the address of its holder.
const ADDRESS: usize = 70;

/// A page of holders that is being filled: at most as many as one answer may name, and as many as it has room for.
#[derive(Default)]
pub(super) struct Filling {
    entries: Vec<Holder>,
    bytes: usize,
}

impl Filling {
    /// True when there is no room for this one as well.
    pub(super) fn is_full(&self, next: &Holder) -> bool {
        self.entries.len() == limits::HOLDERS || self.bytes + weight(&next.file.name) + ADDRESS > limits::LIST_BYTES
    }

    pub(super) fn push(&mut self, holder: Holder) {
        self.bytes += weight(&holder.file.name) + ADDRESS;
        self.entries.push(holder);
    }

    pub(super) fn page(self, cursor: Option<String>) -> Page<Holder> {
        Page { entries: self.entries, cursor }
    }
}

/// What an entry of this name takes at most. A quote or a backslash takes two bytes; names hold no control characters, so nothing takes more.
fn weight(name: &str) -> usize {
    name.len() * 2 + ENTRY_FRAME
}

/// A cursor that is one number.
pub(super) fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| foreign())
}

/// A cursor that is two.
pub(super) fn pair(text: &str) -> Result<(u64, u64), Refusal> {
    let (a, b) = text.split_once('.').ok_or_else(foreign)?;
    Ok((number(a)?, number(b)?))
}

/// A cursor that is two places of members.
pub(super) fn places(text: &str) -> Result<(u32, u32), Refusal> {
    let (a, b) = pair(text)?;
    u32::try_from(a).and_then(|a| Ok((a, u32::try_from(b)?))).map_err(|_| foreign())
}

fn foreign() -> Refusal {
    Refusal::new(Code::BadRequest, "cursor is not one of ours")
}

/// One page of a list of files, as many as one answer holds; `from` gives the list from a place on.
///
/// # Errors
/// `bad_request` for a cursor that is not ours.
pub fn files<I: Iterator<Item = FileEntry>>(from: impl FnOnce(usize) -> I, cursor: Option<&str>) -> Result<Page<FileEntry>, Refusal> {
    let start = cursor.map_or(Ok(0), number)?;
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let mut page = Page { entries: Vec::new(), cursor: None };
    let mut bytes = 0;
    for file in from(start) {
        bytes += weight(&file.name);
        if page.entries.len() == limits::LIST_ENTRIES || bytes > limits::LIST_BYTES {
            page.cursor = Some((start + page.entries.len()).to_string());
            break;
        }
        page.entries.push(file);
    }
    Ok(page)
}
