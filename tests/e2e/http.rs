//! HTTP for curl, browsers and players.

use crate::harness::{Dir, assert_same_files, lone_peer, noise, run_tool};
use crate::web::{self, Web};

#[test]
fn a_file_is_whole_and_has_the_security_headers() {
    let here = Dir::with("a.mp4", &noise(1, 3 << 20));
    here.write("page.html", b"<script>alert(1)</script>");
    here.write("drawing.svg", b"<svg/>");
    let source = lone_peer(&here, &[]);
    let video = web::get(source.at, "/files/a.mp4");
    assert_eq!((video.status, video.header("Content-Type")), (200, Some("video/mp4")));
    assert!(video.body == here.read("a.mp4"));
    assert_eq!(video.header("Accept-Ranges"), Some("bytes"));
    assert_eq!(video.header("Content-Disposition"), None);
    assert!(video.header("ETag").is_some_and(|tag| tag.len() == 18 && tag.starts_with('"')));
    for name in ["a.mp4", "page.html", "drawing.svg"] {
        let answer = web::get(source.at, &format!("/files/{name}"));
        assert_eq!(answer.header("X-Content-Type-Options"), Some("nosniff"), "{name}");
        assert_eq!(answer.header("Content-Security-Policy"), Some("sandbox"), "{name}");
        assert_eq!(answer.header("Content-Disposition").is_some(), name != "a.mp4", "{name}");
    }
}

#[test]
fn ranges_conditions_and_methods_follow_the_standard() {
    let here = Dir::with("a.mp4", b"hello world");
    let source = lone_peer(&here, &[]);
    let mut conn = Web::open(source.at);
    let tag = conn.get("/files/a.mp4", &[]).header("ETag").expect("a tag").to_owned();
    for (lines, status, body) in [
        (&["Range: bytes=0-4"][..], 206, &b"hello"[..]),
        (&["Range: bytes=6-"], 206, b"world"),
        (&["Range: bytes=-5"], 206, b"world"),
        (&["Range: bytes=-500"], 206, b"hello world"),
        (&["Range: bytes=6-5000"], 206, b"world"),
        (&["Range: bytes=10-10"], 206, b"d"),
        (&["Range: bytes=0-1,3-4"], 200, b"hello world"),
        (&["Range: pages=1-2"], 200, b"hello world"),
        (&["Range: bytes=5-4"], 200, b"hello world"),
        (&["Range: bytes=0-4", "If-Range: \"0000000000000000\""], 200, b"hello world"),
        (&["Range: bytes=99999999999999999999-"], 416, b""),
        (&["Range: bytes=11-"], 416, b""),
        (&["If-None-Match: \"0000000000000000\""], 200, b"hello world"),
    ] {
        let answer = conn.get("/files/a.mp4", lines);
        if answer.status == 416 {
            assert_eq!(answer.header("Content-Range"), Some("bytes */11"), "{lines:?}");
        } else {
            assert!(answer.body == body, "{lines:?}: {:?}", String::from_utf8_lossy(&answer.body));
        }
        assert!(
            answer.status == status || (status == 416 && answer.status == 200),
            "{lines:?}: {answer:?}"
        );
    }
    assert_eq!(
        conn.get("/files/a.mp4", &["Range: bytes=6-", &format!("If-Range: {tag}")]).body,
        b"world"
    );
    assert_eq!(conn.get("/files/a.mp4", &[&format!("If-None-Match: {tag}")]).status, 304);
    conn.send(&["HEAD /files/a.mp4 HTTP/1.1", "Host: localhost"]);
    let head = conn.receive(true);
    assert_eq!((head.status, head.header("Content-Length")), (200, Some("11")));
    assert_eq!(conn.get("/files/b.mp4", &[]).status, 404);
    assert_eq!(conn.get("/files/a.mp4/", &[]).status, 404);
    assert_eq!(conn.get("/else", &[]).status, 404);
    assert_eq!(conn.get("/files/%61%2Emp4", &[]).body, b"hello world");
    assert_eq!(conn.get("/", &[]).body, b"/files/a.mp4\n");
    conn.send(&["PUT /files/a.mp4 HTTP/1.1", "Host: localhost"]);
    let refused = conn.receive(false);
    assert!(refused.status == 405 && refused.header("Allow").is_some(), "{refused:?}");
    assert_eq!(here.names(), ["a.mp4"]);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let here = Dir::with("a.mp4", &noise(2, 2 << 20));
    here.write("b.mp4", b"b");
    let source = lone_peer(&here, &[]);
    let mut conn = Web::open(source.at);
    for name in ["a.mp4", "b.mp4", "c.mp4", "a.mp4"] {
        conn.send(&[&format!("GET /files/{name} HTTP/1.1"), "Host: localhost"]);
    }
    assert!(conn.receive(false).body == here.read("a.mp4"));
    assert_eq!(conn.receive(false).body, b"b");
    assert_eq!(conn.receive(false).status, 404);
    assert!(conn.receive(false).body == here.read("a.mp4"));
}

#[test]
fn curl_fetches_files_and_ranges_and_resumes() {
    let (here, there) = (Dir::with("a b ç.mp4", &noise(3, 5 << 20)), Dir::new());
    let source = lone_peer(&here, &[]);
    let url = format!("http://{}/files/a%20b%20%C3%A7.mp4", source.at);
    let to = there.at("x");
    let to = to.to_str().expect("a path");
    there.write("x", &here.read("a b ç.mp4")[..1_000_000]);
    let Some(output) = run_tool("curl", &["-sf", "-C", "-", "-o", to, &url]) else { return };
    assert!(output.status.success(), "{output:?}");
    assert_same_files(&here.at("a b ç.mp4"), &there.at("x"));
    let range = run_tool("curl", &["-sf", "-r", "1000-1999", &url]).expect("curl");
    assert!(range.stdout == here.read("a b ç.mp4")[1000..2000]);
    let missing =
        run_tool("curl", &["-sf", &format!("http://{}/files/none", source.at)]).expect("curl");
    assert_eq!(missing.status.code(), Some(22));
}

#[test]
fn a_server_shows_a_browser_its_page() {
    let server = crate::harness::server();
    let page = web::get(server.at, "/");
    assert_eq!(
        (page.status, page.header("Content-Type")),
        (200, Some("text/plain; charset=utf-8"))
    );
    assert_eq!(String::from_utf8(page.body).expect("text").lines().count(), 1);
    assert_eq!(web::get(server.at, "/files/a.mp4").status, 404);
}
