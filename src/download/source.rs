//! A source of a download: the connection, pending requests and responses.
//!
//! ```text
//!   Connecting --established--> handshake --welcome--> Open --requests, responses--> ...
//!        '------------ lost -------------'--> the download decides on a retry
//! ```
//!
//! A source sends requests and receives bodies. The download decides which requests, and judges
//! the responses.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::outbound::Outbound;
use crate::download::types::{Candidate, Credential};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::member::{MemberRequest, present_challenge};
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::{FolderPage, HashListPart, Have, Piece, Response, WaitingReason};
use crate::protocol::types::account::Proof;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::pass::PassText;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::piece_buffer::{HashListBuffer, PieceBuffer};
use crate::storage::piece_picker::SourceId;

pub(super) struct Source {
    /// The peer. `whole` and `quic` follow what the peer and the index report later.
    pub candidate: Candidate,
    pub conn: ConnId,
    pub by_quic: bool,
    /// The file in requests: by root or by name.
    pub selector: Selector,
    /// The expected version of the file, for requests by name.
    pub tag: Option<FileVersion>,
    /// Request the hash of each piece together with the piece.
    pub proves: bool,
    /// The number of this source in the piece picker; `None` before there is a picker.
    pub picker_id: Option<SourceId>,
    pub activity: SourceActivity,
    /// `None` until the connection is established.
    outbound: Option<Box<Outbound>>,
    pending: BTreeMap<u64, PendingFetch>,
    /// The request whose body is arriving.
    arriving: Option<u64>,
    /// Memory for the next piece.
    spare: Vec<u8>,
    /// TLS protects the connection.
    pub by_tls: bool,
    /// The pass that was shown last.
    presented: Option<Rc<PassText>>,
}

/// Signs of life of a source.
pub(super) struct SourceActivity {
    /// Stored pieces of this source.
    pub stored: u64,
    /// The last message or fair part of a body; before the first, the connection attempt.
    pub last_received: Instant,
    /// Body bytes at `last_received`.
    received_bytes: u64,
    /// The source asked for more time: a person, a slot or a hash is pending.
    pub has_asked_to_wait: bool,
    /// The last stored piece, or the first request after an idle time.
    busy_since: Instant,
}

pub(super) enum PendingFetch {
    /// A piece; the buffer exists once the first header arrived.
    Piece(u64, Option<Rc<PieceBuffer>>),
    HashList(Rc<HashListBuffer>, Option<HashListPart>),
    /// A whole file of one piece, by number; the buffer exists once the first header arrived.
    File(u32, Option<Rc<PieceBuffer>>),
    /// A page of a folder.
    Folder,
    Have,
    /// A cancelled piece request. The piece may be under way already.
    Yielded(u64),
    /// The response is ignored.
    Ignored,
}

/// A message of a source, with the body, if any.
pub(super) enum SourceEvent {
    Opened,
    /// The header of a piece: [`Source::receive_body`] receives its body.
    PieceHeader(u64, Piece),
    Piece(Rc<PieceBuffer>),
    HashList(HashListPart, Rc<HashListBuffer>),
    /// The header of a file by request and number: [`Source::receive_body`] receives its body.
    FileHeader(u64, u32, Piece),
    File(u32, Rc<PieceBuffer>),
    Folder(Box<FolderPage>),
    Have(Have),
    /// A response takes longer.
    Waiting(WaitingReason),
    Refused(PendingFetch, ErrorReply),
    /// An error that refers to no request: the source ends the connection.
    Closing(ErrorReply),
}

impl Source {
    pub fn new(candidate: Candidate, conn: ConnId, selector: Selector, now: Instant) -> Source {
        Source {
            candidate,
            conn,
            by_quic: false,
            selector,
            tag: None,
            proves: false,
            picker_id: None,
            activity: SourceActivity {
                stored: 0,
                last_received: now,
                received_bytes: 0,
                has_asked_to_wait: false,
                busy_since: now,
            },
            outbound: None,
            pending: BTreeMap::new(),
            arriving: None,
            spare: Vec::new(),
            by_tls: false,
            presented: None,
        }
    }

    pub fn peer(&self) -> SocketAddr {
        self.candidate.peer
    }

    pub fn is_connected(&self) -> bool {
        self.outbound.is_some()
    }

