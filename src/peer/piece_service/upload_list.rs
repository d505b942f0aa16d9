//! Uploads by file and requester, and the requesters that the user blocks.

use std::collections::BTreeMap;

use crate::node::io::Io;
use crate::peer::pass_check::Requester;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::peer::transfers::blocks::BlockSubject;
use crate::protocol::control::{ControlAnswer, ControlRequest, TransferLine, TransferState};
use crate::protocol::error::ErrorReply;
use crate::protocol::live_stats::TransferStage;
use crate::protocol::types::relative_path::RelativeName;

/// Uploads in a list: more than a person reads.
const MOST_LINES: usize = 10_000;

impl PieceService {
    /// The uploads under way, by name and requester: a file that is fetched piece by piece is one
    /// upload.
    pub(in crate::peer) fn upload_lines(&self, ctx: &mut ServiceCtx<'_, '_>) -> Vec<TransferLine> {
        let mut lines = BTreeMap::new();
        let now = ctx.io.now;
        for (id, peer) in self.peers.iter() {
            let tickets = self.uploads.on(id);
            if tickets.is_empty() && peer.sent.complete.is_empty() {
                continue;
            }
            let user = peer.requester.as_ref().and_then(Requester::user);
            let line = |name: &str, size| TransferLine {
                id: None,
                name: name.to_owned(),
                upload: true,
                state: TransferState::Stalled,
                held: 0,
                size,
                rate: 0,
                peer: Some(peer.sent.to),
                user: user.map(ToString::to_string),
                root: None,
                added: None,
                why: None,
            };
            let mut of_conn: BTreeMap<&RelativeName, TransferLine> = BTreeMap::new();
            let size_of = |name| ctx.storage.entry(name).and_then(|entry| entry.size);
            for (name, file) in &peer.sent.complete {
                of_conn
                    .insert(name, TransferLine { held: file.bytes, ..line(name, size_of(name)) });
            }
            for ticket in tickets {
                let Some((upload, stage)) = self.uploads.stage_of(*ticket) else { continue };
                let line = of_conn
                    .entry(&upload.name)
                    .or_insert_with(|| line(&upload.name, size_of(&upload.name)));
                match stage {
                    TransferStage::Moving => line.state = TransferState::Active,
                    _ if line.state == TransferState::Active => {}
                    TransferStage::Waiting => {
                        line.state = TransferState::Queued;
                        line.why = Some("waits for a slot".to_owned());
                    }
                    TransferStage::Consent => {
                        line.state = TransferState::Queued;
                        line.why = Some("waits for consent".to_owned());
                    }
                }
                let queue = ctx.io.connection(id).map(|conn| &conn.send_queue);
                let progress = queue.and_then(|queue| peer.inbound.progress(*ticket, queue));
                line.held = line.held.saturating_add(progress.map_or(0, |(done, _)| done));
            }
            for (name, mut line) in of_conn {
                if lines.len() < MOST_LINES {
                    let since = peer.sent.since(name).unwrap_or(now);
                    let seconds = now.saturating_duration_since(since).as_secs().max(1);
                    line.rate = line.held / seconds;
                    lines.insert((name.clone(), peer.sent.to, id), line);
                }
            }
        }
        lines.into_values().collect()
    }

    /// Carry out a request about blocked requesters.
    pub(in crate::peer) fn carry_out(
        &mut self,
        request: &ControlRequest,
        io: &mut Io<'_>,
    ) -> Result<ControlAnswer, ErrorReply> {
        match request {
            ControlRequest::Block { subject } => {
                self.passes.blocks.block(BlockSubject::parse(subject)?)?;
                self.drop_blocked(io);
            }
            ControlRequest::Allow { subject } => {
                self.passes.blocks.allow(&BlockSubject::parse(subject)?)?;
            }
            _ => {}
        }
        Ok(ControlAnswer::Blocked(self.passes.blocks.list()))
    }

    /// Close the connections of blocked requesters.
    fn drop_blocked(&mut self, io: &mut Io<'_>) {
        let ids: Vec<_> = self.peers.keys().collect();
        for id in ids {
            if self.passes.blocks(&self.requester(id))
                && let Some(conn) = io.connection(id)
            {
                conn.drop_now();
            }
        }
    }
}
