//! Add the files of a JOIN, an UPDATE or a replacement list to the index in slices, round-robin
//! over the peers.
//!
//! The request is answered once all files are in; until then the connection is not read.

use std::collections::VecDeque;
use std::time::Instant;
use std::vec::IntoIter;

use crate::connection::inbound::InboundStep;
use crate::index::memory;
use crate::index::{Index, PeerId};
use crate::io::budget::Block;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::request::FileEntry;
use crate::protocol::response::Response;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::cluster::unavailable;
use crate::server::peer_lists::{FetchedList, PeerLists};
use crate::server::{ClientConnection, Membership, Server, not_joined};
use crate::ui::event::NameLine;

/// The lists of files that are being added to the index.
pub(super) struct IngestQueue {
    pending: VecDeque<PendingIngest>,
    /// The lists of legacy peers, which the server fetches.
    pub lists: PeerLists,
    /// The memory that the files of all pending lists take at most.
    bytes: usize,
    /// Files that this iteration may still add.
    budget: usize,
    /// The long lines that wait to be decoded.
    pub decoding: DecodeQueue,
    /// The last iteration has added files.
    pub was_busy: bool,
    /// Since when files wait to be built into the text index.
    pub backlog_since: Option<Instant>,
}

/// The connections whose long lines wait to be decoded, in the order of their turns.
pub(super) struct DecodeQueue {
    waiting: VecDeque<ConnId>,
    /// Bytes that this iteration may still decode.
    budget: usize,
}

impl Default for DecodeQueue {
    fn default() -> DecodeQueue {
        DecodeQueue { waiting: VecDeque::new(), budget: limits::DECODED_BYTES }
    }
}

impl DecodeQueue {
    /// Forget a closed connection.
    pub(super) fn remove(&mut self, id: ConnId) {
        self.waiting.retain(|waiting| *waiting != id);
    }
}

struct PendingIngest {
    conn: ConnId,
    request_id: Option<u64>,
    peer: PeerId,
    job: IngestJob,
    /// The memory that the files take at most.
    bytes: usize,
}

/// The turn of a connection to decode a long line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DecodeTurn {
    None,
    /// The connection is in the queue.
    Waiting,
    /// The next line may be decoded.
    Granted,
}

/// The rest of a list.
pub(super) enum IngestJob {
    /// A part of a JOIN.
    Join {
        files: IntoIter<FileEntry>,
        /// Another part follows.
        more: bool,
    },
    /// An UPDATE: removals first.
    Update { remove: IntoIter<RelativeName>, files: IntoIter<FileEntry> },
    /// All files of a peer: the named files are kept or added, then the others are removed.
    Replace {
        names: IntoIter<RelativeName>,
        /// Which of the peer's files were named.
        kept: Vec<bool>,
        /// The files below this number are still to be checked.
        left: Option<usize>,
    },
}

impl Default for IngestQueue {
    fn default() -> IngestQueue {
        IngestQueue {
            pending: VecDeque::new(),
            lists: PeerLists::default(),
            bytes: 0,
            budget: limits::INGEST_FILES,
            decoding: DecodeQueue::default(),
            was_busy: false,
            backlog_since: None,
        }
    }
}

impl IngestQueue {
    pub(super) fn is_busy(&self) -> bool {
        !self.pending.is_empty()
    }

    /// True if a long line may be decoded now, or a budget is to be given.
    pub(super) fn is_decoding(&self) -> bool {
        let DecodeQueue { waiting, budget } = &self.decoding;
        *budget < limits::DECODED_BYTES || !waiting.is_empty() && self.takes_lists()
    }

    /// True if the index takes more lists.
    fn takes_lists(&self) -> bool {
        self.pending.len() < limits::DECODED_LISTS
    }

    /// Drop the lists of a closed connection.
    pub(super) fn remove(&mut self, id: ConnId) {
        self.pending.retain(|pending| pending.conn != id);
        self.bytes = self.pending.iter().map(|pending| pending.bytes).sum();
    }

    fn push(&mut self, pending: PendingIngest) {
        self.bytes += pending.bytes;
        self.pending.push_back(pending);
    }

    fn pop(&mut self) -> Option<PendingIngest> {
        let pending = self.pending.pop_front()?;
        self.bytes -= pending.bytes;
        Some(pending)
    }
}

impl IngestJob {
    /// The files to add, at most.
    fn files(&self) -> usize {
        match self {
            IngestJob::Join { files, .. } | IngestJob::Update { files, .. } => files.len(),
            IngestJob::Replace { names, .. } => names.len(),
        }
    }

    /// The files to add with their groups; the files of a replacement list are public.
    fn entries(&self) -> &[FileEntry] {
        match self {
            IngestJob::Join { files, .. } | IngestJob::Update { files, .. } => files.as_slice(),
            IngestJob::Replace { .. } => &[],
        }
    }

