//! Encode the messages of both sides.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::live_stats::TransferReport;
use crate::protocol::member::Member;
use crate::protocol::native::member::NextKeyShape;
use crate::protocol::native::metrics::MetricShape;
use crate::protocol::native::quic_address::QuicOut;
use crate::protocol::native::{AnswerShape, FileOut, Hello, NoFields, VERSION, Welcome, put};
use crate::protocol::native::{fast_path, folder, link, member};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::{HashListPart, Have, Piece, Provider, Response, WaitingReason};
use crate::protocol::subscription::{SubscriptionEvent, SubscriptionFilter};
use crate::protocol::types::account::{AccountOp, Authority, Key, Online, Operation};
use crate::protocol::types::ids::{SessionId, to_hex};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::query::{Filters, Query, QueryTerm, Sort};
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::types::rotation::NextKey;

/// Write the handshake of the connecting side.
pub fn write_hello(hello: &Hello, nonce: &str, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Shape<'a> {
        cardume: u64,
        max_head: usize,
        nonce: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quic: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tls: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        member: Option<bool>,
    }
    let Hello { peer, quic, tls, member } = *hello;
    let [quic, tls, member] = [quic, tls, member].map(|wish| wish.then_some(true));
    let max_head = limits::HEADER_BYTES;
    put(out, &Shape { cardume: VERSION, max_head, nonce, peer, quic, tls, member });
}

/// Write the handshake of the accepting side.
pub fn write_welcome(welcome: &Welcome, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Shape<'a> {
        cardume: u64,
        role: &'a str,
        you: Option<SocketAddr>,
        heartbeat_ms: u64,
        max_head: usize,
        caps: [&'a str; 0],
        nonce: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        closed: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reach: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        next: Option<NextKeyShape>,
    }
    let role = match welcome.role {
        Role::Server => "server",
        Role::Peer => "peer",
    };
    let Welcome { you, heartbeat_ms, max_head, ref nonce, closed, reach, .. } = *welcome;
    let (closed, key) = (closed.map(|_| true), closed.map(|key| key.to_string()));
    let next = welcome.next.as_deref().map(NextKeyShape::of);
    let (cardume, caps) = (VERSION, []);
    let shape =
        Shape { cardume, role, you, heartbeat_ms, max_head, caps, nonce, closed, key, reach, next };
    put(out, &shape);
}

/// The transfer report of a PING.
#[derive(Serialize)]
struct MovedOut {
    uploads: u64,
    downloads: u64,
    sent: u64,
    received: u64,
}

impl MovedOut {
    fn of(moved: TransferReport) -> MovedOut {
        let TransferReport { uploads, downloads, sent, received } = moved;
        MovedOut { uploads, downloads, sent, received }
    }
}

/// Write the event that reports revoked keys.
pub fn write_revoked(keys: &[Key], until: u64, out: &mut Vec<u8>) {
    member::write_revoked(keys, until, out);
}

/// Write the event that announces the next key of the server.
pub fn write_next_key(next: &NextKey, out: &mut Vec<u8>) {
    member::write_next_key(next, out);
}

/// Write the event that reports the admission of the client's key.
pub fn write_admitted(member: &Member, out: &mut Vec<u8>) {
    member::write_admitted(member, out);
}

