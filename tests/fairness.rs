//! Resources that one address can take of a server, and the share left to others: a real server
//! over a network in memory, with addresses of choice.
//!
//! Connections have a window as real ones do: bytes of the server wait until the test reads them.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cardume::accounts::memory::MemoryStore;
use cardume::io::traits::{RawRead, RawWrite};
use cardume::limits;
use cardume::node::io::Transport;
use cardume::reactor::event_loop::EventLoop;
use cardume::reactor::rate_limits::RateLimits;
use cardume::reactor::traits::{ConsoleIo, Net, Ready, Stream, Typed};
use cardume::server::{Server, ServerOptions};
use cardume::ui::event::UiEvent;

const HELLO: &str = "{\"cardume\":1}\n";

#[derive(Default)]
struct Conn {
    link: Option<usize>,
    to_server: VecDeque<u8>,
    from_server: Vec<u8>,
    /// Bytes that the server may write.
    window: usize,
    /// Bytes accepted by the system of the server and not delivered.
    unsent: usize,
    reset: bool,
    closed: bool,
}

/// The network; its clock moves only on request.
struct Memory {
    now: Instant,
    conns: Vec<Conn>,
    backlog: VecDeque<(usize, SocketAddr)>,
    ready: Vec<Ready>,
    is_short: bool,
}

struct End<'a>(&'a mut Conn);

impl Read for End<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.0.to_server.is_empty() {
            return Err(if self.0.reset {
                io::ErrorKind::ConnectionReset
            } else {
                io::ErrorKind::WouldBlock
            }
            .into());
        }
        self.0.to_server.read(into)
    }
}

