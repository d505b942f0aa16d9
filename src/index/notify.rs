//! Events of the index for subscribers.

use crate::index::audience::{AudienceChange, AudienceId};
use crate::index::key_table::KeyId;
use crate::index::subscriptions::{Gone, IndexEvent, PendingEvent, SubscriptionId};
use crate::index::{FileRecord, Index, PeerId, Sees, Viewer};
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Provider;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

impl Index {
    /// Subscribe to files that appear or disappear from now on.
    ///
    /// # Errors
    /// `busy` with too many subscriptions, `bad_request` without a word to search for.
    pub fn subscribe(&mut self, what: &SubscriptionFilter) -> Result<SubscriptionId, ErrorReply> {
        self.has_room(0)?;
        self.subscriptions.add(what)
    }

    /// End a subscription.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(id);
    }

    /// Subscriptions to a file at another server.
    pub fn subscribers_of(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
    ) -> Vec<SubscriptionId> {
        if self.subscriptions.is_empty() {
            return Vec::new();
        }
        self.subscriptions.matching(name, root)
    }

    /// True if [`Index::take_events`] has events to return.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.subscriptions.pending.is_empty()
            || !self.subscriptions.gone.is_empty()
            || self.subscriptions.missed
    }

    /// Take pending events, until `effort` table look-ups are spent.
    pub fn take_events(&mut self, mut effort: usize) -> Vec<(SubscriptionId, IndexEvent)> {
        let mut events = Vec::new();
        if std::mem::take(&mut self.subscriptions.missed) {
            events.extend(self.subscriptions.ids().map(|id| (id, IndexEvent::Missed)));
        }
        while effort > 0 {
            effort = effort.saturating_sub(self.subscriptions.cost());
            if let Some((id, Gone { address, name, change })) = self.subscriptions.next_gone() {
                events.push((id, IndexEvent::Gone(address, name, change)));
                continue;
            }
            let Some(pending) = self.subscriptions.pending.pop_front() else { break };
            let (peer, file_index) = match pending {
                PendingEvent::File { peer, name } => match self.names.of_peer(name, peer.slot()) {
                    Some(posting) => (peer, posting.file_index as usize),
                    None => continue,
                },
                PendingEvent::Member { peer, number, left } => {
                    let files = self
                        .peers
                        .get(peer.0)
                        .filter(|record| record.number == number && record.visible)
                        .map_or(0, |record| record.files.len());
                    let Some(file_index) = left.min(files).checked_sub(1) else { continue };
                    self.subscriptions.pending.push_front(PendingEvent::Member {
                        peer,
                        number,
                        left: file_index,
                    });
                    (peer, file_index)
                }
            };
            self.appeared(peer, file_index, &mut events);
        }
        events
    }

    /// A file of a peer is new or has changed.
    pub(super) fn note_added(&mut self, peer: PeerId, name: KeyId, visible: bool) {
        if visible {
            self.subscriptions.note(PendingEvent::File { peer, name });
        }
    }

    /// A file of a peer is about to be removed.
    pub(super) fn note_dropped(&mut self, peer: PeerId, file_index: u32) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(record) = self.peers.get(peer.0).filter(|record| record.number > 0) else {
            return;
        };
        let Some(file) = record.files.get(file_index as usize).copied() else { return };
        // A peer that joined again at this address still has the file.
        let heir = self.by_address.get(&record.address).filter(|heir| **heir != peer);
        let after = heir.and_then(|heir| {
            let posting = self.names.of_peer(file.name, heir.slot())?;
            Some(self.peers.get(heir.0)?.files.get(posting.file_index as usize)?.audience())
        });
        self.note_gone(peer, file_index, file.audience(), after);
    }

    /// The audience of a file has changed.
    pub(super) fn note_audience(&mut self, peer: PeerId, file_index: u32, before: AudienceId) {
        if self.subscriptions.is_empty() {
            return;
        }
        let record = self.peers.get(peer.0);
        let after = record.and_then(|record| record.files.get(file_index as usize));
        let Some(after) = after.map(FileRecord::audience) else { return };
        self.note_gone(peer, file_index, before, Some(after));
    }

    /// A file disappears for the viewers of `before` that are not viewers of `after`.
    fn note_gone(
        &mut self,
        peer: PeerId,
        file_index: u32,
        before: AudienceId,
        after: Option<AudienceId>,
    ) {
        if after == Some(before) {
            return;
        }
        let Some(record) = self.peers.get(peer.0) else { return };
        let Some(file) = record.files.get(file_index as usize).copied() else { return };
        let Some(name) = self.names.get(file.name.number()).map(RelativeName::known) else {
            return;
        };
        let root = self.root_of(&file).copied();
        let audience = |id| self.audiences.get(id).clone();
        let change = AudienceChange { before: audience(before), after: after.map(audience) };
        self.subscriptions.note_gone(record.address, &name, root, &change);
    }

    /// Add an event for each subscription to this file.
    fn appeared(
        &mut self,
        peer: PeerId,
        file_index: usize,
        events: &mut Vec<(SubscriptionId, IndexEvent)>,
    ) {
        let Some(record) = self.peers.get(peer.0).filter(|record| record.visible) else { return };
        let Some(file) = record.files.get(file_index).copied() else { return };
        let root = self.root_of(&file).copied();
        let Some(name) = self.names.get(file.name.number()).map(RelativeName::known) else {
            return;
        };
        let subscribers = self.subscriptions.matching(&name, root);
        if subscribers.is_empty() {
            return;
        }
        let entry = self.entry(peer, &file, Some(&name));
        events.extend(
            subscribers.into_iter().map(|id| (id, IndexEvent::Appeared(peer, entry.clone()))),
        );
    }

    /// The provider of a file as shown to this viewer; `None` if unreachable, or the file hidden.
    #[must_use]
    pub fn as_provider(&self, peer: PeerId, file: FileEntry, viewer: &Viewer) -> Option<Provider> {
        let record = self.peers.get(peer.0)?;
        if !matches!(viewer.sees, Sees::Everything) {
            let posting = self.names.of_peer(self.names.find(&file.name)?, peer.slot())?;
            self.visible(posting, viewer)?;
        }
        Some(record.as_provider(file, viewer.reaches(record)?))
    }
}
