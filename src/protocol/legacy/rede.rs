//! rede-p2p: bare words. The index speaks first on one lasting connection; a peer answers one
//! request per connection.
//!
//! Words have no terminator. A known word is complete as soon as it is present, whatever follows,
//! so that segmentation never changes its meaning. A name or an unknown word is complete at the end
//! of its line, or after a pause ([`Decoded::Quiet`]). Blanks and line ends around words are
//! skipped. Like the original program, the codec does not answer unknown words.

use std::net::{IpAddr, SocketAddr};

use crate::limits;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::{Fetch, LegacyJoin, LegacyPort, Request};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyChunk, Role};

/// The codec of one connection.
#[derive(Debug)]
pub struct Rede {
    role: Role,
    state: RedeState,
    /// An incomplete item that was offered as complete, and its length, until the item is accepted
    /// or more bytes arrive.
    guess: Option<(RedeRequest, usize)>,
    /// Names sent so far in one response to `ls`.
    listed: usize,
    /// The cursor of the next page.
    cursor: Option<String>,
}

/// The connection must close.
#[derive(Debug, PartialEq, Eq)]
pub struct RedeError;

/// The next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RedeState {
    /// The index has not spoken yet.
    Silent,
    /// Ready for the next word.
    Reading,
    /// A word waits for its response.
    Busy(RedeRequest),
    /// Nothing more is read.
    Ended,
}

/// The request being answered: some close the connection afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RedeRequest {
    Enter,
    Peers,
    Quit,
    Ls,
    Get,
    Unknown,
}

impl Rede {
    /// The codec of a process with this role.
    #[must_use]
    pub fn new(role: Role) -> Rede {
        let state = match role {
            Role::Server => RedeState::Silent,
            Role::Peer => RedeState::Reading,
        };
        Rede { role, state, guess: None, listed: 0, cursor: None }
    }

