//! A download's file, from its first piece to its name.
//!
//! ```text
//!                 record, then .part          all pieces held     disk has them
//!   nothing  ----------------------> Writing ---------------> Settling --------> named, record gone
//!      |     same size stands there
//!      '----------------------------> compared ---------------------------------> it was there already
//! ```
//!
//! The order of writes keeps its promises. The record is written, and on the disk, before there is a `.part`: one without a record is never ours, so nothing of
//! somebody else's is overwritten. A piece is checked, then written, then its bit is set: a killed process finds what it may trust. The `.part` is synced, then
//! the bits that say so are set: so does one that lost its power. The final name is given only after every byte is on the disk.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::flow::ends::{SinkRef, SourceRef};
use crate::library::arrival::Arrival;
use crate::library::bits::Bits;
use crate::library::drive::{Drive, DriveError, DriveFile, Stands};
use crate::library::plan::{GiverId, Plan};
use crate::library::record::{About, Content, Recalled, Record};
use crate::library::tree::{self, PieceList, Value};
use crate::message::limits;
use crate::message::range::ByteRange;
use crate::message::version::Root;

/// Bytes between two moments at which a download is made to survive a power cut.
const SYNC_BYTES: u64 = 256 << 20;
/// What the disk may still have to write when that is done: more would hold up the loop.
const SYNC_REST: u64 = 16 << 20;
/// Pieces that go into a pipe and have come before those in front of them.
const PIPE_WINDOW: u64 = 16;
/// What a file system takes as one name.
const NAME_MAX: usize = 255;

/// A download on its disk.
#[derive(Clone)]
pub struct Part(Rc<Inner>);

struct Inner {
    size: u64,
    plan: RefCell<Plan>,
    place: Place,
    trust: RefCell<Trust>,
}

/// By what an arriving piece is judged.
enum Trust {
    /// By the list of pieces that leads to this root.
    List(Root, Rc<PieceList>),
    /// By a root whose list is not here: what is held was judged in an earlier run.
    Again,
    /// By nothing yet: what each piece is is remembered, to be judged later.
    Later(Vec<Value>),
}

enum Place {
    /// Into a `.part`, then to its name.
    Disk(OnDisk),
    /// A file of that name and size is there: are they the same?
    Compare { file: Rc<dyn DriveFile>, differs: Cell<bool> },
    /// Into a pipe, in order.
    Pipe { sink: SinkRef, next: Cell<u64>, waiting: RefCell<BTreeMap<u64, Vec<u8>>> },
}

struct OnDisk {
    drive: Rc<dyn Drive>,
    file: Rc<dyn DriveFile>,
    name: String,
    record: RefCell<Record>,
    /// Pieces that the disk was not asked to write yet.
    fresh: RefCell<Vec<u64>>,
    /// What it was asked to write and may still be writing, oldest first.
    writing: RefCell<VecDeque<ByteRange>>,
    /// Bytes in the two above.
    dirty: Cell<u64>,
    /// Bytes since the last sync.
    unsynced: Cell<u64>,
    synced: RefCell<Bits>,
    /// The disk has failed to make bytes lasting, and says so only once: none but those that are lasting count from then on.
    broken: Cell<bool>,
}

/// What became of the wish to begin.
pub enum Begun {
    /// It can.
    Part(Part),
    /// A file of that name and size is there.
    Stands(Rc<dyn DriveFile>),
}

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is held. These were asked for it as well.
    Held(Vec<GiverId>),
    /// It was held already.
    Late,
    /// Its bytes are not the ones that the list promises.
    Wrong,
}

/// How far the end of a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The disk still writes; ask again.
    NotYet,
    /// The file has its name.
    Named,
    /// It was there already, byte for byte.
    Same,
}

/// What an earlier download into `name` was a download of.
#[must_use]
pub fn recall(drive: &dyn Drive, name: &str) -> Option<About> {
    let (part, note) = names(name);
    let about = Record::peek(drive, &note)?;
    matches!(drive.look(&part), Ok(Stands::File(_))).then_some(about)
}

