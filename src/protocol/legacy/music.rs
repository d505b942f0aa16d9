//! music-udp: an index and peers of a system for music over UDP. A connection carries an operation;
//! neither requests nor responses have a terminator.
//!
//! ```text
//!   index    REGISTRAR|ip:port|a,b    REGISTRO_SUCESSO, or CLIENTE_JA_REGISTRADO
//!            CONSULTAR                ip:port:a,b|ip:port:c
//!            ENCERRAR|ip:port         CLIENTE_REMOVIDO, or nothing
//!   peer     GET a, REQUISITAR|a      the bytes, then END; or ERRO: Arquivo não encontrado.
//!            PING, POLICY             PONG, sequential
//!            GET FILE:a               EXISTS:9000, or FILE NOT FOUND
//!            SLICE:0:28:a             slices of 320 bytes, each behind its number and the time; KILL ends them
//!            a                        the bytes, each datagram once the earlier is answered (S ends them), then END_OF_FILE
//! ```
//!
//! A request to a peer is a datagram, so the request is complete. The bytes and END are datagrams of
//! the answer, as [records](crate::protocol::datagram). The last three requests are of two related
//! systems.
//!
//! The earlier words `REGISTER ip:port a,b` and `LIST` have the same responses. A word without an
//! argument is complete as soon as it is present. An argument is complete at the end of its line, at
//! the end of the connection, or after a pause ([`Decoded::Quiet`]). The system has no message for
//! an error: here an error is a line of the form of its only one, `ERRO: ...`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::protocol::datagram::{self, DatagramRecord, FileCut};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::registry::{
    LISTED_FILES, ListChange, NodeEntry, PeerPlace, RegistryRequest, RegistryResponse,
};
use crate::protocol::request::{Fetch, Request};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, FilePart, LegacyAnswer, LegacyChunk, Role};

/// A request: a thousand names of usual length. A request is parsed anew when bytes arrive.
pub(super) const REQUEST_BYTES: usize = 16 << 10;

/// Bytes of a file in a datagram, as receivers expect.
const DATAGRAM_BYTES: u16 = 1_024;
/// Bytes of a file in a slice.
const SLICE_BYTES: u16 = 320;
/// The number of a slice has six digits.
const LAST_SLICE: u32 = 999_999;
/// The datagram behind the last bytes of a file.
pub const END: &[u8] = b"END";

/// The codec of one connection.
#[derive(Debug)]
pub struct Music {
    role: Role,
    /// The request that a peer answers.
    asked: UdpRequest,
    ended: bool,
}

/// A request to a peer, which selects the form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UdpRequest {
    /// The whole file.
    Whole,
    /// The size of the file.
    Size,
    /// These slices of the file, the last one included.
    Slices(u32, u32),
    /// The whole file, each datagram acknowledged.
    Acknowledged,
    Ping,
    Policy,
    /// A word of an answer that is over: the answer is no datagram.
    Late,
}

/// The connection must close.
#[derive(Debug, PartialEq, Eq)]
pub struct MusicError;

/// The operations of the index.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MusicWord {
    /// The list is separated from the address by this byte.
    Register(char),
    Nodes,
    Remove,
}

/// All words. A word is no prefix of another.
const WORDS: [(&str, MusicWord); 5] = [
    ("REGISTRAR|", MusicWord::Register('|')),
    ("REGISTER ", MusicWord::Register(' ')),
    ("CONSULTAR", MusicWord::Nodes),
    ("LIST", MusicWord::Nodes),
    ("ENCERRAR|", MusicWord::Remove),
];

