//! Providers that accept a connection and stay silent: the download time depends on the good
//! provider alone.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{Dir, finish, noise, start_get};
use crate::legacy_sources::index;
use crate::provider::{Content, Handling, Provider};

/// The last action of a silent provider.
#[derive(Clone, Copy, Debug)]
enum Silent {
    /// Sends the opening.
    Greets,
    /// Sends one WAITING event for its list.
    Promises,
    /// Sends WAITING events without end.
    PromisesAgain,
    /// Sends HAVE events without end.
    TellsPieces,
    /// Starts its list.
    BeginsList,
    /// Sends empty parts of the list without end.
    EmptyParts,
    /// Sends the list and half of each piece.
    HalfPieces,
    /// Sends the list and no piece.
    ListOnly,
}

fn holder(content: &Content, how: Silent) -> Provider {
    Provider::new(content, move |conn, request| {
        let id = &request["id"];
        match (how, request["method"].as_str()) {
            (_, None) => return Handling::Regular,
            (Silent::HalfPieces | Silent::ListOnly, Some("PIECES")) => return Handling::Regular,
            (Silent::Promises, Some("PIECES")) => {
                conn.send_line(&json!({"event": "WAITING", "id": id, "reason": "hashing"}))
            }
            (Silent::TellsPieces, Some("PIECES")) => {
                let have = json!({"event": "HAVE", "root": conn.content().root, "whole": false, "pieces": []});
                conn.chatter(&have);
            }
            (Silent::PromisesAgain, Some("PIECES")) => {
                conn.chatter(&json!({"event": "WAITING", "id": id, "reason": "hashing"}))
            }
            (Silent::EmptyParts, Some("PIECES")) => {
                let what = conn.content();
                let part = json!({"id": id, "status": "PIECES_OK", "name": what.name, "size": what.size, "tag": what.tag, "root": what.root,
                    "from": 0, "length": 0, "more": true});
                conn.chatter(&part);
            }
            (Silent::BeginsList, Some("PIECES")) => {
                let what = conn.content();
                conn.send_line(&json!({"id": id, "status": "PIECES_OK", "name": what.name, "size": what.size, "tag": what.tag, "root": what.root,
                    "from": 0, "length": what.list.len(), "more": false}));
            }
            (Silent::HalfPieces, Some("FETCH")) => conn.half(request),
            _ => {}
        }
        Handling::Done
    })
}

fn named(content: &Content, at: std::net::SocketAddr) -> Value {
    let mut file = content.file();
    file["peer"] = json!(at);
    file
}

/// All of `holders` come before the good one, and the download must take at most `most`.
#[track_caller]
fn completes_within(what: &str, content: &Content, mut holders: Vec<Value>, most: Duration) {
    let good = Provider::honest(content);
    holders.push(named(content, good.at));
    let (there, began) = (Dir::new(), Instant::now());
    let done = finish(start_get(&["a.mp4"], index(holders), &there));
    let took = began.elapsed();
    content.is_saved(&done, &there);
    assert!(took < most, "{what}: it took {took:?}");
}

#[test]
fn ten_silent_holders_cost_no_more_than_some_round_trips() {
    for pieces in [1, 6] {
        let content = Content::new("a.mp4", &noise(41, pieces << 20));
        std::thread::scope(|scope| {
            for how in [
                Silent::Greets,
                Silent::Promises,
                Silent::PromisesAgain,
                Silent::TellsPieces,
                Silent::BeginsList,
                Silent::EmptyParts,
                Silent::HalfPieces,
                Silent::ListOnly,
            ] {
                let content = &content;
                scope.spawn(move || {
                    let silent: Vec<Provider> = (0..10).map(|_| holder(content, how)).collect();
                    completes_within(
                        &format!("{how:?}, {pieces} pieces"),
                        content,
                        silent.iter().map(|provider| named(content, provider.at)).collect(),
                        // Ten silent sources in turn cost a `DELIVERY_GAP` each: fifteen seconds.
                        Duration::from_secs(8),
                    );
                });
            }
        });
    }
}

/// The connections are accepted and never answered.
#[test]
fn hundreds_of_dead_connections_are_passed_over_in_seconds() {
    let content = Content::new("a.mp4", &noise(42, (3 << 20) + 5));
    let dead: Vec<TcpListener> =
        (0..300).map(|_| TcpListener::bind("127.0.0.1:0").expect("a port")).collect();
    let holders =
        dead.iter().map(|dead| named(&content, dead.local_addr().expect("an address"))).collect();
    completes_within("dead links", &content, holders, Duration::from_secs(10));
}
