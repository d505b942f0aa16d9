//! Checks the rules of docs/ARCHITECTURE.md and the house style in the sources. Each failure names
//! the place and the rule.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A source file.
struct Source {
    /// Relative to the root, such as `src/node/server.rs`.
    path: String,
    lines: Vec<Line>,
}

/// A line of a source file.
struct Line {
    number: usize,
    /// The unchanged line.
    text: String,
    /// The line without comments and without quoted text.
    code: String,
    /// True inside `mod tests`.
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

/// Replaces comments and quoted text by blanks; lines and columns stay.
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

/// The length of the comment or quoted text at the start of `rest`; else of the first character.
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
        // A closing quote distinguishes a character from a lifetime.
        let mut chars = quoted.char_indices();
        return match chars.next() {
            Some((_, '\\')) => quoted[2..].find('\'').map_or(one, |at| at + 4),
            Some((_, c)) if quoted[c.len_utf8()..].starts_with('\'') => c.len_utf8() + 2,
            _ => one,
        };
    }
    one
}

/// A rule, with the lines that break the rule.
struct Rule {
    text: &'static str,
    broken: String,
}

impl Rule {
    fn new(text: &'static str) -> Rule {
        Rule { text, broken: String::new() }
    }

    fn breaks(&mut self, path: &str, line: usize, text: &str) {
        let _ = writeln!(self.broken, "  {path}:{line}: {}", text.trim());
    }

    #[track_caller]
    fn holds(self) {
        assert!(self.broken.is_empty(), "{}\n{}", self.text, self.broken);
    }
}

/// Checks that no code of `sources` outside tests has any of `words`.
#[track_caller]
fn nowhere(text: &'static str, sources: &[Source], words: &[&str]) {
    let mut rule = Rule::new(text);
    for source in sources {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            if let Some(word) = words.iter().find(|word| has_word(&line.code, word)) {
                rule.breaks(&source.path, line.number, &format!("{word}: {}", line.text.trim()));
            }
        }
    }
    rule.holds();
}

/// True if `code` has `word` as a whole word.
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

/// The layer of a module, as in the picture of `src/lib.rs`.
fn layer_of(module: &str) -> Option<u32> {
    Some(match module {
        "limits" => 0,
        "protocol" => 1,
        "accounts" | "io" | "index" => 2,
        "cluster" | "members" | "storage" => 3,
        "connection" => 4,
        "node" | "ui" | "client" | "download" | "peer" | "server" | "loadgen" => 5,
        "reactor" => 6,
        "os" => 7,
        _ => return None,
    })
}

/// The top module of a library file; `None` for the program.
fn module_of(path: &str) -> Option<&str> {
    let below = path.strip_prefix("src/")?;
    let module = below.split_once('/').map_or(below.strip_suffix(".rs")?, |(module, _)| module);
    layer_of(module).map(|_| module)
}

#[test]
fn a_module_imports_only_lower_layers() {
    let mut rule = Rule::new(
        "imports: `use crate::X` only from a lower layer, the same module, or among the modules of a process",
    );
    for source in sources("src") {
        let Some(here) = module_of(&source.path) else { continue };
        for line in &source.lines {
            for (at, _) in line.code.match_indices("crate::") {
                let there: String = line.code[at + 7..]
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                // The modules of a process import each other; no other modules of a layer do.
                let process =
                    layer_of(here) == layer_of("node") && layer_of(&there) == layer_of("node");
                let lower = layer_of(&there) < layer_of(here) || there == here || process;
                if layer_of(&there).is_none() || !lower {
                    rule.breaks(&source.path, line.number, &line.text);
                }
            }
        }
    }
    rule.holds();
}

