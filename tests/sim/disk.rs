//! The virtual disk: one folder a machine, with a page cache that a machine crash loses and a process kill does not.
//!
//! A crash keeps a random front part of what was done to the folder since it was last synced, and of each file any of the blocks that were
//! written since. The oracle looks at every write.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use cardume::flow::ends::{RawWrite, Source, SourceRef};
use cardume::library::Opened;
use cardume::library::drive::{Drive, DriveError, DriveFile, Found, Stamp, Stands};
use cardume::library::record::Record;
use cardume::message::range::ByteRange;
use cardume::message::version::Tag;

use crate::clock::Clock;
use crate::dice::Dice;
use crate::oracle::{Content, Oracle};

const BLOCK: usize = 4_096;

/// A machine's disk.
pub struct Disk {
    at: SocketAddr,
    clock: Clock,
    dice: Dice,
    oracle: Rc<Oracle>,
    files: RefCell<BTreeMap<String, Node>>,
    lasting: RefCell<BTreeMap<String, Node>>,
    log: RefCell<Vec<Step>>,
    next_inode: Cell<u64>,
    boots: Cell<u64>,
    pub capacity: Cell<u64>,
    /// Writes fail while this is set.
    pub failing: Cell<bool>,
    /// It has refused a write since it was made, so a record may be behind.
    refused: Cell<bool>,
    /// Reads of shared files are cold now and then.
    pub cold: Cell<bool>,
    /// Files that downloads brought, with what they must hold for ever.
    finished: RefCell<BTreeMap<String, Content>>,
}

type Node = Rc<Inode>;

struct Inode {
    number: u64,
    modified: Cell<u64>,
    data: RefCell<Data>,
    /// What the disk itself has.
    lasting: RefCell<Data>,
    dirty: RefCell<BTreeSet<usize>>,
    /// Where the last write of this process ended.
    written: Cell<u64>,
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
}

impl Inode {
    fn size(&self) -> u64 {
        self.data.borrow().bytes().len() as u64
    }

    fn stamp(&self) -> Stamp {
        Stamp { device: 1, inode: self.number, size: self.size(), modified_ns: i128::from(self.modified.get()) }
    }

    fn tag(&self) -> Tag {
        self.stamp().tag()
    }

    fn sync(&self) {
        if !self.dirty.borrow().is_empty() || self.lasting.borrow().bytes().len() != self.data.borrow().bytes().len() {
            self.lasting.replace(self.data.borrow().clone());
            self.dirty.borrow_mut().clear();
        }
    }
}

impl Disk {
    pub fn new(at: SocketAddr, clock: Clock, dice: Dice, oracle: Rc<Oracle>) -> Rc<Disk> {
        let disk = Rc::new(Disk {
            at,
            clock,
            dice,
            oracle: Rc::clone(&oracle),
            files: RefCell::default(),
            lasting: RefCell::default(),
            log: RefCell::default(),
            next_inode: Cell::new(1),
            boots: Cell::new(1),
            capacity: Cell::new(1 << 40),
            failing: Cell::new(false),
            refused: Cell::new(false),
            cold: Cell::new(false),
            finished: RefCell::default(),
        });
        let weak = Rc::downgrade(&disk);
        oracle.knows_disk(at.ip(), Box::new(move |name| weak.upgrade().is_some_and(|disk| disk.files.borrow().contains_key(name))));
        disk
    }

    fn inode(&self, data: Data) -> Node {
        let number = self.next_inode.replace(self.next_inode.get() + 1);
        let lasting = RefCell::new(Data::Own(Vec::new()));
        Rc::new(Inode {
            number,
            modified: Cell::new(self.clock.now() + number),
            data: RefCell::new(data),
            lasting,
            dirty: RefCell::default(),
            written: Cell::new(0),
            locked: Cell::new(false),
        })
    }

    fn put(&self, name: &str, node: Node) {
        self.log.borrow_mut().push(Step::Put(name.to_owned(), Rc::clone(&node)));
        self.files.borrow_mut().insert(name.to_owned(), node);
    }

