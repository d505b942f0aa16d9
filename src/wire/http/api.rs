//! The JSON behind the pages: paths below `/api/` that become requests, and answers that become objects. PROTOCOL.md section 10 lists them.

use std::fmt::Write as _;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::message::limits;
use crate::message::live::{Live, Second, Stage, Transfer};
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::{Away, Holder, Present, Reply};
use crate::message::request::{FileEntry, Request, Wanted};
use crate::message::tongue::Tongue;
use crate::wire::http::percent_encoded;
use crate::wire::http::query::{Query, bad};
use crate::wire::http::search;
use crate::wire::{Role, media};

/// What a path below `/api/` asks for; `None` for a search of nothing, which finds nothing.
///
/// # Errors
/// `not_found` for a path that is none, `bad_request` for a wrong parameter.
pub fn request(role: Role, path: &str, query: &str, local: bool) -> Result<Option<Request>, Refusal> {
    let known = match role {
        Role::Server => ["search", "name", "peers", "files", "live"].as_slice(),
        Role::Peer => &["files", "transfers", "live"],
    };
    if !known.contains(&path) {
        return Err(Refusal::new(Code::NotFound, "nothing here"));
    }
    let query = Query::of(query)?;
    if path == "search" {
        return Ok(search::search(&query)?.map(|query| Request::Find(Box::new(query))));
    }
    let cursor = query.cursor()?;
    Ok(Some(match path {
        "name" => Request::Search { wanted: Wanted::Name(RelativeName::new(query.needed("name")?)?), cursor, speaks: None },
        "peers" => Request::Peers { cursor, speaks: None },
        "files" if role == Role::Peer => Request::Ls { peer: None, cursor },
        "files" => {
            let peer: SocketAddr = query.needed("peer")?.parse().map_err(|_| bad("peer is not IP:PORT"))?;
            Request::Ls { peer: Some(peer), cursor }
        }
        "transfers" => Request::Transfers { local },
        _ => Request::Live,
    }))
}

/// True when a person at this machine may be behind a request, as far as its words say: no proxy has passed it on, no page from elsewhere has made it, and no
/// name that a stranger's name server could have turned to this machine was used.
#[must_use]
pub fn is_local(headers: &[httparse::Header<'_>]) -> bool {
    let mut host = None;
    for header in headers {
        let Ok(value) = std::str::from_utf8(header.value) else { return false };
        match header.name.to_ascii_lowercase().as_str() {
            "host" if host.is_some() => return false,
            "host" => host = Some(value.trim()),
            "forwarded" | "via" | "x-forwarded-for" | "x-forwarded-host" | "x-real-ip" => return false,
            "sec-fetch-site" if !matches!(value.trim(), "same-origin" | "none") => return false,
            _ => {}
        }
    }
    let Some(host) = host else { return false };
    let own = format!("http://{host}");
    headers.iter().filter(|header| header.name.eq_ignore_ascii_case("origin")).all(|header| header.value == own.as_bytes())
        && names_this_machine(host)
}

/// True for an address in digits or `localhost`, with a port or without.
fn names_this_machine(host: &str) -> bool {
    let name = host.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(host, |(name, _)| name);
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    name.eq_ignore_ascii_case("localhost")
        || host.parse::<SocketAddr>().is_ok()
        || host.parse::<IpAddr>().is_ok()
        || bare.is_some_and(|bare| bare.parse::<IpAddr>().is_ok())
}

/// The path under which a peer gives a file.
pub fn path_of(name: &RelativeName) -> String {
    let mut path = "/files".to_owned();
    for part in name.parts() {
        let _ = write!(path, "/{}", percent_encoded(part));
    }
    path
}

#[derive(Serialize)]
struct FileOut<'a> {
    name: &'a str,
    size: Option<u64>,
    root: Option<String>,
    partial: bool,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// Where it is to be had; nowhere while it is not whole.
    play: Option<String>,
}

