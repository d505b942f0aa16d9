//! The drop folder of a peer: files that visitors of the page give to the owner.

use std::net::SocketAddr;

use serde_json::{Value, json};

use crate::harness::{Dir, Node, cardume, lone_peer, noise, wait_until};
use crate::web::{self, Answer, Web};

/// The field by which a browser tells that the own page has sent a request.
const OWN: &str = "Sec-Fetch-Site: same-origin";

/// A peer without a server, with a drop folder.
#[track_caller]
fn taker(drop: &Dir, args: &[&str]) -> (Node, Dir) {
    let here = Dir::new();
    let all: Vec<&str> = ["--drop", drop.text()].iter().chain(args).copied().collect();
    (lone_peer(&here, &all), here)
}

/// An offer as the page sends it.
fn offer_on(conn: &mut Web, name: &str, size: u64) {
    let body = json!({"name": name, "size": size}).to_string();
    let length = format!("Content-Length: {}", body.len());
    conn.send(&[
        "POST /api/drop HTTP/1.1",
        "Host: localhost",
        OWN,
        "Content-Type: application/json",
        &length,
    ]);
    conn.send_bytes(body.as_bytes());
}

fn value(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}

fn offer(at: SocketAddr, name: &str, size: u64) -> (u16, Value) {
    let mut conn = Web::open(at);
    offer_on(&mut conn, name, size);
    let answer = conn.receive(false);
    (answer.status, value(&answer))
}

/// The connection on which these bytes have been sent for a ticket.
fn put(at: SocketAddr, ticket: &str, length: u64, bytes: &[u8]) -> Web {
    let mut conn = Web::open(at);
    let (line, length) =
        (format!("PUT /api/drop/{ticket} HTTP/1.1"), format!("Content-Length: {length}"));
    conn.send(&[&line, "Host: localhost", OWN, &length]);
    conn.send_bytes(bytes);
    conn
}

#[track_caller]
fn ticket(at: SocketAddr, name: &str, size: u64) -> String {
    let (status, value) = offer(at, name, size);
    assert_eq!(status, 200, "{value}");
    value["ticket"].as_str().expect("a ticket").to_owned()
}

/// Gives a file, and returns the name under which the file is stored.
#[track_caller]
fn give(at: SocketAddr, name: &str, bytes: &[u8]) -> String {
    let size = bytes.len() as u64;
    let answer = put(at, &ticket(at, name, size), size, bytes).receive(false);
    assert_eq!(answer.status, 200, "{answer:?}");
    value(&answer)["name"].as_str().expect("a name").to_owned()
}

#[track_caller]
fn code(answer: &(u16, Value)) -> (u16, &str) {
    (answer.0, answer.1["error"].as_str().expect("a code"))
}

#[test]
fn a_given_file_is_stored_under_its_name_and_a_second_one_gets_a_number() {
    let drop = Dir::new();
    let (peer, _here) = taker(&drop, &["--drop-accept", "always"]);
    assert_eq!(value(&web::get(peer.at, "/api/drop")), json!({"largest": 1_u64 << 30}));
    let large = noise(1, 3_000_000);
    assert_eq!(give(peer.at, "foto ç.jpg", &large), "foto ç.jpg");
    assert_eq!(give(peer.at, "foto ç.jpg", b"other"), "foto ç (2).jpg");
    assert_eq!(give(peer.at, "empty", b""), "empty");
    assert_eq!(drop.read("foto ç.jpg"), large);
    assert_eq!(drop.read("foto ç (2).jpg"), b"other");
    // Two at the same time.
    let tickets = [ticket(peer.at, "same", 4), ticket(peer.at, "same", 4)];
    let mut conns = tickets.map(|ticket| put(peer.at, &ticket, 4, b"ab"));
    for conn in &mut conns {
        conn.send_bytes(b"cd");
        assert_eq!(conn.receive(false).status, 200);
    }
    assert_eq!(drop.names(), ["empty", "foto ç (2).jpg", "foto ç.jpg", "same", "same (2)"]);
    peer.process.wait_for_stderr("has given you same");
}

