//! Members in memory, for servers without a data folder, for the simulator and for tests.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;

use crate::accounts::store::StoreError;
use crate::members::audit::{AuditBase, AuditHead, AuditRow};
use crate::members::bans::Ban;
use crate::members::invite::Invite;
use crate::members::store::{MemberRow, MemberStore};
use crate::members::tables::{MemberTables, swap};
use crate::protocol::administration::{BanSubject, LimitKey};
use crate::protocol::member::Applicant;
use crate::protocol::types::account::Key;
use crate::protocol::types::member::InviteId;

/// A store that ends with the process.
#[derive(Default)]
pub struct MemoryMembers {
    state: RefCell<MemoryState>,
}

#[derive(Default)]
struct MemoryState {
    tables: MemberTables,
    clock: u64,
    bans: BTreeMap<BanSubject, Ban>,
    limits: BTreeMap<LimitKey, u64>,
    /// Bans and limits as they were before the open transaction.
    undo: Vec<SettingUndo>,
    audit: VecDeque<AuditRow>,
    base: AuditBase,
    rotation: Option<(Key, u64)>,
    /// A transaction is open: the state before it.
    before: Option<StateBefore>,
}

/// What a transaction that is lost restores besides the tables.
struct StateBefore {
    clock: u64,
    head: AuditHead,
    base: AuditBase,
    rotation: Option<(Key, u64)>,
}

/// A ban or a limit as it was before a change.
enum SettingUndo {
    Ban(BanSubject, Option<Ban>),
    Limit(LimitKey, Option<u64>),
}

impl MemoryState {
    fn head(&self) -> AuditHead {
        self.audit.back().map_or(self.base.head, AuditRow::head)
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
            let (clock, head) = (state.clock, state.head());
            let (base, rotation) = (state.base, state.rotation);
            state.before = Some(StateBefore { clock, head, base, rotation });
        }
        Ok(is_new)
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.change(|state| {
            state.before = None;
            state.tables.keep();
            state.undo.clear();
            // Pruned rows stay until here, so that a lost transaction loses none.
            let base = state.base.head.seq;
            while state.audit.front().is_some_and(|row| row.seq <= base) {
                state.audit.pop_front();
            }
        })
    }

    fn roll_back(&self) {
        let mut state = self.state.borrow_mut();
        state.tables.roll_back();
        for undo in std::mem::take(&mut state.undo).into_iter().rev() {
            match undo {
                SettingUndo::Ban(subject, ban) => {
                    swap(&mut state.bans, subject, ban);
                }
                SettingUndo::Limit(key, value) => {
                    swap(&mut state.limits, key, value);
                }
            }
        }
        if let Some(StateBefore { clock, head, base, rotation }) = state.before.take() {
            (state.clock, state.base, state.rotation) = (clock, base, rotation);
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

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        Ok(self.state.borrow().bans.values().cloned().collect())
    }

    fn put_ban(&self, ban: &Ban) -> Result<(), StoreError> {
        self.change(|state| {
            let before = swap(&mut state.bans, ban.subject, Some(ban.clone()));
            state.undo.push(SettingUndo::Ban(ban.subject, before));
        })
    }

    fn remove_ban(&self, subject: &BanSubject) -> Result<(), StoreError> {
        self.change(|state| {
            let before = swap(&mut state.bans, *subject, None);
            state.undo.push(SettingUndo::Ban(*subject, before));
        })
    }

    fn limits(&self) -> Result<Vec<(LimitKey, u64)>, StoreError> {
        Ok(self.state.borrow().limits.iter().map(|(key, value)| (*key, *value)).collect())
    }

    fn set_limit(&self, key: LimitKey, value: Option<u64>) -> Result<(), StoreError> {
        self.change(|state| {
            let before = swap(&mut state.limits, key, value);
            state.undo.push(SettingUndo::Limit(key, before));
        })
    }

    fn append_audit(&self, row: &AuditRow) -> Result<(), StoreError> {
        self.change(|state| state.audit.push_back(row.clone()))
    }

    fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError> {
        let state = self.state.borrow();
        let after = after.max(state.base.head.seq);
        let from = state.audit.partition_point(|row| row.seq <= after);
        Ok(state.audit.range(from..).take(most).cloned().collect())
    }

    fn audit_head(&self) -> Result<AuditHead, StoreError> {
        Ok(self.state.borrow().head())
    }

    fn last_audit(&self) -> Result<u64, StoreError> {
        Ok(self.state.borrow().head().seq)
    }

    fn audit_base(&self) -> Result<AuditBase, StoreError> {
        Ok(self.state.borrow().base)
    }

    fn prune_audit(&self, base: &AuditBase) -> Result<(), StoreError> {
        self.change(|state| state.base = *base)
    }

    fn rotation(&self) -> Result<Option<(Key, u64)>, StoreError> {
        Ok(self.state.borrow().rotation)
    }

    fn set_rotation(&self, next: &Key, since: u64) -> Result<(), StoreError> {
        self.change(|state| state.rotation = Some((*next, since)))
    }
}
