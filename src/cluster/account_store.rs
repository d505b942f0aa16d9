//! Users and publications on an engine, for a server: questions and writes with a ticket.
//!
//! Pure, as [`crate::cluster::service`]. The accounts have connections and a secret of their own:
//! the engine may be another one, and what stands there is no copy of anything.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::account_entry::{ListedUser, PublicationEntry};
use crate::cluster::account_read::{AccountFound, AccountRead};
use crate::cluster::account_start::{AccountStart, StartAsk};
use crate::cluster::command::{EngineFailure, EngineOutcome, EngineRequest, EngineToken};
use crate::cluster::durable::{AccountKeys, DurableWrite, WriteResult};
use crate::cluster::engine::{Engine, QUESTION_TIMEOUT};
use crate::cluster::engine_user::EngineUser;
use crate::cluster::keys::Keys;
use crate::cluster::resp::Reply;
use crate::cluster::service::ClusterOptions;
use crate::io::split_mix::SplitMix64;
use crate::protocol::types::account::{Published, UserName};

/// Durable writes on their way. Each waits for a replica behind the writes before it on the same
/// connection, and none may wait so long that its reply counts as late.
const WRITES: usize = 256;
/// Questions that wait: about a second of the writes of a slow engine.
const WAITING: usize = 8_192;
/// The pause before the start of the accounts is tried again.
const START_AGAIN: Duration = Duration::from_millis(500);

/// Identifies a question about accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AccountTicket(pub u64);

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccountAnswer {
    /// Of [`AccountStore::read`].
    Found(Result<AccountFound, EngineFailure>),
    /// Of [`AccountStore::write`].
    Written(Result<WriteResult, EngineFailure>),
}

/// A write, before the keys are known.
pub type MakeWrite = Box<dyn Fn(AccountKeys<'_>) -> DurableWrite>;

enum AccountTask {
    /// A look at a mark, or the write of a mark.
    Start(Option<Box<DurableWrite>>),
    /// A look whether there are accounts now, for a read.
    Idle(AccountTicket, Box<AccountRead>),
    Read(AccountTicket, Box<AccountRead>),
    Write(AccountTicket, Box<DurableWrite>),
    /// A request without an interesting result.
    Loose,
}

/// A question that waits for the start of the accounts, or for other writes.
enum WaitingQuestion {
    Read(Box<AccountRead>),
    Write(MakeWrite),
}

/// Counters, for a display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountCounters {
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
    /// Questions without an answer.
    pub failures: u64,
}

/// A look for the first account counts for so long. A search that finds providers meanwhile does not
/// show the first publication of all.
const NONE_FOR: Duration = Duration::from_secs(1);

/// The accounts of an engine.
pub struct AccountStore {
    engine: Engine,
    keys: Keys,
    start: AccountStart,
    start_at: Option<Instant>,
    random: SplitMix64,
    tasks: BTreeMap<EngineToken, AccountTask>,
    last_token: u64,
    last_ticket: u64,
    /// Writes on their way.
    writes: usize,
    waiting: VecDeque<(AccountTicket, WaitingQuestion, Instant)>,
    answers: VecDeque<(AccountTicket, AccountAnswer)>,
    counters: AccountCounters,
    /// When a look has last found an engine that never had an account.
    none_at: Option<Instant>,
}

impl AccountStore {
    /// Accounts without a connection; [`AccountStore::on_time`] begins.
    #[must_use]
    pub fn new(options: &ClusterOptions) -> AccountStore {
        let keys = Keys::new(&options.prefix, options.secret).with_slots(options.slots);
        AccountStore {
            engine: Engine::new(options.engine.clone()),
            start: AccountStart::new(&keys, options.secret),
            start_at: None,
            keys,
            random: SplitMix64::new(options.engine.random ^ 0x0061_6363_6f75_6e74),
            tasks: BTreeMap::new(),
            last_token: 0,
            last_ticket: 0,
            writes: 0,
            waiting: VecDeque::new(),
            answers: VecDeque::new(),
            counters: AccountCounters::default(),
            none_at: None,
        }
    }

    /// A number for a new value.
    pub fn nonce(&mut self) -> [u8; 8] {
        self.random.bits().to_be_bytes()
    }

    /// Read.
    pub fn read(&mut self, read: AccountRead, now: Instant) -> AccountTicket {
        self.counters.reads += 1;
        let ticket = self.ticket();
        if self.start.is_ready() {
            self.send_read(ticket, Box::new(read), now);
        } else if self.start.is_idle() {
            let request = AccountStart::look(self.start.first_slot(), &self.keys);
            self.ask(AccountTask::Idle(ticket, Box::new(read)), request, now);
        } else {
            self.wait(ticket, WaitingQuestion::Read(Box::new(read)), now);
        }
        ticket
    }

