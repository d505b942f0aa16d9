//! How both sides' words are spelled.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;

use crate::message::account::{Authority, Deed, Online, Operation};
use crate::message::limits;
use crate::message::live::Moved;
use crate::message::query::{Filters, Query, Sort, Sought};
use crate::message::refusal::Refusal;
use crate::message::relative::RelativeName;
use crate::message::reply::{Have, Holder, ListPart, Piece, Reply, Waiting};
use crate::message::request::{Fetch, Request, Wanted};
use crate::message::tongue::Tongue;
use crate::message::version::{Session, to_hex};
use crate::message::watched::{Happened, Watched};
use crate::wire::Role;
use crate::wire::native::figures::FigureShape;
use crate::wire::native::quic::QuicOut;
use crate::wire::native::{FileOut, Hello, VERSION, Welcome, quick};

/// Writes the first line of the side that connects.
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
    }
    let quic = hello.quic.then_some(true);
    put(out, &Shape { cardume: VERSION, max_head: limits::HEAD_BYTES, nonce, peer: hello.peer, quic });
}

/// Writes the first line of the answering side.
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
    }
    let role = match welcome.role {
        Role::Server => "server",
        Role::Peer => "peer",
    };
    let Welcome { you, heartbeat_ms, max_head, ref nonce, .. } = *welcome;
    put(out, &Shape { cardume: VERSION, role, you, heartbeat_ms, max_head, caps: [], nonce });
}

/// What has moved, beside a PING.
#[derive(Serialize)]
struct MovedOut {
    uploads: u64,
    downloads: u64,
    sent: u64,
    received: u64,
}

impl MovedOut {
    fn of(moved: Moved) -> MovedOut {
        let Moved { uploads, downloads, sent, received } = moved;
        MovedOut { uploads, downloads, sent, received }
    }
}

/// Writes one request.
pub fn write_request(id: u64, request: &Request, out: &mut Vec<u8>) {
    #[derive(Serialize, Default)]
    struct Ask<'a> {
        id: u64,
        method: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<&'a str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        root: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        peer: Option<SocketAddr>,
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
    fn searching<'a>(query: &'a Query, blank: Ask<'a>) -> Ask<'a> {
        let Filters { ext, min_size, max_size, description, owner, hashed, complete } = &query.filters;
        let ask = Ask {
            method: "SEARCH",
            ext: (!ext.is_empty()).then_some(ext),
            min_size: *min_size,
            max_size: *max_size,
            description: description.as_deref(),
            owner: owner.as_deref(),
            hashed: *hashed,
            complete: *complete,
            sort: query.sort.map(Sort::word),
            limit: Some(query.limit),
            cursor: query.cursor.as_deref(),
            ..blank
        };
        match &query.wanted {
            Sought::Anything => ask,
            Sought::Name(name) => Ask { name: Some(name), ..ask },
            Sought::Root(root) => Ask { root: Some(root.to_string()), ..ask },
            Sought::Contains(text) => Ask { contains: Some(text), ..ask },
            Sought::Like(text) => Ask { like: Some(text), ..ask },
        }
    }
    fn named(wanted: &Wanted) -> (Option<&str>, Option<String>) {
        match wanted {
            Wanted::Name(name) => (Some(name), None),
            Wanted::Root(root) => (None, Some(root.to_string())),
        }
    }
    fn fetching<'a>(method: &'a str, fetch: &'a Fetch, blank: Ask<'a>) -> Ask<'a> {
        let (name, root) = named(&fetch.wanted);
        let tag = fetch.tag.map(|tag| tag.to_string());
        Ask { method, name, root, from: Some(fetch.from), length: fetch.length, tag, ..blank }
    }
    fn operating<'a>(operation: &'a Operation, blank: Ask<'a>) -> Ask<'a> {
        let (key, proof) = match operation.authority {
            Authority::Proof { key, proof } => (Some(key.to_string()), Some(proof.to_string())),
            Authority::Word | Authority::Link => (None, None),
        };
        let ask = Ask { method: operation.deed.method().word(), user: operation.user.as_deref(), key, proof, ..blank };
        match &operation.deed {
            Deed::Register | Deed::Unregister | Deed::Connect { .. } | Deed::Disconnect => ask,
            Deed::Publish(what) => Ask { name: Some(&what.file), description: Some(&what.description), ..ask },
            Deed::Delete(file) => Ask { name: Some(file), ..ask },
            Deed::ListUsers { cursor, .. } => Ask { cursor: cursor.as_deref(), ..ask },
            Deed::ListContent { of, cursor, .. } => Ask { user: Some(of), cursor: cursor.as_deref(), ..ask },
            Deed::FindUser { whom } => Ask { user: Some(whom), ..ask },
        }
    }

    let blank = Ask { id, ..Ask::default() };
    let ask = match request {
        Request::Ping => Ask { method: "PING", ..blank },
        Request::Subscribe(Watched::Name(name)) => Ask { method: "SUBSCRIBE", name: Some(name), ..blank },
        Request::Subscribe(Watched::Root(root)) => Ask { method: "SUBSCRIBE", root: Some(root.to_string()), ..blank },
        Request::Subscribe(Watched::Words(text)) => Ask { method: "SUBSCRIBE", contains: Some(text), ..blank },
        Request::Unsubscribe { of } => Ask { method: "UNSUBSCRIBE", of: Some(*of), ..blank },
        Request::Status { .. } => Ask { method: "STATUS", ..blank },
        Request::Moved(moved) => Ask { method: "PING", moved: Some(MovedOut::of(*moved)), ..blank },
        Request::Leave => Ask { method: "LEAVE", ..blank },
        Request::Search { wanted, cursor, .. } => {
            let (name, root) = named(wanted);
            Ask { method: "SEARCH", name, root, cursor: cursor.as_deref(), ..blank }
        }
        Request::Find(query) => searching(query, blank),
        Request::Peers { cursor, .. } => Ask { method: "PEERS", cursor: cursor.as_deref(), ..blank },
        Request::Ls { peer, cursor } => Ask { method: "LS", peer: *peer, cursor: cursor.as_deref(), ..blank },
        Request::Wrong { root, piece } => Ask { method: "WRONG", root: Some(root.to_string()), piece: Some(*piece), ..blank },
        Request::Cancel { fetch } => Ask { method: "CANCEL", fetch: Some(*fetch), ..blank },
        Request::Join(join) => Ask {
            method: "JOIN",
            port: join.port,
            advertise: join.advertise,
            session: join.session.map(Session::reveal),
            part: Some(join.part),
            more: Some(join.more),
            files: Some(join.files.iter().map(FileOut::brief).collect()),
            ports: (!join.ports.is_empty()).then(|| join.ports.iter().map(|(tongue, port)| (tongue.word(), *port)).collect()),
            quic: join.quic.map(QuicOut::of),
            ..blank
        },
        Request::Update { files, remove } => Ask {
            method: "UPDATE",
            files: Some(files.iter().map(FileOut::brief).collect()),
            remove: Some(remove.iter().map(RelativeName::as_str).collect()),
            ..blank
        },
        Request::Fetch(fetch) => fetching("FETCH", fetch, blank),
        Request::Prove(fetch) => Ask { prove: Some(true), ..fetching("FETCH", fetch, blank) },
        Request::Pieces(fetch) => fetching("PIECES", fetch, blank),
        Request::Have { root } => Ask { method: "HAVE", root: Some(root.to_string()), ..blank },
        Request::Operation(operation) => operating(operation, blank),
        // What only comes on other wires goes out on none.
        Request::Enter(_) | Request::Replace { .. } | Request::Date | Request::Live | Request::Transfers { .. } => return,
    };
    put(out, &ask);
}

