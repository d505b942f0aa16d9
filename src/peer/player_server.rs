//! The player port: on loopback alone, each connection gets ranges of a file as its pieces arrive.
//!
//! ```text
//!   PLAY --> its download begins, a URL is told --> a player asks for a range --> what is here goes out, what is missing comes first
//!                                                          ^                                      |
//!                                                          '-------- a seek: another range -------'
//! ```
//!
//! No byte goes out before its piece is held, and where the file has a root, before it was judged: what a player gets is the file or a pause, never
//! anything else. Only of a file that has no root yet does it get what its one owner says, and the person is told so.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use crate::client::command::{Command, DownloadTarget};
use crate::connection::player::{self, PlayerConnection, PlayerStep};
use crate::download::player_view::PlayerView;
use crate::download::types::PieceOrder;
use crate::limits;
use crate::node::conn_map::ConnOwner;
use crate::node::io::Io;
use crate::node::{ConnId, PortId};
use crate::peer::Peer;
use crate::peer::config::Task;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::types::byte_range::ByteRange;
use crate::protocol::types::ids::FileVersion;
use crate::protocol::types::relative_path::RelativeName;
use crate::storage::Opened;
use crate::storage::priorities::{Priorities, Reader};
use crate::ui::event::{Failure, UiEvent, exit};

/// The port of players; those of old wires have the numbers behind the usual one, and are never so many.
pub(super) const WATCHING: PortId = PortId(1_000);

/// A program that plays what it finds at a URL.
pub trait Player {
    /// What it is called.
    fn name(&self) -> String;

    /// Starts it on this URL.
    ///
    /// # Errors
    /// Why it can't be started, in the words of the system.
    fn start(&mut self, url: &str) -> Result<(), String>;

    /// True once it has ended. Never waits.
    fn has_ended(&mut self) -> bool;
}

/// All that is watched.
#[derive(Default)]
pub(super) struct PlayerServer {
    player: Option<Box<dyn Player>>,
    /// It was started, and has not ended.
    is_playing: bool,
    /// Where players come; `None` before the port is open.
    port: Option<u16>,
    opening: bool,
    /// The next download that begins is watched.
    next: bool,
    plays: Vec<Play>,
    watchers: BTreeMap<ConnId, Watcher>,
    /// How many requests and links there were.
    requests: u64,
    /// What was to be played once is there.
    complete: bool,
}

/// A file that is watched.
struct Play {
    /// What its path begins with.
    secret: String,
    name: RelativeName,
    /// Its download, while that is under way.
    download: Option<u64>,
    shown: Option<PlayerView>,
    /// Its bytes, once its size is known.
    file: Option<Opened>,
    /// How often it has become another file.
    version: u64,
    /// Its URL was told.
    is_told: bool,
    /// It was said that nothing proves its bytes.
    is_doubted: bool,
    /// What its download was last told.
    wants: Option<Priorities>,
}

/// One link of a player.
struct Watcher {
    playing: PlayerConnection,
    /// The number of its last request among all, or of its coming.
    number: u64,
    asked: Option<RangeRequest>,
    /// It will send no more.
    ended: bool,
    /// It has made way for others.
    gone: bool,
}

/// A request that is not answered to its end.
struct RangeRequest {
    secret: String,
    /// What is left of it, once its head was given; and of which version of the file.
    left: Option<(ByteRange, u64)>,
    /// It waits for bytes that are not here.
    starves: bool,
}

impl Play {
    /// How many bytes from the front of `range` may go out next, in one go.
    fn front(&self, mut range: ByteRange) -> u64 {
        // Of an open range of a giant nobody looks farther than he can give.
        let range = range.take(limits::PLAY_QUEUE_BYTES);
        match (&self.shown, self.download) {
            (_, None) => range.length(),
            (Some(shown), _) => shown.front(range),
            (None, _) => 0,
        }
    }
}

