//! The virtual disk: one folder a machine, with a page cache that a power cut loses and a process
//! kill keeps.
//!
//! Operations on the folder form a journal: a power cut keeps a prefix, at least the synced part.
//! Unsynced writes of a file are kept or lost sector by sector, each sector in the state after any
//! of the writes. The oracle checks every write, and the process can be killed during a write.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::panic::resume_unwind;
use std::rc::Rc;

use cardume::io::traits::{ByteSource, RawWrite, SourceRef};
use cardume::protocol::types::byte_range::ByteRange;
use cardume::protocol::types::ids::FileVersion;
use cardume::storage::Opened;
use cardume::storage::fs_trait::{
    DirEntryKind, FileStat, Filesystem, Found, FsChange, FsError, FsFile,
};

use crate::clock::{Clock, SECOND};
use crate::oracle::{Content, Oracle};
use crate::resume_file::{ENDING, Meant, ResumeFile};
use crate::rng::Rng;

/// A disk writes a sector atomically.
const SECTOR: usize = 512;
/// A kill during a write cuts between pages.
const PAGE: usize = 4_096;

/// The disk of a machine.
pub struct Disk {
    at: SocketAddr,
    clock: Clock,
    rng: Rng,
    oracle: Rc<Oracle>,
    files: RefCell<BTreeMap<String, Node>>,
    durable: RefCell<BTreeMap<String, Node>>,
    log: RefCell<Vec<Step>>,
    next_inode: Cell<u64>,
    boots: Cell<u64>,
    pub capacity: Cell<u64>,
    /// Writes fail while this is set.
    pub failing: Cell<bool>,
    /// A write was refused since the last check, so a record may be stale.
    refused: Cell<bool>,
    /// Reads of shared files block now and then.
    pub cold: Cell<bool>,
    /// Sync of a file also syncs the journal of the folder, as most systems do.
    pub syncs_all: Cell<bool>,
    /// Bytes of a download that a power cut may lose.
    durable_every: Cell<u64>,
    /// Kill points passed so far.
    pub moments: Cell<u64>,
    /// The process is killed at this kill point.
    pub stop_at: Cell<u64>,
    /// Downloaded files never compared with a root.
    unverified: RefCell<BTreeSet<String>>,
    /// Changes not reported to the folder watch yet.
    changes: RefCell<Vec<FsChange>>,
    /// Downloaded files with their required content; true when the file must exist.
    finished: RefCell<BTreeMap<String, (Content, bool)>>,
}

/// The process was killed; thrown as a panic payload.
pub struct Killed;

type Node = Rc<Inode>;

struct Inode {
    number: u64,
    /// The mtime, which any writer can set.
    modified: Cell<u64>,
    /// The ctime.
    changed: Cell<u64>,
    /// Another program has written to the file.
    tampered: Cell<bool>,
    data: RefCell<Data>,
    /// The durable bytes.
    durable: RefCell<Data>,
    /// Writes since the last sync, in order.
    writes: RefCell<Vec<(usize, Vec<u8>)>>,
    locked: Cell<bool>,
}

#[derive(Clone)]
enum Data {
    Version(Content),
    Own(Vec<u8>),
}

#[derive(Clone)]
enum Step {
    Put(String, Node),
    Drop(String),
    Grow(Node, usize),
}

/// The unsynced writes that survive a power cut.
#[derive(Clone, Copy, Debug)]
enum Left {
    Nothing,
    All,
    /// A prefix of the writes.
    Front(usize),
    /// Each write whole or not at all.
    Writes,
    /// Each sector in the state after any of the writes.
    Sectors,
}

impl Data {
    fn bytes(&self) -> &[u8] {
        match self {
            Data::Version(content) => content.bytes(),
            Data::Own(bytes) => bytes,
        }
    }

    fn own(&mut self) -> &mut Vec<u8> {
        if let Data::Version(content) = self {
            *self = Data::Own(content.bytes().to_vec());
        }
        match self {
            Data::Own(bytes) => bytes,
            Data::Version(_) => unreachable!("it was made our own just now"),
        }
    }

    fn write(&mut self, at: usize, bytes: &[u8]) {
        let own = self.own();
        let end = at + bytes.len();
        if own.len() < end {
            own.resize(end, 0);
        }
        own[at..end].copy_from_slice(bytes);
    }
}

impl Inode {
    fn size(&self) -> u64 {
        self.data.borrow().bytes().len() as u64
    }

