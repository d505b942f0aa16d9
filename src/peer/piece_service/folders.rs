//! Serve the lists of folders, once the summary of the folder is known.

use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::{FolderPage, Response};
use crate::protocol::types::folder::FolderSummary;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::folder_summaries::{SummaryState, ViewedFolder};

/// Bytes of an entry of a folder besides the name: field names, a size, a root.
const ENTRY_FRAME: usize = 120;

/// A FOLDER without a response.
pub(super) struct PendingFolder {
    pub(super) conn: ConnId,
    /// The id of the response.
    pub(super) id: Option<u64>,
    pub(super) name: RelativeName,
    pub(super) cursor: Option<String>,
    pub(super) limit: usize,
}

/// Requests that wait for the walk over this folder, in the order of arrival.
#[derive(Default)]
pub(super) struct PendingFolders(Vec<(ViewedFolder, PendingFolder)>);

impl PendingFolders {
    /// True while a request of this connection waits.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.0.iter().any(|(_, pending)| pending.conn == conn)
    }

    /// Drops the requests of a closed connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|(_, pending)| pending.conn != conn);
    }

    /// The time of the next slice.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        (!self.0.is_empty()).then_some(now)
    }
}

impl PieceService {
    /// FOLDER: responds at once if the summary is known or the folder is small.
    pub(super) fn folder(&mut self, wanted: PendingFolder, ctx: &mut ServiceCtx<'_, '_>) {
        let pending = self.pending_folders.0.iter();
        if pending.filter(|(_, other)| other.conn == wanted.conn).count() >= limits::FETCHES {
            let text = format!("at most {} FOLDER at once on a link", limits::FETCHES);
            let error = ErrorReply::new(ErrorCode::Busy, text);
            return self.refuse(wanted.conn, wanted.id, &error, ctx.io);
        }
        if self.try_folder(wanted, ctx) {
            self.walk_folders(ctx);
        }
    }

    /// Walks over a slice of the folders that requesters wait for, and responds to the requests
    /// whose walk is over.
    pub(super) fn walk_folders(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        if self.pending_folders.0.is_empty() {
            return;
        }
        let ended = ctx.storage.walk_folders();
        if ended.is_empty() && ctx.storage.walks_folders() {
            return;
        }
        for (of, wanted) in std::mem::take(&mut self.pending_folders.0) {
            let conn = wanted.conn;
            match ended.iter().find(|(other, _)| *other == of) {
                None if !ended.is_empty() => self.pending_folders.0.push((of, wanted)),
                Some((_, state)) if self.viewed(&wanted) == of => {
                    self.respond_folder(&of, *state, &wanted, ctx);
                    if let Some(conn) = ctx.io.connection(conn) {
                        conn.reschedule = true;
                    }
                }
                // Another folder is shared by now, or the requester sees other files of this one.
                _ => {
                    self.try_folder(wanted, ctx);
                }
            }
        }
    }

    /// The folder as this requester sees it now.
    fn viewed(&self, wanted: &PendingFolder) -> ViewedFolder {
        let viewer = self.passes.viewer(&self.requester(wanted.conn));
        ViewedFolder { name: wanted.name.clone(), viewer }
    }

    /// Responds if the summary is known. True if the request waits for a walk.
    fn try_folder(&mut self, wanted: PendingFolder, ctx: &mut ServiceCtx<'_, '_>) -> bool {
        let of = self.viewed(&wanted);
        let state = ctx.storage.folder_state(&of, wanted.cursor.is_none());
        if state == SummaryState::Pending {
            self.pending_folders.0.push((of, wanted));
            return true;
        }
        self.respond_folder(&of, state, &wanted, ctx);
        false
    }

    /// Responds with a page, or an error.
    fn respond_folder(
        &mut self,
        of: &ViewedFolder,
        state: SummaryState,
        wanted: &PendingFolder,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let summary = match state {
            SummaryState::Known(summary) if summary.count > 0 => summary,
            SummaryState::Known(_) => {
                let error = ErrorReply::new(ErrorCode::NotFound, "no such folder here");
                return self.refuse(wanted.conn, wanted.id, &error, ctx.io);
            }
            SummaryState::Changing | SummaryState::Pending => {
                let error = ErrorReply::new(ErrorCode::Busy, "the folder is being changed");
                return self.refuse(wanted.conn, wanted.id, &error, ctx.io);
            }
        };
        let page = page(of, summary, wanted, ctx);
        if let (Some(peer), Some(conn)) =
            (self.peers.get_mut(&wanted.conn), ctx.io.connection(wanted.conn))
        {
            let response = Response::Folder(Box::new(page));
            peer.inbound.respond(wanted.id, &response, &mut conn.send_queue);
        }
    }
}

/// A page: as many files as fit.
fn page(
    of: &ViewedFolder,
    summary: FolderSummary,
    wanted: &PendingFolder,
    ctx: &ServiceCtx<'_, '_>,
) -> FolderPage {
    let mut all = ctx.storage.folder_files(of, wanted.cursor.as_deref()).peekable();
    let (mut files, mut bytes) = (Vec::new(), 2 * of.name.len());
    while files.len() < wanted.limit
        // A quote is written as two bytes.
        && let Some(file) =
            all.next_if(|file| bytes + ENTRY_FRAME + 2 * file.name.len() <= limits::LIST_BYTES)
    {
        bytes += ENTRY_FRAME + 2 * file.name.len();
        files.push(file);
    }
    let has_more = all.peek().is_some();
    let cursor = files.last().filter(|_| has_more).map(|file| file.name.to_string());
    FolderPage { name: of.name.clone(), summary, files, cursor }
}
