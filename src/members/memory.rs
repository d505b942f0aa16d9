//! Members in memory, for servers without a data folder, for the simulator and for tests.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Bound;

use crate::accounts::store::StoreError;
use crate::members::audit::{AuditHead, AuditRow};
use crate::members::invite::Invite;
use crate::members::store::{MemberRow, MemberStore};
use crate::members::tables::MemberTables;
use crate::protocol::member::Applicant;
use crate::protocol::types::account::Key;
use crate::protocol::types::member::InviteId;

/// Rows of the audit log kept without a disk: some twenty megabytes. Earlier rows are dropped.
const MAX_AUDIT_ROWS: usize = 100_000;

/// A store that ends with the process.
#[derive(Default)]
pub struct MemoryMembers {
    state: RefCell<MemoryState>,
}

#[derive(Default)]
struct MemoryState {
    tables: MemberTables,
    clock: u64,
    audit: VecDeque<AuditRow>,
    /// The last dropped row.
    base: AuditHead,
    /// A transaction is open: the clock and the end of the log before it.
    before: Option<(u64, AuditHead)>,
}

impl MemoryState {
    fn head(&self) -> AuditHead {
        self.audit.back().map_or(self.base, AuditRow::head)
    }
}

impl MemoryMembers {
    /// Change the state inside a transaction.
    fn change<T>(&self, change: impl FnOnce(&mut MemoryState) -> T) -> Result<T, StoreError> {
        let mut state = self.state.borrow_mut();
        if state.before.is_none() {
            return Err(StoreError::Failed("a change outside of a transaction".into()));
        }
        Ok(change(&mut state))
    }
}

impl MemberStore for MemoryMembers {
    fn begin(&self) -> Result<bool, StoreError> {
        let mut state = self.state.borrow_mut();
        let is_new = state.before.is_none();
        if is_new {
            state.before = Some((state.clock, state.head()));
        }
        Ok(is_new)
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.change(|state| {
            state.before = None;
            state.tables.keep();
            while state.audit.len() > MAX_AUDIT_ROWS {
                state.base = state.audit.pop_front().map_or(state.base, |row| row.head());
            }
        })
    }

    fn roll_back(&self) {
        let mut state = self.state.borrow_mut();
        state.tables.roll_back();
        if let Some((clock, head)) = state.before.take() {
            state.clock = clock;
            while state.audit.back().is_some_and(|row| row.seq > head.seq) {
                state.audit.pop_back();
            }
        }
    }

    fn clock(&self) -> Result<u64, StoreError> {
        Ok(self.state.borrow().clock)
    }

    fn set_clock(&self, now: u64) -> Result<(), StoreError> {
        self.change(|state| state.clock = now)
    }

    fn members(&self, after: Option<&Key>, most: usize) -> Result<Vec<MemberRow>, StoreError> {
        let state = self.state.borrow();
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let behind = state.tables.members().range((from, Bound::Unbounded));
        Ok(behind.take(most).map(|(_, row)| row.clone()).collect())
    }

    fn put_member(&self, row: &MemberRow) -> Result<(), StoreError> {
        let key = row.member.key;
        self.change(|state| {
            if state.tables.named(&row.member.name).is_some_and(|other| other.member.key != key) {
                return Err(StoreError::Failed("two members with one name".into()));
            }
            state.tables.put_member(key, Some(row.clone()));
            Ok(())
        })?
    }

    fn remove_member(&self, key: &Key) -> Result<(), StoreError> {
        self.change(|state| state.tables.put_member(*key, None))
    }

    fn set_seen(&self, key: &Key, seen: u64) -> Result<(), StoreError> {
        self.change(|state| {
            if let Some(mut row) = state.tables.members().get(key).cloned() {
                row.member.seen = seen;
                state.tables.put_member(*key, Some(row));
            }
        })
    }

    fn invites(&self) -> Result<Vec<Invite>, StoreError> {
        Ok(self.state.borrow().tables.invites().values().cloned().collect())
    }

    fn put_invite(&self, invite: &Invite) -> Result<(), StoreError> {
        self.change(|state| state.tables.put_invite(invite.id, Some(invite.clone())))
    }

    fn remove_invite(&self, id: InviteId) -> Result<(), StoreError> {
        self.change(|state| state.tables.put_invite(id, None))
    }

    fn applicants(&self) -> Result<Vec<Applicant>, StoreError> {
        Ok(self.state.borrow().tables.applicants().values().cloned().collect())
    }

    fn put_applicant(&self, applicant: &Applicant) -> Result<(), StoreError> {
        self.change(|state| state.tables.put_applicant(applicant.key, Some(applicant.clone())))
    }

    fn remove_applicant(&self, key: &Key) -> Result<(), StoreError> {
        self.change(|state| state.tables.put_applicant(*key, None))
    }

    fn append_audit(&self, row: &AuditRow) -> Result<(), StoreError> {
        self.change(|state| state.audit.push_back(row.clone()))
    }

    fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError> {
        let state = self.state.borrow();
        let from = state.audit.partition_point(|row| row.seq <= after);
        Ok(state.audit.range(from..).take(most).cloned().collect())
    }

    fn audit_head(&self) -> Result<AuditHead, StoreError> {
        Ok(self.state.borrow().head())
    }

    fn last_audit(&self) -> Result<u64, StoreError> {
        Ok(self.state.borrow().head().seq)
    }

    fn audit_base(&self) -> Result<AuditHead, StoreError> {
        Ok(self.state.borrow().base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::members::Members;
    use crate::members::audit::{AuditEntry, AuditProgress};

    #[test]
    fn the_log_drops_its_oldest_rows_and_stays_a_chain() {
        let mut members = Members::open(Box::new(MemoryMembers::default())).unwrap();
        let entry = AuditEntry { who: "ana", from: None, what: "SET", object: "", ok: true };
        let rows = MAX_AUDIT_ROWS as u64 + 500;
        for now in 0..rows {
            members.note(&entry, now).unwrap();
        }
        members.commit().unwrap();
        let first = members.audit(0, 1).unwrap();
        assert_eq!(first[0].seq, 501);
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(rows)));
    }
}
