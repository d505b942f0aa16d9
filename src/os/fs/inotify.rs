//! Changes below a folder by inotify, one watch a folder, read without blocking.
//!
//! A new subfolder is watched first and listed then, so that nothing comes into it unseen. Downloads under way write all the time; their names are dropped
//! before anything is made of them. What the kernel or we can't remember turns into one word: look at everything again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::os::fs::dir_walk::{self, DirListing};
use crate::os::fs::guard::Guard;
use crate::os::fs::top::Top;
use crate::storage::fs_trait::{Blind, FsChange};

/// Watched folders: within the usual limit per user, with room for other programs.
pub const WATCHES: usize = 8_192;

/// What makes a file another one, or none. ATTRIB: a new time of change is a new version.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::DELETE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::ONLYDIR);
/// Bytes of events that are read in one go: some 1,500 of them.
const READ_BYTES: usize = 64 << 10;
/// Files of new subfolders that are named in one go.
const LIST_FILES: usize = 1_000;

/// A folder that is watched.
pub struct FolderWatch {
    events: OwnedFd,
    top: Rc<Top>,
    guard: Rc<Guard>,
    recursive: bool,
    state: RefCell<WatchState>,
    /// Why some changes are told by nobody.
    blind: Cell<Option<Blind>>,
    /// The shared folder itself is no longer watched.
    is_over: Cell<bool>,
}

#[derive(Default)]
struct WatchState {
    /// Which folder a watch is of, below the shared one, whose own name is empty.
    folders: BTreeMap<i32, String>,
    /// New subfolders that are to be listed.
    fresh: VecDeque<String>,
    /// The one that is being listed.
    listing: Option<DirListing>,
}

