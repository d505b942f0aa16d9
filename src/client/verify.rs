//! VERIFY: compare files with the index or with a content hash. Each file is read from start to end, a piece an iteration;
//! cached hashes do not count.
//!
//! ```text
//!   targets --> names of a folder --> a file: hash it, and request the content hashes of its name --> verdict --> the next
//! ```
//!
//! A file that can't be read is reported and counted; the others are still read.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::Client;
use crate::client::command::{MAX_PROVIDERS, VerifyTarget};
use crate::client::runner::{NextStep, Running};
use crate::client::server_requests::PendingRequest;
use crate::node::io::Io;
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Filesystem, Found, FsError};
use crate::storage::hasher::{HashStep, Hasher};
use crate::ui::event::{Failure, UiEvent, Verdict, exit};

/// Report progress this often.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(200);
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
    /// The next bytes are not resident: read them at this time.
    read_at: Option<Instant>,
    /// The content hash, once all bytes were read.
    root: Option<ContentHash>,
    /// Content hashes in the index, so far.
    expected: Vec<ContentHash>,
    /// Providers seen, so far.
    providers: usize,
    reported: Instant,
}

/// Counts of verdicts.
#[derive(Default)]
struct VerifyTally {
    right: u64,
    failed: u64,
    unknown: u64,
    unread: u64,
}

