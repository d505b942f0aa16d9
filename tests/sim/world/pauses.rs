//! Pauses without loss: slow readers of stdout, stopped processes, rate limits, queues.

use std::cell::{Cell, RefCell};
use std::io::{self, Read as _};

use cardume::client::command::DownloadTarget;
use cardume::io::traits::RawWrite as _;
use cardume::storage::fs_trait::STDOUT_BYTES;

use super::*;
use crate::net::SimStream;

const NAME: &str = "f.mp4";
/// Numbers of the server, the owner and the requester.
const SERVER: usize = 0;
const OWNER: usize = 1;
const GETTER: usize = 2;

/// The pace of a pipe's reader.
#[derive(Clone, Copy, Debug)]
enum Pace {
    /// Reads so many bytes, pauses so many microseconds, reads the rest.
    Pause(usize, u64),
    /// Reads so many bytes a second for so many seconds, then the rest.
    Steady(usize, u64),
}

/// A pipe with a reader.
struct Pipe {
    clock: Clock,
    pace: Pace,
    bytes: RefCell<Vec<u8>>,
    taken: Cell<usize>,
    /// When the pause or the reading started.
    since: Cell<Option<u64>>,
}

impl Pipe {
    /// Reads all bytes that are due by now.
    fn read(&self) {
        let (now, here) = (self.clock.now(), self.bytes.borrow().len());
        let since = |cell: &Cell<Option<u64>>| {
            let since = cell.get().unwrap_or(now);
            cell.set(Some(since));
            since
        };
        let taken = match self.pace {
            Pace::Pause(before, _) if here < before => here,
            Pace::Pause(before, pause) => {
                if since(&self.since) + pause <= now {
                    here
                } else {
                    before
                }
            }
            Pace::Steady(..) if here == 0 => 0,
            Pace::Steady(rate, time) => {
                let passed = now - since(&self.since);
                if passed >= time {
                    here
                } else {
                    here.min(rate * usize::try_from(passed / 1_000).unwrap_or(0) / 1_000)
                }
            }
        };
        self.taken.set(taken);
    }
}

impl Sink for Pipe {
    fn room(&self) -> usize {
        self.read();
        STDOUT_BYTES - (self.bytes.borrow().len() - self.taken.get())
    }

    fn put(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        assert!(bytes.len() <= self.room(), "more than there is room for");
        // Without bytes the call only checks for failure.
        assert!(bytes.is_empty() || at == self.bytes.borrow().len() as u64, "out of order");
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(())
    }
}

fn name() -> RelativeName {
    RelativeName::new(NAME).unwrap_or_else(|error| panic!("no name: {error:?}"))
}

/// A connection held by the test.
pub(super) struct Raw {
    pub(super) stream: SimStream,
}

impl World {
    /// A server, an owner of a file of this size, and a `get` that is not started.
    fn with_get(seed: u64, size: usize) -> (World, Content) {
        let mut world = World::of(seed, false, 2);
        // All bytes of the table make a file slightly larger than the limit.
        let content = if size > LARGEST {
            Content { start: 0, size }
        } else {
            Content::new(&world.rng, size)
        };
        world.peers[0].disk.place(NAME, content);
        world.names = vec![NAME.to_owned()];
        world.peers[1].options.once = Some((Command::Get(DownloadTarget::named(name())), None));
        (world, content)
    }

    fn pass(&mut self, seconds: u64) {
        let end = self.clock.now() + seconds * SECOND;
        self.run_until(end, |_| false);
    }

    /// Starts server and owner, and some seconds later the `get`.
    fn begin_get(&mut self) {
        self.start(SERVER);
        self.start(OWNER);
        self.pass(5);
        self.start(GETTER);
    }

    /// Runs until the `get` has exited; returns its code.
    fn end_get(&mut self, seconds: u64) -> Option<i32> {
        let end = self.clock.now() + seconds * SECOND;
        self.run_until(end, |world| world.peers[1].code.is_some());
        self.peers[1].code
    }

    /// How often the `get` has connected to the owner.
    fn connections_of_get(&self) -> usize {
        let (owner, getter) = (self.peers[0].at, self.peers[1].at.ip());
        self.wire
            .look()
            .conns
            .iter()
            .filter(|conn| conn.to == owner && conn.sides[0].address.ip() == getter)
            .count()
    }

    /// Stops a process for so many seconds.
    fn stop(&mut self, number: usize, seconds: u64) {
        self.machine(number).stopped_until = self.clock.now() + seconds * SECOND;
    }