    /// True after the handshake.
    pub fn is_open(&self) -> bool {
        self.outbound.as_ref().is_some_and(|outbound| outbound.welcome().is_some())
    }

    /// True while a piece is requested.
    pub fn has_piece_request(&self) -> bool {
        let is_piece = |request: &PendingFetch| {
            matches!(request, PendingFetch::Piece(..) | PendingFetch::File(..))
        };
        self.pending.values().any(is_piece)
    }

    /// True while the hash list is requested.
    pub fn has_list_request(&self) -> bool {
        let is_list = |request: &PendingFetch| {
            matches!(request, PendingFetch::HashList(..) | PendingFetch::Folder)
        };
        self.pending.values().any(is_list)
    }

    pub fn is_requested(&self, piece: u64) -> bool {
        let is_piece = |request: &PendingFetch| matches!(request, PendingFetch::Piece(number, _) if *number == piece);
        self.pending.values().any(is_piece)
    }

    pub fn requested_pieces(&self) -> Vec<u64> {
        let piece = |request: &PendingFetch| {
            if let PendingFetch::Piece(piece, _) = request { Some(*piece) } else { None }
        };
        self.pending.values().filter_map(piece).collect()
    }

    /// The requested files, by number.
    pub fn requested_files(&self) -> Vec<u32> {
        let file = |request: &PendingFetch| {
            if let PendingFetch::File(number, _) = request { Some(*number) } else { None }
        };
        self.pending.values().filter_map(file).collect()
    }

    /// True when the source is open and owes no response.
    pub fn is_idle(&self) -> bool {
        self.is_open() && !self.has_piece_request() && !self.has_list_request()
    }

    /// True while the source owes a response and sent next to nothing for `timeout`.
    pub fn is_silent(&self, timeout: Duration, now: Instant) -> bool {
        !self.is_idle() && now.saturating_duration_since(self.activity.last_received) >= timeout
    }

    /// False for a silent or slow source, besides which others are tried.
    pub fn is_useful(&self, now: Instant) -> bool {
        let is_slow = self.has_piece_request()
            && now.saturating_duration_since(self.activity.busy_since) >= limits::HASH_LIST_TIMEOUT;
        !is_slow && !self.activity.has_asked_to_wait && !self.is_silent(limits::HEDGE, now)
    }

    /// Notes a message. A source gets more time once, however often it asks to wait.
    fn note_message(&mut self, asks_to_wait: bool, now: Instant) {
        if asks_to_wait && self.activity.has_asked_to_wait {
            return;
        }
        self.activity.last_received = now;
        self.activity.received_bytes = self.body_bytes();
        self.activity.has_asked_to_wait = asks_to_wait;
    }

    /// Notes a message as a sign of life. A message without progress is none: a source could keep a
    /// place by sending nothing else.
    pub fn note_event(&mut self, event: &SourceEvent, now: Instant) {
        let is_progress = match event {
            SourceEvent::Have(_) => false,
            SourceEvent::PieceHeader(_, piece) | SourceEvent::FileHeader(_, _, piece) => {
                piece.length > 0
            }
            _ => true,
        };
        if is_progress {
            self.note_message(matches!(event, SourceEvent::Waiting(_)), now);
        }
    }

    /// Notes bytes of a body: a fair number of them is a sign of life.
    pub fn note_bytes(&mut self, now: Instant) {
        if self.body_bytes() >= self.activity.received_bytes + limits::HEDGE_BYTES {
            self.note_message(false, now);
        }
    }

    pub fn note_stored(&mut self, now: Instant) {
        self.activity.stored += 1;
        self.activity.busy_since = now;
    }

    pub fn stood_still(&mut self, gap: Duration) {
        self.activity.last_received += gap;
        self.activity.busy_since += gap;
    }

    /// Bytes of pieces that are not complete.
    pub fn arriving_bytes(&self) -> u64 {
        let held = |request: &PendingFetch| match request {
            PendingFetch::Piece(_, Some(buffer)) | PendingFetch::File(_, Some(buffer)) => {
                buffer.held()
            }
            _ => 0,
        };
        self.pending.values().map(held).sum()
    }

    fn body_bytes(&self) -> u64 {
        let held = |request: &PendingFetch| {
            if let PendingFetch::HashList(list, _) = request { list.held() } else { 0 }
        };
        self.arriving_bytes() + self.pending.values().map(held).sum::<u64>()
    }

