//! The change of a server's key by the real program: announced to connected members, taken after
//! the change, and refused to clients that were away.

use std::fs;

use crate::harness::{Dir, Done, Process, assert_same_files, noise, run, run_tool, wait_until};
use crate::members::{Closed, User, closed, listed};

/// The pins of the server joined last, as the file has them.
fn pins(user: &User) -> Vec<String> {
    let file = String::from_utf8(user.0.read("cardume/servers")).expect("text");
    let line = file.lines().last().expect("a server");
    line.split(' ').nth(1).expect("keys").split(',').map(str::to_owned).collect()
}

/// The key that the server shows, in hex.
#[track_caller]
fn shown(user: &User) -> String {
    let me = user.run(&["members", "--me"]);
    me.succeeded();
    me.out[0].split('\t').next().expect("a key").to_owned()
}

fn rotate(closed: &Closed, more: &[&str]) -> Done {
    run([&["server", "rotate-key", "--data", closed.data.text()], more].concat())
}

/// Announces the next key of a running server, and returns it in hex.
#[track_caller]
fn announced(closed: &Closed) -> String {
    let done = rotate(closed, &[]);
    done.succeeded();
    let server = closed.server.as_ref().expect("a server");
    server.wait_for_stderr("the next key of the server is announced");
    done.out[0].clone()
}

#[track_caller]
fn finished(closed: &Closed, more: &str) -> String {
    let done = rotate(closed, &[more]);
    done.succeeded();
    let server = closed.server.as_ref().expect("a server");
    server.wait_for_stderr("from now on");
    done.out[0].clone()
}

#[test]
fn connected_members_learn_the_next_key_and_follow_the_change() {
    let (mut closed, invites) = closed(&[&[], &[]]);
    let (ana, bia) = (User::new(), User::new());
    ana.joins(&invites[0], "ana");
    bia.joins(&invites[1], "bia");
    let here = Dir::with("aula 1.mp4", &noise(1, 3_000_001));
    let _peer = ana.shares(&here, &[]);
    listed(&bia, "aula 1.mp4");
    let old = shown(&bia);
    let next = announced(&closed);
    // The peer of ana learns it by the event, bia by the opening of her next command.
    wait_until("the event", || (pins(&ana).len() == 2).then_some(()));
    closed.administers(&["members"]);
    let gets = || {
        let there = Dir::new();
        bia.run(&["get", "aula 1.mp4", "--folder", there.text()]).succeeded();
        assert_same_files(&here.at("aula 1.mp4"), &there.at("aula 1.mp4"));
    };
    gets();
    assert_eq!((pins(&bia), shown(&bia)), (pins(&ana), old.clone()));
    assert_eq!(finished(&closed, "--finish"), next);
    // Passes are signed by the new key; the peer of ana has not connected again yet.
    gets();
    assert_eq!((shown(&bia), pins(&bia).len()), (next.clone(), 1));
    assert_eq!(pins(&ana).len(), 2);
    closed.restarts();
    wait_until("the peer follows", || (pins(&ana) == pins(&bia)).then_some(()));
    listed(&bia, "aula 1.mp4");
    gets();
    // A second change works the same way.
    closed.administers(&["members"]);
    let third = announced(&closed);
    closed.administers(&["members"]);
    assert_eq!(shown(&bia), next);
    assert_eq!(finished(&closed, "--finish"), third);
    assert_eq!((shown(&bia), pins(&bia).len()), (third, 1));
    let log = closed.administers(&["audit"]).out.join("\n");
    assert!(log.contains(&format!("ROTATE\t{next}\tok")) && log.contains("ROTATED\t"), "{log}");
}

#[test]
fn a_client_that_was_away_stops_with_both_keys_and_joins_again_by_replace() {
    let (closed, invites) = closed(&[&[], &[]]);
    let carla = User::new();
    carla.joins(&invites[0], "carla");
    let (old, before) = (shown(&carla), pins(&carla));
    let next = announced(&closed);
    let both = closed.administers(&["invite", "--uses", "2"]).out[0].clone();
    User::new().joins(&both, "dora");
    finished(&closed, "--finish");
    let done = carla.run(&["search", "a.mp4"]);
    done.failed(6, &format!("has the key {next}, and the known key is {old}"));
    assert_eq!((done.err.len(), pins(&carla)), (1, before), "{done:?}");
    // An invite from before the announcement ends in the same way; it is not used up.
    let eve = User::new();
    eve.run(&["join", &invites[1], "--name", "eve"]).failed(6, &next);
    assert!(!eve.0.has("cardume/servers"));
    // An invite from between is good before and after.
    eve.joins(&both, "eve");
    assert_eq!((shown(&eve), pins(&eve).len()), (next.clone(), 1));
    // The administrator has learned the key; carla's key is a member still.
    let url = run(["server", "url", &closed.at.to_string(), "--data", closed.data.text()]);
    carla.run(&["join", &url.out[0], "--name", "carla"]).failed(4, "--replace");
    carla.run(&["join", &url.out[0], "--name", "carla", "--replace"]).succeeded();
    assert_eq!(shown(&carla), next);
}