    fn stamp(&self) -> FileStat {
        FileStat {
            device: 1,
            inode: self.number,
            size: self.size(),
            modified_ns: i128::from(self.modified.get()),
            changed_ns: i128::from(self.changed.get()),
        }
    }

    fn tag(&self) -> FileVersion {
        self.stamp().tag()
    }

    fn is_synced(&self) -> bool {
        self.writes.borrow().is_empty()
            && self.durable.borrow().bytes().len() == self.data.borrow().bytes().len()
    }

    fn sync(&self) {
        let mut durable = self.durable.borrow_mut();
        for (at, bytes) in self.writes.take() {
            durable.write(at, &bytes);
        }
        let size = self.data.borrow().bytes().len();
        if durable.bytes().len() != size {
            durable.own().resize(size, 0);
        }
    }

    /// The state of the disk after a power cut now.
    fn cut(&self, rng: &Rng) {
        let writes = self.writes.take();
        if writes.is_empty() {
            self.data.replace(self.durable.borrow().clone());
            return;
        }
        let left = match rng.below(6) {
            0 => Left::Nothing,
            1 => Left::All,
            2 => Left::Front(rng.place(writes.len() + 1)),
            3 => Left::Writes,
            _ => Left::Sectors,
        };
        let mut then = self.durable.borrow().bytes().to_vec();
        let mut result = then.clone();
        for (number, (at, bytes)) in writes.iter().enumerate() {
            let end = at + bytes.len();
            then.resize(then.len().max(end), 0);
            then[*at..end].copy_from_slice(bytes);
            let whole = match left {
                Left::Nothing => false,
                Left::All | Left::Sectors => true,
                Left::Front(count) => number < count,
                Left::Writes => rng.once_in(2),
            };
            if !whole {
                continue;
            }
            // A few sectors, or nearly all.
            let seldom = rng.between(1, 4);
            for sector in at / SECTOR..end.div_ceil(SECTOR) {
                if matches!(left, Left::Sectors) && !rng.once_in(seldom) {
                    continue;
                }
                let (from, to) = (sector * SECTOR, (sector * SECTOR + SECTOR).min(then.len()));
                result.resize(result.len().max(to), 0);
                result[from..to].copy_from_slice(&then[from..to]);
            }
        }
        self.data.replace(Data::Own(result.clone()));
        self.durable.replace(Data::Own(result));
    }
}

impl Disk {
    pub fn new(at: SocketAddr, clock: Clock, rng: Rng, oracle: Rc<Oracle>) -> Rc<Disk> {
        let disk = Rc::new(Disk {
            at,
            clock,
            oracle: Rc::clone(&oracle),
            files: RefCell::default(),
            durable: RefCell::default(),
            log: RefCell::default(),
            next_inode: Cell::new(1),
            boots: Cell::new(1),
            capacity: Cell::new(1 << 40),
            failing: Cell::new(false),
            refused: Cell::new(false),
            cold: Cell::new(false),
            syncs_all: Cell::new(rng.once_in(2)),
            durable_every: Cell::new(rng.between(1, 6) << 20),
            moments: Cell::new(0),
            stop_at: Cell::new(u64::MAX),
            unverified: RefCell::default(),
            changes: RefCell::default(),
            finished: RefCell::default(),
            rng,
        });
        let weak = Rc::downgrade(&disk);
        oracle.add_disk(at.ip(), weak);
        disk
    }

    /// A point at which the process may be killed.
    fn moment(&self) {
        self.moments.set(self.moments.get() + 1);
        if self.moments.get() == self.stop_at.get() {
            resume_unwind(Box::new(Killed));
        }
    }

    fn inode(&self, data: Data) -> Node {
        let number = self.next_inode.replace(self.next_inode.get() + 1);
        let durable = RefCell::new(Data::Own(Vec::new()));
        Rc::new(Inode {
            number,
            modified: Cell::new(self.clock.now() + number),
            changed: Cell::new(self.clock.now() + number),
            tampered: Cell::new(false),
            data: RefCell::new(data),
            durable,
            writes: RefCell::default(),
            locked: Cell::new(false),
        })
    }

    /// A change of a file: the watch receives it, or an overflow.
    fn happens(&self, name: &str) {
        let change = if self.rng.once_in(30) {
            FsChange::Everything
        } else {
            FsChange::File(name.to_owned())
        };
        self.changes.borrow_mut().push(change);
    }

    fn put(&self, name: &str, node: Node) {
        self.happens(name);
        self.log.borrow_mut().push(Step::Put(name.to_owned(), Rc::clone(&node)));
        self.files.borrow_mut().insert(name.to_owned(), node);
    }

