//! Which texts have which words in them, at any place: `video` finds `Aula de Vídeo.mkv`.
//!
//! Every three bytes of a folded text lead to the blocks of eight texts that have them; a search looks at the texts of the few blocks that have all
//! three-byte runs of its words, and compares them exactly. So what the blocks say may be too much and never too little.
//!
//! A text that comes or goes only marks its block, which is cheap; [`Grams::build`] works the marks off in slices. Until then a search looks at all
//! texts of marked blocks: it is right at any time, new files are found at once, and what it costs is bounded by its effort and not by what waits.
//! The runs are folded into a seeded number of 17 bits: nobody fills the memory by names of runs that no other name has.
//!
//! The texts themselves stand elsewhere, by dense numbers that are used again.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::iter::Peekable;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;
use memchr::memmem::Finder;
use roaring::RoaringBitmap;
use unicode_normalization::char::{canonical_combining_class, decompose_canonical};

use crate::index::claims::fold_product;

/// Texts of one block: their runs overlap, and one bit for eight of them is what makes the whole small.
const BLOCK: u32 = 8;
/// Different numbers of runs: names of real files have some ten thousand runs, and each number costs some hundred bytes at first.
const NUMBERS: u64 = 1 << 17;
/// Bitmaps that are cut with each other: a text that has the rarest eight runs of a query nearly always has the others.
const CUTS: usize = 8;
/// Blocks that are quicker looked at than cut once more.
const FEW: u64 = 16;
/// What a text costs besides its bytes, in bytes: it has to be fetched from anywhere in the memory.
const LOOK: usize = 128;
/// What a block costs whose texts are all gone.
const STEP: usize = 8;
/// How much longer it takes to fold a text that is not of ASCII.
const UNFOLDING: usize = 3;

/// What is searched in.
pub trait Text {
    /// Its parts; no word reaches from one into the next.
    fn parts(&self) -> impl Iterator<Item = &str>;
}

/// The words of a search.
pub struct Query {
    wanted: Vec<Finder<'static>>,
    unwanted: Vec<Finder<'static>>,
}

impl Query {
    /// Words between blanks that must all be there, in any order, and `-words` that must not. `None` when nothing is wanted.
    pub fn new(text: &str) -> Option<Query> {
        let mut query = Query { wanted: Vec::new(), unwanted: Vec::new() };
        let mut folded = String::new();
        for word in text.split_whitespace() {
            let (word, list) = match word.strip_prefix('-') {
                Some(rest) if !rest.is_empty() => (rest, &mut query.unwanted),
                _ => (word, &mut query.wanted),
            };
            folded.clear();
            fold(word, &mut folded);
            if !folded.is_empty() {
                list.push(Finder::new(&folded).into_owned());
            }
        }
        (!query.wanted.is_empty()).then_some(query)
    }

    fn matches(&self, folded: &str) -> bool {
        let has = |word: &Finder<'_>| word.find(folded.as_bytes()).is_some();
        self.wanted.iter().all(has) && !self.unwanted.iter().any(has)
    }
}

/// Where a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// This text has the words.
    Match(u32),
    /// The effort is spent; this is where to go on.
    Pause(u32),
    /// There is no other.
    End,
}

/// Which texts have which words.
pub struct Grams<T> {
    /// By the number of a run, the blocks that have it.
    postings: HashTable<Posting>,
    blocks: Vec<Block>,
    /// Blocks that have to be built, with those of their texts that are gone and whose bits still stand.
    marked: BTreeMap<u32, Vec<T>>,
    /// Where building goes on, so that low blocks that change all the time don't keep the others waiting.
    at: u32,
    seed: u64,
}

struct Posting {
    number: u32,
    blocks: RoaringBitmap,
}

/// A bit for each text of a block.
#[derive(Clone, Copy, Default)]
struct Block {
    present: u8,
    /// Those whose bits stand.
    built: u8,
}

impl<T: Text> Grams<T> {
    /// Without texts; `seed` keeps strangers from choosing runs that share a number.
    pub fn new(seed: u64) -> Grams<T> {
        Grams { postings: HashTable::new(), blocks: Vec::new(), marked: BTreeMap::new(), at: 0, seed }
    }

    /// There is a text of this number; one that is known is no error.
    pub fn add(&mut self, id: u32) {
        let (block, bit) = place(id);
        if self.blocks.len() <= block as usize {
            self.blocks.resize(block as usize + 1, Block::default());
        }
        let state = &mut self.blocks[block as usize];
        if state.present & bit == 0 {
            state.present |= bit;
            self.marked.entry(block).or_default();
        }
    }

