//! Match texts against words, or against words with typing errors. Both sides are folded first, so
//! case and accents do not matter.

use memchr::memmem::Finder;

use crate::index::text_folding::{LATIN_LEAD, fold, is_of_word, latin_byte};

/// Longest word in which typing errors are corrected, in letters; a longer word must match exactly.
const LETTERS: usize = 64;
/// Most errors of all words together. The limit bounds the trigrams that a text may lack, and so
/// the cost of a search.
const MISTAKES: usize = 8;
/// Trigrams that so many errors change at most: a swap of two letters of three bytes changes eight.
const LACKING: usize = 8 * MISTAKES;
/// Trigrams of all words, above which swapped letters are not considered: the rest of a long query
/// is enough to find it.
const MANY_RUNS: usize = 96;
/// Length of words for which a swap of two letters is considered, in letters: the trigrams of short
/// words do not survive a swap.
const SWAPPED: std::ops::RangeInclusive<usize> = 3..=7;
/// Factor of errors over length in a rank.
const LENGTHS: u32 = 1 << 11;
/// Places of the table of trigrams for each trigram.
const SPARSE: usize = 2;
/// Spreads the bits of a trigram.
const SPREAD: u32 = 0x9e37_79b1;
/// Words of the filter before that table: 4,096 bits for some hundred trigrams.
const FILTER: usize = 64;

pub trait Text {
    /// Parts of the text; no word crosses from one into the next.
    fn parts(&self) -> impl Iterator<Item = &str>;
}

impl Text for str {
    fn parts(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self)
    }
}

/// A query prepared for comparison with texts.
pub enum Pattern {
    /// Match every text.
    All,
    /// Words to contain, and words to lack.
    Words(Words),
    /// Words with typing errors.
    Like(FuzzyPattern),
}

/// Words that must be contained, in any order, and words that must not.
pub struct Words {
    wanted: Vec<Finder<'static>>,
    unwanted: Vec<Finder<'static>>,
}

/// Words with typing errors.
///
/// A candidate has a third of their trigrams, or all but [`LACKING`] if that is more. The words
/// together must be within a third of their letters, and within [`MISTAKES`], of words of the text.
pub struct FuzzyPattern {
    words: Vec<Word>,
    /// All trigrams: those of the words, then those of swapped variants of short words.
    runs: Vec<[u8; 3]>,
    /// Number of trigrams of the words.
    plain: usize,
    table: RunTable,
    /// Trigrams that a text must have.
    need: usize,
    /// Trigrams of the words that one error changes at most.
    lost: usize,
    /// Number of letters.
    letters: usize,
}

/// Trigrams that a candidate has at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunNeed {
    /// Of all trigrams.
    pub all: usize,
    /// Of those of the words.
    pub plain: usize,
}

/// Places of trigrams by their bytes.
struct RunTable {
    /// A bit for each trigram by its hash: nearly all trigrams of texts are rejected by these.
    filter: Box<[u64; FILTER]>,
    /// A trigram plus one, and its number; zero is an empty place.
    slots: Vec<(u32, u32)>,
    shift: u32,
}

struct Word {
    letters: Vec<char>,
    finder: Finder<'static>,
}

impl Words {
    /// Parse words between blanks and phrases between quotes; a leading dash excludes. `None`
    /// without a word to contain.
    pub fn new(text: &str) -> Option<Words> {
        let mut words = Words { wanted: Vec::new(), unwanted: Vec::new() };
        let mut folded = String::new();
        fold(text, &mut folded);
        for term in Terms(&folded) {
            let list = if term.is_unwanted { &mut words.unwanted } else { &mut words.wanted };
            let needle: Vec<&str> = term.text.split_whitespace().collect();
            list.push(Finder::new(&needle.join(" ")).into_owned());
        }
        (!words.wanted.is_empty()).then_some(words)
    }

    /// The words to contain.
    pub fn wanted(&self) -> impl Iterator<Item = &[u8]> {
        self.wanted.iter().map(Finder::needle)
    }

    /// True if a folded text matches.
    pub fn matches(&self, folded: &str) -> bool {
        let has = |word: &Finder<'_>| word.find(folded.as_bytes()).is_some();
        self.wanted.iter().all(has) && !self.unwanted.iter().any(has)
    }
}

