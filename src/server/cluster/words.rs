//! Searches by words or filters, of all servers: first the own files, then the names of others.
//!
//! Each name is a question to the engine, as in a search by name. A search has many questions in
//! flight, and takes the answers in the order of the names.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::command::EngineFailure;
use crate::cluster::ids::{MemberId, of_order, order_of};
use crate::cluster::search::{HolderPage, cursor_behind};
use crate::index::foreign_search::{ForeignName, ForeignNames, ForeignStep, ORDERED_NAMES};
use crate::index::text_search::SearchProgress;
use crate::index::{Page, Viewer};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::{ErrorCode, ErrorReply};
use crate::protocol::request::Selector;
use crate::protocol::response::Provider;
use crate::protocol::types::relative_path::RelativeName;
use crate::server::Server;
use crate::server::cluster::budget::IterationBudget;
use crate::server::cluster::search::remote;
use crate::server::cluster::{ClusterAsk, ServerCluster};
use crate::server::search::too_much;

/// Questions of a search in flight: the pipes to all nodes stay full.
const WINDOW: usize = 128;
/// Questions of all searches in flight: half of a connection to a node.
const QUESTIONS: usize = 2_048;
/// Searches under way, others wait: each holds up to [`ORDERED_NAMES`] names.
const ACTIVE: usize = 16;
/// Names an iteration that are learned: a part of a millisecond.
const LEARN: usize = 256;
/// The interval of the looks at old names, and of other regular work.
const SWEEP_EVERY: Duration = Duration::from_millis(250);
/// Names of a look: some hundred microseconds of the engine.
const SWEEP_NAMES: usize = 128;
/// Places of the table that a look passes.
const SWEEP_LOOKS: u32 = 4_096;
/// A name is not looked at, nor forgotten, so long after it was announced: the entry may be on its
/// way to the engine.
const YOUNG_SECONDS: u32 = 60;
/// Looks begin anew so long after all names were looked at.
const SWEEP_PAUSE: Duration = Duration::from_secs(60);

/// A question of a search: its number, and that of the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WordPlace {
    search: u64,
    question: u64,
}

/// The searches by words under way.
pub(super) struct WordSearches {
    /// Begins the cursors of this server.
    tag: u64,
    active: BTreeMap<u64, WordSearch>,
    waiting: VecDeque<WordSearch>,
    last: u64,
    questions: usize,
    /// A search has names to look for.
    has_work: bool,
    sweep: NameSweep,
    /// Names that this iteration may still learn.
    learning: IterationBudget,
    /// Bytes of text that searches may still scan in this iteration.
    scanning: IterationBudget,
}

/// The looks at names without a file.
#[derive(Default)]
struct NameSweep {
    /// The time of the first call: seconds of names count from here.
    since: Option<Instant>,
    next_at: Option<Instant>,
    place: u32,
    asked: usize,
}

/// A search whose own part has ended.
pub(in crate::server) struct WordSearch {
    conn: ConnId,
    request_id: Option<u64>,
    search: SearchProgress,
    names: ForeignNames,
    viewer: Viewer,
    until: Instant,
    questions: VecDeque<NameQuestion>,
    last_question: u64,
    /// No name follows.
    has_ended: bool,
    /// Entries so far.
    entries: usize,
    /// Files may be missing.
    incomplete: bool,
}

struct NameQuestion {
    number: u64,
    name: ForeignName,
    /// The entries come in the order of the members.
    is_ordered: bool,
    answer: NameAnswer,
}

enum NameAnswer {
    Asked,
    /// So many records are still to come.
    Records(HolderPage, usize),
    Ready(HolderPage),
    Failed,
}

/// The state of a search after a step.
#[derive(Clone, Copy)]
enum WordStep {
    Waits,
    /// More work is left for the next iteration.
    Busy,
    Done,
    TooMany,
}

