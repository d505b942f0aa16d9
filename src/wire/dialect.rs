//! The one switch between languages: what an answering session says of a dialect, and nothing else.
//!
//! A new dialect is a file beside this one, a variant and its lines below.

use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::refusal::Refusal;
use crate::message::relative::RelativeName;
use crate::message::reply::{Have, HolderRef, Reply, Waiting};
use crate::message::request::Request;
use crate::message::tongue::Tongue;
use crate::message::version::Tag;
use crate::message::watched::Happened;
use crate::wire::http::host::HostNames;
use crate::wire::http::{self, Http};
use crate::wire::native::{self, Hello, Welcome, quick, requests, writing};
use crate::wire::rede::{self, Rede};
use crate::wire::seed001::{self, Seed001};
use crate::wire::uc3m::{self, Uc3m};
use crate::wire::{Decoded, Role, Utterance};

/// The language of one link. Nearly all links are those of peers, and an idle one should be small: what others need stands elsewhere.
#[derive(Debug)]
pub enum Dialect {
    /// JSON lines.
    Native(Native),
    /// HTTP.
    Http(Box<Http>),
    /// UC3M, in one of its editions.
    Uc3m(Box<Uc3m>),
    /// Seed 001's JSON.
    Seed001(Box<Seed001>),
    /// Seed 002's words.
    Rede(Box<Rede>),
}

/// The native protocol's own memory of a link.
#[derive(Debug)]
pub struct Native {
    opened: bool,
    role: Role,
}

/// What was read.
#[derive(Debug, PartialEq, Eq)]
pub enum Heard {
    /// The other side opened, and wants our opening.
    Hello(Hello),
    /// A request, or why it can't be understood.
    Asked {
        /// What its answer must carry.
        id: Option<u64>,
        /// The request.
        request: Result<Request, Refusal>,
    },
    /// Something that needs no answer of ours: an empty line, or a request that the dialect answered itself.
    Nothing,
}

/// How a file's bytes go out.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One head before each piece; [`Dialect::reply`] writes them.
    Pieces,
    /// One head, which was written, then these bytes.
    Stream(ByteRange),
    /// These, one after the other.
    Spoken(Vec<Utterance>),
    /// The head said all.
    Done,
}

/// The link can't go on; its last words were written.
#[derive(Debug, PartialEq, Eq)]
pub struct Broken;

impl Dialect {
    /// The native protocol, for a process of this role.
    #[must_use]
    pub fn native(role: Role) -> Dialect {
        Dialect::Native(Native { opened: false, role })
    }

    /// HTTP, for a process of this role that may be asked under these names.
    #[must_use]
    pub fn http(role: Role, hosts: HostNames, from_loopback: bool) -> Dialect {
        Dialect::Http(Box::new(Http::reached(role, hosts, from_loopback)))
    }

    /// An old wire, for a process of this role.
    #[must_use]
    pub fn old(role: Role, tongue: Tongue) -> Dialect {
        match tongue {
            Tongue::Seed001 => Dialect::Seed001(Box::new(Seed001::new(role))),
            Tongue::Rede => Dialect::Rede(Box::new(Rede::new(role))),
            _ => Dialect::Uc3m(Box::new(Uc3m::new(role, tongue))),
        }
    }

    /// Reads the next item off the front of `buffer`; last words and a dialect's own answers go to `out`.
    ///
    /// # Errors
    /// When the link can't go on.
    pub fn read(&mut self, buffer: &[u8], out: &mut Vec<u8>) -> Result<Decoded<Heard>, Broken> {
        let asked = |request| Heard::Asked { id: None, request };
        match self {
            Dialect::Native(native) => native.read(buffer).map_err(|native::Fatal(refusal)| {
                writing::write_refusal(None, &refusal, !native.opened, out);
                Broken
            }),
            Dialect::Http(http) => match http.read(buffer, out) {
                Ok(decoded) => Ok(decoded.map(|item| item.map_or(Heard::Nothing, |request| asked(Ok(request))))),
                Err(http::Broken) => Err(Broken),
            },
            Dialect::Uc3m(uc3m) => uc3m.read(buffer, out).map(|decoded| decoded.map(asked)).map_err(|uc3m::Broken| Broken),
            Dialect::Seed001(seed) => seed.read(buffer).map(|decoded| decoded.map(asked)).map_err(|seed001::Broken| Broken),
            Dialect::Rede(rede) => rede.read(buffer).map(|decoded| decoded.map(asked)).map_err(|rede::Broken| Broken),
        }
    }

    /// Writes the last words to somebody whose request is not whole and never will be, where the dialect has some.
    pub fn overdue(&mut self, buffer: &[u8], out: &mut Vec<u8>) {
        if let Dialect::Uc3m(uc3m) = self {
            uc3m.overdue(buffer, out);
        }
    }

    /// Writes our opening, where the dialect has one.
    pub fn welcome(&mut self, welcome: &Welcome, out: &mut Vec<u8>) {
        if let Dialect::Native(native) = self {
            native.opened = true;
            writing::write_welcome(welcome, out);
        }
    }

