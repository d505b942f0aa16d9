//! Serve hash lists and HAVE events to downloaders.

use std::rc::Rc;
use std::time::Instant;

use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::peer::Peer;
use crate::peer::have_subscribers::HaveSubscriber;
use crate::peer::pending_hash_lists::PendingHashList;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::{Fetch, Selector};
use crate::protocol::response::{Have, PieceRange, Response, WaitingReason};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::{ContentHash, FileVersion};
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::hash_list::HashListSource;
use crate::storage::piece_tree::{self, HashList};

impl Peer {
    /// What a wish means here: the name of a file that is shared, or of a download that has something to give.
    pub(super) fn meant(&self, wanted: &Selector) -> Option<RelativeName> {
        match wanted {
            Selector::Name(name) => Some(name.clone()),
            Selector::Root(root) => self.library.named(root).or_else(|| {
                self.downloads.serving(root).map(|(name, _)| self.library.kept_as(name))
            }),
        }
    }

    /// Opens what is wanted. Bytes of a download under way are opened only where they were checked.
    pub(super) fn open_wanted(
        &self,
        name: &RelativeName,
        fetch: &Fetch,
    ) -> Result<Opened, ErrorReply> {
        let Selector::Root(root) = &fetch.wanted else { return self.library.open(name) };
        if let Some(other) = self.library.named(root) {
            // Who waited for a slot may have been told a name that stands for something else by now.
            let name = if self.library.entry(name).is_some_and(|entry| entry.root == Some(*root)) {
                name
            } else {
                &other
            };
            let opened = self.library.open(name)?;
            let same = self.library.is_version(name, opened.tag);
            return if same {
                Ok(opened)
            } else {
                Err(ErrorReply::new(ErrorCode::Changed, "the file has changed since it was hashed"))
            };
        }
        let Some((_, part)) = self.downloads.serving(root) else {
            return Err(ErrorReply::no_such_file());
        };
        let source = part
            .source()
            .map_err(|_| ErrorReply::new(ErrorCode::Io, "the disk of this peer failed"))?;
        Ok(Opened { source, size: part.size(), tag: tag_of(root) })
    }

    /// True unless `range` is one of a download under way that is not here yet.
    pub(super) fn is_here(&self, wanted: &Selector, range: ByteRange) -> bool {
        match wanted {
            Selector::Root(root) if self.library.named(root).is_none() => self
                .downloads
                .serving(root)
                .is_some_and(|(_, part)| part.holds(range) && !part.is_disturbed()),
            _ => true,
        }
    }

    /// PIECES: the list, at once or when the file is hashed.
    pub(super) fn pieces(&mut self, link: ConnId, ask: Option<u64>, fetch: Fetch, io: &mut Io<'_>) {
        self.pieces_since(link, ask, fetch, io.now, io);
    }

    fn pieces_since(
        &mut self,
        link: ConnId,
        ask: Option<u64>,
        fetch: Fetch,
        since: Instant,
        io: &mut Io<'_>,
    ) {
        let Some(name) = self.meant(&fetch.wanted) else {
            return self.refuse(link, ask, &ErrorReply::no_such_file(), io);
        };
        if let Selector::Root(root) = &fetch.wanted
            && let Some((_, part)) = self.downloads.serving(root)
            && let Some((root, list)) = part.trusted()
        {
            return self.send_list(link, ask, &fetch, (&name, tag_of(&root), root, list), io);
        }
        let opened = match self.open_wanted(&name, &fetch) {
            Ok(opened) => opened,
            Err(refusal) => return self.refuse(link, ask, &refusal, io),
        };
        let entry = self.library.entry(&name);
        let unknown = entry.is_none() && since + limits::HASH_LIST_WAIT > io.now;
        if self.library.is_settling(&name) || unknown {
            // Somebody is writing it, or it has just come: it is hashed when that has ended.
            return self.be_patient(PendingHashList { conn: link, ask, fetch, name, since }, io);
        }
        let Some(entry) = entry.filter(|_| piece_tree::has_root(opened.size)) else {
            return self.refuse(
                link,
                ask,
                &ErrorReply::new(ErrorCode::Unsupported, "this file has no root"),
                io,
            );
        };
        if fetch.tag.is_some_and(|tag| tag != opened.tag) {
            return self.refuse(
                link,
                ask,
                &ErrorReply::new(ErrorCode::Changed, "the file is not the version you expect"),
                io,
            );
        }
        let root = entry.root.filter(|_| self.library.is_version(&name, opened.tag));
        if let (Some(root), Some(list)) = (root, self.library.list(&name)) {
            return self.send_list(link, ask, &fetch, (&name, opened.tag, root, list), io);
        }
        self.library.prioritize(&name);
        self.be_patient(PendingHashList { conn: link, ask, fetch, name, since }, io);
    }

    fn be_patient(&mut self, patient: PendingHashList, io: &mut Io<'_>) {
        let (link, ask) = (patient.conn, patient.ask);
        if !self.pending_lists.add(patient) {
            return self.refuse(
                link,
                ask,
                &ErrorReply::new(ErrorCode::Busy, "too many wait for files to be hashed"),
                io,
            );
        }
        self.tell_patience(link, ask, WaitingReason::Hashing, io);
    }