    /// The memory that the files take at most.
    fn bytes(&self) -> usize {
        let files = |files: &IntoIter<FileEntry>| {
            files.as_slice().iter().map(|file| memory::of_file(file.name.len())).sum()
        };
        match self {
            IngestJob::Join { files: all, .. } | IngestJob::Update { files: all, .. } => files(all),
            IngestJob::Replace { names, .. } => {
                names.as_slice().iter().map(|name| memory::of_file(name.len())).sum()
            }
        }
    }
}

impl Server {
    /// The list of a legacy peer is here: the names of its files, in place of the earlier ones.
    pub(super) fn list_fetched(&mut self, list: FetchedList, io: &mut Io<'_>) {
        let FetchedList { member, speaks, names } = list;
        // The peer may have left meanwhile.
        if self.clients.get(&member).is_some_and(|client| client.membership.peer().is_some()) {
            self.replace(member, None, names, speaks, io);
        }
    }

    /// Queue a list of files for the index. A list without room in the index's memory, or beyond
    /// the share of the address, is refused as a whole.
    pub(super) fn add(
        &mut self,
        conn: ConnId,
        request_id: Option<u64>,
        peer: PeerId,
        job: IngestJob,
        io: &mut Io<'_>,
    ) {
        let bytes = job.bytes();
        let Some(block) =
            self.clients.get(&conn).map(|client| Block::of(client.inbound.from().ip()))
        else {
            return;
        };
        let room = if !self.has_mirror_room() {
            Err(unavailable())
        } else if bytes == 0 {
            Ok(())
        } else {
            self.index
                .has_room_for(peer, bytes)
                .and_then(|()| self.index.has_room(bytes + self.ingest.bytes))
                .and_then(|()| self.index.has_room_for_groups(peer, job.entries()))
        };
        if let Err(refusal) = room.and_then(|()| self.budgets.has_room(block, job.files())) {
            if matches!(job, IngestJob::Join { .. }) {
                self.join_fails(conn);
            }
            return self.respond(conn, request_id, Err(refusal), io);
        }
        if !self.queued(conn) {
            return;
        }
        let is_first = !self.ingest.is_busy();
        self.ingest.push(PendingIngest { conn, request_id, peer, job, bytes });
        // Earlier lists come first.
        if is_first {
            self.ingest_some(io);
        }
    }

    /// Read a long line if it is its turn, or a slice of it. `None` while the line waits.
    pub(super) fn step_in_turn(&mut self, id: ConnId, io: &mut Io<'_>) -> Option<InboundStep> {
        let now = io.now;
        let (client, conn) = (self.clients.get_mut(&id)?, io.connection(id)?);
        let queue = &mut self.ingest;
        let length = long_line(conn.recv_buffer.header()).unwrap_or(0);
        let is_next = match client.turn {
            DecodeTurn::Granted => true,
            DecodeTurn::Waiting => false,
            DecodeTurn::None => {
                queue.decoding.waiting.is_empty()
                    && queue.decoding.budget > 0
                    && queue.takes_lists()
            }
        };
        if !is_next {
            if client.turn == DecodeTurn::None {
                client.turn = DecodeTurn::Waiting;
                queue.decoding.waiting.push_back(id);
            }
            // The client is not late: its line is here.
            conn.deadline = None;
            return None;
        }
        client.turn = DecodeTurn::None;
        let before = queue.decoding.budget;
        let mut left = before;
        let step =
            client.inbound.step_within(&mut conn.recv_buffer, &mut conn.send_queue, now, &mut left);
        let is_sliced = left < before;
        if !is_sliced {
            left = before.saturating_sub(length);
        }
        queue.decoding.budget = left;
        // The line goes on in the next iteration, before others begin: few decoded lists are in
        // memory at once. Without a slice, the client has to read its answers first.
        if is_sliced && client.inbound.is_slicing() {
            client.turn = DecodeTurn::Waiting;
            queue.decoding.waiting.push_front(id);
            conn.deadline = None;
            return None;
        }
        Some(step)
    }

    /// Decode the long lines whose turn it is, within the budget of an iteration.
    pub(super) fn continue_decoding(&mut self, io: &mut Io<'_>) {
        self.ingest.decoding.budget = limits::DECODED_BYTES;
        while self.ingest.decoding.budget > 0
            && self.ingest.takes_lists()
            && let Some(id) = self.ingest.decoding.waiting.pop_front()
        {
            if let Some(client) = self.clients.get_mut(&id) {
                client.turn = DecodeTurn::Granted;
                self.received(id, io);
            }
        }
    }

    /// Continue with the pending lists, within the budget of an iteration.
    pub(super) fn continue_ingest(&mut self, io: &mut Io<'_>) {
        self.ingest_some(io);
        self.ingest.was_busy = self.ingest.budget < limits::INGEST_FILES;
        self.ingest.budget = limits::INGEST_FILES;
    }

