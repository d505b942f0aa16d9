//! The data of a model engine: strings, hashes, sorted sets with equal scores, streams, and the
//! fixed scripts, with the replies of a real engine.

use std::collections::{BTreeMap, BTreeSet};

use cardume::cluster::{claim, durable, mirror, registry};

/// A value of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    Text(Vec<u8>),
    Hash(Fields),
    Set(BTreeSet<Vec<u8>>),
    Stream(EventStream),
}

/// Events by number, and the last number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventStream {
    events: Vec<(u64, Vec<u8>)>,
    last: u64,
}

/// All keys of a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keyspace(pub BTreeMap<Vec<u8>, Value>);

pub type Words = Vec<Vec<u8>>;
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

const WRONG_TYPE: &[u8] = b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n";

pub fn bulk(text: &[u8]) -> Vec<u8> {
    [format!("${}\r\n", text.len()).as_bytes(), text, b"\r\n"].concat()
}

pub fn integer(number: usize) -> Vec<u8> {
    format!(":{number}\r\n").into_bytes()
}

pub fn array(parts: &[Vec<u8>]) -> Vec<u8> {
    [format!("*{}\r\n", parts.len()).into_bytes(), parts.concat()].concat()
}

fn nil() -> Vec<u8> {
    b"$-1\r\n".to_vec()
}

/// The keys of a command.
pub fn keys_of(words: &Words) -> Vec<Vec<u8>> {
    match words[0].as_slice() {
        b"PING" | b"INFO" | b"CLUSTER" | b"CONFIG" | b"CLIENT" | b"AUTH" | b"ASKING" | b"MULTI"
        | b"EXEC" | b"WAIT" | b"DISCARD" | b"SCAN" => Vec::new(),
        b"XREAD" => vec![words[4].clone()],
        b"EVAL" => {
            let count: usize = std::str::from_utf8(&words[2]).unwrap().parse().unwrap();
            words[3..3 + count].to_vec()
        }
        _ => vec![words[1].clone()],
    }
}

/// True if a command changes data.
pub fn writes(words: &Words) -> bool {
    matches!(
        words[0].as_slice(),
        b"SET"
            | b"DEL"
            | b"INCR"
            | b"HSET"
            | b"HSETNX"
            | b"HDEL"
            | b"ZADD"
            | b"ZREMRANGEBYLEX"
            | b"ZREM"
            | b"XADD"
            | b"EVAL"
    )
}

/// A bound of a range by bytes: (bytes, inclusive), or an end.
enum Bound<'a> {
    Low,
    High,
    At(&'a [u8], bool),
}

fn bound(text: &[u8]) -> Option<Bound<'_>> {
    Some(match text.split_first()? {
        (b'-', []) => Bound::Low,
        (b'+', []) => Bound::High,
        (b'[', rest) => Bound::At(rest, true),
        (b'(', rest) => Bound::At(rest, false),
        _ => return None,
    })
}

fn is_inside(entry: &[u8], from: &Bound<'_>, to: &Bound<'_>) -> bool {
    let above = match from {
        Bound::Low => true,
        Bound::High => false,
        Bound::At(at, true) => entry >= *at,
        Bound::At(at, false) => entry > *at,
    };
    let below = match to {
        Bound::Low => false,
        Bound::High => true,
        Bound::At(at, true) => entry <= *at,
        Bound::At(at, false) => entry < *at,
    };
    above && below
}

impl Keyspace {
    fn text(&self, key: &[u8]) -> Result<Option<&Vec<u8>>, Vec<u8>> {
        match self.0.get(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(WRONG_TYPE.to_vec()),
        }
    }

    fn hash(&mut self, key: &[u8], create: bool) -> Result<Option<&mut Fields>, Vec<u8>> {
        if create {
            self.0.entry(key.to_vec()).or_insert(Value::Hash(Vec::new()));
        }
        match self.0.get_mut(key) {
            None => Ok(None),
            Some(Value::Hash(hash)) => Ok(Some(hash)),
            Some(_) => Err(WRONG_TYPE.to_vec()),
        }
    }

