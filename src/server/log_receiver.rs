//! A log server: receives operations by RPC and prints each as a line.
//!
//! The server registers a port with the port mapper of the machine, if any, and unregisters at
//! the end.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::limits;
use crate::node::io::Io;
use crate::node::{ConnId, Event, Node, PortId};
use crate::protocol::legacy::onc_rpc::{
    self, Call, LOG, LOG_FILE, LOG_PROGRAM, LOG_VERSION, Logged, MAPPER_PORT, Mapping, NULL,
    RpcReply,
};
use crate::ui::event::{UiEvent, exit};

/// The port mapper of this machine.
const MAPPER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), MAPPER_PORT);

/// The log server.
pub struct LogReceiver {
    listen: SocketAddr,
    clients: BTreeMap<ConnId, LogInput>,
    mapper: Mapper,
    /// Set once the process is asked to end: exit at this time even if the port mapper is silent.
    exit_at: Option<Instant>,
}

/// The input of a client.
#[derive(Clone, Copy)]
struct LogInput {
    /// The time of the last whole record, or of the accept.
    last: Instant,
    /// The time of the first byte of an incomplete record.
    record_since: Option<Instant>,
}

/// The registration with the port mapper.
enum Mapper {
    Unregistered,
    /// A call is under way.
    Calling(ConnId, Mapping, u16),
    Registered,
}

impl LogReceiver {
    /// A log server on this port.
    #[must_use]
    pub fn new(listen: SocketAddr) -> LogReceiver {
        LogReceiver {
            listen,
            clients: BTreeMap::new(),
            mapper: Mapper::Unregistered,
            exit_at: None,
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(conn) = io.connection(id) else { return };
            // Backpressure: a client that does not read the answers is not read.
            if conn.send_queue.memory_waiting() > limits::RPC_RECORD_BYTES {
                return;
            }
            let record = match onc_rpc::record(conn.recv_buffer.header()) {
                Ok(Some((record, used))) => {
                    conn.recv_buffer.consume(used);
                    record
                }
                Ok(None) => return self.await_more(id, io),
                Err(onc_rpc::RpcError) => return conn.drop_now(),
            };
            self.clients.insert(id, LogInput { last: io.now, record_since: None });
            let Some(conn) = io.connection(id) else { return };
            let Ok(call) = onc_rpc::call(&record) else { return conn.drop_now() };
            let (answer, logged) = answer(&call);
            conn.send_queue.memory().with(|out| onc_rpc::put_answer(call.xid, answer, out));
            if let Some(logged) = logged {
                io.tell(UiEvent::Logged(logged));
            }
        }
        if let Some(conn) = io.connection(id) {
            conn.reschedule = true;
        }
    }

