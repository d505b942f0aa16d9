//! The file of pinned servers: each closed server that this user has joined, with its addresses
//! and its key.
//!
//! ```text
//! HOST:PORT[,HOST:PORT...] KEY[,NEXTKEY] NAME
//! ```
//! One line a server; the server that was joined last is the last line. Keys are in base64url, as
//! in an invite. The name `-` stands for none.
//!
//! A lost pin would let a client speak in plain to its server. So a file with a bad line is not
//! used at all, and every change keeps the changes of other processes.

use std::ffi::OsStr;
use std::fmt;
use std::fs::{DirBuilder, File};
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, openat};
use rustix::io::Errno;

use crate::limits;
use crate::os::fs::own_folder::{self, open_own};
use crate::os::system;
use crate::protocol::types::account::Key;
use crate::protocol::types::base64url;
use crate::protocol::types::file_name::printable;
use crate::protocol::types::member::with_port;

/// The longest file: more than a person joins, and read at once.
const PIN_FILE_BYTES: u64 = 64 << 10;
/// The most servers in the file.
const MOST_PINS: usize = 256;
/// The name of a server without a name.
const NO_NAME: &str = "-";

/// Flags for every file: no link is followed, and a FIFO must not block.
const SAFELY: OFlags =
    OFlags::NOFOLLOW.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC).union(OFlags::NOCTTY);
const PRIVATE: Mode = Mode::RUSR.union(Mode::WUSR);

/// A pinned server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    addresses: Vec<String>,
    key: Key,
    next: Option<Key>,
    name: String,
}

/// Why a server is not pinned.
#[allow(missing_docs)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PinError {
    /// The address belongs to a pinned server with another key.
    OtherKey { address: String, pinned: Key, offered: Key },
    /// The server has announced another next key before.
    OtherNext { known: Key, announced: Key },
    /// The file has no room for another server.
    Full,
}

impl fmt::Display for PinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PinError::OtherKey { address, pinned, offered } => write!(
                f,
                "{address} is pinned to the key {}, not to {}",
                base64url::encode(pinned.bytes()),
                base64url::encode(offered.bytes())
            ),
            PinError::OtherNext { known, announced } => write!(
                f,
                "the next key is known as {}, not as {}",
                base64url::encode(known.bytes()),
                base64url::encode(announced.bytes())
            ),
            PinError::Full => f.write_str("too many servers are pinned"),
        }
    }
}

impl std::error::Error for PinError {}

impl Pin {
    /// Check the addresses and the name. An address without a port gets the default port; the name
    /// may be empty.
    ///
    /// # Errors
    /// What is wrong.
    pub fn new<'a>(
        addresses: impl IntoIterator<Item = &'a str>,
        key: Key,
        next: Option<Key>,
        name: &str,
    ) -> Result<Pin, &'static str> {
        let mut checked = Vec::new();
        for address in addresses {
            if checked.len() >= limits::INVITE_ADDRESSES {
                return Err("the server has too many addresses");
            }
            let address = spelled(address).ok_or("an address of the server is wrong")?;
            if !checked.contains(&address) {
                checked.push(address);
            }
        }
        if checked.is_empty() {
            return Err("the server has no address");
        }
        if name.len() > limits::SERVER_NAME_BYTES || printable(name) != name || name.trim() != name
        {
            return Err("the name of the server is wrong");
        }
        let name = if name == NO_NAME { "" } else { name };
        Ok(Pin { addresses: checked, key, next, name: name.to_owned() })
    }

    /// Addresses as `HOST:PORT`, at least one.
    #[must_use]
    pub fn addresses(&self) -> &[String] {
        &self.addresses
    }

    /// The key of the server.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key
    }

    /// The key that the server has announced as its next.
    #[must_use]
    pub fn next(&self) -> Option<Key> {
        self.next
    }

    /// The name that the server gives itself; may be empty.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    fn line(&self) -> String {
        let key = base64url::encode(self.key.bytes());
        let next = self.next.map_or(String::new(), |next| {
            let next = base64url::encode(next.bytes());
            format!(",{next}")
        });
        let name = if self.name.is_empty() { NO_NAME } else { &self.name };
        format!("{} {key}{next} {name}\n", self.addresses.join(","))
    }

    /// Reads a line without its end.
    fn parse(line: &str) -> Option<Pin> {
        let mut words = line.splitn(3, ' ');
        let (addresses, keys, name) = (words.next()?, words.next()?, words.next()?);
        let key = |text| base64url::decode(text).and_then(Key::new);
        let (first, next) = match keys.split_once(',') {
            Some((first, next)) => (key(first)?, Some(key(next)?)),
            None => (key(keys)?, None),
        };
        if name.is_empty() {
            return None;
        }
        Pin::new(addresses.split(','), first, next, name).ok()
    }

    fn shared_address(&self, other: &Pin) -> Option<&String> {
        self.addresses.iter().find(|address| other.addresses.contains(address))
    }

    /// Note the announced next key; the first announced key stays.
    fn follow(&mut self, next: Key) -> Result<(), PinError> {
        let known = *self.next.get_or_insert(next);
        if known == next { Ok(()) } else { Err(PinError::OtherNext { known, announced: next }) }
    }

    /// True when the key of `other` is the key of this server or its announced next key.
    fn is_same_server(&self, other: &Pin) -> bool {
        self.key == other.key || self.next == Some(other.key)
    }
}

