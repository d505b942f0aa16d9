//! VERIFY: compare files with the index or with a content hash. Each is read from start to end, a piece an iteration; cached hashes do not count.
//!
//! ```text
//!   what was named --> a folder's names --> a file: hashed, while the index is asked for the roots of its name --> its verdict --> the next
//! ```
//!
//! A file that can't be read is told and counted, and the others are read all the same.

use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::node::io::Io;
use crate::peer::runner::{FOUND, Running};
use crate::peer::server_requests::PendingRequest;
use crate::peer::{Peer, SCAN};
use crate::protocol::response::Provider;
use crate::protocol::types::ids::ContentHash;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::fs_trait::{Filesystem, Found, FsError};
use crate::storage::hasher::{HashStep, Hasher};
use crate::ui::event::{Failure, UiEvent, Verdict, exit};

/// What is to be checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// The folder, as it was given.
    pub folder: String,
    /// The file in it; all of them where none is named.
    pub name: Option<RelativeName>,
}

/// Between two signs of progress.
const PROGRESS: Duration = Duration::from_millis(200);

/// A VERIFY that is under way.
pub(super) struct Verification {
    /// What was named and not begun.
    left: VecDeque<Checked>,
    /// What the one file must be, whatever the index says.
    given: Option<ContentHash>,
    folder: Option<VerifyFolder>,
    file: Option<Reading>,
    tally: VerifyTally,
}

/// The folder under way.
struct VerifyFolder {
    path: String,
    drive: Rc<dyn Filesystem>,
    /// Until all of it was seen.
    listing: Option<VerifyListing>,
    /// It was listed with its subfolders, for it had no file of its own.
    goes_deeper: bool,
    /// Files that are to be read.
    names: BTreeSet<RelativeName>,
}

type VerifyListing = Box<dyn Iterator<Item = io::Result<Found>>>;

/// The file under way.
struct Reading {
    name: RelativeName,
    size: u64,
    hashing: Hasher,
    /// The disk was asked for what comes next.
    rests: Option<Instant>,
    /// What its bytes lead to, once all were read.
    root: Option<ContentHash>,
    /// What they should lead to, as far as was said.
    expected: Vec<ContentHash>,
    /// Holders that said so.
    holders: usize,
    told: Instant,
}

#[derive(Default)]
struct VerifyTally {
    right: u64,
    failed: u64,
    unknown: u64,
    unread: u64,
}

impl VerifyTally {
    /// What matters most is what is known to be wrong.
    fn code(&self) -> i32 {
        match self {
            VerifyTally { failed: 1.., .. } => exit::VERIFY,
            VerifyTally { unread: 1.., .. } => exit::LOCAL,
            VerifyTally { unknown: 1.., .. } => exit::NOT_FOUND,
            _ => exit::DONE,
        }
    }
}

