//! stdin without blocking, and the modes of the terminal.
//!
//! The file is shared with the shell that started us, so it is not made non-blocking; it is asked before each read.

use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, isatty, tcgetattr, tcgetwinsize,
    tcsetattr,
};

use crate::os::system;

/// What a read came to.
#[derive(Debug, PartialEq, Eq)]
pub enum TerminalInput {
    /// Nothing now.
    None,
    /// These bytes.
    Some(Vec<u8>),
    /// There will be no more.
    End,
}

/// Reads what stdin has now, a page at the most.
#[must_use]
pub fn read() -> TerminalInput {
    let stdin = io::stdin();
    let mut files = [PollFd::new(&stdin, PollFlags::IN)];
    match poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })) {
        Ok(0) | Err(_) => return TerminalInput::None,
        Ok(_) => {}
    }
    let mut bytes = vec![0; 4_096];
    match rustix::io::read(stdin.as_fd(), &mut bytes[..]) {
        Ok(0) => TerminalInput::End,
        Ok(count) => {
            bytes.truncate(count);
            TerminalInput::Some(bytes)
        }
        Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => TerminalInput::None,
        Err(_) => TerminalInput::End,
    }
}

/// Waits for keys, before the loop begins. `End` when there will be none, or a signal asks the process to end.
#[must_use]
pub fn wait(stopped: &AtomicBool) -> TerminalInput {
    while !stopped.load(Ordering::Relaxed) {
        let stdin = io::stdin();
        let mut files = [PollFd::new(&stdin, PollFlags::IN)];
        // A signal between the look and the poll is noticed after this.
        match poll(&mut files, Some(&Timespec { tv_sec: 0, tv_nsec: 200_000_000 })) {
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => match read() {
                TerminalInput::None => {}
                keys => return keys,
            },
            Err(_) => return TerminalInput::End,
        }
    }
    TerminalInput::End
}

/// Is set from now on when a signal asks the process to end, which would leave a terminal in raw mode behind.
#[must_use]
pub fn note_stops() -> Arc<AtomicBool> {
    let stopped = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        .into_iter()
        .filter(|signal| !system::is_ignored(*signal))
    {
        let _ = signal_hook::flag::register(signal, Arc::clone(&stopped));
    }
    stopped
}

/// True when a person sits at stdin.
#[must_use]
pub fn is_terminal() -> bool {
    isatty(io::stdin())
}

/// True when this process stands in the foreground of that terminal.
#[must_use]
pub fn is_ours() -> bool {
    // A terminal that is not our session's own knows no background.
    rustix::termios::tcgetpgrp(io::stdin())
        .map_or(true, |front| front == rustix::process::getpgrp())
}

/// True when a person looks at stderr.
#[must_use]
pub fn is_watched() -> bool {
    isatty(io::stderr())
}

/// True for a terminal that obeys no escapes.
#[must_use]
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// How many columns the terminal behind stderr has.
#[must_use]
pub fn columns() -> usize {
    tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col))
}

/// The terminal with its own line editing switched off, until this is dropped.
pub struct RawMode(Termios);

impl RawMode {
    /// Switches it off. Ctrl-C still interrupts; Ctrl-Z would leave the shell with such a terminal, so it is a key like others.
    ///
    /// # Errors
    /// When stdin is no terminal.
    pub fn begin() -> io::Result<RawMode> {
        RawMode::with(true)
    }

    /// The same for a single question, where Ctrl-C is a key as well.
    ///
    /// # Errors
    /// When stdin is no terminal.
    pub fn of_question() -> io::Result<RawMode> {
        RawMode::with(false)
    }

    fn with(interrupts: bool) -> io::Result<RawMode> {
        let before = tcgetattr(io::stdin())?;
        let mut raw = before.clone();
        raw.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::IEXTEN;
        raw.special_codes[SpecialCodeIndex::VSUSP] = 0;
        if !interrupts {
            raw.local_modes -= LocalModes::ISIG;
        }
        tcsetattr(io::stdin(), OptionalActions::Now, &raw)?;
        Ok(RawMode(before))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
