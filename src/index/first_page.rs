//! Fast path of the most frequent request: the first page of providers of a name, without a copy.

use crate::index::key_table::KeyId;
use crate::index::page_cache::PageCache;
use crate::index::pagination::{KEY, PageBudget, QUIC};
use crate::index::postings::Posting;
use crate::index::{FileRecord, Index, PeerRecord, Sees, Viewer};
use crate::limits;
use crate::protocol::response::{FileRef, ProviderFields, ProviderRef};
use crate::protocol::types::relative_path::RelativeName;

/// The order of providers, which rotates from first page to first page, and encoded first pages.
#[derive(Default)]
pub(super) struct FirstPages {
    /// Number of first pages so far.
    pub(super) turn: u64,
    /// Scratch memory of [`Index::first_page`].
    few: Vec<Posting>,
    /// Pages of popular names.
    pub(super) encoded: PageCache,
}

/// All providers of a name, if a single page holds all.
pub struct FirstPage<'a> {
    index: &'a Index,
    name: &'a RelativeName,
    /// Files of reachable peers.
    postings: &'a [Posting],
    /// Position of the first provider of this rotation.
    first: usize,
}

/// All providers of a name.
pub enum FoundPage<'a> {
    /// Encoded, each with a comma behind it.
    Encoded([&'a [u8]; 2]),
    /// To be encoded.
    Listed(FirstPage<'a>),
}

impl Index {
    /// As [`Index::first_page`], encoded if the name is popular, with these fields.
    pub fn found_page<'a>(
        &'a mut self,
        name: &'a RelativeName,
        viewer: &Viewer,
        fields: ProviderFields,
    ) -> Option<FoundPage<'a>> {
        let id = self.names.find(name);
        if let Some(id) = id
            && self.has_encoded_page(id, name, viewer, fields)
        {
            return self.next_encoded_page(id).map(FoundPage::Encoded);
        }
        self.listed_page(id, name, viewer).map(FoundPage::Listed)
    }

    /// The providers of exactly this name, as [`Index::search`] lists them. `None` if too many for
    /// a page or if some users are away; then the rotation has not advanced.
    pub fn first_page<'a>(
        &'a mut self,
        name: &'a RelativeName,
        viewer: &Viewer,
    ) -> Option<FirstPage<'a>> {
        self.listed_page(self.names.find(name), name, viewer)
    }

    fn listed_page<'a>(
        &'a mut self,
        id: Option<KeyId>,
        name: &'a RelativeName,
        viewer: &Viewer,
    ) -> Option<FirstPage<'a>> {
        let mut postings = std::mem::take(&mut self.first_pages.few);
        let fits = self.reachable(id, name, viewer, &mut postings);
        self.first_pages.few = postings;
        if !fits {
            return None;
        }
        self.first_pages.turn += 1;
        let index: &'a Index = self;
        let FirstPages { turn, few, .. } = &index.first_pages;
        let first = usize::try_from(*turn).unwrap_or(0) % few.len().max(1);
        Some(FirstPage { index, name, postings: few, first })
    }

    /// Collect the files of reachable peers. False if [`Index::search`] has to answer.
    fn reachable(
        &self,
        id: Option<KeyId>,
        name: &RelativeName,
        viewer: &Viewer,
        postings: &mut Vec<Posting>,
    ) -> bool {
        postings.clear();
        let Some(id) = id else { return true };
        if !self.names.few(id, limits::HOLDERS, postings) {
            return false;
        }
        // Records are far apart in memory. A loop that only touches records lets the loads overlap.
        let (mut budget, mut fits) = (PageBudget::for_providers(), true);
        // The same test as in `visible`, once for all postings.
        let sees_all = matches!(viewer.sees, Sees::Everything);
        postings.retain(|posting| {
            let Some((record, file)) = self.posting(*posting) else { return false };
            if !sees_all && !self.audiences.admits(file.audience(), &viewer.sees) {
                return false;
            }
            if viewer.reaches(record).is_none() {
                // The general path lists users that are away.
                fits &= self.away_user(posting.peer_id(), record).is_none();
                return false;
            }
            let user = record.user().map_or(0, |user| user.len());
            let quic = record.quic().map_or(0, |_| QUIC);
            let key = record.key().map_or(0, |_| KEY);
            let said = self.said(*posting, file).map_or(0, str::len);
            fits &= budget.takes(name.len() + said + user + quic + key);
            std::hint::black_box(file.packed);
            true
        });
        fits
    }

    fn posting(&self, posting: Posting) -> Option<(&PeerRecord, &FileRecord)> {
        let record = self.peers.get(posting.peer as usize)?;
        Some((record, record.files.get(posting.file_index as usize)?))
    }

    fn said(&self, posting: Posting, file: &FileRecord) -> Option<&str> {
        if self.descriptions.is_empty() {
            None
        } else {
            self.description(posting.peer_id(), file.name).map(|text| &**text)
        }
    }

    pub(super) fn provider_ref<'a>(
        &'a self,
        posting: Posting,
        name: &'a RelativeName,
    ) -> Option<ProviderRef<'a>> {
        let (record, file) = self.posting(posting)?;
        let held = FileRef {
            name,
            size: file.size(),
            root: self.root_of(file),
            partial: file.partial(),
            description: self.said(posting, file),
            user: record.user().map(|user| &**user),
            speaks: record.protocol().legacy(),
        };
        Some(ProviderRef {
            peer: &record.address,
            formatted: record.formatted.bytes(),
            file: held,
            quic: record.quic(),
            key: record.key(),
        })
    }
}

