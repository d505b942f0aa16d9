//! Exact look-up of a name or a content: pages of providers, in an order that rotates.

use crate::index::key_table::{KeyId, KeyStore, KeyTable};
use crate::index::pagination::{self, Hit, PageBuilder};
use crate::index::postings::Posting;
use crate::index::{Index, Page, Viewer};
use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// Names of a content at one peer that a look-up passes, until the viewer may see the file; more of
/// them are an attack.
pub(super) const HIDDEN_NAMES: usize = 256;

impl Index {
    /// Providers of the file with exactly this name. Each first page starts at another provider.
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn search(
        &mut self,
        name: &RelativeName,
        cursor: Option<&str>,
        viewer: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let position = self.position(cursor)?;
        Ok(self.providers(&self.names, name, Some(name), position, viewer))
    }

    /// Providers of this content under any name. A peer is listed once, with a complete file if it
    /// has one. Otherwise as [`Index::search`].
    ///
    /// # Errors
    /// `bad_request` for a foreign cursor.
    pub fn search_root(
        &mut self,
        root: ContentHash,
        cursor: Option<&str>,
        viewer: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let position = self.position(cursor)?;
        Ok(self.providers(&self.roots, &root, None, position, viewer))
    }

    /// Start and offset of the rotation that a cursor continues; `None` begins the next rotation.
    fn position(&mut self, cursor: Option<&str>) -> Result<Option<(u32, u32)>, ErrorReply> {
        let position = cursor.map(pagination::places).transpose()?;
        self.first_pages.turn += u64::from(position.is_none());
        Ok(position)
    }

    /// `name`: the common name of all these files, if known.
    fn providers<K: KeyStore>(
        &self,
        table: &KeyTable<K>,
        key: &K::Key,
        name: Option<&RelativeName>,
        position: Option<(u32, u32)>,
        viewer: &Viewer,
    ) -> Page<Provider> {
        let mut page = PageBuilder::default();
        let Some(id) = table.find(key) else { return page.page(None) };
        if position.is_none()
            && let Some(page) = self.only_page(table, id, name, viewer)
        {
            return page;
        }
        let Some((first, last)) = table.span(id) else { return page.page(None) };
        let (start, skip) = position.unwrap_or_else(|| {
            (first + spread(self.first_pages.turn, u64::from(last - first) + 1), 0)
        });
        let mut before_first = 0;
        for (offset, posting) in table.round(id, start, skip) {
            let Some(hit) = self.hit_of_peer(table, id, posting, name, viewer) else { continue };
            let is_provider = matches!(hit, Hit::Provider(_));
            if !page.takes(hit) {
                return page.page(Some(format!("{start}.{offset}")));
            }
            before_first += usize::from(is_provider && posting.peer >= start);
        }
        let mut page = page.page(None);
        if position.is_none() && !page.entries.is_empty() {
            // Slots are not spaced evenly, so a random start favours the peer behind a gap. Where
            // all providers fit into a page, rotate by count instead.
            let turn = usize::try_from(self.first_pages.turn).unwrap_or(0);
            let count = page.entries.len();
            page.entries.rotate_left((before_first + turn % count) % count);
        }
        page
    }

    /// All providers, if a page holds all: the same page as the general case, for less work.
    fn only_page<K: KeyStore>(
        &self,
        table: &KeyTable<K>,
        id: KeyId,
        name: Option<&RelativeName>,
        viewer: &Viewer,
    ) -> Option<Page<Provider>> {
        let mut postings = Vec::new();
        if !table.few(id, limits::HOLDERS, &mut postings) {
            return None;
        }
        let mut page = PageBuilder::with_capacity(postings.len());
        let mut hits = postings
            .iter()
            .filter_map(|posting| self.hit_of_peer(table, id, *posting, name, viewer));
        if !hits.all(|hit| page.takes(hit)) {
            return None;
        }
        let mut page = page.page(None);
        let turn = usize::try_from(self.first_pages.turn).unwrap_or(0) % page.entries.len().max(1);
        page.entries.rotate_left(turn);
        Some(page)
    }

    /// The file that stands for a peer: the first of its postings that this viewer may see. A
    /// content may be there under several names, for different groups.
    fn hit_of_peer<K: KeyStore>(
        &self,
        table: &KeyTable<K>,
        id: KeyId,
        first: Posting,
        name: Option<&RelativeName>,
        viewer: &Viewer,
    ) -> Option<Hit> {
        if self.visible(first, viewer).is_some() {
            return self.hit(first, name, viewer);
        }
        let mut others = table.all_of_peer(id, first.peer).take(HIDDEN_NAMES);
        let shown = others.find(|posting| self.visible(*posting, viewer).is_some())?;
        self.hit(shown, name, viewer)
    }

    /// A file as shown to this viewer; `None` if hidden.
    pub(super) fn hit(
        &self,
        posting: Posting,
        name: Option<&RelativeName>,
        viewer: &Viewer,
    ) -> Option<Hit> {
        self.provider(posting, name, viewer)
            .map(Hit::Provider)
            .or_else(|| self.away(posting, viewer).map(Hit::Away))
    }
}

/// A place below `count` for each turn, neighbouring turns far apart.
fn spread(turn: u64, count: u64) -> u32 {
    let fraction = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u32::try_from((fraction * count) >> 32).unwrap_or(0)
}