impl VerifyTally {
    /// The exit code; a mismatch matters most.
    fn exit_code(&self) -> i32 {
        match self {
            VerifyTally { failed: 1.., .. } => exit::VERIFY,
            VerifyTally { unread: 1.., .. } => exit::LOCAL,
            VerifyTally { unknown: 1.., .. } => exit::NOT_FOUND,
            _ => exit::DONE,
        }
    }
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
        let expected = given.into_iter().collect();
        Ok(Reading {
            name: name.clone(),
            size: stamp.size,
            hasher,
            read_at: None,
            root: None,
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

impl Client {
    /// Starts a VERIFY.
    pub(super) fn verify(&mut self, targets: Vec<VerifyTarget>, given: Option<ContentHash>) {
        self.commands.verifying = Some(Verification {
            left: targets.into(),
            given,
            folder: None,
            file: None,
            tally: VerifyTally::default(),
        });
        self.commands.running = Some(Running::Verify);
    }

    /// The time of the next slice.
    pub(super) fn verify_deadline(&self, now: Instant) -> Option<Instant> {
        let verifying = self.commands.verifying.as_ref().filter(|_| !self.is_ending())?;
        match &verifying.file {
            // The response of the index is still to come.
            Some(Reading { root: Some(_), .. }) => None,
            Some(file) => Some(file.read_at.unwrap_or(now)),
            None => Some(now),
        }
    }

    /// Runs one slice: lists entries, opens a file, or hashes a piece.
    pub(super) fn verify_slice(&mut self, io: &mut Io<'_>) {
        if self.is_ending() {
            return;
        }
        let Some(verifying) = &mut self.commands.verifying else { return };
        if let Some(file) = &mut verifying.file {
            if file.root.is_some() || file.read_at.is_some_and(|until| until > io.now) {
                return;
            }
            if let Err(why) = file.step(io.now) {
                return self.skip_file(&why, io);
            }
            if io.now.saturating_duration_since(file.reported) >= PROGRESS_INTERVAL {
                file.reported = io.now;
                io.tell(UiEvent::Verifying {
                    name: file.name.clone(),
                    held: file.hasher.done_bytes(),
                    size: file.size,
                });
            }
            return self.tell_verdict(io);
        }
        let Some(folder) = &mut verifying.folder else { return self.next_target(io) };
        if folder.listing.is_some() {
            match folder.scan() {
                // A folder that holds only folders: check their files, for there are no others.
                Ok(true)
                    if folder.names.is_empty()
                        && !self.config.recursive
                        && !std::mem::replace(&mut folder.goes_deeper, true) =>
                {
                    folder.listing = folder.fs.list(true).ok();
                }
                Ok(true) => folder.listing = None,
                Ok(false) => {}
                Err(error) => {
                    let failure = Failure::Disk(format!("{}: {error}", folder.path));
                    folder.listing = None;
                    verifying.tally.unread += 1;
                    io.tell(UiEvent::Failed(failure));
                }
            }
            return;
        }
        match folder.names.pop_first() {
            Some(name) => self.next_file(&name, io),
            None => verifying.folder = None,
        }
    }

    /// Opens the folder of the next target.
    fn next_target(&mut self, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(VerifyTarget { folder: path, name }) = verifying.left.pop_front() else {
            return self.verify_done(io);
        };
        let opened = (self.config.open_folder)(&path).and_then(|fs| {
            let listing = if name.is_none() { Some(fs.list(self.config.recursive)?) } else { None };
            Ok((fs, listing))
        });
        match opened {
            Ok((fs, listing)) => {
                verifying.folder = Some(VerifyFolder {
                    path,
                    fs,
                    listing,
                    goes_deeper: name.is_some(),
                    names: name.into_iter().collect(),
                })
            }
            Err(error) => {
                verifying.tally.unread += 1;
                io.tell(UiEvent::Failed(match error {
                    FsError::NoFolder => Failure::NoFolder(path),
                    error => Failure::Disk(format!("{path}: {error}")),
                }));
            }
        }
    }

    /// Opens a file, and requests the content hashes of its name.
    fn next_file(&mut self, name: &RelativeName, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(folder) = &verifying.folder else { return };
        match Reading::begin(&*folder.fs, name, verifying.given, io.now) {
            Ok(file) => {
                verifying.file = Some(file);
                if verifying.given.is_none() {
                    self.begin(
                        Running::Roots { name: name.clone(), cursor: None, sent: false },
                        io,
                    );
                }
            }
            Err(error) => {
                verifying.tally.unread += 1;
                io.tell(UiEvent::Failed(Failure::Disk(format!("{name}: {error}"))));
            }
        }
    }

    /// The file under way can't be read.
    fn skip_file(&mut self, why: &str, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(file) = verifying.file.take() else { return };
        verifying.tally.unread += 1;
        io.tell(UiEvent::Stopped(file.name.clone()));
        io.tell(UiEvent::Failed(Failure::Disk(format!("{}: {why}", file.name))));
        // A response that is still to come belongs to this file.
        self.requests.forget(&PendingRequest::Command);
        self.commands.running = Some(Running::Verify);
    }

    /// Notes a page of providers of this name.
    pub(super) fn after_roots(
        &mut self,
        name: RelativeName,
        providers: &[Provider],
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) -> NextStep {
        let Some(file) =
            self.commands.verifying.as_mut().and_then(|verifying| verifying.file.as_mut())
        else {
            return NextStep::Wait;
        };
        file.providers += providers.len();
        for root in providers.iter().filter_map(|provider| provider.file.root) {
            if !file.expected.contains(&root) {
                file.expected.push(root);
            }
        }
        if let Some(cursor) = cursor.filter(|_| file.providers < MAX_PROVIDERS) {
            return NextStep::Send(Running::Roots { name, cursor: Some(cursor), sent: false });
        }
        self.commands.running = Some(Running::Verify);
        self.tell_verdict(io);
        NextStep::Wait
    }

    /// Reports the verdict on the file under way, once the file was read and the index has answered.
    fn tell_verdict(&mut self, io: &mut Io<'_>) {
        let Some(verifying) = self
            .commands
            .verifying
            .as_mut()
            .filter(|_| self.commands.running == Some(Running::Verify))
        else {
            return;
        };
        let Some((file, root)) = verifying
            .file
            .take_if(|file| file.root.is_some())
            .and_then(|file| file.root.map(|root| (file, root)))
        else {
            return;
        };
        let Reading { name, size, mut expected, .. } = file;
        // The index lists providers in a varying order.
        expected.sort_unstable_by_key(|root| root.0);
        let tally = &mut verifying.tally;
        let (verdict, count) = match &expected[..] {
            [] => (Verdict::Unknown, &mut tally.unknown),
            some if some.contains(&root) => (Verdict::Right, &mut tally.right),
            _ => (Verdict::Failed, &mut tally.failed),
        };
        *count += 1;
        io.tell(UiEvent::Verified { name, size, root, verdict, expected });
    }

    fn verify_done(&mut self, io: &mut Io<'_>) {
        let Some(Verification { tally, .. }) = self.commands.verifying.take() else { return };
        if tally.failed > 0 {
            io.tell(UiEvent::Mismatched {
                failed: tally.failed,
                of: tally.right + tally.failed + tally.unknown,
            });
        }
        self.finish(tally.exit_code(), io);
    }
}
