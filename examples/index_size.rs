//! Memory and speed of an index of many names: memory by part and by name, and times of exact and
//! other searches, of single steps, of JOIN parts, and of a peer's leaving.
//!
//! `cargo run --release --example index_size -- [--json] [NAMES...]`
//! Default: one and five million names.
//!
//! `cargo run --release --example index_size -- --foreign [--json] [NAMES...]`
//! The names of other servers, as a server of a shared index keeps them. Default: a hundred
//! thousand, one million and ten million.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use cardume::index::foreign_search::{ForeignNames, ForeignStep};
use cardume::index::text_search::OwnPart;
use cardume::index::{Index, PeerId, Reach, Sees, Viewer};
use cardume::limits;
use cardume::protocol::request::FileEntry;
use cardume::protocol::types::ids::{ContentHash, SessionId};
use cardume::protocol::types::query::{Query, QueryTerm};
use cardume::protocol::types::relative_path::RelativeName;

const HERE: Viewer =
    Viewer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), reach: Reach::NATIVE, sees: Sees::Everything };
/// Files of one peer.
const FILES: usize = 1_000;
/// Names of other servers that a server learns in an iteration.
const LEARNED: usize = 256;
const FIRST: [&str; 24] = [
    "Filme",
    "Aula",
    "Documentário",
    "Série",
    "Concerto",
    "Viagem",
    "Entrevista",
    "Palestra",
    "Curso",
    "Festival",
    "Show",
    "Casamento",
    "Reunião",
    "Memória",
    "História",
    "Natureza",
    "Cidade",
    "Montanha",
    "Oceano",
    "Estrada",
    "Noite",
    "Inverno",
    "Jardim",
    "Biblioteca",
];
const SECOND: [&str; 24] = [
    "Título",
    "de Álgebra",
    "completo",
    "legendado",
    "da Praia",
    "em Lisboa",
    "no Porto",
    "de Verão",
    "Parte",
    "Temporada",
    "ao Vivo",
    "Final",
    "do Norte",
    "da Família",
    "Original",
    "Remasterizado",
    "Internacional",
    "de Física",
    "Antigo",
    "Secreto",
    "Perdido",
    "Escondido",
    "de Música",
    "Aberto",
];
const ENDS: [&str; 4] = ["1080p.mkv", "720p.mp4", "2160p.mkv", "480p.avi"];

/// Pseudo-random numbers, the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap_or(0)
    }
}

