//! The file system as storage needs: a single folder.
//!
//! Calls are short, except where the disk itself is slow. Names are plain text, because `.part` and
//! resume files have names that no [`FileName`](crate::protocol::types::file_name::FileName)
//! allows.

use std::fmt;
use std::io;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{Descriptor, SourceRef};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::storage::Opened;
use crate::storage::exclude::Excludes;

/// Bytes between two syncs of a download: each sync waits for the disk.
const SYNC_BYTES: u64 = 256 << 20;
/// Bytes of `get -o -` that wait for the reader of stdout.
pub const STDOUT_BYTES: usize = 1 << 20;

/// No descriptor is left for this process, or for the system.
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

/// True if an error means that no descriptor is left.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Version of a file by metadata. While the stat is the same, so is the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileStat {
    /// Device number.
    pub device: u64,
    /// Inode number.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Modification time, in nanoseconds since 1970; set by the owner.
    pub modified_ns: i128,
    /// Change time, in nanoseconds since 1970; set by the system alone.
    pub changed_ns: i128,
}

impl FileStat {
    /// The version as sent to other peers.
    #[must_use]
    pub fn tag(&self) -> FileVersion {
        FileVersion::fold(self.size, self.modified_ns, self.changed_ns, self.inode)
    }
}

/// A regular file below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Path below the folder; always UTF-8.
    pub name: String,
    /// Version.
    pub stamp: FileStat,
    /// Not open for writing, as far as known.
    pub settled: bool,
    /// Reason not to share the file; the other fields may then be wrong.
    pub barred: Option<Barred>,
}

/// Reason not to share a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Barred {
    /// The name is not valid for shared files.
    Name,
    /// The name is not UTF-8.
    Encoding,
    /// Too many folders.
    Deep,
    /// A part of the path begins with a dot.
    Hidden,
    /// A partial download, or a resume file.
    Partial,
    /// Not a regular file: a link, a pipe, a device.
    Kind,
    /// No permission, or a disk error.
    Unreadable,
    /// A secret key.
    Secret,
    /// A file of this program: accounts, hashes.
    Ours,
    /// Excluded by the owner.
    Excluded,
}

/// State of the folder and the watch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// The folder does not exist.
    pub missing: bool,
    /// Some changes have no events.
    pub blind: Option<Blind>,
}

/// Reason for changes without events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blind {
    /// Too many folders to watch.
    Limit,
    /// Part of the folder is on a network or FUSE file system.
    Network,
    /// The system has no watches.
    Unsupported,
}

/// A change below the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsChange {
    /// This file may be new, changed, or gone.
    File(String),
    /// A writer of this file goes on.
    Written(String),
    /// Events were lost: scan everything.
    Everything,
}

impl FsChange {
    /// The name of the file; `None` for all files.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        match self {
            FsChange::File(name) | FsChange::Written(name) => Some(name),
            FsChange::Everything => None,
        }
    }
}

/// Kind of a directory entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirEntryKind {
    /// No entry.
    Nothing,
    /// A regular file of this size, with a single name.
    File(u64),
    /// A folder, link, device, or file with several names: not to be written to.
    Other,
}

/// A folder.
pub trait Filesystem {
    /// List regular files; `recursive`: those of subfolders as well. Does not follow links. An
    /// `Interrupted` item means that no file was found for a while, so that the caller can pause.
    ///
    /// # Errors
    /// If the folder cannot be read.
    fn list(&self, recursive: bool)
    -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError>;

    /// A file, as [`Filesystem::list`] would find it now.
    fn find(&self, name: &str) -> Option<Found>;

    /// The name of the file at an absolute path. `None` for a path outside of the folder, and where
    /// the path of the folder is unknown. No path is opened.
    fn name_of(&self, _path: &str) -> Option<String> {
        None
    }

    /// Begin to watch the folder for changes.
    ///
    /// # Errors
    /// If the system cannot watch.
    fn watch(&self, _recursive: bool) -> io::Result<()> {
        Ok(())
    }

    /// Take the changes since the last call. Does not wait.
    fn changes(&self) -> Vec<FsChange> {
        Vec::new()
    }

    /// The descriptor that becomes readable with the next change, where the system has one.
    fn changes_descriptor(&self) -> Option<Descriptor> {
        None
    }

    /// State of the folder as of the last [`Filesystem::changes`].
    fn condition(&self) -> Condition {
        Condition::default()
    }

    /// Share no file that matches these patterns, in place of the earlier ones of the command line.
    fn exclude(&self, excludes: &Excludes) {
        let _ = excludes;
    }

    /// Open a regular file for upload, by path. Does not follow links.
    ///
    /// # Errors
    /// `NotFound` for any other kind of entry.
    fn open(&self, name: &str) -> io::Result<Opened>;

    /// Open a partial download for upload. Its bytes change meanwhile; the caller knows which are
    /// valid.
    ///
    /// # Errors
    /// `NotFound` for any other kind of entry.
    fn open_part(&self, name: &str) -> io::Result<SourceRef>;

    /// Kind of the entry at a name. Does not follow links.
    ///
    /// # Errors
    /// If the disk fails.
    fn look(&self, name: &str) -> io::Result<DirEntryKind>;