    /// Write.
    pub fn write(&mut self, make: MakeWrite, now: Instant) -> AccountTicket {
        self.counters.writes += 1;
        let ticket = self.ticket();
        if self.start.is_ready() && self.writes < WRITES {
            self.send_write(ticket, &make, now);
        } else {
            self.wait(ticket, WaitingQuestion::Write(make), now);
            // The first user of an engine begins the accounts.
            self.settle(now);
        }
        ticket
    }

    /// Remove an entry of the list of a file. A lost removal does no harm: readers check entries.
    pub fn drop_publisher(&mut self, file: &Published, entry: &[u8], now: Instant) {
        if self.start.is_ready() {
            let key = self.keys.publishers(file);
            let request = EngineRequest::new(&key).command(&[b"ZREM", &key, entry]);
            self.ask(AccountTask::Loose, request, now);
        }
    }

    /// Remove an entry of the list of legacy clients, as [`AccountStore::drop_publisher`].
    pub fn drop_legacy_user(&mut self, user: &UserName, entry: &[u8], now: Instant) {
        if self.start.is_ready() {
            let key = self.keys.legacy_users(self.keys.part_of(user.as_bytes()));
            let request = EngineRequest::new(&key).command(&[b"ZREM", &key, entry]);
            self.ask(AccountTask::Loose, request, now);
        }
    }

    /// Remove a publication of a removed account, from the list of its file first.
    pub fn drop_removed_publication(
        &mut self,
        user: &UserName,
        nonce: [u8; 8],
        entry: &PublicationEntry,
        now: Instant,
    ) {
        let listed = ListedUser { user: user.clone(), nonce: entry.nonce };
        self.drop_publisher(&entry.what.file, &listed.encode(), now);
        let key = self.keys.removed(user, nonce);
        let request = EngineRequest::new(&key).command(&[b"ZREM", &key, &entry.encode()]);
        self.ask(AccountTask::Loose, request, now);
    }

    /// The nodes, for a display and for the checks at the start.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The counters, for a display.
    #[must_use]
    pub fn counters(&self) -> AccountCounters {
        self.counters
    }

    /// Questions that wait, for a display.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// True once the accounts may be used.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.start.is_ready() || self.start.is_idle()
    }

    /// True where the engine has accounts.
    #[must_use]
    pub fn has_accounts(&self) -> bool {
        self.start.is_ready()
    }

    /// True where a look within the last second has found that no account was ever made. Such a
    /// search needs no question for publications.
    #[must_use]
    pub fn had_none(&self, now: Instant) -> bool {
        self.start.is_idle() && self.none_at.is_some_and(|at| at + NONE_FOR > now)
    }

    /// True where the engine has accounts of two origins.
    #[must_use]
    pub fn is_split(&self) -> bool {
        self.start.is_split()
    }

    /// The next answer.
    pub fn next_answer(&mut self) -> Option<(AccountTicket, AccountAnswer)> {
        self.answers.pop_front()
    }

    /// The time of the next call of [`AccountStore::on_time`].
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        let waiting = self.waiting.front().map(|(_, _, until)| *until);
        [self.engine.deadline(), self.start_at, waiting].into_iter().flatten().min()
    }

    /// Do all that is due. The first call begins.
    pub fn on_time(&mut self, now: Instant) {
        self.engine.on_time(now);
        if self.start_at.is_some_and(|at| at <= now) {
            self.start_at = None;
            self.start.again();
        }
        while let Some((_, _, until)) = self.waiting.front()
            && *until <= now
            && let Some((ticket, question, _)) = self.waiting.pop_front()
        {
            let is_read = matches!(question, WaitingQuestion::Read(_));
            self.give_up(ticket, is_read, EngineFailure::Unavailable);
        }
        self.settle(now);
    }

    fn ticket(&mut self) -> AccountTicket {
        self.last_ticket += 1;
        AccountTicket(self.last_ticket)
    }

    fn wait(&mut self, ticket: AccountTicket, question: WaitingQuestion, now: Instant) {
        if self.waiting.len() >= WAITING {
            let is_read = matches!(question, WaitingQuestion::Read(_));
            return self.give_up(ticket, is_read, EngineFailure::Busy);
        }
        self.waiting.push_back((ticket, question, now + QUESTION_TIMEOUT));
    }

    fn give_up(&mut self, ticket: AccountTicket, is_read: bool, why: EngineFailure) {
        self.counters.failures += 1;
        let answer =
            if is_read { AccountAnswer::Found(Err(why)) } else { AccountAnswer::Written(Err(why)) };
        self.answers.push_back((ticket, answer));
    }

    fn send_read(&mut self, ticket: AccountTicket, read: Box<AccountRead>, now: Instant) {
        let request = read.request(&self.keys);
        self.ask(AccountTask::Read(ticket, read), request, now);
    }

    fn send_write(&mut self, ticket: AccountTicket, make: &MakeWrite, now: Instant) {
        let mark = self.start.secret();
        let replicas = self.engine.replicas();
        let write = make(AccountKeys { keys: &self.keys, mark: &mark, replicas });
        let request = write.request.clone();
        self.writes += 1;
        self.ask(AccountTask::Write(ticket, Box::new(write)), request, now);
    }

    fn ask(&mut self, task: AccountTask, request: EngineRequest, now: Instant) {
        self.last_token += 1;
        let token = EngineToken(self.last_token);
        self.tasks.insert(token, task);
        if let Err(failure) = self.engine.ask(token, request, now) {
            self.answered(token, Err(failure), now);
        }
    }

    fn started(&mut self, now: Instant) {
        if self.start.is_ready() {
            self.keys.set_secret(self.start.secret());
        } else if self.start_at.is_none() && (self.start.has_failed() || self.start.is_idle()) {
            self.start_at = Some(now + START_AGAIN);
        }
    }

    fn begin(&mut self, now: Instant) {
        while let Some(ask) = self.start.next_ask() {
            match ask {
                StartAsk::Look(slot) => {
                    let request = AccountStart::look(slot, &self.keys);
                    self.ask(AccountTask::Start(None), request, now);
                }
                StartAsk::Mark(slot) => {
                    let (mark, replicas) = (self.start.secret(), self.engine.replicas());
                    let keys = AccountKeys { keys: &self.keys, mark: &mark, replicas };
                    let write = keys.mark(slot);
                    let request = write.request.clone();
                    self.ask(AccountTask::Start(Some(Box::new(write))), request, now);
                }
            }
        }
    }
}

