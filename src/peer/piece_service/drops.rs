//! The drop folder: files that visitors of the page give to the owner of this peer.
//!
//! ```text
//!   offer --> Asking --yes--> Accepted --body--> Receiving --all bytes--> Settling --> stored
//!               '--no, late--> refused             '--cut--> removed
//! ```
//!
//! A file has a name of this peer's own until all bytes are on the disk. Each state has a deadline.

use std::cell::Cell;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::client::effect::Effect;
use crate::io::traits::Sink;
use crate::node::ConnId;
use crate::peer::config::DropConfig;
use crate::peer::piece_service::{PieceService, ServiceCtx};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::types::drop_offer::{DropRequest, DropResponse, DropTicket};
use crate::protocol::types::file_name::FileName;
use crate::storage::fs_trait::{Filesystem, FsFile};
use crate::storage::writeback_queue::{DIRTY_BYTES, WRITEBACK_BYTES, WritebackQueue};
use crate::ui::event::{DropEvent, UiEvent};

/// Offers and files under way: a phone sends one file after another.
const MOST_OFFERS: usize = 16;
/// Of these, from one address.
const MOST_OF_ADDRESS: usize = 4;
/// The patience with the owner.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// The time from a permission to the first byte.
const BEGIN_TIME: Duration = Duration::from_secs(60);
/// Silence of a sender.
pub(super) const DROP_SILENCE: Duration = Duration::from_secs(30);
/// The slowest sender: a phone at the edge of a network.
const SLOWEST_RATE: u64 = 16 << 10;
/// After a yes, further files of the same address are taken for this long without a question.
const TRUST_TIME: Duration = Duration::from_secs(600);
/// Addresses that are trusted at a time.
const MOST_TRUSTED: usize = 16;
/// The patience with a disk that writes nothing.
const SETTLE_TIME: Duration = Duration::from_secs(30);
/// How often the disk is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Names that are tried: `film.mp4`, `film (2).mp4` and so on.
const MOST_NAMES: u32 = 1_000;
/// The time between two listings of the folder.
const LIST_EVERY: Duration = Duration::from_secs(1);
/// The name of a file whose bytes are not complete: this, a ticket, and `.part`.
const PART: &str = "drop-";
/// Offers whose names begin like this are refused: such files are hidden.
const HIDDEN: char = '.';

/// The file of an upload.
struct DropSink {
    file: Rc<dyn FsFile>,
    length: u64,
    have: Cell<u64>,
    /// End of the bytes that the disk was asked to write.
    flushed: Cell<u64>,
    queue: WritebackQueue,
}

impl DropSink {
    fn new(file: Rc<dyn FsFile>, length: u64) -> DropSink {
        DropSink {
            file,
            length,
            have: Cell::new(0),
            flushed: Cell::new(0),
            queue: WritebackQueue::default(),
        }
    }

    fn start_writeback(&self) {
        let from = self.flushed.replace(self.have.get());
        self.queue.start(&*self.file, from, self.have.get() - from);
    }

    /// The bytes that the disk has not written yet.
    fn unwritten(&self) -> u64 {
        self.queue.bytes() + self.have.get() - self.flushed.get()
    }
}

impl Sink for DropSink {
    fn room(&self) -> usize {
        if self.unwritten() > DIRTY_BYTES {
            self.queue.poll(&*self.file);
        }
        if self.unwritten() > DIRTY_BYTES { 0 } else { usize::MAX }
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        if at != self.have.get() || end > self.length {
            return Err(io::ErrorKind::InvalidData.into());
        }
        self.file.write_at(at, bytes)?;
        self.have.set(end);
        if end - self.flushed.get() >= WRITEBACK_BYTES {
            self.start_writeback();
        }
        Ok(())
    }
}

enum DropStage {
    /// The owner is asked, once it is the turn of this offer.
    Asking { conn: ConnId, id: Option<u64>, is_told: bool },
    /// The bytes may come.
    Accepted,
    /// The bytes come on this connection.
    Receiving { conn: ConnId, id: Option<u64>, sink: Rc<DropSink> },
    /// All bytes are here, and the disk writes them.
    Settling { conn: ConnId, id: Option<u64>, sink: Rc<DropSink>, look_at: Instant },
}

