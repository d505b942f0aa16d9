//! Results of the search under way and of the last one.

use std::net::SocketAddr;

use crate::protocol::response::{Away, Provider};
use crate::protocol::types::relative_path::RelativeName;

/// Results of searches.
#[derive(Default)]
pub(super) struct SearchResults {
    /// The name of the last search.
    pub(super) name: Option<RelativeName>,
    /// Providers on the pages so far.
    providers: Vec<Provider>,
    /// Users on the pages so far that have published the file and are offline.
    away: Vec<Away>,
    /// Providers of the last SEARCH.
    last: Vec<Provider>,
    /// Entries that FIND may still show.
    left: usize,
    /// FIND has shown some.
    has_shown: bool,
}

impl SearchResults {
    /// Starts a search for this name.
    pub(super) fn begin(&mut self, name: Option<RelativeName>) {
        self.name = name;
        self.providers.clear();
        self.away.clear();
    }

    /// Starts a FIND that shows at most so many entries.
    pub(super) fn begin_to_show(&mut self, most: usize) {
        (self.left, self.has_shown) = (most, false);
    }

    /// Adds a page, and returns the number of entries so far.
    pub(super) fn add(&mut self, providers: Vec<Provider>, away: Vec<Away>) -> usize {
        self.providers.extend(providers);
        self.away.extend(away);
        self.providers.len() + self.away.len()
    }

    /// Takes all entries.
    pub(super) fn take(&mut self) -> (Vec<Provider>, Vec<Away>) {
        (std::mem::take(&mut self.providers), std::mem::take(&mut self.away))
    }

    /// Remembers these providers for a later DOWNLOAD.
    pub(super) fn remember(&mut self, providers: &[Provider]) {
        self.last = providers.to_vec();
    }

    /// The entry of this peer and file in the last SEARCH.
    pub(super) fn known(&self, peer: SocketAddr, name: &str) -> Option<&Provider> {
        self.last.iter().find(|provider| provider.peer == peer && *provider.file.name == *name)
    }

    /// Cuts a page to the entries that may still be shown. True when it had more.
    pub(super) fn cut(&mut self, providers: &mut Vec<Provider>, away: &mut Vec<Away>) -> bool {
        let cut = providers.len() + away.len() > self.left;
        providers.truncate(self.left);
        self.left -= providers.len();
        away.truncate(self.left);
        self.left -= away.len();
        self.has_shown |= !providers.is_empty() || !away.is_empty();
        cut
    }

    /// Entries that may still be shown.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// True once an entry was shown.
    pub(super) fn has_shown(&self) -> bool {
        self.has_shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;

    fn provider(port: u16) -> Provider {
        let file = FileEntry::new(RelativeName::new("a").unwrap(), 1);
        Provider {
            peer: SocketAddr::from(([127, 0, 0, 1], port)),
            file,
            quic: None,
            key: None,
            speaks: None,
            user: None,
        }
    }

    #[test]
    fn a_page_is_cut_at_the_limit_of_the_user() {
        let mut search = SearchResults::default();
        search.begin_to_show(3);
        let mut page = vec![provider(1), provider(2)];
        assert!(!search.has_shown() && !search.cut(&mut page, &mut Vec::new()));
        assert_eq!((page.len(), search.left(), search.has_shown()), (2, 1, true));
        let mut page = vec![provider(3), provider(4)];
        assert!(search.cut(&mut page, &mut Vec::new()));
        assert_eq!((page, search.left()), (vec![provider(3)], 0));
    }

    #[test]
    fn pages_add_up_and_the_last_search_is_remembered() {
        let mut search = SearchResults::default();
        search.begin(None);
        assert_eq!(
            (search.add(vec![provider(1)], Vec::new()), search.add(vec![provider(2)], Vec::new())),
            (1, 2)
        );
        let (providers, away) = search.take();
        assert_eq!((providers.len(), away.len(), search.add(Vec::new(), Vec::new())), (2, 0, 0));
        search.remember(&providers);
        assert_eq!(search.known(provider(2).peer, "a"), Some(&provider(2)));
        assert_eq!(
            (search.known(provider(2).peer, "b"), search.known(provider(3).peer, "a")),
            (None, None)
        );
    }
}
