//! A certificate of the operator, and browser sessions by it. The clients are curl, `openssl
//! s_client` and Python, with an authority made for each test.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::harness::{
    Dir, Done, Node, Process, cardume, finish, peer_with, run, run_tool, server_with, wait_until,
};

const HOST: &str = "video.example";

/// Runs a tool that these tests require.
#[track_caller]
fn tool(program: &str, args: &[&str]) -> std::process::Output {
    let done = run_tool(program, args).unwrap_or_else(|| panic!("{program} is required"));
    assert!(done.status.success(), "{program} {args:?}: {done:?}");
    done
}

/// A folder with an authority, and certificates of it.
struct Authority(Dir);

impl Authority {
    fn new() -> Authority {
        let dir = Dir::new();
        let path = |name: &str| dir.at(name).to_str().expect("text").to_owned();
        tool(
            "openssl",
            &[
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-keyout",
                &path("ca.key"),
                "-out",
                &path("ca.pem"),
                "-subj",
                "/CN=authority",
                "-days",
                "2",
            ],
        );
        Authority(dir)
    }

    fn path(&self, name: &str) -> String {
        self.0.at(name).to_str().expect("text").to_owned()
    }

    /// Writes `NAME.pem` and `NAME.key`; `kind` is an algorithm of openssl with its options.
    fn signs(&self, name: &str, alternatives: &str, kind: &[&str], more: &[&str]) {
        let [key, request, leaf, extensions] =
            ["key", "csr", "pem", "ext"].map(|end| self.path(&format!("{name}.{end}")));
        let make = ["req", "-nodes", "-keyout", &key, "-out", &request, "-subj", "/CN=site"];
        tool("openssl", &[&make[..], &["-newkey"], kind].concat());
        self.0.write(format!("{name}.ext"), format!("subjectAltName={alternatives}\n").as_bytes());
        let (authority, secret) = (self.path("ca.pem"), self.path("ca.key"));
        let sign = [
            "x509",
            "-req",
            "-in",
            &request,
            "-CA",
            &authority,
            "-CAkey",
            &secret,
            "-CAcreateserial",
            "-out",
            &leaf,
            "-extfile",
            &extensions,
        ];
        let days: &[&str] = if more.is_empty() { &["-days", "2"] } else { more };
        tool("openssl", &[&sign[..], days].concat());
        self.readable(name, 0o600);
    }

    fn readable(&self, name: &str, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path(&format!("{name}.key")), mode).expect("a mode");
    }
}

const ECDSA: [&str; 3] = ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"];
const NAMES: &str = "DNS:video.example,DNS:*.video.example";

/// A closed server with a certificate.
struct Site {
    authority: Authority,
    data: Dir,
    server: Node,
    at: SocketAddr,
}

/// What curl has received.
#[derive(Debug)]
struct Received {
    status: u16,
    head: String,
    body: String,
}

impl Received {
    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("{self:?}"))
    }
}

impl Site {
    fn new() -> Site {
        let authority = Authority::new();
        authority.signs("site", NAMES, &ECDSA, &[]);
        let data = Dir::new();
        let (cert, key) = (authority.path("site.pem"), authority.path("site.key"));
        let mut command = cardume([
            "server",
            "--listen",
            "127.0.0.1:0",
            "--data",
            data.text(),
            "--tls-cert",
            &cert,
            "--tls-key",
            &key,
        ]);
        // Each line of the log is examined by a test.
        command.env("RUST_LOG", "debug");
        let server = Node::listening(Process::start(command));
        let at = server.at;
        Site { authority, data, server, at }
    }

    fn origin(&self) -> String {
        format!("https://{HOST}:{}", self.at.port())
    }

    #[track_caller]
    fn administers(&self, args: &[&str]) -> Done {
        let server = self.at.to_string();
        let done = run(args.iter().copied().chain(["--server", &server]));
        done.succeeded();
        done
    }

    /// The token of an invite of these terms.
    #[track_caller]
    fn invites(&self, terms: &[&str]) -> String {
        let done = self.administers(&[&["invite", "--web"], terms].concat());
        let start = format!("{}/#i=", self.origin());
        let url = done.out.iter().find_map(|line| line.strip_prefix(&start));
        let token = url.unwrap_or_else(|| panic!("{done:?}")).to_owned();
        assert_eq!(token.len(), 27);
        assert!(done.out.iter().any(|line| line.ends_with(&token) && line.contains("cardume://")));
        token
    }

