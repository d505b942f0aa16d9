//! The index server: a node that answers from an [`Index`] and keeps who is there up to date.
//!
//! A member lives as long as the link by which it joined. Its files are added part by part to a member that nobody sees, which the last part
//! shows; leaving hides it at once and sweeps its entries over the next turns.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::index::{Asker, Index, MemberId, Page};
use crate::message::limits;
use crate::message::refusal::{Code, Refusal};
use crate::message::relative::RelativeName;
use crate::message::reply::Reply;
use crate::message::request::{FileEntry, Join, Request, Wanted};
use crate::message::tongue::Tongue;
use crate::message::version::Session;
use crate::node::io::Io;
use crate::node::op_log::LogTarget;
use crate::node::report::{Report, exit};
use crate::node::{Event, LinkId, Node, PortId};
use crate::session::answering::{Answering, Step, Terms};
use crate::wire::Role;

/// What the operator of a server decides.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub listen: SocketAddr,
    /// How often it wants to hear from its peers.
    pub heartbeat: Duration,
    /// Which addresses a peer may advertise besides its own.
    pub allowed: Vec<Range>,
    /// Where every operation of a user is told.
    pub rpc_log: Option<LogTarget>,
    /// Keeps strangers from choosing names that collide.
    pub seed: u64,
}

/// A range of addresses: those whose first `bits` are the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// One of them.
    pub address: IpAddr,
    /// How many bits count.
    pub bits: u32,
}

impl Range {
    /// True when `other` is one of them.
    #[must_use]
    pub fn holds(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits,
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros() >= self.bits,
            _ => false,
        }
    }
}

/// The index server.
pub struct Server {
    options: ServerOptions,
    terms: Terms,
    index: Index,
    visits: BTreeMap<LinkId, Visit>,
    sweeping: bool,
    /// When the next slice of a sweep is due.
    wake: Option<Instant>,
}

/// One link and who stands behind it.
struct Visit {
    answering: Answering,
    stage: Stage,
    ended: bool,
}

enum Stage {
    Guest,
    /// Parts of a JOIN have come, the last has not.
    Joining {
        who: MemberId,
        address: SocketAddr,
        session: Session,
        next_part: u64,
        line: String,
        before: Option<MemberId>,
    },
    Member {
        who: MemberId,
        address: SocketAddr,
    },
}

impl Server {
    /// A server that knows nobody yet.
    #[must_use]
    pub fn new(options: ServerOptions) -> Server {
        let terms = Terms { role: Role::Server, heartbeat: options.heartbeat };
        let index = Index::new(options.seed);
        Server { options, terms, index, visits: BTreeMap::new(), sweeping: false, wake: None }
    }

