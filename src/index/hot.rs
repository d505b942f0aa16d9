//! Names that are asked for again and again: most questions are about few names, and an index of millions stands all over the memory. What was found
//! for such a name is kept until anything changes that somebody sees, and no longer: an answer from here is the one that a search would give.

use crate::message::relative::RelativeName;
use crate::message::reply::Holder;

/// Names that are kept: with the most holders each, some ten megabytes.
const PLACES: usize = 1 << 13;
/// Holders of a name that is kept; who has more of them finds the rest dear as well.
const HOLDERS: usize = 8;
/// Questions since the last change before anything is kept: where somebody comes or goes all the time, that would be for nothing.
const QUIET: u32 = 256;
/// How often a name that is asked for outlives others that want its place.
const LIVES: u8 = 3;

/// What was found for some names.
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
    holders: Vec<Holder>,
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

    /// The holders of a name, in the order of their members, for an asker on this machine or from elsewhere. `hash` is that of the name.
    pub fn find(&mut self, hash: u64, name: &RelativeName, local: bool) -> Option<&[Holder]> {
        self.quiet = self.quiet.saturating_add(1);
        let kept = self.places.get_mut(place(hash))?.as_mut()?;
        if kept.version != self.version || kept.local != local || kept.name != *name {
            return None;
        }
        kept.lives = LIVES;
        Some(&kept.holders)
    }

    /// True when so many holders may be kept for a name of this hash; asking again and again makes room.
    pub fn wants(&mut self, hash: u64, holders: usize) -> bool {
        if self.quiet < QUIET || holders == 0 || holders > HOLDERS {
            return false;
        }
        match self.places.get_mut(place(hash)) {
            Some(Some(kept)) if kept.version == self.version && kept.lives > 0 => {
                kept.lives -= 1;
                false
            }
            _ => true,
        }
    }

    /// Keeps what was found.
    pub fn keep(&mut self, hash: u64, name: &RelativeName, local: bool, holders: Vec<Holder>) {
        if self.places.is_empty() {
            self.places.resize_with(PLACES, || None);
        }
        self.places[place(hash)] = Some(Kept { version: self.version, name: name.clone(), local, lives: 1, holders });
    }
}

fn place(hash: u64) -> usize {
    usize::try_from(hash % PLACES as u64).unwrap_or(0)
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
            self.both(|index| index.search(name, None, asker).unwrap());
        }
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
                    let _ = pair.both(|index| index.add(who, &file));
                }
                (2, Some(who)) => pair.both(|index| index.remove(who, &name)),
                (3, Some(who)) => pair.both(|index| index.retain(who, std::slice::from_ref(&name))),
                (4, Some(who)) => pair.both(|index| index.belongs(who, Some(ana.clone()))),
                (5, Some(who)) => pair.both(|index| index.introduce(who, About { ports: vec![(Tongue::Uc3m2024, 70)], ..About::default() })),
                (6, _) => {
                    let what = Publication { file: Line::new(&name).unwrap(), description: Line::new(&format!("step {step}")).unwrap() };
                    let _ = pair.both(|index| index.publish(&ana, &what));
                    if step % 3 == 0 {
                        pair.both(|index| index.withdraw(&ana, &Line::new(&other).unwrap()));
                    }
                }
                (7, _) => {
                    let at = SocketAddr::from(([127, 0, 0, 1], 9_000 + step));
                    pair.both(|index| index.appear(&bia, at, Tongue::Uc3m2020));
                    let _ =
                        pair.both(|index| index.publish(&bia, &Publication { file: Line::new(&name).unwrap(), description: Line::new("").unwrap() }));
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
                        let _ = pair.both(|index| index.add(who, &FileEntry::new(name.clone(), 1)));
                    }
                    pair.both(|index| index.show(who));
                    there.push(who);
                }
            }
            pair.both(|index| index.sweep(3));
        }
        assert!(kept > 1_000, "{kept}: hardly anything was kept");
    }

    #[test]
    fn a_name_that_is_asked_for_outlives_one_that_is_not() {
        let mut hot = Hot::new();
        let (often, once) = (RelativeName::new("often").unwrap(), RelativeName::new("once").unwrap());
        let holder = Holder { peer: "127.0.0.1:1".parse().unwrap(), file: FileEntry::new(often.clone(), 1), user: None, speaks: None, quic: None };
        assert!(!hot.wants(1, 1), "too early");
        hot.quiet = QUIET;
        assert!(hot.wants(1, 1) && !hot.wants(1, 0) && !hot.wants(1, HOLDERS + 1));
        hot.keep(1, &often, true, vec![holder]);
        for _ in 0..5 {
            assert!(hot.find(1, &often, true).is_some() && hot.find(1, &once, true).is_none() && hot.find(1, &often, false).is_none());
            assert!(!hot.wants(1, 1) && !hot.wants(1, 1));
        }
        assert!(!hot.wants(1, 1) && hot.wants(1, 1));
        hot.forget();
        assert!(hot.find(1, &often, true).is_none() && !hot.wants(1, 1));
    }
}
