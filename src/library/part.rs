//! A download's file, from its first byte to its name.
//!
//! ```text
//!                 record, then .part          all bytes held      disk has them
//!   nothing  ----------------------> Writing ---------------> Settling --------> named, record gone
//!      |     same size stands there
//!      '----------------------------> Comparing -------------------------------> it was there already
//! ```
//!
//! The order of writes keeps two promises. A `.part` without a record is never ours, because the record is written first: nothing of somebody
//! else's is overwritten. The final name is given only after every byte is on the disk: a file with that name is whole. A record never claims
//! bytes that were not written before it.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;

use crate::flow::ends::{Sink, SinkRef};
use crate::library::drive::{Drive, DriveError, DriveFile, Stands};
use crate::library::plan::Plan;
use crate::library::record::{self, Record};
use crate::message::limits;
use crate::message::range::ByteRange;

/// Bytes between two moments at which a download is made to survive a power cut.
const SYNC_BYTES: u64 = 256 << 20;
/// What a file system takes as one name.
const NAME_MAX: usize = 255;

/// A download on its disk.
#[derive(Clone)]
pub struct Part(Rc<Inner>);

struct Inner {
    plan: RefCell<Plan>,
    place: Place,
}

enum Place {
    /// Into a `.part`, then to its name.
    Disk(OnDisk),
    /// A file of that name and size is there: are they the same?
    Compare { file: Rc<dyn DriveFile>, differs: Cell<bool> },
    /// Into a pipe.
    Pipe(SinkRef),
}

struct OnDisk {
    drive: Rc<dyn Drive>,
    file: Rc<dyn DriveFile>,
    name: String,
    record: Record,
    boot: String,
    /// Bytes that the disk was asked to write.
    nudged: Cell<u64>,
    /// Bytes that the disk is known to have.
    clean: Cell<u64>,
    /// Bytes that survive a power cut.
    synced: Cell<u64>,
    /// What the record beside the `.part` claims.
    recorded: Cell<u64>,
    /// The disk has failed to make bytes lasting, and says so only once: none but those that are lasting count from then on.
    broken: Cell<bool>,
}

/// How far the end of a download has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// The disk still writes; ask again.
    NotYet,
    /// The file has its name.
    Named,
    /// It was there already, byte for byte.
    Same,
}

/// What an earlier download into `name` left behind.
#[must_use]
pub fn recall(drive: &dyn Drive, name: &str) -> Option<Record> {
    let (part, note) = names(name);
    let record = Record::read(&drive.read_small(&note, record::MOST_BYTES).ok()?, &drive.boot())?;
    matches!(drive.look(&part), Ok(Stands::File(_))).then_some(record)
}

impl Part {
    /// Begins a download into `name`, or goes on with the one that is there when it is the same version from the same source.
    ///
    /// # Errors
    /// When the disk can't take it, or something else is in its place.
    pub fn begin(drive: &Rc<dyn Drive>, name: &str, wanted: &Record) -> Result<Part, DriveError> {
        let place = match drive.look(name)? {
            Stands::File(size) if size == wanted.size => {
                let plan = Plan::new(wanted.size, 0);
                let file = drive.read(name)?;
                return Ok(Part::new(plan, Place::Compare { file, differs: Cell::new(false) }));
            }
            Stands::Nothing => OnDisk::begin(drive, name, wanted)?,
            Stands::File(_) | Stands::Other => return Err(DriveError::Taken),
        };
        let plan = Plan::new(wanted.size, place.recorded.get());
        Ok(Part::new(plan, Place::Disk(place)))
    }

    /// A download that goes into a pipe: it can't be taken up later.
    #[must_use]
    pub fn pipe(sink: SinkRef, size: u64) -> Part {
        Part::new(Plan::new(size, 0), Place::Pipe(sink))
    }

    fn new(plan: Plan, place: Place) -> Part {
        Part(Rc::new(Inner { plan: RefCell::new(plan), place }))
    }

    /// How many bytes are there.
    #[must_use]
    pub fn held(&self) -> u64 {
        self.0.plan.borrow().held()
    }

