//! Links at a peer without sockets: rights, channels, time, and what logs and events show.

#[path = "support/peer_stage.rs"]
mod peer_stage;

use std::net::SocketAddr;
use std::sync::{Mutex, Once};
use std::time::Duration;

use cardume::node::ConnId;
use cardume::node::io::Security;
use cardume::peer::config::PeerConfig;
use cardume::peer::upload_queue::Accept;
use cardume::protocol::types::account::Key;
use peer_stage::PeerStage;
use serde_json::{Value, json};

const NAME: &str = "giant.bin";
const OWN: &str = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";
const OTHER: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";

fn key(text: &str) -> Option<Key> {
    Some(Key::parse(text).expect("a key"))
}

fn encrypted() -> Security {
    Security { is_encrypted: true, ..Security::default() }
}

fn same_user() -> Security {
    Security { same_user: true, ..Security::default() }
}

fn here() -> SocketAddr {
    "127.0.0.1:50001".parse().expect("an address")
}

fn elsewhere() -> SocketAddr {
    "203.0.113.9:50001".parse().expect("an address")
}

/// An open peer with this consent, and a connection of its owner.
fn stage(accept: Accept) -> (PeerStage, ConnId) {
    staged(accept, true)
}

fn staged(accept: Accept, is_open: bool) -> (PeerStage, ConnId) {
    let change = |config: &mut PeerConfig| {
        config.uploads.is_open = is_open;
        config.uploads.slots = Some(1);
        config.uploads.accept = accept;
        config.network.key = key(OWN);
    };
    let mut stage = PeerStage::with(change).expect("a folder");
    let owner = open(&mut stage, here(), same_user());
    (stage, owner)
}

/// A native connection after its opening.
fn open(stage: &mut PeerStage, from: SocketAddr, security: Security) -> ConnId {
    let id = stage.connect(from, security);
    assert!(stage.ask(id, b"{\"cardume\":1}\n").contains("\"role\":\"peer\""));
    id
}

fn request(stage: &mut PeerStage, id: ConnId, request: Value) -> Value {
    let answer = stage.ask(id, format!("{request}\n").as_bytes());
    serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{answer:?}: {error}"))
}

/// The path of a new link, and its number.
fn link(stage: &mut PeerStage, owner: ConnId, lasts: u64) -> (String, String) {
    let ask = json!({"id": 1, "method": "LINK", "name": NAME, "lasts": lasts});
    let made = request(stage, owner, ask);
    assert_eq!((&made["status"], &made["left"]), (&json!("LINK_OK"), &json!(lasts)), "{made}");
    let text = |field: &str| made[field].as_str().expect("a text").to_owned();
    (format!("/t/{}/{NAME}", text("ticket")), text("link"))
}

/// The header of the response to a request over a new connection.
fn http(
    stage: &mut PeerStage,
    from: SocketAddr,
    security: Security,
    line: &str,
    fields: &str,
) -> (String, ConnId) {
    let id = stage.connect(from, security);
    let ask = format!("{line} HTTP/1.1\r\nHost: 127.0.0.1\r\n{fields}\r\n");
    (stage.ask(id, ask.as_bytes()), id)
}

/// The response to a GET from another host by TLS.
fn get(stage: &mut PeerStage, path: &str) -> String {
    http(stage, elsewhere(), encrypted(), &format!("GET {path}"), "").0
}

const UNKNOWN: &str = "HTTP/1.1 404 Not Found\r\n";

#[test]
fn only_the_owner_of_a_peer_makes_lists_and_ends_links() {
    let (mut stage, owner) = stage(Accept::Always);
    let (_, number) = link(&mut stage, owner, 60);
    for (from, security, is_owner) in [
        (here(), Security::default(), false),
        (here(), encrypted(), false),
        (elsewhere(), encrypted(), false),
        (elsewhere(), Security { key: key(OTHER), ..encrypted() }, false),
        // No other user has the key of the peer.
        (elsewhere(), Security { key: key(OWN), ..encrypted() }, true),
        (here(), same_user(), true),
    ] {
        let id = open(&mut stage, from, security.clone());
        for ask in [
            json!({"id": 1, "method": "LINK", "name": NAME}),
            json!({"id": 2, "method": "LINKS"}),
            json!({"id": 3, "method": "UNLINK", "link": number}),
        ] {
            let answer = request(&mut stage, id, ask);
            let is_ok = answer["status"].as_str().is_some_and(|status| status.ends_with("_OK"));
            let is_unknown = answer["error"]["code"] == "not_found";
            assert_eq!(is_ok || is_unknown, is_owner, "{security:?}: {answer}");
            assert!(is_owner || answer["error"]["code"] == "forbidden", "{answer}");
        }
    }
    // A peer without a key has no such owner.
    let change = |config: &mut PeerConfig| config.uploads.is_open = true;
    let mut stage = PeerStage::with(change).expect("a folder");
    let id = open(&mut stage, elsewhere(), encrypted());
    let answer = request(&mut stage, id, json!({"id": 2, "method": "LINKS"}));
    assert_eq!(answer["error"]["code"], "forbidden");
}

