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
/// What a field costs that most entries lack, besides its text.
const FIELD: usize = 20;

/// A page of holders that is being filled: at most as many as one answer may name, and as many as it has room for.
#[derive(Default)]
pub(super) struct Filling {
    entries: Vec<Holder>,
    bytes: usize,
}

impl Filling {
    /// True when there is no room for this one as well.
    pub(super) fn is_full(&self, next: &Holder) -> bool {
        self.entries.len() == limits::HOLDERS || self.bytes + weight(&next.file) + who(next) > limits::LIST_BYTES
    }

    pub(super) fn push(&mut self, holder: Holder) {
        self.bytes += weight(&holder.file) + who(&holder);
        self.entries.push(holder);
    }

    pub(super) fn page(self, cursor: Option<String>) -> Page<Holder> {
        Page { entries: self.entries, cursor }
    }
}

/// What an entry takes at most. A quote or a backslash takes two bytes; names and lines hold no control characters, so nothing takes more.
fn weight(file: &FileEntry) -> usize {
    let description = file.description.as_ref().map_or(0, |text| text.len() * 2 + FIELD);
    file.name.len() * 2 + description + ENTRY_FRAME
}

/// What it takes to say who a holder is.
fn who(holder: &Holder) -> usize {
    let user = holder.user.as_ref().map_or(0, |user| user.len() * 2 + FIELD);
    ADDRESS + user + holder.speaks.map_or(0, |_| 2 * FIELD)
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

/// The answer to a cursor that is none.
pub(super) fn foreign() -> Refusal {
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
        bytes += weight(&file);
        if page.entries.len() == limits::LIST_ENTRIES || bytes > limits::LIST_BYTES {
            page.cursor = Some((start + page.entries.len()).to_string());
            break;
        }
        page.entries.push(file);
    }
    Ok(page)
}
