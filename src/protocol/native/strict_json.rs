//! Strict JSON: validates a whole header, unknown fields included.
//!
//! A line that is no JSON object closes the connection, since the next header can't be located. An
//! object with a duplicate key, excessive nesting, an unpaired surrogate or too many members means
//! different things to different parsers: it is refused, and the connection stays open. Numbers
//! keep their digits. serde checks the fields that it knows and skips the others.

use std::borrow::Cow;

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};

/// The line is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnObject;

/// The reason to refuse an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KeyTwice,
    TooDeep,
    HalfSurrogate,
    TooManyMembers,
}

impl Fault {
    pub(super) fn refusal(self) -> ErrorReply {
        match self {
            Fault::KeyTwice => ErrorReply::bad_request("a key comes twice"),
            Fault::TooDeep => {
                ErrorReply::bad_request("objects and lists are nested deeper than 127")
            }
            Fault::HalfSurrogate => {
                ErrorReply::bad_request("a string holds half of a surrogate pair")
            }
            Fault::TooManyMembers => ErrorReply::new(
                ErrorCode::TooLarge,
                format!("an object has at most {} members", limits::JSON_MEMBERS),
            ),
        }
    }
}

/// A valid JSON object.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// The members, with their values as text.
    pub(super) members: Vec<(Cow<'a, str>, &'a str)>,
    /// The reason to refuse the object, if any.
    pub(super) fault: Option<Fault>,
}

impl<'a> Head<'a> {
    /// The value of a member as text; `None` when absent or `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.members
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| *value)
            .filter(|value| *value != "null")
    }

    /// True for a duplicate key.
    pub(super) fn has_twice(&self, key: &str) -> bool {
        self.members.iter().filter(|(known, _)| known == key).count() > 1
    }

    /// The value of a member that is a string.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(unquoted)
    }
}

/// Parse a line by RFC 8259.
///
/// # Errors
/// When the line is not one JSON object.
pub(super) fn read(line: &[u8]) -> Result<Head<'_>, NotAnObject> {
    let text = std::str::from_utf8(line).map_err(|_| NotAnObject)?;
    let mut reading = JsonReading { text, bytes: line, at: 0, open: Vec::new(), fault: None };
    reading.blanks();
    if reading.peek() != Some(b'{') {
        return Err(NotAnObject);
    }
    let members = reading.object()?;
    reading.blanks();
    if reading.at == line.len() {
        Ok(Head { members, fault: reading.fault })
    } else {
        Err(NotAnObject)
    }
}

/// Unescape a quoted string. An unpaired surrogate becomes U+FFFD; such objects are refused anyway.
pub(super) fn unquoted(spelled: &str) -> Option<Cow<'_, str>> {
    let inside = spelled.strip_prefix('"')?.strip_suffix('"')?;
    if !inside.contains('\\') {
        return Some(Cow::Borrowed(inside));
    }
    let mut text = String::with_capacity(inside.len());
    let mut rest = inside;
    while let Some((before, behind)) = rest.split_once('\\') {
        text.push_str(before);
        let kind = behind.chars().next()?;
        rest = behind.get(kind.len_utf8()..)?;
        let plain = match kind {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let first = unit(rest)?;
                rest = rest.get(4..)?;
                let second = rest.strip_prefix("\\u").and_then(unit);
                match second.filter(|second| is_high(first) && is_low(*second)) {
                    Some(second) => {
                        rest = rest.get(6..)?;
                        char::from_u32(0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00))?
                    }
                    None => char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER),
                }
            }
            other => other,
        };
        text.push(plain);
    }
    text.push_str(rest);
    Some(Cow::Owned(text))
}

/// The code unit of four hex digits.
fn unit(digits: &str) -> Option<u32> {
    let digits = digits.get(..4)?;
    if digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        u32::from_str_radix(digits, 16).ok()
    } else {
        None
    }
}

fn is_high(unit: u32) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_low(unit: u32) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

/// A value read as an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    /// At most 2^53-1.
    Small(u64),
    /// A larger integer.
    Large,
    /// No number, or one with a sign, fraction or exponent.
    None,
}

/// Classify a value.
pub(super) fn integer(spelled: &str) -> Integer {
    if spelled.is_empty() || !spelled.bytes().all(|byte| byte.is_ascii_digit()) {
        return Integer::None;
    }
    spelled
        .parse()
        .ok()
        .filter(|number| *number <= limits::LARGEST_INTEGER)
        .map_or(Integer::Large, Integer::Small)
}

