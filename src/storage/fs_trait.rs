//! The file system as storage needs it: one folder, by names without separators.
//!
//! Every call is short, except where a disk is slow in itself. Names here are plain text because `.part` files and records have names too that no
//! [`FileName`](crate::protocol::types::file_name::FileName) can be.

use std::fmt;
use std::io;
use std::rc::Rc;

use crate::io::traits::SourceRef;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::storage::Opened;

/// Bytes between two syncs of a download: each sync waits for the disk.
const SYNC_BYTES: u64 = 256 << 20;
/// Bytes of `get -o -` that wait for the reader of stdout.
pub const STDOUT_BYTES: usize = 1 << 20;

/// What a system says that has no descriptor left for this process, or for any.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// True when this process, or the system, has no descriptor left.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// What a disk says of a file without looking into it: as long as none of this changes, neither did its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileStat {
    /// On which disk.
    pub device: u64,
    /// Which file there.
    pub inode: u64,
    /// Its bytes.
    pub size: u64,
    /// When its bytes were last changed, in nanoseconds since 1970; whoever may write it can set this.
    pub modified_ns: i128,
    /// When anything of it was last changed, in nanoseconds since 1970: the system alone sets this.
    pub changed_ns: i128,
}

impl FileStat {
    /// The version that others are told.
    #[must_use]
    pub fn tag(&self) -> FileVersion {
        FileVersion::fold(self.size, self.modified_ns, self.changed_ns, self.inode)
    }
}

/// A regular file below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Its name, with the folders that lead to it; one that is not UTF-8 is never found.
    pub name: String,
    /// Its version.
    pub stamp: FileStat,
    /// Nobody is writing it, as far as can be known.
    pub settled: bool,
    /// Why it is not to be given to others; then nothing else here need be right.
    pub barred: Option<Barred>,
}

/// Why something in a shared folder is not shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Barred {
    /// No file that is shared may have that name.
    Name,
    /// Its name is not UTF-8.
    Encoding,
    /// It is too deep.
    Deep,
    /// Its name, or that of a folder, begins with a dot.
    Hidden,
    /// A download under way, or its record.
    Partial,
    /// A link, a pipe, a device: no regular file.
    Kind,
    /// It may not be read, or the disk fails at it.
    Unreadable,
    /// It is a secret key.
    Secret,
    /// This program keeps it for itself: accounts, hashes.
    Ours,
    /// Its owner excludes it.
    Excluded,
}

/// How a folder is, and how its changes are heard of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// It is not there.
    pub missing: bool,
    /// Nobody tells of some of its changes.
    pub blind: Option<Blind>,
}

/// Why nobody tells of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// There are more folders than can be watched.
    Limit,
    /// A part of it lies on another machine, or with a program.
    Network,
    /// The system can't watch it.
    Unsupported,
}

/// Something that happened below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsChange {
    /// This file is new, or changed, or gone: look at it again.
    File(String),
    /// More than could be remembered: look at everything again.
    Everything,
}

/// What stands at a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirEntryKind {
    /// Nothing.
    Nothing,
    /// A regular file of this size, which only this name leads to.
    File(u64),
    /// A folder, a link, a device, or a file with several names: nothing to write to.
    Other,
}

/// A folder.
pub trait Filesystem {
    /// Its regular files, one by one; `recursive`: those of its subfolders as well. Links are not followed. An item that says `Interrupted` comes where
    /// there was nothing to name for a while: a good moment to do something else before going on.
    ///
    /// # Errors
    /// When the folder can't be read.
    fn list(&self, recursive: bool)
    -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError>;

    /// One file that may be shared, as [`Filesystem::list`] would find it now.
    fn find(&self, name: &str) -> Option<Found>;

    /// Begins to remember what happens below the folder.
    ///
    /// # Errors
    /// When the system can't.
    fn watch(&self, _recursive: bool) -> io::Result<()> {
        Ok(())
    }

    /// What has happened since this was last asked. Never waits.
    fn changes(&self) -> Vec<FsChange> {
        Vec::new()
    }

    /// How the folder is, as of the last look at its changes.
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Opens a file to be sent, by its name with the folders that lead to it. Links are not followed, and only regular files are opened.
    ///
    /// # Errors
    /// `NotFound` for all that is not such a file.
    fn open(&self, name: &str) -> io::Result<Opened>;

    /// Opens a download under way to be sent: its bytes change while that goes on, and who sends them knows which are good.
    ///
    /// # Errors
    /// `NotFound` for all that is not such a file.
    fn open_part(&self, name: &str) -> io::Result<SourceRef>;

    /// What stands at a name, links not followed.
    ///
    /// # Errors
    /// When the disk fails.
    fn look(&self, name: &str) -> io::Result<DirEntryKind>;

    /// The stamp of whatever stands at a name, links not followed; `None`: nothing.
    ///
    /// # Errors
    /// When the disk fails.
    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>>;

    /// A small file's content, at most `most` bytes.
    ///
    /// # Errors
    /// When there is none, or the disk fails.
    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>>;

    /// Puts a small file in the place of the one before, all or nothing: its content is on the disk before it has its name.
    ///
    /// # Errors
    /// When the disk fails; the one before is still there.
    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Opens a file to write, and locks it; `create`: it must not be there yet.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, or `WouldBlock` when another process has locked it.
    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>>;

