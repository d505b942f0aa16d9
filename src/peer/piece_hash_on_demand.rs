//! Hash pieces on demand: a file without a content hash is served with the hash of each piece, as the list will
//! say it later. Only that piece is read for it, before all that is hashed in the usual order.
//!
//! ```text
//!   FETCH with `prove` --the list is here--> sent with its value
//!          '--no list--> read and hashed, as the disk gives it --'
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::ConnIndex;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::fs_trait::FsFile;
use crate::storage::piece_tree::{self, PieceHash, PieceHasher};

/// All proofs that are wanted and under way, by the tickets of their uploads.
#[derive(Default)]
pub(super) struct OnDemandHashes {
    wanted: BTreeSet<u64>,
    under_way: VecDeque<OnDemandHash>,
    /// The tickets of those under way.
    by_conn: ConnIndex,
    /// Those that are ready; `None`: there can be none.
    ready: BTreeMap<u64, Option<PieceHash>>,
    /// The disk was asked for what is to be read next.
    rests: Option<Instant>,
}

/// A piece that is being hashed.
struct OnDemandHash {
    ticket: u64,
    conn: ConnId,
    file: Rc<dyn FsFile>,
    tag: FileVersion,
    left: ByteRange,
    hasher: PieceHasher,
    since: Instant,
}

impl OnDemandHashes {
    /// The answer to this upload is to say what it is worth.
    pub(super) fn want(&mut self, ticket: u64) {
        self.wanted.insert(ticket);
    }

    /// An upload is over.
    pub(super) fn forget(&mut self, conn: ConnId, ticket: u64) {
        self.wanted.remove(&ticket);
        self.ready.remove(&ticket);
        if self.holds(conn, ticket)
            && let Some(place) = self.under_way.iter().position(|hash| hash.ticket == ticket)
        {
            self.take(place);
        }
    }

    fn begin(&mut self, hash: OnDemandHash) {
        self.by_conn.add(hash.conn, hash.ticket);
        self.under_way.push_back(hash);
    }

    fn take(&mut self, place: usize) -> Option<OnDemandHash> {
        let hash = self.under_way.remove(place)?;
        self.by_conn.remove(hash.conn, hash.ticket);
        Some(hash)
    }

    /// True while this upload of that connection waits for its hash.
    pub(super) fn holds(&self, conn: ConnId, ticket: u64) -> bool {
        self.by_conn.on(conn).contains(&ticket)
    }

    /// How many uploads of a connection wait for their hashes.
    pub(super) fn waiting_on(&self, conn: ConnId) -> usize {
        self.by_conn.on(conn).len()
    }

    /// When the next slice is to be read.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.under_way.is_empty()).then(|| self.rests.unwrap_or(now))
    }
}

/// What a slice came to.
enum HashSlice {
    More,
    Cold,
    Done(Option<PieceHash>),
}

impl OnDemandHash {
    /// Reads and hashes some of the piece. Never waits for a disk that can be waited for otherwise.
    fn step(&mut self, now: Instant) -> HashSlice {
        let mut buffer = [0; 64 << 10];
        let length = usize::try_from(self.left.length()).unwrap_or(usize::MAX).min(buffer.len());
        let slice = &mut buffer[..length];
        let patient = now.saturating_duration_since(self.since) < limits::COLD_TIMEOUT;
        let came = if patient {
            self.file.read_warm(self.left.start(), slice)
        } else {
            self.file.read_at(self.left.start(), slice)
        };
        match came {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return HashSlice::Cold,
            // It has become shorter, or its disk has failed: what is sent of it will show that.
            Err(_) => return HashSlice::Done(None),
            Ok(0) if length > 0 => return HashSlice::Done(None),
            Ok(came) => {
                self.hasher.take(&buffer[..came]);
                self.left.take(came as u64);
            }
        }
        if !self.left.is_empty() {
            return HashSlice::More;
        }
        let same = self.file.stamp().is_ok_and(|stamp| stamp.tag() == self.tag);
        HashSlice::Done(same.then(|| self.hasher.value()))
    }
}

impl Peer {
    /// What is to be said with these bytes, once that is known; true: they have to wait for it.
    pub(super) fn proof(
        &mut self,
        (ticket, conn): (u64, ConnId),
        name: &RelativeName,
        opened: &Opened,
        range: ByteRange,
        now: Instant,
    ) -> Result<Option<PieceHash>, ()> {
        if let Some(value) = self.proofs.ready.remove(&ticket) {
            return Ok(value);
        }
        let piece = range.start() / limits::PIECE_BYTES;
        let whole = piece_tree::bounds(opened.size, piece) == (range.start(), range.length())
            && piece_tree::has_root(opened.size);
        if !self.proofs.wanted.remove(&ticket) || !whole || self.library.entry(name).is_none() {
            return Ok(None);
        }
        if let Some(list) =
            self.library.list(name).filter(|_| self.library.is_version(name, opened.tag))
        {
            return Ok(list.value(piece).copied());
        }
        let Ok(file) = self.library.read(name) else { return Ok(None) };
        let hasher = PieceHasher::new(opened.size, piece);
        self.proofs.begin(OnDemandHash {
            ticket,
            conn,
            file,
            tag: opened.tag,
            left: range,
            hasher,
            since: now,
        });
        Err(())
    }

    /// Hashes a piece at most, of the one who waits longest.
    pub(super) fn proofs_due(&mut self, io: &mut Io<'_>) {
        if self.proofs.rests.take_if(|at| *at <= io.now).is_none() && self.proofs.rests.is_some() {
            return;
        }
        for _ in 0..limits::PIECE_BYTES >> 16 {
            let Some(proof) = self.proofs.under_way.front_mut() else { return };
            match proof.step(io.now) {
                HashSlice::More => {}
                HashSlice::Cold => {
                    self.proofs.under_way.rotate_left(1);
                    self.proofs.rests = Some(io.now + limits::COLD_RETRY);
                    return;
                }
                HashSlice::Done(value) => {
                    if let Some(OnDemandHash { ticket, .. }) = self.proofs.take(0) {
                        self.proofs.ready.insert(ticket, value);
                        self.send(ticket, io);
                    }
                    return;
                }
            }
        }
    }
}
