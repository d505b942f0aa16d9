//! Decode UC3M requests of any edition: an operation, then NUL-terminated fields, with the date at
//! either end or absent.
//!
//! ```text
//! OPERATION (\n | \0 | \r\n)   [date \0]   field \0 ...   [date \0]
//! ```
//!
//! A request in the exact form of its edition is complete with its last NUL. Only a request without
//! its date may still continue.
//!
//! In editions with dates the first field is the date, whatever its form: a client without a date
//! service sends `FECHA NO DISPONIBLE` there. The number of fields tells such a date from a user.

use std::net::IpAddr;

use crate::limits;
use crate::protocol::Role;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::legacy::uc3m::profile::Profile;
use crate::protocol::request::{Fetch, Request};
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::account::{
    AccountOp, Authority, Line, METHODS, Method, Operation, Publication, UserName,
};
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// The date of clients whose date service is down.
const NO_DATE: &str = "FECHA NO DISPONIBLE";

/// A UC3M operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Uc3mOp {
    /// An operation of the index; the look-up is called GET_FILE there.
    Index(Method),
    /// Fetch a file from a peer.
    GetFile,
}

/// Progress of decoding.
#[derive(Debug)]
pub enum Read<'a> {
    /// Incomplete.
    Partial,
    /// Complete.
    Whole(Uc3mRequest<'a>),
    /// Complete but for a date, which may never follow.
    Quiet(Uc3mRequest<'a>),
}

/// A decoded request.
#[derive(Debug)]
pub struct Uc3mRequest<'a> {
    /// The operation.
    pub verb: Uc3mOp,
    date: Option<&'a [u8]>,
    /// As many as the operation has.
    fields: Vec<&'a [u8]>,
}

/// The reason for which a request can't be decoded.
#[derive(Debug, PartialEq, Eq)]
pub enum Lost {
    /// The operation does not exist.
    Unknown,
    /// A field of this operation is too long.
    Long(Uc3mOp),
}

impl Uc3mOp {
    /// The number of fields besides the date.
    fn fields(self) -> usize {
        match self {
            Uc3mOp::Index(Method::Publish) => 3,
            Uc3mOp::Index(
                Method::Connect | Method::Delete | Method::ListContent | Method::FindUser,
            ) => 2,
            Uc3mOp::Index(
                Method::Register | Method::Unregister | Method::Disconnect | Method::ListUsers,
            )
            | Uc3mOp::GetFile => 1,
        }
    }

    /// True when editions with dates send one with this operation.
    fn is_dated(self) -> bool {
        !matches!(self, Uc3mOp::GetFile | Uc3mOp::Index(Method::FindUser))
    }

    /// The status of an error. The look-up, which no edition specifies, has the status of
    /// LIST_CONTENT: both concern another user.
    #[must_use]
    pub fn status(self, code: ErrorCode) -> u8 {
        match (self, code) {
            (Uc3mOp::Index(Method::Register), ErrorCode::Taken)
            | (Uc3mOp::GetFile, ErrorCode::NotFound) => 1,
            (Uc3mOp::Index(Method::Register) | Uc3mOp::GetFile, _) => 2,
            (Uc3mOp::Index(_), ErrorCode::NoUser) => 1,
            (Uc3mOp::Index(Method::Connect), ErrorCode::Connected) => 2,
            (Uc3mOp::Index(Method::Unregister | Method::Connect), _) => self.other(),
            (Uc3mOp::Index(_), ErrorCode::NotConnected) => 2,
            (Uc3mOp::Index(Method::Publish), ErrorCode::Published)
            | (Uc3mOp::Index(Method::Delete), ErrorCode::NotPublished)
            | (Uc3mOp::Index(Method::ListContent | Method::FindUser), ErrorCode::NoRemoteUser) => 3,
            _ => self.other(),
        }
    }

    /// The status for an error without a status of its own.
    #[must_use]
    pub fn other(self) -> u8 {
        match self {
            Uc3mOp::Index(Method::Register | Method::Unregister) | Uc3mOp::GetFile => 2,
            Uc3mOp::Index(Method::Connect | Method::Disconnect | Method::ListUsers) => 3,
            Uc3mOp::Index(
                Method::Publish | Method::Delete | Method::ListContent | Method::FindUser,
            ) => 4,
        }
    }

    /// Parse the name of an operation, ignoring case, underscores and blanks.
    fn parse(role: Role, word: &[u8]) -> Option<Uc3mOp> {
        let word = word.strip_suffix(b"\r").unwrap_or(word);
        if same(word, b"GET_FILE") {
            return Some(match role {
                Role::Server => Uc3mOp::Index(Method::FindUser),
                Role::Peer => Uc3mOp::GetFile,
            });
        }
        let known = METHODS.iter().filter(|(method, _)| *method != Method::FindUser);
        known
            .clone()
            .find(|(_, known)| same(word, known.as_bytes()))
            .map(|(method, _)| Uc3mOp::Index(*method))
    }
}

