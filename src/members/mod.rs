//! Members of a closed server: invites, admission, revocation and the audit log. Operations are
//! decided here, and stored by a [`store`].
//!
//! All members are cached, so that each request of the network finds its member without a disk.
//! Several operations share a transaction. Their results may be sent only after
//! [`Members::commit`] succeeds; after a failed commit the cache is as before.
//!
//! Time is a number of *index seconds*. The server counts them and stores the count here; a wall
//! clock is never read.

pub mod audit;
pub mod bans;
pub mod invite;
pub mod memory;
pub mod store;
mod tables;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::ops::Bound;

use crate::accounts::store::StoreError;
use crate::members::audit::{
    AuditBase, AuditCheck, AuditEntry, AuditHead, AuditLimits, AuditLog, AuditProgress, AuditRow,
    PRUNE_ROWS, PRUNE_SECONDS, PRUNED,
};
use crate::members::bans::{Ban, BanTable};
use crate::members::invite::Invite;
use crate::members::memory::MemoryMembers;
use crate::members::store::{MemberRow, MemberStore};
use crate::members::tables::{MemberTables, swap};
use crate::protocol::administration::{BanSubject, LimitKey};
use crate::protocol::member::{Applicant, ApplicantId, InviteTerms, Member};
use crate::protocol::types::account::{Key, Line, UserName};
use crate::protocol::types::member::{Groups, InviteId, InviteToken, MemberRole};

/// Members of a server: the cache has some 300 bytes for each.
pub const MAX_MEMBERS: usize = 100_000;
/// Live invites: an administrator reads the list.
pub const MAX_INVITES: usize = 1_000;
/// Applicants: more are a flood, and an administrator reads the list.
pub const MAX_APPLICANTS: usize = 1_000;
/// Bans: with the longest reasons some 60 MB, and a second to read at the start.
pub const MAX_BANS: usize = 100_000;
/// An applicant is forgotten after a day.
pub const APPLICANT_SECONDS: u64 = 24 * 3_600;
/// The time of a member's last connection is written at most once in so many seconds.
pub const SEEN_SECONDS: u64 = 3_600;
/// Rows that [`Members::upkeep`] writes in one call: with the wait for the disk some milliseconds.
pub const UPKEEP_ROWS: usize = 500;
/// Members that [`Members::forget_unseen`] looks at in one call: some 100 us.
pub const FORGET_SCAN: usize = 1_000;
/// Rows of one page of a list or of the log.
pub const PAGE_ROWS: usize = 1_000;

/// Why an operation is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberError {
    /// The token is unknown, used up, expired or has a wrong secret.
    BadToken,
    /// The name belongs to another key, or an invite has the number already.
    Taken,
    /// There are too many members, invites, applicants or bans.
    Full,
    /// The key has been revoked.
    Revoked,
    /// No such member, invite or applicant.
    Unknown,
    /// No such ban.
    NoBan,
    /// Several applicants have the name: the key decides.
    Ambiguous,
    /// A member's name must not be an address.
    BadName,
    /// A member can't be in a reserved group.
    BadGroup,
    /// The store failed: all operations since the last commit are lost.
    Store(StoreError),
}

impl fmt::Display for MemberError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MemberError::BadToken => "the invite is not valid: ask for a new one",
            MemberError::Taken => "the name belongs to another key: choose another name",
            MemberError::Full => "the server is full",
            MemberError::Revoked => "the key has been revoked",
            MemberError::Unknown => "no such member, invite or applicant",
            MemberError::NoBan => "no such ban",
            MemberError::Ambiguous => "several applicants have the name: give the key",
            MemberError::BadName => "a member's name must not be an address",
            MemberError::BadGroup => "a member can't be in the groups all and public",
            MemberError::Store(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for MemberError {}

impl From<StoreError> for MemberError {
    fn from(error: StoreError) -> MemberError {
        MemberError::Store(error)
    }
}

/// The result of an application.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Application {
    /// The key waits for an administrator.
    Pending,
    /// The key is a member already.
    Admitted(Member),
}

/// All members of a server.
pub struct Members {
    store: Box<dyn MemberStore>,
    tables: MemberTables,
    bans: BanTable,
    /// The limits that an administrator has set.
    limits: BTreeMap<LimitKey, u64>,
    clock: u64,
    log: AuditLog,
    audit_limits: AuditLimits,
    /// Members whose last connection is not written yet.
    unwritten: BTreeSet<Key>,
    /// The last member that [`Members::forget_unseen`] has looked at.
    scanned: Option<Key>,
    /// What a failed commit restores besides the tables, the latest last.
    undo: Vec<Undone>,
    /// A transaction is open.
    open: bool,
    /// The error of a failed transaction.
    broken: Option<StoreError>,
}

/// State as it was before a change.
enum Undone {
    Clock(u64),
    Log(AuditLog),
    Written(Key),
    Ban(BanSubject, Option<Ban>),
    Limit(LimitKey, Option<u64>),
}

impl Members {
    /// No members yet, and none of them lasts.
    #[must_use]
    pub fn in_memory() -> Members {
        Members {
            store: Box::new(MemoryMembers::default()),
            tables: MemberTables::default(),
            bans: BanTable::default(),
            limits: BTreeMap::new(),
            clock: 0,
            log: AuditLog::default(),
            audit_limits: AuditLimits::default(),
            unwritten: BTreeSet::new(),
            scanned: None,
            undo: Vec::new(),
            open: false,
            broken: None,
        }
    }

