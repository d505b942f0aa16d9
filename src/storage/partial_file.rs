//! The file of a verified download, from its first piece to its name.
//!
//! ```text
//!                 record, then .part          all pieces held     disk has them
//!   nothing  ----------------------> Writing ---------------> Settling --------> named, record gone
//!      |     same size stands there
//!      '----------------------------> compared ---------------------------------> it was there already
//! ```
//!
//! The order of writes keeps its promises. The record is on the disk before there is a `.part`: one without a record is never ours, so nothing of
//! somebody else's is overwritten. A piece is checked, then written, then its bit is set: a killed process finds what it may trust. The `.part` is synced, then
//! the bits that say so are set: so does one that lost its power. The final name is given only after every byte is on the disk.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{SinkRef, SourceRef};
use crate::limits;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::ContentHash;
use crate::storage::bitfield::Bitfield;
use crate::storage::fs_trait::STDOUT_BYTES;
use crate::storage::fs_trait::{DirEntryKind, Filesystem, FsError, FsFile};
use crate::storage::piece_buffer::PieceBuffer;
use crate::storage::piece_picker::{PiecePicker, SourceId};
use crate::storage::piece_tree::{self, HashList, PieceHash};
use crate::storage::recheck::{Recheck, RecheckStep};
use crate::storage::resume_file::{Content, DownloadIdentity, ResumeFile};
use crate::storage::shared_folder::DEBOUNCE;
use crate::storage::writeback::{Writeback, discard, names, sweep};

/// Pieces that go into a pipe and have come before those in front of them.
const PIPE_WINDOW: u64 = 16;

/// A download on its disk.
#[derive(Clone)]
pub struct PartialFile(Rc<Inner>);

struct Inner {
    size: u64,
    picker: RefCell<PiecePicker>,
    place: PartialTarget,
    trust: RefCell<Trust>,
    /// The pieces of an earlier run that are being hashed.
    recheck: RefCell<Option<Recheck>>,
}

/// By what an arriving piece is judged.
enum Trust {
    /// By the list of pieces that leads to this root.
    List(ContentHash, Rc<HashList>),
    /// By a root whose list is not here: what is held was judged in an earlier run.
    Again,
    /// By nothing yet: what each piece is is remembered, to be judged later.
    Later(Vec<PieceHash>),
}

enum PartialTarget {
    /// Into a `.part`, then to its name.
    Disk(Box<Writeback>),
    /// A file of that name and size is there: are they the same?
    Compare(Rc<dyn FsFile>),
    /// Into a pipe, in order.
    Pipe { sink: SinkRef, next: Cell<u64>, waiting: RefCell<BTreeMap<u64, Vec<u8>>> },
}

/// What became of the wish to begin.
pub enum PartialOpening {
    /// It can.
    Part(PartialFile),
    /// A file of that name and size is there.
    Stands(Rc<dyn FsFile>),
}

/// What became of a piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// It is held. These were asked for it as well.
    Accepted(Vec<SourceId>),
    /// It was held already.
    Duplicate,
    /// Its bytes are not the ones that the list promises.
    HashMismatch,
}

/// How far the end of a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalized {
    /// The disk still writes; ask again.
    NotYet,
    /// Somebody else has written the `.part`: see [`PartialFile::doubt`].
    Disturbed,
    /// The file has its name.
    Named,
    /// It was there already, byte for byte.
    Same,
}

/// What an earlier download into `name` was a download of.
#[must_use]
pub fn recall(drive: &dyn Filesystem, name: &str) -> Option<DownloadIdentity> {
    let (part, note) = names(name);
    let about = ResumeFile::peek(drive, &note)?;
    // What has another size than its record says is no word to go by.
    matches!(drive.look(&part), Ok(DirEntryKind::File(size)) if size == about.size).then_some(about)
}

/// A file stands under its final name: the record of its download is of no use any more.
pub fn clean_up(drive: &dyn Filesystem, name: &str) {
    sweep(drive, name);
}