/// True for equal letters.
fn same(one: &[u8], other: &[u8]) -> bool {
    let letters = |word: &'_ [u8]| {
        word.iter()
            .filter(|byte| !matches!(byte, b'_' | b' '))
            .map(u8::to_ascii_uppercase)
            .collect::<Vec<u8>>()
    };
    letters(one) == letters(other)
}

/// The operation that `buffer` starts with, complete or not.
#[must_use]
pub fn begun(role: Role, buffer: &[u8]) -> Option<Uc3mOp> {
    verb(role, buffer).ok().flatten().map(|(verb, _)| verb)
}

/// Decode a request from the front of `buffer`.
///
/// # Errors
/// When no further bytes can complete the request.
pub fn read(role: Role, profile: Profile, buffer: &[u8]) -> Result<Read<'_>, Lost> {
    let Some((verb, rest)) = verb(role, buffer)? else { return Ok(Read::Partial) };
    let mut rest = Fields { rest };
    let long = |Long| Lost::Long(verb);
    let Some(asked) = asked(verb, &mut rest).map_err(long)? else { return Ok(Read::Partial) };
    if asked.date.is_some() {
        return Ok(Read::Whole(asked));
    }
    let first = asked.fields.first().copied().unwrap_or_default();
    if profile.dated && (verb.is_dated() || reads_as_date(first)) {
        return read_dated(asked, &mut rest).map_err(long);
    }
    // Anything but a date is ignored here.
    let last = rest.next_of(verb).ok().flatten();
    Ok(Read::Whole(Uc3mRequest { date: last.filter(|last| is_date(last)), ..asked }))
}

/// The request of an edition with dates, when no usual date comes first: a date of another form is
/// the first field, or a usual one the last, or none follows.
fn read_dated<'a>(asked: Uc3mRequest<'a>, rest: &mut Fields<'a>) -> Result<Read<'a>, Long> {
    match rest.next_of(asked.verb)? {
        Some(last) if reads_as_date(last) => {
            Ok(Read::Whole(Uc3mRequest { date: Some(last), ..asked }))
        }
        Some(last) => {
            let Uc3mRequest { verb, mut fields, .. } = asked;
            let date = Some(fields.remove(0));
            fields.push(last);
            Ok(Read::Whole(Uc3mRequest { verb, date, fields }))
        }
        // A pause within a request must not turn its date into a user.
        None if asked.verb.is_dated()
            && asked.fields.first().is_some_and(|first| is_no_user(first)) =>
        {
            Ok(Read::Partial)
        }
        None if rest.begins_with_text() => Ok(Read::Partial),
        None => Ok(Read::Quiet(asked)),
    }
}

/// The operation and the rest; `None` while its terminator is missing.
fn verb(role: Role, buffer: &[u8]) -> Result<Option<(Uc3mOp, &[u8])>, Lost> {
    let head = &buffer[..buffer.len().min(limits::OPERATION_BYTES)];
    let Some(end) = head.iter().position(|byte| matches!(byte, 0 | b'\n')) else {
        return if head.len() == limits::OPERATION_BYTES { Err(Lost::Unknown) } else { Ok(None) };
    };
    let verb = Uc3mOp::parse(role, &head[..end]).ok_or(Lost::Unknown)?;
    // Some clients send both terminators.
    let rest = match (buffer[end], buffer.get(end + 1)) {
        (b'\n', Some(0)) | (0, Some(b'\n')) => &buffer[end + 2..],
        _ => &buffer[end + 1..],
    };
    Ok(Some((verb, rest)))
}

/// The date, if it comes first, and the fields; `None` while one is missing.
fn asked<'a>(verb: Uc3mOp, rest: &mut Fields<'a>) -> Result<Option<Uc3mRequest<'a>>, Long> {
    let Some(mut first) = rest.next()? else { return Ok(None) };
    let date = is_date(first).then_some(first);
    if date.is_some() {
        let Some(second) = rest.next()? else { return Ok(None) };
        first = second;
    }
    let mut fields = vec![first];
    while fields.len() < verb.fields() {
        // The source address of the connection is more reliable than the client's own claim.
        let Some(next) = rest.next_of(verb)? else { return Ok(None) };
        fields.push(next);
    }
    Ok(Some(Uc3mRequest { verb, date, fields }))
}

/// An iterator over fields.
struct Fields<'a> {
    rest: &'a [u8],
}

/// A field is too long.
struct Long;

impl<'a> Fields<'a> {
    /// The next field without its NUL; `None` while the NUL is missing.
    fn next(&mut self) -> Result<Option<&'a [u8]>, Long> {
        let head = &self.rest[..self.rest.len().min(limits::FIELD_BYTES)];
        match head.iter().position(|byte| *byte == 0) {
            Some(end) => {
                self.rest = &self.rest[end + 1..];
                Ok(Some(&head[..end]))
            }
            None if head.len() == limits::FIELD_BYTES => Err(Long),
            None => Ok(None),
        }
    }

    /// The next field of this operation; CONNECT may name an address beside the port.
    fn next_of(&mut self, verb: Uc3mOp) -> Result<Option<&'a [u8]>, Long> {
        match self.next()? {
            Some(field) if verb == Uc3mOp::Index(Method::Connect) && is_address(field) => {
                self.next()
            }
            other => Ok(other),
        }
    }

    /// True when an incomplete field follows that can't be a date: dates begin with a digit.
    fn begins_with_text(&self) -> bool {
        self.rest.trim_ascii_start().first().is_some_and(|byte| !byte.is_ascii_digit())
    }
}

