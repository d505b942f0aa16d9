//! One source of one download: its connection, pending requests and responses.
//!
//! ```text
//!   Connecting --link is there--> Open --asks and answers--> ...
//!        '------------lost-----------'--> the download decides whether it is tried again
//! ```
//!
//! It knows how to ask and how to take a body in; what to ask and what to think of the answer is the download's affair.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::connection::outbound::Outbound;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::Role;
use crate::protocol::error::ErrorReply;
use crate::protocol::native::{Hello, Message};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::{HashListPart, Have, Piece, Response, WaitingReason};
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::quic_address::QuicAddress;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::piece_buffer::{HashListBuffer, PieceBuffer};
use crate::storage::piece_picker::SourceId;

/// One that gives, or may.
pub(super) struct Source {
    /// Where it answers.
    pub at: SocketAddr,
    /// Its link.
    pub conn: ConnId,
    /// Where it answers by QUIC as well.
    pub quic: Option<QuicAddress>,
    /// Its link is one of QUIC.
    pub by_quic: bool,
    /// It has all of the file, as far as is known.
    pub whole: bool,
    /// What it calls the file.
    pub name: RelativeName,
    /// How it is asked for the file.
    pub wanted: Selector,
    /// Its version of the file: one that is asked by name must not give another.
    pub tag: Option<FileVersion>,
    /// How many pieces of it were kept.
    pub given: u64,
    /// When it last said something, or sent a fair part of a body; before that, when its link was begun.
    pub heard_at: Instant,
    /// How many bytes of bodies were here then.
    heard_bytes: u64,
    /// It has asked for patience: a person, a slot or a hash is waited for.
    pub waits: bool,
    /// When it last gave a whole piece, or was asked for one after it had nothing to do.
    busy_since: Instant,
    /// It is asked what each piece is worth.
    pub proves: bool,
    /// What it is to the plan, once there is one.
    pub picker_id: Option<SourceId>,
    asking: Option<Box<Outbound>>,
    asks: BTreeMap<u64, PendingAsk>,
    /// The ask whose body is arriving.
    arriving: Option<u64>,
    /// Memory for the next piece.
    spare: Vec<u8>,
}

/// What was asked.
pub(super) enum PendingAsk {
    /// A piece; its bytes gather there once its first head has come.
    Piece(u64, Option<Rc<PieceBuffer>>),
    /// The list of pieces.
    List(Rc<HashListBuffer>, Option<HashListPart>),
    /// Which pieces it has.
    Have,
    /// A piece that was to come later than something else, and comes now only if that was too late.
    Yielded(u64),
    /// Nothing that is still wanted.
    Dropped,
}

/// What a source said.
pub(super) enum SourceEvent {
    /// It has opened.
    Opened,
    /// The head of a piece: [`Source::take_in`] takes its body.
    Head(u64, Piece),
    /// A piece is here.
    Arrived(Rc<PieceBuffer>),
    /// The list of pieces is here.
    Listed(HashListPart, Rc<HashListBuffer>),
    /// Pieces that it has.
    Has(Have),
    /// It asks for patience with an answer.
    Waits(WaitingReason),
    /// It says no.
    Refused(PendingAsk, ErrorReply),
    /// It says no to everything.
    Closes(ErrorReply),
}

impl Source {
    /// A source to which a link is being made.
    pub fn new(
        at: SocketAddr,
        link: ConnId,
        whole: bool,
        name: RelativeName,
        wanted: Selector,
        now: Instant,
    ) -> Source {
        Source {
            at,
            conn: link,
            quic: None,
            by_quic: false,
            whole,
            name,
            wanted,
            tag: None,
            given: 0,
            heard_at: now,
            heard_bytes: 0,
            waits: false,
            busy_since: now,
            proves: false,
            picker_id: None,
            asking: None,
            asks: BTreeMap::new(),
            arriving: None,
            spare: Vec::new(),
        }
    }

    /// True once its link was there.
    pub fn was_linked(&self) -> bool {
        self.asking.is_some()
    }

    /// True once it has opened.
    pub fn is_open(&self) -> bool {
        self.asking.as_ref().is_some_and(|asking| asking.welcome().is_some())
    }

    /// True while something is asked and not answered.
    pub fn is_asked(&self) -> bool {
        self.asks.values().any(|ask| matches!(ask, PendingAsk::Piece(..)))
    }