    /// Stat of the entry at a name; `None` without an entry. Does not follow links.
    ///
    /// # Errors
    /// If the disk fails.
    fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>>;

    /// Content of a small file, up to `most` bytes.
    ///
    /// # Errors
    /// If there is no such file, or the disk fails.
    fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>>;

    /// Replace a small file atomically: the content is on the disk before the name is given.
    ///
    /// # Errors
    /// If the disk fails; the old file remains.
    fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()>;

    /// Open a file for writing, and lock; `create`: must not exist.
    ///
    /// # Errors
    /// `AlreadyExists`, `NotFound`, or `WouldBlock` if another process holds the lock.
    fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>>;

    /// Open a file for reading, by path.
    ///
    /// # Errors
    /// As [`Filesystem::open`].
    fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>>;

    /// Give a file the final name, durably; the name must be free.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Remove a file, if there.
    ///
    /// # Errors
    /// If the disk fails.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Bytes that the disk has room for; `None` if unknown.
    fn free_bytes(&self) -> Option<u64> {
        None
    }

    /// Write a small file that has no name yet, and vanishes with the process.
    ///
    /// # Errors
    /// `Unsupported` where the disk has no such files; another error if the disk fails.
    fn stage(&self, _name: &str, _content: &[u8]) -> io::Result<Box<dyn StagedFile>> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Barrier: make the content of all staged files durable, and the names given before.
    ///
    /// # Errors
    /// If the disk fails: then no staged file can be trusted.
    fn sync_staged(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Begin to make a picture of a video, at this time of the video.
    ///
    /// # Errors
    /// `Unsupported` without other processes; another error if the file can't be opened.
    fn begin_poster(
        &self,
        name: &str,
        program: &Path,
        at_ms: u64,
        now: Instant,
    ) -> io::Result<Box<dyn PosterJob>> {
        let _ = (name, program, at_ms, now);
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Bytes of a download between two syncs.
    fn durable_every(&self) -> u64 {
        SYNC_BYTES
    }

    /// Identifies this run of the machine: unsynced bytes of another run may be lost.
    fn boot(&self) -> String;
}

/// A store of posters, which are pictures of videos.
pub trait PosterStore {
    /// The program that makes posters.
    fn program(&self) -> &Path;

    /// The poster of a content.
    fn get(&self, root: &ContentHash) -> Option<Vec<u8>>;

    /// Keep the poster of a content; the oldest ones make room.
    fn put(&mut self, root: ContentHash, bytes: &[u8]);
}

/// A poster that another process makes.
pub trait PosterJob {
    /// Look at the process. Does not wait.
    fn poll(&mut self, now: Instant) -> PosterState;
}

/// The state of a [`PosterJob`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PosterState {
    /// Look again later.
    Working,
    /// The picture, a small JPEG.
    Made(Vec<u8>),
    /// There is no picture.
    Failed,
}

/// A small file without a name.
pub trait StagedFile {
    /// Give the file its name, which must be free.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken, `Unsupported` where such a file can get no name.
    fn publish(&self) -> io::Result<()>;
}

/// The folder of a process without a folder.
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

/// An open file.
pub trait FsFile {
    /// Write all bytes at an offset.
    ///
    /// # Errors
    /// If the disk fails.
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;

    /// Read at an offset; returns the number of bytes.
    ///
    /// # Errors
    /// If the disk fails.
    fn read_at(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize>;

    /// As [`FsFile::read_at`], but `WouldBlock` if the bytes are not in memory; the disk then
    /// fetches them.
    ///
    /// # Errors
    /// If the disk fails.
    fn read_warm(&self, at: u64, bytes: &mut [u8]) -> io::Result<usize> {
        self.read_at(at, bytes)
    }

    /// Current stat.
    ///
    /// # Errors
    /// If the disk fails.
    fn stamp(&self) -> io::Result<FileStat>;

    /// Set the size and reserve the space, or fail without loss.
    ///
    /// # Errors
    /// `StorageFull`.
    fn allocate(&self, size: u64) -> io::Result<()>;

    /// Ask the disk to write `range`. Does not wait.
    fn start_writeback(&self, range: ByteRange);

    /// Bytes of `range` that are not on the disk; 0 if unknown.
    fn dirty(&self, range: ByteRange) -> u64;

    /// Make all writes durable.
    ///
    /// # Errors
    /// If the disk fails: then no write since the last sync can be trusted.
    fn sync(&self) -> io::Result<()>;
}

/// Reason why a download cannot be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FsError {
    /// The folder does not exist.
    NoFolder,
    /// No space left.
    Full,
    /// Another file has that name.
    Taken,
    /// Another process has locked the download.
    Locked,
    /// A foreign `.part` is in the way.
    NotOurs(String),
    /// A `.part` holds pieces of another content, which are not discarded unasked.
    OtherContent {
        /// Name of the `.part`.
        part: String,
        /// Root of the content, if known.
        root: Option<ContentHash>,
        /// Bytes held.
        held: u64,
    },
    /// Another process changes this file.
    Disturbed(String),
    /// No descriptor is left.
    Descriptors,
    /// The file is larger than the process or the disk allows.
    TooLarge,
    /// The reader has closed the pipe.
    NoReader,
    /// Any other error, in the words of the system.
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
