//! The `.part` and the resume file on a disk, and the order of writes. Write-back starts early;
//! backpressure stops reading from sockets when the disk is behind.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::limits;
use crate::storage::Finalized;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, FsError, FsFile};
use crate::storage::piece_tree::{self, HashList, PieceHash};
use crate::storage::resume_file::{Content, DownloadIdentity, Resumable, ResumeFile};
use crate::storage::writeback_queue::{DIRTY_BYTES, WRITEBACK_BYTES, WritebackQueue};

/// Most bytes that may be left to write before a sync; more would stall the loop.
const SYNC_REST: u64 = 16 << 20;
/// Longest name of common file systems, in bytes.
const NAME_MAX: usize = 255;

/// A `.part` with the resume file.
pub(super) struct Writeback {
    pub(super) fs: Rc<dyn Filesystem>,
    pub(super) file: Rc<dyn FsFile>,
    pub(super) name: String,
    pub(super) record: RefCell<ResumeFile>,
    /// Pieces that the disk was not asked to write yet.
    fresh: RefCell<Vec<u64>>,
    queue: WritebackQueue,
    /// Bytes since the last sync.
    unsynced: Cell<u64>,
    synced: RefCell<Bitfield>,
    /// Pieces of an earlier run that have to be hashed before they count.
    doubted: RefCell<Bitfield>,
    /// Stat of the `.part` after our last write.
    our_stat: Cell<FileStat>,
    /// Another process has changed the `.part` since.
    disturbed: Cell<bool>,
    /// A sync has failed. The system reports that only once, so only synced pieces count from then
    /// on.
    broken: Cell<bool>,
}

/// An opened download: the disk, its pieces, their hashes, and the verified hash list.
pub(super) type Resumed = (Writeback, Bitfield, Vec<PieceHash>, Option<Rc<HashList>>);

impl Writeback {
    pub(super) fn begin(
        fs: &Rc<dyn Filesystem>,
        name: &str,
        about: &DownloadIdentity,
        list: Option<Rc<HashList>>,
    ) -> Result<Resumed, FsError> {
        let (part, resume) = names(name);
        if let DirEntryKind::File(size) = fs.look(&part)? {
            let Some(before) = ResumeFile::peek(&**fs, &resume) else {
                return Err(FsError::NotOurs(part));
            };
            // The lock is held: before it, another process could still write.
            let file = fs.write(&part, false)?;
            let mut stamp = file.stamp()?;
            if stamp.size != before.size
                && before.size == about.size
                && before.content == about.content
            {
                // Truncated or grown: hash the remaining pieces like any changed file.
                file.allocate(about.size)?;
                stamp = file.stamp()?;
            }
            if before.size == stamp.size {
                let (mut record, recalled) = ResumeFile::open(&**fs, &resume, &stamp)?;
                if let Some(fits) = matching_pieces(&recalled, about, list.as_ref()) {
                    let doubted = verifiable(&recalled, about, list.as_ref());
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
                    let list = list.or_else(|| list_of_record(&recalled.values, about));
                    let disk = Writeback::new(fs, file, name, record, synced, doubted)?;
                    disk.seal(&fits);
                    return Ok((disk, fits, recalled.values, list));
                }
                let there = recalled.held.union(&recalled.doubted);
                if let Some(error) = refuse_discard(&part, &before, &there) {
                    return Err(error);
                }
            } else if size > 0 {
                // The size contradicts the record, so the pieces are unknown.
                return Err(FsError::OtherContent { part, root: before.root(), held: size });
            }
            // Nothing is usable. Remove the old bytes before the new record is written, so that a
            // power cut never combines them.
            drop(file);
            discard(&**fs, name);
        } else if fs.look(&part)? != DirEntryKind::Nothing {
            return Err(FsError::NotOurs(part));
        }
        let mut record = ResumeFile::begin(&**fs, &resume, about)?;
        let file = fs.write(&part, true)?;
        if let Err(error) = file.allocate(about.size) {
            discard(&**fs, name);
            return Err(error.into());
        }
        if let (Content::Root(root), Some(list)) = (&about.content, &list) {
            let _ = record.keep_list(*root, list);
        }
        let none = Bitfield::none(piece_tree::pieces(about.size));
        let disk = Writeback::new(fs, file, name, record, none.clone(), none.clone())?;
        disk.seal(&none);
        Ok((disk, none, Vec::new(), list))
    }