impl WordSearches {
    pub(super) fn new(tag: u64) -> WordSearches {
        WordSearches {
            tag: tag >> 32,
            active: BTreeMap::new(),
            waiting: VecDeque::new(),
            last: 0,
            questions: 0,
            has_work: false,
            sweep: NameSweep::default(),
            learning: IterationBudget::new(LEARN),
            scanning: IterationBudget::new(limits::SEARCH_BUDGET),
        }
    }

    /// True while work is left for the next iteration.
    pub(super) fn is_busy(&self) -> bool {
        self.has_work
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let active = self.active.values().map(|search| search.until);
        // The first that waits is the first whose time is up.
        let waiting = self.waiting.front().map(|search| search.until);
        active.chain(waiting).chain(self.sweep.next_at).min()
    }

    /// Drop the searches of a closed connection.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.waiting.retain(|search| search.conn != conn);
        self.active.retain(|_, search| search.conn != conn);
    }

    /// The cursor for a client: good at this server alone.
    fn shown(&self, cursor: &str) -> String {
        format!("{:x}.{cursor}", self.tag)
    }

    fn read(&self, cursor: &str) -> Result<String, ErrorReply> {
        let (tag, rest) = cursor.split_once('.').ok_or_else(ErrorReply::bad_cursor)?;
        let is_own = u64::from_str_radix(tag, 16) == Ok(self.tag);
        is_own.then(|| rest.to_owned()).ok_or_else(ErrorReply::bad_cursor)
    }
}

impl NameSweep {
    /// The present second.
    fn second(&mut self, now: Instant) -> u32 {
        let since = *self.since.get_or_insert(now);
        // From the first second on, names may be old.
        u32::try_from((now - since).as_secs()).unwrap_or(u32::MAX).saturating_add(YOUNG_SECONDS)
    }
}

impl WordSearch {
    pub(in crate::server) fn new(
        conn: ConnId,
        request_id: Option<u64>,
        search: SearchProgress,
        viewer: Viewer,
        until: Instant,
    ) -> WordSearch {
        WordSearch {
            conn,
            request_id,
            names: ForeignNames::new(&search),
            search,
            viewer,
            until,
            questions: VecDeque::new(),
            last_question: 0,
            has_ended: false,
            entries: 0,
            incomplete: false,
        }
    }
}

impl ServerCluster {
    /// Ask for the providers of a name, in the order of the members if `from` is given.
    fn ask_name(
        &mut self,
        number: u64,
        search: &mut WordSearch,
        name: ForeignName,
        cursor: Option<String>,
        now: Instant,
    ) -> NameQuestion {
        search.last_question += 1;
        let place = WordPlace { search: number, question: search.last_question };
        let ticket = self.index.search(&name.key, cursor.as_deref(), false, now);
        self.asked.insert(ticket, ClusterAsk::Word(place));
        self.words.questions += 1;
        let is_ordered = cursor.is_some();
        NameQuestion { number: place.question, name, is_ordered, answer: NameAnswer::Asked }
    }
}

impl Server {
    /// The cursor of a search by words as the index knows it.
    ///
    /// # Errors
    /// `bad_request` for the cursor of another server.
    pub(in crate::server) fn own_cursor(
        &self,
        cursor: Option<&str>,
    ) -> Result<Option<String>, ErrorReply> {
        match (&self.cluster, cursor) {
            (Some(cluster), Some(cursor)) => cluster.words.read(cursor).map(Some),
            (_, cursor) => Ok(cursor.map(str::to_owned)),
        }
    }

    /// A page of a search by words, with its cursor as the client shall see it.
    pub(in crate::server) fn shown_page(&self, page: Page<Provider>) -> Page<Provider> {
        let Page { entries, away, cursor } = page;
        let cursor = match &self.cluster {
            Some(cluster) => cursor.map(|cursor| cluster.words.shown(&cursor)),
            None => cursor,
        };
        Page { entries, away, cursor }
    }

    /// Go on with the files of other servers.
    pub(in crate::server) fn search_others(&mut self, search: WordSearch) {
        if let Some(cluster) = &mut self.cluster {
            cluster.words.waiting.push_back(search);
            cluster.words.has_work = true;
        }
    }

