//! `forge_part FOLDER SOURCE PERCENT`: creates in FOLDER the state of a download of SOURCE ended at
//! PERCENT %, for `scripts/bench/trust.py`, which measures how soon a giant download resumes.
//!
//! The `.part` is sparse, and the library writes its record, with root and hash list. Holes of
//! SOURCE are hashed as zeros without reading: 100 GiB of holes take half a minute.

use std::error::Error;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use cardume::limits;
use cardume::os::fs::folder::Folder;
use cardume::os::fs::part_file::Allocate;
use cardume::protocol::types::relative_path::RelativeName;
use cardume::storage::bitfield::Bitfield;
use cardume::storage::fs_trait::{Filesystem as _, FsFile};
use cardume::storage::piece_tree::{self, HashList};
use cardume::storage::resume_file::{Content, DownloadIdentity, ResumeFile};
use rustix::fs::{SeekFrom, seek};
use rustix::io::Errno;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, source, percent] = &arguments[..] else {
        return Err("usage: forge_part FOLDER SOURCE PERCENT".into());
    };
    let percent: u64 = percent.parse()?;
    if percent > 100 {
        return Err("PERCENT is at most 100".into());
    }
    let name = Path::new(source)
        .file_name()
        .and_then(|name| name.to_str())
        .ok_or("SOURCE has no name that can be shared")?;
    let source = Source::open(source)?;
    let drive = Folder::open(folder, Allocate::None).map_err(|error| error.to_string())?;

    let list = source.list()?;
    let root = list.root();
    let about = DownloadIdentity {
        name: RelativeName::new(name).map_err(|why| format!("a file name must not {why}"))?,
        size: source.size,
        content: Content::Root(root),
    };
    let pieces = piece_tree::pieces(source.size);
    let mut held = Bitfield::none(pieces);
    for piece in 0..pieces * percent / 100 {
        held.set(piece);
    }

    // In the order of a real download: record, file, bytes, and last the bits that claim the bytes.
    let part = format!("{name}.part");
    let mut record = ResumeFile::begin(&drive, &format!("{part}.record"), &about)?;
    let file = drive.write(&part, true)?;
    file.allocate(source.size)?;
    source.copy(&held, &*file)?;
    file.sync()?;
    record.keep_list(root, &list)?;
    record.hold_only(&held)?;
    record.sync(&held)?;
    record.seal(&held, &held, &file.stamp()?)?;
    println!("{part}: {} of {pieces} pieces, b3:{root}", held.count());
    Ok(())
}

/// The source of the forged download.
struct Source {
    file: File,
    size: u64,
}

impl Source {
    fn open(path: &str) -> io::Result<Source> {
        let file = File::open(path)?;
        let size = file.metadata()?.len();
        if piece_tree::has_root(size) {
            Ok(Source { file, size })
        } else {
            Err(io::ErrorKind::FileTooLarge.into())
        }
    }

    /// Calls `act` for each piece in order with its bytes; `None` for a hole.
    fn each(
        &self,
        mut take: impl FnMut(u64, usize, Option<&[u8]>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut buffer = vec![0; usize::try_from(limits::PIECE_BYTES.min(self.size)).unwrap_or(0)];
        // The offset of the next data.
        let mut data = 0;
        for piece in 0..piece_tree::pieces(self.size) {
            let (start, length) = piece_tree::bounds(self.size, piece);
            if data <= start {
                data = self.data_from(start)?;
            }
            let count = usize::try_from(length).unwrap_or(0);
            if data >= start + length {
                take(piece, count, None)?;
            } else {
                self.file.read_exact_at(&mut buffer[..count], start)?;
                take(piece, count, Some(&buffer[..count]))?;
            }
        }
        Ok(())
    }

    /// The offset of the first data from `at` on; the end of the file without data.
    fn data_from(&self, at: u64) -> io::Result<u64> {
        match seek(&self.file, SeekFrom::Data(at)) {
            Ok(data) => Ok(data),
            Err(Errno::NXIO) => Ok(self.size),
            Err(error) => Err(error.into()),
        }
    }

    fn list(&self) -> io::Result<HashList> {
        let zeros = vec![0; usize::try_from(limits::PIECE_BYTES).unwrap_or(0)];
        let mut values = Vec::new();
        self.each(|piece, count, bytes| {
            values.push(piece_tree::piece_hash(self.size, piece, bytes.unwrap_or(&zeros[..count])));
            Ok(())
        })?;
        HashList::new(self.size, values).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Copies held data; holes stay holes, since a grown file reads as zeros.
    fn copy(&self, held: &Bitfield, to: &dyn FsFile) -> io::Result<()> {
        self.each(|piece, _, bytes| match bytes.filter(|_| held.has(piece)) {
            Some(bytes) => to.write_at(piece_tree::bounds(self.size, piece).0, bytes),
            None => Ok(()),
        })
    }
}