#[test]
fn items_are_imported_from_the_defining_module() {
    let mut rule =
        Rule::new("imports: from the defining module; no `use crate::{..}`, no `pub use`, no glob");
    for source in sources("src") {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            let code = line.code.trim();
            let glob = code.starts_with("use ") && code.ends_with("::*;");
            if code.starts_with("use crate::{")
                || code.starts_with("pub use ")
                || code.starts_with("pub(crate) use ")
                || glob
            {
                rule.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    rule.holds();
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
        .filter(|s| module_of(&s.path).is_some_and(|module| module != "os"))
        .collect();
    nowhere("the machine: each resource has a single entry point, in os", &library, &outside);
    // The program may exit, prompt on the terminal before the loop begins, and examine a path.
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
    nowhere("the machine: the program uses os as well", &program, &closed);
}

#[test]
fn unsafe_code_is_in_os_alone_with_a_safety_comment() {
    let mut rule = Rule::new("`unsafe` only in src/os, directly below a SAFETY comment");
    for source in sources("src") {
        for (place, line) in
            source.lines.iter().enumerate().filter(|(_, line)| has_word(&line.code, "unsafe"))
        {
            let above = source.lines[place.saturating_sub(4)..=place]
                .iter()
                .any(|line| line.text.contains("// SAFETY:"));
            if !source.path.starts_with("src/os/") || !above {
                rule.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    rule.holds();
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
    nowhere("a single thread, and nothing blocks the loop", &sources("src"), &words);
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
        "std's hash tables have a random order; use a BTreeMap, or the index's table",
        &sources("src"),
        &["HashMap", "HashSet"],
    );
}

#[test]
fn no_legacy_profile_is_named_above_connection() {
    let above = sources("src")
        .into_iter()
        .filter(|s| module_of(&s.path).and_then(layer_of).is_some_and(|layer| layer > 4));
    // Consoles and texts of a legacy system name the system.
    let above: Vec<Source> = above
        .filter(|s| {
            !s.path.starts_with("src/client/console/") && !s.path.starts_with("src/ui/text.rs")
        })
        .collect();
    nowhere(
        "no code above connection names a legacy protocol",
        &above,
        &[
            "legacy::uc3m",
            "legacy::ufabc_json",
            "legacy::rede",
            "legacy::music",
            "legacy::napster",
            "LegacyProfile::Uc3m2020",
            "LegacyProfile::Uc3m2020Int",
            "LegacyProfile::Uc3m2024",
            "LegacyProfile::Uc3m2025",
            "LegacyProfile::Uc3mFixed",
            "LegacyProfile::UfabcJson",
            "LegacyProfile::Rede",
            "LegacyProfile::MusicUdp",
            "LegacyProfile::NapsterUfabc",
        ],
    );
}

#[test]
fn the_index_names_no_legacy_profile() {
    let index: Vec<Source> =
        sources("src").into_iter().filter(|s| s.path.starts_with("src/index/")).collect();
    nowhere(
        "the index compares the tags `PeerProtocol` and `Reach`, and names no legacy protocol",
        &index,
        &["LegacyProfile", "legacy_profile"],
    );
}

#[test]
fn no_work_is_marked_as_left() {
    let words = ["todo!", "unimplemented!", "dbg!"];
    nowhere("nothing is left for later", &sources("src"), &words);
    let mut rule = Rule::new("nothing is left for later");
    for source in sources("src")
        .into_iter()
        .chain(sources("tests"))
        .filter(|source| source.path != "tests/tidy.rs")
    {
        for line in &source.lines {
            if ["TODO", "FIXME", "XXX", "HACK"].iter().any(|word| has_word(&line.text, word)) {
                rule.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    rule.holds();
}

#[test]
fn no_panic_stands_outside_tests() {
    // Quoted text is blank: `.expect( ` matches `expect("..")`, but no method `expect(body)`.
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
        "no panic outside tests: external bytes never panic, and nothing unwraps",
        &sources("src"),
        &words,
    );
}

#[test]
fn every_file_begins_with_a_module_doc() {
    let mut rule = Rule::new("house style: a file begins with a module doc");
    for source in sources("src").into_iter().chain(sources("tests")) {
        if source.lines.first().is_none_or(|line| !line.text.starts_with("//! ")) {
            rule.breaks(&source.path, 1, "no `//!`");
        }
    }
    rule.holds();
}

/// True for the definition of a duration or a size in bytes.
fn is_limit(code: &str) -> bool {
    let is_size =
        ["_BYTES: u", " << 10", " << 20", " << 30"].iter().any(|size| code.contains(size));
    has_word(code, "const") && (has_word(code, "Duration") || is_size)
}

#[test]
fn every_limit_has_a_doc_with_a_reason() {
    let mut rule = Rule::new("every limit has a reason above the number");
    for source in sources("src") {
        // A file of limits has counts as well, without a pattern for a search.
        let is_list = source.path.ends_with("/limits.rs");
        let lines = source.lines.iter().enumerate().filter(|(_, line)| {
            !line.is_test && (is_limit(&line.code) || is_list && has_word(&line.code, "const"))
        });
        for (place, line) in lines {
            let above = source.lines[..place].iter().rev().map(|line| line.text.trim());
            let reason: usize =
                above.take_while(|text| text.starts_with("///")).map(str::len).sum();
            if reason < 20 {
                rule.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    rule.holds();
}

#[test]
fn no_test_is_ignored_or_sleeps() {
    let mut rule = Rule::new("house style: no ignored test, no sleep in a test, no fixed port");
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
                rule.breaks(&source.path, line.number, &line.text);
            }
        }
    }
    rule.holds();
}

/// The allowed dependencies: the five given libraries, libraries chosen with reasons, and the
/// libraries of tests.
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
    // Writes numbers without a formatter: half the cost of a SEARCH response. serde_json depends on
    // itoa anyway.
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
    // Parses the XML requests to UC3M's date service.
    "quick-xml",
    // QUIC as a state machine without sockets and clocks, so that QUIC runs in the loop. With
    // datagrams in trains, keys and ciphers, and shared buffers.
    "quinn-proto",
    "quinn-udp",
    "rustls",
    "bytes",
    // Encodes QR codes, without dependencies of its own.
    "qrcodegen",
    // Parses the settings file, with the line of each value.
    "toml",
];

#[test]
fn every_dependency_is_on_the_chosen_list() {
    let mut rule =
        Rule::new("a dependency is on the list of this test, with the reason in the commit");
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("a manifest");
    let mut inside = false;
    for (line, number) in manifest.lines().zip(1..) {
        if let Some(section) = line.strip_prefix('[') {
            inside = section.trim_end_matches(']').ends_with("dependencies");
            continue;
        }
        let name = line.split(['=', '.']).next().unwrap_or_default().trim();
        if inside && !name.is_empty() && !name.starts_with('#') && !KNOWN.contains(&name) {
            rule.breaks("Cargo.toml", number, name);
        }
    }
    rule.holds();
}

#[test]
fn documents_and_scripts_name_no_private_path() {
    let mut rule = Rule::new("documents and scripts name no path of a single machine");
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
                rule.breaks(&path, number, line);
            }
        }
    }
    rule.holds();
}

/// Documents with counted prose.
const PLAIN: [&str; 13] = [
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
    "docs/SECURITY.md",
];
/// Words that stand for a noun.
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
/// The most pronouns per thousand words.
const PRONOUNS_OF_A_THOUSAND: usize = 25;

/// The lines of a document outside fences.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut fenced = false;
    text.lines().filter(move |line| {
        let fence = line.starts_with("```");
        fenced ^= fence;
        !fence && !fenced
    })
}

/// Checks the number of pronouns in a text.
#[track_caller]
fn has_few_pronouns<'a>(name: &str, lines: impl Iterator<Item = &'a str>) {
    let lower: Vec<String> = lines.map(str::to_lowercase).collect();
    let words: Vec<&str> = lower
        .iter()
        .flat_map(|line| line.split(|c: char| !c.is_alphabetic()))
        .filter(|word| !word.is_empty())
        .collect();
    let pronouns = words.iter().filter(|word| PRONOUNS.contains(word)).count();
    assert!(words.len() > 100, "{name} has {} words", words.len());
    assert!(
        pronouns * 1_000 <= words.len() * PRONOUNS_OF_A_THOUSAND,
        "{name}: {pronouns} pronouns in {} words; name the subject instead",
        words.len()
    );
}

