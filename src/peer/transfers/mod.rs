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
        let had_records = !records.is_empty();
        let queue = TransferQueue::restore(records);
        if had_records {
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
        for begun in downloader.take_begun() {
            let state = EntryState::Running(begun.id);
            let is_new = self.queue.of_download(begun.id).is_none();
            if is_new && downloader.facts(begun.id).is_some() {
                let now = (self.seconds)();
                let id = self.queue.add(begun.target, begun.from, now, EntryState::Paused);
                if let Some(id) = id {
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
            let (target, from) = (entry.target.clone(), entry.from);
            if let Some(from) = from {
                let beginning = downloader.begin_from(&target, from, io);
                self.begun(id, beginning, io);
            } else if downloader.seek(&target, None, PendingRequest::Providers(id), io) {
                self.queue.set_state(id, EntryState::Seeking(Vec::new()));
            } else {
                // No server answers now: the next event of the server comes back here.
                return;
            }
        }
    }

    /// A download of the queue has begun, or can't begin.
    fn begun(&mut self, id: u32, beginning: Beginning, io: &mut Io<'_>) {
        let rests = match self.queue.get(id).map(|entry| &entry.state) {
            Some(EntryState::Queued { rests, .. }) => *rests,
            _ => 0,
        };
        match beginning {
            Beginning::Begun(download) => self.queue.set_state(id, EntryState::Running(download)),
            Beginning::NoProvider => self.queue.rest(id, rests, io.now),
            Beginning::Failed(failure) => self.failed(id, &failure),
        }
    }

    fn failed(&mut self, id: u32, failure: &Failure) {
        let why = text::failed(failure, Lang::En);
        let name = self.queue.get(id).map(|entry| queue::shown(&entry.target)).unwrap_or_default();
        log::info!("download failed: {name}: {why}");
        self.queue.set_state(id, EntryState::Failed(why.clone()));
        self.note_past(PastTransfer {
            at: (self.seconds)(),
            end: TransferEnd::Failed,
            name,
            size: None,
            peer: None,
            user: None,
            root: None,
            why: Some(why),
        });
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
            self.queue.set_state(id, EntryState::Queued { rests: 0, until: None });
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
        let Some(end) = &ended.end else { return };
        match (entry, &ended.failure) {
            (Some(id), Some(failure)) => return self.failed(id, failure),
            (Some(id), None) => drop(self.queue.remove(id)),
            (None, _) => {}
        }
        let EndSummary { name, size, from, root, is_folder } = &**end;
        let slash = if *is_folder { "/" } else { "" };
        let why = ended.failure.as_ref().map(|failure| text::failed(failure, Lang::En));
        let past = PastTransfer {
            at: (self.seconds)(),
            end: if why.is_some() { TransferEnd::Failed } else { TransferEnd::Saved },
            name: format!("{name}{slash}"),
            size: *size,
            peer: *from,
            user: None,
            root: root.map(|root| root.to_string()),
            why,
        };
        match &past.why {
            None => log::info!("download saved: {}, {} bytes", past.name, size.unwrap_or(0)),
            Some(why) => log::info!("download failed: {}: {why}", past.name),
        }
        self.note_past(past);
    }

    /// An upload is over.
    pub(crate) fn uploaded(
        &mut self,
        name: &RelativeName,
        to: SocketAddr,
        size: u64,
        user: Option<String>,
    ) {
        log::info!("upload over: {name}, {size} bytes to {to}");
        self.note_past(PastTransfer {
            at: (self.seconds)(),
            end: TransferEnd::Sent,
            name: name.to_string(),
            size: Some(size),
            peer: Some(to),
            user,
            root: None,
            why: None,
        });
    }

    fn note_past(&mut self, past: PastTransfer) {
        self.history.add(past);
    }

    /// The next time to call [`TransferControl::run`].
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.queue.deadline().filter(|_| self.queue.active() < self.jobs)
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
                false => EntryState::Queued { rests: 0, until: None },
            };
            let Some(id) = self.queue.add(target, from, (self.seconds)(), state) else {
                let text = format!("the queue is full: {MOST_ENTRIES} downloads");
                return Err(ErrorReply::new(ErrorCode::TooLarge, text));
            };
            // A download that has failed is tried again.
            if matches!(self.queue.get(id).map(|entry| &entry.state), Some(EntryState::Failed(_))) {
                self.resume(id);
            }
            ids.push(id);
        }
        Ok(ControlAnswer::Changed(self.lines_of(&ids)))
    }

    /// Stop the download of an entry; its bytes stay in the `.part`.
    fn halt(&mut self, id: u32, downloader: &mut Downloader, io: &mut Io<'_>) {
        let Some(entry) = self.queue.get_mut(id) else { return };
        if let EntryState::Running(download) = entry.state {
            if let Some(facts) = downloader.facts(download) {
                (entry.held, entry.size) = (facts.held, facts.size.or(entry.size));
                entry.target.root = entry.target.root.or(facts.root);
            }
            self.meters.remove(&download);
            // The entry leaves the download first, whose end is then no failure.
            self.queue.set_state(id, EntryState::Paused);
            downloader.halt(download, io);
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
                self.queue.set_state(id, EntryState::Queued { rests: 0, until: None });
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
            let Some(entry) = self.queue.remove(id) else { continue };
            let name = queue::shown(&entry.target);
            log::info!("download cancelled: {name}");
            self.note_past(PastTransfer {
                at: (self.seconds)(),
                end: TransferEnd::Cancelled,
                name,
                size: entry.size,
                peer: entry.from,
                user: None,
                root: entry.target.root.map(|root| root.to_string()),
                why: None,
            });
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

    /// All downloads in the order of the queue, then those outside of the queue.
    pub(crate) fn lines(&mut self, downloader: &Downloader, now: Instant) -> Vec<TransferLine> {
        let mut lines = Vec::new();
        let running: Vec<u64> = downloader.running();
        for download in &running {
            let old = |meter: &RateMeter| now.saturating_duration_since(meter.at) > RATE_AGE;
            if self.meters.get(download).is_none_or(old) {
                self.measure(*download, downloader, now);
            }
        }
        for (id, entry) in self.queue.iter() {
            let mut line = line_of(id, entry);
            if let EntryState::Running(download) = entry.state {
                self.fill_in(&mut line, download, downloader);
            }
            lines.push(line);
        }
        for download in running {
            if self.queue.of_download(download).is_none()
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
        EntryState::Queued { rests: 0, .. } => (TransferState::Queued, None),
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
