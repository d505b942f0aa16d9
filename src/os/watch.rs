//! What happens below a folder, as the kernel tells it: inotify, one watch a folder, read without waiting.
//!
//! A new subfolder is watched first and listed then, so that nothing comes into it unseen. Downloads under way write all the time; their names are dropped
//! before anything is made of them. What the kernel or we can't remember turns into one word: look at everything again.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::rc::Rc;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use crate::library::drive::Change;
use crate::message::limits;
use crate::os::walk::{self, Listing};

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
pub struct Watch {
    events: OwnedFd,
    top: OwnedFd,
    recursive: bool,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    /// Which folder a watch is of, below the shared one, whose own name is empty.
    folders: BTreeMap<i32, String>,
    /// Not all folders could be watched, and that was said.
    is_short: bool,
    /// New subfolders that are to be listed.
    fresh: VecDeque<String>,
    /// The one that is being listed.
    listing: Option<Listing>,
}

impl Watch {
    /// Watches the folder `top`, and with `recursive` each subfolder that a [`Listing`] comes by.
    ///
    /// # Errors
    /// When the system has no watch left.
    pub fn new(top: &OwnedFd, recursive: bool) -> io::Result<Watch> {
        let events = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        let watch = Watch { events, top: top.try_clone()?, recursive, state: RefCell::default() };
        watch.begin(top, "")?;
        Ok(watch)
    }

    /// Watches the subfolder `dir` as well, which is `name` below the shared one.
    pub fn add(&self, dir: &OwnedFd, name: &str) {
        let is_full = self.state.borrow().folders.len() >= limits::WATCHES;
        let begun = if is_full { Err(Errno::NOSPC.into()) } else { self.begin(dir, name) };
        if let Err(error) = begun
            && !std::mem::replace(&mut self.state.borrow_mut().is_short, true)
        {
            log::warn!("changes in {name} and maybe in other folders will not be noticed: {error}");
        }
    }

    fn begin(&self, dir: &OwnedFd, name: &str) -> io::Result<()> {
        // By its descriptor: a path could lead elsewhere by now.
        let place = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let watch = inotify::add_watch(&self.events, place, EVENTS)?;
        self.state.borrow_mut().folders.insert(watch, name.to_owned());
        Ok(())
    }

    /// What has happened since this was last asked, at least a part of it.
    pub fn changes(self: &Rc<Watch>) -> Vec<Change> {
        let mut files = BTreeSet::new();
        let mut everything = false;
        let mut buffer = [MaybeUninit::uninit(); READ_BYTES];
        let mut reader = Reader::new(&self.events, &mut buffer);
        while let Ok(event) = reader.next() {
            let name = event.file_name().map(|name| name.to_str());
            match name {
                _ if event.events().contains(ReadFlags::QUEUE_OVERFLOW) => everything = true,
                _ if event.events().contains(ReadFlags::IGNORED) => {
                    self.state.borrow_mut().folders.remove(&event.wd());
                }
                Some(Ok(name)) if !walk::is_ours_alone(name) => self.happened(event.wd(), event.events(), name, &mut files),
                _ => {}
            }
            if reader.is_buffer_empty() {
                break;
            }
        }
        everything |= !self.list_new(&mut files);
        let everything = everything.then_some(Change::Everything);
        everything.into_iter().chain(files.into_iter().map(Change::File)).collect()
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
            let is_gone = folder.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
            if is_gone {
                let _ = inotify::remove_watch(events, *watch);
            }
            !is_gone
        });
    }

    /// Names some of the files in new subfolders. False when there were too many subfolders to remember.
    fn list_new(self: &Rc<Watch>, files: &mut BTreeSet<String>) -> bool {
        let mut state = self.state.borrow_mut();
        if state.fresh.len() > limits::WATCHES {
            state.fresh.clear();
            return false;
        }
        let mut listing = state.listing.take();
        // A listing adds watches.
        drop(state);
        for _ in 0..LIST_FILES {
            match listing.as_mut().and_then(Iterator::next) {
                Some(Ok(found)) => {
                    files.insert(found.name);
                }
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(_)) | None => {
                    let Some(next) = self.state.borrow_mut().fresh.pop_front() else { return true };
                    listing = Some(Listing::below(&self.top, &next, Rc::clone(self)));
                }
            }
        }
        self.state.borrow_mut().listing = listing;
        true
    }
}
