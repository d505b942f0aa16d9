//! Members, invites, applicants and the audit log in the database of the accounts.

use std::rc::Rc;

use rusqlite::{Row, params};

use crate::accounts::store::StoreError;
use crate::members::audit::{AuditBase, AuditHead, AuditRow};
use crate::members::bans::Ban;
use crate::members::invite::Invite;
use crate::members::store::{MemberRow, MemberStore};
use crate::os::sqlite::database::{SharedDatabase, TableUser};
use crate::os::sqlite::{line, most_of, signed, spoilt, text, user_name};
use crate::protocol::administration::{BanSubject, LimitKey};
use crate::protocol::member::{Applicant, Member};
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::member::{Groups, InviteId, MemberRole};

/// The tables of version 2. Times are index seconds; groups are names with commas between.
pub(super) const TABLES: &str = "
CREATE TABLE members (
    key BLOB PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    role TEXT NOT NULL,
    groups TEXT NOT NULL,
    via_invite BLOB,
    since INTEGER NOT NULL,
    seen INTEGER NOT NULL,
    ephemeral_s INTEGER,
    revoked INTEGER
) STRICT, WITHOUT ROWID;
CREATE TABLE invites (
    id BLOB PRIMARY KEY,
    hash BLOB NOT NULL,
    role TEXT NOT NULL,
    groups TEXT NOT NULL,
    uses_left INTEGER NOT NULL,
    until INTEGER NOT NULL,
    by TEXT NOT NULL,
    ephemeral_s INTEGER,
    as_name TEXT
) STRICT, WITHOUT ROWID;
CREATE TABLE pending (
    key BLOB PRIMARY KEY,
    name TEXT NOT NULL,
    from_addr TEXT NOT NULL,
    since INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE audit (
    seq INTEGER PRIMARY KEY CHECK (seq > 0),
    at INTEGER NOT NULL,
    who TEXT NOT NULL,
    from_addr TEXT NOT NULL,
    what TEXT NOT NULL,
    object TEXT NOT NULL,
    ok INTEGER NOT NULL CHECK (ok IN (0, 1)),
    chain BLOB NOT NULL
) STRICT;
CREATE TABLE clock (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    now INTEGER NOT NULL,
    audit_seq INTEGER NOT NULL,
    audit_chain BLOB NOT NULL
) STRICT;
INSERT INTO clock (id, now, audit_seq, audit_chain) VALUES (1, 0, 0, zeroblob(32));
";

/// The tables of version 3: the rows of the audit log that were pruned, and the next key of the
/// server, at most a row each; bans and limits. The subject of a ban is a key in hex digits or a
/// range.
pub(super) const TABLES_3: &str = "
CREATE TABLE audit_base (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    seq INTEGER NOT NULL,
    chain BLOB NOT NULL,
    recorded_in INTEGER NOT NULL
) STRICT;
CREATE TABLE rotation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    next_key BLOB NOT NULL,
    since INTEGER NOT NULL
) STRICT;
CREATE TABLE bans (
    subject TEXT PRIMARY KEY,
    name TEXT,
    since INTEGER NOT NULL,
    until INTEGER,
    by TEXT NOT NULL,
    reason TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE limits (
    key TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
";

const USER: TableUser = TableUser::Members;

/// A store of members in SQLite, made by [`SqliteStore::members`](super::SqliteStore::members).
pub struct SqliteMembers {
    shared: Rc<SharedDatabase>,
}

impl SqliteMembers {
    pub(super) fn new(shared: Rc<SharedDatabase>) -> SqliteMembers {
        SqliteMembers { shared }
    }

    fn change(&self, sql: &str, values: impl rusqlite::Params) -> Result<(), StoreError> {
        self.shared.change(USER, sql, values).map(|_| ())
    }

    fn number(&self, sql: &str) -> Result<u64, StoreError> {
        Ok(self.shared.one(sql, [], |row| unsigned(row, 0))?.unwrap_or(0))
    }
}

impl MemberStore for SqliteMembers {
    fn begin(&self) -> Result<bool, StoreError> {
        self.shared.begin(USER)
    }

    fn commit(&self) -> Result<(), StoreError> {
        self.shared.commit(USER)
    }

    fn roll_back(&self) {
        self.shared.roll_back(USER);
    }

    fn clock(&self) -> Result<u64, StoreError> {
        self.number("SELECT now FROM clock")
    }

    fn set_clock(&self, now: u64) -> Result<(), StoreError> {
        self.change("UPDATE clock SET now = ?", [signed(now)])
    }

    fn members(&self, after: Option<&Key>, most: usize) -> Result<Vec<MemberRow>, StoreError> {
        let sql = "SELECT key, name, role, groups, via_invite, since, seen, ephemeral_s, revoked FROM members
            WHERE key > ? ORDER BY key LIMIT ?";
        // Each key is behind the empty one.
        let after = after.map_or(&[][..], |key| &key.bytes()[..]);
        self.shared.rows(sql, params![after, most_of(most)], member)
    }

    fn put_member(&self, row: &MemberRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO members (key, name, role, groups, via_invite, since, seen, ephemeral_s, revoked)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
            ON CONFLICT (key) DO UPDATE SET name = excluded.name, role = excluded.role, groups = excluded.groups,
            via_invite = excluded.via_invite, since = excluded.since, seen = excluded.seen,
            ephemeral_s = excluded.ephemeral_s, revoked = excluded.revoked";
        let member = &row.member;
        let values = params![
            &member.key.bytes()[..],
            &*member.name,
            member.role.as_str(),
            member.groups.to_string(),
            member.via.as_ref().map(|id| &id.0[..]),
            signed(member.since),
            signed(member.seen),
            member.ephemeral.map(signed),
            row.revoked.map(signed),
        ];
        self.change(sql, values)
    }

    fn remove_member(&self, key: &Key) -> Result<(), StoreError> {
        self.change("DELETE FROM members WHERE key = ?", [&key.bytes()[..]])
    }

    fn set_seen(&self, key: &Key, seen: u64) -> Result<(), StoreError> {
        let sql = "UPDATE members SET seen = ? WHERE key = ?";
        self.change(sql, params![signed(seen), &key.bytes()[..]])
    }

    fn invites(&self) -> Result<Vec<Invite>, StoreError> {
        let sql = "SELECT id, hash, role, groups, uses_left, until, by, ephemeral_s, as_name FROM invites ORDER BY id";
        self.shared.rows(sql, [], invite)
    }

    fn put_invite(&self, invite: &Invite) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO invites (id, hash, role, groups, uses_left, until, by, ephemeral_s, as_name)
            VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            &invite.id.0[..],
            &invite.hash[..],
            invite.role.as_str(),
            invite.groups.to_string(),
            invite.uses_left,
            signed(invite.until),
            &*invite.by,
            invite.ephemeral.map(signed),
            invite.as_name.as_deref(),
        ];
        self.change(sql, values)
    }

    fn remove_invite(&self, id: InviteId) -> Result<(), StoreError> {
        self.change("DELETE FROM invites WHERE id = ?", [&id.0[..]])
    }

    fn applicants(&self) -> Result<Vec<Applicant>, StoreError> {
        let sql = "SELECT key, name, from_addr, since FROM pending ORDER BY key";
        self.shared.rows(sql, [], |row| {
            Ok(Applicant {
                key: key(row, 0)?,
                name: user_name(row, 1)?,
                from: text(row, 2)?.parse().map_err(|_| spoilt(2, "an address that is none"))?,
                since: unsigned(row, 3)?,
            })
        })
    }

    fn put_applicant(&self, applicant: &Applicant) -> Result<(), StoreError> {
        let sql =
            "INSERT OR REPLACE INTO pending (key, name, from_addr, since) VALUES (?, ?, ?, ?)";
        let values = params![
            &applicant.key.bytes()[..],
            &*applicant.name,
            applicant.from.to_string(),
            signed(applicant.since),
        ];
        self.change(sql, values)
    }

    fn remove_applicant(&self, key: &Key) -> Result<(), StoreError> {
        self.change("DELETE FROM pending WHERE key = ?", [&key.bytes()[..]])
    }

    fn bans(&self) -> Result<Vec<Ban>, StoreError> {
        let sql = "SELECT subject, name, since, until, by, reason FROM bans";
        self.shared.rows(sql, [], ban)
    }

    fn put_ban(&self, ban: &Ban) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO bans (subject, name, since, until, by, reason)
            VALUES (?, ?, ?, ?, ?, ?)";
        let values = params![
            ban.subject.to_string(),
            ban.name.as_deref(),
            signed(ban.since),
            ban.until.map(signed),
            &*ban.by,
            &*ban.reason,
        ];
        self.change(sql, values)
    }

    fn remove_ban(&self, subject: &BanSubject) -> Result<(), StoreError> {
        self.change("DELETE FROM bans WHERE subject = ?", [subject.to_string()])
    }

    fn limits(&self) -> Result<Vec<(LimitKey, u64)>, StoreError> {
        let read = |row: &Row<'_>| Ok((LimitKey::parse(text(row, 0)?), unsigned(row, 1)?));
        let rows = self.shared.rows("SELECT key, value FROM limits", [], read)?;
        // Another version may have known more limits.
        Ok(rows.into_iter().filter_map(|(key, value)| Some((key?, value))).collect())
    }

    fn set_limit(&self, key: LimitKey, value: Option<u64>) -> Result<(), StoreError> {
        match value {
            Some(value) => self.change(
                "INSERT OR REPLACE INTO limits (key, value) VALUES (?, ?)",
                params![key.as_str(), signed(value)],
            ),
            None => self.change("DELETE FROM limits WHERE key = ?", [key.as_str()]),
        }
    }

    fn append_audit(&self, row: &AuditRow) -> Result<(), StoreError> {
        let sql = "INSERT INTO audit (seq, at, who, from_addr, what, object, ok, chain) VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
        let values = params![
            signed(row.seq),
            signed(row.at),
            row.who,
            row.from,
            row.what,
            row.object,
            row.ok,
            &row.chain[..],
        ];
        self.change(sql, values)?;
        let sql = "UPDATE clock SET audit_seq = ?, audit_chain = ?";
        self.change(sql, params![signed(row.seq), &row.chain[..]])
    }

    fn audit(&self, after: u64, most: usize) -> Result<Vec<AuditRow>, StoreError> {
        let sql = "SELECT seq, at, who, from_addr, what, object, ok, chain FROM audit WHERE seq > ? ORDER BY seq LIMIT ?";
        self.shared.rows(sql, params![signed(after), most_of(most)], audit_row)
    }

    fn audit_head(&self) -> Result<AuditHead, StoreError> {
        let head = self.shared.one("SELECT audit_seq, audit_chain FROM clock", [], |row| {
            Ok(AuditHead { seq: unsigned(row, 0)?, chain: bytes(row, 1)? })
        })?;
        Ok(head.unwrap_or_default())
    }

    fn last_audit(&self) -> Result<u64, StoreError> {
        self.number("SELECT coalesce(max(seq), 0) FROM audit")
    }

    fn audit_base(&self) -> Result<AuditBase, StoreError> {
        let sql = "SELECT seq, chain, recorded_in FROM audit_base";
        let base = self.shared.one(sql, [], |row| {
            let head = AuditHead { seq: unsigned(row, 0)?, chain: bytes(row, 1)? };
            Ok(AuditBase { head, recorded_in: unsigned(row, 2)? })
        })?;
        Ok(base.unwrap_or_default())
    }

    fn prune_audit(&self, base: &AuditBase) -> Result<(), StoreError> {
        let AuditBase { head, recorded_in } = base;
        let sql =
            "INSERT OR REPLACE INTO audit_base (id, seq, chain, recorded_in) VALUES (1, ?, ?, ?)";
        self.change(sql, params![signed(head.seq), &head.chain[..], signed(*recorded_in)])?;
        self.change("DELETE FROM audit WHERE seq <= ?", [signed(head.seq)])
    }

    fn rotation(&self) -> Result<Option<(Key, u64)>, StoreError> {
        let sql = "SELECT next_key, since FROM rotation";
        self.shared.one(sql, [], |row| Ok((key(row, 0)?, unsigned(row, 1)?)))
    }

    fn set_rotation(&self, next: &Key, since: u64) -> Result<(), StoreError> {
        let sql = "INSERT OR REPLACE INTO rotation (id, next_key, since) VALUES (1, ?, ?)";
        self.change(sql, params![&next.bytes()[..], signed(since)])
    }
}