impl Music {
    /// The codec of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> Music {
        Music { role, asked: UdpRequest::Whole, ended: false }
    }

    /// True when the answer is a single datagram without bytes of the file.
    #[must_use]
    pub fn answers_by_head(&self) -> bool {
        self.asked == UdpRequest::Size
    }

    /// True when the connection closes after the responses written so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Decode the request.
    ///
    /// # Errors
    /// When the request is too long.
    pub fn read(
        &mut self,
        buffer: &[u8],
    ) -> Result<Decoded<Result<Request, ErrorReply>>, MusicError> {
        if self.ended {
            return Ok(Decoded::Partial);
        }
        if self.role == Role::Peer {
            let Some((record, used)) = datagram::read(buffer) else {
                return Ok(Decoded::Partial);
            };
            let request =
                if let DatagramRecord::Datagram(bytes) = record { bytes } else { b"KILL" };
            let (asked, item) = asked_by_udp(request);
            self.asked = asked;
            return Ok(Decoded::Whole { item, used });
        }
        let line = buffer.trim_ascii_start();
        let end = memchr::memchr2(b'\n', b'\r', &line[..line.len().min(REQUEST_BYTES)]);
        if end.is_none() && buffer.len() > REQUEST_BYTES {
            return Err(MusicError);
        }
        let text = &line[..end.unwrap_or(line.len())];
        let known = WORDS.iter().find(|(word, _)| text.starts_with(word.as_bytes()));
        let (item, is_whole) = match known {
            Some((_, MusicWord::Nodes)) => (Ok(RegistryRequest::Nodes), true),
            Some((word, kind)) => {
                let argument = &text[word.len()..];
                if end.is_none() && is_unfinished(*kind, argument) {
                    return Ok(Decoded::Partial);
                }
                (meaning(*kind, argument), end.is_some())
            }
            None if end.is_none()
                && WORDS.iter().any(|(word, _)| word.as_bytes().starts_with(text)) =>
            {
                return Ok(Decoded::Partial);
            }
            None => (Err(ErrorReply::unsupported()), true),
        };
        let item =
            item.map(|request| Request::Registry(Box::new(request), LegacyProfile::MusicUdp));
        let used = buffer.len();
        Ok(if is_whole { Decoded::Whole { item, used } } else { Decoded::Quiet { item, used } })
    }

    /// Write a response; the connection ends.
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        self.ended = true;
        if let Response::Pong = reply {
            let answer = if self.asked == UdpRequest::Policy { "sequential" } else { "PONG" };
            return self.say(answer.as_bytes(), out);
        }
        let Response::Registry(reply) = reply else {
            return self.refuse(&ErrorReply::unsupported(), out);
        };
        match &**reply {
            RegistryResponse::Registered { is_new: true, .. } => out.extend(b"REGISTRO_SUCESSO"),
            RegistryResponse::Registered { .. } => out.extend(b"CLIENTE_JA_REGISTRADO"),
            RegistryResponse::Removed => out.extend(b"CLIENTE_REMOVIDO"),
            RegistryResponse::Nodes(nodes) => {
                let nodes: Vec<String> = nodes.iter().filter_map(node).collect();
                out.extend(nodes.join("|").as_bytes());
            }
        }
    }

    /// Send a file of `size` bytes; the connection ends.
    pub fn begin(&mut self, size: u64) -> Vec<LegacyChunk> {
        self.ended = true;
        let cut = |bytes, first, stop: &[u8]| FileCut {
            bytes,
            first,
            is_acknowledged: self.asked == UdpRequest::Acknowledged,
            stop: stop.to_vec(),
        };
        let (cut, start, length, last) = match self.asked {
            UdpRequest::Size => {
                return vec![LegacyChunk::Data(one_datagram(format!("EXISTS:{size}").as_bytes()))];
            }
            UdpRequest::Slices(first, last) => {
                let bytes = u64::from(SLICE_BYTES);
                let start = (u64::from(first) * bytes).min(size);
                let end = ((u64::from(last) + 1) * bytes).min(size);
                let mut flush = Vec::new();
                datagram::put_flush(&mut flush);
                (cut(SLICE_BYTES, Some(first), b"KILL"), start, end - start, flush)
            }
            UdpRequest::Acknowledged => {
                (cut(DATAGRAM_BYTES, None, b"S"), 0, size, one_datagram(b"END_OF_FILE"))
            }
            UdpRequest::Whole | UdpRequest::Ping | UdpRequest::Policy | UdpRequest::Late => {
                (cut(DATAGRAM_BYTES, None, b"KILL"), 0, size, one_datagram(END))
            }
        };
        let mut front = Vec::new();
        datagram::put_cut(&cut, &mut front);
        let range = ByteRange::within(start, Some(length), size).unwrap_or(ByteRange::EMPTY);
        vec![LegacyChunk::Data(front), LegacyChunk::File(range), LegacyChunk::Data(last)]
    }

    /// Write an error; the connection ends. The removal of an unknown peer has no response.
    pub fn refuse(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        self.ended = true;
        match self.asked {
            UdpRequest::Size | UdpRequest::Slices(..) => return self.say(b"FILE NOT FOUND", out),
            UdpRequest::Acknowledged => return self.say(b"END_OF_FILE", out),
            UdpRequest::Late => return,
            UdpRequest::Whole | UdpRequest::Ping | UdpRequest::Policy => {}
        }
        let text = match refusal.code {
            // Real programs compare the whole line.
            ErrorCode::NotFound | ErrorCode::BadName if self.role == Role::Peer => {
                "Arquivo não encontrado."
            }
            ErrorCode::NotJoined => return,
            ErrorCode::Address => "o endereço é de outra máquina.",
            ErrorCode::TooLarge | ErrorCode::Busy => "limite atingido.",
            ErrorCode::Unsupported | ErrorCode::BadRequest | ErrorCode::BadName => {
                "pedido desconhecido."
            }
            _ => "pedido recusado.",
        };
        self.say(format!("ERRO: {text}").as_bytes(), out);
    }

    /// Write a whole answer.
    fn say(&self, answer: &[u8], out: &mut Vec<u8>) {
        match self.role {
            Role::Peer => datagram::put_datagram(answer, out),
            Role::Server => out.extend(answer),
        }
    }
}