    fn new(
        fs: &Rc<dyn Filesystem>,
        file: Rc<dyn FsFile>,
        name: &str,
        record: ResumeFile,
        synced: Bitfield,
        doubted: Bitfield,
    ) -> Result<Writeback, FsError> {
        let our_stat = Cell::new(file.stamp()?);
        Ok(Writeback {
            fs: Rc::clone(fs),
            file,
            name: name.to_owned(),
            record: RefCell::new(record),
            fresh: RefCell::new(Vec::new()),
            queue: WritebackQueue::default(),
            unsynced: Cell::new(0),
            synced: RefCell::new(synced),
            doubted: RefCell::new(doubted),
            our_stat,
            disturbed: Cell::new(false),
            broken: Cell::new(false),
        })
    }

    /// Write a piece. A stat before and a stat after each write tell our own changes from those of
    /// another process.
    pub(super) fn write(&self, at: u64, bytes: &[u8]) -> Result<(), FsError> {
        self.check_disturbed();
        self.file.write_at(at, bytes)?;
        self.our_stat.set(self.file.stamp()?);
        Ok(())
    }

    /// Stat the `.part`, and remember if another process has changed it since it was begun or
    /// hashed.
    pub(super) fn check_disturbed(&self) -> bool {
        if self.file.stamp().map_or(true, |now| now != self.our_stat.get()) {
            self.disturbed.set(true);
        }
        self.disturbed.get()
    }

    /// Pieces to hash before any counts.
    pub(super) fn doubted(&self) -> Bitfield {
        self.doubted.borrow().clone()
    }

    pub(super) fn is_doubted(&self) -> bool {
        self.doubted.borrow().count() > 0
    }

    /// Hash all held pieces before any counts.
    pub(super) fn doubt(&self, held: &Bitfield) -> Result<(), FsError> {
        let all = self.doubted.borrow().union(held);
        self.doubted.replace(all);
        self.our_stat.set(self.file.stamp()?);
        self.disturbed.set(false);
        Ok(())
    }

    /// End of a recheck: exactly these pieces are held.
    pub(super) fn accept_rechecked(&self, held: &Bitfield) {
        let pieces = held.end();
        self.doubted.replace(Bitfield::none(pieces));
        let synced = self.synced.borrow().common(held);
        self.synced.replace(synced.clone());
        self.unsynced.set(held.without(&synced).count().saturating_mul(limits::PIECE_BYTES));
        self.log_failure(self.record.borrow().renew(held, &synced));
        self.seal(held);
    }

    /// Seal the record with the stat after our last write: the next run trusts only a `.part`
    /// with that stat. So no stat is needed here.
    pub(super) fn seal(&self, held: &Bitfield) {
        if !self.is_doubted() && !self.disturbed.get() {
            self.log_failure(self.record.borrow().seal(
                held,
                &self.synced.borrow(),
                &self.our_stat.get(),
            ));
        }
    }

    fn size(&self) -> u64 {
        self.record.borrow().about().size
    }

    pub(super) fn room(&self) -> usize {
        if self.dirty_bytes() > DIRTY_BYTES {
            self.queue.poll(&*self.file);
        }
        if self.dirty_bytes() <= DIRTY_BYTES { usize::MAX } else { 0 }
    }

    fn dirty_bytes(&self) -> u64 {
        self.queue.bytes() + self.fresh_bytes()
    }

    fn fresh_bytes(&self) -> u64 {
        self.fresh.borrow().len() as u64 * limits::PIECE_BYTES
    }