impl EngineUser for AccountStore {
    fn engine_mut(&mut self) -> &mut Engine {
        &mut self.engine
    }

    fn answered(&mut self, token: EngineToken, outcome: EngineOutcome<'_>, now: Instant) {
        match self.tasks.remove(&token) {
            None | Some(AccountTask::Loose) => {}
            Some(AccountTask::Start(write)) => {
                match write {
                    Some(write) => self.start.marked(write.result(outcome)),
                    None => self.start.looked(outcome),
                }
                self.started(now);
            }
            Some(AccountTask::Idle(ticket, read)) => {
                match outcome.map(|replies| replies.last_reply()) {
                    Ok(Reply::Nil) => {
                        self.none_at = Some(now);
                        let found = Ok(read.none());
                        self.answers.push_back((ticket, AccountAnswer::Found(found)));
                    }
                    // There are accounts since the last look.
                    Ok(_) => {
                        self.start.again();
                        self.wait(ticket, WaitingQuestion::Read(read), now);
                    }
                    Err(why) => self.give_up(ticket, true, why),
                }
            }
            Some(AccountTask::Read(ticket, read)) => {
                let found = read.result(outcome, &self.start.secret());
                self.counters.failures += u64::from(found.is_err());
                self.answers.push_back((ticket, AccountAnswer::Found(found)));
            }
            Some(AccountTask::Write(ticket, write)) => {
                self.writes -= 1;
                let written = write.result(outcome);
                self.counters.failures += u64::from(written.is_err());
                self.answers.push_back((ticket, AccountAnswer::Written(written)));
            }
        }
    }

    fn settle(&mut self, now: Instant) {
        while let Some((token, failure)) = self.engine.next_failure() {
            self.answered(token, Err(failure), now);
        }
        let is_write = |(_, question, _): &(_, WaitingQuestion, _)| {
            matches!(question, WaitingQuestion::Write(_))
        };
        if self.start.is_idle() && self.waiting.iter().any(is_write) {
            self.start.begin();
        }
        if !self.start.is_ready() && self.engine.is_ready() {
            self.begin(now);
        }
        if self.start.is_idle() {
            // Reads that have waited for the look.
            for (ticket, question, until) in std::mem::take(&mut self.waiting) {
                match question {
                    WaitingQuestion::Read(read) => {
                        let found = Ok(read.none());
                        self.answers.push_back((ticket, AccountAnswer::Found(found)));
                    }
                    question => self.waiting.push_back((ticket, question, until)),
                }
            }
        }
        if !self.start.is_ready() {
            return;
        }
        // In order, but for reads: those wait for the start only.
        while self.writes < WRITES
            && let Some((ticket, question, _)) = self.waiting.pop_front()
        {
            match question {
                WaitingQuestion::Read(read) => self.send_read(ticket, read, now),
                WaitingQuestion::Write(make) => self.send_write(ticket, &make, now),
            }
        }
    }
}
