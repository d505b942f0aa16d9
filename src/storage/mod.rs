//! Files of one peer: those that it shares, and downloads that are under way.
//!
//! [`fs_trait`] is the disk behind it, real or simulated. [`shared_folder`] is what is shared now, [`hasher`] computes one hash list, [`hash_cache`] remembers
//! all. [`piece_picker`] decides which piece to request next (rarest first, read-ahead, endgame), [`bitfield`] is a set of pieces, [`resume_file`] remembers them
//! beside a `.part`, [`partial_file`] is a verified download on its disk, [`sequential_file`] one that comes as a single stream.

pub mod bitfield;
pub mod exclude;
pub mod fs_trait;
pub mod hash_cache;
pub mod hash_list;
pub mod hasher;
pub mod partial_file;
pub mod piece_buffer;
pub mod piece_picker;
pub mod piece_tree;
pub mod priorities;
mod recheck;
pub mod resume_file;
pub mod sequential_file;
pub mod shared_folder;
pub mod skipped;
mod writeback;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::io::traits::{Sink, SourceRef};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{DirEntryKind, FileStat, Filesystem, FsError, FsFile};
use crate::storage::hash_cache::HashStore;
use crate::storage::partial_file::{PartialFile, PartialOpening};
use crate::storage::piece_tree::HashList;
use crate::storage::resume_file::{Content, DownloadIdentity};
use crate::storage::sequential_file::SequentialFile;
use crate::storage::shared_folder::{FolderChange, HashOutcome, SharedFolder};

/// A shared file, opened to be sent.
#[derive(Clone)]
pub struct Opened {
    /// Its bytes.
    pub source: SourceRef,
    /// How many.
    pub size: u64,
    /// Its version.
    pub tag: FileVersion,
}

/// Where finished downloads go.
pub enum DownloadPlace {
    /// Into the folder, under their own name.
    Folder,
    /// Into the folder, under this name.
    File(String),
    /// Nowhere on disk: byte by byte into a pipe.
    Pipe(Rc<dyn Sink>),
}

/// The files of one peer.
pub struct Storage {
    fs: Rc<dyn Filesystem>,
    target: DownloadPlace,
    /// Downloads keep the folders of their names.
    keeps_folders: bool,
    shared_folder: SharedFolder,
}

impl Storage {
    /// A library over `drive` that shares nothing until it is scanned; `recursive`: then the files of subfolders as well. `hashes` remembers their roots.
    #[must_use]
    pub fn new(
        drive: Rc<dyn Filesystem>,
        target: DownloadPlace,
        hashes: Rc<dyn HashStore>,
        recursive: bool,
    ) -> Storage {
        let share = SharedFolder::new(Rc::clone(&drive), hashes, recursive);
        Storage { fs: drive, target, keeps_folders: recursive, shared_folder: share }
    }

    /// From now on downloads keep the folders of their names, whether those are shared or not.
    #[must_use]
    pub fn keeping_folders(mut self, keeps: bool) -> Storage {
        self.keeps_folders |= keeps;
        self
    }