    /// Ask the disk to write the fresh pieces, joined into runs.
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
            self.queue.start(&*self.file, start, length);
        }
    }

    /// Record a written piece, and start write-back and syncs when due.
    pub(super) fn held(
        &self,
        held: &Bitfield,
        piece: u64,
        unjudged: Option<&PieceHash>,
    ) -> Result<(), FsError> {
        if !self.broken.get() {
            let said = if self.is_doubted() { &held.union(&self.doubted.borrow()) } else { held };
            self.log_failure(self.record.borrow().hold(said, piece, unjudged));
            if self.record.borrow().is_sealed_each() {
                self.seal(held);
            }
        }
        let length = piece_tree::bounds(self.size(), piece).1;
        self.fresh.borrow_mut().push(piece);
        self.unsynced.set(self.unsynced.get() + length);
        let every = self.fs.durable_every();
        if self.fresh_bytes() >= WRITEBACK_BYTES.min(every) {
            self.start_writeback();
            if self.unsynced.get() >= every {
                self.queue.poll(&*self.file);
                if self.queue.bytes() < SYNC_REST {
                    self.sync(held)?;
                }
            }
        }
        Ok(())
    }

    fn sync(&self, held: &Bitfield) -> Result<(), FsError> {
        if let Err(error) = self.file.sync() {
            self.broken.set(true);
            self.log_failure(self.record.borrow().hold_only(&self.synced.borrow()));
            self.seal(&self.synced.borrow());
            return Err(error.into());
        }
        self.unsynced.set(0);
        self.synced.replace(held.clone());
        self.log_failure(self.record.borrow().sync(held));
        self.seal(held);
        Ok(())
    }

    /// Exactly these pieces are held; the others were wrong.
    pub(super) fn lose(&self, held: &Bitfield) -> std::io::Result<()> {
        let still = self.synced.borrow().common(held);
        self.synced.replace(still.clone());
        self.record.borrow().forget(&held.union(&self.doubted.borrow()), &still)
    }

    /// Log a failure of the record: it only costs a download of some pieces again.
    pub(super) fn log_failure(&self, result: std::io::Result<()>) {
        if let Err(error) = result {
            log::warn!("{}: the record could not be written: {error}", self.name);
        }
    }

    pub(super) fn finalize(&self, held: &Bitfield) -> Result<Finalized, FsError> {
        self.start_writeback();
        // A sync that waits for the disk stalls the loop, so write back first.
        self.queue.poll(&*self.file);
        if self.queue.bytes() > 0 {
            return Ok(Finalized::NotYet);
        }
        self.sync(held)?;
        if self.check_disturbed() {
            return Ok(Finalized::Disturbed);
        }
        let (part, resume) = names(&self.name);
        let our_stat = self.our_stat.get();
        let stands = self.fs.look(&part)? == DirEntryKind::File(self.size());
        if !stands
            || self.fs.stamp_at(&part)?.is_none_or(|there| {
                (there.device, there.inode) != (our_stat.device, our_stat.inode)
            })
        {
            // A link or another file has taken the place of the `.part`.
            return Err(FsError::NotOurs(part));
        }
        self.fs.rename_new(&part, &self.name)?;
        let _ = self.fs.remove(&resume);
        Ok(Finalized::Named)
    }
}

/// The error for a `.part` with pieces of another content, which is not discarded.
fn refuse_discard(part: &str, before: &DownloadIdentity, there: &Bitfield) -> Option<FsError> {
    let held: u64 = there.iter().map(|piece| piece_tree::bounds(before.size, piece).1).sum();
    (held > 0 || matches!(before.content, Content::Stream { .. })).then(|| FsError::OtherContent {
        part: part.to_owned(),
        root: before.root(),
        held,
    })
}

/// Doubted pieces that can be verified by a hash. Pieces of one source's version have the hashes
/// recorded on arrival; without a hash they are downloaded again.
fn verifiable(
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

/// Remove a resume file without a `.part`.
pub(super) fn remove_stale_record(fs: &dyn Filesystem, name: &str) {
    let (part, resume) = names(name);
    if matches!(fs.look(&part), Ok(DirEntryKind::Nothing))
        && ResumeFile::peek(fs, &resume).is_some()
    {
        let _ = fs.remove(&resume);
    }
}

/// Pieces of an earlier download that are valid for this one; `None` if it is another content.
fn matching_pieces(
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
            // The list verifies the pieces.
            let mut good = Bitfield::none(before.held.end());
            let value =
                |piece: u64| usize::try_from(piece).ok().and_then(|at| before.values.get(at));
            let is_right =
                |piece: &u64| value(*piece).is_some_and(|hash| Some(hash) == list.hash(*piece));
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

/// The hash list of a record, if matching the root.
fn list_of_record(values: &[PieceHash], about: &DownloadIdentity) -> Option<Rc<HashList>> {
    let Content::Root(root) = &about.content else { return None };
    HashList::new(about.size, values.to_vec()).filter(|list| list.root() == *root).map(Rc::new)
}

pub(super) fn discard(fs: &dyn Filesystem, name: &str) {
    let (part, resume) = names(name);
    // First the `.part`: without a record it could never be used nor replaced.
    let _ = fs.remove(&part);
    let _ = fs.remove(&resume);
}

/// Names of the `.part` and its resume file, beside the final name. Too long a name is shortened,
/// with a hash of the whole.
pub(super) fn names(name: &str) -> (String, String) {
    const ENDING: &str = ".part.record";
    // One byte is for a temporary name of the record.
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
    fn the_longest_names_have_a_part_and_a_record() {
        for name in ["a.mp4".to_owned(), "x".repeat(255), "é".repeat(127)] {
            let (part, resume) = names(&name);
            assert!(part.len() <= NAME_MAX && resume.len() <= NAME_MAX, "{part}");
        }
        assert_eq!(names("a.mp4"), ("a.mp4.part".to_owned(), "a.mp4.part.record".to_owned()));
        assert_eq!(
            names("A/01.mp3"),
            ("A/01.mp3.part".to_owned(), "A/01.mp3.part.record".to_owned())
        );
        assert_ne!(names(&"x".repeat(255)).0, names(&format!("{}y", "x".repeat(254))).0);
    }
}
