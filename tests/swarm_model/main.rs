//! Swarms without sockets: the piece pickers of many takers, one owner of limited rate, and time
//! that is counted. Measures how much of what the owner sends is new to the swarm.

use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use cardume::protocol::response::PieceRange;
use cardume::storage::bitfield::Bitfield;
use cardume::storage::piece_picker::{PiecePicker, SourceId};

const PIECE: u64 = 1 << 20;
const PIECES: u64 = 256;
/// A sender gives this much to each connection in turn.
const CHUNK: u64 = 64 << 10;
/// Bytes a second of the owner, and of a taker.
const OWNER_RATE: f64 = 100e6;
const TAKER_RATE: f64 = 400e6;
/// The program collects new pieces this long.
const HAVE_DELAY: f64 = 0.075;

/// What happens, in the order of its time.
enum Event {
    /// A sender has sent a chunk.
    Sent { sender: usize },
    /// A taker tells its new pieces.
    Have { taker: usize },
    /// A taker learns of the other takers.
    Found { taker: usize },
}

/// An event at a time in seconds; the number keeps the order of events of one time.
struct Due(f64, u64, Event);

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.1 == other.1
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest.
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        other.0.total_cmp(&self.0).then(other.1.cmp(&self.1))
    }
}

struct Sender {
    /// For each taker: the requested pieces, and the bytes sent of the first.
    queues: Vec<(VecDeque<u64>, u64)>,
    turn: usize,
    is_sending: bool,
    rate: f64,
    /// Pieces sent.
    pieces: u64,
}

struct Taker {
    picker: PiecePicker,
    /// By sender: the source of its picker, once it is known.
    sources: Vec<Option<SourceId>>,
    /// Pieces that the others know of.
    told: Bitfield,
    /// A message to the others is due.
    is_telling: bool,
    whole_at: Option<f64>,
}

struct Swarm {
    start: Instant,
    now: f64,
    events: BinaryHeap<Due>,
    count: u64,
    senders: Vec<Sender>,
    takers: Vec<Taker>,
}

impl Swarm {
    fn new(takers: usize, pieces: u64, found_after: f64) -> Swarm {
        let start = Instant::now();
        let sender = |rate| Sender {
            queues: (0..takers).map(|_| (VecDeque::new(), 0)).collect(),
            turn: 0,
            is_sending: false,
            rate,
            pieces: 0,
        };
        let mut swarm = Swarm {
            start,
            now: 0.0,
            events: BinaryHeap::new(),
            count: 0,
            senders: std::iter::once(sender(OWNER_RATE))
                .chain((0..takers).map(|_| sender(TAKER_RATE)))
                .collect(),
            takers: (0..takers)
                .map(|number| {
                    let mut picker = PiecePicker::new(
                        pieces * PIECE,
                        Bitfield::none(pieces),
                        number as u64 * 7919 + 13,
                    );
                    picker.set_own(Some(number as u64));
                    let owner = picker.add_source(true, start);
                    let mut sources = vec![None; takers + 1];
                    sources[0] = Some(owner);
                    Taker {
                        picker,
                        sources,
                        told: Bitfield::none(pieces),
                        is_telling: false,
                        whole_at: None,
                    }
                })
                .collect(),
        };
        for taker in 0..takers {
            swarm.at(found_after * (1.0 + taker as f64 / takers as f64), Event::Found { taker });
            swarm.ask(taker, 0);
        }
        swarm
    }

    fn at(&mut self, when: f64, event: Event) {
        self.count += 1;
        self.events.push(Due(when, self.count, event));
    }

    fn instant(&self) -> Instant {
        self.start + Duration::from_secs_f64(self.now)
    }

    /// Asks a sender for as many pieces as the picker wants.
    fn ask(&mut self, taker: usize, sender: usize) {
        let now = self.instant();
        let Some(source) = self.takers[taker].sources[sender] else { return };
        while let Some(piece) = self.takers[taker].picker.next(source, now) {
            self.senders[sender].queues[taker].0.push_back(piece);
        }
        self.send(sender);
    }

    fn send(&mut self, sender: usize) {
        let one = &mut self.senders[sender];
        if one.is_sending || one.queues.iter().all(|(queue, _)| queue.is_empty()) {
            return;
        }
        one.is_sending = true;
        let time = CHUNK as f64 / one.rate;
        self.at(self.now + time, Event::Sent { sender });
    }

