//! Postings of one key: short lists in one block, in order; long ones in a tree.

use std::collections::BTreeSet;

use crate::index::PeerId;
use crate::index::string_arena::{StringArena, StringId};
use crate::limits;

/// The longest list that stands in one piece: what one answer names. Each change writes it anew.
const MOST: usize = limits::HOLDERS;
/// What an entry of the ordered set takes, as far as that can be known: its nodes are between half and wholly full.
const SET_ENTRY: usize = 22;
/// The highest bit of which file a share is: it is partial.
const PARTIAL: u32 = 1 << 31;

/// One file of a member. A whole one comes before a partial one, so that it speaks for its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// Whose.
    pub member: u32,
    /// Not all of it is there.
    pub partial: bool,
    /// Which of that member's files this is; there are never so many that the highest bits are needed.
    pub own: u32,
}

impl Posting {
    /// The member whose it is.
    pub(super) fn who(self) -> PeerId {
        PeerId(self.member as usize)
    }

    /// Which file, and whether it is partial, in one word.
    pub(super) fn packed(self) -> u32 {
        self.own | if self.partial { PARTIAL } else { 0 }
    }

    /// The share that was packed so.
    pub(super) fn of(member: u32, packed: u32) -> Posting {
        Posting { member, partial: packed & PARTIAL != 0, own: packed & !PARTIAL }
    }

    fn bytes(self) -> [u8; 8] {
        (u64::from(self.member) << 32 | u64::from(self.packed())).to_le_bytes()
    }

    fn read(bytes: &[u8; 8]) -> Posting {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Posting::of(u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
    }
}

/// Where the shares of a claim are that has more than one.
#[derive(Clone, Copy)]
pub(super) enum PostingPlace {
    /// In a list.
    Few(StringId),
    /// In the set: so many.
    Many(u32),
}

/// What is left of a claim's shares when one of them was taken out.
pub(super) enum Left {
    One(Posting),
    More(PostingPlace),
}

/// The shares of all claims that have more than one.
pub(super) struct Postings {
    lists: StringArena,
    many: BTreeSet<[u32; 3]>,
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings { lists: StringArena::new(), many: BTreeSet::new() }
    }

    /// Keeps the first two of a claim.
    pub(super) fn begin(&mut self, a: Posting, b: Posting) -> PostingPlace {
        self.list(&[a.min(b), a.max(b)])
    }

    /// Adds one; one that is there already changes nothing.
    pub(super) fn add(&mut self, claim: u32, place: PostingPlace, share: Posting) -> PostingPlace {
        match place {
            PostingPlace::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Posting>>();
                let Err(at) = all.binary_search(&share) else { return place };
                all.insert(at, share);
                self.lists.remove(list);
                if all.len() <= MOST {
                    return self.list(&all);
                }
                self.many.extend(all.iter().map(|share| [claim, share.member, share.packed()]));
                PostingPlace::Many(u32::try_from(all.len()).unwrap_or(u32::MAX))
            }
            PostingPlace::Many(count) => PostingPlace::Many(
                count + u32::from(self.many.insert([claim, share.member, share.packed()])),
            ),
        }
    }

    /// Takes one out. `None` when it is not there.
    pub(super) fn remove(
        &mut self,
        claim: u32,
        place: PostingPlace,
        share: Posting,
    ) -> Option<Left> {
        match place {
            PostingPlace::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Posting>>();
                all.remove(all.binary_search(&share).ok()?);
                self.lists.remove(list);
                Some(if let [only] = all[..] {
                    Left::One(only)
                } else {
                    Left::More(self.list(&all))
                })
            }
            PostingPlace::Many(count) => {
                let was_there = self.many.remove(&[claim, share.member, share.packed()]);
                let left = count.saturating_sub(1);
                // One that comes and goes does not move the others each time.
                if was_there && left as usize <= MOST / 2 {
                    let all: Vec<Posting> = self.from(claim, place, 0).collect();
                    for share in &all {
                        self.many.remove(&[claim, share.member, share.packed()]);
                    }
                    return Some(Left::More(self.list(&all)));
                }
                was_there.then_some(Left::More(PostingPlace::Many(left)))
            }
        }
    }

    /// How many there are, and that is more than one.
    pub(super) fn len(&self, place: PostingPlace) -> usize {
        match place {
            PostingPlace::Few(list) => self.few(list).len(),
            PostingPlace::Many(count) => count as usize,
        }
    }

    /// All of member `from` and those behind it, in order.
    pub(super) fn from(
        &self,
        claim: u32,
        place: PostingPlace,
        from: u32,
    ) -> impl Iterator<Item = Posting> {
        let (few, many) = match place {
            PostingPlace::Few(list) => {
                (Some(self.few(list).skip_while(move |share| share.member < from)), None)
            }
            PostingPlace::Many(_) => {
                (None, Some(self.many.range([claim, from, 0]..=[claim, u32::MAX, u32::MAX])))
            }
        };
        few.into_iter().flatten().chain(
            many.into_iter().flatten().map(|[_, member, packed]| Posting::of(*member, *packed)),
        )
    }

    /// Adds all that are in a list to `into`; false when they are in none.
    pub(super) fn copy_few(&self, place: PostingPlace, into: &mut Vec<Posting>) -> bool {
        let PostingPlace::Few(list) = place else { return false };
        into.extend(self.few(list));
        true
    }

    /// The first and the last member.
    pub(super) fn span(&self, claim: u32, place: PostingPlace) -> Option<(u32, u32)> {
        let (first, last) = match place {
            PostingPlace::Few(list) => (self.few(list).next()?, self.few(list).next_back()?),
            PostingPlace::Many(_) => {
                let all = self.many.range([claim, 0, 0]..=[claim, u32::MAX, u32::MAX]);
                let (first, last) = (all.clone().next()?, all.clone().next_back()?);
                return Some((first[1], last[1]));
            }
        };
        Some((first.member, last.member))
    }

    /// How much memory they take.
    pub(super) fn memory(&self) -> usize {
        self.lists.memory() + self.many.len() * SET_ENTRY
    }

    fn few(&self, list: StringId) -> impl ExactSizeIterator<Item = Posting> + DoubleEndedIterator {
        self.lists.bytes(list).as_chunks::<8>().0.iter().map(Posting::read)
    }

    fn list(&mut self, all: &[Posting]) -> PostingPlace {
        let bytes: Vec<u8> = all.iter().flat_map(|share| share.bytes()).collect();
        PostingPlace::Few(self.lists.insert_bytes(&bytes))
    }
}
