//! stdin without blocking, and the modes of the terminal.
//!
//! The shell shares the file description, so stdin is not made non-blocking: poll comes before each
//! read.

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

/// The result of a read.
#[allow(missing_docs)]
#[derive(Debug, PartialEq, Eq)]
pub enum TerminalInput {
    /// No input now.
    None,
    Some(Vec<u8>),
    /// The input has ended.
    End,
}

/// Reads the available input, at most a page.
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

/// Waits for input before the loop begins. `End` when the input has ended, or a signal asks the
/// process to stop.
#[must_use]
pub fn wait(stopped: &AtomicBool) -> TerminalInput {
    while !stopped.load(Ordering::Relaxed) {
        let stdin = io::stdin();
        let mut files = [PollFd::new(&stdin, PollFlags::IN)];
        // A signal between the check and the poll is noticed after this time.
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

/// The flag becomes true when a signal asks the process to stop, which would leave the terminal in
/// raw mode.
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

/// True when stdin is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    isatty(io::stdin())
}

/// True when this process is in the foreground of its terminal.
#[must_use]
pub fn is_ours() -> bool {
    // A terminal of another session has no background.
    rustix::termios::tcgetpgrp(io::stdin())
        .map_or(true, |front| front == rustix::process::getpgrp())
}

/// True when stderr is a terminal.
#[must_use]
pub fn is_watched() -> bool {
    isatty(io::stderr())
}

/// True for a terminal without escape sequences.
#[must_use]
pub fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|kind| kind == "dumb")
}

/// The columns of the terminal behind stderr.
#[must_use]
pub fn columns() -> usize {
    tcgetwinsize(io::stderr()).map_or(80, |size| usize::from(size.ws_col))
}

/// The terminal without its own line editing, until drop.
pub struct RawMode(Termios);

impl RawMode {
    /// Switches line editing off. Ctrl-C still interrupts. Ctrl-Z is an ordinary key, because a
    /// stopped process would leave the terminal to the shell in this state.
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
