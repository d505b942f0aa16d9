//! Adversarial sources: no detectable fault leads to a wrong file under its final name, and the
//! exit code names the fault.

use std::io::Write as _;
use std::net::SocketAddr;

use crate::harness::{Dir, Done, get_from, noise, run};
use crate::native::{FetchRequest, fake, fake_peer};

const TAG: &str = "00000000000000a1";
const OTHER: &str = "00000000000000a2";

fn get(from: SocketAddr, there: &Dir) -> Done {
    get_from(&["a.mp4", "--json"], from, there)
}

/// The download must fail with one of `codes` and leave nothing under the final name.
#[track_caller]
fn fails(codes: &[i32], lie: impl Fn(&mut FetchRequest) + Send + 'static) -> Done {
    let there = Dir::new();
    let done = get(fake_peer(lie), &there);
    assert!(codes.contains(&done.code), "{done:#?}");
    assert!(!there.has("a.mp4"), "{done:#?}");
    assert_eq!(done.events("failed").len(), 1, "{done:#?}");
    assert_eq!(done.events("failed")[0]["exit"], done.code);
    done
}

#[test]
fn a_response_for_another_name_is_a_protocol_error() {
    fails(&[8], |asked| {
        asked.header("b.mp4", 5, TAG, 0, 5, false);
        asked.raw(b"hello");
    });
}

#[test]
fn a_body_longer_than_announced_is_a_protocol_error() {
    let there = Dir::new();
    let from = fake_peer(|asked| {
        asked.header("a.mp4", 10, TAG, 0, 5, true);
        asked.raw(b"hello, this is more than five bytes\n");
    });
    let done = get(from, &there);
    assert_eq!(done.code, 8, "{done:#?}");
    assert!(!there.has("a.mp4"));
}

#[test]
fn pieces_of_two_versions_are_never_combined() {
    fails(&[4, 6, 8], |asked| {
        asked.header("a.mp4", 10, TAG, 0, 5, true);
        asked.raw(b"hello");
        asked.header("a.mp4", 10, OTHER, 5, 5, false);
        asked.raw(b"world");
    });
}

#[test]
fn a_size_that_changes_between_pieces_makes_no_file() {
    fails(&[4, 6, 8], |asked| {
        asked.header("a.mp4", 10, TAG, 0, 5, true);
        asked.raw(b"hello");
        asked.header("a.mp4", 11, TAG, 5, 6, false);
        asked.raw(b" world");
    });
}

#[test]
fn pieces_out_of_order_are_a_protocol_error() {
    fails(&[8], |asked| {
        asked.header("a.mp4", 10, TAG, 0, 5, true);
        asked.raw(b"hello");
        asked.header("a.mp4", 10, TAG, 0, 5, false);
        asked.raw(b"hello");
    });
}

#[test]
fn impossible_numbers_are_a_protocol_error() {
    for (size, from, length) in [
        ("10", "0", "11"),
        ("10", "20", "5"),
        ("10", "0", "-1"),
        ("-1", "0", "1"),
        ("10.5", "0", "5"),
        ("18446744073709551615", "0", "1048576"),
        ("9223372036854775808", "0", "1048576"),
        ("10", "18446744073709551615", "1"),
        ("4294967296", "0", "4294967296"),
        ("2097152", "0", "1048577"),
        ("1e3", "0", "5"),
        ("\"10\"", "0", "5"),
        ("null", "0", "5"),
    ] {
        let header = format!(
            "\"status\":\"FETCH_OK\",\"name\":\"a.mp4\",\"size\":{size},\"tag\":\"{TAG}\",\"from\":{from},\"length\":{length},\"more\":false"
        );
        let there = Dir::new();
        let text = header.clone();
        let done = get(
            fake_peer(move |asked| {
                asked.raw(format!("{{\"id\":{},{text}}}\nhello", asked.fetch["id"]).as_bytes());
            }),
            &there,
        );
        assert!([7, 8].contains(&done.code), "{header}: {done:#?}");
        assert!(!there.has("a.mp4"), "{header}");
    }
}

#[test]
fn an_absurd_size_fails_at_once_and_leaves_no_file() {
    let there = Dir::new();
    let done = get(
        fake_peer(|asked| {
            asked.header("a.mp4", 1 << 45, TAG, 0, 5, true);
            asked.raw(b"hello");
        }),
        &there,
    );
    assert_eq!(done.code, 7, "{done:#?}");
    assert_eq!(there.names(), [""; 0]);
}