impl FileOut<'_> {
    /// Of a file that is below `base`, if it is given by HTTP at all.
    fn of<'a>(file: &'a FileEntry, base: Option<&str>) -> FileOut<'a> {
        FileOut {
            name: &file.name,
            size: file.size.map(small),
            root: file.root.map(|root| root.to_string()),
            partial: file.partial,
            kind: media::content_type(&file.name.extension()),
            description: file.description.as_deref().map(AsRef::as_ref),
            play: base.filter(|_| !file.partial).map(|base| format!("{base}{}", path_of(&file.name))),
        }
    }
}

#[derive(Serialize)]
struct HolderOut<'a> {
    peer: SocketAddr,
    #[serde(flatten)]
    file: FileOut<'a>,
    user: Option<&'a str>,
    speaks: Option<&'a str>,
}

impl HolderOut<'_> {
    fn of(holder: &Holder) -> HolderOut<'_> {
        let base = page_of(holder.peer, holder.speaks);
        let (user, speaks) = (holder.user.as_deref(), holder.speaks.map(Tongue::word));
        HolderOut { peer: holder.peer, file: FileOut::of(&holder.file, base.as_deref()), user, speaks }
    }
}

/// A file whose user is away.
#[derive(Serialize)]
struct AwayOut<'a> {
    name: &'a str,
    user: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
}

impl AwayOut<'_> {
    fn of(away: &Away) -> AwayOut<'_> {
        let (user, description) = (&*away.user, away.description.as_deref());
        AwayOut { name: &away.name, user, kind: media::content_type(&away.name.extension()), description }
    }
}

#[derive(Serialize)]
struct PresentOut<'a> {
    peer: SocketAddr,
    files: u64,
    user: Option<&'a str>,
    speaks: Option<&'a str>,
    /// Its own page.
    page: Option<String>,
}

impl PresentOut<'_> {
    fn of(present: &Present) -> PresentOut<'_> {
        let page = page_of(present.peer, present.speaks).map(|base| base + "/");
        PresentOut { peer: present.peer, files: small(present.files), user: present.user.as_deref(), speaks: present.speaks.map(Tongue::word), page }
    }
}

/// Where a peer speaks HTTP: beside the native protocol, and nowhere else.
fn page_of(peer: SocketAddr, speaks: Option<Tongue>) -> Option<String> {
    speaks.is_none().then(|| format!("http://{peer}"))
}

#[derive(Serialize)]
struct TransferOut<'a> {
    name: &'a str,
    stage: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<SocketAddr>,
    done: u64,
    size: Option<u64>,
}

impl TransferOut<'_> {
    fn of(transfer: &Transfer) -> TransferOut<'_> {
        let stage = match transfer.stage {
            Stage::Consent => "consent",
            Stage::Waiting => "waiting",
            Stage::Moving => "moving",
        };
        TransferOut { name: &transfer.name, stage, to: transfer.to, done: small(transfer.done), size: transfer.size.map(small) }
    }
}

/// Writes an answer; `None` for one that has no form here.
#[must_use]
pub fn reply(role: Role, reply: &Reply) -> Option<String> {
    #[derive(Serialize)]
    struct Found<'a> {
        holders: Vec<HolderOut<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        away: Vec<AwayOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Peers<'a> {
        peers: Vec<PresentOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Files<'a> {
        peer: SocketAddr,
        files: Vec<FileOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct TransfersOut<'a> {
        uploads: u64,
        downloads: u64,
        transfers: Option<Vec<TransferOut<'a>>>,
    }
    match reply {
        Reply::Found { holders, away, cursor } => {
            let (holders, away) = (holders.iter().map(HolderOut::of).collect(), away.iter().map(AwayOut::of).collect());
            text(&Found { holders, away, cursor: cursor.as_deref() })
        }
        Reply::Peers { peers, cursor } => text(&Peers { peers: peers.iter().map(PresentOut::of).collect(), cursor: cursor.as_deref() }),
        Reply::Files { peer, files, cursor } => {
            // A peer names its own files by their paths: it can't know under which name it was reached.
            let base = if role == Role::Peer { String::new() } else { format!("http://{peer}") };
            let files = files.iter().map(|file| FileOut::of(file, Some(&base))).collect();
            text(&Files { peer: *peer, files, cursor: cursor.as_deref() })
        }
        Reply::Transfers(all) => {
            let transfers = all.shown.as_ref().map(|shown| shown.iter().map(TransferOut::of).collect());
            text(&TransfersOut { uploads: small(all.uploads), downloads: small(all.downloads), transfers })
        }
        _ => None,
    }
}