impl VerifyFolder {
    /// Looks at a slice of its entries. True when all were seen.
    fn scan(&mut self) -> io::Result<bool> {
        let Some(listing) = &mut self.listing else { return Ok(true) };
        for _ in 0..SCAN {
            match listing.next() {
                None => return Ok(true),
                Some(Err(error)) if error.kind() == io::ErrorKind::Interrupted => break,
                Some(Err(error)) => return Err(error),
                // What is hidden, or a download under way, has no name in any index.
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
        drive: &dyn Filesystem,
        name: &RelativeName,
        given: Option<ContentHash>,
        now: Instant,
    ) -> io::Result<Reading> {
        let file = drive.read(name)?;
        let stamp = file.stamp()?;
        let hashing = Hasher::new(file, stamp);
        let expected = given.into_iter().collect();
        Ok(Reading {
            name: name.clone(),
            size: stamp.size,
            hashing,
            rests: None,
            root: None,
            expected,
            holders: 0,
            told: now,
        })
    }

    /// Hashes the next piece.
    fn step(&mut self, now: Instant) -> Result<(), String> {
        self.rests = None;
        match self.hashing.step(now) {
            Ok(HashStep::More) => {}
            Ok(HashStep::Rest(until)) => self.rests = Some(until),
            Ok(HashStep::Done(list)) => self.root = Some(list.root()),
            Ok(HashStep::Changed) => return Err("it changes while it is read".into()),
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }
}

impl Peer {
    /// Begins with the first of what was named.
    pub(super) fn verify(&mut self, what: Vec<Checked>, given: Option<ContentHash>) {
        self.commands.verifying = Some(Verification {
            left: what.into(),
            given,
            folder: None,
            file: None,
            tally: VerifyTally::default(),
        });
        self.commands.running = Some(Running::Verify);
    }

    /// When it wants to be woken.
    pub(super) fn verify_deadline(&self, now: Instant) -> Option<Instant> {
        let verifying = self.commands.verifying.as_ref().filter(|_| self.ending.is_none())?;
        match &verifying.file {
            // What is left to come is the answer of the index.
            Some(Reading { root: Some(_), .. }) => None,
            Some(file) => Some(file.rests.unwrap_or(now)),
            None => Some(now),
        }
    }

    /// Does one slice of the work.
    pub(super) fn verify_due(&mut self, io: &mut Io<'_>) {
        if self.ending.is_some() {
            return;
        }
        let Some(verifying) = &mut self.commands.verifying else { return };
        if let Some(file) = &mut verifying.file {
            if file.root.is_some() || file.rests.is_some_and(|until| until > io.now) {
                return;
            }
            if let Err(why) = file.step(io.now) {
                return self.unread(&why, io);
            }
            if io.now.saturating_duration_since(file.told) >= PROGRESS {
                file.told = io.now;
                io.tell(UiEvent::Verifying {
                    name: file.name.clone(),
                    held: file.hashing.done_bytes(),
                    size: file.size,
                });
            }
            return self.judge(io);
        }
        let Some(folder) = &mut verifying.folder else { return self.next_named(io) };
        if folder.listing.is_some() {
            match folder.scan() {
                // A folder of nothing but folders is meant to be looked into: nothing at all would be checked otherwise.
                Ok(true)
                    if folder.names.is_empty()
                        && !self.options.recursive
                        && !std::mem::replace(&mut folder.goes_deeper, true) =>
                {
                    folder.listing = folder.drive.list(true).ok();
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

    /// Opens the next folder that was named, or that of the next file.
    fn next_named(&mut self, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(Checked { folder: path, name }) = verifying.left.pop_front() else {
            return self.verified(io);
        };
        let opened = (self.options.open_folder)(&path).and_then(|drive| {
            let listing =
                if name.is_none() { Some(drive.list(self.options.recursive)?) } else { None };
            Ok((drive, listing))
        });
        match opened {
            Ok((drive, listing)) => {
                verifying.folder = Some(VerifyFolder {
                    path,
                    drive,
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

    /// Begins to read a file, and asks the index what it should be.
    fn next_file(&mut self, name: &RelativeName, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(folder) = &verifying.folder else { return };
        match Reading::begin(&*folder.drive, name, verifying.given, io.now) {
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
    fn unread(&mut self, why: &str, io: &mut Io<'_>) {
        let Some(verifying) = &mut self.commands.verifying else { return };
        let Some(file) = verifying.file.take() else { return };
        verifying.tally.unread += 1;
        io.tell(UiEvent::Stopped(file.name.clone()));
        io.tell(UiEvent::Failed(Failure::Disk(format!("{}: {why}", file.name))));
        // The answer that may be under way is none to the next question.
        self.requests.forget(&PendingRequest::Errand);
        self.commands.running = Some(Running::Verify);
    }

    /// A page of those who have a file of this name.
    pub(super) fn roots_found(
        &mut self,
        name: RelativeName,
        holders: &[Provider],
        cursor: Option<String>,
        io: &mut Io<'_>,
    ) {
        let Some(file) =
            self.commands.verifying.as_mut().and_then(|verifying| verifying.file.as_mut())
        else {
            return;
        };
        file.holders += holders.len();
        for root in holders.iter().filter_map(|holder| holder.file.root) {
            if !file.expected.contains(&root) {
                file.expected.push(root);
            }
        }
        if let Some(cursor) = cursor.filter(|_| file.holders < FOUND) {
            self.commands.running =
                Some(Running::Roots { name, cursor: Some(cursor), sent: false });
            return self.errand_server_is_here(io);
        }
        self.commands.running = Some(Running::Verify);
        self.judge(io);
    }

    /// Says what the file under way is, once it was read and the index has answered.
    fn judge(&mut self, io: &mut Io<'_>) {
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
        // Holders come in another order each time.
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

    /// All that was named was looked at.
    fn verified(&mut self, io: &mut Io<'_>) {
        let Some(Verification { tally, .. }) = self.commands.verifying.take() else { return };
        if tally.failed > 0 {
            io.tell(UiEvent::Mismatched {
                failed: tally.failed,
                of: tally.right + tally.failed + tally.unknown,
            });
        }
        self.finish(tally.code(), io);
    }
}