impl PlayerServer {
    /// With this program to play what was asked for.
    pub(super) fn with(player: Option<Box<dyn Player>>) -> PlayerServer {
        PlayerServer { player, ..PlayerServer::default() }
    }

    /// What was to begin has come to its end, or to nothing.
    pub(super) fn expects_nothing(&mut self) {
        self.next = false;
    }

    /// True when what was to be played once is all there.
    pub(super) fn is_complete(&self) -> bool {
        self.complete
    }

    fn play(&self, secret: &str) -> Option<&Play> {
        self.plays.iter().find(|play| play.secret == secret)
    }

    /// Adds a file, and makes room for it where there are too many.
    fn add(&mut self, play: Play) {
        if self.plays.len() >= limits::PLAYED_FILES {
            let is_read = |play: &Play| {
                self.watchers.values().any(|watcher| {
                    watcher.asked.as_ref().is_some_and(|asked| asked.secret == play.secret)
                })
            };
            let place = self.plays.iter().position(|play| !is_read(play)).unwrap_or(0);
            self.plays.remove(place);
        }
        self.plays.push(play);
    }
}

/// The file behind this path, compared without a hint of how much of the secret was right.
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

impl Peer {
    /// PLAY: a GET whose file is watched while it comes.
    pub(super) fn play(&mut self, goal: DownloadTarget, io: &mut Io<'_>) {
        if !std::mem::replace(&mut self.watching.opening, true) {
            io.listen(WATCHING, SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
        }
        let here = goal
            .name
            .as_ref()
            .and_then(|name| self.library.entry(name))
            .filter(|file| goal.root.is_none() || file.root == goal.root);
        if let Some(file) = here
            && let Ok(opened) = self.library.open(&file.name)
        {
            let name = RelativeName::from(&file.name.file());
            self.watch_file(name, None, Some(opened), io);
            return self.done(io);
        }
        self.watching.next = true;
        self.run(Command::Get(goal), io);
    }

    /// In which order the pieces of a download that begins now come.
    pub(super) fn order(&self) -> PieceOrder {
        match self.watching.next {
            true => PieceOrder::WATCHED,
            false if self.options.sequential => PieceOrder::FromFront,
            false => PieceOrder::Any,
        }
    }

    /// A download has begun: it may be the one that is to be watched, or take the place of one that was.
    pub(super) fn is_watched(&mut self, id: u64, name: &RelativeName, io: &mut Io<'_>) {
        let name = RelativeName::from(&name.file());
        // One that had lost its sources has made way for it: whoever watched that watches this.
        let made_way = |play: &&mut Play| {
            play.name == name && play.download.is_some_and(|old| !self.downloads.is_running(old))
        };
        for play in self.watching.plays.iter_mut().filter(made_way) {
            (play.download, play.wants) = (Some(id), None);
        }
        if std::mem::take(&mut self.watching.next) {
            self.watch_file(name, Some(id), None, io);
        }
    }

    fn watch_file(
        &mut self,
        name: RelativeName,
        download: Option<u64>,
        file: Option<Opened>,
        io: &mut Io<'_>,
    ) {
        let known = self
            .watching
            .plays
            .iter_mut()
            .find(|play| play.name == name && play.download == download && download.is_some());
        match known {
            // It is watched already: its URL is told once more.
            Some(play) => play.is_told = false,
            None => {
                let secret = io.nonce();
                self.watching.add(Play {
                    secret,
                    name,
                    download,
                    shown: None,
                    file,
                    version: 0,
                    is_told: false,
                    is_doubted: false,
                    wants: None,
                });
            }
        }
        self.tell_plays(io);
    }

    /// The port of players is open, or not.
    pub(super) fn listening_to_players(
        &mut self,
        result: Result<SocketAddr, String>,
        io: &mut Io<'_>,
    ) {
        match result {
            Ok(at) => {
                self.watching.port = Some(at.port());
                self.tell_plays(io);
            }
            Err(why) => {
                self.watching.opening = false;
                io.tell(UiEvent::Failed(Failure::Port(
                    SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                    why,
                )));
                if matches!(self.options.task, Task::Once(_)) {
                    self.end(exit::LOCAL, io);
                }
            }
        }
    }

    /// Tells where files are found that nobody was told of, and starts the player on the first.
    fn tell_plays(&mut self, io: &mut Io<'_>) {
        let Some(port) = self.watching.port else { return };
        let mut failed = None;
        for play in self.watching.plays.iter_mut().filter(|play| !play.is_told) {
            play.is_told = true;
            let url = player::url(port, &play.secret, &play.name);
            match &mut self.watching.player {
                Some(player) if !self.watching.is_playing => match player.start(&url) {
                    Ok(()) => self.watching.is_playing = true,
                    Err(why) => failed = Some(Failure::Player(player.name(), why)),
                },
                Some(_) => {}
                None => io.tell(UiEvent::Playing { name: play.name.clone(), url }),
            }
        }
        if let Some(failure) = failed {
            io.tell(UiEvent::Failed(failure.clone()));
            self.end(failure.code(), io);
        }
    }

    /// A program that we started may have ended.
    pub(super) fn child_ended(&mut self, io: &mut Io<'_>) {
        let watching = &mut self.watching;
        let Some(player) = watching.player.as_mut().filter(|_| watching.is_playing) else { return };
        if !player.has_ended() {
            return;
        }
        watching.is_playing = false;
        if watching.complete {
            return self.end(exit::DONE, io);
        }
        if let Some(play) = watching.plays.first() {
            io.tell(UiEvent::PlayerEnded { player: player.name(), name: play.name.clone() });
        }
    }

    /// What was to be done once is done. True where somebody still watches it.
    pub(super) fn goes_on_playing(&mut self) -> bool {
        if !matches!(self.options.task, Task::Once(Command::Play(_))) {
            return false;
        }
        self.watching.complete = true;
        self.watching.player.is_none() || self.watching.is_playing
    }

    /// A player has come. Some leave their links open when they seek: where there are too many, the one that asked longest ago makes way.
    pub(super) fn player_came(&mut self, id: ConnId, io: &mut Io<'_>) {
        if self.watching.watchers.values().filter(|watcher| !watcher.gone).count()
            >= limits::PLAYERS
            && let Some((oldest, watcher)) = self
                .watching
                .watchers
                .iter_mut()
                .filter(|(_, watcher)| !watcher.gone)
                .min_by_key(|(_, watcher)| watcher.number)
        {
            watcher.gone = true;
            if let Some(link) = io.connection(*oldest) {
                link.drop_now();
            }
        }
        let now = io.now;
        let (Some(link), Some(port)) = (io.connection(id), self.watching.port) else { return };
        let mut playing = PlayerConnection::new(port, now);
        link.is_own = true;
        link.max_header = limits::HEADER_BYTES + 1;
        link.deadline = playing.deadline(&link.recv_buffer, false, now);
        self.watching.requests += 1;
        let watcher = Watcher {
            playing,
            number: self.watching.requests,
            asked: None,
            ended: false,
            gone: false,
        };
        self.owners.insert(id, ConnOwner::Player);
        self.watching.watchers.insert(id, watcher);
    }

    /// A player will send no more: it gets what is here. Whoever has nothing to wait for but missing pieces is gone.
    pub(super) fn player_ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        if let Some(watcher) = self.watching.watchers.get_mut(&id) {
            watcher.ended = true;
        }
        self.serve_player(id, io);
    }

