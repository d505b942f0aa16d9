//! Inbound connections of a peer, and their uploads.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Instant;

use crate::client::server_connection::Joining;
use crate::connection::inbound::{Inbound, InboundStep};
use crate::index::pagination;
use crate::limits;
use crate::node::conn_map::ConnOwner;
use crate::node::io::Io;
use crate::node::{ConnId, PortId};
use crate::peer::Peer;
use crate::peer::upload_queue::{ConsentRequest, Turn};
use crate::protocol::detect::ListenerProtocol;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{Fetch, Request, Selector};
use crate::protocol::response::{Response, WaitingReason};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::ui::event::UiEvent;

/// A file that stays open for the next request.
struct OpenedFile {
    name: RelativeName,
    wanted: Selector,
    opened: Opened,
    /// When it was wanted last.
    at: Instant,
}

/// One who asks.
pub(super) struct InboundPeer {
    pub(super) answering: Inbound,
    /// What was opened last: who fetches a file piece by piece opens it once.
    opened: Option<OpenedFile>,
    /// Its sending half is closed; it may still read.
    ended: bool,
}

impl Peer {
    pub(super) fn visitor(&mut self, id: ConnId, port: PortId, io: &mut Io<'_>) {
        let old = port.0.checked_sub(1).and_then(|number| self.options.old_ports.get(number));
        let speech =
            old.map_or(self.options.speech, |(_, tongue)| ListenerProtocol::Legacy(*tongue));
        let (nonce, now) = (io.nonce(), io.now);
        let Some(link) = io.connection(id) else { return };
        let mut answering = Inbound::new(self.terms.clone(), speech, link.from, nonce, now);
        if link.turned_away {
            answering.turn_away();
        }
        link.deadline = answering.head_deadline(&link.recv_buffer, now);
        link.max_header = limits::HEADER_BYTES + 1;
        self.owners.insert(id, ConnOwner::Inbound);
        self.visits.insert(id, InboundPeer { answering, opened: None, ended: false });
    }