    /// It has said something; `waits`: that it needs more time, which it gets once, however often it says so.
    pub fn hears(&mut self, waits: bool, now: Instant) {
        if waits && self.waits {
            return;
        }
        (self.heard_at, self.heard_bytes, self.waits) = (now, self.body_bytes(), waits);
    }

    /// Bytes of a body have come: enough of them show that it is alive.
    pub fn hears_bytes(&mut self, now: Instant) {
        let here = self.body_bytes();
        if here >= self.heard_bytes + limits::HEDGE_BYTES {
            self.hears(false, now);
        }
    }

    /// The process stood still for so long.
    pub fn stood_still(&mut self, gap: Duration) {
        (self.heard_at, self.busy_since) = (self.heard_at + gap, self.busy_since + gap);
    }

    /// It has given a whole piece.
    pub fn gave(&mut self, now: Instant) {
        self.given += 1;
        self.busy_since = now;
    }

    /// True while it owes an answer and has sent next to nothing for `patience`.
    pub fn is_silent(&self, patience: Duration, now: Instant) -> bool {
        let owes = !self.is_open() || self.is_asked() || self.is_asked_list();
        owes && now.saturating_duration_since(self.heard_at) >= patience
    }

    /// True when it has opened and owes nothing.
    pub fn is_idle(&self) -> bool {
        self.is_open() && !self.is_asked() && !self.is_asked_list()
    }

    /// False for one that can't be counted on: others are connected to besides it.
    pub fn is_useful(&self, now: Instant) -> bool {
        let late = self.is_asked()
            && now.saturating_duration_since(self.busy_since) >= limits::HASH_LIST_TIMEOUT;
        !late && !self.waits && !self.is_silent(limits::HEDGE, now)
    }

    fn body_bytes(&self) -> u64 {
        let list =
            |ask: &PendingAsk| if let PendingAsk::List(list, _) = ask { list.held() } else { 0 };
        self.arriving() + self.asks.values().map(list).sum::<u64>()
    }

    /// True when it was asked for the list of pieces.
    pub fn is_asked_list(&self) -> bool {
        self.asks.values().any(|ask| matches!(ask, PendingAsk::List(..)))
    }

    /// True when it was asked for this piece.
    pub fn is_asked_for(&self, piece: u64) -> bool {
        self.asks.values().any(|ask| matches!(ask, PendingAsk::Piece(asked, _) if *asked == piece))
    }

    /// The pieces that it was asked for.
    pub fn asked_pieces(&self) -> Vec<u64> {
        let piece = |ask: &PendingAsk| {
            if let PendingAsk::Piece(piece, _) = ask { Some(*piece) } else { None }
        };
        self.asks.values().filter_map(piece).collect()
    }

    /// Bytes of pieces that are not whole yet.
    pub fn arriving(&self) -> u64 {
        let held = |ask: &PendingAsk| {
            if let PendingAsk::Piece(_, Some(arrival)) = ask { arrival.held() } else { 0 }
        };
        self.asks.values().map(held).sum()
    }

    /// The link is there: opens it.
    pub fn open(&mut self, hello: &Hello, io: &mut Io<'_>) {
        let (nonce, now) = (io.nonce(), io.now);
        self.heard_at = now;
        let Some(link) = io.connection(self.conn) else { return };
        link.max_header = limits::HEADER_BYTES + limits::SCRATCH_BYTES;
        let asking = Outbound::new(Some(Role::Peer), hello, &nonce, &mut link.send_queue, now);
        link.deadline = asking.deadline();
        self.asking = Some(Box::new(asking));
    }

    fn ask(&mut self, request: &Request, ask: PendingAsk, io: &mut Io<'_>) {
        let now = io.now;
        if matches!(ask, PendingAsk::Piece(..) | PendingAsk::List(..))
            && !self.is_asked()
            && !self.is_asked_list()
        {
            // It owed nothing until now.
            (self.busy_since, self.heard_at) = (now, now);
        }
        let (Some(asking), Some(link)) = (&mut self.asking, io.connection(self.conn)) else {
            return;
        };
        let id = asking.ask(request, &mut link.send_queue, now);
        // While a body comes its own silence is judged: the answers behind it come when they can.
        if !link.recv_buffer.is_receiving() {
            link.deadline = asking.deadline();
        }
        self.asks.insert(id, ask);
    }

