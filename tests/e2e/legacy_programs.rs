//! Programs of the legacy systems as they are: absolute names, odd dates, killed clients, and servers
//! that do not speak our protocol.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::{
    Dir, Node, Process, address_in, assert_same_files, cardume, finish, get_from, lone_peer, noise,
    own_ip, peer, peer_with, run, server, server_with, start_get_from, unreachable, wait_until,
};

/// A server with a UC3M protocol on a free port.
fn uc3m_server(edition: &str) -> (Node, SocketAddr) {
    let wire = format!("0:{edition}");
    let node = server_with(&["--listen", "127.0.0.1:0", "--uc3m", &wire]);
    let line = node.wait_for_stdout("s> init server ");
    let at = line.rsplit(' ').next().and_then(|at| at.parse().ok()).expect("an address");
    (node, at)
}

/// The port of a legacy protocol that a peer reports.
fn legacy_port(process: &Process, wire: &str) -> SocketAddr {
    let note = process.wait_for_stderr(&format!("{wire} 127."));
    note.rsplit(' ').next().and_then(|at| at.parse().ok()).expect("an address")
}

/// Sends `request` and returns all bytes until the other side closes.
fn exchange(at: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.write_all(request).expect("it is taken");
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("an answer");
    received
}

/// An operation with a date, as text.
fn operate(at: SocketAddr, date: &str, fields: &[&str]) -> String {
    let (op, rest) = fields.split_first().expect("an operation");
    let words: String = rest.iter().map(|field| format!("{field}\0")).collect();
    let answer = exchange(at, format!("{op}\0{date}\0{words}").as_bytes());
    String::from_utf8(answer).expect("a text")
}

/// Accepts connections on a free port, and runs `answer` for each in a thread.
fn program(
    at: &str,
    answer: impl Fn(&mut TcpStream) -> std::io::Result<()> + Send + Sync + Clone + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind(at).expect("a port");
    let at = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let answer = answer.clone();
            thread::spawn(move || answer(&mut stream));
        }
    });
    at
}

/// Reads until the other side closes.
fn hold(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.read_to_end(&mut Vec::new()).map(drop)
}

const DATE: &str = "21/11/2026 13:00:00";

#[test]
fn a_killed_client_connects_again_and_a_running_one_stays() {
    let (_server, at) = uc3m_server("2024");
    let date = |fields: &[&str]| operate(at, DATE, fields);
    let first = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = |held: &TcpListener| held.local_addr().expect("an address").port().to_string();
    let old = port(&first);
    assert_eq!(date(&["REGISTER", "bob"]), "0\0");
    assert_eq!(date(&["CONNECT", "bob", &old]), "0\0");
    assert_eq!(date(&["CONNECT", "bob", "4001"]), "2\0", "its program still listens");
    // A client that closes at once leaves nothing behind.
    for _ in 0..5 {
        let mut conn = TcpStream::connect(at).expect("a link");
        let request = format!("CONNECT\0{DATE}\0bob\x004001\0");
        conn.write_all(request.as_bytes()).expect("it is taken");
    }
    drop(first);
    let second = TcpListener::bind("127.0.0.1:0").expect("a port");
    let new = port(&second);
    assert_eq!(date(&["CONNECT", "bob", "80"]), "2\0", "the new port must be valid");
    assert_eq!(date(&["CONNECT", "bob", &new]), "0\0");
    assert_eq!(date(&["LIST_USERS", "bob"]), format!("0\x001\0bob\x00127.0.0.1\0{new}\0"));
    assert_eq!(date(&["CONNECT", "bob", &old]), "2\0");
    assert_eq!(date(&["DISCONNECT", "bob"]), "0\0");
}