    fn erase(&self, name: &str) {
        if self.files.borrow_mut().remove(name).is_none() {
            return;
        }
        self.happens(name);
        self.log.borrow_mut().push(Step::Drop(name.to_owned()));
    }

    fn sync_folder(&self) {
        for step in self.log.take() {
            if let Step::Grow(node, size) = step {
                grow(&node, size);
            }
        }
        self.durable.replace(self.files.borrow().clone());
    }

    fn node(&self, name: &str) -> io::Result<Node> {
        self.files.borrow().get(name).cloned().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn used(&self) -> u64 {
        self.files.borrow().values().map(|node| node.size()).sum()
    }

    fn check_room(&self, more: u64) -> io::Result<()> {
        let full = self.used() + more > self.capacity.get();
        if self.failing.get() || full {
            self.refused.set(true);
        }
        if self.failing.get() {
            return Err(io::Error::from_raw_os_error(libc::EIO));
        }
        if full {
            return Err(io::Error::from_raw_os_error(libc::ENOSPC));
        }
        Ok(())
    }

    /// Adds or replaces a complete, durable file, as an owner does in a shared folder.
    pub fn place(&self, name: &str, content: Content) {
        let node = self.inode(Data::Version(content));
        *node.durable.borrow_mut() = Data::Version(content);
        self.oracle.add_version(self.at, name, &node.tag().to_string(), content);
        self.put(name, node);
        self.sync_folder();
        self.finished.borrow_mut().remove(name);
    }

    /// Overwrites a file in place, as an editor without rename: readers keep the same inode.
    pub fn rewrite(&self, name: &str, content: Content) {
        let Ok(node) = self.node(name) else { return };
        self.happens(name);
        // Some editors and tools restore the mtime.
        if node.size() != content.size as u64 || self.rng.once_in(2) {
            node.modified.set(node.modified.get().max(self.clock.now()) + 1);
        }
        node.changed.set(node.changed.get().max(self.clock.now()) + 1);
        node.data.replace(Data::Version(content));
        node.durable.replace(Data::Version(content));
        node.writes.borrow_mut().clear();
        self.oracle.add_version(self.at, name, &node.tag().to_string(), content);
        self.finished.borrow_mut().remove(name);
    }

    /// The current version of a file; `None` when the oracle does not know the bytes.
    pub fn version(&self, name: &str) -> Option<Content> {
        let node = self.node(name).ok()?;
        self.oracle.version(self.at, name, &node.tag().to_string())
    }

    pub fn has(&self, name: &str) -> bool {
        self.files.borrow().contains_key(name)
    }

    pub fn names(&self) -> Vec<String> {
        self.files.borrow().keys().cloned().collect()
    }

    /// Another program overwrites bytes of a running download and may restore the mtime.
    pub fn tamper(&self) {
        let parts: Vec<Node> = self
            .files
            .borrow()
            .iter()
            .filter(|(name, _)| name.ends_with(".part"))
            .map(|(_, node)| Rc::clone(node))
            .collect();
        let Some(part) =
            parts.get(self.rng.place(parts.len().max(1))).filter(|part| part.size() > 0)
        else {
            return;
        };
        let at = self.rng.place(usize::try_from(part.size()).unwrap_or(0));
        let byte = part.data.borrow().bytes()[at];
        part.data.borrow_mut().write(at, &[byte ^ 1]);
        part.writes.borrow_mut().push((at, vec![byte ^ 1]));
        part.sync();
        part.tampered.set(true);
        if self.rng.once_in(2) {
            part.modified.set(part.modified.get().max(self.clock.now()) + 1);
        }
        part.changed.set(part.changed.get().max(self.clock.now()) + 1);
        self.oracle.count(|c| c.tampered += 1);
    }

    /// Releases all locks of an ended process.
    pub fn ended(&self) {
        self.stop_at.set(u64::MAX);
    }

    /// A power cut: unsynced bytes are kept or lost at random.
    pub fn crash(&self) {
        self.boots.set(self.boots.get() + 1);
        let log = self.log.take();
        let kept = self.rng.place(log.len() + 1);
        let mut files = self.durable.take();
        for step in log.into_iter().take(kept) {
            match step {
                Step::Put(name, node) => drop(files.insert(name, node)),
                Step::Drop(name) => drop(files.remove(&name)),
                Step::Grow(node, size) => grow(&node, size),
            }
        }
        for node in files.values() {
            node.cut(&self.rng);
            node.locked.set(false);
        }
        self.durable.replace(files.clone());
        self.files.replace(files);
        self.oracle.count(|c| {
            c.blocked += self
                .names()
                .iter()
                .filter(|name| name.strip_suffix(".part").is_some_and(|stem| self.is_blocked(stem)))
                .count() as u64
        });
        self.check();
    }

    /// The current record beside a `.part`.
    pub fn record(&self, name: &str) -> Option<ResumeFile> {
        let node = self.node(&format!("{name}{ENDING}")).ok()?;
        ResumeFile::read(node.data.borrow().bytes(), &self.boot_id())
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots.get())
    }

