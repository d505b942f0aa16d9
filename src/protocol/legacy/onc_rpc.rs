//! ONC RPC over TCP for the operation log, both sides: records (RFC 5531 section 11), calls and
//! replies, strings and integers of XDR (RFC 4506), and the calls to a port mapper (RFC 1833
//! section 3). No sockets.

use crate::limits;

/// The version of RPC itself.
const RPC: u32 = 2;
/// The bit of a fragment header that marks the last fragment.
const LAST: u32 = 1 << 31;
/// The longest authentication body.
const AUTH_BYTES: usize = 400;

/// The operation log's program number at UC3M.
pub const LOG_PROGRAM: u32 = 1;
/// The version of the program.
pub const LOG_VERSION: u32 = 1;
/// The procedure 0 of every program: no arguments, no results.
pub const NULL: u32 = 0;
/// Log an operation: user, operation, date.
pub const LOG: u32 = 1;
/// Log an operation on a file: user, operation, file, date.
pub const LOG_FILE: u32 = 2;

/// The program number of the port mapper.
pub const MAPPER_PROGRAM: u32 = 100_000;
/// The version of the port mapper.
pub const MAPPER_VERSION: u32 = 2;
/// The port of the port mapper.
pub const MAPPER_PORT: u16 = 111;

/// The longest record with its fragment headers.
pub const RECORD_ROOM: usize = limits::RPC_RECORD_BYTES + 4 * limits::RPC_FRAGMENTS;

/// Not RPC; the connection must close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RpcError;

/// The record at the front of `buffer` and its length there; `None` while incomplete.
///
/// # Errors
/// When the record is too long or in too many fragments, as soon as its headers show that.
pub fn record(buffer: &[u8]) -> Result<Option<(Vec<u8>, usize)>, RpcError> {
    let (mut whole, mut used) = (Vec::new(), 0);
    for _ in 0..limits::RPC_FRAGMENTS {
        let Some(mark) = buffer[used..].first_chunk::<4>() else { return Ok(None) };
        let mark = u32::from_be_bytes(*mark);
        let length = usize::try_from(mark & !LAST).map_err(|_| RpcError)?;
        if whole.len() + length > limits::RPC_RECORD_BYTES {
            return Err(RpcError);
        }
        used += 4;
        let Some(fragment) = buffer[used..].get(..length) else { return Ok(None) };
        whole.extend_from_slice(fragment);
        used += length;
        if mark & LAST != 0 {
            return Ok(Some((whole, used)));
        }
    }
    Err(RpcError)
}

/// Write a record of one fragment.
fn put_record(body: &[u8], out: &mut Vec<u8>) {
    // Records written here are far below the limit.
    let length = u32::try_from(body.len()).unwrap_or(0);
    out.extend_from_slice(&(length | LAST).to_be_bytes());
    out.extend_from_slice(body);
}

/// A reader of XDR.
#[derive(Debug)]
pub struct Xdr<'a>(&'a [u8]);

impl<'a> Xdr<'a> {
    /// Read from these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Xdr<'a> {
        Xdr(bytes)
    }

    /// An unsigned integer.
    pub fn int(&mut self) -> Option<u32> {
        let (first, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*first))
    }

    /// Variable-length bytes, with their padding to a multiple of four.
    pub fn opaque(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.int()?).ok()?;
        let bytes = self.0.get(..length)?;
        self.0 = self.0.get(length.checked_next_multiple_of(4)?..)?;
        Some(bytes)
    }

    /// A string; invalid UTF-8 is replaced.
    pub fn string(&mut self) -> Option<String> {
        self.opaque().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// True at the end.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.0.is_empty()
    }
}

fn put_ints(ints: &[u32], out: &mut Vec<u8>) {
    for int in ints {
        out.extend_from_slice(&int.to_be_bytes());
    }
}

fn put_string(text: &str, out: &mut Vec<u8>) {
    let length = u32::try_from(text.len()).unwrap_or(0);
    put_ints(&[length], out);
    out.extend_from_slice(text.as_bytes());
    out.resize(out.len().next_multiple_of(4), 0);
}

