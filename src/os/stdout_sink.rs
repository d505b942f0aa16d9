//! `get -o -`: a download into stdout.
//!
//! A short wait for the reader is allowed here, because the process has nothing else to do. The
//! wait is bounded, so that the loop goes on.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

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
            let left = until.saturating_duration_since(Instant::now());
            let mut files = [PollFd::new(&stdout, PollFlags::OUT)];
            let wait = Timespec { tv_sec: 0, tv_nsec: i64::try_from(left.as_nanos()).unwrap_or(0) };
            if left.is_zero() || matches!(poll(&mut files, Some(&wait)), Ok(0) | Err(_)) {
                return Ok(());
            }
            let (front, _) = waiting.as_slices();
            match rustix::io::write(stdout.as_fd(), &front[..front.len().min(STEP)]) {
                Ok(count) => {
                    waiting.drain(..count);
                }
                Err(Errno::AGAIN | Errno::INTR) => {}
                Err(error) => {
                    self.failed.set(Some(error));
                    return Err(error.into());
                }
            }
        }
        Ok(())
    }
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