    /// Opens a file to look into it, by its name with the folders that lead to it.
    ///
    /// # Errors
    /// As [`Filesystem::open`].
    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>>;

    /// Gives a file its final name, which must be free, and makes that lasting.
    ///
    /// # Errors
    /// `AlreadyExists` where it is taken.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, if it is there.
    ///
    /// # Errors
    /// When the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Bytes of a download between two moments at which it is made to survive a power cut.
    fn durable_every(&self) -> u64 {
        SYNC_BYTES
    }

    /// Names this run of the machine: what was written in another one may be lost where it was not synced.
    fn boot(&self) -> String;
}

/// The folder of a process that needs none.
pub struct NoFolder;

fn nowhere<T>() -> io::Result<T> {
    Err(io::ErrorKind::NotFound.into())
}

impl Filesystem for NoFolder {
    fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
        Ok(Box::new(std::iter::empty()))
    }

    fn find(&self, _: &str) -> Option<Found> {
        None
    }

    fn open(&self, _: &str) -> io::Result<Opened> {
        nowhere()
    }

    fn open_part(&self, _: &str) -> io::Result<SourceRef> {
        nowhere()
    }

    fn stamp_at(&self, _: &str) -> io::Result<Option<FileStat>> {
        Ok(None)
    }

    fn look(&self, _: &str) -> io::Result<DirEntryKind> {
        Ok(DirEntryKind::Nothing)
    }

    fn read_small(&self, _: &str, _: usize) -> io::Result<Vec<u8>> {
        nowhere()
    }

    fn replace_small(&self, _: &str, _: &[u8]) -> io::Result<()> {
        nowhere()
    }

    fn write(&self, _: &str, _: bool) -> io::Result<Rc<dyn FsFile>> {
        nowhere()
    }

    fn read(&self, _: &str) -> io::Result<Rc<dyn FsFile>> {
        nowhere()
    }

    fn rename_new(&self, _: &str, _: &str) -> io::Result<()> {
        nowhere()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn boot(&self) -> String {
        String::new()
    }
}

/// A file that is being written.
pub trait FsFile {
    /// Writes all of `bytes` at `at`.
    ///
    /// # Errors
    /// When the disk fails.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Reads into `bytes` from `at`; how many came.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// As [`FsFile::read_at`], but `WouldBlock` where the disk would have to be waited for: it was asked to fetch the bytes.
    ///
    /// # Errors
    /// When the disk fails.
    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_at(at, bytes)
    }

    /// Which version it is now.
    ///
    /// # Errors
    /// When the disk fails.
    fn stamp(&self) -> io::Result<FileStat>;

    /// Makes room for `size` bytes, or fails while nothing is lost.
    ///
    /// # Errors
    /// `StorageFull`.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Asks the disk to begin writing `range`; does not wait.
    fn start_writeback(&self, range: ByteRange);

    /// How many bytes of `range` the disk does not have yet; 0 where that can't be known.
    fn dirty(&self, range: ByteRange) -> u64;

    /// Makes everything written so far lasting.
    ///
    /// # Errors
    /// When the disk fails: what was written can't be trusted then.
    fn sync(&self) -> io::Result<()>;
}

/// Why a download can't be kept on this disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsError {
    /// The folder is not there.
    NoFolder,
    /// Not enough room.
    Full,
    /// Another file has that name.
    Taken,
    /// Another process is downloading it.
    Locked,
    /// A `.part` that is not of our making is in the way.
    NotOurs(String),
    /// A `.part` holds so many bytes of another content, which are not thrown away unasked.
    OtherContent {
        /// Its name.
        part: String,
        /// What its bytes lead to, where that is known.
        root: Option<ContentHash>,
        /// How many bytes of it are there.
        held: u64,
    },
    /// This file is changed by somebody else while it is written.
    Disturbed(String),
    /// No more files may be open.
    Descriptors,
    /// The file is larger than this process or this disk allows.
    TooLarge,
    /// Whoever reads the pipe has gone.
    NoReader,
    /// Anything else, in the words of the system.
    Io(String),
}

impl From<io::Error> for FsError {
    fn from(error: io::Error) -> FsError {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsError::Full,
            io::ErrorKind::FileTooLarge => FsError::TooLarge,
            _ if is_out_of_descriptors(&error) => FsError::Descriptors,
            io::ErrorKind::AlreadyExists => FsError::Taken,
            io::ErrorKind::WouldBlock => FsError::Locked,
            io::ErrorKind::BrokenPipe => FsError::NoReader,
            _ => FsError::Io(error.to_string()),
        }
    }
}

impl fmt::Display for FsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FsError::NoFolder => f.write_str("the folder is not there"),
            FsError::Full => f.write_str("the disk is full"),
            FsError::Taken => f.write_str("another file has that name"),
            FsError::Locked => f.write_str("another process is downloading it"),
            FsError::NotOurs(name) => write!(f, "{name} is in the way and not ours"),
            FsError::OtherContent { part, .. } => {
                write!(f, "{part} holds a part of another content")
            }
            FsError::Disturbed(name) => write!(f, "{name} is changed by another program"),
            FsError::Descriptors => f.write_str("this process may open no more files"),
            FsError::TooLarge => {
                f.write_str("the file is larger than this disk or this process may write")
            }
            FsError::NoReader => f.write_str("nobody reads the pipe any more"),
            FsError::Io(text) => f.write_str(text),
        }
    }
}