/// Write one request.
pub fn write_request(id: u64, request: &Request, out: &mut Vec<u8>) {
    #[derive(Serialize, Default)]
    struct AskShape<'a> {
        id: u64,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        root: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
        #[serde(rename = "peer", skip_serializing_if = "Option::is_none")]
        ip: Option<IpAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cursor: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
        #[serde(skip_serializing_if = "Option::is_none")]
        advertise: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        session: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        part: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        from: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        length: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tag: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        fetch: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        piece: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        prove: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        of: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        more: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        files: Option<Vec<FileOut<'a>>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        remove: Option<Vec<&'a str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ports: Option<BTreeMap<&'a str, u16>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        quic: Option<QuicOut>,
        #[serde(skip_serializing_if = "Option::is_none")]
        user: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        proof: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        description: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        moved: Option<MovedOut>,
        #[serde(skip_serializing_if = "Option::is_none")]
        contains: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        like: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        ext: Option<&'a [String]>,
        #[serde(skip_serializing_if = "Option::is_none")]
        min_size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        max_size: Option<u64>,
        #[serde(skip_serializing_if = "Option::is_none")]
        owner: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        hashed: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        complete: Option<bool>,
        #[serde(skip_serializing_if = "Option::is_none")]
        sort: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        limit: Option<usize>,
    }
    fn searching<'a>(query: &'a Query, blank: AskShape<'a>) -> AskShape<'a> {
        let Filters { ext, min_size, max_size, description, owner, hashed, complete } =
            &query.filters;
        let ask = AskShape {
            method: "SEARCH",
            ext: (!ext.is_empty()).then_some(ext),
            min_size: *min_size,
            max_size: *max_size,
            description: description.as_deref(),
            owner: owner.as_deref(),
            hashed: *hashed,
            complete: *complete,
            sort: query.sort.map(Sort::as_str),
            limit: Some(query.limit),
            cursor: query.cursor.as_deref(),
            ..blank
        };
        match &query.wanted {
            QueryTerm::Anything => ask,
            QueryTerm::Name(name) => AskShape { name: Some(name), ..ask },
            QueryTerm::Root(root) => AskShape { root: Some(root.to_string()), ..ask },
            QueryTerm::Contains(text) => AskShape { contains: Some(text), ..ask },
            QueryTerm::Like(text) => AskShape { like: Some(text), ..ask },
        }
    }
    fn named(wanted: &Selector) -> (Option<&str>, Option<String>) {
        match wanted {
            Selector::Name(name) => (Some(name), None),
            Selector::Root(root) => (None, Some(root.to_string())),
        }
    }
    fn fetching<'a>(method: &'a str, fetch: &'a Fetch, blank: AskShape<'a>) -> AskShape<'a> {
        let (name, root) = named(&fetch.wanted);
        let tag = fetch.tag.map(|tag| tag.to_string());
        AskShape { method, name, root, from: Some(fetch.from), length: fetch.length, tag, ..blank }
    }
    fn operating<'a>(operation: &'a Operation, blank: AskShape<'a>) -> AskShape<'a> {
        let (key, proof) = match operation.authority {
            Authority::Proof { key, proof } => (Some(key.to_string()), Some(proof.to_string())),
            Authority::Claimed | Authority::Connection => (None, None),
        };
        let ask = AskShape {
            method: operation.op.method().as_str(),
            user: operation.user.as_deref(),
            key,
            proof,
            ..blank
        };
        match &operation.op {
            AccountOp::Register
            | AccountOp::Unregister
            | AccountOp::Connect { .. }
            | AccountOp::Disconnect => ask,
            AccountOp::Publish(what) => {
                AskShape { name: Some(&what.file), description: Some(&what.description), ..ask }
            }
            AccountOp::Delete(file) => AskShape { name: Some(file), ..ask },
            AccountOp::ListUsers { cursor, .. } => AskShape { cursor: cursor.as_deref(), ..ask },
            AccountOp::ListContent { of, cursor, .. } => {
                AskShape { user: Some(of), cursor: cursor.as_deref(), ..ask }
            }
            AccountOp::FindUser { whom } => AskShape { user: Some(whom), ..ask },
        }
    }

    if let Request::Member(request) = request {
        return member::write_request(id, request, out);
    }
    if let Request::Link(request) = request {
        return link::write_request(id, request, out);
    }
    let blank = AskShape { id, ..AskShape::default() };
    let ask = match request {
        Request::Ping => AskShape { method: "PING", ..blank },
        Request::Subscribe(SubscriptionFilter::Name(name)) => {
            AskShape { method: "SUBSCRIBE", name: Some(name), ..blank }
        }
        Request::Subscribe(SubscriptionFilter::Root(root)) => {
            AskShape { method: "SUBSCRIBE", root: Some(root.to_string()), ..blank }
        }
        Request::Subscribe(SubscriptionFilter::Words(text)) => {
            AskShape { method: "SUBSCRIBE", contains: Some(text), ..blank }
        }
        Request::Unsubscribe { of } => AskShape { method: "UNSUBSCRIBE", of: Some(*of), ..blank },
        Request::Status { .. } => AskShape { method: "STATUS", ..blank },
        Request::Moved(moved) => {
            AskShape { method: "PING", moved: Some(MovedOut::of(*moved)), ..blank }
        }
        Request::Leave => AskShape { method: "LEAVE", ..blank },
        Request::Search { wanted, cursor, .. } => {
            let (name, root) = named(wanted);
            AskShape { method: "SEARCH", name, root, cursor: cursor.as_deref(), ..blank }
        }
        Request::Find(query) => searching(query, blank),
        Request::Peers { cursor, .. } => {
            AskShape { method: "PEERS", cursor: cursor.as_deref(), ..blank }
        }
        Request::PeersAt(ip) => AskShape { method: "PEERS", ip: Some(*ip), ..blank },
        Request::Ls { peer, cursor } => {
            AskShape { method: "LS", peer: *peer, cursor: cursor.as_deref(), ..blank }
        }
        Request::Wrong { root, piece } => {
            AskShape { method: "WRONG", root: Some(root.to_string()), piece: Some(*piece), ..blank }
        }
        Request::Cancel { fetch } => AskShape { method: "CANCEL", fetch: Some(*fetch), ..blank },
        Request::Join(join) => AskShape {
            method: "JOIN",
            port: join.port,
            advertise: join.advertise,
            session: join.session.map(SessionId::reveal),
            part: Some(join.part),
            more: Some(join.more),
            files: Some(join.files.iter().map(FileOut::brief).collect()),
            ports: (!join.ports.is_empty()).then(|| {
                join.ports.iter().map(|(profile, port)| (profile.as_str(), *port)).collect()
            }),
            quic: join.quic.map(QuicOut::of),
            key: join.key.map(|key| key.to_string()),
            ..blank
        },
        Request::Update { files, remove } => AskShape {
            method: "UPDATE",
            files: Some(files.iter().map(FileOut::brief).collect()),
            remove: Some(remove.iter().map(RelativeName::as_str).collect()),
            ..blank
        },
        Request::Fetch(fetch) => fetching("FETCH", fetch, blank),
        Request::Prove(fetch) => AskShape { prove: Some(true), ..fetching("FETCH", fetch, blank) },
        Request::Pieces(fetch) => fetching("PIECES", fetch, blank),
        Request::Folder { name, cursor, limit } => AskShape {
            method: "FOLDER",
            name: Some(name),
            cursor: cursor.as_deref(),
            limit: (*limit < limits::FOLDER_ENTRIES).then_some(*limit),
            ..blank
        },
        Request::Have { root } => {
            AskShape { method: "HAVE", root: Some(root.to_string()), ..blank }
        }
        Request::Operation(operation) => operating(operation, blank),
        // Written above, or requests of other dialects only.
        Request::Member(_)
        | Request::Link(_)
        | Request::Session(_)
        | Request::Enter(_)
        | Request::Registry(..)
        | Request::Replace { .. }
        | Request::FetchPath(_)
        | Request::Date
        | Request::Live
        | Request::About(_)
        | Request::Drop(_)
        | Request::Poster(_)
        | Request::Transfers { .. } => return,
    };
    put(out, &ask);
}

