//! Programs of the user that run when a transfer is complete.
//!
//! A program runs without a shell and without arguments. The facts are a JSON object on stdin, and
//! variables of the environment. Nothing here blocks: stdin is a finished file in memory, the output
//! is read in slices, and a program that runs too long is killed with its children.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, PipeReader, Read as _, Seek as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, OFlags, fcntl_getfl, fcntl_setfl, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};

/// Programs at once: each is a process with memory of its own.
const AT_ONCE: usize = 4;
/// Calls that wait for their turn, such as those for the files of a folder; beyond, the last is left
/// out with a warning. A call has about a kilobyte.
const MOST_WAITING: usize = 20_000;
/// Bytes of the output that are logged: a few lines tell why a program failed.
const LOGGED_BYTES: usize = 2 << 10;
/// Bytes read of an output in one iteration, the size of a pipe: a flood costs a millisecond.
const SLICE_BYTES: usize = 64 << 10;
/// How often outputs and deadlines are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// A call of a program.
pub struct HookCall {
    /// The program, by path or by a name in PATH.
    pub program: PathBuf,
    /// The JSON object on stdin.
    pub json: String,
    /// The variables.
    pub variables: Vec<(String, String)>,
}

/// The calls that run or wait.
pub struct HookRunner {
    running: Vec<RunningHook>,
    waiting: VecDeque<HookCall>,
    /// How long a program may run.
    patience: Duration,
    /// When to look at the running programs. Never while none runs.
    look_at: Option<Instant>,
}

struct RunningHook {
    program: String,
    child: Child,
    output: PipeReader,
    /// The begin of the output.
    kept: Vec<u8>,
    until: Instant,
    is_killed: bool,
}

impl HookRunner {
    /// A runner without calls.
    #[must_use]
    pub fn new(patience: Duration) -> HookRunner {
        HookRunner { running: Vec::new(), waiting: VecDeque::new(), patience, look_at: None }
    }

    /// How long a program may run, from the next call on.
    pub fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Run a program, now or when others have ended.
    pub fn call(&mut self, call: HookCall) {
        if self.waiting.len() >= MOST_WAITING {
            let program = call.program.display();
            log::warn!("the hook {program} is left out: too many calls wait");
            return;
        }
        self.waiting.push_back(call);
    }

    /// A child of this process may have ended: the next [`HookRunner::work`] looks.
    pub fn child_ended(&mut self, now: Instant) {
        self.look_at = self.look_at.map(|at| at.min(now));
    }

    /// Start, read and end programs. Returns when to call again, at the latest.
    pub fn work(&mut self, now: Instant) -> Option<Instant> {
        if self.look_at.is_some_and(|at| at <= now) {
            self.running.retain_mut(|hook| hook.goes_on(now));
            self.look_at = None;
        }
        while self.running.len() < AT_ONCE {
            let Some(call) = self.waiting.pop_front() else { break };
            let program = call.program.display().to_string();
            match RunningHook::start(call, now + self.patience) {
                Ok(hook) => self.running.push(hook),
                Err(error) => log::warn!("the hook {program} cannot be started: {error}"),
            }
        }
        if self.look_at.is_none() && !self.running.is_empty() {
            self.look_at = Some(now + LOOK_EVERY);
        }
        self.look_at
    }
}

impl RunningHook {
    fn start(call: HookCall, until: Instant) -> io::Result<RunningHook> {
        let mut facts = File::from(memfd_create("facts", MemfdFlags::CLOEXEC)?);
        facts.write_all(call.json.as_bytes())?;
        facts.rewind()?;
        let (output, writer) = io::pipe()?;
        fcntl_setfl(&output, fcntl_getfl(&output)? | OFlags::NONBLOCK)?;
        let mut command = Command::new(&call.program);
        for name in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_PID", "LISTEN_FDS"] {
            command.env_remove(name);
        }
        let child = command
            .envs(call.variables)
            .stdin(facts)
            .stdout(writer.try_clone()?)
            .stderr(writer)
            .process_group(0)
            .spawn()?;
        let program = call.program.display().to_string();
        Ok(RunningHook { program, child, output, kept: Vec::new(), until, is_killed: false })
    }

    /// Reads the output, and looks whether the program has ended or is too late.
    fn goes_on(&mut self, now: Instant) -> bool {
        self.drain();
        match self.child.try_wait() {
            Ok(None) => {}
            Ok(Some(status)) => {
                self.drain();
                self.report(Some(status));
                return false;
            }
            Err(_) => {
                self.report(None);
                return false;
            }
        }
        if now >= self.until && !self.is_killed {
            self.is_killed = true;
            let _ = kill_process_group(Pid::from_child(&self.child), Signal::KILL);
        }
        true
    }

    fn drain(&mut self) {
        let mut slice = [0; 4 << 10];
        let mut taken = 0;
        while taken < SLICE_BYTES {
            match self.output.read(&mut slice) {
                Ok(0) | Err(_) => return,
                Ok(count) => {
                    taken += count;
                    let room = LOGGED_BYTES.saturating_sub(self.kept.len()).min(count);
                    self.kept.extend_from_slice(&slice[..room]);
                }
            }
        }
    }

    fn report(&self, status: Option<ExitStatus>) {
        let text = String::from_utf8_lossy(&self.kept);
        let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|l| !l.is_empty()).collect();
        let said = lines.join(" | ");
        let said: String = said.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let program = &self.program;
        match status {
            _ if self.is_killed => {
                log::warn!("the hook {program} ran too long and was killed: {said}");
            }
            Some(status) if status.success() => log::info!("the hook {program} has ended: {said}"),
            Some(status) => log::warn!("the hook {program} failed with {status}: {said}"),
            None => log::warn!("the hook {program} is lost: {said}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time that a test waits for its programs.
    const PATIENCE: Duration = Duration::from_secs(60);

    #[test]
    fn calls_go_on_at_the_end_of_a_child() {
        let (mut runner, now) = (HookRunner::new(PATIENCE), Instant::now());
        for _ in 0..10 * AT_ONCE {
            let (json, variables) = (String::new(), Vec::new());
            runner.call(HookCall { program: "true".into(), json, variables });
        }
        // The time of the loop does not pass.
        while runner.work(now).is_some() {
            assert!(now.elapsed() < PATIENCE, "{} calls wait", runner.waiting.len());
            std::thread::yield_now();
            runner.child_ended(now);
        }
        assert!(runner.running.is_empty() && runner.waiting.is_empty());
    }
}