#[test]
fn a_source_that_returns_after_an_early_end_is_resumed() {
    let there = Dir::new();
    let content = noise(1, 3 << 20);
    let whole = content.clone();
    // The connection breaks in the middle of every second piece.
    let done = get(
        fake_peer(move |asked| {
            let from = usize::try_from(asked.from()).expect("a small number");
            let length = (content.len() - from).min(1 << 20);
            asked.header("a.mp4", content.len() as u64, TAG, from as u64, length as u64, false);
            asked.raw(
                &content
                    [from..from + if asked.nth % 2 == 0 { length } else { length.min(700_001) }],
            );
        }),
        &there,
    );
    done.succeeded();
    assert!(there.read("a.mp4") == whole);
    assert_eq!(there.names(), ["a.mp4"]);
}

#[test]
fn a_source_with_a_new_version_at_each_request_is_given_up() {
    let there = Dir::new();
    let done = get(
        fake_peer(|asked| {
            if asked.fetch.get("tag").is_some() {
                return asked.refuse("changed", false);
            }
            asked.header("a.mp4", 10, &format!("{:016x}", asked.nth), 0, 5, true);
            asked.raw(b"hello");
        }),
        &there,
    );
    assert_eq!(done.code, 6, "{done:#?}");
    assert!(!there.has("a.mp4"));
}

#[test]
fn each_error_code_has_its_exit_code_and_prints_no_escape() {
    for (code, exit) in [
        ("not_found", 3),
        ("refused", 4),
        ("address", 4),
        ("bad_request", 8),
        ("unsupported", 8),
        ("version", 8),
        ("too_large", 8),
    ] {
        let there = Dir::new();
        let from = fake_peer(move |asked| asked.refuse(code, false));
        let done = get_from(&["a.mp4"], from, &there);
        assert_eq!(done.code, exit, "{code}: {done:#?}");
        assert_eq!(done.err.len(), 1, "{code}: {done:#?}");
        assert!(!done.err[0].contains(['\u{1b}', '\u{202e}']), "{code}: {done:#?}");
        assert_eq!(there.names(), [""; 0]);
    }
}

#[test]
fn another_protocol_is_told_from_a_peer() {
    let greetings: [&[u8]; 8] = [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\n",
        b"220 mail.example ESMTP\r\n",
        b"{\"cardume\":2}\n",
        b"{\"cardume\":1,\"role\":\"server\",\"you\":\"127.0.0.1:1\",\"heartbeat_ms\":20000}\n",
        b"{\"cardume\":1,\"role\":\"peer\"\n",
        b"\n\n\n\0\0\0\n",
        b"{\"cardume\":1,\"error\":{\"code\":\"version\",\"retry\":false,\"text\":\"\x1b[2Jno\"}}\n",
    ];
    for greeting in greetings {
        let there = Dir::new();
        let from = fake(move |mut stream, _| {
            stream
                .write_all(greeting)
                .map(|()| drop(std::io::copy(&mut stream, &mut std::io::sink())))
        });
        let done = get_from(&["a.mp4"], from, &there);
        assert_eq!(done.code, 8, "{:?}: {done:#?}", String::from_utf8_lossy(greeting));
        assert_eq!(done.err.len(), 1, "{done:#?}");
        assert!(!done.err[0].contains('\u{1b}'), "{done:#?}");
        assert_eq!(there.names(), [""; 0]);
        // The same with a server in place of the peer.
        if !greeting.windows(6).any(|bytes| bytes == b"server") {
            run(["search", "a.mp4", "--server", &from.to_string()]).failed(8, "protocol");
        }
    }
}

#[test]
fn an_endless_header_is_too_large() {
    let there = Dir::new();
    let from = fake(|mut stream, _| {
        stream.write_all(b"{\"cardume\":1,\"role\":\"peer\",\"x\":\"")?;
        while stream.write_all(&[b'x'; 65_536]).is_ok() {}
        Ok(())
    });
    assert_eq!(get(from, &there).code, 8);
}

#[test]
fn a_source_that_closes_at_once_is_unreachable() {
    let there = Dir::new();
    let done = get(fake(|_, _| Ok(())), &there);
    assert!([5, 8].contains(&done.code), "{done:#?}");
    assert_eq!(there.names(), [""; 0]);
}
