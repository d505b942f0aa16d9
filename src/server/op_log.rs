//! The sending side of the operation log: each operation goes to a log server by RPC, over one connection.
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

use crate::limits;
use crate::node::io::Io;
use crate::node::{CloseReason, ConnId};
use crate::protocol::legacy::onc_rpc::{self, Logged, MAPPER_PORT, Mapping, RpcReply};
use crate::protocol::types::account::Method;

/// Where the log server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// Its machine, under each of its addresses; they are tried in turn.
    pub addresses: Vec<IpAddr>,
    /// Its port; `None`: the port mapper of its machine is asked.
    pub port: Option<u16>,
}

/// What a server has to tell its log.
pub struct OperationLog {
    target: Option<LogTarget>,
    at: usize,
    state: LogState,
    waiting: VecDeque<WaitingEntry>,
    xid: Option<u32>,
    attempts: u32,
    dropped: u64,
    /// That it is away was said.
    told: bool,
}

/// An operation that was not acknowledged yet.
struct WaitingEntry {
    what: Logged,
    /// The call that is under way for it.
    call: Option<u32>,
}

enum LogState {
    Off,
    Resting(Instant),
    /// Asks the port mapper; the call, once it was sent.
    Finding(ConnId, Option<u32>),
    Connecting(ConnId),
    Open(ConnId),
}

impl OperationLog {
    /// A log at `target`; without one nothing is ever logged.
    #[must_use]
    pub fn new(target: Option<LogTarget>) -> OperationLog {
        let target = target.filter(|target| !target.addresses.is_empty());
        OperationLog {
            target,
            at: 0,
            state: LogState::Off,
            waiting: VecDeque::new(),
            xid: None,
            attempts: 0,
            dropped: 0,
            told: false,
        }
    }

