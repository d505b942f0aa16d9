//! Serve hash lists, and HAVE as pieces of a download arrive.

use std::rc::Rc;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::peer::have_subscribers::HaveSubscriber;
use crate::peer::pending_hash_lists::PendingHashList;
use crate::peer::piece_service::{PieceService, ServiceCtx, changed, said_name, shared_name};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{Fetch, Selector};
use crate::protocol::response::{Have, PieceRange, Response, WaitingReason};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::hash_list::HashListSource;
use crate::storage::piece_tree::{self, HashList};

/// A hash list and the file.
struct FoundList {
    name: RelativeName,
    tag: FileVersion,
    root: ContentHash,
    list: Rc<HashList>,
}

/// Opens a selected file. Of a download, verified pieces alone are served.
pub(super) fn open_selected(
    name: &RelativeName,
    fetch: &Fetch,
    ctx: &ServiceCtx<'_, '_>,
) -> Result<Opened, ErrorReply> {
    let storage = &*ctx.storage;
    let Selector::Root(root) = &fetch.wanted else { return storage.open(name) };
    if let Some(other) = storage.named(root) {
        // While the upload waited, the name may have got another content.
        let is_same = storage.entry(name).is_some_and(|entry| entry.root == Some(*root));
        let name = if is_same { name } else { &other };
        let opened = storage.open(name)?;
        if !storage.is_version(name, opened.tag) {
            let text = "the file has changed since it was hashed";
            return Err(ErrorReply::new(ErrorCode::Changed, text));
        }
        return Ok(opened);
    }
    let (_, part) = ctx.downloads.serving(root).ok_or_else(ErrorReply::no_such_file)?;
    let source = part
        .source()
        .map_err(|_| ErrorReply::new(ErrorCode::Io, "the disk of this peer failed"))?;
    Ok(Opened { source, size: part.size(), tag: tag_of(root) })
}

/// True unless `range` belongs to a download and has not arrived.
pub(super) fn is_here(wanted: &Selector, range: ByteRange, ctx: &ServiceCtx<'_, '_>) -> bool {
    match wanted {
        Selector::Root(root) if ctx.storage.named(root).is_none() => ctx
            .downloads
            .serving(root)
            .is_some_and(|(_, part)| part.holds(range) && !part.check_disturbed()),
        _ => true,
    }
}