    /// The text of this number is gone; its number may be another's from now on.
    pub fn remove(&mut self, id: u32, text: T) {
        let (block, bit) = place(id);
        let Some(state) = self.blocks.get_mut(block as usize).filter(|state| state.present & bit != 0) else { return };
        state.present &= !bit;
        if state.built & bit != 0 {
            state.built &= !bit;
            self.marked.entry(block).or_default().push(text);
        }
    }

    /// True when no block is marked.
    pub fn is_built(&self) -> bool {
        self.marked.is_empty()
    }

    /// Builds marked blocks until `effort`, in bytes of text, is spent. True when more are left.
    pub fn build<'t>(&mut self, effort: &mut usize, texts: impl Fn(u32) -> Option<&'t T>) -> bool
    where
        T: 't,
    {
        let mut folded = String::new();
        let (mut here, mut gone) = (Vec::new(), Vec::new());
        while *effort > 0 {
            let next = self.marked.range(self.at..).next().or_else(|| self.marked.iter().next());
            let Some(block) = next.map(|(block, _)| *block) else { return false };
            self.at = block + 1;
            let left = self.marked.remove(&block).unwrap_or_default();
            let Some(state) = self.blocks.get(block as usize).copied() else { continue };
            *effort = effort.saturating_sub(STEP);
            here.clear();
            for id in members(block, state.present) {
                // What stands already is needed only to tell which bits of those that are gone may go as well.
                if left.is_empty() && state.built & place(id).1 != 0 {
                    continue;
                }
                if let Some(text) = texts(id) {
                    spend(effort, fold_text(text, &mut folded));
                    numbers(&folded, self.seed, &mut here);
                }
            }
            here.sort_unstable();
            here.dedup();
            gone.clear();
            for text in &left {
                spend(effort, fold_text(text, &mut folded));
                numbers(&folded, self.seed, &mut gone);
            }
            gone.sort_unstable();
            gone.dedup();
            for number in gone.iter().filter(|number| here.binary_search(number).is_err()) {
                self.clear(*number, block);
            }
            for number in &here {
                self.set(*number, block);
            }
            self.blocks[block as usize].built = state.present;
        }
        !self.marked.is_empty()
    }

    /// A walk over the texts from number `from` on that have the words.
    pub fn walk<'a>(&'a self, query: &'a Query, from: u32) -> Walk<'a, T> {
        let (block, _) = place(from);
        let marked = self.marked.range(block..).peekable();
        Walk { query, blocks: &self.blocks, indexed: self.candidates(query, block).peekable(), marked, from, block, left: 0, folded: String::new() }
    }

    /// Blocks from `from` on that have the rarest runs of a query; all of them when its words are too short to have any.
    fn candidates(&self, query: &Query, from: u32) -> Box<dyn Iterator<Item = u32> + '_> {
        let mut wanted = Vec::new();
        for word in &query.wanted {
            runs(word.needle(), self.seed, &mut wanted);
        }
        wanted.sort_unstable();
        wanted.dedup();
        let found: Option<Vec<&RoaringBitmap>> = wanted.iter().map(|number| self.posting(*number)).collect();
        // A run that no block has.
        let Some(mut found) = found else { return Box::new(std::iter::empty()) };
        found.sort_by_cached_key(|blocks| blocks.len());
        let (first, second, others) = match found[..] {
            [] => return Box::new(from..u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)),
            [only] => {
                let mut blocks = only.iter();
                blocks.advance_to(from);
                return Box::new(blocks);
            }
            [first, second, ref others @ ..] => (first, second, others),
        };
        let mut blocks = first & second;
        for other in others.iter().take(CUTS - 2) {
            if blocks.len() <= FEW {
                break;
            }
            blocks &= *other;
        }
        let mut blocks = blocks.into_iter();
        blocks.advance_to(from);
        Box::new(blocks)
    }

    fn posting(&self, number: u32) -> Option<&RoaringBitmap> {
        self.postings.find(spread(number), |posting| posting.number == number).map(|posting| &posting.blocks)
    }

    fn set(&mut self, number: u32, block: u32) {
        match self.postings.entry(spread(number), |posting| posting.number == number, |posting| spread(posting.number)) {
            Entry::Occupied(mut found) => found.get_mut().blocks.insert(block),
            Entry::Vacant(free) => free.insert(Posting { number, blocks: RoaringBitmap::new() }).get_mut().blocks.insert(block),
        };
    }

    fn clear(&mut self, number: u32, block: u32) {
        if let Ok(mut found) = self.postings.find_entry(spread(number), |posting| posting.number == number) {
            found.get_mut().blocks.remove(block);
            if found.get().blocks.is_empty() {
                found.remove();
            }
        }
    }
}