/// Request the file `name`: real providers know this word alone.
pub fn ask_file(name: &str, out: &mut Vec<u8>) {
    datagram::put_datagram(format!("REQUISITAR|{name}").as_bytes(), out);
}

/// Request the size of the file `name`, which the answer to [`ask_file`] does not tell.
pub fn ask_size(name: &str, out: &mut Vec<u8>) {
    datagram::put_datagram(format!("GET FILE:{name}").as_bytes(), out);
}

/// Decode the first datagram of an answer, which stays in the buffer unless it is an error.
///
/// # Errors
/// The error of the provider.
pub fn decode_answer(buffer: &[u8]) -> Result<Decoded<LegacyAnswer>, ErrorReply> {
    match datagram::read(buffer) {
        None => Ok(Decoded::Partial),
        Some((DatagramRecord::Datagram(bytes), _)) if bytes.starts_with(ERROR) => Err(error(bytes)),
        Some(_) => Ok(Decoded::Whole { item: LegacyAnswer::Bytes(None), used: 0 }),
    }
}

/// Decode a datagram of an answer.
#[must_use]
pub fn decode_part(buffer: &[u8]) -> Option<(FilePart<'_>, usize)> {
    let (record, used) = datagram::read(buffer)?;
    let part = match record {
        DatagramRecord::Datagram(END) => FilePart::End,
        DatagramRecord::Datagram(bytes) => {
            let is_whole = bytes.len() == usize::from(DATAGRAM_BYTES);
            FilePart::Bytes { bytes, is_whole }
        }
        DatagramRecord::Cut(_) | DatagramRecord::Flush | DatagramRecord::Lost => FilePart::Lost,
    };
    Some((part, used))
}

/// The size in an answer to [`ask_size`]; `None` for any other answer.
#[must_use]
pub fn size(answer: &[u8]) -> Option<u64> {
    std::str::from_utf8(answer).ok()?.trim().strip_prefix("EXISTS:")?.parse().ok()
}

