//! The invariants of a world, and counters of its events.
//!
//! The oracle has every version of every file that ever existed. Each byte written to a `.part` is
//! compared with the version named by its record, and each finalized file is compared as a whole.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::rc::{Rc, Weak};
use std::sync::{Mutex, OnceLock, PoisonError};

use cardume::storage::piece_tree::{self, HashList};
use serde_json::Value;

use crate::disk::Disk;
use crate::resume_file::{Meant, ResumeFile};
use crate::rng::Rng;

/// The largest file of any world.
pub const LARGEST: usize = 18 << 20;
/// Room for offsets, so that no two versions share bytes.
const OFFSETS: usize = 1 << 20;

/// Invented contents.
static ODD: Mutex<Vec<&'static [u8]>> = Mutex::new(Vec::new());

/// A version of a file: a range of one table of random bytes, at a different offset for each
/// version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Content {
    pub start: usize,
    pub size: usize,
}

impl Content {
    pub fn new(rng: &Rng, size: usize) -> Content {
        Content { start: rng.place(OFFSETS), size }
    }

    /// Invented bytes, leaked on purpose: there are few.
    pub fn odd(bytes: &[u8]) -> Content {
        let mut odd = ODD.lock().unwrap_or_else(PoisonError::into_inner);
        odd.push(Box::leak(bytes.into()));
        Content { start: OFFSETS + odd.len() - 1, size: bytes.len() }
    }

    pub fn bytes(self) -> &'static [u8] {
        if self.start >= OFFSETS {
            return &ODD.lock().unwrap_or_else(PoisonError::into_inner)[self.start - OFFSETS]
                [..self.size];
        }
        static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
        let table = TABLE.get_or_init(|| {
            let rng = Rng::new(1);
            let mut table = Vec::with_capacity(LARGEST + OFFSETS + 8);
            while table.len() < LARGEST + OFFSETS {
                table.extend_from_slice(&rng.next().to_le_bytes()[..4]);
            }
            table
        });
        &table[self.start..self.start + self.size]
    }

    /// The hash list; computed once for each content.
    pub fn list(self) -> Rc<HashList> {
        thread_local! {
            static LISTS: RefCell<BTreeMap<Content, Rc<HashList>>> = const { RefCell::new(BTreeMap::new()) };
        }
        LISTS.with_borrow_mut(|lists| {
            if lists.len() > 1_000 {
                lists.clear();
            }
            let list = lists.entry(self).or_insert_with(|| {
                let size = self.size as u64;
                let value = |piece: u64| piece_tree::piece_hash(size, piece, self.piece(piece));
                Rc::new(
                    HashList::new(size, (0..piece_tree::pieces(size)).map(value).collect())
                        .expect("one value a piece"),
                )
            });
            Rc::clone(list)
        })
    }

    /// True when both have the same bytes, as small contents may by chance.
    pub fn is(self, other: Content) -> bool {
        self == other || (self.size == other.size && self.bytes() == other.bytes())
    }

    pub fn piece(self, piece: u64) -> &'static [u8] {
        let (start, length) = piece_tree::bounds(self.size as u64, piece);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        &self.bytes()[start..start + usize::try_from(length).unwrap_or(0)]
    }
}

/// Counters of events and faults.
#[derive(Clone, Copy, Default, Debug)]
pub struct Counts {
    pub steps: u64,
    pub turns: u64,
    pub conns: u64,
    pub finished: u64,
    pub resumed: u64,
    pub resumed_from_disk: u64,
    pub restarted: u64,
    pub same: u64,
    pub resets: u64,
    pub cuts: u64,
    pub kills: u64,
    pub crashes: u64,
    pub changes: u64,
    pub disk_faults: u64,
    pub lies: u64,
    pub raw_checked: u64,
    pub audits: u64,
    pub wanted: u64,
    pub bodies: u64,
    pub lists: u64,
    pub claims: u64,
    pub blocked: u64,
    pub tampered: u64,
    pub unverified: u64,
    pub blamed: u64,
    pub choices: u64,
    pub rooted: u64,
}

