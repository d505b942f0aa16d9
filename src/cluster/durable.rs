//! Users and publications: writes that count only once a replica has the write.
//!
//! A write whose fate is unknown is `Unavailable`; each may be repeated.

use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest, Replies};
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;

/// Set a publication that is new, if the user still has this key.
pub const PUBLISH: &[u8] =
    b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -1 end return redis.call('HSETNX',KEYS[2],ARGV[2],ARGV[3])";
/// Remove a publication, if the user still has this key.
pub const WITHDRAW: &[u8] =
    b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -1 end return redis.call('HDEL',KEYS[2],ARGV[2])";

/// The end of a durable write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// Written, and known to the replicas.
    Done,
    /// Another user has the name, or the publication is there already, or is not there.
    Conflict,
    /// The user has another key, or is not registered.
    OtherKey,
}

/// A durable write under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableWrite {
    /// The request.
    pub request: EngineRequest,
    kind: WriteKind,
    replicas: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WriteKind {
    /// Holds the key of the user.
    Register(Vec<u8>),
    Publish,
    Withdraw,
}

impl DurableWrite {
    /// REGISTER: a user with a key. With the same key again: done as well.
    #[must_use]
    pub fn register(user: &str, key: &[u8], replicas: u8, keys: &Keys) -> DurableWrite {
        let place = keys.user(user);
        let request = EngineRequest::new(&place)
            .command(&[b"SET", &place, key, b"NX", b"GET"])
            .durable(replicas);
        DurableWrite { request, kind: WriteKind::Register(key.to_vec()), replicas }
    }

    /// PUBLISH: a file with a description, of a user with this key.
    #[must_use]
    pub fn publish(
        user: &str,
        key: &[u8],
        file: &str,
        description: &str,
        replicas: u8,
        keys: &Keys,
    ) -> DurableWrite {
        let words = [file.as_bytes(), description.as_bytes()];
        DurableWrite::script(PUBLISH, WriteKind::Publish, user, key, &words, replicas, keys)
    }

    /// The end of a publication.
    #[must_use]
    pub fn withdraw(user: &str, key: &[u8], file: &str, replicas: u8, keys: &Keys) -> DurableWrite {
        let words = [file.as_bytes()];
        DurableWrite::script(WITHDRAW, WriteKind::Withdraw, user, key, &words, replicas, keys)
    }

    fn script(
        script: &[u8],
        kind: WriteKind,
        user: &str,
        key: &[u8],
        more: &[&[u8]],
        replicas: u8,
        keys: &Keys,
    ) -> DurableWrite {
        let (user, publications) = (keys.user(user), keys.publications(user));
        let mut words: Vec<&[u8]> = vec![b"EVAL", script, b"2", &user, &publications, key];
        words.extend(more);
        let request = EngineRequest::new(&user).command(&words).durable(replicas);
        DurableWrite { request, kind, replicas }
    }

    /// Read the outcome.
    ///
    /// # Errors
    /// `Unavailable` when too few replicas have the write.
    pub fn result(&self, outcome: EngineOutcome<'_>) -> Result<WriteResult, EngineFailure> {
        let mut replies: Replies<'_> = outcome?;
        let written = replies.next().unwrap_or(Reply::Nil);
        let replicas = replies.next().and_then(Reply::count).ok_or(EngineFailure::Refused)?;
        let result = match (&self.kind, written) {
            (WriteKind::Register(_), Reply::Nil) => WriteResult::Done,
            (WriteKind::Register(key), Reply::Bulk(held)) if held == key => WriteResult::Done,
            (WriteKind::Register(_), Reply::Bulk(_)) | (_, Reply::Integer(0)) => {
                WriteResult::Conflict
            }
            (WriteKind::Publish | WriteKind::Withdraw, Reply::Integer(1)) => WriteResult::Done,
            (WriteKind::Publish | WriteKind::Withdraw, Reply::Integer(-1)) => WriteResult::OtherKey,
            _ => return Err(EngineFailure::Refused),
        };
        // Only a write needs replicas; a conflict may rest on a write that is lost later, and is
        // then merely out of date.
        if result == WriteResult::Done && replicas < u64::from(self.replicas) {
            return Err(EngineFailure::Unavailable);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(write: &DurableWrite, reply: &[u8]) -> Result<WriteResult, EngineFailure> {
        assert_eq!(write.request.commands, 2);
        write.result(Ok(Replies::read(reply, 2).unwrap().unwrap().0))
    }

    #[test]
    fn a_write_counts_once_a_replica_has_it() {
        let keys = Keys::new("", [0; 32]);
        let register = DurableWrite::register("ana", b"key", 1, &keys);
        let publish = DurableWrite::publish("ana", b"key", "a.mp4", "mine", 1, &keys);
        let withdraw = DurableWrite::withdraw("ana", b"key", "a.mp4", 1, &keys);
        for (write, reply, wanted) in [
            (&register, &b"$-1\r\n:1\r\n"[..], Ok(WriteResult::Done)),
            (&register, b"$3\r\nkey\r\n:2\r\n", Ok(WriteResult::Done)),
            (&register, b"$-1\r\n:0\r\n", Err(EngineFailure::Unavailable)),
            (&register, b"$3\r\nkey\r\n:0\r\n", Err(EngineFailure::Unavailable)),
            (&register, b"$5\r\nother\r\n:0\r\n", Ok(WriteResult::Conflict)),
            (&register, b":1\r\n:1\r\n", Err(EngineFailure::Refused)),
            (&publish, b":1\r\n:1\r\n", Ok(WriteResult::Done)),
            (&publish, b":1\r\n:0\r\n", Err(EngineFailure::Unavailable)),
            (&publish, b":0\r\n:1\r\n", Ok(WriteResult::Conflict)),
            (&publish, b":-1\r\n:1\r\n", Ok(WriteResult::OtherKey)),
            (&withdraw, b":1\r\n:1\r\n", Ok(WriteResult::Done)),
            (&withdraw, b":0\r\n:0\r\n", Ok(WriteResult::Conflict)),
            (&withdraw, b"+OK\r\n+OK\r\n", Err(EngineFailure::Refused)),
        ] {
            let shown = String::from_utf8_lossy(reply).into_owned();
            assert_eq!(result(write, reply), wanted, "{shown}");
        }
        let alone = DurableWrite::register("ana", b"key", 0, &keys);
        assert_eq!(result(&alone, b"$-1\r\n:0\r\n"), Ok(WriteResult::Done));
    }
}
