//! stdout and stderr through bounded buffers that never block: a pipe without a reader must not
//! freeze a server, and a closed pipe must not end it. Lines without room are dropped whole and
//! counted.
//!
//! A failed write loses output: [`StdStreams::failure`] returns the error, and the exit code
//! reports it.

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

/// Bytes of a write that never blocks once poll reports the file writable: PIPE_BUF.
const STEP: usize = 4_096;
/// Bytes written at once, so that an iteration of the loop stays short.
const MOST: usize = 256 << 10;
/// At the end of the process, give up the last lines after this long without progress of the
/// reader.
const PATIENCE: Duration = Duration::from_secs(1);

/// An output of the process.
#[allow(missing_docs)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stdio {
    Out,
    Err,
}

/// One output, shared by the console and the log.
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

/// The shell has started the process with the output closed (`>&-`). The runtime opens `/dev/null`
/// in its place before `main`, so this is recorded earlier.
static STDOUT_IS_MISSING: AtomicBool = AtomicBool::new(false);
static STDERR_IS_MISSING: AtomicBool = AtomicBool::new(false);

/// Runs before `main`.
extern "C" fn note_closed_outputs() {
    for (number, missing) in
        [(libc::STDOUT_FILENO, &STDOUT_IS_MISSING), (libc::STDERR_FILENO, &STDERR_IS_MISSING)]
    {
        // SAFETY: reads the flags of a descriptor; for a closed one the call returns an error.
        let flags = unsafe { libc::fcntl(number, libc::F_GETFD) };
        missing.store(flags < 0, Ordering::Relaxed);
    }
}

// SAFETY: the C library calls the functions of this section once, after its own start; this
// function uses no argument.
#[cfg(target_os = "linux")]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_THE_BEGINNING: extern "C" fn() = note_closed_outputs;

/// True when the process was started without this output.
#[must_use]
pub fn is_missing(which: Stdio) -> bool {
    match which {
        Stdio::Out => &STDOUT_IS_MISSING,
        Stdio::Err => &STDERR_IS_MISSING,
    }
    .load(Ordering::Relaxed)
}

impl StdStreams {
    /// `lossless`: wait for the reader instead of dropping lines, for programs whose purpose is
    /// this output.
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
        // A text longer than the limit is accepted when the buffer is empty.
        if !buffer.waiting.is_empty()
            && buffer.waiting.len().saturating_add(bytes.len()) > buffer.most
        {
            buffer.dropped += 1;
            return;
        }
        buffer.waiting.extend(bytes);
    }

    /// Bytes that wait for [`StdStreams::flush`].
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).waiting.len()
    }

    /// Writes as much as possible without blocking. True when bytes are left.
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

    /// True when the reader has gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).closed
    }

    /// Why output was lost, if it was; `BrokenPipe`: the reader has gone.
    #[must_use]
    pub fn failure(&self) -> Option<io::Error> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).failed.map(io::Error::from)
    }

    /// True when the other end of the pipe is closed, or the output has failed.
    #[must_use]
    pub fn has_no_reader(&self) -> bool {
        let mut buffer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !buffer.closed && buffer.reader_is_gone() {
            buffer.fail(Errno::PIPE);
        }
        buffer.closed
    }

    /// Writes the rest before the process ends, as long as the reader makes progress.
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
    /// True when the other end of the pipe, socket or terminal is closed. Files and devices have no
    /// other end.
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

    fn fail(&mut self, error: Errno) {
        self.failed = Some(error);
        // This output ends, the process does not.
        self.closed = true;
        self.waiting = VecDeque::new();
    }

    /// One write, if the file accepts one within `wait`.
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