    fn erase(&self, name: &str) {
        if self.files.borrow_mut().remove(name).is_none() {
            return;
        }
        self.log.borrow_mut().push(Step::Drop(name.to_owned()));
    }

    fn sync_folder(&self) {
        self.lasting.replace(self.files.borrow().clone());
        self.log.borrow_mut().clear();
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

    /// Puts a complete file there, in the place of the one before, and lasting: what an owner does with a file that he shares.
    pub fn place(&self, name: &str, content: Content) {
        let node = self.inode(Data::Version(content));
        *node.lasting.borrow_mut() = Data::Version(content);
        self.oracle.knows(self.at, name, &node.tag().to_string(), content);
        self.put(name, node);
        self.sync_folder();
        self.finished.borrow_mut().remove(name);
    }

    /// Changes a file in its place, as an editor that does not rename: the same inode under those who read it.
    pub fn rewrite(&self, name: &str, content: Content) {
        let Ok(node) = self.node(name) else { return };
        node.modified.set(node.modified.get().max(self.clock.now()) + 1);
        node.data.replace(Data::Version(content));
        node.lasting.replace(Data::Version(content));
        node.dirty.borrow_mut().clear();
        self.oracle.knows(self.at, name, &node.tag().to_string(), content);
        self.finished.borrow_mut().remove(name);
    }

    /// The version of a file that stands there now, if it is one that the oracle knows.
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

    /// The machine loses its power: what was not synced is kept or lost by chance.
    pub fn crash(&self) {
        self.boots.set(self.boots.get() + 1);
        let log = self.log.take();
        let kept = self.dice.place(log.len() + 1);
        let mut files = self.lasting.take();
        for step in log.into_iter().take(kept) {
            match step {
                Step::Put(name, node) => files.insert(name, node),
                Step::Drop(name) => files.remove(&name),
            };
        }
        for node in files.values() {
            let dirty = node.dirty.take();
            if !dirty.is_empty() {
                let lasting = node.lasting.borrow().bytes().to_vec();
                let mut data = node.data.borrow_mut();
                let bytes = data.own();
                for block in dirty {
                    // A block may have been cut off since it was written.
                    if block * BLOCK < bytes.len() && self.dice.once_in(2) {
                        let (start, end) = (block * BLOCK, (block * BLOCK + BLOCK).min(bytes.len()));
                        for (byte, at) in bytes[start..end].iter_mut().zip(start..) {
                            *byte = lasting.get(at).copied().unwrap_or(0);
                        }
                    }
                }
            }
            node.lasting.replace(node.data.borrow().clone());
            node.locked.set(false);
        }
        self.lasting.replace(files.clone());
        self.files.replace(files);
        self.check();
    }

    fn record(&self, name: &str) -> Option<Record> {
        let node = self.node(&format!("{name}.part.json")).ok()?;
        let data = node.data.borrow();
        Record::read(data.bytes(), &self.boot_id())
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots.get())
    }

    /// All that was promised of what is on the disk.
    pub fn check(&self) {
        for (name, content) in self.finished.borrow().iter() {
            let node = self.node(name).unwrap_or_else(|_| panic!("{}: {name} was downloaded and is gone", self.at));
            assert!(node.data.borrow().bytes() == content.bytes(), "{}: {name} was downloaded and is another now", self.at);
        }
        for name in self.names() {
            if let Some(stem) = name.strip_suffix(".part.json")
                && let Some(record) = self.record(stem)
                && let Ok(part) = self.node(&format!("{stem}.part"))
            {
                self.oracle.check_record(&record, part.data.borrow().bytes(), "on disk");
            }
        }
    }

    /// A download has lost its source: from now on even a killed process loses nothing of what came.
    pub fn check_rest(&self, name: &str) {
        if let (false, Some(record), Ok(part)) = (self.refused.get(), self.record(name), self.node(&format!("{name}.part"))) {
            let written = part.written.get();
            assert!(written <= record.held, "{}: {name} rests with {written} bytes, and its record claims {}", self.at, record.held);
        }
    }