    /// No whole record is left to read: set the deadline.
    fn await_more(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(input), Some(conn)) = (self.clients.get_mut(&id), io.connection(id)) else {
            return;
        };
        let is_partial = !conn.recv_buffer.header().is_empty();
        input.record_since = is_partial.then(|| input.record_since.unwrap_or(now));
        conn.deadline = input.record_since.map(|since| since + limits::HEADER_TIMEOUT);
    }

    /// Register this port: first unset an earlier registration, as RPC programs do.
    fn register(&mut self, at: SocketAddr, io: &mut Io<'_>) {
        // The port mapper knows IPv4 only.
        if at.is_ipv4() {
            self.call_mapper(Mapping::Unset, at.port(), io);
        }
    }

    fn call_mapper(&mut self, call: Mapping, port: u16, io: &mut Io<'_>) {
        let id = io.connect(MAPPER, None);
        let deadline = io.now + limits::RESPONSE_TIMEOUT;
        if let Some(conn) = io.connection(id) {
            conn.max_header = onc_rpc::RECORD_ROOM;
            conn.deadline = Some(deadline);
        }
        self.mapper = Mapper::Calling(id, call, port);
    }

    fn is_mapper(&self, id: ConnId) -> bool {
        matches!(self.mapper, Mapper::Calling(conn, ..) if conn == id)
    }

    /// Read the answer of the port mapper.
    fn mapper_answered(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Mapper::Calling(_, call, port) = self.mapper else { return };
        let Some(conn) = io.connection(id) else { return };
        let accepted = match onc_rpc::record(conn.recv_buffer.header()) {
            Ok(None) => return,
            Ok(Some((record, _))) => {
                matches!(onc_rpc::answer(&record), Ok((_, RpcReply::Done(results))) if onc_rpc::result(results) == Some(1))
            }
            Err(onc_rpc::RpcError) => false,
        };
        conn.drop_now();
        self.mapper = Mapper::Unregistered;
        match call {
            // The answer does not matter: there may have been no registration.
            Mapping::Unset if self.exit_at.is_none() => {
                self.call_mapper(Mapping::Set(port), port, io)
            }
            Mapping::Set(_) if accepted => {
                log::info!("the port mapper says that the log is on port {port}");
                self.mapper = Mapper::Registered;
            }
            Mapping::Set(_) => log::warn!(
                "the port mapper does not take our port; the index has to be told it, by --rpc-log HOST:PORT"
            ),
            Mapping::Unset | Mapping::Find => {}
        }
        self.leave(io);
    }

    /// The port mapper can't be reached, or ends without an answer.
    fn mapper_lost(&mut self, id: ConnId, io: &mut Io<'_>) {
        if let Some(conn) = io.connection(id) {
            conn.drop_now();
        }
        self.mapper = Mapper::Unregistered;
        self.leave(io);
    }

    /// When asked to end: unregister if registered, and then exit.
    fn leave(&mut self, io: &mut Io<'_>) {
        if self.exit_at.is_none() {
            return;
        }
        match self.mapper {
            Mapper::Unregistered => io.exit(exit::DONE),
            Mapper::Registered => self.call_mapper(Mapping::Unset, 0, io),
            Mapper::Calling(..) => {}
        }
    }
}

/// The answer to a call, and the operation to log.
fn answer(call: &Call<'_>) -> (RpcReply<'static>, Option<Logged>) {
    let answer = match (call.rpc, call.program, call.version, call.procedure) {
        (2, LOG_PROGRAM, LOG_VERSION, NULL) => RpcReply::Done(&[]),
        (2, LOG_PROGRAM, LOG_VERSION, LOG | LOG_FILE) => {
            match Logged::read(call.procedure, call.arguments) {
                Some(logged) => return (RpcReply::Done(&[0; 4]), Some(logged)),
                None => RpcReply::Garbage,
            }
        }
        (2, LOG_PROGRAM, LOG_VERSION, _) => RpcReply::NoProcedure,
        (2, LOG_PROGRAM, ..) => RpcReply::OtherVersions(LOG_VERSION, LOG_VERSION),
        (2, ..) => RpcReply::NoProgram,
        _ => RpcReply::Denied,
    };
    (answer, None)
}

