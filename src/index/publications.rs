//! Publications of users, kept at a peer record of their own.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::index::memory;
use crate::index::{About, Index, PeerId, PeerRecord, Viewer};
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Away;
use crate::protocol::types::account::{Line, Publication, Published, UserName};
use crate::protocol::types::address::FormattedAddr;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

impl Index {
    /// A user has published this.
    ///
    /// # Errors
    /// `too_large` when the user has as many files as anybody may, `busy` when the memory of the index is full.
    pub fn publish(&mut self, user: &UserName, what: &Publication) -> Result<(), ErrorReply> {
        // What can't be a name here is known to the store alone.
        let Some(name) = what.file.relative() else { return Ok(()) };
        self.has_room(2 * memory::of_file(name.len() + what.description.len()))?;
        let who = self.member_of(user);
        self.add(who, &FileEntry::name_only(name.clone()))?;
        if let Some(claim) = self.names.find(&name).filter(|_| !what.description.is_empty()) {
            self.budget.takes(memory::of_file(name.len() + what.description.len()));
            self.descriptions.set(who, claim, &name, &what.description);
        }
        Ok(())
    }

    /// A user no longer publishes this.
    pub fn withdraw(&mut self, user: &UserName, file: &Published) {
        if let (Some(who), Some(name)) = (self.users.get(user), file.relative()) {
            self.remove(*who, &name);
        }
    }

    /// A user is there, by an old wire.
    pub fn appear(&mut self, user: &UserName, address: SocketAddr, speaks: LegacyProfile) {
        let who = self.member_of(user);
        self.disappear(user);
        if let Some(member) = self.peers.get_mut(who.0) {
            (member.address, member.formatted) = (address, FormattedAddr::of(&address));
            member.extra = Some(Box::new(About {
                user: Some(user.clone()),
                profile: Some(speaks),
                ..About::default()
            }));
        }
        self.make_visible(who);
    }

    /// A user of an old wire is away; what he has published is kept.
    pub fn disappear(&mut self, user: &UserName) {
        if let Some(who) = self.users.get(user)
            && let Some(member) = self.peers.get_mut(who.0)
        {
            if member.visible {
                self.visible -= member.files.len();
                count_present(&mut self.present, Some(user), false);
            }
            member.hide(*who, &mut self.order, &mut self.by_address);
        }
    }

    /// A user is no more, nor what he has published.
    pub fn forget_user(&mut self, user: &UserName) {
        if let Some(who) = self.users.remove(user) {
            self.remove_peer(who);
        }
    }

    /// The member that holds what a user has published.
    fn member_of(&mut self, user: &UserName) -> PeerId {
        if let Some(who) = self.users.get(user) {
            return *who;
        }
        let who = self.create_peer(SocketAddr::from(([0, 0, 0, 0], 0)), SessionId([0; 16]));
        self.introduce(who, About { user: Some(user.clone()), ..About::default() });
        self.users.insert(user.clone(), who);
        who
    }

    /// The member of a user who is there by an old wire.
    #[must_use]
    pub fn publisher(&self, user: &UserName) -> Option<PeerId> {
        self.users
            .get(user)
            .copied()
            .filter(|who| self.peers.get(who.0).is_some_and(|member| member.visible))
    }

    /// A file that a user has published, where neither he nor any peer of his is there; `None` for others, and on the old wires, which know no such thing.
    pub(super) fn away(&self, who: PeerId, own: u32, asker: &Viewer) -> Option<Away> {
        let member = self.peers.get(who.0).filter(|_| asker.profile.is_none())?;
        let user = self.who_is_away(who, member)?.clone();
        let owned = member.files.get(own as usize)?;
        let name = RelativeName::known(self.names.get(owned.name.number())?);
        Some(Away { name, user, description: self.description(who, owned.name).cloned() })
    }

    /// Whose publications a member holds, where that user is away.
    pub(super) fn who_is_away<'a>(
        &self,
        who: PeerId,
        member: &'a PeerRecord,
    ) -> Option<&'a UserName> {
        let user = member.user().filter(|_| !member.visible)?;
        (self.users.get(user) == Some(&who) && !self.present.contains_key(user)).then_some(user)
    }

    /// True when the user has published a file as this.
    #[must_use]
    pub fn has_published(&self, user: &UserName, file: &Published) -> bool {
        let name = || self.names.find(&file.relative()?);
        self.users.get(user).is_some_and(|who| {
            name().is_some_and(|name| self.names.of_member(name, who.slot()).is_some())
        })
    }

    /// File number `own` of a member, as a publication; `None` where its name is too long for one.
    #[must_use]
    pub fn published(&self, who: PeerId, own: usize) -> Option<Publication> {
        let owned = self.peers.get(who.0)?.files.get(own)?;
        let description = self.description(who, owned.name).cloned().or_else(|| Line::new(""))?;
        Some(Publication { file: Line::new(self.names.get(owned.name.number())?)?, description })
    }
}

/// Counts a visible member of a user more or less.
pub(super) fn count_present(
    present: &mut BTreeMap<UserName, usize>,
    user: Option<&UserName>,
    is_more: bool,
) {
    let Some(user) = user else { return };
    let count = present.entry(user.clone()).or_default();
    *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        present.remove(user);
    }
}
