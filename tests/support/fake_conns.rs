//! The connections of a node without sockets: plain buffers, and a writer into memory. Unit tests of
//! the library include this file, too.

// Each program with this module uses a part of it.
#![allow(dead_code)]

use std::io;
use std::net::SocketAddr;

use cardume::io::traits::RawWrite;
use cardume::limits;
use cardume::node::ConnId;
use cardume::node::io::{ConnHandle, ConnTable, Transport};

/// The connections of a node, by number.
#[derive(Default)]
pub struct FakeConns {
    all: Vec<ConnHandle>,
    /// Connections opened by the node and not yet reported as established.
    pub opened: Vec<(ConnId, SocketAddr)>,
    /// The transport of each connection opened by the node.
    pub transports: Vec<Transport>,
    /// How often the node looked up a connection.
    pub lookups: u64,
}

impl FakeConns {
    /// Adds a connection from this address, with headers of at most `header_bytes`.
    pub fn add(&mut self, from: SocketAddr, header_bytes: usize) -> ConnId {
        let id = ConnId(self.all.len());
        self.all.push(ConnHandle::new(from, header_bytes));
        id
    }

    /// A connection as the test sees it; not counted as a look-up.
    pub fn get(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.all.get_mut(id.0)
    }

    /// All connections so far, by number.
    pub fn all(&self) -> &[ConnHandle] {
        &self.all
    }
}

impl ConnTable for FakeConns {
    fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
        self.lookups += 1;
        self.get(id)
    }

    fn connect(&mut self, to: SocketAddr, transport: Transport) -> ConnId {
        let id = self.add(to, limits::HEADER_BYTES);
        self.opened.push((id, to));
        self.transports.push(transport);
        id
    }
}

/// Counts written bytes.
#[derive(Default)]
pub struct Sink(pub usize);

impl RawWrite for Sink {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }
    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// Collects written bytes.
#[derive(Default)]
pub struct Heap(pub Vec<u8>);

impl RawWrite for Heap {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
