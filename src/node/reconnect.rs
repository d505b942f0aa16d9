//! A client connection to a service that has several addresses: connect, back off, reconnect.
//!
//! ```text
//!   Idle --connect--> Connecting --connected--> Open --lost--> Backoff --time--> Connecting ...
//!                       ^     '--failed: next address, after the last a pause-----^
//! ```

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::types::account::Key;

/// Where a service is, and the key that it must prove by TLS; without a key the connection is plain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceTarget {
    /// Its addresses, in the order of preference.
    pub addresses: Vec<SocketAddr>,
    /// Its key.
    pub key: Option<Key>,
    /// The key that follows; the service may have changed to it already.
    pub next: Option<Key>,
}

impl From<Vec<SocketAddr>> for ServiceTarget {
    fn from(addresses: Vec<SocketAddr>) -> ServiceTarget {
        ServiceTarget { addresses, key: None, next: None }
    }
}

/// At most one connection to the first of several addresses that answers.
pub struct Reconnecting<S> {
    target: ServiceTarget,
    current: usize,
    /// This attempt expects the next key of the service.
    by_next: bool,
    /// The local address to connect from, where that leads to the current address.
    bind: Option<IpAddr>,
    /// Pauses since the last success.
    attempts: u32,
    state: ReconnectState<S>,
}

/// The state of the connection; `S` is the session of an open connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ReconnectState<S> {
    /// No connection is wanted.
    Idle,
    /// Connect again at this time.
    Backoff(Instant),
    /// The connection is being made.
    Connecting(ConnId),
    /// The connection is made.
    Open(ConnId, S),
}

/// The step after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// The next address is being connected.
    NextAddress,
    /// A pause, and then another round of the addresses.
    AfterPause,
}

impl<S> Reconnecting<S> {
    /// A connection to one address of `target`. Nothing is connected yet.
    #[must_use]
    pub fn new(target: ServiceTarget) -> Reconnecting<S> {
        Reconnecting {
            target,
            current: 0,
            by_next: false,
            bind: None,
            attempts: 0,
            state: ReconnectState::Idle,
        }
    }

    /// Connect from this local address from now on.
    pub fn bind(&mut self, ip: IpAddr) {
        self.bind = Some(ip);
    }

    /// The key that the service must prove on this connection, or the next one.
    #[must_use]
    pub fn key(&self) -> Option<Key> {
        if self.by_next { self.target.next } else { self.target.key }
    }

    /// The key in use, as far as it is known.
    #[must_use]
    pub fn known_key(&self) -> Option<Key> {
        self.target.key
    }

    /// The key that follows the key in use, where one is known.
    #[must_use]
    pub fn next_key(&self) -> Option<Key> {
        self.target.next.filter(|_| !self.by_next)
    }

    /// The service has announced its next key. False if another one is known already.
    pub fn learn_next(&mut self, next: Key) -> bool {
        self.by_next || *self.target.next.get_or_insert(next) == next
    }

    /// The open connection has proven the next key: no other key is accepted from now on. Returns
    /// the key before.
    pub fn take_next(&mut self) -> Option<Key> {
        let next = self.target.next.filter(|_| std::mem::take(&mut self.by_next))?;
        self.target.next = None;
        self.target.key.replace(next)
    }

    /// The service has shown another key: try its next key at the same address. False when there is
    /// none to try.
    pub fn try_next_key(&mut self, io: &mut Io<'_>) -> bool {
        self.by_next = !self.by_next && self.target.next.is_some();
        if self.by_next {
            self.connect(io);
        }
        self.by_next
    }