impl<'a> FirstPage<'a> {
    /// The providers, in the order of this rotation.
    pub fn providers(&self) -> impl Iterator<Item = ProviderRef<'a>> {
        let FirstPage { index, name, postings, first } = *self;
        let (before, from) = postings.split_at(first);
        from.iter().chain(before).filter_map(move |posting| index.provider_ref(*posting, name))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::index::{About, Reach};
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::account::{Line, Publication, UserName};
    use crate::protocol::types::ids::{ContentHash, SessionId};
    use crate::protocol::types::legacy_profile::LegacyProfile;

    fn here() -> Viewer {
        let (ip, sees) = (IpAddr::V4(Ipv4Addr::LOCALHOST), Sees::Everything);
        Viewer { ip, reach: Reach::NATIVE, sees }
    }

    /// Peers of all kinds; some are unreachable from elsewhere or have left.
    fn filled(providers: u16) -> Index {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        let what = Publication {
            file: Line::new("a").unwrap(),
            description: Line::new("her own").unwrap(),
        };
        index.publish(&ana, &what).unwrap();
        index.user_online(
            &ana,
            SocketAddr::from(([192, 0, 2, 9], 9)),
            LegacyProfile::Uc3m2020.into(),
        );
        for number in 0..providers {
            let address = if number % 3 == 0 {
                SocketAddr::from(([127, 0, 0, 1], 100 + number))
            } else {
                SocketAddr::from(([192, 0, 2, 1], 100 + number))
            };
            let peer = index.create_peer(address, SessionId([0; 16]));
            let root = (number % 2 == 0).then_some(ContentHash([7; 32]));
            let file = FileEntry {
                root,
                partial: number % 5 == 0,
                ..FileEntry::new(RelativeName::new("a").unwrap(), number.into())
            };
            index.add(peer, &file).unwrap();
            index.make_visible(peer);
            if number == 4 {
                index.set_about(peer, About { user: Some(ana.clone()), ..About::default() });
            }
            if number == 7 {
                index.remove_peer(peer);
            }
        }
        index
    }

    #[test]
    fn the_fast_path_lists_the_same_providers_in_the_same_order() {
        for providers in [0, 1, 2, 9, 62, 63, 64, 90] {
            let (mut short, mut long) = (filled(providers), filled(providers));
            for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 77)] {
                let viewer = Viewer { ip: IpAddr::V4(ip), ..here() };
                for name in
                    ["a", "nobody has it", "a", "a"].map(|text| RelativeName::new(text).unwrap())
                {
                    let usual = |index: &mut Index| index.search(&name, None, &viewer).unwrap();
                    let wanted = usual(&mut long);
                    match short.first_page(&name, &viewer) {
                        Some(page) => {
                            let found: Vec<String> = page
                                .providers()
                                .map(|provider| {
                                    format!(
                                        "{} {:?} {:?}",
                                        provider.peer, provider.file, provider.quic
                                    )
                                })
                                .collect();
                            let as_refs = wanted
                                .entries
                                .iter()
                                .map(crate::protocol::response::Provider::by_ref);
                            let wanted: Vec<String> = as_refs
                                .map(|provider| {
                                    format!(
                                        "{} {:?} {:?}",
                                        provider.peer, provider.file, provider.quic
                                    )
                                })
                                .collect();
                            assert_eq!(found, wanted, "{providers} from {ip}");
                        }
                        None => assert_eq!(usual(&mut short), wanted, "{providers} from {ip}"),
                    }
                }
            }
        }
        let mut index = filled(9);
        let viewer = here();
        assert!(
            index.first_page(&RelativeName::new("a").unwrap(), &viewer).is_some()
                && filled(90).first_page(&RelativeName::new("a").unwrap(), &viewer).is_none()
        );
    }
}