impl PartialFile {
    /// Begins a download into `name`, or goes on with the one that is there where its bytes fit. `list`: what the pieces must be, where that is known.
    /// What is missing is looked for from piece `cursor` on.
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn begin(
        drive: &Rc<dyn Filesystem>,
        name: &str,
        about: &DownloadIdentity,
        list: Option<Rc<HashList>>,
        cursor: u64,
    ) -> Result<PartialOpening, FsError> {
        match drive.look(name)? {
            DirEntryKind::File(size) if size == about.size => {
                sweep(&**drive, name);
                return Ok(PartialOpening::Stands(drive.read(name)?));
            }
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) | DirEntryKind::Other => return Err(FsError::Taken),
        }
        let (disk, held, values, kept) = Writeback::begin(drive, name, about, list)?;
        let trust = match (&about.content, kept) {
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

    /// Compares what comes with a file that is there.
    #[must_use]
    pub fn compare(file: Rc<dyn FsFile>, size: u64) -> PartialFile {
        PartialFile::new(fresh_plan(size), PartialTarget::Compare(file), Trust::Later(Vec::new()))
    }

    /// A download that goes into a pipe: it can't be taken up later.
    #[must_use]
    pub fn pipe(
        sink: SinkRef,
        size: u64,
        trusted: Option<(ContentHash, Rc<HashList>)>,
    ) -> PartialFile {
        let mut plan = fresh_plan(size);
        plan.go_in_order(PIPE_WINDOW);
        let trust = trusted
            .map_or_else(|| Trust::Later(Vec::new()), |(root, list)| Trust::List(root, list));
        PartialFile::new(
            plan,
            PartialTarget::Pipe {
                sink,
                next: Cell::new(0),
                waiting: RefCell::new(BTreeMap::new()),
            },
            trust,
        )
    }

    fn new(plan: PiecePicker, place: PartialTarget, trust: Trust) -> PartialFile {
        let size = plan.size();
        PartialFile(Rc::new(Inner {
            size,
            picker: RefCell::new(plan),
            place,
            trust: RefCell::new(trust),
            recheck: RefCell::new(None),
        }))
    }

    /// Which pieces are held, asked for and missing.
    #[must_use]
    pub fn picker(&self) -> RefMut<'_, PiecePicker> {
        self.0.picker.borrow_mut()
    }