struct DropFile {
    ticket: DropTicket,
    from: SocketAddr,
    name: FileName,
    size: u64,
    until: Instant,
    stage: DropStage,
}

impl DropFile {
    fn part(&self) -> String {
        format!("{PART}{}.part", self.ticket.as_str())
    }

    fn conn(&self) -> Option<ConnId> {
        match self.stage {
            DropStage::Asking { conn, .. }
            | DropStage::Receiving { conn, .. }
            | DropStage::Settling { conn, .. } => Some(conn),
            DropStage::Accepted => None,
        }
    }
}

/// The drop folder of this peer.
#[derive(Default)]
pub(super) struct DropService {
    config: Option<DropConfig>,
    drops: Vec<DropFile>,
    trusted: Vec<(IpAddr, Instant)>,
    /// The content of the folder at the last listing, and the files stored since.
    held: Option<HeldFiles>,
}

/// The content of the drop folder, without files under way.
#[derive(Clone, Copy)]
struct HeldFiles {
    files: usize,
    bytes: u64,
    listed_at: Instant,
}

impl DropService {
    /// A drop folder; `None`: none. Removes what an earlier process has left.
    pub(super) fn new(config: Option<DropConfig>) -> DropService {
        if let Some(config) = &config {
            remove_rests(&*config.folder, config.most_files);
        }
        DropService { config, ..DropService::default() }
    }

    /// True while a request of this connection waits or its bytes come.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.drops.iter().any(|drop| drop.conn() == Some(conn))
    }

    /// True while an offer or a file of this connection is lost with its sender.
    pub(super) fn needs_sender(&self, conn: ConnId) -> bool {
        let of_sender = |drop: &DropFile| match drop.stage {
            DropStage::Asking { conn, .. } | DropStage::Receiving { conn, .. } => Some(conn),
            DropStage::Accepted | DropStage::Settling { .. } => None,
        };
        self.drops.iter().any(|drop| of_sender(drop) == Some(conn))
    }

    /// True while the bytes of a file come on this connection.
    pub(super) fn is_receiving(&self, conn: ConnId) -> bool {
        let is_it = |drop: &DropFile| matches!(drop.stage, DropStage::Receiving { conn: at, .. } if at == conn);
        self.drops.iter().any(is_it)
    }

    /// True while a question is before the owner.
    pub(super) fn has_question(&self) -> bool {
        self.drops.iter().any(|drop| matches!(drop.stage, DropStage::Asking { is_told: true, .. }))
    }

    /// The next timer.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let timer = |drop: &DropFile| match drop.stage {
            DropStage::Settling { look_at, .. } => look_at,
            _ => drop.until,
        };
        self.drops.iter().map(timer).min()
    }

    fn trusts(&mut self, ip: IpAddr, now: Instant) -> bool {
        self.trusted.retain(|(_, until)| *until > now);
        self.trusted.iter().any(|(trusted, _)| *trusted == ip)
    }

    fn trust(&mut self, ip: IpAddr, now: Instant) {
        self.trusted.retain(|(trusted, _)| *trusted != ip);
        self.trusted.truncate(MOST_TRUSTED - 1);
        self.trusted.insert(0, (ip, now + TRUST_TIME));
    }

    /// Checks that a file has room.
    fn check_room(&mut self, size: u64, now: Instant) -> Result<(), ErrorReply> {
        let config = self.config.as_ref().ok_or_else(no_folder)?;
        let full = |text: &str| ErrorReply::new(ErrorCode::Refused, text);
        if size > config.largest {
            return Err(ErrorReply::new(
                ErrorCode::TooLarge,
                format!("a file has at most {} bytes here", config.largest),
            ));
        }
        let is_fresh = |held: &HeldFiles| now < held.listed_at + LIST_EVERY;
        let held = match self.held.filter(is_fresh) {
            Some(held) => held,
            None => HeldFiles::list(&*config.folder, config.most_files, now)
                .map_err(|_| full("the drop folder can't be read"))?,
        };
        self.held = Some(held);
        let coming: u64 = self.drops.iter().map(|drop| drop.size).sum();
        if held.files + self.drops.len() >= config.most_files
            || held.bytes.saturating_add(coming).saturating_add(size) > config.total
        {
            return Err(full("the drop folder is full"));
        }
        // The space of a file whose bytes come is allocated already.
        let is_waiting =
            |drop: &&DropFile| matches!(drop.stage, DropStage::Asking { .. } | DropStage::Accepted);
        let coming: u64 = self.drops.iter().filter(is_waiting).map(|drop| drop.size).sum();
        let needed = coming.saturating_add(size).saturating_add(config.reserve);
        if config.folder.free_bytes().is_some_and(|free| free < needed) {
            return Err(full("the disk of the drop folder is full"));
        }
        Ok(())
    }
}