    fn send_list(
        &mut self,
        link: ConnId,
        ask: Option<u64>,
        fetch: &Fetch,
        what: (&RelativeName, FileVersion, ContentHash, Rc<HashList>),
        io: &mut Io<'_>,
    ) {
        let (name, tag, root, list) = what;
        let size = list.size();
        let Some(range) = ByteRange::within(fetch.from, fetch.length, list.bytes().len() as u64)
        else {
            return self.refuse(
                link,
                ask,
                &ErrorReply::new(ErrorCode::Range, "the list ends before that"),
                io,
            );
        };
        let opened = Opened { source: Rc::new(HashListSource(list)), size, tag };
        if self.visits.get(&link).is_some_and(|visit| visit.answering.sends() >= limits::FETCHES) {
            return self.refuse(
                link,
                ask,
                &ErrorReply::new(
                    ErrorCode::Busy,
                    format!("at most {} answers with bodies at once on a link", limits::FETCHES),
                ),
                io,
            );
        }
        if let (Some(visit), Some(link)) = (self.visits.get_mut(&link), io.connection(link)) {
            visit.answering.send_list(ask, name, opened, root, range, &mut link.send_queue);
        }
        self.feed(link, io);
    }

    /// A file was hashed, or is gone: those who wait for that hear of it.
    pub(super) fn no_longer_hashing(&mut self, name: &RelativeName, io: &mut Io<'_>) {
        for PendingHashList { conn, ask, fetch, since, .. } in self.pending_lists.take_named(name) {
            self.pieces_since(conn, ask, fetch, since, io);
        }
    }

    /// Those who wait for a file that nobody has noticed, or that has gone again, are answered in the end.
    pub(super) fn patience_runs_out(&mut self, io: &mut Io<'_>) {
        let overdue = self.pending_lists.overdue(io.now);
        if overdue.is_empty() {
            return;
        }
        let is_hopeless = |pending: &PendingHashList| {
            !self.library.is_hashing()
                && self.library.entry(&pending.name).is_some_and(|file| file.root.is_none())
        };
        let is_lost = |pending: &PendingHashList| {
            self.library.entry(&pending.name).is_none() && !self.library.is_settling(&pending.name)
        };
        let hopeless = overdue
            .iter()
            .filter(|(_, pending)| is_hopeless(pending))
            .map(|(number, _)| *number)
            .collect();
        let lost: Vec<RelativeName> = overdue
            .iter()
            .filter(|(_, pending)| is_lost(pending))
            .map(|(_, pending)| pending.name.clone())
            .collect();
        for PendingHashList { conn, ask, .. } in self.pending_lists.remove(hopeless) {
            self.refuse(
                conn,
                ask,
                &ErrorReply::new(ErrorCode::Io, "the file could not be hashed"),
                io,
            );
        }
        for name in lost {
            self.no_longer_hashing(&name, io);
        }
    }

    /// No more of that: whoever waits for a list is told so. False when nobody does.
    pub(super) fn cancel_patience(&mut self, link: ConnId, ask: u64, io: &mut Io<'_>) -> bool {
        let waited = self.pending_lists.cancel(link, ask);
        if waited {
            self.refuse(link, Some(ask), &ErrorReply::new(ErrorCode::Cancelled, "as asked"), io);
        }
        waited
    }

    /// HAVE: which pieces are here, now and from now on.
    pub(super) fn have(&mut self, link: ConnId, root: ContentHash) -> Result<Response, ErrorReply> {
        if let Some(name) = self.library.named(&root) {
            let size = self.library.entry(&name).and_then(|entry| entry.size).unwrap_or(0);
            return Ok(Response::Have(Have {
                root,
                whole: true,
                runs: vec![PieceRange { first: 0, count: piece_tree::pieces(size) }],
            }));
        }
        let Some((_, part)) = self.downloads.serving(&root) else {
            return Err(ErrorReply::no_such_file());
        };
        let mut subscriber = HaveSubscriber::new(link, root, piece_tree::pieces(part.size()));
        let runs = part.picker().held().runs(limits::HAVE_RUNS);
        subscriber.note(&runs);
        if !self.have_subscribers.add(subscriber) {
            return Err(ErrorReply::new(
                ErrorCode::Busy,
                "too many contents are followed on this link",
            ));
        }
        Ok(Response::Have(Have { root, whole: false, runs }))
    }

    /// Tells those who follow what has come since they were last told.
    pub(super) fn tell_followers(&mut self, io: &mut Io<'_>) {
        for number in self.have_subscribers.due(io.now) {
            let Some(subscriber) = self.have_subscribers.get_mut(number) else { continue };
            let (conn, root) = (subscriber.conn, subscriber.root);
            // A slow reader hears of all of it when it has room again.
            if io.connection(conn).is_some_and(|link| link.send_queue.is_full()) {
                self.have_subscribers.tell_later(io.now);
                continue;
            }
            let whole = self.library.named(&root).is_some();
            let runs = match self.downloads.serving(&root) {
                Some((_, part)) => subscriber.news(part.picker().held()),
                None => Vec::new(),
            };
            subscriber.note(&runs);
            if whole || self.downloads.serving(&root).is_none() {
                // It hears the end, or the download came to nothing: what it said is no longer asked for.
                self.have_subscribers.take(number);
            }
            let (Some(visit), Some(link)) = (self.visits.get_mut(&conn), io.connection(conn))
            else {
                self.have_subscribers.take(number);
                continue;
            };
            if whole || !runs.is_empty() {
                visit.answering.have(&Have { root, whole, runs }, &mut link.send_queue);
            }
        }
    }

    /// A link is gone: nobody there waits any more.
    pub(super) fn forget_listener(&mut self, link: ConnId) {
        self.have_subscribers.forget(link);
        self.pending_lists.forget(link);
    }
}

/// A download under way has no version of its own: its content is all that counts.
fn tag_of(root: &ContentHash) -> FileVersion {
    let [a, b, c, d, e, f, g, h, ..] = root.0;
    FileVersion(u64::from_be_bytes([a, b, c, d, e, f, g, h]))
}
