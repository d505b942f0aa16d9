//! music-udp: an index and peers of a system for music over UDP. A connection carries an operation;
//! neither requests nor responses have a terminator.
//!
//! ```text
//!   index    REGISTRAR|ip:port|a,b    REGISTRO_SUCESSO, or CLIENTE_JA_REGISTRADO
//!            CONSULTAR                ip:port:a,b|ip:port:c
//!            ENCERRAR|ip:port         CLIENTE_REMOVIDO, or nothing
//!   peer     GET a, REQUISITAR|a      the bytes, then END; or ERRO: Arquivo não encontrado.
//! ```
//!
//! A request to a peer is a datagram, so the request is complete. The bytes and END are datagrams of
//! the answer.
//!
//! The earlier words `REGISTER ip:port a,b` and `LIST` have the same responses. A word without an
//! argument is complete as soon as it is present. An argument is complete at the end of its line, at
//! the end of the connection, or after a pause ([`Decoded::Quiet`]). The system has no message for
//! an error: here an error is a line of the form of its only one, `ERRO: ...`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::registry::{
    LISTED_FILES, ListChange, NodeEntry, PeerPlace, RegistryRequest, RegistryResponse,
};
use crate::protocol::request::{Fetch, Request};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyChunk, Role};

/// A request: a thousand names of usual length. A request is parsed anew when bytes arrive.
pub(super) const REQUEST_BYTES: usize = 16 << 10;

/// The codec of one connection.
#[derive(Debug)]
pub struct Music {
    role: Role,
    ended: bool,
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
        Music { role, ended: false }
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
            return Ok(match buffer {
                [] => Decoded::Partial,
                request => Decoded::Whole { item: wanted(request), used: buffer.len() },
            });
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
            return out.extend(b"PONG");
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
        let range = ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY);
        vec![LegacyChunk::File(range), LegacyChunk::Data(b"END".to_vec())]
    }

    /// Write an error; the connection ends. The removal of an unknown peer has no response.
    pub fn refuse(&mut self, refusal: &ErrorReply, out: &mut Vec<u8>) {
        self.ended = true;
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
        out.extend(format!("ERRO: {text}").as_bytes());
    }
}

/// The request in a datagram to a peer.
fn wanted(request: &[u8]) -> Result<Request, ErrorReply> {
    let text = std::str::from_utf8(request).map_err(|_| ErrorReply::not_utf8())?.trim();
    if text == "PING" {
        return Ok(Request::Ping);
    }
    // `GET FILE:` belongs to another system, and names no file here.
    let name = text
        .strip_prefix("GET ")
        .or_else(|| text.strip_prefix("REQUISITAR|"))
        .filter(|name| !name.starts_with("FILE:"))
        .ok_or_else(ErrorReply::unsupported)?;
    Ok(Request::Fetch(Fetch::whole(RelativeName::new(name.trim())?)))
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

    #[test]
    fn a_peer_answers_a_datagram() {
        let peer = |text: &str| match Music::new(Role::Peer).read(text.as_bytes()) {
            Ok(Decoded::Whole { item, used }) if used == text.len() => item,
            other => panic!("{text}: {other:?}"),
        };
        let file = Ok(Request::Fetch(Fetch::whole(name("m 1"))));
        for text in ["GET m 1", "REQUISITAR|m 1", "GET m 1\n"] {
            assert_eq!(peer(text), file, "{text}");
        }
        assert_eq!(peer("PING"), Ok(Request::Ping));
        for text in
            ["CONSULTAR", "m1", "GET ../m1", "GET /etc/passwd", "GET FILE:m1", "SLICE:0:1:m1"]
        {
            assert!(peer(text).is_err(), "{text}");
        }
        let (mut wire, mut out) = (Music::new(Role::Peer), Vec::new());
        let range = ByteRange::within(0, None, 9).unwrap();
        let chunks = [LegacyChunk::File(range), LegacyChunk::Data(b"END".to_vec())];
        assert_eq!(wire.begin(9), chunks);
        wire.refuse(&ErrorReply::no_such_file(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), "ERRO: Arquivo não encontrado.");
        assert!(wire.has_ended());
    }

    proptest! {
        #[test]
        fn external_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for role in [Role::Server, Role::Peer] {
                let read = Music::new(role).read(&bytes);
                prop_assert!(read.is_ok());
            }
        }
    }
}
