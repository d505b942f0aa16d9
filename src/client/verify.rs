//! VERIFY: compare files with the index or with a content hash. Each file is read from start to end, a piece an iteration;
//! cached hashes do not count.
//!
//! ```text
//!   targets --> names of a folder --> a file: hash the file, and request the content hashes of its name --> verdict --> the next
//! ```
//!
//! A file that can't be read is reported and counted; the others are still read.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::Instant;

use crate::client::command::{MAX_PROVIDERS, VerifyTarget};
use crate::client::config::ClientConfig;
use crate::limits;
use crate::node::io::Io;
use crate::protocol::request::{Request, Selector};
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Filesystem, Found, FsError};
use crate::storage::hasher::{HashStep, Hasher};
use crate::ui::event::{Failure, UiEvent, Verdict, VerifyTally};

/// Entries of a folder listed in one iteration.
const SCAN_ENTRIES: usize = 1_000;

/// A VERIFY under way.
pub(super) struct Verification {
    /// Targets to come.
    left: VecDeque<VerifyTarget>,
    /// The content hash that the only file must have, in place of those of the index.
    given: Option<ContentHash>,
    folder: Option<VerifyFolder>,
    file: Option<Reading>,
    tally: VerifyTally,
}

/// The folder under way.
struct VerifyFolder {
    path: String,
    fs: Rc<dyn Filesystem>,
    /// `None` once all entries were seen.
    listing: Option<VerifyListing>,
    /// Listed with its subfolders: it has no file of its own.
    goes_deeper: bool,
    /// Files to come.
    names: BTreeSet<RelativeName>,
}

/// Entries of a folder.
type VerifyListing = Box<dyn Iterator<Item = io::Result<Found>>>;

/// The file under way.
struct Reading {
    name: RelativeName,
    size: u64,
    hasher: Hasher,
    /// The next bytes are not resident: read at this time.
    read_at: Option<Instant>,
    /// The content hash, once all bytes were read.
    root: Option<ContentHash>,
    lookup: Lookup,
    /// Content hashes in the index, so far.
    expected: Vec<ContentHash>,
    /// Providers seen, so far.
    providers: usize,
    reported: Instant,
}

/// The request for the content hashes of a name.
enum Lookup {
    /// A page is requested. `cursor`: the end of the last page.
    Page { cursor: Option<String>, sent: bool },
    /// All content hashes are known.
    Done,
}

/// The step after a slice.
pub(super) enum AfterSlice {
    /// The next slice.
    Continue,
    /// Request the content hashes of the file under way.
    Request,
    /// The file can't be read: a response that is still to come belongs to this file.
    ForgetRequest,
    /// All targets are done, with this exit code.
    Done(i32),
}

impl VerifyFolder {
    /// Lists a slice of the entries. True once all were seen.
    fn scan(&mut self) -> io::Result<bool> {
        let Some(listing) = &mut self.listing else { return Ok(true) };
        for _ in 0..SCAN_ENTRIES {
            match listing.next() {
                None => return Ok(true),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(error)) => return Err(error),
                // Hidden files and partial downloads have no entry in any index.
                Some(Ok(found)) if found.barred.is_some() => {}
                Some(Ok(found)) => self
                    .names
                    .extend(RelativeName::new(&found.name).ok().filter(|name| !name.is_hidden())),
            }
        }
        Ok(false)
    }
}

impl Reading {
    fn begin(
        fs: &dyn Filesystem,
        name: &RelativeName,
        given: Option<ContentHash>,
        now: Instant,
    ) -> io::Result<Reading> {
        let file = fs.read(name)?;
        let stamp = file.stamp()?;
        let hasher = Hasher::new(file, stamp);
        let lookup = match given {
            Some(_) => Lookup::Done,
            None => Lookup::Page { cursor: None, sent: false },
        };
        let expected = given.into_iter().collect();
        Ok(Reading {
            name: name.clone(),
            size: stamp.size,
            hasher,
            read_at: None,
            root: None,
            lookup,
            expected,
            providers: 0,
            reported: now,
        })
    }

    /// Hashes the next piece.
    fn step(&mut self, now: Instant) -> Result<(), String> {
        self.read_at = None;
        match self.hasher.step(now) {
            Ok(HashStep::More) => {}
            Ok(HashStep::Rest(until)) => self.read_at = Some(until),
            Ok(HashStep::Done(list)) => self.root = Some(list.root()),
            Ok(HashStep::Changed) => return Err("it changes while it is read".into()),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }
}

impl Verification {
    /// `given`: the content hash that the only file must have.
    pub(super) fn new(targets: Vec<VerifyTarget>, given: Option<ContentHash>) -> Verification {
        Verification {
            left: targets.into(),
            given,
            folder: None,
            file: None,
            tally: VerifyTally::default(),
        }
    }

    /// True while content hashes are requested.
    pub(super) fn is_asking(&self) -> bool {
        self.file.as_ref().is_some_and(|file| matches!(file.lookup, Lookup::Page { .. }))
    }