    pub(super) fn raw(&mut self, to: SocketAddr) -> Raw {
        let life = self.actor();
        let stream = self.wire.connect(life, to);
        self.wire.watch(&stream, stream.conn);
        self.pass(1);
        Raw { stream }
    }

    fn send(&mut self, raw: &mut Raw, text: &str) {
        let mut sent = 0;
        while sent < text.len() {
            match raw.stream.write_bytes(&text.as_bytes()[sent..]) {
                Ok(count) => sent += count,
                Err(_) => self.pass(1),
            }
        }
    }

    /// Bytes received within a second.
    fn receive(&mut self, raw: &mut Raw) -> String {
        self.pass(1);
        let (mut got, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
        loop {
            match raw.stream.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => got.extend_from_slice(&buffer[..count]),
                Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => break,
            }
        }
        String::from_utf8_lossy(&got).into_owned()
    }

    pub(super) fn request(&mut self, raw: &mut Raw, text: &str) -> String {
        self.send(raw, text);
        self.receive(raw)
    }
}

#[test]
fn a_reader_of_stdout_may_pause_or_be_slow() {
    // More pieces than are requested before the reader has read the first.
    let size = 19 << 20;
    let paces = [
        Pace::Pause(500_000, 35 * SECOND),
        Pace::Pause(500_000, 200 * SECOND),
        Pace::Steady(16_000, 200 * SECOND),
    ];
    for (seed, pace) in paces.into_iter().enumerate() {
        let (mut world, content) = World::with_get(seed as u64, size);
        let clock = world.clock.clone();
        let pipe = Rc::new(Pipe {
            clock,
            pace,
            bytes: RefCell::default(),
            taken: Cell::new(0),
            since: Cell::new(None),
        });
        if let Some((_, target)) = &mut world.peers[1].options.once {
            *target = Some(Rc::clone(&pipe) as Rc<dyn Sink>);
        }
        world.begin_get();
        assert_eq!(world.end_get(600), Some(0), "{pace:?}");
        assert!(*pipe.bytes.borrow() == content.bytes(), "{pace:?}: other bytes");
        assert_eq!(pipe.taken.get(), content.size, "{pace:?}: it ended before its reader had all");
        assert_eq!(world.connections_of_get(), 1, "{pace:?}: it has let its source go");
    }
}

#[test]
fn a_stopped_get_resumes_with_received_bytes() {
    for seed in 0..4 {
        let (mut world, content) = World::with_get(seed, 2_000_000);
        world.peers[0].options.speed.usual.upload = Some(100_000);
        world.begin_get();
        world.pass(5);
        world.stop(GETTER, 62);
        world.pass(62);
        assert_eq!(world.peers[1].code, None, "it was to be stopped in the midst of it");
        assert_eq!(world.end_get(60), Some(0));
        assert!(world.peers[1].disk.holds(NAME, content));
    }
}

#[test]
fn a_stopped_server_and_peer_are_found_again() {
    for number in [SERVER, OWNER, GETTER] {
        let (mut world, _) = World::with_get(7 + number as u64, 200_000);
        world.peers[1].options.once = None;
        world.begin_get();
        world.pass(10);
        world.stop(number, 62);
        world.pass(62 + 40);
        world.last_audit();
    }
}

#[test]
fn a_stopped_watch_prints_missed_events() {
    // The connection survives the first pause; in the second the server closes it.
    for seconds in [8, 62] {
        let (mut world, _) = World::with_get(seconds, 200_000);
        let options = &mut world.peers[1].options;
        (options.once, options.watches) = (None, Some(name()));
        world.start(SERVER);
        world.start(GETTER);
        world.pass(10);
        world.stop(GETTER, seconds);
        world.start(OWNER);
        world.pass(seconds + 20);
        let received = &world.peers[1].received;
        assert!(
            received.iter().any(|report| matches!(report, UiEvent::Appeared(_))),
            "after {seconds} s: {received:?}"
        );
    }
}

#[test]
fn a_low_rate_limit_on_either_side_keeps_the_connection() {
    for is_upload in [false, true] {
        let (mut world, content) = World::with_get(3 + u64::from(is_upload), 200_000);
        if is_upload {
            world.peers[0].options.speed.usual.upload = Some(2_048);
        } else {
            world.peers[1].options.speed.usual.download = Some(2_048);
        }
        world.begin_get();
        let code = world.end_get(400);
        assert_eq!(code, Some(0), "upload: {is_upload}");
        assert!(world.peers[1].disk.holds(NAME, content));
        assert_eq!(world.connections_of_get(), 1, "upload: {is_upload}");
    }
}