    /// Writes an answer that is no file.
    pub fn reply(&mut self, id: Option<u64>, reply: &Reply, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_reply(id, reply, out),
            Dialect::Http(http) => http.reply(reply, out),
            Dialect::Uc3m(uc3m) => uc3m.reply(reply, out),
            Dialect::Seed001(seed) => seed.reply(reply, out),
            Dialect::Rede(rede) => rede.reply(reply, out),
        }
    }

    /// True where an answer of holders can be written straight from where they are known, by [`Dialect::found`].
    #[must_use]
    pub fn writes_holders(&self) -> bool {
        matches!(self, Dialect::Native(_))
    }

    /// Writes all who have something, where that can be done.
    pub fn found<'a>(&mut self, id: Option<u64>, holders: impl Iterator<Item = HolderRef<'a>>, out: &mut Vec<u8>) {
        if self.writes_holders() {
            quick::put_found(id, holders, &[], None, out);
        }
    }

    /// What is to be asked on behalf of the asker, whose wire has no pages, so that the answer is whole.
    pub fn next_page(&mut self) -> Option<Request> {
        if let Dialect::Rede(rede) = self { rede.next_page() } else { None }
    }

    /// Writes a no.
    pub fn refuse(&mut self, id: Option<u64>, refusal: &Refusal, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_refusal(id, refusal, false, out),
            Dialect::Http(http) => http.refuse(refusal, out),
            Dialect::Uc3m(uc3m) => uc3m.refuse(refusal, out),
            Dialect::Seed001(seed) => seed.refuse(refusal, out),
            Dialect::Rede(rede) => rede.refuse(refusal, out),
        }
    }

    /// Says that an answer has to wait, where the dialect can say so; `size` is that of the file that is waited for, where it is known.
    pub fn waiting(&mut self, id: Option<u64>, waiting: Waiting, size: Option<u64>, out: &mut Vec<u8>) -> Vec<Utterance> {
        match self {
            Dialect::Native(_) => {
                writing::write_waiting(id, waiting, out);
                Vec::new()
            }
            Dialect::Seed001(seed) => size.map_or_else(Vec::new, |size| seed.waiting(size)),
            Dialect::Http(_) | Dialect::Uc3m(_) | Dialect::Rede(_) => Vec::new(),
        }
    }

    /// Settles how a file that may be sent goes out.
    pub fn begin(&mut self, name: &RelativeName, size: u64, tag: Tag, modified: Option<i64>, out: &mut Vec<u8>) -> Delivery {
        match self {
            Dialect::Native(_) => Delivery::Pieces,
            Dialect::Http(http) => match http.begin(name, size, tag, modified, out) {
                http::Begin::Bytes(range) => Delivery::Stream(range),
                http::Begin::Done => Delivery::Done,
            },
            Dialect::Uc3m(uc3m) => Delivery::Spoken(uc3m.begin(size)),
            Dialect::Seed001(seed) => Delivery::Spoken(seed.begin(size)),
            Dialect::Rede(rede) => Delivery::Spoken(rede.begin(size)),
        }
    }

    /// Writes what has happened to what SUBSCRIBE `of` waits for, where the dialect can say so.
    pub fn news(&mut self, of: u64, what: &Happened, out: &mut Vec<u8>) {
        if let Dialect::Native(_) = self {
            writing::write_news(of, what, out);
        }
    }

    /// Writes that more pieces are there, where the dialect can say so.
    pub fn have(&mut self, have: &Have, out: &mut Vec<u8>) {
        if let Dialect::Native(_) = self {
            writing::write_have(have, out);
        }
    }

    /// True when the link ends behind the answers given so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Dialect::Native(_) => false,
            Dialect::Http(http) => http.has_ended(),
            Dialect::Uc3m(uc3m) => uc3m.has_ended(),
            Dialect::Seed001(seed) => seed.has_ended(),
            Dialect::Rede(rede) => rede.has_ended(),
        }
    }

    /// True while a request that came after an unanswered one rightly stays unread.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        if let Dialect::Http(http) = self { http.is_busy() } else { false }
    }

    /// True when a waiting asker can be told so; one that can't is not left waiting for ever.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Dialect::Native(_))
    }

    /// True where a link lasts in silence as long as its owner is there: nothing in that language is a sign of life.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(self, Dialect::Seed001(_) | Dialect::Rede(_))
    }
}

impl Native {
    fn read(&mut self, buffer: &[u8]) -> Result<Decoded<Heard>, native::Fatal> {
        let limit = if self.opened && self.role == Role::Server { limits::JOIN_BYTES } else { limits::HEAD_BYTES };
        let Decoded::Whole { item: line, used } = native::line(buffer, limit)? else { return Ok(Decoded::Partial) };
        let item = if !self.opened {
            Heard::Hello(requests::hello(line)?)
        } else if line.is_empty() {
            Heard::Nothing
        } else {
            let native::Asked { id, request } = requests::request(line, self.role)?;
            Heard::Asked { id, request }
        };
        Ok(Decoded::Whole { item, used })
    }
}