    fn ingest_some(&mut self, io: &mut Io<'_>) {
        while self.ingest.budget > 0
            && let Some(mut pending) = self.ingest.pop()
        {
            let mut slice = self.ingest.budget.min(limits::INGEST_SLICE);
            self.ingest.budget -= slice;
            let added = self.ingest_slice(&mut pending, &mut slice);
            if let (Ok(_), Some(client)) = (&added, self.clients.get(&pending.conn)) {
                self.budgets.count(
                    pending.peer,
                    pending.conn,
                    Block::of(client.inbound.from().ip()),
                    self.index.count(pending.peer),
                );
            }
            let answer = match added {
                Ok(false) => {
                    self.ingest.push(pending);
                    continue;
                }
                Ok(true) => match pending.job {
                    IngestJob::Join { more: true, .. } => Ok(Response::JoinMore),
                    IngestJob::Join { more: false, .. }
                        if self.claims(pending.conn, pending.request_id, io) =>
                    {
                        self.ingest.budget += slice;
                        continue;
                    }
                    IngestJob::Join { more: false, .. } => self.join_ends(pending.conn, io),
                    IngestJob::Update { .. } | IngestJob::Replace { .. } => {
                        Ok(Response::UpdateOk { files: self.index.count(pending.peer) })
                    }
                },
                Err(refusal) => Err(refusal),
            };
            self.ingest.budget += slice;
            if let Ok(answer @ Response::UpdateOk { .. }) = &answer
                && self.awaits_engine(pending.conn, pending.request_id, pending.peer, answer, io)
            {
                continue;
            }
            self.decided(pending.conn);
            let has_joined = matches!(answer, Ok(Response::JoinOk { .. }));
            self.respond_queued(pending.conn, pending.request_id, answer, io);
            if has_joined {
                self.report_recently_revoked(pending.conn, io);
            }
        }
    }

    /// Add a slice of at most `left` files. True when the list is done.
    fn ingest_slice(
        &mut self,
        pending: &mut PendingIngest,
        left: &mut usize,
    ) -> Result<bool, ErrorReply> {
        let PendingIngest { conn, peer, job, .. } = pending;
        let Some(ClientConnection { membership, .. }) = self.clients.get_mut(conn) else {
            return Err(not_joined());
        };
        match (job, membership) {
            (IngestJob::Join { files, .. }, Membership::Joining { peer: joining, names, .. })
                if joining == peer =>
            {
                for file in files.by_ref().take(*left) {
                    *left -= 1;
                    if self.index.add(*peer, &file)? {
                        names.push(&file.name);
                    }
                }
                Ok(files.len() == 0)
            }
            (IngestJob::Update { remove, files }, member) if member.peer() == Some(*peer) => {
                for name in remove.by_ref().take(*left) {
                    *left -= 1;
                    self.index.remove(*peer, &name);
                }
                for file in files.by_ref().take(*left) {
                    *left -= 1;
                    self.index.add(*peer, &file)?;
                }
                Ok(remove.len() + files.len() == 0)
            }
            (IngestJob::Replace { names, kept, left: rest }, member)
                if member.peer() == Some(*peer) =>
            {
                for name in names.by_ref().take(*left) {
                    *left -= 1;
                    let own = self.index.add_name(*peer, &name)?;
                    if kept.len() <= own {
                        kept.resize(own + 1, false);
                    }
                    kept[own] = true;
                }
                if names.len() > 0 {
                    return Ok(false);
                }
                // From the last file down: a removal moves the last file into the gap, and that
                // file was checked before.
                let mut own =
                    rest.unwrap_or_else(|| usize::try_from(self.index.count(*peer)).unwrap_or(0));
                while own > 0 && *left > 0 {
                    *left -= 1;
                    own -= 1;
                    if !kept.get(own).copied().unwrap_or(false) {
                        self.index.remove_at(*peer, own);
                    }
                }
                *rest = Some(own);
                Ok(own == 0)
            }
            // Another connection has proven to be this peer meanwhile.
            _ => Err(not_joined()),
        }
    }
}

/// The length of the first line, if it is whole and long.
pub(super) fn long_line(header: &[u8]) -> Option<usize> {
    if header.len() <= limits::LONG_LINE {
        return None;
    }
    memchr::memchr(b'\n', header).filter(|length| *length > limits::LONG_LINE)
}

/// Add a file of a legacy peer, and note the name of a new file.
pub(super) fn add_public(
    index: &mut Index,
    peer: PeerId,
    file: &FileEntry,
    names: &mut NameLine,
) -> Result<(), ErrorReply> {
    if index.add_public(peer, file)? {
        names.push(&file.name);
    }
    Ok(())
}