struct Term<'a> {
    text: &'a str,
    is_unwanted: bool,
}

/// Terms of the rest of a folded query; skips a lone dash or quote.
struct Terms<'a>(&'a str);

impl<'a> Iterator for Terms<'a> {
    type Item = Term<'a>;

    fn next(&mut self) -> Option<Term<'a>> {
        loop {
            let rest = self.0.trim_start();
            if rest.is_empty() {
                return None;
            }
            let is_unwanted = rest.starts_with('-');
            let body = rest.strip_prefix('-').unwrap_or(rest);
            let word = body.split(char::is_whitespace).next().unwrap_or_default();
            // A quote opens a phrase if another closes the phrase before a blank or the end.
            let phrase = body.strip_prefix('"').and_then(|body| {
                let ends = body.match_indices('"').map(|(end, _)| body.split_at(end));
                ends.map(|(phrase, rest)| (phrase, &rest[1..]))
                    .find(|(_, rest)| rest.is_empty() || rest.starts_with(char::is_whitespace))
            });
            let (text, after) = match phrase {
                Some((phrase, after)) => (phrase.trim(), after),
                None => (word.strip_prefix('"').unwrap_or(word), &body[word.len()..]),
            };
            self.0 = after;
            if !text.trim_matches(['-', ' ']).is_empty() {
                return Some(Term { text, is_unwanted });
            }
        }
    }
}

impl FuzzyPattern {
    /// Split words at other characters than letters and digits. `None` without a word of three
    /// bytes.
    pub fn new(text: &str) -> Option<FuzzyPattern> {
        let mut folded = String::new();
        fold(text, &mut folded);
        let mut like = FuzzyPattern {
            words: Vec::new(),
            runs: Vec::new(),
            plain: 0,
            table: RunTable::new(&[]),
            need: 0,
            lost: 0,
            letters: 0,
        };
        for word in alphanumeric(&folded) {
            like.runs.extend(runs(word.as_bytes()));
            let letters: Vec<char> = word.chars().collect();
            like.letters += letters.len();
            like.lost = like.lost.max(lost(&letters));
            like.words.push(Word { letters, finder: Finder::new(word).into_owned() });
        }
        like.runs.sort_unstable();
        like.runs.dedup();
        like.plain = like.runs.len();
        like.need = like.plain.div_ceil(3).max(like.plain.saturating_sub(LACKING));
        let is_long = like.runs.len() > MANY_RUNS;
        let mut others = Vec::new();
        for word in
            like.words.iter().filter(|word| !is_long && SWAPPED.contains(&word.letters.len()))
        {
            for at in 1..word.letters.len() {
                let mut swapped = word.letters.clone();
                swapped.swap(at - 1, at);
                others.extend(runs(String::from_iter(swapped).as_bytes()));
            }
        }
        others.sort_unstable();
        others.dedup();
        others.retain(|run| like.runs.binary_search(run).is_err());
        like.runs.extend(others);
        like.table = RunTable::new(&like.runs);
        (like.need > 0).then_some(like)
    }

    /// Trigrams, the number of those of the words among them, which come first, and the numbers
    /// that a text of at most this rank needs.
    pub fn runs(&self, worst: u32) -> (&[[u8; 3]], usize, RunNeed) {
        (&self.runs, self.plain, self.needed(self.mistakes(worst)))
    }

    /// Most errors of a text of at most this rank.
    fn mistakes(&self, worst: u32) -> usize {
        let most = (self.letters / 3).min(MISTAKES);
        usize::try_from(worst / LENGTHS).map_or(most, |mistakes| mistakes.min(most))
    }

    fn needed(&self, mistakes: usize) -> RunNeed {
        RunNeed { all: self.need, plain: self.plain.saturating_sub(self.lost * mistakes) }
    }