    /// The connection is established: sends the handshake.
    pub fn open(&mut self, hello: &Hello, io: &mut Io<'_>) {
        let (nonce, now) = (io.nonce(), io.now);
        self.activity.last_received = now;
        let Some(conn) = io.connection(self.conn) else { return };
        conn.max_header = limits::HEADER_BYTES + limits::SCRATCH_BYTES;
        conn.recv_buffer.read_in_steps();
        let outbound = Outbound::new(Some(Role::Peer), hello, &nonce, &mut conn.send_queue, now);
        conn.deadline = outbound.deadline();
        self.outbound = Some(Box::new(outbound));
    }

    /// Shows the pass, unless the source knows it. Never on a plain connection. QUIC shows no key,
    /// so that a proof of the key comes with the pass, once the nonce is known.
    pub fn present(&mut self, credential: Option<&Credential>, io: &mut Io<'_>) {
        let Some(Credential { pass, identity }) = credential else { return };
        let Some(outbound) = self.outbound.as_ref() else { return };
        if self.presented.as_ref() == Some(pass) {
            return;
        }
        let proof = match (outbound.welcome(), self.candidate.quic) {
            _ if self.by_tls => None,
            (Some(welcome), Some(quic)) if self.by_quic => {
                let text = present_challenge(&quic.key, &welcome.nonce);
                Some(Proof(identity.sign(text.as_bytes())))
            }
            _ => return,
        };
        let request = MemberRequest::Present { pass: pass.as_ref().clone(), proof };
        self.presented = Some(Rc::clone(pass));
        self.send(&Request::Member(Box::new(request)), PendingFetch::Ignored, io);
    }

    fn send(&mut self, request: &Request, pending: PendingFetch, io: &mut Io<'_>) {
        let now = io.now;
        let is_waited_for = matches!(
            pending,
            PendingFetch::Piece(..)
                | PendingFetch::HashList(..)
                | PendingFetch::File(..)
                | PendingFetch::Folder
        );
        if is_waited_for && !self.has_piece_request() && !self.has_list_request() {
            (self.activity.busy_since, self.activity.last_received) = (now, now);
        }
        let (Some(outbound), Some(conn)) = (&mut self.outbound, io.connection(self.conn)) else {
            return;
        };
        let id = outbound.ask(request, &mut conn.send_queue, now);
        // During a body only its idle timeout counts: the responses behind it can't come earlier.
        if !conn.recv_buffer.is_receiving() {
            conn.deadline = outbound.deadline();
        }
        self.pending.insert(id, pending);
    }

    pub fn request_piece(&mut self, piece: u64, from: u64, length: u64, io: &mut Io<'_>) {
        let fetch =
            Fetch { wanted: self.selector.clone(), from, length: Some(length), tag: self.tag };
        let request = if self.proves { Request::Prove(fetch) } else { Request::Fetch(fetch) };
        self.send(&request, PendingFetch::Piece(piece, None), io);
    }

    pub fn request_list(&mut self, io: &mut Io<'_>) {
        let fetch = Fetch { wanted: self.selector.clone(), from: 0, length: None, tag: None };
        self.send(&Request::Pieces(fetch), PendingFetch::HashList(Rc::default(), None), io);
    }

    /// Requests a whole file of one piece.
    pub fn request_file(&mut self, number: u32, root: ContentHash, size: u64, io: &mut Io<'_>) {
        let wanted = Selector::Root(root);
        let fetch = Fetch { wanted, from: 0, length: Some(size), tag: None };
        self.send(&Request::Fetch(fetch), PendingFetch::File(number, None), io);
    }

    /// Requests a page of a folder.
    pub fn request_folder(
        &mut self,
        name: RelativeName,
        cursor: Option<String>,
        limit: usize,
        io: &mut Io<'_>,
    ) {
        self.send(&Request::Folder { name, cursor, limit }, PendingFetch::Folder, io);
    }

    pub fn request_have(&mut self, root: ContentHash, io: &mut Io<'_>) {
        self.send(&Request::Have { root }, PendingFetch::Have, io);
    }

    /// Reports a wrong piece to the source: its disk may have changed unnoticed.
    pub fn report_wrong(&mut self, root: ContentHash, piece: u64, io: &mut Io<'_>) {
        self.send(&Request::Wrong { root, piece }, PendingFetch::Ignored, io);
    }