    /// Asks for bytes of the file: those of piece `piece`.
    pub fn ask_piece(&mut self, piece: u64, from: u64, length: u64, io: &mut Io<'_>) {
        let fetch =
            Fetch { wanted: self.wanted.clone(), from, length: Some(length), tag: self.tag };
        let request = if self.proves { Request::Prove(fetch) } else { Request::Fetch(fetch) };
        self.ask(&request, PendingAsk::Piece(piece, None), io);
    }

    /// Asks for the list of pieces.
    pub fn ask_list(&mut self, io: &mut Io<'_>) {
        let fetch = Fetch { wanted: self.wanted.clone(), from: 0, length: None, tag: None };
        self.ask(&Request::Pieces(fetch), PendingAsk::List(Rc::default(), None), io);
    }

    /// Asks which pieces it has.
    pub fn ask_have(&mut self, root: ContentHash, io: &mut Io<'_>) {
        self.ask(&Request::Have { root }, PendingAsk::Have, io);
    }

    /// Tells it that a piece was wrong: its disk may have changed unnoticed.
    pub fn tell_wrong(&mut self, root: ContentHash, piece: u64, io: &mut Io<'_>) {
        self.ask(&Request::Wrong { root, piece }, PendingAsk::Dropped, io);
    }

    /// A piece that it was asked for came from another.
    pub fn no_longer(&mut self, piece: u64, io: &mut Io<'_>) {
        let asked = self.asks.iter().find(|(id, ask)| {
            matches!(ask, PendingAsk::Piece(asked, None) if *asked == piece)
                && self.arriving != Some(**id)
        });
        if let Some(fetch) = asked.map(|(id, _)| *id) {
            self.ask(&Request::Cancel { fetch }, PendingAsk::Dropped, io);
        }
    }

    /// A piece that it was asked for, and of which nothing has come, is to make room for another. False when it is on its way.
    pub fn yields(&mut self, piece: u64, io: &mut Io<'_>) -> bool {
        let asked = self.asks.iter_mut().find(|(id, ask)| {
            matches!(ask, PendingAsk::Piece(asked, None) if *asked == piece)
                && self.arriving != Some(**id)
        });
        let Some((fetch, ask)) = asked else { return false };
        let fetch = *fetch;
        *ask = PendingAsk::Yielded(piece);
        self.ask(&Request::Cancel { fetch }, PendingAsk::Dropped, io);
        true
    }

    /// Says something when it has been silent for as long as the other side allows.
    pub fn keep_alive(&mut self, io: &mut Io<'_>) {
        if self.ping_at().is_some_and(|at| at <= io.now) {
            self.ask(&Request::Ping, PendingAsk::Dropped, io);
        }
    }

    /// When that is.
    pub fn ping_at(&self) -> Option<Instant> {
        self.asking.as_ref().and_then(|asking| asking.ping_at())
    }

    /// The next thing that it said; `None` when more bytes are needed.
    ///
    /// # Errors
    /// When it does not speak the protocol; the text says how.
    pub fn next(&mut self, io: &mut Io<'_>) -> Result<Option<SourceEvent>, String> {
        let now = io.now;
        loop {
            let Some(link) = io.connection(self.conn) else { return Ok(None) };
            if link.recv_buffer.is_receiving() {
                link.idle_timeout = Some(limits::READ_TIMEOUT);
                link.deadline = None;
                return Ok(None);
            }
            if let Some(id) = self.arriving.take()
                && let Some(heard) = self.arrived(id)
            {
                return Ok(Some(heard));
            }
            let (Some(asking), Some(link)) = (&mut self.asking, io.connection(self.conn)) else {
                return Ok(None);
            };
            let Some(said) = asking.next(&mut link.recv_buffer, now)? else {
                asking.moves(now);
                link.idle_timeout = None;
                link.deadline = asking.deadline();
                return Ok(None);
            };
            link.deadline = asking.deadline();
            return Ok(Some(match said {
                Message::Welcome(_) => SourceEvent::Opened,
                Message::Waiting(_, waiting) => SourceEvent::Waits(waiting),
                Message::Have(have) => SourceEvent::Has(have),
                Message::Reply(id, Response::Have(have)) => {
                    self.asks.remove(&id);
                    SourceEvent::Has(have)
                }
                Message::Error(None, refusal) => SourceEvent::Closes(refusal),
                Message::Error(Some(id), refusal) => match self.asks.remove(&id) {
                    Some(PendingAsk::Dropped | PendingAsk::Yielded(_)) | None => continue,
                    Some(ask) => SourceEvent::Refused(ask, refusal),
                },
                Message::Reply(id, Response::Piece(piece)) => match self.asks.get_mut(&id) {
                    Some(PendingAsk::Piece(..)) => SourceEvent::Head(id, piece),
                    Some(ask @ PendingAsk::Yielded(_)) => {
                        // It was under way already.
                        if let PendingAsk::Yielded(number) = *ask {
                            *ask = PendingAsk::Piece(number, None);
                        }
                        SourceEvent::Head(id, piece)
                    }
                    _ => return Err("a piece that nobody asked for".into()),
                },
                Message::Reply(id, Response::Pieces(part)) => {
                    self.list_part(id, part, io)?;
                    continue;
                }
                Message::Reply(id, _) => match self.asks.remove(&id) {
                    Some(PendingAsk::Piece(..) | PendingAsk::List(..)) => {
                        return Err("an answer of another kind".into());
                    }
                    _ => continue,
                },
                Message::Event(..) | Message::Unknown => continue,
            }));
        }
    }

