//! The most frequent response without a detour: the first page of providers of a name, read straight from the postings.

use crate::index::pagination::{PageBudget, QUIC};
use crate::index::postings::Posting;
use crate::index::{FileRecord, Index, PeerRecord, Viewer};
use crate::limits;
use crate::protocol::response::{FileRef, ProviderRef};
use crate::protocol::types::relative_path::RelativeName;

/// All who have a name, where one answer holds them.
pub struct FirstPage<'a> {
    index: &'a Index,
    name: &'a RelativeName,
    /// Those who can be reached.
    postings: &'a [Posting],
    /// Whose turn it is to be the first.
    first: usize,
}

impl Index {
    /// All who have the file of this exact name and can be reached by an asker of the native protocol, as [`Index::search`] would name them; `None` where one
    /// page does not hold them, and then nobody's turn has come.
    pub fn first_page<'a>(
        &'a mut self,
        name: &'a RelativeName,
        asker: &Viewer,
    ) -> Option<FirstPage<'a>> {
        let mut shares = std::mem::take(&mut self.few);
        let fits = self.reachable(name, asker, &mut shares);
        self.few = shares;
        if !fits {
            return None;
        }
        self.iteration += 1;
        let index: &'a Index = self;
        let first = usize::try_from(index.iteration).unwrap_or(0) % index.few.len().max(1);
        Some(FirstPage { index, name, postings: &index.few, first })
    }

    /// Notes who has this name and can be reached. False when they are too many, or too much is said of them, for one page.
    fn reachable(&self, name: &RelativeName, asker: &Viewer, shares: &mut Vec<Posting>) -> bool {
        shares.clear();
        let Some(id) = self.names.find(name) else { return true };
        if !self.names.few(id, limits::HOLDERS, shares) {
            return false;
        }
        // Each of them is far from the others in memory: looked at by themselves, they are fetched side by side.
        let (mut room, mut fits) = (PageBudget::for_holders(), true);
        shares.retain(|share| {
            let Some((member, owned)) = self.share(*share) else { return false };
            if asker.reaches(member).is_none() {
                // Who is away is named by the usual way.
                fits &= self.who_is_away(share.who(), member).is_none();
                return false;
            }
            let user = member.user().map_or(0, |user| user.len());
            let quic = member.quic().map_or(0, |_| QUIC);
            fits &=
                room.takes(name.len() + self.said(*share, owned).map_or(0, str::len) + user + quic);
            std::hint::black_box(owned.size);
            true
        });
        fits
    }

    fn share(&self, share: Posting) -> Option<(&PeerRecord, &FileRecord)> {
        let member = self.peers.get(share.member as usize)?;
        Some((member, member.files.get(share.own as usize)?))
    }

    fn said(&self, share: Posting, owned: &FileRecord) -> Option<&str> {
        if self.descriptions.is_empty() {
            None
        } else {
            self.description(share.who(), owned.name).map(|text| &**text)
        }
    }

    fn holder_ref<'a>(&'a self, share: Posting, name: &'a RelativeName) -> Option<ProviderRef<'a>> {
        let (member, owned) = self.share(share)?;
        let held = FileRef {
            name,
            size: owned.size(),
            root: self.root_of(owned),
            partial: owned.partial(),
            description: self.said(share, owned),
            user: member.user().map(|user| &**user),
            speaks: member.speaks(),
        };
        Some(ProviderRef {
            peer: &member.address,
            formatted: member.formatted.bytes(),
            file: held,
            quic: member.quic(),
        })
    }
}

impl<'a> FirstPage<'a> {
    /// Them, the one whose turn it is before the others.
    pub fn holders(&self) -> impl Iterator<Item = ProviderRef<'a>> {
        let FirstPage { index, name, postings: shares, first } = *self;
        let (before, from) = shares.split_at(first);
        from.iter().chain(before).filter_map(move |share| index.holder_ref(*share, name))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, SocketAddr};

    use super::*;
    use crate::index::About;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::account::{Line, Publication, UserName};
    use crate::protocol::types::ids::{ContentHash, SessionId};
    use crate::protocol::types::legacy_profile::LegacyProfile;

    /// Members of all kinds, some of which can't be reached from elsewhere or have left.
    fn filled(holders: u16) -> Index {
        let mut index = Index::new(1);
        let ana = UserName::new("ana").unwrap();
        let what = Publication {
            file: Line::new("a").unwrap(),
            description: Line::new("her own").unwrap(),
        };
        index.publish(&ana, &what).unwrap();
        index.appear(&ana, SocketAddr::from(([192, 0, 2, 9], 9)), LegacyProfile::Uc3m2020);
        for number in 0..holders {
            let address = if number % 3 == 0 {
                SocketAddr::from(([127, 0, 0, 1], 100 + number))
            } else {
                SocketAddr::from(([192, 0, 2, 1], 100 + number))
            };
            let who = index.create_peer(address, SessionId([0; 16]));
            let root = (number % 2 == 0).then_some(ContentHash([7; 32]));
            let file = FileEntry {
                root,
                partial: number % 5 == 0,
                ..FileEntry::new(RelativeName::new("a").unwrap(), number.into())
            };
            index.add(who, &file).unwrap();
            index.make_visible(who);
            if number == 4 {
                index.introduce(who, About { user: Some(ana.clone()), ..About::default() });
            }
            if number == 7 {
                index.remove_peer(who);
            }
        }
        index
    }

    #[test]
    fn the_short_way_names_the_same_holders_in_the_same_order() {
        for holders in [0, 1, 2, 9, 62, 63, 64, 90] {
            let (mut short, mut long) = (filled(holders), filled(holders));
            for ip in [Ipv4Addr::LOCALHOST, Ipv4Addr::new(192, 0, 2, 77)] {
                let asker = Viewer { ip: IpAddr::V4(ip), profile: None };
                for name in
                    ["a", "nobody has it", "a", "a"].map(|text| RelativeName::new(text).unwrap())
                {
                    let usual = |index: &mut Index| index.search(&name, None, &asker).unwrap();
                    let wanted = usual(&mut long);
                    match short.first_page(&name, &asker) {
                        Some(page) => {
                            let found: Vec<String> = page
                                .holders()
                                .map(|holder| {
                                    format!("{} {:?} {:?}", holder.peer, holder.file, holder.quic)
                                })
                                .collect();
                            let as_refs = wanted
                                .entries
                                .iter()
                                .map(crate::protocol::response::Provider::by_ref);
                            let wanted: Vec<String> = as_refs
                                .map(|holder| {
                                    format!("{} {:?} {:?}", holder.peer, holder.file, holder.quic)
                                })
                                .collect();
                            assert_eq!(found, wanted, "{holders} from {ip}");
                        }
                        None => assert_eq!(usual(&mut short), wanted, "{holders} from {ip}"),
                    }
                }
            }
        }
        let mut index = filled(9);
        let asker = Viewer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), profile: None };
        assert!(
            index.first_page(&RelativeName::new("a").unwrap(), &asker).is_some()
                && filled(90).first_page(&RelativeName::new("a").unwrap(), &asker).is_none()
        );
    }
}
