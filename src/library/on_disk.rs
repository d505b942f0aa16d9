//! Where a download stands on a disk: the `.part`, its record, and the order in which both are written.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::library::bits::Bits;
use crate::library::drive::{Drive, DriveError, DriveFile, Stamp, Stands};
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
    /// Pieces that an earlier run may have left here, and that count when they were hashed.
    doubted: RefCell<Bits>,
    /// How the `.part` stood after our own last write.
    ours: Cell<Stamp>,
    /// Somebody else has written it since.
    disturbed: Cell<bool>,
    /// The disk has failed to make bytes lasting, and says so only once: none but those that are lasting count from then on.
    broken: Cell<bool>,
}

/// What is there of a download that goes on: its disk, its pieces, what they are, and the list that they were judged by.
pub(super) type Resumed = (OnDisk, Bits, Vec<Value>, Option<Rc<PieceList>>);

impl OnDisk {
    pub(super) fn begin(drive: &Rc<dyn Drive>, name: &str, about: &About, list: Option<Rc<PieceList>>) -> Result<Resumed, DriveError> {
        let (part, note) = names(name);
        if let Stands::File(size) = drive.look(&part)? {
            let Some(before) = Record::peek(&**drive, &note) else { return Err(DriveError::NotOurs(part)) };
            // Looked into under the lock: until then another process could still write it.
            let file = drive.write(&part, false)?;
            let mut stamp = file.stamp()?;
            if stamp.size != before.size && before.size == about.size && before.content == about.content {
                // Cut off, or grown: what is still there is hashed like all that was changed.
                file.allocate(about.size)?;
                stamp = file.stamp()?;
            }
            if before.size == stamp.size {
                let (mut record, recalled) = Record::open(&**drive, &note, &stamp)?;
                if let Some(fits) = fitting(&recalled, about, list.as_ref()) {
                    let doubted = worth_hashing(&recalled, about, list.as_ref());
                    let synced = recalled.synced.common(&fits);
                    if doubted.count() == 0 && recalled.doubted.count() > 0 {
                        record.renew(&fits, &synced)?;
                    } else if fits != recalled.held {
                        record.forget(&fits.union(&doubted), &synced)?;
                    }
                    if let (Content::Root(root), Some(list)) = (&about.content, &list) {
                        record.keep_list(*root, list)?;
                    }
                    file.allocate(about.size)?;
                    let list = list.or_else(|| kept_list(&recalled.values, about));
                    let disk = OnDisk::new(drive, file, name, record, synced, doubted)?;
                    disk.seal(&fits);
                    return Ok((disk, fits, recalled.values, list));
                }
                let there = recalled.held.union(&recalled.doubted);
                if let Some(error) = kept(&part, &before, &there) {
                    return Err(error);
                }
            } else if size > 0 {
                // Which of its pieces are there is not known, for it has another size than its record says.
                return Err(DriveError::OtherContent { part, root: before.root(), held: size });
            }
            // Nothing of it is worth anything. The old bytes go before the new record comes, so that no power cut brings the two together.
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
        let disk = OnDisk::new(drive, file, name, record, none.clone(), none.clone())?;
        disk.seal(&none);
        Ok((disk, none, Vec::new(), list))
    }

    fn new(drive: &Rc<dyn Drive>, file: Rc<dyn DriveFile>, name: &str, record: Record, synced: Bits, doubted: Bits) -> Result<OnDisk, DriveError> {
        let ours = Cell::new(file.stamp()?);
        Ok(OnDisk {
            drive: Rc::clone(drive),
            file,
            name: name.to_owned(),
            record: RefCell::new(record),
            fresh: RefCell::new(Vec::new()),
            writing: RefCell::new(VecDeque::new()),
            dirty: Cell::new(0),
            unsynced: Cell::new(0),
            synced: RefCell::new(synced),
            doubted: RefCell::new(doubted),
            ours,
            disturbed: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    /// Writes some of a piece, and notices whether anybody else has written meanwhile.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), DriveError> {
        self.is_disturbed();
        self.file.write_at(at, bytes)?;
        self.ours.set(self.file.stamp()?);
        Ok(())
    }

    /// True when the `.part` was changed by somebody else since it was begun or hashed.
    pub(super) fn is_disturbed(&self) -> bool {
        if self.file.stamp().map_or(true, |now| now != self.ours.get()) {
            self.disturbed.set(true);
        }
        self.disturbed.get()
    }

    /// The pieces that have to be hashed before they count.
    pub(super) fn doubted(&self) -> Bits {
        self.doubted.borrow().clone()
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.borrow().count() > 0
    }

    /// Nothing of what is held counts before it was hashed.
    pub(super) fn doubt(&self, held: &Bits) -> Result<(), DriveError> {
        let all = self.doubted.borrow().union(held);
        self.doubted.replace(all);
        self.ours.set(self.file.stamp()?);
        self.disturbed.set(false);
        Ok(())
    }

    /// All that was doubted was hashed: only these pieces are held.
    pub(super) fn believe(&self, held: &Bits) {
        let pieces = held.end();
        self.doubted.replace(Bits::none(pieces));
        let synced = self.synced.borrow().common(held);
        self.synced.replace(synced.clone());
        self.unsynced.set(held.without(&synced).count().saturating_mul(limits::PIECE_BYTES));
        self.noted(self.record.borrow().renew(held, &synced));
        self.seal(held);
    }

    /// Says in the record that all is as we left it, unless it is not.
    pub(super) fn seal(&self, held: &Bits) {
        if !self.is_doubted() && !self.is_disturbed() {
            self.noted(self.record.borrow().seal(held, &self.synced.borrow(), &self.ours.get()));
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
            let said = if self.is_doubted() { &held.union(&self.doubted.borrow()) } else { held };
            self.noted(self.record.borrow().hold(said, piece, unjudged));
            if self.record.borrow().is_sealed_each() {
                self.seal(held);
            }
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
            self.seal(&self.synced.borrow());
            return Err(error.into());
        }
        self.unsynced.set(0);
        self.synced.replace(held.clone());
        self.noted(self.record.borrow().sync(held));
        self.seal(held);
        Ok(())
    }

    /// Only these are held: the others proved wrong.
    pub(super) fn lose(&self, held: &Bits) -> std::io::Result<()> {
        let still = self.synced.borrow().common(held);
        self.synced.replace(still.clone());
        self.record.borrow().forget(&held.union(&self.doubted.borrow()), &still)
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
        if self.is_disturbed() {
            return Ok(Settled::Disturbed);
        }
        let (part, note) = names(&self.name);
        let ours = self.ours.get();
        let stands = self.drive.look(&part)? == Stands::File(self.size());
        if !stands || self.drive.stamp_at(&part)?.is_none_or(|there| (there.device, there.inode) != (ours.device, ours.inode)) {
            // What was written lies elsewhere: a link, another file, or nothing, has taken its place.
            return Err(DriveError::NotOurs(part));
        }
        self.drive.rename_new(&part, &self.name)?;
        let _ = self.drive.remove(&note);
        Ok(Settled::Named)
    }
}

/// Why a `.part` of another content is not thrown away: some of it is there.
fn kept(part: &str, before: &About, there: &Bits) -> Option<DriveError> {
    let held: u64 = there.iter().map(|piece| tree::bounds(before.size, piece).1).sum();
    (held > 0 || matches!(before.content, Content::Stream { .. })).then(|| DriveError::OtherContent {
        part: part.to_owned(),
        root: before.root(),
        held,
    })
}

/// Which of the pieces that are doubted can be judged once they are hashed. Those of one source's version are what that source gave, and no more: their
/// values say so. Where none was kept they are fetched again.
fn worth_hashing(before: &Recalled, about: &About, list: Option<&Rc<PieceList>>) -> Bits {
    if list.is_some() || matches!(about.content, Content::Root(_)) {
        return before.doubted.clone();
    }
    let mut worth = Bits::none(before.doubted.end());
    let has_value = |piece: &u64| usize::try_from(*piece).ok().and_then(|at| before.values.get(at)).is_some_and(|value| *value != [0; 32]);
    for piece in before.doubted.iter().filter(has_value) {
        worth.set(piece);
    }
    worth
}

/// Removes the record of a download that is over: its `.part` has its name, or was removed.
pub(super) fn sweep(drive: &dyn Drive, name: &str) {
    let (part, note) = names(name);
    if matches!(drive.look(&part), Ok(Stands::Nothing)) && Record::peek(drive, &note).is_some() {
        let _ = drive.remove(&note);
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
            // Where nothing fits it is another content, unless there was nothing.
            let none = before.held.count() > 0 && good.count() == 0 && before.doubted.count() == 0;
            (!none).then_some(good)
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
