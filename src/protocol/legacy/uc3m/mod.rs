//! The UC3M protocols: one operation per connection, NUL-terminated strings, a one-digit status. An
//! index answers eight operations and a look-up, a peer answers GET_FILE.
//!
//! No request names its edition, so each edition is a [`LegacyProfile`] with a port of its own.
//! `profile` holds the differences; `decode` accepts every edition, `encode` writes exactly one.

mod decode;
mod encode;
mod profile;

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::legacy::uc3m::decode::{Lost, Read, Uc3mOp};
use crate::protocol::legacy::uc3m::profile::{FileSize, Profile, StatusForm};
use crate::protocol::request::Request;
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::{Decoded, LegacyAnswer, LegacyChunk, Role};

/// The digits of 2^64.
const SIZE_DIGITS: usize = 20;
/// Header of profile 2020 in the form with a length: status, NUL, int32.
const LENGTH_FORM: usize = 6;

/// The UC3M codec of one connection.
#[derive(Debug)]
pub struct Uc3m {
    role: Role,
    profile: LegacyProfile,
    format: Profile,
    state: Uc3mState,
}

/// Progress of the operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Uc3mState {
    /// No complete request yet.
    Listening,
    /// A complete request, which a date may still follow.
    MayGoOn(Uc3mOp),
    /// The request waits for its response.
    Asked(Uc3mOp),
    /// The response is written.
    Ended,
}

/// The connection must close. For a known operation its status for "any other error" was written.
#[derive(Debug, PartialEq, Eq)]
pub struct Uc3mError;

impl Uc3m {
    /// The codec of a process with this role, for one of the `Uc3m…` profiles.
    #[must_use]
    pub fn new(role: Role, profile: LegacyProfile) -> Uc3m {
        Uc3m { role, profile, format: Profile::of(profile), state: Uc3mState::Listening }
    }

    /// Decode the request of the connection. A wrong field is an error to write with
    /// [`refuse`](Uc3m::refuse). Bytes behind the request are consumed and ignored.
    ///
    /// # Errors
    /// When the operation is unknown or has no end: then no status is written, since its form is
    /// unknown. Also when a field is too long.
    pub fn read(
        &mut self,
        buffer: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<Decoded<Result<Request, ErrorReply>>, Uc3mError> {
        if matches!(self.state, Uc3mState::Asked(_) | Uc3mState::Ended) {
            return Ok(Decoded::Partial);
        }
        let used = buffer.len();
        match decode::read(self.role, self.format, buffer) {
            Ok(Read::Partial) => {
                // More of the request has come: no longer complete without the rest.
                if decode::begun(self.role, buffer).is_some() {
                    self.state = Uc3mState::Listening;
                }
                Ok(Decoded::Partial)
            }
            Ok(Read::Whole(asked)) => {
                self.state = Uc3mState::Asked(asked.verb);
                Ok(Decoded::Whole { item: asked.meaning(self.role, self.profile), used })
            }
            Ok(Read::Quiet(asked)) => {
                self.state = Uc3mState::MayGoOn(asked.verb);
                Ok(Decoded::Quiet { item: asked.meaning(self.role, self.profile), used })
            }
            // A date behind its request is ignored.
            Err(Lost::Unknown) if self.state != Uc3mState::Listening => Ok(Decoded::Partial),
            Err(Lost::Unknown) => {
                self.state = Uc3mState::Ended;
                Err(Uc3mError)
            }
            Err(Lost::Long(verb)) => {
                self.end(verb.other(), out);
                Err(Uc3mError)
            }
        }
    }

    /// Answer a request that is incomplete at the deadline, or at the end of the client's side: the
    /// status for "any other error" once `buffer` names the operation.
    pub fn on_timeout(&mut self, buffer: &[u8], out: &mut Vec<u8>) {
        if self.state == Uc3mState::Listening
            && let Some(verb) = decode::begun(self.role, buffer)
        {
            self.end(verb.other(), out);
        }
        self.state = Uc3mState::Ended;
    }

    /// Write a response. A response without a form in these protocols becomes the status for "any
    /// other error".
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        let Some(verb) = self.verb() else { return };
        self.state = Uc3mState::Ended;
        if !encode::reply(self.format, reply, out) {
            let status = match reply {
                // The user is online, at an address that this protocol can't express.
                Response::User(_) => verb.status(ErrorCode::NotConnected),
                _ => verb.other(),
            };
            self.format.status(status, out);
        }
    }

    /// Write an error as the status of the operation.
    pub fn refuse(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        if let Some(verb) = self.verb() {
            self.end(verb.status(refusal.code), out);
        }
    }

    /// Send a file of `size` bytes.
    pub fn begin(&mut self, size: u64) -> Vec<LegacyChunk> {
        self.state = Uc3mState::Ended;
        let mut head = Vec::new();
        // An int32 has no size beyond 2 GiB: such a file is refused, not cut.
        let int32 = i32::try_from(size).ok();
        let fits = self.format.size != FileSize::Int32 || int32.is_some();
        let Some(all) = ByteRange::new(0, size).filter(|_| fits) else {
            self.format.status(Uc3mOp::GetFile.other(), &mut head);
            return vec![LegacyChunk::Data(head)];
        };
        self.format.status(0, &mut head);
        match self.format.size {
            FileSize::Absent => {}
            FileSize::Text => encode::string(&size.to_string(), &mut head),
            FileSize::Int32 => {
                head.push(0);
                head.extend(int32.unwrap_or_default().to_be_bytes());
            }
        }
        vec![LegacyChunk::Data(head), LegacyChunk::File(all)]
    }

    /// True once the single response of the connection is written.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == Uc3mState::Ended
    }

    /// The operation that waits for its response.
    fn verb(&self) -> Option<Uc3mOp> {
        match self.state {
            Uc3mState::MayGoOn(verb) | Uc3mState::Asked(verb) => Some(verb),
            Uc3mState::Listening | Uc3mState::Ended => None,
        }
    }

    fn end(&mut self, status: u8, out: &mut Vec<u8>) {
        self.format.status(status, out);
        self.state = Uc3mState::Ended;
    }
}