impl FolderWatch {
    /// Watches the folder `dir`, which is the one at `top`, and with `recursive` each subfolder that a [`DirListing`] comes by.
    ///
    /// # Errors
    /// When the system has no watch left.
    pub fn new(
        top: &Rc<Top>,
        dir: &OwnedFd,
        recursive: bool,
        guard: &Rc<Guard>,
    ) -> io::Result<FolderWatch> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let (top, guard) = (Rc::clone(top), Rc::clone(guard));
        let (blind, is_over) = (Cell::new(None), Cell::new(false));
        let watch = FolderWatch {
            events,
            top,
            guard,
            recursive,
            state: RefCell::default(),
            blind,
            is_over,
        };
        watch.begin(dir, "")?;
        Ok(watch)
    }

    /// Watches the subfolder `dir` as well, which is `name` below the shared one.
    pub fn add(&self, dir: &OwnedFd, name: &str) {
        if let Err(error) = self.begin(dir, name) {
            log::debug!("{name} is not watched: {error}");
            self.blind.set(Some(if error.raw_os_error() == Some(Errno::NOSPC.raw_os_error()) {
                Blind::Limit
            } else {
                Blind::Unsupported
            }));
        }
    }

    fn begin(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        if is_remote(dir) && self.blind.get().is_none() {
            self.blind.set(Some(Blind::Network));
        }
        // By its descriptor: a path could lead elsewhere by now.
        let place = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let watch = inotify::add_watch(&self.events, place, EVENTS)?;
        let mut state = self.state.borrow_mut();
        if state.folders.len() >= WATCHES && !state.folders.contains_key(&watch) {
            let _ = inotify::remove_watch(&self.events, watch);
            return Err(Errno::NOSPC.into());
        }
        state.folders.insert(watch, name.to_owned());
        Ok(())
    }

    /// Why some changes are told by nobody.
    pub fn blind(&self) -> Option<Blind> {
        self.blind.get()
    }

    /// Everything is about to be listed, and says anew what can't be watched.
    pub fn begin_listing(&self, dir: &OwnedFd) {
        self.blind.set(is_remote(dir).then_some(Blind::Network));
    }

    /// True when the shared folder itself is no longer watched: it is gone, or was unmounted.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// What has happened since this was last asked, at least a part of it.
    pub fn changes(self: &Rc<FolderWatch>) -> Vec<FsChange> {
        let mut files = BTreeSet::new();
        let mut everything = false;
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut reader = Reader::new(&self.events, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_str());
            match name {
                _ if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => everything = true,
                // It lets go by itself: IGNORED follows.
                _ if event.events().contains(ReadFlags::UNMOUNT) => everything = true,
                _ if event.events().contains(ReadFlags::IGNORED) => {
                    let gone = self.state.borrow_mut().folders.remove(&event.wd());
                    self.is_over
                        .set(self.is_over.get() || gone.is_some_and(|name| name.is_empty()));
                }
                // Of the shared folder itself: perhaps it may be read again, or no longer.
                None if event.events().contains(ReadFlags::ATTRIB) => {
                    everything |=
                        self.state.borrow().folders.get(&event.wd()).is_some_and(String::is_empty);
                }
                Some(Ok(name)) if !dir_walk::is_ours_alone(name) => {
                    self.happened(event.wd(), event.events(), name, &mut files)
                }
                _ => {}
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        everything |= !self.list_new(&mut files);
        let everything = everything.then_some(FsChange::Everything);
        everything.into_iter().chain(files.into_iter().map(FsChange::File)).collect()
    }

    fn happened(&self, watch: i32, events: ReadFlags, last: &str, files: &mut BTreeSet<String>) {
        let name = match self.state.borrow().folders.get(&watch) {
            // Left by a folder that is no longer ours.
            None => return,
            Some(way) if way.is_empty() => last.to_owned(),
            Some(way) => format!("{way}/{last}"),
        };
        if !events.contains(ReadFlags::ISDIR) {
            files.insert(name);
        } else if !self.recursive {
        } else if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            self.state.borrow_mut().fresh.push_back(name);
        } else if events.contains(ReadFlags::ATTRIB) {
            // Perhaps it may be read again, or no longer.
            self.state.borrow_mut().fresh.push_back(name.clone());
            files.insert(name);
        } else if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.forget(&name);
            // All below it is gone with it.
            files.insert(name);
        }
    }

    /// A folder has moved away: what happens in it from now on is not ours.
    fn forget(&self, name: &str) {
        let mut state = self.state.borrow_mut();
        let events = &self.events;
        state.folders.retain(|watch, folder| {
            let is_gone = folder
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if is_gone {
                let _ = inotify::remove_watch(events, *watch);
            }
            !is_gone
        });
    }

    /// Names some of the files in new subfolders. False when there were too many subfolders to remember.
    fn list_new(self: &Rc<FolderWatch>, files: &mut BTreeSet<String>) -> bool {
        let mut state = self.state.borrow_mut();
        if state.fresh.len() > WATCHES {
            state.fresh.clear();
            return false;
        }
        let mut listing = state.listing.take();
        // A listing adds watches.
        drop(state);
        for _ in 0..LIST_FILES {
            match listing.as_mut().and_then(Iterator::next) {
                Some(Ok(found)) => {
                    if found.barred.is_none() {
                        files.insert(found.name);
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(_)) | None => {
                    let Some(next) = self.state.borrow_mut().fresh.pop_front() else { return true };
                    let Ok(top) = self.top.step() else { return false };
                    listing = Some(DirListing::below(
                        &top,
                        &next,
                        Rc::clone(self),
                        Rc::clone(&self.guard),
                    ));
                }
            }
        }
        self.state.borrow_mut().listing = listing;
        true
    }
}

/// True where others may change what nobody here is told of.
fn is_remote(dir: &OwnedFd) -> bool {
    // NFS, SMB of three kinds, FUSE, 9P, Ceph, AFS of two kinds, Coda, the folders of VirtualBox, Lustre, OCFS2, GFS2, vboxsf's kin of VMware.
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
    // A number of 32 bits, which some systems have with a sign.
    rustix::fs::fstatfs(dir).is_ok_and(|of| REMOTE.contains(&(of.f_type as u64 & 0xffff_ffff)))
}