    /// Rank of a folded text, if it is at most `worst`: fewer errors first, then shorter texts.
    /// Also the cost of the comparison, in bytes of text.
    fn rank(&self, folded: &str, worst: u32) -> (Option<u32>, usize) {
        let length = u32::try_from(folded.len()).unwrap_or(LENGTHS).min(LENGTHS - 1);
        let mut most = self.mistakes(worst);
        if most * LENGTHS as usize + length as usize > worst as usize {
            match most.checked_sub(1) {
                Some(fewer) => most = fewer,
                None => return (None, 0),
            }
        }
        if !self.has_runs(folded.as_bytes(), self.needed(most)) {
            return (None, folded.len());
        }
        let cost = folded.len() + folded.len() * self.letters / 8;
        let mut left = most;
        for word in &self.words {
            match left.checked_sub(word.mistakes(folded, left)) {
                Some(fewer) => left = fewer,
                None => return (None, cost),
            }
        }
        let mistakes = u32::try_from(most - left).unwrap_or(u32::MAX / LENGTHS);
        (Some(mistakes * LENGTHS + length), cost)
    }

    /// False if a text has too few trigrams for this rank; `None` if only the folded text can tell.
    /// Folds the usual letters on the way, for nearly all candidates are rejected here.
    fn may_match(&self, text: &[u8], worst: u32) -> Option<bool> {
        let need = self.needed(self.mistakes(worst));
        let mut seen = [0_u64; 16];
        if self.runs.len() > 64 * seen.len() {
            return None;
        }
        let (mut all, mut plain) = (0, 0);
        // Before two letters, the trigram has zeros, which no trigram of a word has.
        let mut run = 0_u32;
        let mut bytes = text.iter();
        while let Some(byte) = bytes.next() {
            let letter = match byte {
                0..=0x7f => byte.to_ascii_lowercase(),
                &LATIN_LEAD => latin_byte(*bytes.next()?)?,
                _ => return None,
            };
            run = (run << 8 | u32::from(letter)) & 0x00ff_ffff;
            let Some(at) = self.table.find(run) else { continue };
            let word = seen.get_mut(at / 64)?;
            if *word & 1 << (at % 64) == 0 {
                *word |= 1 << (at % 64);
                all += 1;
                plain += usize::from(at < self.plain);
                if all >= need.all && plain >= need.plain {
                    return Some(true);
                }
            }
        }
        Some(false)
    }

    fn has_runs(&self, folded: &[u8], need: RunNeed) -> bool {
        // A text with fewer bytes than this has fewer trigrams.
        if folded.len() < need.all.max(need.plain) {
            return false;
        }
        // A bitmap counts each trigram once; beyond the size of the bitmap, a linear search does.
        let mut seen = [0_u64; 16];
        let (mut all, mut plain) = (0, 0);
        let [mut run, mut next] = [0_u32, 0];
        for byte in folded {
            run = (run << 8 | u32::from(*byte)) & 0x00ff_ffff;
            next += 1;
            if next < 3 {
                continue;
            }
            let Some(at) = self.table.find(run) else { continue };
            let Some(word) = seen.get_mut(at / 64) else { continue };
            if *word & 1 << (at % 64) == 0 {
                *word |= 1 << (at % 64);
                all += 1;
                plain += usize::from(at < self.plain);
                if all >= need.all && plain >= need.plain {
                    return true;
                }
            }
        }
        for (at, run) in self.runs.iter().enumerate().skip(64 * seen.len()) {
            if folded.windows(3).any(|here| here == run.as_slice()) {
                all += 1;
                plain += usize::from(at < self.plain);
            }
        }
        all >= need.all && plain >= need.plain
    }
}

impl RunTable {
    fn new(runs: &[[u8; 3]]) -> RunTable {
        let bits = (runs.len() * SPARSE).max(2).next_power_of_two().trailing_zeros();
        let mut table = RunTable {
            filter: Box::new([0; FILTER]),
            slots: vec![(0, 0); 1 << bits],
            shift: u32::BITS - bits,
        };
        for (number, [a, b, c]) in (0..).zip(runs) {
            let run = u32::from_be_bytes([0, *a, *b, *c]);
            let (word, bit) = filter_place(run);
            table.filter[word] |= bit;
            let key = run + 1;
            let mut at = table.place(key);
            while table.slots[at].0 != 0 {
                at = (at + 1) % table.slots.len();
            }
            table.slots[at] = (key, number);
        }
        table
    }

