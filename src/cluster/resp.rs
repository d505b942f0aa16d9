//! Replies of an engine in RESP2. [`crate::protocol::resp`] writes the commands.
//!
//! A reply is checked as a whole and then borrowed from the buffer: an array yields element
//! by element, and nothing is allocated.

/// A status or an error: an engine quotes at most a hundred bytes of a command in an error.
const LINE_BYTES: usize = 4 << 10;
/// The text of a number with a type: 19 digits, a sign and a type, and some to spare.
const NUMBER_BYTES: usize = 32;
/// Arrays inside arrays: `CLUSTER SLOTS` needs four.
const DEPTH: usize = 8;
/// The smallest element, `+` and a line end: an array of a number of bytes has at most a third as
/// many elements.
const ELEMENT_BYTES: usize = 3;

/// Bytes that are no reply, or a reply beyond a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadReply(pub &'static str);

/// A reply, borrowed from the buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply<'a> {
    /// A status, such as `OK`.
    Simple(&'a [u8]),
    /// An error, with a code as the first word.
    Error(&'a [u8]),
    /// An integer.
    Integer(i64),
    /// A string of any bytes.
    Bulk(&'a [u8]),
    /// No value.
    Nil,
    /// An array.
    Array(Elements<'a>),
}

/// The elements of an array. The bytes are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elements<'a> {
    bytes: &'a [u8],
    left: usize,
}

/// The next piece of a reply.
enum Item<'a> {
    /// A whole value.
    Value(Reply<'a>),
    /// The start of an array of this many elements.
    Array(usize),
}

/// Read the reply at the start of `bytes`, with the length; `None` when bytes are missing.
///
/// # Errors
/// When the bytes are no RESP2, or a reply of more than `most` bytes.
pub fn parse(bytes: &[u8], most: usize) -> Result<Option<(Reply<'_>, usize)>, BadReply> {
    let Some(length) = length(bytes, most)? else { return Ok(None) };
    let Some(whole) = bytes.get(..length) else { return Ok(None) };
    Ok(first(whole, most)?.map(|(item, used)| {
        let reply = match item {
            Item::Value(reply) => reply,
            Item::Array(left) => Reply::Array(Elements { bytes: &whole[used..], left }),
        };
        (reply, length)
    }))
}

/// Length of the reply at the start of `bytes`; `None` when bytes are missing. Checks all bytes.
fn length(bytes: &[u8], most: usize) -> Result<Option<usize>, BadReply> {
    let mut used = 0;
    // The elements that are still to come, for each open array.
    let mut open = [0_usize; DEPTH];
    let mut depth = 0;
    loop {
        let Some((item, length)) = first(&bytes[used..], most - used)? else {
            return if bytes.len() >= most { Err(TOO_LONG) } else { Ok(None) };
        };
        used += length;
        match item {
            Item::Array(0) | Item::Value(_) => {
                while depth > 0 && open[depth - 1] == 1 {
                    depth -= 1;
                }
                if depth == 0 {
                    return Ok(Some(used));
                }
                open[depth - 1] -= 1;
            }
            Item::Array(count) => {
                let place = open.get_mut(depth).ok_or(BadReply("arrays too deep"))?;
                *place = count;
                depth += 1;
            }
        }
    }
}

const TOO_LONG: BadReply = BadReply("a reply is too long");

/// Read one piece with the length; `None` when bytes are missing.
#[inline]
fn first(bytes: &[u8], most: usize) -> Result<Option<(Item<'_>, usize)>, BadReply> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    let longest = match kind {
        b'+' | b'-' => LINE_BYTES,
        b':' | b'$' | b'*' => NUMBER_BYTES,
        _ => return Err(BadReply("an unknown type of reply")),
    };
    let window = &bytes[..bytes.len().min(longest)];
    // Numbers are short: a plain loop finds their end before a vector search has begun.
    let end = if longest == NUMBER_BYTES {
        window.iter().position(|byte| *byte == b'\n')
    } else {
        memchr::memchr(b'\n', window)
    };
    let Some(end) = end else {
        return if window.len() == longest {
            Err(BadReply("a line is too long"))
        } else {
            Ok(None)
        };
    };
    let text = window[1..end].strip_suffix(b"\r").ok_or(BadReply("a line ends without CR"))?;
    let used = end + 1;
    if used > most {
        return Err(TOO_LONG);
    }
    let value = match kind {
        b'+' => Reply::Simple(text),
        b'-' => Reply::Error(text),
        b':' => Reply::Integer(number(text)?),
        b'$' => {
            let length = match number(text)? {
                -1 => return Ok(Some((Item::Value(Reply::Nil), used))),
                length => usize::try_from(length).map_err(|_| BadReply("a negative length"))?,
            };
            if length.saturating_add(2) > most - used {
                return Err(TOO_LONG);
            }
            let after = used + length + 2;
            match bytes.get(used..after) {
                None => return Ok(None),
                Some(string) => {
                    let text = string.strip_suffix(b"\r\n").ok_or(BadReply("a wrong length"))?;
                    return Ok(Some((Item::Value(Reply::Bulk(text)), after)));
                }
            }
        }
        _ => {
            let count = match number(text)? {
                -1 => return Ok(Some((Item::Value(Reply::Nil), used))),
                count => usize::try_from(count).map_err(|_| BadReply("a negative count"))?,
            };
            if count > (most - used) / ELEMENT_BYTES {
                return Err(TOO_LONG);
            }
            return Ok(Some((Item::Array(count), used)));
        }
    };
    Ok(Some((Item::Value(value), used)))
}

/// Read a decimal integer as engines write one: an optional minus, and digits.
fn number(text: &[u8]) -> Result<i64, BadReply> {
    const BAD: BadReply = BadReply("a wrong number");
    let (digits, sign) = text.strip_prefix(b"-").map_or((text, 1), |digits| (digits, -1));
    if digits.is_empty() {
        return Err(BAD);
    }
    digits.iter().try_fold(0_i64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10).ok_or(BAD)?;
        let next = number.checked_mul(10).and_then(|n| n.checked_add(sign * i64::from(digit)));
        next.ok_or(BAD)
    })
}