    /// curl with the cookies of a browser.
    fn curl(&self, jar: &str) -> Command {
        let mut command = Command::new("curl");
        let resolve = |host: &str| format!("{host}:{}:127.0.0.1", self.at.port());
        command.args(["-sS", "-m", "20", "-i", "--cacert", &self.authority.path("ca.pem")]);
        command.args(["--resolve", &resolve(HOST), "--resolve", &resolve("a.video.example")]);
        command.args(["-b", &self.authority.path(jar), "-c", &self.authority.path(jar)]);
        command.stdin(Stdio::null());
        command
    }

    #[track_caller]
    fn asks(&self, jar: &str, path: &str, args: &[&str]) -> Received {
        let mut command = self.curl(jar);
        command.args(args).arg(format!("{}{path}", self.origin()));
        let done = command.output().expect("curl is required");
        let said = String::from_utf8(done.stdout.clone()).expect("text");
        let (head, body) = said.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{done:?}"));
        let status = head.split(' ').nth(1).and_then(|text| text.parse().ok());
        Received { status: status.expect("a status"), head: head.into(), body: body.into() }
    }

    /// A request that changes something, as the page sends it.
    #[track_caller]
    fn sends(&self, jar: &str, method: &str, path: &str, body: &str) -> Received {
        let origin = format!("Origin: {}", self.origin());
        let mut args = vec!["-X", method, "-H", &origin];
        if !body.is_empty() {
            args.extend(["-H", "Content-Type: application/json", "-d", body]);
        }
        self.asks(jar, path, &args)
    }

    #[track_caller]
    fn joins(&self, jar: &str, token: &str) -> Received {
        self.sends(jar, "POST", "/api/session", &json!({ "token": token }).to_string())
    }

    #[track_caller]
    fn search_status(&self, jar: &str) -> u16 {
        self.asks(jar, "/api/search?q=a", &[]).status
    }

    /// The secret in the jar.
    fn cookie(&self, jar: &str) -> String {
        let text = std::fs::read_to_string(self.authority.path(jar)).expect("a jar");
        text.split_whitespace().last().expect("a cookie").to_owned()
    }
}

#[test]
fn a_browser_joins_by_an_invite_and_leaves_by_logout() {
    let site = Site::new();
    let stranger = site.asks("jar", "/api/session", &[]);
    assert_eq!(
        stranger.json(),
        json!({"closed": true, "name": null, "role": null, "groups": [], "left": null})
    );
    assert_eq!(site.search_status("jar"), 403);
    let page = site.asks("jar", "/", &["-H", "Accept: text/html"]);
    assert_eq!(page.status, 200);
    for field in [
        "Strict-Transport-Security: max-age=31536000",
        "Referrer-Policy: no-referrer",
        "frame-ancestors 'none'",
        "script-src 'self'",
    ] {
        assert!(page.head.contains(field), "{field}: {}", page.head);
    }
    let token = site.invites(&["--role", "read", "--group", "turma-a"]);
    let joined = site.joins("jar", &token);
    let viewer = joined.json();
    assert_eq!((joined.status, viewer["role"].as_str()), (200, Some("read")), "{joined:?}");
    assert_eq!(viewer["groups"], json!(["turma-a"]));
    assert_eq!(viewer["left"], json!(12 * 3_600));
    let cookie = joined.head.lines().find(|line| line.starts_with("Set-Cookie: "));
    let cookie = cookie.expect("a cookie").trim_end();
    assert!(cookie.starts_with("Set-Cookie: __Host-c="), "{cookie}");
    let end = "; Secure; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200";
    assert!(cookie.ends_with(end) && !cookie.contains("Domain"), "{cookie}");
    assert_eq!(site.search_status("jar"), 200);
    assert_eq!(site.search_status("other"), 403);
    // The same link again in this browser uses up nothing, and has no new cookie.
    let again = site.joins("jar", &token);
    assert_eq!((again.status, &again.json()["name"]), (200, &viewer["name"]));
    assert!(!again.head.contains("Set-Cookie"));
    let members = site.administers(&["members"]);
    let name = viewer["name"].as_str().expect("a name");
    assert!(members.out.iter().any(|row| row.starts_with(&format!("{name}\tread\tturma-a\t"))));
    let secret = site.cookie("jar");
    assert_eq!(secret.len(), 43);
    let left = site.sends("jar", "DELETE", "/api/session", "");
    assert!(left.status == 200 && left.head.contains("Max-Age=0"), "{left:?}");
    let with_old = format!("Cookie: __Host-c={secret}");
    assert_eq!(site.asks("other", "/api/search?q=a", &["-H", &with_old]).status, 403);
    assert!(!site.administers(&["members"]).out.iter().any(|row| row.starts_with(name)));
    let audit = site.administers(&["audit"]).out.join("\n");
    assert!(audit.contains(&format!("\tSESSION\t{name} by ")), "{audit}");
    assert!(audit.contains("\tSESSION_END\t"), "{audit}");
    let log = site.server.err.lines().join("\n");
    for hidden in [&secret, &token] {
        assert!(!audit.contains(hidden.as_str()) && !log.contains(hidden.as_str()));
    }
}

