//! The answer that is asked for most, without a detour: the first page of who has a name, read straight from where it stands.

use crate::index::pages::Room;
use crate::index::shares::Share;
use crate::index::{Asker, Index, Member, Owned};
use crate::message::limits;
use crate::message::relative::RelativeName;
use crate::message::reply::{HeldRef, HolderRef};

/// All who have a name, where one answer holds them.
pub struct FirstPage<'a> {
    index: &'a Index,
    name: &'a RelativeName,
    /// Those who can be reached.
    shares: &'a [Share],
    /// Whose turn it is to be the first.
    first: usize,
}

impl Index {
    /// All who have the file of this exact name and can be reached by an asker of the native protocol, as [`Index::search`] would name them; `None` where one
    /// page does not hold them, and then nobody's turn has come.
    pub fn first_page<'a>(&'a mut self, name: &'a RelativeName, asker: &Asker) -> Option<FirstPage<'a>> {
        let mut shares = std::mem::take(&mut self.few);
        let fits = self.reachable(name, asker, &mut shares);
        self.few = shares;
        if !fits {
            return None;
        }
        self.turn += 1;
        let index: &'a Index = self;
        let first = usize::try_from(index.turn).unwrap_or(0) % index.few.len().max(1);
        Some(FirstPage { index, name, shares: &index.few, first })
    }

    /// Notes who has this name and can be reached. False when they are too many, or too much is said of them, for one page.
    fn reachable(&self, name: &RelativeName, asker: &Asker, shares: &mut Vec<Share>) -> bool {
        shares.clear();
        let Some(id) = self.names.find(name) else { return true };
        if !self.names.few(id, limits::HOLDERS, shares) {
            return false;
        }
        // Each of them is far from the others in memory: looked at by themselves, they are fetched side by side.
        let mut size = 0;
        shares.retain(|share| {
            let Some((member, owned)) = self.share(*share) else { return false };
            size |= owned.size;
            asker.reaches(member).is_some()
        });
        std::hint::black_box(size);
        let mut room = Room::for_holders();
        shares.iter().filter_map(|share| self.holder_ref(*share, name)).all(|holder| room.takes_holder(&holder))
    }

    fn share(&self, share: Share) -> Option<(&Member, &Owned)> {
        let member = self.members.get(share.member as usize)?;
        Some((member, member.files.get(share.own as usize)?))
    }

    fn holder_ref<'a>(&'a self, share: Share, name: &'a RelativeName) -> Option<HolderRef<'a>> {
        let (member, owned) = self.share(share)?;
        let description = if self.descriptions.is_empty() { None } else { self.description(share.who(), owned.name) };
        let held = HeldRef {
            name,
            size: owned.size(),
            root: owned.root.and_then(|id| self.roots.get(id.number())),
            partial: owned.partial(),
            description: description.map(|text| &**text),
            user: member.user().map(|user| &**user),
            speaks: member.speaks(),
        };
        let quic = member.about.as_deref().and_then(|about| about.quic);
        Some(HolderRef { peer: &member.address, spelled: member.spelled.bytes(), held, quic })
    }
}

impl<'a> FirstPage<'a> {
    /// Them, the one whose turn it is before the others.
    pub fn holders(&self) -> impl Iterator<Item = HolderRef<'a>> {
        let FirstPage { index, name, shares, first } = *self;
        let (before, from) = shares.split_at(first);
        from.iter().chain(before).filter_map(move |share| index.holder_ref(*share, name))
    }
}

impl Share {
    fn who(self) -> crate::index::MemberId {
        crate::index::MemberId(self.member as usize)
    }
}
