//! The transfers of a peer under the control of its user: a queue of downloads, limits, blocked
//! requesters, and a history.
//!
//! ```text
//!   control socket, console, page --ControlRequest--> TransferControl --> queue --> Downloader
//!                                 <--ControlAnswer---     '--journal--> state folder
//! ```

pub(crate) mod blocks;
pub(crate) mod control;
#[cfg(test)]
#[path = "../../../tests/support/fake_state_file.rs"]
mod fake_state_file;
mod history;
pub mod journal;
mod queue;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::client::command::DownloadTarget;
use crate::client::downloader::Downloader;
use crate::client::downloader::queued::Beginning;
use crate::client::effect::{EndSummary, EndedDownload};
use crate::client::server_requests::PendingRequest;
use crate::io::schedule::TransferRates;
use crate::node::io::Io;
use crate::peer::transfers::blocks::Blocks;
use crate::peer::transfers::control::ControlConns;
use crate::peer::transfers::history::TransferHistory;
use crate::peer::transfers::journal::{NoStateFile, RecordFile, StateFile};
use crate::peer::transfers::queue::{EntryState, MOST_ENTRIES, QueueEntry, TransferQueue};
use crate::protocol::control::{
    BATCH, ControlAnswer, ControlRequest, PastTransfer, Selection, TransferEnd, TransferLine,
    TransferState, WantedName,
};
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::response::Response;
use crate::protocol::types::relative_path::RelativeName;
use crate::ui::event::Failure;
use crate::ui::lang::Lang;
use crate::ui::text;

/// Providers that are looked at: enough to see every content of a name.
const MOST_SOUGHT: usize = 512;
/// A rate is the mean of at least this long: shorter ones jump with each piece.
const RATE_TIME: Duration = Duration::from_secs(1);
/// A rate older than this is measured anew: a download that stands still has none.
const RATE_AGE: Duration = Duration::from_secs(3);

/// The configuration of the transfers.
pub struct TransferConfig {
    /// The file of the queue.
    pub queue: Box<dyn StateFile>,
    /// The file of past transfers.
    pub history: Box<dyn StateFile>,
    /// The file of blocked requesters.
    pub blocks: Box<dyn StateFile>,
    /// Downloads of the queue at a time.
    pub jobs: usize,
    /// The limits of the rates at the start.
    pub rates: TransferRates,
    /// Seconds since 1970.
    pub seconds: fn() -> u64,
    /// Open the control socket of the network.
    pub has_socket: bool,
}

impl Default for TransferConfig {
    fn default() -> TransferConfig {
        TransferConfig {
            queue: Box::new(NoStateFile),
            history: Box::new(NoStateFile),
            blocks: Box::new(NoStateFile),
            jobs: 4,
            rates: TransferRates::default(),
            seconds: || 0,
            has_socket: false,
        }
    }
}

/// The mean rate of a download in its last second.
#[derive(Clone, Copy, Debug)]
struct RateMeter {
    at: Instant,
    held: u64,
    rate: u64,
}

impl RateMeter {
    fn measure(&mut self, held: u64, now: Instant) {
        let past = now.saturating_duration_since(self.at);
        if past >= RATE_TIME {
            let micros = past.as_micros().max(1);
            let bytes = u128::from(held.saturating_sub(self.held));
            self.rate = u64::try_from(bytes * 1_000_000 / micros).unwrap_or(u64::MAX);
            (self.at, self.held) = (now, held);
        }
    }
}

/// The transfers of a peer.
pub(crate) struct TransferControl {
    queue: TransferQueue,
    journal: RecordFile,
    history: TransferHistory,
    pub(crate) conns: ControlConns,
    meters: BTreeMap<u64, RateMeter>,
    jobs: usize,
    rates: TransferRates,
    seconds: fn() -> u64,
    pub(crate) has_socket: bool,
}

impl TransferControl {
    /// The transfers of the state folder, and the blocked requesters.
    pub(crate) fn open(config: TransferConfig) -> (TransferControl, Blocks) {
        let TransferConfig { queue, history, blocks, jobs, rates, seconds, has_socket } = config;
        let (mut journal, records) = RecordFile::open(queue, "queue");
        let queue = TransferQueue::restore(records);
        if journal.is_torn() {
            journal.replace(&queue.records());
        }
        let transfers = TransferControl {
            queue,
            journal,
            history: TransferHistory::open(history),
            conns: ControlConns::default(),
            meters: BTreeMap::new(),
            jobs,
            rates,
            seconds,
            has_socket,
        };
        (transfers, Blocks::open(blocks))
    }

