//! A download that arrives as a stream, without ranges and without verification.
//!
//! ```text
//!                 record, then .part         first difference            the stream has ended     disk has it
//!   nothing  ----------------------> Writing <--------------- Comparing ------------------> Settling --> named, record gone
//!   a .part of an earlier stream -----------------------------^
//!   a file under that name ---------> compared to its end ----------------------------------------------> it was there already
//! ```
//!
//! The bytes of an earlier stream are read back, compared with the arriving ones, and overwritten
//! from the first difference on. So the bytes that a crash has left do not matter. Otherwise as in
//! [`partial_file`](crate::storage::partial_file): a `.part` without a record is foreign, and the
//! final name is given only after every byte is on the disk.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;

use crate::io::traits::{Sink, SinkRef, SourceRef};
use crate::limits;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Finalized;
use crate::storage::fs_trait::STDOUT_BYTES;
use crate::storage::fs_trait::{DirEntryKind, Filesystem, FsError, FsFile};
use crate::storage::hasher::HASH_READ_BYTES;
use crate::storage::resume_file::{Content, DownloadIdentity, ResumeFile};
use crate::storage::writeback::{discard, names};
use crate::storage::writeback_queue::{DIRTY_BYTES, WRITEBACK_BYTES, WritebackQueue};

/// Non-blocking reads before a blocking one, [`SINK_RETRY`](limits::SINK_RETRY) apart.
const COLD_LOOKS: u128 = limits::COLD_TIMEOUT.as_millis() / limits::SINK_RETRY.as_millis();

/// A stream in progress.
pub struct SequentialFile {
    place: SequentialTarget,
    size: Cell<Option<u64>>,
    /// Bytes received.
    have: Cell<u64>,
    /// Compare arriving bytes with existing bytes.
    compares: Cell<bool>,
    /// Existing bytes from the next one on, as far as read.
    existing: RefCell<Vec<u8>>,
    /// Bytes of `ours` that are compared.
    compared: Cell<usize>,
    /// Non-blocking reads in a row that would block.
    cold: Cell<u128>,
    /// End of the bytes that the disk was asked to write.
    flushed: Cell<u64>,
    queue: WritebackQueue,
    /// The last call of `room` returned 0.
    full: Cell<bool>,
    failure: RefCell<Option<FsError>>,
}

enum SequentialTarget {
    /// Into a `.part`, then to the final name.
    Disk {
        fs: Rc<dyn Filesystem>,
        file: Rc<dyn FsFile>,
        name: String,
    },
    /// A file of that name exists: compare.
    Compare(Rc<dyn FsFile>),
    Pipe(SinkRef),
}