/// A decoded call.
#[derive(Debug, PartialEq, Eq)]
pub struct Call<'a> {
    /// The transaction id, repeated in the reply.
    pub xid: u32,
    /// The version of RPC itself; only for 2 are the other fields valid.
    pub rpc: u32,
    /// Program number.
    pub program: u32,
    /// Version of the program.
    pub version: u32,
    /// Procedure number.
    pub procedure: u32,
    /// XDR-encoded arguments.
    pub arguments: &'a [u8],
}

/// Decode a call.
///
/// # Errors
/// When the record is no call.
pub fn call(record: &[u8]) -> Result<Call<'_>, RpcError> {
    let mut xdr = Xdr::new(record);
    let mut int = || xdr.int().ok_or(RpcError);
    let (xid, kind, rpc) = (int()?, int()?, int()?);
    if kind != 0 {
        return Err(RpcError);
    }
    if rpc != RPC {
        // Other versions get the same reply, whatever follows.
        return Ok(Call { xid, rpc, program: 0, version: 0, procedure: 0, arguments: &[] });
    }
    let (program, version, procedure) = (int()?, int()?, int()?);
    for _ in 0..2 {
        xdr.int().ok_or(RpcError)?;
        if xdr.opaque().ok_or(RpcError)?.len() > AUTH_BYTES {
            return Err(RpcError);
        }
    }
    Ok(Call { xid, rpc, program, version, procedure, arguments: xdr.0 })
}

/// Write a call without authentication.
fn put_call(
    xid: u32,
    [program, version, procedure]: [u32; 3],
    arguments: &[u8],
    out: &mut Vec<u8>,
) {
    let mut body = Vec::with_capacity(40 + arguments.len());
    put_ints(&[xid, 0, RPC, program, version, procedure, 0, 0, 0, 0], &mut body);
    body.extend_from_slice(arguments);
    put_record(&body, out);
}

/// A decoded reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RpcReply<'a> {
    /// Success, with XDR-encoded results.
    Done(&'a [u8]),
    /// The program is unavailable.
    NoProgram,
    /// Only versions from the first to the last are available.
    OtherVersions(u32, u32),
    /// The procedure is unavailable.
    NoProcedure,
    /// The arguments can't be decoded.
    Garbage,
    /// The server failed.
    Failed,
    /// Another version of RPC itself, or authentication failed.
    Denied,
}

/// Write a reply.
pub fn put_answer(xid: u32, answer: RpcReply<'_>, out: &mut Vec<u8>) {
    let mut body = Vec::new();
    // Accepted without authentication, or denied: only RPC 2 is supported.
    match answer {
        RpcReply::Denied => put_ints(&[xid, 1, 1, 0, RPC, RPC], &mut body),
        _ => put_ints(&[xid, 1, 0, 0, 0], &mut body),
    }
    match answer {
        RpcReply::Done(results) => {
            put_ints(&[0], &mut body);
            body.extend_from_slice(results);
        }
        RpcReply::NoProgram => put_ints(&[1], &mut body),
        RpcReply::OtherVersions(first, last) => put_ints(&[2, first, last], &mut body),
        RpcReply::NoProcedure => put_ints(&[3], &mut body),
        RpcReply::Garbage => put_ints(&[4], &mut body),
        RpcReply::Failed => put_ints(&[5], &mut body),
        RpcReply::Denied => {}
    }
    put_record(&body, out);
}

/// Decode a reply and its transaction id.
///
/// # Errors
/// When the record is no reply.
pub fn answer(record: &[u8]) -> Result<(u32, RpcReply<'_>), RpcError> {
    let mut xdr = Xdr::new(record);
    let (xid, kind, denied) =
        (xdr.int().ok_or(RpcError)?, xdr.int().ok_or(RpcError)?, xdr.int().ok_or(RpcError)?);
    match (kind, denied) {
        (1, 1) => return Ok((xid, RpcReply::Denied)),
        (1, 0) => {}
        _ => return Err(RpcError),
    }
    xdr.int().ok_or(RpcError)?;
    if xdr.opaque().ok_or(RpcError)?.len() > AUTH_BYTES {
        return Err(RpcError);
    }
    let answer = match xdr.int().ok_or(RpcError)? {
        0 => RpcReply::Done(xdr.0),
        1 => RpcReply::NoProgram,
        2 => RpcReply::OtherVersions(xdr.int().ok_or(RpcError)?, xdr.int().ok_or(RpcError)?),
        3 => RpcReply::NoProcedure,
        4 => RpcReply::Garbage,
        5 => RpcReply::Failed,
        _ => return Err(RpcError),
    };
    Ok((xid, answer))
}