/// An address in one spelling: DNS ignores case and a dot at the end.
fn spelled(address: &str) -> Option<String> {
    let address = address.replacen(".:", ":", 1);
    with_port(address.strip_suffix('.').unwrap_or(&address)).map(|text| text.to_ascii_lowercase())
}

/// The pinned servers of a user.
pub struct Pins {
    path: PathBuf,
    pins: Vec<Pin>,
    /// Changes since the file was read.
    changes: Vec<PinChange>,
}

/// A change of the pinned servers.
#[derive(Clone)]
enum PinChange {
    /// Add this server; the flag: take its addresses away from others.
    Put(Pin, bool),
    /// The server with the first key has announced the second.
    Announced(Key, Key),
    /// The server with the first key has the second now.
    Replaced(Key, Key),
}

impl Pins {
    /// Reads the file at `path`, or the default file. A missing file has no pins. Call before the
    /// loop begins.
    ///
    /// # Errors
    /// The reason with the path; for a bad line its number.
    pub fn open(path: Option<&Path>) -> Result<Pins, String> {
        let usual = || system::state_folder().map(|folder| folder.join("servers"));
        let path = path.map(Path::to_owned).or_else(usual).ok_or_else(|| {
            "there is no place for pinned servers: neither HOME nor XDG_STATE_HOME is set"
                .to_owned()
        })?;
        let pins = match read(&path) {
            Ok(pins) => pins,
            // HOME belongs to another user: nothing there was pinned by this one.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied && is_foreign(&path) => {
                Vec::new()
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Pins { path, pins, changes: Vec::new() })
    }

    /// The server at this address. A missing port is the default port.
    #[must_use]
    pub fn find(&self, host_port: &str) -> Option<&Pin> {
        let wanted = spelled(host_port)?;
        self.pins.iter().find(|pin| pin.addresses.contains(&wanted))
    }

    /// The server with this key.
    #[must_use]
    pub fn of_key(&self, key: Key) -> Option<&Pin> {
        self.pins.iter().find(|pin| pin.key == key)
    }

    /// The server that was joined last.
    #[must_use]
    pub fn last(&self) -> Option<&Pin> {
        self.pins.last()
    }

    /// Adds a server as the last one, in place of the line with its key. `replace` takes its
    /// addresses away from servers with other keys. The file changes with [`write`](Self::write).
    ///
    /// # Errors
    /// Without `replace`, when an address is pinned to another key; when there is no room.
    pub fn put(&mut self, pin: Pin, replace: bool) -> Result<(), PinError> {
        self.change(PinChange::Put(pin, replace))
    }

    /// The server with this key has announced its next key, with the signatures of both. An
    /// unknown server stays unknown.
    ///
    /// # Errors
    /// When the server has announced another next key before.
    pub fn announce(&mut self, key: Key, next: Key) -> Result<(), PinError> {
        self.change(PinChange::Announced(key, next))
    }

