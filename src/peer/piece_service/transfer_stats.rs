//! Transfer statistics, for the server and for connections subscribed to them.

use std::net::SocketAddr;
use std::time::Instant;

use crate::client::Client;
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::node::stats::activity::Activity;
use crate::protocol::live_stats::TransferReport;
use crate::protocol::request::Request;
use crate::protocol::types::relative_path::RelativeName;

/// Bytes moved, and how much of that was reported.
#[derive(Debug, Default)]
pub(in crate::peer) struct TransferStats {
    pub(super) activity: Activity,
    /// Bytes not reported to the server yet.
    unreported: TransferReport,
    /// The uploads and downloads under way in the last report.
    reported: (u64, u64),
    /// The earliest time of the next report.
    next: Option<Instant>,
    /// A report is due.
    has_changed: bool,
    /// Uploads that ended since the last [`TransferStats::take_finished`].
    finished: Vec<FinishedUpload>,
}

/// An upload that is over: all that a connection has fetched of a file.
#[derive(Debug)]
pub(in crate::peer) struct FinishedUpload {
    pub(in crate::peer) name: RelativeName,
    pub(in crate::peer) to: SocketAddr,
    pub(in crate::peer) size: u64,
    pub(in crate::peer) user: Option<String>,
}

impl TransferStats {
    /// Counts bytes of files received on a connection.
    pub(in crate::peer) fn count_received(&mut self, id: ConnId, io: &mut Io<'_>) {
        let received = io.connection(id).map_or(0, |conn| conn.recv_buffer.take_came());
        self.count(0, received);
    }

    /// Counts bytes of files sent on a connection.
    pub(super) fn count_sent(&mut self, id: ConnId, io: &mut Io<'_>) {
        let sent = io.connection(id).map_or(0, |conn| conn.send_queue.take_gone());
        self.count(sent, 0);
    }

    /// An upload is over.
    pub(super) fn finish(&mut self, upload: FinishedUpload) {
        self.finished.push(upload);
    }

    /// The uploads that ended since the last call.
    pub(in crate::peer) fn take_finished(&mut self) -> Vec<FinishedUpload> {
        std::mem::take(&mut self.finished)
    }

    /// Bytes of files since the start: sent, received.
    pub(in crate::peer) fn moved(&self) -> (u64, u64) {
        self.activity.totals()
    }

    fn count(&mut self, sent: u64, received: u64) {
        if sent > 0 || received > 0 {
            self.activity.moved(sent, received);
            self.unreported.sent = self.unreported.sent.saturating_add(sent);
            self.unreported.received = self.unreported.received.saturating_add(received);
            self.has_changed = true;
        }
    }

    /// Notes the uploads and downloads under way. True when a report may be sent.
    pub(super) fn advance(&mut self, counts: (u64, u64), now: Instant) -> bool {
        self.activity.under_way(counts.0, counts.1);
        self.has_changed |= self.reported != counts;
        self.activity.advance(now);
        self.next.is_none_or(|next| next <= now)
    }

    /// Subscribed connections with a report to come and with room. A slow reader gets the report later.
    pub(super) fn ready_listeners(&self, io: &mut Io<'_>) -> Vec<ConnId> {
        let mut has_room = |id: &ConnId| {
            io.connection(*id)
                .is_some_and(|conn| conn.send_queue.memory_waiting() <= limits::LISTENER_BYTES)
        };
        self.activity.behind().into_iter().filter(|id| has_room(id)).collect()
    }

    /// Reports to the server all changes, and rests.
    pub(super) fn report_to_server(
        &mut self,
        counts: (u64, u64),
        client: &mut Client,
        io: &mut Io<'_>,
    ) {
        if !self.has_changed && counts.0 == 0 {
            return;
        }
        self.next = Some(io.now + limits::REPORT_INTERVAL);
        if !self.has_changed || !client.has_joined() || client.is_ending() {
            return;
        }
        let (uploads, downloads) = counts;
        let report = TransferReport { uploads, downloads, ..self.unreported };
        if client.server.ask_if_open(&Request::Moved(report), io).is_some() {
            self.unreported = TransferReport::default();
            self.reported = counts;
            self.has_changed = false;
        }
    }

    /// The server has lost the last report.
    pub(in crate::peer) fn session_lost(&mut self) {
        self.reported = (0, 0);
    }

    /// The time of the next report. `sending`: uploads being sent.
    pub(in crate::peer) fn deadline(
        &self,
        sending: usize,
        client: &Client,
        now: Instant,
    ) -> Option<Instant> {
        let reports = client.has_joined() && !client.is_ending() && client.server.is_open();
        let is_due = reports && (self.has_changed || sending > 0);
        let report = is_due.then(|| self.next.map_or(now, |next| next.max(now)));
        [report, self.activity.deadline()].into_iter().flatten().min()
    }
}
