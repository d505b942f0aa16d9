//! Bytes that wait for room: their memory is given back once all are taken.

use std::io::{self, IoSliceMut};

use crate::io::traits::{RawWrite, scatter};

#[derive(Default)]
pub(super) struct Leftover {
    bytes: Vec<u8>,
    taken: usize,
}

impl Leftover {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The memory to append to.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// Moves bytes to `parts`, as many as fit.
    pub(super) fn take(&mut self, parts: &mut [IoSliceMut<'_>]) -> usize {
        let count = scatter(&self.bytes[self.taken..], parts, 0);
        self.taken(count);
        count
    }

    /// Writes to a socket. True once no byte is left.
    pub(super) fn write_to(&mut self, socket: &mut impl RawWrite) -> io::Result<bool> {
        while !self.is_empty() {
            match socket.write_bytes(&self.bytes[self.taken..]) {
                Ok(count) => self.taken(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }

    fn taken(&mut self, count: usize) {
        self.taken += count;
        if self.taken == self.bytes.len() {
            *self = Leftover::default();
        }
    }
}