#[test]
fn unknown_used_and_malformed_invites_have_one_answer_and_are_limited() {
    let site = Site::new();
    let token = site.invites(&[]);
    assert_eq!(site.joins("first", &token).status, 200);
    let used = site.joins("second", &token);
    let unknown = site.joins("second", &"A".repeat(27));
    assert_eq!((used.status, used.json()["error"].as_str()), (403, Some("bad_token")), "{used:?}");
    assert_eq!((unknown.status, &unknown.body), (used.status, &used.body));
    assert_eq!(site.joins("second", "x").json()["error"], "bad_token");
    assert!(!used.head.contains("Set-Cookie"));
    // A session of an invite for an administrator is one, and takes the place of the earlier one.
    let admin = site.invites(&["--role", "admin"]);
    let earlier = site.asks("first", "/api/session", &[]).json()["name"].clone();
    let cookie = format!("Cookie: __Host-c={}", site.cookie("first"));
    assert_eq!(site.joins("first", &admin).json()["role"], "admin");
    let members = site.administers(&["members"]).out.join("\n");
    assert!(!members.contains(earlier.as_str().expect("a name")), "{members}");
    assert_eq!(site.asks("none", "/api/search?q=a", &["-H", &cookie]).status, 403);
}

#[test]
fn a_revocation_ends_a_session_and_its_live_events_within_a_second() {
    let site = Site::new();
    let token = site.invites(&["--uses", "2"]);
    let name = site.joins("eve", &token).json()["name"].as_str().expect("a name").to_owned();
    site.joins("ana", &token);
    let output = site.authority.path("events");
    let mut live = site.curl("eve");
    live.args(["-N", "-o", &output]).arg(format!("{}/api/live", site.origin()));
    let mut live = live.spawn().expect("curl");
    wait_until("events", || {
        std::fs::read_to_string(&output).is_ok_and(|text| text.contains("data:")).then_some(())
    });
    let began = Instant::now();
    site.administers(&["revoke", &name]);
    assert_eq!(site.search_status("eve"), 403);
    let end = live.wait().expect("an end");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?} {end}", began.elapsed());
    assert_eq!(site.search_status("ana"), 200);
    // The whole invite, with its other session.
    let audit = site.administers(&["audit"]).out.join("\n");
    let id = audit.split(" by ").nth(1).and_then(|rest| rest.split('\t').next()).expect("a number");
    site.administers(&["revoke", "--invite", id]);
    assert_eq!(site.search_status("ana"), 403);
}

#[test]
fn a_session_obeys_its_role_and_groups() {
    let site = Site::new();
    let here = Dir::with("aula a.mp4", b"hello");
    let _peer = peer_with(site.at, &here, &["--for-group", "turma-a"]);
    for (jar, terms, count) in
        [("a", &["--group", "turma-a"][..], 1), ("b", &["--group", "turma-b"], 0), ("c", &[], 0)]
    {
        site.joins(jar, &site.invites(terms));
        let server = site.at.to_string();
        wait_until("the file", || {
            (run(["search", "aula a.mp4", "--server", &server]).code == 0).then_some(())
        });
        let found = site.asks(jar, "/api/search?q=aula", &[]).json();
        let holders = found["holders"].as_array().expect("a list");
        assert_eq!(holders.len(), count, "{jar}: {found}");
        // A page by TLS can't follow an address without.
        assert!(holders.iter().all(|holder| holder["play"].is_null()), "{found}");
        let refused = site.asks(jar, "/api/admin/members", &[]);
        assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("forbidden")));
    }
    let metrics = site.asks("a", "/metrics", &[]);
    assert_eq!(metrics.status, 403);
}

