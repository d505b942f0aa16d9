//! The one switch between dialects for the answering side.
//!
//! A new dialect is a file beside this one, a variant and its lines below.

use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::http::host::HostNames;
use crate::protocol::http::{self, Http};
use crate::protocol::legacy::rede::{self, Rede};
use crate::protocol::legacy::uc3m::{self, Uc3m};
use crate::protocol::legacy::ufabc_json::{self, UfabcJson};
use crate::protocol::native::decode_request;
use crate::protocol::native::encode;
use crate::protocol::native::fast_path;
use crate::protocol::native::{self, Hello, Welcome};
use crate::protocol::request::Request;
use crate::protocol::response::{Have, ProviderRef, Response, WaitingReason};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyChunk, Role};

/// The language of one link. Nearly all links are those of peers, and an idle one should be small: what others need stands elsewhere.
#[derive(Debug)]
pub enum Codec {
    /// JSON lines.
    Native(Native),
    /// HTTP.
    Http(Box<Http>),
    /// UC3M, in one of its editions.
    Uc3m(Box<Uc3m>),
    /// ufabc-json's JSON.
    UfabcJson(Box<UfabcJson>),
    /// rede-p2p's words.
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
pub enum Incoming {
    /// The other side opened, and wants our opening.
    Hello(Hello),
    /// A request, or why it can't be understood.
    Asked {
        /// What its answer must carry.
        id: Option<u64>,
        /// The request.
        request: Result<Request, ErrorReply>,
    },
    /// Something that needs no answer of ours: an empty line, or a request that the dialect answered itself.
    Nothing,
}

/// How a file's bytes go out.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// One head before each piece; [`Codec::reply`] writes them.
    Pieces,
    /// One head, which was written, then these bytes.
    Stream(ByteRange),
    /// These, one after the other.
    Spoken(Vec<LegacyChunk>),
    /// The head said all.
    Done,
}

/// The link can't go on; its last words were written.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolError;

impl Codec {
    /// The native protocol, for a process of this role.
    #[must_use]
    pub fn native(role: Role) -> Codec {
        Codec::Native(Native { opened: false, role })
    }

    /// HTTP, for a process of this role that may be asked under these names.
    #[must_use]
    pub fn http(role: Role, hosts: HostNames, from_loopback: bool) -> Codec {
        Codec::Http(Box::new(Http::reached(role, hosts, from_loopback)))
    }

    /// An old wire, for a process of this role.
    #[must_use]
    pub fn old(role: Role, tongue: LegacyProfile) -> Codec {
        match tongue {
            LegacyProfile::UfabcJson => Codec::UfabcJson(Box::new(UfabcJson::new(role))),
            LegacyProfile::Rede => Codec::Rede(Box::new(Rede::new(role))),
            _ => Codec::Uc3m(Box::new(Uc3m::new(role, tongue))),
        }
    }