    /// True when the connection closes after the responses written so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == RedeState::Ended
    }

    /// Decode the next request from the front of `buffer`. On the index the first request needs no
    /// bytes: each connection registers a peer.
    ///
    /// # Errors
    /// When a word is too long.
    pub fn read(
        &mut self,
        buffer: &[u8],
    ) -> Result<Decoded<Result<Request, ErrorReply>>, RedeError> {
        if let Some((asked, _)) = self.guess.take_if(|(_, length)| buffer.len() < *length) {
            self.state = RedeState::Busy(asked);
        }
        match self.state {
            RedeState::Silent => {
                self.state = RedeState::Busy(RedeRequest::Enter);
                let enter = LegacyJoin {
                    speaks: LegacyProfile::Rede,
                    port: LegacyPort::Assigned,
                    folder: None,
                };
                return Ok(Decoded::Whole { item: Ok(Request::Enter(enter)), used: 0 });
            }
            RedeState::Busy(_) | RedeState::Ended => return Ok(Decoded::Partial),
            RedeState::Reading => self.guess = None,
        }
        let line = buffer.trim_ascii_start();
        let skipped = buffer.len() - line.len();
        for (word, asked, request) in self.words() {
            if line.starts_with(word) {
                self.state = RedeState::Busy(asked);
                let rest = line[word.len()..].trim_ascii_start();
                return Ok(Decoded::Whole { item: Ok(request), used: buffer.len() - rest.len() });
            }
        }
        let end = memchr::memchr2(b'\n', b'\r', &line[..line.len().min(limits::REDE_WORD_BYTES)]);
        if end.is_none() && buffer.len() > limits::REDE_WORD_BYTES {
            return Err(RedeError);
        }
        if end.is_none() && self.may_become_known(line) {
            return Ok(Decoded::Partial);
        }
        let (asked, item) = self.meaning(&line[..end.unwrap_or(line.len())]);
        match end {
            Some(end) => {
                self.state = RedeState::Busy(asked);
                let rest = line[end..].trim_ascii_start();
                Ok(Decoded::Whole { item, used: buffer.len() - rest.len() })
            }
            None => {
                self.guess = Some((asked, buffer.len()));
                Ok(Decoded::Quiet { item, used: skipped + line.len() })
            }
        }
    }

    /// The words without an argument.
    fn words(&self) -> Vec<(&'static [u8], RedeRequest, Request)> {
        match self.role {
            Role::Server => {
                vec![
                    (
                        b"peers",
                        RedeRequest::Peers,
                        Request::Peers { cursor: None, speaks: Some(LegacyProfile::Rede) },
                    ),
                    (b"quit", RedeRequest::Quit, Request::Leave),
                ]
            }
            Role::Peer => vec![(b"ls", RedeRequest::Ls, Request::Ls { peer: None, cursor: None })],
        }
    }

    /// True for a prefix of a known word, and for `get` without its name.
    fn may_become_known(&self, line: &[u8]) -> bool {
        let lacks_name = self.role == Role::Peer
            && (b"get".starts_with(line) || line.trim_ascii_end() == b"get");
        lacks_name || self.words().iter().any(|(word, ..)| word.starts_with(line))
    }

    /// Decode a line that is no complete word.
    fn meaning(&self, line: &[u8]) -> (RedeRequest, Result<Request, ErrorReply>) {
        let Some(name) = line.strip_prefix(b"get").filter(|rest| {
            self.role == Role::Peer && rest.first().is_none_or(u8::is_ascii_whitespace)
        }) else {
            return (RedeRequest::Unknown, Err(ErrorReply::unsupported()));
        };
        (RedeRequest::Get, fetch(name))
    }

    /// The request being answered; afterwards the next word is read.
    fn take(&mut self) -> RedeRequest {
        let busy = if let RedeState::Busy(asked) = self.state { Some(asked) } else { None };
        let asked =
            self.guess.take().map(|(asked, _)| asked).or(busy).unwrap_or(RedeRequest::Unknown);
        if self.state != RedeState::Ended {
            self.state = RedeState::Reading;
        }
        asked
    }

    /// Write a response other than a file. The response to `ls` continues while there is a [next
    /// page](Rede::next_page).
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        let asked = self.take();
        match reply {
            Response::Entered { you } => out.extend_from_slice(you.port().to_string().as_bytes()),
            Response::Peers { peers, .. } => {
                for peer in peers {
                    // IPv4 only: the original program splits addresses at the colon.
                    if let IpAddr::V4(ip) = peer.peer.ip().to_canonical() {
                        out.extend_from_slice(
                            format!("{}/", SocketAddr::new(ip.into(), peer.peer.port())).as_bytes(),
                        );
                    }
                }
            }
            Response::Files { files, cursor, .. } => {
                for file in files {
                    out.extend_from_slice(file.name.as_bytes());
                    out.push(b' ');
                }
                self.listed += files.len();
                self.cursor = cursor.clone().filter(|_| self.listed < limits::LIST_ALL);
                self.state =
                    if self.cursor.is_some() { RedeState::Busy(asked) } else { RedeState::Ended };
            }
            Response::LeaveOk => self.state = RedeState::Ended,
            _ => {}
        }
        if self.role == Role::Peer && self.cursor.is_none() {
            self.state = RedeState::Ended;
        }
    }

    /// The request for the next page of `ls`; its reply continues the same response.
    pub fn next_page(&mut self) -> Option<Request> {
        self.cursor.take().map(|cursor| Request::Ls { peer: None, cursor: Some(cursor) })
    }

    /// Record an error, for which the protocol has no message. Close the connection where the
    /// client would wait for ever: on a peer, and for an index without a port to assign.
    pub fn refuse(&mut self, _: &ErrorReply, _: &mut Vec<u8>) {
        let asked = self.take();
        if self.role == Role::Peer || matches!(asked, RedeRequest::Enter | RedeRequest::Quit) {
            self.state = RedeState::Ended;
        }
    }

    /// Send a file of `size` bytes without a header; the end of the connection ends the file.
    pub fn begin(&mut self, size: u64) -> Vec<LegacyChunk> {
        self.take();
        self.state = RedeState::Ended;
        vec![LegacyChunk::File(ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY))]
    }
}

/// Names have blanks around them: the original program splits its lines there, so a name can't
/// start or end with one.
fn fetch(name: &[u8]) -> Result<Request, ErrorReply> {
    let name = std::str::from_utf8(name.trim_ascii()).map_err(|_| ErrorReply::not_utf8())?;
    Ok(Request::Fetch(Fetch::whole(RelativeName::new(name)?)))
}

/// Request a file. The response is its bytes, up to the end of the connection or a long silence.
pub fn ask_file(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"get ");
    out.extend_from_slice(name.as_bytes());
}