/// Request a file; the same in all editions.
pub fn ask_file(_profile: LegacyProfile, name: &str, out: &mut Vec<u8>) {
    encode::string("GET_FILE", out);
    encode::string(name, out);
}

/// Decode the message before the bytes of the file.
///
/// The specification of profile 2020 has a digit and the bytes. Its one real implementation sends
/// `0`, NUL, the length as a big-endian int32, and the bytes. A file that starts with NUL looks
/// like the second form, so the number of bytes decides: the second form has exactly its length.
///
/// # Errors
/// The refusal of the peer, or a message that can't be decoded.
pub fn decode_answer(
    profile: LegacyProfile,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    if profile == LegacyProfile::Uc3m2020 && buffer.first() == Some(&b'0') {
        return match buffer[1..] {
            [] | [0] | [0, _] | [0, _, _] | [0, _, _, _] => Ok(Decoded::Partial),
            [0, a, b, c, d, ref bytes @ ..] => Ok(match u32::from_be_bytes([a, b, c, d]) {
                // An int32 length is not negative.
                length if i32::try_from(length).is_err() => {
                    Decoded::Whole { item: LegacyAnswer::Bytes(None), used: 1 }
                }
                length if bytes.len() > length as usize => {
                    Decoded::Whole { item: LegacyAnswer::Bytes(None), used: 1 }
                }
                length if length <= limits::UC3M_HELD_BYTES => Decoded::Partial,
                length => {
                    Decoded::Whole { item: LegacyAnswer::Guess(length.into()), used: LENGTH_FORM }
                }
            }),
            [_, ..] => decode_plain_answer(profile, buffer),
        };
    }
    decode_plain_answer(profile, buffer)
}

/// The meaning of `buffer` when nothing follows. [`Decoded::Quiet`]: a short file of the plain
/// form, or a truncated file of the form with a length.
#[must_use]
pub fn decode_at_end(buffer: &[u8]) -> Decoded<LegacyAnswer> {
    match *buffer {
        [b'0'] => Decoded::Whole { item: LegacyAnswer::Bytes(Some(0)), used: 1 },
        [b'0', 0, a, b, c, d, ref bytes @ ..]
            if u64::from(u32::from_be_bytes([a, b, c, d])) == bytes.len() as u64 =>
        {
            Decoded::Whole {
                item: LegacyAnswer::Bytes(Some(bytes.len() as u64)),
                used: LENGTH_FORM,
            }
        }
        [b'0', 0, ..] => Decoded::Quiet { item: LegacyAnswer::Bytes(None), used: 1 },
        _ => Decoded::Partial,
    }
}

/// Decode the message before the bytes, without looking for a length.
///
/// # Errors
/// As [`decode_answer`].
pub fn decode_plain_answer(
    profile: LegacyProfile,
    buffer: &[u8],
) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    let format = Profile::of(profile);
    let Some((&status, rest)) = buffer.split_first() else { return Ok(Decoded::Partial) };
    // A refusal counts before its NUL: some peers close the connection without sending the NUL.
    match format.number(status) {
        Some(0) => {}
        Some(1) => return Err(ErrorReply::no_such_file()),
        Some(_) => {
            return Err(ErrorReply::new(ErrorCode::Refused, "the peer does not give the file"));
        }
        None => return Err(garbled()),
    }
    let rest = match (format.status, rest.split_first()) {
        (StatusForm::Digit | StatusForm::Raw, _) => rest,
        (StatusForm::DigitNul, Some((0, rest))) => rest,
        (StatusForm::DigitNul, Some(_)) => return Err(garbled()),
        (StatusForm::DigitNul, None) => return Ok(Decoded::Partial),
    };
    let head = buffer.len() - rest.len();
    let found = match format.size {
        FileSize::Absent => {
            return Ok(Decoded::Whole { item: LegacyAnswer::Bytes(None), used: head });
        }
        FileSize::Text => size(rest)?.map(|(size, digits)| (size, digits + 1)),
        FileSize::Int32 => int32(rest)?.map(|size| (size, LENGTH_FORM - 1)),
    };
    Ok(found.map_or(Decoded::Partial, |(size, used)| Decoded::Whole {
        item: LegacyAnswer::Bytes(Some(size)),
        used: head + used,
    }))
}

/// A size behind its NUL; `None` while incomplete.
fn int32(rest: &[u8]) -> Result<Option<u64>, ErrorReply> {
    match *rest {
        [0, a, b, c, d, ..] => match u64::try_from(i32::from_be_bytes([a, b, c, d])) {
            Ok(size) => Ok(Some(size)),
            Err(_) => Err(garbled()),
        },
        [] | [0, ..] => Ok(None),
        [_, ..] => Err(garbled()),
    }
}

/// A size and its number of digits; `None` while the NUL is missing.
fn size(rest: &[u8]) -> Result<Option<(u64, usize)>, ErrorReply> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if digits > SIZE_DIGITS {
        return Err(garbled());
    }
    match rest.get(digits) {
        None => return Ok(None),
        Some(0) if digits > 0 => {}
        Some(_) => return Err(garbled()),
    }
    let size =
        str::from_utf8(&rest[..digits]).ok().and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    if size > limits::DOWNLOAD_BYTES {
        return Err(ErrorReply::new(ErrorCode::TooLarge, "the peer names a size that no file has"));
    }
    Ok(Some((size, digits)))
}