    /// Reads the next item off the front of `buffer`; last words and a dialect's own answers go to `out`.
    ///
    /// # Errors
    /// When the link can't go on.
    pub fn read(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Incoming>, ProtocolError> {
        let asked = |request| Incoming::Asked { id: None, request };
        match self {
            Codec::Native(native) => native.read(buffer).map_err(|native::NativeError(refusal)| {
                encode::write_refusal(None, &refusal, !native.opened, out);
                ProtocolError
            }),
            Codec::Http(http) => match http.read(buffer, out) {
                Ok(decoded) => Ok(decoded
                    .map(|item| item.map_or(Incoming::Nothing, |request| asked(Ok(request))))),
                Err(http::HttpError) => Err(ProtocolError),
            },
            Codec::Uc3m(uc3m) => uc3m
                .read(buffer, out)
                .map(|decoded| decoded.map(asked))
                .map_err(|uc3m::Uc3mError| ProtocolError),
            Codec::UfabcJson(seed) => seed
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|ufabc_json::JsonError| ProtocolError),
            Codec::Rede(rede) => rede
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|rede::RedeError| ProtocolError),
        }
    }

    /// Writes the last words to somebody whose request is not whole and never will be, where the dialect has some.
    pub fn overdue(&mut self, buffer: &[u8], out: &mut Vec<u8>) {
        if let Codec::Uc3m(uc3m) = self {
            uc3m.overdue(buffer, out);
        }
    }

    /// Writes our opening, where the dialect has one.
    pub fn welcome(&mut self, welcome: &Welcome, out: &mut Vec<u8>) {
        if let Codec::Native(native) = self {
            native.opened = true;
            encode::write_welcome(welcome, out);
        }
    }

    /// Writes an answer that is no file.
    pub fn reply(&mut self, id: Option<u64>, reply: &Response, out: &mut Vec<u8>) {
        match self {
            Codec::Native(_) => encode::write_reply(id, reply, out),
            Codec::Http(http) => http.reply(reply, out),
            Codec::Uc3m(uc3m) => uc3m.reply(reply, out),
            Codec::UfabcJson(seed) => seed.reply(reply, out),
            Codec::Rede(rede) => rede.reply(reply, out),
        }
    }

    /// True where an answer of holders can be written straight from where they are known, by [`Codec::found`].
    #[must_use]
    pub fn writes_holders(&self) -> bool {
        matches!(self, Codec::Native(_))
    }

    /// Writes all who have something, where that can be done.
    pub fn found<'a>(
        &mut self,
        id: Option<u64>,
        holders: impl Iterator<Item = ProviderRef<'a>>,
        out: &mut Vec<u8>,
    ) {
        if self.writes_holders() {
            fast_path::put_found(id, holders, &[], None, out);
        }
    }

    /// What is to be asked on behalf of the asker, whose wire has no pages, so that the answer is whole.
    pub fn next_page(&mut self) -> Option<Request> {
        if let Codec::Rede(rede) = self { rede.next_page() } else { None }
    }

    /// Writes a no.
    pub fn refuse(&mut self, id: Option<u64>, refusal: &ErrorReply, out: &mut Vec<u8>) {
        match self {
            Codec::Native(_) => encode::write_refusal(id, refusal, false, out),
            Codec::Http(http) => http.refuse(refusal, out),
            Codec::Uc3m(uc3m) => uc3m.refuse(refusal, out),
            Codec::UfabcJson(seed) => seed.refuse(refusal, out),
            Codec::Rede(rede) => rede.refuse(refusal, out),
        }
    }

    /// Says that an answer has to wait, where the dialect can say so; `size` is that of the file that is waited for, where it is known.
    pub fn waiting(
        &mut self,
        id: Option<u64>,
        waiting: WaitingReason,
        size: Option<u64>,
        out: &mut Vec<u8>,
    ) -> Vec<LegacyChunk> {
        match self {
            Codec::Native(_) => {
                encode::write_waiting(id, waiting, out);
                Vec::new()
            }
            Codec::UfabcJson(seed) => size.map_or_else(Vec::new, |size| seed.waiting(size)),
            Codec::Http(_) | Codec::Uc3m(_) | Codec::Rede(_) => Vec::new(),
        }
    }

    /// Settles how a file that may be sent goes out.
    pub fn begin(
        &mut self,
        name: &RelativeName,
        size: u64,
        tag: FileVersion,
        modified: Option<i64>,
        out: &mut Vec<u8>,
    ) -> Delivery {
        match self {
            Codec::Native(_) => Delivery::Pieces,
            Codec::Http(http) => match http.begin(name, size, tag, modified, out) {
                http::Begin::Bytes(range) => Delivery::Stream(range),
                http::Begin::Done => Delivery::Done,
            },
            Codec::Uc3m(uc3m) => Delivery::Spoken(uc3m.begin(size)),
            Codec::UfabcJson(seed) => Delivery::Spoken(seed.begin(size)),
            Codec::Rede(rede) => Delivery::Spoken(rede.begin(size)),
        }
    }

    /// Writes what has happened to what SUBSCRIBE `of` waits for, where the dialect can say so.
    pub fn news(&mut self, of: u64, what: &SubscriptionEvent, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_news(of, what, out);
        }
    }

    /// Writes that more pieces are there, where the dialect can say so.
    pub fn have(&mut self, have: &Have, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_have(have, out);
        }
    }

    /// True when the link ends behind the answers given so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Codec::Native(_) => false,
            Codec::Http(http) => http.has_ended(),
            Codec::Uc3m(uc3m) => uc3m.has_ended(),
            Codec::UfabcJson(seed) => seed.has_ended(),
            Codec::Rede(rede) => rede.has_ended(),
        }
    }

    /// True while a request that came after an unanswered one rightly stays unread.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        if let Codec::Http(http) = self { http.is_busy() } else { false }
    }

    /// True when a waiting asker can be told so; one that can't is not left waiting for ever.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Codec::Native(_))
    }

    /// True where a link lasts in silence as long as its owner is there: nothing in that language is a sign of life.
    #[must_use]
    pub fn lasts(&self) -> bool {
        matches!(self, Codec::UfabcJson(_) | Codec::Rede(_))
    }
}

impl Native {
    fn read(&mut self, buffer: &[u8]) -> Result<Decoded<Incoming>, native::NativeError> {
        let limit = if self.opened && self.role == Role::Server {
            limits::JOIN_BYTES
        } else {
            limits::HEAD_BYTES
        };
        let Decoded::Whole { item: line, used } = native::line(buffer, limit)? else {
            return Ok(Decoded::Partial);
        };
        let item = if !self.opened {
            Incoming::Hello(decode_request::hello(line)?)
        } else if line.is_empty() {
            Incoming::Nothing
        } else {
            let native::NumberedRequest { id, request } = decode_request::request(line, self.role)?;
            Incoming::Asked { id, request }
        };
        Ok(Decoded::Whole { item, used })
    }
}