#[test]
fn a_stolen_key_is_out_at_once_and_members_join_again() {
    let (closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    let old = shown(&ana);
    let next = finished(&closed, "--now");
    assert_ne!(next, old);
    ana.run(&["search", "a.mp4"]).failed(6, &next);
    let url = run(["server", "url", &closed.at.to_string(), "--data", closed.data.text()]);
    ana.run(&["join", &url.out[0], "--name", "ana", "--replace"]).succeeded();
    assert_eq!((shown(&ana), pins(&ana).len()), (next, 1));
}

#[test]
fn a_repeated_or_premature_command_is_one_clear_line() {
    let (closed, _) = closed(&[]);
    let one_line = |done: Done, code, text: &str| {
        done.failed(code, text);
        assert_eq!(done.err.len(), 1, "{done:?}");
    };
    one_line(rotate(&closed, &["--finish"]), 4, "no next key is announced");
    let next = announced(&closed);
    one_line(rotate(&closed, &[]), 4, &format!("{next} is announced already"));
    rotate(&closed, &["--finish", "--now"]).failed_with(2);
    finished(&closed, "--finish");
    one_line(rotate(&closed, &["--finish"]), 4, "no next key is announced");
    let empty = Dir::new();
    let done = run(["server", "rotate-key", "--data", empty.text()]);
    one_line(done, 7, "no server has a key here");
    assert!(empty.names().is_empty());
}

#[test]
fn a_crash_between_any_two_steps_leaves_a_server_that_starts() {
    let (mut closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    let (old, next_file) = (shown(&ana), closed.data.at("server.next.key"));
    let crash = |closed: &mut Closed| {
        closed.server.as_mut().expect("a server").kill();
        closed.restarts();
    };
    // A draft without its name: the command was killed before the key was whole.
    closed.data.write("server.next.00ff", &[b'0'; 30]);
    crash(&mut closed);
    assert_eq!((shown(&ana), pins(&ana).len()), (old.clone(), 1));
    // A spoilt next key is no next key, and the command says so.
    closed.data.write("server.next.key", b"diary");
    crash(&mut closed);
    assert_eq!((shown(&ana), pins(&ana).len()), (old.clone(), 1));
    rotate(&closed, &[]).failed(7, "that is no key");
    rotate(&closed, &["--finish"]).failed(7, "that is no key");
    fs::remove_file(&next_file).expect("the file");
    // Announced, and killed before a client has learned it.
    let done = rotate(&closed, &[]);
    done.succeeded();
    crash(&mut closed);
    assert_eq!((shown(&ana), pins(&ana).len()), (old, 2));
    let secret = fs::read(&next_file).expect("the next key");
    assert_eq!(secret.len(), 65);
    // Renamed while the server was down.
    drop(closed.server.take());
    rotate(&closed, &["--finish"]).succeeded();
    assert!(!next_file.exists() && closed.data.read("server.key") == secret);
    closed.restarts();
    assert_eq!((shown(&ana), pins(&ana).len()), (done.out[0].clone(), 1));
}

#[test]
fn the_next_key_takes_over_after_thirty_days_of_the_server() {
    let (mut closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    let old = shown(&ana);
    let next = announced(&closed);
    assert_eq!(shown(&ana), old);
    let change = |seconds: u64| {
        format!(
            "import sqlite3\nd = sqlite3.connect('{}/accounts.sqlite')\n\
             d.execute('update clock set now = now + {seconds}')\nd.commit()",
            closed.data.text()
        )
    };
    let (early, late) = (change(29 * 86_400), change(86_400));
    for (sql, key) in [(early, &old), (late, &next)] {
        drop(closed.server.take());
        let Some(done) = run_tool("python3", &["-c", &sql]) else { return };
        assert!(done.status.success(), "{done:?}");
        closed.restarts();
        wait_until("the key of that day", || (shown(&ana) == *key).then_some(()));
    }
    // The answer tells the new key even on a connection that was opened under the old one.
    assert_eq!(shown(&ana), next);
    assert_eq!(pins(&ana).len(), 1);
}

#[test]
fn a_command_that_waits_through_the_change_ends_well() {
    let (closed, invites) = closed(&[&[]]);
    let ana = User::new();
    ana.joins(&invites[0], "ana");
    announced(&closed);
    shown(&ana);
    // Started with both pins known, connected before the change.
    let watch = Process::start(ana.command(&["watch", "a.mp4"]));
    finished(&closed, "--finish");
    let here = Dir::with("a.mp4", &noise(1, 5_000));
    let _peer = ana.shares(&here, &[]);
    watch.wait_for_stdout("a.mp4");
    drop(watch);
}