    /// True when all bytes are there.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.0.plan.borrow().is_whole()
    }

    /// Which bytes to ask a source for: all that are missing.
    #[must_use]
    pub fn take(&self) -> ByteRange {
        self.0.plan.borrow_mut().take()
    }

    /// The source is gone. The record now says what is held, so that even a killed process loses nothing.
    pub fn give_back(&self) {
        self.0.plan.borrow_mut().give_back();
        if let Place::Disk(disk) = &self.0.place {
            disk.note(self.held());
        }
    }

    /// This download as the place where a body goes.
    #[must_use]
    pub fn sink(&self) -> SinkRef {
        Rc::clone(&self.0) as SinkRef
    }

    /// Ends a download whose bytes are all there. Never waits long: [`Settled::NotYet`] means to ask again soon.
    ///
    /// # Errors
    /// When the disk fails, or another file took the name meanwhile.
    pub fn settle(&self) -> Result<Settled, DriveError> {
        match &self.0.place {
            Place::Pipe(sink) => Ok(if sink.room() == limits::STDOUT_BYTES { Settled::Named } else { Settled::NotYet }),
            Place::Compare { differs, .. } if differs.get() => Err(DriveError::Taken),
            Place::Compare { .. } => Ok(Settled::Same),
            Place::Disk(disk) => disk.settle(self.held()),
        }
    }

    /// True when a comparison has found another file at its place.
    #[must_use]
    pub fn differs(&self) -> bool {
        matches!(&self.0.place, Place::Compare { differs, .. } if differs.get())
    }

    /// True when it can begin anew: what went into a pipe can't be taken back.
    #[must_use]
    pub fn may_restart(&self) -> bool {
        !matches!(self.0.place, Place::Pipe(_)) || self.held() == 0
    }

    /// Leaves nothing behind: the file at its source is another one now.
    pub fn discard(&self) {
        if let Place::Disk(disk) = &self.0.place {
            disk.discard();
        }
    }
}

impl Sink for Inner {
    fn room(&self) -> usize {
        match &self.place {
            Place::Compare { .. } => usize::MAX,
            Place::Pipe(sink) => sink.room(),
            Place::Disk(disk) => disk.room(self.plan.borrow().held()),
        }
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let before = self.plan.borrow().clone();
        if !self.plan.borrow_mut().hold(at, bytes.len() as u64) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "bytes that nobody asked for"));
        }
        let stored = match &self.place {
            Place::Pipe(sink) => sink.put(at, bytes),
            Place::Disk(disk) => disk.put(at, bytes),
            Place::Compare { file, differs } => {
                let mut ours = vec![0; bytes.len()];
                let count = file.read_at(at, &mut ours)?;
                if ours[..count] == *bytes {
                    return Ok(());
                }
                differs.set(true);
                Err(io::Error::new(io::ErrorKind::AlreadyExists, "another file has that name"))
            }
        };
        if stored.is_err() {
            // What was not stored is not held: the record must never claim it.
            *self.plan.borrow_mut() = before;
        }
        stored
    }
}

impl OnDisk {
    fn begin(drive: &Rc<dyn Drive>, name: &str, wanted: &Record) -> Result<OnDisk, DriveError> {
        let (part, note) = names(name);
        let boot = drive.boot();
        let stands = drive.look(&part)?;
        let known = || drive.read_small(&note, record::MOST_BYTES).ok().and_then(|text| Record::read(&text, &boot));
        let (file, held) = match stands {
            Stands::Nothing => {
                // The record comes first: a .part without one is somebody else's.
                drive.replace_small(&note, &Record { held: 0, ..wanted.clone() }.write(&boot, 0))?;
                (drive.write(&part, true)?, 0)
            }
            Stands::File(size) if known().is_some() => {
                let file = drive.write(&part, false)?;
                // Read under the lock: until then another process could still write it.
                let held = known().filter(|known| known.continues(wanted) && size >= known.held).map_or(0, |known| known.held);
                (file, held)
            }
            Stands::File(_) | Stands::Other => return Err(DriveError::NotOurs(part)),
        };
        if held == 0 {
            drive.replace_small(&note, &Record { held: 0, ..wanted.clone() }.write(&boot, 0))?;
        }
        if let Err(error) = file.allocate(wanted.size) {
            if held == 0 {
                let _ = drive.remove(&part);
                let _ = drive.remove(&note);
            }
            return Err(error.into());
        }
        let at = || Cell::new(held);
        let record = wanted.clone();
        let (nudged, clean, synced, recorded) = (at(), at(), Cell::new(0), at());
        Ok(OnDisk { drive: Rc::clone(drive), file, name: name.to_owned(), record, boot, nudged, clean, synced, recorded, broken: Cell::new(false) })
    }