    /// Limits that were changed elsewhere.
    pub(crate) fn set_rates(&mut self, rates: TransferRates) {
        self.rates = rates;
    }

    /// Begin what may begin, and write what has changed. Called after each event.
    pub(crate) fn run(&mut self, downloader: &mut Downloader, io: &mut Io<'_>) {
        let begun = downloader.take_begun();
        if !begun.is_empty() {
            // A new download replaces one of the same name that has lost its sources.
            for id in self.queue.running_where(|download| downloader.facts(download).is_none()) {
                self.queue.rest(id, io.now);
            }
        }
        for begun in begun {
            let state = EntryState::Running(begun.id);
            let is_new = self.queue.of_download(begun.id).is_none();
            if is_new && downloader.facts(begun.id).is_some() {
                let now = (self.seconds)();
                let id = self.queue.add(begun.target, begun.from, now, EntryState::FRESH);
                if let Some(id) = id {
                    downloader.client.forget_pending(&PendingRequest::Providers(id));
                    self.queue.set_state(id, state);
                }
            }
        }
        // QUIT waits for the downloads that run.
        if !downloader.begins_no_more() {
            self.begin_next(downloader, io);
        }
        self.save();
    }

    /// Write the changes to the disk.
    pub(crate) fn save(&mut self) {
        self.history.save();
        let changes = self.queue.take_changes();
        if !changes.is_empty() {
            self.journal.write(&changes, || self.queue.records());
        }
    }

    fn begin_next(&mut self, downloader: &mut Downloader, io: &mut Io<'_>) {
        while self.queue.active() < self.jobs
            && let Some(id) = self.queue.next(io.now)
        {
            let Some(entry) = self.queue.get(id) else { return };
            if let Some(from) = entry.from {
                let beginning = downloader.begin_from(&entry.target, from, io);
                self.begun(id, beginning, io);
            } else if downloader.seek(&entry.target, None, PendingRequest::Providers(id), io) {
                self.queue.set_state(id, EntryState::Seeking(Vec::new()));
            } else {
                // No server answers now: the next event of the server comes back here.
                return;
            }
        }
    }

    /// A download of the queue has begun, or can't begin.
    fn begun(&mut self, id: u32, beginning: Beginning, io: &mut Io<'_>) {
        match beginning {
            Beginning::Begun(download) => match self.queue.of_download(download) {
                // An entry with another name of this content has begun the download.
                Some(other) if other != id => drop(self.queue.remove(id)),
                _ => self.queue.set_state(id, EntryState::Running(download)),
            },
            Beginning::NoProvider => self.queue.rest(id, io.now),
            Beginning::Failed(failure) => self.failed(id, &failure),
        }
    }

    /// The download of an entry can't begin.
    fn failed(&mut self, id: u32, failure: &Failure) {
        let why = text::failed(failure, Lang::En);
        let past = self.past_of(id, TransferEnd::Failed);
        self.queue.set_state(id, EntryState::Failed(why.clone()));
        self.note_past(past.map(|past| PastTransfer { why: Some(why), ..past }));
    }

    /// The past transfer of an entry, as the queue knows it.
    fn past_of(&self, id: u32, end: TransferEnd) -> Option<PastTransfer> {
        let QueueEntry { target, from, size, .. } = self.queue.get(id)?;
        Some(PastTransfer {
            at: (self.seconds)(),
            end,
            name: queue::shown(target),
            size: *size,
            peer: *from,
            user: None,
            root: target.root.map(|root| root.to_string()),
            why: None,
        })
    }

