//! Serve a picture of a video: from the store, or made at the first request, one at a time.

use std::collections::VecDeque;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::node::ConnId;
use crate::peer::piece_service::root_requests::{RootRequest, RootRequests};
use crate::peer::piece_service::{PieceService, ServiceCtx, is_version, not_allowed};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::FileEntry;
use crate::protocol::response::Response;
use crate::protocol::types::ids::ContentHash;
use crate::storage::fs_trait::{FsFile, PosterJob, PosterState, PosterStore};
use crate::storage::media::has_facts;

/// Requests that wait: a poster takes about a second, and a visitor waits half a minute at most.
const MOST_WAITING: usize = 32;
/// Videos without a poster that are remembered, so that none is tried twice.
const REMEMBERED: usize = 1_000;
/// How often a job is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(30);
/// The frame is at a tenth of the duration, but at most here: the begin is often black.
const LATEST_FRAME_MS: u64 = 60_000;

/// The poster that is being made.
struct PosterInWork {
    root: ContentHash,
    file: Rc<dyn FsFile>,
    entry: FileEntry,
    job: Box<dyn PosterJob>,
    look_at: Instant,
}

/// Posters of this peer.
#[derive(Default)]
pub(super) struct PosterService {
    store: Option<Box<dyn PosterStore>>,
    pub(super) waiting: RootRequests,
    in_work: Option<PosterInWork>,
    /// Newest first.
    failed: VecDeque<ContentHash>,
}

impl PosterService {
    /// Posters in this store; `None`: no posters.
    pub(super) fn new(store: Option<Box<dyn PosterStore>>) -> PosterService {
        PosterService { store, ..PosterService::default() }
    }

    /// When to look at the job.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        match &self.in_work {
            Some(work) => Some(work.look_at),
            None => self.waiting.front().map(|_| now),
        }
    }
}

impl PieceService {
    /// True if a poster of a file may exist: of a video, for all who may see the file. A poster
    /// shows a part of the content, so that a question of consent would come first.
    pub(super) fn has_poster(&self, file: &FileEntry) -> bool {
        let posters = &self.page.posters;
        posters.store.is_some()
            && self.uploads.accepts_always()
            && has_facts(&file.name.extension())
            && file.root.is_some_and(|root| !posters.failed.contains(&root))
    }

    /// A poster, at once if the store has it.
    pub(super) fn poster(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        root: ContentHash,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        if !self.uploads.accepts_always() {
            return self.refuse(id, request_id, &not_allowed(), ctx.io);
        }
        let file = self.seen_file(id, &root, ctx);
        if !file.is_some_and(|file| self.has_poster(&file)) {
            return self.refuse(id, request_id, &ErrorReply::no_such_file(), ctx.io);
        }
        let pending = RootRequest { conn: id, id: request_id, root };
        let posters = &mut self.page.posters;
        if let Some(bytes) = posters.store.as_ref().and_then(|store| store.get(&root)) {
            return self.send_poster(&pending, Ok(bytes.into()), ctx);
        }
        if posters.waiting.count_of(id) >= limits::FETCHES || posters.waiting.len() >= MOST_WAITING
        {
            let error = ErrorReply::new(ErrorCode::Busy, "too many posters are being made");
            return self.refuse(id, request_id, &error, ctx.io);
        }
        posters.waiting.push(pending);
    }

    /// Begins a poster, or looks at the one in work.
    pub(super) fn make_posters(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        let posters = &mut self.page.posters;
        let Some(work) = &mut posters.in_work else {
            let Some(root) = posters.waiting.front().map(|pending| pending.root) else { return };
            match self.begin_poster(root, ctx) {
                Some(work) => self.page.posters.in_work = Some(work),
                None => self.end_poster(root, None, ctx),
            }
            return;
        };
        if work.look_at > ctx.io.now {
            return;
        }
        work.look_at = ctx.io.now + LOOK_EVERY;
        let made = match work.job.poll(ctx.io.now) {
            PosterState::Working => return,
            PosterState::Made(bytes) => Some(bytes),
            PosterState::Failed => None,
        };
        let Some(work) = posters.in_work.take() else { return };
        let is_same = is_version(&*work.file, &work.entry.name, ctx);
        if !is_same {
            // Another content has the name now: nothing is known about this one.
            return self.end_poster(work.root, None, ctx);
        }
        match &made {
            Some(bytes) => {
                if let Some(store) = &mut self.page.posters.store {
                    store.put(work.root, bytes);
                }
            }
            None => {
                let failed = &mut self.page.posters.failed;
                failed.truncate(REMEMBERED - 1);
                failed.push_front(work.root);
            }
        }
        self.end_poster(work.root, made, ctx);
    }

    fn begin_poster(&self, root: ContentHash, ctx: &ServiceCtx<'_, '_>) -> Option<PosterInWork> {
        let posters = &self.page.posters;
        let conn = posters.waiting.front()?.conn;
        let entry = self.seen_file(conn, &root, ctx)?;
        let file = ctx.storage.read(&entry.name).ok()?;
        if !is_version(&*file, &entry.name, ctx) {
            return None;
        }
        let duration = self.page.facts.duration_ms(&root).unwrap_or(0);
        let at_ms = (duration / 10).min(LATEST_FRAME_MS);
        let program = posters.store.as_ref()?.program();
        let job = ctx
            .storage
            .begin_poster(&entry.name, program, at_ms, ctx.io.now)
            .map_err(|error| log::warn!("no poster of {}: {error}", entry.name))
            .ok()?;
        let look_at = ctx.io.now + LOOK_EVERY;
        Some(PosterInWork { root, file, entry, job, look_at })
    }

    /// Answers all requests for a poster.
    fn end_poster(
        &mut self,
        root: ContentHash,
        made: Option<Vec<u8>>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let made: Option<Rc<[u8]>> = made.map(Into::into);
        for pending in self.page.posters.waiting.take(&root) {
            let is_seen = self.seen_file(pending.conn, &root, ctx).is_some();
            let picture = made.clone().filter(|_| is_seen).ok_or_else(ErrorReply::no_such_file);
            self.send_poster(&pending, picture, ctx);
            if let Some(conn) = ctx.io.connection(pending.conn) {
                conn.reschedule = true;
            }
        }
    }

    fn send_poster(
        &mut self,
        to: &RootRequest,
        picture: Result<Rc<[u8]>, ErrorReply>,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let picture = match picture {
            Ok(picture) => picture,
            Err(error) => return self.refuse(to.conn, to.id, &error, ctx.io),
        };
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&to.conn), ctx.io.connection(to.conn))
        {
            peer.inbound.respond(to.id, &Response::Poster(picture), &mut conn.send_queue);
        }
    }
}
