//! The server's side of the operation log of seed 003: every operation is told to a log server by RPC, over one link that is kept.
//!
//! Nothing waits for it. What happens goes into a queue; while the log server is away the oldest are dropped and counted.
//!
//! ```text
//!   Off --an operation--> Finding(port mapper) --its port--> Connecting --connected--> Open --lost--> Resting --time--> ...
//!                               only where nobody named the port
//! ```

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::message::account::Method;
use crate::message::limits;
use crate::node::io::Io;
use crate::node::{Cause, LinkId};
use crate::wire::rpc::{self, Answer, Logged, MAPPER_PORT, Mapping};

/// Where the log server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// Its machine, under each of its addresses; they are tried in turn.
    pub addresses: Vec<IpAddr>,
    /// Its port; `None`: the port mapper of its machine is asked.
    pub port: Option<u16>,
}

/// What a server has to tell its log.
pub struct OpLog {
    target: Option<LogTarget>,
    at: usize,
    state: State,
    waiting: VecDeque<Waiting>,
    xid: Option<u32>,
    attempts: u32,
    dropped: u64,
    /// That it is away was said.
    told: bool,
}

/// An operation that was not acknowledged yet.
struct Waiting {
    what: Logged,
    /// The call that is under way for it.
    call: Option<u32>,
}

enum State {
    Off,
    Resting(Instant),
    /// Asks the port mapper; the call, once it was sent.
    Finding(LinkId, Option<u32>),
    Connecting(LinkId),
    Open(LinkId),
}

impl OpLog {
    /// A log at `target`; without one nothing is ever logged.
    #[must_use]
    pub fn new(target: Option<LogTarget>) -> OpLog {
        let target = target.filter(|target| !target.addresses.is_empty());
        OpLog { target, at: 0, state: State::Off, waiting: VecDeque::new(), xid: None, attempts: 0, dropped: 0, told: false }
    }