fn name(number: usize) -> RelativeName {
    let mut dice = Dice((number as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let (first, second) = (FIRST[dice.roll(24)], SECOND[dice.roll(24)]);
    let (year, end) = (1950 + dice.roll(75), ENDS[dice.roll(4)]);
    RelativeName::new(&format!("{first} {second} {number:07} ({year}) {end}")).expect("a name")
}

fn entry(number: usize) -> FileEntry {
    let mut root = [0; 32];
    root[..8].copy_from_slice(&(number as u64).to_le_bytes());
    FileEntry {
        root: number.is_multiple_of(2).then_some(ContentHash(root)),
        ..FileEntry::new(name(number), 700_000_000 + number as u64)
    }
}

fn join(index: &mut Index, peer: usize, files: &[FileEntry]) -> PeerId {
    let (high, low) = (
        u8::try_from(peer / 50_000 % 250).unwrap_or(0),
        u16::try_from(peer % 50_000 + 1).unwrap_or(1),
    );
    let who = index.create_peer(SocketAddr::from(([127, 0, high, 1], low)), SessionId([0; 16]));
    for file in files {
        index.add(who, file).expect("room");
    }
    index.make_visible(who);
    who
}

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap_or_default();
    line.split_whitespace().next().and_then(|kib| kib.parse::<usize>().ok()).unwrap_or(0) << 10
}

fn at(sorted: &[Duration], percent: usize) -> f64 {
    sorted
        .get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
        .map_or(0.0, |time| time.as_secs_f64() * 1e6)
}

/// Prints one metric.
fn say(json: bool, names: usize, what: &str, value: f64, unit: &str) {
    if json {
        println!(
            "{{\"names\":{names},\"what\":\"{what}\",\"value\":{value:.3},\"unit\":\"{unit}\"}}"
        );
    } else {
        println!("{names:>9} names  {what:<42} {value:>12.2} {unit}");
    }
}

/// Processor time of this thread, independent of other load.
fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn exact(index: &mut Index, names: usize, rounds: usize) -> Vec<Duration> {
    let mut dice = Dice(7);
    let wanted: Vec<RelativeName> = (0..rounds).map(|_| name(dice.roll(names))).collect();
    let mut times: Vec<Duration> = wanted
        .iter()
        .map(|name| {
            let begun = Instant::now();
            let page = index.search(name, None, &HERE).expect("an answer");
            let time = begun.elapsed();
            assert!(!page.entries.is_empty(), "{name} is lost");
            time
        })
        .collect();
    times.sort_unstable();
    times
}

/// The times of whole responses and of their longest steps.
fn searches(index: &Index, queries: &[Query]) -> (Vec<Duration>, Vec<Duration>, usize) {
    let (mut whole, mut steps, mut hits) = (Vec::new(), Vec::new(), 0);
    for query in queries {
        let begun = now();
        let mut search = index.start(query, &HERE).expect("a good query");
        loop {
            let step = now();
            let mut effort = limits::SEARCH_BUDGET;
            let page = index.step(&mut search, &mut effort);
            steps.push(now() - step);
            if let Some(page) = page {
                hits += page.entries.len();
                break;
            }
        }
        whole.push(now() - begun);
    }
    whole.sort_unstable();
    steps.sort_unstable();
    (whole, steps, hits / queries.len().max(1))
}

fn measure(json: bool, names: usize) {
    let say = |what: &str, value: f64, unit: &str| say(json, names, what, value, unit);
    let before = resident();
    let mut index = Index::new(0x1234_5678_9abc_def0);
    let (mut adding, mut building) = (Duration::ZERO, Duration::ZERO);
    let (mut slowest_add, mut slowest_build) = (Duration::ZERO, Duration::ZERO);
    for peer in 0..names / FILES {
        let files: Vec<FileEntry> = (peer * FILES..(peer + 1) * FILES).map(entry).collect();
        let begun = now();
        join(&mut index, peer, &files);
        slowest_add = slowest_add.max(now() - begun);
        adding += now() - begun;
        // As a server does: in the background, in slices.
        for _ in 0..64 {
            if index.is_built() {
                break;
            }
            let begun = now();
            index.build(limits::BUILD_BUDGET);
            slowest_build = slowest_build.max(now() - begun);
            building += now() - begun;
        }
    }
    while !index.is_built() {
        let begun = now();
        index.build(limits::BUILD_BUDGET);
        slowest_build = slowest_build.max(now() - begun);
        building += now() - begun;
    }
    let per = |bytes: usize, count: usize| bytes as f64 / count as f64;
    say("files added per second", names as f64 / adding.as_secs_f64(), "files/s");
    say("slowest 1,000 files added", slowest_add.as_secs_f64() * 1e3, "ms");
    say("names built per second", names as f64 / building.as_secs_f64(), "names/s");
    say("slowest slice of building", slowest_build.as_secs_f64() * 1e3, "ms");
    let begun = now();
    let memory = index.memory();
    say("to say what memory is used", (now() - begun).as_secs_f64() * 1e3, "ms");
    say("memory of texts and exact search", per(memory.names, names), "bytes/name");
    say("memory of search by words", per(memory.words, names), "bytes/name");
    say("memory of names, both", per(memory.names + memory.words, names), "bytes/name");
    say("memory of holdings", per(memory.holdings, names), "bytes/holding");
    say("memory of roots", per(memory.roots, names.div_ceil(2)), "bytes/root");
    say("memory of all that, as it is counted", memory.total() as f64 / 1e6, "MB");
    say("memory of the process for it", resident().saturating_sub(before) as f64 / 1e6, "MB");
    let times = exact(&mut index, names, 100_000);
    say("exact p50", at(&times, 50), "us");
    say("exact p99", at(&times, 99), "us");
    let page = |wanted: QueryTerm| Query { limit: 100, ..Query::new(wanted) };
    let mut dice = Dice(99);
    let words = |dice: &mut Dice, kind: usize| match kind {
        0 => FIRST[dice.roll(24)].to_owned(),
        1 => format!("{} {}", SECOND[dice.roll(24)], 1950 + dice.roll(75)),
        2 => format!("{:07}", dice.roll(names)),
        3 => format!("{} {:05}", FIRST[dice.roll(24)], dice.roll(99_999)),
        _ => format!("zebra{}", dice.roll(1_000)),
    };
    let mut all = Vec::new();
    for (kind, what) in [
        "a common word",
        "two common words",
        "one name's number",
        "a word and digits",
        "an absent word",
    ]
    .into_iter()
    .enumerate()
    {
        let queries: Vec<Query> =
            (0..400).map(|_| page(QueryTerm::Contains(words(&mut dice, kind)))).collect();
        let (whole, steps, hits) = searches(&index, &queries);
        say(&format!("contains {what} ({hits} hits) p50"), at(&whole, 50), "us");
        say(&format!("contains {what} p99"), at(&whole, 99), "us");
        say(&format!("contains {what}, longest step"), at(&steps, 100), "us");
        all.extend(whole);
    }
    all.sort_unstable();
    say("contains, all kinds, p50", at(&all, 50), "us");
    say("contains, all kinds, p99", at(&all, 99), "us");
    let few = |queries: Vec<Query>, what: &str| {
        let (whole, steps, hits) = searches(&index, &queries);
        say(&format!("{what} ({hits} hits) p50"), at(&whole, 50) / 1e3, "ms");
        say(&format!("{what} p99"), at(&whole, 99) / 1e3, "ms");
        say(&format!("{what}, longest step"), at(&steps, 100) / 1e3, "ms");
    };
    few(
        (0..20)
            .map(|_| {
                page(QueryTerm::Like(format!(
                    "{} Titlo {:07}",
                    FIRST[dice.roll(24)],
                    dice.roll(names)
                )))
            })
            .collect(),
        "like",
    );
    few((0..3).map(|_| page(QueryTerm::Contains("mk (2 xq".into()))).collect(), "the worst words");
    let sorted = Query {
        sort: cardume::protocol::types::query::Sort::parse("-size"),
        ..page(QueryTerm::Contains("filme legendado".into()))
    };
    few(vec![sorted; 3], "sorted by size");
    // A JOIN part of maximal length: parsed from its line in one call, then added over iterations.
    let mut line = String::from(r#"{"id":1,"method":"JOIN","port":1,"files":["#);
    for number in 0..limits::PART_FILES {
        let before = line.len();
        let comma = if number > 0 { "," } else { "" };
        line.push_str(&format!(r#"{comma}{{"name":"{}","size":{number}}}"#, &*name(number)));
        if line.len() > limits::JOIN_BYTES - 2 {
            line.truncate(before);
            break;
        }
    }
    line.push_str("]}");
    let begun = now();
    let asked = cardume::protocol::native::decode_request::request(
        line.as_bytes(),
        cardume::protocol::Role::Server,
    );
    say("a JOIN part of 1 MiB, read", (now() - begun).as_secs_f64() * 1e3, "ms");
    assert!(asked.is_ok_and(|asked| asked.request.is_ok()), "a good JOIN");
    // A peer with a hundredth of all files leaves.
    let files: Vec<FileEntry> = (0..names / 100).map(|number| entry(names + number)).collect();
    let who = join(&mut index, names, &files);
    while index.build(limits::BUILD_BUDGET) {}
    index.remove_peer(who);
    let mut slowest = Duration::ZERO;
    let begun = now();
    loop {
        let step = now();
        let more = index.purge(limits::PURGE_FILES);
        slowest = slowest.max(now() - step);
        if !more {
            break;
        }
    }
    say("files swept per second", files.len() as f64 / (now() - begun).as_secs_f64(), "files/s");
    say("slowest slice of sweeping", slowest.as_secs_f64() * 1e3, "ms");
}

/// The first names of other servers that a search by words would ask an engine for.
fn foreign_searches(index: &Index, queries: &[Query]) -> (Vec<Duration>, Duration) {
    let (mut whole, mut longest) = (Vec::new(), Duration::ZERO);
    for query in queries {
        let begun = now();
        let mut search = index.start(query, &HERE).expect("a good query");
        while index.own_part(&mut search, &mut usize::MAX.clone()) != OwnPart::End {}
        let mut names = ForeignNames::new(&search);
        loop {
            let step = now();
            let mut effort = limits::SEARCH_SLICE;
            let found = index.find_foreign(&mut search, &mut names, query.limit, &mut effort);
            longest = longest.max(now() - step);
            if names.ready() >= query.limit || found == ForeignStep::End {
                break;
            }
        }
        whole.push(now() - begun);
    }
    whole.sort_unstable();
    (whole, longest)
}

fn measure_foreign(json: bool, names: usize) {
    let say = |what: &str, value: f64, unit: &str| say(json, names, what, value, unit);
    let before = resident();
    let mut index = Index::new(0x1234_5678_9abc_def0);
    let (mut learning, mut building) = (Duration::ZERO, Duration::ZERO);
    let mut slowest = [Duration::ZERO; 2];
    for first in (0..names).step_by(LEARNED) {
        let part: Vec<RelativeName> = (first..names.min(first + LEARNED)).map(name).collect();
        let begun = now();
        for name in &part {
            index.learn(name, 1).expect("room");
        }
        let took = now() - begun;
        (slowest[0], learning) = (slowest[0].max(took), learning + took);
        let begun = now();
        index.build(limits::BUILD_BUDGET);
        let took = now() - begun;
        (slowest[1], building) = (slowest[1].max(took), building + took);
    }
    while !index.is_built() {
        let begun = now();
        index.build(limits::BUILD_BUDGET);
        building += now() - begun;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / names as f64;
    say("foreign names: learning", each(learning), "us/name");
    say("foreign names: building", each(building), "us/name");
    say("foreign names: slowest 256 learned", slowest[0].as_secs_f64() * 1e3, "ms");
    say("foreign names: slowest slice of building", slowest[1].as_secs_f64() * 1e3, "ms");
    say(
        "foreign names: memory, counted",
        index.memory().total() as f64 / names as f64,
        "bytes/name",
    );
    let resident = resident().saturating_sub(before);
    say("foreign names: memory of the process", resident as f64 / names as f64, "bytes/name");
    let mut dice = Dice(99);
    let page = |words: String| Query { limit: 64, ..Query::new(QueryTerm::Contains(words)) };
    for (what, queries) in [
        ("a common word", (0..200).map(|_| page(FIRST[dice.roll(24)].to_owned())).collect()),
        (
            "one number",
            (0..200).map(|_| page(format!("{:07}", dice.roll(names)))).collect::<Vec<_>>(),
        ),
    ] {
        let (times, longest) = foreign_searches(&index, &queries);
        say(&format!("foreign names: 64 by {what}, p50"), at(&times, 50), "us");
        say(&format!("foreign names: 64 by {what}, p99"), at(&times, 99), "us");
        say(&format!("foreign names: {what}, longest step"), longest.as_secs_f64() * 1e3, "ms");
    }
}

fn main() {
    let json = std::env::args().any(|word| word == "--json");
    let mut sizes: Vec<usize> =
        std::env::args().skip(1).filter_map(|word| word.parse().ok()).collect();
    if std::env::args().any(|word| word == "--foreign") {
        if sizes.is_empty() {
            sizes = vec![100_000, 1_000_000, 10_000_000];
        }
        for names in sizes {
            measure_foreign(json, names);
        }
        return;
    }
    if sizes.is_empty() {
        sizes = vec![1_000_000, 5_000_000];
    }
    for names in sizes {
        measure(json, names.max(FILES));
    }
    for names in [10_000, 100_000, 1_000_000, 10_000_000] {
        let mut index = Index::new(1);
        for peer in 0..names / FILES {
            let files: Vec<FileEntry> = (peer * FILES..(peer + 1) * FILES)
                .map(|number| FileEntry::new(name(number), 1))
                .collect();
            join(&mut index, peer, &files);
        }
        let times = exact(&mut index, names, 100_000);
        say(json, names, "growth: exact p50", at(&times, 50), "us");
        say(json, names, "growth: exact p99", at(&times, 99), "us");
    }
}
