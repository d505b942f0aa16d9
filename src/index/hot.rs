//! Names that are asked for again and again: most questions are about few names, and an index of millions stands all over the memory. The answer to such
//! a name is kept as it is spelled, until anything changes that somebody sees and no longer: what is said from here is what a search would find.
//!
//! How an answer is spelled is for others to know: here it is a text of entries, each with one byte behind it that parts it from the next.

use crate::message::relative::RelativeName;
use crate::message::reply::Holder;

/// Names that are kept at most: with the longest texts some tens of megabytes, usually half of that.
const PLACES: usize = 1 << 15;
/// Names of the index for each that is kept: a small index is quick without.
const NAMES: usize = 8;
/// Names that are kept at least.
const LEAST: usize = 16;
/// Holders of a name that is kept; who has more of them finds the rest dear as well.
const HOLDERS: usize = 8;
/// A text that is kept, in bytes.
const TEXT: usize = 1 << 10;
/// Questions since the last change before anything is kept: where somebody comes or goes all the time, that would be for nothing.
const QUIET: u32 = 256;
/// How often a name that is asked for outlives others that want its place.
const LIVES: u8 = 3;

/// The entries of an answer, as they are spelled.
#[derive(Clone, Debug, Default)]
pub struct Spelled {
    /// One after the other, each with one byte behind it.
    pub text: Vec<u8>,
    /// Where each begins.
    pub starts: Vec<u16>,
}

/// The answers to some names.
pub(super) struct Hot {
    /// Empty until something is kept.
    places: Vec<Option<Kept>>,
    /// What was kept under another number is no longer true.
    version: u64,
    /// Questions since the last change.
    quiet: u32,
}

struct Kept {
    version: u64,
    name: RelativeName,
    local: bool,
    lives: u8,
    text: Box<[u8]>,
    starts: Box<[u16]>,
}

impl Hot {
    /// Nothing yet.
    pub fn new() -> Hot {
        Hot { places: Vec::new(), version: 0, quiet: 0 }
    }

    /// Something has changed that somebody sees.
    pub fn forget(&mut self) {
        self.version += 1;
        self.quiet = 0;
    }

    /// The answer for an asker on this machine or from elsewhere, whose first entry is the one whose turn it is: what is said first and what follows.
    /// `hash` is that of the name.
    pub fn find(&mut self, hash: u64, name: &RelativeName, local: bool, turn: u64) -> Option<(&[u8], &[u8])> {
        self.quiet = self.quiet.saturating_add(1);
        let place = self.place(hash)?;
        let kept = self.places.get_mut(place)?.as_mut()?;
        if kept.version != self.version || kept.local != local || kept.name != *name {
            return None;
        }
        kept.lives = LIVES;
        let turn = usize::try_from(turn).unwrap_or(0) % kept.starts.len().max(1);
        let (before, first) = kept.text.split_at_checked(usize::from(*kept.starts.get(turn)?))?;
        Some((first, before))
    }

    /// True when so many holders may be kept for a name of this hash; asking again and again makes room.
    pub fn wants(&mut self, hash: u64, holders: usize) -> bool {
        if self.quiet < QUIET || holders == 0 || holders > HOLDERS {
            return false;
        }
        let kept = self.place(hash).and_then(|place| self.places.get_mut(place)?.as_mut());
        match kept {
            Some(kept) if kept.version == self.version && kept.lives > 0 => {
                kept.lives -= 1;
                false
            }
            _ => true,
        }
    }

    /// Keeps an answer, of an index of so many names; one that is too long is not kept.
    pub fn keep(&mut self, hash: u64, name: &RelativeName, local: bool, spelled: Spelled, names: usize) {
        let wanted = (names / NAMES).next_power_of_two().clamp(LEAST, PLACES);
        if self.places.len() < wanted {
            self.places.clear();
            self.places.resize_with(wanted, || None);
        }
        let Spelled { text, starts } = spelled;
        if let Some(place) = self.place(hash).filter(|_| text.len() <= TEXT) {
            let (text, starts) = (text.into_boxed_slice(), starts.into_boxed_slice());
            self.places[place] = Some(Kept { version: self.version, name: name.clone(), local, lives: 1, text, starts });
        }
    }

    fn place(&self, hash: u64) -> Option<usize> {
        usize::try_from(hash.checked_rem(self.places.len() as u64)?).ok()
    }
}

