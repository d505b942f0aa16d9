//! The inotify watches of a shared folder and its subfolders, one watch a folder.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

use crate::storage::fs_trait::Blind;

/// Watched folders: within the usual limit per user, with room for other programs.
pub const WATCHES: usize = 8_192;

/// Events after which a file is another file, or none. ATTRIB: a new change time is a new version.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR);

/// The watches of one inotify instance.
pub struct WatchSet {
    events: OwnedFd,
    /// The path of each watched folder below the shared folder, whose own path is empty.
    folders: RefCell<BTreeMap<i32, String>>,
    /// Why the system does not report some changes.
    blind: Cell<Option<Blind>>,
}

impl WatchSet {
    /// An inotify instance without watches.
    ///
    /// # Errors
    /// When the system has no instance left.
    pub fn new() -> io::Result<WatchSet> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(WatchSet { events, folders: RefCell::default(), blind: Cell::new(None) })
    }

    /// The descriptor to read events from.
    pub fn events(&self) -> &OwnedFd {
        &self.events
    }

    /// Watches `dir`, which has this path below the shared folder.
    ///
    /// # Errors
    /// When the system has no watch left, or cannot watch this folder.
    pub fn watch(&self, dir: &OwnedFd, path: &str) -> io::Result<()> {
        if is_remote(dir) && self.blind.get().is_none() {
            self.blind.set(Some(Blind::Network));
        }
        // By the descriptor: another folder may have the path by now.
        let place = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let watch = inotify::add_watch(&self.events, place, EVENTS)?;
        let mut folders = self.folders.borrow_mut();
        if folders.len() >= WATCHES && !folders.contains_key(&watch) {
            let _ = inotify::remove_watch(&self.events, watch);
            return Err(Errno::NOSPC.into());
        }
        folders.insert(watch, path.to_owned());
        Ok(())
    }

    /// Watches a subfolder, or records that its changes are not reported.
    pub fn watch_subfolder(&self, dir: &OwnedFd, path: &str) {
        if let Err(error) = self.watch(dir, path) {
            log::debug!("{path} is not watched: {error}");
            self.blind.set(Some(if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) {
                Blind::Limit
            } else {
                Blind::Unsupported
            }));
        }
    }

    /// True for the watch of the shared folder itself.
    pub fn is_top(&self, watch: i32) -> bool {
        self.folders.borrow().get(&watch).is_some_and(String::is_empty)
    }

    /// The path of an entry of a watched folder; `None` for a watch that was removed.
    pub fn path(&self, watch: i32, entry: &str) -> Option<String> {
        match self.folders.borrow().get(&watch)?.as_str() {
            "" => Some(entry.to_owned()),
            folder => Some(format!("{folder}/{entry}")),
        }
    }

    /// Forgets a watch that the kernel has removed. True for that of the shared folder itself.
    pub fn forget(&self, watch: i32) -> bool {
        self.folders.borrow_mut().remove(&watch).is_some_and(|path| path.is_empty())
    }

    /// Removes the watches of a folder that has moved away, and of all below it.
    pub fn remove_below(&self, path: &str) {
        self.folders.borrow_mut().retain(|watch, folder| {
            let is_gone = folder
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if is_gone {
                let _ = inotify::remove_watch(&self.events, *watch);
            }
            !is_gone
        });
    }

    /// Why the system does not report some changes.
    pub fn blind(&self) -> Option<Blind> {
        self.blind.get()
    }

    /// Before a full listing of `dir`, which watches every subfolder again.
    pub fn reset_blind(&self, dir: &OwnedFd) {
        self.blind.set(is_remote(dir).then_some(Blind::Network));
    }
}

/// True on file systems that other machines change without an inotify event here.
fn is_remote(dir: &OwnedFd) -> bool {
    // NFS, SMB of three kinds, FUSE, 9P, Ceph, AFS of two kinds, Coda, VirtualBox, Lustre, OCFS2,
    // GFS2, VMware.
    const REMOTE: [u64; 15] = [
        0x6969,
        0xff53_4d42,
        0xfe53_4d42,
        0x517b,
        0x6573_5546,
        0x0102_1997,
        0x00c3_6400,
        0x5346_414f,
        0x6b41_4653,
        0x7375_7245,
        0x786f_4256,
        0x0bd0_0bd0,
        0x7461_636f,
        0x0116_1970,
        0xbacb_acbc,
    ];
    // The number has 32 bits, and a sign on some systems.
    rustix::fs::fstatfs(dir).is_ok_and(|of| REMOTE.contains(&(of.f_type as u64 & 0xffff_ffff)))
}