    /// The link of a player is gone.
    pub(super) fn player_gone(&mut self, id: ConnId) {
        self.watching.watchers.remove(&id);
    }

    /// Reads what a player asks for, and hands out what is here of it.
    pub(super) fn serve_player(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        for _ in 0..limits::SERVICE_REQUESTS {
            if !self.give(id, io) {
                break;
            }
            let (Some(watcher), Some(link)) =
                (self.watching.watchers.get_mut(&id), io.connection(id))
            else {
                return;
            };
            match watcher.playing.step(&mut link.recv_buffer, &mut link.send_queue) {
                PlayerStep::Wait => break,
                PlayerStep::Again => {}
                PlayerStep::Asked(path) => match find(&self.watching.plays, &path) {
                    Some(play) => {
                        self.watching.requests += 1;
                        watcher.number = self.watching.requests;
                        watcher.asked = Some(RangeRequest {
                            secret: play.secret.clone(),
                            left: None,
                            starves: false,
                        });
                    }
                    None => watcher.playing.refuse(
                        &ErrorReply::new(ErrorCode::NotFound, "no such file here"),
                        &mut link.send_queue,
                    ),
                },
            }
        }
        let (Some(watcher), Some(link)) = (self.watching.watchers.get_mut(&id), io.connection(id))
        else {
            return;
        };
        let busy = watcher.asked.is_some();
        link.deadline = watcher.playing.deadline(&link.recv_buffer, busy, now);
        link.idle_timeout = (!busy && link.send_queue.is_empty()).then_some(limits::HTTP_IDLE);
        match &watcher.asked {
            // Perhaps nobody is there any more, and nothing may come for very long.
            Some(asked) if watcher.ended && asked.starves => link.drop_now(),
            None if watcher.playing.is_over()
                || (watcher.ended && link.recv_buffer.header().is_empty()) =>
            {
                link.finish()
            }
            _ => {}
        }
    }