    /// A `.part` that nobody knows any more, or one of another's making, is in the way of this name.
    pub fn is_blocked(&self, name: &str) -> bool {
        self.has(&format!("{name}.part")) && self.record(name).is_none()
    }
}

/// A process's hands on a disk.
pub struct SimDrive(pub Rc<Disk>);

impl Drive for SimDrive {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, DriveError> {
        let found: Vec<_> = self.0.names().iter().filter_map(|name| self.find(name).map(Ok)).collect();
        Ok(Box::new(found.into_iter()))
    }

    fn find(&self, name: &str) -> Option<Found> {
        let node = self.0.node(name).ok()?;
        Some(Found { name: name.to_owned(), stamp: node.stamp(), settled: true })
    }

    fn open(&self, name: &str) -> io::Result<Opened> {
        let node = self.0.node(name)?;
        let (size, tag) = (node.size(), node.tag());
        Ok(Opened { source: Rc::new(SimSource { disk: Rc::clone(&self.0), node, tag: Some(tag), cold_for: Cell::new(0) }) as SourceRef, size, tag })
    }

    fn open_part(&self, name: &str) -> io::Result<SourceRef> {
        let node = self.0.node(name)?;
        Ok(Rc::new(SimSource { disk: Rc::clone(&self.0), node, tag: None, cold_for: Cell::new(0) }))
    }

    fn look(&self, name: &str) -> io::Result<Stands> {
        Ok(self.0.node(name).map_or(Stands::Nothing, |node| Stands::File(node.size())))
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
        if let Some(stem) = name.strip_suffix(".part.json")
            && let Some(record) = Record::read(content, &disk.boot_id())
        {
            let part = disk.node(&format!("{stem}.part"));
            let empty = RefCell::new(Data::Own(Vec::new()));
            let data = part.as_ref().map_or(empty.borrow(), |node| node.data.borrow());
            disk.oracle.check_record(&record, data.bytes(), "written");
        }
        let node = disk.inode(Data::Own(content.to_vec()));
        // A journal writes the content of a small file out before the name that replaces another.
        node.lasting.replace(Data::Own(content.to_vec()));
        disk.put(name, node);
        Ok(())
    }

    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn DriveFile>> {
        let disk = &self.0;
        let node = match (disk.node(name), create) {
            (Ok(_), true) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Ok(node), false) => node,
            (Err(error), false) => return Err(error),
            (Err(_), true) => {
                disk.check_room(0)?;
                let node = disk.inode(Data::Own(Vec::new()));
                disk.put(name, Rc::clone(&node));
                node
            }
        };
        if node.locked.replace(true) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        node.written.set(0);
        Ok(Rc::new(SimFile { disk: Rc::clone(disk), node, name: name.to_owned(), writes: true }))
    }

    fn read(&self, name: &str) -> io::Result<Rc<dyn DriveFile>> {
        let node = self.0.node(name)?;
        Ok(Rc::new(SimFile { disk: Rc::clone(&self.0), node, name: name.to_owned(), writes: false }))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        let disk = &self.0;
        let node = disk.node(from)?;
        if disk.has(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let record = disk.record(to).unwrap_or_else(|| panic!("{to} gets its name without a record"));
        assert!(node.dirty.borrow().is_empty(), "{to} gets its name before its bytes are lasting");
        assert_eq!(node.size(), record.size, "{to} gets its name with another size");
        if let Some(content) = disk.oracle.meant_by(&record) {
            assert!(node.data.borrow().bytes() == content.bytes(), "{to} is not the file that {} has", record.from);
            disk.oracle.knows(disk.at, to, &node.tag().to_string(), content);
            disk.finished.borrow_mut().insert(to.to_owned(), content);
        } else {
            panic!("{to} was taken whole from {}, which never gives a whole file", record.from);
        }
        disk.oracle.count(|c| c.finished += 1);
        disk.erase(from);
        disk.put(to, node);
        disk.sync_folder();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        assert!(name.ends_with(".part") || name.ends_with(".part.json"), "{name} is not ours to remove");
        self.0.erase(name);
        Ok(())
    }

    fn boot(&self) -> String {
        self.0.boot_id()
    }
}