    /// Read all members of a store into the cache. Call before the loop begins.
    ///
    /// # Errors
    /// If the disk fails, or a row is none of this program.
    pub fn open(store: Box<dyn MemberStore>) -> Result<Members, StoreError> {
        let mut tables = MemberTables::default();
        let mut after = None;
        loop {
            let page = store.members(after.as_ref(), PAGE_ROWS)?;
            let Some(last) = page.last() else { break };
            after = Some(last.member.key);
            for row in page {
                tables.put_member(row.member.key, Some(row));
            }
            tables.keep();
        }
        for invite in store.invites()? {
            tables.put_invite(invite.id, Some(invite));
        }
        for applicant in store.applicants()? {
            tables.put_applicant(applicant.key, Some(applicant));
        }
        tables.keep();
        let mut bans = BanTable::default();
        for ban in store.bans()? {
            bans.swap(ban.subject, Some(ban));
        }
        let limits = store.limits()?.into_iter().filter(|(key, value)| key.takes(*value)).collect();
        let (head, last) = (store.audit_head()?, store.last_audit()?);
        if last > head.seq {
            log::error!("audit: row {} was added by another program", head.seq + 1);
        }
        let clock = store.clock()?;
        Ok(Members {
            store,
            tables,
            bans,
            limits,
            clock,
            log: AuditLog::new(head, last),
            audit_limits: AuditLimits::default(),
            unwritten: BTreeSet::new(),
            scanned: None,
            undo: Vec::new(),
            open: false,
            broken: None,
        })
    }