    /// Looks at up to `most` entries of the folder. True when it has seen them all: then [`Storage::files`] is what is shared, and its changes are noticed.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn scan(&mut self, most: usize, now: Instant) -> Result<bool, FsError> {
        self.shared_folder.scan(most, now)
    }

    /// What is shared, in the order of names.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared_folder.files()
    }

    /// What is shared, from the name after this one on.
    pub fn files_after(
        &self,
        after: Option<&RelativeName>,
    ) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared_folder.files_after(after)
    }

    /// What is shared, from the name after this one on, but for the first `skipped` of it.
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

    /// A shared file with this content.
    #[must_use]
    pub fn named(&self, root: &ContentHash) -> Option<RelativeName> {
        self.shared_folder.named(root)
    }

    /// True when the file of this name is shared in just this version: then its root and its list speak of that version.
    #[must_use]
    pub fn is_version(&self, name: &RelativeName, tag: FileVersion) -> bool {
        self.shared_folder.is_version(name, tag)
    }

    /// The pieces of a shared file that has a root; `None` where they are not known yet, or no longer, and [`Storage::prioritize`] finds them.
    #[must_use]
    pub fn list(&self, name: &RelativeName) -> Option<Rc<HashList>> {
        self.shared_folder.list(name)
    }

    /// True while a file of this name is new or being changed: it is shared when it has come to rest.
    #[must_use]
    pub fn is_settling(&self, name: &RelativeName) -> bool {
        self.shared_folder.is_settling(name)
    }

    /// How many files are shared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared_folder.len()
    }

    /// True when nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared_folder.is_empty()
    }

    /// Shares a download that has just arrived in the folder, and says what of it is to be told. Its root and list are given where they were proved.
    pub fn add(
        &mut self,
        name: &RelativeName,
        root: Option<ContentHash>,
        list: Option<Rc<HashList>>,
    ) -> Option<FileEntry> {
        self.shared_folder.add(&self.kept_as(name), root, list)
    }

    /// True while there are files to hash.
    #[must_use]
    pub fn is_hashing(&self) -> bool {
        self.shared_folder.is_hashing()
    }

    /// Somebody wants this file: it is hashed before all others.
    pub fn prioritize(&mut self, name: &RelativeName) {
        self.shared_folder.prioritize(name);
    }

    /// Somebody got other bytes of this content than its list says: that piece is hashed before all else, and the whole file where it is another now.
    pub fn suspect(&mut self, root: &ContentHash, piece: u64) {
        self.shared_folder.suspect(root, piece);
    }

    /// Hashes one piece of the file whose turn it is.
    pub fn hash_slice(&mut self, now: Instant) -> HashOutcome {
        self.shared_folder.hash_slice(now)
    }

    /// When [`Storage::poll_changes`] is to be called; never before the first scan is done.
    #[must_use]
    pub fn next_poll(&self) -> Option<Instant> {
        self.shared_folder.next_poll()
    }

    /// What has happened in the folder since the last look.
    pub fn poll_changes(&mut self, now: Instant) -> FolderChange {
        self.shared_folder.poll_changes(now)
    }

    /// Opens a shared file.
    ///
    /// # Errors
    /// `not_found` where there is none, `io` where the disk fails.
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

    /// Opens a shared file to look into it.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    pub fn read(&self, name: &RelativeName) -> io::Result<Rc<dyn FsFile>> {
        if self.shared_folder.may_share(name) {
            self.fs.read(name)
        } else {
            Err(io::ErrorKind::NotFound.into())
        }
    }

    /// By which name a download of `name` is shared once it is here. Folders that would be hidden are not made for others.
    #[must_use]
    pub fn kept_as(&self, name: &RelativeName) -> RelativeName {
        if self.keeps_folders && !name.is_hidden() {
            name.clone()
        } else {
            RelativeName::from(&name.file())
        }
    }

    /// What the file is called in the folder where a download of `name` goes.
    #[must_use]
    pub fn place(&self, name: &RelativeName) -> Option<String> {
        match &self.target {
            DownloadPlace::Pipe(_) => None,
            DownloadPlace::Folder => Some(self.kept_as(name).to_string()),
            DownloadPlace::File(file) => Some(file.clone()),
        }
    }

    /// What an earlier download of `name` was a download of.
    #[must_use]
    pub fn recall(&self, name: &RelativeName) -> Option<DownloadIdentity> {
        partial_file::recall(&*self.fs, &self.place(name)?)
    }

    /// The file that was wanted stands there already: what is left of its download, without a `.part`, goes.
    pub fn clean_up(&self, name: &RelativeName) {
        if let Some(place) = self.place(name) {
            partial_file::clean_up(&*self.fs, &place);
        }
    }

    /// The file that stands where a download of `name` would go.
    ///
    /// # Errors
    /// When something else stands there, or the disk fails.
    pub fn standing(&self, name: &RelativeName) -> Result<Option<Rc<dyn FsFile>>, FsError> {
        let Some(place) = self.place(name) else { return Ok(None) };
        match self.fs.look(&place)? {
            DirEntryKind::Nothing => Ok(None),
            DirEntryKind::File(_) => Ok(Some(self.fs.read(&place)?)),
            DirEntryKind::Other => Err(FsError::Taken),
        }
    }

    /// Begins or goes on with a download; see [`PartialFile::begin`].
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
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

    /// Begins a download that comes as one stream; see [`SequentialFile::begin`].
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
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

    /// What the file with this stamp leads to, where that is remembered.
    #[must_use]
    pub fn remembers(&self, stamp: &FileStat) -> Option<ContentHash> {
        self.shared_folder.remembers(stamp)
    }

    /// Opens the file under which a download of `name` stands when it is done.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open_finished(&self, name: &RelativeName) -> io::Result<Opened> {
        self.fs.open(&self.place(name).ok_or(io::ErrorKind::NotFound)?)
    }

    /// True when a finished download is one more shared file.
    #[must_use]
    pub fn keeps_downloads(&self) -> bool {
        matches!(self.target, DownloadPlace::Folder)
    }
}