#[derive(Serialize)]
struct PresentOut<'a> {
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
        OnlineOut { user: &online.user, peer: online.peer, speaks: online.speaks.map(Tongue::word) }
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
        HaveOut { root: have.root.to_string(), whole: have.whole, pieces: have.runs.iter().map(|run| [run.first, run.count]).collect() }
    }
}

/// An answer's frame around the fields of its method.
#[derive(Serialize)]
struct Answer<'a, T: Serialize> {
    id: Option<u64>,
    status: &'a str,
    #[serde(flatten)]
    fields: T,
}

#[derive(Serialize)]
struct Nothing {}

/// Writes the answer to request `id`. A piece's body follows by other means.
pub fn write_reply(id: Option<u64>, reply: &Reply, out: &mut Vec<u8>) {
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
    struct Peers<'a> {
        peers: Vec<PresentOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Users<'a> {
        users: Vec<OnlineOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Content<'a> {
        user: &'a str,
        files: Vec<PublicationOut<'a>>,
        cursor: Option<&'a str>,
    }
    #[derive(Serialize)]
    struct Files<'a> {
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
    struct Status<'a> {
        figures: Vec<FigureShape<'a>>,
    }
    match reply {
        Reply::JoinMore => put(out, &Answer { id, status: "JOIN_MORE", fields: Nothing {} }),
        Reply::LeaveOk => put(out, &Answer { id, status: "LEAVE_OK", fields: Nothing {} }),
        Reply::Pong => put(out, &Answer { id, status: "PONG", fields: Nothing {} }),
        Reply::CancelOk => put(out, &Answer { id, status: "CANCEL_OK", fields: Nothing {} }),
        Reply::WrongOk => put(out, &Answer { id, status: "WRONG_OK", fields: Nothing {} }),
        Reply::UpdateOk { files } => put(out, &Answer { id, status: "UPDATE_OK", fields: Count { files: *files } }),
        Reply::JoinOk { you, files, session, heartbeat_ms } => {
            let fields = JoinOk { you: *you, files: *files, session: session.reveal(), heartbeat_ms: *heartbeat_ms };
            put(out, &Answer { id, status: "JOIN_OK", fields });
        }
        Reply::Found { holders, away, cursor } => quick::put_found(id, holders.iter().map(Holder::by_ref), away, cursor.as_deref(), out),
        Reply::Peers { peers, cursor } => {
            let peers = peers
                .iter()
                .map(|p| PresentOut { peer: p.peer, files: p.files, user: p.user.as_deref(), speaks: p.speaks.map(Tongue::word) })
                .collect();
            put(out, &Answer { id, status: "PEERS_OK", fields: Peers { peers, cursor: cursor.as_deref() } });
        }
        Reply::Files { peer, files, cursor } => {
            let files = files.iter().map(FileOut::of).collect();
            put(out, &Answer { id, status: "LS_OK", fields: Files { peer: *peer, files, cursor: cursor.as_deref() } });
        }
        Reply::Piece(piece) => {
            let Piece { name, size, tag, from, length, more, value } = piece;
            let tag = tag.to_string();
            let value = value.map(|value| to_hex(&value));
            let fields = PieceOut { name, size: *size, tag, from: *from, length: *length, more: *more, value };
            put(out, &Answer { id, status: "FETCH_OK", fields });
        }
        Reply::Pieces(part) => {
            let ListPart { name, size, tag, root, from, length, more } = part;
            let (tag, root) = (tag.to_string(), root.to_string());
            let fields = ListOut { name, size: *size, tag, root, from: *from, length: *length, more: *more };
            put(out, &Answer { id, status: "PIECES_OK", fields });
        }
        Reply::Have(have) => put(out, &Answer { id, status: "HAVE_OK", fields: HaveOut::of(have) }),
        Reply::Done(method) => put(out, &Answer { id, status: &format!("{}_OK", method.word()), fields: Nothing {} }),
        Reply::Users { users, cursor } => {
            let users = users.iter().map(OnlineOut::of).collect();
            put(out, &Answer { id, status: "LIST_USERS_OK", fields: Users { users, cursor: cursor.as_deref() } });
        }
        Reply::Content { of, files, cursor } => {
            let files = files.iter().map(|file| PublicationOut { name: &file.file, description: &file.description }).collect();
            put(out, &Answer { id, status: "LIST_CONTENT_OK", fields: Content { user: of, files, cursor: cursor.as_deref() } });
        }
        Reply::User(online) => put(out, &Answer { id, status: "FIND_USER_OK", fields: OnlineOut::of(online) }),
        Reply::Subscribed => put(out, &Answer { id, status: "SUBSCRIBE_OK", fields: Nothing {} }),
        Reply::Unsubscribed => put(out, &Answer { id, status: "UNSUBSCRIBE_OK", fields: Nothing {} }),
        Reply::Status(figures) => {
            let figures = figures.iter().map(FigureShape::of).collect();
            put(out, &Answer { id, status: "STATUS_OK", fields: Status { figures } });
        }
        // Nobody asks for that on this wire.
        Reply::Entered { .. } | Reply::Date(_) | Reply::Live(_) | Reply::Transfers(_) => {}
    }
}