impl Counts {
    pub fn faults(&self) -> u64 {
        self.resets
            + self.cuts
            + self.kills
            + self.crashes
            + self.changes
            + self.disk_faults
            + self.lies
    }

    pub fn add(&mut self, other: &Counts) {
        self.steps += other.steps;
        self.turns += other.turns;
        self.conns += other.conns;
        self.finished += other.finished;
        self.resumed += other.resumed;
        self.resumed_from_disk += other.resumed_from_disk;
        self.restarted += other.restarted;
        self.same += other.same;
        self.resets += other.resets;
        self.cuts += other.cuts;
        self.kills += other.kills;
        self.crashes += other.crashes;
        self.changes += other.changes;
        self.disk_faults += other.disk_faults;
        self.lies += other.lies;
        self.raw_checked += other.raw_checked;
        self.audits += other.audits;
        self.wanted += other.wanted;
        self.bodies += other.bodies;
        self.lists += other.lists;
        self.claims += other.claims;
        self.blocked += other.blocked;
        self.tampered += other.tampered;
        self.unverified += other.unverified;
        self.blamed += other.blamed;
        self.choices += other.choices;
        self.rooted += other.rooted;
    }
}

/// The oracle of one world.
#[derive(Default)]
pub struct Oracle {
    versions: RefCell<BTreeMap<(SocketAddr, String, String), Content>>,
    adversaries: RefCell<BTreeSet<SocketAddr>>,
    honest: RefCell<BTreeSet<SocketAddr>>,
    disks: RefCell<BTreeMap<IpAddr, Weak<Disk>>>,
    /// Every announced content, by root.
    roots: RefCell<BTreeMap<String, Content>>,
    /// Addresses with files or disks touched by a fault, and the last time.
    touched: RefCell<BTreeMap<SocketAddr, u64>>,
    pub counts: Cell<Counts>,
    pub trace: Cell<bool>,
}

impl Oracle {
    pub fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// Prints a line of the wire with `SIM_TALK`.
    pub fn log_wire(&self, what: impl FnOnce() -> String) {
        if self.trace.get() && std::env::var_os("SIM_TALK").is_some() {
            eprintln!("    {}", what());
        }
    }

    pub fn add_disk(&self, ip: IpAddr, disk: Weak<Disk>) {
        self.disks.borrow_mut().insert(ip, disk);
    }

    /// The disk of a real machine.
    pub fn disk(&self, ip: IpAddr) -> Option<Rc<Disk>> {
        self.disks.borrow().get(&ip)?.upgrade()
    }

    pub fn add_adversary(&self, at: SocketAddr) {
        self.adversaries.borrow_mut().insert(at);
    }

    /// A source that never sends wrong bytes.
    pub fn add_honest(&self, at: SocketAddr) {
        self.honest.borrow_mut().insert(at);
    }

    /// True for an address that must not be banned.
    pub fn is_honest(&self, at: SocketAddr) -> bool {
        self.honest.borrow().contains(&at)
            || (self.disk(at.ip()).is_some() && !self.adversaries.borrow().contains(&at))
    }

    /// True when the content existed on that machine, under this name or any.
    pub fn has_been(&self, ip: IpAddr, name: Option<&str>, content: Content) -> bool {
        let versions = self.versions.borrow();
        versions.iter().any(|((at, other, _), version)| {
            at.ip() == ip && name.is_none_or(|name| name == other) && version.is(content)
        })
    }

    /// Registers a version of a file.
    pub fn add_version(&self, at: SocketAddr, name: &str, tag: &str, content: Content) {
        self.versions.borrow_mut().insert((at, name.to_owned(), tag.to_owned()), content);
    }

    /// Registers the root of a content as announced, and returns the root.
    pub fn describe(&self, content: Content) -> String {
        let root = content.list().root().to_string();
        self.roots.borrow_mut().insert(root.clone(), content);
        root
    }

