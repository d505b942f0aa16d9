//! Postings of a key: a short list in a block, in order; a long list in a tree.

use std::collections::BTreeSet;

use crate::index::PeerId;
use crate::index::string_arena::{StringArena, StringId};
use crate::limits;

/// Longest list in a block: the providers of a page. Each change writes the block anew.
const MOST: usize = limits::HOLDERS;
/// Estimated bytes of a tree entry: nodes are between half and wholly full.
const SET_ENTRY: usize = 22;
/// Highest bit of a packed file index.
const PARTIAL: u32 = 1 << 31;

/// One file of a peer. Complete files sort first, so that one of them stands for its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Posting {
    /// Slot of the peer.
    pub peer: u32,
    /// Only some pieces are held.
    pub partial: bool,
    /// Index of the file at the peer; the two highest bits are never needed.
    pub file_index: u32,
}

impl Posting {
    pub(super) fn peer_id(self) -> PeerId {
        PeerId(self.peer as usize)
    }

    /// File index and completeness in a word.
    pub(super) fn packed(self) -> u32 {
        self.file_index | if self.partial { PARTIAL } else { 0 }
    }

    /// Inverse of [`Posting::packed`].
    pub(super) fn of(peer: u32, packed: u32) -> Posting {
        Posting { peer, partial: packed & PARTIAL != 0, file_index: packed & !PARTIAL }
    }

    fn bytes(self) -> [u8; 8] {
        (u64::from(self.peer) << 32 | u64::from(self.packed())).to_le_bytes()
    }

    fn read(bytes: &[u8; 8]) -> Posting {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Posting::of(u32::from_le_bytes([e, f, g, h]), u32::from_le_bytes([a, b, c, d]))
    }
}

/// Storage of the postings of a key with several.
#[derive(Clone, Copy)]
pub(super) enum PostingPlace {
    Few(StringId),
    /// In the tree: so many.
    Many(u32),
}

/// Postings of a key after a removal.
pub(super) enum Left {
    One(Posting),
    More(PostingPlace),
}

/// Postings of all keys with several.
pub(super) struct Postings {
    lists: StringArena,
    many: BTreeSet<[u32; 3]>,
}

impl Postings {
    pub(super) fn new() -> Postings {
        Postings { lists: StringArena::new(), many: BTreeSet::new() }
    }

    /// Store the first two postings of a key.
    pub(super) fn begin(&mut self, a: Posting, b: Posting) -> PostingPlace {
        let both = [a.min(b).bytes(), a.max(b).bytes()];
        PostingPlace::Few(self.lists.insert_bytes(both.as_flattened()))
    }

    /// Add a posting, unless there already.
    pub(super) fn add(&mut self, key: u32, place: PostingPlace, posting: Posting) -> PostingPlace {
        match place {
            PostingPlace::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Posting>>();
                let Err(at) = all.binary_search(&posting) else { return place };
                all.insert(at, posting);
                self.lists.remove(list);
                if all.len() <= MOST {
                    return self.list(&all);
                }
                self.many.extend(all.iter().map(|posting| [key, posting.peer, posting.packed()]));
                PostingPlace::Many(u32::try_from(all.len()).unwrap_or(u32::MAX))
            }
            PostingPlace::Many(count) => PostingPlace::Many(
                count + u32::from(self.many.insert([key, posting.peer, posting.packed()])),
            ),
        }
    }

    /// Remove a posting; `None` if there is none.
    pub(super) fn remove(
        &mut self,
        key: u32,
        place: PostingPlace,
        posting: Posting,
    ) -> Option<Left> {
        match place {
            PostingPlace::Few(list) => {
                let mut all = self.few(list).collect::<Vec<Posting>>();
                all.remove(all.binary_search(&posting).ok()?);
                self.lists.remove(list);
                Some(if let [only] = all[..] {
                    Left::One(only)
                } else {
                    Left::More(self.list(&all))
                })
            }
            PostingPlace::Many(count) => {
                let was_there = self.many.remove(&[key, posting.peer, posting.packed()]);
                let left = count.saturating_sub(1);
                // Half is hysteresis: a posting that comes and goes does not move the others each
                // time.
                if was_there && left as usize <= MOST / 2 {
                    let all: Vec<Posting> = self.from(key, place, 0).collect();
                    for posting in &all {
                        self.many.remove(&[key, posting.peer, posting.packed()]);
                    }
                    return Some(Left::More(self.list(&all)));
                }
                was_there.then_some(Left::More(PostingPlace::Many(left)))
            }
        }
    }

    pub(super) fn len(&self, place: PostingPlace) -> usize {
        match place {
            PostingPlace::Few(list) => self.few(list).len(),
            PostingPlace::Many(count) => count as usize,
        }
    }

    /// All postings from slot `from` on, in order.
    pub(super) fn from(
        &self,
        key: u32,
        place: PostingPlace,
        from: u32,
    ) -> impl Iterator<Item = Posting> {
        let (few, many) = match place {
            PostingPlace::Few(list) => {
                (Some(self.few(list).skip_while(move |posting| posting.peer < from)), None)
            }
            PostingPlace::Many(_) => {
                (None, Some(self.many.range([key, from, 0]..=[key, u32::MAX, u32::MAX])))
            }
        };
        few.into_iter()
            .flatten()
            .chain(many.into_iter().flatten().map(|[_, peer, packed]| Posting::of(*peer, *packed)))
    }

    /// Append the postings of a list to `into`; false for a tree.
    pub(super) fn copy_few(&self, place: PostingPlace, into: &mut Vec<Posting>) -> bool {
        let PostingPlace::Few(list) = place else { return false };
        into.extend(self.few(list));
        true
    }

    /// Slots of the first and the last peer.
    pub(super) fn span(&self, key: u32, place: PostingPlace) -> Option<(u32, u32)> {
        let (first, last) = match place {
            PostingPlace::Few(list) => (self.few(list).next()?, self.few(list).next_back()?),
            PostingPlace::Many(_) => {
                let all = self.many.range([key, 0, 0]..=[key, u32::MAX, u32::MAX]);
                let (first, last) = (all.clone().next()?, all.clone().next_back()?);
                return Some((first[1], last[1]));
            }
        };
        Some((first.peer, last.peer))
    }

    pub(super) fn memory(&self) -> usize {
        self.lists.memory() + self.many.len() * SET_ENTRY
    }

    fn few(&self, list: StringId) -> impl ExactSizeIterator<Item = Posting> + DoubleEndedIterator {
        self.lists.bytes(list).as_chunks::<8>().0.iter().map(Posting::read)
    }

    fn list(&mut self, all: &[Posting]) -> PostingPlace {
        let bytes: Vec<u8> = all.iter().flat_map(|posting| posting.bytes()).collect();
        PostingPlace::Few(self.lists.insert_bytes(&bytes))
    }
}
