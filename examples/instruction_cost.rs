//! Work of a server and of peers without sockets, for instruction counts: `make bench-check`.
//!
//! `instruction_cost search|join|piece-out|piece-in` prints the number of operations. Only `press` is
//! counted: `valgrind --tool=callgrind --toggle-collect='*press*' .../instruction_cost search`

// Both stages bring the same connections.
#![allow(clippy::duplicate_mod)]

#[path = "../tests/support/peer_stage.rs"]
mod peer_stage;
#[path = "../tests/support/server_stage.rs"]
mod server_stage;

use std::io::{self, IoSliceMut, Read};
use std::rc::Rc;
use std::time::Instant;

use cardume::io::recv_buffer::RecvBuffer;
use cardume::io::traits::RawRead;
use cardume::io::transfer;
use cardume::limits;
use cardume::loadgen::dataset::Dataset;
use cardume::node::ConnId;
use cardume::os::fs::folder::Folder;
use cardume::os::fs::part_file::Allocate;
use cardume::protocol::native::loadgen::put_search;
use cardume::protocol::types::ids::ContentHash;
use cardume::protocol::types::relative_path::RelativeName;
use cardume::storage::fs_trait::Filesystem;
use cardume::storage::partial_file::{PartialFile, PartialOpening};
use cardume::storage::piece_buffer::PieceBuffer;
use cardume::storage::piece_tree::{self, HashList};
use cardume::storage::resume_file::{Content, DownloadIdentity};
use peer_stage::PeerStage;
use server_stage::{ServerStage, join_parts};

const NAMES: u64 = 1_000;
const PEERS: u64 = 50;
const FILES: u64 = 100;
const SEARCHES: u64 = 3_200;
/// Searches sent at once.
const DEPTH: u64 = 16;
const PIECES_OUT: u64 = 500;
const PIECES_IN: u64 = 8;

fn dataset() -> Dataset {
    Dataset::new(NAMES, FILES, (PEERS, PEERS * FILES), false)
}

#[inline(never)]
fn press(mut work: impl FnMut()) {
    work();
}

fn search() -> u64 {
    let (mut stage, names) = (ServerStage::new(), dataset());
    stage.fill(&names, PEERS);
    let id = stage.accept();
    let mut wanted = 0;
    let lines: Vec<Vec<u8>> = (0..SEARCHES / DEPTH)
        .map(|_| {
            let mut line = Vec::new();
            for number in 0..DEPTH {
                // Each name several times, not in the order in which they came.
                wanted = (wanted + 611) % NAMES;
                put_search(number, |out| Dataset::put(wanted, out), &mut line);
            }
            line
        })
        .collect();
    let mut bytes = 0;
    press(|| bytes = lines.iter().map(|line| stage.say(id, line)).sum());
    assert!(bytes as u64 > SEARCHES * 100, "answers without providers: {bytes} bytes");
    SEARCHES
}

fn join() -> u64 {
    let (mut stage, names) = (ServerStage::new(), dataset());
    let joins: Vec<(ConnId, Vec<Vec<u8>>)> =
        (0..PEERS).map(|peer| (stage.accept(), join_parts(&names, peer))).collect();
    press(|| {
        for (id, parts) in &joins {
            for part in parts {
                stage.say(*id, part);
                stage.rest();
            }
        }
    });
    PEERS * FILES
}

fn piece_out() -> io::Result<u64> {
    let mut stage = PeerStage::sending().map_err(|error| io::Error::other(error.to_string()))?;
    let id = stage.accept();
    let line = |piece: u64| {
        let (from, length) = (piece * limits::PIECE_BYTES, limits::PIECE_BYTES);
        format!(
            "{{\"id\":{piece},\"method\":\"FETCH\",\"name\":\"giant.bin\",\"from\":{from},\"length\":{length}}}\n"
        )
    };
    let lines: Vec<String> = (1..=PIECES_OUT).map(line).collect();
    let mut sent = 0;
    press(|| {
        for line in &lines {
            stage.say(id, line.as_bytes());
            sent += stage.read(id);
        }
    });
    if sent as u64 <= PIECES_OUT * limits::PIECE_BYTES {
        return Err(io::Error::other(format!("{sent} bytes were sent")));
    }
    Ok(PIECES_OUT)
}

/// A stream of zeros, which the memory has already: the copy by the kernel is not counted.
struct Zeros;

impl Read for Zeros {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        Ok(into.len())
    }

    fn read_vectored(&mut self, parts: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(parts.iter().map(|part| part.len()).sum())
    }
}

impl RawRead for Zeros {}

fn piece_in() -> io::Result<u64> {
    let wrong = |error: &dyn ToString| io::Error::other(error.to_string());
    let place = tempfile::tempdir()?;
    let path = place.path().to_str().ok_or(io::ErrorKind::InvalidInput)?;
    let folder = Folder::open(path, Allocate::Full).map_err(|error| wrong(&error))?;
    let fs: Rc<dyn Filesystem> = Rc::new(folder);
    let bytes = vec![0; limits::SLICE_BYTES];
    let size = PIECES_IN * limits::PIECE_BYTES;
    let hashes = (0..PIECES_IN).map(|piece| piece_tree::piece_hash(size, piece, &bytes)).collect();
    let list = Rc::new(HashList::new(size, hashes).ok_or(io::ErrorKind::InvalidInput)?);
    let root: ContentHash = list.root();
    let name = RelativeName::new("a.bin").map_err(|_| io::ErrorKind::InvalidInput)?;
    let identity = DownloadIdentity { name, size, content: Content::Root(root) };
    let opening = PartialFile::begin(&fs, "a.bin", &identity, Some(list), 0);
    let Ok(PartialOpening::Part(part)) = opening else { return Err(wrong(&"no part")) };
    let now = Instant::now();
    let source = part.picker().add_source(true, now);
    let (mut inbox, mut scratch) = (RecvBuffer::default(), vec![0; limits::SCRATCH_BYTES]);
    let mut failure = None;
    press(|| {
        let mut spare = Vec::new();
        while let Some(piece) = { part.picker().next(source, now) } {
            let memory = std::mem::take(&mut spare);
            let buffer = Rc::new(PieceBuffer::new(size, piece, Some(part.clone()), true, memory));
            let mut taken = inbox.expect(buffer.clone(), buffer.start(), limits::PIECE_BYTES);
            while taken.is_ok() && inbox.is_receiving() {
                let most = (limits::SCRATCH_BYTES, 0);
                let read = transfer::fill(&mut Zeros, &mut inbox, &mut scratch, most, false);
                taken = read.map(|_| ()).map_err(|_| io::ErrorKind::Other.into());
            }
            if let Err(error) = taken {
                failure = Some(error);
                return;
            }
            if let Err(error) = buffer.store(&part, source, now) {
                failure = Some(wrong(&error));
                return;
            }
            spare = buffer.take_memory();
        }
    });
    match failure {
        Some(error) => Err(error),
        None if !part.is_whole() => Err(wrong(&"pieces are missing")),
        None => Ok(PIECES_IN),
    }
}

fn main() -> io::Result<()> {
    let count = match std::env::args().nth(1).as_deref() {
        Some("search") => search(),
        Some("join") => join(),
        Some("piece-out") => piece_out()?,
        Some("piece-in") => piece_in()?,
        _ => return Err(io::Error::other("search, join, piece-out or piece-in")),
    };
    println!("{count}");
    Ok(())
}
