//! Descriptions of files: the user, the file, and the words.

use std::collections::BTreeMap;

use slab::Slab;

use crate::index::key_table::KeyId;
use crate::index::matcher::Text;
use crate::index::trigrams::Trigrams;
use crate::index::{PeerId, number};
use crate::protocol::types::account::Description;
use crate::protocol::types::relative_path::RelativeName;

/// What a description takes beside its entry: its text, its name, and its place in an ordered set that is between half and wholly full.
const TOLD: usize = 192;

/// What is said of a file of one member.
pub(super) struct StoredDescription {
    pub(super) key: KeyId,
    name: RelativeName,
    text: Description,
}

impl Text for StoredDescription {
    fn parts(&self) -> impl Iterator<Item = &str> {
        [self.name.as_str(), &self.text].into_iter()
    }
}

/// What is said of files, found by their member and name, and by words.
pub(super) struct Descriptions {
    entries: Slab<StoredDescription>,
    by_file: BTreeMap<(PeerId, KeyId), u32>,
    words: Trigrams,
    /// What the texts and the names beside them take.
    bytes: usize,
}

impl Descriptions {
    pub(super) fn new(seed: u64) -> Descriptions {
        Descriptions {
            entries: Slab::new(),
            by_file: BTreeMap::new(),
            words: Trigrams::new(seed),
            bytes: 0,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_file.is_empty()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Description> {
        self.told(id).map(|told| &told.text)
    }

    /// What is said, with what it is said of.
    pub(super) fn told(&self, id: u32) -> Option<&StoredDescription> {
        self.entries.get(id as usize)
    }

    /// All of it by its words.
    pub(super) fn words(&self) -> &Trigrams {
        &self.words
    }

    /// How much memory it takes: what its words take, and the rest by its count.
    pub(super) fn memory(&self) -> usize {
        self.words.memory()
            + self.entries.capacity() * size_of::<StoredDescription>()
            + self.by_file.len() * TOLD
            + self.bytes
    }

    pub(super) fn is_built(&self) -> bool {
        self.words.is_built()
    }

    /// As [`Trigrams::build`].
    pub(super) fn build(&mut self, effort: &mut usize) -> bool {
        self.words.build(effort, |id| self.entries.get(id as usize))
    }

    pub(super) fn find(&self, who: PeerId, claim: KeyId) -> Option<u32> {
        self.by_file.get(&(who, claim)).copied()
    }

    pub(super) fn set(
        &mut self,
        who: PeerId,
        claim: KeyId,
        name: &RelativeName,
        text: &Description,
    ) {
        self.remove(who, claim);
        self.bytes += name.len() + text.len();
        let id = number(self.entries.insert(StoredDescription {
            key: claim,
            name: name.clone(),
            text: text.clone(),
        }));
        self.by_file.insert((who, claim), id);
        self.words.add(id);
    }

    pub(super) fn remove(&mut self, who: PeerId, claim: KeyId) {
        if let Some(id) = self.by_file.remove(&(who, claim))
            && let Some(told) = self.entries.try_remove(id as usize)
        {
            self.bytes = self.bytes.saturating_sub(told.name.len() + told.text.len());
            self.words.remove(id, &told);
        }
    }
}
