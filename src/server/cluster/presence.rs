//! The members of each user, and the lists of all members, for LIST_USERS and FIND_USER at other
//! servers.

use std::time::Instant;

use crate::cluster::keys::HolderEntry;
use crate::cluster::mirror::MirrorChange;
use crate::cluster::slots::{SlotSet, slot_of};
use crate::index::{Index, PeerId};
use crate::protocol::types::account::UserName;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::Server;
use crate::server::cluster::{MirroredPeer, ServerCluster};

/// Files an iteration whose entries are pushed again: about a millisecond.
const RENEWED_FILES: usize = 500;

impl ServerCluster {
    /// Push the entries of a member in the lists of members. Without an account the address is the
    /// name of the user.
    pub(super) fn push_presence(
        &mut self,
        index: &Index,
        peer: PeerId,
        slots: Option<&SlotSet>,
        now: Instant,
    ) {
        let Some(member) = self.members.get(&peer).copied() else { return };
        let Some(id) = self.index.member(member.member) else { return };
        let about = index.about(peer);
        let user = about.and_then(|about| about.user.clone());
        let user = user.unwrap_or_else(|| UserName::of_address(member.address));
        let Ok(name) = RelativeName::new(&user) else { return };
        self.accounts.present.insert(member.member, user.clone());
        let entry = HolderEntry {
            id,
            address: member.address,
            size: None,
            partial: false,
            more: about.is_some(),
            root: None,
            name: Some(name),
        };
        let entry = entry.encode();
        let keys = self.index.keys();
        let part = keys.part_of(&member.member.to_be_bytes());
        for key in [keys.presence(&user), keys.members(part)] {
            if slots.is_none_or(|slots| slots.contains(slot_of(&key))) {
                let entry = entry.clone();
                self.index.push(MirrorChange::Replace { key, entry }, now);
            }
        }
    }

    /// Remove the entries of a member that has left.
    pub(super) fn drop_presence(&mut self, member: MirroredPeer, now: Instant) {
        let Some(user) = self.accounts.present.remove(&member.member) else { return };
        let Some(id) = self.index.member(member.member) else { return };
        let keys = self.index.keys();
        let part = keys.part_of(&member.member.to_be_bytes());
        for key in [keys.presence(&user), keys.members(part)] {
            self.index.push(MirrorChange::Remove { key, id }, now);
        }
    }
}

impl ServerCluster {
    /// Push the entries of members whose record is new, a slice an iteration.
    pub(super) fn walk_renewed(&mut self, index: &mut Index, now: Instant) {
        if self.accounts.renewed.is_empty() {
            return;
        }
        let (mut budget, all) = (RENEWED_FILES, SlotSet::all());
        while budget > 0
            && self.index.has_room()
            && let Some((peer, member, left)) = self.accounts.renewed.pop_front()
        {
            let is_same = self.members.get(&peer).is_some_and(|known| known.member == member);
            let slice = left.min(budget);
            budget -= slice;
            for place in (left - slice..left).rev().filter(|_| is_same) {
                self.push_file(index, (peer, member, place), Some(&all), now);
            }
            if is_same && left > slice {
                self.accounts.renewed.push_front((peer, member, left - slice));
            }
        }
    }
}

impl Server {
    /// The user of a mirrored member has changed.
    pub(in crate::server) fn member_user_changed(&mut self, peer: PeerId, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(member) = cluster.members.get(&peer).copied() else { return };
        cluster.drop_presence(member, now);
        cluster.push_record(&mut self.index, peer, None, now);
        let files = usize::try_from(self.index.count(peer)).unwrap_or(0);
        cluster.accounts.renewed.push_back((peer, member.member, files));
    }
}
