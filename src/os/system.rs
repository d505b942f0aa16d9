//! Small facts of the machine: chance, limits, names of hosts.

use std::ffi::OsString;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::message::limits;
use crate::os::address;

/// The system's number for a file that is not open.
pub const NOT_OPEN: i32 = libc::EBADF;

/// Sixteen bytes that nobody can guess.
#[must_use]
pub fn random() -> [u8; 16] {
    let mut bytes = [0; 16];
    let mut have = 0;
    while have < bytes.len() {
        // Before the kernel's pool is filled this waits, once, at boot; later it never fails.
        match rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => have += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => break,
        }
    }
    bytes
}

/// The date and the time of day here, as `dd/mm/yyyy hh:mm:ss`.
#[must_use]
pub fn date() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    // SAFETY: a plain structure of integers and a pointer that nobody follows.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads one integer of ours and writes one structure of ours.
    unsafe {
        libc::localtime_r(&raw const now, &raw mut parts);
    }
    let libc::tm { tm_mday, tm_mon, tm_year, tm_hour, tm_min, tm_sec, .. } = parts;
    format!("{tm_mday:02}/{:02}/{:04} {tm_hour:02}:{tm_min:02}:{tm_sec:02}", tm_mon + 1, tm_year + 1900)
}

/// The folder of this program below what an XDG variable says, or below `usual` in the home; paths that begin nowhere count for nothing.
#[must_use]
pub fn folder_of_user(given: Option<OsString>, home: Option<OsString>, usual: &str) -> Option<PathBuf> {
    let whole = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    given.and_then(whole).or_else(|| Some(home.and_then(whole)?.join(usual))).map(|folder| folder.join("cardume"))
}

/// Allows as many open files as the system lets us have, and returns how many links that is.
#[must_use]
pub fn raise_link_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(now.saturating_sub(limits::SPARE_DESCRIPTORS)).unwrap_or(usize::MAX).max(16)
}

/// What this process has used of processors.
#[must_use]
pub fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// What another process of this machine has used of processors, as far as the system says so.
#[must_use]
pub fn cpu_time_of(pid: u32) -> Option<Duration> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of a program stands in brackets and may hold blanks and brackets of its own.
    let (_, fields) = status.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    Some(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).ok().filter(|ticks| *ticks > 0)?)
}

/// Whether a signal is ignored now.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: a plain structure of integers and pointers that nobody follows.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: changes nothing, and writes one structure of ours.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Gives SIGINT, SIGTERM and SIGHUP back their usual meaning: the loop is over and nobody asks for them any more.
pub fn let_signals_end_us() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP].into_iter().filter(|signal| !is_ignored(*signal)) {
        // SAFETY: sets a plain default; no handler of ours runs afterwards.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Ignores the signal that says that a lease of ours is in somebody's way: such leases last microseconds, and unasked the signal would end the process.
pub fn outlive_broken_leases() {
    // SAFETY: no handler of ours runs.
    unsafe {
        libc::signal(libc::SIGIO, libc::SIG_IGN);
    }
}

/// All addresses of `HOST:PORT`. It may ask a name server, so it is called before the loop begins.
///
/// # Errors
/// In words.
pub fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    if let Some(at) = address::read(host) {
        return Ok(vec![at]);
    }
    let addresses: Vec<SocketAddr> = host.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    if addresses.is_empty() { Err("no address".into()) } else { Ok(addresses) }
}

/// Gives the pages of memory back to the system that were used once and are not.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: it takes no pointer of ours, and moves nothing that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}
