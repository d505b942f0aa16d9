//! What the asking side says: its opening and its requests.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use crate::message::account::{Authority, Deed, Key, Line, Operation, Proof, Publication, UserName};
use crate::message::limits;
use crate::message::live::Moved;
use crate::message::name::printable;
use crate::message::query::{Filters, Query, Sort, Sought};
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::request::{Fetch, FileEntry, Join, Request, Wanted};
use crate::message::tongue::Tongue;
use crate::message::version::{Root, Session, Tag};
use crate::message::watched::Watched;
use crate::wire::native::quic::QuicShape;
use crate::wire::native::{Asked, Fatal, FileShape, Hello, PREFIX, VERSION, address, bad, missing, not_a_head, quick, small};

/// Reads the first line of the side that connects.
///
/// # Errors
/// `version` for another major version, `bad_request` for anything else.
pub fn hello(line: &[u8]) -> Result<Hello, Fatal> {
    #[derive(Deserialize)]
    struct Shape {
        cardume: u64,
        peer: Option<u64>,
        quic: Option<bool>,
    }
    if !line.starts_with(PREFIX) {
        return Err(Fatal(Refusal::new(Code::BadRequest, "the first line starts with {\"cardume\":1")));
    }
    let shape: Shape = serde_json::from_slice(line).map_err(|_| not_a_head())?;
    if shape.cardume != VERSION {
        return Err(Fatal(Refusal::new(Code::Version, "this side speaks version 1")));
    }
    let peer = shape.peer.and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0);
    Ok(Hello { peer, quic: shape.quic.unwrap_or(false) })
}

/// Reads one request.
///
/// # Errors
/// When the line is not a JSON object at all.
pub fn request(line: &[u8]) -> Result<Asked, Fatal> {
    if let Some(asked) = quick::search(line) {
        return Ok(asked);
    }
    let line = std::str::from_utf8(line).map_err(|_| not_a_head())?;
    // A list would be taken for the fields in their order.
    if !line.trim_ascii_start().starts_with('{') {
        return Err(not_a_head());
    }
    match serde_json::from_str::<Shape<'_>>(line) {
        Ok(shape) => {
            let (id, id_given) = (shape.id.filter(|id| *id <= limits::LARGEST_INTEGER), shape.id);
            if id != id_given {
                return Ok(Asked { id: None, request: Err(bad("id is above 2^53-1")) });
            }
            Ok(Asked { id, request: shape.request() })
        }
        Err(error) => misread(line, &error),
    }
}

/// A line that is not of the shape: is it JSON with a wrong field, or no JSON at all?
fn misread(line: &str, error: &serde_json::Error) -> Result<Asked, Fatal> {
    #[derive(Deserialize)]
    struct OnlyId {
        #[serde(default, deserialize_with = "lenient_id")]
        id: Option<u64>,
    }
    match serde_json::from_str::<OnlyId>(line) {
        Ok(OnlyId { id }) if error.is_data() => {
            let place = format!("wrong field: {}", printable(&error.to_string()));
            Ok(Asked { id, request: Err(bad(&place)) })
        }
        _ => Err(not_a_head()),
    }
}

fn lenient_id<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<u64>, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(value.as_u64().filter(|id| *id <= limits::LARGEST_INTEGER))
}

/// Every field of every request. Strings borrow from the line.
#[derive(Deserialize)]
struct Shape<'a> {
    id: Option<u64>,
    #[serde(borrow)]
    method: Option<Cow<'a, str>>,
    port: Option<u64>,
    #[serde(borrow)]
    advertise: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    part: Option<u64>,
    more: Option<bool>,
    #[serde(borrow)]
    files: Option<Vec<FileShape<'a>>>,
    #[serde(borrow)]
    remove: Option<Vec<Text<'a>>>,
    #[serde(borrow)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow)]
    root: Option<Cow<'a, str>>,
    #[serde(borrow)]
    cursor: Option<Cow<'a, str>>,
    #[serde(borrow)]
    peer: Option<Cow<'a, str>>,
    from: Option<u64>,
    length: Option<u64>,
    #[serde(borrow)]
    tag: Option<Cow<'a, str>>,
    fetch: Option<u64>,
    piece: Option<u64>,
    prove: Option<bool>,
    of: Option<u64>,
    #[serde(borrow)]
    text: Option<Cow<'a, str>>,
    ports: Option<BTreeMap<String, u64>>,
    #[serde(borrow)]
    quic: Option<QuicShape<'a>>,
    #[serde(borrow)]
    user: Option<Cow<'a, str>>,
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    proof: Option<Cow<'a, str>>,
    #[serde(borrow)]
    description: Option<Cow<'a, str>>,
    moved: Option<MovedShape>,
    #[serde(borrow)]
    contains: Option<Cow<'a, str>>,
    #[serde(borrow)]
    like: Option<Cow<'a, str>>,
    #[serde(borrow)]
    ext: Option<Vec<Text<'a>>>,
    min_size: Option<u64>,
    max_size: Option<u64>,
    #[serde(borrow)]
    owner: Option<Cow<'a, str>>,
    hashed: Option<bool>,
    complete: Option<bool>,
    #[serde(borrow)]
    sort: Option<Cow<'a, str>>,
    limit: Option<u64>,
}