    fn place(&self, key: u32) -> usize {
        (key.wrapping_mul(SPREAD) >> self.shift) as usize
    }

    /// The number of a trigram, three bytes in one number.
    #[inline]
    fn find(&self, run: u32) -> Option<usize> {
        let (word, bit) = filter_place(run);
        if self.filter[word] & bit == 0 { None } else { self.find_slot(run) }
    }

    fn find_slot(&self, run: u32) -> Option<usize> {
        let key = run + 1;
        let mut at = self.place(key);
        loop {
            match self.slots[at] {
                (0, _) => return None,
                (known, number) if known == key => return usize::try_from(number).ok(),
                _ => at = (at + 1) & (self.slots.len() - 1),
            }
        }
    }
}

/// Word of the filter, and the bit there.
fn filter_place(run: u32) -> (usize, u64) {
    let hash = run.wrapping_mul(SPREAD) >> 20;
    ((hash >> 6) as usize % FILTER, 1 << (hash % 64))
}

impl Word {
    /// Errors of the nearest word of a text; more than `most` if no word is that near.
    fn mistakes(&self, folded: &str, most: usize) -> usize {
        if self.finder.find(folded.as_bytes()).is_some() {
            return 0;
        }
        let mut best = most + 1;
        if self.letters.len() <= LETTERS {
            for word in alphanumeric(folded) {
                let mut letters = ['\0'; LETTERS];
                let mut count = 0;
                for letter in word.chars() {
                    if count == LETTERS {
                        count = usize::MAX;
                        break;
                    }
                    letters[count] = letter;
                    count += 1;
                }
                if count <= LETTERS && count.abs_diff(self.letters.len()) < best {
                    best = best.min(distance(&self.letters, &letters[..count], best));
                }
            }
        }
        // A missing word costs all letters.
        best.min(self.letters.len())
    }
}

impl Pattern {
    /// True if texts have to be read.
    pub fn reads(&self) -> bool {
        !matches!(self, Pattern::All)
    }

    /// True if a text, not folded, surely has no rank up to `worst`.
    pub fn excludes(&self, text: &[u8], worst: u32) -> bool {
        match self {
            Pattern::All | Pattern::Words(_) => false,
            Pattern::Like(like) => like.may_match(text, worst) == Some(false),
        }
    }

    /// Rank of a folded text that matches; 0 for unranked patterns.
    pub fn rank(&self, folded: &str) -> Option<u32> {
        self.rank_within(folded, u32::MAX).0
    }

    /// Rank of a folded text that matches, if it is at most `worst`, and the cost of the
    /// comparison, in bytes of text.
    pub fn rank_within(&self, folded: &str, worst: u32) -> (Option<u32>, usize) {
        match self {
            Pattern::All => (Some(0), 0),
            Pattern::Words(words) => {
                let count = words.wanted.len() + words.unwanted.len();
                (words.matches(folded).then_some(0), folded.len() * count / 8)
            }
            Pattern::Like(like) => like.rank(folded, worst),
        }
    }
}

/// Trigrams that one error in a word changes at most: all that have a byte of the letter, or of
/// both swapped letters.
fn lost(letters: &[char]) -> usize {
    let bytes = |letters: &[char]| letters.iter().map(|letter| letter.len_utf8()).sum::<usize>();
    letters.windows(2).map(bytes).max().unwrap_or_else(|| bytes(letters)) + 2
}

/// Letters to change, add, remove or swap with a neighbour, up to `most`.
fn distance(a: &[char], b: &[char], most: usize) -> usize {
    // Bytes, for the rows are copied; a distance is at most the longer of both lengths.
    let (mut before, mut last, mut row) = ([0_u8; LETTERS + 1], [0; LETTERS + 1], [0; LETTERS + 1]);
    for (at, cell) in (0..).zip(&mut last[..=b.len()]) {
        *cell = at;
    }
    for (i, x) in a.iter().enumerate() {
        row[0] = last[0] + 1;
        let mut least = row[0];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + u8::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
            least = least.min(cost);
        }
        if usize::from(least) >= most {
            return most;
        }
        (before, last) = (last, row);
    }
    usize::from(last[b.len()]).min(most)
}

