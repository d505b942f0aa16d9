//! The bare words of rede-p2p: the index speaks first on one lasting connection, a peer answers one request a connection.
//!
//! Nothing ends a word: one that is known is whole as soon as it is there, whatever follows, so that it means the same however it was cut; a name
//! and an unknown word are whole at the end of their line, or when nothing more comes ([`Decoded::Quiet`]). Line ends and blanks before and after
//! words are skipped. What that program does not understand it does not answer, and neither does this.

use std::net::{IpAddr, SocketAddr};

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{Fetch, LegacyJoin, LegacyPort, Request, Selector};
use crate::protocol::response::Response;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;
use crate::protocol::{Decoded, LegacyChunk, Role};

/// One link's memory.
#[derive(Debug)]
pub struct Rede {
    role: Role,
    state: RedeState,
    /// A Quiet item, until it is taken or turns out to go on: it and how many bytes it had.
    guess: Option<(RedeRequest, usize)>,
    /// Names that one answer to `ls` has brought so far.
    listed: usize,
    /// Where the list goes on.
    cursor: Option<String>,
}

/// The link can't go on.
#[derive(Debug, PartialEq, Eq)]
pub struct RedeError;

/// What happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RedeState {
    /// The index has not spoken yet.
    Silent,
    /// The next word is read.
    Reading,
    /// A word waits for its answer.
    Busy(RedeRequest),
    /// Nothing more is read.
    Ended,
}

