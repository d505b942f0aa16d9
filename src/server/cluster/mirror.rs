//! The own members' files on their way to the engine.

use std::time::Instant;

use crate::cluster::blob::StreamItem;
use crate::cluster::keys::HolderEntry;
use crate::cluster::mirror::MirrorChange;
use crate::cluster::reclaims::ClaimedAddress;
use crate::cluster::record;
use crate::cluster::slots::{SlotSet, slot_of};
use crate::index::journal::IndexChange;
use crate::index::{Index, PeerId};
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::server::Server;
use crate::server::cluster::{ClusterAsk, MirroredPeer, ServerCluster};

pub(super) struct AssertWalk {
    pub(super) slots: SlotSet,
    pub(super) peers: Vec<PeerId>,
    /// The peer under way, with its number and the files that are left.
    pub(super) current: Option<(PeerId, u32, usize)>,
}

impl ServerCluster {
    /// Push a file of a member, if its key has one of these slots.
    pub(super) fn push(
        &mut self,
        index: &mut Index,
        change: &IndexChange,
        slots: Option<&SlotSet>,
        is_new: bool,
        now: Instant,
    ) {
        let Some(id) = self.index.member(change.member) else { return };
        let keys = self.index.keys();
        let key = keys.file(&change.key);
        if slots.is_some_and(|slots| !slots.contains(slot_of(&key))) {
            return;
        }
        let file = index.mirrored_file(change.peer, change.member, &change.key);
        let member = self.members.get(&change.peer).filter(|member| member.member == change.member);
        let mut entry = HolderEntry {
            id,
            address: member.map_or(change.address, |member| member.address),
            size: None,
            partial: false,
            more: index.about(change.peer).is_some(),
            root: change.root,
            name: None,
        };
        let (mirrored, event) = match (file, &change.key) {
            (Some(file), wanted) if member.is_some() => {
                let by_name = matches!(wanted, Selector::Name(_));
                (entry.size, entry.partial) = (file.size, file.partial);
                entry.root = file.root.filter(|_| by_name);
                entry.name = (!by_name).then(|| file.name.clone());
                let encoded = entry.encode();
                let mirrored = if is_new {
                    MirrorChange::Add { key, entry: encoded }
                } else {
                    MirrorChange::Replace { key, entry: encoded }
                };
                (mirrored, by_name.then_some(StreamItem::Arrived(entry, file.name)))
            }
            (_, Selector::Name(name)) => {
                index.announce_again(name);
                let event = StreamItem::Departed(entry, name.clone());
                (MirrorChange::Remove { key, id }, Some(event))
            }
            (_, Selector::Root(_)) => (MirrorChange::Remove { key, id }, None),
        };
        self.index.push(mirrored, now);
        // What is mirrored again is no event.
        if let Some(event) = event.filter(|_| slots.is_none()) {
            if let StreamItem::Arrived(_, name) = &event
                && index.announce(name)
            {
                self.index.announce(&StreamItem::Name(name.clone()));
            }
            self.index.announce(&event);
        }
    }

    /// Push all of a file: its name, and its content where this file stands for the content.
    pub(super) fn push_file(
        &mut self,
        index: &mut Index,
        (peer, member, place): (PeerId, u32, usize),
        slots: Option<&SlotSet>,
        now: Instant,
    ) {
        let (Some(file), Some(address)) = (index.file_at(peer, place), index.address(peer)) else {
            return;
        };
        let is_new = slots.is_none();
        let by_root = file.root.map(Selector::Root).filter(|key| {
            index.mirrored_file(peer, member, key).is_some_and(|best| best.name == file.name)
        });
        for key in by_root.into_iter().chain([Selector::Name(file.name)]) {
            let change = IndexChange { peer, member, key, address, root: file.root };
            self.push(index, &change, slots, is_new, now);
        }
    }