    /// A body has ended: is what was asked all here?
    fn arrived(&mut self, id: u64) -> Option<SourceEvent> {
        let whole = match self.asks.get(&id)? {
            PendingAsk::Piece(_, Some(arrival)) => arrival.is_whole(),
            PendingAsk::List(_, Some(part)) => !part.more,
            _ => false,
        };
        match whole.then(|| self.asks.remove(&id)).flatten()? {
            PendingAsk::Piece(_, Some(arrival)) => Some(SourceEvent::Arrived(arrival)),
            PendingAsk::List(list, Some(part)) => Some(SourceEvent::Listed(part, list)),
            _ => None,
        }
    }

    /// The head of a part of the list has come: its body follows.
    fn list_part(&mut self, id: u64, part: HashListPart, io: &mut Io<'_>) -> Result<(), String> {
        let Some(PendingAsk::List(list, known)) = self.asks.get_mut(&id) else {
            return Err("a list of pieces that nobody asked for".into());
        };
        let goes_on =
            known.as_ref().is_none_or(|known| known.size == part.size && known.root == part.root);
        if !goes_on || part.from != list.held() {
            return Err("a list of pieces out of order".into());
        }
        let (from, length, list) = (part.from, part.length, Rc::clone(list));
        *known = Some(part);
        self.arriving = Some(id);
        if let Some(link) = io.connection(self.conn) {
            link.recv_buffer.expect(list, from, length).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Takes in the body behind the head of answer `id`; `make` makes the place for a piece whose first bytes these are.
    ///
    /// # Errors
    /// When the head does not fit what was asked.
    pub fn take_in(
        &mut self,
        id: u64,
        head: &Piece,
        make: impl FnOnce(u64, Vec<u8>) -> PieceBuffer,
        io: &mut Io<'_>,
    ) -> Result<(), String> {
        let Some(PendingAsk::Piece(piece, arrival)) = self.asks.get_mut(&id) else {
            return Err("a piece that nobody asked for".into());
        };
        let spare = std::mem::take(&mut self.spare);
        let arrival = Rc::clone(arrival.get_or_insert_with(|| Rc::new(make(*piece, spare))));
        let here = arrival.start() + arrival.held();
        let end = head.from + head.length;
        let whole = end == arrival.start() + arrival.length();
        if head.from != here || end > arrival.start() + arrival.length() || whole == head.more {
            return Err("a piece out of order".into());
        }
        self.arriving = Some(id);
        if let Some(link) = io.connection(self.conn) {
            link.recv_buffer
                .expect(arrival, head.from, head.length)
                .map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// Gives the memory of a piece back.
    pub fn reuse(&mut self, arrival: &PieceBuffer) {
        self.spare = arrival.take_memory();
    }

    /// Ends the link at once.
    pub fn drop_link(&self, io: &mut Io<'_>) {
        if let Some(link) = io.connection(self.conn) {
            link.drop_now();
        }
    }

    /// Ends the link: at once when something is still asked on it.
    pub fn finish_or_drop(&self, io: &mut Io<'_>) {
        if self.asks.is_empty() { self.finish(io) } else { self.drop_link(io) }
    }

    /// Ends the link in good manners.
    pub fn finish(&self, io: &mut Io<'_>) {
        if let Some(link) = io.connection(self.conn) {
            link.finish();
        }
    }
}
