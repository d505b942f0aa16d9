//! Files of a peer: shared files, and downloads in progress.
//!
//! [`fs_trait`] is the disk, real or simulated. [`shared_folder`] lists the shared files,
//! [`hasher`] computes one hash list, [`hash_cache`] remembers all. [`piece_picker`] decides which
//! piece to request next (rarest first, read-ahead, endgame), [`bitfield`] is a set of pieces,
//! [`resume_file`] records them beside a `.part`, [`partial_file`] is a verified download on its
//! disk, [`sequential_file`] a download as one stream.

pub mod bitfield;
pub mod exclude;
pub mod folder_summaries;
pub mod fs_trait;
pub mod hash_cache;
pub mod hash_list;
pub mod hasher;
pub mod media;
pub mod partial_file;
pub mod piece_buffer;
pub mod piece_picker;
pub mod piece_tree;
pub mod priorities;
mod recheck;
pub mod resume_file;
pub mod sequential_file;
pub mod share_groups;
pub mod shared_folder;
pub mod skipped;
mod writeback;
pub mod writeback_queue;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{Descriptor, Sink, SourceRef};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::types::absolute_path::AbsolutePath;
use crate::protocol::types::folder::FolderFile;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::member::Groups;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::exclude::Excludes;
use crate::storage::folder_summaries::{EndedWalk, SummaryState, ViewedFolder};
use crate::storage::fs_trait::{
    DirEntryKind, FileStat, Filesystem, FsError, FsFile, PosterJob, StagedFile,
};
use crate::storage::hash_cache::HashStore;
use crate::storage::partial_file::{PartialFile, PartialOpening};
use crate::storage::piece_tree::HashList;
use crate::storage::resume_file::{Content, DownloadIdentity};
use crate::storage::sequential_file::SequentialFile;
use crate::storage::share_groups::ShareGroups;
use crate::storage::shared_folder::{FolderChange, HashOutcome, SharedFolder};

/// A shared file, opened for upload.
#[derive(Clone)]
pub struct Opened {
    /// Source of the bytes.
    pub source: SourceRef,
    /// Size in bytes.
    pub size: u64,
    /// Version.
    pub tag: FileVersion,
}

/// Progress of the end of a download.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finalized {
    /// The disk still writes; call again soon.
    NotYet,
    /// Another process has changed the `.part`: see [`PartialFile::doubt`].
    Disturbed,
    /// The file has the final name.
    Named,
    /// The file existed already, with the same bytes.
    Same,
}

/// Target of finished downloads.
pub enum DownloadPlace {
    /// The folder, under their own names.
    Folder,
    /// The folder, under this name.
    File(String),
    /// A pipe.
    Pipe(Rc<dyn Sink>),
}

/// The files of a peer.
pub struct Storage {
    fs: Rc<dyn Filesystem>,
    target: DownloadPlace,
    /// Downloads keep the folders of their names.
    keeps_folders: bool,
    shared_folder: SharedFolder,
}

impl Storage {
    /// A storage over `drive` that shares nothing until scanned; `recursive`: subfolders as well.
    /// `hashes` remembers roots.
    #[must_use]
    pub fn new(
        fs: Rc<dyn Filesystem>,
        target: DownloadPlace,
        hashes: Rc<dyn HashStore>,
        recursive: bool,
    ) -> Storage {
        let share = SharedFolder::new(Rc::clone(&fs), hashes, recursive);
        Storage { fs, target, keeps_folders: recursive, shared_folder: share }
    }

    /// Share files for these groups.
    #[must_use]
    pub fn for_groups(mut self, groups: Rc<ShareGroups>) -> Storage {
        self.shared_folder.set_groups(groups);
        self
    }

    /// Keep the folders of downloads, whether subfolders are shared or not.
    #[must_use]
    pub fn keeping_folders(mut self, keeps: bool) -> Storage {
        self.keeps_folders |= keeps;
        self
    }

    /// Share no file that matches these patterns, in place of the earlier ones of the command line.
    pub fn exclude(&self, excludes: &Excludes) {
        self.fs.exclude(excludes);
    }

