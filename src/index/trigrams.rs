//! Trigram index: texts by three consecutive bytes, so that `video` finds `Aula de Vídeo.mkv`.
//!
//! Each trigram of a folded text leads to the blocks of eight texts that contain it. A search reads
//! the texts of the few blocks that contain all trigrams of its words, and compares them exactly.
//! So the blocks may include too many texts, but never too few.
//!
//! A change only marks its block, which is cheap; [`Trigrams::build`] rebuilds marked blocks in
//! slices. Until then a search reads all texts of marked blocks: it finds new texts at once, and
//! its cost is bounded by its budget. Trigrams are hashed to 17 bits with a secret seed, so that
//! names with rare trigrams cannot fill the memory.
//!
//! The texts are stored elsewhere, under dense numbers that are reused.

use std::collections::BTreeMap;
use std::collections::btree_map;

use hashbrown::HashTable;
use roaring::RoaringBitmap;

use crate::index::key_table::fold_product;
use crate::index::matcher::{Text, fold_text};

/// Texts of a block. Similar texts share trigrams, so one bit for eight texts keeps the sets small.
pub const BLOCK: u32 = 8;
/// Different hashed trigrams. Real names have some ten thousand; each takes some hundred bytes at
/// first.
const NUMBERS: u64 = 1 << 17;
/// Cost of a text besides the bytes, in bytes: a cache miss.
const LOOK: usize = 128;
/// Cost of a block without texts.
pub const STEP: usize = 8;

/// Texts by trigram.
pub struct Trigrams {
    /// Blocks by hashed trigram.
    postings: HashTable<TrigramSet>,
    blocks: Vec<TrigramBlock>,
    /// Blocks to rebuild, each with the folded texts that were removed and still have trigrams.
    marked: BTreeMap<u32, Vec<Box<str>>>,
    /// Block where the next build starts, so that low blocks that change often do not starve
    /// others.
    at: u32,
    /// Bytes of all postings when last measured.
    bytes: usize,
    seed: u64,
}

struct TrigramSet {
    number: u32,
    /// Bytes when last measured, and changes since.
    bytes: u32,
    changes: u32,
    blocks: RoaringBitmap,
}

/// A bit for each text of a block.
#[derive(Clone, Copy, Default)]
struct TrigramBlock {
    present: u8,
    /// Texts whose trigrams are in the postings.
    built: u8,
}

impl Trigrams {
    /// An empty index; the secret `seed` prevents chosen collisions of trigrams.
    pub fn new(seed: u64) -> Trigrams {
        Trigrams {
            postings: HashTable::new(),
            blocks: Vec::new(),
            marked: BTreeMap::new(),
            at: 0,
            bytes: 0,
            seed,
        }
    }

    /// Add the text of this number, unless known.
    pub fn add(&mut self, id: u32) {
        let (block, bit) = place(id);
        if self.blocks.len() <= block as usize {
            self.blocks.resize(block as usize + 1, TrigramBlock::default());
        }
        let state = &mut self.blocks[block as usize];
        if state.present & bit == 0 {
            state.present |= bit;
            self.marked.entry(block).or_default();
        }
    }

    /// Remove a text; the number may be reused.
    pub fn remove<T: Text + ?Sized>(&mut self, id: u32, text: &T) {
        let (block, bit) = place(id);
        let Some(state) =
            self.blocks.get_mut(block as usize).filter(|state| state.present & bit != 0)
        else {
            return;
        };
        state.present &= !bit;
        if state.built & bit != 0 {
            state.built &= !bit;
            let mut folded = String::new();
            fold_text(text, &mut folded);
            self.marked.entry(block).or_default().push(folded.into());
        }
    }

    /// True without marked blocks.
    pub fn is_built(&self) -> bool {
        self.marked.is_empty()
    }

