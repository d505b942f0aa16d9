//! A process as a value: a [`Node`] handles events and queues actions. The node sees the buffers of
//! connections, one `now` an iteration, and no socket.

pub mod conn_map;
#[cfg(test)]
#[path = "../../tests/support/fake_conns.rs"]
pub(crate) mod fake_conns;
pub mod io;
pub mod reconnect;
pub mod settings;
pub mod stats;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::node::io::Io;
use crate::node::settings::LiveSetting;
use crate::protocol::types::account::Key;
use crate::protocol::types::certificate_fault::CertificateFault;
use crate::protocol::types::quic_address::QuicAddress;

/// The number of a connection. The number is reused only after `Closed` was dispatched and the iteration
/// has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub usize);

/// The number of a listening port, chosen by the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortId(pub usize);

/// The reason why a connection was closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// This side closed the connection after the last byte.
    Done,
    /// The other side closed or reset the connection.
    Remote,
    /// The connection could not be made.
    Unreachable(String),
    /// The other side does not hold the expected key.
    WrongKey(WrongKey),
    /// The certificate of the other side is not trusted.
    Untrusted(CertificateFault),
    /// The other side was silent, or slow, for too long.
    Timeout,
    /// The file of an upload has changed since the file was opened.
    SourceChanged,
    /// The disk could not store the received bytes.
    Disk(String),
    /// This system failed.
    Internal(String),
}

/// The error of a connection attempt whose other side does not hold the expected key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WrongKey {
    /// The key that it has shown; `None` for a key of another kind.
    pub shown: Option<Key>,
}

impl fmt::Display for WrongKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the other side has another key")
    }
}

impl std::error::Error for WrongKey {}

/// An event for a node.
#[derive(Debug)]
pub enum Event {
    /// The process starts.
    Start,
    /// A connection was accepted on this port.
    Accepted(ConnId, PortId),
    /// A connection that the node requested is made.
    Connected(ConnId),
    /// Bytes have arrived, or a body has ended.
    Received(ConnId),
    /// Bytes were sent, and the send queue has room.
    Drained(ConnId),
    /// The other side sends no more; and may still read.
    Ended(ConnId),
    /// The connection is closed.
    Closed(ConnId, CloseReason),
    /// A port is open, or could not be opened.
    Listening(PortId, Result<SocketAddr, String>),
    /// A port for QUIC is open under this address and key, or could not be opened.
    ListeningUdp(PortId, Result<QuicAddress, String>),
    /// A line of the console.
    Command(String),
    /// The console has ended.
    CommandsEnded,
    /// A signal asks the process to end. True for an interrupt from the keyboard.
    Stop(bool),
    /// A child process may have ended.
    Child,
    /// The folder of [`Action::AwaitChanges`](crate::node::io::Action::AwaitChanges) has changed.
    FolderChanged,
    /// Settings of this process have changed.
    Settings(Vec<LiveSetting>),
    /// The time of [`Node::deadline`] has come.
    Deadline,
}

/// A process as a value.
pub trait Node {
    /// Handle an event.
    fn handle(&mut self, event: Event, io: &mut Io<'_>);

    /// The time of the next [`Event::Deadline`]. `None`: none is needed.
    fn deadline(&self) -> Option<Instant>;

    /// The process was stopped or asleep for so long. Bytes that arrived meanwhile are still
    /// unread.
    fn stood_still(&mut self, gap: Duration) {
        let _ = gap;
    }

    /// False: a connection from this address is closed at the accept, before a byte is read.
    fn admits(&self, from: IpAddr, now: Instant) -> bool {
        let _ = (from, now);
        true
    }

    /// True when the node takes the next command now.
    fn is_ready(&self) -> bool {
        true
    }
}