impl RawWrite for End<'_> {
    fn write_bytes(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let count = bytes.len().min(self.0.window);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.0.window -= count;
        self.0.from_server.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn write_mapped(&mut self, _: *const u8, _: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl RawRead for End<'_> {}

impl Stream for End<'_> {
    fn end_writing(&mut self) {}

    fn unsent(&self) -> usize {
        self.0.unsent
    }
}

impl Net for Memory {
    type Stream = usize;
    type Ends<'a> = End<'a>;

    fn io<'a>(&'a mut self, stream: &'a mut usize) -> End<'a> {
        End(&mut self.conns[*stream])
    }

    fn wait(&mut self, _: Option<Duration>, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.append(&mut self.ready);
        if !self.backlog.is_empty() {
            ready.push(Ready::Port(0));
        }
        Ok(())
    }

    fn now(&self) -> Instant {
        self.now
    }

    fn random(&mut self) -> [u8; 16] {
        [7; 16]
    }

    fn date(&self) -> fn() -> String {
        String::new
    }

    fn listen(&mut self, _: usize, at: SocketAddr, _: bool) -> io::Result<SocketAddr> {
        Ok(at)
    }

    fn accept(&mut self, _: usize) -> io::Result<(usize, SocketAddr)> {
        self.backlog.pop_front().ok_or_else(|| io::ErrorKind::WouldBlock.into())
    }

    fn is_short(&self) -> bool {
        self.is_short
    }

    fn connect(&mut self, _: SocketAddr, _: Transport) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn watch(&mut self, stream: &mut usize, link: usize) -> io::Result<()> {
        self.conns[*stream].link = Some(link);
        Ok(())
    }

    fn established(&mut self, _: &mut usize) -> io::Result<bool> {
        Ok(true)
    }

    fn close(&mut self, stream: usize) {
        let conn = &mut self.conns[stream];
        (conn.link, conn.closed) = (None, true);
        conn.to_server.clear();
    }
}

struct NoConsole;

impl ConsoleIo for NoConsole {
    fn take(&mut self, _: bool) -> Option<Typed> {
        None
    }
    fn tell(&mut self, _: &UiEvent, _: Instant) {}
    fn flush(&mut self) -> bool {
        false
    }
    fn close(&mut self) {}
}

/// A server and its connections.
struct World {
    host: EventLoop<Server, Memory, NoConsole>,
    ports: BTreeMap<String, u16>,
}

impl World {
    fn new(links: usize) -> World {
        let at = "10.9.9.9:1099".parse().unwrap();
        let net = Memory {
            now: Instant::now(),
            conns: Vec::new(),
            backlog: VecDeque::new(),
            ready: Vec::new(),
            is_short: false,
        };
        let server = Server::new(ServerOptions::new(at, 1), Box::new(MemoryStore::default()));
        let mut host = EventLoop::new(
            server,
            net,
            NoConsole,
            RateLimits { max_connections: links, ..RateLimits::default() },
        );
        host.start();
        World { host, ports: BTreeMap::new() }
    }

    /// A new connection from this address.
    fn connect(&mut self, ip: &str) -> usize {
        let port = self.ports.entry(ip.to_owned()).or_insert(1_024);
        *port += 1;
        let from = SocketAddr::new(ip.parse().unwrap(), *port);
        let net = self.host.net();
        net.conns.push(Conn::default());
        let conn = net.conns.len() - 1;
        net.backlog.push_back((conn, from));
        self.iterate(3);
        conn
    }

    fn send(&mut self, conn: usize, bytes: &[u8]) {
        let net = self.host.net();
        net.conns[conn].to_server.extend(bytes);
        if let Some(link) = net.conns[conn].link {
            net.ready.push(Ready::Link {
                link,
                readable: true,
                writable: false,
                ended: false,
                gone: false,
            });
        }
    }

    /// Lets the server send this many bytes more.
    fn take(&mut self, conn: usize, bytes: usize) {
        let net = self.host.net();
        net.conns[conn].window += bytes;
        if let Some(link) = net.conns[conn].link {
            net.ready.push(Ready::Link {
                link,
                readable: false,
                writable: true,
                ended: false,
                gone: false,
            });
        }
    }

    /// Resets the connection from the client's side.
    fn reset(&mut self, conn: usize) {
        let net = self.host.net();
        net.conns[conn].reset = true;
        if let Some(link) = net.conns[conn].link {
            net.ready.push(Ready::Link {
                link,
                readable: true,
                writable: true,
                ended: true,
                gone: true,
            });
        }
    }

    fn iterate(&mut self, count: usize) {
        for _ in 0..count {
            self.host.run_once().unwrap();
        }
    }

    fn pass(&mut self, time: Duration) {
        let step = Duration::from_millis(100);
        let until = self.host.net().now + time;
        while self.host.net().now < until {
            self.host.net().now += step;
            self.iterate(2);
        }
    }

    /// The response to a request, with an unlimited window.
    fn request(&mut self, conn: usize, said: &str) -> String {
        self.take(conn, 1 << 20);
        self.send(conn, said.as_bytes());
        self.iterate(40);
        let received = std::mem::take(&mut self.host.net().conns[conn].from_server);
        String::from_utf8(received).unwrap()
    }

    /// Seconds until the server closes this connection, at most `most`. `each` runs every second.
    fn seconds_until_closed(
        &mut self,
        conn: usize,
        most: u64,
        mut each: impl FnMut(&mut World, u64),
    ) -> Option<u64> {
        (1..=most).find(|second| {
            each(self, *second);
            self.pass(Duration::from_secs(1));
            self.is_closed(conn)
        })
    }

    /// A client that requested `lists` lists and reads none, with `unsent` undelivered bytes in the
    /// system.
    fn stalled(&mut self, lists: usize, unsent: usize) -> usize {
        let member = self.connect("10.0.0.1");
        assert!(self.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
        let reader = self.connect("10.0.0.2");
        self.request(reader, HELLO);
        let conn = &mut self.host.net().conns[reader];
        (conn.window, conn.unsent) = (0, unsent);
        self.send(
            reader,
            "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(lists).as_bytes(),
        );
        self.iterate(20);
        reader
    }

    fn is_closed(&mut self, conn: usize) -> bool {
        self.host.net().conns[conn].closed
    }
}

fn join(port: u16, files: usize) -> String {
    let name = "n".repeat(200);
    let files: Vec<String> = (0..files)
        .map(|number| format!("{{\"name\":\"{name}{number}.mp4\",\"size\":1}}"))
        .collect();
    format!("{{\"id\":1,\"method\":\"JOIN\",\"port\":{port},\"files\":[{}]}}\n", files.join(","))
}

/// A slow reader requests lists without end and never lets its queue become empty.
#[test]
fn a_slow_steady_reader_cannot_fill_the_memory() {
    let mut world = World::new(1_000);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
    let reader = world.connect("10.0.0.2");
    world.request(reader, HELLO);
    let ask = "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(2_000);
    let (mut most, mut got) = (0, 0);
    for _ in 0..800 {
        if world.host.net().conns[reader].to_server.len() < 10_000 {
            world.send(reader, ask.as_bytes());
        }
        world.take(reader, 64 << 10);
        world.iterate(1);
        got += std::mem::take(&mut world.host.net().conns[reader].from_server).len();
        most = most.max(world.host.memory_of_queues());
    }
    assert!(got > 40 << 20, "only {got} bytes were read");
    assert!(most < 4 << 20, "{most} bytes are held for {got} that were sent");
}

#[test]
fn unfinished_headers_of_one_address_block_no_join_of_another() {
    for (attacker, good) in
        [("10.0.0.1", "10.0.0.2"), ("127.0.0.1", "127.0.0.2"), ("2001:db8::1", "2001:db8:0:1::1")]
    {
        let mut world = World::new(1_000);
        let head = format!("{{\"id\":1,\"method\":\"JOIN\",\"x\":\"{}", "x".repeat(1_000_000));
        for _ in 0..90 {
            let conn = world.connect(attacker);
            world.request(conn, HELLO);
            world.send(conn, head.as_bytes());
            world.iterate(10);
        }
        assert!(
            world.host.memory_of_heads() <= limits::ADDRESS_HEADER_BYTES + (4 << 20),
            "{}",
            world.host.memory_of_heads()
        );
        let conn = world.connect(good);
        assert!(
            world.request(conn, &(HELLO.to_owned() + &join(4_000, 1_000))).contains("JOIN_OK"),
            "{good} beside {attacker}"
        );
    }
}

#[test]
fn unfinished_headers_of_many_addresses_leave_room_for_a_join() {
    let mut world = World::new(1_000);
    let head = format!("{{\"id\":1,\"method\":\"JOIN\",\"x\":\"{}", "x".repeat(1_000_000));
    for number in 0..120 {
        let conn = world.connect(&format!("10.0.0.{}", 1 + number % 4));
        world.request(conn, HELLO);
        world.send(conn, head.as_bytes());
        world.iterate(10);
    }
    let conn = world.connect("10.0.1.1");
    assert!(world.request(conn, &(HELLO.to_owned() + &join(4_000, 1_000))).contains("JOIN_OK"));
}

#[test]
fn stalled_headers_make_way_for_new_ones_of_the_same_address() {
    let mut world = World::new(1_000);
    let head = format!("{{\"id\":1,\"method\":\"JOIN\",\"x\":\"{}", "x".repeat(1_000_000));
    let mut stands = Vec::new();
    for _ in 0..90 {
        let conn = world.connect("127.0.0.1");
        world.request(conn, HELLO);
        world.send(conn, head.as_bytes());
        world.iterate(10);
        stands.push(conn);
    }
    let conn = world.connect("127.0.0.1");
    world.request(conn, HELLO);
    world.request(conn, &join(4_000, 1_000));
    world.pass(Duration::from_secs(8));
    assert!(world.request(conn, "{\"id\":2,\"method\":\"PING\"}\n").contains("JOIN_OK"));
    assert!(stands.iter().any(|conn| world.is_closed(*conn)));
}

#[test]
fn send_queues_of_one_address_are_bounded_and_others_are_answered() {
    let mut world = World::new(1_000);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
    let ask = "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(100);
    for _ in 0..100 {
        let conn = world.connect("10.0.0.2");
        world.request(conn, HELLO);
        world.host.net().conns[conn].window = 0;
        world.send(conn, ask.as_bytes());
        world.iterate(10);
    }
    let held = world.host.memory_of_queues();
    assert!(held < limits::ADDRESS_QUEUE_BYTES + (16 << 20), "{held}");
    let good = world.connect("10.0.0.3");
    let answers = world.request(
        good,
        &(HELLO.to_owned()
            + &"{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(10)),
    );
    assert_eq!(answers.matches("\"files\":[").count(), 10);
}

#[test]
fn all_send_queues_together_are_bounded() {
    let mut world = World::new(20_000);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
    let ask = "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(30);
    let (mut most, mut conns) = (0, Vec::new());
    for number in 0..430 {
        let conn = world.connect(&format!("10.{}.{}.1", 1 + number / 200, number % 200));
        world.request(conn, HELLO);
        world.host.net().conns[conn].window = 0;
        world.send(conn, ask.as_bytes());
        world.iterate(4);
        conns.push(conn);
        most = most.max(world.host.memory_of_queues());
    }
    assert!(most > limits::ALL_QUEUES_BYTES, "the bound was never met: {most}");
    assert!(most < 2 * limits::ALL_QUEUES_BYTES + (8 << 20), "{most}");
    assert!(
        conns.iter().any(|conn| world.is_closed(*conn)),
        "beyond twice the bound the longest queues go"
    );
    let good = world.connect("10.0.0.3");
    assert!(
        world
            .request(good, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("PONG")
    );
}

#[test]
fn a_connection_under_backpressure_is_closed_after_a_reset() {
    let mut world = World::new(1_000);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
    let reader = world.connect("10.0.0.2");
    world.request(reader, HELLO);
    world.host.net().conns[reader].window = 0;
    world.send(
        reader,
        "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(30_000).as_bytes(),
    );
    world.iterate(100);
    assert!(!world.host.net().conns[reader].to_server.is_empty(), "it is to be held back");
    world.reset(reader);
    world.iterate(3);
    assert!(world.is_closed(reader));
    assert_eq!(world.host.memory_of_queues(), 0);
}

#[test]
fn one_address_cannot_take_all_connections_and_receives_busy() {
    let mut world = World::new(100);
    let conns: Vec<usize> = (0..40).map(|_| world.connect("10.0.0.1")).collect();
    let received: Vec<String> = conns
        .iter()
        .map(|conn| world.request(*conn, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n")))
        .collect();
    assert_eq!(received.iter().filter(|received| received.contains("PONG")).count(), 25);
    assert!(
        received[25].contains("\"id\":1,\"error\":{\"code\":\"busy\",\"retry\":true"),
        "{}",
        received[25]
    );
    let good = world.connect("10.0.0.2");
    assert!(
        world
            .request(good, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("PONG")
    );
    for conn in &conns[..5] {
        world.reset(*conn);
    }
    world.iterate(3);
    let again = world.connect("10.0.0.1");
    assert!(
        world
            .request(again, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("PONG"),
        "what was given back can be used again"
    );
}

#[test]
fn an_address_that_keeps_connecting_blocks_no_other_address() {
    let mut world = World::new(100);
    // These clients stay silent, so that all places for refused connections are taken as well.
    for _ in 0..200 {
        world.connect("10.0.0.1");
    }
    let good = world.connect("10.0.0.2");
    assert!(
        world
            .request(good, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("PONG")
    );
}

#[test]
fn loopback_may_take_all_connections_and_further_clients_receive_busy() {
    let mut world = World::new(50);
    let conns: Vec<usize> = (0..50).map(|_| world.connect("127.0.0.1")).collect();
    for conn in &conns {
        assert!(
            world
                .request(*conn, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
                .contains("PONG")
        );
    }
    let native = world.connect("10.0.0.2");
    let received = world
        .request(native, &(HELLO.to_owned() + "{\"id\":7,\"method\":\"SEARCH\",\"name\":\"a\"}\n"));
    assert!(received.contains("\"id\":7,\"error\":{\"code\":\"busy\""), "{received}");
    let http = world.connect("10.0.0.3");
    let received = world.request(http, "GET /api/search?q=a HTTP/1.1\r\nHost: 10.9.9.9\r\n\r\n");
    assert!(received.starts_with("HTTP/1.1 503 "), "{received}");
    // A silent client blocks others only until its timeout.
    let silent: Vec<usize> =
        (0..limits::BUSY_CONNECTIONS + 10).map(|_| world.connect("10.0.0.4")).collect();
    let late = world.connect("10.0.0.5");
    world.pass(limits::BUSY_TIMEOUT + Duration::from_millis(400));
    assert!(silent.iter().take(limits::BUSY_CONNECTIONS - 2).all(|conn| world.is_closed(*conn)));
    assert!(
        world
            .request(late, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("busy")
    );
    world.reset(conns[0]);
    world.pass(Duration::from_secs(11));
    let good = world.connect("10.0.0.6");
    assert!(
        world
            .request(good, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("PONG")
    );
}

#[test]
fn the_client_on_the_last_descriptor_receives_busy() {
    let mut world = World::new(50);
    world.host.net().is_short = true;
    let conn = world.connect("10.0.0.1");
    world.host.net().is_short = false;
    assert!(
        world
            .request(conn, &(HELLO.to_owned() + "{\"id\":1,\"method\":\"PING\"}\n"))
            .contains("busy")
    );
}

/// A line of a mebibyte is decoded over many iterations. Searches are answered meanwhile, and the
/// requests behind the line after it; further long lines wait for their turn.
#[test]
fn a_long_join_is_decoded_in_slices_in_the_order_of_arrival() {
    let mut world = World::new(1_000);
    let conns = ["10.0.0.1", "10.0.0.2", "10.0.0.3"].map(|from| {
        let conn = world.connect(from);
        world.request(conn, HELLO);
        world.take(conn, 1 << 20);
        conn
    });
    let [first, second, asker] = conns;
    let line = join(4_000, 4_300);
    assert!((900 << 10..limits::JOIN_BYTES).contains(&line.len()), "{}", line.len());
    world.send(first, line.as_bytes());
    world.send(first, b"{\"id\":7,\"method\":\"PING\"}\n");
    world.send(second, join(4_001, 100).as_bytes());
    let has = |world: &mut World, conn: usize, text: &str| {
        String::from_utf8_lossy(&world.host.net().conns[conn].from_server).contains(text)
    };
    let mut joined = [0, 0];
    for iteration in 1..200 {
        if iteration % 3 == 0 {
            world.send(asker, b"{\"id\":3,\"method\":\"SEARCH\",\"name\":\"a\"}\n");
            world.iterate(3);
            assert!(has(&mut world, asker, "\"holders\""), "iteration {iteration}");
            world.host.net().conns[asker].from_server.clear();
        } else {
            world.iterate(1);
        }
        for (conn, joined) in [first, second].into_iter().zip(&mut joined) {
            if *joined == 0 && has(&mut world, conn, "JOIN_OK") {
                *joined = iteration;
            }
        }
        assert!(joined[0] != 0 || !has(&mut world, first, "\"id\":7"), "PING comes behind JOIN");
    }
    assert!(joined[0] > 8, "{joined:?}: a line was decoded at once");
    assert!(joined[1] > 0 && has(&mut world, first, "\"id\":7"), "{joined:?}");
    // A client that leaves in the middle of its line leaves nothing behind.
    world.send(second, join(4_001, 4_300).as_bytes());
    world.iterate(14);
    world.reset(second);
    world.iterate(20);
    assert!(world.is_closed(second));
    assert!(world.request(asker, &join(4_002, 100)).contains("JOIN_OK"));
}

#[test]
fn listings_of_a_large_peer_are_sent_in_small_slices() {
    let mut world = World::new(1_000);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 1_000))).contains("JOIN_OK"));
    let ask = "{\"id\":1,\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}\n".repeat(16);
    let readers: Vec<usize> = (0..40)
        .map(|number| {
            let reader = world.connect(&format!("10.2.0.{number}"));
            world.request(reader, HELLO);
            world.take(reader, 100 << 20);
            reader
        })
        .collect();
    world.iterate(10);
    readers.iter().for_each(|reader| world.send(*reader, ask.as_bytes()));
    let made = |world: &mut World| {
        world.host.net().conns.iter().map(|conn| conn.from_server.len()).sum::<usize>()
    };
    let (mut before, mut most) = (made(&mut world), 0);
    for _ in 0..200 {
        world.iterate(1);
        let now = made(&mut world);
        most = most.max(now - before);
        before = now;
    }
    assert!(before > 40 * 16 * (20 << 10), "all lists are to come: {before}");
    // Some responses were made in the iteration before.
    assert!(most < 1_300 << 10, "{most} bytes of answers were sent in one iteration");
}

#[test]
fn subscriptions_of_one_address_leave_room_for_others() {
    let mut world = World::new(1_000);
    let asks: String = (0..64)
        .map(|id| format!("{{\"id\":{id},\"method\":\"SUBSCRIBE\",\"contains\":\"film{id}\"}}\n"))
        .collect();
    let links: Vec<usize> = (0..5).map(|_| world.connect("10.0.0.1")).collect();
    let received: Vec<String> =
        links.iter().map(|link| world.request(*link, &(HELLO.to_owned() + &asks))).collect();
    assert_eq!(received.concat().matches("SUBSCRIBE_OK").count(), limits::ADDRESS_PATTERNS);
    assert!(received[4].contains("\"busy\""));
    let good = world.connect("10.0.0.2");
    assert_eq!(
        world.request(good, &(HELLO.to_owned() + &asks)).matches("SUBSCRIBE_OK").count(),
        64
    );
    // Resources of a closed connection are free again.
    world.reset(links[0]);
    world.iterate(3);
    let again = world.connect("10.0.0.1");
    assert_eq!(
        world.request(again, &(HELLO.to_owned() + &asks)).matches("SUBSCRIBE_OK").count(),
        64
    );
}

#[test]
fn a_stalled_reader_is_closed_after_a_minute_whatever_its_socket_buffer_holds() {
    for unsent in [0, 1, 2 << 20] {
        let mut world = World::new(100);
        let reader = world.stalled(100, unsent);
        let seconds = world.seconds_until_closed(reader, 200, |_, _| {});
        assert!(
            seconds.is_some_and(|seconds| (59..=65).contains(&seconds)),
            "{seconds:?} with {unsent} bytes undelivered"
        );
    }
}

#[test]
fn requests_do_not_count_as_responses_read() {
    // Requests of the first are read; those of the second wait behind too many unread responses.
    for lists in [1, 100] {
        let mut world = World::new(100);
        let reader = world.stalled(lists, 10_000);
        let seconds = world.seconds_until_closed(reader, 200, |world, second| {
            if second.is_multiple_of(10) {
                world.send(reader, b"\n");
            }
        });
        assert!(
            seconds.is_some_and(|seconds| (59..=65).contains(&seconds)),
            "{seconds:?} with {lists} lists"
        );
    }
}

#[test]
fn the_read_timeout_starts_at_the_last_delivered_byte() {
    let mut world = World::new(100);
    let reader = world.stalled(100, 2 << 20);
    let delivers = |world: &mut World, second: u64| {
        if second.is_multiple_of(50) && second <= 300 {
            world.host.net().conns[reader].unsent -= 1_000;
        }
    };
    let seconds = world.seconds_until_closed(reader, 500, delivers);
    assert!(seconds.is_some_and(|seconds| (359..=366).contains(&seconds)), "{seconds:?}");
}

#[test]
fn pipelined_searches_are_answered_after_their_reader_pauses() {
    let mut world = World::new(100);
    let member = world.connect("10.0.0.1");
    assert!(world.request(member, &(HELLO.to_owned() + &join(4_000, 300))).contains("JOIN_OK"));
    let reader = world.connect("10.0.0.2");
    world.request(reader, HELLO);
    world.host.net().conns[reader].window = 0;
    let asks: String = (0..400)
        .map(|id| format!("{{\"id\":{id},\"method\":\"LS\",\"peer\":\"10.0.0.1:4000\"}}\n"))
        .collect();
    // The last request is incomplete for longer than a header may take.
    let (most, rest) = asks.split_at(asks.len() - 9);
    world.send(reader, most.as_bytes());
    world.pass(Duration::from_secs(2));
    world.send(reader, rest.as_bytes());
    world.pass(Duration::from_secs(50));
    assert!(!world.is_closed(reader), "a pause of less than a minute ends nothing");
    let mut got = Vec::new();
    for _ in 0..600 {
        world.take(reader, 64 << 10);
        world.pass(Duration::from_millis(100));
        got.append(&mut world.host.net().conns[reader].from_server);
    }
    let answers = String::from_utf8(got).unwrap();
    let answered: std::collections::BTreeSet<&str> =
        answers.split("{\"id\":").skip(1).filter_map(|answer| answer.split(',').next()).collect();
    assert_eq!(answered.len(), 400);
}

/// A stopped process resumes with more input than one iteration can read: no client that sent bytes
/// meanwhile is late.
#[test]
fn bytes_received_while_the_process_was_stopped_are_read_before_timeouts_fire() {
    let mut world = World::new(1_000);
    let links: Vec<usize> =
        (0..100).map(|number| world.connect(&format!("10.3.{number}.1"))).collect();
    for link in &links {
        world.request(*link, HELLO);
    }
    world.pass(Duration::from_secs(30));
    // The wait was to end at the first deadline and ends long after.
    world.host.net().now += Duration::from_secs(62);
    let line = format!("{{\"id\":1,\"method\":\"PING\",\"x\":\"{}\"}}\n", "x".repeat(60_000));
    for link in &links {
        world.send(*link, line.as_bytes());
        world.take(*link, 1 << 20);
    }
    world.iterate(100);
    let late = links.iter().filter(|link| world.host.net().conns[**link].closed).count();
    assert_eq!(late, 0, "of {}", links.len());
    assert!(links.iter().all(|link| {
        String::from_utf8_lossy(&world.host.net().conns[*link].from_server).contains("PONG")
    }));
}