/// The version of a download: the content alone counts.
fn tag_of(root: &ContentHash) -> FileVersion {
    let [a, b, c, d, e, f, g, h, ..] = root.0;
    FileVersion(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}

impl PieceService {
    /// PIECES: sends the hash list, at once or when the file is hashed. `since`: the time of the request.
    pub(super) fn hash_list(
        &mut self,
        conn: ConnId,
        id: Option<u64>,
        fetch: Fetch,
        since: Instant,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        match find_list(&fetch, since, ctx) {
            Ok(Ok(found)) => self.send_list(conn, id, &fetch, found, ctx),
            Ok(Err(name)) => self.await_list(PendingHashList { conn, id, fetch, name, since }, ctx),
            Err(error) => self.refuse(conn, id, &error, ctx.io),
        }
    }

    fn await_list(&mut self, pending: PendingHashList, ctx: &mut ServiceCtx<'_, '_>) {
        let (conn, id) = (pending.conn, pending.id);
        if !self.pending_lists.add(pending) {
            let text = "too many wait for files to be hashed";
            return self.refuse(conn, id, &ErrorReply::new(ErrorCode::Busy, text), ctx.io);
        }
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&conn), ctx.io.connection(conn)) {
            peer.inbound.waiting(id, WaitingReason::Hashing, None, &mut conn.send_queue);
        }
    }

    fn send_list(
        &mut self,
        conn: ConnId,
        id: Option<u64>,
        fetch: &Fetch,
        found: FoundList,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let FoundList { name, tag, root, list } = found;
        let size = list.size();
        let Some(range) = ByteRange::within(fetch.from, fetch.length, list.bytes().len() as u64)
        else {
            let error = ErrorReply::new(ErrorCode::Range, "the list ends before that");
            return self.refuse(conn, id, &error, ctx.io);
        };
        let opened = Opened { source: Rc::new(HashListSource(list)), size, tag };
        if self.peers.get(&conn).is_some_and(|peer| peer.inbound.sends() >= limits::FETCHES) {
            let text = format!("at most {} answers with bodies at once on a link", limits::FETCHES);
            return self.refuse(conn, id, &ErrorReply::new(ErrorCode::Busy, text), ctx.io);
        }
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&conn), ctx.io.connection(conn)) {
            peer.inbound.send_list(id, &name, opened, root, range, &mut conn.send_queue);
        }
        self.send_more(conn, ctx);
    }

    /// A file was hashed, or is gone: answers the requests for its hash list.
    pub(in crate::peer) fn answer_pending_lists(
        &mut self,
        name: &RelativeName,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        for PendingHashList { conn, id, fetch, since, .. } in self.pending_lists.take_named(name) {
            self.hash_list(conn, id, fetch, since, ctx);
        }
    }

    /// Answers requests for files that were never noticed, are gone again, or can't be hashed.
    pub(in crate::peer) fn expire_pending_lists(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        let overdue = self.pending_lists.overdue(ctx.io.now);
        if overdue.is_empty() {
            return;
        }
        let storage = &*ctx.storage;
        let cannot_be_hashed = |pending: &PendingHashList| {
            !storage.is_hashing()
                && storage.entry(&pending.name).is_some_and(|file| file.root.is_none())
        };
        let is_gone = |pending: &PendingHashList| {
            storage.entry(&pending.name).is_none() && !storage.is_settling(&pending.name)
        };
        let unhashed = overdue
            .iter()
            .filter(|(_, pending)| cannot_be_hashed(pending))
            .map(|(number, _)| *number)
            .collect();
        let gone: Vec<RelativeName> = overdue
            .iter()
            .filter(|(_, pending)| is_gone(pending))
            .map(|(_, pending)| pending.name.clone())
            .collect();
        for PendingHashList { conn, id, .. } in self.pending_lists.remove(unhashed) {
            let error = ErrorReply::new(ErrorCode::Io, "the file could not be hashed");
            self.refuse(conn, id, &error, ctx.io);
        }
        for name in gone {
            self.answer_pending_lists(&name, ctx);
        }
    }

    /// The time to look at pending requests again.
    pub(in crate::peer) fn pending_lists_deadline(&self, now: Instant) -> Option<Instant> {
        self.pending_lists.deadline(now)
    }

    /// HAVE: the pieces that are here. Subscribes the connection to the pieces of a download that arrive later.
    pub(super) fn have(
        &mut self,
        conn: ConnId,
        root: ContentHash,
        ctx: &ServiceCtx<'_, '_>,
    ) -> Result<Response, ErrorReply> {
        if let Some(name) = ctx.storage.named(&root) {
            let size = ctx.storage.entry(&name).and_then(|entry| entry.size).unwrap_or(0);
            let runs = vec![PieceRange { first: 0, count: piece_tree::pieces(size) }];
            return Ok(Response::Have(Have { root, whole: true, runs }));
        }
        let (_, part) = ctx.downloads.serving(&root).ok_or_else(ErrorReply::no_such_file)?;
        let mut subscriber = HaveSubscriber::new(conn, root, piece_tree::pieces(part.size()));
        let runs = part.picker().held().runs(limits::HAVE_RUNS);
        subscriber.note(&runs);
        if !self.have_subscribers.add(subscriber) {
            let text = "too many contents are followed on this link";
            return Err(ErrorReply::new(ErrorCode::Busy, text));
        }
        Ok(Response::Have(Have { root, whole: false, runs }))
    }

    /// Pieces of a download have arrived, or the download has ended.
    pub(in crate::peer) fn pieces_arrived(&mut self, now: Instant) {
        self.have_subscribers.pieces_arrived(now);
    }

    /// Sends HAVE for the pieces that have arrived since the last HAVE.
    pub(super) fn notify_subscribers(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        for number in self.have_subscribers.due(ctx.io.now) {
            let Some(subscriber) = self.have_subscribers.get_mut(number) else { continue };
            let (conn, root) = (subscriber.conn, subscriber.root);
            // Backpressure: a slow reader gets all pieces in one HAVE later.
            if ctx.io.connection(conn).is_some_and(|conn| conn.send_queue.is_full()) {
                self.have_subscribers.retry_later(ctx.io.now);
                continue;
            }
            let whole = ctx.storage.named(&root).is_some();
            let part = ctx.downloads.serving(&root).map(|(_, part)| part);
            let runs =
                part.map_or_else(Vec::new, |part| subscriber.unannounced(part.picker().held()));
            subscriber.note(&runs);
            let has_ended = whole || part.is_none();
            let (Some(peer), Some(conn)) = (self.peers.get_mut(&conn), ctx.io.connection(conn))
            else {
                self.have_subscribers.take(number);
                continue;
            };
            if has_ended {
                self.have_subscribers.take(number);
            }
            if whole || !runs.is_empty() {
                peer.inbound.have(&Have { root, whole, runs }, &mut conn.send_queue);
            }
        }
    }
}

/// The hash list of a selected file; `Ok(Err(name))`: the file is still to be hashed.
fn find_list(
    fetch: &Fetch,
    since: Instant,
    ctx: &mut ServiceCtx<'_, '_>,
) -> Result<Result<FoundList, RelativeName>, ErrorReply> {
    let name = shared_name(&fetch.wanted, ctx).ok_or_else(ErrorReply::no_such_file)?;
    if let Selector::Root(root) = &fetch.wanted
        && let Some((_, part)) = ctx.downloads.serving(root)
        && let Some((root, list)) = part.trusted()
    {
        let name = said_name(&fetch.wanted, &name).clone();
        return Ok(Ok(FoundList { name, tag: tag_of(&root), root, list }));
    }
    let opened = open_selected(&name, fetch, ctx)?;
    let storage = &mut *ctx.storage;
    let entry = storage.entry(&name);
    let is_unnoticed = entry.is_none() && since + limits::HASH_LIST_WAIT > ctx.io.now;
    if storage.is_settling(&name) || is_unnoticed {
        // The file is new or being written, and is hashed later.
        return Ok(Err(name));
    }
    let Some(entry) = entry.filter(|_| piece_tree::has_root(opened.size)) else {
        return Err(ErrorReply::new(ErrorCode::Unsupported, "this file has no root"));
    };
    if fetch.tag.is_some_and(|tag| tag != opened.tag) {
        return Err(changed());
    }
    let root = entry.root.filter(|_| storage.is_version(&name, opened.tag));
    if let (Some(root), Some(list)) = (root, storage.list(&name)) {
        let name = said_name(&fetch.wanted, &name).clone();
        return Ok(Ok(FoundList { name, tag: opened.tag, root, list }));
    }
    storage.prioritize(&name);
    Ok(Err(name))
}
