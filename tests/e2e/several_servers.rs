//! Several servers on one command line: any that answers serves.

use crate::harness::{Dir, Node, Process, cardume, noise, peer, run, server, unreachable};

#[test]
fn commands_go_on_to_a_server_that_answers() {
    let (server, here) = (server(), Dir::with("a.mp4", &noise(1, 5)));
    let (_held, dead) = unreachable();
    let _owner = peer(server.at, &here);
    // Whichever the command begins at.
    for list in [format!("{dead},{}", server.at), format!("{}, {dead}", server.at)] {
        for _ in 0..4 {
            run(["search", "a.mp4", "--server", &list]).succeeded();
        }
    }
    run(["search", "a.mp4", "--server", &dead.to_string()]).failed_with(5);
    run(["search", "a.mp4", "--server", " , "]).failed(2, "no server is named");
}

#[test]
fn a_peer_of_a_killed_server_joins_the_next_one() {
    let (first, second, here) = (server(), server(), Dir::with("a.mp4", &noise(1, 5)));
    let list = format!("{},{}", first.at, second.at);
    let args = ["peer", "--server", &list, "--listen", "127.0.0.1:0", "--folder", here.text()];
    let peer = Node::listening(Process::start(cardume(args)));
    peer.wait_for_stdout("Sou peer ");
    let at = |server: &Node| run(["search", "a.mp4", "--server", &server.at.to_string()]).code;
    let (killed, other) = if at(&first) == 0 { (first, second) } else { (second, first) };
    assert_eq!((at(&killed), at(&other)), (0, 3));
    drop(killed);
    crate::harness::wait_until("the peer at the other server", || (at(&other) == 0).then_some(()));
}