/// Request the file list of a peer; [`names`] decodes the response.
pub fn ask_list(out: &mut Vec<u8>) {
    out.extend_from_slice(b"ls");
}

/// The names in a complete response to [`ask_list`]. Blanks separate names and may occur within
/// names, which is ambiguous: each word counts as a name, and invalid names are dropped.
#[must_use]
pub fn names(bytes: &[u8]) -> Vec<RelativeName> {
    let words =
        bytes.split(u8::is_ascii_whitespace).filter_map(|word| std::str::from_utf8(word).ok());
    words.filter_map(|word| RelativeName::new(word).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop_assert, proptest};

    use super::*;
    use crate::protocol::error::ErrorCode;
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::PeerEntry;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    /// An index after its first message.
    fn index() -> Rede {
        let mut wire = Rede::new(Role::Server);
        let enter = Request::Enter(LegacyJoin {
            speaks: LegacyProfile::Rede,
            port: LegacyPort::Assigned,
            folder: None,
        });
        assert_eq!(wire.read(b""), Ok(Decoded::Whole { item: Ok(enter), used: 0 }));
        let mut out = Vec::new();
        wire.reply(&Response::Entered { you: "127.0.0.2:5456".parse().unwrap() }, &mut out);
        assert_eq!(out, b"5456");
        wire
    }

    fn wire(role: Role) -> Rede {
        if role == Role::Server { index() } else { Rede::new(role) }
    }

    fn peers() -> Request {
        Request::Peers { cursor: None, speaks: Some(LegacyProfile::Rede) }
    }

    fn ls(cursor: Option<&str>) -> Request {
        Request::Ls { peer: None, cursor: cursor.map(str::to_owned) }
    }

    fn page(list: &[&str], cursor: Option<&str>) -> Response {
        let files = list.iter().map(|text| FileEntry::new(name(text), 1)).collect();
        Response::Files {
            peer: "127.0.0.1:1".parse().unwrap(),
            files,
            cursor: cursor.map(str::to_owned),
        }
    }

    #[test]
    fn the_index_speaks_first_and_once() {
        let mut wire = Rede::new(Role::Server);
        assert!(matches!(
            wire.read(b"peers"),
            Ok(Decoded::Whole { item: Ok(Request::Enter(_)), used: 0 })
        ));
        assert_eq!(wire.read(b"peers"), Ok(Decoded::Partial));
        let mut out = Vec::new();
        wire.reply(&Response::Entered { you: "127.0.0.1:9".parse().unwrap() }, &mut out);
        assert_eq!(out, b"9");
        assert_eq!(wire.read(b"peers"), Ok(Decoded::Whole { item: Ok(peers()), used: 5 }));
        let mut turned_away = Rede::new(Role::Server);
        assert!(turned_away.read(b"").is_ok());
        turned_away.refuse(&ErrorReply::new(ErrorCode::InUse, "no"), &mut out);
        assert_eq!((out.as_slice(), turned_away.has_ended()), (b"9".as_slice(), true));
        assert_eq!(Rede::new(Role::Peer).read(b""), Ok(Decoded::Partial));
    }

    #[test]
    fn each_word_is_complete_as_soon_as_it_is_present() {
        let cases = [
            (Role::Server, "peers", peers()),
            (Role::Server, "peers\n", peers()),
            (Role::Server, " \r\npeers \r\n", peers()),
            (Role::Server, "quit", Request::Leave),
            (Role::Server, "quit\r\n", Request::Leave),
            (Role::Peer, "ls", ls(None)),
            (Role::Peer, "ls\n", ls(None)),
        ];
        for (role, text, request) in cases {
            let end = text.trim_end().len();
            for at in 0..text.len() {
                let mut wire = wire(role);
                let first = wire.read(&text.as_bytes()[..at]);
                if at < end {
                    assert_eq!(first, Ok(Decoded::Partial), "{text:?} {at}");
                    assert_eq!(
                        wire.read(text.as_bytes()),
                        Ok(Decoded::Whole { item: Ok(request.clone()), used: text.len() }),
                        "{text:?} {at}"
                    );
                } else {
                    assert_eq!(
                        first,
                        Ok(Decoded::Whole { item: Ok(request.clone()), used: at }),
                        "{text:?} {at}"
                    );
                }
            }
        }
    }

    #[test]
    fn words_without_separators_are_answered_in_turn() {
        let mut rest: &[u8] = b"peerspeers\nquit";
        let (mut wire, mut out) = (index(), Vec::new());
        let present = |peer: &str| PeerEntry {
            peer: peer.parse().unwrap(),
            files: 0,
            user: None,
            speaks: Some(LegacyProfile::Rede),
        };
        let list =
            vec![present("127.0.0.1:5455"), present("[::1]:7"), present("[::ffff:127.0.0.2]:5456")];
        while !rest.is_empty() {
            let Ok(Decoded::Whole { item: Ok(request), used }) = wire.read(rest) else {
                panic!("a word")
            };
            rest = &rest[used..];
            if request == Request::Leave {
                assert!(!wire.has_ended());
                wire.reply(&Response::LeaveOk, &mut out);
            } else {
                wire.reply(&Response::Peers { peers: list.clone(), cursor: None }, &mut out);
            }
        }
        assert_eq!(String::from_utf8(out).unwrap(), "127.0.0.1:5455/127.0.0.2:5456/".repeat(2));
        assert!(wire.has_ended());
        assert_eq!(wire.read(b"peers"), Ok(Decoded::Partial));
    }

    #[test]
    fn the_index_ignores_unknown_words() {
        for text in ["ls", "get a", "PEERS", "peer s", "x\0í", "pex"] {
            let (mut wire, mut out) = (index(), Vec::new());
            let unknown = Decoded::Quiet { item: Err(ErrorReply::unsupported()), used: text.len() };
            assert_eq!(wire.read(text.as_bytes()), Ok(unknown), "{text:?}");
            wire.refuse(&ErrorReply::unsupported(), &mut out);
            assert!(out.is_empty() && !wire.has_ended());
            let line = format!("{text}\r\npeers");
            let used = text.len() + 2;
            assert_eq!(
                wire.read(line.as_bytes()),
                Ok(Decoded::Whole { item: Err(ErrorReply::unsupported()), used }),
                "{text:?}"
            );
            wire.refuse(&ErrorReply::unsupported(), &mut out);
            assert_eq!(wire.read(b"peers"), Ok(Decoded::Whole { item: Ok(peers()), used: 5 }));
        }
    }

    #[test]
    fn a_name_continues_until_a_pause() {
        for text in ["get a b.txt", "get vídeo", "get  x ", " get\tx"] {
            let mut wire = Rede::new(Role::Peer);
            for at in 0..=text.len() {
                let so_far = text.as_bytes()[..at].trim_ascii();
                match so_far.strip_prefix(b"get").filter(|name| !name.is_empty()) {
                    Some(so_far) => assert_eq!(
                        wire.read(&text.as_bytes()[..at]),
                        Ok(Decoded::Quiet { item: fetch(so_far), used: at })
                    ),
                    None => assert_eq!(
                        wire.read(&text.as_bytes()[..at]),
                        Ok(Decoded::Partial),
                        "{text:?} {at}"
                    ),
                }
            }
            let item = fetch(text.trim().strip_prefix("get").unwrap().trim().as_bytes());
            assert!(item.is_ok());
            for end in ["\n", "\r\n", "\r"] {
                let line = format!("{text}{end}");
                assert_eq!(
                    Rede::new(Role::Peer).read(line.as_bytes()),
                    Ok(Decoded::Whole { item: item.clone(), used: line.len() })
                );
            }
            // Accepted: the buffer is shorter, and one connection transfers one file.
            assert_eq!(wire.read(b""), Ok(Decoded::Partial));
            assert_eq!(wire.read(b"get z\n"), Ok(Decoded::Partial));
        }
    }

    #[test]
    fn a_file_is_its_bytes_and_an_error_is_the_end() {
        let mut wire = Rede::new(Role::Peer);
        assert_eq!(wire.begin(11), [LegacyChunk::File(ByteRange::new(0, 11).unwrap())]);
        assert!(wire.has_ended());
        for text in [
            "get ../x\n",
            "get \n",
            "get\n",
            "get a\0b\n",
            "get /etc/passwd\n",
            "get C:\\x\n",
            "get a.part\n",
            "getx\n",
            "put\n",
        ] {
            let (mut wire, mut out) = (Rede::new(Role::Peer), Vec::new());
            let Ok(Decoded::Whole { item: Err(refusal), .. }) = wire.read(text.as_bytes()) else {
                panic!("{text:?}")
            };
            wire.refuse(&refusal, &mut out);
            assert!(out.is_empty() && wire.has_ended(), "{text:?}");
        }
        assert!(
            matches!(Rede::new(Role::Peer).read(b"get \xff\n"), Ok(Decoded::Whole { item: Err(refusal), .. }) if refusal.code == ErrorCode::BadName)
        );
    }

    #[test]
    fn a_list_is_one_answer_however_many_pages_it_has() {
        let (mut wire, mut out) = (Rede::new(Role::Peer), Vec::new());
        assert!(wire.read(b"ls").is_ok());
        wire.reply(&page(&["a.txt", "b c.txt"], Some("2")), &mut out);
        assert!(!wire.has_ended());
        assert_eq!(wire.next_page(), Some(ls(Some("2"))));
        assert_eq!(
            (wire.next_page(), wire.has_ended(), wire.read(b"ls")),
            (None, false, Ok(Decoded::Partial))
        );
        wire.reply(&page(&["d/e.txt"], None), &mut out);
        assert_eq!((wire.next_page(), wire.has_ended()), (None, true));
        assert_eq!(String::from_utf8(out.clone()).unwrap(), "a.txt b c.txt d/e.txt ");
        assert_eq!(names(&out), ["a.txt", "b", "c.txt", "d/e.txt"].map(name));
        let mut empty = Rede::new(Role::Peer);
        assert!(empty.read(b"ls").is_ok());
        empty.reply(&page(&[], None), &mut Vec::new());
        assert!(empty.has_ended());
    }

    #[test]
    fn a_list_has_an_end() {
        let (mut wire, list) = (Rede::new(Role::Peer), vec!["a"; 10_000]);
        for pages in 1..=5 {
            wire.reply(&page(&list, Some("more")), &mut Vec::new());
            assert_eq!((wire.next_page().is_some(), wire.has_ended()), (pages < 5, pages == 5));
        }
    }

    #[test]
    fn invalid_names_are_dropped() {
        assert_eq!(names(b""), []);
        assert_eq!(
            names(b"a.txt ../x /abs \xff \x1b[2J b.txt\nc.part d"),
            ["a.txt", "b.txt", "d"].map(name)
        );
    }

    #[test]
    fn requests_match_the_original_program() {
        let (mut file, mut list) = (Vec::new(), Vec::new());
        ask_file("a b.txt", &mut file);
        ask_list(&mut list);
        assert_eq!(
            (file.as_slice(), list.as_slice()),
            (b"get a b.txt".as_slice(), b"ls".as_slice())
        );
    }

    #[test]
    fn an_endless_word_closes_the_connection() {
        for (role, start, then) in [
            (Role::Server, "x", b'x'),
            (Role::Peer, "get x", b'x'),
            (Role::Peer, "", b' '),
            (Role::Peer, "get ", b' '),
        ] {
            let mut text = start.as_bytes().to_vec();
            text.resize(limits::REDE_WORD_BYTES, then);
            assert!(wire(role).read(&text).is_ok(), "{start:?}");
            text.push(then);
            assert_eq!(wire(role).read(&text), Err(RedeError), "{start:?}");
        }
    }

    proptest! {
        #[test]
        fn bytes_from_outside_do_no_harm(parts: Vec<Vec<u8>>, word in 0..5usize, is_peer: bool) {
            let mut wire = Rede::new(if is_peer { Role::Peer } else { Role::Server });
            let (mut buffer, mut out) = (["get ", "ls", "peers", "quit", ""][word].as_bytes().to_vec(), Vec::new());
            for part in parts {
                buffer.extend_from_slice(&part);
                match wire.read(&buffer) {
                    Err(RedeError) => break,
                    Ok(Decoded::Partial) => {}
                    Ok(Decoded::Whole { used, .. } | Decoded::Quiet { used, .. }) => {
                        prop_assert!(used <= buffer.len());
                        buffer.drain(..used);
                        wire.refuse(&ErrorReply::unsupported(), &mut out);
                    }
                }
            }
            prop_assert!(out.is_empty());
            let _ = names(&buffer);
        }
    }
}
