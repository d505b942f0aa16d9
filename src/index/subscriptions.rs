//! Subscriptions: by names and contents in tables, by words in a list that is scanned.
//!
//! ```text
//!   shown, added ----> pending --told, a slice a turn--> news, one for each that waits
//!   dropped ----------------------------------------------^
//! ```
//!
//! A member that is shown is walked from its last file to its first, for what is dropped meanwhile moves its last one to the front: so some may be told twice,
//! and none is missed.

use std::collections::{BTreeMap, VecDeque};

use crate::index::PeerId;
use crate::index::key_table::KeyId;
use crate::index::matcher::Words;
use crate::index::text_folding::fold;
use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;

/// Which of those that wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SubscriptionId(u64);

/// All who wait.
#[derive(Default)]
pub(super) struct Subscriptions {
    next: u64,
    all: BTreeMap<SubscriptionId, SubscriptionFilter>,
    by_name: BTreeMap<RelativeName, Vec<SubscriptionId>>,
    by_root: BTreeMap<[u8; 32], Vec<SubscriptionId>>,
    by_words: Vec<(SubscriptionId, Words)>,
    /// What was shown or added and not told.
    pub(super) pending: VecDeque<PendingEvent>,
    /// What was dropped, with those who are to be told.
    pub(super) gone: VecDeque<(SubscriptionId, Gone)>,
    /// More has happened than could be kept.
    pub(super) missed: bool,
    /// What those who wait take, and the names of what was dropped.
    bytes: usize,
    gone_bytes: usize,
    /// The name that is looked at, folded.
    folded: String,
}

/// What was shown or added.
pub(super) enum PendingEvent {
    /// A member; these many of its files are left to tell. Its number tells it from another in its place.
    Member { who: PeerId, number: u64, left: usize },
    /// One file of a member.
    File { who: PeerId, name: KeyId },
}

/// What was dropped.
pub(super) struct Gone {
    pub who: std::net::SocketAddr,
    pub name: RelativeName,
}

impl Subscriptions {
    /// Somebody waits from now on.
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
                let words = Words::new(text).ok_or_else(|| {
                    ErrorReply::new(ErrorCode::BadRequest, "text has no word that is wanted")
                })?;
                self.by_words.push((id, words));
            }
        }
        self.next += 1;
        self.bytes += bytes(what);
        self.all.insert(id, what.clone());
        Ok(id)
    }

    /// He waits no longer.
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

    /// True when nobody waits for anything.
    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// All who wait.
    pub(super) fn ids(&self) -> impl Iterator<Item = SubscriptionId> + '_ {
        self.all.keys().copied()
    }

    /// How much memory they take: each with its words and its place in the tables, and what is not told yet.
    pub(super) fn memory(&self) -> usize {
        self.bytes
            + self.pending.capacity() * size_of::<PendingEvent>()
            + self.gone.capacity() * size_of::<(SubscriptionId, Gone)>()
            + self.gone_bytes
    }

    /// What one look at a file costs, in looks at a table.
    pub(super) fn cost(&self) -> usize {
        1 + self.by_words.len() / 4
    }

    /// Keeps in mind that something was shown or added.
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

    /// The next that was dropped.
    pub(super) fn next_gone(&mut self) -> Option<(SubscriptionId, Gone)> {
        let next = self.gone.pop_front()?;
        self.gone_bytes = self.gone_bytes.saturating_sub(next.1.name.len());
        Some(next)
    }

    /// Keeps in mind that a file was dropped, if anybody waits for that.
    pub(super) fn note_gone(
        &mut self,
        who: std::net::SocketAddr,
        name: &RelativeName,
        root: Option<ContentHash>,
    ) {
        for id in self.who_waits(name, root) {
            if self.gone.len() < limits::EVENT_BACKLOG && self.gone_bytes < limits::EVENT_NAME_BYTES
            {
                self.gone_bytes += name.len();
                self.gone.push_back((id, Gone { who, name: name.clone() }));
            } else {
                self.missed = true;
            }
        }
    }

    /// Those who wait for this file.
    pub(super) fn who_waits(
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

/// What one who waits takes: his words twice, once as they are looked for, and his places in the tables.
fn bytes(what: &SubscriptionFilter) -> usize {
    const ENTRY: usize = 512;
    ENTRY
        + match what {
            SubscriptionFilter::Name(name) => name.len(),
            SubscriptionFilter::Root(_) => 0,
            SubscriptionFilter::Words(text) => 8 * text.len(),
        }
}

/// What has happened, for one who waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexEvent {
    /// A member has it.
    Appeared(PeerId, FileEntry),
    /// Whoever was at this address has it no longer.
    Gone(std::net::SocketAddr, RelativeName),
    /// More than could be kept.
    Missed,
}