impl<'a> Reply<'a> {
    /// The bytes of a string or a status.
    #[must_use]
    pub fn bytes(self) -> Option<&'a [u8]> {
        match self {
            Reply::Bulk(bytes) | Reply::Simple(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// An integer that is not negative.
    #[must_use]
    pub fn count(self) -> Option<u64> {
        match self {
            Reply::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        }
    }

    /// The elements of an array; none for another reply.
    #[must_use]
    pub fn elements(self) -> Elements<'a> {
        match self {
            Reply::Array(elements) => elements,
            _ => Elements { bytes: &[], left: 0 },
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Reply<'a>;

    fn next(&mut self) -> Option<Reply<'a>> {
        self.left = self.left.checked_sub(1)?;
        // The bytes were checked, so no error can come here.
        let (item, used) = first(self.bytes, usize::MAX).ok().flatten()?;
        let rest = &self.bytes[used..];
        let (reply, after) = match item {
            Item::Value(reply) => (reply, rest),
            Item::Array(left) => {
                let inner = Elements { bytes: rest, left };
                (Reply::Array(inner), inner.after())
            }
        };
        self.bytes = after;
        Some(reply)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<'a> Elements<'a> {
    /// The bytes behind the last element.
    fn after(self) -> &'a [u8] {
        let (mut bytes, mut left) = (self.bytes, self.left);
        while left > 0 {
            let Some((item, used)) = first(bytes, usize::MAX).ok().flatten() else { break };
            bytes = &bytes[used..];
            left -= 1;
            if let Item::Array(count) = item {
                left += count;
            }
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::resp::{put_header, put_word};

    const MOST: usize = 1 << 20;

    /// A reply that owns all parts.
    #[derive(Clone, Debug, PartialEq)]
    enum Tree {
        Simple(Vec<u8>),
        Error(Vec<u8>),
        Integer(i64),
        Bulk(Vec<u8>),
        Nil,
        Array(Vec<Tree>),
    }

    fn tree(reply: Reply<'_>) -> Tree {
        match reply {
            Reply::Simple(text) => Tree::Simple(text.to_vec()),
            Reply::Error(text) => Tree::Error(text.to_vec()),
            Reply::Integer(number) => Tree::Integer(number),
            Reply::Bulk(bytes) => Tree::Bulk(bytes.to_vec()),
            Reply::Nil => Tree::Nil,
            Reply::Array(elements) => Tree::Array(elements.map(tree).collect()),
        }
    }

    fn put(tree: &Tree, out: &mut Vec<u8>) {
        let line = |kind: u8, text: &[u8], out: &mut Vec<u8>| {
            out.push(kind);
            out.extend_from_slice(text);
            out.extend_from_slice(b"\r\n");
        };
        match tree {
            Tree::Simple(text) => line(b'+', text, out),
            Tree::Error(text) => line(b'-', text, out),
            Tree::Integer(number) => line(b':', number.to_string().as_bytes(), out),
            Tree::Bulk(bytes) => put_word(bytes, out),
            Tree::Nil => out.extend_from_slice(b"$-1\r\n"),
            Tree::Array(all) => {
                put_header(all.len(), out);
                all.iter().for_each(|each| put(each, out));
            }
        }
    }

    fn trees() -> impl Strategy<Value = Tree> {
        let line = || vec(any::<u8>().prop_filter("in a line", |b| *b != b'\n'), 0..40);
        let leaf = prop_oneof![
            line().prop_map(Tree::Simple),
            line().prop_map(Tree::Error),
            any::<i64>().prop_map(Tree::Integer),
            vec(any::<u8>(), 0..80).prop_map(Tree::Bulk),
            Just(Tree::Nil),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| vec(inner, 0..6).prop_map(Tree::Array))
    }

    proptest! {
        #[test]
        fn every_reply_is_read_back_byte_by_byte(wanted in trees(), behind in vec(any::<u8>(), 0..9)) {
            let mut bytes = Vec::new();
            put(&wanted, &mut bytes);
            for cut in 0..bytes.len() {
                prop_assert_eq!(parse(&bytes[..cut], MOST), Ok(None));
            }
            let length = bytes.len();
            bytes.extend(behind);
            let (reply, used) = parse(&bytes, MOST).unwrap().unwrap();
            prop_assert_eq!((tree(reply), used), (wanted, length));
            prop_assert!(parse(&bytes[..length], length).is_ok());
            prop_assert!(length < 4 || parse(&bytes[..length], length - 1).is_err());
        }

        #[test]
        fn no_bytes_panic_and_no_reply_is_longer_than_the_buffer(
            bytes in vec(prop_oneof![
                any::<u8>(),
                Just(b'*'), Just(b'$'), Just(b':'), Just(b'\r'), Just(b'\n'), Just(b'1'), Just(b'-'),
            ], 0..200),
            most in 0_usize..300,
        ) {
            if let Ok(Some((reply, used))) = parse(&bytes, most) {
                prop_assert!(used <= bytes.len() && used <= most);
                tree(reply);
            }
        }

        #[test]
        fn a_changed_byte_does_not_panic(wanted in trees(), at in any::<u16>(), to in any::<u8>()) {
            let mut bytes = Vec::new();
            put(&wanted, &mut bytes);
            let at = usize::from(at) % bytes.len();
            bytes[at] = to;
            if let Ok(Some((reply, used))) = parse(&bytes, MOST) {
                prop_assert!(used <= bytes.len());
                tree(reply);
            }
        }
    }

    #[test]
    fn bytes_that_are_no_reply_are_refused() {
        let long = [b"+".as_slice(), &[b'a'; LINE_BYTES]].concat();
        let deep = b"*1\r\n".repeat(DEPTH + 1);
        for text in [
            &b"hello\r\n"[..],
            b"HTTP/1.1 400 Bad Request\r\n",
            b"\r\n",
            b"+OK\n",
            b":\r\n",
            b":-\r\n",
            b":+1\r\n",
            b":1 \r\n",
            b":9223372036854775808\r\n",
            b":000000000000000000000000000000000001\r\n",
            b"$3\r\nabcde\r\n",
            b"$-2\r\n",
            b"$99999999\r\n",
            b"$9223372036854775807\r\n",
            b"*-2\r\n",
            b"*99999999\r\n",
            b"*1\r\n\r\n",
            b"%1\r\n+a\r\n+b\r\n",
            b"_\r\n",
            &long,
            &deep,
        ] {
            let shown = String::from_utf8_lossy(&text[..text.len().min(20)]);
            assert!(parse(text, MOST).is_err(), "{shown:?}");
        }
        assert_eq!(parse(b":-9223372036854775808\r\n", MOST).unwrap().unwrap().1, 23);
        let nested = [b"*1\r\n".repeat(DEPTH), b":1\r\n".to_vec()].concat();
        assert_eq!(parse(&nested, MOST).unwrap().unwrap().1, nested.len());
    }

    #[test]
    fn a_reply_that_grows_beyond_its_limit_is_refused_before_it_is_whole() {
        let mut bytes = b"*1000\r\n".to_vec();
        while bytes.len() < 4_000 {
            bytes.extend_from_slice(b"$3\r\nabc\r\n");
        }
        assert_eq!(parse(&bytes, 4_000), Err(TOO_LONG));
        assert_eq!(parse(&bytes, 40_000), Ok(None));
    }
}