#[test]
fn a_link_gives_one_file_by_tls_or_from_this_machine() {
    let (mut stage, owner) = stage(Accept::Never);
    let (path, _) = link(&mut stage, owner, 60);
    let head = format!("HEAD {path}");
    for (from, security, is_served) in [
        (elsewhere(), encrypted(), true),
        (here(), Security::default(), true),
        ("[::ffff:127.0.0.1]:1".parse().expect("an address"), Security::default(), true),
        // Onlookers would learn the ticket.
        (elsewhere(), Security::default(), false),
    ] {
        let answer = http(&mut stage, from, security.clone(), &head, "").0;
        let status = if is_served { "HTTP/1.1 200 OK\r\n" } else { UNKNOWN };
        assert!(answer.starts_with(status), "{from} {security:?}: {answer}");
        assert_eq!(answer.contains("Content-Length: 1099511627776\r\n"), is_served, "{answer}");
    }
    // Without a link, this peer gives nothing.
    let (answer, _) = http(&mut stage, here(), encrypted(), &format!("HEAD /files/{NAME}"), "");
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");
}

#[test]
fn a_good_ticket_passes_the_gate_of_a_closed_peer() {
    let (mut stage, owner) = staged(Accept::Always, false);
    let (path, _) = link(&mut stage, owner, 60);
    let stranger = Security { key: key(OTHER), ..encrypted() };
    let mut status = |security, target: &str| {
        let answer = http(&mut stage, elsewhere(), security, &format!("HEAD {target}"), "").0;
        answer.split(' ').nth(1).expect("a status").to_owned()
    };
    for security in [encrypted(), stranger.clone()] {
        assert_eq!(status(security.clone(), &path), "200");
        assert_eq!(status(security.clone(), &path.replace(NAME, "other.bin")), "404");
        for closed in [&format!("/files/{NAME}"), "/", "/api/files"] {
            assert_eq!(status(security.clone(), closed), "403", "{closed}");
        }
    }
    // Without TLS, nothing is answered but the reason.
    assert_eq!(status(Security::default(), &path), "403");
    let id = open(&mut stage, elsewhere(), stranger);
    let answer = request(&mut stage, id, json!({"id": 1, "method": "LINK", "name": NAME}));
    assert_eq!(answer["error"]["code"], "forbidden");
}

#[test]
fn a_refused_link_has_the_text_of_an_unknown_file() {
    let (mut stage, owner) = stage(Accept::Always);
    let (path, _) = link(&mut stage, owner, 60);
    let (_, plain) = get(&mut stage, "/files/none")
        .split_once("\r\n\r\n")
        .map_or_else(|| panic!("no header"), |(head, body)| (head.to_owned(), body.to_owned()));
    let other = path.replace(NAME, "other.bin");
    let forged = path.replacen("/t/AQ", "/t/AR", 1);
    let last = path.replacen("/giant", "A/giant", 1);
    for bad in [&other, &forged, &last] {
        let answer = get(&mut stage, bad);
        assert!(answer.starts_with(UNKNOWN) && answer.ends_with(&plain), "{bad}: {answer}");
    }
    let (answer, _) =
        http(&mut stage, elsewhere(), Security::default(), &format!("GET {path}"), "");
    assert!(answer.starts_with(UNKNOWN) && answer.ends_with(&plain), "{answer}");
}

#[test]
fn link_ticket_after_expiry_is_gone() {
    let (mut stage, owner) = stage(Accept::Always);
    let (path, number) = link(&mut stage, owner, 60);
    stage.pass(Duration::from_millis(59_999));
    assert!(
        http(&mut stage, elsewhere(), encrypted(), &format!("HEAD {path}"), "").0.contains(" 200 ")
    );
    stage.pass(Duration::from_millis(1));
    let answer = get(&mut stage, &path);
    assert!(answer.starts_with("HTTP/1.1 410 Gone\r\n"), "{answer}");
    // Whatever the channel, a stranger learns nothing.
    let (answer, _) =
        http(&mut stage, elsewhere(), Security::default(), &format!("GET {path}"), "");
    assert!(answer.starts_with(UNKNOWN), "{answer}");
    let list = request(&mut stage, owner, json!({"id": 2, "method": "LINKS"}));
    assert_eq!(list["links"], json!([]));
    let ended = request(&mut stage, owner, json!({"id": 3, "method": "UNLINK", "link": number}));
    assert_eq!(ended["error"]["code"], "not_found");
}