/// A file that is written; its lock goes with it, as the system's goes with the process.
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

impl DriveFile for SimFile {
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let start = usize::try_from(at).unwrap_or(usize::MAX);
        let end = start + bytes.len();
        let had = self.node.data.borrow().bytes().len();
        self.disk.check_room(end.saturating_sub(had) as u64)?;
        let record = self.name.strip_suffix(".part").and_then(|stem| self.disk.record(stem));
        if let (false, Some(record)) = (self.disk.refused.get(), &record) {
            let held = if self.node.written.get() == 0 { record.held } else { self.node.written.get() };
            assert_eq!(at, held, "{}: bytes are written at another place than where the last ones ended", self.name);
        }
        if let Some(record) = record
            && let Some(content) = self.disk.oracle.meant_by(&record)
        {
            assert!(end <= content.size, "{}: bytes beyond the end of its version", self.name);
            assert!(content.bytes()[start..end] == *bytes, "{}: {start}..{end} are not bytes of the version of its record", self.name);
        }
        let mut data = self.node.data.borrow_mut();
        let own = data.own();
        if own.len() < end {
            own.resize(end, 0);
        }
        own[start..end].copy_from_slice(bytes);
        drop(data);
        self.node.modified.set(self.node.modified.get().max(self.disk.clock.now()) + 1);
        self.node.written.set(end as u64);
        self.node.dirty.borrow_mut().extend(start / BLOCK..end.div_ceil(BLOCK));
        Ok(())
    }

    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        let data = self.node.data.borrow();
        let rest = data.bytes().get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        let count = rest.len().min(bytes.len());
        bytes[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn stamp(&self) -> io::Result<Stamp> {
        Ok(self.node.stamp())
    }

    fn allocate(&self, size: u64) -> io::Result<()> {
        let had = self.node.size();
        self.disk.check_room(size.saturating_sub(had))?;
        self.node.data.borrow_mut().own().resize(usize::try_from(size).unwrap_or(usize::MAX), 0);
        Ok(())
    }

    fn nudge(&self, _: ByteRange) {}

    fn dirty(&self, range: ByteRange) -> u64 {
        if range.is_empty() || self.disk.dice.once_in(2) { 0 } else { range.length().min(BLOCK as u64) }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.check_room(0)?;
        self.node.sync();
        Ok(())
    }
}

/// An opened file that is shared.
struct SimSource {
    disk: Rc<Disk>,
    node: Node,
    /// Its version; `None` for a download under way, which changes as it is read.
    tag: Option<Tag>,
    /// It was cold so often in a row.
    cold_for: Cell<u32>,
}

impl Source for SimSource {
    fn send(&self, range: ByteRange, to: &mut dyn RawWrite) -> io::Result<usize> {
        if !self.is_same() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file has changed"));
        }
        let (start, end) = (usize::try_from(range.start()).unwrap_or(0), usize::try_from(range.end()).unwrap_or(0));
        to.write_bytes(&self.node.data.borrow().bytes()[start..end])
    }

    fn is_warm(&self, _: ByteRange) -> bool {
        if !self.disk.cold.get() {
            return true;
        }
        // Cold for a while now and then; seldom for so long that it is read all the same.
        if self.cold_for.get() == 0 && self.disk.dice.once_in(20) {
            self.cold_for.set(if self.disk.dice.once_in(20) { 5_000 } else { 20 });
        }
        self.cold_for.set(self.cold_for.get().saturating_sub(1));
        self.cold_for.get() == 0
    }

    fn is_same(&self) -> bool {
        self.tag.is_none_or(|tag| tag == self.node.tag())
    }
}
