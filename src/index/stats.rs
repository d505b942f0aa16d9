//! Sizes of the index. Each is counted when it changes, so that reading them costs nothing.

use crate::index::Index;

/// How many.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Different names, of files of members who are there and of those who are away.
    pub names: usize,
    /// Different contents.
    pub roots: usize,
    /// Files of members, those that are leaving among them.
    pub holdings: usize,
    /// Files of visible members.
    pub shown: usize,
    /// Members that are visible.
    pub members: usize,
    /// Members that have become visible so far.
    pub joined: u64,
}

impl Index {
    /// How many there are of what it holds.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let (names, roots) = (self.names.len(), self.roots.len());
        Counts {
            names,
            roots,
            holdings: self.entries,
            shown: self.visible,
            members: self.order.len(),
            joined: self.joined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::request::FileEntry;
    use crate::protocol::types::ids::SessionId;
    use crate::protocol::types::relative_path::RelativeName;

    #[test]
    fn files_count_while_their_members_are_visible() {
        let file = |text: &str| FileEntry::new(RelativeName::new(text).unwrap(), 1);
        let mut index = Index::new(1);
        let (one, two) = (
            index.create_peer("127.0.0.1:1".parse().unwrap(), SessionId([1; 16])),
            index.create_peer("127.0.0.1:2".parse().unwrap(), SessionId([2; 16])),
        );
        for name in ["a", "b", "c"] {
            index.add(one, &file(name)).unwrap();
        }
        assert_eq!(index.counts().shown, 0);
        index.make_visible(one);
        index.make_visible(two);
        index.add(two, &file("a")).unwrap();
        index.add(two, &file("a")).unwrap();
        index.remove(one, &RelativeName::new("b").unwrap());
        assert_eq!(index.counts().shown, 3);
        index.remove_peer(one);
        assert_eq!(index.counts().shown, 1);
        while index.purge(1) {}
        assert_eq!(index.counts().shown, 1);
    }
}