#[test]
fn a_request_of_another_page_changes_nothing() {
    let site = Site::new();
    let token = site.invites(&[]);
    let body = json!({ "token": token }).to_string();
    let origin = format!("Origin: {}", site.origin());
    let plain_origin = format!("Origin: http://{HOST}:{}", site.at.port());
    let json_kind = "Content-Type: application/json";
    for (lines, wanted) in [
        (&[json_kind][..], 403),
        (&[json_kind, "Origin: https://evil.example"], 403),
        (&[json_kind, "Origin: null"], 403),
        (&[json_kind, &plain_origin], 403),
        (&[json_kind, "Sec-Fetch-Site: cross-site"], 403),
        (&[json_kind, "Sec-Fetch-Site: same-site"], 403),
        (&[json_kind, "Sec-Fetch-Site: none"], 403),
        (&[json_kind, &origin, "Sec-Fetch-Site: cross-site"], 403),
        (&[json_kind, "Origin: https://evil.example", "Sec-Fetch-Site: same-origin"], 403),
        (&[json_kind, &origin, "Host: evil.example"], 403),
        (&[json_kind, &origin, "Host: 127.0.0.1"], 403),
        (&["Content-Type: text/plain", &origin], 415),
        (&["Content-Type: application/x-www-form-urlencoded", &origin], 415),
        (&[json_kind, &origin, "Transfer-Encoding: chunked"], 411),
    ] {
        let mut args = vec!["-X", "POST", "-d", &body];
        args.extend(lines.iter().flat_map(|line| ["-H", line]));
        let refused = site.asks("jar", "/api/session", &args);
        assert_eq!(refused.status, wanted, "{lines:?}: {refused:?}");
        assert!(!refused.head.contains("Set-Cookie"), "{refused:?}");
    }
    let long = json!({ "token": "x".repeat(20_000) }).to_string();
    assert_eq!(site.sends("jar", "POST", "/api/session", &long).status, 413);
    for wrong in ["{}", "[]", "x", "{\"token\":1}"] {
        assert_eq!(site.sends("jar", "POST", "/api/session", wrong).status, 400, "{wrong}");
    }
    // A logout by another page.
    assert_eq!(site.joins("jar", &token).status, 200);
    assert_eq!(site.asks("jar", "/api/session", &["-X", "DELETE"]).status, 403);
    assert_eq!(site.search_status("jar"), 200);
    let from_page = ["-X", "DELETE", "-H", "Sec-Fetch-Site: same-origin"];
    assert_eq!(site.asks("jar", "/api/session", &from_page).status, 200);
    assert_eq!(site.search_status("jar"), 403);
}

#[test]
fn a_session_begins_by_the_certificate_of_the_operator_alone() {
    let site = Site::new();
    let token = site.invites(&[]);
    let body = json!({ "token": token }).to_string();
    for url in [format!("http://{}", site.at), format!("https://{}", site.at)] {
        let origin = format!("Origin: http://{}", site.at);
        let args = [
            "-sSk",
            "-m",
            "20",
            "-w",
            "%{http_code}",
            "-H",
            &origin,
            "-H",
            "Content-Type: application/json",
            "-d",
            &body,
            &format!("{url}/api/session"),
        ];
        let said = String::from_utf8(tool("curl", &args).stdout).expect("text");
        assert!(said.ends_with("403") && said.contains("\"forbidden\""), "{url}: {said}");
    }
    // The cookie is for that host alone as well.
    site.joins("jar", &token);
    let cookie = format!("Cookie: __Host-c={}", site.cookie("jar"));
    let url = format!("http://{}/api/session", site.at);
    let said = tool("curl", &["-sS", "-H", &cookie, "-H", "Via: 1.1 x", &url]);
    let viewer: Value = serde_json::from_slice(&said.stdout).expect("JSON");
    // As every request behind a proxy on this machine, without the role of the member.
    assert_eq!((&viewer["name"], &viewer["role"]), (&Value::Null, &json!("read")));
}