#[test]
fn a_cut_upload_leaves_no_file_and_a_ticket_is_for_one_file() {
    let drop = Dir::new();
    drop.write("drop-0123456789abcdef0123456789abcdef.part", b"of an earlier process");
    drop.write("mine.part", b"of the owner");
    let (peer, _here) = taker(&drop, &["--drop-accept", "always"]);
    assert_eq!(drop.names(), ["mine.part"]);
    for ends in [true, false] {
        let first = ticket(peer.at, "cut.bin", 1_000);
        let conn = put(peer.at, &first, 1_000, &[7; 400]);
        wait_until("the part", || (drop.names().len() == 2).then_some(()));
        assert!(!drop.has("cut.bin"));
        if ends {
            conn.half_close();
        } else {
            std::mem::drop(conn);
        }
        wait_until("the end of the part", || (drop.names() == ["mine.part"]).then_some(()));
        // The ticket was used.
        assert_eq!(put(peer.at, &first, 1_000, b"").receive(false).status, 404);
    }
    let other = ticket(peer.at, "size.bin", 5);
    assert_eq!(put(peer.at, &other, 6, b"").receive(false).status, 400);
    assert_eq!(put(peer.at, &"0".repeat(32), 1, b"").receive(false).status, 404);
    assert_eq!(put(peer.at, &other, 5, b"12345").receive(false).status, 200);
}

#[test]
fn hostile_names_and_other_pages_are_refused() {
    let drop = Dir::new();
    let (peer, _here) = taker(&drop, &["--drop-accept", "always"]);
    for name in [
        "../x",
        "a/b",
        "a\\b",
        ".bashrc",
        "..",
        ".",
        "",
        "x.part",
        "a\nb",
        "a\u{202e}b",
        &"x".repeat(256),
    ] {
        let refused = offer(peer.at, name, 1);
        assert_eq!(code(&refused), (400, "bad_name"), "{name:?}");
    }
    let body = json!({"name": "a", "size": 1}).to_string();
    let length = format!("Content-Length: {}", body.len());
    let json_kind = "Content-Type: application/json";
    for (fields, status) in [
        (["Origin: http://evil.example", json_kind], 403),
        (["Sec-Fetch-Site: cross-site", json_kind], 403),
        (["X: y", json_kind], 403),
        ([OWN, "Content-Type: text/plain"], 415),
    ] {
        let mut conn = Web::open(peer.at);
        conn.send(&["POST /api/drop HTTP/1.1", "Host: localhost", fields[0], fields[1], &length]);
        conn.send_bytes(body.as_bytes());
        assert_eq!(conn.receive(false).status, status, "{fields:?}");
    }
    let mut conn = Web::open(peer.at);
    conn.send(&["POST /api/drop HTTP/1.1", "Host: evil.example", OWN, json_kind, &length]);
    assert_eq!(conn.receive(false).status, 403);
    let given = ticket(peer.at, "a", 1);
    let line = format!("PUT /api/drop/{given} HTTP/1.1");
    for (fields, status) in [
        (["Origin: http://evil.example", "Content-Length: 1"], 403),
        (["X: y", "Content-Length: 1"], 403),
        ([OWN, "Transfer-Encoding: chunked"], 411),
        ([OWN, "X: y"], 411),
        ([OWN, "Content-Length: 1x"], 400),
    ] {
        let mut conn = Web::open(peer.at);
        conn.send(&[&line, "Host: localhost", fields[0], fields[1]]);
        assert_eq!(conn.receive(false).status, status, "{fields:?}");
    }
    assert!(drop.names().is_empty());
}