    /// The shared file that an absolute path names: the path of the file itself, or its name below
    /// `/`. Paths outside of the share name none.
    #[must_use]
    pub fn at_path(&self, path: &AbsolutePath) -> Option<RelativeName> {
        let by_path = self.fs.name_of(path.as_str()).and_then(|name| RelativeName::new(&name).ok());
        let mut names = by_path.into_iter().chain(path.below_root().ok());
        names.find(|name| self.entry(name).is_some())
    }

    /// Scan up to `most` entries of the folder. True at the end: then [`Storage::files`] is
    /// complete, and changes are noticed.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn scan(&mut self, most: usize, now: Instant) -> Result<bool, FsError> {
        self.shared_folder.scan(most, now)
    }

    /// Shared files, by name.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared_folder.files()
    }

    /// Names of the shared files, in order.
    pub fn names(&self) -> impl Iterator<Item = &RelativeName> + '_ {
        self.shared_folder.names()
    }

    /// Shared files after this name.
    pub fn files_after(
        &self,
        after: Option<&RelativeName>,
    ) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared_folder.files_after(after)
    }

    /// Shared files after this name, without the first `skipped`.
    pub fn files_from(
        &self,
        after: Option<&RelativeName>,
        skipped: usize,
    ) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared_folder.files_from(after, skipped)
    }

    /// The shared file of this name.
    #[must_use]
    pub fn entry(&self, name: &RelativeName) -> Option<FileEntry> {
        self.shared_folder.entry(name)
    }

    /// The groups of a shared file; empty for all members, `None` for a file that is not shared.
    #[must_use]
    pub fn groups_of(&self, name: &RelativeName) -> Option<&Groups> {
        self.shared_folder.groups_of(name)
    }

    /// The groups of each shared file with this content.
    pub fn groups_of_root(&self, root: &ContentHash) -> impl Iterator<Item = &Groups> {
        self.shared_folder.groups_of_root(root)
    }

    /// The names of the shared files with this content.
    pub fn names_of_root(&self, root: &ContentHash) -> impl Iterator<Item = &RelativeName> {
        self.shared_folder.names_of_root(root)
    }

    /// The groups of a file of this name, shared or not yet, such as a download.
    #[must_use]
    pub fn groups_for(&self, name: &RelativeName) -> &Groups {
        self.shared_folder.groups_for(name)
    }

    /// Name of a shared file with this content.
    #[must_use]
    pub fn named(&self, root: &ContentHash) -> Option<RelativeName> {
        self.shared_folder.named(root)
    }

    /// True if the file is shared in exactly this version, so that root and hash list apply.
    #[must_use]
    pub fn is_version(&self, name: &RelativeName, tag: FileVersion) -> bool {
        self.shared_folder.is_version(name, tag)
    }

    /// Hash list of a shared file with a root. `None` if unknown or lost: [`Storage::prioritize`]
    /// makes it.
    #[must_use]
    pub fn list(&self, name: &RelativeName) -> Option<Rc<HashList>> {
        self.shared_folder.list(name)
    }

    /// True while a file is new or changing, and not shared yet.
    #[must_use]
    pub fn is_settling(&self, name: &RelativeName) -> bool {
        self.shared_folder.is_settling(name)
    }

    /// The summary of a shared folder; see [`SharedFolder::folder_state`].
    pub fn folder_state(&mut self, of: &ViewedFolder, fresh: bool) -> SummaryState {
        self.shared_folder.folder_state(of, fresh)
    }

    /// True while a walk over a folder is under way.
    #[must_use]
    pub fn walks_folders(&self) -> bool {
        self.shared_folder.walks_folders()
    }

    /// Walks over a slice of the folders whose summaries are wanted. Returns the walks that are over.
    pub fn walk_folders(&mut self) -> Vec<EndedWalk> {
        self.shared_folder.walk_folders()
    }

    /// Files of a folder after this one, with names below the folder.
    pub fn folder_files<'a>(
        &'a self,
        of: &'a ViewedFolder,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = FolderFile> + 'a {
        self.shared_folder.folder_files(of, after)
    }

    /// Number of shared files.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared_folder.len()
    }

    /// True without shared files.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared_folder.is_empty()
    }

    /// Share a finished download of the folder, with root and hash list if verified.
    pub fn add(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
        list: Option<Rc<HashList>>,
    ) -> Option<FileEntry> {
        self.shared_folder.add(&self.shared_as(name), root, list)
    }

    /// True while there are files to hash.
    #[must_use]
    pub fn is_hashing(&self) -> bool {
        self.shared_folder.is_hashing()
    }

    /// Hash this file before all others.
    pub fn prioritize(&mut self, name: &RelativeName) {
        self.shared_folder.prioritize(name);
    }

    /// Check a piece that a peer received with wrong bytes; hash the whole file again if it has
    /// changed.
    pub fn suspect(&mut self, root: &ContentHash, piece: u64) {
        self.shared_folder.suspect(root, piece);
    }

    /// Hash a slice of the next file.
    pub fn hash_slice(&mut self, now: Instant) -> HashOutcome {
        self.shared_folder.hash_slice(now)
    }

    /// Time of the next [`Storage::poll_changes`]; `None` before the end of the first scan.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        self.shared_folder.next_poll()
    }

    /// The descriptor on which the loop should wait for changes now, unless it does.
    pub fn awaits_changes(&mut self, now: Instant) -> Option<Descriptor> {
        self.shared_folder.awaits(now)
    }

    /// The folder has changed, and the loop no longer waits for changes.
    pub fn note_changes(&mut self, now: Instant) {
        self.shared_folder.note_changes(now);
    }

    /// Changes of the folder since the last poll.
    pub fn poll_changes(&mut self, now: Instant) -> FolderChange {
        self.shared_folder.poll_changes(now)
    }

    /// Open a shared file for upload.
    ///
    /// # Errors
    /// `not_found` without such a file, `io` if the disk fails.
    pub fn open(&self, name: &RelativeName) -> Result<Opened, ErrorReply> {
        if !self.shared_folder.may_share(name) {
            return Err(ErrorReply::no_such_file());
        }
        match self.fs.open(name) {
            Ok(opened) => Ok(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Err(ErrorReply::no_such_file())
            }
            Err(error) => {
                log::warn!("{name}: {error}");
                Err(ErrorReply::new(ErrorCode::Io, "the disk of this peer failed"))
            }
        }
    }

    /// Open a shared file to read.
    ///
    /// # Errors
    /// If there is no such file, or the disk fails.
    pub fn read(&self, name: &RelativeName) -> io::Result<Rc<dyn FsFile>> {
        if self.shared_folder.may_share(name) {
            self.fs.read(name)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Begin to make a picture of a shared video.
    ///
    /// # Errors
    /// As [`Filesystem::begin_poster`].
    pub fn begin_poster(
        &self,
        name: &RelativeName,
        program: &Path,
        at_ms: u64,
        now: Instant,
    ) -> io::Result<Box<dyn PosterJob>> {
        if self.shared_folder.may_share(name) {
            self.fs.begin_poster(name, program, at_ms, now)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// Name under which a finished download is shared. Hidden folders are not created for other
    /// peers.
    #[must_use]
    pub fn shared_as(&self, name: &RelativeName) -> RelativeName {
        if self.keeps_folders && !name.is_hidden() {
            name.clone()
        } else {
            RelativeName::from(&name.file())
        }
    }

    /// Name of the target of a download in the folder; `None` for a pipe.
    #[must_use]
    pub fn place(&self, name: &RelativeName) -> Option<String> {
        match &self.target {
            DownloadPlace::Pipe(_) => None,
            DownloadPlace::Folder => Some(self.shared_as(name).to_string()),
            DownloadPlace::File(file) => Some(file.clone()),
        }
    }

    /// Identity of an earlier download of `name`.
    #[must_use]
    pub fn recall(&self, name: &RelativeName) -> Option<DownloadIdentity> {
        partial_file::recall(&*self.fs, &self.place(name)?)
    }

    /// Remove the resume file of a download that is complete.
    pub fn remove_stale_record(&self, name: &RelativeName) {
        if let Some(place) = self.place(name) {
            writeback::remove_stale_record(&*self.fs, &place);
        }
    }

    /// The existing file at the target of a download.
    ///
    /// # Errors
    /// If the target is no regular file, or the disk fails.
    pub fn existing_file(&self, name: &RelativeName) -> Result<Option<Rc<dyn FsFile>>, FsError> {
        let Some(place) = self.place(name) else { return Ok(None) };
        match self.fs.look(&place)? {
            DirEntryKind::Nothing => Ok(None),
            DirEntryKind::File(_) => Ok(Some(self.fs.read(&place)?)),
            DirEntryKind::Other => Err(FsError::Taken),
        }
    }

    /// Begin or continue a download; see [`PartialFile::begin`].
    ///
    /// # Errors
    /// If the disk has no room, or another file is in the way.
    pub fn begin(
        &self,
        about: &DownloadIdentity,
        list: Option<Rc<HashList>>,
        cursor: u64,
    ) -> Result<PartialOpening, FsError> {
        match (&self.target, self.place(&about.name)) {
            (DownloadPlace::Pipe(sink), _) => {
                let trusted = match (&about.content, list) {
                    (Content::Root(root), Some(list)) => Some((*root, list)),
                    _ => None,
                };
                Ok(PartialOpening::Part(PartialFile::pipe(Rc::clone(sink), about.size, trusted)))
            }
            (_, place) => PartialFile::begin(
                &self.fs,
                place.as_deref().unwrap_or_default(),
                about,
                list,
                cursor,
            ),
        }
    }

    /// Write a small file without a name; see [`Filesystem::stage`].
    ///
    /// # Errors
    /// As there.
    pub fn stage(&self, name: &RelativeName, content: &[u8]) -> io::Result<Box<dyn StagedFile>> {
        self.fs.stage(&self.place(name).ok_or(io::ErrorKind::Unsupported)?, content)
    }

    /// Barrier for staged files; see [`Filesystem::sync_staged`].
    ///
    /// # Errors
    /// If the disk fails.
    pub fn sync_staged(&self) -> io::Result<()> {
        self.fs.sync_staged()
    }

    /// Bytes that the disk has room for; `None` if unknown.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        self.fs.free_bytes()
    }

    /// True when nothing has the name of this folder, so that no file below exists.
    #[must_use]
    pub fn lacks_folder(&self, name: &RelativeName) -> bool {
        self.place(name)
            .is_some_and(|place| matches!(self.fs.look(&place), Ok(DirEntryKind::Nothing)))
    }

    /// True if downloads keep the folders of their names.
    #[must_use]
    pub fn keeps_folders(&self) -> bool {
        self.keeps_folders
    }

    /// Begin a download as a stream; see [`SequentialFile::begin`].
    ///
    /// # Errors
    /// If the disk has no room, or another file is in the way.
    pub fn stream(
        &self,
        name: &RelativeName,
        from: SocketAddr,
        size: Option<u64>,
    ) -> Result<SequentialFile, FsError> {
        match (&self.target, self.place(name)) {
            (DownloadPlace::Pipe(sink), _) => Ok(SequentialFile::pipe(Rc::clone(sink), size)),
            (_, place) => SequentialFile::begin(
                &self.fs,
                place.as_deref().unwrap_or_default(),
                name,
                from,
                size,
            ),
        }
    }

    /// The remembered root of the file with this stat.
    #[must_use]
    pub fn remembered_root(&self, stamp: &FileStat) -> Option<ContentHash> {
        self.shared_folder.remembered_root(stamp)
    }

    /// Open a finished download.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn open_finished(&self, name: &RelativeName) -> io::Result<Opened> {
        self.fs.open(&self.place(name).ok_or(io::ErrorKind::NotFound)?)
    }

    /// True if finished downloads are shared.
    #[must_use]
    pub fn keeps_downloads(&self) -> bool {
        matches!(self.target, DownloadPlace::Folder)
    }
}
