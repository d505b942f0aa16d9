//! Decode the messages of the connecting side: handshake and requests.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::limits;
use crate::protocol::Role;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::live_stats::TransferReport;
use crate::protocol::native::quic_address::quic;
use crate::protocol::native::strict_json::{self, Integer, NotAnObject};
use crate::protocol::native::{
    FileShape, Hello, NativeError, NumberedRequest, Object, PREFIX, TextShape, VERSION, address,
    content_hash, missing, not_a_head, small, too_large,
};
use crate::protocol::native::{fast_path, link, member, wrong_field};
use crate::protocol::request::{Fetch, FileEntry, Join, Request, Selector};
use crate::protocol::subscription::SubscriptionFilter;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::{
    AccountOp, Authority, Key, Line, Operation, Proof, Publication, UserName,
};
use crate::protocol::types::ids::{ContentHash, FileVersion, SessionId, hex};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::member::Groups;
use crate::protocol::types::query::{Filters, Query, QueryTerm, Sort};
use crate::protocol::types::relative_path::RelativeName;

/// Decode the handshake of the connecting side.
///
/// # Errors
/// `version` for another major version, `bad_request` for anything else.
pub fn hello(line: &[u8]) -> Result<Hello, NativeError> {
    let version =
        line.strip_prefix(PREFIX).filter(|rest| rest.first().is_some_and(u8::is_ascii_digit));
    if version.is_none() {
        return Err(NativeError(ErrorReply::bad_request(
            "the first line starts with {\"cardume\":1",
        )));
    }
    let head = strict_json::read(line).map_err(|NotAnObject| not_a_head())?;
    if let Some(fault) = head.fault {
        return Err(NativeError(fault.refusal()));
    }
    match head.get("cardume").map(strict_json::integer) {
        Some(Integer::Small(VERSION)) => {}
        Some(Integer::Small(_) | Integer::Large) => {
            return Err(NativeError(ErrorReply::new(
                ErrorCode::Version,
                "this side speaks version 1",
            )));
        }
        Some(Integer::None) | None => {
            return Err(NativeError(ErrorReply::bad_request(
                "the first line starts with {\"cardume\":1",
            )));
        }
    }
    let peer = match head.get("peer").map(strict_json::integer) {
        Some(Integer::Small(port)) => u16::try_from(port).ok().filter(|port| *port != 0),
        _ => None,
    };
    let wish = |field: &str| match head.get(field) {
        Some("true") => Ok(true),
        Some("false") | None => Ok(false),
        Some(_) => {
            Err(NativeError(ErrorReply::bad_request(format!("{field} is neither true nor false"))))
        }
    };
    Ok(Hello { peer, quic: wish("quic")?, tls: wish("tls")?, member: wish("member")? })
}

/// Decode one request to a process of this role.
///
/// # Errors
/// When the line is no JSON object.
pub fn request(line: &[u8], role: Role) -> Result<NumberedRequest, NativeError> {
    if let Some(asked) = decode_fast(line, role) {
        return Ok(asked);
    }
    decode_strict(line, role)
}

/// Decode a request of known fields only; `None` sends the line to [`decode_strict`], which gives
/// the same result for every line accepted here.
fn decode_fast(line: &[u8], role: Role) -> Option<NumberedRequest> {
    if role == Role::Server
        && let Some(asked) = fast_path::search(line)
    {
        return Some(asked);
    }
    // serde would accept a list of the fields in order.
    if !line.trim_ascii_start().starts_with(b"{") {
        return None;
    }
    let shape: Shape<'_> = serde_json::from_str(std::str::from_utf8(line).ok()?).ok()?;
    // Unknown methods may have fields of their own.
    let is_known = shape.method.as_deref().is_none_or(|method| fields(method, role).is_some());
    is_known.then(|| shape.numbered(role))
}

/// Decode a request member by member: fields unknown to its method are dropped, the others must be
/// valid.
fn decode_strict(line: &[u8], role: Role) -> Result<NumberedRequest, NativeError> {
    let head = strict_json::read(line).map_err(|NotAnObject| not_a_head())?;
    let id = if head.has_twice("id") { Ok(None) } else { id(head.get("id")) };
    if let Some(fault) = head.fault {
        return Ok(NumberedRequest { id: id.unwrap_or(None), request: Err(fault.refusal()) });
    }
    let id = match id {
        Ok(id) => id,
        Err(refusal) => return Ok(NumberedRequest { id: None, request: Err(refusal) }),
    };
    let refused = |refusal| Ok(NumberedRequest { id, request: Err(refusal) });
    let Some(method) = head.text("method") else {
        return refused(if head.get("method").is_none() {
            missing("method")
        } else {
            ErrorReply::bad_request("method is no string")
        });
    };
    let about_members = member::fields(&method, role);
    if let Some(known) = about_members {
        let is_known = |key: &str| ["id", "method"].contains(&key) || known.contains(&key);
        let text = strict_json::reduced(&head, is_known, is_inner);
        let request =
            member::request(&method, &text).map(|request| Request::Member(Box::new(request)));
        return Ok(NumberedRequest { id, request });
    }
    if let Some(known) = link::fields(&method).filter(|_| role == Role::Peer) {
        let is_known = |key: &str| ["id", "method"].contains(&key) || known.contains(&key);
        let text = strict_json::reduced(&head, is_known, is_inner);
        let request = link::request(&text).map(|request| Request::Link(Box::new(request)));
        return Ok(NumberedRequest { id, request });
    }
    let Some(known) = fields(&method, role) else { return refused(ErrorReply::unsupported()) };
    // Later parts of a JOIN carry no address.
    let is_later = method == "JOIN"
        && matches!(head.get("part").map(strict_json::integer), Some(Integer::Small(1..)));
    let is_known = |key: &str| {
        ["id", "method"].contains(&key)
            || (known.contains(&key) && !(is_later && ONLY_FIRST.contains(&key)))
    };
    let text = strict_json::reduced(&head, is_known, is_inner);
    match serde_json::from_str::<Shape<'_>>(&text) {
        Ok(shape) => Ok(shape.numbered(role)),
        Err(error) => refused(wrong_field(&error)),
    }
}

