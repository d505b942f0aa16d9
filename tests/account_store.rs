//! The contract of account stores: the same behaviour in memory and on disk.

use cardume::accounts::memory::MemoryStore;
use cardume::accounts::store::{Account, Placed, Store, UserConnection};
use cardume::protocol::types::account::{Key, Line, Publication, UserName};
use cardume::protocol::types::legacy_profile::LegacyProfile;

/// Runs a check on every kind of store.
fn on_each_store(behaviour: impl Fn(&dyn Store)) {
    behaviour(&MemoryStore::default());
    #[cfg(feature = "store")]
    {
        let folder = tempfile::tempdir().unwrap();
        behaviour(&cardume::os::sqlite::SqliteStore::open(folder.path()).unwrap());
    }
}

fn user(name: &str) -> UserName {
    UserName::new(name).unwrap()
}

fn publication(file: &str, description: &str) -> Publication {
    Publication { file: Line::new(file).unwrap(), description: Line::new(description).unwrap() }
}

fn at(address: &str, speaks: LegacyProfile) -> UserConnection {
    UserConnection { address: address.parse().unwrap(), speaks }
}

const NO_KEY: Account = Account { key: None };

/// Runs changes in one transaction.
fn in_transaction<T>(store: &dyn Store, changes: impl FnOnce() -> T) -> T {
    store.begin().unwrap();
    let done = changes();
    store.commit().unwrap();
    done
}

fn plain<T>(placed: Vec<Placed<T>>) -> Vec<T> {
    placed.into_iter().map(|(_, entry)| entry).collect()
}

/// Two users, Ana and Rui.
fn two_users(store: &dyn Store) -> (UserName, UserName) {
    let (ana, rui) = (user("ana"), user("rui"));
    in_transaction(store, || {
        assert_eq!(store.add_user(&ana, &NO_KEY), Ok(true));
        assert_eq!(store.add_user(&rui, &NO_KEY), Ok(true));
    });
    (ana, rui)
}

#[test]
fn a_user_name_is_unique_and_bound_to_its_key() {
    on_each_store(|store| {
        let (ana, with_key) = (user("ana"), Account { key: Key::new([7; 32]) });
        assert_eq!(store.user(&ana), Ok(None));
        in_transaction(store, || {
            assert_eq!(store.add_user(&ana, &with_key), Ok(true));
            // Visible within the transaction.
            assert_eq!(store.user(&ana), Ok(Some(with_key)));
            assert_eq!(store.add_user(&ana, &NO_KEY), Ok(false));
        });
        assert_eq!(store.user(&ana), Ok(Some(with_key)));
        in_transaction(store, || {
            assert_eq!((store.remove_user(&ana), store.remove_user(&ana)), (Ok(true), Ok(false)))
        });
        assert_eq!(store.user(&ana), Ok(None));
    });
}

#[test]
fn names_are_compared_byte_by_byte() {
    on_each_store(|store| {
        let names = ["ana", "Ana", "ana ", "an\u{e1}", "ana\u{301}", "%", "_"];
        in_transaction(store, || {
            for name in names {
                assert_eq!(store.add_user(&user(name), &NO_KEY), Ok(true), "{name}");
                for file in names {
                    assert_eq!(
                        store.publish(&user(name), &publication(file, "")),
                        Ok(true),
                        "{file}"
                    );
                }
            }
        });
        assert_eq!(store.publishers(&publication("%", "").file, 99).unwrap().len(), names.len());
        in_transaction(store, || assert_eq!(store.remove_user(&user("ANA")), Ok(false)));
    });
}

#[test]
fn sql_in_a_user_name_or_description_is_plain_text() {
    on_each_store(|store| {
        for word in ["'; DROP TABLE users; --", "\" OR 1=1 --", "?1", ":name", "x'00'", "%s%n"] {
            let (name, publication) = (user(word), publication(word, word));
            in_transaction(store, || {
                assert_eq!(store.add_user(&name, &NO_KEY), Ok(true));
                assert_eq!(store.publish(&name, &publication), Ok(true));
            });
            assert_eq!(
                store.publishers(&publication.file, 9),
                Ok(vec![(name.clone(), publication.clone())])
            );
            assert_eq!(plain(store.content(&name, 0, 9).unwrap()), [publication]);
        }
        assert_eq!(store.publications(0, 99).unwrap().len(), 6);
    });
}