    /// The server has named providers of an entry, or has refused.
    pub(crate) fn sought(
        &mut self,
        id: u32,
        answer: Result<Response, ErrorReply>,
        downloader: &mut Downloader,
        io: &mut Io<'_>,
    ) {
        let Some(entry) = self.queue.get_mut(id) else { return };
        let target = entry.target.clone();
        let EntryState::Seeking(found) = &mut entry.state else { return };
        let (holders, cursor) = match answer {
            Ok(Response::Found { holders, cursor, .. }) => (holders, cursor),
            Ok(_) => (Vec::new(), None),
            Err(error) => {
                log::debug!("no providers of {}: {}", target.called(), error.text);
                (Vec::new(), None)
            }
        };
        downloader.keep_providers(&target, holders, found);
        if found.len() < MOST_SOUGHT
            && cursor.is_some()
            && downloader.seek(&target, cursor, PendingRequest::Providers(id), io)
        {
            return;
        }
        let found = std::mem::take(found);
        let beginning = downloader.begin_found(&target, found, io);
        self.begun(id, beginning, io);
    }

    /// The session is over: no answer comes.
    pub(crate) fn session_lost(&mut self) {
        for id in self.queue.seeking() {
            self.queue.refresh(id);
        }
    }

    /// A download has moved: measures its rate.
    pub(crate) fn moved(&mut self, download: u64, downloader: &Downloader, now: Instant) {
        let meter = self.meters.get(&download);
        if meter.is_some_and(|meter| now.saturating_duration_since(meter.at) < RATE_TIME) {
            return;
        }
        self.measure(download, downloader, now);
    }

    fn measure(&mut self, download: u64, downloader: &Downloader, now: Instant) {
        let Some(facts) = downloader.facts(download) else { return };
        let held = facts.held;
        let meter = self.meters.entry(download).or_insert(RateMeter { at: now, held, rate: 0 });
        meter.measure(held, now);
    }

    /// A download has ended by itself.
    pub(crate) fn ended(&mut self, ended: &EndedDownload) {
        let meter = self.meters.remove(&ended.id);
        let entry = self.queue.of_download(ended.id);
        if let (Some(entry), Some(meter)) = (entry.and_then(|id| self.queue.get_mut(id)), meter) {
            entry.held = entry.held.max(meter.held);
        }
        let Some(summary) = &ended.end else {
            // The user chooses a content: the choice begins another download of this entry.
            return entry.into_iter().for_each(|id| self.queue.set_state(id, EntryState::Paused));
        };
        let why = ended.failure.as_ref().map(|failure| text::failed(failure, Lang::En));
        let end = if why.is_some() { TransferEnd::Failed } else { TransferEnd::Saved };
        let known = entry.and_then(|id| self.past_of(id, end));
        match (entry, &why) {
            (Some(id), Some(why)) => self.queue.set_state(id, EntryState::Failed(why.clone())),
            (Some(id), None) => drop(self.queue.remove(id)),
            (None, _) => {}
        }
        let EndSummary { name, size, from, root, is_folder } = &**summary;
        let slash = if *is_folder { "/" } else { "" };
        let (root, name) = (root.map(|root| root.to_string()), format!("{name}{slash}"));
        let (at, known) = ((self.seconds)(), known.as_ref());
        self.note_past(Some(PastTransfer {
            at,
            end,
            name,
            size: size.or(known.and_then(|known| known.size)),
            peer: from.or(known.and_then(|known| known.peer)),
            user: None,
            root: root.or(known.and_then(|known| known.root.clone())),
            why,
        }));
    }

    /// An upload is over.
    pub(crate) fn uploaded(
        &mut self,
        name: &RelativeName,
        to: SocketAddr,
        size: u64,
        user: Option<String>,
    ) {
        self.note_past(Some(PastTransfer {
            at: (self.seconds)(),
            end: TransferEnd::Sent,
            name: name.to_string(),
            size: Some(size),
            peer: Some(to),
            user,
            root: None,
            why: None,
        }));
    }

    fn note_past(&mut self, past: Option<PastTransfer>) {
        let Some(past) = past else { return };
        let (name, size) = (&past.name, past.size.unwrap_or(0));
        match past.end {
            TransferEnd::Saved => log::info!("download saved: {name}, {size} bytes"),
            TransferEnd::Failed => {
                log::info!("download failed: {name}: {}", past.why.as_deref().unwrap_or_default());
            }
            TransferEnd::Cancelled => log::info!("download cancelled: {name}"),
            TransferEnd::Sent => {
                let to = past.peer.map(|to| to.to_string()).unwrap_or_default();
                log::info!("upload over: {name}, {size} bytes to {to}");
            }
        }
        self.history.add(past);
    }