/// The key of a JOIN.
fn join_key(text: &str) -> Result<Key, ErrorReply> {
    Key::parse(text).ok_or_else(|| ErrorReply::bad_request("key is no key"))
}

fn id(spelled: Option<&str>) -> Result<Option<u64>, ErrorReply> {
    match spelled.map(strict_json::integer) {
        None => Ok(None),
        Some(Integer::Small(id)) => Ok(Some(id)),
        Some(Integer::Large) => Err(too_large()),
        Some(Integer::None) => Err(ErrorReply::bad_request("id is no integer from 0 to 2^53-1")),
    }
}

/// Fields that later parts of a JOIN may carry; ignored.
const ONLY_FIRST: [&str; 3] = ["port", "advertise", "session"];

/// The fields of a method that this role supports.
fn fields(method: &str, role: Role) -> Option<&'static [&'static str]> {
    let (roles, fields): (&[Role], &[&str]) = match method {
        "PING" => (BOTH, &["moved"]),
        "STATUS" => (BOTH, &[]),
        "LS" if role == Role::Peer => (BOTH, &["cursor"]),
        "LS" => (BOTH, &["peer", "cursor"]),
        "SEARCH" | "SUBSCRIBE" => (SERVER, SEARCHED),
        "UNSUBSCRIBE" => (SERVER, &["of"]),
        "JOIN" => {
            const FIELDS: &[&str] =
                &["port", "advertise", "session", "part", "more", "files", "ports", "quic", "key"];
            (SERVER, FIELDS)
        }
        "UPDATE" => (SERVER, &["files", "remove"]),
        "LEAVE" | "UNREGISTER" | "DISCONNECT" => (SERVER, &[]),
        "PEERS" => (SERVER, &["cursor", "peer"]),
        "LIST_USERS" => (SERVER, &["cursor"]),
        "REGISTER" | "CONNECT" => (SERVER, &["user", "key", "proof"]),
        "PUBLISH" => (SERVER, &["name", "description"]),
        "DELETE" => (SERVER, &["name"]),
        "LIST_CONTENT" => (SERVER, &["user", "cursor"]),
        "FIND_USER" => (SERVER, &["user"]),
        "FETCH" => (PEER, &["name", "root", "from", "length", "tag", "prove"]),
        "PIECES" => (PEER, &["name", "root", "from", "length", "tag"]),
        "FOLDER" => (PEER, &["name", "cursor", "limit"]),
        "HAVE" => (PEER, &["root"]),
        "WRONG" => (PEER, &["root", "piece"]),
        "CANCEL" => (PEER, &["fetch"]),
        _ => return None,
    };
    roles.contains(&role).then_some(fields)
}

const BOTH: &[Role] = &[Role::Server, Role::Peer];
const SERVER: &[Role] = &[Role::Server];
const PEER: &[Role] = &[Role::Peer];
const SEARCHED: &[&str] = &[
    "name",
    "root",
    "contains",
    "like",
    "ext",
    "min_size",
    "max_size",
    "description",
    "owner",
    "hashed",
    "complete",
    "sort",
    "limit",
    "cursor",
    "text",
];

/// True for a known key of the objects in a field.
fn is_inner(field: &str, key: &str) -> bool {
    match field {
        "files" => ["name", "size", "root", "partial", "for"].contains(&key),
        "quic" => ["port", "key"].contains(&key),
        "moved" => ["uploads", "downloads", "sent", "received"].contains(&key),
        "ports" => LegacyProfile::parse(key).is_some(),
        // Each is a limit, or an error.
        "set" => true,
        _ => false,
    }
}

/// All fields of all requests. Any other field sends the line to [`decode_strict`]. Strings borrow
/// from the line.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<TextShape<'a>>,
    port: Option<u64>,
    #[serde(borrow)]
    advertise: Option<TextShape<'a>>,
    #[serde(borrow)]
    session: Option<TextShape<'a>>,
    part: Option<u64>,
    more: Option<bool>,
    files: Option<Files>,
    #[serde(borrow)]
    remove: Option<Vec<TextShape<'a>>>,
    #[serde(borrow)]
    name: Option<TextShape<'a>>,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    #[serde(borrow)]
    cursor: Option<TextShape<'a>>,
    #[serde(borrow)]
    peer: Option<TextShape<'a>>,
    from: Option<u64>,
    length: Option<u64>,
    #[serde(borrow)]
    tag: Option<TextShape<'a>>,
    fetch: Option<u64>,
    piece: Option<u64>,
    prove: Option<bool>,
    of: Option<u64>,
    #[serde(borrow)]
    text: Option<TextShape<'a>>,
    ports: Option<Ports>,
    #[serde(borrow)]
    quic: Option<Object<QuicIn<'a>>>,
    #[serde(borrow)]
    user: Option<TextShape<'a>>,
    #[serde(borrow)]
    key: Option<TextShape<'a>>,
    #[serde(borrow)]
    proof: Option<TextShape<'a>>,
    #[serde(borrow)]
    description: Option<TextShape<'a>>,
    moved: Option<Object<MovedShape>>,
    #[serde(borrow)]
    contains: Option<TextShape<'a>>,
    #[serde(borrow)]
    like: Option<TextShape<'a>>,
    #[serde(borrow)]
    ext: Option<Vec<TextShape<'a>>>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    #[serde(borrow)]
    owner: Option<TextShape<'a>>,
    hashed: Option<bool>,
    complete: Option<bool>,
    #[serde(borrow)]
    sort: Option<TextShape<'a>>,
    limit: Option<u64>,
}

/// The transfer report of a PING; absent numbers are 0.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct MovedShape {
    uploads: Option<u64>,
    downloads: Option<u64>,
    sent: Option<u64>,
    received: Option<u64>,
}

impl MovedShape {
    fn report(self) -> Result<TransferReport, ErrorReply> {
        let checked = |number: Option<u64>| small(number.unwrap_or(0));
        Ok(TransferReport {
            uploads: checked(self.uploads)?,
            downloads: checked(self.downloads)?,
            sent: checked(self.sent)?,
            received: checked(self.received)?,
        })
    }
}

