//! A download that arrives as one stream: no range can be requested, and nothing verifies its bytes.
//!
//! ```text
//!                 record, then .part         first difference            the stream has ended     disk has it
//!   nothing  ----------------------> Writing <--------------- Comparing ------------------> Settling --> named, record gone
//!   a .part of an earlier stream -----------------------------^
//!   a file under that name ---------> compared to its end ----------------------------------------------> it was there already
//! ```
//!
//! What an earlier stream left behind is read back and compared with what comes, and written over from the first difference on: so it never matters
//! which of its bytes a killed process or a power cut has left. The rest is as in [`part`](crate::storage::partial_file): a `.part` without a record is never
//! ours, and the final name is given only after every byte is on the disk.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::io::traits::{Sink, SinkRef, SourceRef};
use crate::limits;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::STDOUT_BYTES;
use crate::storage::fs_trait::{DirEntryKind, Filesystem, FsError, FsFile};
use crate::storage::hasher::HASH_READ_BYTES;
use crate::storage::partial_file::Finalized;
use crate::storage::resume_file::{Content, DownloadIdentity, ResumeFile};
use crate::storage::writeback::DIRTY_BYTES;
use crate::storage::writeback::WRITEBACK_BYTES;
use crate::storage::writeback::{discard, names};

/// Looks at a cold file before it is waited for: they come [`SINK_RETRY`](limits::SINK_RETRY) apart.
const COLD_LOOKS: u128 = limits::COLD_TIMEOUT.as_millis() / limits::SINK_RETRY.as_millis();

/// A stream on its way to its place.
pub struct SequentialFile {
    place: SequentialTarget,
    size: Cell<Option<u64>>,
    /// How many bytes have come.
    have: Cell<u64>,
    /// What comes is compared with what is there.
    compares: Cell<bool>,
    /// What is there from the next byte on, as far as it was read.
    ours: RefCell<Vec<u8>>,
    /// How much of its front was compared already.
    compared: Cell<usize>,
    /// How often in a row the disk did not have it at hand.
    cold: Cell<u128>,
    /// What the disk was asked to write ends here.
    nudged: Cell<u64>,
    /// What it may still be writing, oldest first.
    writing: RefCell<VecDeque<ByteRange>>,
    /// How many bytes that is.
    dirty: Cell<u64>,
    /// Nothing was taken when that was last asked.
    full: Cell<bool>,
    failure: RefCell<Option<FsError>>,
}

enum SequentialTarget {
    /// Into a `.part`, then to this name.
    Disk { drive: Rc<dyn Filesystem>, file: Rc<dyn FsFile>, name: String },
    /// A file of that name is there: are they the same?
    Compare(Rc<dyn FsFile>),
    /// Into a pipe.
    Pipe(SinkRef),
}

