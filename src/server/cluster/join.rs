//! JOINs and UPDATEs: each is answered once the engine has acknowledged all changes.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use crate::cluster::claim::ClaimResult;
use crate::cluster::command::EngineFailure;
use crate::index::PeerId;
use crate::node::ConnId;
use crate::node::io::Io;
use crate::protocol::error::ErrorReply;
use crate::protocol::response::Response;
use crate::server::cluster::budget::IterationBudget;
use crate::server::cluster::{ClusterAsk, MirroredPeer, ServerCluster, failure, unavailable};
use crate::server::{Membership, Server, in_use, not_joined};

/// A JOIN or an UPDATE waits so long for the engine; the peer then tries again, here or elsewhere.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(10);
/// JOINs that wait for the engine: a little more than all servers' peers after a restart.
const WAITING_CHANGES: usize = 100_000;

/// Files an iteration that go to the mirror: about a millisecond.
const WALK_FILES: usize = 200;

/// JOINs and UPDATEs on their way.
pub(super) struct ChangeQueue {
    pub(super) last_member: u32,
    /// JOINs before their claim.
    pub(super) claims: VecDeque<ChangeRequest>,
    /// JOINs whose files go to the mirror.
    pub(super) joins: VecDeque<MirroredJoin>,
    /// Changes that the engine must acknowledge, by their position.
    pub(super) waiting: BTreeMap<(u64, u64), WaitingChange>,
    pub(super) last_waiting: u64,
    /// Members that have left in this iteration.
    pub(super) departed: Vec<PeerId>,
    /// Files that this iteration may still hand to the mirror.
    pub(super) walking: IterationBudget,
}

impl Default for ChangeQueue {
    fn default() -> ChangeQueue {
        ChangeQueue {
            last_member: 0,
            claims: VecDeque::new(),
            joins: VecDeque::new(),
            waiting: BTreeMap::new(),
            last_waiting: 0,
            departed: Vec::new(),
            walking: IterationBudget::new(WALK_FILES),
        }
    }
}

/// A request that waits.
#[derive(Clone, Copy)]
pub(super) struct ChangeRequest {
    pub(super) conn: ConnId,
    pub(super) request_id: Option<u64>,
    pub(super) until: Instant,
}

pub(super) struct MirroredJoin {
    pub(super) request: ChangeRequest,
    pub(super) peer: PeerId,
    pub(super) member: u32,
    /// Files that are not pushed yet. From the last down: a removal moves the last file into the
    /// gap, and that file was pushed before.
    pub(super) left: usize,
    pub(super) answer: Response,
}

pub(super) struct WaitingChange {
    pub(super) request: ChangeRequest,
    pub(super) answer: Response,
    pub(super) is_join: bool,
}

impl ServerCluster {
    pub(super) fn next_member(&mut self) -> u32 {
        let last = &mut self.changes.last_member;
        // 0 means none.
        *last = last.checked_add(1).unwrap_or(1);
        *last
    }

    /// Answer once the engine has acknowledged all changes so far.
    pub(super) fn await_engine(
        &mut self,
        request: ChangeRequest,
        answer: Response,
        is_join: bool,
        now: Instant,
    ) {
        // The order of the positions is that of the times.
        let request = ChangeRequest { until: now + CHANGE_TIMEOUT, ..request };
        self.changes.last_waiting += 1;
        let place = (self.index.mirror().next_position(), self.changes.last_waiting);
        self.changes.waiting.insert(place, WaitingChange { request, answer, is_join });
    }
}

impl Server {
    /// The files of a JOIN are in: claim its address, then mirror them. False without an engine, or
    /// for an address that no other machine can use.
    pub(in crate::server) fn claims(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        io: &mut Io<'_>,
    ) -> bool {
        let Some(cluster) = &mut self.cluster else { return false };
        let Some(Membership::Joining { address, .. }) =
            self.clients.get(&id).map(|client| &client.membership)
        else {
            return false;
        };
        if !cluster.is_mirrored(*address) {
            return false;
        }
        if cluster.changes.claims.len() >= WAITING_CHANGES {
            self.fail_join(id, request_id, unavailable(), io);
            return true;
        }
        let until = io.now + CHANGE_TIMEOUT;
        cluster.changes.claims.push_back(ChangeRequest { conn: id, request_id, until });
        true
    }

    /// Refuse a JOIN that waits.
    pub(super) fn fail_join(
        &mut self,
        id: ConnId,
        request_id: Option<u64>,
        refusal: ErrorReply,
        io: &mut Io<'_>,
    ) {
        self.join_fails(id);
        self.decided(id);
        self.respond_queued(id, request_id, Err(refusal), io);
    }