impl HeldFiles {
    /// Lists the folder, up to the bound.
    fn list(folder: &dyn Filesystem, most: usize, now: Instant) -> io::Result<HeldFiles> {
        let mut held = HeldFiles { files: 0, bytes: 0, listed_at: now };
        let list = folder.list(false).map_err(|error| io::Error::other(error.to_string()))?;
        for found in list {
            match found {
                Ok(found) if is_rest(&found.name) => {}
                Ok(found) => held.add(found.stamp.size),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if held.files >= most {
                break;
            }
        }
        Ok(held)
    }

    fn add(&mut self, size: u64) {
        self.files = self.files.saturating_add(1);
        self.bytes = self.bytes.saturating_add(size);
    }
}

fn no_folder() -> ErrorReply {
    ErrorReply::new(ErrorCode::NotFound, "this peer has no drop folder")
}

/// True for the name of a file whose bytes are not complete.
fn is_rest(name: &str) -> bool {
    name.strip_prefix(PART)
        .and_then(|rest| rest.strip_suffix(".part"))
        .is_some_and(|ticket| DropTicket::parse(ticket).is_some())
}

fn remove_rests(folder: &dyn Filesystem, most: usize) {
    let Ok(list) = folder.list(false) else { return };
    let rests: Vec<String> =
        list.flatten().map(|found| found.name).filter(|name| is_rest(name)).take(most).collect();
    for name in rests {
        let _ = folder.remove(&name);
    }
}

/// The name for another file of the same name: `film (2).mp4`.
fn numbered(name: &FileName, number: u32) -> Option<FileName> {
    if number == 1 {
        return Some(name.clone());
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
        _ => (&**name, String::new()),
    };
    // The longest stem whose name is valid.
    let ends = (0..=stem.len()).rev().filter(|end| stem.is_char_boundary(*end));
    ends.map(|end| format!("{} ({number}){extension}", &stem[..end]))
        .find_map(|text| FileName::new(&text).ok())
}

impl PieceService {
    /// A request about the drop folder.
    pub(super) fn drop_request(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        request: DropRequest,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        let done = match request {
            DropRequest::Show => {
                let largest = self.page.drops.config.as_ref().map(|config| config.largest);
                Ok(Some(DropResponse::Shown(largest)))
            }
            DropRequest::Offer { name, size } => self.offer(id, request_id, name, size, ctx),
            DropRequest::Body { ticket, length } => {
                self.receive_drop(id, request_id, &ticket, length, ctx).map(|()| None)
            }
        };
        match done {
            Ok(Some(response)) => self.respond_drop(id, request_id, response, ctx),
            Ok(None) => {}
            Err(error) => self.refuse(id, request_id, &error, ctx.io),
        }
    }

    fn respond_drop(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        response: DropResponse,
        ctx: &mut ServiceCtx<'_, '_>,
    ) {
        if let (Some(peer), Some(conn)) = (self.peers.get_mut(&id), ctx.io.connection(id)) {
            let response = Response::Drop(Box::new(response));
            peer.inbound.respond(request_id, &response, &mut conn.send_queue);
            conn.reschedule = true;
        }
    }