/// A queue at an owner with one slot, which the first connection holds.
fn with_queue() -> (World, SocketAddr, Raw) {
    let (mut world, _) = World::with_get(11, 3_000_000);
    world.peers[0].options.slots = Some(1);
    world.oracle.touch(world.peers[0].at, u64::MAX);
    world.start(SERVER);
    world.start(OWNER);
    world.pass(5);
    let owner = world.peers[0].at;
    let mut holder = world.raw(owner);
    world.wire.hold().conns[holder.stream.conn].sides[1].window = 10_000;
    world.send(&mut holder, &format!("{{\"cardume\":1}}\n{}", fetch(1)));
    world.pass(1);
    (world, owner, holder)
}

fn fetch(id: u64) -> String {
    format!("{{\"id\":{id},\"method\":\"FETCH\",\"name\":\"{NAME}\"}}\n")
}

fn place(number: u64) -> String {
    format!("\"place\":{number}")
}

#[test]
fn queued_requests_are_notified_when_an_earlier_request_leaves() {
    let (mut world, owner, _holder) = with_queue();
    let mut native = Vec::new();
    for number in 1..=3 {
        let mut raw = world.raw(owner);
        let received = world.request(&mut raw, &format!("{{\"cardume\":1}}\n{}", fetch(2)));
        assert!(received.contains(&place(number)), "{received}");
        native.push(raw);
    }
    // One connection cancels, and one closes with unread bytes, which resets the connection.
    let mut first = native.remove(0);
    world.send(&mut first, "{\"id\":3,\"method\":\"CANCEL\",\"fetch\":2}\n");
    for (number, raw) in native.iter_mut().enumerate() {
        let received = world.receive(raw);
        assert!(received.contains(&place(number as u64 + 1)), "{received}");
    }
    let mut second = native.remove(0);
    world.send(&mut second, "{\"id\":4,\"method\":\"PING\"}\n");
    world.pass(1);
    world.wire.close(&second.stream);
    let received = world.receive(&mut native[0]);
    assert!(received.contains(&place(1)), "{received}");
}

#[test]
fn a_closed_http_connection_leaves_the_queue() {
    let (mut world, owner, _holder) = with_queue();
    let mut http = world.raw(owner);
    let received =
        world.request(&mut http, &format!("GET /files/{NAME} HTTP/1.1\r\nHost: {owner}\r\n\r\n"));
    assert_eq!(received, "", "there is no slot for it");
    let mut native = world.raw(owner);
    let received = world.request(&mut native, &format!("{{\"cardume\":1}}\n{}", fetch(2)));
    assert!(received.contains(&place(2)), "{received}");
    world.wire.close(&http.stream);
    let received = world.receive(&mut native);
    assert!(received.contains(&place(1)), "{received}");
}

#[test]
fn an_http_response_without_a_body_takes_no_slot() {
    let (mut world, owner, _holder) = with_queue();
    let mut http = world.raw(owner);
    let received =
        world.request(&mut http, &format!("HEAD /files/{NAME} HTTP/1.1\r\nHost: {owner}\r\n\r\n"));
    let tag = received
        .lines()
        .find_map(|line| line.strip_prefix("ETag: "))
        .unwrap_or_else(|| panic!("no tag: {received}"));
    let received = world.request(
        &mut http,
        &format!("GET /files/{NAME} HTTP/1.1\r\nHost: {owner}\r\nIf-None-Match: {tag}\r\n\r\n"),
    );
    assert!(received.starts_with("HTTP/1.1 304 "), "{received}");
}

#[test]
fn a_stalled_reader_loses_its_slot_despite_further_requests() {
    let (mut world, owner, mut holder) = with_queue();
    let mut native = world.raw(owner);
    assert!(
        world.request(&mut native, &format!("{{\"cardume\":1}}\n{}", fetch(2))).contains(&place(1))
    );
    let mut received = String::new();
    let began = world.clock.now();
    while !received.contains("FETCH_OK") && world.clock.now() < began + 100 * SECOND {
        world.send(&mut holder, "\n");
        world.pass(4);
        received = world.receive(&mut native);
    }
    let seconds = (world.clock.now() - began) / SECOND;
    assert!((54..=70).contains(&seconds), "the slot was kept for {seconds} s");
}
