//! A request to an engine: commands for a slot, and the replies.

use std::net::SocketAddr;

use crate::cluster::resp::{self, BadReply, Elements, Reply};
use crate::cluster::slots::{redirection, slot_of};
use crate::protocol::resp::put_command;

/// A reply: 20 pages of providers, or the registry of a thousand servers.
pub const REPLY_BYTES: usize = 1 << 20;

/// Identifies a request to the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct EngineToken(pub u64);

/// The connection for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EngineLane {
    /// The connection for all but durable writes.
    Usual,
    /// A connection of its own: `WAIT` blocks a connection until replicas have the write.
    Durable,
}

/// Commands that go to the master of one slot, each directly behind the last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineRequest {
    /// The slot of all keys.
    pub slot: u16,
    /// The connection.
    pub lane: EngineLane,
    /// Number of commands.
    pub commands: u8,
    /// May run twice: send again when the fate of the first is unknown.
    pub repeats: bool,
    bytes: Vec<u8>,
}

/// The result of a request.
pub type EngineOutcome<'a> = Result<Replies<'a>, EngineFailure>;

/// A request without replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EngineFailure {
    /// Too many requests wait for this node.
    Busy,
    /// No node could answer in time, or the fate of a write is unknown.
    Unavailable,
    /// The engine has no room for a write.
    Full,
    /// The engine refuses the user, or asks for a password.
    Denied,
    /// The engine refuses the command; another program may have written the key.
    Refused,
}

/// The replies to the commands of a request, borrowed from the buffer. None is an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replies<'a> {
    bytes: &'a [u8],
    left: u8,
}

/// An error that concerns the way of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detour {
    /// The slot is at this node from now on.
    Moved(u16, SocketAddr),
    /// The key is at this node already, while the slot still moves there.
    Ask(SocketAddr),
    /// Some keys of the slot are at another node; soon all are.
    TryAgain,
    /// The node can't serve: loading, or a replica, or of a cluster that is down.
    Down,
    /// The request has failed.
    Fails(EngineFailure),
}

impl EngineRequest {
    /// A request for the slot of this key.
    #[must_use]
    pub fn new(key: &[u8]) -> EngineRequest {
        EngineRequest {
            bytes: Vec::with_capacity(key.len() + 128),
            ..EngineRequest::to_master_of(slot_of(key))
        }
    }

    /// A request without a key, for the master of this slot.
    #[must_use]
    pub fn to_master_of(slot: u16) -> EngineRequest {
        let lane = EngineLane::Usual;
        EngineRequest { slot, lane, commands: 0, repeats: true, bytes: Vec::new() }
    }

    /// Add a command.
    #[must_use]
    pub fn command(mut self, words: &[&[u8]]) -> EngineRequest {
        put_command(words, &mut self.bytes);
        self.commands += 1;
        self
    }

    /// Must not run twice.
    #[must_use]
    pub fn once(mut self) -> EngineRequest {
        self.repeats = false;
        self
    }

    /// Send by the connection for durable writes, and wait until so many replicas have the write.
    #[must_use]
    pub fn durable(mut self, replicas: u8) -> EngineRequest {
        self.lane = EngineLane::Durable;
        self.command(&[b"WAIT", replicas.to_string().as_bytes(), WAIT_MS])
    }

    /// The commands as bytes.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// A write waits so long for replicas: a healthy replica needs a millisecond.
const WAIT_MS: &[u8] = b"500";

impl<'a> Replies<'a> {
    /// Read `count` replies from the start of `bytes`, with their length; `None` when bytes are
    /// missing.
    ///
    /// # Errors
    /// As [`resp::parse`].
    pub fn read(bytes: &'a [u8], count: u8) -> Result<Option<(Replies<'a>, usize)>, BadReply> {
        let mut used = 0;
        for _ in 0..count {
            let Some((_, length)) = resp::parse(&bytes[used..], REPLY_BYTES)? else {
                return Ok(None);
            };
            used += length;
        }
        Ok(Some((Replies { bytes: &bytes[..used], left: count }, used)))
    }

    /// The last reply.
    #[must_use]
    pub fn last_reply(self) -> Reply<'a> {
        self.last().unwrap_or(Reply::Nil)
    }

    /// The replies inside a transaction, whose `EXEC` came last. `None` when any is an error.
    #[must_use]
    pub fn executed(self) -> Option<Elements<'a>> {
        let Reply::Array(replies) = self.last_reply() else { return None };
        let mut all = replies;
        (!all.any(|reply| matches!(reply, Reply::Error(_)))).then_some(replies)
    }

    /// The first error, as far as that concerns the way.
    pub(super) fn detour(mut self, asked: SocketAddr) -> Option<Detour> {
        self.find_map(|reply| match reply {
            Reply::Error(text) => Some(detour(text, asked)),
            _ => None,
        })
    }
}

