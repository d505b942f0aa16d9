//! The index against a linear scan: for any sequence of changes, queries and slices both return the
//! same.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::rc::Rc;

use cardume::index::{About, Index, PeerId, Reach, Sees, Viewer};
use cardume::limits;
use cardume::protocol::request::FileEntry;
use cardume::protocol::response::Provider;
use cardume::protocol::types::account::{Line, Publication, UserName};
use cardume::protocol::types::ids::{ContentHash, SessionId};
use cardume::protocol::types::member::Groups;
use cardume::protocol::types::query::{Filters, Query, QueryTerm, Sort, SortBy};
use cardume::protocol::types::relative_path::RelativeName;
use proptest::prelude::*;
use proptest::sample::{Index as Any, select};

const HERE: Viewer =
    Viewer { ip: IpAddr::V4(Ipv4Addr::LOCALHOST), reach: Reach::NATIVE, sees: Sees::Everything };
const USERS: [&str; 3] = ["ana", "bia", "caio"];
const WORDS: [&str; 10] =
    ["vídeo", "Aula", "matrix", "ação", "AB", "x", "legendado", "álgebra", "2019", "matriz"];
const ENDS: [&str; 4] = ["mkv", "MP4", "txt", ""];

/// An operation between two queries.
#[derive(Clone, Debug)]
enum IndexOp {
    /// A part of a new peer's JOIN, visible with the last part.
    Join {
        user: Option<usize>,
        parts: Vec<Vec<FileEntry>>,
        hidden: bool,
    },
    Show(Any),
    Update(Any, Vec<FileEntry>, Vec<String>),
    Leave(Any),
    Sweep(usize),
    Build(usize),
    Publish(usize, String, String),
    Withdraw(usize, String),
    Belongs(Any, Option<usize>),
}

/// The list's record of a peer.
#[derive(Debug)]
struct ModelPeer {
    who: PeerId,
    port: u16,
    user: Option<usize>,
    visible: bool,
    files: BTreeMap<String, FileEntry>,
}

/// The groups of the members of some viewers; `None`: sees everything.
const VIEWERS: [Option<&[&str]>; 5] =
    [None, Some(&[]), Some(&["a"]), Some(&["a", "b"]), Some(&["public"])];

/// The groups of the files.
const FILES_FOR: [&[&str]; 7] = [&[], &[], &["a"], &["b"], &["b", "c"], &["all", "c"], &["public"]];

fn groups(names: &[&str]) -> Groups {
    Groups::parse(names.iter().copied()).expect("groups")
}

/// A viewer of the list; `public` alone stands for legacy protocols.
fn viewer(number: usize) -> Viewer {
    let sees = match VIEWERS[number] {
        None => Sees::Everything,
        Some(["public"]) => Sees::Public,
        Some(names) => Sees::Groups(Rc::new(groups(names))),
    };
    Viewer { sees, ..HERE }
}

/// True if a viewer of the list may see a file for these groups.
fn may_see(number: usize, groups: &Groups) -> bool {
    match VIEWERS[number] {
        None => true,
        Some(["public"]) => groups.contains("public"),
        Some(names) => {
            groups.is_empty()
                || ["all", "public"]
                    .iter()
                    .chain(names)
                    .any(|name| groups.iter().any(|group| &**group == *name))
        }
    }
}

/// The index and the list.
struct World {
    index: Index,
    peers: Vec<ModelPeer>,
    /// Descriptions by user and name.
    descriptions: BTreeMap<(usize, String), String>,
    next_port: u16,
}

/// A found file in a form common to both sides.
type Hit = (u16, String);

fn fold(text: &str) -> String {
    let without_accent = |letter: char| match letter {
        'í' | 'Í' => 'i',
        'ç' | 'Ç' => 'c',
        'ã' | 'Ã' => 'a',
        'á' | 'Á' => 'a',
        other => other.to_ascii_lowercase(),
    };
    text.chars().map(without_accent).collect()
}

/// True when each word is in one of the parts, and no `-word` is.
fn has_words(parts: &[&str], text: &str) -> bool {
    text.split_whitespace().all(|word| {
        let has = |word: &str| parts.iter().any(|part| fold(part).contains(&fold(word)));
        match word.strip_prefix('-') {
            Some(rest) if !rest.is_empty() => !has(rest),
            _ => has(word),
        }
    })
}

fn name(text: &str) -> RelativeName {
    RelativeName::new(text).expect("a name")
}

fn user(number: usize) -> UserName {
    UserName::new(USERS[number]).expect("a name")
}

