//! The next key of a server as a client learns it: only with the signatures of both keys.

#[path = "support/fake_conns.rs"]
mod fake_conns;

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use cardume::accounts::identity::Identity;
use cardume::client::members::{KnownServer, KnownServers};
use cardume::client::server_connection::ServerConnection;
use cardume::download::types::TransferSecurity;
use cardume::node::CloseReason;
use cardume::node::io::{Io, Transport};
use cardume::node::reconnect::ServiceTarget;
use cardume::node::stats::histogram::Histogram;
use cardume::node::{ConnId, WrongKey};
use cardume::protocol::types::account::Key;
use cardume::protocol::types::rotation::NextKey;
use fake_conns::FakeConns;

/// What a client keeps: announced keys, and replaced ones.
#[derive(Default)]
struct Kept(RefCell<Vec<(&'static str, Key, Key)>>);

impl KnownServers for Kept {
    fn keep(&self, _: &KnownServer) -> Result<(), String> {
        Err("no JOIN".into())
    }

    fn announced(&self, key: &Key, next: &Key) -> Result<bool, String> {
        self.0.borrow_mut().push(("announced", *key, *next));
        Ok(true)
    }

    fn replaced(&self, key: &Key, next: &Key) -> Result<bool, String> {
        self.0.borrow_mut().push(("replaced", *key, *next));
        Ok(true)
    }
}

struct Stage {
    conns: FakeConns,
    server: ServerConnection,
    kept: Rc<Kept>,
}

fn identity(seed: u8) -> Identity {
    Identity::new(&[seed; 32]).expect("a key")
}

fn key(seed: u8) -> Key {
    identity(seed).key()
}

fn next(old: u8, new: u8) -> NextKey {
    let (old, new) = (identity(old), identity(new));
    NextKey::sign(&old.key(), &new.key(), |text| old.sign(text), |text| new.sign(text))
}

fn json(next: &NextKey) -> String {
    format!("{{\"key\":\"{}\",\"old\":\"{}\",\"new\":\"{}\"}}", next.key, next.by_old, next.by_new)
}

impl Stage {
    /// A client that knows the server by the key 1.
    fn new() -> Stage {
        let target = ServiceTarget {
            addresses: vec!["192.0.2.1:1099".parse().expect("an address")],
            key: Some(key(1)),
            next: None,
        };
        let mut server = ServerConnection::new(target, TransferSecurity::default());
        let kept = Rc::new(Kept::default());
        server.remember_by(Rc::<Kept>::clone(&kept));
        Stage { conns: FakeConns::default(), server, kept }
    }

    fn with<T>(&mut self, act: impl FnOnce(&mut ServerConnection, &mut Io<'_>) -> T) -> T {
        let mut io = Io {
            now: Instant::now(),
            table: &mut self.conns,
            actions: &mut Vec::new(),
            random: &mut || [0; 16],
            iteration_times: &Histogram::default(),
            date: &String::new,
        };
        act(&mut self.server, &mut io)
    }

    /// Connects, and gets an opening with this `next`.
    fn opens(&mut self, next: Option<&str>) -> ConnId {
        self.with(|server, io| server.want(io));
        self.greets(next)
    }

    fn greets(&mut self, next: Option<&str>) -> ConnId {
        let id = self.conns.opened.last().expect("a connection").0;
        self.with(|server, io| server.connected(id, io));
        let next = next.map(|next| format!(",\"next\":{next}")).unwrap_or_default();
        self.hears(id, &format!("{{\"cardume\":1,\"role\":\"server\",\"heartbeat_ms\":20000,\"closed\":true,\"key\":\"{}\"{next}}}\n", key(9)));
        assert!(self.server.is_open());
        id
    }

    fn hears(&mut self, id: ConnId, line: &str) {
        self.conns.get(id).expect("a connection").recv_buffer.take(line.as_bytes()).expect("room");
        self.with(|server, io| while server.next(io).expect("a message").is_some() {});
    }

    /// The other side shows another key.
    fn is_refused(&mut self) -> bool {
        let wrong = CloseReason::WrongKey(WrongKey { shown: None });
        self.with(|server, io| server.lost(&wrong, io)).is_none()
    }
}

#[test]
fn only_a_next_key_with_both_signatures_of_this_server_is_kept() {
    let good = next(1, 2);
    let (of_other, another) = (next(3, 2), next(1, 4));
    let wrong = [
        // A false server without the old key, and one that claims an accomplice's key.
        json(&NextKey { by_old: another.by_old, ..good.clone() }),
        json(&NextKey { by_new: another.by_new, ..good.clone() }),
        json(&NextKey { key: another.key, ..good.clone() }),
        json(&NextKey { by_old: good.by_new, ..good.clone() }),
        json(&of_other),
        json(&next(9, 2)),
        json(&next(1, 1)),
        "{}".into(),
        "7".into(),
        "null".into(),
        "[]".into(),
        format!("{{\"key\":\"{}\"}}", key(2)),
        json(&good).replace("\"old\":\"", "\"old\":\"0"),
    ];
    for next in wrong {
        let mut stage = Stage::new();
        let id = stage.opens(Some(&next));
        stage.hears(id, &format!("{{\"event\":\"NEXT_KEY\",\"next\":{next}}}\n"));
        assert_eq!(stage.server.next_key(), None, "{next}");
        assert!(stage.kept.0.borrow().is_empty() && stage.server.is_open(), "{next}");
        assert!(!stage.is_refused());
    }
}

#[test]
fn the_first_next_key_stays_and_is_tried_after_the_known_key() {
    for by_event in [false, true] {
        let mut stage = Stage::new();
        let first = json(&next(1, 2));
        let id = stage.opens(Some(&first).filter(|_| !by_event).map(|text| &**text));
        for text in [&first, &json(&next(1, 4)), &first] {
            stage.hears(id, &format!("{{\"event\":\"NEXT_KEY\",\"next\":{text}}}\n"));
        }
        assert_eq!(stage.server.next_key(), Some(key(2)));
        assert_eq!(*stage.kept.0.borrow(), [("announced", key(1), key(2))]);
        // The connection is lost, and the server has the next key since.
        stage.with(|server, io| server.lost(&CloseReason::Remote, io));
        stage.with(|server, io| server.try_now(io));
        assert!(stage.is_refused());
        assert_eq!(stage.conns.transports.last(), Some(&Transport::Tls(None, key(2))));
        // The new server announces a key of its own.
        stage.greets(Some(&json(&next(2, 5))));
        assert_eq!((stage.server.key(), stage.server.next_key()), (Some(key(2)), Some(key(5))));
        let kept = [
            ("announced", key(1), key(2)),
            ("replaced", key(1), key(2)),
            ("announced", key(2), key(5)),
        ];
        assert_eq!(*stage.kept.0.borrow(), kept);
    }
}

#[test]
fn a_server_that_shows_neither_key_is_refused() {
    let mut stage = Stage::new();
    stage.opens(Some(&json(&next(1, 2))));
    stage.with(|server, io| server.lost(&CloseReason::Remote, io));
    stage.with(|server, io| server.try_now(io));
    assert!(stage.is_refused() && !stage.is_refused());
    assert_eq!((stage.server.known_key(), stage.server.next_key()), (Some(key(1)), Some(key(2))));
    assert_eq!(stage.kept.0.borrow().len(), 1);
}
