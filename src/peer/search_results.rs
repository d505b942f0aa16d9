//! Results of the search under way, and of the one before.

use std::net::SocketAddr;

use crate::protocol::response::{Away, Provider};
use crate::protocol::types::relative_path::RelativeName;

/// What searches have found.
#[derive(Default)]
pub(super) struct SearchResults {
    /// The file last searched.
    pub(super) name: Option<RelativeName>,
    /// Providers, until the last page has come.
    providers: Vec<Provider>,
    /// Providers that have published it and are away.
    away: Vec<Away>,
    /// What the last SEARCH found.
    last: Vec<Provider>,
    /// How many more a search by words may show.
    left: usize,
    /// It has shown some.
    has_shown: bool,
}

impl SearchResults {
    /// A search for this name begins.
    pub(super) fn begin(&mut self, name: Option<RelativeName>) {
        self.name = name;
        self.providers.clear();
        self.away.clear();
    }

    /// A search by words begins, which may show so many.
    pub(super) fn begin_to_show(&mut self, most: usize) {
        (self.left, self.has_shown) = (most, false);
    }

    /// A page has come. How many entries are here now.
    pub(super) fn add(&mut self, providers: Vec<Provider>, away: Vec<Away>) -> usize {
        self.providers.extend(providers);
        self.away.extend(away);
        self.providers.len() + self.away.len()
    }

    /// All entries, once the last page has come.
    pub(super) fn take(&mut self) -> (Vec<Provider>, Vec<Away>) {
        (std::mem::take(&mut self.providers), std::mem::take(&mut self.away))
    }

    /// These were shown: a DOWNLOAD may mean one of them.
    pub(super) fn remember(&mut self, providers: &[Provider]) {
        self.last = providers.to_vec();
    }

    /// What the last SEARCH said of this file of that peer.
    pub(super) fn known(&self, peer: SocketAddr, name: &str) -> Option<&Provider> {
        self.last.iter().find(|provider| provider.peer == peer && *provider.file.name == *name)
    }

    /// Leaves of a page what may be shown of it. True when it had more.
    pub(super) fn cut(&mut self, providers: &mut Vec<Provider>, away: &mut Vec<Away>) -> bool {
        let cut = providers.len() + away.len() > self.left;
        providers.truncate(self.left);
        self.left -= providers.len();
        away.truncate(self.left);
        self.left -= away.len();
        self.has_shown |= !providers.is_empty() || !away.is_empty();
        cut
    }

    /// How many more may be shown.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// True when some were shown.
    pub(super) fn has_shown(&self) -> bool {
        self.has_shown
    }
}
