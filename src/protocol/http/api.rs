//! The JSON API behind the pages: paths below `/api/` become requests, responses become objects.
//! docs/PROTOCOL-HTTP.md section 5 lists them.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde::Serialize;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::control::{ControlRequest, Selection, TransferLine};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::http::admin;
use crate::protocol::http::drop;
use crate::protocol::http::host;
use crate::protocol::http::mime;
use crate::protocol::http::percent_encoded;
use crate::protocol::http::query_string::QueryString;
use crate::protocol::http::search_params;
use crate::protocol::live_stats::{LiveStats, Second, Transfer, TransferStage};
use crate::protocol::request::{FileEntry, Request, Selector};
use crate::protocol::response::{Away, PeerEntry, Provider, Response};
use crate::protocol::types::drop_offer::DropRequest;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::media_facts::{MediaCodec, MediaFacts};
use crate::protocol::types::relative_path::{ROOT_PREFIX, RelativeName};
use crate::protocol::web_session::SessionRequest;

/// The path of posters.
pub const POSTERS: &str = "/poster/";

/// The addresses of peers that the client can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerLinks {
    /// Those of peers on this machine as well.
    Local,
    /// Those of other machines.
    Remote,
    /// None.
    Nowhere,
}

/// Decode a path below `/api/`; `None` for an empty search, which finds nothing.
///
/// # Errors
/// `not_found` for an unknown path, `bad_request` for an invalid parameter.
pub fn request(
    role: Role,
    path: &str,
    query: &str,
    local: bool,
) -> Result<Option<Request>, ErrorReply> {
    let known = match role {
        Role::Server => ["search", "name", "root", "peers", "files", "live", "session"].as_slice(),
        Role::Peer => &["files", "file", "drop", "transfers", "live"],
    };
    if let Some(name) = path.strip_prefix(admin::PATH).filter(|_| role == Role::Server)
        && let Some(request) = admin::list(name, &QueryString::of(query)?)
    {
        return request.map(Some);
    }
    if !known.contains(&path) {
        return Err(ErrorReply::new(ErrorCode::NotFound, "nothing here"));
    }
    let query = QueryString::of(query)?;
    if path == "search" {
        return Ok(search_params::search(&query)?.map(|query| Request::Find(Box::new(query))));
    }
    let cursor = query.cursor()?;
    Ok(Some(match path {
        "name" => Request::Search {
            wanted: Selector::Name(RelativeName::new(query.needed("name")?)?),
            cursor,
            speaks: None,
        },
        "root" => Request::Search { wanted: Selector::Root(root(&query)?), cursor, speaks: None },
        "file" => Request::About(root(&query)?),
        "drop" => Request::Drop(Box::new(DropRequest::Show)),
        "peers" => Request::Peers { cursor, speaks: None },
        "files" if role == Role::Peer => Request::Ls { peer: None, cursor },
        "files" => {
            let peer: SocketAddr = query
                .needed("peer")?
                .parse()
                .map_err(|_| ErrorReply::bad_request("peer is not IP:PORT"))?;
            Request::Ls { peer: Some(peer), cursor }
        }
        "transfers" => Request::Transfers { local, change: None },
        "session" => Request::Session(SessionRequest::Show),
        _ => Request::Live,
    }))
}

/// The content hash in a query.
fn root(query: &QueryString) -> Result<ContentHash, ErrorReply> {
    let text = query.needed("root")?;
    let digits = text.strip_prefix(ROOT_PREFIX).unwrap_or(text).to_ascii_lowercase();
    ContentHash::parse(&digits).ok_or_else(|| ErrorReply::bad_request("root is not 64 hex digits"))
}

/// True when the request may come from a person at this machine: no proxy header, no foreign
/// origin, and no host name that a foreign name server controls.
#[must_use]
pub fn is_local(request: &httparse::Request<'_, '_>) -> bool {
    let Ok(Some(host)) = host::requested(request) else { return false };
    let own = format!("http://{}", host.text);
    let sounds_local = |header: &httparse::Header<'_>| {
        let Ok(value) = std::str::from_utf8(header.value) else { return false };
        match header.name.to_ascii_lowercase().as_str() {
            "sec-fetch-site" => matches!(value.trim(), "same-origin" | "none"),
            "origin" => value == own,
            name => !host::is_proxy_header(name),
        }
    };
    host.is_local() && request.headers.iter().all(sounds_local)
}

/// The HTTP path of a file on a peer.
pub fn path_of(name: &RelativeName) -> String {
    let mut path = "/files".to_owned();
    for part in name.parts() {
        let _ = write!(path, "/{}", percent_encoded(part));
    }
    path
}

