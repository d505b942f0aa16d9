//! The one switch between languages: what an answering session says of a dialect, and nothing else.
//!
//! A new dialect is a file beside this one, a variant and its lines below.

use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::refusal::Refusal;
use crate::message::relative::RelativeName;
use crate::message::reply::{Have, Reply, Waiting};
use crate::message::request::Request;
use crate::message::version::Tag;
use crate::wire::http::{self, Http};
use crate::wire::native::{self, Hello, Welcome, requests, writing};
use crate::wire::{Decoded, Role};

/// The language of one link.
#[derive(Debug)]
pub enum Dialect {
    /// JSON lines.
    Native(Native),
    /// HTTP.
    Http(Http),
}

/// The native protocol's own memory of a link.
#[derive(Debug)]
pub struct Native {
    opened: bool,
    largest: usize,
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
        let largest = match role {
            Role::Server => limits::JOIN_BYTES,
            Role::Peer => limits::HEAD_BYTES,
        };
        Dialect::Native(Native { opened: false, largest })
    }

    /// HTTP, for a process of this role.
    #[must_use]
    pub fn http(role: Role) -> Dialect {
        Dialect::Http(Http::new(role))
    }

    /// Reads the next item off the front of `buffer`; last words and a dialect's own answers go to `out`.
    ///
    /// # Errors
    /// When the link can't go on.
    pub fn read(&mut self, buffer: &[u8], out: &mut Vec<u8>) -> Result<Decoded<Heard>, Broken> {
        match self {
            Dialect::Native(native) => native.read(buffer).map_err(|native::Fatal(refusal)| {
                writing::write_refusal(None, &refusal, !native.opened, out);
                Broken
            }),
            Dialect::Http(http) => match http.read(buffer, out) {
                Ok(Decoded::Partial) => Ok(Decoded::Partial),
                Ok(Decoded::Whole { item, used }) => {
                    let item = item.map_or(Heard::Nothing, |request| Heard::Asked { id: None, request: Ok(request) });
                    Ok(Decoded::Whole { item, used })
                }
                Ok(Decoded::Quiet { .. }) => Ok(Decoded::Partial),
                Err(http::Broken) => Err(Broken),
            },
        }
    }

    /// Writes our opening, where the dialect has one.
    pub fn welcome(&mut self, welcome: &Welcome, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(native) => {
                native.opened = true;
                writing::write_welcome(welcome, out);
            }
            Dialect::Http(_) => {}
        }
    }

    /// Writes an answer that is no file.
    pub fn reply(&mut self, id: Option<u64>, reply: &Reply, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_reply(id, reply, out),
            Dialect::Http(http) => http.reply(reply, out),
        }
    }

    /// Writes a no.
    pub fn refuse(&mut self, id: Option<u64>, refusal: &Refusal, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_refusal(id, refusal, false, out),
            Dialect::Http(http) => http.refuse(refusal, out),
        }
    }

    /// Writes that an answer has to wait, where the dialect can say so.
    pub fn waiting(&mut self, id: Option<u64>, waiting: Waiting, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_waiting(id, waiting, out),
            Dialect::Http(_) => {}
        }
    }

    /// Settles how a file that may be sent goes out.
    pub fn begin(&mut self, name: &RelativeName, size: u64, tag: Tag, out: &mut Vec<u8>) -> Delivery {
        match self {
            Dialect::Native(_) => Delivery::Pieces,
            Dialect::Http(http) => match http.begin(name, size, tag, out) {
                http::Begin::Bytes(range) => Delivery::Stream(range),
                http::Begin::Done => Delivery::Done,
            },
        }
    }

    /// Writes that more pieces are there, where the dialect can say so.
    pub fn have(&mut self, have: &Have, out: &mut Vec<u8>) {
        match self {
            Dialect::Native(_) => writing::write_have(have, out),
            Dialect::Http(_) => {}
        }
    }

    /// True when the link ends behind the answers given so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Dialect::Native(_) => false,
            Dialect::Http(http) => http.has_ended(),
        }
    }

    /// True when a waiting asker can be told so; one that can't is not left waiting for ever.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Dialect::Native(_))
    }
}

impl Native {
    fn read(&mut self, buffer: &[u8]) -> Result<Decoded<Heard>, native::Fatal> {
        let limit = if self.opened { self.largest } else { limits::HEAD_BYTES };
        let Decoded::Whole { item: line, used } = native::line(buffer, limit)? else { return Ok(Decoded::Partial) };
        let item = if !self.opened {
            Heard::Hello(requests::hello(line)?)
        } else if line.is_empty() {
            Heard::Nothing
        } else {
            let native::Asked { id, request } = requests::request(line)?;
            Heard::Asked { id, request }
        };
        Ok(Decoded::Whole { item, used })
    }
}