#[derive(Serialize)]
struct PeerOut<'a> {
    peer: SocketAddr,
    files: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaks: Option<&'a str>,
}

#[derive(Serialize)]
struct OnlineOut<'a> {
    user: &'a str,
    peer: Option<SocketAddr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    speaks: Option<&'a str>,
}

impl OnlineOut<'_> {
    fn of(online: &Online) -> OnlineOut<'_> {
        OnlineOut {
            user: &online.user,
            peer: online.peer,
            speaks: online.speaks.map(LegacyProfile::as_str),
        }
    }
}

#[derive(Serialize)]
struct PublicationOut<'a> {
    name: &'a str,
    description: &'a str,
}

#[derive(Serialize)]
struct HaveOut {
    root: String,
    whole: bool,
    pieces: Vec<[u64; 2]>,
}

impl HaveOut {
    fn of(have: &Have) -> HaveOut {
        HaveOut {
            root: have.root.to_string(),
            whole: have.whole,
            pieces: have.runs.iter().map(|run| [run.first, run.count]).collect(),
        }
    }
}

/// Write the response to request `id`. The body of a piece follows separately.
pub fn write_reply(id: Option<u64>, reply: &Response, out: &mut Vec<u8>) {
    if let Response::Member(response) = reply {
        return member::write_response(id, response, out);
    }
    if let Response::Link(response) = reply {
        return link::write_response(id, response, out);
    }
    #[derive(Serialize)]
    struct JoinOk {
        you: SocketAddr,
        files: u64,
        session: String,
        heartbeat_ms: u64,
    }
    #[derive(Serialize)]
    struct Count {
        files: u64,
    }
    #[derive(Serialize)]
    struct PeersShape<'a> {
        peers: Vec<PeerOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Users<'a> {
        users: Vec<OnlineOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct ContentShape<'a> {
        user: &'a str,
        files: Vec<PublicationOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct FilesShape<'a> {
        peer: SocketAddr,
        files: Vec<FileOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct PieceOut<'a> {
        name: &'a str,
        size: u64,
        tag: String,
        from: u64,
        length: u64,
        more: bool,
        #[serde(skip_serializing_if = "Option::is_none")]
        value: Option<String>,
    }
    #[derive(Serialize)]
    struct ListOut<'a> {
        name: &'a str,
        size: u64,
        tag: String,
        root: String,
        from: u64,
        length: u64,
        more: bool,
    }
    #[derive(Serialize)]
    struct StatusShape<'a> {
        figures: Vec<MetricShape<'a>>,
    }
    match reply {
        Response::JoinMore => {
            put(out, &AnswerShape { id, status: "JOIN_MORE", fields: NoFields {} })
        }
        Response::LeaveOk => put(out, &AnswerShape { id, status: "LEAVE_OK", fields: NoFields {} }),
        Response::Pong => put(out, &AnswerShape { id, status: "PONG", fields: NoFields {} }),
        Response::CancelOk => {
            put(out, &AnswerShape { id, status: "CANCEL_OK", fields: NoFields {} })
        }
        Response::WrongOk => put(out, &AnswerShape { id, status: "WRONG_OK", fields: NoFields {} }),
        Response::UpdateOk { files } => {
            put(out, &AnswerShape { id, status: "UPDATE_OK", fields: Count { files: *files } })
        }
        Response::JoinOk { you, files, session, heartbeat_ms } => {
            let fields = JoinOk {
                you: *you,
                files: *files,
                session: session.reveal(),
                heartbeat_ms: *heartbeat_ms,
            };
            put(out, &AnswerShape { id, status: "JOIN_OK", fields });
        }
        Response::Found { holders, away, cursor, incomplete } => fast_path::put_found(
            id,
            holders.iter().map(Provider::by_ref),
            away,
            cursor.as_deref(),
            *incomplete,
            out,
        ),
        Response::Peers { peers, cursor } => {
            let peers = peers
                .iter()
                .map(|p| PeerOut {
                    peer: p.peer,
                    files: p.files,
                    user: p.user.as_deref(),
                    speaks: p.speaks.map(LegacyProfile::as_str),
                })
                .collect();
            put(
                out,
                &AnswerShape {
                    id,
                    status: "PEERS_OK",
                    fields: PeersShape { peers, cursor: cursor.as_deref() },
                },
            );
        }
        Response::Files { peer, files, cursor } => {
            let files = files.iter().map(FileOut::of).collect();
            put(
                out,
                &AnswerShape {
                    id,
                    status: "LS_OK",
                    fields: FilesShape { peer: *peer, files, cursor: cursor.as_deref() },
                },
            );
        }
        Response::Piece(piece) => {
            let Piece { name, size, tag, from, length, more, value } = piece;
            let tag = tag.to_string();
            let value = value.map(|value| to_hex(&value));
            let fields = PieceOut {
                name,
                size: *size,
                tag,
                from: *from,
                length: *length,
                more: *more,
                value,
            };
            put(out, &AnswerShape { id, status: "FETCH_OK", fields });
        }
        Response::Pieces(part) => {
            let HashListPart { name, size, tag, root, from, length, more } = part;
            let (tag, root) = (tag.to_string(), root.to_string());
            let fields =
                ListOut { name, size: *size, tag, root, from: *from, length: *length, more: *more };
            put(out, &AnswerShape { id, status: "PIECES_OK", fields });
        }
        Response::Folder(page) => folder::write_response(id, page, out),
        Response::Have(have) => {
            put(out, &AnswerShape { id, status: "HAVE_OK", fields: HaveOut::of(have) })
        }
        Response::Done(method) => put(
            out,
            &AnswerShape { id, status: &format!("{}_OK", method.as_str()), fields: NoFields {} },
        ),
        Response::Users { users, cursor } => {
            let users = users.iter().map(OnlineOut::of).collect();
            put(
                out,
                &AnswerShape {
                    id,
                    status: "LIST_USERS_OK",
                    fields: Users { users, cursor: cursor.as_deref() },
                },
            );
        }
        Response::Content { of, files, cursor } => {
            let files = files
                .iter()
                .map(|file| PublicationOut { name: &file.file, description: &file.description })
                .collect();
            put(
                out,
                &AnswerShape {
                    id,
                    status: "LIST_CONTENT_OK",
                    fields: ContentShape { user: of, files, cursor: cursor.as_deref() },
                },
            );
        }
        Response::User(online) => {
            put(out, &AnswerShape { id, status: "FIND_USER_OK", fields: OnlineOut::of(online) })
        }
        Response::Subscribed => {
            put(out, &AnswerShape { id, status: "SUBSCRIBE_OK", fields: NoFields {} })
        }
        Response::Unsubscribed => {
            put(out, &AnswerShape { id, status: "UNSUBSCRIBE_OK", fields: NoFields {} })
        }
        Response::Status(figures) => {
            let figures = figures.iter().map(MetricShape::of).collect();
            put(out, &AnswerShape { id, status: "STATUS_OK", fields: StatusShape { figures } });
        }
        // Written above, or responses of other dialects only.
        Response::Member(_)
        | Response::Link(_)
        | Response::Session(_)
        | Response::Entered { .. }
        | Response::Registry(_)
        | Response::Date(_)
        | Response::Live(_)
        | Response::About(_)
        | Response::Drop(_)
        | Response::Poster(_)
        | Response::Transfers(_) => {}
    }
}

