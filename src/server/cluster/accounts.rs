//! The accounts of all servers on an engine: connections, answers, and logins whose account goes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::account_read::{AccountFound, AccountRead, UserRecord};
use crate::cluster::account_store::{AccountAnswer, AccountStore, AccountTicket};
use crate::cluster::command::EngineFailure;
use crate::cluster::engine_user::EngineUser as _;
use crate::cluster::info::EngineRefusal;
use crate::cluster::service::ClusterOptions;
use crate::index::PeerId;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::metric::Metric;
use crate::protocol::types::account::{Key, UserName};
use crate::protocol::types::certificate_fault::CertificateFault;
use crate::server::Server;
use crate::server::cluster::account_types::{AccountAsk, UserGather, user_record};
use crate::server::cluster::engine_conns::EngineConns;
use crate::server::cluster::publications::{PublicationSearch, StaleEntries};

/// The accounts of logged-in users are looked at so often: a user that another server has removed
/// is logged out after two of these intervals at most.
const LOGIN_CHECK: Duration = Duration::from_secs(1);
/// Logins that are looked at in an interval: a millisecond.
const LOGINS: usize = 1_000;

/// The accounts of all servers.
pub(super) struct EngineAccounts {
    pub(super) store: AccountStore,
    is_apart: bool,
    conns: EngineConns,
    pub(super) asked: BTreeMap<AccountTicket, AccountAsk>,
    /// Questions that wait for several users.
    pub(super) gathers: BTreeMap<u64, UserGather>,
    /// Searches that wait for the publishers of a name.
    pub(super) searches: BTreeMap<u64, PublicationSearch>,
    pub(super) last_number: u64,
    pub(super) stale: StaleEntries,
    logins: LoginCheck,
    /// The users of the mirrored members, by the number of the member.
    pub(super) present: BTreeMap<u32, UserName>,
    /// Members whose record is new, with the files that are left: their entries name the record.
    pub(super) renewed: VecDeque<(PeerId, u32, usize)>,
    /// The outcome of the present request of an administrator.
    pub(super) admin_outcome: Option<Result<Option<Key>, ErrorReply>>,
    /// The engine has been reported as without a file, or as one with two origins.
    has_warned: bool,
}

#[derive(Default)]
struct LoginCheck {
    at: Option<Instant>,
    /// The last user that was looked at.
    after: Option<UserName>,
}

impl EngineAccounts {
    /// The accounts on the engine of the index, or on an engine of their own.
    pub fn new(options: &ClusterOptions) -> EngineAccounts {
        EngineAccounts {
            store: AccountStore::new(options.accounts.as_deref().unwrap_or(options)),
            is_apart: options.accounts.is_some(),
            conns: EngineConns::new(options.accounts.as_deref().unwrap_or(options).is_tls),
            asked: BTreeMap::new(),
            gathers: BTreeMap::new(),
            searches: BTreeMap::new(),
            last_number: 0,
            stale: StaleEntries::default(),
            logins: LoginCheck::default(),
            present: BTreeMap::new(),
            renewed: VecDeque::new(),
            admin_outcome: None,
            has_warned: false,
        }
    }

    /// True for a connection to the engine of the accounts.
    pub fn is(&self, id: ConnId) -> bool {
        self.conns.contains(id)
    }

    /// The reason for which an engine of its own can't be used, before the accounts have begun,
    /// told once.
    pub fn take_refusal(&mut self) -> Option<EngineRefusal> {
        let is_fatal = self.is_apart && !self.store.is_ready();
        self.store.take_refusal().filter(|_| is_fatal)
    }

    /// A connection failed: the certificate of the node is not trusted.
    pub fn untrusted(&mut self, fault: CertificateFault) {
        self.store.untrusted(fault);
    }

    pub fn deadline(&self) -> Option<Instant> {
        [self.store.deadline(), self.logins.at].into_iter().flatten().min()
    }

    /// A number for a gather or a search.
    pub fn number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Read for a purpose.
    pub fn ask(&mut self, read: AccountRead, purpose: AccountAsk, now: Instant) {
        let ticket = self.store.read(read, now);
        self.asked.insert(ticket, purpose);
    }

    /// Forget the questions of a closed connection; what is on its way to the engine ends there.
    pub fn forget(&mut self, conn: ConnId) {
        for ask in self.asked.values_mut() {
            match ask {
                AccountAsk::Operation(operation) => operation.forget(conn),
                AccountAsk::LegacyUsers(list) => list.forget(conn),
                _ => {}
            }
        }
        for gather in self.gathers.values_mut() {
            gather.forget(conn);
        }
        self.searches.retain(|_, search| search.conn() != conn);
    }