impl SequentialFile {
    /// Into `name`, from somebody who says that it has `size` bytes, or says nothing of that; `found_as` is what it was searched by.
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn begin(
        drive: &Rc<dyn Filesystem>,
        name: &str,
        found_as: &RelativeName,
        from: SocketAddr,
        size: Option<u64>,
    ) -> Result<SequentialFile, FsError> {
        match drive.look(name)? {
            DirEntryKind::File(there) if size.is_none_or(|size| size == there) => {
                return Ok(SequentialFile::new(
                    SequentialTarget::Compare(drive.read(name)?),
                    size,
                    true,
                ));
            }
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) | DirEntryKind::Other => return Err(FsError::Taken),
        }
        let (part, note) = names(name);
        let new = |file, compares| {
            SequentialFile::new(
                SequentialTarget::Disk { drive: Rc::clone(drive), file, name: name.to_owned() },
                size,
                compares,
            )
        };
        match drive.look(&part)? {
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) => {
                let file = drive.write(&part, false)?;
                // Looked into under the lock: until then another process could still change it.
                let Some(about) = ResumeFile::peek(&**drive, &note) else {
                    return Err(FsError::NotOurs(part));
                };
                if matches!(about.content, Content::Stream { .. }) {
                    if let Some(size) = size {
                        file.allocate(size)?;
                    }
                    return Ok(new(file, true));
                }
                // It came in pieces, in any order, and is not thrown away unasked.
                let held = file.stamp()?.size;
                if held > 0 {
                    return Err(FsError::OtherContent { part, root: about.root(), held });
                }
                drop(file);
                discard(&**drive, name);
            }
            DirEntryKind::Other => return Err(FsError::NotOurs(part)),
        }
        let about = DownloadIdentity {
            name: found_as.clone(),
            size: size.unwrap_or(0),
            content: Content::Stream { from },
        };
        ResumeFile::leave(&**drive, &note, &about)?;
        let file = drive.write(&part, true)?;
        if let Err(error) = file.allocate(size.unwrap_or(0)) {
            discard(&**drive, name);
            return Err(error.into());
        }
        Ok(new(file, false))
    }

    /// Into a pipe: what has gone can't be taken back.
    #[must_use]
    pub fn pipe(sink: SinkRef, size: Option<u64>) -> SequentialFile {
        SequentialFile::new(SequentialTarget::Pipe(sink), size, false)
    }

    fn new(place: SequentialTarget, size: Option<u64>, compares: bool) -> SequentialFile {
        SequentialFile {
            place,
            size: Cell::new(size),
            have: Cell::new(0),
            compares: Cell::new(compares),
            ours: RefCell::default(),
            compared: Cell::new(0),
            cold: Cell::new(0),
            nudged: Cell::new(0),
            writing: RefCell::default(),
            dirty: Cell::new(0),
            full: Cell::new(false),
            failure: RefCell::new(None),
        }
    }

    /// True when it can come once more from its first byte on.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.place, SequentialTarget::Pipe(_)) || self.have.get() == 0
    }

    /// It comes once more, from its first byte on.
    ///
    /// # Errors
    /// When it is of another size now, and the disk has no room for that, or it can't be the file that is there.
    pub fn restart(&self, size: Option<u64>) -> Result<(), FsError> {
        if let (SequentialTarget::Disk { file, .. }, Some(size)) = (&self.place, size) {
            file.allocate(size)?;
        }
        if let (SequentialTarget::Compare(file), Some(size)) = (&self.place, size)
            && file.stamp()?.size != size
        {
            return Err(FsError::Taken);
        }
        self.size.set(size);
        self.have.set(0);
        self.forget();
        self.compares.set(!matches!(self.place, SequentialTarget::Pipe(_)));
        self.nudged.set(0);
        self.cold.set(0);
        self.full.set(false);
        Ok(())
    }

    /// What has come, as a source for those who watch it: none but the bytes that [`SequentialFile::have`] counts are good.
    ///
    /// # Errors
    /// When it goes into no file of its own.
    pub fn source(&self) -> io::Result<SourceRef> {
        match &self.place {
            SequentialTarget::Disk { drive, name, .. } => drive.open_part(&names(name).0),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// How many bytes have come.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have.get()
    }

    /// How many there will be, where that was said.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size.get()
    }

    /// True while nothing is taken, so that it means nothing when nothing comes.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// What went wrong on our side.
    #[must_use]
    pub fn failure(&self) -> Option<FsError> {
        self.failure.borrow().clone()
    }

    /// Forgets what the disk has written, from the oldest on.
    fn check_writeback(&self, file: &dyn FsFile) {
        let mut writing = self.writing.borrow_mut();
        while let Some(range) = writing.front()
            && file.dirty(*range) == 0
        {
            self.dirty.set(self.dirty.get() - range.length());
            writing.pop_front();
        }
    }

    /// Asks the disk to write all that it was not asked to write yet.
    fn start_writeback(&self, file: &dyn FsFile) {
        let from = self.nudged.replace(self.have.get());
        if let Some(range) =
            ByteRange::new(from, self.have.get() - from).filter(|range| !range.is_empty())
        {
            file.start_writeback(range);
            self.dirty.set(self.dirty.get() + range.length());
            self.writing.borrow_mut().push_back(range);
        }
    }

    /// Sees to it that something of what is there from the next byte on is read. False when the disk would have to be waited for.
    fn look(&self, file: &dyn FsFile, wait: bool) -> Result<bool, FsError> {
        let mut ours = self.ours.borrow_mut();
        if self.compared.get() < ours.len() {
            return Ok(true);
        }
        ours.resize(HASH_READ_BYTES, 0);
        let looked = if wait {
            file.read_at(self.have.get(), &mut ours)
        } else {
            file.read_warm(self.have.get(), &mut ours)
        };
        self.compared.set(0);
        ours.truncate(*looked.as_ref().unwrap_or(&0));
        match looked {
            Ok(_) => {
                self.cold.set(0);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.cold.set(self.cold.get() + 1);
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Compares the front of `bytes` with what is there; what is left of them is new.
    fn compare<'a>(&self, file: &dyn FsFile, mut bytes: &'a [u8]) -> Result<&'a [u8], FsError> {
        while self.compares.get() && !bytes.is_empty() {
            self.look(file, true)?;
            let ours = self.ours.borrow();
            let here = &ours[self.compared.get()..];
            let most = here.len().min(bytes.len());
            let same = if here[..most] == bytes[..most] {
                most
            } else {
                here.iter().zip(bytes).take_while(|(ours, theirs)| ours == theirs).count()
            };
            let differs = same < most || here.is_empty();
            if differs && matches!(self.place, SequentialTarget::Compare(_)) {
                return Err(FsError::Taken);
            }
            self.compared.set(self.compared.get() + same);
            self.have.set(self.have.get() + same as u64);
            bytes = &bytes[same..];
            drop(ours);
            if differs {
                self.forget();
            }
        }
        Ok(bytes)
    }

    /// Nothing is compared any more.
    fn forget(&self) {
        self.compares.set(false);
        self.compared.set(0);
        *self.ours.borrow_mut() = Vec::new();
    }

    fn keep(&self, bytes: &[u8]) -> Result<(), FsError> {
        let fresh = match &self.place {
            SequentialTarget::Disk { file, .. } | SequentialTarget::Compare(file) => {
                self.compare(&**file, bytes)?
            }
            SequentialTarget::Pipe(_) => bytes,
        };
        match &self.place {
            SequentialTarget::Compare(_) => {}
            SequentialTarget::Pipe(sink) => {
                sink.put(self.have.get(), fresh)?;
                self.have.set(self.have.get() + fresh.len() as u64);
            }
            SequentialTarget::Disk { file, .. } => {
                if !fresh.is_empty() {
                    file.write_at(self.have.get(), fresh)?;
                    self.have.set(self.have.get() + fresh.len() as u64);
                }
                if self.have.get() - self.nudged.get() >= WRITEBACK_BYTES {
                    self.start_writeback(&**file);
                }
            }
        }
        Ok(())
    }

    fn room_now(&self) -> Result<usize, FsError> {
        let file = match &self.place {
            SequentialTarget::Pipe(sink) => return Ok(sink.room()),
            SequentialTarget::Disk { file, .. } | SequentialTarget::Compare(file) => file,
        };
        if self.compares.get() {
            if !self.look(&**file, self.cold.get() >= COLD_LOOKS)? {
                return Ok(0);
            }
            let here = self.ours.borrow().len() - self.compared.get();
            if here > 0 {
                return Ok(here);
            }
        }
        let dirty = || self.dirty.get() + self.have.get() - self.nudged.get();
        if dirty() > DIRTY_BYTES {
            self.check_writeback(&**file);
        }
        Ok(if dirty() > DIRTY_BYTES { 0 } else { usize::MAX })
    }

    /// Ends a stream that has come to its end. Never waits long: [`Finalized::NotYet`] means to ask again soon.
    ///
    /// # Errors
    /// When the disk fails, or another file has the name, or has taken it meanwhile.
    pub fn finalize(&self) -> Result<Finalized, FsError> {
        let have = self.have.get();
        match &self.place {
            SequentialTarget::Compare(file) if file.stamp()?.size == have => Ok(Finalized::Same),
            SequentialTarget::Compare(_) => Err(FsError::Taken),
            SequentialTarget::Pipe(sink) => {
                let done = sink.room() == STDOUT_BYTES;
                // A failure with the last bytes shows now or never.
                sink.put(have, &[])?;
                Ok(if done { Finalized::Named } else { Finalized::NotYet })
            }
            SequentialTarget::Disk { drive, file, name } => {
                self.start_writeback(&**file);
                // Waiting for the disk inside sync would hold up the whole loop; so it is called when nothing is left to write.
                self.check_writeback(&**file);
                if !self.writing.borrow().is_empty() {
                    return Ok(Finalized::NotYet);
                }
                if file.stamp()?.size != have {
                    // What was there before was longer.
                    file.allocate(have)?;
                }
                file.sync()?;
                let (part, note) = names(name);
                if drive.look(&part)? != DirEntryKind::File(have) {
                    // What was written lies elsewhere: a link, or nothing, has taken its place.
                    return Err(FsError::NotOurs(part));
                }
                drive.rename_new(&part, name)?;
                let _ = drive.remove(&note);
                Ok(Finalized::Named)
            }
        }
    }

    /// Leaves nothing behind.
    pub fn discard(&self) {
        if let SequentialTarget::Disk { drive, name, .. } = &self.place {
            discard(&**drive, name);
        }
    }
}

