//! Users and publications: writes that count only once a replica has the write.
//!
//! A write whose fate is unknown is `Unavailable`; each may be repeated, and the repetition of a
//! write that was done is done as well. Each script begins with the mark of the slot: where the
//! mark is missing the accounts of the slot are lost, and nothing may be written. A script that
//! finds its own earlier work writes something again: `WAIT` waits for writes only.

use crate::cluster::account_entry::{AccountValue, PublicationEntry};
use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest};
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;
use crate::cluster::slots::slot_of;
use crate::protocol::types::account::{Published, UserName};

/// Set the mark of a slot, unless it has one. Replies the mark.
pub const MARK: &[u8] =
    b"local h=redis.call('GET',KEYS[1]) or ARGV[1] redis.call('SET',KEYS[1],h) return h";
/// Add a user, unless there is one of that name. Replies 1, or the value of the user.
pub const REGISTER: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
local h=redis.call('GET',KEYS[2]) redis.call('SET',KEYS[2],h or ARGV[2]) return h or 1";
/// Remove a user with this value; the publications get another key and an end.
pub const UNREGISTER: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
local h=redis.call('GET',KEYS[2]) if h and h~=ARGV[2] then return -1 end
redis.call('SET',KEYS[2],ARGV[2]) redis.call('DEL',KEYS[2],KEYS[3])
if redis.call('EXISTS',KEYS[4])==1 then redis.call('RENAME',KEYS[4],KEYS[5]) redis.call('EXPIRE',KEYS[5],86400) end return 1";
/// Set the address of a legacy client, unless the user has one. Replies 1, or the address.
pub const CONNECT: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
if redis.call('GET',KEYS[2])~=ARGV[2] then return -1 end
local h=redis.call('GET',KEYS[3]) redis.call('SET',KEYS[3],h or ARGV[3]) return h or 1";
/// Remove this address of a legacy client.
pub const DISCONNECT: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
if redis.call('GET',KEYS[2])~=ARGV[2] then return -1 end
local h=redis.call('GET',KEYS[3]) if h and h~=ARGV[3] then return 1 end
redis.call('SET',KEYS[3],ARGV[3]) redis.call('DEL',KEYS[3]) return 1";
/// Add a publication that is new. Replies 1, the present entry, or -3 at the limit.
pub const PUBLISH: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
if redis.call('GET',KEYS[2])~=ARGV[2] then return -1 end
local h=redis.call('ZRANGE',KEYS[3],ARGV[3],ARGV[4],'BYLEX','LIMIT',0,1)
if h[1] then redis.call('SET',KEYS[2],ARGV[2]) return h[1] end
if redis.call('ZCARD',KEYS[3])>=tonumber(ARGV[6]) then return -3 end
redis.call('ZADD',KEYS[3],0,ARGV[5]) return 1";
/// Remove a publication.
pub const WITHDRAW: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
if redis.call('GET',KEYS[2])~=ARGV[2] then return -1 end
if redis.call('ZREM',KEYS[3],ARGV[3])==0 then redis.call('SET',KEYS[2],ARGV[2]) end return 1";
/// Add an entry to a list of users.
pub const LIST: &[u8] = b"if redis.call('GET',KEYS[1])~=ARGV[1] then return -2 end
redis.call('ZREM',KEYS[2],ARGV[2]) redis.call('ZADD',KEYS[2],0,ARGV[2]) return 1";

/// The end of a durable write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// Written, and known to the replicas.
    Done,
    /// Another value was there before, and stays.
    Held(Vec<u8>),
    /// The user has another value, or is not registered.
    OtherUser,
    /// The list is full.
    TooMany,
}

/// A durable write under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DurableWrite {
    /// The request.
    pub request: EngineRequest,
    /// The value that counts as the own one.
    own: Vec<u8>,
    replicas: u8,
}

/// The keys and the settings of durable writes.
#[derive(Clone, Copy)]
pub struct AccountKeys<'a> {
    /// The keys.
    pub keys: &'a Keys,
    /// The mark of each slot.
    pub mark: &'a [u8],
    /// Replicas that must have the write.
    pub replicas: u8,
}