/// Writes a no; `opening` when it is the first line of the answering side.
pub fn write_refusal(id: Option<u64>, refusal: &Refusal, opening: bool, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct ErrorOut<'a> {
        code: &'a str,
        retry: bool,
        text: &'a str,
    }
    #[derive(Serialize)]
    struct Opening<'a> {
        cardume: u64,
        error: ErrorOut<'a>,
    }
    #[derive(Serialize)]
    struct Frame<'a> {
        id: Option<u64>,
        error: ErrorOut<'a>,
    }
    let error = ErrorOut { code: refusal.code.word(), retry: refusal.code.retry(), text: &refusal.text };
    if opening {
        put(out, &Opening { cardume: VERSION, error });
    } else {
        put(out, &Frame { id, error });
    }
}

/// Writes that more pieces are there.
pub fn write_have(have: &Have, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        #[serde(flatten)]
        fields: HaveOut,
    }
    put(out, &Event { event: "HAVE", fields: HaveOut::of(have) });
}

/// Writes what has happened to what SUBSCRIBE `of` waits for.
pub fn write_news(of: u64, what: &Happened, out: &mut Vec<u8>) {
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
        Happened::Appeared(holder) => quick::put_appeared(of, holder.by_ref(), out),
        Happened::Gone { peer, name } => put(out, &Event { event: "GONE", of, peer: Some(*peer), name: Some(name) }),
        Happened::Missed => put(out, &Event { event: "MISSED", of, peer: None, name: None }),
    }
}

/// Writes that FETCH or PIECES `id` has to wait.
pub fn write_waiting(id: Option<u64>, waiting: Waiting, out: &mut Vec<u8>) {
    #[derive(Serialize)]
    struct Event<'a> {
        event: &'a str,
        id: Option<u64>,
        reason: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        place: Option<u64>,
    }
    let (reason, place) = match waiting {
        Waiting::Consent => ("consent", None),
        Waiting::Slot { place } => ("slot", Some(place)),
        Waiting::Hashing => ("hashing", None),
    };
    put(out, &Event { event: "WAITING", id, reason, place });
}

fn put<T: Serialize>(out: &mut Vec<u8>, value: &T) {
    // These shapes hold strings, integers and lists of them: writing them into memory can't fail.
    let before = out.len();
    if serde_json::to_writer(&mut *out, value).is_err() {
        out.truncate(before);
    }
    out.push(b'\n');
}
