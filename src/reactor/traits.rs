//! Network, clock and console, as the loop needs each. `os` has the real ones, the simulator its
//! own.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::io::traits::{Descriptor, RawRead, RawWrite};
use crate::node::io::{Security, Transport};
use crate::node::settings::LiveSetting;
use crate::protocol::types::quic_address::QuicAddress;
use crate::reactor::rate_limits::RateLimits;
use crate::ui::event::UiEvent;

/// One connection.
pub trait Stream: RawRead + RawWrite {
    /// Close the sending half.
    fn end_writing(&mut self);

    /// The bytes written but not yet acknowledged; 0 where the system does not report that.
    fn unsent(&self) -> usize {
        0
    }

    /// What protects the connection. Constant from the first byte on that was read.
    fn security(&self) -> Security {
        Security::default()
    }

    /// True while bytes that were written wait within this process.
    fn holds_output(&self) -> bool {
        false
    }

    /// Send bytes that were written before and not yet sent. True once none is left.
    ///
    /// # Errors
    /// When the stream fails.
    fn flush_held(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

impl<S: Stream> Stream for &mut S {
    fn end_writing(&mut self) {
        (**self).end_writing();
    }

    fn unsent(&self) -> usize {
        (**self).unsent()
    }

    fn security(&self) -> Security {
        (**self).security()
    }

    fn holds_output(&self) -> bool {
        (**self).holds_output()
    }

    fn flush_held(&mut self) -> io::Result<bool> {
        (**self).flush_held()
    }
}

/// A readiness event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A connection, by the number that it was registered under.
    Link {
        /// Its number.
        link: usize,
        /// A read may give bytes, the end, or an error.
        readable: bool,
        /// A write may succeed.
        writable: bool,
        /// The other side has ended, or the connection has failed: read until the end shows which.
        ended: bool,
        /// Both directions are over, by a reset or a failure.
        gone: bool,
    },
    /// The port of this number has connections to accept.
    Port(usize),
    /// A signal asks the process to end. True for an interrupt from the keyboard.
    Stop(bool),
    /// The console may have lines.
    Console,
    /// A child process may have ended.
    Child,
    /// A signal asks the process to read its settings again.
    Reload,
    /// The awaited folder has changed.
    Folder,
}

/// Settings that have changed while the process runs.
#[derive(Debug, Default)]
pub struct Reloaded {
    /// The limits of the transfers, if they have changed.
    pub rates: Option<RateLimits>,
    /// Settings of the node.
    pub settings: Vec<LiveSetting>,
}

/// A network with its clock.
pub trait Net {
    /// A connection.
    type Stream;
    /// A connection that can be read and written, together with a transport that several share.
    type Ends<'a>: Stream
    where
        Self: 'a;

    /// Access the bytes of a connection.
    fn io<'a>(&'a mut self, stream: &'a mut Self::Stream) -> Self::Ends<'a>;

