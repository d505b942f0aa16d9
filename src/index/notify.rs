//! Events of the index for its subscribers.

use crate::index::key_table::KeyId;
use crate::index::subscriptions::{Gone, IndexEvent, PendingEvent, SubscriptionId};
use crate::index::{Index, PeerId, Viewer};
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Provider;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::relative_path::RelativeName;

impl Index {
    /// Somebody waits for this from now on; what is there already is no news.
    ///
    /// # Errors
    /// `busy` when too many wait, `bad_request` for words of which none is wanted.
    pub fn subscribe(&mut self, what: &SubscriptionFilter) -> Result<SubscriptionId, ErrorReply> {
        self.has_room(0)?;
        self.subscriptions.add(what)
    }

    /// He waits no longer.
    pub fn unsubscribe(&mut self, id: SubscriptionId) {
        self.subscriptions.remove(id);
    }

    /// True when something has happened of which [`Index::take_events`] did not tell yet.
    #[must_use]
    pub fn has_events(&self) -> bool {
        !self.subscriptions.pending.is_empty()
            || !self.subscriptions.gone.is_empty()
            || self.subscriptions.missed
    }

    /// What has happened, until `effort`, in looks at a table, is spent.
    pub fn take_events(&mut self, mut effort: usize) -> Vec<(SubscriptionId, IndexEvent)> {
        let mut news = Vec::new();
        if std::mem::take(&mut self.subscriptions.missed) {
            news.extend(self.subscriptions.ids().map(|id| (id, IndexEvent::Missed)));
        }
        while effort > 0 {
            effort = effort.saturating_sub(self.subscriptions.cost());
            if let Some((id, Gone { who, name })) = self.subscriptions.next_gone() {
                news.push((id, IndexEvent::Gone(who, name)));
                continue;
            }
            let Some(pending) = self.subscriptions.pending.pop_front() else { break };
            let (who, own) = match pending {
                PendingEvent::File { who, name } => match self.names.of_member(name, who.slot()) {
                    Some(share) => (who, share.own as usize),
                    None => continue,
                },
                PendingEvent::Member { who, number, left } => {
                    let files = self
                        .peers
                        .get(who.0)
                        .filter(|member| member.number == number && member.visible)
                        .map_or(0, |member| member.files.len());
                    let Some(own) = left.min(files).checked_sub(1) else { continue };
                    self.subscriptions.pending.push_front(PendingEvent::Member {
                        who,
                        number,
                        left: own,
                    });
                    (who, own)
                }
            };
            self.appeared(who, own, &mut news);
        }
        news
    }

    /// A file of a member is new, or something else is known of it.
    pub(super) fn note_added(&mut self, who: PeerId, name: KeyId, visible: bool) {
        if visible {
            self.subscriptions.note(PendingEvent::File { who, name });
        }
    }

    /// A file of a member is about to be dropped.
    pub(super) fn note_dropped(&mut self, who: PeerId, own: u32) {
        if self.subscriptions.is_empty() {
            return;
        }
        let Some(member) = self.peers.get(who.0).filter(|member| member.number > 0) else { return };
        let Some(owned) = member.files.get(own as usize).copied() else { return };
        // Who has joined again has it still.
        let heir = self.by_address.get(&member.address).filter(|heir| **heir != who);
        if heir.is_some_and(|heir| self.names.of_member(owned.name, heir.slot()).is_some()) {
            return;
        }
        let Some(name) = self.names.get(owned.name.number()).map(RelativeName::known) else {
            return;
        };
        let root = self.root_of(&owned).copied();
        self.subscriptions.note_gone(member.address, &name, root);
    }

    /// Tells those who wait for this file of a member that it is there.
    fn appeared(&mut self, who: PeerId, own: usize, news: &mut Vec<(SubscriptionId, IndexEvent)>) {
        let Some(member) = self.peers.get(who.0).filter(|member| member.visible) else { return };
        let Some(owned) = member.files.get(own).copied() else { return };
        let root = self.root_of(&owned).copied();
        let Some(name) = self.names.get(owned.name.number()).map(RelativeName::known) else {
            return;
        };
        let waiting = self.subscriptions.who_waits(&name, root);
        if waiting.is_empty() {
            return;
        }
        let entry = self.entry(who, &owned, Some(&name));
        news.extend(waiting.into_iter().map(|id| (id, IndexEvent::Appeared(who, entry.clone()))));
    }

    /// A member as this asker is shown it, with one of its files; `None` when he can't reach it.
    #[must_use]
    pub fn as_holder(&self, who: PeerId, file: FileEntry, asker: &Viewer) -> Option<Provider> {
        let member = self.peers.get(who.0)?;
        Some(member.holding(file, asker.reaches(member)?))
    }
}
