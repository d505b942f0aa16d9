//! Members of a closed server: the same behaviour in memory and on disk.

use cardume::accounts::store::StoreError;
use cardume::members::audit::{
    AUDIT_ROWS, AuditEntry, AuditLimits, AuditProgress, PRUNE_ROWS, PRUNE_SECONDS, PRUNED,
    SUPPRESSED,
};
use cardume::members::bans::Ban;
use cardume::members::invite::Invite;
use cardume::members::memory::MemoryMembers;
use cardume::members::store::{MemberRow, MemberStore};
use cardume::members::{
    APPLICANT_SECONDS, Application, FORGET_SCAN, MAX_APPLICANTS, MAX_BANS, MAX_INVITES,
    MemberError, Members, SEEN_SECONDS,
};
use cardume::protocol::administration::{BanSubject, LimitKey};
use cardume::protocol::member::{Applicant, Member};
use cardume::protocol::member::{ApplicantId, InviteTerms};
use cardume::protocol::types::account::{Key, Line, UserName};
use cardume::protocol::types::member::{Groups, InviteId, InviteToken, MemberRole};

/// Runs a check on every kind of store.
fn on_each_store(behaviour: impl Fn(Box<dyn MemberStore>)) {
    behaviour(Box::new(MemoryMembers::default()));
    #[cfg(feature = "store")]
    {
        let folder = tempfile::tempdir().unwrap();
        let store = cardume::os::sqlite::SqliteStore::open(folder.path()).unwrap();
        behaviour(Box::new(store.members()));
    }
}

fn with_members(behaviour: impl Fn(&mut Members)) {
    on_each_store(|store| behaviour(&mut Members::open(store).unwrap()));
}

fn name(text: &str) -> UserName {
    UserName::new(text).unwrap()
}

fn groups(names: &[&str]) -> Groups {
    Groups::parse(names.iter().copied()).unwrap()
}