    fn set(&mut self, key: &[u8]) -> Result<Option<&mut BTreeSet<Vec<u8>>>, Vec<u8>> {
        match self.0.get_mut(key) {
            None => Ok(None),
            Some(Value::Set(set)) => Ok(Some(set)),
            Some(_) => Err(WRONG_TYPE.to_vec()),
        }
    }

    fn get_field(&mut self, key: &[u8], field: &[u8]) -> Result<Option<Vec<u8>>, Vec<u8>> {
        let found =
            self.hash(key, false)?.and_then(|hash| hash.iter().find(|(name, _)| name == field));
        Ok(found.map(|(_, value)| value.clone()))
    }

    fn set_field(&mut self, key: &[u8], field: &[u8], value: &[u8]) -> Result<usize, Vec<u8>> {
        let hash = self.hash(key, true)?.unwrap();
        if let Some((_, held)) = hash.iter_mut().find(|(name, _)| name == field) {
            *held = value.to_vec();
            return Ok(0);
        }
        hash.push((field.to_vec(), value.to_vec()));
        Ok(1)
    }

    fn delete_field(&mut self, key: &[u8], field: &[u8]) -> Result<usize, Vec<u8>> {
        let Some(hash) = self.hash(key, false)? else { return Ok(0) };
        let before = hash.len();
        hash.retain(|(name, _)| name != field);
        let (removed, is_empty) = (before - hash.len(), hash.is_empty());
        if is_empty {
            self.0.remove(key);
        }
        Ok(removed)
    }

    /// Forget the entries of all streams: more came than a stream keeps.
    pub fn trim_streams(&mut self) {
        for value in self.0.values_mut() {
            if let Value::Stream(stream) = value {
                stream.events.clear();
            }
        }
    }