impl SequentialFile {
    /// Begin a stream into `name`, from a source that announced `size` bytes, if any. `found_as`:
    /// the name searched for.
    ///
    /// # Errors
    /// If the disk has no room, or another file is in the way.
    pub fn begin(
        fs: &Rc<dyn Filesystem>,
        name: &str,
        found_as: &RelativeName,
        from: SocketAddr,
        size: Option<u64>,
    ) -> Result<SequentialFile, FsError> {
        match fs.look(name)? {
            DirEntryKind::File(there) if size.is_none_or(|size| size == there) => {
                return Ok(SequentialFile::new(
                    SequentialTarget::Compare(fs.read(name)?),
                    size,
                    true,
                ));
            }
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) | DirEntryKind::Other => return Err(FsError::Taken),
        }
        let (part, resume) = names(name);
        let new = |file, compares| {
            SequentialFile::new(
                SequentialTarget::Disk { fs: Rc::clone(fs), file, name: name.to_owned() },
                size,
                compares,
            )
        };
        match fs.look(&part)? {
            DirEntryKind::Nothing => {}
            DirEntryKind::File(_) => {
                let file = fs.write(&part, false)?;
                // The lock is held: before it, another process could still write.
                let Some(about) = ResumeFile::peek(&**fs, &resume) else {
                    return Err(FsError::NotOurs(part));
                };
                if matches!(about.content, Content::Stream { .. }) {
                    if let Some(size) = size {
                        file.allocate(size)?;
                    }
                    return Ok(new(file, true));
                }
                // Pieces of a verified download are not discarded.
                let held = file.stamp()?.size;
                if held > 0 {
                    return Err(FsError::OtherContent { part, root: about.root(), held });
                }
                drop(file);
                discard(&**fs, name);
            }
            DirEntryKind::Other => return Err(FsError::NotOurs(part)),
        }
        let about = DownloadIdentity {
            name: found_as.clone(),
            size: size.unwrap_or(0),
            content: Content::Stream { from },
        };
        ResumeFile::leave(&**fs, &resume, &about)?;
        let file = fs.write(&part, true)?;
        if let Err(error) = file.allocate(size.unwrap_or(0)) {
            discard(&**fs, name);
            return Err(error.into());
        }
        Ok(new(file, false))
    }

    /// Write to a pipe; its bytes cannot be taken back.
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
            existing: RefCell::default(),
            compared: Cell::new(0),
            cold: Cell::new(0),
            flushed: Cell::new(0),
            queue: WritebackQueue::default(),
            full: Cell::new(false),
            failure: RefCell::new(None),
        }
    }

    /// True if the stream can start again.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.place, SequentialTarget::Pipe(_)) || self.have.get() == 0
    }

    /// Start again from the first byte.
    ///
    /// # Errors
    /// If the disk has no room for the new size, or an existing file has another.
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
        self.stop_comparing();
        self.compares.set(!matches!(self.place, SequentialTarget::Pipe(_)));
        self.flushed.set(0);
        self.cold.set(0);
        self.full.set(false);
        Ok(())
    }

    /// The received bytes as a source, up to [`SequentialFile::have`].
    ///
    /// # Errors
    /// If there is no `.part`.
    pub fn source(&self) -> io::Result<SourceRef> {
        match &self.place {
            SequentialTarget::Disk { fs, name, .. } => fs.open_part(&names(name).0),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }

    /// Bytes received.
    #[must_use]
    pub fn have(&self) -> u64 {
        self.have.get()
    }

    /// Announced size.
    #[must_use]
    pub fn size(&self) -> Option<u64> {
        self.size.get()
    }

    /// True while nothing is accepted: then silence of the source is no fault.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.full.get()
    }

    /// Error of our own disk or pipe.
    #[must_use]
    pub fn failure(&self) -> Option<FsError> {
        self.failure.borrow().clone()
    }

    fn start_writeback(&self, file: &dyn FsFile) {
        let from = self.flushed.replace(self.have.get());
        self.queue.start(file, from, self.have.get() - from);
    }

    /// Read existing bytes from the next one on. False if that would block.
    fn read_existing(&self, file: &dyn FsFile, wait: bool) -> Result<bool, FsError> {
        let mut existing = self.existing.borrow_mut();
        if self.compared.get() < existing.len() {
            return Ok(true);
        }
        existing.resize(HASH_READ_BYTES, 0);
        let looked = if wait {
            file.read_at(self.have.get(), &mut existing)
        } else {
            file.read_warm(self.have.get(), &mut existing)
        };
        self.compared.set(0);
        existing.truncate(*looked.as_ref().unwrap_or(&0));
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

    /// Compare bytes with existing ones, and return the rest to write.
    fn compare<'a>(&self, file: &dyn FsFile, mut bytes: &'a [u8]) -> Result<&'a [u8], FsError> {
        while self.compares.get() && !bytes.is_empty() {
            self.read_existing(file, true)?;
            let existing = self.existing.borrow();
            let here = &existing[self.compared.get()..];
            let most = here.len().min(bytes.len());
            let same = if here[..most] == bytes[..most] {
                most
            } else {
                here.iter().zip(bytes).take_while(|(existing, theirs)| existing == theirs).count()
            };
            let differs = same < most || here.is_empty();
            if differs && matches!(self.place, SequentialTarget::Compare(_)) {
                return Err(FsError::Taken);
            }
            self.compared.set(self.compared.get() + same);
            self.have.set(self.have.get() + same as u64);
            bytes = &bytes[same..];
            drop(existing);
            if differs {
                self.stop_comparing();
            }
        }
        Ok(bytes)
    }

    /// Stop comparing.
    fn stop_comparing(&self) {
        self.compares.set(false);
        self.compared.set(0);
        *self.existing.borrow_mut() = Vec::new();
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
                if self.have.get() - self.flushed.get() >= WRITEBACK_BYTES {
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
            if !self.read_existing(&**file, self.cold.get() >= COLD_LOOKS)? {
                return Ok(0);
            }
            let here = self.existing.borrow().len() - self.compared.get();
            if here > 0 {
                return Ok(here);
            }
        }
        let dirty = || self.queue.bytes() + self.have.get() - self.flushed.get();
        if dirty() > DIRTY_BYTES {
            self.queue.poll(&**file);
        }
        Ok(if dirty() > DIRTY_BYTES { 0 } else { usize::MAX })
    }

    /// End a complete stream. Does not wait: call again after [`Finalized::NotYet`].
    ///
    /// # Errors
    /// If the disk fails, or another file has the name.
    pub fn finalize(&self) -> Result<Finalized, FsError> {
        let have = self.have.get();
        match &self.place {
            SequentialTarget::Compare(file) if file.stamp()?.size == have => Ok(Finalized::Same),
            SequentialTarget::Compare(_) => Err(FsError::Taken),
            SequentialTarget::Pipe(sink) => {
                let done = sink.room() == STDOUT_BYTES;
                // The last chance to see a failure of the pipe.
                sink.put(have, &[])?;
                Ok(if done { Finalized::Named } else { Finalized::NotYet })
            }
            SequentialTarget::Disk { fs, file, name } => {
                self.start_writeback(&**file);
                // A sync that waits for the disk stalls the loop, so write back first.
                self.queue.poll(&**file);
                if self.queue.bytes() > 0 {
                    return Ok(Finalized::NotYet);
                }
                if file.stamp()?.size != have {
                    // The earlier stream was longer.
                    file.allocate(have)?;
                }
                file.sync()?;
                let (part, resume) = names(name);
                if fs.look(&part)? != DirEntryKind::File(have) {
                    // A link has taken the place of the `.part`.
                    return Err(FsError::NotOurs(part));
                }
                fs.rename_new(&part, name)?;
                let _ = fs.remove(&resume);
                Ok(Finalized::Named)
            }
        }
    }

    /// Remove the `.part` and the resume file.
    pub fn discard(&self) {
        if let SequentialTarget::Disk { fs, name, .. } = &self.place {
            discard(&**fs, name);
        }
    }
}

impl Sink for SequentialFile {
    fn room(&self) -> usize {
        // The next bytes report the error.
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
    use crate::protocol::types::byte_range::ByteRange;
    use crate::storage::fs_trait::FileStat;

    /// A file in memory; its disk may be slow.
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
    fn an_existing_file_is_the_same_or_another() {
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
    fn a_slow_disk_is_polled_for_a_limited_time() {
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