impl World {
    fn new(seed: u64) -> World {
        let mut world = World {
            index: Index::new(seed),
            peers: Vec::new(),
            descriptions: BTreeMap::new(),
            next_port: 1,
        };
        world.index.build(1);
        world
    }

    fn at(&self, any: &Any) -> Option<usize> {
        (!self.peers.is_empty()).then(|| any.index(self.peers.len()))
    }

    fn apply(&mut self, op: &IndexOp) {
        match op {
            IndexOp::Join { user: of, parts, hidden } => {
                let port = self.next_port;
                self.next_port += 1;
                let who = self
                    .index
                    .create_peer(SocketAddr::from((Ipv4Addr::LOCALHOST, port)), SessionId([0; 16]));
                self.index.set_about(who, About { user: of.map(user), ..About::default() });
                let mut files = BTreeMap::new();
                for part in parts {
                    for file in part {
                        let is_new = self.index.add(who, file).expect("room");
                        assert_eq!(
                            is_new,
                            files.insert(file.name.to_string(), file.clone()).is_none()
                        );
                    }
                    self.index.build(500);
                }
                if !hidden {
                    self.index.make_visible(who);
                }
                self.peers.push(ModelPeer { who, port, user: *of, visible: !hidden, files });
            }
            IndexOp::Show(any) => {
                if let Some(at) = self.at(any)
                    && !self.peers[at].visible
                {
                    self.index.make_visible(self.peers[at].who);
                    self.peers[at].visible = true;
                }
            }
            IndexOp::Update(any, files, gone) => {
                let Some(at) = self.at(any) else { return };
                let peer = &mut self.peers[at];
                for text in gone {
                    self.index.remove(peer.who, &name(text));
                    peer.files.remove(text);
                }
                for file in files {
                    self.index.add(peer.who, file).expect("room");
                    peer.files.insert(file.name.to_string(), file.clone());
                }
            }
            IndexOp::Leave(any) => {
                if let Some(at) = self.at(any) {
                    self.index.remove_peer(self.peers.swap_remove(at).who);
                }
            }
            IndexOp::Sweep(most) => drop(self.index.purge(*most)),
            IndexOp::Build(effort) => drop(self.index.build(*effort)),
            IndexOp::Publish(of, file, text) => {
                let what = Publication {
                    file: Line::new(file).expect("a line"),
                    description: Line::new(text).expect("a line"),
                };
                self.index.publish(&user(*of), &what).expect("room");
                // A description stays as long as the file is published.
                if !text.is_empty() {
                    self.descriptions.insert((*of, file.clone()), text.clone());
                }
            }
            IndexOp::Withdraw(of, file) => {
                self.index.withdraw(&user(*of), &Line::new(file).expect("a line"));
                self.descriptions.remove(&(*of, file.clone()));
            }
            IndexOp::Belongs(any, of) => {
                if let Some(at) = self.at(any) {
                    self.index.set_user(self.peers[at].who, of.map(user));
                    self.peers[at].user = *of;
                }
            }
        }
    }

    /// The description of a peer's file, which is that of its user.
    fn description_of(&self, peer: &ModelPeer, file: &str) -> Option<&String> {
        self.descriptions.get(&(peer.user?, file.to_owned()))
    }

    /// All matches of a query that a viewer may see.
    fn expected(&self, query: &Query, viewer: usize) -> Vec<Hit> {
        let mut hits = Vec::new();
        for peer in self.peers.iter().filter(|peer| peer.visible) {
            let fits = |text: &str, file: &FileEntry| {
                let described = self.description_of(peer, text);
                let parts: Vec<&str> =
                    std::iter::once(text).chain(described.map(String::as_str)).collect();
                let wanted = match &query.wanted {
                    QueryTerm::Anything => true,
                    QueryTerm::Name(name) => &**name == text,
                    QueryTerm::Root(root) => file.root == Some(*root),
                    QueryTerm::Contains(words) => has_words(&parts, words),
                    QueryTerm::Like(_) => unreachable!("descriptions by the index itself"),
                };
                let Filters { ext, min_size, max_size, description, owner, hashed, complete } =
                    &query.filters;
                let end = text
                    .rsplit('/')
                    .next()
                    .and_then(|last| last.rsplit_once('.'))
                    .filter(|(stem, _)| !stem.is_empty())
                    .map(|(_, end)| end);
                wanted
                    && (ext.is_empty()
                        || end
                            .is_some_and(|end| ext.iter().any(|ext| ext.eq_ignore_ascii_case(end))))
                    && min_size.is_none_or(|min| file.size.is_some_and(|size| size >= min))
                    && max_size.is_none_or(|max| file.size.is_some_and(|size| size <= max))
                    && description.as_ref().is_none_or(|words| {
                        described.is_some_and(|described| has_words(&[described], words))
                    })
                    && owner
                        .as_ref()
                        .is_none_or(|owner| peer.user.map(user).as_ref() == Some(owner))
                    && hashed.is_none_or(|hashed| hashed == file.root.is_some())
                    && complete.is_none_or(|complete| complete != file.partial)
            };
            let found = peer
                .files
                .iter()
                .filter(|(text, file)| fits(text, file) && may_see(viewer, &file.groups));
            if let QueryTerm::Root(_) = query.wanted {
                // A peer represents a content once, by a complete file if there is one; which of
                // several is not specified.
                hits.extend(found.take(1).map(|(text, _)| (peer.port, text.clone())));
            } else {
                hits.extend(found.map(|(text, _)| (peer.port, text.clone())));
            }
        }
        hits.sort();
        hits
    }