#[test]
fn python_verifies_the_chain_and_keeps_the_cookie() {
    let site = Site::new();
    let token = site.invites(&[]);
    let script = "
import http.client, http.cookies, json, socket, ssl, sys
port, ca, token = int(sys.argv[1]), sys.argv[2], sys.argv[3]
context = ssl.create_default_context(cafile=ca)
def connect(name):
    tls = context.wrap_socket(socket.create_connection(('127.0.0.1', port), 20), server_hostname=name)
    connection = http.client.HTTPSConnection(name, port)
    connection.sock = tls
    return connection
host = 'video.example'
site = connect(host)
assert site.sock.version() == 'TLSv1.3' and site.sock.getpeercert()['subjectAltName']
site.request('POST', '/api/session', json.dumps({'token': token}),
             {'Origin': f'https://{host}:{port}', 'Content-Type': 'application/json'})
answer = site.getresponse()
assert answer.status == 200, answer.read()
cookie = http.cookies.SimpleCookie(answer.headers['Set-Cookie'])['__Host-c']
assert cookie['secure'] and cookie['httponly'] and cookie['path'] == '/' and not cookie['domain']
assert cookie['samesite'] == 'Strict' and cookie['max-age'] == '43200'
assert json.load(answer)['role'] == 'share'
for name, wanted in ((host, 200), ('a.video.example', 200)):
    other = connect(name)
    other.request('GET', '/api/search?q=a', headers={'Cookie': f'x=1; __Host-c={cookie.value}; y=2'})
    answer = other.getresponse()
    assert answer.status == wanted, (name, answer.status)
    answer.read()
for name in ('b.a.video.example', 'other.example'):
    try:
        connect(name)
    except ssl.SSLCertVerificationError:
        continue
    raise SystemExit(name)
print('good')
";
    let (port, ca) = (site.at.port().to_string(), site.authority.path("ca.pem"));
    let done = tool("python3", &["-c", script, &port, &ca, &token]);
    assert_eq!(String::from_utf8_lossy(&done.stdout).trim(), "good");
}

/// What a server shows to a client that asks for a name.
fn subject(at: SocketAddr, name: Option<&str>) -> String {
    let at = at.to_string();
    let name = name.map_or(vec!["-noservername"], |name| vec!["-servername", name]);
    let args = [&["s_client", "-connect", &at, "-showcerts"][..], &name].concat();
    let done = run_tool("openssl", &args).expect("openssl");
    let said = String::from_utf8_lossy(&done.stdout).into_owned();
    let line = said.lines().find(|line| line.starts_with("subject="));
    line.unwrap_or_else(|| panic!("{said}")).replace(' ', "")
}

#[test]
fn names_of_the_certificate_get_it_and_all_others_the_pinned_key() {
    let site = Site::new();
    for name in ["video.example", "VIDEO.example", "a.video.example"] {
        assert_eq!(subject(site.at, Some(name)), "subject=CN=site", "{name}");
    }
    for name in [None, Some("other.example"), Some("b.a.video.example"), Some("example")] {
        assert_eq!(subject(site.at, name), "subject=CN=cardume", "{name:?}");
    }
    // Members go on by the key.
    let url = run(["server", "url", &site.at.to_string(), "--data", site.data.text()]);
    let url = url.succeeded().out[0].clone();
    assert_eq!(run(["search", "a", "--server", &url]).code, 3);
}

#[test]
fn each_kind_of_key_serves() {
    let authority = Authority::new();
    for (name, kind) in [("rsa", &["rsa:2048"][..]), ("ecdsa", &ECDSA), ("ed25519", &["ed25519"])] {
        authority.signs(name, "DNS:video.example", kind, &[]);
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        let server = server_with(&[
            "--listen",
            "127.0.0.1:0",
            "--tls-cert",
            &authority.path(&cert),
            "--tls-key",
            &authority.path(&key),
        ]);
        let resolve = format!("{HOST}:{}:127.0.0.1", server.at.port());
        let url = format!("https://{HOST}:{}/api/session", server.at.port());
        let ca = authority.path("ca.pem");
        let done = tool("curl", &["-sSf", "--cacert", &ca, "--resolve", &resolve, &url]);
        assert!(done.stdout.starts_with(b"{\"closed\":true"), "{name}: {done:?}");
    }
}