#[test]
fn a_client_without_a_date_service_has_its_own_name() {
    let (_server, at) = uc3m_server("2024");
    for (user, date) in [
        ("ana", "FECHA NO DISPONIBLE"),
        ("bea", "2026-11-21T13:00:00"),
        ("eva", "unknown"),
        ("lia", ""),
    ] {
        assert_eq!(operate(at, date, &["REGISTER", user]), "0\0", "{date}");
        assert_eq!(operate(at, date, &["CONNECT", user, "4000"]), "0\0", "{date}");
        assert_eq!(operate(at, date, &["PUBLISH", user, "a.mp4", "a lesson"]), "0\0", "{date}");
        let content = operate(at, date, &["LIST_CONTENT", user, user]);
        assert_eq!(content, "0\x001\0a.mp4\0a lesson\0", "{date}");
    }
    let users = operate(at, DATE, &["LIST_USERS", "ana"]);
    assert!(users.starts_with("0\x004\0") && !users.contains("FECHA"), "{users:?}");
}

/// A console of UC3M in a temporary folder.
fn console(server: SocketAddr, edition: &str, here: &Dir) -> Process {
    let (server, key) = (server.to_string(), here.at(".key"));
    let mut command =
        cardume(["peer", "--console", edition, "--server", &server, "--listen", "127.0.0.1:0"]);
    command.args(["--key".as_ref(), key.as_os_str()]).current_dir(here.path());
    Process::start(command)
}

#[track_caller]
fn answers(console: &mut Process, line: &str, answer: &str) {
    console.type_line(line);
    console.expect_line(answer);
}

#[test]
fn each_get_file_has_an_answer_at_once() {
    let (server, at) = uc3m_server("2024");
    let provider = program("127.0.0.1:0", |stream| {
        let mut request = [0; 512];
        let count = stream.read(&mut request)?;
        let request = String::from_utf8_lossy(&request[..count]).into_owned();
        let answer: &[u8] = match request.split('\0').nth(1) {
            Some("here.mp4") => b"0\0lesson",
            Some("none.mp4") => b"1\0",
            Some("cut.mp4") => b"0",
            Some("mute.mp4") => b"",
            _ => b"2\0",
        };
        stream.write_all(answer)
    });
    let port = provider.port().to_string();
    let (_held, closed) = unreachable();
    for (user, port) in [("old", port.as_str()), ("gone", &closed.port().to_string())] {
        assert_eq!(operate(at, DATE, &["REGISTER", user]), "0\0");
        assert_eq!(operate(at, DATE, &["CONNECT", user, port]), "0\0");
    }
    let here = Dir::new();
    let mut bob = console(server.at, "uc3m:2024", &here);
    answers(&mut bob, "REGISTER bob", "REGISTER OK");
    answers(&mut bob, "CONNECT bob", "CONNECT OK");
    let since = Instant::now();
    for (line, answer) in [
        ("GET_FILE old here.mp4 a.mp4", "GET_FILE OK"),
        ("GET_FILE old none.mp4 b.mp4", "GET_FILE FAIL / FILE NOT EXIST"),
        ("GET_FILE old other.mp4 b.mp4", "GET_FILE FAIL"),
        ("GET_FILE old cut.mp4 b.mp4", "GET_FILE FAIL"),
        ("GET_FILE old mute.mp4 b.mp4", "GET_FILE FAIL"),
        ("GET_FILE gone here.mp4 b.mp4", "GET_FILE FAIL"),
        ("GET_FILE nobody here.mp4 b.mp4", "GET_FILE FAIL"),
    ] {
        answers(&mut bob, line, answer);
    }
    assert!(since.elapsed() < Duration::from_secs(30), "{:?}", since.elapsed());
    assert_eq!((here.read("a.mp4"), here.has("b.mp4")), (b"lesson".to_vec(), false));
    bob.type_line("QUIT");
    assert_eq!(bob.code(), 0);
    assert_eq!(bob.out.until_end().len(), 9, "one answer each");
}