/// A key for each number.
fn key(number: u32) -> Key {
    let mut bytes = [7; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Key::new(bytes).unwrap()
}

fn terms(uses: u32) -> InviteTerms {
    InviteTerms {
        role: MemberRole::Share,
        groups: groups(&["turma-a"]),
        uses,
        lasts: 3_600,
        ephemeral: None,
        as_name: None,
    }
}

fn random(number: u32) -> [u8; 20] {
    let mut bytes = [9; 20];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    bytes
}

fn host() -> Line {
    Line::new("host").unwrap()
}

fn invite(members: &mut Members, number: u32, terms: InviteTerms, now: u64) -> InviteToken {
    let token = members.invite(terms, host(), random(number), now).unwrap();
    members.commit().unwrap();
    token
}

/// Enrols in a transaction of its own.
fn enrol(
    members: &mut Members,
    token: &InviteToken,
    who: &str,
    number: u32,
    now: u64,
) -> Result<Member, MemberError> {
    let result = members.enrol(token, &name(who), &key(number), now);
    members.commit().unwrap();
    result
}

fn a_member(number: u32) -> Member {
    Member {
        name: name(&format!("member {number}")),
        key: key(number),
        role: MemberRole::Read,
        groups: groups(&["a", "b"]),
        via: Some(InviteId([1, 2, 3, 4])),
        since: 5,
        seen: 6,
        ephemeral: Some(7),
    }
}

#[test]
fn rows_are_read_as_they_were_written() {
    on_each_store(|store| {
        let live = MemberRow { member: a_member(1), revoked: None };
        let plain = Member { groups: groups(&[]), via: None, ephemeral: None, ..a_member(2) };
        let revoked = MemberRow { member: plain, revoked: Some(8) };
        let an_invite = |number, as_name| {
            Invite::new(
                &InviteToken::new(random(number)),
                InviteTerms { ephemeral: Some(9), as_name, ..terms(4) },
                host(),
                3,
            )
        };
        let invites = [an_invite(1, None), an_invite(2, Some(name("ana")))];
        let applicant = Applicant {
            name: name("rui"),
            key: key(3),
            from: "[2001:db8::7]:9".parse().unwrap(),
            since: 2,
        };
        assert!(store.begin().unwrap());
        for row in [&live, &revoked] {
            store.put_member(row).unwrap();
        }
        for invite in &invites {
            store.put_invite(invite).unwrap();
        }
        store.put_applicant(&applicant).unwrap();
        store.set_clock(77).unwrap();
        store.commit().unwrap();
        assert_eq!(store.members(None, 9), Ok(vec![live.clone(), revoked.clone()]));
        assert_eq!(store.members(None, 1), Ok(vec![live.clone()]));
        assert_eq!(store.members(Some(&key(1)), 9), Ok(vec![revoked.clone()]));
        assert_eq!(store.members(Some(&key(2)), 9), Ok(vec![]));
        assert_eq!(store.invites(), Ok(invites.to_vec()));
        assert_eq!(store.applicants(), Ok(vec![applicant.clone()]));
        assert_eq!(store.clock(), Ok(77));
        // Replaced, changed and removed.
        let promoted = MemberRow {
            member: Member { role: MemberRole::Admin, ..live.member.clone() },
            revoked: None,
        };
        store.begin().unwrap();
        store.put_member(&promoted).unwrap();
        store.set_seen(&key(2), 99).unwrap();
        store.remove_invite(invites[0].id).unwrap();
        store.remove_applicant(&applicant.key).unwrap();
        store.commit().unwrap();
        let rows = store.members(None, 9).unwrap();
        assert_eq!((&rows[0], rows[1].member.seen), (&promoted, 99));
        assert_eq!((store.invites().unwrap().len(), store.applicants()), (1, Ok(vec![])));
        store.begin().unwrap();
        store.remove_member(&key(1)).unwrap();
        store.commit().unwrap();
        assert_eq!(store.members(None, 9).unwrap().len(), 1);
    });
}

#[test]
fn changes_require_a_transaction_and_a_rollback_undoes_them() {
    on_each_store(|store| {
        let row = MemberRow { member: a_member(1), revoked: None };
        assert!(store.put_member(&row).is_err() && store.set_clock(1).is_err());
        assert!(store.commit().is_err());
        // A transaction is joined.
        assert_eq!((store.begin(), store.begin()), (Ok(true), Ok(false)));
        store.put_member(&row).unwrap();
        store.put_invite(&Invite::new(&InviteToken::new(random(1)), terms(1), host(), 0)).unwrap();
        store.set_clock(5).unwrap();
        store.roll_back();
        assert_eq!((store.members(None, 9), store.invites()), (Ok(vec![]), Ok(vec![])));
        assert_eq!((store.clock(), store.begin()), (Ok(0), Ok(true)));
        store.put_member(&row).unwrap();
        let mut other = MemberRow { member: a_member(2), revoked: None };
        other.member.name = row.member.name.clone();
        assert!(store.put_member(&other).is_err());
        store.roll_back();
        assert_eq!(store.members(None, 9), Ok(vec![]));
    });
}

#[test]
fn an_invite_admits_with_its_terms() {
    with_members(|members| {
        let token = invite(members, 1, InviteTerms { ephemeral: Some(60), ..terms(2) }, 100);
        assert_eq!(members.invites(100).len(), 1);
        let ana = enrol(members, &token, "ana", 1, 200).unwrap();
        assert_eq!((ana.role, ana.groups.to_string()), (MemberRole::Share, "turma-a".to_owned()));
        assert_eq!((ana.via, ana.since, ana.ephemeral), (Some(token.id()), 200, Some(60)));
        assert_eq!(
            (members.by_key(&key(1)), members.by_name(&name("ana"))),
            (Some(&ana), Some(&ana))
        );
        // A member uses up nothing, by whatever token.
        for token in [token, InviteToken::new([0; 20])] {
            assert_eq!(enrol(members, &token, "other", 1, 300), Ok(ana.clone()));
        }
        assert_eq!(members.invites(300)[0].uses_left, 1);
        assert!(enrol(members, &token, "rui", 2, 300).is_ok());
        assert_eq!(enrol(members, &token, "eva", 3, 300), Err(MemberError::BadToken));
        assert_eq!((members.invites(300), members.count()), (vec![], 2));
        let names: Vec<String> =
            members.list(None, 9).iter().map(|one| one.name.to_string()).collect();
        assert_eq!(names, ["ana", "rui"]);
        assert_eq!(members.list(Some(&name("ana")), 9).len(), 1);
        assert_eq!(members.list(None, 1).len(), 1);
    });
}

#[test]
fn the_member_of_a_session_is_forgotten_in_time_and_removed_at_its_end() {
    with_members(|members| {
        let token = invite(members, 1, InviteTerms { ephemeral: Some(60), ..terms(3) }, 100);
        let longer = invite(members, 2, terms(3), 100);
        let ana = members.enrol_for(&longer, &name("ana"), &key(1), Some(500), 100).unwrap();
        let bia = members.enrol_for(&token, &name("bia"), &key(2), Some(500), 100).unwrap();
        assert_eq!((ana.ephemeral, bia.ephemeral), (Some(500), Some(60)));
        members.commit().unwrap();
        for _ in 0..2 {
            members.remove(&key(1)).unwrap();
            members.commit().unwrap();
            assert_eq!((members.by_key(&key(1)), members.count()), (None, 1));
        }
        // No revocation: the name is free again, and the key may come back.
        assert!(!members.is_revoked(&key(1)) && members.by_name(&name("ana")).is_none());
        assert!(members.enrol(&longer, &name("ana"), &key(1), 200).is_ok());
    });
}

#[test]
fn two_enrolments_of_one_iteration_cannot_share_a_single_use() {
    with_members(|members| {
        let token = invite(members, 1, terms(1), 0);
        assert!(members.enrol(&token, &name("ana"), &key(1), 1).is_ok());
        assert_eq!(members.enrol(&token, &name("rui"), &key(2), 1), Err(MemberError::BadToken));
        members.commit().unwrap();
        assert_eq!((members.count(), members.by_key(&key(2))), (1, None));
    });
}

#[test]
fn ten_thousand_guesses_have_one_answer() {
    with_members(|members| {
        let token = invite(members, 1, terms(1), 0);
        for guess in 0..10_000_u32 {
            // Half of them know the number of a live invite.
            let mut bytes = random(if guess % 2 == 0 { 1 } else { guess + 2 });
            bytes[8..12].copy_from_slice(&guess.to_be_bytes());
            assert_eq!(
                members.enrol(&InviteToken::new(bytes), &name("eva"), &key(guess), 1),
                Err(MemberError::BadToken)
            );
        }
        assert!(!members.is_open(), "a guess costs no disk");
        assert!(enrol(members, &token, "ana", 1, 1).is_ok());
    });
}

#[test]
fn an_invite_expires_and_can_be_withdrawn() {
    with_members(|members| {
        let token = invite(members, 1, terms(9), 100);
        assert!(enrol(members, &token, "ana", 1, 3_699).is_ok());
        assert_eq!(enrol(members, &token, "rui", 2, 3_700), Err(MemberError::BadToken));
        assert_eq!(members.invites(3_700), []);
        let token = invite(members, 2, terms(9), 4_000);
        members.withdraw_invite(token.id()).unwrap();
        members.commit().unwrap();
        assert_eq!(enrol(members, &token, "rui", 2, 4_001), Err(MemberError::BadToken));
        assert_eq!(members.withdraw_invite(token.id()), Err(MemberError::Unknown));
        assert_eq!(members.count(), 1);
    });
}

#[test]
fn live_invites_are_bounded_and_expired_ones_make_room() {
    with_members(|members| {
        for number in 0..MAX_INVITES as u32 {
            members.invite(terms(1), host(), random(number), 0).unwrap();
        }
        members.commit().unwrap();
        let again = |members: &mut Members, number, now| {
            let result = members.invite(terms(1), host(), random(number), now).map(|_| ());
            members.commit().unwrap();
            result
        };
        assert_eq!(again(members, 1, 1), Err(MemberError::Taken));
        assert_eq!(again(members, 5_000, 1), Err(MemberError::Full));
        assert_eq!(again(members, 5_000, 3_600), Ok(()));
        assert_eq!(members.invites(3_600).len(), 1);
        assert_eq!(
            members.invite(
                InviteTerms { groups: groups(&["public"]), ..terms(1) },
                host(),
                random(1),
                0
            ),
            Err(MemberError::BadGroup)
        );
    });
}

#[test]
fn a_name_has_one_key_and_a_refusal_uses_up_nothing() {
    with_members(|members| {
        let token = invite(members, 1, terms(2), 0);
        assert!(enrol(members, &token, "ana", 1, 1).is_ok());
        assert_eq!(enrol(members, &token, "ana", 2, 1), Err(MemberError::Taken));
        assert_eq!(enrol(members, &token, "127.0.0.1:5", 2, 1), Err(MemberError::BadName));
        assert_eq!(enrol(members, &token, &key(9).to_string(), 2, 1), Err(MemberError::BadName));
        assert!(enrol(members, &token, "Ana", 2, 1).is_ok());
    });
}

#[test]
fn a_revoked_key_is_out_for_ever() {
    with_members(|members| {
        let token = invite(members, 1, terms(9), 0);
        enrol(members, &token, "ana", 1, 1).unwrap();
        assert_eq!(members.revoke(&name("ana"), 1_000), Ok(vec![key(1)]));
        members.commit().unwrap();
        assert!(members.is_revoked(&key(1)) && members.by_key(&key(1)).is_none());
        assert_eq!((members.by_name(&name("ana")), members.count()), (None, 0));
        assert_eq!(enrol(members, &token, "bia", 1, 1_001), Err(MemberError::Revoked));
        let from = "127.0.0.1:5".parse().unwrap();
        assert_eq!(members.apply(&name("bia"), &key(1), from, 1_001), Err(MemberError::Revoked));
        assert_eq!(
            members.add(&name("bia"), &key(1), MemberRole::Read, groups(&[]), 1_001),
            Err(MemberError::Revoked)
        );
        // A stranger gets the same answer as always, and the name stays reserved.
        let wrong = InviteToken::new([0; 20]);
        assert_eq!(enrol(members, &wrong, "ana", 1, 1_001), Err(MemberError::BadToken));
        assert_eq!(enrol(members, &token, "ana", 2, 1_001), Err(MemberError::Taken));
        assert_eq!(members.revoke(&name("ana"), 1_001), Err(MemberError::Unknown));
        assert_eq!(members.invites(1_001)[0].uses_left, 8);
        assert_eq!(members.revoked_since(1_000), [key(1)]);
        assert_eq!(members.revoked_since(1_001), []);
    });
}

#[test]
fn a_stolen_invite_is_revoked_with_all_its_members() {
    with_members(|members| {
        let (stolen, other) = (invite(members, 1, terms(9), 0), invite(members, 2, terms(9), 0));
        for number in 1..=3 {
            enrol(members, &stolen, &format!("thief {number}"), number, 5).unwrap();
        }
        enrol(members, &other, "ana", 4, 5).unwrap();
        assert_eq!(members.revoke_invite(stolen.id(), 9), Ok(vec![key(1), key(2), key(3)]));
        members.commit().unwrap();
        assert_eq!((members.count(), members.revoked_since(9).len()), (1, 3));
        assert_eq!(enrol(members, &stolen, "thief 4", 5, 9), Err(MemberError::BadToken));
        assert_eq!(members.revoke_invite(stolen.id(), 9), Err(MemberError::Unknown));
        // An invite that is used up still names its members.
        let single = invite(members, 3, terms(1), 10);
        enrol(members, &single, "rui", 6, 10).unwrap();
        assert_eq!(members.revoke_invite(single.id(), 11), Ok(vec![key(6)]));
    });
}

#[test]
fn a_member_that_lost_its_key_gets_its_name_back() {
    with_members(|members| {
        let first = invite(members, 1, terms(1), 0);
        enrol(members, &first, "ana", 1, 1).unwrap();
        let as_ana = InviteTerms { as_name: Some(name("ana")), ..terms(5) };
        let token = invite(members, 2, as_ana, 2);
        // The invite takes no name from a member that is not revoked.
        assert_eq!(enrol(members, &token, "x", 2, 3), Err(MemberError::Taken));
        members.revoke(&name("ana"), 4).unwrap();
        members.commit().unwrap();
        let ana = enrol(members, &token, "x", 2, 5).unwrap();
        assert_eq!((&*ana.name, ana.key), ("ana", key(2)));
        assert_eq!(members.by_name(&name("ana")), Some(&ana));
        // One member by such an invite, and the old key stays out.
        assert_eq!(enrol(members, &token, "y", 3, 5), Err(MemberError::BadToken));
        assert!(members.is_revoked(&key(1)) && !members.is_revoked(&key(2)));
        assert_eq!(members.list(None, 9), [ana]);
    });
}

#[test]
fn an_applicant_waits_for_an_administrator() {
    with_members(|members| {
        let from = "192.0.2.1:9".parse().unwrap();
        for (who, number, now) in [("ana", 1, 10), ("rui", 2, 5), ("ana", 3, 20), ("ana", 1, 30)] {
            assert_eq!(
                members.apply(&name(who), &key(number), from, now),
                Ok(Application::Pending)
            );
            members.commit().unwrap();
        }
        let waiting: Vec<Key> = members.pending(40).iter().map(|one| one.key).collect();
        assert_eq!(waiting, [key(2), key(1), key(3)]);
        let admit = |members: &mut Members, id, names: &[&str]| {
            let result = members.admit(&id, MemberRole::Read, groups(names), 40);
            members.commit().unwrap();
            result
        };
        let by_name = |text| ApplicantId::Name(name(text));
        assert_eq!(admit(members, by_name("ana"), &[]), Err(MemberError::Ambiguous));
        assert_eq!(admit(members, by_name("eva"), &[]), Err(MemberError::Unknown));
        assert_eq!(admit(members, by_name("rui"), &["all"]), Err(MemberError::BadGroup));
        let rui = admit(members, by_name("rui"), &["a"]).unwrap();
        assert_eq!((rui.via, rui.role, rui.since), (None, MemberRole::Read, 40));
        assert!(admit(members, ApplicantId::Key(key(3)), &[]).is_ok());
        // The name is in use now.
        assert_eq!(admit(members, by_name("ana"), &[]), Err(MemberError::Taken));
        assert_eq!(members.pending(40).len(), 1);
        assert_eq!(members.apply(&name("x"), &key(2), from, 50), Ok(Application::Admitted(rui)));
        // Another name replaces the first, and the wait does not begin anew.
        members.apply(&name("bia"), &key(1), from, APPLICANT_SECONDS).unwrap();
        members.commit().unwrap();
        assert_eq!(members.pending(APPLICANT_SECONDS + 9)[0].name, name("bia"));
        assert_eq!(members.pending(APPLICANT_SECONDS + 10), []);
        members.upkeep(APPLICANT_SECONDS + 10).unwrap();
        members.commit().unwrap();
        assert_eq!(members.pending(0), []);
    });
}

#[test]
fn applicants_are_bounded() {
    with_members(|members| {
        let from = "192.0.2.1:9".parse().unwrap();
        for number in 0..MAX_APPLICANTS as u32 {
            members.apply(&name("eva"), &key(number), from, 0).unwrap();
        }
        members.commit().unwrap();
        let ana = |members: &mut Members, now| {
            let result = members.apply(&name("ana"), &key(9_999), from, now);
            members.commit().unwrap();
            result
        };
        assert_eq!(ana(members, 1), Err(MemberError::Full));
        assert_eq!(ana(members, APPLICANT_SECONDS), Ok(Application::Pending));
        assert_eq!(members.pending(APPLICANT_SECONDS).len(), 1);
        // A repeated application writes nothing.
        members.apply(&name("ana"), &key(9_999), from, APPLICANT_SECONDS + 1).unwrap();
        assert!(!members.is_open());
    });
}

#[test]
fn an_ephemeral_member_is_forgotten_and_may_come_back() {
    with_members(|members| {
        let most = FORGET_SCAN as u32 + 500;
        let fleet = InviteTerms { ephemeral: Some(86_400), lasts: u64::MAX, ..terms(9_999) };
        let (fleet, class) = (invite(members, 1, fleet, 0), invite(members, 2, terms(1), 0));
        for number in 0..most {
            members.enrol(&fleet, &name(&format!("node {number}")), &key(number), 0).unwrap();
        }
        members.enrol(&class, &name("ana"), &key(most), 0).unwrap();
        members.commit().unwrap();
        let all = |members: &mut Members, now| {
            let mut gone = Vec::new();
            for _ in 0..3 {
                gone.extend(members.forget_unseen(now).unwrap());
                members.commit().unwrap();
            }
            gone
        };
        assert_eq!(all(members, 86_400), []);
        // Seen an hour ago at most is seen.
        members.note_seen(&key(7), SEEN_SECONDS - 1);
        members.upkeep(SEEN_SECONDS).unwrap();
        assert!(!members.is_open(), "the time is not written again within an hour");
        members.note_seen(&key(7), SEEN_SECONDS);
        members.upkeep(SEEN_SECONDS).unwrap();
        assert!(members.is_open());
        members.commit().unwrap();
        let gone = all(members, 86_400 + SEEN_SECONDS);
        assert_eq!((gone.len(), members.count()), (most as usize - 1, 2));
        assert!(members.by_key(&key(7)).is_some() && members.by_name(&name("ana")).is_some());
        assert!(!members.is_revoked(&key(8)));
        assert!(enrol(members, &fleet, "node 8", 8, 90_001).is_ok());
    });
}

#[test]
fn role_and_groups_can_be_changed() {
    with_members(|members| {
        let root = members.add(&name("host"), &key(1), MemberRole::Admin, groups(&[]), 0).unwrap();
        assert!(root.role.is_admin());
        assert_eq!(
            members.add(&name("host"), &key(2), MemberRole::Read, groups(&[]), 0),
            Err(MemberError::Taken)
        );
        let changed = members.set(&name("host"), MemberRole::Read, groups(&["b", "a"])).unwrap();
        members.commit().unwrap();
        assert_eq!(members.by_key(&key(1)), Some(&changed));
        assert_eq!(changed.groups.to_string(), "a,b");
        assert_eq!(
            members.set(&name("host"), MemberRole::Read, groups(&["all"])),
            Err(MemberError::BadGroup)
        );
        assert_eq!(
            members.set(&name("eva"), MemberRole::Read, groups(&[])),
            Err(MemberError::Unknown)
        );
    });
}

#[test]
fn the_clock_never_runs_backwards() {
    with_members(|members| {
        assert_eq!(members.clock(), 0);
        members.set_clock(500).unwrap();
        members.commit().unwrap();
        members.set_clock(400).unwrap();
        assert_eq!((members.clock(), members.is_open()), (500, false));
    });
}

#[test]
fn the_log_is_a_chain_and_a_flood_is_one_row() {
    with_members(|members| {
        let entry = AuditEntry {
            who: "ana",
            from: "192.0.2.1:9".parse().ok(),
            what: "REVOKE",
            object: "rui",
            ok: true,
        };
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(0)));
        members.note(&entry, 7).unwrap();
        members.commit().unwrap();
        for _ in 0..5_000 {
            members.note(&AuditEntry { what: "ENROL", ok: false, ..entry }, 8).unwrap();
        }
        members.commit().unwrap();
        members.upkeep(8).unwrap();
        assert!(!members.is_open());
        members.upkeep(9).unwrap();
        members.commit().unwrap();
        let rows = members.audit(0, 99).unwrap();
        assert_eq!(rows.len(), 1 + AUDIT_ROWS as usize + 1);
        let first = &rows[0];
        assert_eq!((first.seq, first.at, &*first.who, &*first.from), (1, 7, "ana", "192.0.2.1:9"));
        assert_eq!((&*first.what, &*first.object, first.ok), ("REVOKE", "rui", true));
        let last = &rows[11];
        assert_eq!((&*last.what, &*last.object, last.at), (SUPPRESSED, "4990", 9));
        assert_eq!(members.audit(11, 99).unwrap().len(), 1);
        assert_eq!(members.audit(0, 2).unwrap().len(), 2);
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(12)));
    });
}