    /// The next time to call [`TransferControl::run`].
    pub(crate) fn deadline(&self, downloader: &Downloader) -> Option<Instant> {
        let may_begin = self.queue.active() < self.jobs && !downloader.begins_no_more();
        self.queue.deadline().filter(|_| may_begin)
    }

    /// Carry out a request about downloads or limits. `None`: the request is not about these.
    pub(crate) fn carry_out(
        &mut self,
        request: &ControlRequest,
        downloader: &mut Downloader,
        io: &mut Io<'_>,
    ) -> Option<Result<ControlAnswer, ErrorReply>> {
        let result = match request {
            ControlRequest::Add { wanted, from, paused } => self.add(wanted, *from, *paused),
            ControlRequest::Pause { of } => {
                self.each(of, |transfers, id| transfers.pause(id, downloader, io))
            }
            ControlRequest::Resume { of } => self.each(of, |transfers, id| transfers.resume(id)),
            ControlRequest::Top { of } => {
                // The first one named is the first of all.
                let of = self.select(of).map(|mut ids| {
                    ids.reverse();
                    ids.iter().for_each(|id| self.queue.move_to_front(*id));
                    ids.reverse();
                    ids
                });
                of.map(|ids| ControlAnswer::Changed(self.lines_of(&ids)))
            }
            ControlRequest::Cancel { of } => self.cancel(of, downloader, io),
            ControlRequest::Limit { up, down } => Ok(self.limit(*up, *down, io)),
            ControlRequest::History { most } => {
                Ok(ControlAnswer::History(self.history.last(*most)))
            }
            ControlRequest::Transfers
            | ControlRequest::Block { .. }
            | ControlRequest::Allow { .. }
            | ControlRequest::Blocked => return None,
        };
        // The answer promises that the change is on the disk.
        self.save();
        Some(result)
    }

    fn select(&self, of: &Selection) -> Result<Vec<u32>, ErrorReply> {
        self.queue.select(of).map_err(|word| {
            ErrorReply::new(ErrorCode::NotFound, format!("no download of the queue is {word}"))
        })
    }

    fn each(
        &mut self,
        of: &Selection,
        mut change: impl FnMut(&mut TransferControl, u32),
    ) -> Result<ControlAnswer, ErrorReply> {
        let ids = self.select(of)?;
        ids.iter().for_each(|id| change(self, *id));
        Ok(ControlAnswer::Changed(self.lines_of(&ids)))
    }

    fn add(
        &mut self,
        wanted: &[WantedName],
        from: Option<SocketAddr>,
        paused: bool,
    ) -> Result<ControlAnswer, ErrorReply> {
        if wanted.len() > BATCH {
            let text = format!("a request adds at most {BATCH} names");
            return Err(ErrorReply::new(ErrorCode::TooLarge, text));
        }
        let targets = wanted.iter().map(queue::checked).collect::<Result<Vec<_>, Failure>>();
        let targets: Vec<DownloadTarget> = targets.map_err(|failure| {
            ErrorReply::new(ErrorCode::BadName, text::failed(&failure, Lang::En))
        })?;
        let mut ids = Vec::new();
        for target in targets {
            let state = match paused {
                true => EntryState::Paused,
                false => EntryState::FRESH,
            };
            let Some(id) = self.queue.add(target, from, (self.seconds)(), state) else {
                let text = format!("the queue is full: {MOST_ENTRIES} downloads");
                return Err(ErrorReply::new(ErrorCode::TooLarge, text));
            };
            // A download that has failed is tried again.
            if matches!(self.queue.get(id).map(|entry| &entry.state), Some(EntryState::Failed(_))) {
                match paused {
                    true => self.queue.set_state(id, EntryState::Paused),
                    false => self.resume(id),
                }
            }
            ids.push(id);
        }
        Ok(ControlAnswer::Changed(self.lines_of(&ids)))
    }

