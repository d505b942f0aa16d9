//! The files of a server's keys, and the state of a change of keys.

use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::protocol::types::account::Key;
use crate::protocol::types::rotation::NextKey;

/// The files are looked at so often: an operator does not wait, and two `stat` calls cost nothing.
const LOOK_STEP: Duration = Duration::from_secs(2);
/// The next key takes over after so many index seconds: members that are away for a month's holiday
/// still learn the key in time.
pub const ROTATION_SECONDS: u64 = 30 * 24 * 3_600;

/// The secret keys in the files of a server.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecrets {
    /// The key in use.
    pub current: [u8; 32],
    /// The next key, if a key is to be announced.
    pub next: Option<[u8; 32]>,
}

/// The files of a server's keys.
pub trait KeyFiles {
    /// The keys, if the files have changed since the last call.
    ///
    /// # Errors
    /// The reason, once for each change: the keys stay as they were.
    fn changed(&mut self) -> Result<Option<KeySecrets>, String>;

    /// Put the next key in place of the key in use, at once and durably.
    ///
    /// # Errors
    /// The reason.
    fn take_next(&mut self) -> Result<(), String>;
}

/// The keys of a server over time.
#[derive(Default)]
pub(super) struct KeyRotation {
    /// `None` for a server whose key ends with the process.
    files: Option<Box<dyn KeyFiles>>,
    look_at: Option<Instant>,
    pub(super) announced: Option<Rc<NextKey>>,
    /// The index seconds at which the announced key takes over.
    pub(super) until: u64,
}

impl KeyRotation {
    pub(super) fn new(files: Option<Box<dyn KeyFiles>>) -> KeyRotation {
        KeyRotation { files, ..KeyRotation::default() }
    }

    pub(super) fn start(&mut self, now: Instant) {
        self.look_at = self.files.is_some().then_some(now);
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        self.look_at
    }

    /// The announcement of the next key.
    pub(super) fn announced(&self) -> Option<&Rc<NextKey>> {
        self.announced.as_ref()
    }

    /// The next key.
    pub(super) fn next_key(&self) -> Option<Key> {
        self.announced.as_ref().map(|next| next.key)
    }

    /// The changed keys in the files, when the time has come to look.
    pub(super) fn look(&mut self, seconds: u64, now: Instant) -> Option<KeySecrets> {
        let files = self.files.as_mut().filter(|_| self.look_at.is_some_and(|at| at <= now))?;
        self.look_at = Some(now + LOOK_STEP);
        if self.announced.is_some()
            && seconds >= self.until
            && let Err(why) = files.take_next()
        {
            log::error!("the next key does not take over: {why}");
        }
        match files.changed() {
            Ok(secrets) => secrets,
            Err(why) => {
                log::error!("the key of the server is not read: {why}");
                None
            }
        }
    }
}