/// The start of an error.
const ERROR: &[u8] = b"ERRO: ";

fn error(text: &[u8]) -> ErrorReply {
    let text = printable(&String::from_utf8_lossy(text));
    if text.contains("encontrado") {
        ErrorReply::no_such_file()
    } else {
        ErrorReply::new(ErrorCode::Refused, text)
    }
}

fn one_datagram(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    datagram::put_datagram(bytes, &mut out);
    out
}

/// The request in a datagram to a peer. A name alone comes last: any other word could be one.
fn asked_by_udp(request: &[u8]) -> (UdpRequest, Result<Request, ErrorReply>) {
    let fetch = |name: &str| Ok(Request::Fetch(Fetch::whole(RelativeName::new(name.trim())?)));
    let Ok(text) = std::str::from_utf8(request) else {
        return (UdpRequest::Whole, Err(ErrorReply::not_utf8()));
    };
    let text = text.trim();
    match text {
        "PING" => return (UdpRequest::Ping, Ok(Request::Ping)),
        "POLICY" => return (UdpRequest::Policy, Ok(Request::Ping)),
        // The receiver has acknowledged the last datagram, or has ended an answer that is over.
        "" | "KILL" | "CTRL" | "S" => return (UdpRequest::Late, Err(ErrorReply::unsupported())),
        _ => {}
    }
    if let Some(name) = text.strip_prefix("GET FILE:") {
        return (UdpRequest::Size, fetch(name));
    }
    if let Some(name) = text.strip_prefix("GET ").or_else(|| text.strip_prefix("REQUISITAR|")) {
        return (UdpRequest::Whole, fetch(name));
    }
    if let Some(slices) = text.strip_prefix("SLICE:") {
        let mut fields = slices.splitn(3, ':');
        let mut number = || fields.next()?.parse().ok().filter(|number| *number <= LAST_SLICE);
        return match (number(), number(), fields.next()) {
            (Some(first), Some(last), Some(name)) if first <= last => {
                (UdpRequest::Slices(first, last), fetch(name))
            }
            _ => (UdpRequest::Slices(0, 0), Err(ErrorReply::bad_request("SLICE:0:9:name"))),
        };
    }
    (UdpRequest::Acknowledged, fetch(text))
}

/// True while an argument can't be complete: the address of a REGISTRAR has no list behind yet.
fn is_unfinished(word: MusicWord, argument: &[u8]) -> bool {
    match word {
        MusicWord::Register(separator) => {
            !argument.iter().any(|byte| char::from(*byte) == separator)
        }
        MusicWord::Remove => argument.is_empty(),
        MusicWord::Nodes => false,
    }
}

fn meaning(word: MusicWord, argument: &[u8]) -> Result<RegistryRequest, ErrorReply> {
    let argument = std::str::from_utf8(argument).map_err(|_| ErrorReply::not_utf8())?;
    match word {
        MusicWord::Register(separator) => {
            let (at, list) = argument.split_once(separator).unwrap_or((argument, ""));
            let files = names(list.split(','))?;
            Ok(RegistryRequest::Register { at: place(at)?, files, change: ListChange::Replace })
        }
        MusicWord::Nodes => Ok(RegistryRequest::Nodes),
        MusicWord::Remove => Ok(RegistryRequest::Remove(place(argument)?)),
    }
}

/// `ip:port` or `localhost:port`.
pub(super) fn place(text: &str) -> Result<PeerPlace, ErrorReply> {
    let text = text.trim();
    let at = match text.strip_prefix("localhost:") {
        Some(port) => {
            port.parse().ok().map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        }
        None => text.parse().ok(),
    };
    at.filter(|at: &SocketAddr| at.port() != 0)
        .map(PeerPlace::from)
        .ok_or_else(|| ErrorReply::bad_request("an address is like 127.0.0.1:5001"))
}