/// Results of a single integer.
#[must_use]
pub fn result(results: &[u8]) -> Option<u32> {
    let mut xdr = Xdr::new(results);
    xdr.int().filter(|_| xdr.is_over())
}

/// One entry of the operation log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logged {
    /// The user.
    pub user: String,
    /// The operation.
    pub operation: String,
    /// The file of the operation.
    pub file: Option<String>,
    /// The date as the client sent it.
    pub date: String,
}

impl Logged {
    /// Decode the arguments of [`LOG`] or [`LOG_FILE`].
    #[must_use]
    pub fn read(procedure: u32, arguments: &[u8]) -> Option<Logged> {
        let mut xdr = Xdr::new(arguments);
        let (user, operation) = (xdr.string()?, xdr.string()?);
        let file = if procedure == LOG_FILE { Some(xdr.string()?) } else { None };
        let date = xdr.string()?;
        xdr.is_over().then_some(Logged { user, operation, file, date })
    }

    /// Write the call that logs this entry.
    pub fn put_call(&self, xid: u32, out: &mut Vec<u8>) {
        let mut arguments = Vec::new();
        put_string(&self.user, &mut arguments);
        put_string(&self.operation, &mut arguments);
        if let Some(file) = &self.file {
            put_string(file, &mut arguments);
        }
        put_string(&self.date, &mut arguments);
        let procedure = if self.file.is_some() { LOG_FILE } else { LOG };
        put_call(xid, [LOG_PROGRAM, LOG_VERSION, procedure], &arguments, out);
    }
}

/// A call to the port mapper about the log, over TCP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mapping {
    /// Register this port; the result is a boolean.
    Set(u16),
    /// Remove the registration; the result is a boolean.
    Unset,
    /// Find the port; 0 when not registered.
    Find,
}