#[test]
fn wrong_files_are_one_clear_line_at_the_start() {
    let authority = Authority::new();
    authority.signs("site", NAMES, &ECDSA, &[]);
    authority.signs("other", NAMES, &ECDSA, &[]);
    authority.signs("open", NAMES, &ECDSA, &[]);
    authority.readable("open", 0o644);
    authority.signs("address", "IP:127.0.0.1", &ECDSA, &[]);
    authority.signs("old", NAMES, &ECDSA, &["-days", "-1"]);
    authority
        .0
        .write("garbage.pem", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    authority.0.write("text.pem", b"hello\n");
    authority.0.write("endless.pem", &vec![b'x'; 300_000]);
    let start = |cert: &str, key: &str| {
        let (cert, key) = (authority.path(cert), authority.path(key));
        run(["server", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key])
    };
    for (cert, key, text) in [
        ("none.pem", "site.key", "none.pem: "),
        ("site.pem", "none.key", "none.key: "),
        ("garbage.pem", "site.key", "the certificate has errors"),
        ("text.pem", "site.key", "this is no certificate in PEM"),
        ("endless.pem", "site.key", "this is no certificate in PEM"),
        ("site.key", "site.key", "this is no certificate in PEM"),
        ("site.pem", "site.pem", "every user may read the key"),
        ("site.pem", "other.key", "the key belongs to another certificate"),
        ("open.pem", "open.key", "every user may read the key"),
        ("address.pem", "address.key", "the certificate has no DNS name"),
        ("..", "site.key", "this is no certificate in PEM"),
    ] {
        let done = start(cert, key);
        done.failed(7, text);
        // Besides the note that accounts are kept in memory.
        assert_eq!(done.err.len(), 2, "{cert} {key}: {done:?}");
    }
    let cert = authority.path("site.pem");
    run(["server", "--listen", "127.0.0.1:0", "--tls-cert", &cert]).failed_with(2);
    let (cert, key) = (authority.path("old.pem"), authority.path("old.key"));
    let all = ["server", "--listen", "127.0.0.1:0", "--tls-cert", &cert, "--tls-key", &key];
    let server = Process::start(cardume(all));
    server.wait_for_stderr("the certificate has expired");
    server.wait_for_stderr("listening on ");
}

#[test]
fn renewed_files_are_read_and_broken_ones_leave_the_earlier_certificate() {
    let site = Site::new();
    let serves = |name: &str| {
        wait_until("the certificate", || {
            (subject(site.at, Some(name)) == "subject=CN=site").then_some(())
        });
    };
    serves("video.example");
    site.authority.signs("new", "DNS:new.example", &ECDSA, &[]);
    for end in ["pem", "key"] {
        let (new, old) = (format!("new.{end}"), format!("site.{end}"));
        std::fs::rename(site.authority.path(&new), site.authority.path(&old)).expect("a file");
    }
    serves("new.example");
    assert_eq!(subject(site.at, Some("video.example")), "subject=CN=cardume");
    site.authority.0.write("site.pem", b"broken\n");
    wait_until("a warning", || {
        serves("new.example");
        let lines = site.server.err.lines();
        lines.iter().any(|line| line.contains("the earlier certificate stays")).then_some(())
    });
    serves("new.example");
}

#[test]
fn an_administrator_administers_by_http_as_by_the_native_protocol() {
    let site = Site::new();
    site.joins("admin", &site.invites(&["--role", "admin"]));
    let sends = |path: &str, body: Value| {
        site.sends("admin", "POST", &format!("/api/admin/{path}"), &body.to_string())
    };
    let lists = |path: &str| site.asks("admin", &format!("/api/admin/{path}"), &[]).json();
    let made = sends("invite", json!({"role": "read", "groups": ["turma-a"], "uses": 3}));
    let made = made.json();
    assert_eq!((&made["status"], &made["web"]), (&json!("INVITE_OK"), &json!(site.origin())));
    let token = made["token"].as_str().expect("a token");
    let name = site.joins("eve", token).json()["name"].clone();
    let members = lists("members")["members"].as_array().expect("a list").clone();
    assert!(members.iter().any(|member| member["name"] == name && member["role"] == "read"));
    let invites = lists("invites")["invites"].as_array().expect("a list").clone();
    let entry = invites.iter().find(|entry| entry["uses"] == 2).expect("the invite");
    assert_eq!(entry["groups"], json!(["turma-a"]));
    assert!(!lists("invites").to_string().contains(token));
    assert_eq!(sends("set", json!({"name": name, "role": "share"})).json()["status"], "SET_OK");
    let revoked = sends("revoke", json!({"name": name})).json();
    assert_eq!((&revoked["status"], &revoked["count"]), (&json!("REVOKE_OK"), &json!(1)));
    assert_eq!(site.search_status("eve"), 403);
    let gone = sends("uninvite", json!({"invite": entry["invite"]})).json();
    assert_eq!(gone["status"], "UNINVITE_OK");
    // An applicant.
    let url = run(["server", "url", &site.at.to_string(), "--data", site.data.text()]);
    let url = url.succeeded().out[0].clone();
    let state = Dir::new();
    let mut join = cardume(["join", &url, "--name", "carla"]);
    join.env("XDG_STATE_HOME", state.path());
    let waiting = Process::start(join);
    waiting.wait_for_stderr("waiting for an administrator");
    assert_eq!(lists("applicants")["applicants"][0]["name"], "carla");
    let admitted = sends("admit", json!({"name": "carla", "role": "share"})).json();
    assert_eq!(admitted["status"], "ADMIT_OK");
    finish(waiting).succeeded();
    // The rows of the audit log are those of the native methods.
    let mut rows = Vec::new();
    let mut path = "audit".to_owned();
    loop {
        let page = lists(&path);
        rows.extend(page["rows"].as_array().expect("rows").clone());
        if page["more"] != true {
            break;
        }
        path = format!("audit?cursor={}", page["cursor"].as_str().expect("a cursor"));
    }
    let by = lists("members")["members"].as_array().expect("a list").iter().find_map(|member| {
        (member["role"] == "admin" && member["name"].as_str()?.starts_with("web-"))
            .then(|| member["name"].clone())
    });
    for what in ["INVITE", "SET", "REVOKE", "UNINVITE", "ADMIT"] {
        let row = rows.iter().rev().find(|row| row["what"] == what);
        let row = row.unwrap_or_else(|| panic!("{what} in {rows:?}"));
        assert_eq!((&row["ok"], Some(&row["who"])), (&json!(true), by.as_ref()), "{row}");
    }
    // Strangers and forgeries.
    let body = json!({"name": "carla"}).to_string();
    let by_stranger = site.sends("none", "POST", "/api/admin/revoke", &body);
    assert_eq!((by_stranger.status, &by_stranger.json()["error"]), (403, &json!("not_member")));
    let forged = site.asks(
        "admin",
        "/api/admin/revoke",
        &["-H", "Content-Type: application/json", "-H", "Sec-Fetch-Site: cross-site", "-d", &body],
    );
    assert_eq!(forged.status, 403);
    assert_eq!(site.asks("admin", "/api/admin/revoke", &[]).status, 404);
    for (path, body) in [
        ("revoke", json!({"name": "carla", "method": "AUDIT"})),
        ("revoke", json!({"name": "nobody"})),
        ("set", json!({"name": "carla", "role": "king"})),
        ("admit", json!({})),
    ] {
        let refused = sends(path, body.clone());
        assert!(matches!(refused.status, 400 | 404), "{path} {body}: {refused:?}");
        assert!(refused.json()["error"].is_string());
    }
    assert!(lists("members").to_string().contains("carla"));
}

#[test]
fn an_administrator_bans_kicks_limits_and_deletes_by_http() {
    let site = Site::new();
    let own = site.joins("admin", &site.invites(&["--role", "admin"])).json()["name"].clone();
    let sends = |path: &str, body: Value| {
        site.sends("admin", "POST", &format!("/api/admin/{path}"), &body.to_string())
    };
    let lists = |path: &str| site.asks("admin", &format!("/api/admin/{path}"), &[]).json();
    let name = site.joins("eve", &site.invites(&[])).json()["name"].clone();
    let live = || {
        let output = site.authority.path("events");
        let _ = std::fs::remove_file(&output);
        let mut live = site.curl("eve");
        live.args(["-N", "-o", &output]).arg(format!("{}/api/live", site.origin()));
        let live = live.spawn().expect("curl");
        wait_until("events", || {
            std::fs::read_to_string(&output).is_ok_and(|text| text.contains("data:")).then_some(())
        });
        live
    };
    // A kick ends the connections, and a ban the session as well.
    let mut watching = live();
    let kicked = sends("kick", json!({"name": name})).json();
    assert_eq!((&kicked["status"], &kicked["closed"]), (&json!("KICK_OK"), &json!(1)));
    watching.wait().expect("an end");
    assert_eq!(site.search_status("eve"), 200);
    let mut watching = live();
    let banned = sends("ban", json!({"name": name, "lasts": 3600, "reason": "scans"})).json();
    assert_eq!((&banned["status"], &banned["closed"]), (&json!("BAN_OK"), &json!(1)), "{banned}");
    watching.wait().expect("an end");
    assert_eq!(site.search_status("eve"), 403);
    let range = json!({"range": "192.0.2.0/24", "reason": ""});
    assert_eq!(sends("ban", range).json()["ban"]["left"], Value::Null);
    let bans = lists("bans");
    let [of_key, of_range] = &bans["bans"].as_array().expect("a list")[..] else {
        panic!("{bans}");
    };
    assert_eq!((&of_key["name"], &of_key["by"], &of_key["reason"]), (&name, &own, &json!("scans")));
    assert_eq!((&of_range["range"], &of_range["key"]), (&json!("192.0.2.0/24"), &Value::Null));
    let native = site.administers(&["bans"]).out.join("\n");
    assert!(native.contains("192.0.2.0/24") && native.contains("scans"), "{native}");
    for subject in [json!({"key": of_key["key"]}), json!({"range": "192.0.2.0/24"})] {
        assert_eq!(sends("unban", subject).json()["status"], "UNBAN_OK");
    }
    assert_eq!(lists("bans")["bans"], json!([]));
    // The session of the banned member is over, so the ban's end does not bring it back.
    assert_eq!(site.search_status("eve"), 403);
    for subject in [json!({"name": own}), json!({"range": "127.0.0.0/8"})] {
        let refused = sends("ban", subject);
        assert_eq!((refused.status, &refused.json()["error"]), (403, &json!("refused")));
    }
    assert_eq!(sends("kick", json!({"name": own})).status, 404);
    // Limits, and publications of others.
    let value = |answer: &Value| {
        let limits = answer["limits"].as_array().expect("a list");
        let limit = limits.iter().find(|limit| limit["limit"] == "user_publications");
        limit.expect("the limit")["value"].clone()
    };
    assert_eq!(value(&sends("limits", json!({"set": {"user_publications": 2}})).json()), 2);
    assert_eq!(value(&lists("limits")), 2);
    assert_eq!(sends("limits", json!({"set": {"user_publications": 0}})).status, 400);
    for file in ["a.mp4", "b.mp4"] {
        site.administers(&["publish", "--user", "ana", file]);
    }
    let of_ana = json!({"user": "ana", "name": "a.mp4"});
    assert_eq!(sends("unpublish", of_ana.clone()).json()["status"], "UNPUBLISH_OK");
    assert_eq!(sends("unpublish", of_ana).status, 404);
    assert_eq!(sends("remove_user", json!({"user": "ana"})).json()["status"], "REMOVE_USER_OK");
    assert_eq!(sends("remove_user", json!({"user": "ana"})).status, 404);
    let rows = site.administers(&["audit"]).out.join("\n");
    for what in ["KICK", "BAN", "UNBAN", "LIMITS", "UNPUBLISH", "REMOVE_USER"] {
        assert!(rows.contains(&format!("\t{what}\t")), "{what} in {rows}");
    }
    // A reader, and a stranger.
    site.joins("reader", &site.invites(&["--role", "read"]));
    for (jar, error) in [("reader", "forbidden"), ("none", "not_member")] {
        let body = json!({"name": own}).to_string();
        let refused = site.sends(jar, "POST", "/api/admin/ban", &body);
        assert_eq!((refused.status, &refused.json()["error"]), (403, &json!(error)));
        assert_eq!(site.asks(jar, "/api/admin/bans", &[]).status, 403);
    }
    assert_eq!(lists("bans")["bans"], json!([]));
}

#[test]
fn a_proxy_of_the_same_user_is_no_administrator() {
    let site = Site::new();
    let url = format!("http://{}/api/admin/members", site.at);
    let direct = tool("curl", &["-sS", &url]);
    assert!(direct.stdout.starts_with(b"{\"id\":null,\"status\":\"MEMBERS_OK\""), "{direct:?}");
    for line in ["X-Forwarded-For: 192.0.2.1", "Origin: http://evil.example"] {
        let said = tool("curl", &["-sS", "-H", line, &url]);
        assert!(String::from_utf8_lossy(&said.stdout).contains("not_member"), "{said:?}");
    }
}