#[test]
fn an_open_transaction_survives_many_operations() {
    with_members(|members| {
        let token = members.invite(terms(500), host(), random(1), 0).unwrap();
        for number in 0..500 {
            members.enrol(&token, &name(&number.to_string()), &key(number), 0).unwrap();
        }
        assert!(members.is_open());
        assert_eq!(members.commit(), Ok::<(), StoreError>(()));
        assert_eq!((members.count(), members.is_open()), (500, false));
    });
}

/// Appends rows about `first` to `last`, one a second.
fn log_rows(members: &mut Members, seconds: std::ops::RangeInclusive<u64>) {
    let entry = AuditEntry { who: "ana", from: None, what: "SET", object: "", ok: true };
    for now in seconds {
        members.note(&entry, now).unwrap();
    }
    members.commit().unwrap();
}

/// The first number, the number of rows, and the number of pruned rows.
fn extent(members: &Members) -> (u64, usize, u64) {
    let rows = members.audit(0, 1_000).unwrap();
    (rows[0].seq, rows.len(), members.pruned().unwrap())
}

#[test]
fn a_long_log_loses_its_first_rows_and_stays_a_chain() {
    with_members(|members| {
        members.limit_audit(AuditLimits { rows: 100, age: None });
        log_rows(members, 1..=100);
        members.upkeep(200).unwrap();
        assert!(!members.is_open());
        log_rows(members, 201..=201);
        members.upkeep(202).unwrap();
        members.commit().unwrap();
        // One too many and a tenth more are gone, and a row says so.
        assert_eq!(extent(members), (12, 91, 11));
        let last = members.audit(101, 9).unwrap();
        assert_eq!((&*last[0].what, last[0].object.starts_with("1 to 11 ")), (PRUNED, true));
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(102)));
        for round in 0..5 {
            log_rows(members, 300 + round * 50..=349 + round * 50);
            members.upkeep(1_000 + round).unwrap();
            members.commit().unwrap();
            assert!(extent(members).1 <= 101);
            assert!(matches!(members.verify(), Ok(AuditProgress::Intact(_))));
        }
    });
}