    /// Entries of a stream as replies.
    fn entries(
        &self,
        key: &[u8],
        count: &[u8],
        is_wanted: impl Fn(u64) -> bool,
    ) -> Result<Vec<Vec<u8>>, Vec<u8>> {
        let count: usize = std::str::from_utf8(count).unwrap().parse().unwrap();
        let events = match self.0.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Stream(stream)) => &stream.events,
            Some(_) => return Err(WRONG_TYPE.to_vec()),
        };
        let wanted = events.iter().filter(|(number, _)| is_wanted(*number)).take(count);
        let reply = |(number, event): &(u64, Vec<u8>)| {
            let id = bulk(format!("{number}-0").as_bytes());
            array(&[id, array(&[bulk(b"e"), bulk(event)])])
        };
        Ok(wanted.map(reply).collect())
    }

    /// Run a command on data.
    pub fn run(&mut self, words: &Words) -> Vec<u8> {
        self.try_run(words).unwrap_or_else(|error| error)
    }

    /// The scripts of accounts.
    fn account_script(
        &mut self,
        script: &[u8],
        keys: &[&[u8]],
        more: &[&[u8]],
    ) -> Result<Vec<u8>, Vec<u8>> {
        let minus = |number: u8| format!(":-{number}\r\n").into_bytes();
        let put = |store: &mut Keyspace, key: &[u8], text: &[u8]| {
            store.0.insert(key.to_vec(), Value::Text(text.to_vec()));
        };
        if script == durable::MARK {
            let held = self.text(keys[0])?.cloned().unwrap_or(more[0].to_vec());
            put(self, keys[0], &held);
            return Ok(bulk(&held));
        }
        if self.text(keys[0])?.is_none_or(|mark| mark != more[0]) {
            return Ok(minus(2));
        }
        if script == durable::LIST {
            self.set(keys[1])?;
            self.0.entry(keys[1].to_vec()).or_insert(Value::Set(BTreeSet::new()));
            self.set(keys[1])?.unwrap().insert(more[1].to_vec());
            return Ok(integer(1));
        }
        let user = self.text(keys[1])?.cloned();
        let is_user = user.as_deref() == Some(more[1]);
        match script {
            durable::REGISTER => {
                put(self, keys[1], user.as_deref().unwrap_or(more[1]));
                return Ok(user.map_or_else(|| integer(1), |user| bulk(&user)));
            }
            durable::UNREGISTER => {
                if user.is_some() && !is_user {
                    return Ok(minus(1));
                }
                self.0.remove(keys[1]);
                self.0.remove(keys[2]);
                if let Some(list) = self.0.remove(keys[3]) {
                    self.0.insert(keys[4].to_vec(), list);
                }
                return Ok(integer(1));
            }
            _ if !is_user => return Ok(minus(1)),
            durable::CONNECT => {
                let held = self.text(keys[2])?.cloned();
                put(self, keys[2], held.as_deref().unwrap_or(more[2]));
                return Ok(held.map_or_else(|| integer(1), |held| bulk(&held)));
            }
            durable::DISCONNECT => {
                if self.text(keys[2])?.is_none_or(|held| held == more[2]) {
                    self.0.remove(keys[2]);
                }
            }
            durable::PUBLISH => {
                let (Some(from), Some(to)) = (bound(more[2]), bound(more[3])) else {
                    return Err(no_range());
                };
                let list = self.set(keys[2])?;
                let held = list.as_ref().and_then(|list| {
                    list.iter().find(|entry| is_inside(entry, &from, &to)).cloned()
                });
                if let Some(held) = held {
                    return Ok(bulk(&held));
                }
                let most: usize = std::str::from_utf8(more[5]).unwrap().parse().unwrap();
                if list.map_or(0, |list| list.len()) >= most {
                    return Ok(minus(3));
                }
                self.0.entry(keys[2].to_vec()).or_insert(Value::Set(BTreeSet::new()));
                self.set(keys[2])?.unwrap().insert(more[4].to_vec());
            }
            durable::WITHDRAW => {
                let is_empty = self.set(keys[2])?.is_some_and(|list| {
                    list.remove(more[2]);
                    list.is_empty()
                });
                if is_empty {
                    self.0.remove(keys[2]);
                }
            }
            _ => return Ok(b"-ERR unknown command\r\n".to_vec()),
        }
        Ok(integer(1))
    }

    fn try_run(&mut self, words: &Words) -> Result<Vec<u8>, Vec<u8>> {
        let all: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
        Ok(match all.as_slice() {
            [b"GET", key] => self.text(key)?.map_or_else(nil, |text| bulk(text)),
            [b"SET", key, value] => {
                self.0.insert(key.to_vec(), Value::Text(value.to_vec()));
                b"+OK\r\n".to_vec()
            }
            [b"SET", key, value, b"NX", b"GET"] => match self.text(key)? {
                Some(text) => bulk(text),
                None => {
                    self.0.insert(key.to_vec(), Value::Text(value.to_vec()));
                    nil()
                }
            },
            [b"DEL", key] => integer(usize::from(self.0.remove(*key).is_some())),
            [b"INCR", key] => {
                let held = self
                    .text(key)?
                    .map_or(Some(0), |text| std::str::from_utf8(text).ok()?.parse::<usize>().ok());
                let Some(held) = held else {
                    return Err(b"-ERR value is not an integer or out of range\r\n".to_vec());
                };
                self.0.insert(key.to_vec(), Value::Text((held + 1).to_string().into_bytes()));
                integer(held + 1)
            }
            [b"HSET", key, fields @ ..] if !fields.is_empty() && fields.len() % 2 == 0 => {
                let mut added = 0;
                for pair in fields.chunks(2) {
                    added += self.set_field(key, pair[0], pair[1])?;
                }
                integer(added)
            }
            [b"HSETNX", key, field, value] => integer(match self.get_field(key, field)? {
                Some(_) => 0,
                None => self.set_field(key, field, value)?,
            }),
            [b"HGET", key, field] => {
                self.get_field(key, field)?.map_or_else(nil, |value| bulk(&value))
            }
            [b"HDEL", key, fields @ ..] if !fields.is_empty() => {
                let mut removed = 0;
                for field in fields {
                    removed += self.delete_field(key, field)?;
                }
                integer(removed)
            }
            // All keys at once: a real engine goes through them in several replies.
            [b"SCAN", b"0", b"COUNT", _] => {
                let keys: Vec<Vec<u8>> = self.0.keys().map(|key| bulk(key)).collect();
                array(&[bulk(b"0"), array(&keys)])
            }
            [b"HGETALL", key] => {
                let hash = self.hash(key, false)?;
                let parts: Vec<Vec<u8>> = hash
                    .iter()
                    .flat_map(|hash| hash.iter())
                    .flat_map(|(name, value)| [bulk(name), bulk(value)])
                    .collect();
                array(&parts)
            }
            [b"ZADD", key, b"0", entry] => {
                self.0.entry(key.to_vec()).or_insert(Value::Set(BTreeSet::new()));
                integer(usize::from(self.set(key)?.unwrap().insert(entry.to_vec())))
            }
            [b"ZRANGE", key, b"0", last] => {
                let last: usize = std::str::from_utf8(last).unwrap().parse().unwrap();
                let entries = self.set(key)?.into_iter().flat_map(|set| set.iter());
                array(&entries.take(last + 1).map(|entry| bulk(entry)).collect::<Vec<_>>())
            }
            [b"ZRANGE", key, from, to, b"BYLEX", b"LIMIT", b"0", count] => {
                let count: usize = std::str::from_utf8(count).unwrap().parse().unwrap();
                let (Some(from), Some(to)) = (bound(from), bound(to)) else {
                    return Err(no_range());
                };
                let entries = self.set(key)?.into_iter().flat_map(|set| set.iter());
                let inside = entries.filter(|entry| is_inside(entry, &from, &to));
                array(&inside.take(count).map(|entry| bulk(entry)).collect::<Vec<_>>())
            }
            [b"ZREMRANGEBYLEX", key, from, to] => {
                let (Some(from), Some(to)) = (bound(from), bound(to)) else {
                    return Err(no_range());
                };
                let Some(set) = self.set(key)? else { return Ok(integer(0)) };
                let before = set.len();
                set.retain(|entry| !is_inside(entry, &from, &to));
                let (removed, is_empty) = (before - set.len(), set.is_empty());
                if is_empty {
                    self.0.remove(*key);
                }
                integer(removed)
            }
            [b"ZREM", key, entries @ ..] if !entries.is_empty() => {
                let Some(set) = self.set(key)? else { return Ok(integer(0)) };
                let before = set.len();
                set.retain(|entry| !entries.contains(&entry.as_slice()));
                let (removed, is_empty) = (before - set.len(), set.is_empty());
                if is_empty {
                    self.0.remove(*key);
                }
                integer(removed)
            }
            [b"ZCARD", key] => integer(self.set(key)?.map_or(0, |set| set.len())),
            [b"XADD", key, b"MAXLEN", b"~", _, id, b"e", event] => {
                let place = self.0.entry(key.to_vec());
                match place.or_insert(Value::Stream(EventStream::default())) {
                    Value::Stream(stream) => {
                        // `*`, or the time of the node.
                        let at = std::str::from_utf8(id).unwrap().parse().unwrap_or(0);
                        stream.last = at.max(stream.last + 1);
                        stream.events.push((stream.last, event.to_vec()));
                        bulk(format!("{}-0", stream.last).as_bytes())
                    }
                    _ => return Err(WRONG_TYPE.to_vec()),
                }
            }
            [b"XREAD", b"COUNT", count, b"STREAMS", key, from] => {
                let from = std::str::from_utf8(from).unwrap().split('-').next().unwrap();
                let from: u64 = from.parse().unwrap();
                let entries = self.entries(key, count, |number| number > from)?;
                if entries.is_empty() {
                    return Ok(b"*-1\r\n".to_vec());
                }
                array(&[array(&[bulk(key), array(&entries)])])
            }
            [b"XREVRANGE", key, b"+", b"-", b"COUNT", b"1"] => {
                let last = match self.0.get(*key) {
                    Some(Value::Stream(stream)) => stream.events.last().map(|(number, _)| *number),
                    _ => None,
                };
                array(&self.entries(key, b"1", |number| Some(number) == last)?)
            }
            [b"SCAN", b"0", b"MATCH", pattern, b"COUNT", _] => {
                let plain: Vec<u8> =
                    pattern.iter().copied().filter(|byte| !b"\\*".contains(byte)).collect();
                let found = self.0.keys().filter(|key| key.starts_with(&plain));
                array(&[bulk(b"0"), array(&found.map(|key| bulk(key)).collect::<Vec<_>>())])
            }
            [b"XLEN", key] => match self.0.get(*key) {
                None => integer(0),
                Some(Value::Stream(stream)) => integer(stream.events.len()),
                Some(_) => return Err(WRONG_TYPE.to_vec()),
            },
            [b"EVAL", script, b"1", key, before, after] if *script == claim::SWAP => {
                let is_same = self.text(key)?.is_some_and(|text| text == before);
                if is_same {
                    self.0.insert(key.to_vec(), Value::Text(after.to_vec()));
                }
                integer(usize::from(is_same))
            }
            [b"EVAL", script, b"1", key, value] if *script == claim::RELEASE => {
                let is_same = self.text(key)?.is_some_and(|text| text == value);
                if is_same {
                    self.0.remove(*key);
                }
                integer(usize::from(is_same))
            }
            [b"EVAL", script, b"1", key, field, value] if *script == registry::REMOVE => {
                let is_same = self.get_field(key, field)?.is_some_and(|held| held == *value);
                integer(if is_same { self.delete_field(key, field)? } else { 0 })
            }
            [b"EVAL", script, b"1", key, field, value] if *script == registry::RETIRE => {
                if self.get_field(key, field)?.is_some_and(|held| held != *value) {
                    return Ok(b":-1\r\n".to_vec());
                }
                integer(self.set_field(key, field, b"d")?)
            }
            [b"EVAL", script, b"1", key, field, nonce, value, registers]
                if *script == registry::COUNT =>
            {
                let counts = match self.get_field(key, field)? {
                    Some(held) => memchr::memmem::find(&held, nonce).is_some(),
                    None => *registers == b"1",
                };
                if !counts {
                    return Ok(b":-1\r\n".to_vec());
                }
                integer(self.set_field(key, field, value)?)
            }
            [b"EVAL", script, b"1", key, field, draft, mark] if *script == mirror::MARK => {
                let held = self.get_field(key, field)?;
                let is_there = held.is_some_and(|held| held == *draft || held == *mark);
                if is_there {
                    self.set_field(key, field, mark)?;
                }
                integer(usize::from(is_there))
            }
            [b"EVAL", script, count, rest @ ..] => {
                let count: usize = std::str::from_utf8(count).unwrap().parse().unwrap();
                let (keys, more) = rest.split_at(count);
                self.account_script(script, keys, more)?
            }
            _ => b"-ERR unknown command\r\n".to_vec(),
        })
    }
}

fn no_range() -> Vec<u8> {
    b"-ERR min or max not valid string range item\r\n".to_vec()
}

/// Read a command from the start of `bytes`, with its length.
pub fn read_command(bytes: &[u8]) -> Option<(Words, usize)> {
    let (reply, used) = cardume::cluster::resp::parse(bytes, 64 << 20).expect("a command")?;
    Some((reply.elements().filter_map(|word| word.bytes()).map(<[u8]>::to_vec).collect(), used))
}
