//! What the index tells those who wait for something.

use crate::index::claims::ClaimId;
use crate::index::watches::{Gone, News, Pending, WatchId};
use crate::index::{Asker, Index, MemberId};
use crate::message::refusal::Refusal;
use crate::message::relative::RelativeName;
use crate::message::reply::Holder;
use crate::message::request::FileEntry;
use crate::message::watched::Watched;

impl Index {
    /// Somebody waits for this from now on; what is there already is no news.
    ///
    /// # Errors
    /// `busy` when too many wait, `bad_request` for words of which none is wanted.
    pub fn watch(&mut self, what: &Watched) -> Result<WatchId, Refusal> {
        self.has_room(0)?;
        self.watches.add(what)
    }

    /// He waits no longer.
    pub fn unwatch(&mut self, id: WatchId) {
        self.watches.remove(id);
    }

    /// True when something has happened of which [`Index::news`] did not tell yet.
    #[must_use]
    pub fn has_news(&self) -> bool {
        !self.watches.pending.is_empty() || !self.watches.gone.is_empty() || self.watches.missed
    }

    /// What has happened, until `effort`, in looks at a table, is spent.
    pub fn news(&mut self, mut effort: usize) -> Vec<(WatchId, News)> {
        let mut news = Vec::new();
        if std::mem::take(&mut self.watches.missed) {
            news.extend(self.watches.ids().map(|id| (id, News::Missed)));
        }
        while effort > 0 {
            effort = effort.saturating_sub(self.watches.cost());
            if let Some((id, Gone { who, name })) = self.watches.next_gone() {
                news.push((id, News::Gone(who, name)));
                continue;
            }
            let Some(pending) = self.watches.pending.pop_front() else { break };
            let (who, own) = match pending {
                Pending::File { who, name } => match self.names.of_member(name, who.slot()) {
                    Some(share) => (who, share.own as usize),
                    None => continue,
                },
                Pending::Member { who, number, left } => {
                    let files =
                        self.members.get(who.0).filter(|member| member.number == number && member.visible).map_or(0, |member| member.files.len());
                    let Some(own) = left.min(files).checked_sub(1) else { continue };
                    self.watches.pending.push_front(Pending::Member { who, number, left: own });
                    (who, own)
                }
            };
            self.appeared(who, own, &mut news);
        }
        news
    }

    /// A file of a member is new, or something else is known of it.
    pub(super) fn note_added(&mut self, who: MemberId, name: ClaimId, visible: bool) {
        if visible {
            self.watches.note(Pending::File { who, name });
        }
    }

    /// A file of a member is about to be dropped.
    pub(super) fn note_dropped(&mut self, who: MemberId, own: u32) {
        if self.watches.is_empty() {
            return;
        }
        let Some(member) = self.members.get(who.0).filter(|member| member.number > 0) else { return };
        let Some(owned) = member.files.get(own as usize).copied() else { return };
        // Who has joined again has it still.
        let heir = self.by_address.get(&member.address).filter(|heir| **heir != who);
        if heir.is_some_and(|heir| self.names.of_member(owned.name, heir.slot()).is_some()) {
            return;
        }
        let Some(name) = self.names.get(owned.name.number()).map(RelativeName::known) else { return };
        let root = self.root_of(&owned).copied();
        self.watches.note_gone(member.address, &name, root);
    }

    /// Tells those who wait for this file of a member that it is there.
    fn appeared(&mut self, who: MemberId, own: usize, news: &mut Vec<(WatchId, News)>) {
        let Some(member) = self.members.get(who.0).filter(|member| member.visible) else { return };
        let Some(owned) = member.files.get(own).copied() else { return };
        let root = self.root_of(&owned).copied();
        let Some(name) = self.names.get(owned.name.number()).map(RelativeName::known) else { return };
        let waiting = self.watches.who_waits(&name, root);
        if waiting.is_empty() {
            return;
        }
        let entry = self.entry(who, &owned, Some(&name));
        news.extend(waiting.into_iter().map(|id| (id, News::Appeared(who, entry.clone()))));
    }

    /// A member as this asker is shown it, with one of its files; `None` when he can't reach it.
    #[must_use]
    pub fn as_holder(&self, who: MemberId, file: FileEntry, asker: &Asker) -> Option<Holder> {
        let member = self.members.get(who.0)?;
        Some(member.holding(file, asker.reaches(member)?))
    }
}