    /// Hands out what is here of what was asked on this link. True when nothing more is asked.
    fn give(&mut self, id: ConnId, io: &mut Io<'_>) -> bool {
        let Some(watcher) = self.watching.watchers.get_mut(&id) else { return false };
        let Some(asked) = &mut watcher.asked else { return true };
        let play = self.watching.plays.iter().find(|play| play.secret == asked.secret);
        let Some(link) = io.connection(id) else { return false };
        let Some(play) = play else {
            // Its download came to nothing.
            link.drop_now();
            return false;
        };
        asked.starves = true;
        let Some(Opened { source, size, tag }) = &play.file else { return false };
        let (mut left, version) = match asked.left {
            Some(left) => left,
            None => match watcher.playing.begin(&play.name, *size, *tag, &mut link.send_queue) {
                Some(range) => (range, play.version),
                None => {
                    watcher.asked = None;
                    return true;
                }
            },
        };
        if version != play.version {
            // What was begun is of another file.
            link.drop_now();
            return false;
        }
        while !left.is_empty() && link.send_queue.file_waiting() < limits::PLAY_QUEUE_BYTES {
            let front = play.front(left);
            if front == 0 {
                break;
            }
            link.send_queue.push_file(source.clone(), left.take(front));
        }
        asked.starves = !left.is_empty() && play.front(left) == 0;
        asked.left = Some((left, version));
        if left.is_empty() {
            watcher.asked = None;
        }
        left.is_empty()
    }

    /// Something has moved: looks what is here now, gives it to those who wait for it, and says what is wanted next.
    pub(super) fn watch_on(&mut self, io: &mut Io<'_>) {
        // Of what came to nothing somebody may still wait to hear.
        if (self.watching.plays.is_empty() && self.watching.watchers.is_empty())
            || self.ending.is_some()
        {
            return;
        }
        self.look_at_plays(io);
        let watching = &self.watching;
        let can_go_on = |asked: &RangeRequest| match (watching.play(&asked.secret), asked.left) {
            (None, _) => true,
            (Some(play), None) => play.file.is_some(),
            (Some(play), Some((left, version))) => version != play.version || play.front(left) > 0,
        };
        let fed = |watcher: &Watcher| {
            watcher.asked.as_ref().is_some_and(|asked| asked.starves && can_go_on(asked))
        };
        let hungry: Vec<ConnId> = watching
            .watchers
            .iter()
            .filter(|(_, watcher)| fed(watcher))
            .map(|(id, _)| *id)
            .collect();
        for id in hungry {
            self.serve_player(id, io);
        }
        self.say_what_is_wanted(io);
    }