/// A file of a JOIN or UPDATE.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FileIn<'a> {
    #[serde(borrow)]
    name: Option<TextShape<'a>>,
    size: Option<u64>,
    #[serde(borrow)]
    root: Option<TextShape<'a>>,
    partial: Option<bool>,
    #[serde(borrow, rename = "for")]
    groups: Option<Vec<TextShape<'a>>>,
}

impl FileIn<'_> {
    pub(super) fn entry(self) -> Result<FileEntry, ErrorReply> {
        let FileIn { name, size, root, partial, groups } = self;
        let TextShape(name) = name.ok_or_else(|| missing("name"))?;
        let size = size.ok_or_else(|| missing("size"))?;
        let groups = file_groups(groups.as_deref().unwrap_or_default())?;
        let file =
            FileShape { name, size: Some(size), root, partial, description: None }.entry()?;
        Ok(FileEntry { groups, ..file })
    }
}

/// The files of a JOIN or UPDATE, each checked as it is decoded: a JOIN has too many files for a
/// second list of them.
struct Files(Result<Vec<FileEntry>, ErrorReply>);

impl<'de> Deserialize<'de> for Files {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Files, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Files;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a sequence")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Files, A::Error> {
                let (mut files, mut count) = (Ok(Vec::new()), 0);
                while let Some(Object(file)) = list.next_element::<Object<FileIn<'de>>>()? {
                    count += 1;
                    if count == limits::PART_FILES + 1 {
                        files = Err(ErrorReply::new(
                            ErrorCode::TooLarge,
                            format!("a part holds at most {} files", limits::PART_FILES),
                        ));
                    } else if let Ok(entries) = &mut files {
                        match file.entry() {
                            Ok(entry) => entries.push(entry),
                            Err(refusal) => files = Err(refusal),
                        }
                    }
                }
                Ok(Files(files))
            }
        }
        from.deserialize_seq(Elements)
    }
}

/// The groups of a file; without a name, all members.
fn file_groups(names: &[TextShape<'_>]) -> Result<Groups, ErrorReply> {
    if names.len() > limits::MEMBER_GROUPS {
        return Err(ErrorReply::bad_request(format!(
            "for has more than {} groups",
            limits::MEMBER_GROUPS
        )));
    }
    Groups::parse(names.iter().map(|TextShape(name)| &**name))
        .ok_or_else(|| ErrorReply::bad_request("for names no group"))
}

/// The QUIC address of a JOIN.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuicIn<'a> {
    port: u64,
    #[serde(borrow)]
    key: Cow<'a, str>,
}

/// Legacy ports by profile name. An unknown name sends the line to [`decode_strict`], which drops
/// it.
struct Ports(Vec<(LegacyProfile, u64)>);

impl<'de> Deserialize<'de> for Ports {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Ports, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Ports;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of ports")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Ports, A::Error> {
                let mut ports: Vec<(LegacyProfile, u64)> = Vec::new();
                while let Some(word) = members.next_key::<Cow<'de, str>>()? {
                    let profile = LegacyProfile::parse(&word)
                        .ok_or_else(|| de::Error::custom("a wire that is not known"))?;
                    if ports.iter().any(|(known, _)| *known == profile) {
                        return Err(de::Error::custom("a wire that comes twice"));
                    }
                    // null counts as absent.
                    ports.extend(members.next_value::<Option<u64>>()?.map(|port| (profile, port)));
                }
                Ok(Ports(ports))
            }
        }
        from.deserialize_map(Members)
    }
}

