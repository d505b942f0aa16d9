//! How much an index knows, for those who look on.

use crate::index::Index;

impl Index {
    /// How many members have become visible so far.
    #[must_use]
    pub fn joined(&self) -> u64 {
        self.joined
    }

    /// How many files all visible members have.
    #[must_use]
    pub fn files_there(&self) -> u64 {
        self.shown as u64
    }

    /// How many names are known, of files of members who are there and of those who are away.
    #[must_use]
    pub fn names(&self) -> u64 {
        self.names.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::relative::RelativeName;
    use crate::message::request::FileEntry;
    use crate::message::version::Session;

    #[test]
    fn files_count_while_their_members_are_visible() {
        let file = |text: &str| FileEntry::new(RelativeName::new(text).unwrap(), 1);
        let mut index = Index::new(1);
        let (one, two) =
            (index.begin("127.0.0.1:1".parse().unwrap(), Session([1; 16])), index.begin("127.0.0.1:2".parse().unwrap(), Session([2; 16])));
        for name in ["a", "b", "c"] {
            index.add(one, &file(name)).unwrap();
        }
        assert_eq!(index.files_there(), 0);
        index.show(one);
        index.show(two);
        index.add(two, &file("a")).unwrap();
        index.add(two, &file("a")).unwrap();
        index.remove(one, &RelativeName::new("b").unwrap());
        assert_eq!(index.files_there(), 3);
        index.leave(one);
        assert_eq!(index.files_there(), 1);
        while index.sweep(1) {}
        assert_eq!(index.files_there(), 1);
    }
}
