//! What a peer has and what it lacks: the files that it shares, and the downloads that are under way on its disk.
//!
//! The disk itself is behind [`drive`]; the same library runs over a virtual one. [`plan`] says which bytes are held, [`record`] remembers that
//! beside a `.part`, [`part`] is the download's file from its first byte to its name.

pub mod arrival;
pub mod bits;
pub mod drive;
pub mod hashes;
pub mod hashing;
pub mod part;
pub mod plan;
pub mod record;
pub mod tree;

use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use crate::flow::ends::{Sink, SourceRef};
use crate::library::drive::{Drive, DriveError, Found};
use crate::library::part::{Begun, Part};
use crate::library::record::{About, Content};
use crate::library::tree::PieceList;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::request::FileEntry;
use crate::message::version::Tag;

/// A shared file, opened for one upload.
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
    shared: BTreeMap<RelativeName, u64>,
    scanning: Option<Box<dyn Iterator<Item = io::Result<Found>>>>,
}

impl Library {
    /// A library over `drive` that shares nothing until it is scanned.
    #[must_use]
    pub fn new(drive: Rc<dyn Drive>, target: Target) -> Library {
        Library { drive, target, shared: BTreeMap::new(), scanning: None }
    }

    /// Looks at up to `most` entries of the folder. True when it has seen them all: then [`Library::files`] is what is shared.
    ///
    /// # Errors
    /// When the folder can't be read.
    pub fn scan(&mut self, most: usize) -> Result<bool, DriveError> {
        let mut scanning = match self.scanning.take() {
            Some(scanning) => scanning,
            None => {
                self.shared.clear();
                self.drive.list(false)?
            }
        };
        for _ in 0..most {
            match scanning.next() {
                None => return Ok(true),
                Some(Err(error)) => return Err(DriveError::Io(error.to_string())),
                Some(Ok(found)) => self.note(&found),
            }
        }
        self.scanning = Some(scanning);
        Ok(false)
    }

    fn note(&mut self, found: &Found) {
        match RelativeName::new(&found.name) {
            Ok(name) if is_shared(&name) => {
                self.shared.insert(name, found.stamp.size);
            }
            Ok(_) => {}
            Err(why) => log::debug!("not shared: {:?}: a file name must not {why}", found.name),
        }
    }

    /// What is shared, in the order of names.
    pub fn files(&self) -> impl Iterator<Item = FileEntry> + '_ {
        self.shared.iter().map(|(name, size)| FileEntry::new(name.clone(), *size))
    }

    /// What is shared, from the name after this one on.
    pub fn files_after(&self, after: Option<&RelativeName>) -> impl Iterator<Item = FileEntry> + '_ {
        use std::ops::Bound;
        let start = after.map_or(Bound::Unbounded, |name| Bound::Excluded(name.clone()));
        self.shared.range((start, Bound::Unbounded)).map(|(name, size)| FileEntry::new(name.clone(), *size))
    }

    /// How many files are shared.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.len()
    }

    /// True when nothing is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shared.is_empty()
    }

    /// Shares a file that has just arrived.
    pub fn add(&mut self, name: &RelativeName, size: u64) {
        if is_shared(name) {
            self.shared.insert(name.clone(), size);
        }
    }

    /// Opens a shared file.
    ///
    /// # Errors
    /// `not_found` where there is none, `io` where the disk fails.
    pub fn open(&self, name: &RelativeName) -> Result<Opened, Refusal> {
        let nothing = || Refusal::new(Code::NotFound, "no such file here");
        if !is_shared(name) {
            return Err(nothing());
        }
        match self.drive.open(name) {
            Ok(opened) => Ok(opened),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(nothing()),
            Err(error) => {
                log::warn!("{name}: {error}");
                Err(Refusal::new(Code::Io, "the disk of this peer failed"))
            }
        }
    }

    /// What the file is called in the folder where a download of `name` goes.
    #[must_use]
    pub fn place(&self, name: &RelativeName) -> Option<String> {
        match &self.target {
            Target::Pipe(_) => None,
            Target::Folder => Some(name.file().to_string()),
            Target::File(file) => Some(file.clone()),
        }
    }

    /// What an earlier download of `name` was a download of.
    #[must_use]
    pub fn recall(&self, name: &RelativeName) -> Option<About> {
        part::recall(&*self.drive, &self.place(name)?)
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

    /// True when a finished download is one more shared file.
    #[must_use]
    pub fn keeps_downloads(&self) -> bool {
        matches!(self.target, Target::Folder)
    }
}

/// Hidden files are a person's own affair, though their names are good.
fn is_shared(name: &RelativeName) -> bool {
    !name.is_hidden()
}