impl Shape<'_> {
    fn numbered(self, role: Role) -> NumberedRequest {
        match self.id.map(small).transpose() {
            Ok(id) => NumberedRequest { id, request: self.request(role) },
            Err(refusal) => NumberedRequest { id: None, request: Err(refusal) },
        }
    }

    fn request(self, role: Role) -> Result<Request, ErrorReply> {
        let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
        if fields(method, role).is_none() {
            return Err(ErrorReply::unsupported());
        }
        Ok(match method {
            "STATUS" => Request::Status { local: true },
            "PING" => match self.moved {
                None => Request::Ping,
                Some(Object(moved)) => Request::Moved(moved.report()?),
            },
            "SEARCH" if self.text.is_some() => Request::Find(Box::new(Query {
                cursor: self.query_cursor()?,
                ..Query::new(QueryTerm::Contains(self.text()?))
            })),
            "SEARCH" if self.is_query() => Request::Find(Box::new(self.query()?)),
            "SUBSCRIBE" => Request::Subscribe(self.filter()?),
            "UNSUBSCRIBE" => {
                Request::Unsubscribe { of: small(self.of.ok_or_else(|| missing("of"))?)? }
            }
            "SEARCH" => {
                Request::Search { wanted: self.wanted()?, cursor: self.cursor()?, speaks: None }
            }
            "JOIN" => Request::Join(Box::new(self.join()?)),
            "UPDATE" => Request::Update { remove: self.removed()?, files: self.files()? },
            "LEAVE" => Request::Leave,
            "PEERS" => match self.peer.as_deref() {
                Some(ip) => Request::PeersAt(
                    ip.parse().map_err(|_| ErrorReply::bad_request("peer is no IP address"))?,
                ),
                None => Request::Peers { cursor: self.cursor()?, speaks: None },
            },
            "LS" => {
                let peer = self
                    .peer
                    .as_deref()
                    .filter(|_| role == Role::Server)
                    .map(|text| address("peer", text))
                    .transpose()?;
                Request::Ls { peer, cursor: self.cursor()? }
            }
            "FETCH" if self.prove == Some(true) => Request::Prove(self.fetch()?),
            "FETCH" => Request::Fetch(self.fetch()?),
            "PIECES" => Request::Pieces(self.fetch()?),
            "FOLDER" => Request::Folder {
                name: RelativeName::new(self.name.as_deref().ok_or_else(|| missing("name"))?)?,
                cursor: self.query_cursor()?,
                limit: match self.limit.map(small).transpose()? {
                    Some(limit) => usize::try_from(limit)
                        .map_or(limits::FOLDER_ENTRIES, |limit| limit.min(limits::FOLDER_ENTRIES)),
                    None => limits::FOLDER_ENTRIES,
                },
            },
            "HAVE" => Request::Have { root: self.root()?.ok_or_else(|| missing("root"))? },
            "WRONG" => Request::Wrong {
                root: self.root()?.ok_or_else(|| missing("root"))?,
                piece: small(self.piece.ok_or_else(|| missing("piece"))?)?,
            },
            "CANCEL" => {
                Request::Cancel { fetch: small(self.fetch.ok_or_else(|| missing("fetch"))?)? }
            }
            "REGISTER" => self.proven(AccountOp::Register)?,
            "CONNECT" => self.proven(AccountOp::Connect { port: None })?,
            "UNREGISTER" => account_op(AccountOp::Unregister),
            "DISCONNECT" => account_op(AccountOp::Disconnect),
            "PUBLISH" => account_op(AccountOp::Publish(self.publication()?)),
            "DELETE" => account_op(AccountOp::Delete(self.published()?)),
            "LIST_USERS" => account_op(AccountOp::ListUsers {
                cursor: self.cursor()?,
                most: limits::LIST_ENTRIES,
            }),
            "LIST_CONTENT" => account_op(AccountOp::ListContent {
                of: self.user()?,
                cursor: self.cursor()?,
                most: limits::LIST_ENTRIES,
            }),
            "FIND_USER" => account_op(AccountOp::FindUser { whom: self.user()? }),
            _ => return Err(ErrorReply::unsupported()),
        })
    }

    fn user(&self) -> Result<UserName, ErrorReply> {
        user_name(self.user.as_deref().ok_or_else(|| missing("user"))?)
    }

    fn text(&self) -> Result<String, ErrorReply> {
        let text = self.text.as_deref().unwrap_or_default();
        let good = !text.trim().is_empty() && text.len() <= limits::NAME_BYTES;
        if good && self.name.is_none() && self.root.is_none() && !self.is_query() {
            Ok(text.to_owned())
        } else {
            Err(ErrorReply::bad_request("text is empty, or longer than 255 bytes, or not alone"))
        }
    }

    /// True for a search by more than name or content.
    fn is_query(&self) -> bool {
        self.contains.is_some() || self.has_filters()
    }

    fn has_filters(&self) -> bool {
        let texts = [&self.like, &self.description, &self.owner, &self.sort];
        texts.into_iter().any(Option::is_some)
            || self.ext.is_some()
            || self.min_size.is_some()
            || self.max_size.is_some()
            || self.hashed.is_some()
            || self.complete.is_some()
            || self.limit.is_some()
    }

    fn query(&self) -> Result<Query, ErrorReply> {
        let mut wanted = Vec::new();
        if self.name.is_some() || self.root.is_some() {
            wanted.push(match self.wanted()? {
                Selector::Name(name) => QueryTerm::Name(name),
                Selector::Root(root) => QueryTerm::Root(root),
            });
        }
        wanted.extend(self.contains.as_deref().map(|text| QueryTerm::Contains(text.to_owned())));
        wanted.extend(self.like.as_deref().map(|text| QueryTerm::Like(text.to_owned())));
        if wanted.len() > 1 {
            return Err(ErrorReply::bad_request("only one of name, root, contains and like"));
        }
        let query = Query {
            wanted: wanted.pop().unwrap_or(QueryTerm::Anything),
            filters: Filters {
                ext: self.ext.iter().flatten().map(|TextShape(ext)| ext.to_string()).collect(),
                min_size: self.min_size.map(small).transpose()?,
                max_size: self.max_size.map(small).transpose()?,
                description: self.description.as_deref().map(str::to_owned),
                owner: self.owner.as_deref().map(user_name).transpose()?,
                hashed: self.hashed,
                complete: self.complete,
            },
            sort: self.sort.as_deref().map(Sort::read).transpose()?,
            limit: self
                .limit
                .map(small)
                .transpose()?
                .map_or(limits::HOLDERS, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            cursor: self.query_cursor()?,
        };
        query.check()?;
        Ok(query)
    }

    fn filter(&self) -> Result<SubscriptionFilter, ErrorReply> {
        if self.id.is_none() {
            return Err(ErrorReply::bad_request("a SUBSCRIBE needs an id, by which it is told of"));
        }
        // Refuse filters that a subscription would ignore.
        if self.has_filters() || self.text.is_some() || self.cursor.is_some() {
            return Err(ErrorReply::bad_request(
                "a SUBSCRIBE goes by name, root or contains alone",
            ));
        }
        if let Some(words) = self.contains.as_deref() {
            let good = !words.trim().is_empty()
                && words.len() <= limits::NAME_BYTES
                && self.name.is_none()
                && self.root.is_none();
            return if good {
                Ok(SubscriptionFilter::Words(words.to_owned()))
            } else {
                Err(ErrorReply::bad_request(
                    "contains is empty, or longer than 255 bytes, or not alone",
                ))
            };
        }
        Ok(match self.wanted()? {
            Selector::Name(name) => SubscriptionFilter::Name(name),
            Selector::Root(root) => SubscriptionFilter::Root(root),
        })
    }

    fn proven(&self, op: AccountOp) -> Result<Request, ErrorReply> {
        let key = self.key.as_deref().ok_or_else(|| missing("key"))?;
        let proof = self.proof.as_deref().ok_or_else(|| missing("proof"))?;
        let key = hex(key).ok_or_else(|| ErrorReply::bad_request("key is not 64 hex digits"))?;
        let key = Key::new(key)
            .ok_or_else(|| ErrorReply::new(ErrorCode::BadProof, "that key proves nothing"))?;
        let proof = Proof::parse(proof)
            .ok_or_else(|| ErrorReply::bad_request("proof is not 128 hex digits"))?;
        Ok(Request::Operation(Operation {
            user: Some(self.user()?),
            authority: Authority::Proof { key, proof },
            speaks: None,
            date: None,
            op,
        }))
    }

    fn published(&self) -> Result<Line, ErrorReply> {
        let text = self.name.as_deref().ok_or_else(|| missing("name"))?;
        let published = match AbsolutePath::new(text) {
            // Listed under its relative form, which must be valid.
            Some(path) => path.below_root().map(|_| Line::new(path.as_str()))?,
            None => Line::new(&RelativeName::new(text)?),
        };
        published.ok_or_else(|| {
            ErrorReply::new(
                ErrorCode::BadName,
                "the name of a published file must not be longer than 255 bytes",
            )
        })
    }

    fn publication(&self) -> Result<Publication, ErrorReply> {
        let text = self.description.as_deref().unwrap_or_default();
        let description = Line::new(text).ok_or_else(|| {
            ErrorReply::bad_request("description is longer than 255 bytes, or not one line")
        })?;
        Ok(Publication { file: self.published()?, description })
    }

    /// The legacy ports of known profiles.
    fn ports(&self) -> Result<Vec<(LegacyProfile, u16)>, ErrorReply> {
        let mut ports = Vec::new();
        for (profile, port) in self.ports.iter().flat_map(|Ports(ports)| ports) {
            ports.push((*profile, port_of("a port", *port)?));
        }
        ports.sort_unstable_by_key(|(profile, _)| profile.as_str());
        Ok(ports)
    }

    fn wanted(&self) -> Result<Selector, ErrorReply> {
        match (self.name.as_deref(), self.root()?) {
            (Some(_), Some(_)) => Err(ErrorReply::bad_request("name and root at once")),
            (None, Some(root)) => Ok(Selector::Root(root)),
            (Some(name), None) => Ok(Selector::Name(RelativeName::new(name)?)),
            (None, None) => Err(missing("name")),
        }
    }

    fn root(&self) -> Result<Option<ContentHash>, ErrorReply> {
        content_hash(self.root.as_deref())
    }

    /// The cursor of a list.
    fn cursor(&self) -> Result<Option<String>, ErrorReply> {
        self.cursor_within(limits::CURSOR_BYTES)
    }

    /// The cursor of a query, which may contain a name.
    fn query_cursor(&self) -> Result<Option<String>, ErrorReply> {
        self.cursor_within(limits::QUERY_CURSOR_BYTES)
    }

    fn cursor_within(&self, most: usize) -> Result<Option<String>, ErrorReply> {
        match self.cursor.as_deref() {
            Some(text) if text.len() > most => Err(ErrorReply::bad_cursor()),
            other => Ok(other.map(str::to_owned)),
        }
    }

    fn join(self) -> Result<Join, ErrorReply> {
        let part = small(self.part.unwrap_or(0))?;
        let is_first = part == 0;
        let port = match self.port.filter(|_| is_first) {
            None if is_first => return Err(missing("port")),
            None => None,
            Some(port) => Some(port_of("port", port)?),
        };
        let advertise = self
            .advertise
            .as_deref()
            .filter(|_| is_first)
            .map(|text| address("advertise", text))
            .transpose()?;
        let session = match self.session.as_deref().filter(|_| is_first) {
            None => None,
            Some(text) => Some(
                SessionId::parse(text)
                    .ok_or_else(|| ErrorReply::bad_request("session is not 32 hex digits"))?,
            ),
        };
        let ports = self.ports()?;
        let quic = match &self.quic {
            None => None,
            Some(Object(QuicIn { port, key })) => Some(quic(*port, key)?),
        };
        let key = self.key.as_deref().map(join_key).transpose()?;
        Ok(Join {
            port,
            advertise,
            session,
            part,
            more: self.more.unwrap_or(false),
            files: self.files()?,
            ports,
            quic,
            key,
        })
    }

    fn files(self) -> Result<Vec<FileEntry>, ErrorReply> {
        self.files.map_or_else(|| Ok(Vec::new()), |Files(files)| files)
    }

    fn removed(&self) -> Result<Vec<RelativeName>, ErrorReply> {
        let names = self.remove.as_deref().unwrap_or_default();
        if names.len() > limits::PART_FILES {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("a part holds at most {} names", limits::PART_FILES),
            ));
        }
        names.iter().map(|TextShape(name)| Ok(RelativeName::new(name)?)).collect()
    }

    fn fetch(&self) -> Result<Fetch, ErrorReply> {
        let wanted = self.wanted()?;
        let from = self.from.unwrap_or(0);
        small(from)?;
        self.length.map(small).transpose()?;
        let tag = match self.tag.as_deref() {
            None => None,
            Some(text) => Some(
                FileVersion::parse(text)
                    .ok_or_else(|| ErrorReply::bad_request("tag is not 16 hex digits"))?,
            ),
        };
        Ok(Fetch { wanted, from, length: self.length, tag })
    }
}