/// What a peer has moved, beside a PING; what is not said is nothing.
#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct MovedShape {
    uploads: u64,
    downloads: u64,
    sent: u64,
    received: u64,
}

impl MovedShape {
    fn meant(self) -> Result<Moved, Refusal> {
        let MovedShape { uploads, downloads, sent, received } = self;
        Ok(Moved { uploads: small(uploads)?, downloads: small(downloads)?, sent: small(sent)?, received: small(received)? })
    }
}

/// A string inside a list: serde borrows it only when told so.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Shape<'_> {
    fn request(self) -> Result<Request, Refusal> {
        let method = self.method.as_deref().ok_or_else(|| missing("method"))?;
        Ok(match method {
            "STATUS" => Request::Status { local: true },
            "PING" => match self.moved {
                None => Request::Ping,
                Some(moved) => Request::Moved(moved.meant()?),
            },
            "SEARCH" if self.text.is_some() => {
                Request::Find(Box::new(Query { cursor: self.query_cursor()?, ..Query::new(Sought::Contains(self.text()?)) }))
            }
            "SEARCH" if self.is_query() => Request::Find(Box::new(self.query()?)),
            "SUBSCRIBE" => Request::Subscribe(self.watched()?),
            "UNSUBSCRIBE" => Request::Unsubscribe { of: small(self.of.ok_or_else(|| missing("of"))?)? },
            "SEARCH" => Request::Search { wanted: self.wanted()?, cursor: self.cursor()?, speaks: None },
            "JOIN" => Request::Join(self.join()?),
            "UPDATE" => Request::Update { remove: self.removed()?, files: self.files()? },
            "LEAVE" => Request::Leave,
            "PEERS" => Request::Peers { cursor: self.cursor()?, speaks: None },
            "LS" => {
                let peer = self.peer.as_deref().map(|text| address("peer", text)).transpose()?;
                Request::Ls { peer, cursor: self.cursor()? }
            }
            "FETCH" if self.prove == Some(true) => Request::Prove(self.fetch()?),
            "FETCH" => Request::Fetch(self.fetch()?),
            "PIECES" => Request::Pieces(self.fetch()?),
            "HAVE" => Request::Have { root: self.root()?.ok_or_else(|| missing("root"))? },
            "WRONG" => {
                Request::Wrong { root: self.root()?.ok_or_else(|| missing("root"))?, piece: small(self.piece.ok_or_else(|| missing("piece"))?)? }
            }
            "CANCEL" => Request::Cancel { fetch: small(self.fetch.ok_or_else(|| missing("fetch"))?)? },
            "REGISTER" => self.proven(Deed::Register)?,
            "CONNECT" => self.proven(Deed::Connect { port: None })?,
            "UNREGISTER" => by_link(Deed::Unregister),
            "DISCONNECT" => by_link(Deed::Disconnect),
            "PUBLISH" => by_link(Deed::Publish(self.publication()?)),
            "DELETE" => by_link(Deed::Delete(self.published()?)),
            "LIST_USERS" => by_link(Deed::ListUsers { cursor: self.cursor()?, most: limits::LIST_ENTRIES }),
            "LIST_CONTENT" => by_link(Deed::ListContent { of: self.user()?, cursor: self.cursor()?, most: limits::LIST_ENTRIES }),
            "FIND_USER" => by_link(Deed::FindUser { whom: self.user()? }),
            _ => return Err(Refusal::unsupported()),
        })
    }

    fn user(&self) -> Result<UserName, Refusal> {
        let text = self.user.as_deref().ok_or_else(|| missing("user"))?;
        UserName::new(text).map_err(|why| Refusal::new(Code::BadName, format!("a user name must not {why}")))
    }

    fn text(&self) -> Result<String, Refusal> {
        let text = self.text.as_deref().unwrap_or_default();
        let good = !text.trim().is_empty() && text.len() <= limits::NAME_BYTES;
        if good && self.name.is_none() && self.root.is_none() {
            Ok(text.to_owned())
        } else {
            Err(bad("text is empty, or longer than 255 bytes, or not alone"))
        }
    }

    /// True for a search that is more than a name or a content.
    fn is_query(&self) -> bool {
        let texts = [&self.contains, &self.like, &self.description, &self.owner, &self.sort];
        let asks = texts.into_iter().any(Option::is_some) || self.ext.is_some() || self.limit.is_some();
        asks || self.min_size.is_some() || self.max_size.is_some() || self.hashed.is_some() || self.complete.is_some()
    }

    fn query(&self) -> Result<Query, Refusal> {
        let mut wanted = Vec::new();
        if self.name.is_some() || self.root.is_some() {
            wanted.push(match self.wanted()? {
                Wanted::Name(name) => Sought::Name(name),
                Wanted::Root(root) => Sought::Root(root),
            });
        }
        wanted.extend(self.contains.as_deref().map(|text| Sought::Contains(text.to_owned())));
        wanted.extend(self.like.as_deref().map(|text| Sought::Like(text.to_owned())));
        if wanted.len() > 1 {
            return Err(bad("only one of name, root, contains and like"));
        }
        let owner = self.owner.as_deref().map(UserName::new).transpose();
        let query = Query {
            wanted: wanted.pop().unwrap_or(Sought::Anything),
            filters: Filters {
                ext: self.ext.iter().flatten().map(|Text(ext)| ext.to_string()).collect(),
                min_size: self.min_size,
                max_size: self.max_size,
                description: self.description.as_deref().map(str::to_owned),
                owner: owner.map_err(|why| Refusal::new(Code::BadName, format!("a user name must not {why}")))?,
                hashed: self.hashed,
                complete: self.complete,
            },
            sort: self.sort.as_deref().map(Sort::read).transpose()?,
            limit: self.limit.map_or(limits::HOLDERS, |limit| usize::try_from(limit).unwrap_or(usize::MAX)),
            cursor: self.query_cursor()?,
        };
        query.check()?;
        Ok(query)
    }

    /// The cursor of a query, which may hold a name.
    fn query_cursor(&self) -> Result<Option<String>, Refusal> {
        match self.cursor.as_deref() {
            Some(text) if text.len() > limits::QUERY_CURSOR_BYTES => Err(bad("cursor is not one of ours")),
            other => Ok(other.map(str::to_owned)),
        }
    }

    fn watched(&self) -> Result<Watched, Refusal> {
        if self.id.is_none() {
            return Err(bad("a SUBSCRIBE needs an id, by which it is told of"));
        }
        if let Some(words) = self.contains.as_deref() {
            let good = !words.trim().is_empty() && words.len() <= limits::NAME_BYTES && self.name.is_none() && self.root.is_none();
            return if good { Ok(Watched::Words(words.to_owned())) } else { Err(bad("contains is empty, or longer than 255 bytes, or not alone")) };
        }
        Ok(match self.wanted()? {
            Wanted::Name(name) => Watched::Name(name),
            Wanted::Root(root) => Watched::Root(root),
        })
    }

    fn proven(&self, deed: Deed) -> Result<Request, Refusal> {
        let key = self.key.as_deref().ok_or_else(|| missing("key"))?;
        let proof = self.proof.as_deref().ok_or_else(|| missing("proof"))?;
        let key = Key::parse(key).ok_or_else(|| bad("key is not 64 hex digits"))?;
        let proof = Proof::parse(proof).ok_or_else(|| bad("proof is not 128 hex digits"))?;
        Ok(Request::Operation(Operation { user: Some(self.user()?), authority: Authority::Proof { key, proof }, speaks: None, date: None, deed }))
    }

    fn published(&self) -> Result<Line, Refusal> {
        let text = self.name.as_deref().ok_or_else(|| missing("name"))?;
        let name = RelativeName::new(text)?;
        Line::new(&name).ok_or_else(|| Refusal::new(Code::BadName, "the name of a published file must not be longer than 255 bytes"))
    }

    fn publication(&self) -> Result<Publication, Refusal> {
        let text = self.description.as_deref().unwrap_or_default();
        let description = Line::new(text).ok_or_else(|| bad("description is longer than 255 bytes, or not one line"))?;
        Ok(Publication { file: self.published()?, description })
    }

    /// The old wires that are known here, with their ports.
    fn ports(&self) -> Result<Vec<(Tongue, u16)>, Refusal> {
        let mut ports = Vec::new();
        for (word, port) in self.ports.iter().flatten() {
            let port = u16::try_from(*port).ok().filter(|port| *port != 0).ok_or_else(|| bad("a port is not from 1 to 65535"))?;
            ports.extend(Tongue::of_word(word).map(|tongue| (tongue, port)));
        }
        Ok(ports)
    }

    fn wanted(&self) -> Result<Wanted, Refusal> {
        match (self.name.as_deref(), self.root()?) {
            (Some(_), Some(_)) => Err(bad("name and root at once")),
            (None, Some(root)) => Ok(Wanted::Root(root)),
            (Some(name), None) => Ok(Wanted::Name(RelativeName::new(name)?)),
            (None, None) => Err(missing("name")),
        }
    }

    fn root(&self) -> Result<Option<Root>, Refusal> {
        self.root.as_deref().map(|text| Root::parse(text).ok_or_else(|| bad("root is not 64 hex digits"))).transpose()
    }

    fn cursor(&self) -> Result<Option<String>, Refusal> {
        match self.cursor.as_deref() {
            Some(text) if text.len() > limits::CURSOR_BYTES => Err(bad("cursor is not one of ours")),
            other => Ok(other.map(str::to_owned)),
        }
    }

    fn join(self) -> Result<Join, Refusal> {
        let part = small(self.part.unwrap_or(0))?;
        let port = match self.port {
            None if part == 0 => return Err(missing("port")),
            None => None,
            Some(port) => Some(u16::try_from(port).ok().filter(|port| *port != 0).ok_or_else(|| bad("port is not from 1 to 65535"))?),
        };
        let advertise = self.advertise.as_deref().map(|text| address("advertise", text)).transpose()?;
        let session = match self.session.as_deref() {
            None => None,
            Some(text) => Some(Session::parse(text).ok_or_else(|| bad("session is not 32 hex digits"))?),
        };
        let ports = self.ports()?;
        let quic = self.quic.as_ref().map(QuicShape::checked).transpose()?;
        Ok(Join { port, advertise, session, part, more: self.more.unwrap_or(false), files: self.files()?, ports, quic })
    }

    fn files(self) -> Result<Vec<FileEntry>, Refusal> {
        let files = self.files.unwrap_or_default();
        if files.len() > limits::PART_FILES {
            return Err(Refusal::new(Code::TooLarge, format!("a part holds at most {} files", limits::PART_FILES)));
        }
        files.into_iter().map(|file| if file.size.is_none() { Err(missing("size")) } else { file.entry() }).collect()
    }

    fn removed(&self) -> Result<Vec<RelativeName>, Refusal> {
        let names = self.remove.as_deref().unwrap_or_default();
        if names.len() > limits::PART_FILES {
            return Err(Refusal::new(Code::TooLarge, format!("a part holds at most {} names", limits::PART_FILES)));
        }
        names.iter().map(|Text(name)| Ok(RelativeName::new(name)?)).collect()
    }

    fn fetch(&self) -> Result<Fetch, Refusal> {
        let wanted = self.wanted()?;
        let from = self.from.unwrap_or(0);
        small(from)?;
        self.length.map(small).transpose()?;
        let tag = match self.tag.as_deref() {
            None => None,
            Some(text) => Some(Tag::parse(text).ok_or_else(|| bad("tag is not 16 hex digits"))?),
        };
        Ok(Fetch { wanted, from, length: self.length, tag })
    }
}

fn by_link(deed: Deed) -> Request {
    Request::Operation(Operation::native(None, deed))
}