    /// Checks every promise about the files on the disk.
    pub fn check(&self) {
        for (name, (content, certain)) in self.finished.borrow().iter() {
            let Ok(node) = self.node(name) else {
                assert!(!certain, "{}: {name} was downloaded and is gone", self.at);
                continue;
            };
            assert!(
                node.data.borrow().bytes() == content.bytes(),
                "{}: {name} was downloaded and is another now",
                self.at
            );
        }
        for name in self.names() {
            if let Some(stem) = ResumeFile::stem(&name) {
                self.check_record(stem, None, "on disk");
            }
        }
    }

    /// Bytes claimed by the record of a download must be present and right. `before` is the record
    /// at the last check.
    fn check_record(&self, stem: &str, before: Option<&ResumeFile>, when: &str) {
        let (Some(record), part) = (self.record(stem), self.node(&format!("{stem}.part"))) else {
            return;
        };
        let Some(content) = self.oracle.content_of(&record) else { return };
        let Ok(part) = part else {
            assert!(
                record.held.iter().all(std::ops::Range::is_empty) || when == "on disk",
                "{when}: {stem}: a record claims bytes without a .part: {record:?}"
            );
            return;
        };
        if !record.is_sealed(&part.stamp()) {
            // Without a valid seal, bits only name the pieces worth hashing again.
            return;
        }
        // Claims without a seal were not checked then.
        let before = before.filter(|before| before.is_sealed(&part.stamp()));
        let (data, durable) = (part.data.borrow(), part.durable.borrow());
        record.check(
            before,
            data.bytes(),
            durable.bytes(),
            content,
            &format!("{}: {stem}, {when}", self.at),
        );
    }

    /// True when a `.part` without a record or of another program blocks this name.
    pub fn is_blocked(&self, name: &str) -> bool {
        self.has(&format!("{name}.part")) && self.record(name).is_none()
    }

    /// The bytes of the running download of this content, if any.
    pub fn part_of(&self, meant: &Meant) -> Option<Vec<u8>> {
        let is = |name: &String| {
            ResumeFile::stem(name)
                .filter(|stem| self.record(stem).is_some_and(|record| record.meant == *meant))
                .map(str::to_owned)
        };
        let stem = self.names().iter().find_map(is)?;
        let part = self.node(&format!("{stem}.part")).ok()?;
        let bytes = part.data.borrow().bytes().to_vec();
        Some(bytes)
    }

    /// True when the downloaded file of this name was never compared with a root.
    pub fn is_unverified(&self, name: &str) -> bool {
        self.unverified.borrow().contains(name)
    }

    /// True when any file has this version.
    pub fn has_version(&self, tag: &str) -> bool {
        self.files.borrow().values().any(|node| node.tag().to_string() == tag)
    }

    /// True when the file `name` has exactly this content.
    pub fn holds(&self, name: &str, content: Content) -> bool {
        self.node(name).is_ok_and(|node| match &*node.data.borrow() {
            Data::Version(other) => other.is(content),
            Data::Own(bytes) => bytes == content.bytes(),
        })
    }
}

/// The size of a file is in the journal, the bytes are not.
fn grow(node: &Node, size: usize) {
    node.durable.borrow_mut().own().resize(size, 0);
}

/// The folder as a process sees it.
pub struct SimDrive(pub Rc<Disk>);