impl Node for LogReceiver {
    fn handle(&mut self, event: Event, io: &mut Io<'_>) {
        match event {
            Event::Start => io.listen(PortId(0), self.listen),
            Event::Listening(_, Ok(at)) => {
                io.tell(UiEvent::Listening(at));
                self.register(at, io);
            }
            Event::Listening(_, Err(why)) => {
                io.tell(UiEvent::PortFailed { at: self.listen, why });
                io.exit(exit::LOCAL);
            }
            Event::Accepted(id, _) => {
                // Clients may connect long before they call: a new one replaces the one that was
                // silent for longest.
                if self.clients.len() >= limits::RPC_CONNECTIONS
                    && let Some((idle, _)) = self.clients.iter().min_by_key(|(_, input)| input.last)
                {
                    let idle = *idle;
                    self.clients.remove(&idle);
                    if let Some(conn) = io.connection(idle) {
                        conn.drop_now();
                    }
                }
                self.clients.insert(id, LogInput { last: io.now, record_since: None });
                let Some(conn) = io.connection(id) else { return };
                conn.max_header = onc_rpc::RECORD_ROOM;
                conn.idle_timeout = Some(limits::RPC_IDLE);
            }
            Event::Connected(id) if self.is_mapper(id) => {
                let Mapper::Calling(_, call, _) = self.mapper else { return };
                if let Some(conn) = io.connection(id) {
                    conn.send_queue.memory().with(|out| call.put_call(1, out));
                }
            }
            Event::Received(id) if self.is_mapper(id) => self.mapper_answered(id, io),
            Event::Ended(id) if self.is_mapper(id) => {
                self.mapper_answered(id, io);
                if self.is_mapper(id) {
                    self.mapper_lost(id, io);
                }
            }
            Event::Received(id) | Event::Drained(id) if self.clients.contains_key(&id) => {
                self.received(id, io)
            }
            Event::Ended(id) => {
                if self.clients.contains_key(&id) {
                    self.received(id, io);
                }
                if let Some(conn) = io.connection(id)
                    && !conn.reschedule
                {
                    conn.finish();
                }
            }
            Event::Closed(id, cause) => {
                self.clients.remove(&id);
                if self.is_mapper(id) {
                    log::info!("no port mapper here: {cause:?}");
                    self.mapper_lost(id, io);
                }
            }
            Event::Stop(_) if self.exit_at.is_some() => io.exit(exit::DONE),
            Event::Stop(_) => {
                self.exit_at = Some(io.now + limits::LEAVE_TIMEOUT);
                self.leave(io);
            }
            Event::Deadline => {
                if self.exit_at.is_some_and(|at| at <= io.now) {
                    io.exit(exit::DONE);
                }
            }
            Event::Connected(_) | Event::Received(_) | Event::Drained(_) => {}
            Event::ListeningUdp(..)
            | Event::Command(_)
            | Event::CommandsEnded
            | Event::Child
            | Event::FolderChanged => {}
            Event::Settings(_) => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.exit_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::CloseReason;
    use crate::node::fake_conns::FakeConns;
    use crate::node::io::{Action, CloseMode};

    #[test]
    fn a_call_to_an_unknown_program_names_the_known_versions() {
        let call = |rpc, program, version, procedure| Call {
            xid: 1,
            rpc,
            program,
            version,
            procedure,
            arguments: &[0; 12],
        };
        assert_eq!(answer(&call(2, 1, 1, NULL)), (RpcReply::Done(&[]), None));
        let empty = Logged {
            user: String::new(),
            operation: String::new(),
            file: None,
            date: String::new(),
        };
        assert_eq!(answer(&call(2, 1, 1, LOG)), (RpcReply::Done(&[0; 4]), Some(empty)));
        assert_eq!(answer(&call(2, 1, 1, LOG_FILE)), (RpcReply::Garbage, None));
        assert_eq!(answer(&call(2, 1, 1, 3)), (RpcReply::NoProcedure, None));
        assert_eq!(answer(&call(2, 1, 2, LOG)), (RpcReply::OtherVersions(1, 1), None));
        assert_eq!(answer(&call(2, 100_000, 2, 3)), (RpcReply::NoProgram, None));
        assert_eq!(answer(&call(3, 0, 0, 0)), (RpcReply::Denied, None));
    }

    /// A log server over connections without sockets.
    struct World {
        log: LogReceiver,
        conns: FakeConns,
        actions: Vec<Action>,
        now: Instant,
    }

    impl World {
        fn new() -> World {
            let at = "127.0.0.1:6111".parse().unwrap();
            let mut world = World {
                log: LogReceiver::new(at),
                conns: FakeConns::default(),
                actions: Vec::new(),
                now: Instant::now(),
            };
            world.handle(Event::Start);
            world.handle(Event::Listening(PortId(0), Ok(at)));
            world
        }

        fn handle(&mut self, event: Event) {
            let (mut random, date) = (|| [0; 16], String::new);
            let mut io = Io {
                now: self.now,
                table: &mut self.conns,
                actions: &mut self.actions,
                random: &mut random,
                iteration_times: &crate::node::stats::histogram::Histogram::default(),
                date: &date,
            };
            self.log.handle(event, &mut io);
        }

        fn accepted(&mut self) -> usize {
            let id = self.conns.add("127.0.0.1:9".parse().unwrap(), limits::HEADER_BYTES);
            self.handle(Event::Accepted(id, PortId(0)));
            id.0
        }

        fn receive(&mut self, id: usize, bytes: &[u8]) {
            self.conns.get(ConnId(id)).expect("a link").recv_buffer.take(bytes).unwrap();
            self.handle(Event::Received(ConnId(id)));
        }

        fn ending(&self, id: usize) -> CloseMode {
            self.conns.all()[id].ending
        }

        /// The port mapper answers.
        fn mapped(&mut self, id: usize, yes: u8) {
            self.handle(Event::Connected(ConnId(id)));
            assert!(!self.conns.all()[id].send_queue.is_empty());
            let mut out = Vec::new();
            onc_rpc::put_answer(1, RpcReply::Done(&[0, 0, 0, yes]), &mut out);
            self.receive(id, &out);
            assert_eq!(self.ending(id), CloseMode::Now);
        }

        fn exits(&self) -> bool {
            self.actions.iter().any(|action| matches!(action, Action::Exit(exit::DONE)))
        }
    }

    fn operation() -> (Logged, Vec<u8>) {
        let logged = Logged {
            user: "ana".into(),
            operation: "PUBLISH".into(),
            file: Some("a b.mp4".into()),
            date: "12/05/2024 10:20:30".into(),
        };
        let mut out = Vec::new();
        logged.put_call(1, &mut out);
        (logged, out)
    }

    #[test]
    fn an_operation_is_printed_and_a_protocol_error_closes_the_connection() {
        let mut world = World::new();
        let (logged, call) = operation();
        let id = world.accepted();
        world.receive(id, &call[..9]);
        assert!(world.conns.all()[id].deadline.is_some());
        world.receive(id, &call[9..]);
        assert!(
            world.conns.all()[id].deadline.is_none()
                && !world.conns.all()[id].send_queue.is_empty()
        );
        assert!(world.actions.iter().any(
            |action| matches!(action, Action::Tell(UiEvent::Logged(told)) if *told == logged)
        ));
        assert_eq!(crate::ui::text::logged(&logged), "ana\tPUBLISH a b.mp4\t12/05/2024 10:20:30");
        world.receive(id, b"GET / HTTP/1.1\r\n");
        assert_eq!(world.ending(id), CloseMode::Now);
    }

    #[test]
    fn the_port_is_registered_at_the_start_and_unregistered_at_the_end() {
        let mut world = World::new();
        world.mapped(0, 0);
        world.mapped(1, 1);
        assert_eq!(world.conns.all().len(), 2);
        world.handle(Event::Stop(true));
        assert!(!world.exits());
        world.mapped(2, 1);
        assert!(world.exits());
    }

    #[test]
    fn a_missing_or_silent_port_mapper_does_not_delay_the_exit() {
        let mut world = World::new();
        world.handle(Event::Closed(ConnId(0), CloseReason::Unreachable("refused".into())));
        world.handle(Event::Stop(true));
        assert!(world.exits());
        let mut world = World::new();
        world.handle(Event::Stop(true));
        assert!(!world.exits());
        world.now += limits::LEAVE_TIMEOUT;
        assert_eq!(world.log.deadline(), Some(world.now));
        world.handle(Event::Deadline);
        assert!(world.exits());
        let mut world = World::new();
        world.handle(Event::Stop(true));
        world.handle(Event::Ended(ConnId(0)));
        assert!(world.exits());
    }

    #[test]
    fn a_new_client_replaces_the_one_that_was_silent_for_longest() {
        let mut world = World::new();
        let first = world.accepted();
        world.now += limits::HEADER_TIMEOUT;
        let others: Vec<usize> = (1..limits::RPC_CONNECTIONS).map(|_| world.accepted()).collect();
        world.now += limits::HEADER_TIMEOUT;
        world.receive(first, &operation().1);
        world.accepted();
        assert_eq!(
            (world.ending(first), world.ending(others[0]), world.ending(others[1])),
            (CloseMode::Open, CloseMode::Now, CloseMode::Open)
        );
        assert_eq!(world.log.clients.len(), limits::RPC_CONNECTIONS);
    }
}
