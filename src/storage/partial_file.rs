//! A verified download on a disk, from the first piece to the final name.
//!
//! ```text
//!              record, then .part           all pieces held            synced
//!   no file  ----------------------> writing ----------------> write-back -------> named
//!
//!   file of the same size ---------> compared ------------------------------------> same
//! ```
//!
//! The order of writes makes a crash safe. The record is on the disk before the `.part` exists: a
//! `.part` without a record is foreign, and never overwritten. A piece is verified, then written,
//! then its bit is set, so a killed process leaves only true bits. The synced bits are set after a
//! sync of the `.part`, so they survive a power cut. The final name is given only after every byte
//! is on the disk.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{SinkRef, SourceRef};
use crate::limits;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::ContentHash;
use crate::storage::Finalized;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::STDOUT_BYTES;
use crate::storage::fs_trait::{DirEntryKind, Filesystem, FsError, FsFile};
use crate::storage::piece_picker::{PiecePicker, SourceId};
use crate::storage::piece_tree::{self, HashList, PieceHash};
use crate::storage::recheck::{Recheck, RecheckStep};
use crate::storage::resume_file::{Content, DownloadIdentity, ResumeFile};
use crate::storage::shared_folder::DEBOUNCE;
use crate::storage::writeback::{Writeback, discard, names, remove_stale_record};

/// Pieces that may wait for a pipe, out of order.
const PIPE_WINDOW: u64 = 16;

/// A download in progress.
#[derive(Clone)]
pub struct PartialFile(Rc<Inner>);

struct Inner {
    size: u64,
    picker: RefCell<PiecePicker>,
    place: PartialTarget,
    trust: RefCell<Trust>,
    /// Progress of hashing the pieces of an earlier run.
    recheck: RefCell<Option<Recheck>>,
}

/// Verification of arriving pieces.
enum Trust {
    /// By the hash list of this root.
    List(ContentHash, Rc<HashList>),
    /// By a root whose hash list is missing; held pieces were verified in an earlier run.
    Again,
    /// Later: only their hashes are recorded.
    Later(Vec<PieceHash>),
}

enum PartialTarget {
    /// Into a `.part`, then to the final name.
    Disk(Box<Writeback>),
    /// A file of that name and size exists: compare.
    Compare(Rc<dyn FsFile>),
    /// Into a pipe, in order.
    Pipe { sink: SinkRef, next: Cell<u64>, waiting: RefCell<BTreeMap<u64, Vec<u8>>> },
}

/// Result of [`PartialFile::begin`].
pub enum PartialOpening {
    /// The download begins or continues.
    Part(PartialFile),
    /// A file of that name and size exists.
    Stands(Rc<dyn FsFile>),
}

/// Result of [`PartialFile::store`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// The piece is held. These sources were asked as well.
    Accepted(Vec<SourceId>),
    /// The piece was held already.
    Duplicate,
    /// The bytes contradict the hash list.
    HashMismatch,
}

/// Identity of an earlier download into `name`, if able to continue.
#[must_use]
pub fn recall(fs: &dyn Filesystem, name: &str) -> Option<DownloadIdentity> {
    let (part, resume) = names(name);
    let about = ResumeFile::peek(fs, &resume)?;
    // A `.part` with another size than the record is not usable.
    matches!(fs.look(&part), Ok(DirEntryKind::File(size)) if size == about.size).then_some(about)
}