/// True for an IP address or `localhost`.
fn is_address(field: &[u8]) -> bool {
    field == b"localhost" || str::from_utf8(field).is_ok_and(|text| text.parse::<IpAddr>().is_ok())
}

/// True for a date in the form of the editions, in ISO 8601, or the words in its place.
fn reads_as_date(field: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(field) else { return false };
    let text = text.trim();
    let (day, time) = text.split_once([' ', 'T', 't']).unwrap_or((text, ""));
    let is_time =
        time.trim_start().starts_with(|first: char| first.is_ascii_digit()) && time.contains(':');
    text.eq_ignore_ascii_case(NO_DATE)
        || is_time && (three_numbers(day, '/') || three_numbers(day, '-'))
}

/// True for a field that the clients of this protocol can't have as a user: their commands end
/// names at blanks. Also for a day without a time.
fn is_no_user(field: &[u8]) -> bool {
    field.is_empty()
        || field.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, b'/' | b':'))
        || str::from_utf8(field).is_ok_and(|text| three_numbers(text, '-'))
}

/// True for `n/n/n n:n:n`. No user name contains `/`.
fn is_date(field: &[u8]) -> bool {
    let Ok(text) = str::from_utf8(field) else { return false };
    let Some((day, time)) = text.trim().split_once(' ') else { return false };
    three_numbers(day, '/') && three_numbers(time.trim_start(), ':')
}

fn three_numbers(text: &str, between: char) -> bool {
    let is_number =
        |part: &str| matches!(part.len(), 1..=4) && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split(between).count() == 3 && text.split(between).all(is_number)
}

impl Uc3mRequest<'_> {
    /// The request for a process of this role.
    ///
    /// # Errors
    /// When a field is wrong, or this role does not support the operation.
    pub fn meaning(&self, role: Role, profile: LegacyProfile) -> Result<Request, ErrorReply> {
        match (self.verb, role) {
            (Uc3mOp::GetFile, _) => self.fetch(),
            (Uc3mOp::Index(_), Role::Peer) => Err(ErrorReply::unsupported()),
            (Uc3mOp::Index(method), Role::Server) => Ok(Request::Operation(Operation {
                user: Some(self.user(0)?),
                authority: Authority::Claimed,
                speaks: Some(profile),
                date: self.date.and_then(|date| str::from_utf8(date).ok()).and_then(Line::new),
                op: self.op(method, Profile::of(profile).max_entries())?,
            })),
        }
    }

    fn fetch(&self) -> Result<Request, ErrorReply> {
        // An invalid name is the name of a file that does not exist here.
        let text = self.text(0).map_err(|_| ErrorReply::no_such_file())?;
        if let Some(path) = AbsolutePath::new(text) {
            return Ok(Request::FetchPath(path));
        }
        let name = RelativeName::new(text).map_err(|_| ErrorReply::no_such_file())?;
        Ok(Request::Fetch(Fetch::whole(name)))
    }

    fn op(&self, method: Method, most: usize) -> Result<AccountOp, ErrorReply> {
        Ok(match method {
            Method::Register => AccountOp::Register,
            Method::Unregister => AccountOp::Unregister,
            Method::Connect => AccountOp::Connect { port: Some(self.port(1)?) },
            Method::Disconnect => AccountOp::Disconnect,
            Method::Publish => {
                AccountOp::Publish(Publication { file: self.file(1)?, description: self.line(2)? })
            }
            Method::Delete => AccountOp::Delete(self.file(1)?),
            Method::ListUsers => AccountOp::ListUsers { cursor: None, most },
            Method::ListContent => AccountOp::ListContent { of: self.user(1)?, cursor: None, most },
            Method::FindUser => AccountOp::FindUser { whom: self.user(1)? },
        })
    }

    fn text(&self, place: usize) -> Result<&str, ErrorReply> {
        let field = self.fields.get(place).copied().unwrap_or_default();
        str::from_utf8(field).map_err(|_| ErrorReply::bad_request("a field is no UTF-8"))
    }

    fn user(&self, place: usize) -> Result<UserName, ErrorReply> {
        Ok(UserName::new(self.text(place)?)?)
    }

    fn line(&self, place: usize) -> Result<Line, ErrorReply> {
        Line::new(self.text(place)?)
            .ok_or_else(|| ErrorReply::bad_request("a field has what can't be shown"))
    }

    fn file(&self, place: usize) -> Result<Line, ErrorReply> {
        Some(self.line(place)?)
            .filter(|file| !file.is_empty())
            .ok_or_else(|| ErrorReply::bad_request("the name of the file is missing"))
    }

    fn port(&self, place: usize) -> Result<u16, ErrorReply> {
        let text = Some(self.text(place)?.trim())
            .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let port = text.and_then(|text| text.parse().ok()).filter(|port| *port != 0);
        port.ok_or_else(|| ErrorReply::bad_request("that is no port"))
    }
}
