//! Tables of members, invites and applicants in memory, with the inverse of each change.
//!
//! Both the cache of [`Members`](crate::members::Members) and the store without a disk.

use std::collections::BTreeMap;

use crate::members::invite::Invite;
use crate::members::store::MemberRow;
use crate::protocol::member::Applicant;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::member::InviteId;

/// The tables.
#[derive(Default)]
pub(crate) struct MemberTables {
    members: BTreeMap<Key, MemberRow>,
    /// Members by name, revoked ones as well.
    names: BTreeMap<UserName, Key>,
    /// Revoked members by time.
    revocations: BTreeMap<u64, Vec<Key>>,
    /// The number of revoked members.
    revoked: usize,
    invites: BTreeMap<InviteId, Invite>,
    applicants: BTreeMap<Key, Applicant>,
    /// Inverse changes of the open transaction, the latest last.
    undo: Vec<TableUndo>,
}

/// An entry as it was before a change.
enum TableUndo {
    Member(Key, Option<MemberRow>),
    Invite(InviteId, Option<Invite>),
    Applicant(Key, Option<Applicant>),
}

impl MemberTables {
    /// All members by key, revoked ones as well.
    pub(crate) fn members(&self) -> &BTreeMap<Key, MemberRow> {
        &self.members
    }

    /// The keys of all names, revoked ones as well.
    pub(crate) fn names(&self) -> &BTreeMap<UserName, Key> {
        &self.names
    }

    /// The row of a name.
    pub(crate) fn named(&self, name: &UserName) -> Option<&MemberRow> {
        self.members.get(self.names.get(name)?)
    }

    /// The number of members that are not revoked.
    pub(crate) fn live(&self) -> usize {
        self.members.len() - self.revoked
    }

    /// Members revoked at this time or later, the earliest first.
    pub(crate) fn revoked_since(&self, since: u64) -> impl Iterator<Item = Key> {
        self.revocations.range(since..).flat_map(|(_, keys)| keys).copied()
    }

    /// Invites by number.
    pub(crate) fn invites(&self) -> &BTreeMap<InviteId, Invite> {
        &self.invites
    }

    /// Applicants by key.
    pub(crate) fn applicants(&self) -> &BTreeMap<Key, Applicant> {
        &self.applicants
    }

    /// Add, replace or remove a member.
    pub(crate) fn put_member(&mut self, key: Key, row: Option<MemberRow>) {
        let before = self.swap_member(key, row);
        self.undo.push(TableUndo::Member(key, before));
    }

    /// Add, replace or remove an invite.
    pub(crate) fn put_invite(&mut self, id: InviteId, invite: Option<Invite>) {
        let before = swap(&mut self.invites, id, invite);
        self.undo.push(TableUndo::Invite(id, before));
    }

    /// Add, replace or remove an applicant.
    pub(crate) fn put_applicant(&mut self, key: Key, applicant: Option<Applicant>) {
        let before = swap(&mut self.applicants, key, applicant);
        self.undo.push(TableUndo::Applicant(key, before));
    }

    /// Set the time of the last connection, which no transaction undoes.
    pub(crate) fn set_seen(&mut self, key: &Key, seen: u64) {
        if let Some(row) = self.members.get_mut(key) {
            row.member.seen = seen;
        }
    }

    /// Keep all changes.
    pub(crate) fn keep(&mut self) {
        self.undo.clear();
    }

    /// Undo all changes since the last call of [`MemberTables::keep`].
    pub(crate) fn roll_back(&mut self) {
        for undo in std::mem::take(&mut self.undo).into_iter().rev() {
            match undo {
                TableUndo::Member(key, row) => {
                    self.swap_member(key, row);
                }
                TableUndo::Invite(id, invite) => {
                    swap(&mut self.invites, id, invite);
                }
                TableUndo::Applicant(key, applicant) => {
                    swap(&mut self.applicants, key, applicant);
                }
            }
        }
    }

    fn swap_member(&mut self, key: Key, row: Option<MemberRow>) -> Option<MemberRow> {
        let before = swap(&mut self.members, key, row.clone());
        if let Some(before) = &before {
            if self.names.get(&before.member.name) == Some(&key) {
                self.names.remove(&before.member.name);
            }
            if let Some(at) = before.revoked
                && let Some(keys) = self.revocations.get_mut(&at)
            {
                self.revoked -= 1;
                keys.retain(|other| *other != key);
                if keys.is_empty() {
                    self.revocations.remove(&at);
                }
            }
        }
        if let Some(row) = row {
            self.names.insert(row.member.name, key);
            if let Some(at) = row.revoked {
                self.revoked += 1;
                self.revocations.entry(at).or_default().push(key);
            }
        }
        before
    }
}

/// Insert, replace or remove an entry. Returns the entry before.
pub(crate) fn swap<K: Ord, V>(table: &mut BTreeMap<K, V>, key: K, value: Option<V>) -> Option<V> {
    match value {
        Some(value) => table.insert(key, value),
        None => table.remove(&key),
    }
}
