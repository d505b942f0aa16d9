//! A log server: it receives operations by RPC and prints each as one line.
//!
//! Where its machine has a port mapper, it says there on which port it answers, and takes that back when it ends.

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
    links: BTreeMap<ConnId, LogInput>,
    mapper: Mapper,
    stopping: bool,
    /// When a farewell that nobody answers is over.
    gone_at: Option<Instant>,
}

/// What is known of a link.
#[derive(Clone, Copy)]
struct LogInput {
    /// When it last said something whole, or came.
    last: Instant,
    /// When the first byte of a record came whose last has not.
    since: Option<Instant>,
}

/// What the port mapper knows of us.
enum Mapper {
    /// Nothing.
    Unknown,
    /// It is asked to forget who said so before, or to know this port.
    Asked(ConnId, Mapping, u16),
    /// Where we are.
    Knows,
}

impl LogReceiver {
    /// A log server on this port.
    #[must_use]
    pub fn new(listen: SocketAddr) -> LogReceiver {
        LogReceiver {
            listen,
            links: BTreeMap::new(),
            mapper: Mapper::Unknown,
            stopping: false,
            gone_at: None,
        }
    }

    fn received(&mut self, id: ConnId, io: &mut Io<'_>) {
        for _ in 0..limits::SERVICE_REQUESTS {
            let Some(link) = io.connection(id) else { return };
            // Who does not read its answers is not answered.
            if link.send_queue.memory_waiting() > limits::RPC_RECORD_BYTES {
                return;
            }
            let record = match onc_rpc::record(link.recv_buffer.header()) {
                Ok(Some((record, used))) => {
                    link.recv_buffer.consume(used);
                    record
                }
                Ok(None) => return self.settle(id, io),
                Err(onc_rpc::RpcError) => return link.drop_now(),
            };
            self.links.insert(id, LogInput { last: io.now, since: None });
            let Some(link) = io.connection(id) else { return };
            let Ok(call) = onc_rpc::call(&record) else { return link.drop_now() };
            let (answer, logged) = answer(&call);
            link.send_queue.memory().with(|out| onc_rpc::put_answer(call.xid, answer, out));
            if let Some(logged) = logged {
                io.tell(UiEvent::Logged(logged));
            }
        }
        if let Some(link) = io.connection(id) {
            link.reschedule = true;
        }
    }

    /// Sets a link's deadline after what could be read was read.
    fn settle(&mut self, id: ConnId, io: &mut Io<'_>) {
        let now = io.now;
        let (Some(heard), Some(link)) = (self.links.get_mut(&id), io.connection(id)) else {
            return;
        };
        let begun = !link.recv_buffer.header().is_empty();
        heard.since = begun.then(|| heard.since.unwrap_or(now));
        link.deadline = heard.since.map(|since| since + limits::HEADER_TIMEOUT);
    }

    /// Says to the port mapper where we are: who was there before is forgotten first, as all programs of RPC do it.
    fn register(&mut self, at: SocketAddr, io: &mut Io<'_>) {
        // It can't name an address of the other family.
        if at.is_ipv4() {
            self.ask(Mapping::Unset, at.port(), io);
        }
    }

    fn ask(&mut self, what: Mapping, port: u16, io: &mut Io<'_>) {
        let id = io.connect(MAPPER, None);
        let deadline = io.now + limits::RESPONSE_TIMEOUT;
        if let Some(link) = io.connection(id) {
            link.max_header = onc_rpc::RECORD_ROOM;
            link.deadline = Some(deadline);
        }
        self.mapper = Mapper::Asked(id, what, port);
    }

    fn is_mapper(&self, id: ConnId) -> bool {
        matches!(self.mapper, Mapper::Asked(link, ..) if link == id)
    }

    /// The port mapper has answered, or is not there.
    fn mapped(&mut self, id: ConnId, io: &mut Io<'_>) {
        let Mapper::Asked(_, what, port) = self.mapper else { return };
        let Some(link) = io.connection(id) else { return };
        let yes = match onc_rpc::record(link.recv_buffer.header()) {
            Ok(None) => return,
            Ok(Some((record, _))) => {
                matches!(onc_rpc::answer(&record), Ok((_, RpcReply::Done(results))) if onc_rpc::result(results) == Some(1))
            }
            Err(onc_rpc::RpcError) => false,
        };
        link.drop_now();
        self.mapper = Mapper::Unknown;
        match what {
            // Nobody may have been there before: the answer to that means nothing.
            Mapping::Unset if !self.stopping => self.ask(Mapping::Set(port), port, io),
            Mapping::Set(_) if yes => {
                log::info!("the port mapper says that the log is on port {port}");
                self.mapper = Mapper::Knows;
            }
            Mapping::Set(_) => log::warn!(
                "the port mapper does not take our port; the index has to be told it, by --rpc-log HOST:PORT"
            ),
            Mapping::Unset | Mapping::Find => {}
        }
        self.leave(io);
    }

