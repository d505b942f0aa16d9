//! A picture of a video, made by ffmpeg in a process of its own.
//!
//! A video is the input of a stranger, and its decoders are large. So the process has little: the
//! open file as stdin, a pipe as stdout, no variables, limits of time, memory and files, and, where
//! the system allows, no network. ffmpeg is told to open nothing but the file, and to read no
//! format that names other files. A process that is late is killed.

use std::fs::File;
use std::io::{self, PipeReader, Read as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::process::{
    Pid, Resource, Rlimit, Signal, kill_process_group, setpriority_process, setrlimit,
};

use crate::storage::fs_trait::{PosterJob, PosterState};

/// The name of the program.
const PROGRAM: &str = "ffmpeg";
/// A frame at full speed takes a second; a visitor waits no longer than this.
const LONGEST_RUN: Duration = Duration::from_secs(15);
/// Seconds of the processor: a frame of a large film takes two.
const CPU_SECONDS: u64 = 10;
/// Address space: the libraries, and the frames of a large picture.
const MEMORY_BYTES: u64 = 1 << 30;
/// Descriptors: the libraries, stdin and stdout.
const FILES: u64 = 64;
/// The largest picture: 480 pixels wide as JPEG have 10 to 40 KiB.
pub const POSTER_BYTES: usize = 64 << 10;
/// Bytes read in an iteration.
const SLICE_BYTES: usize = 16 << 10;
/// The lowest priority.
const NICE: i32 = 19;
/// The begin of each JPEG.
const JPEG: [u8; 3] = [0xff, 0xd8, 0xff];

/// The program in PATH; `None` where it is missing.
#[must_use]
pub fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(PROGRAM)).find(|file| file.is_file())
}

/// A process that makes a poster.
pub struct PosterProcess {
    child: Child,
    output: PipeReader,
    bytes: Vec<u8>,
    until: Instant,
    is_killed: bool,
}

impl PosterProcess {
    /// Start a process for a video. `at_ms`: the time of the frame.
    ///
    /// # Errors
    /// When the process can't be started.
    pub fn start(
        program: &Path,
        video: File,
        at_ms: u64,
        now: Instant,
    ) -> io::Result<PosterProcess> {
        let (output, writer) = io::pipe()?;
        fcntl_setfl(&output, fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let seconds = format!("{}.{:03}", at_ms / 1_000, at_ms % 1_000);
        let mut command = Command::new(program);
        command
            .args(["-nostdin", "-v", "quiet", "-protocol_whitelist", "file,pipe"])
            .args(["-format_whitelist", "mov,matroska", "-threads", "1", "-ss", &seconds])
            .args(["-i", "file:/dev/stdin", "-map", "0:v:0", "-frames:v", "1", "-threads", "1"])
            .args(["-vf", "scale='min(480,iw)':-2", "-c:v", "mjpeg", "-q:v", "6"])
            .args(["-pix_fmt", "yuvj420p", "-f", "image2pipe", "pipe:1"])
            .env_clear()
            .current_dir("/")
            .stdin(video)
            .stdout(writer)
            .stderr(Stdio::null())
            .process_group(0);
        // SAFETY: the closure runs in the child between fork and exec. It makes system calls alone:
        // no memory is allocated, and no lock is taken.
        unsafe {
            command.pre_exec(confine);
        }
        let child = command.spawn()?;
        let until = now + LONGEST_RUN;
        Ok(PosterProcess { child, output, bytes: Vec::new(), until, is_killed: false })
    }

    fn kill(&mut self) {
        if !self.is_killed {
            self.is_killed = true;
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
    }

    /// Reads a slice of the picture. A picture that is too large ends the process.
    fn drain(&mut self) {
        let mut slice = [0; SLICE_BYTES];
        match self.output.read(&mut slice) {
            Ok(count) => self.bytes.extend_from_slice(&slice[..count]),
            Err(_) => return,
        }
        if self.bytes.len() > POSTER_BYTES {
            self.bytes.clear();
            self.kill();
        }
    }
}

impl PosterJob for PosterProcess {
    fn poll(&mut self, now: Instant) -> PosterState {
        let before = self.bytes.len();
        self.drain();
        if self.bytes.len() > before {
            return PosterState::Working;
        }
        match self.child.try_wait() {
            Ok(None) => {
                if now >= self.until {
                    log::info!("a poster took too long");
                    self.kill();
                }
                return PosterState::Working;
            }
            Ok(Some(status)) => {
                // The last bytes came before the end of the process.
                self.drain();
                let is_whole = status.success() && !self.is_killed && self.bytes.starts_with(&JPEG);
                if is_whole && self.bytes.len() > before {
                    // There may be more slices in the pipe.
                    return PosterState::Working;
                }
                if is_whole {
                    return PosterState::Made(std::mem::take(&mut self.bytes));
                }
            }
            Err(_) => {}
        }
        PosterState::Failed
    }
}

impl Drop for PosterProcess {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.kill();
            let _ = self.child.try_wait();
        }
    }
}