#[test]
fn documents_keep_to_few_pronouns() {
    for name in PLAIN {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        has_few_pronouns(name, prose(&text));
    }
}

/// Files and folders with counted comments.
const PLAIN_SOURCES: [&str; 18] = [
    "src/lib.rs",
    "src/limits.rs",
    "src/accounts/",
    "src/cli/",
    "src/client/",
    "src/cluster/",
    "src/connection/",
    "src/download/",
    "src/index/",
    "src/io/",
    "src/node/",
    "src/os/",
    "src/peer/",
    "src/protocol/",
    "src/server/",
    "src/storage/",
    "src/ui/",
    "tests/tidy.rs",
];

#[test]
fn comments_keep_to_few_pronouns() {
    let all: Vec<Source> = sources("src").into_iter().chain(sources("tests")).collect();
    for name in PLAIN_SOURCES {
        let lines = all.iter().filter(|s| s.path.starts_with(name)).flat_map(|s| &s.lines);
        // A line of a comment has no code; a line of quoted text may look like a comment.
        let comments = lines
            .filter(|line| line.code.trim().is_empty())
            .map(|line| line.text.trim_start())
            .filter(|text| text.starts_with("//"));
        has_few_pronouns(name, comments);
    }
}

#[test]
fn the_documents_name_files_that_exist() {
    let mut rule = Rule::new("docs/ARCHITECTURE.md and docs/GLOSSARY.md name existing files");
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
                    rule.breaks(name, number, path);
                }
            }
        }
    }
    rule.holds();
}