    /// Learn names, go on with searches, and look at old names.
    pub(super) fn drive_words(&mut self, io: &mut Io<'_>) {
        self.learn_names(io.now);
        self.sweep_names(io.now);
        self.end_late_words(io);
        let Some(cluster) = &mut self.cluster else { return };
        if !std::mem::take(&mut cluster.words.has_work) {
            return;
        }
        while cluster.words.active.len() < ACTIVE
            && let Some(mut search) = cluster.words.waiting.pop_front()
        {
            search.incomplete |= !cluster.index.knows_names(io.now);
            cluster.words.last += 1;
            cluster.words.active.insert(cluster.words.last, search);
        }
        let numbers: Vec<u64> = cluster.words.active.keys().copied().collect();
        let left = cluster.words.scanning.left(io.now);
        let mut effort = left;
        for number in numbers {
            let mut slice = effort.min(limits::SEARCH_SLICE);
            effort -= slice;
            self.advance_words(number, &mut slice, io);
            effort += slice;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.words.scanning.spend(left - effort);
        }
    }

    fn learn_names(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let second = cluster.words.sweep.second(now);
        let most = cluster.words.learning.left(now);
        let names = cluster.index.take_names(most);
        cluster.words.learning.spend(names.len());
        for name in names {
            if self.index.learn(&name, second).is_err() {
                return cluster.index.names_overflow(now);
            }
        }
    }

    fn sweep_names(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let sweep = &mut cluster.words.sweep;
        if sweep.next_at.is_some_and(|at| at > now) {
            return;
        }
        sweep.next_at = Some(now + SWEEP_EVERY);
        if sweep.asked > 0 || !cluster.index.may_forget(now) {
            return;
        }
        let before = cluster.words.sweep.second(now) - YOUNG_SECONDS;
        let sweep = &mut cluster.words.sweep;
        let old = self.index.old_names(sweep.place, before, SWEEP_NAMES, SWEEP_LOOKS);
        sweep.place = old.next;
        if old.next == 0 {
            sweep.next_at = Some(now + SWEEP_PAUSE);
        }
        sweep.asked = old.names.len();
        for name in old.names {
            let ticket = cluster.index.search(&Selector::Name(name.clone()), None, false, now);
            cluster.asked.insert(ticket, ClusterAsk::Sweep(name));
        }
    }

    /// The engine has answered for an old name.
    pub(super) fn swept(
        &mut self,
        name: &RelativeName,
        found: Result<HolderPage, EngineFailure>,
        now: Instant,
    ) {
        if let Some(cluster) = &mut self.cluster {
            cluster.words.sweep.asked = cluster.words.sweep.asked.saturating_sub(1);
        }
        if let Ok(page) = found {
            self.forget_name(name, &page, now);
        }
    }

    /// Forget a name if certainly no server has it.
    fn forget_name(&mut self, name: &RelativeName, page: &HolderPage, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let is_empty = page.holders.is_empty() && page.cursor.is_none() && page.is_certain;
        if is_empty && cluster.index.may_forget(now) {
            let second = cluster.words.sweep.second(now);
            self.index.unlearn(name, second - YOUNG_SECONDS);
        }
    }

    fn end_late_words(&mut self, io: &mut Io<'_>) {
        loop {
            let Some(cluster) = &mut self.cluster else { return };
            let words = &mut cluster.words;
            let is_late = |search: &WordSearch| search.until <= io.now;
            let late = if words.waiting.front().is_some_and(is_late) {
                words.waiting.pop_front()
            } else {
                let number = words.active.iter().find(|(_, search)| is_late(search));
                let number = number.map(|(number, _)| *number);
                words.has_work |= number.is_some();
                number.and_then(|number| words.active.remove(&number))
            };
            let Some(WordSearch { conn, request_id, search, names, questions, incomplete, .. }) =
                late
            else {
                return;
            };
            let next = questions.front().map(|question| &question.name);
            let page = self.index.foreign_partial(search, &names, next);
            let answer = match page {
                Some(page) => self.found_answer(self.shown_page(page), incomplete),
                None => Err(too_much()),
            };
            self.decided(conn);
            self.respond_queued(conn, request_id, answer, io);
        }
    }