    /// The port mapper is not there, or ends before it answers.
    fn no_mapper(&mut self, id: ConnId, io: &mut Io<'_>) {
        if let Some(link) = io.connection(id) {
            link.drop_now();
        }
        self.mapper = Mapper::Unknown;
        self.leave(io);
    }

    /// Ends once the port mapper knows, or at once where there is none.
    fn leave(&mut self, io: &mut Io<'_>) {
        if !self.stopping {
            return;
        }
        match self.mapper {
            Mapper::Unknown => io.exit(exit::DONE),
            Mapper::Knows => self.ask(Mapping::Unset, 0, io),
            Mapper::Asked(..) => {}
        }
    }
}

/// What is answered to a call, and what it logs.
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
                // Clients may connect long before they call, so a newcomer takes the place of whoever was silent longest.
                if self.links.len() >= limits::RPC_CONNECTIONS
                    && let Some((idle, _)) = self.links.iter().min_by_key(|(_, heard)| heard.last)
                {
                    let idle = *idle;
                    self.links.remove(&idle);
                    if let Some(link) = io.connection(idle) {
                        link.drop_now();
                    }
                }
                self.links.insert(id, LogInput { last: io.now, since: None });
                let Some(link) = io.connection(id) else { return };
                link.max_header = onc_rpc::RECORD_ROOM;
                link.idle_timeout = Some(limits::RPC_IDLE);
            }
            Event::Connected(id) if self.is_mapper(id) => {
                let Mapper::Asked(_, what, _) = self.mapper else { return };
                if let Some(link) = io.connection(id) {
                    link.send_queue.memory().with(|out| what.put_call(1, out));
                }
            }
            Event::Received(id) if self.is_mapper(id) => self.mapped(id, io),
            Event::Ended(id) if self.is_mapper(id) => {
                self.mapped(id, io);
                if self.is_mapper(id) {
                    self.no_mapper(id, io);
                }
            }
            Event::Received(id) | Event::Drained(id) if self.links.contains_key(&id) => {
                self.received(id, io)
            }
            Event::Ended(id) => {
                if self.links.contains_key(&id) {
                    self.received(id, io);
                }
                if let Some(link) = io.connection(id)
                    && !link.reschedule
                {
                    link.finish();
                }
            }
            Event::Closed(id, cause) => {
                self.links.remove(&id);
                if self.is_mapper(id) {
                    log::info!("no port mapper here: {cause:?}");
                    self.no_mapper(id, io);
                }
            }
            Event::Stop(_) if self.stopping => io.exit(exit::DONE),
            Event::Stop(_) => {
                self.stopping = true;
                self.gone_at = Some(io.now + limits::LEAVE_TIMEOUT);
                self.leave(io);
            }
            Event::Deadline => {
                if self.gone_at.is_some_and(|at| at <= io.now) {
                    io.exit(exit::DONE);
                }
            }
            Event::Connected(_) | Event::Received(_) | Event::Drained(_) => {}
            Event::ListeningUdp(..) | Event::Command(_) | Event::CommandsEnded | Event::Child => {}
        }
    }

    fn deadline(&self) -> Option<Instant> {
        self.gone_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::CloseReason;
    use crate::node::io::{Action, CloseMode, ConnHandle, ConnTable, Transport};

    #[test]
    fn a_call_for_what_is_not_there_says_what_is() {
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

    /// A log server whose links lead nowhere.
    struct World {
        log: LogReceiver,
        boxes: Boxes,
        actions: Vec<Action>,
        now: Instant,
    }

    #[derive(Default)]
    struct Boxes(BTreeMap<usize, ConnHandle>);

    impl ConnTable for Boxes {
        fn connection(&mut self, id: ConnId) -> Option<&mut ConnHandle> {
            self.0.get_mut(&id.0)
        }

        fn connect(&mut self, to: SocketAddr, _: Transport) -> ConnId {
            let id = ConnId(self.0.len());
            self.0.insert(id.0, ConnHandle::new(to, limits::HEADER_BYTES));
            id
        }
    }

    impl World {
        fn new() -> World {
            let at = "127.0.0.1:6111".parse().unwrap();
            let mut world = World {
                log: LogReceiver::new(at),
                boxes: Boxes::default(),
                actions: Vec::new(),
                now: Instant::now(),
            };
            world.tell(Event::Start);
            world.tell(Event::Listening(PortId(0), Ok(at)));
            world
        }

        fn tell(&mut self, event: Event) {
            let (mut random, date) = (|| [0; 16], String::new);
            let mut io = Io {
                now: self.now,
                table: &mut self.boxes,
                actions: &mut self.actions,
                random: &mut random,
                iteration_times: &crate::node::stats::histogram::Histogram::default(),
                date: &date,
            };
            self.log.handle(event, &mut io);
        }

        fn accepted(&mut self) -> usize {
            let id = self.boxes.connect("127.0.0.1:9".parse().unwrap(), Transport::Tcp(None));
            self.tell(Event::Accepted(id, PortId(0)));
            id.0
        }

        fn hears(&mut self, id: usize, bytes: &[u8]) {
            self.boxes.0.get_mut(&id).expect("a link").recv_buffer.take(bytes).unwrap();
            self.tell(Event::Received(ConnId(id)));
        }

        fn ending(&self, id: usize) -> CloseMode {
            self.boxes.0[&id].ending
        }

        /// The port mapper answers.
        fn mapped(&mut self, id: usize, yes: u8) {
            self.tell(Event::Connected(ConnId(id)));
            assert!(!self.boxes.0[&id].send_queue.is_empty());
            let mut out = Vec::new();
            onc_rpc::put_answer(1, RpcReply::Done(&[0, 0, 0, yes]), &mut out);
            self.hears(id, &out);
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
    fn an_operation_is_told_and_nonsense_ends_its_link() {
        let mut world = World::new();
        let (logged, call) = operation();
        let id = world.accepted();
        world.hears(id, &call[..9]);
        assert!(world.boxes.0[&id].deadline.is_some());
        world.hears(id, &call[9..]);
        assert!(world.boxes.0[&id].deadline.is_none() && !world.boxes.0[&id].send_queue.is_empty());
        assert!(world.actions.iter().any(
            |action| matches!(action, Action::Tell(UiEvent::Logged(told)) if *told == logged)
        ));
        assert_eq!(crate::ui::text::logged(&logged), "ana\tPUBLISH a b.mp4\t12/05/2024 10:20:30");
        world.hears(id, b"GET / HTTP/1.1\r\n");
        assert_eq!(world.ending(id), CloseMode::Now);
    }

    #[test]
    fn the_port_mapper_is_told_at_the_start_and_at_the_end() {
        let mut world = World::new();
        world.mapped(0, 0);
        world.mapped(1, 1);
        assert_eq!(world.boxes.0.len(), 2);
        world.tell(Event::Stop(true));
        assert!(!world.exits());
        world.mapped(2, 1);
        assert!(world.exits());
    }

    #[test]
    fn a_port_mapper_that_is_not_there_or_says_nothing_holds_nobody_up() {
        let mut world = World::new();
        world.tell(Event::Closed(ConnId(0), CloseReason::Unreachable("refused".into())));
        world.tell(Event::Stop(true));
        assert!(world.exits());
        let mut world = World::new();
        world.tell(Event::Stop(true));
        assert!(!world.exits());
        world.now += limits::LEAVE_TIMEOUT;
        assert_eq!(world.log.deadline(), Some(world.now));
        world.tell(Event::Deadline);
        assert!(world.exits());
        let mut world = World::new();
        world.tell(Event::Stop(true));
        world.tell(Event::Ended(ConnId(0)));
        assert!(world.exits());
    }

    #[test]
    fn a_newcomer_takes_the_place_of_whoever_was_silent_longest() {
        let mut world = World::new();
        let first = world.accepted();
        world.now += limits::HEADER_TIMEOUT;
        let others: Vec<usize> = (1..limits::RPC_CONNECTIONS).map(|_| world.accepted()).collect();
        world.now += limits::HEADER_TIMEOUT;
        world.hears(first, &operation().1);
        world.accepted();
        assert_eq!(
            (world.ending(first), world.ending(others[0]), world.ending(others[1])),
            (CloseMode::Open, CloseMode::Now, CloseMode::Open)
        );
        assert_eq!(world.log.links.len(), limits::RPC_CONNECTIONS);
    }
}
