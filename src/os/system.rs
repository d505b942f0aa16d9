//! Facts of the machine: randomness, limits, host names.

use std::ffi::OsString;
use std::io::{self, Read as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::node::stats::process::ProcessStats;
use crate::os::net::address;
use crate::protocol::http::date;
use crate::ui::event::exit;

/// File descriptors reserved for files; connections use the others.
const SPARE_DESCRIPTORS: u64 = 64;

/// The error number for a closed file descriptor.
pub const NOT_OPEN: i32 = libc::EBADF;

/// Random bytes that cannot be guessed. A system that has none ends the process: bytes that can be
/// guessed would be keys that anyone has.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    let mut have = 0;
    while have < bytes.len() {
        // The call blocks once, at boot, until the kernel's pool is filled; later it never fails.
        match rustix::rand::getrandom(&mut bytes[have..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => have += count,
            Err(rustix::io::Errno::INTR) => {}
            // A sandbox may lack the call.
            Err(_) if read_urandom(&mut bytes).is_ok() => break,
            Err(why) => {
                eprintln!("cardume: no random bytes: {why}");
                std::process::exit(exit::FAULT);
            }
        }
    }
    bytes
}

fn read_urandom(bytes: &mut [u8]) -> io::Result<()> {
    std::fs::File::open("/dev/urandom")?.read_exact(bytes)
}

/// The names of this machine: its host name, with and without the domain, and its mDNS name.
#[must_use]
pub fn own_names() -> Vec<String> {
    let system = rustix::system::uname();
    let Ok(whole) = system.nodename().to_str() else { return Vec::new() };
    let first = whole.split('.').next().unwrap_or_default();
    if first.is_empty() {
        Vec::new()
    } else {
        vec![whole.to_owned(), first.to_owned(), format!("{first}.local")]
    }
}

/// The name of the user's account, in the list of accounts.
#[must_use]
pub fn account_name() -> Option<String> {
    let user = rustix::process::getuid().as_raw().to_string();
    let accounts = std::fs::read_to_string("/etc/passwd").ok()?;
    let account = accounts.lines().find(|line| line.split(':').nth(2) == Some(&user))?;
    account.split(':').next().map(str::to_owned)
}

/// The local date and time, as `dd/mm/yyyy hh:mm:ss`.
#[must_use]
pub fn date() -> String {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
    // SAFETY: a plain structure of integers and an unused pointer.
    let mut parts: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: reads a local integer and writes a local structure.
    unsafe {
        libc::localtime_r(&raw const now, &raw mut parts);
    }
    let libc::tm { tm_mday, tm_mon, tm_year, tm_hour, tm_min, tm_sec, .. } = parts;
    format!(
        "{tm_mday:02}/{:02}/{:04} {tm_hour:02}:{tm_min:02}:{tm_sec:02}",
        tm_mon + 1,
        tm_year + 1900
    )
}

/// The time in UTC with milliseconds, as `2026-11-30T22:11:00.123Z`.
#[must_use]
pub fn utc_stamp() -> String {
    utc_text(unix_milliseconds())
}

fn utc_text(milliseconds: u64) -> String {
    let text = date::iso(milliseconds / 1_000);
    format!("{}.{:03}Z", text.trim_end_matches('Z'), milliseconds % 1_000)
}

/// Milliseconds since 1970.
#[must_use]
pub fn unix_milliseconds() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanoseconds = u64::try_from(now.tv_nsec).unwrap_or(0);
    seconds * 1_000 + nanoseconds / 1_000_000
}

/// The folder `cardume` below the path in an XDG variable, or below `usual` in the home. Relative
/// paths are ignored.
#[must_use]
pub fn folder_of_user(
    given: Option<OsString>,
    home: Option<OsString>,
    usual: &str,
) -> Option<PathBuf> {
    let whole = |path: OsString| Some(PathBuf::from(path)).filter(|path| path.is_absolute());
    given
        .and_then(whole)
        .or_else(|| Some(home.and_then(whole)?.join(usual)))
        .map(|folder| folder.join("cardume"))
}

/// The folder of this user's state: `$XDG_STATE_HOME/cardume` or `$HOME/.local/state/cardume`.
#[must_use]
pub fn state_folder() -> Option<PathBuf> {
    folder_of_user(std::env::var_os("XDG_STATE_HOME"), std::env::var_os("HOME"), ".local/state")
}

/// The folder of this user's settings: `$XDG_CONFIG_HOME/cardume` or `$HOME/.config/cardume`.
#[must_use]
pub fn config_folder() -> Option<PathBuf> {
    folder_of_user(std::env::var_os("XDG_CONFIG_HOME"), std::env::var_os("HOME"), ".config")
}

/// Raises the limit of open files as far as allowed, and returns the number of connections it
/// allows.
#[must_use]
pub fn raise_link_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(1 << 20);
    usize::try_from(now.saturating_sub(SPARE_DESCRIPTORS)).unwrap_or(usize::MAX).max(16)
}

/// Processor time of this process.
#[must_use]
pub fn cpu_time() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// Processor time of another process of this machine; `None` if the system does not tell.
#[must_use]
pub fn cpu_time_of(pid: u32) -> Option<Duration> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of a program is in brackets, and may contain blanks and brackets.
    let (_, fields) = status.rsplit_once(')')?;
    let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    let ticks = fields.next()?.ok()?.checked_add(fields.next()?.ok()?)?;
    Some(
        Duration::from_secs(ticks)
            / u32::try_from(rustix::param::clock_ticks_per_second())
                .ok()
                .filter(|ticks| *ticks > 0)?,
    )
}

/// The locale of messages by POSIX: the first of these variables that is not empty.
#[must_use]
pub fn locale() -> String {
    let set = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(set).unwrap_or_default()
}

