//! Programs of music-udp against the index of our server, byte by byte.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use crate::harness::{Dir, Node, get_via, noise, own_ip, peer_with, run, server_with, wait_until};

/// A server with the index of music-udp, on a free address of this test alone.
fn music_server() -> (Node, SocketAddr) {
    let held = TcpListener::bind((own_ip(), 0)).expect("a port");
    let at = held.local_addr().expect("its address");
    drop(held);
    let node = server_with(&["--listen", "127.0.0.1:0", "--music", &at.to_string()]);
    node.wait_for_stderr(&format!("music-udp {at}"));
    (node, at)
}

/// Sends these pieces, each in a segment of its own, and returns all bytes up to the end.
fn operate(at: SocketAddr, pieces: &[&str]) -> String {
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.set_nodelay(true).expect("small segments");
    for piece in pieces {
        conn.write_all(piece.as_bytes()).expect("it is taken");
    }
    let mut received = String::new();
    conn.read_to_string(&mut received).expect("an answer");
    received
}

#[test]
fn nodes_register_are_listed_and_leave() {
    let (server, at) = music_server();
    assert_eq!(operate(at, &["CONSULTAR"]), "");
    let register = "REGISTRAR|127.0.0.1:5001|song1.mp3,m1";
    assert_eq!(operate(at, &[register]), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &[register]), "CLIENTE_JA_REGISTRADO");
    assert_eq!(operate(at, &["REGISTER 127.0.0.1:5002 b"]), "REGISTRO_SUCESSO");
    let both = "127.0.0.1:5002:b|127.0.0.1:5001:song1.mp3,m1";
    let listed = operate(at, &["CONSULTAR"]);
    assert_eq!(listed.split('|').count(), 2, "{listed}");
    assert!(both.split('|').all(|node| listed.contains(node)), "{listed}");
    assert_eq!(operate(at, &["LIST"]), listed);
    // Native programs find the file.
    let found = run(["search", "m1", "--server", &server.at.to_string()]);
    assert!(found.succeeded().out[0].ends_with(" 127.0.0.1:5001"), "{found:#?}");
    // A new list takes the place of the earlier list.
    assert_eq!(operate(at, &["REGISTRAR|127.0.0.1:5001|m2"]), "CLIENTE_JA_REGISTRADO");
    assert!(operate(at, &["CONSULTAR"]).contains("127.0.0.1:5001:m2"));
    assert_eq!(operate(at, &["ENCERRAR|127.0.0.1:5001"]), "CLIENTE_REMOVIDO");
    assert_eq!(operate(at, &["ENCERRAR|127.0.0.1:5001"]), "");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5002:b");
}

#[test]
fn a_request_in_any_segments_is_read_and_a_half_closed_one_at_once() {
    let (_server, at) = music_server();
    let text = "REGISTRAR|127.0.0.1:5001|a,b";
    let bytes: Vec<String> = text.chars().map(String::from).collect();
    let pieces: Vec<&str> = bytes.iter().map(String::as_str).collect();
    assert_eq!(operate(at, &pieces), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:a,b");
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.write_all(b"ENCERRAR|127.0.0.1:5001").expect("it is taken");
    conn.shutdown(Shutdown::Write).expect("half a link");
    let mut received = String::new();
    conn.read_to_string(&mut received).expect("an answer");
    assert_eq!(received, "CLIENTE_REMOVIDO");
    // A half request holds up no other client.
    let mut half = TcpStream::connect(at).expect("a link");
    half.write_all(b"REGISTRAR|127.0.0.1:5009").expect("it is taken");
    assert_eq!(operate(at, &["CONSULTAR"]), "");
}

#[test]
fn addresses_of_others_and_names_outside_the_folder_are_not_registered() {
    let (_server, at) = music_server();
    let refused = "ERRO: o endereço é de outra máquina.";
    assert_eq!(operate(at, &["REGISTRAR|192.0.2.9:5001|a"]), refused);
    assert_eq!(operate(at, &["ENCERRAR|192.0.2.9:5001"]), refused);
    assert_eq!(operate(at, &["REGISTRAR|127.0.0.1:99999|a"]), "ERRO: pedido desconhecido.");
    assert_eq!(operate(at, &["APAGAR|127.0.0.1:1"]), "ERRO: pedido desconhecido.");
    let many = format!("REGISTRAR|127.0.0.1:5001|{}", "a,".repeat(1_001));
    assert_eq!(operate(at, &[&many]), "ERRO: limite atingido.");
    assert_eq!(operate(at, &["CONSULTAR"]), "");
    let names = "REGISTRAR|127.0.0.1:5001|../a,/etc/passwd,ok";
    assert_eq!(operate(at, &[names]), "REGISTRO_SUCESSO");
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:ok");
    let long = format!("REGISTRAR|127.0.0.1:5002|{}", "x".repeat(1 << 20));
    let mut conn = TcpStream::connect(at).expect("a link");
    // The server may close before all is sent.
    let _ = conn.write_all(long.as_bytes());
    wait_until("the server closes the connection", || {
        let mut room = [0; 64];
        matches!(conn.read(&mut room), Ok(0) | Err(_)).then_some(())
    });
    assert_eq!(operate(at, &["CONSULTAR"]), "127.0.0.1:5001:ok");
}

#[test]
fn a_native_download_from_such_a_peer_says_that_the_protocol_is_missing() {
    let (server, at) = music_server();
    assert_eq!(operate(at, &["REGISTRAR|127.0.0.1:5001|m1"]), "REGISTRO_SUCESSO");
    let folder = Dir::new();
    let done = get_via(&["m1"], server.at, &folder);
    assert!(done.code != 0 && done.err.iter().any(|line| line.contains("music-udp")), "{done:#?}");
    assert!(!folder.has("m1"));
}

/// A peer that answers by UDP; returns its UDP address as well.
fn udp_peer(server: SocketAddr, folder: &Dir) -> (Node, SocketAddr) {
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let at = held.local_addr().expect("its address");
    drop(held);
    // A datagram does not prove the user that has sent it.
    (peer_with(server, folder, &["--open", "--music-udp", &at.to_string()]), at)
}

/// The file and the text of the last datagram, by a receiver with the usual buffer.
fn take(from: SocketAddr, request: &str) -> (Vec<u8>, String) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    socket.send_to(request.as_bytes(), from).expect("it is sent");
    let (mut file, mut room) = (Vec::new(), [0; 2_048]);
    loop {
        let (length, sender) = socket.recv_from(&mut room).expect("a datagram");
        assert_eq!(sender, from);
        let datagram = &room[..length];
        if datagram == b"END" || datagram.starts_with(b"ERRO: ") || datagram == b"PONG" {
            return (file, String::from_utf8_lossy(datagram).into_owned());
        }
        assert!(length == 1_024 || file.len() % 1_024 == 0, "{length} bytes");
        file.extend_from_slice(datagram);
    }
}