    /// The request for a piece of which no byte arrived.
    fn unanswered(&mut self, piece: u64) -> Option<(u64, &mut PendingFetch)> {
        let arriving = self.arriving;
        let mut requests = self.pending.iter_mut();
        requests
            .find(|(id, request)| {
                matches!(request, PendingFetch::Piece(number, None) if *number == piece)
                    && arriving != Some(**id)
            })
            .map(|(id, request)| (*id, request))
    }

    /// Cancels the request for a piece that another source sent.
    pub fn cancel(&mut self, piece: u64, io: &mut Io<'_>) {
        if let Some((fetch, _)) = self.unanswered(piece) {
            self.send(&Request::Cancel { fetch }, PendingFetch::Ignored, io);
        }
    }

    /// Cancels the request for a piece in favour of a more urgent one. False when the piece is
    /// arriving.
    pub fn yield_piece(&mut self, piece: u64, io: &mut Io<'_>) -> bool {
        let Some((fetch, request)) = self.unanswered(piece) else { return false };
        *request = PendingFetch::Yielded(piece);
        self.send(&Request::Cancel { fetch }, PendingFetch::Ignored, io);
        true
    }

    pub fn keep_alive(&mut self, io: &mut Io<'_>) {
        if self.ping_at().is_some_and(|at| at <= io.now) {
            self.send(&Request::Ping, PendingFetch::Ignored, io);
        }
    }

    pub fn ping_at(&self) -> Option<Instant> {
        self.outbound.as_ref().and_then(|outbound| outbound.ping_at())
    }

    /// The next event of this source; `None` when more bytes are needed.
    ///
    /// # Errors
    /// On a violation of the protocol, described by the text.
    pub fn next_event(&mut self, io: &mut Io<'_>) -> Result<Option<SourceEvent>, String> {
        let now = io.now;
        loop {
            let Some(conn) = io.connection(self.conn) else { return Ok(None) };
            if conn.recv_buffer.is_receiving() {
                conn.idle_timeout = Some(limits::READ_TIMEOUT);
                conn.deadline = None;
                return Ok(None);
            }
            if let Some(id) = self.arriving.take()
                && let Some(event) = self.body_received(id)
            {
                return Ok(Some(event));
            }
            let (Some(outbound), Some(conn)) = (&mut self.outbound, io.connection(self.conn))
            else {
                return Ok(None);
            };
            let Some(message) = outbound.next(&mut conn.recv_buffer, now)? else {
                outbound.moves(now);
                conn.idle_timeout = None;
                conn.deadline = outbound.deadline();
                return Ok(None);
            };
            conn.deadline = outbound.deadline();
            return Ok(Some(match message {
                Message::Welcome(_) => SourceEvent::Opened,
                Message::Waiting(_, waiting) => SourceEvent::Waiting(waiting),
                Message::Have(have) => SourceEvent::Have(have),
                Message::Reply(id, Response::Have(have)) => {
                    self.pending.remove(&id);
                    SourceEvent::Have(have)
                }
                Message::NextKey(_) | Message::Admitted => continue,
                Message::Error(None, error) => SourceEvent::Closing(error),
                Message::Error(Some(id), error) => match self.pending.remove(&id) {
                    Some(PendingFetch::Ignored | PendingFetch::Yielded(_)) | None => continue,
                    Some(request) => SourceEvent::Refused(request, error),
                },
                Message::Reply(id, Response::Piece(piece)) => match self.pending.get_mut(&id) {
                    Some(PendingFetch::Piece(..)) => SourceEvent::PieceHeader(id, piece),
                    Some(PendingFetch::File(number, _)) => {
                        SourceEvent::FileHeader(id, *number, piece)
                    }
                    Some(request @ PendingFetch::Yielded(_)) => {
                        // The response crossed the cancellation.
                        if let PendingFetch::Yielded(number) = *request {
                            *request = PendingFetch::Piece(number, None);
                        }
                        SourceEvent::PieceHeader(id, piece)
                    }
                    _ => return Err("a piece that nobody asked for".into()),
                },
                Message::Reply(id, Response::Folder(page)) => match self.pending.remove(&id) {
                    Some(PendingFetch::Folder) => SourceEvent::Folder(page),
                    _ => return Err("a folder that nobody asked for".into()),
                },
                Message::Reply(id, Response::Pieces(part)) => {
                    self.list_header(id, part, io)?;
                    continue;
                }
                Message::Reply(id, _) => match self.pending.remove(&id) {
                    Some(
                        PendingFetch::Piece(..)
                        | PendingFetch::HashList(..)
                        | PendingFetch::File(..)
                        | PendingFetch::Folder,
                    ) => {
                        return Err("an answer of another kind".into());
                    }
                    _ => continue,
                },
                Message::Event(..) | Message::Revoked(_) | Message::Unknown => continue,
            }));
        }
    }

