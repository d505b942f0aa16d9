//! `get -o -`: a download into stdout.
//!
//! A short wait for the reader is allowed here, because the process has nothing else to do. The
//! wait is bounded, so that the loop goes on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::io::IoSlice;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ReadWriteFlags};

use crate::io::traits::Sink;
use crate::os::stdio::{self, Stdio};
use crate::storage::fs_trait::STDOUT_BYTES;

/// Bytes of a write that never blocks once poll reports the pipe writable: PIPE_BUF.
const STEP: usize = 4_096;
/// How long one iteration waits for the reader.
const WAIT: Duration = Duration::from_millis(2);

/// stdout as the destination of a body.
#[derive(Default)]
pub struct StdoutSink {
    waiting: RefCell<VecDeque<u8>>,
    /// The system has no write that never blocks.
    in_steps: Cell<bool>,
    /// Why stdout accepts no more bytes.
    failed: Cell<Option<Errno>>,
}

impl StdoutSink {
    fn flush(&self) -> io::Result<()> {
        let stdout = io::stdout();
        if stdio::is_missing(Stdio::Out) {
            self.failed.set(Some(Errno::BADF));
        }
        if let Some(error) = self.failed.get() {
            return Err(error.into());
        }
        let mut waiting = self.waiting.borrow_mut();
        let until = Instant::now() + WAIT;
        while !waiting.is_empty() {
            let (front, _) = waiting.as_slices();
            if !self.in_steps.get() {
                match write_now(&stdout, front) {
                    Ok(count) => {
                        waiting.drain(..count);
                        continue;
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::PIPE) => return Err(self.fail(Errno::PIPE)),
                    // Too old a system, or a file: a usual write tells the error, if any.
                    Err(_) => self.in_steps.set(true),
                }
            }
            let left = until.saturating_duration_since(Instant::now());
            let mut files = [PollFd::new(&stdout, PollFlags::OUT)];
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(left.as_nanos()).unwrap_or(0) };
            if left.is_zero() || matches!(poll(&mut files, Some(&wait)), Ok(0) | Err(_)) {
                return Ok(());
            }
            if !self.in_steps.get() {
                continue;
            }
            match rustix::io::write(stdout.as_fd(), &front[..front.len().min(STEP)]) {
                Ok(count) => {
                    waiting.drain(..count);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => return Err(self.fail(error)),
            }
        }
        Ok(())
    }

    fn fail(&self, error: Errno) -> io::Error {
        self.failed.set(Some(error));
        error.into()
    }
}

/// Writes what fits now. The descriptor may be shared with other programs, so it stays a blocking
/// one.
fn write_now(stdout: &io::Stdout, bytes: &[u8]) -> Result<usize, Errno> {
    let here = u64::MAX; // The position of the file, if there is one.
    let flags = ReadWriteFlags::NOWAIT;
    rustix::io::pwritev2(stdout.as_fd(), &[IoSlice::new(bytes)], here, flags)
}

impl Sink for StdoutSink {
    fn room(&self) -> usize {
        // A failure is reported with the next bytes, of which there are none at the end.
        if self.flush().is_err() {
            return STDOUT_BYTES;
        }
        STDOUT_BYTES - self.waiting.borrow().len()
    }

    fn put(&self, _at: u64, bytes: &[u8]) -> io::Result<()> {
        self.waiting.borrow_mut().extend(bytes);
        self.flush()
    }
}