    /// Stop the download of an entry; its bytes stay in the `.part`.
    fn halt(&mut self, id: u32, downloader: &mut Downloader, io: &mut Io<'_>) {
        let Some(entry) = self.queue.get_mut(id) else { return };
        match entry.state {
            EntryState::Running(download) => {
                if let Some(facts) = downloader.facts(download) {
                    (entry.held, entry.size) = (facts.held, facts.size.or(entry.size));
                    entry.target.root = entry.target.root.or(facts.root);
                }
                self.meters.remove(&download);
                // The entry leaves the download first, whose end is then no failure.
                self.queue.set_state(id, EntryState::Paused);
                downloader.halt(download, io);
            }
            // The answer may be about another target by then.
            EntryState::Seeking(_) => {
                downloader.client.forget_pending(&PendingRequest::Providers(id));
            }
            EntryState::Queued { .. } | EntryState::Paused | EntryState::Failed(_) => {}
        }
    }

    fn pause(&mut self, id: u32, downloader: &mut Downloader, io: &mut Io<'_>) {
        self.halt(id, downloader, io);
        self.queue.set_state(id, EntryState::Paused);
    }

    fn resume(&mut self, id: u32) {
        let Some(entry) = self.queue.get(id) else { return };
        match entry.state {
            EntryState::Paused | EntryState::Failed(_) | EntryState::Queued { .. } => {
                self.queue.refresh(id);
            }
            EntryState::Seeking(_) | EntryState::Running(_) => {}
        }
    }

    fn cancel(
        &mut self,
        of: &Selection,
        downloader: &mut Downloader,
        io: &mut Io<'_>,
    ) -> Result<ControlAnswer, ErrorReply> {
        let ids = self.select(of)?;
        ids.iter().for_each(|id| self.halt(*id, downloader, io));
        let lines = self.lines_of(&ids);
        for id in ids {
            let past = self.past_of(id, TransferEnd::Cancelled);
            self.queue.remove(id);
            self.note_past(past);
        }
        Ok(ControlAnswer::Changed(lines))
    }

    fn limit(&mut self, up: Option<u64>, down: Option<u64>, io: &mut Io<'_>) -> ControlAnswer {
        let limit = |rate: u64| (rate > 0).then_some(rate);
        if up.is_some() || down.is_some() {
            self.rates = TransferRates {
                upload: up.map_or(self.rates.upload, limit),
                download: down.map_or(self.rates.download, limit),
            };
            io.limit_rates(self.rates);
        }
        ControlAnswer::Limits { up: self.rates.upload, down: self.rates.download }
    }

    /// The limits of the rates.
    pub(crate) fn rates(&self) -> TransferRates {
        self.rates
    }

    fn lines_of(&self, ids: &[u32]) -> Vec<TransferLine> {
        let line = |id: &u32| Some(line_of(*id, self.queue.get(*id)?));
        ids.iter().filter_map(line).collect()
    }

    /// Downloads in the order of the queue, then those outside of the queue: at most `most`.
    pub(crate) fn lines(
        &mut self,
        downloader: &Downloader,
        most: usize,
        now: Instant,
    ) -> Vec<TransferLine> {
        let mut lines = Vec::new();
        let running: Vec<u64> = downloader.running();
        for download in &running {
            let old = |meter: &RateMeter| now.saturating_duration_since(meter.at) > RATE_AGE;
            if self.meters.get(download).is_none_or(old) {
                self.measure(*download, downloader, now);
            }
        }
        for (id, entry) in self.queue.iter().take(most) {
            let mut line = line_of(id, entry);
            if let EntryState::Running(download) = entry.state {
                self.fill_in(&mut line, download, downloader);
            }
            lines.push(line);
        }
        for download in running {
            if lines.len() < most
                && self.queue.of_download(download).is_none()
                && let Some(name) = downloader.name_of(download)
            {
                let mut line = TransferLine {
                    id: None,
                    name: name.to_string(),
                    upload: false,
                    state: TransferState::Active,
                    held: 0,
                    size: None,
                    rate: 0,
                    peer: None,
                    user: None,
                    root: None,
                    added: None,
                    why: None,
                };
                self.fill_in(&mut line, download, downloader);
                lines.push(line);
            }
        }
        lines
    }

    fn fill_in(&self, line: &mut TransferLine, download: u64, downloader: &Downloader) {
        let Some(facts) = downloader.facts(download) else { return };
        (line.held, line.size) = (facts.held, facts.size.or(line.size));
        line.root = line.root.take().or(facts.root.map(|root| root.to_string()));
        line.rate = self.meters.get(&download).map_or(0, |meter| meter.rate);
        if facts.is_lost {
            (line.state, line.rate) = (TransferState::Stalled, 0);
            line.why = Some("no source answers".to_owned());
        }
    }
}

