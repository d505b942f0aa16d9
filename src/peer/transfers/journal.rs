//! Records in a file that survives a kill at any moment: a line for each record, with a checksum.
//!
//! A change is appended and synced. Now and then the file is replaced by its records in force. A
//! file that was cut short, or damaged, is read up to the last good line.

use std::io;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Digits of a checksum.
const SUM_DIGITS: usize = 8;
/// Bytes appended since the last replacement after which the file is replaced, if the records in
/// force are smaller: a small queue is then rewritten once in hundreds of changes.
const REPLACE_BYTES: usize = 256 << 10;

/// A file of the state folder.
pub trait StateFile {
    /// Read the whole file; empty if there is none.
    ///
    /// # Errors
    /// When the file can't be read, or is too large.
    fn read(&self) -> io::Result<Vec<u8>>;

    /// Append bytes, and wait for the disk.
    ///
    /// # Errors
    /// When the disk fails. Some of the bytes may be in the file.
    fn append(&self, bytes: &[u8]) -> io::Result<()>;

    /// Append bytes that a power cut may lose: the loop does not wait for the disk.
    ///
    /// # Errors
    /// As [`StateFile::append`].
    fn append_lazily(&self, bytes: &[u8]) -> io::Result<()>;

    /// Replace the file as a whole, and wait for the disk.
    ///
    /// # Errors
    /// When the disk fails. The earlier content stays.
    fn replace(&self, bytes: &[u8]) -> io::Result<()>;
}

/// A file in a process without a state folder.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoStateFile;

impl StateFile for NoStateFile {
    fn read(&self) -> io::Result<Vec<u8>> {
        Ok(Vec::new())
    }

    fn append(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn append_lazily(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn replace(&self, _: &[u8]) -> io::Result<()> {
        Ok(())
    }
}

/// A file of records.
pub(super) struct RecordFile {
    file: Box<dyn StateFile>,
    /// The name in the log.
    name: &'static str,
    /// Bytes appended since the last replacement.
    appended: usize,
    /// Bytes of the last replacement.
    replaced: usize,
    /// A write has failed, so the end of the file may be cut short.
    is_torn: bool,
}

/// The good records of a file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ReadRecords<T> {
    pub(super) records: Vec<T>,
    /// Bytes behind the last good line.
    pub(super) lost: usize,
}

impl RecordFile {
    /// Open a file and read its records. Damage is reported once, and costs the records behind it.
    pub(super) fn open<T: DeserializeOwned>(
        file: Box<dyn StateFile>,
        name: &'static str,
    ) -> (RecordFile, Vec<T>) {
        let (bytes, is_readable) = match file.read() {
            Ok(bytes) => (bytes, true),
            Err(error) => {
                log::warn!("file {name} of the state folder can't be read: {error}");
                (Vec::new(), false)
            }
        };
        let ReadRecords { records, lost } = read(&bytes);
        if lost > 0 {
            let count = records.len();
            log::warn!(
                "file {name} of the state folder is damaged: {count} records are good, {lost} bytes are lost"
            );
        }
        // An unreadable file is never replaced: its reason may pass.
        let file = if is_readable { file } else { Box::new(NoStateFile) };
        let is_torn = lost > 0;
        (RecordFile { file, name, appended: bytes.len(), replaced: 0, is_torn }, records)
    }

    /// True when the file has bytes that are not good; the next write replaces it.
    pub(super) fn is_torn(&self) -> bool {
        self.is_torn
    }

    /// Append records. `all`: the records in force, for a replacement.
    pub(super) fn write<T: Serialize>(&mut self, records: &[T], all: impl FnOnce() -> Vec<T>) {
        let mut bytes = Vec::new();
        records.iter().for_each(|record| put(record, &mut bytes));
        let is_long = self.appended.saturating_add(bytes.len())
            > REPLACE_BYTES.max(self.replaced.saturating_mul(2));
        if self.is_torn || is_long {
            return self.replace(&all());
        }
        let written = self.file.append(&bytes);
        self.note_written(bytes.len(), written);
    }

    /// Append records to a file that its owner bounds. A power cut may lose them.
    pub(super) fn append<T: Serialize>(&mut self, records: &[T], all: impl FnOnce() -> Vec<T>) {
        if self.is_torn {
            return self.replace(&all());
        }
        let mut bytes = Vec::new();
        records.iter().for_each(|record| put(record, &mut bytes));
        let written = self.file.append_lazily(&bytes);
        self.note_written(bytes.len(), written);
    }

    fn note_written(&mut self, count: usize, written: io::Result<()>) {
        match written {
            Ok(()) => self.appended += count,
            Err(error) => {
                log::error!("file {} of the state folder can't be written: {error}", self.name);
                self.is_torn = true;
            }
        }
    }

