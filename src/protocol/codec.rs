//! The codec of an inbound connection: the switch between dialects.
//!
//! To add a dialect: a file in this folder, a variant of [`Codec`], and the arms below.

use std::rc::Rc;

use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::http::host::HostNames;
use crate::protocol::http::{self, Http};
use crate::protocol::legacy::music::{self, Music};
use crate::protocol::legacy::napster::{self, Napster};
use crate::protocol::legacy::rede::{self, Rede};
use crate::protocol::legacy::uc3m::{self, Uc3m};
use crate::protocol::legacy::ufabc_json::{self, UfabcJson};
use crate::protocol::member::Member;
use crate::protocol::native::decode_request;
use crate::protocol::native::encode;
use crate::protocol::native::fast_path;
use crate::protocol::native::sliced_files::{SliceStep, SlicedFiles};
use crate::protocol::native::{self, Hello, Welcome};
use crate::protocol::request::Request;
use crate::protocol::response::{Have, ProviderRef, Response, WaitingReason};
use crate::protocol::subscription::SubscriptionEvent;
use crate::protocol::types::account::Key;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::types::rotation::NextKey;
use crate::protocol::{Decoded, LegacyChunk, Role};

/// The codec of one connection. Large variants are boxed: most connections are idle native ones.
#[derive(Debug)]
pub enum Codec {
    /// JSON lines.
    Native(Native),
    /// HTTP.
    Http(Box<Http>),
    /// UC3M, in one of its editions.
    Uc3m(Box<Uc3m>),
    /// ufabc-json.
    UfabcJson(Box<UfabcJson>),
    /// rede-p2p.
    Rede(Box<Rede>),
    /// music-udp.
    Music(Music),
    /// napster-ufabc, in any of its forms.
    Napster(Box<Napster>),
}

/// State of the native protocol.
#[derive(Debug)]
pub struct Native {
    opened: bool,
    role: Role,
    /// The long line at the front of the buffer, whose files are decoded in slices.
    sliced: Option<Box<SlicedFiles>>,
}

/// A decoded item.
#[derive(Debug, PartialEq, Eq)]
pub enum Incoming {
    /// The handshake of the other side; ours must follow.
    Hello(Hello),
    /// A request, or the error that answers it.
    Request {
        /// The id that the response repeats.
        id: Option<u64>,
        /// The request.
        request: Result<Request, ErrorReply>,
    },
    /// Nothing to answer: an empty line, or a request that the codec has answered already.
    Nothing,
}

/// How the bytes of a file are sent.
#[derive(Debug, PartialEq, Eq)]
pub enum Delivery {
    /// As pieces, each with a header by [`Codec::reply`].
    Pieces,
    /// As one stream behind the header that was written.
    Stream(ByteRange),
    /// These chunks in order.
    Chunks(Vec<LegacyChunk>),
    /// The header was the whole response.
    Done,
}

/// The connection must close; its last bytes were written.
#[derive(Debug, PartialEq, Eq)]
pub struct ProtocolError;

impl Codec {
    /// The native codec of a process with this role.
    #[must_use]
    pub fn native(role: Role) -> Codec {
        Codec::Native(Native { opened: false, role, sliced: None })
    }

    /// The HTTP codec of a process with this role that is reachable under these host names, and
    /// by the certificate of the operator under this one.
    #[must_use]
    pub fn http(role: Role, hosts: HostNames, from_loopback: bool, site: Option<Rc<str>>) -> Codec {
        Codec::Http(Box::new(Http::reached(role, hosts, from_loopback).with_site(site)))
    }

    /// A legacy codec of a process with this role.
    #[must_use]
    pub fn legacy(role: Role, profile: LegacyProfile) -> Codec {
        match profile {
            LegacyProfile::UfabcJson => Codec::UfabcJson(Box::new(UfabcJson::new(role))),
            LegacyProfile::Rede => Codec::Rede(Box::new(Rede::new(role))),
            LegacyProfile::MusicUdp => Codec::Music(Music::new(role)),
            LegacyProfile::NapsterUfabc => Codec::Napster(Box::new(Napster::new(role))),
            _ => Codec::Uc3m(Box::new(Uc3m::new(role, profile))),
        }
    }

    /// The codec of a peer that speaks first, as its requester is silent; the words go to `out`.
    #[must_use]
    pub fn greeting(out: &mut Vec<u8>) -> Codec {
        Codec::Napster(Box::new(Napster::greeting(out)))
    }

