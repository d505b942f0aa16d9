//! A QUIC stream as the loop reads and writes it.

use std::io::{self, Read};

use bytes::Bytes;
use quinn_proto::StreamId;

use crate::io::traits::{RawRead, RawWrite, ReadAt};
use crate::os::net::quic::connection::Conn;
use crate::os::net::quic::limits;
use crate::os::net::quic::{Quic, QuicStream};
use crate::reactor::traits::Stream;

/// A stream with its connection.
pub struct QuicStreamIo<'a> {
    quic: &'a mut Quic,
    stream: &'a mut QuicStream,
}

impl<'a> QuicStreamIo<'a> {
    pub(super) fn new(quic: &'a mut Quic, stream: &'a mut QuicStream) -> QuicStreamIo<'a> {
        QuicStreamIo { quic, stream }
    }

    fn with<T>(
        &mut self,
        does: impl FnOnce(&mut Conn, StreamId, &mut QuicStream) -> io::Result<T>,
    ) -> io::Result<T> {
        let QuicStreamIo { quic, stream } = self;
        let id = stream.id.ok_or(io::ErrorKind::NotConnected)?;
        quic.with(stream.conn, |conn, _| does(conn, id, stream))
            .unwrap_or_else(|| Err(io::ErrorKind::ConnectionReset.into()))
    }
}

impl Read for QuicStreamIo<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.with(|conn, id, stream| conn.read(id, into, &mut stream.ended))
    }
}

impl RawRead for QuicStreamIo<'_> {}

impl RawWrite for QuicStreamIo<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|conn, id, _| conn.write(id, bytes))
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn takes_mapped(&self) -> bool {
        false
    }

    fn write_read(&mut self, length: usize, read: &mut ReadAt<'_>) -> io::Result<usize> {
        self.with(|conn, id, _| {
            let mut written = 0;
            while written < length {
                match conn.writes(id) {
                    Ok(()) => {}
                    Err(_) if written > 0 => break,
                    Err(error) => return Err(error),
                }
                let mut chunk = vec![0; limits::CHUNK_BYTES.min(length - written)];
                match read(written, &mut chunk) {
                    Ok(()) => {}
                    Err(_) if written > 0 => break,
                    Err(error) => return Err(error),
                }
                written += chunk.len();
                conn.take(id, Bytes::from(chunk))?;
            }
            Ok(written)
        })
    }
}

impl Stream for QuicStreamIo<'_> {
    fn unsent(&self) -> usize {
        let conn = self.quic.conns.get(self.stream.conn);
        conn.zip(self.stream.id).map_or(0, |(conn, id)| conn.staged(id))
    }

    fn end_writing(&mut self) {
        let _ = self.with(|conn, id, _| {
            conn.finish(id);
            Ok(())
        });
    }
}