    /// Wait for readiness, at most for `most`, and append the events to `ready`.
    ///
    /// # Errors
    /// When the poll fails; a signal is no failure.
    fn wait(&mut self, most: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// The time.
    fn now(&self) -> Instant;

    /// Sixteen unpredictable bytes.
    fn random(&mut self) -> [u8; 16];

    /// A function that returns the local date and time, `dd/mm/yyyy hh:mm:ss`.
    fn date(&self) -> fn() -> String;

    /// The local time since midnight.
    fn time_of_day(&self) -> Duration {
        let date = (self.date())();
        let time = date.rsplit(' ').next().unwrap_or_default();
        let parts = time.split(':').map(|part| part.parse::<u64>().unwrap_or(0));
        Duration::from_secs(parts.fold(0, |seconds, part| seconds * 60 + part))
    }

    /// Open the port of this number, in place of an earlier one. With `takes_tls`, a connection
    /// that begins with a TLS handshake is encrypted.
    ///
    /// # Errors
    /// When the port is in use, or the address is not local.
    fn listen(&mut self, port: usize, at: SocketAddr, takes_tls: bool) -> io::Result<SocketAddr>;

    /// Open the port of this number for QUIC. Returns its address and key.
    ///
    /// # Errors
    /// When the port is in use, the address is not local, or QUIC is not supported.
    fn listen_udp(&mut self, port: usize, at: SocketAddr) -> io::Result<QuicAddress> {
        let _ = (port, at);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Open the port of this number for requests by plain UDP, each accepted as a connection.
    ///
    /// # Errors
    /// When the port is in use, the address is not local, or plain UDP is not supported.
    fn listen_datagrams(&mut self, port: usize, at: SocketAddr) -> io::Result<SocketAddr> {
        let _ = (port, at);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Open the control socket as the port of this number. Only programs of the same user are
    /// accepted there.
    ///
    /// # Errors
    /// When the network has none.
    fn listen_control(&mut self, port: usize) -> io::Result<()> {
        let _ = port;
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Show this secret key on the connections accepted from now on.
    ///
    /// # Errors
    /// When the cryptography does not work: the key before is shown.
    fn show_key(&mut self, secret: &[u8; 32]) -> Result<(), String> {
        let _ = secret;
        Ok(())
    }

    /// Report once when this descriptor has a change of a folder. One is awaited at a time.
    fn await_changes(&mut self, descriptor: Descriptor) {
        let _ = descriptor;
    }

    /// Accept the next connection on the port of this number.
    ///
    /// # Errors
    /// `WouldBlock` when none waits; any other when the system has no room for one.
    fn accept(&mut self, port: usize) -> io::Result<(Self::Stream, SocketAddr)>;

    /// True when the last accept took the last descriptor of the process.
    fn is_short(&self) -> bool {
        false
    }

    /// Start to connect.
    ///
    /// # Errors
    /// When that fails at once.
    fn connect(&mut self, to: SocketAddr, transport: Transport) -> io::Result<Self::Stream>;

    /// Register a stream for readiness in both directions, under this number.
    ///
    /// # Errors
    /// When the system fails.
    fn watch(&mut self, stream: &mut Self::Stream, link: usize) -> io::Result<()>;

    /// True once the connection is made.
    ///
    /// # Errors
    /// When it could not be made.
    fn established(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Give memory that a burst has left behind back to the system.
    fn trim_memory(&mut self) {}

    /// Close a stream.
    fn close(&mut self, stream: Self::Stream);
}

/// Input of the console.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A whole line.
    Line(String),
    /// Part of a line; more may wait.
    Part,
    /// The end of the input.
    End,
    /// An interrupt from the keyboard.
    Interrupt,
}

/// A terminal or a pipe.
pub trait ConsoleIo {
    /// The next input. Lines are kept back unless `ready`: the node may be busy with a command.
    fn take(&mut self, ready: bool) -> Option<Typed>;

    /// Show an event, without blocking.
    fn tell(&mut self, event: &UiEvent, now: Instant);

    /// Read the settings of the process again. `None`: nothing has changed for the loop.
    fn reload(&mut self, now: Instant) -> Option<Reloaded> {
        let _ = now;
        None
    }

    /// A child of this process may have ended.
    fn child_ended(&mut self, now: Instant) {
        let _ = now;
    }

    /// Work in the background, without blocking. Returns when to call again, at the latest.
    fn work(&mut self, now: Instant) -> Option<Instant> {
        let _ = now;
        None
    }

    /// Bytes that wait for [`ConsoleIo::flush`]; a guess that is too high costs a call.
    fn waiting(&self) -> usize {
        usize::MAX
    }

    /// Write waiting output, without blocking. True when some is left.
    fn flush(&mut self) -> bool;

    /// True when the output is the only purpose of the process, and has lost its reader.
    fn is_abandoned(&self) -> bool {
        false
    }

    /// Write all waiting output before the process ends.
    fn close(&mut self);
}
