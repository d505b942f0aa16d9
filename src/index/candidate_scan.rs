//! Scan candidate texts of a pattern, block by block, within a budget.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Range;

use roaring::RoaringBitmap;
use roaring::bitmap::{IntoIter, Iter};

use crate::index::matcher::{FuzzyPattern, Pattern, Text, Words, fold_text};
use crate::index::trigrams::{BLOCK, STEP, Trigrams, members, spend};

/// Bitmaps that are cut with each other: a text that has the rarest eight runs of a query nearly always has the others.
const CUTS: usize = 8;
/// Blocks that are quicker looked at than cut once more.
const FEW: u64 = 16;
/// Blocks in which the runs of a text with errors are counted at once.
const RANGE: u32 = 4_096;
/// Lists besides the first ones in which the blocks of a text with errors are looked for: a block that has so many runs too nearly always has the others.
const VERIFIED: usize = 16;
/// What it costs to look for one block in a bitmap, in bytes of text.
const CONTAINS: usize = 16;

/// Where a walk has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStep {
    /// This text is found, and this is its rank.
    Match(u32, u32),
    /// The effort is spent; this is where to go on.
    Pause(u32),
    /// There is no other.
    End,
}

/// A search that is under way.
pub struct CandidateScan<'a> {
    pattern: &'a Pattern,
    grams: &'a Trigrams,
    indexed: Indexed<'a>,
    marked: Peekable<btree_map::Range<'a, u32, Vec<Box<str>>>>,
    from: u32,
    /// The block that is looked at.
    block: u32,
    /// Its texts that were not looked at yet.
    left: u8,
    /// A text was looked at, or a block without any: it may pause.
    moved: bool,
    folded: String,
}

/// The blocks that may have a text that matches, by their bits.
enum Indexed<'a> {
    All(Range<u32>),
    One(Peekable<Iter<'a>>),
    Cut(Box<Peekable<IntoIter>>),
    Near(FuzzyScan<'a>),
}

/// The blocks that have enough of many runs.
struct FuzzyScan<'a> {
    /// The bitmaps of the runs, short ones first.
    lists: Vec<&'a RoaringBitmap>,
    need: usize,
    /// Where counting goes on.
    at: u32,
    end: u32,
    counts: Vec<u16>,
    /// A range was counted: it may pause.
    counted: bool,
    /// Blocks that were found and not taken yet, the last ones first.
    ready: Vec<u32>,
}

/// What comes next.
enum Next {
    Block(u32),
    /// Nothing below this one, and the effort is spent.
    Pause(u32),
    End,
}

impl<'a> CandidateScan<'a> {
    /// A walk over the texts from number `from` on.
    pub fn new(
        grams: &'a Trigrams,
        pattern: &'a Pattern,
        from: u32,
        effort: &mut usize,
    ) -> CandidateScan<'a> {
        let block = from / BLOCK;
        let indexed = match pattern {
            Pattern::All => Indexed::All(block..grams.blocks()),
            Pattern::Words(words) => cut(grams, words, block, effort),
            Pattern::Like(like) => Indexed::Near(FuzzyScan::new(grams, like, block)),
        };
        CandidateScan {
            pattern,
            grams,
            indexed,
            marked: grams.marked(block).peekable(),
            from,
            block,
            left: 0,
            moved: false,
            folded: String::new(),
        }
    }

    /// Goes on to the next text that is found, as far as `effort`, in bytes of text, allows. Every walk comes forward.
    pub fn step<'t, T: Text + ?Sized + 't>(
        &mut self,
        effort: &mut usize,
        texts: impl Fn(u32) -> Option<&'t T>,
    ) -> ScanStep {
        loop {
            let Some(id) = members(self.block, self.left).next() else {
                let block = match self.next_block(effort) {
                    Next::Block(block) => block,
                    Next::Pause(block) => return ScanStep::Pause(self.from.max(block * BLOCK)),
                    Next::End => return ScanStep::End,
                };
                let before = self.from.saturating_sub(block * BLOCK);
                self.block = block;
                self.left = self.grams.present(block) & u8::MAX.checked_shl(before).unwrap_or(0);
                if self.left == 0 {
                    self.moved = true;
                    *effort = effort.saturating_sub(STEP);
                }
                continue;
            };
            if *effort == 0 && self.moved {
                return ScanStep::Pause(id);
            }
            self.moved = true;
            self.left &= self.left - 1;
            let Some(text) = texts(id) else { continue };
            let mut cost = 0;
            if self.pattern.reads() {
                cost = fold_text(text, &mut self.folded);
                cost += self.pattern.cost(cost);
            }
            spend(effort, cost);
            if let Some(rank) = self.pattern.rank(&self.folded) {
                return ScanStep::Match(id, rank);
            }
        }
    }

    /// The next block that may have a text that matches: by its bits, or because its bits don't tell yet.
    fn next_block(&mut self, effort: &mut usize) -> Next {
        let marked = self.marked.peek().map(|(block, _)| **block);
        let next = match (self.indexed.peek(effort), marked) {
            (Next::Block(block) | Next::Pause(block), Some(marked)) if marked < block => marked,
            (Next::Pause(block), _) => return Next::Pause(block),
            (Next::Block(block), _) => {
                self.indexed.take();
                block
            }
            (Next::End, Some(marked)) => marked,
            (Next::End, None) => return Next::End,
        };
        if *effort == 0 && self.moved {
            return Next::Pause(next);
        }
        if marked == Some(next) {
            self.marked.next();
        }
        Next::Block(next)
    }
}

