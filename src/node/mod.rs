//! A process that is not plugged in: a [`Node`] takes events and returns actions. It sees connections by their buffers, time as one
//! `now` a turn, and never a socket.

pub mod conn_map;
pub mod io;
pub mod reconnect;
pub mod stats;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::node::io::Io;
use crate::protocol::types::quic_address::QuicAddress;

/// Which link: a slot that is used again only after its `Closed` was told and the turn has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub usize);

/// Which port of a process, by a number that the process itself has given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId(pub usize);

/// Whose doing it was that a link ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// We closed it, and all was said.
    Done,
    /// The other side closed or reset it.
    Remote,
    /// It could not be reached.
    Unreachable(String),
    /// It was silent, or slow, for too long.
    Timeout,
    /// The file under an upload is no longer the one that was opened.
    SourceChanged,
    /// Our disk could not take what came.
    Disk(String),
    /// The system failed us.
    Internal(String),
}

/// What a node is told.
#[derive(Debug)]
pub enum Event {
    /// The process begins.
    Start,
    /// A link was accepted, on this port.
    Accepted(ConnId, PortId),
    /// A link that we asked for is there.
    Connected(ConnId),
    /// Bytes have come, or a body has ended.
    Received(ConnId),
    /// Bytes have gone out, and there is room for more.
    Drained(ConnId),
    /// The other side will send no more; it may still read.
    Ended(ConnId),
    /// The link is gone.
    Closed(ConnId, CloseReason),
    /// A port is open, or why not.
    Listening(PortId, Result<SocketAddr, String>),
    /// A port for QUIC is open, and by which key whoever answers there is known; or why not.
    ListeningUdp(PortId, Result<QuicAddress, String>),
    /// A line that a person typed or a script piped.
    Command(String),
    /// No more lines will come.
    CommandsEnded,
    /// A signal asks the process to end. True when a person interrupted it.
    Stop(bool),
    /// A program that this process has started may have ended.
    Child,
    /// The time that [`Node::deadline`] named has come.
    Deadline,
}

/// A whole process, as a value.
pub trait Node {
    /// Takes one event.
    fn handle(&mut self, event: Event, io: &mut Io<'_>);

    /// When it wants to be woken, if nothing else happens.
    fn deadline(&self) -> Option<Instant>;

    /// The process stood still for so long, stopped or asleep: what the others did meanwhile has not been read yet.
    fn stood_still(&mut self, gap: Duration) {
        let _ = gap;
    }

    /// True when it takes the next command now.
    fn is_ready(&self) -> bool {
        true
    }
}
