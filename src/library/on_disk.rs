//! Where a download stands on a disk: the `.part`, its record, and the order in which both are written.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::library::bits::Bits;
use crate::library::drive::{Drive, DriveError, DriveFile, Stands};
use crate::library::part::Settled;
use crate::library::record::{About, Content, Recalled, Record};
use crate::library::tree::{self, PieceList, Value};
use crate::message::limits;
use crate::message::range::ByteRange;

/// What the disk may still have to write when that is done: more would hold up the loop.
const SYNC_REST: u64 = 16 << 20;
/// What a file system takes as one name.
const NAME_MAX: usize = 255;

/// A `.part` and its record.
pub(super) struct OnDisk {
    pub(super) drive: Rc<dyn Drive>,
    pub(super) file: Rc<dyn DriveFile>,
    pub(super) name: String,
    pub(super) record: RefCell<Record>,
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

/// What is there of a download that goes on: its disk, its pieces, what they are, and the list that they were judged by.
pub(super) type Resumed = (OnDisk, Bits, Vec<Value>, Option<Rc<PieceList>>);

impl OnDisk {
    pub(super) fn begin(drive: &Rc<dyn Drive>, name: &str, about: &About, list: Option<Rc<PieceList>>) -> Result<Resumed, DriveError> {
        let (part, note) = names(name);
        if let Stands::File(size) = drive.look(&part)? {
            if Record::peek(&**drive, &note).is_none() {
                return Err(DriveError::NotOurs(part));
            }
            // Looked into under the lock: until then another process could still write it.
            let file = drive.write(&part, false)?;
            let (mut record, recalled) = Record::open(&**drive, &note)?;
            if let Some(fits) = fitting(&recalled, about, list.as_ref()).filter(|_| size == about.size) {
                let synced = recalled.synced.common(&fits);
                if fits != recalled.held {
                    record.forget(&fits, &synced)?;
                }
                if let (Content::Root(root), Some(list)) = (&about.content, &list) {
                    record.keep_list(*root, list)?;
                }
                file.allocate(about.size)?;
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

    pub(super) fn room(&self) -> usize {
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
    pub(super) fn held(&self, held: &Bits, piece: u64, unjudged: Option<&Value>) -> Result<(), DriveError> {
        if !self.broken.get() {
            self.noted(self.record.borrow().hold(held, piece, unjudged));
        }
        let length = tree::bounds(self.size(), piece).1;
        self.fresh.borrow_mut().push(piece);
        self.dirty.set(self.dirty.get() + length);
        self.unsynced.set(self.unsynced.get() + length);
        let every = self.drive.lasting_every();
        if self.fresh.borrow().len() as u64 * limits::PIECE_BYTES >= limits::FLUSH_BYTES.min(every) {
            self.nudge();
            if self.unsynced.get() >= every {
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
    pub(super) fn lose(&self, held: &Bits) -> std::io::Result<()> {
        let still = self.synced.borrow().common(held);
        self.synced.replace(still.clone());
        self.record.borrow().forget(held, &still)
    }

    /// A record that can't be written costs only pieces that are fetched again.
    pub(super) fn noted(&self, result: std::io::Result<()>) {
        if let Err(error) = result {
            log::warn!("{}: the record could not be written: {error}", self.name);
        }
    }

    pub(super) fn settle(&self, held: &Bits) -> Result<Settled, DriveError> {
        self.nudge();
        // Waiting for the disk inside sync would hold up the whole loop; so it is called when little is left to write.
        self.look_at_disk();
        if !self.writing.borrow().is_empty() {
            return Ok(Settled::NotYet);
        }
        self.sync(held)?;
        let (part, note) = names(&self.name);
        if self.drive.look(&part)? != Stands::File(self.size()) {
            // What was written lies elsewhere: a link, or nothing, has taken its place.
            return Err(DriveError::NotOurs(part));
        }
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

pub(super) fn discard(drive: &dyn Drive, name: &str) {
    let (part, note) = names(name);
    // The .part goes first: one without a record would be in everybody's way for ever.
    let _ = drive.remove(&part);
    let _ = drive.remove(&note);
}

/// The names of the `.part` and its record, beside the file that is to be. Where they would be too long the front of the name stands for it, with a hash of all of it.
pub(super) fn names(name: &str) -> (String, String) {
    const ENDING: &str = ".part.record";
    // One byte is left for the disk, which may write a record under another name first.
    const MOST: usize = NAME_MAX - ENDING.len() - 1;
    let (way, name) = name.split_at(name.rfind('/').map_or(0, |at| at + 1));
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
    (format!("{way}{stem}.part"), format!("{way}{stem}{ENDING}"))
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
        assert_eq!(names("A/01.mp3"), ("A/01.mp3.part".to_owned(), "A/01.mp3.part.record".to_owned()));
        assert_ne!(names(&"x".repeat(255)).0, names(&format!("{}y", "x".repeat(254))).0);
    }
}