    /// Bytes have come or gone: reads requests and hands out what there is room for.
    pub(super) fn visited(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let made = io
            .connection(id)
            .map_or(0, |link| link.send_queue.memory_waiting() + limits::SERVICE_RESPONSE_BYTES);
        for _ in 0..limits::SERVICE_REQUESTS {
            let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
                return;
            };
            if link.send_queue.memory_waiting() >= made {
                break;
            }
            match visit.answering.step(&mut link.recv_buffer, &mut link.send_queue, now) {
                InboundStep::Wait => return self.settle_visit(id, io),
                InboundStep::Again => {}
                InboundStep::Asked(ask, request) => {
                    self.tally.note(&request);
                    self.answer(id, ask, request, io);
                }
            }
        }
        self.feed(id, io);
        if let Some(link) = io.connection(id) {
            link.reschedule = true;
        }
    }

    fn settle_visit(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.feed(id, io);
        let now = io.now;
        let waits = self.uploads.waiting_on(id).next().is_some()
            || self.proofs.waiting_on(id) > 0
            || self.pending_lists.has(id);
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        link.deadline = visit.answering.head_deadline(&link.recv_buffer, now);
        link.wake_at = visit.answering.look_at();
        // Who waits for a person or a slot, or takes a file, has nothing to say meanwhile; both have ends of their own.
        link.idle_timeout =
            visit.answering.silence().filter(|_| !waits && visit.answering.sends() == 0);
        // What was asked before a fault, or before the end of the other side, is answered first.
        if !waits
            && (visit.answering.is_over()
                || (visit.ended && visit.answering.sends() == 0 && !link.send_queue.is_full()))
        {
            visit.answering.speak_last(&mut link.send_queue);
            link.finish();
        }
    }

    pub(super) fn visitor_ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        if let Some(visit) = self.visits.get_mut(&id) {
            visit.ended = true;
            visit.answering.ends();
            // An HTTP client that closes its link before its turn has come no longer wants the file; its place is another's.
            if visit.answering.is_http()
                && self.uploads.waiting_on(id).next().is_some()
                && let Some(link) = io.connection(id)
            {
                return link.drop_now();
            }
        }
        self.visited(id, io);
    }

    pub(super) fn visitor_gone(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Some(mut visit) = self.visits.remove(&id) else { return };
        visit.answering.drop_sends();
        self.forget_listener(id);
        self.traffic.pulse.forget(id);
        let tickets = self.uploads.on(id).to_vec();
        self.release(tickets, io);
    }

    /// receives and answers the requests of other peers.
    fn answer(&mut self, id: ConnId, ask: Option<u64>, request: Request, io: &mut Io<'_>) {
        let answer = match request {
            Request::Status { local } => self.status(id, local, io),
            Request::Ping | Request::Moved(_) => Ok(Response::Pong),
            Request::Live => self.watch(id, io),
            Request::Transfers { local } => Ok(self.transfers(id, local, io)),
            Request::Ls { cursor, .. } => self.own_files(cursor.as_deref()),
            Request::Fetch(fetch) => return self.wanted(id, ask, fetch, false, io),
            Request::Prove(fetch) => return self.wanted(id, ask, fetch, true, io),
            Request::Pieces(fetch) => return self.pieces(id, ask, fetch, io),
            Request::Have { root } => self.have(id, root),
            Request::Wrong { root, piece } => {
                self.library.suspect(&root, piece);
                Ok(Response::WrongOk)
            }
            Request::Cancel { fetch } => {
                self.cancel(id, fetch, io);
                Ok(Response::CancelOk)
            }
            _ => Err(ErrorReply::unsupported()),
        };
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        match answer {
            Ok(reply) => visit.answering.respond(ask, &reply, &mut link.send_queue),
            Err(refusal) => visit.answering.respond_error(ask, &refusal, &mut link.send_queue),
        }
    }

    fn own_files(&mut self, cursor: Option<&str>) -> Result<Response, ErrorReply> {
        let peer = match self.home.joining {
            Joining::Joined(me) => me,
            _ => self.ports.usual.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0))),
        };
        let page = pagination::files(
            |start| {
                let before = self.share.name_before(start);
                let skipped = if before.is_some() { 0 } else { start };
                self.library.files_from(before, skipped)
            },
            cursor,
        )?;
        if let (Some(next), Some(last)) =
            (page.cursor.as_deref().and_then(|cursor| cursor.parse().ok()), page.entries.last())
        {
            self.share.note_page_end(next, last.name.clone());
        }
        Ok(Response::Files { peer, files: page.entries, cursor: page.cursor })
    }

    /// DOWNLOAD. Looks whether the file is here, and whether this asker may have it now.
    fn wanted(&mut self, id: ConnId, ask: Option<u64>, fetch: Fetch, prove: bool, io: &mut Io<'_>) {
        let Some(visit) = self.visits.get(&id) else { return };
        if visit.answering.sends()
            + self.uploads.waiting_on(id).count()
            + self.proofs.waiting_on(id)
            >= limits::FETCHES
        {
            return self.refuse(
                id,
                ask,
                &ErrorReply::new(
                    ErrorCode::Busy,
                    format!("at most {} FETCH at once on a link", limits::FETCHES),
                ),
                io,
            );
        }
        let Some(name) = self.meant(&fetch.wanted) else {
            return self.refuse(id, ask, &ErrorReply::no_such_file(), io);
        };
        let (asker, mute) = (visit.answering.asker(), !visit.answering.can_wait());
        let opened = match self.opened(id, &name, &fetch, io.now) {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(id, ask, &refusal, io),
        };
        let is_free = self.visits.get(&id).is_some_and(|visit| {
            visit.answering.answers_by_head(opened.size, opened.tag, opened.source.modified())
        });
        if self.library.entry(&name).is_some_and(|entry| entry.root.is_none()) {
            self.library.prioritize(&name);
        }
        log::debug!("{asker} FETCH {name} from {}", fetch.from);
        let (ticket, turn) = self.uploads.ask(
            ConsentRequest { link: id, id: ask, fetch, name: name.clone(), asker, mute, is_free },
            io.now,
        );
        if prove && self.uploads.get(ticket).is_some() {
            self.proofs.want(ticket);
        }
        match turn {
            Turn::Refuse => self.refuse(id, ask, &not_allowed(), io),
            Turn::Busy => self.refuse(
                id,
                ask,
                &ErrorReply::new(ErrorCode::Busy, "too many wait for this person's answer"),
                io,
            ),
            Turn::Send => self.send(ticket, io),
            Turn::Queue(place) => self.tell_waiting(ticket, WaitingReason::Slot { place }, io),
            Turn::AskPerson(first) => {
                self.tell_waiting(ticket, WaitingReason::Consent, io);
                if first {
                    io.tell(UiEvent::Consent { who: asker, name });
                    self.errand_question(io);
                }
            }
        }
    }

    /// A file is gone from the share: nobody keeps it open for what he may ask next.
    pub(super) fn close_opened(&mut self, name: &RelativeName) {
        for visit in self.visits.values_mut() {
            if visit.opened.as_ref().is_some_and(|kept| kept.name == *name) {
                visit.opened = None;
            }
        }
    }

    /// Nobody keeps a file open that was not asked for of late: its disk could not be unmounted.
    pub(super) fn close_idle(&mut self, now: Instant) {
        for visit in self.visits.values_mut() {
            visit
                .opened
                .take_if(|kept| now.saturating_duration_since(kept.at) >= limits::KEPT_OPEN);
        }
    }

    /// What is wanted, opened now or by the request before.
    fn opened(
        &mut self,
        id: ConnId,
        name: &RelativeName,
        fetch: &Fetch,
        now: Instant,
    ) -> Result<Opened, ErrorReply> {
        let kept = self.visits.get_mut(&id).and_then(|visit| visit.opened.as_mut());
        if let Some(kept) = kept
            && (&kept.name, &kept.wanted) == (name, &fetch.wanted)
            && kept.opened.source.is_same()
        {
            kept.at = now;
            return Ok(kept.opened.clone());
        }
        let opened = self.open_wanted(name, fetch)?;
        let shared =
            !matches!(&fetch.wanted, Selector::Root(root) if self.library.named(root).is_none());
        // What is held of a download under way is looked at each time.
        if let Some(visit) = self.visits.get_mut(&id).filter(|_| shared) {
            visit.opened = Some(OpenedFile {
                name: name.clone(),
                wanted: fetch.wanted.clone(),
                opened: opened.clone(),
                at: now,
            });
        }
        Ok(opened)
    }

    /// The person has answered the first question. False when there was none.
    pub(super) fn verdict(&mut self, yes: bool, io: &mut Io<'_>) -> bool {
        let Some(turns) = self.uploads.verdict(yes, io.now) else { return false };
        for (ticket, turn) in turns {
            match turn {
                Turn::Send => self.send(ticket, io),
                Turn::Queue(place) => self.tell_waiting(ticket, WaitingReason::Slot { place }, io),
                _ => self.turn_down(ticket, &not_allowed(), io),
            }
        }
        true
    }

    pub(super) fn uploads_due(&mut self, io: &mut Io<'_>) {
        for (ticket, was_consent) in self.uploads.expired(io.now) {
            let refusal = if was_consent {
                if let Some(upload) = self.uploads.get(ticket) {
                    io.tell(UiEvent::ConsentExpired(upload.name.clone()));
                }
                ErrorReply::new(ErrorCode::Refused, "nobody answered")
            } else {
                ErrorReply::new(ErrorCode::Busy, "all upload slots are taken")
            };
            self.turn_down(ticket, &refusal, io);
        }
    }

    /// Opens the file and begins to send it.
    pub(super) fn send(&mut self, ticket: u64, io: &mut Io<'_>) {
        let over = self.begin_to_send(ticket, io);
        self.release(over, io);
    }

    /// The same; returns the uploads that are over with it.
    fn begin_to_send(&mut self, ticket: u64, io: &mut Io<'_>) -> Vec<u64> {
        let Some(upload) = self.uploads.get(ticket).cloned() else { return Vec::new() };
        let (name, fetch) = (upload.name, upload.fetch);
        let Fetch { from, length, tag, .. } = fetch;
        let now = io.now;
        let refused = |peer: &mut Peer, refusal: &ErrorReply, io: &mut Io<'_>| {
            peer.refuse(upload.link, upload.id, refusal, io);
            vec![ticket]
        };
        let opened = match self.opened(upload.link, &name, &fetch, now) {
            Ok(opened) => opened,
            Err(refusal) => return refused(self, &refusal, io),
        };
        if tag.is_some_and(|tag| tag != opened.tag) {
            return refused(
                self,
                &ErrorReply::new(ErrorCode::Changed, "the file is not the version you expect"),
                io,
            );
        }
        let Some(range) = ByteRange::within(from, length, opened.size) else {
            return refused(
                self,
                &ErrorReply::new(ErrorCode::Range, "the file ends before that"),
                io,
            );
        };
        if !self.is_here(&fetch.wanted, range) {
            return refused(self, &ErrorReply::new(ErrorCode::Range, "not here yet"), io);
        }
        let Ok(value) = self.proof((ticket, upload.link), &name, &opened, range, now) else {
            return Vec::new();
        };
        if let (Some(visit), Some(link)) =
            (self.visits.get_mut(&upload.link), io.connection(upload.link))
        {
            visit.answering.send(ticket, upload.id, &name, opened, range, &mut link.send_queue);
            if let Some(value) = value {
                visit.answering.promise(value);
            }
        }
        self.hand_out(upload.link, io)
    }

    /// Hands the outbox of a link what it has room for.
    pub(super) fn feed(&mut self, id: ConnId, io: &mut Io<'_>) {
        let over = self.hand_out(id, io);
        self.release(over, io);
    }

    /// The same; returns the uploads that are over with it.
    fn hand_out(&mut self, id: ConnId, io: &mut Io<'_>) -> Vec<u64> {
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return Vec::new();
        };
        let over = visit.answering.feed(&mut link.send_queue);
        self.went(id, io);
        over
    }

    /// Frees the slots of uploads that are over and begins those whose turn it is. One may be over as soon as it begins.
    fn release(&mut self, mut over: Vec<u64>, io: &mut Io<'_>) {
        let mut begin = VecDeque::new();
        loop {
            for ticket in over {
                if let Some(upload) = self.uploads.get(ticket) {
                    self.proofs.forget(upload.link, ticket);
                }
                begin.extend(self.uploads.over(ticket));
            }
            let Some(ticket) = begin.pop_front() else { break };
            over = self.begin_to_send(ticket, io);
        }
        // Those behind a place that was left hear of it, whether that one began or went away.
        for (ticket, place) in self.uploads.moved() {
            self.tell_waiting(ticket, WaitingReason::Slot { place }, io);
        }
    }

    fn cancel(&mut self, id: ConnId, fetch: u64, io: &mut Io<'_>) {
        let waiting = self
            .uploads
            .waiting_on(id)
            .find(|ticket| self.uploads.get(*ticket).is_some_and(|u| u.id == Some(fetch)));
        if let Some(ticket) = waiting {
            return self.turn_down(ticket, &ErrorReply::new(ErrorCode::Cancelled, "as asked"), io);
        }
        if self.cancel_patience(id, fetch, io) {
            return;
        }
        let proven = |ticket: &u64| {
            self.proofs.holds(id, *ticket)
                && self.uploads.get(*ticket).is_some_and(|upload| upload.id == Some(fetch))
        };
        if let Some(ticket) = self.uploads.on(id).iter().copied().find(proven) {
            return self.turn_down(ticket, &ErrorReply::new(ErrorCode::Cancelled, "as asked"), io);
        }
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) else {
            return;
        };
        if let Some(ticket) = visit.answering.cancel(fetch, &mut link.send_queue) {
            self.release(vec![ticket], io);
        }
    }

    /// Says no to an upload and forgets it.
    fn turn_down(&mut self, ticket: u64, refusal: &ErrorReply, io: &mut Io<'_>) {
        if let Some(upload) = self.uploads.get(ticket) {
            let (link, id) = (upload.link, upload.id);
            self.refuse(link, id, refusal, io);
        }
        self.release(vec![ticket], io);
    }

    pub(super) fn refuse(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        refusal: &ErrorReply,
        io: &mut Io<'_>,
    ) {
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) {
            visit.answering.respond_error(ask, refusal, &mut link.send_queue);
            link.reschedule = true;
        }
    }

    fn tell_waiting(&mut self, ticket: u64, waiting: WaitingReason, io: &mut Io<'_>) {
        let Some(upload) = self.uploads.get(ticket) else { return };
        let (link, id) = (upload.link, upload.id);
        let kept = self
            .visits
            .get(&link)
            .and_then(|visit| visit.opened.as_ref())
            .map(|kept| kept.opened.size);
        let size = kept.or_else(|| self.library.entry(&upload.name).and_then(|entry| entry.size));
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&link), io.connection(link))
            // A place in the queue is worth nothing to a reader that has not read the last ones.
            && !(link.send_queue.is_full() && visit.answering.can_wait())
        {
            visit.answering.waiting(id, waiting, size, &mut link.send_queue);
        }
    }

    pub(super) fn tell_patience(
        &mut self,
        id: ConnId,
        ask: Option<u64>,
        waiting: WaitingReason,
        io: &mut Io<'_>,
    ) {
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) {
            visit.answering.waiting(ask, waiting, None, &mut link.send_queue);
        }
    }
}

fn not_allowed() -> ErrorReply {
    ErrorReply::new(ErrorCode::Refused, "this peer does not give it")
}
