//! RESP, the protocol of Redis: commands, and as far as the load generator needs it the type and
//! length of replies. [`crate::cluster::resp`] reads whole replies.

use crate::limits;

/// Not a RESP reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RespError;

/// A reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RespReply {
    /// A status, an integer or one string.
    One,
    /// An array of this many elements.
    Many(u64),
    /// An error, with its text.
    Error(String),
}

/// Write a command.
pub fn put_command(words: &[&[u8]], out: &mut Vec<u8>) {
    put_header(words.len(), out);
    for word in words {
        put_word(word, out);
    }
}

/// Write the start of a command of this many words.
pub fn put_header(words: usize, out: &mut Vec<u8>) {
    out.push(b'*');
    put_number(words as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// Write a word of a command.
pub fn put_word(word: &[u8], out: &mut Vec<u8>) {
    out.push(b'$');
    put_number(word.len() as u64, out);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(word);
    out.extend_from_slice(b"\r\n");
}

/// Write a decimal integer.
pub fn put_number(number: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Read the next reply and its length in bytes; `None` when more bytes are needed.
///
/// # Errors
/// When the bytes are not RESP.
pub fn answer(buffer: &[u8]) -> Result<Option<(RespReply, usize)>, RespError> {
    let Some((line, mut used)) = line(buffer)? else { return Ok(None) };
    let Some((&kind, text)) = line.split_first() else { return Err(RespError) };
    match kind {
        b'+' => Ok(Some((RespReply::One, used))),
        b'-' => Ok(Some((RespReply::Error(String::from_utf8_lossy(text).into_owned()), used))),
        b':' => number(text).map(|_| Some((RespReply::One, used))),
        b'$' => Ok(bulk(buffer, used, text)?.map(|used| (RespReply::One, used))),
        b'*' => {
            let count = match number(text)? {
                -1 => 0,
                count => u64::try_from(count)
                    .ok()
                    .filter(|count| *count <= limits::LIST_ALL as u64)
                    .ok_or(RespError)?,
            };
            for _ in 0..count {
                let Some((line, length)) = self::line(&buffer[used..])? else { return Ok(None) };
                used += length;
                match line.split_first() {
                    Some((b'$', text)) => match bulk(buffer, used, text)? {
                        Some(end) => used = end,
                        None => return Ok(None),
                    },
                    Some((b':', text)) => drop(number(text)?),
                    Some((b'+', _)) => {}
                    // Nested arrays never answer the commands used here.
                    _ => return Err(RespError),
                }
            }
            Ok(Some((RespReply::Many(count), used)))
        }
        _ => Err(RespError),
    }
}

/// The first line without CRLF, and its length with CRLF.
fn line(buffer: &[u8]) -> Result<Option<(&[u8], usize)>, RespError> {
    match memchr::memchr(b'\n', &buffer[..buffer.len().min(limits::COMMAND_BYTES)]) {
        Some(end) => {
            buffer[..end].strip_suffix(b"\r").map(|line| Some((line, end + 1))).ok_or(RespError)
        }
        None if buffer.len() >= limits::COMMAND_BYTES => Err(RespError),
        None => Ok(None),
    }
}

/// The end of the bulk string that starts at `from`; `None` when bytes are missing.
fn bulk(buffer: &[u8], from: usize, length: &[u8]) -> Result<Option<usize>, RespError> {
    let length = match number(length)? {
        -1 => return Ok(Some(from)),
        length => usize::try_from(length)
            .ok()
            .filter(|length| *length <= limits::HEADER_BYTES)
            .ok_or(RespError)?,
    };
    let end = from + length + 2;
    match buffer.get(from + length..end) {
        None => Ok(None),
        Some(b"\r\n") => Ok(Some(end)),
        Some(_) => Err(RespError),
    }
}

fn number(text: &[u8]) -> Result<i64, RespError> {
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or(RespError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_an_array_of_bulk_strings() {
        let mut out = Vec::new();
        put_command(&[b"SADD", b"a.mp4", b"x"], &mut out);
        assert_eq!(out, b"*3\r\n$4\r\nSADD\r\n$5\r\na.mp4\r\n$1\r\nx\r\n");
    }

    #[test]
    fn a_command_is_an_array_of_strings_of_any_bytes() {
        let mut out = Vec::new();
        put_command(&[b"SET", b"a\r\n", b"\0\xff", b""], &mut out);
        assert_eq!(out, b"*4\r\n$3\r\nSET\r\n$3\r\na\r\n\r\n$2\r\n\0\xff\r\n$0\r\n\r\n");
    }

    #[test]
    fn replies_are_read_wherever_the_buffer_is_cut() {
        let cases: [(&[u8], RespReply); 8] = [
            (b"+OK\r\n", RespReply::One),
            (b":5\r\n", RespReply::One),
            (b"$-1\r\n", RespReply::One),
            (b"$3\r\na\r\n\r\n", RespReply::One),
            (b"*0\r\n", RespReply::Many(0)),
            (b"*-1\r\n", RespReply::Many(0)),
            (b"*3\r\n$2\r\nab\r\n$0\r\n\r\n:7\r\n", RespReply::Many(3)),
            (b"-ERR no\r\n", RespReply::Error("ERR no".into())),
        ];
        for (whole, wanted) in cases {
            for cut in 0..whole.len() {
                assert_eq!(answer(&whole[..cut]), Ok(None), "{cut} bytes of {wanted:?}");
            }
            let mut more = whole.to_vec();
            more.extend_from_slice(b"+OK");
            assert_eq!(answer(&more), Ok(Some((wanted, whole.len()))));
        }
    }

    #[test]
    fn bytes_that_are_not_resp_are_refused() {
        let long = vec![b'+'; limits::COMMAND_BYTES];
        for text in [
            &b"hello\r\n"[..],
            b"\r\n",
            b"+OK\n",
            b":x\r\n",
            b":\xff\r\n",
            b"$3\r\nabcde\r\n",
            b"$-2\r\n",
            b"$99999999\r\n",
            b"*-2\r\n",
            b"*99999999\r\n",
            b"*1\r\n*1\r\n",
            b"*1\r\n\r\n",
            &long,
        ] {
            assert_eq!(
                answer(text),
                Err(RespError),
                "{:?}",
                String::from_utf8_lossy(&text[..text.len().min(20)])
            );
        }
    }
}
