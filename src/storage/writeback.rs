//! The `.part` and its resume file on a disk, and the order of writes. Write-back starts early; backpressure stops the sockets when the disk is behind.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;

use crate::limits;
use crate::protocol::types::byte_range::ByteRange;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, FsError, FsFile};
use crate::storage::partial_file::Finalized;
use crate::storage::piece_tree::{self, HashList, PieceHash};
use crate::storage::resume_file::{Content, DownloadIdentity, Resumable, ResumeFile};

/// Dirty bytes of a download at which its connections are no longer read, until the disk has caught
/// up.
pub const DIRTY_BYTES: u64 = 64 << 20;
/// Received bytes between two writeback requests to the kernel.
pub const WRITEBACK_BYTES: u64 = 8 << 20;

/// What the disk may still have to write when that is done: more would hold up the loop.
const SYNC_REST: u64 = 16 << 20;
/// What a file system takes as one name.
const NAME_MAX: usize = 255;

/// A `.part` and its record.
pub(super) struct Writeback {
    pub(super) fs: Rc<dyn Filesystem>,
    pub(super) file: Rc<dyn FsFile>,
    pub(super) name: String,
    pub(super) record: RefCell<ResumeFile>,
    /// Pieces that the disk was not asked to write yet.
    fresh: RefCell<Vec<u64>>,
    /// What it was asked to write and may still be writing, oldest first.
    writing: RefCell<VecDeque<ByteRange>>,
    /// Bytes in the two above.
    dirty: Cell<u64>,
    /// Bytes since the last sync.
    unsynced: Cell<u64>,
    synced: RefCell<Bitfield>,
    /// Pieces that an earlier run may have left here, and that count when they were hashed.
    doubted: RefCell<Bitfield>,
    /// How the `.part` stood after our own last write.
    ours: Cell<FileStat>,
    /// Somebody else has written it since.
    disturbed: Cell<bool>,
    /// The disk has failed to make bytes lasting, and says so only once: none but those that are lasting count from then on.
    broken: Cell<bool>,
}

/// What is there of a download that goes on: its disk, its pieces, what they are, and the list that they were judged by.
pub(super) type Resumed = (Writeback, Bitfield, Vec<PieceHash>, Option<Rc<HashList>>);