    /// The engine has answered for a name of a search.
    pub(super) fn word_found(
        &mut self,
        place: WordPlace,
        found: Result<HolderPage, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.words.questions = cluster.words.questions.saturating_sub(1);
        cluster.words.has_work = true;
        let Some(mut search) = cluster.words.active.remove(&place.search) else { return };
        let number = place.question;
        if let Some(at) = search.questions.iter().position(|question| question.number == number) {
            let answer = match found {
                Ok(page) if page.cursor.is_some() && !search.questions[at].is_ordered => {
                    // Many providers: read them in the order of the members.
                    let name = search.questions[at].name.clone();
                    let behind = cursor_behind(of_order(name.from.saturating_sub(1)));
                    let again =
                        cluster.ask_name(place.search, &mut search, name, Some(behind), io.now);
                    search.questions[at] = again;
                    NameAnswer::Asked
                }
                Ok(page) => {
                    let name = search.questions[at].name.clone();
                    let page = self.passing(&mut search, &name, page, io.now);
                    self.word_records(place, page, io.now)
                }
                Err(_) => NameAnswer::Failed,
            };
            search.questions[at].answer = answer;
        }
        if let Some(cluster) = &mut self.cluster {
            cluster.words.active.insert(place.search, search);
        }
    }

    /// The entries of other servers whose files pass the filters.
    fn passing(
        &mut self,
        search: &mut WordSearch,
        name: &ForeignName,
        mut page: HolderPage,
        now: Instant,
    ) -> HolderPage {
        if let Selector::Name(text) = &name.key {
            self.forget_name(text, &page, now);
        }
        let own = self.cluster.as_ref().and_then(|cluster| cluster.index.registry().epoch());
        search.entries += page.holders.len();
        page.holders.retain(|entry| {
            let text = match (&entry.name, &name.key) {
                (Some(text), _) | (None, Selector::Name(text)) => text,
                (None, Selector::Root(_)) => return false,
            };
            let has_root = entry.root.is_some() || entry.name.is_some();
            let (size, partial) = (entry.size, entry.partial);
            Some(MemberId::decode(entry.id).epoch) != own
                && order_of(entry.id) >= name.from
                && self.index.passes_foreign(&search.search, text, size, has_root, partial)
        });
        page.holders.sort_unstable_by_key(|entry| order_of(entry.id));
        page
    }

    fn word_records(&mut self, place: WordPlace, page: HolderPage, now: Instant) -> NameAnswer {
        let Some(cluster) = &mut self.cluster else { return NameAnswer::Failed };
        let mut left = 0;
        for id in cluster.unknown_records(&page, now) {
            let ticket = cluster.index.record(id, now);
            cluster.asked.insert(ticket, ClusterAsk::WordRecord(place, id));
            left += 1;
        }
        if left > 0 { NameAnswer::Records(page, left) } else { NameAnswer::Ready(page) }
    }

    /// A record has come, or could not be read.
    pub(super) fn word_record(&mut self, place: WordPlace) {
        let Some(cluster) = &mut self.cluster else { return };
        cluster.words.has_work = true;
        let Some(search) = cluster.words.active.get_mut(&place.search) else { return };
        let mut questions = search.questions.iter_mut();
        let Some(question) = questions.find(|question| question.number == place.question) else {
            return;
        };
        if let NameAnswer::Records(page, left) = &mut question.answer {
            *left -= 1;
            if *left == 0 {
                let none = HolderPage { holders: Vec::new(), cursor: None, is_certain: false };
                let page = std::mem::replace(page, none);
                question.answer = NameAnswer::Ready(page);
            }
        }
    }