impl<'a> Iterator for Replies<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.left = self.left.checked_sub(1)?;
        let (reply, used) = resp::parse(self.bytes, REPLY_BYTES).ok().flatten()?;
        self.bytes = &self.bytes[used..];
        Some(reply)
    }
}

fn detour(text: &[u8], asked: SocketAddr) -> Detour {
    let end = memchr::memchr(b' ', text).unwrap_or(text.len());
    let (code, rest) = text.split_at(end);
    let target = || redirection(rest.get(1..).unwrap_or_default(), asked);
    match code {
        // A redirection without a usable address: a new map may have an address.
        b"MOVED" => target().map_or(Detour::Down, |(slot, to)| Detour::Moved(slot, to)),
        b"ASK" => target().map_or(Detour::Down, |(_, to)| Detour::Ask(to)),
        b"TRYAGAIN" => Detour::TryAgain,
        b"CLUSTERDOWN" | b"LOADING" | b"READONLY" | b"MASTERDOWN" | b"NOREPLICAS" | b"BUSY" => {
            Detour::Down
        }
        b"OOM" | b"MISCONF" => Detour::Fails(EngineFailure::Full),
        b"NOAUTH" | b"WRONGPASS" | b"NOPERM" => Detour::Fails(EngineFailure::Denied),
        _ => Detour::Fails(EngineFailure::Refused),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_holds_its_commands_in_order() {
        let request = EngineRequest::new(b"a{b}")
            .command(&[b"MULTI"])
            .command(&[b"DEL", b"a{b}"])
            .command(&[b"EXEC"]);
        assert_eq!((request.slot, request.commands), (slot_of(b"b"), 3));
        let text = b"*1\r\n$5\r\nMULTI\r\n*2\r\n$3\r\nDEL\r\n$4\r\na{b}\r\n*1\r\n$4\r\nEXEC\r\n";
        assert_eq!(request.bytes(), text);
        let durable = EngineRequest::new(b"k").command(&[b"GET", b"k"]).once().durable(1);
        assert_eq!(
            (durable.commands, durable.lane, durable.repeats),
            (2, EngineLane::Durable, false)
        );
    }

    #[test]
    fn replies_are_read_together_or_not_at_all() {
        let bytes = b"+OK\r\n+QUEUED\r\n*2\r\n:1\r\n$1\r\na\r\n";
        for cut in 0..bytes.len() {
            assert_eq!(Replies::read(&bytes[..cut], 3), Ok(None));
        }
        let (replies, used) = Replies::read(bytes, 3).unwrap().unwrap();
        assert_eq!((used, replies.count()), (bytes.len(), 3));
        let all: Vec<_> = replies.executed().unwrap().collect();
        assert_eq!(all, [Reply::Integer(1), Reply::Bulk(b"a")]);
        let failed = Replies::read(b"*2\r\n:1\r\n-WRONGTYPE x\r\n", 1).unwrap().unwrap().0;
        assert_eq!(failed.executed(), None);
        assert!(Replies::read(b"nonsense\r\n", 1).is_err());
    }

    #[test]
    fn each_error_has_its_detour() {
        let asked = "127.0.0.1:7000".parse().unwrap();
        let other = "127.0.0.1:7001".parse().unwrap();
        for (text, wanted) in [
            ("MOVED 5 127.0.0.1:7001", Detour::Moved(5, other)),
            ("MOVED 5 nowhere", Detour::Down),
            ("MOVED", Detour::Down),
            ("ASK 5 :7001", Detour::Ask(other)),
            ("TRYAGAIN Multiple keys request", Detour::TryAgain),
            ("CLUSTERDOWN Hash slot not served", Detour::Down),
            ("LOADING Redis is loading the dataset in memory", Detour::Down),
            ("READONLY You can't write against a read only replica.", Detour::Down),
            ("OOM command not allowed", Detour::Fails(EngineFailure::Full)),
            ("NOAUTH Authentication required.", Detour::Fails(EngineFailure::Denied)),
            ("NOPERM this user has no permissions", Detour::Fails(EngineFailure::Denied)),
            ("WRONGTYPE Operation against a key", Detour::Fails(EngineFailure::Refused)),
            ("ERR unknown command", Detour::Fails(EngineFailure::Refused)),
            ("", Detour::Fails(EngineFailure::Refused)),
        ] {
            assert_eq!(detour(text.as_bytes(), asked), wanted, "{text}");
        }
        let bytes = b"+OK\r\n-MOVED 5 127.0.0.1:7001\r\n-EXECABORT x\r\n";
        let replies = Replies::read(bytes, 3).unwrap().unwrap().0;
        assert_eq!(replies.detour(asked), Some(Detour::Moved(5, other)));
        let fine = Replies::read(b"+OK\r\n:3\r\n", 2).unwrap().unwrap().0;
        assert_eq!(fine.detour(asked), None);
    }
}
