//! The store behind members: primitives for rows, without decisions.
//!
//! Changes belong to the transaction of [`MemberStore::begin`]; no response may depend on them
//! before [`MemberStore::commit`]. The store may share its transaction with other tables of one
//! database.

use crate::accounts::store::StoreError;
use crate::members::audit::{AuditBase, AuditHead, AuditRow};
use crate::members::bans::Ban;
use crate::members::invite::Invite;
use crate::protocol::administration::{BanSubject, LimitKey};
use crate::protocol::member::{Applicant, Member};
use crate::protocol::types::account::Key;
use crate::protocol::types::member::InviteId;

/// A stored member. The row of a revoked member stays, so that the key is never admitted again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// The member.
    pub member: Member,
    /// Time of the revocation.
    pub revoked: Option<u64>,
}

/// A durable store of members, invites, applicants and the audit log.
///
/// # Errors
/// Calls fail if the disk does. After a failed change the whole transaction is lost: call
/// [`MemberStore::roll_back`] next.
#[allow(clippy::missing_errors_doc)]
pub trait MemberStore {
    /// Join the open transaction, or begin one. True for a new one: all changes made before are
    /// durable, as the commit of another user of the database has included them.
    fn begin(&self) -> Result<bool, StoreError>;
    /// Make all changes durable: after this call they survive a power cut.
    fn commit(&self) -> Result<(), StoreError>;
    /// Drop the changes of the transaction.
    fn roll_back(&self);

    /// The stored index seconds.
    fn clock(&self) -> Result<u64, StoreError>;
    /// Store the index seconds.
    fn set_clock(&self, now: u64) -> Result<(), StoreError>;

    /// Members, revoked ones as well, behind the key `after`, up to `most`.
    fn members(&self, after: Option<&Key>, most: usize) -> Result<Vec<MemberRow>, StoreError>;
    /// Add a member, or replace the row of its key. An error if another key has the name.
    fn put_member(&self, row: &MemberRow) -> Result<(), StoreError>;
    /// Remove a member.
    fn remove_member(&self, key: &Key) -> Result<(), StoreError>;
    /// Set the time of the last connection of a member.
    fn set_seen(&self, key: &Key, seen: u64) -> Result<(), StoreError>;

    /// All invites.
    fn invites(&self) -> Result<Vec<Invite>, StoreError>;
    /// Add or replace an invite.
    fn put_invite(&self, invite: &Invite) -> Result<(), StoreError>;
    /// Remove an invite.
    fn remove_invite(&self, id: InviteId) -> Result<(), StoreError>;

    /// All applicants.
    fn applicants(&self) -> Result<Vec<Applicant>, StoreError>;
    /// Add or replace an applicant.
    fn put_applicant(&self, applicant: &Applicant) -> Result<(), StoreError>;
    /// Remove an applicant.
    fn remove_applicant(&self, key: &Key) -> Result<(), StoreError>;

    /// All bans.
    fn bans(&self) -> Result<Vec<Ban>, StoreError>;
    /// Add or replace a ban.
    fn put_ban(&self, ban: &Ban) -> Result<(), StoreError>;
    /// Remove a ban.
    fn remove_ban(&self, subject: &BanSubject) -> Result<(), StoreError>;

    /// The limits that an administrator has set.
    fn limits(&self) -> Result<Vec<(LimitKey, u64)>, StoreError>;
    /// Set a limit; `None` removes the row.
    fn set_limit(&self, key: LimitKey, value: Option<u64>) -> Result<(), StoreError>;

    /// Append a row to the audit log; the row becomes its head.
    fn append_audit(&self, row: &AuditRow) -> Result<(), StoreError>;
    /// Rows of the audit log behind the number `after`, up to `most`, as they are: another program
    /// may have changed them.
    fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError>;
    /// Number and chain of the last appended row. Stored apart from the rows, so that a removal of
    /// the last rows shows.
    fn audit_head(&self) -> Result<AuditHead, StoreError>;
    /// The largest number of a row, as the rows are.
    fn last_audit(&self) -> Result<u64, StoreError>;
    /// The last row that was pruned, and the number of the row that records it.
    fn audit_base(&self) -> Result<AuditBase, StoreError>;
    /// Remove all rows up to the base, which another row of this transaction records.
    fn prune_audit(&self, base: &AuditBase) -> Result<(), StoreError>;

    /// The announced next key of the server, and the time of the announcement.
    fn rotation(&self) -> Result<Option<(Key, u64)>, StoreError>;
    /// Store the announced next key of the server, in place of an earlier one.
    fn set_rotation(&self, next: &Key, since: u64) -> Result<(), StoreError>;
}