/// The blocks from `from` on that have the rarest runs of some words; all of them when the words are too short to have any.
fn cut<'a>(grams: &'a Trigrams, words: &Words, from: u32, effort: &mut usize) -> Indexed<'a> {
    let mut wanted = Vec::new();
    for word in words.wanted() {
        grams.runs(word, &mut wanted);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let found: Option<Vec<&RoaringBitmap>> =
        wanted.iter().map(|number| grams.posting(*number)).collect();
    // A run that no block has.
    let Some(mut found) = found else { return Indexed::All(0..0) };
    found.sort_by_cached_key(|blocks| blocks.len());
    let (first, second, others) = match found[..] {
        [] => return Indexed::All(from..grams.blocks()),
        [only] => {
            let mut blocks = only.iter();
            blocks.advance_to(from);
            return Indexed::One(blocks.peekable());
        }
        [first, second, ref others @ ..] => (first, second, others),
    };
    *effort = effort.saturating_sub(cost(first) + cost(second));
    let mut blocks = first & second;
    for other in others.iter().take(CUTS - 2) {
        if blocks.len() <= FEW {
            break;
        }
        *effort = effort.saturating_sub(cost(other));
        blocks &= *other;
    }
    let mut blocks = blocks.into_iter();
    blocks.advance_to(from);
    Indexed::Cut(Box::new(blocks.peekable()))
}

/// What it costs to cut a bitmap with another.
fn cost(blocks: &RoaringBitmap) -> usize {
    usize::try_from(blocks.len() / 32).unwrap_or(usize::MAX)
}

impl Indexed<'_> {
    fn peek(&mut self, effort: &mut usize) -> Next {
        let next = match self {
            Indexed::All(range) => (range.start < range.end).then_some(range.start),
            Indexed::One(blocks) => blocks.peek().copied(),
            Indexed::Cut(blocks) => blocks.peek().copied(),
            Indexed::Near(near) => return near.peek(effort),
        };
        next.map_or(Next::End, Next::Block)
    }

    fn take(&mut self) {
        match self {
            Indexed::All(range) => range.start += 1,
            Indexed::One(blocks) => drop(blocks.next()),
            Indexed::Cut(blocks) => drop(blocks.next()),
            Indexed::Near(near) => drop(near.ready.pop()),
        }
    }
}

impl<'a> FuzzyScan<'a> {
    fn new(grams: &'a Trigrams, like: &FuzzyPattern, from: u32) -> FuzzyScan<'a> {
        let (runs, need) = like.runs();
        let mut numbers = Vec::new();
        for run in runs {
            grams.runs(run, &mut numbers);
        }
        // Runs that share a number count as often as they are: what is found may be too much and never too little.
        let mut lists: Vec<&RoaringBitmap> =
            numbers.iter().filter_map(|number| grams.posting(*number)).collect();
        lists.sort_by_cached_key(|blocks| blocks.len());
        let end = if lists.len() < need { from } else { grams.blocks() };
        // Whatever has enough of all lists has one of the shortest `first` of them, and `extra + 1` of the shortest `first + extra`: the longest are left out.
        let first = (lists.len() + 1).saturating_sub(need);
        let extra = need.saturating_sub(1).min(VERIFIED);
        lists.truncate(first + extra);
        let need = extra + 1;
        FuzzyScan {
            lists,
            need,
            at: from,
            end,
            counts: vec![0; RANGE as usize],
            counted: false,
            ready: Vec::new(),
        }
    }

    fn peek(&mut self, effort: &mut usize) -> Next {
        while self.ready.is_empty() {
            if self.at >= self.end {
                return Next::End;
            }
            if *effort == 0 && self.counted {
                return Next::Pause(self.at);
            }
            self.counted = true;
            self.count(effort);
        }
        self.ready.last().map_or(Next::End, |block| Next::Block(*block))
    }

    /// Looks for the blocks of the next range.
    fn count(&mut self, effort: &mut usize) {
        let range = self.at..self.end.min(self.at + RANGE);
        self.at = range.end;
        self.counts.fill(0);
        let mut spent = RANGE as usize / 16;
        // Whatever has enough of all lists is on one of the first.
        let (first, others) = self.lists.split_at(self.lists.len() + 1 - self.need);
        let mut touched = Vec::new();
        for list in first {
            let mut blocks = list.iter();
            blocks.advance_to(range.start);
            for block in blocks.take_while(|block| *block < range.end) {
                let count = &mut self.counts[(block - range.start) as usize];
                if *count == 0 {
                    touched.push(block);
                }
                *count += 1;
                spent += 1;
            }
            spent += CONTAINS;
        }
        for list in others {
            spent += CONTAINS;
            if touched.len() < 64 {
                spent += touched.len() * CONTAINS;
                for block in &touched {
                    self.counts[(block - range.start) as usize] += u16::from(list.contains(*block));
                }
                continue;
            }
            let mut blocks = list.iter();
            blocks.advance_to(range.start);
            for block in blocks.take_while(|block| *block < range.end) {
                self.counts[(block - range.start) as usize] += 1;
                spent += 1;
            }
        }
        touched
            .retain(|block| usize::from(self.counts[(block - range.start) as usize]) >= self.need);
        touched.sort_unstable_by(|a, b| b.cmp(a));
        self.ready = touched;
        *effort = effort.saturating_sub(spent);
    }
}