/// Writes a no.
#[must_use]
pub fn refusal(refusal: &Refusal) -> String {
    #[derive(Serialize)]
    struct Out<'a> {
        error: &'a str,
        text: &'a str,
    }
    text(&Out { error: refusal.code.word(), text: &refusal.text }).unwrap_or_default()
}

/// Writes an event of those who watch.
pub fn event(role: Role, live: &Live) -> String {
    #[derive(Serialize)]
    struct Server {
        peers: u64,
        files: u64,
        names: u64,
        searches: u64,
        joined: u64,
        left: u64,
        #[serde(flatten)]
        moved: MovedOut,
        seconds: Vec<[u64; 6]>,
    }
    #[derive(Serialize)]
    struct Peer {
        files: u64,
        #[serde(flatten)]
        moved: MovedOut,
        seconds: Vec<[u64; 3]>,
    }
    #[derive(Serialize)]
    struct MovedOut {
        uploads: u64,
        downloads: u64,
        sent: u64,
        received: u64,
    }
    let Live { peers, files, names, all, downloads, seconds } = live;
    let moved = MovedOut { uploads: small(all.uploads), downloads: small(*downloads), sent: small(all.sent), received: small(all.received) };
    let json = match role {
        Role::Server => text(&Server {
            peers: small(*peers),
            files: small(*files),
            names: small(*names),
            searches: small(all.searches),
            joined: small(all.joined),
            left: small(all.left),
            moved,
            seconds: seconds.iter().map(|s| [s.searches, s.joined, s.left, s.uploads, s.sent, s.received].map(small)).collect(),
        }),
        Role::Peer => {
            let brief = |second: &Second| [second.uploads, second.sent, second.received].map(small);
            text(&Peer { files: small(*files), moved, seconds: seconds.iter().map(brief).collect() })
        }
    };
    format!("event: live\ndata: {}\n\n", json.unwrap_or_default())
}

/// A number that a script can hold exactly.
fn small(number: u64) -> u64 {
    number.min(limits::LARGEST_INTEGER)
}

