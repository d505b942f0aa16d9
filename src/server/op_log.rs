//! The sending side of the operation log: each operation of a user is an RPC call to a log server.
//!
//! No request waits for the log. Entries go into a queue; while the log server is away the oldest
//! are dropped and counted.
//!
//! Without a configured port, a connection to the port mapper comes first and names the port.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::limits;
use crate::node::io::Io;
use crate::node::reconnect::Reconnecting;
use crate::node::{CloseReason, ConnId};
use crate::protocol::legacy::onc_rpc::{self, Logged, MAPPER_PORT, Mapping, RpcReply};
use crate::protocol::types::account::Method;

/// The address of a log server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogTarget {
    /// The addresses of the machine, in the order of preference.
    pub addresses: Vec<IpAddr>,
    /// `None`: ask the port mapper of that machine.
    pub port: Option<u16>,
}

/// The client of a log server.
pub struct OperationLog {
    conn: Reconnecting<Rpc>,
    configured_port: Option<u16>,
    /// The port of the log server: as configured, or the answer of the port mapper.
    port: Option<u16>,
    queue: VecDeque<LogEntry>,
    /// The number of the latest call.
    xid: Option<u32>,
    dropped: u64,
    has_warned: bool,
}

/// An operation without an acknowledgement.
struct LogEntry {
    operation: Logged,
    /// The number of the call, once sent on this connection.
    call: Option<u32>,
}

/// The service at the other end of the open connection.
enum Rpc {
    /// The port mapper, and the number of the call to the mapper.
    Mapper(u32),
    Log,
}

impl OperationLog {
    /// A log at `target`. `None`: log nothing.
    #[must_use]
    pub fn new(target: Option<LogTarget>) -> OperationLog {
        let (addresses, port) =
            target.map_or((Vec::new(), None), |target| (target.addresses, target.port));
        let first_port = port.unwrap_or(MAPPER_PORT);
        let addresses: Vec<SocketAddr> =
            addresses.into_iter().map(|ip| SocketAddr::new(ip, first_port)).collect();
        OperationLog {
            conn: Reconnecting::new(addresses.into()),
            configured_port: port,
            port,
            queue: VecDeque::new(),
            xid: None,
            dropped: 0,
            has_warned: false,
        }
    }

