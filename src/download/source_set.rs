//! The sources of a download: open, waiting, backing off or excluded.
//!
//! ```text
//!   waiting --> open --lost--> backing off --> open, or waiting while others are better
//!                 '--wrong bytes, no protocol--> banned
//! ```

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::download::source::Source;
use crate::download::types::{Candidate, Ctx};
use crate::limits;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::request::Selector;
use crate::protocol::types::quic_address::QuicAddress;

/// Fall back to TCP after this long without a QUIC handshake: a round trip takes a fifth of a
/// second at most, and lost datagrams are sent again.
const QUIC_FALLBACK_DELAY: Duration = Duration::from_secs(2);

pub(super) struct SourceSet {
    /// Sources with a connection, by number. A number is never reused.
    open: BTreeMap<u32, Source>,
    next_number: u32,
    /// The manager knows the connections of all sources before this number.
    registered: u32,
    /// Candidates without a connection.
    waiting: VecDeque<Candidate>,
    /// Lost sources, retried later.
    backing_off: Vec<BackingOff>,
    /// Consecutive losses of each source.
    attempts: BTreeMap<SocketAddr, u32>,
    /// Sources of wrong bytes, or without the protocol.
    banned: BTreeSet<SocketAddr>,
    /// QUIC endpoints that did not answer, by peer and key: a restarted peer has another key.
    no_udp: BTreeSet<(SocketAddr, [u8; 32])>,
    /// Sources that were slow with the hash list, or with the piece that proves the list.
    slow: BTreeSet<SocketAddr>,
    /// Sources without a hash list.
    listless: BTreeSet<SocketAddr>,
    /// A silent source was dropped in favour of a waiting candidate.
    has_evicted: bool,
    /// The source of the first piece.
    first: Option<SocketAddr>,
    /// The first candidate of the request.
    preferred: Option<SocketAddr>,
}

struct BackingOff {
    candidate: Candidate,
    until: Instant,
}

impl SourceSet {
    /// A peer with several names for the content is one source, complete files before partial.
    pub fn new(mut candidates: Vec<Candidate>) -> SourceSet {
        let preferred = candidates.first().map(|candidate| candidate.peer);
        candidates.sort_by_key(|candidate| !candidate.whole);
        let mut seen = BTreeSet::new();
        candidates.retain(|candidate| seen.insert(candidate.peer));
        SourceSet {
            open: BTreeMap::new(),
            next_number: 0,
            registered: 0,
            waiting: candidates.into(),
            backing_off: Vec::new(),
            attempts: BTreeMap::new(),
            banned: BTreeSet::new(),
            no_udp: BTreeSet::new(),
            slow: BTreeSet::new(),
            listless: BTreeSet::new(),
            has_evicted: false,
            first: None,
            preferred,
        }
    }

