//! Hash pieces on demand: a file without a content hash is served with the hash of each piece, the same as in its later
//! hash list. Only that piece is read, ahead of the usual order.
//!
//! ```text
//!   FETCH with `prove` --the list is here--> sent with the piece hash
//!          '--no list--> read and hashed --'
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::rc::Rc;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::conn_map::ConnIndex;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::fs_trait::FsFile;
use crate::storage::piece_tree::{self, PieceHash, PieceHasher};

/// Hashes that uploads wait for, by tickets.
#[derive(Default)]
pub(super) struct OnDemandHashes {
    wanted: BTreeSet<u64>,
    under_way: VecDeque<OnDemandHash>,
    /// The tickets under way.
    by_conn: ConnIndex,
    /// Finished hashes; `None`: the piece could not be read.
    ready: BTreeMap<u64, Option<PieceHash>>,
    /// The next bytes are not resident: read at this time.
    read_at: Option<Instant>,
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
    /// The response to this upload carries its piece hash.
    pub(super) fn want(&mut self, ticket: u64) {
        self.wanted.insert(ticket);
    }

    /// Removes an upload that is over.
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

    /// Uploads of a connection that wait for their hashes.
    pub(super) fn waiting_on(&self, conn: ConnId) -> usize {
        self.by_conn.on(conn).len()
    }

    /// The piece hash to send with these bytes; `Err`: the upload waits until the hash is known.
    pub(super) fn piece_hash(
        &mut self,
        (ticket, conn): (u64, ConnId),
        name: &RelativeName,
        opened: &Opened,
        range: ByteRange,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Result<Option<PieceHash>, ()> {
        if let Some(hash) = self.ready.remove(&ticket) {
            return Ok(hash);
        }
        let storage = &*ctx.storage;
        let piece = range.start() / limits::PIECE_BYTES;
        let is_piece = piece_tree::bounds(opened.size, piece) == (range.start(), range.length())
            && piece_tree::has_root(opened.size);
        if !self.wanted.remove(&ticket) || !is_piece || storage.entry(name).is_none() {
            return Ok(None);
        }
        if let Some(list) = storage.list(name).filter(|_| storage.is_version(name, opened.tag)) {
            return Ok(list.hash(piece).copied());
        }
        let Ok(file) = storage.read(name) else { return Ok(None) };
        self.begin(OnDemandHash {
            ticket,
            conn,
            file,
            tag: opened.tag,
            left: range,
            hasher: PieceHasher::new(opened.size, piece),
            since: ctx.io.now,
        });
        Err(())
    }

    /// Hashes at most a piece. Returns the ticket whose hash is ready.
    fn run(&mut self, now: Instant) -> Option<u64> {
        if self.read_at.take_if(|at| *at <= now).is_none() && self.read_at.is_some() {
            return None;
        }
        for _ in 0..limits::PIECE_BYTES >> 16 {
            match self.under_way.front_mut()?.step(now) {
                HashSlice::More => {}
                HashSlice::NotResident => {
                    self.under_way.rotate_left(1);
                    self.read_at = Some(now + limits::COLD_RETRY);
                    return None;
                }
                HashSlice::Done(hash) => {
                    let OnDemandHash { ticket, .. } = self.take(0)?;
                    self.ready.insert(ticket, hash);
                    return Some(ticket);
                }
            }
        }
        None
    }

    /// The time of the next slice.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.under_way.is_empty()).then(|| self.read_at.unwrap_or(now))
    }
}

/// The result of a slice.
enum HashSlice {
    More,
    NotResident,
    Done(Option<PieceHash>),
}

impl OnDemandHash {
    /// Reads and hashes a slice of the piece. Blocks on the disk only when resident bytes have not come in time.
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
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                return HashSlice::NotResident;
            }
            // The file is shorter now, or its disk has failed: sending fails as well.
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
        HashSlice::Done(same.then(|| self.hasher.finish()))
    }
}

impl PieceService {
    /// Hashes at most one piece, and sends the upload that waits for it.
    pub(super) fn hash_on_demand(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        if let Some(ticket) = self.on_demand.run(ctx.io.now) {
            self.send(ticket, ctx);
        }
    }
}
