//! The laws of `src/lib.rs` and the house style, read from the code. Each failure names the place and the law.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// One source file.
struct Source {
    /// Below the root, such as `src/node/server.rs`.
    path: String,
    lines: Vec<Line>,
}

/// One line of it.
struct Line {
    number: usize,
    /// As it stands there.
    text: String,
    /// Without comments, and without what is inside of quotes.
    code: String,
    /// Inside of `mod tests`.
    is_test: bool,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(folder: &str, ending: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for entry in entries {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.to_str().is_some_and(|path| path.ends_with(ending)) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

fn sources(folder: &str) -> Vec<Source> {
    let found: Vec<Source> = files_below(folder, ".rs").iter().map(|path| read(path)).collect();
    assert!(!found.is_empty(), "no source below {folder}");
    found
}

fn read(path: &Path) -> Source {
    let text = fs::read_to_string(path).expect("a text");
    let code = blank(&text);
    let mut inside = false;
    let lines = text.lines().zip(code.lines()).zip(1..);
    let lines = lines.map(|((text, code), number)| {
        inside |= text == "mod tests {";
        let is_test = inside;
        inside &= text != "}";
        Line { number, text: text.to_owned(), code: code.to_owned(), is_test }
    });
    let path = path
        .strip_prefix(root())
        .expect("below the root")
        .to_str()
        .expect("a path of UTF-8")
        .to_owned();
    Source { path, lines: lines.collect() }
}

/// A source with its comments and the insides of its quotes made blank, line by line and byte by byte.
fn blank(text: &str) -> String {
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(c) = rest.chars().next() {
        let length = token(rest, code.chars().next_back());
        let (this, then) = rest.split_at(length);
        if length > c.len_utf8() {
            code.extend(this.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        } else {
            code.push(c);
        }
        rest = then;
    }
    code
}

/// How long the comment or the quoted text is that begins here; one character where neither does.
fn token(rest: &str, before: Option<char>) -> usize {
    let one = rest.chars().next().map_or(0, char::len_utf8);
    let in_word = before.is_some_and(|c| c.is_alphanumeric() || c == '_');
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return rest.find("*/").map_or(rest.len(), |at| at + 2);
    }
    let raw = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r')).filter(|_| !in_word);
    if let Some(raw) = raw {
        let marks = raw.len() - raw.trim_start_matches('#').len();
        if raw[marks..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(marks));
            let opened = rest.len() - raw.len() + marks + 1;
            return rest[opened..].find(&end).map_or(rest.len(), |at| opened + at + end.len());
        }
    }
    if rest.starts_with('"') {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '"' => return at + 1,
                _ => {}
            }
        }
        return rest.len();
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        // A character, not a lifetime: it has a closing quote.
        let mut chars = quoted.char_indices();
        return match chars.next() {
            Some((_, '\\')) => quoted[2..].find('\'').map_or(one, |at| at + 4),
            Some((_, c)) if quoted[c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
            _ => one,
        };
    }
    one
}

/// Gathers what breaks a law.
struct Law {
    law: &'static str,
    broken: String,
}

impl Law {
    fn new(law: &'static str) -> Law {
        Law { law, broken: String::new() }
    }

    fn breaks(&mut self, path: &str, line: usize, what: &str) {
        let _ = writeln!(self.broken, "  {path}:{line}: {}", what.trim());
    }

    #[track_caller]
    fn holds(self) {
        assert!(self.broken.is_empty(), "{}\n{}", self.law, self.broken);
    }
}

/// No line of `sources` may have any of `words` in its code, tests excepted.
#[track_caller]
fn nowhere(law: &'static str, sources: &[Source], words: &[&str]) {
    let mut law = Law::new(law);
    for source in sources {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            if let Some(word) = words.iter().find(|word| has_word(&line.code, word)) {
                law.breaks(&source.path, line.number, &format!("{word}: {}", line.text.trim()));
            }
        }
    }
    law.holds();
}

/// True when `word` stands there by itself, not as the end or the beginning of a longer one.
fn has_word(code: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before =
            code[..at].chars().next_back().is_some_and(is_part) && word.starts_with(is_part);
        let after =
            code[at + word.len()..].chars().next().is_some_and(is_part) && word.ends_with(is_part);
        !before && !after
    })
}