#[test]
fn a_user_has_one_address_until_it_moves_or_disconnects() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        let (here, there) = (
            at("127.0.0.1:4000", LegacyProfile::Uc3m2024),
            at("[::1]:4001", LegacyProfile::UfabcJson),
        );
        assert_eq!(store.connection(&ana), Ok(None));
        in_transaction(store, || {
            store.connect(&ana, &here).unwrap();
            store.connect(&rui, &here).unwrap();
            store.connect(&ana, &there).unwrap();
        });
        assert_eq!(
            (store.connection(&ana), store.connection(&rui)),
            (Ok(Some(there)), Ok(Some(here)))
        );
        assert_eq!(
            plain(store.connections(0, 9).unwrap()),
            [(ana.clone(), there), (rui.clone(), here)]
        );
        let first = store.connections(0, 1).unwrap();
        assert_eq!(plain(first.clone()), [(ana.clone(), there)]);
        let second = store.connections(first[0].0, 1).unwrap();
        assert_eq!(plain(second.clone()), [(rui.clone(), here)]);
        assert_eq!(store.connections(second[0].0, 1), Ok(vec![]));
        in_transaction(store, || {
            assert_eq!((store.disconnect(&ana), store.disconnect(&ana)), (Ok(true), Ok(false)))
        });
        assert_eq!(store.connection(&ana), Ok(None));
        assert_eq!(plain(store.connections(0, 9).unwrap()), [(rui, here)]);
    });
}

#[test]
fn a_user_publishes_a_file_once_and_lists_in_order() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        let files: Vec<Publication> =
            ["z", "a", "m"].iter().map(|file| publication(file, "text")).collect();
        in_transaction(store, || {
            for file in &files {
                assert_eq!(store.publish(&ana, file), Ok(true));
            }
            assert_eq!(store.publish(&ana, &publication("a", "other words")), Ok(false));
            assert_eq!(store.publish(&rui, &publication("a", "his")), Ok(true));
        });
        assert_eq!(plain(store.content(&ana, 0, 9).unwrap()), files);
        assert_eq!(
            store.publishers(&files[1].file, 9),
            Ok(vec![(ana.clone(), files[1].clone()), (rui.clone(), publication("a", "his"))])
        );
        assert_eq!(store.publishers(&files[1].file, 1).unwrap().len(), 1);
        assert_eq!(store.publishers(&publication("x", "").file, 9), Ok(vec![]));
        assert_eq!(store.publications(0, 9).unwrap().len(), 4);
        in_transaction(store, || {
            assert_eq!(
                (store.delete(&ana, &files[1].file), store.delete(&ana, &files[1].file)),
                (Ok(true), Ok(false))
            );
        });
        assert_eq!(store.publishers(&files[1].file, 9), Ok(vec![(rui, publication("a", "his"))]));
        assert_eq!(plain(store.content(&ana, 0, 9).unwrap()), [files[0].clone(), files[2].clone()]);
    });
}

#[test]
fn a_cursor_stays_valid_across_insertions_and_deletions() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        let publish = |file: &str| {
            in_transaction(store, || {
                assert_eq!(store.publish(&ana, &publication(file, "")), Ok(true))
            })
        };
        for number in 0..10 {
            publish(&number.to_string());
        }
        let page = store.content(&ana, 0, 5).unwrap();
        let after = page[4].0;
        // Deletions and insertions must reuse no cursor position.
        let last = store.content(&ana, 0, 10).unwrap()[9].0;
        in_transaction(store, || {
            store.delete(&ana, &publication("9", "").file).unwrap();
            store.delete(&ana, &publication("0", "").file).unwrap();
        });
        publish("new");
        let rest = store.content(&ana, after, 99).unwrap();
        assert_eq!(
            rest.iter().map(|(_, publication)| publication.file.to_string()).collect::<Vec<_>>(),
            ["5", "6", "7", "8", "new"]
        );
        assert!(rest[4].0 > last);
        let all = store.publications(last, 99).unwrap();
        assert_eq!(plain(all), [(ana.clone(), publication("new", ""))]);
        assert_eq!(
            (store.content(&ana, u64::MAX, 9), store.publications(u64::MAX, 9)),
            (Ok(vec![]), Ok(vec![]))
        );
        assert_eq!(
            (store.connections(u64::MAX, 9), store.content(&ana, 0, 0)),
            (Ok(vec![]), Ok(vec![]))
        );
        // A name registered again is a different user.
        in_transaction(store, || {
            store.connect(&rui, &at("127.0.0.1:1", LegacyProfile::Rede)).unwrap();
        });
        let place = store.connections(0, 9).unwrap()[0].0;
        in_transaction(store, || {
            store.remove_user(&rui).unwrap();
            store.add_user(&rui, &NO_KEY).unwrap();
            store.connect(&rui, &at("127.0.0.1:2", LegacyProfile::Rede)).unwrap();
        });
        assert!(store.connections(0, 9).unwrap()[0].0 > place);
    });
}

