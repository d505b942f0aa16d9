//! Lists in pages: cursors, and how many entries fit.

use crate::index::Page;
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::request::FileEntry;

/// What one entry costs besides its name.
const ENTRY_FRAME: usize = 140;

/// A cursor that is one number.
pub(super) fn number(text: &str) -> Result<u64, Refusal> {
    text.parse().map_err(|_| foreign())
}

/// A cursor that is two.
pub(super) fn pair(text: &str) -> Result<(u64, u64), Refusal> {
    let (a, b) = text.split_once('.').ok_or_else(foreign)?;
    Ok((number(a)?, number(b)?))
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
        // A quote or a backslash takes two bytes; names hold no control characters, so nothing takes more.
        bytes += file.name.len() * 2 + ENTRY_FRAME;
        if page.entries.len() == limits::LIST_ENTRIES || bytes > limits::LIST_BYTES {
            page.cursor = Some((start + page.entries.len()).to_string());
            break;
        }
        page.entries.push(file);
    }
    Ok(page)
}
