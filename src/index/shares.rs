//! Who claims one thing, where that is more than one file: a short list in one piece, in order, so that all of it is one look away; a popular thing's files
//! stand in an ordered set with those of all others, so that nothing costs more than a walk down that set.

use std::collections::BTreeSet;

use crate::index::MemberId;
use crate::index::texts::{TextId, Texts};
use crate::message::limits;

/// The longest list that stands in one piece: what one answer names. Each change writes it anew.
const MOST: usize = limits::HOLDERS;
/// What an entry of the ordered set takes, as far as that can be known: its nodes are between half and wholly full.
const SET_ENTRY: usize = 22;
/// The highest bit of which file a share is: it is partial.
const PARTIAL: u32 = 1 << 31;

/// One file of a member. A whole one comes before a partial one, so that it speaks for its member.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share {
    /// Whose.
    pub member: u32,
    /// Not all of it is there.
    pub partial: bool,
    /// Which of that member's files this is; there are never so many that the highest bits are needed.
    pub own: u32,
}

impl Share {
    /// The member whose it is.
    pub(super) fn who(self) -> MemberId {
        MemberId(self.member as usize)
    }

    /// Which file, and whether it is partial, in one word.
    pub(super) fn packed(self) -> u32 {
        self.own | if self.partial { PARTIAL } else { 0 }
    }

    /// The share that was packed so.
    pub(super) fn of(member: u32, packed: u32) -> Share {
        Share { member, partial: packed & PARTIAL != 0, own: packed & !PARTIAL }
    }

    fn bytes(self) -> [u8; 8] {
        (u64::from(self.member) << 32 | u64::from(self.packed())).to_le_bytes()
    }

    fn read(bytes: &[u8; 8]) -> Share {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Share::of(u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
    }
}

/// Where the shares of a claim are that has more than one.
#[derive(Clone, Copy)]
pub(super) enum Place {
    /// In a list.
    Few(TextId),
    /// In the set: so many.
    Many(u32),
}

/// What is left of a claim's shares when one of them was taken out.
pub(super) enum Left {
    One(Share),
    More(Place),
}

/// The shares of all claims that have more than one.
pub(super) struct Shares {
    lists: Texts,
    many: BTreeSet<[u32; 3]>,
}

impl Shares {
    pub(super) fn new() -> Shares {
        Shares { lists: Texts::new(), many: BTreeSet::new() }
    }

    /// Keeps the first two of a claim.
    pub(super) fn begin(&mut self, a: Share, b: Share) -> Place {
        self.list(&[a.min(b), a.max(b)])
    }

    /// Adds one; one that is there already changes nothing.
    pub(super) fn add(&mut self, claim: u32, place: Place, share: Share) -> Place {
        match place {
            Place::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Share>>();
                let Err(at) = all.binary_search(&share) else { return place };
                all.insert(at, share);
                self.lists.remove(list);
                if all.len() <= MOST {
                    return self.list(&all);
                }
                self.many.extend(all.iter().map(|share| [claim, share.member, share.packed()]));
                Place::Many(u32::try_from(all.len()).unwrap_or(u32::MAX))
            }
            Place::Many(count) => Place::Many(count + u32::from(self.many.insert([claim, share.member, share.packed()]))),
        }
    }

    /// Takes one out. `None` when it is not there.
    pub(super) fn remove(&mut self, claim: u32, place: Place, share: Share) -> Option<Left> {
        match place {
            Place::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Share>>();
                all.remove(all.binary_search(&share).ok()?);
                self.lists.remove(list);
                Some(if let [only] = all[..] { Left::One(only) } else { Left::More(self.list(&all)) })
            }
            Place::Many(count) => {
                let was_there = self.many.remove(&[claim, share.member, share.packed()]);
                let left = count.saturating_sub(1);
                // One that comes and goes does not move the others each time.
                if was_there && left as usize <= MOST / 2 {
                    let all: Vec<Share> = self.from(claim, place, 0).collect();
                    for share in &all {
                        self.many.remove(&[claim, share.member, share.packed()]);
                    }
                    return Some(Left::More(self.list(&all)));
                }
                was_there.then_some(Left::More(Place::Many(left)))
            }
        }
    }

    /// How many there are, and that is more than one.
    pub(super) fn len(&self, place: Place) -> usize {
        match place {
            Place::Few(list) => self.few(list).len(),
            Place::Many(count) => count as usize,
        }
    }

    /// All of member `from` and those behind it, in order.
    pub(super) fn from(&self, claim: u32, place: Place, from: u32) -> impl Iterator<Item = Share> {
        let (few, many) = match place {
            Place::Few(list) => (Some(self.few(list).skip_while(move |share| share.member < from)), None),
            Place::Many(_) => (None, Some(self.many.range([claim, from, 0]..=[claim, u32::MAX, u32::MAX]))),
        };
        few.into_iter().flatten().chain(many.into_iter().flatten().map(|[_, member, packed]| Share::of(*member, *packed)))
    }

    /// Adds all that are in a list to `into`; false when they are in none.
    pub(super) fn copy_few(&self, place: Place, into: &mut Vec<Share>) -> bool {
        let Place::Few(list) = place else { return false };
        into.extend(self.few(list));
        true
    }

    /// The first and the last member.
    pub(super) fn span(&self, claim: u32, place: Place) -> Option<(u32, u32)> {
        let (first, last) = match place {
            Place::Few(list) => (self.few(list).next()?, self.few(list).next_back()?),
            Place::Many(_) => {
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

    fn few(&self, list: TextId) -> impl ExactSizeIterator<Item = Share> + DoubleEndedIterator {
        self.lists.bytes(list).as_chunks::<8>().0.iter().map(Share::read)
    }

    fn list(&mut self, all: &[Share]) -> Place {
        let bytes: Vec<u8> = all.iter().flat_map(|share| share.bytes()).collect();
        Place::Few(self.lists.insert_bytes(&bytes))
    }
}