fn runs(bytes: &[u8]) -> impl Iterator<Item = [u8; 3]> {
    bytes.windows(3).map(|run| [run[0], run[1], run[2]])
}

fn alphanumeric(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !is_of_word(letter)).filter(|word| !word.is_empty())
}

/// Fold all parts of a text, each on a line; returns the cost.
pub fn fold_text<T: Text + ?Sized>(text: &T, folded: &mut String) -> usize {
    folded.clear();
    let mut cost = 0;
    for part in text.parts() {
        cost += fold(part, folded);
        folded.push('\n');
    }
    cost
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn rank(query: &str, text: &str) -> Option<u32> {
        let mut folded = String::new();
        fold(text, &mut folded);
        FuzzyPattern::new(query).unwrap().rank(&folded, u32::MAX).0
    }

    #[test]
    fn words_with_typing_errors_match() {
        for (query, text) in [
            ("matrx", "The Matrix (1999).mkv"),
            ("viedo", "Vídeo 1.mp4"),
            ("VIDIO aula", "Aula de Vídeo.mkv"),
            ("algbra liner", "Álgebra Linear - aula 1.mp4"),
            ("reloded matirx", "matrix.reloaded.2003.mkv"),
            ("matrix", "thematrix.mkv"),
            // Two letters of Han have enough bytes for a trigram, one as well.
            ("東京", "小津安二郎 東京物語.mkv"),
            ("猫", "我是猫.epub"),
            ("ปู", "ปูม้า.mp4"),
            ("हिन्दी", "हिन्दी गीत.mp3"),
        ] {
            assert!(rank(query, text).is_some(), "{query} in {text}");
        }
        for (query, text) in [
            ("matrx", "Metropolis.mkv"),
            ("video", "audio.mp3"),
            ("aula algebra", "aula historia.mp4"),
            ("matrix", "tricks.mkv"),
            ("東京", "京東.mkv"),
            ("ปู", "ปลา.mp4"),
        ] {
            assert_eq!(rank(query, text), None, "{query} in {text}");
        }
        assert!(FuzzyPattern::new("a b").is_none() && FuzzyPattern::new("--- ..").is_none());
    }

    #[test]
    fn fewer_errors_rank_first_then_shorter_texts() {
        let texts = ["matrix.mkv", "the matrix.mkv", "matric.mkv", "the matriz x.mkv"];
        let ranks: Vec<u32> = texts.iter().map(|text| rank("matrix", text).unwrap()).collect();
        assert!(ranks.is_sorted(), "{ranks:?}");
    }

    #[test]
    fn a_swap_of_neighbours_is_one_error() {
        let far = |a: &str, b: &str, most| {
            distance(&a.chars().collect::<Vec<_>>(), &b.chars().collect::<Vec<_>>(), most)
        };
        assert_eq!(
            [far("abc", "abc", 9), far("abc", "acb", 9), far("abc", "", 9), far("", "ab", 9)],
            [0, 1, 3, 2]
        );
        assert_eq!(
            [far("kitten", "sitting", 9), far("kitten", "sitting", 2), far("vídeo", "video", 5)],
            [3, 2, 1]
        );
        let long: String = "x".repeat(LETTERS);
        assert_eq!((far(&long, &long, 9), far(&long, "y", 200)), (0, LETTERS));
    }

    #[test]
    fn long_words_and_many_trigrams_are_handled() {
        let long = "abcdefghijklmnopqrstuvwxyz0123456789".repeat(30);
        assert!(rank(&long, &long).is_some());
        assert_eq!(rank(&long, "abc"), None);
        assert!(rank("matrix", &"x".repeat(1_000)).is_none());
    }

    /// Rank by the definition alone: no table, no filter, no early end.
    fn naive_rank(query: &str, text: &str) -> Option<u32> {
        let folded = |text: &str| {
            let mut folded = String::new();
            fold(text, &mut folded);
            folded
        };
        let (query, text) = (folded(query), folded(text));
        let of_word = |text: &str| -> Vec<Vec<char>> {
            let words = text.split(|letter| !is_of_word(letter)).filter(|word| !word.is_empty());
            words.map(|word| word.chars().collect()).collect()
        };
        let words = of_word(&query);
        let trigrams = |letters: &[char]| -> BTreeSet<[u8; 3]> {
            runs(String::from_iter(letters).as_bytes()).collect()
        };
        let mut wanted: BTreeSet<[u8; 3]> =
            words.iter().flat_map(|letters| trigrams(letters)).collect();
        let need = wanted.len().div_ceil(3).max(wanted.len().saturating_sub(LACKING));
        if wanted.len() <= MANY_RUNS {
            for word in words.iter().filter(|word| SWAPPED.contains(&word.len())) {
                for at in 1..word.len() {
                    let mut swapped = word.clone();
                    swapped.swap(at - 1, at);
                    wanted.extend(trigrams(&swapped));
                }
            }
        }
        let here: BTreeSet<[u8; 3]> = runs(text.as_bytes()).collect();
        if need == 0 || wanted.intersection(&here).count() < need {
            return None;
        }
        let texts = of_word(&text);
        let mistakes: usize = words
            .iter()
            .map(|word| {
                if text.contains(&String::from_iter(word)) {
                    return 0;
                }
                texts
                    .iter()
                    .map(|other| naive_distance(word, other))
                    .min()
                    .unwrap_or(usize::MAX)
                    .min(word.len())
            })
            .sum();
        let letters: usize = words.iter().map(Vec::len).sum();
        let most = (letters / 3).min(MISTAKES);
        let length = u32::try_from(text.len()).unwrap().min(LENGTHS - 1);
        (mistakes <= most).then(|| u32::try_from(mistakes).unwrap() * LENGTHS + length)
    }

    fn naive_distance(a: &[char], b: &[char]) -> usize {
        let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
        for i in 0..=a.len() {
            for j in 0..=b.len() {
                rows[i][j] = if i == 0 || j == 0 {
                    i + j
                } else {
                    let other = usize::from(a[i - 1] != b[j - 1]);
                    let mut cost = (rows[i - 1][j - 1] + other)
                        .min(rows[i - 1][j] + 1)
                        .min(rows[i][j - 1] + 1);
                    if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                        cost = cost.min(rows[i - 2][j - 2] + 1);
                    }
                    cost
                };
            }
        }
        rows[a.len()][b.len()]
    }

    /// A query with these errors, as places and letters.
    fn mistaken(text: &str, errors: &[(usize, char, u8)]) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        for (place, letter, kind) in errors {
            if letters.len() < 2 {
                break;
            }
            let at = place % (letters.len() - 1);
            match kind % 4 {
                0 => letters[at] = *letter,
                1 => letters.insert(at, *letter),
                2 => drop(letters.remove(at)),
                _ => letters.swap(at, at + 1),
            }
        }
        letters.into_iter().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

        /// A rank is that of the definition at any limit, and no text is excluded that has one.
        #[test]
        fn ranks_are_those_of_the_definition_up_to_any_limit(
            text in "[abcdeÉñø東京𝒳م1-3 ._]{1,30}",
            errors in proptest::collection::vec((any::<usize>(), "[abé東 2]".prop_map(|letter| letter.chars().next().unwrap()), any::<u8>()), 0..7),
            other in "[abcdeé東1 ]{3,12}",
            limits in proptest::collection::vec(0..20_000_u32, 3),
        ) {
            for query in [mistaken(&text, &errors), other] {
                let rank = naive_rank(&query, &text);
                let Some(like) = FuzzyPattern::new(&query) else {
                    prop_assert_eq!(rank, None, "{} in {}", query, text);
                    continue;
                };
                let like = Pattern::Like(like);
                let mut folded = String::new();
                fold_text(text.as_str(), &mut folded);
                // The end of a part counts as a letter of the length.
                let rank = rank.map(|rank| rank + 1);
                let near = rank.map_or(vec![], |rank| vec![rank - 1, rank, rank + 1]);
                for worst in limits.iter().copied().chain(near).chain([u32::MAX]) {
                    let known = rank.filter(|rank| *rank <= worst);
                    prop_assert_eq!(like.rank_within(&folded, worst).0, known, "{} in {}", query, text);
                    prop_assert!(known.is_none() || !like.excludes(text.as_bytes(), worst), "{} in {}", query, text);
                }
            }
        }
    }
}