impl AccountKeys<'_> {
    fn write(&self, script: &[u8], keys: &[&[u8]], more: &[&[u8]], own: &[u8]) -> DurableWrite {
        let first = keys.first().copied().unwrap_or_default();
        let mark = self.keys.account_mark(slot_of(first));
        let count = (keys.len() + 1).to_string();
        let mut words: Vec<&[u8]> = vec![b"EVAL", script, count.as_bytes(), &mark];
        words.extend(keys);
        words.push(self.mark);
        words.extend(more);
        let request = EngineRequest::new(first).command(&words).durable(self.replicas);
        DurableWrite { request, own: own.to_vec(), replicas: self.replicas }
    }

    /// Mark a slot. `Held`: another mark was there before.
    #[must_use]
    pub fn mark(&self, slot: u16) -> DurableWrite {
        let key = self.keys.account_mark(slot);
        let request = EngineRequest::new(&key)
            .command(&[b"EVAL", MARK, b"1", &key, self.mark])
            .durable(self.replicas);
        DurableWrite { request, own: self.mark.to_vec(), replicas: self.replicas }
    }

    /// REGISTER.
    #[must_use]
    pub fn register(&self, user: &UserName, value: &AccountValue) -> DurableWrite {
        let (place, value) = (self.keys.user(user), value.encode());
        self.write(REGISTER, &[&place], &[&value], &value)
    }

    /// UNREGISTER.
    #[must_use]
    pub fn unregister(&self, user: &UserName, value: &AccountValue) -> DurableWrite {
        let keys = self.keys;
        let (place, connection) = (keys.user(user), keys.connection(user));
        let (list, removed) = (keys.publications(user), keys.removed(user, value.nonce));
        let all: [&[u8]; 4] = [&place, &connection, &list, &removed];
        self.write(UNREGISTER, &all, &[&value.encode()], &[])
    }

    /// The CONNECT of a legacy client, with the encoded address.
    #[must_use]
    pub fn connect(&self, user: &UserName, value: &AccountValue, at: &[u8]) -> DurableWrite {
        let keys: [&[u8]; 2] = [&self.keys.user(user), &self.keys.connection(user)];
        self.write(CONNECT, &keys, &[&value.encode(), at], at)
    }

    /// The DISCONNECT of a legacy client.
    #[must_use]
    pub fn disconnect(&self, user: &UserName, value: &AccountValue, at: &[u8]) -> DurableWrite {
        let keys: [&[u8]; 2] = [&self.keys.user(user), &self.keys.connection(user)];
        self.write(DISCONNECT, &keys, &[&value.encode(), at], &[])
    }

    /// PUBLISH, up to `most` publications of the user.
    #[must_use]
    pub fn publish(
        &self,
        user: &UserName,
        value: &AccountValue,
        entry: &PublicationEntry,
        most: u64,
    ) -> DurableWrite {
        let keys: [&[u8]; 2] = [&self.keys.user(user), &self.keys.publications(user)];
        let ((from, to), bytes) = (PublicationEntry::range(&entry.what.file), entry.encode());
        let most = most.to_string();
        let more: [&[u8]; 5] = [&value.encode(), &from, &to, &bytes, most.as_bytes()];
        self.write(PUBLISH, &keys, &more, &bytes)
    }

    /// The end of a publication.
    #[must_use]
    pub fn withdraw(&self, user: &UserName, value: &AccountValue, entry: &[u8]) -> DurableWrite {
        let keys: [&[u8]; 2] = [&self.keys.user(user), &self.keys.publications(user)];
        self.write(WITHDRAW, &keys, &[&value.encode(), entry], &[])
    }

    /// Note a publisher at a file, before the publication itself.
    #[must_use]
    pub fn add_publisher(&self, file: &Published, entry: &[u8]) -> DurableWrite {
        self.write(LIST, &[&self.keys.publishers(file)], &[entry], &[])
    }

    /// Note a user of a legacy client, before the address itself.
    #[must_use]
    pub fn add_legacy_user(&self, user: &UserName, entry: &[u8]) -> DurableWrite {
        let part = self.keys.part_of(user.as_bytes());
        self.write(LIST, &[&self.keys.legacy_users(part)], &[entry], &[])
    }
}

