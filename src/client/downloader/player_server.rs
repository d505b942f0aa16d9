//! The player port: on loopback alone, each connection gets ranges of a file as the pieces arrive.
//!
//! ```text
//!   PLAY --> the download starts, the URL is printed --> a player requests a range --> send what is here, download the rest first
//!                                                           ^                                      |
//!                                                           '-------- a seek: another range -------'
//! ```
//!
//! A byte goes out once its piece is held and, for a file with a root, verified: a player gets the file or a pause.
//! A file without a root comes from one source, unverified, and the user is told so.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::connection::player::{self, PlayerConnection, PlayerStep};
use crate::download::manager::DownloadManager;
use crate::download::player_view::PlayerView;
use crate::io::traits::SourceRef;
use crate::limits;
use crate::node::io::Io;
use crate::node::{ConnId, PortId};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::priorities::{Priorities, Reader};
use crate::storage::{Opened, Storage};
use crate::ui::event::{Failure, UiEvent};

/// The port of players. Legacy ports have the numbers from 1 on, and are fewer.
pub(crate) const PLAYER_PORT: PortId = PortId(1_000);

/// A media player: a program that plays a URL.
pub trait Player {
    /// The name of the program.
    fn name(&self) -> String;

    /// Starts the program with this URL.
    ///
    /// # Errors
    /// The error of the system.
    fn start(&mut self, url: &str) -> Result<(), String>;

    /// True once the program has ended. Never waits.
    fn has_ended(&mut self) -> bool;
}

/// Files that are played, and the connections of their players.
#[derive(Default)]
pub(super) struct PlayerServer {
    player: Option<Box<dyn Player>>,
    /// The program runs.
    is_playing: bool,
    /// `None` before the port is open.
    port: Option<u16>,
    is_opening: bool,
    /// Play the next download that starts.
    expects_download: bool,
    plays: Vec<Play>,
    conns: BTreeMap<ConnId, PlayerConn>,
    /// Requests and connections so far.
    requests: u64,
    /// The file of a one-shot PLAY is complete.
    is_complete: bool,
}

/// A file that is played.
struct Play {
    /// The first part of the URL's path.
    secret: String,
    name: RelativeName,
    /// The download, while under way.
    download: Option<u64>,
    view: Option<PlayerView>,
    /// The bytes, once the size is known.
    file: Option<Opened>,
    /// The bytes that have arrived, while the size is not known.
    stream: Option<SourceRef>,
    /// Counts the changes to another content.
    version: u64,
    /// The URL was printed or given to the program.
    is_announced: bool,
    /// The user was told that the bytes are unverified.
    is_warned: bool,
    /// The last priorities of the download.
    priorities: Option<Priorities>,
}

/// A connection of a player.
struct PlayerConn {
    protocol: PlayerConnection,
    /// The number of its last request, or of the connection itself.
    number: u64,
    request: Option<RangeRequest>,
    /// The player sends no more.
    has_ended: bool,
    /// Closed to make room for others.
    is_dropped: bool,
}

/// A request that is not answered to its end.
struct RangeRequest {
    secret: String,
    /// The rest of the range, and the version of the file; `None` before the header was sent.
    left: Option<(ByteRange, u64)>,
    /// Waits for bytes that are not here.
    starves: bool,
}

impl Play {
    /// Bytes from the front of `range` that may go out in one write.
    fn front(&self, mut range: ByteRange) -> u64 {
        // Of an open range look no farther than a write.
        let range = range.take(limits::PLAY_QUEUE_BYTES);
        match (&self.view, self.download) {
            (_, None) => range.length(),
            (Some(view), _) => view.front(range),
            (None, _) => 0,
        }
    }

    /// The bytes, and the size if known. `None` while no byte can be sent.
    fn bytes(&self) -> Option<(&SourceRef, Option<&Opened>)> {
        match &self.file {
            Some(file) => Some((&file.source, Some(file))),
            None => self.stream.as_ref().map(|stream| (stream, None)),
        }
    }

    /// The rest of a range that was begun, within the file as far as its size is known.
    fn clipped(&self, left: ByteRange) -> ByteRange {
        match &self.file {
            Some(file) if left.end() > file.size => {
                let length = file.size.saturating_sub(left.start());
                ByteRange::new(left.start(), length).unwrap_or(ByteRange::EMPTY)
            }
            _ => left,
        }
    }
}

/// The file of this path. Compares secrets in constant time.
fn find<'a>(plays: &'a [Play], path: &RelativeName) -> Option<&'a Play> {
    let mut parts = path.parts();
    let (secret, name, None) = (parts.next()?, parts.next()?, parts.next()) else { return None };
    let same = |play: &&Play| {
        let differs = |(one, other): (u8, u8)| one ^ other;
        play.secret.len() == secret.len()
            && play.secret.bytes().zip(secret.bytes()).map(differs).fold(0, |all, one| all | one)
                == 0
    };
    plays.iter().find(same).filter(|play| *play.name == *name)
}