    /// All addresses of the service.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.target.addresses
    }

    /// The address in use, or tried next.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.target.addresses.get(self.current).copied()
    }

    /// Keep only the addresses of a family. False, without a change, when there are none.
    pub fn keep_only(&mut self, ipv4: bool) -> bool {
        if !self.target.addresses.iter().any(|address| address.is_ipv4() == ipv4) {
            return false;
        }
        let current = self.address();
        self.target.addresses.retain(|address| address.is_ipv4() == ipv4);
        self.current =
            self.target.addresses.iter().position(|address| Some(*address) == current).unwrap_or(0);
        true
    }

    /// The state.
    #[must_use]
    pub fn state(&self) -> &ReconnectState<S> {
        &self.state
    }

    /// True when no connection is wanted.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        matches!(self.state, ReconnectState::Idle)
    }

    /// The current connection, made or in the making.
    #[must_use]
    pub fn conn(&self) -> Option<ConnId> {
        match self.state {
            ReconnectState::Connecting(id) | ReconnectState::Open(id, _) => Some(id),
            ReconnectState::Idle | ReconnectState::Backoff(_) => None,
        }
    }

    /// The open connection and the session.
    pub fn open(&mut self) -> Option<(ConnId, &mut S)> {
        match &mut self.state {
            ReconnectState::Open(id, session) => Some((*id, session)),
            _ => None,
        }
    }

    /// The session of the open connection.
    #[must_use]
    pub fn session(&self) -> Option<&S> {
        match &self.state {
            ReconnectState::Open(_, session) => Some(session),
            _ => None,
        }
    }

    /// Connect to the current address at once.
    pub fn connect(&mut self, io: &mut Io<'_>) {
        if let Some(address) = self.address() {
            self.connect_to(address, io);
        }
    }

    /// Connect to `address`, which the service at the current address has named.
    pub fn connect_to(&mut self, address: SocketAddr, io: &mut Io<'_>) {
        // A socket on a loopback address, or on one of the other family, can't reach it.
        let bind = self.bind.filter(|ip| {
            ip.is_ipv4() == address.is_ipv4() && ip.is_loopback() == address.ip().is_loopback()
        });
        self.state = ReconnectState::Connecting(match self.key() {
            Some(key) => io.connect_by_tls(address, bind, key),
            None => io.connect(address, bind),
        });
    }

    /// The connection is made: its session begins.
    pub fn connected(&mut self, id: ConnId, session: S) {
        debug_assert!(self.conn() == Some(id), "{id:?} is not the connection of this client");
        self.state = ReconnectState::Open(id, session);
    }

    /// The service does its work: the next pause is the shortest again.
    pub fn succeeded(&mut self) {
        self.attempts = 0;
    }

    /// The connection is lost. A connection that `worked` is made again after a pause; otherwise the next
    /// address is tried at once, and the first one after a pause.
    pub fn lost(&mut self, worked: bool, io: &mut Io<'_>) -> Retry {
        self.by_next = false;
        if !worked && self.current + 1 < self.target.addresses.len() {
            self.current += 1;
            self.connect(io);
            return Retry::NextAddress;
        }
        if !worked {
            self.current = 0;
        }
        self.state = ReconnectState::Backoff(io.backoff(self.attempts));
        self.attempts = self.attempts.saturating_add(1);
        Retry::AfterPause
    }

    /// Forget the connection, and make no other before [`Reconnecting::connect`].
    pub fn idle(&mut self) {
        self.state = ReconnectState::Idle;
    }

    /// True once the pause is over.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.backoff_until().is_some_and(|until| until <= now)
    }

    /// The end of the pause; `None` while there is none.
    #[must_use]
    pub fn backoff_until(&self) -> Option<Instant> {
        match self.state {
            ReconnectState::Backoff(until) => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::limits;
    use crate::node::fake_conns::FakeConns;
    use crate::node::io::Transport;
    use crate::node::stats::histogram::Histogram;

    fn with<T>(now: Instant, conns: &mut FakeConns, act: impl FnOnce(&mut Io<'_>) -> T) -> T {
        act(&mut Io {
            now,
            table: conns,
            actions: &mut Vec::new(),
            random: &mut || [0; 16],
            iteration_times: &Histogram::default(),
            date: &String::new,
        })
    }

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn each_address_is_tried_before_a_pause_that_doubles_up_to_its_limit() {
        let (now, mut conns) = (Instant::now(), FakeConns::default());
        let all = addresses(&["[::1]:1", "127.0.0.1:1"]);
        let mut client = Reconnecting::<()>::new(all.clone().into());
        with(now, &mut conns, |io| client.connect(io));
        for round in 0..40 {
            let lost = with(now, &mut conns, |io| client.lost(false, io));
            assert_eq!((lost, client.address()), (Retry::NextAddress, Some(all[1])));
            let lost = with(now, &mut conns, |io| client.lost(false, io));
            assert_eq!((lost, client.address()), (Retry::AfterPause, Some(all[0])));
            let pause = client.backoff_until().unwrap() - now;
            let (first, longest) = limits::BACKOFF;
            assert_eq!(pause, (first * (1 << round.min(10))).min(longest) / 2);
            assert!(!client.is_due(now) && client.is_due(now + pause));
            with(now, &mut conns, |io| client.connect(io));
        }
        assert_eq!(conns.opened.len(), 81);
    }

    #[test]
    fn the_next_key_is_tried_once_at_each_address_and_then_replaces_the_first() {
        let key = |text| Key::parse(text).unwrap();
        let old = key("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a");
        let next = key("3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c");
        let other = key("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
        let (mut conns, all) = (FakeConns::default(), addresses(&["[::1]:1", "127.0.0.1:1"]));
        let target = ServiceTarget { addresses: all.clone(), key: Some(old), next: None };
        let mut client = Reconnecting::new(target);
        with(Instant::now(), &mut conns, |io| {
            client.connect(io);
            assert!(!client.try_next_key(io));
            assert!(
                client.learn_next(next) && client.learn_next(next) && !client.learn_next(other)
            );
            assert_eq!((client.key(), client.next_key()), (Some(old), Some(next)));
            for (address, retry) in [(all[0], Retry::NextAddress), (all[1], Retry::AfterPause)] {
                assert_eq!(client.address(), Some(address));
                assert!(client.try_next_key(io));
                assert_eq!((client.key(), client.next_key()), (Some(next), None));
                assert!(!client.try_next_key(io));
                assert_eq!((client.lost(false, io), client.key()), (retry, Some(old)));
            }
            // A connection that never opens proves nothing.
            assert!(client.take_next().is_none());
            client.connect(io);
            assert!(client.try_next_key(io));
            client.connected(client.conn().unwrap(), "session");
            assert_eq!(client.take_next(), Some(old));
            assert_eq!((client.key(), client.next_key()), (Some(next), None));
            client.lost(true, io);
            assert!(!client.try_next_key(io));
        });
        let own = |key| Transport::Tls(None, key);
        let tried: Vec<Transport> = [old, next, old, next, old, next].map(own).to_vec();
        assert_eq!(conns.transports, tried);
    }

    #[test]
    fn a_connection_that_worked_is_made_again_at_the_same_address() {
        let (now, mut conns) = (Instant::now(), FakeConns::default());
        let all = addresses(&["[::1]:1", "127.0.0.1:1"]);
        let mut client = Reconnecting::new(all.clone().into());
        with(now, &mut conns, |io| {
            client.connect(io);
            client.lost(false, io);
            client.connected(ConnId(1), "session");
            assert_eq!((client.conn(), client.session()), (Some(ConnId(1)), Some(&"session")));
            client.succeeded();
            assert_eq!(client.lost(true, io), Retry::AfterPause);
        });
        assert_eq!((client.conn(), client.address()), (None, Some(all[1])));
        client.idle();
        assert!(!client.is_due(now + Duration::from_secs(60)));
    }

    #[test]
    fn a_local_address_is_used_only_where_it_leads_to_the_server() {
        let mut conns = FakeConns::default();
        let mut client = Reconnecting::<()>::new(
            addresses(&["[2001:db8::1]:1", "127.0.0.1:1", "10.0.0.1:1"]).into(),
        );
        client.bind("10.0.0.2".parse().unwrap());
        with(Instant::now(), &mut conns, |io| {
            client.connect(io);
            client.lost(false, io);
            client.lost(false, io);
        });
        let own = Transport::Tcp(Some("10.0.0.2".parse().unwrap()));
        assert_eq!(conns.transports, [Transport::Tcp(None), Transport::Tcp(None), own]);
        assert!(client.keep_only(true) && client.addresses().len() == 2);
        assert_eq!(client.address(), Some("10.0.0.1:1".parse().unwrap()));
        assert!(!client.keep_only(false) && client.addresses().len() == 2);
    }
}