#[test]
fn a_console_opens_the_port_of_its_edition_and_old_clients_find_it() {
    let (server, at) = uc3m_server("2025");
    let bytes = noise(3, 100_000);
    let here = Dir::with("a.mp4", &bytes);
    let mut ana = console(server.at, "uc3m:2025", &here);
    answers(&mut ana, "REGISTER ana", "REGISTER OK");
    answers(&mut ana, "CONNECT ana", "CONNECT OK");
    let port = legacy_port(&ana, "uc3m-2025");
    assert_eq!(operate(at, DATE, &["REGISTER", "bob"]), "\0");
    assert_eq!(operate(at, DATE, &["CONNECT", "bob", "4000"]), "\0");
    let row = format!("ana\x00127.0.0.1\0{}\0", port.port());
    assert!(operate(at, DATE, &["LIST_USERS", "bob"]).contains(&row));
    let path = here.at("a.mp4");
    let path = path.to_str().expect("a path");
    answers(&mut ana, &format!("PUBLISH {path} lesson"), "PUBLISH OK");
    let content = operate(at, DATE, &["LIST_CONTENT", "bob", "ana"]);
    assert!(content.starts_with(&format!("\x002\0{path}\0")), "{content:?}");
    let whole = [format!("\0{}\0", bytes.len()).into_bytes(), bytes].concat();
    assert!(exchange(port, format!("GET_FILE\0{path}\0").as_bytes()) == whole);
    // From one console to another.
    let there = Dir::new();
    let mut eva = console(server.at, "uc3m:2025", &there);
    answers(&mut eva, "REGISTER eva", "REGISTER OK");
    answers(&mut eva, "CONNECT eva", "CONNECT OK");
    let other = Dir::new();
    let local = other.at("b c.mp4");
    let local = local.to_str().expect("a path");
    answers(&mut eva, &format!("GET_FILE ana {path} \"{local}\""), "GET_FILE OK");
    assert_same_files(&here.at("a.mp4"), &other.at("b c.mp4"));
    assert_eq!(other.names(), ["b c.mp4"]);
    assert!(!there.has("b c.mp4"), "{:?}", there.names());
    for line in [
        format!("GET_FILE ana {path} {}/../x.mp4", other.text()),
        format!("GET_FILE ana {path} {}/none/x.mp4", other.text()),
        format!("GET_FILE ana {path} {}/", other.text()),
        format!("GET_FILE ana {path} ../x.mp4"),
    ] {
        answers(&mut eva, &line, "GET_FILE FAIL");
    }
    answers(
        &mut eva,
        &format!("GET_FILE ana /none.mp4 {}/x.mp4", other.text()),
        "GET_FILE FAIL / FILE NOT EXIST",
    );
    answers(&mut ana, &format!("DELETE {path}"), "DELETE OK");
}

#[test]
fn a_shared_file_is_served_by_its_absolute_path_and_no_other_is() {
    let place = Dir::new();
    let share = place.at("share");
    std::fs::create_dir_all(share.join("Sub")).expect("a folder");
    std::fs::write(share.join("a.mp4"), b"lesson").expect("a file");
    std::fs::write(share.join("Sub/b.mp4"), b"second").expect("a file");
    std::fs::write(place.at("outside.mp4"), b"secret").expect("a file");
    std::os::unix::fs::symlink(place.at("outside.mp4"), share.join("link.mp4")).expect("a link");
    std::os::unix::fs::symlink(&share, place.at("door")).expect("a link");
    let door = place.at("door");
    let mut command = cardume(["peer", "--listen", "127.0.0.1:0", "--server", "127.0.0.1:9"]);
    command.args(["--folder".as_ref(), door.as_os_str()]);
    command.args(["--recursive", "--uc3m", "0:2025"]);
    let peer = Process::start(command);
    let at = legacy_port(&peer, "uc3m-2025");
    let ask = |name: &str| exchange(at, format!("GET_FILE\0{name}\0").as_bytes());
    let (top, door) = (share.to_str().expect("a path"), door.to_str().expect("a path"));
    wait_until("the share", || (ask("a.mp4") == b"\x006\0lesson").then_some(()));
    for name in ["/a.mp4", "//a.mp4", "/./a.mp4", "a.mp4"] {
        assert_eq!(ask(name), b"\x006\0lesson", "{name}");
    }
    for top in [top, door] {
        assert_eq!(ask(&format!("{top}/a.mp4")), b"\x006\0lesson", "{top}");
        assert_eq!(ask(&format!("/{top}//./a.mp4")), b"\x006\0lesson", "{top}");
        assert_eq!(ask(&format!("{top}/Sub/b.mp4")), b"\x006\0second", "{top}");
    }
    assert_eq!(ask("/Sub/b.mp4"), b"\x006\0second");
    let outside = place.at("outside.mp4");
    for name in [
        outside.to_str().expect("a path"),
        &format!("{top}/../outside.mp4"),
        &format!("{top}/../share/a.mp4"),
        &format!("{top}/link.mp4"),
        "/link.mp4",
        &format!("{top}/"),
        top,
        "/etc/passwd",
        "/proc/self/environ",
        "/../a.mp4",
        "/",
        "//",
        "/a.mp4/",
        "/b.mp4",
        "~/a.mp4",
        "C:\\a.mp4",
        "file:///a.mp4",
    ] {
        assert_eq!(ask(name), b"\x01", "{name}");
    }
    // One byte at a time.
    let mut conn = TcpStream::connect(at).expect("a link");
    conn.set_nodelay(true).expect("small segments");
    for byte in format!("GET_FILE\0{top}/a.mp4\0").bytes() {
        conn.write_all(&[byte]).expect("it is taken");
    }
    let mut received = Vec::new();
    conn.read_to_end(&mut received).expect("an answer");
    assert_eq!(received, b"\x006\0lesson");
}