#[test]
fn a_removal_takes_a_slice_at_a_time() {
    with_members(|members| {
        log_rows(members, 1..=PRUNE_ROWS + 500);
        members.limit_audit(AuditLimits { rows: 100, age: None });
        members.upkeep(9_000).unwrap();
        members.commit().unwrap();
        assert_eq!(members.pruned(), Ok(PRUNE_ROWS));
        members.upkeep(9_001).unwrap();
        members.commit().unwrap();
        assert_eq!(extent(members).1, 91);
        assert!(matches!(members.verify(), Ok(AuditProgress::Intact(_))));
    });
}

#[test]
fn old_rows_go_once_the_first_has_been_too_old_for_a_day() {
    with_members(|members| {
        let age = 1_000_000;
        members.limit_audit(AuditLimits { rows: 1_000, age: Some(age) });
        log_rows(members, 1..=50);
        log_rows(members, 200_001..=200_020);
        for now in [0, 40, age + 50, age + PRUNE_SECONDS + 1] {
            members.upkeep(now).unwrap();
            assert!(!members.is_open(), "{now}");
        }
        members.upkeep(age + PRUNE_SECONDS + 2).unwrap();
        members.commit().unwrap();
        assert_eq!(extent(members), (51, 21, 50));
        assert_eq!(members.verify(), Ok(AuditProgress::Intact(71)));
    });
}

