//! Exact look-up of a name or a content: pages of providers, with a rotation of the start.

use crate::index::key_table::{KeyId, KeyStore, KeyTable};
use crate::index::pagination::{self, PageBuilder};
use crate::index::{Index, Page, Viewer};
use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

impl Index {
    /// Who has the file of this exact name. Where the list starts rotates with each first page.
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn search(
        &mut self,
        name: &RelativeName,
        cursor: Option<&str>,
        asker: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let place = self.place(cursor)?;
        Ok(self.holders(&self.names, name, Some(name), place, asker))
    }

    /// Who has this content, under whatever name: each member once, by a whole file where it has one. The rest is as in [`Index::search`].
    ///
    /// # Errors
    /// `bad_request` for a cursor that is not ours.
    pub fn search_root(
        &mut self,
        root: ContentHash,
        cursor: Option<&str>,
        asker: &Viewer,
    ) -> Result<Page<Provider>, ErrorReply> {
        let place = self.place(cursor)?;
        Ok(self.holders(&self.roots, &root, None, place, asker))
    }

    /// Where a page begins: at the member and the place in its round that the cursor names, or wherever it is the turn of.
    fn place(&mut self, cursor: Option<&str>) -> Result<Option<(u32, u32)>, ErrorReply> {
        let place = cursor.map(pagination::places).transpose()?;
        self.iteration += u64::from(place.is_none());
        Ok(place)
    }

    /// `named`: how all of these files are called, where that is known.
    fn holders<K: KeyStore>(
        &self,
        claims: &KeyTable<K>,
        key: &K::Key,
        named: Option<&RelativeName>,
        place: Option<(u32, u32)>,
        asker: &Viewer,
    ) -> Page<Provider> {
        let mut filling = PageBuilder::default();
        let Some(id) = claims.find(key) else { return filling.page(None) };
        if place.is_none()
            && let Some(page) = self.few_holders(claims, id, named, asker)
        {
            return page;
        }
        let Some((first, last)) = claims.span(id) else { return filling.page(None) };
        let (start, skip) = place
            .unwrap_or_else(|| (first + spread(self.iteration, u64::from(last - first) + 1), 0));
        let mut before_first = 0;
        for (place, share) in claims.round(id, start, skip) {
            let Some(holder) = self.holder(share.who(), share.own, named, asker) else {
                if let Some(away) = self.away(share.who(), share.own, asker)
                    && !filling.takes_away(away)
                {
                    return filling.page(Some(format!("{start}.{place}")));
                }
                continue;
            };
            if !filling.takes(holder) {
                return filling.page(Some(format!("{start}.{place}")));
            }
            before_first += usize::from(share.member >= start);
        }
        let mut page = filling.page(None);
        if place.is_none() && !page.entries.is_empty() {
            // Members stand close together or far apart, and a round begins more often behind a gap: where all fit into one page, each has its turn.
            let turn = usize::try_from(self.iteration).unwrap_or(0);
            let count = page.entries.len();
            page.entries.rotate_left((before_first + turn % count) % count);
        }
        page
    }

    /// All holders in one page, where they fit: the one whose turn it is first. Else `None`.
    fn few_holders<K: KeyStore>(
        &self,
        claims: &KeyTable<K>,
        id: KeyId,
        named: Option<&RelativeName>,
        asker: &Viewer,
    ) -> Option<Page<Provider>> {
        let mut shares = Vec::new();
        if !claims.few(id, limits::HOLDERS, &mut shares) {
            return None;
        }
        let mut filling = PageBuilder::of(shares.len());
        for share in shares {
            let takes = match self.holder(share.who(), share.own, named, asker) {
                Some(holder) => filling.takes(holder),
                None => self
                    .away(share.who(), share.own, asker)
                    .is_none_or(|away| filling.takes_away(away)),
            };
            if !takes {
                return None;
            }
        }
        let mut page = filling.page(None);
        let turn = usize::try_from(self.iteration).unwrap_or(0) % page.entries.len().max(1);
        page.entries.rotate_left(turn);
        Some(page)
    }
}

/// A place below `count` for each turn, neighbouring turns far apart.
fn spread(turn: u64, count: u64) -> u32 {
    let fraction = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    u32::try_from((fraction * count) >> 32).unwrap_or(0)
}
