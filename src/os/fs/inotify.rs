//! Changes below a shared folder by inotify, read without blocking.
//!
//! A new subfolder is watched first and listed then, so that no file enters unseen. Partial files
//! change all the time, so their events are dropped at once. An overflow of the kernel's queue, or
//! too many new subfolders, becomes [`FsChange::Everything`]: list the whole folder again.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::inotify::{ReadFlags, Reader};

use crate::os::fs::dir_walk::{self, DirListing};
use crate::os::fs::guard::Guard;
use crate::os::fs::top::Top;
use crate::os::fs::watch_set::{WATCHES, WatchSet};
use crate::storage::fs_trait::FsChange;

/// Bytes of events that are read at once: some 1,500 of them.
const READ_BYTES: usize = 64 << 10;
/// Files of new subfolders that are reported at once.
const LIST_FILES: usize = 1_000;

/// A watched folder.
pub struct FolderWatch {
    watches: Rc<WatchSet>,
    top: Rc<Top>,
    guard: Rc<Guard>,
    recursive: bool,
    new_folders: RefCell<NewFolders>,
    is_over: Cell<bool>,
}

/// The files with events; true for one whose writer goes on, as far as the events tell.
type ChangedNames = BTreeMap<String, bool>;

/// Subfolders that have to be listed.
#[derive(Default)]
struct NewFolders {
    waiting: VecDeque<String>,
    /// The listing under way.
    listing: Option<DirListing>,
}

impl FolderWatch {
    /// Watches `dir`, the folder at `top`. Each listing adds the subfolders to
    /// [`watches`](FolderWatch::watches).
    ///
    /// # Errors
    /// When the system has no watch left.
    pub fn new(
        top: &Rc<Top>,
        dir: &OwnedFd,
        recursive: bool,
        guard: &Rc<Guard>,
    ) -> io::Result<FolderWatch> {
        let watches = WatchSet::new()?;
        watches.watch(dir, "")?;
        Ok(FolderWatch {
            watches: Rc::new(watches),
            top: Rc::clone(top),
            guard: Rc::clone(guard),
            recursive,
            new_folders: RefCell::default(),
            is_over: Cell::new(false),
        })
    }

    /// The watches of the folder and its subfolders.
    pub fn watches(&self) -> &Rc<WatchSet> {
        &self.watches
    }

    /// True when the shared folder itself is no longer watched: it was removed or unmounted.
    pub fn is_over(&self) -> bool {
        self.is_over.get()
    }

    /// Changes since the last call. One call may return only a part of them.
    pub fn changes(&self) -> Vec<FsChange> {
        let mut files = ChangedNames::new();
        let mut everything = false;
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut reader = Reader::new(self.watches.events(), &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_str());
            match name {
                _ if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => everything = true,
                // The kernel removes the watch by itself: IGNORED follows.
                _ if event.events().contains(ReadFlags::UNMOUNT) => everything = true,
                _ if event.events().contains(ReadFlags::IGNORED) => {
                    let is_over = self.watches.forget(event.wd());
                    self.is_over.set(self.is_over.get() || is_over);
                }
                // The shared folder itself may have become readable, or unreadable.
                None if event.events().contains(ReadFlags::ATTRIB) => {
                    everything |= self.watches.is_top(event.wd());
                }
                Some(Ok(name)) if !dir_walk::is_ours_alone(name) => {
                    self.on_event(event.wd(), event.events(), name, &mut files)
                }
                _ => {}
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        everything |= !self.list_new_folders(&mut files);
        let everything = everything.then_some(FsChange::Everything);
        let changes = files.into_iter().map(|(name, is_written)| match is_written {
            true => FsChange::Written(name),
            false => FsChange::File(name),
        });
        everything.into_iter().chain(changes).collect()
    }

    fn on_event(&self, watch: i32, events: ReadFlags, last: &str, files: &mut ChangedNames) {
        let Some(name) = self.watches.path(watch, last) else { return };
        let waiting = &mut self.new_folders.borrow_mut().waiting;
        if !events.contains(ReadFlags::ISDIR) {
            let is_written = events.difference(ReadFlags::MODIFY).is_empty();
            files.entry(name).and_modify(|before| *before &= is_written).or_insert(is_written);
        } else if !self.recursive {
        } else if events.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO) {
            waiting.push_back(name);
        } else if events.contains(ReadFlags::ATTRIB) {
            // The folder may have become readable, or unreadable.
            waiting.push_back(name.clone());
            files.insert(name, false);
        } else if events.intersects(ReadFlags::DELETE | ReadFlags::MOVED_FROM) {
            self.watches.remove_below(&name);
            files.insert(name, false);
        }
    }

    /// Adds some of the files in new subfolders. False when too many subfolders wait.
    fn list_new_folders(&self, files: &mut ChangedNames) -> bool {
        let NewFolders { waiting, listing } = &mut *self.new_folders.borrow_mut();
        if waiting.len() > WATCHES {
            waiting.clear();
            return false;
        }
        for _ in 0..LIST_FILES {
            match listing.as_mut().and_then(Iterator::next) {
                Some(Ok(found)) => {
                    if found.barred.is_none() {
                        files.insert(found.name, false);
                    }
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(_)) | None => {
                    *listing = None;
                    let Some(next) = waiting.pop_front() else { return true };
                    let Ok(top) = self.top.step() else { return false };
                    let watches = Rc::clone(&self.watches);
                    *listing =
                        Some(DirListing::below(&top, &next, watches, Rc::clone(&self.guard)));
                }
            }
        }
        true
    }
}