    /// Looks what downloads show now.
    fn look_at_plays(&mut self, io: &mut Io<'_>) {
        for play in &mut self.watching.plays {
            let Some(id) = play.download else { continue };
            let shown = self.downloads.view(id);
            let is_same = match (&play.shown, &shown) {
                (None, None) => true,
                (Some(before), Some((now, _))) => before.is(now),
                _ => false,
            };
            if !is_same {
                play.version += 1;
                (play.file, play.wants) = (None, None);
            }
            let Some((shown, judged)) = shown else {
                play.shown = None;
                continue;
            };
            if !judged && !std::mem::replace(&mut play.is_doubted, true) {
                io.tell(UiEvent::Unproven(play.name.clone()));
            }
            if let (None, Some(size)) = (&play.file, shown.size()) {
                let source = shown.source().or_else(|| {
                    self.library.open_finished(&play.name).ok().map(|opened| opened.source)
                });
                // Two files that follow each other under one path are told apart by their number.
                let tag = FileVersion(size.rotate_left(32) ^ (id << 8) ^ play.version);
                play.file = source.map(|source| Opened { source, size, tag });
            }
            play.shown = Some(shown);
        }
    }

    /// Tells downloads what those who watch them want first.
    fn say_what_is_wanted(&mut self, io: &mut Io<'_>) {
        let mut news = Vec::new();
        for play in &mut self.watching.plays {
            let (Some(id), Some(PlayerView::Pieces(part))) = (play.download, &play.shown) else {
                continue;
            };
            let asked = self
                .watching
                .watchers
                .values()
                .filter(|watcher| !watcher.gone)
                .filter_map(|watcher| Some((watcher.number, watcher.asked.as_ref()?)));
            let asked = asked.filter(|(_, asked)| asked.secret == play.secret);
            let mut readers: Vec<(u64, Reader)> = asked
                .filter_map(|(number, asked)| {
                    Some((number, Reader { at: asked.left?.0.start(), starves: asked.starves }))
                })
                .collect();
            if readers.is_empty() {
                continue;
            }
            readers.sort_unstable_by_key(|(number, _)| std::cmp::Reverse(*number));
            let readers: Vec<Reader> = readers.into_iter().map(|(_, reader)| reader).collect();
            let wants = {
                let plan = part.picker();
                Priorities::of_readers(part.size(), &readers, |piece| plan.held().has(piece))
            };
            if play.wants.as_ref() != Some(&wants) {
                play.wants = Some(wants.clone());
                news.push((id, wants));
            }
        }
        for (id, wants) in news {
            if let Some(ended) = self.downloads.watch(id, wants, &self.library, io) {
                self.download_ended(ended, io);
            }
        }
    }

    /// The download that was to get this name is over: whoever watches it goes on with the file, or hears no more.
    pub(super) fn watched_ended(&mut self, id: u64, name: &RelativeName, well: bool) {
        let library = &self.library;
        self.watching.plays.retain_mut(|play| {
            if play.download != Some(id) {
                return true;
            }
            (play.download, play.shown) = (None, None);
            if play.file.is_none() && well {
                play.file = library.open_finished(name).ok();
            }
            // What can't be opened is not waited for either.
            well && play.file.is_some()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_range_without_an_end_no_more_is_looked_at_than_goes_out_at_once() {
        let name = RelativeName::new("a").unwrap();
        let play = Play {
            secret: String::new(),
            name,
            download: None,
            shown: None,
            file: None,
            version: 0,
            is_told: true,
            is_doubted: false,
            wants: None,
        };
        assert_eq!(play.front(ByteRange::new(7, 1 << 40).unwrap()), limits::PLAY_QUEUE_BYTES);
        assert_eq!(play.front(ByteRange::new(7, 9).unwrap()), 9);
    }
}