/// A port number. Integers beyond the protocol are refused as elsewhere.
fn port_of(what: &str, number: u64) -> Result<u16, ErrorReply> {
    u16::try_from(small(number)?)
        .ok()
        .filter(|port| *port != 0)
        .ok_or_else(|| ErrorReply::bad_request(format!("{what} is not from 1 to 65535")))
}

fn user_name(text: &str) -> Result<UserName, ErrorReply> {
    UserName::new(text)
        .map_err(|why| ErrorReply::new(ErrorCode::BadName, format!("a user name must not {why}")))
}

fn account_op(op: AccountOp) -> Request {
    Request::Operation(Operation::native(None, op))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The outcome of a line: the connection closes, an error for an id, or a request.
    #[derive(Debug, PartialEq)]
    enum Outcome {
        Ends,
        Refused(Option<u64>, ErrorCode),
        Good(Option<u64>),
    }

    fn outcome(read: &Result<NumberedRequest, NativeError>) -> Outcome {
        match read {
            Err(NativeError(refusal)) => {
                assert_eq!(refusal.code, ErrorCode::BadRequest);
                Outcome::Ends
            }
            Ok(NumberedRequest { id, request: Err(refusal) }) => {
                Outcome::Refused(*id, refusal.code)
            }
            Ok(NumberedRequest { id, request: Ok(_) }) => Outcome::Good(*id),
        }
    }

    /// Decode by both paths and compare, when the fast one accepts the line.
    fn decode_both(line: &[u8], role: Role) -> Result<NumberedRequest, NativeError> {
        let slow = decode_strict(line, role);
        if let Some(quick) = decode_fast(line, role) {
            assert_eq!(Ok(quick), slow, "{}", String::from_utf8_lossy(line));
        }
        assert_eq!(request(line, role), slow);
        slow
    }

    const BAD: Outcome = Outcome::Refused(Some(1), ErrorCode::BadRequest);
    const LARGE: Outcome = Outcome::Refused(Some(1), ErrorCode::TooLarge);
    const GOOD: Outcome = Outcome::Good(Some(1));

    #[test]
    fn texts_borrow_from_the_line() {
        let file: FileIn<'_> = serde_json::from_str(r#"{"name":"a.mp4","root":"0"}"#).unwrap();
        let shape: Shape<'_> = serde_json::from_str(r#"{"method":"LS","remove":["a"]}"#).unwrap();
        let removed = shape.remove.and_then(|names| names.into_iter().next());
        for text in [file.name, file.root, shape.method, removed] {
            assert!(matches!(text, Some(TextShape(Cow::Borrowed(_)))));
        }
    }

    #[test]
    fn the_first_wrong_file_refuses_a_part() {
        let join = |files: String| {
            let line = format!(r#"{{"id":1,"method":"JOIN","port":4000,"files":[{files}]}}"#);
            let refused = decode_both(line.as_bytes(), Role::Server).unwrap().request.unwrap_err();
            (refused.code, refused.text)
        };
        let good = r#"{"name":"a.mp4","size":1}"#;
        let (code, text) = join(format!(r#"{good},{{"size":1}},{{"name":"b/","size":1}},{good}"#));
        assert_eq!((code, text.as_str()), (ErrorCode::BadRequest, "name is missing"));
        let (code, _) = join(format!(r#"{good},{{"name":"b/","size":1}},{{"size":1}}"#));
        assert_eq!(code, ErrorCode::BadName);
        // A part with too many files is refused for that, wherever its first wrong file is.
        for files in
            [format!("{good},").repeat(limits::PART_FILES), "{},".repeat(2 * limits::PART_FILES)]
        {
            assert_eq!(join(files + good).0, ErrorCode::TooLarge);
        }
    }

    #[test]
    fn every_oddity_of_json_has_one_meaning() {
        let ping = |more: &str| format!("{{\"id\":1,\"method\":\"PING\"{more}}}");
        let deep =
            |levels: usize| ping(&format!(",\"x\":{}{}", "[".repeat(levels), "]".repeat(levels)));
        let objects = |levels: usize| {
            ping(&format!(",\"x\":{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels)))
        };
        let members = |count: usize| {
            (0..count).fold(String::new(), |text, number| format!("{text},\"k{number}\":0"))
        };
        let with_groups = |groups: &str| {
            format!(
                "{{\"id\":1,\"method\":\"UPDATE\",\"files\":[{{\"name\":\"a\",\"size\":5,\"for\":{groups}}}]}}"
            )
        };
        let cases = [
            // Duplicate keys, in any escape and at any depth.
            (ping(",\"x\":1,\"x\":1"), BAD),
            (ping(",\"x\":{\"a\":[{\"b\":1,\"\\u0062\":2}]}"), BAD),
            (ping(",\"method\":\"PING\""), BAD),
            (ping(",\"id\":1"), Outcome::Refused(None, ErrorCode::BadRequest)),
            (ping(",\"moved\":{\"sent\":1,\"sent\":1}"), BAD),
            (ping(",\"x\":[{\"a\":1},{\"a\":1}],\"y\":{\"a\":{\"a\":1}}"), GOOD),
            // Depth, including the header.
            (deep(126), GOOD),
            (deep(127), BAD),
            (deep(30_000), BAD),
            (objects(126), GOOD),
            (objects(127), BAD),
            (format!("{{\"id\":1,\"method\":\"PING\",\"x\":{}", "[".repeat(30_000)), Outcome::Ends),
            // Members.
            (ping(&members(254)), GOOD),
            (ping(&members(255)), LARGE),
            (ping(&format!(",\"x\":{{\"y\":0{}}}", members(256))), LARGE),
            // Lists in place of objects, and the reverse.
            (ping(",\"moved\":[1,2,3,4]"), BAD),
            (ping(",\"moved\":[]"), BAD),
            (ping(",\"moved\":{\"sent\":null,\"else\":1e400}"), GOOD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"files\":[[\"a\",5]]}".into(), BAD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"files\":{\"name\":\"a\"}}".into(), BAD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"quic\":[1,\"aa\"]}".into(), BAD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"ports\":[]}".into(), BAD),
            // Surrogates.
            (ping(",\"x\":\"\\ud83d\\ude00\""), GOOD),
            (ping(",\"x\":\"\\ud83d\""), BAD),
            (ping(",\"x\":\"\\ude00\""), BAD),
            (ping(",\"x\":\"\\ud83d\\u0041\""), BAD),
            (ping(",\"x\":\"\\ud83d\\ud83d\\ude00\""), BAD),
            (ping(",\"\\ud83d\":0"), BAD),
            ("{\"id\":1,\"method\":\"SEARCH\",\"name\":\"\\ud83d\"}".into(), BAD),
            // Ignored fields may hold any number.
            (ping(",\"x\":[1e400,-0,-1,1.5,123456789012345678901234567890]"), GOOD),
            (ping(",\"from\":1e400,\"name\":5,\"files\":7"), GOOD),
            // Invalid JSON.
            (ping(",\"x\":01"), Outcome::Ends),
            (ping(",\"x\":1."), Outcome::Ends),
            (ping(",\"x\":.5"), Outcome::Ends),
            (ping(",\"x\":+1"), Outcome::Ends),
            (ping(",\"x\":0x1"), Outcome::Ends),
            (ping(",\"x\":1e"), Outcome::Ends),
            (ping(",\"x\":-"), Outcome::Ends),
            (ping(",\"x\":NaN"), Outcome::Ends),
            (ping(",\"x\":nul"), Outcome::Ends),
            (ping(",\"x\":[1,]"), Outcome::Ends),
            (ping(",\"x\":[,]"), Outcome::Ends),
            (ping(",\"x\":{,}"), Outcome::Ends),
            (ping(",\"x\":{\"a\"}"), Outcome::Ends),
            (ping(",\"x\":{1:2}"), Outcome::Ends),
            (ping(",\"x\":[}"), Outcome::Ends),
            (ping(",\"x\":\"\\x\""), Outcome::Ends),
            (ping(",\"x\":\"\\u12\""), Outcome::Ends),
            (ping(",\"x\":\"\0\""), Outcome::Ends),
            (ping(",\"x\":\"\t\""), Outcome::Ends),
            (ping(","), Outcome::Ends),
            (format!("\u{feff}{}", ping("")), Outcome::Ends),
            (format!("{} {{}}", ping("")), Outcome::Ends),
            (format!("{}\0", ping("")), Outcome::Ends),
            (format!("[{}]", ping("")), Outcome::Ends),
            ("   ".into(), Outcome::Ends),
            ("null".into(), Outcome::Ends),
            // JSON whitespace, with carriage return.
            (" { \"id\" :\t1 ,\r\"method\" : \"PING\" } ".into(), GOOD),
            (ping(",\"x\":{ },\"y\":[ ]"), GOOD),
            // NUL is a character like others: the name is refused, the connection stays open.
            ("{\"id\":1,\"method\":\"PING\\u0000\"}".into(), Outcome::Refused(Some(1), ErrorCode::Unsupported)),
            ("{\"id\":1,\"method\":\"SEARCH\",\"name\":\"a\\u0000b\"}".into(), Outcome::Refused(Some(1), ErrorCode::BadName)),
            // Ids.
            ("{\"method\":\"PING\"}".into(), Outcome::Good(None)),
            ("{\"id\":null,\"method\":\"PING\"}".into(), Outcome::Good(None)),
            ("{\"id\":9007199254740991,\"method\":\"PING\"}".into(), Outcome::Good(Some(limits::LARGEST_INTEGER))),
            ("{\"id\":9007199254740992,\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::TooLarge)),
            ("{\"id\":18446744073709551616,\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::TooLarge)),
            ("{\"id\":-0,\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::BadRequest)),
            ("{\"id\":1.0,\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::BadRequest)),
            ("{\"id\":1e400,\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::BadRequest)),
            ("{\"id\":[1],\"method\":\"PING\"}".into(), Outcome::Refused(None, ErrorCode::BadRequest)),
            // A method of the other role is refused before its fields are checked.
            ("{\"id\":1,\"method\":\"FETCH\",\"from\":\"x\"}".into(), Outcome::Refused(Some(1), ErrorCode::Unsupported)),
            ("{\"id\":1,\"method\":\"DANCE\",\"from\":\"x\"}".into(), Outcome::Refused(Some(1), ErrorCode::Unsupported)),
            ("{\"id\":1,\"method\":[\"PING\"]}".into(), BAD),
            ("{\"id\":1}".into(), BAD),
            // Later parts of a JOIN ignore the fields of the first.
            ("{\"id\":1,\"method\":\"JOIN\",\"part\":1,\"port\":\"x\",\"advertise\":7,\"session\":[]}".into(), GOOD),
            ("{\"id\":1,\"method\":\"JOIN\",\"part\":1,\"port\":0,\"advertise\":\"x\",\"session\":\"\"}".into(), GOOD),
            ("{\"id\":1,\"method\":\"JOIN\",\"part\":0,\"port\":\"x\"}".into(), BAD),
            // Unknown profiles are ignored.
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"ports\":{\"morse\":\"x\",\"rede\":null}}".into(), GOOD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"ports\":{\"rede\":0}}".into(), BAD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"files\":[{\"name\":\"a\",\"size\":5,\"new\":[1e400]}]}".into(), GOOD),
            ("{\"id\":1,\"method\":\"JOIN\",\"port\":1,\"files\":[{\"size\":5}]}".into(), BAD),
            // Groups of a file.
            (with_groups("[\"turma-a\",\"all\",\"public\"]"), GOOD),
            (with_groups("[]"), GOOD),
            (with_groups("null"), GOOD),
            (with_groups(&format!("[{}]", ["\"a\""; 16].join(","))), GOOD),
            (with_groups(&format!("[{}]", ["\"a\""; 17].join(","))), BAD),
            (with_groups("\"turma-a\""), BAD),
            (with_groups("[\"Turma\"]"), BAD),
            (with_groups("[\"\"]"), BAD),
            (with_groups("[null]"), BAD),
            (with_groups("[1]"), BAD),
            (with_groups("{\"a\":1}"), BAD),
        ];
        for (line, wanted) in cases {
            assert_eq!(
                outcome(&decode_both(line.as_bytes(), Role::Server)),
                wanted,
                "{}",
                &line[..line.len().min(200)]
            );
        }
    }

    #[test]
    fn integers_are_digits_up_to_2_53_in_every_field() {
        let places = [
            (Role::Peer, "FETCH", "\"name\":\"a\",\"from\":#"),
            (Role::Peer, "FETCH", "\"name\":\"a\",\"length\":#"),
            (Role::Peer, "PIECES", "\"name\":\"a\",\"from\":#"),
            (Role::Peer, "CANCEL", "\"fetch\":#"),
            (Role::Server, "JOIN", "\"port\":#"),
            (Role::Server, "JOIN", "\"part\":#"),
            (Role::Server, "JOIN", "\"port\":1,\"files\":[{\"name\":\"a\",\"size\":#}]"),
            (Role::Server, "JOIN", "\"port\":1,\"ports\":{\"rede\":#}"),
            (
                Role::Server,
                "JOIN",
                "\"port\":1,\"quic\":{\"port\":#,\"key\":\"d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a\"}",
            ),
            (Role::Server, "UPDATE", "\"files\":[{\"name\":\"a\",\"size\":#}]"),
            (Role::Server, "SEARCH", "\"name\":\"a\",\"min_size\":#"),
            (Role::Server, "SEARCH", "\"name\":\"a\",\"max_size\":#"),
            (Role::Server, "SEARCH", "\"name\":\"a\",\"limit\":#"),
            (Role::Server, "UNSUBSCRIBE", "\"of\":#"),
            (Role::Server, "PING", "\"moved\":{\"sent\":#}"),
            (Role::Server, "PING", "\"moved\":{\"uploads\":#}"),
        ];
        for (role, method, fields) in places {
            let read = |number: &str| {
                let line =
                    format!("{{\"id\":1,\"method\":\"{method}\",{}}}", fields.replace('#', number));
                outcome(&decode_both(line.as_bytes(), role))
            };
            for number in [
                "9007199254740992",
                "18446744073709551615",
                "18446744073709551616",
                &"9".repeat(500),
            ] {
                assert_eq!(read(number), LARGE, "{method} {fields} {number}");
            }
            for number in [
                "-0",
                "-1",
                "1.0",
                "1e2",
                "1e400",
                "-1e400",
                "1.5",
                "-18446744073709551617",
                "\"1\"",
                "true",
                "[1]",
                "{}",
            ] {
                assert_eq!(read(number), BAD, "{method} {fields} {number}");
            }
            assert_eq!(read("1"), GOOD, "{method} {fields}");
        }
    }

    #[test]
    fn the_handshake_starts_with_its_version_in_digits() {
        let read = |line: &str| hello(line.as_bytes()).map_err(|NativeError(refusal)| refusal.code);
        for more in [
            "",
            ",\"peer\":\"x\"",
            ",\"peer\":0",
            ",\"peer\":70000",
            ",\"peer\":1e400",
            ",\"peer\":[1]",
            ",\"peer\":null,\"quic\":null",
            ",\"x\":1e400",
        ] {
            assert_eq!(read(&format!("{{\"cardume\":1{more}}}")), Ok(Hello::default()), "{more}");
        }
        assert_eq!(
            read("{\"cardume\":1 ,\r\"peer\" : 4000, \"quic\":true } "),
            Ok(Hello { peer: Some(4000), quic: true, ..Hello::default() })
        );
        for version in ["0", "2", "10", "9007199254740992", "18446744073709551616"] {
            assert_eq!(
                read(&format!("{{\"cardume\":{version}}}")),
                Err(ErrorCode::Version),
                "{version}"
            );
        }
        let twice = format!("{{\"cardume\":1,\"x\":{}1{}}}", "[".repeat(127), "]".repeat(127));
        for line in [
            "{\"cardume\": 1}",
            "{\"cardume\" :1}",
            "{ \"cardume\":1}",
            "{\"cardume\":\t1}",
            "{\"cardume\":1.0}",
            "{\"cardume\":1e0}",
            "{\"cardume\":01}",
            "{\"cardume\":-1}",
            "{\"cardume\":\"1\"}",
            "{\"cardume\":null}",
            "{\"cardume\":[1]}",
            "{\"cardume\":1,\"cardume\":1}",
            "{\"cardume\":1,\"x\":1,\"x\":2}",
            "{\"cardume\":1,\"x\":\"\\ud800\"}",
            "{\"cardume\":1,\"quic\":1}",
            "{\"cardume\":1",
            "{\"cardume\":1}{}",
            "{\"cardume\":2",
            &twice,
        ] {
            assert_eq!(read(line), Err(ErrorCode::BadRequest), "{line}");
        }
    }

    fn value() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            Just("null".to_owned()),
            Just("true".to_owned()),
            Just("0".to_owned()),
            Just("4000".to_owned()),
            Just("-0".to_owned()),
            Just("1e400".to_owned()),
            Just("9007199254740992".to_owned()),
            Just("99999999999999999999".to_owned()),
            Just("\"a.mp4\"".to_owned()),
            Just("\"\\ud800\"".to_owned()),
            Just("\"\\u0061\\n\"".to_owned()),
            Just("\"127.0.0.1:4000\"".to_owned()),
            Just(" \"name\" ".to_owned()),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            let member = (key(), inner.clone()).prop_map(|(key, value)| format!("{key}:{value}"));
            prop_oneof![
                proptest::collection::vec(inner, 0..4)
                    .prop_map(|values| format!("[{}]", values.join(","))),
                proptest::collection::vec(member, 0..4)
                    .prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    fn key() -> impl Strategy<Value = String> {
        let known = [
            "id",
            "method",
            "port",
            "part",
            "more",
            "files",
            "remove",
            "name",
            "root",
            "cursor",
            "peer",
            "from",
            "length",
            "tag",
            "fetch",
            "of",
            "text",
            "ports",
            "quic",
            "moved",
            "size",
            "key",
            "rede",
            "x",
            "sent",
            "n\\u0061me",
            "\\ud800",
            "limit",
            "ext",
            "for",
        ];
        proptest::sample::select(known.to_vec()).prop_map(|key| format!("\"{key}\""))
    }

    fn line() -> impl Strategy<Value = String> {
        let methods =
            vec!["PING", "SEARCH", "JOIN", "UPDATE", "FETCH", "CANCEL", "LS", "DANCE", "SUBSCRIBE"];
        let members = proptest::collection::vec((key(), value()), 0..4);
        (proptest::sample::select(methods), members, 0..4_usize).prop_map(
            |(method, members, blank)| {
                let blank = ["", " ", "\r", "\t"][blank];
                let more = members.iter().fold(String::new(), |text, (key, value)| {
                    format!("{text},{blank}{key}:{value}")
                });
                format!("{{\"id\":1,{blank}\"method\":{blank}\"{method}\"{more}}}")
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_000))]

        #[test]
        fn both_decoders_agree(line in line(), role in 0..2_usize) {
            let _ = decode_both(line.as_bytes(), [Role::Server, Role::Peer][role]);
        }

        #[test]
        fn both_decoders_agree_on_corrupted_lines(line in line(), at in 0..200_usize, byte in any::<u8>(), cut in any::<bool>()) {
            let mut line = line.into_bytes();
            let at = at % line.len();
            if cut { line.truncate(at) } else { line[at] = byte }
            // A line end is not part of the line.
            line.retain(|byte| *byte != b'\n');
            let read = decode_both(&line, Role::Server);
            // serde and this parser agree on JSON, except where serde is lenient.
            let is_json = serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&line).is_ok();
            if is_json { prop_assert!(read.is_ok()) }
        }
    }
}
