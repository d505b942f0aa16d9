//! What JSON leaves open, decided once: this reads a whole head, fields that nobody knows included, and says whether it may be believed.
//!
//! A line is one JSON object or it is not; without one there is no telling where the next head begins, and the link ends. An object that has a key twice,
//! that is nested too deep, that holds half of a surrogate pair or too many members reads differently to different programs: it is refused, and the link
//! goes on. Numbers keep their digits here, whatever their size. serde checks the same of the fields that it knows; it skips over the others.

use std::borrow::Cow;

use crate::limits;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::native::bad;

/// The line is no JSON object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotAnObject;

/// Why an object is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    KeyTwice,
    TooDeep,
    HalfSurrogate,
    TooManyMembers,
}

impl Fault {
    /// How it is refused.
    pub(super) fn refusal(self) -> ErrorReply {
        match self {
            Fault::KeyTwice => bad("a key comes twice"),
            Fault::TooDeep => bad("objects and lists are nested deeper than 127"),
            Fault::HalfSurrogate => bad("a string holds half of a surrogate pair"),
            Fault::TooManyMembers => ErrorReply::new(
                ErrorCode::TooLarge,
                format!("an object has at most {} members", limits::MEMBERS),
            ),
        }
    }
}

/// A JSON object whose text is known to be good.
#[derive(Debug)]
pub(super) struct Head<'a> {
    /// Its members, each value as it is spelled.
    pub(super) members: Vec<(Cow<'a, str>, &'a str)>,
    /// Why it is not to be believed, where that is so.
    pub(super) fault: Option<Fault>,
}

impl<'a> Head<'a> {
    /// The value of a member, as it is spelled; `None` where it is absent or `null`.
    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.members
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| *value)
            .filter(|value| *value != "null")
    }

    /// True when a key comes more than once.
    pub(super) fn has_twice(&self, key: &str) -> bool {
        self.members.iter().filter(|(known, _)| known == key).count() > 1
    }

    /// The text of a member that is a string.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(unquoted)
    }
}

/// Reads a line.
///
/// # Errors
/// When it is not one JSON object, by RFC 8259.
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

/// A string, as it is spelled with its quotes, as text. Half of a surrogate pair has become U+FFFD: what holds one is refused in any case.
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

/// The code unit that four hex digits spell.
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

/// What a number is to those who want an integer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Integer {
    /// One that the protocol can name.
    Small(u64),
    /// A larger one.
    Large,
    /// No number, or one with a sign, a fraction or an exponent.
    None,
}

/// Reads a value as it is spelled.
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

/// Writes the members that `is_known` names once more, with no others: what serde then reads holds nothing that it would skip. Inside of the objects of a
/// member, those of a list included, the keys are kept that `is_inner` names. A number that is beyond what serde reads becomes one that is refused in the same way.
pub(super) fn reduced(
    head: &Head<'_>,
    is_known: impl Fn(&str) -> bool,
    is_inner: impl Fn(&str, &str) -> bool,
) -> String {
    let mut out = String::from("{");
    for (key, value) in head.members.iter().filter(|(key, _)| is_known(key)) {
        separate(&mut out);
        // A known key has no character that needs an escape.
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

/// The elements of a list, or the keys and values of an object by turns, of a text that is known to be good.
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

/// How many bytes the value at the front takes; 0 behind the last one.
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
                // A word or a number goes on; a string or a bracket that has closed does not.
                continue;
            }
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

/// Behind the quote that ends a string which begins at `at`.
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
    /// What is open: the closing bracket of each object and list. One byte a level, for nothing bounds how deep a stranger goes.
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

    fn is_at_fault(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    fn spelled(&self, from: usize) -> &'a str {
        self.text.get(from..self.at).unwrap_or_default()
    }

    /// The whole object that begins here. Its own members are returned, those further in are looked at.
    fn object(&mut self) -> Result<Vec<(Cow<'a, str>, &'a str)>, NotAnObject> {
        let mut members = Vec::new();
        // The keys of all objects that are open, those of the innermost last, and where each object's begin.
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
                        if members.len() < limits::MEMBERS {
                            members.push((key.clone(), ""));
                        }
                    }
                    if own >= limits::MEMBERS {
                        self.is_at_fault(Fault::TooManyMembers);
                    } else if self.open.len() <= limits::NESTED {
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
            // A value has ended, and perhaps what it stands in.
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
        if self.open.len() > limits::NESTED {
            self.is_at_fault(Fault::TooDeep);
        } else {
            begins.push(keys.len());
        }
    }

    fn end(&mut self, begins: &mut Vec<usize>, keys: &mut Vec<Cow<'a, str>>) {
        if self.open.len() <= limits::NESTED
            && let Some(begin) = begins.pop()
        {
            let own = keys.get_mut(begin..).unwrap_or_default();
            if self.fault.is_none() && has_twice(own) {
                self.is_at_fault(Fault::KeyTwice);
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

    /// A string, a number or a word.
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
                                // It is judged for itself.
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
            self.is_at_fault(Fault::HalfSurrogate);
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

/// Sorts the keys of one object and compares neighbours: a few dozen comparisons for each, whatever a stranger sends.
fn has_twice(keys: &mut [Cow<'_, str>]) -> bool {
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair[0] == pair[1])
}