/// Resources of this process, from `/proc`; zero if the system does not tell.
#[must_use]
pub fn process_stats() -> ProcessStats {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split_whitespace();
    let page = rustix::param::page_size() as u64;
    let (mapped, resident) = (number(pages.next()) * page, number(pages.next()) * page);
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    // Ticks between the start of the machine and the start of the process.
    let ticks = number(fields.split_whitespace().nth(19));
    let booted = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let booted = number(booted.lines().find_map(|line| line.strip_prefix("btime ")));
    let fds = std::fs::read_dir("/proc/self/fd").map_or(0, |all| all.count() as u64);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    ProcessStats {
        cpu: cpu_time(),
        resident,
        mapped,
        open_fds: fds.saturating_sub(1),
        max_fds: limit.current.unwrap_or(u64::MAX),
        started: booted + ticks / rustix::param::clock_ticks_per_second().max(1),
    }
}

/// True when a signal is ignored.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    // SAFETY: a plain structure of integers and unused pointers.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: changes nothing, and writes a local structure.
    let asked = unsafe { libc::sigaction(signal, std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// True in a process that no SIGHUP reaches, such as one under `nohup`.
#[must_use]
pub fn is_hangup_ignored() -> bool {
    is_ignored(libc::SIGHUP)
}

/// SIGHUP waits as long as the value lives.
pub struct HeldHangup {
    before: libc::sigset_t,
}

impl HeldHangup {
    /// Let SIGHUP wait from now on.
    #[must_use]
    pub fn hold() -> HeldHangup {
        // SAFETY: sets of signals are plain integers; the calls read and write local sets only.
        unsafe {
            let mut wanted: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut wanted);
            libc::sigaddset(&raw mut wanted, libc::SIGHUP);
            libc::pthread_sigmask(libc::SIG_BLOCK, &raw const wanted, &raw mut before);
            HeldHangup { before }
        }
    }
}

impl Drop for HeldHangup {
    fn drop(&mut self) {
        // SAFETY: reads a set that an earlier call has written.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.before, std::ptr::null_mut());
        }
    }
}

/// Restores the default action of SIGINT, SIGTERM and SIGHUP, because the loop that handled them
/// has ended.
pub fn let_signals_end_us() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP]
        .into_iter()
        .filter(|signal| !is_ignored(*signal))
    {
        // SAFETY: sets the default action; no handler runs afterwards.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Ignores SIGIO, which the kernel sends when another process breaks a lease. Leases here last
/// microseconds, and the default action would end the process.
pub fn outlive_broken_leases() {
    ignore(libc::SIGIO);
}

/// Ignores SIGXFSZ, which comes with a write beyond the file size limit. The write itself fails,
/// and that failure is reported.
pub fn outlive_size_limits() {
    ignore(libc::SIGXFSZ);
}

fn ignore(signal: libc::c_int) {
    // SAFETY: no handler runs.
    unsafe {
        libc::signal(signal, libc::SIG_IGN);
    }
}

/// Resolves `HOST:PORT` to all its addresses. The call may wait for a name server, so call before
/// the loop begins.
///
/// # Errors
/// The reason as the system gives it.
pub fn resolve(host: &str) -> Result<Vec<SocketAddr>, String> {
    if let Some(at) = address::read(host) {
        return Ok(vec![at]);
    }
    let addresses: Vec<SocketAddr> =
        host.to_socket_addrs().map_err(|error| error.to_string())?.collect();
    if addresses.is_empty() { Err("no address".into()) } else { Ok(addresses) }
}

/// Memory that this process may use, in bytes: the memory of the machine, or less by a container or
/// a limit of the process.
#[must_use]
pub fn memory() -> u64 {
    let machine = rustix::system::sysinfo();
    let all = u64::from(machine.mem_unit).saturating_mul(machine.totalram);
    let limits = [Resource::As, Resource::Data].map(|which| getrlimit(which).current);
    let groups = groups_of(&std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default());
    let groups = groups
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok());
    limits.into_iter().flatten().chain(groups).fold(all, u64::min)
}

/// The files with the memory limits of the cgroups of a process and of all their parents, for
/// cgroups v1 and v2.
fn groups_of(text: &str) -> Vec<String> {
    let mut files = Vec::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(kinds), Some(group)) = (fields.next(), fields.next()) else { continue };
        let (below, file) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if kinds.split(',').any(|kind| kind == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = group.trim_end_matches('/');
        loop {
            files.push(format!("{below}{group}/{file}"));
            match group.rfind('/') {
                Some(end) => group = &group[..end],
                None => break,
            }
        }
    }
    files
}

/// Returns unused pages of memory to the system.
pub fn give_memory_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes no pointer, and moves no memory that is in use.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_utc_knows_leap_days() {
        assert_eq!(utc_text(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(utc_text(1_709_251_199_999), "2024-02-29T23:59:59.999Z");
        assert_eq!(utc_text(1_709_251_200_000), "2024-03-01T00:00:00.000Z");
        assert_eq!(utc_text(4_107_542_400_001), "2100-03-01T00:00:00.001Z");
    }

    #[test]
    fn the_limits_of_all_parent_cgroups_count() {
        let second = groups_of("0::/user.slice/a.scope\n");
        assert_eq!(
            second,
            [
                "/sys/fs/cgroup/user.slice/a.scope/memory.max",
                "/sys/fs/cgroup/user.slice/memory.max",
                "/sys/fs/cgroup/memory.max"
            ]
        );
        assert_eq!(groups_of("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        let first = groups_of("5:cpu,memory:/docker/x\n4:pids:/docker/x\nnonsense\n");
        assert_eq!(first[0], "/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes");
        assert_eq!(first.len(), 3);
        assert!(memory() > 1 << 20);
    }
}