    fn offer(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        name: FileName,
        size: u64,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<Option<DropResponse>, ErrorReply> {
        let now = ctx.io.now;
        let Some(from) = ctx.io.connection(id).map(|conn| conn.from) else { return Ok(None) };
        let ip = from.ip().to_canonical();
        let drops = &mut self.page.drops;
        let is_trusted = drops.trusts(ip, now);
        let asks = drops.config.as_ref().ok_or_else(no_folder)?.asks;
        if name.starts_with(HIDDEN) {
            return Err(ErrorReply::new(
                ErrorCode::BadName,
                "a file name must not begin with a dot",
            ));
        }
        let own = drops.drops.iter().filter(|drop| drop.from.ip().to_canonical() == ip).count();
        if own >= MOST_OF_ADDRESS || drops.drops.len() >= MOST_OFFERS {
            return Err(ErrorReply::new(ErrorCode::Busy, "too many files come at once"));
        }
        drops.check_room(size, now)?;
        let is_accepted = is_trusted || !asks;
        let ticket = DropTicket::parse(&ctx.io.nonce()).ok_or_else(ErrorReply::unsupported)?;
        let (stage, until) = if is_accepted {
            (DropStage::Accepted, now + BEGIN_TIME)
        } else {
            (DropStage::Asking { conn: id, id: request_id, is_told: false }, now + ANSWER_TIME)
        };
        drops.drops.push(DropFile { ticket: ticket.clone(), from, name, size, until, stage });
        self.tell_drop_question(ctx);
        Ok(is_accepted.then_some(DropResponse::Accepted(ticket)))
    }

    /// Puts the next question before the owner, unless another one is open.
    pub(super) fn tell_drop_question(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        if self.uploads.has_question() || self.page.drops.has_question() {
            return;
        }
        for drop in &mut self.page.drops.drops {
            if let DropStage::Asking { is_told, .. } = &mut drop.stage {
                *is_told = true;
                let (who, name, size) = (drop.from, drop.name.clone(), drop.size);
                ctx.io.tell(UiEvent::Drop(Box::new(DropEvent::Asked { who, name, size })));
                ctx.effects.push_back(Effect::ConsentAsked);
                return;
            }
        }
    }

    /// The owner has answered the question about an offer. False without such a question.
    pub(super) fn answer_drop(&mut self, yes: bool, ctx: &mut ServiceCtx<'_, '_>) -> bool {
        let drops = &mut self.page.drops;
        let is_told =
            |drop: &DropFile| matches!(drop.stage, DropStage::Asking { is_told: true, .. });
        let Some(place) = drops.drops.iter().position(is_told) else { return false };
        let ip = drops.drops[place].from.ip().to_canonical();
        let is_of = |drop: &DropFile| {
            matches!(drop.stage, DropStage::Asking { .. }) && drop.from.ip().to_canonical() == ip
        };
        if yes {
            drops.trust(ip, ctx.io.now);
        }
        // All offers of the address have the same answer.
        let mut answered = Vec::new();
        drops.drops.retain_mut(|drop| {
            if !is_of(drop) {
                return true;
            }
            if let DropStage::Asking { conn, id, .. } = drop.stage {
                answered.push((conn, id, drop.ticket.clone()));
            }
            drop.stage = DropStage::Accepted;
            drop.until = ctx.io.now + BEGIN_TIME;
            yes
        });
        for (conn, id, ticket) in answered {
            if yes {
                self.respond_drop(conn, id, DropResponse::Accepted(ticket), ctx);
            } else {
                let error = ErrorReply::new(ErrorCode::Refused, "the owner has declined");
                self.refuse(conn, id, &error, ctx.io);
            }
        }
        self.tell_drop_question(ctx);
        true
    }

    /// The bytes of an accepted file follow.
    fn receive_drop(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        ticket: &DropTicket,
        length: u64,
        ctx: &mut ServiceCtx<'_, '_>,
    ) -> Result<(), ErrorReply> {
        let now = ctx.io.now;
        let PieceService { page, .. } = self;
        let Some(conn) = ctx.io.connection(id) else { return Ok(()) };
        let ip = conn.from.ip().to_canonical();
        let place = page.drops.drops.iter().position(|drop| {
            drop.ticket == *ticket
                && matches!(drop.stage, DropStage::Accepted)
                && drop.from.ip().to_canonical() == ip
        });
        let (Some(place), Some(config)) = (place, &page.drops.config) else {
            return Err(ErrorReply::new(ErrorCode::NotFound, "no such offer, or its time is over"));
        };
        let drop = &mut page.drops.drops[place];
        if drop.size != length {
            return Err(ErrorReply::bad_request("another size than offered"));
        }
        let part = drop.part();
        let begun = config.folder.write(&part, true).and_then(|file| {
            if length > 0 {
                file.allocate(length)?;
            }
            let sink = Rc::new(DropSink::new(file, length));
            if length > 0 {
                conn.recv_buffer.expect(Rc::clone(&sink) as Rc<dyn Sink>, 0, length)?;
            }
            Ok(sink)
        });
        match begun {
            Ok(sink) => {
                drop.stage = DropStage::Receiving { conn: id, id: request_id, sink };
                drop.until = now + DROP_SILENCE + Duration::from_secs(length / SLOWEST_RATE);
                Ok(())
            }
            Err(error) => {
                log::warn!("the drop folder: {error}");
                let _ = config.folder.remove(&part);
                page.drops.drops.remove(place);
                Err(ErrorReply::new(
                    ErrorCode::Io,
                    "the file can't be stored: the disk is full or failed",
                ))
            }
        }
    }

    /// Bytes of a file have come: true while they are all that the connection brings.
    pub(super) fn takes_drop(&mut self, id: ConnId, now: Instant) -> bool {
        for drop in &mut self.page.drops.drops {
            if let DropStage::Receiving { conn, id: request, sink } = &drop.stage
                && *conn == id
            {
                if sink.have.get() == sink.length {
                    sink.start_writeback();
                    let (id, sink) = (*request, Rc::clone(sink));
                    drop.stage = DropStage::Settling { conn: *conn, id, sink, look_at: now };
                    drop.until = now + SETTLE_TIME;
                }
                return true;
            }
        }
        false
    }

    /// Ends offers that are late, and gives complete files their names.
    pub(super) fn settle_drops(&mut self, ctx: &mut ServiceCtx<'_, '_>) {
        let now = ctx.io.now;
        let mut place = 0;
        while let Some(drop) = self.page.drops.drops.get_mut(place) {
            if let DropStage::Settling { sink, look_at, .. } = &mut drop.stage {
                if *look_at > now {
                    place += 1;
                    continue;
                }
                let before = sink.unwritten();
                sink.queue.poll(&*sink.file);
                if sink.unwritten() < before {
                    drop.until = now + SETTLE_TIME;
                }
                // A sync of many bytes would hold the loop.
                if sink.unwritten() > 0 && now < drop.until {
                    *look_at = now + LOOK_EVERY;
                    place += 1;
                    continue;
                }
                let drop = self.page.drops.drops.remove(place);
                self.store_drop(drop, ctx);
            } else if drop.until <= now {
                let drop = self.page.drops.drops.remove(place);
                self.expire_drop(drop, ctx);
            } else {
                place += 1;
            }
        }
        self.tell_drop_question(ctx);
    }

    fn expire_drop(&mut self, drop: DropFile, ctx: &mut ServiceCtx<'_, '_>) {
        match drop.stage {
            DropStage::Asking { conn, id, .. } => {
                ctx.io.tell(UiEvent::Drop(Box::new(DropEvent::Expired(drop.name))));
                let error = ErrorReply::new(ErrorCode::Refused, "nobody answered");
                self.refuse(conn, id, &error, ctx.io);
            }
            DropStage::Receiving { conn, .. } => {
                self.remove_part(&drop.part());
                if let Some(conn) = ctx.io.connection(conn) {
                    conn.drop_now();
                }
            }
            DropStage::Accepted | DropStage::Settling { .. } => {}
        }
    }

    fn remove_part(&self, part: &str) {
        if let Some(config) = &self.page.drops.config {
            let _ = config.folder.remove(part);
        }
    }

    /// All bytes are written: makes them durable, and gives the file its name.
    fn store_drop(&mut self, drop: DropFile, ctx: &mut ServiceCtx<'_, '_>) {
        let part = drop.part();
        let DropFile { from, name, size, stage, .. } = drop;
        let DropStage::Settling { conn, id, sink, .. } = stage else { return };
        let stored = self.page.drops.config.as_ref().and_then(|config| {
            let synced = if sink.unwritten() == 0 {
                sink.file.sync()
            } else {
                Err(io::Error::new(io::ErrorKind::TimedOut, "the disk has stopped writing"))
            };
            synced.map_err(|error| log::warn!("the drop folder: {error}")).ok()?;
            (1..MOST_NAMES).map_while(|number| numbered(&name, number)).find_map(
                |free| match config.folder.rename_new(&part, &free) {
                    Ok(()) => Some(Ok(free)),
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => None,
                    Err(error) => Some(Err(error)),
                },
            )
        });
        match stored {
            Some(Ok(name)) => {
                log::info!("{from} has dropped {name}");
                if let Some(held) = &mut self.page.drops.held {
                    held.add(size);
                }
                let ip = from.ip().to_canonical();
                if self.page.drops.trusts(ip, ctx.io.now) {
                    self.page.drops.trust(ip, ctx.io.now);
                }
                let event = DropEvent::Stored { who: from, name: name.clone(), size };
                ctx.io.tell(UiEvent::Drop(Box::new(event)));
                self.respond_drop(conn, id, DropResponse::Stored(name), ctx);
            }
            failed => {
                if let Some(Err(error)) = failed {
                    log::warn!("the drop folder: {error}");
                }
                self.remove_part(&part);
                let error = ErrorReply::new(ErrorCode::Io, "the file can't be stored");
                self.refuse(conn, id, &error, ctx.io);
            }
        }
    }

    /// A connection is closed: removes what was not complete.
    pub(super) fn forget_drops(&mut self, id: ConnId, ctx: &mut ServiceCtx<'_, '_>) {
        let mut gone = Vec::new();
        self.page.drops.drops.retain(|drop| {
            let is_over = match drop.stage {
                DropStage::Asking { conn, .. } => conn == id,
                DropStage::Receiving { conn, .. } => {
                    if conn == id {
                        gone.push(drop.part());
                    }
                    conn == id
                }
                DropStage::Accepted | DropStage::Settling { .. } => false,
            };
            !is_over
        });
        for part in gone {
            self.remove_part(&part);
        }
        self.tell_drop_question(ctx);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::traits::SourceRef;
    use crate::protocol::types::byte_range::ByteRange;
    use crate::storage::Opened;
    use crate::storage::fs_trait::{DirEntryKind, FileStat, Found, FsError, NoFolder};

    /// A file on a disk that has written up to here.
    #[derive(Default)]
    struct SlowFile {
        asked: Cell<u64>,
        written: Cell<u64>,
    }

    impl FsFile for SlowFile {
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            Ok(())
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn stamp(&self) -> io::Result<FileStat> {
            Err(io::ErrorKind::Unsupported.into())
        }
        fn allocate(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
        fn start_writeback(&self, range: ByteRange) {
            assert_eq!(range.start(), self.asked.get(), "each byte is asked for once");
            self.asked.set(range.end());
        }
        fn dirty(&self, range: ByteRange) -> u64 {
            range.end().saturating_sub(self.written.get().max(range.start()))
        }
        fn sync(&self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_slow_disk_stops_the_bytes_of_a_file() {
        let (file, block) = (Rc::new(SlowFile::default()), vec![0; 1 << 20]);
        let sink = DropSink::new(Rc::clone(&file) as Rc<dyn FsFile>, 1 << 30);
        let fill = || {
            while sink.room() > 0 && sink.have.get() < sink.length {
                sink.put(sink.have.get(), &block).unwrap();
            }
            sink.have.get()
        };
        let most = DIRTY_BYTES + block.len() as u64;
        assert_eq!(fill(), most);
        assert!(file.asked.get() >= DIRTY_BYTES);
        file.written.set(2 * WRITEBACK_BYTES);
        assert_eq!(fill(), most + 2 * WRITEBACK_BYTES);
        sink.start_writeback();
        sink.queue.poll(&*file);
        assert_eq!(sink.unwritten(), most);
        file.written.set(sink.have.get());
        sink.queue.poll(&*file);
        assert_eq!((sink.unwritten(), file.asked.get()), (0, sink.have.get()));
    }

    /// A disk with this much room, whose listings are counted.
    struct CountedFolder {
        free: u64,
        files: Cell<usize>,
        listings: Cell<u32>,
    }

    impl Filesystem for CountedFolder {
        fn list(&self, _: bool) -> Result<Box<dyn Iterator<Item = io::Result<Found>>>, FsError> {
            self.listings.set(self.listings.get() + 1);
            let stamp = FileStat { device: 1, inode: 1, size: 10, modified_ns: 0, changed_ns: 0 };
            let found = move |number| Found {
                name: format!("{number}"),
                stamp,
                settled: true,
                barred: None,
            };
            Ok(Box::new((0..self.files.get()).map(move |number| Ok(found(number)))))
        }
        fn free_bytes(&self) -> Option<u64> {
            Some(self.free)
        }
        fn find(&self, name: &str) -> Option<Found> {
            NoFolder.find(name)
        }
        fn open(&self, name: &str) -> io::Result<Opened> {
            NoFolder.open(name)
        }
        fn open_part(&self, name: &str) -> io::Result<SourceRef> {
            NoFolder.open_part(name)
        }
        fn look(&self, name: &str) -> io::Result<DirEntryKind> {
            NoFolder.look(name)
        }
        fn stamp_at(&self, name: &str) -> io::Result<Option<FileStat>> {
            NoFolder.stamp_at(name)
        }
        fn read_small(&self, name: &str, most: usize) -> io::Result<Vec<u8>> {
            NoFolder.read_small(name, most)
        }
        fn replace_small(&self, name: &str, content: &[u8]) -> io::Result<()> {
            NoFolder.replace_small(name, content)
        }
        fn write(&self, name: &str, create: bool) -> io::Result<Rc<dyn FsFile>> {
            NoFolder.write(name, create)
        }
        fn read(&self, name: &str) -> io::Result<Rc<dyn FsFile>> {
            NoFolder.read(name)
        }
        fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
            NoFolder.rename_new(from, to)
        }
        fn remove(&self, name: &str) -> io::Result<()> {
            NoFolder.remove(name)
        }
        fn boot(&self) -> String {
            NoFolder.boot()
        }
    }

    #[test]
    fn room_is_counted_without_a_listing_for_each_offer() {
        let folder =
            Rc::new(CountedFolder { free: 150, files: Cell::new(1), listings: Cell::new(0) });
        let config = DropConfig {
            folder: Rc::clone(&folder) as Rc<dyn Filesystem>,
            asks: true,
            largest: 1_000,
            total: 1_000,
            most_files: 3,
            reserve: 50,
        };
        let mut drops = DropService { config: Some(config), ..DropService::default() };
        let now = Instant::now();
        assert!(drops.check_room(100, now).is_ok());
        // More than the disk has.
        assert!(drops.check_room(101, now).is_err());
        let stage = |sink| DropStage::Settling { conn: ConnId(0), id: None, sink, look_at: now };
        let file = Rc::new(SlowFile::default());
        drops.drops.push(DropFile {
            ticket: DropTicket::parse(&"0".repeat(32)).unwrap(),
            from: SocketAddr::from(([127, 0, 0, 1], 1)),
            name: FileName::new("a").unwrap(),
            size: 60,
            until: now,
            stage: DropStage::Accepted,
        });
        assert!(drops.check_room(40, now).is_ok() && drops.check_room(41, now).is_err());
        // The disk has given the space of a file under way.
        drops.drops[0].stage = stage(Rc::new(DropSink::new(file, 60)));
        assert!(drops.check_room(100, now).is_ok());
        // A stored file counts at once, and a file of the owner at the next listing.
        drops.drops.clear();
        drops.held.as_mut().unwrap().add(60);
        folder.files.set(3);
        assert!(drops.check_room(1, now + LIST_EVERY / 2).is_ok());
        assert_eq!(folder.listings.get(), 1);
        assert!(drops.check_room(1, now + LIST_EVERY).is_err());
        assert_eq!(folder.listings.get(), 2);
    }

    #[test]
    fn a_second_file_of_a_name_has_a_number() {
        let numbered = |name: &str, number| {
            numbered(&FileName::new(name).unwrap(), number).map(|name| name.to_string())
        };
        assert_eq!(numbered("a.tar.gz", 1).as_deref(), Some("a.tar.gz"));
        assert_eq!(numbered("a.mp4", 2).as_deref(), Some("a (2).mp4"));
        assert_eq!(numbered("plain", 12).as_deref(), Some("plain (12)"));
        let long = format!("{}.mp4", "é".repeat(125));
        let short = numbered(&long, 3).unwrap();
        assert!(short.len() <= 255 && short.ends_with("é (3).mp4"), "{short}");
    }

    #[test]
    fn only_files_of_an_earlier_process_are_rests() {
        assert!(is_rest(&format!("drop-{}.part", "0a".repeat(16))));
        for other in ["drop-1.part", "film.mp4.part", "drop-.part", "drop-xx.part"] {
            assert!(!is_rest(other), "{other}");
        }
    }
}
