//! Records between a codec and a connection of datagrams, whose other side is a socket for UDP. A
//! connection is a stream of bytes, so records keep the borders of datagrams.
//!
//! ```text
//!   kind (1 byte)   length (2 bytes, big endian)   payload
//! ```
//!
//! Bytes of a file stand between the records, as ranges of the send queue. A [`FileCut`] in front
//! says how these bytes become datagrams.

/// Bytes of the kind and the length.
const RECORD_HEADER: usize = 3;
/// The longest payload: a datagram of UDP is no longer.
const PAYLOAD_BYTES: usize = u16::MAX as usize;

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatagramRecord<'a> {
    /// A datagram.
    Datagram(&'a [u8]),
    /// How the following bytes of a file are cut.
    Cut(FileCut),
    /// The last datagram of a file ends here, although it is short.
    Flush,
    /// Datagrams were lost on their way in, before the next record.
    Lost,
}

/// How the bytes of a file become datagrams.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileCut {
    /// Bytes of the file in a datagram.
    pub bytes: u16,
    /// The number of the first datagram; each begins with its number and the time. `None`: no
    /// header.
    pub first: Option<u32>,
    /// Each datagram waits until the receiver has sent one.
    pub is_acknowledged: bool,
    /// A datagram of the receiver with this content ends the answer.
    pub stop: Vec<u8>,
}

const DATAGRAM: u8 = 0;
const CUT: u8 = 1;
const FLUSH: u8 = 2;
const LOST: u8 = 3;

/// Append a datagram; bytes beyond the longest datagram are cut off.
pub fn put_datagram(bytes: &[u8], out: &mut Vec<u8>) {
    put(DATAGRAM, &bytes[..bytes.len().min(PAYLOAD_BYTES)], out);
}

/// Append the way to cut the following bytes of a file.
pub fn put_cut(cut: &FileCut, out: &mut Vec<u8>) {
    let mut payload = Vec::with_capacity(8 + cut.stop.len());
    payload.extend(cut.bytes.to_be_bytes());
    payload.push(u8::from(cut.first.is_some()) | u8::from(cut.is_acknowledged) << 1);
    payload.extend(cut.first.unwrap_or_default().to_be_bytes());
    payload.extend(&cut.stop);
    put(CUT, &payload, out);
}

/// Append the end of the last datagram of a file.
pub fn put_flush(out: &mut Vec<u8>) {
    put(FLUSH, &[], out);
}

/// Append the loss of datagrams.
pub fn put_lost(out: &mut Vec<u8>) {
    put(LOST, &[], out);
}

fn put(kind: u8, payload: &[u8], out: &mut Vec<u8>) {
    let Ok(length) = u16::try_from(payload.len()) else {
        debug_assert!(false, "a payload of {} bytes", payload.len());
        return;
    };
    out.push(kind);
    out.extend(length.to_be_bytes());
    out.extend(payload);
}

/// The record at the front of `buffer`, and its length. `None` while the record is incomplete.
#[must_use]
pub fn read(buffer: &[u8]) -> Option<(DatagramRecord<'_>, usize)> {
    let (header, rest) = buffer.split_first_chunk::<RECORD_HEADER>()?;
    let length = usize::from(u16::from_be_bytes([header[1], header[2]]));
    let payload = rest.get(..length)?;
    let record = match header[0] {
        DATAGRAM => DatagramRecord::Datagram(payload),
        CUT => cut(payload).map_or(DatagramRecord::Flush, DatagramRecord::Cut),
        FLUSH => DatagramRecord::Flush,
        _ => DatagramRecord::Lost,
    };
    Some((record, RECORD_HEADER + length))
}

fn cut(payload: &[u8]) -> Option<FileCut> {
    let (bytes, rest) = payload.split_first_chunk::<2>()?;
    let (flags, rest) = rest.split_first()?;
    let (first, stop) = rest.split_first_chunk::<4>()?;
    Some(FileCut {
        bytes: u16::from_be_bytes(*bytes),
        first: (flags & 1 != 0).then(|| u32::from_be_bytes(*first)),
        is_acknowledged: flags & 2 != 0,
        stop: stop.to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, proptest};

    use super::*;

    #[test]
    fn records_are_read_as_they_were_put_and_only_when_complete() {
        let slices =
            FileCut { bytes: 320, first: Some(7), is_acknowledged: false, stop: b"KILL".to_vec() };
        let control =
            FileCut { bytes: 1_024, first: None, is_acknowledged: true, stop: b"S".to_vec() };
        let mut out = Vec::new();
        put_datagram(b"one", &mut out);
        put_cut(&slices, &mut out);
        put_cut(&control, &mut out);
        put_flush(&mut out);
        put_lost(&mut out);
        put_datagram(b"", &mut out);
        let records = [
            DatagramRecord::Datagram(b"one"),
            DatagramRecord::Cut(slices),
            DatagramRecord::Cut(control),
            DatagramRecord::Flush,
            DatagramRecord::Lost,
            DatagramRecord::Datagram(b""),
        ];
        let mut rest = &out[..];
        for record in records {
            let (found, used) = read(rest).unwrap();
            assert_eq!(found, record);
            assert!((0..used).all(|cut| read(&rest[..cut]).is_none()));
            rest = &rest[used..];
        }
        assert!(rest.is_empty() && read(rest).is_none());
    }

    #[test]
    fn a_datagram_is_never_longer_than_its_length_can_say() {
        let mut out = Vec::new();
        put_datagram(&vec![b'x'; PAYLOAD_BYTES + 9], &mut out);
        let (record, used) = read(&out).unwrap();
        assert!(matches!(record, DatagramRecord::Datagram(bytes) if bytes.len() == PAYLOAD_BYTES));
        assert_eq!(used, out.len());
    }

    proptest! {
        #[test]
        fn external_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let used = read(&bytes).map(|(_, used)| used);
            prop_assert!(used.is_none_or(|used| used <= bytes.len()));
        }
    }
}
