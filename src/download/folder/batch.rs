//! Small files on their way to the disk: many files, one barrier.
//!
//! ```text
//!   verified bytes --> a file without a name --barrier--> named --barrier--> durable
//! ```
//!
//! A name is given only after a barrier has put the bytes on the disk, so no crash leaves a wrong
//! file. A process that is killed leaves nothing behind but named files: the others have no name.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Storage;
use crate::storage::fs_trait::{FsError, StagedFile};

/// Files of a batch: each holds a descriptor.
const BATCH_FILES: usize = 256;
/// Bytes of a batch: a barrier waits until the disk has them, and the loop with it.
const BATCH_BYTES: u64 = 16 << 20;
/// The longest time without a barrier while files arrive.
const BATCH_TIME: Duration = Duration::from_secs(1);

/// A file of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct BatchFile {
    /// The number of the file in the folder.
    pub number: u32,
    pub from: SocketAddr,
}

/// Why a file is not in the batch.
pub(super) enum NotStaged {
    /// This disk has no files without a name: use an ordinary download.
    Unsupported,
    Failed(FsError),
}

/// A file whose name could not be given.
pub(super) struct LeftUnnamed {
    pub number: u32,
    pub why: NotStaged,
}

/// The files of a batch, and those of the batch before.
#[derive(Default)]
pub(super) struct Batch {
    staged: Vec<(BatchFile, Box<dyn StagedFile>)>,
    bytes: u64,
    since: Option<Instant>,
    /// Files with a name that may not be durable.
    named: Vec<BatchFile>,
}

/// The result of a barrier.
#[derive(Default)]
pub(super) struct Committed {
    /// Files that are durable.
    pub saved: Vec<BatchFile>,
    pub unnamed: Vec<LeftUnnamed>,
}

fn not_staged(error: io::Error) -> NotStaged {
    match error.kind() {
        io::ErrorKind::Unsupported => NotStaged::Unsupported,
        _ => NotStaged::Failed(error.into()),
    }
}

impl Batch {
    /// Writes a file without a name.
    pub fn stage(
        &mut self,
        file: BatchFile,
        name: &RelativeName,
        bytes: &[u8],
        storage: &Storage,
        now: Instant,
    ) -> Result<(), NotStaged> {
        let staged = storage.stage(name, bytes).map_err(not_staged)?;
        self.staged.push((file, staged));
        self.bytes += bytes.len() as u64;
        self.since.get_or_insert(now);
        Ok(())
    }

    /// True when the next barrier is due.
    pub fn is_due(&self, now: Instant) -> bool {
        self.staged.len() >= BATCH_FILES
            || self.bytes >= BATCH_BYTES
            || self.deadline().is_some_and(|at| at <= now)
    }

    pub fn deadline(&self) -> Option<Instant> {
        self.since.map(|since| since + BATCH_TIME)
    }

    /// True when every file is durable.
    pub fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.named.is_empty()
    }

    /// Makes the bytes of this batch durable, and then gives the files their names. The names of
    /// the batch before are durable as well.
    ///
    /// # Errors
    /// If the disk fails: no file of this batch gets a name, and no later barrier vouches for the
    /// names of the batch before.
    pub fn commit(&mut self, storage: &Storage) -> Result<Committed, FsError> {
        let Batch { staged, named, .. } = std::mem::take(self);
        storage.sync_staged()?;
        let mut committed = Committed { saved: named, ..Committed::default() };
        for (file, staged) in staged {
            match staged.publish() {
                Ok(()) => self.named.push(file),
                Err(error) => {
                    let unnamed = LeftUnnamed { number: file.number, why: not_staged(error) };
                    committed.unnamed.push(unnamed);
                }
            }
        }
        Ok(committed)
    }
}
