//! The groups that may see the files of a share: the usual ones, and others by name or folder.

use std::collections::BTreeMap;

use crate::protocol::types::member::Groups;

/// The groups of the files of a share. An empty set stands for all members.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShareGroups {
    /// The groups of all other files.
    pub usual: Groups,
    /// By the name of a file, or by that of a folder with a `/` behind.
    pub by_name: BTreeMap<String, Groups>,
}

impl ShareGroups {
    /// The groups of a file: by its name, else by the innermost folder with groups.
    #[must_use]
    pub fn of(&self, name: &str) -> &Groups {
        if self.by_name.is_empty() {
            return &self.usual;
        }
        let folders = name.rmatch_indices('/').map(|(end, _)| &name[..=end]);
        std::iter::once(name)
            .chain(folders)
            .find_map(|name| self.by_name.get(name))
            .unwrap_or(&self.usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_innermost_folder_with_groups_decides() {
        let groups = |name| Groups::parse([name]).unwrap();
        let rules = [("a/", "a"), ("a/b/", "b"), ("a/b/c.txt", "c"), ("all/", "all")];
        let share = ShareGroups {
            usual: groups("usual"),
            by_name: rules.map(|(name, group)| (name.to_owned(), groups(group))).into(),
        };
        for (name, group) in [
            ("x", "usual"),
            ("a", "usual"),
            ("ab/x", "usual"),
            ("a/x", "a"),
            ("a/b", "a"),
            ("a/b/x", "b"),
            ("a/b/c.txt", "c"),
            ("a/b/c.txt.old", "b"),
            ("a/bc/d/e", "a"),
            ("all/x", "all"),
        ] {
            assert_eq!(share.of(name), &groups(group), "{name}");
        }
        assert!(ShareGroups::default().of("a/b").is_empty());
    }
}