/// Write the members that `is_known` accepts, so that serde skips nothing. In objects inside a
/// member, also in a list, only keys that `is_inner` accepts remain. A number beyond the range of
/// serde becomes another that is refused with the same error.
pub(super) fn reduced(
    head: &Head<'_>,
    is_known: impl Fn(&str) -> bool,
    is_inner: impl Fn(&str, &str) -> bool,
) -> String {
    let mut out = String::from("{");
    for (key, value) in head.members.iter().filter(|(key, _)| is_known(key)) {
        separate(&mut out);
        // Known keys need no escape.
        out.extend(["\"", key, "\":"]);
        match value.as_bytes().first() {
            Some(b'{') => put_object(value, |inner| is_inner(key, inner), &mut out),
            Some(b'[') => {
                out.push('[');
                for element in parts(value) {
                    separate(&mut out);
                    if element.starts_with('{') {
                        put_object(element, |inner| is_inner(key, inner), &mut out)
                    } else {
                        put_plain(element, &mut out)
                    }
                }
                out.push(']');
            }
            _ => put_plain(value, &mut out),
        }
    }
    out.push('}');
    out
}

fn separate(out: &mut String) {
    if !out.ends_with(['{', '[']) {
        out.push(',');
    }
}

fn put_object(spelled: &str, is_known: impl Fn(&str) -> bool, out: &mut String) {
    out.push('{');
    let mut parts = parts(spelled);
    while let (Some(key), Some(value)) = (parts.next(), parts.next()) {
        if let Some(key) = unquoted(key).filter(|key| is_known(key)) {
            separate(out);
            out.extend(["\"", &key, "\":"]);
            put_plain(value, out);
        }
    }
    out.push('}');
}

fn put_plain(value: &str, out: &mut String) {
    let is_number = value.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    out.push_str(match integer(value) {
        Integer::Large => "9007199254740992",
        Integer::None if is_number => "0.5",
        _ => value,
    });
}

/// The elements of a list, or alternating keys and values of an object. The text must be valid.
fn parts(spelled: &str) -> impl Iterator<Item = &str> {
    let mut rest = spelled.get(1..).unwrap_or_default();
    std::iter::from_fn(move || {
        rest = rest.trim_start_matches([' ', '\t', '\n', '\r', ',', ':']);
        let length = length_of(rest.as_bytes());
        let (part, behind) = rest.split_at_checked(length)?;
        rest = behind;
        (!part.is_empty()).then_some(part)
    })
}

/// The length of the value at the front; 0 at the end.
fn length_of(bytes: &[u8]) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => at = end_of_string(bytes, at),
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b':' | b' ' | b'\t' | b'\n' | b'\r' if depth == 0 => return at,
            _ => {
                at += 1;
                // Only words and numbers continue here; strings and brackets are complete.
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// The offset behind the string that starts at `at`.
fn end_of_string(bytes: &[u8], mut at: usize) -> usize {
    loop {
        at += 1;
        match bytes.get(at) {
            None => return at,
            Some(b'"') => return at + 1,
            Some(b'\\') => at += 1,
            Some(_) => {}
        }
    }
}

struct JsonReading<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    /// The closing brackets of the open objects and lists: one byte per level, since the depth is
    /// unbounded.
    open: Vec<u8>,
    fault: Option<Fault>,
}

impl<'a> JsonReading<'a> {
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn blanks(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn take(&mut self, byte: u8) -> Result<(), NotAnObject> {
        if self.peek() != Some(byte) {
            return Err(NotAnObject);
        }
        self.at += 1;
        Ok(())
    }

    fn set_fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn spelled(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// Parse the object that starts here. Return its own members; validate nested ones.
    fn object(&mut self) -> Result<Vec<(Cow<'a, str>, &'a str)>, NotAnObject> {
        let mut members = Vec::new();
        // The keys of all open objects, innermost last, and the start of each object's keys.
        let mut keys: Vec<Cow<'a, str>> = Vec::new();
        let mut begins: Vec<usize> = Vec::new();
        let mut own_value = 0;
        self.begin(&mut begins, &keys);
        let mut is_fresh = true;
        loop {
            self.blanks();
            if is_fresh && self.peek() == self.open.last().copied() {
                self.at += 1;
                self.end(&mut begins, &mut keys);
            } else {
                if self.open.last() == Some(&b'}') {
                    let key = self.key()?;
                    let own = keys.len() - begins.last().map_or(keys.len(), |begin| *begin);
                    if self.open.len() == 1 {
                        own_value = self.at;
                        if members.len() < limits::JSON_MEMBERS {
                            members.push((key.clone(), ""));
                        }
                    }
                    if own >= limits::JSON_MEMBERS {
                        self.set_fault(Fault::TooManyMembers);
                    } else if self.open.len() <= limits::NESTING {
                        keys.push(key);
                    }
                }
                if let Some(b'{' | b'[') = self.peek() {
                    self.begin(&mut begins, &keys);
                    is_fresh = true;
                    continue;
                }
                self.plain()?;
            }
            is_fresh = false;
            // A value is complete, and perhaps the objects and lists around it.
            loop {
                let Some(closing) = self.open.last().copied() else { return Ok(members) };
                if self.open.len() == 1
                    && let Some((_, value)) =
                        members.last_mut().filter(|(_, value)| value.is_empty())
                {
                    *value = self.spelled(own_value);
                }
                self.blanks();
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        break;
                    }
                    Some(byte) if byte == closing => {
                        self.at += 1;
                        self.end(&mut begins, &mut keys);
                    }
                    _ => return Err(NotAnObject),
                }
            }
        }
    }