impl Part {
    /// Begins a download into `name`, or goes on with the one that is there where its bytes fit. `list`: what the pieces must be, where that is known.
    /// What is missing is looked for from piece `cursor` on.
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn begin(drive: &Rc<dyn Drive>, name: &str, about: &About, list: Option<Rc<PieceList>>, cursor: u64) -> Result<Begun, DriveError> {
        match drive.look(name)? {
            Stands::File(size) if size == about.size => return Ok(Begun::Stands(drive.read(name)?)),
            Stands::Nothing => {}
            Stands::File(_) | Stands::Other => return Err(DriveError::Taken),
        }
        let (disk, held, values, kept) = OnDisk::begin(drive, name, about, list)?;
        let trust = match (&about.content, kept) {
            (Content::Root(root), Some(list)) => Trust::List(*root, list),
            (Content::Root(_), None) => Trust::Again,
            (Content::Version { .. }, _) => Trust::Later(values),
        };
        Ok(Begun::Part(Part::new(Plan::new(about.size, held, cursor), Place::Disk(disk), trust)))
    }

    /// Compares what comes with a file that is there.
    #[must_use]
    pub fn compare(file: Rc<dyn DriveFile>, size: u64) -> Part {
        Part::new(fresh_plan(size), Place::Compare { file, differs: Cell::new(false) }, Trust::Later(Vec::new()))
    }

    /// A download that goes into a pipe: it can't be taken up later.
    #[must_use]
    pub fn pipe(sink: SinkRef, size: u64, trusted: Option<(Root, Rc<PieceList>)>) -> Part {
        let mut plan = fresh_plan(size);
        plan.go_in_order(PIPE_WINDOW);
        let trust = trusted.map_or_else(|| Trust::Later(Vec::new()), |(root, list)| Trust::List(root, list));
        Part::new(plan, Place::Pipe { sink, next: Cell::new(0), waiting: RefCell::new(BTreeMap::new()) }, trust)
    }

    fn new(plan: Plan, place: Place, trust: Trust) -> Part {
        let size = plan.size();
        Part(Rc::new(Inner { size, plan: RefCell::new(plan), place, trust: RefCell::new(trust) }))
    }

