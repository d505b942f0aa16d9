//! The file lists of legacy peers that send the index no list: the server asks such a peer, as another
//! peer would, and adds the names to the index.
//!
//! ```text
//!   registered --a second--> connect --list--> index --a minute--> connect ...
//!                               '--no list--> a longer and longer pause
//! ```
//!
//! The server connects to the address of the peer's own connection, at the assigned
//! port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::connection::legacy::{LegacyClient, LegacyStep};
use crate::io::budget::{Block, Budget};
use crate::io::deadlines::Deadlines;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::types::legacy_profile::LegacyProfile;
use crate::protocol::types::relative_path::RelativeName;

/// A peer opens the port after the number has arrived.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// A new file is found within this time.
const REFRESH: Duration = Duration::from_secs(60);
/// Lists fetched at once, and of an address: each may keep a descriptor for [`LIST_TIMEOUT`].
const LISTS_AT_ONCE: usize = 16;
const ADDRESS_LISTS: usize = 4;
/// Time for a connection and a list.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// A list of some thousand names: the words are read in a single iteration, which takes milliseconds.
const LIST_BYTES: usize = 64 << 10;

/// The lists of legacy peers.
pub(super) struct PeerLists {
    /// By the connection by which the peer has registered.
    peers: BTreeMap<ConnId, ListedPeer>,
    /// The registering connection, by that of a list.
    fetches: BTreeMap<ConnId, ConnId>,
    timers: Deadlines<ConnId>,
    budget: Budget,
}

struct ListedPeer {
    at: SocketAddr,
    speaks: LegacyProfile,
    /// Attempts without a list.
    failures: u32,
    state: ListState,
}

enum ListState {
    Waiting(Instant),
    Connecting(ConnId, Instant),
    Reading(ConnId, LegacyClient, Instant),
}

/// A list that has ended.
pub(super) struct FetchedList {
    /// The connection by which the peer has registered.
    pub(super) member: ConnId,
    /// The protocol of the peer.
    pub(super) speaks: LegacyProfile,
    /// The names.
    pub(super) names: Vec<RelativeName>,
}

impl Default for PeerLists {
    fn default() -> PeerLists {
        PeerLists {
            peers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            timers: Deadlines::default(),
            budget: Budget::of_units(LISTS_AT_ONCE, ADDRESS_LISTS),
        }
    }
}

impl ListedPeer {
    fn conn(&self) -> Option<ConnId> {
        match self.state {
            ListState::Waiting(_) => None,
            ListState::Connecting(conn, _) | ListState::Reading(conn, ..) => Some(conn),
        }
    }

    /// When this peer needs attention.
    fn due_at(&self) -> Instant {
        match &self.state {
            ListState::Waiting(at) | ListState::Connecting(_, at) => *at,
            ListState::Reading(_, client, until) => {
                client.list_ends().map_or(*until, |end| end.min(*until))
            }
        }
    }
}

impl PeerLists {
    /// A legacy peer has registered: fetch the list, where the protocol has lists.
    pub(super) fn registered(
        &mut self,
        member: ConnId,
        at: SocketAddr,
        speaks: LegacyProfile,
        io: &mut Io<'_>,
    ) {
        self.forget(member, io);
        if LegacyClient::can_list(speaks) {
            let state = ListState::Waiting(io.now + FIRST_PAUSE);
            self.peers.insert(member, ListedPeer { at, speaks, failures: 0, state });
            self.set_timer(member);
        }
    }

    /// The connection of a peer is closed.
    pub(super) fn forget(&mut self, member: ConnId, io: &mut Io<'_>) {
        if let Some(peer) = self.peers.remove(&member) {
            self.hang_up(&peer, io);
            self.set_timer(member);
        }
    }

    /// True for a connection to a legacy peer.
    pub(super) fn has(&self, conn: ConnId) -> bool {
        self.fetches.contains_key(&conn)
    }