fn text<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(role: Role, path: &str, query: &str) -> Result<Option<Request>, Code> {
        request(role, path, query, false).map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_path_asks_for_what_it_says() {
        let server = |path, query| asked(Role::Server, path, query);
        assert!(matches!(server("search", "q=aula+1&cursor=2"), Ok(Some(Request::Find(query))) if query.cursor.as_deref() == Some("2")));
        assert_eq!((server("search", "q=+"), server("search", "")), (Ok(None), Ok(None)));
        assert!(matches!(server("name", "name=a%2Fb.mp4"), Ok(Some(Request::Search { .. }))));
        assert_eq!(server("peers", "unknown=1"), Ok(Some(Request::Peers { cursor: None, speaks: None })));
        assert!(matches!(server("files", "peer=%5B%3A%3A1%5D%3A4000"), Ok(Some(Request::Ls { peer: Some(_), .. }))));
        assert_eq!(server("live", ""), Ok(Some(Request::Live)));
        assert!(matches!(asked(Role::Peer, "files", ""), Ok(Some(Request::Ls { peer: None, .. }))));
        assert_eq!(asked(Role::Peer, "transfers", ""), Ok(Some(Request::Transfers { local: false })));
    }

    #[test]
    fn what_is_wrong_is_refused() {
        let server = |path, query: &str| asked(Role::Server, path, query);
        assert_eq!(server("search", &format!("q={}", "x".repeat(limits::FIND_BYTES + 1))), Err(Code::TooLarge));
        assert_eq!(server("name", ""), Err(Code::BadRequest));
        for name in ["..%2Fx", "%00", "a%E2%80%AEb", "", "%2Fa", "C%5Cx"] {
            assert_eq!(server("name", &format!("name={name}")), Err(Code::BadName), "{name}");
        }
        for peer in ["", "1.2.3.4", "x:1", "1.2.3.4:99999"] {
            assert_eq!(server("files", &format!("peer={peer}")), Err(Code::BadRequest), "{peer}");
        }
        assert_eq!(server("files", ""), Err(Code::BadRequest));
        assert_eq!(server("peers", "cursor=%"), Err(Code::BadRequest));
        for path in ["", "x", "transfers", "search/", "Search"] {
            assert_eq!(server(path, ""), Err(Code::NotFound), "{path}");
        }
        assert_eq!(asked(Role::Peer, "search", "q=a"), Err(Code::NotFound));
    }

    #[test]
    fn only_somebody_at_this_machine_sounds_like_it() {
        let local = |lines: &[(&'static str, &'static str)]| {
            let headers: Vec<_> = lines.iter().map(|(name, value)| httparse::Header { name, value: value.as_bytes() }).collect();
            is_local(&headers)
        };
        for host in ["127.0.0.1:4000", "127.0.0.1", "[::1]:4000", "[::1]", "localhost", "LocalHost:4000"] {
            assert!(local(&[("Host", host)]), "{host}");
        }
        for host in ["", "evil.example", "evil.example:4000", "127.0.0.1.evil.example", "localhost.evil", "127.0.0.1:x", "localhost:99999"] {
            assert!(!local(&[("Host", host)]), "{host}");
        }
        let here = ("Host", "127.0.0.1:4000");
        assert!(local(&[here, ("Origin", "http://127.0.0.1:4000"), ("Sec-Fetch-Site", "same-origin")]));
        for other in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("Via", "1.1 x"),
            ("Host", "127.0.0.1:4000"),
        ] {
            assert!(!local(&[here, other]), "{other:?}");
        }
        assert!(!local(&[]));
    }

    #[test]
    fn names_are_escaped_and_numbers_stay_exact() {
        let name = RelativeName::new("a \"<img src=x onerror=alert(1)>'/ç#?.mp4").unwrap();
        let file = FileEntry::new(name, u64::MAX);
        let holder = Holder { peer: "[::1]:4000".parse().unwrap(), file: file.clone(), user: None, speaks: None, quic: None };
        let old = Holder { speaks: Some(Tongue::Rede), ..holder.clone() };
        let said = reply(Role::Server, &Reply::Found { holders: vec![holder, old], away: Vec::new(), cursor: Some("1".into()) }).unwrap();
        let value: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value["holders"][0]["size"], limits::LARGEST_INTEGER);
        assert_eq!(value["holders"][0]["name"].as_str(), Some(file.name.as_str()));
        let path = "/files/a%20%22%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%27/%C3%A7%23%3F.mp4";
        assert_eq!(value["holders"][0]["play"], format!("http://[::1]:4000{path}"));
        assert_eq!((&value["holders"][1]["play"], &value["holders"][0]["type"]), (&serde_json::Value::Null, &"video/mp4".into()));
        let partial =
            Reply::Files { peer: "1.2.3.4:5".parse().unwrap(), files: vec![FileEntry { partial: true, ..file.clone() }, file], cursor: None };
        let own: serde_json::Value = serde_json::from_str(&reply(Role::Peer, &partial).unwrap()).unwrap();
        assert_eq!((&own["files"][0]["play"], own["files"][1]["play"].as_str()), (&serde_json::Value::Null, Some(path)));
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let live = Live { peers: 2, seconds: vec![Second { searches: 1, sent: u64::MAX, ..Second::default() }], ..Live::default() };
        let said = event(Role::Server, &live);
        let json = said.strip_prefix("event: live\ndata: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!((&value["peers"], &value["seconds"][0][4]), (&2.into(), &limits::LARGEST_INTEGER.into()));
        assert!(!event(Role::Peer, &live).contains("peers"));
    }
}