/// What was asked, as far as the end of the link depends on it.
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
    /// For a link to a process of this role.
    #[must_use]
    pub fn new(role: Role) -> Rede {
        let state = match role {
            Role::Server => RedeState::Silent,
            Role::Peer => RedeState::Reading,
        };
        Rede { role, state, guess: None, listed: 0, cursor: None }
    }

    /// True when the link ends behind the answers given so far.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.state == RedeState::Ended
    }

    /// Reads the next request off the front of `buffer`. On the index the first one is there before any byte: whoever connects enters.
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
                    port: LegacyPort::Given,
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

    /// The words that stand alone.
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

    /// True for the beginning of a known word, and for one that lacks its name.
    fn may_become_known(&self, line: &[u8]) -> bool {
        let lacks_name = self.role == Role::Peer
            && (b"get".starts_with(line) || line.trim_ascii_end() == b"get");
        lacks_name || self.words().iter().any(|(word, ..)| word.starts_with(line))
    }

    /// What a line means that is no word by itself.
    fn meaning(&self, line: &[u8]) -> (RedeRequest, Result<Request, ErrorReply>) {
        let Some(name) = line.strip_prefix(b"get").filter(|rest| {
            self.role == Role::Peer && rest.first().is_none_or(u8::is_ascii_whitespace)
        }) else {
            return (RedeRequest::Unknown, Err(ErrorReply::unsupported()));
        };
        (RedeRequest::Get, fetch(name))
    }

    /// What is being answered; the next word is read after it.
    fn take(&mut self) -> RedeRequest {
        let busy = if let RedeState::Busy(asked) = self.state { Some(asked) } else { None };
        let asked =
            self.guess.take().map(|(asked, _)| asked).or(busy).unwrap_or(RedeRequest::Unknown);
        if self.state != RedeState::Ended {
            self.state = RedeState::Reading;
        }
        asked
    }

    /// Writes an answer that is no file. One to `ls` goes on while there is a [next page](Rede::next_page).
    pub fn reply(&mut self, reply: &Response, out: &mut Vec<u8>) {
        let asked = self.take();
        match reply {
            Response::Entered { you } => out.extend_from_slice(you.port().to_string().as_bytes()),
            Response::Peers { peers, .. } => {
                for peer in peers {
                    // The program splits at the colon, so that no other address can be told to it.
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

    /// What is to be asked once more, because the answer to `ls` was longer than one page; its reply belongs to the same answer.
    pub fn next_page(&mut self) -> Option<Request> {
        self.cursor.take().map(|cursor| Request::Ls { peer: None, cursor: Some(cursor) })
    }

    /// Takes note of a no, which this language has no words for. The link ends where silence would be waited out for ever: on a peer, and
    /// where the index gives no port.
    pub fn refuse(&mut self, _: &ErrorReply, _: &mut Vec<u8>) {
        let asked = self.take();
        if self.role == Role::Peer || matches!(asked, RedeRequest::Enter | RedeRequest::Quit) {
            self.state = RedeState::Ended;
        }
    }

    /// The bytes of a file; nothing is said before them, and the end of the link ends them.
    pub fn begin(&mut self, size: u64) -> Vec<LegacyChunk> {
        self.take();
        self.state = RedeState::Ended;
        vec![LegacyChunk::Bytes(ByteRange::within(0, None, size).unwrap_or(ByteRange::EMPTY))]
    }
}

/// A name stands between blanks: that program cuts its lines at them, so one that begins or ends with a blank can't be asked for.
fn fetch(name: &[u8]) -> Result<Request, ErrorReply> {
    let name = std::str::from_utf8(name.trim_ascii()).map_err(|_| {
        ErrorReply::new(ErrorCode::BadName, "a file name must not be anything but UTF-8")
    })?;
    Ok(Request::Fetch(Fetch {
        wanted: Selector::Name(RelativeName::new(name)?),
        from: 0,
        length: None,
        tag: None,
    }))
}

/// Asks a peer for a file; the answer is its bytes, up to the end of the link or until nothing more comes.
pub fn ask_file(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b"get ");
    out.extend_from_slice(name.as_bytes());
}

/// Asks a peer what it shares; [`names`] reads the answer.
pub fn ask_list(out: &mut Vec<u8>) {
    out.extend_from_slice(b"ls");
}

/// The names in the answer to [`ask_list`], when it has ended. Blanks stand between names and may stand inside of them, which can't be told apart:
/// each word counts as a name, and one that can't be a name is left out.
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
    use crate::protocol::request::FileEntry;
    use crate::protocol::response::PeerEntry;

    fn name(text: &str) -> RelativeName {
        RelativeName::new(text).unwrap()
    }

    /// An index behind its first word.
    fn index() -> Rede {
        let mut wire = Rede::new(Role::Server);
        let enter = Request::Enter(LegacyJoin {
            speaks: LegacyProfile::Rede,
            port: LegacyPort::Given,
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
    fn each_word_is_whole_as_soon_as_it_is_there() {
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
    fn words_that_run_into_each_other_are_answered_in_turn() {
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
    fn what_the_index_does_not_know_it_does_not_answer() {
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
    fn a_name_goes_on_until_nothing_more_comes() {
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
            // Taken: the buffer is shorter, and one link brings one file.
            assert_eq!(wire.read(b""), Ok(Decoded::Partial));
            assert_eq!(wire.read(b"get z\n"), Ok(Decoded::Partial));
        }
    }

    #[test]
    fn a_file_is_its_bytes_and_a_no_is_the_end() {
        let mut wire = Rede::new(Role::Peer);
        assert_eq!(wire.begin(11), [LegacyChunk::Bytes(ByteRange::new(0, 11).unwrap())]);
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
    fn names_that_can_be_none_are_left_out() {
        assert_eq!(names(b""), []);
        assert_eq!(
            names(b"a.txt ../x /abs \xff \x1b[2J b.txt\nc.part d"),
            ["a.txt", "b.txt", "d"].map(name)
        );
    }

    #[test]
    fn what_is_asked_is_what_that_program_understands() {
        let (mut file, mut list) = (Vec::new(), Vec::new());
        ask_file("a b.txt", &mut file);
        ask_list(&mut list);
        assert_eq!(
            (file.as_slice(), list.as_slice()),
            (b"get a b.txt".as_slice(), b"ls".as_slice())
        );
    }

    #[test]
    fn an_endless_word_ends_the_link() {
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