    fn begin(&mut self, begins: &mut Vec<usize>, keys: &[Cow<'a, str>]) {
        self.open.push(if self.peek() == Some(b'{') { b'}' } else { b']' });
        self.at += 1;
        if self.open.len() > limits::NESTING {
            self.set_fault(Fault::TooDeep);
        } else {
            begins.push(keys.len());
        }
    }

    fn end(&mut self, begins: &mut Vec<usize>, keys: &mut Vec<Cow<'a, str>>) {
        if self.open.len() <= limits::NESTING
            && let Some(begin) = begins.pop()
        {
            let own = keys.get_mut(begin..).unwrap_or_default();
            if self.fault.is_none() && has_twice(own) {
                self.set_fault(Fault::KeyTwice);
            }
            keys.truncate(begin);
        }
        self.open.pop();
    }

    /// A key with its colon.
    fn key(&mut self) -> Result<Cow<'a, str>, NotAnObject> {
        let from = self.at;
        self.string()?;
        let key = unquoted(self.spelled(from)).ok_or(NotAnObject)?;
        self.blanks();
        self.take(b':')?;
        self.blanks();
        Ok(key)
    }

    /// A string, number or word.
    fn plain(&mut self) -> Result<(), NotAnObject> {
        match self.peek() {
            Some(b'"') => self.string(),
            Some(b'-' | b'0'..=b'9') => self.number(),
            _ => {
                let rest = self.bytes.get(self.at..).unwrap_or_default();
                let word = [&b"true"[..], b"false", b"null"]
                    .into_iter()
                    .find(|word| rest.starts_with(word))
                    .ok_or(NotAnObject)?;
                self.at += word.len();
                Ok(())
            }
        }
    }

    fn string(&mut self) -> Result<(), NotAnObject> {
        self.take(b'"')?;
        let mut half = false;
        loop {
            let byte = self.peek().ok_or(NotAnObject)?;
            self.at += 1;
            match byte {
                b'"' => break,
                b'\\' => {
                    let kind = self.peek().ok_or(NotAnObject)?;
                    self.at += 1;
                    if kind == b'u' {
                        let first = self.unit()?;
                        let pair = is_high(first)
                            && self
                                .bytes
                                .get(self.at..)
                                .is_some_and(|rest| rest.starts_with(b"\\u"));
                        if pair {
                            let back = self.at;
                            self.at += 2;
                            if !is_low(self.unit()?) {
                                // Check the second unit on its own.
                                (self.at, half) = (back, true);
                            }
                        } else {
                            half |= is_high(first) || is_low(first);
                        }
                    } else if !b"\"\\/bfnrt".contains(&kind) {
                        return Err(NotAnObject);
                    }
                }
                0..0x20 => return Err(NotAnObject),
                _ => {}
            }
        }
        if half {
            self.set_fault(Fault::HalfSurrogate);
        }
        Ok(())
    }

    fn unit(&mut self) -> Result<u32, NotAnObject> {
        let unit = self.text.get(self.at..).and_then(unit).ok_or(NotAnObject)?;
        self.at += 4;
        Ok(unit)
    }

    fn number(&mut self) -> Result<(), NotAnObject> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        let from = self.at;
        if self.digits() == 0 || (self.bytes.get(from) == Some(&b'0') && self.at > from + 1) {
            return Err(NotAnObject);
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            if self.digits() == 0 {
                return Err(NotAnObject);
            }
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(NotAnObject);
            }
        }
        Ok(())
    }

    fn digits(&mut self) -> usize {
        let from = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        self.at - from
    }
}

/// Sort the keys of one object and compare neighbours: a few dozen comparisons per key at most.
fn has_twice(keys: &mut [Cow<'_, str>]) -> bool {
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