    /// True when there is a log to be told.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.target.is_some()
    }

    /// Notes an operation, with the date that its asker or our own clock says.
    pub fn note(&mut self, user: &str, method: Method, file: Option<&str>, date: &str, io: &mut Io<'_>) {
        if !self.is_wanted() {
            return;
        }
        if self.waiting.len() >= limits::LOG_RECORDS {
            if self.dropped == 0 {
                log::warn!("the operation log does not keep up: its oldest lines are dropped");
            }
            self.dropped += 1;
            // One that is under way is on the wire already: to drop it would let more than LOG_CALLS get there.
            if let Some(oldest) = self.waiting.iter().position(|waiting| waiting.call.is_none()) {
                self.waiting.remove(oldest);
            }
        }
        // A record has its limit, and every name that gets here has a smaller one.
        let short = |text: &str| text.char_indices().take_while(|(at, _)| *at < limits::RELATIVE_BYTES).map(|(_, c)| c).collect::<String>();
        let what = Logged { user: short(user), operation: method.word().to_owned(), file: file.map(short), date: short(date) };
        self.waiting.push_back(Waiting { what, call: None });
        match self.state {
            State::Off => self.connect(io),
            State::Open(id) => self.send(id, io),
            State::Resting(_) | State::Finding(..) | State::Connecting(_) => {}
        }
    }

    /// True when this link is one of the log's.
    #[must_use]
    pub fn is(&self, id: LinkId) -> bool {
        match self.state {
            State::Finding(link, _) | State::Connecting(link) | State::Open(link) => link == id,
            State::Off | State::Resting(_) => false,
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        let Some(target) = &self.target else { return };
        let Some(address) = target.addresses.get(self.at % target.addresses.len().max(1)) else { return };
        self.state = match target.port {
            Some(port) => State::Connecting(io.connect(SocketAddr::new(*address, port), None)),
            None => State::Finding(io.connect(SocketAddr::new(*address, MAPPER_PORT), None), None),
        };
    }

    fn xid(&mut self, io: &mut Io<'_>) -> u32 {
        let [a, b, c, d, ..] = (io.random)();
        // They begin by chance, so that an answer to a call of an earlier process is none to ours.
        let xid = self.xid.map_or(u32::from_be_bytes([a, b, c, d]), |last| last.wrapping_add(1));
        self.xid = Some(xid);
        xid
    }

    /// The link is there.
    pub fn connected(&mut self, id: LinkId, io: &mut Io<'_>) {
        let deadline = io.now + limits::ANSWER;
        match self.state {
            State::Finding(..) => {
                let xid = self.xid(io);
                let Some(link) = io.link(id) else { return };
                link.most_head = rpc::RECORD_ROOM;
                link.deadline = Some(deadline);
                link.outbox.memory().with(|out| Mapping::Find.put_call(xid, out));
                self.state = State::Finding(id, Some(xid));
            }
            State::Connecting(_) => {
                if let Some(link) = io.link(id) {
                    link.most_head = rpc::RECORD_ROOM;
                }
                self.state = State::Open(id);
                self.send(id, io);
            }
            State::Off | State::Resting(_) | State::Open(_) => {}
        }
    }

    /// Calls for as many operations as may be under way.
    fn send(&mut self, id: LinkId, io: &mut Io<'_>) {
        let under_way = self.waiting.iter().take(limits::LOG_CALLS).filter(|waiting| waiting.call.is_some()).count();
        for place in under_way..self.waiting.len().min(limits::LOG_CALLS) {
            let xid = self.xid(io);
            let (Some(waiting), Some(link)) = (self.waiting.get_mut(place), io.link(id)) else { return };
            waiting.call = Some(xid);
            link.outbox.memory().with(|out| waiting.what.put_call(xid, out));
        }
        let deadline = (!self.waiting.is_empty()).then(|| io.now + limits::ANSWER);
        if let Some(link) = io.link(id) {
            // Only the first call of several starts the clock, and each answer starts it again.
            link.deadline = if under_way > 0 { link.deadline } else { deadline };
        }
    }

    /// Something has come.
    pub fn received(&mut self, id: LinkId, io: &mut Io<'_>) {
        loop {
            let Some(link) = io.link(id) else { return };
            let record = match rpc::record(link.inbox.head()) {
                Ok(None) => return,
                Ok(Some((record, used))) => {
                    link.inbox.consume(used);
                    record
                }
                Err(rpc::Nonsense) => return self.lost("it speaks no RPC", io),
            };
            let Ok((xid, answer)) = rpc::answer(&record) else { return self.lost("it speaks no RPC", io) };
            if matches!(self.state, State::Finding(_, Some(asked)) if asked == xid) {
                return self.found(id, answer, io);
            }
            // What answers nothing that was asked is not looked at.
            if matches!(self.state, State::Open(_)) && !self.answered(xid, answer, io) {
                return;
            }
        }
    }

    /// The port mapper has answered.
    fn found(&mut self, id: LinkId, answer: Answer<'_>, io: &mut Io<'_>) {
        let port = match answer {
            Answer::Done(results) => rpc::result(results).and_then(|port| u16::try_from(port).ok()).filter(|port| *port != 0),
            _ => None,
        };
        let Some(port) = port else { return self.lost("the port mapper does not know it", io) };
        let Some(link) = io.link(id) else { return };
        link.drop_now();
        let to = SocketAddr::new(link.from.ip(), port);
        self.state = State::Connecting(io.connect(to, None));
    }

    /// The log server has answered. True when more may be read.
    fn answered(&mut self, xid: u32, answer: Answer<'_>, io: &mut Io<'_>) -> bool {
        let State::Open(id) = self.state else { return false };
        let Some(place) = self.waiting.iter().take(limits::LOG_CALLS).position(|waiting| waiting.call == Some(xid)) else { return true };
        match answer {
            Answer::Done(results) => match rpc::result(results) {
                Some(0) => {}
                Some(code) => log::debug!("the operation log answers {code}"),
                None => {
                    self.lost("it does not answer as a log does", io);
                    return false;
                }
            },
            // It may be an operation that it does not like; the next one is another.
            Answer::Garbage | Answer::Failed => log::debug!("the operation log refuses a line: {answer:?}"),
            Answer::NoProgram | Answer::OtherVersions(..) | Answer::NoProcedure | Answer::Denied => {
                self.lost("it is none", io);
                return false;
            }
        }
        self.waiting.remove(place);
        self.attempts = 0;
        if std::mem::take(&mut self.told) {
            log::warn!("the operation log is there again");
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            log::warn!("{dropped} lines of the operation log were dropped");
        }
        let deadline = (!self.waiting.is_empty()).then(|| io.now + limits::ANSWER);
        if let Some(link) = io.link(id) {
            link.deadline = deadline;
        }
        self.send(id, io);
        true
    }

    /// The other side will send no more.
    pub fn ended(&mut self, id: LinkId, io: &mut Io<'_>) {
        if self.is(id) {
            self.received(id, io);
        }
        if self.is(id) {
            self.lost("it has ended its link", io);
        }
    }

    /// The link is gone.
    pub fn closed(&mut self, id: LinkId, cause: &Cause, io: &mut Io<'_>) {
        if self.is(id) {
            match cause {
                Cause::Unreachable(why) | Cause::Ours(why) => self.lost(why, io),
                Cause::Late => self.lost("it does not answer", io),
                Cause::Done | Cause::Theirs | Cause::SourceChanged | Cause::Disk(_) => self.lost("it has ended its link", io),
            }
        }
    }

    /// This link is of no use any more.
    fn lost(&mut self, why: &str, io: &mut Io<'_>) {
        if let State::Finding(id, _) | State::Connecting(id) | State::Open(id) = self.state
            && let Some(link) = io.link(id)
        {
            link.drop_now();
        }
        let was_open = matches!(self.state, State::Open(_));
        for waiting in &mut self.waiting {
            // It is asked again: a line that stands in the log twice is better than one that does not stand there.
            waiting.call = None;
        }
        if self.waiting.is_empty() {
            // Its own business: the next operation opens another link.
            self.state = State::Off;
            return;
        }
        if !std::mem::replace(&mut self.told, true) {
            log::warn!("the operation log is away: {why}");
        }
        let addresses = self.target.as_ref().map_or(1, |target| target.addresses.len());
        if !was_open && self.at + 1 < addresses {
            self.at += 1;
            return self.connect(io);
        }
        if !was_open {
            self.at = 0;
        }
        let (first, longest) = limits::BACKOFF;
        let whole = first.saturating_mul(1 << self.attempts.min(16)).min(longest);
        self.attempts += 1;
        self.state = State::Resting(io.now + io.jitter(whole));
    }

    /// Does what its time has come for.
    pub fn due(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, State::Resting(until) if until <= io.now) {
            self.connect(io);
        }
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Resting(until) => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::flow::ends::RawWrite;
    use crate::node::io::{Action, Ending, Link, Table, Way};

    /// Links that lead nowhere: what goes out is read by the test.
    #[derive(Default)]
    struct Boxes(BTreeMap<usize, Link>);

    impl Table for Boxes {
        fn link(&mut self, id: LinkId) -> Option<&mut Link> {
            self.0.get_mut(&id.0)
        }

        fn connect(&mut self, to: SocketAddr, _: Way) -> LinkId {
            let id = self.0.len();
            self.0.insert(id, Link::new(to, limits::HEAD_BYTES));
            LinkId(id)
        }
    }

    struct Heap(Vec<u8>);

    impl RawWrite for Heap {
        fn write_bytes(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn write_mapped(&mut self, _: *const u8, _: usize) -> std::io::Result<usize> {
            Ok(0)
        }
    }

    struct World {
        log: OpLog,
        boxes: Boxes,
        now: Instant,
    }

    impl World {
        fn new(addresses: &[&str], port: Option<u16>) -> World {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            World { log: OpLog::new(Some(LogTarget { addresses, port })), boxes: Boxes::default(), now: Instant::now() }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut OpLog, &mut Io<'_>) -> T) -> T {
            let (mut actions, mut random): (Vec<Action>, _) = (Vec::new(), || [0; 16]);
            let date = String::new;
            let mut io = Io {
                now: self.now,
                table: &mut self.boxes,
                actions: &mut actions,
                random: &mut random,
                turns: &crate::node::turns::Turns::default(),
                date: &date,
            };
            act(&mut self.log, &mut io)
        }

        fn note(&mut self, user: &str) {
            self.with(|log, io| log.note(user, Method::Connect, None, "12/05/2024 10:20:30", io));
        }

        /// Where the latest link goes.
        fn to(&self) -> (usize, String) {
            let (id, link) = self.boxes.0.last_key_value().expect("a link");
            (*id, link.from.to_string())
        }

        fn connected(&mut self, id: usize) {
            self.with(|log, io| log.connected(LinkId(id), io));
        }

        /// What was called on a link since.
        fn calls(&mut self, id: usize) -> Vec<(u32, u32, Vec<u8>)> {
            let mut said = Heap(Vec::new());
            let link = self.boxes.0.get_mut(&id).expect("a link");
            link.outbox.write_to(&mut said, usize::MAX, true, self.now).unwrap();
            let (mut calls, mut rest) = (Vec::new(), &said.0[..]);
            while let Some((record, used)) = rpc::record(rest).unwrap() {
                let call = rpc::call(&record).unwrap();
                calls.push((call.xid, call.procedure, call.arguments.to_vec()));
                rest = &rest[used..];
            }
            calls
        }

        fn users(&mut self, id: usize) -> Vec<String> {
            self.calls(id).iter().map(|(_, procedure, arguments)| Logged::read(*procedure, arguments).expect("a line").user).collect()
        }

        fn answer(&mut self, id: usize, xid: u32, answer: Answer<'_>) {
            let mut out = Vec::new();
            rpc::put_answer(xid, answer, &mut out);
            self.hears(id, &out);
        }

        fn hears(&mut self, id: usize, bytes: &[u8]) {
            self.boxes.0.get_mut(&id).expect("a link").inbox.take(bytes).unwrap();
            self.with(|log, io| log.received(LinkId(id), io));
        }
    }

    const YES: Answer<'static> = Answer::Done(&[0; 4]);

    #[test]
    fn an_operation_opens_the_link_and_those_that_follow_keep_it() {
        let mut world = World::new(&["127.0.0.1"], Some(6111));
        assert!(world.boxes.0.is_empty());
        world.note("ana");
        assert_eq!(world.to(), (0, "127.0.0.1:6111".into()));
        world.connected(0);
        world.with(|log, io| log.note("ana", Method::Publish, Some("a b.mp4"), "now", io));
        let calls = world.calls(0);
        assert_eq!(calls.iter().map(|call| call.1).collect::<Vec<_>>(), [rpc::LOG, rpc::LOG_FILE]);
        assert_eq!(Logged::read(calls[1].1, &calls[1].2).unwrap().file.as_deref(), Some("a b.mp4"));
        assert!(world.boxes.0[&0].deadline.is_some());
        // In whatever order they are answered.
        world.answer(0, calls[1].0, YES);
        world.answer(0, calls[0].0, YES);
        assert!(world.log.waiting.is_empty() && world.boxes.0[&0].deadline.is_none());
        world.note("bob");
        assert_eq!((world.users(0), world.boxes.0.len()), (vec!["bob".to_owned()], 1));
    }

    #[test]
    fn the_port_mapper_is_asked_where_nobody_names_the_port() {
        let mut world = World::new(&["127.0.0.1"], None);
        world.note("ana");
        assert_eq!(world.to(), (0, "127.0.0.1:111".into()));
        world.connected(0);
        let calls = world.calls(0);
        assert_eq!((calls.len(), calls[0].1), (1, 3));
        world.answer(0, calls[0].0, Answer::Done(&[0, 0, 0x17, 0xdf]));
        assert_eq!(world.to(), (1, "127.0.0.1:6111".into()));
        assert_eq!(world.boxes.0[&0].ending, Ending::Now);
        assert!(!world.log.is(LinkId(0)) && world.log.is(LinkId(1)));
        world.connected(1);
        assert_eq!(world.users(1), ["ana"]);
    }

    #[test]
    fn a_log_that_nobody_knows_is_asked_for_again_later() {
        let mut world = World::new(&["::1", "127.0.0.1"], None);
        world.note("ana");
        assert_eq!(world.to(), (0, "[::1]:111".into()));
        world.with(|log, io| log.closed(LinkId(0), &Cause::Unreachable("no answer".into()), io));
        assert_eq!(world.to(), (1, "127.0.0.1:111".into()));
        world.connected(1);
        let calls = world.calls(1);
        world.answer(1, calls[0].0, Answer::Done(&[0; 4]));
        assert!(world.log.deadline().is_some_and(|at| at > world.now));
        world.with(|log, io| log.due(io));
        assert_eq!(world.boxes.0.len(), 2);
        world.now += Duration::from_secs(1);
        world.with(|log, io| log.due(io));
        assert_eq!(world.to(), (2, "[::1]:111".into()));
    }

    #[test]
    fn what_was_not_acknowledged_is_told_again_in_its_order() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        for user in ["a", "b", "c"] {
            world.note(user);
        }
        world.connected(0);
        let calls = world.calls(0);
        world.answer(0, calls[0].0, YES);
        world.with(|log, io| log.closed(LinkId(0), &Cause::Theirs, io));
        world.note("d");
        assert_eq!(world.boxes.0.len(), 1);
        world.now += Duration::from_secs(1);
        world.with(|log, io| log.due(io));
        world.connected(1);
        assert_eq!(world.users(1), ["b", "c", "d"]);
    }

    #[test]
    fn a_log_that_ends_an_idle_link_is_asked_again_when_there_is_something() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        world.note("a");
        world.connected(0);
        let calls = world.calls(0);
        world.answer(0, calls[0].0, YES);
        world.with(|log, io| log.ended(LinkId(0), io));
        assert_eq!((world.log.deadline(), world.boxes.0[&0].ending), (None, Ending::Now));
        world.note("b");
        world.connected(1);
        assert_eq!(world.users(1), ["b"]);
    }

    #[test]
    fn the_oldest_are_dropped_and_only_some_are_under_way() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        for user in 0..limits::LOG_RECORDS + 10 {
            world.note(&user.to_string());
        }
        assert_eq!((world.log.waiting.len(), world.log.dropped), (limits::LOG_RECORDS, 10));
        world.connected(0);
        let calls = world.calls(0);
        assert_eq!(calls.len(), limits::LOG_CALLS);
        world.answer(0, calls[0].0, YES);
        assert_eq!((world.users(0), world.log.dropped), (vec![(10 + limits::LOG_CALLS).to_string()], 0));
        // Those that are under way are not dropped, nor are more of them sent while they are not answered.
        for user in 0..5 {
            world.note(&user.to_string());
        }
        assert_eq!((world.calls(0).len(), world.log.dropped), (0, 4));
        world.answer(0, calls[1].0, YES);
        assert_eq!((world.users(0).len(), world.log.waiting.len()), (1, limits::LOG_RECORDS - 1));
    }

    #[test]
    fn who_is_no_operation_log_is_left() {
        for answer in [Answer::NoProgram, Answer::OtherVersions(2, 2), Answer::NoProcedure, Answer::Denied, Answer::Done(&[]), Answer::Done(&[0; 8])]
        {
            let mut world = World::new(&["127.0.0.1"], Some(1));
            world.note("a");
            world.connected(0);
            let calls = world.calls(0);
            world.answer(0, calls[0].0, answer);
            assert_eq!((world.boxes.0[&0].ending, world.log.waiting.len()), (Ending::Now, 1), "{answer:?}");
            assert!(world.log.deadline().is_some());
        }
        for answer in [Answer::Garbage, Answer::Failed, Answer::Done(&[0, 0, 0, 9])] {
            let mut world = World::new(&["127.0.0.1"], Some(1));
            world.note("a");
            world.connected(0);
            let calls = world.calls(0);
            world.answer(0, calls[0].0, answer);
            assert_eq!((world.boxes.0[&0].ending, world.log.waiting.len()), (Ending::Open, 0), "{answer:?}");
        }
        let mut world = World::new(&["127.0.0.1"], Some(1));
        world.note("a");
        world.connected(0);
        world.hears(0, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(world.boxes.0[&0].ending, Ending::Now);
    }

    #[test]
    fn without_a_target_nothing_is_kept() {
        let mut world = World::new(&[], None);
        world.note("a");
        assert!(world.boxes.0.is_empty() && world.log.waiting.is_empty());
    }
}