    /// As [`Codec::read`], within `work` in bytes of long lines; every call makes progress. `None`
    /// while a line is incomplete: the next call continues, with the same bytes at the front.
    ///
    /// # Errors
    /// When the connection must close.
    pub fn read_within(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
        work: &mut usize,
    ) -> Result<Option<Decoded<Incoming>>, ProtocolError> {
        if let Codec::Native(native) = self
            && let Some(decoded) = native.read_slice(buffer, work)
        {
            return Ok(decoded);
        }
        self.read(buffer, out).map(Some)
    }

    /// True while a long line is decoded in slices.
    #[must_use]
    pub fn is_slicing(&self) -> bool {
        matches!(self, Codec::Native(Native { sliced: Some(_), .. }))
    }

    /// Decode the next item from the front of `buffer`. Errors, and responses of the codec itself,
    /// go to `out`.
    ///
    /// # Errors
    /// When the connection must close.
    pub fn read(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Incoming>, ProtocolError> {
        let asked = |request| Incoming::Request { id: None, request };
        match self {
            Codec::Native(native) => native.read(buffer).map_err(|native::NativeError(refusal)| {
                encode::write_error(None, &refusal, !native.opened, out);
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
            Codec::UfabcJson(json) => json
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|ufabc_json::JsonError| ProtocolError),
            Codec::Rede(rede) => rede
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|rede::RedeError| ProtocolError),
            Codec::Music(music) => music
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|music::MusicError| ProtocolError),
            Codec::Napster(napster) => napster
                .read(buffer)
                .map(|decoded| decoded.map(asked))
                .map_err(|napster::NapsterError| ProtocolError),
        }
    }

    /// Write the dialect's last bytes to a client whose request never became complete.
    pub fn on_timeout(&mut self, buffer: &[u8], out: &mut Vec<u8>) {
        if let Codec::Uc3m(uc3m) = self {
            uc3m.on_timeout(buffer, out);
        }
    }

    /// Write our side of the handshake, if the dialect has one.
    pub fn welcome(&mut self, welcome: &Welcome, out: &mut Vec<u8>) {
        if let Codec::Native(native) = self {
            native.opened = true;
            encode::write_welcome(welcome, out);
        }
    }