/// The documents of the protocol: all lines fit on a screen.
const DOCUMENTS: [&str; 3] = ["PROTOCOL.md", "docs/PROTOCOL-HTTP.md", "docs/PROTOCOL-LEGACY.md"];
/// The most characters of a line of prose.
const WIDE: usize = 160;

#[test]
fn protocol_documents_have_short_lines_and_public_names() {
    let mut rule = Rule::new(
        "documents of the protocol: lines of at most 160 characters outside tables and fences; legacy systems by their names",
    );
    for name in DOCUMENTS {
        let text = fs::read_to_string(root().join(name)).expect("a document");
        for (line, number) in text.lines().zip(1..) {
            let other = line.replace("seed001", "").replace("uc3m-seed003", "");
            if other.to_lowercase().contains("seed") {
                rule.breaks(name, number, line);
            }
        }
        for line in
            prose(&text).filter(|line| !line.starts_with('|') && line.chars().count() > WIDE)
        {
            rule.breaks(name, 0, line);
        }
    }
    rule.holds();
}

#[test]
fn every_folder_of_src_has_a_layer() {
    let mut rule =
        Rule::new("every folder of src is a module with a layer, as in src/lib.rs, or the program");
    for source in sources("src") {
        let folder = source
            .path
            .strip_prefix("src/")
            .and_then(|below| below.split_once('/'))
            .map(|(folder, _)| folder);
        if folder.is_some_and(|folder| folder != "cli" && layer_of(folder).is_none()) {
            rule.breaks(&source.path, 1, "a module without a layer");
        }
    }
    rule.holds();
}

/// The name of the type defined by a line without indentation.
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
    let mut rule = Rule::new("a type name is unique");
    let mut seen: Vec<(String, String)> = Vec::new();
    for source in sources("src") {
        for line in source.lines.iter().filter(|line| !line.is_test) {
            let Some(name) = defined(&line.code) else { continue };
            if let Some((_, before)) =
                seen.iter().find(|(known, path)| known == name && *path != source.path)
            {
                rule.breaks(&source.path, line.number, &format!("{name} is a type of {before}"));
            }
            seen.push((name.to_owned(), source.path.clone()));
        }
    }
    rule.holds();
}

/// Structs with more than fifteen fields. The numbers may only fall; smaller structs leave the
/// list.
const LARGE: &[(&str, usize)] = &[("Shape", 38), ("ResponseShape", 35)];

#[test]
fn a_struct_has_at_most_fifteen_fields() {
    let mut rule = Rule::new("at most fifteen fields per struct");
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
                        rule.breaks(&source.path, number, &format!("{name} has {fields} fields"));
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
    rule.holds();
}

#[test]
fn modules_of_one_folder_do_not_import_each_other() {
    let mut rule = Rule::new("no import cycle inside a folder");
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
            rule.breaks(from, *line, &format!("imports {to}, which imports the module"));
        }
    }
    rule.holds();
}

#[test]
fn every_test_named_in_the_list_of_bad_inputs_exists() {
    let mut rule = Rule::new("tests/bad_inputs.md names existing tests");
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
                rule.breaks("tests/bad_inputs.md", number, name);
            }
        }
    }
    rule.holds();
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