#[cfg(feature = "store")]
#[test]
fn a_removal_that_the_log_does_not_record_is_named() {
    let changes = [
        // Rows removed by another program, with a base that fits them.
        (
            "DELETE FROM audit WHERE seq <= 20; INSERT OR REPLACE INTO audit_base SELECT 1, 20, chain, 102 FROM spare WHERE seq = 20",
            20,
        ),
        ("DELETE FROM audit_base", 1),
        ("UPDATE audit_base SET chain = zeroblob(32)", 12),
        ("UPDATE audit_base SET recorded_in = 50", 11),
        ("DELETE FROM audit WHERE seq = 12", 12),
        ("UPDATE audit SET object = '1 to 20' WHERE what = 'PRUNED'", 102),
    ];
    for (sql, bad) in changes {
        let folder = tempfile::tempdir().unwrap();
        let store = cardume::os::sqlite::SqliteStore::open(folder.path()).unwrap();
        let mut members = Members::open(Box::new(store.members())).unwrap();
        members.limit_audit(AuditLimits { rows: 100, age: None });
        log_rows(&mut members, 1..=101);
        members.upkeep(200).unwrap();
        members.commit().unwrap();
        let raw = rusqlite::Connection::open(folder.path().join("accounts.sqlite")).unwrap();
        raw.execute_batch("CREATE TEMP TABLE spare AS SELECT * FROM audit").unwrap();
        raw.execute_batch(sql).unwrap();
        assert_eq!(members.verify(), Ok(AuditProgress::Bad(bad)), "{sql}");
        // Such rows are evidence, and are not removed.
        log_rows(&mut members, 300..=420);
        members.upkeep(500).unwrap();
        members.commit().unwrap();
        assert_eq!(members.verify(), Ok(AuditProgress::Bad(bad)), "{sql}");
    }
}