    /// The next time to call [`PeerLists::due`].
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timers.first()
    }

    /// Connect to the peers that are due, and end the lists that are.
    pub(super) fn due(&mut self, io: &mut Io<'_>) -> Vec<FetchedList> {
        let mut ended = Vec::new();
        for member in self.timers.due(io.now) {
            let Some(peer) = self.peers.get_mut(&member) else { continue };
            match &peer.state {
                ListState::Waiting(_) => {
                    peer.state = if self.budget.take(Block::of(peer.at.ip()), 1).is_ok() {
                        let (conn, until) = (io.connect(peer.at, None), io.now + LIST_TIMEOUT);
                        if let Some(handle) = io.connection(conn) {
                            handle.deadline = Some(until);
                            handle.max_header = LIST_BYTES + 1;
                        }
                        self.fetches.insert(conn, member);
                        ListState::Connecting(conn, until)
                    } else {
                        ListState::Waiting(io.now + FIRST_PAUSE)
                    };
                    self.set_timer(member);
                }
                ListState::Connecting(..) => self.end(member, false, io),
                ListState::Reading(_, client, until) => {
                    let is_whole =
                        client.list_ends().is_some_and(|end| end <= io.now) && io.now < *until;
                    ended.extend(self.fetched(member, is_whole, io));
                }
            }
        }
        ended
    }

    /// A connection is made: request the list.
    pub(super) fn connected(&mut self, conn: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(member) = self.fetches.get(&conn).copied() else { return };
        let Some(peer) = self.peers.get_mut(&member) else { return };
        let (ListState::Connecting(_, until), Some(handle)) = (&peer.state, io.connection(conn))
        else {
            return;
        };
        if let Some(client) = LegacyClient::list(peer.speaks, &mut handle.send_queue, now) {
            peer.state = ListState::Reading(conn, client, *until);
            self.set_timer(member);
        }
    }

    /// Bytes of a list have come.
    pub(super) fn received(&mut self, conn: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let Some(member) = self.fetches.get(&conn).copied() else { return };
        let Some(peer) = self.peers.get_mut(&member) else { return };
        let ListState::Reading(_, client, _) = &mut peer.state else { return };
        let Some(handle) = io.connection(conn) else { return };
        let step = client.step(&mut handle.recv_buffer, now);
        let is_long = handle.recv_buffer.header().len() > LIST_BYTES;
        if is_long || step != Ok(LegacyStep::Wait) {
            self.end(member, false, io);
        } else {
            self.set_timer(member);
        }
    }

    /// The peer sends no more: the list is whole.
    pub(super) fn ended(&mut self, conn: ConnId, io: &mut Io<'_>) -> Option<FetchedList> {
        self.fetched(*self.fetches.get(&conn)?, true, io)
    }

    /// A connection is closed, or could not be made.
    pub(super) fn closed(&mut self, conn: ConnId, io: &mut Io<'_>) {
        if let Some(member) = self.fetches.get(&conn).copied() {
            self.end(member, false, io);
        }
    }

    fn fetched(&mut self, member: ConnId, is_whole: bool, io: &mut Io<'_>) -> Option<FetchedList> {
        let peer = self.peers.get(&member)?;
        let names = match &peer.state {
            ListState::Reading(conn, client, _) if is_whole => {
                io.connection(*conn).map(|handle| client.names(&handle.recv_buffer))
            }
            _ => None,
        };
        let speaks = peer.speaks;
        self.end(member, names.is_some(), io);
        Some(FetchedList { member, speaks, names: names? })
    }

    /// Close the connection to a peer, and come again later.
    fn end(&mut self, member: ConnId, has_list: bool, io: &mut Io<'_>) {
        let Some(mut peer) = self.peers.remove(&member) else { return };
        self.hang_up(&peer, io);
        peer.failures = if has_list { 0 } else { peer.failures.saturating_add(1) };
        let pause = match peer.failures {
            0 => REFRESH,
            failures => (FIRST_PAUSE * (1 << failures.min(6))).min(REFRESH),
        };
        peer.state = ListState::Waiting(io.now + pause);
        self.peers.insert(member, peer);
        self.set_timer(member);
    }

    fn hang_up(&mut self, peer: &ListedPeer, io: &mut Io<'_>) {
        if let Some(conn) = peer.conn() {
            self.fetches.remove(&conn);
            self.budget.give_back(Block::of(peer.at.ip()), 1);
            if let Some(handle) = io.connection(conn) {
                handle.drop_now();
            }
        }
    }

    fn set_timer(&mut self, member: ConnId) {
        self.timers.set(member, self.peers.get(&member).map(ListedPeer::due_at));
    }
}