    fn received(&mut self, id: LinkId, io: &mut Io<'_>) {
        let now = io.now;
        for _ in 0..limits::VISIT_REQUESTS {
            let Some(link) = io.link(id) else { return };
            let Some(visit) = self.visits.get_mut(&id) else { return };
            match visit.answering.step(&mut link.inbox, &mut link.outbox, now) {
                Step::Wait => return self.settle(id, io),
                Step::Again => {}
                Step::Asked(ask, request) => {
                    let answer = self.answer(id, request, io);
                    let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.link(id)) else { return };
                    match answer {
                        Ok(reply) => visit.answering.reply(ask, &reply, &mut link.outbox),
                        Err(refusal) => visit.answering.refuse(ask, &refusal, &mut link.outbox),
                    }
                }
            }
        }
        if let Some(link) = io.link(id) {
            link.again = true;
        }
    }

    /// Sets a link's deadlines after what could be read was read, and ends it when all is said.
    fn settle(&mut self, id: LinkId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(visit), Some(link)) = (self.visits.get_mut(&id), io.link(id)) else { return };
        link.deadline = visit.answering.head_deadline(&link.inbox, now);
        link.look_at = visit.answering.quiet_until();
        link.silence = Some(visit.answering.silence());
        link.most_head = limits::JOIN_BYTES + 1;
        if visit.answering.is_over() || (visit.ended && link.outbox.memory_waiting() <= limits::HIGH_WATER) {
            link.finish();
        }
    }

    /// Seed 000 §4a: receives and answers the requests of peers.
    fn answer(&mut self, id: LinkId, request: Request, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        match request {
            Request::Ping => Ok(Reply::Pong),
            Request::Join(join) => self.join(id, join, io),
            Request::Update { files, remove } => self.update(id, &files, &remove),
            Request::Leave => self.leave(id).then_some(Reply::LeaveOk).ok_or_else(not_joined),
            Request::Search { wanted, cursor, speaks } => self.search(id, &wanted, cursor.as_deref(), speaks, io),
            Request::Peers { cursor, speaks } => {
                let Page { entries, cursor } = self.index.peers(cursor.as_deref(), &self.who_asks(id, speaks, io))?;
                Ok(Reply::Peers { peers: entries, cursor })
            }
            Request::Ls { peer: None, .. } => Err(Refusal::new(Code::BadRequest, "peer is missing")),
            Request::Ls { peer: Some(peer), cursor } => {
                let asker = self.who_asks(id, None, io);
                let who = self
                    .index
                    .at(peer)
                    .filter(|who| self.index.is_reached(*who, &asker))
                    .ok_or_else(|| Refusal::new(Code::NotFound, "no such peer here"))?;
                let Page { entries, cursor } = self.index.files(who, cursor.as_deref())?;
                Ok(Reply::Files { peer, files: entries, cursor })
            }
            Request::Date => Ok(Reply::Date((io.date)())),
            Request::Find { .. } | Request::Enter(_) | Request::Replace { .. } | Request::Operation(_) => Err(Refusal::unsupported()),
            Request::Fetch(_) | Request::Pieces(_) | Request::Have { .. } | Request::Cancel { .. } => Err(Refusal::unsupported()),
        }
    }

    /// Seed 000 §4c: SEARCH. An empty list, or who has the file of exactly this name.
    fn search(&mut self, id: LinkId, wanted: &Wanted, cursor: Option<&str>, speaks: Option<Tongue>, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let from = self.asker(id, io);
        log::debug!("{from} SEARCH {wanted:?}");
        let asker = self.who_asks(id, speaks, io);
        let page = match wanted {
            Wanted::Name(name) => self.index.search(name, cursor, &asker),
            Wanted::Root(root) => self.index.search_root(*root, cursor, &asker),
        };
        if let (None, Wanted::Name(name)) = (cursor, wanted) {
            // Further pages of an answer are no new question.
            io.tell(Report::Asked { who: from, name: name.clone() });
        }
        let Page { entries, cursor } = page?;
        Ok(Reply::Found { holders: entries, cursor })
    }

    /// What decides which addresses an asker is shown.
    fn who_asks(&self, id: LinkId, speaks: Option<Tongue>, io: &mut Io<'_>) -> Asker {
        Asker { ip: io.link(id).map_or(self.options.listen.ip(), |link| link.from.ip()), speaks }
    }

    /// The address under which an asker is known: its own in the index, else that of its link.
    fn asker(&self, id: LinkId, io: &mut Io<'_>) -> SocketAddr {
        match self.visits.get(&id).map(|visit| &visit.stage) {
            Some(Stage::Member { address, .. }) => *address,
            _ => io.link(id).map_or(self.options.listen, |link| link.from),
        }
    }

    /// Seed 000 §4b: JOIN. One part of it; the last makes the peer visible.
    fn join(&mut self, id: LinkId, join: Join, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        if join.part == 0 {
            self.join_begins(id, &join, io)?;
        }
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        let Stage::Joining { who, next_part, line, .. } = &mut visit.stage else {
            return Err(Refusal::new(Code::BadRequest, "part 0 comes first"));
        };
        if *next_part != join.part {
            return Err(Refusal::new(Code::BadRequest, format!("part {next_part} comes next")));
        }
        *next_part += 1;
        let who = *who;
        for file in &join.files {
            if self.index.add(who, file)? && line.len() < limits::LINE_BYTES {
                line.push(' ');
                line.push_str(&file.name);
            }
        }
        if join.more { Ok(Reply::JoinMore) } else { self.join_ends(id, io) }
    }

    fn join_begins(&mut self, id: LinkId, join: &Join, io: &mut Io<'_>) -> Result<(), Refusal> {
        let from = io.link(id).map(|link| link.from).ok_or_else(not_joined)?;
        let port = join.port.ok_or_else(|| Refusal::new(Code::BadRequest, "port is missing"))?;
        let address = join.advertise.unwrap_or_else(|| SocketAddr::new(from.ip(), port));
        if !self.may_advertise(from.ip(), address.ip()) {
            return Err(Refusal::new(Code::Address, "this server does not allow that address"));
        }
        let mut session = Session((io.random)());
        if let Some(holder) = self.index.native_at(address)
            && !self.is_behind(id, holder)
        {
            match join.session {
                Some(proof) if self.index.proves(holder, proof) => session = proof,
                _ => return Err(in_use()),
            }
        }
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        // Who joins again stays visible as it was until the last part has come.
        let before = match std::mem::replace(&mut visit.stage, Stage::Guest) {
            Stage::Guest => None,
            Stage::Member { who, .. } => Some(who),
            Stage::Joining { who, before, .. } => {
                self.index.leave(who);
                before
            }
        };
        let who = self.index.begin(address, session);
        visit.stage = Stage::Joining { who, address, session, next_part: 0, line: String::new(), before };
        self.sweeping = true;
        Ok(())
    }

    fn join_ends(&mut self, id: LinkId, io: &mut Io<'_>) -> Result<Reply, Refusal> {
        let Some(visit) = self.visits.get_mut(&id) else { return Err(not_joined()) };
        let stage = std::mem::replace(&mut visit.stage, Stage::Guest);
        let Stage::Joining { who, address, session, line, before, .. } = stage else { return Err(not_joined()) };
        if let Some(other) = self.index.native_at(address).filter(|other| Some(*other) != before) {
            if !self.index.proves(other, session) {
                // Somebody was quicker since this JOIN began.
                self.forget(Stage::Joining { who, address, session, next_part: 0, line, before });
                return Err(in_use());
            }
            self.put_out(other, io);
        }
        if let Some(before) = before {
            self.index.leave(before);
        }
        self.index.show(who);
        if let Some(visit) = self.visits.get_mut(&id) {
            visit.stage = Stage::Member { who, address };
        }
        let files = self.index.count(who);
        log::info!("{address} joined with {files} files, {} peers", self.index.len());
        io.tell(Report::Joined { who: address, names: line });
        let heartbeat_ms = u64::try_from(self.terms.heartbeat.as_millis()).unwrap_or(limits::LARGEST_INTEGER);
        Ok(Reply::JoinOk { you: address, files, session, heartbeat_ms })
    }

    /// Takes a member out whose place another link has proven to be its own.
    fn put_out(&mut self, who: MemberId, io: &mut Io<'_>) {
        self.index.leave(who);
        self.sweeping = true;
        let link = self
            .visits
            .iter()
            .find(|(_, visit)| matches!(visit.stage, Stage::Member { who: other, .. } | Stage::Joining { before: Some(other), .. } if other == who))
            .map(|(id, _)| *id);
        if let Some(id) = link {
            if let Some(visit) = self.visits.get_mut(&id)
                && let Stage::Joining { who, .. } = std::mem::replace(&mut visit.stage, Stage::Guest)
            {
                self.index.leave(who);
            }
            if let Some(link) = io.link(id) {
                link.drop_now();
            }
        }
    }

    fn is_behind(&self, id: LinkId, member: MemberId) -> bool {
        match self.visits.get(&id).map(|visit| &visit.stage) {
            Some(Stage::Member { who, .. }) => *who == member,
            Some(Stage::Joining { before, .. }) => *before == Some(member),
            _ => false,
        }
    }

    fn may_advertise(&self, from: IpAddr, wanted: IpAddr) -> bool {
        if wanted.is_unspecified() || wanted.is_multicast() {
            return false;
        }
        from == wanted || (from.is_loopback() && wanted.is_loopback()) || self.options.allowed.iter().any(|range| range.holds(wanted))
    }

    /// Seed 000 §4d: UPDATE.
    fn update(&mut self, id: LinkId, files: &[FileEntry], remove: &[RelativeName]) -> Result<Reply, Refusal> {
        let Some(Visit { stage: Stage::Member { who, .. }, .. }) = self.visits.get(&id) else { return Err(not_joined()) };
        for name in remove {
            self.index.remove(*who, name);
        }
        for file in files {
            self.index.add(*who, file)?;
        }
        Ok(Reply::UpdateOk { files: self.index.count(*who) })
    }

    /// Takes whoever joined by this link out of the index. False when nobody did.
    fn leave(&mut self, id: LinkId) -> bool {
        let Some(visit) = self.visits.get_mut(&id) else { return false };
        let stage = std::mem::replace(&mut visit.stage, Stage::Guest);
        self.forget(stage)
    }

    fn forget(&mut self, stage: Stage) -> bool {
        self.sweeping = true;
        match stage {
            Stage::Guest => false,
            Stage::Member { who, address } => {
                self.index.leave(who);
                log::info!("{address} left, {} peers", self.index.len());
                true
            }
            Stage::Joining { who, before, .. } => {
                self.index.leave(who);
                before.inspect(|before| self.index.leave(*before)).is_some()
            }
        }
    }
}