#[test]
fn unregistering_a_user_removes_its_publications_and_connection() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        in_transaction(store, || {
            for number in 0..50 {
                store.publish(&ana, &publication(&number.to_string(), "")).unwrap();
            }
            store.publish(&rui, &publication("7", "")).unwrap();
            store.connect(&ana, &at("127.0.0.1:1", LegacyProfile::Rede)).unwrap();
        });
        in_transaction(store, || assert_eq!(store.remove_user(&ana), Ok(true)));
        assert_eq!(
            (store.connection(&ana), store.content(&ana, 0, 9), store.connections(0, 9)),
            (Ok(None), Ok(vec![]), Ok(vec![]))
        );
        assert_eq!(
            plain(store.publications(0, 99).unwrap()),
            [(rui.clone(), publication("7", ""))]
        );
        assert_eq!(
            store.publishers(&publication("7", "").file, 9),
            Ok(vec![(rui, publication("7", ""))])
        );
        in_transaction(store, || store.add_user(&ana, &NO_KEY).unwrap());
        assert_eq!((store.connection(&ana), store.content(&ana, 0, 9)), (Ok(None), Ok(vec![])));
    });
}

#[test]
fn a_rollback_undoes_every_change() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        in_transaction(store, || {
            store.publish(&ana, &publication("a", "1")).unwrap();
            store.publish(&ana, &publication("b", "2")).unwrap();
            store.connect(&ana, &at("127.0.0.1:1", LegacyProfile::Rede)).unwrap();
        });
        let all = || {
            let users = ["ana", "rui", "new"].map(|name| store.user(&user(name)).unwrap());
            (
                users,
                store.connections(0, 99).unwrap(),
                store.publications(0, 99).unwrap(),
                store.content(&ana, 0, 99).unwrap(),
            )
        };
        let before = all();
        store.begin().unwrap();
        store.add_user(&user("new"), &NO_KEY).unwrap();
        store.publish(&user("new"), &publication("a", "")).unwrap();
        store.publish(&rui, &publication("a", "")).unwrap();
        store.connect(&ana, &at("127.0.0.1:2", LegacyProfile::Uc3m2020)).unwrap();
        store.connect(&rui, &at("127.0.0.1:3", LegacyProfile::Uc3m2020)).unwrap();
        store.delete(&ana, &publication("a", "").file).unwrap();
        store.publish(&ana, &publication("a", "other")).unwrap();
        store.remove_user(&ana).unwrap();
        store.add_user(&ana, &Account { key: Key::new([1; 32]) }).unwrap();
        store.publish(&ana, &publication("c", "")).unwrap();
        assert_ne!(all(), before);
        store.roll_back();
        assert_eq!(all(), before);
        // Later changes are durable.
        store.roll_back();
        in_transaction(store, || store.publish(&rui, &publication("d", "")).unwrap());
        assert_eq!(store.publishers(&publication("d", "").file, 9).unwrap().len(), 1);
    });
}

#[test]
fn changes_require_a_transaction() {
    on_each_store(|store| {
        let (ana, rui) = two_users(store);
        assert!(store.add_user(&user("new"), &NO_KEY).is_err() && store.remove_user(&ana).is_err());
        assert!(
            store.publish(&ana, &publication("a", "")).is_err()
                && store.connect(&ana, &at("127.0.0.1:1", LegacyProfile::Rede)).is_err()
        );
        assert!(store.commit().is_err());
        store.begin().unwrap();
        assert!(store.begin().is_err());
        store.publish(&rui, &publication("a", "")).unwrap();
        store.commit().unwrap();
        assert_eq!(store.publications(0, 9).unwrap().len(), 1);
    });
}

#[test]
fn an_unknown_user_has_no_records() {
    on_each_store(|store| {
        let nobody = user("nobody");
        store.begin().unwrap();
        assert_eq!(
            (store.disconnect(&nobody), store.delete(&nobody, &publication("a", "").file)),
            (Ok(false), Ok(false))
        );
        assert!(store.publish(&nobody, &publication("a", "")).is_err());
        store.roll_back();
        assert_eq!(
            (store.content(&nobody, 0, 9), store.connection(&nobody)),
            (Ok(vec![]), Ok(None))
        );
        assert!(!store.rest());
    });
}