    pub fn get(&self, id: u32) -> Option<&Source> {
        self.open.get(&id)
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut Source> {
        self.open.get_mut(&id)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &Source)> {
        self.open.iter().map(|(id, source)| (*id, source))
    }

    pub fn values(&self) -> impl Iterator<Item = &Source> {
        self.open.values()
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Source> {
        self.open.values_mut()
    }

    pub fn ids(&self) -> Vec<u32> {
        self.open.keys().copied().collect()
    }

    /// The number of sources with a connection.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// True when no source is left to wait for.
    pub fn is_exhausted(&self) -> bool {
        self.open.is_empty() && !self.has_candidates()
    }

    /// True while candidates wait or back off.
    pub fn has_candidates(&self) -> bool {
        !self.waiting.is_empty() || !self.backing_off.is_empty()
    }

    pub fn is_backing_off(&self) -> bool {
        !self.backing_off.is_empty()
    }

    pub fn waiting(&self) -> &VecDeque<Candidate> {
        &self.waiting
    }

    pub fn take_waiting(&mut self, fits: impl Fn(&Candidate) -> bool) -> Option<Candidate> {
        let place = self.waiting.iter().position(fits)?;
        self.waiting.remove(place)
    }

    pub fn wait_first(&mut self, candidate: Candidate) {
        self.waiting.push_front(candidate);
    }

    pub fn wait_last(&mut self, candidate: Candidate) {
        self.waiting.push_back(candidate);
    }

    /// Moves the candidate of this address to the front.
    pub fn prefer(&mut self, peer: SocketAddr) {
        if let Some(place) = self.waiting.iter().position(|candidate| candidate.peer == peer) {
            self.waiting.swap(0, place);
        }
    }

    /// True while this peer waits or backs off.
    pub fn is_candidate(&self, peer: SocketAddr) -> bool {
        self.waiting.iter().any(|candidate| candidate.peer == peer)
            || self.backing_off.iter().any(|entry| entry.candidate.peer == peer)
    }

    /// The provider of the first piece, or the expected one.
    pub fn first_or_preferred(&self) -> SocketAddr {
        let peer = self.first.or(self.preferred);
        peer.unwrap_or(SocketAddr::from(([0, 0, 0, 0], 0)))
    }

    pub fn first(&self) -> Option<SocketAddr> {
        self.first
    }

    pub fn set_first(&mut self, first: Option<SocketAddr>) {
        self.first = first;
    }

    /// Opens a connection to a candidate: by QUIC where possible.
    pub fn connect(
        &mut self,
        candidate: Candidate,
        selector: Selector,
        ctx: &mut Ctx<'_, '_>,
    ) -> &mut Source {
        let (peer, now) = (candidate.peer, ctx.io.now);
        let quic =
            candidate.quic.filter(|quic| ctx.security.by_quic && self.may_use_quic(peer, quic));
        let conn = match quic {
            Some(quic) => ctx.io.connect_by_quic(quic.of(peer), quic.key),
            None => ctx.connect(peer, candidate.key),
        };
        if let Some(conn) = ctx.io.connection(conn).filter(|_| quic.is_some()) {
            conn.deadline = Some(now + QUIC_FALLBACK_DELAY);
        }
        let mut source = Source::new(candidate, conn, selector, now);
        source.by_quic = quic.is_some();
        source.by_tls = quic.is_none() && source.candidate.key.is_some() && ctx.security.by_tls;
        let number = self.next_number;
        self.next_number += 1;
        self.open.entry(number).or_insert(source)
    }

    /// An index may send keys without end: QUIC is off once too many failed.
    fn may_use_quic(&self, peer: SocketAddr, quic: &QuicAddress) -> bool {
        self.no_udp.len() < limits::CANDIDATES && !self.no_udp.contains(&(peer, *quic.key.bytes()))
    }

    /// Notes that a QUIC endpoint did not answer. False when known before.
    pub fn exclude_quic(&mut self, peer: SocketAddr, quic: &QuicAddress) -> bool {
        self.no_udp.insert((peer, *quic.key.bytes()))
    }

    /// Removes a source without closing the connection.
    pub fn remove(&mut self, id: u32) -> Option<Source> {
        self.open.remove(&id)
    }

    /// Removes every source and candidate.
    pub fn take_all(&mut self) -> impl Iterator<Item = Source> + use<> {
        self.waiting.clear();
        self.backing_off.clear();
        std::mem::take(&mut self.open).into_values()
    }

    /// The connections that were opened since the last call, with the numbers of their sources.
    pub fn take_opened(&mut self) -> impl Iterator<Item = (ConnId, u32)> {
        let from = std::mem::replace(&mut self.registered, self.next_number);
        self.open.range(from..).map(|(number, source)| (source.conn, *number))
    }

    /// Adds a candidate, or what is new of a known peer.
    pub fn add(&mut self, candidate: Candidate) {
        let peer = candidate.peer;
        if let Some(quic) = candidate.quic {
            self.update_quic(peer, quic);
        }
        let backing_off = self.backing_off.iter_mut().map(|entry| &mut entry.candidate);
        let open = self.open.values_mut().map(|source| &mut source.candidate);
        let mut known = backing_off.chain(&mut self.waiting).chain(open);
        if let Some(known) = known.find(|known| known.peer == peer) {
            known.whole |= candidate.whole;
        } else if !self.banned.contains(&peer)
            && self.waiting.len() + self.backing_off.len() < limits::CANDIDATES
        {
            self.waiting.push_back(candidate);
        }
    }

    /// A restarted peer has another key. A source that is connecting keeps the key that it is
    /// tried with.
    fn update_quic(&mut self, peer: SocketAddr, quic: QuicAddress) {
        let backing_off = self.backing_off.iter_mut().map(|entry| &mut entry.candidate);
        let open = self.open.values_mut().filter(|source| source.is_open());
        for candidate in backing_off
            .chain(&mut self.waiting)
            .chain(open.map(|source| &mut source.candidate))
            .filter(|candidate| candidate.peer == peer)
        {
            candidate.quic = Some(quic);
        }
    }

    /// Retries a lost source later: each time after twice the interval.
    pub fn back_off(&mut self, candidate: Candidate, io: &mut Io<'_>) {
        let attempts = self.attempts.entry(candidate.peer).or_default();
        let until = io.backoff(*attempts);
        *attempts += 1;
        self.backing_off.push(BackingOff { candidate, until });
    }

    /// The sources whose backoff is over.
    pub fn take_due(&mut self, now: Instant) -> Vec<Candidate> {
        let due = self.backing_off.extract_if(.., |entry| entry.until <= now);
        due.map(|entry| entry.candidate).collect()
    }

    pub fn backoff_ends(&self) -> Option<Instant> {
        self.backing_off.iter().map(|entry| entry.until).min()
    }

    pub fn reset_attempts(&mut self, peer: SocketAddr) {
        self.attempts.remove(&peer);
    }

    pub fn ban(&mut self, peer: SocketAddr) {
        self.banned.insert(peer);
    }

    pub fn note_listless(&mut self, peer: SocketAddr) {
        self.listless.insert(peer);
    }

    pub fn is_listless(&self, source: &Source) -> bool {
        self.listless.contains(&source.peer())
    }

    /// True when there are sources, and none has a hash list.
    pub fn are_listless(&self) -> bool {
        !self.open.is_empty() && self.open.values().all(|source| self.is_listless(source))
    }

    pub fn note_slow(&mut self, peers: impl IntoIterator<Item = SocketAddr>) {
        self.slow.extend(peers);
    }

    pub fn forget_slow(&mut self) {
        self.slow.clear();
    }

    fn is_slow(&self, source: &Source) -> bool {
        self.slow.contains(&source.peer())
    }

    /// Open sources other than `peer` that may have the hash list.
    pub fn others_with_list(&self, peer: SocketAddr) -> impl Iterator<Item = &Source> {
        let is_usable = move |source: &&Source| {
            source.is_open() && source.peer() != peer && !self.is_listless(source)
        };
        self.open.values().filter(is_usable)
    }

    pub fn are_others_slow(&self, peer: SocketAddr) -> bool {
        self.others_with_list(peer).all(|source| self.is_slow(source))
    }

    /// True for a source that was slow with the hash list while another one can be asked.
    pub fn is_passed_over(&self, source: &Source) -> bool {
        let is_better = |source: &Source| {
            source.is_open() && !self.is_slow(source) && !self.is_listless(source)
        };
        self.is_slow(source) && self.open.values().any(is_better)
    }

    /// True when a complete source may send the hash list soon.
    pub fn has_whole(&self) -> bool {
        let is_good = |source: &Source| {
            source.candidate.whole && !self.is_listless(source) && !self.is_slow(source)
        };
        self.open.values().any(is_good)
    }

    pub fn has_open(&self) -> bool {
        self.open.values().any(Source::is_open)
    }

    /// True when every source is open and none has anything left to request.
    pub fn are_idle(&self) -> bool {
        !self.open.is_empty() && self.open.values().all(Source::is_idle)
    }

    pub fn has_piece_requests(&self) -> bool {
        self.open.values().any(Source::has_piece_request)
    }

    pub fn arriving_bytes(&self) -> u64 {
        self.open.values().map(Source::arriving_bytes).sum()
    }

    /// True while fewer than `wanted` sources deliver. Silent sources take no place, up to a
    /// limit: the more of them, the more others are tried at once. While some are silent, an idle
    /// source does not count either.
    pub fn has_room(&self, wanted: usize, now: Instant) -> bool {
        let useless = self.open.values().filter(|source| !source.is_useful(now)).count();
        let counts =
            |source: &&Source| source.is_useful(now) && (useless == 0 || !source.is_idle());
        self.open.len() < limits::SOURCES
            && self.open.values().filter(counts).count() < wanted.max(2 * useless)
    }

    /// Silent sources to drop in favour of waiting candidates. Each gets twice as long the next
    /// time, so that the first good source bounds the wait, not the number of silent ones.
    pub fn evict_silent(&mut self, is_single: bool, now: Instant) -> Vec<u32> {
        let most = if is_single { 1 } else { limits::SOURCES / 2 };
        if self.waiting.is_empty() || self.open.len() < most {
            return Vec::new();
        }
        let is_silent = |source: &Source| {
            let is_patient = source.activity.has_asked_to_wait || (is_single && source.is_open());
            let timeout = if is_patient { limits::HASH_LIST_TIMEOUT } else { limits::HEDGE };
            let attempts = self.attempts.get(&source.peer()).copied().unwrap_or(0).min(6);
            source.activity.stored == 0 && source.is_silent(timeout * (1 << attempts), now)
        };
        let silent: Vec<u32> =
            self.iter().filter(|(_, source)| is_silent(source)).map(|(id, _)| id).collect();
        self.has_evicted |= !silent.is_empty();
        silent
    }

    /// True when candidates wait that silent sources made room for.
    pub fn prefers_waiting(&self) -> bool {
        self.has_evicted && !self.waiting.is_empty()
    }

    /// True when only silent sources are left, which take turns.
    pub fn are_silent(&self, now: Instant) -> bool {
        let is_silent = |source: &Source| {
            !source.activity.has_asked_to_wait && source.is_silent(limits::HEDGE / 2, now)
        };
        self.has_evicted && self.open.values().all(is_silent)
    }

    pub fn stood_still(&mut self, gap: Duration) {
        self.open.values_mut().for_each(|source| source.stood_still(gap));
    }
}