/// Limits the process to what a poster needs.
fn confine() -> io::Result<()> {
    let limits = [
        (Resource::Cpu, CPU_SECONDS),
        (Resource::As, MEMORY_BYTES),
        (Resource::Fsize, 0),
        (Resource::Nofile, FILES),
        (Resource::Core, 0),
    ];
    for (resource, limit) in limits {
        setrlimit(resource, Rlimit { current: Some(limit), maximum: Some(limit) })?;
    }
    let _ = setpriority_process(None, NICE);
    // SAFETY: the call has no pointer, and the child has a single thread. Without the right to a
    // namespace of its own, ffmpeg is told to use no protocol of a network.
    unsafe {
        libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWNET);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The result of a program that stands for ffmpeg. The test does not sleep: the child does.
    fn outcome(script: &str, now: impl Fn() -> Instant) -> Option<Vec<u8>> {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let (program, video) = (dir.path().join("program"), dir.path().join("video"));
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(&video, b"video").unwrap();
        let begun = Instant::now();
        let mut job =
            PosterProcess::start(&program, File::open(&video).unwrap(), 1_500, begun).unwrap();
        loop {
            match job.poll(now()) {
                PosterState::Working => std::thread::yield_now(),
                PosterState::Made(bytes) => return Some(bytes),
                PosterState::Failed => return None,
            }
        }
    }

    #[test]
    fn a_poster_is_a_small_jpeg_of_a_program_that_succeeds() {
        let made = outcome("printf '\\377\\330\\377'; cat", Instant::now);
        assert_eq!(made.as_deref(), Some(&b"\xff\xd8\xffvideo"[..]));
        let large = "printf '\\377\\330\\377'; head -c 60000 /dev/zero";
        assert_eq!(outcome(large, Instant::now).map(|bytes| bytes.len()), Some(60_003));
        for wrong in [
            "printf '\\377\\330\\377'; exit 1",
            "echo no picture",
            "printf '\\377\\330\\377'; cat /dev/zero",
            "kill -9 $$",
        ] {
            assert_eq!(outcome(wrong, Instant::now), None, "{wrong}");
        }
    }

    #[test]
    fn a_process_writes_no_file_and_has_few_variables_and_limits() {
        let writes = "printf '\\377\\330\\377'; echo x > /tmp/$$.poster && exit 0; exit 1";
        assert_eq!(outcome(writes, Instant::now), None);
        let made =
            outcome("printf '\\377\\330\\377'; env; ulimit -t; ulimit -v; ulimit -n", Instant::now);
        let text = String::from_utf8_lossy(&made.unwrap()[3..]).into_owned();
        assert!(!text.contains("HOME=") && !text.contains("CARGO"), "{text}");
        assert!(text.ends_with("10\n1048576\n64\n"), "{text}");
    }

    #[test]
    fn a_late_process_is_killed() {
        let late = Instant::now() + LONGEST_RUN + Duration::from_secs(1);
        assert_eq!(outcome("sleep 100", || late), None);
    }
}