/// A page in the order of its members, of which the one came first whose turn it was.
pub(super) fn in_order(page: &[Holder], turn: u64) -> Vec<Holder> {
    let mut holders = page.to_vec();
    let turn = usize::try_from(turn).unwrap_or(0) % page.len().max(1);
    holders.rotate_right(turn);
    holders
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;
    use crate::index::{About, Asker, Index, MemberId};
    use crate::message::account::{Line, Publication, UserName};
    use crate::message::request::FileEntry;
    use crate::message::tongue::Tongue;
    use crate::message::version::{Root, Session};

    /// An index that keeps what it finds, and one that never does.
    struct Pair(Index, Index);

    impl Pair {
        fn both<T: PartialEq + std::fmt::Debug>(&mut self, act: impl Fn(&mut Index) -> T) -> T {
            let (one, other) = (act(&mut self.0), act(&mut self.1));
            assert_eq!(one, other);
            one
        }

        fn search(&mut self, name: &RelativeName, asker: &Asker) {
            self.1.hot.forget();
            self.both(|index| {
                if let Some((first, before)) = index.kept(name, asker) {
                    return [first, before].concat();
                }
                let page = index.search(name, None, asker).unwrap();
                index.keep(name, asker, &page, spell);
                spell(&page.entries).text
            });
        }
    }

    fn spell(holders: &[Holder]) -> Spelled {
        let mut spelled = Spelled::default();
        for holder in holders {
            spelled.starts.push(u16::try_from(spelled.text.len()).unwrap());
            spelled.text.extend_from_slice(format!("{holder:?};").as_bytes());
        }
        spelled
    }

    #[test]
    fn what_is_kept_is_what_a_search_would_find_whatever_happens_between() {
        let names: Vec<RelativeName> = (0..12).map(|number| RelativeName::new(&format!("aula {number}.mp4")).unwrap()).collect();
        let askers = ["127.0.0.1", "192.0.2.1"].map(|ip| Asker { ip: ip.parse().unwrap(), speaks: None });
        let old = Asker { speaks: Some(Tongue::Uc3m2024), ..askers[0] };
        let (ana, bia) = (UserName::new("ana").unwrap(), UserName::new("bia").unwrap());
        let mut dice = 0x1234_5678_9abc_def1_u64;
        let mut roll = |sides: usize| {
            dice ^= dice << 13;
            dice ^= dice >> 7;
            dice ^= dice << 17;
            usize::try_from(dice % sides as u64).unwrap()
        };
        let mut pair = Pair(Index::new(7), Index::new(7));
        let mut there: Vec<MemberId> = Vec::new();
        let mut kept = 0;
        for step in 0..400_u16 {
            for _ in 0..QUIET + 40 {
                pair.search(&names[roll(names.len())], &askers[roll(2)]);
            }
            pair.search(&names[roll(names.len())], &old);
            kept += pair.0.hot.places.iter().flatten().filter(|kept| kept.version == pair.0.hot.version).count();
            let (name, other) = (names[roll(names.len())].clone(), names[roll(names.len())].clone());
            let who = there.get(roll(there.len().max(1))).copied();
            match (roll(9), who) {
                (0, Some(who)) => {
                    there.retain(|member| *member != who);
                    pair.both(|index| index.leave(who));
                }
                (1, Some(who)) => {
                    let file = FileEntry { root: Some(Root([u8::try_from(step % 200).unwrap(); 32])), ..FileEntry::new(name, u64::from(step)) };
                    pair.both(|index| index.add(who, &file)).unwrap();
                }
                (2, Some(who)) => pair.both(|index| index.remove(who, &name)),
                (3, Some(who)) => pair.both(|index| index.retain(who, std::slice::from_ref(&name))),
                (4, Some(who)) => pair.both(|index| index.belongs(who, Some(ana.clone()))),
                (5, Some(who)) => pair.both(|index| index.introduce(who, About { ports: vec![(Tongue::Uc3m2024, 70)], ..About::default() })),
                (6, _) => {
                    let what = Publication { file: Line::new(&name).unwrap(), description: Line::new(&format!("step {step}")).unwrap() };
                    pair.both(|index| index.publish(&ana, &what)).unwrap();
                    if step % 3 == 0 {
                        pair.both(|index| index.withdraw(&ana, &Line::new(&other).unwrap()));
                    }
                }
                (7, _) => {
                    let at = SocketAddr::from(([127, 0, 0, 1], 9_000 + step));
                    pair.both(|index| index.appear(&bia, at, Tongue::Uc3m2020));
                    pair.both(|index| index.publish(&bia, &Publication { file: Line::new(&name).unwrap(), description: Line::new("").unwrap() }))
                        .unwrap();
                    if step % 2 == 0 {
                        pair.both(|index| index.disappear(&bia));
                    }
                    if step % 5 == 0 {
                        pair.both(|index| index.forget_user(&bia));
                    }
                }
                _ => {
                    let ip = if step % 4 == 0 { [192, 0, 2, 9] } else { [127, 0, 0, 1] };
                    let who = pair.both(|index| index.begin(SocketAddr::from((ip, step + 1)), Session([0; 16])));
                    for name in [&name, &other] {
                        pair.both(|index| index.add(who, &FileEntry::new(name.clone(), 1))).unwrap();
                    }
                    pair.both(|index| index.show(who));
                    there.push(who);
                }
            }
            pair.both(|index| index.sweep(3));
        }
        assert!(kept > 400, "{kept}: hardly anything was kept");
    }

    #[test]
    fn a_name_that_is_asked_for_outlives_one_that_is_not() {
        let mut hot = Hot::new();
        let (often, once) = (RelativeName::new("often").unwrap(), RelativeName::new("once").unwrap());
        let spelled = Spelled { text: b"a,b,".to_vec(), starts: vec![0, 2] };
        assert!(!hot.wants(1, 1), "too early");
        hot.quiet = QUIET;
        assert!(hot.wants(1, 1) && !hot.wants(1, 0) && !hot.wants(1, HOLDERS + 1));
        hot.keep(1, &often, true, spelled.clone(), 1);
        for turn in 0..5 {
            let wanted = if turn % 2 == 0 { (&b"a,b,"[..], &b""[..]) } else { (&b"b,"[..], &b"a,"[..]) };
            assert_eq!(hot.find(1, &often, true, turn), Some(wanted));
            assert!(hot.find(1, &once, true, turn).is_none() && hot.find(1, &often, false, turn).is_none());
            assert!(!hot.wants(1, 1) && !hot.wants(1, 1));
        }
        assert!(!hot.wants(1, 1) && hot.wants(1, 1));
        hot.keep(1, &once, true, Spelled { text: vec![b'x'; TEXT + 1], starts: vec![0] }, 1);
        assert!(hot.find(1, &often, true, 0).is_some(), "what is too long puts nobody out");
        hot.forget();
        assert!(hot.find(1, &often, true, 0).is_none() && !hot.wants(1, 1));
        // A larger index has room for more.
        hot.keep(1, &often, true, spelled, 100 * NAMES);
        assert_eq!(hot.places.len(), 128);
    }
}