    /// Write the error that takes the place of our side of the handshake, if the dialect has one.
    pub fn refuse_opening(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_error(None, refusal, true, out);
        }
    }

    /// Write a response other than a file.
    pub fn reply(&mut self, id: Option<u64>, reply: &Response, out: &mut Vec<u8>) {
        match self {
            Codec::Native(_) => encode::write_reply(id, reply, out),
            Codec::Http(http) => http.reply(reply, out),
            Codec::Uc3m(uc3m) => uc3m.reply(reply, out),
            Codec::UfabcJson(json) => json.reply(reply, out),
            Codec::Rede(rede) => rede.reply(reply, out),
            Codec::Music(music) => music.reply(reply, out),
            Codec::Napster(napster) => napster.reply(reply, out),
        }
    }

    /// True when [`Codec::write_found`] encodes providers straight from the tables of the index.
    #[must_use]
    pub fn has_fast_path(&self) -> bool {
        matches!(self, Codec::Native(_))
    }

    /// Write a search result by the fast path; a no-op without one.
    pub fn write_found<'a>(
        &mut self,
        id: Option<u64>,
        holders: impl Iterator<Item = ProviderRef<'a>>,
        out: &mut Vec<u8>,
    ) {
        if self.has_fast_path() {
            fast_path::put_found(id, holders, &[], None, false, out);
        }
    }

    /// As [`Codec::write_found`], with providers that are encoded, each with a comma behind it.
    pub fn write_found_encoded(&self, id: Option<u64>, providers: [&[u8]; 2], out: &mut Vec<u8>) {
        if self.has_fast_path() {
            fast_path::put_found_encoded(id, providers, out);
        }
    }

    /// The request for the next page, for a client whose protocol has no pages.
    pub fn next_page(&mut self) -> Option<Request> {
        if let Codec::Rede(rede) = self { rede.next_page() } else { None }
    }

    /// Write an error.
    pub fn refuse(&mut self, id: Option<u64>, refusal: &ErrorReply, out: &mut Vec<u8>) {
        match self {
            Codec::Native(_) => encode::write_error(id, refusal, false, out),
            Codec::Http(http) => http.refuse(refusal, out),
            Codec::Uc3m(uc3m) => uc3m.refuse(refusal, out),
            Codec::UfabcJson(json) => json.refuse(refusal, out),
            Codec::Rede(rede) => rede.refuse(refusal, out),
            Codec::Music(music) => music.refuse(refusal, out),
            Codec::Napster(napster) => napster.refuse(refusal, out),
        }
    }

    /// Report that a response waits, if the dialect can. `size` is that of the file, when known.
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
            Codec::UfabcJson(json) => size.map_or_else(Vec::new, |size| json.waiting(size)),
            Codec::Http(_)
            | Codec::Uc3m(_)
            | Codec::Rede(_)
            | Codec::Music(_)
            | Codec::Napster(_) => Vec::new(),
        }
    }

    /// True when the response to the current request is a header alone.
    #[must_use]
    pub fn answers_by_head(&self, size: u64, tag: FileVersion, modified: Option<i64>) -> bool {
        match self {
            Codec::Http(http) => http.answers_by_head(size, tag, modified),
            Codec::Music(music) => music.answers_by_head(),
            _ => false,
        }
    }

    /// Choose how a file is sent, and write its header.
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
            Codec::Uc3m(uc3m) => Delivery::Chunks(uc3m.begin(size)),
            Codec::UfabcJson(json) => Delivery::Chunks(json.begin(size)),
            Codec::Rede(rede) => Delivery::Chunks(rede.begin(size)),
            Codec::Napster(napster) => Delivery::Chunks(napster.begin(name, size)),
            Codec::Music(music) => Delivery::Chunks(music.begin(size)),
        }
    }

    /// Write an event of the subscription with id `of`, if the dialect has events.
    pub fn event(&mut self, of: u64, what: &SubscriptionEvent, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_event(of, what, out);
        }
    }

    /// Write the event that reports revoked keys, if the dialect has events.
    pub fn revoked(&mut self, keys: &[Key], until: u64, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_revoked(keys, until, out);
        }
    }

    /// Write the event that announces the next key of the server, if the dialect has events.
    pub fn next_key(&mut self, next: &NextKey, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_next_key(next, out);
        }
    }

    /// Write the event that reports the admission of the client's key, if the dialect has events.
    pub fn admitted(&mut self, member: &Member, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_admitted(member, out);
        }
    }

    /// Write a HAVE event, if the dialect has events.
    pub fn have(&mut self, have: &Have, out: &mut Vec<u8>) {
        if let Codec::Native(_) = self {
            encode::write_have(have, out);
        }
    }

    /// True when the connection closes after the responses written so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        match self {
            Codec::Native(_) => false,
            Codec::Http(http) => http.has_ended(),
            Codec::Uc3m(uc3m) => uc3m.has_ended(),
            Codec::UfabcJson(json) => json.has_ended(),
            Codec::Rede(rede) => rede.has_ended(),
            Codec::Music(music) => music.has_ended(),
            Codec::Napster(napster) => napster.has_ended(),
        }
    }

    /// True while pipelined requests must wait for the response to the current one.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        if let Codec::Http(http) = self { http.is_busy() } else { false }
    }

    /// True when the client can be told to wait; otherwise the wait is bounded by a timeout.
    #[must_use]
    pub fn can_wait(&self) -> bool {
        matches!(self, Codec::Native(_))
    }

    /// True for dialects without a heartbeat: an idle connection is a live one.
    #[must_use]
    pub fn has_no_heartbeat(&self) -> bool {
        matches!(self, Codec::UfabcJson(_) | Codec::Rede(_) | Codec::Napster(_))
    }
}

impl Native {
    /// Decode a slice of a long line; `None` leaves the buffer to [`Native::read`].
    fn read_slice(&mut self, buffer: &[u8], work: &mut usize) -> Option<Option<Decoded<Incoming>>> {
        if !self.opened || self.role != Role::Server || buffer.len() <= limits::SLICED_BYTES {
            return None;
        }
        let line = native::line(buffer, limits::JOIN_BYTES);
        let Ok(Decoded::Whole { item: line, used }) = line else { return None };
        if line.len() <= limits::SLICED_BYTES {
            return None;
        }
        if self.sliced.is_none() {
            self.sliced = SlicedFiles::begin(line).map(Box::new);
        }
        match self.sliced.as_mut()?.step(line, work, self.role) {
            SliceStep::More => Some(None),
            SliceStep::Done(native::NumberedRequest { id, request }) => {
                self.sliced = None;
                Some(Some(Decoded::Whole { item: Incoming::Request { id, request }, used }))
            }
            SliceStep::Unusual => {
                self.sliced = None;
                *work = 0;
                None
            }
        }
    }

    fn read(&mut self, buffer: &[u8]) -> Result<Decoded<Incoming>, native::NativeError> {
        let limit = if self.opened && self.role == Role::Server {
            limits::JOIN_BYTES
        } else {
            limits::HEADER_BYTES
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
            Incoming::Request { id, request }
        };
        Ok(Decoded::Whole { item, used })
    }
}