    /// True when there is a log to be told.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.target.is_some()
    }

    /// Notes an operation, with the date that its asker or our own clock says.
    pub fn note(
        &mut self,
        user: &str,
        method: Method,
        file: Option<&str>,
        date: &str,
        io: &mut Io<'_>,
    ) {
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
        let short = |text: &str| {
            text.char_indices()
                .take_while(|(at, _)| *at < limits::RELATIVE_BYTES)
                .map(|(_, c)| c)
                .collect::<String>()
        };
        let what = Logged {
            user: short(user),
            operation: method.as_str().to_owned(),
            file: file.map(short),
            date: short(date),
        };
        self.waiting.push_back(WaitingEntry { what, call: None });
        match self.state {
            LogState::Off => self.connect(io),
            LogState::Open(id) => self.send(id, io),
            LogState::Resting(_) | LogState::Finding(..) | LogState::Connecting(_) => {}
        }
    }

    /// True when this link is one of the log's.
    #[must_use]
    pub fn is(&self, id: ConnId) -> bool {
        match self.state {
            LogState::Finding(link, _) | LogState::Connecting(link) | LogState::Open(link) => {
                link == id
            }
            LogState::Off | LogState::Resting(_) => false,
        }
    }

    fn connect(&mut self, io: &mut Io<'_>) {
        let Some(target) = &self.target else { return };
        let Some(address) = target.addresses.get(self.at % target.addresses.len().max(1)) else {
            return;
        };
        self.state = match target.port {
            Some(port) => LogState::Connecting(io.connect(SocketAddr::new(*address, port), None)),
            None => {
                LogState::Finding(io.connect(SocketAddr::new(*address, MAPPER_PORT), None), None)
            }
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
    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        let deadline = io.now + limits::RESPONSE_TIMEOUT;
        match self.state {
            LogState::Finding(..) => {
                let xid = self.xid(io);
                let Some(link) = io.connection(id) else { return };
                link.max_header = onc_rpc::RECORD_ROOM;
                link.deadline = Some(deadline);
                link.send_queue.memory().with(|out| Mapping::Find.put_call(xid, out));
                self.state = LogState::Finding(id, Some(xid));
            }
            LogState::Connecting(_) => {
                if let Some(link) = io.connection(id) {
                    link.max_header = onc_rpc::RECORD_ROOM;
                }
                self.state = LogState::Open(id);
                self.send(id, io);
            }
            LogState::Off | LogState::Resting(_) | LogState::Open(_) => {}
        }
    }

    /// Calls for as many operations as may be under way.
    fn send(&mut self, id: ConnId, io: &mut Io<'_>) {
        let under_way = self
            .waiting
            .iter()
            .take(limits::LOG_CALLS)
            .filter(|waiting| waiting.call.is_some())
            .count();
        for place in under_way..self.waiting.len().min(limits::LOG_CALLS) {
            let xid = self.xid(io);
            let (Some(waiting), Some(link)) = (self.waiting.get_mut(place), io.connection(id))
            else {
                return;
            };
            waiting.call = Some(xid);
            link.send_queue.memory().with(|out| waiting.what.put_call(xid, out));
        }
        let deadline = (!self.waiting.is_empty()).then(|| io.now + limits::RESPONSE_TIMEOUT);
        if let Some(link) = io.connection(id) {
            // Only the first call of several starts the clock, and each answer starts it again.
            link.deadline = if under_way > 0 { link.deadline } else { deadline };
        }
    }

    /// Something has come.
    pub fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        loop {
            let Some(link) = io.connection(id) else { return };
            let record = match onc_rpc::record(link.recv_buffer.header()) {
                Ok(None) => return,
                Ok(Some((record, used))) => {
                    link.recv_buffer.consume(used);
                    record
                }
                Err(onc_rpc::RpcError) => return self.lost("it speaks no RPC", io),
            };
            let Ok((xid, answer)) = onc_rpc::answer(&record) else {
                return self.lost("it speaks no RPC", io);
            };
            if matches!(self.state, LogState::Finding(_, Some(asked)) if asked == xid) {
                return self.found(id, answer, io);
            }
            // What answers nothing that was asked is not looked at.
            if matches!(self.state, LogState::Open(_)) && !self.answered(xid, answer, io) {
                return;
            }
        }
    }

    /// The port mapper has answered.
    fn found(&mut self, id: ConnId, answer: RpcReply<'_>, io: &mut Io<'_>) {
        let port = match answer {
            RpcReply::Done(results) => onc_rpc::result(results)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            _ => None,
        };
        let Some(port) = port else { return self.lost("the port mapper does not know it", io) };
        let Some(link) = io.connection(id) else { return };
        link.drop_now();
        let to = SocketAddr::new(link.from.ip(), port);
        self.state = LogState::Connecting(io.connect(to, None));
    }

    /// The log server has answered. True when more may be read.
    fn answered(&mut self, xid: u32, answer: RpcReply<'_>, io: &mut Io<'_>) -> bool {
        let LogState::Open(id) = self.state else { return false };
        let Some(place) = self
            .waiting
            .iter()
            .take(limits::LOG_CALLS)
            .position(|waiting| waiting.call == Some(xid))
        else {
            return true;
        };
        match answer {
            RpcReply::Done(results) => match onc_rpc::result(results) {
                Some(0) => {}
                Some(code) => log::debug!("the operation log answers {code}"),
                None => {
                    self.lost("it does not answer as a log does", io);
                    return false;
                }
            },
            // It may be an operation that it does not like; the next one is another.
            RpcReply::Garbage | RpcReply::Failed => {
                log::debug!("the operation log refuses a line: {answer:?}")
            }
            RpcReply::NoProgram
            | RpcReply::OtherVersions(..)
            | RpcReply::NoProcedure
            | RpcReply::Denied => {
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
        let deadline = (!self.waiting.is_empty()).then(|| io.now + limits::RESPONSE_TIMEOUT);
        if let Some(link) = io.connection(id) {
            link.deadline = deadline;
        }
        self.send(id, io);
        true
    }

    /// The other side will send no more.
    pub fn ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        if self.is(id) {
            self.received(id, io);
        }
        if self.is(id) {
            self.lost("it has ended its link", io);
        }
    }

    /// The link is gone.
    pub fn closed(&mut self, id: ConnId, cause: &CloseReason, io: &mut Io<'_>) {
        if self.is(id) {
            match cause {
                CloseReason::Unreachable(why) | CloseReason::Internal(why) => self.lost(why, io),
                CloseReason::Timeout => self.lost("it does not answer", io),
                CloseReason::Done
                | CloseReason::Remote
                | CloseReason::SourceChanged
                | CloseReason::Disk(_) => self.lost("it has ended its link", io),
            }
        }
    }

    /// This link is of no use any more.
    fn lost(&mut self, why: &str, io: &mut Io<'_>) {
        if let LogState::Finding(id, _) | LogState::Connecting(id) | LogState::Open(id) = self.state
            && let Some(link) = io.connection(id)
        {
            link.drop_now();
        }
        let was_open = matches!(self.state, LogState::Open(_));
        for waiting in &mut self.waiting {
            // It is asked again: a line that stands in the log twice is better than one that does not stand there.
            waiting.call = None;
        }
        if self.waiting.is_empty() {
            // Its own business: the next operation opens another link.
            self.state = LogState::Off;
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
        self.state = LogState::Resting(io.now + io.jitter(whole));
    }

    /// Does what its time has come for.
    pub fn due(&mut self, io: &mut Io<'_>) {
        if matches!(self.state, LogState::Resting(until) if until <= io.now) {
            self.connect(io);
        }
    }

    /// When it wants to be woken.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        match self.state {
            LogState::Resting(until) => Some(until),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::*;
    use crate::io::traits::RawWrite;
    use crate::node::io::{Action, CloseMode, ConnHandle, ConnTable, Transport};

    /// Links that lead nowhere: what goes out is read by the test.
    #[derive(Default)]
    struct Boxes(BTreeMap<usize, ConnHandle>);

    impl ConnTable for Boxes {
        fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
            self.0.get_mut(&id.0)
        }

        fn connect(&mut self, to: SocketAddr, _: Transport) -> ConnId {
            let id = self.0.len();
            self.0.insert(id, ConnHandle::new(to, limits::HEADER_BYTES));
            ConnId(id)
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
        log: OperationLog,
        boxes: Boxes,
        now: Instant,
    }

    impl World {
        fn new(addresses: &[&str], port: Option<u16>) -> World {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            World {
                log: OperationLog::new(Some(LogTarget { addresses, port })),
                boxes: Boxes::default(),
                now: Instant::now(),
            }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut OperationLog, &mut Io<'_>) -> T) -> T {
            let (mut actions, mut random): (Vec<Action>, _) = (Vec::new(), || [0; 16]);
            let date = String::new;
            let mut io = Io {
                now: self.now,
                table: &mut self.boxes,
                actions: &mut actions,
                random: &mut random,
                iteration_times: &crate::node::stats::loop_histogram::LoopHistogram::default(),
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
            self.with(|log, io| log.connected(ConnId(id), io));
        }

        /// What was called on a link since.
        fn calls(&mut self, id: usize) -> Vec<(u32, u32, Vec<u8>)> {
            let mut said = Heap(Vec::new());
            let link = self.boxes.0.get_mut(&id).expect("a link");
            link.send_queue.write_to(&mut said, usize::MAX, true, self.now).unwrap();
            let (mut calls, mut rest) = (Vec::new(), &said.0[..]);
            while let Some((record, used)) = onc_rpc::record(rest).unwrap() {
                let call = onc_rpc::call(&record).unwrap();
                calls.push((call.xid, call.procedure, call.arguments.to_vec()));
                rest = &rest[used..];
            }
            calls
        }

        fn users(&mut self, id: usize) -> Vec<String> {
            self.calls(id)
                .iter()
                .map(|(_, procedure, arguments)| {
                    Logged::read(*procedure, arguments).expect("a line").user
                })
                .collect()
        }

        fn answer(&mut self, id: usize, xid: u32, answer: RpcReply<'_>) {
            let mut out = Vec::new();
            onc_rpc::put_answer(xid, answer, &mut out);
            self.hears(id, &out);
        }

        fn hears(&mut self, id: usize, bytes: &[u8]) {
            self.boxes.0.get_mut(&id).expect("a link").recv_buffer.take(bytes).unwrap();
            self.with(|log, io| log.received(ConnId(id), io));
        }
    }

    const YES: RpcReply<'static> = RpcReply::Done(&[0; 4]);

    #[test]
    fn an_operation_opens_the_link_and_those_that_follow_keep_it() {
        let mut world = World::new(&["127.0.0.1"], Some(6111));
        assert!(world.boxes.0.is_empty());
        world.note("ana");
        assert_eq!(world.to(), (0, "127.0.0.1:6111".into()));
        world.connected(0);
        world.with(|log, io| log.note("ana", Method::Publish, Some("a b.mp4"), "now", io));
        let calls = world.calls(0);
        assert_eq!(
            calls.iter().map(|call| call.1).collect::<Vec<_>>(),
            [onc_rpc::LOG, onc_rpc::LOG_FILE]
        );
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
        world.answer(0, calls[0].0, RpcReply::Done(&[0, 0, 0x17, 0xdf]));
        assert_eq!(world.to(), (1, "127.0.0.1:6111".into()));
        assert_eq!(world.boxes.0[&0].ending, CloseMode::Now);
        assert!(!world.log.is(ConnId(0)) && world.log.is(ConnId(1)));
        world.connected(1);
        assert_eq!(world.users(1), ["ana"]);
    }

    #[test]
    fn a_log_that_nobody_knows_is_asked_for_again_later() {
        let mut world = World::new(&["::1", "127.0.0.1"], None);
        world.note("ana");
        assert_eq!(world.to(), (0, "[::1]:111".into()));
        world.with(|log, io| {
            log.closed(ConnId(0), &CloseReason::Unreachable("no answer".into()), io)
        });
        assert_eq!(world.to(), (1, "127.0.0.1:111".into()));
        world.connected(1);
        let calls = world.calls(1);
        world.answer(1, calls[0].0, RpcReply::Done(&[0; 4]));
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
        world.with(|log, io| log.closed(ConnId(0), &CloseReason::Remote, io));
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
        world.with(|log, io| log.ended(ConnId(0), io));
        assert_eq!((world.log.deadline(), world.boxes.0[&0].ending), (None, CloseMode::Now));
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
        assert_eq!(
            (world.users(0), world.log.dropped),
            (vec![(10 + limits::LOG_CALLS).to_string()], 0)
        );
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
        for answer in [
            RpcReply::NoProgram,
            RpcReply::OtherVersions(2, 2),
            RpcReply::NoProcedure,
            RpcReply::Denied,
            RpcReply::Done(&[]),
            RpcReply::Done(&[0; 8]),
        ] {
            let mut world = World::new(&["127.0.0.1"], Some(1));
            world.note("a");
            world.connected(0);
            let calls = world.calls(0);
            world.answer(0, calls[0].0, answer);
            assert_eq!(
                (world.boxes.0[&0].ending, world.log.waiting.len()),
                (CloseMode::Now, 1),
                "{answer:?}"
            );
            assert!(world.log.deadline().is_some());
        }
        for answer in [RpcReply::Garbage, RpcReply::Failed, RpcReply::Done(&[0, 0, 0, 9])] {
            let mut world = World::new(&["127.0.0.1"], Some(1));
            world.note("a");
            world.connected(0);
            let calls = world.calls(0);
            world.answer(0, calls[0].0, answer);
            assert_eq!(
                (world.boxes.0[&0].ending, world.log.waiting.len()),
                (CloseMode::Open, 0),
                "{answer:?}"
            );
        }
        let mut world = World::new(&["127.0.0.1"], Some(1));
        world.note("a");
        world.connected(0);
        world.hears(0, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(world.boxes.0[&0].ending, CloseMode::Now);
    }

    #[test]
    fn without_a_target_nothing_is_kept() {
        let mut world = World::new(&[], None);
        world.note("a");
        assert!(world.boxes.0.is_empty() && world.log.waiting.is_empty());
    }
}