impl Filesystem for SimDrive {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        let found: Vec<_> =
            self.0.names().iter().filter_map(|name| self.find(name).map(Ok)).collect();
        Ok(Box::new(found.into_iter()))
    }

    fn find(&self, name: &str) -> Option<Found> {
        let node = self.0.node(name).ok()?;
        let (modified, now) = (node.modified.get(), self.0.clock.now());
        let settled =
            modified < SECOND / 1_000 || modified + 2 * SECOND <= now || self.0.rng.once_in(2);
        Some(Found { name: name.to_owned(), stamp: node.stamp(), settled, barred: None })
    }

    fn watch(&self, _: bool) -> io::Result<()> {
        self.0.changes.borrow_mut().clear();
        Ok(())
    }

    fn changes(&self) -> Vec<FsChange> {
        self.0.changes.take()
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let node = self.0.node(name)?;
        let (size, tag) = (node.size(), node.tag());
        Ok(Opened {
            source: Rc::new(SimSource {
                disk: Rc::clone(&self.0),
                node,
                tag: Some(tag),
                cold_for: Cell::new(0),
            }) as SourceRef,
            size,
            tag,
        })
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        let node = self.0.node(name)?;
        Ok(Rc::new(SimSource { disk: Rc::clone(&self.0), node, tag: None, cold_for: Cell::new(0) }))
    }

    fn look(&self, name: &str) -> io::Result<DirEntryKind> {
        Ok(self.0.node(name).map_or(DirEntryKind::Nothing, |node| DirEntryKind::File(node.size())))
    }

    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>> {
        Ok(self.0.node(name).ok().map(|node| node.stamp()))
    }

    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
        let node = self.0.node(name)?;
        let data = node.data.borrow();
        let bytes = data.bytes();
        Ok(bytes[..bytes.len().min(most)].to_vec())
    }

    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let disk = &self.0;
        disk.check_room(content.len() as u64)?;
        disk.moment();
        let node = disk.inode(Data::Own(content.to_vec()));
        // Atomic: the bytes are durable before the rename.
        node.durable.replace(Data::Own(content.to_vec()));
        disk.put(name, node);
        if let Some(stem) = ResumeFile::stem(name) {
            disk.check_record(stem, None, "written");
        }
        disk.moment();
        Ok(())
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>> {
        let disk = &self.0;
        let node = match (disk.node(name), create) {
            (Ok(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(node), false) => node,
            (Err(error), false) => return Err(error),
            (Err(_), true) => {
                disk.check_room(0)?;
                disk.moment();
                let node = disk.inode(Data::Own(Vec::new()));
                disk.put(name, Rc::clone(&node));
                disk.moment();
                node
            }
        };
        if node.locked.replace(true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Rc::new(SimFile { disk: Rc::clone(disk), node, name: name.to_owned(), writes: true }))
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
        let node = self.0.node(name)?;
        Ok(Rc::new(SimFile {
            disk: Rc::clone(&self.0),
            node,
            name: name.to_owned(),
            writes: false,
        }))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let disk = &self.0;
        let node = disk.node(from)?;
        if disk.has(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        disk.moment();
        let record =
            disk.record(to).unwrap_or_else(|| panic!("{to} gets its name without a record"));
        assert!(node.is_synced(), "{to} gets its name before its bytes are lasting");
        assert_eq!(node.size(), record.size, "{to} gets its name with another size");
        let known = disk.oracle.content_of(&record);
        assert!(
            known.is_some() || matches!(record.meant, Meant::Version(..)),
            "{to} gets its name with a lie for its size"
        );
        // Without verification a download may contain invented bytes, and then the file has them.
        let content = known.unwrap_or_else(|| Content::odd(node.data.borrow().bytes()));
        assert!(
            node.data.borrow().bytes() == content.bytes(),
            "{to} is not the file that it is said to be: {record:?}"
        );
        node.changed.set(node.changed.get().max(disk.clock.now()) + 1);
        disk.oracle.add_version(disk.at, to, &node.tag().to_string(), content);
        // Until the folder is synced the file may have either name.
        disk.finished.borrow_mut().insert(to.to_owned(), (content, false));
        if let Meant::Version(..) = record.meant {
            disk.unverified.borrow_mut().insert(to.to_owned());
        } else {
            disk.unverified.borrow_mut().remove(to);
        }
        disk.oracle.count(|c| c.finished += 1);
        disk.erase(from);
        disk.put(to, node);
        disk.moment();
        disk.sync_folder();
        if let Some((_, certain)) = disk.finished.borrow_mut().get_mut(to) {
            *certain = true;
        }
        disk.moment();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        assert!(
            name.ends_with(".part") || ResumeFile::stem(name).is_some(),
            "{name} is not ours to remove"
        );
        self.0.moment();
        self.0.erase(name);
        self.0.moment();
        Ok(())
    }

    fn durable_every(&self) -> u64 {
        self.0.durable_every.get()
    }

    fn boot(&self) -> String {
        self.0.boot_id()
    }
}

/// A file open for writing; drop releases the lock.
struct SimFile {
    disk: Rc<Disk>,
    node: Node,
    name: String,
    writes: bool,
}

impl Drop for SimFile {
    fn drop(&mut self) {
        if self.writes {
            self.node.locked.set(false);
        }
    }
}

impl SimFile {
    fn put(&self, at: usize, bytes: &[u8]) {
        self.node.writes.borrow_mut().push((at, bytes.to_vec()));
        self.node.data.borrow_mut().write(at, bytes);
        self.node.modified.set(self.node.modified.get().max(self.disk.clock.now()) + 1);
        self.node.changed.set(self.node.changed.get().max(self.disk.clock.now()) + 1);
    }
}

impl FsFile for SimFile {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(self.writes, "{} is only read", self.name);
        let disk = &self.disk;
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start + bytes.len();
        let had = self.node.data.borrow().bytes().len();
        disk.check_room(end.saturating_sub(had) as u64)?;
        let stem = ResumeFile::stem(&self.name).map(str::to_owned);
        let before = stem.as_ref().and_then(|stem| disk.record(stem));
        if let Some(record) = self.name.strip_suffix(".part").and_then(|stem| disk.record(stem))
            && let Some(content) = disk.oracle.content_of(&record)
        {
            assert!(end <= content.size, "{}: bytes beyond the end of its version", self.name);
            assert!(
                content.bytes()[start..end] == *bytes,
                "{}: {start}..{end} are not bytes of the version of its record",
                self.name
            );
        }
        disk.moment();
        // The process may be killed with only some pages written.
        let part = (start + disk.rng.place(bytes.len() + 1)) / PAGE * PAGE;
        if part > start {
            self.put(start, &bytes[..part - start]);
            disk.moment();
            self.node.writes.borrow_mut().pop();
        }
        self.put(start, bytes);
        if let Some(stem) = stem {
            disk.check_record(&stem, before.as_ref(), "written in place");
        }
        disk.moment();
        Ok(())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let data = self.node.data.borrow();
        let rest =
            data.bytes().get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn stamp(&self) -> io::Result<FileStat> {
        Ok(self.node.stamp())
    }

    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        if self.disk.cold.get() && self.disk.rng.once_in(3) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.read_at(at, bytes)
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let had = self.node.size();
        self.disk.check_room(size.saturating_sub(had))?;
        self.disk.moment();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        self.node.data.borrow_mut().own().resize(size, 0);
        self.node.changed.set(self.node.changed.get().max(self.disk.clock.now()) + 1);
        self.disk.log.borrow_mut().push(Step::Grow(Rc::clone(&self.node), size));
        self.disk.moment();
        Ok(())
    }

    fn start_writeback(&self, _: ByteRange) {}

    fn dirty(&self, range: ByteRange) -> u64 {
        if range.is_empty() || self.disk.rng.once_in(2) {
            0
        } else {
            range.length().min(PAGE as u64)
        }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check_room(0)?;
        self.disk.moment();
        self.node.sync();
        self.disk
            .log
            .borrow_mut()
            .retain(|step| !matches!(step, Step::Grow(node, _) if Rc::ptr_eq(node, &self.node)));
        if self.disk.syncs_all.get() {
            self.disk.sync_folder();
        }
        self.disk.moment();
        Ok(())
    }
}

/// A shared file open for reading.
struct SimSource {
    disk: Rc<Disk>,
    node: Node,
    /// The version; `None` for a running download, which changes while it is read.
    tag: Option<FileVersion>,
    /// Consecutive reads that blocked.
    cold_for: Cell<u32>,
}

impl ByteSource for SimSource {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        if !self.is_same() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has changed"));
        }
        let (start, end) = (
            usize::try_from(range.start()).unwrap_or(0),
            usize::try_from(range.end()).unwrap_or(0),
        );
        to.write_bytes(&self.node.data.borrow().bytes()[start..end])
    }

    fn is_warm(&self, _: ByteRange) -> bool {
        if !self.disk.cold.get() {
            return true;
        }
        // Not resident for a while now and then; seldom so long that the file is read all the same.
        if self.cold_for.get() == 0 && self.disk.rng.once_in(20) {
            self.cold_for.set(if self.disk.rng.once_in(20) { 5_000 } else { 20 });
        }
        self.cold_for.set(self.cold_for.get().saturating_sub(1));
        self.cold_for.get() == 0
    }

    fn is_same(&self) -> bool {
        self.tag.is_none_or(|tag| tag == self.node.tag())
    }
}