#[test]
fn get_takes_absolute_names_and_saves_their_last_part() {
    // As the one conforming program of 2025: it refuses names that are not absolute.
    let provider = program("127.0.0.1:0", |stream| {
        let mut request = Vec::new();
        while request.iter().filter(|byte| **byte == 0).count() < 2 {
            let mut some = [0; 100];
            match stream.read(&mut some)? {
                0 => return Ok(()),
                count => request.extend_from_slice(&some[..count]),
            }
        }
        let answer: &[u8] = match &request[..] {
            b"GET_FILE\0/srv/films/a.mp4\0" | b"GET_FILE\0/a.mp4\0" => b"\x006\0lesson",
            _ => b"\x01",
        };
        stream.write_all(answer)
    });
    let from = format!("uc3m-2025@{provider}");
    for name in ["/srv/films/a.mp4", "//srv/./films/a.mp4", "a.mp4"] {
        let there = Dir::new();
        get_from(&[name], &from, &there).succeeded();
        assert_eq!(
            (there.names(), there.read("a.mp4")),
            (vec!["a.mp4".into()], b"lesson".to_vec())
        );
    }
    let there = Dir::new();
    get_from(&["/srv/films/none.mp4"], &from, &there).failed(3, "none.mp4: nobody has this file");
    get_from(&["none.mp4"], &from, &there).failed(3, "nobody has this file");
    get_from(&["/srv/../a.mp4"], &from, &there).failed(2, "");

    // Found by the path that its user has published.
    let (server, at) = uc3m_server("2025");
    let port = provider.port().to_string();
    for fields in [
        &["REGISTER", "ana"][..],
        &["CONNECT", "ana", &port],
        &["PUBLISH", "ana", "/srv/films/a.mp4", "a lesson"],
    ] {
        assert_eq!(operate(at, DATE, fields), "\0", "{fields:?}");
    }
    let server = server.at.to_string();
    let found = run(["search", "/srv/films/a.mp4", "--server", &server]);
    assert!(found.succeeded().out.iter().any(|line| line.contains(&port)), "{found:#?}");
    let there = Dir::new();
    run(["get", "/srv/films/a.mp4", "--server", &server, "--folder", there.text()]).succeeded();
    assert_eq!((there.names(), there.read("a.mp4")), (vec!["a.mp4".into()], b"lesson".to_vec()));
}

