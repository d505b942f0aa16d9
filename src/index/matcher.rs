//! Match texts against words, or against words with typing errors. Both sides are folded first, so
//! case and accents do not matter.

use memchr::memmem::Finder;

use crate::index::text_folding::{fold, is_of_word};

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
    /// All trigrams, in order, with swapped variants of short words.
    runs: Vec<[u8; 3]>,
    /// Trigrams that a text must have.
    need: usize,
    /// Number of letters.
    letters: usize,
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
        let mut like = FuzzyPattern { words: Vec::new(), runs: Vec::new(), need: 0, letters: 0 };
        for word in alphanumeric(&folded) {
            like.runs.extend(runs(word.as_bytes()));
            let letters: Vec<char> = word.chars().collect();
            like.letters += letters.len();
            like.words.push(Word { letters, finder: Finder::new(word).into_owned() });
        }
        like.sort_runs();
        like.need = like.runs.len().div_ceil(3).max(like.runs.len().saturating_sub(LACKING));
        let is_long = like.runs.len() > MANY_RUNS;
        for word in
            like.words.iter().filter(|word| !is_long && SWAPPED.contains(&word.letters.len()))
        {
            for at in 1..word.letters.len() {
                let mut swapped = word.letters.clone();
                swapped.swap(at - 1, at);
                like.runs.extend(runs(String::from_iter(swapped).as_bytes()));
            }
        }
        like.sort_runs();
        (like.need > 0).then_some(like)
    }

    fn sort_runs(&mut self) {
        self.runs.sort_unstable();
        self.runs.dedup();
    }

    /// Trigrams, and the number that a match needs.
    pub fn runs(&self) -> (&[[u8; 3]], usize) {
        (&self.runs, self.need)
    }

    /// Rank of a folded text: fewer errors first, then shorter texts.
    pub fn rank(&self, folded: &str) -> Option<u32> {
        if !self.has_runs(folded.as_bytes()) {
            return None;
        }
        let most = (self.letters / 3).min(MISTAKES);
        let mut left = most;
        for word in &self.words {
            left = left.checked_sub(word.mistakes(folded, left))?;
        }
        let mistakes = u32::try_from(most - left).unwrap_or(u32::MAX / LENGTHS);
        let length = u32::try_from(folded.len()).unwrap_or(LENGTHS).min(LENGTHS - 1);
        Some(mistakes * LENGTHS + length)
    }

    fn has_runs(&self, folded: &[u8]) -> bool {
        if folded.len() < self.need {
            return false;
        }
        // A bitmap counts each trigram once; beyond the size of the bitmap, a linear search does.
        let (mut seen, mut count) = ([0_u64; 16], 0);
        for run in folded.windows(3) {
            let Ok(at) = self.runs.binary_search_by(|known| known.as_slice().cmp(run)) else {
                continue;
            };
            let Some(word) = seen.get_mut(at / 64) else { continue };
            if *word & 1 << (at % 64) == 0 {
                *word |= 1 << (at % 64);
                count += 1;
                if count >= self.need {
                    return true;
                }
            }
        }
        let beyond = self.runs.iter().skip(64 * seen.len());
        count + beyond.filter(|run| folded.windows(3).any(|here| here == run.as_slice())).count()
            >= self.need
    }
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

    /// Rank of a folded text that matches; 0 for unranked patterns.
    pub fn rank(&self, folded: &str) -> Option<u32> {
        match self {
            Pattern::All => Some(0),
            Pattern::Words(words) => words.matches(folded).then_some(0),
            Pattern::Like(like) => like.rank(folded),
        }
    }

    /// Cost of a comparison with so many bytes, without a read.
    pub fn cost(&self, bytes: usize) -> usize {
        match self {
            Pattern::All => 0,
            Pattern::Words(words) => bytes * (words.wanted.len() + words.unwanted.len()) / 8,
            // Too short to have the trigrams: not compared.
            Pattern::Like(like) if bytes < like.need => 0,
            Pattern::Like(like) => bytes + bytes * like.letters / 8,
        }
    }
}

/// Letters to change, add, remove or swap with a neighbour, up to `most`.
fn distance(a: &[char], b: &[char], most: usize) -> usize {
    let (mut before, mut last, mut row) =
        ([0_usize; LETTERS + 1], [0; LETTERS + 1], [0; LETTERS + 1]);
    for (at, cell) in last.iter_mut().enumerate() {
        *cell = at;
    }
    for (i, x) in a.iter().enumerate() {
        row[0] = i + 1;
        let mut least = row[0];
        for (j, y) in b.iter().enumerate() {
            let mut cost = (last[j] + usize::from(x != y)).min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                cost = cost.min(before[j - 1] + 1);
            }
            row[j + 1] = cost;
            least = least.min(cost);
        }
        if least >= most {
            return most;
        }
        (before, last) = (last, row);
    }
    last[b.len()].min(most)
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

    fn rank(query: &str, text: &str) -> Option<u32> {
        let mut folded = String::new();
        fold(text, &mut folded);
        FuzzyPattern::new(query).unwrap().rank(&folded)
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
}