#[derive(Serialize)]
struct ApiFile<'a> {
    name: &'a str,
    size: Option<u64>,
    root: Option<String>,
    partial: bool,
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    /// The URL of the file; `None` while the provider lacks pieces.
    play: Option<String>,
}

impl ApiFile<'_> {
    /// With a URL below `base`, if the peer serves HTTP.
    fn of<'a>(file: &'a FileEntry, base: Option<&str>) -> ApiFile<'a> {
        ApiFile {
            name: &file.name,
            size: file.size.map(small),
            root: file.root.map(|root| root.to_string()),
            partial: file.partial,
            kind: mime::content_type(&file.name.extension()),
            description: file.description.as_deref().map(AsRef::as_ref),
            play: base
                .filter(|_| !file.partial)
                .map(|base| format!("{base}{}", path_of(&file.name))),
        }
    }
}

/// Facts about a video or sound. Unknown ones are left out.
#[derive(Serialize)]
struct ApiMedia {
    #[serde(skip_serializing_if = "Option::is_none")]
    duration_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    width: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    height: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    video: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    audio: Option<&'static str>,
}

impl ApiMedia {
    fn of(facts: &MediaFacts) -> ApiMedia {
        ApiMedia {
            duration_ms: facts.duration_ms(),
            width: facts.resolution.map(|resolution| resolution.width),
            height: facts.resolution.map(|resolution| resolution.height),
            video: facts.video.map(MediaCodec::as_str),
            audio: facts.audio.map(MediaCodec::as_str),
        }
    }
}

#[derive(Serialize)]
struct ApiAbout<'a> {
    #[serde(flatten)]
    file: ApiFile<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    media: Option<ApiMedia>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subtitles: Vec<ApiFile<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    poster: Option<String>,
}

#[derive(Serialize)]
struct HolderOut<'a> {
    peer: SocketAddr,
    #[serde(flatten)]
    file: ApiFile<'a>,
    user: Option<&'a str>,
    speaks: Option<&'a str>,
}

impl HolderOut<'_> {
    fn of(holder: &Provider, links: PeerLinks) -> HolderOut<'_> {
        let base = page_of(holder.peer, holder.speaks, links);
        let (user, speaks) = (holder.user.as_deref(), holder.speaks.map(LegacyProfile::as_str));
        HolderOut {
            peer: holder.peer,
            file: ApiFile::of(&holder.file, base.as_deref()),
            user,
            speaks,
        }
    }
}

/// A publication of an offline user.
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
        AwayOut {
            name: &away.name,
            user,
            kind: mime::content_type(&away.name.extension()),
            description,
        }
    }
}

#[derive(Serialize)]
struct ApiPeerEntry<'a> {
    peer: SocketAddr,
    files: u64,
    user: Option<&'a str>,
    speaks: Option<&'a str>,
    /// The peer's web page.
    page: Option<String>,
}

impl ApiPeerEntry<'_> {
    fn of(present: &PeerEntry, links: PeerLinks) -> ApiPeerEntry<'_> {
        let page = page_of(present.peer, present.speaks, links).map(|base| base + "/");
        ApiPeerEntry {
            peer: present.peer,
            files: small(present.files),
            user: present.user.as_deref(),
            speaks: present.speaks.map(LegacyProfile::as_str),
            page,
        }
    }
}

/// The base URL of a peer; native peers only. A peer on a loopback address is reachable only for
/// clients on this machine: for others the address means their own machine.
fn page_of(peer: SocketAddr, speaks: Option<LegacyProfile>, links: PeerLinks) -> Option<String> {
    let is_followed = match links {
        PeerLinks::Local => true,
        PeerLinks::Remote => !peer.ip().to_canonical().is_loopback(),
        PeerLinks::Nowhere => false,
    };
    (speaks.is_none() && is_followed).then(|| format!("http://{peer}"))
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
            TransferStage::Consent => "consent",
            TransferStage::Waiting => "waiting",
            TransferStage::Moving => "moving",
        };
        TransferOut {
            name: &transfer.name,
            stage,
            to: transfer.to,
            done: small(transfer.done),
            size: transfer.size.map(small),
        }
    }
}