    /// Replace the file by these records.
    pub(super) fn replace<T: Serialize>(&mut self, all: &[T]) {
        let mut bytes = Vec::new();
        all.iter().for_each(|record| put(record, &mut bytes));
        match self.file.replace(&bytes) {
            Ok(()) => (self.appended, self.replaced, self.is_torn) = (0, bytes.len(), false),
            Err(error) => {
                log::error!("file {} of the state folder can't be written: {error}", self.name);
                self.is_torn = true;
            }
        }
    }
}

/// Append the line of a record.
fn put<T: Serialize>(record: &T, into: &mut Vec<u8>) {
    let Ok(text) = serde_json::to_vec(record) else {
        debug_assert!(false, "plain records have a text");
        return;
    };
    into.extend_from_slice(sum(&text).as_bytes());
    into.push(b' ');
    into.extend_from_slice(&text);
    into.push(b'\n');
}

fn sum(text: &[u8]) -> String {
    blake3::hash(text).to_hex()[..SUM_DIGITS].to_owned()
}

/// Read records up to the first line that is not good.
pub(super) fn read<T: DeserializeOwned>(bytes: &[u8]) -> ReadRecords<T> {
    let (mut records, mut rest) = (Vec::new(), bytes);
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let Some(record) = record(&rest[..end]) else { break };
        records.push(record);
        rest = &rest[end + 1..];
    }
    ReadRecords { records, lost: rest.len() }
}

fn record<T: DeserializeOwned>(line: &[u8]) -> Option<T> {
    let (digits, text) = line.split_at_checked(SUM_DIGITS)?;
    let text = text.strip_prefix(b" ")?;
    (sum(text).as_bytes() == digits).then(|| serde_json::from_slice(text).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::transfers::fake_state_file::FakeStateFile;

    fn open(file: &FakeStateFile) -> (RecordFile, Vec<String>) {
        RecordFile::open(Box::new(file.clone()), "test")
    }

    #[test]
    fn a_file_cut_at_any_byte_is_read_up_to_its_last_whole_record() {
        let file = FakeStateFile::default();
        let (mut journal, none) = open(&file);
        assert!(none.is_empty());
        let all: Vec<String> = ["a", "b\n", "ç", ""].map(str::to_owned).to_vec();
        all.iter().for_each(|text| journal.write(std::slice::from_ref(text), Vec::new));
        let bytes = file.bytes.borrow().clone();
        for cut in 0..=bytes.len() {
            let found: ReadRecords<String> = read(&bytes[..cut]);
            let whole = bytes[..cut].iter().filter(|byte| **byte == b'\n').count();
            assert_eq!(found.records, all[..whole], "{cut}");
            let good = bytes[..cut].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
            assert_eq!(found.lost, cut - good, "{cut}");
        }
    }

    #[test]
    fn a_changed_byte_costs_its_record_and_those_behind_it_alone() {
        let file = FakeStateFile::default();
        open(&file).0.write(&["one", "two", "three"], Vec::new);
        let bytes = file.bytes.borrow().clone();
        let ends: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'\n').collect();
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            let found: ReadRecords<String> = read(&damaged);
            let before = ends.iter().filter(|end| **end < at).count();
            assert_eq!(found.records.len(), before, "{at}");
        }
        for garbage in [&b"\xff\xfe\0\0"[..], b"\n\n\n", &[b'0'; 5_000], b"00000000 \"a\"\n"] {
            assert_eq!(read::<String>(garbage).records.len(), 0);
        }
    }

    #[test]
    fn a_torn_file_is_replaced_by_the_next_change() {
        let file = FakeStateFile::default();
        let (mut journal, _) = open(&file);
        journal.write(&["a".to_owned()], Vec::new);
        file.fails.set(true);
        journal.write(&["b".to_owned()], Vec::new);
        file.fails.set(false);
        assert!(read::<String>(&file.bytes.borrow()).lost > 0);
        journal.write(&["c".to_owned()], || vec!["a".to_owned(), "b".to_owned(), "c".to_owned()]);
        let found: ReadRecords<String> = read(&file.bytes.borrow());
        assert_eq!((found.records.join(""), found.lost), ("abc".to_owned(), 0));
    }

    #[test]
    fn a_long_file_is_replaced_by_the_records_in_force() {
        let file = FakeStateFile::default();
        let (mut journal, _) = open(&file);
        for number in 0..20_000 {
            journal.write(&[format!("change {number}")], || vec!["all".to_owned()]);
            assert!(file.bytes.borrow().len() <= REPLACE_BYTES);
        }
        assert_eq!(read::<String>(&file.bytes.borrow()).records[0], "all");
    }

    #[test]
    fn an_unreadable_file_is_not_replaced() {
        let file = FakeStateFile::default();
        open(&file).0.write(&["a".to_owned()], Vec::new);
        file.fails.set(true);
        let (mut journal, _) = open(&file);
        file.fails.set(false);
        journal.replace(&["b".to_owned()]);
        assert_eq!(read::<String>(&file.bytes.borrow()).records, ["a"]);
    }
}