    /// True while responses have to wait for a commit.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.open || self.broken.is_some()
    }

    /// Make all changes since the last commit durable.
    ///
    /// # Errors
    /// If all of them are lost: the members are then as before.
    pub fn commit(&mut self) -> Result<(), StoreError> {
        let open = std::mem::take(&mut self.open);
        let result = match self.broken.take() {
            Some(error) => Err(error),
            None if open => self.store.commit(),
            None => Ok(()),
        };
        if let Err(error) = &result {
            log::error!("members: {error}");
            if open {
                self.store.roll_back();
            }
            self.tables.roll_back();
            for undone in std::mem::take(&mut self.undo).into_iter().rev() {
                match undone {
                    Undone::Clock(clock) => self.clock = clock,
                    Undone::Log(log) => self.log = log,
                    Undone::Written(key) => {
                        self.unwritten.insert(key);
                    }
                    Undone::Ban(subject, ban) => {
                        self.bans.swap(subject, ban);
                    }
                    Undone::Limit(key, value) => {
                        swap(&mut self.limits, key, value);
                    }
                }
            }
        }
        self.keep();
        result
    }

    /// The stored index seconds. They may be older than the last use by the interval of
    /// [`Members::set_clock`]; a server adds that interval at its start, so that time never runs
    /// backwards.
    #[must_use]
    pub fn clock(&self) -> u64 {
        self.clock
    }

    /// Store the index seconds, which never run backwards.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_clock(&mut self, now: u64) -> Result<(), MemberError> {
        self.attempt(|members| {
            if now > members.clock {
                members.begin()?;
                members.store.set_clock(now)?;
                members.undo.push(Undone::Clock(members.clock));
                members.clock = now;
            }
            Ok(())
        })
    }

    /// The member with this key.
    #[must_use]
    pub fn by_key(&self, key: &Key) -> Option<&Member> {
        self.tables.members().get(key).and_then(live)
    }

    /// The member with this name.
    #[must_use]
    pub fn by_name(&self, name: &UserName) -> Option<&Member> {
        self.tables.named(name).and_then(live)
    }

    /// Members behind the name `after`, in the order of names, at most `most` and a page.
    #[must_use]
    pub fn list(&self, after: Option<&UserName>, most: usize) -> Vec<Member> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let names = self.tables.names().range((from, Bound::Unbounded));
        names.filter_map(|(_, key)| self.by_key(key)).take(most.min(PAGE_ROWS)).cloned().collect()
    }

    /// The number of members.
    #[must_use]
    pub fn count(&self) -> usize {
        self.tables.live()
    }

    /// True if the key has been revoked.
    #[must_use]
    pub fn is_revoked(&self, key: &Key) -> bool {
        self.tables.members().get(key).is_some_and(|row| row.revoked.is_some())
    }

    /// Keys revoked at this time or later, the earliest first.
    #[must_use]
    pub fn revoked_since(&self, since: u64) -> Vec<Key> {
        self.tables.revoked_since(since).collect()
    }

    /// Make an invite from 20 random bytes. Only the hash of the secret is stored.
    ///
    /// # Errors
    /// `BadGroup`, `BadName`, `Full`; `Taken` if an invite has the same number: try other bytes.
    pub fn invite(
        &mut self,
        terms: InviteTerms,
        by: Line,
        random: [u8; 20],
        now: u64,
    ) -> Result<InviteToken, MemberError> {
        self.attempt(|members| {
            check_groups(&terms.groups)?;
            terms.as_name.as_ref().map_or(Ok(()), check_name)?;
            let token = InviteToken::new(random);
            if members.tables.invites().contains_key(&token.id()) {
                return Err(MemberError::Taken);
            }
            if members.tables.invites().len() >= MAX_INVITES {
                members.drop_invites(now, MAX_INVITES)?;
            }
            if members.tables.invites().len() >= MAX_INVITES {
                return Err(MemberError::Full);
            }
            members.put_invite(Invite::new(&token, terms, by, now))?;
            Ok(token)
        })
    }

    /// Live invites, by number.
    #[must_use]
    pub fn invites(&self, now: u64) -> Vec<Invite> {
        self.tables.invites().values().filter(|invite| invite.is_live(now)).cloned().collect()
    }

    /// Remove an invite. Its members stay.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn withdraw_invite(&mut self, id: InviteId) -> Result<(), MemberError> {
        self.attempt(|members| {
            if !members.tables.invites().contains_key(&id) {
                return Err(MemberError::Unknown);
            }
            members.remove_invite(id)
        })
    }

    /// Admit a key by a token. A key that is a member already uses up nothing.
    ///
    /// # Errors
    /// `BadToken`, and with a good token `Revoked`, `BadName`, `Taken`, `Full`: these use up
    /// nothing either.
    pub fn enrol(
        &mut self,
        token: &InviteToken,
        name: &UserName,
        key: &Key,
        now: u64,
    ) -> Result<Member, MemberError> {
        self.enrol_for(token, name, key, None, now)
    }

    /// As [`Members::enrol`], for a member that is forgotten after so many seconds at the latest.
    ///
    /// # Errors
    /// As [`Members::enrol`].
    pub fn enrol_for(
        &mut self,
        token: &InviteToken,
        name: &UserName,
        key: &Key,
        most: Option<u64>,
        now: u64,
    ) -> Result<Member, MemberError> {
        self.attempt(|members| {
            if let Some(member) = members.by_key(key) {
                return Ok(member.clone());
            }
            let invite = members.tables.invites().get(&token.id());
            if !invite::admits(invite, token, now) {
                return Err(MemberError::BadToken);
            }
            let mut invite = invite.cloned().ok_or(MemberError::BadToken)?;
            let member = Member {
                name: invite.as_name.as_ref().unwrap_or(name).clone(),
                key: *key,
                role: invite.role,
                groups: invite.groups.clone(),
                via: Some(invite.id),
                since: now,
                seen: now,
                ephemeral: invite.ephemeral.into_iter().chain(most).min(),
            };
            members.check_new(&member, invite.as_name.is_some())?;
            invite.uses_left -= 1;
            if invite.uses_left == 0 {
                members.remove_invite(invite.id)?;
            } else {
                members.put_invite(invite)?;
            }
            members.admit_new(member)
        })
    }

    /// Admit a key without an invite: the user that runs the server, on the same machine.
    ///
    /// # Errors
    /// `BadGroup`, `BadName`, `Revoked`, `Taken`, `Full`. A key that is a member already is
    /// `Taken`.
    pub fn add(
        &mut self,
        name: &UserName,
        key: &Key,
        role: MemberRole,
        groups: Groups,
        now: u64,
    ) -> Result<Member, MemberError> {
        self.attempt(|members| members.add_member(name, key, role, groups, now))
    }

    /// Ask for admission without an invite.
    ///
    /// # Errors
    /// `Revoked`, `BadName`, `Full`. A name in use is no error, as an error would tell strangers
    /// the names of members.
    pub fn apply(
        &mut self,
        name: &UserName,
        key: &Key,
        from: SocketAddr,
        now: u64,
    ) -> Result<Application, MemberError> {
        self.attempt(|members| {
            if let Some(member) = members.by_key(key) {
                return Ok(Application::Admitted(member.clone()));
            }
            if members.is_revoked(key) {
                return Err(MemberError::Revoked);
            }
            check_name(name)?;
            let before = members.tables.applicants().get(key).filter(|old| waits(old, now));
            let since = before.map_or(now, |old| old.since);
            // Repeated applications cost no disk.
            if before.is_some_and(|old| old.name == *name) {
                return Ok(Application::Pending);
            }
            if members.tables.applicants().len() >= MAX_APPLICANTS && before.is_none() {
                members.drop_applicants(now, MAX_APPLICANTS)?;
                if members.tables.applicants().len() >= MAX_APPLICANTS {
                    return Err(MemberError::Full);
                }
            }
            let applicant = Applicant { name: name.clone(), key: *key, from, since };
            members.begin()?;
            members.store.put_applicant(&applicant)?;
            members.tables.put_applicant(*key, Some(applicant));
            Ok(Application::Pending)
        })
    }

    /// Applicants, the earliest first.
    #[must_use]
    pub fn pending(&self, now: u64) -> Vec<Applicant> {
        let waiting = self.tables.applicants().values().filter(|one| waits(one, now));
        let mut all: Vec<Applicant> = waiting.cloned().collect();
        all.sort_by_key(|applicant| applicant.since);
        all
    }

    /// Admit an applicant.
    ///
    /// # Errors
    /// `Unknown`, `Ambiguous`, `BadGroup`, `Taken`, `Full`.
    pub fn admit(
        &mut self,
        id: &ApplicantId,
        role: MemberRole,
        groups: Groups,
        now: u64,
    ) -> Result<Member, MemberError> {
        self.attempt(|members| {
            let mut found =
                members.tables.applicants().values().filter(|one| waits(one, now)).filter(|one| {
                    match id {
                        ApplicantId::Name(name) => one.name == *name,
                        ApplicantId::Key(key) => one.key == *key,
                    }
                });
            let applicant = found.next().ok_or(MemberError::Unknown)?;
            if found.next().is_some() {
                return Err(MemberError::Ambiguous);
            }
            let (name, key) = (applicant.name.clone(), applicant.key);
            members.add_member(&name, &key, role, groups, now)
        })
    }

    /// Change role and groups of a member.
    ///
    /// # Errors
    /// `Unknown`, `BadGroup`.
    pub fn set(
        &mut self,
        name: &UserName,
        role: MemberRole,
        groups: Groups,
    ) -> Result<Member, MemberError> {
        self.attempt(|members| {
            check_groups(&groups)?;
            let mut member = members.by_name(name).ok_or(MemberError::Unknown)?.clone();
            (member.role, member.groups) = (role, groups);
            members.put(MemberRow { member: member.clone(), revoked: None })?;
            Ok(member)
        })
    }

    /// Revoke a member for ever. The name stays reserved until an invite gives it to another key.
    /// Returns the revoked keys.
    ///
    /// # Errors
    /// `Unknown`.
    pub fn revoke(&mut self, name: &UserName, now: u64) -> Result<Vec<Key>, MemberError> {
        self.attempt(|members| {
            let member = members.by_name(name).ok_or(MemberError::Unknown)?.clone();
            let key = member.key;
            members.put(MemberRow { member, revoked: Some(now) })?;
            Ok(vec![key])
        })
    }

    /// Withdraw an invite and revoke all its members, since a stolen invite admits strangers.
    /// Returns the revoked keys.
    ///
    /// # Errors
    /// `Unknown`, when there is neither such an invite nor a member of it.
    pub fn revoke_invite(&mut self, id: InviteId, now: u64) -> Result<Vec<Key>, MemberError> {
        self.attempt(|members| {
            let all = members.tables.members().values().filter_map(live);
            let found: Vec<Member> = all.filter(|member| member.via == Some(id)).cloned().collect();
            let is_live = members.tables.invites().contains_key(&id);
            if found.is_empty() && !is_live {
                return Err(MemberError::Unknown);
            }
            if is_live {
                members.remove_invite(id)?;
            }
            let keys = found.iter().map(|member| member.key).collect();
            for member in found {
                members.put(MemberRow { member, revoked: Some(now) })?;
            }
            Ok(keys)
        })
    }

    /// Ban a key or a range, in place of an earlier ban of the same subject.
    ///
    /// # Errors
    /// `Full`.
    pub fn ban(&mut self, ban: Ban, now: u64) -> Result<(), MemberError> {
        self.attempt(|members| {
            let is_new = members.bans.get(&ban.subject).is_none();
            if is_new && members.bans.len() >= MAX_BANS {
                members.drop_bans(now, UPKEEP_ROWS)?;
            }
            if is_new && members.bans.len() >= MAX_BANS {
                return Err(MemberError::Full);
            }
            members.begin()?;
            members.store.put_ban(&ban)?;
            members.swap_ban(ban.subject, Some(ban));
            Ok(())
        })
    }

    /// Lift a ban.
    ///
    /// # Errors
    /// `NoBan`, also for a ban that has ended.
    pub fn unban(&mut self, subject: &BanSubject, now: u64) -> Result<(), MemberError> {
        self.attempt(|members| {
            members.bans.get(subject).filter(|ban| ban.is_live(now)).ok_or(MemberError::NoBan)?;
            members.remove_ban(subject)
        })
    }

    /// The live ban of a key.
    #[must_use]
    pub fn ban_of_key(&self, key: &Key, now: u64) -> Option<&Ban> {
        self.bans.of_key(key, now)
    }

    /// The live ban of the smallest range with this address.
    #[must_use]
    pub fn ban_of_address(&self, ip: IpAddr, now: u64) -> Option<&Ban> {
        self.bans.of_address(ip, now)
    }

    /// True while exactly this subject is banned.
    #[must_use]
    pub fn has_ban(&self, subject: &BanSubject, now: u64) -> bool {
        self.bans.get(subject).is_some_and(|ban| ban.is_live(now))
    }

    /// Live bans behind a subject, in the order of subjects.
    pub fn bans(&self, after: Option<&BanSubject>, now: u64) -> impl Iterator<Item = &Ban> {
        self.bans.after(after, now)
    }

    /// Keys banned at this time or later, whose bans are live.
    pub fn banned_since(&self, since: u64, now: u64) -> impl Iterator<Item = Key> {
        self.bans.keys_since(since, now)
    }

    /// The value of a limit that an administrator has set.
    #[must_use]
    pub fn limit(&self, key: LimitKey) -> Option<u64> {
        self.limits.get(&key).copied()
    }

    /// Set a limit; `None` resets it.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_limit(&mut self, key: LimitKey, value: Option<u64>) -> Result<(), MemberError> {
        self.attempt(|members| {
            members.begin()?;
            members.store.set_limit(key, value)?;
            let before = swap(&mut members.limits, key, value);
            members.undo.push(Undone::Limit(key, before));
            Ok(())
        })
    }

    /// Record that a member is connected. [`Members::upkeep`] writes the time.
    pub fn note_seen(&mut self, key: &Key, now: u64) {
        if self.by_key(key).is_some_and(|member| member.seen.saturating_add(SEEN_SECONDS) <= now) {
            self.tables.set_seen(key, now);
            self.unwritten.insert(*key);
        }
    }

    /// Remove a member whose key has no holder any more: a browser session is over. An unknown key
    /// is no error.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn remove(&mut self, key: &Key) -> Result<(), MemberError> {
        self.attempt(|members| {
            if members.by_key(key).is_some() {
                members.begin()?;
                members.store.remove_member(key)?;
                members.tables.put_member(*key, None);
            }
            Ok(())
        })
    }

    /// Remove ephemeral members that have not been seen for their time. Looks at a slice of all
    /// members, so call it again and again; returns the removed keys.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn forget_unseen(&mut self, now: u64) -> Result<Vec<Key>, MemberError> {
        self.attempt(|members| {
            let from = members.scanned.map_or(Bound::Unbounded, Bound::Excluded);
            let slice = members.tables.members().range((from, Bound::Unbounded)).take(FORGET_SCAN);
            let (mut last, mut looked) = (None, 0);
            let mut gone = Vec::new();
            for (key, row) in slice {
                (last, looked) = (Some(*key), looked + 1);
                if live(row).is_some_and(|member| is_forgotten(member, now)) {
                    gone.push(*key);
                }
            }
            // The next slice begins with the first member again.
            members.scanned = last.filter(|_| looked == FORGET_SCAN);
            for key in &gone {
                members.begin()?;
                members.store.remove_member(key)?;
                members.tables.put_member(*key, None);
            }
            Ok(gone)
        })
    }

    /// Write what can wait, a slice a call: call it once a second. Commit afterwards while
    /// [`Members::is_open`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn upkeep(&mut self, now: u64) -> Result<(), MemberError> {
        self.attempt(|members| {
            if members.log.is_unsettled(now) {
                members.settle(now)?;
            }
            members.prune(now)?;
            members.drop_invites(now, UPKEEP_ROWS)?;
            members.drop_applicants(now, UPKEEP_ROWS)?;
            members.drop_bans(now, UPKEEP_ROWS)?;
            for _ in 0..UPKEEP_ROWS {
                let Some(key) = members.unwritten.first().copied() else { break };
                members.begin()?;
                members.unwritten.remove(&key);
                members.undo.push(Undone::Written(key));
                if let Some(seen) = members.by_key(&key).map(|member| member.seen) {
                    members.store.set_seen(&key, seen)?;
                }
            }
            Ok(())
        })
    }

    /// Append an entry to the audit log. At most 10 entries a second are written; then one row has
    /// the number of the others.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn note(&mut self, entry: &AuditEntry<'_>, now: u64) -> Result<(), MemberError> {
        self.attempt(|members| members.note_now(entry, now))
    }

    fn note_now(&mut self, entry: &AuditEntry<'_>, now: u64) -> Result<(), MemberError> {
        self.settle(now)?;
        let mut log = self.log;
        let row = log.admit(entry, now);
        self.append(log, row.as_ref())
    }

    /// Rows of the log behind the number `after`, at most `most` and a page.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError> {
        self.store.audit(after, most.min(PAGE_ROWS))
    }

    /// Rows of the log from the end of an earlier check on, with the check of them.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn audit_page(
        &self,
        check: &mut AuditCheck,
        most: usize,
    ) -> Result<(Vec<AuditRow>, AuditProgress), StoreError> {
        let most = most.clamp(1, PAGE_ROWS);
        let after = check.resume(self.store.audit_base()?.head);
        let rows = self.store.audit(after, most)?;
        let progress = check.check(&rows, rows.len() < most, self.log.head);
        let progress = self.check_base(progress)?;
        if let (AuditProgress::Bad(_), Some(last)) = (progress, rows.last()) {
            check.skip_to(last);
        }
        Ok((rows, progress))
    }

    /// Verify the next rows of the log, at most `most` and a page.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn verify_slice(
        &self,
        check: &mut AuditCheck,
        most: usize,
    ) -> Result<AuditProgress, StoreError> {
        let most = most.clamp(1, PAGE_ROWS);
        let after = check.resume(self.store.audit_base()?.head);
        let slice = self.store.audit(after, most)?;
        self.check_base(check.check(&slice, slice.len() < most, self.log.head))
    }

    /// A chain that is right must record the rows that were pruned before it.
    fn check_base(&self, progress: AuditProgress) -> Result<AuditProgress, StoreError> {
        let base = self.store.audit_base()?;
        if matches!(progress, AuditProgress::Intact(_)) && !self.is_recorded(&base)? {
            return Ok(AuditProgress::Bad(base.head.seq));
        }
        Ok(progress)
    }

    /// True if a row of the log records this base.
    fn is_recorded(&self, base: &AuditBase) -> Result<bool, StoreError> {
        if *base == AuditBase::default() {
            return Ok(true);
        }
        let record = self.store.audit(base.recorded_in.saturating_sub(1), 1)?;
        Ok(record.first().is_some_and(|row| base.is_recorded_by(row)))
    }

    /// The number of rows that were pruned.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn pruned(&self) -> Result<u64, StoreError> {
        Ok(self.store.audit_base()?.head.seq)
    }

    /// Set the size of the log, which [`Members::upkeep`] keeps.
    pub fn limit_audit(&mut self, limits: AuditLimits) {
        self.audit_limits = limits;
    }

    /// Remove the first rows of a log that is too long or too old, and record that in the chain.
    fn prune(&mut self, now: u64) -> Result<(), MemberError> {
        let base = self.store.audit_base()?;
        let AuditLimits { rows, age } = self.audit_limits;
        let count = self.log.head.seq.saturating_sub(base.head.seq);
        // A tenth at once: each removal is a row itself.
        let over = if count > rows { count - rows + rows / 10 } else { 0 };
        let oldest = age.and_then(|age| now.checked_sub(age));
        let is_old = match oldest.and_then(|oldest| oldest.checked_sub(PRUNE_SECONDS)) {
            Some(oldest) => self.is_older(base.head.seq, oldest)?,
            None => false,
        };
        let old = match oldest {
            Some(oldest) if is_old => self.older_rows(base.head.seq, oldest)?,
            _ => 0,
        };
        let removed = over.max(old).min(PRUNE_ROWS).min(count);
        // A new record would hide that another program has removed rows.
        if removed == 0 || !self.is_recorded(&base)? {
            return Ok(());
        }
        let seq = base.head.seq + removed;
        // Rows that another program has changed stay, since the check must name them.
        let Some(head) = self.chain_until(base.head, seq)? else { return Ok(()) };
        let mut base = AuditBase { head, recorded_in: 0 };
        let object = base.record();
        let entry = AuditEntry { who: "", from: None, what: PRUNED, object: &object, ok: true };
        self.note_now(&entry, now)?;
        base.recorded_in = self.log.head.seq;
        self.begin()?;
        self.store.prune_audit(&base)?;
        Ok(())
    }

    /// True if the first row behind `after` is from before `oldest`.
    fn is_older(&self, after: u64, oldest: u64) -> Result<bool, StoreError> {
        Ok(self.store.audit(after, 1)?.first().is_some_and(|row| row.at < oldest))
    }

    /// The number of rows behind `after` that are from before `oldest`, as far as one call counts.
    fn older_rows(&self, after: u64, oldest: u64) -> Result<u64, StoreError> {
        let (mut low, mut high) = (0, PRUNE_ROWS);
        // Times never fall along the log.
        while low < high {
            let middle = low + (high - low) / 2;
            if self.is_older(after + middle, oldest)? { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    }

    /// The row of this number, if all rows behind `head` up to it are a chain.
    fn chain_until(&self, head: AuditHead, seq: u64) -> Result<Option<AuditHead>, StoreError> {
        let mut chain = head;
        while chain.seq < seq {
            let rows = self.store.audit(chain.seq, PAGE_ROWS)?;
            if rows.is_empty() {
                return Ok(None);
            }
            for row in rows.iter().take_while(|row| row.seq <= seq) {
                if row.seq != chain.seq + 1 || row.chain != row.hash(&chain.chain) {
                    return Ok(None);
                }
                chain = row.head();
            }
        }
        Ok(Some(chain))
    }

    /// The announced next key of the server, and the time of its announcement.
    #[must_use]
    pub fn rotation(&self) -> Option<(Key, u64)> {
        self.store.rotation().unwrap_or_else(|error| {
            log::error!("members: {error}");
            None
        })
    }

    /// Store the announced next key of the server.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn set_rotation(&mut self, next: Key, since: u64) -> Result<(), MemberError> {
        self.attempt(|members| {
            members.begin()?;
            members.store.set_rotation(&next, since)?;
            Ok(())
        })
    }

    /// The revoked member with this name.
    #[must_use]
    pub fn revoked_by_name(&self, name: &UserName) -> Option<&Member> {
        self.tables.named(name).filter(|row| row.revoked.is_some()).map(|row| &row.member)
    }

    /// Verify the whole log at once: for commands, as a server must not wait so long. `Intact` with
    /// the number of rows, or `Bad` with the first bad row.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn verify(&self) -> Result<AuditProgress, StoreError> {
        let mut check = AuditCheck::default();
        loop {
            match self.verify_slice(&mut check, PAGE_ROWS)? {
                AuditProgress::More => {}
                end => return Ok(end),
            }
        }
    }

    /// Run an operation. After an error of the store all operations fail until the commit.
    fn attempt<T>(
        &mut self,
        operation: impl FnOnce(&mut Members) -> Result<T, MemberError>,
    ) -> Result<T, MemberError> {
        if let Some(error) = &self.broken {
            return Err(MemberError::Store(error.clone()));
        }
        let result = operation(self);
        if let Err(MemberError::Store(error)) = &result {
            self.broken = Some(error.clone());
        }
        result
    }

    fn begin(&mut self) -> Result<(), StoreError> {
        if self.store.begin()? && self.open {
            // Another user of the database has committed: the changes so far are durable.
            self.keep();
        }
        self.open = true;
        Ok(())
    }

    fn keep(&mut self) {
        self.tables.keep();
        self.undo.clear();
    }

    fn put(&mut self, row: MemberRow) -> Result<(), MemberError> {
        self.begin()?;
        self.store.put_member(&row)?;
        self.tables.put_member(row.member.key, Some(row));
        Ok(())
    }

    fn put_invite(&mut self, invite: Invite) -> Result<(), MemberError> {
        self.begin()?;
        self.store.put_invite(&invite)?;
        self.tables.put_invite(invite.id, Some(invite));
        Ok(())
    }

    fn remove_invite(&mut self, id: InviteId) -> Result<(), MemberError> {
        self.begin()?;
        self.store.remove_invite(id)?;
        self.tables.put_invite(id, None);
        Ok(())
    }

    fn remove_applicant(&mut self, key: &Key) -> Result<(), MemberError> {
        self.begin()?;
        self.store.remove_applicant(key)?;
        self.tables.put_applicant(*key, None);
        Ok(())
    }

    fn swap_ban(&mut self, subject: BanSubject, ban: Option<Ban>) {
        let before = self.bans.swap(subject, ban);
        self.undo.push(Undone::Ban(subject, before));
    }

    fn remove_ban(&mut self, subject: &BanSubject) -> Result<(), MemberError> {
        self.begin()?;
        self.store.remove_ban(subject)?;
        self.swap_ban(*subject, None);
        Ok(())
    }

    fn drop_bans(&mut self, now: u64, most: usize) -> Result<(), MemberError> {
        let ended: Vec<BanSubject> = self.bans.ended(now).take(most).collect();
        ended.iter().try_for_each(|subject| self.remove_ban(subject))
    }

    fn drop_invites(&mut self, now: u64, most: usize) -> Result<(), MemberError> {
        let invites = self.tables.invites().values().filter(|invite| !invite.is_live(now));
        let ids: Vec<InviteId> = invites.map(|invite| invite.id).take(most).collect();
        ids.into_iter().try_for_each(|id| self.remove_invite(id))
    }

    fn drop_applicants(&mut self, now: u64, most: usize) -> Result<(), MemberError> {
        let expired = self.tables.applicants().values().filter(|one| !waits(one, now));
        let keys: Vec<Key> = expired.map(|applicant| applicant.key).take(most).collect();
        keys.iter().try_for_each(|key| self.remove_applicant(key))
    }

    fn add_member(
        &mut self,
        name: &UserName,
        key: &Key,
        role: MemberRole,
        groups: Groups,
        now: u64,
    ) -> Result<Member, MemberError> {
        check_groups(&groups)?;
        let member = Member {
            name: name.clone(),
            key: *key,
            role,
            groups,
            via: None,
            since: now,
            seen: now,
            ephemeral: None,
        };
        self.check_new(&member, false)?;
        self.admit_new(member)
    }

    /// Check that a new member may be added. `takes_over`: the name may be a revoked member's.
    fn check_new(&self, member: &Member, takes_over: bool) -> Result<(), MemberError> {
        if let Some(row) = self.tables.members().get(&member.key) {
            return Err(row.revoked.map_or(MemberError::Taken, |_| MemberError::Revoked));
        }
        check_name(&member.name)?;
        let holder = self.tables.named(&member.name);
        if holder.is_some_and(|row| row.revoked.is_none() || !takes_over) {
            return Err(MemberError::Taken);
        }
        if self.count() >= MAX_MEMBERS { Err(MemberError::Full) } else { Ok(()) }
    }

    fn admit_new(&mut self, member: Member) -> Result<Member, MemberError> {
        if let Some(mut row) = self.tables.named(&member.name).cloned() {
            // The revoked row gives its name away and takes another that is as unique as its key.
            row.member.name = name_of_key(&row.member.key)?;
            self.put(row)?;
        }
        if self.tables.applicants().contains_key(&member.key) {
            self.remove_applicant(&member.key)?;
        }
        self.put(MemberRow { member: member.clone(), revoked: None })?;
        Ok(member)
    }

    fn settle(&mut self, now: u64) -> Result<(), MemberError> {
        let mut log = self.log;
        let row = log.settle(now);
        self.append(log, row.as_ref())
    }

    /// Go on with this state of the log, which has added `row`. A count of suppressed entries alone
    /// opens no transaction: a flood must not wait for the disk.
    fn append(&mut self, log: AuditLog, row: Option<&AuditRow>) -> Result<(), MemberError> {
        if let Some(row) = row {
            self.begin()?;
            self.store.append_audit(row)?;
            self.undo.push(Undone::Log(self.log));
        }
        self.log = log;
        Ok(())
    }
}