    /// The server has proven the announced next key: pin the next key alone.
    ///
    /// # Errors
    /// When the server has announced another next key before.
    pub fn replace_key(&mut self, key: Key, next: Key) -> Result<(), PinError> {
        self.change(PinChange::Replaced(key, next))
    }

    fn change(&mut self, change: PinChange) -> Result<(), PinError> {
        let pins = change.apply(&self.pins)?;
        // Most servers announce a key that the file has already.
        if pins != self.pins || matches!(change, PinChange::Put(..)) {
            self.pins = pins;
            self.changes.push(change);
        }
        Ok(())
    }

    /// Writes the file, with the additions of this process and of others. May wait for another
    /// process that writes, so call outside of the loop.
    ///
    /// # Errors
    /// The reason with the path. The file is unchanged, unless the last sync has failed.
    pub fn write(&mut self) -> Result<(), String> {
        self.write_with(FlockOperation::LockExclusive).map(|_| ())
    }

    /// As [`write`](Self::write), for the loop: false when another process writes.
    ///
    /// # Errors
    /// As above.
    pub fn try_write(&mut self) -> Result<bool, String> {
        self.write_with(FlockOperation::NonBlockingLockExclusive)
    }

    fn write_with(&mut self, lock: FlockOperation) -> Result<bool, String> {
        if self.changes.is_empty() {
            return Ok(true);
        }
        match self.write_changes(lock) {
            Ok(pins) => self.pins = pins,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(format!("{}: {error}", self.path.display())),
        }
        self.changes.clear();
        Ok(true)
    }

    fn write_changes(&self, how: FlockOperation) -> io::Result<Vec<Pin>> {
        let (folder, name) = parts(&self.path)?;
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let folder = open_own(folder)?;
        let mut lock = name.to_owned();
        lock.push(".lock");
        // The lock is held until the end of this function.
        let lock = openat(&folder, &lock, OFlags::RDWR | OFlags::CREATE | SAFELY, PRIVATE)?;
        rustix::io::retry_on_intr(|| flock(&lock, how))?;
        let mut pins = load(&folder, name)?;
        for change in &self.changes {
            pins = change.apply(&pins).map_err(io::Error::other)?;
        }
        let text: String = pins.iter().map(Pin::line).collect();
        // The lock is held: no other process has a draft.
        own_folder::replace(&folder, name, text.as_bytes())?;
        Ok(pins)
    }
}

impl PinChange {
    fn apply(&self, pins: &[Pin]) -> Result<Vec<Pin>, PinError> {
        match self {
            PinChange::Put(pin, replace) => with(pins, pin, *replace),
            PinChange::Announced(key, next) => {
                let mut pins = pins.to_vec();
                if let Some(pin) = pins.iter_mut().find(|pin| pin.key == *key) {
                    pin.follow(*next)?;
                }
                fitting(pins)
            }
            PinChange::Replaced(key, next) => {
                let mut pins = pins.to_vec();
                let Some(place) = pins.iter().position(|pin| pin.key == *key) else {
                    return Ok(pins);
                };
                pins[place].follow(*next)?;
                let Pin { addresses, name, .. } = pins.remove(place);
                // An invite of the new key may have pinned the server under another address.
                match pins.iter_mut().find(|pin| pin.key == *next) {
                    Some(pin) => {
                        pin.addresses.extend(addresses);
                        pin.addresses.truncate(limits::INVITE_ADDRESSES);
                    }
                    None => {
                        let pin = Pin { addresses, key: *next, next: None, name };
                        pins.insert(place, pin);
                    }
                }
                fitting(pins)
            }
        }
    }
}

/// The pins, if the file has room for them.
fn fitting(pins: Vec<Pin>) -> Result<Vec<Pin>, PinError> {
    let bytes: usize = pins.iter().map(|pin| pin.line().len()).sum();
    let has_room = pins.len() <= MOST_PINS && bytes as u64 <= PIN_FILE_BYTES;
    if has_room { Ok(pins) } else { Err(PinError::Full) }
}