#[test]
fn profile_2020_int_sends_and_takes_a_length_of_four_bytes() {
    let bytes = noise(5, 300_000);
    let here = Dir::with("a.mp4", &bytes);
    here.write("empty.mp4", b"");
    here.sparse("giant.mp4", (1 << 31) + 5);
    let peer = lone_peer(&here, &["--uc3m", "0:2020-int"]);
    let at = legacy_port(&peer, "uc3m-2020-int");
    let length = u32::try_from(bytes.len()).expect("a small file").to_be_bytes();
    let whole = [&b"0\0"[..], &length, &bytes].concat();
    wait_until("the share", || (exchange(at, b"GET_FILE\0a.mp4\0") == whole).then_some(()));
    assert_eq!(exchange(at, b"GET_FILE\0empty.mp4\0"), b"0\0\0\0\0\0");
    assert_eq!(exchange(at, b"GET_FILE\0giant.mp4\0"), b"2", "an int32 has no such length");
    for profile in ["uc3m-2020-int", "uc3m-2020"] {
        let there = Dir::new();
        for name in ["a.mp4", "empty.mp4"] {
            get_from(&[name], format!("{profile}@{at}"), &there).succeeded();
            assert_same_files(&here.at(name), &there.at(name));
        }
    }
    // A cut file keeps no final name, and a wrong length is an error.
    for (answer, code) in
        [(&b"0\0\0\0\0\x09less"[..], 5), (b"0\0\xff\xff\xff\xff", 8), (b"0lesson", 8)]
    {
        let provider = program("127.0.0.1:0", move |stream| {
            let _ = stream.read(&mut [0; 100])?;
            stream.write_all(answer)
        });
        let there = Dir::new();
        get_from(&["a.mp4"], format!("uc3m-2020-int@{provider}"), &there).failed(code, "");
        assert!(!there.has("a.mp4"), "{:?}", there.names());
    }
}

/// A provider as the program of rede-p2p: it never closes, and answers no request for a file that is
/// missing or empty.
fn rede_provider(at: &str, list: &'static [u8]) -> SocketAddr {
    program(at, move |stream| {
        let mut request = [0; 512];
        let count = stream.read(&mut request)?;
        if request[..count].starts_with(b"ls") {
            stream.write_all(list)?;
        }
        hold(stream)
    })
}

#[test]
fn a_silent_rede_provider_has_an_empty_file_or_none() {
    let provider = rede_provider("127.0.0.1:0", b"empty.txt other.txt ");
    let from = format!("rede@{provider}");
    let since = Instant::now();
    let there = Dir::new();
    get_from(&["empty.txt"], &from, &there).succeeded();
    assert_eq!(there.read("empty.txt"), b"");
    get_from(&["none.txt"], &from, &there).failed(3, "none.txt: nobody has this file");
    let bare = rede_provider("127.0.0.1:0", b"");
    get_from(&["none.txt"], format!("rede@{bare}"), &there).failed(3, "nobody has this file");
    assert!(since.elapsed() < Duration::from_secs(45), "{:?}", since.elapsed());
    assert_eq!(there.names(), ["empty.txt"]);
}

#[test]
fn a_rede_provider_that_asks_its_user_is_late_and_not_empty() {
    let here = Dir::with("a.txt", b"lesson");
    let mut peer = lone_peer(&here, &["--rede", "0", "--accept", "ask"]);
    let at = legacy_port(&peer, "rede");
    let there = Dir::new();
    let get = start_get_from(&["a.txt"], format!("rede@{at}"), &there);
    peer.wait_for_stderr("asks for a.txt");
    // Meanwhile the requester looks at the list of files.
    let since = Instant::now();
    wait_until("the silence of an empty file", || {
        (since.elapsed() > Duration::from_secs(7)).then_some(())
    });
    peer.type_line("YES");
    finish(get).succeeded();
    assert_eq!(there.read("a.txt"), b"lesson");
}

#[test]
fn the_index_knows_the_files_of_rede_peers() {
    let server = server_with(&["--listen", "127.0.0.1:0", "--rede", "0"]);
    let note = server.wait_for_stderr("rede 127.0.0.1:");
    let wire = address_in(&note).expect("an address");
    let ip = own_ip();
    let socket =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    socket.bind(&SocketAddr::from((ip, 0)).into()).expect("an address");
    socket.connect(&wire.into()).expect("a link");
    let mut member = TcpStream::from(socket);
    let mut greeting = [0; 16];
    let count = member.read(&mut greeting).expect("a port");
    let port = String::from_utf8_lossy(&greeting[..count]).into_owned();
    let provider = rede_provider(&format!("{ip}:{port}"), b"a.txt ab.txt ../x ");
    let at = server.at.to_string();
    let found = wait_until("the name in the index", || {
        let found = run(["search", "ab.txt", "--server", &at]);
        (found.code == 0).then_some(found)
    });
    assert!(found.out.iter().any(|line| line.contains(&provider.to_string())), "{found:#?}");
    // The console lists the one peer of an address.
    let there = Dir::new();
    let mut command = cardume(["peer", "--console", "rede", "--server", &at]);
    command.current_dir(there.path());
    let mut guest = Process::start(command);
    guest.type_line(&format!("ls {ip}"));
    guest.wait_for_stdout("| ab.txt ");
    guest.type_line("ls 127.0.0.1");
    guest.wait_for_stderr("no peer is at 127.0.0.1");
    drop(member);
    wait_until("the names are gone", || {
        (run(["search", "ab.txt", "--server", &at]).code == 3).then_some(())
    });
}