#[test]
fn a_full_drop_folder_takes_nothing_more() {
    let drop = Dir::new();
    let limits = [
        "--drop-accept",
        "always",
        "--drop-largest",
        "1000",
        "--drop-total",
        "1500",
        "--drop-files",
        "3",
    ];
    let (peer, _here) = taker(&drop, &limits);
    assert_eq!(code(&offer(peer.at, "large", 1_001)), (400, "too_large"));
    give(peer.at, "one", &[1; 1_000]);
    assert_eq!(code(&offer(peer.at, "two", 501)), (403, "refused"));
    // A file that was accepted counts before its bytes come.
    let coming = ticket(peer.at, "two", 400);
    assert_eq!(code(&offer(peer.at, "three", 101)), (403, "refused"));
    assert_eq!(put(peer.at, &coming, 400, &[2; 400]).receive(false).status, 200);
    give(peer.at, "three", b"3");
    assert_eq!(code(&offer(peer.at, "four", 1)), (403, "refused"));
    // The owner makes room.
    std::fs::remove_file(drop.at("one")).expect("a file");
    let ticket_of_four = wait_until("the next listing of the folder", || {
        let (status, value) = offer(peer.at, "four", 1);
        (status == 200).then(|| value["ticket"].as_str().expect("a ticket").to_owned())
    });
    assert_eq!(put(peer.at, &ticket_of_four, 1, b"4").receive(false).status, 200);
    // Few offers of an address at a time.
    std::fs::remove_file(drop.at("two")).expect("a file");
    let another = Dir::new();
    let (other, _here) = taker(&another, &["--drop-accept", "always"]);
    for _ in 0..4 {
        ticket(other.at, "waits", 1);
    }
    assert_eq!(code(&offer(other.at, "waits", 1)), (503, "busy"));
}

#[test]
fn the_owner_is_asked_once_for_an_address() {
    let drop = Dir::new();
    let (mut peer, _here) = taker(&drop, &[]);
    let mut conn = Web::open(peer.at);
    offer_on(&mut conn, "first.txt", 3);
    peer.process.wait_for_stderr("wants to give you first.txt (3 bytes). Do you take it? (YES/NO)");
    peer.process.type_line("NO");
    let refused = conn.receive(false);
    assert_eq!(code(&(refused.status, value(&refused))), (403, "refused"));
    let mut conn = Web::open(peer.at);
    offer_on(&mut conn, "second.txt", 3);
    peer.process.wait_for_stderr("second.txt");
    peer.process.type_line("YES");
    let accepted = value(&conn.receive(false));
    let ticket = accepted["ticket"].as_str().expect("a ticket");
    assert_eq!(put(peer.at, ticket, 3, b"two").receive(false).status, 200);
    // A yes holds for the next files of this address.
    assert_eq!(give(peer.at, "third.txt", b"three"), "third.txt");
    assert_eq!(drop.names(), ["second.txt", "third.txt"]);
}

#[test]
fn an_offer_ends_with_its_connection() {
    let drop = Dir::new();
    let (mut peer, _here) = taker(&drop, &[]);
    for ends in [true, false] {
        let mut gone = Web::open(peer.at);
        offer_on(&mut gone, "gone.txt", 3);
        peer.process.wait_for_stderr("wants to give you gone.txt");
        let gone = ends.then_some(gone);
        if let Some(gone) = &gone {
            gone.half_close();
        }
        let mut stays = Web::open(peer.at);
        offer_on(&mut stays, "stays.txt", 3);
        peer.process.wait_for_stderr("wants to give you stays.txt");
        peer.process.type_line("NO");
        assert_eq!(stays.receive(false).status, 403);
    }
}

#[test]
fn a_peer_without_a_drop_folder_takes_nothing() {
    let here = Dir::new();
    let peer = lone_peer(&here, &[]);
    assert_eq!(value(&web::get(peer.at, "/api/drop")), json!({"largest": null}));
    assert_eq!(code(&offer(peer.at, "a", 1)), (404, "not_found"));
    let done = cardume(["peer", "--folder", here.text(), "--drop", "/no/such/folder"]).output();
    assert_eq!(done.expect("it runs").status.code(), Some(7));
}