/// The pins with another one at the end.
fn with(pins: &[Pin], new: &Pin, replace: bool) -> Result<Vec<Pin>, PinError> {
    let mut new = new.clone();
    let mut all = Vec::with_capacity(pins.len() + 1);
    for pin in pins {
        if pin.is_same_server(&new) {
            // The first announced next key stays known, unless it is the key now.
            let announced = pin.next.filter(|_| pin.key == new.key);
            new.next = announced.or(new.next).filter(|next| *next != new.key);
            continue;
        }
        let mut pin = pin.clone();
        if let Some(address) = pin.shared_address(&new) {
            if !replace {
                let address = address.clone();
                return Err(PinError::OtherKey { address, pinned: pin.key, offered: new.key });
            }
            // Its other addresses stay pinned to its key.
            pin.addresses.retain(|address| !new.addresses.contains(address));
        }
        if !pin.addresses.is_empty() {
            all.push(pin);
        }
    }
    all.push(new);
    fitting(all)
}

/// True below a folder of another user that this user can't enter.
fn is_foreign(path: &Path) -> bool {
    let seen = path.ancestors().skip(1).find_map(|folder| std::fs::metadata(folder).ok());
    seen.is_some_and(|folder| folder.uid() != rustix::process::geteuid().as_raw())
}

/// The folder and the name of the file.
fn parts(path: &Path) -> io::Result<(&Path, &OsStr)> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    Ok((folder.unwrap_or(Path::new(".")), name))
}

fn read(path: &Path) -> io::Result<Vec<Pin>> {
    let (folder, name) = parts(path)?;
    match open_own(folder) {
        Ok(folder) => load(&folder, name),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn load(folder: &OwnedFd, name: &OsStr) -> io::Result<Vec<Pin>> {
    let file = match openat(folder, name, OFlags::RDONLY | SAFELY, Mode::empty()) {
        Err(Errno::NOENT) => return Ok(Vec::new()),
        other => other?,
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(invalid("that is no file"));
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() || stat.st_mode & 0o022 != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            "the file is not ours alone to write",
        ));
    }
    if stat.st_mode & 0o044 != 0 {
        log::warn!("others may read the servers of this user: chmod 600 the file");
    }
    let mut content = Vec::new();
    File::from(file).take(PIN_FILE_BYTES + 1).read_to_end(&mut content)?;
    if content.len() as u64 > PIN_FILE_BYTES {
        return Err(invalid("too many servers are pinned"));
    }
    parse(&content)
}

fn parse(content: &[u8]) -> io::Result<Vec<Pin>> {
    let mut pins: Vec<Pin> = Vec::new();
    for (line, number) in content.split_inclusive(|byte| *byte == b'\n').zip(1_usize..) {
        // A line without an end may be the first half of a longer line.
        let line = line.strip_suffix(b"\n").and_then(|line| std::str::from_utf8(line).ok());
        let pin = line
            .and_then(Pin::parse)
            .ok_or_else(|| invalid(&format!("line {number} is no pinned server")))?;
        if pins.iter().any(|other| other.key == pin.key || other.shared_address(&pin).is_some()) {
            return Err(invalid(&format!("line {number} repeats a key or an address")));
        }
        if number > MOST_PINS {
            return Err(invalid("too many servers are pinned"));
        }
        pins.push(pin);
    }
    Ok(pins)
}

