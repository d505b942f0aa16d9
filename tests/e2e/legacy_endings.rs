//! End of file in the legacy protocols: endings that count as complete, and endings reported as
//! incomplete.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::harness::{Dir, Done, cardume, finish, noise, start_get_from};

/// A provider of `a.mp4` in a legacy protocol. Counts its connections, reads the request, and
/// responds with `answer`.
struct LegacyProvider {
    at: SocketAddr,
    conns: Arc<AtomicUsize>,
}

impl LegacyProvider {
    fn new(
        answer: impl Fn(usize, &mut TcpStream) -> io::Result<()> + Send + Sync + 'static,
    ) -> LegacyProvider {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let provider = LegacyProvider {
            at: listener.local_addr().expect("an address"),
            conns: Arc::default(),
        };
        let (conns, answer) = (Arc::clone(&provider.conns), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let (nth, answer) = (conns.fetch_add(1, Ordering::Relaxed), Arc::clone(&answer));
                thread::spawn(move || {
                    let (mut received, mut some) = (Vec::new(), [0; 256]);
                    while !String::from_utf8_lossy(&received).contains("a.mp4") {
                        match stream.read(&mut some) {
                            Ok(count) if count > 0 => received.extend_from_slice(&some[..count]),
                            _ => return,
                        }
                    }
                    let _ = answer(nth, &mut stream);
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        provider
    }

    fn answering(answer: Vec<u8>) -> LegacyProvider {
        LegacyProvider::new(move |_, stream| stream.write_all(&answer))
    }

    fn get(&self, wire: &str, there: &Dir) -> Done {
        let process = start_get_from(&["a.mp4", "--json"], format!("{wire}@{}", self.at), there);
        while process.out.next().is_some() {}
        finish(process)
    }
}

/// The form of profile 2020 with a length prefix.
fn with_length(bytes: &[u8]) -> Vec<u8> {
    let length = i32::try_from(bytes.len()).expect("a small file");
    [&b"0\0"[..], &length.to_be_bytes(), bytes].concat()
}

#[track_caller]
fn is_saved(done: &Done, there: &Dir, bytes: &[u8]) {
    assert_eq!(done.succeeded().events("unverified")[0]["size"], bytes.len(), "{done:#?}");
    assert!(there.read("a.mp4") == bytes);
    assert_eq!(there.names(), ["a.mp4"]);
}

#[track_caller]
fn is_incomplete(done: &Done, there: &Dir) {
    assert_eq!(done.code, 8, "{done:#?}");
    assert_eq!(done.events("failed")[0]["code"], "unended", "{done:#?}");
    assert_eq!(there.names(), ["a.mp4.part", "a.mp4.part.record"], "{done:#?}");
}

/// A pause longer than the stall timeout is no end of file in any protocol.
#[test]
fn a_provider_that_pauses_during_a_file_delivers_the_whole_file() {
    let bytes = noise(31, 3_000_000);
    for wire in ["rede", "uc3m-2020"] {
        let header: &[u8] = if wire == "rede" { b"" } else { b"0" };
        let given = [header, &bytes].concat();
        let provider = LegacyProvider::new(move |_, stream| {
            stream.write_all(&given[..1_310_720])?;
            // Longer than the silence that once counted as the end.
            stream.set_read_timeout(Some(Duration::from_secs(6)))?;
            let _ = stream.read(&mut [0; 1]);
            stream.write_all(&given[1_310_720..])
        });
        let there = Dir::new();
        is_saved(&provider.get(wire, &there), &there, &bytes);
    }
}

#[test]
fn the_length_prefix_of_profile_2020_is_not_part_of_the_file() {
    for bytes in
        [Vec::new(), b"hello".to_vec(), noise(32, 65_500), noise(33, 65_501), noise(34, 3_000_000)]
    {
        let (provider, there) = (LegacyProvider::answering(with_length(&bytes)), Dir::new());
        is_saved(&provider.get("uc3m-2020", &there), &there, &bytes);
        let piped =
            cardume(["get", "a.mp4", "--from", &format!("uc3m-2020@{}", provider.at), "-o", "-"])
                .output()
                .expect("cardume runs");
        assert!(piped.status.success() && piped.stdout == bytes);
    }
}

#[test]
fn a_plain_file_of_profile_2020_that_begins_with_nul_stays_whole() {
    // The first box of a film reads like a length of 6 kB, of 65 kB, and of more than the program
    // holds back.
    for front in [
        &b"\0\0\0\x18ftypmp42"[..],
        &b"\0\0\0\xffftyp"[..],
        &b"\0\0\x01\xba\x44"[..],
        b"\0\xff\xff\xff\xff",
    ] {
        let bytes = [front, &noise(35, 400_000)].concat();
        let (provider, there) =
            (LegacyProvider::answering([&b"0"[..], &bytes].concat()), Dir::new());
        is_saved(&provider.get("uc3m-2020", &there), &there, &bytes);
    }
}

/// A truncated response with a length looks like a short plain one: neither gets the final name.
#[test]
fn a_truncated_response_of_profile_2020_is_reported_as_incomplete() {
    for (size, cut) in [(50_000, 20_000), (3_000_000, 1_000_000), (3_000_000, 2_999_999)] {
        let answer = with_length(&noise(36, size));
        let (provider, there) = (LegacyProvider::answering(answer[..6 + cut].to_vec()), Dir::new());
        is_incomplete(&provider.get("uc3m-2020", &there), &there);
    }
}

#[test]
fn a_truncated_response_of_profile_2020_is_saved_once_a_retry_is_whole() {
    let bytes = noise(37, 3_000_000);
    let answer = with_length(&bytes);
    let provider = LegacyProvider::new(move |nth, stream| {
        stream.write_all(if nth == 0 { &answer[..2_000_000] } else { &answer })
    });
    let there = Dir::new();
    is_saved(&provider.get("uc3m-2020", &there), &there, &bytes);
    assert_eq!(provider.conns.load(Ordering::Relaxed), 2);
}