#[test]
fn a_server_of_another_kind_is_named_and_not_called_absent() {
    for (greeting, word) in [
        (&b"5455"[..], "rede-p2p"),
        (b"2", "UC3M"),
        (b"\x03", "UC3M"),
        (b"true", "music players"),
        (b"{\"status\": \"fileNotFound\"}", "ufabc-json"),
        (b"JOIN_FAIL", "Napster"),
        (b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n", "web server"),
        (b"\x15\x03\x01\0\x02\x02\x28", "TLS"),
        (b"N\0\x09127.0.0.1\0\0\0\0\0", "Java RMI"),
        (b"\x80\x04\x95\x10\0", "pickle"),
        (b"-ERR unknown \x1b[2J\r\n", "-ERR unknown"),
        (b"", "closes each connection"),
    ] {
        let at = program("127.0.0.1:0", move |stream| {
            let _ = stream.read(&mut [0; 512])?;
            stream.write_all(greeting)
        });
        let at = at.to_string();
        for command in
            [&["search", "a.mp4"][..], &["peers"], &["watch", "a.mp4"], &["get", "a.mp4"]]
        {
            let done = run(command.iter().chain(&["--server", &at]));
            done.failed(8, word);
            assert!(done.err.len() == 1 && !done.err[0].contains('\u{1b}'), "{done:#?}");
        }
    }
    // The server of another system that waits for the end of a request.
    let at = program("127.0.0.1:0", hold).to_string();
    run(["peers", "--server", &at]).failed(8, "stays silent");
    let (_held, nobody) = unreachable();
    run(["peers", "--server", &nobody.to_string()]).failed(5, "no server answers");
    // Our own servers of old wires are no servers for a command.
    let (_server, wire) = uc3m_server("2024");
    run(["peers", "--server", &wire.to_string()]).failed(8, "");
    let peer = peer(server().at, &Dir::new());
    run(["peers", "--server", &peer.at.to_string()]).failed(8, "that is a peer, not a server");
}

#[test]
fn legacy_ports_may_be_zero_and_date_services_several() {
    let server =
        server_with(&["--listen", "127.0.0.1:0", "--soap", "0", "--soap", "0", "--rede", "0"]);
    server.wait_for_stderr("rede 127.0.0.1:");
    let notes = server.err.lines();
    let ports: Vec<SocketAddr> = notes
        .iter()
        .filter(|note| note.contains("listening on"))
        .filter_map(|note| address_in(note))
        .collect();
    assert_eq!(ports.len(), 3, "{notes:?}");
    for at in ports {
        let request = b"GET /datetime HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
        let answer = String::from_utf8(exchange(at, request)).expect("a text");
        let (_, date) = answer.split_once("\r\n\r\n").expect("a body");
        let shape: String =
            date.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
        assert_eq!(shape, "00/00/0000 00:00:00", "{answer}");
    }
    let here = Dir::with("a.mp4", b"lesson");
    let peer = peer_with(server.at, &here, &["--rede", "0", "--uc3m", "0:2020", "--uc3m", "0"]);
    let ports = ["uc3m-2020", "uc3m-seed003", "rede"].map(|wire| legacy_port(&peer, wire).port());
    assert!(ports.iter().all(|port| *port != 0) && ports[0] != ports[1], "{ports:?}");
}