fn garbled() -> ErrorReply {
    ErrorReply::bad_request("the peer's response breaks the protocol")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::{Fetch, Selector};
    use crate::protocol::types::account::{
        AccountOp, Authority, Line, Method, Online, Operation, Publication, UserName,
    };
    use crate::protocol::types::relative_path::RelativeName;
    use proptest::prelude::{any, prop, proptest};

    const ALL: [LegacyProfile; 6] = [
        LegacyProfile::Uc3m2020,
        LegacyProfile::Uc3m2020Int,
        LegacyProfile::Uc3m2024,
        LegacyProfile::Uc3m2024Plain,
        LegacyProfile::Uc3m2025,
        LegacyProfile::Uc3mFixed,
    ];
    const DATED: [LegacyProfile; 4] = [
        LegacyProfile::Uc3m2024,
        LegacyProfile::Uc3m2024Plain,
        LegacyProfile::Uc3m2025,
        LegacyProfile::Uc3mFixed,
    ];
    const DATE: &str = "12/05/2024 10:07:09";

    fn user(name: &str) -> UserName {
        UserName::new(name).unwrap()
    }

    fn line(text: &str) -> Line {
        Line::new(text).unwrap()
    }

    fn publication(file: &str, description: &str) -> Publication {
        Publication { file: line(file), description: line(description) }
    }

    /// Each operation of an index, its fields on the wire, and the decoded operation.
    fn operations(profile: LegacyProfile) -> Vec<(&'static str, &'static str, AccountOp)> {
        let most = if profile == LegacyProfile::Uc3mFixed { 9_999 } else { 50_000 };
        vec![
            ("REGISTER", "ana\0", AccountOp::Register),
            ("UNREGISTER", "ana\0", AccountOp::Unregister),
            ("CONNECT", "ana\x004000\0", AccountOp::Connect { port: Some(4000) }),
            ("DISCONNECT", "ana\0", AccountOp::Disconnect),
            (
                "PUBLISH",
                "ana\0/tmp/aula 1.mp4\0first class\0",
                AccountOp::Publish(publication("/tmp/aula 1.mp4", "first class")),
            ),
            ("DELETE", "ana\0aula1.mp4\0", AccountOp::Delete(line("aula1.mp4"))),
            ("LIST_USERS", "ana\0", AccountOp::ListUsers { cursor: None, most }),
            (
                "LIST_CONTENT",
                "ana\0bia\0",
                AccountOp::ListContent { of: user("bia"), cursor: None, most },
            ),
            ("GET_FILE", "ana\0bia\0", AccountOp::FindUser { whom: user("bia") }),
        ]
    }

    /// A request in the exact form of its edition.
    fn exact(profile: LegacyProfile, word: &str, fields: &str) -> String {
        if DATED.contains(&profile) && word != "GET_FILE" {
            format!("{word}\0{DATE}\0{fields}")
        } else {
            format!("{word}\0{fields}")
        }
    }

    fn operation(
        profile: LegacyProfile,
        date: Option<&str>,
        op: AccountOp,
    ) -> Result<Request, ErrorReply> {
        Ok(Request::Operation(Operation {
            user: Some(user("ana")),
            authority: Authority::Claimed,
            speaks: Some(profile),
            date: date.map(line),
            op,
        }))
    }

    /// Decode with a fresh index.
    fn server(profile: LegacyProfile, bytes: &[u8]) -> Decoded<Result<Request, ErrorReply>> {
        let mut out = Vec::new();
        let read = Uc3m::new(Role::Server, profile)
            .read(bytes, &mut out)
            .expect("the connection stays open");
        assert!(out.is_empty());
        read
    }

    fn whole(
        item: Result<Request, ErrorReply>,
        bytes: &[u8],
    ) -> Decoded<Result<Request, ErrorReply>> {
        Decoded::Whole { item, used: bytes.len() }
    }

    /// An index that has decoded a valid request.
    fn asked(profile: LegacyProfile, word: &str) -> Uc3m {
        let (_, fields, _) =
            operations(profile).into_iter().find(|(known, ..)| *known == word).unwrap();
        let mut uc3m = Uc3m::new(Role::Server, profile);
        let read = uc3m.read(exact(profile, word, fields).as_bytes(), &mut Vec::new());
        assert!(matches!(read, Ok(Decoded::Whole { item: Ok(_), .. })));
        uc3m
    }

    fn status(profile: LegacyProfile, number: u8) -> Vec<u8> {
        match profile {
            LegacyProfile::Uc3m2025 => vec![number],
            LegacyProfile::Uc3m2024 | LegacyProfile::Uc3m2024Plain => vec![b'0' + number, 0],
            _ => vec![b'0' + number],
        }
    }

    fn answered(profile: LegacyProfile, word: &str, reply: &Response) -> Vec<u8> {
        let mut uc3m = asked(profile, word);
        let mut out = Vec::new();
        uc3m.reply(reply, &mut out);
        assert!(uc3m.has_ended());
        out
    }

    #[test]
    fn each_operation_is_complete_with_its_last_byte_and_not_before() {
        for profile in ALL {
            for (word, fields, op) in operations(profile) {
                let bytes = exact(profile, word, fields);
                let mut uc3m = Uc3m::new(Role::Server, profile);
                let mut out = Vec::new();
                for end in 0..bytes.len() {
                    assert_eq!(
                        uc3m.read(&bytes.as_bytes()[..end], &mut out),
                        Ok(Decoded::Partial),
                        "{profile:?} {:?}",
                        &bytes[..end]
                    );
                }
                let date = bytes.contains(DATE).then_some(DATE);
                let expected = whole(operation(profile, date, op), bytes.as_bytes());
                assert_eq!(uc3m.read(bytes.as_bytes(), &mut out), Ok(expected));
                assert!(out.is_empty() && !uc3m.has_ended());
            }
        }
    }

    #[test]
    fn operations_are_decoded_in_any_case_and_with_any_terminator() {
        for profile in ALL {
            for word in [
                "LIST_USERS\0",
                "list_users\0",
                "List Users\0",
                "LIST_USERS\n",
                "LIST_USERS\r\n",
                "LIST_USERS\n\0",
                "list users\r\n\0",
                "LIST_USERS\0\n",
            ] {
                let date =
                    if DATED.contains(&profile) { format!("{DATE}\0") } else { String::new() };
                let bytes = format!("{word}{date}ana\0");
                let read = server(profile, bytes.as_bytes());
                assert!(
                    matches!(
                        &read,
                        Decoded::Whole {
                            item: Ok(Request::Operation(Operation {
                                op: AccountOp::ListUsers { .. },
                                ..
                            })),
                            ..
                        }
                    ),
                    "{bytes:?}: {read:?}"
                );
            }
        }
    }

    #[test]
    fn a_missing_date_may_follow_the_request() {
        for profile in DATED {
            for (word, fields, op) in
                operations(profile).into_iter().filter(|(word, ..)| *word != "GET_FILE")
            {
                let bytes = format!("{word}\0{fields}{DATE}\0");
                let without = word.len() + 1 + fields.len();
                for end in 0..without {
                    assert_eq!(
                        server(profile, &bytes.as_bytes()[..end]),
                        Decoded::Partial,
                        "{:?}",
                        &bytes[..end]
                    );
                }
                let mut uc3m = Uc3m::new(Role::Server, profile);
                for end in without..bytes.len() {
                    let expected =
                        Decoded::Quiet { item: operation(profile, None, op.clone()), used: end };
                    assert_eq!(uc3m.read(&bytes.as_bytes()[..end], &mut Vec::new()), Ok(expected));
                }
                let expected = whole(operation(profile, Some(DATE), op), bytes.as_bytes());
                assert_eq!(uc3m.read(bytes.as_bytes(), &mut Vec::new()), Ok(expected));
            }
        }
    }

    #[test]
    fn a_date_behind_an_accepted_request_is_ignored() {
        let mut uc3m = Uc3m::new(Role::Server, LegacyProfile::Uc3m2024);
        let mut out = Vec::new();
        assert!(matches!(uc3m.read(b"REGISTER\0ana\0", &mut out), Ok(Decoded::Quiet { .. })));
        assert_eq!(uc3m.read(format!("{DATE}\0").as_bytes(), &mut out), Ok(Decoded::Partial));
        uc3m.reply(&Response::Done(Method::Register), &mut out);
        assert_eq!((out, uc3m.has_ended()), (b"0\0".to_vec(), true));
    }

    #[test]
    fn an_edition_without_dates_takes_one_at_either_end() {
        for date in [DATE, "1/5/2024 1:07:09", "5/12/2024 10:7:9", "2024/05/12 10:07:09"] {
            for bytes in [format!("REGISTER\0{date}\0ana\0"), format!("REGISTER\0ana\0{date}\0")] {
                let read = server(LegacyProfile::Uc3m2020, bytes.as_bytes());
                assert_eq!(
                    read,
                    whole(
                        operation(LegacyProfile::Uc3m2020, Some(date), AccountOp::Register),
                        bytes.as_bytes()
                    ),
                    "{bytes:?}"
                );
            }
        }
        for no_date in [
            "12/05/2024",
            "12/05/2024 10:07",
            "a/b/c d:e:f",
            "12/05/20240 10:07:09",
            "//",
            "12/05/2024 ::",
        ] {
            let read =
                server(LegacyProfile::Uc3m2020, format!("REGISTER\0{no_date}\0ana\0").as_bytes());
            assert!(matches!(read, Decoded::Whole { item: Err(_), .. }), "{no_date}: {read:?}");
        }
    }

    /// Dates of clients of other programs, and what stands in place of one.
    const OTHER_DATES: [&str; 9] = [
        "FECHA NO DISPONIBLE",
        "2024-05-12T10:07:09",
        "2024-05-12 10:07:09.123456",
        "2024-05-12T10:07:09+02:00",
        "12-05-2024 10:07",
        "12/05/2024",
        "Sun May 12 10:07:09 2024",
        "unknown",
        "",
    ];

    #[test]
    fn the_first_field_of_an_edition_with_dates_is_the_date_whatever_its_form() {
        for (profile, date) in
            DATED.into_iter().flat_map(|profile| OTHER_DATES.map(|date| (profile, date)))
        {
            let said = line(date);
            for (word, fields, op) in
                operations(profile).into_iter().filter(|(word, ..)| *word != "GET_FILE")
            {
                let bytes = format!("{word}\0{date}\0{fields}");
                let mut uc3m = Uc3m::new(Role::Server, profile);
                for end in 0..bytes.len() {
                    let read = uc3m.read(&bytes.as_bytes()[..end], &mut Vec::new());
                    // A single word may be a user, until the next field begins.
                    let may_pause = date == "unknown";
                    assert!(
                        matches!(read, Ok(Decoded::Partial))
                            || may_pause && matches!(read, Ok(Decoded::Quiet { .. })),
                        "{word} {date:?} {end}: {read:?}"
                    );
                }
                let read = uc3m.read(bytes.as_bytes(), &mut Vec::new());
                let Ok(Decoded::Whole { item: Ok(Request::Operation(asked)), .. }) = read else {
                    panic!("{word} {date:?}: {read:?}")
                };
                assert_eq!((asked.op, asked.user), (op, Some(user("ana"))), "{word} {date:?}");
                assert_eq!(asked.date.as_ref(), Some(&said));
            }
        }
        for profile in DATED {
            let both = format!("REGISTER\0FECHA NO DISPONIBLE\0{}\0", "x".repeat(255));
            assert!(matches!(server(profile, both.as_bytes()), Decoded::Whole { item: Ok(_), .. }));
            // An address in a description is none of the peer.
            let publish = b"PUBLISH\0unknown\0ana\0a.mp4\0localhost\0";
            let Decoded::Whole { item: Ok(Request::Operation(asked)), .. } =
                server(profile, publish)
            else {
                panic!("a request")
            };
            assert_eq!(asked.op, AccountOp::Publish(publication("a.mp4", "localhost")));
            for address in ["before", "behind"] {
                let place =
                    if address == "before" { "127.0.0.1\x004000" } else { "4000\x00127.0.0.1" };
                let bytes = format!("CONNECT\0FECHA NO DISPONIBLE\0ana\0{place}\0");
                let Decoded::Whole { item: Ok(Request::Operation(asked)), .. } =
                    server(profile, bytes.as_bytes())
                else {
                    panic!("a request")
                };
                assert_eq!(asked.op, AccountOp::Connect { port: Some(4000) });
            }
        }
    }

    #[test]
    fn an_odd_date_alone_is_never_a_user() {
        for profile in DATED {
            for date in OTHER_DATES.iter().filter(|date| **date != "unknown") {
                let bytes = format!("REGISTER\0{date}\0");
                let mut uc3m = Uc3m::new(Role::Server, profile);
                let mut out = Vec::new();
                assert_eq!(uc3m.read(bytes.as_bytes(), &mut out), Ok(Decoded::Partial), "{date:?}");
                uc3m.on_timeout(bytes.as_bytes(), &mut out);
                assert_eq!(out, status(profile, 2), "{date:?}");
            }
            // A word that may be a user, and the start of a user: nothing is decided by a pause.
            let mut uc3m = Uc3m::new(Role::Server, profile);
            let mut out = Vec::new();
            assert!(matches!(
                uc3m.read(b"REGISTER\0unknown\0", &mut out),
                Ok(Decoded::Quiet { .. })
            ));
            assert_eq!(uc3m.read(b"REGISTER\0unknown\0an", &mut out), Ok(Decoded::Partial));
            uc3m.on_timeout(b"REGISTER\0unknown\0an", &mut out);
            assert_eq!(out, status(profile, 2));
        }
    }

    #[test]
    fn a_peer_is_asked_with_a_date_of_any_form() {
        let wanted = |name: &str| Selector::Name(RelativeName::new(name).unwrap());
        for profile in DATED {
            for date in [DATE, "2024-05-12T10:07:09", "FECHA NO DISPONIBLE"] {
                let bytes = format!("GET_FILE\0{date}\0a.mp4\0");
                let read = Uc3m::new(Role::Peer, profile).read(bytes.as_bytes(), &mut Vec::new());
                let fetch = Fetch { wanted: wanted("a.mp4"), from: 0, length: None, tag: None };
                assert_eq!(read, Ok(whole(Ok(Request::Fetch(fetch)), bytes.as_bytes())));
            }
            // A file of such a name can still be had.
            let bytes = b"GET_FILE\x002024-05-12 10:07:09\0";
            let read = Uc3m::new(Role::Peer, profile).read(bytes, &mut Vec::new());
            assert!(matches!(read, Ok(Decoded::Quiet { .. })), "{read:?}");
            let bytes = b"GET_FILE\0FECHA NO DISPONIBLE\0ana\0bia\0";
            let Decoded::Whole { item: Ok(Request::Operation(asked)), .. } = server(profile, bytes)
            else {
                panic!("a look-up")
            };
            assert_eq!(asked.op, AccountOp::FindUser { whom: user("bia") });
        }
    }

    #[test]
    fn an_address_before_or_behind_the_port_is_ignored() {
        let op = AccountOp::Connect { port: Some(4000) };
        for address in ["127.0.0.1", "::1", "localhost"] {
            let before = format!("CONNECT\0{DATE}\0ana\0{address}\x004000\0");
            let after = format!("CONNECT\0{DATE}\0ana\x004000\0{address}\0");
            let date_last = format!("CONNECT\0ana\x004000\0{address}\0{DATE}\0");
            for bytes in [before, after, date_last] {
                let read = server(LegacyProfile::Uc3m2024, bytes.as_bytes());
                assert_eq!(
                    read,
                    whole(
                        operation(LegacyProfile::Uc3m2024, Some(DATE), op.clone()),
                        bytes.as_bytes()
                    ),
                    "{bytes:?}"
                );
            }
        }
        assert_eq!(
            server(LegacyProfile::Uc3m2020, b"CONNECT\0ana\x00127.0.0.1\0"),
            Decoded::Partial
        );
    }

    #[test]
    fn bytes_behind_a_request_are_consumed_and_ignored() {
        for rest in ["REGISTER\0bia\0", "\n", "x", &"y".repeat(5_000)] {
            let bytes = format!("REGISTER\0ana\0{rest}");
            let mut uc3m = Uc3m::new(Role::Server, LegacyProfile::Uc3m2020);
            let read = uc3m.read(bytes.as_bytes(), &mut Vec::new());
            assert_eq!(
                read,
                Ok(whole(
                    operation(LegacyProfile::Uc3m2020, None, AccountOp::Register),
                    bytes.as_bytes()
                ))
            );
            assert_eq!(uc3m.read(b"REGISTER\0bia\0", &mut Vec::new()), Ok(Decoded::Partial));
            uc3m.reply(&Response::Done(Method::Register), &mut Vec::new());
            assert_eq!(uc3m.read(b"REGISTER\0bia\0", &mut Vec::new()), Ok(Decoded::Partial));
        }
    }

    #[test]
    fn each_error_has_the_status_of_its_operation() {
        type Own = &'static [(ErrorCode, u8)];
        let table: [(&str, Own, u8); 9] = [
            ("REGISTER", &[(ErrorCode::Taken, 1)], 2),
            ("UNREGISTER", &[(ErrorCode::NoUser, 1)], 2),
            ("CONNECT", &[(ErrorCode::NoUser, 1), (ErrorCode::Connected, 2)], 3),
            ("DISCONNECT", &[(ErrorCode::NoUser, 1), (ErrorCode::NotConnected, 2)], 3),
            (
                "PUBLISH",
                &[(ErrorCode::NoUser, 1), (ErrorCode::NotConnected, 2), (ErrorCode::Published, 3)],
                4,
            ),
            (
                "DELETE",
                &[
                    (ErrorCode::NoUser, 1),
                    (ErrorCode::NotConnected, 2),
                    (ErrorCode::NotPublished, 3),
                ],
                4,
            ),
            ("LIST_USERS", &[(ErrorCode::NoUser, 1), (ErrorCode::NotConnected, 2)], 3),
            (
                "LIST_CONTENT",
                &[
                    (ErrorCode::NoUser, 1),
                    (ErrorCode::NotConnected, 2),
                    (ErrorCode::NoRemoteUser, 3),
                ],
                4,
            ),
            (
                "GET_FILE",
                &[
                    (ErrorCode::NoUser, 1),
                    (ErrorCode::NotConnected, 2),
                    (ErrorCode::NoRemoteUser, 3),
                ],
                4,
            ),
        ];
        for (word, own, other) in table {
            for (code, _) in crate::protocol::error::CODES {
                let number = own
                    .iter()
                    .find(|(known, _)| *known == code)
                    .map_or(other, |(_, number)| *number);
                for profile in ALL {
                    let mut uc3m = asked(profile, word);
                    let mut out = Vec::new();
                    uc3m.refuse(&ErrorReply::new(code, "no"), &mut out);
                    assert_eq!(out, status(profile, number), "{profile:?} {word} {code:?}");
                    assert!(uc3m.has_ended());
                }
            }
        }
    }

    #[test]
    fn a_peer_sends_a_file_or_an_error() {
        for profile in ALL {
            for (code, number) in [
                (ErrorCode::NotFound, 1),
                (ErrorCode::Refused, 2),
                (ErrorCode::Busy, 2),
                (ErrorCode::Io, 2),
            ] {
                let mut uc3m = Uc3m::new(Role::Peer, profile);
                let mut out = Vec::new();
                assert!(matches!(
                    uc3m.read(b"GET_FILE\0a\0", &mut out),
                    Ok(Decoded::Whole { item: Ok(_), .. })
                ));
                uc3m.refuse(&ErrorReply::new(code, "no"), &mut out);
                assert_eq!(out, status(profile, number));
            }
            for name in ["../x", "/../x", "/", "a.part", "", "a\nb", "."] {
                let mut uc3m = Uc3m::new(Role::Peer, profile);
                let mut out = Vec::new();
                let Ok(Decoded::Whole { item: Err(no), .. }) =
                    uc3m.read(format!("GET_FILE\0{name}\0").as_bytes(), &mut out)
                else {
                    panic!("{name:?}")
                };
                uc3m.refuse(&no, &mut out);
                assert_eq!(out, status(profile, 1), "{name:?}");
            }
            let mut uc3m = Uc3m::new(Role::Peer, profile);
            let mut out = Vec::new();
            let Ok(Decoded::Whole { item: Err(no), .. }) =
                uc3m.read(exact(profile, "CONNECT", "ana\x004000\0").as_bytes(), &mut out)
            else {
                panic!()
            };
            uc3m.refuse(&no, &mut out);
            assert_eq!(out, status(profile, 3), "an index's operation");
        }
    }

    #[test]
    fn success_without_data_is_a_status() {
        for profile in ALL {
            for (word, method) in [
                ("REGISTER", Method::Register),
                ("PUBLISH", Method::Publish),
                ("DELETE", Method::Delete),
            ] {
                assert_eq!(answered(profile, word, &Response::Done(method)), status(profile, 0));
            }
            assert_eq!(
                answered(profile, "REGISTER", &Response::Pong),
                status(profile, 2),
                "what has no form"
            );
        }
    }

    #[test]
    fn users_are_listed_to_the_byte() {
        let at = |name: &str, peer: Option<&str>| Online {
            user: user(name),
            peer: peer.map(|peer| peer.parse().unwrap()),
            speaks: None,
        };
        let users = vec![
            at("ana", Some("10.0.0.1:4000")),
            at("caio", None),
            at("dora", Some("[2001:db8::1]:1")),
            at("bia", Some("[::ffff:1.2.3.4]:65535")),
        ];
        let reply = Response::Users { users, cursor: None };
        let list = b"2\0ana\x0010.0.0.1\x004000\0bia\x001.2.3.4\x0065535\0";
        for profile in [
            LegacyProfile::Uc3m2020,
            LegacyProfile::Uc3m2024,
            LegacyProfile::Uc3m2024Plain,
            LegacyProfile::Uc3m2025,
        ] {
            assert_eq!(
                answered(profile, "LIST_USERS", &reply),
                [status(profile, 0), list.to_vec()].concat(),
                "{profile:?}"
            );
        }
        let fixed = [
            b"00002".to_vec(),
            wide("ana", 256),
            wide("10.0.0.1", 16),
            wide("4000", 6),
            wide("bia", 256),
            wide("1.2.3.4", 16),
            wide("65535", 6),
        ];
        assert_eq!(answered(LegacyProfile::Uc3mFixed, "LIST_USERS", &reply), fixed.concat());
        let none = Response::Users { users: Vec::new(), cursor: None };
        assert_eq!(answered(LegacyProfile::Uc3m2024, "LIST_USERS", &none), b"0\x000\0");
        assert_eq!(answered(LegacyProfile::Uc3mFixed, "LIST_USERS", &none), b"00000");
    }

    fn wide(text: &str, width: usize) -> Vec<u8> {
        let mut field = text.as_bytes().to_vec();
        field.resize(width, 0);
        field
    }

    #[test]
    fn content_is_listed_to_the_byte() {
        let long = "x".repeat(255);
        let files = vec![publication("/tmp/a b", "of ana"), publication(&long, "")];
        let reply = Response::Content { of: user("bia"), files, cursor: None };
        for profile in
            [LegacyProfile::Uc3m2020, LegacyProfile::Uc3m2024Plain, LegacyProfile::Uc3m2025]
        {
            let expected =
                [status(profile, 0), format!("2\0/tmp/a b\0{long}\0").into_bytes()].concat();
            assert_eq!(answered(profile, "LIST_CONTENT", &reply), expected, "{profile:?}");
        }
        assert_eq!(
            answered(LegacyProfile::Uc3m2024, "LIST_CONTENT", &reply),
            format!("0\x002\0/tmp/a b\0of ana\0{long}\0\0").into_bytes()
        );
        let fixed = [
            b"00002".to_vec(),
            wide("/tmp/a b", 256),
            wide("of ana", 256),
            wide(&long, 256),
            wide("", 256),
        ];
        assert_eq!(answered(LegacyProfile::Uc3mFixed, "LIST_CONTENT", &reply), fixed.concat());
    }

    #[test]
    fn a_count_of_four_digits_is_never_exceeded() {
        let files = vec![publication("a", ""); 10_001];
        let out = answered(
            LegacyProfile::Uc3mFixed,
            "LIST_CONTENT",
            &Response::Content { of: user("bia"), files, cursor: None },
        );
        assert_eq!((&out[..5], out.len()), (&b"09999"[..], 5 + 9_999 * 512));
    }

    #[test]
    fn a_look_up_returns_an_address_or_an_error() {
        let online = |peer: Option<&str>| {
            Response::User(Online {
                user: user("bia"),
                peer: peer.map(|peer| peer.parse().unwrap()),
                speaks: None,
            })
        };
        for profile in ALL {
            let expected = [status(profile, 0), b"10.0.0.1\x004000\0".to_vec()].concat();
            assert_eq!(answered(profile, "GET_FILE", &online(Some("10.0.0.1:4000"))), expected);
            for peer in [None, Some("[2001:db8::1]:1")] {
                assert_eq!(answered(profile, "GET_FILE", &online(peer)), status(profile, 2));
            }
        }
    }

    #[test]
    fn a_wrong_field_gets_the_other_error_of_its_operation() {
        let mut cases: Vec<(&str, Vec<u8>, u8)> = vec![
            ("REGISTER", b"\0".to_vec(), 2),
            ("REGISTER", b"../x\0".to_vec(), 2),
            ("REGISTER", b"a\nb\0".to_vec(), 2),
            ("REGISTER", b"\xff\xfe\0".to_vec(), 2),
            ("UNREGISTER", b"a\x1b[2J\0".to_vec(), 2),
            ("DISCONNECT", "a\u{202e}b\0".as_bytes().to_vec(), 3),
            ("LIST_USERS", b"\0".to_vec(), 3),
            ("LIST_CONTENT", b"ana\0..\0".to_vec(), 4),
            ("PUBLISH", b"ana\0\0about\0".to_vec(), 4),
            ("PUBLISH", b"ana\0a\0two\nlines\0".to_vec(), 4),
            ("PUBLISH", b"ana\0a\0\xe9\0".to_vec(), 4),
            ("DELETE", b"ana\0a\tb\0".to_vec(), 4),
            ("GET_FILE", b"ana\0a/b\0".to_vec(), 4),
        ];
        for port in
            ["0", "-1", "65536", "abc", "", "+80", "1e3", "99999999999999999999999", "1.2.3"]
        {
            cases.push(("CONNECT", format!("ana\0{port}\0").into_bytes(), 3));
        }
        for profile in ALL {
            for (word, fields, number) in &cases {
                let bytes = [exact(profile, word, "").as_bytes(), fields].concat();
                let mut uc3m = Uc3m::new(Role::Server, profile);
                let mut out = Vec::new();
                let read = uc3m.read(&bytes, &mut out);
                let Ok(Decoded::Whole { item: Err(no), .. }) = read else {
                    panic!("{word} {fields:?}: {read:?}")
                };
                uc3m.refuse(&no, &mut out);
                assert_eq!(out, status(profile, *number), "{profile:?} {word} {fields:?}");
                assert!(uc3m.has_ended());
            }
        }
    }

    #[test]
    fn a_field_of_255_bytes_is_read_and_a_longer_one_ends_the_link() {
        for profile in ALL {
            let good = exact(profile, "REGISTER", &format!("{}\0", "x".repeat(255)));
            assert!(matches!(server(profile, good.as_bytes()), Decoded::Whole { item: Ok(_), .. }));
            for (word, fields, number) in [
                ("REGISTER", "", 2),
                ("PUBLISH", "ana\0", 4),
                ("PUBLISH", "ana\0a\0", 4),
                ("LIST_USERS", "", 3),
            ] {
                let bytes = exact(profile, word, &format!("{fields}{}", "x".repeat(256)));
                let mut uc3m = Uc3m::new(Role::Server, profile);
                let mut out = Vec::new();
                let short = &bytes.as_bytes()[..bytes.len() - 1];
                assert_eq!(uc3m.read(short, &mut out), Ok(Decoded::Partial), "its NUL may be next");
                assert_eq!(uc3m.read(bytes.as_bytes(), &mut out), Err(Uc3mError));
                assert_eq!(
                    (out, uc3m.has_ended()),
                    (status(profile, number), true),
                    "{profile:?} {word}"
                );
            }
        }
    }

    #[test]
    fn an_unknown_or_endless_operation_closes_the_connection_silently() {
        for bytes in [
            "HELO\0",
            "\0",
            "\n",
            "GET / HTTP/1.1\r\n",
            "{\"cardume\":1}\n",
            "REGISTERX\0ana\0",
            "\u{e9}\0",
            &"A".repeat(32),
            "FIND_USER\0ana\0bia\0",
        ] {
            for (profile, role) in
                ALL.into_iter().flat_map(|profile| [(profile, Role::Server), (profile, Role::Peer)])
            {
                let mut uc3m = Uc3m::new(role, profile);
                let mut out = Vec::new();
                assert_eq!(uc3m.read(bytes.as_bytes(), &mut out), Err(Uc3mError), "{bytes:?}");
                assert!(out.is_empty() && uc3m.has_ended());
            }
        }
        assert_eq!(server(LegacyProfile::Uc3m2024, "A".repeat(31).as_bytes()), Decoded::Partial);
    }

    #[test]
    fn an_incomplete_request_gets_the_other_error_in_the_end() {
        for (bytes, said) in
            [("LIST_USERS\0", "3"), ("REGISTER\0an", "2"), ("LIST_US", ""), ("", "")]
        {
            let mut uc3m = Uc3m::new(Role::Server, LegacyProfile::Uc3m2020);
            let mut out = Vec::new();
            assert_eq!(uc3m.read(bytes.as_bytes(), &mut out), Ok(Decoded::Partial));
            uc3m.on_timeout(bytes.as_bytes(), &mut out);
            assert_eq!((out, uc3m.has_ended()), (said.as_bytes().to_vec(), true), "{bytes:?}");
        }
    }

    #[test]
    fn a_peer_answers_what_another_requests() {
        for profile in ALL {
            let mut bytes = Vec::new();
            ask_file(profile, "Cursos/aula 1.mp4", &mut bytes);
            let mut uc3m = Uc3m::new(Role::Peer, profile);
            for end in 0..bytes.len() {
                assert_eq!(uc3m.read(&bytes[..end], &mut Vec::new()), Ok(Decoded::Partial));
            }
            let wanted = Selector::Name(RelativeName::new("Cursos/aula 1.mp4").unwrap());
            let fetch = Request::Fetch(Fetch { wanted, from: 0, length: None, tag: None });
            assert_eq!(uc3m.read(&bytes, &mut Vec::new()), Ok(whole(Ok(fetch), &bytes)));
            let said = uc3m.begin(1_000);
            assert!(uc3m.has_ended());
            let [LegacyChunk::Data(head), LegacyChunk::File(all)] = said.as_slice() else {
                panic!("{said:?}")
            };
            assert_eq!(*all, ByteRange::new(0, 1_000).unwrap());
            let (expected, size): (&[u8], _) = match profile {
                LegacyProfile::Uc3m2024 => (b"0\0", None),
                LegacyProfile::Uc3m2024Plain => (b"0\x001000\0", Some(1_000)),
                LegacyProfile::Uc3m2020Int => (b"0\0\0\0\x03\xe8", Some(1_000)),
                LegacyProfile::Uc3m2025 => (b"\x001000\0", Some(1_000)),
                _ => (b"0", None),
            };
            assert_eq!(head, expected, "{profile:?}");
            for end in 0..head.len() {
                assert_eq!(decode_answer(profile, &head[..end]), Ok(Decoded::Partial));
            }
            let bytes = [head, &b"f\x000ile"[..]].concat();
            assert_eq!(
                decode_answer(profile, &bytes),
                Ok(Decoded::Whole { item: LegacyAnswer::Bytes(size), used: head.len() })
            );
        }
    }

    #[test]
    fn a_length_of_four_bytes_is_never_wrong() {
        let profile = LegacyProfile::Uc3m2020Int;
        let begin = |size| Uc3m::new(Role::Peer, profile).begin(size);
        for size in [0, 1, 0x7fff_ffff_u64] {
            let said = begin(size);
            let [LegacyChunk::Data(head), LegacyChunk::File(_)] = said.as_slice() else {
                panic!("{said:?}")
            };
            let read = decode_answer(profile, head);
            let item = LegacyAnswer::Bytes(Some(size));
            assert_eq!(read, Ok(Decoded::Whole { item, used: 6 }));
        }
        for size in [0x8000_0000_u64, 1 << 32, (1 << 32) + 5, u64::MAX] {
            assert_eq!(begin(size), vec![LegacyChunk::Data(b"2".to_vec())], "{size}");
        }
        for wrong in [&b"0hello"[..], b"0\0\x80\0\0\0", b"0\0\xff\xff\xff\xff"] {
            let read = decode_answer(profile, wrong).map_err(|no| no.code);
            assert_eq!(read, Err(ErrorCode::BadRequest), "{wrong:?}");
        }
    }

    #[test]
    fn refusals_count_before_their_last_byte_and_nonsense_does_not() {
        for profile in ALL {
            for (number, code) in [
                (1, ErrorCode::NotFound),
                (2, ErrorCode::Refused),
                (9, ErrorCode::Refused),
                (15, ErrorCode::BadRequest),
            ] {
                let answer = status(profile, number);
                assert_eq!(
                    decode_answer(profile, &answer[..1]).map_err(|no| no.code),
                    Err(code),
                    "{profile:?} {number}"
                );
            }
            assert_eq!(
                decode_answer(profile, b"HTTP/1.1").map_err(|no| no.code),
                Err(ErrorCode::BadRequest)
            );
        }
        assert_eq!(
            decode_answer(LegacyProfile::Uc3m2024, b"0x").map_err(|no| no.code),
            Err(ErrorCode::BadRequest)
        );
    }

    #[test]
    fn a_size_is_a_number_that_a_file_can_have() {
        let said = |size: &str| {
            decode_answer(LegacyProfile::Uc3m2025, format!("\0{size}").as_bytes())
                .map_err(|no| no.code)
        };
        assert_eq!(said("0\0"), Ok(Decoded::Whole { item: LegacyAnswer::Bytes(Some(0)), used: 3 }));
        let most = limits::DOWNLOAD_BYTES;
        assert_eq!(
            said(&format!("{most}\0")).ok(),
            Some(Decoded::Whole {
                item: LegacyAnswer::Bytes(Some(most)),
                used: 2 + most.to_string().len()
            })
        );
        for (size, code) in [
            ("\0", ErrorCode::BadRequest),
            ("-1\0", ErrorCode::BadRequest),
            ("+1", ErrorCode::BadRequest),
            ("1e9\0", ErrorCode::BadRequest),
            ("12 \0", ErrorCode::BadRequest),
            ("70368744177665\0", ErrorCode::TooLarge),
            ("18446744073709551615\0", ErrorCode::TooLarge),
            ("99999999999999999999\0", ErrorCode::TooLarge),
            ("000000000000000000001", ErrorCode::BadRequest),
        ] {
            assert_eq!(said(size), Err(code), "{size:?}");
        }
        assert_eq!(said("12"), Ok(Decoded::Partial));
        assert_eq!(
            Uc3m::new(Role::Peer, LegacyProfile::Uc3m2020).begin(u64::MAX),
            vec![LegacyChunk::Data(b"2".to_vec())]
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_none_are_waited_for_beyond_a_request(start in 0..12_usize, tail in prop::collection::vec(any::<u8>(), 0..3_000), zeros in any::<bool>()) {
            let words = ["REGISTER\0", "CONNECT\0", "PUBLISH\n", "LIST_USERS\r\n", "GET_FILE\0", "DELETE\0", "LIST_CONTENT\0"];
            let mut bytes = words.get(start).map_or(Vec::new(), |word| word.as_bytes().to_vec());
            bytes.extend(tail.iter().map(|byte| if zeros && *byte < 8 { 0 } else { *byte }));
            for (profile, role) in ALL.into_iter().flat_map(|profile| [(profile, Role::Server), (profile, Role::Peer)]) {
                let _ = decode_answer(profile, &bytes);
                let mut uc3m = Uc3m::new(role, profile);
                let mut out = Vec::new();
                match uc3m.read(&bytes, &mut out) {
                    Ok(Decoded::Partial) => assert!(bytes.len() < limits::OPERATION_BYTES + 5 * limits::FIELD_BYTES),
                    Ok(Decoded::Whole { item, used } | Decoded::Quiet { item, used }) => {
                        assert!(used <= bytes.len() && out.is_empty());
                        if let Err(no) = item {
                            uc3m.refuse(&no, &mut out);
                            assert!(uc3m.has_ended() && matches!(out.len(), 1 | 2));
                        }
                    }
                    Err(Uc3mError) => assert!(out.len() <= 2),
                }
            }
        }
    }
}