#[test]
fn the_announced_key_of_a_server_is_kept_with_its_time() {
    with_members(|members| {
        assert_eq!(members.rotation(), None);
        members.set_rotation(key(1), 5).unwrap();
        members.commit().unwrap();
        members.set_rotation(key(2), 9).unwrap();
        members.commit().unwrap();
        assert_eq!(members.rotation(), Some((key(2), 9)));
    });
}

fn ban(subject: BanSubject, since: u64, until: Option<u64>) -> Ban {
    let reason = Line::new("spam, \u{e1}").unwrap();
    Ban { subject, name: Some(name("eve")), since, until, by: host(), reason }
}

fn range(text: &str) -> BanSubject {
    BanSubject::parse(text).unwrap()
}

#[test]
fn bans_and_limits_are_read_as_they_were_written() {
    on_each_store(|store| {
        let of_key = ban(BanSubject::Key(key(1)), 3, None);
        let bans = [
            of_key.clone(),
            Ban { name: None, ..ban(range("10.0.0.0/8"), 4, Some(9)) },
            ban(range("2001:db8::/64"), 5, Some(u64::from(u32::MAX))),
        ];
        store.begin().unwrap();
        for ban in &bans {
            store.put_ban(ban).unwrap();
        }
        store.put_ban(&Ban { until: Some(7), ..of_key.clone() }).unwrap();
        store.put_ban(&of_key).unwrap();
        store.set_limit(LimitKey::PeerFiles, Some(9)).unwrap();
        store.set_limit(LimitKey::Searches, Some(5)).unwrap();
        store.set_limit(LimitKey::Searches, Some(6)).unwrap();
        store.set_limit(LimitKey::Enrols, Some(1)).unwrap();
        store.set_limit(LimitKey::Enrols, None).unwrap();
        store.commit().unwrap();
        let shown = |store: &dyn MemberStore| {
            let mut bans = store.bans().unwrap();
            bans.sort_by_key(|ban| ban.subject);
            let mut limits = store.limits().unwrap();
            limits.sort_unstable();
            (bans, limits)
        };
        let limits = vec![(LimitKey::Searches, 6), (LimitKey::PeerFiles, 9)];
        assert_eq!(shown(&*store), (bans.to_vec(), limits));
        // A transaction that is rolled back leaves no trace.
        let before = shown(&*store);
        store.begin().unwrap();
        store.put_ban(&ban(range("192.0.2.7"), 1, None)).unwrap();
        store.remove_ban(&bans[1].subject).unwrap();
        store.set_limit(LimitKey::PeerFiles, None).unwrap();
        store.roll_back();
        assert_eq!(shown(&*store), before);
    });
}