#[test]
fn a_peer_sends_a_file_by_udp_without_loss() {
    let (server, at) = music_server();
    let bytes = noise(11, 1_000_003);
    let folder = Dir::with("m1", &bytes);
    folder.write("empty", b"");
    folder.write("one", &bytes[..1_024]);
    let (_peer, udp) = udp_peer(server.at, &folder);
    // The index lists the port a thousand below.
    let node = format!("{}:{}:", udp.ip(), udp.port() - 1_000);
    wait_until("the peer in CONSULTAR", || {
        let listed = operate(at, &["CONSULTAR"]);
        (listed.contains(&node) && listed.contains("m1")).then_some(())
    });
    for request in ["GET m1", "REQUISITAR|m1"] {
        let (file, last) = take(udp, request);
        assert!(file == bytes && last == "END", "{request}: {} bytes, {last}", file.len());
    }
    assert_eq!(take(udp, "GET empty"), (Vec::new(), "END".to_owned()));
    assert_eq!(take(udp, "GET one"), (bytes[..1_024].to_vec(), "END".to_owned()));
    let missing = "ERRO: Arquivo não encontrado.";
    for request in ["GET none", "GET ../m1", "GET /etc/passwd"] {
        assert_eq!(take(udp, request), (Vec::new(), missing.to_owned()), "{request}");
    }
    assert_eq!(take(udp, "PING").1, "PONG");
    assert!(take(udp, "\u{1}\u{2}").1.starts_with("ERRO: "));
}

#[test]
fn many_requests_share_the_pace_and_an_address_has_one_answer_at_a_time() {
    let (server, _) = music_server();
    let bytes = noise(12, 100_000);
    let folder = Dir::with("m1", &bytes);
    let (_peer, udp) = udp_peer(server.at, &folder);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a timeout");
    // A repeated request under way gets no second answer.
    for _ in 0..200 {
        socket.send_to(b"GET m1", udp).expect("it is sent");
    }
    let (mut file, mut room) = (Vec::new(), [0; 2_048]);
    loop {
        let (length, _) = socket.recv_from(&mut room).expect("a datagram");
        if &room[..length] == b"END" {
            break;
        }
        file.extend_from_slice(&room[..length]);
    }
    assert!(file == bytes, "{} bytes", file.len());
    // A flood of long and strange datagrams does not hold up the next request.
    for length in [0, 1, 2_047, 2_048, 9_000] {
        socket.send_to(&vec![b'x'; length], udp).expect("it is sent");
    }
    assert!(take(udp, "GET m1").0 == bytes);
}

#[test]
fn a_peer_of_a_closed_server_answers_no_datagram_with_a_file() {
    let (server, _) = music_server();
    let folder = Dir::with("m1", b"x");
    let held = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let udp = held.local_addr().expect("its address");
    drop(held);
    let _peer = peer_with(server.at, &folder, &["--music-udp", &udp.to_string()]);
    let missing = "ERRO: Arquivo não encontrado.";
    assert_eq!(take(udp, "GET m1"), (Vec::new(), missing.to_owned()));
}

#[test]
fn the_udp_port_is_of_this_machine_alone() {
    let folder = Dir::with("m1", b"x");
    for at in ["0.0.0.0:6001", "80"] {
        let args =
            ["peer", "--listen", "127.0.0.1:0", "--folder", folder.text(), "--music-udp", at];
        run(args).failed(2, if at == "80" { "2024" } else { "loopback" });
    }
}
