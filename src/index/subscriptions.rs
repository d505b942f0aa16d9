//! Subscriptions: by name and content in tables, by words in a list that is scanned.
//!
//! ```text
//!   peer shown, file added ----> pending --- a slice an iteration ---> events, by subscription
//!   file removed -------------------------------------------------------^
//! ```
//!
//! Files of a new peer are visited from last to first, because a removal moves the last file to the
//! front. Some files may be reported twice, none is missed.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use crate::index::PeerId;
use crate::index::audience::AudienceChange;
use crate::index::journal::IndexChange;
use crate::index::key_table::KeyId;
use crate::index::matcher::Words;
use crate::index::text_folding::fold;
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// Number of a subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionId(u64);

#[derive(Default)]
pub(super) struct Subscriptions {
    next: u64,
    all: BTreeMap<SubscriptionId, SubscriptionFilter>,
    by_name: BTreeMap<RelativeName, Vec<SubscriptionId>>,
    by_root: BTreeMap<[u8; 32], Vec<SubscriptionId>>,
    by_words: Vec<(SubscriptionId, Words)>,
    /// Additions that are not reported yet.
    pub(super) pending: VecDeque<PendingEvent>,
    /// Removals, with the subscriptions to notify.
    pub(super) gone: VecDeque<(SubscriptionId, Gone)>,
    /// Changes of mirrored peers.
    pub(super) journal: VecDeque<IndexChange>,
    /// Events were dropped.
    pub(super) missed: bool,
    /// Bytes of subscriptions, and of names in `gone`.
    bytes: usize,
    gone_bytes: usize,
    /// Scratch memory for a folded name.
    folded: String,
}

pub(super) enum PendingEvent {
    /// A peer with this many files left to report. Its join number tells it from a later peer of
    /// the same slot.
    Member {
        peer: PeerId,
        number: u64,
        left: usize,
    },
    File {
        peer: PeerId,
        name: KeyId,
    },
}

/// A file that disappears for some viewers.
pub(super) struct Gone {
    pub address: SocketAddr,
    pub name: RelativeName,
    pub change: AudienceChange,
}

impl Subscriptions {
    pub(super) fn add(&mut self, what: &SubscriptionFilter) -> Result<SubscriptionId, ErrorReply> {
        let full = || ErrorReply::new(ErrorCode::Busy, "too many wait for something here");
        if self.all.len() >= limits::SUBSCRIPTIONS {
            return Err(full());
        }
        let id = SubscriptionId(self.next);
        match what {
            SubscriptionFilter::Name(name) => {
                self.by_name.entry(name.clone()).or_default().push(id)
            }
            SubscriptionFilter::Root(root) => self.by_root.entry(root.0).or_default().push(id),
            SubscriptionFilter::Words(_) if self.by_words.len() >= limits::SUBSCRIBED_PATTERNS => {
                return Err(full());
            }
            SubscriptionFilter::Words(text) => {
                let words = Words::new(text)
                    .ok_or_else(|| ErrorReply::bad_request("text needs a word without -"))?;
                self.by_words.push((id, words));
            }
        }
        self.next += 1;
        self.bytes += bytes(what);
        self.all.insert(id, what.clone());
        Ok(id)
    }

    pub(super) fn remove(&mut self, id: SubscriptionId) {
        fn forget<K: Ord>(
            table: &mut BTreeMap<K, Vec<SubscriptionId>>,
            key: &K,
            id: SubscriptionId,
        ) {
            if let Some(ids) = table.get_mut(key) {
                ids.retain(|other| *other != id);
                if ids.is_empty() {
                    table.remove(key);
                }
            }
        }
        let what = self.all.remove(&id);
        self.bytes -= what.as_ref().map_or(0, bytes);
        match what {
            Some(SubscriptionFilter::Name(name)) => forget(&mut self.by_name, &name, id),
            Some(SubscriptionFilter::Root(root)) => forget(&mut self.by_root, &root.0, id),
            Some(SubscriptionFilter::Words(_)) => self.by_words.retain(|(other, _)| *other != id),
            None => {}
        }
        if self.all.is_empty() {
            self.pending = VecDeque::new();
            (self.gone, self.gone_bytes) = (VecDeque::new(), 0);
            self.missed = false;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.all.keys().copied()
    }

    /// Bytes of subscriptions with their table entries, and of pending events.
    pub(super) fn memory(&self) -> usize {
        self.bytes
            + self.pending.capacity() * size_of::<PendingEvent>()
            + self.gone.capacity() * size_of::<(SubscriptionId, Gone)>()
            + self.gone_bytes
    }

    /// Table look-ups per reported file.
    pub(super) fn cost(&self) -> usize {
        1 + self.by_words.len() / 4
    }

    /// Queue an addition for the subscribers.
    pub(super) fn note(&mut self, pending: PendingEvent) {
        if self.is_empty() {
            return;
        }
        if self.pending.len() < limits::EVENT_BACKLOG {
            self.pending.push_back(pending)
        } else {
            self.missed = true
        }
    }

    pub(super) fn next_gone(&mut self) -> Option<(SubscriptionId, Gone)> {
        let next = self.gone.pop_front()?;
        self.gone_bytes = self.gone_bytes.saturating_sub(next.1.name.len());
        Some(next)
    }

    /// Queue a removal for the subscriptions to this file.
    pub(super) fn note_gone(
        &mut self,
        address: SocketAddr,
        name: &RelativeName,
        root: Option<ContentHash>,
        change: &AudienceChange,
    ) {
        for id in self.matching(name, root) {
            if self.gone.len() < limits::EVENT_BACKLOG && self.gone_bytes < limits::EVENT_NAME_BYTES
            {
                self.gone_bytes += name.len();
                let (name, change) = (name.clone(), change.clone());
                self.gone.push_back((id, Gone { address, name, change }));
            } else {
                self.missed = true;
            }
        }
    }

    /// Subscriptions to this file.
    pub(super) fn matching(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
    ) -> Vec<SubscriptionId> {
        let mut ids: Vec<SubscriptionId> = self.by_name.get(name).cloned().unwrap_or_default();
        ids.extend(root.and_then(|root| self.by_root.get(&root.0)).into_iter().flatten());
        if !self.by_words.is_empty() {
            self.folded.clear();
            fold(name.as_str(), &mut self.folded);
            ids.extend(
                self.by_words
                    .iter()
                    .filter(|(_, words)| words.matches(&self.folded))
                    .map(|(id, _)| *id),
            );
        }
        ids
    }
}

/// Bytes of a subscription: its words twice, once folded, and table entries.
fn bytes(what: &SubscriptionFilter) -> usize {
    const ENTRY: usize = 512;
    ENTRY
        + match what {
            SubscriptionFilter::Name(name) => name.len(),
            SubscriptionFilter::Root(_) => 0,
            SubscriptionFilter::Words(text) => 8 * text.len(),
        }
}

/// An event of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexEvent {
    /// A peer has the file.
    Appeared(PeerId, FileEntry),
    /// The peer at this address no longer has the file, for the viewers that the change hides the
    /// file from.
    Gone(SocketAddr, RelativeName, AudienceChange),
    /// Events were dropped; search again.
    Missed,
}
