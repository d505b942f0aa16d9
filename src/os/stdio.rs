//! stdout and stderr through bounded buffers that never block: a pipe without a reader must not freeze a server, and a closed one must not
//! end it. What finds no room is dropped whole line by whole line, and counted.
//!
//! An error of a write means that output is lost: [`StdStreams::failure`] keeps it, and the exit code of the program tells of it.

use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::os::system;

/// Bytes of stdout or stderr that wait for a reader; further lines are dropped and counted.
const OUTPUT_BYTES: usize = 8 << 20;

/// A write of this size never waits once the file says that it takes something: it is what a pipe promises.
const STEP: usize = 4_096;
/// Written in one go, so that a turn stays short.
const MOST: usize = 256 << 10;
/// How long a reader may take nothing before the last lines are given up at the end of the process.
const PATIENCE: Duration = Duration::from_secs(1);

/// Which file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    /// Standard output.
    Out,
    /// Standard error.
    Err,
}

/// One of the two, shared by the console and the log.
#[derive(Clone)]
pub struct StdStreams(Arc<Mutex<Buffer>>);

struct Buffer {
    to: Stdio,
    waiting: VecDeque<u8>,
    most: usize,
    dropped: u64,
    closed: bool,
    /// Why output was lost.
    failed: Option<Errno>,
}

/// The shell has started us with stdout, or stderr, closed (`>&-`). The runtime opens `/dev/null` in their place before `main`, so this is noted earlier.
static STDOUT_IS_MISSING: AtomicBool = AtomicBool::new(false);
static STDERR_IS_MISSING: AtomicBool = AtomicBool::new(false);

/// Runs before `main`.
extern "C" fn note_closed_outputs() {
    for (number, missing) in
        [(libc::STDOUT_FILENO, &STDOUT_IS_MISSING), (libc::STDERR_FILENO, &STDERR_IS_MISSING)]
    {
        // SAFETY: asks for the flags of a number; where it is no open file that is an answer like others.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        missing.store(flags < 0, Ordering::Relaxed);
    }
}

// SAFETY: the functions of this section are called once, by the C library, which is ready by then; ours takes no argument that it needs.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = note_closed_outputs;

/// True when the program was started without this file.
#[must_use]
pub fn is_missing(which: Stdio) -> bool {
    match which {
        Stdio::Out => &STDOUT_IS_MISSING,
        Stdio::Err => &STDERR_IS_MISSING,
    }
    .load(Ordering::Relaxed)
}

impl StdStreams {
    /// Opens one of the two; `lossless` for a program whose whole purpose is this output.
    #[must_use]
    pub fn new(to: Stdio, lossless: bool) -> StdStreams {
        let most = if lossless { usize::MAX } else { OUTPUT_BYTES };
        StdStreams(Arc::new(Mutex::new(Buffer {
            to,
            waiting: VecDeque::new(),
            most,
            dropped: 0,
            closed: false,
            failed: None,
        })))
    }

    /// Adds bytes, all or none.
    pub fn put(&self, bytes: &[u8]) {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if buffer.closed {
            return;
        }
        // One that is longer than the limit alone is printed all the same when nothing waits before it.
        if !buffer.waiting.is_empty()
            && buffer.waiting.len().saturating_add(bytes.len()) > buffer.most
        {
            buffer.dropped += 1;
            return;
        }
        buffer.waiting.extend(bytes);
    }

    /// Writes what can be written now. True when something is left.
    pub fn flush(&self) -> bool {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut written = 0;
        while !buffer.waiting.is_empty() && written < MOST {
            match buffer.step(Duration::ZERO) {
                0 => break,
                count => written += count,
            }
        }
        !buffer.waiting.is_empty()
    }

    /// True when nobody reads it any more.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Why output was lost, if it was; `BrokenPipe`: its reader has gone.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failed.map(io::Error::from)
    }

    /// Asks whether the other end of the pipe has been closed. True as well when the output has failed.
    #[must_use]
    pub fn has_no_reader(&self) -> bool {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.closed && buffer.reader_is_gone() {
            buffer.fail(Errno::PIPE);
        }
        buffer.closed
    }

    /// Writes what is left before the process ends, as long as somebody reads.
    pub fn close(&self) {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moved = Instant::now();
        let lossless = buffer.most == usize::MAX;
        if lossless && !buffer.waiting.is_empty() {
            // The reader may take its time, and Ctrl-C must still end the wait.
            system::let_signals_end_us();
        }
        while !buffer.waiting.is_empty() && (lossless || moved.elapsed() < PATIENCE) {
            if buffer.step(Duration::from_millis(50)) > 0 {
                moved = Instant::now();
            }
        }
    }
}

impl Buffer {
    /// Whether the other end of the pipe, socket or terminal has been closed. A file and a device have no such end.
    fn reader_is_gone(&self) -> bool {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let file = match self.to {
            Stdio::Out => stdout.as_fd(),
            Stdio::Err => stderr.as_fd(),
        };
        let mut files = [PollFd::new(&file, PollFlags::empty())];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        matches!(poll(&mut files, Some(&now)), Ok(1..))
            && files[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
    }

    /// Nothing more is written to it.
    fn fail(&mut self, error: Errno) {
        self.failed = Some(error);
        // This output ends, the process does not.
        self.closed = true;
        self.waiting = VecDeque::new();
    }

    /// One write, if the file takes one within `wait`.
    fn step(&mut self, wait: Duration) -> usize {
        let (stdout, stderr) = (io::stdout(), io::stderr());
        let file = match self.to {
            Stdio::Out => stdout.as_fd(),
            Stdio::Err => stderr.as_fd(),
        };
        if is_missing(self.to) {
            self.fail(Errno::BADF);
            return 0;
        }
        let mut files = [PollFd::new(&file, PollFlags::OUT)];
        let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(wait.as_nanos()).unwrap_or(0) };
        match poll(&mut files, Some(&wait)) {
            Ok(0) | Err(_) => return 0,
            Ok(_) => {}
        }
        let (front, _) = self.waiting.as_slices();
        match rustix::io::write(file, &front[..front.len().min(STEP)]) {
            Ok(count) => {
                self.waiting.drain(..count);
                if self.waiting.is_empty() {
                    self.waiting.shrink_to(STEP);
                    let dropped = std::mem::take(&mut self.dropped);
                    if dropped > 0 {
                        let name = if self.to == Stdio::Out { "stdout" } else { "stderr" };
                        log::warn!(
                            "{dropped} lines of {name} found no reader in time and were dropped"
                        );
                    }
                }
                count
            }
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => {
                self.fail(error);
                0
            }
        }
    }
}

impl io::Write for StdStreams {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.put(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