    pub(super) fn claim_some(&mut self, io: &mut Io<'_>) {
        while let Some(cluster) = &mut self.cluster
            && let Some(request) = cluster.changes.claims.front().copied()
        {
            let takes = cluster.index.takes_members(io.now);
            if !takes && request.until > io.now {
                return;
            }
            cluster.changes.claims.pop_front();
            let ChangeRequest { conn, request_id, .. } = request;
            let membership = self.clients.get(&conn).map(|client| &client.membership);
            let Some(&Membership::Joining { address, session, peer, proof, .. }) = membership
            else {
                self.fail_join(conn, request_id, not_joined(), io);
                continue;
            };
            let member = cluster.next_member();
            let Some(id) = cluster.index.member(member).filter(|_| takes) else {
                self.fail_join(conn, request_id, unavailable(), io);
                continue;
            };
            // The rules of this server have let this peer take the place of its own member.
            let proof = self.index.session_at(address).or(proof);
            let ticket = cluster.index.claim(address, id, session, proof, io.now);
            let claim = MirroredPeer { member, address, session };
            cluster.asked.insert(ticket, ClusterAsk::Claim { request, peer, claim });
        }
    }

    pub(super) fn claimed(
        &mut self,
        request: ChangeRequest,
        peer: PeerId,
        claim: MirroredPeer,
        result: Result<ClaimResult, EngineFailure>,
        io: &mut Io<'_>,
    ) {
        let ChangeRequest { conn, request_id, .. } = request;
        let MirroredPeer { member, address, session } = claim;
        let membership = self.clients.get(&conn).map(|client| &client.membership);
        // The number of a closed connection may belong to another one, which has another session.
        let is_waiting = matches!(
            membership,
            Some(Membership::Joining { peer: joining, session: own, .. })
                if *joining == peer && *own == session
        );
        let Some(cluster) = &mut self.cluster else { return };
        let refusal = match result {
            Ok(ClaimResult::Claimed(_)) => None,
            Ok(ClaimResult::InUse) => Some(in_use()),
            Err(why) => Some(failure(why)),
        };
        if (!is_waiting || refusal.is_some())
            && let Some(id) = cluster.index.member(member)
        {
            // The fate of a failed claim is unknown.
            cluster.index.release(address, id, session, io.now);
        }
        if !is_waiting {
            return;
        }
        if let Some(refusal) = refusal {
            return self.fail_join(conn, request_id, refusal, io);
        }
        cluster.members.insert(peer, claim);
        cluster.numbers.insert(member, peer);
        self.index.mirror(peer, member);
        match self.join_ends(conn, io) {
            Ok(answer) => {
                let left = usize::try_from(self.index.count(peer)).unwrap_or(0);
                let join = MirroredJoin { request, peer, member, left, answer };
                if let Some(cluster) = &mut self.cluster {
                    cluster.changes.joins.push_back(join);
                }
            }
            Err(refusal) => {
                if let Some(cluster) = &mut self.cluster {
                    cluster.left(peer, io.now);
                }
                self.decided(conn);
                self.respond_queued(conn, request_id, Err(refusal), io);
            }
        }
    }

    /// Answer an UPDATE once the engine has its files. False where nothing waits.
    pub(in crate::server) fn awaits_engine(
        &mut self,
        conn: ConnId,
        request_id: Option<u64>,
        peer: PeerId,
        answer: &Response,
        io: &Io<'_>,
    ) -> bool {
        self.mirror_changes(io);
        let Some(cluster) = &mut self.cluster else { return false };
        if !cluster.members.contains_key(&peer) {
            return false;
        }
        let request = ChangeRequest { conn, request_id, until: io.now + CHANGE_TIMEOUT };
        cluster.await_engine(request, answer.clone(), false, io.now);
        true
    }

    pub(super) fn answer_changes(&mut self, io: &mut Io<'_>) {
        loop {
            let Some(cluster) = &mut self.cluster else { return };
            let watermark = cluster.index.watermark();
            let waiting = &mut cluster.changes.waiting;
            let Some(first) = waiting.first_entry() else { return };
            // A server that others do not see as alive has no members.
            let is_done = first.key().0 <= watermark && cluster.index.takes_members(io.now);
            if !is_done && first.get().request.until > io.now {
                return;
            }
            let next = first.remove();
            let WaitingChange { request, answer, is_join } = next;
            let ChangeRequest { conn, request_id, .. } = request;
            self.decided(conn);
            let answer = if is_done { Ok(answer) } else { Err(unavailable()) };
            if is_join && answer.is_err() {
                self.leave(conn);
            }
            let has_joined = is_join && answer.is_ok();
            self.respond_queued(conn, request_id, answer, io);
            if has_joined {
                self.report_recently_revoked(conn, io);
            }
        }
    }
}