/// A search that is under way.
pub struct Walk<'a, T> {
    query: &'a Query,
    blocks: &'a [Block],
    indexed: Peekable<Box<dyn Iterator<Item = u32> + 'a>>,
    marked: Peekable<btree_map::Range<'a, u32, Vec<T>>>,
    from: u32,
    /// The block that is looked at.
    block: u32,
    /// Its texts that were not looked at yet.
    left: u8,
    folded: String,
}

impl<T: Text> Walk<'_, T> {
    /// Goes on to the next text that has the words, as far as `effort`, in bytes of text, allows. With any effort at all it comes forward.
    pub fn step<'t>(&mut self, effort: &mut usize, texts: impl Fn(u32) -> Option<&'t T>) -> Step
    where
        T: 't,
    {
        loop {
            let Some(id) = members(self.block, self.left).next() else {
                let Some(block) = self.next_block() else { return Step::End };
                if *effort == 0 {
                    return Step::Pause(self.from.max(block * BLOCK));
                }
                let before = self.from.saturating_sub(block * BLOCK);
                self.block = block;
                self.left = self.blocks.get(block as usize).map_or(0, |state| state.present) & u8::MAX.checked_shl(before).unwrap_or(0);
                if self.left == 0 {
                    *effort = effort.saturating_sub(STEP);
                }
                continue;
            };
            if *effort == 0 {
                return Step::Pause(id);
            }
            self.left &= self.left - 1;
            let Some(text) = texts(id) else { continue };
            spend(effort, fold_text(text, &mut self.folded));
            if self.query.matches(&self.folded) {
                return Step::Match(id);
            }
        }
    }

    /// The next block that may have a text that matches: by its bits, or because its bits don't tell yet.
    fn next_block(&mut self) -> Option<u32> {
        let indexed = self.indexed.peek().copied();
        let marked = self.marked.peek().map(|(block, _)| **block);
        let next = indexed.into_iter().chain(marked).min()?;
        if indexed == Some(next) {
            self.indexed.next();
        }
        if marked == Some(next) {
            self.marked.next();
        }
        Some(next)
    }
}

/// The block of a text, and its bit there.
fn place(id: u32) -> (u32, u8) {
    (id / BLOCK, 1 << (id % BLOCK))
}

/// The texts whose bits are set.
fn members(block: u32, bits: u8) -> impl Iterator<Item = u32> {
    (0..BLOCK).filter(move |at| bits & 1 << at != 0).map(move |at| block * BLOCK + at)
}

fn spend(effort: &mut usize, bytes: usize) {
    *effort = effort.saturating_sub(LOOK + bytes);
}

/// Folds all of a text, its parts on lines of their own, and says what that costs.
fn fold_text<T: Text>(text: &T, folded: &mut String) -> usize {
    folded.clear();
    let mut cost = 0;
    for part in text.parts() {
        cost += fold(part, folded);
        folded.push('\n');
    }
    cost
}

/// Adds `text` without its case and its accents, and says what that costs.
///
/// Marks of a class up to 9 stay: they make other letters in the scripts of India and Japan, where all others are accents.
fn fold(text: &str, folded: &mut String) -> usize {
    if text.is_ascii() {
        let at = folded.len();
        folded.push_str(text);
        folded[at..].make_ascii_lowercase();
        return text.len();
    }
    // Letter by letter: marks that are dropped need not be put in order.
    for letter in text.chars() {
        if letter.is_ascii() {
            folded.push(letter.to_ascii_lowercase());
            continue;
        }
        decompose_canonical(letter, |letter| match letter {
            _ if canonical_combining_class(letter) > 9 => {}
            // The sigma at the end of a word is the same letter.
            'ς' => folded.push('σ'),
            _ => folded.extend(letter.to_lowercase()),
        });
    }
    text.len() * UNFOLDING
}