    /// Steps a search to its response with `slice` units of work at a time; operations may happen
    /// between steps.
    fn page(
        &mut self,
        query: &Query,
        viewer: usize,
        slice: usize,
        mut between: impl FnMut(&mut World),
    ) -> (Vec<Provider>, Option<String>) {
        let mut search = self.index.start(query, &self::viewer(viewer)).expect("a good query");
        for _ in 0..100_000 {
            let mut effort = slice;
            if let Some(page) = self.index.step(&mut search, &mut effort) {
                assert!(
                    page.entries.len() <= query.limit
                        && page
                            .cursor
                            .as_ref()
                            .is_none_or(|cursor| cursor.len() <= limits::QUERY_CURSOR_BYTES)
                );
                return (page.entries, page.cursor);
            }
            between(self);
        }
        panic!("{query:?} never ends");
    }

    /// All pages, without operations in between.
    fn all(&mut self, query: &Query, viewer: usize, slice: usize) -> Vec<Provider> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let (some, next) = self.page(&Query { cursor, ..query.clone() }, viewer, slice, |_| {});
            all.extend(some);
            cursor = next;
            if cursor.is_none() {
                return all;
            }
        }
    }
}

fn hit(holder: &Provider) -> Hit {
    (holder.peer.port(), holder.file.name.to_string())
}

fn names() -> impl Strategy<Value = String> {
    let word = || select(&WORDS[..]);
    prop_oneof![
        (word(), select(&ENDS[..])).prop_map(|(word, end)| if end.is_empty() {
            word.to_owned()
        } else {
            format!("{word}.{end}")
        }),
        (word(), word(), 0..4_u8, select(&ENDS[..3]))
            .prop_map(|(a, b, number, end)| format!("{a} {b} {number}.{end}")),
        (word(), word()).prop_map(|(a, b)| format!("{a}.d/{b}.mkv")),
    ]
}

fn files() -> impl Strategy<Value = Vec<FileEntry>> {
    let file = (
        names(),
        proptest::option::weighted(0.8, 0..6_u64),
        proptest::option::of(0..4_u8),
        any::<bool>(),
        select(&FILES_FOR[..]),
    );
    let file = file.prop_map(|(text, size, root, partial, names)| FileEntry {
        size,
        root: root.map(|root| ContentHash([root; 32])),
        partial,
        groups: groups(names),
        ..FileEntry::name_only(name(&text))
    });
    proptest::collection::vec(file, 0..8)
}

fn ops() -> impl Strategy<Value = IndexOp> {
    let of = || proptest::option::of(0..USERS.len());
    let parts = proptest::collection::vec(files(), 1..3);
    prop_oneof![
        4 => (of(), parts, proptest::bool::weighted(0.2)).prop_map(|(user, parts, hidden)| IndexOp::Join { user, parts, hidden }),
        1 => any::<Any>().prop_map(IndexOp::Show),
        2 => (any::<Any>(), files(), proptest::collection::vec(names(), 0..4)).prop_map(|(any, files, gone)| IndexOp::Update(any, files, gone)),
        2 => any::<Any>().prop_map(IndexOp::Leave),
        2 => (0..6_usize).prop_map(IndexOp::Sweep),
        2 => (0..4_000_usize).prop_map(IndexOp::Build),
        1 => (0..USERS.len(), names(), select(&["", "legendado em português", "Álgebra matrix", "x"][..])).prop_map(|(of, file, text)| IndexOp::Publish(of, file, text.into())),
        1 => (0..USERS.len(), names()).prop_map(|(of, file)| IndexOp::Withdraw(of, file)),
        1 => (any::<Any>(), of()).prop_map(|(any, of)| IndexOp::Belongs(any, of)),
    ]
}