    fn sent(&mut self, sender: usize) {
        let one = &mut self.senders[sender];
        one.is_sending = false;
        let count = one.queues.len();
        let Some(taker) = (0..count)
            .map(|step| (one.turn + step) % count)
            .find(|taker| !one.queues[*taker].0.is_empty())
        else {
            return;
        };
        one.turn = (taker + 1) % count;
        let (queue, done) = &mut one.queues[taker];
        *done += CHUNK;
        if *done >= PIECE {
            *done = 0;
            let piece = queue.pop_front().unwrap();
            one.pieces += 1;
            self.arrived(taker, sender, piece);
        }
        self.send(sender);
    }

    fn arrived(&mut self, taker: usize, sender: usize, piece: u64) {
        let now = self.instant();
        let source = self.takers[taker].sources[sender].unwrap();
        if let Some(others) = self.takers[taker].picker.arrived(source, piece, now) {
            // The other requests for this piece are cancelled where nothing is sent yet.
            for other in others {
                let at = self.takers[taker]
                    .sources
                    .iter()
                    .position(|source| *source == Some(other))
                    .unwrap();
                self.takers[taker].picker.cancel(other, piece);
                let (queue, done) = &mut self.senders[at].queues[taker];
                if let Some(place) = queue.iter().position(|asked| *asked == piece)
                    && (place > 0 || *done == 0)
                {
                    queue.remove(place);
                }
                self.ask(taker, at);
            }
            if !self.takers[taker].is_telling {
                self.takers[taker].is_telling = true;
                self.at(self.now + HAVE_DELAY, Event::Have { taker });
            }
            if self.takers[taker].picker.is_whole() {
                self.takers[taker].whole_at.get_or_insert(self.now);
            }
        }
        self.ask(taker, sender);
    }

    fn tell(&mut self, from: usize, to: usize, pieces: &[PieceRange], whole: bool) {
        if let Some(source) = self.takers[to].sources[from + 1] {
            self.takers[to].picker.add_have(source, pieces, whole);
            self.ask(to, from + 1);
        }
    }

    fn have(&mut self, taker: usize) {
        let one = &mut self.takers[taker];
        one.is_telling = false;
        let held = one.picker.held().clone();
        let new = held.without(&one.told).runs(2_000);
        one.told = held;
        let whole = one.picker.is_whole();
        for to in (0..self.takers.len()).filter(|to| *to != taker) {
            self.tell(taker, to, &new, whole);
        }
    }

    fn found(&mut self, taker: usize) {
        let now = self.instant();
        for other in (0..self.takers.len()).filter(|other| *other != taker) {
            let source = self.takers[taker].picker.add_source(false, now);
            self.takers[taker].picker.note_taker(source, other as u64);
            self.takers[taker].sources[other + 1] = Some(source);
            let (told, whole) =
                (self.takers[other].told.runs(2_000), self.takers[other].picker.is_whole());
            self.tell(other, taker, &told, whole);
        }
    }

    /// Returns the time of the last taker, and the pieces that the owner has sent.
    fn run(mut self) -> (f64, u64) {
        while let Some(Due(at, _, event)) = self.events.pop() {
            self.now = at;
            match event {
                Event::Sent { sender } => self.sent(sender),
                Event::Have { taker } => self.have(taker),
                Event::Found { taker } => self.found(taker),
            }
            if self.takers.iter().all(|taker| taker.whole_at.is_some()) {
                break;
            }
        }
        let last = self
            .takers
            .iter()
            .map(|taker| taker.whole_at.unwrap_or(f64::INFINITY))
            .fold(0.0, f64::max);
        (last, self.senders[0].pieces)
    }
}

/// The time of a swarm, by the time of one taker, and how often the owner sends each piece.
fn ratios(takers: usize, found_after: f64) -> (f64, f64) {
    let (alone, _) = Swarm::new(1, PIECES, f64::MAX).run();
    let (last, sent) = Swarm::new(takers, PIECES, found_after).run();
    (last / alone, sent as f64 / PIECES as f64)
}

#[test]
fn many_takers_last_little_longer_than_one() {
    for (takers, bound) in [(2, 1.25), (4, 1.25), (8, 1.3), (16, 1.35)] {
        for found_after in [0.02, 0.1, 0.15, 0.3, 0.5] {
            let (time, sent) = ratios(takers, found_after);
            println!(
                "{takers} takers, found after {found_after} s: {time:.2} of the time of one; each piece is sent {sent:.2} times"
            );
            assert!(time <= bound, "{takers} takers, found after {found_after} s: {time:.2}");
        }
    }
}