/// Write an error; with `opening` as the first line of the accepting side.
pub fn write_error(id: Option<u64>, refusal: &ErrorReply, opening: bool, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct ErrorOut<'a> {
        code: &'a str,
        retry: bool,
        text: &'a str,
    }
    #[derive(Serialize)]
    struct OpeningShape<'a> {
        cardume: u64,
        error: ErrorOut<'a>,
    }
    #[derive(Serialize)]
    struct Frame<'a> {
        id: Option<u64>,
        error: ErrorOut<'a>,
    }
    let error =
        ErrorOut { code: refusal.code.as_str(), retry: refusal.code.retry(), text: &refusal.text };
    if opening {
        put(out, &OpeningShape { cardume: VERSION, error });
    } else {
        put(out, &Frame { id, error });
    }
}

/// Write a HAVE event.
pub fn write_have(have: &Have, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        #[serde(flatten)]
        fields: HaveOut,
    }
    put(out, &Event { event: "HAVE", fields: HaveOut::of(have) });
}

/// Write an event of the subscription `of`.
pub fn write_event(of: u64, what: &SubscriptionEvent, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        of: u64,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
    }
    match what {
        SubscriptionEvent::Appeared(holder) => fast_path::put_appeared(of, holder.by_ref(), out),
        SubscriptionEvent::Gone { peer, name } => {
            put(out, &Event { event: "GONE", of, peer: Some(*peer), name: Some(name) })
        }
        SubscriptionEvent::Missed => {
            put(out, &Event { event: "MISSED", of, peer: None, name: None })
        }
    }
}

/// Write a WAITING event for the FETCH or PIECES `id`.
pub fn write_waiting(id: Option<u64>, waiting: WaitingReason, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        id: Option<u64>,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<u64>,
    }
    let (reason, place) = match waiting {
        WaitingReason::Consent => ("consent", None),
        WaitingReason::Slot { place } => ("slot", Some(place)),
        WaitingReason::Hashing => ("hashing", None),
    };
    put(out, &Event { event: "WAITING", id, reason, place });
}