fn queries(like: bool) -> impl Strategy<Value = Query> {
    let some = |word: &str| word.chars().take(5).collect::<String>();
    let words =
        proptest::collection::vec((select(&WORDS[..]), proptest::bool::weighted(0.2)), 0..3);
    let words = (select(&WORDS[..]), words).prop_map(move |(first, rest)| {
        rest.iter().fold(some(first), |text, (word, without)| {
            format!("{text} {}{}", if *without { "-" } else { "" }, some(word))
        })
    });
    let nearly = (select(
        &["matrx", "vidoe", "algbra", "legendao em", "aula matriz", "matrix.mkv", "acao 2019"][..],
    ))
    .prop_map(str::to_owned);
    let wanted = if like {
        nearly.prop_map(QueryTerm::Like).boxed()
    } else {
        prop_oneof![
            1 => Just(QueryTerm::Anything),
            2 => names().prop_map(|text| QueryTerm::Name(name(&text))),
            1 => (0..4_u8).prop_map(|root| QueryTerm::Root(ContentHash([root; 32]))),
            5 => words.prop_map(QueryTerm::Contains),
        ]
        .boxed()
    };
    let flag = || proptest::option::weighted(0.2, any::<bool>());
    let filters = (
        proptest::collection::vec(select(&ENDS[..3]).prop_map(str::to_lowercase), 0..2),
        proptest::option::weighted(0.2, 0..4_u64),
        proptest::option::weighted(0.2, 4..6_u64),
        proptest::option::weighted(0.1, select(&["legendado", "algebra -legendado", "X"][..])),
        proptest::option::weighted(0.2, (0..USERS.len()).prop_map(user)),
        (flag(), flag()),
    );
    let filters =
        filters.prop_map(|(ext, min_size, max_size, description, owner, (hashed, complete))| {
            Filters {
                ext,
                min_size,
                max_size,
                description: description.map(str::to_owned),
                owner,
                hashed,
                complete,
            }
        });
    let sort = proptest::option::of((any::<bool>(), any::<bool>()));
    (wanted, filters, sort, 1..7_usize).prop_filter_map(
        "something to go by",
        |(wanted, filters, sort, limit)| {
            let by = |name: bool| if name { SortBy::Name } else { SortBy::Size };
            let sort = sort.map(|(name, descending)| Sort { by: by(name), descending });
            let query = Query { filters, sort, limit, ..Query::new(wanted) };
            query.check().is_ok().then_some(query)
        },
    )
}

