//! Scan candidate texts of a pattern, block by block, within a budget.

use std::collections::btree_map;
use std::iter::Peekable;
use std::ops::Range;

use roaring::RoaringBitmap;
use roaring::bitmap::{IntoIter, Iter};

use crate::index::matcher::{FuzzyPattern, Pattern, Text, Words, fold_text};
use crate::index::trigrams::{BLOCK, STEP, Trigrams, members, spend};

/// Bitmaps to intersect: a text with the rarest eight trigrams of a query nearly always has the
/// others.
const CUTS: usize = 8;
/// Number of blocks below which reading them is cheaper than one more intersection.
const FEW: u64 = 16;
/// Blocks of a fuzzy search that are counted at once.
const RANGE: u32 = 4_096;
/// Further bitmaps to check in a fuzzy search: a block with so many trigrams nearly always has the
/// others.
const VERIFIED: usize = 16;
/// Cost of a look-up in a bitmap, in bytes of text.
const CONTAINS: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScanStep {
    /// Number of a matching text, and the rank.
    Match(u32, u32),
    /// The budget is spent; continue at this text.
    Pause(u32),
    End,
}

/// A scan in progress.
pub struct CandidateScan<'a> {
    pattern: &'a Pattern,
    /// Texts of a higher rank are passed.
    worst: u32,
    grams: &'a Trigrams,
    indexed: Indexed<'a>,
    marked: Peekable<btree_map::Range<'a, u32, Vec<Box<str>>>>,
    from: u32,
    /// The current block.
    block: u32,
    /// Texts of the block that are not read yet.
    left: u8,
    /// A text was read, or an empty block passed: the scan may pause.
    moved: bool,
    folded: String,
}

/// Candidate blocks.
enum Indexed<'a> {
    All(Range<u32>),
    One(Peekable<Iter<'a>>),
    Cut(Box<Peekable<IntoIter>>),
    Near(FuzzyScan<'a>),
}

/// Blocks with enough of many trigrams.
struct FuzzyScan<'a> {
    /// Bitmaps of the trigrams, short bitmaps first.
    lists: Vec<&'a RoaringBitmap>,
    need: usize,
    /// Next block to count.
    at: u32,
    end: u32,
    counts: Vec<u16>,
    /// A range was counted: the scan may pause.
    counted: bool,
    /// Blocks found and not taken yet, in descending order.
    ready: Vec<u32>,
}

enum Next {
    Block(u32),
    /// No block below this number, and the budget is spent.
    Pause(u32),
    End,
}

impl<'a> CandidateScan<'a> {
    /// A scan of the texts from number `from` on, up to the rank `worst`.
    pub fn new(
        grams: &'a Trigrams,
        pattern: &'a Pattern,
        from: u32,
        worst: u32,
        effort: &mut usize,
    ) -> CandidateScan<'a> {
        let block = from / BLOCK;
        let indexed = match pattern {
            Pattern::All => Indexed::All(block..grams.blocks()),
            Pattern::Words(words) => cut(grams, words, block, effort),
            Pattern::Like(like) => Indexed::Near(FuzzyScan::new(grams, like, block, worst)),
        };
        CandidateScan {
            pattern,
            worst,
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

    /// From now on, pass texts of a higher rank than this.
    pub fn limit(&mut self, worst: u32) {
        self.worst = worst;
    }

    /// Advance to the next match within `effort`, in bytes of text. Every scan makes progress.
    pub fn step<'t, T: Text + ?Sized + 't>(
        &mut self,
        effort: &mut usize,
        texts: impl Fn(u32) -> Option<&'t T>,
    ) -> ScanStep {
        self.step_raw(effort, |_| None, texts)
    }

    /// As [`CandidateScan::step`]; where `raw` has the bytes of a text, most texts are rejected
    /// without folding.
    pub fn step_raw<'t, T: Text + ?Sized + 't>(
        &mut self,
        effort: &mut usize,
        raw: impl Fn(u32) -> Option<&'t [u8]>,
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
            if let Some(text) = raw(id)
                && self.pattern.excludes(text, self.worst)
            {
                spend(effort, text.len());
                continue;
            }
            let Some(text) = texts(id) else { continue };
            let folding = if self.pattern.reads() { fold_text(text, &mut self.folded) } else { 0 };
            let (rank, comparing) = self.pattern.rank_within(&self.folded, self.worst);
            spend(effort, folding + comparing);
            if let Some(rank) = rank {
                return ScanStep::Match(id, rank);
            }
        }
    }

    /// The next block that may have a match: by trigrams, or because marked.
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

/// Blocks from `from` on with the rarest trigrams of some words; all blocks if the words are too
/// short.
fn cut<'a>(grams: &'a Trigrams, words: &Words, from: u32, effort: &mut usize) -> Indexed<'a> {
    let mut wanted = Vec::new();
    for word in words.wanted() {
        grams.runs(word, &mut wanted);
    }
    wanted.sort_unstable();
    wanted.dedup();
    let found: Option<Vec<&RoaringBitmap>> =
        wanted.iter().map(|number| grams.posting(*number)).collect();
    // A trigram without blocks.
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

/// Cost of an intersection.
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
    fn new(grams: &'a Trigrams, like: &FuzzyPattern, from: u32, worst: u32) -> FuzzyScan<'a> {
        let (all, plain, needed) = like.runs(worst);
        // The better a text must be, the more trigrams of the words it has.
        let (runs, need) = if needed.plain >= needed.all {
            (&all[..plain], needed.plain)
        } else {
            (all, needed.all)
        };
        let mut numbers = Vec::new();
        for run in runs {
            grams.runs(run, &mut numbers);
        }
        // Colliding trigrams count separately, which may add candidates but loses none.
        let mut lists: Vec<&RoaringBitmap> =
            numbers.iter().filter_map(|number| grams.posting(*number)).collect();
        lists.sort_by_cached_key(|blocks| blocks.len());
        let end = if lists.len() < need { from } else { grams.blocks() };
        // A block in enough bitmaps is in a bitmap of the shortest `first`, and in `extra + 1` of the
        // shortest `first + extra`. The longest bitmaps are left out.
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

    /// Count the next range.
    fn count(&mut self, effort: &mut usize) {
        let range = self.at..self.end.min(self.at + RANGE);
        self.at = range.end;
        self.counts.fill(0);
        let mut spent = RANGE as usize / 16;
        // A block with enough trigrams is in some of the first bitmaps.
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
