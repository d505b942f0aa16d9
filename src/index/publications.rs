//! Publications of users. Each user with publications has a peer record.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::index::memory;
use crate::index::postings::Posting;
use crate::index::{About, Index, PeerId, PeerRecord, Viewer};
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Away;
use crate::protocol::types::account::{Line, Publication, Published, UserName};
use crate::protocol::types::address::FormattedAddr;
use crate::protocol::types::ids::SessionId;
use crate::protocol::types::peer_protocol::PeerProtocol;
use crate::protocol::types::relative_path::RelativeName;

impl Index {
    /// Add a publication of a user, for all viewers.
    ///
    /// # Errors
    /// `too_large` at the limit of files of a peer, `busy` at the limit of memory.
    pub fn publish(&mut self, user: &UserName, what: &Publication) -> Result<(), ErrorReply> {
        // Only the account store knows publications without a valid name.
        let Some(name) = what.file.relative() else { return Ok(()) };
        self.has_room(2 * memory::of_file(name.len() + what.description.len()))?;
        let peer = self.publication_peer(user);
        self.add_public(peer, &FileEntry::name_only(name.clone()))?;
        if let Some(name_key) = self.names.find(&name).filter(|_| !what.description.is_empty()) {
            self.budget.takes(memory::of_file(name.len() + what.description.len()));
            self.descriptions.set(peer, name_key, &name, &what.description);
            self.first_pages.encoded.drop_name(name_key);
        }
        Ok(())
    }

    /// Remove a publication of a user.
    pub fn withdraw(&mut self, user: &UserName, file: &Published) {
        if let (Some(peer), Some(name)) = (self.users.get(user), file.relative()) {
            self.remove(*peer, &name);
        }
    }

    /// Show a user at the address of a legacy client.
    pub fn user_online(&mut self, user: &UserName, address: SocketAddr, protocol: PeerProtocol) {
        let peer = self.publication_peer(user);
        self.user_offline(user);
        if let Some(record) = self.peers.get_mut(peer.0) {
            self.first_pages.encoded.peer_changed(peer);
            (record.address, record.formatted) = (address, FormattedAddr::of(&address));
            record.extra =
                Some(Box::new(About { user: Some(user.clone()), protocol, ..About::default() }));
        }
        self.make_visible(peer);
    }

    /// Hide a user of a legacy client; the publications stay.
    pub fn user_offline(&mut self, user: &UserName) {
        if let Some(peer) = self.users.get(user)
            && let Some(record) = self.peers.get_mut(peer.0)
        {
            if record.visible {
                self.totals.visible -= record.files.len();
                count_present(&mut self.present, Some(user), false);
            }
            self.first_pages.encoded.peer_changed(*peer);
            record.hide(*peer, &mut self.order, &mut self.by_address);
        }
    }

    /// Remove a user with all publications.
    pub fn delete_user(&mut self, user: &UserName) {
        if let Some(peer) = self.users.remove(user) {
            self.remove_peer(peer);
        }
    }

    /// The peer record with the publications of a user.
    fn publication_peer(&mut self, user: &UserName) -> PeerId {
        if let Some(peer) = self.users.get(user) {
            return *peer;
        }
        let peer = self.create_peer(SocketAddr::from(([0, 0, 0, 0], 0)), SessionId([0; 16]));
        self.set_about(peer, About { user: Some(user.clone()), ..About::default() });
        self.users.insert(user.clone(), peer);
        peer
    }

    /// The peer record of a user that is online with a legacy client.
    #[must_use]
    pub fn legacy_peer_of(&self, user: &UserName) -> Option<PeerId> {
        self.users
            .get(user)
            .copied()
            .filter(|peer| self.peers.get(peer.0).is_some_and(|record| record.visible))
    }

    /// A publication of a user without any visible peer. `None` otherwise, and for legacy viewers,
    /// whose protocols cannot express this.
    pub(super) fn away(&self, posting: Posting, viewer: &Viewer) -> Option<Away> {
        let (record, file) =
            self.visible(posting, viewer).filter(|_| viewer.reach.protocol.is_native())?;
        let peer = posting.peer_id();
        let user = self.away_user(peer, record)?.clone();
        let name = RelativeName::known(self.names.get(file.name.number())?);
        Some(Away { name, user, description: self.description(peer, file.name).cloned() })
    }

    /// The user of this publication record, if all peers of the user are away.
    pub(super) fn away_user<'a>(
        &self,
        peer: PeerId,
        record: &'a PeerRecord,
    ) -> Option<&'a UserName> {
        let user = record.user().filter(|_| !record.visible)?;
        (self.users.get(user) == Some(&peer) && !self.present.contains_key(user)).then_some(user)
    }

    /// True if the user has published this file.
    #[must_use]
    pub fn has_published(&self, user: &UserName, file: &Published) -> bool {
        let name = || self.names.find(&file.relative()?);
        self.users.get(user).is_some_and(|peer| {
            name().is_some_and(|name| self.names.of_peer(name, peer.slot()).is_some())
        })
    }

    /// The number of publications of a user in the index.
    #[must_use]
    pub fn publications(&self, user: &UserName) -> u64 {
        self.users.get(user).map_or(0, |peer| self.count(*peer))
    }

    /// A file of a peer as a publication; `None` if the name is too long, or the file hidden from
    /// this viewer.
    #[must_use]
    pub fn published(
        &self,
        peer: PeerId,
        file_index: usize,
        viewer: &Viewer,
    ) -> Option<Publication> {
        let file_index = u32::try_from(file_index).ok()?;
        let posting = Posting { peer: peer.slot(), partial: false, file_index };
        let (_, file) = self.visible(posting, viewer)?;
        let description = self.description(peer, file.name).cloned().or_else(|| Line::new(""))?;
        Some(Publication { file: Line::new(self.names.get(file.name.number())?)?, description })
    }
}

/// Count a visible peer of a user more or less.
pub(super) fn count_present(
    present: &mut BTreeMap<UserName, usize>,
    user: Option<&UserName>,
    is_more: bool,
) {
    let Some(user) = user else { return };
    let count = present.entry(user.clone()).or_default();
    debug_assert!(is_more || *count > 0, "each visible peer was counted");
    *count = if is_more { *count + 1 } else { count.saturating_sub(1) };
    if *count == 0 {
        present.remove(user);
    }
}