    /// A body ended. The event is `None` while more bodies of the response follow.
    fn body_received(&mut self, id: u64) -> Option<SourceEvent> {
        let is_complete = match self.pending.get(&id)? {
            PendingFetch::Piece(_, Some(buffer)) | PendingFetch::File(_, Some(buffer)) => {
                buffer.is_whole()
            }
            PendingFetch::HashList(_, Some(part)) => !part.more,
            _ => false,
        };
        match is_complete.then(|| self.pending.remove(&id)).flatten()? {
            PendingFetch::Piece(_, Some(buffer)) => Some(SourceEvent::Piece(buffer)),
            PendingFetch::File(number, Some(buffer)) => Some(SourceEvent::File(number, buffer)),
            PendingFetch::HashList(list, Some(part)) => Some(SourceEvent::HashList(part, list)),
            _ => None,
        }
    }

    /// The header of a part of the hash list: its body follows.
    fn list_header(&mut self, id: u64, part: HashListPart, io: &mut Io<'_>) -> Result<(), String> {
        let Some(PendingFetch::HashList(list, known)) = self.pending.get_mut(&id) else {
            return Err("a list of pieces that nobody asked for".into());
        };
        let is_same =
            known.as_ref().is_none_or(|known| known.size == part.size && known.root == part.root);
        if !is_same || part.from != list.held() {
            return Err("a list of pieces out of order".into());
        }
        let (from, length, list) = (part.from, part.length, Rc::clone(list));
        *known = Some(part);
        self.arriving = Some(id);
        if let Some(conn) = io.connection(self.conn) {
            conn.recv_buffer.expect(list, from, length).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Receives the body behind the header of response `id`. `make` creates the buffer with the
    /// first body of a piece.
    ///
    /// # Errors
    /// When the header does not fit the request.
    pub fn receive_body(
        &mut self,
        id: u64,
        header: &Piece,
        make: impl FnOnce(u64, Vec<u8>) -> PieceBuffer,
        io: &mut Io<'_>,
    ) -> Result<(), String> {
        let (piece, buffer) = match self.pending.get_mut(&id) {
            Some(PendingFetch::Piece(piece, buffer)) => (*piece, buffer),
            // The only piece of its file.
            Some(PendingFetch::File(_, buffer)) => (0, buffer),
            _ => return Err("a piece that nobody asked for".into()),
        };
        let spare = std::mem::take(&mut self.spare);
        let buffer = Rc::clone(buffer.get_or_insert_with(|| Rc::new(make(piece, spare))));
        let here = buffer.start() + buffer.held();
        let end = header.from + header.length;
        let whole = end == buffer.start() + buffer.length();
        if header.from != here || end > buffer.start() + buffer.length() || whole == header.more {
            return Err("a piece out of order".into());
        }
        self.arriving = Some(id);
        if let Some(conn) = io.connection(self.conn) {
            conn.recv_buffer
                .expect(buffer, header.from, header.length)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Keeps the memory of a stored piece for the next one.
    pub fn reuse(&mut self, buffer: &PieceBuffer) {
        self.spare = buffer.take_memory();
    }

    /// Closes the connection at once.
    pub fn drop_conn(&self, io: &mut Io<'_>) {
        if let Some(conn) = io.connection(self.conn) {
            conn.drop_now();
        }
    }

    /// Closes the connection once the queued bytes are sent.
    pub fn finish(&self, io: &mut Io<'_>) {
        if let Some(conn) = io.connection(self.conn) {
            conn.finish();
        }
    }

    /// Closes the connection: at once while a response is pending.
    pub fn finish_or_drop(&self, io: &mut Io<'_>) {
        if self.pending.is_empty() { self.finish(io) } else { self.drop_conn(io) }
    }
}