    fn room(&self, held: u64) -> usize {
        if held - self.clean.get() <= limits::DIRTY_BYTES {
            return usize::MAX;
        }
        let waiting = self.dirty(held);
        if waiting <= limits::DIRTY_BYTES { usize::MAX } else { 0 }
    }

    /// What the disk does not have yet; moves the clean mark as far as it can.
    fn dirty(&self, held: u64) -> u64 {
        let Some(range) = ByteRange::new(self.clean.get(), held - self.clean.get()) else { return 0 };
        let waiting = self.file.dirty(range);
        if waiting == 0 {
            self.clean.set(held);
        } else {
            // Find how far from the front it is clean, in steps of what was nudged together.
            let mut front = range;
            let step = front.take(limits::FLUSH_BYTES);
            if self.file.dirty(step) == 0 {
                self.clean.set(step.end());
            }
        }
        waiting
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_at(at, bytes)?;
        let held = at + bytes.len() as u64;
        if held - self.nudged.get() >= limits::FLUSH_BYTES {
            if let Some(range) = ByteRange::new(self.nudged.get(), held - self.nudged.get()) {
                self.file.nudge(range);
            }
            self.nudged.set(held);
            if self.clean.get() - self.synced.get() >= SYNC_BYTES && self.dirty(held) < limits::FLUSH_BYTES * 2 {
                let clean = self.clean.get();
                self.sync()?;
                self.synced.set(clean);
            }
            self.note(held);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync().inspect_err(|_| {
            self.broken.set(true);
            self.note(self.synced.get());
        })
    }

    /// Writes the record. One that can't be written costs only bytes that are fetched again.
    fn note(&self, held: u64) {
        let held = if self.broken.get() { held.min(self.synced.get()) } else { held };
        if held == self.recorded.get() && held != 0 {
            return;
        }
        let text = Record { held, ..self.record.clone() }.write(&self.boot, self.synced.get().min(held));
        match self.drive.replace_small(&names(&self.name).1, &text) {
            Ok(()) => self.recorded.set(held),
            Err(error) => log::warn!("{}: the record could not be written: {error}", self.name),
        }
    }

    fn settle(&self, held: u64) -> Result<Settled, DriveError> {
        if held > self.nudged.get() {
            if let Some(range) = ByteRange::new(self.nudged.get(), held - self.nudged.get()) {
                self.file.nudge(range);
            }
            self.nudged.set(held);
            self.note(held);
        }
        // Waiting for the disk inside sync would hold up the whole loop; so it is called when little is left to write.
        if self.dirty(held) > 0 {
            return Ok(Settled::NotYet);
        }
        self.sync()?;
        let (part, note) = names(&self.name);
        self.drive.rename_new(&part, &self.name)?;
        let _ = self.drive.remove(&note);
        Ok(Settled::Named)
    }

    fn discard(&self) {
        let (part, note) = names(&self.name);
        // The .part goes first: one without a record would be in everybody's way for ever.
        let _ = self.drive.remove(&part);
        let _ = self.drive.remove(&note);
    }
}

/// The names of the `.part` and its record. Where they would be too long the front of the name stands for it, with a hash of all of it.
fn names(name: &str) -> (String, String) {
    const ENDING: &str = ".part.json";
    // One byte is left for the disk, which may write a record under another name first.
    const MOST: usize = NAME_MAX - ENDING.len() - 1;
    let stem = if name.len() <= MOST {
        name.to_owned()
    } else {
        let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let mut end = MOST - 17;
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}~{hash:016x}", &name[..end])
    };
    (format!("{stem}.part"), format!("{stem}{ENDING}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_names_still_have_a_part_and_a_record() {
        for name in ["a.mp4".to_owned(), "x".repeat(255), "é".repeat(127)] {
            let (part, note) = names(&name);
            assert!(part.len() <= NAME_MAX && note.len() <= NAME_MAX, "{part}");
        }
        assert_eq!(names("a.mp4"), ("a.mp4.part".to_owned(), "a.mp4.part.json".to_owned()));
        assert_ne!(names(&"x".repeat(255)).0, names(&format!("{}y", "x".repeat(254))).0);
    }
}