impl DurableWrite {
    /// Read the outcome.
    ///
    /// # Errors
    /// `Unavailable` when too few replicas have the write, or the accounts of the slot are lost.
    pub fn result(&self, outcome: EngineOutcome<'_>) -> Result<WriteResult, EngineFailure> {
        let mut replies = outcome?;
        let written = replies.next().unwrap_or(Reply::Nil);
        let replicas = replies.next().and_then(Reply::count).ok_or(EngineFailure::Refused)?;
        let result = match written {
            Reply::Integer(1) => WriteResult::Done,
            Reply::Bulk(held) if held == self.own => WriteResult::Done,
            Reply::Bulk(held) => WriteResult::Held(held.to_vec()),
            Reply::Integer(-1) => WriteResult::OtherUser,
            Reply::Integer(-2) => return Err(EngineFailure::Unavailable),
            Reply::Integer(-3) => WriteResult::TooMany,
            _ => return Err(EngineFailure::Refused),
        };
        // A repeated request may find the own value under another nonce: that counts as well.
        let is_written = matches!(result, WriteResult::Done | WriteResult::Held(_));
        if is_written && replicas < u64::from(self.replicas) {
            return Err(EngineFailure::Unavailable);
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::command::Replies;
    use crate::protocol::types::account::{Line, Publication};

    fn result(write: &DurableWrite, reply: &[u8]) -> Result<WriteResult, EngineFailure> {
        assert_eq!(write.request.commands, 2);
        write.result(Ok(Replies::read(reply, 2).unwrap().unwrap().0))
    }

    fn bulk(bytes: &[u8], replicas: u8) -> Vec<u8> {
        let head = format!("${}\r\n", bytes.len());
        [head.as_bytes(), bytes, format!("\r\n:{replicas}\r\n").as_bytes()].concat()
    }

    #[test]
    fn a_write_counts_once_a_replica_has_it() {
        let keys = Keys::new("", [0; 32]);
        let with = AccountKeys { keys: &keys, mark: &[7; 32], replicas: 1 };
        let ana = UserName::new("ana").unwrap();
        let value = AccountValue { key: None, nonce: [1; 8] };
        let what =
            Publication { file: Line::new("a").unwrap(), description: Line::new("").unwrap() };
        let entry = PublicationEntry { what, nonce: [2; 8] };
        let register = with.register(&ana, &value);
        let publish = with.publish(&ana, &value, &entry, 10);
        let withdraw = with.withdraw(&ana, &value, &entry.encode());
        let other = AccountValue { nonce: [9; 8], ..value }.encode();
        let held = WriteResult::Held(other.clone());
        for (write, reply, wanted) in [
            (&register, b":1\r\n:1\r\n".to_vec(), Ok(WriteResult::Done)),
            (&register, b":1\r\n:0\r\n".to_vec(), Err(EngineFailure::Unavailable)),
            (&register, bulk(&value.encode(), 1), Ok(WriteResult::Done)),
            (&register, bulk(&value.encode(), 0), Err(EngineFailure::Unavailable)),
            (&register, bulk(&other, 2), Ok(held)),
            (&register, bulk(&other, 0), Err(EngineFailure::Unavailable)),
            (&register, b":-2\r\n:1\r\n".to_vec(), Err(EngineFailure::Unavailable)),
            (&register, b"$-1\r\n:1\r\n".to_vec(), Err(EngineFailure::Refused)),
            (&register, b":1\r\n+OK\r\n".to_vec(), Err(EngineFailure::Refused)),
            (&publish, bulk(&entry.encode(), 1), Ok(WriteResult::Done)),
            (&publish, b":-1\r\n:0\r\n".to_vec(), Ok(WriteResult::OtherUser)),
            (&publish, b":-3\r\n:0\r\n".to_vec(), Ok(WriteResult::TooMany)),
            (&withdraw, b":1\r\n:1\r\n".to_vec(), Ok(WriteResult::Done)),
            (&withdraw, b":0\r\n:1\r\n".to_vec(), Err(EngineFailure::Refused)),
            (&withdraw, b"*0\r\n:1\r\n".to_vec(), Err(EngineFailure::Refused)),
        ] {
            let shown = String::from_utf8_lossy(&reply).into_owned();
            assert_eq!(result(write, &reply), wanted, "{shown}");
        }
        let alone = AccountKeys { replicas: 0, ..with }.register(&ana, &value);
        assert_eq!(result(&alone, b":1\r\n:0\r\n"), Ok(WriteResult::Done));
    }

    #[test]
    fn all_keys_of_a_script_are_in_one_slot() {
        let keys = Keys::new("p:", [3; 32]);
        let with = AccountKeys { keys: &keys, mark: &[7; 32], replicas: 1 };
        let user = UserName::new("a{b}c").unwrap();
        let slot = slot_of(&keys.user(&user));
        for key in [
            keys.connection(&user),
            keys.publications(&user),
            keys.removed(&user, [1; 8]),
            keys.account_mark(slot),
        ] {
            assert_eq!(slot_of(&key), slot);
        }
        let value = AccountValue { key: None, nonce: [1; 8] };
        assert_eq!(with.unregister(&user, &value).request.slot, slot);
        assert_eq!(with.mark(77).request.slot, 77);
    }
}