    /// Take the answers of a search, and ask on.
    fn advance_words(&mut self, number: u64, effort: &mut usize, io: &mut Io<'_>) {
        let Some(cluster) = &mut self.cluster else { return };
        let Some(mut search) = cluster.words.active.remove(&number) else { return };
        let step = self.step_words(number, &mut search, effort, io.now);
        let answer = match step {
            WordStep::Waits | WordStep::Busy => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.words.has_work |= matches!(step, WordStep::Busy);
                    cluster.words.active.insert(number, search);
                }
                return;
            }
            WordStep::TooMany => Err(ErrorReply::new(
                ErrorCode::Busy,
                format!("more than {ORDERED_NAMES} files to sort; add a word or a filter"),
            )),
            WordStep::Done => {
                let Some(cluster) = &mut self.cluster else { return };
                let knows = cluster.index.knows_names(io.now);
                let page = self.index.foreign_page(search.search);
                // The last page says whether all were met.
                let incomplete = search.incomplete || page.cursor.is_none() && !knows;
                self.found_answer(self.shown_page(page), incomplete)
            }
        };
        if let Some(cluster) = &mut self.cluster {
            cluster.words.has_work = true;
        }
        self.decided(search.conn);
        self.respond_queued(search.conn, search.request_id, answer, io);
    }

    fn step_words(
        &mut self,
        number: u64,
        search: &mut WordSearch,
        effort: &mut usize,
        now: Instant,
    ) -> WordStep {
        while let Some(first) = search.questions.front() {
            match first.answer {
                NameAnswer::Asked | NameAnswer::Records(..) => break,
                NameAnswer::Failed => {
                    // The engine does not answer now: what was found is the answer.
                    search.incomplete = true;
                    return WordStep::Done;
                }
                NameAnswer::Ready(_) => {
                    let Some(question) = search.questions.pop_front() else { break };
                    if !self.take_answer(number, search, question, now) {
                        return WordStep::Done;
                    }
                    if search.entries > ORDERED_NAMES && search.search.is_in_order() {
                        return WordStep::TooMany;
                    }
                }
            }
        }
        let window = search.search.window(WINDOW);
        if !search.has_ended && search.names.ready() == 0 && *effort > 0 {
            let most = window.saturating_sub(search.questions.len());
            if most == 0 {
                return WordStep::Waits;
            }
            let (progress, names) = (&mut search.search, &mut search.names);
            match self.index.find_foreign(progress, names, most, effort) {
                ForeignStep::TooMany => return WordStep::TooMany,
                ForeignStep::End => search.has_ended = true,
                ForeignStep::More => {}
            }
        }
        let Some(cluster) = &mut self.cluster else { return WordStep::Done };
        while search.questions.len() < window
            && cluster.words.questions < QUESTIONS
            && let Some(name) = search.names.take()
        {
            let question = cluster.ask_name(number, search, name, None, now);
            search.questions.push_back(question);
        }
        match (search.questions.is_empty(), search.names.ready() == 0) {
            (true, true) if search.has_ended => WordStep::Done,
            (true, true) => WordStep::Busy,
            (false, _) => WordStep::Waits,
            // Other searches have all questions: wait for their answers.
            (true, false) => WordStep::Waits,
        }
    }

    /// Take the providers of a name. False when the page is full.
    fn take_answer(
        &mut self,
        number: u64,
        search: &mut WordSearch,
        question: NameQuestion,
        now: Instant,
    ) -> bool {
        let NameQuestion { name, answer, .. } = question;
        let NameAnswer::Ready(HolderPage { holders, cursor, .. }) = answer else { return true };
        for entry in holders {
            let Some(cluster) = &mut self.cluster else { return true };
            let member = order_of(entry.id);
            let about = cluster.about(&entry);
            // The member has left since, or the record could not be read.
            search.incomplete |= about.is_none();
            let found = about.and_then(|about| remote(entry, about, &name.key, &search.viewer));
            if let Some(provider) = found
                && !self.index.offer_foreign(&mut search.search, &name, member, provider)
            {
                return false;
            }
        }
        if let (Some(cursor), Some(cluster)) = (cursor, &mut self.cluster) {
            let question = cluster.ask_name(number, search, name, Some(cursor), now);
            search.questions.push_front(question);
        }
        true
    }
}
