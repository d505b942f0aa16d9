//! Pages of a list: cursors, and how many entries fit.

use crate::index::Page;
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, Provider, ProviderRef};

/// What one entry costs besides its texts: the names of its fields, an address, a root.
const ENTRY_FRAME: usize = 270;
/// What it costs besides to say where a holder answers by QUIC; it is counted as text is, twice.
pub(super) const QUIC: usize = 52;

/// A page of holders that is being filled: at most as many as one answer may name, and as many as it has room for.
pub(super) struct PageBuilder {
    entries: Vec<Provider>,
    away: Vec<Away>,
    budget: PageBudget,
    is_full: bool,
}

/// How much more one answer holds.
pub struct PageBudget {
    entries: usize,
    bytes: usize,
}

impl PageBudget {
    /// That of an answer of holders.
    #[must_use]
    pub(super) fn for_holders() -> PageBudget {
        PageBudget { entries: limits::HOLDERS, bytes: limits::LIST_BYTES }
    }

    /// Takes a holder, if there is room for it.
    pub(super) fn takes_holder(&mut self, holder: &ProviderRef<'_>) -> bool {
        let quic = if holder.quic.is_some() { QUIC } else { 0 };
        let held = &holder.file;
        self.takes(
            held.name.len()
                + held.description.map_or(0, str::len)
                + held.user.map_or(0, str::len)
                + quic,
        )
    }

    /// That of an answer of `most` entries: what is more than a page is for wires that have none, and is not bounded otherwise.
    #[must_use]
    pub fn for_lists(most: usize) -> PageBudget {
        PageBudget {
            entries: most,
            bytes: if most > limits::LIST_ENTRIES { usize::MAX } else { limits::LIST_BYTES },
        }
    }

    /// Takes an entry with so many bytes of text, if there is room for it.
    pub fn takes(&mut self, text: usize) -> bool {
        let weight = weight(text);
        if self.entries == 0 || self.bytes < weight {
            return false;
        }
        self.entries -= 1;
        self.bytes -= weight;
        true
    }
}

impl Default for PageBuilder {
    fn default() -> PageBuilder {
        PageBuilder::new(limits::HOLDERS)
    }
}

impl PageBuilder {
    /// A page of so many at most.
    pub(super) fn new(most: usize) -> PageBuilder {
        PageBuilder {
            entries: Vec::new(),
            away: Vec::new(),
            budget: PageBudget { entries: most, bytes: limits::LIST_BYTES },
            is_full: false,
        }
    }

    /// One with room for so many from the beginning.
    pub(super) fn of(count: usize) -> PageBuilder {
        PageBuilder {
            entries: Vec::with_capacity(count.min(limits::HOLDERS)),
            ..PageBuilder::default()
        }
    }

    /// True when something had no room.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Takes a holder, unless there is no room for this one as well.
    pub(super) fn takes(&mut self, holder: Provider) -> bool {
        let takes = self.budget.takes_holder(&holder.by_ref());
        if takes {
            self.entries.push(holder);
        }
        self.is_full |= !takes;
        takes
    }

    /// Takes a file whose user is away, unless there is no room for it.
    pub(super) fn takes_away(&mut self, away: Away) -> bool {
        let takes = self.budget.takes(
            away.name.len() + away.user.len() + away.description.as_deref().map_or(0, str::len),
        );
        if takes {
            self.away.push(away);
        }
        self.is_full |= !takes;
        takes
    }

    pub(super) fn page(self, cursor: Option<String>) -> Page<Provider> {
        Page { entries: self.entries, away: self.away, cursor }
    }
}

/// What an entry with so many bytes of text takes at most. A quote or a backslash takes two bytes; there are no control characters, so nothing takes more.
fn weight(text: usize) -> usize {
    text * 2 + ENTRY_FRAME
}

fn texts(file: &FileEntry) -> usize {
    file.name.len() + file.description.as_deref().map_or(0, str::len)
}

/// A cursor that is one number.
pub(super) fn number(text: &str) -> Result<u64, ErrorReply> {
    text.parse().map_err(|_| foreign())
}

/// A cursor that is two.
///
/// # Errors
/// `bad_request` for one that is not ours.
pub fn pair(text: &str) -> Result<(u64, u64), ErrorReply> {
    let (a, b) = text.split_once('.').ok_or_else(foreign)?;
    Ok((number(a)?, number(b)?))
}

/// A cursor that is two places of members.
pub(super) fn places(text: &str) -> Result<(u32, u32), ErrorReply> {
    let (a, b) = pair(text)?;
    u32::try_from(a).and_then(|a| Ok((a, u32::try_from(b)?))).map_err(|_| foreign())
}

/// The answer to a cursor that is none.
pub(super) fn foreign() -> ErrorReply {
    ErrorReply::new(ErrorCode::BadRequest, "cursor is not one of ours")
}

/// One page of a list of files, as many as one answer holds; `from` gives the list from a place on.
///
/// # Errors
/// `bad_request` for a cursor that is not ours.
pub fn files<I: Iterator<Item = FileEntry>>(
    from: impl FnOnce(usize) -> I,
    cursor: Option<&str>,
) -> Result<Page<FileEntry>, ErrorReply> {
    let start = cursor.map_or(Ok(0), number)?;
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
    let mut room = PageBudget::for_lists(limits::LIST_ENTRIES);
    for file in from(start) {
        if !room.takes(texts(&file)) {
            page.cursor = Some((start + page.entries.len()).to_string());
            break;
        }
        page.entries.push(file);
    }
    Ok(page)
}