impl Node for Server {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => io.listen(PortId(0), self.options.listen),
            Event::Listening(_, Ok(at)) => {
                log::info!("listening on {at}");
                io.tell(Report::Listening(at));
            }
            Event::Listening(_, Err(why)) => {
                io.tell(Report::PortFailed { at: self.options.listen, why });
                io.exit(exit::LOCAL);
            }
            Event::Accepted(id, _) => {
                let nonce = io.nonce();
                let now = io.now;
                let Some(link) = io.link(id) else { return };
                let mut answering = Answering::new(self.terms, link.from, nonce, now);
                link.deadline = answering.head_deadline(&link.inbox, now);
                self.visits.insert(id, Visit { answering, stage: Stage::Guest, ended: false });
            }
            Event::Received(id) | Event::Drained(id) => self.received(id, io),
            Event::Ended(id) => {
                // What came before the end is still answered; the member itself is gone.
                if let Some(visit) = self.visits.get_mut(&id) {
                    visit.answering.ends();
                }
                self.received(id, io);
                self.leave(id);
                if let Some(visit) = self.visits.get_mut(&id) {
                    visit.ended = true;
                }
                let more = io.link(id).is_some_and(|link| link.again);
                if !more {
                    self.settle(id, io);
                }
            }
            Event::Closed(id, cause) => {
                if let Some(visit) = self.visits.remove(&id) {
                    log::debug!("link {} ended: {cause:?}", id.0);
                    self.forget(visit.stage);
                }
            }
            Event::Stop(_) => io.exit(exit::DONE),
            Event::Connected(_) | Event::Command(_) | Event::CommandsEnded => {}
            Event::Deadline => {
                self.sweeping = self.index.sweep(limits::SWEEP_FILES);
            }
        }
        self.wake = self.sweeping.then_some(io.now);
    }

    fn deadline(&self) -> Option<Instant> {
        self.wake
    }
}

fn not_joined() -> Refusal {
    Refusal::new(Code::NotJoined, "JOIN comes first")
}

fn in_use() -> Refusal {
    Refusal::new(Code::InUse, "another peer holds that address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_the_addresses_with_its_first_bits() {
        let range = Range { address: "192.168.4.0".parse().unwrap(), bits: 22 };
        assert!(range.holds("192.168.7.9".parse().unwrap()));
        assert!(!range.holds("192.168.8.1".parse().unwrap()));
        assert!(!range.holds("::1".parse().unwrap()));
        assert!(Range { address: "::".parse().unwrap(), bits: 0 }.holds("2001:db8::1".parse().unwrap()));
    }
}