/// The sort key of a hit.
fn in_order(sort: Sort, holders: &[Provider]) -> bool {
    let key = |holder: &Provider| match sort.by {
        SortBy::Name => (0, holder.file.name.to_string()),
        SortBy::Size => (holder.file.size.map_or(0, |size| size + 1), String::new()),
    };
    let keys: Vec<_> = holders.iter().map(key).collect();
    if sort.descending { keys.iter().rev().is_sorted() } else { keys.is_sorted() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    /// Without concurrent changes all pages together equal the list, each hit once, in order, for
    /// any slice.
    #[test]
    fn every_search_matches_a_linear_scan(
        seed in any::<u64>(),
        rounds in proptest::collection::vec((proptest::collection::vec(ops(), 0..6), queries(false), 0..VIEWERS.len(), 1..3_000_usize), 1..12),
    ) {
        let mut world = World::new(seed);
        for (ops, query, viewer, slice) in rounds {
            for op in &ops {
                world.apply(op);
            }
            let all = world.all(&query, viewer, slice);
            if let Some(sort) = query.sort {
                prop_assert!(in_order(sort, &all), "{query:?}: {all:?}");
            }
            let mut found: Vec<Hit> = all.iter().map(hit).collect();
            found.sort();
            if let QueryTerm::Root(_) = query.wanted {
                // All providers of the content under any name; filters apply to the file that
                // represents its peer.
                let count = found.len();
                found.dedup_by_key(|hit| hit.0);
                prop_assert_eq!(found.len(), count);
                if query.filters == Filters::default() {
                    let ports: Vec<u16> = found.iter().map(|hit| hit.0).collect();
                    prop_assert_eq!(ports, world.expected(&query, viewer).iter().map(|hit| hit.0).collect::<Vec<_>>());
                }
                continue;
            }
            prop_assert_eq!(found, world.expected(&query, viewer), "{:?}", query);
        }
        for peer in &world.peers {
            world.index.remove_peer(peer.who);
        }
        while world.index.purge(3) {}
        world.peers.clear();
        let query = Query { filters: Filters { complete: Some(true), ..Filters::default() }, ..Query::new(QueryTerm::Anything) };
        prop_assert!(world.all(&query, 0, 1_000).is_empty());
    }

    /// A hit present from the first page to the last is returned once, whatever changes between
    /// pages and slices.
    #[test]
    fn unchanged_entries_are_listed_once_while_others_change(
        seed in any::<u64>(),
        before in proptest::collection::vec(ops(), 1..12),
        query in prop_oneof![queries(false), queries(true)],
        viewer in 0..VIEWERS.len(),
        slice in 100..2_000_usize,
        meanwhile in proptest::collection::vec(proptest::collection::vec(ops(), 0..4), 1..20),
    ) {
        let mut world = World::new(seed);
        for op in &before {
            world.apply(op);
        }
        let mut stays: Vec<Hit> = world.all(&query, viewer, 1 << 20).iter().map(hit).collect();
        let (mut met, mut cursor, mut meanwhile) = (Vec::new(), None, meanwhile.iter().cycle());
        let mut happened = 0;
        let mut touched: Vec<Hit> = Vec::new();
        loop {
            let (some, next) = world.page(&Query { cursor, ..query.clone() }, viewer, slice, |world| {
                // Bounded, or new entries would never end.
                happened += 1;
                for op in meanwhile.next().into_iter().flatten().filter(|_| happened < 40) {
                    note(world, op, &mut touched);
                    world.apply(op);
                }
            });
            met.extend(some.iter().map(hit));
            for op in meanwhile.next().into_iter().flatten().filter(|_| happened < 40) {
                note(&world, op, &mut touched);
                world.apply(op);
            }
            happened += 1;
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        stays.retain(|stay| !touched.contains(stay));
        for stay in stays {
            prop_assert_eq!(met.iter().filter(|met| **met == stay).count(), 1, "{:?} of {:?}: {:?}", stay, query, met);
        }
    }

    /// Fuzzy queries match alike with and without a built index, best first, and in pages as in
    /// one.
    #[test]
    fn fuzzy_results_are_ranked_alike_in_slices_of_any_size(
        seed in any::<u64>(),
        ops in proptest::collection::vec(ops(), 1..15),
        query in queries(true),
        viewer in 0..VIEWERS.len(),
        slice in 1..2_000_usize,
    ) {
        let mut world = World::new(seed);
        for op in &ops {
            world.apply(op);
        }
        let paged: Vec<Hit> = world.all(&query, viewer, slice).iter().map(hit).collect();
        let whole = Query { limit: limits::QUERY_ENTRIES, ..query.clone() };
        prop_assert_eq!(&world.all(&whole, viewer, 1 << 20).iter().map(hit).collect::<Vec<_>>(), &paged);
        while world.index.build(700) {}
        prop_assert_eq!(&world.all(&whole, viewer, slice).iter().map(hit).collect::<Vec<_>>(), &paged);
        // Exact matches are among the fuzzy ones.
        if let QueryTerm::Like(text) = &query.wanted {
            let exact = Query { wanted: QueryTerm::Contains(text.clone()), ..whole };
            for hit in world.expected(&exact, viewer) {
                prop_assert!(paged.contains(&hit), "{:?} for {}", hit, text);
            }
        }
    }
}

/// Records the files changed by an operation, which need not be returned once.
fn note(world: &World, op: &IndexOp, touched: &mut Vec<Hit>) {
    let all_of = |peer: &ModelPeer| {
        peer.files.keys().map(|text| (peer.port, text.clone())).collect::<Vec<Hit>>()
    };
    match op {
        IndexOp::Join { .. } | IndexOp::Show(_) | IndexOp::Sweep(_) | IndexOp::Build(_) => {}
        IndexOp::Update(any, files, gone) => {
            let Some(at) = world.at(any) else { return };
            let port = world.peers[at].port;
            touched.extend(
                files
                    .iter()
                    .map(|file| (port, file.name.to_string()))
                    .chain(gone.iter().map(|text| (port, text.clone()))),
            );
            // Another file of the peer may now represent the content.
            touched.extend(all_of(&world.peers[at]));
        }
        IndexOp::Leave(any) | IndexOp::Belongs(any, _) => {
            touched.extend(world.at(any).map(|at| all_of(&world.peers[at])).unwrap_or_default())
        }
        IndexOp::Publish(of, file, _) | IndexOp::Withdraw(of, file) => {
            let theirs = world.peers.iter().filter(|peer| peer.user == Some(*of));
            touched.extend(theirs.map(|peer| (peer.port, file.clone())));
        }
    }
}