#[test]
fn a_ban_holds_until_its_end_in_index_seconds() {
    with_members(|members| {
        let (address, of_key) = ("10.1.2.3".parse().unwrap(), BanSubject::Key(key(1)));
        members.ban(ban(range("10.0.0.0/8"), 100, Some(160)), 100).unwrap();
        members.ban(ban(of_key, 100, None), 100).unwrap();
        members.commit().unwrap();
        assert!(members.ban_of_address(address, 159).is_some());
        assert!(members.ban_of_address(address, 160).is_none());
        assert!(members.ban_of_address("11.1.2.3".parse().unwrap(), 100).is_none());
        assert!(members.ban_of_key(&key(1), u64::MAX).is_some());
        assert_eq!(members.banned_since(100, 150).collect::<Vec<_>>(), [key(1)]);
        assert_eq!(members.banned_since(101, 150).count(), 0);
        // One that has ended is no ban to lift, and is forgotten.
        assert_eq!(members.unban(&range("10.0.0.0/8"), 160), Err(MemberError::NoBan));
        members.upkeep(160).unwrap();
        assert_eq!(members.unban(&of_key, 160), Ok(()));
        assert_eq!(members.unban(&of_key, 160), Err(MemberError::NoBan));
        members.commit().unwrap();
        assert_eq!(members.bans(None, 0).count(), 0);
    });
}

#[test]
fn bans_have_a_bound_and_ended_ones_make_room() {
    // The table of the store without a disk alone: a disk takes seconds for so many rows.
    let mut members = Members::open(Box::new(MemoryMembers::default())).unwrap();
    for number in 0..MAX_BANS {
        let bits = u32::try_from(number).unwrap() << 8;
        let text = format!("{}/24", std::net::Ipv4Addr::from(bits + (1 << 28)));
        let until = (number == 0).then_some(9);
        members.ban(ban(range(&text), 1, until), 1).unwrap();
    }
    members.commit().unwrap();
    let more = |number: u32| ban(BanSubject::Key(key(number)), 1, None);
    assert_eq!(members.ban(more(1), 8), Err(MemberError::Full));
    // A known subject takes no more room.
    assert_eq!(members.ban(ban(range("16.0.0.0/24"), 2, Some(9)), 8), Ok(()));
    assert_eq!(members.ban(more(1), 9), Ok(()));
    assert_eq!(members.ban(more(2), 9), Err(MemberError::Full));
    members.commit().unwrap();
}