/// The valid names of a list: real programs list all entries of a folder.
pub(super) fn names<'a>(
    list: impl Iterator<Item = &'a str>,
) -> Result<Vec<RelativeName>, ErrorReply> {
    let mut files = Vec::new();
    for (count, name) in list.enumerate() {
        if count == LISTED_FILES {
            let text = format!("a list holds at most {LISTED_FILES} names");
            return Err(ErrorReply::new(ErrorCode::TooLarge, text));
        }
        files.extend(RelativeName::new(name.trim()).ok());
    }
    Ok(files)
}

/// A peer in the list of CONSULTAR. Clients split the text at `|`, `:` and `,`, so names with such a
/// character are left out.
fn node(node: &NodeEntry) -> Option<String> {
    let IpAddr::V4(ip) = node.at.ip().to_canonical() else { return None };
    let names: Vec<&str> = node
        .files
        .iter()
        .map(RelativeName::as_str)
        .filter(|name| !name.contains(['|', ':', ',']))
        .collect();
    Some(format!("{ip}:{}:{}", node.at.port(), names.join(",")))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    fn index() -> Music {
        Music::new(Role::Server)
    }

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    fn request(request: RegistryRequest) -> Result<Request, ErrorReply> {
        Ok(Request::Registry(Box::new(request), LegacyProfile::MusicUdp))
    }

    fn register(at: &str, files: &[&str]) -> Result<Request, ErrorReply> {
        request(RegistryRequest::Register {
            at: at.parse::<SocketAddr>().unwrap().into(),
            files: files.iter().map(|text| name(text)).collect(),
            change: ListChange::Replace,
        })
    }

    /// The item of a request that has arrived with a pause behind.
    fn quiet(text: &str) -> Result<Request, ErrorReply> {
        match index().read(text.as_bytes()) {
            Ok(Decoded::Quiet { item, used }) if used == text.len() => item,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn requests_end_in_a_pause_or_with_their_line() {
        let two = register("127.0.0.1:5001", &["song1.mp3", "m1"]);
        assert_eq!(quiet("REGISTRAR|127.0.0.1:5001|song1.mp3,m1"), two);
        assert_eq!(quiet("REGISTER 127.0.0.1:5001 song1.mp3, m1"), two);
        assert_eq!(quiet("REGISTRAR|localhost:5001|song1.mp3,m1"), two);
        assert_eq!(quiet("REGISTRAR|127.0.0.1:5001|"), register("127.0.0.1:5001", &[]));
        let at = "127.0.0.1:5001".parse::<SocketAddr>().unwrap();
        assert_eq!(quiet("ENCERRAR|127.0.0.1:5001"), request(RegistryRequest::Remove(at.into())));
        let line = b"REGISTRAR|127.0.0.1:5001|song1.mp3,m1\r\n";
        assert_eq!(index().read(line), Ok(Decoded::Whole { item: two, used: line.len() }));
        for word in ["CONSULTAR", "LIST", " LIST\n"] {
            let whole = Decoded::Whole { item: request(RegistryRequest::Nodes), used: word.len() };
            assert_eq!(index().read(word.as_bytes()), Ok(whole));
        }
    }

    #[test]
    fn a_request_byte_by_byte_is_complete_only_when_all_of_its_fields_have_begun() {
        for text in ["REGISTRAR|127.0.0.1:5001|a,b", "REGISTER 127.0.0.1:5001 a", "CONSULTAR"] {
            let least = text.rfind(['|', ' ']).map_or(text.len(), |at| at + 1);
            for cut in 0..text.len() {
                let read = index().read(&text.as_bytes()[..cut]);
                assert_eq!(read == Ok(Decoded::Partial), cut < least, "{text} {cut}: {read:?}");
            }
        }
    }

    #[test]
    fn wrong_requests_are_refused_in_a_line() {
        let wrong = |text: &str| {
            let mut wire = index();
            let item = match wire.read(text.as_bytes()) {
                Ok(Decoded::Quiet { item, .. } | Decoded::Whole { item, .. }) => item,
                other => panic!("{text}: {other:?}"),
            };
            let mut out = Vec::new();
            wire.refuse(&item.unwrap_err(), &mut out);
            assert!(wire.has_ended());
            String::from_utf8(out).unwrap()
        };
        for text in ["GET / HTTP/1.1", "hello", "REGISTRAR|here|a", "ENCERRAR|1.2.3.4:0\n"] {
            assert_eq!(wrong(text), "ERRO: pedido desconhecido.", "{text}");
        }
        let many = format!("REGISTRAR|127.0.0.1:5001|{}", "a,".repeat(LISTED_FILES));
        assert_eq!(wrong(&many), "ERRO: limite atingido.");
        let long = format!("REGISTRAR|127.0.0.1:5001|{}", "x".repeat(REQUEST_BYTES));
        assert_eq!(index().read(long.as_bytes()), Err(MusicError));
    }

    #[test]
    fn names_that_leave_the_folder_are_dropped() {
        assert_eq!(
            quiet("REGISTRAR|127.0.0.1:5001|../x,/etc/passwd,a,,b\0c"),
            register("127.0.0.1:5001", &["a"])
        );
    }

    #[test]
    fn responses_have_the_words_of_the_system() {
        let said = |reply: RegistryResponse| {
            let (mut wire, mut out) = (index(), Vec::new());
            wire.reply(&Response::Registry(Box::new(reply)), &mut out);
            assert!(wire.has_ended());
            String::from_utf8(out).unwrap()
        };
        let at = |text: &str| text.parse::<SocketAddr>().unwrap();
        let registered = |is_new| RegistryResponse::Registered { at: at("127.0.0.1:1"), is_new };
        assert_eq!(said(registered(true)), "REGISTRO_SUCESSO");
        assert_eq!(said(registered(false)), "CLIENTE_JA_REGISTRADO");
        assert_eq!(said(RegistryResponse::Removed), "CLIENTE_REMOVIDO");
        let node = |place: &str, files: &[&str]| NodeEntry {
            at: at(place),
            files: files.iter().map(|text| name(text)).collect(),
        };
        let nodes = RegistryResponse::Nodes(vec![
            node("127.0.0.1:5001", &["song1.mp3", "a|b", "c,d", "e:f", "m1"]),
            node("[::1]:5002", &["six"]),
            node("10.0.0.2:5003", &[]),
        ]);
        assert_eq!(said(nodes), "127.0.0.1:5001:song1.mp3,m1|10.0.0.2:5003:");
        assert_eq!(said(RegistryResponse::Nodes(Vec::new())), "");
        let mut out = Vec::new();
        index().refuse(&ErrorReply::new(ErrorCode::NotJoined, "no such peer"), &mut out);
        assert!(out.is_empty());
    }

    /// The request in a datagram, and the codec that answers.
    fn asked(text: &str) -> (Music, Result<Request, ErrorReply>) {
        let mut wire = Music::new(Role::Peer);
        let record = one_datagram(text.as_bytes());
        match wire.read(&record) {
            Ok(Decoded::Whole { item, used }) if used == record.len() => (wire, item),
            other => panic!("{text}: {other:?}"),
        }
    }

    fn cut(bytes: u16, first: Option<u32>, is_acknowledged: bool, stop: &str) -> LegacyChunk {
        let stop = stop.as_bytes().to_vec();
        let mut out = Vec::new();
        datagram::put_cut(&FileCut { bytes, first, is_acknowledged, stop }, &mut out);
        LegacyChunk::Data(out)
    }

    fn part(from: u64, length: u64) -> LegacyChunk {
        LegacyChunk::File(ByteRange::within(from, Some(length), from + length).unwrap())
    }

    fn last(text: &str) -> LegacyChunk {
        LegacyChunk::Data(one_datagram(text.as_bytes()))
    }

    #[test]
    fn a_peer_tells_the_requests_of_three_systems_apart_by_their_first_words() {
        let file = Ok(Request::Fetch(Fetch::whole(name("m 1"))));
        let chunks = |text: &str| {
            let (mut wire, request) = asked(text);
            assert_eq!(request, file, "{text}");
            let chunks = wire.begin(900);
            assert!(wire.has_ended());
            chunks
        };
        for text in ["GET m 1", "REQUISITAR|m 1", "GET m 1\n"] {
            let whole = [cut(1_024, None, false, "KILL"), part(0, 900), last("END")];
            assert_eq!(chunks(text), whole, "{text}");
        }
        assert_eq!(chunks("GET FILE:m 1"), [last("EXISTS:900")]);
        let acknowledged = [cut(1_024, None, true, "S"), part(0, 900), last("END_OF_FILE")];
        assert_eq!(chunks("m 1"), acknowledged);
        let mut flush = Vec::new();
        datagram::put_flush(&mut flush);
        for (text, first, start, length) in [
            ("SLICE:0:2:m 1", 0, 0, 900),
            ("SLICE:1:1:m 1", 1, 320, 320),
            ("SLICE:2:999999:m 1", 2, 640, 260),
        ] {
            let slices = [
                cut(320, Some(first), false, "KILL"),
                part(start, length),
                LegacyChunk::Data(flush.clone()),
            ];
            assert_eq!(chunks(text), slices, "{text}");
        }
        assert_eq!(
            chunks("SLICE:3:9:m 1")[1],
            LegacyChunk::File(ByteRange::within(900, None, 900).unwrap())
        );
    }

    #[test]
    fn a_peer_has_an_error_and_a_word_for_each_system() {
        let said = |text: &str, reply: Option<&Response>| {
            let (mut wire, request) = asked(text);
            let mut out = Vec::new();
            match (reply, request) {
                (Some(reply), Ok(Request::Ping)) => wire.reply(reply, &mut out),
                (None, Err(refusal)) => wire.refuse(&refusal, &mut out),
                (None, Ok(Request::Fetch(_))) => wire.refuse(&ErrorReply::no_such_file(), &mut out),
                other => panic!("{text}: {other:?}"),
            }
            assert!(wire.has_ended());
            match datagram::read(&out) {
                Some((DatagramRecord::Datagram(bytes), _)) => {
                    String::from_utf8_lossy(bytes).into_owned()
                }
                _ => String::new(),
            }
        };
        assert_eq!(said("PING", Some(&Response::Pong)), "PONG");
        assert_eq!(said("POLICY", Some(&Response::Pong)), "sequential");
        for name in ["none", "../m1", "/etc/passwd"] {
            assert_eq!(said(&format!("GET {name}"), None), "ERRO: Arquivo não encontrado.");
            assert_eq!(said(&format!("GET FILE:{name}"), None), "FILE NOT FOUND");
            assert_eq!(said(&format!("SLICE:0:9:{name}"), None), "FILE NOT FOUND");
            assert_eq!(said(name, None), "END_OF_FILE");
        }
        for text in ["SLICE:5:4:m1", "SLICE:0:1000000:m1", "SLICE:-1:1:m1", "SLICE:1:m1", "SLICE:"]
        {
            assert_eq!(said(text, None), "FILE NOT FOUND", "{text}");
        }
        // Words of an answer that is over.
        for text in ["KILL", "CTRL", "S", "", " "] {
            assert_eq!(said(text, None), "", "{text}");
        }
    }

    proptest! {
        #[test]
        fn external_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for role in [Role::Server, Role::Peer] {
                prop_assert!(Music::new(role).read(&bytes).is_ok());
                prop_assert!(Music::new(role).read(&one_datagram(&bytes)).is_ok());
            }
        }
    }
}