/// The storey of a room, as the picture in `src/lib.rs` has it.
fn storey(room: &str) -> Option<u32> {
    Some(match room {
        "limits" => 0,
        "protocol" => 1,
        "accounts" | "io" | "index" => 2,
        "storage" => 3,
        "connection" => 4,
        "node" | "ui" | "client" | "download" | "peer" | "server" | "loadgen" => 5,
        "reactor" => 6,
        "os" => 7,
        _ => return None,
    })
}

/// The room of a file of the library; `None` for the program.
fn room(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    let room = below.split_once('/').map_or(below.strip_suffix(".rs")?, |(room, _)| room);
    storey(room).map(|_| room)
}

#[test]
fn a_module_imports_only_lower_layers() {
    let mut law = Law::new(
        "law 1: `use crate::X` only where X stands lower, or in the same layer of one process",
    );
    for source in sources("src") {
        let Some(here) = room(&source.path) else { continue };
        for line in &source.lines {
            for (at, _) in line.code.match_indices("crate::") {
                let there: String = line.code[at + 7..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                // The rooms of one process are wired to each other; all other rooms of one storey stay apart.
                let process = storey(here) == storey("node") && storey(&there) == storey("node");
                let lower = storey(&there) < storey(here) || there == here || process;
                if storey(&there).is_none() || !lower {
                    law.breaks(&source.path, line.number, &line.text);
                }
            }
        }
    }
    law.holds();
}

#[test]
fn items_are_imported_from_the_defining_module() {
    let mut law = Law::new(
        "law 1: import from the module that defines a thing: no `use crate::{..}`, no `pub use`, no glob",
    );
    for source in sources("src") {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            let code = line.code.trim();
            let glob = code.starts_with("use ") && code.ends_with("::*;");
            if code.starts_with("use crate::{")
                || code.starts_with("pub use ")
                || code.starts_with("pub(crate) use ")
                || glob
            {
                law.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    law.holds();
}

#[test]
fn the_operating_system_is_reached_through_os_alone() {
    let outside = [
        "mio",
        "memmap2",
        "rustix",
        "libc",
        "socket2",
        "signal_hook",
        "signal_hook_mio",
        "std::fs",
        "std::net::TcpStream",
        "std::net::TcpListener",
        "std::net::UdpSocket",
        "std::process",
        "std::env",
        "std::os",
        "Instant::now",
        "SystemTime",
        "println!",
        "eprintln!",
        "print!",
        "eprint!",
        "File::open",
        "File::create",
        "File::options",
        "OpenOptions",
        "io::stdin",
        "io::stdout",
        "io::stderr",
        "ToSocketAddrs",
        "RandomState",
        "thread_rng",
    ];
    let library: Vec<Source> = sources("src")
        .into_iter()
        .filter(|s| room(&s.path).is_some_and(|room| room != "os"))
        .collect();
    nowhere("law 2: each outside thing has one door, in os", &library, &outside);
    // The program may end itself, ask its terminal before the loop begins, and look at a path; nothing else.
    let program: Vec<Source> = sources("src")
        .into_iter()
        .filter(|s| s.path.starts_with("src/cli/") || s.path == "src/main.rs")
        .collect();
    let closed = [
        "mio",
        "memmap2",
        "rustix",
        "libc",
        "socket2",
        "signal_hook",
        "std::fs",
        "SystemTime",
        "Instant::now",
        "println!",
        "eprintln!",
        "print!",
        "eprint!",
        "File::open",
    ];
    nowhere("law 2: the program reaches the machine through os as well", &program, &closed);
}

#[test]
fn unsafe_code_is_in_os_alone_with_a_safety_comment() {
    let mut law =
        Law::new("law 2: `unsafe` only in src/os, each with a SAFETY comment right above");
    for source in sources("src") {
        for (place, line) in
            source.lines.iter().enumerate().filter(|(_, line)| has_word(&line.code, "unsafe"))
        {
            let above = source.lines[place.saturating_sub(4)..=place]
                .iter()
                .any(|line| line.text.contains("// SAFETY:"));
            if !source.path.starts_with("src/os/") || !above {
                law.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    law.holds();
}

#[test]
fn one_thread_runs_everything_and_never_sleeps() {
    let words = [
        "thread::spawn",
        "thread::Builder",
        "thread::scope",
        "tokio",
        "async fn",
        "async_std",
        "rayon",
        "crossbeam",
        "mpsc",
        "thread::sleep",
        "sleep(",
    ];
    nowhere("law 8: one thread, and nothing blocks the loop", &sources("src"), &words);
}

#[test]
fn no_graph_of_shared_cells_exists() {
    nowhere(
        "no `Rc<RefCell<..>>` graphs",
        &sources("src"),
        &["Rc<RefCell", "Arc<Mutex<dyn", "static mut", "lazy_static", "once_cell"],
    );
}

#[test]
fn hash_tables_with_random_order_are_not_used() {
    nowhere(
        "law 9: hash tables of std have seeds of their own; take a BTreeMap, or the index's table",
        &sources("src"),
        &["HashMap", "HashSet"],
    );
}

#[test]
fn no_legacy_profile_is_named_above_connection() {
    let above = sources("src")
        .into_iter()
        .filter(|s| room(&s.path).and_then(storey).is_some_and(|storey| storey > 4));
    // A console is named after the family whose words it has, and says its words.
    let above: Vec<Source> = above
        .filter(|s| {
            !s.path.starts_with("src/client/console/") && !s.path.starts_with("src/ui/text.rs")
        })
        .collect();
    nowhere(
        "above session no dialect is named",
        &above,
        &[
            "legacy::uc3m",
            "legacy::ufabc_json",
            "legacy::rede",
            "LegacyProfile::Uc3m2020",
            "LegacyProfile::Uc3m2024",
            "LegacyProfile::Uc3m2025",
            "LegacyProfile::Uc3mFixed",
            "LegacyProfile::UfabcJson",
            "LegacyProfile::Rede",
        ],
    );
}

#[test]
fn no_work_is_marked_as_left() {
    let words = ["todo!", "unimplemented!", "dbg!"];
    nowhere("nothing is left for later", &sources("src"), &words);
    let mut law = Law::new("nothing is left for later");
    for source in sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| source.path != "tests/tidy.rs")
    {
        for line in &source.lines {
            if ["TODO", "FIXME", "XXX", "HACK"].iter().any(|word| has_word(&line.text, word)) {
                law.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    law.holds();
}

#[test]
fn no_panic_stands_outside_tests() {
    // What stood in quotes is blank: so an inbox may expect a body, and nobody a value.
    let words = [
        ".unwrap()",
        ".expect( ",
        ".expect(&",
        "panic!",
        "unreachable!",
        ".unwrap_err()",
        "assert!",
        "assert_eq!",
        "assert_ne!",
    ];
    nowhere(
        "law 7: bytes from outside never panic; outside of tests nothing unwraps",
        &sources("src"),
        &words,
    );
}

#[test]
fn every_file_begins_with_a_module_doc() {
    let mut law = Law::new("house style: the first line of a file says what it is");
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.lines.first().is_none_or(|line| !line.text.starts_with("//! ")) {
            law.breaks(&source.path, 1, "no `//!`");
        }
    }
    law.holds();
}

#[test]
fn every_limit_has_a_doc_with_its_reason() {
    let mut law = Law::new("law 7: every limit has its reason above it");
    for limits in
        ["src/limits.rs", "src/os/net/quic/limits.rs"].map(|path| read(&root().join(path)))
    {
        for (place, line) in
            limits.lines.iter().enumerate().filter(|(_, line)| line.code.contains("const "))
        {
            let above = limits.lines[..place].iter().rev().map(|line| line.text.trim());
            let reason: usize =
                above.take_while(|text| text.starts_with("/// ")).map(str::len).sum();
            if reason < 20 {
                law.breaks(&limits.path, line.number, &line.text);
            }
        }
    }
    law.holds();
}

#[test]
fn no_test_is_ignored_or_sleeps() {
    let mut law = Law::new(
        "house style: no ignored test, no sleep in a test, no fixed port of this machine's usual addresses",
    );
    for source in sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| source.path != "tests/tidy.rs")
    {
        for line in &source.lines {
            let ignored = line.code.contains("#[ignore");
            let sleeps = has_word(&line.code, "sleep") && line.code.contains("sleep(");
            let fixed = source.path.starts_with("tests/e2e/")
                && ["\"--listen\", \"127.0.0.1:"].iter().any(|start| {
                    line.text
                        .match_indices(start)
                        .any(|(at, _)| !line.text[at + start.len()..].starts_with("0\""))
                });
            if ignored || sleeps || fixed {
                law.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    law.holds();
}

/// What the program may be built from: the five fixed ones, libraries chosen with their reasons, and what tests need.
const KNOWN: &[&str] = &[
    "comfy-table",
    "ring",
    "mio",
    "slab",
    "log",
    "env_logger",
    "memmap2",
    "serde",
    "serde_json",
    "memchr",
    // Writes numbers without a formatter: half of what an answer to SEARCH costs; serde_json brings it anyway.
    "itoa",
    "httparse",
    "hashbrown",
    "rusqlite",
    "rustix",
    "libc",
    "socket2",
    "signal-hook",
    "signal-hook-mio",
    "clap",
    "clap_complete",
    "clap_mangen",
    "bytesize",
    "unicode-width",
    "proptest",
    "tempfile",
    "blake3",
    "unicode-normalization",
    "roaring",
    // Reads what the clients of UC3M's date service post; XML is not for reading by hand.
    "quick-xml",
    // QUIC as states that know neither sockets nor clocks, so that it runs in the one loop; its datagrams in trains, its keys and ciphers, and the shared
    // memory in which it takes and gives bytes.
    "quinn-proto",
    "quinn-udp",
    "rustls",
    "bytes",
];

#[test]
fn every_dependency_is_on_the_chosen_list() {
    let mut law = Law::new(
        "dependencies are chosen, not collected; add a new one to this test with the reason in its commit",
    );
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut inside = false;
    for (line, number) in manifest.lines().zip(1..) {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        let name = line.split(['=', '.']).next().unwrap_or_default().trim();
        if inside && !name.is_empty() && !name.starts_with('#') && !KNOWN.contains(&name) {
            law.breaks("Cargo.toml", number, name);
        }
    }
    law.holds();
}

#[test]
fn documents_and_scripts_name_no_private_path() {
    let mut law = Law::new("the documents and scripts name nothing that only this machine has");
    let mut paths: Vec<PathBuf> =
        ["README.md", "PROTOCOL.md", "CHANGELOG.md", "CONTRIBUTING.md", "Cargo.toml", "Makefile"]
            .iter()
            .map(|name| root().join(name))
            .collect();
    for folder in ["docs", "scripts", "src"] {
        paths.extend(files_below(folder, ""));
    }
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else { continue };
        let path = path.strip_prefix(root()).expect("below the root").display().to_string();
        for (line, number) in text.lines().zip(1..) {
            if ["/work/", "/root/", "../shared/", "BAD-INPUTS"]
                .iter()
                .any(|private| line.contains(private))
            {
                law.breaks(&path, number, line);
            }
        }
    }
    law.holds();
}

/// Documents whose prose is counted.
const PLAIN: [&str; 12] = [
    "README.md",
    "PROTOCOL.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "docs/ARCHITECTURE.md",
    "docs/BENCHMARKS.md",
    "docs/COMPATIBILITY.md",
    "docs/GLOSSARY.md",
    "docs/GUIDE.md",
    "docs/OPERATIONS.md",
    "docs/PROTOCOL-HTTP.md",
    "docs/PROTOCOL-LEGACY.md",
];
/// Words that stand for a noun which a reader has to find.
const PRONOUNS: &[&str] = &[
    "who",
    "whoever",
    "whose",
    "whom",
    "somebody",
    "nobody",
    "anybody",
    "everybody",
    "what",
    "whatever",
    "it",
    "its",
    "one",
    "ones",
    "he",
    "his",
    "him",
    "they",
    "them",
    "those",
];
/// So many of them may stand in a thousand words.
const PRONOUNS_OF_A_THOUSAND: usize = 25;

/// The lines of a document that are prose: all outside of its fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

#[test]
fn documents_keep_to_few_pronouns() {
    for name in PLAIN {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        let lower: Vec<String> = prose(&text).map(str::to_lowercase).collect();
        let words: Vec<&str> = lower
            .iter()
            .flat_map(|line| line.split(|c: char| !c.is_alphabetic()))
            .filter(|word| !word.is_empty())
            .collect();
        let pronouns = words.iter().filter(|word| PRONOUNS.contains(word)).count();
        assert!(words.len() > 200, "{name} has {} words", words.len());
        assert!(
            pronouns * 1_000 <= words.len() * PRONOUNS_OF_A_THOUSAND,
            "{name}: {pronouns} pronouns in {} words; name the subject instead",
            words.len()
        );
    }
}

#[test]
fn the_documents_name_files_that_exist() {
    let mut law = Law::new("docs/ARCHITECTURE.md and docs/GLOSSARY.md name files of the tree");
    for name in ["docs/ARCHITECTURE.md", "docs/GLOSSARY.md"] {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        for (line, number) in text.lines().zip(1..) {
            for path in line.split('`').skip(1).step_by(2) {
                let folder = path.split_once('/').map(|(folder, _)| folder);
                let is_source = folder.is_some_and(|folder| {
                    folder == "cli" || root().join("src").join(folder).is_dir()
                });
                // `a/{b,c}.rs` names two files.
                let files: Vec<String> = match (path.split_once('{'), path.split_once('}')) {
                    (Some((before, _)), Some((inside, after))) => inside[before.len() + 1..]
                        .split(',')
                        .map(|part| format!("{before}{part}{after}"))
                        .collect(),
                    _ => vec![path.to_owned()],
                };
                if is_source && files.iter().any(|file| !root().join("src").join(file).exists()) {
                    law.breaks(name, number, path);
                }
            }
        }
    }
    law.holds();
}

/// Companions of PROTOCOL.md and PROTOCOL.md itself, whose lines fit on a screen.
const DOCUMENTS: [&str; 3] = ["PROTOCOL.md", "docs/PROTOCOL-HTTP.md", "docs/PROTOCOL-LEGACY.md"];
/// Characters of a line of prose.
const WIDE: usize = 160;

#[test]
fn protocol_documents_have_short_lines_and_public_names() {
    let mut law = Law::new(
        "the documents of the protocol: lines of at most 160 characters, tables and fences excepted; older systems by their names",
    );
    for name in DOCUMENTS {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        for (line, number) in text.lines().zip(1..) {
            let other = line.replace("seed001", "").replace("uc3m-seed003", "");
            if other.to_lowercase().contains("seed") {
                law.breaks(name, number, line);
            }
        }
        for line in
            prose(&text).filter(|line| !line.starts_with('|') && line.chars().count() > WIDE)
        {
            law.breaks(name, 0, line);
        }
    }
    law.holds();
}

#[test]
fn every_folder_of_src_has_a_layer() {
    let mut law =
        Law::new("src/lib.rs draws the house; every folder of src is a room in it, or the program");
    for source in sources("src") {
        let folder = source
            .path
            .strip_prefix("src/")
            .and_then(|below| below.split_once('/'))
            .map(|(folder, _)| folder);
        if folder.is_some_and(|folder| folder != "cli" && storey(folder).is_none()) {
            law.breaks(&source.path, 1, "a room without a storey");
        }
    }
    law.holds();
}

/// The name of a type that a line at the left edge defines.
fn defined(code: &str) -> Option<&str> {
    let mut words = code.split_whitespace().skip_while(|word| word.starts_with("pub"));
    if !matches!(words.next(), Some("struct" | "enum" | "trait" | "type" | "union"))
        || code.starts_with(char::is_whitespace)
    {
        return None;
    }
    words.next()?.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}

#[test]
fn type_names_are_unique() {
    let mut law = Law::new("one word, one thing: a type name is unique");
    let mut seen: Vec<(String, String)> = Vec::new();
    for source in sources("src") {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            let Some(name) = defined(&line.code) else { continue };
            if let Some((_, before)) =
                seen.iter().find(|(known, path)| known == name && *path != source.path)
            {
                law.breaks(&source.path, line.number, &format!("{name} is a type of {before}"));
            }
            seen.push((name.to_owned(), source.path.clone()));
        }
    }
    law.holds();
}

/// Structs that are still too large for one hand. A number may fall and never grow; an entry goes when its struct has at most fifteen fields.
const LARGE: &[(&str, usize)] = &[("Shape", 38), ("ResponseShape", 35)];

#[test]
fn a_struct_has_at_most_fifteen_fields() {
    let mut law = Law::new("a type can be held in one hand: at most fifteen fields a struct");
    for source in sources("src") {
        let mut open: Option<(String, usize, usize)> = None;
        for line in source.lines.iter().filter(|line| !line.is_test) {
            if let Some(name) = defined(&line.code)
                .filter(|_| line.code.contains("struct ") && line.code.trim_end().ends_with('{'))
            {
                open = Some((name.to_owned(), line.number, 0));
            } else if line.code.starts_with('}') {
                if let Some((name, number, fields)) = open.take() {
                    let most = LARGE
                        .iter()
                        .find(|(known, _)| *known == name)
                        .map_or(15, |(_, most)| *most);
                    if fields > most {
                        law.breaks(&source.path, number, &format!("{name} has {fields} fields"));
                    }
                }
            } else if let Some((_, _, fields)) = &mut open {
                let field = line
                    .code
                    .strip_prefix("    ")
                    .filter(|rest| !rest.starts_with(char::is_whitespace));
                *fields += usize::from(
                    field.is_some_and(|field| field.contains(": ") && !field.starts_with('#')),
                );
            }
        }
    }
    law.holds();
}

#[test]
fn modules_of_one_folder_do_not_import_each_other() {
    let mut law = Law::new("no import cycle inside a folder");
    let module = |path: &str| {
        path.trim_start_matches("src/")
            .trim_end_matches(".rs")
            .trim_end_matches("/mod")
            .replace('/', "::")
    };
    let all: Vec<Source> = sources("src");
    let names: Vec<String> = all.iter().map(|source| module(&source.path)).collect();
    let mut imports: Vec<(String, String, usize)> = Vec::new();
    for source in &all {
        let here = module(&source.path);
        for line in source.lines.iter().filter(|line| !line.is_test) {
            for (at, _) in line.code.match_indices("crate::") {
                let path: String = line.code[at + 7..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_' || *c == ':')
                    .collect();
                let there = names
                    .iter()
                    .filter(|name| path == **name || path.starts_with(&format!("{name}::")))
                    .max_by_key(|name| name.len());
                let parent =
                    |name: &str| name.rsplit_once("::").map(|(parent, _)| parent.to_owned());
                if let Some(there) = there.filter(|there| {
                    **there != here && parent(there).is_some() && parent(there) == parent(&here)
                }) {
                    imports.push((here.clone(), there.clone(), line.number));
                }
            }
        }
    }
    for (from, to, line) in &imports {
        if imports.iter().any(|(back, forth, _)| back == to && forth == from) {
            law.breaks(from, *line, &format!("imports {to}, which imports it"));
        }
    }
    law.holds();
}

#[test]
fn every_test_named_in_the_list_of_bad_inputs_exists() {
    let mut law = Law::new("tests/bad_inputs.md names tests that exist");
    let tests: Vec<String> = sources("src")
        .into_iter()
        .chain(sources("tests"))
        .flat_map(|source| source.lines)
        .filter_map(|line| {
            line.code
                .trim_start()
                .strip_prefix("fn ")
                .map(|rest| rest.split('(').next().unwrap_or_default().to_owned())
        })
        .collect();
    let text = fs::read_to_string(root().join("tests/bad_inputs.md")).expect("the list");
    for (line, number) in text.lines().zip(1..).filter(|(line, _)| line.starts_with("| ")) {
        let words = line
            .rsplit('|')
            .nth(1)
            .unwrap_or_default()
            .split(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'));
        for name in words
            .filter_map(|word| word.rsplit_once("::"))
            .map(|(_, name)| name)
            .filter(|name| name.matches('_').count() >= 3)
        {
            if !tests.iter().any(|test| test.starts_with(name)) {
                law.breaks("tests/bad_inputs.md", number, name);
            }
        }
    }
    law.holds();
}

#[test]
fn blank_removes_comments_and_quoted_text() {
    let text = "let a = \"unsafe \\\" {\"; // unsafe\nlet b = 'x'; let c: &'static str = r#\"a \"quoted\" panic!\"#; /* todo! */ real()\n";
    let code = blank(text);
    assert_eq!(code.lines().count(), 2);
    assert!(
        !has_word(&code, "unsafe") && !code.contains("panic!") && !code.contains("todo!"),
        "{code}"
    );
    assert!(code.contains("&'static str") && code.contains("real()"), "{code}");
    assert!(
        has_word("x.print!()", "print!")
            && !has_word("eprint!()", "print!")
            && !has_word("mioxx", "mio")
    );
}
