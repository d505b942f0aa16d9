//! How much memory an index takes, by part. It is computed from capacities and counts, so that it costs no walk through millions.

use crate::index::{Index, Member};

/// What a member takes beside its files: its place in two ordered sets, and what else is known of it.
const MEMBER: usize = 160;

/// Bytes by part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Names, each once, with the table that finds them.
    pub names: usize,
    /// The names by their words.
    pub words: usize,
    /// Who has which file: what each member says of each of its files, and the ways from names and roots to it.
    pub holdings: usize,
    /// Roots, each once, with the table that finds them.
    pub roots: usize,
    /// What is said of files, with its words.
    pub descriptions: usize,
    /// Who is there.
    pub members: usize,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub fn total(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// All parts by their names.
    #[must_use]
    pub fn parts(&self) -> [(&'static str, usize); 6] {
        let Memory { names, words, holdings, roots, descriptions, members } = *self;
        [("names", names), ("words", words), ("holdings", holdings), ("roots", roots), ("descriptions", descriptions), ("members", members)]
    }
}

impl Index {
    /// How much memory it takes.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let ((names, by_name), (roots, by_root)) = (self.names.memory(), self.roots.memory());
        Memory {
            names,
            words: self.words.memory(),
            holdings: by_name + by_root + self.owned,
            roots,
            descriptions: self.descriptions.memory(),
            members: self.members.capacity() * size_of::<Member>() + self.order.len() * MEMBER,
        }
    }
}