impl PlayerServer {
    /// With this media player; `None`: print URLs.
    pub(super) fn new(player: Option<Box<dyn Player>>) -> PlayerServer {
        PlayerServer { player, ..PlayerServer::default() }
    }

    /// Opens the port, once.
    pub(super) fn open_port(&mut self, io: &mut Io<'_>) {
        if !std::mem::replace(&mut self.is_opening, true) {
            io.listen_plain(PLAYER_PORT, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
    }

    /// The port is open, or has failed to open. An error is one of the port or of the program.
    pub(super) fn port_opened(
        &mut self,
        result: Result<SocketAddr, String>,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        match result {
            Ok(at) => {
                self.port = Some(at.port());
                self.announce(io)
            }
            Err(why) => {
                self.is_opening = false;
                Err(Failure::Port(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), why))
            }
        }
    }

    /// Plays the next download.
    pub(super) fn expect_download(&mut self) {
        self.expects_download = true;
    }

    /// Plays no later download.
    pub(super) fn expect_nothing(&mut self) {
        self.expects_download = false;
    }

    pub(super) fn expects_download(&self) -> bool {
        self.expects_download
    }

    /// The file of a one-shot PLAY is complete. True while the file is played.
    pub(super) fn set_complete(&mut self) -> bool {
        self.is_complete = true;
        self.player.is_none() || self.is_playing
    }

    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// A download has started: plays an expected download, and one that replaces a played download.
    pub(super) fn download_started(
        &mut self,
        id: u64,
        name: &RelativeName,
        downloads: &DownloadManager,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        let name = RelativeName::from(&name.file());
        let made_way = |play: &&mut Play| {
            play.name == name && play.download.is_some_and(|old| !downloads.is_running(old))
        };
        for play in self.plays.iter_mut().filter(made_way) {
            (play.download, play.priorities) = (Some(id), None);
        }
        if !std::mem::take(&mut self.expects_download) {
            return Ok(());
        }
        let known =
            self.plays.iter_mut().find(|play| play.name == name && play.download == Some(id));
        match known {
            // Already played: announce the URL once more.
            Some(play) => play.is_announced = false,
            None => self.add(name, Some(id), None, io),
        }
        self.announce(io)
    }

    /// Plays a file that is here.
    pub(super) fn add_file(
        &mut self,
        name: RelativeName,
        file: Opened,
        io: &mut Io<'_>,
    ) -> Result<(), Failure> {
        self.add(name, None, Some(file), io);
        self.announce(io)
    }

    /// Adds a file; beyond the limit, replaces a file without a reader.
    fn add(
        &mut self,
        name: RelativeName,
        download: Option<u64>,
        file: Option<Opened>,
        io: &mut Io<'_>,
    ) {
        if self.plays.len() >= limits::PLAYED_FILES {
            let requests = || self.conns.values().filter_map(|conn| conn.request.as_ref());
            let is_read = |play: &Play| requests().any(|request| request.secret == play.secret);
            let place = self.plays.iter().position(|play| !is_read(play)).unwrap_or(0);
            self.plays.remove(place);
        }
        self.plays.push(Play {
            secret: io.nonce(),
            name,
            download,
            view: None,
            file,
            stream: None,
            version: 0,
            is_announced: false,
            is_warned: false,
            priorities: None,
        });
    }

    /// Prints new URLs, or starts the program with the first one.
    fn announce(&mut self, io: &mut Io<'_>) -> Result<(), Failure> {
        let Some(port) = self.port else { return Ok(()) };
        let mut result = Ok(());
        for play in self.plays.iter_mut().filter(|play| !play.is_announced) {
            play.is_announced = true;
            let url = player::url(port, &play.secret, &play.name);
            match &mut self.player {
                Some(player) if !self.is_playing => match player.start(&url) {
                    Ok(()) => self.is_playing = true,
                    Err(why) => result = Err(Failure::Player(player.name(), why)),
                },
                Some(_) => {}
                None => io.tell(UiEvent::Playing { name: play.name.clone(), url }),
            }
        }
        result
    }

    /// A child process may have ended. True when the program has, and the file is complete.
    pub(super) fn child_ended(&mut self, io: &mut Io<'_>) -> bool {
        let Some(player) = self.player.as_mut().filter(|_| self.is_playing) else { return false };
        if !player.has_ended() {
            return false;
        }
        self.is_playing = false;
        if let Some(play) = self.plays.first().filter(|_| !self.is_complete) {
            io.tell(UiEvent::PlayerEnded { player: player.name(), name: play.name.clone() });
        }
        self.is_complete
    }

    /// A player has connected. Players leave connections open when they seek: beyond the limit, close the connection with
    /// the oldest request. False when the new connection is gone already.
    pub(super) fn accept(&mut self, id: ConnId, io: &mut Io<'_>) -> bool {
        let open = |(_, conn): &(&ConnId, &mut PlayerConn)| !conn.is_dropped;
        if self.conns.values().filter(|conn| !conn.is_dropped).count() >= limits::PLAYERS
            && let Some((oldest, conn)) =
                self.conns.iter_mut().filter(open).min_by_key(|(_, conn)| conn.number)
        {
            conn.is_dropped = true;
            if let Some(conn) = io.connection(*oldest) {
                conn.drop_now();
            }
        }
        let now = io.now;
        let (Some(conn), Some(port)) = (io.connection(id), self.port) else { return false };
        let mut protocol = PlayerConnection::new(port, now);
        conn.is_own = true;
        conn.max_header = limits::HEADER_BYTES + 1;
        conn.deadline = protocol.deadline(&conn.recv_buffer, false, now);
        self.requests += 1;
        let number = self.requests;
        let player =
            PlayerConn { protocol, number, request: None, has_ended: false, is_dropped: false };
        self.conns.insert(id, player);
        true
    }

    /// A player sends no more, and still reads.
    pub(super) fn remote_ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.has_ended = true;
        }
        self.serve(id, io);
    }

    /// The connection of a player is closed.
    pub(super) fn closed(&mut self, id: ConnId) {
        self.conns.remove(&id);
    }

    /// Reads the requests of a player, and sends the bytes that are here.
    pub(super) fn serve(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        for _ in 0..limits::SERVICE_REQUESTS {
            if !self.send(id, io) {
                break;
            }
            let (Some(player), Some(conn)) = (self.conns.get_mut(&id), io.connection(id)) else {
                return;
            };
            match player.protocol.step(&mut conn.recv_buffer, &mut conn.send_queue) {
                PlayerStep::Wait => break,
                PlayerStep::Again => {}
                PlayerStep::Asked(path) => match find(&self.plays, &path) {
                    Some(play) => {
                        self.requests += 1;
                        player.number = self.requests;
                        let secret = play.secret.clone();
                        player.request = Some(RangeRequest { secret, left: None, starves: false });
                    }
                    None => player.protocol.refuse(
                        &ErrorReply::new(ErrorCode::NotFound, "no such file here"),
                        &mut conn.send_queue,
                    ),
                },
            }
        }
        let (Some(player), Some(conn)) = (self.conns.get_mut(&id), io.connection(id)) else {
            return;
        };
        let busy = player.request.is_some();
        conn.deadline = player.protocol.deadline(&conn.recv_buffer, busy, now);
        conn.idle_timeout = (!busy && conn.send_queue.is_empty()).then_some(limits::HTTP_IDLE);
        match &player.request {
            // The player may be gone, and the next byte may take hours.
            Some(request) if player.has_ended && request.starves => conn.drop_now(),
            None if player.protocol.is_over()
                || (player.has_ended && conn.recv_buffer.header().is_empty()) =>
            {
                conn.finish()
            }
            _ => {}
        }
    }

    /// Sends bytes of the open request. True when the request is answered.
    fn send(&mut self, id: ConnId, io: &mut Io<'_>) -> bool {
        let Some(player) = self.conns.get_mut(&id) else { return false };
        let Some(request) = &mut player.request else { return true };
        let play = self.plays.iter().find(|play| play.secret == request.secret);
        let Some(conn) = io.connection(id) else { return false };
        let Some(play) = play else {
            // The download has failed.
            conn.drop_now();
            return false;
        };
        request.starves = true;
        let Some((source, file)) = play.bytes() else { return false };
        let queue = &mut conn.send_queue;
        let begun = match (request.left, file) {
            (Some(left), _) => Some(left),
            (None, Some(Opened { size, tag, .. })) => player
                .protocol
                .begin(&play.name, *size, *tag, queue)
                .map(|range| (range, play.version)),
            (None, None) => {
                player.protocol.begin_unsized(&play.name, queue).map(|range| (range, play.version))
            }
        };
        let Some((left, version)) = begun else {
            player.request = None;
            return true;
        };
        let mut left = play.clipped(left);
        if version != play.version {
            // The bytes sent so far are of another content.
            conn.drop_now();
            return false;
        }
        while !left.is_empty() && conn.send_queue.file_waiting() < limits::PLAY_QUEUE_BYTES {
            let front = play.front(left);
            if front == 0 {
                break;
            }
            conn.send_queue.push_file(source.clone(), left.take(front));
        }
        request.starves = !left.is_empty() && play.front(left) == 0;
        request.left = Some((left, version));
        if left.is_empty() {
            player.request = None;
        }
        left.is_empty()
    }

    /// Looks at the downloads, feeds players, and returns changed priorities of downloads.
    pub(super) fn update(
        &mut self,
        downloads: &DownloadManager,
        storage: &Storage,
        io: &mut Io<'_>,
    ) -> Vec<(u64, Priorities)> {
        // A player may still wait for a file whose download has failed.
        if self.plays.is_empty() && self.conns.is_empty() {
            return Vec::new();
        }
        self.update_views(downloads, storage, io);
        let can_go_on = |request: &RangeRequest| {
            let play = self.plays.iter().find(|play| play.secret == request.secret);
            match (play, request.left) {
                (None, _) => true,
                (Some(play), None) => play.bytes().is_some(),
                (Some(play), Some((left, version))) => {
                    version != play.version || play.front(left) > 0 || play.clipped(left).is_empty()
                }
            }
        };
        let is_fed = |conn: &PlayerConn| {
            conn.request.as_ref().is_some_and(|request| request.starves && can_go_on(request))
        };
        let fed: Vec<ConnId> =
            self.conns.iter().filter(|(_, conn)| is_fed(conn)).map(|(id, _)| *id).collect();
        for id in fed {
            self.serve(id, io);
        }
        self.changed_priorities()
    }

    fn update_views(&mut self, downloads: &DownloadManager, storage: &Storage, io: &mut Io<'_>) {
        for play in &mut self.plays {
            let Some(id) = play.download else { continue };
            let view = downloads.view(id);
            let is_same = match (&play.view, &view) {
                (None, None) => true,
                (Some(before), Some((now, _))) => before.is(now),
                _ => false,
            };
            if !is_same {
                play.version += 1;
                (play.file, play.stream, play.priorities) = (None, None, None);
            }
            let Some((view, is_verified)) = view else {
                play.view = None;
                continue;
            };
            if !is_verified && !std::mem::replace(&mut play.is_warned, true) {
                io.tell(UiEvent::Unproven(play.name.clone()));
            }
            if let (None, Some(size)) = (&play.file, view.size()) {
                let source = view
                    .source()
                    .or_else(|| storage.open_finished(&play.name).ok().map(|opened| opened.source));
                // Two contents that follow each other under one path differ in their number.
                let tag = FileVersion(size.rotate_left(32) ^ (id << 8) ^ play.version);
                play.file = source.map(|source| Opened { source, size, tag });
            }
            let has_bytes = matches!(&view, PlayerView::Stream(stream) if stream.have() > 0);
            if has_bytes && play.file.is_none() && play.stream.is_none() {
                play.stream = view.source();
            }
            play.view = Some(view);
        }
    }

    /// Changed priorities, by download.
    fn changed_priorities(&mut self) -> Vec<(u64, Priorities)> {
        let mut changed = Vec::new();
        for play in &mut self.plays {
            let (Some(id), Some(PlayerView::Pieces(part))) = (play.download, &play.view) else {
                continue;
            };
            let mut readers: Vec<(u64, Reader)> = self
                .conns
                .values()
                .filter(|conn| !conn.is_dropped)
                .filter_map(|conn| Some((conn.number, conn.request.as_ref()?)))
                .filter(|(_, request)| request.secret == play.secret)
                .filter_map(|(number, request)| {
                    let at = request.left?.0.start();
                    Some((number, Reader { at, starves: request.starves }))
                })
                .collect();
            if readers.is_empty() {
                continue;
            }
            readers.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
            let readers: Vec<Reader> = readers.into_iter().map(|(_, reader)| reader).collect();
            let priorities = {
                let picker = part.picker();
                Priorities::of_readers(part.size(), &readers, |piece| picker.held().has(piece))
            };
            if play.priorities.as_ref() != Some(&priorities) {
                play.priorities = Some(priorities.clone());
                changed.push((id, priorities));
            }
        }
        changed
    }

    /// The download of a file has ended: its players go on with the file, or are closed.
    pub(super) fn download_ended(
        &mut self,
        id: u64,
        name: &RelativeName,
        succeeded: bool,
        storage: &Storage,
    ) {
        self.plays.retain_mut(|play| {
            if play.download != Some(id) {
                return true;
            }
            (play.download, play.view) = (None, None);
            if play.file.is_none() && succeeded {
                play.file = storage.open_finished(name).ok();
            }
            succeeded && play.file.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_open_range_is_looked_at_only_as_far_as_one_write_reaches() {
        let name = RelativeName::new("a").unwrap();
        let play = Play {
            secret: String::new(),
            name,
            download: None,
            view: None,
            file: None,
            stream: None,
            version: 0,
            is_announced: true,
            is_warned: false,
            priorities: None,
        };
        assert_eq!(play.front(ByteRange::new(7, 1 << 40).unwrap()), limits::PLAY_QUEUE_BYTES);
        assert_eq!(play.front(ByteRange::new(7, 9).unwrap()), 9);
    }
}