    /// Which pieces are held, asked for and missing.
    #[must_use]
    pub fn plan(&self) -> RefMut<'_, Plan> {
        self.0.plan.borrow_mut()
    }

    /// The size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.plan.borrow().held_bytes()
    }

    /// True when all bytes are there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.plan.borrow().is_whole()
    }

    /// The root that its pieces are judged by, and the list that leads to it.
    #[must_use]
    pub fn trusted(&self) -> Option<(Root, Rc<PieceList>)> {
        match &*self.0.trust.borrow() {
            Trust::List(root, list) => Some((*root, Rc::clone(list))),
            Trust::Again | Trust::Later(_) => None,
        }
    }

    /// The root that all its pieces lead to, where each was hashed as it came.
    #[must_use]
    pub fn own_root(&self) -> Option<Root> {
        match &*self.0.trust.borrow() {
            Trust::List(root, _) => Some(*root),
            Trust::Again => None,
            Trust::Later(values) => {
                let all = values.iter().all(|value| *value != [0; 32]) && self.is_whole();
                PieceList::new(self.0.size, values.clone()).filter(|_| all).map(|list| list.root())
            }
        }
    }

    /// What a piece that is held is, where nobody has judged it yet.
    #[must_use]
    pub fn unjudged(&self, piece: u64) -> Option<Value> {
        match &*self.0.trust.borrow() {
            Trust::Later(values) if self.0.plan.borrow().held().has(piece) => values.get(usize::try_from(piece).ok()?).copied(),
            _ => None,
        }
    }

    /// From now on pieces are judged by this list; those that are held and wrong are missing again, and how many they were is returned.
    pub fn judge_by(&self, root: Root, list: Rc<PieceList>) -> usize {
        let values = match self.0.trust.replace(Trust::List(root, Rc::clone(&list))) {
            Trust::Later(values) => values,
            Trust::List(..) | Trust::Again => {
                if let Place::Disk(disk) = &self.0.place {
                    disk.noted(disk.record.borrow_mut().keep_list(root, &list));
                }
                return 0;
            }
        };
        let held: Vec<u64> = self.0.plan.borrow().held().iter().collect();
        let is_right = |piece: &u64| usize::try_from(*piece).ok().and_then(|at| values.get(at)) == list.value(*piece);
        let wrong: Vec<u64> = held.into_iter().filter(|piece| !is_right(piece)).collect();
        for piece in &wrong {
            self.0.plan.borrow_mut().lose(*piece);
        }
        if let Place::Disk(disk) = &self.0.place {
            if !wrong.is_empty() {
                disk.lose(self.0.plan.borrow().held());
            }
            disk.noted(disk.record.borrow_mut().keep_list(root, &list));
        }
        wrong.len()
    }

    /// How many bytes it takes now: none while the disk has to catch up.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.0.place {
            Place::Disk(disk) => disk.room(),
            Place::Compare { .. } => usize::MAX,
            // What comes too early is bounded by the plan's window.
            Place::Pipe { sink, .. } => {
                let _ = sink.room();
                usize::MAX
            }
        }
    }

    /// Judges a piece that is whole, and keeps it.
    ///
    /// # Errors
    /// When the disk fails, or another file turns out to have the name.
    pub fn store(&self, giver: GiverId, arrival: &Arrival, now: Instant) -> Result<Stored, DriveError> {
        let piece = arrival.piece();
        if self.0.plan.borrow().held().has(piece) {
            self.0.plan.borrow_mut().arrived(giver, piece, now);
            return Ok(Stored::Late);
        }
        let value = arrival.value();
        let good = match &*self.0.trust.borrow() {
            Trust::List(_, list) => value.as_ref() == list.value(piece),
            // Nobody asks for pieces of a root before its list is here.
            Trust::Again => false,
            Trust::Later(_) => true,
        };
        if !good {
            self.0.plan.borrow_mut().failed(giver, piece);
            return Ok(Stored::Wrong);
        }
        if let Err(error) = arrival.with(|bytes| self.keep(arrival, bytes)) {
            self.0.plan.borrow_mut().take_off(giver, piece);
            return Err(error);
        }
        let others = self.0.plan.borrow_mut().arrived(giver, piece, now).unwrap_or_default();
        let unjudged = self.remember(piece, value);
        if let Place::Disk(disk) = &self.0.place {
            disk.held(self.0.plan.borrow().held(), piece, unjudged.as_ref())?;
        }
        Ok(Stored::Held(others))
    }

    /// Remembers what a piece is that nobody can judge yet.
    fn remember(&self, piece: u64, value: Option<Value>) -> Option<Value> {
        let mut trust = self.0.trust.borrow_mut();
        let Trust::Later(values) = &mut *trust else { return None };
        let at = usize::try_from(piece).ok()?;
        if values.len() <= at {
            values.resize(at + 1, [0; 32]);
        }
        values[at] = value?;
        value
    }

    fn keep(&self, arrival: &Arrival, bytes: &[u8]) -> Result<(), DriveError> {
        match &self.0.place {
            Place::Disk(disk) => Ok(disk.file.write_at(arrival.start(), bytes)?),
            Place::Compare { file, differs } => {
                let mut ours = vec![0; bytes.len()];
                let count = file.read_at(arrival.start(), &mut ours)?;
                differs.set(ours[..count] != *bytes);
                if differs.get() { Err(DriveError::Taken) } else { Ok(()) }
            }
            Place::Pipe { waiting, .. } => {
                waiting.borrow_mut().insert(arrival.piece(), bytes.to_vec());
                self.flush()
            }
        }
    }

    /// Hands the pipe what is next, as far as it takes it.
    fn flush(&self) -> Result<(), DriveError> {
        let Place::Pipe { sink, next, waiting } = &self.0.place else { return Ok(()) };
        let mut waiting = waiting.borrow_mut();
        while let Some(bytes) = waiting.get(&next.get()) {
            if sink.room() < bytes.len() {
                return Ok(());
            }
            sink.put(tree::bounds(self.0.size, next.get()).0, bytes)?;
            waiting.remove(&next.get());
            next.set(next.get() + 1);
        }
        Ok(())
    }

    /// Ends a download whose bytes are all there. Never waits long: [`Settled::NotYet`] means to ask again soon.
    ///
    /// # Errors
    /// When the disk fails, or another file took the name meanwhile.
    pub fn settle(&self) -> Result<Settled, DriveError> {
        match &self.0.place {
            Place::Compare { .. } => Ok(Settled::Same),
            Place::Disk(disk) => disk.settle(self.0.plan.borrow().held()),
            Place::Pipe { sink, waiting, .. } => {
                self.flush()?;
                let done = waiting.borrow().is_empty() && sink.room() == limits::STDOUT_BYTES;
                Ok(if done { Settled::Named } else { Settled::NotYet })
            }
        }
    }

    /// True when it can begin anew: what went into a pipe can't be taken back.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.0.place, Place::Pipe { .. }) || self.held() == 0
    }

    /// True when it compares with a file that is there.
    #[must_use]
    pub fn compares(&self) -> bool {
        matches!(self.0.place, Place::Compare { .. })
    }

    /// True when its pieces can be given to others: they are on a disk, and judged.
    #[must_use]
    pub fn can_give(&self) -> bool {
        matches!(self.0.place, Place::Disk(_)) && matches!(*self.0.trust.borrow(), Trust::List(..))
    }

    /// True when every byte of `range` is held.
    #[must_use]
    pub fn holds(&self, range: ByteRange) -> bool {
        let plan = self.0.plan.borrow();
        let last = range.end().saturating_sub(1).max(range.start());
        (range.start() / limits::PIECE_BYTES..=last / limits::PIECE_BYTES).all(|piece| plan.held().has(piece))
    }

    /// The `.part` as a source for others; who asks it must know what is held.
    ///
    /// # Errors
    /// When it is no file on a disk.
    pub fn source(&self) -> std::io::Result<SourceRef> {
        match &self.0.place {
            Place::Disk(disk) => disk.drive.open_part(&names(&disk.name).0),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// Leaves nothing behind: the file at its source is another one now.
    pub fn discard(&self) {
        if let Place::Disk(disk) = &self.0.place {
            discard(&*disk.drive, &disk.name);
        }
    }
}

fn fresh_plan(size: u64) -> Plan {
    Plan::new(size, Bits::none(tree::pieces(size)), 0)
}

/// What is there of a download that goes on: its disk, its pieces, what they are, and the list that they were judged by.
type Resumed = (OnDisk, Bits, Vec<Value>, Option<Rc<PieceList>>);

impl OnDisk {
    fn begin(drive: &Rc<dyn Drive>, name: &str, about: &About, list: Option<Rc<PieceList>>) -> Result<Resumed, DriveError> {
        let (part, note) = names(name);
        if let Stands::File(size) = drive.look(&part)? {
            if Record::peek(&**drive, &note).is_none() {
                return Err(DriveError::NotOurs(part));
            }
            // Looked into under the lock: until then another process could still write it.
            let file = drive.write(&part, false)?;
            let (mut record, recalled) = Record::open(&**drive, &note)?;
            if let Some(mut fits) = fitting(&recalled, about, list.as_ref()).filter(|_| size == about.size) {
                if record.about() != about
                    && let (Content::Root(root), Some(list)) = (&about.content, &list)
                {
                    let _ = record.hold_only(&fits);
                    let _ = record.keep_list(*root, list);
                }
                file.allocate(about.size)?;
                let mut synced = recalled.synced;
                for piece in synced.clone().iter().filter(|piece| !fits.has(*piece)) {
                    synced.clear(piece);
                }
                if fits.end() != tree::pieces(about.size) {
                    fits = Bits::none(tree::pieces(about.size));
                }
                let list = list.or_else(|| kept_list(&recalled.values, about));
                return Ok((OnDisk::new(drive, file, name, record, synced), fits, recalled.values, list));
            }
            // It belongs to another content. The old bytes go before the new record comes, so that no power cut brings the two together.
            drop(file);
            discard(&**drive, name);
        } else if drive.look(&part)? != Stands::Nothing {
            return Err(DriveError::NotOurs(part));
        }
        let mut record = Record::begin(&**drive, &note, about)?;
        let file = drive.write(&part, true)?;
        if let Err(error) = file.allocate(about.size) {
            discard(&**drive, name);
            return Err(error.into());
        }
        if let (Content::Root(root), Some(list)) = (&about.content, &list) {
            let _ = record.keep_list(*root, list);
        }
        let none = Bits::none(tree::pieces(about.size));
        Ok((OnDisk::new(drive, file, name, record, none.clone()), none, Vec::new(), list))
    }

    fn new(drive: &Rc<dyn Drive>, file: Rc<dyn DriveFile>, name: &str, record: Record, synced: Bits) -> OnDisk {
        OnDisk {
            drive: Rc::clone(drive),
            file,
            name: name.to_owned(),
            record: RefCell::new(record),
            fresh: RefCell::new(Vec::new()),
            writing: RefCell::new(VecDeque::new()),
            dirty: Cell::new(0),
            unsynced: Cell::new(0),
            synced: RefCell::new(synced),
            broken: Cell::new(false),
        }
    }

    fn size(&self) -> u64 {
        self.record.borrow().about().size
    }

    fn room(&self) -> usize {
        if self.dirty.get() > limits::DIRTY_BYTES {
            self.look_at_disk();
        }
        if self.dirty.get() <= limits::DIRTY_BYTES { usize::MAX } else { 0 }
    }

    /// Forgets what the disk has written, from the oldest on.
    fn look_at_disk(&self) {
        let mut writing = self.writing.borrow_mut();
        while let Some(range) = writing.front()
            && self.file.dirty(*range) == 0
        {
            self.dirty.set(self.dirty.get() - range.length());
            writing.pop_front();
        }
    }

    /// Asks the disk to write what is new, runs of pieces together.
    fn nudge(&self) {
        let mut fresh = self.fresh.take();
        fresh.sort_unstable();
        let mut pieces = fresh.into_iter().peekable();
        while let Some(first) = pieces.next() {
            let (start, mut length) = tree::bounds(self.size(), first);
            let mut last = first;
            while let Some(next) = pieces.next_if(|next| *next == last + 1) {
                length += tree::bounds(self.size(), next).1;
                last = next;
            }
            if let Some(range) = ByteRange::new(start, length).filter(|range| !range.is_empty()) {
                self.file.nudge(range);
                self.writing.borrow_mut().push_back(range);
            }
        }
    }

    /// A piece was written: sets its bit, and sees to it that the disk gets it.
    fn held(&self, held: &Bits, piece: u64, unjudged: Option<&Value>) -> Result<(), DriveError> {
        if !self.broken.get() {
            self.noted(self.record.borrow().hold(held, piece, unjudged));
        }
        let length = tree::bounds(self.size(), piece).1;
        self.fresh.borrow_mut().push(piece);
        self.dirty.set(self.dirty.get() + length);
        self.unsynced.set(self.unsynced.get() + length);
        if self.fresh.borrow().len() as u64 * limits::PIECE_BYTES >= limits::FLUSH_BYTES {
            self.nudge();
            if self.unsynced.get() >= SYNC_BYTES {
                self.look_at_disk();
                if self.dirty.get() < SYNC_REST {
                    self.sync(held)?;
                }
            }
        }
        Ok(())
    }

    fn sync(&self, held: &Bits) -> Result<(), DriveError> {
        if let Err(error) = self.file.sync() {
            self.broken.set(true);
            self.noted(self.record.borrow().hold_only(&self.synced.borrow()));
            return Err(error.into());
        }
        self.unsynced.set(0);
        self.synced.replace(held.clone());
        self.noted(self.record.borrow().sync(held));
        Ok(())
    }

    /// Only these are held: the others proved wrong.
    fn lose(&self, held: &Bits) {
        let mut synced = self.synced.borrow_mut();
        for piece in synced.clone().iter().filter(|piece| !held.has(*piece)) {
            synced.clear(piece);
        }
        let record = self.record.borrow();
        self.noted(record.sync(&synced).and_then(|()| record.hold_only(held)));
    }

    /// A record that can't be written costs only pieces that are fetched again.
    fn noted(&self, result: std::io::Result<()>) {
        if let Err(error) = result {
            log::warn!("{}: the record could not be written: {error}", self.name);
        }
    }

    fn settle(&self, held: &Bits) -> Result<Settled, DriveError> {
        self.nudge();
        // Waiting for the disk inside sync would hold up the whole loop; so it is called when little is left to write.
        self.look_at_disk();
        if !self.writing.borrow().is_empty() {
            return Ok(Settled::NotYet);
        }
        self.sync(held)?;
        let (part, note) = names(&self.name);
        self.drive.rename_new(&part, &self.name)?;
        let _ = self.drive.remove(&note);
        Ok(Settled::Named)
    }
}

/// Which pieces of an earlier download are good for this one; `None`: nothing of it is.
fn fitting(before: &Recalled, about: &About, list: Option<&Rc<PieceList>>) -> Option<Bits> {
    if before.about.size != about.size {
        return None;
    }
    match (&before.about.content, &about.content, list) {
        (Content::Root(old), Content::Root(new), _) => (old == new).then(|| before.held.clone()),
        (Content::Version { .. }, Content::Version { .. }, _) => (before.about.content == about.content).then(|| before.held.clone()),
        (Content::Version { .. }, Content::Root(_), Some(list)) => {
            // Now there is something to judge them by.
            let mut good = Bits::none(before.held.end());
            let value = |piece: u64| usize::try_from(piece).ok().and_then(|at| before.values.get(at));
            for piece in before.held.iter().filter(|piece| value(*piece).is_some_and(|value| Some(value) == list.value(*piece))) {
                good.set(piece);
            }
            Some(good)
        }
        _ => None,
    }
}

/// The list of pieces that a record kept, if it still leads to its root.
fn kept_list(values: &[Value], about: &About) -> Option<Rc<PieceList>> {
    let Content::Root(root) = &about.content else { return None };
    PieceList::new(about.size, values.to_vec()).filter(|list| list.root() == *root).map(Rc::new)
}

fn discard(drive: &dyn Drive, name: &str) {
    let (part, note) = names(name);
    // The .part goes first: one without a record would be in everybody's way for ever.
    let _ = drive.remove(&part);
    let _ = drive.remove(&note);
}

/// The names of the `.part` and its record. Where they would be too long the front of the name stands for it, with a hash of all of it.
fn names(name: &str) -> (String, String) {
    const ENDING: &str = ".part.record";
    // One byte is left for the disk, which may write a record under another name first.
    const MOST: usize = NAME_MAX - ENDING.len() - 1;
    let stem = if name.len() <= MOST {
        name.to_owned()
    } else {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut end = MOST - 17;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}~{hash:016x}", &name[..end])
    };
    (format!("{stem}.part"), format!("{stem}{ENDING}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_still_have_a_part_and_a_record() {
        for name in ["a.mp4".to_owned(), "x".repeat(255), "é".repeat(127)] {
            let (part, note) = names(&name);
            assert!(part.len() <= NAME_MAX && note.len() <= NAME_MAX, "{part}");
        }
        assert_eq!(names("a.mp4"), ("a.mp4.part".to_owned(), "a.mp4.part.record".to_owned()));
        assert_ne!(names(&"x".repeat(255)).0, names(&format!("{}y", "x".repeat(254))).0);
    }
}