impl Sink for SequentialFile {
    fn room(&self) -> usize {
        // A failure comes out with the next bytes.
        let room = self.room_now().unwrap_or(usize::MAX);
        self.full.set(room == 0);
        room
    }

    fn put(&self, _at: u64, bytes: &[u8]) -> io::Result<()> {
        self.keep(bytes).map_err(|error| {
            let text = error.to_string();
            self.failure.borrow_mut().get_or_insert(error);
            io::Error::other(text)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::fs_trait::FileStat;

    /// A file in memory, and whether its disk is slow.
    #[derive(Default)]
    struct File {
        bytes: RefCell<Vec<u8>>,
        cold: Cell<bool>,
    }

    impl FsFile for File {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            let here = self.bytes.borrow();
            let here = here.get(usize::try_from(at).unwrap()..).unwrap_or_default();
            let count = here.len().min(bytes.len());
            bytes[..count].copy_from_slice(&here[..count]);
            Ok(count)
        }
        fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
            if self.cold.get() {
                Err(io::ErrorKind::WouldBlock.into())
            } else {
                self.read_at(at, bytes)
            }
        }
        fn stamp(&self) -> io::Result<FileStat> {
            Ok(FileStat {
                device: 0,
                inode: 0,
                size: self.bytes.borrow().len() as u64,
                modified_ns: 0,
                changed_ns: 0,
            })
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn start_writeback(&self, _: ByteRange) {}
        fn dirty(&self, _: ByteRange) -> u64 {
            0
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    fn beside(bytes: &[u8]) -> (Rc<File>, SequentialFile) {
        let file = Rc::new(File { bytes: RefCell::new(bytes.to_vec()), cold: Cell::new(false) });
        (Rc::clone(&file), SequentialFile::new(SequentialTarget::Compare(file), None, true))
    }

    #[test]
    fn a_file_that_is_there_is_the_same_or_another() {
        let bytes: Vec<u8> = (0..600_000_u32).map(|at| (at % 251) as u8).collect();
        for step in [1_000, 262_144, 262_145, 600_000] {
            let (_, stream) = beside(&bytes);
            for chunk in bytes.chunks(step) {
                assert!(stream.room() > 0);
                stream.put(stream.have(), chunk).unwrap();
            }
            assert_eq!(stream.finalize(), Ok(Finalized::Same));
            stream.restart(Some(600_000)).unwrap();
            stream.put(0, &bytes[..599_999]).unwrap();
            assert_eq!(stream.finalize(), Err(FsError::Taken));
            assert!(stream.put(599_999, b"xx").is_err());
            assert_eq!(stream.failure(), Some(FsError::Taken));
        }
        let (_, stream) = beside(&bytes);
        assert_eq!(stream.restart(Some(5)), Err(FsError::Taken));
    }

    #[test]
    fn a_disk_that_is_slow_is_waited_for_in_small_steps_and_not_for_ever() {
        let (file, stream) = beside(b"hello");
        file.cold.set(true);
        for _ in 0..COLD_LOOKS {
            assert_eq!(stream.room(), 0);
            assert!(stream.is_full());
        }
        assert_eq!(stream.room(), 5);
        assert!(!stream.is_full());
        stream.put(0, b"hello").unwrap();
        assert_eq!(stream.finalize(), Ok(Finalized::Same));
    }
}