impl Writeback {
    pub(super) fn begin(
        drive: &Rc<dyn Filesystem>,
        name: &str,
        about: &DownloadIdentity,
        list: Option<Rc<HashList>>,
    ) -> Result<Resumed, FsError> {
        let (part, note) = names(name);
        if let DirEntryKind::File(size) = drive.look(&part)? {
            let Some(before) = ResumeFile::peek(&**drive, &note) else {
                return Err(FsError::NotOurs(part));
            };
            // Looked into under the lock: until then another process could still write it.
            let file = drive.write(&part, false)?;
            let mut stamp = file.stamp()?;
            if stamp.size != before.size
                && before.size == about.size
                && before.content == about.content
            {
                // Cut off, or grown: what is still there is hashed like all that was changed.
                file.allocate(about.size)?;
                stamp = file.stamp()?;
            }
            if before.size == stamp.size {
                let (mut record, recalled) = ResumeFile::open(&**drive, &note, &stamp)?;
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
                    let disk = Writeback::new(drive, file, name, record, synced, doubted)?;
                    disk.seal(&fits);
                    return Ok((disk, fits, recalled.values, list));
                }
                let there = recalled.held.union(&recalled.doubted);
                if let Some(error) = kept(&part, &before, &there) {
                    return Err(error);
                }
            } else if size > 0 {
                // Which of its pieces are there is not known, for it has another size than its record says.
                return Err(FsError::OtherContent { part, root: before.root(), held: size });
            }
            // Nothing of it is worth anything. The old bytes go before the new record comes, so that no power cut brings the two together.
            drop(file);
            discard(&**drive, name);
        } else if drive.look(&part)? != DirEntryKind::Nothing {
            return Err(FsError::NotOurs(part));
        }
        let mut record = ResumeFile::begin(&**drive, &note, about)?;
        let file = drive.write(&part, true)?;
        if let Err(error) = file.allocate(about.size) {
            discard(&**drive, name);
            return Err(error.into());
        }
        if let (Content::Root(root), Some(list)) = (&about.content, &list) {
            let _ = record.keep_list(*root, list);
        }
        let none = Bitfield::none(piece_tree::pieces(about.size));
        let disk = Writeback::new(drive, file, name, record, none.clone(), none.clone())?;
        disk.seal(&none);
        Ok((disk, none, Vec::new(), list))
    }

    fn new(
        drive: &Rc<dyn Filesystem>,
        file: Rc<dyn FsFile>,
        name: &str,
        record: ResumeFile,
        synced: Bitfield,
        doubted: Bitfield,
    ) -> Result<Writeback, FsError> {
        let ours = Cell::new(file.stamp()?);
        Ok(Writeback {
            fs: Rc::clone(drive),
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
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FsError> {
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
    pub(super) fn doubted(&self) -> Bitfield {
        self.doubted.borrow().clone()
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.borrow().count() > 0
    }

    /// Nothing of what is held counts before it was hashed.
    pub(super) fn doubt(&self, held: &Bitfield) -> Result<(), FsError> {
        let all = self.doubted.borrow().union(held);
        self.doubted.replace(all);
        self.ours.set(self.file.stamp()?);
        self.disturbed.set(false);
        Ok(())
    }

    /// All that was doubted was hashed: only these pieces are held.
    pub(super) fn believe(&self, held: &Bitfield) {
        let pieces = held.end();
        self.doubted.replace(Bitfield::none(pieces));
        let synced = self.synced.borrow().common(held);
        self.synced.replace(synced.clone());
        self.unsynced.set(held.without(&synced).count().saturating_mul(limits::PIECE_BYTES));
        self.noted(self.record.borrow().renew(held, &synced));
        self.seal(held);
    }

    /// Says in the record that all is as we left it, unless it is not.
    pub(super) fn seal(&self, held: &Bitfield) {
        if !self.is_doubted() && !self.is_disturbed() {
            self.noted(self.record.borrow().seal(held, &self.synced.borrow(), &self.ours.get()));
        }
    }

    fn size(&self) -> u64 {
        self.record.borrow().about().size
    }

    pub(super) fn room(&self) -> usize {
        if self.dirty.get() > DIRTY_BYTES {
            self.check_writeback();
        }
        if self.dirty.get() <= DIRTY_BYTES { usize::MAX } else { 0 }
    }

    /// Forgets what the disk has written, from the oldest on.
    fn check_writeback(&self) {
        let mut writing = self.writing.borrow_mut();
        while let Some(range) = writing.front()
            && self.file.dirty(*range) == 0
        {
            self.dirty.set(self.dirty.get() - range.length());
            writing.pop_front();
        }
    }

    /// Asks the disk to write what is new, runs of pieces together.
    fn start_writeback(&self) {
        let mut fresh = self.fresh.take();
        fresh.sort_unstable();
        let mut pieces = fresh.into_iter().peekable();
        while let Some(first) = pieces.next() {
            let (start, mut length) = piece_tree::bounds(self.size(), first);
            let mut last = first;
            while let Some(next) = pieces.next_if(|next| *next == last + 1) {
                length += piece_tree::bounds(self.size(), next).1;
                last = next;
            }
            if let Some(range) = ByteRange::new(start, length).filter(|range| !range.is_empty()) {
                self.file.start_writeback(range);
                self.writing.borrow_mut().push_back(range);
            }
        }
    }

    /// A piece was written: sets its bit, and sees to it that the disk gets it.
    pub(super) fn held(
        &self,
        held: &Bitfield,
        piece: u64,
        unjudged: Option<&PieceHash>,
    ) -> Result<(), FsError> {
        if !self.broken.get() {
            let said = if self.is_doubted() { &held.union(&self.doubted.borrow()) } else { held };
            self.noted(self.record.borrow().hold(said, piece, unjudged));
            if self.record.borrow().is_sealed_each() {
                self.seal(held);
            }
        }
        let length = piece_tree::bounds(self.size(), piece).1;
        self.fresh.borrow_mut().push(piece);
        self.dirty.set(self.dirty.get() + length);
        self.unsynced.set(self.unsynced.get() + length);
        let every = self.fs.durable_every();
        if self.fresh.borrow().len() as u64 * limits::PIECE_BYTES >= WRITEBACK_BYTES.min(every) {
            self.start_writeback();
            if self.unsynced.get() >= every {
                self.check_writeback();
                if self.dirty.get() < SYNC_REST {
                    self.sync(held)?;
                }
            }
        }
        Ok(())
    }

    fn sync(&self, held: &Bitfield) -> Result<(), FsError> {
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
    pub(super) fn lose(&self, held: &Bitfield) -> std::io::Result<()> {
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

    pub(super) fn finalize(&self, held: &Bitfield) -> Result<Finalized, FsError> {
        self.start_writeback();
        // Waiting for the disk inside sync would hold up the whole loop; so it is called when little is left to write.
        self.check_writeback();
        if !self.writing.borrow().is_empty() {
            return Ok(Finalized::NotYet);
        }
        self.sync(held)?;
        if self.is_disturbed() {
            return Ok(Finalized::Disturbed);
        }
        let (part, note) = names(&self.name);
        let ours = self.ours.get();
        let stands = self.fs.look(&part)? == DirEntryKind::File(self.size());
        if !stands
            || self
                .fs
                .stamp_at(&part)?
                .is_none_or(|there| (there.device, there.inode) != (ours.device, ours.inode))
        {
            // What was written lies elsewhere: a link, another file, or nothing, has taken its place.
            return Err(FsError::NotOurs(part));
        }
        self.fs.rename_new(&part, &self.name)?;
        let _ = self.fs.remove(&note);
        Ok(Finalized::Named)
    }
}

/// Why a `.part` of another content is not thrown away: some of it is there.
fn kept(part: &str, before: &DownloadIdentity, there: &Bitfield) -> Option<FsError> {
    let held: u64 = there.iter().map(|piece| piece_tree::bounds(before.size, piece).1).sum();
    (held > 0 || matches!(before.content, Content::Stream { .. })).then(|| FsError::OtherContent {
        part: part.to_owned(),
        root: before.root(),
        held,
    })
}

/// Which of the pieces that are doubted can be judged once they are hashed. Those of one source's version are what that source gave, and no more: their
/// values say so. Where none was kept they are fetched again.
fn worth_hashing(
    before: &Resumable,
    about: &DownloadIdentity,
    list: Option<&Rc<HashList>>,
) -> Bitfield {
    if list.is_some() || matches!(about.content, Content::Root(_)) {
        return before.doubted.clone();
    }
    let mut worth = Bitfield::none(before.doubted.end());
    let has_value = |piece: &u64| {
        usize::try_from(*piece)
            .ok()
            .and_then(|at| before.values.get(at))
            .is_some_and(|value| *value != [0; 32])
    };
    for piece in before.doubted.iter().filter(has_value) {
        worth.set(piece);
    }
    worth
}

/// Removes the record of a download that is over: its `.part` has its name, or was removed.
pub(super) fn sweep(drive: &dyn Filesystem, name: &str) {
    let (part, note) = names(name);
    if matches!(drive.look(&part), Ok(DirEntryKind::Nothing))
        && ResumeFile::peek(drive, &note).is_some()
    {
        let _ = drive.remove(&note);
    }
}

/// Which pieces of an earlier download are good for this one; `None`: nothing of it is.
fn fitting(
    before: &Resumable,
    about: &DownloadIdentity,
    list: Option<&Rc<HashList>>,
) -> Option<Bitfield> {
    if before.about.size != about.size {
        return None;
    }
    match (&before.about.content, &about.content, list) {
        (Content::Root(old), Content::Root(new), _) => (old == new).then(|| before.held.clone()),
        (Content::Version { .. }, Content::Version { .. }, _) => {
            (before.about.content == about.content).then(|| before.held.clone())
        }
        (Content::Version { .. }, Content::Root(_), Some(list)) => {
            // Now there is something to judge them by.
            let mut good = Bitfield::none(before.held.end());
            let value =
                |piece: u64| usize::try_from(piece).ok().and_then(|at| before.values.get(at));
            let is_right =
                |piece: &u64| value(*piece).is_some_and(|hash| Some(hash) == list.value(*piece));
            for piece in before.held.iter().filter(is_right) {
                good.set(piece);
            }
            // Without a right piece the part is of another content, and is kept.
            let there = before.held.union(&before.doubted);
            (there.count() == 0 || there.iter().any(|piece| is_right(&piece))).then_some(good)
        }
        _ => None,
    }
}

/// The list of pieces that a record kept, if it still leads to its root.
fn kept_list(values: &[PieceHash], about: &DownloadIdentity) -> Option<Rc<HashList>> {
    let Content::Root(root) = &about.content else { return None };
    HashList::new(about.size, values.to_vec()).filter(|list| list.root() == *root).map(Rc::new)
}

pub(super) fn discard(drive: &dyn Filesystem, name: &str) {
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
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
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
        assert_eq!(
            names("A/01.mp3"),
            ("A/01.mp3.part".to_owned(), "A/01.mp3.part.record".to_owned())
        );
        assert_ne!(names(&"x".repeat(255)).0, names(&format!("{}y", "x".repeat(254))).0);
    }
}
