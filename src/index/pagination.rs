//! Pages of a list: cursors, and the number of entries that fit.

use crate::index::Page;
use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::{Away, Provider, ProviderRef};

/// Bytes of an entry besides texts: field names, an address, a root.
const ENTRY_FRAME: usize = 270;
/// Bytes of text that stand for a QUIC address; text counts twice.
pub(super) const QUIC: usize = 52;
/// The same for a key.
pub(super) const KEY: usize = 37;

/// A file as shown to a viewer.
pub(super) enum Hit {
    Provider(Provider),
    Away(Away),
}

/// A page of providers under construction, bounded by entries and bytes.
pub(super) struct PageBuilder {
    entries: Vec<Provider>,
    away: Vec<Away>,
    budget: PageBudget,
    is_full: bool,
}

/// Entries and bytes that a response still has room for.
pub struct PageBudget {
    entries: usize,
    bytes: usize,
}

impl PageBudget {
    /// Budget of a page of providers.
    #[must_use]
    pub(super) fn for_providers() -> PageBudget {
        PageBudget { entries: limits::HOLDERS, bytes: limits::LIST_BYTES }
    }

    /// Budget of `most` entries. More than a page is for protocols without pages: bytes are not
    /// bounded then.
    #[must_use]
    pub fn for_lists(most: usize) -> PageBudget {
        let bytes = if most > limits::LIST_ENTRIES { usize::MAX } else { limits::LIST_BYTES };
        PageBudget { entries: most, bytes }
    }

    /// Take an entry with so many bytes of text; false without room.
    pub fn takes(&mut self, text: usize) -> bool {
        let weight = weight(text);
        if self.entries == 0 || self.bytes < weight {
            return false;
        }
        self.entries -= 1;
        self.bytes -= weight;
        true
    }

    /// Take a provider; false without room.
    pub fn takes_holder(&mut self, provider: &Provider) -> bool {
        self.takes_provider(&provider.by_ref())
    }

    /// Take a borrowed provider; false without room.
    pub fn takes_provider(&mut self, provider: &ProviderRef<'_>) -> bool {
        let quic = if provider.quic.is_some() { QUIC } else { 0 };
        let key = if provider.key.is_some() { KEY } else { 0 };
        let held = &provider.file;
        self.takes(
            held.name.len()
                + held.description.map_or(0, str::len)
                + held.user.map_or(0, str::len)
                + quic
                + key,
        )
    }

    /// Take a file of a list; false without room.
    pub(super) fn takes_file(&mut self, file: &FileEntry) -> bool {
        self.takes(file.name.len() + file.description.as_deref().map_or(0, str::len))
    }

    fn takes_away(&mut self, away: &Away) -> bool {
        let description = away.description.as_deref().map_or(0, str::len);
        self.takes(away.name.len() + away.user.len() + description)
    }
}

impl Default for PageBuilder {
    fn default() -> PageBuilder {
        PageBuilder::new(limits::HOLDERS)
    }
}

impl PageBuilder {
    pub(super) fn new(most: usize) -> PageBuilder {
        PageBuilder {
            entries: Vec::new(),
            away: Vec::new(),
            budget: PageBudget { entries: most, bytes: limits::LIST_BYTES },
            is_full: false,
        }
    }

    pub(super) fn with_capacity(count: usize) -> PageBuilder {
        PageBuilder {
            entries: Vec::with_capacity(count.min(limits::HOLDERS)),
            ..PageBuilder::default()
        }
    }

    /// True once an entry found no room.
    pub(super) fn is_full(&self) -> bool {
        self.is_full
    }

    /// Take a file; false without room.
    pub(super) fn takes(&mut self, hit: Hit) -> bool {
        let takes = match &hit {
            Hit::Provider(provider) => self.budget.takes_provider(&provider.by_ref()),
            Hit::Away(away) => self.budget.takes_away(away),
        };
        self.is_full |= !takes;
        match hit {
            _ if !takes => {}
            Hit::Provider(provider) => self.entries.push(provider),
            Hit::Away(away) => self.away.push(away),
        }
        takes
    }

    pub(super) fn page(self, cursor: Option<String>) -> Page<Provider> {
        Page { entries: self.entries, away: self.away, cursor }
    }
}

/// Most bytes of an entry with so many bytes of text. A quote or a backslash takes two bytes, and
/// texts have no control characters, which would take more.
fn weight(text: usize) -> usize {
    text * 2 + ENTRY_FRAME
}

/// Read a cursor of a number.
///
/// # Errors
/// `bad_request` for a foreign cursor.
pub fn number(text: &str) -> Result<u64, ErrorReply> {
    text.parse().map_err(|_| ErrorReply::bad_cursor())
}

/// Read a cursor of two numbers.
///
/// # Errors
/// `bad_request` for a foreign cursor.
pub fn pair(text: &str) -> Result<(u64, u64), ErrorReply> {
    let (a, b) = text.split_once('.').ok_or_else(ErrorReply::bad_cursor)?;
    Ok((number(a)?, number(b)?))
}

/// Read a cursor of two slots.
pub(super) fn places(text: &str) -> Result<(u32, u32), ErrorReply> {
    let (a, b) = pair(text)?;
    u32::try_from(a).and_then(|a| Ok((a, u32::try_from(b)?))).map_err(|_| ErrorReply::bad_cursor())
}

/// A page of a list of files; `from` gives the list from a position on.
///
/// # Errors
/// `bad_request` for a foreign cursor.
pub fn files<I: Iterator<Item = FileEntry>>(
    from: impl FnOnce(usize) -> I,
    cursor: Option<&str>,
) -> Result<Page<FileEntry>, ErrorReply> {
    let start = cursor.map_or(Ok(0), number)?;
    let start = usize::try_from(start).unwrap_or(usize::MAX);
    let mut page = Page { entries: Vec::new(), away: Vec::new(), cursor: None };
    let mut budget = PageBudget::for_lists(limits::LIST_ENTRIES);
    for file in from(start) {
        if !budget.takes_file(&file) {
            page.cursor = Some((start + page.entries.len()).to_string());
            break;
        }
        page.entries.push(file);
    }
    Ok(page)
}