    /// The time of the next slice.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.file {
            // The response of the index is still to come.
            Some(Reading { root: Some(_), .. }) => None,
            Some(file) => Some(file.read_at.unwrap_or(now)),
            None => Some(now),
        }
    }

    /// The request to send now, which counts as sent from now on.
    pub(super) fn next_request(&mut self) -> Option<Request> {
        let file = self.file.as_mut()?;
        match &mut file.lookup {
            Lookup::Page { cursor, sent } if !*sent => {
                *sent = true;
                let wanted = Selector::Name(file.name.clone());
                Some(Request::Search { wanted, cursor: cursor.clone(), speaks: None })
            }
            _ => None,
        }
    }

    /// The connection is closed: the request is sent again over the next.
    pub(super) fn forget_sent(&mut self) {
        if let Some(Reading { lookup: Lookup::Page { sent, .. }, .. }) = &mut self.file {
            *sent = false;
        }
    }

    /// Adds a page of providers of the name. True when another page is to be requested.
    pub(super) fn add_page(
        &mut self,
        providers: &[Provider],
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) -> bool {
        let Some(file) = &mut self.file else { return false };
        file.providers += providers.len();
        for root in providers.iter().filter_map(|provider| provider.file.root) {
            if !file.expected.contains(&root) {
                file.expected.push(root);
            }
        }
        if let Some(cursor) = cursor.filter(|_| file.providers < MAX_PROVIDERS) {
            file.lookup = Lookup::Page { cursor: Some(cursor), sent: false };
            return true;
        }
        file.lookup = Lookup::Done;
        self.tell_verdict(io);
        false
    }

    /// Runs one slice: lists entries, opens a file, or hashes a piece.
    pub(super) fn slice(&mut self, config: &ClientConfig, io: &mut Io<'_>) -> AfterSlice {
        if let Some(file) = &mut self.file {
            if file.root.is_some() || file.read_at.is_some_and(|until| until > io.now) {
                return AfterSlice::Continue;
            }
            if let Err(why) = file.step(io.now) {
                return self.skip_file(&why, io);
            }
            if io.now.saturating_duration_since(file.reported) >= limits::PROGRESS_INTERVAL {
                file.reported = io.now;
                io.tell(UiEvent::Verifying {
                    name: file.name.clone(),
                    held: file.hasher.done_bytes(),
                    size: file.size,
                });
            }
            self.tell_verdict(io);
            return AfterSlice::Continue;
        }
        let Some(folder) = &mut self.folder else { return self.next_target(config, io) };
        if folder.listing.is_some() {
            match folder.scan() {
                // A folder that holds only folders: check the files of these.
                Ok(true)
                    if folder.names.is_empty()
                        && !config.recursive
                        && !std::mem::replace(&mut folder.goes_deeper, true) =>
                {
                    folder.listing = folder.fs.list(true).ok();
                }
                Ok(true) => folder.listing = None,
                Ok(false) => {}
                Err(error) => {
                    let failure = Failure::Disk(format!("{}: {error}", folder.path));
                    folder.listing = None;
                    self.tally.note_unread();
                    io.tell(UiEvent::Failed(failure));
                }
            }
            return AfterSlice::Continue;
        }
        match folder.names.pop_first() {
            Some(name) => self.next_file(&name, io),
            None => {
                self.folder = None;
                AfterSlice::Continue
            }
        }
    }

    /// Opens the folder of the next target.
    fn next_target(&mut self, config: &ClientConfig, io: &mut Io<'_>) -> AfterSlice {
        let Some(VerifyTarget { folder: path, name }) = self.left.pop_front() else {
            return self.end(io);
        };
        let opened = (config.open_folder)(&path).and_then(|fs| {
            let listing = if name.is_none() { Some(fs.list(config.recursive)?) } else { None };
            Ok((fs, listing))
        });
        match opened {
            Ok((fs, listing)) => {
                self.folder = Some(VerifyFolder {
                    path,
                    fs,
                    listing,
                    goes_deeper: name.is_some(),
                    names: name.into_iter().collect(),
                })
            }
            Err(error) => {
                self.tally.note_unread();
                io.tell(UiEvent::Failed(match error {
                    FsError::NoFolder => Failure::NoFolder(path),
                    error => Failure::Disk(format!("{path}: {error}")),
                }));
            }
        }
        AfterSlice::Continue
    }

    /// Opens a file, and requests the content hashes of its name.
    fn next_file(&mut self, name: &RelativeName, io: &mut Io<'_>) -> AfterSlice {
        let Some(folder) = &self.folder else {
            debug_assert!(false, "a file stands in a folder");
            return AfterSlice::Continue;
        };
        match Reading::begin(&*folder.fs, name, self.given, io.now) {
            Ok(file) => {
                self.file = Some(file);
                if self.is_asking() { AfterSlice::Request } else { AfterSlice::Continue }
            }
            Err(error) => {
                self.tally.note_unread();
                io.tell(UiEvent::Failed(Failure::Disk(format!("{name}: {error}"))));
                AfterSlice::Continue
            }
        }
    }

    /// The file under way can't be read.
    fn skip_file(&mut self, why: &str, io: &mut Io<'_>) -> AfterSlice {
        let Some(file) = self.file.take() else { return AfterSlice::Continue };
        self.tally.note_unread();
        io.tell(UiEvent::Stopped(file.name.clone()));
        io.tell(UiEvent::Failed(Failure::Disk(format!("{}: {why}", file.name))));
        AfterSlice::ForgetRequest
    }

    /// Reports the verdict on the file under way, once the file was read and the index has answered.
    fn tell_verdict(&mut self, io: &mut Io<'_>) {
        let is_complete =
            |file: &mut Reading| file.root.is_some() && matches!(file.lookup, Lookup::Done);
        let Some(file) = self.file.take_if(is_complete) else { return };
        let Reading { name, size, root: Some(root), mut expected, .. } = file else { return };
        // The index lists providers in a varying order.
        expected.sort_unstable_by_key(|root| root.0);
        let verdict = match &expected[..] {
            [] => Verdict::Unknown,
            some if some.contains(&root) => Verdict::Right,
            _ => Verdict::Failed,
        };
        self.tally.note(verdict);
        io.tell(UiEvent::Verified { name, size, root: Some(root), verdict, expected });
    }

    fn end(&self, io: &mut Io<'_>) -> AfterSlice {
        if let Some(event) = self.tally.mismatches() {
            io.tell(event);
        }
        AfterSlice::Done(self.tally.exit_code())
    }
}