impl Mapping {
    /// Write the call.
    pub fn put_call(self, xid: u32, out: &mut Vec<u8>) {
        let (procedure, port) = match self {
            Mapping::Set(port) => (1, port),
            Mapping::Unset => (2, 0),
            Mapping::Find => (3, 0),
        };
        // 6 is TCP.
        let mut arguments = Vec::new();
        put_ints(&[LOG_PROGRAM, LOG_VERSION, 6, u32::from(port)], &mut arguments);
        put_call(xid, [MAPPER_PROGRAM, MAPPER_VERSION, procedure], &arguments, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logged(file: Option<&str>) -> Logged {
        Logged {
            user: "ana".into(),
            operation: "PUBLISH".into(),
            file: file.map(str::to_owned),
            date: "12/05/2024 10:20:30".into(),
        }
    }

    fn body(record_bytes: &[u8]) -> Vec<u8> {
        let (whole, used) = record(record_bytes).expect("RPC").expect("whole");
        assert_eq!(used, record_bytes.len());
        whole
    }

    #[test]
    fn a_call_is_encoded_as_rfc_5531_says() {
        let mut out = Vec::new();
        logged(Some("a.mp4")).put_call(7, &mut out);
        let mut expected = vec![0x80, 0, 0, 96];
        for int in [7u32, 0, 2, 1, 1, 2, 0, 0, 0, 0, 3] {
            expected.extend_from_slice(&int.to_be_bytes());
        }
        expected.extend_from_slice(
            b"ana\0\0\0\0\x07PUBLISH\0\0\0\0\x05a.mp4\0\0\0\0\0\0\x1312/05/2024 10:20:30\0",
        );
        assert_eq!(out, expected);
        let mut out = Vec::new();
        Mapping::Find.put_call(1, &mut out);
        assert_eq!(out.len(), 4 + 40 + 16);
        assert_eq!(out[out.len() - 16..], [0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 6, 0, 0, 0, 0]);
    }

    #[test]
    fn calls_and_replies_round_trip() {
        for file in [None, Some("a b.mp4"), Some("")] {
            let mut out = Vec::new();
            logged(file).put_call(9, &mut out);
            let whole = body(&out);
            let call = call(&whole).unwrap();
            assert_eq!((call.xid, call.program, call.version), (9, LOG_PROGRAM, LOG_VERSION));
            assert_eq!(Logged::read(call.procedure, call.arguments), Some(logged(file)));
        }
        for given in [
            RpcReply::Done(&[0, 0, 0, 0]),
            RpcReply::NoProgram,
            RpcReply::OtherVersions(1, 3),
            RpcReply::NoProcedure,
            RpcReply::Garbage,
            RpcReply::Failed,
            RpcReply::Denied,
        ] {
            let mut out = Vec::new();
            put_answer(4, given, &mut out);
            assert_eq!(answer(&body(&out)), Ok((4, given)));
        }
        assert_eq!(
            (result(&[0, 0, 0, 5]), result(&[0, 0, 0]), result(&[0; 8])),
            (Some(5), None, None)
        );
    }

    #[test]
    fn a_record_may_come_in_fragments_and_in_pieces() {
        let bytes =
            [&[0, 0, 0, 2, b'a', b'b', 0, 0, 0, 0, 0x80, 0, 0, 1, b'c'][..], b"next"].concat();
        for cut in 0..15 {
            assert_eq!(record(&bytes[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(record(&bytes), Ok(Some((b"abc".to_vec(), 15))));
    }

    #[test]
    fn a_long_record_is_refused_at_its_header() {
        assert_eq!(record(b"GET / HTTP/1.1"), Err(RpcError));
        assert_eq!(record(&[0xff; 4]), Err(RpcError));
        let long = u32::try_from(limits::RPC_RECORD_BYTES).unwrap();
        assert_eq!(record(&(long | LAST).to_be_bytes()), Ok(None));
        assert_eq!(record(&(long + 1).to_be_bytes()), Err(RpcError));
        assert_eq!(record(&[0; 4 * limits::RPC_FRAGMENTS]), Err(RpcError));
        let mut two = (long).to_be_bytes().to_vec();
        two.resize(4 + limits::RPC_RECORD_BYTES, 0);
        two.extend_from_slice(&(1 | LAST).to_be_bytes());
        assert_eq!(record(&two), Err(RpcError));
    }

    #[test]
    fn truncated_and_overlong_calls_are_refused() {
        let mut out = Vec::new();
        logged(Some("a")).put_call(1, &mut out);
        let whole = body(&out);
        for cut in 0..40 {
            assert_eq!(call(&whole[..cut]), Err(RpcError), "{cut}");
        }
        for cut in 40..whole.len() {
            let call = call(&whole[..cut]).unwrap();
            assert_eq!(Logged::read(LOG_FILE, call.arguments), None, "{cut}");
        }
        assert_eq!(Logged::read(LOG_FILE, &[&whole[40..], &[0; 4]].concat()), None);
        assert_eq!(Logged::read(LOG, &[0xff; 64]), None);
        let mut other = whole.clone();
        other[11] = 3;
        assert_eq!(call(&other).map(|call| call.rpc), Ok(3));
        // Authentication shorter than its length, and authentication that is too long.
        let mut proof = whole[..28].to_vec();
        put_ints(&[404], &mut proof);
        proof.resize(28 + 4 + 404 + 8, 0);
        assert_eq!(call(&proof), Err(RpcError));
    }

    #[test]
    fn strings_with_invalid_utf8_are_decoded_lossily() {
        let mut xdr = Xdr::new(b"\0\0\0\x02\xe9a\0\0");
        assert_eq!(xdr.string(), Some("\u{fffd}a".into()));
        assert!(xdr.is_over());
    }
}