/// Encode a response, for a client on this machine or elsewhere; `None` for a response without a
/// JSON form.
#[must_use]
pub fn reply(role: Role, reply: &Response, links: PeerLinks) -> Option<String> {
    #[derive(Serialize)]
    struct ApiFound<'a> {
        holders: Vec<HolderOut<'a>>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        away: Vec<AwayOut<'a>>,
        cursor: Option<&'a str>,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        incomplete: bool,
    }
    #[derive(Serialize)]
    struct ApiPeers<'a> {
        peers: Vec<ApiPeerEntry<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct ApiFiles<'a> {
        peer: SocketAddr,
        files: Vec<ApiFile<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct TransfersOut<'a> {
        uploads: u64,
        downloads: u64,
        transfers: Option<Vec<TransferOut<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        queue: Option<&'a [TransferLine]>,
    }
    match reply {
        Response::Found { holders, away, cursor, incomplete } => {
            let holders = holders.iter().map(|holder| HolderOut::of(holder, links)).collect();
            text(&ApiFound {
                holders,
                away: away.iter().map(AwayOut::of).collect(),
                cursor: cursor.as_deref(),
                incomplete: *incomplete,
            })
        }
        Response::Peers { peers, cursor } => text(&ApiPeers {
            peers: peers.iter().map(|peer| ApiPeerEntry::of(peer, links)).collect(),
            cursor: cursor.as_deref(),
        }),
        Response::Files { peer, files, cursor } => {
            // A peer lists its own files by path: it doesn't know the host name that the client
            // used.
            let base =
                if role == Role::Peer { Some(String::new()) } else { page_of(*peer, None, links) };
            let files = files.iter().map(|file| ApiFile::of(file, base.as_deref())).collect();
            text(&ApiFiles { peer: *peer, files, cursor: cursor.as_deref() })
        }
        Response::Drop(response) => drop::text(response),
        Response::About(about) => text(&ApiAbout {
            file: ApiFile::of(&about.file, Some("")),
            media: about.media.as_ref().map(ApiMedia::of),
            poster: about
                .file
                .root
                .filter(|_| about.has_poster)
                .map(|root| format!("{POSTERS}{root}")),
            subtitles: about.subtitles.iter().map(|file| ApiFile::of(file, Some(""))).collect(),
        }),
        Response::Transfers(all) => {
            let transfers =
                all.shown.as_ref().map(|shown| shown.iter().map(TransferOut::of).collect());
            text(&TransfersOut {
                uploads: small(all.uploads),
                downloads: small(all.downloads),
                transfers,
                queue: all.queue.as_deref(),
            })
        }
        _ => None,
    }
}

/// The change of the queue in a body.
pub(super) fn steering(body: &[u8], local: bool) -> Result<Request, ErrorReply> {
    let change = ControlRequest::decode(body)?;
    match &change {
        ControlRequest::Pause { of: Selection::Words(_) }
        | ControlRequest::Resume { of: Selection::Words(_) }
        | ControlRequest::Cancel { of: Selection::Words(_) }
        | ControlRequest::Top { of: Selection::Words(_) } => {
            Ok(Request::Transfers { local, change: Some(Box::new(change)) })
        }
        _ => Err(ErrorReply::bad_request("a page pauses, resumes, cancels or moves downloads")),
    }
}

/// Encode an error.
#[must_use]
pub fn refusal(refusal: &ErrorReply) -> String {
    #[derive(Serialize)]
    struct Out<'a> {
        error: &'a str,
        text: &'a str,
    }
    text(&Out { error: refusal.code.as_str(), text: &refusal.text }).unwrap_or_default()
}

/// Encode a live event.
pub fn event(role: Role, live: &LiveStats) -> String {
    #[derive(Serialize)]
    struct ApiServer {
        peers: u64,
        files: u64,
        names: u64,
        searches: u64,
        joined: u64,
        left: u64,
        #[serde(flatten)]
        moved: ApiTransfers,
        seconds: Vec<[u64; 6]>,
    }
    #[derive(Serialize)]
    struct ApiPeer {
        files: u64,
        #[serde(flatten)]
        moved: ApiTransfers,
        seconds: Vec<[u64; 3]>,
    }
    #[derive(Serialize)]
    struct ApiTransfers {
        uploads: u64,
        downloads: u64,
        sent: u64,
        received: u64,
    }
    let LiveStats { peers, files, names, all, downloads, seconds } = live;
    let moved = ApiTransfers {
        uploads: small(all.uploads),
        downloads: small(*downloads),
        sent: small(all.sent),
        received: small(all.received),
    };
    let json = match role {
        Role::Server => text(&ApiServer {
            peers: small(*peers),
            files: small(*files),
            names: small(*names),
            searches: small(all.searches),
            joined: small(all.joined),
            left: small(all.left),
            moved,
            seconds: seconds
                .iter()
                .map(|s| [s.searches, s.joined, s.left, s.uploads, s.sent, s.received].map(small))
                .collect(),
        }),
        Role::Peer => {
            let brief = |second: &Second| [second.uploads, second.sent, second.received].map(small);
            text(&ApiPeer {
                files: small(*files),
                moved,
                seconds: seconds.iter().map(brief).collect(),
            })
        }
    };
    format!("event: live\ndata: {}\n\n", json.unwrap_or_default())
}

