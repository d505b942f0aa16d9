//! Names and who holds them: each name once, found by hash, with the list of its holders.

use hashbrown::HashTable;
use slab::Slab;

use crate::index::roots::{RootId, Share};
use crate::message::relative::RelativeName;

/// One member's hold on one name.
#[derive(Clone, Copy)]
pub struct Holding {
    /// Whose.
    pub member: u32,
    /// Which of that member's files this is.
    pub own: u32,
    /// Its size.
    pub size: u64,
    /// Its content, where known.
    pub root: Option<RootId>,
    /// Not all of it is there.
    pub partial: bool,
}

impl Holding {
    /// The same file, among those of its content.
    pub fn share(&self) -> Share {
        Share { member: self.member, partial: self.partial, own: self.own }
    }
}

struct Entry {
    name: RelativeName,
    hash: u64,
    holders: Vec<Holding>,
}

/// All names that somebody holds.
pub struct Names {
    entries: Slab<Entry>,
    by_hash: HashTable<u32>,
    seed: u64,
}

impl Names {
    /// None yet.
    pub fn new(seed: u64) -> Names {
        Names { entries: Slab::new(), by_hash: HashTable::new(), seed }
    }

    /// How many.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of a name, which is new if need be.
    pub fn intern(&mut self, name: &RelativeName) -> u32 {
        if let Some(id) = self.find(name) {
            return id;
        }
        let hash = hash(self.seed, name.as_bytes());
        let id = u32::try_from(self.entries.insert(Entry { name: name.clone(), hash, holders: Vec::new() })).unwrap_or(u32::MAX);
        let entries = &self.entries;
        self.by_hash.insert_unique(hash, id, |&id| entries[id as usize].hash);
        id
    }

    /// The number of a name that somebody holds.
    pub fn find(&self, name: &RelativeName) -> Option<u32> {
        self.by_hash.find(hash(self.seed, name.as_bytes()), |&id| self.entries[id as usize].name == *name).copied()
    }

    /// The name of a number.
    pub fn name(&self, id: u32) -> RelativeName {
        self.entries[id as usize].name.clone()
    }

    /// Who holds it.
    pub fn holders(&self, id: u32) -> &[Holding] {
        &self.entries[id as usize].holders
    }

    /// One of its holders.
    pub fn holder_mut(&mut self, id: u32, place: u32) -> &mut Holding {
        &mut self.entries[id as usize].holders[place as usize]
    }

    /// Adds a holder and returns its place.
    pub fn add_holder(&mut self, id: u32, holding: Holding) -> u32 {
        let holders = &mut self.entries[id as usize].holders;
        holders.push(holding);
        u32::try_from(holders.len() - 1).unwrap_or(u32::MAX)
    }

    /// Which of the member's files this name is.
    ///
    /// It walks the shorter of the two lists, for a popular name has many holders and a large member many files.
    pub fn own_place(&self, id: u32, member: usize, files: &[super::Owned]) -> Option<usize> {
        let holders = self.holders(id);
        if holders.len() <= files.len() {
            holders.iter().find(|h| h.member as usize == member).map(|h| h.own as usize)
        } else {
            files.iter().position(|file| file.name == id)
        }
    }

    /// The member's hold on this name.
    pub fn find_holder(&mut self, id: u32, member: usize, files: &[super::Owned]) -> Option<&mut Holding> {
        let own = self.own_place(id, member, files)?;
        Some(self.holder_mut(id, files[own].place))
    }

    /// Takes a holder out and returns it; the last one takes its place, and whose that is, is returned too. A name without holders is forgotten.
    pub fn remove_holder(&mut self, id: u32, place: u32) -> (Holding, Option<(u32, u32)>) {
        let holders = &mut self.entries[id as usize].holders;
        let gone = holders.swap_remove(place as usize);
        let moved = holders.get(place as usize).map(|holding| (holding.member, holding.own));
        self.release_if_unused(id);
        (gone, moved)
    }

    /// Forgets a name that nobody holds.
    pub fn release_if_unused(&mut self, id: u32) {
        let entry = &self.entries[id as usize];
        if entry.holders.is_empty() {
            if let Ok(slot) = self.by_hash.find_entry(entry.hash, |&other| other == id) {
                slot.remove();
            }
            self.entries.remove(id as usize);
        }
    }
}

/// A seeded hash of a name or a root: eight bytes a step, each folded by a full 128-bit product, which a stranger can't steer without the seed.
pub fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = seed ^ 0x9e37_79b9_7f4a_7c15;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        state = fold(state ^ u64::from_le_bytes(word), seed | 1);
    }
    let mut word = [0; 8];
    word[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    state = fold(state ^ u64::from_le_bytes(word), 0xa076_1d64_78bd_642f);
    fold(state ^ bytes.len() as u64, 0xe703_7ed1_a0b4_28db)
}

fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    #[allow(clippy::cast_possible_truncation)]
    let (low, high) = (product as u64, (product >> 64) as u64);
    low ^ high
}