#[test]
fn a_revoked_link_is_gone_and_its_downloads_are_cut() {
    let (mut stage, owner) = stage(Accept::Always);
    let (path, number) = link(&mut stage, owner, 60);
    let (other, _) = link(&mut stage, owner, 60);
    let (answer, sending) = http(&mut stage, elsewhere(), encrypted(), &format!("GET {path}"), "");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    // The only slot is taken.
    let (answer, waiting) = http(&mut stage, elsewhere(), encrypted(), &format!("GET {path}"), "");
    assert_eq!(answer, "");
    let (answer, stays) = http(&mut stage, elsewhere(), encrypted(), &format!("GET {other}"), "");
    assert_eq!(answer, "");
    let list = request(&mut stage, owner, json!({"id": 2, "method": "LINKS"}));
    assert_eq!(
        (&list["links"][0]["fetched"], &list["links"][1]["fetched"]),
        (&1.into(), &0.into())
    );
    let ended = request(&mut stage, owner, json!({"id": 3, "method": "UNLINK", "link": number}));
    assert_eq!(ended["status"], "UNLINK_OK");
    assert!(stage.is_dropped(sending) && stage.is_dropped(waiting));
    assert!(!stage.is_dropped(stays));
    assert!(stage.ask(stays, b"").starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(get(&mut stage, &path).starts_with("HTTP/1.1 410 Gone\r\n"));
}

#[test]
fn a_range_of_a_link_is_as_of_the_file() {
    let (mut stage, owner) = stage(Accept::Always);
    let (path, _) = link(&mut stage, owner, 60);
    let line = format!("GET {path}");
    let mut ask = |fields: &str| {
        let (answer, id) = http(&mut stage, elsewhere(), encrypted(), &line, fields);
        // Free the slot.
        stage.close(id);
        answer
    };
    let answer = ask("Range: bytes=5-9\r\n");
    assert!(answer.starts_with("HTTP/1.1 206 Partial Content\r\n"), "{answer}");
    for field in [
        "Content-Range: bytes 5-9/1099511627776\r\n",
        "Cache-Control: private\r\n",
        "Referrer-Policy: no-referrer\r\n",
        "X-Content-Type-Options: nosniff\r\n",
    ] {
        assert!(answer.contains(field), "{field}: {answer}");
    }
    let tag = "\"0000000000000001\"";
    assert!(ask(&format!("Range: bytes=5-\r\nIf-Range: {tag}\r\n")).contains(" 206 "));
    assert!(ask("Range: bytes=5-\r\nIf-Range: \"x\"\r\n").contains(" 200 "));
    assert!(ask("Range: bytes=1099511627776-\r\n").contains(" 416 "));
    let unchanged = ask(&format!("If-None-Match: {tag}\r\n"));
    assert!(unchanged.contains(" 304 ") && unchanged.contains("Referrer-Policy"), "{unchanged}");
}

#[test]
fn a_link_to_an_unknown_file_is_refused() {
    let (mut stage, owner) = stage(Accept::Always);
    for ask in [
        json!({"id": 1, "method": "LINK", "name": "none"}),
        json!({"id": 1, "method": "LINK", "root": "61".repeat(32)}),
    ] {
        assert_eq!(request(&mut stage, owner, ask)["error"]["code"], "not_found");
    }
    let (mut made, mut last) = (0, Value::Null);
    while last["error"].is_null() && made < 2_000 {
        last = request(&mut stage, owner, json!({"id": 1, "method": "LINK", "name": NAME}));
        made += usize::from(last["error"].is_null());
    }
    assert_eq!((made, &last["error"]["code"]), (1_000, &json!("busy")));
}

/// Keeps all that is logged, at any level.
struct Kept(Mutex<String>);

static KEPT: Kept = Kept(Mutex::new(String::new()));

impl log::Log for Kept {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        let line = format!("{} {}\n", record.target(), record.args());
        self.0.lock().expect("no panic").push_str(&line);
    }
    fn flush(&self) {}
}

#[test]
fn link_ticket_is_in_no_log_event_or_metric() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&KEPT).expect("the only logger");
        log::set_max_level(log::LevelFilter::Trace);
    });
    let (mut stage, owner) = stage(Accept::Ask);
    let (path, number) = link(&mut stage, owner, 60);
    assert!(get(&mut stage, &path).contains(" 200 "));
    assert!(get(&mut stage, &path.replace(NAME, "other.bin")).contains(" 404 "));
    stage.pass(Duration::from_secs(60));
    assert!(get(&mut stage, &path).contains(" 410 "));
    let metrics = request(&mut stage, owner, json!({"id": 2, "method": "STATUS"}));
    let (ticket, told) = (&path[3..37], format!("{:?}", stage.told));
    assert_eq!(ticket.len(), 34);
    let logged = KEPT.0.lock().expect("no panic").clone();
    assert!(logged.contains(&format!("GET by link {number}")), "{logged}");
    // Any part of the ticket that is a secret.
    for part in [ticket, &ticket[12..]] {
        assert!(!logged.contains(part) && !told.contains(part), "{logged}{told}");
        assert!(!metrics.to_string().contains(part), "{metrics}");
    }
    assert!(!told.contains("Consent"), "{told}");
}