    pub fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.conns.received(&mut self.store, id, io);
    }

    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.conns.connected(&mut self.store, id, io);
    }

    pub fn lost(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.conns.lost(&mut self.store, id, io);
    }

    pub fn on_time(&mut self, io: &Io<'_>) {
        if self.store.deadline().is_none_or(|at| at <= io.now) {
            self.store.on_time(io.now);
        }
        if !self.has_warned && self.store.is_split() {
            self.has_warned = true;
            log::error!("the engine has accounts of two origins; no account can be used");
        }
        if !self.has_warned && self.store.has_accounts() {
            self.has_warned = true;
            if !self.store.engine().is_kept() {
                log::warn!(
                    "the engine keeps no file of the accounts: a node that restarts loses them; set appendonly yes"
                );
            }
        }
    }

    /// Carry out what the connections need.
    pub fn act(&mut self, io: &mut Io<'_>) {
        self.conns.act(&mut self.store, io);
    }

    /// The metrics of the engine of the accounts.
    pub fn metrics(&self) -> Vec<Metric> {
        let engine = self.store.engine();
        let status = engine.status();
        let open = status.iter().filter(|node| node.is_open).count();
        let load: usize = status.iter().map(|node| node.load).sum();
        let counters = self.store.counters();
        vec![
            Metric::now("account_engine_nodes", status.len() as u64),
            Metric::now("account_engine_connected", open as u64),
            Metric::now("account_engine_ready", u64::from(self.store.is_ready())),
            Metric::now("account_engine_requests_in_flight", load as u64),
            Metric::now("account_engine_requests_waiting", self.store.waiting() as u64),
            Metric::total("account_engine_requests", counters.reads).of("read"),
            Metric::total("account_engine_requests", counters.writes).of("write"),
            Metric::total("account_engine_requests", counters.failures).of("failed"),
        ]
    }
}

impl Server {
    /// Go on with all that waits for accounts.
    pub(super) fn drive_accounts(&mut self, io: &mut Io<'_>) {
        self.check_logins(io.now);
        while let Some(cluster) = &mut self.cluster
            && let Some((ticket, answer)) = cluster.accounts.store.next_answer()
        {
            let Some(ask) = cluster.accounts.asked.remove(&ticket) else { continue };
            match (ask, answer) {
                (AccountAsk::Operation(operation), AccountAnswer::Found(found)) => {
                    self.operation_read(operation, found, io);
                }
                (AccountAsk::Operation(operation), AccountAnswer::Written(written)) => {
                    self.operation_written(operation, written, io);
                }
                (AccountAsk::Gather(number, place), AccountAnswer::Found(found)) => {
                    self.gathered(number, place, user_record(found), io);
                }
                (AccountAsk::Publishers(number), AccountAnswer::Found(found)) => {
                    self.publishers_came(number, found, io);
                }
                (AccountAsk::LegacyUsers(list), AccountAnswer::Found(found)) => {
                    self.legacy_users_came(list, found, io);
                }
                (AccountAsk::Login(user), AccountAnswer::Found(found)) => {
                    self.login_checked(&user, user_record(found), io.now);
                }
                (AccountAsk::Removed(user, nonce), AccountAnswer::Found(found)) => {
                    self.removed_came(&user, nonce, found, io.now);
                }
                _ => {}
            }
        }
    }

    /// Look at the accounts of some logins.
    fn check_logins(&mut self, now: Instant) {
        let Some(cluster) = &mut self.cluster else { return };
        let accounts = &mut cluster.accounts;
        if accounts.logins.at.is_some_and(|at| at > now) {
            return;
        }
        accounts.logins.at = Some(now + LOGIN_CHECK);
        let users = self.accounts.logged_in(accounts.logins.after.as_ref(), LOGINS);
        accounts.logins.after = users.last().filter(|_| users.len() == LOGINS).cloned();
        for user in users {
            accounts.ask(AccountRead::User(user.clone(), None), AccountAsk::Login(user), now);
        }
    }

    /// A login ends where the user is certainly gone, or belongs to another key.
    fn login_checked(
        &mut self,
        user: &UserName,
        record: Result<UserRecord, EngineFailure>,
        now: Instant,
    ) {
        let Ok(record) = record else { return };
        let key = record.value.and_then(|value| value.key);
        for conn in self.accounts.log_out_except(user, key) {
            self.set_user(ConnId(conn), now);
        }
        // No transaction is open: this forgets what a failure would have taken back.
        let _ = self.accounts.commit();
    }

    /// Remove the publications of a removed account from the lists of their files.
    fn removed_came(
        &mut self,
        user: &UserName,
        nonce: [u8; 8],
        found: Result<AccountFound, EngineFailure>,
        now: Instant,
    ) {
        let Some(cluster) = &mut self.cluster else { return };
        let Ok(AccountFound::Content { page, has_more, .. }) = found else { return };
        let store = &mut cluster.accounts.store;
        for entry in &page {
            store.drop_removed_publication(user, nonce, entry, now);
        }
        if has_more {
            cluster.accounts.ask(
                AccountRead::Removed(user.clone(), nonce),
                AccountAsk::Removed(user.clone(), nonce),
                now,
            );
        }
    }
}