/// The numbers of all runs of three bytes in a folded text, part by part.
fn numbers(folded: &str, seed: u64, into: &mut Vec<u32>) {
    for part in folded.split('\n') {
        runs(part.as_bytes(), seed, into);
    }
}

fn runs(bytes: &[u8], seed: u64, into: &mut Vec<u32>) {
    let number = |run: &[u8]| {
        let run = run.iter().fold(0, |run, byte| run << 8 | u64::from(*byte));
        u32::try_from(fold_product(run ^ seed, 0xa076_1d64_78bd_642f) % NUMBERS).unwrap_or(0)
    };
    into.extend(bytes.windows(3).map(number));
}

/// Where a number stands in the table: they are drawn by a seed already, and only have to fill a word.
fn spread(number: u32) -> u64 {
    u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    impl Text for String {
        fn parts(&self) -> impl Iterator<Item = &str> {
            self.split('|')
        }
    }

    /// Texts by number, and their words.
    struct World {
        texts: Vec<Option<String>>,
        grams: Grams<String>,
    }

    impl World {
        fn new(texts: &[&str]) -> World {
            let mut world = World { texts: Vec::new(), grams: Grams::new(1) };
            for (id, text) in texts.iter().enumerate() {
                world.set(id, Some(text));
            }
            world
        }

        fn set(&mut self, id: usize, text: Option<&str>) {
            if self.texts.len() <= id {
                self.texts.resize(id + 1, None);
            }
            if let Some(old) = std::mem::replace(&mut self.texts[id], text.map(str::to_owned)) {
                self.grams.remove(u32::try_from(id).unwrap(), old);
            }
            if text.is_some() {
                self.grams.add(u32::try_from(id).unwrap());
            }
        }

        fn build(&mut self, mut effort: usize) -> bool {
            let texts = &self.texts;
            self.grams.build(&mut effort, |id| texts.get(id as usize)?.as_ref())
        }

        /// All that match, found with little effort at a time.
        fn find(&self, query: &str, slice: usize) -> Vec<u32> {
            let Some(query) = Query::new(query) else { return Vec::new() };
            let (mut found, mut from) = (Vec::new(), 0);
            loop {
                let (mut effort, mut walk) = (slice, self.grams.walk(&query, from));
                loop {
                    match walk.step(&mut effort, |id| self.texts.get(id as usize)?.as_ref()) {
                        Step::Match(id) => found.push(id),
                        Step::End => return found,
                        Step::Pause(id) => {
                            assert!(id > from || slice == usize::MAX, "no way forward from {from}");
                            from = id;
                            break;
                        }
                    }
                }
            }
        }

        fn naive(&self, query: &str) -> Vec<u32> {
            let plain = |text: &str| {
                let mut folded = String::new();
                fold(text, &mut folded);
                folded
            };
            let words: Vec<&str> = query.split_whitespace().collect();
            let has = |text: &str, word: &str| text.split('|').any(|part| plain(part).contains(&plain(word)));
            let matches = |text: &str| {
                words.iter().all(|word| match word.strip_prefix('-') {
                    Some(rest) if !rest.is_empty() => plain(rest).is_empty() || !has(text, rest),
                    _ => has(text, word),
                })
            };
            let wanted = words.iter().any(|word| (!word.starts_with('-') || word.len() == 1) && !plain(word).is_empty());
            let ids = (0..).zip(&self.texts);
            ids.filter(|(_, text)| wanted && text.as_ref().is_some_and(|text| matches(text))).map(|(id, _)| id).collect()
        }
    }

    #[test]
    fn words_are_found_in_any_order_whatever_their_case_and_accents() {
        let mut world = World::new(&["Aula de Vídeo.mkv", "VIDEO.MP4", "Ελληνικός ΘΈΑΤΡΟΣ", "İstanbul", "Ação e Reação", "日本語ガイド", "हिन्दी"]);
        for built in [false, true] {
            for (query, found) in [
                ("video", &[0, 1][..]),
                ("VÍDEO", &[0, 1]),
                ("vi\u{301}deo aula", &[0]),
                ("mkv  aula", &[0]),
                ("θεατρος", &[2]),
                ("ελληνικοσ", &[2]),
                ("istanbul", &[3]),
                ("acao", &[4]),
                ("本語", &[5]),
                // Another letter, not an accent.
                ("カイド", &[]),
                ("हिन्द", &[6]),
                ("nothing", &[]),
                ("video nothing", &[]),
            ] {
                assert_eq!(world.find(query, usize::MAX), found, "{query}");
            }
            assert!(!world.build(usize::MAX), "{built}");
        }
    }

    #[test]
    fn short_words_are_found_and_unwanted_ones_leave_out() {
        let mut world = World::new(&["ab", "b", "abc-d", "abd", "-x"]);
        for _ in 0..2 {
            for (query, found) in
                [("b", &[0, 1, 2, 3][..]), ("ab", &[0, 2, 3]), ("ab -abd", &[0, 2]), ("b -a", &[1]), ("c-d", &[2]), ("-", &[2, 4]), ("ab -", &[2])]
            {
                assert_eq!(world.find(query, usize::MAX), found, "{query}");
            }
            world.build(usize::MAX);
        }
        for query in ["", "  ", "-ab", "\u{301}"] {
            assert!(Query::new(query).is_none(), "{query:?}");
        }
    }

    #[test]
    fn no_word_reaches_over_two_parts_and_words_stand_in_different_ones() {
        let mut world = World::new(&["matrix|dublado"]);
        for _ in 0..2 {
            assert_eq!(world.find("matrix dublado", usize::MAX), [0]);
            assert_eq!(world.find("ixdub", usize::MAX), [0; 0]);
            world.build(usize::MAX);
        }
    }

    #[test]
    fn what_comes_and_goes_leaves_nothing_behind() {
        let mut world = World::new(&[]);
        for round in 0..50 {
            for id in 0..40 {
                world.set(id, Some(&format!("name {} of round {round}", id * 7919)));
            }
            world.build(400 * round);
            for id in 0..40 {
                world.set(id, None);
            }
        }
        while world.build(100) {}
        assert_eq!((world.grams.postings.len(), world.grams.marked.len(), world.grams.blocks.len()), (0, 0, 5));
        // One text of a block that changes all the time takes no more than its last state.
        for round in 0..1_000 {
            world.set(0, Some("stays"));
            world.set(1, Some(&format!("{:032x}", u128::from(spread(round)).pow(2))));
            assert!(world.grams.marked.values().all(|gone| gone.len() <= BLOCK as usize));
            world.build(usize::MAX);
        }
        assert!(world.grams.postings.len() <= 3 + 30);
    }

    #[test]
    fn building_and_searching_go_in_slices() {
        let texts: Vec<String> = (0..500).map(|number| format!("file {number} of many")).collect();
        let mut world = World::new(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        let mut slices = 0;
        while world.build(2_000) {
            slices += 1;
            assert_eq!(world.find("file 499", 1), [499]);
        }
        assert!(slices > 20);
        assert_eq!(world.find("many", 1), (0..500).collect::<Vec<_>>());
        // A rare word is found without a look at the others.
        let (query, mut effort) = (Query::new("499").unwrap(), 10_000);
        let step = world.grams.walk(&query, 0).step(&mut effort, |id| world.texts[id as usize].as_ref());
        assert_eq!(step, Step::Match(499));
        assert!(effort > 8_000);
    }

    #[test]
    fn all_numbers_together_are_bounded() {
        let mut world = World::new(&[]);
        let mut state = 1_u64;
        for id in 0..3_000 {
            let text: String = (0..100)
                .map(|_| {
                    state = spread(7).wrapping_mul(state) ^ state >> 31;
                    char::from_u32(0x4e00 + u32::try_from(state % 20_000).unwrap()).unwrap()
                })
                .collect();
            world.set(id, Some(&text));
        }
        world.build(usize::MAX);
        assert!(world.grams.postings.len() <= usize::try_from(NUMBERS).unwrap());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

        /// The same operations against a list that is searched from end to end, numbers that are used again included.
        #[test]
        fn it_agrees_with_a_naive_search(
            rounds in proptest::collection::vec(
                (0_usize..40, proptest::option::weighted(0.7, "[abAÁé |ñ]{0,9}"), 0_usize..1_200, "-?[aáB]{0,4} ?-?[abñ]{0,5} ?[eA]{0,1}", 1_usize..600),
                1..120,
            ),
        ) {
            let mut world = World::new(&[]);
            for (id, text, build, query, slice) in rounds {
                world.set(id, text.as_deref());
                if build % 3 == 0 {
                    world.build(build);
                }
                prop_assert_eq!(world.find(&query, slice), world.naive(&query), "{}", query);
            }
        }
    }
}
