//! What a peer has and what it lacks: the files that it shares, and the downloads that are under way on its disk.
//!
//! The disk itself is behind [`drive`]; the same library runs over a virtual one. [`share`] is what is shared at this moment, [`hashing`] makes one root,
//! [`hashes`] remembers all. [`plan`] says which bytes are held, [`record`] remembers that
//! beside a `.part`, [`part`] is the download's file from its first byte to its name, [`stream`] that of one that comes in one go.

pub mod arrival;
pub mod bits;
pub mod drive;
pub mod exclude;
pub mod hashes;
pub mod hashing;
pub mod left_out;
pub mod listed;
mod on_disk;
pub mod part;
pub mod plan;
mod recheck;
pub mod record;
pub mod share;
pub mod stream;
pub mod tree;
pub mod wants;

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use crate::flow::ends::{Sink, SourceRef};
use crate::library::drive::{Drive, DriveError, DriveFile, Stamp, Stands};
use crate::library::hashes::Hashes;
use crate::library::part::{Begun, Part};
use crate::library::record::{About, Content};
use crate::library::share::{Happened, Share, Slice};
use crate::library::stream::Stream;
use crate::library::tree::PieceList;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::request::FileEntry;
use crate::message::version::{Root, Tag};

/// A shared file, opened to be sent.
#[derive(Clone)]
pub struct Opened {
    /// Its bytes.
    pub source: SourceRef,
    /// How many.
    pub size: u64,
    /// Its version.
    pub tag: Tag,
}

/// Where finished downloads go.
pub enum Target {
    /// Into the folder, under their own name.
    Folder,
    /// Into the folder, under this name.
    File(String),
    /// Nowhere on disk: byte by byte into a pipe.
    Pipe(Rc<dyn Sink>),
}

/// The files of one peer.
pub struct Library {
    drive: Rc<dyn Drive>,
    target: Target,
    /// Downloads keep the folders of their names.
    keeps_folders: bool,
    share: Share,
}

impl Library {
    /// A library over `drive` that shares nothing until it is scanned; `recursive`: then the files of subfolders as well. `hashes` remembers their roots.
    #[must_use]
    pub fn new(drive: Rc<dyn Drive>, target: Target, hashes: Rc<dyn Hashes>, recursive: bool) -> Library {
        let share = Share::new(Rc::clone(&drive), hashes, recursive);
        Library { drive, target, keeps_folders: recursive, share }
    }

    /// From now on downloads keep the folders of their names, whether those are shared or not.
    #[must_use]
    pub fn keeping_folders(mut self, keeps: bool) -> Library {
        self.keeps_folders |= keeps;
        self
    }

