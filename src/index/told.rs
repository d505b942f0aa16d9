//! What is said of files: by whom and of which, and by its words.

use std::collections::BTreeMap;

use slab::Slab;

use crate::index::claims::ClaimId;
use crate::index::grams::Grams;
use crate::index::pattern::Text;
use crate::index::{MemberId, number};
use crate::message::account::Description;
use crate::message::relative::RelativeName;

/// What a description takes beside its entry: its text, its name, and its place in an ordered set that is between half and wholly full.
const TOLD: usize = 192;

/// What is said of a file of one member.
pub(super) struct Told {
    pub(super) claim: ClaimId,
    name: RelativeName,
    text: Description,
}

impl Text for Told {
    fn parts(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str(), &self.text].into_iter()
    }
}

/// What is said of files, found by their member and name, and by words.
pub(super) struct Descriptions {
    told: Slab<Told>,
    by_file: BTreeMap<(MemberId, ClaimId), u32>,
    words: Grams,
    /// What the texts and the names beside them take.
    bytes: usize,
}

impl Descriptions {
    pub(super) fn new(seed: u64) -> Descriptions {
        Descriptions { told: Slab::new(), by_file: BTreeMap::new(), words: Grams::new(seed), bytes: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Description> {
        self.told(id).map(|told| &told.text)
    }

    /// What is said, with what it is said of.
    pub(super) fn told(&self, id: u32) -> Option<&Told> {
        self.told.get(id as usize)
    }

    /// All of it by its words.
    pub(super) fn words(&self) -> &Grams {
        &self.words
    }

    /// How much memory it takes: what its words take, and the rest by its count.
    pub(super) fn memory(&self) -> usize {
        self.words.memory() + self.told.capacity() * size_of::<Told>() + self.by_file.len() * TOLD + self.bytes
    }

    pub(super) fn is_built(&self) -> bool {
        self.words.is_built()
    }

    /// As [`Grams::build`].
    pub(super) fn build(&mut self, effort: &mut usize) -> bool {
        self.words.build(effort, |id| self.told.get(id as usize))
    }

    pub(super) fn find(&self, who: MemberId, claim: ClaimId) -> Option<u32> {
        self.by_file.get(&(who, claim)).copied()
    }

    pub(super) fn set(&mut self, who: MemberId, claim: ClaimId, name: &RelativeName, text: &Description) {
        self.remove(who, claim);
        self.bytes += name.len() + text.len();
        let id = number(self.told.insert(Told { claim, name: name.clone(), text: text.clone() }));
        self.by_file.insert((who, claim), id);
        self.words.add(id);
    }

    pub(super) fn remove(&mut self, who: MemberId, claim: ClaimId) {
        if let Some(id) = self.by_file.remove(&(who, claim))
            && let Some(told) = self.told.try_remove(id as usize)
        {
            self.bytes = self.bytes.saturating_sub(told.name.len() + told.text.len());
            self.words.remove(id, &told);
        }
    }
}