    /// The content of a root.
    pub fn content(&self, root: &str) -> Option<Content> {
        if let Some(content) = self.roots.borrow().get(root) {
            return Some(*content);
        }
        // A real host computed the root, so the root must belong to a known version.
        let versions: BTreeSet<Content> = self.versions.borrow().values().copied().collect();
        versions.into_iter().for_each(|content| drop(self.describe(content)));
        self.roots.borrow().get(root).copied()
    }

    pub fn version(&self, at: SocketAddr, name: &str, tag: &str) -> Option<Content> {
        self.versions.borrow().get(&(at, name.to_owned(), tag.to_owned())).copied()
    }

    pub fn touch(&self, at: SocketAddr, now: u64) {
        self.touched.borrow_mut().insert(at, now);
    }

    pub fn was_touched_since(&self, at: SocketAddr, since: u64) -> bool {
        self.touched.borrow().get(&at).is_some_and(|when| *when >= since)
    }

    /// The content named by a record; `None` for a content of an adversary, about which nothing is
    /// required.
    pub fn content_of(&self, record: &ResumeFile) -> Option<Content> {
        let found = match &record.meant {
            Meant::Root(root) => {
                let found = self.content(root);
                assert!(found.is_some(), "a record names a root that nobody ever told: {record:?}");
                found
            }
            Meant::Version(from, tag) => {
                // Its owner may use another name.
                let versions = self.versions.borrow();
                let found = versions
                    .iter()
                    .find(|((at, _, other), _)| at == from && other == tag)
                    .map(|(_, content)| *content);
                // A machine that is downloading the file has no version of its own.
                let found = found.or_else(|| {
                    self.roots
                        .borrow()
                        .iter()
                        .find(|(root, _)| root.starts_with(tag.as_str()))
                        .map(|(_, content)| *content)
                });
                assert!(
                    found.is_some() || self.adversaries.borrow().contains(from),
                    "a record names a version that never was: {record:?}"
                );
                found
            }
        };
        if let (Some(content), Meant::Root(_)) = (found, &record.meant)
            && content.size as u64 != record.size
        {
            // An adversary lied about the size, so nothing can be completed.
            assert!(
                record.held.is_empty() && record.synced.is_empty(),
                "a record that claims bytes of another size: {record:?}"
            );
            return None;
        }
        found.inspect(|content| {
            assert_eq!(content.size as u64, record.size, "a record with another size: {record:?}")
        })
    }

    /// Checks a line that a real host sent on an outbound connection.
    pub fn check_request(&self, ip: IpAddr, line: &[u8]) {
        let header: Value = serde_json::from_slice(line).unwrap_or_else(|error| {
            panic!("a host sent a line that is no JSON ({error}): {line:?}")
        });
        match header["method"].as_str() {
            Some("FETCH") if header["from"].as_u64().is_some_and(|from| from > 0) => {
                self.count(|c| c.resumed += 1)
            }
            Some("UPDATE" | "JOIN") => {
                let Some(disk) = self.disk(ip) else { return };
                for file in header["files"].as_array().into_iter().flatten() {
                    let name = file["name"].as_str().unwrap_or_default();
                    let partial = file["partial"] == true;
                    let there = disk.has(name) || (partial && disk.has(&format!("{name}.part")));
                    assert!(
                        there || header["method"] == "JOIN",
                        "{ip} tells the index of {name}, which it does not have"
                    );
                    let Some(root) = file["root"].as_str() else { continue };
                    let content = self.content(root).unwrap_or_else(|| {
                        panic!("{ip} tells the index a root that nobody has: {file}")
                    });
                    assert_eq!(
                        file["size"], content.size,
                        "{ip} tells the index another size: {file}"
                    );
                    assert!(
                        partial || self.has_been(ip, Some(name), content),
                        "{ip} tells the index a root of another file: {file}"
                    );
                    self.count(|c| c.rooted += 1);
                }
            }
            _ => {}
        }
    }
}

/// An oracle shared by the parts of a world.
pub fn judge() -> Rc<Oracle> {
    Rc::new(Oracle::default())
}