/// Limit an integer to what JavaScript holds exactly.
fn small(number: u64) -> u64 {
    number.min(limits::LARGEST_INTEGER)
}

fn text<T: Serialize>(value: &T) -> Option<String> {
    serde_json::to_string(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(role: Role, path: &str, query: &str) -> Result<Option<Request>, ErrorCode> {
        request(role, path, query, false).map_err(|refusal| refusal.code)
    }

    #[test]
    fn each_path_is_a_request() {
        let server = |path, query: &str| asked(Role::Server, path, query);
        assert!(
            matches!(server("search", "q=aula+1&cursor=2"), Ok(Some(Request::Find(query))) if query.cursor.as_deref() == Some("2"))
        );
        assert_eq!((server("search", "q=+"), server("search", "")), (Ok(None), Ok(None)));
        for root in ["ab".repeat(32), "AB".repeat(32), format!("b3%3A{}", "ab".repeat(32))] {
            let query = format!("root={root}");
            assert!(
                matches!(
                    server("root", &query),
                    Ok(Some(Request::Search { wanted: Selector::Root(_), .. }))
                ),
                "{root}"
            );
        }
        assert!(matches!(server("name", "name=a%2Fb.mp4"), Ok(Some(Request::Search { .. }))));
        assert_eq!(
            server("peers", "unknown=1"),
            Ok(Some(Request::Peers { cursor: None, speaks: None }))
        );
        assert!(matches!(
            server("files", "peer=%5B%3A%3A1%5D%3A4000"),
            Ok(Some(Request::Ls { peer: Some(_), .. }))
        ));
        assert_eq!(server("live", ""), Ok(Some(Request::Live)));
        assert!(matches!(asked(Role::Peer, "files", ""), Ok(Some(Request::Ls { peer: None, .. }))));
        assert_eq!(
            asked(Role::Peer, "transfers", ""),
            Ok(Some(Request::Transfers { local: false, change: None }))
        );
    }

    #[test]
    fn invalid_parameters_are_refused() {
        let server = |path, query: &str| asked(Role::Server, path, query);
        assert_eq!(
            server("search", &format!("q={}", "x".repeat(limits::QUERY_TEXT_BYTES + 1))),
            Err(ErrorCode::TooLarge)
        );
        assert_eq!(server("name", ""), Err(ErrorCode::BadRequest));
        for name in ["..%2Fx", "%00", "a%E2%80%AEb", "", "%2Fa", "C%5Cx"] {
            assert_eq!(server("name", &format!("name={name}")), Err(ErrorCode::BadName), "{name}");
        }
        for peer in ["", "1.2.3.4", "x:1", "1.2.3.4:99999"] {
            assert_eq!(
                server("files", &format!("peer={peer}")),
                Err(ErrorCode::BadRequest),
                "{peer}"
            );
        }
        for root in ["", "b3:", "xy", &"ab".repeat(31), &"zz".repeat(32)] {
            let query = format!("root={root}");
            assert_eq!(server("root", &query).map(|_| ()), Err(ErrorCode::BadRequest), "{root}");
        }
        assert_eq!(server("files", ""), Err(ErrorCode::BadRequest));
        assert_eq!(server("peers", "cursor=%"), Err(ErrorCode::BadRequest));
        for path in ["", "x", "transfers", "search/", "Search"] {
            assert_eq!(server(path, ""), Err(ErrorCode::NotFound), "{path}");
        }
        assert_eq!(asked(Role::Peer, "search", "q=a"), Err(ErrorCode::NotFound));
    }

    #[test]
    fn only_requests_from_this_machine_are_local() {
        let local = |lines: &[(&'static str, &'static str)]| {
            let mut headers: Vec<_> = lines
                .iter()
                .map(|(name, value)| httparse::Header { name, value: value.as_bytes() })
                .collect();
            let mut request = httparse::Request::new(&mut headers);
            (request.path, request.version) = (Some("/metrics"), Some(1));
            is_local(&request)
        };
        for host in
            ["127.0.0.1:4000", "127.0.0.1", "[::1]:4000", "[::1]", "localhost", "LocalHost:4000"]
        {
            assert!(local(&[("Host", host)]), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:4000",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "127.0.0.1:x",
            "localhost:99999",
        ] {
            assert!(!local(&[("Host", host)]), "{host}");
        }
        let here = ("Host", "127.0.0.1:4000");
        assert!(local(&[
            here,
            ("Origin", "http://127.0.0.1:4000"),
            ("Sec-Fetch-Site", "same-origin")
        ]));
        for other in [
            ("Origin", "http://evil.example"),
            ("Origin", "null"),
            ("Sec-Fetch-Site", "cross-site"),
            ("X-Forwarded-For", "1.2.3.4"),
            ("Forwarded", "for=1.2.3.4"),
            ("Via", "1.1 x"),
            ("X-Forwarded-Proto", "https"),
            ("X-Real-IP", "1.2.3.4"),
            ("CF-Connecting-IP", "1.2.3.4"),
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
        let holder = Provider {
            peer: "[::1]:4000".parse().unwrap(),
            file: file.clone(),
            user: None,
            speaks: None,
            quic: None,
            key: None,
        };
        let old = Provider { speaks: Some(LegacyProfile::Rede), ..holder.clone() };
        let said = reply(
            Role::Server,
            &Response::Found {
                incomplete: false,
                holders: vec![holder, old],
                away: Vec::new(),
                cursor: Some("1".into()),
            },
            PeerLinks::Local,
        )
        .unwrap();
        let value: serde_json::Value = serde_json::from_str(&said).unwrap();
        assert_eq!(value["holders"][0]["size"], limits::LARGEST_INTEGER);
        assert_eq!(value["holders"][0]["name"].as_str(), Some(file.name.as_str()));
        let path = "/files/a%20%22%3Cimg%20src%3Dx%20onerror%3Dalert%281%29%3E%27/%C3%A7%23%3F.mp4";
        assert_eq!(value["holders"][0]["play"], format!("http://[::1]:4000{path}"));
        assert_eq!(
            (&value["holders"][1]["play"], &value["holders"][0]["type"]),
            (&serde_json::Value::Null, &"video/mp4".into())
        );
        let partial = Response::Files {
            peer: "1.2.3.4:5".parse().unwrap(),
            files: vec![FileEntry { partial: true, ..file.clone() }, file],
            cursor: None,
        };
        let own: serde_json::Value =
            serde_json::from_str(&reply(Role::Peer, &partial, PeerLinks::Remote).unwrap()).unwrap();
        assert_eq!(
            (&own["files"][0]["play"], own["files"][1]["play"].as_str()),
            (&serde_json::Value::Null, Some(path))
        );
    }

    #[test]
    fn remote_clients_get_no_loopback_urls() {
        let file = FileEntry::new(RelativeName::new("a.mp4").unwrap(), 1);
        for (peer, reachable) in [
            ("127.0.0.1:4000", false),
            ("127.9.9.9:1", false),
            ("[::1]:4000", false),
            ("[::ffff:127.0.0.1]:1", false),
            ("192.0.2.1:4000", true),
        ] {
            let peer: SocketAddr = peer.parse().unwrap();
            for links in [PeerLinks::Nowhere, PeerLinks::Remote, PeerLinks::Local] {
                let holder = Provider {
                    peer,
                    file: file.clone(),
                    user: None,
                    speaks: None,
                    quic: None,
                    key: None,
                };
                let present = PeerEntry { peer, files: 1, user: None, speaks: None };
                let all = [
                    reply(
                        Role::Server,
                        &Response::Found {
                            holders: vec![holder],
                            away: Vec::new(),
                            cursor: None,
                            incomplete: false,
                        },
                        links,
                    ),
                    reply(
                        Role::Server,
                        &Response::Peers { peers: vec![present], cursor: None },
                        links,
                    ),
                    reply(
                        Role::Server,
                        &Response::Files { peer, files: vec![file.clone()], cursor: None },
                        links,
                    ),
                ];
                for said in all.into_iter().flatten() {
                    let wanted = match links {
                        PeerLinks::Nowhere => false,
                        PeerLinks::Remote => reachable,
                        PeerLinks::Local => true,
                    };
                    assert_eq!(said.contains("http://"), wanted, "{said}");
                }
            }
        }
    }

    #[test]
    fn an_event_is_one_line_of_json() {
        let live = LiveStats {
            peers: 2,
            seconds: vec![Second { searches: 1, sent: u64::MAX, ..Second::default() }],
            ..LiveStats::default()
        };
        let said = event(Role::Server, &live);
        let json = said
            .strip_prefix("event: live\ndata: ")
            .and_then(|rest| rest.strip_suffix("\n\n"))
            .unwrap();
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        assert_eq!(
            (&value["peers"], &value["seconds"][0][4]),
            (&2.into(), &limits::LARGEST_INTEGER.into())
        );
        assert!(!event(Role::Peer, &live).contains("peers"));
    }
}
