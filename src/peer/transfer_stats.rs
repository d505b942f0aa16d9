//! Transfer statistics: sent to the server now and then, and to visitors of the peer's own page.

use std::time::Instant;

use crate::client::server_connection::Joining;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::node::stats::activity::Activity;
use crate::peer::Peer;
use crate::protocol::error::ErrorReply;
use crate::protocol::live_stats::{LiveStats, Transfer, TransferReport, TransferStage, Transfers};
use crate::protocol::request::Request;
use crate::protocol::response::Response;

/// What has moved, and who was told.
#[derive(Debug, Default)]
pub(super) struct TransferStats {
    pub(super) pulse: Activity,
    /// What the server has not been told.
    untold: TransferReport,
    /// What it was told of what is under way.
    told: (u64, u64),
    /// It is told nothing more before that.
    next: Option<Instant>,
    /// Something has changed.
    changed: bool,
}

/// True when a listener has read what it was told before.
fn has_room(id: ConnId, io: &mut Io<'_>) -> bool {
    io.connection(id).is_some_and(|link| link.send_queue.memory_waiting() <= limits::LISTENER_BYTES)
}

impl Peer {
    /// Bytes of files have come on this link.
    pub(super) fn came(&mut self, id: ConnId, io: &mut Io<'_>) {
        let came = io.connection(id).map_or(0, |link| link.recv_buffer.take_came());
        self.count(0, came);
    }

    /// Bytes of files may have gone out on this link.
    pub(super) fn went(&mut self, id: ConnId, io: &mut Io<'_>) {
        let gone = io.connection(id).map_or(0, |link| link.send_queue.take_gone());
        self.count(gone, 0);
    }

    fn count(&mut self, sent: u64, received: u64) {
        if sent > 0 || received > 0 {
            let TransferStats { pulse, untold, changed, .. } = &mut self.traffic;
            pulse.moved(sent, received);
            untold.sent = untold.sent.saturating_add(sent);
            untold.received = untold.received.saturating_add(received);
            *changed = true;
        }
    }

    fn under_way(&self) -> (u64, u64) {
        (self.uploads.sending() as u64, self.downloads.count() as u64)
    }

    /// Looks whether somebody is to be told of what has moved; to be called when an event is over.
    pub(super) fn traffic_due(&mut self, io: &mut Io<'_>) {
        let (uploads, downloads) = self.under_way();
        self.traffic.pulse.under_way(uploads, downloads);
        self.traffic.changed |= self.traffic.told != (uploads, downloads);
        self.traffic.pulse.advance(io.now);
        let due = self.traffic.next.is_none_or(|next| next <= io.now);
        // A listener that has not read the last words is told later; until then, nothing is looked at for it.
        let behind = self.traffic.pulse.behind();
        let listening: Vec<ConnId> = behind.into_iter().filter(|id| has_room(*id, io)).collect();
        if uploads > 0 && (due || !listening.is_empty()) {
            // A giant file that goes out in one go tells of itself only at its end.
            let busy: Vec<ConnId> = self.uploads.sending_conns().collect();
            for id in busy {
                self.went(id, io);
            }
        }
        self.tell_watchers(listening, io);
        if due && (self.traffic.changed || uploads > 0) {
            // Who was looked at in vain is not looked at again at once.
            self.traffic.next = Some(io.now + limits::REPORT_INTERVAL);
            if self.traffic.changed {
                self.tell_server(io);
            }
        }
    }

    fn tell_server(&mut self, io: &mut Io<'_>) {
        if !matches!(self.home.joining, Joining::Joined(_)) || self.ending.is_some() {
            return;
        }
        let (uploads, downloads) = self.under_way();
        let moved = TransferReport { uploads, downloads, ..self.traffic.untold };
        if self.home.ask_if_open(&Request::Moved(moved), io).is_some() {
            self.traffic.untold = TransferReport::default();
            self.traffic.told = (uploads, downloads);
            self.traffic.changed = false;
        }
    }

    /// The server knows nothing of what it was told before.
    pub(super) fn traffic_is_new(&mut self) {
        self.traffic.told = (0, 0);
    }

    /// When it is to be looked at again.
    pub(super) fn traffic_deadline(&self, now: Instant) -> Option<Instant> {
        let joined = matches!(self.home.joining, Joining::Joined(_))
            && self.ending.is_none()
            && self.home.is_open();
        let news = self.traffic.changed || self.uploads.sending() > 0;
        let tell = (joined && news).then(|| self.traffic.next.map_or(now, |next| next.max(now)));
        [tell, self.traffic.pulse.deadline()].into_iter().flatten().min()
    }

    /// Somebody wants to watch.
    pub(super) fn watch(&mut self, id: ConnId, io: &mut Io<'_>) -> Result<Response, ErrorReply> {
        let from = io
            .connection(id)
            .map_or(std::net::Ipv4Addr::UNSPECIFIED.into(), |link| link.from.ip().to_canonical());
        let live = self.traffic.pulse.listen(id, from)?;
        Ok(self.shown(live))
    }

    fn shown(&self, live: LiveStats) -> Response {
        Response::Live(Box::new(LiveStats { files: self.library.len() as u64, ..live }))
    }

    fn tell_watchers(&mut self, listening: Vec<ConnId>, io: &mut Io<'_>) {
        for id in listening {
            let live = self.traffic.pulse.news(id);
            let reply = self.shown(live);
            if let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.connection(id)) {
                visit.answering.respond(None, &reply, &mut link.send_queue);
            }
        }
    }

    /// The transfers under way: one by one for the person who sits at this machine, in numbers for all others.
    pub(super) fn transfers(&self, id: ConnId, local: bool, io: &mut Io<'_>) -> Response {
        let own = local
            && io.connection(id).is_some_and(|link| link.from.ip().to_canonical().is_loopback());
        let shown = own.then(|| {
            let mut all = Vec::new();
            for (ticket, upload, stage) in self.uploads.under_way().take(limits::SHOWN_TRANSFERS) {
                let outbox = io.connection(upload.link).map(|link| &link.send_queue);
                let progress = self
                    .visits
                    .get(&upload.link)
                    .zip(outbox)
                    .and_then(|(visit, outbox)| visit.answering.progress(ticket, outbox));
                let (done, size) = progress.map_or((0, None), |(done, size)| (done, Some(size)));
                all.push(Transfer {
                    name: upload.name.clone(),
                    stage,
                    to: Some(upload.asker),
                    done,
                    size,
                });
            }
            for (name, done, size, waits) in
                self.downloads.under_way().take(limits::SHOWN_TRANSFERS)
            {
                let stage = if waits { TransferStage::Waiting } else { TransferStage::Moving };
                all.push(Transfer { name: name.clone(), stage, to: None, done, size });
            }
            all
        });
        let (uploads, downloads) = self.under_way();
        Response::Transfers(Transfers { uploads, downloads, shown })
    }
}