    /// True when there is a log server.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        self.conn.address().is_some()
    }

    /// Queue an operation, with the date of the request or else of this machine.
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
        if self.queue.len() >= limits::LOG_RECORDS {
            if self.dropped == 0 {
                log::warn!("the operation log does not keep up: its oldest lines are dropped");
            }
            self.dropped += 1;
            // An entry that was sent stays: dropping it would let more than LOG_CALLS be open.
            if let Some(oldest) = self.queue.iter().position(|entry| entry.call.is_none()) {
                self.queue.remove(oldest);
            }
        }
        // An RPC record has a limit, which no valid name reaches.
        let short = |text: &str| {
            text.char_indices()
                .take_while(|(at, _)| *at < limits::RELATIVE_BYTES)
                .map(|(_, c)| c)
                .collect::<String>()
        };
        let operation = Logged {
            user: short(user),
            operation: method.as_str().to_owned(),
            file: file.map(short),
            date: short(date),
        };
        self.queue.push_back(LogEntry { operation, call: None });
        if self.conn.is_idle() {
            self.conn.connect(io);
        }
        self.send(io);
    }

    /// True for the connection to the log server or to the port mapper.
    #[must_use]
    pub fn is(&self, id: ConnId) -> bool {
        self.conn.conn() == Some(id)
    }

    /// A fresh call number. The first is random: an answer to an earlier process matches no call.
    fn next_xid(&mut self, io: &mut Io<'_>) -> u32 {
        let [a, b, c, d, ..] = (io.random)();
        let xid = self.xid.map_or(u32::from_be_bytes([a, b, c, d]), |last| last.wrapping_add(1));
        self.xid = Some(xid);
        xid
    }

    /// The connection is made: call the port mapper, or send the queue.
    pub fn connected(&mut self, id: ConnId, io: &mut Io<'_>) {
        if !self.is(id) {
            return;
        }
        let deadline = io.now + limits::RESPONSE_TIMEOUT;
        let rpc = if self.port.is_none() { Rpc::Mapper(self.next_xid(io)) } else { Rpc::Log };
        let Some(conn) = io.connection(id) else { return };
        conn.max_header = onc_rpc::RECORD_ROOM;
        if let Rpc::Mapper(xid) = rpc {
            conn.deadline = Some(deadline);
            conn.send_queue.memory().with(|out| Mapping::Find.put_call(xid, out));
        }
        self.conn.connected(id, rpc);
        self.send(io);
    }

    /// Call for as many entries as may be open, when the log server is connected.
    fn send(&mut self, io: &mut Io<'_>) {
        let Some((id, Rpc::Log)) = self.conn.open() else { return };
        let open =
            self.queue.iter().take(limits::LOG_CALLS).filter(|entry| entry.call.is_some()).count();
        for place in open..self.queue.len().min(limits::LOG_CALLS) {
            let xid = self.next_xid(io);
            let (Some(entry), Some(conn)) = (self.queue.get_mut(place), io.connection(id)) else {
                return;
            };
            entry.call = Some(xid);
            conn.send_queue.memory().with(|out| entry.operation.put_call(xid, out));
        }
        // The first call starts the clock, and each answer starts the clock again.
        if open == 0 {
            self.restart_clock(id, io);
        }
    }

    fn restart_clock(&self, id: ConnId, io: &mut Io<'_>) {
        let deadline = (!self.queue.is_empty()).then(|| io.now + limits::RESPONSE_TIMEOUT);
        if let Some(conn) = io.connection(id) {
            conn.deadline = deadline;
        }
    }

    /// Read all answers that have arrived.
    pub fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        loop {
            let Some(conn) = io.connection(id) else { return };
            let record = match onc_rpc::record(conn.recv_buffer.header()) {
                Ok(None) => return,
                Ok(Some((record, used))) => {
                    conn.recv_buffer.consume(used);
                    record
                }
                Err(onc_rpc::RpcError) => return self.lost("it speaks no RPC", io),
            };
            let Ok((xid, answer)) = onc_rpc::answer(&record) else {
                return self.lost("it speaks no RPC", io);
            };
            match self.conn.session() {
                Some(Rpc::Mapper(call)) if *call == xid => return self.port_found(id, answer, io),
                Some(Rpc::Log) => {
                    if let Err(why) = self.acknowledge(id, xid, answer, io) {
                        return self.lost(why, io);
                    }
                }
                // An answer without a call of ours is ignored.
                Some(Rpc::Mapper(_)) | None => {}
            }
        }
    }

    /// The port mapper has answered: connect to the log server.
    fn port_found(&mut self, id: ConnId, answer: RpcReply<'_>, io: &mut Io<'_>) {
        let port = match answer {
            RpcReply::Done(results) => onc_rpc::result(results)
                .and_then(|port| u16::try_from(port).ok())
                .filter(|port| *port != 0),
            _ => None,
        };
        let Some(port) = port else { return self.lost("the port mapper does not know it", io) };
        let Some(conn) = io.connection(id) else { return };
        conn.drop_now();
        let to = SocketAddr::new(conn.from.ip(), port);
        self.port = Some(port);
        self.conn.connect_to(to, io);
    }

    /// The log server has answered a call: remove the entry and send the next.
    ///
    /// # Errors
    /// With the reason, when the answer is not that of a log server.
    fn acknowledge(
        &mut self,
        id: ConnId,
        xid: u32,
        answer: RpcReply<'_>,
        io: &mut Io<'_>,
    ) -> Result<(), &'static str> {
        let mut open = self.queue.iter().take(limits::LOG_CALLS);
        let Some(place) = open.position(|entry| entry.call == Some(xid)) else { return Ok(()) };
        match answer {
            RpcReply::Done(results) => match onc_rpc::result(results) {
                Some(0) => {}
                Some(code) => log::debug!("the operation log answers {code}"),
                None => return Err("it does not answer as a log does"),
            },
            // The server may refuse this entry alone.
            RpcReply::Garbage | RpcReply::Failed => {
                log::debug!("the operation log refuses a line: {answer:?}")
            }
            RpcReply::NoProgram
            | RpcReply::OtherVersions(..)
            | RpcReply::NoProcedure
            | RpcReply::Denied => return Err("it is none"),
        }
        self.queue.remove(place);
        self.conn.succeeded();
        if std::mem::take(&mut self.has_warned) {
            log::warn!("the operation log is there again");
        }
        let dropped = std::mem::take(&mut self.dropped);
        if dropped > 0 {
            log::warn!("{dropped} lines of the operation log were dropped");
        }
        self.restart_clock(id, io);
        self.send(io);
        Ok(())
    }

    /// The log server sends no more.
    pub fn ended(&mut self, id: ConnId, io: &mut Io<'_>) {
        self.received(id, io);
        if self.is(id) {
            self.lost("it has ended its link", io);
        }
    }

    /// The connection is closed.
    pub fn closed(&mut self, reason: &CloseReason, io: &mut Io<'_>) {
        match reason {
            CloseReason::Unreachable(why) | CloseReason::Internal(why) => self.lost(why, io),
            CloseReason::Timeout => self.lost("it does not answer", io),
            CloseReason::Done
            | CloseReason::WrongKey(_)
            | CloseReason::Untrusted(_)
            | CloseReason::Remote
            | CloseReason::SourceChanged
            | CloseReason::Disk(_) => self.lost("it has ended its link", io),
        }
    }

    /// Drop the connection, and make another while entries wait.
    fn lost(&mut self, why: &str, io: &mut Io<'_>) {
        if let Some(conn) = self.conn.conn().and_then(|id| io.connection(id)) {
            conn.drop_now();
        }
        for entry in &mut self.queue {
            // A line that stands in the log twice is better than a missing one.
            entry.call = None;
        }
        let worked = matches!(self.conn.session(), Some(Rpc::Log));
        self.port = self.configured_port;
        if self.queue.is_empty() {
            // The next operation connects again.
            return self.conn.idle();
        }
        if !std::mem::replace(&mut self.has_warned, true) {
            log::warn!("the operation log is away: {why}");
        }
        self.conn.lost(worked, io);
    }

    /// Reconnect once the pause is over.
    pub fn due(&mut self, io: &mut Io<'_>) {
        if self.conn.is_due(io.now) {
            self.conn.connect(io);
        }
    }

    /// The end of the pause before the next attempt.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.conn.backoff_until()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::node::fake_conns::{FakeConns, Heap};
    use crate::node::io::{Action, CloseMode};

    struct World {
        log: OperationLog,
        conns: FakeConns,
        now: Instant,
    }

    impl World {
        fn new(addresses: &[&str], port: Option<u16>) -> World {
            let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
            World {
                log: OperationLog::new(Some(LogTarget { addresses, port })),
                conns: FakeConns::default(),
                now: Instant::now(),
            }
        }

        fn with<T>(&mut self, act: impl FnOnce(&mut OperationLog, &mut Io<'_>) -> T) -> T {
            let (mut actions, mut random): (Vec<Action>, _) = (Vec::new(), || [0; 16]);
            let date = String::new;
            let mut io = Io {
                now: self.now,
                table: &mut self.conns,
                actions: &mut actions,
                random: &mut random,
                iteration_times: &crate::node::stats::histogram::Histogram::default(),
                date: &date,
            };
            act(&mut self.log, &mut io)
        }

        fn note(&mut self, user: &str) {
            self.with(|log, io| log.note(user, Method::Connect, None, "12/05/2024 10:20:30", io));
        }

        /// The number and address of the latest connection.
        fn latest(&self) -> (usize, String) {
            let latest = self.conns.all().last().expect("a connection");
            (self.conns.all().len() - 1, latest.from.to_string())
        }

        fn connected(&mut self, id: usize) {
            self.with(|log, io| log.connected(ConnId(id), io));
        }

        /// The calls sent on a connection since the last look.
        fn calls(&mut self, id: usize) -> Vec<(u32, u32, Vec<u8>)> {
            let mut said = Heap::default();
            let link = self.conns.get(ConnId(id)).expect("a connection");
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
            self.receive(id, &out);
        }

        fn receive(&mut self, id: usize, bytes: &[u8]) {
            self.conns.get(ConnId(id)).expect("a connection").recv_buffer.take(bytes).unwrap();
            self.with(|log, io| log.received(ConnId(id), io));
        }
    }

    const YES: RpcReply<'static> = RpcReply::Done(&[0; 4]);

    #[test]
    fn the_first_operation_connects_and_later_ones_reuse_the_connection() {
        let mut world = World::new(&["127.0.0.1"], Some(6111));
        assert!(world.conns.all().is_empty());
        world.note("ana");
        assert_eq!(world.latest(), (0, "127.0.0.1:6111".into()));
        world.connected(0);
        world.with(|log, io| log.note("ana", Method::Publish, Some("a b.mp4"), "now", io));
        let calls = world.calls(0);
        assert_eq!(
            calls.iter().map(|call| call.1).collect::<Vec<_>>(),
            [onc_rpc::LOG, onc_rpc::LOG_FILE]
        );
        assert_eq!(Logged::read(calls[1].1, &calls[1].2).unwrap().file.as_deref(), Some("a b.mp4"));
        assert!(world.conns.all()[0].deadline.is_some());
        // Answers may come in any order.
        world.answer(0, calls[1].0, YES);
        world.answer(0, calls[0].0, YES);
        assert!(world.log.queue.is_empty() && world.conns.all()[0].deadline.is_none());
        world.note("bob");
        assert_eq!((world.users(0), world.conns.all().len()), (vec!["bob".to_owned()], 1));
    }

    #[test]
    fn the_port_mapper_names_the_port_where_none_is_configured() {
        let mut world = World::new(&["127.0.0.1"], None);
        world.note("ana");
        assert_eq!(world.latest(), (0, "127.0.0.1:111".into()));
        world.connected(0);
        let calls = world.calls(0);
        assert_eq!((calls.len(), calls[0].1), (1, 3));
        world.answer(0, calls[0].0, RpcReply::Done(&[0, 0, 0x17, 0xdf]));
        assert_eq!(world.latest(), (1, "127.0.0.1:6111".into()));
        assert_eq!(world.conns.all()[0].ending, CloseMode::Now);
        assert!(!world.log.is(ConnId(0)) && world.log.is(ConnId(1)));
        world.connected(1);
        assert_eq!(world.users(1), ["ana"]);
    }

    #[test]
    fn an_unregistered_log_is_looked_up_again_after_a_pause() {
        let mut world = World::new(&["::1", "127.0.0.1"], None);
        world.note("ana");
        assert_eq!(world.latest(), (0, "[::1]:111".into()));
        world.with(|log, io| log.closed(&CloseReason::Unreachable("no answer".into()), io));
        assert_eq!(world.latest(), (1, "127.0.0.1:111".into()));
        world.connected(1);
        let calls = world.calls(1);
        world.answer(1, calls[0].0, RpcReply::Done(&[0; 4]));
        assert!(world.log.deadline().is_some_and(|at| at > world.now));
        world.with(|log, io| log.due(io));
        assert_eq!(world.conns.all().len(), 2);
        world.now += Duration::from_secs(1);
        world.with(|log, io| log.due(io));
        assert_eq!(world.latest(), (2, "[::1]:111".into()));
    }

    #[test]
    fn entries_without_acknowledgement_are_sent_again_in_order() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        for user in ["a", "b", "c"] {
            world.note(user);
        }
        world.connected(0);
        let calls = world.calls(0);
        world.answer(0, calls[0].0, YES);
        world.with(|log, io| log.closed(&CloseReason::Remote, io));
        world.note("d");
        assert_eq!(world.conns.all().len(), 1);
        world.now += Duration::from_secs(1);
        world.with(|log, io| log.due(io));
        world.connected(1);
        assert_eq!(world.users(1), ["b", "c", "d"]);
    }

    #[test]
    fn after_the_log_closes_an_idle_connection_the_next_entry_reconnects() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        world.note("a");
        world.connected(0);
        let calls = world.calls(0);
        world.answer(0, calls[0].0, YES);
        world.with(|log, io| log.ended(ConnId(0), io));
        assert_eq!((world.log.deadline(), world.conns.all()[0].ending), (None, CloseMode::Now));
        world.note("b");
        world.connected(1);
        assert_eq!(world.users(1), ["b"]);
    }

    #[test]
    fn the_oldest_entries_are_dropped_and_few_calls_are_open() {
        let mut world = World::new(&["127.0.0.1"], Some(1));
        for user in 0..limits::LOG_RECORDS + 10 {
            world.note(&user.to_string());
        }
        assert_eq!((world.log.queue.len(), world.log.dropped), (limits::LOG_RECORDS, 10));
        world.connected(0);
        let calls = world.calls(0);
        assert_eq!(calls.len(), limits::LOG_CALLS);
        world.answer(0, calls[0].0, YES);
        assert_eq!(
            (world.users(0), world.log.dropped),
            (vec![(10 + limits::LOG_CALLS).to_string()], 0)
        );
        // Open calls are not dropped, and no further calls are sent before an answer.
        for user in 0..5 {
            world.note(&user.to_string());
        }
        assert_eq!((world.calls(0).len(), world.log.dropped), (0, 4));
        world.answer(0, calls[1].0, YES);
        assert_eq!((world.users(0).len(), world.log.queue.len()), (1, limits::LOG_RECORDS - 1));
    }

    #[test]
    fn a_server_that_is_no_operation_log_is_left() {
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
                (world.conns.all()[0].ending, world.log.queue.len()),
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
                (world.conns.all()[0].ending, world.log.queue.len()),
                (CloseMode::Open, 0),
                "{answer:?}"
            );
        }
        let mut world = World::new(&["127.0.0.1"], Some(1));
        world.note("a");
        world.connected(0);
        world.receive(0, b"HTTP/1.1 400 Bad Request\r\n\r\n");
        assert_eq!(world.conns.all()[0].ending, CloseMode::Now);
    }

    #[test]
    fn without_a_target_no_entry_is_kept() {
        let mut world = World::new(&[], None);
        world.note("a");
        assert!(world.conns.all().is_empty() && world.log.queue.is_empty());
    }
}