    /// Build marked blocks within `effort`, in bytes of text. True if some are left.
    pub fn build<'t, T: Text + ?Sized + 't>(
        &mut self,
        effort: &mut usize,
        texts: impl Fn(u32) -> Option<&'t T>,
    ) -> bool {
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
                // A text that is already built only tells which trigrams of removed texts must
                // stay.
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
            for folded in &left {
                spend(effort, folded.len());
                numbers(folded, self.seed, &mut gone);
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

    /// Number of blocks.
    pub fn blocks(&self) -> u32 {
        u32::try_from(self.blocks.len()).unwrap_or(u32::MAX)
    }

    /// Bits of the existing texts of a block.
    pub fn present(&self, block: u32) -> u8 {
        self.blocks.get(block as usize).map_or(0, |state| state.present)
    }

    /// Marked blocks from `from` on.
    pub fn marked(&self, from: u32) -> btree_map::Range<'_, u32, Vec<Box<str>>> {
        self.marked.range(from..)
    }

    /// Append the hashed trigrams of a folded word.
    pub fn runs(&self, word: &[u8], into: &mut Vec<u32>) {
        runs(word, self.seed, into);
    }

    /// Blocks with this hashed trigram.
    pub fn posting(&self, number: u32) -> Option<&RoaringBitmap> {
        self.postings
            .find(spread(number), |posting| posting.number == number)
            .map(|posting| &posting.blocks)
    }

    fn set(&mut self, number: u32, block: u32) {
        let found = self.postings.entry(
            spread(number),
            |posting| posting.number == number,
            |posting| spread(posting.number),
        );
        let mut found = found.or_insert_with(|| TrigramSet {
            number,
            bytes: 0,
            changes: 0,
            blocks: RoaringBitmap::new(),
        });
        let posting = found.get_mut();
        if posting.blocks.insert(block) {
            posting.measure(&mut self.bytes);
        }
    }

    fn clear(&mut self, number: u32, block: u32) {
        if let Ok(mut found) =
            self.postings.find_entry(spread(number), |posting| posting.number == number)
        {
            let posting = found.get_mut();
            posting.blocks.remove(block);
            posting.measure(&mut self.bytes);
            if posting.blocks.is_empty() {
                self.bytes -= posting.bytes as usize;
                found.remove();
            }
        }
    }

    /// Bytes taken, without removed texts that wait for a build.
    pub fn memory(&self) -> usize {
        self.postings.allocation_size()
            + self.bytes
            + self.blocks.capacity() * size_of::<TrigramBlock>()
    }
}

impl TrigramSet {
    /// Measure now and then, so that the total is always known.
    fn measure(&mut self, all: &mut usize) {
        self.changes += 1;
        if self.changes < 4 + self.bytes / 64 {
            return;
        }
        self.changes = 0;
        let found = self.blocks.statistics();
        // Each container is a vector beside its key. The statistics count four bytes for each array
        // entry, and bits for bitmaps.
        let containers = u64::from(found.n_containers) * 40;
        let bytes = containers
            + found.n_bytes_array_containers / 2
            + u64::from(found.n_bitset_containers) * 8_192
            + found.n_bytes_run_containers;
        *all -= self.bytes as usize;
        self.bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        *all += self.bytes as usize;
    }
}

/// Block of a text, and the bit there.
fn place(id: u32) -> (u32, u8) {
    (id / BLOCK, 1 << (id % BLOCK))
}

/// Texts whose bits are set.
pub fn members(block: u32, bits: u8) -> impl Iterator<Item = u32> {
    (0..BLOCK).filter(move |at| bits & 1 << at != 0).map(move |at| block * BLOCK + at)
}

/// Subtract the cost of a text from a budget.
pub fn spend(effort: &mut usize, bytes: usize) {
    *effort = effort.saturating_sub(LOOK + bytes);
}

/// Hashed trigrams of a folded text, part by part.
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

/// Spread a hashed trigram over a word; the seed has randomized its bits already.
fn spread(number: u32) -> u64 {
    u64::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::candidate_scan::{CandidateScan, ScanStep};
    use crate::index::matcher::{FuzzyPattern, Pattern, Words};
    use crate::index::text_folding::fold;
    use proptest::prelude::*;

    fn words(query: &str) -> Option<Pattern> {
        Words::new(query).map(Pattern::Words)
    }

    impl Text for String {
        fn parts(&self) -> impl Iterator<Item = &str> {
            self.split('|')
        }
    }

    /// Texts by number, and their trigrams.
    struct World {
        texts: Vec<Option<String>>,
        grams: Trigrams,
    }

    impl World {
        fn new(texts: &[&str]) -> World {
            let mut world = World { texts: Vec::new(), grams: Trigrams::new(1) };
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
                self.grams.remove(u32::try_from(id).unwrap(), &old);
            }
            if text.is_some() {
                self.grams.add(u32::try_from(id).unwrap());
            }
        }

        fn build(&mut self, mut effort: usize) -> bool {
            let texts = &self.texts;
            self.grams.build(&mut effort, |id| texts.get(id as usize)?.as_ref())
        }

        /// All matches, found with a small budget for each step.
        fn find(&self, query: &str, slice: usize) -> Vec<u32> {
            words(query).map_or(Vec::new(), |query| self.all(&query, slice))
        }

        fn all(&self, query: &Pattern, slice: usize) -> Vec<u32> {
            let (mut found, mut from) = (Vec::new(), 0);
            loop {
                let (mut effort, mut walk) = (
                    slice,
                    CandidateScan::new(&self.grams, query, from, u32::MAX, &mut slice.clone()),
                );
                loop {
                    match walk.step(&mut effort, |id| self.texts.get(id as usize)?.as_ref()) {
                        ScanStep::Match(id, _) => found.push(id),
                        ScanStep::End => return found,
                        ScanStep::Pause(id) => {
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
            // A dash alone is ignored.
            let words: Vec<&str> = query.split_whitespace().filter(|word| *word != "-").collect();
            let has = |text: &str, word: &str| {
                text.split('|').any(|part| plain(part).contains(&plain(word)))
            };
            let matches = |text: &str| {
                words.iter().all(|word| match word.strip_prefix('-') {
                    Some(rest) => plain(rest).is_empty() || !has(text, rest),
                    None => has(text, word),
                })
            };
            let wanted = words.iter().any(|word| !word.starts_with('-') && !plain(word).is_empty());
            let ids = (0..).zip(&self.texts);
            ids.filter(|(_, text)| wanted && text.as_ref().is_some_and(|text| matches(text)))
                .map(|(id, _)| id)
                .collect()
        }
    }

    #[test]
    fn words_match_in_any_order_case_and_accents() {
        let mut world = World::new(&[
            "Aula de Vídeo.mkv",
            "VIDEO.MP4",
            "Ελληνικός ΘΈΑΤΡΟΣ",
            "İstanbul",
            "Ação e Reação",
            "日本語ガイド",
            "हिन्दी",
        ]);
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
    fn short_words_match_and_excluded_words_exclude() {
        let mut world = World::new(&["ab", "b", "abc-d", "abd", "-x"]);
        for _ in 0..2 {
            for (query, found) in [
                ("b", &[0, 1, 2, 3][..]),
                ("ab", &[0, 2, 3]),
                ("ab -abd", &[0, 2]),
                ("b -a", &[1]),
                ("c-d", &[2]),
                ("ab -", &[0, 2, 3]),
                ("ab – b", &[0, 2, 3]),
            ] {
                assert_eq!(world.find(query, usize::MAX), found, "{query}");
            }
            world.build(usize::MAX);
        }
        for query in ["", "  ", "-ab", "\u{301}", "-", "–", "- -", "\"", "\"\"", "-\"a b\""] {
            assert!(words(query).is_none(), "{query:?}");
        }
    }

    #[test]
    fn a_phrase_is_found_as_it_stands() {
        let mut world = World::new(&[
            "The Dark Knight",
            "Knight in the dark",
            "dark  knight \"x\"",
            "12\" mix",
        ]);
        for _ in 0..2 {
            for (query, found) in [
                ("\"dark knight\"", &[0][..]),
                ("“DARK  Knight”", &[0]),
                ("dark -\"the dark\"", &[2]),
                ("\"the dark\" knight", &[0, 1]),
                ("\"dark kni", &[0, 1, 2]),
                ("12\" mix", &[3]),
                ("12” mix", &[3]),
                ("\"-\" knight", &[0, 1, 2]),
            ] {
                assert_eq!(world.find(query, usize::MAX), found, "{query}");
            }
            world.build(usize::MAX);
        }
    }

    #[test]
    fn a_word_matches_within_one_part_of_a_text() {
        let mut world = World::new(&["matrix|dublado"]);
        for _ in 0..2 {
            assert_eq!(world.find("matrix dublado", usize::MAX), [0]);
            assert_eq!(world.find("ixdub", usize::MAX), [0; 0]);
            world.build(usize::MAX);
        }
    }

    #[test]
    fn removed_texts_leave_no_trigrams() {
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
        assert_eq!(
            (world.grams.postings.len(), world.grams.marked.len(), world.grams.blocks.len()),
            (0, 0, 5)
        );
        // A text that changes all the time takes no more than its last state.
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
        // A rare word is found without a look at the other texts.
        let (query, mut effort) = (words("499").unwrap(), 10_000);
        let step = CandidateScan::new(&world.grams, &query, 0, u32::MAX, &mut 0)
            .step(&mut effort, |id| world.texts[id as usize].as_ref());
        assert_eq!(step, ScanStep::Match(499, 0));
        assert!(effort > 8_000);
    }

    /// The longest allowed query, of trigrams that all names have, costs no more than some look-ups
    /// for each range.
    #[test]
    fn a_long_query_with_errors_costs_no_more_than_a_short_one() {
        let word = |seed: u32| -> String {
            (0..6)
                .map(|at| char::from(b'a' + u8::try_from((spread(seed) >> (at * 5)) % 26).unwrap()))
                .collect()
        };
        let texts: Vec<String> = (0..20_000)
            .map(|number| {
                format!("{} {} {}", word(number % 200), word(number % 190 + 7), word(number))
            })
            .collect();
        let mut world = World::new(&texts.iter().map(String::as_str).collect::<Vec<_>>());
        world.build(usize::MAX);
        let cost = |query: &str| {
            let pattern = Pattern::Like(FuzzyPattern::new(query).unwrap());
            let mut effort = usize::MAX;
            let mut walk = CandidateScan::new(&world.grams, &pattern, 0, u32::MAX, &mut effort);
            while let ScanStep::Match(..) =
                walk.step(&mut effort, |id| world.texts[id as usize].as_ref())
            {}
            usize::MAX - effort
        };
        let long: Vec<String> = (0..180).map(word).collect();
        let (short, long) = (cost(&word(19_999)), cost(&long.join(" ")));
        assert!(long < 4 * short.max(100_000), "{long} against {short}");
        // A long name is found by itself, with typing errors.
        let name: String = (0..40).map(|number| word(number) + " ").collect();
        world.set(5, Some(&name));
        let like = Pattern::Like(FuzzyPattern::new(&name.replacen('a', "", 3)).unwrap());
        assert_eq!(world.all(&like, usize::MAX), [5]);
    }

    #[test]
    fn the_number_of_trigrams_is_bounded() {
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

        /// Random operations agree with a linear scan, reused numbers included.
        #[test]
        fn random_searches_agree_with_a_naive_search(
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
                if let Some(like) = FuzzyPattern::new(&query) {
                    let all: Vec<u32> = (0..).zip(&world.texts).filter(|(_, text)| text.as_ref().is_some_and(|text| {
                        let mut folded = String::new();
                        fold_text(text, &mut folded);
                        Pattern::Like(FuzzyPattern::new(&query).unwrap()).rank(&folded).is_some()
                    })).map(|(id, _)| id).collect();
                    prop_assert_eq!(world.all(&Pattern::Like(like), slice), all, "like {}", query);
                }
            }
        }
    }
}