fn invalid(reason: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use ring::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;

    fn key(seed: u8) -> Key {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        Key::new(pair.public_key().as_ref().try_into().unwrap()).unwrap()
    }

    fn pin(address: &str, seed: u8) -> Pin {
        Pin::new(address.split(','), key(seed), None, "Aula de redes").unwrap()
    }

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state/servers");
        (folder, path)
    }

    /// A file with these pins, in a folder that exists.
    fn written(pins: &[Pin]) -> (tempfile::TempDir, PathBuf) {
        let (folder, path) = folder();
        let mut file = Pins::open(Some(&path)).unwrap();
        for pin in pins {
            file.put(pin.clone(), false).unwrap();
        }
        file.write().unwrap();
        (folder, path)
    }

    fn reason(path: &Path) -> String {
        let why = Pins::open(Some(path)).err().unwrap();
        why.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_pin_is_found_again_by_each_address() {
        let (_folder, path) = folder();
        let mut pins = Pins::open(Some(&path)).unwrap();
        assert!(pins.last().is_none() && pins.find("a:1").is_none());
        pins.write().unwrap();
        assert!(!path.exists());
        let home =
            Pin::new(["Example.org.:7", "[2001:DB8::1]", "10.0.0.1"], key(1), Some(key(2)), "")
                .unwrap();
        pins.put(home.clone(), false).unwrap();
        pins.put(pin("a:1", 3), false).unwrap();
        pins.write().unwrap();
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        let b64 = |seed| base64url::encode(key(seed).bytes());
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            format!(
                "example.org:7,[2001:db8::1]:1099,10.0.0.1:1099 {},{} -\na:1 {} Aula de redes\n",
                b64(1),
                b64(2),
                b64(3)
            )
        );
        let pins = Pins::open(Some(&path)).unwrap();
        for address in ["example.org:7", "EXAMPLE.ORG.:7", "[2001:db8:0::1]:1099", "10.0.0.1"] {
            assert_eq!(pins.find(address), Some(&home), "{address}");
        }
        for address in ["example.org", "example.org:70", "10.0.0.1:1", "", "a", "a:1:1", "a:1,a:1"]
        {
            assert_eq!(pins.find(address), None, "{address}");
        }
        assert_eq!(pins.last(), Some(&pin("a:1", 3)));
        assert_eq!((home.name(), home.next(), home.key()), ("", Some(key(2)), key(1)));
        assert_eq!(home.addresses().len(), 3);
    }

    #[test]
    fn a_next_key_is_kept_once_and_takes_over() {
        let (_folder, path) = written(&[pin("a:1,b:1", 1), pin("c:1", 2)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.announce(key(1), key(3)).unwrap();
        assert_eq!(pins.try_write(), Ok(true));
        let mut pins = Pins::open(Some(&path)).unwrap();
        let of_a = |pins: &Pins| pins.find("a:1").map(|pin| (pin.key(), pin.next()));
        assert_eq!(of_a(&pins), Some((key(1), Some(key(3)))));
        // The same again writes nothing; a second next key and an unknown server change nothing.
        fs::remove_file(&path).unwrap();
        pins.announce(key(1), key(3)).unwrap();
        pins.announce(key(7), key(8)).unwrap();
        let other = PinError::OtherNext { known: key(3), announced: key(4) };
        assert_eq!(pins.announce(key(1), key(4)), Err(other.clone()));
        assert_eq!(pins.replace_key(key(1), key(4)), Err(other));
        assert_eq!((pins.try_write(), path.exists()), (Ok(true), false));
        let (_folder, path) = written(&[pin("a:1,b:1", 1), pin("c:1", 2)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.announce(key(1), key(3)).unwrap();
        pins.replace_key(key(1), key(3)).unwrap();
        pins.replace_key(key(1), key(3)).unwrap();
        pins.write().unwrap();
        let pins = Pins::open(Some(&path)).unwrap();
        assert_eq!(of_a(&pins), Some((key(3), None)));
        assert_eq!((pins.find("b:1").map(Pin::key), mode(&path)), (Some(key(3)), 0o600));
        assert_eq!((pins.of_key(key(1)), pins.last().map(Pin::key)), (None, Some(key(2))));
    }

    #[test]
    fn a_new_key_that_is_pinned_elsewhere_gets_the_addresses_of_the_old_one() {
        let (_folder, path) = written(&[pin("a:1", 1), pin("b:1", 3)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.replace_key(key(1), key(3)).unwrap();
        pins.write().unwrap();
        let pins = Pins::open(Some(&path)).unwrap();
        assert_eq!(pins.find("a:1"), pins.find("b:1"));
        assert_eq!(pins.of_key(key(3)).map(|pin| pin.addresses().len()), Some(2));
    }

    #[test]
    fn the_loop_does_not_wait_for_another_process_that_writes() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let lock = File::open(path.with_extension("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.announce(key(1), key(3)).unwrap();
        assert_eq!(pins.try_write(), Ok(false));
        drop(lock);
        assert_eq!(pins.try_write(), Ok(true));
        let pins = Pins::open(Some(&path)).unwrap();
        assert_eq!(pins.of_key(key(1)).and_then(Pin::next), Some(key(3)));
    }

    #[test]
    fn a_pin_has_few_addresses_and_a_printable_name() {
        let new = |addresses: &[&str], name: &str| {
            Pin::new(addresses.iter().copied(), key(1), None, name)
        };
        assert_eq!(new(&["a", "A:1099"], "-").unwrap().addresses(), ["a:1099"]);
        assert!(new(&["a"], &"x".repeat(64)).is_ok() && new(&["a"], "Aula de Álgebra").is_ok());
        for name in [&"x".repeat(65), "a\nb", "a\x1b[2J", "a\u{202e}", " a", "a ", "\u{85}"] {
            assert!(new(&["a"], name).is_err(), "{name:?}");
        }
        for address in ["", "a b", "a:0", "a:65536", "a/b", "[::1", "127.1", "a..:1"] {
            assert!(new(&[address], "").is_err(), "{address:?}");
        }
        let many: Vec<String> = (0..9).map(|number| format!("a{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert!(new(&[], "").is_err() && new(&many[..8], "").is_ok() && new(&many, "").is_err());
    }

    #[test]
    fn an_address_changes_its_key_only_by_replace() {
        let (_folder, path) = written(&[pin("a:1,b:1", 1), pin("c:1", 2)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        let why = pins.put(pin("x:1,a:1", 3), false).unwrap_err();
        let other = PinError::OtherKey { address: "a:1".into(), pinned: key(1), offered: key(3) };
        assert_eq!(why, other);
        for seed in [1, 3] {
            assert!(why.to_string().contains(&base64url::encode(key(seed).bytes())), "{why}");
        }
        pins.write().unwrap();
        assert_eq!(Pins::open(Some(&path)).unwrap().find("x:1"), None);
        pins.put(pin("x:1,a:1", 3), true).unwrap();
        pins.put(pin("c:1", 4), true).unwrap();
        pins.write().unwrap();
        let pins = Pins::open(Some(&path)).unwrap();
        // The other address of the first server stays pinned to its key; the second is gone.
        assert_eq!(pins.pins, [pin("b:1", 1), pin("x:1,a:1", 3), pin("c:1", 4)]);
    }

    #[test]
    fn a_server_that_is_joined_again_has_one_line_which_is_the_last() {
        let (_folder, path) = written(&[pin("a:1", 1), pin("b:1", 2)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        let again = Pin::new(["a:1", "c:1"], key(1), Some(key(3)), "").unwrap();
        pins.put(again.clone(), false).unwrap();
        assert_eq!(pins.pins, [pin("b:1", 2), again.clone()]);
        // The next key stays known.
        pins.put(pin("a:1", 1), false).unwrap();
        assert_eq!(pins.last().unwrap().next(), Some(key(3)));
        // It becomes the key, without `replace`; the way back needs `replace`.
        pins.put(pin("a:1", 3), false).unwrap();
        assert_eq!(pins.pins, [pin("b:1", 2), pin("a:1", 3)]);
        assert!(pins.put(again, false).is_err());
    }

    #[test]
    fn a_bad_line_is_named_and_the_file_is_not_used() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let good = fs::read_to_string(&path).unwrap();
        let (b, zero) = (base64url::encode(key(2).bytes()), base64url::encode(&[0; 32]));
        for bad in [
            String::new(),
            "# comment".into(),
            "b:1".into(),
            format!("b:1 {b}"),
            format!("b:1 {b} "),
            format!("b:1  {b} x"),
            format!(" b:1 {b} x"),
            format!("b:1 {} x", &b[1..]),
            format!("b:1 {b}= x"),
            format!("b:1 {zero} x"),
            format!("b:1 {b}, x"),
            format!("b:1 {b},{b},{b} x"),
            format!("b:1, {b} x"),
            format!("b:0 {b} x"),
            format!("b:1 {b} x\r"),
            format!("b:1 {b} {}", "x".repeat(65)),
            good.trim_end().replace("a:1", "b:1"),
            format!("a:1 {b} x"),
        ] {
            let text = format!("{good}{bad}\nc:1 {} x\n", base64url::encode(key(3).bytes()));
            fs::write(&path, &text).unwrap();
            assert!(reason(&path).starts_with("line 2 "), "{bad:?}: {}", reason(&path));
        }
        let bytes = [good.as_bytes(), format!("b:1 {b} ").as_bytes(), b"\xff\n"].concat();
        fs::write(&path, bytes).unwrap();
        assert!(reason(&path).starts_with("line 2 "));
    }

    #[test]
    fn a_torn_line_is_noticed_at_every_length() {
        let (_folder, path) = written(&[pin("a:1", 1), pin("b:1", 2)]);
        let whole = fs::read(&path).unwrap();
        let first = whole.iter().position(|byte| *byte == b'\n').unwrap() + 1;
        for length in first + 1..whole.len() {
            fs::write(&path, &whole[..length]).unwrap();
            assert_eq!(reason(&path), "line 2 is no pinned server", "{length}");
        }
        fs::write(&path, &whole).unwrap();
        assert_eq!(Pins::open(Some(&path)).unwrap().pins.len(), 2);
    }

    #[test]
    fn a_bad_file_is_not_overwritten() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.put(pin("b:1", 2), false).unwrap();
        fs::write(&path, "torn").unwrap();
        assert!(pins.write().unwrap_err().contains("line 1 "));
        assert_eq!(fs::read_to_string(&path).unwrap(), "torn");
    }

    #[test]
    fn a_link_or_another_kind_of_file_is_refused() {
        let (folder, path) = written(&[pin("a:1", 1)]);
        let elsewhere = folder.path().join("elsewhere");
        fs::rename(&path, &elsewhere).unwrap();
        symlink(&elsewhere, &path).unwrap();
        assert!(reason(&path).contains("symbolic link"), "{}", reason(&path));
        fs::remove_file(&path).unwrap();
        let mut pins = Pins::open(Some(&path)).unwrap();
        symlink(&elsewhere, &path).unwrap();
        pins.put(pin("b:1", 2), false).unwrap();
        assert!(pins.write().is_err());
        assert!(path.is_symlink() && !fs::read_to_string(&elsewhere).unwrap().contains("b:1"));
        fs::remove_file(&path).unwrap();
        fs::create_dir(&path).unwrap();
        assert!(Pins::open(Some(&path)).is_err());
        fs::remove_dir(&path).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, PRIVATE).unwrap();
        assert_eq!(reason(&path), "that is no file");
        // A link in place of the lock, the draft or the folder.
        for name in ["servers.lock", "../state-link"] {
            let (folder, path) = written(&[pin("a:1", 1)]);
            let link = path.parent().unwrap().join(name);
            let _ = fs::remove_file(&link);
            let target = if name == "servers.lock" { &path } else { path.parent().unwrap() };
            symlink(target, &link).unwrap();
            let used = if name == "servers.lock" { path } else { link.join("servers") };
            let mut pins = Pins { path: used, pins: Vec::new(), changes: Vec::new() };
            pins.put(pin("b:1", 2), false).unwrap();
            assert!(pins.write().is_err(), "{name}");
            let content = fs::read_to_string(folder.path().join("state/servers")).unwrap();
            assert!(!content.contains("b:1"));
        }
    }

    #[test]
    fn a_file_that_others_may_write_is_refused_and_a_readable_one_becomes_private() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        for mode in [0o620, 0o602, 0o666] {
            set(&path, mode);
            assert_eq!(reason(&path), "the file is not ours alone to write");
        }
        set(&path, 0o644);
        let mut pins = Pins::open(Some(&path)).unwrap();
        assert_eq!(pins.last(), Some(&pin("a:1", 1)));
        pins.put(pin("b:1", 2), false).unwrap();
        pins.write().unwrap();
        assert_eq!(mode(&path), 0o600);
        set(path.parent().unwrap(), 0o777);
        assert_eq!(reason(&path), "the folder is not ours alone to write");
        assert!(pins.put(pin("c:1", 3), false).is_ok() && pins.write().is_err());
    }

    #[test]
    fn the_file_of_another_user_is_refused() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root may give a file away");
            return;
        }
        let (_folder, path) = written(&[pin("a:1", 1)]);
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        assert_eq!(reason(&path), "the file is not ours alone to write");
    }

    #[test]
    fn two_writers_keep_the_pins_of_each_other() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let mut first = Pins::open(Some(&path)).unwrap();
        let mut second = Pins::open(Some(&path)).unwrap();
        first.put(pin("b:1", 2), false).unwrap();
        second.put(pin("c:1", 3), false).unwrap();
        second.write().unwrap();
        first.write().unwrap();
        assert_eq!(first.pins, [pin("a:1", 1), pin("c:1", 3), pin("b:1", 2)]);
        assert_eq!(Pins::open(Some(&path)).unwrap().pins, first.pins);
        // The same address with two keys: the second writer learns of the first.
        first.put(pin("d:1", 4), false).unwrap();
        second.put(pin("d:1", 5), false).unwrap();
        first.write().unwrap();
        assert!(second.write().unwrap_err().contains("d:1 is pinned to the key "));
        assert_eq!(Pins::open(Some(&path)).unwrap().find("d:1"), Some(&pin("d:1", 4)));
    }

    #[test]
    fn many_writers_at_once_lose_nothing() {
        let (_folder, path) = folder();
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || {
                    for round in 0..8_u8 {
                        let mut pins = Pins::open(Some(path)).unwrap();
                        let pin = pin(&format!("w{writer}:{}", round + 1), writer * 8 + round + 1);
                        pins.put(pin, false).unwrap();
                        pins.write().unwrap();
                    }
                });
            }
        });
        assert_eq!(Pins::open(Some(&path)).unwrap().pins.len(), 32);
        let mut names: Vec<_> = fs::read_dir(path.parent().unwrap())
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["servers", "servers.lock"]);
    }

    #[test]
    fn a_draft_of_an_ended_process_is_replaced() {
        let (_folder, path) = written(&[pin("a:1", 1)]);
        let draft = path.with_extension("new");
        symlink(&path, &draft).unwrap();
        let mut pins = Pins::open(Some(&path)).unwrap();
        pins.put(pin("b:1", 2), false).unwrap();
        pins.write().unwrap();
        assert!(!draft.is_symlink() && !path.is_symlink());
        assert_eq!(Pins::open(Some(&path)).unwrap().pins.len(), 2);
    }

    #[test]
    fn the_file_is_bounded() {
        let (_folder, path) = folder();
        let mut pins = Pins::open(Some(&path)).unwrap();
        for number in 0..=255_u8 {
            pins.put(pin(&format!("h{number}"), number), false).unwrap();
        }
        let more = Pin::new(["more"], another_key(), None, "").unwrap();
        assert_eq!(pins.put(more.clone(), false), Err(PinError::Full));
        // In place of another one there is room.
        pins.put(pin("h255", 255), false).unwrap();
        pins.write().unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(Pins::open(Some(&path)).unwrap().pins.len(), 256);
        fs::write(&path, text + &more.line()).unwrap();
        assert_eq!(reason(&path), "too many servers are pinned");
        fs::write(&path, vec![b'x'; 64 << 10]).unwrap();
        assert_eq!(reason(&path), "line 1 is no pinned server");
        fs::write(&path, vec![b'x'; (64 << 10) + 1]).unwrap();
        assert_eq!(reason(&path), "too many servers are pinned");
        // Long lines fill the file before there are many.
        let (_folder, path) = folder();
        let mut pins = Pins::open(Some(&path)).unwrap();
        let label = "x".repeat(60);
        let full = (0..=255_u8).find(|number| {
            let long: Vec<String> =
                (0..8).map(|at| format!("{label}.{label}.{label}.{at}.h{number}:1")).collect();
            pins.put(pin(&long.join(","), *number), false) == Err(PinError::Full)
        });
        assert!(full.is_some_and(|number| number > 30), "{full:?}");
        pins.write().unwrap();
        assert!(fs::metadata(&path).unwrap().len() <= PIN_FILE_BYTES);
        assert!(Pins::open(Some(&path)).is_ok());
    }

    fn another_key() -> Key {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[[1; 16], [2; 16]].concat()).unwrap();
        Key::new(pair.public_key().as_ref().try_into().unwrap()).unwrap()
    }
}