    /// Looks at up to `most` entries of the folder. True when it has seen them all: then [`Library::files`] is what is shared, and its changes are noticed.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn scan(&mut self, most: usize, now: Instant) -> Result<bool, DriveError> {
        self.share.scan(most, now)
    }

    /// What is shared, in the order of names.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        self.share.files()
    }

    /// What is shared, from the name after this one on.
    pub fn files_after(&self, after: Option<&RelativeName>) -> impl Iterator<Item = FileEntry> + '_ {
        self.share.files_after(after)
    }

    /// What is shared, from the name after this one on, but for the first `skipped` of it.
    pub fn files_from(&self, after: Option<&RelativeName>, skipped: usize) -> impl Iterator<Item = FileEntry> + '_ {
        self.share.files_from(after, skipped)
    }

    /// The shared file of this name.
    #[must_use]
    pub fn entry(&self, name: &RelativeName) -> Option<FileEntry> {
        self.share.entry(name)
    }

    /// A shared file with this content.
    #[must_use]
    pub fn named(&self, root: &Root) -> Option<RelativeName> {
        self.share.named(root)
    }

    /// True when the file of this name is shared in just this version: then its root and its list speak of that version.
    #[must_use]
    pub fn is_version(&self, name: &RelativeName, tag: Tag) -> bool {
        self.share.is_version(name, tag)
    }

    /// The pieces of a shared file that has a root; `None` where they are not known yet, or no longer, and [`Library::hurry`] finds them.
    #[must_use]
    pub fn list(&self, name: &RelativeName) -> Option<Rc<PieceList>> {
        self.share.list(name)
    }

    /// True while a file of this name is new or being changed: it is shared when it has come to rest.
    #[must_use]
    pub fn is_settling(&self, name: &RelativeName) -> bool {
        self.share.is_settling(name)
    }

    /// How many files are shared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.share.len()
    }

    /// True when nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.share.is_empty()
    }

    /// Shares a download that has just arrived in the folder, and says what of it is to be told. Its root and list are given where they were proved.
    pub fn add(&mut self, name: &RelativeName, root: Option<Root>, list: Option<Rc<PieceList>>) -> Option<FileEntry> {
        self.share.add(&self.kept_as(name), root, list)
    }

    /// True while there are files to hash.
    #[must_use]
    pub fn is_hashing(&self) -> bool {
        self.share.is_hashing()
    }

    /// Somebody wants this file: it is hashed before all others.
    pub fn hurry(&mut self, name: &RelativeName) {
        self.share.hurry(name);
    }

    /// Somebody got other bytes of this content than its list says: that piece is hashed before all else, and the whole file where it is another now.
    pub fn suspect(&mut self, root: &Root, piece: u64) {
        self.share.suspect(root, piece);
    }

    /// Hashes one piece of the file whose turn it is.
    pub fn hash_slice(&mut self, now: Instant) -> Slice {
        self.share.hash_slice(now)
    }

    /// When [`Library::look_around`] is to be called; never before the first scan is done.
    #[must_use]
    pub fn next_look(&self) -> Option<Instant> {
        self.share.next_look()
    }

    /// What has happened in the folder since the last look.
    pub fn look_around(&mut self, now: Instant) -> Happened {
        self.share.look_around(now)
    }

    /// Opens a shared file.
    ///
    /// # Errors
    /// `not_found` where there is none, `io` where the disk fails.
    pub fn open(&self, name: &RelativeName) -> Result<Opened, Refusal> {
        if !self.share.may_share(name) {
            return Err(Refusal::no_such_file());
        }
        match self.drive.open(name) {
            Ok(opened) => Ok(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Refusal::no_such_file()),
            Err(error) => {
                log::warn!("{name}: {error}");
                Err(Refusal::new(Code::Io, "the disk of this peer failed"))
            }
        }
    }

    /// Opens a shared file to look into it.
    ///
    /// # Errors
    /// When it is not there, or the disk fails.
    pub fn read(&self, name: &RelativeName) -> io::Result<Rc<dyn DriveFile>> {
        if self.share.may_share(name) { self.drive.read(name) } else { Err(io::ErrorKind::NotFound.into()) }
    }

    /// By which name a download of `name` is shared once it is here. Folders that would be hidden are not made for others.
    #[must_use]
    pub fn kept_as(&self, name: &RelativeName) -> RelativeName {
        if self.keeps_folders && !name.is_hidden() { name.clone() } else { RelativeName::from(&name.file()) }
    }

    /// What the file is called in the folder where a download of `name` goes.
    #[must_use]
    pub fn place(&self, name: &RelativeName) -> Option<String> {
        match &self.target {
            Target::Pipe(_) => None,
            Target::Folder => Some(self.kept_as(name).to_string()),
            Target::File(file) => Some(file.clone()),
        }
    }

    /// What an earlier download of `name` was a download of.
    #[must_use]
    pub fn recall(&self, name: &RelativeName) -> Option<About> {
        part::recall(&*self.drive, &self.place(name)?)
    }

    /// The file that was wanted stands there already: what is left of its download, without a `.part`, goes.
    pub fn clean_up(&self, name: &RelativeName) {
        if let Some(place) = self.place(name) {
            part::clean_up(&*self.drive, &place);
        }
    }

    /// The file that stands where a download of `name` would go.
    ///
    /// # Errors
    /// When something else stands there, or the disk fails.
    pub fn standing(&self, name: &RelativeName) -> Result<Option<Rc<dyn DriveFile>>, DriveError> {
        let Some(place) = self.place(name) else { return Ok(None) };
        match self.drive.look(&place)? {
            Stands::Nothing => Ok(None),
            Stands::File(_) => Ok(Some(self.drive.read(&place)?)),
            Stands::Other => Err(DriveError::Taken),
        }
    }

    /// Begins or goes on with a download; see [`Part::begin`].
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn begin(&self, about: &About, list: Option<Rc<PieceList>>, cursor: u64) -> Result<Begun, DriveError> {
        match (&self.target, self.place(&about.name)) {
            (Target::Pipe(sink), _) => {
                let trusted = match (&about.content, list) {
                    (Content::Root(root), Some(list)) => Some((*root, list)),
                    _ => None,
                };
                Ok(Begun::Part(Part::pipe(Rc::clone(sink), about.size, trusted)))
            }
            (_, place) => Part::begin(&self.drive, place.as_deref().unwrap_or_default(), about, list, cursor),
        }
    }

    /// Begins a download that comes as one stream; see [`Stream::begin`].
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn stream(&self, name: &RelativeName, from: SocketAddr, size: Option<u64>) -> Result<Stream, DriveError> {
        match (&self.target, self.place(name)) {
            (Target::Pipe(sink), _) => Ok(Stream::pipe(Rc::clone(sink), size)),
            (_, place) => Stream::begin(&self.drive, place.as_deref().unwrap_or_default(), name, from, size),
        }
    }

    /// What the file with this stamp leads to, where that is remembered.
    #[must_use]
    pub fn remembers(&self, stamp: &Stamp) -> Option<Root> {
        self.share.remembers(stamp)
    }

    /// Opens the file under which a download of `name` stands when it is done.
    ///
    /// # Errors
    /// When it is not there.
    pub fn open_finished(&self, name: &RelativeName) -> io::Result<Opened> {
        self.drive.open(&self.place(name).ok_or(io::ErrorKind::NotFound)?)
    }

    /// True when a finished download is one more shared file.
    #[must_use]
    pub fn keeps_downloads(&self) -> bool {
        matches!(self.target, Target::Folder)
    }
}