impl PartialFile {
    /// Begin or continue a download into `name`. `list` verifies the pieces, if known. The picker
    /// starts at piece `cursor`.
    ///
    /// # Errors
    /// If the disk has no room, or another file is in the way.
    pub fn begin(
        fs: &Rc<dyn Filesystem>,
        name: &str,
        about: &DownloadIdentity,
        list: Option<Rc<HashList>>,
        cursor: u64,
    ) -> Result<PartialOpening, FsError> {
        match fs.look(name)? {
            DirEntryKind::File(size) if size == about.size => {
                remove_stale_record(&**fs, name);
                return Ok(PartialOpening::Stands(fs.read(name)?));
            }
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) | DirEntryKind::Other => return Err(FsError::Taken),
        }
        let (disk, held, values, refuse_discard) = Writeback::begin(fs, name, about, list)?;
        let trust = match (&about.content, refuse_discard) {
            (Content::Root(root), Some(list)) => Trust::List(*root, list),
            (Content::Root(_), None) => Trust::Again,
            (Content::Version { .. } | Content::Stream { .. }, _) => Trust::Later(values),
        };
        Ok(PartialOpening::Part(PartialFile::new(
            PiecePicker::new(about.size, held, cursor),
            PartialTarget::Disk(Box::new(disk)),
            trust,
        )))
    }

    /// Compare arriving bytes with an existing file.
    #[must_use]
    pub fn compare(file: Rc<dyn FsFile>, size: u64) -> PartialFile {
        PartialFile::new(empty_picker(size), PartialTarget::Compare(file), Trust::Later(Vec::new()))
    }

    /// Write to a pipe; such a download cannot continue later.
    #[must_use]
    pub fn pipe(
        sink: SinkRef,
        size: u64,
        trusted: Option<(ContentHash, Rc<HashList>)>,
    ) -> PartialFile {
        let mut picker = empty_picker(size);
        picker.go_in_order(PIPE_WINDOW);
        let trust = trusted
            .map_or_else(|| Trust::Later(Vec::new()), |(root, list)| Trust::List(root, list));
        PartialFile::new(
            picker,
            PartialTarget::Pipe {
                sink,
                next: Cell::new(0),
                waiting: RefCell::new(BTreeMap::new()),
            },
            trust,
        )
    }

    fn new(picker: PiecePicker, place: PartialTarget, trust: Trust) -> PartialFile {
        let size = picker.size();
        PartialFile(Rc::new(Inner {
            size,
            picker: RefCell::new(picker),
            place,
            trust: RefCell::new(trust),
            recheck: RefCell::new(None),
        }))
    }

    /// Pieces held, requested and missing.
    #[must_use]
    pub fn picker(&self) -> RefMut<'_, PiecePicker> {
        self.0.picker.borrow_mut()
    }

    /// Size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// Bytes held.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.picker.borrow().held_bytes()
    }

    /// True if every piece is held.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.picker.borrow().is_whole()
    }

    /// Root and hash list that verify the pieces.
    #[must_use]
    pub fn trusted(&self) -> Option<(ContentHash, Rc<HashList>)> {
        match &*self.0.trust.borrow() {
            Trust::List(root, list) => Some((*root, Rc::clone(list))),
            Trust::Again | Trust::Later(_) => None,
        }
    }

    /// True if the root is known and the hash list is missing.
    #[must_use]
    pub fn awaits_list(&self) -> bool {
        matches!(*self.0.trust.borrow(), Trust::Again)
    }

    /// Root of all pieces, if each was hashed on arrival.
    #[must_use]
    pub fn computed_root(&self) -> Option<ContentHash> {
        match &*self.0.trust.borrow() {
            Trust::List(root, _) => Some(*root),
            Trust::Again => None,
            Trust::Later(values) => {
                let all = values.iter().all(|value| *value != [0; 32]) && self.is_whole();
                HashList::new(self.0.size, values.clone()).filter(|_| all).map(|list| list.root())
            }
        }
    }

    /// Hash of a held piece that is not verified yet.
    #[must_use]
    pub fn unverified_hash(&self, piece: u64) -> Option<PieceHash> {
        match &*self.0.trust.borrow() {
            // Zero stands for a piece without a hash.
            Trust::Later(values) if self.0.picker.borrow().held().has(piece) => {
                values.get(usize::try_from(piece).ok()?).copied().filter(|value| *value != [0; 32])
            }
            _ => None,
        }
    }

    /// Verify pieces by this list from now on. Drops held pieces that are wrong, and returns their
    /// number.
    pub fn verify_by(&self, root: ContentHash, list: Rc<HashList>) -> usize {
        let wrong: Vec<u64> = match self.0.trust.replace(Trust::List(root, Rc::clone(&list))) {
            Trust::Later(values) => {
                let is_right = |piece: &u64| {
                    usize::try_from(*piece).ok().and_then(|at| values.get(at)) == list.hash(*piece)
                };
                self.0.picker.borrow().held().iter().filter(|piece| !is_right(piece)).collect()
            }
            // These pieces were verified by this root already.
            Trust::List(..) | Trust::Again => Vec::new(),
        };
        for piece in &wrong {
            self.0.picker.borrow_mut().lose(*piece);
        }
        if let PartialTarget::Disk(disk) = &self.0.place {
            let forgotten =
                if wrong.is_empty() { Ok(()) } else { disk.lose(self.0.picker.borrow().held()) };
            // Write the list only if the bits were written, so that the record never combines old
            // bits with a new content.
            disk.log_failure(
                forgotten.and_then(|()| disk.record.borrow_mut().keep_list(root, &list)),
            );
            disk.seal(self.0.picker.borrow().held());
        }
        wrong.len()
    }

    /// True if pieces must be hashed first, and can be.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        !self.awaits_list()
            && matches!(&self.0.place, PartialTarget::Disk(disk) if disk.is_doubted())
    }

    /// Stat the `.part`; true if another process has changed it since it was begun or hashed.
    #[must_use]
    pub fn check_disturbed(&self) -> bool {
        matches!(&self.0.place, PartialTarget::Disk(disk) if disk.check_disturbed())
    }

    /// Hash all held pieces before any counts.
    ///
    /// # Errors
    /// If the disk fails.
    pub fn doubt(&self) -> Result<(), FsError> {
        let PartialTarget::Disk(disk) = &self.0.place else { return Ok(()) };
        let held = self.0.picker.borrow().held().clone();
        disk.doubt(&held)?;
        held.iter().for_each(|piece| self.0.picker.borrow_mut().lose(piece));
        Ok(())
    }

    /// Hash a doubted piece. Returns the time to continue; `None` once all are hashed.
    pub fn recheck(&self, now: Instant) -> Option<Instant> {
        let PartialTarget::Disk(disk) = &self.0.place else { return None };
        let mut recheck = self.0.recheck.borrow_mut();
        let step = recheck
            .get_or_insert_with(|| Recheck::new(self.0.size, disk.doubted()))
            .step(&*disk.file, now);
        match step {
            RecheckStep::Rest(until) => return Some(until),
            RecheckStep::Piece(piece, value) => {
                if value.is_some_and(|value| self.is_value(piece, &value)) {
                    self.0.picker.borrow_mut().hold(piece);
                }
                return Some(now);
            }
            RecheckStep::Done => *recheck = None,
        }
        let mut picker = self.0.picker.borrow_mut();
        if disk.check_disturbed() {
            // The `.part` was changed during the read.
            let held = picker.held().clone();
            if disk.doubt(&held).is_ok() {
                held.iter().for_each(|piece| picker.lose(piece));
                return Some(now + DEBOUNCE);
            }
        }
        disk.accept_rechecked(picker.held());
        None
    }

    /// True if a piece must have this hash, or had it on arrival.
    fn is_value(&self, piece: u64, value: &PieceHash) -> bool {
        match &*self.0.trust.borrow() {
            Trust::List(_, list) => list.hash(piece) == Some(value),
            Trust::Later(values) => {
                usize::try_from(piece).ok().and_then(|at| values.get(at)) == Some(value)
            }
            Trust::Again => false,
        }
    }

    /// Bytes accepted now; 0 while the disk is behind.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.room(),
            // The window of the picker bounds early pieces.
            PartialTarget::Compare(_) | PartialTarget::Pipe { .. } => usize::MAX,
        }
    }

    /// True while the next piece of a pipe is held and the reader accepts nothing.
    #[must_use]
    pub fn waits_for_reader(&self) -> bool {
        matches!(&self.0.place, PartialTarget::Pipe { next, waiting, .. } if waiting.borrow().contains_key(&next.get()))
    }

    /// Verify a complete piece with the hash, if known, and store.
    ///
    /// # Errors
    /// If the disk fails, or an existing file differs.
    pub fn store(
        &self,
        source: SourceId,
        piece: u64,
        value: Option<PieceHash>,
        bytes: &[u8],
        now: Instant,
    ) -> Result<Stored, FsError> {
        if self.0.picker.borrow().held().has(piece) {
            self.0.picker.borrow_mut().arrived(source, piece, now);
            return Ok(Stored::Duplicate);
        }
        let good = match &*self.0.trust.borrow() {
            Trust::List(_, list) => value.as_ref() == list.hash(piece),
            // No piece is requested before the list is known.
            Trust::Again => false,
            Trust::Later(_) => true,
        };
        if !good {
            self.0.picker.borrow_mut().failed(source, piece);
            return Ok(Stored::HashMismatch);
        }
        if let Err(error) = self.keep(piece, bytes) {
            self.0.picker.borrow_mut().cancel(source, piece);
            return Err(error);
        }
        let others = self.0.picker.borrow_mut().arrived(source, piece, now);
        debug_assert!(others.is_some(), "the piece was not held");
        let unjudged = self.remember(piece, value);
        if let PartialTarget::Disk(disk) = &self.0.place {
            disk.held(self.0.picker.borrow().held(), piece, unjudged.as_ref())?;
        }
        Ok(Stored::Accepted(others.unwrap_or_default()))
    }

    /// Record the hash of a piece that cannot be verified yet.
    fn remember(&self, piece: u64, value: Option<PieceHash>) -> Option<PieceHash> {
        let mut trust = self.0.trust.borrow_mut();
        let Trust::Later(values) = &mut *trust else { return None };
        let at = usize::try_from(piece).ok()?;
        if values.len() <= at {
            values.resize(at + 1, [0; 32]);
        }
        values[at] = value?;
        value
    }

    fn keep(&self, piece: u64, bytes: &[u8]) -> Result<(), FsError> {
        let (start, length) = piece_tree::bounds(self.0.size, piece);
        debug_assert_eq!(length, bytes.len() as u64, "only a whole piece is stored");
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.write(start, bytes),
            PartialTarget::Compare(file) => {
                let mut our_stat = vec![0; bytes.len()];
                let count = file.read_at(start, &mut our_stat)?;
                if our_stat[..count] == *bytes { Ok(()) } else { Err(FsError::Taken) }
            }
            PartialTarget::Pipe { waiting, .. } => {
                waiting.borrow_mut().insert(piece, bytes.to_vec());
                self.flush_pipe()
            }
        }
    }

    /// Write held pieces to the pipe, as far as the reader accepts.
    ///
    /// # Errors
    /// If the reader has closed the pipe.
    pub fn flush_pipe(&self) -> Result<(), FsError> {
        let PartialTarget::Pipe { sink, next, waiting } = &self.0.place else { return Ok(()) };
        let mut waiting = waiting.borrow_mut();
        while let Some(bytes) = waiting.get(&next.get()) {
            if sink.room() < bytes.len() {
                return Ok(());
            }
            sink.put(piece_tree::bounds(self.0.size, next.get()).0, bytes)?;
            waiting.remove(&next.get());
            next.set(next.get() + 1);
            self.0.picker.borrow_mut().taken_up_to(next.get());
        }
        Ok(())
    }

    /// End a complete download. Does not wait: call again after [`Finalized::NotYet`].
    ///
    /// # Errors
    /// If the disk fails, or another file has taken the name.
    pub fn finalize(&self) -> Result<Finalized, FsError> {
        match &self.0.place {
            PartialTarget::Compare(_) => Ok(Finalized::Same),
            PartialTarget::Disk(disk) => disk.finalize(self.0.picker.borrow().held()),
            PartialTarget::Pipe { sink, waiting, .. } => {
                self.flush_pipe()?;
                let done = waiting.borrow().is_empty() && sink.room() == STDOUT_BYTES;
                // The last chance to see a failure of the pipe.
                sink.put(self.0.size, &[])?;
                Ok(if done { Finalized::Named } else { Finalized::NotYet })
            }
        }
    }

    /// True if the download can start again; bytes in a pipe cannot be taken back.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.0.place, PartialTarget::Pipe { .. }) || self.held() == 0
    }

    /// True if this compares with an existing file.
    #[must_use]
    pub fn compares(&self) -> bool {
        matches!(self.0.place, PartialTarget::Compare(_))
    }

    /// True if other peers can download the pieces: verified, and on a disk.
    #[must_use]
    pub fn can_upload(&self) -> bool {
        matches!(self.0.place, PartialTarget::Disk(_))
            && matches!(*self.0.trust.borrow(), Trust::List(..))
    }

    /// True if every byte of `range` is held.
    #[must_use]
    pub fn holds(&self, range: ByteRange) -> bool {
        let picker = self.0.picker.borrow();
        let last = range.end().saturating_sub(1).max(range.start());
        (range.start() / limits::PIECE_BYTES..=last / limits::PIECE_BYTES)
            .all(|piece| picker.held().has(piece))
    }

    /// Bytes held from the start of `range` on, without a gap.
    #[must_use]
    pub fn front(&self, range: ByteRange) -> u64 {
        let picker = self.0.picker.borrow();
        let mut end = range.start();
        while end < range.end() && picker.held().has(end / limits::PIECE_BYTES) {
            end = (end / limits::PIECE_BYTES + 1) * limits::PIECE_BYTES;
        }
        end.min(range.end()) - range.start()
    }

    /// True if both are the same download.
    #[must_use]
    pub fn is(&self, other: &PartialFile) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The `.part` as a source for uploads, of held ranges only.
    ///
    /// # Errors
    /// If there is no `.part`.
    pub fn source(&self) -> std::io::Result<SourceRef> {
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.fs.open_part(&names(&disk.name).0),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// Remove the `.part` and the resume file.
    pub fn discard(&self) {
        if let PartialTarget::Disk(disk) = &self.0.place {
            discard(&*disk.fs, &disk.name);
        }
    }
}

fn empty_picker(size: u64) -> PiecePicker {
    PiecePicker::new(size, Bitfield::none(piece_tree::pieces(size)), 0)
}