fn live(row: &MemberRow) -> Option<&Member> {
    row.revoked.is_none().then_some(&row.member)
}

fn waits(applicant: &Applicant, now: u64) -> bool {
    now < applicant.since.saturating_add(APPLICANT_SECONDS)
}

/// `seen` is up to an hour old, so that the member is kept an hour longer.
fn is_forgotten(member: &Member, now: u64) -> bool {
    member.ephemeral.is_some_and(|seconds| {
        member.seen.saturating_add(seconds).saturating_add(SEEN_SECONDS) <= now
    })
}

fn check_groups(groups: &Groups) -> Result<(), MemberError> {
    if groups.fit_a_member() { Ok(()) } else { Err(MemberError::BadGroup) }
}

/// An address is the name of a peer without an account. A key is the name of a revoked member.
fn check_name(name: &UserName) -> Result<(), MemberError> {
    if name.as_address().is_some() || Key::parse(name).is_some() {
        Err(MemberError::BadName)
    } else {
        Ok(())
    }
}

fn name_of_key(key: &Key) -> Result<UserName, MemberError> {
    UserName::new(&key.to_string()).map_err(|_| MemberError::BadName)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn key(number: u8) -> Key {
        Key::new([number + 2; 32]).unwrap()
    }

    fn terms() -> InviteTerms {
        InviteTerms {
            role: MemberRole::Share,
            groups: Groups::default(),
            uses: 9,
            lasts: 3_600,
            ephemeral: None,
            as_name: Some(name("ana")),
        }
    }

    fn ban(text: &str, until: Option<u64>) -> Ban {
        let (by, reason) = (Line::new("host").unwrap(), Line::new("spam").unwrap());
        let subject = BanSubject::parse(text).unwrap();
        Ban { subject, name: None, since: 5, until, by, reason }
    }

    /// All that a caller can see.
    fn shown(members: &Members) -> String {
        format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {} {:?} {:?} {:?}",
            members.list(None, 99),
            members.bans,
            members.limits,
            members.invites(0),
            members.pending(0),
            members.revoked_since(0),
            members.count(),
            members.clock(),
            members.audit(0, 99),
            (members.log.head, members.log.last),
            members.unwritten,
        )
    }

    #[test]
    fn a_failed_commit_leaves_the_cache_as_before() {
        let mut members = Members::open(Box::new(MemoryMembers::default())).unwrap();
        let by = Line::new("host").unwrap();
        let entry = AuditEntry { who: "host", from: None, what: "ENROL", object: "", ok: true };
        let from = "127.0.0.1:5".parse().unwrap();
        for (who, number) in [("ana", 1), ("rui", 2), ("eva", 3)] {
            members.add(&name(who), &key(number), MemberRole::Read, Groups::default(), 1).unwrap();
        }
        members.revoke(&name("ana"), 5).unwrap();
        let token = members.invite(terms(), by.clone(), [3; 20], 5).unwrap();
        members.apply(&name("bia"), &key(4), from, 5).unwrap();
        members.note(&entry, 5).unwrap();
        members.ban(ban("10.0.0.0/8", None), 5).unwrap();
        members.ban(ban("10.1.0.0/16", Some(7)), 5).unwrap();
        members.set_limit(LimitKey::PeerFiles, Some(9)).unwrap();
        members.set_clock(5).unwrap();
        members.commit().unwrap();
        members.note_seen(&key(3), 9_000);
        let before = shown(&members);
        members.enrol(&token, &name("x"), &key(5), 6).unwrap();
        members.revoke(&name("rui"), 6).unwrap();
        members.set(&name("eva"), MemberRole::Admin, Groups::default()).unwrap();
        members.invite(terms(), by, [4; 20], 6).unwrap();
        members.admit(&ApplicantId::Key(key(4)), MemberRole::Read, Groups::default(), 6).unwrap();
        members.apply(&name("caio"), &key(6), from, 6).unwrap();
        members.note(&entry, 6).unwrap();
        members.ban(ban("10.0.0.0/8", Some(70)), 6).unwrap();
        members.ban(ban("192.0.2.7", None), 6).unwrap();
        members.unban(&ban("192.0.2.7", None).subject, 6).unwrap();
        members.set_limit(LimitKey::PeerFiles, None).unwrap();
        members.set_limit(LimitKey::Searches, Some(3)).unwrap();
        members.upkeep(7).unwrap();
        members.set_clock(7).unwrap();
        assert_ne!(shown(&members), before);
        members.broken = Some(StoreError::Full);
        let refused = Err(MemberError::Store(StoreError::Full));
        assert_eq!(members.revoke(&name("eva"), 7), refused);
        assert_eq!(members.commit(), Err(StoreError::Full));
        assert_eq!(shown(&members), before);
        assert!(!members.is_open() && members.commit().is_ok());
        assert!(members.enrol(&token, &name("x"), &key(5), 6).is_ok());
        assert_eq!(members.by_name(&name("ana")).map(|ana| ana.key), Some(key(5)));
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(1)));
    }

    #[test]
    fn a_flood_opens_no_transaction() {
        let mut members = Members::open(Box::new(MemoryMembers::default())).unwrap();
        let entry = AuditEntry { who: "", from: None, what: "ENROL", object: "", ok: false };
        for _ in 0..10 {
            members.note(&entry, 1).unwrap();
        }
        members.commit().unwrap();
        for _ in 0..1_000 {
            members.note(&entry, 1).unwrap();
        }
        assert!(!members.is_open() && members.undo.is_empty());
    }

    #[test]
    fn each_error_has_words_of_its_own() {
        use MemberError as E;
        let store = E::Store(StoreError::Full);
        let all = [
            E::BadToken,
            E::Taken,
            E::Full,
            E::Revoked,
            E::Unknown,
            E::NoBan,
            E::Ambiguous,
            E::BadName,
            E::BadGroup,
            store,
        ];
        let words: BTreeSet<String> = all.iter().map(ToString::to_string).collect();
        assert_eq!(words.len(), all.len());
    }
}
