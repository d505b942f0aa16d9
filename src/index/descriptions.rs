//! Descriptions of files: the user, the file, and the words.

use std::collections::BTreeMap;

use slab::Slab;

use crate::index::key_table::KeyId;
use crate::index::matcher::Text;
use crate::index::trigrams::Trigrams;
use crate::index::{PeerId, number};
use crate::protocol::types::account::Description;
use crate::protocol::types::relative_path::RelativeName;

/// Bytes of a description besides a slab entry: the text, the name, and a tree entry.
const TOLD: usize = 192;

/// Description of a file of a peer.
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

/// Descriptions by peer and name, and by words.
pub(super) struct Descriptions {
    entries: Slab<StoredDescription>,
    by_file: BTreeMap<(PeerId, KeyId), u32>,
    words: Trigrams,
    /// Bytes of texts and names.
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
        self.description(id).map(|description| &description.text)
    }

    pub(super) fn description(&self, id: u32) -> Option<&StoredDescription> {
        self.entries.get(id as usize)
    }

    pub(super) fn words(&self) -> &Trigrams {
        &self.words
    }

    pub(super) fn memory(&self) -> usize {
        self.words.memory()
            + self.entries.capacity() * size_of::<StoredDescription>()
            + self.by_file.len() * TOLD
            + self.bytes
    }

    pub(super) fn is_built(&self) -> bool {
        self.words.is_built()
    }

    pub(super) fn build(&mut self, effort: &mut usize) -> bool {
        self.words.build(effort, |id| self.entries.get(id as usize))
    }

    pub(super) fn find(&self, peer: PeerId, name_key: KeyId) -> Option<u32> {
        self.by_file.get(&(peer, name_key)).copied()
    }

    pub(super) fn set(
        &mut self,
        peer: PeerId,
        name_key: KeyId,
        name: &RelativeName,
        text: &Description,
    ) {
        self.remove(peer, name_key);
        self.bytes += name.len() + text.len();
        let id = number(self.entries.insert(StoredDescription {
            key: name_key,
            name: name.clone(),
            text: text.clone(),
        }));
        self.by_file.insert((peer, name_key), id);
        self.words.add(id);
    }

    pub(super) fn remove(&mut self, peer: PeerId, name_key: KeyId) {
        if let Some(id) = self.by_file.remove(&(peer, name_key))
            && let Some(description) = self.entries.try_remove(id as usize)
        {
            self.bytes -= description.name.len() + description.text.len();
            self.words.remove(id, &description);
        }
    }
}