fn unsigned(row: &Row<'_>, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|_| spoilt(column, "a negative number"))
}

fn optional(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<u64>> {
    match row.get::<_, Option<i64>>(column)? {
        Some(_) => unsigned(row, column).map(Some),
        None => Ok(None),
    }
}

fn bytes<const N: usize>(row: &Row<'_>, column: usize) -> rusqlite::Result<[u8; N]> {
    let blob = row.get_ref(column)?.as_blob()?;
    blob.try_into().map_err(|_| spoilt(column, "bytes of another length"))
}

fn key(row: &Row<'_>, column: usize) -> rusqlite::Result<Key> {
    Key::new(bytes(row, column)?).ok_or_else(|| spoilt(column, "a key that proves nothing"))
}

fn role(row: &Row<'_>, column: usize) -> rusqlite::Result<MemberRole> {
    MemberRole::parse(text(row, column)?).ok_or_else(|| spoilt(column, "an unknown role"))
}

fn groups(row: &Row<'_>, column: usize) -> rusqlite::Result<Groups> {
    let names = text(row, column)?.split(',').filter(|name| !name.is_empty());
    Groups::parse(names).ok_or_else(|| spoilt(column, "a group that is none"))
}

fn member(row: &Row<'_>) -> rusqlite::Result<MemberRow> {
    let is_invited = row.get_ref(4)?.as_blob_or_null()?.is_some();
    let member = Member {
        key: key(row, 0)?,
        name: user_name(row, 1)?,
        role: role(row, 2)?,
        groups: groups(row, 3)?,
        via: if is_invited { Some(InviteId(bytes(row, 4)?)) } else { None },
        since: unsigned(row, 5)?,
        seen: unsigned(row, 6)?,
        ephemeral: optional(row, 7)?,
    };
    Ok(MemberRow { member, revoked: optional(row, 8)? })
}

fn invite(row: &Row<'_>) -> rusqlite::Result<Invite> {
    let as_name: Option<UserName> = match row.get_ref(8)?.as_str_or_null()? {
        Some(_) => Some(user_name(row, 8)?),
        None => None,
    };
    Ok(Invite {
        id: InviteId(bytes(row, 0)?),
        hash: bytes(row, 1)?,
        role: role(row, 2)?,
        groups: groups(row, 3)?,
        uses_left: row.get(4)?,
        until: unsigned(row, 5)?,
        by: line(row, 6)?,
        ephemeral: optional(row, 7)?,
        as_name,
    })
}

fn ban(row: &Row<'_>) -> rusqlite::Result<Ban> {
    let name = match row.get_ref(1)?.as_str_or_null()? {
        Some(_) => Some(user_name(row, 1)?),
        None => None,
    };
    Ok(Ban {
        subject: BanSubject::parse(text(row, 0)?).ok_or_else(|| spoilt(0, "a ban of nothing"))?,
        name,
        since: unsigned(row, 2)?,
        until: optional(row, 3)?,
        by: line(row, 4)?,
        reason: line(row, 5)?,
    })
}

/// A row of the log as it is: a spoilt value breaks the chain, and the check names the row.
fn audit_row(row: &Row<'_>) -> rusqlite::Result<AuditRow> {
    let number = |column| row.get::<_, i64>(column).map(i64::cast_unsigned);
    let text = |column| {
        let bytes = row.get_ref(column)?.as_bytes()?;
        Ok::<_, rusqlite::Error>(String::from_utf8_lossy(bytes).into_owned())
    };
    Ok(AuditRow {
        seq: number(0)?,
        at: number(1)?,
        who: text(2)?,
        from: text(3)?,
        what: text(4)?,
        object: text(5)?,
        ok: number(6)? != 0,
        chain: bytes(row, 7).unwrap_or_default(),
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use crate::accounts::store::{Account, Store as _};
    use crate::members::Members;
    use crate::members::audit::{AuditCheck, AuditEntry, AuditProgress};
    use crate::os::data_folder::FILE;
    use crate::os::sqlite::SqliteStore;
    use crate::protocol::member::InviteTerms;
    use crate::protocol::types::account::Line;

    fn folder() -> tempfile::TempDir {
        tempfile::tempdir().unwrap()
    }

    fn name(text: &str) -> UserName {
        UserName::new(text).unwrap()
    }

    fn a_key(number: u8) -> Key {
        Key::new([number + 2; 32]).unwrap()
    }

    fn opened(store: &SqliteStore) -> Members {
        Members::open(Box::new(store.members())).unwrap()
    }

    fn add(members: &mut Members, who: &str, number: u8) {
        let groups = Groups::parse(["a", "b"]).unwrap();
        members.add(&name(who), &a_key(number), MemberRole::Share, groups, 5).unwrap();
    }

    /// A store whose log has so many rows.
    fn with_log(dir: &Path, rows: u64) -> (SqliteStore, Members) {
        let store = SqliteStore::open(dir).unwrap();
        let mut members = opened(&store);
        for now in 1..=rows {
            let object = format!("member {now}");
            let entry =
                AuditEntry { who: "ana", from: None, what: "REVOKE", object: &object, ok: true };
            members.note(&entry, now).unwrap();
        }
        members.commit().unwrap();
        (store, members)
    }

    #[test]
    fn members_outlive_the_process_and_a_crash_loses_the_open_transaction_alone() {
        let folder = folder();
        let (dir, copy) = (folder.path().join("one"), folder.path().join("copy"));
        let store = SqliteStore::open(&dir).unwrap();
        let mut members = opened(&store);
        for (who, number) in [("ana", 1), ("rui", 2), ("eva", 3)] {
            add(&mut members, who, number);
        }
        members.revoke(&name("rui"), 7).unwrap();
        let terms = InviteTerms {
            role: MemberRole::Read,
            groups: Groups::default(),
            uses: 2,
            lasts: 99,
            ephemeral: Some(9),
            as_name: None,
        };
        let token = members.invite(terms, Line::new("ana").unwrap(), [5; 20], 7).unwrap();
        members.apply(&name("bia"), &a_key(4), "[::1]:9".parse().unwrap(), 7).unwrap();
        members.set_clock(70).unwrap();
        members.commit().unwrap();
        add(&mut members, "not committed", 9);
        members.enrol(&token, &name("not committed either"), &a_key(10), 8).unwrap();
        assert!(members.is_open());
        // The state after a power cut: the files as they are.
        fs::create_dir(&copy).unwrap();
        for name in [FILE, "accounts.sqlite-wal"] {
            fs::copy(dir.join(name), copy.join(name)).unwrap();
        }
        drop((members, store));
        for dir in [dir, copy] {
            let store = SqliteStore::open(&dir).unwrap();
            let mut members = opened(&store);
            let names: Vec<String> =
                members.list(None, 9).iter().map(|one| one.name.to_string()).collect();
            assert_eq!(names, ["ana", "eva"]);
            assert!(members.is_revoked(&a_key(2)) && members.revoked_since(7) == [a_key(2)]);
            assert_eq!((members.clock(), members.pending(8).len()), (70, 1));
            assert_eq!(members.invites(8)[0].uses_left, 2);
            assert!(members.enrol(&token, &name("caio"), &a_key(10), 8).is_ok());
        }
    }

    #[test]
    fn the_secret_of_an_invite_is_not_on_the_disk() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let mut members = opened(&store);
        let terms = InviteTerms {
            role: MemberRole::Read,
            groups: Groups::default(),
            uses: 1,
            lasts: 99,
            ephemeral: None,
            as_name: None,
        };
        let random: [u8; 20] = std::array::from_fn(|place| place as u8 + 0x80);
        let token = members.invite(terms, Line::new("ana").unwrap(), random, 0).unwrap();
        members.commit().unwrap();
        let has = |bytes: &[u8], part: &[u8]| bytes.windows(part.len()).any(|w| w == part);
        let mut has_hash = false;
        for entry in fs::read_dir(folder.path()).unwrap() {
            let bytes = fs::read(entry.unwrap().path()).unwrap();
            assert!(!has(&bytes, token.secret()) && !has(&bytes, token.reveal().as_bytes()));
            has_hash |= has(&bytes, blake3::hash(token.secret()).as_bytes());
        }
        assert!(has_hash);
    }

    #[test]
    fn a_row_of_the_log_that_another_program_changes_is_named() {
        let changes = [
            ("UPDATE audit SET object = 'member x' WHERE seq = 30", 30),
            ("UPDATE audit SET ok = 0 WHERE seq = 31", 31),
            ("UPDATE audit SET at = -1 WHERE seq = 32", 32),
            ("UPDATE audit SET who = CAST(x'ff0a' AS TEXT) WHERE seq = 33", 33),
            ("UPDATE audit SET chain = x'00' WHERE seq = 34", 34),
            ("DELETE FROM audit WHERE seq = 1", 1),
            ("DELETE FROM audit WHERE seq = 40", 40),
            ("DELETE FROM audit WHERE seq > 48", 49),
            ("DELETE FROM audit", 1),
            (
                "INSERT INTO audit SELECT 51, at, who, from_addr, what, object, ok, chain FROM audit WHERE seq = 50",
                51,
            ),
            ("UPDATE audit SET seq = -seq - 1 WHERE seq >= 20", 0),
            ("UPDATE audit SET seq = 60 WHERE seq = 20", 20),
            ("UPDATE audit SET chain = (SELECT chain FROM audit WHERE seq = 7) WHERE seq = 50", 50),
        ];
        for (sql, seq) in changes {
            let folder = folder();
            let (store, members) = with_log(folder.path(), 50);
            assert_eq!(members.verify(), Ok(AuditProgress::Intact(50)));
            let other = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
            let result = other.execute(sql, []);
            assert_eq!(result.is_err(), seq == 0, "{sql}");
            let wanted = if seq == 0 { AuditProgress::Intact(50) } else { AuditProgress::Bad(seq) };
            // By slices, and in another process as well.
            let mut check = AuditCheck::default();
            let sliced = loop {
                match members.verify_slice(&mut check, 7).unwrap() {
                    AuditProgress::More => {}
                    end => break end,
                }
            };
            assert_eq!((sliced, members.verify()), (wanted, Ok(wanted)), "{sql}");
            drop((store, members));
            let store = SqliteStore::open(folder.path()).unwrap();
            let mut members = opened(&store);
            assert_eq!(members.verify(), Ok(wanted), "{sql}");
            // The log goes on, and does not hide the fault.
            let entry = AuditEntry { who: "", from: None, what: "SET", object: "", ok: true };
            members.note(&entry, 99).unwrap();
            members.commit().unwrap();
            if seq != 0 {
                assert_eq!(members.verify(), Ok(AuditProgress::Bad(seq)), "{sql}");
            }
        }
    }

    #[test]
    fn a_store_of_version_1_gets_the_tables_of_members() {
        let folder = folder();
        drop(SqliteStore::open(folder.path()).unwrap());
        let raw = || rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
        raw()
            .execute_batch(
                "DROP TABLE members; DROP TABLE invites; DROP TABLE pending; DROP TABLE audit;
                DROP TABLE clock; DROP TABLE audit_base; DROP TABLE rotation; DROP TABLE bans; DROP TABLE limits;
                INSERT INTO users (name) VALUES ('ana'); PRAGMA user_version = 1;",
            )
            .unwrap();
        let reader = SqliteStore::open_read_only(folder.path()).unwrap();
        assert_eq!(reader.users(0, 9).unwrap().len(), 1);
        assert!(Members::open(Box::new(reader.members())).is_err());
        drop(reader);
        let store = SqliteStore::open(folder.path()).unwrap();
        assert!(store.user(&name("ana")).unwrap().is_some());
        let mut members = opened(&store);
        add(&mut members, "ana", 1);
        members.commit().unwrap();
        drop((store, members));
        let version: i64 = raw().query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap();
        assert_eq!(version, 3);
        assert_eq!(opened(&SqliteStore::open(folder.path()).unwrap()).count(), 1);
        // A store of version 2 keeps its members, and gets the tables of bans.
        raw()
            .execute_batch(
                "DROP TABLE bans; DROP TABLE limits; DROP TABLE audit_base; DROP TABLE rotation;
                PRAGMA user_version = 2;",
            )
            .unwrap();
        let members = opened(&SqliteStore::open(folder.path()).unwrap());
        assert_eq!((members.count(), members.bans(None, 0).count()), (1, 0));
    }

    #[test]
    fn accounts_and_members_share_a_transaction() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let mut members = opened(&store);
        let no_key = Account { key: None };
        // The first commit includes the changes of both.
        store.begin().unwrap();
        store.add_user(&name("ana"), &no_key).unwrap();
        add(&mut members, "ana", 1);
        members.commit().unwrap();
        let reader = SqliteStore::open_read_only(folder.path()).unwrap();
        assert_eq!(reader.users(0, 9).unwrap().len(), 1);
        // Both go on after the commit of the other.
        store.add_user(&name("rui"), &no_key).unwrap();
        add(&mut members, "rui", 2);
        store.commit().unwrap();
        add(&mut members, "eva", 3);
        members.commit().unwrap();
        assert_eq!((reader.users(0, 9).unwrap().len(), opened(&reader).count()), (2, 3));
        // A store that rolls back takes the changes of the other, which learns of it.
        store.begin().unwrap();
        add(&mut members, "bia", 4);
        store.roll_back();
        assert!(members.revoke(&name("ana"), 9).is_err());
        assert!(members.commit().is_err());
        assert_eq!((members.count(), members.by_name(&name("bia"))), (3, None));
        add(&mut members, "bia", 4);
        members.commit().unwrap();
        assert_eq!(opened(&reader).count(), 4);
    }

    #[test]
    fn a_change_undone_after_the_commit_of_the_other_store_goes_back_to_that_commit() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let mut members = opened(&store);
        store.begin().unwrap();
        add(&mut members, "ana", 1);
        store.commit().unwrap();
        add(&mut members, "rui", 2);
        store.begin().unwrap();
        store.roll_back();
        assert!(members.commit().is_err());
        let names = |members: &Members| -> Vec<String> {
            members.list(None, 9).iter().map(|one| one.name.to_string()).collect()
        };
        assert_eq!(names(&members), ["ana"]);
        assert_eq!(names(&opened(&store)), ["ana"]);
    }

    #[test]
    fn an_error_inside_of_the_transaction_prevents_a_commit_of_half_an_operation() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let mut members = opened(&store);
        add(&mut members, "ana", 1);
        store.begin().unwrap();
        store.add_user(&name("half"), &Account { key: None }).unwrap();
        let twice = "INSERT INTO users (name) VALUES ('half')";
        assert!(store.shared.change(TableUser::Accounts, twice, []).is_err());
        assert!(members.commit().is_err() && members.count() == 0);
        assert!(store.commit().is_err());
        store.roll_back();
        assert_eq!(store.user(&name("half")), Ok(None));
        add(&mut members, "ana", 1);
        members.commit().unwrap();
        assert_eq!(opened(&store).count(), 1);
    }

    #[test]
    fn a_spoilt_member_is_an_error_and_hides_no_revocation() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let mut members = opened(&store);
        add(&mut members, "ana", 1);
        members.commit().unwrap();
        for sql in [
            "UPDATE members SET role = 'root'",
            "UPDATE members SET groups = 'A'",
            "UPDATE members SET name = '../x'",
            "UPDATE members SET revoked = -1",
            "UPDATE members SET key = x'00'",
        ] {
            store.shared.database.execute_batch(&format!("SAVEPOINT spoilt; {sql}")).unwrap();
            assert!(Members::open(Box::new(store.members())).is_err(), "{sql}");
            store.shared.database.execute_batch("ROLLBACK TO spoilt; RELEASE spoilt").unwrap();
        }
        assert_eq!(opened(&store).count(), 1);
    }

    #[test]
    fn a_hundred_thousand_members_open_in_some_hundred_milliseconds() {
        let folder = folder();
        let store = SqliteStore::open(folder.path()).unwrap();
        let rows = store.members();
        rows.begin().unwrap();
        for number in 0..100_000_u32 {
            let mut bytes = [7; 32];
            bytes[..4].copy_from_slice(&number.to_be_bytes());
            let member = Member {
                name: name(&format!("member {number}")),
                key: Key::new(bytes).unwrap(),
                role: MemberRole::Read,
                groups: Groups::default(),
                via: (number < 5_000).then_some(InviteId([1; 4])),
                since: 0,
                seen: 0,
                ephemeral: None,
            };
            rows.put_member(&MemberRow { member, revoked: None }).unwrap();
        }
        rows.commit().unwrap();
        let since = std::time::Instant::now();
        let mut members = opened(&store);
        println!("100,000 members: opened in {:?}", since.elapsed());
        assert_eq!(members.count(), 100_000);
        let mut bytes = [7; 32];
        bytes[..4].copy_from_slice(&77_u32.to_be_bytes());
        let key = Key::new(bytes).unwrap();
        let since = std::time::Instant::now();
        for _ in 0..10_000 {
            assert!(members.by_key(&key).is_some());
        }
        println!("by_key: {:?}", since.elapsed() / 10_000);
        let since = std::time::Instant::now();
        assert_eq!(members.revoke_invite(InviteId([1; 4]), 1).unwrap().len(), 5_000);
        members.commit().unwrap();
        println!("5,000 members of an invite: revoked in {:?}", since.elapsed());
    }
}