fn line_of(id: u32, entry: &QueueEntry) -> TransferLine {
    let (state, why) = match &entry.state {
        EntryState::Queued { .. } if entry.rests == 0 => (TransferState::Queued, None),
        EntryState::Queued { .. } => (TransferState::Queued, Some("no provider".to_owned())),
        EntryState::Seeking(_) | EntryState::Running(_) => (TransferState::Active, None),
        EntryState::Paused => (TransferState::Paused, None),
        EntryState::Failed(why) => (TransferState::Failed, Some(why.clone())),
    };
    TransferLine {
        id: Some(id),
        name: queue::shown(&entry.target),
        upload: false,
        state,
        held: entry.held,
        size: entry.size,
        rate: 0,
        peer: entry.from,
        user: None,
        root: entry.target.root.map(|root| root.to_string()),
        added: Some(entry.added),
        why,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::command::Command;
    use crate::client::config::Task;
    use crate::node::fake_conns::{FakeConns, Heap};
    use crate::node::reconnect::ServiceTarget;
    use crate::node::stats::histogram::Histogram;
    use crate::node::{CloseReason, ConnId, Event, Node as _};
    use crate::peer::Peer;
    use crate::peer::config::PeerConfig;
    use crate::peer::transfers::fake_state_file::FakeStateFile;
    use crate::storage::fs_trait::NoFolder;
    use std::rc::Rc;

    /// A peer without sockets and without a folder, and its server, which answers as the test says.
    struct Stage {
        peer: Peer,
        conns: FakeConns,
        now: Instant,
        server: Option<ConnId>,
    }

    impl Stage {
        fn new() -> Stage {
            let open = Box::new(|_: &str| Ok(Rc::new(NoFolder) as _));
            let mut config = PeerConfig::new(Task::Menu, "folder".into(), open);
            let addresses = vec![SocketAddr::from(([10, 0, 0, 1], 1))];
            config.client.server = ServiceTarget { addresses, key: None, next: None };
            let peer = Peer::new(config).expect("a folder");
            let (conns, now) = (FakeConns::default(), Instant::now());
            let mut stage = Stage { peer, conns, now, server: None };
            stage.tell(Event::Start);
            stage
        }

        /// A peer whose server has opened.
        fn open() -> Stage {
            let mut stage = Stage::new();
            stage.with_io(|peer, io| peer.downloader.client.server.want(io));
            let server = stage.conns.opened.pop().expect("a connection").0;
            stage.server = Some(server);
            stage.tell(Event::Connected(server));
            stage.say(
                "{\"cardume\":1,\"role\":\"server\",\"you\":\"10.0.0.9:1\",\"heartbeat_ms\":20000}",
            );
            assert!(stage.peer.downloader.client.server.is_open());
            stage.asked();
            stage
        }

        fn with_io<T>(&mut self, act: impl FnOnce(&mut Peer, &mut Io<'_>) -> T) -> T {
            let mut io = Io {
                now: self.now,
                table: &mut self.conns,
                actions: &mut Vec::new(),
                random: &mut || [0; 16],
                iteration_times: &Histogram::default(),
                date: &String::new,
            };
            act(&mut self.peer, &mut io)
        }

        fn tell(&mut self, event: Event) {
            self.with_io(|peer, io| peer.handle(event, io));
        }

        /// The server sends a line.
        fn say(&mut self, line: &str) {
            let server = self.server.expect("a server");
            let conn = self.conns.get(server).expect("a connection");
            conn.recv_buffer.take(format!("{line}\n").as_bytes()).expect("room");
            self.tell(Event::Received(server));
        }

        /// The numbers of the searches that the server was sent since the last call.
        fn asked(&mut self) -> Vec<u64> {
            let conn = self.conns.get(self.server.expect("a server")).expect("a connection");
            let mut read = Heap::default();
            let _ = conn.send_queue.write_to(&mut read, usize::MAX, false, self.now);
            let lines = read.0.split(|byte| *byte == b'\n').filter_map(|line| {
                let line: serde_json::Value = serde_json::from_slice(line).ok()?;
                (line["method"] == "SEARCH").then(|| line["id"].as_u64()).flatten()
            });
            lines.collect()
        }

        /// The server names a provider of a file, or none.
        fn answer(&mut self, id: u64, name: Option<&str>) {
            let holder = name.map_or(String::new(), |name| {
                format!(
                    "{{\"peer\":\"10.0.0.2:1\",\"name\":\"{name}\",\"size\":9,\"root\":\"{}\"}}",
                    root().trim_start_matches("b3:")
                )
            });
            self.say(&format!(
                "{{\"id\":{id},\"status\":\"SEARCH_OK\",\"holders\":[{holder}],\"cursor\":null}}"
            ));
        }

        /// The user asks, and the loop goes on.
        fn ask(&mut self, request: &ControlRequest) -> Vec<TransferLine> {
            let answer = self.with_io(|peer, io| peer.carry_out(request, io));
            self.tell(Event::Deadline);
            match answer {
                Ok(ControlAnswer::Changed(lines)) => lines,
                other => panic!("{other:?}"),
            }
        }

        fn add(&mut self, text: &str, from: Option<u16>, paused: bool) -> u32 {
            let from = from.map(self::from);
            let wanted = WantedName::from(&DownloadTarget::read(text).expect("a target"));
            let lines = self.ask(&ControlRequest::Add { wanted: vec![wanted], from, paused });
            lines[0].id.expect("a number")
        }

        /// Name and state of each entry of the queue.
        fn states(&self) -> Vec<(String, &'static str)> {
            let state = |entry: &QueueEntry| match entry.state {
                EntryState::Queued { until: None } => "queued",
                EntryState::Queued { .. } => "rests",
                EntryState::Seeking(_) => "seeks",
                EntryState::Running(_) => "runs",
                EntryState::Paused => "paused",
                EntryState::Failed(_) => "failed",
            };
            let queue = &self.peer.transfers.queue;
            queue.iter().map(|(_, entry)| (queue::shown(&entry.target), state(entry))).collect()
        }

        fn is(&self, states: &[(&str, &'static str)]) {
            let states = states.iter().map(|(name, state)| ((*name).to_owned(), *state));
            assert_eq!(self.states(), states.collect::<Vec<_>>());
        }

        fn pass(&mut self, time: Duration) {
            self.now += time;
            self.tell(Event::Deadline);
        }

        fn deadline(&self) -> Option<Duration> {
            let at = self.peer.transfers.deadline(&self.peer.downloader);
            at.map(|at| at.saturating_duration_since(self.now))
        }
    }

    fn from(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 3], port))
    }

    fn root() -> String {
        format!("b3:{}", "61".repeat(32))
    }

    fn words(word: &str) -> Selection {
        Selection::Words(vec![word.to_owned()])
    }

    #[test]
    fn a_good_queue_file_is_not_written_at_the_start() {
        let file = FakeStateFile::default();
        let open = || {
            let queue = Box::new(file.clone());
            TransferControl::open(TransferConfig { queue, ..TransferConfig::default() }).0
        };
        let mut transfers = open();
        let target = DownloadTarget::read("a.mp4").expect("a target");
        let id = transfers.queue.add(target, None, 0, EntryState::FRESH).expect("room");
        transfers.save();
        transfers.queue.set_state(id, EntryState::Paused);
        transfers.save();
        let whole = file.bytes.borrow().clone();
        let lines = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'\n').count();
        assert_eq!(lines(&whole), 2);
        open().save();
        assert_eq!(*file.bytes.borrow(), whole);
        // Damage is repaired at once.
        file.bytes.borrow_mut().push(b'x');
        drop(open());
        assert_eq!(lines(&file.bytes.borrow()), 1);
        assert!(file.bytes.borrow().ends_with(b"\n"));
    }

    #[test]
    fn an_answer_about_a_cancelled_entry_begins_no_other_one() {
        let mut stage = Stage::open();
        stage.add("a.mp4", None, false);
        let about_a = stage.asked();
        stage.ask(&ControlRequest::Cancel { of: words("a.mp4") });
        stage.add("b.mp4", None, false);
        let about_b = stage.asked();
        assert_eq!((about_a.len(), about_b.len()), (1, 1));
        stage.answer(about_a[0], Some("a.mp4"));
        stage.is(&[("b.mp4", "seeks")]);
        stage.answer(about_b[0], Some("b.mp4"));
        stage.is(&[("b.mp4", "runs")]);
    }

    #[test]
    fn an_answer_from_before_a_pause_is_no_answer_to_the_next_search() {
        let mut stage = Stage::open();
        stage.add("a.mp4", None, false);
        let first = stage.asked();
        stage.ask(&ControlRequest::Pause { of: Selection::All });
        stage.ask(&ControlRequest::Resume { of: Selection::All });
        let second = stage.asked();
        stage.answer(first[0], Some("a.mp4"));
        stage.is(&[("a.mp4", "seeks")]);
        stage.answer(second[0], Some("a.mp4"));
        stage.is(&[("a.mp4", "runs")]);
    }

    #[test]
    fn rests_grow_from_search_to_search_until_the_session_is_lost() {
        let mut stage = Stage::open();
        stage.add("a.mp4", None, false);
        for seconds in [15, 30, 60] {
            let asked = stage.asked();
            stage.answer(asked[0], None);
            let rest = Duration::from_secs(seconds);
            assert_eq!(stage.deadline(), Some(rest));
            stage.pass(rest);
        }
        stage.is(&[("a.mp4", "seeks")]);
        stage.peer.transfers.session_lost();
        stage.tell(Event::Deadline);
        let asked = stage.asked();
        stage.answer(asked[1], None);
        assert_eq!(stage.deadline(), Some(Duration::from_secs(15)));
    }

    #[test]
    fn a_peer_that_quits_has_no_time_for_its_queue() {
        let mut stage = Stage::open();
        stage.add("a.mp4", None, false);
        let asked = stage.asked();
        stage.answer(asked[0], None);
        assert!(stage.deadline().is_some());
        stage.with_io(|peer, io| peer.downloader.client.run(Command::Quit, io));
        assert!(stage.peer.downloader.begins_no_more());
        assert_eq!(stage.deadline(), None);
    }

    #[test]
    fn two_entries_of_one_content_are_one_download() {
        let mut stage = Stage::open();
        stage.add("a.mp4", None, false);
        let about_name = stage.asked();
        stage.answer(about_name[0], Some("a.mp4"));
        stage.add(&root(), None, false);
        // The download asks for sources of its own.
        let about_root = stage.asked();
        about_root.iter().for_each(|id| stage.answer(*id, Some("a.mp4")));
        stage.is(&[("a.mp4", "runs")]);
        assert_eq!(stage.peer.transfers.queue.active(), 1);
    }

    #[test]
    fn an_entry_whose_download_was_replaced_does_not_run() {
        let mut stage = Stage::open();
        stage.add(&root(), None, false);
        let about_root = stage.asked();
        stage.answer(about_root[0], Some("a.mp4"));
        let lost = *stage.peer.downloader.running().first().expect("a download");
        let is_lost = |stage: &Stage| stage.peer.downloader.facts(lost).is_some_and(|f| f.is_lost);
        while !is_lost(&stage) {
            let (source, _) = stage.conns.opened.pop().expect("a connection to a source");
            stage.tell(Event::Closed(source, CloseReason::Remote));
        }
        stage.add("a.mp4", Some(1), false);
        stage.tell(Event::Deadline);
        stage.is(&[(&root(), "rests"), ("a.mp4", "runs")]);
    }

    #[test]
    fn a_failed_entry_that_is_added_again_waits_if_the_user_says_so() {
        let mut stage = Stage::open();
        // No peer shares hidden files.
        stage.add(".dark/", Some(1), false);
        stage.is(&[(".dark/", "failed")]);
        stage.add(".dark/", Some(1), true);
        stage.is(&[(".dark/", "paused")]);
        // The history has what the queue knows.
        let past = stage.peer.transfers.history.last(1);
        assert_eq!((past[0].end, past[0].peer), (TransferEnd::Failed, Some(from(1))));
    }

    #[test]
    fn a_folder_of_which_the_user_chooses_a_content_does_not_run() {
        let mut stage = Stage::open();
        stage.add("Dark/", Some(1), false);
        stage.is(&[("Dark/", "runs")]);
        let id = *stage.peer.downloader.running().first().expect("a download");
        let (failure, saved, withdrawn, end) = (None, None, None, None);
        stage.peer.transfers.ended(&EndedDownload { id, failure, saved, withdrawn, end });
        stage.is(&[("Dark/", "paused")]);
    }
}