    /// The size of the file.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.picker.borrow().held_bytes()
    }

    /// True when all bytes are there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.picker.borrow().is_whole()
    }

    /// The root that its pieces are judged by, and the list that leads to it.
    #[must_use]
    pub fn trusted(&self) -> Option<(ContentHash, Rc<HashList>)> {
        match &*self.0.trust.borrow() {
            Trust::List(root, list) => Some((*root, Rc::clone(list))),
            Trust::Again | Trust::Later(_) => None,
        }
    }

    /// True when its root is known and the list of its pieces is not here.
    #[must_use]
    pub fn awaits_list(&self) -> bool {
        matches!(*self.0.trust.borrow(), Trust::Again)
    }

    /// The root that all its pieces lead to, where each was hashed as it came.
    #[must_use]
    pub fn own_root(&self) -> Option<ContentHash> {
        match &*self.0.trust.borrow() {
            Trust::List(root, _) => Some(*root),
            Trust::Again => None,
            Trust::Later(values) => {
                let all = values.iter().all(|value| *value != [0; 32]) && self.is_whole();
                HashList::new(self.0.size, values.clone()).filter(|_| all).map(|list| list.root())
            }
        }
    }

    /// What a piece that is held is, where nobody has judged it yet.
    #[must_use]
    pub fn unjudged(&self, piece: u64) -> Option<PieceHash> {
        match &*self.0.trust.borrow() {
            // A piece that nobody hashed has no value.
            Trust::Later(values) if self.0.picker.borrow().held().has(piece) => {
                values.get(usize::try_from(piece).ok()?).copied().filter(|value| *value != [0; 32])
            }
            _ => None,
        }
    }

    /// From now on pieces are judged by this list; those that are held and wrong are missing again, and how many they were is returned.
    pub fn judge_by(&self, root: ContentHash, list: Rc<HashList>) -> usize {
        let wrong: Vec<u64> = match self.0.trust.replace(Trust::List(root, Rc::clone(&list))) {
            Trust::Later(values) => {
                let is_right = |piece: &u64| {
                    usize::try_from(*piece).ok().and_then(|at| values.get(at)) == list.value(*piece)
                };
                self.0.picker.borrow().held().iter().filter(|piece| !is_right(piece)).collect()
            }
            // They were judged by this root already.
            Trust::List(..) | Trust::Again => Vec::new(),
        };
        for piece in &wrong {
            self.0.picker.borrow_mut().lose(*piece);
        }
        if let PartialTarget::Disk(disk) = &self.0.place {
            let forgotten =
                if wrong.is_empty() { Ok(()) } else { disk.lose(self.0.picker.borrow().held()) };
            // What the record says of the content follows what it says of the pieces, or is not said.
            disk.noted(forgotten.and_then(|()| disk.record.borrow_mut().keep_list(root, &list)));
            disk.seal(self.0.picker.borrow().held());
        }
        wrong.len()
    }

    /// True while pieces of an earlier run have to be hashed before they count, and there is something to judge them by.
    #[must_use]
    pub fn is_doubted(&self) -> bool {
        !self.awaits_list()
            && matches!(&self.0.place, PartialTarget::Disk(disk) if disk.is_doubted())
    }

    /// True when somebody else has written the `.part` since this download began or was hashed.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        matches!(&self.0.place, PartialTarget::Disk(disk) if disk.is_disturbed())
    }

    /// Nothing of what is held counts before it was hashed once more.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn doubt(&self) -> Result<(), FsError> {
        let PartialTarget::Disk(disk) = &self.0.place else { return Ok(()) };
        let held = self.0.picker.borrow().held().clone();
        disk.doubt(&held)?;
        held.iter().for_each(|piece| self.0.picker.borrow_mut().lose(piece));
        Ok(())
    }

    /// Hashes one of the pieces that are doubted. When to go on; `None`: all were hashed, and [`PartialFile::held`] counts those that are right.
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
        let mut plan = self.0.picker.borrow_mut();
        if disk.is_disturbed() {
            // It was written while it was read.
            let held = plan.held().clone();
            if disk.doubt(&held).is_ok() {
                held.iter().for_each(|piece| plan.lose(piece));
                return Some(now + DEBOUNCE);
            }
        }
        disk.believe(plan.held());
        None
    }

    /// True when a piece must have this value, or had it when it came.
    fn is_value(&self, piece: u64, value: &PieceHash) -> bool {
        match &*self.0.trust.borrow() {
            Trust::List(_, list) => list.value(piece) == Some(value),
            Trust::Later(values) => {
                usize::try_from(piece).ok().and_then(|at| values.get(at)) == Some(value)
            }
            Trust::Again => false,
        }
    }

    /// How many bytes it takes now: none while the disk has to catch up.
    #[must_use]
    pub fn room(&self) -> usize {
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.room(),
            // What comes too early is bounded by the plan's window, which moves as the reader reads.
            PartialTarget::Compare(_) | PartialTarget::Pipe { .. } => usize::MAX,
        }
    }

    /// True while the next piece of a stream is here and its reader takes nothing.
    #[must_use]
    pub fn waits_for_reader(&self) -> bool {
        matches!(&self.0.place, PartialTarget::Pipe { next, waiting, .. } if waiting.borrow().contains_key(&next.get()))
    }

    /// Judges a piece that is whole, and keeps it.
    ///
    /// # Errors
    /// When the disk fails, or another file turns out to have the name.
    pub fn store(
        &self,
        giver: SourceId,
        arrival: &PieceBuffer,
        now: Instant,
    ) -> Result<Stored, FsError> {
        let piece = arrival.piece();
        if self.0.picker.borrow().held().has(piece) {
            self.0.picker.borrow_mut().arrived(giver, piece, now);
            return Ok(Stored::Duplicate);
        }
        let value = arrival.value();
        let good = match &*self.0.trust.borrow() {
            Trust::List(_, list) => value.as_ref() == list.value(piece),
            // Nobody asks for pieces of a root before its list is here.
            Trust::Again => false,
            Trust::Later(_) => true,
        };
        if !good {
            self.0.picker.borrow_mut().failed(giver, piece);
            return Ok(Stored::HashMismatch);
        }
        if let Err(error) = arrival.with(|bytes| self.keep(arrival, bytes)) {
            self.0.picker.borrow_mut().take_off(giver, piece);
            return Err(error);
        }
        let others = self.0.picker.borrow_mut().arrived(giver, piece, now).unwrap_or_default();
        let unjudged = self.remember(piece, value);
        if let PartialTarget::Disk(disk) = &self.0.place {
            disk.held(self.0.picker.borrow().held(), piece, unjudged.as_ref())?;
        }
        Ok(Stored::Accepted(others))
    }

    /// Remembers what a piece is that nobody can judge yet.
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

    fn keep(&self, arrival: &PieceBuffer, bytes: &[u8]) -> Result<(), FsError> {
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.write(arrival.start(), bytes),
            PartialTarget::Compare(file) => {
                let mut ours = vec![0; bytes.len()];
                let count = file.read_at(arrival.start(), &mut ours)?;
                if ours[..count] == *bytes { Ok(()) } else { Err(FsError::Taken) }
            }
            PartialTarget::Pipe { waiting, .. } => {
                waiting.borrow_mut().insert(arrival.piece(), bytes.to_vec());
                self.pour()
            }
        }
    }

    /// Hands a pipe what waits for it, as far as its reader reads.
    ///
    /// # Errors
    /// When the reader is gone.
    pub fn pour(&self) -> Result<(), FsError> {
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

    /// Ends a download whose bytes are all there. Never waits long: [`Finalized::NotYet`] means to ask again soon.
    ///
    /// # Errors
    /// When the disk fails, or another file took the name meanwhile.
    pub fn finalize(&self) -> Result<Finalized, FsError> {
        match &self.0.place {
            PartialTarget::Compare(_) => Ok(Finalized::Same),
            PartialTarget::Disk(disk) => disk.finalize(self.0.picker.borrow().held()),
            PartialTarget::Pipe { sink, waiting, .. } => {
                self.pour()?;
                let done = waiting.borrow().is_empty() && sink.room() == STDOUT_BYTES;
                // A failure with the last bytes shows now or never.
                sink.put(self.0.size, &[])?;
                Ok(if done { Finalized::Named } else { Finalized::NotYet })
            }
        }
    }

    /// True when it can begin anew: what went into a pipe can't be taken back.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.0.place, PartialTarget::Pipe { .. }) || self.held() == 0
    }

    /// True when it compares with a file that is there.
    #[must_use]
    pub fn compares(&self) -> bool {
        matches!(self.0.place, PartialTarget::Compare(_))
    }

    /// True when its pieces can be given to others: they are on a disk, and judged.
    #[must_use]
    pub fn can_give(&self) -> bool {
        matches!(self.0.place, PartialTarget::Disk(_))
            && matches!(*self.0.trust.borrow(), Trust::List(..))
    }

    /// True when every byte of `range` is held.
    #[must_use]
    pub fn holds(&self, range: ByteRange) -> bool {
        let plan = self.0.picker.borrow();
        let last = range.end().saturating_sub(1).max(range.start());
        (range.start() / limits::PIECE_BYTES..=last / limits::PIECE_BYTES)
            .all(|piece| plan.held().has(piece))
    }

    /// How many bytes from the front of `range` are held without a gap.
    #[must_use]
    pub fn front(&self, range: ByteRange) -> u64 {
        let plan = self.0.picker.borrow();
        let mut end = range.start();
        while end < range.end() && plan.held().has(end / limits::PIECE_BYTES) {
            end = (end / limits::PIECE_BYTES + 1) * limits::PIECE_BYTES;
        }
        end.min(range.end()) - range.start()
    }

    /// True when both are the same download.
    #[must_use]
    pub fn is(&self, other: &PartialFile) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }

    /// The `.part` as a source for others; who asks it must know what is held.
    ///
    /// # Errors
    /// When it is no file on a disk.
    pub fn source(&self) -> std::io::Result<SourceRef> {
        match &self.0.place {
            PartialTarget::Disk(disk) => disk.fs.open_part(&names(&disk.name).0),
            _ => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// Leaves nothing behind: the file at its source is another one now.
    pub fn discard(&self) {
        if let PartialTarget::Disk(disk) = &self.0.place {
            discard(&*disk.fs, &disk.name);
        }
    }
}

fn fresh_plan(size: u64) -> PiecePicker {
    PiecePicker::new(size, Bitfield::none(piece_tree::pieces(size)), 0)
}