    /// Push the record of a member.
    pub(super) fn push_record(
        &mut self,
        index: &mut Index,
        peer: PeerId,
        slots: Option<&SlotSet>,
        now: Instant,
    ) {
        self.push_presence(index, peer, slots, now);
        let (Some(member), Some(about)) = (self.members.get(&peer), index.about(peer)) else {
            return;
        };
        let Some(id) = self.index.member(member.member) else { return };
        let key = self.index.keys().member(id);
        if slots.is_none_or(|slots| slots.contains(slot_of(&key))) {
            self.index.push(MirrorChange::Set { key, fields: record::fields(about) }, now);
        }
    }

    /// A peer has left: its record and its address are free. The index notes its files.
    pub(super) fn left(&mut self, peer: PeerId, now: Instant) {
        let Some(member) = self.members.remove(&peer) else { return };
        self.numbers.remove(&member.member);
        self.drop_presence(member, now);
        let Some(id) = self.index.member(member.member) else { return };
        // All servers hide the member at once, while the removals are still on their way.
        self.index.announce(&StreamItem::Gone(id));
        let key = self.index.keys().member(id);
        self.index.push(MirrorChange::Delete { key }, now);
        self.index.release(member.address, id, member.session, now);
    }

    /// Claim the address of a member again, if its key has one of these slots.
    pub(super) fn reclaim(&mut self, peer: PeerId, slots: &SlotSet, now: Instant) {
        let Some(MirroredPeer { member, address, session }) = self.members.get(&peer).copied()
        else {
            return;
        };
        let Some(id) = self.index.member(member) else { return };
        if slots.contains(slot_of(&self.index.keys().address(address))) {
            let ticket = self.index.reclaim(ClaimedAddress { address, id, session }, now);
            self.asked.insert(ticket, ClusterAsk::Reclaim(peer));
        }
    }

    pub(super) fn walk(&mut self, index: &mut Index, now: Instant) {
        let most = self.changes.walking.left(now);
        let mut budget = most;
        while budget > 0
            && self.index.has_room()
            && let Some(mut join) = self.changes.joins.pop_front()
        {
            while budget > 0 && join.left > 0 {
                budget -= 1;
                join.left -= 1;
                self.push_file(index, (join.peer, join.member, join.left), None, now);
            }
            if join.left > 0 {
                self.changes.joins.push_front(join);
                break;
            }
            self.push_record(index, join.peer, None, now);
            self.await_engine(join.request, join.answer, true, now);
        }
        while budget > 0
            && self.index.has_room()
            && let Some(mut assertion) = self.assertion.take()
        {
            budget -= 1;
            if assertion.current.is_none() {
                assertion.current = loop {
                    let Some(peer) = assertion.peers.pop() else { break None };
                    if let Some(member) = self.members.get(&peer).map(|member| member.member) {
                        self.push_record(index, peer, Some(&assertion.slots), now);
                        self.reclaim(peer, &assertion.slots, now);
                        let files = usize::try_from(index.count(peer)).unwrap_or(0);
                        break Some((peer, member, files));
                    }
                };
                if assertion.current.is_none() {
                    self.index.walked();
                    break;
                }
            }
            if let Some((peer, member, left)) = &mut assertion.current {
                match left.checked_sub(1) {
                    Some(place) => {
                        *left = place;
                        let file = (*peer, *member, place);
                        self.push_file(index, file, Some(&assertion.slots), now);
                    }
                    None => assertion.current = None,
                }
            }
            self.assertion = Some(assertion);
        }
        self.changes.walking.spend(most - budget);
    }
}

impl Server {
    /// Hand the changes of the index to the mirror.
    pub(super) fn mirror_changes(&mut self, io: &Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        for change in self.index.take_changes(usize::MAX) {
            cluster.push(&mut self.index, &change, None, false, io.now);
        }
    }

    /// A mirrored peer has left.
    pub(in crate::server) fn member_left(&mut self, peer: PeerId) {
        if let Some(cluster) = &mut self.cluster {
            cluster.changes.departed.push(peer);
        }
    }
}
