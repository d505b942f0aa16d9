//! Network, clock and console as the loop needs them. `os` has the real ones, the simulator its own.

use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::io::traits::RawWrite;
use crate::node::io::Transport;
use crate::protocol::types::quic_address::QuicAddress;
use crate::ui::event::UiEvent;

/// One connection.
pub trait Stream: Read + RawWrite {
    /// Closes the sending half.
    fn end_writing(&mut self);

    /// How many bytes that were written the other side does not have yet; 0 where that can't be known.
    fn unsent(&self) -> usize {
        0
    }

    /// True when a read that gave less than was asked for says that there is no more now, but for the end: whatever comes later is told anew.
    fn is_dry_when_short(&self) -> bool {
        false
    }
}

impl<S: Stream> Stream for &mut S {
    fn end_writing(&mut self) {
        (**self).end_writing();
    }

    fn unsent(&self) -> usize {
        (**self).unsent()
    }
}

/// Something that became ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// A link, by the number that it was watched under.
    Link {
        /// Which.
        link: usize,
        /// It may have bytes, its end, or an error.
        readable: bool,
        /// It may take bytes.
        writable: bool,
        /// The other side has ended, or the link has failed: behind the bytes there is something that only one more read tells.
        ended: bool,
        /// Both directions are over: the other side has reset the link, or it has failed.
        gone: bool,
    },
    /// The port of this number has links to accept.
    Port(usize),
    /// A signal asks the process to end; true: a person interrupted it.
    Stop(bool),
    /// The console may have lines.
    Console,
    /// A program that this process has started may have ended.
    Child,
}

/// A network, and the clock that goes with it.
pub trait Net {
    /// Its connections.
    type Stream;
    /// One of them, so that bytes can be read from it and written to it: where many share what carries them, that is needed for it as well.
    type Ends<'a>: Stream
    where
        Self: 'a;

    /// Reaches a connection.
    fn io<'a>(&'a mut self, stream: &'a mut Self::Stream) -> Self::Ends<'a>;

    /// Waits until something is ready, at most `most` long, and adds it to `ready`.
    ///
    /// # Errors
    /// When the system fails; an interruption is none.
    fn wait(&mut self, most: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()>;

    /// The time.
    fn now(&self) -> Instant;

    /// Sixteen bytes that nobody can guess.
    fn random(&mut self) -> [u8; 16];

    /// A way to ask what date and time of day it is here, as `dd/mm/yyyy hh:mm:ss`.
    fn date(&self) -> fn() -> String;
    /// Opens the port of this number, in the place of the one before.
    ///
    /// # Errors
    /// When it is busy, or the address is not ours.
    fn listen(&mut self, port: usize, at: SocketAddr) -> io::Result<SocketAddr>;

    /// Opens the port of this number for QUIC; how it is reached there.
    ///
    /// # Errors
    /// When it is busy, the address is not ours, or there is no QUIC here.
    fn listen_udp(&mut self, port: usize, at: SocketAddr) -> io::Result<QuicAddress> {
        let _ = (port, at);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// The next link that waits at the port of this number.
    ///
    /// # Errors
    /// `WouldBlock` when there is none; anything else when the system has no room for it now.
    fn accept(&mut self, port: usize) -> io::Result<(Self::Stream, SocketAddr)>;

    /// True when the link that was accepted last took the last descriptor of the process.
    fn is_short(&self) -> bool {
        false
    }

    /// Begins a connection.
    ///
    /// # Errors
    /// When it fails at once.
    fn connect(&mut self, to: SocketAddr, way: Transport) -> io::Result<Self::Stream>;

    /// Reports what happens to a stream from now on as that of `link`, in both directions.
    ///
    /// # Errors
    /// When the system fails.
    fn watch(&mut self, stream: &mut Self::Stream, link: usize) -> io::Result<()>;

    /// Whether a connection that was begun is there; `Ok(false)`: not yet.
    ///
    /// # Errors
    /// Why it failed.
    fn established(&mut self, stream: &mut Self::Stream) -> io::Result<bool>;

    /// Nothing has moved for a while: memory that a burst has left behind is given back.
    fn trim_memory(&mut self) {}

    /// Closes a stream.
    fn close(&mut self, stream: Self::Stream);
}

/// What came from the person or the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Typed {
    /// A line.
    Line(String),
    /// Bytes that are no whole line yet; there may be more.
    Part,
    /// No more lines will come.
    End,
    /// The person asks the process to end.
    Interrupt,
}

/// Where a person sits, or a script.
pub trait ConsoleIo {
    /// The next line, if there is one; none is handed out unless `ready`, for the node may be busy with the one before.
    fn take(&mut self, ready: bool) -> Option<Typed>;

    /// Tells what happened. Never waits.
    fn tell(&mut self, report: &UiEvent, now: Instant);

    /// Writes what waits, as far as that goes without waiting. True when something is left.
    fn flush(&mut self) -> bool;

    /// True when the output is all that the process is for, and nobody will read it any more.
    fn is_abandoned(&self) -> bool {
        false
    }

    /// Writes what waits before the process ends.
    fn close(&mut self);
}
